"""Tables of the report: rows of CSV files in, cells of text out.

A `Table` knows nothing of HTML; the template writes it. Cells are placed by label (cell type,
cohort, stratum, estimand), never by position in a file. Counts and sums of counts are the only
arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bayes_her2.data import DIFFERENCE
from bayes_her2.report import formats
from bayes_her2.report.load import MODEL, SEED_TESTS, Estimate, Results, Row
from bayes_her2.report.maths import length
from bayes_her2.report.words import (
    ESTIMANDS,
    PART_TITLES,
    PARTS,
    VERDICTS,
    exclusive_lists,
    matched_twins,
    pooled_rows,
    scope_word,
    short,
    who,
)

CLASSICAL = {
    ("rank tests", "spearman"): "Spearman correlation of HER2 with abundance",
    (
        "rank tests",
        "probability_greater",
    ): "Probability that HER2 is higher where the cell type is present (Wilcoxon)",
}
"""Headings of the seed study's own tests by model and estimand; others go by their own name."""


@dataclass(frozen=True)
class Column:
    """Heading of a column, the group it stands under, and whether it holds words."""

    label: str
    group: str = ""
    words: bool = False


@dataclass(frozen=True)
class Cell:
    """Text of a cell, a second line, a look (CSS class) and a background; `maths` where the text is LaTeX."""

    text: str
    sub: str = ""
    look: str = ""
    shade: str = ""
    maths: bool = False

    @property
    def letters(self) -> str:
        """Text of the width that the cell takes; a formula is not divided."""
        return "x" * round(1.2 * length(self.text)) if self.maths else self.text


@dataclass(frozen=True)
class Line:
    """One row: its heading (spanning `span` rows; 0 where the row above covers it) and cells."""

    heading: str
    cells: tuple[Cell, ...]
    span: int = 1
    look: str = ""


@dataclass(frozen=True)
class Table:
    """A table with a caption that stands alone."""

    name: str
    caption: str
    stub: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    source: str
    notes: tuple[str, ...] = ()
    number: int = 0
    small: bool = False

    @property
    def grouped(self) -> bool:
        """Whether headings span several rows."""
        return any(line.span != 1 for line in self.lines)

    @property
    def spanners(self) -> tuple[tuple[str, int, Column | None], ...]:
        """First heading row where columns have groups: label, width, and the column if it stands alone."""
        if not any(column.group for column in self.columns):
            return ()
        runs: list[tuple[str, int, Column | None]] = []
        for column in self.columns:
            if column.group and runs and runs[-1][0] == column.group and runs[-1][2] is None:
                runs[-1] = (column.group, runs[-1][1] + 1, None)
            else:
                runs.append((column.group or column.label, 1, None if column.group else column))
        return tuple(runs)


def tables(results: Results) -> dict[str, list[Table]]:
    """Every table of the main sections that the results call for, by section, in the order of the report."""
    made: dict[str, list[Table]] = {"summary": [headline(results)] if results.answered else []}
    if results.study.with_cohorts:
        made |= {
            "data": [flow(results), composition(results), her2_scaling(results)],
            "zeros": [zero_shares(results), seed_rules(results)],
            "precision": [precision(results)],
        }
    if results.rows("covariate_scaling"):
        made["data"].append(covariates(results))
    if results.fitted:
        made["model"] = [*equations(results), prior_predictive(results), priors(results)]
        made["diagnostics"] = [diagnostics(results), sampling(results)]
    if results.complete:
        made["provenance"] = [files(results)]
    if not results.answered:
        return made
    made["results"] = [main_results(results)]
    if DIFFERENCE in results.contrasts:
        made["results"].append(interactions(results))
        if results.rows("interaction_sweep"):
            made["results"].append(interaction_sweep(results))
    made["results"].append(high_abundance(results))
    made["concordance"] = [
        verdict_counts(results),
        concordance(results, everything=False),
        concordance(results, everything=True),
    ]
    if any(_other_methods(results)):
        made["concordance"].append(other_twins(results))
    made["cohorts"] = [heterogeneity(results)]
    made["cohorts"] += [by_cohort(results, part) for part in ("overall", "presence", "amount")]
    made["cohorts"] += classical(results)
    made["checks"] = [predictive_misses(results), predictive(results)]
    if results.rows("parts_disagree"):
        made["checks"].append(parts_disagree(results))
    if results.rows("share_drift"):
        made["checks"].append(share_drift(results))
    if results.rows("recovery"):
        made["recovery"] = [recovery(results)]
    return made


def model_tables(results: Results, model: str) -> list[Table]:
    """Priors, prior gates, diagnostics and sampler of a model with a section of its own."""
    makers = (prior_predictive, priors, diagnostics, sampling)
    named = [*equations(results, model), *(maker(results, model) for maker in makers)]
    return [
        replace(table, name=f"{table.name}_{model}", caption=f"Model {model}. {table.caption}")
        for table in named
    ]


def _text(value: str, look: str = "") -> Cell:
    return Cell(value or formats.MISSING, look=look)


def _count(value: int | None) -> Cell:
    return Cell(formats.count(value))


def _yes(value: bool | None, yes: str = "yes", no: str = "no") -> Cell:
    if value is None:
        return Cell(formats.MISSING)
    return Cell(yes if value else no, look="" if value else "off")


def grouped_lines(groups: Iterable[tuple[str, Sequence[Line]]]) -> tuple[Line, ...]:
    """Lines of several groups, the heading of each group spanning its lines."""
    lines: list[Line] = []
    for heading, members in groups:
        for i, line in enumerate(members):
            look = f"{line.look} first".strip() if i == 0 else line.look
            lines.append(replace(line, heading=heading, span=len(members) if i == 0 else 0, look=look))
    return tuple(lines)


def _pooled(results: Results) -> dict[tuple[str, str, str], Estimate]:
    return {(e.outcome, e.estimand, e.stratum): e for e in results.posterior()}


def estimate_cell(estimate: Estimate | None, n: int | None = None, sub: str = "") -> Cell:
    """Interval of one estimate; its status instead where there is none, beside it where not observed."""
    if estimate is None:
        return Cell(formats.MISSING, look="off")
    if estimate.status == "not estimable" or estimate.point is None:
        return Cell(
            "not estimable" if estimate.status in ("observed", "not estimable") else estimate.status,
            look="off",
        )
    text = formats.interval(estimate.point, estimate.lower, estimate.upper, estimate.estimand)
    extra = [] if estimate.status == "observed" else [estimate.status]
    if n is not None and estimate.n is not None and estimate.n != n:
        extra.append(f"n = {formats.count(estimate.n)}")
    if sub:
        extra.append(sub)
    looks = []
    if estimate.status != "observed":
        looks.append("hollow")
    elif formats.excludes_null(estimate):
        looks.append("away")
    return Cell(text, sub="; ".join(extra), look=" ".join(looks))


