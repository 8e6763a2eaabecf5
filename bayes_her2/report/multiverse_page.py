"""The multiverse as a page of its own: tables in, HTML and figure out. Counts rows; computes nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bayes_her2.data import DIFFERENCE, STRATA
from bayes_her2.report import formats
from bayes_her2.report.figures import ALERT, BAND, GREY, INK, WIDTH, Drawing, Image, drawn, image_of
from bayes_her2.report.load import Results, Row, Rows
from bayes_her2.report.standalone import About, Page, composed, numbered, results_of
from bayes_her2.report.tables import Cell, Column, Line, Table

MAIN = "main"
ABOVE, BELOW, OPEN, NONE = "above", "below", "open", "not estimable"
CONCLUSIONS = ("lost", "gained", "reversed")
LOOKS = {
    ABOVE: ("^", "#b35806", 5.2, "interval above 1"),
    BELOW: ("v", "#542788", 5.2, "interval below 1"),
    OPEN: ("o", "#8b8f96", 2.2, "interval holds 1"),
    NONE: ("x", "#b9bcc2", 2.6, "not estimable"),
}
"""Side -> marker, colour, size, words. Orange and purple differ for every colour vision, and shape says it too."""

CLOSE = (0, (1.6, 1.2))
"""Outline of a change that Monte Carlo error can explain."""

SHIFT = 0.21
"""Posterior to the left of a cell's middle, twin to the right."""


def multiverse_page(rows: Mapping[str, Rows], about: About, *, notices: Mapping[str, Sequence[str]]) -> Page:
    """Compose the page of a multiverse.

    Parameters
    ----------
    rows
        Rows of ``multiverse``, ``multiverse_changed``, ``multiverse_summary``, ``multiverse_stability``,
        ``multiverse_values`` and ``multiverse_exclusions``.
    about
        What the head of the page says.
    notices
        Universe -> its notices.

    Raises
    ------
    FigureError
        If the figure cannot be drawn.
    """
    results = results_of(rows, about)
    tables = numbered(
        [
            summary_table(results),
            stability_table(results),
            changed_table(results),
            other_readings(results),
            universes_table(results),
            values_table(results),
            exclusions_table(results),
        ]
    )
    return composed(
        "multiverse.html.j2",
        (headline(results),),
        tables,
        drawn(results, [multiverse]),
        about=about,
        level=formats.level(about.interval),
        notices={title_of(results, name): texts for name, texts in notices.items()},
        fragile=fragile(results),
    )


# --- what is shown ---------------------------------------------------------------------------


def fitted(results: Results) -> tuple[Row, ...]:
    """Universes with results, in the order of the summary."""
    return tuple(row for row in results.rows("multiverse_summary") if row["status"] == "fitted")


def title_of(results: Results, universe: str) -> str:
    """Title of a universe by its name."""
    return next(
        (str(r["title"]) for r in results.rows("multiverse_summary") if r["universe"] == universe), universe
    )


def headlines(results: Results) -> tuple[Row, ...]:
    """Rows of headline estimands."""
    return tuple(row for row in results.rows("multiverse") if row["headline"])


def strata_of(results: Results) -> tuple[str, ...]:
    """HR strata in which the main analysis has an estimate."""
    present = {row["stratum"] for row in headlines(results) if row["main_side"] != NONE}
    return tuple(s for s in (*STRATA, DIFFERENCE) if s in present)


def directions_of(results: Results) -> list[Row]:
    """Conclusions of the main analysis that have a direction."""
    return [r for r in results.rows("multiverse_stability") if r["main_side"] in (ABOVE, BELOW)]


