"""Sentences of the report, composed from rows: selected, counted and named, never computed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bayes_her2.data import DIFFERENCE, HR_NEGATIVE
from bayes_her2.errors import name_some
from bayes_her2.report import formats
from bayes_her2.report.load import MODEL, Estimate, ModelRecord, Results

PARTS = ("presence", "amount", "overall")
ESTIMANDS = (*PARTS, "high_abundance")
PART_TITLES = {
    "presence": ("Presence", "odds ratio per SD of HER2"),
    "amount": ("Amount, where present", "ratio of means per SD of HER2"),
    "overall": ("Overall, zeros included", "ratio of E[y] per SD of HER2"),
    "high_abundance": ("High abundance", "marginal odds ratio per SD of HER2"),
}
"""Estimand -> heading and unit."""

VERDICTS = {
    "agrees": "same direction, both intervals exclude 1",
    "attenuated": "agrees, but the posterior is smaller by more than a third on the log scale",
    "amplified": "agrees, but the posterior is larger by more than a third on the log scale",
    "uncertain": "the twin excludes 1, the posterior does not",
    "new": "the posterior excludes 1, the twin does not",
    "contradicts": "opposite directions, both exclude 1",
    "both null": "neither interval excludes 1; how much that rules out, P(in ROPE) says",
    "not compared": "the posterior row is borrowed or prior-only, or the twin has other tumours: shown, not judged",
    "not estimable": "at least one side gives no estimate",
}
"""Verdict -> what it means."""


LIMITS_OF_COHORTS = (
    "Associations across tumours, not effects: HER2 was not assigned, and tumour purity, subtype and sampling"
    " may lie behind both sides.",
    "Abundances are estimates of deconvolution from bulk tissue, taken as known; their own error is not "
    'carried into the intervals, and a zero means "not detected by the method".',
    "Where the HER2 measure and the abundances come from the same expression matrix, part of an association "
    "may be shared measurement error.",
    "Intervals are per row and not adjusted for the number of cell types; the discovery columns are the place"
    " for that.",
    "Pooled rows assume that cohorts are exchangeable; a new cohort from another platform or population may "
    "not be.",
)
"""Limits of every study of cohorts; the last where there are several."""

LIMITS_OF_PATIENTS = (
    "Associations across patients, not effects: the HER2 level was not assigned. Hormone receptor status is "
    "accounted for where the data give it; grade and stage may lie behind both sides.",
    "What a treatment adds rests on how its patients were assigned to it: in a trial that randomised "
    "adaptively, or whose arms were not open at the same time, the arms may differ in their patients.",
    "HER2-0 and HER2-low are told apart by immunohistochemistry, on which readers disagree most at that "
    "border; misclassification that does not depend on the outcome draws ratios towards 1.",
    "Intervals are per row and not adjusted for the number of questions.",
)
"""Limits of a study without cohorts."""


@dataclass(frozen=True)
class Point:
    """One thing that the data cannot say: a short heading and a sentence."""

    heading: str
    text: str


def title(results: Results, sections: Iterable[str]) -> str:
    """Title of the report, from what its sections are about."""
    if results.study.with_cohorts:
        return (
            f"HER2 expression and {len(results.cell_types)} tumour-infiltrating immune cell types in HER2-negative "
            "early breast cancer"
        )
    named = {"evidence_synthesis": "published results", "treatment_response": "response to treatment"}
    there = set(sections)
    about = formats.listed(text for anchor, text in named.items() if anchor in there)
    return f"HER2-low and HER2-0 breast cancer: {about}"


def question(results: Results) -> str:
    """Ask what a study of cohorts asks."""
    one = len(results.cohorts) == 1
    return (
        "How does the abundance of each immune cell type change with HER2 expression"
        f"{', and' if one else ','} does the answer differ by hormone receptor (HR) status"
        f"{'' if one else ', and does it hold across cohorts'}?"
    )


def simulated_line(sections: Iterable[str], where: str = "on this page") -> str:
    """Warn of simulated data; sections on published results are not about them."""
    published = {"audit", "evidence_synthesis", "treatment_response"} & set(sections)
    but = ", except in the sections on published results" if published else ""
    return f"SIMULATED DATA. No patient is behind any number {where}{but}."


def limits(results: Results) -> tuple[str, ...]:
    """Say what no number of a report can put right."""
    if not results.study.with_cohorts:
        return LIMITS_OF_PATIENTS
    return LIMITS_OF_COHORTS[: -1 if len(results.cohorts) == 1 else None]


def n_tumours(results: Results) -> int:
    """Tumours analysed, all cohorts."""
    return sum(row["analysed"] for row in results.rows("flow"))


def who(results: Results) -> str:
    """Tumours and cohorts, for captions."""
    cohorts = formats.plural(len(results.cohorts), "cohort")
    return f"n\u00a0=\u00a0{formats.count(n_tumours(results))} tumours, {cohorts}."


def scope_word(results: Results, scope: str = "pooled") -> str:
    """Scope as printed: the cohort's name instead of 'pooled' where there is one cohort and nothing to pool."""
    return results.cohorts[0] if scope == "pooled" and len(results.cohorts) == 1 else scope


