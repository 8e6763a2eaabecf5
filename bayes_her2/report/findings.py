"""Results in words, for a manuscript: a paragraph for each main estimand, from the estimates and their standing."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass

from bayes_her2.data import DIFFERENCE
from bayes_her2.estimates import Kind, kind_of, null_value
from bayes_her2.report import formats
from bayes_her2.report.load import Estimate, Results
from bayes_her2.report.manuscript import Paragraph

NAMED = 6
"""Rows of a sentence that are named with their numbers, the surest first; the others are counted."""

PRACTICAL = 0.95
"""Posterior probability from which a ratio or a difference is said to be in the region of practical equivalence."""


@dataclass(frozen=True)
class Asked:
    """One main estimand, and the words for it.

    Attributes
    ----------
    model, estimand
        As in the estimates.
    heading
        Of its paragraph.
    quantity
        What is estimated, with the change in HER2 that it is for.
    each
        What has a row: one and many.
    contrast
        Contrast that is told, where the estimates have several; every one if empty.
    """

    model: str
    estimand: str
    heading: str
    quantity: str
    each: tuple[str, str] = ("cell type", "cell types")
    contrast: str = ""


ASKED = (
    Asked(
        "abundance",
        "overall",
        "Mean abundance",
        "the ratio of mean abundance, zeros included, per SD of HER2",
    ),
    Asked("abundance", "presence", "Presence", "the odds ratio of presence per SD of HER2"),
    Asked(
        "abundance",
        "amount",
        "Amount where present",
        "the ratio of mean abundance where present per SD of HER2",
    ),
    Asked(
        "high_abundance",
        "high_abundance",
        "High abundance",
        "the marginal odds ratio of high abundance per SD of HER2",
    ),
    Asked(
        "rank_correlation", "spearman", "Rank correlation", "the rank correlation with HER2 (Spearman's rho)"
    ),
    Asked(
        "marginal_effect",
        "marginal_slope",
        "Marginal effect",
        "the difference in mean abundance ({unit} of HER2)",
        contrast="h + 1 SD over h, observed weights",
    ),
    Asked(
        "clinical",
        "clinical_odds",
        "Clinical variables",
        "the odds ratio of a clinical outcome, high against low abundance of a cell type",
        ("pair of outcome and cell type", "pairs of outcome and cell type"),
    ),
    Asked("evidence_synthesis", "published_ratio", "Published results", "{contrast}"),
    Asked(
        "treatment_response", "response_odds", "Response to treatment", "odds ratio of response, {contrast}"
    ),
    Asked(
        "treatment_response",
        "ratio_of_odds_ratios",
        "Response to treatment: what a treatment adds",
        "ratio of odds ratios, {contrast}",
    ),
)
"""Estimands with a paragraph, in the order of the report."""

ONE_BY_ONE = ("evidence_synthesis", "treatment_response")
"""Models whose rows are different questions: each is told, none is counted."""

MANY_EXPOSURES = ("rank_correlation",)
"""Models with measures beside the study's HER2 measure: its rows alone are told."""

_SIDES: dict[Kind, tuple[str, str]] = {
    "ratio": ("Lower", "Higher"),
    "difference": ("Lower", "Higher"),
    "correlation": ("Negative", "Positive"),
}


def findings(results: Results) -> tuple[Paragraph, ...]:
    """Put the paragraphs together: one for each of `ASKED` that the run answers.

    Parameters
    ----------
    results
        A results folder.

    Returns
    -------
    tuple
        In the order of `ASKED`. A paragraph tells pooled rows (of the one cohort where there is one) of the study's
        HER2 measure: it names those whose sign is called, or whose interval excludes the null where no signs are
        called; says in how many cohorts and by how many twins they are seen; and how far the intervals of the others
        reach.
    """
    made = []
    for asked in ASKED:
        if asked.model not in results.complete:
            continue
        rows = _rows(results, asked, "pooled")
        text = (
            _one_by_one(results, asked, rows) if asked.model in ONE_BY_ONE else _family(results, asked, rows)
        )
        if text:
            made.append(Paragraph(asked.heading, text))
    return tuple(made)


# --- many cell types, one question ----------------------------------------------------------------


def _rows(results: Results, asked: Asked, scope: str) -> list[Estimate]:
    return [
        e
        for e in results.of_model(asked.model, scope=scope, estimand=asked.estimand)
        if e.at is None
        and asked.contrast in ("", e.contrast)
        and (asked.model not in MANY_EXPOSURES or e.exposure == results.study.measure)
    ]