def headline(results: Results) -> str:
    """Say how many directions of the main analysis hold in all universes, and what else changes."""
    others = [row for row in fitted(results) if row["universe"] != MAIN]
    directions = directions_of(results)
    firm = [r for r in directions if r["n_same"] == r["n_universes"]]
    lost, gained, turned = (sum(int(row[f"posterior_{kind}"] or 0) for row in others) for kind in CONCLUSIONS)
    unsure = sum(int(row["n_within_monte_carlo_error"] or 0) for row in others)
    text = (
        f"Of {formats.plural(len(directions), 'direction')} that the main analysis finds, {len(firm)} "
        f"{'holds' if len(firm) == 1 else 'hold'} in every one of {len(others)} other universes that can estimate it. "
        f"Over all of them {formats.plural(lost, 'direction')} {'is' if lost == 1 else 'are'} lost, {gained} "
        f"gained and {turned} reversed"
    )
    return f"{text}; {unsure} of these lie within Monte Carlo error." if unsure else f"{text}."


def fragile(results: Results) -> tuple[str, ...]:
    """Name the directions of the main analysis that some universe does not share, and those that all share."""
    kept: dict[bool, list[str]] = {True: [], False: []}
    for row in directions_of(results):
        firm = row["n_same"] == row["n_universes"]
        share = "" if firm else f", {row['n_same']} of {row['n_universes']}"
        kept[firm].append(f"{row['cell_type']} ({row['stratum']}, {row['main_side']} 1{share})")
    said = []
    if kept[True]:
        said.append(f"Shared by every universe that can estimate it: {'; '.join(kept[True])}.")
    if kept[False]:
        said.append(f"Not shared by all: {'; '.join(kept[False])}.")
    return tuple(said)


def interval_of(row: Row, which: str, estimand: str) -> str:
    """Interval of a row as it is printed: `which` is what its columns begin with."""
    return formats.interval(row[f"{which}point"], row[f"{which}lower"], row[f"{which}upper"], estimand)


_WORDS = {
    "overall": "overall",
    "presence": "presence",
    "amount": "amount",
    "high_abundance": "high abundance",
}


def summary_table(results: Results) -> Table:
    """Universes, what they change, and how many conclusions change with them."""
    groups = {"posterior": "Posterior", "twin": "Twin", "twin_bonferroni": "Twin, Bonferroni"}
    columns = [
        Column("Tumours"),
        Column("Values changed or left out"),
        Column("Compared"),
        Column("With a direction"),
        *(Column(title, "Lost / gained / reversed") for title in groups.values()),
        Column("Verdicts changed"),
        Column("Median shift"),
        Column("Largest shift", words=True),
    ]
    lines = []
    for row in fitted(results):
        main = row["universe"] == MAIN
        counts = [
            Cell(
                formats.MISSING
                if main
                else " / ".join(formats.count(row[f"{name}_{k}"]) for k in CONCLUSIONS)
            )
            for name in groups
        ]
        largest = Cell("")
        if row["largest_shift"] is not None:
            largest = Cell(
                f"× {formats.ratio(row['largest_shift'])} ({formats.signed(row['largest_shift_sd'], 1)} SD)",
                str(row["largest_shift_row"]),
            )
        lines.append(
            Line(
                _marked(row),
                (
                    Cell(formats.count(row["n_tumours"])),
                    Cell(formats.MISSING if main else formats.count(row["n_values_changed"])),
                    Cell(formats.count(row["n_rows"])),
                    Cell(formats.count(row["n_directions"])),
                    *counts,
                    Cell(formats.MISSING if main else formats.count(row["n_verdicts_changed"])),
                    Cell(formats.MISSING if main else sd_text(row["median_shift_sd"])),
                    largest,
                ),
                look="strong" if main else "",
            )
        )
    return Table(
        "multiverse_summary",
        "Universes, and the conclusions that change in each, counted over cell types and HR strata (HR+, HR-, and the "
        "ratio between them) by the headline estimand of the universe. Lost: the main analysis has a direction, the "
        "universe leaves it open; gained: the reverse; reversed: opposite directions. A direction is an interval on "
        f"one side of 1: {formats.level(results.study.interval)} credible for the posterior, "
        f"{formats.level(results.study.interval)} confidence for the twin; with Bonferroni's correction an adjusted P "
        f"of at most {results.study.alpha:g}.",
        "Universe",
        tuple(columns),
        tuple(lines),
        "tables/multiverse_summary.csv",
        (
            "Compared: rows with an estimate in the main analysis and here. Shift: universe's over main analysis's "
            "posterior median, largest and median absolute one in posterior SDs of the main analysis (log scale). "
            "Verdicts: posterior against its own twin.",
            "† The headline estimand is not the main analysis's ratio of mean abundance: the side can be compared. The "
            "shift of a ratio of means among the present mixes the policy with the change of the estimand; an odds "
            "ratio has none.",
        ),
        small=True,
    )


