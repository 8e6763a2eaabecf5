"""The analysis of covariance: curves of the marginal mean, slopes beside the twin, type III tests, and its checks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

from bayes_her2.data import DIFFERENCE_MINUS, STRATA
from bayes_her2.estimates import ALL, COHORT_FIXED
from bayes_her2.report import formats
from bayes_her2.report.figures import GREY, INK, TWIN, Drawing, Maker, draw_key, image_of
from bayes_her2.report.load import Estimate, Results, Row, columns_of
from bayes_her2.report.sections import Section
from bayes_her2.report.tables import Cell, Column, Line, Table

MODEL = "marginal_effect"
SEED_FIRST = ("B cells naive", "Plasma cells")
"""Cell types of the seed study's figure of marginal means: shown first."""
MEANING = {
    "observed": "averaged over the tumours as they are",
    "equal": "every cell of HR status x IHC level counts the same (least-squares means)",
}
"""Weightings, and what each averages over."""
WIDTH = 7.4
"""Inches: the text of these figures is as large as that of the page at column width."""
BLUE = "#0072b2"
FILL = "#a9cfe6"
DASHED: Any = (0, (4, 2))
DOTTED: Any = (0, (1, 1.5))
TERMS = {
    "cohort": "cohort",
    "her2": "HER2",
    "hr": "HR",
    "her2_ihc": "IHC",
    "her2 x hr": "HER2 x HR",
    "her2 x her2_ihc": "HER2 x IHC",
    "hr x her2_ihc": "HR x IHC",
}
SCALE = "marginal_effect_outcome_scale"
TESTS = "marginal_effect_tests"
CHECKS = "marginal_effect_residual_checks"
LINEARITY = "marginal_effect_linearity"
CURVES = "marginal_effect_linearity_curves"
SPREADS = "marginal_effect_heterogeneity"
LARGE_FACTOR = 6.0
"""Common logarithm of a Bayes factor above which it is printed as that: beyond a million the size says nothing more."""

type _Slopes = dict[tuple[str, str, str, str], Estimate]  # cell type, weighting, stratum, cohort


def slope_contrast(weighting: str) -> str:
    """Contrast of the marginal slopes of one weighting."""
    return f"h + 1 SD over h, {weighting} weights"


def mean_contrast(weighting: str) -> str:
    """Contrast of the marginal means of one weighting."""
    return f"mean at h, {weighting} weights"


def fixed(point: float | None, lower: float | None, upper: float | None) -> str:
    """Format as ``point (lower to upper)``, to two significant digits of the interval's width."""
    if point is None or lower is None or upper is None:
        return formats.MISSING
    width = upper - lower
    decimals = max(0, 1 - math.floor(math.log10(width))) if width > 0 else 3
    low, middle, high = (formats.signed(v, decimals) for v in (lower, point, upper))
    return f"{middle} ({low} to {high})"


def modelled(results: Results) -> list[str]:
    """Continuous cell types, those of the seed study's figure first."""
    names = [row["cell_type"] for row in results.rows(SCALE)]
    return [c for c in SEED_FIRST if c in names] + [c for c in names if c not in SEED_FIRST]


def unit(results: Results) -> str:
    """Say in what unit the outcome is."""
    return next((str(row["unit"]) for row in results.rows(SCALE)), "")


def cohorts_of(results: Results) -> tuple[str, ...]:
    """Cohorts that the model was fitted to."""
    return results.models[MODEL].cohorts


def who(results: Results) -> str:
    """Say whose tumours these are."""
    record = results.models[MODEL]
    adjusted = "" if record.adjustment == "none" else f"; adjusted for {record.adjustment}"
    fewer = _with_fewer(results)
    less = f"; fewer for {formats.listed(fewer)}" if fewer else ""
    n = formats.count(record.n_tumours)
    return f"{n} tumours with a HER2 IHC level ({formats.listed(record.cohorts)}){less}{adjusted}."


def measure(results: Results) -> str:
    """Say what HER2 is."""
    return f"HER2 is {results.study.measure}, in SDs within hormone receptor (HR) strata."


def _slopes(results: Results, source: str, scope: str = "pooled") -> _Slopes:
    """Marginal slopes of one side; of the twin those of the matched method: pooled, one regression over all cohorts."""
    by_contrast = {slope_contrast(weighting): weighting for weighting in MEANING}
    return {
        (e.outcome, by_contrast[e.contrast], e.stratum, e.cohort): e
        for e in results.of_model(MODEL, source, estimand="marginal_slope", scope=scope)
        if source == "posterior" or scope != "pooled" or e.method == COHORT_FIXED
    }


