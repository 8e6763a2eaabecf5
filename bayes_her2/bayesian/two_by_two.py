"""One 2 x 2 table of responses: its posterior by quadrature, with and without borrowing, and its tipping points.

The model is that of `models/treatment_response.py` for one outcome, one HR stratum and one arm, so the numbers are
those of a fit without its Monte Carlo error: log odds of response intercept + slope / 2 with HER2-low and intercept
- slope / 2 with HER2-0, intercept and slope with the model's priors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from statsmodels.stats.contingency_tables import Table2x2

from bayes_her2.bayesian.map_prior import (
    VAGUE_WEIGHT,
    MapPrior,
    effective_sample_size,
    map_prior,
    prior_data_conflict,
)
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.response import SLOPES
from bayes_her2.bayesian.study_likelihood import log_two_arms
from bayes_her2.data import HER2_LEVELS, HER2_LOW, HER2_ZERO, STRATA, UNKNOWN, EvidenceData, ResponseData
from bayes_her2.errors import DataError

_REACH = 12.0  # of log odds and log odds ratios
_SLOPE_STEP = 0.004  # at most; finer where the data or a component of the prior are
_FAR = 40.0  # standard errors from the estimate, beyond which the likelihood is 0
MOST_PATIENTS = 4_000
"""Patients of a group up to which three grid points lie within one SD of its log odds, 2 / sqrt(n) at least."""

_ODDS = np.linspace(-10.0, 10.0, 2001)
"""Grid of the log odds of either level, for tipping points."""


@dataclass(frozen=True)
class TwoByTwo:
    """Patients and responders of both levels.

    Attributes
    ----------
    n_low, events_low, n_zero, events_zero
        Of HER2-low and of HER2-0.
    """

    n_low: int
    events_low: int
    n_zero: int
    events_zero: int

    @classmethod
    def of(cls, data: ResponseData, outcome: str, stratum: str = "all", arm: str = "") -> TwoByTwo:
        """Count one outcome; strata and arms that are not named are added up."""
        low, zero = (data.count(outcome, level, hr=stratum, arm=arm) for level in HER2_LEVELS)
        return cls(*low, *zero)

    @property
    def n(self) -> int:
        """Patients of both levels."""
        return self.n_low + self.n_zero

    def estimate(self) -> tuple[float, float]:
        """Log odds ratio and standard error (Woolf); half a patient is added to each cell if one of them is 0.

        For effective sample sizes and prior-data conflict alone, which need a normal approximation.
        """
        cells = np.array(
            [
                [self.events_low, self.n_low - self.events_low],
                [self.events_zero, self.n_zero - self.events_zero],
            ],
            dtype=float,
        )
        table = Table2x2(cells + 0.5 if (cells == 0).any() else cells)
        return float(table.log_oddsratio), float(table.log_oddsratio_se)


@dataclass(frozen=True)
class OddsRatioPosterior:
    """Posterior of a log odds ratio on a grid, with the weights of its prior's components.

    Attributes
    ----------
    slope, weights
        Grid of log odds ratios, and the probability of each point.
    component_weights
        Posterior weights of the components of the prior.
    log_evidence
        Log marginal likelihood of the responders (the binomial coefficients left out).
    """

    slope: np.ndarray
    weights: np.ndarray
    component_weights: np.ndarray
    log_evidence: float

    def quantile(self, probability: float) -> float:
        """Quantile of the log odds ratio."""
        return float(np.interp(probability, np.cumsum(self.weights) - self.weights / 2, self.slope))

    @property
    def probability_below_1(self) -> float:
        """P(odds ratio < 1)."""
        return float(self.weights[self.slope < 0].sum() + 0.5 * self.weights[self.slope == 0].sum())

    @property
    def moments(self) -> tuple[float, float]:
        """Mean and SD of the log odds ratio."""
        mean = float(self.weights @ self.slope)
        return mean, math.sqrt(float(self.weights @ (self.slope - mean) ** 2))


def _slope_likelihood(
    table: TwoByTwo, intercept: Prior, narrowest: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Likelihood of the slope, the intercept integrated over its prior: grid, values, log of their factor."""
    estimate, se = table.estimate()
    slope = _multiples(min(_SLOPE_STEP, se / 20, narrowest / 5), estimate, _FAR * se)
    log = log_two_arms(slope, table.n_low, table.events_low, table.n_zero, table.events_zero, base=intercept)
    top = float(log.max())
    return slope, np.exp(log - top), top


def _multiples(step: float, centre: float, reach: float) -> np.ndarray:
    """Multiples of `step` (0 is one of them) within `reach` of a centre, and within the reach of log odds."""
    low, high = max(-_REACH, centre - reach), min(_REACH, centre + reach)
    return np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step


