"""Measures of the pages of Word and LaTeX: how wide columns are, how small their text, how large figures.

Both lay tables out by the same measures (of Helvetica, which Arial shares), so that a table that fits in one fits in
the other. Lengths are points, 72 to an inch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bayes_her2.report.figures import Drawing
from bayes_her2.report.tables import Line, Table

Paper = Literal["text", "across", "upright"]
"""Page of text; page of exhibits that lies across, and one that stands upright."""

MM = 72 / 25.4
A4 = (210 * MM, 297 * MM)
MARGINS: dict[Paper, float] = {"text": 25 * MM, "across": 15 * MM, "upright": 15 * MM}
SIZES = (8.0, 7.5, 7.0, 6.5)
"""Sizes of the text of tables, the first that fits; the last for all that do not."""
SMALL = 0.88
"""Size of the second line of a cell, over that of the first."""
PAD = 2.6
"""Space on each side of a column."""
CAPTION = 8.5
LINE = 1.22
"""Distance between lines over the size of the text."""
TOGETHER = 10
"""Rows of one heading that are kept on a page; more are divided."""
LONGEST = 20
"""Letters of a word, such as a file's name, that may not be divided."""

WIDTHS = (
    "278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 556 278 278 "
    "584 584 584 556 1015 667 667 722 722 667 611 778 722 278 500 667 556 833 722 778 667 778 722 667 611 722 667 944 "
    "667 667 611 278 278 278 469 556 333 556 556 500 556 556 278 556 556 222 222 500 222 833 556 556 556 556 333 500 "
    "278 556 500 722 500 500 500 334 260 334 584"
)
"""Helvetica's widths of the letters from space to tilde, in thousandths of the size."""
_WIDTH = {chr(code): int(width) / 1000 for code, width in enumerate(WIDTHS.split(), start=32)} | {
    "\u00a0": 0.278
}
BOLD = 1.12
"""Width of bold letters over that of others."""
STRONG = frozenset({"strong", "away", "verdict", "failed"})
"""Looks of cells whose text is bold."""
TALL = 0.8
"""Height over width of a figure from which it stands on an upright page."""
LONG = 36
"""Rows of a narrow table from which it stands on an upright page: those of a page that lies across."""


@dataclass(frozen=True)
class Columns:
    """Size of a table's text, and the width of each column's text, the stub first."""

    size: float
    widths: tuple[float, ...]


@dataclass(frozen=True)
class _Need:
    """What a column takes at size 1: not to wrap at all, at least, and for what it mostly holds."""

    natural: float
    least: float
    usual: float


def room(paper: Paper) -> tuple[float, float]:
    """Width and height of the text of a page."""
    width, height = (A4[1], A4[0]) if paper == "across" else A4
    margin = MARGINS[paper]
    return width - 2 * margin, height - 2 * margin


def paper_of(exhibit: Table | Drawing, before: Paper) -> Paper:
    """Choose the page of a table or figure; what fits on either stays with what was before it."""
    width, _ = room("upright")
    if isinstance(exhibit, Drawing):
        own_width, height = exhibit.size
        if height > TALL * own_width:
            return "upright"
        return before if own_width <= 1.1 * width else "across"
    needs = _needs(exhibit, whole=True)
    if sum(SIZES[0] * need.natural + 2 * PAD for need in needs) > width:
        return "across"
    return "upright" if len(exhibit.lines) > LONG else before


def measured(text: str) -> float:
    """Width of a text at size 1."""
    return sum(_WIDTH.get(letter, 0.6) for letter in text)


def one_line(text: str) -> str:
    """Text without line breaks and repeated spaces; spaces that may not break a line stay."""
    return " ".join(
        part for part in text.replace("\t", " ").replace("\r", " ").replace("\n", " ").split(" ") if part
    )


def columns(table: Table, paper: Paper) -> Columns:
    """Choose the size of a table's text and the widths of its columns.

    Numbers keep in one line as long as the table fits so at some size; words wrap at spaces. What is left is shared by
    the length of the text.
    """
    width, _ = room(paper)
    for whole in (True, False):
        needs = _needs(table, whole=whole)
        for size in SIZES:
            free = width - 2 * PAD * len(needs)
            if sum(need.least for need in needs) * size <= free:
                return Columns(size, _shared(needs, size, free))
    needs = _needs(table, whole=False)
    scale = (width - 2 * PAD * len(needs)) / sum(need.least for need in needs)
    return Columns(SIZES[-1], tuple(need.least * scale for need in needs))


