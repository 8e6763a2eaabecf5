"""A model compiled once and its tumours left out, against the operations of its graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bayes_her2.models import abundance, composition
from compiled_density import log_density_at
from pytensor.compile.mode import get_mode

from bayes_her2.bayesian.compilation import compiled
from bayes_her2.bayesian.prepared import prepared, rows_can_be_left_out

PLAIN = get_mode("FAST_COMPILE").excluding("fusion")


@pytest.fixture(scope="module")
def graph(small_data):
    return abundance.build(small_data, abundance.PRIORS)


@pytest.fixture(scope="module")
def ready(graph):
    return prepared(graph, compiled(graph))


@pytest.fixture(scope="module")
def points(ready):
    rng = np.random.default_rng(5)
    return [0.3 * rng.standard_normal(ready.compiled.n_dim) for _ in range(3)]


def split(graph, point):
    """A point of the sampler as values of the graph."""
    values, at = {}, 0
    initial = graph.initial_point()
    for variable in graph.free_RVs:
        value = graph.rvs_to_values[variable]
        shape = np.shape(initial[value.name])
        size = int(np.prod(shape))
        values[value.name] = point[at : at + size].reshape(shape)
        at += size
    return values


def test_the_compiled_density_is_that_of_the_graph(graph, ready, points):
    """Evaluated by the operations of the graph, nothing compiled."""
    terms = graph.compile_logp(sum=False, mode=PLAIN)
    for point in points:
        value, gradient = log_density_at(ready.compiled, point)
        expected = sum(float(np.sum(term)) for term in terms(split(graph, point)))
        assert value == pytest.approx(expected, rel=1e-11)
        step = np.zeros_like(point)
        for i in (0, len(point) // 2, len(point) - 1):
            step[:] = 0.0
            step[i] = 1e-5
            ahead, behind = (log_density_at(ready.compiled, point + s * step)[0] for s in (1, -1))
            assert gradient[i] == pytest.approx((ahead - behind) / 2e-5, rel=1e-5, abs=1e-5)


def test_tumours_left_out_take_their_density_with_them_and_nothing_else(small_data, graph, ready, points):
    """At one point of the coordinates, the log likelihoods of two halves add up to that of all tumours."""
    labels = list(map(str, small_data.tumours.index))
    nobody, evens, odds = (ready.without(out) for out in (labels, labels[::2], labels[1::2]))
    for point in points:
        none, first, second, both = (
            log_density_at(model, point)[0] for model in (nobody, evens, odds, ready.compiled)
        )
        assert (first - none) + (second - none) == pytest.approx(both - none, rel=1e-10)
        assert abs(first - none) > 1
    # The likelihood that has gone is that of the tumours that were named.
    terms = graph.compile_logp(vars=graph.observed_RVs, sum=False, mode=PLAIN)(split(graph, points[0]))
    gone = sum(float(np.asarray(term)[::2].sum()) for term in terms)
    found = log_density_at(ready.compiled, points[0])[0] - log_density_at(evens, points[0])[0]
    assert found == pytest.approx(gone, rel=1e-9)


def test_graphs_of_other_variables_or_labels_are_compiled_for_themselves(small_data, ready):
    half = small_data.subset(list(small_data.tumours.index[::2]))
    assert ready.serves(abundance.build(half, abundance.PRIORS))
    one = small_data.subset(
        list(small_data.tumours.index[small_data.tumours["cohort"] == small_data.cohorts[0]]), own_parts=True
    )
    assert not ready.serves(abundance.build(one, abundance.PRIORS))


def test_what_cannot_be_left_out_is_refused(small_data, graph, ready):
    assert rows_can_be_left_out(graph)
    with pytest.raises(ValueError, match=r"1 of the tumours are not of this model \(first: nobody\)"):
        ready.without(["nobody"])
    shares = replace(small_data, abundance=small_data.abundance.div(small_data.abundance.sum(axis=1), axis=0))
    whole = composition.build(replace(shares, scale="relative"), composition.PRIORS)
    assert not rows_can_be_left_out(whole)
    with pytest.raises(ValueError, match="cannot be left out of its graph"):
        prepared(whole, ready.compiled)
