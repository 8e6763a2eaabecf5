"""Fits of the response model: the exact posterior of Table 2, planted odds ratios, the twin beside it, I-SPY2."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from bayes_her2.models import treatment_response as model_file
from response_sets import ISPY2, PCR, one_row, response_set, simulated_arms

from bayes_her2.bayesian.fit import Sampling, fit_model, read_fit
from bayes_her2.bayesian.map_prior import map_prior, mixture_prior
from bayes_her2.bayesian.priors import NormalMixture
from bayes_her2.bayesian.response import Rows
from bayes_her2.bayesian.two_by_two import TwoByTwo, exact_posterior
from bayes_her2.comparison import concordance
from bayes_her2.data import HER2_LOW, HER2_ZERO, EvidenceSet
from bayes_her2.evidence.response import seed_study_response
from bayes_her2.evidence.selection import studies_for
from bayes_her2.evidence.table import shipped_evidence
from bayes_her2.frequentist import sample_size, treatment_response_twin
from bayes_her2.inputs.response import read_response_patients

pytestmark = pytest.mark.sampling

SETTINGS = Sampling(chains=4, tune=800, draws=1_500, seed=11)
PLANTED = {"HR+": -0.9, "HR-": 0.8}


@pytest.fixture(scope="session")
def table_2():
    """Fit of the seed study's Table 2: both outcomes in one graph."""
    data = seed_study_response()
    fit = fit_model("treatment_response", data, sampling=SETTINGS, progress=False)
    return data, fit, model_file.estimates(fit.estimand_draws, data)


@pytest.fixture(scope="session")
def arms():
    """Fit of four simulated arms with planted odds ratios."""
    data = simulated_arms(31, n=150, slopes=PLANTED)
    fit = fit_model("treatment_response", data, sampling=SETTINGS, progress=False)
    return data, fit, model_file.estimates(fit.estimand_draws, data)


def test_the_fits_pass_the_gate(table_2, arms):
    for _, fit, _ in (table_2, arms):
        assert fit.diagnostics.passed, fit.diagnostics.reasons
        assert not fit.retried
    assert "slope_between_arms_sd" in set(arms[1].diagnostics.table["quantity"])


def test_table_2_has_its_exact_posterior(table_2):
    data, fit, found = table_2
    below = model_file.tables(fit.posterior, fit.estimand_draws, data, fit.priors, interval=0.95)
    priors = {"slope": fit.priors["slope_hr_negative"], "intercept": fit.priors["intercept"]}
    for outcome in data.outcomes:
        exact = exact_posterior(TwoByTwo.of(data, outcome), **priors)
        draws = fit.estimand_draws["response_odds", "pooled"].sel(outcome=outcome, stratum="HR-")
        mean, sd = exact.moments
        se = sd / np.sqrt(1_200)  # at least the gate's effective sample size
        assert float(draws.mean()) == pytest.approx(mean, abs=4 * se)
        ours = one_row(found.table, outcome=outcome, estimand="response_odds")
        for q, column in ((0.025, "lower"), (0.5, "point"), (0.975, "upper")):
            density = np.interp(exact.quantile(q), exact.slope, exact.weights) / (
                exact.slope[1] - exact.slope[0]
            )
            error = np.sqrt(q * (1 - q) / 1_200) / density
            assert np.log(ours[column]) == pytest.approx(exact.quantile(q), abs=4 * error)
        p = one_row(below["probability_below_1"], outcome=outcome)
        assert p["probability_below_1"] == pytest.approx(exact.probability_below_1, abs=4 * p["mcse"])


def test_the_next_50_patients_are_a_binomial_over_the_posterior(table_2):
    data, fit, found = table_2
    for outcome in data.outcomes:
        level = fit.posterior["intercept"].sel(outcome=outcome, stratum="HR-")
        slope = fit.posterior["slope_hr_negative"].sel(outcome=outcome)
        for her2, half in ((HER2_LOW, 0.5), (HER2_ZERO, -0.5)):
            p = 1 / (1 + np.exp(-(level + half * slope)))
            draws = fit.estimand_draws["responders_of_next_50", "pooled"].sel(
                outcome=outcome, stratum="HR-", her2=her2
            )
            spread = float(np.sqrt((50 * p * (1 - p)).mean() + (50 * p).var()))
            assert float(draws.mean()) == pytest.approx(float(50 * p.mean()), abs=4 * spread / np.sqrt(1_200))
            assert float(draws.std()) == pytest.approx(spread, rel=0.1)
            ours = one_row(found.table, outcome=outcome, estimand="responders_of_next_50", contrast=her2)
            assert ours["lower"] < 50 * float(p.mean()) < ours["upper"]


