"""Table 1: patient and tumour characteristics of the analysed tumours, with what is missing shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from bayes_her2.data import CohortTable
from bayes_her2.labels import as_label
from bayes_her2.preprocessing.receptors import HER2_CLASSES

OVERALL = "all cohorts"
MISSING = "missing"
MAX_LEVELS = 20
"""Text with more different values than this is an id or a remark, not a category."""

COLUMNS = (
    "variable",
    "level",
    "cohort",
    "statistic",
    "n",
    "percent",
    "median",
    "q1",
    "q3",
    "n_missing",
)
COUNT, QUARTILES, NOT_RECORDED, NOT_TABULATED = "count", "quartiles", "field not recorded", "not tabulated"
"""Statistics: counts and shares of all tumours; quartiles of those recorded; two reasons for neither."""

_SIZE_CLASSES = (("<= 2 cm", 0.0, 2.0), ("> 2 to 5 cm", 2.0, 5.0), ("> 5 cm", 5.0, float("inf")))
_SIZE_FIELDS = {"tumour_size_cm": 1.0, "tumour_size_mm": 0.1}
_SIZE = "tumour size"
_FIRST = ("age", "sex", _SIZE, *_SIZE_FIELDS, "grade", "stage", "hr", "er", "pgr")
_THEN = ("her2_ihc", "her2_faint_percent", "her2_ish", "her2_call", "her2 class")
_HER2 = "her2"
_CODE_LEVELS = 6
"""Whole numbers with at most this many different values are codes of categories, such as grade 1 to 3."""


def table_one(cohorts: Sequence[CohortTable], tumours: pd.DataFrame) -> pd.DataFrame:
    """Characteristics of the analysed tumours by cohort, and of all of them.

    Every mapped field that is not an id is there: text and codes as counts, numbers as quartiles. Hormone receptor
    (HR) status and HER2 class are those that the analysis uses. Tumour size in a field that names its unit
    (``tumour_size_cm``, ``tumour_size_mm``) is given in the usual classes as well. Percentages are of all tumours
    of the cohort, the missing ones among them. The HER2 measure has no row for all cohorts where they come from
    different platforms.

    Parameters
    ----------
    cohorts
        As read.
    tumours
        The analysed tumours: rows of ``TumourData.tumours`` (index 'COHORT/ID').

    Returns
    -------
    pandas.DataFrame
        ``variable``, ``level`` ('' for numbers), ``cohort`` (or 'all cohorts'), ``statistic``, ``n``, ``percent``,
        ``median``, ``q1``, ``q3``, ``n_missing``. Each variable has a row for what is missing, whose statistic is
        'field not recorded' where a cohort has no such field. A text field with more than 20 different values has
        the row 'not tabulated' instead of its levels.
    """
    own = [_fields(cohort, tumours) for cohort in cohorts]
    own = [frame for frame in own if len(frame)]
    table = pd.concat([frame.astype(object) for frame in own])
    groups = [(str(name), rows) for name, rows in table.groupby("cohort", sort=False)]
    if len(groups) > 1:
        groups.append((OVERALL, table))
    rows: list[dict[str, Any]] = []
    n_platforms = len({cohort.platform for cohort in cohorts})
    for name in _order([str(c) for c in table.columns if c != "cohort"]):
        levels = _levels(name, table[name])
        for cohort, members in groups:
            if name == _HER2 and cohort == OVERALL and n_platforms > 1:
                continue  # values of different platforms have no common unit
            rows += _rows(name, cohort, members[name], levels)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _fields(cohort: CohortTable, tumours: pd.DataFrame) -> pd.DataFrame:
    """Return the mapped fields of the analysed tumours of one cohort, and what the analysis derives."""
    used = tumours[tumours["cohort"] == cohort.name]
    ids = used.index.str.removeprefix(f"{cohort.name}/")
    frame = cohort.tumours.loc[ids].set_axis(used.index)
    # The field behind the HER2 measure is there twice.
    twice = [c for c in frame.columns if c != _HER2 and frame[c].equals(frame[_HER2])]
    frame = frame.drop(columns=twice)
    derived: dict[str, Any] = {"cohort": cohort.name, "hr": used["hr"], "her2 class": used["her2_class"]}
    for name, to_cm in _SIZE_FIELDS.items():
        if name in frame.columns and pd.api.types.is_numeric_dtype(frame[name]):
            derived[_SIZE] = _size_class(frame[name] * to_cm)
    return frame.assign(**derived)


def _size_class(size_cm: pd.Series[float]) -> pd.Series[str]:
    classes = pd.Series(pd.NA, index=size_cm.index, dtype="str")
    for label, above, up_to in _SIZE_CLASSES:
        classes = classes.mask((size_cm > above) & (size_cm <= up_to), label)
    return classes


def _order(names: Sequence[str]) -> list[str]:
    """Sort as a reader expects; fields that the package does not know come last, as mapped."""
    known = [*_FIRST, *_THEN, _HER2]
    return [n for n in known if n in names] + [n for n in names if n not in known]


def _levels(name: str, values: pd.Series) -> list[str] | str | None:
    """Levels of a category in order, None for a number, or why there is neither."""
    recorded = values.dropna()
    numeric = all(isinstance(v, int | float) for v in recorded)
    distinct = recorded.unique()
    if numeric:
        whole = all(float(v).is_integer() for v in distinct)
        if not whole or not 0 < len(distinct) <= _CODE_LEVELS or name in (_HER2, "age"):
            return None
        return [as_label(v) for v in sorted(float(v) for v in distinct)]
    levels = sorted({as_label(v) for v in distinct})
    if len(levels) > MAX_LEVELS:
        return f"{len(levels)} different values"
    given = {
        "her2 class": HER2_CLASSES,
        _SIZE: tuple(label for label, *_ in _SIZE_CLASSES),
        "hr": ("HR+", "HR-"),
    }
    order = given.get(name, ())
    return [v for v in order if v in levels] + [v for v in levels if v not in order]


def _rows(name: str, cohort: str, values: pd.Series, levels: list[str] | str | None) -> list[dict[str, Any]]:
    recorded = values.dropna()
    n, n_missing = len(values), len(values) - len(recorded)
    base = {"variable": name, "level": "", "cohort": cohort, "n_missing": n_missing}
    missing = base | {
        "level": MISSING,
        "statistic": COUNT if len(recorded) else NOT_RECORDED,
        "n": n_missing,
        "percent": 100.0 * n_missing / n,
    }
    if isinstance(levels, str):
        found = base | {"level": levels, "statistic": NOT_TABULATED, "n": len(recorded)}
        return [*([found] if len(recorded) else []), missing]
    if levels is None:
        if recorded.empty:
            return [missing]
        q1, median, q3 = (float(q) for q in recorded.astype(float).quantile([0.25, 0.5, 0.75]))
        found = base | {"statistic": QUARTILES, "n": len(recorded), "median": median, "q1": q1, "q3": q3}
        return [found, missing]
    counts = recorded.map(as_label).value_counts()
    found_levels: list[dict[str, Any]] = [
        base
        | {
            "level": level,
            "statistic": COUNT,
            "n": int(counts.get(level, 0)),
            "percent": 100.0 * int(counts.get(level, 0)) / n,
        }
        for level in levels
    ]
    counted = sum(row["n"] for row in found_levels)
    if counted + n_missing != n:
        raise RuntimeError(
            f"Table 1, {name!r} of {cohort}: {counted} tumours in levels and {n_missing} missing are not all {n}."
        )
    return [*(found_levels if len(recorded) else []), missing]
