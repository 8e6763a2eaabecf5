"""Formulas of a graph: values, derivatives and broadcasting, in Python and compiled, against NumPy and differences."""

from __future__ import annotations

import inspect

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import get_mode
from scipy import stats

from bayes_her2.bayesian import coefficient
from bayes_her2.bayesian.formula import Formula

PLAIN = get_mode("FAST_COMPILE").excluding("fusion")
MODES = pytest.mark.parametrize("mode", [PLAIN, get_mode("NUMBA")], ids=["python", "numba"])
OF_COEFFICIENTS = {name: f for name, f in vars(coefficient).items() if isinstance(f, Formula)}


def _product(x, y, w):
    return x * np.exp(y) + w


def _product_by_x(x, y, w):
    return np.exp(y)


def _product_by_y(x, y, w):
    return x * np.exp(y)


def product(*, summed: bool) -> Formula:
    return Formula(_product, _product_by_x, _product_by_y, None, summed=summed)


SHAPES = [
    ((), ()),
    ((4,), ()),
    ((), (4,)),
    ((3, 4), (4,)),
    ((3, 1), (4,)),
    ((4,), (3, 4)),
    ((3, 4), ()),
    ((1, 4), (3, 1)),
]


@MODES
@pytest.mark.parametrize(
    ("summed", "shapes"),
    [(False, shapes) for shapes in SHAPES] + [(True, shapes) for shapes in SHAPES if any(shapes)],
    ids=str,
)
def test_values_and_gradients_broadcast_as_numpy_does(mode, summed, shapes):
    rng = np.random.default_rng(1)
    first, second = (rng.normal(size=s) for s in shapes)
    x, y = (pt.tensor(shape=tuple(1 if n == 1 else None for n in s), dtype="float64") for s in shapes)
    formula = product(summed=summed)
    out = formula(x, y, 0.5)
    weights = rng.normal(size=np.broadcast_shapes(*shapes)[int(summed) :])
    gradients = pytensor.grad((out * weights).sum(), [x, y])
    shape, value, by_x, by_y = pytensor.function([x, y], [out.shape, out, *gradients], mode=mode)(
        first, second
    )

    full = np.broadcast_to(first * np.exp(second) + 0.5, np.broadcast_shapes(*shapes))
    expected = full.sum(axis=0) if summed else full
    np.testing.assert_allclose(value, expected, rtol=1e-14)
    assert tuple(shape) == expected.shape
    for found, partial, own in ((by_x, np.exp(second), shapes[0]), (by_y, first * np.exp(second), shapes[1])):
        whole = np.broadcast_to(weights * partial, full.shape)
        lead = whole.ndim - len(own)
        whole = whole.sum(axis=tuple(range(lead)))
        whole = whole.sum(axis=tuple(i for i, n in enumerate(own) if n == 1), keepdims=True)
        assert found.shape == own
        np.testing.assert_allclose(found, whole, rtol=1e-12)


@pytest.mark.parametrize("name", OF_COEFFICIENTS)
def test_derivatives_written_by_hand_are_those_of_the_formula(name):
    formula = OF_COEFFICIENTS[name]
    rng = np.random.default_rng(2)
    arguments = list(inspect.signature(formula.value).parameters)
    signed = {"z", "x", "mu", "theta", "weighted", "estimate"}
    points = {a: rng.normal(size=50) if a in signed else rng.gamma(2.0, 0.5, size=50) for a in arguments}
    assert len(formula.partials) == len(arguments)
    for argument, partial in zip(arguments, formula.partials, strict=True):
        if partial is None:
            continue
        step = 1e-6 * np.maximum(1.0, np.abs(points[argument]))
        ahead, behind = (formula.value(**points | {argument: points[argument] + s * step}) for s in (1, -1))
        np.testing.assert_allclose(
            partial(**points),
            (ahead - behind) / (2 * step),
            rtol=2e-6,
            atol=1e-7,
            err_msg=f"{name} by {argument}",
        )


def test_the_normal_density_is_scipys():
    rng = np.random.default_rng(3)
    x, mu, sigma = rng.normal(size=20), rng.normal(size=20), rng.gamma(2.0, 0.5, size=20)
    np.testing.assert_allclose(
        coefficient.NORMAL.value(x, mu, sigma), stats.norm.logpdf(x, mu, sigma), rtol=1e-13
    )


def test_an_argument_expanded_by_the_caller_is_taken_as_it_was():
    """Expanding a spread to the shape of its coefficients costs operations, forward and back."""
    x, y = pt.vector("x"), pt.scalar("y")
    node = product(summed=False)(x, y[None], 0.0).owner
    assert node.inputs[1] is y
    alone = product(summed=False)(y[None], y[None], 0.0)
    assert alone.type.ndim == 1


def test_shapes_that_do_not_broadcast_are_refused_when_they_are_known():
    with pytest.raises(ValueError, match=r"do not broadcast: sizes \[3, 4\] along one axis"):
        product(summed=False)(pt.vector(shape=(4,)), pt.vector(shape=(3,)), 0.0)


@MODES
def test_and_when_they_are_met(mode):
    """Compiled code must not read behind the end of an array."""
    x, y = pt.vector("x"), pt.vector("y")
    run = pytensor.function([x, y], product(summed=False)(x, y, 0.0), mode=mode)
    with pytest.raises(ValueError, match="broadcast"):
        run(np.ones(4), np.ones(3))


def test_formulas_of_the_same_code_are_the_same_operation():
    assert product(summed=False) == product(summed=False)
    assert product(summed=False) != product(summed=True)
    assert Formula(_product, None, None, None) != product(summed=False)


def test_data_are_not_differentiated():
    x = pt.vector("x", shape=(3,))
    out = product(summed=False)(x, np.array([0.1, 0.2, 0.3]), np.ones(3))
    (gradient,) = pytensor.grad(out.sum(), [x])
    assert gradient.owner.op.wanted == (True, False, False)
