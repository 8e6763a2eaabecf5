"""Calibration of a model: many simulated data sets of a study's design, each fitted, resumable one by one."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import pandas as pd
import xarray as xr

from bayes_her2.bayesian import calibration as calibration_module
from bayes_her2.bayesian.calibration import SETTINGS, Replicate, calibrate_one, in_trouble, prior_truths
from bayes_her2.bayesian.compilation import compiled
from bayes_her2.bayesian.fit import Progress, Sampling, fit_hash
from bayes_her2.bayesian.model import (
    ALTERNATIVES,
    MODELS,
    MODELS_OF_RESULTS,
    CalibratedModel,
    alternatives_to,
    load_model,
    main_model_of,
    unsuited,
)
from bayes_her2.comparison.calibration import (
    MIN_REPLICATES,
    coverage,
    discoveries,
    errors_of_claims,
    power,
    rank_ecdf,
    uniformity,
    verdict,
)
from bayes_her2.data import AnalysisSet, EvidenceSet, ResponseData
from bayes_her2.errors import DataError
from bayes_her2.files import write_bytes
from bayes_her2.hashing import hash_of, source_hash
from bayes_her2.inputs import Study
from bayes_her2.report.calibration_page import PATIENTS, TUMOURS, calibration_page
from bayes_her2.report.standalone import About, rows_of, write_page
from bayes_her2.simulation import SEED_DESIGN, Design
from bayes_her2.simulation.demo import STUDY_NAME, write_demo
from bayes_her2.workflow.analysis import Job
from bayes_her2.workflow.check import RESPONSE, SYNTHESIS, Checked, check_study
from bayes_her2.workflow.progress import Clock, Say, silent
from bayes_her2.workflow.results import PROVENANCE, ResultsFolder, about_of, move_in_place, record_of
from bayes_her2.workflow.side_by_side import Done, do_all

REPLICATES = 200
SEED = 20261128
KIND = "calibration"
PAGE = "calibration.html"
PARTS = ("tables", "figures", "study.toml", PAGE, PROVENANCE)
"""What a calibration puts in place, the provenance last: where it stands, the rest belongs to it."""
CELL_TYPES = (
    "Macrophages M2",
    "T cells CD8",
    "Plasma cells",
    "T cells regulatory (Tregs)",
    "Mast cells resting",
    "Neutrophils",
)
"""Of the seed study's design, where no study is given: from never zero to mostly, so that a data set takes seconds."""
NOT_DRAWN = {
    "rank_correlation": "it sees ranks, and the prior of the measures' correlations lies around those of the sample: "
    "no data can be drawn from it; how often its intervals hold known correlations is in "
    "tests/reference/studies/copula_coverage.csv",
    "composition": "a tumour without any cell type has no shares: tumours are drawn until they have one, which the "
    "density of presence does not know of",
}
"""Model -> why no data are simulated from its priors."""
_BLOCK = 50
"""Truths drawn at a time: the truth of a data set depends on its number, not on how many are asked for."""
_TELL = 10


def calibrated_models() -> tuple[str, ...]:
    """Names of the models that can be held against data simulated from them."""
    known = [*MODELS, *MODELS_OF_RESULTS, *(n for main in ALTERNATIVES for n in alternatives_to(main))]
    return tuple(name for name in known if hasattr(load_model(name), "replicated"))


def small_seed_design() -> Design:
    """Return the seed study's cohorts, with `CELL_TYPES` alone, as shares: a scale that every model can have."""
    cohorts = tuple(
        replace(
            cohort,
            zero_share={name: share for name, share in cohort.zero_share.items() if name in CELL_TYPES},
        )
        for cohort in SEED_DESIGN.cohorts
    )
    kept = tuple(c for c in SEED_DESIGN.cell_types if c.name in CELL_TYPES)
    return replace(SEED_DESIGN, cohorts=cohorts, cell_types=kept, scale="relative", ineligible=False)


