"""Models fitted again without some tumours, and scored on these: K-fold and leave-one-cohort-out, resumable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from nutpie.sample import CompiledModel
from scipy.special import logsumexp

from bayes_her2.bayesian import density as density_module
from bayes_her2.bayesian import transfer as transfer_module
from bayes_her2.bayesian.compilation import compiled
from bayes_her2.bayesian.fit import Fit, Progress, fit_hash, fit_model
from bayes_her2.bayesian.model import ComparableModel
from bayes_her2.bayesian.prepared import Prepared, prepared, rows_can_be_left_out
from bayes_her2.bayesian.transfer import Transfer, halves, transfer
from bayes_her2.comparison.models import stratified_folds
from bayes_her2.data import AnalysisSet
from bayes_her2.estimates import write_table
from bayes_her2.hashing import hash_of, source_hash
from bayes_her2.inputs.tables import read_table
from bayes_her2.workflow.analysis import Job
from bayes_her2.workflow.progress import Say
from bayes_her2.workflow.results import ResultsFolder


@dataclass(frozen=True)
class Refit:
    """A model to be fitted without some tumours: a job that any process can do.

    Attributes
    ----------
    job
        Model, analysis set of all tumours, settings; priors are those of the whole set.
    label
        What is left out, in words.
    out
        Tumours that the fit does not see.
    cohort
        Whether they are a cohort, predicted from the others (`bayes_her2.bayesian.transfer`), and not a fold.
    """

    job: Job
    label: str
    out: tuple[str, ...]
    cohort: bool = False

    @property
    def name(self) -> str:
        """Model and what is left out."""
        return f"{self.job.name}, {self.label}"

    @property
    def train(self) -> AnalysisSet:
        """The other tumours."""
        data = cast("AnalysisSet", self.job.data)
        return data.subset([str(t) for t in data.tumours.index.drop(list(self.out))], own_parts=self.cohort)


@dataclass(frozen=True)
class Refits:
    """Scores of tumours under a fit that had not seen them.

    Attributes
    ----------
    name
        Of the refit.
    table
        Scores; empty where a fit did not pass its gate. Of a fold: ``tumour``, ``elpd``. Of a cohort: rows of tumours
        (``kind`` tumour: ``label``, ``hr``, ``elpd``, ``elpd_without``, ``gain``) and of cell types (``kind`` cell
        type: ``label``, ``gain``, ``gain_se``, ``n``), with ``n_calibration``.
    reasons
        Why there are none.
    """

    name: str
    table: pd.DataFrame
    reasons: tuple[str, ...] = ()


def folds_of(job: Job, n_folds: int) -> list[Refit]:
    """Fits of a model without each fold of the tumours.

    Parameters
    ----------
    job
        Model, analysis set, settings.
    n_folds
        Number of folds, dealt by the study's seed within cohort and HR stratum: the same for every model.
    """
    data = cast("AnalysisSet", job.data)
    folds = stratified_folds(data.tumours, n_folds, np.random.default_rng([job.study.seed, 2]))
    return [
        Refit(job, f"fold {fold + 1} of {n_folds}", tuple(str(t) for t in folds.index[folds == fold]))
        for fold in range(n_folds)
    ]


def cohorts_of(job: Job) -> tuple[dict[str, Refit], dict[str, Refits]]:
    """Fits of a model without each cohort, and why others cannot be predicted, both by cohort."""
    data = cast("AnalysisSet", job.data)
    possible: dict[str, Refit] = {}
    impossible: dict[str, Refits] = {}
    for cohort in data.cohorts:
        inside = data.tumours["cohort"] == cohort
        unseen = set(data.tumours.loc[inside, "hr"]) - set(data.tumours.loc[~inside, "hr"])
        out = tuple(str(t) for t in data.tumours.index[inside])
        refit = Refit(job, f"without {cohort}", out, cohort=True)
        if set(data.tumours.loc[inside, "hr"]) == unseen:
            strata = " or ".join(sorted(unseen))
            why = f"no tumour of the other cohorts is {strata}: they say nothing about it"
            impossible[cohort] = Refits(refit.name, pd.DataFrame(), (why,))
        else:
            possible[cohort] = refit
    return possible, impossible


def do_refit(job: Refit, folder: ResultsFolder, *, say: Say, progress: bool | Progress) -> Refits:
    """Fit to the other tumours and score those left out, or take up the scores of an earlier run.

    Parameters
    ----------
    job
        Model, and what is left out.
    folder
        Scores are kept in its ``refits``; draws are not kept.
    say
        Receives one line.
    progress
        As in `fit_model`.
    """
    own, train = job.job, job.train
    path = _path(job, train, folder)
    if path.exists():
        say(f"{job.name}: finished scores are reused")
        return Refits(job.name, _typed(read_table(path, shown_as=path.name).frame))
    say(f"{job.name}: {len(train.tumours)} tumours are fitted")
    ready = None if job.cohort else partial(_compiled_without, own, list(job.out), train)
    fit = fit_model(own.model, train, own.priors, own.sampling, progress=progress, ready=ready)
    if not fit.diagnostics.passed:
        reasons = tuple(f"{job.label}: {reason}" for reason in fit.diagnostics.reasons)
        return Refits(job.name, pd.DataFrame(), reasons)
    score = _score_of_cohort if job.cohort else _score_of_fold
    found = _scored(job, partial(score, job, fit, train))
    if not found.reasons:
        stem = path.stem.rsplit("-", 1)[0]
        for old in path.parent.glob(f"{stem}-*.csv"):
            old.unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(found.table, path)
    return found


def _path(job: Refit, train: AnalysisSet, folder: ResultsFolder) -> Path:
    code = source_hash((*(Path(str(m.__file__)) for m in (density_module, transfer_module)), Path(__file__)))
    own, data = job.job, cast("AnalysisSet", job.job.data)
    key = hash_of(
        {
            "fit": fit_hash(own.model, train, own.priors, own.sampling),
            "code": code,
            "scored": data.fingerprint,
            "label": job.label,
        }
    )
    stem = "".join(c if c.isalnum() or c in "._-" else "_" for c in f"{own.name}-{job.label}")
    return folder.out / "refits" / f"{stem}-{key[:16]}.csv"


def _score_of_fold(job: Refit, fit: Fit, train: AnalysisSet) -> pd.DataFrame:
    """Log predictive density of each tumour of the fold."""
    model, data = cast("ComparableModel", job.job.model), cast("AnalysisSet", job.job.data)
    values = model.log_likelihood(fit.posterior, data, tumours=list(job.out))
    flat = values.stack(sample=("chain", "draw")).transpose("sample", "tumour").to_numpy()
    return pd.DataFrame({"tumour": job.out, "elpd": logsumexp(flat, axis=0) - np.log(len(flat))})


def _score_of_cohort(job: Refit, fit: Fit, train: AnalysisSet) -> pd.DataFrame:
    """Half of the cohort's tumours, with levels and shapes integrated over what the other half says of them."""
    own, data = job.job, cast("AnalysisSet", job.job.data)
    seed = own.study.seed
    calibration, scored = halves(data.tumours.loc[list(job.out)], np.random.default_rng([seed, 3]))
    made = transfer(
        fit.posterior,
        train,
        data,
        own.model.DENSITY,  # type: ignore[attr-defined]
        own.priors,
        np.random.default_rng([seed, 4]),
        calibration=calibration,
        scored=scored,
    )
    return _rows(made)


