"""Log density of a graph at labelled values of its variables, on their own scale: for tests against scipy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pymc as pm
import pytensor
import xarray as xr
from pytensor.compile.mode import get_mode

PLAIN = get_mode("FAST_COMPILE").excluding("fusion")


class LabelledDensity:
    """Log density of every node of a graph, without Jacobians.

    Parameters
    ----------
    model
        The graph; compiled once.
    """

    def __init__(self, model: pm.Model) -> None:
        self.model = model
        free = model.free_RVs
        z = [t.forward(v, *v.owner.inputs) if (t := model.rvs_to_transforms[v]) else v for v in free]
        self._to_z = pytensor.function(free, z, mode=PLAIN, on_unused_input="ignore")
        self._logp = model.compile_logp(jacobian=False, sum=False, mode=PLAIN)

    def __call__(self, values: Mapping[str, xr.DataArray]) -> dict[str, np.ndarray]:
        """Variable -> its log density, elementwise; values are taken by label."""
        arrays = []
        for variable in self.model.free_RVs:
            dims = self.model.named_vars_to_dims.get(variable.name, ())
            array = values[variable.name]
            arrays.append(
                array.sel({d: list(self.model.coords[d]) for d in dims}).transpose(*dims).to_numpy()
            )
        names = [self.model.rvs_to_values[v].name for v in self.model.free_RVs]
        terms = self._logp(dict(zip(names, self._to_z(*arrays), strict=True)))
        return dict(zip((v.name for v in self.model.basic_RVs), map(np.asarray, terms), strict=True))


class SummedDensity:
    """The same, each variable's log density added up."""

    def __init__(self, model: pm.Model) -> None:
        self.model = model
        self._of = LabelledDensity(model)

    def __call__(self, values: Mapping[str, xr.DataArray]) -> dict[str, float]:
        """Variable -> its whole log density."""
        return {name: float(term.sum()) for name, term in self._of(values).items()}
