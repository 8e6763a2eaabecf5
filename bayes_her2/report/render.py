"""Write the report: one HTML file and its figures, and documents where they are asked for; whole or not at all."""

from __future__ import annotations

import pickle
import signal
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bayes_her2 import __version__
from bayes_her2.errors import AnalysisRefusedError, DataError
from bayes_her2.files import write_bytes, write_text
from bayes_her2.report import formats, latex, words
from bayes_her2.report.checklist import FOR_THE_AUTHORS, Checked, absent, as_csv, checklist, counted
from bayes_her2.report.document import document
from bayes_her2.report.figures import NAMES, Drawing, Maker, each_drawn, makers, numbered
from bayes_her2.report.findings import findings
from bayes_her2.report.load import MODEL, Results, load_results
from bayes_her2.report.manuscript import as_markdown
from bayes_her2.report.maths import mathml
from bayes_her2.report.methods import methods
from bayes_her2.report.model_graph import graph_of
from bayes_her2.report.navigation import exhibits, headings, with_ways_back
from bayes_her2.report.printed import as_pdf, browser
from bayes_her2.report.sections import Section
from bayes_her2.report.sections.registry import SECTIONS as FURTHER
from bayes_her2.report.tables import Table, model_tables, tables
from bayes_her2.report.word import as_docx

Format = Literal["html", "docx", "latex", "pdf"]
FORMATS: tuple[Format, ...] = get_args(Format)
REPORT = "report.html"
WORD = "report.docx"
PRINTED = "report.pdf"
LATEX = "latex"
DOCUMENTS = {"docx": WORD, "latex": f"{LATEX}/{latex.SOURCE}", "pdf": PRINTED}
"""Format -> its file, beside the page."""
MANUSCRIPT = {"methods": "methods.md", "findings": "results.md"}
"""Section -> file of its text, for a manuscript."""
CHECKLIST = "checklist.csv"
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

OF_COHORTS = ("data", "zeros", "precision")
"""Sections that need cohorts."""

OF_THE_MAIN_MODEL = ("model", "diagnostics")
"""Sections that need the main model to have been fitted."""

OF_ITS_INFERENCE = ("results", "concordance", "cohorts", "checks", "cannot-say", "recovery")
"""Sections that need it to have passed its gates."""

BESIDE_EACH_OTHER = ("heterogeneity", "cohorts_overall", "cohorts_presence", "cohorts_amount")
"""Tables of the main model that set cohorts beside each other."""

WORTH_A_PROCESS = 24
"""Figures for each further process: fewer are drawn in less time than a process takes to start."""


@dataclass(frozen=True)
class Contents:
    """What a report will hold, before its figures are drawn.

    Attributes
    ----------
    sections, further, tables
        As in `Page`.
    makers
        What draws its figures, in reading order.
    of_tables, of_makers
        Anchor of the section of each table (by name) and of what each maker draws.
    """

    sections: tuple[tuple[str, str], ...]
    further: Mapping[str, tuple[Section, ...]]
    tables: Mapping[str, Table]
    makers: tuple[Maker, ...]
    of_tables: Mapping[str, str]
    of_makers: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """What a report holds, before it is written.

    Attributes
    ----------
    sections
        Anchor and title of each section, in order; the number is the position.
    further
        Anchor of a main section -> further sections that follow it.
    tables, figures
        By name, numbered in reading order.
    of_tables, of_figures
        Anchor of the section of each, by name.
    """

    sections: tuple[tuple[str, str], ...]
    further: Mapping[str, tuple[Section, ...]]
    tables: Mapping[str, Table]
    figures: Mapping[str, Drawing]
    of_tables: Mapping[str, str]
    of_figures: Mapping[str, str]

    @property
    def exhibits(self) -> tuple[tuple[str, Table | Drawing], ...]:
        """Figures and tables section by section, each with the anchor of its section."""
        made: list[tuple[str, Table | Drawing]] = []
        for anchor, _ in self.sections:
            made += [
                (anchor, drawing) for name, drawing in self.figures.items() if self.of_figures[name] == anchor
            ]
            made += [(anchor, table) for name, table in self.tables.items() if self.of_tables[name] == anchor]
        return tuple(made)


