"""What the seed study claims, and what these tumours say to it, in layers."""

from __future__ import annotations

from collections.abc import Sequence

from bayes_her2.comparison.claims import LAYERS, RULES, STRATA_COLUMNS, Rule
from bayes_her2.data import HR_STATUS
from bayes_her2.report import formats
from bayes_her2.report.load import Results, Row, columns_of
from bayes_her2.report.sections import Section
from bayes_her2.report.tables import Cell, Column, Line, Table
from bayes_her2.report.words import scope_word, who

ESTIMANDS = {
    "spearman": "Spearman",
    "spearman_difference": "|Spearman| in HR+ minus |Spearman| in HR-",
    "strength_difference": "difference of |Spearman|",
    "high_abundance_conditional": "odds ratio",
    "high_abundance": "marginal odds ratio",
    "marginal_slope": "marginal slope",
    "probability_greater": "P(HR- > HR+)",
}


def made_tables(results: Results) -> list[Table]:
    """Tables of the section, in reading order."""
    made = [layers(results), claims(results)]
    if results.rows("families"):
        made.append(families(results))
    return made


def _ordered(results: Results) -> list[Row]:
    order = list(LAYERS)
    return sorted(results.rows("claims"), key=lambda row: order.index(row["layer"]))


def layers(results: Results) -> Table:
    """How many claims are in each layer, and which."""
    lines = []
    for layer, meaning in LAYERS.items():
        mine = [r for r in results.rows("claims") if r["layer"] == layer]
        named: dict[str, list[str]] = {}
        for r in mine:
            alone = r["cohort"] if r["rule"] != "every cohort" else ""
            named.setdefault(r["claim"], []).extend([alone] if alone else [])
        text = "; ".join(
            f"{claim} ({', '.join(cohorts)})" if cohorts else claim for claim, cohorts in named.items()
        )
        lines.append(
            Line(
                layer,
                (
                    Cell(str(len(mine)), look="strong"),
                    Cell(text or "none", look="wrap"),
                    Cell(meaning, look="wrap"),
                ),
            )
        )
    return Table(
        "claims_layers",
        "Which claims of the seed study (Pizzamiglio et al. 2025) hold in these tumours, which weaken, and which are "
        f"not seen: {replication(results)} ({results.study.measure}). A claim that only single cohorts can "
        f"answer has one row for each of them. {who(results)}",
        "Layer",
        (Column("Rows"), Column("Claims", words=True), Column("Rule", words=True)),
        tuple(lines),
        "tables/claims.csv",
    )


def replication(results: Results) -> str:
    """Name the comparison with the seed study by the measure of this one."""
    same = any(r["seed_measure"] for r in results.rows("claims"))
    return "replication with the same measure" if same else "replication with another measure"


def claims(results: Results) -> Table:
    """Every claim with its published and its present number."""
    groups: list[list[Line]] = []
    for layer in LAYERS:
        members = [_line(results, r) for r in _ordered(results) if r["layer"] == layer]
        if members:
            groups.append(members)
    return Table(
        "claims",
        "Claims of the seed study one by one: as published (95 % confidence intervals, or a range where it says "
        "so), and in these tumours, "
        f"posterior with {formats.level(results.study.interval)} credible intervals above the twin's. P(direction): "
        "posterior probability of the claimed direction. Compatible: whether the published and the present "
        f"estimate differ by no more than the sampling error of both. {who(results)}",
        "Layer",
        (
            Column("Claim", words=True),
            Column("Published"),
            Column("Here"),
            Column("P(direction)"),
            Column("P(in ROPE)"),
            Column("Compatible", words=True),
            Column("Remark", words=True),
        ),
        _spanned(groups),
        "tables/claims.csv",
        (
            "A marginal slope has the unit of the abundance and no published number; P(HR- > HR+) is 0.5 without a "
            "difference.",
            *(f"{_RULE_WORDS[rule]}: {RULES[rule]}." for rule in _RULE_WORDS if _has(results, rule)),
        ),
        small=True,
    )


