"""Draw the figures of the report: rows of tables in, SVG text out.

Nothing is computed here but positions on paper. Figures are matplotlib ``Figure`` objects (no
pyplot); text stays text, so that it can be searched, selected and read aloud. The same tables
give the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from html import escape
from typing import Any, NamedTuple

import matplotlib
from fontTools.subset import Options
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from PIL import Image as pillow

from bayes_her2.data import DIFFERENCE, HR_NEGATIVE, HR_POSITIVE
from bayes_her2.errors import BayesHer2Error
from bayes_her2.report import formats
from bayes_her2.report.load import Estimate, Results, Row
from bayes_her2.report.words import (
    PART_TITLES,
    PARTS,
    matched_twins,
    n_tumours,
    pooled_rows,
    scope_word,
    short,
    who,
)

INK = "#1a1a1a"
GREY = "#6b6b6b"
PALE = "#c9c9c9"
BAND = "#eceef1"
ALERT = "#b3261e"
TWIN = "#5f6368"
COLOURS = {HR_POSITIVE: "#0072b2", HR_NEGATIVE: "#d55e00", DIFFERENCE: "#4b3f8f"}
READABLE = {"#d55e00": "#a84a00"}
"""Colour of marks -> a darker one for words, whose contrast with white and with bands is above 4.5."""
MARKERS = {HR_POSITIVE: "o", HR_NEGATIVE: "s", DIFFERENCE: "D"}
WIDTH = 11.4
NARROW = 0.85
"""Part of that width under which a figure is shown at its own size, about, and not at that of the page."""
DECADES = (1e-6, 1e-5, 1e-4, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 1000)
NOT_ESTIMABLE = "not estimable"
VALUE = "value: "
"""What the group id of a mark begins with; what follows is said where a reader points at the mark."""
CLIP = 5.0
"""Axes reach at least this far before an interval is cut with an arrow."""

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "pdf.fonttype": 42,  # whole fonts, which journals ask for
    "svg.hashsalt": "bayes-her2",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 8.0,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "xtick.color": GREY,
    "ytick.color": INK,
    "xtick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "text.color": INK,
}
FONTS = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"


DOTS_PER_INCH = 300
_BITMAPS: ContextVar[bool] = ContextVar("bitmaps", default=False)


class FigureError(BayesHer2Error):
    """A figure could not be drawn; no report is written."""


class Image(NamedTuple):
    """A figure in the formats that it is written in: SVG for pages, PDF for manuscripts, PNG for Word if asked for."""

    svg: str
    pdf: bytes
    png: bytes = b""


@dataclass(frozen=True)
class Drawing:
    """One figure: file name, caption that stands alone, text for those who cannot see it, image."""

    name: str
    caption: str
    alt: str
    image: Image
    number: int = 0

    @property
    def svg(self) -> str:
        """The image as SVG."""
        return self.image.svg

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in points."""
        found = re.search(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"', self.svg)
        if found is None:
            raise FigureError(
                f"figure {self.name!r} has no size (the SVG lacks its viewBox): report the fault"
            )
        return float(found[1]), float(found[2])

    @property
    def inline(self) -> str:
        """The SVG as it goes into a page: own ids, no prolog, no namespaces, a role, a label, and no more."""
        body = self.svg[self.svg.index("<svg") :]
        body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
        body = re.sub(r"<style type=\"text/css\">.*?</style>", "", body, flags=re.DOTALL)
        body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
        pointed_at = set(re.findall(r'(?:url\(|xlink:href=")#([^")]+)', body))
        body = re.sub(r"<[^>]+>", lambda tag: self._short(tag[0], pointed_at), body)
        body = re.sub(r">\s*\n\s*<", "><", body)
        box = re.search(r'viewBox="([^"]+)"', body)
        own = self.size[0]
        small = f' style="max-width: {1.2 * own:.0f}pt"' if own < NARROW * 72 * WIDTH else ""
        opening = (
            f'<svg role="img" aria-label="{escape(self.alt)}" viewBox="{box.group(1) if box else ""}"{small}>'
        )
        return opening + body[body.index(">") + 1 :]

    def _short(self, tag: str, pointed_at: Set[str]) -> str:
        """Shorten a tag: hundredths of a point, the page's font, and of the ids those that something points at."""
        tag = re.sub(r' id="([^"]*)"', lambda own: own[0] if own[1] in pointed_at else "", tag)
        tag = re.sub(r' id="', f' id="{self.name}-', tag)
        tag = tag.replace("url(#", f"url(#{self.name}-").replace('xlink:href="#', f'href="#{self.name}-')
        tag = re.sub(r"font-family: [^;\"]*(?:; )?", "", tag)
        tag = re.sub(r"-?\d+\.\d{3,}(?:e-?\d+)?", lambda n: f"{round(float(n[0]), 2):g}", tag)
        return re.sub(r"\s*\n\s*", " ", tag)


@dataclass(frozen=True)
class Mark:
    """One interval on a row: values and look, its status, or a word in place of an interval; what it says in words."""

    point: float | None
    lower: float | None
    upper: float | None
    colour: str
    marker: str
    filled: bool = True
    status: str = "observed"
    word: str = ""
    said: str = ""


@dataclass(frozen=True)
class Panel:
    """One column of a forest plot: per row the marks, and a word in the margin."""

    title: str
    unit: str
    rows: tuple[tuple[Mark, ...], ...]
    margin: tuple[str, ...] = ()


Maker = Callable[[Results], "Drawing | None"]
"""Draws one figure from the results, or none where they do not call for it."""


def makers(results: Results) -> dict[str, list[Maker]]:
    """Figures of the main sections that the results call for, by section, in the order of the report."""
    made: dict[str, list[Maker]] = {"precision": [precision]} if results.study.with_cohorts else {}
    if not results.answered:
        return made
    made["results"] = [forest, interaction, high_abundance]
    made["concordance"] = [_paired_maker(contrast) for contrast in results.contrasts]
    if len(results.cohorts) > 1:
        made["cohorts"] = [_cohort_maker(part) for part in ("overall", "presence", "amount")]
    made["checks"] = [predictive]
    made["recovery"] = [recovery]
    return made


def drawn(results: Results, wanted: Iterable[Maker]) -> dict[str, Drawing]:
    """Draw figures in the order given, by name, numbered.

    Raises
    ------
    FigureError
        If one cannot be drawn: which, and why. Nothing is written then.
    """
    return numbered(each_drawn(results, wanted))


def each_drawn(results: Results, wanted: Iterable[Maker], *, bitmaps: bool = False) -> list[Drawing | None]:
    """Draw figures, not numbered yet; None in the place of one that the results do not call for.

    With `bitmaps` each has a PNG too.

    Raises
    ------
    FigureError
        As `drawn`.
    """
    made: list[Drawing | None] = []
    with matplotlib.rc_context(), _with_bitmaps(bitmaps):  # settings of the process come back afterwards
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        for maker in wanted:
            try:
                made.append(maker(results))
            except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
                raise FigureError(
                    f"figure {maker.__name__!r} cannot be drawn ({type(error).__name__}: {error}). "
                    "No report was written: check the rows of its table, or report the fault"
                ) from error
    return made


def numbered(drawings: Iterable[Drawing | None]) -> dict[str, Drawing]:
    """Give figures their numbers, in the order given, by name."""
    there = {drawing.name: drawing for drawing in drawings if drawing is not None}
    return {
        name: replace(drawing, number=position)
        for position, (name, drawing) in enumerate(there.items(), start=1)
    }


NAMES = (
    "precision",
    "forest",
    "interaction",
    "high_abundance",
    "concordance_hr_positive",
    "concordance_hr_negative",
    "concordance_ratio",
    "cohorts_overall",
    "cohorts_presence",
    "cohorts_amount",
    "posterior_predictive",
    "recovery",
)
"""Every figure of the main sections: those of an earlier rendering are removed."""


# --- marks ---------------------------------------------------------------------------------------


def mark_of(estimate: Estimate | None, *, colour: str, marker: str) -> Mark:
    """Turn an estimate into a mark: hollow unless it is observed, a word where there is no interval."""
    if estimate is None:
        return Mark(None, None, None, colour, marker)
    if estimate.status == NOT_ESTIMABLE or not estimate.has_interval:
        return Mark(None, None, None, colour, marker, word=NOT_ESTIMABLE)
    return Mark(
        estimate.point,
        estimate.lower,
        estimate.upper,
        colour,
        marker,
        filled=estimate.status == "observed",
        status=estimate.status,
        said=said_of(estimate),
    )


def said_of(estimate: Estimate) -> str:
    """Say what a reader who points at a mark is told: whose, what, and the numbers as tables print them."""
    e = estimate
    where = e.cohort or e.scope
    what = short(e.estimand) if e.estimand in PART_TITLES else e.estimand.replace("_", " ").capitalize()
    numbers = formats.interval(e.point, e.lower, e.upper, e.estimand)
    return "\n".join(
        (
            ", ".join(filter(None, (e.outcome, e.stratum, where))),
            ", ".join(filter(None, (what, e.unit))),
            ("frequentist twin: " if e.source == "twin" else "")
            + said_numbers(numbers, e.interval_kind, e.interval_prob)
            + ("" if e.status == "observed" else f", {e.status}"),
        )
    )


def said_numbers(numbers: str, kind: str, prob: float | None) -> str:
    """Numbers with level and kind of their interval: ``1.02 (0.90 to 1.15), 95 % credible interval``."""
    return f"{numbers}, {formats.level(prob)} {kind.partition(' (')[0]} interval" if kind else numbers


def group_id(said: str) -> str | None:
    """Group id of a mark that says something; `image_of` makes it the title of the mark."""
    return f"{VALUE}{said}" if said else None


def _limits(marks: Iterable[Mark], extra: Iterable[float] = ()) -> tuple[float, float]:
    """Limits of a log axis that hold all points, and intervals as far as `CLIP`."""
    drawn = [mark for mark in marks if mark.point is not None]
    points = [m.point for m in drawn if m.point is not None and 0 < m.point < float("inf")]
    low = [max(m.lower, 1 / CLIP) for m in drawn if m.lower is not None]
    high = [min(m.upper, CLIP) for m in drawn if m.upper is not None]
    values = [*points, *low, *high, *extra]
    lower, upper = min(values, default=0.5) / 1.06, max(values, default=2.0) * 1.06
    lower, upper = min(lower, 0.8), max(upper, 1.25)
    return min(lower, upper**-0.25), max(upper, lower**-0.25)  # room for a label on each side of 1


def _ticks(limits: tuple[float, float]) -> list[float]:
    """Round ratios between two limits: 1, and at least one on each side of it that has room."""
    span = limits[1] / limits[0]
    if span > 60:
        choice = [0.001, 0.01, 0.1, 1, 10, 100, 1000]
    elif span > 8:
        choice = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]
    elif span > 2.4:
        choice = [0.2, 0.25, 0.33, 0.5, 0.67, 1, 1.5, 2, 3, 4, 5]
    else:
        choice = [0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 1.75, 2]
    ticks = [tick for tick in choice if limits[0] <= tick <= limits[1]]
    below = [tick for tick in (0.2, 0.5, 0.67, 0.8) if limits[0] <= tick]
    above = [tick for tick in (5, 2, 1.5, 1.25) if tick <= limits[1]]
    if below and not any(tick < 1 for tick in ticks):
        ticks = [below[0], *ticks]
    if above and not any(tick > 1 for tick in ticks):
        ticks = [*ticks, above[0]]
    return ticks


