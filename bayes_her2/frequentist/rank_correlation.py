"""Frequentist twin of the rank correlations: Spearman by cohort and stratum, pooled as Fisher z, and differences."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from bayes_her2.data import DIFFERENCE_MINUS, HR_NEGATIVE, HR_POSITIVE, AnalysisSet
from bayes_her2.estimates import ALL, BOOTSTRAP, Estimates
from bayes_her2.frequentist.adjustment import bonferroni, rows_of
from bayes_her2.frequentist.correlations import (
    Limits,
    bonett_wright,
    bootstrap_limits,
    fisher_variance,
    independent_difference,
    independent_p_value,
    meng_p_value,
    overlapping_difference,
    steiger_p_value,
    usable,
)
from bayes_her2.frequentist.pooling import (
    COMMON_EFFECT,
    RANDOM_EFFECTS,
    SINGLE_COHORT,
    Pooled,
    common_effect,
    random_effects,
)
from bayes_her2.frequentist.rank_tests import spearman
from bayes_her2.ranking import Pairing, groups_of, pairings, support

FAMILY = ("estimand", "exposure", "stratum", "scope", "cohort")
"""Columns that define a Bonferroni family; the outcomes within it are its tests."""

SPEARMAN = "Spearman"
INDEPENDENT = "difference of independent correlations (Fisher z, Zou)"
OVERLAPPING = "difference of dependent correlations (Steiger, Zou)"
_ZOU = "confidence (Zou)"
_MIN_RANDOM_EFFECTS = 3
_UNITS = {
    "spearman": "Spearman rho",
    "spearman_difference": "difference of Spearman rho",
    "strength_difference": "difference of |Spearman rho|",
}


@dataclass(frozen=True)
class _One:
    """Spearman's rho of one exposure and outcome in one group."""

    rho: float
    n: int


def rank_correlation_twin(data: AnalysisSet, *, interval: float = 0.95) -> Estimates:
    """Spearman correlations with zeros tied: by cohort and HR stratum, over all tumours of a cohort, and pooled.

    All tumours are those of known HR status, as in the analysis set.

    - ``spearman``, scope ``cohort``: rho, the interval of Bonett and Wright, the usual P value; for the HER2 measure
      and the total infiltrate also a percentile bootstrap (method of its own, no verdict).
    - ``spearman``, scope ``pooled``: Fisher z of the cohorts combined (one: itself; two: common effect; from three on
      random effects, with a prediction interval in the scope ``new cohort``).
    - ``spearman_difference``: HR- minus HR+, in a cohort with Zou's interval and the P value of the difference of
      Fisher z. Pooled: the differences within cohorts, with variances (1 - rho^2)^2 (1 + rho^2 / 2) / (n - 3) summed
      over the strata; estimate, interval and P value come from that one pooling.
    - ``strength_difference``: ``|rho|`` of the HER2 measure minus that of another measure in the same tumours, in a
      cohort with Zou's interval for dependent correlations, Steiger's P value, and Meng's in the note. Where the two
      correlations have opposite signs the other measure is turned round first. Pooled: strength is that of the pooled
      correlations, so with s_1 and s_2 the signs of the pooled rho_1 and rho_2, s_1 rho_1k - s_2 rho_2k is pooled over
      cohorts k. (Absolute values taken cohort by cohort would count correlations of opposite sign as agreement.)

    ``p_adjusted`` is Bonferroni over the outcomes of one family: estimand x exposure x stratum x scope x cohort.

    Parameters
    ----------
    data
        Analysis set of the model ``rank_correlation``.
    interval
        Probability of every interval.

    Returns
    -------
    Estimates
        ``source`` twin; what a group cannot carry is ``not estimable``, with the reason.
    """
    fingerprint = data.fingerprint
    records: list[dict[str, Any]] = []
    for pairing in pairings(data):
        records += _Twin(data, pairing, fingerprint, interval).records()
    table = pd.DataFrame(records)
    table["p_adjusted"] = bonferroni(table, FAMILY)
    return Estimates.from_records(rows_of(table))