def pooled_rows(results: Results) -> str:
    """Words for rows over all cohorts: ``pooled rows``, or ``rows`` where there is one cohort."""
    return "rows" if len(results.cohorts) == 1 else "pooled rows"


def matched_twins(results: Results) -> list[Estimate]:
    """Pooled twin rows that stand beside the posterior in ``concordance.csv``, by label and method."""
    rows = {
        (r["outcome"], r["estimand"], r["stratum"], r["twin_method"])
        for r in results.rows("concordance")
        if r["scope"] == "pooled"
    }
    return [e for e in results.twins() if (e.outcome, e.estimand, e.stratum, e.method) in rows]


def short(estimand: str) -> str:
    """Heading of an estimand in one or two words."""
    return PART_TITLES[estimand][0].split(",")[0]


def exclusive_lists(estimates: Sequence[Estimate]) -> str:
    """Rows that exclude 1, named by direction: ``below 1: A, B; above 1: C``."""
    below = [e.outcome for e in estimates if e.upper is not None and e.upper < 1]
    above = [e.outcome for e in estimates if e.lower is not None and e.lower > 1]
    parts = [
        f"{word}: {', '.join(names)}" for word, names in (("below 1", below), ("above 1", above)) if names
    ]
    return "; ".join(parts)


def model_line(results: Results) -> str:
    """Say what was fitted, in one sentence."""
    one = len(results.cohorts) == 1
    cohort = "with one cohort there are no cohort terms" if one else "cohort is a random effect"
    study = results.study
    terms = [
        *([f"adjusted for {formats.listed(study.covariates)}"] if study.covariates else []),
        *(["no covariates"] if not (study.covariates or study.centre or study.batch) else []),
        *(["centre nested in cohort"] if study.centre else []),
        *(["batch as a fixed term"] if study.batch else []),
    ]
    return (
        "A hierarchical hurdle model of all cell types in one posterior: presence by logistic regression, "
        "amount where present by "
        f"gamma regression, each on HER2, hormone receptor (HR) status and their interaction; {cohort}; "
        f"{'; '.join(terms)}."
    )


def cell_line(results: Results) -> str:
    """How many cell types, and how many of each part are modelled."""
    rows = results.rows("cell_types")
    presence = sum(bool(r["presence_modelled"]) for r in rows)
    amount = sum(bool(r["amount_modelled"]) for r in rows)
    return f"presence modelled for {presence}, amount for {amount}"


