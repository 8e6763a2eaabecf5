"""A model compiled once and sampled without some of its tumours, or with other abundances of the same tumours.

Compilation takes longer than the sampling of a few hundred tumours. What an observed node has of the data, arrays of
tumour x cell type, can be exchanged in the compiled model: which entries its log density counts (the folds of a
cross-validation), and the abundances with what is computed from them (replicated data sets). All else stays as it was
compiled, the coordinates that cheap estimates choose among it: they leave the posterior as it is, whatever data they
come from (`bayes_her2.bayesian.coordinates`).
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
_OF_NODES = ":"


def counted_rows(node: str, counted: np.ndarray) -> Any:
    """Return what an observed node multiplies its log density by, tumour x cell type, exchangeable once compiled."""
    return _exchangeable(f"{node}{_COUNTED}", counted)


def of_data(node: str, what: str, values: np.ndarray) -> Any:
    """Return an array that a node has from the abundances, tumour x cell type, exchangeable once compiled."""
    return _exchangeable(f"{node}{_OF_NODES}{what}", values)


def _exchangeable(name: str, values: np.ndarray) -> Any:
    values = np.asarray(values, dtype=float)
    return pytensor.shared(values, name=name, shape=values.shape)


def rows_can_be_left_out(graph: pm.Model) -> bool:
    """Whether every term of the likelihood is an observed node with `counted_rows`."""
    return not graph.potentials and {f"{node.name}{_COUNTED}" for node in graph.observed_RVs} == {
        name for name in _held(graph) if name.endswith(_COUNTED)
    }


def _held(graph: pm.Model) -> dict[str, np.ndarray]:
    """Exchangeable arrays of the observed nodes, by name."""
    observed = [graph.rvs_to_values[node] for node in graph.observed_RVs]
    shared = (v for v in graph_inputs([*graph.observed_RVs, *observed]) if isinstance(v, SharedVariable))
    return {str(v.name): v.get_value() for v in shared if _OF_NODES in str(v.name)}


@dataclass(frozen=True)
class Prepared:
    """A compiled model whose tumours can be left out, or have other abundances.

    Attributes
    ----------
    compiled
        With all tumours.
    held
        Exchangeable arrays by name, tumour x cell type.
    tumours
        Labels of the rows.
    labels
        Variable -> its dims and their labels, those of tumours excepted.
    """

    compiled: CompiledModel
    held: Mapping[str, np.ndarray]
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
        counted = {name: values for name, values in self.held.items() if name.endswith(_COUNTED)}
        return self.compiled.with_data(**{name: values * kept for name, values in counted.items()})

    def observing(self, graph: pm.Model) -> CompiledModel:
        """Return the model of the same tumours with the abundances of another graph.

        Covariates, and what is modelled of each cell type, have to be the same in both: see
        `bayes_her2.data.AnalysisSet.with_abundance`.

        Parameters
        ----------
        graph
            As the model file builds it, not compiled.

        Raises
        ------
        ValueError
            Other tumours, variables or labels, or arrays that are not of this model.
        """
        held = _held(graph)
        tumours = tuple(map(str, graph.coords[ROWS] or ()))
        same = {name: values.shape for name, values in held.items()} == {
            name: values.shape for name, values in self.held.items()
        }
        if tumours != self.tumours or not same or not self.serves(graph):
            raise ValueError("the graph has other tumours or other variables than the compiled one")
        # A density that does without one of them (a Weibull's is of the log amounts alone) was compiled without it.
        used = {str(variable.name) for variable in self.compiled.shared_var_keys}
        return self.compiled.with_data(**{name: values for name, values in held.items() if name in used})


def prepared(graph: pm.Model, compiled: CompiledModel) -> Prepared:
    """Put a compiled model together with what its graph says of its tumours.

    Raises
    ------
    ValueError
        A graph whose tumours cannot be left out.
    """
    if not rows_can_be_left_out(graph):
        raise ValueError("the tumours of this model cannot be left out of its graph: compile it without them")
    return Prepared(compiled, _held(graph), tuple(map(str, graph.coords[ROWS] or ())), _labels(graph))


def _labels(graph: pm.Model) -> dict[str, tuple[Any, ...]]:
    coords = {dim: None if dim == ROWS else tuple(labels or ()) for dim, labels in graph.coords.items()}
    return {
        str(name): tuple((dim, coords.get(str(dim))) for dim in graph.named_vars_to_dims.get(name, ()))
        for name in graph.named_vars
    }
