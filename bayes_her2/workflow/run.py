"""The whole analysis of a study: files to report, resumable fit by fit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd

from bayes_her2.bayesian.model import ALTERNATIVES, MODELS, MODELS_OF_RESULTS, alternatives_to
from bayes_her2.comparison import claims, discoveries_of, families
from bayes_her2.data import exclusions_frame
from bayes_her2.errors import AnalysisRefusedError, DataError
from bayes_her2.estimates import Estimates
from bayes_her2.evidence.questions import crude_beside_adjusted
from bayes_her2.frequentist import her2_by_ihc, precision
from bayes_her2.inputs import Study
from bayes_her2.preprocessing import cell_composition, macrophage_ratio, table_one
from bayes_her2.report import Format, printer_of, render_report
from bayes_her2.simulation import write_demo
from bayes_her2.simulation.demo import STUDY_NAME
from bayes_her2.workflow.analysis import Analysed, Job
from bayes_her2.workflow.audit import claims_tables, verdict_lines
from bayes_her2.workflow.check import MODEL, RESPONSE, SYNTHESIS, Checked, Prepared, check_study
from bayes_her2.workflow.progress import Clock, Draws, Say, silent
from bayes_her2.workflow.response import borrowing_tables, odds_ratio_lines
from bayes_her2.workflow.results import ResultsFolder, record_of
from bayes_her2.workflow.side_by_side import analyse_all

DEMO_SEED = 20251203


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
        Wall time by step. Steps of several models may have run at the same time.
    total_seconds
        Wall time of the run.
    findings
        Pooled results of the main model whose sign is called, the surest first
        (`bayes_her2.comparison.discoveries_of`); None where it was not fitted.
    interval
        Probability of the intervals.
    """

    folder: Path
    report: Path
    reused: tuple[str, ...]
    seconds: Mapping[str, float]
    total_seconds: float
    findings: pd.DataFrame | None
    interval: float


def run_demo(
    out: Path,
    *,
    only: Sequence[str] = (),
    formats: Collection[Format] = (),
    at_once: int = 1,
    say: Say = silent,
    draws: Draws | None = None,
) -> RunResult:
    """Simulate the seed study's cohorts, write them as files, and analyse them like any other study.

    Parameters
    ----------
    out
        Results folder; the simulated files go to its subfolder ``simulated``.
    only
        Names of the models to fit; none for all.
    formats, at_once, say, draws
        As in `run_study`.
    """
    printer_of(formats)
    ResultsFolder(Path(out)).check(STUDY_NAME)  # before the files of another study are replaced
    say("Simulating three cohorts of the seed study's sizes, with planted effects")
    study = write_demo(Path(out) / "simulated", DEMO_SEED, published=True)
    return run_study(study, out, only=only, formats=formats, at_once=at_once, say=say, draws=draws)