def sd_text(value: float | None) -> str:
    """Return a shift in SDs as it is printed."""
    return formats.MISSING if value is None else f"{value:.2f} SD"


def _marked(row: Row) -> str:
    """Title of a universe, with a dagger where its headline is another estimand."""
    return f"{row['title']}{'' if row['estimand'] == 'overall' else ' †'}"


def stability_table(results: Results) -> Table:
    """Conclusions with a direction in the main analysis or in another universe, and how many share it."""
    rows = results.rows("multiverse_stability")
    shown = [
        r for r in rows if r["main_side"] != NONE and (r["main_side"] != OPEN or r["n_above"] or r["n_below"])
    ]
    main = {(r["cell_type"], r["stratum"]): r for r in headlines(results) if r["universe"] == MAIN}
    lines = []
    for stratum in strata_of(results):
        own = [r for r in shown if r["stratum"] == stratum]
        for position, row in enumerate(own):
            here = main[row["cell_type"], stratum]
            away = row["main_side"] != OPEN
            lines.append(
                Line(
                    stratum,
                    (
                        Cell(str(row["cell_type"]), look="away" if away else ""),
                        Cell(interval_of(here, "main_", "overall"), look="away" if away else ""),
                        Cell(str(row["main_side"])),
                        Cell(f"{row['n_same']} of {row['n_universes']}"),
                        Cell(formats.count(row["n_above"])),
                        Cell(formats.count(row["n_open"])),
                        Cell(formats.count(row["n_below"])),
                        Cell(f"{row['twin_n_same']} of {row['twin_n_universes']}"),
                        Cell(f"{formats.ratio(row['least'])} to {formats.ratio(row['greatest'])}"),
                    ),
                    span=len(own) if position == 0 else 0,
                    look="first" if position == 0 else "",
                )
            )
    return Table(
        "multiverse_stability",
        "How stable each conclusion is: rows with a direction in the main analysis (bold) or in another universe. "
        f"Ratio of mean abundance per SD of HER2, posterior median with {formats.level(results.study.interval)} "
        "credible interval, and how many other universes that have an estimate put their interval on the same side.",
        "Stratum",
        (
            Column("Cell type", words=True),
            Column("Main analysis"),
            Column("Side of 1"),
            Column("Same side", "Posterior in other universes"),
            Column("above", "Posterior in other universes"),
            Column("open", "Posterior in other universes"),
            Column("below", "Posterior in other universes"),
            Column("Twin, same side"),
            Column("Ratios, least to greatest"),
        ),
        tuple(lines),
        "tables/multiverse_stability.csv",
        (
            "Least and greatest: over the universes whose headline is a ratio of mean abundance, the main analysis "
            "among them. Universes are no sample: a count is no probability.",
        ),
        small=True,
    )


def changed_table(results: Results) -> Table:
    """Every changed conclusion of a headline row."""
    rows = [r for r in results.rows("multiverse_changed") if r["headline"]]
    return _changed_table(
        results,
        "multiverse_changed",
        rows,
        "Changed conclusions, by universe: headline rows whose posterior or twin lies on another side of 1 than in the "
        "main analysis.",
    )


def other_readings(results: Results) -> Table | None:
    """List changed conclusions of presence, amount and high abundance, each against the main analysis's own."""
    rows = [r for r in results.rows("multiverse_changed") if not r["headline"]]
    if not rows:
        return None
    return _changed_table(
        results,
        "multiverse_changed_other",
        rows,
        "Changed conclusions of the other estimands (presence, amount, high abundance), each against the same estimand "
        "in the main analysis. They are not counted in the summary.",
    )


