"""Items of reporting guidelines, each looked for in a results folder: present, absent, or not applicable, and where.

The items are worded here, after their sources. A rule reads records and tables, not the page: an item is present when
what it asks for is there for every model whose inference is printed. What no run can know (treatments, funding, what
the findings mean beside other evidence) is listed for the authors and not counted.

References
----------
BARG: Kruschke (2021), doi 10.1038/s41562-021-01177-7. ROBUST: Sung et al. (2005), doi 10.1016/j.jclinepi.2004.08.010.
WAMBS: Depaoli & van de Schoot (2017), doi 10.1037/met0000065. REMARK: Altman et al. (2012),
doi 10.1371/journal.pmed.1001216. STROBE: von Elm et al. (2007), doi 10.1371/journal.pmed.0040296.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bayes_her2.files import harmless
from bayes_her2.report import formats
from bayes_her2.report.findings import findings
from bayes_her2.report.load import Results

State = Literal["present", "absent", "not applicable"]

SOURCES = {
    "BARG": "Bayesian analysis reporting guidelines (Kruschke 2021)",
    "ROBUST": "Reporting of Bayes used in clinical studies (Sung et al. 2005)",
    "WAMBS": "When to worry and how to avoid the misuse of Bayesian statistics (Depaoli and van de Schoot 2017)",
    "REMARK": "Reporting of tumour marker studies, items on data and analysis (Altman et al. 2012)",
    "STROBE": "Reporting of observational studies, items on data and analysis (von Elm et al. 2007)",
}
"""Guideline -> its name and source."""

OWN_SENSITIVITY = ("treatment_response_tipping_point", "evidence_synthesis_heterogeneity_prior")
"""Tables of results under other priors that models have in their own sections."""

SPREADS = ("cohorts_half", "cohorts_double", "cohorts_half_t", "interaction_half", "interaction_double")
"""Sets of priors of `bayes-her2 sensitivity` that change spreads."""

FLAT = "flat"
"""Its set of nearly flat ones."""

FOR_THE_AUTHORS = (
    "why a Bayesian analysis was chosen (BARG, preamble)",
    "scientific background, design, setting and dates, treatments, specimens and their handling, assay protocol and "
    "blinding (REMARK 3 to 7, STROBE 2 to 5)",
    "sources of bias in who was studied (STROBE 9)",
    "interpretation beside other evidence, implications, funding and ethics (REMARK 19 and 20, STROBE 20 and 22)",
)
"""What a results folder cannot hold."""


@dataclass(frozen=True)
class Found:
    """What became of one item.

    Attributes
    ----------
    state
        ``present``, ``absent`` or ``not applicable``.
    how
        What is there, or why it is not, with what to do.
    anchors
        Sections of the report where it is.
    files
        Files of the folder where it is.
    """

    state: State
    how: str
    anchors: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checked:
    """One item with what became of it.

    Attributes
    ----------
    guideline, number, asks
        The item: a name of `SOURCES`, its number there, and what it asks for, in our words.
    found
        What became of it.
    where
        Sections by title, then files.
    """

    guideline: str
    number: str
    asks: str
    found: Found
    where: str


Rule = Callable[[Results], Found]


def checklist(results: Results, titles: Mapping[str, str]) -> tuple[Checked, ...]:
    """Look for every item.

    Parameters
    ----------
    results
        A results folder.
    titles
        Anchor -> title of the sections that its report has: no other is given as a place.

    Returns
    -------
    tuple
        In the order of the guidelines.
    """
    made = []
    for guideline, number, asks, rule in ITEMS:
        found = rule(results)
        made.append(Checked(guideline, number, asks, found, _where(found, results, titles)))
    return tuple(made)


def _where(found: Found, results: Results, titles: Mapping[str, str]) -> str:
    """Name sections by title and files; the sections of all models, where there are several, in one word."""
    own = [name for name in results.complete if name in titles]
    if len(own) > 1 and set(own) <= set(found.anchors):
        places = [
            *(titles[a] for a in found.anchors if a in titles and a not in own),
            "the section of every further model",
        ]
    else:
        places = [titles[a] for a in found.anchors if a in titles]
    return "; ".join([*places, *found.files])


def counted(checked: Sequence[Checked]) -> str:
    """Say how many items are there, and what that does not say."""
    states = [c.found.state for c in checked]
    return (
        f"This report was searched for {len(states)} items of five reporting guidelines: {states.count('present')} "
        f"present, {states.count('absent')} absent, {states.count('not applicable')} not applicable. It reports the "
        "items of these guidelines; whether they are reported well is for its readers to judge."
    )


def absent(checked: Sequence[Checked]) -> tuple[str, ...]:
    """Absent items, those of one reason in a line, with what to do."""
    by_reason: dict[str, list[str]] = {}
    for c in checked:
        if c.found.state == "absent":
            by_reason.setdefault(c.found.how, []).append(f"{c.guideline} {c.number} ({c.asks})")
    return tuple(f"{formats.listed(items)}: {how}" for how, items in by_reason.items())


def as_csv(checked: Sequence[Checked]) -> str:
    """Return the checklist as a CSV file: guideline, item, asks, state, where, how."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["guideline", "item", "asks", "state", "where", "how"])
    for c in checked:
        cells = (c.guideline, c.number, c.asks, c.found.state, c.where, c.found.how)
        writer.writerow([harmless(text) for text in cells])
    return out.getvalue()