def test_a_borrowed_prior_in_the_graph_is_the_exact_mixture_posterior():
    data = seed_study_response().for_outcome(PCR)
    pool = studies_for(shipped_evidence(), PCR, scale="odds ratio", adjustment="crude", hr_stratum="HR-")
    prior = map_prior(pool, new=data).robust(vague=model_file.PRIORS["slope_hr_negative"])
    priors = model_file.PRIORS | {"slope_hr_negative": prior}
    fit = fit_model("treatment_response", data, priors, SETTINGS, progress=False)
    assert fit.diagnostics.passed, fit.diagnostics.reasons
    exact = exact_posterior(TwoByTwo.of(data, PCR), slope=prior, intercept=priors["intercept"])
    draws = fit.estimand_draws["response_odds", "pooled"]
    mean, sd = exact.moments
    assert float(draws.mean()) == pytest.approx(mean, abs=4 * sd / np.sqrt(1_200))
    below = float((draws < 0).mean())
    assert below == pytest.approx(exact.probability_below_1, abs=4 * np.sqrt(below * (1 - below) / 1_200))


def test_the_predictive_prior_is_the_evidence_synthesis_s_prediction_for_a_new_study():
    pool = studies_for(shipped_evidence(), PCR, scale="odds ratio", adjustment="crude", hr_stratum="all")
    exact = map_prior(pool).target
    fit = fit_model("evidence_synthesis", EvidenceSet((pool,)), sampling=SETTINGS, progress=False)
    assert fit.diagnostics.passed, fit.diagnostics.reasons
    # The synthesis has binomial arms with base rates of their own, the quadrature the conditional likelihood of the
    # tables: for these counts (one arm has five responders) the two differ by less than the sampling error.
    pairs = {
        "new cohort": (exact.mean, exact.sd),
        "pooled": exact.mean_moments,
    }
    for scope, (mean, sd) in pairs.items():
        draws = fit.estimand_draws["published_ratio", scope]
        assert float(draws.mean()) == pytest.approx(mean, abs=4 * sd / np.sqrt(1_200)), scope
    tau = fit.posterior["between_studies_sd"]
    assert float(tau.mean()) == pytest.approx(
        exact.tau_moments[0], abs=4 * exact.tau_moments[1] / np.sqrt(1_200)
    )


def test_a_fit_is_written_and_read_with_its_mixture_prior(table_2, tmp_path):
    mixture = mixture_prior(
        NormalMixture(np.array([0.4, 0.6]), np.array([0.0, -0.4]), np.array([1.0, 0.2])), "x"
    )
    fit = replace(table_2[1], priors=table_2[1].priors | {"slope_hr_negative": mixture})
    fit.to_netcdf(tmp_path / "fit.nc")
    assert read_fit(tmp_path / "fit.nc").priors["slope_hr_negative"] == mixture


def test_planted_odds_ratios_are_within_their_intervals(arms):
    table = arms[2].table
    truth = PLANTED | {"HR- over HR+": PLANTED["HR-"] - PLANTED["HR+"]}
    for stratum, expected in truth.items():
        # 1,200 patients of each stratum: SE about 0.12, the sign is never in doubt.
        found = one_row(table, estimand="response_odds", stratum=stratum, scope="pooled")
        assert np.log(found["lower"]) < expected < np.log(found["upper"])
        assert found["pd"] > 0.999
        new = one_row(table, estimand="response_odds", stratum=stratum, scope="new cohort")
        assert new["lower"] < found["lower"] < found["upper"] < new["upper"]
        single = table[
            (table["estimand"] == "response_odds")
            & (table["stratum"] == stratum)
            & (table["scope"] == "cohort")
        ]
        assert len(single) == 4
        assert (single["status"] == "observed").all()
    for stratum in PLANTED:
        number = one_row(table, estimand="number_needed", stratum=stratum)
        difference = one_row(table, estimand="response_difference", stratum=stratum)
        assert number["status"] == "observed"
        assert number["point"] == pytest.approx(1 / abs(difference["point"]))
        assert number["lower"] < number["point"] < number["upper"]
        assert pd.isna(number["pd"])


def test_every_posterior_row_has_its_twin_and_they_agree(arms, table_2):
    for data, _, found in (arms, table_2):
        pairs = concordance(found, treatment_response_twin(data))
        judged = found.table[~found.table["estimand"].isin(["number_needed", "responders_of_next_50"])]
        # A difference between HR strata of a new arm has a posterior alone.
        alone = (judged["scope"] == "new cohort") & (judged["stratum"] == "HR- over HR+")
        # So has the risk difference over random arms, each with an odds ratio of its own.
        if data.arms_are_random:
            alone |= (judged["scope"] == "pooled") & (judged["estimand"] == "response_difference")
        assert len(pairs) == len(judged[~alone])
        assert (pairs["n"] == pairs["n_twin"]).all()
    pairs = concordance(arms[2], treatment_response_twin(arms[0]))
    pooled = pairs[pairs["scope"] == "pooled"]
    assert set(pooled["verdict"]) == {"agrees"}
    # 1,200 patients against a prior SD of 1: shrinkage of the log odds ratio by SE^2, about 2 %.
    assert (pooled["difference"].abs() < 0.15).all()