_RULE_WORDS: dict[Rule, str] = {
    "every cohort": "In every cohort",
    "weaker in HR-": "Weaker in HR-",
    "opposite": "Rising in one stratum and falling in the other",
}


def _has(results: Results, rule: str) -> bool:
    return any(r["rule"] == rule and r["layer"] != "not testable here" for r in results.rows("claims"))


def _line(results: Results, row: Row) -> Line:
    estimand = row["estimand"]
    if row["published_is_range"]:
        ends = (formats.value_of(estimand, row[f"published_{end}"]) for end in ("lower", "upper"))
        published = f"range {' to '.join(ends)}"
    else:
        published = formats.interval(
            row["published_value"], row["published_lower"], row["published_upper"], estimand
        )
    tested = row["layer"] != "not testable here"
    twin = formats.interval(row["twin_point"], row["twin_lower"], row["twin_upper"], estimand)
    what = [str(ESTIMANDS.get(estimand, estimand))]
    if tested:
        what += [
            row["cohort"] or scope_word(results, row["scope"]),
            f"n\u00a0=\u00a0{formats.count(row['n'])}",
        ]
    away = "away" if row["excludes_null"] else ""
    remark = "; ".join(filter(None, [row["published_note"], row["why"]]))
    of = "spearman" if estimand == "spearman_difference" else estimand
    strata = []
    for stratum, name in STRATA_COLUMNS.items():
        point, lower, upper = (row[f"{name}_{limit}"] for limit in ("point", "lower", "upper"))
        if point is not None:
            strata.append(f"{stratum} {formats.interval(point, lower, upper, of)}")
    text = formats.interval(row["point"], row["lower"], row["upper"], estimand)
    beneath = [*strata, *([f"twin {twin}"] if row["twin_point"] is not None else [])]
    if row["point"] is None:
        text, beneath = "; ".join(strata), beneath[len(strata) :]
    return Line(
        row["layer"],
        (
            Cell(row["words"], sub=", ".join(what)),
            Cell(published),
            Cell(text, sub="; ".join(beneath), look=away) if tested else Cell(formats.MISSING, look="off"),
            Cell(formats.probability(row["p_direction"])),
            Cell(formats.probability(row["p_in_rope"])),
            Cell(row["compatible"] or formats.MISSING),
            Cell(remark or formats.MISSING),
        ),
    )


def _spanned(groups: Sequence[Sequence[Line]]) -> tuple[Line, ...]:
    lines = []
    for members in groups:
        for i, line in enumerate(members):
            lines.append(Line(line.heading, line.cells, len(members) if i == 0 else 0))
    return tuple(lines)


def families(results: Results) -> Table:
    """Count tests, discoveries and verdicts of every family in which the twin has a test."""
    groups: dict[str, list[Line]] = {}
    for r in results.rows("families"):
        if not r["n_tests"]:
            continue
        model = r["model"].replace("_", " ")
        numbers = {name: str(r[name]) for name in _COUNTED}
        if not r["n_signs"]:
            numbers |= dict.fromkeys(("n_discoveries_bayes", "n_discoveries_both"), "not called")
        if not r["n_tests_fixed"]:
            numbers["n_discoveries_fixed"] = formats.MISSING
        of = r["exposure"] if r["exposure"] != HR_STATUS else r["contrast"]
        groups.setdefault(model, []).append(
            Line(
                model,
                (
                    Cell(r["estimand"].replace("_", " "), sub=of),
                    Cell(r["stratum"]),
                    Cell(r["cohort"] or r["scope"]),
                    *(
                        Cell(text, look="" if text.strip("0") and r[name] else "off")
                        for name, text in numbers.items()
                    ),
                ),
            )
        )
    study = results.study
    return Table(
        "families",
        "Every family in which the twin has a test: number of outcomes tested (Bonferroni's multiplier) and of rows "
        "that the tumours inform; discoveries among the latter by the posterior (sign calls: expected proportion of "
        "wrong "
        f"signs at most {study.false_discovery:g}), by the twin after Bonferroni at {study.alpha:g} within the family, "
        "by both, and by the twin's regression with cohort fixed; and the verdicts that matter most. "
        f"{who(results)}",
        "Model",
        (
            Column("Estimand", words=True),
            Column("HR", words=True),
            Column("Scope", words=True),
            Column("tests"),
            Column("observed"),
            Column("posterior", group="Discoveries"),
            Column("twin", group="Discoveries"),
            Column("both", group="Discoveries"),
            Column("cohort fixed", group="Discoveries"),
            Column("agrees", group="Verdicts"),
            Column("new", group="Verdicts"),
            Column("uncertain", group="Verdicts"),
            Column("contradicts", group="Verdicts"),
        ),
        _spanned(list(groups.values())),
        "tables/families.csv",
        tuple(_family_notes(results)),
        small=True,
    )


