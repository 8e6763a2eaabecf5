"""What a tumour's indicators say of its latent HER2, against quadrature; and what each use of it estimates."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from measured_tumours import joint_density, parameters, unseen
from scipy import integrate
from scipy.special import expit

from bayes_her2.bayesian.measurement import (
    Indicators,
    Parameters,
    draw_latent,
    latent_given_all,
    latent_given_measures,
    reader_matrix,
)
from bayes_her2.bayesian.measurement_checks import simulate_indicators

GROUPS = ("A, HR+", "A, HR-")


def few_tumours() -> Indicators:
    """One tumour for each pattern of what is recorded."""
    recorded = np.array([[1, 1], [1, 0], [0, 1], [0, 0], [1, 1], [0, 0], [1, 1]], dtype=float)
    values = np.random.default_rng(3).normal(size=recorded.shape) * recorded
    level = np.array([0, 1, 2, 1, -1, -1, 2])
    n = len(recorded)
    return Indicators(
        tuple(f"t{i}" for i in range(n)), GROUPS, ("m0", "m1"), values, recorded, level, np.arange(n) % 2
    )


@pytest.mark.parametrize("i", range(7))
def test_latent_and_true_level_given_the_indicators_are_those_of_quadrature(i):
    p, seen = parameters(), few_tumours()
    found = latent_given_all(p, seen)

    def over(weight):
        return integrate.quad(
            lambda z: weight(z, joint_density(z, p, seen, i)), -9, 9, epsabs=1e-13, epsrel=1e-11
        )[0]

    total = over(lambda z, d: d.sum())
    mean = over(lambda z, d: z * d.sum()) / total
    assert found.mean[i] == pytest.approx(mean, abs=1e-9)
    assert found.variance[i] == pytest.approx(over(lambda z, d: (z - mean) ** 2 * d.sum()) / total, abs=1e-9)
    level = [over(lambda z, d, k=k: d[k]) / total for k in range(3)]
    assert found.level[i] == pytest.approx(level, abs=1e-9)


def test_a_tumour_without_any_indicator_has_the_latent_of_its_group():
    found = latent_given_all(parameters(), few_tumours())
    assert (found.mean[5], found.variance[5]) == (pytest.approx(0.0, abs=1e-12), pytest.approx(1.0))


def test_many_draws_of_the_parameters_at_once_are_the_single_ones():
    each = [parameters((0.6, 0.35), 0.4), parameters((0.3, 0.8), 0.1)]
    together = Parameters(*(np.stack(arrays) for arrays in zip(*each, strict=True)))
    seen = few_tumours()
    found = latent_given_all(together, seen)
    for i, p in enumerate(each):
        for got, expected in zip(found, latent_given_all(p, seen), strict=True):
            assert got[i] == pytest.approx(expected, abs=1e-12)


def test_drawn_latents_have_the_mean_and_variance_of_the_closed_form():
    p, seen = parameters(), few_tumours()
    n, times = len(seen.tumours), 20_000
    at = np.repeat(np.arange(n), times)
    many = Indicators(
        tuple(map(str, at)),
        seen.groups,
        seen.measures,
        seen.values[at],
        seen.recorded[at],
        seen.level_idx[at],
        seen.group_idx[at],
    )
    z = draw_latent(p, many, np.random.default_rng(11)).reshape(n, times)
    exact = latent_given_all(p, seen)
    assert np.abs((z.mean(axis=1) - exact.mean) / np.sqrt(exact.variance / times)).max() < 3.5
    # The variance of a sample variance of near-normal draws is 2 v^2 / n.
    assert np.abs((z.var(axis=1) / exact.variance - 1) / np.sqrt(2 / times)).max() < 3.5


def test_a_perfect_reader_and_loose_levels_are_limits():
    """Log odds of minus infinity: the read level is the true one. Reliability 0: it says nothing of the latent."""
    seen = few_tumours()
    sure = parameters(readers=(-40.0, -40.0, -40.0))
    level = latent_given_all(sure, seen).level
    for i in np.flatnonzero(seen.level_idx >= 0):
        assert level[i, seen.level_idx[i]] == pytest.approx(1.0)
    loose = parameters(level_reliability=0.0)
    mean, variance = latent_given_measures(loose, seen)
    found = latent_given_all(loose, seen)
    assert found.mean == pytest.approx(mean)
    assert found.variance == pytest.approx(variance)


def test_the_reader_takes_a_level_for_its_neighbour_alone():
    matrix = reader_matrix(np.array([-1.0, 3.0]), np.array([-2.0, 2.0]), np.array([-1.5, 1.0]))
    assert matrix.sum(axis=-1) == pytest.approx(np.ones((2, 3)))
    assert (matrix[:, 0, 2] == 0).all()
    assert (matrix[:, 2, 0] == 0).all()
    assert matrix[0, 0, 1] == pytest.approx(expit(-1.0))
    assert np.log(matrix[0, 1, 0] / matrix[0, 1, 1]) == pytest.approx(-2.0)


LINKS = {
    "linear": (lambda rng, z, b: b * z + rng.normal(size=len(z)), sm.families.Gaussian()),
    "log": (
        lambda rng, z, b: rng.gamma(2.0, np.exp(b * z) / 2.0),
        sm.families.Gamma(sm.families.links.Log()),
    ),
    "logit": (lambda rng, z, b: (rng.random(len(z)) < expit(b * z)).astype(float), sm.families.Binomial()),
}


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("indicators", ["score alone", "three"])
def test_what_each_treatment_of_the_exposure_estimates(link, indicators):
    """The factors of the model file's derivation: plug-in sqrt(r), latent drawn R, calibrated 1 (logit: nearly)."""
    n, beta = 60_000, 0.4
    rng = np.random.default_rng([7, len(link), len(indicators)])
    p = parameters((0.6,) if indicators == "score alone" else (0.6, 0.35), n_groups=1)
    blank = unseen(GROUPS[:1], np.zeros(n, dtype=int), len(p.sd))
    z, values, level = simulate_indicators(p, blank, rng)
    recorded = np.ones_like(values)
    if indicators == "three":
        recorded[:, 1] = rng.random(n) < 0.7
        level = np.where(rng.random(n) < 0.4, -1, level)
    else:
        level = np.full(n, -1)
    seen = Indicators(
        blank.tumours, blank.groups, blank.measures, values * recorded, recorded, level, blank.group_idx
    )
    latent = latent_given_all(p, seen)
    known = 1.0 - latent.variance.mean()
    outcome, family = LINKS[link]
    y = outcome(rng, z, beta)

    def slope(exposure: np.ndarray) -> tuple[float, float]:
        fit = sm.GLM(y, sm.add_constant(exposure), family=family).fit()
        return float(fit.params[1]) / beta, float(fit.bse[1]) / beta

    score = (values[:, 0] - p.mean[0, 0]) / p.sd[0]
    # A logit slope is smaller where the exposure leaves some of the latent unknown: 1 / sqrt(1 + 0.346 beta^2 v).
    shrink = {"logit": lambda v: 1.0 / np.sqrt(1.0 + 0.346 * beta**2 * v)}.get(link, lambda v: 1.0)
    for exposure, factor, left in (
        (score, np.sqrt(p.reliability[0]), 1.0 - p.reliability[0]),
        (draw_latent(p, seen, rng), known, 1.0 - known**2),
        (latent.mean, 1.0, 1.0 - known),
    ):
        found, error = slope(exposure)
        assert found == pytest.approx(factor * shrink(left), abs=3.5 * error)
    if indicators == "score alone":
        assert known == pytest.approx(
            p.reliability[0]
        )  # so a drawn latent attenuates more than the score: r < sqrt(r)
