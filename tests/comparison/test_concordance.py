"""Verdicts, one test each, and the join behind them."""

from __future__ import annotations

import pandas as pd
import pytest

from bayes_her2.comparison import concordance, parts_that_disagree, recovery, verdict
from bayes_her2.comparison.concordance import Interval
from bayes_her2.errors import DataError
from bayes_her2.estimates import Estimates


def of(point: float, lower: float, upper: float) -> Interval:
    return Interval(point, lower, upper)


@pytest.mark.parametrize(
    ("posterior", "twin", "expected"),
    [
        (of(1.5, 1.2, 1.9), of(1.6, 1.2, 2.1), "agrees"),
        # log 1.2 = 0.18 is less than two thirds of log 1.6 = 0.47
        (of(1.2, 1.1, 1.3), of(1.6, 1.2, 2.1), "attenuated"),
        # log 2.0 = 0.69 is more than four thirds of log 1.6 = 0.47
        (of(2.0, 1.3, 3.0), of(1.6, 1.2, 2.1), "amplified"),
        (of(1.3, 0.9, 1.8), of(1.6, 1.2, 2.1), "uncertain"),
        (of(1.5, 1.2, 1.9), of(1.6, 0.9, 2.1), "new"),
        (of(0.6, 0.4, 0.9), of(1.6, 1.2, 2.1), "contradicts"),
        (of(1.1, 0.9, 1.3), of(0.9, 0.7, 1.2), "both null"),
    ],
)
def test_verdicts_on_ratios(posterior, twin, expected):
    assert verdict(posterior, twin, estimand="amount") == expected


def test_correlations_are_compared_on_the_fisher_scale():
    assert verdict(of(-0.3, -0.4, -0.2), of(-0.31, -0.42, -0.2), estimand="spearman") == "agrees"
    # atanh 0.15 = 0.151, atanh 0.31 = 0.321: less than two thirds
    assert verdict(of(-0.15, -0.2, -0.1), of(-0.31, -0.42, -0.2), estimand="spearman") == "attenuated"


def row(source: str, outcome: str, point: float, **other: object) -> dict[str, object]:
    base: dict[str, object] = {
        "source": source,
        "method": "models/abundance.py" if source == "posterior" else "common effect",
        "model": "abundance",
        "outcome": outcome,
        "exposure": "HER2",
        "estimand": "amount",
        "contrast": "h + 1 SD over h",
        "adjustment": "none",
        "stratum": "HR+",
        "scope": "pooled",
        "unit": "ratio of means per SD",
        "point": point,
        "lower": point * 0.9,
        "upper": point * 1.1,
        "interval_kind": "credible (equal-tailed)" if source == "posterior" else "confidence (Wald)",
        "interval_prob": 0.95,
        "n": 10,
        "n_zero": 1,
        "status": "observed",
        "fingerprint": "same",
    }
    if source == "posterior":
        base |= {"pd": 0.99, "lfsr": 0.01, "s_value": 0.01, "p_in_rope": 0.1}
    else:
        base |= {"p_value": 0.001, "p_adjusted": 0.02}
    return base | other


def test_rows_are_joined_by_label_whatever_their_order():
    outcomes = [f"cell type {i}" for i in range(12)]
    ours = Estimates.from_records([row("posterior", o, 1.0 + i) for i, o in enumerate(outcomes)])
    theirs = Estimates.from_records([row("twin", o, 101.0 + i) for i, o in enumerate(outcomes)][::-1])
    table = concordance(ours, theirs).set_index("outcome")
    for i, outcome in enumerate(outcomes):
        assert table.loc[outcome, "posterior_point"] == 1.0 + i
        assert table.loc[outcome, "twin_point"] == 101.0 + i


def test_only_observed_pairs_get_a_verdict():
    ours = Estimates.from_records(
        [
            row("posterior", "A", 2.0),
            row("posterior", "B", 2.0, status="borrowed", note="METABRIC has no HR- tumours"),
            row("posterior", "C", 2.0),
        ]
    )
    theirs = Estimates.from_records(
        [
            row("twin", "A", 2.0),
            row("twin", "B", 2.0),
            row("twin", "C", 2.0, status="separated", note="complete separation in HR-"),
        ]
    )
    table = concordance(ours, theirs).set_index("outcome")
    assert table["verdict"].to_dict() == {"A": "agrees", "B": "not compared", "C": "not estimable"}
    assert table.loc["C", "note"] == "twin: complete separation in HR-"
    assert table.loc["A", "discovery_bayes"]
    assert not table.loc["B", "discovery_bayes"]


def test_pooled_averages_over_tumours_are_matched_by_the_twin_that_averages_over_the_same_tumours():
    ours = Estimates.from_records([row("posterior", "A", 2.0, estimand="overall")])
    theirs = Estimates.from_records(
        [
            row("twin", "A", 2.0, estimand="overall"),
            row("twin", "A", 1.9, estimand="overall", method="cohort fixed"),
        ]
    )
    assert list(concordance(ours, theirs)["twin_method"]) == ["cohort fixed"]
    alone = Estimates.from_records([row("twin", "A", 2.0, estimand="overall", method="single cohort")])
    assert list(concordance(ours, alone)["twin_method"]) == ["single cohort"]


