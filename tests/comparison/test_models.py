"""Models compared: against a closed form, in any order of tumours, and refused where there is nothing to compare."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from bayes_her2.comparison.models import (
    Candidate,
    check_comparable,
    compare_models,
    compare_refits,
    conclusions,
    stratified_folds,
)
from bayes_her2.errors import DataError

N, SD, PRIOR_SD = 60, 1.0, 2.0
DRAWS = 4_000
Y = np.random.default_rng(5).normal(0.4, SD, size=N)


def conjugate(prior_mean: float, name: str, *, seed: int = 1, y: np.ndarray = Y) -> Candidate:
    """A normal mean with a normal prior, drawn exactly from its posterior."""
    precision = 1 / PRIOR_SD**2 + len(y) / SD**2
    centre = (prior_mean / PRIOR_SD**2 + y.sum() / SD**2) / precision
    mu = np.random.default_rng(seed).normal(centre, precision**-0.5, size=(4, DRAWS // 4, 1))
    return Candidate(
        name,
        "same tumours",
        "y",
        "length",
        xr.DataArray(
            stats.norm.logpdf(y, mu, SD),
            dims=("chain", "draw", "tumour"),
            coords={"tumour": [f"A/{i}" for i in range(len(y))]},
        ),
    )


def exact_loo(prior_mean: float) -> np.ndarray:
    """Closed form: each y under the posterior predictive of the others."""
    found = []
    for i in range(N):
        others = np.delete(Y, i)
        precision = 1 / PRIOR_SD**2 + len(others) / SD**2
        centre = (prior_mean / PRIOR_SD**2 + others.sum() / SD**2) / precision
        found.append(stats.norm.logpdf(Y[i], centre, np.sqrt(SD**2 + 1 / precision)))
    return np.array(found)


def test_the_comparison_is_that_of_the_closed_form():
    one, two = conjugate(0.0, "near"), conjugate(30.0, "far", seed=2)
    found = compare_models([two, one])
    near, far = exact_loo(0.0), exact_loo(30.0)
    table = found.table.set_index("model")
    assert list(table.index) == ["near", "far"]
    # The Monte Carlo error of the elpd of a model with one parameter at 4,000 draws is about 0.01.
    assert table.loc["near", "elpd"] == pytest.approx(near.sum(), abs=0.05)
    assert table.loc["far", "elpd"] == pytest.approx(far.sum(), abs=0.05)
    assert table.loc["far", "difference"] == pytest.approx((far - near).sum(), abs=0.08)
    assert table.loc["near", "difference"] == 0
    assert table.loc["near", "se"] == pytest.approx(np.sqrt(N) * near.std(), rel=0.01)
    assert table["weight"].sum() == pytest.approx(1)
    assert table.loc["near", "weight"] > 0.9
    assert (table["n_k_high"] == 0).all()
    assert table.loc["near", "p_loo"] == pytest.approx(1.0, abs=0.35)
    np.testing.assert_allclose(found.pointwise["near"], near, atol=0.02)


def test_the_order_of_tumours_and_models_does_not_matter():
    one, two = conjugate(0.0, "near"), conjugate(30.0, "far", seed=2)
    turned = replace(two, log_likelihood=two.log_likelihood.isel(tumour=slice(None, None, -1)))
    first, second = compare_models([one, two]).table, compare_models([turned, one]).table
    pd.testing.assert_frame_equal(first, second, rtol=1e-6)


def test_a_difference_under_four_is_no_difference():
    found = compare_models([conjugate(0.0, "one"), conjugate(0.3, "two", seed=2)])
    assert found.table["reading"].iloc[0] == "predicts best"
    assert "predicts as well as" in found.table["reading"].iloc[1]


def test_tumours_that_leave_one_out_cannot_leave_out_are_counted():
    y = np.append(Y, 400.0)  # so far out that its own removal moves the posterior by many SDs
    one, two = conjugate(0.0, "near", y=y), conjugate(30.0, "far", seed=2, y=y)
    found = compare_models([one, two])
    assert (found.table["n_k_high"] >= 1).all()
    assert "Pareto k above" in found.table["reading"].iloc[0]
    assert found.pointwise["k: near"].idxmax() == f"A/{N}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outcome": "log y"}, "densities of different outcomes"),
        ({"measure": "counts"}, "different measures"),
        ({"fingerprint": "other"}, "same tumours with different values"),
    ],
)
def test_what_is_no_comparison_is_refused_with_the_reason(change, message):
    with pytest.raises(DataError, match=message):
        check_comparable([conjugate(0.0, "one"), replace(conjugate(0.0, "two"), **change)])


def test_other_tumours_are_refused_and_counted():
    fewer = conjugate(0.0, "two")
    fewer = replace(fewer, log_likelihood=fewer.log_likelihood.isel(tumour=slice(10, None)))
    with pytest.raises(DataError, match=r"different tumours \(60 and 50, 50 in both\)"):
        compare_models([conjugate(0.0, "one"), fewer])


def test_a_comparison_needs_two_models_and_each_once():
    one = conjugate(0.0, "one")
    with pytest.raises(DataError, match="at least two models; got one"):
        compare_models([one])
    with pytest.raises(DataError, match="named more than once"):
        compare_models([one, one])


def row(model: str, cell: str, point: float, lower: float, upper: float, **change: str) -> dict[str, object]:
    return {
        "model": model,
        "estimand": "presence",
        "outcome": cell,
        "stratum": "HR+",
        "scope": "pooled",
        "cohort": pd.NA,
        "status": "observed",
        "point": point,
        "lower": lower,
        "upper": upper,
    } | change


def test_conclusions_are_the_sides_of_the_null_on_which_the_intervals_lie():
    table = pd.DataFrame(
        [
            row("main", "a", 1.3, 1.1, 1.5),
            row("main", "b", 1.1, 0.9, 1.3),
            row("main", "c", 0.7, 0.5, 0.9),
            row("main", "d", 0.7, 0.5, 0.9, status="borrowed"),
            row("other", "a", 1.2, 1.01, 1.4),
            row("other", "b", 1.2, 1.01, 1.4),
            row("other", "c", 0.8, 0.6, 1.01),
            row("other", "d", 0.8, 0.6, 1.01, status="borrowed"),
        ]
    )
    found = conclusions(table, "main").set_index("outcome")
    assert list(found.index) == ["a", "b", "c"]
    assert found["main_says"].to_dict() == {"a": "above", "b": "open", "c": "below"}
    assert found["says"].to_dict() == {"a": "above", "b": "above", "c": "open"}
    assert found["changed"].to_dict() == {"a": False, "b": True, "c": True}


def test_folds_have_the_mix_of_the_whole_whatever_the_order_of_rows():
    labels = [f"A/{i}" for i in range(53)] + [f"B/{i}" for i in range(31)]
    tumours = pd.DataFrame(
        {"cohort": ["A"] * 53 + ["B"] * 31, "hr": (["HR+"] * 40 + ["HR-"] * 13) + ["HR+"] * 31}, index=labels
    )
    folds = stratified_folds(tumours, 5, np.random.default_rng(1))
    assert list(folds.index) == labels
    sizes = folds.groupby([tumours["cohort"], tumours["hr"]]).value_counts().unstack()
    assert (sizes.max(axis=1) - sizes.min(axis=1) <= 1).all()
    assert folds.value_counts().max() - folds.value_counts().min() <= 1
    turned = stratified_folds(tumours.iloc[::-1], 5, np.random.default_rng(1))
    pd.testing.assert_series_equal(turned.loc[labels], folds)


@pytest.mark.parametrize("n_folds", [1, 85])
def test_as_many_folds_as_there_are_tumours_at_most(n_folds):
    tumours = pd.DataFrame({"cohort": "A", "hr": "HR+"}, index=[f"A/{i}" for i in range(84)])
    with pytest.raises(DataError, match="from 2 to 84"):
        stratified_folds(tumours, n_folds, np.random.default_rng(1))


def test_refits_are_ranked_by_their_sums_with_paired_errors():
    """Closed form: every tumour left out in turn, which is N-fold cross-validation."""
    elpd = pd.DataFrame({"near": exact_loo(0.0), "far": exact_loo(3.0)})
    table = compare_refits(elpd).set_index("model")
    gap = elpd["far"] - elpd["near"]
    assert table.index[0] == "near"
    assert table.loc["far", "difference"] == pytest.approx(gap.sum())
    assert table.loc["far", "difference_se"] == pytest.approx(np.sqrt(N) * gap.std(ddof=0))
    assert table["weight"].sum() == pytest.approx(1)
