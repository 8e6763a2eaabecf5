"""Which published results may be pooled with each other, and why the others may not.

Rules, in this order. Only contrasts of the same two groups, in the HR strata and settings asked for. Never a
meta-analysis. One scale: odds, risk or hazard ratio. Never crude with adjusted. One row for each overlap group and
HR stratum: of a study that has every stratum asked for, if there is one; the study's main result; among those of
several studies the verified one, then the one with most patients, then the narrower interval, then the first by name.
Disjoint parts of one study (its stages) are combined with inverse-variance weights before that, the standard error
widened by the square root of Q / df where they differ. What is left out is returned with its reason.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, Literal

import pandas as pd
from scipy import stats

from bayes_her2.data import MIN_STUDIES, EvidenceData, EvidenceExclusion
from bayes_her2.errors import DataError, name_some
from bayes_her2.evidence.audit import Counts, standard_error
from bayes_her2.evidence.schema import (
    BINARY_OUTCOMES,
    EARLY_SETTINGS,
    OUTCOMES,
    RATIOS,
    SETTINGS,
    TIME_TO_EVENT_OUTCOMES,
)
from bayes_her2.evidence.table import EvidenceTable
from bayes_her2.frequentist.pooling import common_effect
from bayes_her2.inputs.fields import suggestion

_ADJUSTMENTS = {"crude": ("crude",), "adjusted": ("adjusted", "weighted")}
OTHER_CONTRAST = "another contrast"
"""Beginning of the reason why a row about other groups is not in a pool."""

_COUNTS = ["n_exposed", "events_exposed", "n_reference", "events_reference"]


def studies_for(
    table: EvidenceTable,
    outcome: str,
    *,
    scale: str,
    adjustment: Literal["crude", "adjusted"],
    hr_stratum: str | Sequence[str] = "all",
    exposure: str = "HER2-low",
    reference: str = "HER2-0",
    settings: Collection[str] = EARLY_SETTINGS,
) -> EvidenceData:
    """Select what may be pooled: one row for each study and HR stratum, no two of them with the same patients.

    Parameters
    ----------
    table
        Shipped, read, or joined.
    outcome
        One of `schema.OUTCOMES`.
    scale
        'odds ratio', 'risk ratio' or 'hazard ratio'. Counts are crude and can be on either of the first two.
    adjustment
        'crude' or 'adjusted' (by regression or by weighting).
    hr_stratum
        'all', 'HR+', 'HR-', or ('HR+', 'HR-') for both beside each other.
    exposure, reference
        The two groups.
    settings
        Settings to take; default neoadjuvant and early disease.

    Returns
    -------
    EvidenceData
        With what was left out and why. ``binomial`` where every study has counts.

    Raises
    ------
    DataError
        If the request makes no sense, or no row answers it.
    """
    strata = (hr_stratum,) if isinstance(hr_stratum, str) else tuple(hr_stratum)
    _check_request(outcome, scale, adjustment, strata, settings)
    asked = table.rows(outcome=outcome)
    left_out: list[EvidenceExclusion] = []
    notices: list[str] = []
    kept: list[dict[str, Any]] = []
    for row in asked.to_dict("records"):
        reason = _why_not(row, scale, adjustment, strata, exposure, reference, settings)
        entry = _with_log_ratio({str(k): v for k, v in row.items()}, scale)
        if not reason and math.isnan(entry["se"]) and row["measure"] != "counts":
            reason = "no interval, so no standard error"
        if not reason and entry["se"] == 0:
            reason = "the printed interval has no width, so no standard error"
        if reason:
            left_out.append(EvidenceExclusion(str(row["study"]), str(row["row_id"]), reason))
        else:
            kept.append(entry)
    chosen = _one_per_overlap_group(kept, left_out, notices)
    chosen, likelihood = _likelihood(chosen, scale, left_out, notices)
    what = f"{outcome}, {exposure} against {reference}, {', '.join(strata)}, {adjustment} {scale}"
    if not chosen:
        reasons = name_some([f"{e.study} ({e.reason})" for e in left_out]) or "the table has no row about it"
        raise DataError(f"nothing to pool for {what}: {reasons}")
    _remark(chosen, strata, notices)
    return EvidenceData(
        outcome=outcome,
        exposure=exposure,
        reference=reference,
        scale=scale,
        adjustment=adjustment,
        likelihood=likelihood,
        studies=_studies(chosen, strata),
        exclusions=tuple(sorted(left_out)),
        notices=tuple(notices),
    )


def _check_request(
    outcome: str, scale: str, adjustment: str, strata: tuple[str, ...], settings: Collection[str]
) -> None:
    if outcome not in OUTCOMES:
        raise DataError(
            f"no outcome {outcome!r}{suggestion(outcome, OUTCOMES)}; outcomes: {', '.join(OUTCOMES)}"
        )
    if scale not in RATIOS:
        raise DataError(f"no scale {scale!r}; scales that can be pooled: {', '.join(RATIOS)}")
    possible = ("hazard ratio",) if outcome in TIME_TO_EVENT_OUTCOMES else RATIOS[:2]
    if outcome not in (*TIME_TO_EVENT_OUTCOMES, *BINARY_OUTCOMES) or scale not in possible:
        raise DataError(f"{outcome} has no {scale}; hazard ratios and odds ratios are never pooled together")
    if adjustment not in _ADJUSTMENTS:
        raise DataError(
            f"adjustment {adjustment!r}: 'crude' or 'adjusted'; the two estimate different things, and are "
            "never pooled"
        )
    if strata not in (("all",), ("HR+",), ("HR-",), ("HR+", "HR-"), ("HR-", "HR+")):
        raise DataError(
            f"hr_stratum {strata}: 'all', 'HR+', 'HR-' or ('HR+', 'HR-'); 'all' contains the others"
        )
    unknown = [setting for setting in settings if setting not in SETTINGS]
    if unknown or not settings:
        raise DataError(f"settings {name_some(unknown) or 'are empty'}; choose from {', '.join(SETTINGS)}")


def _why_not(
    row: dict[Any, Any],
    scale: str,
    adjustment: str,
    strata: tuple[str, ...],
    exposure: str,
    reference: str,
    settings: Collection[str],
) -> str:
    """Why a row about the outcome cannot be in the pool, or ''."""
    counts_fit = row["measure"] == "counts" and scale != "hazard ratio"
    checks = [
        (row["design"] != "contrast", "a single arm compares nothing"),
        (
            (row["exposure"], row["reference"]) != (exposure, reference),
            f"{OTHER_CONTRAST}: {row['exposure']} against {row['reference']}",
        ),
        (row["hr_stratum"] not in strata, f"another HR stratum: {row['hr_stratum']}"),
        (row["setting"] not in settings, f"another setting: {row['setting']}"),
        (row["pooled"], "a meta-analysis: it is not pooled again with its components"),
        (row["measure"] in ("statement", "proportion"), "no counts and no ratio, only words or proportions"),
        (row["measure"] != scale and not counts_fit, f"another scale: {row['measure']}"),
        (row["adjustment"] not in _ADJUSTMENTS[adjustment], f"{row['adjustment']}, not {adjustment}"),
    ]
    return next((reason for excluded, reason in checks if excluded), "")


def _with_log_ratio(row: dict[str, Any], scale: str) -> dict[str, Any]:
    """Add log ratio and standard error: from the counts (Woolf), or from the printed interval."""
    if row["measure"] != "counts":
        se = math.nan
        if row["measure"] in RATIOS and not math.isnan(row["ci_low"]):
            se = standard_error(math.log(row["ci_low"]), math.log(row["ci_high"]), row["ci_level"])
        log_ratio = math.log(row["estimate"]) if row["measure"] in RATIOS else math.nan
        return row | {"log_ratio": log_ratio, "se": se}
    if row["design"] != "contrast":
        return row | {"log_ratio": math.nan, "se": math.nan}
    counts = Counts(**{name: int(row[name]) for name in _COUNTS})
    if 0 in counts.cells:
        return row | {"log_ratio": math.nan, "se": math.nan}
    two = counts.table
    if scale == "risk ratio":
        return row | {"log_ratio": float(two.log_riskratio), "se": float(two.log_riskratio_se)}
    return row | {"log_ratio": float(two.log_oddsratio), "se": float(two.log_oddsratio_se)}


def _patients(row: dict[str, Any]) -> int:
    """Patients of both groups as far as the row says."""
    if not pd.isna(row["n"]):
        return int(row["n"])
    return sum(int(row[name]) for name in ("n_exposed", "n_reference") if not pd.isna(row[name]))


def _one_per_overlap_group(
    rows: list[dict[str, Any]], left_out: list[EvidenceExclusion], notices: list[str]
) -> list[dict[str, Any]]:
    """One row for each overlap group and HR stratum, after combining disjoint parts of a study."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    strata_of: dict[str, set[str]] = {}
    for row in rows:
        groups.setdefault((row["overlap_group"], row["hr_stratum"]), []).append(row)
        strata_of.setdefault(str(row["study"]), set()).add(str(row["hr_stratum"]))
    # A study with every stratum compares them in its own patients, with one method.
    for row in rows:
        row["strata"] = len(strata_of[str(row["study"])])
    chosen = []
    for (group, _), members in groups.items():
        candidates = _combined_parts(members, notices)
        best = min(candidates, key=_preference)
        chosen.append(best)
        for other in candidates:
            if other is not best:
                left_out.extend(
                    EvidenceExclusion(other["study"], name, _why_second(other, best, group))
                    for name in other["row_id"].split(" + ")
                )
    return chosen