def render_report(
    results: Path, *, formats: Collection[str] = (), at_once: int = 1, home: Path | None = None
) -> Path:
    """Write ``report.html``, the texts for a manuscript and ``figures/`` (SVG and PDF of each) into a results folder.

    Reads nothing but that folder and computes no statistic. Everything is made before
    anything is written; each file is written under a temporary name and renamed. Rendering the same
    folder again gives the same bytes. Figures of an earlier rendering that this one does not have, and documents in a
    format that this one is not asked for, are removed, so that none outlives the run that made it.

    Parameters
    ----------
    results
        Folder that `bayes-her2 run` wrote.
    formats
        Beside the page: ``docx`` (``report.docx``), ``latex`` (``latex/report.tex`` with its figures), ``pdf``
        (``report.pdf``, the page as Chromium prints it).
    at_once
        Processes that draw figures. With more than 1, a script that calls this must do so under
        ``if __name__ == "__main__":``, as for `run_study`. The report is the same, byte for byte.
    home
        Where the folder will be, if it is still being written.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    DataError
        If a needed file is missing or malformed: all faults at once. If a format is not known, or Chromium not there.
    FigureError
        If a figure cannot be drawn. Nothing is written then.
    PrintError
        If Chromium does not print the page. Nothing is written then.
    """
    printer = printer_of(formats)  # before the minutes that figures take
    loaded = load_results(Path(results), [section.reads for section in FURTHER], home=home)
    page = compose(loaded, at_once=at_once, bitmaps="docx" in formats)
    text = html(loaded, page)
    documents = _documents(loaded, page, text, formats, printer)
    folder = loaded.folder / FIGURES
    for name, drawing in page.figures.items():
        write_text(folder / f"{name}.svg", drawing.svg)
        write_bytes(folder / f"{name}.pdf", drawing.image.pdf)
    report = loaded.folder / REPORT
    write_text(report, text)
    for name, title, paragraphs in (("methods", "Methods", methods), ("findings", "Results", findings)):
        file = loaded.folder / MANUSCRIPT[name]
        if name in dict(page.sections):
            write_text(file, as_markdown(title, loaded, paragraphs(loaded)))
        else:
            file.unlink(missing_ok=True)
    write_text(loaded.folder / CHECKLIST, as_csv(checked(loaded)))
    for name in _every_figure():
        if name not in page.figures:
            for suffix in ("svg", "pdf"):
                (folder / f"{name}.{suffix}").unlink(missing_ok=True)
    _replace_documents(loaded.folder, documents)
    return report


def _documents(
    results: Results, page: Page, text: str, formats: Collection[str], printer: str
) -> dict[str, bytes]:
    """Make the files of the formats asked for, by name in the results folder, in the order of writing."""
    made: dict[str, bytes] = {}
    if {"docx", "latex"} & set(formats):
        titles = dict(page.sections)
        outline_ = document(
            results,
            titles,
            page.exhibits,
            findings=findings(results) if "findings" in titles else (),
            methods=methods(results) if "methods" in titles else (),
            checked=checked(results),
        )
        if "docx" in formats:
            made[WORD] = as_docx(outline_)
        if "latex" in formats:
            made |= {f"{LATEX}/{name}": content for name, content in latex.files_of(outline_).items()}
    if "pdf" in formats:
        made[PRINTED] = as_pdf(text, printer)
    return made


def _replace_documents(folder: Path, made: Mapping[str, bytes]) -> None:
    """Put documents in place of those of an earlier rendering; what others put into the LaTeX folder stays.

    Its source goes first and comes last: where it stands, the figures beside it are its own.
    """
    sources = folder / LATEX
    figures = sources / latex.FIGURES
    earlier = [folder / WORD, folder / PRINTED, sources / latex.SOURCE, sources / latex.README]
    earlier += [(sources / latex.SOURCE).with_suffix(suffix) for suffix in latex.COMPILED]
    earlier += [figures / f"{name}.pdf" for name in _every_figure()]
    for path in earlier:
        path.unlink(missing_ok=True)
    for name, content in made.items():
        write_bytes(folder / name, content)
    for place in (figures, sources):
        with suppress(OSError):  # not there, or not empty
            place.rmdir()


def _every_figure() -> tuple[str, ...]:
    """Name every figure that some report may have."""
    graphs = ("graph", *(f"graph_{section.model}" for section in FURTHER if section.model))
    return (*NAMES, *graphs, *(name for section in FURTHER for name in section.figure_names))


