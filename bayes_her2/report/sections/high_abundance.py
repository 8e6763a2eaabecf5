"""Odds of high abundance: the seed study's Fig. 2b, posterior beside twin, with both P values for interaction."""

from __future__ import annotations

from bayes_her2.data import DIFFERENCE
from bayes_her2.estimates import COHORT_FIXED, PROFILE_LIKELIHOOD
from bayes_her2.report import formats
from bayes_her2.report.figures import (
    TWIN,
    Drawing,
    Mark,
    Panel,
    draw_forest,
    how_to_read,
    marks_of_pair,
    pair_legend,
)
from bayes_her2.report.load import Estimate, Results, Row, columns_of
from bayes_her2.report.sections import Section
from bayes_her2.report.tables import Cell, Column, Line, Table, estimate_cell, grouped_lines

MODEL = "high_abundance"
CONDITIONAL, MARGINAL = "high_abundance_conditional", "high_abundance"
SEPARATED = "separated"

Place = tuple[str, str]
"""Cell type and stratum."""


def matched_rows(results: Results, estimand: str) -> dict[Place, Row]:
    """Pooled rows of the concordance of one estimand."""
    return {
        (r["outcome"], r["stratum"]): r
        for r in results.rows("concordance", MODEL)
        if r["estimand"] == estimand and r["scope"] == "pooled"
    }


def _posterior(results: Results, estimand: str) -> dict[Place, Estimate]:
    return {(e.outcome, e.stratum): e for e in results.of_model(MODEL, estimand=estimand, scope="pooled")}


def _twin(results: Results, method: str) -> dict[Place, Estimate]:
    """Pooled twins of the conditional odds ratio by one method."""
    found = results.of_model(MODEL, "twin", estimand=CONDITIONAL, scope="pooled", method=method)
    return {(e.outcome, e.stratum): e for e in found}


def _matched_twins(results: Results, estimand: str) -> list[Estimate]:
    rows = matched_rows(results, estimand)
    return [
        e
        for e in results.of_model(MODEL, "twin", estimand=estimand, scope="pooled")
        if (row := rows.get((e.outcome, e.stratum))) is not None and row["twin_method"] == e.method
    ]


def _labels(results: Results) -> list[str]:
    """Cell types with a row, in the order of the report."""
    known = {cell for cell, _ in _posterior(results, CONDITIONAL)}
    return [cell for cell in results.cell_types if cell in known]


def _who(results: Results) -> str:
    record = results.models[MODEL]
    return (
        f"n\u00a0=\u00a0{formats.count(record.n_tumours)} tumours, "
        f"{formats.plural(len(record.cohorts), 'cohort')}; HER2 measure: {results.study.measure}."
    )


def separated(results: Results) -> list[Estimate]:
    """Rows of single cohorts for which no finite odds ratio maximises the likelihood."""
    rows = results.of_model(MODEL, "twin", estimand=CONDITIONAL, scope="cohort", status=SEPARATED)
    return [e for e in rows if e.method != PROFILE_LIKELIHOOD]


def forest(results: Results) -> Drawing:
    """Posterior beside twin in HR+, in HR- and as their ratio."""
    pooled, rows = _posterior(results, CONDITIONAL), matched_rows(results, CONDITIONAL)
    twins = {(e.outcome, e.stratum): e for e in _matched_twins(results, CONDITIONAL)}
    labels = _labels(results)

    def marks(cell: str, contrast: str) -> tuple[Mark, ...]:
        pair = marks_of_pair(pooled.get((cell, contrast)), rows.get((cell, contrast)), contrast)
        twin = twins.get((cell, contrast))
        if twin is not None and twin.status == SEPARATED:
            pair = (*pair, Mark(None, None, None, TWIN, "^", word="twin: separated"))
        return pair

    panels = [
        Panel(
            contrast,
            "ratio of odds ratios" if contrast == DIFFERENCE else "odds ratio per SD",
            tuple(marks(cell, contrast) for cell in labels),
        )
        for contrast in results.contrasts
    ]
    shown = list(pooled.values())
    pooled_words = ", cohorts pooled" if len(results.models[MODEL].cohorts) > 1 else ""
    caption = (
        "Odds of high abundance (at or above the cohort's median where under 25 % of its tumours lack the "
        "cell type, "
        f"presence otherwise) per SD of HER2, by hormone receptor (HR) status{pooled_words}: "
        f"posterior medians with {formats.intervals_of(shown)}, beside the frequentist twin with "
        f"{formats.intervals_of(_matched_twins(results, CONDITIONAL))}; log axes. Odds ratios given cohort, "
        "HR status "
        f"and covariates. Grey band: region of practical equivalence (ROPE). {_who(results)} {how_to_read(panels)}"
    )
    alt = f"Forest plot of odds ratios of high abundance for {len(labels)} cell types, posterior and twin."
    image = draw_forest(results, labels, panels, pair_legend(results, results.contrasts), per_row=0.34)
    return Drawing("high_abundance_odds", caption, alt, image)