# --- section 0 -----------------------------------------------------------------------------------


def headline(results: Results) -> Table:
    """Pooled observed rows whose interval excludes 1, by estimand and stratum."""
    pooled = results.posterior()
    lines = []
    for estimand in ESTIMANDS:
        mine = [e for e in pooled if e.estimand == estimand]
        if not mine:
            continue
        cells = []
        for contrast in results.contrasts:
            observed = [e for e in mine if e.stratum == contrast and e.status == "observed"]
            away = [e for e in observed if formats.excludes_null(e)]
            cells.append(Cell(f"{len(away)} of {len(observed)}", sub=exclusive_lists(away)))
        lines.append(Line(PART_TITLES[estimand][0], tuple(cells)))
    return Table(
        "headline",
        f"{'Posterior' if len(results.cohorts) == 1 else 'Pooled posterior'} rows whose interval excludes 1, out of "
        "the rows observed, by estimand and "
        "hormone receptor "
        "(HR) status. HR means hormone receptor throughout. Ratios per SD of HER2 "
        f"({results.study.measure}); {formats.intervals_of(pooled)}, not adjusted for the number of cell "
        "types. "
        f"{who(results)}",
        "Estimand",
        tuple(Column(contrast, words=True) for contrast in results.contrasts),
        tuple(lines),
        "tables/estimates.csv",
    )


# --- section 1 -----------------------------------------------------------------------------------


def flow(results: Results) -> Table:
    """Read, excluded by reason, analysed; one column per cohort."""
    by_cohort = {row["cohort"]: row for row in results.rows("flow")}
    counts = results.rows("exclusion_counts")
    reasons = list(dict.fromkeys((row["step"], row["reason"]) for row in counts))
    cohorts = results.cohorts

    def line(heading: str, values: Sequence[int], look: str = "") -> Line:
        total = (_count(sum(values)),) if len(cohorts) > 1 else ()
        return Line(heading, (*(_count(v) for v in values), *total), look=look)

    lines = [line("Read", [by_cohort[c]["read"] for c in cohorts], "strong")]
    found: dict[tuple[str, str, str], int] = {}
    for row in counts:
        place = (row["step"], row["reason"], row["cohort"])
        found[place] = found.get(place, 0) + (row["n"] or 0)
    for step, reason in reasons:
        lines.append(line(f"Excluded ({step}): {reason}", [found.get((step, reason, c), 0) for c in cohorts]))
    lines.append(line("Excluded in all", [by_cohort[c]["excluded"] for c in cohorts]))
    lines.append(line("Analysed", [by_cohort[c]["analysed"] for c in cohorts], "strong"))
    notes = []
    for cohort in cohorts:
        listed = sum(row["n"] or 0 for row in counts if row["cohort"] == cohort)
        if listed != by_cohort[cohort]["excluded"]:
            notes.append(
                f"{cohort}: the reasons list {formats.count(listed)} exclusions and the flow "
                f"{formats.count(by_cohort[cohort]['excluded'])}; see tables/exclusions.csv."
            )
    return Table(
        "flow",
        "Tumours read, excluded and analysed, by cohort: number of tumours (samples, where the step is "
        "reading). A tumour is counted under the first reason that applies; hormone receptor (HR) status is "
        "needed for the analysis.",
        "Step",
        tuple(Column(c) for c in (*cohorts, *(("All",) if len(cohorts) > 1 else ()))),
        tuple(lines),
        "tables/exclusion_counts.csv",
        tuple(notes),
    )


def composition(results: Results) -> Table:
    """Analysed tumours by cohort, HR and IHC class."""
    rows = results.rows("composition")
    levels = sorted(
        {row["her2_ihc"] or "not recorded" for row in rows}, key=lambda v: (v == "not recorded", v)
    )
    counts: dict[tuple[str, str, str], int] = {}
    for row in rows:
        place = (row["cohort"], row["hr"], row["her2_ihc"] or "not recorded")
        counts[place] = counts.get(place, 0) + (row["n"] or 0)
    groups = []
    for cohort in results.cohorts:
        members = []
        for stratum in results.strata:
            values = [counts.get((cohort, stratum, level), 0) for level in levels]
            cells = (Cell(stratum), *(_count(v) for v in values), _count(sum(values)))
            members.append(Line(cohort, cells, look="" if sum(values) else "off"))
        groups.append((cohort, members))
    return Table(
        "composition",
        "Composition of the analysed set: number of tumours by cohort, hormone receptor (HR) status and HER2 "
        f"immunohistochemistry (IHC) category. {who(results)}",
        "Cohort",
        (
            Column("HR", words=True),
            *(Column(f"IHC {v}" if v != "not recorded" else "IHC not recorded") for v in levels),
            Column("All"),
        ),
        grouped_lines(groups),
        "tables/composition.csv",
    )


def her2_scaling(results: Results) -> Table:
    """Say what one SD of HER2 is, by platform."""
    lines = tuple(
        Line(
            row["platform"],
            (Cell(formats.number(row["mean"])), Cell(formats.number(row["sd"])), _count(row["n"])),
        )
        for row in results.rows("her2_scaling")
    )
    return Table(
        "her2_scaling",
        f"What 'per SD' means: HER2 ({results.study.measure}) is centred at the platform's mean and "
        "divided by its pooled "
        "SD within hormone receptor (HR) strata, in the measure's own units.",
        "Platform",
        (Column("Mean"), Column("SD within HR (the divisor)"), Column("Tumours")),
        lines,
        "tables/her2_scaling.csv",
    )


def covariates(results: Results) -> Table:
    """Scaling of covariates."""
    lines = tuple(
        Line(
            row["covariate"],
            (_text(row["kind"]), Cell(formats.number(row["mean"])), Cell(formats.number(row["sd"]))),
        )
        for row in results.rows("covariate_scaling")
    )
    return Table(
        "covariates",
        "Adjustment terms: continuous ones centred and divided by their SD, indicators centred; batches of one cohort "
        f"are centred over that cohort and 0 elsewhere. {who(results)}",
        "Covariate",
        (Column("Kind", words=True), Column("Mean"), Column("Divisor")),
        lines,
        "tables/covariate_scaling.csv",
    )


# --- section 2 -----------------------------------------------------------------------------------


def _heat(part: int | None, whole: int | None) -> str:
    """Background for a share of zeros, from white to a blue on which black text stays readable."""
    if part is None or not whole:
        return ""
    share = part / whole
    return f"rgb({255 - round(125 * share)},{255 - round(78 * share)},{255 - round(38 * share)})"


