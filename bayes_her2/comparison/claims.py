"""What the seed study claims, and what the tumours of this study say to each claim.

The claims are Pizzamiglio et al. 2025, npj Breast Cancer, doi 10.1038/s41523-025-00867-z: other tumours and, unless the
study brings the 20-gene signature, another HER2 measure. So this is *replication with another measure*, a table of its
own and not concordance: concordance is about the twin, in the same tumours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import pandas as pd

from bayes_her2.comparison.concordance import THIRD, Interval, matched_twins
from bayes_her2.data import DIFFERENCE, HR_COMPARED, HR_NEGATIVE, HR_POSITIVE, HR_STATUS
from bayes_her2.estimates import ALL, KEY, Estimates, comparable, kind_of, null_value

LAYERS = {
    "holds": "the posterior interval excludes the null in the claimed direction",
    "weakened": "claimed direction with a posterior probability of at least 0.9, but the interval includes the null; "
    "or it excludes the null with less than a third of the published size",
    "not seen": "neither of these: the claimed direction has a posterior probability below 0.9",
    "reversed": "the posterior interval excludes the null in the other direction",
    "not testable here": "these tumours, or the models that were fitted, give no such estimate",
}
PROBABLE = 0.9
"""Posterior probability of the claimed direction from which a claim is weakened and not unseen."""

HER2 = "HER2 measure"
INFILTRATE = "total TILs"
_PUBLISHED_LEVEL = 0.95
_MINUS = "HR- minus HR+"


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


def _odds(outcome: str, stratum: str, value: float, lower: float, upper: float, note: str = "") -> Claim:
    direction = 1 if value > 1 else -1
    word = "rise" if direction > 0 else "fall"
    return Claim(
        f"{outcome}, {stratum}, odds of high abundance",
        f"the odds of high abundance of {outcome} {word} per SD of HER2 in {stratum} tumours",
        _FIG_2B,
        _ODDS,
        outcome,
        stratum,
        direction,
        value=value,
        lower=lower,
        upper=upper,
        note=note,
    )


def _interaction(outcome: str, negative: float, positive: float, printed_p: float) -> Claim:
    return Claim(
        f"{outcome}, interaction with HR status",
        f"HER2 acts on {outcome} in opposite directions in HR- and HR+ tumours",
        _FIG_2B,
        _ODDS,
        outcome,
        DIFFERENCE,
        1 if negative > positive else -1,
        value=negative / positive,
        note=f"ratio of the printed odds ratios {negative} and {positive}; printed P for interaction {printed_p}; "
        f"{_REVERSED}",
    )


_CD4 = "the paper does not say which CD4 memory type, resting or activated: both are shown"
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
        _MINUS,
        1,
        note="said in words only",
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
    _odds("T cells CD4 memory resting", HR_POSITIVE, 0.64, 0.44, 0.94, _CD4),
    _odds("T cells CD4 memory activated", HR_POSITIVE, 0.64, 0.44, 0.94, _CD4),
    _odds("NK cells activated", HR_POSITIVE, 0.64, 0.43, 0.93),
    _odds("T cells gamma delta", HR_POSITIVE, 0.65, 0.42, 1.00, "the printed interval reaches 1.00"),
    _odds("Mast cells resting", HR_POSITIVE, 0.56, 0.38, 0.83, _REVERSED),
    _odds("Neutrophils", HR_POSITIVE, 1.60, 1.07, 2.39, _REVERSED),
    _odds("T cells follicular helper", HR_NEGATIVE, 0.25, 0.07, 0.83),
    _odds("Macrophages M1", HR_NEGATIVE, 0.28, 0.09, 0.92),
    _odds("Mast cells resting", HR_NEGATIVE, 5.29, 1.16, 24.0, _REVERSED),
    _odds("Neutrophils", HR_NEGATIVE, 0.16, 0.04, 0.61, _REVERSED),
    _interaction("Mast cells resting", 5.29, 0.56, 0.005),
    _interaction("Neutrophils", 0.16, 1.60, 0.001),
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
    "published_note",
    "measure",
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
    "compatible",
    "layer",
    "why",
)


def claims(
    estimates: Estimates, *, measure: str, infiltrate: str = "", left_out: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Set each claim of the seed study beside the estimates of this study, and say in which layer it is.

    A claim is judged by the pooled posterior row where these tumours inform it (status observed), else by the
    observed row of each cohort. `LAYERS` says what the layers mean.

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
        (for a printed range: whether the intervals meet).
    """
    table = estimates.table
    posterior, twin = table[table["source"] == "posterior"], table[table["source"] == "twin"]
    labels = {HER2: measure, INFILTRATE: infiltrate}
    rows = [row for claim in CLAIMS for row in _rows(claim, posterior, twin, labels, dict(left_out or {}))]
    return pd.DataFrame(rows, columns=list(COLUMNS))


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
        "published_note": claim.note,
        "measure": labels[HER2],
        "model": claim.estimates[0][0],
        "estimand": claim.estimates[0][1],
        "exposure": claim.exposure,
        "outcome": claim.outcome,
        "stratum": claim.stratum,
    }
    why = _impossible(claim, labels)
    reasons: list[str] = []
    for model, estimand in () if why else claim.estimates:
        found = _select(claim, posterior, model, estimand, labels)
        judged = found[found["status"] == "observed"].dropna(subset=["point", "lower", "upper"])
        if judged.empty:
            reasons.append(_why_not(claim, posterior, found, model, left_out))
            continue
        pooled = judged[judged["scope"] == "pooled"]
        chosen = pooled if len(pooled) else judged[judged["scope"] == "cohort"]
        records: list[dict[Any, Any]] = chosen.to_dict("records")
        twins = _select(claim, twin, model, estimand, labels)
        twins = matched_twins(twins) if len(twins) else twins
        for record in records:
            yield base | _judged(claim, record, twins)
        return
    layer = "not testable here"
    yield base | {"layer": layer, "why": why or "; ".join(dict.fromkeys(filter(None, reasons)))}


