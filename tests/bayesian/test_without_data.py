"""Graphs of one structure share compiled code; what is another structure, or another's data, does not get in."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from bayes_her2.models import abundance, high_abundance
from compiled_density import Operations, log_density_at
from conftest import structured_set

from bayes_her2.bayesian import compilation
from bayes_her2.bayesian.compilation import compiled
from bayes_her2.bayesian.predictive import drawn_from_prior
from bayes_her2.bayesian.without_data import without_data


@pytest.fixture(autouse=True)
def nothing_compiled(monkeypatch):
    monkeypatch.setattr(compilation, "_STRUCTURES", {})


def counts(rng, n=14, *, weights=None, groups=None, offset=None, level=0.4, labels=("a", "b", "c")):
    """Counts of three groups: outcomes and weights are whole numbers and truth values, groups are positions."""
    groups = np.resize([0, 1, 2], n) if groups is None else groups
    weights = rng.random(n) < 0.7 if weights is None else weights
    offset = rng.normal(size=n) if offset is None else offset
    with pm.Model(coords={"group": labels}) as model:
        mean = pm.Normal("mean", level, 1.0)
        spread = pm.HalfNormal("spread", np.array([0.5, 0.7, 0.9]) * rng.uniform(0.9, 1.1, 3), dims="group")
        by_group = pm.Normal("by_group", mean, spread, dims="group", initval=rng.normal(size=3))
        eta = by_group[groups] + 0.3 * offset + pt.as_tensor(rng.normal(size=n)) ** 2
        observed = rng.poisson(2.0, size=n)
        pm.Potential("counted", (weights * pm.logp(pm.Poisson.dist(pt.exp(eta)), observed)).sum())
        pm.Deterministic("rate", pt.exp(eta[:2]))
    return model


def agrees(ready, graph, seed=0):
    point = 0.4 * np.random.default_rng(seed).standard_normal(ready.n_dim)
    for found, expected in zip(log_density_at(ready, point), Operations(graph).at(point), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def share_code(first, second):
    return first.compiled_logp_func is second.compiled_logp_func


def test_other_outcomes_and_covariates_are_given_to_the_code_of_the_first():
    rng = np.random.default_rng(1)
    first, second = counts(rng), counts(rng, labels=("x", "y", "z"))
    assert without_data(first).structure == without_data(second).structure
    one, two = compiled(first), compiled(second)
    assert share_code(one, two)
    agrees(one, first)
    agrees(two, second)
    assert [list(m.coords["group"]) for m in (one, two)] == [["a", "b", "c"], ["x", "y", "z"]]
    starts = [m.initial_point_func(5) for m in (one, two)]
    assert not np.allclose(*starts)
    own = second.initial_point()["by_group"]
    np.testing.assert_array_less(np.abs(starts[1][-3:] - own), 1.0)  # the jitter of a start is at most 1


@pytest.mark.parametrize(
    "change",
    [
        {"level": 0.5},
        {"n": 15},
        {"groups": np.array([0, 1, 2, 2, 1, 0, 0, 0, 1, 1, 1, 2, 2, 0])},
        {"weights": np.ones(14, dtype=bool)},
        {"offset": np.zeros(14)},
    ],
    ids=["a number of the prior", "a row more", "positions", "truths all the same", "one number throughout"],
)
def test_what_the_code_may_have_been_simplified_by_is_another_structure(change):
    rng = np.random.default_rng(2)
    first, second = counts(rng), counts(rng, **change)
    one, two = compiled(first), compiled(second)
    assert not share_code(one, two)
    agrees(one, first)
    agrees(two, second)


def test_arrays_that_are_equal_by_chance_are_a_structure_of_their_own():
    def graph(x, y):
        with pm.Model() as model:
            a = pm.Normal("a", shape=3)
            pm.Potential("of", -((a * x) ** 2).sum() - ((a * y) ** 4).sum())
        return model

    x, y = np.array([0.5, 1.0, 2.0]), np.array([1.5, 0.2, 0.7])
    same, different, again = graph(x, x.copy()), graph(x, y), graph(y, x)
    ready = [compiled(g) for g in (same, different, again)]
    assert not share_code(ready[0], ready[1])
    assert share_code(ready[1], ready[2])
    for compiled_, g in zip(ready, (same, different, again), strict=True):
        agrees(compiled_, g)


def test_a_number_that_data_alone_give_is_each_data_sets_own():
    """A Dirichlet density checks its concentrations, and has their sum, outside of arrays."""

    def graph(concentration):
        with pm.Model() as model:
            weights = pm.Dirichlet("weights", concentration)
            pm.Potential("of", -((weights - 0.3) ** 2).sum())
        return model

    first, second = graph(np.array([1.0, 2.0, 3.0])), graph(np.array([2.5, 0.5, 4.0]))
    one, two = compiled(first), compiled(second)
    assert share_code(one, two)
    agrees(one, first)
    agrees(two, second)


@pytest.mark.parametrize("model", [abundance, high_abundance], ids=lambda m: m.__name__.rsplit(".", 1)[-1])
def test_data_sets_of_a_calibration_share_the_code_of_the_first(model):
    """Outcomes, cheap estimates and starting values are those of each; which came first does not show in a digit."""
    data = structured_set("three cohorts")
    priors = model.priors_for(data)
    graph = model.build(data, priors)
    names = [str(v.name) for v in (*graph.free_RVs, *graph.deterministics)]
    truth = drawn_from_prior(graph, names, 1, 3)
    made = model.build(model.replicated(truth, data, np.random.default_rng(4)), priors)
    alone = compiled(made)
    compilation._STRUCTURES.clear()
    first, second = compiled(graph), compiled(made)
    assert share_code(first, second)
    point = 0.3 * np.random.default_rng(5).standard_normal(alone.n_dim)
    value, gradient = log_density_at(alone, point)
    shared_value, shared_gradient = log_density_at(second, point)
    assert value == shared_value
    np.testing.assert_array_equal(gradient, shared_gradient)
    np.testing.assert_array_equal(alone.initial_point_func(1), second.initial_point_func(1))
    agrees(second, made)
    assert abs(value - log_density_at(first, point)[0]) > 1


def test_the_structures_used_last_are_remembered(monkeypatch):
    monkeypatch.setattr(compilation, "_REMEMBERED", 2)

    def graph(level):
        with pm.Model() as model:
            pm.Normal("a", level)
        return model

    one, _, _ = compiled(graph(0.1)), compiled(graph(0.2)), compiled(graph(0.1))
    compiled(graph(0.3))  # the second is forgotten: the first was used after it
    assert share_code(one, compiled(graph(0.1)))
    assert len(compilation._STRUCTURES) == 2
