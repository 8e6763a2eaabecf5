"""The true value of every estimand in simulated cohorts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from bayes_her2.data import DIFFERENCE, HR_NEGATIVE, HR_POSITIVE, STRATA, Scale
from bayes_her2.simulation.parameters import Parameters

TRUTH_COLUMNS = ("outcome", "estimand", "stratum", "scope", "cohort", "truth")
TRUTH_ESTIMANDS = ("presence", "amount", "overall", "high_abundance")
MONTE_CARLO_DRAWS = 2000
"""Draws per tumour behind the truth on the relative scale."""

_MEDIAN_RULE_BELOW = 0.25  # share of zeros under which high abundance means 'at or above the median'
_Floats = npt.NDArray[np.float64]
_Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SimulatedTumours:
    """The analysed tumours of one cohort: standardised HER2, HR, and the abundances that came out."""

    cohort: str
    her2_sd: _Floats
    hr_negative: _Bools
    abundance: pd.DataFrame

    def in_stratum(self, stratum: str) -> _Bools:
        """Which tumours are in an HR stratum."""
        return self.hr_negative if stratum == HR_NEGATIVE else ~self.hr_negative

    def high_cut(self) -> _Floats:
        """Cut-off of high abundance by cell type: within-cohort median, or 0 (presence) with many zeros."""
        zero_share = (self.abundance == 0).mean().to_numpy(dtype=float)
        median = self.abundance.median().to_numpy(dtype=float)
        return np.where(zero_share < _MEDIAN_RULE_BELOW, median, 0.0)


@dataclass(frozen=True)
class Expected:
    """Tumour x cell type at one HER2 level: P(present), E[y | present] and P(high abundance)."""

    presence: _Floats
    amount: _Floats
    high: _Floats


def truth_table(
    parameters: Parameters, parts: tuple[SimulatedTumours, ...], scale: Scale, rng: np.random.Generator
) -> pd.DataFrame:
    """Every estimand of the abundance model, pooled and by cohort, for the tumours that were simulated.

    ``presence`` is exp of the planted log odds ratio. The others are standardised over the tumours observed
    in the stratum, each with the intercepts and HR effects of its own cohort, and set side by side at h + 1
    and h: ``amount`` mean E[y | y > 0], ``overall`` mean E[y], ``high_abundance`` the odds of mean
    P(high), with the cut-offs of the realised data. Pooled rows use the slopes of the population, cohort rows
    those of the cohort. On the absolute scale all of it is in closed form, and ``amount`` is exp of the
    planted log ratio; on the relative scale means of shares are Monte Carlo averages.

    Parameters
    ----------
    parameters
        Planted values.
    parts
        Analysed tumours by cohort.
    scale
        Scale of the abundances.
    rng
        Source of randomness, used on the relative scale only.

    Returns
    -------
    DataFrame
        Columns ``outcome``, ``estimand``, ``stratum``, ``scope``, ``cohort`` ('' when pooled), ``truth``
        (ratio). Strata without tumours have no rows.
    """
    pooled = parameters.with_pooled_slopes()
    own_values: list[tuple[Expected, Expected]] = []
    pooled_values: list[tuple[Expected, Expected]] = []
    for part in parts:
        if scale == "absolute":
            own_values.append(expected_absolute(parameters, part))
            pooled_values.append(expected_absolute(pooled, part))
        else:
            # The same draws for both: what differs between them is then the slopes, not chance.
            seed = int(rng.integers(2**63))
            own_values.append(expected_relative(np.random.default_rng(seed), parameters, part))
            pooled_values.append(expected_relative(np.random.default_rng(seed), pooled, part))
    rows = list(_rows("pooled", "", parts, pooled_values, parameters.population))
    for part, values in zip(parts, own_values, strict=True):
        slopes = parameters.cohorts.xs(part.cohort, level="cohort")
        rows.extend(_rows("cohort", part.cohort, (part,), [values], pd.DataFrame(slopes)))
    frame = pd.DataFrame(rows, columns=list(TRUTH_COLUMNS))
    return frame.astype({column: "str" for column in TRUTH_COLUMNS if column != "truth"})


def expected_absolute(parameters: Parameters, part: SimulatedTumours) -> tuple[Expected, Expected]:
    """Compute the expectations of the hurdle-gamma model at h and at h + 1, in closed form."""
    shape = parameters.shape(part.cohort)[None, :]
    cut = part.high_cut()[None, :]
    levels = []
    for shift in (0.0, 1.0):
        her2_sd = part.her2_sd + shift
        presence = parameters.presence_probability(part.cohort, her2_sd, part.hr_negative)
        amount = parameters.positive_mean(part.cohort, her2_sd, part.hr_negative)
        above = np.asarray(stats.gamma.sf(cut, shape, scale=amount / shape), dtype=float)
        levels.append(Expected(presence, amount, presence * above))
    return levels[0], levels[1]


def expected_relative(
    rng: np.random.Generator,
    parameters: Parameters,
    part: SimulatedTumours,
    n_draws: int = MONTE_CARLO_DRAWS,
) -> tuple[Expected, Expected]:
    """Compute the expectations of shares at h and at h + 1, averaged over draws of the whole row.

    For cell type c with positive draw z_c and total T of the others, the share if present is z_c / (z_c + T):
    averaging that over draws, and multiplying by P(present), wastes no draw on zeros of c itself. Both levels
    use the same random numbers.
    """
    shape = parameters.shape(part.cohort)[None, :]
    cut = part.high_cut()[None, :]
    her2_levels = (part.her2_sd, part.her2_sd + 1.0)
    presence = [parameters.presence_probability(part.cohort, h, part.hr_negative) for h in her2_levels]
    mean = [parameters.positive_mean(part.cohort, h, part.hr_negative) for h in her2_levels]
    share_sum = [np.zeros_like(m) for m in mean]
    above_sum = [np.zeros_like(m) for m in mean]
    for _ in range(n_draws):
        unit_amount = rng.standard_gamma(np.broadcast_to(shape, mean[0].shape)) / shape
        u = rng.uniform(size=unit_amount.shape)
        for level in (0, 1):
            positive = unit_amount * mean[level]
            realised = np.where(u < presence[level], positive, 0.0)
            others = realised.sum(axis=1, keepdims=True) - realised
            share = positive / (positive + others)
            share_sum[level] += share
            above_sum[level] += share >= cut
    low, high = (
        Expected(presence[i], share_sum[i] / n_draws, presence[i] * above_sum[i] / n_draws) for i in (0, 1)
    )
    return low, high


def _rows(
    scope: str,
    cohort: str,
    parts: tuple[SimulatedTumours, ...],
    values: list[tuple[Expected, Expected]],
    slopes: pd.DataFrame,
) -> Iterator[tuple[str, str, str, str, str, float]]:
    cell_types = [str(name) for name in slopes.index]
    by_stratum: dict[str, dict[str, _Floats]] = {}
    for stratum in STRATA:
        chosen = [part.in_stratum(stratum) for part in parts]
        if not any(mask.any() for mask in chosen):
            continue
        low, high = (
            Expected(
                *(
                    np.concatenate([getattr(v[level], name)[m] for v, m in zip(values, chosen, strict=True)])
                    for name in ("presence", "amount", "high")
                )
            )
            for level in (0, 1)
        )
        log_odds_ratio = slopes["presence_slope"].to_numpy(dtype=float)
        if stratum == HR_NEGATIVE:
            log_odds_ratio = log_odds_ratio + slopes["presence_interaction"].to_numpy(dtype=float)
        by_stratum[stratum] = {
            "presence": np.exp(log_odds_ratio),
            "amount": _mean(high.amount) / _mean(low.amount),
            "overall": _mean(high.presence * high.amount) / _mean(low.presence * low.amount),
            "high_abundance": _odds(_mean(high.high)) / _odds(_mean(low.high)),
        }
    if set(by_stratum) == set(STRATA):
        positive, negative = by_stratum[HR_POSITIVE], by_stratum[HR_NEGATIVE]
        by_stratum[DIFFERENCE] = {name: negative[name] / positive[name] for name in TRUTH_ESTIMANDS}
    for stratum, estimands in by_stratum.items():
        for estimand, truths in estimands.items():
            for cell_type, truth in zip(cell_types, truths, strict=True):
                yield cell_type, estimand, stratum, scope, cohort, float(truth)


def _mean(values: _Floats) -> _Floats:
    return np.asarray(values.mean(axis=0), dtype=float)


def _odds(probability: _Floats) -> _Floats:
    return probability / (1.0 - probability)
