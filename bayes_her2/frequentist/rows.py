"""From effects of single cohorts to rows of `Estimates`: by cohort, pooled, and for a new cohort.

The same for every twin that fits one regression in each cohort and pools them on the log scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from scipy import stats

from bayes_her2.data import DIFFERENCE, STRATA, AnalysisSet
from bayes_her2.estimates import COHORT_FIXED, PROFILE_LIKELIHOOD
from bayes_her2.frequentist.effects import Effect
from bayes_her2.frequentist.pooling import (
    COMMON_EFFECT,
    RANDOM_EFFECTS,
    SINGLE_COHORT,
    Pooled,
    common_effect,
    random_effects,
)
from bayes_her2.frequentist.profile import PROFILE, Profile
from bayes_her2.frequentist.regression import Regression

CONTRAST = "h + 1 SD over h"
FAMILY = ("estimand", "stratum", "scope", "cohort")
"""Columns that define a Bonferroni family; the outcomes within it are its tests."""
_MIN_RANDOM_EFFECTS = 3
_BONFERRONI_P = 0.05 / 20
_LARGE_T = 6.0  # nobody expects one from an effect of a size that is plausible
_LARGEST_LOG = 700.0  # beyond it a ratio overflows and is reported as infinite


class Tables:
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

    def unmodelled(self, part: str, cell_type: str) -> dict[str, str]:
        """Strata in which the analysis set does not model a part, each with the reason."""
        found = {s: self.not_modelled(part, cell_type, s) for s in STRATA}
        return {s: reason for s, reason in found.items() if reason}

    def high_means(self, cell_type: str, cohorts: Iterable[str]) -> str:
        """Cut-off behind high abundance, in words."""
        words = {"median": "at least the within-cohort median", "presence": "present"}
        rules = {c: words.get(self._high.get((cell_type, c), ""), "") for c in cohorts}
        if len(set(rules.values())) == 1:
            return f"high = {next(iter(rules.values()))}"
        return "high = " + ", ".join(f"{rule} ({cohort})" for cohort, rule in rules.items())


type Informing = frozenset[tuple[str, str]]
"""(cohort, HR stratum) of the tumours that inform a regression."""


def informing(fit: Regression | None, tumours: pd.DataFrame) -> Informing:
    """Cohorts and strata with a tumour that is not separated: those that tell a regression something."""
    if fit is None:
        return frozenset()
    informative = tumours.loc[fit.separation.rows.index[~fit.separation.rows], ["cohort", "hr"]]
    return frozenset(informative.drop_duplicates().astype("str").itertuples(index=False, name=None))


@dataclass(frozen=True)
class Quantity:
    """One estimand of one outcome in one stratum: turns effects on it into records of `Estimates`.

    Attributes
    ----------
    labels
        Columns that all its rows share: model, outcome, exposure, estimand, contrast, adjustment, stratum, unit,
        fingerprint.
    cohorts
        Cohorts of the analysis set.
    tumours
        (cohorts, stratum) -> tumours and exact zeros behind a row.
    definition
        Cohorts -> what the outcome or exposure means in them, for the note; '' if there is nothing to say.
    interval
        Probability of every interval.
    """

    labels: Mapping[str, str]
    cohorts: tuple[str, ...]
    tumours: Callable[[Iterable[str], str], tuple[int, int]]
    definition: Callable[[Iterable[str]], str]
    interval: float

    @property
    def _stratum(self) -> str:
        return self.labels["stratum"]

    @property
    def _strata(self) -> tuple[str, ...]:
        return STRATA if self._stratum == DIFFERENCE else (self._stratum,)

    def record(
        self, scope: str, method: str, cohorts: Iterable[str], note: Iterable[str], **values: object
    ) -> dict[str, Any]:
        """One row, with the tumours of these cohorts behind it unless ``n`` and ``n_zero`` are given."""
        n, n_zero = self.tumours(cohorts, self._stratum)
        return {
            "source": "twin",
            "method": method,
            **self.labels,
            "scope": scope,
            "cohort": "",
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
        } | values

    def _numbers(self, effect: Effect) -> dict[str, object]:
        """Point, limits and P value of an effect on the ratio scale; nothing if it has none."""
        if not effect.is_observed:
            return {"status": effect.status}
        lower, upper = effect.limits(self.interval)
        return {
            "point": ratio(effect.log_ratio),
            "lower": ratio(lower),
            "upper": ratio(upper),
            "interval_kind": effect.interval_kind,
            "p_value": effect.p_of_null(),
        }

    def cohort(self, cohort: str, effect: Effect) -> dict[str, Any]:
        """One cohort's own regression."""
        note = (effect.note, self.definition([cohort]) if effect.is_observed else "")
        return self.record("cohort", effect.method, [cohort], note, cohort=cohort, **self._numbers(effect))

    def cohort_fixed(
        self, effect: Effect, informing: Informing, further: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Build the row of one regression over all cohorts, informed by some of them: ``n`` is their tumours."""
        if not effect.is_observed:
            return self.record("pooled", COHORT_FIXED, self.cohorts, [effect.note], status=effect.status)
        used, notes, counted = self.behind(effect, informing)
        notes += [effect.note, self.definition(used), *further]
        if len(self.cohorts) == 1:
            notes.append("one cohort: the same regression as its own")
        return self.record("pooled", COHORT_FIXED, used, notes, **self._numbers(effect), **counted)

    def behind(self, effect: Effect, informing: Informing) -> tuple[list[str], list[str], dict[str, int]]:
        """Cohorts whose tumours inform a regression over all of them, the words for it, and how many they are."""
        pairs = {
            c: [s for s in self._strata if (c, s) in informing and self.tumours([c], s)[0]]
            for c in self.cohorts
        }
        used = [c for c, strata in pairs.items() if strata]
        reasons: dict[str, list[str]] = {}
        for c in self.cohorts:
            if c not in used:
                there = self.tumours([c], self._stratum)[0]
                reason = "its tumours are predicted without error" if there else f"no {self._stratum} tumours"
                reasons.setdefault(reason, []).append(c)
        silent = "; ".join(f"{', '.join(cohorts)} ({reason})" for reason, cohorts in reasons.items())
        half = [f"{c} by its {pairs[c][0]} tumours alone" for c in used if len(pairs[c]) < len(self._strata)]
        counts = [self.tumours([c], s) for c, strata in pairs.items() for s in strata]
        words = [
            f"{effect.method}, cohorts {', '.join(used)}",
            f"no information from {silent}" if silent else "",
            ", ".join(half),
        ]
        return used, words, {"n": sum(n for n, _ in counts), "n_zero": sum(zero for _, zero in counts)}

    def second_opinion(
        self,
        effect: Effect,
        profile: Profile,
        cohorts: list[str],
        further: Iterable[str] = (),
        counted: Mapping[str, int] | None = None,
    ) -> dict[str, Any]:
        """Profile limits where there are any, and P by likelihood ratio: a row of the scope ``pooled``."""
        notes = [*further, effect.note, self.definition(cohorts) if effect.is_observed else ""]
        values: dict[str, Any] = {"status": effect.status, "p_value": profile.p_value, **(counted or {})}
        if not math.isnan(profile.p_value):
            notes.append("P by likelihood ratio")
        if effect.is_observed:
            values |= {
                "point": ratio(effect.log_ratio),
                "lower": ratio(profile.lower),
                "upper": ratio(profile.upper),
                "interval_kind": PROFILE,
            }
        return self.record("pooled", PROFILE_LIKELIHOOD, cohorts, notes, **values)

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
            self.definition(used) if used else "",
        ]
        if not used:
            separated = any(effect.status == "separated" for effect in own.values())
            status = "separated" if separated else "not estimable"
            pooled = self.record("pooled", _pooling_method(len(own)), own, notes, status=status)
            return [pooled, self._new_cohort(own, 0, notes, None)]
        if len(used) == 1:
            only = next(iter(used.values()))
            pooled = self.record("pooled", SINGLE_COHORT, used, notes, **self._numbers(only))
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
            notes.append(_hardly_adjustable(result.k - 1))
        notes.append(f"Q = {result.q:.2f} on {result.k - 1} df")
        values = {
            "point": ratio(result.estimate),
            "lower": ratio(result.lower),
            "upper": ratio(result.upper),
            "interval_kind": result.interval_kind,
            "p_value": result.p_value,
        }
        return [
            self.record("pooled", method, used, notes, **values),
            self._new_cohort(used, len(used), notes, drawn),
        ]

    def _new_cohort(
        self, used: Iterable[str], n_used: int, notes: Iterable[str], result: Pooled | None
    ) -> dict[str, Any]:
        if result is None:
            reason = f"needs {_MIN_RANDOM_EFFECTS} cohorts with an estimate, there are {n_used}"
            return self.record("new cohort", RANDOM_EFFECTS, used, [reason], status="not estimable")
        return self.record(
            "new cohort",
            RANDOM_EFFECTS,
            used,
            notes,
            point=ratio(result.estimate),
            lower=ratio(result.prediction_lower),
            upper=ratio(result.prediction_upper),
            interval_kind="prediction (Hartung-Knapp)",
        )


def of_cell_type(
    data: AnalysisSet,
    tables: Tables,
    cell_type: str,
    estimand: str,
    stratum: str,
    *,
    unit: str,
    interval: float,
) -> Quantity:
    """Quantity whose outcome is a cell type and whose exposure is the HER2 measure."""

    def tumours(cohorts: Iterable[str], stratum: str) -> tuple[int, int]:
        return tables.tumours(cell_type, cohorts, stratum)

    def definition(cohorts: Iterable[str]) -> str:
        return tables.high_means(cell_type, cohorts) if estimand.startswith("high_abundance") else ""

    labels = {
        "model": data.model,
        "outcome": cell_type,
        "exposure": data.measure,
        "estimand": estimand,
        "contrast": CONTRAST,
        "adjustment": data.adjustment,
        "stratum": stratum,
        "unit": unit,
        "fingerprint": tables.fingerprint,
    }
    return Quantity(labels, tables.cohorts, tumours, definition, interval)


def _hardly_adjustable(freedom: int) -> str:
    """Warn that a t of few degrees of freedom hardly ever passes Bonferroni, or ''."""
    needed = float(stats.t.isf(_BONFERRONI_P / 2.0, freedom))
    if needed < _LARGE_T:
        return ""
    return (
        f"t on {freedom} df: P of 0.05 over 20 tests needs |t| of {needed:.1f}, so adjusted P is practically 1; "
        "compare cohort fixed"
    )


def _pooling_method(n_cohorts: int) -> str:
    if n_cohorts >= _MIN_RANDOM_EFFECTS:
        return RANDOM_EFFECTS
    return COMMON_EFFECT if n_cohorts > 1 else SINGLE_COHORT


def ratio(log_ratio: float) -> float:
    """Exponential of a log ratio; infinite where it overflows."""
    return math.inf if log_ratio > _LARGEST_LOG else math.exp(log_ratio)
