"""The rank correlation model: its graph against a density written out, known answers, recovery, statuses, errors."""

from __future__ import annotations

from dataclasses import replace

import arviz as az
import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytest
from bayes_her2.models import rank_correlation as model
from pytensor.compile.mode import get_mode
from rank_studies import (
    MEASURE,
    log_density,
    planted_posterior,
    rank_set,
    scores,
    simulated_set,
    unrecorded_set,
)
from scipy import optimize, stats

from bayes_her2.bayesian.copula import correlations, exposure_covariance, rank_design, tied_spearman
from bayes_her2.bayesian.fit import Sampling, fit_model
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.rank_summary import _prior_draws, implied_association
from bayes_her2.comparison import concordance
from bayes_her2.errors import DataError
from bayes_her2.estimates import ALL
from bayes_her2.frequentist import rank_correlation_twin
from bayes_her2.ranking import MAX_TIED, POLARISATION, pairings, support, tie_effect

PLAIN = get_mode("FAST_COMPILE").excluding("fusion")
TWO = {("A", "HR+"): 40, ("A", "HR-"): 30, ("B", "HR+"): 35, ("B", "HR-"): 28}


def two_measures(seed=7):
    return simulated_set(
        seed,
        TWO,
        {"X": [0.3, 0.1], "Y": [-0.2, 0.4]},
        {"X": 0.4},
        between=0.5,
        measures=["ESR1"],
        infiltrate=True,
    )


class Graph:
    """Log prior and log likelihood of the graph at values of its coefficients, by name."""

    def __init__(self, data):
        self.graph = model.build(data, model.priors_for(data))
        free = self.graph.free_RVs
        self._loglik = pytensor.function(free, self.graph.potentials, mode=PLAIN, on_unused_input="ignore")
        z = [t.forward(v, *v.owner.inputs) if (t := self.graph.rvs_to_transforms[v]) else v for v in free]
        self._to_z = pytensor.function(free, z, mode=PLAIN, on_unused_input="ignore")
        self._logp = self.graph.compile_logp(jacobian=False, sum=False, mode=PLAIN)

    def values(self, seed):
        rng = np.random.default_rng(seed)
        found = {}
        for v in self.graph.free_RVs:
            shape = [len(self.graph.coords[d]) for d in self.graph.named_vars_to_dims.get(v.name, ())]
            drawn = rng.normal(0.0, 0.3, size=shape)
            found[v.name] = 0.1 + np.abs(drawn) if v.name.endswith("_sd") else drawn
        return found

    def loglik(self, values):
        return float(sum(self._loglik(*[values[v.name] for v in self.graph.free_RVs])))

    def logprior(self, values):
        z = self._to_z(*[values[v.name] for v in self.graph.free_RVs])
        names = [self.graph.rvs_to_values[v].name for v in self.graph.free_RVs]
        terms = self._logp(dict(zip(names, z, strict=True)))
        wanted = {v.name for v in self.graph.free_RVs}
        pairs = zip([*self.graph.basic_RVs, *self.graph.potentials], terms, strict=True)
        return sum(float(np.sum(t)) for v, t in pairs if v.name in wanted)


def written_out(data, graph, values):
    """The likelihood, group by group and tumour by tumour, from the specification."""
    design = rank_design(data)
    of = {p.name: p for p in pairings(data)}
    cohorts, total = list(graph.graph.coords["cohort"]), 0.0
    covariance = exposure_covariance(
        design, values["measure_log_scale"][None], values.get("measure_association", np.zeros(0))[None]
    )[0]
    for g, group in enumerate(design.groups):
        frame = data.tumours[data.tumours["cohort"] == group.cohort]
        if group.stratum != ALL:
            frame = frame[frame["hr"] == group.stratum]
        pairing = of[group.pairing]
        index = frame.index.intersection(pairing.exposures.index)
        names = list(design.exposures[g])
        values_of = pairing.exposures.loc[index, names].to_numpy(float)
        z = scores(values_of.T).T
        own = covariance[g][: len(names), : len(names)]
        total += stats.multivariate_normal.logpdf(z, np.zeros(len(names)), own).sum()
        for c, outcome in enumerate(design.outcomes):
            if not design.modelled[g, c]:
                continue
            y = pairing.outcomes.loc[index, outcome].to_numpy(float)
            known = ~np.isnan(y)
            fisher = []
            for name in names:
                label = f"{name} (all tumours)" if group.stratum == ALL else name
                value = 0.0
                for term in ("correlation", "difference"):
                    if term == "difference" and group.stratum in (data.reference, ALL):
                        continue
                    own_term = next(
                        t
                        for t in (term, f"{term}_single")
                        if label in graph.graph.coords.get(f"{t}_line", ())
                    )
                    line = list(graph.graph.coords[f"{own_term}_line"]).index(label)
                    by = values.get(f"{own_term}_by_cohort")
                    common = values[own_term][line, c]
                    value += common if by is None else by[cohorts.index(group.cohort), line, c]
                fisher.append(value)
            total += log_density(
                scores(values_of[known].T).T[None],  # ranked among the tumours whose outcome is known
                scores(y[known])[None],
                (y[known] == 0)[None],
                np.array([fisher]),
                values["outcome_log_scale"][g, c][None],
                own[None],
                exposures=False,
            )[0]
    return total


