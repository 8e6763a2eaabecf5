"""The graph of the clinical model: Bernoulli of every tumour with the outcome recorded, each regression its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from bayes_her2.models import clinical as model_file
from labelled_density import LabelledDensity
from labelled_values import at
from outline_checks import assert_prints_its_numbers, assert_speaks_for_the_graph
from scipy import stats
from scipy.special import expit

from bayes_her2.bayesian.clinical import Rows
from bayes_her2.comparison import concordance
from bayes_her2.data import DIFFERENCE, ClinicalOutcome, ModelChoices
from bayes_her2.errors import DataError
from bayes_her2.estimates import Estimates

PRIORS = {  # mean, its SD, SD between cohorts
    "intercept": (0.0, 1.5, 1.0),
    "slope": (0.0, 1.0, 0.25),
    "hr": (0.0, 1.5, 0.5),
    "interaction": (0.0, 1.0, 0.25),
}
SIZES = {
    ("A", "HR+"): 44,
    ("A", "HR-"): 36,
    ("B", "HR+"): 40,
    ("B", "HR-"): 30,
    ("C", "HR+"): 38,
}
CELLS = {"Zeta cells": 0.5, "Alpha cells": 0.4, "Rare in HR-": {"HR+": 0.5, "HR-": 62 / 66}}
OUTCOMES = (
    ClinicalOutcome("age > 50 years", "age", above=50.0),
    ClinicalOutcome("grade III", "grade", values=("III",)),  # B does not record it
    ClinicalOutcome("tumour > 2 cm", "size_cm", above=2.0),  # A alone
)
# Cohorts that inform intercept and slope: those that record the outcome; HR terms: those of them with both strata.
BASE = {"age > 50 years": "ABC", "grade III": "AC", "tumour > 2 cm": "A"}
BOTH = {"age > 50 years": "AB", "grade III": "A", "tumour > 2 cm": "A"}


def clinical_tumours(tumours_of, data_of, outcomes=OUTCOMES):
    tumours, abundance = tumours_of(61, SIZES, CELLS)
    rng = np.random.default_rng(62)
    tumours["age"] = rng.integers(35, 70, size=len(tumours)).astype(float)
    tumours["grade"] = pd.Series(
        rng.choice(["I", "II", "III"], size=len(tumours)), index=tumours.index, dtype="str"
    )
    tumours["size_cm"] = rng.uniform(0.5, 4.0, size=len(tumours))
    tumours.loc[tumours.index[::13], "age"] = np.nan
    tumours.loc[tumours["cohort"] == "B", "grade"] = pd.NA
    tumours.loc[tumours["cohort"] != "A", "size_cm"] = np.nan
    return data_of(tumours, abundance, settings=ModelChoices(clinical=outcomes))


@pytest.fixture(scope="module")
def data(tumours_of, data_of):
    return clinical_tumours(tumours_of, data_of).for_model("clinical")


def supported(data, outcome: str, cell_type: str, stratum: str) -> bool:
    inside = (data.tumours["hr"] == stratum) & data.clinical[outcome].notna()
    sides = [data.clinical.loc[inside, outcome] == 1.0, data.high.loc[inside, cell_type]]
    return all(min(s.sum(), (~s).sum()) >= 10 for s in sides)


def pairs(data) -> list[tuple[str, str]]:
    return [
        (o, c)
        for o in data.clinical.columns
        for c in data.high.columns
        if any(supported(data, o, c, s) for s in data.strata)
    ]


def varies(outcome: str, term: str) -> bool:
    return len((BASE if term in ("intercept", "slope") else BOTH)[outcome]) > 1


def dims_of(data) -> dict[str, dict[str, list[str]]]:
    every = [f"{o} | {c}" for o, c in pairs(data)]
    result = {}
    for term in PRIORS:
        dim = "base_by_cohort" if term in ("intercept", "slope") else "hr_terms_by_cohort"
        own = {dim: [f"{o} | {c}" for o, c in pairs(data) if varies(o, term)]}
        result |= {
            term: {"regression": every},
            f"{term}_between_cohorts_sd": own,
            f"{term}_by_cohort": {"cohort": list(data.cohorts)} | own,
        }
    return result


def random_values(data, seed: int) -> dict[str, xr.DataArray]:
    rng = np.random.default_rng(seed)
    values = {}
    for name, dims in dims_of(data).items():
        draws = rng.normal(0.0, 0.6, size=[len(v) for v in dims.values()])
        values[name] = xr.DataArray(
            0.1 + np.abs(draws) if name.endswith("_sd") else draws, dims=list(dims), coords=dims
        )
    return values


def coefficient(values, term: str, outcome: str, cell_type: str, cohort: str) -> float:
    label = f"{outcome} | {cell_type}"
    if not varies(outcome, term):
        return at(values[term], regression=label)
    array = values[f"{term}_by_cohort"]
    dim = next(str(d) for d in array.dims if d != "cohort")
    return at(array, **{dim: label, "cohort": cohort})


def log_likelihood(data, values) -> dict[str, float]:
    """Bernoulli of each tumour, by regression."""
    totals = {}
    for outcome, cell_type in pairs(data):
        total = 0.0
        for tumour, row in data.tumours.iterrows():
            true = data.clinical.at[tumour, outcome]
            if np.isnan(true) or not supported(data, outcome, cell_type, row["hr"]):
                continue
            high = float(data.high.at[tumour, cell_type])
            r = float(row["hr"] != data.reference)
            beta = {t: coefficient(values, t, outcome, cell_type, row["cohort"]) for t in PRIORS}
            eta = beta["intercept"] + beta["slope"] * high + beta["hr"] * r + beta["interaction"] * high * r
            total += stats.bernoulli.logpmf(int(true), expit(eta))
        totals[f"{outcome} | {cell_type}"] = total
    return totals


def log_prior(values) -> float:
    total = 0.0
    for term, (mu, sigma, between) in PRIORS.items():
        spread, own = values[f"{term}_between_cohorts_sd"], values[f"{term}_by_cohort"]
        dim = spread.dims[0]
        mean = values[term].sel(regression=spread[dim].to_numpy()).rename({"regression": dim})
        total += stats.norm.logpdf(values[term], mu, sigma).sum()
        total += stats.halfnorm.logpdf(spread, scale=between).sum()
        total += stats.norm.logpdf(*xr.broadcast(own, mean, spread)).sum()
    return float(total)


class Density:
    """Log density of a graph at labelled coefficients, without Jacobians: the observed node by regression."""

    def __init__(self, model) -> None:
        self.model = model
        self._of = LabelledDensity(model)

    def __call__(self, values) -> tuple[float, dict[str, float]]:
        terms = self._of(values)
        node = terms.pop("n_true").sum(axis=0)
        by_regression = dict(zip(self.model.coords["regression"], map(float, node), strict=True))
        return float(sum(np.sum(t) for t in terms.values())), by_regression


@pytest.fixture(scope="module")
def density(data):
    return Density(model_file.build(data, model_file.PRIORS))


def test_the_log_density_is_that_of_every_tumour_with_the_outcome_recorded(data, density):
    for seed in (1, 2):
        values = random_values(data, seed)
        prior, likelihood = density(values)
        assert likelihood == pytest.approx(log_likelihood(data, values), rel=1e-9)
        assert prior == pytest.approx(log_prior(values), rel=1e-8)


def test_there_is_no_parameter_that_two_regressions_share(data, density):
    # Every variable of the graph has a dim of regressions: nothing pools cell types or outcomes.
    model = density.model
    assert {v.name for v in model.free_RVs} == set(dims_of(data))
    for variable in model.free_RVs:
        dims = model.named_vars_to_dims[variable.name]
        assert dims[-1] in ("regression", "base_by_cohort", "hr_terms_by_cohort")


def test_other_cell_types_do_not_move_a_regression(data, density):
    high = data.high.copy()
    high["Alpha cells"] = ~high["Alpha cells"]
    values = random_values(data, 3)
    other = Density(model_file.build(replace(data, high=high), model_file.PRIORS))
    before, after = density(values)[1], other(values)[1]
    for label in before:
        if "Alpha" in label:
            assert after[label] != pytest.approx(before[label])
        else:
            assert after[label] == pytest.approx(before[label], rel=1e-12)


def test_the_order_of_rows_and_cell_types_does_not_matter(data, density):
    rows = np.random.default_rng(1).permutation(len(data.tumours))
    columns = list(data.high.columns[::-1])
    shuffled = replace(
        data,
        tumours=data.tumours.iloc[rows],
        abundance=data.abundance.iloc[rows][columns],
        high=data.high.iloc[rows][columns],
        clinical=data.clinical.iloc[rows][list(data.clinical.columns[::-1])],
    )
    values = random_values(data, 4)
    prior, likelihood = Density(model_file.build(shuffled, model_file.PRIORS))(values)
    expected_prior, expected = density(values)
    assert prior == pytest.approx(expected_prior, rel=1e-10)
    assert likelihood == pytest.approx(expected, rel=1e-10)


def test_margins_under_ten_are_said(data):
    assert not supported(data, "age > 50 years", "Rare in HR-", "HR-")
    table = data.clinical_parts.set_index(["outcome", "cell_type", "stratum"])
    assert table["clinical_modelled"].to_dict() == {
        (o, c, s): supported(data, o, c, s)
        for o in data.clinical.columns
        for c in data.high.columns
        for s in data.strata
    }
    reason = table.at[("age > 50 years", "Rare in HR-", "HR-"), "reason"]
    assert reason.startswith("HR-: 4 high among ")
    assert reason.endswith(" tumours (10 needed)")


def as_posterior(values) -> xr.Dataset:
    """Two equal draws."""
    made = {}
    for name, array in values.items():
        made[name] = array.expand_dims(chain=[0], draw=[0, 1])
    return xr.Dataset(made)


def test_estimands_are_read_back_by_label_with_their_status(data):
    values = random_values(data, 5)
    draws = model_file.estimand_draws(as_posterior(values), data, model_file.PRIORS, np.random.default_rng(1))
    table = model_file.estimates(draws, data).table
    assert set(table["contrast"]) == {"high over low abundance"}
    rows = table.set_index(["outcome", "exposure", "stratum", "scope", "cohort"])

    def found(outcome: str, cell_type: str, stratum: str, scope: str, cohort: str = "") -> pd.Series:
        return rows.loc[(outcome, f"high abundance of {cell_type}", stratum, scope, cohort)]

    for outcome in ("age > 50 years", "grade III"):
        label = f"{outcome} | Zeta cells"
        slope, change = (float(values[t].sel(regression=label)) for t in ("slope", "interaction"))
        for stratum, expected in {"HR+": slope, "HR-": slope + change, "HR- over HR+": change}.items():
            if supported(data, outcome, "Zeta cells", "HR-"):
                assert np.log(found(outcome, "Zeta cells", stratum, "pooled")["point"]) == pytest.approx(
                    expected
                )
        own = coefficient(values, "slope", outcome, "Zeta cells", "C")
        assert np.log(found(outcome, "Zeta cells", "HR+", "cohort", "C")["point"]) == pytest.approx(own)

    age = ("age > 50 years", "Zeta cells")
    assert found(*age, "HR+", "pooled")["status"] == "observed"
    assert found(*age, "HR-", "pooled")["status"] == "borrowed"  # C has no HR- tumours
    assert found(*age, "HR- over HR+", "pooled")["note"] == "rests on A, B alone"
    assert found(*age, "HR-", "cohort", "C")["status"] == "borrowed"
    grade = found("grade III", "Zeta cells", "HR+", "cohort", "B")
    assert grade["status"] == "borrowed"
    assert "B does not tell tumours with 'grade III' from others" in grade["note"]
    assert "left out: B, without 'grade III'" in found("grade III", "Zeta cells", "HR+", "pooled")["note"]
    size = found("tumour > 2 cm", "Zeta cells", "HR+", "new cohort")
    assert (size["status"], size["note"]) == (
        "prior-only",
        "A alone: the spread between cohorts is the prior's",
    )
    rare = found("age > 50 years", "Rare in HR-", "HR-", "pooled")
    assert rare["status"] == "not estimable"
    assert np.isnan(rare["point"])
    inside = (data.tumours["hr"] == "HR+") & data.clinical["grade III"].notna()
    assert found("grade III", "Zeta cells", "HR+", "pooled")["n"] == inside.sum()


def test_no_sign_is_called_since_nothing_counts_the_cell_types(data):
    # Each regression has a fixed prior of its own: among 21 without an effect an s-value of 0.05 would be reached in
    # 85 % of studies. So the column is empty, however sure the draws.
    values = random_values(data, 6)
    draws = model_file.estimand_draws(as_posterior(values), data, model_file.PRIORS, np.random.default_rng(1))
    sure = {key: xr.ones_like(array) * 2.0 for key, array in draws.items()}
    table = model_file.estimates(sure, data).table
    observed = table[table["status"] == "observed"]
    assert (observed["lfsr"] == 0).all()
    assert table["s_value"].isna().all()
    beside = table.assign(source="twin", method="cohort fixed", p_value=np.nan, p_adjusted=np.nan)
    assert not concordance(Estimates(table), Estimates(beside))["discovery_bayes"].any()


def test_a_stratum_of_a_cohort_with_fewer_than_ten_tumours_is_borrowed(tumours_of, data_of):
    outcome = (ClinicalOutcome("age > 50 years", "age", above=50.5),)
    sizes = {("A", "HR+"): 80, ("A", "HR-"): 60, ("B", "HR+"): 70, ("B", "HR-"): 3}
    tumours, abundance = tumours_of(3, sizes, {"Zeta cells": 0.5})
    tumours["age"] = np.random.default_rng(4).integers(35, 70, size=len(tumours)).astype(float)
    data = data_of(tumours, abundance, settings=ModelChoices(clinical=outcome)).for_model("clinical")
    rows = Rows(data, "odds ratio")

    def standing(stratum: str, scope: str, cohort: str = ""):
        named = {"outcome": "age > 50 years", "cell_type": "Zeta cells", "stratum": stratum, "cohort": cohort}
        return rows.describe("clinical_odds", scope, named).standing

    pooled = standing("HR-", "pooled")
    assert pooled.status == "borrowed"
    assert "rests on A for HR- tumours" in pooled.note
    assert "B has 3 HR- tumours (10 needed)" in pooled.note
    own = standing("HR-", "cohort", "B")
    assert own.status == "borrowed"
    assert own.note.startswith("B has 3 HR- tumours (10 needed)")
    contrast = standing(DIFFERENCE, "pooled")
    assert contrast.status == "observed"
    assert contrast.note == "rests on A alone; B has 3 HR- tumours (10 needed)"
    assert standing("HR+", "pooled").status == "observed"


def test_the_default_priors_are_those_of_the_specification():
    expected = {}
    for term, (mu, sigma, between) in PRIORS.items():
        expected[f"{term}_mean"] = f"Normal({mu:g}, {sigma:g})"
        expected[f"{term}_between_cohorts_sd"] = f"HalfNormal({between:g})"
    assert {name: str(prior) for name, prior in model_file.PRIORS.items()} == expected


def test_outcomes_that_nobody_can_inform_are_refused(tumours_of, data_of):
    rare = (ClinicalOutcome("age > 68 years", "age", above=68.5),)
    with pytest.raises(
        DataError, match="no outcome \\(age > 68 years\\) has 10 tumours with it and 10 without"
    ):
        clinical_tumours(tumours_of, data_of, rare).for_model("clinical")
    wrong = (ClinicalOutcome("grade 3", "grade", values=("3",)),)
    with pytest.raises(DataError, match="no tumour has grade 3; recorded are I, II, III"):
        clinical_tumours(tumours_of, data_of, wrong).for_model("clinical")


def test_numbers_beside_a_cohort_without_them_are_still_numbers(tumours_of, data_of):
    tumours = clinical_tumours(tumours_of, data_of)
    grade = tumours.tumours["grade"].map({"I": 1.0, "II": 2.0, "III": 3.0}).astype(object)
    numeric = replace(
        tumours,
        tumours=tumours.tumours.assign(grade=grade),
        settings=ModelChoices(clinical=(ClinicalOutcome("grade III", "grade", values=("3",)),)),
    )
    expected = (tumours.tumours["grade"] == "III").sum()
    assert numeric.for_model("clinical").clinical["grade III"].sum() == expected


def test_replicated_counts_have_the_odds_of_the_model_and_what_is_modelled_stays(data):
    values = random_values(data, seed=11)
    draw = xr.Dataset({name: array.expand_dims(chain=1, draw=1) for name, array in values.items()})
    n, keys = 60, ["outcome", "cell_type", "cohort", "hr", "high"]
    before = data.clinical_counts.set_index(keys)
    made = [model_file.replicated(draw, data, np.random.default_rng(seed)) for seed in range(n)]
    counts = [one.clinical_counts.set_index(keys) for one in made]
    assert all(c[["n", "n_zero"]].equals(before[["n", "n_zero"]]) for c in counts)
    assert all(one.clinical_parts.equals(data.clinical_parts) for one in made)
    total = sum(c["n_true"] for c in counts)
    scores = []
    for (outcome, cell_type, cohort, hr, high), row in before.iterrows():
        if not supported(data, outcome, cell_type, hr):
            assert total[(outcome, cell_type, cohort, hr, high)] == n * row["n_true"]
            continue
        terms = {"intercept": 1.0, "slope": high, "hr": hr == "HR-", "interaction": high and hr == "HR-"}
        eta = sum(x * coefficient(values, t, outcome, cell_type, cohort) for t, x in terms.items())
        expected, p = row["n"] * expit(eta), expit(eta)
        scores.append(
            (total[(outcome, cell_type, cohort, hr, high)] / n - expected) / np.sqrt(expected * (1 - p) / n)
        )
    assert len(scores) > 30
    assert np.abs(scores).max() < 4.5  # binomial standard errors; the largest of some hundred differences
    # It is data that the model can be built on, of the same structure.
    again = model_file.build(made[0], model_file.PRIORS)
    assert {k: len(v) for k, v in again.coords.items()} == {
        k: len(v) for k, v in model_file.build(data, model_file.PRIORS).coords.items()
    }


def test_its_outline_is_that_of_its_graph(data):
    assert_speaks_for_the_graph(model_file, data)
    assert_prints_its_numbers(model_file, data)