def verdict_line(results: Results) -> str:
    """Verdict counts of pooled rows in one sentence."""
    rows = [r for r in results.rows("concordance") if r["scope"] == "pooled" and r["verdict"]]
    names = [*VERDICTS, *sorted({r["verdict"] for r in rows} - set(VERDICTS))]
    counts = [(name, sum(r["verdict"] == name for r in rows)) for name in names]
    found = [f"{name} {formats.count(n)}" for name, n in counts if n]
    if not rows:
        return "no verdict"
    judged = sum(n for name, n in counts if name not in ("not compared", "not estimable"))
    return (
        f"{formats.plural(len(rows), pooled_rows(results).removesuffix('s'))}, {formats.count(judged)} of them with a "
        f"verdict: "
        f"{', '.join(found)}"
    )


def discovery_line(results: Results) -> str:
    """Discoveries by either rule, pooled rows."""
    rows = [r for r in results.rows("concordance") if r["scope"] == "pooled"]
    bayes = sum(bool(r["discovery_bayes"]) for r in rows)
    wide = sum(
        bool(r["discovery_bayes"])
        and r["posterior_lower"] is not None
        and r["posterior_upper"] is not None
        and r["posterior_lower"] <= 1 <= r["posterior_upper"]
        for r in rows
    )
    bonferroni = sum(bool(r["discovery_bonferroni"]) for r in rows)
    both = sum(bool(r["discovery_bayes"] and r["discovery_bonferroni"]) for r in rows)
    fixed = sum(bool(r["discovery_fixed"]) for r in rows)
    one = len(results.cohorts) == 1
    return (
        f"{formats.plural(bayes, 'row')} by the posterior (sign calls: expected proportion of wrong signs at most "
        f"{results.study.false_discovery:g}, {wide} of them with an interval that includes 1), "
        f"{bonferroni} by the twin after Bonferroni at {results.study.alpha:g}"
        f"{'' if one else f' ({fixed} by one regression with cohort fixed)'}, {both} by both (each within "
        "its family: the cell types of one estimand and stratum)"
    )


def cohort_line(results: Results) -> str:
    """Count the rows of each single cohort that exclude 1, and the pairs that point apart."""
    if len(results.cohorts) < 2:
        return ""
    parts = []
    for cohort in results.cohorts:
        rows = [
            e
            for e in results.posterior(scope="cohort")
            if e.cohort == cohort and e.status == "observed" and e.stratum in results.strata
        ]
        out = sum(formats.excludes_null(e) for e in rows)
        parts.append(f"{cohort} {formats.count(out)} of {formats.count(len(rows))}")
    apart = sum("(posterior)" in sentence for sentence in disagreements(results))
    text = f"rows of a single cohort whose interval excludes 1: {formats.listed(parts)}"
    if apart:
        text += f"; in {formats.plural(apart, 'row')} two cohorts exclude 1 on opposite sides (see Cohort by cohort)"
    return text


def pooling_line(results: Results) -> str:
    """Say where pooled posteriors lie when cohorts differ, with the count of those outside both cohorts."""
    if len(results.cohorts) < 2:
        return ""
    by_place: dict[tuple[str, str, str], list[float]] = {}
    for e in results.posterior(scope="cohort"):
        if e.status == "observed" and e.point is not None:
            by_place.setdefault((e.outcome, e.estimand, e.stratum), []).append(e.point)
    compared = outside = 0
    for e in results.posterior():
        points = by_place.get((e.outcome, e.estimand, e.stratum), [])
        if e.status == "observed" and e.point is not None and len(points) == len(results.cohorts):
            compared += 1
            outside += not min(points) <= e.point <= max(points)
    if not compared:
        return ""
    return (
        "A pooled posterior is the cell type's mean over cohorts, drawn towards the mean over cell types the more the "
        "cohorts differ and the fewer they are: in "
        f"{formats.count(outside)} of {formats.count(compared)} pooled rows it lies outside the range of the "
        "cohorts' own estimates. A twin with a common or fixed cohort effect is not drawn so, and the verdict may be "
        "uncertain for that reason alone; the section Cohort by cohort has what each shows."
    )