class _Twin:
    """Rows of one pairing."""

    def __init__(self, data: AnalysisSet, pairing: Pairing, fingerprint: str, interval: float) -> None:
        self.data, self.pairing, self.fingerprint, self.interval = data, pairing, fingerprint, interval
        table = support(data, pairing).set_index(["exposure", "outcome", "cohort", "stratum"])
        self.reasons: dict[Any, str] = table["reason"].to_dict()
        self.notes: dict[Any, str] = table["undefined"].to_dict()
        self.n: dict[Any, int] = table["n"].to_dict()
        self.n_zero: dict[Any, int] = table["n_zero"].to_dict()
        self.members = groups_of(data, pairing.exposures.index)
        self.exposures = [str(c) for c in pairing.exposures.columns]
        self.outcomes = [str(c) for c in pairing.outcomes.columns]
        self.both = (HR_NEGATIVE, HR_POSITIVE) if len(data.strata) == 2 else ()

    def records(self) -> list[dict[str, Any]]:
        """All rows."""
        rows: list[dict[str, Any]] = []
        for outcome in self.outcomes:
            for exposure in self.exposures:
                found: dict[tuple[str, str], _One] = {}
                for stratum in (*self.data.strata, ALL):
                    for cohort in self.data.cohorts:
                        rows += self._cohort(exposure, outcome, stratum, cohort, found)
                    own = {c: found[c, stratum] for c in self.data.cohorts if (c, stratum) in found}
                    rows += self._pooled(exposure, outcome, stratum, own)
                if self.both:
                    rows += self._between_strata(exposure, outcome, found)
            for other in self.exposures[1:]:
                rows += self._between_measures(outcome, other)
        return rows

    def _record(
        self, estimand: str, exposure: str, outcome: str, stratum: str, cohorts: list[str], **values: Any
    ) -> dict[str, Any]:
        strata = self.both if stratum == DIFFERENCE_MINUS else (stratum,)
        of = self.exposures[0] if estimand == "strength_difference" else exposure
        behind = [(of, outcome, c, s) for c in cohorts for s in strata]
        return {
            "source": "twin",
            "model": self.data.model,
            "outcome": outcome,
            "exposure": exposure,
            "estimand": estimand,
            "contrast": "strength" if estimand == "strength_difference" else "rank correlation",
            "adjustment": self.data.adjustment,
            "stratum": stratum,
            "cohort": "",
            "unit": _UNITS[estimand],
            "point": math.nan,
            "lower": math.nan,
            "upper": math.nan,
            "interval_kind": "",
            "interval_prob": self.interval,
            "n": sum(self.n[key] for key in behind),
            "n_zero": sum(self.n_zero[key] for key in behind),
            "status": "observed",
            "note": "",
            "p_value": math.nan,
            "fingerprint": self.fingerprint,
        } | values

    def _pair(self, exposure: str, outcome: str, stratum: str, cohort: str) -> tuple[pd.Series, pd.Series]:
        index = self.members[cohort, stratum]
        y = self.pairing.outcomes.loc[index, outcome].dropna()
        return self.pairing.exposures.loc[y.index, exposure], y

    def _cohort(
        self, exposure: str, outcome: str, stratum: str, cohort: str, found: dict[tuple[str, str], _One]
    ) -> list[dict[str, Any]]:
        settings = {"method": SPEARMAN, "scope": "cohort", "cohort": cohort}
        reason = self.reasons[exposure, outcome, cohort, stratum]
        if reason:
            missing = {"status": "not estimable", "note": reason}
            return [self._record("spearman", exposure, outcome, stratum, [cohort], **settings | missing)]
        x, y = self._pair(exposure, outcome, stratum, cohort)
        values = spearman(x, y, interval=self.interval)
        note = "; ".join(
            t for t in (values.get("note", ""), self.notes[exposure, outcome, cohort, stratum]) if t
        )
        values = values | {"note": note}
        rows = [self._record("spearman", exposure, outcome, stratum, [cohort], **settings | values)]
        if usable(values["point"]):
            found[cohort, stratum] = _One(values["point"], len(x))
        if exposure == self.exposures[0]:
            seed = zlib.crc32(f"{exposure}|{outcome}|{stratum}|{cohort}".encode())
            limits = bootstrap_limits(
                x.to_numpy(float), y.to_numpy(float), np.random.default_rng(seed), interval=self.interval
            )
            second = _limits(limits, "confidence (percentile bootstrap)") | {"method": BOOTSTRAP}
            rows.append(self._record("spearman", exposure, outcome, stratum, [cohort], **settings | second))
        return rows

    def _pooled(
        self, exposure: str, outcome: str, stratum: str, own: Mapping[str, _One]
    ) -> list[dict[str, Any]]:
        def row(scope: str, **values: Any) -> dict[str, Any]:
            return self._record("spearman", exposure, outcome, stratum, list(own), scope=scope, **values)

        if not own:
            nothing = {"status": "not estimable", "note": self._why((exposure,), outcome, (stratum,))}
            return [
                row("pooled", method=self._method(0), **nothing),
                row("new cohort", method=RANDOM_EFFECTS, **nothing),
            ]
        note = _cohorts(list(own))
        pooled, method = self._combine(
            [math.atanh(o.rho) for o in own.values()], [_variance(o) for o in own.values()]
        )
        if pooled is None:
            only = next(iter(own))
            x, y = self._pair(exposure, outcome, stratum, only)
            values = spearman(x, y, interval=self.interval)
            first = row("pooled", **values | {"method": method, "note": note})
        else:
            first = row(
                "pooled",
                method=method,
                point=math.tanh(pooled.estimate),
                lower=math.tanh(pooled.lower),
                upper=math.tanh(pooled.upper),
                interval_kind=pooled.interval_kind,
                p_value=pooled.p_value,
                note=f"{note}; Q = {pooled.q:.2f} on {pooled.k - 1} df",
            )
        if pooled is None or math.isnan(pooled.prediction_lower):
            reason = f"needs {_MIN_RANDOM_EFFECTS} cohorts with an estimate, there are {len(own)}"
            return [first, row("new cohort", method=RANDOM_EFFECTS, status="not estimable", note=reason)]
        predicted = row(
            "new cohort",
            method=RANDOM_EFFECTS,
            point=math.tanh(pooled.estimate),
            lower=math.tanh(pooled.prediction_lower),
            upper=math.tanh(pooled.prediction_upper),
            interval_kind="prediction (Hartung-Knapp)",
            note=note,
        )
        return [first, predicted]

    def _combine(self, estimates: list[float], variances: list[float]) -> tuple[Pooled | None, str]:
        method = self._method(len(estimates))
        if len(estimates) == 1:
            return None, method
        pool = common_effect if len(estimates) < _MIN_RANDOM_EFFECTS else random_effects
        return pool(estimates, variances, interval=self.interval), method

    @staticmethod
    def _method(n_cohorts: int) -> str:
        if n_cohorts >= _MIN_RANDOM_EFFECTS:
            return RANDOM_EFFECTS
        return COMMON_EFFECT if n_cohorts == 2 else SINGLE_COHORT

    def _why(self, exposures: tuple[str, ...], outcome: str, strata: tuple[str, ...]) -> str:
        reasons = (
            f"{cohort}, {stratum}: {reason}"
            for cohort in self.data.cohorts
            for stratum in strata
            if (reason := self._reason(exposures, outcome, cohort, stratum))
        )
        return "; ".join(dict.fromkeys(reasons))

    def _reason(self, exposures: tuple[str, ...], outcome: str, cohort: str, stratum: str) -> str:
        """Why one of these exposures cannot be correlated with the outcome in a group, or ''."""
        reasons = (self.reasons[e, outcome, cohort, stratum] for e in exposures)
        return "; ".join(dict.fromkeys(r for r in reasons if r))

    def _between_strata(
        self, exposure: str, outcome: str, found: Mapping[tuple[str, str], _One]
    ) -> list[dict[str, Any]]:
        def row(scope: str, cohorts: list[str], **values: Any) -> dict[str, Any]:
            return self._record(
                "spearman_difference", exposure, outcome, DIFFERENCE_MINUS, cohorts, scope=scope, **values
            )

        rows, own = [], []
        for cohort in self.data.cohorts:
            pair = [found.get((cohort, s)) for s in self.both]
            negative, positive = pair
            if negative is None or positive is None:
                reasons = [
                    f"{s}: {r}" for s in self.both if (r := self.reasons[exposure, outcome, cohort, s])
                ]
                missing = {"status": "not estimable", "note": "; ".join(reasons)}
                rows.append(row("cohort", [cohort], cohort=cohort, method=INDEPENDENT, **missing))
                continue
            own.append(cohort)
            p_value = independent_p_value((negative.rho, positive.rho), (negative.n, positive.n))
            limits = independent_difference(self._of(negative), self._of(positive))
            values = _limits(limits, _ZOU) | {"p_value": p_value}
            rows.append(row("cohort", [cohort], cohort=cohort, method=INDEPENDENT, **values))
        if not own:
            missing = {
                "status": "not estimable",
                "note": self._why((exposure,), outcome, self.both) or "no cohort has both strata",
            }
            return [*rows, row("pooled", [], method=INDEPENDENT, **missing)]
        pairs = [tuple(found[c, s] for s in self.both) for c in own]
        result, method = self._combine(
            [negative.rho - positive.rho for negative, positive in pairs],
            [_variance_of_rho(negative) + _variance_of_rho(positive) for negative, positive in pairs],
        )
        if result is None:
            negative, positive = pairs[0]
            limits = independent_difference(self._of(negative), self._of(positive))
            p_value = independent_p_value((negative.rho, positive.rho), (negative.n, positive.n))
            values = _limits(limits, _ZOU) | {"p_value": p_value, "note": f"{_cohorts(own)}; {method}"}
        else:
            values = _of_pooled(result) | {
                "note": f"{_cohorts(own)}; differences within cohorts pooled ({method}); Q = {result.q:.2f} on "
                f"{result.k - 1} df"
            }
        return [*rows, row("pooled", own, method=INDEPENDENT, **values)]

    def _of(self, one: _One) -> Limits:
        return bonett_wright(one.rho, one.n, interval=self.interval)

    def _between_measures(self, outcome: str, other: str) -> list[dict[str, Any]]:
        first = self.exposures[0]
        rows: list[dict[str, Any]] = []
        for stratum in (*self.data.strata, ALL):

            def row(scope: str, cohorts: list[str], *, where: str = stratum, **values: Any) -> dict[str, Any]:
                return self._record(
                    "strength_difference",
                    f"{first} against {other}",
                    outcome,
                    where,
                    cohorts,
                    scope=scope,
                    **values,
                )

            found: dict[str, tuple[float, float, float, int]] = {}
            for cohort in self.data.cohorts:
                reason = self._reason((first, other), outcome, cohort, stratum)
                if not reason:
                    x, y = self._pair(first, outcome, stratum, cohort)
                    h = self._pair(other, outcome, stratum, cohort)[0]
                    r = np.asarray(stats.spearmanr(np.column_stack([x, h, y])).statistic)
                    one = (float(r[0, 2]), float(r[1, 2]), float(r[0, 1]), len(y))
                    if not all(usable(value) for value in one[:3]):
                        reason = "perfect rank correlation: no interval"
                if reason:
                    missing = {"status": "not estimable", "note": reason}
                    rows.append(row("cohort", [cohort], cohort=cohort, method=OVERLAPPING, **missing))
                    continue
                found[cohort] = one
                values = self._compared(one, _signs(one[0], one[1]))
                rows.append(row("cohort", [cohort], cohort=cohort, method=OVERLAPPING, **values))
            own = list(found)
            if not own:
                missing = {"status": "not estimable", "note": self._why((first, other), outcome, (stratum,))}
                rows.append(row("pooled", [], method=OVERLAPPING, **missing))
                continue
            rows.append(row("pooled", own, method=OVERLAPPING, **self._strength_pooled(found)))
        return rows

    def _compared(self, one: tuple[float, float, float, int], signs: tuple[float, float]) -> dict[str, Any]:
        """Difference of two correlations of one cohort after turning both measures by `signs`."""
        turned = _turned(one, signs)
        return _limits(overlapping_difference(*turned, interval=self.interval), _ZOU) | {
            "p_value": steiger_p_value(*turned),
            "note": f"rho {one[0]:.2f} against {one[1]:.2f}; P {meng_p_value(*turned):.3g} by Meng's test",
        }

    def _strength_pooled(self, found: Mapping[str, tuple[float, float, float, int]]) -> dict[str, Any]:
        """Difference of strength over cohorts, both measures turned by the signs of their pooled correlations."""
        ones = list(found.values())
        if len(ones) == 1:
            values = self._compared(ones[0], _signs(*ones[0][:2]))
            return values | {"note": f"{_cohorts(list(found))}; {self._method(1)}"}
        pooled = []
        for which in (0, 1):
            result, _ = self._combine(
                [math.atanh(one[which]) for one in ones],
                [fisher_variance(one[which], one[3]) for one in ones],
            )
            pooled.append(math.tanh(result.estimate) if result is not None else ones[0][which])
        signs = _signs(*pooled)
        reach = 2.0 * float(stats.norm.isf((1.0 - self.interval) / 2.0))
        limits = [overlapping_difference(*_turned(one, signs), interval=self.interval) for one in ones]
        result, method = self._combine(
            [one.point for one in limits], [((one.upper - one.lower) / reach) ** 2 for one in limits]
        )
        assert result is not None  # several cohorts
        note = f"{_cohorts(list(found))}; {method}; signs of the pooled rho ({pooled[0]:.2f} against {pooled[1]:.2f})"
        return _of_pooled(result) | {"note": note}


