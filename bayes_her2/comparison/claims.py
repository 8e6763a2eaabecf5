"""What the seed study claims, and what the tumours of this study say to each claim.

The claims are Pizzamiglio et al. 2025, npj Breast Cancer, doi 10.1038/s41523-025-00867-z: other tumours and, unless the
study brings the 20-gene signature (`has_seed_measure`), another HER2 measure. So this is *replication with another
measure*, a table of its own and not concordance: concordance is about the twin, in the same tumours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Literal

import pandas as pd

from bayes_her2.comparison.concordance import THIRD, Interval, matched_twins
from bayes_her2.data import DIFFERENCE, DIFFERENCE_MINUS, HR_COMPARED, HR_NEGATIVE, HR_POSITIVE, HR_STATUS
from bayes_her2.estimates import ALL, KEY, Estimates, comparable, kind_of, null_value

LAYERS = {
    "holds": "the posterior interval excludes the null in the claimed direction",
    "weakened": "claimed direction with a posterior probability of at least 0.9, but the interval includes the null; "
    "or it excludes the null with less than a third of the published size",
    "not seen": "neither of these: the claimed direction has a posterior probability below 0.9",
    "reversed": "the posterior interval excludes the null in the other direction (one of them, where a claim is about "
    "several rows)",
    "not testable here": "these tumours, or the models that were fitted, give no such estimate",
}
PROBABLE = 0.9
"""Posterior probability of the claimed direction from which a claim is weakened and not unseen."""

Rule = Literal["row", "every cohort", "weaker in HR-", "opposite"]
RULES: dict[Rule, str] = {
    "row": "the claim's own row: pooled where the tumours inform it, else each cohort's",
    "every cohort": "the row of every cohort; the least favourable one is shown and gives the layer",
    "weaker in HR-": "|correlation in HR+| minus |correlation in HR-| (`strength_between_strata`)",
    "opposite": "the rows of both strata, each on its claimed side of the null; P(direction) is the least probability "
    "that both are, given those of each",
}
"""What a claim is judged by."""

HER2 = "HER2 measure"
INFILTRATE = "total TILs"
_PUBLISHED_LEVEL = 0.95
STRATA_COLUMNS = {HR_POSITIVE: "hr_positive", HR_NEGATIVE: "hr_negative"}
"""Stratum -> start of the names of its columns."""

_LIMITS = ("point", "lower", "upper")


@dataclass(frozen=True)
class Claim:
    """One statement of the seed study that an estimate can support or not.

    Attributes
    ----------
    name, words
        Short label, and the claim in our words.
    where
        Place in the paper.
    estimates
        (model, estimand) that answers it, in the order of preference.
    outcome, exposure
        Cell type (or total TILs), and the study's HER2 measure, a gene by name, two of them ('HER2 measure
        against ESR1'), or HR status.
    stratum
        As in `Estimates`.
    direction
        +1 above the null, -1 below it.
    value, lower, upper
        As printed (95 % interval), NaN where nothing is.
    is_range
        The limits are a range over cohorts and cell types, not an interval.
    note
        What the paper leaves open or contradicts.
    rule
        What it is judged by (`RULES`).
    strata_values
        Printed sizes in HR+ and HR- tumours, for claims about both.
    beside
        Outcomes that the paper's words may mean as well: their estimates are told in the remark and not counted.
    """

    name: str
    words: str
    where: str
    estimates: tuple[tuple[str, str], ...]
    outcome: str
    stratum: str
    direction: int
    exposure: str = HER2
    value: float = math.nan
    lower: float = math.nan
    upper: float = math.nan
    is_range: bool = False
    note: str = ""
    rule: Rule = "row"
    strata_values: tuple[float, float] = (math.nan, math.nan)
    beside: tuple[str, ...] = ()


_RHO = (("rank_correlation", "spearman"),)
_ODDS = (("high_abundance", "high_abundance_conditional"), ("abundance", "high_abundance"))
_FIG_1A = "Results (HER2 and immune cell abundance), Fig. 1a, Suppl. Table 1"
_FIG_1B = "Results (HER2 and immune cell abundance), Fig. 1b, external cohort"
_FIG_2A = "Results (within HR subgroups), Fig. 2a, Suppl. Table 2"
_FIG_2B = "Results (multivariable analysis), Fig. 2b"
_FIG_3 = "Results (multivariable analysis), Fig. 3"
_SUPPL_1 = "Results (immune cell distribution), Suppl. Fig. 1"
_REVERSED = "the Discussion says the reverse; the printed P for interaction fits the Results"
_RANGE = "a range over cohorts and cell types, not an interval; its weaker end is taken as the size"
_LOWER = (
    'the caption of Fig. 2b says odds ratios "for lower abundance", the Methods model high abundance; the text reads '
    "an odds ratio under 1 as depletion, as here"
)
_PRIOR = (
    "the default prior of the interaction (SD 0.71 on the log ratio) would not let the published estimate itself "
    "exclude 1: its critical prior SD is 0.775, and under that prior it becomes 2.65 (0.93 to 10.8)"
)


def _rho(outcome: str, stratum: str, value: float, lower: float, upper: float, note: str = "") -> Claim:
    return Claim(
        f"{outcome}, {stratum}, rank correlation",
        f"{outcome} fall as HER2 rises in {stratum} tumours",
        _FIG_2A,
        _RHO,
        outcome,
        stratum,
        -1,
        value=value,
        lower=lower,
        upper=upper,
        note=note,
    )


def _odds(
    outcome: str,
    stratum: str,
    value: float,
    lower: float,
    upper: float,
    note: str = "",
    *,
    called: str = "",
    beside: tuple[str, ...] = (),
) -> Claim:
    direction = 1 if value > 1 else -1
    word = "rise" if direction > 0 else "fall"
    name = called or outcome
    return Claim(
        f"{name}, {stratum}, odds of high abundance",
        f"the odds of high abundance of {name} {word} per SD of HER2 in {stratum} tumours",
        _FIG_2B,
        _ODDS,
        outcome,
        stratum,
        direction,
        value=value,
        lower=lower,
        upper=upper,
        note="; ".join(filter(None, [note, _LOWER])),
        beside=beside,
    )


def _by_stratum(
    outcome: str, negative: float, positive: float, printed_p: float, note: str = ""
) -> tuple[Claim, Claim]:
    """Two claims: that the odds ratios of the strata differ, and that they lie on opposite sides of 1."""
    higher = negative > positive
    rising, falling = ("HR-", "HR+") if higher else ("HR+", "HR-")
    direction = 1 if higher else -1
    return (
        Claim(
            f"{outcome}, interaction with HR status",
            f"the odds ratio of high abundance of {outcome} per SD of HER2 is {'higher' if higher else 'lower'} in HR- "
            "than in HR+ tumours",
            _FIG_2B,
            _ODDS,
            outcome,
            DIFFERENCE,
            direction,
            value=negative / positive,
            note="; ".join(
                filter(
                    None,
                    [
                        f"ratio of the printed odds ratios {negative:.2f} and {positive:.2f}; printed P for "
                        f"interaction {printed_p}",
                        note,
                        _REVERSED,
                        _LOWER,
                    ],
                )
            ),
        ),
        Claim(
            f"{outcome}, opposite directions by HR",
            f"the odds of high abundance of {outcome} rise with HER2 in {rising} and fall in {falling} tumours",
            _FIG_2B,
            _ODDS,
            outcome,
            DIFFERENCE,
            direction,
            note=f"printed odds ratios {positive:.2f} in HR+ and {negative:.2f} in HR-; {_REVERSED}; {_LOWER}",
            rule="opposite",
            strata_values=(positive, negative),
        ),
    )


_CD4 = (
    "the Results do not say which CD4 memory type; the Methods name activated alone, which is judged, and list six of "
    "seven T cell types"
)
_BY_HR = tuple(
    Claim(
        f"{outcome}, HR- against HR+",
        f"{outcome} are more abundant in HR- than in HR+ tumours",
        _SUPPL_1,
        (("abundance", "probability_greater"),),
        outcome,
        HR_COMPARED,
        1,
        exposure=HR_STATUS,
        note="no size printed; adjusted P < 0.05",
    )
    for outcome in ("Macrophages M0", "Macrophages M1", "T cells CD8")
)
_LESS_IN_HR_NEGATIVE = tuple(
    Claim(
        f"{outcome}, HR- less than HR+",
        f"the correlation of HER2 with {outcome} is weaker in HR- than in HR+ tumours",
        _FIG_2A,
        (("rank_correlation", "spearman_difference"),),
        outcome,
        DIFFERENCE_MINUS,
        1,
        note='said in words only ("less pronounced")',
        rule="weaker in HR-",
    )
    for outcome in ("T cells CD8", "NK cells activated")
)
_ANCOVA = tuple(
    Claim(
        f"{outcome}, marginal effect",
        f"mean {outcome} fall with HER2 after adjustment for HR status and IHC level",
        _FIG_3,
        (("marginal_effect", "marginal_slope"),),
        outcome,
        ALL,
        -1,
        note="no number printed",
    )
    for outcome in ("B cells naive", "Plasma cells")
)

CLAIMS: tuple[Claim, ...] = (
    *(
        Claim(
            f"{outcome}, rank correlation",
            f"{outcome} fall as HER2 rises, in every cohort",
            _FIG_1A,
            _RHO,
            outcome,
            ALL,
            -1,
            value=-0.3,
            lower=-0.6,
            upper=-0.3,
            is_range=True,
            note=_RANGE,
            rule="every cohort",
        )
        for outcome in ("T cells CD8", "Macrophages M1")
    ),
    *(
        Claim(
            f"total TILs and {exposure}",
            f"total TILs fall as {exposure} rises",
            _FIG_1B,
            _RHO,
            INFILTRATE,
            ALL,
            -1,
            exposure=exposure,
            value=value,
            lower=lower,
            upper=upper,
        )
        for exposure, value, lower, upper in (
            (HER2, -0.44, -0.53, -0.34),
            ("ESR1", -0.34, -0.44, -0.23),
            ("ERBB2", -0.28, -0.38, -0.17),
        )
    ),
    *(
        Claim(
            f"total TILs, HER2 against {other}",
            f"total TILs go with the HER2 measure more strongly than with {other}",
            _FIG_1B,
            (("rank_correlation", "strength_difference"),),
            INFILTRATE,
            ALL,
            1,
            exposure=f"{HER2} against {other}",
            value=value,
            note="difference of the two printed correlations; no test of it is printed",
        )
        for other, value in (("ESR1", 0.10), ("ERBB2", 0.16))
    ),
    _rho("Plasma cells", HR_POSITIVE, -0.27, -0.38, -0.15),
    _rho("T cells CD8", HR_POSITIVE, -0.25, -0.37, -0.12),
    _rho("B cells naive", HR_POSITIVE, -0.15, -0.28, -0.03),
    _rho("NK cells activated", HR_POSITIVE, -0.19, -0.31, math.nan, 'upper limit printed "-0", cut off'),
    _rho("Macrophages M0", HR_POSITIVE, -0.11, -0.23, -0.001),
    _rho("Macrophages M1", HR_POSITIVE, -0.19, -0.30, -0.06),
    _rho("Macrophages M1", HR_NEGATIVE, -0.39, -0.59, -0.15),
    *_LESS_IN_HR_NEGATIVE,
    _odds("Plasma cells", HR_POSITIVE, 0.41, 0.27, 0.61),
    _odds("T cells CD8", HR_POSITIVE, 0.61, 0.42, 0.89),
    _odds(
        "T cells CD4 memory activated",
        HR_POSITIVE,
        0.64,
        0.44,
        0.94,
        _CD4,
        called="T cells CD4 memory",
        beside=("T cells CD4 memory resting",),
    ),
    _odds("NK cells activated", HR_POSITIVE, 0.64, 0.43, 0.93),
    _odds("T cells gamma delta", HR_POSITIVE, 0.65, 0.42, 1.00, "the printed interval reaches 1.00"),
    _odds("Mast cells resting", HR_POSITIVE, 0.56, 0.38, 0.83, _REVERSED),
    _odds("Neutrophils", HR_POSITIVE, 1.60, 1.07, 2.39, _REVERSED),
    _odds("T cells follicular helper", HR_NEGATIVE, 0.25, 0.07, 0.83),
    _odds("Macrophages M1", HR_NEGATIVE, 0.28, 0.09, 0.92),
    _odds("Mast cells resting", HR_NEGATIVE, 5.29, 1.16, 24.0, _REVERSED),
    _odds("Neutrophils", HR_NEGATIVE, 0.16, 0.04, 0.61, _REVERSED),
    *_by_stratum("Mast cells resting", 5.29, 0.56, 0.005, _PRIOR),
    *_by_stratum("Neutrophils", 0.16, 1.60, 0.001),
    *_ANCOVA,
    *_BY_HR,
)
"""Claims about HER2 and the infiltrate. (Response to treatment needs other data and has no place here.)"""

COLUMNS = (
    "claim",
    "words",
    "where",
    "published_value",
    "published_lower",
    "published_upper",
    "published_is_range",
    "published_note",
    "measure",
    "seed_measure",
    "rule",
    "model",
    "estimand",
    "exposure",
    "outcome",
    "stratum",
    "scope",
    "cohort",
    "unit",
    "n",
    "point",
    "lower",
    "upper",
    "p_direction",
    "p_in_rope",
    "same_direction",
    "excludes_null",
    "twin_method",
    "twin_point",
    "twin_lower",
    "twin_upper",
    "twin_p",
    "twin_p_adjusted",
    "twin_same_direction",
    "twin_excludes_null",
    *(f"{stratum}_{limit}" for stratum in STRATA_COLUMNS.values() for limit in _LIMITS),
    "compatible",
    "layer",
    "why",
)


def claims(
    estimates: Estimates, *, measure: str, infiltrate: str = "", left_out: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Set each claim of the seed study beside the estimates of this study, and say in which layer it is.

    A claim is judged by the pooled posterior row where these tumours inform it (status observed), else by the
    observed row of each cohort; claims about every cohort and about both strata by the rows that they are about
    (`RULES`). `LAYERS` says what the layers mean.

    Parameters
    ----------
    estimates
        Posterior and twin rows of all models.
    measure
        Label of the study's HER2 measure.
    infiltrate
        Label of its total infiltrate ('' where it names none).
    left_out
        Model -> why these cohorts cannot support it.

    Returns
    -------
    pandas.DataFrame
        One row per claim, or one per cohort where only cohorts speak to it. ``compatible`` is 'yes' or 'no' where an
        interval is printed: whether the two estimates differ by no more than the sampling error of both at 95 %
        (for a printed range: whether the intervals meet). ``hr_positive_point`` and its like: the posterior in either
        stratum, for claims about both.
    """
    table = estimates.table
    posterior, twin = table[table["source"] == "posterior"], table[table["source"] == "twin"]
    labels = {HER2: measure, INFILTRATE: infiltrate}
    rows = [row for claim in CLAIMS for row in _rows(claim, posterior, twin, labels, dict(left_out or {}))]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def has_seed_measure(label: str) -> bool:
    """Whether a study's label names the seed study's own measure, the 20-gene signature (and not one like it)."""
    return bool(re.search(r"\b20[- ]gene\b", label)) and not re.search(r"\blike\b|\bsimulated\b", label)