# --- rules -----------------------------------------------------------------------------------------


def _of_every_model(table: str, what: str, anchors: tuple[str, ...], column: str = "") -> Rule:
    """Ask for rows of a table, with a column that is filled, for every model whose inference is printed."""

    def rule(results: Results) -> Found:
        if not results.complete:
            return _NOTHING
        lacking = [
            name
            for name in results.complete
            if not (rows := results.rows(table, name))
            or (column and any(row[column] in (None, "") for row in rows))
        ]
        file = f"tables/{table}.csv"
        if lacking:
            return Found("absent", f"{what}: not for {formats.listed(lacking)} ({file})")
        n = len(results.complete)
        every = f"each of {n} models" if n > 1 else f"the model ({results.complete[0]})"
        return Found("present", f"{what}, for {every}", (*anchors, *results.complete), (file,))

    return rule


_NOTHING = Found("not applicable", "no inference is printed")


def _there(what: str, anchors: tuple[str, ...], *tables: str, files: tuple[str, ...] = ()) -> Rule:
    """Ask for rows in each of some tables of the cohorts."""

    def rule(results: Results) -> Found:
        if not results.study.with_cohorts:
            return Found("not applicable", "no cohort was analysed")
        lacking = [name for name in tables if not results.rows(name)]
        if lacking:
            return Found("absent", f"{what}: tables/{lacking[0]}.csv is empty or not there")
        return Found("present", what, anchors, (*(f"tables/{name}.csv" for name in tables), *files))

    return rule


def _recorded(what: str) -> Rule:
    """Ask for the methods that every model recorded."""

    def rule(results: Results) -> Found:
        if not results.complete:
            return _NOTHING
        lacking = [name for name in results.complete if not results.models[name].methods]
        if lacking:
            return Found("absent", f"{formats.listed(lacking)} did not record what it was: run again")
        return Found("present", what, ("methods",), ("methods.md",))

    return rule


def _not_applicable(why: str) -> Rule:
    return lambda results: Found("not applicable", why)


def _goals(results: Results) -> Found:
    if not results.complete:
        return _NOTHING
    lacking = [name for name in results.complete if not results.models[name].question]
    if lacking:
        return Found("absent", f"{formats.listed(lacking)} has no question")
    return Found(
        "present", "the question of every model", ("summary", *results.complete), ("provenance.json",)
    )


def _variables(results: Results) -> Found:
    if results.study.with_cohorts:
        measure = (
            f"{results.study.measure}, {len(results.cell_types)} cell types ({results.study.scale} scale)"
        )
        return Found(
            "present", measure, ("data", "zeros"), ("tables/her2_scaling.csv", "tables/cell_types.csv")
        )
    return Found("present", "counts or printed results", results.complete)


def _software(results: Results) -> Found:
    if not results.provenance.get("versions") or not results.provenance.get("package_version"):
        return Found("absent", "provenance.json names no versions: run again")
    return Found("present", "packages with versions", ("methods", "provenance"), ("provenance.json",))


