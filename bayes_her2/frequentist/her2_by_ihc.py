"""The HER2 measure by immunohistochemistry (IHC) level: rising with the level, or highest in the middle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any

import pandas as pd
from scipy import stats

from bayes_her2.data import STRATA, AnalysisSet
from bayes_her2.estimates import ALL
from bayes_her2.frequentist.two_groups import probability_greater

LEVELS = ("0", "1+", "2+", "3+")
COLUMNS = (
    "cohort",
    "stratum",
    "row",
    "level",
    "other_level",
    "n",
    "mean",
    "sd",
    "lowest",
    "q1",
    "median",
    "q3",
    "highest",
    "point",
    "lower",
    "upper",
    "interval_prob",
    "p_value",
    "p_adjusted",
    "shape",
    "text",
)
MIN_LEVEL = 3
"""Tumours that a level needs to take part in tests and in the verdict."""

SHAPES = {
    "peak": "the median is highest in a middle level",
    "rising": "the median rises with the level throughout",
    "falling": "the median falls with the level throughout",
    "trough": "the median is lowest in a middle level",
    "flat": "the median is the same in all levels",
    "mixed": "the median goes up and down",
}


def her2_by_ihc(data: AnalysisSet, *, interval: float = 0.95) -> pd.DataFrame | None:
    """Distribution of the HER2 measure by IHC level, by cohort and hormone receptor (HR) status, with tests.

    Parameters
    ----------
    data
        Any analysis set; its tumours are HER2-negative, so 3+ is not among the levels.
    interval
        Probability of the intervals of P(X > Y).

    Returns
    -------
    pandas.DataFrame or None
        None where no cohort has IHC levels. ``row`` says what a row is: ``level`` (n, mean, sd, extremes and
        quartiles), ``not recorded`` (n), ``pair`` (P(measure in ``level`` > in ``other_level``), ties counted half,
        with Wilcoxon's test and Bonferroni over the pairs of the group), ``all levels`` (Kruskal-Wallis), ``verdict``
        (``shape`` and a sentence, in which levels are told
        apart by the adjusted P at 1 minus `interval`). Levels with fewer than 3 tumours are described and not tested.
    """
    tumours = data.tumours
    groups = [(c, s) for c in data.cohorts for s in (*STRATA, ALL)]
    rows: list[dict[str, Any]] = []
    for cohort, stratum in groups:
        own = tumours[tumours["cohort"] == cohort]
        if stratum != ALL:
            own = own[own["hr"] == stratum]
        if own.empty or own["her2_ihc"].isna().all():
            continue
        base = {"cohort": cohort, "stratum": stratum}
        rows += [base | row for row in _group(own, base, data.measure, interval)]
    return pd.DataFrame(rows, columns=list(COLUMNS)) if rows else None


def _group(
    tumours: pd.DataFrame, base: Mapping[str, str], measure: str, interval: float
) -> list[dict[str, Any]]:
    by_level = {
        level: tumours.loc[tumours["her2_ihc"] == level, "her2"].astype(float)
        for level in LEVELS
        if (tumours["her2_ihc"] == level).any()
    }
    rows: list[dict[str, Any]] = [_described(level, values) for level, values in by_level.items()]
    rows.append({"row": "not recorded", "n": int(tumours["her2_ihc"].isna().sum())})
    tested = {level: values for level, values in by_level.items() if len(values) >= MIN_LEVEL}
    if len(tested) < 2:
        return rows
    pairs = []
    for low, high in combinations(tested, 2):
        found = probability_greater(tested[high], tested[low], interval=interval)
        pairs.append(
            {
                "row": "pair",
                "level": high,
                "other_level": low,
                "n": len(tested[high]) + len(tested[low]),
                "interval_prob": interval,
                "text": found.get("note", ""),
            }
            | {name: found.get(name, math.nan) for name in ("point", "lower", "upper", "p_value")}
        )
    for pair in pairs:
        pair["p_adjusted"] = min(1.0, len(pairs) * pair["p_value"])
    rows += pairs
    p_value = math.nan
    if pd.concat(list(tested.values())).nunique() > 1:
        p_value = float(stats.kruskal(*tested.values()).pvalue)
    rows.append(
        {
            "row": "all levels",
            "n": sum(map(len, tested.values())),
            "p_value": p_value,
            "text": "Kruskal-Wallis",
        }
    )
    rows.append(_verdict(tested, pairs, p_value, base, measure))
    return rows


def _described(level: str, values: pd.Series[float]) -> dict[str, Any]:
    lowest, q1, median, q3, highest = values.quantile([0, 0.25, 0.5, 0.75, 1]).tolist()
    return {
        "row": "level",
        "level": level,
        "n": len(values),
        "mean": float(values.mean()),
        "sd": float(values.std()) if len(values) > 1 else math.nan,
        "lowest": lowest,
        "q1": q1,
        "median": median,
        "q3": q3,
        "highest": highest,
    }


def shape_of(medians: Sequence[float]) -> str:
    """One of `SHAPES`, from the medians in the order of the levels."""
    steps = [b - a for a, b in pairwise(medians)]
    if all(step == 0 for step in steps):
        return "flat"
    if all(step >= 0 for step in steps):
        return "rising"
    if all(step <= 0 for step in steps):
        return "falling"
    turns = [step > 0 for step in steps if step]
    if turns == sorted(turns, reverse=True):
        return "peak"
    return "trough" if turns == sorted(turns) else "mixed"


def _verdict(
    tested: Mapping[str, pd.Series[float]],
    pairs: Sequence[Mapping[str, Any]],
    p_value: float,
    base: Mapping[str, str],
    measure: str,
) -> dict[str, Any]:
    medians = {level: float(values.median()) for level, values in tested.items()}
    shape = shape_of(list(medians.values()))
    highest = max(medians, key=lambda level: medians[level])
    listed = ", ".join(
        f"{median:.3g} in {level} (n {len(tested[level])})" for level, median in medians.items()
    )
    apart = [f"P({pair['level']} > {pair['other_level']}) = {_interval(pair)}" for pair in pairs]
    alike = [
        pair["other_level"] if pair["level"] == highest else pair["level"]
        for pair in pairs
        if highest in (pair["level"], pair["other_level"]) and not _apart(pair)
    ]
    words = {
        "peak": f"highest in {highest}, lower on either side",
        "rising": f"rising with the level, highest in {highest}",
        "falling": f"falling with the level, highest in {highest}",
        "trough": f"lowest in a middle level, highest in {highest}",
        "flat": "the same in all levels",
        "mixed": f"up and down, highest in {highest}",
    }[shape]
    if alike and shape != "flat":
        words = f"by medians {words}; but {highest} is not told apart from {' and '.join(alike)}, so this is not shown"
    sure = [
        f"{pair['level']} {'above' if pair['point'] > 0.5 else 'below'} {pair['other_level']}"
        for pair in pairs
        if _apart(pair)
    ]
    shown = "Told apart (adjusted P, Bonferroni over the pairs): " + f"{', '.join(sure) if sure else 'none'}."
    where = base["cohort"] + ("" if base["stratum"] == ALL else f", {base['stratum']}")
    bell = (
        ""
        if "3+" in tested
        else " HER2-negative tumours have no level 3+, so a fall beyond 2+ cannot be seen."
    )
    text = (
        f"{where}: median {measure} {listed}: {words}. Kruskal-Wallis P = {p_value:.2g}; {'; '.join(apart)}. "
        f"{shown}{bell}"
    )
    return {"row": "verdict", "level": highest, "shape": shape, "p_value": p_value, "text": text}


def _apart(pair: Mapping[str, Any]) -> bool:
    """Whether the Bonferroni-adjusted P value of a pair is at most 1 minus the probability of the intervals."""
    return bool(pair["p_adjusted"] <= 1.0 - pair["interval_prob"] + 1e-12)


def _interval(pair: Mapping[str, Any]) -> str:
    adjusted = f"adjusted P = {pair['p_adjusted']:.2g}"
    if math.isnan(pair["lower"]):
        return f"{pair['point']:.2f} ({pair['text']}; {adjusted})"
    return f"{pair['point']:.2f} ({pair['lower']:.2f} to {pair['upper']:.2f}; {adjusted})"
