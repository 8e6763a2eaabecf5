"""Who the tumours are: Table 1, the HER2 measure by IHC level, the infiltrate, and the HR strata compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator

from bayes_her2.data import HR_NEGATIVE, HR_POSITIVE, STRATA
from bayes_her2.estimates import ALL
from bayes_her2.report import formats
from bayes_her2.report.figures import (
    COLOURS,
    GREY,
    INK,
    MARKERS,
    PALE,
    TWIN,
    Drawing,
    draw_key,
    image_of,
)
from bayes_her2.report.load import Estimate, Results, Row, columns_of
from bayes_her2.report.sections import Section
from bayes_her2.report.tables import Cell, Column, Line, Table
from bayes_her2.report.words import who

OVERALL = "all cohorts"
WIDTH = 7.4
"""Inches: the text of these figures is as large as that of the page at column width."""

VARIABLES = {
    "age": "Age, years",
    "sex": "Sex",
    "tumour size": "Tumour size",
    "tumour_size_cm": "Tumour size, cm",
    "tumour_size_mm": "Tumour size, mm",
    "grade": "Grade",
    "stage": "Stage",
    "hr": "Hormone receptor (HR) status",
    "er": "Oestrogen receptor",
    "pgr": "Progesterone receptor",
    "her2_ihc": "HER2 IHC level",
    "her2_faint_percent": "Cells with faint HER2 staining, %",
    "her2_ish": "HER2 in-situ hybridisation",
    "her2_call": "HER2 call",
    "her2 class": "HER2 class",
    "neoadjuvant": "Neoadjuvant treatment",
    "centre": "Centre",
    "batch": "Batch",
    "pam50": "PAM50 subtype",
    "erbb2": "ERBB2 expression, as recorded",
    "esr1": "ESR1 expression, as recorded",
    "pgr_expression": "PGR expression, as recorded",
    "total_til": "Total TIL score, mean log2 expression",
    "leukocyte_fraction": "Leukocyte fraction, share of cells",
    "purity": "Tumour purity, share of cells",
    "her2_protein": "HER2 protein (RPPA), as recorded",
    "nodes": "Nodal status",
}
"""Fields of `table_one.csv` in words; others are printed as the study names them."""

GREATER = "probability_greater"
COMPARED = {
    GREATER: "P(HR- > HR+)",
    "presence_difference": "Share present, HR- minus HR+",
}


# --- tables --------------------------------------------------------------------------------------


def made_tables(results: Results) -> list[Table]:
    """Tables of the section, in reading order."""
    made = [table_one(results)]
    if results.rows("her2_by_ihc"):
        made.append(her2_by_ihc(results))
    made.append(composition(results))
    if results.rows("m1_m2"):
        made.append(macrophages(results))
    if results.answered and len(results.strata) == len(STRATA):
        made += [compared(results, estimand) for estimand in COMPARED if _compared(results, estimand)]
    return made


def table_one(results: Results) -> Table:
    """Table 1 as a journal prints it: a heading per variable, levels beneath, missing as its own row."""
    rows = results.rows("table_one")
    cohorts = list(dict.fromkeys(r["cohort"] for r in rows if r["cohort"] != OVERALL))
    columns = [*cohorts, *([OVERALL] if any(r["cohort"] == OVERALL for r in rows) else [])]
    groups = []
    for variable in dict.fromkeys(r["variable"] for r in rows):
        mine = [r for r in rows if r["variable"] == variable]
        name = results.study.measure if variable == "her2" else variable_name(results, variable)
        members = []
        for level in dict.fromkeys(r["level"] for r in mine):
            found = {r["cohort"]: r for r in mine if r["level"] == level}
            if level == "missing" and not any(r["n"] for r in found.values()):
                continue
            label = level or "median (quartiles)"
            cells = tuple(_characteristic(found.get(c), _absent(mine, c)) for c in columns)
            members.append(Line(name, (Cell(label), *cells), look="off" if level == "missing" else ""))
        groups.append(members)
    analysed = {r["cohort"]: r["analysed"] for r in results.rows("flow")}
    analysed[OVERALL] = sum(analysed.values())
    return Table(
        "table_one",
        "Characteristics of the analysed tumours by cohort: number (percent of all tumours of the cohort, missing "
        f"ones among them), or median (quartiles) of those recorded. {who(results)}",
        "Characteristic",
        (Column("", words=True), *(Column(f"{c}, n = {formats.count(analysed.get(c))}") for c in columns)),
        _spanned(groups),
        "tables/table_one.csv",
        (
            "A characteristic without a row 'missing' is recorded in all tumours.",
            "HR status and HER2 class are derived as the analysis uses them; the other rows are as the cohort "
            "records them.",
        ),
        small=True,
    )


def variable_name(results: Results, variable: str) -> str:
    """Name of a field: in the page's words, as the study labels it, or as the study names it, made readable."""
    label = results.study.labels.get(variable, "")
    known = VARIABLES.get(variable, "")
    return known or label or _capital(variable.replace("_", " "))


