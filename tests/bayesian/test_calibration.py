"""Truths, data from them, and their ranks: against arrays whose ranks are counted by hand, and the tumours kept."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from bayes_her2.models import abundance, abundance_beta, abundance_tobit

from bayes_her2.bayesian.amounts import BETA
from bayes_her2.bayesian.calibration import (
    RANKS,
    _held,
    _seed,
    calibrate_one,
    in_trouble,
    prior_truths,
    where_truths_lie,
)
from bayes_her2.bayesian.fit import Sampling, sample
from bayes_her2.errors import BayesHer2Error

LABELS = {"stratum": ["HR+", "HR-"], "cell_type": ["Alpha", "Beta"]}


def drawn(values, **labels):
    values = np.asarray(values, dtype=float)
    dims = ("chain", "draw", *labels)
    return xr.DataArray(values, dims=dims, coords=labels)


def test_ranks_are_counts_of_smaller_draws_under_their_labels():
    # 198 draws, of which every second is ranked against: 0, 2, 4, ..., 196
    draws = np.broadcast_to(np.arange(198.0).reshape(2, 99, 1, 1), (2, 99, 2, 2))
    truth = np.array([[[[-1.0, 0.5], [100.5, 500.0]]]])
    key = ("amount", "pooled")
    table = where_truths_lie({key: drawn(truth, **LABELS)}, {key: drawn(draws, **LABELS)}).set_index(
        ["stratum", "outcome"]
    )
    assert table.loc[("HR+", "Alpha"), "rank"] == 0
    assert table.loc[("HR+", "Beta"), "rank"] == 1
    assert table.loc[("HR-", "Alpha"), "rank"] == 51
    assert table.loc[("HR-", "Beta"), "rank"] == RANKS
    assert (table["cohort"] == "").all()
    assert table["point"].to_numpy() == pytest.approx(98.5)
    assert table["lower"].to_numpy() == pytest.approx(np.quantile(np.arange(198), 0.025))


def test_labels_are_matched_by_name_whatever_their_order():
    rng = np.random.default_rng(2)
    key = ("presence", "pooled")
    truth = drawn(rng.normal(size=(1, 1, 2, 2)), **LABELS)
    draws = drawn(rng.normal(size=(2, 200, 2, 2)), **LABELS)
    turned = truth.transpose("cell_type", "stratum", "draw", "chain").isel(cell_type=[1, 0])
    pd.testing.assert_frame_equal(
        where_truths_lie({key: truth}, {key: draws}), where_truths_lie({key: turned}, {key: draws})
    )


def test_what_is_not_estimable_has_no_row():
    rng = np.random.default_rng(3)
    key = ("high_abundance", "pooled")
    truth, draws = rng.normal(size=(1, 1, 2, 2)), rng.normal(size=(2, 200, 2, 2))
    draws[:, :, 0, 0] = np.nan
    draws[1, 7, 1, 0] = -np.inf
    truth[0, 0, 1, 1] = np.inf
    table = where_truths_lie({key: drawn(truth, **LABELS)}, {key: drawn(draws, **LABELS)})
    assert list(zip(table["stratum"], table["outcome"], strict=True)) == [("HR+", "Beta")]


def test_labels_that_no_column_has_are_held_at_a_value_or_refused():
    rng = np.random.default_rng(6)
    labels = {"weighting": ["observed", "equal"], "stratum": ["HR+"], "at": [-1.0, 1.0]}
    key = ("marginal_mean", "pooled")
    truth = {key: drawn(rng.normal(size=(1, 1, 2, 1, 2)), **labels)}
    draws = {key: drawn(rng.normal(size=(2, 100, 2, 1, 2)), **labels)}
    with pytest.raises(
        ValueError, match=r"marginal_mean.*no column has its at, weighting: hold it at a value"
    ):
        where_truths_lie(truth, draws)
    model = SimpleNamespace(CALIBRATED_AT={"weighting": "equal", "at": 1.0, "other": 3})
    table = where_truths_lie(_held(model, truth), _held(model, draws))
    assert table["stratum"].tolist() == ["HR+"]
    assert table["truth"].item() == truth[key].sel(weighting="equal", at=1.0, stratum="HR+").item()
    assert table["lfsr"].isna().all()  # a level has no sign


def test_estimands_without_labels_have_one_row():
    rng = np.random.default_rng(4)
    key = ("amount", "all")
    table = where_truths_lie({key: drawn([[0.0]])}, {key: drawn(rng.normal(size=(2, 100)))})
    assert len(table) == 1
    assert table["outcome"].item() == ""


def test_truths_are_prior_draws_of_every_variable(small_data):
    priors = abundance.priors_for(small_data)
    truths = prior_truths(abundance, small_data, priors, 400, [5])
    graph = abundance.build(small_data, priors)
    assert set(truths.data_vars) == {v.name for v in (*graph.free_RVs, *graph.deterministics)}
    assert truths.sizes["chain"] == 1
    mean = truths["presence_slope_mean"].to_numpy().ravel()
    sigma = priors["presence_slope_mean"].params["sigma"]
    assert mean.mean() == pytest.approx(0.0, abs=4 * sigma / 20)
    assert mean.std() == pytest.approx(sigma, rel=4 / np.sqrt(2 * 400))
    xr.testing.assert_equal(truths, prior_truths(abundance, small_data, priors, 400, [5]))


def test_a_data_set_whose_density_has_no_value_is_named(small_data):
    """A share of 1 has no density under the beta likelihood: the sampler finds no point to begin at."""
    priors = abundance_beta.priors_for(small_data)
    whole = small_data.with_abundance(small_data.abundance * 0.0 + 1.0)
    model = SimpleNamespace(build=abundance_beta.build, replicated=lambda *anything: whole)
    with pytest.raises(
        BayesHer2Error, match=r"data set 8: the sampler could not begin \(All initialization points"
    ):
        calibrate_one(model, small_data, priors, None, seed=1, number=7)


def test_a_fit_in_trouble_is_made_a_second_time_as_a_run_does(small_data):
    priors = abundance.priors_for(small_data)
    truth = prior_truths(abundance, small_data, priors, 1, [5])
    short = Sampling(chains=2, tune=10, draws=20)
    made = calibrate_one(abundance, small_data, priors, truth, seed=1, number=0, settings=short)
    assert made.retried
    # The second attempt alone: twice the draws of the first.
    by_hand = sample(
        abundance.build(abundance.replicated(truth, small_data, np.random.default_rng([1, 0])), priors),
        replace(short, seed=_seed(1, 0, 1)).harder(),
        progress=False,
    )
    assert by_hand["posterior"].sizes["draw"] == 40
    assert made.n_divergent == int(by_hand["sample_stats"]["diverging"].sum())
    slopes = abundance.estimand_draws(
        by_hand["posterior"].to_dataset(),
        abundance.replicated(truth, small_data, np.random.default_rng([1, 0])),
        priors,
        np.random.default_rng([1, 0, 2]),
    )
    expected = slopes[("amount", "pooled")].sel(stratum="HR+").mean(("chain", "draw")).to_series()
    table = made.table[(made.table["estimand"] == "amount") & (made.table["scope"] == "pooled")]
    found = table[table["stratum"] == "HR+"].set_index("outcome")["mean"]
    np.testing.assert_allclose(found, expected[found.index], rtol=1e-12)


@pytest.mark.parametrize(
    ("r_hat", "n_divergent", "in_it"), [(1.05, 0, False), (1.051, 0, True), (1.0, 1, True)]
)
def test_what_trouble_is(r_hat, n_divergent, in_it):
    assert in_trouble(r_hat, n_divergent) == in_it


def test_shares_that_round_to_0_or_1_stay_inside():
    eta, shape = np.array([-30.0, 30.0, 0.0]), np.array([1e-2, 1e-2, 1e-3])
    drawn = BETA.random(np.random.default_rng(1), np.tile(eta, (200, 1)), np.tile(shape, (200, 1)), None)
    assert ((drawn > 0) & (drawn < 1)).all()
    assert np.isfinite(BETA.log_density(drawn, eta, shape)).all()


@pytest.mark.parametrize("model", [abundance, abundance_tobit], ids=["hurdle", "Tobit"])
def test_a_replicated_set_has_the_same_tumours_and_other_abundances(model, small_data):
    priors = model.priors_for(small_data)
    truth = prior_truths(model, small_data, priors, 2, [6]).isel(draw=[0])
    made = model.replicated(truth, small_data, np.random.default_rng(1))
    pd.testing.assert_frame_equal(made.tumours, small_data.tumours)
    columns = ["presence_modelled", "amount_modelled"]
    pd.testing.assert_frame_equal(made.parts[columns], small_data.parts[columns])
    assert made.fingerprint != small_data.fingerprint
    changed = made.abundance.to_numpy() != small_data.abundance.to_numpy()
    assert changed.mean() > 0.3
    again = model.replicated(truth, small_data, np.random.default_rng(1))
    pd.testing.assert_frame_equal(made.abundance, again.abundance)
