"""The predictive prior against closed forms, brute force and published examples; what it is worth; robustness."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from response_sets import PCR, response_set
from scipy import stats
from scipy.optimize import brentq
from scipy.special import expit

from bayes_her2.bayesian.map_prior import (
    MAX_DIVERGENCE,
    effective_sample_size,
    information,
    map_prior,
    mixture_prior,
    normal_mixture,
    predictive,
    prior_data_conflict,
)
from bayes_her2.bayesian.priors import NormalMixture, Prior
from bayes_her2.bayesian.study_likelihood import StudyLikelihood, normal_likelihood, two_by_two_likelihood
from bayes_her2.data import EvidenceData
from bayes_her2.errors import DataError
from bayes_her2.evidence.response import seed_study_response
from bayes_her2.evidence.selection import studies_for
from bayes_her2.evidence.table import shipped_evidence

# Articles of the R package RBesT, "RBesT for a Normal Endpoint": placebo arms of six trials in Crohn's disease,
# change in CDAI, sigma 88 (Hueber et al. 2012, doi 10.1136/gutjnl-2011-301668), mean ~ N(0, 88), tau ~ HN(44).
CROHN = {
    "Gastr06": (74, -51), "AIMed07": (166, -49), "NEJM07": (328, -36),
    "Gastr01a": (20, -47), "APhTh04": (25, -90), "Gastr01b": (58, -54),
}  # fmt: skip
# The same, "Getting started with RBesT (binary)": placebo responders of eight trials in ankylosing spondylitis
# (Baeten et al. 2013, doi 10.1016/S0140-6736(13)61134-4), mean ~ N(0, 2) on the logit, tau ~ HN(1) or HN(0.5).
ANKYLOSING = [(107, 23), (44, 12), (51, 19), (39, 9), (139, 39), (20, 6), (78, 9), (35, 10)]
RBEST_DRAWS = 4_000  # 4 chains of (6,000 - 2,000) / 4 kept draws, the package's default


def normal(sigma: float, mu: float = 0.0) -> Prior:
    return Prior("Normal", {"mu": mu, "sigma": sigma}, "of the example")


def binomial_likelihood(name: str, events: int, n: int) -> StudyLikelihood:
    """Of a log odds, its scale being that of the information at the estimate."""
    estimate, scale = math.log(events / (n - events)), math.sqrt(1 / events + 1 / (n - events))
    return StudyLikelihood(name, lambda theta: events * theta - n * np.logaddexp(0.0, theta), estimate, scale)


def half_normal(sigma: float) -> Prior:
    return Prior("HalfNormal", {"sigma": sigma}, "of the example")


@pytest.fixture(scope="module")
def crohn():
    studies = [normal_likelihood(name, y, 88 / math.sqrt(n)) for name, (n, y) in CROHN.items()]
    return predictive(studies, mean_prior=normal(88), tau_prior=half_normal(44))


@pytest.fixture(scope="module")
def ankylosing():
    studies = [binomial_likelihood(str(i), r, n) for i, (n, r) in enumerate(ANKYLOSING)]
    return {s: predictive(studies, mean_prior=normal(2), tau_prior=half_normal(s)) for s in (1.0, 0.5)}


def closed_form(y: np.ndarray, v: np.ndarray, sd0: float, tau_sd: float):
    """The same posterior in one dimension: given tau, the mean and the new effect are normal in closed form."""
    tau = np.linspace(0, 8 * tau_sd, 40_001)
    w = 1 / (v + tau[:, None] ** 2)
    precision = w.sum(axis=1) + sd0**-2
    m = (w @ y) / precision
    log = (
        0.5 * np.log(w).sum(axis=1)
        - 0.5 * np.log(precision)
        - 0.5 * ((w * y**2).sum(axis=1) - m**2 * precision)
    )
    log += stats.halfnorm(scale=tau_sd).logpdf(tau)
    weight = np.exp(log - log.max())
    weight[0] /= 2
    weight /= weight.sum()
    return tau, weight, m, np.sqrt(1 / precision + tau**2)


def test_a_normal_normal_prediction_equals_its_closed_form(crohn):
    y = np.array([y for _, y in CROHN.values()], dtype=float)
    v = np.array([88**2 / n for n, _ in CROHN.values()])
    tau, weight, m, sd = closed_form(y, v, 88, 44)
    mean = weight @ m
    assert crohn.mean == pytest.approx(mean, rel=1e-6)
    assert crohn.sd == pytest.approx(math.sqrt(weight @ (sd**2 + m**2) - mean**2), rel=1e-6)
    assert crohn.tau_moments[0] == pytest.approx(weight @ tau, rel=1e-6)
    for at in (-120.0, -60.0, -50.0, -40.0, 20.0):
        ours = np.interp(at, crohn.at, crohn.density)
        assert ours == pytest.approx(weight @ stats.norm.pdf(at, m, sd), rel=1e-4)
    for q in (0.025, 0.5, 0.975):
        exact = brentq(lambda x, q=q: weight @ stats.norm.cdf(x, m, sd) - q, -400, 300)
        assert crohn.quantile(q) == pytest.approx(exact, abs=0.01)


def test_the_published_example_with_a_normal_endpoint(crohn):
    # Printed: tau 14.3 (SD 9.99); prediction -50 (SD 19.3; -93.1, -48.6, -13.8).
    mc = 4 / math.sqrt(RBEST_DRAWS)
    assert crohn.tau_moments[0] == pytest.approx(14.3, abs=9.99 * mc + 0.05)
    assert crohn.tau_moments[1] == pytest.approx(9.99, abs=9.99 * mc)
    assert crohn.mean == pytest.approx(-50, abs=19.3 * mc + 0.5)
    assert crohn.sd == pytest.approx(19.3, abs=19.3 * mc)
    # A quantile from n draws has SE sqrt(q (1 - q) / n) / density.
    for q, printed in ((0.025, -93.1), (0.5, -48.6), (0.975, -13.8)):
        density = np.interp(crohn.quantile(q), crohn.at, crohn.density)
        assert crohn.quantile(q) == pytest.approx(
            printed, abs=4 * math.sqrt(q * (1 - q) / RBEST_DRAWS) / density
        )


@pytest.mark.parametrize(
    ("tau_sd", "printed"),
    [
        (1.0, {"mean": 0.255, "sd": 0.0864, "quantiles": (0.106, 0.247, 0.461), "tau": (0.387, 0.215)}),
        (0.5, {"mean": 0.259, "sd": 0.0776, "quantiles": (0.129, 0.25, 0.442), "tau": (0.335, 0.172)}),
    ],
)
def test_the_published_example_with_a_binary_endpoint(ankylosing, tau_sd, printed):
    found = ankylosing[tau_sd]
    share, weight = expit(found.at), found.weights
    mean = float(weight @ share)
    mc = 4 / math.sqrt(RBEST_DRAWS)
    assert mean == pytest.approx(printed["mean"], abs=printed["sd"] * mc)
    assert math.sqrt(weight @ (share - mean) ** 2) == pytest.approx(printed["sd"], abs=printed["sd"] * mc)
    assert found.tau_moments[0] == pytest.approx(printed["tau"][0], abs=printed["tau"][1] * mc)
    assert found.tau_moments[1] == pytest.approx(printed["tau"][1], abs=printed["tau"][1] * mc)
    for q, value in zip((0.025, 0.5, 0.975), printed["quantiles"], strict=True):
        at = found.quantile(q)
        density = np.interp(at, found.at, found.density) / (expit(at) * expit(-at))
        assert expit(at) == pytest.approx(value, abs=4 * math.sqrt(q * (1 - q) / RBEST_DRAWS) / density)


def test_a_binomial_prediction_equals_brute_force():
    studies = ANKYLOSING[:3]
    found = predictive(
        [binomial_likelihood(str(i), r, n) for i, (n, r) in enumerate(studies)],
        mean_prior=normal(2), tau_prior=half_normal(0.5),
    )  # fmt: skip
    theta = np.linspace(-6, 4, 2_001)
    mean, tau = (
        np.linspace(-4, 2, 241),
        (np.arange(160) + 0.5) * 0.016,
    )  # midpoints: at no tau is the kernel too narrow
    kernel = stats.norm.pdf(theta[:, None, None], mean[:, None], tau)
    kernel /= kernel.sum(axis=0)
    log = stats.norm.logpdf(mean, 0, 2)[:, None] + stats.halfnorm(scale=0.5).logpdf(tau)
    for n, r in studies:
        log = log + np.log(np.einsum("t,tmv->mv", stats.binom.pmf(r, n, expit(theta)), kernel))
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    assert found.mean_moments[0] == pytest.approx(float((weight * mean[:, None]).sum()), abs=2e-3)
    assert found.tau_moments[0] == pytest.approx(float((weight * tau).sum()), abs=2e-3)
    variance = float((weight * (mean[:, None] ** 2 + tau**2)).sum()) - found.mean**2
    assert found.sd == pytest.approx(math.sqrt(variance), abs=3e-3)


def test_the_likelihood_of_a_two_by_two_table_is_the_noncentral_hypergeometric():
    likelihood = two_by_two_likelihood("seed", 36, 23, 50, 36)
    at = np.array([-1.2, -0.4, 0.0, 0.7])
    expected = [stats.nchypergeom_fisher.logpmf(23, 86, 59, 36, math.exp(t)) for t in at]
    ours = likelihood.log(at)
    assert (ours - ours[0]).tolist() == pytest.approx((np.array(expected) - expected[0]).tolist(), abs=1e-7)
    # Its maximum is the conditional odds ratio, its curvature nearly Woolf's.
    assert likelihood.estimate == pytest.approx(
        math.log(stats.contingency.odds_ratio([[23, 13], [36, 14]], kind="conditional").statistic), abs=1e-4
    )
    assert likelihood.scale == pytest.approx(0.4686, rel=0.02)


def test_a_registry_and_a_zero_cell_have_their_place():
    huge = two_by_two_likelihood("registry", 60_095, 9_812, 39_688, 9_372)
    assert huge.estimate == pytest.approx(-0.4601, abs=1e-4)
    assert huge.scale == pytest.approx(0.01617, rel=1e-3)
    zero = two_by_two_likelihood("zero", 15, 0, 20, 6)
    assert zero.one_sided
    found = predictive([zero], mean_prior=normal(1), tau_prior=half_normal(0.5))
    # By brute force: tau integrated out of the mean, the likelihood on a grid.
    theta = np.linspace(-12, 8, 4_001)
    effect = np.exp(zero.log(theta))
    tau = (np.arange(120) + 0.5) * 0.02
    weight = (
        stats.halfnorm(scale=0.5).pdf(tau)[:, None]
        * stats.norm.pdf(theta, 0, np.sqrt(1 + tau**2)[:, None])
        * effect
    )
    # E[mean | theta, tau] = theta / (1 + tau^2): the mean shares the prior variance of the effect.
    expected = (weight * theta / (1 + tau[:, None] ** 2)).sum() / weight.sum()
    assert found.mean == pytest.approx(expected, abs=2e-3)


def test_the_mixture_is_close_by_its_own_criterion(crohn):
    mixture, divergence = normal_mixture(crohn)
    assert divergence < MAX_DIVERGENCE
    step = crohn.at[1] - crohn.at[0]
    by_hand = np.sum(
        crohn.weights * (np.log(np.maximum(crohn.weights / step, 1e-300)) - mixture.logpdf(crohn.at))
    )
    assert divergence == pytest.approx(by_hand, abs=1e-9)
    assert mixture.mean() == pytest.approx(crohn.mean, abs=1e-3 * crohn.sd)
    assert mixture.std() == pytest.approx(crohn.sd, rel=0.01)
    gap = np.abs(np.cumsum(crohn.weights) - mixture.cdf(crohn.at)).max()
    assert gap < math.sqrt(divergence / 2) + 1e-3  # Pinsker's inequality


# Mixtures that the RBesT articles print, with the effective sample sizes that they print for them.
CROHN_MIXTURE = NormalMixture(
    np.array([0.50104846, 0.41871594, 0.08023561]),
    np.array([-51.42408665, -47.25917128, -55.07086416]),
    np.array([19.04525409, 7.85193726, 44.57325000]),
)


def test_effective_sample_sizes_of_the_published_example():
    size = effective_sample_size(mixture_prior(CROHN_MIXTURE, "printed"), sd_of_one=88)
    assert {name: round(value) for name, value in size.items()} == {"elir": 39, "morita": 89, "moment": 21}
    robust = NormalMixture(
        np.append(0.8 * CROHN_MIXTURE.weights, 0.2),
        np.append(CROHN_MIXTURE.means, -50.0),
        np.append(CROHN_MIXTURE.sds, 88.0),
    )
    assert round(effective_sample_size(mixture_prior(robust, "printed"), sd_of_one=88)["elir"]) == 28


def test_a_normal_prior_is_worth_its_variance():
    size = effective_sample_size(normal(2.0), sd_of_one=10.0)
    assert size["elir"] == pytest.approx(25.0, rel=1e-6)
    assert size["moment"] == pytest.approx(25.0)
    assert size["morita"] == pytest.approx(25.0 * 0.99, rel=1e-6)
    # Information of a mixture by differences of its log density.
    at, h = np.array([-60.0, -45.0, -20.0]), 1e-2
    second = (
        CROHN_MIXTURE.logpdf(at + h) - 2 * CROHN_MIXTURE.logpdf(at) + CROHN_MIXTURE.logpdf(at - h)
    ) / h**2
    assert information(CROHN_MIXTURE, at).tolist() == pytest.approx((-second).tolist(), rel=1e-3, abs=1e-6)


def updated_weights(mixture: NormalMixture, estimate: float, se: float) -> np.ndarray:
    """Posterior weights of the components, given an estimate with a normal likelihood."""
    weights = mixture.weights * stats.norm.pdf(estimate, mixture.means, np.hypot(mixture.sds, se))
    return weights / weights.sum()


def test_elir_is_predictively_consistent():
    # Neuenschwander et al. 2020: the expected size of the posterior after n patients is the prior's plus n.
    mixture = NormalMixture(np.array([0.7, 0.3]), np.array([-0.5, 0.2]), np.array([0.3, 1.0]))
    sigma, n = 4.0, 40
    before = effective_sample_size(mixture_prior(mixture, "x"), sd_of_one=sigma)["elir"]
    se = sigma / math.sqrt(n)
    ys = np.linspace(-6, 6, 601)
    density = NormalMixture(mixture.weights, mixture.means, np.hypot(mixture.sds, se)).pdf(ys)
    after = []
    for y in ys:
        precision = mixture.sds**-2 + se**-2
        posterior = NormalMixture(
            updated_weights(mixture, y, se),
            (mixture.means / mixture.sds**2 + y / se**2) / precision,
            precision**-0.5,
        )
        keep = posterior.weights > 1e-12
        posterior = NormalMixture(
            posterior.weights[keep] / posterior.weights[keep].sum(),
            posterior.means[keep],
            posterior.sds[keep],
        )
        after.append(effective_sample_size(mixture_prior(posterior, "x"), sd_of_one=sigma)["elir"])
    assert float(np.trapezoid(density * np.array(after), ys)) == pytest.approx(before + n, rel=1e-3)


def test_conflict_is_the_tail_of_the_prior_predictive():
    mixture = NormalMixture(np.array([1.0]), np.array([-0.5]), np.array([0.2]))
    informative = mixture_prior(mixture, "x")
    robust = mixture_prior(
        NormalMixture(np.array([0.8, 0.2]), np.array([-0.5, 0.0]), np.array([0.2, 1.0])), "x"
    )
    agree, against = ({"estimate": y, "se": 0.4} for y in (-0.5, 2.0))
    sd = math.hypot(0.2, 0.4)
    assert prior_data_conflict(informative, **against) == pytest.approx(2 * stats.norm.sf(2.5 / sd), rel=1e-9)
    assert prior_data_conflict(informative, **agree) == pytest.approx(1.0)
    assert prior_data_conflict(robust, **against) > prior_data_conflict(informative, **against)


def evidence(rows: dict[str, tuple[float, float]], hr: str = "HR-", doi: str = "10.1000/x") -> EvidenceData:
    studies = pd.DataFrame(
        {
            "hr": hr, "year": 2020, "log_ratio": [y for y, _ in rows.values()], "se": [s for _, s in rows.values()],
            **dict.fromkeys(("n_exposed", "events_exposed", "n_reference", "events_reference"), pd.NA),
            "row_id": list(rows), "overlap_group": list(rows), "setting": "neoadjuvant", "doi": doi, "pmid": "",
            "verified": "source text",
        },
        index=pd.Index(list(rows), name="study"),
    )  # fmt: skip
    return EvidenceData(
        "pathological complete response", "HER2-low", "HER2-0", "odds ratio", "adjusted", "normal", studies
    )


def test_the_order_of_studies_does_not_matter():
    rows = {"A": (-0.3, 0.2), "B": (0.1, 0.3), "C": (-0.6, 0.4)}
    one, other = map_prior(evidence(rows)), map_prior(evidence(dict(reversed(rows.items()))))
    assert one.studies == other.studies == ("A", "B", "C")
    np.testing.assert_allclose(one.target.density, other.target.density, rtol=1e-9, atol=1e-12)
    assert one.as_prior().params == pytest.approx(other.as_prior().params, rel=1e-6)


def test_the_new_data_are_never_in_their_own_prior():
    data = seed_study_response()
    pool = studies_for(
        shipped_evidence(),
        "pathological complete response",
        scale="odds ratio",
        adjustment="crude",
        hr_stratum="HR-",
    )
    assert "Pizzamiglio 2025" in pool.studies.index
    found = map_prior(pool, new=data)
    assert "Pizzamiglio 2025" not in found.studies
    assert any("left out, because it is analysed: 10.1038/s41523-025-00867-z" in n for n in found.notices)
    assert any("mostly the prior's" in n for n in found.notices)
    (crude,) = [n for n in found.notices if "crude" in n]
    assert crude.startswith(
        f"the odds ratios of {', '.join(found.studies)} are crude: patients with HER2-low"
    )
    assert map_prior(pool, leave_out=["Pizzamiglio 2025"]).studies == found.studies


def test_earlier_studies_of_something_else_are_named():
    rows = {"A": (-0.3, 0.2), "B": (0.1, 0.3), "C": (-0.6, 0.4)}
    notices = map_prior(evidence(rows, hr="all"), new=seed_study_response()).notices
    assert "the earlier studies are of all patients, the new data of HR-" in notices
    assert (
        "the earlier odds ratios are adjusted, the new one is not: they estimate different things" in notices
    )
    # Borrowing is by HR stratum: a study of one stratum is like the new data's own, whatever other strata these have.
    both = response_set({(PCR, hr, "all"): (20, 5, 25, 9) for hr in ("HR+", "HR-")})
    assert not [
        n for n in map_prior(evidence(rows), new=both).notices if n.startswith("the earlier studies are of")
    ]
    with pytest.raises(DataError, match="ask for scale = 'odds ratio'"):
        map_prior(replace(evidence(rows), scale="hazard ratio"))


def test_earlier_studies_that_are_second_hand_are_named():
    pool = evidence({"A": (-0.3, 0.2), "B": (0.1, 0.3), "C": (-0.6, 0.4)})
    enough = evidence({name: (-0.3, 0.2) for name in "ABCD"})
    assert map_prior(enough).notices == ()
    pool.studies.loc[["B"], "verified"] = "second-hand"
    assert map_prior(pool).notices[0] == "second-hand, not verified in the source: B"
    assert map_prior(pool).notices[1].startswith("3 studies, fewer than 4: the spread")
    (notice,) = map_prior(pool, leave_out=["B"]).notices
    assert notice.startswith("2 studies, fewer than 4: the spread")


def test_a_study_is_left_out_by_its_whole_doi():
    pool = evidence({"A": (-0.3, 0.2), "B": (0.1, 0.3), "C": (-0.6, 0.4)})
    pool.studies["doi"] = ["10.1000/x", "10.1000/x1", ""]
    data = seed_study_response()
    for citation in (
        "doi 10.1000/X1; doi 10.1000/y",
        "Trial of 2020, https://doi.org/10.1000/x1.",
        "doi:10.1000/x1",
    ):
        assert map_prior(pool, new=replace(data, citation=citation)).studies == ("A", "C")
    assert map_prior(pool, new=replace(data, citation="")).studies == ("A", "B", "C")


def test_faults_of_a_predictive_prior():
    alone = evidence({"A": (-0.3, 0.2)})
    with pytest.raises(
        DataError, match="no earlier study is left of 1, all being the data that are analysed"
    ):
        map_prior(alone, leave_out=["a"])
    both = evidence({"A": (-0.3, 0.2), "B": (0.1, 0.3)})
    both.studies["hr"] = ["HR+", "HR-"]
    with pytest.raises(DataError, match=r"studies of HR\+, HR-; ask for one HR stratum"):
        map_prior(both)
    prior = map_prior(alone)
    with pytest.raises(DataError, match="weight of the vague component: 1; it lies between 0 and 1"):
        prior.robust(vague=normal(1.0), weight=1.0)
    with pytest.raises(ValueError, match="a HalfNormal is no mixture of normals"):
        prior.robust(vague=half_normal(1.0))
    with pytest.raises(DataError, match="at least one earlier study"):
        predictive([])


def test_robustness_costs_patients():
    prior = map_prior(evidence({"A": (-0.3, 0.2), "B": (0.1, 0.3), "C": (-0.6, 0.4)}))
    vague = normal(1.0)
    priors = [
        prior.as_prior(),
        prior.robust(vague=vague, weight=0.2),
        prior.robust(vague=vague, weight=0.5),
        vague,
    ]
    sizes = [effective_sample_size(one, sd_of_one=4.3)["elir"] for one in priors]
    assert sizes == sorted(sizes, reverse=True)
    # Without borrowing: N(0, 1) is worth the variance of one patient.
    assert sizes[-1] == pytest.approx(4.3**2, rel=1e-6)
    robust = prior.robust(vague=vague)
    assert robust.components()[0][-1] == pytest.approx(0.2)
    assert robust.dist == "NormalMixture"
    assert "A, B, C" in robust.why


def test_a_study_likelihood_is_known_where_it_is_tabulated():
    likelihood = two_by_two_likelihood("a", 44, 12, 50, 20)
    at = np.linspace(-2.5, 1.5, 9)
    exact = np.array([stats.nchypergeom_fisher.logpmf(12, 94, 32, 44, math.exp(t)) for t in at])
    ours = likelihood.log(at)
    assert (ours - ours[4]).tolist() == pytest.approx((exact - exact[4]).tolist(), abs=1e-4)
