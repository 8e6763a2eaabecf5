"""HER2 class, HER2-negativity and hormone receptor status from pathology fields."""

from __future__ import annotations

from typing import Literal

import pandas as pd

from bayes_her2.data import HR_NEGATIVE, HR_POSITIVE
from bayes_her2.errors import Faults, name_some

HER2_CLASSES = ("0", "ultralow", "low", "positive", "unknown")
FAINT_LIMIT_PERCENT = 10.0
"""Faint, incomplete membrane staining in more than this percentage of tumour cells is IHC 1+, not 0."""
STAINING_PATTERNS = ("none", "faint incomplete", "weak to moderate complete", "strong complete")
"""Membrane staining as IHC levels are defined by."""

_IHC = ("0", "1+", "2+", "3+")
_ISH = ("amplified", "not amplified")


def _text(tumours: pd.DataFrame, column: str) -> pd.Series:
    """Return the column as text with NA for missing; all NA where a cohort does not have it."""
    if column in tumours.columns:
        return tumours[column].astype("str")
    return pd.Series(pd.NA, index=tumours.index, dtype="str")


def her2_class(tumours: pd.DataFrame, *, ultralow_max_percent: float | None = None) -> pd.Series:
    """HER2 class of each tumour from immunohistochemistry (IHC) and in-situ hybridisation (ISH).

    Parameters
    ----------
    tumours
        Columns ``her2_ihc`` ('0', '1+', '2+', '3+'), ``her2_ish`` ('amplified', 'not amplified')
        and, for ultralow, ``her2_faint_percent`` (percentage of cells with faint staining).
        A column that is absent counts as missing.
    ultralow_max_percent
        IHC 0 with faint staining in more than 0 and at most this percentage of cells is
        ``ultralow``. None (default) leaves all of IHC 0 in class ``0``.

    Returns
    -------
    pandas.Series
        One of ``0``, ``ultralow``, ``low`` (1+, or 2+ not amplified), ``positive`` (3+, or 2+
        amplified), ``unknown`` (2+ without ISH, or no IHC level).
    """
    return _class_and_reason(tumours, ultralow_max_percent)["her2_class"].rename(None)


def classify_her2(
    tumours: pd.DataFrame,
    *,
    ultralow_max_percent: float = FAINT_LIMIT_PERCENT,
    on_contradiction: Literal["raise", "unknown"] = "raise",
) -> pd.DataFrame:
    """HER2 class of each tumour with its reason, refusing pathology fields that contradict each other.

    The classes are those of `her2_class`. ASCO/CAP 2023 kept the IHC levels and the binary status of 2018, and asks
    laboratories to tell 0 from 1+; low and ultralow are names for parts of HER2-negative disease that trials of
    trastuzumab deruxtecan made necessary (DESTINY-Breast04: low; DESTINY-Breast06: also ultralow).

    Parameters
    ----------
    tumours
        Columns ``her2_ihc`` ('0', '1+', '2+', '3+'), ``her2_ish`` ('amplified', 'not amplified') and
        ``her2_faint_percent`` (percentage of tumour cells with faint, incomplete membrane staining, 0 to 100). A
        column that is absent counts as missing, and so does an empty cell.
    ultralow_max_percent
        IHC 0 with faint staining in more than 0 and at most this percentage of cells is ``ultralow``; without any
        staining it stays ``0`` (null). Default 10.
    on_contradiction
        'raise' (default), or 'unknown': such tumours get the class ``unknown``, and the contradiction is the reason.

    Returns
    -------
    pandas.DataFrame
        Index as given; ``her2_class`` (`HER2_CLASSES`) and ``reason``, in words that a methods section can print.

    Raises
    ------
    DataError
        Words that are not in the lists above, percentages outside 0 to 100, and contradictions: IHC 3+ with ISH not
        amplified; IHC 0 or 1+ with ISH amplified; IHC 0 with faint staining in more than 10 % of cells; IHC 1+ with
        faint staining in at most 10 %. All of them at once, with the tumours.

    Notes
    -----
    IHC 2+ without ISH is equivocal: ``unknown``, never low.

    Readers disagree most where it matters here. A review of HER2-low breast cancer (Zhan et al. 2026, sections 2 and 7)
    names the narrow dynamic range of IHC, subjective scoring and uneven agreement of pathologists as limits of the
    class, and gives no figures. In a survey of more than 1,390 laboratories 19 % of the cases had at most 70 %
    agreement on 0 against 1+; 18 pathologists who read the same 170 biopsies agreed on 0 against 1+ in 26 % and on 2+
    against 3+ in 58 % (Fernandez et al. 2022). So part of any difference between HER2-0 and HER2-low is lost to
    misclassification, and single tumours near the boundary should not be read as certain.

    References
    ----------
    Wolff AC et al. 2023, doi 10.1200/JCO.22.02864. Fernandez AI et al. 2022, doi 10.1001/jamaoncol.2021.7239.
    """
    _check_words(tumours)
    result = _class_and_reason(tumours, ultralow_max_percent)
    contradictions = _contradictions(tumours)
    found = contradictions[contradictions != ""]
    if on_contradiction == "raise":
        faults = Faults()
        for words, group in found.groupby(found, sort=False):
            faults.add(
                f"HER2, {name_some(group.index)}",
                f"{words}; correct the field that is wrong, or classify with on_contradiction='unknown'",
            )
        faults.raise_if_any()
    result.loc[found.index, "her2_class"] = "unknown"
    result.loc[found.index, "reason"] = "contradictory: " + found
    return result