def _curves(results: Results, source: str, weighting: str) -> dict[str, list[Estimate]]:
    """Marginal means over all tumours by cell type, along HER2."""
    found: dict[str, list[Estimate]] = {}
    for e in results.of_model(MODEL, source, estimand="marginal_mean", scope="pooled", stratum=ALL):
        if e.contrast == mean_contrast(weighting) and e.has_interval and e.at is not None:
            found.setdefault(e.outcome, []).append(e)
    return {cell: sorted(mine, key=lambda e: e.at or 0.0) for cell, mine in found.items()}


def _strata(slopes: Mapping[tuple[str, str, str, str], Estimate]) -> list[str]:
    present = {key[2] for key in slopes}
    return [s for s in (ALL, *STRATA, DIFFERENCE_MINUS) if s in present]


def _named(stratum: str) -> str:
    return "All tumours" if stratum == ALL else stratum


def _away(e: Estimate | None) -> bool:
    """Whether an observed interval excludes 0."""
    return e is not None and e.status == "observed" and formats.excludes_null(e)


# --- tables --------------------------------------------------------------------------------------


def made_tables(results: Results) -> list[Table]:
    """Tables of the section, in reading order."""
    made = [slope_table(results), stratum_table(results)]
    if len(cohorts_of(results)) > 1:
        made.append(cohort_table(results))
    made += [spread_table(results), type_iii_table(results)]
    if len(cohorts_of(results)) > 1:
        made.append(type_iii_table(results, by_cohort=True))
    made += [linearity_table(results), residual_table(results)]
    if results.rows("posterior_predictive", MODEL):
        made.append(predictive_table(results))
    return made


def _cell(e: Estimate | None) -> Cell:
    if e is None or not e.has_interval:
        return Cell(e.status if e else formats.MISSING, look="off")
    look = "hollow" if e.status != "observed" else "away" if _away(e) else ""
    return Cell(fixed(e.point, e.lower, e.upper), sub="" if e.status == "observed" else e.status, look=look)


def _beside(posterior: Estimate | None, twin: Estimate | None) -> Cell:
    """Posterior, and on a second line its status where it is not observed, and the twin."""
    cell = _cell(posterior)
    said = fixed(twin.point, twin.lower, twin.upper) if twin and twin.has_interval else formats.MISSING
    return Cell(cell.text, sub="; ".join(filter(None, (cell.sub, f"twin {said}"))), look=cell.look)


def slope_table(results: Results) -> Table:
    """Pooled marginal slopes over all tumours, posterior beside twin."""
    ours, theirs = _slopes(results, "posterior"), _slopes(results, "twin")
    verdicts = {
        (r["outcome"], r["contrast"]): str(r["verdict"])
        for r in results.rows("concordance", MODEL)
        if r["scope"] == "pooled" and r["stratum"] == ALL
    }
    lines = []
    for cell in modelled(results):
        for i, weighting in enumerate(MEANING):
            posterior, twin = (side.get((cell, weighting, ALL, "")) for side in (ours, theirs))
            verdict = verdicts.get((cell, slope_contrast(weighting)), "")
            cells = (
                Cell(weighting),
                _cell(posterior),
                _cell(twin),
                Cell(formats.p_value(twin.p_value if twin else None)),
                Cell(formats.p_value(twin.p_adjusted if twin else None)),
                Cell(formats.probability(posterior.p_in_rope if posterior else None)),
                Cell(verdict or formats.MISSING, look="verdict"),
            )
            lines.append(Line(cell, cells, 2 if i == 0 else 0, "first" if i == 0 else ""))
    return Table(
        "marginal_slopes",
        f"Marginal slopes, all tumours: {_what(results)}. Posterior median with {formats.intervals_of(ours.values())} "
        f"beside {_twin(results)} with {formats.intervals_of(theirs.values())}. {who(results)} {measure(results)}",
        "Cell type",
        (
            Column("Weights", words=True),
            Column("Posterior"),
            Column("Twin"),
            Column("P"),
            Column("P, Bonferroni"),
            Column("P(in ROPE)"),
            Column("Verdict", words=True),
        ),
        tuple(lines),
        "tables/estimates.csv",
        (
            f"Observed weights: {MEANING['observed']}; equal weights: {MEANING['equal']}.",
            "ROPE: the study's region of practical equivalence, in SDs of the cell type.",
            *_fewer(results),
            *_left_out(results),
        ),
        small=True,
    )


def _twin(results: Results) -> str:
    """Say what the twin of a pooled row is."""
    if len(cohorts_of(results)) == 1:
        return "least squares"
    return "least squares (one regression over all cohorts, with a term for each, averaged over the same tumours)"


