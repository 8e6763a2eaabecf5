"""Values as labels."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_her2.labels import as_label


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (3.0, "3"),
        (np.float64(2.0), "2"),
        (2.5, "2.5"),
        (3, "3"),
        ("3.0", "3.0"),
        ("III", "III"),
        (True, "True"),
    ],
)
def test_a_whole_float_is_printed_as_an_integer(value, label):
    assert as_label(value) == label
