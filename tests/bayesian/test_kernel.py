"""Likelihoods as single operations: densities against scipy, derivatives against numeric ones, code against Python."""

from __future__ import annotations

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numba import njit
from pytensor.compile.mode import Mode, get_mode
from scipy import stats
from scipy.special import digamma, gammaln, log_ndtr

from bayes_her2.bayesian.amounts import _BETA, _GAMMA, _WEIBULL
from bayes_her2.bayesian.bernoulli import EVENTS
from bayes_her2.bayesian.contaminated import _CONTAMINATED, SHARE, WIDER
from bayes_her2.bayesian.kernel import Kernel
from bayes_her2.bayesian.tobit import _CENSORED
from bayes_her2.bayesian.vector_math import (
    GREATEST,
    LEAST,
    exp,
    log,
    log_gamma,
    log_normal_cdf,
    log_of_1_plus,
)

PYTHON = Mode(linker="py", optimizer=None)
SHAPE = (7, 5)


def arguments(kernel: Kernel, seed: int = 1) -> tuple[list[np.ndarray], np.ndarray]:
    """Arguments of a kernel, and the log density by scipy."""
    rng = np.random.default_rng(seed)
    eta, shape = 2.0 * rng.normal(size=SHAPE), rng.gamma(3.0, 0.5, size=SHAPE) + 0.1
    counted, y = 1.0 * (rng.random(SHAPE) < 0.8), rng.gamma(1.0, size=SHAPE)
    log_y = np.log(y)
    if kernel is EVENTS:
        n = rng.integers(0, 4, size=SHAPE)
        events = rng.binomial(n, 0.4)
        p = stats.logistic.cdf(eta)
        return [1.0 * events, 1.0 * n, eta], events * np.log(p) + (n - events) * np.log1p(-p)
    mean = np.exp(eta)
    if kernel is _GAMMA:
        density = stats.gamma(shape, scale=mean / shape).logpdf(y)
        return [y, log_y, counted, eta, shape, shape * np.log(shape) - gammaln(shape)], counted * density
    if kernel is _WEIBULL:
        log_unit = gammaln(1.0 + 1.0 / shape)
        density = stats.weibull_min(shape, scale=np.exp(eta - log_unit)).logpdf(y)
        return [log_y, counted, eta, shape, np.log(shape), log_unit], counted * density
    if kernel is _CENSORED:
        zero, log_sd = rng.random(SHAPE) < 0.3, rng.normal(size=SHAPE)
        positive = (
            stats.norm(eta, 1.0).logpdf(np.sqrt(y) / np.exp(log_sd)) - log_sd - np.log(2.0 * np.sqrt(y))
        )
        density = np.where(zero, stats.norm.logcdf(-eta), positive)
        half_log = np.where(zero, 0.0, 0.5 * log_y)
        return [np.where(zero, 0.0, y), half_log, counted, eta, log_sd, np.exp(-log_sd)], counted * density
    if kernel is _BETA:
        share, precision = rng.beta(0.8, 3.0, size=SHAPE), 20.0 * shape
        mean = stats.logistic.cdf(eta)
        density = stats.beta(mean * precision, (1.0 - mean) * precision).logpdf(share)
        return [share, np.log(share), counted, eta, precision, gammaln(precision)], counted * density
    wide = shape / WIDER
    common = stats.gamma(shape, scale=mean / shape).logpdf(y) + np.log1p(-SHARE)
    rare = stats.gamma(wide, scale=mean / wide).logpdf(y) + np.log(SHARE)
    normalisers = [a * np.log(a) - gammaln(a) + np.log(w) for a, w in ((shape, 1.0 - SHARE), (wide, SHARE))]
    return [y, log_y, counted, eta, shape, *normalisers], counted * np.logaddexp(common, rare)


KERNELS = pytest.mark.parametrize(
    "kernel", [EVENTS, _GAMMA, _WEIBULL, _BETA, _CONTAMINATED, _CENSORED], ids=str
)


@KERNELS
def test_values_are_the_log_density_of_scipy(kernel):
    given, expected = arguments(kernel)
    np.testing.assert_allclose(kernel.function(*given)[0], expected, rtol=1e-11, atol=1e-11)


