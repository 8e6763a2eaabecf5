"""The functions of a graph with its data taken out, so that graphs of one structure are recognised as the same.

PyTensor rewrites a graph before it is compiled, which takes it longer than a small study takes to sample, and what it
knows of an array's values goes into the result. Here arrays become inputs before that: design, indices of no position,
outcomes, cheap estimates. What depends on them alone is computed once for each data set and not at each point, as if
it had been constant. Single numbers, arrays of one number throughout and positions stay part of the structure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
import pytensor
from pytensor.compile.mode import Mode
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.replace import clone_replace
from pytensor.graph.rewriting.basic import MergeOptimizer
from pytensor.graph.rewriting.utils import rewrite_graph
from pytensor.graph.traversal import toposort
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.type import TensorType

from bayes_her2.bayesian.formula import Formula
from bayes_her2.bayesian.kernel import Kernel

_TAKE_VALUES = (Elemwise, DimShuffle, Formula, Kernel)
"""Operations to which a whole number is a value, and not a position or a size."""


@dataclass(frozen=True)
class WithoutData:
    """Log density of a graph and what else is kept of a draw, as functions of the point and of the data's arrays.

    Attributes
    ----------
    log_density
        Of the joint distribution, in the coordinates of the sampler.
    kept
        Variables whose values are kept of a draw.
    inputs, arrays
        A variable for each array that was taken out, and the array.
    exchangeable
        Variables of the graph that hold arrays under a name (`bayes_her2.bayesian.prepared`), as they came.
    structure
        Equal for graphs that differ in no more than arrays and exchangeable values.
    """

    log_density: Variable
    kept: Sequence[Variable]
    inputs: Sequence[Variable]
    arrays: Sequence[np.ndarray]
    exchangeable: Sequence[SharedVariable]
    structure: tuple[Any, ...]


def without_data(graph: pm.Model) -> WithoutData:
    """Take a graph's arrays out of its functions.

    Parameters
    ----------
    graph
        A model.

    Returns
    -------
    WithoutData
        The kept variables are those of `pymc.Model.unobserved_value_vars` that are not free themselves.
    """
    values = [graph.rvs_to_values[v] for v in graph.free_RVs]
    kept = [v for v in graph.unobserved_value_vars if v not in values]
    names = (*(v.name for v in values), None, *(v.name for v in kept), bool(graph.check_bounds))
    outputs = [graph.logp(), *kept]
    nodes = list(toposort(outputs))
    inputs: dict[tuple[Any, ...], Variable] = {}
    arrays: list[np.ndarray] = []
    replaced: dict[Variable, Variable] = {}
    for constant in _arrays_that_can_be_inputs(nodes):
        # Equal arrays stay one, and what is computed of them too. Which are equal is part of the structure.
        content = _content(constant)
        if content not in inputs:
            inputs[content] = constant.type(name=f"array_{len(inputs)}")
            arrays.append(np.asarray(constant.data))
        replaced[constant] = inputs[content]
    structure, exchangeable = _structure(nodes, outputs, replaced, list(inputs.values()))
    opened = clone_replace(outputs, replaced) if replaced else outputs
    return WithoutData(
        opened[0], opened[1:], list(inputs.values()), arrays, exchangeable, (names, *structure)
    )


def _content(constant: Constant) -> tuple[Any, ...]:
    return constant.type, np.ascontiguousarray(constant.data).tobytes()


def _arrays_that_can_be_inputs(nodes: Iterable[Any]) -> list[Constant]:
    """Arrays in the order in which a graph comes to them."""
    found: dict[Constant, bool] = {}
    for node in nodes:
        for v in node.inputs:
            if isinstance(v, Constant) and isinstance(v.type, TensorType) and v.type.ndim > 0:
                taken = v.type.dtype == "float64" or isinstance(node.op, _TAKE_VALUES)
                found[v] = found.get(v, True) and taken
    return [v for v, taken in found.items() if taken and not _is_one_number(np.asarray(v.data))]


def _is_one_number(values: np.ndarray) -> bool:
    return values.size == 0 or bool((values == values.flat[0]).all())


def _structure(
    nodes: Sequence[Any],
    outputs: Sequence[Variable],
    replaced: dict[Variable, Variable],
    inputs: Sequence[Variable],
) -> tuple[tuple[Any, ...], list[SharedVariable]]:
    """Operations with the places that their inputs come from; and the graph's own exchangeable variables."""
    places: dict[Variable, Any] = {v: ("array", i, v.type) for i, v in enumerate(inputs)}
    exchangeable: list[SharedVariable] = []

    def place(v: Variable) -> Any:
        v = replaced.get(v, v)
        if v not in places:
            if isinstance(v, Constant):
                content = _content(v) if isinstance(v.type, TensorType) else (v.type, v.data)
                places[v] = ("constant", *content)
            elif isinstance(v, SharedVariable):
                places[v] = ("exchangeable", len(exchangeable), v.name, v.type)
                exchangeable.append(v)
            else:
                places[v] = ("variable", v.name, v.type)
        return places[v]

    steps = []
    for i, node in enumerate(nodes):
        steps.append((node.op, tuple(place(v) for v in node.inputs), tuple(v.type for v in node.outputs)))
        places |= {v: (i, j) for j, v in enumerate(node.outputs)}
    return (tuple(steps), tuple(place(v) for v in outputs)), exchangeable


