"""Items of reporting guidelines, and where each is in the report."""

from __future__ import annotations

from collections.abc import Mapping

from bayes_her2.report.checklist import SOURCES, Checked, checklist
from bayes_her2.report.load import Results
from bayes_her2.report.sections import Section
from bayes_her2.report.tables import Cell, Column, Line, Table


def tables_of_places(results: Results, titles: Mapping[str, str]) -> list[Table]:
    """Make a table for each guideline."""
    found = checklist(results, titles)
    return [_of_guideline(name, [c for c in found if c.guideline == name]) for name in SOURCES]


def _of_guideline(name: str, found: list[Checked]) -> Table:
    lines = []
    for c in found:
        lines.append(
            Line(
                c.number,
                (
                    Cell(c.asks, look="wrap"),
                    Cell(c.found.state, look="failed" if c.found.state == "absent" else ""),
                    Cell(c.found.how, look="wrap", sub=c.where),
                ),
            )
        )
    return Table(
        f"checklist_{name.lower()}",
        f"{SOURCES[name]}: items, in our words, and where this report has them.",
        "Item",
        (
            Column("Asks for", words=True),
            Column("State", words=True),
            Column("What is there, and where", words=True),
        ),
        tuple(lines),
        "checklist.csv",
        small=True,
    )


SECTION = Section(
    name="checklist", title="Reporting checklist", after="recovery", tables_of_places=tables_of_places
)
