"""Models fitted again without some tumours, and scored on these: K-fold and leave-one-cohort-out, resumable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
class Refits:
    """Scores of tumours under fits that had not seen them.

    Attributes
    ----------
    table
        Scores as the caller made them; empty where a fit did not pass its gate.
    reasons
        Why there are none.
    """

    table: pd.DataFrame
    reasons: tuple[str, ...] = ()


def k_fold(
    job: Job, n_folds: int, folder: ResultsFolder, *, say: Say, progress: Callable[[str], bool | Progress]
) -> Refits:
    """Log predictive density of each tumour under the fit to the other folds.

    Parameters
    ----------
    job
        Model, analysis set, settings; priors are those of the whole set.
    n_folds
        Number of folds, dealt by the study's seed within cohort and HR stratum.
    folder
        Finished folds are kept in its ``refits``.
    say
        Receives one line per fold.
    progress
        Label of a fit -> what `fit_model` takes.

    Returns
    -------
    Refits
        Index ``tumour``; ``elpd``, ``fold``.
    """
    data = cast("AnalysisSet", job.data)
    model = cast("ComparableModel", job.model)
    folds = stratified_folds(data.tumours, n_folds, np.random.default_rng([job.study.seed, 2]))
    done: list[pd.DataFrame] = []
    whole = _Whole(job)
    for fold in range(n_folds):
        out = [str(t) for t in folds.index[folds == fold]]
        train = data.subset([str(t) for t in folds.index[folds != fold]])

        def score(fit: Fit, out: list[str] = out, fold: int = fold) -> pd.DataFrame:
            values = model.log_likelihood(fit.posterior, data, tumours=out)
            flat = values.stack(sample=("chain", "draw")).transpose("sample", "tumour").to_numpy()
            elpd = logsumexp(flat, axis=0) - np.log(len(flat))
            return pd.DataFrame({"tumour": out, "elpd": elpd, "fold": fold})

        label = f"fold {fold + 1} of {n_folds}"
        found = _refit(
            job, train, label, score, folder, say=say, progress=progress, ready=whole.without(out, train)
        )
        if found.reasons:
            return found
        done.append(found.table)
    return Refits(pd.concat(done).set_index("tumour").loc[list(data.tumours.index)])


class _Whole:
    """A model of all tumours, compiled when it is first needed: a fold is this model, its tumours not counted."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._prepared: Prepared | None = None

    def without(self, tumours: list[str], train: AnalysisSet) -> Callable[[], CompiledModel]:
        """Give the model of `train`, which is all tumours but these."""

        def ready() -> CompiledModel:
            build, priors = self.job.model.build, self.job.priors
            own = build(train, priors)
            if not rows_can_be_left_out(own):
                return compiled(own)
            if self._prepared is None:
                graph = build(self.job.data, priors)
                self._prepared = prepared(graph, compiled(graph))
            return self._prepared.without(tumours) if self._prepared.serves(own) else compiled(own)

        return ready


def without_each_cohort(
    job: Job, folder: ResultsFolder, *, say: Say, progress: Callable[[str], bool | Progress]
) -> dict[str, Refits]:
    """For each cohort, the other cohorts' fit scored on half of its tumours (`bayes_her2.bayesian.transfer`).

    Parameters
    ----------
    job, folder, say, progress
        As in `k_fold`.

    Returns
    -------
    dict
        Cohort -> rows of tumours (``kind`` tumour: ``label``, ``hr``, ``elpd``, ``elpd_without``, ``gain``) and of cell
        types (``kind`` cell type: ``label``, ``gain``, ``gain_se``, ``n``), with ``n_calibration``.
    """
    data = cast("AnalysisSet", job.data)
    found: dict[str, Refits] = {}
    for cohort in data.cohorts:
        inside = data.tumours["cohort"] == cohort
        rest = data.tumours.index[~inside]
        unseen = set(data.tumours.loc[inside, "hr"]) - set(data.tumours.loc[rest, "hr"])
        if set(data.tumours.loc[inside, "hr"]) == unseen:
            reason = (
                f"no tumour of the other cohorts is {' or '.join(sorted(unseen))}: they say nothing about it"
            )
            found[cohort] = Refits(pd.DataFrame(), (reason,))
            continue
        train = data.subset([str(t) for t in rest], own_parts=True)
        calibration, scored = halves(data.tumours[inside], np.random.default_rng([job.study.seed, 3]))

        def score(
            fit: Fit,
            train: AnalysisSet = train,
            calibration: list[str] = calibration,
            scored: list[str] = scored,
        ) -> pd.DataFrame:
            made = transfer(
                fit.posterior,
                train,
                data,
                job.model.DENSITY,  # type: ignore[attr-defined]
                job.priors,
                np.random.default_rng([job.study.seed, 4]),
                calibration=calibration,
                scored=scored,
            )
            return _rows(made)

        found[cohort] = _refit(job, train, f"without {cohort}", score, folder, say=say, progress=progress)
    return found