@KERNELS
def test_derivatives_are_the_numeric_ones(kernel):
    given, _ = arguments(kernel, seed=2)
    value, *derivatives = kernel.function(*given)
    for position, derivative in zip(kernel.wrt, derivatives, strict=True):
        step = 1e-6 * (1.0 + np.abs(given[position]))
        above, below = (
            kernel.function(*(x + sign * step if i == position else x for i, x in enumerate(given)))[0]
            for sign in (1.0, -1.0)
        )
        # A difference of large values has their rounding error, which the step magnifies.
        allowed = 2e-6 * (1.0 + np.abs(derivative)) + 4.0 * np.spacing(np.abs(value)) / step
        assert (np.abs(derivative - (above - below) / (2.0 * step)) <= allowed).all()


@KERNELS
@pytest.mark.parametrize("order", ["C", "F"])
def test_compiled_code_has_the_values_and_gradients_of_python(kernel, order):
    given, _ = arguments(kernel)
    variables = [pt.dmatrix() for _ in given]
    value = kernel.value(*variables)
    gradients = pytensor.grad((value**2).sum(), [variables[i] for i in kernel.wrt])
    own = [np.asarray(x, order=order) for x in given]
    with pytensor.config.change_flags(numba__fastmath=False):
        compiled = pytensor.function(variables, [value, *gradients], mode=get_mode("NUMBA"))(*own)
    plain = pytensor.function(variables, [value, *gradients], mode=PYTHON)(*own)
    for found, expected in zip(compiled, plain, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)


@KERNELS
def test_what_is_not_counted_is_nothing_whatever_its_linear_predictor(kernel):
    given, _ = arguments(kernel)
    names = {
        EVENTS: (1, 2),
        _GAMMA: (2, 3),
        _WEIBULL: (1, 2),
        _BETA: (2, 3),
        _CONTAMINATED: (2, 3),
        _CENSORED: (2, 3),
    }
    counted, eta = names[kernel]
    given[counted] = np.zeros(SHAPE)
    given[eta] = np.linspace(-2_000.0, 2_000.0, 35).reshape(SHAPE)
    if kernel is EVENTS:
        given[0] = np.zeros(SHAPE)
    elif kernel is not _WEIBULL:
        given[0] = np.zeros(SHAPE)  # amounts that are not counted are 0

    with pytensor.config.change_flags(numba__fastmath=False):
        variables = [pt.dmatrix() for _ in given]
        values = pytensor.function(variables, kernel(*variables), mode=get_mode("NUMBA"))(*given)
    for found in values:
        assert np.isfinite(found).all()
    assert (values[0] == 0).all()


def test_arrays_that_are_not_of_one_shape_are_refused_or_broadcast():
    x, row = pt.dmatrix(), pt.dvector()
    with pytest.raises(ValueError, match="one number of dimensions"):
        EVENTS(x, x, row)
    broadcast = pytensor.function([x, row], EVENTS.value(x, 1.0, row), mode=PYTHON)
    given = np.ones((2, 3)), np.array([0.0, 1.0, 2.0])
    np.testing.assert_allclose(broadcast(*given), np.tile(-np.log1p(np.exp(-given[1])), (2, 1)))
    y = pt.dmatrix()
    compiled = pytensor.function([x, y], EVENTS(x, x, y)[0], mode=get_mode("NUMBA"))
    with pytest.raises(ValueError, match="not of one shape"):
        compiled(np.ones((2, 3)), np.ones((3, 2)))


def test_derivatives_have_none_themselves():
    x = pt.dmatrix()
    slope = pytensor.grad(EVENTS.value(1.0, 1.0, x).sum(), x)
    with pytest.raises(NotImplementedError, match="second derivatives"):
        pytensor.grad(slope.sum(), x)


@njit(error_model="numpy")
def _exp_of(x, out):
    for i in range(x.size):
        out[i] = exp(x[i])


@njit(error_model="numpy")
def _log_of(u, out):
    for i in range(u.size):
        out[i] = log_of_1_plus(u[i])


@njit(error_model="numpy")
def _log_and_log_gamma_of(x, log_of_x, log_gamma_of_x, slope):
    for i in range(x.size):
        log_of_x[i] = log(x[i])
        log_gamma_of_x[i], slope[i] = log_gamma(x[i])


@njit(error_model="numpy")
def _log_normal_cdf_of(x, value, slope):
    for i in range(x.size):
        value[i], slope[i] = log_normal_cdf(x[i])


