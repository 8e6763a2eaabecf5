"""Single values of labelled arrays, from tables: `sel` takes a millisecond for each, and tests ask for thousands."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

_KEPT = 2000
"""Arrays whose tables are kept."""

_TABLES: dict[tuple[int, ...], tuple[Any, np.ndarray, dict[str, dict[Any, int]]]] = {}


def at(array: xr.DataArray, **labels: Any) -> float:
    """Value at labels; those of dims that the array does not have are ignored."""
    indexes = array.xindexes
    parts = (array.variable, *(indexes.get(d) for d in array.dims))
    key = tuple(id(part) for part in parts)
    if key not in _TABLES:
        if len(_TABLES) >= _KEPT:
            _TABLES.clear()
        places = {str(d): {label: i for i, label in enumerate(array.get_index(d))} for d in array.dims}
        assert all(len(own) == array.sizes[d] for d, own in places.items()), "labels that occur twice"
        _TABLES[key] = (
            parts,
            array.to_numpy(),
            places,
        )  # the parts are kept, so that their ids are not used again
    _, values, places = _TABLES[key]
    return float(values[tuple(own[labels[d]] for d, own in places.items())])