def prior_written_out(graph, values):
    coords, total = graph.graph.coords, 0.0
    sds = {"correlation": (0.4, 0.4, 0.15), "difference": (0.2, 0.2, 0.15)}
    for term, (mean, outcomes, between) in (sds | {f"{t}_single": sd for t, sd in sds.items()}).items():
        if f"{term}_mean" not in values:
            continue
        total += stats.norm.logpdf(values[f"{term}_mean"], 0, mean).sum()
        spread = values[f"{term}_between_outcomes_sd"]
        total += stats.halfnorm.logpdf(spread, scale=outcomes).sum()
        total += stats.norm.logpdf(values[term], values[f"{term}_mean"][:, None], spread[:, None]).sum()
        if f"{term}_by_cohort" in values:
            sd = values[f"{term}_between_cohorts_sd"]
            total += stats.halfnorm.logpdf(sd, scale=between).sum()
            total += stats.norm.logpdf(
                values[f"{term}_by_cohort"], values[term][None], sd[None, :, None]
            ).sum()
    for name in ("measure_log_scale", "measure_association", "outcome_log_scale"):
        if name in values:
            total += stats.norm.logpdf(values[name], 0, 0.5).sum()
    assert coords
    return total


def tied_in_one_group():
    """Two measures, of which ESR1 is 0 in 90 % of the HR- tumours of A."""
    data = two_measures()
    frame = data.tumours[["cohort", "hr", "her2"]].join(data.measures[["ESR1"]]).join(data.infiltrate)
    own = frame.index[(frame["cohort"] == "A") & (frame["hr"] == "HR-")]
    frame.loc[own[:27], "ESR1"] = 0.0
    return rank_set(frame, data.abundance, ["ESR1"], "tils")


SETS = {
    "a measure tied in one group": tied_in_one_group,
    "two cohorts, two measures, infiltrate": two_measures,
    "three measures": lambda: simulated_set(
        3,
        {("A", "HR+"): 40, ("A", "HR-"): 30},
        {"X": [0.3, 0.1, 0.0]},
        {"X": 0.3},
        measures=["ESR1", "PGR"],
        between=0.4,
    ),
    "one stratum": lambda: simulated_set(
        4, {("A", "HR+"): 40, ("B", "HR+"): 30}, {"X": [0.3], "Y": [0.0]}, {"X": 0.5}
    ),
    "HR- in one cohort": lambda: simulated_set(
        5, {("A", "HR+"): 40, ("A", "HR-"): 30, ("B", "HR+"): 30}, {"X": [0.3], "Y": [0.0]}, {"X": 0.5}
    ),
}


@pytest.fixture(scope="module")
def graph_of():
    made = {}

    def get(name):
        if name not in made:
            data = SETS[name]()
            made[name] = (data, Graph(data))
        return made[name]

    return get


@pytest.mark.parametrize("name", SETS)
def test_the_log_density_is_the_one_written_out(name, graph_of):
    data, graph = graph_of(name)
    one, two = graph.values(1), graph.values(2)
    # Sums leave out constants such as log 2 pi: differences between two points are compared.
    expected = written_out(data, graph, one) - written_out(data, graph, two)
    assert graph.loglik(one) - graph.loglik(two) == pytest.approx(expected, rel=1e-9)
    for values in (one, two):
        assert graph.logprior(values) == pytest.approx(prior_written_out(graph, values), rel=1e-7)


def test_terms_vary_between_cohorts_only_where_two_inform_them(graph_of):
    names = {name: {v.name for v in graph_of(name)[1].graph.free_RVs} for name in SETS}
    assert "difference_between_cohorts_sd" in names["two cohorts, two measures, infiltrate"]
    assert "correlation_between_cohorts_sd" not in names["three measures"]
    assert {"difference", "difference_by_cohort"} & names["one stratum"] == set()
    assert "difference" in names["HR- in one cohort"]
    assert "difference_between_cohorts_sd" not in names["HR- in one cohort"]


def test_order_of_rows_cohorts_and_measures_does_not_matter(graph_of):
    data, graph = graph_of("three measures")
    order = np.random.default_rng(1).permutation(len(data.tumours))
    labels = data.tumours.index[order]
    moved = replace(
        data,
        tumours=data.tumours.loc[labels],
        abundance=data.abundance.loc[labels],
        measures=data.measures.loc[labels, [MEASURE, "PGR", "ESR1"]],
        infiltrate=data.infiltrate.loc[labels],
    )
    values = graph.values(1)
    assert Graph(moved).loglik(values) == pytest.approx(graph.loglik(values), rel=1e-10)
    assert moved.fingerprint == data.fingerprint