def fitted_line(record: ModelRecord) -> str:
    """Tumours, cohorts, adjustment and sampler of a model with a section of its own."""
    sampler = record.sampler
    drawn = ""
    if sampler:
        drawn = (
            f" {sampler.get('chains')} chains of {formats.count(sampler.get('draws'))} draws after "
            f"{formats.count(sampler.get('tune'))} warm-up steps"
            f"{', after an automatic retry' if sampler.get('retried') else ''}."
        )
    adjusted = (
        "not adjusted for covariates" if record.adjustment == "none" else f"adjusted for {record.adjustment}"
    )
    if record.counted == "published studies":
        return f"Fitted to published results of {formats.listed(record.cohorts)}.{drawn}"
    tumours = f"{formats.count(record.n_tumours)} {record.counted} of {formats.listed(record.cohorts)}"
    one = len(record.cohorts) == 1
    lost = formats.listed(
        f"{formats.count(e['n'])}{'' if one else ' of ' + e['cohort']} ({e['reason']})"
        for e in record.exclusions
    )
    left_out = f" Left out by its own needs: {lost}." if lost else ""
    return f"Fitted to {tumours}, {adjusted}.{left_out}{drawn}"


def size_of(record: ModelRecord) -> str:
    """How many tumours, patients or groups of published studies a model was fitted to."""
    if record.counted == "published studies":
        return formats.plural(len(record.cohorts), "published study", "groups of published studies")
    return f"{formats.count(record.n_tumours)} {record.counted}"


def gate_line(results: Results, model: str = MODEL) -> str:
    """How many quantities pass the diagnostics gate."""
    rows = results.rows("diagnostics", model)
    passed = sum(bool(r["passed"]) for r in rows)
    if rows and passed == len(rows):
        return f"All {formats.plural(len(rows), 'group')} of reported quantities pass the gate."
    failed = [r["quantity"] for r in rows if not r["passed"]]
    return (
        f"{passed} of {formats.plural(len(rows), 'group')} of reported quantities pass the gate; failed: "
        f"{', '.join(failed)}."
    )


def prior_gate_line(results: Results, model: str = MODEL) -> str:
    """How many prior predictive gates are passed."""
    rows = results.rows("prior_predictive", model)
    passed = sum(bool(r["passed"]) for r in rows)
    return f"{passed} of {formats.plural(len(rows), 'prior predictive gate')} passed."


def precision_line(results: Results) -> str:
    """Smallest and largest detectable ratio by part and stratum, as rows give them."""
    sentences = []
    for part in PARTS:
        ranges = []
        for contrast in results.contrasts:
            found = [
                r["detectable_ratio"]
                for r in results.rows("precision")
                if r["stratum"] == contrast and r["estimand"] == part and r["detectable_ratio"]
            ]
            if found:
                ranges.append(f"{formats.ratio(min(found))} to {formats.ratio(max(found))} ({contrast})")
        if ranges:
            sentences.append(f"{short(part).lower()} {formats.listed(ranges)}")
    return f"Detectable ratios by cell type: {'; '.join(sentences)}." if sentences else ""


def disagreements(results: Results) -> tuple[str, ...]:
    """Rows where two cohorts point in opposite directions, both intervals excluding the null."""
    sentences = []
    for side in ("posterior", "twin"):
        rows = results.posterior(scope="cohort") if side == "posterior" else results.twins(scope="cohort")
        places: dict[tuple[str, str, str, str], list[Estimate]] = {}
        for e in rows:
            if e.status == "observed" and e.estimand in ESTIMANDS and formats.excludes_null(e):
                places.setdefault((e.outcome, e.estimand, e.stratum, e.method), []).append(e)
        for (outcome, estimand, stratum, _), found in places.items():
            lower = [e for e in found if e.upper is not None and e.upper < 1]
            higher = [e for e in found if e.lower is not None and e.lower > 1]
            if lower and higher:
                text = formats.listed(
                    f"{e.cohort} {formats.interval(e.point, e.lower, e.upper, estimand)}"
                    for e in (*lower, *higher)
                )
                sentences.append(f"{outcome}, {short(estimand).lower()}, {stratum} ({side}): {text}.")
    return tuple(dict.fromkeys(sentences))