def _log_axis(axes: Any, limits: tuple[float, float], *, which: str = "x") -> None:
    """Log axis with plain numbers at round ratios."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    (axes.set_xlim if which == "x" else axes.set_ylim)(*limits)
    ticks = _ticks(limits)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in ticks]))
    axis.set_minor_locator(NullLocator())


def draw_mark(axes: Any, y: float, mark: Mark, limits: tuple[float, float], size: float = 4.6) -> None:
    """Draw interval, marker, and arrows where the interval leaves the axis."""
    if mark.point is None or mark.lower is None or mark.upper is None:
        return
    low, high = max(mark.lower, limits[0]), min(mark.upper, limits[1])
    said = group_id(mark.said)
    inside = limits[0] <= mark.point <= limits[1]
    if low < high or inside:
        axes.plot(  # one artist, so that interval and point are one thing to point at
            [low, mark.point, high] if inside else [low, high],
            [y, y, y] if inside else [y, y],
            color=mark.colour,
            lw=1.3,
            ls="-" if mark.filled else (0, (3, 1.6)),
            solid_capstyle="butt",
            marker=mark.marker,
            markevery=[1] if inside else [],
            ms=size,
            mfc=mark.colour if mark.filled else "white",
            mec=mark.colour,
            mew=1.0,
            zorder=5,
            gid=said,
        )
        said = None
    for cut, at, arrow in (
        (mark.lower < limits[0], limits[0], "<"),
        (mark.upper > limits[1], limits[1], ">"),
    ):
        if cut:
            axes.plot(
                [at], [y], marker=arrow, color=mark.colour, ms=4, clip_on=False, zorder=4, lw=0, gid=said
            )


def _backdrop(axes: Any, rope: tuple[float, float], n_rows: int) -> None:
    """Null line, ROPE band and a hairline between rows."""
    axes.axvspan(rope[0], rope[1], color=BAND, lw=0, zorder=0)
    axes.axvline(1, color=INK, lw=0.7, zorder=1)
    for row in range(1, n_rows):
        axes.axhline(row - 0.5, color="#dfe2e6", lw=0.5, zorder=0.5)


def draw_legend(
    figure: Figure, entries: Sequence[tuple[str, dict[str, Any]]], y_inches: float, x: float
) -> None:
    """One line of keys at the top of a figure; a long one starts at the left edge."""
    x = x if len(entries) < 6 else 0.1 / WIDTH
    handles = [Line2D([], [], **look) for _, look in entries]
    figure.legend(
        handles,
        [label for label, _ in entries],
        loc="center left",
        bbox_to_anchor=(x, 1 - y_inches / figure.get_figheight()),
        ncols=len(entries),
        frameon=False,
        handlelength=2.2,
        columnspacing=1.6,
        fontsize=8,
        borderaxespad=0,
    )


def legend_key(colour: str, marker: str, *, filled: bool = True) -> dict[str, Any]:
    """Look of one entry of a legend, as the marks have it."""
    return {
        "color": colour,
        "marker": marker,
        "mfc": colour if filled else "white",
        "mec": colour,
        "ms": 5,
        "lw": 1.3,
        "ls": "-" if filled else (0, (3, 1.6)),
    }


def _statuses(marks: Iterable[Mark]) -> str:
    """Statuses of the hollow marks, each once: ``borrowed or prior-only``."""
    return formats.listed(dict.fromkeys(mark.status for mark in marks if not mark.filled), "or")


def how_to_read(panels: Sequence[Panel]) -> str:
    """How to read the marks: what is drawn in these panels, and nothing else."""
    marks = [mark for panel in panels for row in panel.rows for mark in row]
    statuses = _statuses(marks)
    parts = [f"Filled: observed; hollow and dashed: {statuses}"] if statuses else []
    if any(mark.word for mark in marks):
        parts.append("'not estimable' stands where a row has no interval")
    return formats.sentence("; ".join([*parts, "arrows mark intervals that leave the axis"]))


def rope_key(rope: tuple[float, float]) -> tuple[str, dict[str, Any]]:
    """Entry of a legend for the band of the region of practical equivalence."""
    text = f"ROPE {formats.ratio(rope[0])} to {formats.ratio(rope[1])}"
    return text, {"color": BAND, "lw": 9, "marker": ""}


def draw_forest(
    results: Results,
    labels: Sequence[str],
    panels: Sequence[Panel],
    legend: Sequence[tuple[str, dict[str, Any]]],
    *,
    per_row: float,
    dodge: float = 0.17,
) -> Image:
    """Rows of labels, one panel per column, a shared row of keys on top."""
    left, top, bottom, right = 1.95, 0.62, 0.5, 0.62 if any(p.margin for p in panels) else 0.1
    gap = 0.78 if any(p.margin for p in panels) else 0.28
    height = top + bottom + per_row * max(len(labels), 1)
    figure = Figure(figsize=(WIDTH, height))
    width = (WIDTH - left - right - gap * (len(panels) - 1)) / len(panels)
    for column, panel in enumerate(panels):
        axes = figure.add_axes(
            (
                (left + column * (width + gap)) / WIDTH,
                bottom / height,
                width / WIDTH,
                (height - top - bottom) / height,
            )
        )
        limits = _limits((mark for row in panel.rows for mark in row), results.study.rope)
        _log_axis(axes, limits)
        _backdrop(axes, results.study.rope, len(labels))
        for position, marks in enumerate(panel.rows):
            offsets = [(i - (len(marks) - 1) / 2) * 2 * dodge for i in range(len(marks))]
            for mark, offset in zip(marks, offsets, strict=True):
                draw_mark(axes, position + offset, mark, limits)
                draw_word(axes, position + offset, mark)
            if panel.margin and panel.margin[position]:
                axes.annotate(
                    panel.margin[position],
                    (1, position),
                    xycoords=("axes fraction", "data"),
                    xytext=(7, 0),
                    textcoords="offset points",
                    fontsize=6.8,
                    va="center",
                    color=INK,
                    annotation_clip=False,
                )
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_yticks(range(len(labels)))
        axes.set_yticklabels(labels if column == 0 else [])
        axes.tick_params(axis="y", pad=7)
        axes.set_title(panel.title, fontsize=9, fontweight="bold", loc="left", pad=5)
        axes.set_xlabel(f"{panel.unit} (log scale)", fontsize=8)
    statuses = _statuses(mark for panel in panels for row in panel.rows for mark in row)
    hollow = [(f"hollow, dashed: {statuses}", legend_key(GREY, "o", filled=False))] if statuses else []
    draw_legend(figure, [*legend, *hollow], 0.2, left / WIDTH)
    return image_of(results, figure)


def draw_word(axes: Any, y: float, mark: Mark) -> None:
    """Word in place of an interval, at the left edge of its own panel."""
    if mark.word:
        axes.annotate(
            mark.word,
            (0, y),
            xycoords=("axes fraction", "data"),
            xytext=(3, 0),
            textcoords="offset points",
            fontsize=7.0,
            va="center",
            color=READABLE.get(mark.colour, mark.colour),
            fontstyle="italic",
        )


def draw_key(figure: Figure, entries: Sequence[tuple[str, dict[str, Any]]], x: float) -> None:
    """One line of keys at the top of a figure of a further section."""
    handles = [Line2D([], [], **look) for _, look in entries]
    figure.legend(
        handles,
        [label for label, _ in entries],
        loc="center left",
        bbox_to_anchor=(x, 1 - 0.2 / figure.get_figheight()),
        ncols=len(entries),
        frameon=False,
        handlelength=2.0,
        columnspacing=1.4,
        fontsize=8,
        borderaxespad=0,
    )


def as_published(results: Results) -> Results:
    """Return results whose figures carry no stamp: published numbers are no simulation in whatever study they stand."""
    return replace(results, study=replace(results.study, simulated=False))


def image_of(results: Results, figure: Figure) -> Image:
    """Figure as SVG (with fonts that every reader has) and as PDF, both without dates."""
    if results.study.simulated:
        figure.text(
            0.999,
            1 - 0.2 / figure.get_figheight(),
            "SIMULATED DATA",
            ha="right",
            va="center",
            fontsize=8,
            fontweight="bold",
            color=ALERT,
        )
    vector, paper = io.BytesIO(), io.BytesIO()
    figure.savefig(vector, format="svg", metadata={"Date": None, "Creator": None})
    with _without_layout_tables():
        figure.savefig(
            paper, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None}
        )
    text = vector.getvalue().decode("utf-8").replace("'DejaVu Sans'", FONTS)
    text = re.sub(f'<g id="{VALUE}([^"]*)">', r'<g class="value"><title>\1</title>', text)
    text = re.sub(r"[ \t]+\n", "\n", text)
    return Image(text, paper.getvalue(), _bitmap(figure) if _BITMAPS.get() else b"")


def _bitmap(figure: Figure) -> bytes:
    """Figure as PNG of 256 colours, without the name of what drew it; less than half as large as with all colours."""
    drawn, made = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DOTS_PER_INCH, pil_kwargs={"compress_level": 1})
    colours = pillow.open(drawn).convert("RGB").quantize(256, dither=pillow.Dither.NONE)
    colours.save(made, "PNG", dpi=(DOTS_PER_INCH, DOTS_PER_INCH))
    return made.getvalue()


@contextmanager
def _with_bitmaps(wanted: bool) -> Iterator[None]:
    """Say for a while whether figures are made as PNG too, which takes a third as long again."""
    before = _BITMAPS.set(wanted)
    try:
        yield
    finally:
        _BITMAPS.reset(before)


@contextmanager
def _without_layout_tables() -> Iterator[None]:
    """Embed fonts without their rules of layout: the text of a figure is laid out, and the rules cost half a report."""
    before = getattr(Options, "_drop_tables_default", None)
    if before is None:  # fontTools keeps it to itself: one without it embeds the rules
        yield
        return
    Options._drop_tables_default = [*before, "GDEF", "GPOS", "GSUB"]
    try:
        yield
    finally:
        Options._drop_tables_default = before


# --- the figures ---------------------------------------------------------------------------------


def _pooled(results: Results) -> dict[tuple[str, str, str], Estimate]:
    return {(e.outcome, e.estimand, e.stratum): e for e in results.posterior()}


def _measure(results: Results) -> str:
    return f"HER2 measure: {results.study.measure}"


def forest(results: Results) -> Drawing:
    """Draw the main result: three parts side by side, both strata on each row."""
    pooled = _pooled(results)
    labels = results.modelled
    panels = []
    for part in PARTS:
        rows = tuple(
            tuple(
                mark_of(pooled.get((cell, part, s)), colour=COLOURS[s], marker=MARKERS[s])
                for s in results.strata
            )
            for cell in labels
        )
        panels.append(Panel(*PART_TITLES[part], rows))
    legend = [(s, legend_key(COLOURS[s], MARKERS[s])) for s in results.strata]
    legend.append(rope_key(results.study.rope))
    shown = [e for e in results.posterior() if e.estimand in PARTS]
    caption = (
        f"Pooled association of HER2 with {formats.plural(len(labels), 'immune cell type')}, by hormone "
        "receptor "
        f"(HR) status: ratio per SD of HER2, posterior medians with {formats.intervals_of(shown)}, "
        "log axes. "
        f"{who(results)} {_measure(results)}. Grey band: region of practical equivalence (ROPE). {how_to_read(panels)} "
        "The same numbers are in the table below."
    )
    alt = (
        f"Forest plot of {len(labels)} cell types; presence, amount and overall; "
        f"{formats.listed(results.strata)}."
    )
    image = draw_forest(results, labels, panels, legend, per_row=0.3 if len(results.strata) > 1 else 0.24)
    return Drawing("forest", caption, alt, image)


def interaction(results: Results) -> Drawing | None:
    """Draw the ratio of the two strata for the three parts."""
    if DIFFERENCE not in results.contrasts:
        return None
    pooled = _pooled(results)
    labels = results.modelled
    colour, marker = COLOURS[DIFFERENCE], MARKERS[DIFFERENCE]
    panels = [
        Panel(
            PART_TITLES[part][0],
            "ratio of ratios, HR- over HR+",
            tuple(
                (mark_of(pooled.get((cell, part, DIFFERENCE)), colour=colour, marker=marker),)
                for cell in labels
            ),
        )
        for part in PARTS
    ]
    shown = [e for e in results.posterior() if e.stratum == DIFFERENCE and e.estimand in PARTS]
    caption = (
        "Does the association differ by hormone receptor status? Ratio per SD of HER2 in HR- divided by "
        "the ratio in "
        f"HR+ ({scope_word(results)}), posterior medians with {formats.intervals_of(shown)}, log axes. Above 1: "
        "more of the "
        f"cell type with higher HER2 in HR- than in HR+. {who(results)} {_measure(results)}. {how_to_read(panels)}"
    )
    legend = [(DIFFERENCE, legend_key(colour, marker)), rope_key(results.study.rope)]
    alt = f"Forest plot of the ratio HR- over HR+ for {len(labels)} cell types; presence, amount and overall."
    return Drawing("interaction", caption, alt, draw_forest(results, labels, panels, legend, per_row=0.24))


def high_abundance(results: Results) -> Drawing | None:
    """Odds of high abundance: posterior beside its twin, per stratum and for their ratio."""
    matched = {
        (r["outcome"], r["stratum"]): r
        for r in results.rows("concordance")
        if r["estimand"] == "high_abundance" and r["scope"] == "pooled"
    }
    pooled = _pooled(results)
    labels = [
        cell
        for cell in results.modelled
        if any((cell, "high_abundance", contrast) in pooled for contrast in results.contrasts)
    ]
    if not labels:
        return None
    panels = [
        Panel(
            contrast,
            "ratio of odds ratios" if contrast == DIFFERENCE else "marginal odds ratio per SD",
            tuple(
                marks_of_pair(
                    pooled.get((cell, "high_abundance", contrast)), matched.get((cell, contrast)), contrast
                )
                for cell in labels
            ),
        )
        for contrast in results.contrasts
    ]
    shown = [e for e in results.posterior() if e.estimand == "high_abundance"]
    twins = [e for e in matched_twins(results) if e.estimand == "high_abundance"]
    caption = (
        "Odds of high abundance (at or above the cohort's median where under 25 % are zero, presence "
        "otherwise) per "
        f"SD of HER2, by hormone receptor (HR) status, {scope_word(results)}: posterior with "
        f"{formats.intervals_of(shown)} beside "
        f"its frequentist twin with {formats.intervals_of(twins)}, log axes. {who(results)} "
        f"{_measure(results)}. "
        f"{how_to_read(panels)}"
    )
    alt = f"Forest plot of high abundance for {len(labels)} cell types, posterior and twin."
    legend = pair_legend(results, results.contrasts)
    return Drawing("high_abundance", caption, alt, draw_forest(results, labels, panels, legend, per_row=0.3))


def marks_of_pair(estimate: Estimate | None, row: Row | None, contrast: str) -> tuple[Mark, ...]:
    """Posterior and matched twin on one row."""
    own = mark_of(estimate, colour=COLOURS[contrast], marker=MARKERS[contrast])
    if row is None or row["twin_point"] is None:
        return (own,)
    point, lower, upper = (row[f"twin_{name}"] for name in ("point", "lower", "upper"))
    said = ""
    if estimate is not None:  # its twin has its outcome, estimand, stratum, scope and level
        text = formats.interval(point, lower, upper, estimate.estimand)
        said = said_numbers(text, "confidence", estimate.interval_prob)
        said = "\n".join((*said_of(estimate).split("\n")[:2], f"frequentist twin: {said}"))
    return (own, Mark(point, lower, upper, TWIN, "^", filled=True, said=said))


def pair_legend(results: Results, contrasts: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Entries of a legend for posterior beside twin."""
    legend = [(f"posterior, {c}", legend_key(COLOURS[c], MARKERS[c])) for c in contrasts]
    return [*legend, ("frequentist twin", legend_key(TWIN, "^")), rope_key(results.study.rope)]


