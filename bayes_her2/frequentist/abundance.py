"""Frequentist twin of the abundance model: hurdle regressions by cohort, pooled on the log scale.

Per cohort and cell type a logistic regression of presence and a gamma regression of the positive amounts,
with the linear predictor of the Bayesian model (HER2 per SD, HR, their interaction, covariates, centres).
Without covariates the HR+ and HR- slopes of this interaction model are exactly those of one univariate
regression in each stratum, which is what the seed paper printed: the design is saturated in HR. (In the
gamma part the dispersion, hence the standard error, is common to both strata.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from scipy import stats

from bayes_her2.data import DIFFERENCE, STRATA, AnalysisSet
from bayes_her2.estimates import COHORT_FIXED, Estimates
from bayes_her2.frequentist.adjustment import bonferroni, rows_of
from bayes_her2.frequentist.design import design_matrix
from bayes_her2.frequentist.effects import (
    GAMMA,
    LOGISTIC,
    MIN_EVENTS,
    MIN_POSITIVES,
    STANDARDISED_HURDLE,
    STANDARDISED_LOGISTIC,
    WALD,
    Effect,
    marginal_odds_effects,
    overall_effects,
    slope_effects,
    stratum_designs,
)
from bayes_her2.frequentist.pooling import (
    COMMON_EFFECT,
    RANDOM_EFFECTS,
    SINGLE_COHORT,
    Pooled,
    common_effect,
    random_effects,
)
from bayes_her2.frequentist.regression import Regression, gamma_regression, logistic_regression

CONTRAST = "h + 1 SD over h"
UNITS = {
    "presence": "odds ratio per SD",
    "amount": "ratio of means per SD",
    "overall": "ratio of E[y] per SD",
    "high_abundance": "marginal odds ratio per SD",
    "high_abundance_conditional": "odds ratio per SD",
}
METHODS = {
    "presence": LOGISTIC,
    "amount": GAMMA,
    "overall": STANDARDISED_HURDLE,
    "high_abundance": STANDARDISED_LOGISTIC,
    "high_abundance_conditional": LOGISTIC,
}
FAMILY = ("estimand", "stratum", "scope", "cohort")
"""Columns that define a Bonferroni family; the outcomes within it are its tests."""

_MIN_RANDOM_EFFECTS = 3
_LARGEST_LOG = 700.0  # beyond it a ratio overflows and is reported as infinite

type _Effects = dict[tuple[str, str], Effect]


def abundance_twin(data: AnalysisSet, *, interval: float = 0.95) -> Estimates:
    """Ratios per SD of HER2 by cell type and HR stratum: by cohort, pooled, and for a new cohort.

    Estimands are those of the posterior (``presence``, ``amount``, ``overall``, ``high_abundance``) and
    the conditional odds ratio of high abundance (``high_abundance_conditional``), whose ``HR- over HR+``
    row carries the P value for interaction.

    Scopes and methods:

    - ``cohort``: one regression per part, cohort and cell type. Standardised quantities (``overall``,
      ``high_abundance``) are averaged over the tumours of that cohort and stratum; delta-method intervals.
    - ``pooled``: the cohorts' log ratios combined. ``single cohort`` for one, ``common effect`` for two,
      ``random-effects (REML, modified Hartung-Knapp)`` from three. Each row pools the cohorts where that row is
      estimable, so the ratio HR- over HR+ rests on cohorts with both strata and need not equal the
      quotient of the two pooled slopes.
    - ``pooled`` with method ``cohort fixed``: one regression over all cohorts with a common slope and
      interaction, and cohort-specific intercepts and HR terms. In the gamma part each cohort has its own
      dispersion (the Pearson one of its own regression), taken as known.
    - ``new cohort``: the random-effects prediction interval, from three cohorts on.

    P values are two-sided; ``p_adjusted`` is Bonferroni over the outcomes of one family = estimand x
    stratum x scope x cohort (the cohort-fixed regressions apart), whose size is the number of estimable
    rows in it.

    Parameters
    ----------
    data
        Analysis set of the abundance model.
    interval
        Probability of every interval.

    Returns
    -------
    Estimates
        ``source`` twin; every combination is there, with status ``not estimable`` or ``separated`` and a note
        where there is no number.
    """
    ordered = data.tumours.sort_index()
    tables = _Tables(data)
    records: list[dict[str, Any]] = []
    for cell_type in data.cell_types.index:
        by_cohort: dict[str, _Effects] = {}
        dispersion: dict[str, float] = {}
        for cohort in data.cohorts:
            tumours = ordered[ordered["cohort"] == cohort]
            fitted = _fit_parts(data, tables, cell_type, tumours, where=cohort)
            by_cohort[cohort] = fitted.effects
            if fitted.amount is not None and fitted.amount.scale > 0:
                dispersion[cohort] = fitted.amount.scale
        fixed = _fit_parts(data, tables, cell_type, ordered, where="all cohorts", dispersion=dispersion)
        for key in ((estimand, stratum) for estimand in UNITS for stratum in (*STRATA, DIFFERENCE)):
            row = _Row(data, tables, cell_type, *key, interval)
            own = {cohort: effects[key] for cohort, effects in by_cohort.items()}
            records.extend(row.cohort(cohort, effect) for cohort, effect in own.items())
            records.extend(row.pooled(own))
            records.append(row.cohort_fixed(fixed))
    table = pd.DataFrame(records)
    # Outcomes pooled from one, two or more cohorts are one family; the cohort-fixed regressions are another.
    is_fixed = (table["method"] == COHORT_FIXED).rename("cohort fixed")
    table["p_adjusted"] = bonferroni(table.assign(fixed=is_fixed), (*FAMILY, "fixed"))
    return Estimates.from_records(rows_of(table))


@dataclass(frozen=True)
class _Parts:
    """What the regressions of one set of tumours say, and which cohorts informed them."""

    effects: _Effects
    amount: Regression | None
    informing: Mapping[str, frozenset[str]]  # estimand -> cohorts with a tumour that is not separated
    notes: tuple[str, ...] = ()


class _Tables:
    """Lookups by label, made once: counts, and parts that the analysis set does not model."""

    def __init__(self, data: AnalysisSet) -> None:
        counts = data.counts.set_index(["cell_type", "cohort", "hr"])
        self._counts: dict[tuple[str, str, str], tuple[int, int]] = {
            key: (int(n), int(n_zero))
            for key, n, n_zero in zip(counts.index, counts["n"], counts["n_zero"], strict=True)
        }
        parts = data.parts.set_index(["cell_type", "stratum"])
        self._reasons = {
            (part, *key): ("" if modelled else str(reason) or f"{part} is not modelled")
            for part in ("presence", "amount")
            for key, modelled, reason in zip(
                parts.index, parts[f"{part}_modelled"], parts["reason"], strict=True
            )
        }
        rules = data.rules.set_index(["cell_type", "cohort"])["high_rule"]
        self._high = {key: str(rule) for key, rule in rules.items()}
        self.cohorts = data.cohorts
        self.fingerprint = data.fingerprint

    def tumours(self, cell_type: str, cohorts: Iterable[str], stratum: str) -> tuple[int, int]:
        """Tumours and exact zeros behind a row."""
        strata = STRATA if stratum == DIFFERENCE else (stratum,)
        found = [self._counts.get((cell_type, c, s), (0, 0)) for c in cohorts for s in strata]
        return sum(n for n, _ in found), sum(n_zero for _, n_zero in found)

    def not_modelled(self, part: str, cell_type: str, stratum: str) -> str:
        """Why the analysis set does not model a part in a stratum, '' if it does."""
        return self._reasons.get((part, cell_type, stratum), "")

    def high_means(self, cell_type: str, cohorts: Iterable[str]) -> str:
        """Cut-off behind high abundance, in words."""
        words = {"median": "at least the within-cohort median", "presence": "present"}
        rules = {c: words.get(self._high.get((cell_type, c), ""), "") for c in cohorts}
        if len(set(rules.values())) == 1:
            return f"high = {next(iter(rules.values()))}"
        return "high = " + ", ".join(f"{rule} ({cohort})" for cohort, rule in rules.items())


def _fit_parts(
    data: AnalysisSet,
    tables: _Tables,
    cell_type: str,
    tumours: pd.DataFrame,
    *,
    where: str,
    dispersion: Mapping[str, float] | None = None,
) -> _Parts:
    """Fit presence, amount and high abundance to some tumours, and derive every estimand from them."""
    hr, cohort = tumours["hr"], tumours["cohort"]
    absent = {s: f"no {s} tumours in {where}" for s in STRATA if not (hr == s).any()}
    if cell_type not in data.abundance.columns:
        return _Parts(_nothing(tables, cell_type, absent), None, {})
    design = design_matrix(
        tumours, data.covariates.loc[tumours.index], reference=data.reference, use_centre=data.use_centre
    )
    designs = stratum_designs(design, hr, reference=data.reference)
    abundance = data.abundance[cell_type].loc[tumours.index].astype(float)
    present = abundance > 0

    def logistic(
        outcome: pd.Series[bool], word: str, part: str
    ) -> tuple[Regression | None, dict[str, Effect]]:
        unmodelled = {s: tables.not_modelled(part, cell_type, s) for s in STRATA} if part else {}
        offered = ~hr.isin([s for s, reason in unmodelled.items() if reason])
        lacking = {s: reason for s, reason in unmodelled.items() if reason} | absent
        for stratum in STRATA:
            events = int(outcome[hr == stratum].sum())
            total = int((hr == stratum).sum())
            if stratum not in lacking and min(events, total - events) < MIN_EVENTS:
                lacking[stratum] = (
                    f"{events} of {total} {stratum} tumours in {where} are {word}: fewer than "
                    f"{MIN_EVENTS} events or non-events"
                )
        fit = logistic_regression(design[offered], outcome[offered]) if len(lacking) < len(STRATA) else None
        return fit, slope_effects(
            fit, design, hr, lacking, reference=data.reference, method=LOGISTIC, where=where
        )

    presence, presence_slopes = logistic(present, "positive", "presence")
    amount, amount_slopes, notes = _fit_amount(
        data, tables, cell_type, tumours, design, absent, where, dispersion
    )
    high, high_slopes = logistic(data.high[cell_type].loc[tumours.index].astype(bool), "high", "")
    zero_share = {s: float((~present[hr == s]).mean()) if s not in absent else math.nan for s in STRATA}

    estimands = {
        "presence": presence_slopes,
        "amount": amount_slopes,
        "overall": overall_effects(presence, amount, presence_slopes, amount_slopes, designs, zero_share),
        "high_abundance": marginal_odds_effects(high, high_slopes, designs),
        "high_abundance_conditional": high_slopes,
    }
    informing = {
        "presence": _cohorts(presence, cohort),
        "amount": _cohorts(amount, cohort),
        "overall": _cohorts(presence, cohort) | _cohorts(amount, cohort),
        "high_abundance": _cohorts(high, cohort),
        "high_abundance_conditional": _cohorts(high, cohort),
    }
    effects = {(e, s): effect for e, by_stratum in estimands.items() for s, effect in by_stratum.items()}
    return _Parts(effects, amount, informing, notes)


def _fit_amount(
    data: AnalysisSet,
    tables: _Tables,
    cell_type: str,
    tumours: pd.DataFrame,
    design: pd.DataFrame,
    absent: Mapping[str, str],
    where: str,
    dispersion: Mapping[str, float] | None,
) -> tuple[Regression | None, dict[str, Effect], tuple[str, ...]]:
    """Gamma regression of the positive amounts, with cohort-specific dispersions if given."""
    abundance = data.abundance[cell_type].loc[tumours.index].astype(float)
    hr = tumours["hr"]
    unmodelled = {s: tables.not_modelled("amount", cell_type, s) for s in STRATA}
    lacking = {s: reason for s, reason in unmodelled.items() if reason} | dict(absent)
    for stratum in STRATA:
        positives = int((abundance[hr == stratum] > 0).sum())
        if stratum not in lacking and positives < MIN_POSITIVES:
            lacking[stratum] = (
                f"{positives} positive {stratum} tumours in {where}: fewer than {MIN_POSITIVES}"
            )
    notes: tuple[str, ...] = ()
    fit = None
    if len(lacking) < len(STRATA):
        offered = (abundance > 0) & ~hr.isin([s for s, reason in unmodelled.items() if reason])
        spread = None
        if dispersion:
            spread = tumours.loc[offered, "cohort"].map(dispersion).astype(float)
            unknown = sorted(tumours["cohort"].loc[spread.index[spread.isna()]].unique())
            if unknown:
                # Too few positives for a dispersion of their own; their weight is small whatever it is.
                spread = spread.fillna(sum(dispersion.values()) / len(dispersion))
                notes = (f"dispersion of {', '.join(unknown)} taken as the mean of the other cohorts",)
        fit = gamma_regression(design[offered], abundance[offered], dispersion=spread)
    slopes = slope_effects(fit, design, hr, lacking, reference=data.reference, method=GAMMA, where=where)
    return fit, slopes, notes


def _cohorts(fit: Regression | None, cohort: pd.Series[str]) -> frozenset[str]:
    if fit is None:
        return frozenset()
    informative = fit.separation.rows.index[~fit.separation.rows]
    return frozenset(cohort.loc[informative].unique())


def _nothing(tables: _Tables, cell_type: str, absent: Mapping[str, str]) -> _Effects:
    """Every estimand of a cell type of which no part is modelled."""
    effects: _Effects = {}
    for estimand, method in METHODS.items():
        part = "presence" if estimand == "presence" else "amount"
        reasons = {
            s: absent.get(s) or tables.not_modelled(part, cell_type, s) or "not modelled" for s in STRATA
        }
        reasons[DIFFERENCE] = "; ".join(dict.fromkeys(reasons.values()))
        for stratum, reason in reasons.items():
            effects[estimand, stratum] = Effect(method, WALD, status="not estimable", note=reason)
    return effects


@dataclass(frozen=True)
class _Row:
    """Turns effects of one cell type, estimand and stratum into records of `Estimates`."""

    data: AnalysisSet
    tables: _Tables
    cell_type: str
    estimand: str
    stratum: str
    interval: float

    def _record(
        self, scope: str, method: str, cohorts: Iterable[str], note: Iterable[str], **values: object
    ) -> dict[str, Any]:
        n, n_zero = self.tables.tumours(self.cell_type, cohorts, self.stratum)
        return {
            "source": "twin",
            "method": method,
            "model": self.data.model,
            "outcome": self.cell_type,
            "exposure": self.data.measure,
            "estimand": self.estimand,
            "contrast": CONTRAST,
            "adjustment": self.data.adjustment,
            "stratum": self.stratum,
            "scope": scope,
            "cohort": "",
            "unit": UNITS[self.estimand],
            "point": math.nan,
            "lower": math.nan,
            "upper": math.nan,
            "interval_kind": "",
            "interval_prob": self.interval,
            "n": n,
            "n_zero": n_zero,
            "status": "observed",
            "note": "; ".join(dict.fromkeys(text for text in note if text)),
            "p_value": math.nan,
            "fingerprint": self.tables.fingerprint,
        } | values

    def _wald(self, effect: Effect) -> dict[str, object]:
        """Point, limits and P value of an effect on the ratio scale; nothing if it has none."""
        if not effect.is_observed:
            return {"status": effect.status}
        se = math.sqrt(effect.variance)
        reach = float(stats.norm.isf((1.0 - self.interval) / 2.0)) * se
        return {
            "point": _ratio(effect.log_ratio),
            "lower": _ratio(effect.log_ratio - reach),
            "upper": _ratio(effect.log_ratio + reach),
            "interval_kind": effect.interval_kind,
            "p_value": float(2.0 * stats.norm.sf(abs(effect.log_ratio) / se)),
        }

    def _definition(self, cohorts: Iterable[str]) -> str:
        if not self.estimand.startswith("high_abundance"):
            return ""
        return self.tables.high_means(self.cell_type, cohorts)

    def cohort(self, cohort: str, effect: Effect) -> dict[str, Any]:
        """One cohort's own regression."""
        note = (effect.note, self._definition([cohort]) if effect.is_observed else "")
        return self._record("cohort", effect.method, [cohort], note, cohort=cohort, **self._wald(effect))

    def cohort_fixed(self, fixed: _Parts) -> dict[str, Any]:
        """Build the row of one regression over all cohorts."""
        effect = fixed.effects[self.estimand, self.stratum]
        if not effect.is_observed:
            return self._record(
                "pooled", COHORT_FIXED, self.tables.cohorts, [effect.note], status=effect.status
            )
        informing = [c for c in self.tables.cohorts if c in fixed.informing[self.estimand]]
        with_stratum = [c for c in informing if self.tables.tumours(self.cell_type, [c], self.stratum)[0]]
        silent = [c for c in self.tables.cohorts if c not in with_stratum]
        notes = [
            f"{effect.method}, cohorts {', '.join(with_stratum)}",
            f"no information from {', '.join(silent)}" if silent else "",
            effect.note,
            self._definition(with_stratum),
            *(fixed.notes if self.estimand in ("amount", "overall") else ()),
        ]
        if len(self.tables.cohorts) == 1:
            notes.append("one cohort: the same regression as its own")
        return self._record("pooled", COHORT_FIXED, with_stratum, notes, **self._wald(effect))

    def pooled(self, own: Mapping[str, Effect]) -> list[dict[str, Any]]:
        """Pooled row and new-cohort row of the cohorts' own effects."""
        used = {cohort: effect for cohort, effect in own.items() if effect.is_observed}
        reasons: dict[str, list[str]] = {}
        for cohort, effect in own.items():
            if cohort not in used:
                reasons.setdefault(effect.note, []).append(cohort)
        left_out = [f"{', '.join(cohorts)} ({reason})" for reason, cohorts in reasons.items()]
        notes = [
            f"cohorts: {', '.join(used)}" if used else "",
            f"left out: {'; '.join(left_out)}" if left_out else "",
            *(f"{cohort}: {effect.note}" for cohort, effect in used.items() if effect.note),
            self._definition(used) if used else "",
        ]
        if not used:
            separated = any(effect.status == "separated" for effect in own.values())
            status = "separated" if separated else "not estimable"
            pooled = self._record("pooled", _pooling_method(len(own)), own, notes, status=status)
            return [pooled, self._new_cohort(own, 0, notes, None)]
        if len(used) == 1:
            only = next(iter(used.values()))
            pooled = self._record("pooled", SINGLE_COHORT, used, notes, **self._wald(only))
            return [pooled, self._new_cohort(used, 1, notes, None)]
        log_ratios = [effect.log_ratio for effect in used.values()]
        variances = [effect.variance for effect in used.values()]
        if len(used) < _MIN_RANDOM_EFFECTS:
            result, method, drawn = (
                common_effect(log_ratios, variances, interval=self.interval),
                COMMON_EFFECT,
                None,
            )
            notes.append("too few cohorts for random effects")
        else:
            result = random_effects(log_ratios, variances, interval=self.interval)
            method, drawn = RANDOM_EFFECTS, result
            notes.append(f"between-cohort SD {math.sqrt(result.tau2):.3g} on the log scale")
        notes.append(f"Q = {result.q:.2f} on {result.k - 1} df")
        values = {
            "point": _ratio(result.estimate),
            "lower": _ratio(result.lower),
            "upper": _ratio(result.upper),
            "interval_kind": result.interval_kind,
            "p_value": result.p_value,
        }
        return [
            self._record("pooled", method, used, notes, **values),
            self._new_cohort(used, len(used), notes, drawn),
        ]

    def _new_cohort(
        self, used: Iterable[str], n_used: int, notes: Iterable[str], result: Pooled | None
    ) -> dict[str, Any]:
        if result is None:
            reason = f"needs {_MIN_RANDOM_EFFECTS} cohorts with an estimate, there are {n_used}"
            return self._record("new cohort", RANDOM_EFFECTS, used, [reason], status="not estimable")
        return self._record(
            "new cohort",
            RANDOM_EFFECTS,
            used,
            notes,
            point=_ratio(result.estimate),
            lower=_ratio(result.prediction_lower),
            upper=_ratio(result.prediction_upper),
            interval_kind="prediction (Hartung-Knapp)",
        )


def _pooling_method(n_cohorts: int) -> str:
    if n_cohorts >= _MIN_RANDOM_EFFECTS:
        return RANDOM_EFFECTS
    return COMMON_EFFECT if n_cohorts > 1 else SINGLE_COHORT


def _ratio(log_ratio: float) -> float:
    return math.inf if log_ratio > _LARGEST_LOG else math.exp(log_ratio)