def ihc_level(staining: pd.DataFrame) -> pd.Series:
    """HER2 IHC level from the membrane staining that defines it.

    0: no staining, or faint incomplete staining in at most 10 % of cells. 1+: faint incomplete in more than 10 %. 2+:
    weak to moderate complete in more than 10 %, or strong complete in at most 10 %. 3+: strong complete in more than
    10 %. No part of a run: for pathology tables that have the staining and no level, before `classify_her2`.

    Parameters
    ----------
    staining
        Columns ``pattern`` (`STAINING_PATTERNS`: the strongest pattern that is counted) and ``percent`` (percentage of
        tumour cells that have it, above 0 to 100; not needed for 'none').

    Returns
    -------
    pandas.Series
        '0', '1+', '2+' or '3+'; NA where pattern or percentage is missing, and for weak to moderate complete staining
        in at most 10 % of cells, which the definition leaves open.

    Raises
    ------
    DataError
        A pattern that is not in the list, or a percentage outside 0 to 100.

    References
    ----------
    ASCO/CAP 2023: Wolff AC et al., doi 10.1200/JCO.22.02864; the same wording in Zhan et al. 2026, section 2.
    """
    pattern = _text(staining, "pattern")
    faults = Faults()
    _refuse(pattern, STAINING_PATTERNS, "pattern", faults)
    _refuse_percent(staining, "percent", faults)
    faults.raise_if_any()
    percent = _number(staining, "percent")
    wide, narrow = percent > FAINT_LIMIT_PERCENT, (percent > 0) & (percent <= FAINT_LIMIT_PERCENT)
    rules = {
        "0": (pattern == "none") | ((pattern == "faint incomplete") & narrow),
        "1+": (pattern == "faint incomplete") & wide,
        "2+": ((pattern == "weak to moderate complete") & wide) | ((pattern == "strong complete") & narrow),
        "3+": (pattern == "strong complete") & wide,
    }
    level = pd.Series(pd.NA, index=staining.index, dtype="str")
    for name, rule in rules.items():
        level = level.mask(rule.fillna(False), name)
    return level


