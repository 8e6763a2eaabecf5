"""One study in several universes, and what depends on the choice: the multiverse, and the sensitivity to priors."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pandas as pd

from bayes_her2 import frequentist
from bayes_her2.bayesian.fit import Fit, Progress
from bayes_her2.bayesian.model import ComparableModel
from bayes_her2.bayesian.power_scaling import log_prior, power_scaling
from bayes_her2.comparison import concordance
from bayes_her2.comparison.multiverse import (
    against_main,
    beside_twin,
    changed_conclusions,
    stability,
    summary,
)
from bayes_her2.data import exclusions_frame
from bayes_her2.errors import AnalysisRefusedError, DataError
from bayes_her2.estimates import Rope
from bayes_her2.preprocessing.zero_policies import changed_values
from bayes_her2.report.load import Rows
from bayes_her2.report.multiverse_page import multiverse_page
from bayes_her2.report.standalone import About, Page, rows_of, write_page
from bayes_her2.workflow.analysis import Job, fit_or_reuse
from bayes_her2.workflow.check import MODEL, check_study
from bayes_her2.workflow.progress import Clock, Draws, Say, silent
from bayes_her2.workflow.results import PROVENANCE, ResultsFolder, about_of, move_in_place, record_of
from bayes_her2.workflow.side_by_side import do_all
from bayes_her2.workflow.universes import MAIN, UNIVERSES, Made, Source, Universe, chosen, scale_words

MakePage = Callable[[Mapping[str, Rows], About, Mapping[str, Sequence[str]]], Page]


@dataclass(frozen=True)
class View:
    """Which universes a study is analysed in, and what is made of it.

    Attributes
    ----------
    kind
        What it is called in titles and provenance; also the name of its page.
    known
        Its universes, the main analysis first.
    words
        What it is called in messages.
    make_page
        Rows of tables, head of the page, and notices by universe -> page.
    scales_priors
        Whether the power-scaling of the main fit is among its tables.
    """

    kind: str
    known: tuple[Universe, ...]
    words: str
    make_page: MakePage
    scales_priors: bool = False

    @property
    def page(self) -> str:
        """File name of its page."""
        return f"{self.kind}.html"

    @property
    def parts(self) -> tuple[str, ...]:
        """What it puts in place, the provenance last: where it stands, the rest belongs to it."""
        return ("tables", "figures", "study.toml", self.page, PROVENANCE)


MULTIVERSE = View(
    "multiverse",
    UNIVERSES,
    "multiverse",
    lambda rows, about, notices: multiverse_page(rows, about, notices=notices),
)


@dataclass(frozen=True)
class UniverseJob:
    """A universe to fit. It can be sent to another process.

    Attributes
    ----------
    name
        Of the universe.
    job
        Model, analysis set and settings.
    gates_priors
        Whether a prior check that is not passed keeps its results back.
    scales_priors
        Whether its power-scaling is wanted.
    """

    name: str
    job: Job
    gates_priors: bool = True
    scales_priors: bool = False


@dataclass(frozen=True)
class UniverseFitted:
    """What one universe gave.

    Attributes
    ----------
    name
        Of the universe.
    reused
        Whether a finished fit was found.
    reasons
        Why nothing of it may be printed; empty if it may.
    rows
        Posterior beside twin (`beside_twin`); no rows where it may not.
    diagnostics
        The gate's figures.
    gates_missed
        Prior checks that are not passed.
    scaling
        Power-scaling of its priors, where it was wanted.
    """

    name: str
    reused: bool
    reasons: tuple[str, ...]
    rows: pd.DataFrame
    diagnostics: pd.DataFrame
    gates_missed: tuple[str, ...] = ()
    scaling: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True)
class MultiverseResult:
    """What a multiverse left behind.

    Attributes
    ----------
    folder
        Results folder: ``tables/multiverse.csv`` (every row), ``multiverse_changed.csv``, ``multiverse_summary.csv``,
        ``multiverse_stability.csv``, ``multiverse_values.csv``, ``multiverse_exclusions.csv``, ``diagnostics.csv``;
        figure, page, fits and ``provenance.json``.
    table, changed, summary
        Every row, the changed conclusions, and the universes.
    left_out
        Universe -> why this study does not have it.
    refused
        Universe -> why its fit may not be printed.
    page
        The page.
    """

    folder: Path
    table: pd.DataFrame
    changed: pd.DataFrame
    summary: pd.DataFrame
    left_out: Mapping[str, str]
    refused: Mapping[str, tuple[str, ...]]
    page: Path


def analyse_universe(
    job: UniverseJob, folder: ResultsFolder, *, say: Say, progress: bool | Progress
) -> UniverseFitted:
    """Fit one universe, check it, and set it beside its twin.

    Parameters
    ----------
    job
        The universe.
    folder
        Where its fit is written, under its name.
    say
        Receives one line per step.
    progress
        As in `fit_model`.
    """
    inner, clock = job.job, Clock(say)
    model, data, study = inner.model, inner.data, inner.study
    with clock(f"{job.name}: sampling the posterior"):
        fit, reused = fit_or_reuse(inner, folder, say=say, progress=progress, name=job.name)
    gates = model.prior_checks(model.build(data, inner.priors), data, study.seed)
    missed = tuple(str(check) for check in gates.loc[~gates["passed"].astype(bool), "check"])
    reasons = [f"prior check not passed: {check}" for check in missed if job.gates_priors]
    reasons += list(fit.diagnostics.reasons)
    diagnostics = fit.diagnostics.table.assign(universe=job.name)
    if reasons:
        return UniverseFitted(job.name, reused, tuple(reasons), pd.DataFrame(), diagnostics)
    decisions = study.decisions
    with clock(f"{job.name}: estimates and frequentist twin"):
        rope = Rope(decisions.rope, decisions.rope_standardised)
        posterior = model.estimates(fit.estimand_draws, data, interval=decisions.interval, rope=rope)
        joined = None
        if not model.TWIN.startswith("none:"):
            twin = getattr(frequentist, model.TWIN)(data, interval=decisions.interval)
            joined = concordance(
                posterior, twin, false_discovery=decisions.false_discovery, alpha=decisions.alpha
            )
        rows = beside_twin(posterior, joined, false_discovery=decisions.false_discovery)
    scaling = pd.DataFrame()
    if job.scales_priors:
        with clock(f"{job.name}: power-scaling of priors and likelihood"):
            scaling = _power_scaling(inner, fit)
    return UniverseFitted(job.name, reused, (), rows, diagnostics, missed, scaling)


def _power_scaling(job: Job, fit: Fit) -> pd.DataFrame:
    """How much pooled results move with groups of the main model's priors, and with the likelihood."""
    model = cast("ComparableModel", job.model)
    terms: Mapping[str, tuple[str, ...]] = model.PRIOR_GROUPS  # type: ignore[attr-defined]
    groups = {
        group: tuple(
            name
            for name in job.priors
            if name.removeprefix("presence_").removeprefix("amount_").startswith(own)
        )
        for group, own in terms.items()
    }
    likelihood = model.log_likelihood(fit.posterior, job.data)
    return power_scaling(fit.estimand_draws, log_prior(fit.posterior, job.priors), likelihood, groups)