def zero_shares(results: Results) -> Table:
    """Heat table of zero shares, and what is modelled."""
    rows = {(r["cell_type"], r["cohort"], r["hr"]): r for r in results.rows("zero_shares")}
    groups = [
        (cohort, stratum)
        for cohort in results.cohorts
        for stratum in results.strata
        if any(key[1:] == (cohort, stratum) and row["n"] for key, row in rows.items())
    ]
    sizes = {group: {r["n"] for key, r in rows.items() if key[1:] == group} for group in groups}
    columns = [
        Column(f"{stratum} (n\u00a0=\u00a0{formats.count(next(iter(sizes[cohort, stratum])))})", group=cohort)
        if len(sizes[cohort, stratum]) == 1
        else Column(stratum, group=cohort)
        for cohort, stratum in groups
    ]
    lines = []
    for cell in results.rows("cell_types"):
        cells = []
        for group in groups:
            row = rows.get((cell["cell_type"], *group))
            if row is None:
                cells.append(Cell(formats.MISSING, look="off"))
                continue
            shade = _heat(row["n_zero"], row["n"])
            cells.append(Cell(formats.percent(row["n_zero"], row["n"]), shade=shade))
        cells += [
            _count(cell["n_zero"]),
            _count(cell["n_positive"]),
            _yes(cell["presence_modelled"]),
            _yes(cell["amount_modelled"]),
            Cell(cell["reason"]),
        ]
        lines.append(Line(cell["cell_type"], tuple(cells)))
    return Table(
        "zero_shares",
        "Share of exact zeros in percent, by cell type, cohort and hormone receptor (HR) status, and "
        "which parts are modelled. "
        f"0 and 100 are exact. {who(results)}",
        "Cell type",
        (
            *columns,
            Column("zeros", group="All tumours"),
            Column("positives", group="All tumours"),
            Column("presence", group="Modelled"),
            Column("amount", group="Modelled"),
            Column("why not", group="Modelled", words=True),
        ),
        tuple(lines),
        "tables/zero_shares.csv",
        small=True,
    )


def seed_rules(results: Results) -> Table:
    """Give the seed study's rule per cohort, used by the twins of its tables."""
    rows = {(r["cell_type"], r["cohort"]): r for r in results.rows("rules")}
    lines = []
    for cell in results.cell_types:
        cells = []
        for cohort in results.cohorts:
            row = rows.get((cell, cohort))
            cells += [
                _text(row["rule"] if row else "", "off" if row and row["rule"] == "excluded" else ""),
                _text(row["high_rule"] if row else ""),
            ]
        lines.append(Line(cell, tuple(cells)))
    return Table(
        "seed_rules",
        "How the seed study would treat each cell type, by cohort (used only by the tests of its tables): "
        "excluded above "
        "75 % zeros, presence or absence from 25 to 75 %, else continuous; and whether high abundance "
        "means 'at or above "
        f"the median' or 'present'. {who(results)}",
        "Cell type",
        tuple(
            Column(label, group=cohort, words=True)
            for cohort in results.cohorts
            for label in ("rule", "high abundance")
        ),
        tuple(lines),
        "tables/rules.csv",
        small=True,
    )


# --- section 3 -----------------------------------------------------------------------------------


def precision(results: Results) -> Table:
    """Give expected interval factor and detectable ratio before results."""
    rows = {(r["cell_type"], r["estimand"], r["stratum"]): r for r in results.rows("precision")}
    parts = [p for p in ESTIMANDS if any(key[1] == p for key in rows)]
    contrasts = [c for c in results.contrasts if any(key[2] == c for key in rows)]
    groups = []
    for cell in results.modelled:
        members = []
        for contrast in contrasts:
            here = [rows.get((cell, part, contrast)) for part in parts]
            given = [row for row in here if row]
            if not given:
                continue
            cells = [Cell(contrast), _count(given[0]["n"]), _count(given[0]["n_zero"])]
            for row in here:
                cells.append(
                    Cell(formats.ratio(row["interval_factor"])) if row and row["interval_factor"] else _off()
                )
                cells.append(
                    Cell(formats.ratio(row["detectable_ratio"]))
                    if row and row["detectable_ratio"]
                    else _off()
                )
            members.append(Line(cell, tuple(cells)))
        groups.append((cell, members))
    return Table(
        "precision",
        "Precision before results, by cell type and hormone receptor (HR) status, per SD of HER2: expected "
        "upper over lower limit "
        f"of a {formats.level(results.study.interval)} interval, and the ratio (or its inverse) found with "
        "80 % power at two-sided P < 0.05. "
        "From sample sizes, zero shares and spread only: the association is not looked at, and the spread "
        "between cohorts is left out. "
        f"{who(results)}",
        "Cell type",
        (
            Column("HR", words=True),
            Column("n"),
            Column("zeros"),
            *(
                Column(label, group=PART_TITLES[part][0])
                for part in parts
                for label in ("upper/lower limit", "detectable ratio")
            ),
        ),
        grouped_lines(groups),
        "tables/precision.csv",
        small=True,
    )


def _off() -> Cell:
    return Cell(formats.MISSING, look="off")


# --- section 4 -----------------------------------------------------------------------------------


LAWS = {
    "{Normal}": "Normal(mean, SD)",
    "{HalfNormal}": "HalfNormal(scale)",
    "{HalfStudentT}": "HalfStudentT(degrees of freedom, scale)",
    "{Gamma}": "Gamma(shape, rate)",
    "{Binomial}": "Binomial(number, probability)",
    "{MultivariateNormal}": "MultivariateNormal(means, covariance)",
    "{Dirichlet}": "Dirichlet(concentration, the same for every share)",
}
"""Distribution in LaTeX -> what its numbers are."""


def equations(results: Results, model: str = MODEL) -> list[Table]:
    """Write a model line by line; no table where the run did not record it."""
    rows = results.rows("outline", model)
    lines = tuple(
        Line(
            formats.sentence(row["quantity"]).removesuffix("."),
            (
                Cell(formula(row), maths=True),
                _text(row["for_each"].replace("; ", ", ")),
            ),
            look="data" if row["observed"] else "",
        )
        for row in rows
    )
    if not lines:
        return []
    return [
        Table(
            "equations",
            "The model line by line, with the priors of this run. ~ is distributed as, = equals. "
            f"{'; '.join(said for name, said in LAWS.items() if any(name in row['law'] for row in rows))}.",
            "Quantity",
            (Column("Equation", words=True), Column("For each", words=True)),
            lines,
            "tables/outline.csv",
        )
    ]


def formula(row: Row) -> str:
    """One line of a model in LaTeX."""
    return rf"{row['symbol']} {'=' if row['relation'] == '=' else chr(92) + 'sim'} {row['law']}"


