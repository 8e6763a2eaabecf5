"""Frequentist twin of the treatment response model: logistic regression of the same patients, and the 2 x 2 table.

Where arms (centres) are random in the posterior, every arm has its own intercept here in every HR stratum. The pooled
log odds ratio is then the mean over arms by random-effects meta-analysis of the arms' own regressions, as the
posterior's is. Where an arm is separated there is no such mean: the row says so. The odds ratio common to the arms
stands beside it, and is another estimand; with many arms of few patients its regression, which has an intercept for
each, overstates it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit
from statsmodels.stats.proportion import confint_proportions_2indep

from bayes_her2.data import (
    DIFFERENCE,
    HER2_LEVELS,
    HER2_LOW,
    HER2_ZERO,
    HR_NEGATIVE,
    HR_POSITIVE,
    STRATA,
    ResponseData,
)
from bayes_her2.errors import name_some
from bayes_her2.estimates import (
    ALL,
    COMMON_TO_ARMS,
    CONDITIONAL,
    DIFFERENCE_COMMON_TO_ARMS,
    PROFILE_LIKELIHOOD,
    Estimates,
)
from bayes_her2.frequentist.adjustment import rows_of
from bayes_her2.frequentist.effects import Effect
from bayes_her2.frequentist.meta_analysis import REML
from bayes_her2.frequentist.meta_regression import meta_regression
from bayes_her2.frequentist.profile import PROFILE, profile_likelihood
from bayes_her2.frequentist.regression import Regression, logistic_regression
from bayes_her2.frequentist.rows import ratio

LOGISTIC = "logistic regression"
NEWCOMBE = "difference of proportions (Newcombe)"
STANDARDISED = "logistic regression (standardised)"
WALD = "confidence (Wald)"
CONTRAST = "HER2-low over HER2-0"
DIFFERENCE_CONTRAST = "HER2-low minus HER2-0"


def treatment_response_twin(data: ResponseData, *, interval: float = 0.95) -> Estimates:
    """Odds ratios and risk differences of response, HER2-low against HER2-0.

    One logistic regression for each outcome, with an intercept for every arm and HR stratum, the covariates, and the
    log odds ratios of `response_odds`: by HR stratum (scope ``pooled``; with several arms also each arm's own, scope
    ``cohort``, from a regression of that arm alone), or, with a control arm, by arm and common to the HR strata, their
    difference being the interaction.

    Odds ratios have Wald limits and P (the matched twin), profile-likelihood limits and the likelihood-ratio P,
    and, where the row is a single 2 x 2 table, the conditional odds ratio with exact limits and Fisher's P (second
    opinions). The risk difference of a single 2 x 2 table has Newcombe's score limits, any other is standardised to
    the patients of the row, by the delta method. A ``separated`` row has no odds ratio: some level has no
    responder, or only responders.

    With random arms the matched twin of a pooled odds ratio is the meta-analysis of the arms (REML, modified
    Hartung-Knapp, one variance between arms for the HR strata), which also predicts a new arm; the odds ratio common to
    the arms stands beside it.

    Parameters
    ----------
    data
        Rows of patients and responders.
    interval
        Probability of every interval.

    Returns
    -------
    Estimates
        ``source`` twin; the number needed is there where the interval of the risk difference excludes 0.

    References
    ----------
    Newcombe 1998, doi 10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I.
    """
    records: list[dict[str, Any]] = []
    for outcome in data.outcomes:
        records.extend(_over_arms(data, outcome, interval))
        for one in _asked(data, outcome, interval):
            common = data.arms_are_random and one.scope == "pooled"
            records.extend(_beside(r) if common else r for r in one.records())
    return Estimates.from_records(rows_of(pd.DataFrame(records)))


def _patients(data: ResponseData, outcome: str, arm: str = "") -> tuple[pd.DataFrame, pd.Series[bool]]:
    """One row for each patient of an outcome (and arm), with the response."""
    rows = data.rows[(data.rows["outcome"] == outcome) & ((data.rows["arm"] == arm) | (arm == ""))]
    rows = rows.join(data.covariates) if len(data.covariates.columns) else rows
    parts = [
        rows.loc[rows.index.repeat(rows["events"])],
        rows.loc[rows.index.repeat(rows["n"] - rows["events"])],
    ]
    patients = pd.concat(parts, ignore_index=True)
    response = pd.Series(np.repeat([True, False], [len(part) for part in parts]), index=patients.index)
    return patients, response


def _half(level: pd.Series[str]) -> pd.Series[float]:
    return level.map({HER2_LOW: 0.5, HER2_ZERO: -0.5}).astype(float)


@dataclass(frozen=True)
class ResponseRegression:
    """One logistic regression: patients, design, fit, and the contrast of each log odds ratio."""

    patients: pd.DataFrame
    design: pd.DataFrame
    fit: Regression

    @classmethod
    def of(cls, data: ResponseData, outcome: str, arm: str = "") -> ResponseRegression:
        """Regression of one outcome, in one arm or all of them."""
        patients, response = _patients(data, outcome, arm)
        design = _design(data, patients)
        return cls(patients, design, logistic_regression(design, response))

    def contrast(self, weights: Mapping[str, float]) -> pd.Series[float]:
        """Contrast of coefficients from column -> weight."""
        return pd.Series(0.0, index=self.design.columns).add(pd.Series(dict(weights)), fill_value=0.0)[
            self.design.columns
        ]


def _design(data: ResponseData, patients: pd.DataFrame) -> pd.DataFrame:
    """Intercept of every arm and HR stratum, log odds ratio of every stratum (or arm), covariates."""
    columns: dict[str, pd.Series[float]] = {}
    for stratum in data.strata:
        for arm in data.arms:
            inside = (patients["hr"] == stratum) & (patients["arm"] == arm)
            if inside.any():
                columns[f"{arm}, {stratum}"] = inside.astype(float)
    half = _half(patients["her2"])
    for label in data.arms if data.control else data.strata:
        inside = patients["arm" if data.control else "hr"] == label
        if inside.any():
            columns[_slope_in(label)] = half * inside
    for covariate in data.covariates.columns:
        columns[str(covariate)] = patients[covariate]
    return pd.DataFrame(columns)


@dataclass(frozen=True)
class _Row:
    """One log odds ratio (or difference of two) with its risk difference."""

    data: ResponseData
    outcome: str
    interval: float
    model: ResponseRegression
    weights: Mapping[str, float]
    stratum: str
    scope: str
    arm: str = ""
    estimand: str = "response_odds"

    def records(self) -> Iterator[dict[str, Any]]:
        """Rows of `Estimates`: odds ratio, second opinions, risk difference, number needed."""
        missing = self._missing()
        contrast = self.model.contrast(self.weights) if not missing else None
        yield from self._odds(contrast, missing)
        if self.estimand == "ratio_of_odds_ratios":
            yield from self._treatment_differences()
        elif self.stratum != DIFFERENCE and (self.scope == "pooled" or self.data.control):
            difference = self._difference(missing)
            yield difference
            yield _number_needed(difference)

    def _missing(self) -> str:
        """Say which level has no patients here, or ''."""
        strata = STRATA if self.stratum == DIFFERENCE else (self.stratum,)
        none = [
            f"no {level} patients{f' in {s}' if s != ALL else ''}"
            for s in strata
            for level in HER2_LEVELS
            if not self.data.count(self.outcome, level, hr=s, arm=self.arm)[0]
        ]
        return f"{' and '.join(none)}{f' in {self.arm}' if self.arm else ''}" if none else ""

    def _record(self, method: str, **values: object) -> dict[str, Any]:
        data = self.data
        contrast = CONTRAST
        if self.estimand == "ratio_of_odds_ratios":
            contrast = f"{data.treated} over {data.control}, {CONTRAST}"
        n = sum(data.count(self.outcome, level, hr=self.stratum, arm=self.arm)[0] for level in HER2_LEVELS)
        return {
            "source": "twin",
            "method": method,
            "model": data.model,
            "outcome": self.outcome,
            "exposure": data.measure,
            "estimand": self.estimand,
            "contrast": contrast,
            "adjustment": data.adjustment,
            "stratum": self.stratum,
            "scope": self.scope,
            "cohort": self.arm,
            "unit": "ratio of odds ratios" if self.estimand == "ratio_of_odds_ratios" else "odds ratio",
            "point": math.nan,
            "lower": math.nan,
            "upper": math.nan,
            "interval_kind": "",
            "interval_prob": self.interval,
            "n": n,
            "n_zero": 0,
            "status": "observed",
            "note": "",
            "p_value": math.nan,
            "fingerprint": data.fingerprint,
        } | values

    def _odds(self, contrast: pd.Series[float] | None, missing: str) -> Iterator[dict[str, Any]]:
        fit = self.model.fit
        if contrast is None or fit.problem or not fit.asked.contains(contrast.to_frame().T)[0]:
            why = missing or fit.problem or "the regression cannot tell it from other terms"
            for method in (LOGISTIC, PROFILE_LIKELIHOOD):
                yield self._record(method, status="not estimable", note=why)
            return
        if fit.estimable(contrast):
            effect = Effect(LOGISTIC, WALD, fit.value(contrast), fit.variance(contrast))
            lower, upper = effect.limits(self.interval)
            yield self._record(
                LOGISTIC, point=ratio(effect.log_ratio), lower=ratio(lower), upper=ratio(upper),
                interval_kind=WALD, p_value=effect.p_of_null(), note=self._common,
            )  # fmt: skip
        else:
            yield self._record(LOGISTIC, status="separated", note=self._separated())
        profile = profile_likelihood(fit, self.model.design, contrast, interval=self.interval)
        if fit.estimable(contrast):
            yield self._record(
                PROFILE_LIKELIHOOD, point=ratio(fit.value(contrast)), lower=ratio(profile.lower),
                upper=ratio(profile.upper), interval_kind=PROFILE, p_value=profile.p_value, note=self._common,
            )  # fmt: skip
        else:
            yield self._record(
                PROFILE_LIKELIHOOD, status="separated", p_value=profile.p_value,
                note=f"{self._separated()}; P by the likelihood ratio",
            )  # fmt: skip
        if self._is_one_table:
            yield self._conditional()

    @property
    def _common(self) -> str:
        """Say that a pooled row has one odds ratio for all arms, or ''."""
        if not (self.data.arms_are_random and self.scope == "pooled"):
            return ""
        arms = f"{self.data.arms_are}s"
        return f"{arms} fixed, one odds ratio common to them; the posterior's is the mean over {arms} that differ"

    @property
    def _is_one_table(self) -> bool:
        """Whether the row is a single 2 x 2 table: one stratum, one arm, no covariates."""
        one_stratum = self.stratum != DIFFERENCE and (self.stratum != ALL or len(self.data.strata) == 1)
        one_arm = bool(self.arm) or len(self.data.arms) == 1
        return one_stratum and one_arm and self.data.adjustment == "none" and self.estimand == "response_odds"

    def _table(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(patients, responders) with HER2-low, and with HER2-0."""
        low, zero = (
            self.data.count(self.outcome, level, hr=self.stratum, arm=self.arm) for level in HER2_LEVELS
        )
        return low, zero

    def _separated(self) -> str:
        (n_low, low), (n_zero, zero) = self._table()
        extreme = [
            f"{'no' if events == 0 else 'every'} {level} patient of {n} responded"
            for level, n, events in ((HER2_LOW, n_low, low), (HER2_ZERO, n_zero, zero))
            if events in (0, n)
        ]
        return " and ".join(extreme) or "a cell of the regression has no responder, or only responders"

    def _conditional(self) -> dict[str, Any]:
        (n_low, low), (n_zero, zero) = self._table()
        table = [[low, n_low - low], [zero, n_zero - zero]]
        p_value = float(stats.fisher_exact(table).pvalue)
        if 0 in (low + zero, n_low - low + n_zero - zero):
            return self._record(
                CONDITIONAL, status="not estimable", p_value=p_value, note="nobody, or everybody, responded"
            )
        found = stats.contingency.odds_ratio(table, kind="conditional")
        limits = found.confidence_interval(self.interval)
        point = float(found.statistic)
        if not 0 < point < math.inf:
            return self._record(CONDITIONAL, status="separated", p_value=p_value, note=self._separated())
        return self._record(
            CONDITIONAL, point=point, lower=float(limits.low), upper=float(limits.high),
            interval_kind="confidence (exact)", p_value=p_value,
        )  # fmt: skip

    def _difference(self, missing: str) -> dict[str, Any]:
        words: dict[str, object] = {
            "estimand": "response_difference",
            "contrast": DIFFERENCE_CONTRAST,
            "unit": "difference in the probability of response",
        }
        if missing:
            return self._record(STANDARDISED, **words, status="not estimable", note=missing)
        if self._is_one_table:
            (n_low, low), (n_zero, zero) = self._table()
            limits = confint_proportions_2indep(
                low, n_low, zero, n_zero, method="newcomb", compare="diff", alpha=1.0 - self.interval
            )
            return self._record(
                NEWCOMBE, **words, point=low / n_low - zero / n_zero, lower=float(limits[0]), upper=float(limits[1]),
                interval_kind="confidence (Newcombe)",
            )  # fmt: skip
        patients = self.model.patients
        inside = pd.Series(True, index=patients.index)
        if self.stratum in STRATA:
            inside &= patients["hr"] == self.stratum
        if self.arm:
            inside &= patients["arm"] == self.arm
        here = patients[inside]
        return self._standardised(words, *(here.assign(her2=level) for level in HER2_LEVELS))

    def _standardised(
        self, words: dict[str, object], one: pd.DataFrame, other: pd.DataFrame
    ) -> dict[str, Any]:
        """Difference of mean fitted probabilities of the same patients in two conditions, by the delta method."""
        fit, columns = self.model.fit, list(self.model.design.columns)
        designs = [_design(self.data, p) for p in (one, other)]
        unseen = dict.fromkeys(str(name) for design in designs for name in design.columns.difference(columns))
        if unseen:
            # A column that the regression does not have is a group without patients: it has no fitted probability.
            return self._record(
                STANDARDISED, **words, status="not estimable", note=f"no patients of {' and '.join(unseen)}"
            )
        first, second = (d.reindex(columns=columns, fill_value=0.0).astype(float) for d in designs)
        if fit.problem or not (fit.informed.contains(first).all() and fit.informed.contains(second).all()):
            return self._record(
                STANDARDISED, **words, status="separated",
                note=fit.problem or "an arm's level has no responder, or only responders: no fitted probability",
            )  # fmt: skip
        p, q = (expit(fit.linear_predictor(design).to_numpy()) for design in (first, second))
        gradient = pd.Series(
            (p * (1 - p)) @ first.to_numpy() / len(first) - (q * (1 - q)) @ second.to_numpy() / len(second),
            index=columns,
        )
        value, se = float(p.mean() - q.mean()), math.sqrt(fit.variance(gradient))
        reach = float(stats.norm.isf((1.0 - self.interval) / 2.0)) * se
        one_slope = f"{self.data.arms_are}s fixed, one odds ratio common to them" if self._common else ""
        return self._record(
            STANDARDISED, **words, point=value, lower=value - reach, upper=value + reach,
            interval_kind="confidence (delta method)", note=one_slope,
            p_value=float(2.0 * stats.norm.sf(abs(value) / se)) if se else math.nan,
        )  # fmt: skip

    def _treatment_differences(self) -> Iterator[dict[str, Any]]:
        """Say what the treated arm adds in each HER2 level, standardised to the patients of that level."""
        data, patients = self.data, self.model.patients
        for level in HER2_LEVELS:
            own = patients[patients["her2"] == level]
            none = [f"no {level} patients in {arm}" for arm in data.arms if not (own["arm"] == arm).any()]
            words: dict[str, object] = {
                "estimand": "treatment_difference",
                "contrast": f"{data.treated} minus {data.control}, {level}",
                "unit": "difference in the probability of response",
                "n": data.count(self.outcome, level)[0],
            }
            if none:
                yield self._record(STANDARDISED, **words, status="not estimable", note=" and ".join(none))
            else:
                yield self._standardised(words, own.assign(arm=data.treated), own.assign(arm=data.control))


