"""A formula of several arrays as one operation of a graph, with its derivatives as another.

What PyTensor rewrites and numba compiles grows with the operations of a graph. A coefficient in informed coordinates is
three of them with its density, the same code for every coefficient and every model; its derivatives, written by hand,
are three more. Spelled out, those of the main model took PyTensor 18.7 s to rewrite where it now takes 2.7 s (320
tumours x 4 cell types, CPU time). A test holds each derivative to a numeric one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from hashlib import sha256
from typing import Any

import numba
import numpy as np
import pytensor.tensor as pt
from pytensor.configdefaults import config
from pytensor.graph.basic import Apply, Constant
from pytensor.graph.op import Op
from pytensor.link.numba.cache import compile_numba_function_src
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_and_cache_key
from pytensor.tensor.elemwise import DimShuffle

Number = Callable[..., Any]
"""Of numbers, or of arrays that broadcast: arithmetic and functions of NumPy that numba knows."""


class Formula(Op):
    """Elementwise function of arrays that broadcast as NumPy's do, or its sum over the first axis.

    Parameters
    ----------
    value
        The function.
    partials
        Its derivative with respect to each argument; None for one that is always data.
    summed
        Whether values are added up over the first axis.
    """

    __props__ = ("key", "summed")

    def __init__(self, value: Number, *partials: Number | None, summed: bool = False) -> None:
        self.value, self.partials, self.summed = value, partials, summed
        code = (inspect.getsource(f) for f in (value, *partials) if f is not None)
        self.key = f"{value.__name__}-{sha256(''.join(code).encode()).hexdigest()}"

    def __str__(self) -> str:
        return f"{'Sum of ' if self.summed else ''}{self.value.__name__}"

    def make_node(self, *inputs: Any) -> Apply:
        """Node of the graph; an argument that was expanded on the left to the others' dimensions is taken bare.

        Raises
        ------
        ValueError
            Shapes that are known and do not broadcast.
        """
        arrays = [_as_float(x) for x in inputs]
        ndim = max(a.type.ndim for a in arrays)
        bare = [_bare(a) for a in arrays]
        if max(a.type.ndim for a in bare) == ndim:
            arrays = bare
        shape = [_known(arrays, axis, ndim) for axis in range(ndim)][int(self.summed) :]
        return Apply(self, arrays, [pt.TensorType("float64", tuple(shape))()])

    def infer_shape(self, node: Apply, shapes: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Shape of the output without computing it."""
        ndim = max(x.type.ndim for x in node.inputs)
        sizes: list[Any] = []
        for axis in range(int(self.summed), ndim):
            own = _carrier(node.inputs, axis, ndim)
            sizes.append(pt.constant(1, dtype="int64") if own is None else shapes[own[0]][own[1]])
        return [tuple(sizes)]

    def perform(self, node: Apply, inputs: Sequence[np.ndarray], outputs: Any) -> None:
        """In Python: for graphs that are not compiled."""
        shape = np.broadcast_shapes(*(np.shape(x) for x in inputs))
        found = np.broadcast_to(self.value(*inputs), shape)
        outputs[0][0] = np.array(found.sum(axis=0) if self.summed else found, dtype=float)

    def pullback(self, inputs: Sequence[Any], outputs: Sequence[Any], gradients: Sequence[Any]) -> list[Any]:
        """Gradient with respect to each argument; 0 for constants, which no one asks for."""
        wanted = tuple(
            partial is not None and not isinstance(x, Constant)
            for x, partial in zip(inputs, self.partials, strict=True)
        )
        made = _Pullback(self, wanted)(gradients[0], *inputs) if any(wanted) else []
        found = iter(made if isinstance(made, list | tuple) else [made])
        return [next(found) if w else pt.zeros_like(x) for w, x in zip(wanted, inputs, strict=True)]


