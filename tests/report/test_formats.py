"""Numbers read the same way everywhere."""

from __future__ import annotations

import math

import pytest

from bayes_her2.errors import DataError
from bayes_her2.report import formats
from bayes_her2.report.load import Estimate


def estimate(**fields: object) -> Estimate:
    blank: dict[str, object] = dict.fromkeys(Estimate.__dataclass_fields__)
    blank |= {"estimand": "overall", "interval_prob": 0.95, "point": 1.0, "lower": 0.9, "upper": 1.1}
    return Estimate(**(blank | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.8249, "0.82"),
        (1.0, "1.00"),
        (0.0999, "0.10"),
        (0.0994, "0.0994"),
        (0.0123, "0.0123"),
        (0.00123, "0.00123"),
        (0.0004, "<0.001"),
        (24.04, "24.04"),
        (99.996, "100"),
        (250.4, "250"),
        (12345.0, "≥1,000"),
        (math.inf, "∞"),
        (None, "–"),
    ],
)
def test_a_ratio_has_two_decimals_or_three_significant_digits(value: float | None, text: str) -> None:
    assert formats.ratio(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0009, "<0.001"),
        (0.001, "0.001"),
        (0.0493, "0.049"),
        (0.9995, ">0.999"),
        (1.0, "1.000"),
        (None, "–"),
    ],
)
def test_a_p_value_never_reads_zero(value: float | None, text: str) -> None:
    assert formats.p_value(value) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 80, "0"), (80, 80, "100"), (1, 1000, "<1"), (999, 1000, ">99"), (22, 80, "28"), (3, 0, "–")],
)
def test_a_share_is_0_or_100_only_when_exact(part: int, whole: int, text: str) -> None:
    assert formats.percent(part, whole) == text


def test_negative_numbers_carry_a_true_minus_and_zero_carries_none() -> None:
    assert formats.interval(-0.44, -0.53, -0.34, "spearman") == "−0.44 (−0.53 to −0.34)"
    assert formats.signed(-0.001) == "0.00"


def test_the_null_is_1_for_ratios_and_half_for_probabilities() -> None:
    assert formats.excludes_null(estimate(lower=1.01, upper=1.4))
    assert not formats.excludes_null(estimate(lower=0.99, upper=1.4))
    assert formats.excludes_null(estimate(estimand="probability_greater", lower=0.51, upper=0.7))
    assert not formats.excludes_null(estimate(lower=None))


def test_a_caption_names_kind_and_level_of_its_intervals() -> None:
    posterior = estimate(interval_kind="credible (equal-tailed)")
    twins = [estimate(interval_kind=f"confidence ({how})") for how in ("Wald", "Hartung-Knapp")]
    assert formats.intervals_of([posterior]) == "95 % credible intervals (equal-tailed)"
    assert formats.intervals_of(twins) == "95 % confidence intervals (Hartung-Knapp; Wald)"
    with pytest.raises(DataError, match="credible and confidence"):
        formats.intervals_of([posterior, *twins])


def test_an_interval_shows_whether_it_excludes_the_null():
    assert formats.interval(-0.0069, -0.01166, -0.0028, "marginal_slope") == "−0.0069 (−0.0117 to −0.0028)"
    assert formats.interval(-0.19, -0.28, -0.10, "spearman") == "−0.19 (−0.28 to −0.10)"
    assert formats.interval(1.09, 1.0021, 1.18) == "1.09 (1.002 to 1.18)"
    assert formats.interval(0.9, 0.8, 0.998) == "0.90 (0.80 to 0.998)"
    assert formats.interval(1.0, 1.0, 1.0) == "1.00 (1.00 to 1.00)"
    assert formats.interval(0.3, None, None, "spearman") == "0.30"