def _family(results: Results, asked: Asked, rows: Sequence[Estimate]) -> str:
    """Tell what the posterior is sure of, stratum by stratum."""
    known = [e for e in rows if e.status == "observed" and e.has_interval]
    if not known:
        return ""
    by_sign = any(e.s_value is not None for e in known)
    sure = frozenset(e for e in known if (_called(results, e) if by_sign else formats.excludes_null(e)))
    adjustment = known[0].adjustment
    adjusted = "" if adjustment in ("none", "") else f", adjusted for {adjustment}"
    quantity = formats.sentence(asked.quantity.format(unit=known[0].unit))[:-1]
    told = [
        f"{quantity}{adjusted}: posterior medians with {formats.intervals_of(known)}.",
    ]
    told += [
        _stratum(results, asked, stratum, [e for e in known if e.stratum == stratum], sure, by_sign=by_sign)
        for stratum in dict.fromkeys(e.stratum for e in known)
    ]
    told.append(_practical(results, asked, [e for e in known if e not in sure]))
    return "\n\n".join(filter(None, told))


def _stratum(
    results: Results,
    asked: Asked,
    stratum: str,
    known: Sequence[Estimate],
    sure: Set[Estimate],
    *,
    by_sign: bool,
) -> str:
    """Tell the rows of one stratum."""
    mine = sorted(
        (e for e in known if e in sure),
        key=lambda e: (1.0 - (e.pd if e.pd is not None else 0.5), -abs(_size(e))),
    )
    rest = [e for e in known if e not in sure]
    n, null = formats.plural(len(known), *asked.each), f"{null_value(asked.estimand):g}"
    if not mine:
        what = f"no sign was called among {n}" if by_sign else f"no interval of {n} excluded {null}"
        return f"{_where(stratum, known)}, {what}. {_uncertain(asked, rest)}"
    what = "a sign was called for" if by_sign else f"the interval excluded {null} for"
    wide = sum(not formats.excludes_null(e) for e in mine)
    but = f", {formats.count(wide)} of them with an interval that includes {null}" if wide else ""
    sides = [
        f"{word}: {_named(asked, named)}."
        for word, sign in zip(_SIDES[kind_of(asked.estimand)], (-1, 1), strict=True)
        if (named := [e for e in mine if sign * _size(e) > 0])
    ]
    of = f"{'each' if len(mine) == len(known) else formats.count(len(mine))} of {n}"
    said = f"{_where(stratum, known)}, {what} {of}{but}."
    return " ".join(filter(None, [said, *sides, _standing(results, asked, mine), _uncertain(asked, rest)]))


def _where(stratum: str, rows: Sequence[Estimate]) -> str:
    n = max((e.n for e in rows if e.n is not None), default=None)
    sized = "" if n is None else f" (n = {formats.count(n)})"
    if stratum == "all":
        return f"In all tumours{sized}"
    if stratum == DIFFERENCE or " minus " in stratum:
        return f"Between the strata ({stratum})"
    return f"In {stratum} tumours{sized}"


def _called(results: Results, e: Estimate) -> bool:
    return e.s_value is not None and e.s_value <= results.study.false_discovery


def _size(e: Estimate) -> float:
    """Which side of no association the posterior median lies on."""
    return (e.point if e.point is not None else math.nan) - null_value(e.estimand)


def _named(asked: Asked, rows: Sequence[Estimate]) -> str:
    """Name rows with estimate and interval, the surest first."""
    named = [
        f"{e.outcome}{f' with {e.exposure}' if asked.model == 'clinical' else ''} "
        f"{formats.interval(e.point, e.lower, e.upper, e.estimand)}"
        for e in rows[:NAMED]
    ]
    more = len(rows) - NAMED
    return formats.listed([*named, f"{formats.count(more)} more"] if more > 0 else named)


