"""Frequentist twin of the marginal effect model: analysis of covariance, by cohort and over all cohorts.

Least squares of the outcome on HER2, HR status, HER2 IHC level and all their first-order interactions, with
covariates. HR status and IHC level are unordered factors, as in the seed study; a cohort's regression is its own.
Marginal slopes and means are linear in the coefficients: intervals are exact t intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.diagnostic import het_breuschpagan

from bayes_her2.data import DIFFERENCE_MINUS, HR_NEGATIVE, HR_POSITIVE, IHC_LEVELS, STRATA, AnalysisSet
from bayes_her2.estimates import ALL, COHORT_FIXED, Estimates
from bayes_her2.frequentist.adjustment import bonferroni, rows_of
from bayes_her2.frequentist.pooling import (
    COMMON_EFFECT,
    RANDOM_EFFECTS,
    SINGLE_COHORT,
    common_effect,
    random_effects,
)
from bayes_her2.frequentist.regression import RowSpace
from bayes_her2.splines import knots_of, natural_spline

ANCOVA = "analysis of covariance (least squares)"
T_INTERVAL = "confidence (t)"
WEIGHTINGS = ("observed", "equal")
SLOPE_CONTRAST = "h + 1 SD over h, {} weights"
MEAN_CONTRAST = "mean at h, {} weights"
CURVE_AT = tuple(float(h) for h in np.arange(-2.0, 2.01, 0.5))
FAMILY = ("estimand", "contrast", "stratum", "scope", "cohort")
"""Columns that define a Bonferroni family; the outcomes within it are its tests."""

ALL_COHORTS = "all cohorts"
_MIN_RANDOM_EFFECTS = 3

type _Contrast = NDArray[np.float64]  # one weight for each column of a regression


def marginal_effect_twin(data: AnalysisSet, *, interval: float = 0.95) -> Estimates:
    """Marginal slopes of HER2 and marginal means of each continuous cell type, with t intervals.

    Estimands, in units of the outcome:

    - ``marginal_slope``: change per SD of HER2, for all tumours, each HR stratum, and HR- minus HR+. (The posterior has
      HR- minus HR+ pooled only, so a cohort's own difference stands without a verdict.)
    - ``marginal_mean``: mean at HER2 values from -2 to 2 SD.

    Weightings: ``observed`` averages over the tumours as they are (a stratum over its own tumours); ``equal``
    gives every cell of HR status x IHC level the same weight, with covariates at their mean over all tumours
    of the regression (least-squares means). With several cohorts either weighting keeps the cohorts' own shares.

    Scopes and methods:

    - ``cohort``: one regression for each cohort and cell type.
    - ``pooled`` with method ``cohort fixed``: one regression over all cohorts in which the cell type is
      continuous, with a term for each cohort; weighted by the inverse residual variance of each cohort's own
      regression (unweighted, and the note says so, where a cohort has no residual variance of its own). Slopes
      and means are averages over the same tumours as the posterior's: the matched twin.
    - ``pooled``, slopes, shown besides: the cohorts' slopes combined, each an average over its own mix of HR status and
      IHC level. ``single cohort`` for one, ``common effect`` for two, ``random-effects (REML, modified
      Hartung-Knapp)`` from three.

    Levels are those of the study: with equal weights nothing is estimable in a cohort that lacks one of them. A
    quantity that involves a coefficient which the tumours do not determine (an empty cell of HR status x IHC
    level) is ``not estimable``, and the note names the empty cells.

    Parameters
    ----------
    data
        Analysis set of the model ``marginal_effect``.
    interval
        Probability of every interval.

    Returns
    -------
    Estimates
        ``source`` twin. ``p_adjusted`` is Bonferroni over the outcomes of one estimand, weighting, stratum, scope and
        cohort (cohort-fixed and combined rows apart).
    """
    records: list[dict[str, Any]] = []
    for cell_type in map(str, data.cell_types.index):
        row = _Rows(data, cell_type, interval)
        if cell_type not in data.outcome.columns:
            records.extend(row.not_modelled())
            continue
        regressions = {cohort: _own_regression(data, cell_type, cohort) for cohort in data.cohorts}
        for cohort, regression in regressions.items():
            records.extend(row.cohort(cohort, regression))
        records.extend(row.pooled(regressions))
        records.extend(row.cohort_fixed(_fixed_regression(data, cell_type, regressions)))
    table = pd.DataFrame(records)
    fixed = table["method"] == COHORT_FIXED
    table["p_adjusted"] = bonferroni(table.assign(fixed=fixed), (*FAMILY, "fixed"))
    return Estimates.from_records(rows_of(table))


def ancova_tests(data: AnalysisSet) -> pd.DataFrame:
    """Type III tests of every term: sum-to-zero contrasts, each term given all others.

    HER2 and covariates are not centred further than in the analysis set, so main effects of HR status and IHC level are
    differences at average HER2.

    Parameters
    ----------
    data
        Analysis set of the model ``marginal_effect``.

    Returns
    -------
    pandas.DataFrame
        ``cell_type``, ``scope`` (cohort, pooled), ``cohort``, ``term``, ``df1``, ``df2``, ``f``, ``p_value``,
        ``p_bonferroni`` (over the cell types of one term, scope and cohort), ``note``. Where some cells of HR status x
        IHC level have no tumours, a term is tested if the tumours determine its whole hypothesis (its sum-to-zero
        coefficients given all others are 0, the hypothesis of complete data); the others are left out, and the
        note says why.
    """
    rows = []
    for cell_type, scope, cohort, regression in _regressions(data):
        for term, columns in regression.design.terms("sum").items():
            tested = regression.term_test(term)
            rows.append((cell_type, scope, cohort, term, len(columns), *tested))
    columns = ["cell_type", "scope", "cohort", "term", "df1", "df2", "f", "p_value", "note"]
    table = pd.DataFrame(rows, columns=columns)
    table["p_bonferroni"] = bonferroni(table, ("term", "scope", "cohort"))
    return table[[*columns[:-1], "p_bonferroni", "note"]]


def ancova_residual_checks(data: AnalysisSet) -> pd.DataFrame:
    """Whether the residuals of each cohort's regression look as least squares wants them.

    Parameters
    ----------
    data
        Analysis set of the model ``marginal_effect``.

    Returns
    -------
    pandas.DataFrame
        ``cell_type``, ``cohort``, ``n``, ``skewness`` and ``excess_kurtosis`` of the studentised residuals,
        ``shapiro_p`` (normality), ``breusch_pagan_p`` (constant variance), ``cooks_max`` and ``cooks_tumour``
        (the largest Cook's distance and whose), ``spline_df1``, ``spline_df2``, ``spline_f``, ``spline_p`` (F test of a
        natural cubic spline of HER2 with 3 degrees of freedom against the straight line).
    """
    rows = []
    for cell_type, scope, cohort, regression in _regressions(data):
        if scope == "cohort":
            rows.append((cell_type, cohort, *regression.checks()))
    columns = ["cell_type", "cohort", "n", "skewness", "excess_kurtosis", "shapiro_p", "breusch_pagan_p"]
    columns += ["cooks_max", "cooks_tumour", "spline_df1", "spline_df2", "spline_f", "spline_p"]
    return pd.DataFrame(rows, columns=columns)


def _regressions(data: AnalysisSet) -> Iterable[tuple[str, str, str, _Regression]]:
    """Every regression that can be fitted: cell type, scope, cohort, regression."""
    for cell_type in map(str, data.outcome.columns):
        own = {cohort: _own_regression(data, cell_type, cohort) for cohort in data.cohorts}
        for cohort, regression in own.items():
            if regression is not None and not regression.problem:
                yield cell_type, "cohort", cohort, regression
        pooled = _fixed_regression(data, cell_type, own)
        if len(pooled.design.cohorts) > 1 and not pooled.problem:
            yield cell_type, "pooled", "", pooled


class _Design:
    """Tumours of one regression, and its columns under treatment or sum-to-zero contrasts."""

    def __init__(self, data: AnalysisSet, tumours: pd.DataFrame) -> None:
        self.tumours = tumours
        self.her2 = tumours["her2_sd"].to_numpy(float)
        self.cohorts = tuple(sorted(tumours["cohort"].unique()))
        self.strata = tuple(s for s in STRATA if s in set(tumours["hr"]))
        self.levels = tuple(level for level in IHC_LEVELS if level in set(tumours["her2_ihc"]))
        self.absent = tuple(level for level in data.ihc_levels if level not in self.levels)
        covariates = data.covariates.loc[tumours.index].astype(float)
        # A covariate that is the same in all these tumours says nothing here.
        covariates = covariates.loc[:, covariates.nunique() > 1]
        if data.use_centre:
            named = (tumours["cohort"] + "/" + tumours["centre"].astype("str")).where(
                tumours["centre"].notna()
            )
            for cohort in self.cohorts:
                levels = sorted(named[tumours["cohort"] == cohort].dropna().unique())
                for level in levels[1:]:
                    covariates = covariates.assign(**{f"centre: {level}": (named == level).astype(float)})
        self.covariates = covariates
        self._averages: dict[tuple[tuple[str, ...], str], tuple[_Contrast, _Contrast]] = {}
        self.factors: dict[str, tuple[tuple[str, ...], str]] = {
            "cohort": (self.cohorts, "cohort"),
            "hr": (self.strata, "hr"),
            "her2_ihc": (self.levels, "her2_ihc"),
        }

    def _coded(self, factor: str, values: Sequence[str], coding: str) -> NDArray[np.float64]:
        levels = self.factors[factor][0]
        position = pd.Index(levels).get_indexer(pd.Index(values))
        one_hot = np.eye(len(levels))[position]
        if coding == "sum":  # the last level is minus the sum of the others
            return np.asarray(one_hot[:, :-1] - one_hot[:, -1:])
        return np.asarray(one_hot[:, 1:])

    def terms(self, coding: str = "treatment") -> dict[str, list[str]]:
        """Names of the columns of each term, the intercept left out."""
        found: dict[str, list[str]] = {}
        for name in self.columns(coding, self.tumours, self.her2, self.covariates.to_numpy(float)).columns:
            if name != "intercept":
                found.setdefault(name.split(" = ")[0], []).append(name)
        return found

    def columns(
        self,
        coding: str,
        tumours: pd.DataFrame,
        her2: NDArray[np.float64],
        covariates: NDArray[np.float64],
        cohort_shares: NDArray[np.float64] | None = None,
    ) -> pd.DataFrame:
        """Columns for tumours (``cohort``, ``hr``, ``her2_ihc``) with given HER2 and covariates.

        `cohort_shares`: coded cohort columns that replace those of the tumours (an average over cohorts).
        """
        made: dict[str, NDArray[np.float64]] = {"intercept": np.ones(len(tumours))}
        cohort = (
            self._coded("cohort", tumours["cohort"].tolist(), coding)
            if cohort_shares is None
            else cohort_shares
        )
        made |= {f"cohort = {i}": cohort[:, i] for i in range(cohort.shape[1])}
        parts = {"her2": her2[:, None]}
        for factor in ("hr", "her2_ihc"):
            if len(self.factors[factor][0]) > 1:
                parts[factor] = self._coded(factor, tumours[factor].tolist(), coding)
        for name, block in parts.items():
            made |= {f"{name} = {i}": block[:, i] for i in range(block.shape[1])}
        for (one, left), (other, right) in combinations(parts.items(), 2):
            product = (left[:, :, None] * right[:, None, :]).reshape(len(tumours), -1)
            made |= {f"{one} x {other} = {i}": product[:, i] for i in range(product.shape[1])}
        for i, name in enumerate(self.covariates.columns):
            made[f"covariate {name} = 0"] = covariates[:, i]
        return pd.DataFrame(made)

    @property
    def empty(self) -> list[str]:
        """Cells of HR status x IHC level without a tumour."""
        seen = set(zip(self.tumours["hr"], self.tumours["her2_ihc"], strict=True))
        return [
            f"{s} with IHC {level}" for s in self.strata for level in self.levels if (s, level) not in seen
        ]

    def average(self, strata: Sequence[str], weighting: str, her2: float) -> _Contrast | None:
        """Average of the columns over tumours or cells with HER2 set to one value.

        None with nobody to average, or where equal weights need a level of the study that no tumour here has.

        Columns are linear in HER2, so two values are enough for all others.
        """
        if not strata or not set(strata) <= set(self.strata) or (weighting == "equal" and self.absent):
            return None
        key = (tuple(strata), weighting)
        if key not in self._averages:
            self._averages[key] = (self._at(strata, weighting, 0.0), self._at(strata, weighting, 1.0))
        here, above = self._averages[key]
        return here + her2 * (above - here)

    def _at(self, strata: Sequence[str], weighting: str, her2: float) -> _Contrast:
        if weighting == "observed":
            own = self.tumours["hr"].isin(strata).to_numpy()
            chosen = self.tumours.loc[own]
            covariates = self.covariates.to_numpy(float)[own]
            columns = self.columns("treatment", chosen, np.full(len(chosen), her2), covariates)
        else:
            cells = pd.DataFrame(
                [(s, level) for s in strata for level in self.levels], columns=["hr", "her2_ihc"]
            )
            shares = self._coded("cohort", self.tumours["cohort"].tolist(), "treatment").mean(axis=0)
            covariates = np.tile(self.covariates.to_numpy(float).mean(axis=0), (len(cells), 1))
            columns = self.columns(
                "treatment", cells, np.full(len(cells), her2), covariates, np.tile(shares, (len(cells), 1))
            )
        return columns.to_numpy(float).mean(axis=0)


class _Regression:
    """A least-squares regression; coefficients that the tumours do not determine are never used."""

    def __init__(
        self, design: _Design, outcome: pd.Series[float], weights: NDArray[Any] | None, remark: str = ""
    ) -> None:
        self.design, self.outcome, self.remark = design, outcome, remark
        self.weights = np.ones(len(outcome)) if weights is None else weights
        self.columns = self._at("treatment")
        self.space = RowSpace.of(self.columns)
        freedom = len(outcome) - self.space.rank
        self.problem = ""
        if freedom < 1:
            self.problem = f"{len(outcome)} tumours for {self.space.rank} coefficients leave no residual"
        elif not float(outcome.std()) > 0:
            self.problem = "the outcome is the same in all tumours"

    def _at(self, coding: str) -> pd.DataFrame:
        design = self.design
        return design.columns(coding, design.tumours, design.her2, design.covariates.to_numpy(float))

    def _fit(self, columns: NDArray[np.float64]) -> Any:
        return sm.WLS(self.outcome.to_numpy(float), columns, weights=self.weights).fit()

    @cached_property
    def fit(self) -> tuple[Any, NDArray[np.float64]]:
        """The regression on independent columns, and the matrix that takes its coefficients to the named ones."""
        reduced, back = self.space.reduced(self.columns)
        return self._fit(reduced), back

    @property
    def residual_variance(self) -> float:
        """Residual variance (of a tumour with weight 1)."""
        return float(self.fit[0].scale)

    def linear(self, contrast: _Contrast, interval: float) -> dict[str, float] | None:
        """Estimate, t interval and P of a linear combination of coefficients; None where it is not determined."""
        if not self.space.is_full:
            asked = pd.DataFrame([contrast], columns=list(self.columns.columns))
            if not self.space.contains(asked)[0]:
                return None
        fitted, back = self.fit
        weights = contrast @ back
        point = float(weights @ fitted.params)
        se = math.sqrt(float(weights @ fitted.normalized_cov_params @ weights * fitted.scale))
        freedom = float(fitted.df_resid)
        reach = float(stats.t.isf((1.0 - interval) / 2.0, freedom)) * se
        p_value = float(2.0 * stats.t.sf(abs(point) / se, freedom)) if se > 0 else math.nan
        return {"point": point, "lower": point - reach, "upper": point + reach, "p_value": p_value, "se": se}

    def slope(self, stratum: str, weighting: str) -> _Contrast | None:
        """Contrast of coefficients that is the marginal slope."""
        if stratum == DIFFERENCE_MINUS:
            negative, positive = self.slope(HR_NEGATIVE, weighting), self.slope(HR_POSITIVE, weighting)
            return None if negative is None or positive is None else negative - positive
        strata = self.design.strata if stratum == ALL else (stratum,)
        above = self.design.average(strata, weighting, 1.0)
        here = self.design.average(strata, weighting, 0.0)
        return None if above is None or here is None else above - here

    def mean(self, stratum: str, weighting: str, her2: float) -> _Contrast | None:
        """Contrast of coefficients that is the marginal mean."""
        strata = self.design.strata if stratum == ALL else (stratum,)
        return self.design.average(strata, weighting, her2)

    def term_test(self, term: str) -> tuple[float, float, float, str]:
        """Residual df, F, P of one term by type III, and why there is none.

        The hypothesis is that the term's sum-to-zero coefficients are 0. It is tested where each of them is a linear
        combination of the rows of the design: then the estimates, and their covariance, do not depend on how the design
        is made to have full rank.
        """
        columns = self._at("sum")
        names = list(columns.columns)
        tested = np.eye(len(names))[[names.index(name) for name in self.design.terms("sum")[term]]]
        space, fitted, back = self._sum_coded
        if not space.contains(pd.DataFrame(tested, columns=names)).all():
            reason = "the tumours do not determine all of its coefficients"
            if self.design.empty:
                reason += f" (no tumours: {', '.join(self.design.empty)})"
            return math.nan, math.nan, math.nan, reason
        result = fitted.f_test(tested @ back)
        return float(result.df_denom), float(np.squeeze(result.fvalue)), float(result.pvalue), self.remark

    @cached_property
    def _sum_coded(self) -> tuple[RowSpace, Any, NDArray[np.float64]]:
        columns = self._at("sum")
        space = RowSpace.of(columns)
        reduced, back = space.reduced(columns)
        return space, self._fit(reduced), back

    def checks(self) -> tuple[object, ...]:
        """Figures of `ancova_residual_checks`."""
        reduced, _ = self.space.reduced(self.columns)
        fitted = sm.OLS(self.outcome.to_numpy(float), reduced).fit()  # of one cohort: no weights
        influence = fitted.get_influence()
        with np.errstate(divide="ignore", invalid="ignore"):
            studentised = np.asarray(influence.resid_studentized_internal)
            distance = np.asarray(influence.cooks_distance[0])
        # A tumour alone in its cell is fitted without error: it has no residual to look at.
        known = np.isfinite(studentised) & np.isfinite(distance)
        seen = studentised[known]
        largest = int(np.flatnonzero(known)[np.argmax(distance[known])])
        return (
            len(self.outcome),
            float(stats.skew(seen)),
            float(stats.kurtosis(seen)),
            float(stats.shapiro(seen).pvalue),
            float(het_breuschpagan(fitted.resid, _independent(self.columns.to_numpy(float)))[1]),
            float(distance[largest]),
            str(self.outcome.index[largest]),
            *self._spline_test(reduced, fitted),
        )

    def _spline_test(self, reduced: NDArray[np.float64], fitted: Any) -> tuple[float, float, float, float]:
        knots = knots_of(self.design.her2)
        if len(knots) < 4:
            return math.nan, math.nan, math.nan, math.nan
        curved = self._fit(np.column_stack([reduced, natural_spline(self.design.her2, knots)]))
        f, p_value, freedom = curved.compare_f_test(fitted)
        return float(freedom), float(curved.df_resid), float(f), float(p_value)


def _independent(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out columns that those before them determine; the first, an intercept, stays."""
    kept: list[int] = []
    for i in range(columns.shape[1]):
        if np.linalg.matrix_rank(columns[:, [*kept, i]]) > len(kept):
            kept.append(i)
    return columns[:, kept]


def _own_regression(data: AnalysisSet, cell_type: str, cohort: str) -> _Regression | None:
    """Regression of one cohort; None where the cell type is not continuous in it."""
    own = data.tumours["cohort"] == cohort
    outcome = data.outcome.loc[own, cell_type].sort_index()
    if outcome.isna().any():
        return None
    return _Regression(_Design(data, data.tumours.loc[outcome.index]), outcome, None)


def _fixed_regression(
    data: AnalysisSet, cell_type: str, own: Mapping[str, _Regression | None]
) -> _Regression:
    """One regression over all cohorts in which the cell type is continuous, weighted by their residual variances."""
    outcome = data.outcome[cell_type].dropna().sort_index()
    tumours = data.tumours.loc[outcome.index]
    variances = {
        cohort: regression.residual_variance
        for cohort, regression in own.items()
        if regression is not None and not regression.problem
    }
    spread = tumours["cohort"].map(variances).astype(float)
    without = sorted(set(tumours.loc[spread.isna(), "cohort"]))
    if without:
        remark = f"not weighted: {', '.join(without)} has no residual variance of its own, so one serves all cohorts"
        return _Regression(_Design(data, tumours), outcome, None, remark)
    if len(variances) < 2:
        return _Regression(_Design(data, tumours), outcome, None)
    return _Regression(_Design(data, tumours), outcome, (1.0 / spread).to_numpy(float))


@dataclass(frozen=True)
class _Rows:
    """Turns the regressions of one cell type into records of `Estimates`."""

    data: AnalysisSet
    cell_type: str
    interval: float
    counted: dict[tuple[str, tuple[str, ...]], tuple[int, int]] = field(default_factory=dict)

    @property
    def strata(self) -> tuple[str, ...]:
        """Strata of the marginal slopes."""
        return (ALL, *self.data.strata, *((DIFFERENCE_MINUS,) if len(self.data.strata) == 2 else ()))

    def _record(
        self,
        estimand: str,
        weighting: str,
        stratum: str,
        scope: str,
        method: str,
        cohorts: Iterable[str],
        **values: Any,
    ) -> dict[str, Any]:
        n, n_zero = self._counts(stratum, cohorts)
        slope = estimand == "marginal_slope"
        label = self.data.outcome_label
        record = {
            "source": "twin",
            "method": method,
            "model": self.data.model,
            "outcome": self.cell_type,
            "exposure": self.data.measure,
            "estimand": estimand,
            "contrast": (SLOPE_CONTRAST if slope else MEAN_CONTRAST).format(weighting),
            "adjustment": self.data.adjustment,
            "stratum": stratum,
            "scope": scope,
            "cohort": "",
            "at": None,
            "unit": f"{label}, per SD" if slope else label,
            "point": math.nan,
            "lower": math.nan,
            "upper": math.nan,
            "p_value": math.nan,
            "interval_kind": T_INTERVAL,
            "interval_prob": self.interval,
            "n": n,
            "n_zero": n_zero,
            "status": "observed",
            "note": "",
            "fingerprint": self.data.fingerprint,
        } | values
        if estimand == "marginal_mean":
            record["p_value"] = math.nan  # a mean is not tested against 0
        return record

    def _counts(self, stratum: str, cohorts: Iterable[str]) -> tuple[int, int]:
        """Tumours behind a row, and how many of them have none of the cell type."""
        key = (stratum, tuple(sorted(cohorts)))
        if key not in self.counted:
            tumours = self.data.tumours
            own = tumours["cohort"].isin(key[1])
            if stratum in STRATA:
                own &= tumours["hr"] == stratum
            known = self.cell_type in self.data.abundance.columns
            n_zero = (
                int((self.data.abundance.loc[tumours.index[own], self.cell_type] == 0).sum()) if known else 0
            )
            self.counted[key] = (int(own.sum()), n_zero)
        return self.counted[key]

    def not_modelled(self) -> list[dict[str, Any]]:
        """Rows of a cell type that is continuous nowhere."""
        note = self.data.why_not_continuous(self.cell_type)
        return [
            self._record(
                "marginal_slope",
                weighting,
                stratum,
                "pooled",
                COHORT_FIXED,
                self.data.cohorts,
                status="not estimable",
                note=note,
            )
            for weighting in WEIGHTINGS
            for stratum in self.strata
        ]

    def _of(self, regression: _Regression, scope: str, method: str, cohort: str) -> list[dict[str, Any]]:
        """Slopes and means of one regression."""
        records = []
        cohorts = regression.design.cohorts

        def add(
            estimand: str, weighting: str, stratum: str, contrast: _Contrast | None, at: float | None
        ) -> None:
            where = cohort or ALL_COHORTS
            values: dict[str, Any] = {"cohort": cohort, "at": at}
            if regression.problem:
                values |= {"status": "not estimable", "note": f"{where}: {regression.problem}"}
            elif contrast is None:
                missing = STRATA if stratum == DIFFERENCE_MINUS else (stratum,)
                lacking = [s for s in missing if s in STRATA and s not in regression.design.strata]
                absent = f"with IHC {', '.join(regression.design.absent)}"
                none = (
                    f"no {', '.join(lacking)} tumours in {where}"
                    if lacking
                    else f"no tumours {absent} in {where}, which equal weights need"
                )
                values |= {"status": "not estimable", "note": none}
            else:
                found = regression.linear(contrast, self.interval)
                if found is None:
                    empty = ", ".join(regression.design.empty)
                    reason = f"no tumours in {empty}" if empty else "terms that cannot be told apart"
                    values |= {
                        "status": "not estimable",
                        "note": f"{where}: {reason}, so {weighting} weights "
                        "involve a coefficient that is not determined",
                    }
                else:
                    values |= {k: found[k] for k in ("point", "lower", "upper", "p_value")}
                    values["note"] = regression.remark
            records.append(self._record(estimand, weighting, stratum, scope, method, cohorts, **values))

        for weighting in WEIGHTINGS:
            for stratum in self.strata:
                contrast = None if regression.problem else regression.slope(stratum, weighting)
                add("marginal_slope", weighting, stratum, contrast, None)
            for stratum in (ALL, *self.data.strata) if scope == "pooled" else (ALL,):
                for at in CURVE_AT:
                    contrast = None if regression.problem else regression.mean(stratum, weighting, at)
                    add("marginal_mean", weighting, stratum, contrast, at)
        return records

    def cohort(self, cohort: str, regression: _Regression | None) -> list[dict[str, Any]]:
        """Rows of one cohort."""
        if regression is not None:
            return self._of(regression, "cohort", ANCOVA, cohort)
        note = self.data.why_not_continuous(self.cell_type, cohort)
        return [
            self._record(
                "marginal_slope",
                weighting,
                stratum,
                "cohort",
                ANCOVA,
                (cohort,),
                cohort=cohort,
                status="not estimable",
                note=note,
            )
            for weighting in WEIGHTINGS
            for stratum in self.strata
        ]

    def cohort_fixed(self, regression: _Regression) -> list[dict[str, Any]]:
        """Rows of the regression over all cohorts."""
        return self._of(regression, "pooled", COHORT_FIXED, "")

    def pooled(self, regressions: Mapping[str, _Regression | None]) -> list[dict[str, Any]]:
        """Slopes of the cohorts combined."""
        usable = {c: r for c, r in regressions.items() if r is not None and not r.problem}
        records = []
        for weighting in WEIGHTINGS:
            for stratum in self.strata:
                found: dict[str, dict[str, float]] = {}
                for cohort, regression in usable.items():
                    contrast = regression.slope(stratum, weighting)
                    value = None if contrast is None else regression.linear(contrast, self.interval)
                    if value is not None:
                        found[cohort] = value
                method, values = self._combined(found)
                left_out = [c for c in regressions if c not in found]
                if left_out and found:
                    values["note"] = f"left out: {', '.join(left_out)}"
                cohorts = tuple(found or regressions)
                records.append(
                    self._record("marginal_slope", weighting, stratum, "pooled", method, cohorts, **values)
                )
        return records

    def _combined(self, found: Mapping[str, Mapping[str, float]]) -> tuple[str, dict[str, Any]]:
        if not found:
            return SINGLE_COHORT, {"status": "not estimable", "note": "no cohort has an estimate"}
        if len(found) == 1:
            only = next(iter(found.values()))
            return SINGLE_COHORT, {k: only[k] for k in ("point", "lower", "upper", "p_value")}
        points = [v["point"] for v in found.values()]
        variances = [v["se"] ** 2 for v in found.values()]
        if len(found) < _MIN_RANDOM_EFFECTS:
            method, result = COMMON_EFFECT, common_effect(points, variances, interval=self.interval)
        else:
            method, result = RANDOM_EFFECTS, random_effects(points, variances, interval=self.interval)
        return method, {
            "point": result.estimate,
            "lower": result.lower,
            "upper": result.upper,
            "p_value": result.p_value,
            "interval_kind": result.interval_kind,
        }
