"""Statistics of one published claim, from its estimate and interval alone.

Everything is on the analysis scale (log of a ratio, Fisher z of a correlation, a difference as it is), where the null
is 0 and the estimate is taken as normal with known standard error. Functions are pure: numbers in, numbers out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, false_discovery_control, fisher_exact, norm
from scipy.stats.contingency import odds_ratio as conditional_odds_ratio
from statsmodels.stats.contingency_tables import Table2x2

from bayes_her2.frequentist.correlations import fisher_variance

LEVEL = 0.95
"""Level of every interval that the audit makes itself."""

MOST_FOR_EXACT = 5000
"""Patients up to which the conditional exact interval of a fourfold table is computed."""


@dataclass(frozen=True)
class Range:
    """Least and greatest value that a quantity may have, given how its source was rounded."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Range:
        """Range of some values."""
        return cls(min(values), max(values))

    def holds(self, value: float) -> bool:
        """Whether a value lies in it (floating point error forgiven)."""
        slack = 1e-9 * max(1.0, abs(value))
        return self.low - slack <= value <= self.high + slack


@dataclass(frozen=True)
class Estimate:
    """An estimate on the analysis scale.

    Attributes
    ----------
    point, se
        Estimate and standard error.
    point_range, se_range
        What rounding of the printed figures allows for each.
    """

    point: float
    se: float
    point_range: Range
    se_range: Range

    @classmethod
    def exact(cls, point: float, se: float) -> Estimate:
        """Return an estimate without rounding."""
        return cls(point, se, Range(point, point), Range(se, se))


COUNT_COLUMNS = ("events_exposed", "n_exposed", "events_reference", "n_reference")
"""The fields of `Counts`, as tables call them."""


@dataclass(frozen=True)
class Counts:
    """A fourfold table: events and patients, exposed and reference."""

    events_exposed: int
    n_exposed: int
    events_reference: int
    n_reference: int

    @property
    def cells(self) -> tuple[int, int, int, int]:
        """Events and non-events of the exposed, then of the reference."""
        return (
            self.events_exposed,
            self.n_exposed - self.events_exposed,
            self.events_reference,
            self.n_reference - self.events_reference,
        )

    @property
    def table(self) -> Table2x2:
        """The same as statsmodels takes it, with nothing added to a zero cell."""
        return Table2x2(np.reshape(self.cells, (2, 2)), shift_zeros=False)

    @property
    def n(self) -> int:
        """Patients in all."""
        return self.n_exposed + self.n_reference


def quantile(level: float = LEVEL) -> float:
    """Return the normal quantile of a two-sided level: 1.96 for 0.95."""
    return float(norm.ppf(0.5 + level / 2))


# --- estimate, standard error, P ------------------------------------------------------------------


def standard_error(lower: float, upper: float, level: float = LEVEL) -> float:
    """Return the standard error that a Wald interval implies.

    ``se = (upper - lower) / (2 k)``, k the normal quantile of the level.

    Parameters
    ----------
    lower, upper
        Limits on the analysis scale.
    level
        Level of the interval, between 0 and 1.

    References
    ----------
    Altman & Bland 2011, doi 10.1136/bmj.d2090.
    """
    return (upper - lower) / (2 * quantile(level))


def correlation_se(n: int) -> float:
    """Return the standard error of Fisher's z of a Pearson correlation: ``1 / sqrt(n - 3)``.

    References
    ----------
    Fisher 1921, On the probable error of a coefficient of correlation deduced from a small sample, Metron 1: 3-32.
    """
    return 1 / math.sqrt(n - 3)


def rank_correlation_se(rho: float, n: int) -> float:
    """Return the standard error of Fisher's z of a Spearman correlation: ``sqrt((1 + rho^2 / 2) / (n - 3))``.

    References
    ----------
    Bonett & Wright 2000, doi 10.1007/BF02294183.
    """
    return math.sqrt(fisher_variance(rho, n))


def implied_n(se: float, rho: float | None = None) -> float:
    """Sample size that the standard error of Fisher's z implies.

    ``3 + 1 / se^2``, times ``1 + rho^2 / 2`` in the fraction for a Spearman correlation (`rho` given).
    """
    return 3 + (1 if rho is None else 1 + rho**2 / 2) / se**2


