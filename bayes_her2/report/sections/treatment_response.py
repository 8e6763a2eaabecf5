"""Response to treatment by HER2 level: counts, posterior beside twin, tipping points, borrowing."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bayes_her2.data import DIFFERENCE
from bayes_her2.estimates import SECOND_OPINIONS
from bayes_her2.report import formats
from bayes_her2.report.figures import ALERT, INK, TWIN, Drawing, as_published, draw_legend, image_of
from bayes_her2.report.load import Estimate, Results, columns_of
from bayes_her2.report.sections import Section
from bayes_her2.report.tables import Cell, Column, Line, Table, estimate_cell, grouped_lines

MODEL = "treatment_response"
CURVES: dict[str, dict[str, Any]] = {
    "prior without borrowing": {"color": TWIN, "lw": 1.2, "ls": (0, (4, 2))},
    "robust prior": {"color": ALERT, "lw": 1.2, "ls": (0, (4, 2))},
    "likelihood": {"color": INK, "lw": 1.2, "ls": ":"},
    "posterior without borrowing": {"color": TWIN, "lw": 2.0, "ls": "-"},
    "posterior with the robust prior": {"color": ALERT, "lw": 2.0, "ls": "-"},
}
"""Curves of the picture and their look."""
NAMES = {
    "response_odds": "odds ratio, HER2-low over HER2-0",
    "response_difference": "risk difference, HER2-low minus HER2-0",
    "number_needed": "number needed",
    "responders_of_next_50": "responders among the next 50 patients",
    "ratio_of_odds_ratios": "ratio of odds ratios, treated over control",
    "treatment_difference": "risk difference, treated minus control",
}

ASKED = NAMES | {"ratio_of_odds_ratios": "ratio of odds ratios (HER2-low over HER2-0), treated over control"}


def _who(results: Results) -> str:
    record = results.models[MODEL]
    return f"{formats.listed(record.cohorts)}: at most {formats.count(record.n_tumours)} patients evaluated."


def _arms(results: Results) -> tuple[str, ...]:
    """Arms or centres, where there are several; none otherwise."""
    arms = tuple(dict.fromkeys(row["arm"] for row in results.rows(f"{MODEL}_counts")))
    return arms if len(arms) > 1 else ()


def counts(results: Results) -> Table:
    """Patients and responders of every group, and who could not be evaluated."""
    several = bool(_arms(results))
    groups: dict[str, list[Line]] = {}
    for row in results.rows(f"{MODEL}_counts"):
        cells = (
            *([Cell(row["arm"])] if several else []),
            Cell(row["hr"]),
            Cell(row["her2"]),
            Cell(formats.count(row["events"])),
            Cell(formats.count(row["n"])),
            Cell(formats.percent(row["events"], row["n"])),
        )
        groups.setdefault(row["outcome"], []).append(Line(row["outcome"], cells))
    missing = [
        f"{row['outcome']}{'' if row['hr'] in ('', 'all') else ', ' + row['hr']}: {formats.count(row['n'])} more could "
        f"not be evaluated (HER2 level {row['her2']})."
        for row in results.rows(f"{MODEL}_not_evaluable")
    ]
    return Table(
        "response_counts",
        f"Response to treatment by HER2 level: responders among evaluated patients. {_who(results)}",
        "Outcome",
        (
            *([Column("Arm or centre", words=True)] if several else []),
            Column("HR", words=True),
            Column("HER2", words=True),
            Column("Responders"),
            Column("Evaluated"),
            Column("%"),
        ),
        grouped_lines(groups.items()),
        f"tables/{MODEL}_counts.csv",
        notes=tuple(missing),
    )


def _twins(results: Results) -> dict[tuple[str, ...], Estimate]:
    return {
        (*e.place, e.contrast): e for e in results.of_model(MODEL, "twin") if e.method not in SECOND_OPINIONS
    }


def _whole(e: Estimate) -> Cell:
    """Patients, without decimals."""
    if e.point is None or e.lower is None or e.upper is None:
        return estimate_cell(e)
    return Cell(f"{e.point:.0f} ({e.lower:.0f} to {e.upper:.0f})")


def answers(results: Results) -> Table:
    """Every reported quantity, posterior beside twin."""
    twins = _twins(results)
    below = {
        (r["estimand"], r["outcome"], r["stratum"], r["scope"], r["arm"]): r["probability_below_1"]
        for r in results.rows(f"{MODEL}_probability_below_1")
    }
    verdicts = {
        (r["outcome"], r["estimand"], r["stratum"], r["scope"], r["cohort"], r["contrast"]): r["verdict"]
        for r in results.rows("concordance", MODEL)
    }
    groups: dict[str, list[Line]] = {}
    for e in results.of_model(MODEL):
        twin = twins.get((*e.place, e.contrast))
        chance = below.get((e.estimand, e.outcome, e.stratum, e.scope, e.cohort))
        name = NAMES.get(e.estimand, e.estimand)
        level = f", {e.contrast}" if e.estimand in ("responders_of_next_50", "treatment_difference") else ""
        where = ", a new arm or centre" if e.scope == "new cohort" else f", {e.cohort}" if e.cohort else ""
        groups.setdefault(e.outcome, []).append(
            Line(
                e.outcome,
                (
                    Cell(f"{name}{level}{where}", sub=e.note, look="wrap"),
                    Cell(e.stratum),
                    _whole(e) if e.estimand == "responders_of_next_50" else estimate_cell(e),
                    Cell(formats.probability(chance)),
                    estimate_cell(twin),
                    Cell(formats.p_value(twin.p_value if twin else None)),
                    Cell(
                        verdicts.get((*e.place, e.contrast), formats.MISSING),
                        look="verdict",
                    ),
                ),
            )
        )
    over_arms, averaged = "", "each risk difference is averaged over the patients of its row"
    if _controlled(results):
        averaged = (
            "odds ratios are common to the HR strata, each of which has its own level of response in each arm; a risk "
            "difference between HER2 levels is averaged over the patients of its arm, one between arms over the "
            "patients of its HER2 level"
        )
    elif _arms(results):
        over_arms = "; over random arms the REML meta-analysis of their odds ratios, where every arm has one"
        averaged = (
            "odds ratios over random arms are the mean of arms like these, a risk difference that of the patients "
            "at hand"
        )
    return Table(
        "response_answers",
        "Response of HER2-low against HER2-0 tumours, without borrowing from other studies: posterior medians with "
        f"{formats.intervals_of(results.of_model(MODEL))}, the probability of an odds ratio below 1, and the twin "
        f"(logistic regression with Wald, Newcombe or delta intervals{over_arms}); {averaged}. An effect in 100 "
        f"patients or fewer is known within wide limits: read the intervals. {_who(results)}",
        "Outcome",
        (
            Column("Quantity", words=True),
            Column("HR", words=True),
            Column("Estimate", "Posterior"),
            Column("P(OR\u00a0<\u00a01)", "Posterior"),
            Column("Estimate", "Twin"),
            Column("P", "Twin"),
            Column("Verdict", words=True),
        ),
        grouped_lines(groups.items()),
        "tables/estimates.csv",
        small=True,
    )


def tipping(results: Results) -> Table:
    """Show what the patients who could not be evaluated could change."""
    groups: dict[str, list[Line]] = {}
    for row in results.rows(f"{MODEL}_tipping_point"):
        cells = (
            Cell(row["stratum"]),
            Cell(row["scenario"], look="wrap"),
            Cell(formats.ratio(row["odds_ratio"])),
            Cell(formats.probability(row["probability_below_1"])),
            Cell(row["verdict"] or formats.MISSING),
            Cell(formats.MISSING if row["share"] is None else f"{100 * row['share']:.0f} %"),
        )
        groups.setdefault(row["outcome"], []).append(Line(row["outcome"], cells))
    return Table(
        "response_tipping_points",
        "What the patients who could not be evaluated could change: every split of them between the HER2 levels, and "
        "every number of responders among them. Odds ratio HER2-low over HER2-0, posterior probability that it is "
        "below 1 (exact; without borrowing and covariates, arms added up), and whether the 95 % credible interval lies "
        "below 1, above 1, or is open; last column: share of all combinations, each counted once: scenarios, not "
        "probabilities. Taking the unevaluated to "
        f"respond like the others counts them as if they had been seen. {_who(results)}",
        "Outcome",
        (
            Column("HR", words=True),
            Column("Scenario", words=True),
            Column("Odds ratio"),
            Column("P(OR\u00a0<\u00a01)"),
            Column("Interval", words=True),
            Column("Combinations"),
        ),
        grouped_lines(groups.items()),
        f"tables/{MODEL}_tipping_point.csv",
        small=True,
    )


BORROWED = (
    Column("Odds ratio"),
    Column("P(OR\u00a0<\u00a01)"),
    Column("ELIR", "Prior is worth, patients"),
    Column("Moments", "Prior is worth, patients"),
    Column("Conflict P"),
    Column("before", "Weight of the vague part"),
    Column("after", "Weight of the vague part"),
)


def _borrowed(row: dict[str, float]) -> tuple[Cell, ...]:
    return (
        Cell(formats.interval(row["odds_ratio"], row["lower"], row["upper"])),
        Cell(formats.probability(row["probability_below_1"])),
        Cell(formats.count(round(row["prior_ess_elir"]))),
        Cell(formats.count(round(row["prior_ess_moment"]))),
        Cell(formats.p_value(row["conflict_p"])),
        Cell(formats.number(row["vague_weight_prior"], 2)),
        Cell(formats.number(row["vague_weight_posterior"], 2)),
    )


def borrowing(results: Results) -> Table:
    """Pathological complete response with and without borrowing."""
    rows = results.rows(f"{MODEL}_borrowing")
    groups: dict[str, list[Line]] = {}
    for row in rows:
        cells = (Cell(row["prior"], look="wrap"), *_borrowed(dict(row)))
        groups.setdefault(row["stratum"], []).append(Line(row["stratum"], cells))
    return Table(
        "response_borrowing",
        "Pathological complete response, HER2-low over HER2-0, with and without what other studies of the same HR "
        "stratum predict (meta-analytic-predictive prior, made robust by a vague component): posterior median of the "
        "odds ratio with 95 % credible interval (equal-tailed), by quadrature; how many patients the prior is worth "
        "(ELIR; variance ratio); prior predictive probability of a result at least as far away (conflict P); "
        "weight of "
        f"the vague component before and after the data. {_who(results)}",
        "HR",
        (Column("Prior", words=True), *BORROWED),
        grouped_lines(groups.items()),
        f"tables/{MODEL}_borrowing.csv",
        notes=tuple(formats.sentence(row["text"]) for row in results.rows(f"{MODEL}_borrowing_notices")),
    )


def heterogeneity(results: Results) -> Table:
    """Robust borrowing under other priors on the spread between studies."""
    groups: dict[str, list[Line]] = {}
    for row in results.rows(f"{MODEL}_borrowing_heterogeneity"):
        cells = (Cell(formats.number(row["heterogeneity_scale"], 2)), *_borrowed(dict(row)))
        groups.setdefault(row["stratum"], []).append(Line(row["stratum"], cells))
    return Table(
        "response_borrowing_heterogeneity",
        "Robust borrowing under other half-normal priors on the SD of the log odds ratio between studies. With "
        "few earlier studies this prior decides how much is borrowed.",
        "HR",
        (Column("Scale"), *BORROWED),
        grouped_lines(groups.items()),
        f"tables/{MODEL}_borrowing_heterogeneity.csv",
        small=True,
    )


def prior_sweep(results: Results) -> Table:
    """Show how far the ratio of odds ratios is its prior's."""
    groups: dict[str, list[Line]] = {}
    for row in results.rows(f"{MODEL}_interaction_sweep"):
        sd = formats.number(row["prior_sd"], 2)
        cells = (
            Cell(f"{sd}, as used" if row["used"] else sd),
            Cell(formats.interval(row["point"], row["lower"], row["upper"])),
            Cell(formats.probability(row["probability_below_1"])),
            Cell("" if row["reliable"] else "weights not reliable"),
        )
        groups.setdefault(row["outcome"], []).append(Line(row["outcome"], cells))
    return Table(
        "response_interaction_sweep",
        "Ratio of odds ratios (HER2-low over HER2-0), treated over control, under other priors: SD of the normal prior "
        "of its logarithm around no difference; posterior median with 95 % credible interval (equal-tailed), and the "
        f"probability that it is below 1. By weighting the draws. {_who(results)}",
        "Outcome",
        (
            Column("Prior SD", words=True),
            Column("Ratio of odds ratios"),
            Column("P(<\u00a01)"),
            Column("Remark", words=True),
        ),
        grouped_lines(groups.items()),
        f"tables/{MODEL}_interaction_sweep.csv",
        small=True,
    )