@dataclass(frozen=True)
class DataSetJob:
    """One data set to simulate and fit. It can be sent to another process.

    Attributes
    ----------
    name
        Its number, as its file is called.
    number
        Its number.
    job
        Model, tumours and priors.
    truth
        Its parameters.
    seed
        Of the calibration.
    settings
        Of the sampler.
    interval
        Probability of the intervals.
    key
        Hash of all that determines the result.
    """

    name: str
    number: int
    job: Job
    truth: xr.Dataset
    seed: int
    settings: Sampling
    interval: float
    key: str


@dataclass(frozen=True)
class Calibrated:
    """What a calibration left behind.

    Attributes
    ----------
    folder
        Results folder: ``tables/ranks.csv``, ``rank_ecdf.csv``, ``coverage.csv``, ``errors_of_claims.csv``,
        ``discoveries.csv``, ``power.csv``, ``design.csv``, ``fits.csv``; a file for each data set in
        ``replicates``; ``provenance.json``.
    model
        Name of the model.
    n
        Data sets.
    tables
        By file name.
    reused
        Data sets that were found finished.
    against
        What speaks against calibration.
    page
        ``calibration.html``: figures and tables of all this.
    """

    folder: Path
    model: str
    n: int
    tables: dict[str, pd.DataFrame]
    reused: int
    against: tuple[str, ...]
    page: Path


def calibrate_model(
    model: str,
    out: Path | str,
    *,
    study: Path | str | None = None,
    replicates: int = REPLICATES,
    seed: int = SEED,
    at_once: int = 1,
    settings: Sampling = SETTINGS,
    say: Say = silent,
    scheduler: str = "",
) -> Calibrated:
    """Draw truths from a model's priors, simulate and fit a data set for each, and see where the truths lie.

    Parameters
    ----------
    model
        Name of a model (`calibrated_models`).
    out
        Folder for the results; data sets found there are reused.
    study
        Study file whose tumours (covariates, cohorts, strata, what is modelled), priors and interval are used; its
        outcomes are replaced. None: the seed study's cohorts, simulated, with six cell types; its patients of Table 2
        for the response to treatment, and the studies of the shipped evidence table for its synthesis.
    replicates
        Data sets.
    seed
        Of truths, data and sampler. A data set depends on the seed and its number alone.
    at_once
        Data sets to fit at the same time.
    settings
        Of the sampler, for each data set.
    say
        Receives one line per step.
    scheduler
        Address of a Dask scheduler whose workers do the fits; '' for this machine. They see the folder, and have one
        thread each.

    Raises
    ------
    DataError
        Bad input: an unknown model, too few data sets, a folder of other results. Nothing is written.
    """
    started = dt.datetime.now(dt.UTC)
    _check(model, replicates)
    clock = Clock(say)
    folder = ResultsFolder(Path(out))
    if study is None:
        folder.check(_title(STUDY_NAME, model))  # before the files of another study are replaced
        study = write_demo(folder.out / "simulated", seed, small_seed_design(), published=True)
    with clock("Reading and preparing the files"):
        checked = check_study(study, only=(main_model_of(model),))
        job = Job(model, _data_of(checked, model), checked.study)
        reason = unsuited(job.model, job.data)
        if reason:
            raise DataError(f"{model}: {reason}")
    with folder.opened(
        checked.study.decisions_hash, {model: job.priors_hash}, _title(checked.study.name, model)
    ):
        folder.text("study.toml", checked.study.path.read_text(encoding="utf-8"))
        interval = checked.study.decisions.interval
        key = _key(job, seed, settings, interval)
        own = replace(settings, cores=1) if at_once > 1 or scheduler else settings
        jobs, reused = _jobs(job, folder, replicates, seed, own, interval, key)
        if reused:
            say(f"{reused} of {replicates} data sets are found finished")
        if jobs:
            if at_once > 1 and not scheduler:
                with clock(f"{model}: compiling"):  # once, for all processes to load
                    compiled(job.model.build(job.data, job.priors))
            with clock(f"{model}: {len(jobs)} data sets simulated and fitted"):
                do_all(jobs, do_data_set, folder, at_once=at_once, say=say, draws=None, scheduler=scheduler)
        with clock("Ranks, coverage, errors and power"):
            rows, fits = _read_all(folder, replicates)
            tables = {
                "ranks": uniformity(rows),
                "rank_ecdf": rank_ecdf(rows),
                "coverage": coverage(rows, interval),
                "errors_of_claims": errors_of_claims(rows),
                "discoveries": discoveries(
                    rows if getattr(job.model, "CALLS_SIGNS", True) else rows.head(0),
                    checked.study.decisions.false_discovery,
                ),
                "power": power(rows),
                "design": _design(job.data),
                "fits": fits,
            }
            against = verdict(tables["ranks"], tables["coverage"])
            page = calibration_page(
                {name: rows_of(table) for name, table in tables.items()},
                replace(_about(checked.study, job.data), seed=seed, simulated=True),
                model=model,
                replicates=replicates,
                against=against,
                troubled=troubled(fits),
                retried=int(fits["retried"].sum()),
                sampler=f"{settings.chains} chains of {settings.draws} draws after {settings.tune}",
                unit=TUMOURS if isinstance(job.data, AnalysisSet) else PATIENTS,
            )
            for name, table in tables.items():
                folder.table(name, table)
            write_page(page, folder.staging, PAGE)
        folder.provenance(
            record_of(checked.study, started, checked.files, clock.seconds)
            | {
                "kind": KIND,
                "model": model,
                "replicates": replicates,
                "calibration_seed": seed,
                "sampler": asdict(settings),
                "key": key,
                "fingerprint": job.data.fingerprint,
                "against": against,
            }
        )
        move_in_place(folder.staging, folder.out, PARTS)
        return Calibrated(folder.out, model, replicates, tables, reused, against, folder.out / PAGE)