def test_pooled_slopes_are_matched_by_the_meta_analysis_of_cohorts():
    ours = Estimates.from_records([row("posterior", "A", 2.0)])
    theirs = Estimates.from_records([row("twin", "A", 2.0), row("twin", "A", 0.5, method="cohort fixed")])
    table = concordance(ours, theirs)
    assert list(table["twin_method"]) == ["common effect"]


def test_a_twin_that_had_to_leave_out_tumours_gives_way_to_the_one_that_has_them_all():
    ours = Estimates.from_records([row("posterior", "A", 0.89, n=98), row("posterior", "B", 0.89, n=98)])
    theirs = Estimates.from_records(
        [
            row("twin", "A", 1.92, n=63),
            row("twin", "A", 0.87, n=98, method="cohort fixed"),
            row("twin", "B", 1.92, n=63),
            row("twin", "B", 1.50, n=80, method="cohort fixed"),
        ]
    )
    table = concordance(ours, theirs).set_index("outcome")
    assert table.loc["A", ["twin_method", "n", "n_twin", "verdict"]].tolist() == [
        "cohort fixed",
        98,
        98,
        "agrees",
    ]
    assert table.loc["B", ["twin_method", "n", "n_twin"]].tolist() == ["common effect", 98, 63]
    assert table.loc["B", "verdict"] == "not compared"
    assert table.loc["B", "note"] == "twin: other tumours, 63 of 98"


def test_discoveries_of_either_side_are_those_of_observed_rows():
    ours = Estimates.from_records([row("posterior", "A", 2.0), row("posterior", "B", 2.0, status="borrowed")])
    both = [row("twin", o, 2.0, method=m) for o in "AB" for m in ("common effect", "cohort fixed")]
    table = concordance(ours, Estimates.from_records(both)).set_index("outcome")
    for side in ("bayes", "bonferroni", "fixed"):
        assert table[f"discovery_{side}"].to_dict() == {"A": True, "B": False}, side


def test_a_row_without_an_s_value_calls_no_sign_and_its_twin_may_discover():
    named = {"model": "clinical", "estimand": "clinical_odds"}
    table = concordance(
        Estimates.from_records([row("posterior", "A", 2.0, s_value=float("nan"), **named)]),
        Estimates.from_records([row("twin", "A", 2.0, **named)]),
    ).iloc[0]
    assert not table["discovery_bayes"]
    assert table["discovery_bonferroni"]


def test_where_no_regression_has_cohort_fixed_it_discovers_nothing():
    ours = Estimates.from_records([row("posterior", "A", 2.0)])
    table = concordance(ours, Estimates.from_records([row("twin", "A", 2.0)])).iloc[0]
    assert not table["discovery_fixed"]
    assert pd.isna(table["fixed_p_bonferroni"])


def test_discoveries_follow_the_declared_limits():
    ours = Estimates.from_records([row("posterior", "A", 2.0, s_value=0.06)])
    theirs = Estimates.from_records([row("twin", "A", 2.0, p_adjusted=0.04)])
    strict = concordance(ours, theirs).iloc[0]
    assert not strict["discovery_bayes"]
    assert strict["discovery_bonferroni"]
    own = Estimates.from_records([row("posterior", "A", 2.0, s_value=0.01, lfsr=0.2)])
    assert not concordance(own, theirs).iloc[0]["discovery_bayes"]  # called surely enough only by its company
    lax = concordance(ours, theirs, false_discovery=0.1, alpha=0.01).iloc[0]
    assert lax["discovery_bayes"]
    assert not lax["discovery_bonferroni"]


def test_two_data_sets_are_never_compared():
    ours = Estimates.from_records([row("posterior", "A", 2.0)])
    theirs = Estimates.from_records([row("twin", "A", 2.0, fingerprint="other")])
    with pytest.raises(DataError, match="posterior and twin saw different data"):
        concordance(ours, theirs)


def test_nothing_matched_is_an_error():
    ours = Estimates.from_records([row("posterior", "A", 2.0)])
    theirs = Estimates.from_records([row("twin", "A", 2.0, stratum="HR-")])
    with pytest.raises(DataError, match="no posterior row has a matched twin"):
        concordance(ours, theirs)


def test_parts_that_point_apart_are_listed():
    rows = []
    for outcome, presence, amount in (("A", 1.5, 0.6), ("B", 1.5, 1.6), ("C", 1.05, 0.6)):
        for estimand, point in (("presence", presence), ("amount", amount), ("overall", 1.0)):
            rows.append(row("posterior", outcome, point, estimand=estimand))
    found = parts_that_disagree(Estimates.from_records(rows))
    assert list(found["outcome"]) == ["A"]
    assert found.iloc[0][["presence", "amount"]].tolist() == [1.5, 0.6]


def test_recovery_reads_truth_by_label():
    ours = Estimates.from_records([row("posterior", "A", 2.0), row("posterior", "B", 1.0)])
    truth = pd.DataFrame(
        {
            "outcome": ["B", "A"],
            "estimand": "amount",
            "stratum": "HR+",
            "scope": "pooled",
            "cohort": [None, None],
            "truth": [1.05, 3.0],
        }
    )
    table = recovery(ours, truth).set_index("outcome")
    assert table["covered"].to_dict() == {"A": False, "B": True}
    with pytest.raises(DataError, match="no posterior row is named in the truth table"):
        recovery(ours, truth.head(1).assign(outcome="Z"))
