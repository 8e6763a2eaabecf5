"""Log likelihood of every tumour in numbers: that of the graph, whatever the order of tumours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pymc as pm
import pytensor
import pytest
from bayes_her2.models import (
    abundance,
    abundance_beta,
    abundance_lognormal,
    abundance_tobit,
    abundance_weibull,
)
from pytensor.compile.mode import get_mode

from bayes_her2.bayesian.amounts import GAMMA
from bayes_her2.bayesian.density import HurdleDensity, not_shares
from bayes_her2.bayesian.fit import fit_model
from bayes_her2.bayesian.model import alternatives_to, load_model, main_model_of
from bayes_her2.errors import DataError

PLAIN = get_mode("FAST_COMPILE").excluding("fusion")
HURDLES = (abundance, abundance_weibull, abundance_lognormal, abundance_beta)
FILES = pytest.mark.parametrize("model", HURDLES, ids=lambda m: m.__name__.rsplit(".", 1)[-1])


@FILES
@pytest.mark.sampling
def test_it_is_the_sum_of_the_observed_nodes_of_the_graph(model, small_data, small_fit):
    # The draws of the main model are points like any other: all three have the same parameters.
    posterior = small_fit.posterior.isel(chain=slice(0, 1), draw=slice(0, 3))
    if model is abundance_beta:  # shares
        small_data = replace(small_data, abundance=small_data.abundance / (1 + small_data.abundance))
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
    thinned = HurdleDensity(GAMMA).log_likelihood(posterior, small_data, max_draws=40)
    assert thinned.sizes["chain"] * thinned.sizes["draw"] <= 40


def test_alternatives_are_known_by_name_and_by_the_model_they_stand_beside():
    for name in alternatives_to("abundance"):
        model = load_model(name)
        assert main_model_of(name) == "abundance"
        if name != "composition":  # of shares on the simplex: compared by its forecasts
            assert (model.OUTCOME, model.MEASURE) == (abundance.OUTCOME, abundance.MEASURE)
        assert set(model.ESTIMANDS) <= set(abundance.ESTIMANDS)
    for model in HURDLES[1:]:
        assert set(model.PRIORS) == set(abundance.PRIORS)
        own = ("log_shape", "amount_intercept_mean" if model is abundance_beta else "log_shape")
        same = [n for n in model.PRIORS if not n.startswith(own)]
        assert all(model.PRIORS[n] == abundance.PRIORS[n] for n in same)
    assert main_model_of("clinical") == "clinical"


@pytest.mark.sampling
def test_the_censored_model_has_the_density_of_its_graph(small_data):
    graph = abundance_tobit.build(small_data, abundance_tobit.priors_for(small_data))
    drawn = pm.sample_prior_predictive(3, model=graph, random_seed=1, compile_kwargs={"mode": "FAST_COMPILE"})
    posterior = drawn["prior"].to_dataset()
    (node,) = graph.logp(vars=graph.observed_RVs, sum=False)
    density = pytensor.function(graph.value_vars, node.sum(axis=1), mode=PLAIN, on_unused_input="ignore")
    to_z = _coordinates(graph)
    found = abundance_tobit.log_likelihood(posterior, small_data)
    for draw in range(3):
        point = {v.name: posterior[v.name].isel(chain=0, draw=draw).to_numpy() for v in graph.free_RVs}
        expected = density(*to_z(point))
        np.testing.assert_allclose(found.isel(chain=0, draw=draw), expected, rtol=1e-7)


@pytest.mark.sampling
def test_new_tumours_have_the_zeros_and_amounts_of_the_draws(small_data, small_fit):
    new = abundance.replicate(small_fit.posterior, small_data, np.random.default_rng(3), max_draws=400)
    assert new.dims == ("chain", "draw", "tumour", "cell_type")
    assert new.sizes["chain"] * new.sizes["draw"] <= 400
    for name in small_data.abundance.columns:
        seen, drawn = small_data.abundance[name], new.sel(cell_type=name)
        # Shares of zeros and means, to within the posterior predictive spread of a mean over the tumours.
        for of_seen, of_new in (
            ((seen == 0).mean(), (drawn == 0).mean("tumour")),
            (seen.mean(), drawn.mean("tumour")),
        ):
            low, high = of_new.quantile([0.001, 0.999])
            assert float(low) <= of_seen <= float(high)
    again = abundance.replicate(small_fit.posterior, small_data, np.random.default_rng(3), max_draws=400)
    np.testing.assert_array_equal(new, again)


def test_shares_are_asked_for_where_a_density_needs_them(small_data):
    assert "absolute" in not_shares(small_data)
    with pytest.raises(DataError, match=r"abundance_beta: it is a model of shares .* absolute"):
        fit_model("abundance_beta", small_data)
    shares = replace(small_data, scale="relative", abundance=small_data.abundance / 1e6)
    assert not not_shares(shares)
    shares.abundance.iloc[3, 0] = 1.0
    assert f"1 shares are 1 (first: {shares.abundance.index[3]})" in not_shares(shares)
