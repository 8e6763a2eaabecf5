"""Graph -> a model that nutpie samples, compiled once for all data of one structure.

nutpie compiles density and gradient, and the values that are kept of a draw, anew in each process and for each data
set: what a graph knows as constants (design, indices, cheap estimates, sizes) is part of its code. Here these are
arguments of the compiled code, as the data are that nutpie itself can exchange, and the code is kept on disk, where
PyTensor keeps its own (its setting ``numba__cache`` turns both off). A model of the same structure, whatever its
tumours and cohorts and how many, is then loaded instead of compiled. The density is the same. Numbers that were fused
into an expression stay in the code, and in the key under which it is kept.

This rests on functions that nutpie keeps to itself. Where it has others, `compiled` leaves all of it to nutpie.

Arithmetic is strict, whatever PyTensor's setting ``numba__fastmath`` is: sums in the order of their terms, products not
fused into them. So one point has one density to the last bit, and one seed one chain, in every process. With fast
arithmetic each piece of code rounds as the code around it lets it, and in the process that compiled an operation that
one is used in place of the copies of it that other code has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from hashlib import sha256
from importlib.util import find_spec
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numba
import numpy as np
import nutpie
import nutpie.compile_pymc as internals
import pandas as pd
import pymc as pm
import pytensor
import pytensor.tensor as pt
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array
from pymc.initial_point import make_initial_point_fn
from pymc.pytensorf import compile as compile_in_pymc
from pytensor.compile.mode import Mode, get_mode
from pytensor.configdefaults import config
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.destroyhandler import DestroyHandler
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.replace import clone_replace
from pytensor.link.numba.cache import CACHED_SRC_FUNCTIONS, compile_numba_function_src
from pytensor.link.numba.dispatch.basic import (
    cache_key_for_constant,
    numba_funcify_and_cache_key,
    numba_njit,
    numba_typify,
)
from pytensor.link.numba.linker import NumbaLinker
from pytensor.link.utils import fgraph_to_python
from pytensor.scalar.basic import ScalarType
from pytensor.tensor.basic import Alloc, AllocEmpty
from pytensor.tensor.rewriting.scalarize import ScalarSubtensor
from pytensor.tensor.shape import Reshape
from pytensor.tensor.subtensor import AdvancedIncSubtensor, AdvancedSubtensor, IncSubtensor, Subtensor
from pytensor.tensor.type import TensorType

from bayes_her2.bayesian.cheaper_code import cheaper_to_compile
from bayes_her2.bayesian.without_data import DensityOfPoint, WithoutData, density_of_point, without_data
from bayes_her2.errors import DataError

if TYPE_CHECKING:
    from nutpie.sample import CompiledModel

_TAKE_SIZES = (
    Alloc,
    AllocEmpty,
    Reshape,
    ScalarSubtensor,
    Subtensor,
    IncSubtensor,
    AdvancedSubtensor,
    AdvancedIncSubtensor,
)
"""Operations whose whole numbers are positions or sizes, of any type of integer."""

_MADE_AS = "4"
"""Part of every key: raised where this module makes other code of the same graph, so that no old code is loaded."""

_OPERATIONS: dict[tuple[Any, ...], Any] = {}
"""Operations of all graphs of this process, by the key of their code and the types of their inputs.

