"""Published claims, audited from their printed numbers alone."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from bayes_her2.evidence.measures import CORRELATION, MEASURES, RANK_CORRELATION
from bayes_her2.evidence.verdicts import REPLICATION_VERDICTS, VERDICTS
from bayes_her2.report import formats
from bayes_her2.report.figures import (
    ALERT,
    COLOURS,
    DECADES,
    INK,
    WIDTH,
    Drawing,
    as_published,
    draw_legend,
    image_of,
)
from bayes_her2.report.load import Results, Row, columns_of
from bayes_her2.report.sections import Section
from bayes_her2.report.tables import Cell, Column, Line, Table

BASES = {
    "counts": "recomputed from the counts",
    "two printed claims": "ratio of two printed claims",
    "printed interval": "as printed",
    "printed estimate and n": "as printed",
    "printed estimate and one limit": "as printed; one limit was lost",
}
"""What an estimate was computed from -> how the table says it."""

UNITS = {name: name for name in MEASURES} | {
    CORRELATION: "Pearson correlation",
    RANK_CORRELATION: "Spearman correlation",
    "mean difference": "difference of means",
}
SAID = {
    "survives": ("survives", "survive"),
    "does not survive": ("does not survive", "do not survive"),
}
"""Verdict as a verb, of one claim and of several; others are adjectives."""

CURVE = COLOURS["HR+"]


def _named(row: Mapping[str, Any]) -> str:
    """Give the claim, with its cohort where it names one: a claim may be made of several."""
    return f"{row['claim']} ({row['cohort']})" if row["cohort"] else str(row["claim"])


def made_tables(results: Results) -> list[Table]:
    """Tables of the section, in reading order."""
    made = [
        summary(results),
        contradictions(results),
        in_words(results),
        claims(results),
        posteriors(results),
    ]
    if results.rows("replication"):
        made.append(replication(results))
    return [*made, priors(results)]


def value(measure: str, number: float | None) -> str:
    """One number of a measure in its format."""
    return formats.ratio(number) if MEASURES[measure].is_ratio else formats.signed(number)


def interval(measure: str, point: float | None, lower: float | None, upper: float | None) -> str:
    """Point with limits of a measure in its format."""
    return f"{value(measure, point)} ({value(measure, lower)} to {value(measure, upper)})"


def p_text(p: float | None) -> str:
    """P with two significant digits, ``<0.0001`` below that."""
    if p is None:
        return formats.MISSING
    if p < 0.0001:
        return "<0.0001"
    if p >= 0.995:
        return f"{p:.2f}" if p >= 1 else ">0.99"
    decimals = 1 - math.floor(math.log10(p))
    return f"{p:.{decimals}f}"


def span(low: str, high: str, middle: str) -> str:
    """Range that rounding allows, or nothing where it allows no other digits."""
    return "" if low == high == middle else f"{low} to {high}"


def who(results: Results) -> str:
    """Claims, for captions."""
    return f"{formats.plural(len(results.rows('audit')), 'claim')}; n is given where it is printed."


def level(results: Results) -> str:
    """Level of the interval that has to exclude no effect: ``95 %``."""
    return formats.level(results.rows("audit")[0]["level_of_verdict"])


def headline(results: Results) -> str:
    """Return one sentence: how many claims survive, and which do not."""
    rows = results.rows("audit")
    counts = []
    for name in VERDICTS:
        one, many = SAID.get(name, (f"is {name}", f"are {name}"))
        if mine := sum(row["verdict"] == name for row in rows):
            counts.append(f"{mine} {one if mine == 1 else many}")
    n = len(results.rows("contradictions"))
    tail = (
        f" {formats.plural(n, 'printed figure contradicts', 'printed figures contradict')} another."
        if n
        else " No printed figure contradicts another."
    )
    return f"Of {formats.plural(len(rows), 'claim')}, {formats.listed(counts)}.{tail}"


# --- tables --------------------------------------------------------------------------------------


def summary(results: Results) -> Table:
    """Which claims have which verdict, and the rule of each."""
    lines = []
    for name, rule in VERDICTS.items():
        mine = [row for row in results.rows("audit") if row["verdict"] == name]
        lines.append(
            Line(
                name,
                (
                    Cell(str(len(mine)), look="strong"),
                    Cell("; ".join(map(_named, mine)) or "none", look="wrap"),
                    Cell(rule, look="wrap"),
                ),
            )
        )
    return Table(
        "audit_summary",
        f"What survives. {headline(results)} Verdicts follow the rules on the right, from printed numbers alone. "
        f"{who(results)}",
        "Verdict",
        (Column("Claims"), Column("Which", words=True), Column("Rule", words=True)),
        tuple(lines),
        "tables/audit.csv",
        ("A verdict is about the printed evidence. It is no statement that an effect is real or absent.",),
    )


def in_words(results: Results) -> Table:
    """Why each claim has its verdict."""
    lines = [
        Line(
            row["claim"],
            (
                Cell(row["cohort"]),
                Cell(row["place"], look="wrap"),
                Cell(row["verdict"], look="verdict"),
                Cell(row["in_words"], look="wrap"),
            ),
        )
        for row in results.rows("audit")
    ]
    return Table(
        "audit_in_words",
        "Why each claim has its verdict. P two-sided (Wald); prior SDs on the analysis scale (log of ratios, "
        f"Fisher z of correlations). {who(results)}",
        "Claim",
        (
            Column("Cohort", words=True),
            Column("Place", words=True),
            Column("Verdict", words=True),
            Column("Why", words=True),
        ),
        tuple(lines),
        "tables/audit.csv",
        small=True,
    )


def claims(results: Results) -> Table:
    """Every claim with P, family, critical prior and verdict."""
    rows = results.rows("audit")
    lines: list[Line] = []
    for family in dict.fromkeys(row["family"] for row in rows):
        mine = [row for row in rows if row["family"] == family]
        tests = formats.plural(mine[0]["family_size"], "test")
        heading = f"{family} ({tests})" if family else "Alone"
        lines += [
            Line(
                heading if i == 0 else "",
                _cells(row),
                span=len(mine) if i == 0 else 0,
                look="first" if i == 0 else "",
            )
            for i, row in enumerate(mine)
        ]
    return Table(
        "audit_claims",
        "Each claim from its estimate and interval. Estimates with 95 % confidence intervals (Wald), as printed unless "
        "the table says otherwise; P two-sided (Wald); below it what rounding of the printed figures allows, "
        "or, with counts, Fisher's exact P. Bonferroni: "
        "P times the tests of the family; Benjamini-Hochberg below it. Critical prior SD: a prior centred at no effect "
        "overturns the claim if it is narrower than this (analysis scale: log of ratios, Fisher z of correlations); "
        f"the scepticism limit is where its {level(results)} interval ends. Sceptic's SD: the declared prior. Claims "
        f"whose {level(results)} interval includes no effect have neither. Under a verdict: what rounding allows as "
        f"well. {who(results)}",
        "Family",
        (
            Column("Claim", words=True),
            Column("Estimate"),
            Column("n"),
            Column("P"),
            Column("Bonferroni"),
            Column("SD", "Critical prior"),
            Column("limit", "Critical prior"),
            Column("Sceptic's SD"),
            Column("Verdict", words=True),
        ),
        tuple(lines),
        "tables/audit.csv",
        (
            "Tests that a paper does not print are counted in the size of the family where the table of "
            "claims declares "
            "it, and are taken to have larger P values.",
        ),
        small=True,
    )


def _cells(row: Row) -> tuple[Cell, ...]:
    measure = row["measure"]
    as_printed = row["basis"].startswith("printed")
    estimate = row["printed"].replace("-", formats.MINUS) if as_printed else _three(row)
    how = UNITS[measure]
    if BASES[row["basis"]] != "as printed":
        how = f"{how}; {BASES[row['basis']]}"
    p = p_text(row["p_value"])
    n = formats.count(row["n"])
    critical = formats.number(row["critical_prior_sd"], 2)
    limit = value(measure, row["scepticism_limit"])
    final = row["verdict"]
    ends = (row["verdict_lowest"], row["verdict_highest"])
    other = [end for end in dict.fromkeys(ends) if end != final]
    marks = []
    if other and final != "undecided by rounding":
        marks.append(f"or {formats.listed(other, 'or')}")
    if row["n_contradictions"]:
        marks.append(formats.plural(row["n_contradictions"], "contradiction"))
    return (
        Cell(row["claim"], sub=f"{how}; cohort: {row['cohort']}"),
        Cell(estimate),
        Cell(n, sub=f"implied {row['n_implied']:.0f}" if row["n_implied"] is not None else ""),
        Cell(
            p,
            sub=span(p_text(row["p_low"]), p_text(row["p_high"]), p)
            if row["p_fisher"] is None
            else f"Fisher {p_text(row['p_fisher'])}",
        ),
        Cell(p_text(row["p_bonferroni"]), sub=p_text(row["p_benjamini_hochberg"])),
        Cell(
            critical,
            sub=span(
                formats.number(row["critical_prior_sd_low"], 2),
                formats.number(row["critical_prior_sd_high"], 2),
                critical,
            ),
        ),
        Cell(
            limit,
            sub=span(
                value(measure, row["scepticism_limit_low"]),
                value(measure, row["scepticism_limit_high"]),
                limit,
            ),
        ),
        Cell(formats.number(row["sceptical_prior_sd"], 2)),
        Cell(final, sub="; ".join(marks), look="verdict"),
    )


def _three(row: Row) -> str:
    """Recomputed estimate with a digit more than papers print."""
    if not MEASURES[row["measure"]].is_ratio:
        return interval(row["measure"], row["estimate"], row["lower"], row["upper"])
    point, lower, upper = (formats.number(row[name]) for name in ("estimate", "lower", "upper"))
    return f"{point} ({lower} to {upper})"


def contradictions(results: Results) -> Table:
    """List printed figures that do not agree with another."""
    lines = [
        Line(
            row["claim"],
            (
                Cell(row["place"], sub=f"cohort: {row['cohort']}", look="wrap"),
                Cell(row["figure"]),
                Cell(row["printed"]),
                Cell(row["found"]),
                Cell(row["explanation"], look="wrap"),
            ),
        )
        for row in results.rows("contradictions")
    ]
    return Table(
        "audit_contradictions",
        "Printed figures that contradict another, beyond what rounding explains: what was printed, what the other "
        "figures give (with as many digits), and from what. Intervals are 95 % confidence intervals unless the paper "
        f"says otherwise. {who(results)}",
        "Claim",
        (
            Column("Place", words=True),
            Column("Figure", words=True),
            Column("Printed"),
            Column("Found"),
            Column("Why", words=True),
        ),
        tuple(lines),
        "tables/contradictions.csv",
        () if lines else ("No printed figure contradicts another.",),
        small=True,
    )


def posteriors(results: Results) -> Table:
    """Posteriors under three priors, and errors of sign and size."""
    lines = []
    for row in results.rows("audit"):
        measure = row["measure"]
        cells = [
            Cell(
                interval(measure, row[f"{name}_point"], row[f"{name}_lower"], row[f"{name}_upper"]),
                sub=formats.probability(row[f"{name}_p_direction"]),
            )
            for name in ("sceptical", "neutral", "enthusiastic")
        ]
        lines.append(
            Line(
                row["claim"],
                (
                    Cell(UNITS[measure], sub=row["cohort"]),
                    *cells,
                    Cell(value(measure, row["plausible_effect"])),
                    Cell(formats.probability(row["power"])),
                    Cell(formats.p_value(row["type_s"])),
                    Cell(
                        f"{row['type_m']:.2f}",
                        sub=span(
                            f"{row['type_m_low']:.2f}", f"{row['type_m_high']:.2f}", f"{row['type_m']:.2f}"
                        ),
                    ),
                    Cell(advocacy(row)),
                ),
            )
        )
    return Table(
        "audit_posteriors",
        "Posterior of each claim under three priors (median with 95 % credible interval, equal-tailed; below it the "
        "posterior probability of the claimed direction), and what a study of this precision does to a plausible true "
        "effect: power, probability that a significant estimate has the wrong sign (type S), and how many times too "
        "large it is on average (type M, analysis scale; range from rounding). Advocacy limit: a prior from no effect "
        f"to this limit is the widest with which the {level(results)} interval excludes no effect ('any': almost no "
        f"limit). {who(results)}",
        "Claim",
        (
            Column("Measure", words=True),
            Column("sceptical", "Posterior under the prior"),
            Column("neutral", "Posterior under the prior"),
            Column("enthusiastic", "Posterior under the prior"),
            Column("Effect", "At a plausible effect"),
            Column("Power", "At a plausible effect"),
            Column("Type S", "At a plausible effect"),
            Column("Type M", "At a plausible effect"),
            Column("Advocacy limit"),
        ),
        tuple(lines),
        "tables/audit.csv",
        small=True,
    )


def advocacy(row: Row) -> str:
    """Advocacy limit as text; far out, where almost any prior evidence in the claimed direction will do, in words."""
    limit = row["advocacy_limit"]
    if limit is None:
        return formats.MISSING
    measure = MEASURES[row["measure"]]
    any_ratio = measure.is_ratio and not 0.001 < limit < 1000
    any_correlation = measure.scale == "Fisher z" and abs(limit) > 0.995
    return "any" if any_ratio or any_correlation else value(measure.name, limit)


def replication(results: Results) -> Table:
    """Replication success between cohorts of the same claim."""
    lines = [
        Line(
            row["claim"],
            (
                Cell(
                    f"{row['original']}: {value(row['measure'], row['original_estimate'])}",
                    sub=f"P {p_text(row['original_p'])}",
                ),
                Cell(
                    f"{row['replication']}: {value(row['measure'], row['replication_estimate'])}",
                    sub=f"P {p_text(row['replication_p'])}",
                ),
                Cell(formats.signed(row["relative_effect"])),
                Cell(formats.number(row["variance_ratio"], 2)),
                Cell(
                    p_text(row["sceptical_p"]),
                    sub=span(
                        p_text(row["sceptical_p_low"]),
                        p_text(row["sceptical_p_high"]),
                        p_text(row["sceptical_p"]),
                    ),
                ),
                Cell(p_text(row["sceptical_p_nominal"])),
                Cell(bayes_factor(row["sceptical_bayes_factor"])),
                Cell(bayes_factor(row["replication_bayes_factor"])),
                Cell(p_text(row["compatibility_p"])),
                Cell(row["verdict"], look="verdict"),
            ),
        )
        for row in results.rows("replication")
    ]
    rules = "; ".join(f"{name}: {rule}" for name, rule in REPLICATION_VERDICTS.items())
    return Table(
        "audit_replication",
        "Replication success between cohorts of the same claim; the cohort that comes first in the table of "
        "claims is the "
        "original. Relative effect: replication over original on the analysis scale. Variance ratio: original over "
        "replication. Sceptical p-values are one-sided (range from rounding); Bayes factors below 1 favour the claim; "
        f"'none' where no level succeeds. Compatible: P for the difference of the two estimates. {who(results)}",
        "Claim",
        (
            Column("Original", words=True),
            Column("Replication", words=True),
            Column("Relative effect"),
            Column("Variance ratio"),
            Column("golden", "Sceptical p-value"),
            Column("nominal", "Sceptical p-value"),
            Column("sceptical", "Bayes factor"),
            Column("replication", "Bayes factor"),
            Column("Compatible"),
            Column("Verdict", words=True),
        ),
        tuple(lines),
        "tables/replication.csv",
        (formats.sentence(rules),),
        small=True,
    )


def bayes_factor(factor: float | None) -> str:
    """Bayes factor as ``1/20`` below 1, ``3.2`` above, 'none' where there is none."""
    if factor is None:
        return "none"
    if factor < 1:
        inverse = 1 / factor
        return f"1/{inverse:,.0f}" if inverse >= 10 else f"1/{inverse:.1f}"
    return formats.number(factor, 2)


def priors(results: Results) -> Table:
    """Plausible effect of each measure, and the priors that follow from it."""
    lines = [
        Line(
            UNITS[row["measure"]],
            (
                Cell(value(row["measure"], row["plausible_effect"])),
                Cell(
                    f"N(0, {row['sceptical_prior_sd']:.2f}²)",
                    sub=f"95 %: {value(row['measure'], row['sceptical_prior_lower'])} to "
                    f"{value(row['measure'], row['sceptical_prior_upper'])}",
                ),
                Cell(f"N(±{row['enthusiastic_prior_mean']:.2f}, {row['sceptical_prior_sd']:.2f}²)"),
                Cell("flat"),
                Cell(row["scale"]),
                Cell(row["why"], look="wrap"),
            ),
        )
        for row in results.rows("audit_priors")
    ]
    return Table(
        "audit_priors",
        "Declared plausible effects, and the priors that follow from them (Spiegelhalter, Freedman and "
        "Parmar 1994): the "
        "sceptic's is centred at no effect with 5 % beyond the plausible effect, the enthusiast's at the plausible "
        "effect in the claimed direction with 5 % beyond no effect. Priors are on the analysis scale. An option, or a "
        "column of the table of claims, changes a plausible effect.",
        "Measure",
        (
            Column("Plausible effect"),
            Column("Sceptical prior"),
            Column("Enthusiastic prior"),
            Column("Neutral prior"),
            Column("Scale", words=True),
            Column("Why", words=True),
        ),
        tuple(lines),
        "tables/audit_priors.csv",
    )


# --- figure --------------------------------------------------------------------------------------


def prior_curves(results: Results) -> Drawing | None:
    """Posterior of every claim against the SD of a prior centred at no effect."""
    rows = [row for row in results.rows("audit") if row["critical_prior_sd"] is not None]
    if not rows:
        return None
    curves: dict[tuple[str, str], list[Row]] = {}
    for row in results.rows("audit_prior_sweep"):
        curves.setdefault((row["claim"], row["cohort"]), []).append(row)
    units = formats.listed(dict.fromkeys(UNITS[row["measure"]] for row in rows), "or")
    columns = min(5, len(rows))
    lines = -(-len(rows) // columns)
    left, top, bottom, gap, title, tall, below = 0.42, 0.28, 0.5, 0.42, 0.42, 1.18, 0.28
    height = top + bottom + lines * (title + tall + below) - below
    width = (WIDTH - left - 0.08 - gap * (columns - 1)) / columns
    figure = Figure(figsize=(WIDTH, height))
    for position, row in enumerate(rows):
        line, column = divmod(position, columns)
        from_top = top + line * (title + tall + below) + title
        axes = figure.add_axes(
            (
                (left + column * (width + gap)) / WIDTH,
                1 - (from_top + tall) / height,
                width / WIDTH,
                tall / height,
            )
        )
        _panel(axes, row, curves[row["claim"], row["cohort"]])
        axes.set_title("\n".join(textwrap.wrap(_named(row), 34)[:2]), fontsize=7.5, loc="left", pad=3)
    figure.text(
        0.5,
        0.12 / height,
        "SD of a normal prior centred at no effect (analysis scale: log of ratios, Fisher z of correlations)",
        ha="center",
        va="bottom",
        fontsize=8,
    )
    draw_legend(
        figure,
        [
            (f"posterior median, {level(results)} credible interval", {"color": CURVE, "lw": 1.4}),
            ("critical prior SD (band: rounding)", {"color": ALERT, "lw": 1.2}),
            ("the sceptic's prior SD", {"color": INK, "lw": 1.0, "ls": ":"}),
        ],
        0.16,
        left / WIDTH,
    )
    return Drawing(
        "audit_prior_curves",
        f"How sceptical one may be before a claim stops holding. Posterior median and {level(results)} credible "
        "interval (equal-tailed) of each claim that excludes no effect, against the SD of a normal prior centred at no "
        f"effect; vertical axis in the unit of the claim ({units}), horizontal line at no effect. To the "
        "left of the red line (critical prior SD; band: what rounding of the printed figures allows) the interval "
        "includes no effect. Dotted: the declared sceptic; the claim convinces this sceptic where the red line lies to "
        f"the left of it. {len(rows)} of {who(results)}",
        "; ".join(
            f"{_named(row)}: critical prior SD {formats.number(row['critical_prior_sd'], 2)}" for row in rows
        ),
        image_of(as_published(results), figure),
    )


def _panel(axes: Any, row: Row, curve: Sequence[Row]) -> None:
    measure = MEASURES[row["measure"]]
    sds = [point["prior_sd"] for point in curve]
    axes.fill_between(
        sds, [p["lower"] for p in curve], [p["upper"] for p in curve], color=CURVE, alpha=0.16, lw=0
    )
    axes.plot(sds, [point["point"] for point in curve], color=CURVE, lw=1.4)
    axes.set_xscale("log")
    axes.set_xlim(min(sds), max(sds))
    ticks = [tick for tick in DECADES if min(sds) <= tick <= max(sds)]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    ends = [p["lower"] for p in curve] + [p["upper"] for p in curve]
    if measure.is_ratio:
        axes.set_yscale("log")
        ticks = [t for t in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if min(ends) <= t <= max(ends)]
        axes.yaxis.set_major_locator(FixedLocator(ticks))
        axes.yaxis.set_major_formatter(FixedFormatter([f"{t:g}" for t in ticks]))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.axhline(measure.null, color=INK, lw=0.7)
    low, high = row["critical_prior_sd_low"], row["critical_prior_sd_high"]
    if low is not None and high is not None:
        axes.axvspan(low, high, color=ALERT, alpha=0.18, lw=0)
    axes.axvline(row["critical_prior_sd"], color=ALERT, lw=1.2)
    axes.axvline(row["sceptical_prior_sd"], color=INK, lw=1.0, ls=":")


SECTION = Section(
    name="audit",
    title="Published claims, audited",
    after="cannot-say",
    needed={
        "audit": columns_of(
            "claim family cohort measure printed basis verdict verdict_lowest verdict_highest in_words place",
            ints="family_size n n_contradictions",
            floats="estimate lower upper p_value p_low p_high p_fisher p_bonferroni p_benjamini_hochberg "
            "level_of_verdict critical_prior_sd critical_prior_sd_low critical_prior_sd_high scepticism_limit "
            "scepticism_limit_low scepticism_limit_high advocacy_limit plausible_effect sceptical_prior_sd "
            "sceptical_point sceptical_lower sceptical_upper sceptical_p_direction "
            "neutral_point neutral_lower neutral_upper neutral_p_direction "
            "enthusiastic_point enthusiastic_lower enthusiastic_upper enthusiastic_p_direction "
            "power type_s type_m type_m_low type_m_high n_implied",
        ),
        "contradictions": columns_of("claim cohort place figure printed found explanation"),
        "audit_prior_sweep": columns_of("claim cohort", floats="prior_sd point lower upper"),
        "audit_priors": columns_of(
            "measure scale why",
            floats="plausible_effect sceptical_prior_sd sceptical_prior_lower sceptical_prior_upper "
            "enthusiastic_prior_mean",
        ),
        "replication": columns_of(
            "claim measure original replication verdict",
            floats="original_estimate original_p replication_estimate replication_p relative_effect variance_ratio "
            "sceptical_p sceptical_p_low sceptical_p_high sceptical_p_nominal sceptical_bayes_factor "
            "replication_bayes_factor compatibility_p",
        ),
    },
    tables=made_tables,
    figures=(prior_curves,),
    figure_names=("audit_prior_curves",),
    summary=headline,
)