def sample_sizes(results: Results) -> Table:
    """Patients that an answer would take."""
    groups: dict[str, list[Line]] = {}
    for row in results.rows(f"{MODEL}_sample_size"):
        cells = (
            Cell(row["stratum"]),
            Cell(row["quantity"]),
            Cell(row["design"]),
            Cell(row["aim"]),
            Cell(formats.count(row["patients"])),
            Cell(formats.count(row["patients_now"])),
        )
        groups.setdefault(row["outcome"], []).append(Line(row["outcome"], cells))
    return Table(
        "response_sample_sizes",
        "Patients that an answer would take: evaluated patients of both HER2 levels, at the observed response (the log "
        "odds midway between the levels) and in the observed shares of the levels or in equal ones. Two-sided Wald "
        "tests and intervals at 5 %, one odds ratio for all arms that are random; a plan for another study, not a "
        "judgement of this one.",
        "Outcome",
        (
            Column("HR", words=True),
            Column("Quantity", words=True),
            Column("Design", words=True),
            Column("Aim", words=True),
            Column("Patients needed"),
            Column("Patients now"),
        ),
        grouped_lines(groups.items()),
        f"tables/{MODEL}_sample_size.csv",
        small=True,
    )


def curves(results: Results) -> Drawing | None:
    """Prior, likelihood and posterior of the odds ratio, with and without borrowing, one panel for each HR stratum."""
    rows = results.rows(f"{MODEL}_curves")
    strata = list(dict.fromkeys(row["stratum"] for row in rows))
    if not strata:
        return None
    height = 1.3 + 2.3 * len(strata)
    figure = Figure(figsize=(7.2, height))
    for k, stratum in enumerate(strata):
        axes = figure.add_axes((0.06, (0.6 + 2.3 * (len(strata) - 1 - k)) / height, 0.92, 1.95 / height))
        for name, look in CURVES.items():
            own = [row for row in rows if row["curve"] == name and row["stratum"] == stratum]
            axes.plot([np.exp(row["log_odds_ratio"]) for row in own], [row["density"] for row in own], **look)
        axes.set_xscale("log")
        ticks = [0.1, 0.2, 0.5, 1, 2, 5]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlim(0.08, 8)
        axes.set_ylim(bottom=0)
        axes.set_yticks([])
        axes.axvline(1.0, color=INK, lw=0.7)
        axes.set_ylabel(f"density, {stratum}" if stratum != "all" else "density", fontsize=8)
    axes.set_xlabel(
        "odds ratio of pathological complete response, HER2-low over HER2-0 (log scale)", fontsize=8
    )
    draw_legend(figure, list(CURVES.items())[:3], 0.16, 0.06)
    draw_legend(figure, list(CURVES.items())[3:], 0.38, 0.06)
    return Drawing(
        "response_curves",
        "Prior, likelihood and posterior of the odds ratio of pathological complete response, HER2-low over HER2-0, "
        "without borrowing (grey) and with the robust prior that other studies of the same HR stratum give (red). "
        "Dashed: priors; dotted: likelihood; solid: posteriors. Densities of the log odds ratio. Line at a ratio of "
        f"1. {_who(results)}",
        f"Five curves of the log odds ratio of response ({formats.listed(strata)}): two priors, the likelihood, two "
        "posteriors.",
        image_of(as_published(results), figure),
    )