def _what(results: Results) -> str:
    return (
        f"change of the mean abundance ({unit(results)}) per SD of HER2, given hormone receptor (HR) status, HER2 IHC "
        "level and their interactions"
    )


def stratum_table(results: Results) -> Table:
    """Pooled marginal slopes by HR stratum, and their difference."""
    ours, theirs = _slopes(results, "posterior"), _slopes(results, "twin")
    strata = [s for s in _strata(ours) if s != ALL]
    lines = []
    for cell in modelled(results):
        for i, weighting in enumerate(MEANING):
            keys = [(cell, weighting, s, "") for s in strata]
            cells = (Cell(weighting), *(_beside(ours.get(key), theirs.get(key)) for key in keys))
            lines.append(Line(cell, cells, 2 if i == 0 else 0, "first" if i == 0 else ""))
    return Table(
        "marginal_slopes_by_hr",
        f"Marginal slopes by HR status: {_what(results)}. Observed weights: a stratum over its own tumours; equal "
        f"weights: every IHC level counts the same. Posterior median with {formats.intervals_of(ours.values())}, above "
        f"{_twin(results)} with {formats.intervals_of(theirs.values())}. {who(results)} {measure(results)}",
        "Cell type",
        (
            Column("Weights", words=True),
            *(Column(stratum) for stratum in strata),
        ),
        tuple(lines),
        "tables/estimates.csv",
        _difference_notes(results),
        small=True,
    )


def _difference_notes(results: Results) -> tuple[str, ...]:
    if len(cohorts_of(results)) == 1:
        return ()
    return (
        "HR status and its interactions are common to the cohorts, so that the difference between the strata has no "
        "row of a single cohort.",
    )


def _with_fewer(results: Results) -> list[str]:
    """Cell types that not every cohort has as continuous, with their tumours."""
    total = results.models[MODEL].n_tumours
    return [f"{r['cell_type']} (n = {formats.count(r['n'])})" for r in results.rows(SCALE) if r["n"] < total]


def _fewer(results: Results) -> list[str]:
    fewer = _with_fewer(results)
    return (
        [f"Continuous in some cohorts only, so of fewer tumours: {formats.listed(fewer)}."] if fewer else []
    )


def _left_out(results: Results) -> list[str]:
    shown = modelled(results)
    rows = _slopes(results, "posterior")
    names = [c for c, weighting, s, _ in rows if c not in shown and (weighting, s) == ("observed", ALL)]
    if not names:
        return []
    return [
        "Not estimable, since in every cohort at least 25 % of the tumours have none of the cell type: "
        f"{formats.listed(names)}."
    ]


def cohort_table(results: Results) -> Table:
    """Marginal slopes over all tumours of each cohort."""
    ours, theirs = (_slopes(results, side, "cohort") for side in ("posterior", "twin"))
    lines = []
    for cell in modelled(results):
        for i, weighting in enumerate(MEANING):
            keys = [(cell, weighting, ALL, cohort) for cohort in cohorts_of(results)]
            cells = (Cell(weighting), *(_beside(ours.get(key), theirs.get(key)) for key in keys))
            lines.append(Line(cell, cells, 2 if i == 0 else 0, "first" if i == 0 else ""))
    return Table(
        "marginal_slopes_by_cohort",
        f"Marginal slopes cohort by cohort, all tumours: {_what(results)}. Posterior median, partially "
        f"pooled, with {formats.intervals_of(ours.values())}, above each cohort's own least squares with "
        f"{formats.intervals_of(theirs.values())}. {who(results)} {measure(results)}",
        "Cell type",
        (
            Column("Weights", words=True),
            *(Column(cohort) for cohort in cohorts_of(results)),
        ),
        tuple(lines),
        "tables/estimates.csv",
        small=True,
    )