def odds(results: Results) -> Table:
    """Every pooled odds ratio, conditional and marginal, beside its twin."""
    pooled = {e: _posterior(results, e) for e in (CONDITIONAL, MARGINAL)}
    twins = {
        e: {(t.outcome, t.stratum): t for t in _matched_twins(results, e)} for e in (CONDITIONAL, MARGINAL)
    }
    rows = matched_rows(results, CONDITIONAL)
    groups = []
    for cell in _labels(results):
        members = []
        for contrast in results.contrasts:
            place = (cell, contrast)
            own = pooled[CONDITIONAL].get(place)
            verdict = rows[place]["verdict"] if place in rows else ""
            members.append(
                Line(
                    cell,
                    (
                        Cell(contrast),
                        Cell(formats.count(own.n if own else None)),
                        estimate_cell(own),
                        estimate_cell(twins[CONDITIONAL].get(place)),
                        Cell(formats.p_value(own.s_value if own else None)),
                        Cell(verdict or formats.MISSING),
                        estimate_cell(pooled[MARGINAL].get(place)),
                        estimate_cell(twins[MARGINAL].get(place)),
                    ),
                )
            )
        groups.append((cell, members))
    posterior = [e for table in pooled.values() for e in table.values()]
    twin = [e for table in twins.values() for e in table.values()]
    return Table(
        "high_abundance_odds",
        "Odds ratios of high abundance per SD of HER2 by hormone receptor (HR) status, pooled. Conditional: "
        "given cohort, "
        "HR status and covariates (as the seed study prints it). Marginal: odds at h + 1 SD over h, "
        "standardised to the "
        f"stratum's tumours. Posterior medians with {formats.intervals_of(posterior)}; twins with "
        f"{formats.intervals_of(twin)}. The s-value is the expected proportion of wrong signs among the cell "
        "types claimed "
        f"up to this one. {_who(results)}",
        "Cell type",
        (
            Column("HR", words=True),
            Column("n"),
            Column("Posterior", "Conditional"),
            Column("Twin", "Conditional"),
            Column("s-value", "Conditional"),
            Column("Verdict", "Conditional", words=True),
            Column("Posterior", "Marginal"),
            Column("Twin", "Marginal"),
        ),
        grouped_lines(groups),
        "tables/concordance.csv",
        small=True,
    )


def interactions(results: Results) -> Table:
    """Build the ratio HR- over HR+ with P for interaction, by Wald and by likelihood ratio."""
    pooled = _posterior(results, CONDITIONAL)
    twins = {(e.outcome, e.stratum): e for e in _matched_twins(results, CONDITIONAL)}
    fixed, profile = _twin(results, COHORT_FIXED), _twin(results, PROFILE_LIKELIHOOD)
    lines = []
    for cell in _labels(results):
        place = (cell, DIFFERENCE)
        own, twin = pooled.get(place), twins.get(place)
        one, ratio = fixed.get(place), profile.get(place)
        lines.append(
            Line(
                cell,
                (
                    estimate_cell(own),
                    Cell(formats.probability(own.pd if own else None)),
                    Cell(formats.probability(own.p_in_rope if own else None)),
                    estimate_cell(twin),
                    Cell(formats.p_value(twin.p_value if twin else None)),
                    estimate_cell(ratio),
                    Cell(formats.p_value(one.p_value if one else None)),
                    Cell(formats.p_value(ratio.p_value if ratio else None)),
                    Cell(formats.p_value(ratio.p_adjusted if ratio else None)),
                ),
            )
        )
    shown = [e for (_, contrast), e in pooled.items() if contrast == DIFFERENCE]
    several = len(results.models[MODEL].cohorts) > 1
    how = (", the cohorts' ratios pooled", " of all cohorts with cohort fixed") if several else ("", "")
    return Table(
        "high_abundance_interaction",
        "Interaction of HER2 with hormone receptor (HR) status: odds ratio of high abundance per SD of HER2 "
        "in HR- divided "
        f"by that in HR+. Posterior medians with {formats.intervals_of(shown)}, posterior probability of the "
        "direction (pd) "
        "and of lying in the region of practical equivalence (ROPE). Beside it the matched twin with Wald P"
        f"{how[0]}, and one logistic regression{how[1]} with profile-likelihood limits and P for interaction "
        "by "
        f"Wald and by likelihood ratio (LR); Bonferroni over cell types. {_who(results)}",
        "Cell type",
        (
            Column("HR- over HR+", "Posterior"),
            Column("pd", "Posterior"),
            Column("P(in ROPE)", "Posterior"),
            Column("HR- over HR+", "Matched twin"),
            Column("P, Wald", "Matched twin"),
            Column("HR- over HR+", "One regression"),
            Column("P, Wald", "One regression"),
            Column("P, LR", "One regression"),
            Column("P, LR, Bonferroni", "One regression"),
        ),
        tuple(lines),
        "tables/estimates.csv",
        small=True,
    )


