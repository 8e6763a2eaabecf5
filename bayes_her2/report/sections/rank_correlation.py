"""Rank correlations: the seed study's Fig. 1 and Fig. 2a, posterior beside twin, and which measure is the stronger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure

from bayes_her2.data import HR_NEGATIVE, HR_POSITIVE
from bayes_her2.estimates import ALL, BOOTSTRAP
from bayes_her2.report import formats
from bayes_her2.report.figures import (
    COLOURS,
    GREY,
    INK,
    MARKERS,
    NOT_ESTIMABLE,
    TWIN,
    WIDTH,
    Drawing,
    Mark,
    draw_legend,
    draw_mark,
    draw_word,
    image_of,
    legend_key,
    mark_of,
)
from bayes_her2.report.load import Estimate, Results, Row, columns_of
from bayes_her2.report.sections import Section
from bayes_her2.report.tables import Cell, Column, Line, Table, estimate_cell, grouped_lines

MODEL = "rank_correlation"
BANDS = ((0.1, 0.3, "#eceef1", "weak"), (0.3, 0.5, "#d9dde3", "moderate"), (0.5, 1.0, "#c3c9d2", "strong"))
"""Strength of |rho| in the seed study's figure: from, to, shade, word."""

OVERALL = "#4b3f8f"
_TWINS = "tables/estimates.csv"
_KNOWN_HR = "tumours of unknown hormone receptor status are left out"
_PAIR = columns_of("exposure stratum", floats="x y")


def _own(results: Results, **equal: str) -> dict[tuple[str, str], Estimate]:
    """Posterior rows of one selection by outcome and exposure."""
    return {(e.outcome, e.exposure): e for e in results.of_model(MODEL, **equal)}


def _twin(results: Results, **equal: str) -> dict[tuple[str, str], Estimate]:
    """Twins likewise, without the bootstrap."""
    rows = results.of_model(MODEL, "twin", **equal)
    return {(e.outcome, e.exposure): e for e in rows if e.method != BOOTSTRAP}


def _outcomes(results: Results, exposure: str) -> list[str]:
    """Outcomes of an exposure with a number somewhere, in the order of the tables."""
    rows = results.of_model(MODEL, estimand="spearman", exposure=exposure)
    return list(dict.fromkeys(e.outcome for e in rows if e.point is not None))


def _hollow(estimates: Iterable[Estimate]) -> str:
    """Statuses other than observed, as a key: ``borrowed or prior-only``."""
    found = dict.fromkeys(e.status for e in estimates if e.status != "observed" and e.point is not None)
    return formats.listed(found, "or")


def _unrecorded(results: Results) -> tuple[str, ...]:
    """Say what a cohort does not record, once each."""
    rows = results.of_model(MODEL, estimand="spearman", scope="cohort")
    lacking = dict.fromkeys(
        (e.cohort, reason)
        for e in rows
        if e.stratum == ALL
        for reason in [e.note.split(": ", 1)[-1]]
        if e.status == "not estimable" and reason.endswith("is not recorded")
    )
    return tuple(f"{cohort}: {reason}; nothing is borrowed for it." for cohort, reason in lacking)


def _who(results: Results) -> str:
    record = results.models[MODEL]
    return (
        f"n\u00a0=\u00a0{formats.count(record.n_tumours)} tumours, "
        f"{formats.plural(len(record.cohorts), 'cohort')}; HER2 measure: {results.study.measure}."
    )


# --- figure 1a -----------------------------------------------------------------------------------


