"""The whole analysis of a study: files to report, resumable fit by fit."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from bayes_her2 import __version__, frequentist
from bayes_her2.bayesian.fit import Fit, Sampling, fit_hash, fit_model, read_fit
from bayes_her2.bayesian.model import MODELS, ModelFile, load_model
from bayes_her2.bayesian.predictive import prior_table
from bayes_her2.bayesian.priors import resolve_priors
from bayes_her2.comparison import claims, concordance, families, parts_that_disagree, recovery
from bayes_her2.data import AnalysisSet, exclusions_frame
from bayes_her2.errors import AnalysisRefusedError, DataError
from bayes_her2.estimates import Estimates, Rope
from bayes_her2.frequentist import her2_by_ihc, precision, rank_tests
from bayes_her2.hashing import hash_of, versions
from bayes_her2.inputs import Study
from bayes_her2.inputs.tables import read_table
from bayes_her2.preprocessing import cell_composition, macrophage_ratio, table_one
from bayes_her2.report import render_report
from bayes_her2.simulation import write_demo
from bayes_her2.workflow.check import MODEL, Checked, check_study
from bayes_her2.workflow.results import ResultsFolder

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


def run_demo(out: Path, *, only: Sequence[str] = (), say: Say = _silent, progress: bool = True) -> RunResult:
    """Simulate the seed study's cohorts, write them as files, and analyse them like any other study.

    Parameters
    ----------
    out
        Results folder; the simulated files go to its subfolder ``simulated``.
    only
        Names of the models to fit; none for all.
    say
        Receives one line per step.
    progress
        Whether to show the sampler's progress bar.
    """
    say("Simulating three cohorts of the seed study's sizes, with planted effects")
    study = write_demo(Path(out) / "simulated", DEMO_SEED)
    return run_study(study, out, only=only, say=say, progress=progress)


def run_study(
    path: Path | str,
    out: Path | str,
    *,
    only: Sequence[str] = (),
    say: Say = _silent,
    progress: bool = True,
) -> RunResult:
    """Analyse a study from its files to its report.

    Parameters
    ----------
    path
        Study file.
    out
        Results folder. A finished fit found there is reused when model, priors, settings and data are the
        same; everything else is made anew.
    only
        Names of the models to fit and report; none for those of the study.
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
        A model did not pass its prior gate or its diagnostics gate. The report is written and says why, without any
        inference from that model.
    """
    started = dt.datetime.now(dt.UTC)
    clock = _Clock(say)
    with clock("Reading and preparing the cohorts"):
        checked = check_study(path, only=only)
    study = checked.study
    unknown = sorted(set(study.priors) - set(MODELS))
    if unknown:
        raise DataError(f"[priors]: no model is named {', '.join(unknown)}; known: {', '.join(MODELS)}.")
    jobs = [_Job(name, data, study) for name, data in checked.sets.items()]
    folder = ResultsFolder(Path(out))
    folder.open(study.decisions_hash, {job.name: job.priors_hash for job in jobs})
    folder.text("study.toml", study.path.read_text(encoding="utf-8"))
    _write_data_tables(folder, checked)
    _write_descriptives(folder, checked)
    with clock("Precision that these data can give, before any result"):
        folder.table("precision", precision(checked.data, interval=study.decisions.interval))
    common = frozenset(checked.data.notices)
    done = [
        replace(_analyse(job, study, folder, clock, say=say, progress=progress), common_notices=common)
        for job in jobs
    ]
    _write_joint_tables(folder, study, done, checked.left_out)
    refused = {one.job.name: one.reasons for one in done if one.reasons}
    with clock("Writing the report"):
        folder.provenance(
            {
                "package_version": __version__,
                "started": started.isoformat(timespec="seconds"),
                "finished": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                "versions": versions(),
                "seed": study.seed,
                "simulated": study.simulated,
                "decisions_hash": study.decisions_hash,
                "study_hash": study.input_hash,
                "status": "refused"
                if len(refused) == len(done)
                else ("partly refused" if refused else "complete"),
                "models": {one.job.name: one.provenance for one in done},
                "left_out": dict(checked.left_out),
                "seconds": {name: round(value, 1) for name, value in clock.seconds.items()},
                "files": [
                    {"path": f.path, "sha256": f.sha256, "n_rows": f.n_rows}
                    for c in checked.cohorts
                    for f in c.files
                ],
            }
        )
        render_report(folder.staging)
        folder.put_in_place()
    report = folder.out / "report.html"
    if refused:
        raise AnalysisRefusedError(
            [
                f"The analysis refuses to print results of {', '.join(refused)}:",
                *(f"  {name}: {r}" for name, reasons in refused.items() for r in reasons),
                f"The report says more: {report}",
            ]
        )
    reused = tuple(one.job.name for one in done if one.reused)
    return RunResult(folder.out, report, reused, dict(clock.seconds))


class _Job:
    """One model of a run: its file, its analysis set, its priors, its sampler settings."""

    def __init__(self, name: str, data: AnalysisSet, study: Study) -> None:
        self.name, self.data = name, data
        self.model: ModelFile = load_model(name)
        self.priors = resolve_priors(self.model.priors_for(data), study.priors.get(name, {}), name)
        settings = study.sampling.of(name)
        self.sampling = Sampling(
            chains=settings.chains,
            tune=settings.tune,
            draws=settings.draws,
            target_accept=settings.target_accept,
            seed=study.seed,
            cores=settings.cores or min(settings.chains, os.cpu_count() or 1),
        )

    @property
    def priors_hash(self) -> str:
        """SHA-256 of the priors in use, recorded before the first draw."""
        return hash_of({name: [prior.dist, dict(prior.params)] for name, prior in self.priors.items()})


@dataclass(frozen=True)
class _Done:
    """A model that was fitted, with its share of the tables that models share."""

    job: _Job
    fit: Fit
    reused: bool
    reasons: tuple[str, ...]
    shared: Mapping[str, pd.DataFrame]
    common_notices: frozenset[str] = frozenset()

    @property
    def exclusions(self) -> list[dict[str, Any]]:
        """Tumours that this model's own needs left out, counted by cohort and reason."""
        step = f"analysis set: {self.job.name}"
        log = exclusions_frame(tuple(e for e in self.job.data.exclusions if e.step == step))
        counts = log.groupby(["cohort", "reason"], sort=False).size().rename("n").reset_index()
        return [
            {"cohort": str(cohort), "reason": str(reason), "n": int(n)}
            for cohort, reason, n in counts.itertuples(index=False, name=None)
        ]

    @property
    def provenance(self) -> dict[str, Any]:
        """Record of the fit."""
        sampling = self.fit.sampling
        return {
            "status": "refused" if self.reasons else "complete",
            "reasons": list(self.reasons),
            "question": self.job.model.QUESTION,
            "fingerprint": self.job.data.fingerprint,
            "n_tumours": len(self.job.data.tumours),
            "cohorts": list(self.job.data.cohorts),
            "adjustment": self.job.data.adjustment,
            "exclusions": self.exclusions,
            "notices": [text for text in self.job.data.notices if text not in self.common_notices],
            "priors_hash": self.job.priors_hash,
            "sampler": {
                "name": sampling.sampler,
                "chains": sampling.chains,
                "tune": sampling.tune,
                "draws": sampling.draws,
                "target_accept": sampling.target_accept,
                "seed": sampling.seed,
                "retried": self.fit.retried,
                "seconds": round(self.fit.seconds, 1),
                "fit_hash": self.fit.fit_hash,
            },
        }


