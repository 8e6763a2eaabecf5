"""Rival models as a page of its own: tables in, HTML and figures out. Computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from bayes_her2.report import formats
from bayes_her2.report.figures import BAND, GREY, INK, WIDTH, Drawing, drawn, image_of
from bayes_her2.report.load import Results, Row, Rows
from bayes_her2.report.standalone import About, Page, composed, numbered, results_of
from bayes_her2.report.tables import Cell, Column, Line, Table

MAIN = "abundance"
SCORES = (("crps", "CRPS"), ("brier", "Brier score of zero"), ("log_score", "Logarithmic score"))
DOT = "#0072b2"


def comparison_page(
    rows: Mapping[str, Rows],
    about: About,
    *,
    refused: Mapping[str, Sequence[str]],
    left_out: Mapping[str, str],
) -> Page:
    """Compose the page of a comparison.

    Parameters
    ----------
    rows
        Rows of ``model_comparison``, ``k_fold``, ``proper_scores``, ``cohorts_predicted``,
        ``cohorts_predicted_cell_types``, ``conclusions`` and ``models``; a table that was not made has none.
    about
        What the head of the page says.
    refused, left_out
        Model -> why it is not on the page.

    Raises
    ------
    FigureError
        If a figure cannot be drawn.
    """
    results = results_of(rows, about)
    tables = numbered(
        [
            _elpd_table(results, "model_comparison"),
            _elpd_table(results, "k_fold"),
            _scores_table(results),
            _cohorts_table(results),
            _changed_table(results),
            _models_table(results),
        ]
    )
    figures = drawn(results, [differences, cell_types_predicted])
    return composed(
        "comparison.html.j2",
        headline(results),
        tables,
        figures,
        about=about,
        refused=refused,
        left_out=left_out,
        level=formats.level(about.interval),
    )


def _rows(results: Results, name: str) -> Rows:
    return results.tables.get(name, ())


def title(model: str) -> str:
    """Name of a model as a reader knows it."""
    if model == MAIN:
        return "main model (gamma)"
    return model.removeprefix(f"{MAIN}_").replace("_", " ")


# --- in words --------------------------------------------------------------------------------------


def headline(results: Results) -> tuple[str, ...]:
    """Say which model predicts best, by how much, and which conclusions depend on the model."""
    said = []
    ranked = _rows(results, "model_comparison")
    if ranked:
        best, main = ranked[0], next(r for r in ranked if r["model"] == MAIN)
        if best is main:
            second = ranked[1]
            said.append(
                f"The main model predicts a tumour best; the next, {title(second['model'])}, is "
                f"{_with_se(second, 'difference')} in log density over {formats.count(best['n_tumours'])} tumours."
            )
        else:
            said.append(
                f"{title(best['model']).capitalize()} predicts a tumour best; the main model is "
                f"{_with_se(main, 'difference')} in log density over {formats.count(best['n_tumours'])} tumours."
            )
    for name in dict.fromkeys(r["model"] for r in _rows(results, "conclusions")):
        own = [r for r in _rows(results, "conclusions") if r["model"] == name]
        changed = [r for r in own if r["changed"]]
        pooled = sum(1 for r in changed if r["scope"] == "pooled")
        said.append(
            f"Under {title(name)}, {len(changed)} of {formats.plural(len(own), 'estimate')} "
            f"{'lies' if len(changed) == 1 else 'lie'} on another side of the null than under the main model"
            f"{f' ({pooled} of them pooled)' if changed else ''}."
        )
    for row in _rows(results, "cohorts_predicted"):
        if row["model"] == MAIN and row["gain"] is not None:
            said.append(
                f"{row['cohort']} predicted from the other cohorts: {_with_se(row, 'gain')} in log density by their "
                f"HER2 slopes, over {formats.plural(row['n_scored'], 'tumour')}: {row['reading']}."
            )
    return tuple(said)


def _with_se(row: Row, name: str, decimals: int = 1) -> str:
    return f"{formats.signed(row[name], decimals)} (SE {formats.signed(row[f'{name}_se'], decimals)})"


# --- tables ----------------------------------------------------------------------------------------


def _elpd_table(results: Results, name: str) -> Table | None:
    """Log predictive densities of the models that can be compared by them."""
    rows = _rows(results, name)
    if not rows:
        return None
    folds = name == "k_fold"
    n = formats.count(rows[0]["n_tumours"])
    how = (
        f"{rows[0]['n_folds']}-fold cross-validation by refits, folds of the same mix of cohorts and HR strata"
        if folds
        else "leave-one-out cross-validation by Pareto smoothed importance sampling"
    )
    columns = [
        Column("Sum of log densities (SE)"),
        Column("Difference to the best (SE)"),
        Column("Stacking weight"),
    ]
    if not folds:
        columns += [Column("Effective parameters"), Column("Largest Pareto k")]
    lines = []
    for row in rows:
        cells = [
            Cell(
                _with_se(row, "elpd")
                if "elpd_se" in row
                else f"{formats.signed(row['elpd'], 1)} ({row['se']:.1f})"
            ),
            Cell(_with_se(row, "difference") if row["difference"] else "best"),
            Cell(f"{row['weight']:.2f}"),
        ]
        if not folds:
            high = row["n_k_high"]
            cells += [
                Cell(formats.signed(row["p_loo"], 0)),
                Cell(f"{row['k_max']:.2f}", f"{high} above {row['k_limit']:.2f}" if high else ""),
            ]
        lines.append(
            Line(
                title(row["model"]),
                (*cells, Cell(str(row["reading"]))),
                look="strong" if row["model"] == MAIN else "",
            )
        )
    return Table(
        name,
        f"How well each model predicts a tumour that it has not seen: log predictive density, summed over the cell "
        f"types of a tumour and over {n} tumours, by {how}. The larger the better; SE: standard error over tumours "
        "(of the paired differences).",
        "Model",
        (*columns, Column("In words", words=True)),
        tuple(lines),
        f"tables/{name}.csv",
        (
            "Differences under 4 are no differences, and their standard error is not to be trusted there. Stacking "
            "weights: the mixture of the models that predicts best.",
        ),
    )


def _scores_table(results: Results) -> Table | None:
    rows = _rows(results, "proper_scores")
    if not rows:
        return None
    columns = [
        column
        for _, words in SCORES
        for column in (Column("Mean", words), Column("Difference to the first (SE)", words))
    ]
    lines = []
    for row in rows:
        cells = []
        for score, _ in SCORES:
            gap = row[f"{score}_difference"]
            cells += [
                Cell(f"{row[score]:.4f}"),
                Cell(
                    f"{formats.signed(gap, 4)} ({row[f'{score}_difference_se']:.4f})"
                    if gap
                    else formats.MISSING
                ),
            ]
        lines.append(Line(title(row["model"]), tuple(cells), look="strong" if row["model"] == MAIN else ""))
    return Table(
        "proper_scores",
        "Forecasts of the abundances themselves, which every model makes: mean scores over "
        f"{formats.count(rows[0]['n_tumours'])} tumours, each forecast without itself; the smaller the better. CRPS in "
        "units of each cell type's mean absolute deviation from its median; Brier score of presence, where presence is "
        "modelled; logarithmic score in six bins (zero, and five with as many positives each).",
        "Model",
        tuple(columns),
        tuple(lines),
        "tables/proper_scores.csv",
        (
            f"{formats.count(rows[0]['n_values'])} abundances (tumour by cell type) that all models forecast. SE: "
            "standard error over tumours of the paired differences.",
        ),
        small=True,
    )


def _cohorts_table(results: Results) -> Table | None:
    rows = _rows(results, "cohorts_predicted")
    if not rows:
        return None
    lines = []
    for cohort in dict.fromkeys(r["cohort"] for r in rows):
        own = [r for r in rows if r["cohort"] == cohort]
        for position, row in enumerate(own):
            known = row["elpd"] is not None
            cells = (
                Cell(title(row["model"]), look="away" if row["model"] == MAIN else ""),
                Cell(formats.count(row["n_calibration"]) if known else formats.MISSING),
                Cell(
                    formats.count(row["n_scored"]) if known else formats.MISSING,
                    str(row["strata"]) if known else "",
                ),
                Cell(_with_se(row, "gain") if known else formats.MISSING),
                Cell(formats.signed(row["elpd"], 1) if known else formats.MISSING),
                Cell(
                    (_with_se(row, "difference") if row["difference"] else "best")
                    if known
                    else formats.MISSING
                ),
                Cell(str(row["reading"])),
            )
            lines.append(
                Line(
                    str(cohort),
                    cells,
                    span=len(own) if position == 0 else 0,
                    look="first" if position == 0 else "",
                )
            )
    return Table(
        "cohorts_predicted",
        "Would the other cohorts have predicted this one? Each cohort is left out; the others' fit predicts half of "
        "its tumours, levels and shapes calibrated on its other half. Gain by HER2: log predictive density with the "
        "slopes that the others learned, less that with every HER2 slope put to 0.",
        "Cohort left out",
        (
            Column("Model", words=True),
            Column("Calibration tumours"),
            Column("Scored tumours"),
            Column("Gain by HER2 (SE)"),
            Column("Sum of log densities"),
            Column("Difference to the best (SE)"),
            Column("In words", words=True),
        ),
        tuple(lines),
        "tables/cohorts_predicted.csv",
        (
            "Only what the other cohorts identify is scored: HR strata that they have, and parts of cell types that "
            "they can model by themselves. SE: standard error over the scored tumours. Where the others are one "
            "cohort, its slopes are taken as they are: it does not say how far those of another may lie from them.",
        ),
        small=True,
    )


def _changed_table(results: Results) -> Table | None:
    rows = [r for r in _rows(results, "conclusions") if r["changed"]]
    compared = {r["model"] for r in _rows(results, "conclusions")}
    if not compared:
        return None
    lines = []
    for model in dict.fromkeys(r["model"] for r in _rows(results, "conclusions")):
        own = [r for r in rows if r["model"] == model]
        for position, row in enumerate(own):
            where = row["cohort"] or ("all cohorts" if row["scope"] == "pooled" else "a new cohort")
            lines.append(
                Line(
                    title(model),
                    (
                        Cell(str(row["estimand"]).replace("_", " ")),
                        Cell(str(row["outcome"])),
                        Cell(str(row["stratum"])),
                        Cell(where),
                        Cell(_interval(row, "main_"), str(row["main_says"])),
                        Cell(_interval(row, ""), str(row["says"])),
                    ),
                    span=len(own) if position == 0 else 0,
                    look="first" if position == 0 else "",
                )
            )
    if not lines:
        lines = [Line("none", tuple(Cell(formats.MISSING) for _ in range(6)))]
    level = formats.level(results.study.interval)
    return Table(
        "conclusions_changed",
        f"Conclusions that depend on the model: estimates whose {level} credible interval lies on another side of the "
        "null than the main model's (above, below, or open where it holds the null). Observed rows of every scope.",
        "Model",
        (
            Column("Estimand", words=True),
            Column("Cell type", words=True),
            Column("Stratum", words=True),
            Column("Cohort", words=True),
            Column("Main model"),
            Column("This model"),
        ),
        tuple(lines),
        "tables/conclusions.csv",
        (
            "Posterior median with credible interval. A limit that lies on the null in one fit and beside it in the "
            "other is as likely Monte Carlo error as a change.",
        ),
        small=True,
    )


def _interval(row: Row, which: str) -> str:
    return formats.interval(
        row[f"{which}point"], row[f"{which}lower"], row[f"{which}upper"], str(row["estimand"])
    )


def _models_table(results: Results) -> Table | None:
    rows = _rows(results, "models")
    if not rows:
        return None
    return Table(
        "models",
        "The models, what each asks, and what its density is a density of. Densities of different outcomes, or with "
        "respect to different measures, are not compared; forecasts of the abundances are.",
        "Model",
        (
            Column("Question", words=True),
            Column("Density of", words=True),
            Column("With respect to", words=True),
        ),
        tuple(
            Line(
                title(row["model"]),
                (Cell(str(row["question"])), Cell(str(row["outcome"])), Cell(str(row["measure"]))),
            )
            for row in rows
        ),
        "tables/models.csv",
        (f"Files: {', '.join('models/' + str(r['model']) + '.py' for r in rows)}.",),
        small=True,
    )


# --- figures ---------------------------------------------------------------------------------------


def differences(results: Results) -> Drawing | None:
    """Difference of each model to the best, by log density and by CRPS."""
    panels: list[tuple[str, list[tuple[str, float, float]]]] = []
    ranked = _rows(results, "model_comparison")
    if ranked:
        panels.append(
            (
                "Log density, difference to the best (left is worse)",
                [(r["model"], r["difference"], r["difference_se"]) for r in ranked],
            )
        )
    scores = _rows(results, "proper_scores")
    if scores:
        panels.append(
            (
                "CRPS, difference to the best (right is worse)",
                [(r["model"], r["crps_difference"], r["crps_difference_se"]) for r in scores],
            )
        )
    if not panels:
        return None
    n = max(len(values) for _, values in panels)
    height = 1.1 + 0.30 * n
    figure = Figure(figsize=(WIDTH, height))
    width = 0.80 / len(panels) - 0.08
    for i, (words, values) in enumerate(panels):
        left = 0.16 + i * (0.84 / len(panels))
        axes = figure.add_axes((left, 0.62 / height, width, (height - 1.0) / height))
        _dots(axes, [(title(m), value, 2 * se) for m, value, se in values])
        axes.set_xlabel(words)
    caption = (
        "Rival models of the same tumours: difference to the model that predicts best, with two standard errors over "
        f"tumours. {results.study.name}, {formats.count((ranked or scores)[0]['n_tumours'])} tumours."
    )
    alt = "; ".join(
        f"{words}: " + ", ".join(f"{title(m)} {formats.number(value)}" for m, value, _ in values)
        for words, values in panels
    )
    return Drawing("model_differences", caption, alt, image_of(results, figure))


def cell_types_predicted(results: Results) -> Drawing | None:
    """Draw what HER2 slopes of the other cohorts tell about each cell type of a cohort."""
    rows = [r for r in _rows(results, "cohorts_predicted_cell_types") if r["model"] == MAIN]
    if not rows:
        return None
    cohorts = list(dict.fromkeys(r["cohort"] for r in rows))
    names = list(dict.fromkeys(r["cell_type"] for r in rows))
    height = 1.2 + 0.21 * len(names)
    figure = Figure(figsize=(WIDTH, height))
    width = 0.76 / len(cohorts)
    for i, cohort in enumerate(cohorts):
        axes = figure.add_axes((0.22 + i * width, 0.62 / height, width - 0.03, (height - 1.05) / height))
        own = {r["cell_type"]: r for r in rows if r["cohort"] == cohort}
        _dots(
            axes,
            [
                (name, own[name]["gain"], 2 * (own[name]["gain_se"] or 0.0))
                if name in own
                else (name, None, 0.0)
                for name in names
            ],
            labels=i == 0,
        )
        axes.set_title(f"{cohort} left out", fontsize=9, fontweight="bold", loc="left")
        axes.set_xlabel("gain in log density by HER2")
    caption = (
        "What the HER2 slopes of the other cohorts tell about each cell type of the cohort that was left out: log "
        "predictive density with these slopes less that without HER2, summed over the scored half, with two standard "
        f"errors over tumours (main model). Right of 0: the slope carries over. {results.study.name}."
    )
    alt = f"Gains of {len(names)} cell types in {formats.listed(cohorts)}."
    return Drawing("cell_types_predicted", caption, alt, image_of(results, figure))


def _dots(axes: Any, values: Sequence[tuple[str, float | None, float]], *, labels: bool = True) -> None:
    """Points with bars, one row each, around a line at 0."""
    axes.axvline(0, color=GREY, lw=0.8, zorder=1)
    for y, (_, value, reach) in enumerate(values):
        if y % 2:
            axes.axhspan(y - 0.5, y + 0.5, color=BAND, lw=0, zorder=0)
        if value is None:
            continue
        axes.plot([value - reach, value + reach], [y, y], color=DOT, lw=1.2, zorder=2)
        axes.plot([value], [y], marker="o", ms=4.6, color=DOT, lw=0, zorder=3)
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_yticks(range(len(values)) if labels else [])
    if labels:
        axes.set_yticklabels([name for name, _, _ in values], color=INK)
