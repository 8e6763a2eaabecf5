"""The log density of a model: by the function that its sampler calls, and by its operations, not compiled."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pymc as pm
from pytensor.compile.mode import get_mode


def log_density_at(model: Any, point: np.ndarray) -> tuple[float, np.ndarray]:
    """Value and gradient at a point of the sampler's scale; an ArithmeticError has the status that the sampler gets."""
    point = np.ascontiguousarray(point, dtype=float)
    assert point.shape == (model.n_dim,)
    value, gradient = np.empty(1), np.empty_like(point)
    as_pointer = ctypes.POINTER(ctypes.c_double)
    status = model.compiled_logp_func.ctypes(
        len(point),
        *(a.ctypes.data_as(as_pointer) for a in (point, gradient, value)),
        model.user_data.ctypes.data,
    )
    if status:
        raise ArithmeticError(f"status {status}")
    return float(value[0]), gradient


class Operations:
    """A graph's log density and gradient, each operation by its own Python function."""

    def __init__(self, graph: pm.Model) -> None:
        mode = get_mode("FAST_COMPILE").excluding("fusion")
        self._terms = graph.compile_logp(sum=False, mode=mode)
        self._gradient = graph.compile_dlogp(mode=mode)
        self._shapes = {name: np.shape(initial) for name, initial in graph.initial_point().items()}

    def at(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient at a point of the sampler's scale."""
        sizes = [int(np.prod(shape)) for shape in self._shapes.values()]
        parts = np.split(point, np.cumsum(sizes)[:-1])
        values = {
            name: part.reshape(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }
        return sum(float(np.sum(term)) for term in self._terms(values)), self._gradient(values)
