"""Log likelihood of every tumour in numbers: that of the graph, whatever the order of tumours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytensor
import pytest
from bayes_her2.models import abundance, abundance_lognormal, abundance_weibull
from pytensor.compile.mode import get_mode

from bayes_her2.bayesian.amounts import GAMMA
from bayes_her2.bayesian.model import ALTERNATIVES, load_model, main_model_of
from bayes_her2.bayesian.pointwise import hurdle_log_likelihood

PLAIN = get_mode("FAST_COMPILE").excluding("fusion")
FILES = pytest.mark.parametrize(
    "model", [abundance, abundance_weibull, abundance_lognormal], ids=lambda m: m.__name__.rsplit(".", 1)[-1]
)


@FILES
@pytest.mark.sampling
def test_it_is_the_sum_of_the_observed_nodes_of_the_graph(model, small_data, small_fit):
    # The draws of the main model are points like any other: all three have the same parameters.
    posterior = small_fit.posterior.isel(chain=slice(0, 1), draw=slice(0, 3))
    graph = model.build(small_data, model.priors_for(small_data))
    assert [v.name for v in graph.observed_RVs] == ["present", "amount"]
    nodes = [node.sum(axis=1) for node in graph.logp(vars=graph.observed_RVs, sum=False)]
    density = pytensor.function(graph.value_vars, nodes, mode=PLAIN, on_unused_input="ignore")
    to_z = _coordinates(graph)
    found = model.log_likelihood(posterior, small_data)
    assert found.dims == ("chain", "draw", "tumour")
    for draw in range(3):
        point = {v.name: posterior[v.name].isel(chain=0, draw=draw).to_numpy() for v in graph.free_RVs}
        expected = sum(density(*to_z(point)))
        np.testing.assert_allclose(found.isel(chain=0, draw=draw), expected, rtol=1e-8, atol=1e-8)


def _coordinates(graph):
    """From parameters to the values that the graph's log density takes."""
    free = list(graph.free_RVs)
    z = [rv if (t := graph.rvs_to_transforms[rv]) is None else t.forward(rv, *rv.owner.inputs) for rv in free]
    f = pytensor.function(free, z, mode=PLAIN, on_unused_input="ignore")
    return lambda point: f(*(point[rv.name] for rv in free))


@pytest.mark.sampling
def test_the_order_of_tumours_does_not_matter_and_draws_are_thinned(small_data, small_fit):
    posterior = small_fit.posterior.isel(draw=slice(0, 50))
    turned = replace(
        small_data,
        tumours=small_data.tumours.iloc[::-1],
        abundance=small_data.abundance.iloc[::-1],
        covariates=small_data.covariates.iloc[::-1],
        high=small_data.high.iloc[::-1],
    )
    one = abundance.log_likelihood(posterior, small_data)
    two = abundance.log_likelihood(posterior, turned)
    np.testing.assert_allclose(one, two.sel(tumour=one["tumour"]), rtol=1e-12)
    thinned = hurdle_log_likelihood(posterior, small_data, GAMMA, max_draws=40)
    assert thinned.sizes["chain"] * thinned.sizes["draw"] <= 40


def test_alternatives_are_known_by_name_and_by_the_model_they_stand_beside():
    for name in ALTERNATIVES["abundance"]:
        model = load_model(name)
        assert main_model_of(name) == "abundance"
        assert (model.OUTCOME, model.MEASURE) == (abundance.OUTCOME, abundance.MEASURE)
        assert set(model.PRIORS) == set(abundance.PRIORS)
        same = [n for n in model.PRIORS if not n.startswith("log_shape")]
        assert all(model.PRIORS[n] == abundance.PRIORS[n] for n in same)
    assert main_model_of("clinical") == "clinical"