def _data_of(checked: Checked, model: str) -> AnalysisSet | EvidenceSet | ResponseData:
    """Give what a model is fitted to."""
    if model == SYNTHESIS:
        assert checked.published is not None  # a study that does not ask for it was refused
        return checked.published
    if model == RESPONSE:
        assert checked.response is not None  # likewise
        return checked.response
    assert checked.prepared is not None  # a study without cohorts was refused
    return checked.prepared.tumours.for_model(main_model_of(model))


def _about(study: Study, data: AnalysisSet | EvidenceSet | ResponseData) -> About:
    """Head of the page: whose tumours or patients they are."""
    about = about_of(study, data.measure)
    if isinstance(data, ResponseData):
        return replace(about, study=data.name, description=data.citation)
    if isinstance(data, EvidenceSet):
        return replace(about, study="the studies of the evidence table", description="")
    return about


def _design(data: AnalysisSet | EvidenceSet | ResponseData) -> pd.DataFrame:
    """Tumours or patients of a data set: ``of`` (cohort, study or arm), ``stratum``, ``n`` (NA where not printed)."""
    if isinstance(data, EvidenceSet):
        own = data.studies
        own = own.assign(n=own["n_exposed"] + own["n_reference"])
        return own.groupby(["study", "hr"])["n"].max().rename_axis(["of", "stratum"]).reset_index()
    if isinstance(data, ResponseData):
        counts = data.counts
        of = (counts["outcome"] + ", " + counts["arm"]).rename("of")
        stratum = (counts["hr"] + ", " + counts["her2"]).rename("stratum")
        return counts["n"].groupby([of, stratum]).sum().reset_index()
    counted = data.tumours.groupby(["cohort", "hr"]).size()
    return counted.rename("n").rename_axis(["of", "stratum"]).reset_index()


def _title(study: str, model: str) -> str:
    return f"{study}: {KIND} of {model}"


def _check(model: str, replicates: int) -> None:
    known = calibrated_models()
    if model not in known:
        why = f" ({NOT_DRAWN[model]})" if model in NOT_DRAWN else ""
        raise DataError(
            f"{model!r}: is not a model that can be held against data simulated from it{why}; "
            f"known: {', '.join(known)}."
        )
    if replicates < MIN_REPLICATES:
        raise DataError(
            f"--replicates {replicates}: {MIN_REPLICATES} at least, or ranks say nothing; {REPLICATES} tell a coverage "
            "of 0.95 from one of 0.90."
        )