def _class_and_reason(tumours: pd.DataFrame, ultralow_max_percent: float | None) -> pd.DataFrame:
    """Class and reason by the first rule that applies; contradictions are not looked for."""
    ihc, ish, faint = (
        _text(tumours, "her2_ihc"),
        _text(tumours, "her2_ish"),
        _number(tumours, "her2_faint_percent"),
    )
    zero = (ihc == "0").fillna(False)
    limit = -1.0 if ultralow_max_percent is None else ultralow_max_percent
    ultralow = zero & (faint > 0) & (faint <= limit)
    rules = [
        ((ihc == "3+"), "positive", "IHC 3+"),
        ((ihc == "2+") & (ish == "amplified"), "positive", "IHC 2+ and ISH amplified"),
        ((ihc == "2+") & (ish == "not amplified"), "low", "IHC 2+ and ISH not amplified"),
        ((ihc == "2+"), "unknown", "IHC 2+ without ISH is equivocal"),
        ((ihc == "1+"), "low", "IHC 1+"),
        (ultralow, "ultralow", f"IHC 0 with faint staining in at most {limit:g} % of cells"),
        (zero & (faint == 0), "0", "IHC 0 without staining (null)"),
        (
            zero & faint.isna(),
            "0",
            "IHC 0; faint staining is not recorded, so ultralow is not told from null",
        ),
        (zero, "0", "IHC 0"),
    ]
    result = pd.DataFrame(
        {"her2_class": "unknown", "reason": "no IHC level"}, index=tumours.index, dtype="str"
    )
    for rule, name, reason in reversed(rules):
        applies = rule.fillna(False).astype(bool)
        result.loc[applies, "her2_class"] = name
        result.loc[applies, "reason"] = reason
    return result


def _contradictions(tumours: pd.DataFrame) -> pd.Series:
    """Contradiction of each tumour in words, or ''."""
    ihc, ish, faint = (
        _text(tumours, "her2_ihc"),
        _text(tumours, "her2_ish"),
        _number(tumours, "her2_faint_percent"),
    )
    rules = {
        "IHC 3+ and ISH not amplified": (ihc == "3+") & (ish == "not amplified"),
        "IHC 1+ and ISH amplified": (ihc == "1+") & (ish == "amplified"),
        "IHC 0 and ISH amplified": (ihc == "0") & (ish == "amplified"),
        "IHC 0 and faint staining in more than 10 % of cells, which is 1+": (ihc == "0")
        & (faint > FAINT_LIMIT_PERCENT),
        "IHC 1+ and faint staining in at most 10 % of cells, which is 0": (ihc == "1+")
        & (faint <= FAINT_LIMIT_PERCENT),
    }
    result = pd.Series("", index=tumours.index, dtype="str")
    for words, rule in rules.items():
        applies = rule.fillna(False).astype(bool)
        result = result.mask(applies & (result != ""), result + " and " + words).mask(
            applies & (result == ""), words
        )
    return result


def _number(tumours: pd.DataFrame, column: str) -> pd.Series:
    """Return the column as numbers; all NaN where a cohort does not have it."""
    if column in tumours.columns:
        return pd.to_numeric(tumours[column]).astype("float64")
    return pd.Series(float("nan"), index=tumours.index, dtype="float64")


def _check_words(tumours: pd.DataFrame) -> None:
    """Levels and ISH results in the words of the list, percentages from 0 to 100."""
    faults = Faults()
    _refuse(_text(tumours, "her2_ihc"), _IHC, "her2_ihc", faults)
    _refuse(_text(tumours, "her2_ish"), _ISH, "her2_ish", faults)
    _refuse_percent(tumours, "her2_faint_percent", faults)
    faults.raise_if_any()


def _refuse(words: pd.Series, allowed: tuple[str, ...], column: str, faults: Faults) -> None:
    other = words[words.notna() & ~words.isin(allowed)]
    for word, group in other.groupby(other, sort=False):
        listed = ", ".join(repr(name) for name in allowed)
        faults.add(f"{column}, {name_some(group.index)}", f"{str(word)!r} is not one of {listed}")