def summary(results: Results) -> str:
    """Say each outcome's odds ratio, or what a treatment adds by level, beside its twin."""
    twins = _twins(results)
    said = []
    for e in results.of_model(MODEL, scope="pooled"):
        wanted = "ratio_of_odds_ratios" if _controlled(results) else "response_odds"
        if e.estimand != wanted or e.stratum == DIFFERENCE:
            continue
        twin = twins.get((*e.place, e.contrast))
        where = "" if e.stratum == "all" else f", {e.stratum}"
        beside = f"; twin {formats.interval(twin.point, twin.lower, twin.upper)}" if twin else ""
        standing = "" if e.status == "observed" else f", {e.status}"
        said.append(
            f"{e.outcome}{where}: {ASKED[wanted]} {formats.interval(e.point, e.lower, e.upper)}{standing}{beside}"
        )
    shown = f"Posterior, {formats.intervals_of(results.of_model(MODEL))}. {_who(results)}" if said else ""
    return " ".join([*(formats.sentence(text) for text in said), shown]).strip()


def _controlled(results: Results) -> bool:
    return any(e.estimand == "ratio_of_odds_ratios" for e in results.of_model(MODEL))


def tables(results: Results) -> list[Table]:
    """Tables of the section, in reading order."""
    made = [counts(results), answers(results)]
    if results.rows(f"{MODEL}_interaction_sweep"):
        made.append(prior_sweep(results))
    borrowed = bool(results.rows(f"{MODEL}_borrowing"))
    if borrowed:
        made.append(borrowing(results))
    if results.rows(f"{MODEL}_tipping_point"):
        made.append(tipping(results))
    made.append(sample_sizes(results))
    if borrowed:
        made.append(heterogeneity(results))
    return made