def _standing(results: Results, asked: Asked, sure: Sequence[Estimate]) -> str:
    """Say in how many single cohorts the direction of sure rows is seen, and by how many twins they are confirmed."""
    said = []
    places: dict[tuple[str, str, str], list[Estimate]] = {}
    for e in _rows(results, asked, "cohort") if len(results.cohorts) > 1 else []:
        if e.status == "observed" and e.point is not None:
            places.setdefault((e.outcome, e.exposure, e.stratum), []).append(e)
    found = [(e, places.get((e.outcome, e.exposure, e.stratum), [])) for e in sure]
    several = [(e, own) for e, own in found if len(own) > 1]
    if several:
        same = sum(all(_size(c) * _size(e) > 0 for c in own) for e, own in several)
        of = (
            "these"
            if len(several) == len(sure)
            else f"the {formats.count(len(several))} that several cohorts inform"
        )
        said.append(
            f"The medians of all cohorts lay on the same side for {_part(same, len(several))} of {of}"
        )
    beside = {
        (r["outcome"], r["exposure"], r["contrast"], r["stratum"]): r
        for r in results.rows("concordance", asked.model)
        if r["scope"] == "pooled" and r["estimand"] == asked.estimand and r["twin_p_bonferroni"] is not None
    }
    twins = [beside[key] for e in sure if (key := (e.outcome, e.exposure, e.contrast, e.stratum)) in beside]
    if twins:
        methods = dict.fromkeys(str(r["twin_method"]) for r in twins)
        confirmed = sum(bool(r["discovery_bonferroni"]) for r in twins)
        of = "these" if len(twins) == len(sure) else formats.count(len(twins))
        said.append(
            f"the Bonferroni-corrected P value of the frequentist twin ({'; '.join(methods)}) was at most "
            f"{results.study.alpha:g} for {_part(confirmed, len(twins))} of {of}"
        )
    return formats.sentence("; ".join(said)) if said else ""


def _part(n: int, of: int) -> str:
    return "none" if n == 0 else "each" if n == of else formats.count(n)


def _uncertain(asked: Asked, rest: Sequence[Estimate]) -> str:
    """Say how far the intervals of the other rows reach."""
    if not rest:
        return ""
    lower = min(e.lower for e in rest if e.lower is not None)
    upper = max(e.upper for e in rest if e.upper is not None)
    ends = [formats.value_of(asked.estimand, end) for end in (lower, upper)]
    if len(rest) == 1:
        return f"The interval of the other one reaches from {ends[0]} to {ends[1]}."
    return f"The intervals of the other {formats.count(len(rest))} lie between {ends[0]} and {ends[1]}."


def _practical(results: Results, asked: Asked, rest: Sequence[Estimate]) -> str:
    """Say how many of what was not sure amounts to none in practice: the others are open, not absent."""
    if not rest or all(e.p_in_rope is None for e in rest):
        return ""
    practical = sum(e.p_in_rope is not None and e.p_in_rope >= PRACTICAL for e in rest)
    low, high = results.study.rope
    within = f" (between {low:g} and {high:g})" if kind_of(asked.estimand) == "ratio" else ""
    many = (
        "nothing has" if not practical else "1 has" if practical == 1 else f"{formats.count(practical)} have"
    )
    return (
        f"Of the others, in all strata, {many} a posterior probability of at least {PRACTICAL:g} of being practically "
        f"equivalent to no association{within}; what is left is open, not absent."
    )


# --- a few questions, each of its own -------------------------------------------------------------


def _one_by_one(results: Results, asked: Asked, rows: Sequence[Estimate]) -> str:
    """Tell each row that data inform, and count those whose spread is the prior's."""
    told, prior = [], 0
    for e in rows:
        if not e.has_interval:
            continue
        if e.status == "prior-only":
            prior += 1
            continue
        side = "below" if _size(e) < 0 else "above"
        sure = f"; probability of lying {side} {null_value(e.estimand):g}: {formats.probability(e.pd)}"
        group = "" if e.stratum in ("", "all") else f", {e.stratum}"
        adjusted = "" if e.adjustment in ("none", "") else f" ({e.adjustment})"
        standing = "" if e.status == "observed" else f" ({e.status}: {e.note})"
        told.append(
            f"{formats.sentence(e.outcome)[:-1]}{group}{adjusted}: {asked.quantity.format(contrast=e.contrast)}, "
            f"{formats.interval(e.point, e.lower, e.upper, e.estimand)}{sure if e.pd is not None else ''}{standing}."
        )
    if told:
        told.insert(0, f"Posterior medians with {formats.intervals_of([e for e in rows if e.has_interval])}.")
    if prior:
        told.append(
            f"{formats.plural(prior, 'further question')} {'has' if prior == 1 else 'have'} too few studies to be "
            "pooled: what the report prints of them rests on the prior between studies."
        )
    return " ".join(told)
