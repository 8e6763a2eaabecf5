"""Faults put in on purpose: each is caught by a gate or a check that a run makes, with a real fit and real tables.

What is caught where is listed in ARCHITECTURE.md under "Faults that are caught". That a posterior of the wrong width is
caught by calibration is tested in tests/comparison/test_calibration.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from bayes_her2.models import abundance
from scipy.stats import binom

from bayes_her2.bayesian.diagnostics import diagnose
from bayes_her2.bayesian.fit import Sampling, fit_model, sample
from bayes_her2.bayesian.priors import Prior
from bayes_her2.comparison import concordance
from bayes_her2.comparison.one_left_out import transforms, uniformity_of_transforms
from bayes_her2.frequentist import abundance_twin

pytestmark = pytest.mark.sampling


@pytest.fixture(scope="module")
def twin(small_data):
    return abundance_twin(small_data, interval=0.95)


def verdicts(draws, data, twin):
    posterior = abundance.estimates(draws, data)
    table = concordance(posterior, twin, false_discovery=0.05, alpha=0.05)
    return table[table["scope"] == "pooled"]["verdict"].value_counts()


def cell_type_dims(array):
    return [d for d in array.dims if str(d).endswith("cell_type")]


def rolled(tree):
    """Draws of each cell type under the name of the next: the labels are swapped, the numbers are right."""
    return {
        key: array.roll({d: 1 for d in cell_type_dims(array)}, roll_coords=False)
        for key, array in tree.items()
    }


def test_without_a_fault_nothing_is_caught(small_fit, small_data, twin):
    assert small_fit.diagnostics.passed
    graph = abundance.build(small_data, small_fit.priors)
    assert abundance.prior_checks(graph, small_data, 1)["passed"].all()
    found = verdicts(small_fit.estimand_draws, small_data, twin)
    assert found.get("agrees", 0) > 5
    assert found.get("contradicts", 0) == 0
    checks = abundance.predictive_checks(graph, small_fit.posterior, small_data, 1, 0.95)
    missed = int((~checks["inside"]).sum())
    assert missed <= binom.ppf(0.999, len(checks), 0.05)


def test_too_few_draws_are_caught_by_the_diagnostics_gate_twice(small_data):
    told = []
    fit = fit_model(
        "abundance",
        small_data,
        sampling=Sampling(tune=200, draws=60, seed=1),
        progress=False,
        on_retry=told.append,
    )
    assert fit.retried
    assert not fit.diagnostics.passed
    assert any("tail ESS" in reason for reason in (*told[0], *fit.diagnostics.reasons))


@pytest.mark.parametrize("kind", ["stuck", "elsewhere"])
def test_a_chain_that_is_stuck_or_elsewhere_is_caught_by_the_diagnostics_gate(small_fit, kind):
    def harmed(array: xr.DataArray) -> xr.DataArray:
        values = array.transpose("chain", "draw", ...).copy()
        half = values.sizes["draw"] // 2
        if kind == "stuck":
            values[2, half:] = values[2, half]
        else:
            values[2] = values[2] + 0.5 * values.std(("chain", "draw"))
        return values

    found = diagnose({f"{e}, {s}": harmed(a) for (e, s), a in small_fit.estimand_draws.items()}, 0)
    assert not found.passed
    assert any("r_hat" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    ("name", "prior"),
    [
        ("presence_slope_mean", Prior("Normal", {"mu": 0.0, "sigma": 5.0}, "an SD meant for a variance")),
        ("amount_slope_mean", Prior("Normal", {"mu": 3.0, "sigma": 0.2}, "a mean on another scale")),
        ("presence_intercept_mean", Prior("Normal", {"mu": 9.0, "sigma": 0.2}, "percent for odds")),
    ],
)
def test_a_wrong_prior_is_caught_by_the_prior_gate(small_data, name, prior):
    priors = abundance.priors_for(small_data)
    assert name in priors
    gates = abundance.prior_checks(abundance.build(small_data, priors | {name: prior}), small_data, 1)
    assert not gates["passed"].all()


def test_swapped_labels_are_caught_by_twin_and_predictive_checks(small_fit, small_data, twin):
    found = verdicts(rolled(small_fit.estimand_draws), small_data, twin)
    right = verdicts(small_fit.estimand_draws, small_data, twin)
    disagree = ["contradicts", "uncertain", "new"]
    assert found.get("contradicts", 0) > 0
    assert found.reindex(disagree).sum() > 2 * right.reindex(disagree).sum()
    graph = abundance.build(small_data, small_fit.priors)
    posterior = xr.Dataset(rolled(dict(small_fit.posterior.data_vars)))
    checks = abundance.predictive_checks(graph, posterior, small_data, 1, 0.95)
    assert (~checks["inside"]).mean() > 0.3


def sampled(data, build):
    """Posterior of another graph under the main model's priors, few draws: the faults are far beyond their error."""
    graph = build(data, abundance.priors_for(data))
    settings = Sampling(tune=400, draws=400, seed=3)
    return sample(graph, settings, progress=False)["posterior"].to_dataset()


def test_a_model_with_a_wrong_sign_is_caught_by_its_twin(small_data, twin):
    def build(data, priors):
        tumours = data.tumours.assign(her2_sd=-data.tumours["her2_sd"])
        return abundance.build(replace(data, tumours=tumours), priors)

    posterior, priors = sampled(small_data, build), abundance.priors_for(small_data)
    draws = abundance.estimand_draws(posterior, small_data, priors, np.random.default_rng(1))
    found = verdicts(draws, small_data, twin)
    assert found.get("contradicts", 0) > 3
    assert found.get("agrees", 0) == 0


def test_a_model_that_takes_no_account_of_zeros_is_caught_by_predictive_checks(small_data):
    def build(data, priors):
        # Every second zero is taken for half of the least amount, as a pseudocount would.
        values = data.abundance.copy()
        for name in values.columns:
            zero = values.index[values[name] == 0][::2]
            values.loc[zero, name] = 0.5 * values.loc[values[name] > 0, name].min()
        return abundance.build(data.with_abundance(values), priors)

    posterior = sampled(small_data, build)
    graph = abundance.build(small_data, abundance.priors_for(small_data))
    checks = abundance.predictive_checks(graph, posterior, small_data, 1, 0.95)
    zeros = checks[checks["statistic"] == "zero share"]
    assert (~zeros["inside"]).mean() > 0.5
    replicates = abundance.replicate(posterior, small_data, np.random.default_rng(1), max_draws=400)
    pit = uniformity_of_transforms(
        transforms(replicates, None, small_data.abundance, np.random.default_rng(2)), small_data
    )
    whole = pit[(pit["cohort"] == "all") & (pit["hr"] == "all")]
    assert (whole["p_holm"] < 0.05).sum() >= 2