def cannot_say(results: Results) -> tuple[Point, ...]:
    """List what the data cannot say, from statuses, composition and heterogeneity notes."""
    points: list[Point] = [*_borrowed(results), *_interaction(results), *_cohort_number(results)]
    points += _not_modelled(results)
    points += _not_estimable(results)
    points += _leaning(results)
    points += _prior_only(results)
    separated = [e for e in results.twins() if e.status == "separated"]
    if separated:
        named = [
            f"{e.outcome} ({short(e.estimand).lower() if e.estimand in PART_TITLES else e.estimand}, "
            f"{e.stratum})"
            for e in separated
        ]
        points.append(
            Point(
                "Twins that separate",
                f"The likelihood has no maximum for {formats.plural(len(separated), 'twin')}: "
                f"{name_some(dict.fromkeys(named), 8)}. There "
                "the posterior leans on its prior.",
            )
        )
    if results.study.scale == "relative":
        points.append(
            Point(
                "Shares, not amounts",
                "Abundances are shares of the immune infiltrate that sum to 1 within a tumour. A lower "
                "share of one cell type forces "
                "higher shares of others; nothing here says how many immune cells a tumour holds.",
            )
        )
    else:
        points.append(
            Point(
                "One amount behind all cell types",
                "On the absolute scale the amount of immune infiltrate enters every cell type of a tumour "
                "at once, while the model takes cell types as independent given HER2, HR and cohort. What "
                "they have in common, such as a shared interaction, is stated too surely.",
            )
        )
    for row in results.rows("heterogeneity"):
        if row["note"]:
            points.append(
                Point(f"Between cohorts: {row['part']}, {row['term']}", formats.sentence(row["note"]))
            )
    return _merged(points)


def _merged(points: Iterable[Point]) -> tuple[Point, ...]:
    """Points with the same text under one heading."""
    headings: dict[str, list[str]] = {}
    for point in points:
        headings.setdefault(point.text, []).append(point.heading)
    merged = []
    for text, found in headings.items():
        first = found[0]
        stem = first.partition(": ")[0]
        if len(found) > 1 and all(heading.startswith(f"{stem}: ") for heading in found):
            first = f"{stem}: {'; '.join(heading.partition(': ')[2] for heading in found)}"
        merged.append(Point(first, text))
    return tuple(merged)


def _not_estimable(results: Results) -> list[Point]:
    """Pooled rows without an estimate, cell types with the same gaps together."""
    gaps: dict[str, dict[str, list[str]]] = {}
    for e in results.posterior():
        if e.status == "not estimable" and e.estimand in PART_TITLES:
            gaps.setdefault(e.outcome, {}).setdefault(e.estimand, []).append(e.stratum)
    alike: dict[str, list[str]] = {}
    for cell in results.cell_types:
        texts = []
        for estimand, strata in gaps.get(cell, {}).items():
            where = "" if set(strata) >= set(results.contrasts) else f" ({', '.join(strata)})"
            texts.append(f"{short(estimand).lower()}{where}")
        if texts:
            alike.setdefault(formats.listed(texts), []).append(cell)
    if not alike:
        return []
    text = "; ".join(f"{parts} of {formats.listed(cells)}" for parts, cells in alike.items())
    return [
        Point(
            "Not estimable",
            f"{formats.sentence(text)} A stratum has too few zeros or positives; these rows are left empty, "
            "not filled from the prior.",
        )
    ]


def _not_modelled(results: Results) -> list[Point]:
    """Cell types that have no row at all."""
    named = [
        row["cell_type"]
        for row in results.rows("cell_types")
        if not row["presence_modelled"] and not row["amount_modelled"]
    ]
    if not named:
        return []
    return [
        Point(
            "Not modelled", f"{formats.listed(named)}: too few positives in every stratum; no row is printed."
        )
    ]


