"""Universes of small studies: what is made, what is left out and why, and which fit each is read from. No sampling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from pytensor.graph.traversal import ancestors
from scipy.stats import norm
from simulated_studies import small_study

from bayes_her2.bayesian.model import load_model
from bayes_her2.errors import DataError
from bayes_her2.estimates import COHORT_FIXED
from bayes_her2.frequentist import abundance_twin
from bayes_her2.preprocessing import prepare
from bayes_her2.workflow.check import check_study
from bayes_her2.workflow.multiverse import _exclusions, _jobs, _made, _values
from bayes_her2.workflow.universes import BY_NAME, LEUKOCYTE_FRACTION, MAIN, UNIVERSES, Source, chosen


@pytest.fixture(scope="module")
def cohorts():
    """Two cohorts of 160 tumours, on the absolute scale, with P-values and a leukocyte fraction."""
    rng = np.random.default_rng(5)
    made = []
    for cohort in small_study(seed=21).cohorts:
        fraction = pd.Series(rng.uniform(0.05, 0.6, len(cohort.tumours)), index=cohort.tumours.index)
        fraction.iloc[[3]] = np.nan  # by position: any tumour will do
        made.append(replace(cohort, tumours=cohort.tumours.assign(**{LEUKOCYTE_FRACTION: fraction})))
    return tuple(made)


@pytest.fixture(scope="module")
def relative(cohorts):
    """The same as shares."""
    return tuple(
        replace(c, abundance=c.abundance.div(c.abundance.sum(axis=1), axis=0).fillna(0.0), scale="relative")
        for c in cohorts
    )


def source_of(study_of, cohorts, blocks: str) -> Source:
    study = study_of(blocks)
    return Source(study, cohorts, prepare(cohorts, study))


def made_of(source, only=()):
    universes, made, left_out = _made(chosen(tuple(only)), source, by_name=bool(only))
    return {u.name: u for u in universes}, made, left_out


RELATIVE = '[abundance]\nscale = "relative"'
ABSOLUTE = '[abundance]\nscale = "absolute"'


def test_every_universe_says_what_it_is_and_the_main_analysis_is_the_first():
    assert UNIVERSES[0].name == MAIN
    assert len(BY_NAME) == len(UNIVERSES)
    assert all(u.what.endswith((".", ")")) and u.reading.endswith(".") and u.reads for u in UNIVERSES)
    assert BY_NAME["drop_zeros"].reads[0].estimand == "amount"
    assert BY_NAME["dichotomy"].reads[0].estimand == "high_abundance"
    others = [u for u in UNIVERSES if u.name not in ("drop_zeros", "dichotomy")]
    assert all(u.reads[0].estimand == "overall" for u in others)


def test_a_relative_study_with_leukocyte_fractions_has_every_universe_whose_model_file_exists(
    study_of, relative
):
    universes, made, left_out = made_of(source_of(study_of, relative, RELATIVE))
    tobit = {"tobit"} & set(left_out)  # where the model file is not there
    assert set(left_out) == tobit
    assert set(universes) == set(BY_NAME) - tobit
    assert universes["scale"].title == "Absolute scale"
    assert made["scale"].data.scale == "absolute"
    assert made["leukocyte_covariate"].data.adjustment == LEUKOCYTE_FRACTION
    # One tumour of each cohort has no leukocyte fraction.
    lost = _exclusions(list(universes.values()), made)
    assert lost.groupby("universe").size()["scale"] == lost.groupby("universe").size()["leukocyte_covariate"]
    assert set(lost.loc[lost["universe"] == "scale", "reason"]) <= {"multiplier leukocyte_fraction missing"}
    assert set(lost.loc[lost["universe"] == "p_filter", "reason"]) == {"deconvolution P not below 0.05"}


def test_dropping_zeros_is_the_main_fit_and_every_other_universe_has_its_own(study_of, relative):
    universes, made, _ = made_of(source_of(study_of, relative, RELATIVE))
    jobs, fit_of = _jobs(list(universes.values()), made)
    assert fit_of["drop_zeros"] == MAIN
    assert {name for name, fit in fit_of.items() if name != fit} == {"drop_zeros"}
    assert [job.name for job in jobs] == [name for name in universes if name != "drop_zeros"]
    assert len({(job.job.name, job.job.data.fingerprint) for job in jobs}) == len(jobs)


def test_presence_and_amount_share_no_parameter_so_that_dropping_zeros_needs_no_fit(
    structured, structure_kind
):
    """Read off the graph: what stands above one observed node stands above no other."""
    data = structured(structure_kind)
    graph = load_model("abundance").build(data, load_model("abundance").priors_for(data))
    free = set(graph.free_RVs)
    above = {str(node.name): {v.name for v in ancestors([node]) if v in free} for node in graph.observed_RVs}
    assert set(above) == {"present", "amount"}
    assert above["present"]
    assert above["amount"]
    assert not above["present"] & above["amount"]


def test_values_are_counted_in_the_analysed_tumours(study_of, relative):
    universes, made, _ = made_of(source_of(study_of, relative, RELATIVE))
    values = _values(list(universes.values()), made)
    main = made[MAIN].data.abundance
    counts = values.groupby("universe")["n_changed"].sum()
    assert counts["smallest_positive"] == (main == 0).to_numpy().sum()
    assert counts["pseudocount"] == main.size
    assert counts["small_to_zero"] == ((main > 0) & (main < 0.001)).to_numpy().sum()
    assert counts["p_filter"] == counts["leukocyte_covariate"] == 0
    assert counts["drop_zeros"] == (main == 0).to_numpy().sum()
    assert counts["dichotomy"] == main.size


def test_replacing_zeros_leaves_no_presence_to_model(study_of, relative):
    _, made, _ = made_of(source_of(study_of, relative, RELATIVE), ["smallest_positive"])
    parts = made["smallest_positive"].data.parts
    assert not parts["presence_modelled"].any()
    assert parts["amount_modelled"].all()
    assert (made[MAIN].data.parts["presence_modelled"]).any()


def test_an_absolute_study_is_set_against_its_shares(study_of, cohorts):
    universes, made, left_out = made_of(source_of(study_of, cohorts, ABSOLUTE))
    assert universes["scale"].title == "Relative scale"
    np.testing.assert_allclose(made["scale"].data.abundance.sum(axis=1), 1.0)
    # The cohorts have no value under a thousandth of the typical total, or some: either way it is said.
    assert ("small_to_zero" in universes) != ("small_to_zero" in left_out)


def test_a_study_that_multiplies_and_adjusts_already_is_set_against_one_that_does_not(study_of, relative):
    multiplied = '[abundance]\nscale = "relative"\nmultiplier = "leukocyte_fraction"'
    universes, made, left_out = made_of(source_of(study_of, relative, multiplied))
    assert universes["scale"].title == "Relative scale"
    assert made[MAIN].data.scale == "absolute"
    assert "cannot be a covariate as well" in left_out["leukocyte_covariate"]
    adjusted = f'{RELATIVE}\n[model]\ncovariates = ["leukocyte_fraction"]'
    universes, made, _ = made_of(source_of(study_of, relative, adjusted))
    assert universes["leukocyte_covariate"].title == "Not leukocyte-adj."
    assert made["leukocyte_covariate"].data.adjustment == "none"


def test_universes_that_a_study_cannot_have_are_left_out_with_the_reason(study_of, relative):
    without = tuple(
        replace(
            c,
            tumours=c.tumours.drop(columns=LEUKOCYTE_FRACTION),
            quality=c.quality.assign(p_value=9999.0),
            abundance=c.abundance.where((c.abundance == 0) | (c.abundance > 0.002), 0.002),
        )
        for c in relative
    )
    universes, _, left_out = made_of(source_of(study_of, without, RELATIVE))
    assert "has no field leukocyte_fraction" in left_out["scale"]
    assert "has no field leukocyte_fraction" in left_out["leukocyte_covariate"]
    assert "9999 (no permutations were run)" in left_out["p_filter"]
    assert left_out["small_to_zero"] == "it changes nothing in this study."
    assert {"smallest_positive", "pseudocount", "drop_zeros", "dichotomy"} <= set(universes)


def test_a_leukocyte_fraction_that_is_none_is_refused(study_of, relative):
    percent = tuple(
        replace(c, tumours=c.tumours.assign(leukocyte_fraction=100 * c.tumours[LEUKOCYTE_FRACTION]))
        for c in relative
    )
    _, _, left_out = made_of(source_of(study_of, percent, RELATIVE))
    assert "is not a number between 0 and 1" in left_out["scale"]
    empty = tuple(replace(c, tumours=c.tumours.assign(leukocyte_fraction=np.nan)) for c in relative)
    _, _, left_out = made_of(source_of(study_of, empty, RELATIVE))
    assert "is missing in all" in left_out["leukocyte_covariate"]


def test_a_universe_asked_for_by_name_that_cannot_be_had_is_an_error(study_of, relative):
    without = tuple(replace(c, quality=c.quality.assign(p_value=np.nan)) for c in relative)
    source = source_of(study_of, without, RELATIVE)
    with pytest.raises(DataError, match=r"p_filter: .*none is given"):
        made_of(source, ["p_filter"])
    with pytest.raises(DataError, match="names the main analysis alone"):
        made_of(source, [MAIN])
    with pytest.raises(
        DataError, match="no universe is named dropping; known: main, tobit, smallest_positive"
    ):
        chosen(("dropping",))


def test_the_censoring_universe_appears_with_its_model_file(study_of, relative):
    source = source_of(study_of, relative, RELATIVE)
    with pytest.raises(DataError, match=r"there is no model file abundance_none\.py"):
        replace(BY_NAME["tobit"], model="abundance_none").made(source)
    # Any alternative to the main model takes its analysis set, and is a fit of its own.
    other = replace(BY_NAME["tobit"], model="abundance_weibull")
    assert other.refits
    main = BY_NAME[MAIN].made(source)
    made = other.made(source)
    assert made.data.fingerprint == main.data.fingerprint
    jobs, fit_of = _jobs([BY_NAME[MAIN], other], {MAIN: main, "tobit": made})
    assert [job.job.name for job in jobs] == ["abundance", "abundance_weibull"]
    assert fit_of["tobit"] == "tobit"


def test_making_universes_leaves_the_cohorts_alone(study_of, relative):
    before = [(c.tumours.copy(deep=True), c.abundance.copy(deep=True)) for c in relative]
    source = source_of(study_of, relative, RELATIVE)
    eligible = source.tumours.fingerprint
    made_of(source)
    assert source.tumours.fingerprint == eligible
    for cohort, (tumours, abundance) in zip(relative, before, strict=True):
        pd.testing.assert_frame_equal(cohort.tumours, tumours)
        pd.testing.assert_frame_equal(cohort.abundance, abundance)


def test_without_the_studys_own_p_filter_its_tumours_come_back(study_file):
    text = study_file.read_text(encoding="utf-8")
    filtered = text.replace("[cohort.cibersort]\n", "[cohort.cibersort]\nmax_p_value = 0.05\n", 1)
    assert filtered != text
    path = study_file.with_name("filtered.toml")
    path.write_text(filtered, encoding="utf-8")
    checked = check_study(path, only=("abundance",))
    assert checked.prepared is not None
    source = Source(checked.study, checked.prepared.cohorts, checked.prepared.tumours)
    universes, made, _ = made_of(source, ["p_filter"])
    assert universes["p_filter"].title == "No P filter"
    whole = check_study(study_file, only=("abundance",)).prepared
    assert whole is not None
    assert made["p_filter"].data.fingerprint == whole.data.fingerprint
    assert len(made["p_filter"].data.tumours) > len(made[MAIN].data.tumours)
    gained = _exclusions(list(universes.values()), made)
    assert set(gained["change"]) == {"gained"}
    assert len(gained) == len(made["p_filter"].data.tumours) - len(made[MAIN].data.tumours)


def test_without_zeros_the_twin_is_a_gamma_regression_of_all_tumours(study_of, relative):
    """Statsmodels' generalised linear model, given nothing but the replaced values, as an oracle."""
    cohort = relative[:1]
    _, made, _ = made_of(source_of(study_of, cohort, RELATIVE), ["smallest_positive"])
    data = made["smallest_positive"].data
    twin = abundance_twin(data).table
    twin = twin[
        (twin["estimand"] == "overall") & (twin["scope"] == "pooled") & (twin["method"] != COHORT_FIXED)
    ]
    her2, negative = data.tumours["her2_sd"], (data.tumours["hr"] == "HR-").astype(float)
    design = pd.DataFrame({"one": 1.0, "her2": her2, "hr": negative, "both": her2 * negative})
    raw = made[MAIN].data.abundance
    for cell in raw.columns:
        # Simulated cohorts hold ineligible tumours too: the smallest positive is that of the eligible ones.
        smallest = prepare(cohort, study_of(RELATIVE)).abundance[cell]
        replaced = raw[cell].where(raw[cell] > 0, smallest[smallest > 0].min())
        family = sm.families.Gamma(sm.families.links.Log())
        fit = sm.GLM(replaced, design, family=family).fit(scale="X2", tol=1e-12, maxiter=500)
        for stratum, terms in (("HR+", ["her2"]), ("HR-", ["her2", "both"])):
            row = twin[(twin["outcome"] == cell) & (twin["stratum"] == stratum)].iloc[0]  # one row
            slope = fit.params[terms].sum()
            error = np.sqrt(fit.cov_params().loc[terms, terms].to_numpy().sum())
            assert np.log(row["point"]) == pytest.approx(slope, abs=1e-5)
            assert np.log(row["lower"]) == pytest.approx(slope - norm.ppf(0.975) * error, abs=1e-5)
