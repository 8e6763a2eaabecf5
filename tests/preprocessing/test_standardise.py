"""Standardised HER2 and covariates, against hand computation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayes_her2.errors import DataError
from bayes_her2.preprocessing.standardise import covariate_columns, standardise_her2


def series(values: list[object]) -> pd.Series:
    return pd.Series(values, index=[f"t{i}" for i in range(len(values))])


def test_her2_is_per_pooled_within_hr_sd_of_its_platform():
    her2 = series([1.0, 3.0, 5.0, 10.0, 14.0, 100.0, 104.0, 108.0])
    hr = series(["HR+", "HR+", "HR+", "HR-", "HR-", "HR+", "HR+", "HR+"])
    platform = series(["seq"] * 5 + ["array"] * 3)
    her2_sd, scaling = standardise_her2(her2, platform, hr)
    # seq: sums of squares 8 about 3 (2 df) and 8 about 12 (1 df): variance 16 / 3; mean 33 / 5.
    assert scaling.loc["seq", "sd"] == pytest.approx(np.sqrt(16 / 3), rel=1e-14)
    assert scaling.loc["seq", "mean"] == pytest.approx(6.6, rel=1e-14)
    assert scaling.loc["array", "sd"] == pytest.approx(4.0, rel=1e-14)
    assert scaling["n"].to_dict() == {"seq": 5, "array": 3}
    expected = [(v - 6.6) / np.sqrt(16 / 3) for v in her2[:5]] + [-1.0, 0.0, 1.0]
    np.testing.assert_allclose(her2_sd, expected, rtol=1e-13, atol=1e-13)
    assert list(her2_sd.index) == list(her2.index)


def test_the_hr_difference_itself_is_not_taken_out():
    her2, hr = series([0.0, 2.0, 10.0, 12.0]), series(["HR+", "HR+", "HR-", "HR-"])
    her2_sd, scaling = standardise_her2(her2, series(["p"] * 4), hr)
    assert scaling.loc["p", "sd"] == pytest.approx(np.sqrt(2))
    assert her2_sd["t2"] - her2_sd["t0"] == pytest.approx(10 / np.sqrt(2))


def test_a_stratum_of_one_tumour_tells_nothing_about_the_spread():
    her2, hr = series([1.0, 2.0, 3.0, 50.0]), series(["HR+", "HR+", "HR+", "HR-"])
    _, scaling = standardise_her2(her2, series(["p"] * 4), hr)
    assert scaling.loc["p", "sd"] == pytest.approx(1.0)


@pytest.mark.parametrize("value", [0.0, 7.25, 0.1])
def test_a_constant_measure_is_an_error_with_its_place_and_value(value):
    with pytest.raises(
        DataError, match=f"array: the HER2 measure is constant .*value {value:g} in 4 tumours"
    ):
        standardise_her2(
            series([1.0, 2.0, 3.0] + [value] * 4),
            series(["seq"] * 3 + ["array"] * 4),
            series(["HR+"] * 7),
        )


def test_a_measure_constant_within_strata_is_as_bad():
    with pytest.raises(DataError, match="constant within hormone receptor strata"):
        standardise_her2(
            series([1.0, 1.0, 1.0, 2.0, 2.0]), series(["p"] * 5), series(["HR+"] * 3 + ["HR-"] * 2)
        )


def test_too_few_tumours_to_standardise():
    with pytest.raises(DataError, match="p: 3 tumours are too few"):
        standardise_her2(series([1.0, 2.0, 3.0]), series(["p"] * 3), series(["HR+", "HR+", "HR-"]))


def tumours(**columns: list[object]) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    return pd.DataFrame({"cohort": ["A"] * n} | columns, index=[f"A/{i}" for i in range(n)])


def test_a_continuous_covariate_is_centred_and_per_sd():
    table, scaling, notices = covariate_columns(tumours(age=[40.0, 50.0, 60.0, 90.0]), ("age",), batch=False)
    sd = np.sqrt((20**2 + 10**2 + 0 + 30**2) / 3)
    np.testing.assert_allclose(table["age"], np.array([-20.0, -10.0, 0.0, 30.0]) / sd, rtol=1e-14)
    assert scaling.loc["age"].to_dict() == {
        "mean": 60.0,
        "sd": pytest.approx(sd),
        "kind": "continuous, per SD",
    }
    assert notices == ()


def test_a_categorical_covariate_is_centred_indicators_against_its_most_frequent_level():
    table, scaling, _ = covariate_columns(
        tumours(grade=["III", "II", "II", "I", "II"]), ("grade",), batch=False
    )
    assert list(table.columns) == ["grade: I", "grade: III"]
    np.testing.assert_allclose(table["grade: I"], [-0.2, -0.2, -0.2, 0.8, -0.2], atol=1e-15)
    np.testing.assert_allclose(table["grade: III"], [0.8, -0.2, -0.2, -0.2, -0.2], atol=1e-15)
    assert set(scaling["kind"]) == {"indicator (reference II)"}
    assert set(scaling["sd"]) == {1.0}
    assert scaling.loc["grade: I", "mean"] == pytest.approx(0.2)


def test_among_equally_frequent_levels_the_first_is_the_reference():
    table, _, _ = covariate_columns(tumours(site=["b", "a", "b", "a"]), ("site",), batch=False)
    assert list(table.columns) == ["site: b"]


@pytest.mark.parametrize(("value", "n"), [(3.0, 4), (0.1, 7), (0.3, 10), (57.3, 7)])
def test_a_constant_covariate_is_an_error_also_where_rounding_gives_it_a_spread(value, n):
    # pandas gives 0.1 repeated 7 times a standard deviation of 1.5e-17.
    with pytest.raises(DataError, match=f"covariate age: the same value .* in all {n} tumours"):
        covariate_columns(tumours(age=[value] * n), ("age",), batch=False)


def test_a_covariate_with_one_level_is_an_error():
    with pytest.raises(DataError, match=r"covariate grade: only one level \(II\) in all 3 tumours"):
        covariate_columns(tumours(grade=["II"] * 3), ("grade",), batch=False)


def test_a_covariate_that_repeats_another_is_an_error():
    with pytest.raises(DataError, match="some columns repeat others exactly"):
        covariate_columns(
            tumours(age=[1.0, 2.0, 4.0, 5.0], months=[12.0, 24.0, 48.0, 60.0]), ("age", "months"), batch=False
        )


def test_batches_are_indicators_within_their_cohort_centred_there_and_zero_elsewhere():
    frame = tumours(batch=["x", "x", "y", "z", None, None])
    frame["cohort"] = ["A"] * 4 + ["B"] * 2
    table, scaling, notices = covariate_columns(frame, (), batch=True)
    assert list(table.columns) == ["batch in A: y", "batch in A: z"]
    np.testing.assert_allclose(table["batch in A: y"], [-0.25, -0.25, 0.75, -0.25, 0, 0], atol=1e-15)
    assert set(scaling["kind"]) == {"indicator (reference x)"}
    assert notices == ("B: no batch recorded, so no batch term for it.",)


def test_the_batches_of_a_single_cohort_do_not_repeat_its_name():
    table, _, _ = covariate_columns(tumours(batch=["x", "x", "y"]), (), batch=True)
    assert list(table.columns) == ["batch: y"]


def test_without_covariates_there_are_no_columns_and_every_tumour_has_a_row():
    table, scaling, notices = covariate_columns(tumours(age=[1.0, 2.0]), (), batch=False)
    assert table.shape == (2, 0)
    assert scaling.empty
    assert notices == ()
