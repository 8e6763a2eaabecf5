"""The second observed node of a hurdle model: how much where present.

With `bernoulli_node` for who is present the likelihood is exactly Bernoulli on all rows times Gamma on the positive
rows; no truncation, no mixture, and zeros never enter the amount.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from bayes_her2.bayesian.product import matrix_product


def amount_node(
    name: str,
    *,
    log_mean: Any,
    log_shape: Any,
    group_idx: np.ndarray,
    observed: np.ndarray,
    modelled: np.ndarray,
    dims: tuple[str, str],
) -> Any:
    """Gamma(shape, mean exp log_mean) for each tumour and cell type, where present and modelled.

    log density: phi log phi - log Gamma(phi) + (phi - 1) log y - phi (log_mean + y exp(-log_mean)).

    Parameters
    ----------
    name
        Name of the node.
    log_mean
        Log of the mean among the present, tumour x cell type.
    log_shape
        Log of the shape phi, cohort x cell type.
    group_idx
        Row of `log_shape` that belongs to each tumour.
    observed
        Abundance, same units as the data; 0 where absent.
    modelled
        1.0 where the amount of the cell type is modelled in the tumour's HR stratum.
    dims
        Names of the two dimensions.
    """
    counted = modelled * (observed > 0)
    log_observed = np.log(np.where(observed > 0, observed, 1.0))
    # A product with indicators, not a gather: its gradient is a product too, and twice as fast.
    member = np.eye(int(group_idx.max()) + 1)[group_idx]
    shape = pt.exp(log_shape)
    normaliser = shape * log_shape - pt.gammaln(shape)

    def logp(value: Any, log_mean: Any, shape: Any, normaliser: Any, counted: Any, log_value: Any) -> Any:
        return counted * (
            normaliser + (shape - 1.0) * log_value - shape * (log_mean + value * pt.exp(-log_mean))
        )

    def random(
        log_mean: Any,
        shape: Any,
        normaliser: Any,
        counted: Any,
        log_value: Any,
        rng: np.random.Generator | None = None,
        size: Any = None,
    ) -> Any:
        rng = rng if rng is not None else np.random.default_rng()
        return rng.gamma(shape, np.exp(log_mean) / shape, size=size)

    return pm.CustomDist(
        name,
        log_mean,
        matrix_product(member, shape),
        matrix_product(member, normaliser),
        counted,
        log_observed,
        logp=logp,
        random=random,
        signature="(),(),(),(),()->()",
        observed=observed,
        dims=dims,
    )