def _leaning(results: Results) -> list[Point]:
    """Count how often the two sides point apart in the smaller stratum, whose slopes lean on the larger one's."""
    if len(results.strata) < 2:
        return []
    sizes = {s: sum(r["n"] or 0 for r in results.rows("composition") if r["hr"] == s) for s in results.strata}
    small, large = sorted(results.strata, key=lambda s: sizes[s])
    scope = "cohort" if len(results.cohorts) > 1 else "pooled"
    rows = [
        r
        for r in results.rows("concordance")
        if r["scope"] == scope
        and r["stratum"] == small
        and r["status"] == "observed"
        and r["posterior_point"] is not None
        and r["twin_point"] is not None
    ]
    apart = sum((r["posterior_point"] - 1) * (r["twin_point"] - 1) < 0 for r in rows)
    if not rows:
        return []
    return [
        Point(
            f"{small} leans on {large}",
            f"{formats.count(sizes[small])} tumours are {small}. Their slope is that of {large} times an interaction "
            "that cell types share in part, so its interval is narrower than these tumours alone would give: in "
            f"{formats.count(apart)} of {formats.count(len(rows))} rows posterior and twin lie on opposite sides of 1.",
        )
    ]


def _borrowed(results: Results) -> list[Point]:
    """Cohorts without a stratum, and cell types whose presence never varies in a cohort's stratum."""
    borrowed = [e for e in results.posterior(scope="cohort") if e.status == "borrowed"]
    sizes = {(row["cohort"], row["hr"]): row["n"] or 0 for row in results.rows("composition")}
    points = []
    for cohort in dict.fromkeys(e.cohort for e in borrowed):
        empty = [s for s in results.strata if not sizes.get((cohort, s), 0)]
        if empty:
            rows = formats.listed([*empty, *([DIFFERENCE] if DIFFERENCE in results.contrasts else [])])
            points.append(
                Point(
                    "Borrowed rows",
                    f"{cohort} has no {formats.listed(empty)} tumours in the analysis: its {rows} rows are "
                    "borrowed from the other cohorts through the model, drawn hollow, and carry no verdict. "
                    f"What is said of {formats.listed(empty)} tumours rests on the other cohorts.",
                )
            )
        constant = dict.fromkeys(
            e.outcome
            for e in borrowed
            if e.cohort == cohort and e.stratum in results.strata and e.stratum not in empty
        )
        if constant:
            points.append(
                Point(
                    "Borrowed rows",
                    f"{cohort}: {name_some(constant, 8)} {'is' if len(constant) == 1 else 'are'} present in all or "
                    "none of the tumours of a stratum, so these tumours cannot tell what "
                    "changes with HER2; the rows are borrowed.",
                )
            )
    return points


def _interaction(results: Results) -> list[Point]:
    if DIFFERENCE not in results.contrasts:
        missing = HR_NEGATIVE if HR_NEGATIVE not in results.strata else "HR+"
        return [
            Point(
                "No interaction",
                f"No analysed tumour is {missing}: these data say nothing about a difference by HR.",
            )
        ]
    strata: dict[str, set[str]] = {}
    for row in results.rows("composition"):
        if row["n"]:
            strata.setdefault(row["cohort"], set()).add(row["hr"])
    both = [cohort for cohort in results.cohorts if len(strata.get(cohort, ())) > 1]
    if len(both) == 1:
        return [
            Point(
                "The interaction rests on one cohort",
                f"Only {both[0]} has HR+ and HR- tumours. Ratios HR- over HR+ of presence and amount are statements "
                f"about {both[0]}, with no replication and no estimate of how they vary between cohorts; those of "
                "averages over all tumours (overall, high abundance) also hold HR+ tumours of other cohorts.",
            )
        ]
    if not both:
        return [
            Point(
                "HR and cohort coincide",
                "No cohort has both HR+ and HR- tumours: a difference by HR cannot be told from a "
                "difference between cohorts.",
            )
        ]
    if len(both) < len(results.cohorts):
        return [
            Point(
                "The interaction rests on part of the cohorts",
                f"Ratios HR- over HR+ are informed by {formats.listed(both)} only.",
            )
        ]
    return []


