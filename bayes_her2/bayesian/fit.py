"""A model file + an analysis set -> a fit that passed the gate, or one that says why it did not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np
import nutpie
import pandas as pd
import pymc as pm
import xarray as xr
from nutpie.sample import CompiledModel
from threadpoolctl import threadpool_limits

from bayes_her2.bayesian.compilation import compiled
from bayes_her2.bayesian.diagnostics import Diagnostics, diagnose
from bayes_her2.bayesian.model import ModelFile, load_model, main_model_of, unsuited
from bayes_her2.bayesian.priors import Prior
from bayes_her2.data import MIN_EACH_SIDE, MIN_STRATUM, PRESENCE_HELD_BELOW, ModelData
from bayes_her2.errors import DataError
from bayes_her2.files import write_bytes
from bayes_her2.hashing import hash_of, source_hash, sources_of, versions

NETCDF_ENGINE: Literal["h5netcdf"] = "h5netcdf"
ESTIMAND_GROUP = "estimands"
ESTIMAND_VARIABLE = "value"
RETRY_TARGET_ACCEPT = 0.95

Progress = Callable[[int, int], None]
"""Receives the draws finished so far and the draws in all, over all chains, warm-up included."""


@dataclass(frozen=True)
class Sampling:
    """Sampler settings, all of them named: nothing is left to a default that may move.

    Attributes
    ----------
    chains, tune, draws
        Chains, warm-up draws and kept draws per chain.
    target_accept
        Target acceptance of NUTS.
    seed
        Seed of sampler, predictive checks and new-cohort draws.
    cores
        Processes; the draws do not depend on it.
    sampler
        Name of the sampler.
    backend
        What compiles the model: ``numba``, or ``jax`` (`bayes_her2.bayesian.jax_backend`).
    """

    chains: int = 4
    tune: int = 1_000
    draws: int = 2_000
    target_accept: float = 0.9
    seed: int = 1
    cores: int = 2
    sampler: str = "nutpie"
    backend: Literal["numba", "jax"] = "numba"

    def harder(self) -> Sampling:
        """Return the settings of the one automatic retry: twice the draws, smaller steps, another seed."""
        return replace(
            self,
            tune=2 * self.tune,
            draws=2 * self.draws,
            target_accept=max(RETRY_TARGET_ACCEPT, self.target_accept),
            seed=self.seed + 1,
        )


@dataclass(frozen=True)
class Fit:
    """A fitted model: labelled draws, the priors used, settings, diagnostics and provenance.

    Attributes
    ----------
    draws
        DataTree with the groups ``posterior``, ``sample_stats`` and ``estimands`` (by label).
    model
        Name of the model file.
    priors
        As used, overrides included.
    sampling
        As used: after a retry, the retry's.
    fingerprint
        Of the analysis set.
    diagnostics
        The gate's figures.
    fit_hash
        Over model code, priors, settings asked for and fingerprint: equal hashes mean the same fit.
    versions, seconds, retried
        Package versions, wall time, and whether a first attempt failed the gate.
    """

    draws: xr.DataTree
    model: str
    priors: Mapping[str, Prior]
    sampling: Sampling
    fingerprint: str
    diagnostics: Diagnostics
    fit_hash: str
    versions: Mapping[str, str]
    seconds: float
    retried: bool

    @property
    def posterior(self) -> xr.Dataset:
        """Posterior draws."""
        return self.draws["posterior"].to_dataset()

    @property
    def estimand_draws(self) -> dict[tuple[str, str], xr.DataArray]:
        """Draws of the estimands by (estimand, scope); ratios are on the log scale."""
        return {
            _estimand_key(str(path)): node.to_dataset()[ESTIMAND_VARIABLE]
            for path, node in self.draws[ESTIMAND_GROUP].children.items()
        }

    def to_netcdf(self, path: Path) -> None:
        """Write to `path`, whole or not at all."""
        tree = self.draws.copy()
        tree.attrs = {
            "bayes_her2": json.dumps(
                {
                    "model": self.model,
                    "priors": {name: asdict(prior) for name, prior in self.priors.items()},
                    "sampling": asdict(self.sampling),
                    "fingerprint": self.fingerprint,
                    "diagnostics": self.diagnostics.table.to_dict(orient="list"),
                    "n_divergent": self.diagnostics.n_divergent,
                    "fit_hash": self.fit_hash,
                    "versions": dict(self.versions),
                    "seconds": self.seconds,
                    "retried": self.retried,
                }
            )
        }
        # Made in memory and written as bytes: HDF5 that meets a full disk takes the whole process down.
        write_bytes(path, bytes(tree.to_netcdf(engine=NETCDF_ENGINE)))


def read_fit(path: Path) -> Fit:
    """Read a fit written by `Fit.to_netcdf`, without loss.

    Parameters
    ----------
    path
        The netCDF file.

    Raises
    ------
    DataError
        The file is not a whole fit of this package.
    """
    try:
        with xr.open_datatree(path, engine=NETCDF_ENGINE) as opened:
            tree = opened.load()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable fit ({error}). Delete it and run again.") from error
    if "bayes_her2" not in tree.attrs:
        raise DataError(f"{path}: has no record of the fit in it. Delete it and run again.")
    try:
        kept = json.loads(tree.attrs["bayes_her2"])
        return Fit(
            draws=tree,
            model=kept["model"],
            priors={name: Prior(**prior) for name, prior in kept["priors"].items()},
            sampling=Sampling(**kept["sampling"]),
            fingerprint=kept["fingerprint"],
            diagnostics=Diagnostics(pd.DataFrame(kept["diagnostics"]), kept["n_divergent"]),
            fit_hash=kept["fit_hash"],
            versions=kept["versions"],
            seconds=kept["seconds"],
            retried=kept["retried"],
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: the record of the fit in it is not one of this version ({error!r}). Delete it and run again."
        ) from error


def fit_hash(model: ModelFile, data: ModelData, priors: Mapping[str, Prior], sampling: Sampling) -> str:
    """Hash of everything that determines the draws, so that a finished fit is found again.

    Of the code: this file, the model file, the model file that it is an alternative to, and what they import of the
    rooms that decide what is drawn (`bayes_her2.hashing.NUMERIC`).
    """
    settings = asdict(sampling)
    settings.pop("cores")
    files = [Path(model.__file__ or "")]
    main = main_model_of(model.__name__.rsplit(".", 1)[-1])
    files.append(files[0].with_name(f"{main}.py"))
    sources = sources_of([Path(__file__), *files])
    return hash_of(
        {
            "model": model.__name__,
            "code": source_hash(sources),
            "rules": [MIN_STRATUM, MIN_EACH_SIDE, PRESENCE_HELD_BELOW],
            "priors": {name: asdict(prior) for name, prior in priors.items()},
            "sampling": settings,
            "fingerprint": data.fingerprint,
            "versions": versions(),
        }
    )


def fit_model(
    model: str | Path | ModelFile,
    data: ModelData,
    priors: Mapping[str, Prior] | None = None,
    sampling: Sampling | None = None,
    *,
    progress: bool | Progress = True,
    on_retry: Callable[[tuple[str, ...]], None] | None = None,
    ready: Callable[[], CompiledModel] | None = None,
) -> Fit:
    """Sample a model, check every reported quantity, and try once more if the gate is not passed.

    Parameters
    ----------
    model
        Name of a model file, the path of one of your own, or the module (`load_model`).
    data
        Its data: an analysis set, or what the model file names in ``DATA``.
    priors
        One prior for each name of the model's ``PRIORS``; its defaults if None.
    sampling
        Sampler settings.
    progress
        Whether to show a progress bar; or what to call, from another thread, as draws are finished.
    on_retry
        Called with the reasons before the second attempt.
    ready
        Gives the model as it is compiled for these data and priors (`bayes_her2.bayesian.prepared`); if None the model
        is built and compiled.

    Returns
    -------
    Fit
        The caller looks at ``fit.diagnostics.passed`` before reporting: a fit that fails twice is returned with its
        reasons, so that they can be shown.

    Raises
    ------
    DataError
        An unknown model, or data that it is no model of.
    """
    module = load_model(model) if isinstance(model, str | Path) else model
    name = module.__name__.rsplit(".", 1)[-1]
    reason = unsuited(module, data)
    if reason:
        raise DataError(f"{name}: {reason}")
    priors = dict(module.priors_for(data) if priors is None else priors)
    asked = sampling or Sampling()
    key = fit_hash(module, data, priors, asked)
    start = perf_counter()
    model_ready = compiled(module.build(data, priors), asked.backend) if ready is None else ready()
    used, retried = asked, False
    tree, diagnostics = _attempt(module, model_ready, data, priors, used, progress=progress)
    if not diagnostics.passed:
        if on_retry is not None:
            on_retry(diagnostics.reasons)
        used, retried = asked.harder(), True
        tree, diagnostics = _attempt(module, model_ready, data, priors, used, progress=progress)
    return Fit(
        draws=tree,
        model=name,
        priors=priors,
        sampling=used,
        fingerprint=data.fingerprint,
        diagnostics=diagnostics,
        fit_hash=key,
        versions=versions(),
        seconds=perf_counter() - start,
        retried=retried,
    )


def _attempt(
    module: ModelFile,
    ready: CompiledModel,
    data: ModelData,
    priors: Mapping[str, Prior],
    sampling: Sampling,
    *,
    progress: bool | Progress,
) -> tuple[xr.DataTree, Diagnostics]:
    raw = sample(ready, sampling, progress=progress)
    posterior = raw["posterior"].to_dataset()
    rng = np.random.default_rng([sampling.seed, 1])
    estimands = module.estimand_draws(posterior, data, priors, rng)
    quantities = {f"{estimand}, {scope}": array for (estimand, scope), array in estimands.items()}
    quantities |= module.reported(posterior)
    divergent = int(raw["sample_stats"]["diverging"].sum())
    diagnostics = diagnose(quantities, divergent)
    groups: dict[str, xr.Dataset] = {"posterior": posterior}
    stats = raw["sample_stats"].to_dataset()
    kept = [n for n in ("diverging", "n_steps", "step_size", "logp", "energy", "depth") if n in stats]
    groups["sample_stats"] = stats[kept]
    for (estimand, scope), array in estimands.items():
        groups[f"{ESTIMAND_GROUP}/{_estimand_name(estimand, scope)}"] = xr.Dataset(
            {ESTIMAND_VARIABLE: array.reset_coords(drop=True)}
        )
    return xr.DataTree.from_dict(groups), diagnostics


def sample(graph: pm.Model | CompiledModel, sampling: Sampling, *, progress: bool | Progress) -> xr.DataTree:
    """Draw from a model, compiled or not, with every setting named."""
    if sampling.sampler != "nutpie":
        raise DataError(f"sampler {sampling.sampler!r} is not supported; known: nutpie.")
    report = progress if callable(progress) else None

    def count(chains: list[nutpie.ChainProgress]) -> None:
        if report is not None:
            report(sum(c.finished_draws for c in chains), sum(c.total_draws for c in chains))

    # Chains run side by side: linear algebra with threads of its own would make them wait for each other
    # (measured: twice the time).
    with threadpool_limits(1):
        running = nutpie.sample(
            compiled(graph, sampling.backend) if isinstance(graph, pm.Model) else graph,
            draws=sampling.draws,
            tune=sampling.tune,
            chains=sampling.chains,
            cores=min(sampling.cores, sampling.chains),
            seed=sampling.seed,
            target_accept=sampling.target_accept,
            save_warmup=False,
            progress_bar=progress is True,
            progress_rate=500,
            progress_callback=count if report is not None else None,
            blocking=False,
        )
        # Where nutpie itself waits, it answers an interrupt with the draws made so far, the shorter chains filled up
        # with NaN.
        try:
            tree: xr.DataTree = running.wait()
        except BaseException:
            running.cancel()
            raise
    return tree


def _estimand_name(estimand: str, scope: str) -> str:
    return f"{estimand}__{scope.replace(' ', '_')}"


def _estimand_key(name: str) -> tuple[str, str]:
    estimand, scope = name.split("__")
    return estimand, scope.replace("_", " ")
