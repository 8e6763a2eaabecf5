"""The seed study's claims: known answers, and its contradictions found by the audit itself."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from bayes_her2.evidence.audit_tables import AuditTables, Settings, audit_tables
from bayes_her2.evidence.published_claims import read_claims
from bayes_her2.evidence.verdicts import VERDICTS

MIDCOURSE = "midcourse complete response, HER2-low against HER2-0"
COMPLETE = "pathological complete response, HER2-low against HER2-0"
MAST = "Mast cells resting high, HR- over HR+"
NEUTROPHILS = "Neutrophils high, HR- over HR+"


@pytest.fixture(scope="module")
def tables() -> AuditTables:
    return audit_tables(read_claims())


@pytest.fixture(scope="module")
def audit(tables: AuditTables) -> pd.DataFrame:
    return tables.audit.set_index("claim")


def found(tables: AuditTables, claim: str, place: str, figure: str) -> pd.Series:
    table = tables.contradictions
    rows = table[(table["claim"] == claim) & table["place"].str.contains(place) & (table["figure"] == figure)]
    assert len(rows) == 1, table[table["claim"] == claim]
    return rows.iloc[0]  # the only one


# --- Table 2 -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "odds_ratio", "lower", "upper", "n", "p_fisher"),
    [(MIDCOURSE, 0.5064, 0.187, 1.373, 71, 0.220), (COMPLETE, 0.6880, 0.275, 1.724, 86, 0.484)],
)
def test_table_2_from_its_counts(audit, claim, odds_ratio, lower, upper, n, p_fisher):
    """9/32 against 17/39, and 23/36 against 36/50; Fisher's P from R 4.2.2."""
    row = audit.loc[claim]
    assert row["basis"] == "counts"
    assert row["estimate"] == pytest.approx(odds_ratio, abs=5e-5)
    assert row["lower"] == pytest.approx(lower, abs=5e-4)
    assert row["upper"] == pytest.approx(upper, abs=5e-4)
    assert row["n"] == n
    assert row["p_fisher"] == pytest.approx(p_fisher, abs=5e-4)
    assert row["verdict"] == "inconclusive"


def test_the_odds_ratio_printed_in_the_text_is_flagged_from_the_counts(tables):
    row = found(tables, COMPLETE, "Results", "estimate")
    assert (row["printed"], row["found"]) == ("0.67", "0.69")
    assert "23/36 against 36/50 give 0.6880" in row["explanation"]


def test_the_percentage_printed_in_the_text_is_flagged_from_the_counts(tables):
    row = found(tables, COMPLETE, "Results", "percentage, reference")
    assert (row["printed"], row["found"]) == ("70 %", "72 %")
    assert "36/50 is 72.00 %" in row["explanation"]


def test_the_printed_interval_matches_no_method_tried(tables):
    row = found(tables, COMPLETE, "Table 2", "interval")
    assert (row["printed"], row["found"]) == ("0.28 to 1.74", "0.27 to 1.72")
    for method in ("Wald", "profile likelihood", "conditional exact"):
        assert method in row["explanation"]


def test_what_agrees_with_the_counts_is_not_flagged(tables):
    """0.506 and 0.51 (0.19 to 1.37), 28 % and 44 %, and the abstract's 64 % and 72 % all follow from the counts."""
    table = tables.contradictions
    assert not (table["claim"] == MIDCOURSE).any()
    assert not (table["place"] == "Abstract").any()


# --- the interactions ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "p", "sd", "limit", "times_15"),
    [(MAST, 0.0049, 0.775, 4.57, 0.074), (NEUTROPHILS, 0.0015, 0.568, 3.04, 0.022)],
)
def test_the_two_interactions(audit, claim, p, sd, limit, times_15):
    row = audit.loc[claim]
    assert row["basis"] == "two printed claims"
    assert row["p_value"] == pytest.approx(p, abs=5e-5)
    assert row["critical_prior_sd"] == pytest.approx(sd, abs=5e-4)
    assert row["scepticism_limit"] == pytest.approx(limit, abs=5e-3)
    assert row["family_size"] == 15
    assert row["p_bonferroni"] == pytest.approx(times_15, abs=5e-4)