Each is compiled or loaded once.
"""

_STRUCTURES: dict[tuple[Any, ...], _Structure] = {}
"""Compiled models of this process, by the structure of their graphs, the one used last at the end."""

_REMEMBERED = 24
"""Structures that a process keeps."""

_EXPECTED = {
    "_n_dim",
    "dims",
    "_coords",
    "_shapes",
    "compiled_logp_func",
    "compiled_expand_func",
    "initial_point_func",
    "shared_data",
    "shared_var_keys",
    "user_data",
    "n_expanded",
    "shape_info",
    "logp_func",
    "expand_func",
    "reparameterized_names",
    "_transform_adapt_args",
}

_TYPES = numba.types
_POINTER = _TYPES.CPointer(_TYPES.double)
_LOG_DENSITY = _TYPES.int64(_TYPES.uint64, _POINTER, _POINTER, _POINTER, _TYPES.voidptr)
_EXPANDED = _TYPES.int64(_TYPES.uint64, _TYPES.uint64, _POINTER, _POINTER, _TYPES.voidptr)

_LOG_DENSITY_CODE = """
def entered(dim, point, gradient_, value_, record):
    try:
        value, gradient = evaluated(carray(point, (dim,)), record)
        carray(value_, (1,))[0] = value[()]
        out = carray(gradient_, (dim,))
        finite = True
        for i in range(dim):
            out[i] = gradient[i]
            finite &= isfinite(gradient[i])
        if not finite:
            return 3
        if not isfinite(value[()]):
            return 4
    except Exception:
        return 1
    return 0
"""
_EXPANDED_CODE = """
def entered(dim, size, point, values_, record):
    try:
        (values,) = evaluated(carray(point, (dim,)), record)
        out = carray(values_, (size,))
        for i in range(size):
            out[i] = values[i]
    except Exception:
        return -2
    return 0
