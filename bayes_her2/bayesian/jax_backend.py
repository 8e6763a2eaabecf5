"""The same graphs in JAX: the operations that this package adds to PyTensor's, from the same functions of numbers.

A likelihood or a coefficient is written once, as a function of numbers (`bayes_her2.bayesian.kernel`,
`bayes_her2.bayesian.formula`). Here the same code is run with JAX's arrays: NumPy's name means `jax.numpy` in it, and
the functions of `bayes_her2.bayesian.vector_math` mean JAX's own. Derivatives are those written by hand.

Importing this module needs JAX (the extra `jax`).
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import nutpie
import pymc as pm
from jax.scipy.special import digamma, gammaln, log_ndtr
from pytensor.graph.basic import Apply
from pytensor.link.jax.dispatch import jax_funcify

from bayes_her2.bayesian import vector_math
from bayes_her2.bayesian.censored import CensoredLogLik
from bayes_her2.bayesian.formula import Formula, _Pullback
from bayes_her2.bayesian.kernel import Kernel

if TYPE_CHECKING:
    from nutpie.sample import CompiledModel

_ROOT_2PI = float(np.sqrt(2.0 * np.pi))


def _exp(x: Any) -> Any:
    # With the same ends: rows that are not counted stay finite.
    return jnp.exp(jnp.clip(x, vector_math.LEAST, vector_math.GREATEST))


def _log_gamma(x: Any) -> tuple[Any, Any]:
    return gammaln(x), digamma(x)


def _log_normal_cdf(x: Any) -> tuple[Any, Any]:
    value = log_ndtr(x)
    return value, jnp.exp(-0.5 * x * x - value) / _ROOT_2PI


_OF_VECTOR_MATH: dict[Any, Callable[..., Any]] = {
    vector_math.exp: _exp,
    vector_math.log_of_1_plus: jnp.log1p,
    vector_math.log: jnp.log,
    vector_math.log_gamma: _log_gamma,
    vector_math.log_normal_cdf: _log_normal_cdf,
}


def in_jax(function: Any) -> Callable[..., Any]:
    """Give a function of numbers for JAX's arrays: its code, with JAX behind the names that it uses.

    Parameters
    ----------
    function
        Arithmetic, functions of NumPy and of `bayes_her2.bayesian.vector_math`, and functions made of these.
    """
    known = dict(function.__globals__)
    for name in function.__code__.co_names:
        meant = known.get(name)
        if meant is np:
            known[name] = jnp
        elif meant is vector_math:
            known[name] = SimpleNamespace(**{own.__name__: jaxs for own, jaxs in _OF_VECTOR_MATH.items()})
        elif callable(meant) and meant in _OF_VECTOR_MATH:
            known[name] = _OF_VECTOR_MATH[meant]
        elif isinstance(meant, FunctionType) and meant.__module__.startswith("bayes_her2."):
            known[name] = in_jax(meant)
    return FunctionType(
        function.__code__, known, function.__name__, function.__defaults__, function.__closure__
    )


def _summed_to(values: Any, shape: tuple[int, ...]) -> Any:
    """Add up along the axes on which an array of this shape was repeated."""
    values = values.sum(axis=tuple(range(values.ndim - len(shape))))
    return values.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)


@jax_funcify.register(Kernel)  # type: ignore[untyped-decorator]
def _kernel(op: Kernel, node: Apply, **kwargs: Any) -> Callable[..., Any]:
    function = in_jax(op.function)

    def kernel(*arrays: Any) -> Any:
        return tuple(jnp.broadcast_to(found, arrays[0].shape) for found in function(*arrays))

    return kernel


@jax_funcify.register(Formula)  # type: ignore[untyped-decorator]
def _formula(op: Formula, node: Apply, **kwargs: Any) -> Callable[..., Any]:
    value = in_jax(op.value)

    def formula(*arrays: Any) -> Any:
        shape = jnp.broadcast_shapes(*(jnp.shape(x) for x in arrays))
        found = jnp.broadcast_to(value(*arrays), shape)
        return found.sum(axis=0) if op.summed else found

    return formula


@jax_funcify.register(_Pullback)  # type: ignore[untyped-decorator]
def _pullback(op: _Pullback, node: Apply, **kwargs: Any) -> Callable[..., Any]:
    partials = [
        in_jax(partial) if wanted else None
        for partial, wanted in zip(op.formula.partials, op.wanted, strict=True)
    ]

    def pullback(gradient: Any, *arrays: Any) -> Any:
        shape = jnp.broadcast_shapes(*(jnp.shape(x) for x in arrays))
        found = tuple(
            _summed_to(jnp.broadcast_to(gradient * partial(*arrays), shape), jnp.shape(x))
            for x, partial in zip(arrays, partials, strict=True)
            if partial is not None
        )
        return found if len(found) > 1 else found[0]

    return pullback


@jax_funcify.register(CensoredLogLik)  # type: ignore[untyped-decorator]
def _censored(op: CensoredLogLik, node: Apply, **kwargs: Any) -> Callable[..., Any]:
    def censored(bound: Any, slope: Any, scores: Any, cell: Any) -> Any:
        logs, ratio = _log_normal_cdf(bound[cell] - (slope[cell] * scores).sum(axis=1))
        by_bound = jnp.zeros_like(bound).at[cell].add(ratio)
        by_slope = jnp.zeros_like(slope).at[cell].add(-ratio[:, None] * scores)
        return logs.sum(), by_bound, by_slope

    return censored


def compiled_in_jax(graph: pm.Model) -> CompiledModel:
    """Compile a model with JAX, for the processor or accelerator that JAX finds.

    Parameters
    ----------
    graph
        The model.
    """
    jax.config.update("jax_enable_x64", True)
    return nutpie.compile_pymc_model(graph, backend="jax", gradient_backend="pytensor")
