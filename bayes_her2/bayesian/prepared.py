"""A model compiled once and sampled without some of its tumours: the folds of a cross-validation.

Which entries of an observed node, tumour x cell type, its log density counts can be exchanged in the compiled model.
All else stays as it was compiled, the coordinates that cheap estimates choose among it: they leave the posterior as it
is, whatever data they come from (`bayes_her2.bayesian.coordinates`).
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

ROWS = "tumour"
_COUNTED = ":counted"


def counted_rows(node: str, counted: np.ndarray) -> Any:
    """Return what an observed node multiplies its log density by, tumour x cell type, exchangeable once compiled."""
    values = np.asarray(counted, dtype=float)
    return pytensor.shared(values, name=f"{node}{_COUNTED}", shape=values.shape)


def rows_can_be_left_out(graph: pm.Model) -> bool:
    """Whether every term of the likelihood is an observed node with `counted_rows`."""
    return not graph.potentials and {f"{node.name}{_COUNTED}" for node in graph.observed_RVs} == set(
        _counted(graph)
    )


def _counted(graph: pm.Model) -> dict[str, np.ndarray]:
    """Find what the observed nodes count, by name."""
    shared = (v for v in graph_inputs(graph.observed_RVs) if isinstance(v, SharedVariable))
    return {str(v.name): v.get_value() for v in shared if str(v.name).endswith(_COUNTED)}


@dataclass(frozen=True)
class Prepared:
    """A compiled model whose tumours can be left out.

    Attributes
    ----------
    compiled
        With all tumours.
    counted
        By the name of its array: what each observed node counts, tumour x cell type.
    tumours
        Labels of the rows.
    labels
        Variable -> its dims and their labels, those of tumours excepted.
    """

    compiled: CompiledModel
    counted: Mapping[str, np.ndarray]
    tumours: tuple[str, ...]
    labels: Mapping[str, tuple[Any, ...]]

    def serves(self, graph: pm.Model) -> bool:
        """Whether a graph of some of its tumours has the same variables with the same labels."""
        return _labels(graph) == self.labels

    def without(self, tumours: Collection[str]) -> CompiledModel:
        """Return the model of all other tumours.

        Raises
        ------
        ValueError
            Labels that are not of this model.
        """
        out = set(tumours)
        unknown = out - set(self.tumours)
        if unknown:
            raise ValueError(f"{len(unknown)} of the tumours are not of this model (first: {min(unknown)})")
        kept = np.array([[float(label not in out)] for label in self.tumours])
        return self.compiled.with_data(**{name: values * kept for name, values in self.counted.items()})


def prepared(graph: pm.Model, compiled: CompiledModel) -> Prepared:
    """Put a compiled model together with what its graph says of its tumours.

    Raises
    ------
    ValueError
        A graph whose tumours cannot be left out.
    """
    if not rows_can_be_left_out(graph):
        raise ValueError("the tumours of this model cannot be left out of its graph: compile it without them")
    return Prepared(compiled, _counted(graph), tuple(map(str, graph.coords[ROWS] or ())), _labels(graph))


def _labels(graph: pm.Model) -> dict[str, tuple[Any, ...]]:
    coords = {dim: None if dim == ROWS else tuple(labels or ()) for dim, labels in graph.coords.items()}
    return {
        str(name): tuple((dim, coords.get(str(dim))) for dim in graph.named_vars_to_dims.get(name, ()))
        for name in graph.named_vars
    }