"""


def nutpie_is_known() -> bool:
    """Whether the installed nutpie has what this module is built on."""
    model = getattr(internals, "CompiledPyMCModel", None)
    used = (
        "_compute_shapes",
        "_rv_dict_to_flat_array_wrapper",
        "_wrap_with_lock",
        "_prepare_dims_and_coords",
        "make_user_data",
    )
    return (
        is_dataclass(model)
        and {f.name for f in fields(model)} == _EXPECTED
        and all(hasattr(internals, name) for name in used)
    )


@config.change_flags(numba__fastmath=False)  # type: ignore[untyped-decorator]
def compiled(graph: pm.Model, backend: Literal["numba", "jax"] = "numba") -> CompiledModel:
    """Compile a model once, for as many samplings as are needed.

    Parameters
    ----------
    graph
        A model; arrays that its densities share by name can be exchanged in what is returned.
    backend
        With ``jax`` the model is compiled by JAX, each time anew, and its arrays are fixed.

    Returns
    -------
    CompiledModel
        As `nutpie.compile_pymc_model` returns it.

    Raises
    ------
    DataError
        JAX is asked for and not installed.
    """
    if backend == "jax":
        if find_spec("jax") is None:
            raise DataError(
                "[sampling] backend = 'jax': the package jax is not installed. Install this package with the extra "
                "`jax`, or leave the setting out."
            )
        from bayes_her2.bayesian.jax_backend import compiled_in_jax  # noqa: PLC0415 - an optional package

        return compiled_in_jax(graph)
    if not nutpie_is_known():
        ready: CompiledModel = nutpie.compile_pymc_model(graph)
        return ready
    opened = without_data(graph)
    known = _STRUCTURES.pop(opened.structure, None)
    made = _Structure.of(graph, opened) if known is None else known
    _STRUCTURES[opened.structure] = made
    if len(_STRUCTURES) > _REMEMBERED:
        del _STRUCTURES[next(iter(_STRUCTURES))]
    return made.with_data_of(graph, opened)


@dataclass(frozen=True)
class _Structure:
    """Compiled code of all graphs of one structure."""

    density: DensityOfPoint
    exchangeable: Sequence[Variable]
    codes: tuple[_Code, _Code]
    entries: tuple[_CalledFromC, _CalledFromC]
    keys: Mapping[Variable, str]
    addresses: Variable
    shapes: tuple[list[str], list[slice], list[tuple[int, ...]]]
    n_free: int

    @classmethod
    def of(cls, graph: pm.Model, opened: WithoutData) -> _Structure:
        """Rewrite and compile a graph's functions."""
        values = [graph.rvs_to_values[v] for v in graph.free_RVs]
        density = density_of_point(opened, values, check_bounds=graph.check_bounds)
        known = internals._compute_shapes(graph)
        names = [str(v.name) for v in (*values, *opened.kept)]
        shapes = [tuple(int(size) for size in known[name]) for name in names]
        ends = np.cumsum([prod(shape) for shape in shapes])
        slices = [slice(int(end) - prod(shape), int(end)) for end, shape in zip(ends, shapes, strict=True)]
        point = TensorType("float64", shape=(slices[len(values) - 1].stop,))("_unconstrained_point")
        parts = {
            v: point[own].reshape(shape).astype(v.dtype)
            for v, own, shape in zip(values, slices, shapes, strict=False)
        }
        log_density, *gradient = clone_replace([density.log_density, *density.gradient], parts)
        kept = clone_replace(list(density.kept), parts)
        mode = Mode(_NotCompiled(), get_mode("NUMBA").provided_optimizer)
        with graph:
            functions = (
                compile_in_pymc([point], [log_density, _in_a_row(gradient)], mode=mode),
                compile_in_pymc(
                    [point], [_in_a_row([*(point[s] for s in slices[: len(values)]), *kept])], mode=mode
                ),
            )
        codes = (_Code(functions[0]), _Code(functions[1]))
        addresses = TensorType("uint64", (2,))()
        variables = [*dict.fromkeys([*codes[0].arrays, *codes[1].arrays]), addresses]
        keys = {variable: f"a{i:04d}" for i, variable in enumerate(variables)}
        arrays = codes[0].arrays | codes[1].arrays | {addresses: np.zeros(2, dtype=np.uint64)}
        record = internals.make_user_data(keys, {keys[v]: _fixed(arrays[v]) for v in keys})
        places = _places(record.dtype, keys)
        where = (places, places[addresses][0])
        entries = (
            codes[0].called_from_c(*where, _LOG_DENSITY, _LOG_DENSITY_CODE),
            codes[1].called_from_c(*where, _EXPANDED, _EXPANDED_CODE),
        )
        return cls(
            density,
            opened.exchangeable,
            codes,
            entries,
            keys,
            addresses,
            (names, slices, shapes),
            len(values),
        )

    def with_data_of(self, graph: pm.Model, opened: WithoutData) -> CompiledModel:
        """Return the model of a graph of this structure."""
        arrays = self.codes[0].arrays | self.codes[1].arrays
        own = dict(zip(self.density.held, self.density.values(opened.arrays), strict=True))
        own |= {
            mine: np.asarray(theirs.get_value(borrow=True))
            for mine, theirs in zip(self.exchangeable, opened.exchangeable, strict=True)
        }
        arrays |= {variable: values for variable, values in own.items() if variable in arrays}
        arrays[self.addresses] = np.array([code.address for code in self.codes], dtype=np.uint64)
        data = {key: _fixed(arrays[variable]) for variable, key in self.keys.items()}
        transformed = [
            str(graph.rvs_to_values[v].name)
            for v in graph.free_RVs
            if graph.rvs_to_transforms.get(v) is not None
        ]
        dims, coords = internals._prepare_dims_and_coords(graph, self.shapes, transformed)
        initial = make_initial_point_fn(
            model=graph,
            overrides=None,
            default_strategy="support_point",
            jitter_rvs=set(graph.free_RVs),
            return_transformed=True,
        )
        names, slices, shapes = self.shapes
        return internals.CompiledPyMCModel(
            _n_dim=slices[self.n_free - 1].stop,
            dims=dims,
            _coords={name: _plain(labels) for name, labels in coords.items()},
            _shapes=dict(zip(names, shapes, strict=True)),
            compiled_logp_func=self.entries[0],
            compiled_expand_func=self.entries[1],
            initial_point_func=internals._rv_dict_to_flat_array_wrapper(
                internals._wrap_with_lock(initial), names=names[: self.n_free], shapes=shapes[: self.n_free]
            ),
            shared_data=data,
            shared_var_keys=dict(self.keys),
            user_data=internals.make_user_data(self.keys, data),
            n_expanded=slices[-1].stop,
            shape_info=self.shapes,
            logp_func=self.codes[0],
            expand_func=self.codes[1],
            reparameterized_names=transformed,
        )