def multiverse_study(
    path: Path | str,
    out: Path | str,
    *,
    only: Sequence[str] = (),
    at_once: int = 1,
    say: Say = silent,
    draws: Draws | None = None,
    scheduler: str = "",
) -> MultiverseResult:
    """Analyse a study in every universe that it can have, and say which conclusions depend on the choice.

    Parameters
    ----------
    path
        Study file.
    out
        Folder for the multiverse, another than that of a run; finished fits found there are reused.
    only
        Names of universes; none for all. The main analysis is always among them.
    at_once
        Universes to fit at the same time.
    say, draws
        As in `run_study`.
    scheduler
        Address of a Dask scheduler whose workers do the fits; '' for this machine. They see the folder, and have one
        thread each.

    Raises
    ------
    DataError
        Bad input: nothing is written.
    AnalysisRefusedError
        The main analysis did not pass its gates, or the study has no other universe.
    """
    return study_in_universes(
        path, out, MULTIVERSE, only=only, at_once=at_once, say=say, draws=draws, scheduler=scheduler
    )


def study_in_universes(
    path: Path | str,
    out: Path | str,
    view: View,
    *,
    only: Sequence[str] = (),
    at_once: int = 1,
    say: Say = silent,
    draws: Draws | None = None,
    scheduler: str = "",
) -> MultiverseResult:
    """Analyse a study in every universe of a view that it can have.

    Parameters
    ----------
    path, out, only, at_once, say, draws, scheduler
        As in `multiverse_study`.
    view
        The universes, and the page that is made of them.

    Raises
    ------
    DataError, AnalysisRefusedError
        As in `multiverse_study`.
    """
    started = dt.datetime.now(dt.UTC)
    wanted = chosen(tuple(only), view.known)
    clock = Clock(say)
    with clock("Reading and preparing the files"):
        checked = check_study(path, only=(MODEL,))
    if checked.prepared is None:
        raise DataError("the study has no [[cohort]]: there is nothing to analyse in other ways.")
    source = Source(checked.study, checked.prepared.cohorts, checked.prepared.tumours)
    with clock("Making the universes"):
        universes, made, left_out = _made(wanted, source, by_name=bool(only))
    main = made[MAIN]
    jobs, fit_of = _jobs(universes, made, scales_priors=view.scales_priors)
    folder = ResultsFolder(Path(out))
    priors = {job.name: job.job.priors_hash for job in jobs}
    study = checked.study
    with folder.opened(study.decisions_hash, priors, f"{study.name}: {view.kind}"):
        folder.text("study.toml", study.path.read_text(encoding="utf-8"))
        with clock(f"Fitting {len(jobs)} universes"):
            done = do_all(
                jobs, analyse_universe, folder, at_once=at_once, say=say, draws=draws, scheduler=scheduler
            )
        by_fit = {one.name: one for one in done}
        refused = {
            u.name: by_fit[fit_of[u.name]].reasons for u in universes if by_fit[fit_of[u.name]].reasons
        }
        printed = [u for u in universes if u.name not in refused]
        if MAIN in refused or len(printed) < 2:
            raise AnalysisRefusedError(
                [
                    f"A {view.words} needs the main analysis and another universe that passed their gates:",
                    *(f"  {name}: {reason}" for name, reasons in refused.items() for reason in reasons),
                    *(f"  {name}: {reason}" for name, reason in left_out.items()),
                ]
            )
        with clock("Conclusions against the main analysis"):
            sides = {u.name: by_fit[fit_of[u.name]].rows for u in printed}
            reads = {u.name: [(r.estimand, r.main_estimand) for r in u.reads] for u in printed}
            table = against_main(
                sides, reads, main=MAIN, interval=study.decisions.interval, alpha=study.decisions.alpha
            )
            values = _values(printed, made)
            exclusions = _exclusions(printed, made)
            about = _about(wanted, universes, made, fit_of, by_fit, left_out, refused)
            tables = {
                "multiverse": table,
                "multiverse_changed": changed_conclusions(table),
                "multiverse_summary": summary(table, about, values),
                "multiverse_stability": stability(table, main=MAIN),
                "multiverse_values": values,
                "multiverse_exclusions": exclusions,
                "diagnostics": pd.concat([one.diagnostics for one in done], ignore_index=True),
            }
            if view.scales_priors:
                tables["power_scaling"] = by_fit[fit_of[MAIN]].scaling
        with clock("Tables, figure and page"):
            page = view.make_page(
                {name: rows_of(content) for name, content in tables.items()},
                about_of(study, main.data.measure),
                _notices(printed, made),
            )
            for name, content in tables.items():
                folder.table(name, content)
            write_page(page, folder.staging, view.page)
        folder.provenance(
            record_of(study, started, checked.files, clock.seconds)
            | {
                "kind": view.kind,
                "universes": {
                    u.name: {
                        "model": u.model,
                        "fit": fit_of[u.name],
                        "fingerprint": made[u.name].data.fingerprint,
                        "priors_hash": priors[fit_of[u.name]],
                        "reused": by_fit[fit_of[u.name]].reused,
                    }
                    for u in universes
                },
                "left_out": left_out,
                "refused": refused,
            }
        )
        move_in_place(folder.staging, folder.out, view.parts)
        return MultiverseResult(
            folder.out,
            table,
            tables["multiverse_changed"],
            tables["multiverse_summary"],
            left_out,
            refused,
            folder.out / view.page,
        )


