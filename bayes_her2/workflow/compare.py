"""Rival models of the same tumours: fitted, gated, and compared by how well they predict."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from bayes_her2.bayesian.density import MAX_REPLICATES
from bayes_her2.bayesian.fit import Fit, Progress, read_fit
from bayes_her2.bayesian.model import ALTERNATIVES, ComparableModel, alternatives_to, load_model, unsuited
from bayes_her2.comparison.models import (
    Candidate,
    ModelComparison,
    compare_models,
    compare_refits,
    conclusions,
)
from bayes_her2.comparison.scores import Forecast, ProperScores, proper_scores
from bayes_her2.comparison.transfer import cohorts_predicted
from bayes_her2.data import AnalysisSet
from bayes_her2.errors import AnalysisRefusedError, DataError
from bayes_her2.estimates import Estimates, Rope
from bayes_her2.report.comparison_page import comparison_page
from bayes_her2.report.standalone import rows_of, write_page
from bayes_her2.workflow.analysis import Job, fit_or_reuse
from bayes_her2.workflow.check import MODEL, check_study
from bayes_her2.workflow.progress import Clock, Draws, Say, silent
from bayes_her2.workflow.refits import Refit, Refits, cohorts_of, do_refit, folds_of
from bayes_her2.workflow.results import PROVENANCE, ResultsFolder, about_of, move_in_place, record_of
from bayes_her2.workflow.side_by_side import Done, do_all

PAGE = "comparison.html"
PARTS = ("tables", "figures", "study.toml", PAGE, PROVENANCE)

FOLDS = 5
"""Folds where the importance weights of some tumour cannot be trusted, unless the user names another number."""

DEFAULT_KIND = "likelihood"


@dataclass(frozen=True)
class ComparedModels:
    """What a comparison left behind.

    Attributes
    ----------
    folder
        Results folder: tables, figures, the fits in ``posterior``, scores of refits in ``refits``, ``provenance.json``.
    page
        The page, ``comparison.html``.
    comparison
        Leave-one-tumour-out cross-validation of the models whose densities can be compared with the main model's; None
        where there is no second one.
    scores
        Proper scores on the scale of the data, of all models.
    folds
        K-fold cross-validation; None where no tumour asked for it.
    cohorts
        Leave-one-cohort-out: see `bayes_her2.comparison.transfer.cohorts_predicted`. Empty for one cohort.
    conclusions
        Rows of the alternatives beside the main model's.
    refused, left_out
        Model -> why it is not in the comparison: its gates, or data that it is no model of.
    """

    folder: Path
    page: Path
    comparison: ModelComparison | None
    scores: ProperScores
    folds: pd.DataFrame | None
    cohorts: pd.DataFrame
    conclusions: pd.DataFrame
    refused: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, str]


@dataclass
class _Fitted:
    """Models that passed their gates, and what became of the others."""

    jobs: dict[str, Job] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
    forecasts: list[Forecast] = field(default_factory=list)
    estimates: list[pd.DataFrame] = field(default_factory=list)
    diagnostics: list[pd.DataFrame] = field(default_factory=list)
    refused: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def add(self, job: Job, fit: Fit) -> None:
        """Take in a fit: log likelihood, forecasts and estimates."""
        model, data, study = cast("ComparableModel", job.model), cast("AnalysisSet", job.data), job.study
        self.jobs[job.name] = job
        self.candidates.append(
            Candidate(
                job.name,
                data.fingerprint,
                model.OUTCOME,
                model.MEASURE,
                model.log_likelihood(fit.posterior, data),
            )
        )
        rng = np.random.default_rng([study.seed, 5])
        self.forecasts.append(
            Forecast(
                job.name,
                model.replicate(fit.posterior, data, rng, max_draws=MAX_REPLICATES),
                model.log_likelihood(fit.posterior, data, max_draws=MAX_REPLICATES),
            )
        )
        decisions = study.decisions
        rope = Rope(decisions.rope, decisions.rope_standardised)
        rows: Estimates = model.estimates(fit.estimand_draws, data, interval=decisions.interval, rope=rope)
        self.estimates.append(rows.table.assign(model=job.name))

    @property
    def with_main_density(self) -> list[Candidate]:
        """Models whose densities can be compared with the main model's, which is the first."""
        main = self.candidates[0]
        return [c for c in self.candidates if (c.outcome, c.measure) == (main.outcome, main.measure)]