def _beside(record: dict[str, Any]) -> dict[str, Any]:
    """Name what rests on one odds ratio for all random arms: no twin of the posterior, which has one for each."""
    common = {LOGISTIC: COMMON_TO_ARMS, STANDARDISED: DIFFERENCE_COMMON_TO_ARMS}
    return record | {"method": common.get(record["method"], record["method"])}


def _over_arms(data: ResponseData, outcome: str, interval: float) -> Iterator[dict[str, Any]]:
    """Mean log odds ratio over random arms, and that of a new arm, by HR stratum.

    A stratum in which an arm has no odds ratio of its own has no such mean: its rows say so, and the other stratum
    keeps its own.
    """
    if not data.arms_are_random:
        return
    effects: list[tuple[str, float, float]] = []
    lacking: dict[str, list[str]] = {}
    for arm in data.arms:
        own = ResponseRegression.of(data, outcome, arm)
        for stratum in data.strata:
            if not all(data.count(outcome, level, hr=stratum, arm=arm)[0] for level in HER2_LEVELS):
                continue
            contrast = own.contrast({_slope_in(stratum): 1.0})
            if own.fit.problem or not own.fit.estimable(contrast):
                lacking.setdefault(stratum, []).append(arm)
            else:
                effects.append((stratum, own.fit.value(contrast), own.fit.variance(contrast)))
    effects = [e for e in effects if e[0] not in lacking]
    present = [s for s in data.strata if any(stratum == s for stratum, _, _ in effects)]
    whole = ResponseRegression.of(data, outcome)

    def base(stratum: str, note: str) -> dict[str, Any]:
        row = _Row(data, outcome, interval, whole, {}, stratum, "pooled")
        return row._record(REML, interval_kind="confidence (Hartung-Knapp)", note=note)

    why = {
        s: f"no odds ratio in {name_some(arms)}, where a level has no responder, or only responders"
        for s, arms in lacking.items()
    }
    if len(effects) <= len(present):
        few = f"too few {data.arms_are}s with both levels to estimate their spread"
        why |= dict.fromkeys(present, few)
        present = []
    asked = list(data.strata)
    if set(STRATA) <= set(asked) and why:
        why[DIFFERENCE] = "; ".join(f"{s}: {text}" for s, text in why.items())
        asked.append(DIFFERENCE)
    for stratum in asked:
        if stratum in why:
            yield base(stratum, why[stratum]) | {"status": "not estimable"}
    if not present:
        return
    design = np.array([[float(stratum == s) for s in present] for stratum, _, _ in effects])
    fit = meta_regression(np.array([e[1] for e in effects]), np.array([e[2] for e in effects]), design)
    wanted = {s: np.eye(len(present))[i] for i, s in enumerate(present)}
    if set(STRATA) <= set(present):
        wanted[DIFFERENCE] = wanted[HR_NEGATIVE] - wanted[HR_POSITIVE]
    for stratum, row in wanted.items():
        note = f"{data.arms_are}s random, tau^2 {fit.tau2:.3g}, t with {fit.freedom} df"
        mean, low, high, p_value = fit.contrast(row, interval)
        ends = {"point": ratio(mean), "lower": ratio(low), "upper": ratio(high), "p_value": p_value}
        yield base(stratum, note) | ends
        if stratum != DIFFERENCE:
            mean, low, high = fit.prediction(row, interval)
            ends = {"point": ratio(mean), "lower": ratio(low), "upper": ratio(high)}
            yield base(stratum, note) | {"scope": "new cohort"} | ends


