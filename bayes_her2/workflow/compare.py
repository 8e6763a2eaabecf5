"""Rival models of the same tumours: fitted, gated, and compared by how well they predict."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pandas as pd

from bayes_her2.bayesian.model import ALTERNATIVES, ComparableModel
from bayes_her2.comparison.models import Candidate, ModelComparison, compare_models, conclusions
from bayes_her2.errors import AnalysisRefusedError, DataError
from bayes_her2.estimates import Estimates, Rope
from bayes_her2.workflow.analysis import Job, fit_or_reuse
from bayes_her2.workflow.check import MODEL, check_study
from bayes_her2.workflow.progress import Clock, Draws, Say, silent
from bayes_her2.workflow.results import ResultsFolder, record_of


@dataclass(frozen=True)
class ComparedModels:
    """What a comparison left behind.

    Attributes
    ----------
    folder
        Results folder: ``tables/model_comparison.csv``, ``model_comparison_tumours.csv``, ``conclusions.csv``,
        ``estimates.csv``, ``diagnostics.csv``, the fits in ``posterior`` and ``provenance.json``.
    comparison
        Leave-one-tumour-out cross-validation of the models that passed their gates.
    conclusions
        Rows of the alternatives beside the main model's.
    refused
        Model -> why it is not in the comparison.
    """

    folder: Path
    comparison: ModelComparison
    conclusions: pd.DataFrame
    refused: dict[str, tuple[str, ...]]


def compare_study(
    path: Path | str,
    out: Path | str,
    *,
    models: Sequence[str] = (),
    say: Say = silent,
    draws: Draws | None = None,
) -> ComparedModels:
    """Fit the main model and its alternatives to the same tumours of a study, and compare them.

    Parameters
    ----------
    path
        Study file.
    out
        Folder for the comparison, another than that of a run; finished fits found there are reused.
    models
        Alternatives; none for all of them. The main model is always among the compared.
    say, draws
        As in `run_study`.

    Raises
    ------
    DataError
        Bad input: nothing is written.
    AnalysisRefusedError
        The main model, or every alternative, did not pass its gates.
    """
    started = dt.datetime.now(dt.UTC)
    names = [MODEL, *_alternatives(models)]
    clock = Clock(say)
    with clock("Reading and preparing the files"):
        checked = check_study(path, only=(MODEL,))
    study, data = checked.study, checked.sets[MODEL]
    jobs = [Job(name, data, study) for name in names]
    folder = ResultsFolder(Path(out))
    # Not the folder of a run: what a comparison puts in place would take the place of the report.
    folder.open(
        study.decisions_hash, {job.name: job.priors_hash for job in jobs}, f"{study.name}: rival models"
    )
    folder.text("study.toml", study.path.read_text(encoding="utf-8"))
    candidates: list[Candidate] = []
    rows: list[Estimates] = []
    diagnostics: list[pd.DataFrame] = []
    refused: dict[str, tuple[str, ...]] = {}
    for job in jobs:
        model = cast("ComparableModel", job.model)
        with clock(f"{job.name}: sampling the posterior"):
            progress = draws is not None and (
                lambda finished, total, name=job.name: draws(name, finished, total)
            )
            fit, _ = fit_or_reuse(job, folder, say=say, progress=progress)
        diagnostics.append(fit.diagnostics.table.assign(model=job.name))
        gates = model.prior_checks(model.build(data, job.priors), data, study.seed)
        reasons = [f"prior check not passed: {check}" for check in gates.loc[~gates["passed"], "check"]]
        reasons += list(fit.diagnostics.reasons)
        if reasons:
            refused[job.name] = tuple(reasons)
            continue
        with clock(f"{job.name}: log likelihood of every tumour, and estimates"):
            candidates.append(
                Candidate(
                    job.name,
                    data.fingerprint,
                    model.OUTCOME,
                    model.MEASURE,
                    model.log_likelihood(fit.posterior, data),
                )
            )
            decisions = study.decisions
            rows.append(
                model.estimates(
                    fit.estimand_draws,
                    data,
                    interval=decisions.interval,
                    rope=Rope(decisions.rope, decisions.rope_standardised),
                )
            )
    if MODEL in refused or len(candidates) < 2:
        folder.abandon()
        raise AnalysisRefusedError(
            [
                "A comparison needs the main model and an alternative that passed their gates:",
                *(f"  {name}: {reason}" for name, reasons in refused.items() for reason in reasons),
            ]
        )
    with clock("Leave-one-tumour-out cross-validation"):
        compared = compare_models(candidates)
    estimates = pd.concat(
        [part.table.assign(model=c.model) for part, c in zip(rows, candidates, strict=True)]
    )
    changed = conclusions(estimates, candidates[0].model)
    folder.table("model_comparison", compared.table)
    folder.table("model_comparison_tumours", compared.pointwise.reset_index())
    folder.table("conclusions", changed)
    folder.table("estimates", estimates)
    folder.table("diagnostics", pd.concat(diagnostics, ignore_index=True))
    folder.provenance(
        record_of(study, started, checked.files, clock.seconds)
        | {
            "fingerprint": data.fingerprint,
            "models": [c.model for c in candidates],
            "refused": refused,
        }
    )
    folder.put_in_place()
    return ComparedModels(folder.out, compared, changed, refused)


def _alternatives(asked: Sequence[str]) -> list[str]:
    """Alternatives to fit, in the order in which they are listed."""
    known = ALTERNATIVES[MODEL]
    unknown = [name for name in asked if name not in known and name != MODEL]
    if unknown:
        raise DataError(
            f"--model {', '.join(unknown)}: not an alternative to {MODEL}; known: {', '.join(known)}."
        )
    chosen = [name for name in known if not asked or name in asked]
    if not chosen:
        raise DataError(
            f"--model {MODEL}: names the main model alone. Name an alternative: {', '.join(known)}."
        )
    return chosen