@dataclass(frozen=True)
class DensityOfPoint:
    """Functions of the point alone: what the data give is held by variables, computed once for each data set.

    Attributes
    ----------
    log_density, gradient, kept
        The gradient has a variable for each of the point's.
    held
        Variables whose values the data give.
    """

    log_density: Variable
    gradient: Sequence[Variable]
    kept: Sequence[Variable]
    held: Sequence[SharedVariable]
    _of_data: Any

    def values(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Compute what is held, of the arrays of a graph of this structure."""
        return [np.asarray(v) for v in self._of_data(*arrays)]


def density_of_point(opened: WithoutData, point: Sequence[Variable], *, check_bounds: bool) -> DensityOfPoint:
    """Derive the log density, and separate what the data give from what has to be computed at each point.

    Parameters
    ----------
    opened
        A graph's functions.
    point
        Its value variables.
    check_bounds
        Whether parameters out of bounds are checked for.
    """
    rewrites = ["canonicalize", "stabilize", *([] if check_bounds else ["local_remove_check_parameter"])]
    log_density = rewrite_graph(opened.log_density, include=rewrites)
    gradient = pytensor.grad(log_density, list(point))
    inputs = [*point, *opened.exchangeable, *opened.inputs]
    # The same computations of the data are one after this.
    merged = FunctionGraph(inputs, [log_density, *gradient, *opened.kept], clone=True)
    MergeOptimizer().rewrite(merged)
    back = dict(zip(merged.inputs, inputs, strict=True))
    own = merged.inputs[len(point) + len(opened.exchangeable) :]
    given = _given_by(merged, own, merged.inputs[: -len(own)] if own else merged.inputs)
    # The result is compiled by Python, operation by operation: once, for numbers that take no time.
    of_data = pytensor.function(own, given, mode=Mode("py", None), on_unused_input="ignore")
    first = of_data(*opened.arrays)
    held = [
        pytensor.shared(np.asarray(value), name=f"given_{i}", shape=v.type.shape)
        for i, (v, value) in enumerate(zip(given, first, strict=True))
    ]
    outputs = clone_replace(merged.outputs, back | dict(zip(given, held, strict=True)))
    n = len(point)
    return DensityOfPoint(outputs[0], outputs[1 : n + 1], outputs[n + 1 :], held, of_data)


def _given_by(graph: FunctionGraph, own: Sequence[Variable], others: Sequence[Variable]) -> list[Variable]:
    """Variables that depend on `own` and on none of `others`, and that something else, or nothing, is computed of."""
    varies, data = set(others), set(own)
    for node in graph.toposort():
        # What is no array cannot be held by a variable: it is computed at each point.
        if any(v in varies for v in node.inputs) or not all(
            isinstance(v.type, TensorType) for v in node.outputs
        ):
            varies |= set(node.outputs)
        elif any(v in data for v in node.inputs):
            data |= set(node.outputs)
    used: dict[Variable, None] = {}
    for node in graph.toposort():
        if any(v in varies for v in node.outputs):
            used |= dict.fromkeys(v for v in node.inputs if v in data)
    used |= dict.fromkeys(v for v in graph.outputs if v in data)
    return list(used)
