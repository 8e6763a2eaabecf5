"""Observed nodes for what is so or not so: one tumour at a time, or tumours that are alike, counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm

from bayes_her2.bayesian.kernel import Kernel
from bayes_her2.bayesian.prepared import counted_rows
from bayes_her2.bayesian.vector_math import exp, log_of_1_plus


def _events(events: Any, n: Any, logit_p: Any) -> tuple[Any, Any]:
    """Events x logit_p - n log(1 + exp logit_p), and its derivative with respect to logit_p."""
    size = np.abs(logit_p)
    u = exp(-size)
    positive = 1.0 * (logit_p >= 0)
    p = (positive + (1.0 - positive) * u) / (1.0 + u)
    softplus = 0.5 * (logit_p + size) + log_of_1_plus(u)
    return events * logit_p - n * softplus, events - n * p


EVENTS = Kernel(_events, wrt=(2,))


def bernoulli_node(
    name: str, *, logit_p: Any, observed: np.ndarray, modelled: np.ndarray, dims: tuple[str, str]
) -> Any:
    """Bernoulli(logit^-1 logit_p) for each tumour and cell type, where modelled.

    Parameters
    ----------
    name
        Name of the node.
    logit_p
        Log odds, tumour x cell type.
    observed
        1.0 where it is so (the cell type is present, its abundance is high), else 0.0.
    modelled
        1.0 where the cell type is modelled in the tumour's HR stratum; other entries contribute nothing.
    dims
        Names of the two dimensions.
    """

    def logp(value: Any, logit_p: Any, modelled: Any) -> Any:
        return EVENTS.value(modelled * value, modelled, logit_p)

    def random(logit_p: Any, modelled: Any, rng: np.random.Generator | None = None, size: Any = None) -> Any:
        rng = rng if rng is not None else np.random.default_rng()
        uniform = rng.random(
            size=np.broadcast_shapes(np.shape(logit_p), np.shape(modelled)) if size is None else size
        )
        return (uniform < 1.0 / (1.0 + np.exp(-logit_p))).astype(float)

    return pm.CustomDist(
        name,
        logit_p,
        counted_rows(name, modelled),
        logp=logp,
        random=random,
        signature="(),()->()",
        observed=np.asarray(observed, dtype=float),
        dims=dims,
    )


def counted_bernoulli_node(
    name: str, *, logit_p: Any, events: np.ndarray, n_tumours: np.ndarray, dims: tuple[str, str]
) -> Any:
    """Bernoulli(logit^-1 logit_p) for each of the tumours that are alike in everything the model knows.

    log density: events x logit_p - n_tumours log(1 + exp logit_p), the sum over the single tumours.

    Parameters
    ----------
    name
        Name of the node.
    logit_p
        Log odds, group of tumours x regression.
    events
        Tumours of the group of which it is so.
    n_tumours
        Tumours of the group; 0 where a group does not enter a regression.
    dims
        Names of the two dimensions.
    """

    def logp(value: Any, logit_p: Any, n_tumours: Any) -> Any:
        return EVENTS.value(value, n_tumours, logit_p)

    def random(logit_p: Any, n_tumours: Any, rng: np.random.Generator | None = None, size: Any = None) -> Any:
        rng = rng if rng is not None else np.random.default_rng()
        n = np.asarray(n_tumours).astype(int)
        return rng.binomial(n, 1.0 / (1.0 + np.exp(-logit_p)), size=size).astype(float)

    return pm.CustomDist(
        name,
        logit_p,
        n_tumours,
        logp=logp,
        random=random,
        signature="(),()->()",
        observed=events,
        dims=dims,
    )
