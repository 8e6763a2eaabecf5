"""The graphs of the HER2 measurement against densities written out with scipy; what is refused; what tables say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from bayes_her2.models import abundance, her2_measurement
from labelled_density import LabelledDensity, SummedDensity
from measured_tumours import joint_density, parameters, planted
from scipy import integrate, stats

from bayes_her2.bayesian.measurement import Parameters, indicators, reader_matrix
from bayes_her2.bayesian.measurement_checks import indicator_agreement
from bayes_her2.bayesian.priors import Prior
from bayes_her2.data import IHC_LEVELS, AnalysisSet
from bayes_her2.errors import DataError

PRIORS = her2_measurement.PRIORS


@pytest.fixture(scope="module")
def data() -> AnalysisSet:
    return planted(5, n=60, n_cells=2).data.for_model("her2_measurement")


def values_of(data: AnalysisSet, seed: int = 2) -> dict[str, xr.DataArray]:
    """Values of the measurement's parameters, by label."""
    rng = np.random.default_rng(seed)
    seen = indicators(data)
    dims = {"measure": list(seen.measures), "group": list(seen.groups)}

    def drawn(centre: float, *names: str) -> xr.DataArray:
        sizes = [len(dims[name]) for name in names]
        return xr.DataArray(
            centre + 0.3 * rng.normal(size=sizes), dims=names, coords={n: dims[n] for n in names}
        )

    return {
        "measure_mean": drawn(0.0, "measure", "group"),
        "log_sd": drawn(0.0, "measure"),
        "logit_reliability": drawn(0.5, "measure"),
        "level_logit_reliability": drawn(0.0),
        "first_cut_point": drawn(-0.6, "group"),
        "log_cut_distance": drawn(0.3),
        "reader_overcalls": drawn(-1.4),
        "reader_misses": drawn(-1.6),
        "reader_one_or_two": drawn(-2.0),
    }


def parameters_at(values: dict[str, xr.DataArray]) -> Parameters:
    def inverse_logit(x: xr.DataArray) -> np.ndarray:
        return 1 / (1 + np.exp(-x.to_numpy()))

    first = values["first_cut_point"].to_numpy()
    return Parameters(
        mean=values["measure_mean"].transpose("measure", "group").to_numpy(),
        sd=np.exp(values["log_sd"].to_numpy()),
        reliability=inverse_logit(values["logit_reliability"]),
        level_reliability=inverse_logit(values["level_logit_reliability"]),
        cuts=np.stack([first, first + np.exp(float(values["log_cut_distance"]))], axis=1),
        reader=reader_matrix(
            *(values[f"reader_{n}"].to_numpy() for n in ("overcalls", "misses", "one_or_two"))
        ),
    )


def test_the_density_is_that_of_indicators_with_latent_and_true_level_integrated_out(data):
    """By quadrature over the latent, tumour by tumour: missing measures, missing levels and misread ones."""
    values, seen = values_of(data), indicators(data)
    p = parameters_at(values)
    assert seen.recorded.min() == 0
    assert set(seen.level_idx) == {-1, 0, 1, 2}
    expected = sum(
        np.log(
            integrate.quad(
                lambda z, i=i: joint_density(z, p, seen, i).sum(), -9, 9, epsabs=1e-14, epsrel=1e-10
            )[0]
        )
        for i in range(len(seen.tumours))
    )
    density = SummedDensity(her2_measurement.build(data, PRIORS))(values)
    assert density["measures"] + density["levels"] == pytest.approx(expected, rel=1e-8)
    for name, prior in PRIORS.items():
        assert density[name] == pytest.approx(prior.frozen().logpdf(values[name].to_numpy()).sum())


