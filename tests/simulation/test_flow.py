"""Simulated cohorts pass the shared preprocessing and keep the scaling and cut-offs of their truth."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_her2.inputs.study import read_study
from bayes_her2.preprocessing.prepare import prepare
from bayes_her2.simulation import simulate_cohorts, write_study
from bayes_her2.simulation.truth import SimulatedTumours


@pytest.fixture(scope="module")
def analysed(tmp_path_factory):
    simulated = simulate_cohorts(np.random.default_rng(12))
    study = read_study(write_study(tmp_path_factory.mktemp("flow"), simulated, seed=12))
    return simulated, prepare(simulated.cohorts, study).for_model("abundance")


def test_every_planted_exclusion_is_made_and_no_other(analysed):
    _, data = analysed
    assert data.tumours["cohort"].value_counts().to_dict() == {
        "external": 318,
        "discovery": 104,
        "confirmatory": 81,
    }
    reasons = sorted(exclusion.reason for exclusion in data.exclusions)
    assert reasons == [
        "HER2-positive",
        "hormone receptor status unknown",
        "not recorded as female",
        "stage IV",
    ]


def test_standardised_her2_has_mean_0_and_pooled_within_hr_sd_1(analysed):
    _, data = analysed
    for _, own in data.tumours.groupby("platform"):
        within = own["her2_sd"] - own.groupby("hr")["her2_sd"].transform("mean")
        assert own["her2_sd"].mean() == pytest.approx(0, abs=1e-12)
        assert (within**2).sum() / (len(own) - 2) == pytest.approx(1)


def test_cut_offs_of_high_abundance_are_those_of_the_truth(analysed):
    simulated, data = analysed
    for cohort in simulated.cohorts:
        own = data.tumours.index[data.tumours["cohort"] == cohort.name]
        kept = [label.removeprefix(f"{cohort.name}/") for label in own]
        abundance = cohort.abundance.loc[kept, list(data.high.columns)]
        part = SimulatedTumours(cohort.name, np.zeros(len(own)), np.zeros(len(own), dtype=bool), abundance)
        cut = part.high_cut()
        high = (abundance >= cut) & (abundance > 0)
        np.testing.assert_array_equal(high.to_numpy(), data.high.loc[own].to_numpy())
