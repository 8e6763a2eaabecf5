"""Estimands read back by label from a posterior whose every cell holds another, known value.

The other side visits every tumour at every draw (numpy, scipy.stats.gamma.sf); the package replaces
tumours by quadrature nodes. In groups of up to 8 tumours, or where all differ, both are sums over the same
points. Dims and labels of the posterior are in another order than those of the data throughout.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from bayes_her2.models import abundance as main_model
from scipy import stats
from scipy.special import expit, logit

from bayes_her2.bayesian.design import structure
from bayes_her2.bayesian.hurdle_estimands import summed_abundance
from bayes_her2.bayesian.slopes import slopes
from bayes_her2.bayesian.summary import standing_of_comparison
from bayes_her2.data import DIFFERENCE, HR_COMPARED, PRESENCE_HELD_BELOW
from bayes_her2.estimates import HR_COMPARISONS
from bayes_her2.preprocessing import prepare
from bayes_her2.simulation import (
    BetweenCohortSD,
    CellTypeDesign,
    CohortDesign,
    Design,
    draw_parameters,
    simulate_cohorts,
)

PRIORS = main_model.PRIORS
N_CHAINS, N_DRAWS = 2, 3
HELD_BELOW = 0.10
"""Zero share below which a presence that is not modelled is held at its observed share."""
CLOSE = {"rtol": 1e-5, "atol": 1e-6}
"""Quadrature against every tumour, for effects up to about twofold per SD."""


def planted(data, seed: int = 1, n_draws: int = N_DRAWS) -> xr.Dataset:
    """A posterior with a different value in every cell, in a shuffled order of dims and labels."""
    rng = np.random.default_rng(seed)
    model = main_model.build(data, PRIORS)
    variables = {}
    for free in model.free_RVs:
        name = free.name
        labels = {d: list(model.coords[d]) for d in model.named_vars_to_dims.get(name, ())}
        sizes = [N_CHAINS, n_draws, *(len(v) for v in labels.values())]
        values = rng.normal(0.0, 0.2 if "slope" in name or "interaction" in name else 0.4, size=sizes)
        if name.endswith("_sd"):
            values = 0.05 + np.abs(values)
        elif name.startswith("amount_intercept"):
            values = values - 2.5
        elif name.startswith("log_shape"):
            values = values + 0.5
        array = xr.DataArray(
            values,
            dims=("chain", "draw", *labels),
            coords={"chain": range(N_CHAINS), "draw": range(n_draws)} | labels,
        )
        for dim, own in labels.items():
            array = array.sel({dim: list(rng.permutation(own))})
        variables[name] = array.transpose(*rng.permutation(array.dims))
    # One order of labels for the whole Dataset, as sampling would give, but not that of the data.
    return xr.merge(
        [
            v.rename(k).sortby([d for d in v.dims if d not in ("chain", "draw")], ascending=False)
            for k, v in variables.items()
        ],
        join="exact",
        compat="no_conflicts",
    )


def flat(array: xr.DataArray) -> np.ndarray:
    return array.stack(sample=("chain", "draw")).transpose("sample", ...).to_numpy()


def coefficient(posterior, part: str, term: str, cell_type: str, cohort: str | None) -> np.ndarray:
    """(sample,) of the cohort if the coefficient has cohorts, else what is common to them."""
    name = f"{part}_{term}_by_cohort"
    if cohort is None or name not in posterior:
        return flat(posterior[f"{part}_{term}"].sel({f"{part}_cell_type": cell_type}))
    return flat(posterior[name].sel({f"{part}_cell_type": cell_type, "cohort": cohort}))


def slope_of(posterior, data, part: str, cell_type: str, stratum: str, cohort: str | None) -> np.ndarray:
    value = coefficient(posterior, part, "slope", cell_type, cohort)
    if stratum != data.reference:
        value = value + coefficient(posterior, part, "interaction", cell_type, cohort)
    return value


def modelled(data, part: str, cell_type: str, stratum: str) -> bool:
    row = data.parts[(data.parts["cell_type"] == cell_type) & (data.parts["stratum"] == stratum)]
    return bool(row[f"{part}_modelled"].item())


def brute_force(posterior, data, cell_type: str, stratum: str, cohort: str | None):
    """Log ratio of E[y] and log odds ratio of high abundance, each (sample,), tumour by tumour."""
    inside = data.tumours[data.tumours["hr"] == stratum]
    if cohort is not None:
        inside = inside[inside["cohort"] == cohort]
    counts = data.counts[(data.counts["cell_type"] == cell_type) & (data.counts["hr"] == stratum)]
    zero_share = counts["n_zero"].sum() / counts["n"].sum()
    n_sample = posterior.sizes["chain"] * posterior.sizes["draw"]
    nothing = np.full(n_sample, np.nan)
    has_presence, has_amount = (modelled(data, part, cell_type, stratum) for part in ("presence", "amount"))
    if inside.empty or not has_amount or not (has_presence or zero_share < HELD_BELOW):
        return nothing, nothing

    @cache
    def of_covariate(part: str, covariate: str) -> np.ndarray:
        return flat(
            posterior[f"{part}_covariate"].sel({f"{part}_cell_type": cell_type, "covariate": covariate})
        )

    @cache
    def level(part: str, own: str, centre: str | None) -> np.ndarray:
        if centre is not None:
            array = posterior[f"{part}_centre_intercept"]
            base = flat(array.sel({f"{part}_cell_type": cell_type, "centre": f"{own}/{centre}"}))
        else:
            base = coefficient(posterior, part, "intercept", cell_type, own)
        if stratum != data.reference:
            base = base + coefficient(posterior, part, "hr", cell_type, own)
        return base

    @cache
    def shape(own: str) -> np.ndarray:
        name = "log_shape_by_cohort" if "log_shape_by_cohort" in posterior else "log_shape"
        array = posterior[name].sel(amount_cell_type=cell_type)
        return np.exp(flat(array.sel(cohort=own) if "cohort" in array.dims else array))

    slope = {
        part: slope_of(posterior, data, part, cell_type, stratum, cohort)
        for part, there in (("presence", has_presence), ("amount", has_amount))
        if there
    }
    expected, high = np.zeros((2, n_sample)), np.zeros((2, n_sample))
    for label, tumour in inside.iterrows():
        own = tumour["cohort"]
        centre = tumour["centre"] if data.use_centre and own == "B" else None
        x = data.covariates.loc[label]
        at_0 = {
            part: level(part, own, centre) + sum(of_covariate(part, c) * x[c] for c in x.index)
            for part in slope
        }
        for step in (0, 1):
            eta = {part: at_0[part] + slope[part] * (tumour["her2_sd"] + step) for part in slope}
            p = expit(eta["presence"]) if has_presence else np.full(n_sample, 1 - zero_share)
            mean, phi = np.exp(eta["amount"]), shape(own)
            expected[step] += p * mean
            high[step] += p * stats.gamma.sf(data.high_cutoffs.loc[own, cell_type], phi, scale=mean / phi)
    overall = np.log(expected[1] / expected[0])
    if not has_presence and (data.high_cutoffs.loc[inside["cohort"].unique(), cell_type] == 0).all():
        return overall, nothing
    return overall, logit(high[1] / len(inside)) - logit(high[0] / len(inside))


def read(draws, stratum: str, cell_type: str, cohort: str | None = None) -> np.ndarray:
    labels = {"stratum": stratum, "cell_type": cell_type} | ({"cohort": cohort} if cohort else {})
    return flat(draws.sel(labels))


@pytest.fixture(scope="module")
def case(structured):
    made = {}

    def get(kind: str):
        if kind not in made:
            data = structured(kind)
            posterior = planted(data)
            made[kind] = (data, posterior, estimands(posterior, data))
        return made[kind]

    return get


def estimands(posterior, data, seed: int = 1):
    return main_model.estimand_draws(posterior, data, PRIORS, np.random.default_rng(seed))


def scopes(data):
    return [("pooled", None), *(("cohort", cohort) for cohort in data.cohorts)]


@pytest.mark.parametrize("part", ["presence", "amount"])
def test_slopes_are_read_back_by_label(case, structure_kind, part):
    data, posterior, draws = case(structure_kind)
    for scope, cohort in scopes(data):
        for cell_type in data.abundance.columns:
            for stratum in data.strata:
                found = read(draws[(part, scope)], stratum, cell_type, cohort)
                if modelled(data, part, cell_type, stratum):
                    expected = slope_of(posterior, data, part, cell_type, stratum, cohort)
                    np.testing.assert_allclose(found, expected, rtol=1e-12)
                else:
                    assert np.isnan(found).all()


def test_standardised_estimands_are_averages_over_every_tumour(case, structure_kind):
    data, posterior, draws = case(structure_kind)
    n_checked = 0
    for scope, cohort in scopes(data):
        for cell_type in data.abundance.columns:
            for stratum in data.strata:
                overall, high = brute_force(posterior, data, cell_type, stratum, cohort)
                for name, expected in (("overall", overall), ("high_abundance", high)):
                    found = read(draws[(name, scope)], stratum, cell_type, cohort)
                    where = f"{name} {scope} {cohort} {cell_type} {stratum}"
                    np.testing.assert_allclose(found, expected, err_msg=where, **CLOSE)
                    n_checked += int(np.isfinite(expected).all())
    assert n_checked >= 2 * 3 * len(scopes(data)) * len(data.strata) / 2


def test_the_contrast_is_hr_negative_over_hr_positive(case, structure_kind):
    data, _, draws = case(structure_kind)
    for (estimand, _), array in draws.items():
        if estimand in HR_COMPARISONS:
            continue
        if len(data.strata) == 1:
            assert DIFFERENCE not in array["stratum"]
            continue
        contrast = array.sel(stratum="HR-", drop=True) - array.sel(stratum="HR+", drop=True)
        xr.testing.assert_allclose(
            array.sel(stratum=DIFFERENCE, drop=True), contrast.transpose(*contrast.dims)
        )


def test_every_estimand_and_scope_has_its_labels(case, structure_kind):
    data, _, draws = case(structure_kind)
    names = ("presence", "amount", "overall", "high_abundance")
    two = len(data.strata) == 2
    compared = {(n, "cohort") for n in HR_COMPARISONS} if two else set()
    assert set(draws) == {(n, s) for n in names for s in ("pooled", "cohort", "new cohort")} | compared
    for (estimand, scope), array in draws.items():
        strata = (
            {HR_COMPARED} if estimand in HR_COMPARISONS else {*data.strata, *([DIFFERENCE] if two else [])}
        )
        assert set(array.dims) == {"chain", "draw", "stratum", "cell_type"} | (
            {"cohort"} if scope == "cohort" else set()
        )
        assert list(array["cell_type"].to_numpy()) == list(data.abundance.columns)
        assert set(array["stratum"].to_numpy()) == strata
        if scope == "cohort":
            assert set(array["cohort"].to_numpy()) == set(data.cohorts)


def test_a_stratum_that_a_cohort_lacks_borrows_its_slope_and_has_nobody_to_average_over(case):
    _, _, draws = case("HR+ only beside both")
    assert np.isfinite(read(draws[("amount", "cohort")], "HR-", "Zeta cells", "B")).all()
    assert np.isnan(read(draws[("overall", "cohort")], "HR-", "Zeta cells", "B")).all()
    assert np.isfinite(read(draws[("overall", "cohort")], "HR+", "Zeta cells", "B")).all()
    assert np.isfinite(read(draws[("overall", "cohort")], "HR-", "Zeta cells", "A")).all()


def test_parts_that_are_not_modelled_are_not_estimable(case):
    _, _, draws = case("three cohorts")

    def missing(estimand: str, stratum: str, cell_type: str) -> bool:
        found = np.isnan(read(draws[(estimand, "pooled")], stratum, cell_type))
        assert found.all() or not found.any()
        return bool(found.all())

    # 5 zeros of 35 in HR-, too few to model: presence could move, so E[y] is not known.
    for estimand, expected in {
        "presence": True,
        "amount": False,
        "overall": True,
        "high_abundance": True,
    }.items():
        assert missing(estimand, "HR-", "Masked in HR-") == expected
        assert missing(estimand, DIFFERENCE, "Masked in HR-") == expected
        assert not missing(estimand, "HR+", "Masked in HR-")
        assert missing(estimand, "HR-", "Rare in HR-")
    # No zeros at all: E[y] is the amount, and high abundance needs no presence.
    for estimand, expected in {
        "presence": True,
        "amount": False,
        "overall": False,
        "high_abundance": False,
    }.items():
        assert missing(estimand, "HR+", "Never zero") == expected


def test_without_zeros_and_covariates_overall_is_the_amount(case):
    # One cohort: every tumour has the same slope, so the ratio of means is exp(slope) for each.
    data, _, draws = case("one cohort")
    for stratum in data.strata:
        np.testing.assert_allclose(
            read(draws[("overall", "pooled")], stratum, "Never zero"),
            read(draws[("amount", "pooled")], stratum, "Never zero"),
            rtol=1e-10,
        )


def test_presence_of_nearly_all_tumours_is_held_at_its_observed_share(tumours_of, data_of):
    sizes = {("A", "HR+"): 42, ("A", "HR-"): 35}
    cells = {"Few zeros": {"HR+": 4 / 42, "HR-": 3 / 35}, "More zeros": {"HR+": 5 / 42, "HR-": 0.0}}
    data = data_of(*tumours_of(3, sizes, cells)).for_model("abundance")
    posterior = planted(data)
    assert not any(name.startswith("presence") for name in posterior)
    draws = estimands(posterior, data)
    for stratum in data.strata:
        overall, high = brute_force(posterior, data, "Few zeros", stratum, None)
        found = [read(draws[(n, "pooled")], stratum, "Few zeros") for n in ("overall", "high_abundance")]
        np.testing.assert_allclose(found, [overall, high], **CLOSE)
        assert np.isnan(read(draws[("presence", "pooled")], stratum, "Few zeros")).all()
    # 5 of 42 are 12 %: not negligible, too few to model, so there is no answer.
    assert np.isnan(read(draws[("overall", "pooled")], "HR+", "More zeros")).all()
    assert np.isfinite(read(draws[("overall", "pooled")], "HR-", "More zeros")).all()


def test_with_continuous_covariates_long_posteriors_are_thinned_and_stay_exact(structured):
    data = structured("covariates")
    posterior = planted(data, seed=2, n_draws=4002)
    draws = estimands(posterior, data)
    assert draws[("amount", "pooled")].sizes["draw"] == 4002
    assert draws[("overall", "pooled")].sizes["draw"] == 2001
    thinned = posterior.isel(draw=slice(None, None, 2))
    np.testing.assert_array_equal(draws[("overall", "pooled")]["draw"], thinned["draw"])
    for cell_type, stratum, cohort in (("Zeta cells", "HR-", None), ("Never zero", "HR+", "B")):
        scope = "pooled" if cohort is None else "cohort"
        overall, high = brute_force(thinned, data, cell_type, stratum, cohort)
        np.testing.assert_allclose(
            read(draws[("overall", scope)], stratum, cell_type, cohort), overall, **CLOSE
        )
        np.testing.assert_allclose(
            read(draws[("high_abundance", scope)], stratum, cell_type, cohort), high, **CLOSE
        )


def test_even_for_fourfold_effects_the_error_is_far_below_that_of_sampling(case):
    data, posterior, _ = case("one cohort")
    large = posterior.copy()
    for part in ("presence", "amount"):
        large[f"{part}_slope"] = xr.full_like(posterior[f"{part}_slope"], -1.4)
    draws = estimands(large, data)
    for stratum in data.strata:
        overall, high = brute_force(large, data, "Zeta cells", stratum, None)
        for name, expected in (("overall", overall), ("high_abundance", high)):
            np.testing.assert_allclose(
                read(draws[(name, "pooled")], stratum, "Zeta cells"), expected, rtol=1e-3
            )


def re_expressed(posterior: xr.Dataset) -> xr.Dataset:
    """The same model told from the other HR stratum."""
    swapped = posterior.copy()
    for part in ("presence", "amount"):
        for suffix in ("", "_by_cohort"):
            for base, change in (("intercept", "hr"), ("slope", "interaction")):
                one, other = posterior[f"{part}_{base}{suffix}"], posterior[f"{part}_{change}{suffix}"]
                swapped[f"{part}_{base}{suffix}"], swapped[f"{part}_{change}{suffix}"] = one + other, -other
    return swapped


def test_the_reference_stratum_may_be_swapped(case):
    data, posterior, draws = case("three cohorts")
    turned = replace(data, reference="HR-")
    assert turned.strata == ("HR-", "HR+")
    again = estimands(re_expressed(posterior), turned)
    for (estimand, scope), array in draws.items():
        if scope == "new cohort":  # its spread is drawn
            continue
        other = again[(estimand, scope)].sel(stratum=array["stratum"].to_numpy())
        xr.testing.assert_allclose(
            array.reset_coords(drop=True), other.transpose(*array.dims).reset_coords(drop=True)
        )


def test_row_and_column_order_do_not_matter(case):
    data, posterior, draws = case("covariates")
    rows = np.random.default_rng(1).permutation(len(data.tumours))
    shuffled = replace(
        data,
        tumours=data.tumours.iloc[rows],
        abundance=data.abundance.iloc[rows][list(data.abundance.columns[::-1])],
        covariates=data.covariates.iloc[rows][list(data.covariates.columns[::-1])],
        parts=data.parts.iloc[::-1],
        high_cutoffs=data.high_cutoffs.iloc[::-1],
    )
    again = estimands(posterior, shuffled)
    for key, array in draws.items():
        if key[1] != "new cohort":
            other = again[key].sel(cell_type=array["cell_type"].to_numpy())
            xr.testing.assert_allclose(array, other.transpose(*array.dims))


@pytest.mark.parametrize("kind", ["HR+ only beside both", "centres"])
def test_the_sum_over_cell_types_is_the_sum_over_tumours_and_cell_types(case, kind):
    data, posterior, _ = case(kind)
    table = summed_abundance(posterior, data, (-1.0, 2.0), interval=0.9).set_index(["stratum", "at"])
    assert len(table) == 2 * 2

    def eta(part: str, cell_type: str, own: pd.Series, x: pd.Series, h: float) -> np.ndarray:
        cohort = own["cohort"]
        if kind == "centres" and cohort == "B":
            array = posterior[f"{part}_centre_intercept"]
            base = flat(array.sel({f"{part}_cell_type": cell_type, "centre": f"B/{own['centre']}"}))
        else:
            base = coefficient(posterior, part, "intercept", cell_type, cohort)
        if own["hr"] != data.reference:
            base = base + coefficient(posterior, part, "hr", cell_type, cohort)
        for c in x.index:
            omega = posterior[f"{part}_covariate"].sel({f"{part}_cell_type": cell_type, "covariate": c})
            base = base + flat(omega) * x[c]
        return base + slope_of(posterior, data, part, cell_type, own["hr"], cohort) * h

    for stratum, h in table.index:
        # h is given, so tumours alike in the rest are equal.
        inside = data.tumours[data.tumours["hr"] == stratum]
        total = np.zeros(N_CHAINS * N_DRAWS)
        distinct = pd.concat([inside[["cohort", "hr", "centre"]], data.covariates.loc[inside.index]], axis=1)
        groups = distinct.groupby(list(distinct.columns), dropna=False).indices.values()
        for members in groups:
            label = inside.index[members[0]]
            for cell_type in data.abundance.columns:
                if not modelled(data, "amount", cell_type, stratum):
                    continue
                where = inside.loc[label], data.covariates.loc[label], h
                mean = np.exp(eta("amount", cell_type, *where))
                if modelled(data, "presence", cell_type, stratum):
                    p = expit(eta("presence", cell_type, *where))
                else:
                    p = (data.abundance.loc[inside.index, cell_type] > 0).mean()
                total += p * mean * len(members) / len(inside)
        expected = np.quantile(total, [0.5, 0.05, 0.95])
        found = table.loc[(stratum, h), ["sum_mean", "lower", "upper"]].to_numpy(float)
        np.testing.assert_allclose(found, expected, rtol=1e-10)


# --- new cohorts ---------------------------------------------------------------------------------


def new_cohort(data, n_draws: int, **spreads: float):
    """Pooled and new-cohort slopes of presence, with the between-cohort SDs given."""
    posterior = planted(data, n_draws=n_draws)
    for term, value in spreads.items():
        name = f"presence_{term}_between_cohorts_sd"
        posterior[name] = xr.full_like(posterior[name], value)
    return slopes(posterior, "presence", data, PRIORS, np.random.default_rng(4))


def test_without_spread_between_cohorts_a_new_cohort_is_like_the_pooled_one(structured):
    found = new_cohort(structured("three cohorts"), N_DRAWS, slope=0.0, interaction=0.0)
    xr.testing.assert_allclose(found.new_cohort, found.pooled.transpose(*found.new_cohort.dims))


def test_a_new_cohort_differs_by_the_spread_of_its_draw_cell_type_by_cell_type(structured):
    found = new_cohort(structured("three cohorts"), 4000, slope=0.3, interaction=0.4)
    deviation = found.new_cohort - found.pooled
    slope = deviation.sel(stratum="HR+")
    interaction = (deviation.sel(stratum="HR-") - slope).dropna("cell_type", how="all")
    for array, sd in ((slope.dropna("cell_type", how="all"), 0.3), (interaction, 0.4)):
        for _, one in array.groupby("cell_type"):
            assert stats.kstest(one.to_numpy().ravel() / sd, "norm").pvalue > 1e-3
    one, other = (slope.sel(cell_type=c).to_numpy().ravel() for c in ("Zeta cells", "Alpha cells"))
    assert abs(np.corrcoef(one, other)[0, 1]) < 4.5 / np.sqrt(len(one))
    zeta = interaction.sel(cell_type="Zeta cells").to_numpy().ravel()
    assert abs(np.corrcoef(one, zeta)[0, 1]) < 4.5 / np.sqrt(len(one))


@pytest.mark.parametrize("kind", ["one cohort", "HR+ only beside both"])
def test_where_the_data_do_not_inform_a_spread_it_is_drawn_from_its_prior(structured, kind):
    data = structured(kind)
    several = kind != "one cohort"
    found = new_cohort(data, 4000, **({"slope": 0.3} if several else {}))
    deviation = (found.new_cohort - found.pooled).sel(cell_type="Zeta cells")
    slope = deviation.sel(stratum="HR+").to_numpy().ravel()
    interaction = (deviation.sel(stratum="HR-") - deviation.sel(stratum="HR+")).to_numpy().ravel()
    # tau ~ HalfNormal(0.25) and deviation ~ N(0, tau): variance 0.25^2, kurtosis 9.
    se = 0.25**2 * np.sqrt((9 - 1) / len(slope))
    assert interaction.var() == pytest.approx(0.25**2, abs=4.5 * se)
    assert slope.var() == pytest.approx(
        0.3**2 if several else 0.25**2, abs=4.5 * max(se, 0.3**2 * np.sqrt(2 / len(slope)))
    )


def test_new_cohort_draws_depend_on_the_generator_alone(case):
    data, posterior, draws = case("one cohort")
    again, other = estimands(posterior, data, seed=1), estimands(posterior, data, seed=2)
    xr.testing.assert_identical(draws[("overall", "new cohort")], again[("overall", "new cohort")])
    assert not draws[("amount", "new cohort")].equals(other[("amount", "new cohort")])
    for key in draws:
        if key[1] != "new cohort":
            xr.testing.assert_identical(draws[key], other[key])


# --- against the simulator's own truth -----------------------------------------------------------


def test_planted_parameters_give_the_truth_of_the_simulator(study_of):
    """`bayes_her2.simulation.truth` was written from the definitions of the estimands, without draws."""
    margins = {"ihc": {"0": 1, "1+": 1, "2+": 1}, "size": {"2-5 cm": 1}, "grade": {"II": 1, "III": 1}}

    def cohort(name: str, n: tuple[int, int], location: float) -> CohortDesign:
        return CohortDesign(
            name,
            f"{name} platform",
            *n,
            **margins,
            age_quartiles=(45, 55, 64),
            her2_location=location,
            her2_scale=0.9,
        )

    design = Design(
        cohorts=(cohort("two", (90, 75), 7.0), cohort("one", (110, 70), 3.0)),
        cell_types=(
            CellTypeDesign("present or not", 0.45, -3.0, 1.4, -0.4, -0.2, 0.5, 0.3, 0.6, 0.3),
            CellTypeDesign("half", 0.5, -2.4, 0.9, 0.3, 0.2, -0.4, -0.2, -0.5, -0.3),
            CellTypeDesign("few zeros", 0.18, -2.0, 2.5, -0.5, -0.25, 0.0, 0.2, 0.2, 0.2),
        ),
        between_cohort_sd=BetweenCohortSD(presence_slope=0.3, amount_slope=0.2, amount_interaction=0.2),
        ineligible=False,
    )
    rng = np.random.default_rng(9)
    parameters = draw_parameters(rng, design)
    simulated = simulate_cohorts(rng, design, parameters)
    data = prepare(simulated.cohorts, study_of('[abundance]\nscale = "absolute"')).for_model("abundance")
    assert structure(data).hr_by_cohort
    assert data.parts[["presence_modelled", "amount_modelled"]].all(axis=None)

    variables: dict[str, xr.DataArray] = {}

    def add(name: str, values: pd.DataFrame | pd.Series, part: str) -> None:
        array = xr.DataArray(values.rename_axis(index=f"{part}_cell_type"))
        variables[name] = array.expand_dims(chain=[0], draw=[0])

    for part in ("presence", "amount"):
        for term in ("intercept", "slope", "hr", "interaction"):
            own = parameters.cohorts[f"{part}_{term}"].unstack("cohort")
            add(f"{part}_{term}_by_cohort", own, part)
            typical = own.mean(axis=1) if term == "intercept" else parameters.population[f"{part}_{term}"]
            add(f"{part}_{term}", typical, part)
    add("log_shape_by_cohort", np.log(parameters.cohorts["shape"].unstack("cohort")), "amount")
    draws = estimands(xr.Dataset(variables), data)

    truth = simulated.truth
    truth = truth[truth["estimand"] != "amount"]  # there: a ratio of standardised means; here: exp(slope)
    assert len(truth) == 3 * 3 * 3 * 3
    for _, row in truth.iterrows():
        found = read(
            draws[(row["estimand"], row["scope"])], row["stratum"], row["outcome"], row["cohort"] or None
        )
        assert np.exp(found[0]) == pytest.approx(row["truth"], rel=1e-6), dict(row)


def tumour_by_tumour(posterior, data, cell_type: str, stratum: str, cohort: str):
    """Presence and log mean of every tumour, each sample x tumour, and the shape; None where a part is lacking."""
    inside = data.tumours[(data.tumours["hr"] == stratum) & (data.tumours["cohort"] == cohort)]
    present = data.abundance.loc[inside.index, cell_type] > 0
    has_presence, has_amount = (modelled(data, part, cell_type, stratum) for part in ("presence", "amount"))
    if inside.empty or not has_amount or not (has_presence or 1 - present.mean() < PRESENCE_HELD_BELOW):
        return None
    eta = {}
    for part in ("presence", "amount") if has_presence else ("amount",):
        slope = slope_of(posterior, data, part, cell_type, stratum, cohort)
        shift = 0.0 if stratum == data.reference else coefficient(posterior, part, "hr", cell_type, cohort)
        columns = []
        for label, tumour in inside.iterrows():
            if data.use_centre and cohort == "B":
                array = posterior[f"{part}_centre_intercept"]
                own = {f"{part}_cell_type": cell_type, "centre": f"{cohort}/{tumour['centre']}"}
                level = flat(array.sel(own))
            else:
                level = coefficient(posterior, part, "intercept", cell_type, cohort)
            for name, x in data.covariates.loc[label].items():
                own = {f"{part}_cell_type": cell_type, "covariate": name}
                level = level + x * flat(posterior[f"{part}_covariate"].sel(own))
            columns.append(level + shift + slope * tumour["her2_sd"])
        eta[part] = np.stack(columns, axis=1)
    name = "log_shape_by_cohort" if "log_shape_by_cohort" in posterior else "log_shape"
    array = posterior[name].sel(amount_cell_type=cell_type)
    phi = np.exp(flat(array.sel(cohort=cohort) if "cohort" in array.dims else array))
    p = expit(eta["presence"]) if has_presence else np.full_like(eta["amount"], present.mean())
    return p, eta["amount"], phi


def test_comparisons_of_the_strata_are_averages_over_every_pair_of_tumours(case, structure_kind):
    data, posterior, draws = case(structure_kind)
    if len(data.strata) == 1:
        assert not any(estimand in HR_COMPARISONS for estimand, _ in draws)
        return
    n_checked = 0
    for cohort in data.cohorts:
        for cell_type in data.abundance.columns:
            greater = read(draws[("probability_greater", "cohort")], HR_COMPARED, cell_type, cohort)
            difference = read(draws[("presence_difference", "cohort")], HR_COMPARED, cell_type, cohort)
            x, y = (tumour_by_tumour(posterior, data, cell_type, s, cohort) for s in ("HR-", "HR+"))
            if x is None or y is None:
                assert np.isnan(greater).all()
                assert np.isnan(difference).all()
                continue
            p, q = x[0][:, :, None], y[0][:, None, :]
            phi, step = x[2][:, None, None], x[1][:, :, None] - y[1][:, None, :]
            # of two gamma variables of one shape, the ratio of the scaled ones has an F distribution
            above = stats.f.cdf(np.exp(step), 2 * phi, 2 * phi)
            expected = (p * (1 - q) + p * q * above + (1 - p) * (1 - q) / 2).mean(axis=(1, 2))
            np.testing.assert_allclose(greater, expected, atol=1e-4, err_msg=f"{cohort} {cell_type}")
            if all(modelled(data, "presence", cell_type, s) for s in data.strata):
                np.testing.assert_allclose(difference, x[0].mean(axis=1) - y[0].mean(axis=1), **CLOSE)
            else:
                assert np.isnan(difference).all()
            n_checked += 1
    assert n_checked >= 3


def test_the_probability_is_the_share_of_simulated_pairs(case):
    # 400,000 pairs: standard error at most 0.0008
    data, posterior, draws = case("three cohorts")
    rng = np.random.default_rng(5)
    found = read(draws[("probability_greater", "cohort")], HR_COMPARED, "Zeta cells", "B")[0]
    values = []
    for stratum in ("HR-", "HR+"):
        p, log_mean, phi = tumour_by_tumour(posterior, data, "Zeta cells", stratum, "B")
        who = rng.integers(p.shape[1], size=400_000)
        amount = rng.gamma(phi[0], np.exp(log_mean[0, who]) / phi[0])
        values.append(np.where(rng.uniform(size=len(who)) < p[0, who], amount, 0.0))
    x, y = values
    assert found == pytest.approx(np.mean(x > y) + np.mean(x == y) / 2, abs=0.004)


def test_status_and_draws_of_the_comparisons_agree(case, structure_kind):
    data, _, draws = case(structure_kind)
    shape = structure(data)
    for estimand in HR_COMPARISONS if len(data.strata) == 2 else ():
        for cohort in data.cohorts:
            for cell_type in data.abundance.columns:
                behind = standing_of_comparison(data, shape, estimand, cell_type, cohort)
                found = read(draws[(estimand, "cohort")], HR_COMPARED, cell_type, cohort)
                assert np.isnan(found).all() == (behind.status == "not estimable"), (cohort, cell_type)
                assert behind.note or behind.status == "observed"


def test_a_cohort_without_one_stratum_has_no_comparison(case):
    data, _, draws = case("HR+ only beside both")
    assert np.isnan(draws[("probability_greater", "cohort")].sel(cohort="B")).all()
    behind = standing_of_comparison(data, structure(data), "probability_greater", "Zeta cells", "B")
    assert (behind.status, behind.note) == ("not estimable", "no HR- tumours in B")


def test_comparisons_are_thinned_to_at_most_twice_four_thousand_draws(structured):
    data = structured("one cohort")
    posterior = planted(data, seed=2, n_draws=4002)
    draws = estimands(posterior, data)[("probability_greater", "cohort")]
    assert draws.sizes["draw"] == 2001
    x, y = (
        tumour_by_tumour(posterior.isel(draw=slice(None, None, 2)), data, "Never zero", s, "A")
        for s in ("HR-", "HR+")
    )
    above = stats.f.cdf(
        np.exp(x[1][:, :, None] - y[1][:, None, :]), 2 * x[2][:, None, None], 2 * x[2][:, None, None]
    )
    expected = above.mean(axis=(1, 2))
    np.testing.assert_allclose(read(draws, HR_COMPARED, "Never zero", "A"), expected, atol=1e-4)