def _preference(row: dict[str, Any]) -> tuple[int, bool, bool, int, float, str]:
    """Order of preference within an overlap group; the first is taken."""
    se = row["se"] if not math.isnan(row["se"]) else math.inf
    return (
        -row["strata"],
        row["role"] != "main",
        row["verified"] != "source text",
        -_patients(row),
        se,
        row["row_id"],
    )


def _why_second(other: dict[str, Any], best: dict[str, Any], group: str) -> str:
    names = (
        "has fewer HR strata",
        "not the study's main result",
        "not verified",
        "fewer patients",
        "a wider interval",
        "later by name",
    )
    pairs = zip(_preference(other), _preference(best), names, strict=True)
    why = next(name for theirs, ours, name in pairs if theirs != ours)
    return f"shares patients ({group}) with {best['study']} [{best['row_id']}], which is taken: {why}"


def _combined_parts(members: list[dict[str, Any]], notices: list[str]) -> list[dict[str, Any]]:
    """Disjoint parts of one study as one row (inverse-variance mean); other rows as they are."""
    whole = [row for row in members if not row["part"]]
    parts: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in members:
        if row["part"]:
            parts.setdefault((row["study"], row["role"], row["adjusted_for"], row["definition"]), []).append(
                row
            )
    for (study, *_), rows in parts.items():
        usable = [row for row in rows if row["se"] > 0]
        if len(rows) == 1 or len(usable) < len(rows):
            whole.extend(rows)
            continue
        mean = common_effect([row["log_ratio"] for row in rows], [row["se"] ** 2 for row in rows])
        spread = max(1.0, mean.q / (len(rows) - 1)) ** 0.5
        verified = all(row["verified"] == "source text" for row in rows)
        labels = ", ".join(row["part"] for row in rows)
        whole.append(
            rows[0]
            | {
                "row_id": " + ".join(row["row_id"] for row in rows),
                "log_ratio": mean.estimate,
                "se": spread * mean.se,
                "n": sum(_patients(row) for row in rows) or pd.NA,
                "verified": "source text" if verified else "second-hand",
                "measure": "combined parts",
                **dict.fromkeys(_COUNTS, pd.NA),
            }
        )
        notices.append(
            f"{study} ({rows[0]['hr_stratum']}): its parts ({labels}) are combined by inverse variance; they differ "
            f"with Q {mean.q:.1f} on {len(rows) - 1} df (P {stats.chi2.sf(mean.q, len(rows) - 1):.2g}), and the "
            f"standard error is multiplied by {spread:.2g}"
        )
    return whole