def exact_posterior(table: TwoByTwo, *, slope: Prior, intercept: Prior) -> OddsRatioPosterior:
    """Posterior of the log odds ratio of a 2 x 2 table, by quadrature over intercept and slope.

    Parameters
    ----------
    table
        The counts.
    slope
        A Normal or NormalMixture prior of the log odds ratio.
    intercept
        Normal prior of the log odds of response halfway between the levels.
    """
    weights, means, sds = slope.components()
    grid, likelihood, top = _slope_likelihood(table, intercept, float(sds.min()))
    parts = weights * np.exp(-0.5 * ((grid[:, None] - means) / sds) ** 2) / (sds * math.sqrt(2 * math.pi))
    joint = parts * likelihood[:, None]
    evidence = joint.sum(axis=0) * (grid[1] - grid[0])
    total = joint.sum(axis=1)
    return OddsRatioPosterior(
        slope=grid,
        weights=total / total.sum(),
        component_weights=evidence / evidence.sum(),
        log_evidence=top + math.log(float(evidence.sum())),
    )


BORROWING_COLUMNS = (
    "prior", "odds_ratio", "lower", "upper", "probability_below_1", "prior_ess_elir", "prior_ess_morita",
    "prior_ess_moment", "conflict_p", "vague_weight_prior", "vague_weight_posterior",
)  # fmt: skip


def borrowing(
    table: TwoByTwo,
    map_: MapPrior,
    *,
    intercept: Prior,
    without: Prior,
    weights: Sequence[float] = (VAGUE_WEIGHT, 0.5),
    interval: float = 0.95,
) -> pd.DataFrame:
    """Set the analysis without borrowing beside those with the robust and with the plain predictive prior.

    Parameters
    ----------
    table
        The new data.
    map_
        Predictive prior from earlier studies, none of which may be the new data.
    intercept, without
        Priors of the model; `without` is also the vague component of the robust priors.
    weights
        Prior weights of the vague component.
    interval
        Probability of the equal-tailed credible interval.

    Returns
    -------
    pandas.DataFrame
        ``prior``; ``odds_ratio`` (posterior median), ``lower``, ``upper``; ``probability_below_1``; ``prior_ess_elir``,
        ``prior_ess_morita``, ``prior_ess_moment``: what the prior is worth in patients of the new data's design;
        ``conflict_p``: prior predictive tail probability of the observed odds ratio; ``vague_weight_prior`` and
        ``vague_weight_posterior``: probability that the earlier studies are about something else, before and after.
    """
    observed, se = table.estimate()
    priors = [("without borrowing", without, 1.0)]
    priors += [
        (f"robust, weight {w:g} of the vague component", map_.robust(weight=w, vague=without), w)
        for w in sorted(weights, reverse=True)
    ]
    priors.append(("plain predictive prior", map_.as_prior(), 0.0))
    rows = []
    tail = (1 - interval) / 2
    for name, prior, weight in priors:
        found = exact_posterior(table, slope=prior, intercept=intercept)
        low, middle, high = (math.exp(found.quantile(q)) for q in (tail, 0.5, 1 - tail))
        size = effective_sample_size(prior, sd_of_one=se * math.sqrt(table.n))
        after = float(found.component_weights[-1]) if 0 < weight < 1 else weight
        rows.append(
            {
                "prior": name,
                "odds_ratio": middle,
                "lower": low,
                "upper": high,
                "probability_below_1": found.probability_below_1,
                **{f"prior_ess_{definition}": patients for definition, patients in size.items()},
                "conflict_p": prior_data_conflict(prior, estimate=observed, se=se),
                "vague_weight_prior": weight,
                "vague_weight_posterior": after,
            }
        )
    return pd.DataFrame(rows, columns=list(BORROWING_COLUMNS))


def borrowing_by_heterogeneity(
    table: TwoByTwo,
    evidence: EvidenceData,
    *,
    intercept: Prior,
    without: Prior,
    scales: Sequence[float] = (0.25, 0.5, 1.0),
    weight: float = VAGUE_WEIGHT,
    new: ResponseData | None = None,
    interval: float = 0.95,
) -> pd.DataFrame:
    """`borrowing` with the robust prior over scales of the half-normal prior of the SD between studies.

    Where few studies remain that prior decides how much is borrowed, and this says how much it does.

    Returns
    -------
    pandas.DataFrame
        Columns of `borrowing`, after ``heterogeneity_scale`` and ``studies``.
    """
    parts = []
    for scale in scales:
        tau = Prior("HalfNormal", {"sigma": scale}, "swept")
        map_ = map_prior(evidence, new=new, tau_prior=tau)
        found = borrowing(
            table, map_, intercept=intercept, without=without, weights=(weight,), interval=interval
        )
        own = found[found["vague_weight_prior"] == weight]
        parts.append(own.assign(heterogeneity_scale=scale, studies=len(map_.studies)))
    return pd.concat(parts, ignore_index=True)[["heterogeneity_scale", "studies", *BORROWING_COLUMNS]]


