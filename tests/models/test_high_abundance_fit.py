"""One small fit of high abundance: planted odds ratios are found, and separation is survived and named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from bayes_her2.models import high_abundance as model_file
from scipy.special import expit

from bayes_her2.bayesian.fit import Sampling, sample
from bayes_her2.comparison import concordance
from bayes_her2.frequentist import high_abundance_twin

pytestmark = pytest.mark.sampling

CONDITIONAL = "high_abundance_conditional"
SIZES = {("K1", "HR+"): 260, ("K1", "HR-"): 120, ("K2", "HR+"): 240, ("K2", "HR-"): 130}
PLANTED = {
    # level, slope, HR shift, interaction (log odds); presence is the rule, for more than a quarter is zero
    "Rises": (-0.4, 0.8, 0.3, 0.0),
    "Falls in HR- only": (-0.3, 0.1, -0.2, -1.1),
    "Null": (0.2, 0.0, 0.0, 0.0),
}
SEPARATED = "Separated in HR-"


@pytest.fixture(scope="module")
def data(data_of):
    rng = np.random.default_rng(51)
    rows = [(cohort, hr) for (cohort, hr), n in SIZES.items() for _ in range(n)]
    tumours = pd.DataFrame(rows, columns=["cohort", "hr"], dtype="str")
    tumours.index = pd.Index([f"{c}/{i:03d}" for i, c in enumerate(tumours["cohort"])], name="tumour")
    tumours["platform"] = tumours["cohort"]
    tumours["her2"] = rng.normal(7.0, 1.3, size=len(tumours))
    some = pd.DataFrame({"x": np.arange(len(tumours)) % 2 * 0.1}, index=tumours.index)
    h = data_of(tumours, some).for_model("high_abundance").tumours["her2_sd"].loc[tumours.index]
    other = (tumours["hr"] == "HR-").astype(float)
    abundance = {}
    for name, (level, slope, shift, interaction) in PLANTED.items():
        p = expit(level + slope * h + other * (shift + interaction * h))
        abundance[name] = np.where(rng.uniform(size=len(p)) < p, rng.gamma(2.0, 0.04, len(p)), 0.0)
    negative = tumours["hr"] == "HR-"
    present = np.where(negative, h > 0.4, rng.uniform(size=len(h)) < 0.5)
    abundance[SEPARATED] = np.where(present, 0.05, 0.0)
    return data_of(tumours, pd.DataFrame(abundance, index=tumours.index)).for_model("high_abundance")


@pytest.fixture(scope="module")
def draws(data):
    graph = model_file.build(data, model_file.PRIORS)
    tree = sample(graph, Sampling(chains=2, tune=500, draws=700, seed=3), progress=False)
    assert int(tree["sample_stats"]["diverging"].sum()) == 0
    posterior = tree["posterior"].to_dataset()
    estimands = model_file.estimand_draws(posterior, data, model_file.PRIORS, np.random.default_rng(1))
    return graph, posterior, estimands


@pytest.fixture(scope="module")
def ours(data, draws) -> pd.DataFrame:
    return model_file.estimates(draws[2], data)


@pytest.fixture(scope="module")
def twin(data) -> pd.DataFrame:
    return high_abundance_twin(data)


def row(table: pd.DataFrame, **equal: str) -> pd.Series:
    for column, value in equal.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.squeeze(axis=0)


def test_planted_odds_ratios_are_within_their_intervals_and_signs_are_found(ours):
    for name, (_, slope, _, interaction) in PLANTED.items():
        for stratum, truth in {
            "HR+": slope,
            "HR-": slope + interaction,
            "HR- over HR+": interaction,
        }.items():
            found = row(ours.table, outcome=name, estimand=CONDITIONAL, stratum=stratum, scope="pooled")
            assert np.log(found["lower"]) < truth < np.log(found["upper"]), (name, stratum)
            if abs(truth) > 0.5:
                assert found["pd"] > 0.95
                assert (found["point"] > 1) == (truth > 0)


def test_with_many_tumours_a_cohort_s_posterior_is_near_its_maximum_likelihood(ours, twin):
    # 240 tumours of one stratum: the likelihood has SE 0.14, pooled towards cell types and cohorts by less than one SE.
    for name in PLANTED:
        labels = {
            "outcome": name,
            "estimand": CONDITIONAL,
            "stratum": "HR+",
            "scope": "cohort",
            "cohort": "K1",
        }
        posterior = row(ours.table, **labels)
        estimate = row(twin.table, **labels, method="logistic regression")
        se = np.log(estimate["upper"] / estimate["lower"]) / (2 * 1.96)
        assert abs(np.log(posterior["point"] / estimate["point"])) < se


def test_a_separated_stratum_has_a_finite_posterior_and_a_twin_that_says_so(ours, twin):
    labels = {"outcome": SEPARATED, "estimand": CONDITIONAL, "stratum": "HR-"}
    posterior = row(ours.table, **labels, scope="pooled")
    assert posterior["status"] == "observed"
    assert np.isfinite(posterior[["point", "lower", "upper"]].to_numpy(float)).all()
    assert posterior["lower"] > 1
    named = twin.table[(twin.table["outcome"] == SEPARATED) & (twin.table["stratum"] == "HR-")]
    assert set(named.loc[named["scope"] != "new cohort", "status"]) == {"separated"}
    assert named["point"].isna().all()
    pair = row(concordance(ours, twin), **labels, scope="pooled")
    assert pair["verdict"] == "not estimable"
    assert "no finite slope maximises the likelihood" in pair["note"]


def test_posterior_and_twin_agree_where_both_speak(ours, twin):
    pairs = concordance(ours, twin)
    judged = pairs[~pairs["verdict"].isin(["not estimable", "not compared"])]
    assert len(judged) >= 20
    assert "contradicts" not in set(judged["verdict"])
    assert len(pairs) == len(ours.table)  # every posterior row has its twin


def test_shares_are_replicated_at_both_ends_of_her2(draws, data):
    graph, posterior, _ = draws
    table = model_file.predictive_checks(graph, posterior, data, 1, 0.95)
    assert set(table["statistic"]) == {
        "share high",
        "share high, lowest third of HER2",
        "share high, highest third of HER2",
    }
    well_specified = table[table["cell_type"].isin(PLANTED)]
    assert well_specified["inside"].mean() > 0.9


def test_further_tables_name_the_rule_and_the_spread(draws, data):
    _, posterior, estimands = draws
    tables = model_file.tables(posterior, estimands, data, model_file.PRIORS, interval=0.95)
    assert set(tables) == {"heterogeneity", "interaction_sweep", "prior_on_published", "counts"}
    assert set(tables["heterogeneity"]["part"]) == {"high"}
    assert set(tables["interaction_sweep"]["part"]) == {"high"}
    counts = tables["counts"].set_index(["cell_type", "cohort", "hr"])
    inside = (data.tumours["cohort"] == "K2") & (data.tumours["hr"] == "HR-")
    assert counts.at[("Rises", "K2", "HR-"), "n_high"] == data.high.loc[inside, "Rises"].sum()
    assert counts.at[("Rises", "K2", "HR-"), "high_rule"] == "presence"