def _seed(results: Results) -> Found:
    seeds = [results.models[name].sampler.get("seed") for name in results.complete]
    if results.provenance.get("seed") is None or None in seeds:
        return Found("absent", "a seed is not recorded: run again")
    return Found("present", "seed of the study and of every fit", ("provenance",), ("provenance.json",))


def _script_and_data(results: Results) -> Found:
    files = results.provenance.get("files")
    if results.study.with_cohorts and not files:
        return Found("absent", "provenance.json names no input files: run again")
    return Found(
        "present",
        "the study file as used, and the hash of every file read",
        ("provenance",),
        ("study.toml", "provenance.json"),
    )


def _formal(results: Results) -> Found:
    if not results.complete:
        return _NOTHING
    version = results.provenance.get("package_version")
    if not version:
        return Found(
            "absent", "provenance.json does not say which version of the model files was used: run again"
        )
    code = formats.listed(f"models/{name}.py" for name in results.complete)
    return Found(
        "present",
        f"as code, of version {version}: {code}; priors as used",
        results.complete,
        ("tables/priors.csv",),
    )


def _summaries(results: Results) -> Found:
    shown = [e for e in results.every_estimate if e.source == "posterior" and e.has_interval]
    if not results.complete:
        return _NOTHING
    if not shown or any(not e.interval_kind or e.interval_prob is None for e in shown):
        return Found("absent", "an interval without its kind or level (tables/estimates.csv)")
    return Found(
        "present",
        f"medians with {formats.intervals_of(shown)}",
        ("results", "findings", *results.complete),
        ("tables/estimates.csv",),
    )


def _criteria(results: Results) -> Found:
    if not results.complete:
        return _NOTHING
    if not results.provenance.get("decisions_hash"):
        return Found("absent", "provenance.json holds no hash of the decision rule: run again")
    low, high = results.study.rope
    return Found(
        "present",
        f"limits of practical equivalence {low:g} to {high:g}, expected proportion of wrong signs at most "
        f"{results.study.false_discovery:g}; hashed before the first draw",
        ("methods", "provenance"),
        ("decisions.json",),
    )


def _sensitivity(*universes: str) -> Rule:
    """Ask for the main model under other priors: under each of some sets of them, or under any if none is named."""

    def rule(results: Results) -> Found:
        if not results.complete:
            return _NOTHING
        if not results.answered:
            own = [t for t in OWN_SENSITIVITY if f"{t}.csv" in results.files]
            if not own:
                return Found(
                    "absent", "results under other priors: the models of this run have no table of them"
                )
            return Found(
                "present",
                "in the sections of the models",
                results.complete,
                tuple(f"tables/{t}.csv" for t in own),
            )
        beside = results.beside.get("sensitivity")
        if beside is None:
            return Found(
                "absent",
                "results under other priors: `bayes-her2 sensitivity STUDY --out RESULTS/sensitivity`, where RESULTS "
                "is this folder, then `bayes-her2 report RESULTS`",
            )
        if universes and not beside.universes & frozenset(universes):
            return Found(
                "absent",
                f"{beside.page} has none of these priors: {', '.join(universes)}. `bayes-her2 sensitivity` fits them",
            )
        return Found(
            "present", "the main model under other priors, and power-scaling", ("model",), (beside.page,)
        )

    return rule


def _checks(results: Results) -> Found:
    return _of_every_model("posterior_predictive", "data replicated from the posterior", ("checks",))(results)


def _table_one(results: Results) -> Found:
    if not results.study.with_cohorts:
        return Found("not applicable", "no cohort was analysed")
    if "table_one.csv" not in results.files:
        return Found("absent", "tables/table_one.csv is not there: run again")
    return Found(
        "present", "clinical variables by cohort and stratum", ("descriptives",), ("tables/table_one.csv",)
    )


def _marker_and_standard(results: Results) -> Found:
    if not results.study.with_cohorts:
        return Found("not applicable", "no cohort was analysed")
    has = [name for name in ("her2_by_ihc.csv", "clinical_counts.csv") if name in results.files]
    if not has:
        return Found("not applicable", "the cohorts have neither HER2 levels nor clinical variables")
    return Found(
        "present",
        "HER2 by level, abundance by clinical variables",
        ("descriptives", "clinical"),
        tuple(f"tables/{n}" for n in has),
    )