def test_names_of_cohorts_do_not_matter(graph_of):
    data, graph = graph_of("HR- in one cohort")
    renamed = replace(
        data,
        tumours=data.tumours.assign(cohort=data.tumours["cohort"].map({"A": "Z", "B": "Y"})),
        counts=data.counts.assign(cohort=data.counts["cohort"].map({"A": "Z", "B": "Y"})),
    )
    other = Graph(renamed)
    values = graph.values(3)
    turned = dict(values) | {"correlation_by_cohort": values["correlation_by_cohort"][::-1]}
    groups = [label.replace("Z", "A").replace("Y", "B") for label in other.graph.coords["group"]]
    place = [list(graph.graph.coords["group"]).index(label) for label in groups]
    turned["outcome_log_scale"] = values["outcome_log_scale"][place]
    turned["measure_log_scale"] = values["measure_log_scale"][place]
    assert other.loglik(turned) == pytest.approx(graph.loglik(values), rel=1e-10)


# --- known answers, from posteriors ------------------------------------------------------------------

PLANTED = {
    "Null": {"HR+": [0.0, 0.0], "HR-": [0.0, 0.0]},
    "Same": {"HR+": [0.5, 0.2], "HR-": [0.5, 0.2]},
    "Differs": {"HR+": [0.4, 0.4], "HR-": [-0.3, 0.1]},
    "Zeros": {"HR+": [-0.5, -0.1], "HR-": [-0.4, -0.1]},
    "Rare": {"HR+": [0.2, 0.0], "HR-": [0.2, 0.0]},
}
FAST = Sampling(chains=4, tune=400, draws=1000, target_accept=0.85, cores=2, seed=4)


@pytest.fixture(scope="session")
def fitted():
    """Two cohorts, HR- in both, one of them with 8 HR- tumours; two measures; zeros of 40 % and of 90 %."""
    sizes = {("A", "HR+"): 400, ("A", "HR-"): 300, ("B", "HR+"): 300, ("B", "HR-"): 8, ("C", "HR+"): 80}
    shares = {"Zeros": 0.4, "Rare": 0.9}
    data = simulated_set(31, sizes, PLANTED, shares, between=0.5, measures=["ESR1"], infiltrate=True)
    fit = fit_model(model, data, None, FAST, progress=False)
    return data, fit, model.estimates(fit.estimand_draws, data)


def row(estimates, **where):
    rows = estimates.select(**where)
    assert len(rows) == 1, where
    return rows.iloc[0]


@pytest.mark.sampling
def test_the_fit_passes_the_gate(fitted):
    _, fit, _ = fitted
    assert fit.diagnostics.passed, fit.diagnostics.reasons
    assert not fit.retried


@pytest.mark.sampling
def test_planted_correlations_are_recovered(fitted):
    _, _, estimates = fitted
    inside, n = 0, 0
    for cell_type, by in PLANTED.items():
        for stratum, values in by.items():
            for exposure, rho in zip((MEASURE, "ESR1"), values, strict=True):
                if cell_type == "Rare":
                    continue
                found = row(
                    estimates,
                    outcome=cell_type,
                    exposure=exposure,
                    stratum=stratum,
                    scope="cohort",
                    cohort="A",
                    estimand="latent_spearman",
                )
                truth = 6 / np.pi * np.arcsin(rho / 2)
                inside, n = inside + (found["lower"] <= truth <= found["upper"]), n + 1
                assert found["point"] == pytest.approx(truth, abs=0.17)
    # 16 intervals of 95 %: fewer than 13 inside has a probability under 1 %.
    assert n == 16
    assert inside >= 13


@pytest.mark.sampling
def test_the_difference_between_strata_is_found_and_its_absence_too(fitted):
    _, _, estimates = fitted
    where = {
        "exposure": MEASURE,
        "scope": "pooled",
        "estimand": "spearman_difference",
        "stratum": "HR- minus HR+",
    }
    found = row(estimates, outcome="Differs", **where)
    assert found["upper"] < -0.3
    same = row(estimates, outcome="Same", **where)
    assert same["lower"] < 0 < same["upper"]


@pytest.mark.sampling
def test_the_stronger_measure_is_found_on_the_same_tumours(fitted):
    _, fit, estimates = fitted
    where = {"exposure": f"{MEASURE} against ESR1", "estimand": "strength_difference", "scope": "pooled"}
    assert row(estimates, outcome="Same", stratum="HR+", **where)["lower"] > 0
    draws = fit.estimand_draws["spearman", "cohort"].sel(outcome="Same", stratum="HR+", cohort="A")
    one, other = draws.sel(exposure=MEASURE), draws.sel(exposure="ESR1")
    # The measures are correlated by 0.5, so are the errors of their correlations: the difference knows it.
    assert float(np.corrcoef(one.to_numpy().ravel(), other.to_numpy().ravel())[0, 1]) > 0.2
    table = model.tables(fit.posterior, fit.estimand_draws, fitted[0], model.PRIORS, interval=0.95)[
        "comparison"
    ]
    stronger = table.query("outcome == 'Same' and stratum == 'HR+' and scope == 'pooled'")
    assert float(stronger["probability_stronger"].iloc[0]) > 0.99


