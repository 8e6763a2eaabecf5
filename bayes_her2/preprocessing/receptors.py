"""HER2 class, HER2-negativity and hormone receptor status from pathology fields."""

from __future__ import annotations

import pandas as pd

from bayes_her2.data import HR_NEGATIVE, HR_POSITIVE

HER2_CLASSES = ("0", "ultralow", "low", "positive", "unknown")


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
    ihc, ish = _text(tumours, "her2_ihc"), _text(tumours, "her2_ish")
    result = pd.Series("unknown", index=tumours.index, dtype="str")
    result = result.mask((ihc == "0").fillna(False), "0")
    if ultralow_max_percent is not None and "her2_faint_percent" in tumours.columns:
        faint = pd.to_numeric(tumours["her2_faint_percent"])
        ultralow = (ihc == "0").fillna(False) & (faint > 0) & (faint <= ultralow_max_percent)
        result = result.mask(ultralow, "ultralow")
    low = (ihc == "1+") | ((ihc == "2+") & (ish == "not amplified"))
    positive = (ihc == "3+") | ((ihc == "2+") & (ish == "amplified"))
    return result.mask(low.fillna(False), "low").mask(positive.fillna(False), "positive")


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