def run_study(
    path: Path | str,
    out: Path | str,
    *,
    only: Sequence[str] = (),
    formats: Collection[Format] = (),
    at_once: int = 1,
    say: Say = silent,
    draws: Draws | None = None,
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
    formats
        Of the report, beside the page: see `render_report`.
    at_once
        Models to fit at the same time, each in a process of its own. With more than 1, a script that calls this must
        do so under ``if __name__ == "__main__":``, because a new process reads the script again. The results do not
        depend on it.
    say
        Receives one line per step; nothing is said by default. `Bars` has both, for a terminal or a notebook.
    draws
        Receives the progress of each fit.

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
    printer_of(formats)  # a format that cannot be written is said before the fits
    started = dt.datetime.now(dt.UTC)
    clock = Clock(say)
    began = perf_counter()
    with clock("Reading and preparing the files"):
        checked = check_study(path, only=only)
    study = checked.study
    known = (*MODELS, *MODELS_OF_RESULTS, *(name for main in ALTERNATIVES for name in alternatives_to(main)))
    unknown = sorted(set(study.priors) - set(known))
    if unknown:
        raise DataError(f"[priors]: no model is named {', '.join(unknown)}; known: {', '.join(known)}.")
    jobs = [Job(name, data, study) for name, data in checked.sets.items()]
    if checked.published is not None:
        jobs.append(Job(SYNTHESIS, checked.published, study))
    if checked.response is not None:
        jobs.append(Job(RESPONSE, checked.response, study))
    folder = ResultsFolder(Path(out))
    with folder.opened(study.decisions_hash, {job.name: job.priors_hash for job in jobs}, study.name):
        folder.text("study.toml", study.path.read_text(encoding="utf-8"))
        _write_input_tables(folder, checked)
        if checked.prepared is not None:
            _write_data_tables(folder, checked.prepared)
            _write_descriptives(folder, checked.prepared, interval=study.decisions.interval)
        _write_published(folder, checked, jobs, clock)
        if study.published.claims and not only:
            with clock("Audit of the seed study's published claims"):
                audited = claims_tables()
                for name, table in audited.items():
                    folder.table(name, table)
                for line in verdict_lines(audited["audit"]):
                    say(line)
        if checked.prepared is not None:
            with clock("Precision that these data can give, before any result"):
                folder.table("precision", precision(checked.prepared.data, interval=study.decisions.interval))
        done = analyse_all(jobs, folder, at_once=at_once, say=say, draws=draws)
        seconds = dict(clock.seconds)
        for one in done:
            seconds |= one.seconds
        _write_joint_tables(folder, study, done, checked.left_out)
        for one in done:
            if one.name == RESPONSE and "estimates" in one.shared:
                for line in odds_ratio_lines(one.shared["estimates"]):
                    say(line)
        refused = {one.name: one.reasons for one in done if one.reasons}
        common = checked.prepared.data.notices if checked.prepared else ()
        with clock("Writing the report"):
            folder.provenance(
                record_of(study, started, checked.files, seconds)
                | {
                    "status": "refused"
                    if len(refused) == len(done)
                    else ("partly refused" if refused else "complete"),
                    "models": {one.name: _without(common, one.provenance) for one in done},
                    "left_out": dict(checked.left_out),
                    "total_seconds": round(perf_counter() - began, 1),
                }
            )
            render_report(folder.staging, formats=formats, at_once=at_once, home=folder.out)
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
        reused = tuple(one.name for one in done if one.reused)
        return RunResult(
            folder.out,
            report,
            reused,
            seconds | clock.seconds,
            perf_counter() - began,
            _findings(done),
            study.decisions.interval,
        )


def _findings(done: Sequence[Analysed]) -> pd.DataFrame | None:
    """Give what the main model found, where it was fitted."""
    pairs = next((one.shared["concordance"] for one in done if one.name == MODEL and not one.reasons), None)
    return None if pairs is None else discoveries_of(pairs)


def _without(common: Sequence[str], record: Mapping[str, Any]) -> dict[str, Any]:
    """Record of a fit, without the notices that hold for every model."""
    return {**record, "notices": [text for text in record["notices"] if text not in common]}


def _write_published(folder: ResultsFolder, checked: Checked, jobs: Sequence[Job], clock: Clock) -> None:
    """Write what published results say without sampling."""
    if checked.published is not None and checked.evidence is not None:
        folder.table(f"{SYNTHESIS}_registry", crude_beside_adjusted(checked.evidence))
    if checked.response is not None and checked.evidence is not None:
        (priors,) = (job.priors for job in jobs if job.name == RESPONSE)
        with clock("Response to treatment, with and without borrowing from other studies"):
            interval = checked.study.decisions.interval
            made = borrowing_tables(checked.response, checked.evidence, priors, interval=interval)
            for name, table in made.items():
                folder.table(name, table)


def _write_joint_tables(
    folder: ResultsFolder, study: Study, done: Sequence[Analysed], left_out: Mapping[str, str]
) -> None:
    """Write each table that all models share once, with a column that names the model, and what joins them."""
    names = dict.fromkeys(name for one in done for name in one.shared)
    for name in names:
        frames = [
            table if "model" in table.columns else table.assign(model=one.name)[["model", *table.columns]]
            for one in done
            if (table := one.shared.get(name)) is not None and len(table)
        ]
        if frames:
            joint = pd.concat(frames, ignore_index=True)
            folder.table(name, joint)
            if name == "concordance":
                # Questions to published results are asked one at a time, and make no family.
                folder.table("families", families(joint[~joint["model"].isin(MODELS_OF_RESULTS)]))
    tables = [one.shared["estimates"] for one in done if "estimates" in one.shared]
    if tables and study.cohorts:
        infiltrate = study.choices.infiltrate
        found = claims(
            Estimates.concat([Estimates(table) for table in tables]),
            measure=study.her2.label or study.her2.measure,
            infiltrate=infiltrate.label if infiltrate else "",
            left_out=left_out,
        )
        folder.table("claims", found)


def _write_input_tables(folder: ResultsFolder, checked: Checked) -> None:
    """Write what was left out of the analysis and why, and the remarks on what was read."""
    of_response = checked.response.exclusions if checked.response else ()
    sources = [own.exclusions for own in checked.sets.values()]
    if checked.prepared is not None:
        sources.insert(0, checked.prepared.data.exclusions)
    every = dict.fromkeys(e for own in (*sources, of_response) for e in own)
    folder.table("exclusions", exclusions_frame(tuple(every)))
    folder.table("exclusion_counts", checked.exclusion_counts)
    notices = []
    if checked.prepared is not None:
        data = checked.prepared.data
        for text in data.notices:
            start, _, rest = text.partition(": ")
            about = rest and (start in data.cohorts or start in data.cell_types.index)
            notices.append((start, rest) if about else ("study", text))
    if checked.evidence is not None:
        notices += [("published results", text) for text in checked.evidence.notices]
    if checked.prepared is not None:
        by_cohort = checked.prepared.data.tumours.groupby("cohort")["her2_ihc"]
        notices += [
            (str(c), "HER2 IHC level is not recorded, so the HER2 measure is not described by it.")
            for c, level in by_cohort
            if level.isna().all()
        ]
    folder.table("notices", pd.DataFrame(notices, columns=["where", "text"]))


def _write_data_tables(folder: ResultsFolder, prepared: Prepared) -> None:
    data = prepared.data
    folder.table("flow", prepared.flow)
    folder.table("composition", prepared.composition)
    folder.table("cell_types", data.cell_types.reset_index())
    folder.table("parts", data.parts)
    folder.table("zero_shares", data.counts)
    folder.table("rules", data.rules)
    folder.table("her2_scaling", data.her2_scaling.reset_index())
    folder.table("covariate_scaling", data.covariate_scaling.reset_index())


def _write_descriptives(folder: ResultsFolder, prepared: Prepared, *, interval: float) -> None:
    """Write Table 1, the HER2 measure by IHC level, the composition of the infiltrate, and the M1/M2 ratio."""
    chosen = prepared.data.tumours.index
    tumours, abundance = prepared.tumours.tumours.loc[chosen], prepared.tumours.abundance.loc[chosen]
    folder.table("table_one", table_one(prepared.cohorts, tumours))
    by_ihc = her2_by_ihc(prepared.data, interval=interval)
    if by_ihc is not None:
        folder.table("her2_by_ihc", by_ihc)
    folder.table("cell_composition", cell_composition(tumours, abundance))
    ratio = macrophage_ratio(tumours, abundance)
    if ratio is not None:
        folder.table("m1_m2", ratio)