def _absent(rows: Sequence[Row], cohort: str) -> bool:
    return any(r["cohort"] == cohort and r["statistic"] == "field not recorded" for r in rows)


def _characteristic(row: Row | None, absent: bool) -> Cell:
    if row is None:
        return Cell("not recorded" if absent else formats.MISSING, look="off")
    if row["statistic"] == "quartiles":
        low, high = formats.number(row["q1"]), formats.number(row["q3"])
        return Cell(f"{formats.number(row['median'])} ({low} to {high})")
    if row["statistic"] == "not tabulated":
        return Cell(f"{formats.count(row['n'])} recorded", look="off")
    share = formats.percent(row["n"], _whole(row))
    return Cell(f"{formats.count(row['n'])} ({share})")


def _whole(row: Row) -> int | None:
    """All tumours behind a percentage, to print it as everywhere else."""
    return round(100 * row["n"] / row["percent"]) if row["percent"] else 1


def _spanned(groups: Sequence[Sequence[Line]]) -> tuple[Line, ...]:
    lines = []
    for members in groups:
        for i, line in enumerate(members):
            lines.append(Line(line.heading, line.cells, len(members) if i == 0 else 0, line.look))
    return tuple(lines)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def her2_by_ihc(results: Results) -> Table:
    """Quartiles of the HER2 measure by level, and the probability that one level exceeds the one below."""
    rows = results.rows("her2_by_ihc")
    groups = []
    for cohort, stratum in dict.fromkeys((r["cohort"], r["stratum"]) for r in rows):
        mine = [r for r in rows if (r["cohort"], r["stratum"]) == (cohort, stratum)]
        kruskal = next((r["p_value"] for r in mine if r["row"] == "all levels"), None)
        levels = [r for r in mine if r["row"] == "level"]
        members = []
        for i, r in enumerate(levels):
            pairs = [p for p in mine if p["row"] == "pair" and p["level"] == r["level"]]
            text = "; ".join(
                f"over {p['other_level']}: {formats.interval(p['point'], p['lower'], p['upper'], GREATER)}, "
                f"adjusted P {formats.p_value(p['p_adjusted'])}"
                for p in pairs
            )
            members.append(
                Line(
                    f"{cohort}, {'all tumours' if stratum == ALL else stratum}",
                    (
                        Cell(r["level"]),
                        Cell(formats.count(r["n"])),
                        Cell(formats.number(r["mean"])),
                        Cell(
                            f"{formats.number(r['median'])} ({formats.number(r['q1'])} to {formats.number(r['q3'])})"
                        ),
                        Cell(text or formats.MISSING),
                        Cell(formats.p_value(kruskal) if i == 0 else ""),
                    ),
                )
            )
        groups.append(members)
    lacking = sorted(
        {r["where"] for r in results.rows("notices") if "IHC level is not recorded" in r["text"]}
    )
    prob = next((r["interval_prob"] for r in rows if r["interval_prob"] is not None), None)
    return Table(
        "her2_by_ihc",
        f"{_capital(results.study.measure)} by HER2 IHC level: mean, median (quartiles), and the probability that a "
        "tumour of the level has a higher value than one of a lower level, ties counted half, with "
        f"{formats.level(prob)} confidence intervals (DeLong, logit; not adjusted) and P by Wilcoxon's test, "
        "adjusted by Bonferroni over the pairs. P: Kruskal-Wallis over the levels. "
        f"{who(results)}",
        "Cohort",
        (
            Column("Level", words=True),
            Column("n"),
            Column("Mean"),
            Column("Median (quartiles)"),
            Column("P(higher than a lower level)", words=True),
            Column("P"),
        ),
        _spanned(groups),
        "tables/her2_by_ihc.csv",
        (f"IHC level not recorded in {formats.listed(lacking)}.",) if lacking else (),
        small=True,
    )


