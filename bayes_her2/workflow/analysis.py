"""One model of a run, from its analysis set to its tables: a job of its own, which any process can do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from bayes_her2 import frequentist
from bayes_her2.bayesian.density import MAX_REPLICATES
from bayes_her2.bayesian.diagnostics import MAX_R_HAT, MIN_ESS
from bayes_her2.bayesian.fit import Fit, Progress, Sampling, fit_hash, fit_model, read_fit
from bayes_her2.bayesian.model import ComparableModel, ModelFile, load_model, main_model_of
from bayes_her2.bayesian.outline import as_table
from bayes_her2.bayesian.predictive import prior_table
from bayes_her2.bayesian.priors import Prior, resolve_priors
from bayes_her2.comparison import concordance, parts_that_disagree, recovery
from bayes_her2.comparison.one_left_out import (
    ecdf_of_transforms,
    influence,
    transforms,
    uniformity_of_transforms,
    weights_of,
)
from bayes_her2.data import AnalysisSet, EvidenceSet, Exclusion, ResponseData, exclusions_frame
from bayes_her2.errors import DataError
from bayes_her2.estimates import Estimates, Rope
from bayes_her2.frequentist import rank_tests
from bayes_her2.hashing import hash_of
from bayes_her2.inputs import Study
from bayes_her2.inputs.tables import read_table
from bayes_her2.workflow.check import MODEL
from bayes_her2.workflow.progress import Clock, Say
from bayes_her2.workflow.results import ResultsFolder

LEFT_OUT_VALUES = 16_000_000
"""Draws times tumours whose log likelihood is held in memory at once: 128 MB."""


@dataclass(frozen=True)
class Job:
    """One model of a run. It can be sent to another process.

    Attributes
    ----------
    name
        Of the model file.
    data
        Its analysis set, or the questions to published results.
    study
        Settings: priors, sampler, decisions.
    """

    name: str
    data: AnalysisSet | EvidenceSet | ResponseData
    study: Study

    @property
    def model(self) -> ModelFile:
        """The model file."""
        return load_model(self.name)

    @property
    def priors(self) -> dict[str, Prior]:
        """Priors in use: the model's own, and the study's in their place.

        Raises
        ------
        DataError
            The study overrides a prior that the model does not have.
        """
        own = self.study.priors.get(self.name, {})
        main = main_model_of(self.name)
        if main != self.name:
            # What a study says of the main model holds for its alternatives, but for the shape of the amounts and for
            # terms that they do not have.
            shared = self.study.priors.get(main, {})
            has = [n for n in self.model.PRIORS if not n.startswith("log_shape")]
            own = {n: shared[n] for n in has if n in shared} | dict(own)
        return resolve_priors(self.model.priors_for(self.data), own, self.name)

    @property
    def sampling(self) -> Sampling:
        """Sampler settings."""
        settings = self.study.sampling.of(main_model_of(self.name))
        return Sampling(
            chains=settings.chains,
            tune=settings.tune,
            draws=settings.draws,
            target_accept=settings.target_accept,
            seed=self.study.seed,
            cores=settings.cores or min(settings.chains, os.cpu_count() or 1),
            backend=settings.backend,
        )

    @property
    def priors_hash(self) -> str:
        """SHA-256 of the priors in use, recorded before the first draw."""
        return hash_of({name: [prior.dist, dict(prior.params)] for name, prior in self.priors.items()})


@dataclass(frozen=True)
class Analysed:
    """What one job gave: its share of the tables that models share, and the record of its fit.

    Attributes
    ----------
    name
        Of the model.
    reused
        Whether a finished fit was found.
    reasons
        Why no result of it may be printed; empty if they may.
    shared
        Table name -> its rows of this model.
    provenance
        Record of the fit.
    seconds
        Wall time by step.
    """

    name: str
    reused: bool
    reasons: tuple[str, ...]
    shared: Mapping[str, pd.DataFrame]
    provenance: Mapping[str, Any]
    seconds: Mapping[str, float]


def analyse(job: Job, folder: ResultsFolder, *, say: Say, progress: bool | Progress) -> Analysed:
    """Fit one model, check it, and set it beside its twin.

    Parameters
    ----------
    job
        The model, its analysis set and the study's settings.
    folder
        Where its fit and the tables that are its own are written.
    say
        Receives one line per step.
    progress
        As in `fit_model`.
    """
    clock = Clock(say)
    model, data, study, priors = job.model, job.data, job.study, job.priors
    decisions = study.decisions
    with clock(f"{job.name}: building the model and checking its priors"):
        graph = model.build(data, priors)
        used = {str(v.name) for v in graph.free_RVs}
        gates = model.prior_checks(graph, data, study.seed)
        shared = {
            "priors": prior_table(priors, used, model.reader_scale, decisions.interval),
            "prior_predictive": gates,
            "outline": as_table(model.outline(data, priors)),
        }
    with clock(f"{job.name}: sampling the posterior"):
        fit, reused = fit_or_reuse(job, folder, say=say, progress=progress)
    shared |= {"diagnostics": fit.diagnostics.table, "sampling": _sampling_table(fit, reused=reused)}
    reasons = [
        f"prior check not passed: {row['check']} is {row['value']:.3g}, gate {row['lower']:g} to {row['upper']:g}"
        for _, row in gates[~gates["passed"].astype(bool)].iterrows()
    ]
    reasons += list(fit.diagnostics.reasons)
    record = _provenance(job, fit, reasons)
    if reasons:
        return Analysed(job.name, reused, tuple(reasons), shared, record, clock.seconds)
    draws, interval = fit.estimand_draws, decisions.interval
    with clock(f"{job.name}: posterior estimates"):
        rope = Rope(decisions.rope, decisions.rope_standardised)
        posterior = model.estimates(draws, data, interval=interval, rope=rope)
        for name, table in model.tables(fit.posterior, draws, data, fit.priors, interval=interval).items():
            folder.table(name if job.name == MODEL else f"{job.name}_{name}", table)
    parts = [posterior]
    with clock(f"{job.name}: frequentist twin"):
        twin = getattr(frequentist, model.TWIN)(data, interval=interval)
        parts.append(twin)
        for name, make in frequentist.TWIN_TABLES.get(job.name, {}).items():
            folder.table(f"{job.name}_{name}", make(data))
        if job.name == MODEL and isinstance(data, AnalysisSet):
            parts.append(rank_tests(data, interval=interval))
    with clock(f"{job.name}: posterior beside twin, and predictive checks"):
        shared["concordance"] = concordance(
            posterior, twin, false_discovery=decisions.false_discovery, alpha=decisions.alpha
        )
        shared["posterior_predictive"] = model.predictive_checks(
            graph, fit.posterior, data, study.seed, interval
        )
        if job.name == MODEL:
            folder.table("parts_disagree", parts_that_disagree(posterior))
            if study.simulated and study.truth:
                folder.table("recovery", recovery(posterior, _truth(study)))
    if job.name == MODEL:
        with clock(f"{job.name}: each tumour without itself"):
            for name, table in _left_out(job, fit).items():
                folder.table(name, table)
    shared["estimates"] = Estimates.concat(parts).table
    return Analysed(job.name, reused, (), shared, record, clock.seconds)


def _left_out(job: Job, fit: Fit) -> dict[str, pd.DataFrame]:
    """Whether the main model's forecasts of single tumours are calibrated, and what results rest on one of them."""
    data, model = cast("AnalysisSet", job.data), cast("ComparableModel", job.model)
    # All draws where memory allows, so that a result with all tumours is the one that the report prints.
    at_most = max(MAX_REPLICATES, LEFT_OUT_VALUES // len(data.tumours))
    moved = influence(
        fit.estimand_draws,
        weights_of(model.log_likelihood(fit.posterior, data, max_draws=at_most)),
        data,
        interval=job.study.decisions.interval,
    )
    rng = np.random.default_rng([job.study.seed, 6])
    forecasts = model.replicate(fit.posterior, data, rng, max_draws=MAX_REPLICATES)
    weights = weights_of(model.log_likelihood(fit.posterior, data, max_draws=MAX_REPLICATES))
    left_out = transforms(forecasts, weights, data.abundance, rng)
    with_it = transforms(forecasts, None, data.abundance, rng)
    uniformity = [
        uniformity_of_transforms(pit, data).assign(forecast=forecast)
        for forecast, pit in (("leave-one-out", left_out), ("posterior", with_it))
    ]
    return {
        "influence": moved.results,
        "tumours_left_out": moved.tumours,
        "predictive_pit": pd.concat(uniformity, ignore_index=True),
        "loo_pit_ecdf": ecdf_of_transforms(left_out, data),
    }


def fit_or_reuse(
    job: Job, folder: ResultsFolder, *, say: Say, progress: bool | Progress, name: str = ""
) -> tuple[Fit, bool]:
    """Return the finished fit of the same hash (and that it is one), or sample and store one.

    `name` is what messages call the fit, and its file; '' for the name of the model.
    """
    name = name or job.name
    path = folder.posterior / f"{name}.nc"
    if path.exists():
        try:
            found = read_fit(path)
        except DataError as error:
            say(f"{name}: {error} It is fitted again.")
        else:
            if found.fit_hash == fit_hash(job.model, job.data, job.priors, job.sampling):
                say(f"{name}: a finished fit with the same data, model, priors and settings is reused")
                return found, True

    def on_retry(why: tuple[str, ...]) -> None:
        say(f"{name}: the first attempt did not pass the diagnostics gate; again with twice the draws:")
        for reason in why[:5]:
            say(f"  {reason}")

    fit = fit_model(job.model, job.data, job.priors, job.sampling, progress=progress, on_retry=on_retry)
    fit.to_netcdf(path)
    return fit, False


def _provenance(job: Job, fit: Fit, reasons: list[str]) -> dict[str, Any]:
    sampling = fit.sampling
    return {
        "status": "refused" if reasons else "complete",
        "reasons": reasons,
        "question": job.model.QUESTION,
        "methods": list(job.model.described(job.data)),
        "estimands": dict(job.model.ESTIMANDS),
        "fingerprint": job.data.fingerprint,
        **_about(job),
        "priors_hash": job.priors_hash,
        "sampler": {
            "name": sampling.sampler,
            "backend": sampling.backend,
            "chains": sampling.chains,
            "tune": sampling.tune,
            "draws": sampling.draws,
            "target_accept": sampling.target_accept,
            "seed": sampling.seed,
            "retried": fit.retried,
            "seconds": round(fit.seconds, 1),
            "fit_hash": fit.fit_hash,
        },
    }


def _about(job: Job) -> dict[str, Any]:
    """Say what the fit rests on: tumours and cohorts, or patients and published studies."""
    data = job.data
    if isinstance(data, EvidenceSet):
        return {
            "counted": "published studies",
            "n_tumours": data.n_patients,
            "cohorts": data.overlap_groups,
            "adjustment": "by question",
            "exclusions": [],  # these and the remarks by question, in tables of their own
            "notices": [],
        }
    if isinstance(data, ResponseData):
        return {
            "counted": "patients",
            "n_tumours": data.n_patients,
            "cohorts": [data.name],
            "adjustment": data.adjustment,
            "exclusions": _counted(data.exclusions),
            "notices": [*([f"source: {data.citation}"] if data.citation else []), *data.notices],
        }
    step = f"analysis set: {job.name}"
    return {
        "counted": "tumours",
        "n_tumours": len(data.tumours),
        "cohorts": list(data.cohorts),
        "adjustment": data.adjustment,
        "exclusions": _counted(tuple(e for e in data.exclusions if e.step == step)),
        "notices": list(data.notices),
    }


def _counted(exclusions: tuple[Exclusion, ...]) -> list[dict[str, Any]]:
    """Exclusions by cohort and reason."""
    counts = exclusions_frame(exclusions).groupby(["cohort", "reason"], sort=False).size()
    return [
        {"cohort": str(cohort), "reason": str(reason), "n": int(n)}
        for cohort, reason, n in counts.rename("n").reset_index().itertuples(index=False, name=None)
    ]


def _sampling_table(fit: Fit, *, reused: bool) -> pd.DataFrame:
    stats = fit.draws["sample_stats"]
    rows = [
        ("sampler", fit.sampling.sampler),
        ("compiled by", fit.sampling.backend),
        ("chains", fit.sampling.chains),
        ("warm-up draws per chain", fit.sampling.tune),
        ("kept draws per chain", fit.sampling.draws),
        ("target acceptance", fit.sampling.target_accept),
        ("seed", fit.sampling.seed),
        ("R-hat, highest allowed", MAX_R_HAT),
        ("effective sample size, lowest allowed", MIN_ESS),
        ("divergences", fit.diagnostics.n_divergent),
        ("mean leapfrog steps", round(float(stats["n_steps"].mean()), 1)),
        ("automatic retry", "yes" if fit.retried else "no"),
        ("fit reused from an earlier run", "yes" if reused else "no"),
        ("seconds, compilation included", round(fit.seconds, 1)),
    ]
    return pd.DataFrame([(name, str(value)) for name, value in rows], columns=["setting", "value"])


def _truth(study: Study) -> pd.DataFrame:
    path = study.resolve(str(study.truth))
    table = read_table(path, shown_as=str(study.truth)).frame
    return table.assign(truth=table["truth"].astype(np.float64))