def _analyse(
    job: _Job, study: Study, folder: ResultsFolder, clock: _Clock, *, say: Say, progress: bool
) -> _Done:
    """Fit one model, check it, and set it beside its twin."""
    model, data, decisions = job.model, job.data, study.decisions
    with clock(f"{job.name}: building the model and checking its priors"):
        graph = model.build(data, job.priors)
        used = {str(v.name) for v in graph.free_RVs}
        gates = model.prior_checks(graph, data, study.seed)
        shared = {
            "priors": prior_table(job.priors, used, model.reader_scale, decisions.interval),
            "prior_predictive": gates,
        }
    with clock(f"{job.name}: sampling the posterior"):
        fit, reused = _fit_or_reuse(job, folder, say=say, progress=progress)
    shared |= {"diagnostics": fit.diagnostics.table, "sampling": _sampling_table(fit, reused=reused)}
    reasons = [
        f"prior check not passed: {row['check']} is {row['value']:.3g}, gate {row['lower']:g} to {row['upper']:g}"
        for _, row in gates[~gates["passed"].astype(bool)].iterrows()
    ]
    reasons += list(fit.diagnostics.reasons)
    if reasons:
        return _Done(job, fit, reused, tuple(reasons), shared)
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
        if job.name == MODEL:
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
    shared["estimates"] = Estimates.concat(parts).table
    return _Done(job, fit, reused, (), shared)