def probabilities_below_one(tables: Sequence[TwoByTwo], *, slope: Prior, intercept: Prior) -> np.ndarray:
    """P(odds ratio < 1) of many tables at once, exactly.

    The likelihood is a function of the log odds with HER2-low times one of the log odds with HER2-0, so every pair of
    groups is one bilinear form in the joint prior.
    """
    largest = max(max(t.n_low, t.n_zero) for t in tables)
    if largest > MOST_PATIENTS:
        raise DataError(
            f"tipping points: {largest:,} patients in one group; the grid of log odds is fine enough "
            f"for {MOST_PATIENTS:,}. With so many, look at the odds ratios of the counts alone."
        )
    lows = list(dict.fromkeys((t.n_low, t.events_low) for t in tables))
    zeros = list(dict.fromkeys((t.n_zero, t.events_zero) for t in tables))
    joint = np.exp(
        intercept.frozen().logpdf((_ODDS[:, None] + _ODDS) / 2)
        + slope.frozen().logpdf(_ODDS[:, None] - _ODDS)
    )  # rows: HER2-low, columns: HER2-0; the Jacobian of (intercept, slope) -> (low, zero) is 1
    below = joint * (np.tri(len(_ODDS), k=-1).T + 0.5 * np.eye(len(_ODDS)))  # HER2-low responds less often
    f_low, f_zero = (np.array([_group(n, r) for n, r in groups]) for groups in (lows, zeros))
    share = (f_low @ below @ f_zero.T) / (f_low @ joint @ f_zero.T)
    low_at, zero_at = ({key: i for i, key in enumerate(groups)} for groups in (lows, zeros))
    return np.array([share[low_at[t.n_low, t.events_low], zero_at[t.n_zero, t.events_zero]] for t in tables])


def _group(n: int, events: int) -> np.ndarray:
    log = events * _ODDS - n * np.logaddexp(0.0, _ODDS)
    return np.asarray(np.exp(log - log.max()))


def tipping_point(
    data: ResponseData,
    outcome: str,
    *,
    slope: Prior,
    intercept: Prior,
    stratum: str = "all",
    interval: float = 0.95,
) -> pd.DataFrame:
    """Say what every possible response of the patients who could not be evaluated would make of P(odds ratio < 1).

    Where their HER2 level is not known, every split of them between the levels is tried too.

    Parameters
    ----------
    data
        With the patients who could not be evaluated.
    outcome, stratum
        Of the 2 x 2 table; arms are added up, covariates left out.
    slope, intercept
        Priors of the model.
    interval
        Probability of the credible interval whose verdict is followed.

    Returns
    -------
    pandas.DataFrame
        One row for each split and each pair of responder counts: ``missing_low``, ``missing_zero`` (patients who
        could not be evaluated, by level), ``responders_low``, ``responders_zero`` (of them), ``odds_ratio`` (of the
        counts, NaN with a zero cell), ``probability_below_1``, ``lower_odds`` (whether the posterior median is
        below 1), ``verdict`` ('below 1' or 'above 1' where the equal-tailed interval excludes 1, else 'open').

    Raises
    ------
    DataError
        Everybody was evaluated, or there is no such outcome.
    """
    data = data.for_outcome(outcome)
    known, missing = TwoByTwo.of(data, outcome, stratum), data.not_evaluable
    if stratum != "all":
        missing = missing[missing["hr"] == stratum]
    by_level = missing.groupby("her2")["n"].sum()
    low, zero, unknown = (int(by_level.get(level, 0)) for level in (HER2_LOW, HER2_ZERO, UNKNOWN))
    if low + zero + unknown == 0:
        raise DataError(
            f"{data.name}, {outcome}: every patient was evaluated, so there is no tipping point to look for."
        )
    rows, tables = [], []
    for more in range(unknown + 1):
        missing_low, missing_zero = low + more, zero + unknown - more
        for r in range(missing_low + 1):
            for s in range(missing_zero + 1):
                table = TwoByTwo(
                    known.n_low + missing_low,
                    known.events_low + r,
                    known.n_zero + missing_zero,
                    known.events_zero + s,
                )
                tables.append(table)
                rows.append((missing_low, missing_zero, r, s))
    found = pd.DataFrame(rows, columns=["missing_low", "missing_zero", "responders_low", "responders_zero"])
    found["odds_ratio"] = [_odds_ratio(table) for table in tables]
    below = probabilities_below_one(tables, slope=slope, intercept=intercept)
    found["probability_below_1"] = below
    found["lower_odds"] = below > 0.5
    edge = 1 - (1 - interval) / 2
    found["verdict"] = np.select([below > edge, below < 1 - edge], ["below 1", "above 1"], "open")
    return found