def strength_between_strata(
    signed: Interval, positive: Interval, negative: Interval, *, interval: float, p_above: float = math.nan
) -> tuple[Interval, float]:
    """Size of the correlation in HR+ minus its size in HR-, from intervals of both and of their signed difference.

    |a| - |b| is positive where both a - b and a + b have the sign of a. The interval of the sum comes from those at
    hand: Var(a + b) = 2 Var(a) + 2 Var(b) - Var(a - b), each variance from the width of its interval. The limits are
    the less favourable ones of sum and difference: each is passed with at most twice its nominal probability.

    Parameters
    ----------
    signed
        Correlation in HR- minus that in HR+.
    positive, negative
        Correlation in HR+ and in HR- tumours.
    interval
        Probability of the three intervals.
    p_above
        Posterior probability that `signed` is above 0.

    Returns
    -------
    Interval
        Of the difference in size.
    float
        The least probability that it is positive, given those of sum and difference.
    """
    reach = 2.0 * NormalDist().inv_cdf(0.5 + interval / 2.0)
    of_difference, first, second = ((one.upper - one.lower) / reach for one in (signed, positive, negative))
    variance = 2.0 * first**2 + 2.0 * second**2 - of_difference**2
    se = math.sqrt(max(variance, (first - second) ** 2))
    middle = positive.point + negative.point
    total = Interval(middle, middle - reach / 2.0 * se, middle + reach / 2.0 * se)
    # Of the larger correlation less the other one, with either sign: HR+ first, then HR-.
    if positive.point < 0:
        ahead, p_ahead = (signed, _turned(total)), p_above
    else:
        ahead, p_ahead = (_turned(signed), total), 1.0 - p_above
    behind = (_turned(total), _turned(signed)) if negative.point < 0 else (signed, total)
    lower, upper = min(one.lower for one in ahead), -min(one.lower for one in behind)
    p_sum = NormalDist().cdf(ahead[1].point / se) if se > 0 else math.nan
    found = Interval(abs(positive.point) - abs(negative.point), lower, upper)
    return found, max(0.0, p_ahead + p_sum - 1.0)


