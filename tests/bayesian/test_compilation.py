"""Compiled models against nutpie's own: the same density, the same draws, and code that other data find on disk."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import nutpie
import pandas as pd
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from bayes_her2.models import abundance, high_abundance
from compiled_density import Operations, log_density_at
from pytensor.link.numba import cache
from pytensor.raise_op import Assert
from scipy.stats import norm
from simulated_studies import small_study

from bayes_her2.bayesian import compilation
from bayes_her2.bayesian.compilation import compiled
from bayes_her2.bayesian.fit import Sampling, sample
from bayes_her2.bayesian.formula import Formula
from bayes_her2.simulation.demo import write_study
from bayes_her2.workflow.check import check_study


def model_of(values, level=0.3):
    """Counts of groups with a level each: data, indices and sizes that a graph takes for constant."""
    groups, counts = values
    coords = {"group": [f"g{i}" for i in range(max(groups) + 1)], "cell": ["X", "Y"]}
    with pm.Model(coords=coords) as model:
        spread = pm.HalfNormal("spread", 0.5)
        level = pm.Normal("level", level, 1.0, dims="cell")
        by_group = pm.Normal("by_group", level, spread, dims=("group", "cell"))
        eta = by_group[np.asarray(groups)] + pt.as_tensor(np.linspace(-1, 1, len(groups)))[:, None]
        pm.Deterministic("mean", pm.math.exp(level), dims="cell")
        pm.Poisson("count", pm.math.exp(eta), observed=counts)
    return model


def counts_of(seed, n=12):
    rng = np.random.default_rng(seed)
    return np.arange(n) % 2, rng.poisson(2.0, size=(n, 2))


def test_the_density_and_the_draws_are_those_of_nutpie_alone():
    graph = model_of(counts_of(1))
    ours = compiled(graph)
    with pytensor.config.change_flags(numba__fastmath=False):
        theirs = nutpie.compile_pymc_model(graph)
    rng = np.random.default_rng(2)
    for _ in range(3):
        point = rng.normal(size=ours.n_dim)
        for found, expected in zip(log_density_at(ours, point), log_density_at(theirs, point), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    settings = Sampling(chains=2, tune=200, draws=50, seed=4)
    a, b = (sample(model, settings, progress=False)["posterior"].to_dataset() for model in (ours, theirs))
    assert set(a.data_vars) == set(b.data_vars) == {"spread", "level", "by_group", "mean"}
    for name in a.data_vars:
        assert a[name].dims == b[name].dims
        np.testing.assert_allclose(a[name].to_numpy(), b[name].to_numpy(), rtol=1e-6)


@pytest.fixture
def forgotten(monkeypatch):
    """As in a new process: what was compiled before is on disk alone."""

    def forget():
        monkeypatch.setattr(compilation, "_STRUCTURES", {})

    forget()
    return forget


def test_sums_of_all_elements_and_parts_of_an_axis_are_what_they_were():
    """Totals of every layout and size, added four at a time, and what was joined is parted again."""
    rng = np.random.default_rng(7)
    for n in (1, 2, 3, 4, 5, 11):
        with pm.Model() as graph:
            a, b = pm.Normal("a", shape=(n, 2)), pm.Normal("b", shape=(2, 2))
            rows = pt.concatenate([a, b, a * a], axis=0)
            pm.Potential("of", -((rows @ rng.normal(size=(2, 3))) ** 2).sum() - (a.T**4).sum())
        ready = compiled(graph)
        agrees(ready, graph, rng.normal(size=ready.n_dim))


def agrees(ready, graph, point):
    for found, expected in zip(log_density_at(ready, point), Operations(graph).at(point), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)


def test_many_arrays_of_several_layouts_are_joined_and_filled_in_their_places():
    """Gradients of many variables are put in one vector: each in its place, whatever its shape and strides."""
    rng = np.random.default_rng(5)
    with pm.Model() as graph:
        a, b = pm.Normal("a", shape=(3, 4)), pm.Normal("b", shape=(4, 3))
        c, d, e = pm.Normal("c"), pm.HalfNormal("d", shape=2), pm.Normal("e", shape=1)
        f, g = pm.Normal("f", shape=(2, 2)), pm.ZeroSumNormal("g", shape=4)
        pm.Potential("product", -((a * b.T * c) ** 2).sum())
        pm.Potential("fill", -(pt.full((2, 3), c) * rng.normal(size=(2, 3))).sum() * d.prod())
        pm.Potential("rest", -(((f.T[:, ::-1] * d).sum(axis=1) + e * g.sum() ** 2 + g[:2]).sum() ** 2))
    ready = compiled(graph)
    for _ in range(3):
        agrees(ready, graph, rng.normal(size=ready.n_dim))


@pytest.mark.parametrize("n", [2, 3, 4])
def test_one_operation_of_more_or_fewer_inputs_has_code_of_its_own(n):
    """A join of matrices has one key, however many they are: what was made for two is not what joins three."""
    with pm.Model() as graph:
        parts = [pm.Normal(f"x{i}", shape=(2, 3)) for i in range(n)]
        joined = pt.concatenate(parts, axis=1)
        pm.Potential("of", -(joined @ joined.T).sum())
    ready = compiled(graph)
    agrees(ready, graph, np.random.default_rng(8).normal(size=ready.n_dim))


def _half_square(x, y):
    return 0.5 * x * x * y


def _half_square_by_x(x, y):
    return x * y


def test_operations_are_loaded_by_a_process_that_has_another_model(monkeypatch):
    formula, weights = Formula(_half_square, _half_square_by_x, None), np.array([1.0, 2.0, 3.0])

    def graph(level):
        with pm.Model() as model:
            pm.Normal("a", level)
            x = pm.Flat("x", shape=3)
            pm.Potential("of", -formula(x, pt.as_tensor(weights)).sum())
        return model

    compiled(graph(0.3))
    known = set(compilation._OPERATIONS)
    monkeypatch.setattr(compilation, "_OPERATIONS", {})
    # A number of the prior that no earlier run had is part of the code of the whole: it cannot be on disk.
    level = np.random.default_rng().normal()
    ready = compiled(graph(level))
    assert not ready.compiled_logp_func.was_on_disk
    loaded = [made for key, made in compilation._OPERATIONS.items() if key in known]
    assert {"formula", "pullback"} <= {made.__name__ for made in loaded if made.stats.cache_hits}
    a, x = 0.7, np.array([0.5, 1.0, -0.3])
    value, gradient = log_density_at(ready, np.array([a, *x]))
    expected = norm(level, 1.0).logpdf(a) - (x**2 / 2) @ weights
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(gradient, [level - a, *(-x * weights)], rtol=1e-12)


def test_what_is_computed_in_place_is_in_its_order(small_data):
    """The main model's graph overwrites arrays that other operations read: against the operations, not compiled."""
    graph = abundance.build(small_data, abundance.priors_for(small_data))
    ready = compiled(graph)
    agrees(ready, graph, 0.3 * np.random.default_rng(6).standard_normal(ready.n_dim))


