"""The audit of published claims as a page of its own: tables in, HTML and figures out. Computes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bayes_her2.report.figures import drawn
from bayes_her2.report.load import Rows
from bayes_her2.report.sections import audit
from bayes_her2.report.standalone import About as Head
from bayes_her2.report.standalone import Page, composed, numbered, results_of

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


def audit_page(rows: Mapping[str, Rows], about: About) -> Page:
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
    results = results_of(rows, Head("Audit of published claims", about.version, about.made))
    order = ("summary", "in_words", "claims", "contradictions", "posteriors", "priors", "replication")
    made = {table.name: table for table in audit.made_tables(results)}
    tables = numbered(
        replace(made[f"audit_{name}"], source=made[f"audit_{name}"].source.removeprefix(IN_RUN))
        for name in order
        if f"audit_{name}" in made
    )
    return composed(
        "audit.html.j2",
        (audit.headline(results),),
        tables,
        drawn(results, audit.SECTION.figures),
        source=about.source,
        citation=about.citation,
        sha256=about.sha256,
        alpha=f"{about.alpha:g}",
        version=about.version,
        made=about.made,
    )