def _write_joint_tables(
    folder: ResultsFolder, study: Study, done: Sequence[_Done], left_out: Mapping[str, str]
) -> None:
    """Write each table that all models share once, with a column that names the model, and what joins them."""
    names = dict.fromkeys(name for one in done for name in one.shared)
    for name in names:
        frames = [
            table if "model" in table.columns else table.assign(model=one.job.name)[["model", *table.columns]]
            for one in done
            if (table := one.shared.get(name)) is not None and len(table)
        ]
        if frames:
            joint = pd.concat(frames, ignore_index=True)
            folder.table(name, joint)
            if name == "concordance":
                folder.table("families", families(joint))
    tables = [one.shared["estimates"] for one in done if "estimates" in one.shared]
    if tables:
        infiltrate = study.choices.infiltrate
        found = claims(
            Estimates.concat([Estimates(table) for table in tables]),
            measure=study.her2.label or study.her2.measure,
            infiltrate=infiltrate.label if infiltrate else "",
            left_out=left_out,
        )
        folder.table("claims", found)


def _fit_or_reuse(job: _Job, folder: ResultsFolder, *, say: Say, progress: bool) -> tuple[Fit, bool]:
    """Return the finished fit of the same hash (and that it is one), or sample and store one."""
    path = folder.posterior / f"{job.name}.nc"
    if path.exists():
        try:
            found = read_fit(path)
        except DataError as error:
            say(f"  {error} It is fitted again.")
        else:
            if found.fit_hash == fit_hash(job.model, job.data, job.priors, job.sampling):
                say("  a finished fit with the same data, model, priors and settings is reused")
                return found, True

    def on_retry(why: tuple[str, ...]) -> None:
        say("  the first attempt did not pass the diagnostics gate; sampling again with twice the draws:")
        for reason in why[:5]:
            say(f"    {reason}")

    fit = fit_model(job.model, job.data, job.priors, job.sampling, progress=progress, on_retry=on_retry)
    fit.to_netcdf(path)
    return fit, False


def _write_data_tables(folder: ResultsFolder, checked: Checked) -> None:
    data = checked.data
    every = dict.fromkeys(e for own in (data, *checked.sets.values()) for e in own.exclusions)
    folder.table("exclusions", exclusions_frame(tuple(every)))
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
    without_ihc = [c for c, own in data.tumours.groupby("cohort") if own["her2_ihc"].isna().all()]
    notices += [
        (str(c), "HER2 IHC level is not recorded, so the HER2 measure is not described by it.")
        for c in without_ihc
    ]
    folder.table("notices", pd.DataFrame(notices, columns=["where", "text"]))


def _write_descriptives(folder: ResultsFolder, checked: Checked) -> None:
    """Write Table 1, the HER2 measure by IHC level, the composition of the infiltrate, and the M1/M2 ratio."""
    chosen = checked.data.tumours.index
    tumours, abundance = checked.tumours.tumours.loc[chosen], checked.tumours.abundance.loc[chosen]
    folder.table("table_one", table_one(checked.cohorts, tumours))
    by_ihc = her2_by_ihc(checked.data, interval=checked.study.decisions.interval)
    if by_ihc is not None:
        folder.table("her2_by_ihc", by_ihc)
    folder.table("cell_composition", cell_composition(tumours, abundance))
    ratio = macrophage_ratio(tumours, abundance)
    if ratio is not None:
        folder.table("m1_m2", ratio)


def _sampling_table(fit: Fit, *, reused: bool) -> pd.DataFrame:
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
