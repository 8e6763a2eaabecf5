"""Whether a logistic regression has finite maximum likelihood estimates, decided by linear programming."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.optimize import linprog

_MARGIN = 1e-6  # of a column's largest value; the solver is held to a thousandth of it
_FEASIBILITY = 1e-9


@dataclass(frozen=True)
class Separation:
    """Which tumours some combination of the design's columns predicts without error.

    Attributes
    ----------
    kind
        ``none`` (finite estimates), ``complete`` (every tumour is predicted) or ``quasi`` (some are).
    rows
        Tumour -> bool: predicted without error along at least one direction in which the likelihood never
        falls. At the limit these tumours have fitted probability 0 or 1 and carry no information; the
        others determine what can be estimated.
    """

    kind: Literal["none", "quasi", "complete"]
    rows: pd.Series[bool]


def separation(design: pd.DataFrame, outcome: pd.Series[bool]) -> Separation:
    """Find every tumour that is separated, exactly and whatever the fitting algorithm would have done.

    With s_i = 1 where the outcome is true and -1 where it is false, the estimates are finite unless a
    direction d exists with s_i x_i'd >= 0 for all tumours and > 0 for one (Albert & Anderson 1984). The
    linear programme maximises sum_i s_i x_i'd under these constraints and -1 <= d <= 1 (Konis 2007).
    Tumours with a positive margin are set aside and the programme is repeated on the rest until nothing
    is left to separate: a later direction plus a large multiple of the earlier one is again a direction
    for all tumours, so the union is the whole set of separated tumours.

    Parameters
    ----------
    design
        Tumour x column, numeric, intercept included.
    outcome
        Tumour -> bool, same index.

    Returns
    -------
    Separation
        The kind, and the tumours concerned.

    References
    ----------
    Albert & Anderson 1984, doi 10.1093/biomet/71.1.1. Konis 2007, Linear programming
    algorithms for detecting separated data in binary logistic regression models (thesis, University of
    Oxford). Correia, Guimaraes & Zylkin 2019, arXiv 1903.01633.
    """
    values = design.to_numpy(dtype=float)
    largest = np.abs(values).max(axis=0, initial=0.0)
    values = values / np.where(largest > 0, largest, 1.0)
    signed = values * np.where(outcome.loc[design.index].to_numpy(dtype=bool), 1.0, -1.0)[:, None]

    separated = np.zeros(len(signed), dtype=bool)
    while not separated.all():
        rest = signed[~separated]
        solved = linprog(
            -rest.sum(axis=0),
            A_ub=-rest,
            b_ub=np.zeros(len(rest)),
            bounds=(-1.0, 1.0),
            method="highs",
            options={"primal_feasibility_tolerance": _FEASIBILITY},
        )
        if not solved.success:
            raise ArithmeticError(f"the search for separation failed: {solved.message}")
        found = rest @ np.asarray(solved.x, dtype=float) > _MARGIN
        if not found.any():
            break
        separated[np.flatnonzero(~separated)[found]] = True

    kind: Literal["none", "quasi", "complete"] = "quasi"
    if not separated.any():
        kind = "none"
    elif separated.all():
        kind = "complete"
    return Separation(kind=kind, rows=pd.Series(separated, index=design.index, name="separated", dtype=bool))