def priors(results: Results, model: str = MODEL) -> Table:
    """Priors with reasons, in the order given, grouped by part."""
    rows = results.rows("priors", model)
    parts = list(dict.fromkeys(row["part"] for row in rows))
    groups = [
        (
            part,
            [
                Line(
                    part,
                    (
                        Cell(
                            row["name"], look="code", sub="changed in this study" if row["overridden"] else ""
                        ),
                        Cell(row["distribution"], look="code"),
                        _text(row["reader_scale"]),
                        _text(row["why"]),
                    ),
                    look="changed" if row["overridden"] else "",
                )
                for row in rows
                if row["part"] == part
            ],
        )
        for part in parts
    ]
    changed = sum(bool(row["overridden"]) for row in rows)
    said = (
        f"{formats.plural(changed, 'prior was', 'priors were')} changed from the default"
        if changed
        else "all are defaults"
    )
    return Table(
        "priors",
        "Priors with their reasons, on the model's scale and on the reader's "
        f"({formats.plural(len(rows), 'prior')}; {said}).",
        "Part",
        (
            Column("Prior on", words=True),
            Column("Distribution", words=True),
            Column("On the reader's scale", words=True),
            Column("Reason", words=True),
        ),
        grouped_lines(groups),
        "tables/priors.csv",
    )


_ENTERS = {
    "abundance": "Observed shares and mean amounts by cohort enter the checks that name them; no association with HER2 "
    "does.",
    "high_abundance": "Observed shares by cohort enter the first check; no association with HER2 does.",
    "clinical": "Observed shares by cohort enter the first check; no association with abundance does.",
    "marginal_effect": "Observed levels and SDs of the outcome by cohort enter the checks that name them; no "
    "association with HER2 does.",
    "rank_correlation": "Observed correlations, those with the HER2 measure among them, enter the check that names "
    "correlations in the sample.",
}
"""Model -> what of the data its prior predictive gates see."""


def prior_predictive(results: Results, model: str = MODEL) -> Table:
    """Prior predictive gates."""
    lines = tuple(
        Line(
            row["check"],
            (
                Cell(formats.plain(row["value"])),
                Cell(f"{formats.plain(row['lower'])} to {formats.plain(row['upper'])}"),
                _passed(row["passed"]),
            ),
        )
        for row in results.rows("prior_predictive", model)
    )
    return Table(
        "prior_predictive",
        "Prior predictive gates: what the priors alone imply, against the range that was declared "
        f"reasonable. {_ENTERS.get(model, '')}".rstrip(),
        "Check",
        (Column("Value"), Column("Allowed"), Column("Gate", words=True)),
        lines,
        "tables/prior_predictive.csv",
    )


def _passed(value: bool | None) -> Cell:
    if value is None:
        return Cell(formats.MISSING)
    return Cell("passed") if value else Cell("failed", look="failed")


# --- section 5 -----------------------------------------------------------------------------------


def diagnostics(results: Results, model: str = MODEL) -> Table:
    """Convergence of every reported quantity, worst value per quantity."""
    gate = results.gate(model)
    lines = tuple(
        Line(
            row["quantity"],
            (
                _count(row["n_values"]),
                Cell(formats.number(row["r_hat_max"], 4)),
                Cell(formats.number(row["ess_bulk_min"])),
                Cell(formats.number(row["ess_tail_min"])),
                _text(row["worst_label"]),
                _passed(row["passed"]),
            ),
        )
        for row in results.rows("diagnostics", model)
    )
    return Table(
        "diagnostics",
        "Convergence of every reported quantity: worst value over all that is reported of it. "
        f"{f'Gate: no divergence, {gate}. ' if gate else ''}A run that fails prints no inference.",
        "Quantity",
        (
            Column("Values"),
            Column("r-hat, highest"),
            Column("Bulk ESS, lowest"),
            Column("Tail ESS, lowest"),
            Column("Worst at", words=True),
            Column("Gate", words=True),
        ),
        lines,
        "tables/diagnostics.csv",
        small=True,
    )


def sampling(results: Results, model: str = MODEL) -> Table:
    """Sampler settings as used."""
    return Table(
        "sampling",
        "Sampler settings as used in the fit that is reported.",
        "Setting",
        (Column("Value", words=True),),
        tuple(Line(row["setting"], (_text(row["value"]),)) for row in results.rows("sampling", model)),
        "tables/sampling.csv",
    )


# --- section 6 -----------------------------------------------------------------------------------


def _parts_lines(results: Results, contrasts: Sequence[str]) -> tuple[Line, ...]:
    pooled = _pooled(results)
    groups = []
    for cell in results.modelled:
        members = []
        for contrast in contrasts:
            row = [pooled.get((cell, part, contrast)) for part in PARTS]
            lead = next((e for e in reversed(row) if e is not None), None)
            n = lead.n if lead else None
            cells = (_count(n), _count(lead.n_zero if lead else None), *(estimate_cell(e, n) for e in row))
            if len(contrasts) > 1:
                cells = (Cell(contrast), *cells)
            members.append(Line(cell, cells))
        groups.append((cell, members))
    return grouped_lines(groups)


NOTE_PARTS = (
    "Presence: odds ratio of any abundance. Amount: ratio of means among tumours where the cell type is "
    "present. Overall: ratio of "
    "the mean abundance E[y] with zeros included, standardised to the tumours observed in the stratum. "
    "Bold: a row observed whose "
    "interval excludes 1. Italic: not observed, with its status."
)


def main_results(results: Results) -> Table:
    """Presence, amount and overall together, by stratum."""
    shown = [e for e in results.posterior() if e.stratum in results.strata and e.estimand in PARTS]
    return Table(
        "main_results",
        f"Pooled association of HER2 ({results.study.measure}) with each cell type, by hormone receptor "
        "(HR) status: ratio per SD "
        f"of HER2, posterior median with {formats.intervals_of(shown)}. {_adjusted(shown)} "
        f"{who(results)}",
        "Cell type",
        (
            *((Column("HR", words=True),) if len(results.strata) > 1 else ()),
            Column("n"),
            Column("zeros"),
            Column("Presence, odds ratio"),
            Column("Amount, ratio of means"),
            Column("Overall, ratio of E[y]"),
        ),
        _parts_lines(results, results.strata),
        "tables/estimates.csv",
        (NOTE_PARTS,),
    )


def _adjusted(estimates: Sequence[Estimate]) -> str:
    adjustments = sorted({e.adjustment for e in estimates if e.adjustment and e.adjustment != "none"})
    return f"Adjusted for {'; '.join(adjustments)}." if adjustments else "Not adjusted for covariates."


def interactions(results: Results) -> Table:
    """Ratio HR- over HR+ for the three parts."""
    shown = [e for e in results.posterior() if e.stratum == DIFFERENCE and e.estimand in PARTS]
    return Table(
        "interactions",
        "Interaction with hormone receptor (HR) status: ratio per SD of HER2 in HR- divided by that in HR+ "
        f"({scope_word(results)}), posterior "
        f"median with {formats.intervals_of(shown)}. {_adjusted(shown)} {who(results)}",
        "Cell type",
        (
            Column("n"),
            Column("zeros"),
            Column("Presence, ratio of odds ratios"),
            Column("Amount, ratio of ratios"),
            Column("Overall, ratio of ratios"),
        ),
        _parts_lines(results, (DIFFERENCE,)),
        "tables/estimates.csv",
        (NOTE_PARTS,),
    )


