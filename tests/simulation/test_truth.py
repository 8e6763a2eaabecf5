"""The truth table is what brute force finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bayes_her2.data import DIFFERENCE
from bayes_her2.preprocessing.receptors import hr_status
from bayes_her2.preprocessing.standardise import standardise_her2
from bayes_her2.simulation import SEED_DESIGN, Parameters, draw_parameters, simulate_cohorts

SEED = 314
N_REPEATS = 1500


def small_design(scale: str):
    """Two cohorts, five cell types: always present, median rule, presence rule, interaction, rare."""
    names = ["Macrophages M2", "Plasma cells", "Neutrophils", "Mast cells resting", "T cells gamma delta"]
    cells = tuple(c for c in SEED_DESIGN.cell_types if c.name in names)
    cohorts = tuple(
        replace(
            c,
            n_hr_positive=60,
            n_hr_negative=30,
            zero_share={k: v for k, v in c.zero_share.items() if k in names},
        )
        for c in SEED_DESIGN.cohorts[:2]
    )
    return replace(SEED_DESIGN, cohorts=cohorts, cell_types=cells, scale=scale, ineligible=False)


def planted(scale: str) -> Parameters:
    return draw_parameters(np.random.default_rng(SEED), small_design(scale))


def brute_force(cohorts, parameters: Parameters, scale: str, scope: str) -> pd.DataFrame:
    """Simulate every tumour many times at h and at h + 1, tumour by tumour, and count.

    Written without the package's own linear predictor: loops over cohorts and cell types, and averages.
    """
    rng = np.random.default_rng(99)
    frames = []
    for cohort in cohorts:
        hr = hr_status(cohort.tumours)
        h, _ = standardise_her2(cohort.tumours["her2"], pd.Series(cohort.platform, index=hr.index), hr)
        r = (hr == "HR-").to_numpy(float)
        observed = cohort.abundance
        zero_share = (observed == 0).mean()
        drawn = {}
        for shift in (0.0, 1.0):
            at = h.to_numpy() + shift
            present, positive = {}, {}
            for cell_type in observed.columns:
                own = parameters.cohorts.loc[(cohort.name, cell_type)].copy()
                if scope == "pooled":
                    for part in ("presence", "amount"):
                        for term in ("slope", "interaction"):
                            own[f"{part}_{term}"] = parameters.population.loc[cell_type, f"{part}_{term}"]
                eta = {
                    part: own[f"{part}_intercept"]
                    + own[f"{part}_slope"] * at
                    + own[f"{part}_hr"] * r
                    + own[f"{part}_interaction"] * at * r
                    for part in ("presence", "amount")
                }
                size = (N_REPEATS, len(at))
                present[cell_type] = rng.random(size) < 1 / (1 + np.exp(-eta["presence"]))
                positive[cell_type] = rng.gamma(own["shape"], np.exp(eta["amount"]) / own["shape"], size=size)
            amounts = {c: np.where(present[c], positive[c], 0.0) for c in present}
            if scale == "relative":
                total = sum(amounts.values())
                amounts = {c: a / total for c, a in amounts.items()}
            drawn[shift] = amounts
        for cell_type in observed.columns:
            cut = observed[cell_type].median() if zero_share[cell_type] < 0.25 else 0.0
            for shift, amounts in drawn.items():
                y = amounts[cell_type]
                high = (y >= cut) & (y > 0)
                frames.append(
                    pd.DataFrame(
                        {
                            "cohort": cohort.name,
                            "stratum": hr.to_numpy(),
                            "outcome": cell_type,
                            "shift": shift,
                            "mean": y.mean(axis=0),
                            "high": high.mean(axis=0),
                        }
                    )
                )
    per_tumour = pd.concat(frames)
    keys = ["outcome", "stratum"] + (["cohort"] if scope == "cohort" else [])
    means = per_tumour.groupby([*keys, "shift"])[["mean", "high"]].mean().unstack("shift")
    odds = means["high"] / (1 - means["high"])
    table = pd.DataFrame(
        {"overall": means["mean"][1.0] / means["mean"][0.0], "high_abundance": odds[1.0] / odds[0.0]}
    )
    return table.stack().rename("brute").rename_axis([*keys, "estimand"]).reset_index()


@pytest.mark.parametrize("scale", ["absolute", "relative"])
@pytest.mark.parametrize("scope", ["pooled", "cohort"])
def test_standardised_truths_match_brute_force(scale, scope):
    """1,500 repeats of 90 tumours per cohort: every ratio within 6 % of what counting finds."""
    parameters = planted(scale)
    simulated = simulate_cohorts(np.random.default_rng(SEED + 1), small_design(scale), parameters)
    found = brute_force(simulated.cohorts, parameters, scale, scope)
    truth = simulated.truth[simulated.truth["scope"] == scope]
    keys = ["outcome", "stratum", "estimand"] + (["cohort"] if scope == "cohort" else [])
    both = found.merge(truth, on=keys, validate="one_to_one")
    # HR+ and HR- of 5 cell types, two estimands, in two cohorts or pooled
    assert len(both) == 20 * (2 if scope == "cohort" else 1)
    error = np.log(both["brute"] / both["truth"]).abs()
    assert error.max() < 0.06, both.loc[error.idxmax()].to_dict()


def test_presence_and_amount_are_the_planted_ratios_on_the_absolute_scale():
    parameters = planted("absolute")
    truth = simulate_cohorts(np.random.default_rng(1), small_design("absolute"), parameters).truth
    wide = truth.set_index(["scope", "cohort", "stratum", "estimand", "outcome"])["truth"].sort_index()
    for part in ("presence", "amount"):
        slope = parameters.population[f"{part}_slope"]
        interaction = parameters.population[f"{part}_interaction"]
        pooled = wide.loc[("pooled", "")]
        for cell_type in slope.index:
            at = slope[cell_type], interaction[cell_type]
            assert pooled[("HR+", part, cell_type)] == pytest.approx(np.exp(at[0]))
            assert pooled[("HR-", part, cell_type)] == pytest.approx(np.exp(at[0] + at[1]))
            assert pooled[(DIFFERENCE, part, cell_type)] == pytest.approx(np.exp(at[1]))
        own = parameters.cohorts.sort_index().loc[("confirmatory", "Neutrophils")]
        of_cohort = wide.loc[("cohort", "confirmatory")]
        assert of_cohort[("HR-", part, "Neutrophils")] == pytest.approx(
            np.exp(own[f"{part}_slope"] + own[f"{part}_interaction"])
        )


def test_the_two_interactions_of_the_seed_are_planted_with_opposite_signs():
    truth = simulate_cohorts(np.random.default_rng(1)).truth
    pooled = truth[(truth["scope"] == "pooled")].set_index(["estimand", "stratum", "outcome"])["truth"]
    for estimand in ("presence", "amount", "overall", "high_abundance"):
        assert (
            pooled[(estimand, "HR+", "Mast cells resting")]
            < 1
            < pooled[(estimand, "HR-", "Mast cells resting")]
        )
        assert pooled[(estimand, "HR+", "Neutrophils")] > 1 > pooled[(estimand, "HR-", "Neutrophils")]


def test_truth_has_every_row_once():
    truth = simulate_cohorts(np.random.default_rng(1)).truth
    keys = ["outcome", "estimand", "stratum", "scope", "cohort"]
    assert not truth.duplicated(keys).any()
    # 22 cell types x 4 estimands x (HR+, HR-, ratio) x (pooled + 3 cohorts)
    assert len(truth) == 22 * 4 * 3 * 4
    assert (truth["truth"] > 0).all()
    ratio = truth.pivot(index=["outcome", "estimand", "scope", "cohort"], columns="stratum", values="truth")
    np.testing.assert_allclose(ratio[DIFFERENCE], ratio["HR-"] / ratio["HR+"])


def test_with_one_cohort_pooled_and_cohort_truth_are_the_same():
    design = replace(SEED_DESIGN, cohorts=SEED_DESIGN.cohorts[:1])
    truth = simulate_cohorts(np.random.default_rng(4), design).truth
    wide = truth.pivot(index=["outcome", "estimand", "stratum"], columns="scope", values="truth")
    np.testing.assert_allclose(wide["pooled"], wide["cohort"])


def test_a_null_cell_type_is_null_on_the_absolute_scale_and_drifts_as_a_share():
    absolute = simulate_cohorts(np.random.default_rng(6), small_design("absolute")).truth
    shares = simulate_cohorts(np.random.default_rng(6), small_design("relative")).truth
    chosen = {"outcome": "Macrophages M2", "estimand": "amount", "stratum": "HR+", "scope": "pooled"}
    null, drift = (
        table.loc[(table[list(chosen)] == pd.Series(chosen)).all(axis=1), "truth"].item()
        for table in (absolute, shares)
    )
    assert null == pytest.approx(1.0)
    assert drift > 1.02  # others fall with HER2, so the share of those that stay rises