def _likelihood(
    rows: list[dict[str, Any]], scale: str, left_out: list[EvidenceExclusion], notices: list[str]
) -> tuple[list[dict[str, Any]], Literal["binomial", "normal"]]:
    """Binomial for odds ratios of studies that all have counts; otherwise normal, where a zero cell has no place."""
    binomial = scale == "odds ratio"  # the 2 x 2 table's likelihood is of the log odds ratio
    if rows and binomial and all(row["measure"] == "counts" for row in rows):
        zero = [row["study"] for row in rows if math.isnan(row["se"])]
        if zero:
            notices.append(
                f"a zero cell in {name_some(zero)}: no log ratio, so methods on the log scale leave it out; nothing is"
                " added to the counts"
            )
        return rows, "binomial"
    kept = []
    for row in rows:
        if math.isnan(row["se"]):
            why = "the other studies have no counts" if binomial else f"{scale}s are pooled as logs"
            reason = f"a zero cell has no log ratio, and {why}; nothing is added to it"
            left_out.append(EvidenceExclusion(row["study"], row["row_id"], reason))
        else:
            kept.append(row)
    return kept, "normal"


def _remark(rows: list[dict[str, Any]], strata: tuple[str, ...], notices: list[str]) -> None:
    """Add what a reader of the pool has to know."""
    derived = [row["study"] for row in rows if row["measure"] == "counts" and row["counts"] == "derived"]
    if derived:
        notices.append(f"counts derived from percentages: {name_some(derived, 40)}")
    weighted = [row["study"] for row in rows if row["adjustment"] == "weighted"]
    if weighted and len(weighted) < len(rows):
        notices.append(
            f"weighted: {name_some(weighted)}; the others are adjusted by regression (a marginal and a "
            "conditional odds"
            " ratio differ even without confounding)"
        )
    further = [row["study"] for row in rows if row["role"] == "further"]
    if further:
        notices.append(
            f"no main result, so a further one (subset, other follow-up) is taken: {name_some(further)}"
        )
    mixed = {row["measure"] == "counts" for row in rows} == {True, False}
    if mixed:
        notices.append("some studies have counts and some a ratio: the counts enter as log ratios (Woolf)")
    sets = {str(row["adjusted_for"]) for row in rows if row["adjustment"] not in ("crude", "not applicable")}
    if len(sets) > 1:
        unnamed = " (one of them names no variable)" if "" in sets else ""
        notices.append(f"the studies adjust for different variables{unnamed}")
    unverified = [row["study"] for row in rows if row["verified"] != "source text"]
    if unverified:
        notices.append(f"second-hand, not verified in the source: {name_some(unverified, 40)}")
    for row in rows:
        skew = _skew(row)
        if abs(skew) > 0.25:
            notices.append(
                f"{row['study']} [{row['row_id']}]: the estimate lies {abs(skew):.1f} standard errors from the middle"
                " of its interval on the log scale; rounding, or an exact interval"
            )
    for stratum in strata:
        k = len({row["overlap_group"] for row in rows if row["hr_stratum"] == stratum})
        if k < MIN_STUDIES:
            few = "no study" if k == 0 else "1 study" if k == 1 else f"{k} studies"
            notices.append(
                f"{stratum}: {few}, fewer than {MIN_STUDIES}; the spread between studies, and with it the prediction"
                " for a new one, is the prior's"
            )
    if len(strata) > 1:
        notices += _within_studies(rows)