def composition(results: Results) -> Table:
    """Mean abundance and share of tumours with each cell type, most abundant first."""
    rows = {(r["cohort"], r["stratum"], r["cell_type"]): r for r in results.rows("cell_composition")}
    cohorts = list(dict.fromkeys(c for c, _, _ in rows))
    last = cohorts[-1]
    order = sorted((r["rank"], cell) for (c, s, cell), r in rows.items() if (c, s) == (last, ALL))
    columns = [(c, s) for c in cohorts for s in (*STRATA, ALL) if any((c, s) == k[:2] for k in rows)]
    lines = []
    for _, cell in order:
        cells = []
        for cohort, stratum in columns:
            r = rows.get((cohort, stratum, cell))
            text = formats.number(r["mean"], 2) if r else formats.MISSING
            present = formats.percent(round(r["n"] * r["share_present"]), r["n"]) if r else ""
            cells.append(Cell(text, sub=f"{present} %" if r else ""))
        lines.append(Line(cell, tuple(cells)))
    unit = results.study.unit
    return Table(
        "cell_composition",
        f"What the infiltrate is made of: mean {unit} of each cell type, zeros included, and beneath it the percentage "
        f"of tumours that have the cell type; sorted by the mean over all tumours. {who(results)}",
        "Cell type",
        tuple(Column("all" if s == ALL else s, group=c) for c, s in columns),
        tuple(lines),
        "tables/cell_composition.csv",
        small=True,
    )


def macrophages(results: Results) -> Table:
    """Quartiles of M1/M2 by HR status and IHC level."""
    groups = []
    rows = results.rows("m1_m2")
    for cohort, stratum in dict.fromkeys((r["cohort"], r["stratum"]) for r in rows):
        mine = [r for r in rows if (r["cohort"], r["stratum"]) == (cohort, stratum)]
        groups.append(
            [
                Line(
                    f"{cohort}, {'all tumours' if stratum == ALL else stratum}",
                    (
                        Cell("all levels" if r["her2_ihc"] == ALL else r["her2_ihc"]),
                        Cell(formats.count(r["n"])),
                        Cell(
                            f"{formats.number(r['median'])} ({formats.number(r['q1'])} to {formats.number(r['q3'])})"
                        ),
                        Cell(formats.count(r["n_zero"])),
                        Cell(formats.count(r["n_undefined"])),
                    ),
                )
                for r in mine
            ]
        )
    return Table(
        "m1_m2",
        "Ratio of M1 to M2 macrophages: median (quartiles) by hormone receptor (HR) status and HER2 IHC level. "
        f"{who(results)}",
        "Cohort",
        (
            Column("IHC level", words=True),
            Column("n"),
            Column("M1/M2"),
            Column("without M1 (ratio 0)"),
            Column("without M2 (undefined)"),
        ),
        _spanned(groups),
        "tables/m1_m2.csv",
        ("Tumours without M2 have no ratio: they are left out of the quartiles and named in the file.",),
        small=True,
    )


def _compared(results: Results, estimand: str) -> dict[tuple[str, str, str], Estimate]:
    """Rows that compare the HR strata, by side, cohort and cell type."""
    return {
        (e.source, e.cohort, e.outcome): e
        for e in results.estimates
        if e.estimand == estimand and e.exposure == "HR status" and e.scope == "cohort"
    }