def high_abundance(results: Results) -> Table:
    """High abundance: posterior, matched twin, conditional twin, P."""
    pooled = _pooled(results)
    matched = {
        (r["outcome"], r["stratum"]): r
        for r in results.rows("concordance")
        if r["estimand"] == "high_abundance" and r["scope"] == "pooled"
    }
    conditional: dict[tuple[str, str], Estimate] = {}
    for e in results.twins():
        if e.estimand == "high_abundance_conditional":
            conditional.setdefault((e.outcome, e.stratum), e)
    by_method = _twins(results)
    groups = []
    for cell in results.modelled:
        members = []
        for contrast in results.contrasts:
            estimate = pooled.get((cell, "high_abundance", contrast))
            row = matched.get((cell, contrast))
            if estimate is None and row is None:
                continue
            other = conditional.get((cell, contrast))
            members.append(
                Line(
                    cell,
                    (
                        Cell(contrast),
                        _count(estimate.n if estimate else None),
                        estimate_cell(estimate),
                        _twin_cell(row, by_method),
                        estimate_cell(other) if other else _off(),
                        Cell(formats.p_value(other.p_value if other else None)),
                        Cell(formats.p_value(other.p_adjusted if other else None)),
                    ),
                )
            )
        if members:
            groups.append((cell, members))
    shown = [e for e in results.posterior() if e.estimand == "high_abundance"]
    twins = [e for e in results.twins() if e.estimand in ("high_abundance", "high_abundance_conditional")]
    return Table(
        "high_abundance",
        f"High abundance by hormone receptor (HR) status, {scope_word(results)}: marginal odds ratio per SD of HER2, "
        "posterior with "
        f"{formats.intervals_of(shown)} beside the frequentist twin of the same estimand, and the twin's "
        "conditional odds ratio "
        f"(as published studies print it), with {formats.intervals_of(twins)}. P is that of "
        "the conditional odds ratio (in the row HR- over HR+: P for interaction); "
        f"Bonferroni over cell types. {who(results)}",
        "Cell type",
        (
            Column("HR", words=True),
            Column("n"),
            Column("Posterior, marginal"),
            Column("Twin, marginal"),
            Column("Twin, conditional"),
            Column("P"),
            Column("P, Bonferroni"),
        ),
        grouped_lines(groups),
        "tables/concordance.csv",
        small=True,
    )


Twins = dict[tuple[str, str, str, str], Estimate]
"""Pooled twins by cell type, estimand, stratum and method."""


def _twins(results: Results) -> Twins:
    return {(e.outcome, e.estimand, e.stratum, e.method): e for e in results.twins()}


def _twin_cell(row: Row | None, twins: Twins, others: Sequence[str] = ()) -> Cell:
    """Interval of the matched twin, bold where it excludes 1; other methods beneath."""
    if row is None:
        return _off()
    place = (row["outcome"], row["estimand"], row["stratum"])
    found = ((method, twins.get((*place, method))) for method in others)
    sub = "; ".join(
        (f"{method} " if len(others) > 1 else "") + formats.interval(e.point, e.lower, e.upper, e.estimand)
        for method, e in found
        if e is not None and e.point is not None
    )
    if row["twin_point"] is None:
        matched = twins.get((*place, row["twin_method"]))
        separated = matched is not None and matched.status == "separated"
        return Cell("separated" if separated else formats.MISSING, sub=sub, look="off")
    text = formats.interval(row["twin_point"], row["twin_lower"], row["twin_upper"], row["estimand"])
    return Cell(text, sub=sub, look=_away(row["twin_lower"], row["twin_upper"]))


def _marked(cell: Cell, code: str) -> Cell:
    """Add the letter of its method to a twin's number."""
    return replace(cell, text=f"{cell.text} ({code})") if code else cell


def _away(lower: float | None, upper: float | None) -> str:
    """Look of a ratio whose limits lie on one side of 1."""
    return "away" if lower is not None and upper is not None and (lower > 1 or upper < 1) else ""


# --- section 7 -----------------------------------------------------------------------------------


def _pooled_concordance(results: Results) -> list[Row]:
    """Pooled rows in the order of cell types, estimands, strata."""
    by_label = {
        (r["outcome"], r["estimand"], r["stratum"]): r
        for r in results.rows("concordance")
        if r["scope"] == "pooled"
    }
    places = ((c, e, s) for c in results.cell_types for e in ESTIMANDS for s in results.contrasts)
    return [by_label[place] for place in places if place in by_label]


def verdict_counts(results: Results) -> Table:
    """Verdicts with definitions and counts by estimand and stratum."""
    rows = _pooled_concordance(results)
    estimands = [e for e in ESTIMANDS if any(r["estimand"] == e for r in rows)]
    names = [*VERDICTS, *sorted({r["verdict"] for r in rows if r["verdict"]} - set(VERDICTS))]
    lines = []
    for verdict in names:
        mine = [r for r in rows if r["verdict"] == verdict]
        by_place = [
            sum(r["estimand"] == estimand and r["stratum"] == contrast for r in mine)
            for estimand in estimands
            for contrast in results.contrasts
        ]
        cells = (
            _text(VERDICTS.get(verdict, "")),
            *(Cell(str(n), look="" if n else "off") for n in by_place),
            Cell(str(len(mine)), look="strong"),
        )
        lines.append(Line(verdict, cells))
    without = sum(not r["verdict"] for r in rows)
    notes = (f"{formats.plural(without, 'row')} without a verdict (not observed).",) if without else ()
    return Table(
        "verdict_counts",
        "Does the posterior say what the frequentist analysis of the same tumours, estimand and covariates "
        f"says? Number of {pooled_rows(results)} "
        f"by verdict, estimand and hormone receptor (HR) status. {who(results)}",
        "Verdict",
        (
            Column("Meaning", words=True),
            *(
                Column(_short(contrast), group=PART_TITLES[estimand][0])
                for estimand in estimands
                for contrast in results.contrasts
            ),
            Column("All"),
        ),
        tuple(lines),
        "tables/concordance.csv",
        (*notes, "-/+ : the ratio HR- over HR+.") if DIFFERENCE in results.contrasts else notes,
        small=True,
    )


def _short(contrast: str) -> str:
    return "-/+" if contrast == DIFFERENCE else contrast


