"""What the seed study claims, and what these tumours say to it, in layers."""

from __future__ import annotations

from collections.abc import Sequence

from bayes_her2.comparison.claims import LAYERS
from bayes_her2.report import formats
from bayes_her2.report.load import Results, Row, columns_of
from bayes_her2.report.sections import Section
from bayes_her2.report.tables import Cell, Column, Line, Table
from bayes_her2.report.words import who

ESTIMANDS = {
    "spearman": "Spearman",
    "spearman_difference": "difference of Spearman",
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
            named.setdefault(r["claim"], []).extend([r["cohort"]] if r["cohort"] else [])
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
        f"not seen: replication with another measure ({results.study.measure}). A claim that only single cohorts can "
        f"answer has one row for each of them. {who(results)}",
        "Layer",
        (Column("Rows"), Column("Claims", words=True), Column("Rule", words=True)),
        tuple(lines),
        "tables/claims.csv",
    )


def claims(results: Results) -> Table:
    """Every claim with its published and its present number."""
    groups: list[list[Line]] = []
    for layer in LAYERS:
        members = [_line(r) for r in _ordered(results) if r["layer"] == layer]
        if members:
            groups.append(members)
    return Table(
        "claims",
        "Claims of the seed study one by one: as published (95 % confidence intervals), and in these tumours, "
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
        ),
        small=True,
    )


def _line(row: Row) -> Line:
    estimand = row["estimand"]
    published = formats.interval(
        row["published_value"], row["published_lower"], row["published_upper"], estimand
    )
    tested = row["point"] is not None
    twin = formats.interval(row["twin_point"], row["twin_lower"], row["twin_upper"], estimand)
    what = [str(ESTIMANDS.get(estimand, estimand))]
    if tested:
        what += [row["cohort"] or row["scope"], f"n\u00a0=\u00a0{formats.count(row['n'])}"]
    away = "away" if row["excludes_null"] else ""
    remark = "; ".join(filter(None, [row["published_note"], row["why"]]))
    here = Cell(
        formats.interval(row["point"], row["lower"], row["upper"], estimand),
        sub=f"twin {twin}" if row["twin_point"] is not None else "",
        look=away,
    )
    return Line(
        row["layer"],
        (
            Cell(row["words"], sub=", ".join(what)),
            Cell(published),
            here if tested else Cell(formats.MISSING, look="off"),
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
    """Count tests, discoveries and verdicts of every family with an estimate."""
    groups: dict[str, list[Line]] = {}
    for r in results.rows("families"):
        if not r["n_tests"]:
            continue
        model = r["model"].replace("_", " ")
        groups.setdefault(model, []).append(
            Line(
                model,
                (
                    Cell(r["estimand"].replace("_", " "), sub=r["exposure"]),
                    Cell(r["stratum"]),
                    Cell(r["cohort"] or r["scope"]),
                    *(
                        Cell(str(r[name]), look="" if r[name] else "off")
                        for name in (
                            "n_tests",
                            "n_discoveries_bayes",
                            "n_discoveries_bonferroni",
                            "n_discoveries_both",
                            "agrees",
                            "new",
                            "uncertain",
                            "contradicts",
                        )
                    ),
                ),
            )
        )
    return Table(
        "families",
        "Every family of tests of every model: number of outcomes tested, discoveries by the posterior (sign calls: "
        f"expected proportion of wrong signs at most {results.study.false_discovery:g}), by the twin after Bonferroni "
        f"at {results.study.alpha:g} within the family, by both, and the verdicts that matter most. {who(results)}",
        "Model",
        (
            Column("Estimand", words=True),
            Column("HR", words=True),
            Column("Scope", words=True),
            Column("tests"),
            Column("posterior", group="Discoveries"),
            Column("twin", group="Discoveries"),
            Column("both", group="Discoveries"),
            Column("agrees", group="Verdicts"),
            Column("new", group="Verdicts"),
            Column("uncertain", group="Verdicts"),
            Column("contradicts", group="Verdicts"),
        ),
        _spanned(list(groups.values())),
        "tables/families.csv",
        small=True,
    )


SECTION = Section(
    name="claims",
    title="The seed study's claims in these tumours",
    after="summary",
    needed={
        "claims": columns_of(
            "claim words where published_note measure model estimand exposure outcome stratum scope cohort unit "
            "twin_method compatible layer why",
            ints="n",
            floats="published_value published_lower published_upper point lower upper p_direction p_in_rope twin_point "
            "twin_lower twin_upper twin_p twin_p_adjusted",
            bools="same_direction excludes_null twin_same_direction twin_excludes_null",
        )
    },
    optional={
        "families": columns_of(
            "model estimand exposure stratum scope cohort",
            ints="n_rows n_tests n_discoveries_bayes n_discoveries_bonferroni n_discoveries_both agrees new uncertain "
            "contradicts",
        )
    },
    tables=made_tables,
)