def test_what_rounding_allows_for_the_neutrophils(audit):
    """P from 0.00075 to 0.0028, critical prior SD from 0.50 to 0.66, over all corners of the six printed figures."""
    row = audit.loc[NEUTROPHILS]
    assert row["p_low"] == pytest.approx(0.00075, abs=5e-6)
    assert row["p_high"] == pytest.approx(0.0028, abs=5e-5)
    assert row["critical_prior_sd_low"] == pytest.approx(0.50, abs=5e-3)
    assert row["critical_prior_sd_high"] == pytest.approx(0.66, abs=5e-3)


def test_printed_p_values_of_the_interactions_are_compatible_with_their_strata(tables):
    assert not (tables.contradictions["figure"] == "P").any()


def test_interactions_at_the_declared_sceptic(audit):
    """Bonferroni over 15 fails mast cells; neither overcomes a sceptic with SD 0.42 (95 %: 0.44 to 2.28)."""
    assert audit.loc[MAST, "verdict"] == "does not survive"
    assert audit.loc[NEUTROPHILS, "verdict"] == "weakened"
    assert audit.loc[NEUTROPHILS, "sceptical_prior_sd"] == pytest.approx(math.log(2) / 1.644853627)


# --- the rest of the paper -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "figure"),
    [
        ("Mast cells resting high, HR+", "direction"),
        ("Mast cells resting high, HR-", "significance"),
        ("Neutrophils high, HR-", "direction"),
        ("Neutrophils high, HR+", "significance"),
    ],
)
def test_the_discussion_contradicts_the_results(tables, claim, figure):
    found(tables, claim, "Discussion", figure)


def test_a_limit_printed_as_minus_zero_is_not_used(tables, audit):
    row = found(tables, "NK cells activated and HER2, HR+", "Fig. 2a", "upper limit")
    assert (row["printed"], row["found"]) == ("-0", "-0.06")
    assert audit.loc["NK cells activated and HER2, HR+", "basis"] == "printed estimate and one limit"


def test_nothing_else_is_called_a_contradiction(tables):
    assert len(tables.contradictions) == 9


def test_correlations_with_n_have_the_intervals_that_were_printed(audit):
    """Fig. 1b, n = 318: Bonett and Wright's standard error gives -0.53 to -0.34, as printed."""
    row = audit.loc["HER2 20-gene signature and total TILs"]
    assert (f"{row['lower']:.2f}", f"{row['upper']:.2f}") == ("-0.53", "-0.34")
    assert row["n_implied"] == pytest.approx(305, abs=1)


def test_an_upper_limit_of_one_is_left_undecided_by_rounding(audit):
    row = audit.loc["T cells gamma delta high, HR+"]
    assert row["p_low"] < 0.05 < row["p_high"]
    assert row["verdict"] == "undecided by rounding"


def test_the_seed_study_prints_no_claim_for_two_cohorts(tables):
    assert tables.replication.empty


def test_every_verdict_is_a_declared_one_and_lies_within_what_rounding_allows(tables):
    order = ["inconclusive", "does not survive", "weakened", "survives"]
    assert len(tables.audit) == 25
    for row in tables.audit.to_dict("records"):
        assert row["verdict"] in VERDICTS
        low, high = order.index(row["verdict_lowest"]), order.index(row["verdict_highest"])
        assert low <= high
        if row["verdict"] != "undecided by rounding":
            assert low <= order.index(row["verdict"]) <= high


def test_another_plausible_effect_moves_the_sceptic(audit):
    wider = audit_tables(read_claims(), Settings(plausible={"ratio of odds ratios": 4})).audit.set_index(
        "claim"
    )
    assert wider.loc[NEUTROPHILS, "sceptical_prior_sd"] == pytest.approx(math.log(4) / 1.644853627)
    assert wider.loc[NEUTROPHILS, "verdict"] == "survives"
    assert wider.loc[MIDCOURSE, "sceptical_prior_sd"] == audit.loc[MIDCOURSE, "sceptical_prior_sd"]
