"""A latent HER2 behind a study's measures, and the immune slopes for it beside those for the score as it is."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from nutpie.sample import CompiledModel

from bayes_her2.bayesian.compilation import compiled
from bayes_her2.bayesian.diagnostics import Diagnostics, diagnose
from bayes_her2.bayesian.fit import (
    NETCDF_ENGINE,
    Fit,
    Sampling,
    fit_hash,
    sample,
)
from bayes_her2.bayesian.imputed import (
    MIN_ESS_WITHIN,
    OneImputation,
    between_share,
    diagnose_one,
    put_together,
    reasons_against,
)
from bayes_her2.bayesian.measurement import (
    Indicators,
    draw_latent,
    draw_of,
    indicators,
    latent_given_all,
    parameters_of,
)
from bayes_her2.bayesian.model import MEASUREMENT
from bayes_her2.comparison.models import conclusions
from bayes_her2.data import AnalysisSet
from bayes_her2.errors import AnalysisRefusedError, DataError
from bayes_her2.estimates import Rope
from bayes_her2.files import write_bytes
from bayes_her2.hashing import hash_of, source_hash, sources_of
from bayes_her2.models import abundance, her2_measurement
from bayes_her2.models.her2_measurement import CUT, DRAWN, JOINT, LATENT, PLUG_IN, SLOPES
from bayes_her2.workflow.analysis import Job, fit_or_reuse
from bayes_her2.workflow.check import MODEL, check_study
from bayes_her2.workflow.progress import Clock, Draws, Say, silent
from bayes_her2.workflow.results import ResultsFolder, record_of

BEYOND = 1.96
"""Standard errors apart at which two measures are said to imply different slopes."""
IMPUTATIONS = 20
CHAINS, TUNE = 2, 300
"""Of each imputation."""
DRAWS_OF_ALL = 10_000
"""Draws of all imputations together, shared out equally: no fewer than of a fit of the main model."""
_VALUE = "value"
_RELIABILITY = ("reliability", "joint")
"""Key of the reliabilities among the draws of the joint model."""


@dataclass(frozen=True)
class Measured:
    """What a study of the HER2 measures left behind.

    Attributes
    ----------
    folder
        Results folder: ``tables/measurement.csv``, ``immune_slopes.csv`` and others, the fits in ``posterior``, and
        ``provenance.json``.
    measurement
        Estimates of the measurement model.
    slopes
        Immune slopes of every treatment of the exposure beside those of the score as it is.
    estimates
        The same, one row for each treatment.
    agreement
        Whether two measures imply the same slope of the latent, by cell type.
    refused
        Treatment -> why it is not in the tables.
    """

    folder: Path
    measurement: pd.DataFrame
    slopes: pd.DataFrame
    estimates: pd.DataFrame
    agreement: pd.DataFrame
    refused: dict[str, tuple[str, ...]]


def measure_study(
    path: Path | str,
    out: Path | str,
    *,
    joint: bool = False,
    imputations: int = IMPUTATIONS,
    say: Say = silent,
    draws: Draws | None = None,
) -> Measured:
    """Fit the measurement model of a study's HER2 measures, and carry it into the immune slopes.

    Parameters
    ----------
    path
        Study file; ``[her2_measurement]`` names the measures beside the study's own.
    out
        Folder for the results, another than that of a run; finished fits found there are reused.
    joint
        Whether to fit the joint model too, in which immune outcomes inform the latent.
    imputations
        Draws of the measurement's parameters for each of which the main model is fitted.
    say, draws
        As in `run_study`.

    Raises
    ------
    DataError
        Bad input, a cohort with a single indicator of HER2 among it: nothing is written.
    AnalysisRefusedError
        The measurement model, the main model or the cut did not pass its gates.
    """
    started = dt.datetime.now(dt.UTC)
    if imputations < 2:
        raise DataError(
            f"--imputations {imputations}: at least 2, or what is not known of HER2 has no spread."
        )
    clock = Clock(say)
    with clock("Reading and preparing the files"):
        checked = check_study(path, only=(MODEL,))
        assert checked.prepared is not None  # a study without cohorts was refused
        data = checked.prepared.tumours.for_model(MEASUREMENT)
    study = checked.study
    own, main = Job(MEASUREMENT, data, study), Job(MODEL, data, study)
    folder = ResultsFolder(Path(out))
    with folder.opened(
        study.decisions_hash,
        {job.name: job.priors_hash for job in (own, main)},
        f"{study.name}: HER2 measurement",
    ):
        folder.text("study.toml", study.path.read_text(encoding="utf-8"))
        fit = _measurement(own, folder, clock, say, draws)
        seen = indicators(data)
        treated = _Treated(main, folder, clock, say, draws)
        expected, drawn = _exposures(fit, seen, imputations, study.seed)
        found: dict[str, tuple[OneImputation, ...]] = {
            PLUG_IN: treated(PLUG_IN, [data.tumours["her2_sd"].to_numpy(float)], main.sampling),
            CUT: treated(CUT, expected),
            DRAWN: treated(DRAWN, drawn),
        }
        informed = _joint(own, main, folder, clock, say, draws) if joint else None
        if informed is not None:
            slopes_of_it = {key: array for key, array in informed.draws.items() if key[0] in SLOPES}
            found[JOINT] = (OneImputation(slopes_of_it, informed.diagnostics),)
        refused = {name: why for name, parts in found.items() if (why := _reasons(parts))}
        if PLUG_IN in refused or CUT in refused:
            raise AnalysisRefusedError(
                [
                    "The immune slopes did not pass their gates:",
                    *(f"  {name}: {reason}" for name, why in refused.items() for reason in why[:10]),
                ]
            )
        decisions = study.decisions
        rope = Rope(decisions.rope, decisions.rope_standardised)
        interval = decisions.interval
        with clock("Estimates and tables"):
            measurement = her2_measurement.estimates(
                fit.estimand_draws, data, interval=interval, rope=rope
            ).table
            rows = []
            for name, parts in found.items():
                if name in refused:
                    continue
                labelled = data if name == PLUG_IN else replace(data, measure=LATENT)
                table = abundance.estimates(put_together(parts), labelled, interval=interval, rope=rope).table
                rows.append(table.assign(treatment=name))
            estimates = pd.concat(rows, ignore_index=True)
            slopes = _side_by_side(
                estimates, {n: p for n, p in found.items() if n not in refused}, measurement
            )
        folder.table("measurement", measurement)
        further = her2_measurement.tables(
            fit.posterior, fit.estimand_draws, data, fit.priors, interval=interval
        )
        for name, table in further.items():
            folder.table(name, table)
        folder.table(
            "measurement_predictive",
            her2_measurement.predictive_checks(None, fit.posterior, data, study.seed, interval),
        )
        if informed is not None and JOINT not in refused:
            folder.table("reliability_by_treatment", _moved(fit, informed, interval))
        folder.table("immune_slopes", slopes)
        folder.table("estimates", estimates)
        folder.table("diagnostics", _diagnostics(fit, found))
        folder.table(
            "treatments", pd.DataFrame(her2_measurement.TREATMENTS.items(), columns=["treatment", "is"])
        )
        folder.provenance(
            record_of(study, started, checked.files, clock.seconds)
            | {
                "fingerprint": data.fingerprint,
                "imputations": imputations,
                "treatments": [name for name in found if name not in refused],
                "refused": refused,
                "notices": list(data.notices),
            }
        )
        folder.put_in_place()
        return Measured(folder.out, measurement, slopes, estimates, further["indicator_agreement"], refused)


def _measurement(job: Job, folder: ResultsFolder, clock: Clock, say: Say, draws: Draws | None) -> Fit:
    """Fit the measurement model, or refuse."""
    with clock(f"{job.name}: sampling the posterior"):
        progress = draws is not None and (lambda done, total: draws(job.name, done, total))
        fit, _ = fit_or_reuse(job, folder, say=say, progress=progress)
    gates = job.model.prior_checks(job.model.build(job.data, job.priors), job.data, job.study.seed)
    reasons = [f"prior check not passed: {check}" for check in gates.loc[~gates["passed"], "check"]]
    reasons += list(fit.diagnostics.reasons)
    folder.table("measurement_prior_checks", gates)
    if reasons:
        raise AnalysisRefusedError([f"{job.name} did not pass its gates:", *(f"  {r}" for r in reasons)])
    return fit


def _exposures(
    fit: Fit, seen: Indicators, imputations: int, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Latent of every tumour for some draws of the parameters: its expectation, and a draw of it."""
    parameters = parameters_of(fit.posterior)
    rng = np.random.default_rng([seed, 5])
    chosen = rng.choice(len(parameters.sd), size=imputations, replace=False)
    each = [draw_of(parameters, int(i)) for i in chosen]
    return [latent_given_all(p, seen).mean for p in each], [draw_latent(p, seen, rng) for p in each]