@njit(error_model="numpy", fastmath=True)
def _exp_in_fast_code(x, out):
    for i in range(x.size):
        out[i] = exp(x[i])


@pytest.mark.parametrize("compiled", [_exp_of, _exp_in_fast_code], ids=["strict", "fast"])
def test_the_exponential_is_right_to_its_last_bit_or_the_next(compiled):
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.uniform(LEAST, GREATEST, 400_000), rng.normal(size=400_000), [0.0, -0.0, 1e-300]])
    found = np.empty_like(x)
    compiled(x, found)
    expected = np.exp(x)
    assert (np.abs(found - expected) <= 2 * np.spacing(expected)).all()


def test_the_exponential_has_ends_and_keeps_what_is_no_number():
    x = np.array([np.nan, np.inf, 1e4, -1e4, -np.inf])
    found = np.empty_like(x)
    _exp_of(x, found)
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1:], [np.exp(GREATEST), np.exp(GREATEST), np.exp(LEAST), np.exp(LEAST)])


def test_log_of_1_plus_is_right_to_two_units_in_the_last_place():
    rng = np.random.default_rng(4)
    u = np.concatenate([rng.random(400_000), 10.0 ** rng.uniform(-300, 0, 400_000), [0.0, 1.0]])
    found = np.empty_like(u)
    _log_of(u, found)
    expected = np.log1p(u)
    assert (np.abs(found - expected) <= 2 * np.spacing(expected)).all()


def test_the_logarithm_and_log_gamma_with_its_derivative_are_those_of_scipy():
    rng = np.random.default_rng(5)
    x = np.concatenate(
        [10.0 ** rng.uniform(-300, 37, 300_000), 10.0 ** rng.uniform(-3, 4, 300_000), np.arange(1.0, 100.0)]
    )
    x = np.concatenate([x, np.nextafter(1.0, [0.0, 2.0]), rng.uniform(0.5, 2.0, 300_000)])
    found = [np.empty_like(x) for _ in range(3)]
    _log_and_log_gamma_of(x, *found)
    for own, expected, units in zip(found, (np.log(x), gammaln(x), digamma(x)), (2, 40, 10), strict=True):
        assert (np.abs(own - expected) <= units * np.spacing(np.maximum(np.abs(expected), 1.0))).all()
    nothing = [np.empty(1) for _ in range(3)]
    _log_and_log_gamma_of(np.zeros(1), *nothing)
    assert nothing[0][0] == -np.inf
    # Where it is 0 the logarithm is right relative to its size too.
    near = np.abs(x - 1.0) < 0.1
    np.testing.assert_allclose(found[0][near], np.log(x[near]), rtol=1e-15)


def test_the_log_normal_probability_with_its_derivative_is_that_of_scipy():
    rng = np.random.default_rng(6)
    x = np.concatenate(
        [rng.normal(0.0, 3.0, 300_000), rng.uniform(-40, 40, 300_000), -(10.0 ** rng.uniform(1, 9, 1_000))]
    )
    x = np.concatenate([x, [0.0, -0.0]])
    value, slope = np.empty_like(x), np.empty_like(x)
    _log_normal_cdf_of(x, value, slope)
    np.testing.assert_allclose(value, log_ndtr(x), rtol=1e-14, atol=5e-16)
    # Mills' ratio; far below 0 by its asymptotic series.
    near = x > -10
    expected = np.exp(stats.norm.logpdf(x[near]) - log_ndtr(x[near]))
    np.testing.assert_allclose(slope[near], expected, rtol=1e-12, atol=1e-300)
    far = -x[x < -40]
    series = 1 + far**-2 - 2 * far**-4 + 10 * far**-6 - 74 * far**-8  # the next term is 706 / far^10
    np.testing.assert_allclose(slope[x < -40], far * series, rtol=1e-12)


def test_a_share_of_1_has_no_beta_density():
    given, _ = arguments(_BETA)
    given[0][0, :2], given[2][0, :2] = 1.0, (1.0, 0.0)  # the first is counted, the second is not
    variables = [pt.dmatrix() for _ in given]
    with pytensor.config.change_flags(numba__fastmath=False):
        value = pytensor.function(variables, _BETA.value(*variables), mode=get_mode("NUMBA"))(*given)
    assert not np.isfinite(value[0, 0])
    assert value[0, 1] == 0
    assert np.isfinite(value.ravel()[1:]).all()