def compared(results: Results, estimand: str) -> Table:
    """Posterior beside test, cell type by cell type and cohort by cohort."""
    rows = _compared(results, estimand)
    verdicts = {
        (r["cohort"], r["outcome"]): r["verdict"]
        for r in results.rows("concordance")
        if r["estimand"] == estimand and r["exposure"] == "HR status"
    }
    cohorts = [c for c in results.cohorts if any(k[1] == c and e.has_interval for k, e in rows.items())]
    groups = []
    for cell in results.cell_types:
        members = []
        for cohort in cohorts:
            ours, twin = (rows.get((side, cohort, cell)) for side in ("posterior", "twin"))
            if ours is None and twin is None:
                continue
            members.append(
                Line(
                    cell,
                    (
                        Cell(cohort),
                        Cell(formats.count(twin.n if twin else None)),
                        Cell(formats.count(twin.n_zero if twin else None)),
                        _estimate(ours),
                        _estimate(twin),
                        Cell(formats.p_value(twin.p_value if twin else None)),
                        Cell(formats.p_value(twin.p_adjusted if twin else None)),
                        Cell(twin.note.partition(" rule")[0] if twin else ""),
                        Cell(verdicts.get((cohort, cell), "") or formats.MISSING, look="verdict"),
                    ),
                )
            )
        if members:
            groups.append(members)
    of_side = {side: [e for k, e in rows.items() if k[0] == side] for side in ("posterior", "twin")}
    what = {
        "probability_greater": "Probability that the abundance in an HR- tumour is higher than in an HR+ tumour of the "
        "same cohort, ties counted half: posterior",
        "presence_difference": "Share of tumours with the cell type, HR- minus HR+: posterior",
    }[estimand]
    test = (
        "Wilcoxon's test" if estimand == "probability_greater" else "the chi-squared or Fisher's exact test"
    )
    own = "'continuous'" if estimand == GREATER else "'presence'"
    return Table(
        f"compared_{estimand}",
        f"{what} with {formats.intervals_of(of_side['posterior'])}, beside its twin with "
        f"{formats.intervals_of(of_side['twin'])} and {test}. Not adjusted for HER2. {who(results)}",
        "Cell type",
        (
            Column("Cohort", words=True),
            Column("n"),
            Column("zeros"),
            Column("Posterior"),
            Column("Twin"),
            Column("P"),
            Column("P, Bonferroni"),
            Column("Seed study's rule", words=True),
            Column("Verdict", words=True),
        ),
        _spanned(groups),
        "tables/estimates.csv",
        (
            "Seed study's rule: by its zero share it would test a 'continuous' cell type with Wilcoxon, one under "
            "'presence' with chi-squared, and leave out an 'excluded' one. Its own tests here are those of the "
            f"{own} cell types of a cohort; they are one family, all others of the cohort another, for "
            "Bonferroni and for the posterior's s-values.",
        ),
        small=True,
    )


def _estimate(e: Estimate | None) -> Cell:
    if e is None or not e.has_interval:
        return Cell(e.status if e else formats.MISSING, look="off")
    away = formats.excludes_null(e)
    look = "hollow" if e.status != "observed" else "away" if away else ""
    text = formats.interval(e.point, e.lower, e.upper, e.estimand)
    return Cell(text, sub="" if e.status == "observed" else e.status, look=look)


# --- figures -------------------------------------------------------------------------------------


def _in_order(results: Results, rows: Sequence[Row]) -> list[str]:
    """Cohorts of some rows in the order of the report."""
    return [c for c in results.cohorts if any(r["cohort"] == c for r in rows)]


