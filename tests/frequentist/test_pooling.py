"""Pooling agrees with R metafor on the BCG trials (reference/make_reference.R) and with closed forms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayes_her2.frequentist.pooling import common_effect, random_effects

SETS = {"bcg": slice(None), "trials_1_2_3": slice(0, 3), "trials_4_5_6": slice(3, 6)}


@pytest.fixture(scope="module")
def bcg(reference_folder) -> pd.DataFrame:
    return pd.read_csv(reference_folder / "bcg.csv")


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("method", ["common", "reml", "reml_hk", "dl", "dl_hk"])
def test_metafor_gives_the_same_numbers(bcg, reference, name: str, method: str) -> None:
    trials = bcg.iloc[SETS[name]]  # by position: the trials are numbered in file order
    effects, variances = trials["log_risk_ratio"].tolist(), trials["variance"].tolist()
    if method == "common":
        pooled = common_effect(effects, variances)
        quantities = ("estimate", "se", "lower", "upper", "p_value", "q", "tau2")
    else:
        pooled = random_effects(
            effects,
            variances,
            tau2_by=method.removesuffix("_hk").upper(),
            hartung_knapp=method.endswith("hk"),
            at_least_wald=False,
        )
        quantities = (
            "estimate",
            "se",
            "lower",
            "upper",
            "p_value",
            "q",
            "prediction_lower",
            "prediction_upper",
        )
        assert pooled.tau2 == pytest.approx(reference(f"{name}:{method}", "tau2"), rel=1e-6, abs=1e-12)
    for quantity in quantities:
        expected = reference(f"{name}:{method}", quantity)
        assert getattr(pooled, quantity) == pytest.approx(expected, rel=1e-6, abs=1e-12), quantity


def test_the_numbers_everyone_quotes_for_bcg(bcg) -> None:
    # as in the documentation of metafor: tau^2 0.3132, estimate -0.7145, SE 0.1798; Hartung-Knapp 0.1808
    effects, variances = bcg["log_risk_ratio"].tolist(), bcg["variance"].tolist()
    wald = random_effects(effects, variances, hartung_knapp=False)
    assert (round(wald.tau2, 4), round(wald.estimate, 4), round(wald.se, 4)) == (0.3132, -0.7145, 0.1798)
    assert round(random_effects(effects, variances, at_least_wald=False).se, 4) == 0.1808


def test_equal_variances_have_a_closed_form() -> None:
    # REML tau^2 = max(0, s^2 - v), and Hartung-Knapp is then the t-interval of the plain mean
    effects = np.array([0.1, 0.9, -0.4, 0.6])
    pooled = random_effects(effects, [0.05] * 4, at_least_wald=False)
    assert pooled.tau2 == pytest.approx(effects.var(ddof=1) - 0.05, rel=1e-7)
    assert pooled.estimate == pytest.approx(effects.mean())
    assert pooled.se == pytest.approx(effects.std(ddof=1) / 2)
    assert random_effects(effects, [5.0] * 4).tau2 == 0.0


def test_three_cohorts_that_agree_by_luck_are_no_surer_than_their_errors() -> None:
    # Plain Hartung-Knapp: 0.082 to 0.135; with the factor max(1, q) the SE is the Wald SE and t has 2 degrees.
    effects, variances = [0.10, 0.11, 0.12], [0.01, 0.02, 0.015]
    plain = random_effects(effects, variances, at_least_wald=False)
    assert (round(plain.lower, 3), round(plain.upper, 3)) == (0.082, 0.135)
    modified = random_effects(effects, variances)
    wald = random_effects(effects, variances, hartung_knapp=False)
    assert modified.se == pytest.approx(wald.se)
    assert modified.upper - modified.lower > wald.upper - wald.lower


def test_only_finite_estimates_can_be_pooled() -> None:
    with pytest.raises(ValueError, match="not estimable"):
        common_effect([0.1, np.nan], [0.1, 0.1])
    with pytest.raises(ValueError, match="at least 2"):
        random_effects([0.1], [0.1])
