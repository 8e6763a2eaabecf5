"""Published results, pooled: each study, the pooled ratio, and what a new study would show."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from bayes_her2.data import DIFFERENCE
from bayes_her2.estimates import COMMON_EFFECT, DERSIMONIAN_LAIRD, REML_WALD, SECOND_OPINIONS
from bayes_her2.report import formats
from bayes_her2.report.figures import (
    COLOURS,
    INK,
    TWIN,
    Drawing,
    Mark,
    Panel,
    as_published,
    draw_forest,
    how_to_read,
    legend_key,
    mark_of,
    rope_key,
)
from bayes_her2.report.load import Estimate, Results, Row, columns_of
from bayes_her2.report.sections import Section
from bayes_her2.report.tables import (
    Cell,
    Column,
    Line,
    Table,
    estimate_cell,
    grouped_lines,
)

MODEL = "evidence_synthesis"
NEW = "new cohort"
EMPTY: tuple[Mark, ...] = ()
SHORT = {
    "pathological complete response": "pCR",
    "overall survival": "OS",
    "disease-free survival": "DFS",
    "recurrence-free survival": "RFS",
    "progression-free survival": "PFS",
}
"""Outcomes as figures name them."""


@dataclass(frozen=True)
class Block:
    """One question in one HR stratum: its studies, the pooled ratio, a new study, and their twins."""

    outcome: str
    contrast: str
    adjustment: str
    stratum: str
    pooled: Estimate
    new: Estimate | None
    studies: tuple[Estimate, ...]
    twins: dict[tuple[str, str], Estimate]
    verdict: str

    @property
    def heading(self) -> str:
        """Outcome, adjustment, scale and groups."""
        return f"{self.outcome}; {self.adjustment} {self.contrast}"

    @property
    def scale(self) -> str:
        """Odds ratio, hazard ratio, ..."""
        return self.contrast.split(",", 1)[0]

    def twin(self, scope: str, study: str = "") -> Estimate | None:
        """Return the matched twin of a row."""
        return self.twins.get((scope, study))


Place = tuple[str, str, str, str]


def _place(e: Estimate) -> Place:
    return (e.outcome, e.contrast, e.adjustment, e.stratum)


def blocks(results: Results) -> list[Block]:
    """Questions by HR stratum, in the order of the results."""
    twins: dict[Place, dict[tuple[str, str], Estimate]] = {}
    for e in results.of_model(MODEL, "twin"):
        if e.method not in SECOND_OPINIONS:
            twins.setdefault(_place(e), {})[e.scope, e.cohort] = e
    verdicts = {
        (r["outcome"], r["contrast"], r["adjustment"], r["stratum"]): r["verdict"]
        for r in results.rows("concordance", MODEL)
        if r["scope"] == "pooled"
    }
    new = {_place(e): e for e in results.of_model(MODEL, scope=NEW)}
    studies: dict[Place, list[Estimate]] = {}
    for e in results.of_model(MODEL, scope="cohort"):
        studies.setdefault(_place(e), []).append(e)
    return [
        Block(
            e.outcome,
            e.contrast,
            e.adjustment,
            e.stratum,
            e,
            new.get(_place(e)),
            tuple(studies.get(_place(e), ())),
            twins.get(_place(e), {}),
            verdicts.get(_place(e), ""),
        )
        for e in results.of_model(MODEL, scope="pooled")
    ]


def _interval(results: Results) -> str:
    return formats.intervals_of(results.of_model(MODEL, scope="pooled"))


def _who(results: Results) -> str:
    record = results.models[MODEL]
    return (
        f"{formats.plural(len(record.cohorts), 'group')} of studies that share no patients; "
        f"{formats.count(record.n_tumours)} patients, as far as both groups' numbers are printed (the largest "
        "report of each "
        "group of studies)."
    )


def _scales(results: Results) -> list[str]:
    return list(dict.fromkeys(block.scale for block in blocks(results)))


def forest_of(results: Results, scale: str) -> Drawing | None:
    """Every study, pooled ratio and predicted ratio of the questions on one scale."""
    chosen = [b for b in blocks(results) if b.scale == scale and b.stratum != DIFFERENCE]
    if not chosen:
        return None
    labels: list[str] = []
    rows: list[tuple[Mark, ...]] = []
    for block in chosen:
        colour = COLOURS.get(block.stratum, INK)
        labels.append(f"{SHORT.get(block.outcome, block.outcome)}, {block.adjustment}, {block.stratum}")
        rows.append(EMPTY)
        for study in block.studies:
            own = block.twin("cohort", study.cohort)
            labels.append(_study(study))
            rows.append(
                (mark_of(study, colour=colour, marker="o"), mark_of(own, colour=TWIN, marker="^"))
                if own is not None
                else (mark_of(study, colour=colour, marker="o"),)
            )
        pooled = [mark_of(block.pooled, colour=colour, marker="D")]
        matched = block.twin("pooled")
        if matched is not None and matched.has_interval:
            pooled.append(mark_of(matched, colour=TWIN, marker="^"))
        labels.append("pooled")
        rows.append(tuple(pooled))
        predicted = [mark_of(block.new, colour=colour, marker="s")]
        matched = block.twin(NEW)
        if matched is not None and matched.has_interval:
            predicted.append(mark_of(matched, colour=TWIN, marker="^"))
        labels.append("a new study")
        rows.append(tuple(predicted))
    panel = Panel("", scale, tuple(rows))
    legend = [
        ("study, shrunken", legend_key(INK, "o")),
        ("pooled", legend_key(INK, "D")),
        ("a new study", legend_key(INK, "s")),
        ("twin", legend_key(TWIN, "^")),
        rope_key(results.study.rope),
    ]
    names = {SHORT[b.outcome]: b.outcome for b in chosen if b.outcome in SHORT}
    spelt = f" {'; '.join(f'{short} is {name}' for short, name in names.items())}." if names else ""
    groups = formats.listed(dict.fromkeys(b.contrast.split(", ", 1)[1] for b in chosen))
    caption = (
        f"Published {scale}s ({groups}), by outcome, adjustment and hormone receptor (HR) stratum; log axis. "
        f"Circles: each study in the light of the others; diamonds: pooled; squares: prediction for a new study; "
        f"posterior medians with {_interval(results)}. Triangles: the twin (a study's own interval; pooled and "
        "prediction by REML with modified Hartung-Knapp intervals). Blue: HR+; orange: HR-; black: not split. Crude "
        "and adjusted results are never pooled with each other, and no patients are counted twice. Grey band: region "
        f"of practical equivalence (ROPE).{spelt} {_who(results)} {how_to_read([panel])}"
    )
    alt = f"Forest plot of {sum(len(b.studies) for b in chosen)} published {scale}s in {len(chosen)} groups."
    image = draw_forest(as_published(results), labels, [panel], legend, per_row=0.21, dodge=0.16)
    return Drawing(f"evidence_{scale.replace(' ', '_')}s", caption, alt, image)


def odds_ratios(results: Results) -> Drawing | None:
    """Forest of odds ratios."""
    return forest_of(results, "odds ratio")


def hazard_ratios(results: Results) -> Drawing | None:
    """Forest of hazard ratios."""
    return forest_of(results, "hazard ratio")


def _study(e: Estimate) -> str:
    return e.cohort.removesuffix(f", {e.stratum}")


def pooled(results: Results) -> Table:
    """Pooled and predicted ratio of every question, posterior beside twin."""
    grouped: dict[str, list[Line]] = {}
    for block in blocks(results):
        matched, predicted = block.twin("pooled"), block.twin(NEW)
        below = _below(block.pooled)
        cells = (
            Cell(block.stratum),
            Cell(_n_studies(block)),
            estimate_cell(block.pooled),
            Cell(formats.probability(below)),
            estimate_cell(block.new),
            estimate_cell(matched),
            Cell(formats.p_value(matched.p_value if matched else None)),
            estimate_cell(predicted),
            Cell(block.verdict or formats.MISSING, look="verdict"),
        )
        grouped.setdefault(block.heading, []).append(Line(block.heading, cells))
    return Table(
        "evidence_pooled",
        "Published results, pooled by random-effects meta-analysis: odds or hazard ratio of the first group over the "
        f"second. Posterior medians with {_interval(results)}, the probability that the ratio is below 1, and the "
        "prediction for a study not yet made; twin: REML with modified Hartung-Knapp confidence intervals. The "
        "crude ratio of complete response over all patients is confounded by HR status and is no estimate of "
        "an effect: "
        "read the rows by HR stratum and the adjusted ones. T-DXd rows compare randomised arms. Hartung-Knapp "
        "intervals of "
        f"two studies (1 df) exclude almost nothing. {_who(results)}",
        "Question",
        (
            Column("HR", words=True),
            Column("Studies"),
            Column("Pooled", "Posterior"),
            Column("P(< 1)", "Posterior"),
            Column("New study", "Posterior"),
            Column("Pooled", "Twin"),
            Column("P", "Twin"),
            Column("New study", "Twin"),
            Column("Verdict", words=True),
        ),
        grouped_lines(grouped.items()),
        "tables/estimates.csv",
        notes=(
            "'prior-only': one study in each stratum, whose own interval (in the figure) is the evidence; or a "
            "prediction from "
            "fewer than four studies. 'borrowed': fewer than four studies, so that the width is mostly the "
            "prior's on their "
            "spread; or one study in this stratum, with the spread of the other. Neither gets a verdict.",
            "HR- over HR+ mixes differences within studies that have both strata with differences between studies; "
            "the remarks on its question give the ratio within the studies alone.",
            "'not estimable': one study for each stratum; the twin has no spread and no mean over studies. The "
            "study's "
            "own interval is in the figure.",
        ),
        small=True,
    )


def summary(results: Results) -> str:
    """Say the headline: the first question, adjusted response by HR status."""
    every = blocks(results)
    first = [block for block in every if block.heading == every[0].heading and block.stratum != DIFFERENCE]
    answers = []
    for block in first:
        e = block.pooled
        said = (
            f"{block.stratum} {formats.interval(e.point, e.lower, e.upper)} (posterior, {_interval(results)})"
        )
        alone = block.twin("cohort", block.studies[0].cohort) if len(block.studies) == 1 else None
        if alone is not None and alone.point is not None:
            # What one study says is its own interval; pooled, its width is the prior's.
            said = (
                f"{block.stratum} {formats.interval(alone.point, alone.lower, alone.upper)} "
                f"({alone.cohort}, the only study, {formats.intervals_of([alone])})"
            )
        elif e.status != "observed":
            said += f", {e.status}"
        answers.append(said)
    return f"{formats.sentence(first[0].heading)[:-1]}: {'; '.join(answers)}."


def _below(e: Estimate) -> float | None:
    if e.pd is None or e.point is None:
        return None
    return e.pd if e.point < 1 else 1.0 - e.pd


def _n_studies(block: Block) -> str:
    if block.stratum == DIFFERENCE:
        return block.pooled.note.split(" studies", 1)[0]
    return formats.count(len(block.studies))


def confounding(results: Results) -> Table | None:
    """Studies with a crude ratio over all patients, and ratios by HR stratum or adjusted, side by side."""
    rows = results.rows(f"{MODEL}_registry")
    if not rows:
        return None
    lines = [
        Line(
            row["study"],
            (
                Cell(row["hr_stratum"]),
                Cell(row["adjustment"], sub=row["adjusted_for"]),
                Cell(formats.interval(row["estimate"], row["lower"], row["upper"])),
                Cell(formats.count(row["n"])),
                Cell(row["verified"]),
            ),
        )
        for row in rows
    ]
    return Table(
        "evidence_confounding",
        "Overlapping patients, crude and by hormone receptor (HR) status or adjusted: odds ratio of "
        "pathological complete "
        "response, HER2-low over HER2-0, with 95 % confidence intervals (from counts by Woolf's method, otherwise as "
        "printed). "
        "HER2-low tumours are more often HR+, and HR+ tumours respond less often: that is more than half of the crude "
        "association in "
        "the registry that Peiffer and Li read (overlapping years). Crude rows by HR status are still "
        "confounded by the "
        "rest. Rows that share patients are not pooled with each other.",
        "Study",
        (
            Column("HR", words=True),
            Column("Adjustment", words=True),
            Column("Odds ratio"),
            Column("n"),
            Column("Checked against", words=True),
        ),
        tuple(lines),
        f"tables/{MODEL}_registry.csv",
    )


def sweep(results: Results) -> Table:
    """Pooled and predicted ratios under other priors on the spread between studies."""
    rows = results.rows(f"{MODEL}_heterogeneity_prior")
    scales = sorted({row["scale"] for row in rows})
    grouped: dict[str, dict[tuple[str, str], dict[float, Row]]] = {}
    for row in rows:
        grouped.setdefault(row["question"], {}).setdefault((row["stratum"], row["scope"]), {})[
            row["scale"]
        ] = row
    groups = [
        (
            question,
            [
                Line(
                    question,
                    (Cell(stratum), Cell("new study" if scope == NEW else scope), *_swept(by, scales)),
                )
                for (stratum, scope), by in members.items()
            ],
        )
        for question, members in grouped.items()
    ]
    return Table(
        "evidence_heterogeneity_prior",
        "How much the prior on the spread between studies decides: pooled and predicted ratios with "
        f"{formats.level(results.study.interval)} credible intervals under half-normal priors of other scales (SD of "
        "the log ratio between studies), by quadrature: nothing in it is sampled. Where rows change with the scale, "
        "the studies do not determine the spread.",
        "Question",
        (
            Column("HR", words=True),
            Column("Ratio", words=True),
            *(Column(f"{scale:g}", "Scale of the half-normal prior") for scale in scales),
        ),
        grouped_lines(groups),
        f"tables/{MODEL}_heterogeneity_prior.csv",
        small=True,
    )


def _swept(by: dict[float, Row], scales: list[float]) -> list[Cell]:
    return [
        Cell(
            formats.interval(by[scale]["point"], by[scale]["lower"], by[scale]["upper"]),
            look="away" if by[scale]["excludes_1"] else "",
        )
        for scale in scales
    ]


def second_opinions(results: Results) -> Table:
    """Pooled ratios by the other estimators of the twin."""
    by: dict[Place, dict[str, Estimate]] = {}
    for e in results.of_model(MODEL, "twin", scope="pooled"):
        by.setdefault(_place(e), {})[e.method] = e
    lines = []
    for block in blocks(results):
        found = by.get((block.outcome, block.contrast, block.adjustment, block.stratum), {})
        cells = [estimate_cell(block.twin("pooled"))]
        cells += [
            estimate_cell(found.get(method)) for method in (REML_WALD, DERSIMONIAN_LAIRD, COMMON_EFFECT)
        ]
        lines.append(Line(block.heading, (Cell(block.stratum), *cells)))
    return Table(
        "evidence_twins",
        "Pooled ratios of the twin by estimator of the spread between studies (REML, DerSimonian-Laird) and kind of "
        "interval (modified Hartung-Knapp, Wald), and the common effect. With few studies Wald intervals are "
        "too short, and "
        "Hartung-Knapp intervals on one or two degrees of freedom too long to say anything.",
        "Question",
        (
            Column("HR", words=True),
            Column("REML, Hartung-Knapp"),
            Column("REML, Wald"),
            Column("DerSimonian-Laird, Wald"),
            Column("Common effect, Wald"),
        ),
        tuple(lines),
        "tables/estimates.csv",
        small=True,
    )


def left_out(results: Results) -> Table:
    """Count the published rows about the same outcomes that are not pooled, by reason."""
    counts = Counter((r["question"], r["reason"]) for r in results.rows(f"{MODEL}_left_out"))
    groups: dict[str, list[Line]] = {}
    for (question, reason), n in counts.items():
        groups.setdefault(question, []).append(
            Line(question, (Cell(reason, look="wrap"), Cell(formats.count(n))))
        )
    return Table(
        "evidence_left_out",
        "Rows of the evidence table about the same outcome that do not enter a question, by reason.",
        "Question",
        (Column("Reason", words=True), Column("Rows")),
        grouped_lines(groups.items()),
        f"tables/{MODEL}_left_out.csv",
        small=True,
    )


def remarks(results: Results) -> Table:
    """Remarks on the studies of each question."""
    groups: dict[str, list[Line]] = {}
    for row in results.rows(f"{MODEL}_notices"):
        cell = Cell(formats.sentence(row["text"]), look="wrap")
        groups.setdefault(row["question"], []).append(Line(row["question"], (cell,)))
    return Table(
        "evidence_notices",
        "Remarks on the studies of each question: where their numbers come from, what the spread rests on, and HR- "
        "over HR+ within the studies that have both.",
        "Question",
        (Column("Remark", words=True),),
        grouped_lines(groups.items()),
        f"tables/{MODEL}_notices.csv",
        small=True,
    )


def small_studies(results: Results) -> Table:
    """Egger's regression."""
    lines = [
        Line(
            row["question"],
            (
                Cell(row["stratum"]),
                Cell(formats.count(row["n_studies"])),
                Cell(formats.signed(row["intercept"])),
                Cell(formats.p_value(row["p_value"])),
                Cell(row["note"]),
            ),
        )
        for row in results.rows(f"{MODEL}_small_study_check")
    ]
    return Table(
        "evidence_small_studies",
        "Do small studies differ from large ones? Egger's regression of log ratio over its standard error on one over "
        "the standard error: the intercept is 0 where they do not.",
        "Question",
        (
            Column("HR", words=True),
            Column("Studies"),
            Column("Intercept"),
            Column("P"),
            Column("Note", words=True),
        ),
        tuple(lines),
        f"tables/{MODEL}_small_study_check.csv",
        small=True,
    )