def _within_studies(rows: list[dict[str, Any]]) -> list[str]:
    """HR- over HR+ within the studies that have both strata, by inverse variance; a sentence, or none."""
    by_study: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_study.setdefault((row["overlap_group"], row["study"]), {})[row["hr_stratum"]] = row
    both = {
        key: (own["HR-"], own["HR+"])
        for key, own in by_study.items()
        if len(own) > 1 and all(row["se"] > 0 for row in own.values())  # no zero cell
    }
    if not both:
        return []
    within = common_effect(
        [negative["log_ratio"] - positive["log_ratio"] for negative, positive in both.values()],
        [negative["se"] ** 2 + positive["se"] ** 2 for negative, positive in both.values()],
    )
    ratio, lower, upper = (math.exp(value) for value in (within.estimate, within.lower, within.upper))
    names = name_some([group if group == study else f"{group}: {study}" for group, study in both])
    one = len(both) == 1
    where = f"the one study ({names})" if one else f"the {len(both)} studies ({names}; inverse variance)"
    if any(len(own) == 1 for own in by_study.values()):
        pooled = "also compares different studies"
    else:
        pooled = f"is of the same {'study' if one else 'studies'}, and wider by the spread between studies"
    return [
        f"within {where} with both strata the ratio HR- over HR+ is {ratio:.2f} (95 % confidence interval "
        f"{lower:.2f} to {upper:.2f}); the pooled contrast {pooled}"
    ]


def _skew(row: dict[str, Any]) -> float:
    if row["measure"] not in RATIOS or math.isnan(row["ci_low"]):
        return 0.0
    middle = (math.log(row["ci_low"]) + math.log(row["ci_high"])) / 2.0
    return float((row["log_ratio"] - middle) / row["se"])


def _studies(rows: list[dict[str, Any]], strata: tuple[str, ...]) -> pd.DataFrame:
    """Sort by HR stratum (as asked), year and study; label each row."""
    order = sorted(rows, key=lambda row: (strata.index(row["hr_stratum"]), int(row["year"]), row["study"]))
    labels = [row["study"] if len(strata) == 1 else f"{row['study']}, {row['hr_stratum']}" for row in order]
    columns = {
        "hr": "hr_stratum", "year": "year", "log_ratio": "log_ratio", "se": "se", **{name: name for name in _COUNTS},
        "row_id": "row_id", "overlap_group": "overlap_group", "setting": "setting", "doi": "doi", "pmid": "pmid",
        "verified": "verified",
    }  # fmt: skip
    frame = pd.DataFrame(
        {name: [row[source] for row in order] for name, source in columns.items()},
        index=pd.Index(labels, name="study", dtype="str"),
    )
    whole = dict.fromkeys([*_COUNTS, "year"], "Int64")
    text = dict.fromkeys(["hr", "row_id", "overlap_group", "setting", "doi", "pmid", "verified"], "str")
    return frame.astype({**whole, **text, "log_ratio": "float64", "se": "float64"})