def type_iii_table(results: Results, *, by_cohort: bool = False) -> Table:
    """Type III tests: of the regression over all cohorts, or of each cohort."""
    several = len(cohorts_of(results)) > 1
    wanted = "cohort" if by_cohort or not several else "pooled"
    rows = [r for r in results.rows(TESTS) if r["scope"] == wanted]
    seen = {r["term"] for r in rows}
    terms = [*(t for t in TERMS if t in seen), *sorted(seen - set(TERMS))]
    found = {(r["cell_type"], r["cohort"], r["term"]): r for r in rows}
    lines = []
    for cell in modelled(results):
        mine = list(dict.fromkeys(r["cohort"] for r in rows if r["cell_type"] == cell))
        for i, cohort in enumerate(mine):
            cells = [Cell(cohort)] if by_cohort else []
            cells += [_test(found.get((cell, cohort, term))) for term in terms]
            lines.append(Line(cell, tuple(cells), len(mine) if i == 0 else 0))
    notes = _test_notes(rows)
    alone = [
        c for c in modelled(results) if several and not by_cohort and c not in {r["cell_type"] for r in rows}
    ]
    if alone:
        notes.append(f"Continuous in one cohort alone, so tested there only: {formats.listed(alone)}.")
    return Table(
        "ancova_tests_by_cohort" if by_cohort else "ancova_tests",
        "Type III tests of the analysis of covariance (sum-to-zero contrasts, each term given all others)"
        f"{', cohort by cohort' if by_cohort else ''}: P, and beneath it F with its degrees of freedom. Main "
        "effects of hormone receptor (HR) status and IHC level are at average HER2. P is not adjusted for the "
        f"number of cell types. {who(results)}",
        "Cell type",
        (
            *((Column("Cohort", words=True),) if by_cohort else ()),
            *(Column(TERMS.get(term, term.removeprefix("covariate "))) for term in terms),
        ),
        tuple(lines),
        f"tables/{TESTS}.csv",
        tuple(notes),
        small=True,
    )


def _test_notes(rows: Iterable[Row]) -> list[str]:
    """Terms without a test, and why; remarks on the others."""
    said: dict[tuple[str, str, str], list[str]] = {}
    remarks: dict[str, None] = {}
    for r in rows:
        if r["p_value"] is None:
            said.setdefault((r["cell_type"], r["cohort"], r["note"]), []).append(
                TERMS.get(r["term"], r["term"].removeprefix("covariate "))
            )
        elif r["note"]:
            remarks[f"{r['cell_type']}{', ' + r['cohort'] if r['cohort'] else ''}: {r['note']}."] = None
    untested = [
        f"{cell}{', ' + cohort if cohort else ''}: no test of {formats.listed(terms)}, since {note}."
        for (cell, cohort, note), terms in said.items()
    ]
    return [*untested, *remarks]


def _test(row: Row | None) -> Cell:
    if row is None or row["p_value"] is None:
        return Cell(formats.MISSING, look="off")
    f = f"F({row['df1']}, {row['df2']:.0f}) = {formats.number(row['f'])}"
    return Cell(formats.p_value(row["p_value"]), sub=f, look="away" if row["p_value"] < 0.05 else "")


def linearity_table(results: Results) -> Table:
    """Departure from a straight line: posterior, and the twin's F test by cohort."""
    tested = {(r["cell_type"], r["cohort"]): r["spline_p"] for r in results.rows(CHECKS)}
    rows = {r["cell_type"]: r for r in results.rows(LINEARITY)}
    lines = []
    for cell in modelled(results):
        if cell not in rows:
            continue
        row = rows[cell]
        cells = [
            Cell(fixed(row["departure_sd"], row["lower"], row["upper"])),
            Cell(formats.probability(row["p_matters"])),
            Cell(factor(row["log10_bayes_factor"])),
            *(Cell(formats.p_value(tested.get((cell, cohort)))) for cohort in cohorts_of(results)),
        ]
        lines.append(Line(cell, tuple(cells)))
    first = next(iter(rows.values()), None)
    before = (
        (
            f"Before the data this SD has median {formats.number(first['prior_median'], 2)}, and exceeds 0.1 with "
            f"probability {formats.probability(first['prior_p_matters'])}: only a probability well away from that one "
            "says something.",
        )
        if first
        else ()
    )
    return Table(
        "linearity",
        "Is a straight line in HER2 enough? SD over these tumours of the smooth departure of the mean from it (natural "
        f"cubic spline, in SDs of the cell type): posterior median with {formats.level(results.study.interval)} "
        "credible interval (equal-tailed), probability that it exceeds 0.1, and Bayes factor of a departure against a "
        "straight line; beside them the P value of least squares for the same spline, by cohort. "
        f"{who(results)}",
        "Cell type",
        (
            Column("SD of the departure"),
            Column("P(SD > 0.1)"),
            Column("Bayes factor"),
            *(Column(cohort, "P of the spline, least squares") for cohort in cohorts_of(results)),
        ),
        tuple(lines),
        f"tables/{LINEARITY}.csv",
        before,
        small=True,
    )


def factor(log10: float | None) -> str:
    """Bayes factor; beyond a million as that."""
    if log10 is None:
        return formats.MISSING
    return "over 1,000,000" if log10 > LARGE_FACTOR else formats.number(10.0**log10, 2)