_COUNTED = (
    "n_tests",
    "n_observed",
    "n_discoveries_bayes",
    "n_discoveries_bonferroni",
    "n_discoveries_both",
    "n_discoveries_fixed",
    "agrees",
    "new",
    "uncertain",
    "contradicts",
)


def _family_notes(results: Results) -> list[str]:
    """Say what the counts cannot be compared for, and which families are left out."""
    rows = results.rows("families")
    notes = []
    if any(r["scope"] == "pooled" and r["n_tests"] for r in rows) and len(results.cohorts) > 1:
        notes.append(
            "The twin that pools k cohorts by random effects has k - 1 degrees of freedom: from three cohorts and over "
            "21 outcomes it needs |t| > 20 for a discovery. With few cohorts 'new' is expected, and its discoveries "
            "cannot be set against the posterior's; those of one regression with cohort fixed can, where there is one "
            f"({formats.MISSING}: none)."
        )
    if any(r["exposure"] == HR_STATUS for r in rows):
        notes.append(
            "HR strata compared: the seed study's own tests (Wilcoxon for a 'continuous' cell type, chi-squared for "
            "one under its 'presence' rule) are one family of each estimand and cohort, all other cell types "
            "another."
        )
    if any(r["n_tests"] and not r["n_signs"] for r in rows):
        notes.append(
            "Not called: the prior is fixed for each row and learns nothing from the others, or no row is observed, so "
            "the posterior calls no signs."
        )
    omitted: dict[tuple[str, str], list[Row]] = {}
    for r in rows:
        if not r["n_tests"]:
            omitted.setdefault((r["model"].replace("_", " "), r["scope"]), []).append(r)
    if omitted:
        named = formats.listed(
            f"{model}, {scope} ({len(mine)}; the posterior calls "
            f"{formats.plural(sum(r['n_discoveries_bayes'] for r in mine), 'sign')})"
            for (model, scope), mine in omitted.items()
        )
        notes.append(f"Left out are families without a test of the twin: {named}.")
    return notes


SECTION = Section(
    name="claims",
    title="The seed study's claims in these tumours",
    after="summary",
    needed={
        "claims": columns_of(
            "claim words where published_note measure model estimand exposure outcome stratum scope cohort unit "
            "twin_method compatible rule layer why",
            ints="n",
            floats="published_value published_lower published_upper point lower upper p_direction p_in_rope twin_point "
            "twin_lower twin_upper twin_p twin_p_adjusted hr_positive_point hr_positive_lower hr_positive_upper "
            "hr_negative_point hr_negative_lower hr_negative_upper",
            bools="published_is_range seed_measure same_direction excludes_null twin_same_direction twin_excludes_null",
        )
    },
    optional={
        "families": columns_of(
            "model estimand exposure contrast stratum scope cohort",
            ints="n_rows n_observed n_signs n_tests n_tests_fixed n_discoveries_bayes n_discoveries_bonferroni "
            "n_discoveries_both n_discoveries_fixed agrees new uncertain contradicts",
        )
    },
    tables=made_tables,
)