SHORT = {
    HR_POSITIVE: ("hr_positive", "in HR+ tumours"),
    HR_NEGATIVE: ("hr_negative", "in HR- tumours"),
    DIFFERENCE: ("ratio", "as the ratio HR- over HR+"),
}
QUIET = ("both null", "not estimable", "")
"""Verdicts that are not written in the margin of a figure."""


def _paired_maker(contrast: str) -> Callable[[Results], Drawing]:
    """Name a maker for the concordance figure of one stratum."""

    def maker(results: Results) -> Drawing:
        return concordance(results, contrast)

    maker.__name__ = f"concordance_{SHORT[contrast][0]}"
    return maker


def concordance(results: Results, contrast: str) -> Drawing:
    """Posterior and twin interval on each row of one stratum, with the verdict in the margin."""
    rows = {
        (r["outcome"], r["estimand"]): r
        for r in results.rows("concordance")
        if r["scope"] == "pooled" and r["stratum"] == contrast
    }
    pooled = _pooled(results)
    labels = results.modelled
    panels = []
    for part in PARTS:
        marks = tuple(
            marks_of_pair(pooled.get((cell, part, contrast)), rows.get((cell, part)), contrast)
            for cell in labels
        )
        found = (rows.get((cell, part)) for cell in labels)
        verdicts = [row["verdict"] if row else "" for row in found]
        unit = "ratio of ratios" if contrast == DIFFERENCE else PART_TITLES[part][1]
        panels.append(
            Panel(PART_TITLES[part][0], unit, marks, tuple("" if v in QUIET else v for v in verdicts))
        )
    name, words = SHORT[contrast]
    shown = [e for e in results.posterior() if e.stratum == contrast and e.estimand in PARTS]
    twins = [e for e in matched_twins(results) if e.stratum == contrast and e.estimand in PARTS]
    caption = (
        f"Posterior beside its frequentist twin {words} (HR: hormone receptor), {scope_word(results)}, ratio per SD of "
        "HER2, log "
        f"axes: {formats.intervals_of(shown)} and {formats.intervals_of(twins)}. The verdict stands in the "
        f"margin unless both intervals include 1. {who(results)} {_measure(results)}. {how_to_read(panels)}"
    )
    alt = f"Paired intervals of posterior and twin for {len(labels)} cell types, {words}."
    image = draw_forest(results, labels, panels, pair_legend(results, (contrast,)), per_row=0.3)
    return Drawing(f"concordance_{name}", caption, alt, image)