def _cohort_number(results: Results) -> list[Point]:
    n = len(results.cohorts)
    if n == 1:
        return [
            Point(
                "One cohort",
                "With one cohort nothing is known about variation between cohorts: rows for a new cohort "
                "rest on the prior alone.",
            )
        ]
    if n == 2:
        return [
            Point(
                "Two cohorts",
                "Two cohorts show one difference for each cell type: the between-cohort SD is better known "
                "than from one cell type alone, and its prior still counts (it stands beside it in the table). "
                "Intervals for a new cohort inherit both.",
            )
        ]
    return []


def _prior_only(results: Results) -> list[Point]:
    """Rows whose between-cohort spread is the prior's."""
    rows = [
        e for e in (*results.posterior(), *results.posterior(scope="new cohort")) if e.status == "prior-only"
    ]
    if not rows:
        return []
    strata = formats.listed(c for c in results.contrasts if any(e.stratum == c for e in rows))
    scopes = formats.listed(dict.fromkeys(e.scope for e in rows))
    return [
        Point(
            "Rows from the prior",
            f"{formats.plural(len(rows), 'row')} ({scopes}: {strata}) take their between-cohort spread "
            "from the prior alone.",
        )
    ]


def recovery_lines(results: Results) -> tuple[tuple[str, int, int], ...]:
    """Covered and all rows of the recovery table: pooled by estimand and together, then other scopes."""
    rows = [r for r in results.rows("recovery") if r["covered"] is not None]
    pooled = [r for r in rows if r["scope"] == "pooled"]
    groups = [(short(e).lower(), [r for r in pooled if r["estimand"] == e]) for e in ESTIMANDS]
    groups.append((f"all {pooled_rows(results)}", pooled))
    for scope in dict.fromkeys(r["scope"] for r in rows if r["scope"] != "pooled"):
        groups.append((f"{scope} rows", [r for r in rows if r["scope"] == scope]))
    return tuple((name, sum(bool(r["covered"]) for r in mine), len(mine)) for name, mine in groups if mine)


RECOVERED_BY = (1.2, 1.65)
"""Planted ratios, or their reciprocals, at which recovery is split by size: log ratios of 0.18 and 0.5."""


def recovery_by_size(results: Results) -> str:
    """Say how well pooled ratios are recovered, by the size that was planted: covered, shrunk, found where none is."""
    rows = [r for r in results.rows("recovery") if r["covered"] is not None and r["scope"] == "pooled"]
    sizes = [(r, abs(math.log(r["truth"]))) for r in rows]
    said = []
    none = [r for r, size in sizes if size < 1e-9]
    if none:
        found = sum(r["lower"] > 1 or r["upper"] < 1 for r in none)
        said.append(f"no effect planted, {_covered(none)}, and intervals of {formats.count(found)} exclude 1")
    first, second = (math.log(limit) for limit in RECOVERED_BY)
    for words, low, high in (
        (f"up to {RECOVERED_BY[0]:g}-fold", 1e-9, first),
        (f"up to {RECOVERED_BY[1]:g}-fold", first, second),
        ("beyond", second, math.inf),
    ):
        mine = [(r, size) for r, size in sizes if low <= size < high]
        if mine:
            shares = sorted(math.log(r["point"]) / math.log(r["truth"]) for r, _ in mine)
            middle = shares[len(shares) // 2]
            said.append(
                f"{words}, {_covered([r for r, _ in mine])}, estimates at {100 * middle:.0f} % of the planted log "
                "ratio (median)"
            )
    return (
        f"By size of the planted ratio: {'; '.join(said)}. An effect that few cell types have is drawn towards those "
        "of the others."
        if said
        else ""
    )


def _covered(rows: Sequence[Mapping[str, Any]]) -> str:
    return f"{formats.count(sum(bool(r['covered']) for r in rows))} of {formats.count(len(rows))} covered"