def compare_study(
    path: Path | str,
    out: Path | str,
    *,
    models: Sequence[str] = (),
    folds: int | None = None,
    cohorts_out: bool = True,
    at_once: int = 1,
    scheduler: str = "",
    say: Say = silent,
    draws: Draws | None = None,
) -> ComparedModels:
    """Fit the main model and its alternatives to the same tumours of a study, and compare them.

    Parameters
    ----------
    path
        Study file.
    out
        Folder for the comparison, another than that of a run; finished fits and scores found there are reused.
    models
        Alternatives or kinds of them; none for the likelihoods. The main model is always among the compared.
    folds
        Folds of an exact K-fold cross-validation of all models. None: 5 where the importance weights of some tumour are
        not to be trusted (Pareto k), of the models with such a tumour, the best and the main model; 0: never.
    cohorts_out
        Whether each cohort is predicted from the others, by refits: of the main model, and of likelihoods that are
        named in `models`.
    at_once, say, draws
        As in `run_study`: of the fits, and of the refits.
    scheduler
        Address of a Dask scheduler whose workers do the fits; '' for this machine.

    Raises
    ------
    DataError
        Bad input: nothing is written.
    AnalysisRefusedError
        The main model, or every alternative, did not pass its gates.
    """
    started = dt.datetime.now(dt.UTC)
    if folds is not None and (folds < 0 or folds == 1):
        raise DataError(f"--folds {folds}: give 2 or more, or 0 for none.")
    names = [MODEL, *alternatives_of(models)]
    clock = Clock(say)
    with clock("Reading and preparing the files"):
        checked = check_study(path, only=(MODEL,))
    study, data = checked.study, checked.sets[MODEL]
    names, left_out = _suited(names, data, asked=models)
    for name, reason in left_out.items():
        say(f"{name} is left out: {reason}")
    jobs = [Job(name, data, study) for name in names]
    folder = ResultsFolder(Path(out))
    # Not the folder of a run: what a comparison puts in place would take the place of the report.
    with folder.opened(
        study.decisions_hash, {job.name: job.priors_hash for job in jobs}, f"{study.name}: rival models"
    ):
        folder.text("study.toml", study.path.read_text(encoding="utf-8"))

        do = partial(do_all, folder=folder, at_once=at_once, say=say, draws=draws, scheduler=scheduler)
        with clock(f"Fitting {len(jobs)} models"):
            do(jobs, fit_alone)
        fitted = _taken_in(jobs, folder, clock)
        if MODEL in fitted.refused or len(fitted.candidates) < 2:
            raise AnalysisRefusedError(
                [
                    "A comparison needs the main model and an alternative that passed their gates:",
                    *(
                        f"  {name}: {reason}"
                        for name, reasons in fitted.refused.items()
                        for reason in reasons
                    ),
                ]
            )
        comparable = fitted.with_main_density
        with clock("Leave-one-tumour-out cross-validation, and scores"):
            compared = compare_models(comparable) if len(comparable) > 1 else None
            scores = proper_scores(fitted.forecasts, data.abundance, _presence_modelled(data))
        n_folds, refitted = _asked_in_folds(compared.table, folds) if compared is not None else (0, [])
        in_each = {name: folds_of(fitted.jobs[name], n_folds) for name in refitted} if n_folds else {}
        predicted = [
            name
            for name, job in fitted.jobs.items()
            if cohorts_out
            and len(data.cohorts) > 1
            and (name == MODEL or name in models)
            and hasattr(job.model, "DENSITY")
        ]
        without = {name: cohorts_of(fitted.jobs[name]) for name in predicted}
        refits = [refit for own in in_each.values() for refit in own]
        refits += [refit for possible, _ in without.values() for refit in possible.values()]
        with clock(f"Fitting without single folds and cohorts, {len(refits)} times"):
            done = {one.name: one for one in do(refits, do_refit)} if refits else {}
        in_folds = _in_folds(in_each, done, say)
        cohorts, pieces = _cohorts_predicted(without, done)
        estimates = pd.concat(fitted.estimates)
        changed = conclusions(estimates, MODEL)
        tables = {
            "model_comparison": compared.table if compared is not None else pd.DataFrame(),
            "model_comparison_tumours": compared.pointwise.reset_index()
            if compared is not None
            else pd.DataFrame(),
            "k_fold": in_folds if in_folds is not None else pd.DataFrame(),
            "proper_scores": scores.table,
            "cohorts_predicted": cohorts,
            "cohorts_predicted_cell_types": pieces,
            "conclusions": changed,
            "models": _about(names),
            "estimates": estimates,
            "diagnostics": pd.concat(fitted.diagnostics, ignore_index=True),
        }
        with clock("Tables, figures and page"):
            page = comparison_page(
                {name: rows_of(table) for name, table in tables.items()},
                about_of(study, data.measure),
                refused=fitted.refused,
                left_out=left_out,
            )
            for name, table in tables.items():
                if len(table):
                    folder.table(name, table)
            write_page(page, folder.staging, PAGE)
        folder.provenance(
            record_of(study, started, checked.files, clock.seconds)
            | {
                "fingerprint": data.fingerprint,
                "models": [c.model for c in fitted.candidates],
                "refused": fitted.refused,
                "left_out": left_out,
            }
        )
        move_in_place(folder.staging, folder.out, PARTS)
        return ComparedModels(
            folder=folder.out,
            page=folder.out / PAGE,
            comparison=compared,
            scores=scores,
            folds=in_folds,
            cohorts=cohorts,
            conclusions=changed,
            refused=fitted.refused,
            left_out=left_out,
        )


