"""Operations whose code numba takes long to compile, as others of the same result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic
from pytensor.graph.basic import Apply, Constant
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key
from pytensor.scalar.basic import ScalarType
from pytensor.scalar.basic import add as scalar_add
from pytensor.tensor.basic import Alloc, Join, ScalarFromTensor, Split
from pytensor.tensor.elemwise import CAReduce
from pytensor.tensor.rewriting.scalarize import ScalarCAReduce
from pytensor.tensor.type import TensorType

_FEW = 4
"""Vectors that PyTensor's own code may join: it has a loop for each."""


class _Joined(Op):
    """Vectors one after the other, as one loop over them: PyTensor's code has as many loops as there are vectors."""

    __props__ = ()

    def make_node(self, *vectors: Any) -> Apply:
        sizes = [vector.type.shape[0] for vector in vectors]
        size = None if None in sizes else sum(sizes)
        return Apply(self, list(vectors), [TensorType("float64", (size,))()])

    def perform(self, node: Apply, inputs: Sequence[np.ndarray], outputs: Any) -> None:
        outputs[0][0] = np.concatenate(inputs)


@intrinsic  # type: ignore[untyped-decorator]
def _of_one_type(typing: Any, vectors: Any) -> Any:
    """Give vectors of several memory layouts the type of any layout, so that a loop can go over them."""
    vector = numba.types.Array(numba.types.double, 1, "A")
    made = numba.types.UniTuple(vector, len(vectors))

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        given = cgutils.unpack_tuple(builder, values[0])
        cast = [context.cast(builder, v, own, vector) for v, own in zip(given, vectors, strict=True)]
        return impl_ret_borrowed(context, builder, made, context.make_tuple(builder, made, cast))

    return made(vectors), codegen


@register_funcify_default_op_cache_key(_Joined)  # type: ignore[untyped-decorator]
def _compiled_joined(op: _Joined, node: Apply, **kwargs: Any) -> Any:
    @numba_njit
    def joined(*vectors):  # type: ignore[no-untyped-def]
        size = 0
        for vector in _of_one_type(vectors):
            size += vector.size
        out = np.empty(size)
        at = 0
        for vector in _of_one_type(vectors):
            for i in range(vector.size):
                out[at + i] = vector[i]
            at += vector.size
        return out

    return joined


class _Total(Op):
    """Sum of all elements, as a number: PyTensor's code sorts the strides of an array of any layout first."""

    __props__ = ()

    def make_node(self, x: Any) -> Apply:
        return Apply(self, [x], [ScalarType("float64")()])

    def perform(self, node: Apply, inputs: Sequence[np.ndarray], outputs: Any) -> None:
        outputs[0][0] = np.sum(inputs[0])


@register_funcify_default_op_cache_key(_Total)  # type: ignore[untyped-decorator]
def _compiled_total(op: _Total, node: Apply, **kwargs: Any) -> Any:
    @numba_njit
    def total(x):  # type: ignore[no-untyped-def]
        flat = x.ravel()
        n = flat.size
        # Four sums at a time: with one, each addition waits for the one before.
        a, b, c, d = 0.0, 0.0, 0.0, 0.0
        for i in range(0, n - 3, 4):
            a += flat[i]
            b += flat[i + 1]
            c += flat[i + 2]
            d += flat[i + 3]
        for i in range(n - n % 4, n):
            a += flat[i]
        return (a + b) + (c + d)

    return total


def cheaper_to_compile(graph: FunctionGraph) -> None:
    """Replace operations whose code numba takes long to compile by others of the same result, in place."""
    for node in graph.toposort():
        first: Any = node.inputs[0] if node.inputs else None
        if isinstance(node.op, Join) and len(node.inputs) > _FEW and node.outputs[0].type.ndim == 1:
            if all(x.type.dtype == "float64" for x in node.inputs):
                graph.replace(node.outputs[0], _Joined()(*node.inputs))
        elif isinstance(node.op, Alloc) and first.type.ndim == 0:
            # A fill with an array of no dimensions compiles the text of an error that cannot occur.
            filled = Alloc()(first.dimshuffle(*"x" * node.outputs[0].type.ndim), *node.inputs[1:])
            graph.replace(node.outputs[0], filled)
        elif (
            isinstance(node.op, ScalarCAReduce) and first.type.dtype == "float64" and _is_sum_of_all(node.op)
        ):
            graph.replace(node.outputs[0], _Total()(first))
        elif isinstance(node.op, Split) and node.op.axis == 0 and isinstance(node.inputs[1], Constant):
            ends = [0, *np.cumsum(node.inputs[1].data)]
            for part, start, stop in zip(node.outputs, ends, ends[1:], strict=False):
                graph.replace(part, first[int(start) : int(stop)])


def _is_sum_of_all(op: ScalarCAReduce) -> bool:
    operations = [node.op for node in op.fgraph.toposort()]
    return (
        isinstance(operations[0], CAReduce)
        and operations[0].scalar_op == scalar_add
        and operations[0].axis is None
        and all(isinstance(other, ScalarFromTensor) for other in operations[1:])
    )
