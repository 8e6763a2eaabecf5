"""Clinical variables as outcomes: odds ratios, high against low abundance, posterior beside twin."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

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
from bayes_her2.report.high import HIGH, mark_notes, marked, rules_of
from bayes_her2.report.load import Estimate, Results, Row, columns_of
from bayes_her2.report.sections import Section
from bayes_her2.report.tables import (
    Cell,
    Column,
    Line,
    Table,
    estimate_cell,
    grouped_lines,
    predictive_misses,
)

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
    """Tumours of each outcome: those of the cohorts that tell it apart, with it recorded."""
    record = results.models[MODEL]
    counts = results.rows(f"{MODEL}_counts")
    first = {
        outcome: next(r["cell_type"] for r in counts if r["outcome"] == outcome)
        for outcome in outcomes(results)
    }
    each = ", ".join(
        f"{formats.count(sum(r['n'] for r in counts if (r['outcome'], r['cell_type']) == place))} with '{place[0]}'"
        for place in first.items()
    )
    return (
        f"n\u00a0=\u00a0{formats.count(record.n_tumours)} tumours, {formats.plural(len(record.cohorts), 'cohort')}; "
        f"recorded: {each}."
    )


def _marks(results: Results) -> tuple[str, ...]:
    return mark_notes(_labels(results), rules_of(results.rows(f"{MODEL}_counts")))


def _name(results: Results, cell: str) -> str:
    return marked(cell, rules_of(results.rows(f"{MODEL}_counts")))


def _given(results: Results) -> str:
    """Say what the odds ratios are adjusted for besides cohort and HR status."""
    adjustment = results.models[MODEL].adjustment
    return "Not adjusted for covariates." if adjustment == "none" else f"Adjusted for {adjustment}."


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
        f"a regression of its own. {HIGH} {_given(results)} Grey band: region of practical equivalence (ROPE). "
        f"{_who(results)} {how_to_read(panels)}"
    )
    hidden = outcomes(results)[PANELS:]
    if hidden:
        caption += f" Not drawn, but in the tables: {formats.listed(hidden)}."
    alt = f"Forest plot of {len(labels)} cell types for {formats.listed(shown)}, posterior and twin."
    image = draw_forest(results, labels, panels, legend, per_row=0.5, dodge=0.105)
    return Drawing("clinical_odds", caption, alt, image)


def _by_cohort(results: Results) -> dict[Place, dict[str, tuple[Estimate, Estimate | None, str]]]:
    """Observed rows of single cohorts, each with its twin and verdict, where the pooled row is not observed."""
    pooled = _posterior(results)
    verdicts = {
        (r["outcome"], r["exposure"], r["stratum"], r["cohort"]): r["verdict"]
        for r in results.rows("concordance", MODEL)
        if r["scope"] == "cohort"
    }
    twins = {
        (e.outcome, e.exposure, e.stratum, e.cohort): e
        for e in results.of_model(MODEL, "twin", scope="cohort")
        if e.method != PROFILE_LIKELIHOOD
    }
    made: dict[Place, dict[str, tuple[Estimate, Estimate | None, str]]] = {}
    for e in results.of_model(MODEL, scope="cohort", status="observed"):
        place = (e.outcome, _cell_type(e.exposure), e.stratum)
        if place in pooled and pooled[place].status != "observed":
            key = (e.outcome, e.exposure, e.stratum, e.cohort)
            made.setdefault(place, {})[e.cohort] = (e, twins.get(key), verdicts.get(key, ""))
    return made


type _Judged = tuple[str, Estimate, Estimate | None, str]  # scope in words, posterior, twin, verdict


def _judged(results: Results) -> dict[Place, list[_Judged]]:
    """Every observed row: the pooled one, else those of its cohorts."""
    pooled, twins, rows = _posterior(results), _twins(results), _rows(results)
    own = _by_cohort(results)
    made: dict[Place, list[_Judged]] = {}
    for place, e in pooled.items():
        if e.status == "observed":
            made[place] = [("pooled", e, twins.get(place), rows[place]["verdict"] if place in rows else "")]
        elif place in own:
            made[place] = [(cohort, *found) for cohort, found in own[place].items()]
    return made


def _cells(judged: _Judged) -> tuple[Cell, ...]:
    scope, own, twin, verdict = judged
    has = twin is not None and twin.has_interval
    return (
        Cell(scope),
        Cell(formats.count(own.n)),
        estimate_cell(own),
        estimate_cell(twin),
        Cell(formats.count(twin.n if twin is not None and has else None)),
        Cell(formats.p_value(twin.p_value if twin else None)),
        Cell(formats.p_value(twin.p_adjusted if twin else None)),
        Cell(verdict or formats.MISSING),
    )


JUDGED_COLUMNS = (
    Column("Cell type", words=True),
    Column("HR", words=True),
    Column("Scope", words=True),
    Column("n", "Posterior"),
    Column("Odds ratio", "Posterior"),
    Column("Odds ratio", "Twin"),
    Column("n, twin", "Twin"),
    Column("P", "Twin"),
    Column("P, Bonferroni", "Twin"),
    Column("Verdict", words=True),
)


def found(results: Results) -> Table:
    """Observed rows of which the posterior or the twin excludes 1, by outcome: pooled, else by cohort."""
    pooled, judged = _posterior(results), _judged(results)
    groups = []
    for outcome in outcomes(results):
        members = [
            Line(outcome, (Cell(_name(results, cell)), Cell(contrast), *_cells(one)))
            for cell in _labels(results)
            for contrast in results.contrasts
            for one in judged.get((outcome, cell, contrast), [])
            if any(e is not None and formats.excludes_null(e) for e in one[1:3])
        ]
        if members:
            groups.append((outcome, members))
    shown = [one for rows in judged.values() for one in rows]
    statuses = Counter(e.status for e in pooled.values() if e.status != "observed")
    replaced = sum(place in judged and e.status != "observed" for place, e in pooled.items())
    missing = [
        f"{formats.plural(sum(statuses.values()), 'pooled row')} cannot be judged "
        f"({formats.listed(f'{n} {status}' for status, n in statuses.items())}); the observed rows of single cohorts "
        f"stand for {formats.count(replaced)} of them."
    ]
    notes = [] if groups else ["No observed row excludes 1 on either side."]
    return Table(
        "clinical_found",
        "Clinical outcomes and cell types of which the posterior or its twin excludes an odds ratio of 1 "
        "(high against low abundance), by hormone receptor (HR) status: pooled, or of single cohorts where "
        "the pooled row "
        f"is borrowed. {HIGH} {_given(results)} Posterior medians with "
        f"{formats.intervals_of(e for _, e, _, _ in shown)}, "
        f"twins with {formats.intervals_of(t for _, _, t, _ in shown if t is not None)}. No sign is called from the "
        "posterior: nothing in it counts the cell types. Bonferroni over the cell types of one outcome, stratum and "
        f"scope. n twin is smaller where a cohort is left out of the twin. {_who(results)}",
        "Outcome",
        JUDGED_COLUMNS,
        grouped_lines(groups),
        "tables/concordance.csv",
        notes=(*notes, *(missing if statuses else []), *left_out(results), *_marks(results)),
        small=True,
    )


def by_cohort(results: Results) -> Table:
    """Observed rows of single cohorts where the pooled row is not observed."""
    own = _by_cohort(results)
    groups = []
    for outcome in outcomes(results):
        members = [
            Line(outcome, (Cell(_name(results, cell)), Cell(contrast), *_cells((cohort, *one))))
            for cell in _labels(results)
            for contrast in results.contrasts
            for cohort, one in own.get((outcome, cell, contrast), {}).items()
        ]
        if members:
            groups.append((outcome, members))
    shown = [one for by_name in own.values() for one in by_name.values()]
    return Table(
        "clinical_by_cohort",
        "Odds ratios of single cohorts, high against low abundance, where the pooled row is borrowed: part of "
        "that is "
        f"inferred from other tumours. By hormone receptor (HR) status. {HIGH} {_given(results)} Posterior (cohorts "
        f"partially pooled) medians with {formats.intervals_of(e for e, _, _ in shown)}; each cohort's own logistic "
        f"regression with {formats.intervals_of(t for _, t, _ in shown if t is not None)}. {_who(results)}",
        "Outcome",
        JUDGED_COLUMNS,
        grouped_lines(groups),
        "tables/estimates.csv",
        notes=_marks(results),
        small=True,
    )


def misses(results: Results) -> Table:
    """Shares of the outcomes outside their predictive interval."""
    rows = results.rows("posterior_predictive", MODEL)
    missed = sum(row["inside"] is False for row in rows)
    caption = (
        f"Posterior predictive checks of the clinical outcomes that miss: {formats.count(missed)} of "
        f"{formats.count(len(rows))} observed shares of tumours with the outcome, among those with high and "
        "those with low "
        "abundance, lie outside their predictive interval, by cell type, cohort and hormone receptor (HR) status. "
        f"{HIGH} {_who(results)}"
    )
    return replace(predictive_misses(results, MODEL), name="clinical_misses", caption=caption)


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
            cells = []
            for contrast in results.contrasts:
                own, twin = (side.get((outcome, cell, contrast)) for side in (pooled, twins))
                cells += [
                    Cell(formats.count(own.n if own else None)),
                    estimate_cell(own),
                    estimate_cell(twin, own.n if own else None),
                ]
            if DIFFERENCE in results.contrasts:
                cells.append(Cell(formats.p_value(one.p_value if one else None)))
                cells.append(Cell(formats.p_value(ratio.p_value if ratio else None)))
            members.append(Line(outcome, (Cell(_name(results, cell)), *cells)))
        groups.append((outcome, members))
    columns = [
        Column(side, contrast) for contrast in results.contrasts for side in ("n", "Posterior", "Twin")
    ]
    if DIFFERENCE in results.contrasts:
        columns += [Column("Wald", "P for interaction"), Column("LR", "P for interaction")]
    return Table(
        "clinical_odds",
        "Odds ratios of each clinical outcome, high against low abundance of each cell type, by hormone "
        "receptor (HR) "
        f"status, pooled. {HIGH} {_given(results)} Posterior medians with "
        f"{formats.intervals_of(pooled.values())}, twins "
        f"with {formats.intervals_of(twins.values())}, and their own n where a cohort is left out of the twin. P for "
        "interaction: one logistic regression with cohort fixed, by Wald and by likelihood ratio (LR), not "
        "adjusted for "
        f"the number of cell types. {_who(results)}",
        "Outcome",
        (Column("Cell type", words=True), *columns),
        grouped_lines(groups),
        "tables/estimates.csv",
        notes=_marks(results),
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
        "Separation of a clinical outcome by high abundance: rows of a single cohort with an empty cell (all "
        "or none of "
        f"the tumours with high, or with low, abundance have the outcome). {HIGH} No finite odds ratio "
        "maximises the likelihood; with the "
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
    made = [found(results), everything(results)]
    further = [by_cohort(results), separated(results)]
    if results.rows("posterior_predictive", MODEL):
        further.append(misses(results))
    return made + [table for table in further if table.lines or table.name == "clinical_misses"]


SECTION = Section(
    name=MODEL,
    title="Clinical variables and abundance",
    after="checks",
    model=MODEL,
    needed={
        f"{MODEL}_counts": columns_of(
            "outcome cell_type cohort hr rule high_rule", ints="n n_true n_zero", bools="high"
        )
    },
    tables=tables,
    figures=(forest,),
    figure_names=("clinical_odds",),
)
