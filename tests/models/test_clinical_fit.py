"""One small fit of the clinical model: planted odds ratios, an empty cell, and its twin beside it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from bayes_her2.models import clinical as model_file
from scipy.special import expit

from bayes_her2.bayesian.fit import Sampling, sample
from bayes_her2.comparison import concordance
from bayes_her2.data import ClinicalOutcome, ModelChoices
from bayes_her2.frequentist import clinical_twin

pytestmark = pytest.mark.sampling

SIZES = {("K1", "HR+"): 320, ("K1", "HR-"): 160, ("K2", "HR+"): 300, ("K2", "HR-"): 150}
OLD, LARGE = "age > 50 years", "tumour > 2 cm"
# Log odds ratio of high against low abundance of `Driver` in HR+ and in HR-; `Bystander` has none.
PLANTED = {OLD: {"HR+": 0.9, "HR-": -0.6}, LARGE: {"HR+": 0.0, "HR-": 0.0}}


@pytest.fixture(scope="module")
def data(tumours_of, data_of):
    tumours, abundance = tumours_of(71, SIZES, {"Driver": 0.5, "Bystander": 0.4, "Empty cell": 0.5})
    rng = np.random.default_rng(72)
    high = (abundance["Driver"] > 0).astype(float)
    level = tumours["cohort"].map({"K1": -0.3, "K2": 0.4}) + 0.3 * (tumours["hr"] == "HR-")
    for outcome, field, (below, above) in ((OLD, "age", (45.0, 60.0)), (LARGE, "size_cm", (1.5, 3.0))):
        slope = tumours["hr"].map(PLANTED[outcome])
        true = rng.uniform(size=len(tumours)) < expit(level + slope * high)
        tumours[field] = np.where(true, above, below)
    tumours.loc[tumours["cohort"] == "K2", "size_cm"] = np.nan
    # In HR- of K1 nobody with this cell type is older than 50: an empty cell.
    own = (tumours["cohort"] == "K1") & (tumours["hr"] == "HR-")
    abundance.loc[own & (tumours["age"] > 50), "Empty cell"] = 0.0
    chosen = (ClinicalOutcome(OLD, "age", above=50.0), ClinicalOutcome(LARGE, "size_cm", above=2.0))
    return data_of(tumours, abundance, settings=ModelChoices(clinical=chosen)).for_model("clinical")


@pytest.fixture(scope="module")
def fitted(data):
    graph = model_file.build(data, model_file.PRIORS)
    tree = sample(graph, Sampling(chains=2, tune=500, draws=700, seed=3), progress=False)
    assert int(tree["sample_stats"]["diverging"].sum()) == 0
    posterior = tree["posterior"].to_dataset()
    draws = model_file.estimand_draws(posterior, data, model_file.PRIORS, np.random.default_rng(1))
    return graph, posterior, model_file.estimates(draws, data)


@pytest.fixture(scope="module")
def twin(data):
    return clinical_twin(data)


def row(table: pd.DataFrame, **equal: str) -> pd.Series:
    for column, value in equal.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.squeeze(axis=0)


def test_planted_odds_ratios_are_within_their_intervals(fitted):
    table = fitted[2].table
    for outcome, by_stratum in PLANTED.items():
        truth = by_stratum | {"HR- over HR+": by_stratum["HR-"] - by_stratum["HR+"]}
        for stratum, expected in truth.items():
            found = row(
                table, outcome=outcome, exposure="high abundance of Driver", stratum=stratum, scope="pooled"
            )
            assert np.log(found["lower"]) < expected < np.log(found["upper"]), (outcome, stratum)
            if abs(expected) > 0.8:
                # 4 SE away from 0, the spread between two cohorts included: 0.22 in HR+, 0.36 for the ratio. The
                # -0.6 of HR- is 2 SE away and would miss this one time in three.
                assert found["pd"] > 0.95
                assert (found["point"] > 1) == (expected > 0)


def test_with_many_tumours_one_cohort_s_posterior_is_near_the_maximum_likelihood(fitted, twin):
    # K1 alone records size: 480 tumours and a prior SD of 1 on a log odds ratio of SE about 0.23 to 0.33.
    for exposure in ("Driver", "Bystander"):
        for stratum in ("HR+", "HR-"):
            labels = {"outcome": LARGE, "exposure": f"high abundance of {exposure}", "stratum": stratum}
            ours = row(fitted[2].table, **labels, scope="pooled")
            theirs = row(twin.table, **labels, scope="cohort", cohort="K1", method="logistic regression")
            se = np.log(theirs["upper"] / theirs["lower"]) / (2 * 1.96)
            # shrinkage by the prior is at most SE^2 / (1 + SE^2) of the estimate; the rest is Monte Carlo
            assert abs(np.log(ours["point"] / theirs["point"])) < 0.3 * se


def test_an_empty_cell_has_a_finite_posterior_and_a_twin_that_says_separated(fitted, twin):
    labels = {"outcome": OLD, "exposure": "high abundance of Empty cell", "stratum": "HR-", "cohort": "K1"}
    ours = row(fitted[2].table, **labels)
    assert ours["status"] == "observed"
    assert 0 < ours["lower"] < ours["upper"] < 1
    theirs = row(twin.table, **labels, method="logistic regression")
    assert theirs["status"] == "separated"
    assert np.isnan(theirs["point"])


def test_every_posterior_row_has_its_twin_and_none_contradicts(fitted, twin):
    pairs = concordance(fitted[2], twin)
    assert len(pairs) == len(fitted[2].table)
    judged = pairs[~pairs["verdict"].isin(["not estimable", "not compared"])]
    assert len(judged) > 20
    assert "contradicts" not in set(judged["verdict"])


def test_shares_are_replicated_on_both_sides_of_the_abundance(fitted, data):
    graph, posterior, _ = fitted
    table = model_file.predictive_checks(graph, posterior, data, 1, 0.95)
    assert set(table["statistic"]) == {
        f"{outcome}, {side} abundance" for outcome in (OLD, LARGE) for side in ("high", "low")
    }
    assert table["inside"].mean() > 0.9
    assert set(table.loc[table["statistic"].str.startswith(LARGE), "cohort"]) == {"K1"}
    checks = model_file.prior_checks(graph, data, 1)
    assert checks["passed"].all()