def _in_a_row(variables: Sequence[Any]) -> Any:
    return pt.concatenate([variable.ravel() for variable in variables])


class _NotCompiled(NumbaLinker):
    """Linker of a function that is rewritten for numba, and whose code is made elsewhere."""

    def fgraph_convert(self, fgraph: FunctionGraph, **kwargs: Any) -> Any:
        def not_compiled(*arguments: Any) -> Any:
            raise NotImplementedError("compiled by bayes_her2.bayesian.compilation")

        return not_compiled

    def jit_compile(self, fn: Any) -> Any:
        return fn


def _fixed(values: np.ndarray) -> np.ndarray:
    copy = np.array(values, order="C", copy=True)
    copy.flags.writeable = False
    return copy


def _plain(labels: pd.Index) -> pd.Index:
    """Labels that nutpie can keep: of pandas' kinds of text it knows Arrow's, and objects."""
    return labels.astype(object) if isinstance(labels.dtype, pd.StringDtype) else labels


def _places(record: np.dtype[Any], keys: Mapping[Variable, str]) -> dict[Variable, tuple[int, int]]:
    """Where an array's address and the first of its sizes are in nutpie's record, counted in numbers of 8 bytes."""

    def place(*names: str) -> int:
        at, inside = 0, record
        for name in names:
            assert inside.fields is not None
            inside, start = inside.fields[name][:2]
            at += start
        return at // 8

    return {
        variable: (place("shared", "data", key), place("shared", "shape", key))
        for variable, key in keys.items()
    }


@dataclass(frozen=True)
class _Argument:
    """An array of the graph as an argument of its code."""

    variable: Variable
    values: np.ndarray

    @property
    def is_number(self) -> bool:
        return _is_number(self.variable)

    @property
    def compiled_type(self) -> Any:
        number = numba.from_dtype(self.values.dtype)
        return number if self.is_number else _TYPES.Array(number, self.values.ndim, "C")

    def from_record(self, context: Any, builder: Any, record: Any, address: int, shape: int) -> Any:
        """Take it from the record, in the code that calls the graph's: the value to give to this."""
        number = numba.from_dtype(self.values.dtype)
        data = builder.inttoptr(
            _word(context, builder, record, address), context.get_data_type(number).as_pointer()
        )
        if self.is_number:
            return context.unpack_value(builder, number, data)
        sizes = [_word(context, builder, record, shape + axis) for axis in range(self.values.ndim)]
        itemsize = context.get_constant(_TYPES.intp, self.values.dtype.itemsize)
        strides: list[Any] = []
        step = itemsize
        for size in reversed(sizes):
            strides.insert(0, step)
            step = builder.mul(step, size)
        made = context.make_array(self.compiled_type)(context, builder)
        populate_array(made, data=data, shape=sizes, strides=strides, itemsize=itemsize, meminfo=None)
        return made._getvalue()


def _word(context: Any, builder: Any, start: Any, place: int) -> Any:
    """Code that reads the word at a place, counted in numbers of 8 bytes."""
    return builder.load(builder.gep(start, [context.get_constant(_TYPES.intp, place)]))