def _number_needed(difference: dict[str, Any]) -> dict[str, Any]:
    """Reciprocal of a risk difference and its limits, where they exclude 0."""
    low, point, high = (float(difference[c]) for c in ("lower", "point", "upper"))
    record = difference | {"estimand": "number_needed", "unit": "patients", "p_value": math.nan}
    if low > 0 or high < 0:
        ends = sorted((1 / abs(low), 1 / abs(high)))
        return record | {"point": 1 / abs(point), "lower": ends[0], "upper": ends[1]}
    note = difference["note"] if math.isnan(point) else "the interval of the risk difference contains 0"
    nothing = dict.fromkeys(("point", "lower", "upper"), math.nan)
    return record | nothing | {"status": "not estimable", "note": note}


def asked_contrasts(
    data: ResponseData, outcome: str
) -> Iterator[tuple[str, str, ResponseRegression, pd.Series[float]]]:
    """(HR stratum, quantity, regression, contrast) of the pooled quantities: ratio of odds ratios, or odds ratios."""
    whole = ResponseRegression.of(data, outcome)
    if data.control:
        yield ALL, "ratio of odds ratios", whole, whole.contrast(_between_arms(data))
        return
    for stratum in data.strata:
        if all(data.count(outcome, level, hr=stratum)[0] for level in HER2_LEVELS):
            yield stratum, "odds ratio", whole, whole.contrast({_slope_in(stratum): 1.0})


