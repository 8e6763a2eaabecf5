"""The rank correlation model: its graph against a density written out, known answers, recovery, statuses, errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytest
from bayes_her2.models import rank_correlation as model
from pytensor.compile.mode import get_mode
from rank_studies import MEASURE, log_density, rank_set, scores, simulated_set
from scipy import stats

from bayes_her2.bayesian.copula import exposure_covariance, rank_design
from bayes_her2.bayesian.fit import Sampling, fit_model
from bayes_her2.comparison import concordance
from bayes_her2.errors import DataError
from bayes_her2.estimates import ALL
from bayes_her2.frequentist import rank_correlation_twin
from bayes_her2.ranking import MAX_TIED, POLARISATION, pairings, support

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
        names = list(pairing.exposures.columns)
        z = np.stack([scores(pairing.exposures.loc[index, n].to_numpy(float)) for n in names], axis=1)
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
                    line = list(graph.graph.coords[f"{term}_line"]).index(label)
                    by = values.get(f"{term}_by_cohort")
                    value += values[term][line, c] if by is None else by[cohorts.index(group.cohort), line, c]
                fisher.append(value)
            total += log_density(
                z[known][None],
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
    for term, (mean, outcomes, between) in {
        "correlation": (0.4, 0.4, 0.15),
        "difference": (0.2, 0.2, 0.15),
    }.items():
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


SETS = {
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
    draws = draws.sel(stratum="HR+", cohort="A", exposure=MEASURE, outcome="X").to_numpy()
    y = data.abundance["X"].to_numpy(float)
    normal_scores = np.corrcoef(scores(data.tumours["her2"].to_numpy(float)), scores(y))[0, 1]
    assert float((2.0 * np.sin(np.pi / 6.0 * draws)).mean()) == pytest.approx(normal_scores, abs=0.005)
    spearman = stats.spearmanr(data.tumours["her2"], y).statistic
    assert float(draws.mean()) == pytest.approx(spearman, abs=0.04)


# --- what is ranked, and bad input -------------------------------------------------------------------


def tumours(n=40, seed=1):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"cohort": "A", "hr": ["HR+", "HR-"] * (n // 2), "her2": rng.normal(size=n)})
    frame.index = pd.Index([f"A/{i:03d}" for i in range(n)], name="tumour")
    return frame.astype({"cohort": "str", "hr": "str"}), rng


def test_the_ratio_is_zero_without_m1_and_undefined_without_m2():
    frame, rng = tumours()
    abundance = pd.DataFrame(
        {"Macrophages M1": rng.gamma(2, 0.1, 40), "Macrophages M2": rng.gamma(2, 0.1, 40)}, index=frame.index
    )
    abundance.loc["A/000", "Macrophages M1"] = 0.0
    abundance.loc["A/001", "Macrophages M2"] = 0.0
    ratio = pairings(rank_set(frame, abundance))[0].outcomes[POLARISATION]
    assert ratio["A/000"] == 0.0
    assert np.isnan(ratio["A/001"])
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


def test_a_constant_measure_leaves_nothing_to_rank():
    frame, rng = tumours()
    frame["ESR1"] = 1.0
    data = rank_set(frame, pd.DataFrame({"X": rng.gamma(2, 0.1, 40)}, index=frame.index), ["ESR1"])
    reasons = set(support(data, pairings(data)[0])["reason"])
    assert any("ESR1: 100% of 40 tumours share one value" in r for r in reasons)
    with pytest.raises(DataError, match="no cohort has a stratum with 10 tumours"):
        model.build(data, model.PRIORS)


def test_a_measure_named_like_an_outcome_is_refused():
    frame, rng = tumours()
    frame["X"] = rng.normal(size=40)
    data = rank_set(frame, pd.DataFrame({"X": rng.gamma(2, 0.1, 40)}, index=frame.index), ["X"])
    with pytest.raises(DataError, match="X is both an exposure and an outcome"):
        pairings(data)


def test_priors_read_as_correlations():
    for name, prior in model.PRIORS.items():
        assert "95%" in model.reader_scale(name, prior, 0.95)
    assert isinstance(model.build(two_measures(), model.PRIORS), pm.Model)