def compose(results: Results, *, at_once: int = 1, bitmaps: bool = False) -> Page:
    """Choose the sections that the results call for, and make their tables and figures in reading order.

    Parameters
    ----------
    results
        What was read.
    at_once
        Processes that draw.
    bitmaps
        Whether figures are made as PNG too, for Word.
    """
    found = contents(results)
    drawn = _all_drawn(results, found.makers, at_once, bitmaps=bitmaps)
    return Page(
        sections=found.sections,
        further=found.further,
        tables=found.tables,
        figures=numbered(drawn),
        of_tables=found.of_tables,
        of_figures={
            d.name: anchor for d, anchor in zip(drawn, found.of_makers, strict=True) if d is not None
        },
    )


def contents(results: Results) -> Contents:
    """Choose the sections that the results call for, make their tables, and say what draws their figures."""
    own_tables, own_figures = tables(results), makers(results)
    order, further = outline(results)
    made: list[tuple[str, Table]] = []
    wanted: list[tuple[str, Maker]] = []
    for anchor, here in further.items():
        if anchor in dict(order):
            made += [(anchor, table) for table in own_tables.get(anchor, []) if _shown(table, results)]
            wanted += [(anchor, maker) for maker in own_figures.get(anchor, [])]
            if anchor == "model" and results.fitted:
                wanted.append((anchor, graph_of(MODEL)))
        for section in here:
            own: list[Table] = []
            if section.answered(results):
                own += section.tables(results)
                own += section.tables_of_places(results, dict(order))
                wanted += [(section.name, maker) for maker in section.figures]
            if section.model:
                own += model_tables(results, section.model)
                wanted.append((section.name, graph_of(section.model)))
            made += [(section.name, table) for table in own]
    return Contents(
        sections=order,
        further=further,
        tables={table.name: replace(table, number=i) for i, (_, table) in enumerate(made, start=1)},
        makers=tuple(maker for _, maker in wanted),
        of_tables={table.name: anchor for anchor, table in made},
        of_makers=tuple(anchor for anchor, _ in wanted),
    )


def _shown(table: Table, results: Results) -> bool:
    """Whether the page has a table: with one cohort, none that sets cohorts beside each other."""
    return len(results.cohorts) > 1 or table.name not in BESIDE_EACH_OTHER


def outline(results: Results) -> tuple[tuple[tuple[str, str], ...], dict[str, tuple[Section, ...]]]:
    """Give anchor and title of every section that the results call for, and further sections by what they follow."""
    order: list[tuple[str, str]] = []
    further: dict[str, tuple[Section, ...]] = {}
    for anchor, title in SECTIONS:
        if _main_section_shown(anchor, results):
            order.append((anchor, title))
        further[anchor] = tuple(s for s in FURTHER if s.after == anchor and s.shown(results))
        order += [(section.name, section.title) for section in further[anchor]]
    return tuple(order), further


def checked(results: Results) -> tuple[Checked, ...]:
    """Look for every item of the reporting guidelines; see `bayes_her2.report.checklist`."""
    return checklist(results, dict(outline(results)[0]))


