"""The report as a manuscript: a format-free outline of parts, headings, paragraphs, tables and figures.

Word and LaTeX are written from it, so that both say the same. First what a manuscript needs (results in words, main
tables and figures, methods, what the data cannot say, reporting checklist), then a supplement with every other
table and figure of the page, in its order. Numbers of tables and figures are those of the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from bayes_her2.report import words
from bayes_her2.report.checklist import FOR_THE_AUTHORS, Checked, absent, counted
from bayes_her2.report.figures import Drawing
from bayes_her2.report.formats import sentence
from bayes_her2.report.load import Results
from bayes_her2.report.manuscript import Paragraph
from bayes_her2.report.paper import Paper, paper_of
from bayes_her2.report.tables import Table
from bayes_her2.report.words import Point

MAIN_TABLES = (
    "headline",
    "flow",
    "table_one",
    "main_results",
    "verdict_counts",
    "heterogeneity",
    "evidence_pooled",
    "response_counts",
    "response_answers",
)
"""Tables of the manuscript itself; every other one is in its supplement."""

MAIN_FIGURES = (
    "forest",
    "interaction",
    "high_abundance_odds",
    "rank_correlation_bars",
    "marginal_slopes_observed",
    "clinical_odds",
    "evidence_odds_ratios",
    "evidence_hazard_ratios",
    "response_curves",
)
"""Its figures: those of the main model, and one or two of every further model."""


@dataclass(frozen=True)
class Heading:
    """A heading; the title of the document is above level 1."""

    text: str
    level: int = 1


@dataclass(frozen=True)
class Words:
    """One paragraph."""

    text: str
    kind: Literal["body", "lead", "meta", "warning"] = "body"


@dataclass(frozen=True)
class Points:
    """A list; a point may have no heading."""

    items: tuple[Point, ...]


@dataclass(frozen=True)
class Formula:
    """One formula on a line of its own, in LaTeX."""

    latex: str


Block = Heading | Words | Points | Formula | Table | Drawing


@dataclass(frozen=True)
class Part:
    """What begins on a page of its own; `wide` for exhibits, on pages that lie across or stand upright as they need."""

    blocks: tuple[Block, ...]
    wide: bool = False


@dataclass(frozen=True)
class Sheet:
    """Blocks that follow each other on pages of one kind."""

    paper: Paper
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A report that is to be edited.

    Attributes
    ----------
    title, study
        Heading of the report, and the study's name.
    simulated
        What every page says where the data are simulated; otherwise empty.
    made
        When the run was finished, as recorded.
    parts
        In order.
    """

    title: str
    study: str
    simulated: str
    made: str
    parts: tuple[Part, ...]

    @property
    def blocks(self) -> Iterator[Block]:
        """All blocks, in order."""
        return (block for part in self.parts for block in part.blocks)

    @property
    def sheets(self) -> tuple[Sheet, ...]:
        """Blocks by the kind of page that they stand on; a heading is on the page of what follows it."""
        made: list[Sheet] = []
        for part in self.parts:
            pairs = zip(_papers(part), part.blocks, strict=True)
            for paper, run in groupby(pairs, key=lambda pair: pair[0]):
                made.append(Sheet(paper, tuple(block for _, block in run)))
        return tuple(made)


def _papers(part: Part) -> list[Paper]:
    """Page of each block; a heading is on that of what follows it."""
    if not part.wide:
        return ["text" for _ in part.blocks]
    made: list[Paper] = []
    before: Paper = "across"
    for i, block in enumerate(part.blocks):
        exhibit = next((b for b in part.blocks[i:] if isinstance(b, Table | Drawing)), None)
        paper = before if exhibit is None else paper_of(exhibit, before)
        made.append(paper)
        before = before if isinstance(block, Heading) else paper
    return made