@pytest.mark.sampling
def test_statuses_say_what_stands_behind_a_row(fitted):
    _, _, estimates = fitted
    where = {"exposure": MEASURE, "estimand": "spearman"}
    few = row(estimates, outcome="Same", stratum="HR-", scope="cohort", cohort="B", **where)
    assert few["status"] == "not estimable"
    assert "8 tumours: fewer than 10" in few["note"]
    assert np.isnan(few["point"])
    ties = row(estimates, outcome="Rare", stratum="HR+", scope="pooled", **where)
    assert ties["status"] == "not estimable"
    assert "ties beyond 80%" in ties["note"]
    lent = row(estimates, outcome="Same", stratum="HR-", scope="cohort", cohort="C", **where)
    assert lent["status"] == "borrowed"
    pooled = row(estimates, outcome="Same", stratum="HR-", scope="pooled", **where)
    assert pooled["status"] == "borrowed"
    assert "rests on A" in pooled["note"]
    assert row(estimates, outcome="Same", stratum="HR+", scope="pooled", **where)["status"] == "observed"
    assert (
        row(estimates, outcome="Same", stratum="HR-", scope="new cohort", **where)["status"] == "prior-only"
    )
    assert row(estimates, outcome="Same", stratum="HR+", scope="new cohort", **where)["status"] == "observed"


@pytest.mark.sampling
def test_the_twin_matches_row_by_row(fitted):
    data, _, estimates = fitted
    both = concordance(estimates, rank_correlation_twin(data))
    observed = both[
        (both["scope"] == "cohort") & (both["status"] == "observed") & (both["estimand"] == "spearman")
    ]
    assert set(observed["stratum"]) == {"HR+", "HR-", ALL}
    assert not (observed["verdict"] == "not estimable").any()
    assert (observed["posterior_point"] - observed["twin_point"]).abs().max() < 0.12
    assert set(both["estimand"]) == {"spearman", "spearman_difference", "strength_difference"}


@pytest.mark.sampling
def test_the_infiltrate_is_an_outcome_of_the_measures_and_an_exposure_of_the_cell_types(fitted):
    data, _, estimates = fitted
    known = int(data.infiltrate["tils"].notna().sum())
    as_outcome = row(
        estimates, outcome="tils", exposure=MEASURE, stratum=ALL, scope="pooled", estimand="spearman"
    )
    assert 0 < as_outcome["n"] == known
    as_exposure = row(
        estimates, outcome="Same", exposure="tils", stratum=ALL, scope="pooled", estimand="spearman"
    )
    assert as_exposure["lower"] > 0
    assert not len(estimates.select(outcome="tils", exposure="tils"))


@pytest.mark.sampling
def test_tables_hold_no_tumour_names(fitted):
    data, fit, _ = fitted
    tables = model.tables(fit.posterior, fit.estimand_draws, data, model.PRIORS, interval=0.95)
    assert set(tables) == {"strength", "matrix", "heterogeneity", "comparison", "scatter", "scatter_lines"}
    assert set(tables["scatter"].columns) == {"exposure", "stratum", "x", "y"}
    shares = tables["strength"].filter(like="probability_").sum(axis=1)
    assert shares.to_numpy() == pytest.approx(1.0)
    matrix = tables["matrix"]
    assert set(matrix["basis"]) == {"posterior", "sample"}
    assert matrix["spearman"].dropna().between(-1, 1).all()


@pytest.mark.sampling
def test_predictive_checks_and_prior_checks(fitted):
    data, fit, _ = fitted
    graph = model.build(data, model.PRIORS)
    prior = model.prior_checks(graph, data, 1)
    assert prior["passed"].all()
    checks = model.predictive_checks(graph, fit.posterior, data, 1, 0.95)
    assert checks["inside"].mean() > 0.8