def test_with_three_measures_reliabilities_are_products_of_correlations():
    """r_1 = r_12 r_13 / r_23 (Spearman): the model is saturated, so its density there is the sample's normal one."""
    p = parameters((0.7, 0.5, 0.3))
    tumours = planted(8, n=400, n_cells=2, p=p, protein_missing=0.0, level_missing=1.0).data
    one = replace(
        tumours,
        tumours=tumours.tumours[tumours.tumours["hr"] == "HR+"],
        abundance=tumours.abundance[tumours.tumours["hr"] == "HR+"],
    )
    data = one.for_model("her2_measurement")
    x = data.measures.to_numpy()
    covariance = np.cov(x.T, bias=True)
    r = np.corrcoef(x.T)
    reliability = np.array(
        [r[0, 1] * r[0, 2] / r[1, 2], r[0, 1] * r[1, 2] / r[0, 2], r[0, 2] * r[1, 2] / r[0, 1]]
    )
    coords = {"measure": list(data.measures.columns), "group": ["A, HR+"]}
    values = {
        "measure_mean": xr.DataArray(x.mean(axis=0)[:, None], dims=("measure", "group"), coords=coords),
        "log_sd": xr.DataArray(
            np.log(np.diag(covariance)) / 2, dims="measure", coords={"measure": coords["measure"]}
        ),
        "logit_reliability": xr.DataArray(
            np.log(reliability / (1 - reliability)), dims="measure", coords={"measure": coords["measure"]}
        ),
    }
    density = SummedDensity(her2_measurement.build(data, PRIORS))(values)
    normal = stats.multivariate_normal(x.mean(axis=0), covariance)
    assert density["measures"] == pytest.approx(normal.logpdf(x).sum(), rel=1e-10)


def test_the_order_of_the_tumours_does_not_matter():
    one = planted(5, n=60, n_cells=2).data
    order = np.random.default_rng(1).permutation(60)
    other = replace(one, tumours=one.tumours.iloc[order], abundance=one.abundance.iloc[order])
    sets = [t.for_model("her2_measurement") for t in (one, other)]
    assert sets[0].fingerprint == sets[1].fingerprint
    densities = [SummedDensity(her2_measurement.build(d, PRIORS))(values_of(d)) for d in sets]
    for name in ("measures", "levels"):
        assert densities[0][name] == pytest.approx(densities[1][name], rel=1e-12)


def test_without_levels_the_graph_has_no_reader_and_the_measures_remain():
    tumours = planted(5, n=60, n_cells=2).data
    blank = tumours.tumours.assign(her2_ihc=pd.Series(pd.NA, index=tumours.tumours.index, dtype="str"))
    graph = her2_measurement.build(replace(tumours, tumours=blank).for_model("her2_measurement"), PRIORS)
    assert {v.name for v in graph.observed_RVs} == {"measures"}
    assert not [v.name for v in graph.free_RVs if v.name.startswith("reader")]


@pytest.mark.parametrize("kind", ["one cohort", "covariates", "centres", "HR+ only beside both"])
def test_the_main_model_on_a_given_exposure_is_the_main_model(structured, kind):
    """At HER2 values other than those it was built with, too: the exposure is exchanged, nothing is compiled again."""
    data = structured(kind)
    priors = abundance.priors_for(data)
    exposure = np.random.default_rng(4).normal(size=len(data.tumours))
    given = her2_measurement.build_given(data, priors)
    with given:
        pm.set_data({"exposure": exposure})
    main = abundance.build(her2_measurement.on_exposure(data, exposure, "latent"), priors)
    rng = np.random.default_rng(9)
    values = {}
    for variable in main.free_RVs:
        dims = main.named_vars_to_dims.get(variable.name, ())
        coords = {d: list(main.coords[d]) for d in dims}
        drawn = 0.3 * rng.normal(size=[len(c) for c in coords.values()])
        positive = variable.name.endswith("_sd")
        values[variable.name] = xr.DataArray(
            np.abs(drawn) + 0.1 if positive else drawn, dims=dims, coords=coords
        )
    one, other = (LabelledDensity(graph)(values) for graph in (given, main))
    assert set(one) == set(other)
    for name in one:
        assert one[name] == pytest.approx(other[name], rel=1e-10, abs=1e-10)


