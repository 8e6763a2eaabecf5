"""The alternatives recover what was planted with their own amounts, and tell these from the main model's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from bayes_her2.models import abundance, abundance_lognormal, abundance_weibull
from simulated_studies import CELL_TYPES, small_study

from bayes_her2.bayesian.fit import Sampling, fit_model
from bayes_her2.comparison.models import Candidate, compare_models
from bayes_her2.data import AnalysisSet
from bayes_her2.simulation.demo import write_study
from bayes_her2.workflow.check import check_study

pytestmark = pytest.mark.sampling

SHAPE = 2.2
SETTINGS = Sampling(chains=4, tune=500, draws=1000, seed=4)


@pytest.fixture(scope="module")
def tumours(tmp_path_factory: pytest.TempPathFactory) -> AnalysisSet:
    return check_study(
        write_study(tmp_path_factory.mktemp("amounts"), small_study(seed=9), seed=9)
    ).prepared.data


def with_amounts(data: AnalysisSet, family, seed: int) -> AnalysisSet:
    """The same tumours and zeros, with amounts drawn from the planted means in another distribution."""
    rng = np.random.default_rng(seed)
    h = data.tumours["her2_sd"].to_numpy()
    other = (data.tumours["hr"] == "HR-").to_numpy(float)
    columns = {}
    for cell in CELL_TYPES:
        slope = cell.amount_slope + cell.amount_interaction * other
        log_mean = cell.log_mean + slope * h + cell.amount_hr * other
        drawn = family.random(rng, log_mean, np.full(len(h), SHAPE), len(h))
        columns[cell.name] = np.where(data.abundance[cell.name] > 0, drawn, 0.0)
    return replace(data, abundance=pd.DataFrame(columns, index=data.tumours.index))


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(abundance_weibull, id="weibull", marks=pytest.mark.slow),
        pytest.param(abundance_lognormal, id="lognormal", marks=pytest.mark.slow),
    ],
)
def test_planted_slopes_and_shapes_are_recovered_and_the_main_model_predicts_less_well(model, tumours):
    data = with_amounts(tumours, model.FAMILY, seed=12)
    fits = {m: fit_model(m, data, sampling=SETTINGS, progress=False) for m in (model, abundance)}
    own = fits[model]
    assert own.diagnostics.passed, own.diagnostics.reasons
    slopes = own.estimand_draws["amount", "pooled"]
    for cell in CELL_TYPES:
        planted = {"HR+": cell.amount_slope, "HR-": cell.amount_slope + cell.amount_interaction}
        for stratum, truth in planted.items():
            draws = slopes.sel(cell_type=cell.name, stratum=stratum)
            # 16 slopes over both models: one of them beyond 4 posterior SDs has a probability of 0.001.
            assert abs(float(draws.mean()) - truth) < 4 * float(draws.std()), (cell.name, stratum)
    shapes = own.posterior["log_shape_by_cohort"]
    z = (shapes.mean(("chain", "draw")) - np.log(SHAPE)) / shapes.std(("chain", "draw"))
    assert float(abs(z).max()) < 4
    compared = compare_models(
        [
            Candidate(
                m.__name__, data.fingerprint, m.OUTCOME, m.MEASURE, m.log_likelihood(fit.posterior, data)
            )
            for m, fit in fits.items()
        ]
    ).table.set_index("model")
    assert compared.index[0] == model.__name__
    assert compared.loc[abundance.__name__, "difference"] < -4
