"""Draws to Estimates: labels, statuses, and the words beside them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from bayes_her2.models import abundance

from bayes_her2.bayesian.design import structure
from bayes_her2.data import DIFFERENCE, HR_COMPARED, hr_contrast
from bayes_her2.estimates import Rope

STRATA = ["HR+", "HR-", DIFFERENCE]


def planted(data, scope, dims):
    """A different known value in every cell, with 10 draws around it; dims in the order asked for."""
    coords = {"stratum": STRATA, "cell_type": list(data.abundance.columns), "cohort": list(data.cohorts)}
    coords = {d: coords[d] for d in dims}
    shape = [len(coords[d]) for d in dims]
    centre = np.arange(1, 1 + np.prod(shape)).reshape(shape) / 100.0
    spread = np.linspace(-0.045, 0.045, 10).reshape(1, 10, *[1] * len(dims))
    values = xr.DataArray(centre + spread, dims=("chain", "draw", *dims), coords=coords)
    return {("amount", scope): values}, xr.DataArray(centre, dims=dims, coords=coords)


@pytest.mark.parametrize(
    "dims", [("stratum", "cell_type"), ("cell_type", "stratum"), ("cell_type", "cohort", "stratum")]
)
def test_every_row_carries_the_value_planted_under_its_own_label(small_data, dims):
    scope = "cohort" if "cohort" in dims else "pooled"
    draws, centre = planted(small_data, scope, dims)
    table = abundance.estimates(draws, small_data).table
    assert len(table) == centre.size
    for row in table.itertuples():
        label = {"stratum": row.stratum, "cell_type": row.outcome, "cohort": row.cohort}
        expected = float(centre.sel({d: label[d] for d in dims}))
        assert np.log(row.point) == pytest.approx(expected, abs=1e-12), label


def test_counts_beside_a_row_are_those_of_its_tumours(small_data):
    draws, _ = planted(small_data, "cohort", ("stratum", "cell_type", "cohort"))
    table = abundance.estimates(draws, small_data).table
    tumours, abundances = small_data.tumours, small_data.abundance
    for row in table[table["outcome"] == "Neutrophils"].itertuples():
        strata = ["HR+", "HR-"] if row.stratum == DIFFERENCE else [row.stratum]
        own = (tumours["cohort"] == row.cohort) & tumours["hr"].isin(strata)
        assert (row.n, row.n_zero) == (own.sum(), (abundances.loc[own, "Neutrophils"] == 0).sum())


def test_new_cohort_rows_of_one_cohort_are_prior_only(small_data):
    from dataclasses import replace

    kept = small_data.tumours["cohort"] == small_data.cohorts[0]
    one = replace(
        small_data,
        tumours=small_data.tumours[kept],
        abundance=small_data.abundance[kept],
        covariates=small_data.covariates[kept],
        counts=small_data.counts[small_data.counts["cohort"] == small_data.cohorts[0]],
    )
    assert not structure(one).several_cohorts
    draws, _ = planted(one, "new cohort", ("stratum", "cell_type"))
    table = abundance.estimates(draws, one).table
    assert set(table["status"]) == {"prior-only"}
    assert table["s_value"].isna().all()


def test_a_row_of_nan_is_not_estimable_and_says_why(small_data):
    draws, _ = planted(small_data, "pooled", ("stratum", "cell_type"))
    array = draws[("amount", "pooled")]
    presence = {("presence", "pooled"): array.where(array["cell_type"] != "T cells CD8")}
    table = abundance.estimates(presence, small_data).table
    rows = table[table["outcome"] == "T cells CD8"]
    assert set(rows["status"]) == {"not estimable"}
    assert rows["point"].isna().all()
    assert rows["note"].str.contains(r"zeros among \d+ tumours \(10 needed\)").all()


def test_direction_and_equivalence_are_those_of_the_draws(small_data):
    draws, _ = planted(small_data, "pooled", ("stratum", "cell_type"))
    table = abundance.estimates(draws, small_data, rope=Rope((0.9, 1.11))).table
    row = table[(table["outcome"] == small_data.abundance.columns[0]) & (table["stratum"] == "HR+")].iloc[0]
    # draws 0.01 + (-0.045, -0.035, ..., 0.045): six above 0, four below
    assert row["pd"] == pytest.approx(0.6)
    assert row["lfsr"] == pytest.approx(0.4)
    assert row["p_in_rope"] == pytest.approx(1.0)


def test_a_stratum_of_fewer_than_ten_tumours_does_not_make_a_row_observed(small_data):
    from dataclasses import replace

    cohort, other = small_data.cohorts[0], small_data.cohorts[1]
    tumours = small_data.tumours
    few = tumours.index[(tumours["cohort"] == cohort) & (tumours["hr"] == "HR-")][1:]
    counts = small_data.counts.copy()
    counts.loc[(counts["cohort"] == cohort) & (counts["hr"] == "HR-"), ["n", "n_zero"]] = [1, 0]
    thin = replace(
        small_data,
        tumours=tumours.drop(few),
        abundance=small_data.abundance.drop(few),
        covariates=small_data.covariates.drop(few),
        counts=counts,
    )
    draws, _ = planted(thin, "pooled", ("stratum", "cell_type"))
    table = abundance.estimates(draws, thin).table
    own = table[table["outcome"] == "Neutrophils"].set_index("stratum")
    assert own.loc["HR-", "status"] == "borrowed"
    assert f"{cohort} has 1 HR- tumour (10 needed)" in own.loc["HR-", "note"]
    assert own.loc["HR+", "status"] == "observed"
    assert f"{cohort} has 1 HR- tumour (10 needed)" in own.loc[DIFFERENCE, "note"]
    draws, _ = planted(thin, "cohort", ("stratum", "cell_type", "cohort"))
    cohorts = abundance.estimates(draws, thin).table
    rows = cohorts[(cohorts["outcome"] == "Neutrophils") & (cohorts["stratum"] == "HR-")].set_index("cohort")
    assert rows.loc[cohort, "status"] == "borrowed"
    assert rows.loc[other, "status"] == "observed"


def test_comparisons_of_the_strata_are_families_of_the_seed_studys_rule(small_data):
    names, cohorts = list(small_data.abundance.columns), list(small_data.cohorts)
    rng = np.random.default_rng(5)
    values = 0.5 + rng.normal(0.02, 0.03, (2, 200, 1, len(cohorts), len(names)))
    draws = xr.DataArray(
        values,
        dims=("chain", "draw", "stratum", "cohort", "cell_type"),
        coords={"stratum": [HR_COMPARED], "cohort": cohorts, "cell_type": names},
    )
    table = abundance.estimates({("probability_greater", "cohort"): draws}, small_data).table
    rules = small_data.rules.set_index(["cell_type", "cohort"])["rule"]
    expected = [
        hr_contrast("probability_greater", rules[o, c])
        for o, c in zip(table["outcome"], table["cohort"], strict=True)
    ]
    assert table["contrast"].tolist() == expected
    observed = table[table["status"] == "observed"]
    for _, rows in observed.groupby(["cohort", "contrast"]):
        # the surest sign of a family is called at its own false sign rate, the last at the mean of all of them
        assert rows["s_value"].min() == pytest.approx(rows["lfsr"].min())
        assert rows["s_value"].max() == pytest.approx(rows["lfsr"].mean())
