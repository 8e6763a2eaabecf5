"""A fit: sampled once for the session, checked from several sides."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import arviz as az
import numpy as np
import pandas as pd
import pymc as pm
import pytest
from bayes_her2.models import abundance
from scipy import stats

from bayes_her2.bayesian.compilation import compiled
from bayes_her2.bayesian.fit import Sampling, fit_hash, fit_model, read_fit, sample
from bayes_her2.bayesian.model import load_model
from bayes_her2.bayesian.predictive import (
    hurdle_posterior_predictive,
    hurdle_prior_predictive,
    prior_table,
)
from bayes_her2.bayesian.priors import Prior
from bayes_her2.data import HR_STATUS
from bayes_her2.errors import DataError
from bayes_her2.simulation import draw_parameters

pytestmark = pytest.mark.sampling


def test_the_small_fit_passes_the_gate_at_once(small_fit):
    assert small_fit.diagnostics.reasons == ()
    assert small_fit.diagnostics.passed
    assert not small_fit.retried


def test_posterior_in_informed_coordinates_equals_the_plain_non_centred_one(
    small_fit, small_data, monkeypatch
):
    def plain(name, *, mean, sd, dims, coordinates):
        unit = pm.Normal(f"{name}_z", dims=dims)
        return pm.Deterministic(name, mean + sd * unit, dims=dims)

    def plain_typical(name, *, mean, sd, below_sd, dims, coordinates, start):
        return plain(name, mean=mean, sd=sd, dims=dims, coordinates=coordinates)

    monkeypatch.setattr(abundance, "partially_pooled", plain)
    monkeypatch.setattr(abundance, "typical_of", plain_typical)
    graph = abundance.build(small_data, abundance.priors_for(small_data))
    settings = Sampling(chains=4, tune=800, draws=1000, target_accept=0.9, seed=12, cores=2)
    other = sample(graph, settings, progress=False)["posterior"].to_dataset()
    informed = small_fit.posterior
    beyond = []
    compared = 0
    for name in informed.data_vars:
        a, b = informed[name], other[name]
        for statistic in ("mean", "sd"):
            error = np.hypot(
                az.mcse(a.to_dataset(name="x"), method=statistic)["x"],
                az.mcse(b.to_dataset(name="x"), method=statistic)["x"],
            )
            reduce = "mean" if statistic == "mean" else "std"
            gap = np.abs(getattr(a, reduce)(("chain", "draw")) - getattr(b, reduce)(("chain", "draw")))
            z = np.atleast_1d((gap / error).to_numpy())
            compared += z.size
            beyond += [(name, statistic, float(v)) for v in z.ravel() if v > 4.5]
    # |z| > 4.5 has probability 7e-6: with fewer than 300 comparisons, one is a difference.
    assert compared < 300
    assert beyond == []


def test_planted_effects_are_recovered(small_fit, small_data):
    from simulated_studies import small_study

    from bayes_her2.comparison import recovery

    posterior = abundance.estimates(small_fit.estimand_draws, small_data)
    table = recovery(posterior, small_study().truth)
    # All rows rest on 14 planted slopes: 7 modelled parts of 4 cell types, in two strata each.
    assert len(table) > 60
    assert table["covered"].mean() > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 14)
    strong = table[(table["outcome"] == "Plasma cells") & (table["estimand"] == "presence")]
    assert (strong[strong["stratum"] != "HR- over HR+"]["point"] > 1.2).all()


def test_the_planted_differences_between_the_strata_are_recovered(small_fit, small_data):
    from simulated_studies import small_design

    # The study's generator draws the parameters first.
    planted = draw_parameters(np.random.default_rng(7), small_design())
    table = abundance.estimates(small_fit.estimand_draws, small_data).table
    rows = table[table["exposure"] == HR_STATUS].set_index(["estimand", "cohort", "outcome"])
    covered = []
    for cohort, tumours in small_data.tumours.groupby("cohort"):
        negative = (tumours["hr"] == "HR-").to_numpy()
        given = (cohort, tumours["her2_sd"].to_numpy(), negative)
        present, mean = planted.presence_probability(*given), planted.positive_mean(*given)
        for c, name in enumerate(small_design().cell_type_names):
            p, q = present[negative, c][:, None], present[~negative, c][None, :]
            phi = planted.shape(cohort)[c]
            above = stats.f.cdf(mean[negative, c][:, None] / mean[~negative, c][None, :], 2 * phi, 2 * phi)
            greater = (p * (1 - q) + p * q * above + (1 - p) * (1 - q) / 2).mean()
            for estimand, truth in (
                ("probability_greater", greater),
                ("presence_difference", p.mean() - q.mean()),
            ):
                row = rows.loc[(estimand, cohort, name)]
                if row["status"] == "observed":
                    covered.append(row["lower"] <= truth <= row["upper"])
    # 8 probabilities and 6 differences (one cell type is always present), two for each planted shift.
    assert len(covered) == 14
    assert np.mean(covered) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 7)


def test_draws_do_not_depend_on_the_number_of_cores(small_data):
    graph = compiled(abundance.build(small_data, abundance.priors_for(small_data)))
    settings = Sampling(chains=2, tune=50, draws=20, seed=3, cores=1)
    seen: list[tuple[int, int]] = []
    one = sample(graph, settings, progress=lambda *finished: seen.append(finished))["posterior"].to_dataset()
    two = sample(graph, replace(settings, cores=2), progress=False)["posterior"].to_dataset()
    for name in one.data_vars:
        np.testing.assert_array_equal(one[name].to_numpy(), two[name].to_numpy())
    # Progress counts every draw of every chain, warm-up included.
    assert seen[-1] == (2 * 70, 2 * 70)
    assert sorted(seen) == seen


def test_a_fit_survives_the_file_without_loss(small_data, tmp_path):
    # Not the shared fit, which comes from a file itself; what it says of the posterior does not matter.
    few = Sampling(chains=2, tune=50, draws=20, seed=11)
    fit = fit_model("abundance", small_data, sampling=few, progress=False)
    path = tmp_path / "deep" / "abundance.nc"
    fit.to_netcdf(path)
    back = read_fit(path)
    assert [p.name for p in path.parent.iterdir()] == ["abundance.nc"]
    for name in ("model", "sampling", "fingerprint", "fit_hash", "versions", "seconds", "retried"):
        assert getattr(back, name) == getattr(fit, name), name
    assert dict(back.priors) == dict(fit.priors)
    pd.testing.assert_frame_equal(back.diagnostics.table, fit.diagnostics.table)
    assert back.draws["posterior"].to_dataset().identical(fit.posterior)
    assert set(back.estimand_draws) == set(fit.estimand_draws)
    for key, array in fit.estimand_draws.items():
        np.testing.assert_array_equal(back.estimand_draws[key].to_numpy(), array.to_numpy())
        assert {d: list(array[d].to_numpy()) for d in array.dims} == {
            d: list(back.estimand_draws[key][d].to_numpy()) for d in array.dims
        }


def test_a_file_that_is_no_fit_is_named(tmp_path):
    path = tmp_path / "abundance.nc"
    path.write_bytes(b"not a netCDF file")
    with pytest.raises(DataError, match=r"abundance\.nc: not a readable fit .* Delete it and run again"):
        read_fit(path)


def test_hash_of_a_fit_moves_with_what_determines_the_draws(small_data):
    model = load_model("abundance")
    priors = model.priors_for(small_data)
    settings = Sampling(seed=1)
    first = fit_hash(model, small_data, priors, settings)
    assert fit_hash(model, small_data, priors, replace(settings, cores=1)) == first
    assert fit_hash(model, small_data, priors, replace(settings, seed=2)) != first
    tighter = priors | {"presence_slope_mean": Prior("Normal", {"mu": 0, "sigma": 0.3}, "tighter")}
    assert fit_hash(model, small_data, tighter, settings) != first
    abundance_of_one = small_data.abundance.copy()
    abundance_of_one.iloc[0, 0] += 0.01
    assert fit_hash(model, replace(small_data, abundance=abundance_of_one), priors, settings) != first


def test_hash_of_a_fit_covers_the_code_that_its_model_rests_on_and_no_other(monkeypatch, small_data):
    seen: list[set[str]] = []

    def remember(sources):
        seen.append({path.name for path in sources})
        return ""

    monkeypatch.setattr("bayes_her2.bayesian.fit.source_hash", remember)
    for name in ("abundance", "abundance_weibull", "high_abundance", "rank_correlation"):
        model = load_model(name)
        fit_hash(model, small_data, model.priors_for(small_data), Sampling())
    main, weibull, high, ranks = seen
    assert {"fit.py", "abundance.py", "amounts.py", "coordinates.py", "product.py", "diagnostics.py"} <= main
    assert weibull == main | {"abundance_weibull.py"}
    assert "amounts.py" in high  # through the design that both share
    assert not {"map_prior.py", "copula.py", "response.py"} & (main | high)
    assert "abundance.py" not in high
    assert "splines.py" in main  # outside the room of the models, and drawn with
    assert {"copula.py", "ranking.py"} <= ranks
    assert not {"data.py", "estimates.py", "errors.py"} & (main | ranks)


def test_too_few_draws_are_tried_again_with_twice_as_many_and_then_refused(small_data):
    heard: list[tuple[str, ...]] = []
    fit = fit_model(
        "abundance",
        small_data,
        sampling=Sampling(chains=2, tune=100, draws=60, seed=5),
        progress=False,
        on_retry=heard.append,
    )
    assert len(heard) == 1
    assert fit.retried
    assert (fit.sampling.tune, fit.sampling.draws, fit.sampling.target_accept) == (200, 120, 0.95)
    assert not fit.diagnostics.passed
    assert any("bulk ESS" in reason and "at least 1200" in reason for reason in fit.diagnostics.reasons)


def test_zero_shares_and_quantiles_are_replicated(small_fit, small_data):
    graph = abundance.build(small_data, small_fit.priors)
    checks = hurdle_posterior_predictive(graph, small_fit.posterior, small_data, seed=1)
    assert set(checks["statistic"]) == {"zero share", "median of positives", "90 % quantile of positives"}
    # The data come from the model: 95 % intervals hold nearly all of their own statistics.
    assert checks["inside"].mean() > 0.85
    row = checks[
        (checks["cell_type"] == "Neutrophils")
        & (checks["hr"] == "HR+")
        & (checks["statistic"] == "zero share")
    ].iloc[0]
    tumours = small_data.tumours
    index = tumours.index[(tumours["hr"] == "HR+") & (tumours["cohort"] == row["cohort"])]
    assert row["observed"] == pytest.approx((small_data.abundance.loc[index, "Neutrophils"] == 0).mean())


def test_prior_gates_pass_by_default_and_fail_for_an_absurd_prior(small_data):
    priors = abundance.priors_for(small_data)
    gates = hurdle_prior_predictive(abundance.build(small_data, priors), small_data, seed=1)
    assert gates["passed"].all(), gates[~gates["passed"]]
    absurd = priors | {
        "presence_slope_mean": Prior("Normal", {"mu": 0, "sigma": 10}, "vague"),
        "amount_intercept_mean": Prior("Normal", {"mu": 20, "sigma": 0.1}, "in the wrong units"),
    }
    gates = hurdle_prior_predictive(abundance.build(small_data, absurd), small_data, seed=1)
    failed = set(gates.loc[~gates["passed"], "check"])
    assert any("an odds ratio of presence per SD beyond 5-fold" in check for check in failed)
    assert any("mean amounts where present" in check for check in failed)


def test_every_prior_in_the_table_has_a_reason_and_says_whether_it_is_used(small_data):
    priors = abundance.priors_for(small_data)
    graph = abundance.build(small_data, priors)
    table = prior_table(priors, {str(v.name) for v in graph.free_RVs}, abundance.reader_scale).set_index(
        "name"
    )
    assert (table["why"].str.len() > 10).all()
    assert table.loc["presence_slope_between_cohorts_sd", "in_model"]
    assert not table.loc["presence_covariate_mean", "in_model"]
    assert table.loc["presence_slope_mean", "reader_scale"] == "95%: odds ratio 0.38 to 2.7"


@pytest.mark.parametrize("share", [0.1, 0.6], ids=["warming up", "drawing"])
def test_an_interrupt_ends_the_sampler_and_no_part_of_a_posterior_is_returned(share):
    with pm.Model() as graph:
        pm.Normal("x", shape=2_000)
    sent = []

    def interrupt(finished, total):  # in a thread of the sampler
        if finished > share * total and not sent:
            sent.append(finished)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        sample(graph, Sampling(chains=2, tune=5_000, draws=5_000), progress=interrupt)
    assert sent


def test_an_unknown_sampler_is_refused(small_data):
    graph = abundance.build(small_data, abundance.priors_for(small_data))
    with pytest.raises(DataError, match="sampler 'metropolis' is not supported; known: nutpie"):
        sample(graph, Sampling(sampler="metropolis"), progress=False)