def alternatives_of(asked: Sequence[str]) -> list[str]:
    """Return the alternatives to fit, in the order in which they are listed.

    Parameters
    ----------
    asked
        Alternatives or kinds of them; none for the default kind.

    Raises
    ------
    DataError
        An unknown name, or no alternative.
    """
    kinds, known = ALTERNATIVES[MODEL], alternatives_to(MODEL)
    unknown = [name for name in asked if name not in (*known, *kinds, MODEL)]
    if unknown:
        raise DataError(
            f"--model {', '.join(unknown)}: not an alternative to {MODEL}; known: {', '.join(known)}; "
            f"or all of a kind: {', '.join(kinds)}."
        )
    wanted = asked or (DEFAULT_KIND,)
    chosen = [name for kind, names in kinds.items() for name in names if name in wanted or kind in wanted]
    if not chosen:
        raise DataError(
            f"--model {MODEL}: names the main model alone. Name an alternative: {', '.join(known)}."
        )
    return chosen


def _suited(
    names: Sequence[str], data: AnalysisSet, *, asked: Sequence[str]
) -> tuple[list[str], dict[str, str]]:
    """Models that can have these data; the others are left out with the reason, or refused if asked for by name."""
    reasons = {name: unsuited(load_model(name), data) for name in names}
    wrong = {name: reason for name, reason in reasons.items() if reason}
    faults = [f"--model {name}: {reason}" for name, reason in wrong.items() if name in asked]
    if faults:
        raise DataError(faults)
    return [name for name in names if name not in wrong], wrong


def fit_alone(job: Job, folder: ResultsFolder, *, say: Say, progress: bool | Progress) -> Done:
    """Fit one model, or find its finished fit; nothing else is done with it."""
    with Clock(say)(f"{job.name}: sampling the posterior"):
        fit_or_reuse(job, folder, say=say, progress=progress)
    return Done(job.name)