class _Code:
    """One function of a model: its graph with every array an argument, and the code made of it."""

    def __init__(self, function: Any) -> None:
        graph = FunctionGraph(function.maker.fgraph.inputs, function.maker.fgraph.outputs, clone=True)
        own = [_Argument(v, np.asarray(v.get_value(borrow=True))) for v in function.get_shared()]
        cheaper_to_compile(graph)
        self.arguments = [*own, *_constants_as_arguments(graph)]
        # What is computed in the place of another array comes after all that read this.
        graph.attach_feature(DestroyHandler())
        plain, self.key = _as_python(graph)
        self.body = numba_njit(plain) if self.key is None else numba_njit(_kept(plain, self.key), cache=True)
        point = _TYPES.Array(_TYPES.double, 1, "C")
        self.body.compile((point, *(a.compiled_type for a in self.arguments)))
        (self.result,) = self.body.overloads.values()

    @property
    def arrays(self) -> dict[Variable, np.ndarray]:
        return {a.variable: a.values for a in self.arguments}

    @property
    def address(self) -> int:
        """Where the code is in this process."""
        found = self.result.library.get_pointer_to_function(self.result.fndesc.llvm_func_name)
        assert found
        return int(found)

    def called_from_c(
        self, places: Mapping[Variable, tuple[int, int]], address: int, signature: Any, code: str
    ) -> _CalledFromC:
        """Make the function that the sampler calls; it finds the code by its address in the record."""
        at = [places[a.variable] for a in self.arguments]
        index = int(signature == _EXPANDED)
        names = {
            "__name__": __name__,
            "evaluated": _caller(self.result.signature, self.arguments, at, address, index),
            "carray": numba.carray,
            "isfinite": np.isfinite,
        }
        key = _key(code, str(self.result.signature), str(at), str(address))
        outer = compile_numba_function_src(code, "entered", names, cache_key=key)
        return _CalledFromC(numba.cfunc(signature, cache=bool(config.numba__cache))(outer), self)


@dataclass(frozen=True)
class _CalledFromC:
    """A function by its address, as nutpie takes it, and the code that it calls."""

    entry: Any
    code: _Code

    @property
    def address(self) -> int:
        return int(self.entry.address)

    @property
    def ctypes(self) -> Any:
        return self.entry.ctypes

    @property
    def was_on_disk(self) -> bool:
        """Whether the code was loaded and not compiled."""
        return bool(self.code.body.stats.cache_hits)


def _as_python(graph: FunctionGraph) -> tuple[Any, str | None]:
    """Python function of a graph, each operation one call, and the key of its code: None where it cannot be kept.

    PyTensor makes such a function too, but a new one of each operation each time that it occurs, so that numba loads,
    links and optimises the same code as often: of 460 pieces in the main model 100 differ.
    """
    names: dict[Variable, Any] = {variable: (0, i) for i, variable in enumerate(graph.inputs)}
    for i, node in enumerate(graph.toposort(), start=1):
        names |= {variable: (i, j) for j, variable in enumerate(node.outputs)}
    parts: list[Any] = []

    def operation(op: Any, *, node: Apply, **kwargs: Any) -> Any:
        function, key = numba_funcify_and_cache_key(op, node=node, **kwargs)
        parts.append((key, tuple(names[variable] for variable in node.inputs)))
        if key is None or not config.numba__cache:
            return function
        kept = _key(key)
        # An operation's key says nothing of its inputs, not even how many there are: numba's records have their types.
        place = (kept, *(_type_for_numba(x) for x in node.inputs))
        if place not in _OPERATIONS:
            _OPERATIONS[place] = _loaded_or_compiled(function, kept)
        return _OPERATIONS[place]

    def constant(value: Any, variable: Variable, **kwargs: Any) -> Any:
        if isinstance(variable, Constant):
            names[variable] = cache_key_for_constant(value)
        return numba_typify(value, variable=variable, **kwargs)

    plain = fgraph_to_python(
        graph,
        op_conversion_fn=operation,
        type_conversion_fn=constant,
        fgraph_name="of_graph",
        ofg_memo={},
    )
    if not config.numba__cache or any(key is None for key, _ in parts):
        return plain, None
    return plain, _key(repr((parts, len(graph.inputs), [names[variable] for variable in graph.outputs])))


def _is_number(variable: Variable) -> bool:
    return isinstance(variable.type, ScalarType)