def test_responders_are_replicated(arms, table_2):
    for data, fit, _ in (arms, table_2):
        graph = model_file.build(data, fit.priors)
        table = model_file.predictive_checks(graph, fit.posterior, data, 1, 0.95)
        assert table["inside"].mean() > 0.9
        assert len(table) == len(data.rows)


def test_an_arm_without_a_level_is_said_to_be_so():
    data = response_set(
        {
            (PCR, "HR-", "A"): (30, 12, 30, 16),
            (PCR, "HR-", "B"): (12, 5, 0, 0),
            (PCR, "HR-", "C"): (5, 2, 25, 9),
        }
    )
    fit = fit_model("treatment_response", data, sampling=SETTINGS, progress=False)
    table = model_file.estimates(fit.estimand_draws, data).table
    absent = one_row(table, estimand="response_odds", scope="cohort", cohort="B")
    assert absent["status"] == "not estimable"
    assert absent["note"] == "no HER2-0 patients in HR- in B"
    few = one_row(table, estimand="response_odds", scope="cohort", cohort="C")
    assert few["status"] == "borrowed"
    assert few["note"] == "few patients: 5 HER2-low patients in HR- in C; leans on the other arms"
    assert one_row(table, estimand="response_odds", scope="pooled")["status"] == "borrowed"
    assert one_row(table, estimand="response_difference", scope="pooled")["status"] == "observed"
    pairs = concordance(model_file.estimates(fit.estimand_draws, data), treatment_response_twin(data))
    pooled = one_row(pairs, estimand="response_odds", scope="pooled")
    assert pooled["verdict"] == "not compared"
    assert "twin: arms random, tau^2 0" in pooled["note"]


@pytest.mark.parametrize("n_arms", [2, 3, 4])
def test_few_random_arms_say_that_their_spread_is_the_prior_s(n_arms):
    data = simulated_arms(3, n=20, slopes=PLANTED, arms=n_arms)
    few = f"{n_arms} arms with both levels, fewer than 4: the spread between arms is mostly the prior's"
    for stratum in (*PLANTED, "HR- over HR+"):
        for scope, status in (("pooled", "borrowed"), ("new cohort", "prior-only")):
            labels = {"outcome": PCR, "stratum": stratum}
            found = Rows(data).describe("response_odds", scope, labels).standing
            assert (found.status, found.note) == ((status, few) if n_arms < 4 else ("observed", ""))
    # A risk difference is an average over the patients at hand, not over arms.
    difference = Rows(data).describe("response_difference", "pooled", {"outcome": PCR, "stratum": "HR+"})
    assert (difference.standing.status, difference.standing.note) == ("observed", "")


def of(data, estimand: str, scope: str, **labels: str):
    return Rows(data).describe(estimand, scope, {"outcome": PCR, "stratum": "all", **labels}).standing


def test_where_an_arm_lacks_a_level_or_a_stratum_the_prior_is_no_result():
    level = response_set(
        {(PCR, "HR-", "Ctr"): (30, 6, 0, 0), (PCR, "HR-", "T"): (30, 15, 30, 12)}, control="Ctr"
    )
    stratum = response_set(
        {
            (PCR, "HR+", "Ctr"): (30, 6, 30, 4),
            (PCR, "HR+", "T"): (30, 10, 30, 8),
            (PCR, "HR-", "T"): (30, 20, 30, 22),
        },
        control="Ctr",
    )
    ratio = of(level, "ratio_of_odds_ratios", "pooled")
    assert (ratio.status, ratio.note) == ("not estimable", "no HER2-0 patients in Ctr")
    assert of(stratum, "ratio_of_odds_ratios", "pooled").status == "observed"
    for data, her2, note in (
        (level, "HER2-0", "no HER2-0 patients in Ctr"),
        (stratum, "HER2-low", "no HR- patients in Ctr"),
    ):
        found = of(data, "treatment_difference", "pooled", her2=her2)
        assert (found.status, found.note) == ("not estimable", note)
    for data in (level, stratum):
        fit = fit_model("treatment_response", data, sampling=SETTINGS, progress=False)
        table = model_file.estimates(fit.estimand_draws, data).table
        not_estimable = table["status"] == "not estimable"
        assert table.loc[not_estimable, ["point", "lower", "upper"]].isna().all(axis=None)
        pairs = concordance(
            model_file.estimates(fit.estimand_draws, data), treatment_response_twin(data)
        ).set_index(["estimand", "contrast"])
        both = pairs.loc[["treatment_difference"]]
        assert "not estimable" in set(both["verdict"])