def bars(results: Results) -> Drawing:
    """Correlation of the HER2 measure with every outcome, cohort by cohort, on bands of strength."""
    measure, cohorts = results.study.measure, results.models[MODEL].cohorts
    labels = _outcomes(results, measure)
    places = [(cohort, {"scope": "cohort", "cohort": cohort}) for cohort in cohorts]
    if len(cohorts) > 1:
        places.append(("Cohorts pooled", {"scope": "pooled"}))
    columns: list[tuple[str, list[list[Mark]]]] = []
    shown: list[Estimate] = []
    twins: list[Estimate] = []
    for title, where in places:
        own = _own(results, estimand="spearman", stratum=ALL, exposure=measure, **where)
        matched = _twin(results, estimand="spearman", stratum=ALL, exposure=measure, **where)
        rows = []
        for outcome in labels:
            mine, theirs = own.get((outcome, measure)), matched.get((outcome, measure))
            marks = [mark_of(mine, colour=OVERALL, marker="o")]
            if theirs is not None and theirs.has_interval:
                marks.append(replace(mark_of(theirs, colour=TWIN, marker="^"), filled=True))
            rows.append(marks)
        columns.append((title, rows))
        shown += own.values()
        twins += matched.values()
    reach = _reach(mark for _, rows in columns for marks in rows for mark in marks)
    left, top, bottom, right, gap, per_row = 2.2, 0.62, 0.5, 0.1, 0.28, 0.3
    height = top + bottom + per_row * max(len(labels), 1)
    figure = Figure(figsize=(WIDTH, height))
    width = (WIDTH - left - right - gap * (len(columns) - 1)) / len(columns)
    for k, (title, rows) in enumerate(columns):
        box = (
            (left + k * (width + gap)) / WIDTH,
            bottom / height,
            width / WIDTH,
            (height - top - bottom) / height,
        )
        axes = figure.add_axes(box)
        _bands(axes, reach)
        for position, marks in enumerate(rows):
            for mark, offset in zip(marks, (-0.17, 0.17) if len(marks) > 1 else (0.0,), strict=True):
                draw_mark(axes, position + offset, mark, (-reach, reach))
                draw_word(axes, position + offset, mark)
        for row in range(1, len(labels)):
            axes.axhline(row - 0.5, color="#ffffff", lw=0.8, zorder=0.6)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_yticks(range(len(labels)))
        axes.set_yticklabels(labels if k == 0 else [])
        axes.tick_params(axis="y", pad=7)
        axes.set_title(title, fontsize=9, fontweight="bold", loc="left", pad=5)
        axes.set_xlabel("Spearman's rho", fontsize=8)
    keys = [("posterior", legend_key(OVERALL, "o")), ("frequentist twin", legend_key(TWIN, "^"))]
    hollow = _hollow(e for e in shown if e.has_interval)
    if hollow:
        keys.append((hollow, legend_key(OVERALL, "o", filled=False)))
    keys += [
        (f"{word} (from {low:g})", {"color": c, "lw": 9, "marker": ""})
        for low, _, c, word in BANDS
        if low < reach
    ]
    draw_legend(figure, keys, 0.2, left / WIDTH)
    infiltrate = [o for o in labels if o not in results.cell_types]
    beside = f" and {formats.listed(infiltrate)}" if infiltrate else ""
    caption = (
        f"Rank correlation of {measure} with each immune cell type{beside}, over all tumours of a cohort, HR+ and HR- "
        f"together ({_KNOWN_HR}): posterior medians with {formats.intervals_of(shown)}, and the frequentist twin with "
        f"{formats.intervals_of(twins)}. Zeros are tied. Grey bands: weak, moderate and strong correlations, as in the "
        f"seed study. Cell types of which more than 80 % of the tumours are tied are left out. {_who(results)}"
    )
    alt = f"Correlations of the HER2 measure with {len(labels)} outcomes, posterior and twin, by cohort."
    return Drawing("rank_correlation_bars", caption, alt, image_of(results, figure))