def _made(
    wanted: Sequence[Universe], source: Source, *, by_name: bool
) -> tuple[list[Universe], dict[str, Made], dict[str, str]]:
    """Make the universes that the study can have; the others with the reason."""
    universes: list[Universe] = []
    made: dict[str, Made] = {}
    left_out: dict[str, str] = {}
    for universe in wanted:
        try:
            one = universe.made(source)
            same = _key(universe, one) == _key(universes[0], made[MAIN]) if made else False
            if same and universe.refits:
                raise DataError("it changes nothing in this study.")
            _ = Job(universe.model, one.data, one.study).priors_hash  # overrides that the model does not have
        except DataError as error:
            if universe.name == MAIN:
                raise
            left_out[universe.name] = " ".join(error.faults)
            continue
        made[universe.name] = one
        universes.append(scale_words(universe, one, made[MAIN]))
    if by_name and len(universes) < 2:
        raise DataError(
            [f"{name}: {why}" for name, why in left_out.items()]
            or [f"--only {MAIN}: names the main analysis alone. Name another universe."]
        )
    return universes, made, left_out


def _key(universe: Universe, made: Made) -> tuple[str, str, str]:
    return universe.model, made.data.fingerprint, Job(universe.model, made.data, made.study).priors_hash


def _jobs(
    universes: Sequence[Universe], made: Mapping[str, Made], *, scales_priors: bool = False
) -> tuple[list[UniverseJob], dict[str, str]]:
    """One job for each distinct fit, and which fit each universe is read from."""
    jobs: dict[tuple[str, str, str], UniverseJob] = {}
    fit_of: dict[str, str] = {}
    for universe in universes:
        one = made[universe.name]
        key = _key(universe, one)
        if key not in jobs:
            jobs[key] = UniverseJob(
                universe.name,
                Job(universe.model, one.data, one.study),
                universe.gates_priors,
                scales_priors and universe.name == MAIN,
            )
        fit_of[universe.name] = jobs[key].name
    return list(jobs.values()), fit_of


