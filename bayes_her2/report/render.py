"""Write the report: one HTML file and its figures, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bayes_her2.files import write_text
from bayes_her2.report import formats, words
from bayes_her2.report.figures import NAMES, Drawing, drawings
from bayes_her2.report.load import Results, load_results
from bayes_her2.report.tables import Table, tables

REPORT = "report.html"
FIGURES = "figures"

SECTIONS = (
    ("summary", "Summary"),
    ("data", "Data and exclusions"),
    ("zeros", "Zero shares and what is modelled"),
    ("precision", "What these data can resolve"),
    ("model", "Model and priors"),
    ("diagnostics", "Diagnostics"),
    ("results", "Main results"),
    ("concordance", "Posterior beside frequentist twin"),
    ("cohorts", "Cohort by cohort"),
    ("checks", "Posterior predictive checks"),
    ("cannot-say", "What these data cannot say"),
    ("recovery", "Recovery of the planted truth"),
    ("provenance", "Limits, provenance and citation"),
)
"""Anchor and title of each section; the number is the position."""

LAST_WHEN_REFUSED = 5


def render_report(results: Path) -> Path:
    """Write ``report.html`` and ``figures/*.svg`` into a results folder.

    Reads nothing but that folder and computes no statistic. Everything is drawn before
    anything is written; each file is written under a temporary name and renamed. Rendering the same
    folder again gives the same bytes. Figures of an earlier rendering that this one does not have are
    removed, so that none outlives the run that made it.

    Parameters
    ----------
    results
        Folder that `bayes-her2 run` wrote.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    DataError
        If a needed file is missing or malformed: all faults at once.
    FigureError
        If a figure cannot be drawn. Nothing is written then.
    """
    loaded = load_results(Path(results))
    figures = drawings(loaded)
    page = html(loaded, figures, tables(loaded))
    folder = loaded.folder / FIGURES
    for name, drawing in figures.items():
        write_text(folder / f"{name}.svg", drawing.svg)
    report = loaded.folder / REPORT
    write_text(report, page)
    for name in NAMES:
        if name not in figures:
            (folder / f"{name}.svg").unlink(missing_ok=True)
    return report


def html(results: Results, figures: Mapping[str, Drawing], made: Mapping[str, Table]) -> str:
    """Return the page as text.

    Parameters
    ----------
    results
        What was read.
    figures, made
        Figures and tables by name, numbered.

    Returns
    -------
    str
        HTML without any request to elsewhere: styles and figures are inside.
    """
    environment = Environment(
        loader=PackageLoader("bayes_her2.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["svg"] = lambda drawing: Markup(
        drawing.inline
    )  # drawn here, text escaped by matplotlib
    numbered = [(i, anchor, title) for i, (anchor, title) in enumerate(SECTIONS)]
    shown = [
        section
        for section in numbered
        if (section[0] <= LAST_WHEN_REFUSED if results.refused else True)
        and (section[1] != "recovery" or results.rows("recovery"))
    ]
    css = environment.get_template("report.css").render()
    return environment.get_template("report.html.j2").render(
        css=Markup(css),  # our own file
        r=results,
        study=results.study,
        t=made,
        f=figures,
        sections=[(i, anchor, title) for i, (_, anchor, title) in enumerate(shown)],
        titles={anchor: title for _, anchor, title in shown},
        number={anchor: i for i, (_, anchor, _) in enumerate(shown)},
        r_classical=[name for name in made if name.startswith("classical_")],
        fmt=formats,
        words=words,
        provenance=_provenance(results.provenance),
    )


def _provenance(content: Mapping[str, Any]) -> dict[str, Any]:
    """Provenance with every group there, possibly empty, and values as text."""
    groups = {
        name: {str(key): str(value) for key, value in (content.get(name) or {}).items()}
        for name in ("versions", "fingerprints", "sampler")
    }
    seconds = {
        str(k): formats.number(float(v)) if isinstance(v, int | float) else str(v)
        for k, v in (content.get("seconds") or {}).items()
    }
    single = {
        name: str(content.get(name) if content.get(name) is not None else formats.MISSING)
        for name in ("package_version", "started", "finished", "seed", "decisions_hash", "status")
    }
    return {**groups, **single, "seconds": seconds}
