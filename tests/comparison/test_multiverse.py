"""Conclusions of universes against the main analysis, from rows with known intervals."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from bayes_her2.comparison.multiverse import (
    COLUMNS,
    against_main,
    beside_twin,
    change,
    changed_conclusions,
    limit_error,
    side,
    stability,
    summary,
)
from bayes_her2.errors import DataError
from bayes_her2.estimates import Estimates

SD = 0.1


def interval(log_ratio: float, sd: float = SD) -> tuple[float, float, float]:
    """Point and 95 % limits of a ratio whose log is normal."""
    half = norm.ppf(0.975) * sd
    return math.exp(log_ratio), math.exp(log_ratio - half), math.exp(log_ratio + half)


def row(
    outcome: str, log_ratio: float, twin: float | None = None, *, p: float = 1.0, **other: object
) -> dict[str, object]:
    """A row of `concordance`, observed and pooled unless said otherwise."""
    point, lower, upper = interval(log_ratio)
    twin_point, twin_lower, twin_upper = interval(log_ratio if twin is None else twin)
    return {
        "outcome": outcome,
        "estimand": "overall",
        "stratum": "HR+",
        "scope": "pooled",
        "cohort": "",
        "n": 100,
        "n_zero": 10,
        "status": "observed",
        "posterior_point": point,
        "posterior_lower": lower,
        "posterior_upper": upper,
        "pd": 0.9,
        "s_value": 0.1,
        "discovery_bayes": False,
        "twin_method": "m",
        "twin_status": "observed",
        "twin_point": twin_point,
        "twin_lower": twin_lower,
        "twin_upper": twin_upper,
        "twin_p": p / 20,
        "twin_p_bonferroni": p,
        "discovery_bonferroni": p <= 0.05,
        "verdict": "agrees",
        "note": "",
    } | other


def compared(main: list[dict[str, object]], other: list[dict[str, object]], reads=(("overall", "overall"),)):
    return against_main(
        {"main": pd.DataFrame(main), "other": pd.DataFrame(other)},
        {"main": [("overall", "overall")], "other": list(reads)},
        main="main",
        interval=0.95,
        alpha=0.05,
    )


def of_other(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["universe"] == "other"].set_index("cell_type")


def test_a_side_is_where_the_whole_interval_lies():
    assert side(1.5, 1.01, 2.0, estimand="overall") == "above"
    assert side(0.5, 0.2, 0.99, estimand="overall") == "below"
    assert side(1.5, 1.0, 2.0, estimand="overall") == "open"  # 1 itself is not excluded
    assert side(0.2, 0.1, 0.3, estimand="spearman") == "above"  # of a correlation the null is 0
    assert side(math.nan, 1.1, 2.0, estimand="overall") == "not estimable"


@pytest.mark.parametrize(
    ("main", "here", "said"),
    [
        ("above", "above", ""),
        ("open", "open", ""),
        ("above", "open", "lost"),
        ("open", "below", "gained"),
        ("above", "below", "reversed"),
        ("below", "not estimable", "no longer estimable"),
        ("not estimable", "open", "newly estimable"),
    ],
)
def test_changes_have_names(main, here, said):
    assert change(main, here) == said


def test_each_kind_of_change_is_found_by_label_whatever_the_order_of_rows():
    main = [row("a", 0.5), row("b", 0.0), row("c", 0.5), row("d", 0.5), row("e", -0.5)]
    other = [
        row("e", -0.5),
        row("d", 0.4, status="not estimable"),
        row("c", -0.5),
        row("b", -0.5),
        row("a", 0.05),
    ]
    table = of_other(compared(main, other))
    assert table["posterior_change"].to_dict() == {
        "a": "lost",
        "b": "gained",
        "c": "reversed",
        "d": "no longer estimable",
        "e": "",
    }
    assert list(compared(main, other).columns) == COLUMNS
    # Log ratio of ratios, and the same in SDs of the main posterior.
    assert table.loc["c", "log_shift"] == pytest.approx(-1.0)
    assert table.loc["c", "shift_sd"] == pytest.approx(-1.0 / SD)
    assert math.isnan(table.loc["d", "log_shift"])


def test_a_cell_type_that_a_universe_leaves_out_is_not_estimable_there():
    table = of_other(compared([row("a", 0.5), row("b", 0.5)], [row("a", 0.5)]))
    assert table.loc["b", "posterior_side"] == table.loc["b", "twin_side"] == "not estimable"
    assert table.loc["b", "posterior_change"] == "no longer estimable"
    assert table.loc["b", "note"] == "not in this universe"


def test_the_twin_is_judged_by_its_interval_and_again_after_bonferroni():
    main = [row("a", 0.5, p=0.01), row("b", 0.5, p=0.01)]
    other = [row("a", 0.5, p=0.2), row("b", 0.5, twin=0.0, p=1.0)]
    table = of_other(compared(main, other))
    assert table["twin_change"].to_dict() == {"a": "", "b": "lost"}
    assert table["twin_bonferroni_change"].to_dict() == {"a": "lost", "b": "lost"}
    assert table["posterior_change"].to_dict() == {"a": "", "b": ""}


def test_a_separated_twin_has_no_side():
    table = of_other(compared([row("a", 0.5)], [row("a", 0.5, twin_status="separated")]))
    assert table.loc["a", "twin_change"] == "no longer estimable"
    assert table.loc["a", "posterior_change"] == ""


def test_a_universe_may_be_read_by_another_estimand():
    main = [row("a", 0.5), row("a", -0.5, estimand="amount")]
    other = [row("a", 0.5), row("a", -0.5, estimand="amount")]
    reads = [("amount", "overall"), ("overall", "overall"), ("amount", "amount")]
    table = of_other(compared(main, other, reads))
    assert list(table["headline"]) == [True, False, False]
    assert list(table["posterior_change"]) == ["reversed", "", ""]
    # Ratios of means can be compared in size, an odds ratio and a ratio of means in their side alone.
    assert list(table["log_shift"]) == pytest.approx([-1.0, 0.0, 0.0])
    other.append(row("a", 0.7, estimand="high_abundance"))
    odds = of_other(compared(main, other, [("high_abundance", "overall")]))
    assert list(odds["posterior_change"]) == [""]
    assert odds["log_shift"].isna().all()


def test_where_the_pooled_row_is_borrowed_the_only_cohort_with_tumours_speaks():
    def three(log_ratio):
        return [
            row("a", 0.0, status="borrowed"),
            row("a", log_ratio, scope="cohort", cohort="A"),
            row("a", 0.0, scope="cohort", cohort="B", status="borrowed"),
        ]

    table = compared(three(0.5), three(-0.5))
    assert set(table["cohort"]) == {"A"}
    assert of_other(table).loc["a", "posterior_change"] == "reversed"
    # Two cohorts with such tumours: no row of one cohort stands for both.
    both = [row("a", 0.0, status="borrowed"), *(row("a", 0.5, scope="cohort", cohort=c) for c in "AB")]
    assert of_other(compared(both, both)).loc["a", "posterior_side"] == "not estimable"


def test_the_error_of_a_limit_is_that_of_simulated_quantiles():
    rng = np.random.default_rng(3)
    draws = rng.standard_normal((2_000, 1_200))
    found = np.quantile(draws, 0.025, axis=1).std()
    # The SD of 2,000 quantiles is known to 1.6 %; the asymptotic formula leaves out how the density bends.
    assert found == pytest.approx(limit_error(0.95), rel=0.06)
    assert limit_error(0.95, 4_800) == pytest.approx(limit_error(0.95) / 2)


@pytest.mark.parametrize(("errors", "said"), [(1.5, True), (2.5, False)])
def test_a_change_that_rests_on_a_limit_near_one_is_marked(errors, said):
    # The main posterior's lower limit lies so many standard errors above 1; the other is far from any limit.
    near = SD * (norm.ppf(0.975) + errors * limit_error(0.95))
    table = of_other(compared([row("a", near), row("b", near)], [row("a", 0.0), row("b", near)]))
    assert table["posterior_change"].to_dict() == {"a": "lost", "b": ""}
    assert table["within_monte_carlo_error"].to_dict() == {"a": said, "b": False}


def about(**other: object) -> pd.DataFrame:
    rows = [
        {"universe": "main", "status": "fitted", "n_tumours": 100},
        {"universe": "other", "status": "fitted", "n_tumours": 90},
        {"universe": "absent", "status": "left out", "reason": "no file"},
    ]
    return pd.DataFrame(rows).assign(**other)


def test_the_summary_counts_headline_rows_alone():
    main = [row("a", 0.5), row("b", 0.0), row("c", 0.5), row("d", 0.5, p=0.01)]
    other = [row("a", 0.05), row("b", -0.5), row("c", -0.5), row("d", 0.4, p=1.0, verdict="new")]
    main += [{**r, "estimand": "amount"} for r in main]
    other += [{**r, "estimand": "amount"} for r in other]
    table = compared(main, other, [("overall", "overall"), ("amount", "amount")])
    values = pd.DataFrame({"universe": ["other", "other"], "n_changed": [3, 4]})
    made = summary(table, about(), values).set_index("universe")
    assert made.loc["other", ["posterior_lost", "posterior_gained", "posterior_reversed"]].tolist() == [
        1,
        1,
        1,
    ]
    assert made.loc["other", "n_values_changed"] == 7
    assert made.loc["other", "n_rows"] == 4
    assert made.loc["other", "n_directions"] == 3
    assert made.loc["other", "n_verdicts_changed"] == 1
    assert made.loc["other", "twin_bonferroni_lost"] == 1
    assert made.loc["other", "largest_shift"] == pytest.approx(math.exp(-1.0))
    assert made.loc["other", "largest_shift_row"] == "c, HR+"
    assert made.loc["other", "median_shift_sd"] == pytest.approx((0.45 + 0.5) / 2 / SD)
    assert made.loc["main", "posterior_lost"] == 0
    assert made.loc["main", "median_shift_sd"] == 0
    assert made.loc["absent", "reason"] == "no file"
    assert pd.isna(made.loc["absent", "posterior_lost"])
    changed = changed_conclusions(table)
    assert list(changed["headline"]) == [True] * 4 + [False] * 4  # d only after Bonferroni's correction
    assert set(changed["universe"]) == {"other"}


def test_stability_counts_the_universes_that_share_a_conclusion():
    main = [row("a", 0.5), row("b", 0.0)]
    universes = {
        "main": pd.DataFrame(main),
        "one": pd.DataFrame([row("a", 0.6), row("b", 0.5)]),
        "two": pd.DataFrame([row("a", 0.05, twin=0.5), row("b", 0.0)]),
        "three": pd.DataFrame([row("b", -0.5)]),
    }
    table = against_main(
        universes,
        {name: [("overall", "overall")] for name in universes},
        main="main",
        interval=0.95,
        alpha=0.05,
    )
    made = stability(table, main="main").set_index("cell_type")
    assert made.loc["a", ["main_side", "n_universes", "n_same", "n_open"]].tolist() == ["above", 2, 1, 1]
    assert made.loc["b", ["n_universes", "n_same", "n_above", "n_below", "n_open"]].tolist() == [
        3,
        1,
        1,
        1,
        1,
    ]
    assert made.loc["a", ["twin_n_universes", "twin_n_same"]].tolist() == [2, 2]
    assert made.loc["b", "least"] == pytest.approx(math.exp(-0.5))
    assert made.loc["b", "greatest"] == pytest.approx(math.exp(0.5))


def test_without_the_main_analysis_there_is_nothing_to_compare_with():
    with pytest.raises(DataError, match="main analysis 'main' is not among the universes: other"):
        against_main({"other": pd.DataFrame()}, {}, main="main", interval=0.95, alpha=0.05)


def test_a_model_without_a_twin_has_posterior_columns_alone():
    point, lower, upper = interval(0.5)
    base = {
        "source": "posterior",
        "method": "m",
        "model": "m",
        "scope": "pooled",
        "estimand": "overall",
        "n": 9,
    }
    limits = {"point": point, "lower": lower, "upper": upper, "status": "observed"}
    posterior = Estimates.from_records(
        [
            base | limits | {"outcome": "a", "stratum": "HR+", "s_value": 0.01, "lfsr": 0.01},
            base | limits | {"outcome": "b", "stratum": "HR+", "s_value": 0.2, "lfsr": 0.2},
            base | limits | {"outcome": "a", "stratum": "all", "estimand": "probability_greater"},
        ]
    )
    rows = beside_twin(posterior, None)
    assert list(rows["outcome"]) == ["a", "b"]  # comparisons of the strata are no slopes
    assert list(rows["discovery_bayes"]) == [True, False]
    table = against_main(
        {"main": rows}, {"main": [("overall", "overall")]}, main="main", interval=0.95, alpha=0.05
    )
    assert set(table["posterior_side"]) == {"above"}
    assert set(table["twin_side"]) == {"not estimable"}
