"""Each tumour without itself: whether forecasts are calibrated, and which results rest on a single tumour."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bayes_her2.estimates import ALL, TRUSTED_K
from bayes_her2.report import formats
from bayes_her2.report.figures import BAND, COLOURS, GREY, PALE, WIDTH, Drawing, image_of
from bayes_her2.report.load import Results, Row, columns_of
from bayes_her2.report.sections import Section
from bayes_her2.report.tables import Cell, Column, Line, Table
from bayes_her2.report.words import PART_TITLES, scope_word, who

SHOWN = 12
"""Rows of the table of influence on the page; the file has all."""
LEFT_OUT = "leave-one-out"
DASHES = ("-", (0, (4, 1.5)))
"""Line of each stratum, so that colour is not alone."""


def made_tables(results: Results) -> list[Table]:
    """Tables of the section, in reading order."""
    return [influence(results), calibration(results), tumours(results)]


def _estimand(name: str) -> str:
    return PART_TITLES[name][0] if name in PART_TITLES else name.replace("_", " ").capitalize()


def _moved(results: Results) -> list[Row]:
    """Results by what one tumour does to them: those whose interval changes side first."""
    return sorted(results.rows("influence"), key=lambda r: (-min(r["n_decisive"], 1), -abs(r["shift"])))


def influence(results: Results) -> Table:
    """Results that a single tumour moves most."""
    rows = _moved(results)
    decisive = sum(r["n_decisive"] > 0 for r in rows)
    level = formats.level(results.study.interval)
    lines = []
    for r in rows[:SHOWN]:
        with_all, without = (
            formats.interval(r[f"point{end}"], r[f"lower{end}"], r[f"upper{end}"], r["estimand"])
            for end in ("", "_without")
        )
        about = _of_tumour(results, r["tumour"])
        k = r["pareto_k"]
        lines.append(
            Line(
                r["cell_type"],
                (
                    Cell(_estimand(r["estimand"]), sub=r["stratum"]),
                    Cell(with_all, look="away" if r["excludes_null"] else ""),
                    Cell(without, look="away" if r["excludes_null_without"] else ""),
                    Cell(formats.signed(r["shift"])),
                    Cell(r["tumour"], sub=about),
                    Cell(formats.signed(k), look="strong" if k > TRUSTED_K else ""),
                    Cell(formats.count(r["n_decisive"])),
                ),
            )
        )
    return Table(
        "influence",
        f"The {len(lines)} pooled results that leaving out one tumour moves most (of {formats.count(len(rows))}; "
        f"{decisive} have an interval whose side of no association rests on one tumour, and come first). Posterior "
        f"medians with {level} credible intervals, by importance weights that leave the tumour out. Shift: of the "
        f"posterior mean, in posterior SDs. {who(results)}",
        "Cell type",
        (
            Column("Result", words=True),
            Column("All tumours"),
            Column("Without it"),
            Column("Shift"),
            Column("Tumour", words=True),
            Column("Pareto k"),
            Column("Tumours that decide it"),
        ),
        tuple(lines),
        "tables/influence.csv",
        (
            "Tumour: the one whose omission moves the result most, of those that decide it where there are any. "
            "Tumours that decide it: those whose omission alone changes whether the interval excludes no association. "
            "Where an interval ends near it, many do.",
            f"With a Pareto k above {TRUSTED_K} the numbers without the tumour are approximate.",
        ),
        small=True,
    )


def _of_tumour(results: Results, tumour: str) -> str:
    row = next(r for r in results.rows("tumours_left_out") if r["tumour"] == tumour)
    return f"{row['cohort']}, {row['hr']}, HER2 {formats.signed(row['her2_sd'])} SD"


def calibration(results: Results) -> Table:
    """Whether each cell type's forecasts are calibrated, all tumours and the worst group."""
    rows = [r for r in results.rows("predictive_pit") if r["forecast"] == LEFT_OUT]
    whole = [r for r in rows if (r["cohort"], r["hr"]) == (ALL, ALL)]
    lines = []
    for r in whole:
        parts = [g for g in rows if g["cell_type"] == r["cell_type"] and g is not r]
        worst = min(parts, key=lambda g: (g["p"], g["cohort"]), default=None)
        lines.append(
            Line(
                r["cell_type"],
                (
                    Cell(formats.count(r["n"])),
                    Cell(formats.signed(r["mean"])),
                    Cell(formats.signed(r["central_half"])),
                    Cell(f"{r['distance']:.3f}", sub=f"limit {r['limit']:.3f}"),
                    Cell(
                        formats.p_value(r["p"]),
                        sub=f"Holm {formats.p_value(r['p_holm'])}",
                        look="strong" if r["p_holm"] < 0.05 else "",
                    ),
                    Cell(_group_words(results, worst), sub=_group_numbers(worst)),
                ),
            )
        )
    return Table(
        "loo_calibration",
        "Calibration of forecasts of tumours that were left out, by cell type: probability integral transform of each "
        "abundance (0 where it lies below the whole forecast, 1 above), which is uniform if forecasts are calibrated. "
        f"Mean: 0.50 if so. Central half: 0.50 if so, less where forecasts are too narrow. {who(results)}",
        "Cell type",
        (
            Column("Tumours"),
            Column("Mean"),
            Column("In central half"),
            Column("Distance"),
            Column("P"),
            Column("Group with the lowest P", words=True),
        ),
        tuple(lines),
        "tables/predictive_pit.csv",
        (
            "Distance: Kolmogorov's, largest gap between the distribution of the transforms and the uniform one; its "
            "limit is exceeded by 1 of 20 calibrated cell types.",
            f"Holm: over the {len(whole)} cell types; in the last column over the {len(rows) - len(whole)} groups.",
        ),
        small=True,
    )


