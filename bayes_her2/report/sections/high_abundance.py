"""Odds of high abundance: the seed study's Fig. 2b, posterior beside twin, with both P values for interaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

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
from bayes_her2.report.high import HIGH, WORDS, mark_notes, marked, rules_of
from bayes_her2.report.load import INFERENCE, SWEEP, Estimate, Results, Row, columns_of
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

MODEL = "high_abundance"
CONDITIONAL, MARGINAL = "high_abundance_conditional", "high_abundance"
SEPARATED = "separated"

COUNTS, SPREADS = f"{MODEL}_counts", f"{MODEL}_heterogeneity"
PRIOR_SWEEP, ON_PUBLISHED = f"{MODEL}_interaction_sweep", f"{MODEL}_prior_on_published"

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


def _given(results: Results) -> str:
    """Say what the conditional odds ratio is conditional on."""
    record = results.models[MODEL]
    terms = ["HR status"] if len(results.strata) > 1 else []
    terms += ["cohort"] if len(record.cohorts) > 1 else []
    terms += [] if record.adjustment == "none" else [record.adjustment]
    return f"given {formats.listed(terms)}" if terms else "adjusted for nothing"


def _high(results: Results, cell: str, stratum: str, cohort: str = "") -> Cell:
    """Tumours with high abundance behind a row; for the ratio, of cohorts with both strata."""
    rows = [
        r
        for r in results.rows(COUNTS)
        if r["cell_type"] == cell and r["n"] and (not cohort or r["cohort"] == cohort)
    ]
    if stratum == DIFFERENCE:
        strata: dict[str, int] = {}
        for r in rows:
            strata[r["cohort"]] = strata.get(r["cohort"], 0) + 1
        rows = [r for r in rows if strata[r["cohort"]] > 1]
    else:
        rows = [r for r in rows if r["hr"] == stratum]
    return Cell(formats.count(sum(r["n_high"] for r in rows)))


def _methods(twins: Iterable[Estimate]) -> str:
    """How the twins were made, for a caption."""
    return formats.listed(dict.fromkeys(e.method for e in twins if e.has_interval), "or")


def _marks(results: Results) -> tuple[str, ...]:
    return mark_notes(_labels(results), rules_of(results.rows(COUNTS)))


def _name(results: Results, cell: str) -> str:
    return marked(cell, rules_of(results.rows(COUNTS)))


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
        f"Odds of high abundance per SD of HER2, by hormone receptor (HR) status{pooled_words}: "
        f"posterior medians with {formats.intervals_of(shown)}, beside the frequentist twin with "
        f"{formats.intervals_of(_matched_twins(results, CONDITIONAL))}; log axes. {HIGH} Odds ratios "
        f"{_given(results)}. Grey band: region of practical equivalence (ROPE). {_who(results)} {how_to_read(panels)}"
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
                        _high(results, cell, contrast),
                        estimate_cell(own),
                        estimate_cell(twins[CONDITIONAL].get(place)),
                        _n(twins[CONDITIONAL].get(place)),
                        Cell(formats.p_value(own.s_value if own else None)),
                        Cell(verdict or formats.MISSING),
                        estimate_cell(pooled[MARGINAL].get(place)),
                        estimate_cell(twins[MARGINAL].get(place)),
                        _n(twins[MARGINAL].get(place)),
                    ),
                )
            )
        groups.append((_name(results, cell), members))
    posterior = [e for table in pooled.values() for e in table.values()]
    twin = [e for table in twins.values() for e in table.values()]
    return Table(
        "high_abundance_odds",
        f"Odds ratios of high abundance per SD of HER2 by hormone receptor (HR) status, pooled. {HIGH} Conditional: "
        f"{_given(results)} (the seed study's are univariate, in one stratum of its own tumours). Marginal: "
        "odds at h + 1 "
        "SD over h, standardised to the stratum's tumours. Posterior medians with "
        f"{formats.intervals_of(posterior)}; "
        f"twins with {formats.intervals_of(twin)}, conditional by {_methods(twins[CONDITIONAL].values())}, "
        "marginal by "
        f"{_methods(twins[MARGINAL].values())}. n, n twin: tumours behind posterior and twin; where they "
        "differ, a cohort "
        "is left out of the twin, and its note in the file says why. The s-value is the expected proportion of "
        f"wrong signs among the cell types claimed up to this one. {_who(results)}",
        "Cell type",
        (
            Column("HR", words=True),
            Column("n"),
            Column("High"),
            Column("Posterior", "Conditional"),
            Column("Twin", "Conditional"),
            Column("n, twin", "Conditional"),
            Column("s-value", "Conditional"),
            Column("Verdict", "Conditional", words=True),
            Column("Posterior", "Marginal"),
            Column("Twin", "Marginal"),
            Column("n, twin", "Marginal"),
        ),
        grouped_lines(groups),
        "tables/concordance.csv",
        notes=_marks(results),
        small=True,
    )


def _n(estimate: Estimate | None) -> Cell:
    """Tumours behind an estimate, where there is one."""
    return Cell(formats.count(estimate.n if estimate is not None and estimate.has_interval else None))


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
                _name(results, cell),
                (
                    Cell(formats.count(own.n if own else None)),
                    _high(results, cell, DIFFERENCE),
                    estimate_cell(own),
                    Cell(formats.probability(own.pd if own else None)),
                    Cell(formats.probability(own.p_in_rope if own else None)),
                    estimate_cell(twin),
                    _n(twin),
                    Cell(formats.p_value(twin.p_value if twin else None)),
                    estimate_cell(ratio),
                    _n(ratio),
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
        f"by that in HR+. {HIGH} n, high: tumours of the cohorts with both strata, and those with high "
        f"abundance. Posterior medians with {formats.intervals_of(shown)}, posterior probability of the "
        "direction (pd) "
        "and of lying in the region of practical equivalence (ROPE). Beside it the matched twin"
        f"{how[0]}, with the P of its own method ({_methods(twins.values())}), and one logistic "
        f"regression{how[1]} with profile-likelihood limits and P for interaction "
        "by "
        f"Wald and by likelihood ratio (LR); Bonferroni over cell types. {_who(results)}",
        "Cell type",
        (
            Column("n", "Posterior"),
            Column("High", "Posterior"),
            Column("HR- over HR+", "Posterior"),
            Column("pd", "Posterior"),
            Column("P(in ROPE)", "Posterior"),
            Column("HR- over HR+", "Matched twin"),
            Column("n, twin", "Matched twin"),
            Column("P, twin", "Matched twin"),
            Column("HR- over HR+", "One regression"),
            Column("n, regression", "One regression"),
            Column("P, Wald", "One regression"),
            Column("P, LR", "One regression"),
            Column("P, LR, Bonferroni", "One regression"),
        ),
        tuple(lines),
        "tables/estimates.csv",
        notes=(*_marks(results), *(() if results.rows(PRIOR_SWEEP) else published_notes(results))),
        small=True,
    )


def published_notes(results: Results) -> tuple[str, ...]:
    """Say what the prior alone makes of the interactions that the seed study prints."""
    rows = results.rows(ON_PUBLISHED)
    if not rows:
        return ()
    critical = formats.listed(f"{row['critical_sd']:.3f} ({row['outcome'].lower()})" for row in rows)
    become = "; ".join(
        f"{row['outcome'].lower()} "
        f"{formats.interval(row['published'], row['published_lower'], row['published_upper'])} becomes "
        f"{formats.interval(row['point'], row['lower'], row['upper'])}"
        + (", an interval that includes 1" if row["lower"] <= 1 <= row["upper"] else "")
        for row in rows
    )
    return (
        f"Prior SD of a log ratio HR- over HR+, before other cell types speak: {rows[0]['prior_sd']:.2f}. A "
        "normal prior with an SD below the critical one overturns by itself the interaction that the seed study "
        f"prints: {critical}. Under the prior of this model the printed ratios change: {become}.",
    )


def _chosen(results: Results) -> str:
    return f"{formats.intervals_of(_posterior(results, CONDITIONAL).values())}. {_who(results)}"


def sweep(results: Results) -> Table:
    """Which interactions exclude 1 under other scales of their prior."""
    settings: dict[tuple[float, float], list[Row]] = {}
    for row in results.rows(PRIOR_SWEEP):
        settings.setdefault((row["scale"], row["prior_sd"]), []).append(row)
    lines = []
    for (scale, prior_sd), rows in settings.items():
        named = [
            f"{row['outcome']} {formats.interval(row['point'], row['lower'], row['upper'])}"
            for row in rows
            if row["excludes_1"]
        ]
        lines.append(
            Line(
                f"{scale:g}",
                (
                    Cell(f"{prior_sd:.2f}"),
                    Cell(f"{len(named)} of {len(rows)}"),
                    Cell("; ".join(named) or "none"),
                    Cell("yes" if all(row["reliable"] for row in rows) else "no: needs a refit"),
                ),
            )
        )
    return Table(
        "high_abundance_sweep",
        "Does the prior decide the interactions? Pooled ratios HR- over HR+ (HR: hormone receptor) of the odds "
        "ratios of "
        "high abundance under other scales of the half-normal prior on their spread over cell types, by "
        "reweighting the "
        f"draws. Prior SD: of the log ratio, mean and spread together. Posterior medians with {_chosen(results)}",
        "Scale",
        (
            Column("Prior SD"),
            Column("Exclude 1"),
            Column("Which, ratio per SD of HER2", words=True),
            Column("Weights reliable", words=True),
        ),
        tuple(lines),
        f"tables/{PRIOR_SWEEP}.csv",
        notes=published_notes(results),
    )


def spreads(results: Results) -> Table:
    """Spread between cohorts beside its prior, and over cell types."""
    lines = tuple(
        Line(
            row["term"],
            (
                Cell(formats.interval(row["between_sd_point"], row["lower"], row["upper"], "between_sd")),
                Cell(formats.signed(row["prior_median"])),
                Cell(formats.count(row["n_cohorts_informing"])),
                Cell(
                    formats.interval(
                        row["cells_sd_point"], row["cells_sd_lower"], row["cells_sd_upper"], "between_sd"
                    )
                ),
                Cell(row["note"]),
            ),
        )
        for row in results.rows(SPREADS)
    )
    return Table(
        "high_abundance_spreads",
        "Standard deviation between cohorts of each term of the log odds of high abundance, beside the median of its "
        "prior, and standard deviation over cell types of what the cohorts have in common. Posterior medians with "
        f"{_chosen(results)}",
        "Term",
        (
            Column("Between cohorts"),
            Column("Prior median"),
            Column("Cohorts informing"),
            Column("Over cell types"),
            Column("Note", words=True),
        ),
        lines,
        f"tables/{SPREADS}.csv",
    )


def cutoffs(results: Results) -> Table:
    """Give the rule of every cell type in every cohort, and of how many tumours it is true."""
    rows = results.rows(COUNTS)
    rules = rules_of(rows)
    groups = []
    for cell in _labels(results):
        members = []
        for cohort, row in rules.get(cell, {}).items():
            own = [r for r in rows if r["cell_type"] == cell and r["cohort"] == cohort]
            cutoff = formats.number(row["cutoff"]) if row["high_rule"] == "median" else "above 0"
            members.append(
                Line(
                    cell,
                    (
                        Cell(cohort),
                        Cell(formats.percent(round(1e6 * row["zero_share"]), 1_000_000)),
                        Cell(WORDS[row["high_rule"]]),
                        Cell(cutoff),
                        Cell(formats.count(sum(r["n"] for r in own))),
                        Cell(formats.count(sum(r["n_high"] for r in own))),
                    ),
                )
            )
        groups.append((_name(results, cell), members))
    return Table(
        "high_abundance_cutoffs",
        "What high abundance is: rule and cut-off of each cell type in each cohort (the cut-off on the scale of the "
        "abundance), with the tumours of both hormone receptor strata and those with high abundance. "
        f"{_who(results)}",
        "Cell type",
        (
            Column("Cohort", words=True),
            Column("Zeros, %"),
            Column("High", words=True),
            Column("Cut-off"),
            Column("n"),
            Column("n, high"),
        ),
        grouped_lines(groups),
        f"tables/{COUNTS}.csv",
        notes=_marks(results),
        small=True,
    )


def misses(results: Results) -> Table:
    """Shares of high abundance outside their predictive interval."""
    rows = results.rows("posterior_predictive", MODEL)
    made = predictive_misses(results, MODEL)
    missed = sum(row["inside"] is False for row in rows)
    caption = (
        f"Posterior predictive checks of high abundance that miss: {formats.count(missed)} of "
        f"{formats.count(len(rows))} "
        "observed shares (of all tumours, and of the thirds with the lowest and the highest HER2) lie outside their "
        f"predictive interval, by cell type, cohort and hormone receptor (HR) status. {_who(results)}"
    )
    return replace(made, name="high_abundance_misses", caption=caption)


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
                _high(results, e.outcome, e.stratum, e.cohort),
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
        "Separation of high abundance by HER2: rows of a single cohort for which no finite odds ratio maximises the "
        "likelihood, with the posterior of the same cohort (kept finite by the prior and by the other cohorts "
        "and cell types) and the likelihood ratio (LR) of the twin, which is finite. "
        f"{HIGH} Posterior medians with {formats.intervals_of(posterior.values())}. {_who(results)}",
        "Cell type",
        (
            Column("Cohort", words=True),
            Column("HR", words=True),
            Column("n"),
            Column("High"),
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
                    _high(results, cell, contrast, cohort),
                    estimate_cell(own.get((cell, contrast, cohort))),
                    estimate_cell(twins.get((False, cell, contrast, cohort))),
                    estimate_cell(twins.get((True, cell, contrast, cohort))),
                ),
            )
            for contrast in results.contrasts
            for cohort in cohorts
        ]
        groups.append((_name(results, cell), members))
    wald = [e for (profile, *_), e in twins.items() if not profile]
    return Table(
        "high_abundance_by_cohort",
        "Conditional odds ratios of high abundance per SD of HER2, cohort by cohort, by hormone receptor (HR) "
        f"status. {HIGH} Posterior (partially pooled) with {formats.intervals_of(own.values())}; each cohort's "
        "own logistic "
        "regression with "
        f"{formats.intervals_of(wald)}, and with profile-likelihood limits. {_who(results)}",
        "Cell type",
        (
            Column("HR", words=True),
            Column("Cohort", words=True),
            Column("n"),
            Column("High"),
            Column("Posterior"),
            Column("Twin, Wald"),
            Column("Twin, profile"),
        ),
        grouped_lines(groups),
        "tables/estimates.csv",
        notes=_marks(results),
        small=True,
    )


def tables(results: Results) -> list[Table]:
    """Tables of the section, in reading order."""
    made = [interactions(results)] if DIFFERENCE in results.contrasts else []
    if separated(results):
        made.append(separations(results))
    if results.rows(PRIOR_SWEEP):
        made.append(sweep(results))
    if results.rows(SPREADS):
        made.append(spreads(results))
    made.append(odds(results))
    if len(results.models[MODEL].cohorts) > 1:
        made.append(by_cohort(results))
    made.append(cutoffs(results))
    if results.rows("posterior_predictive", MODEL):
        made.append(misses(results))
    return made


SECTION = Section(
    name=MODEL,
    title="Odds of high abundance",
    after="checks",
    model=MODEL,
    needed={
        COUNTS: columns_of("cell_type cohort hr rule high_rule", ints="n n_high", floats="zero_share cutoff")
    },
    optional={
        SPREADS: INFERENCE["heterogeneity"],
        PRIOR_SWEEP: SWEEP,
        ON_PUBLISHED: columns_of(
            "outcome",
            floats="published published_lower published_upper critical_sd prior_sd point lower upper",
        ),
    },
    tables=tables,
    figures=(forest,),
    figure_names=("high_abundance_odds",),
)
