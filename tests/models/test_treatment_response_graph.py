"""The graph of the treatment response model against an independent sum of densities, and what it does not depend on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from bayes_her2.models import treatment_response as model_file
from labelled_density import LabelledDensity
from outline_checks import assert_prints_its_numbers, assert_speaks_for_the_graph
from response_sets import PCR, response_set
from scipy import stats
from scipy.special import expit

from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.response import SLOPES, needed, numbers_needed
from bayes_her2.data import HER2_LOW, ResponseData
from bayes_her2.estimates import Estimates

P = model_file.PRIORS
MID = "midcourse complete response"
STRUCTURES = {
    "one arm": response_set({(PCR, "HR-", "all"): (36, 23, 50, 36), (MID, "HR-", "all"): (32, 9, 39, 17)}),
    "both strata": response_set({(PCR, "HR+", "all"): (30, 5, 28, 4), (PCR, "HR-", "all"): (22, 9, 25, 13)}),
    "not told apart": response_set({(PCR, "all", "all"): (30, 0, 28, 4)}),
    "arms": response_set(
        {
            (PCR, "HR+", "B"): (30, 5, 28, 4), (PCR, "HR-", "B"): (22, 9, 25, 13), (PCR, "HR+", "A"): (12, 2, 9, 3),
            (PCR, "HR-", "A"): (15, 6, 0, 0),
        }
    ),
    "control": response_set(
        {
            (PCR, "HR+", "new"): (24, 8, 6, 1), (PCR, "HR-", "new"): (10, 7, 13, 7),
            (PCR, "HR+", "old"): (51, 6, 24, 3),
            (PCR, "HR-", "old"): (26, 6, 42, 7),
        },
        control="old",
    ),
}  # fmt: skip


def with_age(data: ResponseData) -> ResponseData:
    """The same rows with a covariate."""
    age = pd.DataFrame({"age": np.linspace(-1, 1, len(data.rows))}, index=data.rows.index)
    return replace(data, covariates=age)


def free_values(data: ResponseData, seed: int = 5) -> dict[str, np.ndarray]:
    graph = model_file.build(data, P)
    rng = np.random.default_rng(seed)
    shapes = {
        v.name: tuple(len(graph.coords[d]) for d in graph.named_vars_to_dims[v.name]) for v in graph.free_RVs
    }
    return {
        name: np.abs(rng.normal(0.4, 0.2, shape)) if name.endswith("_sd") else rng.normal(0, 0.5, shape)
        for name, shape in shapes.items()
    }


def by_hand(data: ResponseData, v: dict[str, np.ndarray]) -> float:
    """Log density of the model file's own words, row by row."""
    total = 0.0
    strata, arms = data.strata, data.arms
    for name, value in v.items():
        if name.endswith("_by_arm"):
            base = name.removesuffix("_by_arm")
            for a in range(len(arms)):
                for s, stratum in enumerate(strata):
                    mean = v["intercept"][s] if base == "intercept" else v[SLOPES[stratum]]
                    total += stats.norm.logpdf(value[a, s], mean, v[f"{base}_between_arms_sd"]).sum()
        else:
            total += P[name].frozen().logpdf(value).sum()
    for label, row in data.rows.iterrows():
        total += stats.binom.logpmf(row["events"], row["n"], expit(log_odds(data, v, label, row)))
    return float(total)


def log_odds(data: ResponseData, v: dict[str, np.ndarray], label: str, row: pd.Series) -> float:
    """Log odds of response of a row, in the model file's own words."""
    o, s, a = data.outcomes.index(row["outcome"]), data.strata.index(row["hr"]), data.arms.index(row["arm"])
    half = 0.5 if row["her2"] == HER2_LOW else -0.5
    if data.control:
        sign = -0.5 if row["arm"] == data.control else 0.5
        eta = v["intercept"][a, s, o] + half * (v["slope_all"][o] + sign * v["interaction"][o])
    elif len(data.arms) > 1:
        eta = v["intercept_by_arm"][a, s, o] + half * v["slope_by_arm"][a, s, o]
    else:
        eta = v["intercept"][s, o] + half * v[SLOPES[row["hr"]]][o]
    for k, covariate in enumerate(data.covariates.columns):
        eta += v["covariate_effect"][o, k] * data.covariates.loc[label, covariate]
    return float(eta)