def _needs(table: Table, *, whole: bool) -> list[_Need]:
    stub = [(line.heading, "", bool(line.look == "strong")) for line in table.lines if line.span]
    needs = [_need(table.stub, stub, words=True, whole=whole)]
    for i, column in enumerate(table.columns):
        cells = [
            (
                line.cells[i].letters,
                line.cells[i].sub,
                bool(STRONG & {*line.look.split(), *line.cells[i].look.split()}),
            )
            for line in table.lines
        ]
        needs.append(_need(column.label, cells, words=column.words, whole=whole))
    return needs


def _need(label: str, cells: Sequence[tuple[str, str, bool]], *, words: bool, whole: bool) -> _Need:
    naturals = [0.0]
    leasts = [0.0]
    together = [0.0]
    for text, sub, bold in cells:
        weight = BOLD if bold else 1.0
        above, below = weight * measured(text), SMALL * measured(sub)
        naturals += [above, below if words else min(below, 1.3 * above)]
        leasts += [weight * _longest(text) if words or not whole else above, SMALL * _longest(sub)]
        together.append(above + below)
    head = BOLD * max(_longest(label), measured(label) / 2.6)
    natural, least = max(*naturals, head), max(*leasts, BOLD * _longest(label))
    if words:  # a column of a word or two need not be narrower than they are
        least = max(least, min(natural, 9.0))
    return _Need(max(natural, least) * 1.01 + 0.15, least * 1.01 + 0.15, sum(together) / len(together))


def _longest(text: str) -> float:
    """Width of the longest piece that a line break does not divide; long words, such as hashes, are divided."""
    return max((measured(piece[:LONGEST]) for piece in one_line(text).split(" ")), default=0.0)


def _shared(needs: Sequence[_Need], size: float, free: float) -> tuple[float, ...]:
    natural = [size * need.natural for need in needs]
    least = [size * need.least for need in needs]
    if sum(natural) <= free:
        return tuple(natural)
    widths, open_ = least, [n > m for n, m in zip(natural, least, strict=True)]
    while (left := free - sum(widths)) > 0.01 and any(
        open_
    ):  # by what columns mostly hold, to what each takes at most
        share = left / sum(need.usual for need, more in zip(needs, open_, strict=True) if more)
        widths = [
            min(n, width + share * need.usual) if more else width
            for n, width, need, more in zip(natural, widths, needs, open_, strict=True)
        ]
        open_ = [n - width > 0.01 for n, width in zip(natural, widths, strict=True)]
    return tuple(widths)


def is_short(table: Table, laid: Columns, paper: Paper) -> bool:
    """Whether a table is kept on one page: it takes a third of it at most."""
    return sum(_height(line, laid) for line in table.lines) <= room(paper)[1] / 3


def in_pieces(table: Table, laid: Columns, paper: Paper) -> tuple[Line, ...]:
    """Divide groups of rows that are long into pieces that stay together on a page, each with the heading again.

    Parameters
    ----------
    table
        As it is on the page of the report, where one heading may span a hundred rows.
    laid
        Its columns.
    paper
        Where it is printed.
    """
    _, height = room(paper)
    made: list[Line] = []
    at = 0
    while at < len(table.lines):
        group = table.lines[at : at + max(table.lines[at].span, 1)]
        heights = [_height(line, laid) for line in group]
        n = max(math.ceil(len(group) / TOGETHER), math.ceil(sum(heights) / (height / 3)))
        size = math.ceil(len(group) / min(n, len(group)))
        for first in range(0, len(group), size):
            piece = group[first : first + size]
            made.append(replace(piece[0], heading=group[0].heading, span=len(piece)))
            made += [replace(line, span=0) for line in piece[1:]]
        at += len(group)
    return tuple(made)


def _height(line: Line, laid: Columns) -> float:
    """Height of a row, about."""
    texts = [(line.heading if line.span else "", ""), *((cell.letters, cell.sub) for cell in line.cells)]
    lines = [
        math.ceil(laid.size * measured(text) / width)
        + SMALL * math.ceil(SMALL * laid.size * measured(below) / width)
        for (text, below), width in zip(texts, laid.widths, strict=True)
    ]
    return max(1.0, *lines) * laid.size * LINE + 2


def fitted(drawing: Drawing, paper: Paper) -> tuple[float, float]:
    """Width and height of a figure on a page that its caption stands on too; never larger than drawn."""
    width, height = room(paper)
    lines = math.ceil(1.05 * CAPTION * measured(drawing.caption) / width) + 1
    free = height - lines * CAPTION * LINE - 52  # a heading, and air
    own_width, own_height = drawing.size
    scale = min(1.0, width / own_width, free / own_height)
    return own_width * scale, own_height * scale