def _reach(marks: Iterable[Mark]) -> float:
    """Half width of a symmetric axis in steps of 0.1."""
    ends = [abs(v) for m in marks for v in (m.lower, m.upper) if v is not None]
    return min(1.0, max(0.4, -(-int(1000 * max(ends, default=0.4)) // 100) / 10))


def _bands(axes: Any, reach: float) -> None:
    """Shade strengths, draw the line of no association, and set the axis."""
    for low, high, colour, _ in BANDS:
        for sign in (-1, 1):
            edges = sorted((sign * low, sign * min(high, reach)))
            if low < reach:
                axes.axvspan(*edges, color=colour, lw=0, zorder=0)
    axes.axvline(0, color=INK, lw=0.7, zorder=1)
    axes.set_xlim(-reach, reach)
    ticks = [t / 10 for t in range(-10, 11, 1 if reach <= 0.5 else 2) if abs(t / 10) <= reach]
    axes.set_xticks(ticks)
    axes.set_xticklabels([formats.signed(t, 1) for t in ticks])


# --- figure 1b -----------------------------------------------------------------------------------


def scatter(results: Results) -> Drawing | None:
    """Total infiltrate against each measure, one dot for each tumour, with a line for each HR stratum."""
    dots, lines = results.rows(f"{MODEL}_scatter"), results.rows(f"{MODEL}_scatter_lines")
    if not dots:
        return None
    exposures = list(dict.fromkeys(r["exposure"] for r in dots))
    (infiltrate,) = _infiltrate(results)
    left, top, bottom, gap = 0.7, 0.62, 0.72, 0.4
    width = min(5.0, (WIDTH - left - 0.1 - gap * (len(exposures) - 1)) / len(exposures))
    height = top + bottom + min(width, 3.2)
    figure = Figure(figsize=(WIDTH, height))
    for k, exposure in enumerate(exposures):
        box = (
            (left + k * (width + gap)) / WIDTH,
            bottom / height,
            width / WIDTH,
            (height - top - bottom) / height,
        )
        axes = figure.add_axes(box)
        for stratum in results.strata:
            own = [r for r in dots if (r["exposure"], r["stratum"]) == (exposure, stratum)]
            axes.plot(
                [r["x"] for r in own],
                [r["y"] for r in own],
                ls="",
                marker=MARKERS[stratum],
                ms=2.4,
                mfc=COLOURS[stratum],
                mec="none",
                alpha=0.45,
                zorder=2,
                rasterized=False,
            )
            line = [r for r in lines if (r["exposure"], r["stratum"]) == (exposure, stratum)]
            x = [r["x"] for r in line]
            axes.fill_between(
                x,
                [r["lower"] for r in line],
                [r["upper"] for r in line],
                color=COLOURS[stratum],
                alpha=0.22,
                lw=0,
                zorder=3,
            )
            style = "-" if stratum == HR_POSITIVE else (0, (5, 1.5))
            axes.plot(x, [r["y"] for r in line], color=COLOURS[stratum], lw=1.8, ls=style, zorder=4)
        axes.set_title(exposure, fontsize=9, fontweight="bold", loc="left", pad=5)
        axes.set_xlabel(f"{exposure.split(',')[0]} (SD within cohort)", fontsize=8)
        if k == 0:
            axes.set_ylabel(f"{infiltrate} (SD within cohort)", fontsize=8)
        axes.spines["left"].set_visible(True)
        axes.tick_params(axis="y", length=3)
    looks = {HR_POSITIVE: "-", HR_NEGATIVE: (0, (5, 1.5))}
    keys = [
        (
            stratum,
            {"color": COLOURS[stratum], "marker": MARKERS[stratum], "ms": 4, "lw": 1.8, "ls": looks[stratum]},
        )
        for stratum in results.strata
    ]
    draw_legend(figure, keys, 0.2, left / WIDTH)
    level = formats.level(results.of_model(MODEL)[0].interval_prob)
    caption = (
        f"{formats.sentence(infiltrate)[:-1]} against each measure, one dot for each tumour, by hormone receptor (HR) "
        f"status. Both axes in SDs within the cohort. Lines: least squares in each stratum, with {level} confidence "
        f"bands (description only; the correlations are in the tables). {_who(results)}"
    )
    alt = f"Scatter of {infiltrate} against {formats.listed(exposures)} with regression lines by HR status."
    return Drawing("rank_correlation_scatter", caption, alt, image_of(results, figure))


def _infiltrate(results: Results) -> list[str]:
    """Label of the total infiltrate: what is both an outcome and an exposure."""
    rows = results.of_model(MODEL, estimand="spearman")
    outcomes = {e.outcome for e in rows}
    return list(dict.fromkeys(e.exposure for e in rows if e.exposure in outcomes))


# --- figure 2a -----------------------------------------------------------------------------------


def matrix(results: Results) -> Drawing | None:
    """Correlations of every two measures and cell types, HR+ beside HR-."""
    rows = results.rows(f"{MODEL}_matrix")
    strata = [s for s in (HR_POSITIVE, HR_NEGATIVE) if any(r["stratum"] == s for r in rows)]
    names = list(dict.fromkeys(n for r in rows for n in (r["column"], r["row"])))
    known = {n for r in rows if r["spearman"] is not None for n in (r["row"], r["column"])}
    names = [n for n in names if n in known]
    at = {name: i for i, name in enumerate(names)}
    size = len(names)
    if not size:
        return None
    left, top, bottom, gap = 1.9, 0.55, 1.65, 0.25
    width = (WIDTH - left - 0.15 - gap * (len(strata) - 1)) / max(len(strata), 2)
    height = top + bottom + width
    figure = Figure(figsize=(WIDTH, height))
    values: dict[tuple[str, int, int], Row] = {}
    for r in rows:
        if r["row"] in at and r["column"] in at:
            i, j = at[r["row"]], at[r["column"]]
            values[r["stratum"], i, j] = values[r["stratum"], j, i] = r
    image = None
    for k, stratum in enumerate(strata):
        box = ((left + k * (width + gap)) / WIDTH, bottom / height, width / WIDTH, width / height)
        axes = figure.add_axes(box)
        grid = [
            [
                value
                if (row := values.get((stratum, i, j))) and (value := row["spearman"]) is not None
                else float("nan")
                for j in range(size)
            ]
            for i in range(size)
        ]
        image = axes.imshow(grid, cmap="RdBu_r", vmin=-0.8, vmax=0.8, interpolation="nearest")
        axes.set_facecolor("#f3f3f3")
        for i in range(size):
            for j in range(size):
                row = values.get((stratum, i, j))
                if row is None or row["spearman"] is None:
                    continue
                value = row["spearman"]
                text = formats.signed(value, 1).replace("0.", ".")
                own = row["status"] == "observed"
                bold = "bold" if row["basis"] == "posterior" and own else "normal"
                colour = "white" if abs(value) > 0.5 else INK if own else GREY
                axes.text(
                    j,
                    i,
                    text,
                    ha="center",
                    va="center",
                    fontsize=5.4,
                    color=colour,
                    fontweight=bold,
                    fontstyle="normal" if own else "italic",
                )
        axes.set_xticks(range(size))
        axes.set_xticklabels(names, rotation=90, fontsize=6.4)
        axes.set_yticks(range(size))
        axes.set_yticklabels(names if k == 0 else [], fontsize=6.4)
        axes.tick_params(length=0, pad=2)
        axes.set_title(stratum, fontsize=9, fontweight="bold", loc="left", pad=5)
        for side in axes.spines.values():
            side.set_visible(False)
    if image is not None:
        bar = figure.add_axes((0.02, 0.35 / height, 1.3 / WIDTH, 0.12 / height))
        figure.colorbar(image, cax=bar, orientation="horizontal", ticks=[-0.8, 0, 0.8])
        bar.set_xticklabels([formats.signed(-0.8, 1), "0", "0.8"])
        bar.set_title("Spearman's rho", fontsize=7, loc="left", pad=3, color=GREY)
    several = len(results.models[MODEL].cohorts) > 1
    inferred = dict.fromkeys(
        r["status"] for r in values.values() if r["spearman"] is not None and r["status"] != "observed"
    )
    italics = (
        f"Grey italics: {formats.listed(inferred, 'or')}, so partly taken from tumours of the other stratum. "
        if inferred
        else ""
    )
    within = " within cohorts, averaged over them" if several else ""
    caption = (
        "Spearman correlations of measures and immune cell types in HR+ (left) and HR- tumours (right). Bold: "
        f"posterior medians{', cohorts pooled' if several else ''} (a measure or the total infiltrate against an "
        f"outcome). Others: the sample's correlations{within}. {italics}Empty: cannot be had there. On the relative "
        "scale cell types share one total, which pushes their correlations with each other below zero. "
        f"{_who(results)}"
    )
    alt = f"Two correlation matrices of {size} measures and cell types, HR+ and HR-."
    return Drawing("rank_correlation_matrix", caption, alt, image_of(results, figure))


# --- tables --------------------------------------------------------------------------------------


def comparison(results: Results) -> Table:
    """Compare measures on the same tumours, with the probability that the HER2 measure is the stronger."""
    several = len(results.models[MODEL].cohorts) > 1
    scope = "pooled" if several else "cohort"
    rows = [r for r in results.rows(f"{MODEL}_comparison") if r["scope"] == scope]
    twins = {
        (e.outcome, e.exposure, e.stratum): e
        for e in results.of_model(MODEL, "twin", estimand="strength_difference", scope=scope)
    }
    own = {
        (e.outcome, e.exposure, e.stratum): e
        for e in results.of_model(MODEL, estimand="strength_difference", scope=scope)
    }
    first = _infiltrate(results)
    outcomes = list(dict.fromkeys([*first, *(r["outcome"] for r in rows)]))
    groups = []
    for outcome in outcomes:
        members = []
        for r in (r for r in rows if r["outcome"] == outcome):
            exposure = f"{r['measure']} against {r['other']}"
            look = "" if r["status"] == "observed" else "hollow"
            twin = twins.get((outcome, exposure, r["stratum"]))
            members.append(
                Line(
                    outcome,
                    (
                        Cell(r["other"]),
                        Cell(r["stratum"]),
                        Cell(formats.signed(r["rho_measure"]), look=look),
                        Cell(formats.signed(r["rho_other"]), look=look),
                        estimate_cell(own.get((outcome, exposure, r["stratum"]))),
                        Cell(formats.probability(r["probability_stronger"]), look=look),
                        estimate_cell(twin),
                        Cell(formats.p_value(twin.p_value if twin else None)),
                    ),
                )
            )
        if members:
            groups.append((outcome, members))
    return Table(
        "rank_correlation_comparison",
        f"Is {results.study.measure} correlated more strongly than another measure of the same tumours? rho: posterior "
        f"medians of Spearman's correlation{', cohorts pooled' if several else ''}; difference of their absolute "
        f"values with {formats.intervals_of(own.values())}, and the probability that the HER2 measure is the stronger. "
        "The difference knows that the measures are correlated with each other. Twin: the same difference with "
        f"{formats.intervals_of(twins.values())} for dependent correlations. {_who(results)}",
        "Outcome",
        (
            Column("Other measure", words=True),
            Column("HR", words=True),
            Column("rho, HER2 measure"),
            Column("rho, other"),
            Column("Difference of |rho|", "Posterior"),
            Column("P(HER2 measure stronger)", "Posterior"),
            Column("Difference of |rho|", "Twin"),
            Column("P (Steiger)", "Twin"),
        ),
        grouped_lines(groups),
        f"tables/{MODEL}_comparison.csv",
        (*_inferred(own.values()), *_unrecorded(results)),
        small=True,
    )


def correlation_table(results: Results) -> Table:
    """Every correlation of the HER2 measure: by stratum, their difference, and in words."""
    measure = results.study.measure
    where = {"scope": "pooled", "exposure": measure}
    strata = [*results.strata, ALL]
    own = {s: _own(results, estimand="spearman", stratum=s, **where) for s in strata}
    latent = {s: _own(results, estimand="latent_spearman", stratum=s, **where) for s in strata}
    twin = {s: _twin(results, estimand="spearman", stratum=s, **where) for s in strata}
    words = {
        (r["outcome"], r["stratum"]): Cell(r["strength"], look="" if r["status"] == "observed" else "hollow")
        for r in results.rows(f"{MODEL}_strength")
        if r["scope"] == "pooled" and r["exposure"] == measure
    }
    groups = []
    for outcome in _outcomes(results, measure):
        key = (outcome, measure)
        members = [
            Line(
                outcome,
                (
                    Cell(stratum),
                    Cell(formats.count(e.n if (e := _counted(own[stratum].get(key))) else None)),
                    Cell(formats.percent(e.n_zero, e.n) if e else formats.MISSING),
                    estimate_cell(own[stratum].get(key)),
                    words.get((outcome, stratum), Cell(formats.MISSING)),
                    estimate_cell(twin[stratum].get(key)),
                    Cell(formats.p_value(t.p_value if (t := twin[stratum].get(key)) else None)),
                    Cell(formats.p_value(t.p_adjusted if (t := twin[stratum].get(key)) else None)),
                    estimate_cell(latent[stratum].get(key)),
                ),
            )
            for stratum in strata
        ]
        groups.append((outcome, members))
    shown = [e for by in own.values() for e in by.values()]
    twins = [e for by in twin.values() for e in by.values()]
    return Table(
        "rank_correlation_all",
        f"Spearman's correlation of {measure} with every outcome, by hormone receptor (HR) status and over all "
        f"tumours ({_KNOWN_HR}). Observed scale: zeros tied, posterior medians with {formats.intervals_of(shown)}, and "
        f"the twin with {formats.intervals_of(twins)}; Bonferroni over outcomes. Latent scale: zeros are low "
        "values that are not seen. Strength in the seed study's words: weak from 0.1, moderate from 0.3, strong from "
        "0.5. "
        f"{_who(results)}",
        "Outcome",
        (
            Column("HR", words=True),
            Column("n"),
            Column("Zeros"),
            Column("Posterior", "Observed scale"),
            Column("Strength", "Observed scale", words=True),
            Column("Twin", "Observed scale"),
            Column("P", "Observed scale"),
            Column("P, Bonferroni", "Observed scale"),
            Column("Posterior", "Latent scale"),
        ),
        grouped_lines(groups),
        _TWINS,
        (*_inferred(shown), *_remarks(shown), *_unrecorded(results)),
        small=True,
    )


def difference_table(results: Results) -> Table:
    """HR- minus HR+ of every exposure."""
    where = {"estimand": "spearman_difference", "scope": "pooled"}
    own, twin = _own(results, **where), _twin(results, **where)
    exposures = list(dict.fromkeys(e for _, e in own))
    groups = []
    for outcome in dict.fromkeys(o for (o, _), e in own.items() if e.point is not None):
        members = [
            Line(
                outcome,
                (
                    Cell(exposure),
                    estimate_cell(mine),
                    Cell(formats.probability(mine.pd)),
                    estimate_cell(twin.get((outcome, exposure))),
                    Cell(formats.p_value(t.p_value if (t := twin.get((outcome, exposure))) else None)),
                ),
            )
            for exposure in exposures
            if (mine := own.get((outcome, exposure))) is not None and mine.point is not None
        ]
        groups.append((outcome, members))
    return Table(
        "rank_correlation_difference",
        "Spearman's correlation in HR- tumours minus that in HR+ tumours. Posterior medians with "
        f"{formats.intervals_of(own.values())} and probability of the direction (pd); twin with "
        f"{formats.intervals_of(twin.values())}. {_who(results)}",
        "Outcome",
        (
            Column("Exposure", words=True),
            Column("HR- minus HR+", "Posterior"),
            Column("pd", "Posterior"),
            Column("HR- minus HR+", "Twin"),
            Column("P", "Twin"),
        ),
        grouped_lines(groups),
        _TWINS,
        _inferred(own.values()),
        small=True,
    )


def _counted(estimate: Estimate | None) -> Estimate | None:
    """Return the estimate if the tumours it counts are all that stands behind it."""
    return estimate if estimate is not None and estimate.status in ("observed", NOT_ESTIMABLE) else None


def _inferred(estimates: Iterable[Estimate]) -> tuple[str, ...]:
    """Say what the rows that are not observed rest on."""
    notes = dict.fromkeys(
        f"{formats.sentence(e.status)[:-1]}: {e.note}."
        for e in estimates
        if e.status in ("borrowed", "prior-only") and e.point is not None
    )
    return tuple(notes)


def _remarks(estimates: Iterable[Estimate]) -> tuple[str, ...]:
    """Say what else the notes of observed rows hold: ties of the measure, tumours without a ratio."""
    found: dict[str, list[str]] = {}
    for e in estimates:
        if e.status == "observed" and e.note and not e.note.startswith("rests on"):
            found.setdefault(e.note, []).append(e.outcome)
    return tuple(
        f"{formats.listed(outcomes) if len(outcomes) < 4 else formats.plural(len(outcomes), 'outcome')}: {note}."
        for note, outcomes in found.items()
    )


def heterogeneity_table(results: Results) -> Table:
    """Spread between cohorts of every line of correlations, beside its prior."""
    rows = results.rows(f"{MODEL}_heterogeneity")
    groups = []
    for exposure in dict.fromkeys(r["exposure"] for r in rows):
        members = [
            Line(
                exposure,
                (
                    Cell("all tumours" if r["strata"] == ALL else r["strata"]),
                    Cell("HR- minus HR+" if r["term"] == "difference" else r["term"]),
                    Cell(formats.interval(r["between_sd_point"], r["lower"], r["upper"], "between_sd")),
                    Cell(formats.signed(r["prior_median"])),
                    Cell(formats.count(r["n_cohorts_informing"])),
                    Cell(formats.signed(r["outcomes_sd_point"])),
                    Cell(r["note"]),
                ),
            )
            for r in rows
            if r["exposure"] == exposure
        ]
        groups.append((exposure, members))
    return Table(
        "rank_correlation_heterogeneity",
        "How much the correlations of a measure differ between cohorts, and between outcomes: standard deviations, "
        f"posterior medians (between cohorts with {formats.intervals_of(results.of_model(MODEL))}), beside the "
        "median of the prior. The scale is asinh(v), which for a single measure is Fisher's z of the correlation; "
        "beside other measures of the same tumours the correlations themselves differ by less. With few cohorts the "
        f"spread rests largely on its prior. {_who(results)}",
        "Measure",
        (
            Column("Tumours", words=True),
            Column("Term", words=True),
            Column("Posterior", "SD between cohorts"),
            Column("Prior median", "SD between cohorts"),
            Column("Cohorts informing", "SD between cohorts"),
            Column("SD between outcomes"),
            Column("Note", words=True),
        ),
        grouped_lines(groups),
        f"tables/{MODEL}_heterogeneity.csv",
        small=True,
    )


def tables(results: Results) -> list[Table]:
    """Tables of the section, in reading order."""
    made = [comparison(results)] if results.rows(f"{MODEL}_comparison") else []
    made.append(correlation_table(results))
    if len(results.strata) == 2:
        made.append(difference_table(results))
    made.append(heterogeneity_table(results))
    return made


SECTION = Section(
    name=MODEL,
    title="Rank correlations",
    after="checks",
    model=MODEL,
    needed={
        f"{MODEL}_strength": columns_of(
            "exposure outcome stratum scope cohort status strength", floats="spearman"
        ),
        f"{MODEL}_matrix": columns_of("stratum row column basis status", ints="n", floats="spearman"),
        f"{MODEL}_heterogeneity": columns_of(
            "exposure strata term note",
            ints="n_cohorts_informing",
            floats="between_sd_point lower upper prior_median outcomes_sd_point",
        ),
    },
    optional={
        f"{MODEL}_comparison": columns_of(
            "outcome measure other stratum scope cohort status",
            floats="rho_measure rho_other difference lower upper probability_stronger",
        ),
        f"{MODEL}_scatter": _PAIR,
        f"{MODEL}_scatter_lines": _PAIR | columns_of(floats="lower upper"),
    },
    tables=tables,
    figures=(bars, scatter, matrix),
    figure_names=("rank_correlation_bars", "rank_correlation_scatter", "rank_correlation_matrix"),
)