def measure_figure(results: Results) -> Drawing | None:
    """Bars of quantiles of the HER2 measure, one panel per cohort, HR strata side by side."""
    rows = [r for r in results.rows("her2_by_ihc") if r["row"] == "level" and r["stratum"] != ALL]
    if not rows:
        return None
    cohorts = _in_order(results, rows)
    levels = sorted({r["level"] for r in rows})
    strata = [s for s in STRATA if any(r["stratum"] == s for r in rows)]
    height = 3.0
    figure = Figure(figsize=(WIDTH, height))
    left, top, bottom, gap = 0.62, 0.62, 0.5, 0.5
    width = (WIDTH - left - 0.1 - gap * (len(cohorts) - 1)) / len(cohorts)
    for i, cohort in enumerate(cohorts):
        axes = figure.add_axes(
            (
                (left + i * (width + gap)) / WIDTH,
                bottom / height,
                width / WIDTH,
                (height - top - bottom) / height,
            )
        )
        for s, stratum in enumerate(strata):
            shift = (s - (len(strata) - 1) / 2) * 0.34
            found = {r["level"]: r for r in rows if (r["cohort"], r["stratum"]) == (cohort, stratum)}
            for x, level in enumerate(levels):
                if level in found:
                    _quantiles(axes, x + shift, found[level], COLOURS[stratum], MARKERS[stratum])
        axes.set_xlim(-0.6, len(levels) - 0.4)
        axes.margins(y=0.09)
        axes.xaxis.set_major_locator(FixedLocator(range(len(levels))))
        axes.xaxis.set_major_formatter(FixedFormatter(levels))
        axes.set_xlabel("HER2 IHC level")
        axes.set_title(cohort, fontsize=9, fontweight="bold", loc="left", pad=5)
        axes.grid(axis="y", color="#e6e8eb", lw=0.6)
        axes.set_axisbelow(True)
    figure.text(
        0.12 / WIDTH,
        (bottom + (height - top - bottom) / 2) / height,
        "HER2 measure",
        rotation=90,
        va="center",
    )
    draw_key(
        figure,
        [
            (s, {"color": COLOURS[s], "marker": MARKERS[s], "ms": 5, "lw": 5, "mfc": "white", "mec": INK})
            for s in strata
        ],
        left / WIDTH,
    )
    verdicts = " ".join(
        r["text"] for r in results.rows("her2_by_ihc") if r["row"] == "verdict" and r["stratum"] == ALL
    )
    return Drawing(
        "her2_by_ihc",
        f"{_capital(results.study.measure)} by HER2 IHC level, cohort and hormone receptor (HR) status: median "
        "(marker), quartiles (bar) and extremes (line); numbers of tumours beneath. All are HER2-negative, so 3+ is "
        f"not among the levels. {who(results)}",
        f"Quantiles of the HER2 measure by immunohistochemistry level. {verdicts}",
        image_of(results, figure),
    )


def _quantiles(axes: Any, x: float, row: Row, colour: str, marker: str) -> None:
    axes.plot([x, x], [row["lowest"], row["highest"]], color=colour, lw=0.9, zorder=2)
    axes.plot(
        [x, x], [row["q1"], row["q3"]], color=colour, lw=6.5, alpha=0.55, solid_capstyle="butt", zorder=3
    )
    axes.plot([x], [row["median"]], marker=marker, ms=5, mfc="white", mec=INK, mew=0.9, lw=0, zorder=4)
    axes.annotate(
        formats.count(row["n"]),
        (x, row["lowest"]),
        xytext=(0, -3),
        textcoords="offset points",
        fontsize=6.5,
        ha="center",
        va="top",
        color=GREY,
    )


