"""The log density of a compiled model, by the function that its sampler calls."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np


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
