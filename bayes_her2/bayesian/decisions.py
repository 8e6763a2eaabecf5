"""Posterior decisions about one quantity: direction, false sign rate, practical equivalence."""

from __future__ import annotations

import numpy as np


def probability_of_direction(draws: np.ndarray) -> np.ndarray:
    """max(P(theta > 0), P(theta < 0)) along the first axis; exact zeros count half to each side.

    NaN where any draw is NaN: a quantity that is not estimable has no direction.
    """
    above = (draws > 0).mean(axis=0) + 0.5 * (draws == 0).mean(axis=0)
    return np.where(np.isnan(draws).any(axis=0), np.nan, np.maximum(above, 1.0 - above))


def local_false_sign_rate(draws: np.ndarray) -> np.ndarray:
    """min(P(theta > 0), P(theta < 0)): the probability that the claimed sign is wrong.

    Stephens (2017), Biostatistics 18, 275-294, doi 10.1093/biostatistics/kxw041.
    """
    return 1.0 - probability_of_direction(draws)


def s_values(lfsr: np.ndarray) -> np.ndarray:
    """Stephens' s-value: mean local false sign rate over all claims at least as sure as this one.

    Parameters
    ----------
    lfsr
        Local false sign rates of one declared family; NaN for rows that make no claim.

    Returns
    -------
    numpy.ndarray
        Expected proportion of wrong signs if this row and every surer one is claimed. NaN stays NaN.
    """
    result = np.full(lfsr.shape, np.nan)
    usable = np.flatnonzero(~np.isnan(lfsr))
    order = usable[np.argsort(lfsr[usable], kind="stable")]
    ordered = lfsr[order]
    running = np.cumsum(ordered) / np.arange(1, len(order) + 1)
    # Ties share the value of the last of them, so that order among equals does not matter.
    last = np.searchsorted(ordered, ordered, side="right") - 1
    result[order] = running[last]
    return result


def probability_in_rope(draws: np.ndarray, rope: tuple[float, float]) -> np.ndarray:
    """P(lower < theta < upper) along the first axis, for the region of practical equivalence `rope`.

    NaN where any draw is NaN.
    """
    inside = ((draws > rope[0]) & (draws < rope[1])).mean(axis=0)
    return np.where(np.isnan(draws).any(axis=0), np.nan, inside)
