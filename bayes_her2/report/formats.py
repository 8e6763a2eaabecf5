"""Numbers as text, one way throughout the report. A missing number is an en dash."""

from __future__ import annotations

import math
from collections.abc import Iterable

from bayes_her2.errors import DataError
from bayes_her2.estimates import is_ratio, null_value
from bayes_her2.report.load import Estimate
from bayes_her2.wording import listed as listed  # templates have all formats in one place

MISSING = "–"
MINUS = "−"
WIDE = "≥1,000"
NARROW = 0.05
"""Width of an interval under which two decimals are too few."""


def ratio(value: float | None) -> str:
    """Two decimals; three significant digits under 0.1; whole numbers from 100."""
    if value is None:
        return MISSING
    if math.isinf(value):
        return "∞"
    if value >= 999.5:
        return WIDE
    if value >= 99.995:
        return f"{value:.0f}"
    if value >= 0.0995:
        return f"{value:.2f}"
    if value < 0.001:
        return "<0.001"
    decimals = 2 - math.floor(math.log10(value))
    return f"{value:.{decimals}f}"


def signed(value: float | None, decimals: int = 2) -> str:
    """Difference or correlation with a true minus sign."""
    if value is None:
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    text = f"{value:,.{decimals}f}"
    if text.strip("-0.") == "":
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def p_value(value: float | None) -> str:
    """Three decimals, ``<0.001`` and ``>0.999`` at the ends; also for lfsr and s-value."""
    if value is None:
        return MISSING
    if value < 0.001:
        return "<0.001"
    if 0.999 < value < 1:
        return ">0.999"
    return f"{value:.3f}"


def probability(value: float | None) -> str:
    """Two decimals, ``<0.01`` and ``>0.99`` at the ends."""
    if value is None:
        return MISSING
    if value < 0.01:
        return "<0.01"
    return ">0.99" if value > 0.99 else f"{value:.2f}"


def count(value: int | None) -> str:
    """Whole number with thousands separated."""
    return MISSING if value is None else f"{value:,}"


def percent(part: int | None, whole: int | None) -> str:
    """Share in whole percent; 0 and 100 only when exact."""
    if part is None or not whole:
        return MISSING
    if part in (0, whole):
        return "0" if part == 0 else "100"
    share = 100 * part / whole
    if share < 0.5:
        return "<1"
    return ">99" if share >= 99.5 else f"{share:.0f}"


def number(value: float | None, digits: int = 3) -> str:
    """General number with `digits` significant digits and no exponent where it can be avoided."""
    if value is None:
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return signed(value, 0)
    if abs(value) < 1e-4:
        return f"{value:.{digits - 1}e}".replace("-", MINUS)
    return signed(value, max(digits - 1 - math.floor(math.log10(abs(value))), 0))


def plain(value: float | None, digits: int = 3) -> str:
    """Up to `digits` significant digits, trailing zeros left out (limits that somebody chose)."""
    return MISSING if value is None else f"{value:.{digits}g}".replace("-", MINUS)


def value_of(estimand: str, value: float | None) -> str:
    """Point or limit of an estimand in its own format."""
    return ratio(value) if is_ratio(estimand) else signed(value)


def interval(point: float | None, lower: float | None, upper: float | None, estimand: str = "overall") -> str:
    """Format as ``point (lower to upper)``, with as many decimals as the interval needs.

    Differences within a narrow interval have more than two decimals, and a limit of a ratio that is not 1 is not
    printed as 1.00: whether an interval excludes the null can be read from it.
    """
    if point is None:
        return MISSING
    if lower is None or upper is None:
        return value_of(estimand, point)
    if is_ratio(estimand):
        ends = [f"{end:.3f}" if ratio(end) == "1.00" and end != 1 else ratio(end) for end in (lower, upper)]
        return f"{ratio(point)} ({ends[0]} to {ends[1]})"
    width = upper - lower
    narrow = 0 < width < NARROW and math.isfinite(width)
    decimals = 1 - math.floor(math.log10(width)) if narrow else 2
    middle, low, high = (signed(value, decimals) for value in (point, lower, upper))
    return f"{middle} ({low} to {high})"


def level(probability_: float | None) -> str:
    """0.95 -> ``95 %``."""
    return MISSING if probability_ is None else f"{100 * probability_:g} %"


def excludes_null(estimate: Estimate) -> bool:
    """Whether both limits lie on one side of the value of no association."""
    null = null_value(estimate.estimand)
    if estimate.lower is None or estimate.upper is None:
        return False
    return estimate.lower > null or estimate.upper < null


def intervals_of(estimates: Iterable[Estimate]) -> str:
    """Kind and level of the intervals of some rows in words, for a caption.

    ``95 % credible intervals (equal-tailed)``. Raises if the rows mix sides or say nothing.
    """
    kinds = {
        (estimate.interval_prob, estimate.interval_kind)
        for estimate in estimates
        if estimate.has_interval and estimate.interval_kind
    }
    if not kinds:
        return "no intervals"
    if len({"credible" in kind for _, kind in kinds}) > 1:
        raise DataError("tables/estimates.csv: one caption would cover credible and confidence intervals")
    methods: dict[str, list[str]] = {}
    for prob, kind in sorted(kinds, key=str):
        word, _, how = kind.partition(" (")
        methods.setdefault(f"{level(prob)} {word} intervals", []).append(how.removesuffix(")"))
    phrases = [
        phrase + (f" ({'; '.join(filter(None, hows))})" if any(hows) else "")
        for phrase, hows in methods.items()
    ]
    return " or ".join(phrases)


def sentence(text: str) -> str:
    """Give free text a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def plural(n: int, one: str, many: str = "") -> str:
    """Return a counted noun: ``1 row``, ``2 rows``."""
    return f"{count(n)} {one if n == 1 else many or one + 's'}"
