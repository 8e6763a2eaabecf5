"""The product of all models: numpy's values, gradients of the same operation, compiled as interpreted."""

from __future__ import annotations

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.gradient import verify_grad
from pytensor.tensor.math import Dot

from bayes_her2.bayesian.product import Product, matrix_product

SHAPES = {
    "matrices": ((4, 3), (3, 5)),
    "matrix and vector": ((4, 3), (3,)),
    "vector and matrix": ((3,), (3, 5)),
    "vectors": ((3,), (3,)),
    "one column": ((4, 3), (3, 1)),
    "one row": ((1, 3), (3, 5)),
}


def pair(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.normal(size=shapes[0]), rng.normal(size=shapes[1])


@pytest.mark.parametrize("mode", ["FAST_COMPILE", "NUMBA"])
@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES.keys())
def test_it_is_the_product_of_numpy(shapes, mode):
    left, right = pair(shapes)
    a, b = pt.tensor(shape=left.shape), pt.tensor(shape=right.shape)
    found = pytensor.function([a, b], matrix_product(a, b), mode=mode)(left, right)
    assert np.shape(found) == np.shape(left @ right)
    np.testing.assert_allclose(found, left @ right, rtol=1e-14)


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES.keys())
def test_its_gradient_is_that_of_finite_differences(shapes):
    verify_grad(matrix_product, list(pair(shapes)), rng=np.random.default_rng(2), mode="FAST_COMPILE")


def test_matrices_in_any_layout_compile():
    left, right = pair(SHAPES["matrices"])
    a, b = pt.matrix(), pt.matrix()
    f = pytensor.function([a, b], matrix_product(a.T, b[::-1]), mode="NUMBA")
    np.testing.assert_allclose(f(np.asfortranarray(left).T, right), left @ right[::-1], rtol=1e-14)


def test_nothing_of_a_gradient_goes_back_to_the_slow_product():
    a, b = pt.matrix(), pt.matrix()
    cost = pt.sum(pt.exp(matrix_product(a, b)))
    f = pytensor.function([a, b], [cost, *pytensor.grad(cost, [a, b])], mode="NUMBA")
    products = [type(node.op) for node in f.maker.fgraph.toposort() if isinstance(node.op, Dot)]
    assert products == [Product] * 3


def test_matrices_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="Incompatible shared dimension"):
        matrix_product(np.ones((4, 3)), np.ones((2, 5)))