_BORROWING = columns_of(
    "",
    floats="odds_ratio lower upper probability_below_1 prior_ess_elir prior_ess_morita prior_ess_moment conflict_p "
    "vague_weight_prior vague_weight_posterior",
)
SECTION = Section(
    name=MODEL,
    title="Response to treatment",
    after="cannot-say",
    model=MODEL,
    needed={
        f"{MODEL}_counts": columns_of("outcome hr arm her2", ints="n events"),
        f"{MODEL}_not_evaluable": columns_of("outcome hr her2", ints="n"),
        f"{MODEL}_tipping_point": columns_of(
            "outcome stratum scenario verdict", floats="probability_below_1 odds_ratio share"
        ),
        f"{MODEL}_probability_below_1": columns_of(
            "outcome estimand stratum scope arm", floats="probability_below_1"
        ),
        f"{MODEL}_borrowing_notices": columns_of("text"),
        f"{MODEL}_sample_size": columns_of(
            "outcome stratum quantity design aim", ints="patients patients_now"
        ),
    },
    optional={
        f"{MODEL}_borrowing": columns_of("stratum prior") | _BORROWING,
        f"{MODEL}_interaction_sweep": columns_of(
            "outcome", floats="prior_sd point lower upper probability_below_1", bools="used reliable"
        ),
        f"{MODEL}_borrowing_heterogeneity": columns_of(
            "stratum", ints="studies", floats="heterogeneity_scale"
        )
        | _BORROWING,
        f"{MODEL}_curves": columns_of("stratum curve", floats="log_odds_ratio density"),
    },
    tables=tables,
    figures=(curves,),
    figure_names=("response_curves",),
    summary=summary,
)