def _rows(made: Transfer) -> pd.DataFrame:
    tumours = made.tumours.rename_axis("label").reset_index().assign(kind="tumour")
    cells = made.cell_types.rename_axis("label").reset_index().rename(columns={"n_scored": "n"})
    rows = pd.concat([tumours, cells.assign(kind="cell type")], ignore_index=True)
    return rows.assign(n_calibration=made.n_calibration)


def _refit(
    job: Job,
    train: AnalysisSet,
    label: str,
    score: Callable[[Fit], pd.DataFrame],
    folder: ResultsFolder,
    *,
    say: Say,
    progress: Callable[[str], bool | Progress],
    ready: Callable[[], CompiledModel] | None = None,
) -> Refits:
    """Fit to `train` and score, or take up the scores of an earlier run: the draws are not kept."""
    code = source_hash((*(Path(str(m.__file__)) for m in (density_module, transfer_module)), Path(__file__)))
    data = cast("AnalysisSet", job.data)
    key = hash_of(
        {
            "fit": fit_hash(job.model, train, job.priors, job.sampling),
            "code": code,
            "scored": data.fingerprint,
            "label": label,
        }
    )
    stem = "".join(c if c.isalnum() or c in "._-" else "_" for c in f"{job.name}-{label}")
    path = folder.out / "refits" / f"{stem}-{key[:16]}.csv"
    if path.exists():
        say(f"{job.name}, {label}: finished scores are reused")
        return Refits(_typed(read_table(path, shown_as=path.name).frame))
    say(f"{job.name}, {label}: {len(train.tumours)} tumours are fitted")
    shown = progress(f"{job.name}, {label}")
    fit = fit_model(job.model, train, job.priors, job.sampling, progress=shown, ready=ready)
    if not fit.diagnostics.passed:
        return Refits(pd.DataFrame(), tuple(f"{label}: {reason}" for reason in fit.diagnostics.reasons))
    found = _scored(label, lambda: score(fit))
    if found.reasons:
        return found
    for old in path.parent.glob(f"{stem}-*.csv"):
        old.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(found.table, path)
    return found


def _scored(label: str, score: Callable[[], pd.DataFrame]) -> Refits:
    """Scores, or why they are none: a level that was not found, a tumour without a finite density."""
    try:
        table = score()
    except ArithmeticError as error:
        return Refits(pd.DataFrame(), (f"{label}: {error}",))
    lost = int((~np.isfinite(table.loc[_of_tumours(table), "elpd"])).sum())
    if lost:
        return Refits(
            pd.DataFrame(), (f"{label}: {lost} of its tumours have no finite density under the model",)
        )
    return Refits(table)


def _of_tumours(table: pd.DataFrame) -> pd.Series[bool]:
    """Which rows are of tumours, not of cell types."""
    return table["kind"].eq("tumour") if "kind" in table else pd.Series(data=True, index=table.index)


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers as numbers: what is read is text."""
    texts = ("tumour", "label", "kind", "hr")

    def as_number(column: pd.Series[Any]) -> pd.Series[Any]:
        return column if column.name in texts else pd.to_numeric(column)

    return table.apply(as_number)