def concordance(results: Results, *, everything: bool) -> Table:
    """Posterior beside twin, with all the measures of evidence."""
    rows = _pooled_concordance(results)
    by_method, others = _twins(results), _other_methods(results)
    quiet = ("both null", "not compared", "not estimable", "")
    if not everything:
        rows = [
            r for r in rows if r["verdict"] not in quiet or r["discovery_bayes"] or r["discovery_bonferroni"]
        ]
    groups, codes = [], _codes(rows)
    for cell in results.cell_types:
        members = [
            Line(
                cell,
                (
                    Cell(short(r["estimand"])),
                    Cell(r["stratum"]),
                    Cell(f"{formats.count(r['n'])} ({formats.count(r['n_zero'])})", sub=_twin_tumours(r)),
                    _posterior_cell(r),
                    _marked(_twin_cell(r, by_method, others), codes.get(r["twin_method"] or "", "")),
                    _text(r["verdict"], "off" if r["verdict"] in quiet else f"verdict {r['verdict']}"),
                    Cell(formats.p_value(_uncertainty(r["pd"]))),
                    Cell(formats.p_value(r["lfsr"])),
                    Cell(formats.p_value(r["s_value"])),
                    Cell(formats.probability(r["p_in_rope"])),
                    Cell(formats.p_value(r["twin_p"])),
                    Cell(formats.p_value(r["twin_p_bonferroni"])),
                    _yes(r["discovery_bayes"]),
                    _yes(r["discovery_bonferroni"]),
                ),
            )
            for r in rows
            if r["outcome"] == cell
        ]
        if members:
            groups.append((cell, members))
    shown = results.posterior()
    twins = [*matched_twins(results), *(e for e in results.twins() if e.method in others)]
    beneath = f"; in grey beneath it, the twin with the method {formats.listed(others)}" if others else ""
    which = "all rows" if everything else "rows that were compared and in which either side sees something"
    study = results.study
    return Table(
        "concordance_all" if everything else "concordance",
        f"Posterior beside frequentist twin, {scope_word(results)}, {which}: ratio per SD of HER2 by hormone receptor "
        "(HR) status, "
        f"{formats.intervals_of(shown)} and {formats.intervals_of(twins)}{beneath}. {who(results)}",
        "Cell type",
        (
            Column("Estimand", words=True),
            Column("HR", words=True),
            Column("n (zeros)"),
            Column("Posterior"),
            Column("Twin"),
            Column("Verdict", words=True),
            Column("pd", group="Posterior evidence"),
            Column("lfsr", group="Posterior evidence"),
            Column("s-value", group="Posterior evidence"),
            Column("P(in ROPE)", group="Posterior evidence"),
            Column("P", group="Twin evidence"),
            Column("P, Bonf.", group="Twin evidence"),
            Column("Sign call", group="Called"),
            Column("Bonf.", group="Called"),
        ),
        grouped_lines(groups),
        "tables/concordance.csv",
        (
            "Bold: the interval excludes 1. pd: posterior probability of the more probable direction. "
            "lfsr: local false sign rate. "
            "s-value: Stephens's expected false sign rate among all claims "
            "at least as strong. P(in ROPE): posterior probability of a ratio from "
            f"{formats.ratio(study.rope[0])} to {formats.ratio(study.rope[1])}. "
            "Sign call: s-value and lfsr at most "
            f"{study.false_discovery:g}, which limits wrong signs, not small effects. Bonf.: Bonferroni over "
            f"cell types within estimand and stratum, at {study.alpha:g}.",
            *(_methods_note(rows)),
        ),
        small=True,
    )


def _twin_tumours(row: Row) -> str:
    """Say how many tumours the twin rests on where that is another number."""
    differs = row["n_twin"] is not None and row["n_twin"] != row["n"]
    return f"twin {formats.count(row['n_twin'])}" if differs else ""


def _uncertainty(pd: float | None) -> float | None:
    """Keep a probability of direction of exactly 1 from reading as certainty."""
    return None if pd is None else min(pd, 0.99999)


def _codes(rows: Sequence[Row]) -> dict[str, str]:
    """Twin method -> letter that marks its rows, where rows of a table have several."""
    methods = dict.fromkeys(r["twin_method"] for r in rows if r["twin_method"])
    return dict(zip(methods, "abcdefgh", strict=False)) if len(methods) > 1 else {}


def _methods_note(rows: Sequence[Row]) -> tuple[str, ...]:
    """Name the twins' methods, and where there are several say how much of the verdicts is theirs."""
    methods = list(dict.fromkeys(r["twin_method"] for r in rows if r["twin_method"]))
    if len(methods) < 2:
        return (f"Twin: {'; '.join(methods)}.",) if methods else ()
    codes = _codes(rows)
    named = "; ".join(f"({code}) {method}" for method, code in codes.items())
    counts = []
    for verdict in ("new", "uncertain"):
        mine = [codes[r["twin_method"]] for r in rows if r["verdict"] == verdict and r["twin_method"]]
        if mine:
            each = ", ".join(f"{mine.count(code)} with ({code})" for code in codes.values() if code in mine)
            counts.append(f"{verdict}: {each}")
    words = (
        f" Rows by verdict and twin: {'; '.join(counts)}. With few cohorts a random-effects twin has wide intervals, "
        "a fixed one has not: either verdict may say more about the twin than about the tumours."
        if counts
        else ""
    )
    return (f"Twin, which estimates what the posterior's row does: {named}.{words}",)


def _posterior_cell(row: Row) -> Cell:
    if row["posterior_point"] is None:
        return Cell(row["status"] or formats.MISSING, look="off")
    text = formats.interval(
        row["posterior_point"], row["posterior_lower"], row["posterior_upper"], row["estimand"]
    )
    observed = row["status"] in ("observed", "")
    look = _away(row["posterior_lower"], row["posterior_upper"]) if observed else "hollow"
    return Cell(text, sub="" if observed else row["status"], look=look)


def _other_methods(results: Results) -> list[str]:
    """Pooled twin methods that are not the matched ones of the concordance table."""
    matched = {r["twin_method"] for r in results.rows("concordance") if r["scope"] == "pooled"}
    found = dict.fromkeys(e.method for e in results.twins() if e.estimand in ESTIMANDS)
    return [method for method in found if method not in matched]


def other_twins(results: Results) -> Table:
    """Pooled twins by another method, such as cohort as a fixed effect."""
    methods = _other_methods(results)
    twins = {(e.outcome, e.estimand, e.stratum, e.method): e for e in results.twins() if e.method in methods}
    groups = []
    for cell in results.modelled:
        members = []
        for estimand in ESTIMANDS:
            for contrast in results.contrasts:
                here = [twins.get((cell, estimand, contrast, method)) for method in methods]
                if not any(here):
                    continue
                cells: list[Cell] = [Cell(short(estimand)), Cell(contrast)]
                for e in here:
                    cells += [estimate_cell(e), Cell(formats.p_value(e.p_value if e else None))]
                members.append(Line(cell, tuple(cells)))
        if members:
            groups.append((cell, members))
    return Table(
        "other_twins",
        f"The twin by other methods, {scope_word(results)}: ratio per SD of HER2 by hormone receptor (HR) status, "
        f"{formats.intervals_of(twins.values())}. {who(results)}",
        "Cell type",
        (
            Column("Estimand", words=True),
            Column("HR", words=True),
            *(Column(label, group=method) for method in methods for label in ("Twin", "P")),
        ),
        grouped_lines(groups),
        "tables/estimates.csv",
        small=True,
    )


