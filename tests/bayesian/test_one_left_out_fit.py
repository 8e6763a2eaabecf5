"""Importance weights that leave a tumour out, against a fit without it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bayes_her2.models import abundance

from bayes_her2.bayesian.compilation import compiled
from bayes_her2.bayesian.fit import fit_model
from bayes_her2.bayesian.prepared import prepared
from bayes_her2.comparison.one_left_out import influence, weights_of


@pytest.fixture(scope="module")
def weights(small_fit, small_data):
    return weights_of(abundance.log_likelihood(small_fit.posterior, small_data))


def test_the_weights_say_what_a_fit_without_the_tumour_says(small_fit, small_data, weights):
    found = influence(small_fit.estimand_draws, weights, small_data, interval=0.95)
    trusted = found.tumours[found.tumours["pareto_k"] < 0.5]
    tumour = str(
        trusted["tumour"].iloc[0]
    )  # of those whose weights are exact enough, the one that moves most
    graph = abundance.build(small_data, small_fit.priors)
    whole = prepared(graph, compiled(graph))
    other = fit_model(
        "abundance",
        small_data.subset([t for t in small_data.tumours.index if t != tumour]),
        small_fit.priors,
        replace(small_fit.sampling, seed=12),
        progress=False,
        ready=lambda: whole.without([tumour]),
    )
    w = weights.values.sel(tumour=tumour)
    effective = float(1 / (w**2).sum())
    z = []
    for (estimand, scope), draws in small_fit.estimand_draws.items():
        # Averages over tumours are of other tumours without it; coefficients are of the same.
        if scope != "pooled" or estimand not in ("presence", "amount"):
            continue
        own = draws.sel(draw=w["draw"])
        mean = (own * w).sum(("chain", "draw"))
        exact = other.estimand_draws[estimand, scope].mean(("chain", "draw"))
        sd = draws.std(("chain", "draw"))
        both = np.sqrt(1 / effective + 1 / small_fit.diagnostics.table["ess_bulk_min"].min()) * sd
        z.append(((mean - exact) / both).to_numpy().ravel())
    values = np.concatenate(z)
    values = values[np.isfinite(values)]
    moved = abs(float(trusted["largest_shift"].iloc[0])) / np.sqrt(1 / effective + 1 / 1_200)
    assert len(values) >= 12
    assert moved > 5  # what is compared is not nothing
    assert np.abs(values).max() < 4