def _changed_table(results: Results, name: str, rows: Sequence[Row], caption: str) -> Table:
    """Rows by universe, with posterior and twin."""
    several = any(not r["headline"] for r in rows)
    lines = []
    for universe in [str(r["universe"]) for r in fitted(results)]:
        own = [r for r in rows if r["universe"] == universe]
        for position, row in enumerate(own):
            posterior, twin = str(row["posterior_change"]), str(row["twin_change"])
            unsure = " ‡" if row["within_monte_carlo_error"] else ""
            read = (Cell(_WORDS[str(row["estimand"])]),) if several else ()
            corrected = str(row["twin_bonferroni_change"])
            lines.append(
                Line(
                    title_of(results, universe) + ("" if several or row["estimand"] == "overall" else " †"),
                    (
                        Cell(str(row["cell_type"])),
                        Cell(str(row["stratum"])),
                        Cell(formats.percent(row["main_n_zero"], row["main_n"])),
                        *read,
                        Cell(interval_of(row, "main_", str(row["main_estimand"]))),
                        Cell(interval_of(row, "posterior_", str(row["estimand"]))),
                        Cell(
                            (posterior or "same") + unsure, look="away" if posterior in CONCLUSIONS else "off"
                        ),
                        Cell(formats.signed(row["shift_sd"], 1)),
                        Cell(interval_of(row, "main_twin_", str(row["main_estimand"]))),
                        Cell(interval_of(row, "twin_", str(row["estimand"]))),
                        Cell(twin or "same", look="away" if twin in CONCLUSIONS else "off"),
                        Cell(corrected or "same", look="away" if corrected in CONCLUSIONS else "off"),
                    ),
                    span=len(own) if position == 0 else 0,
                    look="first" if position == 0 else "",
                )
            )
    level = formats.level(results.study.interval)
    return Table(
        name,
        f"{caption} Posterior median with {level} credible interval, twin with {level} confidence interval.",
        "Universe",
        (
            Column("Cell type", words=True),
            Column("Stratum"),
            Column("Zeros (%)"),
            *((Column("Estimand", words=True),) if several else ()),
            Column("Main analysis", "Posterior"),
            Column("Here", "Posterior"),
            Column("Change", "Posterior", words=True),
            Column("Shift (SD)", "Posterior"),
            Column("Main analysis", "Twin"),
            Column("Here", "Twin"),
            Column("Change", "Twin", words=True),
            Column("Bonf.", "Twin", words=True),
        ),
        tuple(lines),
        "tables/multiverse_changed.csv",
        (
            "Zeros: in the main analysis. Shift: of the log ratio, in posterior SDs of the main analysis. A small "
            "shift can carry an interval across 1: the difference between a direction and none is itself seldom a "
            "finding (Gelman and Stern 2006, doi 10.1198/000313006X152649). ‡ A limit within two Monte Carlo standard "
            "errors of 1 decides, in this universe or in the main analysis: the change may be Monte Carlo error. "
            "Bonf.: the twin's change by Bonferroni-adjusted P.",
        ),
        small=True,
    )