# --- section 8 -----------------------------------------------------------------------------------


def heterogeneity(results: Results) -> Table:
    """Between-cohort SD beside its prior."""
    rows = results.rows("heterogeneity")
    parts = list(dict.fromkeys(r["part"] for r in rows))
    groups = [
        (
            part,
            [
                Line(
                    part,
                    (
                        _text(r["term"]),
                        Cell(formats.interval(r["between_sd_point"], r["lower"], r["upper"], "between_sd")),
                        Cell(formats.signed(r["prior_median"])),
                        _count(r["n_cohorts_informing"]),
                        _text(
                            formats.interval(
                                r["cells_sd_point"], r["cells_sd_lower"], r["cells_sd_upper"], "between_sd"
                            )
                            if r["cells_sd_point"] is not None
                            else formats.MISSING
                        ),
                        Cell(r["note"]),
                    ),
                )
                for r in rows
                if r["part"] == part
            ],
        )
        for part in parts
    ]
    return Table(
        "heterogeneity",
        "Between-cohort standard deviation (tau) of each term, on the log scale: posterior median "
        "with "
        f"{formats.intervals_of(results.posterior())}, beside the median of its prior; and "
        "the SD over cell types of what the cohorts "
        f"have in common. Where the first is the larger, cohorts differ more than cell types. {who(results)}",
        "Part",
        (
            Column("Term", words=True),
            Column("tau, posterior"),
            Column("Prior median"),
            Column("Cohorts informing"),
            Column("Over cell types"),
            Column("Note", words=True),
        ),
        grouped_lines(groups),
        "tables/heterogeneity.csv",
    )


def by_cohort(results: Results, part: str) -> Table:
    """Each cohort, pooled and a new cohort, posterior above and twin below."""
    posterior = {
        (e.outcome, e.stratum, e.scope, e.cohort): e
        for scope in ("cohort", "pooled", "new cohort")
        for e in results.posterior(scope=scope)
        if e.estimand == part
    }
    twins: dict[tuple[str, str, str], Estimate] = {}
    for e in results.twins(scope="cohort"):
        if e.estimand == part and e.status == "observed":
            twins.setdefault((e.outcome, e.stratum, e.cohort), e)
    groups = []
    for cell in results.modelled:
        members = []
        for contrast in results.contrasts:
            cells = [Cell(contrast)]
            for cohort in results.cohorts:
                twin = twins.get((cell, contrast, cohort))
                sub = f"twin {formats.interval(twin.point, twin.lower, twin.upper, part)}" if twin else ""
                cells.append(estimate_cell(posterior.get((cell, contrast, "cohort", cohort)), sub=sub))
            cells += [
                estimate_cell(posterior.get((cell, contrast, scope, "")))
                for scope in ("pooled", "new cohort")
            ]
            members.append(Line(cell, tuple(cells)))
        groups.append((cell, members))
    shown = list(posterior.values())
    return Table(
        f"cohorts_{part}",
        f"{PART_TITLES[part][0]}, cohort by cohort: {PART_TITLES[part][1]} by hormone receptor (HR) "
        "status, posterior with "
        f"{formats.intervals_of(shown)}; where given, the cohort's own twin beneath with "
        f"{formats.intervals_of(twins.values())}. {who(results)}",
        "Cell type",
        (
            Column("HR", words=True),
            *(Column(cohort) for cohort in results.cohorts),
            Column("Pooled"),
            Column("New cohort"),
        ),
        grouped_lines(groups),
        "tables/estimates.csv",
        small=True,
    )


def classical(results: Results) -> list[Table]:
    """Give the seed study's own tests, one table per family (Spearman, Wilcoxon, chi-squared)."""
    rows = [e for e in results.estimates if e.source == "twin" and e.model in SEED_TESTS]
    order = {cell: i for i, cell in enumerate(results.cell_types)}
    made: list[Table] = []
    for model, estimand in dict.fromkeys((e.model, e.estimand) for e in rows):
        family = [e for e in rows if (e.model, e.estimand) == (model, estimand)]
        mine = [e for e in family if e.point is not None]
        if not mine:
            continue
        mine.sort(key=lambda e: order.get(e.outcome, len(order)))
        groups = []
        for outcome in dict.fromkeys(e.outcome for e in mine):
            members = [
                Line(
                    outcome,
                    (
                        Cell(e.cohort or e.scope),
                        Cell(e.stratum),
                        _count(e.n),
                        _count(e.n_zero),
                        estimate_cell(e),
                        Cell(formats.p_value(e.p_value)),
                        Cell(formats.p_value(e.p_adjusted)),
                        Cell(e.method),
                    ),
                )
                for e in mine
                if e.outcome == outcome
            ]
            groups.append((outcome, members))
        empty = len(family) - len(mine)
        title = CLASSICAL.get((model, estimand), f"{estimand.replace('_', ' ').capitalize()} ({model})")
        units = formats.listed(sorted({e.unit for e in mine if e.unit}), "or")
        made.append(
            Table(
                f"classical_{len(made) + 1}",
                f"{title}: the seed study's own test on these tumours, by cohort and hormone receptor (HR) "
                "status. "
                f"{f'Unit: {units}; ' if units else ''}{formats.intervals_of(mine)}; Bonferroni over cell "
                f"types. {who(results)}",
                "Cell type",
                (
                    Column("Cohort", words=True),
                    Column("HR", words=True),
                    Column("n"),
                    Column("zeros"),
                    Column("Estimate"),
                    Column("P"),
                    Column("P, Bonferroni"),
                    Column("Method", words=True),
                ),
                grouped_lines(groups),
                "tables/estimates.csv",
                (f"{formats.plural(empty, 'row')} without an estimate (see the column note of the file).",)
                if empty
                else (),
                small=True,
            )
        )
    return made


# --- section 9 -----------------------------------------------------------------------------------


def _predictive_lines(results: Results, rows: Sequence[Row]) -> tuple[Line, ...]:
    groups = []
    for cell in results.cell_types:
        members = [
            Line(
                cell,
                (
                    Cell(r["cohort"]),
                    Cell(r["hr"]),
                    Cell(r["statistic"]),
                    Cell(formats.number(r["observed"])),
                    Cell(formats.number(r["predicted"])),
                    Cell(f"{formats.number(r['lower'])} to {formats.number(r['upper'])}"),
                    _yes(r["inside"]),
                ),
            )
            for r in rows
            if r["cell_type"] == cell
        ]
        if members:
            groups.append((cell, members))
    return grouped_lines(groups)


PREDICTIVE_COLUMNS = (
    Column("Cohort", words=True),
    Column("HR", words=True),
    Column("Statistic", words=True),
    Column("Observed"),
    Column("Predicted"),
    Column("Interval"),
    Column("Inside"),
)


