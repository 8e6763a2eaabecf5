"""Power-scaling against a normal mean, whose posterior under any power of prior and likelihood has a closed form."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from bayes_her2.bayesian.power_scaling import ALL, CONFLICT, FINE, READINGS, STRONG, log_prior, power_scaling
from bayes_her2.bayesian.priors import Prior

PRIOR = Prior("Normal", {"mu": 0.0, "sigma": 1.0}, "a reason")
N = 40_000
OTHER = Prior("HalfNormal", {"sigma": 1.0}, "a reason")


def posterior(
    data_mean: float, data_sd: float, *, prior_power: float = 1.0, power: float = 1.0
) -> stats.norm:
    """Normal mean with prior N(0, 1) and one observation, each to a power."""
    precision = prior_power + power / data_sd**2
    return stats.norm(power * data_mean / data_sd**2 / precision, precision**-0.5)


def distance(p: stats.norm, q: stats.norm, reach: np.ndarray) -> float:
    """Cumulative Jensen-Shannon distance of Kallioinen and others (2024), appendix, by the trapezoidal rule."""
    x = np.linspace(reach.min(), reach.max(), 20_001)  # the distance depends on how far its integrals reach

    def one_way(p: np.ndarray, q: np.ndarray) -> float:
        middle = (p + q) / 2.0
        inside = np.where(
            p > 0, p * np.log2(np.where(p > 0, p, 1.0) / np.where(middle > 0, middle, 1.0)), 0.0
        )
        return float(np.trapezoid(inside, x) + np.trapezoid(q - p, x) / (2.0 * np.log(2.0)))

    # The distance of a variable and that of its negative: the larger of the two.
    found = []
    for a, b in ((p.cdf(x), q.cdf(x)), (p.sf(x)[::-1], q.sf(x)[::-1])):
        bound = np.trapezoid(a + b, x)
        found.append(np.sqrt((one_way(a, b) + one_way(b, a)) / bound))
    return max(found)


def made(theta: np.ndarray, data_mean: float, data_sd: float):
    """Table for draws as two labels of an estimand, one of them not estimable."""
    spread = np.abs(
        np.random.default_rng(4).normal(size=theta.shape)
    )  # of a parameter that says nothing of theta
    draws = xr.Dataset(
        {"theta": (("chain", "draw"), theta), "spread": (("chain", "draw"), spread)},
        coords={"chain": np.arange(4), "draw": np.arange(theta.shape[1])},
    )
    cells = xr.concat([draws["theta"], draws["theta"] * np.nan], dim="cell_type").assign_coords(
        cell_type=["A", "B"]
    )
    estimand = cells.expand_dims(stratum=["HR+"])
    likelihood = xr.apply_ufunc(lambda t: stats.norm(t, data_sd).logpdf(data_mean), draws["theta"])
    return power_scaling(
        {("overall", "pooled"): estimand, ("overall", "cohort"): estimand},
        log_prior(draws, {"theta": PRIOR, "spread": OTHER, "not_there": PRIOR}),
        likelihood.expand_dims(tumour=["t"]),
        {"means": ("theta",), "spreads": ("spread",), "none": ("not_there",)},
    )


@pytest.mark.parametrize(
    ("data_mean", "data_sd", "reading"),
    [(0.3, 0.05, FINE), (0.3, 6.0, STRONG), (3.0, 1.0, CONFLICT)],
    ids=["the data speak", "the prior speaks", "both do"],
)
def test_rates_are_those_of_the_closed_form(data_mean, data_sd, reading):
    here = posterior(data_mean, data_sd)
    theta = here.rvs(size=(4, N // 4), random_state=np.random.default_rng(3))
    table = made(theta, data_mean, data_sd).set_index("priors")
    assert list(table.index) == [ALL, "means", "spreads"]
    assert {tuple(row) for row in table[["estimand", "outcome", "stratum"]].to_numpy()} == {
        ("overall", "A", "HR+")
    }
    # Slopes of the distance over log2 of the power, up and down, averaged.
    expected = {
        name: np.mean(
            [
                distance(here, posterior(data_mean, data_sd, **{argument: a}), theta) / abs(np.log2(a))
                for a in (0.99, 1.01)
            ]
        )
        for name, argument in (("prior", "prior_power"), ("likelihood", "power"))
    }
    for name, rate in expected.items():
        assert table.loc["means", name] == pytest.approx(rate, rel=0.05, abs=0.002)
    assert table.loc["means", "reading"] == reading
    # The prior of a parameter that says nothing of the result does not move it: Monte Carlo error alone.
    assert table.loc["spreads", "prior"] < 0.02
    assert set(table["reading"]) <= set(READINGS.values())


def test_a_likelihood_of_some_draws_is_set_against_the_same_draws():
    here = posterior(0.3, 0.5)
    theta = here.rvs(size=(4, N // 4), random_state=np.random.default_rng(5))
    draws = xr.Dataset({"theta": (("chain", "draw"), theta)}, coords={"draw": np.arange(N // 4)})
    estimand = draws["theta"].expand_dims(cell_type=["A"], stratum=["HR+"])
    likelihood = xr.apply_ufunc(lambda t: stats.norm(t, 0.5).logpdf(0.3), draws["theta"]).expand_dims(
        tumour=["t"]
    )
    prior = log_prior(draws, {"theta": PRIOR})
    every, half = (
        power_scaling(
            {("overall", "pooled"): estimand}, prior, likelihood.isel(draw=slice(None, None, step)), {}
        )
        for step in (1, 2)
    )
    assert half["likelihood"].item() == pytest.approx(every["likelihood"].item(), rel=0.05)
    assert half["prior"].item() == pytest.approx(every["prior"].item(), rel=0.1)
    with pytest.raises(ValueError, match="no coordinate 'draw'"):
        power_scaling({("overall", "pooled"): estimand}, prior, likelihood.drop_vars("draw"), {})


def test_densities_are_summed_over_what_a_parameter_has_and_others_are_left_out():
    draws = xr.Dataset(
        {
            "sd": (("chain", "draw", "cell"), np.full((1, 2, 3), 0.4)),
            "shares": (("chain", "draw"), np.ones((1, 2))),
        }
    )
    shares = Prior("Dirichlet", {"concentration": 1.0}, "a reason")
    found = log_prior(draws, {"sd": OTHER, "shares": shares, "absent": PRIOR})
    assert list(found.data_vars) == ["sd"]
    np.testing.assert_allclose(found["sd"], 3 * stats.halfnorm.logpdf(0.4))


def test_without_an_estimable_result_there_are_no_rows():
    nothing = xr.DataArray(
        np.full((1, 4, 1, 1), np.nan),
        dims=("chain", "draw", "cell_type", "stratum"),
        coords={"draw": np.arange(4)},
    ).assign_coords(cell_type=["A"], stratum=["HR+"])
    prior = xr.Dataset({"x": (("chain", "draw"), np.zeros((1, 4)))}, coords={"draw": np.arange(4)})
    likelihood = xr.DataArray(
        np.zeros((1, 4, 1)), dims=("chain", "draw", "tumour"), coords={"draw": np.arange(4)}
    )
    assert power_scaling({("overall", "pooled"): nothing}, prior, likelihood, {}).empty