def _interaction(results: Results) -> Found:
    if len(results.strata) < 2:
        return Found("not applicable", "one hormone receptor stratum")
    if not any(e.stratum == results.contrasts[-1] for e in results.every_estimate):
        return Found("absent", "no contrast of the strata in tables/estimates.csv")
    return Found("present", "slopes by HR stratum and their ratio", ("results",), ("tables/estimates.csv",))


def _cohorts(results: Results) -> Found:
    if len(results.cohorts) < 2:
        return Found("not applicable", "one cohort")
    if not results.answered:
        return _NOTHING
    return Found(
        "present", "every cohort's own estimates, and a new cohort's", ("cohorts",), ("tables/estimates.csv",)
    )


def _missing(results: Results) -> Found:
    if not results.study.with_cohorts:
        return Found("not applicable", "no cohort was analysed")
    return Found(
        "present",
        "tumours without what a model needs are left out, each with its reason",
        ("data",),
        ("tables/exclusion_counts.csv",),
    )


def _limits(results: Results) -> Found:
    return (
        Found("present", "what these data cannot say", ("cannot-say", "provenance"))
        if results.answered
        else _NOTHING
    )


def _interpreted(results: Results) -> Found:
    if not results.complete:
        return _NOTHING
    if not findings(results):
        return Found("absent", "no estimate of this run can be told in words")
    return Found(
        "present",
        "probabilities of directions and of practical equivalence; what is open is not called absent",
        ("findings",),
        ("results.md",),
    )


def _twins(results: Results) -> Found:
    rows = [r for name in results.complete for r in results.rows("concordance", name)]
    if not any(r["twin_point"] is not None for r in rows):
        return Found("not applicable", "no frequentist twin")
    return Found(
        "present",
        "each posterior beside its frequentist estimate",
        ("concordance", *results.complete),
        ("tables/concordance.csv",),
    )


def _adjusted(results: Results) -> Found:
    if not results.answered:
        return _NOTHING
    how = results.models["abundance"].adjustment
    word = "no covariate was used" if how == "none" else f"adjusted for {how}"
    return Found("present", word, ("summary", "methods"), ("study.toml",))


_PRIORS = _of_every_model("priors", "every prior with its distribution", ("model",), "distribution")
_REASONS = _of_every_model("priors", "every prior with its reason", ("model",), "why")
_R_HAT = _of_every_model(
    "diagnostics", "rank-normalised R-hat of split chains", ("diagnostics",), "r_hat_max"
)
_ESS = _of_every_model(
    "diagnostics", "bulk and tail effective sample sizes", ("diagnostics",), "ess_bulk_min"
)
_GATES = _of_every_model("prior_predictive", "what the priors predict, held to limits", ("model",))
_NO_FACTORS = _not_applicable("no Bayes factor is reported")
_SAMPLED = _recorded("likelihood and hierarchy of every model in words")