def _group_words(results: Results, group: Row | None) -> str:
    if group is None:
        return formats.MISSING
    cohort = scope_word(results, "pooled") if group["cohort"] == ALL else group["cohort"]
    return f"{cohort}, {group['hr']}, n = {formats.count(group['n'])}"


def _group_numbers(group: Row | None) -> str:
    if group is None:
        return ""
    return (
        f"mean {formats.signed(group['mean'])}, central half {formats.signed(group['central_half'])}, "
        f"P {formats.p_value(group['p'])} (Holm {formats.p_value(group['p_holm'])})"
    )


def tumours(results: Results) -> Table:
    """Tumours that move some result most, or whose weights are not to be trusted."""
    rows = results.rows("tumours_left_out")
    hard = [r for r in rows if r["pareto_k"] > TRUSTED_K]
    first = rows[:SHOWN]
    shown = [*first, *(r for r in hard if r not in first)]
    lines = tuple(
        Line(
            r["tumour"],
            (
                Cell(f"{r['cohort']}, {r['hr']}"),
                Cell(formats.signed(r["her2_sd"])),
                Cell(formats.signed(r["largest_shift"])),
                Cell(r["cell_type"] or formats.MISSING, sub=f"{_estimand(r['estimand'])}, {r['stratum']}"),
                Cell(formats.count(r["n_decisive"])),
                Cell(formats.signed(r["elpd"], 1)),
                Cell(formats.signed(r["pareto_k"]), look="strong" if r["pareto_k"] > TRUSTED_K else ""),
            ),
        )
        for r in shown
    )
    return Table(
        "tumours_left_out",
        f"Tumours that move some pooled result most, and those with a Pareto k above {TRUSTED_K} "
        f"({formats.count(len(hard))} of {formats.count(len(rows))}), which the model expects least. Shift: of a "
        f"posterior mean, in posterior SDs, when the tumour is left out. {who(results)}",
        "Tumour",
        (
            Column("Cohort and stratum", words=True),
            Column("HER2, SD"),
            Column("Largest shift"),
            Column("Of which result", words=True),
            Column("Results it decides"),
            Column("Log predictive density"),
            Column("Pareto k"),
        ),
        lines,
        "tables/tumours_left_out.csv",
        small=True,
    )


_COLUMNS, _HEIGHT = 4, 1.55