@pytest.mark.parametrize(
    "other",
    [counts_of(8), counts_of(8, n=300)],
    ids=["other counts", "more rows"],
)
def test_other_data_find_the_code_on_disk(other, forgotten):
    compiled(model_of(counts_of(1)))
    forgotten()
    graph = model_of(other)
    ready = compiled(graph)
    assert ready.compiled_logp_func.was_on_disk
    assert ready.compiled_expand_func.was_on_disk
    agrees(ready, graph, np.random.default_rng(3).normal(size=ready.n_dim))


def test_the_main_model_of_a_third_cohort_finds_the_code_of_two(small_data, tmp_path, forgotten):
    compiled(abundance.build(small_data, abundance.priors_for(small_data)))
    forgotten()
    study = write_study(tmp_path, small_study(seed=9, n_cohorts=3), seed=9)
    data = check_study(study).prepared.data
    assert len(data.cohorts) == 1 + len(small_data.cohorts)
    ready = compiled(abundance.build(data, abundance.priors_for(data)))
    assert ready.compiled_logp_func.was_on_disk
    assert ready.compiled_expand_func.was_on_disk


def test_models_that_differ_in_one_function_or_number_do_not_share_code():
    def graph(of):
        with pm.Model() as model:
            x = pm.Flat("x", shape=3)
            pm.Potential("of", -pt.sum(of(x)))
        return model

    shapes = (pt.cosh, pt.exp, lambda x: x**2 + 3.5 * x, lambda x: x**2 + 4.5 * x)
    models = [compiled(graph(shape)) for shape in shapes]
    assert len({model.compiled_logp_func.code.key for model in models}) == len(shapes)
    at = np.array([0.5, 1.0, -0.3])
    expected = (np.cosh(at), np.exp(at), at**2 + 3.5 * at, at**2 + 4.5 * at)
    for model, values in zip(models, expected, strict=True):
        assert log_density_at(model, at)[0] == pytest.approx(-values.sum(), rel=1e-12)


