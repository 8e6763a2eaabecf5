"""Printed figures that cannot all be right: each against the counts, against its own interval, and against its claim.

What print rounding can explain is never called a contradiction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from bayes_her2.evidence import audit as st
from bayes_her2.evidence.audit import Counts, Estimate, Range
from bayes_her2.evidence.measures import RANK_CORRELATION, Measure
from bayes_her2.evidence.published_claims import Printed, Published, PublishedClaim

COLUMNS = ("claim", "cohort", "place", "figure", "printed", "found", "explanation")

OTHER_TEST = 1.25
"""A printed P may come from another test than Wald's: it is called a contradiction only beyond this factor."""

SIGNIFICANT = 0.05

Estimates = Mapping[tuple[str, str], tuple[Estimate, str]]


def contradictions(published: Published, estimates: Estimates) -> pd.DataFrame:
    """Every printed figure that contradicts another, beyond rounding.

    Parameters
    ----------
    published
        Claims and restatements.
    estimates
        Claim and cohort -> estimate on the analysis scale, and what it was computed from.

    Returns
    -------
    DataFrame
        ``figure`` says which figure, ``printed`` what was printed, ``found`` what the other figures give, with the
        printed digits, and ``explanation`` from what.
    """
    by_key = {claim.key: claim for claim in published.claims}
    rows: list[dict[str, str]] = []
    for row in sorted((*published.claims, *published.restatements), key=lambda one: one.row):
        main = by_key[row.key]
        estimate, basis = estimates[row.key]
        for figure, printed, found, explanation in _of_row(row, main, estimate, basis):
            place = {"claim": row.claim, "cohort": row.cohort, "place": row.place}
            rows.append(
                place | {"figure": figure, "printed": printed, "found": found, "explanation": explanation}
            )
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype="str")


Found = Iterator[tuple[str, str, str, str]]


def _of_row(row: PublishedClaim, main: PublishedClaim, estimate: Estimate, basis: str) -> Found:
    if main.counts is not None:
        yield from _against_counts(row, main.counts)
    elif row.restates:
        yield from _against_claim(row, main)
    yield from _lost_digits(row)
    if main.counts is None and not row.restates:  # counts, or the claim itself, say more than symmetry
        yield from _inside(row)
    yield from _sample_size(row)
    yield from _p_value(row, main, estimate, basis)
    yield from _words(row, estimate)


def _against_counts(row: PublishedClaim, counts: Counts) -> Found:
    """Estimate, limits and percentages against the fourfold table."""
    text = (
        f"{counts.events_exposed}/{counts.n_exposed} against {counts.events_reference}/{counts.n_reference}"
    )
    methods = st.odds_ratio_intervals(counts, row.ci_level)
    if row.estimate is not None and not any(row.estimate.could_be(values[0]) for values in methods.values()):
        value = methods["Wald"][0]
        yield (
            "estimate",
            row.estimate.text,
            row.estimate.rounds(value),
            f"counts {text} give {value:.4f}",
        )
    if row.ci_low is not None and row.ci_high is not None:
        low, high = row.ci_low, row.ci_high
        fits = [name for name, (_, a, b) in methods.items() if low.could_be(a) and high.could_be(b)]
        if not fits:
            _, a, b = methods["Wald"]
            others = "; ".join(
                f"{name} {lower:.3f} to {upper:.3f}"
                for name, (_, lower, upper) in methods.items()
                if name != "Wald"
            )
            yield (
                "interval",
                f"{low.text} to {high.text}",
                f"{low.rounds(a)} to {high.rounds(b)}",
                f"counts {text} give {a:.3f} to {b:.3f} (Wald); no method tried gives the printed one ({others})",
            )
    for percent, events, n, group in (
        (row.percent_exposed, counts.events_exposed, counts.n_exposed, "exposed"),
        (row.percent_reference, counts.events_reference, counts.n_reference, "reference"),
    ):
        if percent is not None and not percent.could_be(100 * events / n):
            yield (
                f"percentage, {group}",
                f"{percent.text} %",
                f"{percent.rounds(100 * events / n)} %",
                f"count {events}/{n} is {100 * events / n:.2f} %",
            )


def _against_claim(row: PublishedClaim, main: PublishedClaim) -> Found:
    """Estimate and limits against those of the claim that the row restates."""
    for figure, mine, theirs in (
        ("estimate", row.estimate, main.estimate),
        ("lower limit", row.ci_low, main.ci_low),
        ("upper limit", row.ci_high, main.ci_high),
    ):
        if mine is None or theirs is None or mine.lost_sign or theirs.lost_sign:
            continue
        if not _overlap(mine.range, theirs.range):
            yield figure, mine.text, theirs.text, f"printed as {theirs.text} in: {main.place or 'the claim'}"