def _odds_ratio(table: TwoByTwo) -> float:
    a, b = table.events_low, table.n_low - table.events_low
    c, d = table.events_zero, table.n_zero - table.events_zero
    return a * d / (b * c) if min(a, b, c, d) > 0 else math.nan


SUMMARY_COLUMNS = ("scenario", "probability_below_1", "odds_ratio", "verdict", "share")


def tipping_summary(
    data: ResponseData,
    outcome: str,
    table: pd.DataFrame,
    *,
    slope: Prior,
    intercept: Prior,
    stratum: str = "all",
) -> pd.DataFrame:
    """Scenarios of a tipping-point table that a reader asks for.

    Returns
    -------
    pandas.DataFrame
        ``scenario``, ``probability_below_1``, ``odds_ratio``, ``verdict``, ``share`` (part of all combinations with
        that verdict, for the rows that count combinations; NaN otherwise).
    """
    known = TwoByTwo.of(data, outcome, stratum)
    as_seen = exact_posterior(known, slope=slope, intercept=intercept)
    rows: list[dict[str, object]] = [
        {
            "scenario": "evaluated patients only",
            "probability_below_1": as_seen.probability_below_1,
            "odds_ratio": _odds_ratio(known),
            "verdict": "",
        }
    ]
    lowest, highest = (table.loc[table["probability_below_1"].agg(f)] for f in ("idxmin", "idxmax"))
    combinations = {
        "most favourable to HER2-low": lowest,
        "least favourable to HER2-low": highest,
        "each level responds as its evaluated patients did, and is evaluated as often": _same_rates(
            known, table
        ),
    }
    for name, row in combinations.items():
        who = (
            f"{row['responders_low']} of {row['missing_low']} HER2-low and {row['responders_zero']} of "
            f"{row['missing_zero']} HER2-0 patients respond"
        )
        numbers = {c: row[c] for c in ("probability_below_1", "odds_ratio", "verdict")}
        rows.append({"scenario": f"{name}: {who}", **numbers})
    for verdict in ("below 1", "open", "above 1"):
        share = float((table["verdict"] == verdict).mean())
        scenario = f"combinations with the verdict '{verdict}'"
        rows.append({"scenario": scenario, "verdict": verdict, "share": share})
    turned = float((table["lower_odds"] != (as_seen.probability_below_1 > 0.5)).mean())
    rows.append({"scenario": "combinations that turn the direction round", "verdict": "", "share": turned})
    numeric = dict.fromkeys(("probability_below_1", "odds_ratio", "share"), "float64")
    return pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS)).astype(numeric)


def tipping_points(
    data: ResponseData, priors: Mapping[str, Prior], *, interval: float = 0.95
) -> pd.DataFrame:
    """Summarise the tipping points of every outcome and HR stratum in which somebody could not be evaluated.

    Returns
    -------
    pandas.DataFrame
        `tipping_summary` with ``outcome`` and ``stratum``; no rows where everybody was evaluated.
    """
    parts = []
    strata = ("all",) if data.control else data.strata
    for outcome in data.outcomes:
        for stratum in strata:
            missing = data.not_evaluable[data.not_evaluable["outcome"] == outcome]
            if stratum in STRATA:
                missing = missing[missing["hr"] == stratum]
            if int(missing["n"].sum()):
                slope, intercept = priors[SLOPES[stratum]], priors["intercept"]
                table = tipping_point(
                    data, outcome, slope=slope, intercept=intercept, stratum=stratum, interval=interval
                )
                found = tipping_summary(
                    data, outcome, table, slope=slope, intercept=intercept, stratum=stratum
                )
                found.insert(0, "stratum", stratum)
                found.insert(0, "outcome", outcome)
                parts.append(found)
    columns = ["outcome", "stratum", *SUMMARY_COLUMNS]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _same_rates(known: TwoByTwo, table: pd.DataFrame) -> pd.Series:
    """Find the combination nearest to what evaluated patients show."""
    missing = table["missing_low"] + table["missing_zero"]
    wanted_low = missing * known.n_low / known.n
    split = table[
        (table["missing_low"] - wanted_low).abs() == (table["missing_low"] - wanted_low).abs().min()
    ]
    rates = known.events_low / known.n_low, known.events_zero / known.n_zero
    off = (split["responders_low"] - split["missing_low"] * rates[0]).abs() + (
        split["responders_zero"] - split["missing_zero"] * rates[1]
    ).abs()
    nearest: pd.Series = split.loc[off.idxmin()]
    return nearest