def log_density(graph: pm.Model, values: dict[str, np.ndarray]) -> float:
    """Log density of the graph at values of its variables, without Jacobians."""
    labelled = {}
    for variable in graph.free_RVs:
        dims = graph.named_vars_to_dims[variable.name]
        coords = {d: list(graph.coords[d]) for d in dims}
        labelled[variable.name] = xr.DataArray(values[variable.name], dims=dims, coords=coords)
    return float(sum(np.sum(term) for term in LabelledDensity(graph)(labelled).values()))


@pytest.mark.parametrize("kind", [*STRUCTURES, "arms with age", "control with age"])
def test_the_log_density_is_the_sum_of_its_parts(kind):
    data = STRUCTURES[kind.removesuffix(" with age")]
    data = with_age(data) if kind.endswith("age") else data
    values = free_values(data)
    graph = model_file.build(data, P)
    # Binomial coefficients of the two sides agree to about 1e-8.
    assert log_density(graph, values) == pytest.approx(by_hand(data, values), abs=1e-6)


def test_the_order_of_rows_and_arms_does_not_matter():
    data = STRUCTURES["arms"]
    turned = response_set(
        {
            (PCR, "HR-", "A"): (15, 6, 0, 0), (PCR, "HR+", "A"): (12, 2, 9, 3), (PCR, "HR-", "B"): (22, 9, 25, 13),
            (PCR, "HR+", "B"): (30, 5, 28, 4),
        },
        order=-1,
    )  # fmt: skip
    assert turned.fingerprint == data.fingerprint
    assert turned.coords["arm"] == data.coords["arm"]
    values = free_values(data)
    assert log_density(model_file.build(turned, P), values) == pytest.approx(
        log_density(model_file.build(data, P), values), rel=1e-12
    )


def test_exchanging_the_levels_turns_the_odds_ratio_over():
    one = response_set({(PCR, "HR-", "all"): (36, 23, 50, 36)})
    other = response_set({(PCR, "HR-", "all"): (50, 36, 36, 23)})
    values = free_values(one)
    turned = values | {"slope_hr_negative": -values["slope_hr_negative"]}
    assert log_density(model_file.build(one, P), values) == pytest.approx(
        log_density(model_file.build(other, P), turned), rel=1e-12
    )


def test_a_mixture_prior_enters_the_graph_with_its_density():
    params = {"weight_1": 0.7, "mu_1": -0.4, "sigma_1": 0.2, "weight_2": 0.3, "mu_2": 0.0, "sigma_2": 1.0}
    mixture = Prior("NormalMixture", params, "for a test")
    data = STRUCTURES["one arm"]
    graph = model_file.build(data, P | {"slope_hr_negative": mixture})
    values = free_values(data)
    slope = values["slope_hr_negative"]
    expected = by_hand(data, values) - P["slope_hr_negative"].frozen().logpdf(slope).sum()
    expected += np.log(0.7 * stats.norm.pdf(slope, -0.4, 0.2) + 0.3 * stats.norm.pdf(slope, 0, 1)).sum()
    assert log_density(graph, values) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", STRUCTURES)
def test_the_prior_passes_its_gates(kind):
    data = STRUCTURES[kind]
    checks = model_file.prior_checks(model_file.build(data, P), data, 1)
    assert checks["passed"].all(), checks


def test_a_borrowed_prior_may_rule_large_ratios_out():
    params = {"weight_1": 0.9, "mu_1": -0.4, "sigma_1": 0.1, "weight_2": 0.1, "mu_2": -0.3, "sigma_2": 0.3}
    sure = P | {"slope_hr_negative": Prior("NormalMixture", params, "for a test")}
    checks = model_file.prior_checks(model_file.build(STRUCTURES["one arm"], sure), STRUCTURES["one arm"], 1)
    assert checks["passed"].all(), checks
    tight = P | {"slope_hr_negative": Prior("Normal", {"mu": -0.4, "sigma": 0.1}, "for a test")}
    checks = model_file.prior_checks(model_file.build(STRUCTURES["one arm"], tight), STRUCTURES["one arm"], 1)
    assert not checks["passed"].all()


def test_the_priors_say_what_they_mean():
    words = {name: model_file.reader_scale(name, prior, 0.95) for name, prior in P.items()}
    assert words["slope_all"] == "95%: odds ratio 0.14 to 7.1"
    assert words["intercept"] == "95%: response in 5% to 95% of the patients, midway between levels"
    assert "1 SD between arms multiplies the odds by" in words["intercept_between_arms_sd"]
    assert words["interaction"].startswith("95%: ratio of odds ratios")


