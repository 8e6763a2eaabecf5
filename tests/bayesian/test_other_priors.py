"""Other priors: which priors a change reaches, and what becomes of them."""

from __future__ import annotations

import numpy as np
import pytest
from bayes_her2.models import abundance

from bayes_her2.bayesian.other_priors import Change, OtherPriors
from bayes_her2.bayesian.priors import Prior

PRIORS = {
    "slope_mean": Prior("Normal", {"mu": 0.0, "sigma": 0.5}, "a reason"),
    "slope_between_cohorts_sd": Prior("HalfNormal", {"sigma": 0.25}, "a reason"),
    "hr_between_cohorts_sd": Prior("HalfNormal", {"sigma": 0.2}, "a reason"),
}


def changed(*changes: Change) -> dict[str, Prior]:
    return OtherPriors("other", "Other", "Others.", changes).changed(PRIORS)


def test_a_pattern_reaches_its_priors_and_no_others():
    made = changed(Change("*_between_cohorts_sd", factor=2.0))
    assert made == {
        "slope_between_cohorts_sd": Prior("HalfNormal", {"sigma": 0.5}, "Others."),
        "hr_between_cohorts_sd": Prior("HalfNormal", {"sigma": 0.4}, "Others."),
    }


def test_the_first_change_that_matches_is_the_one():
    made = changed(Change("slope_*", sigma=1.0), Change("*", factor=3.0))
    assert [prior.params["sigma"] for prior in made.values()] == pytest.approx([1.0, 1.0, 0.6])
    assert made["slope_mean"].params["mu"] == 0.0


def test_a_half_normal_becomes_a_half_t_of_its_scale():
    made = changed(Change("hr_*", nu=3.0))
    assert made == {"hr_between_cohorts_sd": Prior("HalfStudentT", {"sigma": 0.2, "nu": 3.0}, "Others.")}


def test_what_changes_nothing_is_not_among_them():
    assert changed(Change("*", factor=1.0), Change("slope_mean", sigma=0.5)) == {}


@pytest.mark.parametrize("other", abundance.OTHER_PRIORS, ids=lambda other: other.name)
def test_every_change_of_the_main_model_reaches_presence_and_amount(other):
    made = other.changed(abundance.PRIORS)
    assert {name.split("_")[0] for name in made} >= {"presence", "amount"}
    assert len({other.name for other in abundance.OTHER_PRIORS}) == len(abundance.OTHER_PRIORS)
    assert other.what.endswith(".")


@pytest.mark.parametrize(
    ("name", "fold", "least", "most"), [("sceptical", 1.5, 0.005, 0.015), ("flat", 100.0, 0.1, 1.0)]
)
def test_what_is_said_of_ratios_is_what_the_priors_imply(name, fold, least, most):
    other = next(o for o in abundance.OTHER_PRIORS if o.name == name)
    priors = abundance.PRIORS | other.changed(abundance.PRIORS)
    rng = np.random.default_rng(1)
    mean, spread = (priors[f"amount_slope_{p}"].sample(rng, (100_000,)) for p in ("mean", "between_cells_sd"))
    beyond = np.mean(np.abs(mean + spread * rng.normal(size=100_000)) > np.log(fold))
    assert least <= beyond <= most


def test_groups_of_the_main_model_hold_each_prior_once_but_those_of_covariates_and_centres():
    names = [n.removeprefix("presence_").removeprefix("amount_") for n in abundance.PRIORS]
    for name in names:
        groups = [g for g, terms in abundance.PRIOR_GROUPS.items() if name.startswith(terms)]
        assert len(groups) == (0 if name.startswith(("covariate", "centre")) else 1), name