def p_value(point: float, se: float) -> float:
    """Two-sided P of the Wald statistic.

    References
    ----------
    Altman & Bland 2011, doi 10.1136/bmj.d2304.
    """
    return float(2 * norm.sf(abs(point / se)))


def over_rounding(estimate: Estimate, function: Callable[[float, float], float | None]) -> Range | None:
    """Range of a quantity over every estimate and standard error that rounding allows.

    The quantities of the audit are monotone in ``|point|`` and in ``se``, so their extremes lie in the corners of the
    rectangle of both ranges; where 0 lies inside the range of the point, it is a corner too. The two are taken as
    independent, which can only make the range wider.

    Parameters
    ----------
    estimate
        With its ranges.
    function
        ``function(point, se)``; None where it is not defined.

    Returns
    -------
    Range or None
        None where it is not defined in some corner.
    """
    points = [estimate.point_range.low, estimate.point_range.high, estimate.point]
    if estimate.point_range.low < 0 < estimate.point_range.high:
        points.append(0.0)
    found = [
        function(point, se)
        for point, se in itertools.product(
            points, (estimate.se_range.low, estimate.se_range.high, estimate.se)
        )
    ]
    values = [value for value in found if value is not None]
    return Range.of(values) if len(values) == len(found) else None


def difference(first: Estimate, second: Estimate) -> Estimate:
    """Difference of two independent estimates; on the log scale a ratio of ratios.

    ``point = first - second``, ``se = sqrt(se_1^2 + se_2^2)``. Independent means other patients, such as two strata.

    References
    ----------
    Altman & Bland 2003, doi 10.1136/bmj.326.7382.219.
    """
    return Estimate(
        first.point - second.point,
        math.hypot(first.se, second.se),
        Range(
            first.point_range.low - second.point_range.high, first.point_range.high - second.point_range.low
        ),
        Range(
            math.hypot(first.se_range.low, second.se_range.low),
            math.hypot(first.se_range.high, second.se_range.high),
        ),
    )


# --- a fourfold table ----------------------------------------------------------------------------


def odds_ratio_of(counts: Counts) -> Estimate:
    """Log odds ratio of a fourfold table and its Wald standard error (statsmodels).

    ``log(a d / (b c))``, ``se = sqrt(1/a + 1/b + 1/c + 1/d)``. No cell may be zero: nothing is added to any of them.

    References
    ----------
    Woolf 1955, doi 10.1111/j.1469-1809.1955.tb01348.x.
    """
    table = counts.table
    return Estimate.exact(float(table.log_oddsratio), float(table.log_oddsratio_se))


def fisher_p(counts: Counts) -> float:
    """Two-sided P of Fisher's exact test (tables no more probable than the one seen)."""
    return float(fisher_exact(counts.table.table).pvalue)


def odds_ratio_intervals(counts: Counts, level: float = LEVEL) -> dict[str, tuple[float, float, float]]:
    """Odds ratio with limits by three methods: point, lower, upper.

    Wald (Woolf); profile likelihood (the values that a likelihood ratio test does not reject); and the conditional
    exact interval (Cornfield 1956), whose point is the conditional maximum likelihood estimate. The last is left out of
    tables of more than `MOST_FOR_EXACT` patients: its time grows with them (0.2 s at 5,000, 14 s at 100,000).

    Parameters
    ----------
    counts
        Fourfold table without a zero.
    level
        Level of the intervals.
    """
    wald = odds_ratio_of(counts)
    k = quantile(level)
    point = math.exp(wald.point)
    found = {
        "Wald": (point, math.exp(wald.point - k * wald.se), math.exp(wald.point + k * wald.se)),
        "profile likelihood": (point, *_profile_limits(counts, wald, level)),
    }
    if counts.n > MOST_FOR_EXACT:
        return found
    exact = conditional_odds_ratio(np.asarray(counts.table.table, dtype=int), kind="conditional")
    limits = exact.confidence_interval(confidence_level=level)
    return found | {"conditional exact": (float(exact.statistic), float(limits.low), float(limits.high))}