def _type_for_numba(variable: Variable) -> tuple[Any, ...]:
    known = variable.type
    return str(getattr(known, "dtype", known)), getattr(known, "ndim", 0), _is_number(variable)


def _loaded_or_compiled(function: Any, key: str) -> Any:
    """Let numba keep the compiled form of an operation on disk under a key."""
    if getattr(function, "py_func", None) in CACHED_SRC_FUNCTIONS:
        return function
    # What a closure holds is not known to numba when it looks for a kept form: a function around it has a name for it.
    name = function.__name__
    source = f"def {name}(*arguments): return function(*arguments)"
    # numba looks for a function's module, by name, when it loads its code.
    known = {"__name__": __name__, "function": function}
    around = compile_numba_function_src(source, name, known, cache_key=key)
    return numba_njit(around, cache=True)


def _key(*parts: str) -> str:
    made_by = (_MADE_AS, numba.__version__, pytensor.__version__, f"fastmath {config.numba__fastmath}")
    return sha256("\n".join((*parts, *made_by)).encode()).hexdigest()


def _kept(function: Any, key: str) -> Any:
    """Mark a function made from text: its compiled form is kept on disk under a key."""
    # numba names the file that it keeps after the function's, and looks for the module when it loads it.
    function.__code__ = function.__code__.replace(co_filename="<string>")
    function.__module__ = __name__
    CACHED_SRC_FUNCTIONS[function] = key
    return function


def _caller(
    signature: Any, arguments: Sequence[_Argument], at: Sequence[tuple[int, int]], addresses: int, index: int
) -> Any:
    """Return what calls compiled code at an address that the record has, with a point and the record's arrays.

    The code need not be compiled into the one that calls it, and the arrays are found without one call for each.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def call(typing: Any, point: Any, record: Any) -> Any:
        def codegen(context: Any, builder: Any, made: Any, values: Any) -> Any:
            returned, taken = signature.return_type, signature.args
            word = context.get_value_type(_TYPES.int64)
            words = builder.bitcast(values[1], word.as_pointer())
            given = [
                a.from_record(context, builder, words, *place) for a, place in zip(arguments, at, strict=True)
            ]
            codes = builder.inttoptr(_word(context, builder, words, addresses), word.as_pointer())
            kind = context.call_conv.get_function_type(returned, taken).as_pointer()
            code = builder.inttoptr(_word(context, builder, codes, index), kind)
            status, found = context.call_conv.call_function(
                builder, code, returned, taken, [values[0], *given]
            )
            with cgutils.if_unlikely(builder, status.is_error):
                context.call_conv.return_status_propagate(builder, status)
            return found

        return signature.return_type(point, record), codegen

    return call


def _constants_as_arguments(graph: FunctionGraph) -> Sequence[_Argument]:
    """Make inputs of a graph's constant arrays, and of the numbers that are sizes and positions, in place."""
    made: dict[tuple[Constant, bool], _Argument] = {}
    for node in graph.toposort():
        for i, constant in enumerate(node.inputs):
            if not isinstance(constant, Constant) or not _can_be_an_argument(constant, node):
                continue
            position = isinstance(node.op, _TAKE_SIZES) and constant.type.dtype not in ("float64", "bool")
            key = (constant, position)
            if key not in made:
                values = np.asarray(constant.data, dtype=np.int64 if position else None)
                made[key] = _Argument(constant.type.make_variable(), values)
                graph.add_input(made[key].variable)
            graph.change_node_input(node, i, made[key].variable, check=False)
    return list(made.values())


def _can_be_an_argument(constant: Constant, node: Apply) -> bool:
    """Whether an operation's code may take a constant as a variable: an axis to join along, say, has to be known."""
    if isinstance(constant.type, TensorType):
        return constant.type.ndim > 0 or constant.type.dtype == "float64" or isinstance(node.op, _TAKE_SIZES)
    return isinstance(constant.type, ScalarType) and isinstance(node.op, _TAKE_SIZES)