def pit(results: Results) -> Drawing | None:
    """Draw the distribution of each cell type's transforms less the uniform one, in Kolmogorov's band."""
    rows = results.rows("loo_pit_ecdf")
    if not rows:
        return None
    cells = list(dict.fromkeys(r["cell_type"] for r in rows))
    strata = [s for s in results.strata if any(r["hr"] == s for r in rows)]
    lines = -(-len(cells) // _COLUMNS)
    height = 0.6 + lines * _HEIGHT + 0.25
    figure = Figure(figsize=(WIDTH, height))
    reach = 1.15 * max(max(abs(r["below"] - r["at"]), r["limit"]) for r in rows)
    outside = set()
    for i, name in enumerate(cells):
        line, column = divmod(i, _COLUMNS)
        axes = figure.add_axes(
            (
                0.055 + column * 0.945 / _COLUMNS,
                1 - (0.6 + (line + 1) * _HEIGHT - 0.3) / height,
                0.945 / _COLUMNS - 0.03,
                (_HEIGHT - 0.5) / height,
            )
        )
        mine = {s: [r for r in rows if r["cell_type"] == name and r["hr"] == s] for s in strata}
        # The widest band lies behind: each line is to stay in the band of its own stratum.
        for s in sorted((s for s in strata if mine[s]), key=lambda s: -mine[s][0]["limit"]):
            limit = mine[s][0]["limit"]
            shade = BAND if len(mine[s]) and limit == max(m[0]["limit"] for m in mine.values() if m) else PALE
            axes.axhspan(-limit, limit, color=shade, lw=0, zorder=0)
        axes.axhline(0, color=GREY, lw=0.6, zorder=1)
        for s, dash in zip(strata, DASHES, strict=False):
            if not mine[s]:
                continue
            off = [r["below"] - r["at"] for r in mine[s]]
            axes.plot([r["at"] for r in mine[s]], off, color=COLOURS[s], lw=1.1, ls=dash, zorder=2)
            if any(abs(value) > mine[s][0]["limit"] for value in off):
                outside.add((name, s))
        axes.set_xlim(0, 1)
        axes.set_ylim(-reach, reach)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.tick_params(labelsize=6.5, axis="both")
        axes.yaxis.set_visible(column == 0)
        axes.set_title(name, fontsize=7.5, fontweight="bold", loc="left", pad=3)
    _key(figure, strata)
    caption = (
        "Calibration of forecasts of tumours that were left out: distribution of where the abundance lies in its "
        "forecast (probability integral transform, horizontal) less the uniform one (vertical), by cell type and "
        "hormone receptor stratum. Bands: calibrated forecasts stay inside, as a whole, with a probability of 95 % for "
        "each line (pale: the smaller stratum; dark: the larger). A hump above 0 is a forecast too high, one below "
        "too low; an S that first rises is one too narrow. "
        f"{who(results)}"
    )
    worst = formats.listed(f"{name} ({s})" for name, s in sorted(outside)) if outside else "none"
    alt = f"{len(cells)} panels, one per cell type. Outside its band: {worst}."
    return Drawing("loo_pit", caption, alt, image_of(results, figure))


def _key(figure: Figure, strata: list[str]) -> None:
    handles: list[Any] = [
        Line2D([], [], color=COLOURS[s], lw=1.4, ls=dash, label=s)
        for s, dash in zip(strata, DASHES, strict=False)
    ]
    figure.legend(
        handles=handles,
        loc="center left",
        bbox_to_anchor=(0.05, 1 - 0.2 / figure.get_figheight()),
        ncols=len(handles),
        frameon=False,
        fontsize=8,
        borderaxespad=0,
    )


def in_a_sentence(results: Results) -> str:
    """Say for the first page how many results rest on one tumour."""
    rows = results.rows("influence")
    if not rows or not results.answered:
        return ""
    decisive = sum(r["n_decisive"] > 0 for r in rows)
    return (
        f"{decisive} of {len(rows)} pooled results of the main model have an interval whose side of no association "
        "rests on a single tumour."
    )


SECTION = Section(
    name="left_out",
    title="Each tumour without itself: calibration and influence",
    after="checks",
    needed={
        "influence": columns_of(
            "estimand cell_type stratum tumour",
            ints="n_decisive",
            floats="point lower upper shift point_without lower_without upper_without pareto_k",
            bools="excludes_null excludes_null_without",
        ),
        "tumours_left_out": columns_of(
            "tumour cohort hr estimand cell_type stratum",
            ints="n_decisive",
            floats="her2_sd pareto_k elpd largest_shift",
        ),
        "predictive_pit": columns_of(
            "forecast cell_type cohort hr", ints="n", floats="mean central_half distance limit p p_holm"
        ),
        "loo_pit_ecdf": columns_of("cell_type hr", ints="n", floats="at below limit"),
    },
    tables=made_tables,
    figures=(pit,),
    figure_names=("loo_pit",),
    summary=in_a_sentence,
)