class _Pullback(Op):
    """Gradients of a formula with respect to those arguments that are wanted, each of its argument's shape."""

    __props__ = ("formula", "wanted")

    def __init__(self, formula: Formula, wanted: tuple[bool, ...]) -> None:
        self.formula, self.wanted = formula, wanted

    def make_node(self, gradient: Any, *inputs: Any) -> Apply:
        own = [x.type() for x, w in zip(inputs, self.wanted, strict=True) if w]
        return Apply(self, [_as_float(gradient), *inputs], own)

    def infer_shape(self, node: Apply, shapes: Sequence[Any]) -> list[Any]:
        return [s for s, w in zip(shapes[1:], self.wanted, strict=True) if w]

    def perform(self, node: Apply, inputs: Sequence[np.ndarray], outputs: Any) -> None:
        gradient, *arrays = inputs
        shape = np.broadcast_shapes(*(np.shape(x) for x in arrays))
        at = 0
        for x, partial, wanted in zip(arrays, self.formula.partials, self.wanted, strict=True):
            if wanted and partial is not None:
                full = np.broadcast_to(gradient * partial(*arrays), shape)
                outputs[at][0] = _summed_to(full, np.shape(x))
                at += 1


def _as_float(x: Any) -> Any:
    x = pt.as_tensor_variable(x)
    if x.type.dtype == "float64":
        return x
    return pt.constant(x.data, dtype="float64") if isinstance(x, Constant) else x.astype("float64")


def _bare(x: Any) -> Any:
    while x.owner is not None and isinstance(x.owner.op, DimShuffle) and x.owner.op.is_left_expand_dims:
        x = x.owner.inputs[0]
    return x


def _size(x: Any, axis: int, ndim: int) -> int | None:
    """Size of an array along an axis of the broadcast arrays: 1 where it is repeated, None where not known."""
    own = axis - ndim + x.type.ndim
    size: int | None = 1 if own < 0 else x.type.shape[own]
    return size


def _carrier(arrays: Sequence[Any], axis: int, ndim: int) -> tuple[int, int] | None:
    """Position of an array that is not repeated along an axis, and its own axis; None where all are."""
    for i, x in enumerate(arrays):
        if _size(x, axis, ndim) != 1:
            return i, axis - ndim + x.type.ndim
    return None


def _known(arrays: Sequence[Any], axis: int, ndim: int) -> int | None:
    sizes = {_size(x, axis, ndim) for x in arrays} - {1}
    known = sizes - {None}
    if len(known) > 1:
        raise ValueError(f"arrays do not broadcast: sizes {sorted(s for s in known if s)} along one axis")
    return 1 if not sizes else next(iter(known), None)


