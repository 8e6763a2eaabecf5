"""Monotonic effects: the coding, and the posterior of brms."""

from __future__ import annotations

from pathlib import Path

import arviz as az
import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import pytest

from bayes_her2.bayesian.fit import Sampling, sample
from bayes_her2.bayesian.monotonic import level_indicators, monotonic_steps, step_indicators
from bayes_her2.bayesian.priors import Prior

REFERENCE = Path(__file__).parent / "reference"


def test_steps_add_up_to_the_levels_and_the_shares_to_the_total():
    level_idx = np.array([2, 0, 1, 3])
    steps = monotonic_steps(np.array([2.0, -1.0]), np.array([[0.5, 0.3, 0.2], [0.1, 0.0, 0.9]]))
    effect = step_indicators(level_idx, 4) @ steps
    np.testing.assert_allclose(effect[:, 0], [1.6, 0.0, 1.0, 2.0])
    np.testing.assert_allclose(effect[:, 1], [-0.1, 0.0, -0.1, -1.0])


def test_any_unordered_effect_is_a_combination_of_either_coding():
    level_idx = np.array([0, 1, 2, 1, 0])
    by_level = level_indicators(level_idx, 3) @ np.array([0.7, -0.2])
    by_step = step_indicators(level_idx, 3) @ np.array([0.7, -0.9])
    np.testing.assert_allclose(by_level, by_step)


@pytest.fixture(scope="module")
def brms():
    """Numbers of brms and of quadrature: (what, quantity) -> value."""
    table = pd.read_csv(REFERENCE / "monotonic_reference.csv")
    return table.set_index(["what", "quantity"])["value"].to_dict()


@pytest.mark.sampling
def test_the_posterior_equals_that_of_brms(brms):
    """Normal(0, 1) on the average step is Normal(0, 2) on the total of two steps."""
    data = pd.read_csv(REFERENCE / "monotonic.csv")
    with pm.Model(coords={"cell_type": ["y"], "step": ["1", "2"]}):
        intercept, slope = pm.Normal("b_Intercept"), pm.Normal("b_x")
        total = pm.Normal("level_2_vs_0", 0.0, 2.0, dims="cell_type")
        shares = Prior("Dirichlet", {"concentration": 1.0}, "as brms").variable(
            "shares", dims=("cell_type", "step")
        )
        effect = pt.dot(step_indicators(data["level"].to_numpy(), 3), monotonic_steps(total, shares))[:, 0]
        pm.Normal(
            "y", intercept + effect + slope * data["x"].to_numpy(), pm.HalfNormal("sigma"), observed=data["y"]
        )
        graph = pm.modelcontext(None)
    drawn = sample(graph, Sampling(draws=2500, tune=1000, seed=3), progress=False)["posterior"].to_dataset()
    total, share = drawn["level_2_vs_0"].squeeze("cell_type"), drawn["shares"].sel(cell_type="y", step="1")
    found = {
        "b_Intercept": drawn["b_Intercept"],
        "bsp_molevel": total / 2,
        "level_1_vs_0": total * share,
        "level_2_vs_0": total,
        "simplex_1": share,
        "b_x": drawn["b_x"],
        "sigma": drawn["sigma"],
    }
    for name, draws in found.items():
        dataset = draws.drop_vars(["cell_type", "step"], errors="ignore").to_dataset(name="x")
        for statistic, reduce in (("mean", "mean"), ("sd", "std")):
            error = float(az.mcse(dataset, method=statistic)["x"])
            value = float(getattr(draws, reduce)())
            exact = brms[f"quadrature:monotonic:{name}", statistic]
            # 14 comparisons: beyond 4 standard errors by chance once in a thousand runs; the seed is fixed.
            assert abs(value - exact) < 4 * error, (name, statistic)
            theirs, their_error = (
                brms[f"monotonic:{name}", statistic],
                brms[f"monotonic:{name}", f"mcse_{statistic}"],
            )
            assert abs(value - theirs) < 4 * np.hypot(error, their_error), (name, statistic)