def separations(results: Results) -> Table:
    """Rows that the twin calls separated, with what the posterior says and the likelihood ratio."""
    profile = {
        (e.outcome, e.stratum, e.cohort): e
        for e in results.of_model(
            MODEL, "twin", estimand=CONDITIONAL, scope="cohort", method=PROFILE_LIKELIHOOD
        )
    }
    posterior = {
        (e.outcome, e.stratum, e.cohort): e
        for e in results.of_model(MODEL, estimand=CONDITIONAL, scope="cohort")
    }
    found = separated(results)
    lines = tuple(
        Line(
            e.outcome,
            (
                Cell(e.cohort),
                Cell(e.stratum),
                Cell(formats.count(e.n)),
                estimate_cell(posterior.get((e.outcome, e.stratum, e.cohort))),
                Cell(
                    formats.p_value(
                        one.p_value if (one := profile.get((e.outcome, e.stratum, e.cohort))) else None
                    )
                ),
                Cell(formats.sentence(e.note)),
            ),
        )
        for e in found
    )
    return Table(
        "high_abundance_separated",
        "Separation: rows of a single cohort for which no finite odds ratio maximises the likelihood, with "
        "the posterior of "
        "the same cohort (kept finite by the prior and by the other cohorts and cell types) and the "
        "likelihood ratio (LR) "
        f"of the twin, which is finite. Posterior medians with {formats.intervals_of(posterior.values())}. "
        f"{_who(results)}",
        "Cell type",
        (
            Column("Cohort", words=True),
            Column("HR", words=True),
            Column("n"),
            Column("Posterior"),
            Column("P, LR"),
            Column("Twin", words=True),
        ),
        lines,
        "tables/estimates.csv",
        small=True,
    )


def by_cohort(results: Results) -> Table:
    """Odds ratios of each cohort: posterior, and its own regression with Wald and profile limits."""
    cohorts = results.models[MODEL].cohorts
    own = {
        (e.outcome, e.stratum, e.cohort): e
        for e in results.of_model(MODEL, estimand=CONDITIONAL, scope="cohort")
    }
    twins = {
        (e.method == PROFILE_LIKELIHOOD, e.outcome, e.stratum, e.cohort): e
        for e in results.of_model(MODEL, "twin", estimand=CONDITIONAL, scope="cohort")
    }
    groups = []
    for cell in _labels(results):
        members = [
            Line(
                cell,
                (
                    Cell(contrast),
                    Cell(cohort),
                    Cell(formats.count(e.n if (e := own.get((cell, contrast, cohort))) else None)),
                    estimate_cell(own.get((cell, contrast, cohort))),
                    estimate_cell(twins.get((False, cell, contrast, cohort))),
                    estimate_cell(twins.get((True, cell, contrast, cohort))),
                ),
            )
            for contrast in results.contrasts
            for cohort in cohorts
        ]
        groups.append((cell, members))
    wald = [e for (profile, *_), e in twins.items() if not profile]
    return Table(
        "high_abundance_by_cohort",
        "Conditional odds ratios of high abundance per SD of HER2, cohort by cohort, by hormone receptor (HR) "
        "status. "
        f"Posterior (partially pooled) with {formats.intervals_of(own.values())}; each cohort's own logistic "
        "regression with "
        f"{formats.intervals_of(wald)}, and with profile-likelihood limits. {_who(results)}",
        "Cell type",
        (
            Column("HR", words=True),
            Column("Cohort", words=True),
            Column("n"),
            Column("Posterior"),
            Column("Twin, Wald"),
            Column("Twin, profile"),
        ),
        grouped_lines(groups),
        "tables/estimates.csv",
        small=True,
    )


def tables(results: Results) -> list[Table]:
    """Tables of the section, in reading order."""
    made = [interactions(results)] if DIFFERENCE in results.contrasts else []
    if separated(results):
        made.append(separations(results))
    made.append(odds(results))
    if len(results.models[MODEL].cohorts) > 1:
        made.append(by_cohort(results))
    return made


SECTION = Section(
    name=MODEL,
    title="Odds of high abundance",
    after="checks",
    model=MODEL,
    needed={f"{MODEL}_counts": columns_of("cell_type cohort hr high_rule", ints="n n_high")},
    tables=tables,
    figures=(forest,),
    figure_names=("high_abundance_odds",),
)
