"""The departure from a straight line: its SD over tumours, against brute force, and its prior in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import integrate, stats

from bayes_her2.bayesian import linearity as module


@dataclass(frozen=True)
class Line:
    """An analysis of covariance of one cell type with an intercept and a slope alone."""

    her2_sd: np.ndarray
    z: np.ndarray

    @property
    def modelled(self) -> np.ndarray:
        return np.ones((len(self.her2_sd), 1))

    @property
    def cohort_columns(self) -> np.ndarray:
        return np.ones((len(self.her2_sd), 1))

    def columns(self) -> np.ndarray:
        return np.column_stack([np.ones_like(self.her2_sd), self.her2_sd])


def made(n: int, bend: tuple[float, float], seed: int = 1) -> Line:
    """Tumours whose departure has the coefficients `bend`, with residual SD 1."""
    rng = np.random.default_rng(seed)
    h = rng.normal(size=n)
    mean = 0.2 * h + module.departure_basis(h)(h) @ np.array(bend)
    return Line(h, (mean + rng.normal(size=n))[:, None])


def figures(line: Line) -> dict[str, float]:
    found = module._departure(line, 0, np.array([1.0]), 0.95)  # type: ignore[arg-type]
    assert found is not None
    return found[0]


def test_with_many_tumours_the_sd_is_that_of_the_departure_itself() -> None:
    """Its prior's scale stays uncertain with two coefficients; what they are does not."""
    found = figures(made(100_000, (0.03, 0.04)))  # SD over tumours 0.05
    assert found["departure_sd"] == pytest.approx(0.05, abs=3 / np.sqrt(100_000))
    assert found["upper"] - found["lower"] == pytest.approx(2 * 1.96 / np.sqrt(100_000), rel=0.1)
    assert found["p_matters"] < 1e-3


def test_the_prior_is_that_of_the_same_quantity() -> None:
    """Given `spread`, the SD is spread / sqrt(2) times a chi with 2 degrees of freedom."""

    def exceeds(limit: float) -> float:
        def at(s: float) -> float:
            return float(stats.halfnorm.pdf(s, scale=0.25) * stats.chi.sf(limit * np.sqrt(2) / s, 2))

        return float(integrate.quad(at, 0.0, 2.5)[0])

    found = figures(made(200, (0.0, 0.0)))
    assert found["prior_p_matters"] == pytest.approx(exceeds(0.1), abs=0.003)
    assert exceeds(found["prior_median"]) == pytest.approx(0.5, abs=0.003)


def test_the_posterior_is_that_of_importance_sampling() -> None:
    """Draws of the coefficients from their prior, weighted by the likelihood with line and intercept profiled out."""
    line = made(150, (0.2, 0.0))
    h, z = line.her2_sd, line.z[:, 0]
    basis = module.departure_basis(h)(h)  # orthogonal to the line, mean square 1: w_hat has variance 1 / n
    w_hat = basis.T @ z / len(h)
    rng = np.random.default_rng(4)
    spread = np.abs(rng.normal(0.0, 0.25, size=400_000))
    w = spread[:, None] / np.sqrt(2) * rng.normal(size=(400_000, 2))
    weight = np.exp(-0.5 * len(h) * ((w - w_hat) ** 2).sum(axis=1))
    sd = np.sqrt((w**2).sum(axis=1))
    order = np.argsort(sd)
    below = np.cumsum(weight[order]) / weight.sum()
    lower, middle, upper = np.interp([0.025, 0.5, 0.975], below, sd[order])
    found = figures(line)
    assert (found["lower"], found["departure_sd"], found["upper"]) == pytest.approx(
        (lower, middle, upper), abs=0.004
    )
    assert found["p_matters"] == pytest.approx(weight[sd > 0.1].sum() / weight.sum(), abs=0.01)
    at_line = np.exp(-0.5 * len(h) * (w_hat**2).sum())
    assert found["log10_bayes_factor"] == pytest.approx(np.log10(weight.mean() / at_line), abs=0.02)


def test_strong_evidence_has_a_finite_logarithm() -> None:
    found = figures(made(20_000, (0.6, 0.8)))
    assert 1_000 < found["log10_bayes_factor"] < np.inf
