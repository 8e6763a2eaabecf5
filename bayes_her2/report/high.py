"""Words and marks for high abundance, which two sections of the report share."""

from __future__ import annotations

from collections.abc import Iterable

from bayes_her2.report import formats
from bayes_her2.report.load import Row

HIGH = "High: at or above the cohort's median where under 25 % of its tumours lack the cell type, present otherwise."
MIXED, LEFT_OUT = "\u2020", "\u2021"
"""Marks of cell types: two meanings of high in one pooled ratio; left out by the seed study."""
WORDS = {"median": "at or above the median", "presence": "present"}


def rules_of(counts: Iterable[Row]) -> dict[str, dict[str, Row]]:
    """Cell type -> cohort -> a row of the counts, with what high means there."""
    found: dict[str, dict[str, Row]] = {}
    for row in counts:
        found.setdefault(row["cell_type"], {}).setdefault(row["cohort"], row)
    return found


def marked(cell: str, rules: dict[str, dict[str, Row]]) -> str:
    """Name of a cell type, with the marks that its rules call for."""
    own = rules.get(cell, {}).values()
    marks = [MIXED] if len({row["high_rule"] for row in own}) > 1 else []
    marks += [LEFT_OUT] if any(row["rule"] == "excluded" for row in own) else []
    return " ".join([cell, *marks])


def mark_notes(cells: Iterable[str], rules: dict[str, dict[str, Row]]) -> tuple[str, ...]:
    """Say what the marks of these cell types mean."""
    shown = list(cells)
    mixed = [c for c in shown if MIXED in marked(c, rules)]
    left_out = [c for c in shown if LEFT_OUT in marked(c, rules)]
    notes = []
    if mixed:
        each = "; ".join(
            f"{cell}: {', '.join(f'{WORDS[row["high_rule"]]} in {c}' for c, row in rules[cell].items())}"
            for cell in mixed
        )
        notes.append(f"{MIXED} Two meanings of high in one pooled odds ratio. {each}.")
    if left_out:
        each = "; ".join(
            f"{cell} ({formats.listed(c for c, row in rules[cell].items() if row['rule'] == 'excluded')})"
            for cell in left_out
        )
        notes.append(
            f"{LEFT_OUT} Absent from more than 75 % of a cohort's tumours, where the seed study leaves the cell type "
            f"out; here it is cut at presence. {each}."
        )
    return tuple(notes)