class _Treated:
    """Fits of the main model for given exposures; its graph is compiled once, and only if a fit is missing."""

    def __init__(self, job: Job, folder: ResultsFolder, clock: Clock, say: Say, draws: Draws | None) -> None:
        assert isinstance(job.data, AnalysisSet)
        self.job, self.data, self.folder = job, job.data, folder
        self.clock, self.say, self.draws = clock, say, draws
        self.ready: CompiledModel | None = None

    def __call__(
        self, treatment: str, exposures: Sequence[np.ndarray], sampling: Sampling | None = None
    ) -> tuple[OneImputation, ...]:
        """Fit, or take up, one treatment: one exposure, or several."""
        parts, reused = [], 0
        with self.clock(f"{treatment}: sampling immune slopes ({len(exposures)} fits)"):
            for i, exposure in enumerate(exposures):
                used = sampling or Sampling(
                    CHAINS,
                    TUNE,
                    max(MIN_ESS_WITHIN, DRAWS_OF_ALL // (CHAINS * len(exposures))),
                    self.job.sampling.target_accept,
                    self.job.study.seed + i,
                    self.job.sampling.cores,
                )
                strict = sampling is not None
                path = self.folder.posterior / f"{treatment.replace(' ', '_')}_{i + 1:02d}.nc"
                key = _hash(self.job, self.data, used, exposure)
                part = _read(path, key)
                reused += part is not None
                if part is None:
                    part = self._fit(exposure, used, strict=strict)
                    if part.diagnostics.reasons:
                        self.say(f"{treatment}, fit {i + 1}: again with twice the draws")
                        part = self._fit(exposure, used.harder(), strict=strict)
                    _write(part, path, key)
                parts.append(part)
                if self.draws is not None:
                    each = used.chains * (used.tune + used.draws)
                    self.draws(treatment, (i + 1) * each, len(exposures) * each)
        if reused:
            self.say(f"{treatment}: {reused} of {len(exposures)} finished fits are reused")
        return tuple(parts)

    def _fit(self, exposure: np.ndarray, sampling: Sampling, *, strict: bool) -> OneImputation:
        if self.ready is None:
            self.ready = compiled(her2_measurement.build_given(self.data, self.job.priors))
        tree = sample(self.ready.with_data(exposure=exposure), sampling, progress=False)
        on = her2_measurement.on_exposure(self.data, exposure, LATENT)
        return _part(tree, _slopes(tree, on, self.job, sampling.seed), strict=strict)


def _slopes(tree: Any, data: AnalysisSet, job: Job, seed: int) -> dict[tuple[str, str], xr.DataArray]:
    """Immune slopes of one posterior."""
    posterior = tree["posterior"].to_dataset()
    rng = np.random.default_rng([seed, 1])
    slopes: dict[tuple[str, str], xr.DataArray] = her2_measurement.immune_slopes(
        posterior, data, job.priors, rng
    )
    return slopes


def _part(tree: Any, draws: dict[tuple[str, str], xr.DataArray], *, strict: bool) -> OneImputation:
    """Draws of one posterior with their diagnostics: by the gate of a fit, or by that of an imputation."""
    divergent = int(tree["sample_stats"]["diverging"].sum())
    if not strict:
        return OneImputation(draws, diagnose_one(draws, divergent))
    quantities = {f"{estimand}, {scope}": array for (estimand, scope), array in draws.items()}
    return OneImputation(draws, diagnose(quantities, divergent))


def _joint(
    own: Job, main: Job, folder: ResultsFolder, clock: Clock, say: Say, draws: Draws | None
) -> OneImputation:
    """Fit measurement and main model in one posterior, or take it up."""
    assert isinstance(own.data, AnalysisSet)
    data, sampling = own.data, main.sampling
    path = folder.posterior / "joint.nc"
    key = _hash(main, data, sampling, np.zeros(0), joint=own.priors_hash)
    part = _read(path, key)
    if part is not None:
        say("joint: a finished fit is reused")
        return part
    with clock("joint: sampling the posterior"):
        ready = compiled(her2_measurement.build_joint(data, own.priors, main.priors))
        progress = draws is not None and (lambda done, total: draws(JOINT, done, total))
        for attempt in (sampling, sampling.harder()):
            tree = sample(ready, attempt, progress=progress)
            latent = tree["posterior"]["latent_her2"].mean(("chain", "draw"))
            exposure = latent.sel(tumour=list(data.tumours.index)).to_numpy()
            on = her2_measurement.on_exposure(data, exposure, LATENT)
            slopes = _slopes(tree, on, main, attempt.seed)
            reliability = {_RELIABILITY: her2_measurement.reliabilities(tree["posterior"].to_dataset())}
            part = _part(tree, slopes | reliability, strict=True)
            if not part.diagnostics.reasons:
                break
    assert part is not None
    _write(part, path, key)
    return part


def _reasons(parts: Sequence[OneImputation]) -> tuple[str, ...]:
    return parts[0].diagnostics.reasons if len(parts) == 1 else reasons_against(parts)


# --- fits on disk --------------------------------------------------------------------------------


def _hash(job: Job, data: AnalysisSet, sampling: Sampling, exposure: np.ndarray, joint: str = "") -> str:
    """Hash of all that determines the draws of one fit."""
    sources = sources_of([Path(str(her2_measurement.__file__))])
    return hash_of(
        {
            "main": fit_hash(job.model, data, job.priors, sampling),
            "code": source_hash(sources),
            "exposure": hashlib.sha256(np.ascontiguousarray(exposure).tobytes()).hexdigest(),
            "joint": joint,
        }
    )


def _write(part: OneImputation, path: Path, key: str) -> None:
    # A group for each: averages over tumours may hold fewer draws than the rest.
    tree = xr.DataTree.from_dict(
        {
            f"{estimand}__{scope.replace(' ', '_')}": xr.Dataset({_VALUE: array.reset_coords(drop=True)})
            for (estimand, scope), array in part.draws.items()
        }
    )
    tree.attrs["bayes_her2"] = json.dumps(
        {
            "hash": key,
            "diagnostics": part.diagnostics.table.to_dict(orient="list"),
            "n_divergent": part.diagnostics.n_divergent,
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, bytes(tree.to_netcdf(engine=NETCDF_ENGINE)))


def _read(path: Path, key: str) -> OneImputation | None:
    """Return the finished fit of that hash, if it is there whole."""
    if not path.exists():
        return None
    try:
        with xr.open_datatree(path, engine=NETCDF_ENGINE) as opened:
            tree = opened.load()
        kept = json.loads(tree.attrs["bayes_her2"])
    except (OSError, ValueError, KeyError):
        return None
    if kept["hash"] != key:
        return None
    draws = {}
    for name, node in tree.children.items():
        estimand, scope = str(name).split("__")
        draws[(estimand, scope.replace("_", " "))] = node.to_dataset()[_VALUE]
    return OneImputation(draws, Diagnostics(pd.DataFrame(kept["diagnostics"]), kept["n_divergent"]))


# --- tables --------------------------------------------------------------------------------------


def _side_by_side(
    estimates: pd.DataFrame,
    found: dict[str, tuple[OneImputation, ...]],
    measurement: pd.DataFrame,
) -> pd.DataFrame:
    """Slopes of each treatment beside the plug-in's, with the stretch that measurement error alone explains.

    The stretch is a ratio of logarithms, given where the plug-in's interval excludes no association: elsewhere its
    denominator may be anything.
    """
    table = conclusions(estimates.assign(model=estimates["treatment"]), PLUG_IN)
    table = table.rename(columns=lambda c: c.replace("main_", "plug_in_")).rename(
        columns={"model": "treatment", "changed": "side_changes"}
    )
    stretch = np.log(table["point"]) / np.log(table["plug_in_point"])
    table["stretch"] = stretch.where(table["plug_in_says"] != "open")
    factor = measurement[measurement["estimand"] == "slope_factor"].set_index("outcome")["point"]
    relative = {
        CUT: 1.0 / factor[PLUG_IN],
        DRAWN: factor[DRAWN] / factor[PLUG_IN],
        JOINT: 1.0 / factor[PLUG_IN],
    }
    table["stretch_of_error_alone"] = table["treatment"].map(relative)
    shares = []
    for name, parts in found.items():
        if len(parts) > 1:
            share = between_share(parts).rename(columns={"cell_type": "outcome"})
            shares.append(share.assign(treatment=name))
    keys = ["treatment", "estimand", "scope", "outcome", "stratum"]
    return table.merge(pd.concat(shares)[[*keys, "between_share"]], on=keys, how="left")


def _moved(fit: Fit, informed: OneImputation, interval: float) -> pd.DataFrame:
    """Reliabilities without and with the immune outcomes: how far these move what counts as HER2."""
    tail = (1.0 - interval) / 2.0
    rows = []
    for treatment, array in (
        (CUT, fit.estimand_draws[("reliability", "pooled")]),
        (JOINT, informed.draws[_RELIABILITY]),
    ):
        for label in array["indicator"].to_numpy():
            lower, point, upper = np.quantile(array.sel(indicator=label), [tail, 0.5, 1.0 - tail])
            rows.append((treatment, str(label), float(point), float(lower), float(upper)))
    return pd.DataFrame(rows, columns=["treatment", "indicator", "point", "lower", "upper"])


def _diagnostics(fit: Fit, found: dict[str, tuple[OneImputation, ...]]) -> pd.DataFrame:
    """Diagnostics of every fit: ``treatment``, ``imputation`` and those of a fit."""
    tables = [fit.diagnostics.table.assign(treatment="measurement", imputation=0)]
    for name, parts in found.items():
        tables += [p.diagnostics.table.assign(treatment=name, imputation=i) for i, p in enumerate(parts, 1)]
    return pd.concat(tables, ignore_index=True)
