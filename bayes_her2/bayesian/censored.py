"""Summed log probability of normal scores known only to lie below a bound, with its gradient in the same pass.

Written as one operation because these tumours dominate the cost: as gathers, elementwise functions and scattered
gradients the same sum takes about three times as long.
"""

from __future__ import annotations

import inspect
from hashlib import sha256
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import disconnected_type
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import register_funcify_and_cache_key

from bayes_her2.bayesian import vector_math
from bayes_her2.bayesian.formula import compiled_function
from bayes_her2.bayesian.vector_math import log_normal_cdf


def censored_loglik(bound: Any, slope: Any, scores: np.ndarray, cell: np.ndarray) -> Any:
    """Sum over rows i of log Phi(bound[cell_i] - slope[cell_i]' scores_i).

    Parameters
    ----------
    bound
        One value for each cell.
    slope
        Cell x exposure.
    scores
        Row x exposure.
    cell
        Cell of each row.
    """
    return _CENSORED(bound, slope, np.asarray(scores, dtype=float), np.asarray(cell, dtype=np.int64))[0]


class CensoredLogLik(Op):
    """Outputs: the sum, its derivative in the bounds, and its derivative in the slopes."""

    __props__ = ()

    def make_node(self, *inputs: Any) -> Apply:
        """Type the inputs and outputs."""
        bound, slope, scores, cell = (pt.as_tensor(i) for i in inputs)
        return Apply(self, [bound, slope, scores, cell], [pt.dscalar(), pt.dvector(), pt.dmatrix()])

    def perform(self, node: Apply, inputs: list[Any], outputs: list[list[Any]]) -> None:
        """Compute with scipy, where no compiled code runs."""
        bound, slope, scores, cell = inputs
        x = bound[cell] - (slope[cell] * scores).sum(axis=1)
        logs, ratio = log_normal_cdf(x)
        by_bound, by_slope = np.zeros_like(bound), np.zeros_like(slope)
        np.add.at(by_bound, cell, ratio)
        np.add.at(by_slope, cell, -ratio[:, None] * scores)
        outputs[0][0], outputs[1][0], outputs[2][0] = np.asarray(logs.sum()), by_bound, by_slope

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """Gradient of the sum; the derivatives themselves are not differentiated again."""
        above = cotangents[0]
        return [above * outputs[1], above * outputs[2], disconnected_type(), disconnected_type()]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Say that data are not differentiated."""
        return [[True, False, False], [True, False, False], [False] * 3, [False] * 3]


_CENSORED = CensoredLogLik()


def _censored(bound: Any, slope: Any, scores: Any, cell: Any) -> Any:
    """Sum and derivatives, compiled; `perform` is the same in NumPy."""
    width = slope.shape[1]
    by_bound, by_slope = np.zeros(bound.shape[0]), np.zeros(slope.shape)
    x, logs, ratio = np.empty(cell.shape[0]), np.empty(cell.shape[0]), np.empty(cell.shape[0])
    for i in range(cell.shape[0]):
        at = cell[i]
        x[i] = bound[at]
        for j in range(width):
            x[i] -= slope[at, j] * scores[i, j]
    for i in range(cell.shape[0]):  # a loop without lookups is done for several elements at a time
        logs[i], ratio[i] = log_normal_cdf(x[i])
    total = 0.0
    for i in range(cell.shape[0]):
        at = cell[i]
        total += logs[i]
        by_bound[at] += ratio[i]
        for j in range(width):
            by_slope[at, j] -= ratio[i] * scores[i, j]
    return np.array(total), by_bound, by_slope


_KEY = sha256((inspect.getsource(_censored) + inspect.getsource(vector_math)).encode()).hexdigest()


@register_funcify_and_cache_key(CensoredLogLik)  # type: ignore[untyped-decorator]
def _compiled(op: CensoredLogLik, node: Apply, **kwargs: Any) -> tuple[Any, str]:
    lines = ["return censored(bound, slope, scores, cell)"]
    arguments = ("bound", "slope", "scores", "cell")
    return compiled_function(
        "of_censored", arguments, lines, {"censored": _censored}, _KEY, divides_by_zero=True
    )
