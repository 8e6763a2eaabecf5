"""One text for one recorded value, however a file or a cohort writes it."""

from __future__ import annotations

import re

import pandas as pd

_WHOLE = re.compile(r"([+-]?\d+)\.0*")


def as_label(value: object) -> str:
    """Return a recorded value as text: 3, 3.0 and '3.0' are all '3', and 'III' stays 'III'.

    Parameters
    ----------
    value
        A number, text or a truth value, not missing.

    Returns
    -------
    str
        Whole numbers without decimals, others as Python writes them, text without blanks around it.

    Raises
    ------
    ValueError
        A missing value: it is no category, and stays missing (``values.map(as_label, na_action="ignore")``).
    """
    if value is None or value is pd.NA or value != value:
        raise ValueError("a missing value has no label; map with na_action='ignore'")
    text = str(value).strip()
    whole = _WHOLE.fullmatch(text)
    if whole is not None:
        return whole.group(1)
    if isinstance(value, float) and value.is_integer():  # 1e+16 and the like
        return str(int(value))
    return text
