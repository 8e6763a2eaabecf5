"""The audit of published claims as a page of its own: tables in, HTML and figures out. Computes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from markupsafe import Markup

from bayes_her2.report.figures import Drawing, drawn
from bayes_her2.report.load import Results, Rows, StudyText
from bayes_her2.report.render import templates
from bayes_her2.report.sections import audit
from bayes_her2.report.tables import Table

IN_RUN = "tables/"
"""Where the tables of a run's results folder lie; the folder of an audit has them beside the page."""


@dataclass(frozen=True)
class About:
    """What the head of the page says: the table of claims, its hash, level, version and date."""

    source: str
    sha256: str
    alpha: float
    version: str
    made: str
    citation: str = ""


@dataclass(frozen=True)
class AuditPage:
    """The page before it is written.

    Attributes
    ----------
    html
        Without any request to elsewhere: styles and figures are inside.
    headline
        One sentence.
    tables, figures
        By name, numbered in reading order.
    """

    html: str
    headline: str
    tables: Mapping[str, Table]
    figures: Mapping[str, Drawing]


def audit_page(rows: Mapping[str, Rows], about: About) -> AuditPage:
    """Compose the page of an audit.

    Parameters
    ----------
    rows
        Rows of ``audit``, ``replication``, ``contradictions``, ``audit_prior_sweep`` and ``audit_priors``.
    about
        What the head of the page says.

    Raises
    ------
    FigureError
        If the figure cannot be drawn.
    """
    results = _as_results(rows)
    order = ("summary", "in_words", "claims", "contradictions", "posteriors", "priors", "replication")
    made = {table.name: table for table in audit.made_tables(results)}
    reading = [made[f"audit_{name}"] for name in order if f"audit_{name}" in made]
    tables = {
        table.name: replace(table, number=i, source=table.source.removeprefix(IN_RUN))
        for i, table in enumerate(reading, start=1)
    }
    figures = drawn(results, audit.SECTION.figures)
    headline = audit.headline(results)
    environment = templates()
    text = environment.get_template("audit.html.j2").render(
        css=Markup(environment.get_template("report.css").render()),  # our own file
        t=tables,
        f=figures,
        headline=headline,
        source=about.source,
        citation=about.citation,
        sha256=about.sha256,
        alpha=f"{about.alpha:g}",
        version=about.version,
        made=about.made,
    )
    return AuditPage(text, headline, tables, figures)


def _as_results(rows: Mapping[str, Rows]) -> Results:
    """Tables of an audit in the shape that sections of the report read; there is no study behind them."""
    study = StudyText(
        name="Audit of published claims",
        description="",
        seed=None,
        simulated=False,
        truth=False,
        measure="",
        scale="absolute",
        rope=(1.0, 1.0),
        interval=0.95,
        alpha=0.05,
        false_discovery=0.05,
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