_PREPARED: dict[str, Prepared] = {}
"""The model of all tumours that a fold was last made of, by its hash: a fold is this model, its tumours not counted."""


def _compiled_without(job: Job, out: list[str], train: AnalysisSet) -> CompiledModel:
    """Give the model of `train`, which is all tumours but these."""
    build, priors = job.model.build, job.priors
    own = build(train, priors)
    if job.sampling.backend != "numba" or not rows_can_be_left_out(own):
        return compiled(own, job.sampling.backend)
    key = fit_hash(job.model, job.data, priors, job.sampling)
    if key not in _PREPARED:
        graph = build(job.data, priors)
        _PREPARED.clear()
        _PREPARED[key] = prepared(graph, compiled(graph))
    whole = _PREPARED[key]
    return whole.without(out) if whole.serves(own) else compiled(own)


def _rows(made: Transfer) -> pd.DataFrame:
    tumours = made.tumours.rename_axis("label").reset_index().assign(kind="tumour")
    cells = made.cell_types.rename_axis("label").reset_index().rename(columns={"n_scored": "n"})
    rows = pd.concat([tumours, cells.assign(kind="cell type")], ignore_index=True)
    return rows.assign(n_calibration=made.n_calibration)


def _scored(job: Refit, score: Callable[[], pd.DataFrame]) -> Refits:
    """Scores, or why they are none: a level that was not found, a tumour without a finite density."""
    try:
        table = score()
    except ArithmeticError as error:
        return Refits(job.name, pd.DataFrame(), (f"{job.label}: {error}",))
    lost = int((~np.isfinite(table.loc[_of_tumours(table), "elpd"])).sum())
    if lost:
        why = f"{job.label}: {lost} of its tumours have no finite density under the model"
        return Refits(job.name, pd.DataFrame(), (why,))
    return Refits(job.name, table)


def _of_tumours(table: pd.DataFrame) -> pd.Series[bool]:
    """Which rows are of tumours, not of cell types."""
    return table["kind"].eq("tumour") if "kind" in table else pd.Series(data=True, index=table.index)


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers as numbers: what is read is text."""
    texts = ("tumour", "label", "kind", "hr")

    def as_number(column: pd.Series[Any]) -> pd.Series[Any]:
        return column if column.name in texts else pd.to_numeric(column)

    return table.apply(as_number)
