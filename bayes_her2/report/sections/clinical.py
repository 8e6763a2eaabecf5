"""Clinical variables as outcomes: odds ratios, high against low abundance, posterior beside twin."""

from __future__ import annotations

from bayes_her2.data import DIFFERENCE
from bayes_her2.estimates import COHORT_FIXED, PROFILE_LIKELIHOOD
from bayes_her2.report import formats
from bayes_her2.report.figures import (
    COLOURS,
    MARKERS,
    TWIN,
    Drawing,
    Mark,
    Panel,
    draw_forest,
    how_to_read,
    legend_key,
    mark_of,
    rope_key,
)
from bayes_her2.report.load import Estimate, Results, Row, columns_of
from bayes_her2.report.sections import Section
from bayes_her2.report.tables import Cell, Column, Line, Table, estimate_cell, grouped_lines

MODEL = "clinical"
EXPOSURE = "high abundance of "
PANELS = 4
"""Outcomes that one figure holds."""

Place = tuple[str, str, str]
"""Outcome, cell type and stratum."""


def _cell_type(exposure: str) -> str:
    return exposure.removeprefix(EXPOSURE)


def _posterior(results: Results) -> dict[Place, Estimate]:
    return {
        (e.outcome, _cell_type(e.exposure), e.stratum): e for e in results.of_model(MODEL, scope="pooled")
    }


def _rows(results: Results) -> dict[Place, Row]:
    return {
        (r["outcome"], _cell_type(r["exposure"]), r["stratum"]): r
        for r in results.rows("concordance", MODEL)
        if r["scope"] == "pooled"
    }


def _twins(results: Results) -> dict[Place, Estimate]:
    """Pooled twins that stand beside the posterior, by place."""
    rows = _rows(results)
    found = {}
    for e in results.of_model(MODEL, "twin", scope="pooled"):
        place = (e.outcome, _cell_type(e.exposure), e.stratum)
        if place in rows and rows[place]["twin_method"] == e.method:
            found[place] = e
    return found


def _by_method(results: Results, method: str) -> dict[Place, Estimate]:
    return {
        (e.outcome, _cell_type(e.exposure), e.stratum): e
        for e in results.of_model(MODEL, "twin", scope="pooled", method=method)
    }


def outcomes(results: Results) -> list[str]:
    """Clinical outcomes in the order of the results."""
    return list(dict.fromkeys(e.outcome for e in results.of_model(MODEL, scope="pooled")))


def _labels(results: Results) -> list[str]:
    known = {cell for _, cell, _ in _posterior(results)}
    return [cell for cell in results.cell_types if cell in known]


def _who(results: Results) -> str:
    record = results.models[MODEL]
    return (
        f"n\u00a0=\u00a0{formats.count(record.n_tumours)} tumours, "
        f"{formats.plural(len(record.cohorts), 'cohort')}; each outcome where it is recorded."
    )


def left_out(results: Results) -> list[str]:
    """Say which outcomes some cohorts do not record."""
    counts = results.rows(f"{MODEL}_counts")
    said = []
    for outcome in outcomes(results):
        having = {row["cohort"] for row in counts if row["outcome"] == outcome}
        lacking = [c for c in results.models[MODEL].cohorts if c not in having]
        if lacking:
            said.append(
                f"'{outcome}' leaves out {formats.listed(lacking)}, where it is not recorded or always the "
                "same."
            )
    return said


def forest(results: Results) -> Drawing:
    """One panel for each outcome, both strata with their twins on each row."""
    pooled, twins = _posterior(results), _twins(results)
    labels, shown = _labels(results), outcomes(results)[:PANELS]

    def marks(outcome: str, cell: str) -> tuple[Mark, ...]:
        made: list[Mark] = []
        for stratum in results.strata:
            place = (outcome, cell, stratum)
            made.append(mark_of(pooled.get(place), colour=COLOURS[stratum], marker=MARKERS[stratum]))
            twin = twins.get(place)
            if twin is not None and twin.has_interval:
                made.append(mark_of(twin, colour=TWIN, marker="^"))
        return tuple(made)

    panels = [
        Panel(outcome, "odds ratio, high against low", tuple(marks(outcome, cell) for cell in labels))
        for outcome in shown
    ]
    legend = [(f"posterior, {s}", legend_key(COLOURS[s], MARKERS[s])) for s in results.strata]
    legend += [("its twin, below", legend_key(TWIN, "^")), rope_key(results.study.rope)]
    drawn = [e for (o, _, s), e in pooled.items() if o in shown and s in results.strata]
    beside = [e for (o, _, s), e in twins.items() if o in shown and s in results.strata]
    caption = (
        f"Clinical outcomes ({formats.listed(shown)}) where a cell type is abundant against where it is not, "
        "by hormone "
        f"receptor (HR) status, pooled: odds ratios, posterior medians with {formats.intervals_of(drawn)}, "
        "each with its "
        f"frequentist twin below it ({formats.intervals_of(beside)}); log axes. Each outcome and cell type is "
        "a regression "
        f"of its own. Grey band: region of practical equivalence (ROPE). {_who(results)} {how_to_read(panels)}"
    )
    alt = f"Forest plot of {len(labels)} cell types for {formats.listed(shown)}, posterior and twin."
    image = draw_forest(results, labels, panels, legend, per_row=0.5, dodge=0.105)
    return Drawing("clinical_odds", caption, alt, image)


