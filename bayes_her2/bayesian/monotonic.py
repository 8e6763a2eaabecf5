"""Monotonic effects of ordered categories.

An ordered category with D + 1 levels has D steps. A monotonic effect has one sign throughout: a total, from the lowest
level to the highest, divided among the steps by shares that add up to 1. Level l lies at

    effect(l) = total (share_1 + ... + share_l).

The average step of Buerkner & Charpentier's bsp is total / D. A sum of monotonic effects need not be monotonic: where
an effect differs between groups by a monotonic term of its own, as in ``mo(ihc) * hr``, it has one sign in the
reference group, and in the others only if the data say so.

References
----------
Buerkner & Charpentier (2020), Modelling monotonic effects of ordinal predictors in Bayesian regression
models, British Journal of Mathematical and Statistical Psychology 73, 420-451, doi 10.1111/bmsp.12195.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def step_indicators(level_idx: np.ndarray, n_levels: int) -> np.ndarray:
    """Which steps each tumour has taken: 1.0 where its level is at or above the step.

    Parameters
    ----------
    level_idx
        Position of each tumour's level, from 0 (lowest).
    n_levels
        Number of levels.

    Returns
    -------
    numpy.ndarray
        Tumour x step. Its product with the steps is the effect of each tumour's level.
    """
    return np.asarray(level_idx[:, None] >= np.arange(1, n_levels)[None, :], dtype=float)


def level_indicators(level_idx: np.ndarray, n_levels: int) -> np.ndarray:
    """Which level each tumour has, the lowest being the reference: the dummy coding of the unordered alternative."""
    return np.asarray(level_idx[:, None] == np.arange(1, n_levels)[None, :], dtype=float)


def monotonic_steps(total: Any, step_shares: Any) -> Any:
    """Return the steps of a monotonic effect.

    Parameters
    ----------
    total
        Effect of the highest level against the lowest, one for each row (a cell type).
    step_shares
        Row x step, each row adding up to 1.

    Returns
    -------
    Step x row.
    """
    return (total[:, None] * step_shares).T