def _taken_in(jobs: Sequence[Job], folder: ResultsFolder, clock: Clock) -> _Fitted:
    """Check the gates of every fit, and keep what the comparison needs."""
    fitted = _Fitted()
    for job in jobs:
        with clock(f"{job.name}: log likelihood of every tumour, forecasts and estimates"):
            fit = read_fit(folder.posterior / f"{job.name}.nc")
            fitted.diagnostics.append(fit.diagnostics.table.assign(model=job.name))
            gates = job.model.prior_checks(job.model.build(job.data, job.priors), job.data, job.study.seed)
            reasons = [f"prior check not passed: {check}" for check in gates.loc[~gates["passed"], "check"]]
            reasons += list(fit.diagnostics.reasons)
            if reasons:
                fitted.refused[job.name] = tuple(reasons)
            else:
                fitted.add(job, fit)
    return fitted


def _presence_modelled(data: AnalysisSet) -> pd.DataFrame:
    """Whether presence is modelled, tumour x cell type."""
    wide = data.parts.pivot(index="stratum", columns="cell_type", values="presence_modelled").astype(bool)
    return wide.loc[data.tumours["hr"], list(data.abundance.columns)].set_axis(data.tumours.index)


def _asked_in_folds(table: pd.DataFrame, folds: int | None) -> tuple[int, list[str]]:
    """Folds, and the models to refit in them: all where folds are asked for, else those that need it beside two."""
    names = [str(name) for name in table["model"]]
    if folds is not None:
        return folds, names
    high = {str(name) for name in table.loc[table["n_k_high"] > 0, "model"]}
    if not high:
        return 0, []
    needed = {MODEL, names[0], *high}
    needed |= set(names[:2]) if len(needed) < 2 else set()
    return FOLDS, [name for name in names if name in needed]


def _in_folds(
    refits: Mapping[str, Sequence[Refit]], done: Mapping[str, Refits], say: Say
) -> pd.DataFrame | None:
    """Compare models by K-fold; a model that fails in a fold is left out of it, with a line that says so."""
    elpd: dict[str, pd.Series] = {}
    n_folds = 0
    for name, own in refits.items():
        n_folds = len(own)
        found = [done[refit.name] for refit in own]
        reasons = [reason for one in found for reason in one.reasons]
        if reasons:
            say(f"{name} is not in the {n_folds}-fold cross-validation: {reasons[0]}")
            continue
        scores = pd.concat([one.table for one in found]).set_index("tumour")["elpd"]
        elpd[name] = scores.loc[list(cast("AnalysisSet", own[0].job.data).tumours.index)]
    if len(elpd) < 2:
        return None
    return compare_refits(pd.DataFrame(elpd)).assign(n_folds=n_folds)


def _cohorts_predicted(
    without: Mapping[str, tuple[Mapping[str, Refit], Mapping[str, Refits]]], done: Mapping[str, Refits]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put together what models say of cohorts that they have not seen, or why they say nothing."""
    if not without:
        return pd.DataFrame(), pd.DataFrame()
    found: dict[tuple[str, str], tuple[pd.DataFrame, tuple[str, ...]]] = {}
    for model, (possible, impossible) in without.items():
        of_model = {cohort: done[refit.name] for cohort, refit in possible.items()} | dict(impossible)
        found |= {(model, cohort): (one.table, one.reasons) for cohort, one in of_model.items()}
    return cohorts_predicted(found)


def _about(names: Sequence[str]) -> pd.DataFrame:
    """Say what each model asks, and what its density is."""
    rows = []
    for name in names:
        model = cast("ComparableModel", load_model(name))
        rows.append((name, model.QUESTION, model.OUTCOME, model.MEASURE))
    return pd.DataFrame(rows, columns=["model", "question", "outcome", "measure"])