def spread_table(results: Results) -> Table:
    """Spreads between cell types, cohorts and centres, beside their priors."""
    rows = results.rows(SPREADS)
    lines = []
    for between in dict.fromkeys(r["between"] for r in rows):
        mine = [r for r in rows if r["between"] == between]
        for i, r in enumerate(mine):
            cells = (
                Cell(f"{r['term']}, {r['cell_type']}" if r["cell_type"] else r["term"]),
                Cell(fixed(r["point"], r["lower"], r["upper"])),
                Cell(formats.number(r["prior_median"], 2)),
                Cell(formats.number(r["prior_upper"], 2)),
                Cell(formats.count(r["n"])),
                Cell(r["unit"]),
                Cell(r["note"]),
            )
            lines.append(Line(between, cells, len(mine) if i == 0 else 0, "first" if i == 0 else ""))
    level = formats.level(results.study.interval)
    return Table(
        "ancova_spreads",
        "How much the terms of the analysis of covariance differ between cell types, and intercepts and slopes between "
        f"cohorts: posterior median of the standard deviation with {level} credible interval (equal-tailed), beside "
        "the median of its prior and the prior's quantile at the upper limit. HR status (HR: hormone receptor), IHC "
        "level and interactions are common to the cohorts. A spread that looks like its prior was not learnt. "
        f"{who(results)}",
        "Between",
        (
            Column("Term", words=True),
            Column("SD, posterior"),
            Column("Prior median"),
            Column("Prior, upper limit"),
            Column("n informing"),
            Column("Unit", words=True),
            Column("Note", words=True),
        ),
        tuple(lines),
        f"tables/{SPREADS}.csv",
        small=True,
    )


def residual_table(results: Results) -> Table:
    """Residual checks of the twin."""
    lines = []
    for cell in modelled(results):
        mine = [r for r in results.rows(CHECKS) if r["cell_type"] == cell]
        for i, r in enumerate(mine):
            cells = (
                Cell(r["cohort"]),
                Cell(formats.count(r["n"])),
                Cell(formats.signed(r["skewness"])),
                Cell(formats.signed(r["excess_kurtosis"])),
                Cell(formats.p_value(r["shapiro_p"])),
                Cell(formats.p_value(r["breusch_pagan_p"])),
                Cell(formats.number(r["cooks_max"], 2), sub=r["cooks_tumour"].partition("/")[2]),
            )
            lines.append(Line(cell, cells, len(mine) if i == 0 else 0))
    return Table(
        "ancova_residuals",
        "Residuals of each cohort's least squares: skewness and excess kurtosis of studentised residuals (0 for a "
        "normal distribution), P of Shapiro and Wilk's test of normality and of Breusch and Pagan's test of "
        f"constant variance, and the largest Cook's distance with its tumour. {who(results)}",
        "Cell type",
        (
            Column("Cohort", words=True),
            Column("n"),
            Column("Skewness"),
            Column("Excess kurtosis"),
            Column("P, normality"),
            Column("P, variance"),
            Column("Largest Cook's distance"),
        ),
        tuple(lines),
        f"tables/{CHECKS}.csv",
        (
            "Abundances are skewed: intervals of means and slopes rest on the number of tumours, not on normal "
            'residuals. [marginal_effect] outcome_scale = "rank" repeats the analysis on ranks.',
        ),
        small=True,
    )


def predictive_table(results: Results) -> Table:
    """How many replicated statistics hold the observed one."""
    rows = results.rows("posterior_predictive", MODEL)
    lines = []
    for statistic in dict.fromkeys(r["statistic"] for r in rows):
        mine = [r for r in rows if r["statistic"] == statistic]
        inside = sum(bool(r["inside"]) for r in mine)
        missed = list(dict.fromkeys(r["cell_type"] for r in mine if not r["inside"]))
        lines.append(
            Line(statistic, (Cell(f"{inside} of {len(mine)}"), Cell(formats.listed(missed) or "none")))
        )
    return Table(
        "ancova_predictive",
        "Posterior predictive checks of the analysis of covariance: how often the observed statistic of a cell "
        f"type, cohort and hormone receptor (HR) stratum lies inside its {formats.level(results.study.interval)} "
        f"predictive interval. "
        f"{who(results)}",
        "Statistic",
        (Column("Inside"), Column("Missed in", words=True)),
        tuple(lines),
        "tables/posterior_predictive.csv",
        (
            "Means along HER2 judge the straight line. Tails and the share below 0 judge the normal errors: "
            "abundances are never below 0, replicated ones are.",
        ),
        small=True,
    )


# --- figures -------------------------------------------------------------------------------------


