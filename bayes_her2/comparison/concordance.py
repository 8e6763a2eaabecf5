"""Posterior rows joined with their matched twins, and what the pair says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayes_her2.errors import DataError, name_some
from bayes_her2.estimates import (
    COHORT_FIXED,
    KEY,
    SECOND_OPINIONS,
    STANDARDISED,
    Estimates,
    Kind,
    comparable,
    kind_of,
    null_value,
)

VERDICTS = {
    "agrees": "same direction, both intervals exclude the null",
    "attenuated": "agrees, but the posterior is smaller by more than a third (log scale)",
    "amplified": "agrees, but the posterior is larger by more than a third (log scale)",
    "uncertain": "the twin's interval excludes the null, the posterior's does not",
    "new": "the posterior's interval excludes the null, the twin's does not",
    "contradicts": "opposite directions, both intervals exclude the null",
    "both null": "neither interval excludes the null; how much is ruled out, P(in ROPE) says",
    "not compared": "the posterior row is borrowed or prior-only, or the twin has other tumours: shown, not judged",
    "not estimable": "at least one side has no estimate from these tumours",
}
THIRD = 1.0 / 3.0


@dataclass(frozen=True)
class Interval:
    """Point and interval of one side, on the scale of its unit."""

    point: float
    lower: float
    upper: float

    def excludes(self, null: float) -> bool:
        """Whether the interval lies to one side of `null`."""
        return self.lower > null or self.upper < null


def verdict(posterior: Interval, twin: Interval, *, estimand: str) -> str:
    """Verdict on a matched pair of intervals.

    Parameters
    ----------
    posterior, twin
        Same estimand, same tumours, same interval probability.
    estimand
        Name of the estimand: its kind (`bayes_her2.estimates.KINDS`) gives the null value and the scale on which
        sizes are compared (logs of ratios, Fisher z of correlations, logits of probabilities).

    Returns
    -------
    str
        One of `VERDICTS`, never ``not compared`` or ``not estimable`` (those are matters of status).
    """
    kind, null = kind_of(estimand), null_value(estimand)
    ours, theirs = posterior.excludes(null), twin.excludes(null)
    if ours and theirs:
        p, t = comparable(kind, posterior.point), comparable(kind, twin.point)
        if p * t < 0:
            return "contradicts"
        if abs(p) < abs(t) * (1 - THIRD):
            return "attenuated"
        if abs(p) > abs(t) * (1 + THIRD):
            return "amplified"
        return "agrees"
    if theirs:
        return "uncertain"
    return "new" if ours else "both null"


def concordance(
    posterior: Estimates, twin: Estimates, *, false_discovery: float = 0.05, alpha: float = 0.05
) -> pd.DataFrame:
    """Every posterior row beside its matched twin, with verdict and both kinds of discovery.

    Parameters
    ----------
    posterior, twin
        Estimates of the two sides.
    false_discovery
        A row is a Bayesian sign call when its s-value (expected proportion of wrong signs among the
        claims up to it, within its family) and its own local false sign rate are at most this.
    alpha
        A row is a frequentist discovery when its Bonferroni-adjusted P is at most this.

    Returns
    -------
    pandas.DataFrame
        One row per posterior row of one model, with the twin that has its estimand and its tumours (`matched_twins`);
        other twins are second opinions without a verdict. ``difference`` is the posterior minus the twin on the scale
        of `comparable` (logs for ratios, Fisher z for correlations). Where no twin rests on the same number of tumours
        (``n``, ``n_twin``) the verdict is 'not compared'. Discoveries of either side are those of observed rows;
        ``discovery_bayes`` is never true without an s-value. ``fixed_p_bonferroni`` and
        ``discovery_fixed``: the same by the regression with cohort fixed, where the twin has one.

    Raises
    ------
    DataError
        The two sides saw different tumours, or nothing matches.
    """
    # A mean has no value of no association: nothing to judge.
    ours, every = (side.table[side.table["estimand"].map(kind_of) != "level"] for side in (posterior, twin))
    theirs = matched_twins(every, ours)
    models = set(ours["model"])
    if len(models) > 1:
        raise DataError(f"concordance takes one model at a time, got {', '.join(sorted(models))}.")
    prints = set(ours["fingerprint"]) | set(theirs["fingerprint"])
    if len(prints) > 1:
        raise DataError(
            f"posterior and twin saw different data ({len(prints)} fingerprints: "
            f"{name_some(sorted(f[:8] for f in prints))}). "
            "Fit both from one analysis set."
        )
    key = [k for k in KEY if k != "at"]
    merged = ours.merge(theirs, on=key, how="inner", suffixes=("_posterior", "_twin"), validate="one_to_one")
    if merged.empty and len(ours) and len(theirs):
        raise DataError(
            "no posterior row has a matched twin: check estimand, stratum and scope names on both sides."
        )
    fixed = every.loc[every["method"] == COHORT_FIXED, [*key, "p_adjusted"]]
    merged = merged.merge(
        fixed.rename(columns={"p_adjusted": "fixed_p_bonferroni"}), on=key, how="left", validate="one_to_one"
    )
    records: list[dict[Any, Any]] = merged.to_dict(orient="records")
    rows = [_row(record, false_discovery, alpha) for record in records]
    return pd.DataFrame(rows, columns=COLUMNS)


def matched_twins(twin: pd.DataFrame, posterior: pd.DataFrame | None = None) -> pd.DataFrame:
    """Choose the twin of each key that has the posterior's estimand, and its tumours.

    Pooled slopes are matched by the meta-analysis of cohort slopes. Pooled averages over tumours (`STANDARDISED`)
    are matched by the regression with cohort fixed, which averages over all tumours of the stratum as the posterior
    does; a weighted mean of cohort ratios is another quantity. Where a meta-analysis had to leave out cohorts
    (separated, or too few events) the regression with cohort fixed takes its place, if that rests on all of the
    posterior's tumours. Second opinions on one quantity (`SECOND_OPINIONS`) are left out.

    Parameters
    ----------
    twin
        Rows of the twin.
    posterior
        Rows of the posterior, for the tumours behind them; None where they do not matter.
    """
    twin = twin[~twin["method"].isin(SECOND_OPINIONS)]
    averaged = (twin["scope"] == "pooled") & twin["estimand"].isin(STANDARDISED)
    fixed = twin["method"] == COHORT_FIXED
    labels = [k for k in KEY if k != "at"]
    keys = pd.Series(list(twin[labels].itertuples(index=False, name=None)), index=twin.index, dtype=object)
    several = keys.isin(set(keys[averaged & fixed])) & averaged
    if posterior is not None and fixed.any():
        sizes = dict(zip(posterior[labels].itertuples(index=False, name=None), posterior["n"], strict=True))
        same = pd.Series(
            [
                pd.notna(n) and pd.notna(wanted) and n == wanted
                for n, wanted in zip(twin["n"], keys.map(sizes), strict=True)
            ],
            index=twin.index,
            dtype=bool,
        )
        complete = set(keys[fixed & same & (twin["status"] == "observed")])
        short = set(keys[~fixed & ~same & (twin["status"] == "observed")])
        several |= keys.isin(complete & short)
    return twin[(fixed & several) | (~fixed & ~several)]


SIDES = tuple(f"{side}_{end}" for side in ("posterior", "twin") for end in ("point", "lower", "upper"))
"""Columns of the two sides of a pair."""
COLUMNS = [
    "model",
    "outcome",
    "exposure",
    "estimand",
    "contrast",
    "adjustment",
    "stratum",
    "scope",
    "cohort",
    "unit",
    "n",
    "n_twin",
    "n_zero",
    *SIDES,
    "twin_method",
    "twin_status",
    "twin_p",
    "twin_p_bonferroni",
    "fixed_p_bonferroni",
    "pd",
    "lfsr",
    "s_value",
    "p_in_rope",
    "discovery_bayes",
    "discovery_bonferroni",
    "discovery_fixed",
    "difference",
    "verdict",
    "status",
    "note",
]


def _verdict(ours: Interval, theirs: Interval, *, estimand: str, numbers: bool, judged: bool) -> str:
    if not numbers:
        return "not estimable"
    return verdict(ours, theirs, estimand=estimand) if judged else "not compared"


def _row(record: dict[Any, Any], false_discovery: float, alpha: float) -> dict[str, object]:
    def number(name: str) -> float:
        value = record[name]
        return math.nan if value is None or value is pd.NA else float(value)

    estimand = str(record["estimand"])
    kind: Kind = kind_of(estimand)
    ours = Interval(*(number(f"{c}_posterior") for c in ("point", "lower", "upper")))
    theirs = Interval(*(number(f"{c}_twin") for c in ("point", "lower", "upper")))
    judged = record["status_posterior"] == "observed"
    n, n_twin = record["n_posterior"], record["n_twin"]
    same_tumours = pd.isna(n) or pd.isna(n_twin) or n == n_twin
    both = record["status_twin"] == "observed"
    both = both and not any(
        math.isnan(v) for v in (ours.point, ours.lower, ours.upper, theirs.point, theirs.lower, theirs.upper)
    )
    difference = math.nan
    if both:
        difference = comparable(kind, ours.point) - comparable(kind, theirs.point)
    s_value, adjusted = number("s_value_posterior"), number("p_adjusted_twin")
    notes = [str(record[f"note_{side}"]) for side in ("posterior", "twin")]
    if judged and both and not same_tumours:
        notes[1] = f"other tumours, {n_twin} of {n}{f' ({notes[1]})' if notes[1] else ''}"
    return {
        "model": record["model"],
        "outcome": record["outcome"],
        "exposure": record["exposure"],
        "estimand": estimand,
        "contrast": record["contrast"],
        "adjustment": record["adjustment"],
        "stratum": record["stratum"],
        "scope": record["scope"],
        "cohort": record["cohort"],
        "unit": record["unit_posterior"],
        "n": n,
        "n_twin": n_twin,
        "n_zero": record["n_zero_posterior"],
        "posterior_point": ours.point,
        "posterior_lower": ours.lower,
        "posterior_upper": ours.upper,
        "twin_point": theirs.point,
        "twin_lower": theirs.lower,
        "twin_upper": theirs.upper,
        "twin_method": record["method_twin"],
        "twin_status": record["status_twin"],
        "twin_p": number("p_value_twin"),
        "twin_p_bonferroni": adjusted,
        "fixed_p_bonferroni": number("fixed_p_bonferroni"),
        "pd": number("pd_posterior"),
        "lfsr": number("lfsr_posterior"),
        "s_value": s_value,
        "p_in_rope": number("p_in_rope_posterior"),
        "discovery_bayes": bool(
            judged and s_value <= false_discovery and number("lfsr_posterior") <= false_discovery
        ),
        "discovery_bonferroni": bool(judged and adjusted <= alpha),
        "discovery_fixed": bool(judged and number("fixed_p_bonferroni") <= alpha),
        "difference": difference,
        "verdict": _verdict(ours, theirs, estimand=estimand, numbers=both, judged=judged and same_tumours),
        "status": record["status_posterior"],
        "note": "; twin: ".join(n for n in notes if n)
        if notes[0]
        else (f"twin: {notes[1]}" if notes[1] else ""),
    }


def parts_that_disagree(posterior: Estimates) -> pd.DataFrame:
    """Pooled rows in which presence and amount point in opposite directions, both excluding 1.

    Returns
    -------
    pandas.DataFrame
        ``outcome``, ``stratum``, and the points of ``presence``, ``amount``, ``overall``.
    """
    table = posterior.select(scope="pooled")
    table = table[table["status"] == "observed"]
    points = table.pivot(index=["outcome", "stratum"], columns="estimand", values="point")
    sure = table.assign(sure=(table["lower"] > 1) | (table["upper"] < 1))
    excludes = sure.pivot(index=["outcome", "stratum"], columns="estimand", values="sure")
    columns = ["presence", "amount", "overall"]
    points, excludes = points.reindex(columns=columns), excludes.reindex(columns=columns)
    opposite = np.log(points["presence"]) * np.log(points["amount"]) < 0
    both = excludes["presence"].fillna(False).astype(bool) & excludes["amount"].fillna(False).astype(bool)
    found: pd.DataFrame = points[opposite & both].reset_index()
    return found[["outcome", "stratum", *columns]]


def recovery(posterior: Estimates, truth: pd.DataFrame) -> pd.DataFrame:
    """Truth of a simulated study beside the posterior.

    Parameters
    ----------
    posterior
        Estimates of the fit.
    truth
        ``outcome``, ``estimand``, ``stratum``, ``scope``, ``cohort``, ``truth``.

    Returns
    -------
    pandas.DataFrame
        Observed rows only: ``outcome``, ``estimand``, ``stratum``, ``scope``, ``cohort``, ``truth``, ``point``,
        ``lower``, ``upper``, ``covered``.
    """
    key = ["outcome", "estimand", "stratum", "scope", "cohort"]
    planted = truth.assign(cohort=truth["cohort"].fillna("").astype("str"))[[*key, "truth"]]
    table = posterior.table[posterior.table["status"] == "observed"]
    merged = table.merge(planted, on=key, how="inner", validate="one_to_one")
    if merged.empty:
        raise DataError(
            "no posterior row is named in the truth table: check its columns outcome, estimand, stratum, scope, cohort."
        )
    covered = (merged["lower"] <= merged["truth"]) & (merged["truth"] <= merged["upper"])
    return merged.assign(covered=covered)[[*key, "truth", "point", "lower", "upper", "covered"]]
