"""The second observed node of a hurdle model: how much where present.

With `bernoulli_node` for who is present the likelihood is exactly Bernoulli on all rows times the amount's density on
the positive rows; no truncation, no mixture, and zeros never enter the amount.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm

from bayes_her2.bayesian.amounts import AmountFamily
from bayes_her2.bayesian.prepared import counted_rows
from bayes_her2.bayesian.product import matrix_product


def amount_node(
    name: str,
    *,
    family: AmountFamily,
    eta: Any,
    log_shape: Any,
    group_idx: np.ndarray,
    observed: np.ndarray,
    modelled: np.ndarray,
    dims: tuple[str, str],
) -> Any:
    """Amount with linear predictor eta for each tumour and cell type, where present and modelled.

    Parameters
    ----------
    name
        Name of the node.
    family
        Distribution of the amount.
    eta
        Linear predictor of the mean among the present (its log, or logit for beta), tumour x cell type.
    log_shape
        Log of the shape, cohort x cell type.
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
    terms = family.terms(log_shape)

    def logp(value: Any, eta: Any, *others: Any) -> Any:
        *gathered, counted, log_value = others
        return family.counted_logp(value, log_value, counted, eta, *gathered)

    def random(eta: Any, *others: Any, rng: np.random.Generator | None = None, size: Any = None) -> Any:
        rng = rng if rng is not None else np.random.default_rng()
        return family.random(rng, eta, others[0], size)  # the first term is the shape

    return pm.CustomDist(
        name,
        eta,
        *(matrix_product(member, term) for term in terms),
        counted_rows(name, counted),
        np.asarray(log_observed, dtype=float),
        logp=logp,
        random=random,
        signature=f"{','.join(['()'] * (len(terms) + 3))}->()",
        observed=np.asarray(observed, dtype=float),
        dims=dims,
    )
