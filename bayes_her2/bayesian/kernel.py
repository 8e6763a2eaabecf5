"""A likelihood as one operation of a graph: its values and its derivatives in one pass over the arrays.

Spelled out, a likelihood is fused by PyTensor into a loop that calls the C library's functions for each element. Here
one function of numbers gives the log density of an element and its derivatives together, in arithmetic that compiled
code does for several elements at a time (`bayes_her2.bayesian.vector_math`). Tests hold the densities to scipy's and
the derivatives to numeric ones.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import register_funcify_and_cache_key

from bayes_her2.bayesian import vector_math
from bayes_her2.bayesian.formula import compiled_function


class Kernel(Op):
    """Elementwise function of arrays of one shape, with its derivatives.

    Parameters
    ----------
    function
        Of numbers, or of arrays: the value, then the derivative with respect to each argument of `wrt`, as a tuple.
    wrt
        Positions of the arguments that are not data, in ascending order.
    """

    __props__ = ("key", "wrt")

    def __init__(self, function: Callable[..., tuple[Any, ...]], wrt: tuple[int, ...]) -> None:
        self.function, self.wrt = function, wrt
        code = inspect.getsource(function) + inspect.getsource(vector_math)
        self.key = f"{function.__name__}-{sha256(code.encode()).hexdigest()}"

    def __str__(self) -> str:
        return f"Kernel of {self.function.__name__}"

    def value(self, *arrays: Any) -> Any:
        """Node of the values, whose gradient is known; arrays that are repeated along an axis are broadcast."""
        given = [pt.as_tensor_variable(x).astype("float64") for x in arrays]
        if _repeated(given):
            given = pt.broadcast_arrays(*given)
        return self(*given)[0]

    def make_node(self, *inputs: Any) -> Apply:
        """Node of the graph.

        Raises
        ------
        ValueError
            Arrays of other types, or of different numbers of dimensions.
        """
        arrays = [pt.as_tensor_variable(x) for x in inputs]
        kinds = {(a.type.dtype, a.type.ndim) for a in arrays}
        if len(kinds) != 1 or arrays[0].type.dtype != "float64":
            raise ValueError(
                f"{self}: arrays of float64 and of one number of dimensions are needed, got {kinds}"
            )
        shape = tuple(
            next((size for size in sizes if size is not None), None)
            for sizes in zip(*(a.type.shape for a in arrays), strict=True)
        )
        made = pt.TensorType("float64", shape)
        return Apply(self, arrays, [made() for _ in range(1 + len(self.wrt))])

    def infer_shape(self, node: Apply, shapes: Sequence[Any]) -> list[Any]:
        """Shape of every output: that of the arguments."""
        return [shapes[0]] * len(node.outputs)

    def perform(self, node: Apply, inputs: Sequence[np.ndarray], outputs: Any) -> None:
        """In Python: for graphs that are not compiled."""
        for storage, found in zip(outputs, self.function(*inputs), strict=True):
            storage[0] = np.array(np.broadcast_to(found, inputs[0].shape), dtype=float)

    def pullback(self, inputs: Sequence[Any], outputs: Sequence[Any], gradients: Sequence[Any]) -> list[Any]:
        """Gradient of the values: derivatives are outputs of the same operation. They have none themselves."""
        if not all(isinstance(g.type, DisconnectedType) for g in gradients[1:]):
            raise NotImplementedError(f"{self}: second derivatives")
        derivative = dict(zip(self.wrt, outputs[1:], strict=True))
        return [
            gradients[0] * derivative[i] if i in derivative else pt.zeros_like(x)
            for i, x in enumerate(inputs)
        ]


def _repeated(arrays: Sequence[Any]) -> bool:
    """Whether some array has other dimensions than the rest, as far as is known: sizes that are not are equal."""
    if len({a.type.ndim for a in arrays}) > 1:
        return True
    return any(
        1 in sizes and set(sizes) != {1} for sizes in zip(*(a.type.shape for a in arrays), strict=True)
    )


@register_funcify_and_cache_key(Kernel)  # type: ignore[untyped-decorator]
def _compiled(op: Kernel, node: Apply, **kwargs: Any) -> tuple[Any, str]:
    n = range(len(node.inputs))
    outs = range(len(node.outputs))
    # Compiled code would read whatever lies behind an array that is too short.
    lines = [
        line
        for i in n[1:]
        for line in (f"if x{i}.shape != x0.shape:", '    raise ValueError("arrays are not of one shape")')
    ]
    # Over all elements at once: rows are too short to be taken several at a time.
    lines += [f"a{i} = x{i}.ravel()" for i in n]
    lines += [f"y{j} = np.empty(x0.shape)" for j in outs]
    lines += [f"b{j} = y{j}.ravel()" for j in outs]
    into = ", ".join(f"b{j}[i]" for j in outs)
    given = ", ".join(f"a{i}[i]" for i in n)
    lines += ["for i in range(x0.size):", f"    {into} = function({given})"]
    lines.append(f"return {', '.join(f'y{j}' for j in outs)}")
    names = [f"x{i}" for i in n]
    return compiled_function("kernel", names, lines, {"function": op.function}, op.key, divides_by_zero=True)
