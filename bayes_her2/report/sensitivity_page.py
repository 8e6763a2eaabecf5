"""Sensitivity to priors as a page of its own: tables in, HTML and figures out. Counts rows; computes nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from bayes_her2.report import formats
from bayes_her2.report.figures import ALERT, COLOURS, GREY, MARKERS, WIDTH, Drawing, drawn, image_of
from bayes_her2.report.load import Results, Row, Rows
from bayes_her2.report.multiverse_page import (
    CONCLUSIONS,
    MAIN,
    directions_of,
    fitted,
    headlines,
    interval_of,
    sd_text,
    sides_image,
    strata_of,
    title_of,
)
from bayes_her2.report.standalone import About, Page, composed, numbered, results_of
from bayes_her2.report.tables import Cell, Column, Line, Table

ALL = "all"
ESTIMAND = "overall"
THRESHOLD = 0.05
LEAST = 1e-3
"""Rates under this are drawn at this."""
TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def sensitivity_page(rows: Mapping[str, Rows], about: About, *, notices: Mapping[str, Sequence[str]]) -> Page:
    """Compose the page of a study under other priors.

    Parameters
    ----------
    rows
        Rows of ``multiverse``, ``multiverse_changed``, ``multiverse_summary``, ``multiverse_stability`` (universes are
        priors) and ``power_scaling``.
    about
        What the head of the page says.
    notices
        Priors -> notices.

    Raises
    ------
    FigureError
        If a figure cannot be drawn.
    """
    results = results_of(rows, about)
    tables = numbered(
        [settings_table(results), changed_table(results), scaling_table(results), scaling_by_group(results)]
    )
    return composed(
        "sensitivity.html.j2",
        headline(results),
        tables,
        drawn(results, [sides, scaling]),
        about=about,
        level=formats.level(about.interval),
        notices={title_of(results, name): texts for name, texts in notices.items()},
    )


def _scaled(results: Results, group: str = ALL) -> list[Row]:
    """Rows of the headline estimand, for one group of priors."""
    rows = results.rows("power_scaling")
    return [r for r in rows if r["priors"] == group and r["estimand"] == ESTIMAND]


def _sensitive(rows: Sequence[Row]) -> list[Row]:
    return [r for r in rows if r["prior"] >= THRESHOLD]


def headline(results: Results) -> tuple[str, ...]:
    """Say how many directions and verdicts rest on the priors, and how many results move with them."""
    others = [row for row in fitted(results) if row["universe"] != MAIN]
    directions = directions_of(results)
    firm = [r for r in directions if r["n_same"] == r["n_universes"]]
    lost, gained, turned = (sum(int(row[f"posterior_{kind}"] or 0) for row in others) for kind in CONCLUSIONS)
    unsure = sum(int(row["n_within_monte_carlo_error"] or 0) for row in others)
    said = [
        f"Of {formats.plural(len(directions), 'direction')} that the main analysis finds, {len(firm)} "
        f"{'holds' if len(firm) == 1 else 'hold'} under every one of {len(others)} other priors. Over all of them "
        f"{formats.plural(lost, 'direction')} {'is' if lost == 1 else 'are'} lost, {gained} gained and {turned} "
        f"reversed" + (f"; {unsure} of these lie within Monte Carlo error." if unsure else ".")
    ]
    flips = [(str(r["title"]), int(r["n_verdicts_changed"] or 0)) for r in others if r["n_verdicts_changed"]]
    said.append(
        "Verdicts (posterior against twin) that flip: "
        + ("none." if not flips else f"{formats.listed(f'{n} under {title}' for title, n in flips)}.")
    )
    rest = [r for r in directions if r["n_same"] < r["n_universes"]]
    if rest:
        named = [f"{r['cell_type']} ({r['stratum']}, {r['n_same']} of {r['n_universes']})" for r in rest]
        said.append(f"Directions that some priors do not share: {'; '.join(named)}.")
    rows = _scaled(results)
    if rows:
        moved = _sensitive(rows)
        torn = [r for r in moved if r["likelihood"] >= THRESHOLD]
        also = f", {len(torn)} of them with the likelihood too" if moved else ""
        said.append(
            f"Power-scaling: {len(moved) or 'none'} of {formats.plural(len(rows), 'pooled ratio')} of mean abundance "
            f"{'moves' if len(moved) < 2 else 'move'} with the priors (rate of {THRESHOLD:g} or more){also}."
        )
    return tuple(said)


# --- tables ----------------------------------------------------------------------------------------


def settings_table(results: Results) -> Table:
    """Priors that are changed, and how many conclusions change with them."""
    lines = []
    for row in results.rows("multiverse_summary"):
        main, out = row["universe"] == MAIN, row["status"] != "fitted"
        if out:
            cells = (
                Cell(str(row["what"]), f"{row['status']}: {row['reason']}"),
                *[Cell(formats.MISSING)] * 7,
            )
            lines.append(Line(str(row["title"]), cells, look="off"))
            continue
        largest = Cell("")
        if row["largest_shift"] is not None:
            largest = Cell(
                f"× {formats.ratio(row['largest_shift'])} ({formats.signed(row['largest_shift_sd'], 1)} SD)",
                str(row["largest_shift_row"]),
            )
        missed = str(row["prior_checks_missed"] or "")
        lines.append(
            Line(
                str(row["title"]),
                (
                    Cell(str(row["what"]), f"prior checks not passed: {missed}" if missed else ""),
                    Cell(formats.count(row["n_rows"])),
                    Cell(formats.count(row["n_directions"])),
                    Cell(
                        formats.MISSING
                        if main
                        else " / ".join(formats.count(row[f"posterior_{k}"]) for k in CONCLUSIONS)
                    ),
                    Cell(formats.MISSING if main else formats.count(row["n_verdicts_changed"])),
                    Cell(formats.MISSING if main else sd_text(row["median_shift_sd"])),
                    largest,
                    Cell(f"{row['r_hat_max']:.3f}, {formats.count(int(row['ess_min']))}"),
                ),
                look="strong" if main else "",
            )
        )
    return Table(
        "sensitivity_settings",
        "Other priors, each fitted anew to the same tumours, and the conclusions that change: ratios of mean "
        "abundance, zeros included, per SD of HER2, over cell types and HR strata (HR+, HR-, and the ratio between "
        f"them). A direction is a {formats.level(results.study.interval)} credible interval on one side of 1.",
        "Priors",
        (
            Column("What differs", words=True),
            Column("Compared"),
            Column("With a direction"),
            Column("Lost / gained / reversed"),
            Column("Verdicts flipped"),
            Column("Median shift"),
            Column("Largest shift", words=True),
            Column("R-hat, ESS"),
        ),
        tuple(lines),
        "tables/multiverse_summary.csv",
        (
            "Shift: of the posterior median, ratio here over the main analysis's, in posterior SDs of the main "
            "analysis (log scale; median of absolute shifts). Verdicts: posterior against the frequentist twin, which "
            "has no priors. R-hat, ESS: largest R-hat and smallest effective sample size over every reported quantity.",
        ),
        small=True,
    )


def changed_table(results: Results) -> Table | None:
    """Conclusions and verdicts that other priors change."""
    rows = [
        r
        for r in headlines(results)
        if r["universe"] != MAIN and (r["posterior_change"] in CONCLUSIONS or r["verdict_changed"])
    ]
    if not rows:
        return None
    lines = []
    for universe in [str(r["universe"]) for r in fitted(results)]:
        own = [r for r in rows if r["universe"] == universe]
        for position, row in enumerate(own):
            change = str(row["posterior_change"] or "same")
            unsure = " ‡" if row["within_monte_carlo_error"] else ""
            lines.append(
                Line(
                    title_of(results, universe),
                    (
                        Cell(str(row["cell_type"])),
                        Cell(str(row["stratum"])),
                        Cell(interval_of(row, "main_", ESTIMAND)),
                        Cell(interval_of(row, "posterior_", ESTIMAND)),
                        Cell(change + unsure, look="away" if change in CONCLUSIONS else "off"),
                        Cell(formats.signed(row["shift_sd"], 1)),
                        Cell(interval_of(row, "twin_", ESTIMAND)),
                        Cell(f"{row['main_verdict'] or formats.MISSING}"),
                        Cell(
                            f"{row['verdict'] or formats.MISSING}",
                            look="away" if row["verdict_changed"] else "off",
                        ),
                    ),
                    span=len(own) if position == 0 else 0,
                    look="first" if position == 0 else "",
                )
            )
    level = formats.level(results.study.interval)
    return Table(
        "sensitivity_changed",
        "Conclusions and verdicts that other priors change: ratio of mean abundance per SD of HER2, posterior median "
        f"with {level} credible interval; twin with {level} confidence interval.",
        "Priors",
        (
            Column("Cell type", words=True),
            Column("Stratum"),
            Column("Main analysis", "Posterior"),
            Column("Here", "Posterior"),
            Column("Change", "Posterior", words=True),
            Column("Shift (SD)", "Posterior"),
            Column("Twin"),
            Column("Main analysis", "Verdict", words=True),
            Column("Here", "Verdict", words=True),
        ),
        tuple(lines),
        "tables/multiverse_changed.csv",
        (
            "A small shift can carry an interval across 1: the difference between a direction and none is itself "
            "seldom a finding (Gelman and Stern 2006, doi 10.1198/000313006X152649). ‡ A limit within two Monte Carlo "
            "standard errors of 1 decides: the change may be Monte Carlo error.",
        ),
        small=True,
    )


def scaling_table(results: Results) -> Table | None:
    """Pooled ratios that move with the priors, and with which of them."""
    rows = sorted(_sensitive(_scaled(results)), key=lambda r: -r["prior"])
    if not rows:
        return None
    groups = [g for g in dict.fromkeys(str(r["priors"]) for r in results.rows("power_scaling")) if g != ALL]
    by_group = {(g, r["outcome"], r["stratum"]): r["prior"] for g in groups for r in _scaled(results, g)}
    lines = tuple(
        Line(
            str(row["outcome"]),
            (
                Cell(str(row["stratum"])),
                Cell(f"{row['prior']:.3f}"),
                *(Cell(f"{by_group[g, row['outcome'], row['stratum']]:.3f}") for g in groups),
                Cell(f"{row['likelihood']:.3f}"),
                Cell(str(row["reading"])),
            ),
        )
        for row in rows
    )
    return Table(
        "power_scaling",
        f"Pooled ratios of mean abundance that move with the priors (rate of {THRESHOLD:g} or more), the most "
        "sensitive first. Rate: cumulative Jensen-Shannon distance by which the posterior moves per doubling of the "
        "weight of the priors, of one group of them, or of the likelihood.",
        "Cell type",
        (
            Column("Stratum"),
            Column("all", "Rate with the priors of"),
            *(Column(g, "Rate with the priors of") for g in groups),
            Column("Rate with the likelihood"),
            Column("Reading", words=True),
        ),
        lines,
        "tables/power_scaling.csv",
        (
            "Top-level priors are scaled, not the distributions of coefficients given their means and spreads. A "
            "result that moves with priors and likelihood may be torn between them, or be one that a weak prior still "
            "moves: the refits say by how much.",
        ),
        small=True,
    )


def scaling_by_group(results: Results) -> Table | None:
    """How many pooled results of each estimand move with each group of priors."""
    rows = results.rows("power_scaling")
    if not rows:
        return None
    groups = list(dict.fromkeys(str(r["priors"]) for r in rows))
    lines = []
    for estimand in dict.fromkeys(str(r["estimand"]) for r in rows):
        own = [r for r in rows if r["estimand"] == estimand]
        n = sum(1 for r in own if r["priors"] == ALL)
        cells = [Cell(formats.count(len(_sensitive([r for r in own if r["priors"] == g])))) for g in groups]
        weak = sum(1 for r in own if r["priors"] == ALL and r["likelihood"] < THRESHOLD)
        lines.append(
            Line(
                estimand.replace("_", " ").capitalize(),
                (Cell(formats.count(n)), *cells, Cell(formats.count(weak))),
            )
        )
    return Table(
        "power_scaling_counts",
        f"Pooled results of each estimand (cell type by HR stratum), and how many move with a group of priors at a "
        f"rate of {THRESHOLD:g} or more; last, those that hardly move with the likelihood.",
        "Estimand",
        (
            Column("Results"),
            *(Column(g, "Move with the priors of") for g in groups),
            Column("Hardly with the likelihood"),
        ),
        tuple(lines),
        "tables/power_scaling.csv",
    )


# --- figures ---------------------------------------------------------------------------------------


def sides(results: Results) -> Drawing:
    """Draw the side of 1 of every conclusion under all priors, changed ones outlined."""
    settings = fitted(results)
    cells = list(dict.fromkeys(str(r["cell_type"]) for r in headlines(results)))
    level = formats.level(results.study.interval)
    changed = sum(1 for r in headlines(results) if r["posterior_change"] in CONCLUSIONS)
    caption = (
        f"Side of no association on which HER2 puts {formats.plural(len(cells), 'immune cell type')}, under "
        f"{formats.plural(len(settings), 'set')} of priors ({results.study.name}; HER2 measure: "
        f"{results.study.measure}): ratio of mean abundance per SD of HER2, {level} credible interval. Outlined: "
        "another conclusion than under the main analysis's priors (shaded column), broken where Monte Carlo error can "
        "explain it. Above the columns: changed conclusions. Right of each panel: other priors "
        "under which the side is the same."
    )
    alt = (
        f"Grid of {len(cells)} cell types by {len(settings)} sets of priors in {len(strata_of(results))} panels "
        f"({formats.listed(strata_of(results))}); {changed} conclusions differ from the main analysis."
    )
    return Drawing("sensitivity", caption, alt, sides_image(results, twins=False))


def scaling(results: Results) -> Drawing | None:
    """Draw how much each pooled ratio moves with the likelihood and with the priors."""
    rows = _scaled(results)
    if not rows:
        return None
    height = 4.2
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0.075, 0.62 / height, 0.58, (height - 0.85) / height))
    axes.set_xscale("log")
    axes.set_yscale("log")
    strata = [s for s in COLOURS if any(r["stratum"] == s for r in rows)]
    for stratum in strata:
        own = [r for r in rows if r["stratum"] == stratum]
        axes.plot(
            [max(r["likelihood"], LEAST) for r in own],
            [max(r["prior"], LEAST) for r in own],
            marker=MARKERS[stratum],
            ms=4.4,
            color=COLOURS[stratum],
            alpha=0.85,
            lw=0,
        )
    for line in (axes.axhline, axes.axvline):
        line(THRESHOLD, color=GREY, lw=0.7, ls=(0, (4, 3)), zorder=0)
    named = sorted(_sensitive(rows), key=lambda r: -r["prior"])[:12]
    for i, row in enumerate(named, start=1):
        axes.annotate(
            str(i),
            (max(row["likelihood"], LEAST), max(row["prior"], LEAST)),
            xytext=(4, 2),
            textcoords="offset points",
            fontsize=6.5,
        )
        figure.text(
            0.69,
            1 - (0.62 + 0.2 * i) / height,
            f"{i}  {row['outcome']}, {row['stratum']}: {row['prior']:.2f}",
            fontsize=7.5,
            color=ALERT if row["likelihood"] < THRESHOLD else "black",
        )
    if named:
        figure.text(0.69, 1 - 0.55 / height, "Rate with the priors", fontsize=8, fontweight="bold")
    for axis, name in ((axes.xaxis, "likelihood"), (axes.yaxis, "prior")):
        values = [max(r[name], LEAST) for r in rows]
        low, high = min(*values, THRESHOLD) / 1.3, max(*values, THRESHOLD) * 1.3
        axis.set_view_interval(low, high, ignore=True)
        ticks = [tick for tick in TICKS if low <= tick <= high]
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in ticks]))
        axis.set_minor_locator(NullLocator())
    axes.set_xlabel("rate with the likelihood")
    axes.set_ylabel("rate with the priors")
    handles: list[Any] = [
        Line2D([], [], color=COLOURS[s], marker=MARKERS[s], lw=0, ms=4.4, label=s) for s in strata
    ]
    figure.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0.07, 0.0), ncols=len(strata), frameon=False
    )
    caption = (
        "How much each pooled ratio of mean abundance moves with the priors and with the likelihood: cumulative "
        "Jensen-Shannon distance of the posterior per doubling of their weight. Dashed: the limit of "
        f"{THRESHOLD:g} above which a result is called sensitive. Top left: the prior speaks; top right: both do; "
        "bottom right: the data do. "
        + (
            "Numbered: the most sensitive to the priors, red where the likelihood hardly moves it. "
            if named
            else ""
        )
        + f"{results.study.name}."
    )
    alt = f"{len(rows)} pooled ratios; {len(_sensitive(rows))} move with the priors at a rate of {THRESHOLD:g} or more."
    return Drawing("power_scaling", caption, alt, image_of(results, figure))