def _profile_limits(counts: Counts, wald: Estimate, level: float) -> tuple[float, float]:
    """Limits of the profile likelihood of a log odds ratio."""
    a, b, c, d = counts.cells

    def log_likelihood(log_odds_exposed: float, log_odds_reference: float) -> float:
        total = 0.0
        for events, others, odds in ((a, b, log_odds_exposed), (c, d, log_odds_reference)):
            total += events * odds - (events + others) * float(np.logaddexp(0.0, odds))
        return total

    def expected_minus_events(log_odds_reference: float, log_ratio: float) -> float:
        exposed = 1 / (1 + math.exp(-(log_odds_reference + log_ratio)))
        reference = 1 / (1 + math.exp(-log_odds_reference))
        return (a + b) * exposed + (c + d) * reference - (a + c)

    best = log_likelihood(math.log(a / b), math.log(c / d))
    drop = float(chi2.ppf(level, 1))

    def beyond(log_ratio: float) -> float:
        reference = float(brentq(expected_minus_events, -40.0, 40.0, args=(log_ratio,)))
        return 2 * (best - log_likelihood(reference + log_ratio, reference)) - drop

    far = 12 * wald.se
    return (
        math.exp(float(brentq(beyond, wald.point - far, wald.point))),
        math.exp(float(brentq(beyond, wald.point, wald.point + far))),
    )


# --- Analysis of Credibility ---------------------------------------------------------------------


def critical_prior_sd(point: float, se: float, level: float = LEVEL) -> float | None:
    """SD of the sceptical prior N(0, SD^2) under which the posterior interval just reaches the null.

    ``SD = se / sqrt(z^2 / k^2 - 1)``. A reader whose prior is narrower is not convinced; one whose prior is wider is.
    None where ``|z| <= k``: the claim does not exclude the null to begin with.

    Parameters
    ----------
    point, se
        Estimate and standard error on the analysis scale.
    level
        Level of the posterior interval.

    References
    ----------
    Matthews 2018, doi 10.1098/rsos.171047; Held 2019, doi 10.1098/rsos.181534.
    """
    ratio = (point / se / quantile(level)) ** 2
    return se / math.sqrt(ratio - 1) if ratio > 1 else None


def scepticism_limit(point: float, se: float, level: float = LEVEL) -> float | None:
    """Limit of the critical prior interval (-SL, SL): ``SL = k SD``, SD of `critical_prior_sd`.

    Equal to ``(U - L)^2 / (4 sqrt(U L))`` for limits L and U that lie symmetrically about the estimate.

    References
    ----------
    Matthews 2018, doi 10.1098/rsos.171047.
    """
    sd = critical_prior_sd(point, se, level)
    return None if sd is None else quantile(level) * sd


def advocacy_limit(point: float, se: float, level: float = LEVEL) -> float | None:
    """Far limit of the prior interval (0, AL) that would make a claim exclude the null.

    ``AL = 4 k^2 se^2 point / (k^2 se^2 - point^2)``, which is ``-(U + L)(U - L)^2 / (2 U L)``. The advocate's prior is
    N(AL / 2, (AL / 2 k)^2), the widest such prior with which the claim excludes the null: prior evidence has
    to place the
    effect between the null and AL, or more narrowly. None where the claim excludes the null by itself, or has no
    direction.

    References
    ----------
    Matthews 2018, doi 10.1098/rsos.171047.
    """
    half_width = quantile(level) * se
    if point == 0 or abs(point) >= half_width:
        return None
    return 4 * half_width**2 * point / (half_width**2 - point**2)


# --- posterior under a stated prior --------------------------------------------------------------


@dataclass(frozen=True)
class NormalPrior:
    """Normal prior on the analysis scale; an infinite SD is the flat prior."""

    mean: float
    sd: float