def _key(job: Job, seed: int, settings: Sampling, interval: float) -> str:
    """Hash of all that determines the result of a data set, but for its number."""
    code = source_hash((Path(calibration_module.__file__), Path(__file__)))
    fit = fit_hash(job.model, job.data, job.priors, replace(settings, seed=seed))
    return hash_of({"fit": fit, "code": code, "interval": interval})


def _jobs(
    job: Job,
    folder: ResultsFolder,
    replicates: int,
    seed: int,
    settings: Sampling,
    interval: float,
    key: str,
) -> tuple[list[DataSetJob], int]:
    """Give the data sets that are not there yet, and the number of those that are."""
    model, data = cast("CalibratedModel", job.model), job.data
    wanted = [number for number in range(replicates) if not _is_there(_path(folder, number), key)]
    truths: dict[int, xr.Dataset] = {}
    jobs = []
    for number in wanted:
        block, place = divmod(number, _BLOCK)
        if block not in truths:
            truths[block] = prior_truths(model, data, job.priors, _BLOCK, [seed, block])
        truth = truths[block].isel(draw=[place])
        jobs.append(DataSetJob(f"{number + 1:04d}", number, job, truth, seed, settings, interval, key))
    return jobs, replicates - len(wanted)


def do_data_set(job: DataSetJob, folder: ResultsFolder, *, say: Say, progress: bool | Progress) -> Done:
    """Simulate and fit one data set, and write what it gave.

    Parameters
    ----------
    job
        The data set.
    folder
        Its file goes to ``replicates``.
    say
        Receives a line for every tenth data set.
    progress
        Not used: a data set takes seconds.
    """
    made = calibrate_one(
        cast("CalibratedModel", job.job.model),
        job.job.data,
        job.job.priors,
        job.truth,
        seed=job.seed,
        number=job.number,
        settings=job.settings,
        interval=job.interval,
    )
    _write(made, job, _path(folder, job.number))
    if (job.number + 1) % _TELL == 0:
        say(f"data set {job.number + 1}: {made.seconds:.0f} s")
    return Done(job.name)


# --- data sets on disk ---------------------------------------------------------------------------


def _path(folder: ResultsFolder, number: int) -> Path:
    return folder.out / "replicates" / f"{number + 1:04d}.parquet"


def _write(made: Replicate, job: DataSetJob, path: Path) -> None:
    table = made.table.assign(replicate=job.number + 1)
    table.attrs = {
        "key": job.key,
        "r_hat": made.r_hat,
        "ess": made.ess,
        "n_divergent": made.n_divergent,
        "seconds": made.seconds,
        "retried": made.retried,
    }
    content = io.BytesIO()
    table.to_parquet(content, index=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content.getvalue())


def _read(path: Path) -> pd.DataFrame | None:
    """Return a data set's table with its record in ``attrs``, or None where the file is not whole."""
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError):
        return None
    return table if "key" in table.attrs else None


def _is_there(path: Path, key: str) -> bool:
    found = _read(path) if path.exists() else None
    return found is not None and found.attrs["key"] == key


def _read_all(folder: ResultsFolder, replicates: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of all data sets, and how each fit went."""
    tables: list[pd.DataFrame] = []
    fits: list[dict[str, Any]] = []
    for number in range(replicates):
        table = _read(_path(folder, number))
        assert table is not None
        fits.append({"replicate": number + 1} | {str(n): v for n, v in table.attrs.items() if n != "key"})
        table.attrs = {}
        tables.append(table)
    return pd.concat(tables, ignore_index=True), pd.DataFrame(fits)


def troubled(fits: pd.DataFrame) -> Sequence[int]:
    """Name data sets whose fit had a divergent transition or a high R-hat, in the second attempt too.

    They stay in all tables: to leave them out would make the rest look better calibrated than the model is.
    """
    rows = zip(fits["replicate"], fits["r_hat"], fits["n_divergent"], strict=True)
    return [int(r) for r, r_hat, n_divergent in rows if in_trouble(float(r_hat), int(n_divergent))]