def _signs(first: float, other: float) -> tuple[float, float]:
    """Signs that make two correlations positive."""
    return (-1.0 if first < 0 else 1.0), (-1.0 if other < 0 else 1.0)


def _turned(
    one: tuple[float, float, float, int], signs: tuple[float, float]
) -> tuple[float, float, float, int]:
    """Correlations of an outcome with two measures, and of the two, after each measure is multiplied by its sign."""
    k, h = signs
    return one[0] * k, one[1] * h, one[2] * k * h, one[3]


def _variance(one: _One) -> float:
    return fisher_variance(one.rho, one.n)


def _variance_of_rho(one: _One) -> float:
    """Variance of Spearman's rho itself, from that of its Fisher z."""
    return (1.0 - one.rho**2) ** 2 * _variance(one)


def _of_pooled(result: Pooled) -> dict[str, Any]:
    return {
        "point": result.estimate,
        "lower": result.lower,
        "upper": result.upper,
        "interval_kind": result.interval_kind,
        "p_value": result.p_value,
    }


def _limits(limits: Limits, kind: str) -> dict[str, Any]:
    return {"point": limits.point, "lower": limits.lower, "upper": limits.upper, "interval_kind": kind}


def _cohorts(names: list[str]) -> str:
    return f"cohorts: {', '.join(names)}"