def _values(universes: Sequence[Universe], made: Mapping[str, Made]) -> pd.DataFrame:
    """Values that each universe changes or leaves out, of the tumours that it shares with the main analysis.

    Dropping zeros leaves each of them out. A dichotomy keeps no value as it is: each becomes high or not high, or goes
    with its cell type.
    """
    main = made[MAIN].data
    tables = []
    for universe in universes[1:]:
        one = made[universe.name]
        used = one.used
        if used is None:
            used = pd.DataFrame(float("nan"), index=list(main.cohorts), columns=main.abundance.columns)
        counted = changed_values(main.abundance, one.data.abundance, main.tumours["cohort"], used)
        if universe.model == "high_abundance":
            counted = counted.assign(n_changed=counted["n"])
        elif not universe.refits:
            counted = counted.assign(n_changed=counted["n_zero_before"], n_zero_after=0)
        tables.append(counted.assign(universe=universe.name))
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=_VALUES)
    return table[_VALUES]


_VALUES = ["universe", "cohort", "cell_type", "n", "n_changed", "n_zero_before", "n_zero_after", "value_used"]


def _exclusions(universes: Sequence[Universe], made: Mapping[str, Made]) -> pd.DataFrame:
    """Tumours that a universe loses or gains against the main analysis, with the reason where it loses them."""
    columns = ["universe", "tumour", "change", "step", "reason"]
    main = made[MAIN].data.tumours.index
    rows: list[dict[str, Any]] = []
    for universe in universes:
        data = made[universe.name].data
        logged = exclusions_frame(data.exclusions)
        reasons = {
            f"{row.cohort}/{row.tumour}": (str(row.step), str(row.reason)) for row in logged.itertuples()
        }
        for label in sorted(main.difference(data.tumours.index)):
            step, reason = reasons.get(str(label), ("", "no longer eligible"))
            rows.append(
                {"universe": universe.name, "tumour": label, "change": "lost", "step": step, "reason": reason}
            )
        rows += [
            {"universe": universe.name, "tumour": label, "change": "gained", "step": "", "reason": ""}
            for label in sorted(data.tumours.index.difference(main))
        ]
    return pd.DataFrame(rows, columns=columns)


def _about(
    wanted: Sequence[Universe],
    universes: Sequence[Universe],
    made: Mapping[str, Made],
    fit_of: Mapping[str, str],
    by_fit: Mapping[str, UniverseFitted],
    left_out: Mapping[str, str],
    refused: Mapping[str, tuple[str, ...]],
) -> pd.DataFrame:
    """Describe every universe, fitted or not: ``universe``, ``title``, ``what``, ..., ``status``, ``reason``."""
    as_made = {u.name: u for u in universes}
    main = made[MAIN].data
    rows = []
    for asked in wanted:
        universe = as_made.get(asked.name, asked)
        row: dict[str, Any] = {
            "universe": universe.name,
            "title": universe.title,
            "what": universe.what,
            "model": universe.model,
            "estimand": universe.reads[0].estimand,
            "reading": universe.reading,
        }
        if universe.name in left_out:
            row |= {"status": "left out", "reason": left_out[universe.name]}
        else:
            data = made[universe.name].data
            scaling = data.her2_scaling["sd"]
            gate = by_fit[fit_of[universe.name]].diagnostics
            row |= {
                "status": "refused" if universe.name in refused else "fitted",
                "reason": "; ".join(refused.get(universe.name, ())),
                "fit": fit_of[universe.name],
                "n_tumours": len(data.tumours),
                "n_lost": len(main.tumours.index.difference(data.tumours.index)),
                "n_cell_types": len(data.abundance.columns),
                "her2_sd": ", ".join(f"{sd:.3f} ({platform})" for platform, sd in scaling.items()),
                "adjustment": data.adjustment,
                "r_hat_max": gate["r_hat_max"].max(),
                "ess_min": gate[["ess_bulk_min", "ess_tail_min"]].min(axis=None),
                "prior_checks_missed": "; ".join(by_fit[fit_of[universe.name]].gates_missed),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def _notices(universes: Sequence[Universe], made: Mapping[str, Made]) -> dict[str, tuple[str, ...]]:
    """Notices of the main analysis, and of every universe those that it has on top."""
    own = made[MAIN].data.notices
    found = {MAIN: own}
    for universe in universes[1:]:
        further = tuple(text for text in made[universe.name].data.notices if text not in own)
        if further:
            found[universe.name] = further
    return found