def universes_table(results: Results) -> Table:
    """Say what each universe does, and why this study does not have the others."""
    lines = []
    for row in results.rows("multiverse_summary"):
        out = row["status"] != "fitted"
        fit = "" if out or row["fit"] == row["universe"] else f"fit of: {title_of(results, str(row['fit']))}"
        quality = formats.MISSING
        if not out:
            quality = f"{row['r_hat_max']:.3f}, {formats.count(int(row['ess_min']))}"
        lines.append(
            Line(
                str(row["title"]),
                (
                    Cell(
                        str(row["what"]),
                        f"{formats.sentence(str(row['status']))[:-1]}: {row['reason']}" if out else "",
                    ),
                    Cell(f"{row['model']}.py", fit),
                    Cell(str(row["reading"])),
                    Cell(formats.count(row["n_tumours"])),
                    Cell(str(row["her2_sd"] or formats.MISSING)),
                    Cell(quality),
                ),
                look="off" if out else "",
            )
        )
    return Table(
        "multiverse_universes",
        "What each universe changes against the main analysis, the model that is fitted to it, and what its headline "
        "estimand is. Nothing else differs: preprocessing, priors, sampler and seed are the study's.",
        "Universe",
        (
            Column("What differs", words=True),
            Column("Model", words=True),
            Column("Headline estimand", words=True),
            Column("Tumours"),
            Column("SD of HER2"),
            Column("R-hat, ESS"),
        ),
        tuple(lines),
        "tables/multiverse_summary.csv",
        (
            "R-hat, ESS: largest R-hat and smallest effective sample size (bulk or tail) over every reported quantity. "
            "SD of HER2: what one unit of the ratios refers to; it moves where tumours are lost. On another scale the "
            "model's default prior of the level of amounts is another, too.",
        ),
        small=True,
    )


def values_table(results: Results) -> Table | None:
    """Values changed by cell type and universe, cohorts added up."""
    rows = results.rows("multiverse_values")
    universes = [str(r["universe"]) for r in fitted(results)]
    changing = [u for u in universes if any(r["n_changed"] for r in rows if r["universe"] == u)]
    if not changing:
        return None
    lines = []
    for cell in dict.fromkeys(str(r["cell_type"]) for r in rows):
        cells = []
        for universe in changing:
            own = [r for r in rows if r["universe"] == universe and r["cell_type"] == cell]
            changed, whole = (sum(int(r[name]) for r in own) for name in ("n_changed", "n"))
            used = [formats.plain(r["value_used"], 2) for r in own if r["value_used"] is not None]
            sub = f"{'/'.join(dict.fromkeys(used))}" if used and changed else ""
            cells.append(Cell(f"{formats.count(changed)} of {formats.count(whole)}", sub))
        lines.append(Line(cell, tuple(cells)))
    return Table(
        "multiverse_values",
        "Values that a universe changes or leaves out, by cell type, of the analysed tumours that it shares with the "
        "main analysis. Under the count: the number put in, added, or compared with.",
        "Cell type",
        tuple(Column(title_of(results, u)) for u in changing),
        tuple(lines),
        "tables/multiverse_values.csv",
        small=True,
    )


def exclusions_table(results: Results) -> Table | None:
    """Tumours lost and gained against the main analysis, counted by reason."""
    rows = results.rows("multiverse_exclusions")
    if not rows:
        return None
    counts: dict[tuple[str, str, str, str], int] = {}
    for row in rows:
        key = (str(row["universe"]), str(row["change"]), str(row["step"] or ""), str(row["reason"] or ""))
        counts[key] = counts.get(key, 0) + 1
    lines = [
        Line(title_of(results, universe), (Cell(change), Cell(reason), Cell(step), Cell(formats.count(n))))
        for (universe, change, step, reason), n in counts.items()
    ]
    return Table(
        "multiverse_exclusions",
        "Tumours that a universe loses or gains against the main analysis. The file names each.",
        "Universe",
        (
            Column("Change", words=True),
            Column("Reason", words=True),
            Column("Step", words=True),
            Column("Tumours"),
        ),
        tuple(lines),
        "tables/multiverse_exclusions.csv",
        small=True,
    )


# --- the figure ------------------------------------------------------------------------------