def test_the_joint_density_is_that_of_latent_indicators_and_abundances(data):
    """Each factor written out with scipy, given the latent of every tumour: its mean given the measures and a rest."""
    priors = abundance.priors_for(data)
    graph = her2_measurement.build_joint(data, PRIORS, priors)
    seen, values = indicators(data), values_of(data)
    p = parameters_at(values)
    rng = np.random.default_rng(6)
    rest = rng.normal(size=len(seen.tumours))
    values["latent_rest"] = xr.DataArray(rest, dims="tumour", coords={"tumour": list(seen.tumours)})
    told = seen.recorded / (1 - p.reliability)
    variance = 1 / (1 + told @ p.reliability)
    standardised = (seen.values - p.mean[:, seen.group_idx].T) / p.sd
    z = variance * ((told * standardised) @ np.sqrt(p.reliability)) + np.sqrt(variance) * rest
    for variable in graph.free_RVs:
        if variable.name not in values:
            dims = graph.named_vars_to_dims.get(variable.name, ())
            coords = {d: list(graph.coords[d]) for d in dims}
            drawn = 0.3 * rng.normal(size=[len(c) for c in coords.values()])
            positive = variable.name.endswith("_sd")
            values[variable.name] = xr.DataArray(
                np.abs(drawn) + 0.1 if positive else drawn, dims=dims, coords=coords
            )
    density = SummedDensity(graph)(values)
    expected = sum(np.log(joint_density(z[i], p, seen, i).sum()) for i in range(len(z)))
    stretched = np.log(variance).sum() / 2
    found = density["measures"] + density["levels"] + density["latent_rest"]
    assert found == pytest.approx(expected + stretched, rel=1e-10)
    on = her2_measurement.on_exposure(data, z, "latent")
    main = SummedDensity(abundance.build(on, priors))(values)
    for name in ("present", "amount"):
        assert density[name] == pytest.approx(main[name], rel=1e-10)


def test_the_default_priors_pass_their_checks_and_a_careless_reader_does_not(data):
    checks = her2_measurement.prior_checks(her2_measurement.build(data, PRIORS), data, 1)
    assert checks["passed"].all()
    coin = {"reader_overcalls": Prior("Normal", {"mu": 0.5, "sigma": 1.0}, "no better than a coin")}
    careless = her2_measurement.build(data, PRIORS | coin)
    failed = her2_measurement.prior_checks(careless, data, 1).set_index("check")["passed"]
    assert not failed["P(some level is read wrongly more often than rightly)"]


@pytest.mark.parametrize("name", PRIORS)
def test_every_prior_is_said_on_the_readers_scale(name):
    assert her2_measurement.reader_scale(name, PRIORS[name], 0.95).startswith("95%: ")


def test_what_a_prior_means_is_what_its_reason_says():
    said = {name: her2_measurement.reader_scale(name, PRIORS[name], 0.95) for name in PRIORS}
    assert "19% to 92%" in said["logit_reliability"]
    assert "12% to 88%" in said["level_logit_reliability"]
    assert "8% to 40% of the truly 0 are read as 1+" in said["reader_overcalls"]
    assert "7% to 35% of the truly 1+ are read as 0" in said["reader_misses"]
    assert "4% to 30% of the truly 2+ are read as 1+" in said["reader_one_or_two"]
    assert "3% to 81% of a group's tumours are truly 0" in said["first_cut_point"]


# --- what is refused, and what is said ---------------------------------------------------------