def document(
    results: Results,
    titles: Mapping[str, str],
    exhibits: Sequence[tuple[str, Table | Drawing]],
    *,
    findings: Sequence[Paragraph],
    methods: Sequence[Paragraph],
    checked: Sequence[Checked],
) -> Document:
    """Put together what the documents hold.

    Parameters
    ----------
    results
        What was read.
    titles
        Anchor -> title of the sections of the page.
    exhibits
        Its tables and figures, numbered, each with the anchor of its section; in the order of the page.
    findings, methods
        Results and methods in words; none where the page has no such section.
    checked
        Items of the reporting guidelines.

    Returns
    -------
    Document
        Every table and figure of the page stands in it once.
    """
    main = [exhibit for _, exhibit in exhibits if _is_main(exhibit)]
    lists = [exhibit for anchor, exhibit in exhibits if anchor == "checklist"]
    files = [exhibit for anchor, exhibit in exhibits if anchor == "provenance"]
    rest = [
        (anchor, exhibit)
        for anchor, exhibit in exhibits
        if anchor not in ("checklist", "provenance") and not _is_main(exhibit)
    ]
    parts = [
        Part((*_front(results, titles), *_paragraphs(titles.get("findings", ""), findings))),
        Part((Heading("Main tables and figures"), *main) if main else (), wide=True),
        Part((*_paragraphs(titles.get("methods", ""), methods), *_limits(results, titles))),
        Part(
            (
                Heading(titles["checklist"]),
                Words(counted(checked)),
                *_list("Absent", absent(checked)),
                *lists,
                *_list("Left to the authors", [sentence(item) for item in FOR_THE_AUTHORS]),
            )
            if "checklist" in titles
            else ()
        ),
        Part((Heading("Supplement"), *_supplement(rest, titles)) if rest else (), wide=True),
        Part((*_provenance(results, titles), *files)),
    ]
    return Document(
        title=words.title(results, titles),
        study=results.study.name,
        simulated="SIMULATED DATA" if results.study.simulated else "",
        made=str(results.provenance.get("finished") or ""),
        parts=tuple(part for part in parts if part.blocks),
    )


def _front(results: Results, titles: Mapping[str, str]) -> Iterator[Block]:
    """Say under the title what the document is about, and warn."""
    if results.study.simulated:
        yield Words(words.simulated_line(titles, "in this document"), "warning")
    description = f". {sentence(results.study.description)}" if results.study.description else ""
    yield Words(f"{results.study.name}{description}", "lead")
    provenance = results.provenance
    yield Words(
        f"bayes_her2 {provenance.get('package_version')}; seed {provenance.get('seed')}; finished "
        f"{provenance.get('finished')}. Tables and figures have the numbers of report.html.",
        "meta",
    )
    if results.study.with_cohorts:
        yield Words(words.question(results))
    refused = [(name, record) for name, record in results.models.items() if record.refused]
    for name, record in refused:
        yield Words(
            f"The analysis refused to answer: no inference of the model {name} is printed.", "warning"
        )
        yield Points(tuple(Point("", reason) for reason in record.reasons))


def _paragraphs(title: str, paragraphs: Iterable[Paragraph]) -> Iterator[Block]:
    """Paragraphs for a manuscript under their headings; nothing where there are none."""
    made = list(paragraphs)
    if made:
        yield Heading(title)
    for paragraph in made:
        yield Heading(paragraph.heading, 2)
        yield from (Words(part) for part in paragraph.parts)
        yield from (Formula(formula) for formula in paragraph.formulas)


def _limits(results: Results, titles: Mapping[str, str]) -> Iterator[Block]:
    if "cannot-say" in titles:
        yield Heading(titles["cannot-say"])
        yield Points(words.cannot_say(results))
    if results.complete:
        yield from _list("Limits", words.limits(results), level=1)


def _list(title: str, lines: Iterable[str], level: int = 2) -> Iterator[Block]:
    points = tuple(Point("", line) for line in lines)
    if points:
        yield Heading(title, level)
        yield Points(points)


def _is_main(exhibit: Table | Drawing) -> bool:
    return exhibit.name in (MAIN_TABLES if isinstance(exhibit, Table) else MAIN_FIGURES)


def _supplement(
    exhibits: Iterable[tuple[str, Table | Drawing]], titles: Mapping[str, str]
) -> Iterator[Block]:
    """Further tables and figures under the titles of their sections."""
    for anchor, here in groupby(exhibits, key=lambda pair: pair[0]):
        yield Heading(titles[anchor], 2)
        yield from (exhibit for _, exhibit in here)


def _provenance(results: Results, titles: Mapping[str, str]) -> Iterator[Block]:
    """Say what a reader needs to find the run again."""
    if "provenance" not in titles:
        return
    content = results.provenance
    yield Heading(titles["provenance"])
    pairs = [
        ("Package", f"bayes_her2 {content.get('package_version')}"),
        ("Started, finished", f"{content.get('started')}, {content.get('finished')}"),
        ("Seed", content.get("seed")),
        ("Hash of priors, ROPE and decision rule", content.get("decisions_hash")),
        *((f"Fingerprint, {name}", record.fingerprint) for name, record in results.models.items()),
        *((f"Sampler, {name}", _settings(record.sampler)) for name, record in results.models.items()),
        ("Versions", _settings(content.get("versions") or {})),
    ]
    yield Points(tuple(Point(name, str(value)) for name, value in pairs if value))


def _settings(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