ITEMS: tuple[tuple[str, str, str, Rule], ...] = (
    ("BARG", "preamble B", "goals of the analysis", _goals),
    ("BARG", "1A", "variables that are predicted and that predict", _variables),
    ("BARG", "1B", "likelihood, parameters and hierarchy of every model", _SAMPLED),
    ("BARG", "1C", "priors, explained and justified", _REASONS),
    ("BARG", "1D", "a formal specification of likelihood and priors", _formal),
    ("BARG", "1E", "a prior predictive check", _GATES),
    ("BARG", "2A", "software, with packages", _software),
    ("BARG", "2B", "convergence of the chains, for every reported value", _R_HAT),
    ("BARG", "2C", "resolution of the chains, for every reported value", _ESS),
    (
        "BARG",
        "2D",
        "the inaccuracy of an approximation, where there is no Markov chain",
        _not_applicable("every posterior was sampled"),
    ),
    ("BARG", "3A", "a posterior predictive check", _checks),
    ("BARG", "3B", "summaries of the posterior, with kind and level of intervals", _summaries),
    ("BARG", "3C", "Bayes factors with posterior probabilities of models", _NO_FACTORS),
    ("BARG", "4", "criteria of decisions, and limits of practical equivalence", _criteria),
    ("BARG", "4E", "estimates beside decisions", _summaries),
    ("BARG", "5", "results and decisions under other priors", _sensitivity()),
    ("BARG", "6", "software and its installation", _software),
    ("BARG", "6", "analysis script and data", _script_and_data),
    ("BARG", "6", "seeds of random numbers", _seed),
    ("ROBUST", "1", "prior distribution: what it is", _PRIORS),
    ("ROBUST", "2", "prior distribution: why", _REASONS),
    ("ROBUST", "3", "prior distribution: sensitivity to it", _sensitivity()),
    ("ROBUST", "4", "statistical model", _SAMPLED),
    (
        "ROBUST",
        "5",
        "technique of the analysis",
        _of_every_model("sampling", "sampler with its settings", ("diagnostics", "methods")),
    ),
    ("ROBUST", "6", "central tendency", _summaries),
    ("ROBUST", "7", "spread, or an interval", _summaries),
    ("WAMBS", "1", "priors are understood", _GATES),
    ("WAMBS", "2", "chains converge", _R_HAT),
    (
        "WAMBS",
        "3",
        "convergence holds in a longer run (R-hat sets each chain's second half against its first)",
        _R_HAT,
    ),
    ("WAMBS", "4", "enough draws for the shape of a posterior", _ESS),
    ("WAMBS", "5", "autocorrelation (in the effective sample sizes)", _ESS),
    ("WAMBS", "6", "posteriors make sense of the data", _checks),
    ("WAMBS", "7", "priors of spreads are varied", _sensitivity(*SPREADS)),
    ("WAMBS", "8", "nearly flat priors for comparison", _sensitivity(FLAT)),
    ("WAMBS", "9", "stability under a range of priors", _sensitivity()),
    ("WAMBS", "10", "results in Bayesian words", _interpreted),
    ("REMARK", "1", "marker and objectives", _goals),
    (
        "REMARK",
        "2",
        "who was included and excluded",
        _there("exclusions by reason", ("data",), "exclusion_counts"),
    ),
    ("REMARK", "8", "candidate variables and covariates", _adjusted),
    (
        "REMARK",
        "9",
        "what the number of tumours can resolve",
        _there("detectable ratios before any result", ("precision",), "precision"),
    ),
    ("REMARK", "10", "statistical methods", _SAMPLED),
    (
        "REMARK",
        "11",
        "how values of the marker were handled",
        _there("standardised within strata of a platform", ("data",), "her2_scaling"),
    ),
    ("REMARK", "12", "flow of tumours, with reasons", _there("flow", ("data",), "flow", "exclusion_counts")),
    ("REMARK", "13", "distribution of clinical variables", _table_one),
    ("REMARK", "14", "the marker beside standard variables", _marker_and_standard),
    ("REMARK", "16", "effects with intervals, whatever their P values", _summaries),
    ("REMARK", "18", "validation across cohorts", _cohorts),
    (
        "STROBE",
        "6",
        "eligibility",
        _there("exclusions by reason", ("data",), "exclusion_counts", files=("study.toml",)),
    ),
    ("STROBE", "7", "outcomes, exposure and covariates", _variables),
    (
        "STROBE",
        "8",
        "measurement of the exposure, by cohort",
        _there("measure and platform", ("data",), "her2_scaling"),
    ),
    (
        "STROBE",
        "10",
        "study size",
        _there("detectable ratios before any result", ("precision",), "precision"),
    ),
    ("STROBE", "12b", "subgroups and interactions", _interaction),
    ("STROBE", "12c", "missing data", _missing),
    ("STROBE", "12e", "sensitivity analyses", _sensitivity()),
    ("STROBE", "13", "numbers at each stage", _there("flow", ("data",), "flow")),
    ("STROBE", "14", "descriptive data", _table_one),
    ("STROBE", "16", "estimates with intervals, and adjusted for what", _summaries),
    ("STROBE", "17", "other analyses", _twins),
    ("STROBE", "19", "limitations", _limits),
    ("STROBE", "21", "whether it holds elsewhere", _cohorts),
)
"""Guideline, item, what it asks for, and the rule that looks for it."""