def composition_figure(results: Results) -> Drawing | None:
    """Mean abundance of every cell type in HR+ and HR- tumours, one panel per cohort."""
    rows = [r for r in results.rows("cell_composition") if r["cohort"] != OVERALL]
    if not rows:
        return None
    cohorts = _in_order(results, rows)
    everywhere = [r for r in results.rows("cell_composition") if r["stratum"] == ALL]
    last = everywhere[-1]["cohort"]
    order = [
        r["cell_type"]
        for r in sorted((r for r in everywhere if r["cohort"] == last), key=lambda r: r["rank"])
    ]
    strata = [s for s in STRATA if any(r["stratum"] == s for r in rows)]
    per_row, top, bottom, left, gap = 0.2, 0.62, 0.5, 2.0, 0.25
    height = top + bottom + per_row * len(order)
    figure = Figure(figsize=(WIDTH, height))
    width = (WIDTH - left - 0.15 - gap * (len(cohorts) - 1)) / len(cohorts)
    highest = max(r["mean"] for r in rows) * 1.05
    for i, cohort in enumerate(cohorts):
        axes = figure.add_axes(
            (
                (left + i * (width + gap)) / WIDTH,
                bottom / height,
                width / WIDTH,
                (height - top - bottom) / height,
            )
        )
        for stratum in strata:
            shift = -0.16 if stratum == HR_POSITIVE else 0.16
            found = {r["cell_type"]: r for r in rows if (r["cohort"], r["stratum"]) == (cohort, stratum)}
            for y, cell in enumerate(order):
                if cell in found:
                    mean = found[cell]["mean"]
                    axes.plot([0, mean], [y + shift] * 2, color=COLOURS[stratum], lw=1.6, alpha=0.7, zorder=2)
                    axes.plot(
                        [mean],
                        [y + shift],
                        marker=MARKERS[stratum],
                        ms=3.6,
                        color=COLOURS[stratum],
                        lw=0,
                        zorder=3,
                    )
        axes.set_xlim(0, highest)
        axes.set_ylim(len(order) - 0.5, -0.5)
        axes.yaxis.set_major_locator(FixedLocator(range(len(order))))
        axes.yaxis.set_major_formatter(FixedFormatter(order if i == 0 else [""] * len(order)))
        axes.set_title(cohort, fontsize=9, fontweight="bold", loc="left", pad=5)
        axes.set_xlabel(
            f"mean {results.study.unit}" if len(cohorts) < 3 else f"mean {results.study.short_unit}"
        )
        axes.grid(axis="x", color="#e6e8eb", lw=0.6)
        axes.set_axisbelow(True)
    draw_key(
        figure,
        [(s, {"color": COLOURS[s], "marker": MARKERS[s], "ms": 4, "lw": 1.6}) for s in strata],
        left / WIDTH,
    )
    named = formats.listed(order[:3])
    unit = results.study.unit
    return Drawing(
        "cell_composition",
        f"Composition of the infiltrate: mean {unit} of each cell type by cohort and hormone receptor (HR) status, "
        f"zeros included, sorted by the mean over all tumours. Most abundant: {named}. {who(results)}",
        f"Mean abundance of each cell type; most abundant are {named}.",
        image_of(results, figure),
    )