@pytest.mark.sampling
@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_without_zeros_the_posterior_agrees_with_normal_scores_and_with_spearman(rho):
    # One cell type: with several the posterior is pulled towards their mean, at n = 500 by 1 to 2 % of the distance.
    data = simulated_set(8, {("A", "HR+"): 500}, {"X": [rho]})
    fit = fit_model(model, data, None, FAST, progress=False)
    draws = fit.estimand_draws["latent_spearman", "cohort"]
    draws = draws.sel(stratum="HR+", cohort="A", exposure=MEASURE, outcome="X")
    draws = draws.transpose("chain", "draw").to_numpy()
    y = data.abundance["X"].to_numpy(float)
    normal_scores = np.corrcoef(scores(data.tumours["her2"].to_numpy(float)), scores(y))[0, 1]
    # At 0.6 the posterior mean is 0.0047 under the normal scores' correlation (Monte Carlo error 0.0002, 40,000 draws):
    # the known answer, within 0.005, holds, and these draws know their mean to about 0.0004.
    latent = 2.0 * np.sin(np.pi / 6.0 * draws)
    error = float(az.mcse(latent, method="mean"))
    assert error < 0.001
    assert float(latent.mean()) == pytest.approx(normal_scores, abs=0.005 + 3 * error)
    spearman = stats.spearmanr(data.tumours["her2"], y).statistic
    assert float(draws.mean()) == pytest.approx(spearman, abs=0.04)


# --- what is ranked, and bad input -------------------------------------------------------------------


