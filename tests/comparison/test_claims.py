"""Claims of the seed study: each rule of `LAYERS` by one constructed row, and the printed numbers by their source."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bayes_her2.bayesian.model import load_model
from bayes_her2.comparison import CLAIMS, LAYERS, claims, families
from bayes_her2.comparison.claims import INFILTRATE, has_seed_measure, layer_of, strength_between_strata
from bayes_her2.comparison.concordance import Interval
from bayes_her2.data import DIFFERENCE, HR_COMPARED, HR_STATUS, LM22_CELL_TYPES
from bayes_her2.estimates import Estimates, kind_of

MEASURE = "ERBB2 mRNA, log2"


def row(**values) -> dict:
    """A posterior row of a rank correlation; the twin has the same key."""
    return {
        "source": "posterior",
        "method": "models/rank_correlation.py",
        "model": "rank_correlation",
        "outcome": "T cells CD8",
        "exposure": MEASURE,
        "estimand": "spearman",
        "contrast": "rank correlation",
        "adjustment": "none",
        "stratum": "HR+",
        "scope": "pooled",
        "cohort": "",
        "unit": "Spearman rho",
        "point": -0.2,
        "lower": -0.3,
        "upper": -0.1,
        "interval_kind": "credible (equal-tailed)",
        "interval_prob": 0.95,
        "n": 300,
        "n_zero": 10,
        "status": "observed",
        "pd": 0.99,
        "p_in_rope": 0.02,
        "fingerprint": "f",
    } | values


def of(found: pd.DataFrame, name: str) -> pd.DataFrame:
    rows = found[found["claim"] == name]
    assert len(rows), name
    return rows


def judge(*rows, **settings) -> pd.DataFrame:
    return claims(Estimates.from_records(rows), measure=MEASURE, **settings)


NAME = "T cells CD8, HR+, rank correlation"


@pytest.mark.parametrize(
    ("values", "layer"),
    [
        ({}, "holds"),
        # a third of -0.25 on Fisher's z is -0.085
        ({"point": -0.08, "lower": -0.12, "upper": -0.04}, "weakened"),
        ({"point": -0.09, "lower": -0.12, "upper": -0.04}, "holds"),
        ({"lower": -0.41, "upper": 0.01, "pd": 0.9}, "weakened"),
        ({"lower": -0.41, "upper": 0.01, "pd": 0.89}, "not seen"),
        ({"point": 0.05, "lower": -0.02, "upper": 0.12, "pd": 0.95}, "not seen"),
        ({"point": 0.2, "lower": 0.1, "upper": 0.3}, "reversed"),
    ],
)
def test_each_layer_has_one_rule(values, layer):
    found = of(judge(row(**values)), NAME)
    assert found["layer"].tolist() == [layer]
    assert layer in LAYERS


def test_without_a_published_size_direction_and_interval_decide():
    ours = Interval(0.51, 0.501, 0.52)
    decide = {"estimand": "probability_greater", "direction": 1, "p_direction": 0.99}
    assert layer_of(ours, **decide) == "holds"
    assert layer_of(ours, **decide, published=0.8) == "weakened"


def test_ratios_are_judged_around_one_and_sized_on_the_log_scale():
    ours = {
        "model": "high_abundance",
        "estimand": "high_abundance_conditional",
        "outcome": "Plasma cells",
        "point": 0.8,
        "lower": 0.7,
        "upper": 0.9,
    }
    # log 0.41 is -0.89, a third of it -0.297: log 0.8 is -0.22 and log 0.74 is -0.30
    name = "Plasma cells, HR+, odds of high abundance"
    assert of(judge(row(**ours)), name)["layer"].item() == "weakened"
    assert of(judge(row(**ours | {"point": 0.74})), name)["layer"].item() == "holds"


def test_the_claimed_direction_of_an_interaction_is_that_of_the_printed_odds_ratios():
    ours = {
        "model": "high_abundance",
        "estimand": "high_abundance_conditional",
        "stratum": DIFFERENCE,
        "point": 3.0,
        "lower": 1.2,
        "upper": 8.0,
    }
    found = judge(row(**ours, outcome="Mast cells resting"), row(**ours, outcome="Neutrophils"))
    assert of(found, "Mast cells resting, interaction with HR status")["layer"].item() == "holds"
    assert of(found, "Neutrophils, interaction with HR status")["layer"].item() == "reversed"
    mast = of(found, "Mast cells resting, interaction with HR status")["published_value"].item()
    assert mast == pytest.approx(5.29 / 0.56)


def test_probability_of_the_claimed_direction_turns_with_the_sign():
    against = of(judge(row(point=0.1, lower=-0.1, upper=0.3, pd=0.8)), NAME)
    assert against["p_direction"].item() == pytest.approx(0.2)
    assert not against["same_direction"].item()


def test_a_pooled_row_that_is_borrowed_leaves_the_claim_to_the_cohorts():
    found = of(
        judge(
            row(status="borrowed"),
            row(scope="cohort", cohort="A"),
            row(scope="cohort", cohort="B", status="borrowed"),
            row(scope="cohort", cohort="C", point=-0.01, lower=-0.1, upper=0.08, pd=0.6),
        ),
        NAME,
    )
    assert found[["cohort", "layer"]].to_numpy().tolist() == [["A", "holds"], ["C", "not seen"]]


def test_the_twin_stands_beside_its_posterior_and_no_other():
    twin = {"source": "twin", "method": "Spearman", "pd": None, "interval_kind": "confidence", "p_value": 0.2}
    found = of(
        judge(
            row(),
            row(**twin, point=-0.1, lower=-0.22, upper=0.03, p_adjusted=1.0),
            row(**twin, point=0.9, lower=0.8, upper=0.95, fingerprint="other tumours"),
            row(**twin, point=0.7, lower=0.6, upper=0.8, scope="cohort", cohort="A"),
        ),
        NAME,
    )
    assert found["twin_point"].item() == pytest.approx(-0.1)
    assert found["twin_same_direction"].item()
    assert not found["twin_excludes_null"].item()


def test_why_a_claim_is_not_testable_is_said():
    found = judge(row(outcome="Plasma cells"), left_out={"marginal_effect": "METABRIC has no IHC level."})
    why = found.set_index("claim")["why"]
    assert (
        why["Plasma cells, marginal effect"] == "model marginal_effect left out: METABRIC has no IHC level."
    )
    assert why[NAME] == "model rank_correlation has no row for T cells CD8, HR+"
    assert why["total TILs and ESR1"] == "the study names no measure of the total infiltrate"
    assert why["Plasma cells, HR+, odds of high abundance"] == (
        "model high_abundance was not fitted, or refused to answer; "
        "model abundance was not fitted, or refused to answer"
    )
    untested = found[found["layer"] == "not testable here"]
    assert (untested["why"] != "").all()
    assert len(untested) == len(CLAIMS) - 1
    gone = of(
        judge(row(status="not estimable", note="5 positives", point=None, lower=None, upper=None)), NAME
    )
    assert gone["why"].item() == "pooled: not estimable (5 positives)"


def test_measures_are_found_by_name_and_a_measure_is_not_compared_with_itself():
    beside = {"outcome": "leukocyte fraction", "stratum": "all"}
    found = judge(
        row(**beside),
        row(**beside, exposure="ESR1 mRNA", point=-0.4, lower=-0.5, upper=-0.3),
        row(**beside, exposure=f"{MEASURE} against ESR1 mRNA", estimand="strength_difference", point=-0.2),
        infiltrate="leukocyte fraction",
    )
    # One estimate answers one claim, or it would be counted twice.
    twice = of(found, "total TILs and HER2 measure")
    assert twice["layer"].item() == "not testable here"
    assert twice["why"].item().endswith("the claim about that gene has the same estimate")
    assert of(found, "total TILs and ERBB2")["point"].item() == -0.2
    assert of(found, "total TILs and ESR1")["point"].item() == -0.4
    assert of(found, "total TILs, HER2 against ESR1")["layer"].item() == "reversed"
    itself = of(found, "total TILs, HER2 against ERBB2")
    assert itself["why"].item() == f"the study's HER2 measure is {MEASURE} itself"


def test_the_marginal_effect_is_read_at_the_observed_weights():
    ours = {
        "model": "marginal_effect",
        "estimand": "marginal_slope",
        "outcome": "Plasma cells",
        "stratum": "all",
    }
    found = judge(
        row(**ours, contrast="h + 1 SD over h, observed weights"),
        row(**ours, contrast="h + 1 SD over h, equal weights", point=0.3, lower=0.2, upper=0.4),
    )
    assert of(found, "Plasma cells, marginal effect")["layer"].tolist() == ["holds"]


def test_without_the_conditional_odds_ratio_the_main_models_marginal_one_answers():
    ours = {"model": "abundance", "estimand": "high_abundance", "point": 0.6, "lower": 0.5, "upper": 0.8}
    assert (
        of(judge(row(**ours)), "T cells CD8, HR+, odds of high abundance")["estimand"].item()
        == "high_abundance"
    )


def test_the_strata_are_compared_in_every_cohort():
    ours = {
        "model": "abundance",
        "estimand": "probability_greater",
        "exposure": HR_STATUS,
        "stratum": HR_COMPARED,
        "scope": "cohort",
        "point": 0.6,
        "lower": 0.55,
        "upper": 0.65,
    }
    found = of(judge(row(**ours, cohort="A"), row(**ours, cohort="B")), "T cells CD8, HR- against HR+")
    assert found["cohort"].tolist() == ["A", "B"]
    assert set(found["layer"]) == {"holds"}


def test_two_estimates_are_compatible_within_the_sampling_error_of_both():
    # Fisher z: -0.255 with SE 0.068 (printed), and -0.100 with SE 0.051: 1.82 standard errors apart
    near = of(judge(row(point=-0.1, lower=-0.198, upper=0.0, pd=0.97)), NAME)
    assert near["compatible"].item() == "yes"
    far = of(judge(row(point=0.1, lower=0.0, upper=0.198)), NAME)
    assert far["compatible"].item() == "no"
    ranged = of(
        judge(row(stratum="all", point=-0.2, lower=-0.29, upper=-0.1)), "T cells CD8, rank correlation"
    )
    assert ranged["compatible"].item() == "no"
    open_ended = row(outcome="NK cells activated")
    assert of(judge(open_ended), "NK cells activated, HR+, rank correlation")["compatible"].item() == ""


def test_claims_are_named_once_and_about_known_cell_types_and_estimands():
    names = [claim.name for claim in CLAIMS]
    assert len(names) == len(set(names))
    for claim in CLAIMS:
        assert claim.outcome in (*LM22_CELL_TYPES, INFILTRATE)
        assert claim.direction in (-1, 1)
        for _, estimand in claim.estimates:
            kind_of(estimand)
        if not math.isnan(claim.lower + claim.upper):
            assert claim.lower <= claim.value <= claim.upper


HIGH = {"model": "high_abundance", "estimand": "high_abundance_conditional", "outcome": "Mast cells resting"}


def by_stratum(positive: tuple[float, ...], negative: tuple[float, ...], **more) -> list[dict]:
    """Rows of both strata and of the ratio between them: (point, lower, upper, pd) of each stratum."""
    names = ("point", "lower", "upper", "pd")
    ratio = {"point": negative[0] / positive[0], "lower": 1.3, "upper": 9.0, "pd": 0.99}
    return [
        row(**HIGH, stratum="HR+", **dict(zip(names, positive, strict=True)), **more),
        row(**HIGH, stratum="HR-", **dict(zip(names, negative, strict=True)), **more),
        row(**HIGH, stratum=DIFFERENCE, **ratio, **more),
    ]


DIFFERS, OPPOSITE = (
    "Mast cells resting, interaction with HR status",
    "Mast cells resting, opposite directions by HR",
)


def test_two_odds_ratios_on_one_side_of_1_may_differ_but_are_not_opposite():
    found = judge(*by_stratum((1.5, 1.2, 1.9, 0.99), (5.0, 2.0, 12.0, 0.99)))
    assert of(found, DIFFERS)["layer"].item() == "holds"
    assert of(found, OPPOSITE)["layer"].item() == "reversed"  # HR+ rises where a fall is claimed
    assert not of(found, OPPOSITE)["same_direction"].item()


@pytest.mark.parametrize(
    ("positive", "negative", "layer"),
    [
        ((0.5, 0.3, 0.8, 0.99), (5.0, 2.0, 12.0, 0.99), "holds"),
        ((0.5, 0.3, 0.8, 0.99), (1.5, 1.1, 2.0, 0.99), "weakened"),  # under a third of log 5.29
        ((0.7, 0.4, 1.1, 0.96), (3.0, 0.9, 9.0, 0.95), "weakened"),  # at least 0.96 + 0.95 - 1 = 0.91
        ((0.7, 0.4, 1.1, 0.94), (3.0, 0.9, 9.0, 0.95), "not seen"),
        ((0.5, 0.3, 0.8, 0.99), (1.1, 0.4, 2.9, 0.60), "not seen"),
    ],
)
def test_opposite_directions_need_both_strata_on_their_own_side(positive, negative, layer):
    assert of(judge(*by_stratum(positive, negative)), OPPOSITE)["layer"].item() == layer


def test_opposite_directions_are_shown_by_both_strata_and_need_both():
    rows = by_stratum((0.5, 0.3, 0.8, 0.99), (5.0, 2.0, 12.0, 0.99))
    found = of(judge(*rows), OPPOSITE)
    assert found[["hr_positive_point", "hr_negative_upper"]].to_numpy().tolist() == [[0.5, 12.0]]
    assert math.isnan(found["point"].item())
    rows[1] |= {"status": "borrowed", "note": "no HR- tumours in B"}
    gone = of(judge(*rows), OPPOSITE)
    assert gone["layer"].item() == "not testable here"
    assert "borrowed (HR-: no HR- tumours in B)" in gone["why"].item()


def test_no_claim_is_worded_as_an_effect():
    for claim in CLAIMS:
        assert "acts on" not in claim.words
        assert "effect" not in claim.words


def correlations(positive: float, negative: float, half: float = 0.12) -> list[dict]:
    """CD8 in HR+ and HR- with intervals of this half width, independent, and their signed difference."""
    ours = {"pd": 0.99}
    wide = half * math.sqrt(2)
    signed = negative - positive
    return [
        row(stratum="HR+", point=positive, lower=positive - half, upper=positive + half, **ours),
        row(stratum="HR-", point=negative, lower=negative - half, upper=negative + half, **ours),
        row(
            stratum="HR- minus HR+",
            estimand="spearman_difference",
            point=signed,
            lower=signed - wide,
            upper=signed + wide,
            **ours,
        ),
    ]


@pytest.mark.parametrize(
    ("positive", "negative", "layer"),
    [
        (-0.40, -0.05, "holds"),
        (-0.12, 0.12, "not seen"),  # 0.24 apart and equally strong
        (-0.10, 0.35, "reversed"),  # stronger in HR-, with the other sign
        (-0.10, -0.45, "reversed"),
        (-0.40, 0.02, "holds"),
    ],
)
def test_a_weaker_correlation_is_one_of_smaller_size_and_not_a_higher_one(positive, negative, layer):
    found = of(judge(*correlations(positive, negative)), "T cells CD8, HR- less than HR+")
    assert found["layer"].item() == layer
    assert found["point"].item() == pytest.approx(abs(positive) - abs(negative))


@pytest.mark.parametrize(
    ("means", "correlation"),
    [((-0.3, -0.1), 0.4), ((-0.1, 0.12), 0.0), ((0.2, -0.05), -0.3), ((0.02, 0.3), 0.2)],
)
def test_sizes_are_compared_as_the_draws_would(means, correlation):
    rng = np.random.default_rng(8)
    covariance = np.array([[0.05**2, correlation * 0.05 * 0.09], [correlation * 0.05 * 0.09, 0.09**2]])
    draws = rng.multivariate_normal(means, covariance, 100_000)

    def interval(values: np.ndarray) -> Interval:
        return Interval(*np.quantile(values, [0.5, 0.025, 0.975]))

    signed = draws[:, 1] - draws[:, 0]
    size = np.abs(draws[:, 0]) - np.abs(draws[:, 1])
    found, p = strength_between_strata(
        interval(signed),
        interval(draws[:, 0]),
        interval(draws[:, 1]),
        interval=0.95,
        p_above=(signed > 0).mean(),
    )
    assert p <= (size > 0).mean() + 0.01
    assert (size < found.lower).mean() < 0.05 + 0.002
    assert (size > found.upper).mean() < 0.05 + 0.002


EVERY = "T cells CD8, rank correlation"


def test_in_every_cohort_is_judged_by_every_cohort_and_not_by_the_pooled_row():
    pooled = row(stratum="all", point=-0.3, lower=-0.4, upper=-0.2)
    own = {"stratum": "all", "scope": "cohort"}
    yes = row(**own, cohort="A", point=-0.35, lower=-0.45, upper=-0.25)
    no = row(**own, cohort="B", point=-0.02, lower=-0.15, upper=0.11, pd=0.6)
    found = of(judge(pooled, yes, no), EVERY)
    assert found[["cohort", "layer"]].to_numpy().tolist() == [["B", "not seen"]]
    assert found["why"].item() == "the least favourable of 2 cohorts (A holds, B not seen)"
    both = of(judge(pooled, yes, row(**own, cohort="B", point=-0.25, lower=-0.4, upper=-0.1)), EVERY)
    assert both[["cohort", "layer"]].to_numpy().tolist() == [["B", "holds"]]
    alone = of(judge(pooled, yes), EVERY)
    assert "one cohort" in alone["why"].item()
    assert found["published_is_range"].item()


def test_the_direction_of_figure_2b_is_questioned_beside_every_claim_of_it():
    of_2b = [claim for claim in CLAIMS if "Fig. 2b" in claim.where]
    assert len(of_2b) == 11 + 2 * 2
    assert all('"for lower abundance"' in claim.note for claim in of_2b)


def test_cd4_memory_is_one_claim_whose_other_type_is_told_and_not_counted():
    ours = {k: v for k, v in HIGH.items() if k != "outcome"}
    activated = row(**ours, outcome="T cells CD4 memory activated", point=0.9, lower=0.6, upper=1.2, pd=0.7)
    resting = row(**ours, outcome="T cells CD4 memory resting", point=0.6, lower=0.5, upper=0.8)
    assert len([claim for claim in CLAIMS if "CD4 memory" in claim.name]) == 1
    found = of(judge(activated, resting), "T cells CD4 memory, HR+, odds of high abundance")
    assert found["layer"].tolist() == ["not seen"]
    assert found["why"].item() == "T cells CD4 memory resting, not counted: 0.60 (0.50 to 0.80)"


def test_the_note_on_the_prior_is_what_the_default_prior_does_to_the_printed_odds_ratios():
    priors = load_model("high_abundance").PRIORS
    shared, spread = (
        priors[f"high_interaction_{name}"].params["sigma"] for name in ("mean", "between_cells_sd")
    )
    estimate = math.log(5.29 / 0.56)
    se = math.hypot(math.log(24.0 / 1.16), math.log(0.83 / 0.38)) / (2 * 1.959964)
    grid = np.linspace(-8, 8, 8001)
    scales = stats.halfnorm(scale=spread).ppf((np.arange(1000) + 0.5) / 1000)
    prior = np.mean([stats.norm.pdf(grid, 0, math.hypot(shared, s)) for s in scales], axis=0)
    density = prior * stats.norm.pdf(estimate, grid, se)
    below = (np.cumsum(density) - density / 2) / density.sum()
    median, lower, upper = (math.exp(np.interp(q, below, grid)) for q in (0.5, 0.025, 0.975))
    share = (1.959964 * se / estimate) ** 2  # of the estimate that a prior must leave for the limit to be 0
    critical = math.sqrt(se**2 * share / (1 - share))
    note = next(claim.note for claim in CLAIMS if claim.name == DIFFERS)
    assert f"SD {math.hypot(shared, spread):.2f} on the log ratio" in note
    assert f"critical prior SD is {critical:.3f}" in note
    assert f"{median:.2f} ({lower:.2f} to {upper:.1f})" in note


@pytest.mark.parametrize(
    ("label", "same"),
    [
        ("HER2 20-gene signature", True),
        ("simulated HER2 score (20-gene like)", False),
        ("ERBB2 mRNA, log2", False),
    ],
)
def test_the_seed_studys_own_measure_is_known_by_its_name(label, same):
    assert has_seed_measure(label) is same
    found = claims(Estimates.from_records([row(exposure=label)]), measure=label)
    assert set(found["seed_measure"]) == {same}


@pytest.mark.real_data
def test_printed_numbers_are_those_of_the_evidence_table():
    folder = os.environ.get("BAYES_HER2_DATA")
    if not folder:
        pytest.skip("BAYES_HER2_DATA is not set: the table of published results is there")
    table = pd.read_csv(Path(folder) / "evidence" / "published_evidence.csv")
    own = table[table["citation"] == "Pizzamiglio 2025"]
    strata = {"HR-positive": "HR+", "HR-negative": "HR-", "all": "all"}
    printed: dict[tuple[str, str], tuple[float, ...]] = {}
    for record in own[own["quantity"].isin(["odds_ratio", "spearman_rho"])].to_dict("records"):
        outcome = record["outcome"].removesuffix(" high abundance")
        key = (f"{outcome} {record['quantity']}", strata.get(record["subgroup"], ""))
        exposure = (
            "ESR1" if "ESR1" in record["exposure"] else "ERBB2" if "ERBB2" in record["exposure"] else ""
        )
        printed[f"{key[0]} {exposure}".strip(), key[1]] = tuple(
            float(record[c]) for c in ("estimate", "ci_low", "ci_high")
        )
    checked = 0
    for claim in CLAIMS:
        if math.isnan(claim.lower) or claim.is_range:
            continue
        outcome = claim.outcome.replace("total TILs", "total TIL score (Danaher)")
        for suffix in (" resting", " activated"):
            if outcome.startswith("T cells CD4 memory"):
                outcome = outcome.removesuffix(suffix)
        quantity = "odds_ratio" if "odds" in claim.name else "spearman_rho"
        exposure = claim.exposure if claim.exposure in ("ESR1", "ERBB2") else ""
        found = printed[f"{outcome} {quantity} {exposure}".strip(), claim.stratum]
        np.testing.assert_equal((claim.value, claim.lower, claim.upper), found)
        checked += 1
    assert checked == 3 + 7 + 11


def test_families_count_rows_tests_discoveries_and_verdicts():
    rows = pd.DataFrame(
        {
            "model": "m",
            "outcome": ["A", "B", "C", "A"],
            "estimand": ["presence"] * 3 + ["amount"],
            "exposure": "h",
            "stratum": "HR+",
            "scope": "pooled",
            "cohort": [None, "", "", ""],
            "twin_p": [0.001, 0.2, None, 0.5],
            "contrast": "c",
            "status": ["observed", "observed", "borrowed", "observed"],
            "s_value": [0.01, 0.02, None, 0.3],
            "fixed_p_bonferroni": [0.001, 0.01, None, None],
            "discovery_bayes": [True, True, False, False],
            "discovery_bonferroni": [True, False, False, False],
            "discovery_fixed": [True, True, False, False],
            "verdict": ["agrees", "new", "not estimable", "both null"],
        }
    )
    found = families(rows).set_index("estimand")
    assert found.loc["presence", ["n_rows", "n_tests"]].tolist() == [3, 2]
    counted = ["n_discoveries_bayes", "n_discoveries_bonferroni", "n_discoveries_both", "agrees", "new"]
    assert found.loc["presence", counted].tolist() == [2, 1, 1, 1, 1]
    sizes = ["n_observed", "n_signs", "n_tests_fixed", "n_discoveries_fixed"]
    assert found.loc["presence", sizes].tolist() == [2, 2, 2, 2]
    assert found.loc["amount", sizes].tolist() == [1, 1, 0, 0]
    assert found.loc["amount", "both null"] == 1


def test_a_family_of_the_clinical_model_is_one_variable_over_all_cell_types():
    rows = pd.DataFrame(
        {
            "model": "clinical",
            "outcome": ["age > 50 years", "age > 50 years", "grade III"],
            "estimand": "clinical_odds",
            "exposure": ["high abundance of A", "high abundance of B", "high abundance of A"],
            "stratum": "HR+",
            "scope": "pooled",
            "cohort": "",
            "twin_p": [0.001, 0.2, 0.3],
            "contrast": "high over low",
            "status": "observed",
            "s_value": float("nan"),
            "fixed_p_bonferroni": None,
            "discovery_fixed": False,
            "discovery_bayes": False,
            "discovery_bonferroni": False,
            "verdict": "both null",
        }
    )
    found = families(rows).set_index("exposure")
    assert found["n_tests"].to_dict() == {"age > 50 years": 2, "grade III": 1}
    assert (found["n_signs"] == 0).all()  # whatever its s-values, it calls none