def _lost_digits(row: PublishedClaim) -> Found:
    """Find a limit printed as -0: what the other limit implies for it."""
    for figure, limit, other in (
        ("lower limit", row.ci_low, row.ci_high),
        ("upper limit", row.ci_high, row.ci_low),
    ):
        if limit is None or not limit.lost_sign:
            continue
        if row.estimate is None or other is None or other.lost_sign:
            yield figure, limit.text, "", "its digits were lost in print; it is not used"
            continue
        measure = row.measure
        implied = measure.from_scale(2 * measure.to_scale(row.estimate.value) - measure.to_scale(other.value))
        yield (
            figure,
            limit.text,
            other.rounds(implied),
            f"its digits were lost in print; it is not used. The other limit implies about {implied:.3f}",
        )


def _inside(row: PublishedClaim) -> Found:
    """Position of the estimate in its interval: half way between the limits on the analysis scale."""
    low, high = row.usable_limits
    if row.estimate is None or not (low and high):
        return
    measure = row.measure
    middle = _middle(measure, low, high)
    points = Range(measure.to_scale(row.estimate.range.low), measure.to_scale(row.estimate.range.high))
    if _overlap(middle, points):
        return
    centre = measure.from_scale((measure.to_scale(low.value) + measure.to_scale(high.value)) / 2)
    allowed = f"{measure.from_scale(middle.low):.3f} to {measure.from_scale(middle.high):.3f}"
    scale = {"log": "on the log scale", "Fisher z": "on Fisher's z scale", "identity": "as printed"}[
        measure.scale
    ]
    yield (
        "estimate and interval",
        f"{row.estimate.text} ({low.text} to {high.text})",
        f"{row.estimate.rounds(centre)} in the middle",
        f"{scale} the middle of the interval is {centre:.3f} ({allowed} within rounding), and the estimate is not. "
        "Profile, exact and bootstrap intervals need not be symmetric",
    )


def _middle(measure: Measure, low: Printed, high: Printed) -> Range:
    ends = [(measure.to_scale(low.range.low), measure.to_scale(high.range.low))]
    ends.append((measure.to_scale(low.range.high), measure.to_scale(high.range.high)))
    return Range.of([(a + b) / 2 for a, b in ends])


def _sample_size(row: PublishedClaim) -> Found:
    """Width of the interval of a correlation against its n."""
    low, high = row.usable_limits
    if row.measure.scale != "Fisher z" or row.n is None or row.estimate is None or not (low and high):
        return
    scale = row.measure.to_scale
    widths = Range(
        scale(high.range.low) - scale(low.range.high), scale(high.range.high) - scale(low.range.low)
    )
    k = st.quantile(row.ci_level)
    rank = row.measure.name == RANK_CORRELATION
    expected = st.rank_correlation_se(row.estimate.value, row.n) if rank else st.correlation_se(row.n)
    if widths.holds(2 * k * expected):
        return
    rho = row.estimate.value if rank else None
    sizes = [st.implied_n(width / (2 * k), rho) for width in (widths.high, widths.low)]
    yield (
        "n",
        str(row.n),
        f"{sizes[0]:.0f} to {sizes[1]:.0f}",
        f"the interval {low.text} to {high.text} has the width of {sizes[0]:.0f} to {sizes[1]:.0f} observations",
    )


def _p_value(row: PublishedClaim, main: PublishedClaim, estimate: Estimate, basis: str) -> Found:
    if row.p_value is None:
        return
    wald = st.over_rounding(estimate, st.p_value)
    if wald is None:
        return
    allowed = [Range(wald.low / OTHER_TEST, wald.high * OTHER_TEST)]
    found = f"{st.p_value(estimate.point, estimate.se):.2g}"
    if main.counts is not None:
        exact = st.fisher_p(main.counts)
        allowed.append(Range(exact / OTHER_TEST, exact * OTHER_TEST))
        found += f" (Wald), {exact:.2g} (Fisher)"
    if not any(_overlap(row.p_value.range, one) for one in allowed):
        yield (
            "P",
            row.p_value.text,
            found,
            f"recomputed from {basis}; rounding allows {wald.low:.2g} to {wald.high:.2g}",
        )


def _words(row: PublishedClaim, estimate: Estimate) -> Found:
    """Direction and significance that the words claim."""
    measure = row.measure
    value = measure.from_scale(estimate.point)
    wald = st.over_rounding(estimate, st.p_value)
    if wald is None:
        return
    p = st.p_value(estimate.point, estimate.se)
    size = f"{measure.name} {value:.3g}, P {p:.2g}"
    side = 1 if estimate.point_range.low > 0 else -1 if estimate.point_range.high < 0 else 0
    if row.direction and side and (row.direction == "above") != (side > 0):
        yield (
            "direction",
            f"{row.direction} {measure.null:g}",
            f"{'above' if side > 0 else 'below'} {measure.null:g}",
            f"the printed figures give {size}",
        )
    if (row.significant == "yes" and wald.low >= SIGNIFICANT) or (
        row.significant == "no" and wald.high < SIGNIFICANT
    ):
        yield (
            "significance",
            "associated" if row.significant == "yes" else "not associated",
            f"P {p:.2g}",
            f"the printed figures give {size}",
        )


def _overlap(first: Range, second: Range) -> bool:
    slack = 1e-9
    return first.low <= second.high + slack and second.low <= first.high + slack
