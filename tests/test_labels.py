"""One text for one recorded value."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayes_her2.labels import as_label


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (3, "3"),
        (3.0, "3"),
        (np.float64(3.0), "3"),
        ("3.0", "3"),
        (" 3 ", "3"),
        (2.5, "2.5"),
        (-1.0, "-1"),
        (1e17, "100000000000000000"),
        ("III", "III"),
        ("1+", "1+"),
        (True, "True"),
    ],
)
def test_a_value_has_one_label_however_it_is_written(value: object, label: str) -> None:
    assert as_label(value) == label


@pytest.mark.parametrize("value", [None, pd.NA, float("nan")])
def test_a_missing_value_stays_missing(value: object) -> None:
    with pytest.raises(ValueError, match="a missing value has no label"):
        as_label(value)
    assert pd.Series([value, 3.0], dtype=object).map(as_label, na_action="ignore").isna().tolist() == [
        True,
        False,
    ]
