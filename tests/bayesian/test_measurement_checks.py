"""Predictions of the measurement model, and what they show when an indicator is no rising picture of the latent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from measured_tumours import parameters, planted

from bayes_her2.bayesian.measurement import Parameters, indicators, parameters_of
from bayes_her2.bayesian.measurement_checks import identification, measurement_posterior_predictive
from bayes_her2.bayesian.priors import Prior
from bayes_her2.data import IHC_LEVELS, AnalysisSet

N_DRAWS = 400


def posterior_at(p: Parameters, data: AnalysisSet) -> xr.Dataset:
    """Draws that are all the same, on the scale of the standardised measures."""
    seen = indicators(data)
    centred = data.measures - data.measures.groupby(data.tumours["hr"]).transform("mean")
    group = data.tumours["cohort"] + ", " + data.tumours["hr"]
    mean = data.measures.groupby(group).mean().loc[list(seen.groups)].to_numpy().T
    order = [("A, HR+", "A, HR-").index(name) for name in seen.groups]
    coords = {
        "measure": list(seen.measures),
        "group": list(seen.groups),
        "cut": ["0 to 1+", "1+ to 2+"],
        "true_level": list(IHC_LEVELS),
        "read_level": list(IHC_LEVELS),
    }
    values = {
        "measure_mean": (("measure", "group"), mean),
        "sd": (("measure",), centred.std().to_numpy()),
        "reliability": (("measure",), p.reliability),
        "level_reliability": ((), p.level_reliability),
        "cut_points": (("group", "cut"), p.cuts[order]),
        "reader": (("true_level", "read_level"), p.reader),
    }
    return xr.Dataset(
        {
            name: (("chain", "draw", *dims), np.broadcast_to(array, (1, N_DRAWS, *np.shape(array))))
            for name, (dims, array) in values.items()
        },
        coords={"chain": [0], "draw": np.arange(N_DRAWS), **coords},
    )


def checked(data: AnalysisSet) -> pd.DataFrame:
    return measurement_posterior_predictive(None, posterior_at(parameters(), data), data, 1, 0.99)


def test_parameters_are_read_by_label_whatever_the_order_of_dims():
    data = planted(5, n=80, n_cells=2).data.for_model("her2_measurement")
    posterior = posterior_at(parameters(), data)
    turned = posterior.transpose("group", "measure", "read_level", "true_level", "cut", "draw", "chain")
    for one, other in zip(parameters_of(posterior), parameters_of(turned), strict=True):
        assert one == pytest.approx(other)


def test_tumours_of_the_model_lie_inside_its_predictions():
    """99 % intervals: of 5 data sets with 20 statistics each, at least 95 inside (1 outside is expected)."""
    tables = [checked(planted(s, n=800, n_cells=2).data.for_model("her2_measurement")) for s in range(23, 28)]
    assert [len(table) for table in tables] == [20] * 5
    assert sum(table["inside"].sum() for table in tables) >= 95
    table = tables[0]
    assert set(table["hr"]) == {"HR+", "HR-"}
    shares = table[table["statistic"].str.startswith("share read")]
    assert shares.groupby("hr")["observed"].sum().to_numpy() == pytest.approx([1.0, 1.0])


def test_a_bell_over_the_levels_is_seen():
    """Levels that follow the distance from the middle: the measure is lowest at 0 and 2+ would be no higher."""
    made = planted(23, n=800, n_cells=2).data
    z = made.tumours.groupby("hr")["her2"].transform(lambda x: (x - x.mean()) / x.std())
    level = pd.cut(z, [-np.inf, -1.0, 0.2, 1.2, np.inf], labels=["2+", "0", "1+", "0"], ordered=False)
    bell = replace(made, tumours=made.tumours.assign(her2_ihc=level.astype("str")))
    table = checked(bell.for_model("her2_measurement"))
    means = table[
        table["statistic"].str.startswith("mean of those read") & (table["cell_type"] == "ERBB2 mRNA")
    ]
    assert not means["inside"].all()
    assert not means.loc[means["statistic"] == "mean of those read 2+", "inside"].any()


def test_a_posterior_as_wide_as_its_prior_is_called_the_priors():
    data = planted(5, n=80, n_cells=2).data.for_model("her2_measurement")
    rng = np.random.default_rng(1)
    draws = xr.Dataset(
        {
            "reader_misses": (("chain", "draw"), rng.normal(-1.6, 0.5, size=(4, 500))),
            "log_sd": (("chain", "draw", "measure"), rng.normal(0.0, 0.03, size=(4, 500, 2))),
        },
        coords={"measure": list(data.measures.columns)},
    )
    priors = {
        "reader_misses": Prior("Normal", {"mu": -1.6, "sigma": 0.5}, "test"),
        "log_sd": Prior("Normal", {"mu": 0.0, "sigma": 0.25}, "test"),
        "not_in_this_graph": Prior("Normal", {"mu": 0.0, "sigma": 1.0}, "test"),
    }
    table = identification(draws, data, priors, interval=0.95).set_index(["parameter", "of"])
    assert table.loc[("reader_misses", ""), "reading"] == "mostly the prior"
    assert table.loc[("log_sd", "protein 1"), "reading"] == "informed by the data"
    assert table.loc[("log_sd", "protein 1"), "sd_ratio"] == pytest.approx(0.12, abs=0.01)
    assert len(table) == 3