def test_one_measure_without_levels_is_refused():
    tumours = planted(5, n=60, n_cells=2).data
    table = tumours.tumours.assign(her2_ihc=pd.Series(pd.NA, index=tumours.tumours.index, dtype="str"))
    alone = replace(tumours, tumours=table, settings=replace(tumours.settings, indicators=()))
    with pytest.raises(
        DataError, match="A: ERBB2 mRNA is the only indicator of HER2 in its 60 tumours"
    ) as error:
        alone.for_model("her2_measurement")
    assert "its error cannot be told from its signal" in str(error.value)
    assert "[her2_measurement] measures" in str(error.value)
    # Levels that are all the same say nothing either; a level that varies is a second indicator.
    same = replace(alone, tumours=table.assign(her2_ihc="1+"))
    with pytest.raises(DataError, match="two IHC levels"):
        same.for_model("her2_measurement")
    assert replace(alone, tumours=tumours.tumours).for_model("her2_measurement").measures.shape == (60, 1)


def test_a_measure_in_too_few_tumours_is_no_second_indicator():
    tumours = planted(5, n=60, n_cells=2).data
    protein = tumours.tumours["protein1"].copy()
    protein[protein.index[:50]] = np.nan
    table = tumours.tumours.assign(
        her2_ihc=pd.Series(pd.NA, index=protein.index, dtype="str"), protein1=protein
    )
    with pytest.raises(DataError, match=r"protein 1 in \d+, the HER2 IHC level in 0; 30 needed"):
        replace(tumours, tumours=table).for_model("her2_measurement")


def test_measures_are_per_within_hr_sd_and_what_is_missing_stays_missing(data):
    centred = data.measures - data.measures.groupby(data.tumours["hr"]).transform("mean")
    for name in data.measures:
        own = centred[name].dropna()
        freedom = len(own) - data.tumours.loc[own.index, "hr"].nunique()
        assert (own**2).sum() / freedom == pytest.approx(1.0)
    assert 0 < data.measures["protein 1"].isna().sum() < 30
    assert any(note.startswith("A: protein 1 is recorded in ") for note in data.notices)
    assert data.measures["ERBB2 mRNA"].to_numpy() == pytest.approx(data.tumours["her2_sd"].to_numpy())


def test_a_level_that_no_negative_tumour_has_counts_as_not_read_and_is_named():
    tumours = planted(5, n=60, n_cells=2).data
    level = tumours.tumours["her2_ihc"].copy()
    level.loc[["A/0003", "A/0007"]] = "3+"
    made = replace(tumours, tumours=tumours.tumours.assign(her2_ihc=level)).for_model("her2_measurement")
    assert made.tumours.loc[["A/0003", "A/0007"], "her2_ihc"].isna().all()
    assert any("3+ is not one of 0, 1+, 2+: taken as not read in A/0003, A/0007" in n for n in made.notices)


def test_two_measures_whose_errors_go_with_the_immune_cells_disagree():
    """Nothing planted but the latent: z within 3.5. A cell type that goes with one measure's error: z beyond 5."""
    made = planted(11, n=1_500, n_cells=4)
    data = made.data.for_model("her2_measurement")
    coords = {"chain": [0], "draw": [0], "measure": list(data.measures.columns)}
    p = parameters()
    posterior = xr.Dataset(
        {
            "sd": (("chain", "draw", "measure"), np.ones((1, 1, 2))),
            "reliability": (("chain", "draw", "measure"), p.reliability[None, None]),
        },
        coords=coords,
    )
    agreed = indicator_agreement(posterior, data)
    assert agreed["z"].abs().max() < 3.5
    score = data.measures["ERBB2 mRNA"]
    centred = score - score.groupby(data.tumours["hr"]).transform("mean")
    error = (centred - np.sqrt(p.reliability[0]) * made.latent) / np.sqrt(1 - p.reliability[0])
    shifted = data.abundance.assign(**{"Cell B": data.abundance["Cell B"] * np.exp(error)})
    apart = indicator_agreement(posterior, replace(data, abundance=shifted)).set_index("cell_type")
    assert apart.loc["Cell B", "z"] > 5
    assert apart.drop(index="Cell B")["z"].abs().max() < 3.5


def test_levels_are_in_the_order_of_staining():
    assert IHC_LEVELS == ("0", "1+", "2+")  # cut-points and the reader's matrix rest on it