def _slope_in(label: str) -> str:
    """Column of the log odds ratio in an HR stratum or arm."""
    return f"HER2-low in {label}"


def _between_arms(data: ResponseData) -> dict[str, float]:
    return {_slope_in(data.treated): 1.0, _slope_in(data.control): -1.0}


def _asked(data: ResponseData, outcome: str, interval: float) -> Iterator[_Row]:
    """Every log odds ratio that the posterior reports for an outcome."""
    whole = ResponseRegression.of(data, outcome)
    if data.control:
        for arm in data.arms:
            yield _Row(data, outcome, interval, whole, {_slope_in(arm): 1.0}, ALL, "cohort", arm)
        between = _between_arms(data)
        yield _Row(data, outcome, interval, whole, between, ALL, "pooled", estimand="ratio_of_odds_ratios")
        return
    weights = {s: {_slope_in(s): 1.0} for s in data.strata}
    if set(STRATA) <= set(data.strata):
        weights[DIFFERENCE] = {_slope_in(HR_NEGATIVE): 1.0, _slope_in(HR_POSITIVE): -1.0}
    for stratum, wanted in weights.items():
        yield _Row(data, outcome, interval, whole, wanted, stratum, "pooled")
    for arm in data.arms if data.arms_are_random else ():
        own = ResponseRegression.of(data, outcome, arm)
        for stratum, wanted in weights.items():
            yield _Row(data, outcome, interval, own, wanted, stratum, "cohort", arm)
