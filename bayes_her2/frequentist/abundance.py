"""Frequentist twin of the abundance model: hurdle regressions by cohort, pooled on the log scale.

Per cohort and cell type a logistic regression of presence and a gamma regression of the positive amounts,
with the linear predictor of the Bayesian model (HER2 per SD, HR, their interaction, covariates, centres).
Without covariates the HR+ and HR- slopes of this interaction model are exactly those of one univariate
regression in each stratum, which is what the seed paper printed: the design is saturated in HR. (In the
gamma part the dispersion, hence the standard error, is common to both strata.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bayes_her2.data import DIFFERENCE, STRATA, AnalysisSet
from bayes_her2.estimates import COHORT_FIXED, Estimates
from bayes_her2.frequentist.adjustment import bonferroni, rows_of
from bayes_her2.frequentist.design import design_matrix
from bayes_her2.frequentist.effects import (
    GAMMA,
    LOGISTIC,
    MIN_POSITIVES,
    STANDARDISED_HURDLE,
    STANDARDISED_LOGISTIC,
    WALD,
    Effect,
    logistic_slopes,
    marginal_odds_effects,
    overall_effects,
    slope_effects,
    slope_profile,
    stratum_designs,
)
from bayes_her2.frequentist.group_tests import group_tests
from bayes_her2.frequentist.regression import Regression, gamma_regression
from bayes_her2.frequentist.rows import FAMILY, Informing, Tables, informing, of_cell_type

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
type _Effects = dict[tuple[str, str], Effect]


def abundance_twin(data: AnalysisSet, *, interval: float = 0.95) -> Estimates:
    """Ratios per SD of HER2 by cell type and HR stratum: by cohort, pooled, and for a new cohort.

    Estimands are those of the posterior (``presence``, ``amount``, ``overall``, ``high_abundance``) and
    the conditional odds ratio of high abundance (``high_abundance_conditional``), whose ``HR- over HR+``
    row carries the P value for interaction. With both HR strata, their comparison in each cohort as well
    (``probability_greater``, ``presence_difference``; `group_tests`).

    Scopes and methods:

    - ``cohort``: one regression per part, cohort and cell type. Standardised quantities (``overall``,
      ``high_abundance``) are averaged over the tumours of that cohort and stratum; intervals by the delta method for
      ``overall``, by the likelihood ratio of the slope for ``high_abundance``.
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
        ``source`` twin; every combination of the slopes is there, with status ``not estimable`` or
        ``separated`` and a note where there is no number.
    """
    ordered = data.tumours.sort_index()
    tables = Tables(data)
    records: list[dict[str, Any]] = []
    for cell_type in data.cell_types.index:
        by_cohort: dict[str, _Effects] = {}
        dispersion: dict[str, float] = {}
        for cohort in data.cohorts:
            tumours = ordered[ordered["cohort"] == cohort]
            fitted = _fit_parts(data, tables, cell_type, tumours, interval, where=cohort)
            by_cohort[cohort] = fitted.effects
            if fitted.amount is not None and fitted.amount.scale > 0:
                dispersion[cohort] = fitted.amount.scale
        fixed = _fit_parts(
            data, tables, cell_type, ordered, interval, where="all cohorts", dispersion=dispersion
        )
        for key in ((estimand, stratum) for estimand in UNITS for stratum in (*STRATA, DIFFERENCE)):
            quantity = of_cell_type(data, tables, cell_type, *key, unit=UNITS[key[0]], interval=interval)
            own = {cohort: effects[key] for cohort, effects in by_cohort.items()}
            records.extend(quantity.cohort(cohort, effect) for cohort, effect in own.items())
            records.extend(quantity.pooled(own))
            further = fixed.notes if key[0] in ("amount", "overall") else ()
            behind = fixed.informing.get(key[0], frozenset())
            records.append(quantity.cohort_fixed(fixed.effects[key], behind, further))
    table = pd.DataFrame(records)
    # Outcomes pooled from one, two or more cohorts are one family; the cohort-fixed regressions are another.
    is_fixed = (table["method"] == COHORT_FIXED).rename("cohort fixed")
    table["p_adjusted"] = bonferroni(table.assign(fixed=is_fixed), (*FAMILY, "fixed"))
    slopes = Estimates.from_records(rows_of(table))
    if len(data.strata) < len(STRATA):
        return slopes
    return Estimates.concat([slopes, group_tests(data, interval=interval)])


@dataclass(frozen=True)
class _Parts:
    """What the regressions of one set of tumours say, and which cohorts informed them."""

    effects: _Effects
    amount: Regression | None
    informing: Mapping[str, Informing]  # estimand -> cohorts and strata with a tumour that is not separated
    notes: tuple[str, ...] = ()


def _fit_parts(
    data: AnalysisSet,
    tables: Tables,
    cell_type: str,
    tumours: pd.DataFrame,
    interval: float,
    *,
    where: str,
    dispersion: Mapping[str, float] | None = None,
) -> _Parts:
    """Fit presence, amount and high abundance to some tumours, and derive every estimand from them."""
    hr = tumours["hr"]
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
        outcome: pd.Series[bool], word: str, unmodelled: Mapping[str, str]
    ) -> tuple[Regression | None, dict[str, Effect]]:
        return logistic_slopes(
            design, outcome, hr, {**unmodelled, **absent}, reference=data.reference, word=word, where=where
        )

    presence, presence_slopes = logistic(present, "positive", tables.unmodelled("presence", cell_type))
    amount, amount_slopes, notes = _fit_amount(
        data, tables, cell_type, tumours, design, absent, where, dispersion
    )
    high, high_slopes = logistic(data.high[cell_type].loc[tumours.index].astype(bool), "high", {})
    profiles = {s: slope_profile(high, design, high_slopes, s, data.reference, interval) for s in high_slopes}
    zero_share = {s: float((~present[hr == s]).mean()) if s not in absent else math.nan for s in STRATA}

    estimands = {
        "presence": presence_slopes,
        "amount": amount_slopes,
        "overall": overall_effects(presence, amount, presence_slopes, amount_slopes, designs, zero_share),
        "high_abundance": marginal_odds_effects(high, high_slopes, profiles, designs, interval),
        "high_abundance_conditional": high_slopes,
    }
    behind = {
        "presence": informing(presence, tumours),
        "amount": informing(amount, tumours),
        "overall": informing(presence, tumours) | informing(amount, tumours),
        "high_abundance": informing(high, tumours),
        "high_abundance_conditional": informing(high, tumours),
    }
    effects = {(e, s): effect for e, by_stratum in estimands.items() for s, effect in by_stratum.items()}
    return _Parts(effects, amount, behind, notes)


def _fit_amount(
    data: AnalysisSet,
    tables: Tables,
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
    unmodelled = tables.unmodelled("amount", cell_type)
    lacking = unmodelled | dict(absent)
    for stratum in STRATA:
        positives = int((abundance[hr == stratum] > 0).sum())
        if stratum not in lacking and positives < MIN_POSITIVES:
            lacking[stratum] = (
                f"{positives} positive {stratum} tumours in {where}: fewer than {MIN_POSITIVES}"
            )
    notes: tuple[str, ...] = ()
    fit = None
    if len(lacking) < len(STRATA):
        offered = (abundance > 0) & ~hr.isin(list(unmodelled))
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


def _nothing(tables: Tables, cell_type: str, absent: Mapping[str, str]) -> _Effects:
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
