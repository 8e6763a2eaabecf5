"""Exact posterior of one table, borrowing side by side, tipping points: against brute force and special cases."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from bayes_her2.models.treatment_response import PRIORS
from response_sets import PCR, response_set
from scipy import integrate, stats
from scipy.special import expit

from bayes_her2.bayesian.map_prior import map_prior, mixture_prior
from bayes_her2.bayesian.priors import NormalMixture, Prior
from bayes_her2.bayesian.two_by_two import (
    TwoByTwo,
    borrowing,
    borrowing_by_heterogeneity,
    exact_posterior,
    probabilities_below_one,
    tipping_point,
    tipping_points,
    tipping_summary,
)
from bayes_her2.data import HER2_LOW, HER2_ZERO
from bayes_her2.errors import DataError
from bayes_her2.evidence.response import seed_study_response
from bayes_her2.evidence.selection import studies_for
from bayes_her2.evidence.table import shipped_evidence

MODEL = {"slope": PRIORS["slope_hr_negative"], "intercept": PRIORS["intercept"]}
SEED = TwoByTwo(36, 23, 50, 36)


def joint(slope: float, level: float, table: TwoByTwo = SEED) -> float:
    """Prior times likelihood, as the model file writes them."""
    return float(
        stats.norm.pdf(level, 0, 1.5)
        * stats.norm.pdf(slope, 0, 1)
        * stats.binom.pmf(table.events_low, table.n_low, expit(level + slope / 2))
        * stats.binom.pmf(table.events_zero, table.n_zero, expit(level - slope / 2))
    )


def test_the_posterior_of_a_table_is_the_double_integral():
    total = integrate.dblquad(joint, -2, 4, -5, 4, epsabs=1e-11)[0]
    below = integrate.dblquad(joint, -2, 4, -5, 0, epsabs=1e-11)[0]
    mean = integrate.dblquad(lambda s, a: s * joint(s, a), -2, 4, -5, 4, epsabs=1e-11)[0]
    found = exact_posterior(SEED, **MODEL)
    # The trapezoid rule stops at 0 with an error of step^2 / 12 times the slope of the density there, which is below 1.
    assert found.probability_below_1 == pytest.approx(below / total, abs=0.004**2 / 6)
    assert found.moments[0] == pytest.approx(mean / total, abs=1e-6)
    coefficients = (
        stats.binom.logpmf(23, 36, 0.5)
        - 36 * math.log(0.5)
        + stats.binom.logpmf(36, 50, 0.5)
        - 50 * math.log(0.5)
    )
    assert found.log_evidence + coefficients == pytest.approx(math.log(total), abs=1e-6)
    assert probabilities_below_one([SEED], **MODEL)[0] == pytest.approx(below / total, abs=2e-5)


def test_many_patients_make_it_the_maximum_likelihood():
    table = TwoByTwo(36_000, 23_000, 50_000, 36_000)
    mean, sd = exact_posterior(table, **MODEL).moments
    estimate, se = table.estimate()
    # The prior weighs se^2 = 0.0002 against 1.
    assert mean == pytest.approx(estimate, abs=0.05 * se)
    assert sd == pytest.approx(se, rel=0.01)
    assert estimate == pytest.approx(math.log(23 * 14 / (13 * 36)))


def test_exchanging_the_levels_turns_the_posterior_over():
    one, other = (exact_posterior(t, **MODEL) for t in (SEED, TwoByTwo(50, 36, 36, 23)))
    assert one.probability_below_1 == pytest.approx(1 - other.probability_below_1, abs=1e-9)
    assert one.quantile(0.025) == pytest.approx(-other.quantile(0.975), abs=1e-6)


def test_a_zero_cell_has_a_posterior():
    found = exact_posterior(TwoByTwo(15, 0, 20, 6), **MODEL)
    assert found.probability_below_1 > 0.95
    assert found.quantile(0.975) < 0.5
    assert found.quantile(0.025) > -4  # the prior keeps it finite


def test_a_narrow_component_of_the_prior_is_seen():
    narrow = Prior("Normal", {"mu": -0.2, "sigma": 0.005}, "x")
    found = exact_posterior(SEED, slope=narrow, intercept=MODEL["intercept"])
    # The data weigh 0.005^2 / 0.47^2, about 1 in 9,000.
    assert found.moments[0] == pytest.approx(-0.2, abs=1e-4)
    assert found.moments[1] == pytest.approx(0.005, rel=1e-3)


def test_tipping_points_of_a_registry_are_refused():
    with pytest.raises(DataError, match="60,095 patients in one group"):
        probabilities_below_one([TwoByTwo(60_095, 9_812, 39_688, 9_372)], **MODEL)


@pytest.fixture(scope="module")
def earlier():
    pool = studies_for(shipped_evidence(), PCR, scale="odds ratio", adjustment="crude", hr_stratum="HR-")
    return map_prior(pool, new=seed_study_response())


def test_with_and_without_borrowing_stand_side_by_side(earlier):
    table = borrowing(SEED, earlier, intercept=MODEL["intercept"], without=MODEL["slope"])
    assert table["prior"].tolist() == [
        "without borrowing",
        "robust, weight 0.5 of the vague component",
        "robust, weight 0.2 of the vague component",
        "plain predictive prior",
    ]
    first, plain = table.iloc[0], table.iloc[-1]  # the two ends
    alone = exact_posterior(SEED, **MODEL)
    assert first["odds_ratio"] == pytest.approx(math.exp(alone.quantile(0.5)))
    assert first["probability_below_1"] == pytest.approx(alone.probability_below_1)
    # More borrowing, narrower intervals and a larger prior.
    width = np.log(table["upper"] / table["lower"])
    assert width.is_monotonic_decreasing
    assert table["prior_ess_elir"].is_monotonic_increasing
    # N(0, 1) against a standard error of 0.4686 in 86 patients: 86 x 0.4686^2 patients.
    assert first["prior_ess_elir"] == pytest.approx(86 * SEED.estimate()[1] ** 2, rel=1e-6)
    assert plain["vague_weight_posterior"] == 0.0
    # The seed study agrees with the earlier one, so the vague component loses weight.
    assert (table["vague_weight_posterior"].iloc[1:3] < table["vague_weight_prior"].iloc[1:3]).all()
    assert (table["conflict_p"] > 0.5).all()


def test_the_prior_of_the_heterogeneity_decides_what_few_studies_are_worth():
    pool = studies_for(shipped_evidence(), PCR, scale="odds ratio", adjustment="crude", hr_stratum="HR-")
    table = borrowing_by_heterogeneity(
        SEED, pool, intercept=MODEL["intercept"], without=MODEL["slope"], new=seed_study_response()
    )
    assert table["heterogeneity_scale"].tolist() == [0.25, 0.5, 1.0]
    assert set(table["studies"]) == {len(pool.studies) - 1}  # the seed study itself is left out
    assert table["prior_ess_elir"].is_monotonic_decreasing


def test_in_conflict_the_robust_prior_lets_the_data_speak(earlier):
    against = TwoByTwo(200, 160, 200, 60)  # an odds ratio of 9.3 where the earlier study has 0.47
    table = borrowing(against, earlier, intercept=MODEL["intercept"], without=MODEL["slope"]).set_index(
        "prior"
    )
    robust = table.loc["robust, weight 0.2 of the vague component"]
    assert robust["vague_weight_posterior"] > 0.2
    assert robust["conflict_p"] < 0.05
    alone = table.loc["without borrowing"]
    assert abs(math.log(robust["odds_ratio"] / alone["odds_ratio"])) < 0.15


def test_weights_of_the_components_are_their_evidences():
    parts = [
        Prior("Normal", {"mu": -0.5, "sigma": 0.3}, "x"),
        Prior("Normal", {"mu": 0.0, "sigma": 1.0}, "x"),
    ]
    mixture = mixture_prior(
        NormalMixture(np.array([0.8, 0.2]), np.array([-0.5, 0.0]), np.array([0.3, 1.0])), "x"
    )
    found = exact_posterior(SEED, slope=mixture, intercept=MODEL["intercept"])
    evidence = np.exp(
        [exact_posterior(SEED, slope=p, intercept=MODEL["intercept"]).log_evidence for p in parts]
    )
    expected = np.array([0.8, 0.2]) * evidence
    np.testing.assert_allclose(found.component_weights, expected / expected.sum(), rtol=1e-6)


def unevaluated(low: int, zero: int, unknown: int):
    table = pd.DataFrame(
        [(PCR, "HR-", HER2_LOW, low), (PCR, "HR-", HER2_ZERO, zero), (PCR, "HR-", "unknown", unknown)],
        columns=["outcome", "hr", "her2", "n"],
    )
    return response_set({(PCR, "HR-", "all"): (36, 23, 50, 36)}, not_evaluable=table[table["n"] > 0])


def test_every_cell_of_the_tipping_table_is_the_posterior_of_its_counts():
    table = tipping_point(unevaluated(3, 4, 0), PCR, **MODEL)
    assert len(table) == 4 * 5
    assert set(table["missing_low"]) == {3}
    for row in table.sample(6, random_state=1).itertuples():
        counts = TwoByTwo(39, 23 + row.responders_low, 54, 36 + row.responders_zero)
        assert row.probability_below_1 == pytest.approx(
            exact_posterior(counts, **MODEL).probability_below_1, abs=2e-5
        )
        a, c = counts.events_low, counts.events_zero
        assert row.odds_ratio == pytest.approx(a * (54 - c) / ((39 - a) * c))
    assert (table["lower_odds"] == (table["probability_below_1"] > 0.5)).all()


def test_where_the_level_is_unknown_every_split_is_tried():
    table = tipping_point(unevaluated(0, 0, 3), PCR, **MODEL)
    # Splits 0 + 3 to 3 + 0, each with (m + 1)(3 - m + 1) pairs of responders.
    assert len(table) == sum((m + 1) * (4 - m) for m in range(4))
    known = tipping_point(unevaluated(1, 0, 2), PCR, **MODEL)
    assert set(known["missing_low"]) == {1, 2, 3}


def test_the_verdict_tips_where_the_interval_crosses_1():
    table = tipping_point(unevaluated(30, 30, 0), PCR, **MODEL)
    assert set(table["verdict"]) == {"below 1", "open", "above 1"}
    assert (table.loc[table["verdict"] == "below 1", "probability_below_1"] > 0.975).all()
    assert (table.loc[table["verdict"] == "above 1", "probability_below_1"] < 0.025).all()
    # More responders with HER2-low can only raise its odds.
    grid = table.pivot(index="responders_low", columns="responders_zero", values="probability_below_1")
    assert (grid.diff().iloc[1:] < 0).all(axis=None)
    assert (grid.T.diff().iloc[1:] > 0).all(axis=None)


def test_the_seed_study_s_missing_patients_can_turn_it_round():
    data = seed_study_response()
    for outcome, n_missing in ((PCR, 25), ("midcourse complete response", 40)):
        table = tipping_point(data, outcome, **MODEL)
        assert len(table) == sum((m + 1) * (n_missing - m + 1) for m in range(n_missing + 1))
        assert ((table["missing_low"] + table["missing_zero"]) == n_missing).all()
        summary = tipping_summary(data, outcome, table, **MODEL).set_index("scenario")
        seen = exact_posterior(TwoByTwo.of(data, outcome), **MODEL).probability_below_1
        assert summary.loc["evaluated patients only", "probability_below_1"] == pytest.approx(seen)
        shares = summary.loc[
            [f"combinations with the verdict '{v}'" for v in ("below 1", "open", "above 1")], "share"
        ]
        assert shares.sum() == pytest.approx(1.0)
        assert 0 < summary.loc["combinations that turn the direction round", "share"] < 1
    every = tipping_points(data, PRIORS)
    assert set(every["outcome"]) == set(data.outcomes)
    assert set(every["stratum"]) == {"HR-"}
    assert tipping_points(replace(data, not_evaluable=data.not_evaluable.iloc[:0]), PRIORS).empty


def test_nobody_missing_is_no_tipping_point():
    with pytest.raises(DataError, match="every patient was evaluated"):
        tipping_point(unevaluated(0, 0, 0), PCR, **MODEL)
    with pytest.raises(DataError, match="no outcome 'pCR'; outcomes: pathological complete response"):
        tipping_point(unevaluated(1, 0, 0), "pCR", **MODEL)