def _panels(n: int, *, tall: float, columns: int = 3) -> tuple[Figure, list[Any]]:
    """Figure with a grid of panels, room for a row of keys on top and a shared label below."""
    lines = -(-n // columns)
    left, right, top, bottom, gap_x, gap_y = 0.55, 0.12, 0.62, 0.5, 0.55, 0.48
    height = top + lines * tall + (lines - 1) * gap_y + bottom
    width = (WIDTH - left - right - gap_x * (columns - 1)) / columns
    figure = Figure(figsize=(WIDTH, height))
    axes = []
    for i in range(n):
        line, column = divmod(i, columns)
        from_top = top + line * (tall + gap_y) + tall
        place = (
            (left + column * (width + gap_x)) / WIDTH,
            1 - from_top / height,
            width / WIDTH,
            tall / height,
        )
        ax = figure.add_axes(place)
        ax.xaxis.set_major_locator(FixedLocator([-2, -1, 0, 1, 2]))
        ax.spines["left"].set_visible(True)
        ax.tick_params(axis="y", length=3, color=GREY)
        axes.append(ax)
    figure.text(0.5, 0.12 / height, "HER2, SD from the mean", ha="center", fontsize=8)
    return figure, axes


def _line(rows: Iterable[Estimate]) -> dict[str, list[float]]:
    """Place, point and limits along a curve."""
    kept = list(rows)
    return {
        name: [value for e in kept if (value := getattr(e, name)) is not None]
        for name in ("at", "point", "lower", "upper")
    }


def curve_maker(weighting: str) -> Maker:
    """Name a maker for the curves of one weighting."""

    def maker(results: Results) -> Drawing | None:
        return curves(results, weighting)

    maker.__name__ = f"marginal_means_{weighting}"
    return maker


def curves(results: Results, weighting: str) -> Drawing | None:
    """Marginal mean abundance over HER2, posterior band and twin, one panel per cell type."""
    ours = _curves(results, "posterior", weighting)
    theirs = _curves(results, "twin", weighting)
    cells = [c for c in modelled(results) if c in ours]
    if not cells:
        return None
    slopes = _slopes(results, "posterior")
    away = [c for c in cells if _away(slopes.get((c, weighting, ALL, "")))]
    figure, axes = _panels(len(cells), tall=1.35)
    for ax, cell in zip(axes, cells, strict=True):
        mine = _line(ours[cell])
        observed = all(e.status == "observed" for e in ours[cell])
        ax.fill_between(
            mine["at"], mine["lower"], mine["upper"], color=FILL, lw=0, alpha=0.8 if observed else 0.4
        )
        ax.plot(mine["at"], mine["point"], color=BLUE, lw=1.6, ls="-" if observed else DASHED, zorder=4)
        if cell in theirs:
            twin = _line(theirs[cell])
            ax.plot(twin["at"], twin["point"], color=INK, lw=1.0, ls=DASHED, zorder=5)
            for limit in ("lower", "upper"):
                ax.plot(twin["at"], twin[limit], color=TWIN, lw=0.9, ls=DOTTED, zorder=3)
        ax.set_xlim(min(mine["at"]), max(mine["at"]))
        ax.yaxis.set_major_locator(MaxNLocator(4))
        ax.grid(axis="y", color="#e6e8eb", lw=0.5)
        ax.set_axisbelow(True)
        ax.set_title(
            cell + (" *" if cell in away else ""), fontsize=8.2, fontweight="bold", loc="left", pad=4
        )
    draw_key(
        figure,
        [
            ("posterior and its band", {"color": BLUE, "lw": 1.6}),
            ("twin", {"color": INK, "lw": 1.0, "ls": DASHED}),
            ("twin, limits", {"color": TWIN, "lw": 0.9, "ls": DOTTED}),
            ("* the slope's interval excludes 0", {"color": "none", "lw": 0}),
        ],
        0.01,
    )
    shown = [e for c in cells for e in ours[c]]
    hollow = formats.listed(dict.fromkeys(e.status for e in shown if e.status != "observed"), "or")
    caption = (
        f"Marginal mean abundance ({unit(results)}) of each continuous cell type along HER2, given hormone receptor "
        f"(HR) status and HER2 IHC level, {weighting} weights: {MEANING[weighting]}. Posterior medians with "
        f"{formats.intervals_of(shown)}; dashed, {_twin(results)} with "
        f"{formats.intervals_of(e for rows in theirs.values() for e in rows)}. Each panel has its own axis. "
        + (f"Pale band and dashed posterior: {hollow}. " if hollow else "")
        + f"{who(results)} {measure(results)}"
    )
    alt = (
        f"Small multiples of {len(cells)} cell types: marginal mean along HER2 with bands; the slope's interval "
        f"excludes 0 for {formats.listed(away) or 'none'}."
    )
    return Drawing(f"marginal_means_{weighting}", caption, alt, image_of(results, figure))


def forest_maker(weighting: str) -> Maker:
    """Name a maker for the slopes of one weighting."""

    def maker(results: Results) -> Drawing | None:
        return forest(results, weighting)

    maker.__name__ = f"marginal_slopes_{weighting}"
    return maker


def forest(results: Results, weighting: str) -> Drawing | None:
    """Marginal slopes: posterior and, below it, its twin; one panel per stratum."""
    ours, theirs = (
        {key: e for key, e in _slopes(results, side).items() if key[1] == weighting}
        for side in ("posterior", "twin")
    )
    cells, strata = modelled(results), _strata(ours)
    rows = [e for side in (ours, theirs) for e in side.values() if e.has_interval]
    if not cells or not rows:
        return None
    per_row, top, bottom, left, gap = 0.27, 0.66, 0.5, 1.95, 0.16
    height = top + bottom + per_row * len(cells)
    width = (WIDTH - left - 0.12 - gap * (len(strata) - 1)) / len(strata)
    tall = height - top - bottom
    figure = Figure(figsize=(WIDTH, height))
    reach = _reach(rows)
    for i, stratum in enumerate(strata):
        place = ((left + i * (width + gap)) / WIDTH, bottom / height, width / WIDTH, tall / height)
        axes = figure.add_axes(place)
        axes.axvline(0, color=INK, lw=0.7, zorder=1)
        for y, cell in enumerate(cells):
            if y:
                axes.axhline(y - 0.5, color="#dfe2e6", lw=0.5, zorder=0.5)
            for side, shift in ((ours, -0.16), (theirs, 0.16)):
                e = side.get((cell, weighting, stratum, ""))
                if e is not None and e.has_interval:
                    _slope_mark(axes, y + shift, e, reach)
        axes.set_xlim(-reach, reach)
        axes.set_ylim(len(cells) - 0.5, -0.5)
        axes.xaxis.set_major_locator(MaxNLocator(3, symmetric=True))
        axes.tick_params(axis="x", labelsize=7)
        axes.yaxis.set_major_locator(FixedLocator(range(len(cells))))
        axes.yaxis.set_major_formatter(FixedFormatter(cells if i == 0 else [""] * len(cells)))
        axes.set_title(_named(stratum), fontsize=8.6, fontweight="bold", loc="left", pad=5)
    middle = (left + (WIDTH - left) / 2) / WIDTH
    figure.text(middle, 0.1 / height, f"{unit(results)}, per SD of HER2", ha="center", fontsize=8)
    draw_key(
        figure,
        [
            ("posterior", {"color": BLUE, "marker": "o", "ms": 5, "lw": 1.3}),
            ("its interval includes 0", {"color": GREY, "marker": "o", "mfc": "white", "ms": 5, "lw": 1.3}),
            ("twin", {"color": TWIN, "marker": "|", "ms": 6, "lw": 1.0, "ls": (0, (2, 1))}),
        ],
        0.02,
    )
    away = [e.outcome for (_, _, s, _), e in ours.items() if s == ALL and _away(e)]
    caption = (
        f"Marginal slopes of HER2 ({unit(results)} per SD), {weighting} weights: {MEANING[weighting]}. Posterior "
        f"medians with {formats.intervals_of(ours.values())}; below each its twin, {_twin(results)}, with "
        f"{formats.intervals_of(theirs.values())}. Given hormone receptor (HR) status, HER2 IHC level and their "
        "interactions; HR- minus HR+ is the difference of the two slopes. Filled: the posterior interval excludes 0. "
        f"Arrows mark intervals that leave the axis. {who(results)} {measure(results)}"
    )
    alt = (
        f"Forest plot of marginal slopes for {len(cells)} cell types; intervals exclude 0 over all tumours for "
        f"{formats.listed(dict.fromkeys(away)) or 'none'}."
    )
    return Drawing(f"marginal_slopes_{weighting}", caption, alt, image_of(results, figure))


def _reach(rows: Sequence[Estimate]) -> float:
    """Half width of the shared axis: all points, and all but the widest intervals."""
    points = max(abs(e.point or 0.0) for e in rows)
    limits = sorted(max(abs(e.lower or 0.0), abs(e.upper or 0.0)) for e in rows)
    return 1.05 * max(points, limits[int(0.95 * (len(limits) - 1))])


def _slope_mark(axes: Any, y: float, e: Estimate, reach: float) -> None:
    if e.point is None or e.lower is None or e.upper is None:
        return
    twin = e.source == "twin"
    colour = TWIN if twin else BLUE if _away(e) else GREY
    style: Any = (0, (2, 1)) if twin else "-" if e.status == "observed" else (0, (3, 1.6))
    low, high = max(e.lower, -reach), min(e.upper, reach)
    axes.plot([low, high], [y, y], color=colour, lw=1.0 if twin else 1.3, ls=style, zorder=3)
    for cut, at, arrow in ((e.lower < -reach, -reach, "<"), (e.upper > reach, reach, ">")):
        if cut:
            axes.plot([at], [y], marker=arrow, color=colour, ms=3.4, lw=0, clip_on=False, zorder=4)
    marker, size = ("|", 6.0) if twin else ("o", 4.6)
    face = colour if _away(e) or twin else "white"
    axes.plot([e.point], [y], marker=marker, ms=size, mfc=face, mec=colour, lw=0, zorder=4)


def departure_figure(results: Results) -> Drawing | None:
    """Smooth departure from the straight line along HER2, one panel per cell type."""
    rows = results.rows(CURVES)
    factors = {r["cell_type"]: r["log10_bayes_factor"] for r in results.rows(LINEARITY)}
    cells = [c for c in modelled(results) if any(r["cell_type"] == c for r in rows)]
    if not cells:
        return None
    figure, axes = _panels(len(cells), tall=0.95)
    reach = 1.05 * max(max(abs(r["lower"]), abs(r["upper"])) for r in rows)
    for ax, cell in zip(axes, cells, strict=True):
        mine = [r for r in rows if r["cell_type"] == cell]
        at = [r["at"] for r in mine]
        ax.axhline(0, color=INK, lw=0.7, zorder=1)
        ax.fill_between(
            at, [r["lower"] for r in mine], [r["upper"] for r in mine], color=FILL, lw=0, alpha=0.8
        )
        ax.plot(at, [r["departure"] for r in mine], color=BLUE, lw=1.5)
        ax.set_xlim(min(at), max(at))
        ax.set_ylim(-reach, reach)
        ax.yaxis.set_major_locator(MaxNLocator(3))
        ax.set_title(cell, fontsize=8.2, fontweight="bold", loc="left", pad=4)
        said = f"BF {factor(factors.get(cell))}"
        ax.text(0.98, 0.95, said, transform=ax.transAxes, ha="right", va="top", fontsize=7.2, color=GREY)
    draw_key(
        figure, [("departure from the straight line, SDs of the cell type", {"color": BLUE, "lw": 1.5})], 0.01
    )
    caption = (
        "Smooth departure of the mean abundance from a straight line in HER2 (natural cubic spline, in SDs of the "
        f"cell type): posterior median with {formats.level(results.study.interval)} credible interval (equal-tailed). "
        f"BF: Bayes factor of a departure against a straight line; under 1 it favours the line. {who(results)} "
        f"{measure(results)}"
    )
    bent = [c for c in cells if (factors.get(c) or 0.0) > math.log10(3.0)]
    alt = (
        f"Departure from linearity of {len(cells)} cell types; Bayes factor above 3 for "
        f"{formats.listed(bent) or 'none'}."
    )
    return Drawing("linearity", caption, alt, image_of(results, figure))


SECTION = Section(
    name=MODEL,
    title="Marginal effect of HER2 given HR status and IHC level",
    after="checks",
    model=MODEL,
    needed={
        SCALE: columns_of("cell_type unit", ints="n", floats="mean sd"),
        TESTS: columns_of(
            "cell_type scope cohort term note", ints="df1", floats="df2 f p_value p_bonferroni"
        ),
        CHECKS: columns_of(
            "cell_type cohort cooks_tumour",
            ints="n",
            floats="skewness excess_kurtosis shapiro_p breusch_pagan_p cooks_max spline_p",
        ),
        LINEARITY: columns_of(
            "cell_type",
            floats="departure_sd lower upper prior_median p_matters prior_p_matters log10_bayes_factor",
        ),
        SPREADS: columns_of(
            "term between cell_type unit note", ints="n", floats="point lower upper prior_median prior_upper"
        ),
        CURVES: columns_of("cell_type", floats="at departure lower upper"),
    },
    tables=made_tables,
    figures=(
        curve_maker("observed"),
        curve_maker("equal"),
        forest_maker("observed"),
        forest_maker("equal"),
        departure_figure,
    ),
    figure_names=(
        "marginal_means_observed",
        "marginal_means_equal",
        "marginal_slopes_observed",
        "marginal_slopes_equal",
        "linearity",
    ),
)