def misses(results: Results) -> Table:
    """Studies unlike the others of their question."""
    rows = results.rows("posterior_predictive", MODEL)
    groups: dict[str, list[Line]] = {}
    for row in rows:
        if row["inside"] is False:
            cells = (
                Cell(row["cohort"]),
                Cell(row["hr"]),
                Cell(formats.ratio(row["observed"])),
                Cell(formats.interval(row["predicted"], row["lower"], row["upper"])),
            )
            groups.setdefault(row["cell_type"], []).append(Line(row["cell_type"], cells))
    n = sum(len(members) for members in groups.values())
    return Table(
        "evidence_misses",
        f"Studies unlike the others: {formats.count(n)} of {formats.count(len(rows))} published ratios lie "
        "outside the "
        "interval that their question predicts for a study with their standard error (posterior predictive median and "
        f"interval). {_who(results)}",
        "Question",
        (
            Column("Study", words=True),
            Column("HR", words=True),
            Column("Published"),
            Column("Predicted"),
        ),
        grouped_lines(groups.items()),
        "tables/posterior_predictive.csv",
        small=True,
    )


def tables(results: Results) -> list[Table]:
    """Tables of the section, in reading order."""
    made = [pooled(results)]
    beside = confounding(results)
    if beside is not None:
        made.append(beside)
    return [
        *made,
        sweep(results),
        second_opinions(results),
        small_studies(results),
        misses(results),
        remarks(results),
        left_out(results),
    ]


SECTION = Section(
    name=MODEL,
    title="Published results, pooled",
    after="cannot-say",
    model=MODEL,
    needed={
        f"{MODEL}_heterogeneity_prior": columns_of(
            "stratum question scope", floats="scale point lower upper", bools="excludes_1"
        ),
        f"{MODEL}_notices": columns_of("question text"),
        f"{MODEL}_left_out": columns_of("question study row_id reason"),
        f"{MODEL}_small_study_check": columns_of(
            "question stratum note", ints="n_studies", floats="intercept p_value"
        ),
        f"{MODEL}_registry": columns_of(
            "study hr_stratum adjustment adjusted_for verified", ints="n", floats="estimate lower upper"
        ),
    },
    tables=tables,
    figures=(odds_ratios, hazard_ratios),
    figure_names=("evidence_odds_ratios", "evidence_hazard_ratios"),
    summary=summary,
)
