"""Pages that stand alone, beside the report of a run: tables in, HTML and figures out. Computes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bayes_her2.files import write_bytes, write_text
from bayes_her2.report.figures import Drawing
from bayes_her2.report.load import Results, Rows, StudyText
from bayes_her2.report.render import templates
from bayes_her2.report.tables import Table


@dataclass(frozen=True)
class About:
    """What the head of a page says: the study, and when the page was made by which version."""

    study: str
    version: str
    made: str
    description: str = ""
    measure: str = ""
    seed: int | None = None
    simulated: bool = False
    interval: float = 0.95
    alpha: float = 0.05
    false_discovery: float = 0.05


@dataclass(frozen=True)
class Page:
    """A page before it is written.

    Attributes
    ----------
    html
        Without any request to elsewhere: styles, script and figures are inside.
    headline
        What it says, in sentences.
    tables, figures
        By name, numbered in reading order.
    """

    html: str
    headline: tuple[str, ...]
    tables: Mapping[str, Table]
    figures: Mapping[str, Drawing]


def rows_of(table: pd.DataFrame) -> tuple[Mapping[str, Any], ...]:
    """Give rows with None where a cell is empty, as pages read them."""
    plain = table.astype(object)
    records = plain.where(plain.notna(), None).to_dict("records")
    return tuple({str(column): cell for column, cell in record.items()} for record in records)


def results_of(rows: Mapping[str, Rows], about: About) -> Results:
    """Tables of a page in the shape that tables and figures of the report read; no run is behind them."""
    study = StudyText(
        name=about.study,
        description=about.description,
        seed=about.seed,
        simulated=about.simulated,
        truth=False,
        measure=about.measure,
        scale="relative",
        rope=(1.0, 1.0),
        interval=about.interval,
        alpha=about.alpha,
        false_discovery=about.false_discovery,
        covariates=(),
        centre=False,
        batch=False,
    )
    return Results(
        folder=Path(),
        study=study,
        provenance={},
        models={},
        left_out={},
        tables=rows,
        every_estimate=(),
        files=(),
    )


def numbered(made: Iterable[Table | None]) -> dict[str, Table]:
    """Tables by name, numbered in this order; what was not made is left out."""
    there = [table for table in made if table is not None]
    return {table.name: replace(table, number=i) for i, table in enumerate(there, start=1)}


def composed(
    template: str,
    headline: Sequence[str],
    tables: Mapping[str, Table],
    figures: Mapping[str, Drawing],
    **words: Any,
) -> Page:
    """Fill a template with tables (``t``), figures (``f``), headline and further words."""
    text = templates().get_template(template).render(t=tables, f=figures, headline=headline, **words)
    return Page(text, tuple(headline), tables, figures)


def write_page(page: Page, folder: Path, name: str) -> None:
    """Write a page, and its figures as SVG and PDF beside it."""
    for figure, drawing in page.figures.items():
        write_text(folder / "figures" / f"{figure}.svg", drawing.svg)
        write_bytes(folder / "figures" / f"{figure}.pdf", drawing.image.pdf)
    write_text(folder / name, page.html)