def printer_of(formats: Collection[str]) -> str:
    """Return what prints the page as PDF, '' where that is not asked for.

    Raises
    ------
    DataError
        If a format is not known, or Chromium not there.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise DataError(f"format {', '.join(map(repr, unknown))}: not known. There are {', '.join(FORMATS)}.")
    return browser() if "pdf" in formats else ""


def require_every_item(results: Path) -> None:
    """Look for every item of the reporting guidelines in a results folder (``--strict``).

    Parameters
    ----------
    results
        Folder that `bayes-her2 run` wrote.

    Raises
    ------
    DataError
        As of `render_report`.
    AnalysisRefusedError
        An item is absent: each in a line, with what to do.
    """
    loaded = load_results(Path(results), [section.reads for section in FURTHER])
    lacking = absent(checked(loaded))
    if lacking:
        lines = "\n".join(f"  {i}. {line}" for i, line in enumerate(lacking, start=1))
        raise AnalysisRefusedError(
            f"{loaded.folder}: items of the reporting checklist are absent:\n{lines}\n"
            f"The report is written; {loaded.folder / CHECKLIST} has every item."
        )


def _all_drawn(
    results: Results, wanted: tuple[Maker, ...], at_once: int, *, bitmaps: bool
) -> list[Drawing | None]:
    """Draw figures in processes side by side, each every n-th; in the order of `wanted`."""
    n = min(at_once, 1 + len(wanted) // WORTH_A_PROCESS)
    made: list[Drawing | None] = [None] * len(wanted)
    with TemporaryDirectory() as folder:
        context = get_context("spawn")  # a process that has used threads cannot be forked safely
        files = {first: Path(folder) / str(first) for first in range(1, n)}
        others = {
            first: context.Process(target=_draw_share, args=(results, first, n, file, bitmaps), daemon=True)
            for first, file in files.items()
        }
        try:
            for other in others.values():
                with suppress(OSError):  # ended before it had what it was sent
                    other.start()
            made[0::n] = each_drawn(results, wanted[0::n], bitmaps=bitmaps)
            for first, other in others.items():
                if other.pid:
                    other.join()
                # What another process did not draw, because it was ended or met an error, is drawn here.
                made[first::n] = (
                    pickle.loads(files[first].read_bytes())
                    if other.exitcode == 0
                    else each_drawn(results, wanted[first::n], bitmaps=bitmaps)
                )
        finally:
            for other in others.values():
                if other.is_alive():
                    other.terminate()
                    other.join()
    return made


def _draw_share(results: Results, first: int, step: int, file: Path, bitmaps: bool) -> None:
    """Draw every n-th figure of a report into a file: what draws them cannot be sent to another process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one ends it
    try:
        drawn = each_drawn(results, contents(results).makers[first::step], bitmaps=bitmaps)
    except Exception:  # noqa: BLE001 - met again, and told, by the process that started this one
        raise SystemExit(1) from None
    file.write_bytes(pickle.dumps(drawn))


def templates() -> Environment:
    """Return the templates of the report's pages; text is escaped, and what a template lacks is an error."""
    environment = Environment(
        loader=PackageLoader("bayes_her2.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # Drawn here, its text escaped by matplotlib.
    environment.filters["svg"] = lambda drawing: Markup(drawing.inline)
    environment.filters["maths"] = lambda latex: Markup(mathml(latex))  # of known commands alone
    environment.filters |= {"headings": headings, "exhibits": exhibits, "with_ways_back": with_ways_back}
    # Our own files, which every page has inside.
    environment.globals |= {
        name: Markup(environment.get_template(f"report.{name}").render()) for name in ("css", "js")
    }
    return environment


def _main_section_shown(anchor: str, results: Results) -> bool:
    if anchor in OF_COHORTS:
        return results.study.with_cohorts
    if anchor in OF_THE_MAIN_MODEL:
        return results.fitted
    if anchor == "recovery":
        return results.answered and bool(results.rows("recovery"))
    if anchor in OF_ITS_INFERENCE:
        return results.answered
    return bool(results.complete) if anchor == "provenance" else True


def html(results: Results, page: Page) -> str:
    """Return the page as text.

    Parameters
    ----------
    results
        What was read.
    page
        Sections, tables and figures.

    Returns
    -------
    str
        HTML without any request to elsewhere: styles, script and figures are inside.
    """
    found = checked(results)
    template = templates().get_template("report.html.j2")
    return template.render(
        r=results,
        study=results.study,
        t=page.tables,
        f=page.figures,
        titles=dict(page.sections),
        number={anchor: i for i, (anchor, _) in enumerate(page.sections)},
        further=page.further,
        r_classical=[name for name in page.tables if name.startswith("classical_")],
        fmt=formats,
        words=words,
        methods=methods(results) if "methods" in dict(page.sections) else (),
        findings=findings(results) if "findings" in dict(page.sections) else (),
        checked=found,
        counted=counted(found),
        left_to_authors=FOR_THE_AUTHORS,
        provenance=_provenance(results.provenance),
        renderer=__version__,
    )


def _provenance(content: Mapping[str, Any]) -> dict[str, Any]:
    """Provenance with every group there, possibly empty, and values as text."""
    groups = {
        name: {str(key): str(value) for key, value in (content.get(name) or {}).items()}
        for name in ("versions",)
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
