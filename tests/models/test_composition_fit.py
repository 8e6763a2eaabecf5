"""The composition model recovers what was planted in the amounts before they were divided by their sum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bayes_her2.models import composition
from scipy.special import expit, logit
from simulated_studies import CELL_TYPES, small_study

from bayes_her2.bayesian.fit import Fit, Sampling, fit_model, sample
from bayes_her2.bayesian.scaled_dirichlet import mean_shares
from bayes_her2.data import AnalysisSet
from bayes_her2.simulation.demo import write_study
from bayes_her2.workflow.check import check_study

pytestmark = [pytest.mark.sampling, pytest.mark.slow]

SETTINGS = Sampling(chains=4, tune=500, draws=1000, seed=5)


@pytest.fixture(scope="module")
def tumours(tmp_path_factory: pytest.TempPathFactory) -> AnalysisSet:
    """Tumours whose hurdle-gamma amounts were divided by their sum: exactly the model's composition."""
    data = check_study(
        write_study(tmp_path_factory.mktemp("shares"), small_study(seed=11), seed=11)
    ).prepared.data
    shares = data.abundance.div(data.abundance.sum(axis=1), axis=0)
    return replace(data, abundance=shares, scale="relative")


@pytest.fixture(scope="module")
def fit(tumours: AnalysisSet) -> Fit:
    return fit_model(composition, tumours, sampling=SETTINGS, progress=False)


def planted(stratum: str, term: str) -> np.ndarray:
    other = float(stratum == "HR-")
    return np.array(
        [getattr(c, f"{term}_slope") + other * getattr(c, f"{term}_interaction") for c in CELL_TYPES]
    )


def test_the_fit_passes_its_gates(fit, tumours):
    assert fit.diagnostics.passed, fit.diagnostics.reasons
    assert set(fit.estimand_draws) == {
        (name, scope) for name in composition.ESTIMANDS for scope in ("pooled", "cohort", "new cohort")
    }


def test_planted_contrasts_of_slopes_and_the_shapes_are_recovered(fit):
    names = [c.name for c in CELL_TYPES]
    slope, interaction = (
        fit.posterior[f"amount_{t}"].sel(amount_cell_type=names) for t in ("slope", "interaction")
    )
    for stratum, draws in (("HR+", slope), ("HR-", slope + interaction)):
        truth = planted(stratum, "amount") - planted(stratum, "amount").mean()
        z = (draws.mean(("chain", "draw")) - truth) / draws.std(("chain", "draw"))
        # 8 contrasts and 8 shapes: one beyond 4 posterior SDs has a probability of 0.001.
        assert float(abs(z).max()) < 4, stratum
    shapes = fit.posterior["log_shape_by_cohort"].sel(amount_cell_type=names)
    truth = np.log([c.shape for c in CELL_TYPES])
    z = (shapes.mean(("chain", "draw")) - truth) / shapes.std(("chain", "draw"))
    assert float(abs(z).max()) < 4


def test_overall_and_amount_are_those_of_the_planted_shares(fit, tumours):
    names = [c.name for c in CELL_TYPES]
    shape = np.array([c.shape for c in CELL_TYPES])
    level = np.array([logit(1 - c.zero_share) if 0 < c.zero_share < 1 else np.inf for c in CELL_TYPES])
    for stratum in ("HR+", "HR-"):
        rows = tumours.tumours[tumours.tumours["hr"] == stratum]
        h, other = rows["her2_sd"].to_numpy()[:, None], float(stratum == "HR-")
        base_p = level + other * np.array([c.presence_hr for c in CELL_TYPES])
        base_m = np.array([c.log_mean + other * c.amount_hr for c in CELL_TYPES])
        means = []
        for at in (h, h + 1.0):
            p = expit(base_p + planted(stratum, "presence") * at)
            given, any_present = mean_shares(p, base_m + planted(stratum, "amount") * at, shape)
            means.append((given.mean(axis=0), (p * given / any_present[:, None]).mean(axis=0)))
        for name, one, up in zip(("amount", "overall"), *means, strict=True):
            draws = fit.estimand_draws[name, "pooled"].sel(stratum=stratum, cell_type=names)
            z = (draws.mean(("chain", "draw")) - np.log(up / one)) / draws.std(("chain", "draw"))
            assert float(abs(z).max()) < 4, (name, stratum)


def test_rows_say_what_they_are_and_replications_look_like_the_data(fit, tumours):
    table = composition.estimates(fit.estimand_draws, tumours, interval=0.95).table
    assert set(table["estimand"]) == set(composition.ESTIMANDS)
    assert (table["method"] == "models/composition.py").all()
    never = table[(table["outcome"] == "T cells CD8") & (table["estimand"] == "presence")]
    assert (never["status"] == "not estimable").all()
    drawn = composition.replicate(fit.posterior, tumours, np.random.default_rng(1), max_draws=500)
    zeros, observed = (drawn == 0).mean("tumour"), (tumours.abundance == 0).mean()
    low, high = (zeros.quantile(q, ("chain", "draw")) for q in (0.001, 0.999))
    for cell_type, share in observed.items():
        where = {"cell_type": cell_type}
        assert float(low.sel(where)) <= share <= float(high.sel(where)), cell_type
    likelihood = composition.log_likelihood(fit.posterior, tumours)
    assert likelihood.sizes == {"chain": 4, "draw": 1000, "tumour": len(tumours.tumours)}
    assert np.isfinite(likelihood).all()


def test_predictive_checks_and_tables(fit, tumours):
    graph = composition.build(tumours, fit.priors)
    checks = composition.predictive_checks(graph, fit.posterior, tumours, 1, 0.99)
    assert checks["inside"].mean() > 0.9
    made = composition.tables(fit.posterior, fit.estimand_draws, tumours, fit.priors, interval=0.95)
    assert set(made) == {"heterogeneity", "interaction_sweep", "left_out"}
    assert set(made["interaction_sweep"]["part"]) == {"presence"}
    assert made["left_out"].empty
    words = {n: composition.reader_scale(n, p, 0.95) for n, p in composition.PRIORS.items()}
    assert all(text.startswith("95%") for text in words.values())


@pytest.mark.real_data
def test_tcga_passes_the_gates_of_the_priors_and_can_be_sampled(real_data):
    data = check_study("studies/tcga_brca.toml").sets["abundance"]
    graph = composition.build(data, composition.priors_for(data))
    gates = composition.prior_checks(graph, data, 1)
    assert gates["passed"].all(), gates
    short = Sampling(chains=2, tune=150, draws=50, seed=2)
    drawn = sample(graph, short, progress=False)
    posterior = drawn["posterior"].to_dataset()
    assert np.isfinite(composition.log_likelihood(posterior, data)).all()
    left = composition.tables(posterior, {}, data, composition.priors_for(data), interval=0.95)["left_out"]
    assert set(left["cell_type"]) == {"Eosinophils", "T cells CD4 naive"}