def found(results: Results) -> Table:
    """Rows of which the posterior or the twin excludes 1, by outcome."""
    pooled, twins, rows = _posterior(results), _twins(results), _rows(results)
    groups = []
    for outcome in outcomes(results):
        members = []
        for cell in _labels(results):
            for contrast in results.contrasts:
                place = (outcome, cell, contrast)
                own, twin = pooled.get(place), twins.get(place)
                if own is None or own.status != "observed":
                    continue
                if not (formats.excludes_null(own) or (twin is not None and formats.excludes_null(twin))):
                    continue
                members.append(
                    Line(
                        outcome,
                        (
                            Cell(cell),
                            Cell(contrast),
                            Cell(formats.count(own.n)),
                            estimate_cell(own),
                            Cell(formats.p_value(own.s_value)),
                            estimate_cell(twin),
                            Cell(formats.p_value(twin.p_value if twin else None)),
                            Cell(formats.p_value(twin.p_adjusted if twin else None)),
                            Cell(rows[place]["verdict"] if place in rows else formats.MISSING),
                        ),
                    )
                )
        if members:
            groups.append((outcome, members))
    return Table(
        "clinical_found",
        "Clinical outcomes and cell types of which the posterior or its twin excludes an odds ratio of 1 "
        "(high against low "
        f"abundance), pooled, by hormone receptor (HR) status; posterior medians with "
        f"{formats.intervals_of(pooled.values())}, twins with {formats.intervals_of(twins.values())}. The "
        "s-value is the "
        "expected proportion of wrong signs among the cell types claimed up to this one; Bonferroni over the "
        "cell types of "
        f"one outcome and stratum. {_who(results)}",
        "Outcome",
        (
            Column("Cell type", words=True),
            Column("HR", words=True),
            Column("n"),
            Column("Odds ratio", "Posterior"),
            Column("s-value", "Posterior"),
            Column("Odds ratio", "Twin"),
            Column("P", "Twin"),
            Column("P, Bonferroni", "Twin"),
            Column("Verdict", words=True),
        ),
        grouped_lines(groups),
        "tables/concordance.csv",
        notes=(*([] if groups else ["No row excludes 1 on either side."]), *left_out(results)),
        small=True,
    )


def everything(results: Results) -> Table:
    """Every pooled odds ratio with its twin, and P for interaction by Wald and by likelihood ratio."""
    pooled, twins = _posterior(results), _twins(results)
    fixed, profile = _by_method(results, COHORT_FIXED), _by_method(results, PROFILE_LIKELIHOOD)
    groups = []
    for outcome in outcomes(results):
        members = []
        for cell in _labels(results):
            place = (outcome, cell, DIFFERENCE)
            one, ratio = fixed.get(place), profile.get(place)
            cells = [
                estimate_cell(side.get((outcome, cell, contrast)))
                for contrast in results.contrasts
                for side in (pooled, twins)
            ]
            if DIFFERENCE in results.contrasts:
                cells.append(Cell(formats.p_value(one.p_value if one else None)))
                cells.append(Cell(formats.p_value(ratio.p_value if ratio else None)))
            members.append(Line(outcome, (Cell(cell), *cells)))
        groups.append((outcome, members))
    columns = [Column(side, contrast) for contrast in results.contrasts for side in ("Posterior", "Twin")]
    if DIFFERENCE in results.contrasts:
        columns += [Column("Wald", "P for interaction"), Column("LR", "P for interaction")]
    return Table(
        "clinical_odds",
        "Odds ratios of each clinical outcome, high against low abundance of each cell type, by hormone "
        "receptor (HR) "
        f"status, pooled: posterior medians with {formats.intervals_of(pooled.values())}, twins with "
        f"{formats.intervals_of(twins.values())}. P for interaction: one logistic regression with cohort "
        "fixed, by Wald and "
        f"by likelihood ratio (LR), not adjusted for the number of cell types. {_who(results)}",
        "Outcome",
        (Column("Cell type", words=True), *columns),
        grouped_lines(groups),
        "tables/estimates.csv",
        small=True,
    )


def separated(results: Results) -> Table:
    """Rows of single cohorts that the twin calls separated."""
    posterior = {
        (e.outcome, e.exposure, e.stratum, e.cohort): e for e in results.of_model(MODEL, scope="cohort")
    }
    rows = [
        e
        for e in results.of_model(MODEL, "twin", scope="cohort", status="separated")
        if e.method != PROFILE_LIKELIHOOD and e.stratum != DIFFERENCE
    ]
    lines = tuple(
        Line(
            e.outcome,
            (
                Cell(_cell_type(e.exposure)),
                Cell(e.cohort),
                Cell(e.stratum),
                Cell(formats.count(e.n)),
                estimate_cell(posterior.get((e.outcome, e.exposure, e.stratum, e.cohort))),
            ),
        )
        for e in rows
    )
    return Table(
        "clinical_separated",
        "Separation: rows of a single cohort with an empty cell (all or none of the tumours with high, or "
        "with low, "
        "abundance have the outcome), for which no finite odds ratio maximises the likelihood, with the "
        "posterior of the "
        f"same cohort: medians with {formats.intervals_of(posterior.values())}. The interaction of such a "
        "cohort is "
        f"separated too. {_who(results)}",
        "Outcome",
        (
            Column("Cell type", words=True),
            Column("Cohort", words=True),
            Column("HR", words=True),
            Column("n"),
            Column("Posterior"),
        ),
        lines,
        "tables/estimates.csv",
        small=True,
    )


def tables(results: Results) -> list[Table]:
    """Tables of the section, in reading order."""
    made = [found(results), everything(results), separated(results)]
    return made if made[-1].lines else made[:-1]


SECTION = Section(
    name=MODEL,
    title="Clinical variables and abundance",
    after="checks",
    model=MODEL,
    needed={
        f"{MODEL}_counts": columns_of("outcome cell_type cohort hr", ints="n n_true n_zero", bools="high")
    },
    tables=tables,
    figures=(forest,),
    figure_names=("clinical_odds",),
)