def predictive_misses(results: Results, model: str = MODEL) -> Table:
    """Observed statistics of a model outside their predictive interval."""
    rows = results.rows("posterior_predictive", model)
    misses = [r for r in rows if r["inside"] is False]
    return Table(
        "predictive_misses",
        f"Posterior predictive checks that miss: {formats.count(len(misses))} of "
        f"{formats.count(len(rows))} observed statistics lie outside their predictive "
        f"interval, by cell type, cohort and hormone receptor (HR) status. {who(results)}",
        "Cell type",
        PREDICTIVE_COLUMNS,
        _predictive_lines(results, misses),
        "tables/posterior_predictive.csv",
        small=True,
    )


def predictive(results: Results) -> Table:
    """All posterior predictive checks."""
    rows = results.rows("posterior_predictive")
    return Table(
        "predictive",
        f"All {formats.count(len(rows))} posterior predictive checks, by cell type, cohort and hormone "
        f"receptor (HR) status. {who(results)}",
        "Cell type",
        PREDICTIVE_COLUMNS,
        _predictive_lines(results, rows),
        "tables/posterior_predictive.csv",
        small=True,
    )


def parts_disagree(results: Results) -> Table:
    """Presence and amount in opposite directions."""
    lines = tuple(
        Line(r["outcome"], (Cell(r["stratum"]), *(Cell(formats.ratio(r[part])) for part in PARTS)))
        for r in results.rows("parts_disagree")
    )
    shown = [e for e in results.posterior() if e.estimand in PARTS]
    return Table(
        "parts_disagree",
        "Cell types whose presence and amount go in opposite directions, both excluding 1, by hormone "
        "receptor "
        f"(HR) status: point ratios per SD of HER2 ({formats.intervals_of(shown)} in the main table). "
        f"{who(results)}",
        "Cell type",
        (Column("HR", words=True), Column("Presence"), Column("Amount"), Column("Overall")),
        lines,
        "tables/parts_disagree.csv",
    )


def interaction_sweep(results: Results) -> Table:
    """Which interactions exclude 1 under other scales of their prior."""
    settings: dict[tuple[str, float, float], list[Row]] = {}
    for row in results.rows("interaction_sweep"):
        settings.setdefault((row["part"], row["scale"], row["prior_sd"]), []).append(row)
    lines = []
    for (part, scale, prior_sd), rows in settings.items():
        named = [
            f"{row['outcome']} {formats.interval(row['point'], row['lower'], row['upper'])}"
            for row in rows
            if row["excludes_1"]
        ]
        reliable = all(row["reliable"] for row in rows)
        lines.append(
            Line(
                part,
                (
                    Cell(f"{scale:g}"),
                    Cell(f"{prior_sd:.2f}"),
                    Cell(f"{len(named)} of {len(rows)}"),
                    Cell("; ".join(named) if named else "none"),
                    Cell("yes" if reliable else "no: needs a refit"),
                ),
            )
        )
    return Table(
        "interaction_sweep",
        "Does the prior decide the interactions? Pooled ratios HR- over HR+ (HR: hormone receptor) under other scales "
        "of the half-normal prior on their spread over cell types, by reweighting the draws; "
        f"{formats.intervals_of(results.posterior())}. Prior SD: of the log ratio, mean and spread together; for "
        "presence, a prior SD below 0.57 (neutrophils) or 0.78 (mast cells resting) would by itself overturn the "
        "interaction that the seed study reports. "
        f"{who(results)}",
        "Part",
        (
            Column("Scale"),
            Column("Prior SD"),
            Column("Exclude 1"),
            Column("Which, ratio per SD of HER2", words=True),
            Column("Weights reliable", words=True),
        ),
        tuple(lines),
        "tables/interaction_sweep.csv",
    )


def share_drift(results: Results) -> Table:
    """Give the summed E[y] over h on the relative scale."""
    rows = {(r["at"], r["stratum"]): r for r in results.rows("share_drift")}
    strata = [s for s in results.strata if any(key[1] == s for key in rows)]
    lines = []
    for at in dict.fromkeys(key[0] for key in rows):
        here = [rows.get((at, s)) for s in strata]
        cells = [Cell(formats.interval(r["sum_mean"], r["lower"], r["upper"])) if r else _off() for r in here]
        lines.append(Line(at.removesuffix(".0").replace("-", formats.MINUS), tuple(cells)))
    return Table(
        "share_drift",
        "Sum of E[y] over the modelled cell types by HER2 (in SD from the mean) and hormone receptor (HR) "
        f"status, {formats.intervals_of(results.posterior())}. Shares of a tumour sum to 1, which the "
        "model is not "
        f"told: a drift of the sum over HER2 shows how far that matters. {who(results)}",
        "HER2, SD",
        tuple(Column(stratum) for stratum in strata),
        tuple(lines),
        "tables/share_drift.csv",
    )


# --- sections 11 and 12 --------------------------------------------------------------------------


def recovery(results: Results) -> Table:
    """Planted truth beside estimate, misses marked."""
    rows = {
        (r["outcome"], r["estimand"], r["stratum"]): r
        for r in results.rows("recovery")
        if r["scope"] == "pooled"
    }
    groups = []
    for cell in results.cell_types:
        members = []
        for estimand in ESTIMANDS:
            for contrast in results.contrasts:
                r = rows.get((cell, estimand, contrast))
                if r is None:
                    continue
                members.append(
                    Line(
                        cell,
                        (
                            Cell(short(estimand)),
                            Cell(contrast),
                            Cell(formats.ratio(r["truth"])),
                            Cell(formats.interval(r["point"], r["lower"], r["upper"])),
                            _yes(r["covered"]),
                        ),
                    )
                )
        if members:
            groups.append((cell, members))
    return Table(
        "recovery",
        "Simulated data: planted ratio per SD of HER2 beside the posterior estimate "
        f"({scope_word(results)}) with "
        f"{formats.intervals_of(results.posterior())}, by hormone receptor (HR) status. {who(results)}",
        "Cell type",
        (
            Column("Estimand", words=True),
            Column("HR", words=True),
            Column("Truth"),
            Column("Posterior"),
            Column("Covered"),
        ),
        grouped_lines(groups),
        "tables/recovery.csv",
        small=True,
    )


def files(results: Results) -> Table:
    """Input files with their hashes."""
    lines = tuple(
        Line(
            "/".join(str(entry["path"]).replace("\\", "/").split("/")[-2:]),
            (_count(entry.get("n_rows")), Cell(str(entry.get("sha256", "")), look="code wrap")),
        )
        for entry in results.provenance.get("files", ())
    )
    return Table(
        "files",
        "Files read, with the number of rows and the SHA-256 of their content.",
        "File",
        (Column("Rows"), Column("SHA-256", words=True)),
        lines,
        "provenance.json",
        small=True,
    )
