"""Exact K-fold cross-validation equals that of brms on a stored set with the same folds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bayes_her2.models import abundance
from scipy.special import logsumexp

from bayes_her2.bayesian.fit import Sampling, fit_model

REFERENCE = Path(__file__).parents[1] / "reference" / "kfold_brms"


@pytest.mark.slow
@pytest.mark.sampling
def test_five_folds_have_the_log_predictive_densities_of_brms(data_of):
    """Simulated presence and gamma amounts of one cell type in 200 tumours (hurdle.csv, fit by kfold.R).

    The priors of brms are normal with the prior SDs that this model's hierarchy of one cell type implies; they matter
    little beside 160 tumours.
    """
    table = pd.read_csv(REFERENCE / "hurdle.csv", index_col="tumour")
    tumours = pd.DataFrame({"cohort": "A", "hr": "HR+", "her2": table["her2"]})
    data = data_of(tumours, table[["abundance"]].rename(columns={"abundance": "Plasma cells"}))
    data = data.for_model("abundance")
    np.testing.assert_allclose(data.tumours["her2_sd"], table["her2_sd"], rtol=1e-12)
    settings = Sampling(tune=500, draws=1500, target_accept=0.95, seed=6)
    elpd = []
    for fold in sorted(set(table["fold"])):
        out = list(table.index[table["fold"] == fold])
        train = data.subset(list(table.index[table["fold"] != fold]))
        posterior = fit_model(abundance, train, sampling=settings, progress=False).posterior
        values = abundance.log_likelihood(posterior, data, tumours=out).transpose("chain", "draw", "tumour")
        flat = values.to_numpy().reshape(-1, len(out))
        elpd.append(pd.Series(logsumexp(flat, axis=0) - np.log(len(flat)), index=out))
    ours = pd.concat(elpd).loc[table.index]
    theirs = pd.read_csv(REFERENCE / "kfold.csv", index_col="tumour")["elpd"].loc[table.index]
    # Log predictive densities have a Monte Carlo error of about 0.01 in either; the priors' shapes differ.
    assert np.abs(ours - theirs).max() < 0.1
    assert ours.sum() == pytest.approx(theirs.sum(), abs=0.5)