def test_the_number_needed_is_said_in_words_where_the_difference_may_be_0():
    # Altman 1998: -0.25 to 0.10 is from 1 in 4 through infinity to 1 in 10.
    open_ = needed(-0.25, -0.05, 0.10)
    assert open_["status"] == "not estimable"
    assert np.isnan(open_["point"])
    assert open_["note"] == (
        "the interval of the risk difference contains 0: from one fewer response in 4 patients, through no difference, "
        "to one more in 10"
    )
    sure = needed(-0.25, -0.20, -0.10)
    assert [sure[c] for c in ("lower", "point", "upper")] == pytest.approx([4.0, 5.0, 10.0])
    assert sure["note"].endswith("for one fewer response")
    assert [needed(0.1, 0.2, 0.25)[c] for c in ("lower", "point", "upper")] == pytest.approx([4.0, 5.0, 10.0])
    assert "without limit" in needed(0.0, 0.1, 0.2)["note"]


def test_the_number_needed_keeps_what_is_said_of_its_risk_difference():
    few = "few patients: 7 HER2-low patients"
    rows = {"sure": (-0.25, -0.2, -0.1, "observed", few), "open": (-0.25, -0.05, 0.1, "observed", few),
            "none": (np.nan, np.nan, np.nan, "not estimable", "no HER2-low patients")}  # fmt: skip
    differences = Estimates.from_records(
        {"source": "posterior", "method": "m", "outcome": outcome, "estimand": "response_difference", "lower": low,
         "point": point, "upper": high, "status": status, "note": note}
        for outcome, (low, point, high, status, note) in rows.items()
    )  # fmt: skip
    found = Estimates.from_records(numbers_needed(differences, 0.95)).table.set_index("outcome")
    assert found["status"].to_dict() == {"sure": "observed", "open": "not estimable", "none": "not estimable"}
    assert found.loc["sure", "note"].endswith(f"for one fewer response; {few}")
    assert found.loc["open", "note"].endswith(f"to one more in 10; {few}")
    assert found.loc["none", "note"] == "no HER2-low patients"
    assert set(found["estimand"]) == {"number_needed"}


@pytest.mark.parametrize("structure", STRUCTURES)
def test_replicated_responses_have_the_probabilities_of_the_model(structure):
    data = with_age(STRUCTURES[structure])
    values = free_values(data)
    graph = model_file.build(data, P)
    draw = xr.Dataset(
        {
            name: xr.DataArray(
                value[None, None],
                dims=("chain", "draw", *graph.named_vars_to_dims[name]),
                coords={d: list(graph.coords[d]) for d in graph.named_vars_to_dims[name]},
            )
            for name, value in values.items()
        }
    )
    n = 300
    made = [model_file.replicated(draw, data, np.random.default_rng(seed)) for seed in range(n)]
    events = sum(one.rows["events"] for one in made) / n
    scores = []
    for label, row in data.rows.iterrows():
        p = expit(log_odds(data, values, label, row))
        scores.append((events[label] - row["n"] * p) / np.sqrt(row["n"] * p * (1 - p) / n))
    assert np.abs(scores).max() < 4
    assert made[0].rows.drop(columns="events").equals(data.rows.drop(columns="events"))


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("adjusted", [False, True], ids=["crude", "adjusted"])
def test_its_outline_is_that_of_its_graph(structure, adjusted):
    data = with_age(STRUCTURES[structure]) if adjusted else STRUCTURES[structure]
    assert_speaks_for_the_graph(model_file, data)
    assert_prints_its_numbers(model_file, data)


def test_its_outline_writes_a_mixture_out():
    data = STRUCTURES["one arm"]
    mixture = Prior(
        "NormalMixture",
        {"weight_1": 0.8, "mu_1": -0.2, "sigma_1": 0.4, "weight_2": 0.2, "mu_2": 0.0, "sigma_2": 2.0},
        "predicted by earlier studies, made robust",
    )
    priors = {**P, "slope_hr_negative": mixture}
    assert_speaks_for_the_graph(model_file, data, priors)
    (line,) = (one for one in model_file.outline(data, priors) if "slope_hr_negative" in one.variables)
    assert line.law == r"0.8\,\mathrm{Normal}(-0.2,\, 0.4) + 0.2\,\mathrm{Normal}(0,\, 2)"
