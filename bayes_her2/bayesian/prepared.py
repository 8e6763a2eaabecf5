"""A model compiled once, for several data sets of one shape: refits without some tumours, or of other abundances.

Compilation takes longer than the sampling of a few hundred tumours. What the likelihood sees of single tumours is held
in arrays that can be exchanged in the compiled model: an observed node NAME has ``NAME:observed``, ``NAME:counted`` (0
for a tumour that contributes nothing) and what is derived from them. All else stays as it was compiled: coefficients
and their labels, priors, predictors, and the coordinates that cheap estimates choose, which leave the posterior as it
is whatever data they come from (`bayes_her2.bayesian.coordinates`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pymc as pm
import pytensor
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.traversal import graph_inputs

if TYPE_CHECKING:
    from nutpie.sample import CompiledModel

OBSERVED, COUNTED = "observed", "counted"
ROWS = "tumour"


def held(node: str, what: str, values: np.ndarray) -> Any:
    """Return an array of a likelihood, tumour x cell type, that can be exchanged for one of the same shape."""
    values = np.asarray(values, dtype=float)
    return pytensor.shared(values, name=f"{node}:{what}", shape=values.shape)


def held_arrays(graph: pm.Model) -> dict[str, np.ndarray]:
    """Arrays of a graph that can be exchanged, by ``NODE:WHAT``."""
    ends = [*graph.observed_RVs, *(graph.rvs_to_values[node] for node in graph.observed_RVs)]
    found = {v for v in graph_inputs(ends) if isinstance(v, SharedVariable)}
    return {str(v.name): v.get_value() for v in found if ":" in str(v.name)}


@dataclass(frozen=True)
class Prepared:
    """A compiled model, and the arrays that can be exchanged in it.

    Attributes
    ----------
    compiled
        As it was compiled.
    arrays
        ``NODE:WHAT`` -> tumour x cell type.
    tumours
        Labels of the rows.
    whole
        Whether every tumour enters through arrays that can be exchanged, so that it can be left out.
    labels
        Variable -> labels of its dims.
    """

    compiled: CompiledModel
    arrays: Mapping[str, np.ndarray]
    tumours: tuple[str, ...]
    whole: bool
    labels: Mapping[str, tuple[Any, ...]]

    def serves(self, graph: pm.Model) -> bool:
        """Whether a graph of some of its tumours is this model without the others: coefficients and labels the same."""
        return self.whole and _labels(graph) == self.labels

    def without(self, tumours: Collection[str]) -> CompiledModel:
        """Return the model of all other tumours; `tumours` contribute nothing.

        Raises
        ------
        ValueError
            Labels that are not of this model, or a model whose tumours cannot be left out.
        """
        out = set(tumours)
        unknown = out - set(self.tumours)
        if unknown:
            raise ValueError(f"{len(unknown)} tumours are not of this model (first: {min(unknown)})")
        if not self.whole:
            raise ValueError("tumours of this model cannot be left out of its graph: compile it without them")
        kept = np.array([[float(label not in out)] for label in self.tumours])
        return self._exchanged({k: v * kept for k, v in self.arrays.items() if k.endswith(f":{COUNTED}")})

    def of(self, graph: pm.Model) -> CompiledModel:
        """Return the model of the arrays of another graph: the same model and tumours, other abundances.

        Raises
        ------
        ValueError
            The other graph has other arrays, or arrays of another shape.
        """
        arrays = held_arrays(graph)
        shapes, own = ({k: v.shape for k, v in a.items()} for a in (arrays, self.arrays))
        if shapes != own:
            raise ValueError(f"arrays of the graph differ: {shapes} for {own}")
        return self._exchanged(arrays)

    def _exchanged(self, arrays: Mapping[str, np.ndarray]) -> CompiledModel:
        # An array that no density uses is not in the compiled model.
        used = {variable.name for variable in self.compiled.shared_var_keys}
        return self.compiled.with_data(**{name: v for name, v in arrays.items() if name in used})


def prepared(graph: pm.Model, compiled: CompiledModel) -> Prepared:
    """Put a compiled model together with the arrays of its graph."""
    arrays = held_arrays(graph)
    nodes = {str(node.name) for node in graph.observed_RVs}
    whole = not graph.potentials and nodes == {
        name.removesuffix(f":{COUNTED}") for name in arrays if name.endswith(f":{COUNTED}")
    }
    return Prepared(compiled, arrays, tuple(map(str, graph.coords.get(ROWS) or ())), whole, _labels(graph))


def _labels(graph: pm.Model) -> dict[str, tuple[Any, ...]]:
    """Dims of each variable with their labels, those of tumours by name alone."""
    coords = {dim: None if dim == ROWS else tuple(labels or ()) for dim, labels in graph.coords.items()}
    return {
        str(name): tuple((dim, coords.get(str(dim))) for dim in dims)
        for name, dims in graph.named_vars_to_dims.items()
    }