def _summed_to(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Add up along the axes on which an array of this shape was repeated."""
    values = values.sum(axis=tuple(range(values.ndim - len(shape))))
    repeated = tuple(i for i, n in enumerate(shape) if n == 1)
    return np.array(values.sum(axis=repeated, keepdims=True), dtype=float)


# Code for numba: loops over the broadcast axes i0, i1, ..., each array indexed by those along which it is not repeated.


def _element(name: str, x: Any, ndim: int) -> str:
    own = x.type.ndim
    at = ["0" if x.type.shape[a] == 1 else f"i{a + ndim - own}" for a in range(own)]
    return f"{name}[{', '.join(at) or '()'}]"


def _extent(arrays: Sequence[Any], names: Sequence[str], axis: int, ndim: int) -> str:
    own = _carrier(arrays, axis, ndim)
    return "1" if own is None else f"{names[own[0]]}.shape[{own[1]}]"


def _nested(arrays: Sequence[Any], names: Sequence[str], ndim: int, body: Iterable[str]) -> list[str]:
    lines = []
    for axis in range(ndim):
        size = _extent(arrays, names, axis, ndim)
        sizes = [
            f"{name}.shape[{axis - ndim + x.type.ndim}]"
            for name, x in zip(names, arrays, strict=True)
            if _size(x, axis, ndim) != 1
        ]
        # Compiled code would read whatever lies behind an array that is too short.
        for other in sizes[1:]:
            lines += [f"if {other} != {size}:", '    raise ValueError("arrays do not broadcast")']
    for axis in range(ndim):
        lines.append(f"{'    ' * axis}for i{axis} in range({_extent(arrays, names, axis, ndim)}):")
    return [*lines, *("    " * ndim + line for line in body)]


def compiled_function(
    name: str,
    arguments: Sequence[str],
    lines: Sequence[str],
    parts: dict[str, Any],
    key: str,
    *,
    divides_by_zero: bool = False,
) -> tuple[Any, str]:
    """Make a function for numba of lines of text that call others by name: it, and the key under which it is kept.

    With `divides_by_zero` a division by 0 is not an error but infinite, as in NumPy. A loop that may stop with an error
    is not done for several elements at a time.
    """
    source = "\n    ".join([f"def {name}({', '.join(arguments)}):", *lines]) + "\n"
    model = "numpy" if divides_by_zero else "python"
    made_of = (
        f"{key}\n{source}\nnumba {numba.__version__}, fastmath {config.numba__fastmath}, {model}, inlined"
    )
    kept = sha256(made_of.encode()).hexdigest()
    fast = bool(config.numba__fastmath)
    compiled = {part: _for_numba(function, fast, model) for part, function in parts.items()}
    # numba looks for a function's module, by name, when it loads its code.
    known = {"__name__": __name__, "np": np, **compiled}
    made = compile_numba_function_src(source, name, known, cache_key=kept)
    return numba_njit(made, cache=bool(config.numba__cache), error_model=model), kept


@cache
def _for_numba(function: Any, fast: bool, error_model: str) -> Any:
    """One for all formulas: numba compiles it once for all that call it, with these settings."""
    # Called for each element: a call that is left would keep the loop from doing several at a time.
    return numba_njit(function, error_model=error_model, forceinline=True)


@register_funcify_and_cache_key(Formula)  # type: ignore[untyped-decorator]
def _compiled(op: Formula, node: Apply, **kwargs: Any) -> tuple[Any, str]:
    names = [f"x{i}" for i in range(len(node.inputs))]
    ndim = max(x.type.ndim for x in node.inputs)
    given = ", ".join(_element(n, x, ndim) for n, x in zip(names, node.inputs, strict=True))
    axes = range(int(op.summed), ndim)
    if len(axes) == 0:
        lines = ["out = 0.0", *_nested(node.inputs, names, ndim, [f"out += value({given})"])]
        lines.append("return np.asarray(out)")
    else:
        sizes = [_extent(node.inputs, names, axis, ndim) for axis in axes]
        at = ", ".join(f"i{axis}" for axis in axes)
        body = [f"out[{at}] += value({given})"]
        lines = [
            f"out = np.zeros(({', '.join(sizes)},))",
            *_nested(node.inputs, names, ndim, body),
            "return out",
        ]
    return compiled_function("formula", names, lines, {"value": op.value}, op.key)


@register_funcify_and_cache_key(_Pullback)  # type: ignore[untyped-decorator]
def _compiled_pullback(op: _Pullback, node: Apply, **kwargs: Any) -> tuple[Any, str]:
    gradient, *inputs = node.inputs
    names = [f"x{i}" for i in range(len(inputs))]
    ndim = max(x.type.ndim for x in inputs)
    wanted = [i for i, w in enumerate(op.wanted) if w]
    at = [
        "0" if gradient.type.shape[a] == 1 else f"i{a + int(op.formula.summed)}"
        for a in range(gradient.type.ndim)
    ]
    body = [f"g = gradient[{', '.join(at) or '()'}]"]
    body += [f"a{i} = {_element(n, x, ndim)}" for i, (n, x) in enumerate(zip(names, inputs, strict=True))]
    given = ", ".join(f"a{i}" for i in range(len(inputs)))
    lines = []
    for i in wanted:
        scalar = inputs[i].type.ndim == 0
        lines.append(f"d{i} = 0.0" if scalar else f"d{i} = np.zeros(x{i}.shape)")
        target = f"d{i}" if scalar else _element(f"d{i}", inputs[i], ndim)
        body.append(f"{target} += g * p{i}({given})")
    lines += _nested(inputs, names, ndim, body)
    found = ", ".join(f"np.asarray(d{i})" if inputs[i].type.ndim == 0 else f"d{i}" for i in wanted)
    lines.append(f"return {found}")
    parts = {f"p{i}": op.formula.partials[i] for i in wanted}
    return compiled_function("pullback", ["gradient", *names], lines, parts, op.formula.key)