def _cohort_maker(part: str) -> Callable[[Results], Drawing]:
    """Name a maker for the cohort figure of one part."""

    def maker(results: Results) -> Drawing:
        return cohorts(results, part)

    maker.__name__ = f"cohorts_{part}"
    return maker


def cohorts(results: Results, part: str) -> Drawing:
    """Small multiples: per cell type each cohort, the pooled row and a new cohort."""
    by_place = {
        (e.outcome, e.stratum, e.scope, e.cohort): e
        for scope in ("cohort", "pooled", "new cohort")
        for e in results.posterior(scope=scope)
        if e.estimand == part
    }
    rungs = [("cohort", cohort, cohort) for cohort in results.cohorts]
    rungs += [("pooled", "", "pooled"), ("new cohort", "", "new cohort")]
    cells = results.modelled
    columns = 4
    lines = -(-len(cells) // columns)
    left, top, bottom, gap, title = 1.25, 0.5, 0.45, 0.18, 0.27
    rung = 0.2 if len(results.strata) > 1 else 0.15
    tall = rung * len(rungs)
    height = top + bottom + lines * (tall + title + 0.05)
    width = (WIDTH - left - 0.1 - gap * (columns - 1)) / columns
    figure = Figure(figsize=(WIDTH, height))
    shown = [e for e in by_place.values() if e.stratum in results.strata]
    limits = _limits(
        (mark_of(e, colour=INK, marker="o") for e in shown if e.scope != "new cohort"), results.study.rope
    )
    for position, cell in enumerate(cells):
        line, column = divmod(position, columns)
        from_top = top + line * (tall + title + 0.05) + title
        axes = figure.add_axes(
            (
                (left + column * (width + gap)) / WIDTH,
                1 - (from_top + tall) / height,
                width / WIDTH,
                tall / height,
            )
        )
        _log_axis(axes, limits)
        _backdrop(axes, results.study.rope, 1)
        axes.axhline(len(results.cohorts) - 0.5, color=PALE, lw=0.6, zorder=0.5)
        written = False
        for y, (scope, cohort, _) in enumerate(rungs):
            for i, stratum in enumerate(results.strata):
                offset = (i - (len(results.strata) - 1) / 2) * 0.36
                mark = mark_of(
                    by_place.get((cell, stratum, scope, cohort)),
                    colour=COLOURS[stratum],
                    marker=MARKERS[stratum],
                )
                draw_mark(axes, y + offset, mark, limits, size=4.6 if scope == "pooled" else 3.4)
                written |= mark.point is not None
        if not written:
            axes.text(
                0.5,
                0.5,
                "not estimable",
                transform=axes.transAxes,
                ha="center",
                va="center",
                fontsize=7,
                color=GREY,
                fontstyle="italic",
                bbox={"fc": "white", "ec": "none", "pad": 2},
            )
        axes.set_ylim(len(rungs) - 0.5, -0.5)
        axes.set_yticks(range(len(rungs)))
        axes.set_yticklabels([label for *_, label in rungs] if column == 0 else [], fontsize=7)
        axes.set_title(cell, fontsize=7.8, fontweight="bold", loc="left", pad=2.5)
        last = position + columns >= len(cells)
        axes.tick_params(axis="x", labelsize=7, labelbottom=last, length=3 if last else 0)
        axes.tick_params(axis="y", pad=6)
    legend = [(s, legend_key(COLOURS[s], MARKERS[s])) for s in results.strata]
    statuses = _statuses(mark_of(e, colour=INK, marker="o") for e in shown)
    legend += [rope_key(results.study.rope)]
    legend += [(f"hollow, dashed: {statuses}", legend_key(GREY, "o", filled=False))] if statuses else []
    hollow = f"Filled: observed; hollow and dashed: {statuses}; " if statuses else ""
    draw_legend(figure, legend, 0.2, left / WIDTH)
    figure.text(
        left / WIDTH,
        0.1 / height,
        f"{PART_TITLES[part][0]}: {PART_TITLES[part][1]} (log scale)",
        fontsize=8,
    )
    caption = (
        f"{PART_TITLES[part][0]}, cohort by cohort, by hormone receptor (HR) status: {PART_TITLES[part][1]}, "
        f"posterior medians with {formats.intervals_of(shown)}, one log axis for all panels. "
        "Cohort rows are "
        "partially pooled; 'new cohort' is the prediction for a cohort not yet seen, between-cohort "
        "variation included. "
        f"{who(results)} {_measure(results)}. "
        + formats.sentence(f"{hollow}arrows mark intervals that leave the axis")
    )
    alt = (
        f"Small multiples of {len(cells)} cell types with {len(results.cohorts)} cohorts, pooled and new "
        f"cohort: {part}."
    )
    return Drawing(f"cohorts_{part}", caption, alt, image_of(results, figure))


def precision(results: Results) -> Drawing | None:
    """Draw the detectable ratio per cell type, stratum and part, before any result."""
    rows = {(r["cell_type"], r["estimand"], r["stratum"]): r for r in results.rows("precision")}
    parts = [p for p in (*PARTS, "high_abundance") if any(key[1] == p for key in rows)]
    if not parts:
        return None
    labels = results.modelled
    contrasts = [c for c in results.contrasts if any(key[2] == c for key in rows)]
    left, top, bottom, gap = 1.95, 0.62, 0.5, 0.28
    height = top + bottom + 0.22 * max(len(labels), 1)
    width = (WIDTH - left - 0.1 - gap * (len(parts) - 1)) / len(parts)
    figure = Figure(figsize=(WIDTH, height))
    for column, part in enumerate(parts):
        axes = figure.add_axes(
            (
                (left + column * (width + gap)) / WIDTH,
                bottom / height,
                width / WIDTH,
                (height - top - bottom) / height,
            )
        )
        found = [r["detectable_ratio"] for key, r in rows.items() if key[1] == part and r["detectable_ratio"]]
        limits = (1.0, min(max([1.5, *(max(v, 1 / v) for v in found)]) * 1.06, 20.0))
        _log_axis(axes, limits)
        axes.set_xlim(0.985, limits[1])
        axes.axvspan(1, results.study.rope[1], color=BAND, lw=0, zorder=0)
        axes.axvline(1, color=INK, lw=0.7)
        for y, cell in enumerate(labels):
            axes.axhline(y, color="#e6e8eb", lw=0.5, zorder=0.5)
            for contrast in contrasts:
                row = rows.get((cell, part, contrast))
                if row is None or not row["detectable_ratio"]:
                    continue
                value = max(row["detectable_ratio"], 1 / row["detectable_ratio"])
                inside = value <= limits[1]
                axes.plot(
                    [min(value, limits[1])],
                    [y],
                    marker=MARKERS[contrast] if inside else ">",
                    ms=4.4,
                    mfc=COLOURS[contrast],
                    mec="white",
                    mew=0.4,
                    lw=0,
                    clip_on=False,
                    zorder=4,
                    gid=group_id(
                        f"{cell}, {contrast}\n{short(part)}\n"
                        f"detectable ratio per SD {formats.ratio(row['detectable_ratio'])}"
                    ),
                )
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_yticks(range(len(labels)))
        axes.set_yticklabels(labels if column == 0 else [])
        axes.tick_params(axis="y", pad=7)
        axes.set_title(PART_TITLES[part][0], fontsize=9, fontweight="bold", loc="left", pad=5)
        axes.set_xlabel("detectable ratio per SD (log scale)", fontsize=8)
    legend = [(c, {**legend_key(COLOURS[c], MARKERS[c]), "lw": 0}) for c in contrasts]
    legend.append((f"within ROPE (to {formats.ratio(results.study.rope[1])})", {"color": BAND, "lw": 9}))
    draw_legend(figure, legend, 0.2, left / WIDTH)
    caption = (
        f"What {formats.count(n_tumours(results))} tumours of "
        f"{formats.plural(len(results.cohorts), 'cohort')} can "
        "resolve, before any result is seen: the ratio per SD of HER2 (or its inverse) found with 80 % "
        "power at two-sided "
        "P < 0.05, by cell type and hormone receptor (HR) status, log axes. No intervals: these are design "
        "quantities. "
        "Further left is more precise; a missing marker is a part that is not modelled; an arrow lies "
        "beyond the axis."
    )
    alt = f"Dot plot of the detectable ratio for {len(labels)} cell types by hormone receptor status."
    return Drawing("precision", caption, alt, image_of(results, figure))


def predictive(results: Results) -> Drawing | None:
    """Observed against predicted, one panel per statistic; misses stand out."""
    rows = [r for r in results.rows("posterior_predictive") if r["observed"] is not None]
    statistics = list(dict.fromkeys(r["statistic"] for r in rows))[:6]
    if not statistics:
        return None
    columns = min(3, len(statistics))
    lines = -(-len(statistics) // columns)
    side, gap, top, bottom = 2.85, 0.85, 0.75, 0.55
    height = top + lines * side + (lines - 1) * gap + bottom
    figure = Figure(figsize=(WIDTH, height))
    for position, statistic in enumerate(statistics):
        line, column = divmod(position, columns)
        axes = figure.add_axes(
            (
                (0.7 + column * (side + gap)) / WIDTH,
                1 - (top + line * (side + gap) + side) / height,
                side / WIDTH,
                side / height,
            )
        )
        axes.spines["left"].set_visible(True)
        axes.tick_params(axis="y", length=3, color=GREY)
        mine = [r for r in rows if r["statistic"] == statistic and r["predicted"] is not None]
        positive = all(r["observed"] > 0 and r["predicted"] > 0 and (r["lower"] or 0) > 0 for r in mine)
        values = [
            v for r in mine for v in (r["observed"], r["predicted"], r["lower"], r["upper"]) if v is not None
        ]
        low, high = min(values, default=0.0), max(values, default=1.0)
        if statistic == "zero share":
            low, high = 0.0, 1.0
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(FixedLocator([0, 0.2, 0.4, 0.6, 0.8, 1]))
        elif positive and high / low > 20:
            low, high = low / 1.3, high * 1.3
            axes.set_xscale("log")
            axes.set_yscale("log")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(FixedLocator([t for t in DECADES if low <= t <= high]))
                axis.set_major_formatter(lambda value, _: f"{value:g}")
                axis.set_minor_locator(NullLocator())
        else:
            pad = (high - low or 1.0) * 0.05
            low, high = low - pad, high + pad
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
        axes.plot([low, high], [low, high], color=PALE, lw=0.8, zorder=1)
        for row in mine:
            colour = GREY if row["inside"] else ALERT
            axes.plot(
                [row["observed"]] * 2, [row["lower"], row["upper"]], color=colour, lw=0.9, alpha=0.7, zorder=2
            )
            axes.plot(
                [row["observed"]],
                [row["predicted"]],
                marker="o" if row["inside"] else "X",
                ms=2.6 if row["inside"] else 5,
                color=colour,
                lw=0,
                clip_on=False,
                zorder=3 if row["inside"] else 4,
                gid=group_id(
                    f"{row['cell_type']}, {row['hr']}, {row['cohort']}\n{statistic}\n"
                    f"observed {formats.number(row['observed'])}, predicted "
                    + said_numbers(
                        f"{formats.number(row['predicted'])} "
                        f"({formats.number(row['lower'])} to {formats.number(row['upper'])})",
                        "predictive",
                        results.study.interval,
                    )
                ),
            )
        axes.set_title(statistic, fontsize=8.5, fontweight="bold", loc="left", pad=4)
        axes.set_xlabel("observed", fontsize=8)
        axes.set_ylabel("predicted", fontsize=8)
    legend = [
        ("observed value inside its predictive interval", {"color": GREY, "marker": "o", "ms": 3, "lw": 0.9}),
        ("outside", {"color": ALERT, "marker": "X", "ms": 5, "lw": 0.9}),
    ]
    draw_legend(figure, legend, 0.2, 0.7 / WIDTH)
    caption = (
        f"Posterior predictive checks: {formats.plural(len(rows), 'statistic')} of replicated data against "
        "the observed ones, "
        "one point per cell type, cohort and hormone receptor stratum; vertical lines are "
        f"{formats.level(results.study.interval)} predictive intervals. {who(results)}"
    )
    alt = f"Scatter of observed against predicted statistics: {formats.listed(statistics)}."
    return Drawing("posterior_predictive", caption, alt, image_of(results, figure))


def recovery(results: Results) -> Drawing | None:
    """Planted truth against the estimate (simulated data only)."""
    rows = [
        r
        for r in results.rows("recovery")
        if r["scope"] == "pooled" and r["truth"] is not None and r["point"] is not None
    ]
    parts = list(dict.fromkeys(r["estimand"] for r in rows))
    parts = [p for p in (*PARTS, "high_abundance") if p in parts]
    if not parts:
        return None
    side, gap, top, bottom, left = (2.2 if len(parts) > 3 else 2.95), 0.6, 0.8, 0.55, 0.6
    height = top + side + bottom
    figure = Figure(figsize=(WIDTH, height))
    for column, part in enumerate(parts):
        axes = figure.add_axes(
            ((left + column * (side + gap)) / WIDTH, bottom / height, side / WIDTH, side / height)
        )
        axes.spines["left"].set_visible(True)
        axes.tick_params(axis="y", length=3, color=GREY)
        mine = [r for r in rows if r["estimand"] == part]
        marks = [Mark(r["point"], r["lower"], r["upper"], INK, "o") for r in mine]
        limits = _limits(marks, [r["truth"] for r in mine])
        _log_axis(axes, limits)
        _log_axis(axes, limits, which="y")
        axes.plot(limits, limits, color=PALE, lw=0.8, zorder=1)
        for row in mine:
            missed = row["covered"] is False
            colour = ALERT if missed else COLOURS.get(row["stratum"], GREY)
            low = max(row["lower"] if row["lower"] is not None else row["point"], limits[0])
            high = min(row["upper"] if row["upper"] is not None else row["point"], limits[1])
            axes.plot([row["truth"]] * 2, [low, high], color=colour, lw=0.9, alpha=0.6, zorder=2)
            axes.plot(
                [row["truth"]],
                [row["point"]],
                marker="X" if missed else MARKERS.get(row["stratum"], "o"),
                ms=5 if missed else 3.2,
                color=colour,
                lw=0,
                zorder=4 if missed else 3,
                gid=group_id(
                    f"{row['outcome']}, {row['stratum']}, {row['scope']}\n{short(part)}\n"
                    f"planted {formats.ratio(row['truth'])}, estimated "
                    + said_numbers(
                        formats.interval(row["point"], row["lower"], row["upper"], part),
                        "credible",
                        results.study.interval,
                    )
                ),
            )
        axes.set_title(PART_TITLES[part][0], fontsize=8.5, fontweight="bold", loc="left", pad=4)
        axes.set_xlabel("planted ratio", fontsize=8)
        if column == 0:
            axes.set_ylabel("estimated ratio", fontsize=8)
    strata = [s for s in (*results.strata, DIFFERENCE) if any(r["stratum"] == s for r in rows)]
    legend = [(s, legend_key(COLOURS[s], MARKERS[s])) for s in strata]
    legend.append(("truth outside the interval", {"color": ALERT, "marker": "X", "ms": 5, "lw": 0.9}))
    draw_legend(figure, legend, 0.2, left / WIDTH)
    shown = results.posterior()
    caption = (
        f"Recovery of the planted ratios (simulated data, {pooled_rows(results)}): posterior medians with "
        f"{formats.intervals_of(shown)} against the truth, by hormone receptor (HR) status, log axes. "
        f"{who(results)}"
    )
    alt = f"Scatter of planted against estimated ratios, {len(rows)} rows."
    return Drawing("recovery", caption, alt, image_of(results, figure))
