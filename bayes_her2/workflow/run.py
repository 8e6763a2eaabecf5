"""The whole analysis of a study: files to report, resumable fit by fit."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from bayes_her2 import __version__
from bayes_her2.bayesian.design import structure
from bayes_her2.bayesian.fit import Fit, Sampling, fit_hash, fit_model, read_fit
from bayes_her2.bayesian.hurdle_estimands import summed_abundance
from bayes_her2.bayesian.model import ModelFile, load_model
from bayes_her2.bayesian.predictive import posterior_predictive, prior_predictive, prior_table
from bayes_her2.bayesian.priors import Prior, resolve_priors
from bayes_her2.bayesian.summary import heterogeneity
from bayes_her2.bayesian.sweep import interaction_sweep
from bayes_her2.comparison import concordance, parts_that_disagree, recovery
from bayes_her2.data import AnalysisSet, exclusions_frame
from bayes_her2.errors import AnalysisRefusedError, DataError
from bayes_her2.estimates import Estimates
from bayes_her2.frequentist import abundance_twin, group_tests, precision, rank_tests
from bayes_her2.hashing import hash_of, versions
from bayes_her2.inputs import Study
from bayes_her2.inputs.tables import read_table
from bayes_her2.report import render_report
from bayes_her2.simulation import write_demo
from bayes_her2.workflow.check import MODEL, Checked, check_study
from bayes_her2.workflow.results import ResultsFolder

DRIFT_AT = (-2.0, -1.0, 0.0, 1.0, 2.0)
DEMO_SEED = 20251203

Say = Callable[[str], None]


def _silent(text: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class RunResult:
    """What a run left behind.

    Attributes
    ----------
    folder, report
        Results folder and its report.
    reused
        Models whose finished fit was found and reused.
    seconds
        Wall time by step.
    """

    folder: Path
    report: Path
    reused: tuple[str, ...]
    seconds: dict[str, float]


def run_demo(out: Path, *, say: Say = _silent, progress: bool = True) -> RunResult:
    """Simulate the seed study's cohorts, write them as files, and analyse them like any other study.

    Parameters
    ----------
    out
        Results folder; the simulated files go to its subfolder ``simulated``.
    say
        Receives one line per step.
    progress
        Whether to show the sampler's progress bar.
    """
    say("Simulating three cohorts of the seed study's sizes, with planted effects")
    study = write_demo(Path(out) / "simulated", DEMO_SEED)
    return run_study(study, out, say=say, progress=progress)


def run_study(path: Path | str, out: Path | str, *, say: Say = _silent, progress: bool = True) -> RunResult:
    """Analyse a study from its files to its report.

    Parameters
    ----------
    path
        Study file.
    out
        Results folder. A finished fit found there is reused when model, priors, settings and data are the
        same; everything else is made anew.
    say
        Receives one line per step.
    progress
        Whether to show the sampler's progress bar.

    Returns
    -------
    RunResult

    Raises
    ------
    DataError
        Bad input; nothing is written.
    AnalysisRefusedError
        The prior gate or the diagnostics gate was not passed. The report is written and says why, without any
        inference.
    """
    started = dt.datetime.now(dt.UTC)
    clock = _Clock(say)
    with clock("Reading and preparing the cohorts"):
        checked = check_study(path)
    study, data = checked.study, checked.data
    model = load_model(MODEL)
    unknown = sorted(set(study.priors) - {MODEL})
    if unknown:
        raise DataError(f"[priors]: no model named {', '.join(unknown)} is part of this run; known: {MODEL}.")
    priors = resolve_priors(model.priors_for(data), study.priors.get(MODEL, {}), MODEL)
    decisions = decisions_hash(study, priors)
    folder = ResultsFolder(Path(out))
    folder.open(decisions)
    provenance: dict[str, Any] = {
        "package_version": __version__,
        "started": started.isoformat(timespec="seconds"),
        "versions": versions(),
        "seed": study.seed,
        "simulated": study.simulated,
        "decisions_hash": decisions,
        "study_hash": study.input_hash,
        "fingerprints": {MODEL: data.fingerprint},
        "files": [
            {"path": f.path, "sha256": f.sha256, "n_rows": f.n_rows} for c in checked.cohorts for f in c.files
        ],
    }
    folder.text("study.toml", study.path.read_text(encoding="utf-8"))
    _write_data_tables(folder, checked)
    reused: list[str] = []
    with clock("Precision that these data can give, before any result"):
        folder.table("precision", precision(data, interval=study.decisions.interval))

    with clock("Building the model and checking its priors"):
        graph = model.build(data, priors)
        used = {str(v.name) for v in graph.free_RVs}
        folder.table("priors", prior_table(priors, used, study.decisions.interval))
        gates = prior_predictive(graph, data, study.seed)
        folder.table("prior_predictive", gates)

    with clock("Sampling the posterior"):
        fit = _fit_or_reuse(model, data, priors, study, folder, reused, say=say, progress=progress)
    folder.table("diagnostics", fit.diagnostics.table)
    folder.table("sampling", _sampling_table(fit, reused))
    provenance["sampler"] = {
        "name": fit.sampling.sampler,
        "chains": fit.sampling.chains,
        "tune": fit.sampling.tune,
        "draws": fit.sampling.draws,
        "target_accept": fit.sampling.target_accept,
        "seed": fit.sampling.seed,
        "retried": fit.retried,
        "seconds": round(fit.seconds, 1),
        "fit_hash": fit.fit_hash,
    }
    reasons = [
        f"prior check not passed: {row['check']} is {row['value']:.3g}, gate {row['lower']:g} to {row['upper']:g}"
        for _, row in gates[~gates["passed"]].iterrows()
    ]
    reasons += list(fit.diagnostics.reasons)
    if not reasons:
        _write_inference(folder, checked, model, fit, graph, clock)
    with clock("Writing the report"):
        provenance |= {
            "finished": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "seconds": {name: round(value, 1) for name, value in clock.seconds.items()},
            "status": "refused" if reasons else "complete",
            "reasons": reasons,
        }
        folder.provenance(provenance)
        render_report(folder.staging)
        folder.put_in_place()
    report = folder.out / "report.html"
    if reasons:
        raise AnalysisRefusedError(
            [
                "The analysis refuses to print results:",
                *(f"  {r}" for r in reasons),
                f"The report says more: {report}",
            ]
        )
    return RunResult(folder.out, report, tuple(reused), dict(clock.seconds))


def decisions_hash(study: Study, priors: dict[str, Prior]) -> str:
    """SHA-256 of the priors in use and the decision rule, recorded before the first draw."""
    return hash_of(
        {
            "study": study.decisions_hash,
            "priors": {name: [prior.dist, dict(prior.params)] for name, prior in priors.items()},
        }
    )


def _fit_or_reuse(
    model: ModelFile,
    data: AnalysisSet,
    priors: dict[str, Prior],
    study: Study,
    folder: ResultsFolder,
    reused: list[str],
    *,
    say: Say,
    progress: bool,
) -> Fit:
    """Return the finished fit of the same hash, or sample and store one."""
    settings = study.sampling
    sampling = Sampling(
        chains=settings.chains,
        tune=settings.tune,
        draws=settings.draws,
        target_accept=settings.target_accept,
        seed=study.seed,
        cores=settings.cores or min(settings.chains, os.cpu_count() or 1),
    )
    path = folder.posterior / f"{MODEL}.nc"
    if path.exists():
        try:
            found = read_fit(path)
        except DataError as error:
            say(f"  {error} It is fitted again.")
        else:
            if found.fit_hash == fit_hash(model, data, priors, sampling):
                reused.append(MODEL)
                say("  a finished fit with the same data, model, priors and settings is reused")
                return found

    def on_retry(why: tuple[str, ...]) -> None:
        say("  the first attempt did not pass the diagnostics gate; sampling again with twice the draws:")
        for reason in why[:5]:
            say(f"    {reason}")

    fit = fit_model(model, data, priors, sampling, progress=progress, on_retry=on_retry)
    fit.to_netcdf(path)
    return fit


def _write_data_tables(folder: ResultsFolder, checked: Checked) -> None:
    data = checked.data
    folder.table("exclusions", exclusions_frame(data.exclusions))
    folder.table("exclusion_counts", checked.exclusion_counts)
    folder.table("flow", checked.flow)
    folder.table("composition", checked.composition)
    folder.table("cell_types", data.cell_types.reset_index())
    folder.table("parts", data.parts)
    folder.table("zero_shares", data.counts)
    folder.table("rules", data.rules)
    folder.table("her2_scaling", data.her2_scaling.reset_index())
    folder.table("covariate_scaling", data.covariate_scaling.reset_index())
    known = data.cohorts
    notices = []
    for text in data.notices:
        start, _, rest = text.partition(": ")
        notices.append(
            (start, rest) if rest and (start in known or start in data.cell_types.index) else ("study", text)
        )
    folder.table("notices", pd.DataFrame(notices, columns=["where", "text"]))


def _sampling_table(fit: Fit, reused: list[str]) -> pd.DataFrame:
    stats = fit.draws["sample_stats"]
    rows = [
        ("sampler", fit.sampling.sampler),
        ("chains", fit.sampling.chains),
        ("warm-up draws per chain", fit.sampling.tune),
        ("kept draws per chain", fit.sampling.draws),
        ("target acceptance", fit.sampling.target_accept),
        ("seed", fit.sampling.seed),
        ("divergences", fit.diagnostics.n_divergent),
        ("mean leapfrog steps", round(float(stats["n_steps"].mean()), 1)),
        ("automatic retry", "yes" if fit.retried else "no"),
        ("fit reused from an earlier run", "yes" if reused else "no"),
        ("seconds, compilation included", round(fit.seconds, 1)),
    ]
    return pd.DataFrame([(name, str(value)) for name, value in rows], columns=["setting", "value"])


def _write_inference(
    folder: ResultsFolder, checked: Checked, model: ModelFile, fit: Fit, graph: Any, clock: _Clock
) -> None:
    study, data = checked.study, checked.data
    decisions = study.decisions
    with clock("Posterior estimates"):
        posterior = model.estimates(
            fit.estimand_draws, data, interval=decisions.interval, rope=decisions.rope
        )
        folder.table(
            "heterogeneity",
            heterogeneity(fit.posterior, structure(data), fit.priors, interval=decisions.interval),
        )
        if len(data.strata) == 2:
            folder.table(
                "interaction_sweep",
                interaction_sweep(fit.posterior, fit.estimand_draws, fit.priors, interval=decisions.interval),
            )
        if data.scale == "relative":
            folder.table(
                "share_drift", summed_abundance(fit.posterior, data, DRIFT_AT, interval=decisions.interval)
            )
    with clock("Frequentist twins"):
        twin = abundance_twin(data, interval=decisions.interval)
        others = [rank_tests(data, interval=decisions.interval)]
        if len(data.strata) == 2:
            others.append(group_tests(data, interval=decisions.interval))
        folder.table("estimates", Estimates.concat([posterior, twin, *others]).table)
    with clock("Posterior beside twin"):
        folder.table(
            "concordance",
            concordance(posterior, twin, false_discovery=decisions.false_discovery, alpha=decisions.alpha),
        )
        folder.table("parts_disagree", parts_that_disagree(posterior))
    with clock("Posterior predictive checks"):
        folder.table(
            "posterior_predictive",
            posterior_predictive(graph, fit.posterior, data, study.seed, decisions.interval),
        )
    if study.simulated and study.truth:
        folder.table("recovery", recovery(posterior, _truth(study)))


def _truth(study: Study) -> pd.DataFrame:
    path = study.resolve(str(study.truth))
    table = read_table(path, shown_as=str(study.truth)).frame
    return table.assign(truth=table["truth"].astype(np.float64))


class _Clock:
    """Says what begins and remembers how long it took."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.seconds: dict[str, float] = {}
        self._name, self._start = "", 0.0

    def __call__(self, name: str) -> _Clock:
        self._name = name
        return self

    def __enter__(self) -> None:
        self.say(self._name)
        self._start = perf_counter()

    def __exit__(self, *error: object) -> None:
        self.seconds[self._name] = perf_counter() - self._start