def test_errors_of_an_operation_reach_the_sampler_as_its_status():
    with pm.Model() as graph:
        x = pm.Normal("x", shape=2)
        pm.Potential("refused", Assert("x is negative")(x.sum(), pt.all(x > 0)))
    ready = compiled(graph)
    at = np.array([1.0, 2.0])
    assert log_density_at(ready, at)[0] == pytest.approx(3.0 - 2.5 - np.log(2 * np.pi))
    with pytest.raises(ArithmeticError, match="status 1"):
        log_density_at(ready, -at)
    with pytest.raises(ArithmeticError, match=r"status [34]"):
        log_density_at(ready, np.array([np.inf, 1.0]))


def test_the_installed_nutpie_is_known_and_another_is_left_to_itself(monkeypatch):
    assert compilation.nutpie_is_known()
    monkeypatch.delattr(compilation.internals, "make_user_data")
    assert not compilation.nutpie_is_known()
    monkeypatch.setattr(nutpie, "compile_pymc_model", lambda graph: ("nutpie's", graph))
    assert compiled("a graph") == ("nutpie's", "a graph")


def test_code_that_is_loaded_where_it_was_compiled_draws_the_same(forgotten):
    # A number of the prior that no earlier run had is part of the code: it cannot be on disk.
    graph = model_of(counts_of(1), level=np.random.default_rng().normal())
    first = compiled(graph)
    forgotten()
    second = compiled(graph)
    assert not first.compiled_logp_func.was_on_disk
    assert second.compiled_logp_func.was_on_disk
    settings = Sampling(chains=1, tune=30, draws=10, seed=3, cores=1)
    one, two = (sample(m, settings, progress=False)["posterior"].to_dataset() for m in (first, second))
    for name in one.data_vars:
        np.testing.assert_array_equal(one[name], two[name])


@pytest.mark.parametrize("kept_by", ["python", "pyarrow"])
def test_labels_are_text_however_pandas_keeps_it(kept_by):
    with pd.option_context("mode.string_storage", kept_by):
        drawn = sample(model_of(counts_of(1)), Sampling(chains=1, tune=5, draws=2, cores=1), progress=False)
    groups = drawn["posterior"]["group"]
    assert [str(label) for label in groups.to_numpy()] == ["g0", "g1"]


def _density_at_points(data, folder):
    cache.NUMBA_CACHE_PATH = folder
    ready = compiled(high_abundance.build(data, high_abundance.priors_for(data)))
    points = 0.3 * np.random.default_rng(9).normal(size=(20, ready.n_dim))
    found = [log_density_at(ready, point) for point in points]
    return ready.compiled_logp_func.was_on_disk, [(value, gradient.tolist()) for value, gradient in found]


def test_another_process_computes_the_same_to_the_last_bit(small_data, tmp_path):
    """One compiles a model and another loads it: with PyTensor's fast arithmetic they round otherwise."""
    found = []
    for _ in range(2):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
            found.append(other.submit(_density_at_points, small_data, tmp_path).result())
    assert [on_disk for on_disk, _ in found] == [False, True]
    assert found[0][1] == found[1][1]


def test_nothing_is_kept_on_disk_where_pytensor_may_not_keep_it(forgotten):
    graph = model_of(counts_of(1))
    compiled(graph)
    forgotten()
    with pytensor.config.change_flags(numba__cache=False):
        ready = compiled(graph)
    assert not ready.compiled_logp_func.was_on_disk
    at = np.linspace(-1, 1, ready.n_dim)
    assert log_density_at(ready, at)[0] == pytest.approx(log_density_at(compiled(graph), at)[0], rel=1e-12)


def test_arithmetic_is_strict_whatever_the_setting_of_pytensor(forgotten):
    graph = model_of(counts_of(1))
    keys = []
    for fast in (True, False):
        forgotten()
        with pytensor.config.change_flags(numba__fastmath=fast):
            keys.append(compiled(graph).compiled_logp_func.code.key)
            assert pytensor.config.numba__fastmath == fast
    assert keys[0] == keys[1]