def _turned(one: Interval) -> Interval:
    return Interval(-one.point, -one.upper, -one.lower)


def layer_of(
    ours: Interval, *, estimand: str, direction: int, p_direction: float, published: float = math.nan
) -> str:
    """Layer of a claim to which the tumours speak: one of `LAYERS`, never 'not testable here'.

    Parameters
    ----------
    ours
        Posterior point and interval.
    estimand
        Its kind gives the null and the scale on which sizes are compared.
    direction
        +1 or -1, as claimed.
    p_direction
        Posterior probability of the claimed direction.
    published
        Published size, NaN where none is printed.
    """
    null = null_value(estimand)
    if ours.excludes(null):
        if (ours.point > null) != (direction > 0):
            return "reversed"
        if math.isnan(published):
            return "holds"
        kind = kind_of(estimand)
        small = abs(comparable(kind, ours.point)) < THIRD * abs(comparable(kind, published))
        return "weakened" if small else "holds"
    return "weakened" if p_direction >= PROBABLE else "not seen"


def _rows(
    claim: Claim,
    posterior: pd.DataFrame,
    twin: pd.DataFrame,
    labels: Mapping[str, str],
    left_out: Mapping[str, str],
) -> Iterator[dict[str, Any]]:
    base = {
        "claim": claim.name,
        "words": claim.words,
        "where": claim.where,
        "published_value": claim.value,
        "published_lower": claim.lower,
        "published_upper": claim.upper,
        "published_is_range": claim.is_range,
        "published_note": claim.note,
        "measure": labels[HER2],
        "seed_measure": has_seed_measure(labels[HER2]),
        "rule": claim.rule,
        "model": claim.estimates[0][0],
        "estimand": claim.estimates[0][1],
        "exposure": claim.exposure,
        "outcome": claim.outcome,
        "stratum": claim.stratum,
        "why": "",
    }
    why = _impossible(claim, labels)
    reasons: list[str] = []
    for model, estimand in () if why else claim.estimates:
        found = _select(claim, posterior, model, estimand, labels)
        if claim.rule == "weaker in HR-":
            found = _strengths(found, _in_strata(claim, posterior, model, "spearman", labels))
        elif claim.rule == "opposite":
            found = _both_strata(claim, _in_strata(claim, posterior, model, estimand, labels))
        judged = found[found["status"] == "observed"]
        if claim.rule != "opposite":
            judged = judged.dropna(subset=list(_LIMITS))
        if judged.empty:
            reasons.append(_why_not(claim, posterior, found, model, left_out))
            continue
        strata = _in_strata(claim, posterior, model, _IN_STRATA.get(estimand, estimand), labels)
        twins = _twin_answers(claim, twin, model, estimand, labels, found)
        rows = [
            base | _judged(claim, record, twins) | _strata_of(claim, record, strata)
            for record in _chosen(claim, judged)
        ]
        beside = _beside(claim, posterior, model, estimand, labels)
        for row in [_least_favourable(claim, rows)] if claim.rule == "every cohort" else rows:
            yield row | {"why": "; ".join(filter(None, [str(row["why"]), beside]))}
        return
    layer = "not testable here"
    yield base | {"layer": layer, "why": why or "; ".join(dict.fromkeys(filter(None, reasons)))}