def _refuse_percent(tumours: pd.DataFrame, column: str, faults: Faults) -> None:
    if column not in tumours.columns:
        return
    values = pd.to_numeric(tumours[column], errors="coerce")
    refused = tumours[column].notna() & (values.isna() | (values < 0) | (values > 100))
    if refused.any():
        shown = name_some(repr(value) for value in tumours.loc[refused, column])
        where = f"{column}, {name_some(tumours.index[refused])}"
        faults.add(where, f"{shown}: the percentage of tumour cells is a number from 0 to 100")


def her2_status(tumours: pd.DataFrame) -> pd.Series:
    """HER2 status for eligibility: ``negative``, ``positive`` or NA.

    Kept apart from `her2_class`, because many tumours carry a negative call and no IHC level, and
    some carry 1+ together with a positive call or ISH. Positive: IHC 3+, or ISH amplified, or a
    positive call without a negative ISH. Negative, when not positive: IHC 0, 1+, or 2+ with ISH
    not amplified; or, without an IHC level, a negative call or a negative ISH. NA otherwise.
    """
    ihc, ish, call = (_text(tumours, c) for c in ("her2_ihc", "her2_ish", "her2_call"))
    not_amplified = (ish == "not amplified").fillna(False)
    positive = (
        (ihc == "3+").fillna(False)
        | (ish == "amplified").fillna(False)
        | ((call == "positive").fillna(False) & ~not_amplified)
    )
    by_level = (ihc == "0") | (ihc == "1+") | ((ihc == "2+") & not_amplified)
    by_call = ihc.isna() & ((call == "negative").fillna(False) | not_amplified)
    negative = (by_level.fillna(False) | by_call) & ~positive
    status = pd.Series(pd.NA, index=tumours.index, dtype="str")
    return status.mask(negative, "negative").mask(positive, "positive")


def one_receptor_alone(tumours: pd.DataFrame) -> list[str]:
    """Remark on tables with one hormone receptor of two: their tumours can be HR+ and never HR-.

    Parameters
    ----------
    tumours
        Fields of a cohort, as for `hr_status`.
    """
    there = [name for name in ("er", "pgr") if name in tumours.columns]
    if "hr" in tumours.columns or len(there) != 1:
        return []
    other = "pgr" if there == ["er"] else "er"
    lost = int((_text(tumours, there[0]) == "negative").sum())
    names = {"er": ("er", "oestrogen"), "pgr": ("pr", "prog")}[other]
    near = [str(c) for c in tumours.columns if str(c).lower().startswith(names)]
    hint = f" ('{near[0]}' is not read as {other}: rename it)" if near else ""
    return [
        f"only {there[0]} is mapped, and neither {other} nor hr{hint}: tumours can be HR+ but never HR-, and the "
        f"{lost} that are {there[0]}-negative have no HR status and leave the analysis. Map {other} as well."
    ]


def hr_status(tumours: pd.DataFrame) -> pd.Series:
    """Hormone receptor (HR) status: 'HR+', 'HR-' or NA.

    A column ``hr`` is taken as given. Otherwise positive if ER or PgR is positive, negative only
    if both are negative, missing in every other case.
    """
    given = _text(tumours, "hr")
    er, pgr = _text(tumours, "er"), _text(tumours, "pgr")
    positive = (er == "positive").fillna(False) | (pgr == "positive").fillna(False)
    negative = (er == "negative").fillna(False) & (pgr == "negative").fillna(False)
    derived = pd.Series(pd.NA, index=tumours.index, dtype="str")
    derived = derived.mask(positive, HR_POSITIVE).mask(negative, HR_NEGATIVE)
    named = given.map({"positive": HR_POSITIVE, "negative": HR_NEGATIVE}).astype("str")
    return named.where(given.notna(), derived)