def multiverse(results: Results) -> Drawing:
    """Draw the side of 1 of every conclusion in every universe, changed ones outlined."""
    universes = fitted(results)
    strata = strata_of(results)
    cells = list(dict.fromkeys(str(r["cell_type"]) for r in headlines(results)))
    level = formats.level(results.study.interval)
    n_changed = sum(1 for r in headlines(results) if r["posterior_change"] in CONCLUSIONS)
    dagger = any(row["estimand"] != "overall" for row in universes)
    scoped = any(r["scope"] != "pooled" and r["main_side"] != NONE for r in headlines(results))
    cohort = (
        " Where a pooled row would be borrowed from other cohorts, the only cohort's own row is shown."
        if scoped
        else ""
    )
    caption = (
        f"Side of no association on which HER2 puts {formats.plural(len(cells), 'immune cell type')}, in "
        f"{formats.plural(len(universes), 'universe')} of one study ({results.study.name}; HER2 measure: "
        f"{results.study.measure}). In each cell the posterior (filled, left; {level} credible interval) and its "
        f"frequentist twin (hollow, right; {level} confidence interval). Outlined: another conclusion than the main "
        "analysis (shaded column) has, broken where Monte Carlo error can explain it. Above the columns: changed "
        "conclusions of the posterior and of the twin. Right of each panel: other universes whose posterior lies on "
        "the main analysis's side, of those with an estimate. Ratio of mean abundance per SD of HER2"
        f"{', † marks universes that are read by another estimand' if dagger else ''}.{cohort} Universes share "
        "tumours: agreement is no replication."
    )
    alt = (
        f"Grid of {len(cells)} cell types by {len(universes)} universes in {len(strata)} panels "
        f"({formats.listed(strata)}); {n_changed} posterior conclusions differ from the main analysis."
    )
    return Drawing("multiverse", caption, alt, sides_image(results))


def sides_image(results: Results, *, twins: bool = True) -> Image:
    """Grid of sides: universes by cell types, a panel for each HR stratum; with or without the twins."""
    universes = fitted(results)
    strata = strata_of(results)
    cells = list(dict.fromkeys(str(r["cell_type"]) for r in headlines(results)))
    by_key = {(r["universe"], r["cell_type"], r["stratum"]): r for r in headlines(results)}
    stable = {(r["cell_type"], r["stratum"]): r for r in results.rows("multiverse_stability")}
    left, right, gap, top, bottom, per_row = 1.95, 0.1, 0.16, 1.98, 0.12, 0.222
    width = (WIDTH - left - right - gap * (len(strata) - 1)) / len(strata)
    height = top + bottom + per_row * len(cells)
    figure = Figure(figsize=(WIDTH, height))
    for panel, stratum in enumerate(strata):
        axes = figure.add_axes(
            (
                (left + panel * (width + gap)) / WIDTH,
                bottom / height,
                width / WIDTH,
                per_row * len(cells) / height,
            )
        )
        _panel(axes, universes, cells, stratum, by_key, stable, names=panel == 0, twins=twins)
    _key(figure, 0.1 / WIDTH, height, twins=twins)
    return image_of(results, figure)


def _panel(
    axes: Any,
    universes: Sequence[Row],
    cells: Sequence[str],
    stratum: str,
    by_key: Mapping[tuple[str, str, str], Row],
    stable: Mapping[tuple[str, str], Row],
    *,
    names: bool,
    twins: bool,
) -> None:
    """One HR stratum: universes by cell types."""
    n = len(universes)
    axes.set_xlim(-0.55, n + 0.45)
    axes.set_ylim(len(cells) - 0.5, -0.5)
    axes.axvspan(-0.5, 0.5, color=BAND, lw=0, zorder=0)
    for line in range(1, len(cells)):
        axes.axhline(line - 0.5, color="#e3e5e9", lw=0.5, zorder=0.5)
    for column in range(2, n):
        axes.axvline(column - 0.5, color="#eff0f3", lw=0.5, zorder=0.4)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xticks([])
    axes.set_yticks(range(len(cells)) if names else [])
    if names:
        axes.set_yticklabels(cells, fontsize=8)
        axes.tick_params(axis="y", pad=5)
    for column, universe in enumerate(universes):
        shown = [by_key[universe["universe"], cell, stratum] for cell in cells]
        for position, row in enumerate(shown):
            _cell(axes, column, position, row, twins=twins)
        main = universe["universe"] == MAIN
        _above(axes, column, 0.66, _marked(universe), rotation=90, bold=main, va="bottom")
        for offset, which in ((0.42, "posterior_change"), (0.17, "twin_change")):
            if which == "twin_change" and not twins:
                continue
            count = sum(1 for row in shown if row[which] in CONCLUSIONS)
            _above(axes, column, offset, "" if main else str(count), bold=count > 0)
    for position, cell in enumerate(cells):
        firm = stable.get((cell, stratum))
        if firm is not None and firm["main_side"] != NONE:
            same = firm["n_same"] == firm["n_universes"]
            axes.text(
                n + 0.42,
                position,
                f"{firm['n_same']}/{firm['n_universes']}",
                ha="right",
                va="center",
                fontsize=6.2,
                color=GREY if same else ALERT,
                fontweight="normal" if same else "bold",
            )
    _above(axes, -0.5, 2.72, stratum, size=9.5, bold=True, ha="left")
    _above(axes, n + 0.42, 0.66, "same side", rotation=90, va="bottom", size=6.6, ha="right")
    if names:
        _above(axes, -0.75, 0.42, "changed: posterior", ha="right", size=6.8)
        if twins:
            _above(axes, -0.75, 0.17, "changed: twin", ha="right", size=6.8)