_IN_STRATA = {"spearman_difference": "spearman"}
"""Estimand that compares the strata -> the one that each of them has."""


def _chosen(claim: Claim, judged: pd.DataFrame) -> list[dict[Any, Any]]:
    """Rows that a claim is judged by: pooled if there is one, else by cohort; or every cohort's."""
    pooled, own = (judged[judged["scope"] == scope] for scope in ("pooled", "cohort"))
    by_cohort = len(own) and (claim.rule == "every cohort" or not len(pooled))
    records: list[dict[Any, Any]] = (own if by_cohort else pooled).to_dict("records")
    return records


def _least_favourable(claim: Claim, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Pick the row that says least for a claim about every cohort, and say what the others do."""
    order = list(LAYERS)
    worst = max(
        rows,
        key=lambda row: (order.index(row["layer"]), -row["p_direction"], -claim.direction * row["point"]),
    )
    if not worst["cohort"]:
        return worst | {"why": "one cohort: there is no other to see it in"}
    told = ", ".join(f"{row['cohort']} {row['layer']}" for row in rows)
    n = f"of {len(rows)} cohorts" if len(rows) > 1 else "one cohort: there is no other to see it in"
    return worst | {"why": f"the least favourable {n} ({told})" if len(rows) > 1 else n}


def _in_strata(
    claim: Claim, table: pd.DataFrame, model: str, estimand: str, labels: Mapping[str, str]
) -> pd.DataFrame:
    """Rows of either stratum on the quantity that a claim compares between them; none for other claims."""
    if claim.stratum not in (DIFFERENCE, DIFFERENCE_MINUS):
        return table.head(0)
    frames = [_select(replace(claim, stratum=s), table, model, estimand, labels) for s in STRATA_COLUMNS]
    return pd.concat(frames)


def _place(row: Mapping[Any, Any]) -> tuple[str, ...]:
    """Scope and cohort: what rows of the strata and their comparison have in common."""
    return str(row["scope"]), str(row["cohort"]), str(row["fingerprint"])


def _by_place(strata: pd.DataFrame) -> dict[tuple[str, ...], dict[str, dict[Any, Any]]]:
    found: dict[tuple[str, ...], dict[str, dict[Any, Any]]] = {}
    for record in strata.to_dict("records"):
        found.setdefault(_place(record), {})[str(record["stratum"])] = record
    return found


def _interval_of(row: Mapping[Any, Any]) -> Interval:
    return Interval(*(float(row[limit]) for limit in _LIMITS))


def _status_of(rows: Sequence[Mapping[Any, Any]]) -> dict[str, str]:
    """Status and note of what rests on several rows: that of the first which is not observed."""
    for row in rows:
        if row["status"] != "observed" or math.isnan(
            float(row["point"]) + float(row["lower"]) + float(row["upper"])
        ):
            return {"status": str(row["status"]), "note": f"{row['stratum']}: {row['note'] or 'no interval'}"}
    return {"status": "observed", "note": ""}


def _strengths(signed: pd.DataFrame, strata: pd.DataFrame) -> pd.DataFrame:
    """Signed differences between the strata, made into differences in size."""
    own = _by_place(strata)
    records = []
    for record in signed.to_dict("records"):
        both = own.get(_place(record), {})
        parts = [record, *(both[s] for s in STRATA_COLUMNS if s in both)]
        made: dict[Any, Any] = record | _status_of(parts) | {"p_in_rope": math.nan, "p_value": math.nan}
        if len(parts) < 3:
            made |= {"status": "not estimable", "note": "a stratum has no correlation of its own"}
        if made["status"] == "observed":
            difference, positive, negative = map(_interval_of, parts)
            p = _probability(record, 1)
            size, p_direction = strength_between_strata(
                difference, positive, negative, interval=float(record["interval_prob"]), p_above=p
            )
            made |= dict(zip(_LIMITS, (size.point, size.lower, size.upper), strict=True))
            made |= {
                "p_direction": p_direction,
                "unit": "|Spearman rho|, HR+ minus HR-",
                "p_adjusted": math.nan,
            }
        records.append(made)
    return pd.DataFrame(records, columns=[*signed.columns, "p_direction"])


def _both_strata(claim: Claim, strata: pd.DataFrame) -> pd.DataFrame:
    """Rows without a number of their own that carry whether both strata are as claimed."""
    null = null_value(claim.estimates[0][1])
    records = []
    for both in _by_place(strata).values():
        parts = [both[s] for s in STRATA_COLUMNS if s in both]
        made = parts[0] | _status_of(parts) | {"stratum": claim.stratum}
        made |= dict.fromkeys((*_LIMITS, "p_in_rope", "p_value", "p_adjusted"), math.nan)
        if len(parts) < len(STRATA_COLUMNS):
            made |= {"status": "not estimable", "note": f"one stratum alone: {parts[0]['stratum']}"}
        elif made["status"] == "observed":
            made["n"] = sum(int(part["n"]) for part in parts)
            sides = [1 if value > null else -1 for value in claim.strata_values]
            p = [_probability(part, side) for part, side in zip(parts, sides, strict=True)]
            made["p_direction"] = max(0.0, sum(p) - 1.0)
            made["same_direction"] = all(
                (float(part["point"]) > null) == (side > 0) for part, side in zip(parts, sides, strict=True)
            )
            made["excludes_null"] = all(_interval_of(part).excludes(null) for part in parts)
            made["layer"] = _layer_of_both(claim, parts, made["p_direction"])
        records.append(made)
    extra = ("p_direction", "same_direction", "excludes_null", "layer")
    return pd.DataFrame(records, columns=[*strata.columns, *extra])


def _layer_of_both(claim: Claim, parts: Sequence[Mapping[Any, Any]], p_direction: float) -> str:
    null = null_value(claim.estimates[0][1])
    layers = [
        layer_of(
            _interval_of(part),
            estimand=str(part["estimand"]),
            direction=1 if value > null else -1,
            p_direction=p_direction,
            published=value,
        )
        for part, value in zip(parts, claim.strata_values, strict=True)
    ]
    if "reversed" in layers:
        return "reversed"
    if set(layers) == {"holds"}:
        return "holds"
    sure = all(_interval_of(part).excludes(null) for part in parts)
    return "weakened" if sure or p_direction >= PROBABLE else "not seen"


def _probability(row: Mapping[Any, Any], direction: int) -> float:
    """Posterior probability that a row is above (1) or below (-1) its null; NaN for a twin."""
    null, p = null_value(str(row["estimand"])), row["pd"]
    if pd.isna(p):
        return math.nan
    point = float(row["point"])
    return float(p) if (point > null) == (direction > 0) and point != null else 1.0 - float(p)


def _twin_answers(
    claim: Claim,
    twin: pd.DataFrame,
    model: str,
    estimand: str,
    labels: Mapping[str, str],
    posterior: pd.DataFrame,
) -> pd.DataFrame:
    """Choose the matched twin rows that answer a claim in the same way."""

    def matched(rows: pd.DataFrame, ours: pd.DataFrame | None = None) -> pd.DataFrame:
        return matched_twins(rows, ours) if len(rows) else rows

    if claim.rule == "opposite":
        return _both_strata(claim, matched(_in_strata(claim, twin, model, estimand, labels)))
    own = matched(_select(claim, twin, model, estimand, labels), posterior)
    if claim.rule == "weaker in HR-":
        return _strengths(own, matched(_in_strata(claim, twin, model, "spearman", labels)))
    return own


def _strata_of(claim: Claim, row: Mapping[Any, Any], strata: pd.DataFrame) -> dict[str, float]:
    """Points and limits of the posterior in either stratum, for claims about both."""
    both = _by_place(strata).get(_place(row), {})
    return {
        f"{STRATA_COLUMNS[stratum]}_{limit}": float(record[limit])
        for stratum, record in both.items()
        for limit in _LIMITS
        if record["status"] == "observed"
    }


def _beside(
    claim: Claim, posterior: pd.DataFrame, model: str, estimand: str, labels: Mapping[str, str]
) -> str:
    """Say what the outcomes show that a claim may mean as well."""
    told = []
    for outcome in claim.beside:
        rows = _select(replace(claim, outcome=outcome), posterior, model, estimand, labels)
        rows = rows[rows["status"] == "observed"].dropna(subset=list(_LIMITS))
        for record in _chosen(claim, rows) if len(rows) else ():
            numbers = "{point:.2f} ({lower:.2f} to {upper:.2f})".format(**record)
            where = f" in {record['cohort']}" if record["cohort"] else ""
            told.append(f"{outcome}{where}, not counted: {numbers}")
    return "; ".join(told)


def _impossible(claim: Claim, labels: Mapping[str, str]) -> str:
    """Why the study's own choices rule a claim out, or ''."""
    if claim.outcome == INFILTRATE and not labels[INFILTRATE]:
        return "the study names no measure of the total infiltrate"
    _, _, other = claim.exposure.partition(" against ")
    if other and _is_named(other, labels[HER2]):
        return f"the study's HER2 measure is {labels[HER2]} itself"
    if claim.exposure == HER2 and any(
        (one.outcome, one.stratum, one.estimates) == (claim.outcome, claim.stratum, claim.estimates)
        and one.exposure != HER2
        and _is_named(one.exposure, labels[HER2])
        for one in CLAIMS
    ):
        return f"the study's HER2 measure is {labels[HER2]}: the claim about that gene has the same estimate"
    return ""


def _is_named(gene: str, label: str) -> bool:
    return re.search(rf"\b{re.escape(gene)}\b", label) is not None


def _select(
    claim: Claim, table: pd.DataFrame, model: str, estimand: str, labels: Mapping[str, str]
) -> pd.DataFrame:
    """Rows of one side that answer a claim, pooled and by cohort."""
    rows = table[
        (table["model"] == model)
        & (table["estimand"] == estimand)
        & (table["outcome"] == labels.get(claim.outcome, claim.outcome))
        & (table["stratum"] == claim.stratum)
        & table["scope"].isin(["pooled", "cohort"])
        & ~table["contrast"].str.contains("equal weights")
    ]
    main, _, other = claim.exposure.partition(" against ")
    if other:
        start = f"{labels[HER2]} against "
        fits = [e.startswith(start) and _is_named(other, e.removeprefix(start)) for e in rows["exposure"]]
    elif main in (HER2, HR_STATUS):
        fits = [e == labels.get(main, main) for e in rows["exposure"]]
    else:
        fits = [" against " not in e and _is_named(main, e) for e in rows["exposure"]]
    return rows[pd.Series(fits, index=rows.index, dtype=bool)]


def _why_not(
    claim: Claim, posterior: pd.DataFrame, found: pd.DataFrame, model: str, left_out: Mapping[str, str]
) -> str:
    """Why no observed row answers a claim."""
    if len(found):
        notes = [
            f"{row['cohort'] or 'pooled'}: {row['status']}{f' ({row["note"]})' if row['note'] else ''}"
            for row in found.to_dict("records")
            if row["scope"] == "cohort" or len(found) == 1
        ]
        return "; ".join(dict.fromkeys(notes)) or "no observed row"
    if model in left_out:
        return f"model {model} left out: {left_out[model]}"
    own = posterior[posterior["model"] == model]
    if own.empty:
        return f"model {model} was not fitted, or refused to answer"
    if claim.exposure not in (HER2, HR_STATUS):
        return f"no row for {claim.exposure}: the study does not bring that measure beside its own"
    return f"model {model} has no row for {claim.outcome}, {claim.stratum}"


def _judged(claim: Claim, row: Mapping[Any, Any], twins: pd.DataFrame) -> dict[str, Any]:
    """One row of the table: the posterior, its matched twin, and the layer."""
    estimand = str(row["estimand"])
    null = null_value(estimand)
    ours = _interval_of(row)
    names = (
        "model",
        "estimand",
        "exposure",
        "outcome",
        "scope",
        "cohort",
        "unit",
        "n",
        *_LIMITS,
        "p_in_rope",
    )
    found: dict[str, Any] = {name: row[name] for name in names}
    if claim.rule == "opposite":
        found |= {name: row[name] for name in ("p_direction", "same_direction", "excludes_null", "layer")} | {
            "compatible": ""
        }
    else:
        p_direction = row["p_direction"] if "p_direction" in row else _probability(row, claim.direction)
        found |= {
            "p_direction": p_direction,
            "same_direction": ours.point != null and (ours.point > null) == (claim.direction > 0),
            "excludes_null": ours.excludes(null),
            "compatible": _compatible(claim, ours, estimand, float(row["interval_prob"])),
            "layer": layer_of(
                ours,
                estimand=estimand,
                direction=claim.direction,
                p_direction=p_direction,
                published=claim.value,
            ),
        }
    found["why"] = row["note"]
    key = [k for k in KEY if k != "at"]
    match = twins[(twins[key] == pd.Series({k: row[k] for k in key})).all(axis=1)]
    for record in match.head(1).to_dict("records"):
        theirs = _interval_of(record)
        found |= {
            "twin_method": record["method"],
            "twin_point": theirs.point,
            "twin_lower": theirs.lower,
            "twin_upper": theirs.upper,
            "twin_p": record["p_value"],
            "twin_p_adjusted": record["p_adjusted"],
        }
        if claim.rule == "opposite":
            if record["status"] == "observed":
                found |= {f"twin_{name}": record[name] for name in ("same_direction", "excludes_null")}
        elif not math.isnan(theirs.point):
            found["twin_same_direction"] = (theirs.point > null) == (claim.direction > 0)
            found["twin_excludes_null"] = theirs.excludes(null)
    return found


def _compatible(claim: Claim, ours: Interval, estimand: str, interval: float) -> str:
    """Say whether the published estimate and ours differ by no more than the sampling error of both."""
    if math.isnan(claim.lower) or math.isnan(claim.upper):
        return ""
    if claim.is_range:
        return "yes" if ours.lower <= claim.upper and ours.upper >= claim.lower else "no"
    kind = kind_of(estimand)

    def scaled(one: Interval, level: float) -> tuple[float, float]:
        reach = 2.0 * NormalDist().inv_cdf(0.5 + level / 2.0)
        width = comparable(kind, one.upper) - comparable(kind, one.lower)
        return comparable(kind, one.point), width / reach

    published = Interval(claim.value, claim.lower, claim.upper)
    (a, se_a), (b, se_b) = scaled(ours, interval), scaled(published, _PUBLISHED_LEVEL)
    allowed = NormalDist().inv_cdf(0.975) * math.hypot(se_a, se_b)
    return "yes" if abs(a - b) <= allowed else "no"