def _impossible(claim: Claim, labels: Mapping[str, str]) -> str:
    """Why the study's own choices rule a claim out, or ''."""
    if claim.outcome == INFILTRATE and not labels[INFILTRATE]:
        return "the study names no measure of the total infiltrate"
    _, _, other = claim.exposure.partition(" against ")
    if other and _is_named(other, labels[HER2]):
        return f"the study's HER2 measure is {labels[HER2]} itself"
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
    ours = Interval(float(row["point"]), float(row["lower"]), float(row["upper"]))
    same = ours.point != null and (ours.point > null) == (claim.direction > 0)
    p_direction = float(row["pd"]) if same else 1.0 - float(row["pd"])
    found: dict[str, Any] = {
        name: row[name]
        for name in (
            "model",
            "estimand",
            "exposure",
            "outcome",
            "scope",
            "cohort",
            "unit",
            "n",
            "point",
            "lower",
            "upper",
        )
    }
    found |= {
        "p_direction": p_direction,
        "p_in_rope": row["p_in_rope"],
        "same_direction": same,
        "excludes_null": ours.excludes(null),
        "compatible": _compatible(claim, ours, estimand, float(row["interval_prob"])),
        "layer": layer_of(
            ours,
            estimand=estimand,
            direction=claim.direction,
            p_direction=p_direction,
            published=claim.value,
        ),
        "why": row["note"],
    }
    key = [k for k in KEY if k != "at"]
    match = twins[(twins[key] == pd.Series({k: row[k] for k in key})).all(axis=1)]
    for record in match.head(1).to_dict("records"):
        theirs = Interval(*(float(record[c]) for c in ("point", "lower", "upper")))
        found |= {
            "twin_method": record["method"],
            "twin_point": theirs.point,
            "twin_lower": theirs.lower,
            "twin_upper": theirs.upper,
            "twin_p": record["p_value"],
            "twin_p_adjusted": record["p_adjusted"],
        }
        if not math.isnan(theirs.point):
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