def test_a_table_in_which_everybody_or_nobody_responded_is_the_prior_s():
    everybody = response_set({(PCR, "HR-", "all"): (20, 20, 25, 25), (PCR, "HR+", "all"): (20, 5, 25, 9)})
    found = of(everybody, "response_odds", "pooled", stratum="HR-")
    assert found.status == "prior-only"
    assert found.note.startswith("everybody of HR- responded, at both levels")
    assert of(everybody, "response_odds", "pooled", stratum="HR- over HR+").status == "prior-only"
    assert of(everybody, "response_odds", "pooled", stratum="HR+").status == "observed"
    arms = response_set(
        {(PCR, "HR-", "Ctr"): (20, 0, 25, 0), (PCR, "HR-", "T"): (20, 5, 25, 9)}, control="Ctr"
    )
    ratio = of(arms, "ratio_of_odds_ratios", "pooled")
    assert (ratio.status, ratio.note) == (
        "prior-only",
        "nobody in Ctr responded, at either level: the odds ratio is the prior's",
    )


def test_the_next_patients_of_a_level_are_like_its_own():
    # HER2-low mostly HR+, where few respond; HER2-0 mostly HR-: the levels' own rates are 0.29 and 0.63.
    data = response_set(
        {(PCR, "HR+", "T"): (180, 36, 20, 4), (PCR, "HR-", "T"): (20, 14, 180, 122)}
        | {(PCR, hr, "Ctr"): (60, 20, 60, 20) for hr in ("HR+", "HR-")},
        control="Ctr",
    )
    fit = fit_model("treatment_response", data, sampling=SETTINGS, progress=False)
    table = model_file.estimates(fit.estimand_draws, data).table
    for level, rate in (("HER2-low", 50 / 200), ("HER2-0", 126 / 200)):
        row = one_row(table, estimand="responders_of_next_50", cohort="T", contrast=level)
        # A rate of 200 patients and the binomial of 50: the median is within one patient and half of 50 times the rate.
        assert row["point"] == pytest.approx(50 * rate, abs=1.5)


def test_an_arm_without_a_level_does_not_inform_the_spread():
    counts = {(PCR, "HR-", arm): (30, 12, 30, 16) for arm in "ABC"} | {(PCR, "HR-", "D"): (12, 5, 0, 0)}
    found = Rows(response_set(counts)).describe("response_odds", "pooled", {"outcome": PCR, "stratum": "HR-"})
    assert found.standing.status == "borrowed"
    assert found.standing.note.startswith("3 arms with both levels, fewer than 4")


@pytest.fixture(scope="session")
def ispy2(real_data):
    """I-SPY2's pembrolizumab and control arms."""
    path = real_data / "ispy2" / "ispy2_clinical_instaprism.csv"
    data = read_response_patients(path, ISPY2, name="I-SPY2", arms=["Ctr", "Pembro"], control="Ctr")
    fit = fit_model("treatment_response", data, sampling=SETTINGS, progress=False)
    return data, fit, model_file.estimates(fit.estimand_draws, data)


@pytest.mark.real_data
def test_ispy2_cannot_tell_yet_whether_the_level_matters_to_pembrolizumab(ispy2):
    data, fit, found = ispy2
    assert fit.diagnostics.passed, fit.diagnostics.reasons
    twin = treatment_response_twin(data)
    theirs = one_row(twin.table, estimand="ratio_of_odds_ratios", method="logistic regression")
    # The ratio of odds ratios is about 1.7, 0.3 to 9.3, in 53 and 143 patients.
    assert theirs["point"] == pytest.approx(1.75, abs=0.05)
    assert theirs["lower"] == pytest.approx(0.33, abs=0.05)
    assert theirs["upper"] == pytest.approx(9.3, abs=0.1)
    ours = one_row(found.table, estimand="ratio_of_odds_ratios")
    assert ours["lower"] < 1 < ours["upper"]
    # A prior SD of 1 against a standard error of 0.86: the posterior is narrower than either, and nearer 1.
    assert 1 < ours["point"] < theirs["point"]
    assert np.log(ours["upper"] / ours["lower"]) < np.log(theirs["upper"] / theirs["lower"])
    pair = one_row(concordance(found, twin), estimand="ratio_of_odds_ratios")
    assert pair["verdict"] == "both null"
    table = sample_size(data)
    needed = one_row(table, design="as observed", aim="power 80% to find a ratio of 2")
    assert needed["patients"] > 10 * needed["patients_now"]
