"""Recovery: a planted latent behind three indicators, and slopes on it, by every treatment of the exposure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from bayes_her2.models import abundance, her2_measurement
from bayes_her2.models.her2_measurement import CUT, DRAWN, JOINT, PLUG_IN
from measured_tumours import Planted, parameters, planted

from bayes_her2.bayesian.compilation import compiled
from bayes_her2.bayesian.fit import Fit, Sampling, fit_model, sample
from bayes_her2.bayesian.imputed import (
    OneImputation,
    between_share,
    diagnose_one,
    put_together,
    reasons_against,
)
from bayes_her2.bayesian.measurement import (
    draw_latent,
    draw_of,
    indicators,
    latent_given_all,
    parameters_of,
)

pytestmark = pytest.mark.sampling

N_IMPUTATIONS = 4


@pytest.fixture(scope="module")
def made() -> Planted:
    return planted(31, n=700, n_cells=8)


@pytest.fixture(scope="module")
def measured(made) -> Fit:
    data = made.data.for_model("her2_measurement")
    return fit_model("her2_measurement", data, None, Sampling(4, 500, 1_000, 0.9, 3), progress=False)


@pytest.fixture(scope="module")
def treated(made, measured) -> dict[str, tuple[OneImputation, ...]]:
    """Immune slopes with the score as it is, the latent expected, drawn, and in one posterior with them."""
    data = made.data.for_model("her2_measurement")
    priors = abundance.priors_for(data)
    seen, drawn = indicators(data), parameters_of(measured.posterior)
    rng = np.random.default_rng(17)
    chosen = [draw_of(drawn, int(i)) for i in rng.choice(len(drawn.sd), size=N_IMPUTATIONS, replace=False)]
    exposures = {
        PLUG_IN: [data.tumours["her2_sd"].to_numpy()],
        CUT: [latent_given_all(p, seen).mean for p in chosen],
        DRAWN: [draw_latent(p, seen, rng) for p in chosen],
    }
    ready = compiled(her2_measurement.build_given(data, priors))

    def part(tree: Any, exposure: np.ndarray) -> OneImputation:
        on = her2_measurement.on_exposure(data, exposure, "latent")
        slopes = her2_measurement.immune_slopes(
            tree["posterior"].to_dataset(), on, priors, np.random.default_rng(1)
        )
        return OneImputation(slopes, diagnose_one(slopes, int(tree["sample_stats"]["diverging"].sum())))

    found = {
        name: tuple(
            part(
                sample(
                    ready.with_data(exposure=exposure), Sampling(2, 300, 500, 0.85, 5 + i), progress=False
                ),
                exposure,
            )
            for i, exposure in enumerate(each)
        )
        for name, each in exposures.items()
    }
    joint = compiled(her2_measurement.build_joint(data, her2_measurement.PRIORS, priors))
    tree = sample(joint, Sampling(2, 500, 750, 0.85, 9), progress=False)
    latent = tree["posterior"]["latent_her2"].mean(("chain", "draw")).sel(tumour=list(data.tumours.index))
    return found | {JOINT: (part(tree, latent.to_numpy()),)}


def recovered(made: Planted, parts: tuple[OneImputation, ...]) -> xr.DataArray:
    """Slopes of presence and amount in HR+ over the planted ones, least squares, in every draw."""
    draws = put_together(parts)
    top, bottom = 0.0, 0.0
    for part in ("presence", "amount"):
        truth = made.slopes[part].to_xarray().rename(index="cell_type")
        slope = draws[(part, "pooled")].sel(stratum="HR+").reset_coords(drop=True)
        top = top + (slope * truth).sum("cell_type")
        bottom = bottom + float((truth**2).sum())
    assert isinstance(top, xr.DataArray)
    return top / bottom


def test_the_measurement_is_recovered_and_passes_its_gate(measured):
    assert measured.diagnostics.reasons == ()
    p = parameters()
    draws = measured.estimand_draws
    reliability = draws[("reliability", "pooled")]
    planted_values = [*p.reliability, float(p.level_reliability)]
    for label, value in zip(reliability["indicator"].to_numpy(), planted_values, strict=True):
        lower, upper = reliability.sel(indicator=label).quantile([0.005, 0.995])
        assert lower < value < upper
    rates = draws[("reader_rate", "pooled")]
    assert float(rates.sel(reading="read 1+, truly 0").median()) == pytest.approx(p.reader[0, 1], abs=0.12)


def test_what_is_known_of_the_latents_is_what_they_vary_together(made, measured):
    """R, the share of the latent's variance that its indicators tell, against planted latents: R = cor(z, E z)^2."""
    data = made.data.for_model("her2_measurement")
    seen, drawn = indicators(data), parameters_of(measured.posterior)
    expected = latent_given_all(draw_of(drawn, 0), seen).mean
    z = made.latent.loc[data.tumours.index].to_numpy()
    known = float(np.corrcoef(expected, z)[0, 1] ** 2)
    lower, upper = measured.estimand_draws[("latent_known", "pooled")].quantile([0.005, 0.995])
    error = 2 * np.sqrt(known) * (1 - known) / np.sqrt(len(z))
    assert lower - 3 * error < known < upper + 3 * error


def test_levels_are_misread_about_as_often_as_planted(measured):
    share = measured.estimand_draws[("true_level_given_read", "cohort")].sel(cohort="A")
    assert float(share.sel(reading="truly 1+ or 2+, read 0").median()) == pytest.approx(0.3, abs=0.2)
    assert float(share.max()) <= 1.0


@pytest.mark.slow
def test_every_imputation_passes_its_gate(treated):
    for name in (CUT, DRAWN):
        assert reasons_against(treated[name]) == ()


@pytest.mark.slow
def test_calibrated_and_joint_slopes_cover_the_truth_and_the_score_and_drawn_latents_are_attenuated(
    made, measured, treated
):
    """By the factors that the model file derives: sqrt(r) for the score, R for drawn latents, 1 for the others."""
    known = float(measured.estimand_draws[("latent_known", "pooled")].median())
    factor = {PLUG_IN: np.sqrt(parameters().reliability[0]), CUT: 1.0, DRAWN: known, JOINT: 1.0}
    limits = {n: recovered(made, parts).quantile([0.005, 0.995]).to_numpy() for n, parts in treated.items()}
    for name, (lower, upper) in limits.items():
        assert lower < factor[name] < upper, (name, limits)
    for name in (PLUG_IN, DRAWN):
        assert limits[name][1] < 1.0, (name, limits)


@pytest.mark.slow
def test_drawn_latents_differ_more_between_imputations_than_expected_ones(treated):
    """An expectation moves with the parameters alone; a drawn latent with its own chance too."""
    shares = {name: between_share(treated[name])["between_share"] for name in (CUT, DRAWN)}
    assert shares[CUT].between(0, 1).all()
    assert shares[CUT].mean() < shares[DRAWN].mean()
