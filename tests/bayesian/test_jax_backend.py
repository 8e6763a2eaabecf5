"""The models in JAX: the density and gradient that their operations have in Python, and the same posterior."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import arviz as az
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from bayes_her2.models import abundance
from compiled_density import Operations
from numpy.testing import assert_allclose
from pymc.model.transform.optimization import freeze_dims_and_data
from scipy.special import digamma, gammaln, log_ndtr
from simulated_studies import small_study

from bayes_her2.bayesian import vector_math
from bayes_her2.bayesian.fit import Fit, Sampling, sample
from bayes_her2.bayesian.jax_backend import compiled_in_jax, in_jax
from bayes_her2.bayesian.model import load_model
from bayes_her2.data import AnalysisSet
from bayes_her2.preprocessing import prepare
from bayes_her2.preprocessing.zero_policies import shares
from bayes_her2.simulation.demo import write_study
from bayes_her2.workflow.check import Checked, check_study

OF_SHARES = ("abundance_beta", "composition")
MODELS = (
    "abundance",
    "abundance_tobit",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("abundance_robust", "abundance_factor", "rank_correlation", *OF_SHARES)
    ),
)
"""One for each operation, and some of the others."""


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    study = write_study(tmp_path_factory.mktemp("small"), small_study(), seed=11)
    return check_study(study, only=("abundance", "rank_correlation"))


def data_of(name: str, checked: Checked) -> AnalysisSet:
    if name not in OF_SHARES:
        return checked.sets.get(name, checked.sets["abundance"])
    settings = checked.study.abundance.model_copy(update={"scale": "relative"})
    study = checked.study.model_copy(update={"abundance": settings})
    assert checked.prepared is not None
    data = prepare(tuple(shares(c) for c in checked.prepared.cohorts), study).for_model("abundance")
    mixed = data.abundance.lt(1.0).all(axis=1)  # a share of 1 has no beta density
    return data.subset([str(t) for t in data.abundance.index[mixed]])


def in_the_order_of(model: pm.Model, point: np.ndarray, graph: pm.Model) -> np.ndarray:
    """A point of a graph, or a gradient, in the order in which another one has the same variables."""
    sizes = {name: np.size(values) for name, values in graph.initial_point().items()}
    parts = dict(zip(sizes, np.split(point, np.cumsum(list(sizes.values()))[:-1]), strict=True))
    return np.concatenate([parts[name] for name in model.initial_point()])


@pytest.mark.parametrize("name", MODELS)
def test_density_and_gradient_are_those_of_the_operations(name, checked):
    module, data = load_model(name), data_of(name, checked)
    graph = module.build(data, module.priors_for(data))
    ready = compiled_in_jax(graph)
    density, frozen = ready._make_logp_func(), freeze_dims_and_data(graph)
    plain = Operations(graph)
    rng = np.random.default_rng(1)
    for scale in (0.05, 0.5):
        point = rng.normal(scale=scale, size=ready.n_dim)
        expected, gradient = plain.at(point)
        value, slopes = density(in_the_order_of(frozen, point, graph), **ready._shared_data)
        assert value == pytest.approx(expected, rel=1e-11)
        assert_allclose(slopes, in_the_order_of(frozen, gradient, graph), rtol=1e-8, atol=1e-8)


def test_the_functions_of_vector_math_are_those_of_scipy_and_have_the_same_ends():
    x = np.array([-40.0, -5.0, -0.3, 0.2, 3.0, 30.0])

    def every(x):
        return vector_math.exp(x), vector_math.log_normal_cdf(x), np.abs(x)

    def of_positive(x):
        return vector_math.log(x), vector_math.log_of_1_plus(x), vector_math.log_gamma(x)

    found, (value, slope), size = in_jax(every)(jnp.asarray(x))
    assert_allclose(found, np.exp(x), rtol=1e-14)
    assert_allclose(value, log_ndtr(x), rtol=1e-12, atol=1e-200)
    # JAX's far tail is a series.
    assert_allclose(slope, np.exp(-0.5 * x**2 - log_ndtr(x)) / np.sqrt(2 * np.pi), rtol=1e-10, atol=1e-200)
    assert_allclose(size, np.abs(x))
    log, log_1_plus, (log_gamma, its_slope) = in_jax(of_positive)(jnp.abs(jnp.asarray(x)))
    a = np.abs(x)
    assert_allclose(log, np.log(a), rtol=1e-14)
    assert_allclose(log_1_plus, np.log1p(a), rtol=1e-14)
    assert_allclose(log_gamma, gammaln(a), rtol=1e-12)
    assert_allclose(its_slope, digamma(a), rtol=1e-12)
    ends, _, _ = in_jax(every)(jnp.array([-1e4, 1e4, np.nan]))
    assert_allclose(ends[:2], np.exp([vector_math.LEAST, vector_math.GREATEST]))
    assert np.isnan(ends[2])


@pytest.mark.slow
@pytest.mark.sampling
def test_the_posterior_is_that_of_numba(small_data: AnalysisSet, small_fit: Fit):
    settings = Sampling(chains=2, tune=300, draws=400, seed=12, backend="jax")
    priors = abundance.priors_for(small_data)
    posterior = sample(abundance.build(small_data, priors), settings, progress=False)[
        "posterior"
    ].to_dataset()
    found = abundance.estimand_draws(posterior, small_data, priors, np.random.default_rng(1))
    for key in (("presence", "pooled"), ("amount", "pooled"), ("overall", "cohort")):
        ours, theirs = found[key], small_fit.estimand_draws[key]
        ess = [az.ess(xr.Dataset({"x": draws}))["x"] for draws in (ours, theirs)]
        error = theirs.std(("chain", "draw")) * np.sqrt(1 / ess[0] + 1 / ess[1])
        apart = abs(ours.mean(("chain", "draw")) - theirs.mean(("chain", "draw"))) / error
        assert float(ess[0].min()) > 100
        assert float(apart.max()) < 4.5


NOT_THERE = """
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "jax" else found(name, *rest)
from bayes_her2.cli import main
main(sys.argv[1:])
"""


def test_without_jax_the_message_says_what_to_install(tmp_path: Path):
    study = write_study(tmp_path / "study", small_study(), seed=11)
    study.write_text(study.read_text().replace("[sampling]", '[sampling]\nbackend = "jax"', 1))
    out = tmp_path / "out"
    arguments = ["run", str(study), "--out", str(out), "--only", "abundance", "-q"]
    made = subprocess.run(
        [sys.executable, "-c", NOT_THERE, *arguments], capture_output=True, text=True, check=False
    )
    assert made.returncode == 2, made.stderr
    assert "the package jax is not installed" in " ".join(made.stderr.split())
    assert not list(out.rglob("*.part"))