def _above(
    axes: Any,
    x: float,
    inches: float,
    text: str,
    *,
    rotation: float = 0,
    bold: bool = False,
    size: float = 7.2,
    ha: str = "center",
    va: str = "center",
) -> None:
    """Text above a panel, so many tenths of the header over its upper edge."""
    axes.annotate(
        text,
        (x, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, inches * 40),
        textcoords="offset points",
        ha=ha,
        va=va,
        rotation=rotation,
        fontsize=size,
        fontweight="bold" if bold else "normal",
        color=INK,
        annotation_clip=False,
    )


def _cell(axes: Any, column: int, position: int, row: Row, *, twins: bool) -> None:
    """Posterior and twin of one conclusion, each outlined where it differs from the main analysis."""
    close = bool(row["within_monte_carlo_error"])
    for which, offset in (("posterior", -SHIFT), ("twin", SHIFT)) if twins else (("posterior", 0.0),):
        marker, colour, size, _ = LOOKS[str(row[f"{which}_side"])]
        filled = which == "posterior"
        axes.plot(
            [column + offset],
            [position],
            marker=marker,
            ms=size,
            mfc=colour if filled else "white",
            mec=colour,
            mew=0.8,
            lw=0,
            zorder=3,
        )
        if row[f"{which}_change"] in CONCLUSIONS:
            axes.add_patch(
                Rectangle(
                    (column + offset - 0.225, position - 0.41),
                    0.45,
                    0.82,
                    fill=False,
                    edgecolor=INK,
                    lw=0.9,
                    ls=CLOSE if close and filled else "-",
                    zorder=4,
                )
            )


def _key(figure: Figure, x: float, height: float, *, twins: bool) -> None:
    """Keys in one line at the top."""
    axes = figure.add_axes((x, 1 - 0.34 / height, 1 - x - 0.01, 0.28 / height))
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 1)
    axes.axis("off")
    at = 0.6
    for marker, colour, size, words in LOOKS.values():
        axes.plot([at], [0.5], marker=marker, ms=size, mfc=colour, mec=colour, mew=0.8, lw=0)
        if twins:
            axes.plot([at + 1.1], [0.5], marker=marker, ms=size, mfc="white", mec=colour, mew=0.8, lw=0)
        axes.text(at + 2.0, 0.5, words, va="center", fontsize=7.6)
        at += 4.0 + 0.54 * len(words)
    if twins:
        axes.text(at, 0.5, "filled: posterior, hollow: twin", va="center", fontsize=7.6)
        at += 17.0
    for style, words in (("-", "changed"), (CLOSE, "changed, may be Monte Carlo error")):
        axes.add_patch(Rectangle((at, 0.16), 1.1, 0.68, fill=False, edgecolor=INK, lw=0.9, ls=style))
        axes.text(at + 1.7, 0.5, words, va="center", fontsize=7.6)
        at += 8.0