def tumours(n=40, seed=1):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"cohort": "A", "hr": ["HR+", "HR-"] * (n // 2), "her2": rng.normal(size=n)})
    frame.index = pd.Index([f"A/{i:03d}" for i in range(n)], name="tumour")
    return frame.astype({"cohort": "str", "hr": "str"}), rng


def test_the_ratio_is_zero_without_m1_highest_without_m2_and_undefined_without_both():
    frame, rng = tumours()
    abundance = pd.DataFrame(
        {"Macrophages M1": rng.gamma(2, 0.1, 40), "Macrophages M2": rng.gamma(2, 0.1, 40)}, index=frame.index
    )
    abundance.loc["A/000", "Macrophages M1"] = 0.0
    abundance.loc[["A/001", "A/003"], "Macrophages M2"] = 0.0
    abundance.loc["A/004"] = 0.0
    data = rank_set(frame, abundance)
    ratio = pairings(data)[0].outcomes[POLARISATION]
    assert ratio["A/000"] == 0.0
    assert np.isnan(ratio["A/004"])
    # Without M2 alone the ratio is above every other: the two tumours share ranks 38 and 39 of 39.
    assert ratio.rank()["A/001"] == ratio.rank()["A/003"] == 38.5
    table = support(data, pairings(data)[0]).query("outcome == @POLARISATION").set_index("stratum")
    assert table.at["HR+", "undefined"] == "1 tumour with neither M1 nor M2: no ratio"
    assert table.loc["all", ["n", "n_zero"]].tolist() == [39, 1]
    twin = rank_correlation_twin(data).select(outcome=POLARISATION, stratum="all", scope="cohort")
    expected = stats.spearmanr(frame["her2"].drop("A/004"), ratio.drop("A/004")).statistic
    assert twin["point"].to_numpy() == pytest.approx(expected)
    assert twin["note"].str.contains("neither M1 nor M2").any()
    matrix = model.tables(
        planted_posterior(data),
        model.estimand_draws(planted_posterior(data), data, model.PRIORS, np.random.default_rng(1)),
        data,
        model.PRIORS,
        interval=0.95,
    )["matrix"]
    pair = {POLARISATION, "Macrophages M1"}
    cell = matrix[[{r, c} == pair for r, c in zip(matrix["row"], matrix["column"], strict=True)]]
    assert cell.set_index("stratum").at["HR-", "n"] == 20  # the infinite ratio takes part
    expected = abundance.at["A/002", "Macrophages M1"] / abundance.at["A/002", "Macrophages M2"]
    assert ratio["A/002"] == pytest.approx(expected)


def test_ties_beyond_80_percent_and_small_groups_are_named():
    frame, rng = tumours()
    abundance = pd.DataFrame({"X": rng.gamma(2, 0.1, 40), "Y": rng.gamma(2, 0.1, 40)}, index=frame.index)
    positive = frame.index[frame["hr"] == "HR+"]
    abundance.loc[positive[:17], "Y"] = 0.0  # 85 % of 20
    data = rank_set(frame, abundance)
    table = support(data, pairings(data)[0]).set_index(["outcome", "stratum"])
    assert "85% of 20 tumours share one value: ties beyond 80%" in table.at[("Y", "HR+"), "reason"]
    assert table.at[("X", "HR+"), "reason"] == ""
    assert MAX_TIED == 0.8
    few = rank_set(frame.iloc[:28].drop(frame.index[1:10:2]), abundance.iloc[:28].drop(frame.index[1:10:2]))
    reasons = set(support(few, pairings(few)[0]).query("stratum == 'HR-'")["reason"])
    assert reasons == {"9 tumours: fewer than 10"}


def test_positives_are_counted():
    frame, rng = tumours(24)
    abundance = pd.DataFrame({"X": rng.gamma(2, 0.1, 24), "Y": rng.gamma(2, 0.1, 24)}, index=frame.index)
    abundance.loc[frame.index[frame["hr"] == "HR+"][:3], "Y"] = 0.0
    data = rank_set(frame, abundance)
    table = support(data, pairings(data)[0]).set_index(["outcome", "stratum"])
    assert table.at[("Y", "HR+"), "reason"] == "9 positives: fewer than 10"


def test_measures_that_rank_alike_are_refused():
    frame, rng = tumours()
    frame["ESR1"] = np.exp(frame["her2"])
    data = rank_set(frame, pd.DataFrame({"X": rng.gamma(2, 0.1, 40)}, index=frame.index), ["ESR1"])
    with pytest.raises(
        DataError, match=r"measures ERBB2 mRNA and ESR1 rank the tumours alike.*Leave one of them out"
    ):
        rank_design(data)


def test_a_constant_measure_is_left_out_and_the_others_stay():
    frame, rng = tumours()
    frame["ESR1"] = 1.0
    data = rank_set(frame, pd.DataFrame({"X": rng.gamma(2, 0.1, 40)}, index=frame.index), ["ESR1"])
    reasons = support(data, pairings(data)[0]).groupby("exposure")["reason"].agg(set)
    assert any("ESR1: 100% of 40 tumours share one value" in r for r in reasons["ESR1"])
    assert reasons[MEASURE] == {""}
    design = rank_design(data)
    assert set(design.exposures) == {(MEASURE,)}
    assert design.line("ESR1", overall=True) is None
    rows = estimates_of(data)
    where = {"outcome": "X", "estimand": "spearman", "stratum": "HR+", "scope": "pooled"}
    assert row(rows, exposure=MEASURE, **where)["status"] == "observed"
    gone = row(rows, exposure="ESR1", **where)
    assert gone["status"] == "not estimable"
    assert "ESR1: 100% of 20 tumours share one value" in gone["note"]


def test_constant_measures_leave_nothing_to_rank():
    frame, rng = tumours()
    frame["her2"] = frame["her2"].where(np.arange(40) < 6, 0.0)
    data = rank_set(frame, pd.DataFrame({"X": rng.gamma(2, 0.1, 40)}, index=frame.index))
    with pytest.raises(DataError, match="no cohort has a stratum with 10 tumours"):
        model.build(data, model.PRIORS)


def test_a_measure_named_like_an_outcome_is_refused():
    frame, rng = tumours()
    frame["X"] = rng.normal(size=40)
    data = rank_set(frame, pd.DataFrame({"X": rng.gamma(2, 0.1, 40)}, index=frame.index), ["X"])
    with pytest.raises(DataError, match="X is both an exposure and an outcome"):
        pairings(data)


# --- what stands behind a row, and the priors, from draws that are planted -----------------------------


def estimates_of(data):
    draws = model.estimand_draws(planted_posterior(data), data, model.PRIORS, np.random.default_rng(1))
    return model.estimates(draws, data)


def test_a_pooled_difference_over_different_cohorts_is_borrowed():
    data = SETS["HR- in one cohort"]()
    rows = estimates_of(data)
    where = {"exposure": MEASURE, "outcome": "X", "estimand": "spearman_difference"}
    pooled = row(rows, scope="pooled", **where)
    assert pooled["status"] == "borrowed"
    assert pooled["note"] == "the two strata are averaged over different cohorts: only A has both"
    assert row(rows, scope="cohort", cohort="A", **where)["status"] == "observed"
    verdicts = concordance(rows, rank_correlation_twin(data)).query("estimand == 'spearman_difference'")
    assert set(verdicts.query("scope == 'pooled'")["verdict"]) == {"not compared"}
    both = estimates_of(two_measures())
    assert row(both, scope="pooled", **where)["status"] == "observed"


def test_what_a_cohort_does_not_record_is_not_borrowed():
    rows = estimates_of(unrecorded_set())
    for pair in ({"exposure": "tils", "outcome": "X"}, {"exposure": MEASURE, "outcome": "tils"}):
        for stratum in ("HR+", "HR-", ALL):
            found = row(rows, scope="cohort", cohort="B", stratum=stratum, estimand="spearman", **pair)
            assert found["status"] == "not estimable"
            assert found["note"] == f"{stratum}: tils is not recorded"
            assert np.isnan(found["point"])
    # B has no HR- tumours: what it does record is still taken from A.
    lent = row(
        rows, exposure=MEASURE, outcome="X", stratum="HR-", scope="cohort", cohort="B", estimand="spearman"
    )
    assert lent["status"] == "borrowed"
    assert not np.isnan(lent["point"])


def test_tables_carry_the_status():
    data = simulated_set(
        5,
        {("A", "HR+"): 40, ("A", "HR-"): 30, ("B", "HR+"): 30},
        {"X": [0.3, 0.1], "Y": [0.0, 0.2]},
        measures=["ESR1"],
        between=0.3,
    )
    posterior = planted_posterior(data)
    draws = model.estimand_draws(posterior, data, model.PRIORS, np.random.default_rng(1))
    tables = model.tables(posterior, draws, data, model.PRIORS, interval=0.95)
    own = model.estimates(draws, data).table
    matrix = tables["matrix"].query("basis == 'posterior'")
    assert set(matrix.query("stratum == 'HR-'")["status"]) == {"borrowed"}
    assert matrix.query("stratum == 'HR-'")["n"].isna().all()
    assert set(matrix.query("stratum == 'HR+'")["status"]) == {"observed"}
    assert set(matrix.query("stratum == 'HR+'")["n"]) == {70}
    for table, estimand, key in (
        ("strength", "spearman", "exposure"),
        ("comparison", "strength_difference", None),
    ):
        made = tables[table]
        exposure = made[key] if key else made["measure"] + " against " + made["other"]
        keys = ["outcome", "exposure", "stratum", "scope", "cohort"]
        known = own[own["estimand"] == estimand].set_index(keys)["status"]
        found = made.assign(exposure=exposure).set_index(keys)["status"]
        assert (found == known.loc[found.index]).all()
        assert "borrowed" in set(found)


def test_an_exact_zero_is_a_floor_only_where_nothing_is_negative():
    frame, rng = tumours()
    frame["tils"] = rng.normal(size=40)
    frame.loc[frame.index[:12], "tils"] = 0.0  # a log of one
    abundance = pd.DataFrame({"X": rng.gamma(2, 0.1, 40)}, index=frame.index)
    data = rank_set(frame, abundance, infiltrate="tils")
    design = rank_design(data)
    c = design.outcomes.index("tils")
    g = next(k for k, x in enumerate(design.groups) if (x.pairing, x.stratum) == ("measures", ALL))
    assert (design.n_positive[g, c], design.zero_share[g, c]) == (40, 0.0)
    table = support(data, pairings(data)[0]).query("outcome == 'tils'")
    assert (table["n_zero"] == 0).all()
    frame["tils"] = frame["tils"].abs()
    floor = rank_design(rank_set(frame, abundance, infiltrate="tils"))
    assert (floor.n_positive[g, c], floor.zero_share[g, c]) == (28, 0.3)


@pytest.mark.parametrize("rho", [[0.5], [0.5, 0.3]])
def test_an_outcome_known_in_part_is_correlated_among_its_tumours(rho):
    # The infiltrate is recorded where HER2 is high. Its tumours are the twin's; 2,000 of 8,000.
    names = ["ESR1"] * (len(rho) - 1)
    data = simulated_set(13, {("A", "HR+"): 8_000}, {"X": rho}, measures=names, between=0.2 if names else 0.0)
    frame = data.tumours[["cohort", "hr", "her2"]].join(data.measures[names])
    frame["tils"] = data.abundance["X"].where(frame["her2"] > frame["her2"].quantile(0.75))
    data = rank_set(frame, data.abundance, names, "tils")
    design = rank_design(data)
    g, c = 0, design.outcomes.index("tils")
    n, zz, zy, yy = design.n_positive[g, c], design.zz[g, c], design.zy[g, c], design.yy[g, c]
    assert n == 2_000
    # Mode of the likelihood without zeros: least squares through the origin.
    slope = np.linalg.solve(zz, zy)
    residual = np.sqrt((yy - zy @ slope) / n)
    covariance = zz / n
    sd = np.sqrt(np.diag(covariance))
    v = covariance @ slope / sd / residual
    found = correlations(np.arcsinh(v)[:, None], covariance / np.outer(sd, sd))[:, 0]
    latent = 6 / np.pi * np.arcsin(found / 2)
    twin = rank_correlation_twin(data)
    for m, exposure in enumerate((MEASURE, *names)):
        own = twin.select(
            outcome="tils", exposure=exposure, stratum="HR+", scope="cohort", estimand="spearman"
        ).iloc[0]
        assert own["n"] == 2_000
        # Ranked over all tumours, the HER2 measure's would be off by 0.16 (no intercept, scores above the median).
        assert latent[m] == pytest.approx(own["point"], abs=0.02)


def test_a_tied_measure_is_noted_with_the_size_of_the_effect():
    frame, rng = tumours(200)
    frame["ESR1"] = np.maximum(rng.normal(size=200), 0.5)
    abundance = pd.DataFrame({"X": rng.gamma(2, 0.1, 200), "Y": rng.gamma(2, 0.1, 200)}, index=frame.index)
    abundance.loc[frame.index[:80], "Y"] = 0.0
    rows = estimates_of(rank_set(frame, abundance, ["ESR1"]))
    where = {"estimand": "spearman", "stratum": ALL, "scope": "cohort", "cohort": "A"}
    plain = row(rows, exposure="ESR1", outcome="X", **where)
    assert "tumours share one value of ESR1, which the model takes for continuous" in plain["note"]
    assert plain["note"].endswith("may differ from Spearman's by up to 3%")
    assert row(rows, exposure="ESR1", outcome="Y", **where)["note"].endswith("by up to 10%")
    assert row(rows, exposure=MEASURE, outcome="X", **where)["note"] == ""


@pytest.mark.parametrize(
    ("tied", "zeros", "rho", "says"),
    [(0.3, 0.0, 0.4, "by up to 3%"), (0.5, 0.6, 0.7, "by up to 10%"), (0.5, 0.8, -0.7, "by a fifth or more")],
)
def test_the_size_of_the_effect_of_ties_is_that_of_many_tumours(tied, zeros, rho, says):
    # The copula's likelihood of one measure, maximised over slope and residual SD, against Spearman's rho.
    rng, n = np.random.default_rng(1), 60_000
    x = rng.standard_normal(n)
    y = rho * x + np.sqrt(1 - rho**2) * rng.standard_normal(n)
    x, zero = np.maximum(x, np.quantile(x, tied)), y < np.quantile(y, zeros)
    y = np.where(zero, -9.0, y)
    z, score, share = scores(x), scores(y), zero.mean()
    bound = stats.norm.ppf(share) if share else 0.0

    def loss(p):
        seen = stats.norm.logpdf(score[~zero], p[0] * z[~zero], np.exp(p[1])).sum()
        return -(seen + stats.norm.logcdf((bound - p[0] * z[zero]) / np.exp(p[1])).sum()) / n

    slope, log_sd = optimize.minimize(loss, [rho, -0.2], method="BFGS").x
    v = slope * np.sqrt(z @ z / n) / np.exp(log_sd)
    modelled = float(tied_spearman(np.array(v / np.sqrt(1 + v**2)), np.array(share)))
    off = abs(modelled / stats.spearmanr(x, y).statistic - 1)
    assert tie_effect(tied, zeros) == says
    low, high = {"by up to 3%": (0.01, 0.03), "by up to 10%": (0.05, 0.10)}.get(says, (0.19, 0.30))
    assert low < off < high


def test_prior_checks_are_on_the_correlations_that_the_priors_imply():
    def checks(between, measures):
        data = simulated_set(
            3, {("A", "HR+"): 400}, {"X": [0.2] * (1 + len(measures))}, measures=measures, between=between
        )
        table = model.prior_checks(model.build(data, model.PRIORS), data, 1)
        return table.set_index(table["check"].str.split(" [(]").str[0])["value"]

    name = "prior probability of a correlation beyond 0.8, highest"
    found = [checks(*a)[name] for a in ((0.0, []), (0.5, ["ESR1", "PGR"]), (0.8, ["ESR1", "PGR"]))]
    # v is normal with SD 0.58 on asinh; its correlations by 200,000 draws of their own.
    rng = np.random.default_rng(4)
    for value, (between, m) in zip(found, ((0.0, 1), (0.5, 3), (0.8, 3)), strict=True):
        mean = 0.4 * rng.standard_normal((200_000, m, 1))
        spread = 0.4 * np.abs(rng.standard_normal((200_000, m, 1)))
        fisher = mean + spread * rng.standard_normal((200_000, m, 1))
        r = between + (1 - between) * np.eye(m)
        expected = float((np.abs(correlations(fisher, r)) > 0.8).mean())
        # Three binomial SDs of 1,000 draws, and the highest of up to three measures.
        assert value == pytest.approx(expected, abs=0.025)
    assert found[0] > 0.03 > 0.005 > found[2]


def test_prior_checks_cover_lines_of_one_cohort_and_of_several():
    data = unrecorded_set()
    design = rank_design(data)
    assert {t.name for t in design.terms} >= {"correlation", "correlation_single"}
    drawn = _prior_draws(model.build(data, model.PRIORS), design, 1)
    for g in range(len(design.groups)):
        assert drawn["correlation"][:, g, 0].std() > 0.3
    wide = {"correlation_mean": Prior("Normal", {"mu": 0.0, "sigma": 3.0}, "too wide, for a test")}
    table = model.prior_checks(model.build(data, model.PRIORS | wide), data, 1)
    assert not table["passed"].iloc[0]


def test_the_association_of_measures_is_read_as_their_correlation():
    # By 100,000 draws of B from its priors, with S^(1/2) around it.
    for r, (low, high) in {0.0: (-0.80, 0.79), 0.5: (-0.40, 0.94), 0.9: (0.56, 0.99)}.items():
        found = implied_association(
            r, model.PRIORS["measure_association"], model.PRIORS["measure_log_scale"], 0.95
        )
        assert found == pytest.approx((low, high), abs=0.015)
    text = model.reader_scale("measure_association", model.PRIORS["measure_association"], 0.95)
    assert "where the sample's is 0.9" in text


def test_priors_read_as_correlations():
    for name, prior in model.PRIORS.items():
        assert "95%" in model.reader_scale(name, prior, 0.95)
    assert isinstance(model.build(two_measures(), model.PRIORS), pm.Model)