@dataclass(frozen=True)
class NormalPosterior:
    """Normal posterior on the analysis scale."""

    mean: float
    sd: float

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Equal-tailed credible interval."""
        k = quantile(level)
        return self.mean - k * self.sd, self.mean + k * self.sd

    def probability_of_direction(self, sign: float) -> float:
        """Posterior probability that the effect has this sign."""
        return float(norm.cdf(math.copysign(1.0, sign) * self.mean / self.sd))


def posterior(point: float, se: float, prior: NormalPrior) -> NormalPosterior:
    """Posterior of a normal estimate with known standard error under a normal prior.

    Precisions add: ``1 / sd^2 = 1 / se^2 + 1 / prior.sd^2``; the mean is weighted by them.
    """
    if math.isinf(prior.sd):
        return NormalPosterior(point, se)
    weight, prior_weight = se**-2, prior.sd**-2
    total = weight + prior_weight
    return NormalPosterior((point * weight + prior.mean * prior_weight) / total, total**-0.5)


TAIL = 0.05
"""Probability that sceptical and enthusiastic prior leave beyond the plausible effect, and beyond the null."""


def sceptical_prior(plausible: float) -> NormalPrior:
    """Prior of a sceptic: centred at the null, with 5 % above the plausible effect.

    ``N(0, (|plausible| / 1.645)^2)``.

    References
    ----------
    Spiegelhalter, Freedman & Parmar 1994, doi 10.2307/2983527.
    """
    return NormalPrior(0.0, abs(plausible) / float(norm.isf(TAIL)))


def enthusiastic_prior(plausible: float, sign: float) -> NormalPrior:
    """Prior of an enthusiast: centred at the plausible effect, in the claimed direction, with 5 % beyond the null.

    References
    ----------
    Spiegelhalter, Freedman & Parmar 1994, doi 10.2307/2983527.
    """
    return NormalPrior(math.copysign(abs(plausible), sign), abs(plausible) / float(norm.isf(TAIL)))


NEUTRAL_PRIOR = NormalPrior(0.0, math.inf)
"""Flat: the posterior is the likelihood."""


# --- errors of sign and of size ------------------------------------------------------------------


@dataclass(frozen=True)
class DesignErrors:
    """What a study of this precision does to a true effect of a stated size.

    Attributes
    ----------
    power
        Probability that the estimate is significant.
    type_s
        Probability that a significant estimate has the wrong sign.
    type_m
        Expected size of a significant estimate, as a multiple of the true effect (analysis scale).
    """

    power: float
    type_s: float
    type_m: float


def design_errors(effect: float, se: float, alpha: float = 0.05) -> DesignErrors:
    """Power, type S and type M error at a true effect, in closed form.

    With ``l = |effect| / se`` and k the two-sided quantile: ``power = Phi(l - k) + Phi(-l - k)``, ``type S =
    Phi(-l - k) / power``, ``type M = [phi(l + k) + phi(l - k) + l (Phi(l + k) + Phi(l - k) - 1)] / (l power)``.

    References
    ----------
    Gelman & Carlin 2014, doi 10.1177/1745691614551642; closed form of Lu, Qiu & Deng 2018, doi 10.1111/bmsp.12132.
    """
    size, k = abs(effect) / se, float(norm.isf(alpha / 2))
    wrong = float(norm.cdf(-size - k))
    power = float(norm.cdf(size - k)) + wrong
    expected = float(
        norm.pdf(size + k) + norm.pdf(size - k) + size * (norm.cdf(size + k) + norm.cdf(size - k) - 1)
    )
    return DesignErrors(power, wrong / power, expected / (size * power))


# --- multiplicity --------------------------------------------------------------------------------


def bonferroni(p: float, n_tests: int) -> float:
    """P times the number of tests, at most 1."""
    return min(1.0, p * n_tests)


def benjamini_hochberg(p_values: Sequence[float], n_tests: int) -> list[float]:
    """Adjust P by Benjamini and Hochberg over a family of which only some tests are printed.

    Tests that are not printed are taken to have P 1 (scipy). With smaller ones among them, the true adjusted P would be
    smaller.

    Parameters
    ----------
    p_values
        P of the printed tests, in any order.
    n_tests
        Tests in the family, printed or not.

    References
    ----------
    Benjamini & Hochberg 1995, doi 10.1111/j.2517-6161.1995.tb02031.x.
    """
    unprinted = [1.0] * (n_tests - len(p_values))
    adjusted = false_discovery_control([*p_values, *unprinted], method="bh")
    return [float(value) for value in adjusted[: len(p_values)]]