def comparison_figure(results: Results) -> Drawing | None:
    """P(HR- > HR+) per cell type: posterior beside twin, one panel per cohort with both strata."""
    if not results.answered:
        return None
    rows = _compared(results, "probability_greater")
    cohorts = [c for c in results.cohorts if any(k[1] == c and e.has_interval for k, e in rows.items())]
    labels = [
        cell for cell in results.cell_types if any(rows[key].has_interval for key in rows if key[2] == cell)
    ]
    if not cohorts or not labels:
        return None
    per_row, top, bottom, left, gap = 0.27, 0.66, 0.5, 2.0, 0.25
    height = top + bottom + per_row * len(labels)
    figure = Figure(figsize=(WIDTH, height))
    width = (WIDTH - left - 0.15 - gap * (len(cohorts) - 1)) / len(cohorts)
    drawn = [e for e in rows.values() if e.has_interval]
    low = min(0.4, *(e.lower for e in drawn if e.lower is not None)) - 0.02
    high = max(0.6, *(e.upper for e in drawn if e.upper is not None)) + 0.02
    for i, cohort in enumerate(cohorts):
        axes = figure.add_axes(
            (
                (left + i * (width + gap)) / WIDTH,
                bottom / height,
                width / WIDTH,
                (height - top - bottom) / height,
            )
        )
        axes.axvline(0.5, color=INK, lw=0.7, zorder=1)
        for y, cell in enumerate(labels):
            if y:
                axes.axhline(y - 0.5, color="#dfe2e6", lw=0.5, zorder=0.5)
            for side, shift in (("posterior", -0.16), ("twin", 0.16)):
                e = rows.get((side, cohort, cell))
                if e is not None and e.has_interval:
                    _probability(axes, y + shift, e)
        axes.set_xlim(low, high)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.yaxis.set_major_locator(FixedLocator(range(len(labels))))
        axes.yaxis.set_major_formatter(FixedFormatter(labels if i == 0 else [""] * len(labels)))
        axes.set_title(cohort, fontsize=9, fontweight="bold", loc="left", pad=14)
        for x, text, where in ((0.0, "← lower in HR-", "left"), (1.0, "higher in HR- →", "right")):
            axes.text(
                x, 1.01, text, transform=axes.transAxes, fontsize=6.8, color=GREY, ha=where, va="bottom"
            )
        axes.set_xlabel("P(HR- > HR+)")
    keys = [
        ("posterior, higher in HR-", {"color": COLOURS[HR_NEGATIVE], "marker": "s", "ms": 5, "lw": 1.3}),
        ("posterior, lower in HR-", {"color": COLOURS[HR_POSITIVE], "marker": "o", "ms": 5, "lw": 1.3}),
        ("includes 0.5", {"color": GREY, "marker": "o", "mfc": "white", "ms": 5, "lw": 1.3}),
        ("twin", {"color": TWIN, "marker": "|", "ms": 6, "lw": 1.0, "ls": (0, (2, 1))}),
    ]
    draw_key(figure, keys, 0.02)
    of_side = {side: [e for k, e in rows.items() if k[0] == side] for side in ("posterior", "twin")}
    borrowed = any(e.status == "borrowed" and e.has_interval for e in of_side["posterior"])
    away = [e.outcome for e in of_side["posterior"] if e.status == "observed" and formats.excludes_null(e)]
    return Drawing(
        "hr_comparison",
        "Which cell types differ between hormone receptor strata? Probability that an HR- tumour has more of the cell "
        "type than an HR+ tumour of the same cohort, ties counted half: posterior with "
        f"{formats.intervals_of(of_side['posterior'])}, Wilcoxon's twin below it with "
        f"{formats.intervals_of(of_side['twin'])}. Filled and coloured: the posterior interval excludes 0.5; no "
        f"posterior: not estimable{'; pale: borrowed' if borrowed else ''}. "
        f"{who(results)}",
        "Probability of higher abundance in HR- per cell type; intervals exclude 0.5 for "
        f"{formats.listed(dict.fromkeys(away)) or 'none'}.",
        image_of(results, figure),
    )


def _probability(axes: Any, y: float, e: Estimate) -> None:
    if e.source == "twin":
        axes.plot([e.lower, e.upper], [y, y], color=TWIN, lw=1.0, ls=(0, (2, 1)), zorder=2)
        axes.plot([e.point], [y], marker="|", ms=6, color=TWIN, lw=0, zorder=3)
        return
    away = formats.excludes_null(e) and e.status == "observed"
    stratum = HR_NEGATIVE if (e.point or 0.0) > 0.5 else HR_POSITIVE
    colour = COLOURS[stratum] if away else GREY if e.status == "observed" else PALE
    axes.plot([e.lower, e.upper], [y, y], color=colour, lw=1.3, zorder=3)
    marker = MARKERS[stratum] if away else "o"
    axes.plot(
        [e.point], [y], marker=marker, ms=4.6, mfc=colour if away else "white", mec=colour, lw=0, zorder=4
    )


SECTION = Section(
    name="descriptives",
    title="Tumours and infiltrate described",
    after="data",
    needed={
        "table_one": columns_of(
            "variable level cohort statistic", ints="n n_missing", floats="percent median q1 q3"
        ),
        "cell_composition": columns_of(
            "cohort stratum cell_type", ints="n rank", floats="mean median q1 q3 share_present"
        ),
    },
    optional={
        "her2_by_ihc": columns_of(
            "cohort stratum row level other_level shape text",
            ints="n",
            floats="mean sd lowest q1 median q3 highest point lower upper interval_prob p_value p_adjusted",
        ),
        "m1_m2": columns_of(
            "cohort stratum her2_ihc undefined", ints="n n_undefined n_zero", floats="median q1 q3"
        ),
    },
    tables=made_tables,
    figures=(measure_figure, composition_figure, comparison_figure),
    figure_names=("her2_by_ihc", "cell_composition", "hr_comparison"),
)
