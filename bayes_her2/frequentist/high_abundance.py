"""Frequentist twin of the model of high abundance: logistic regressions by cohort, pooled on the log scale.

Per cohort and cell type one logistic regression of high abundance on HER2, HR and their interaction (covariates,
centres). Without covariates its HR+ and HR- slopes are exactly those of one univariate regression in each stratum,
which is what the seed paper printed (its Fig. 2b): the design is saturated in HR. The row ``HR- over HR+`` is the
interaction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bayes_her2.data import DIFFERENCE, STRATA, AnalysisSet
from bayes_her2.estimates import COHORT_FIXED, PROFILE_LIKELIHOOD, Estimates
from bayes_her2.frequentist.adjustment import bonferroni, rows_of
from bayes_her2.frequentist.design import design_matrix
from bayes_her2.frequentist.effects import (
    LOGISTIC,
    STANDARDISED_LOGISTIC,
    WALD,
    Effect,
    logistic_slopes,
    marginal_odds_effects,
    slope_profile,
    stratum_designs,
)
from bayes_her2.frequentist.profile import Profile
from bayes_her2.frequentist.rows import FAMILY, Informing, Tables, informing, of_cell_type

CONDITIONAL, MARGINAL = "high_abundance_conditional", "high_abundance"
UNITS = {CONDITIONAL: "odds ratio per SD", MARGINAL: "marginal odds ratio per SD"}
METHODS = {CONDITIONAL: LOGISTIC, MARGINAL: STANDARDISED_LOGISTIC}


def high_abundance_twin(data: AnalysisSet, *, interval: float = 0.95) -> Estimates:
    """Odds ratios of high abundance per SD of HER2, by cell type and HR stratum: by cohort, pooled, for a new cohort.

    Estimands are those of the posterior: ``high_abundance_conditional``, the coefficient of the regression, with a Wald
    interval, and ``high_abundance``, standardised to the stratum's tumours, whose P and limits are by the likelihood
    ratio of the slope (`marginal_odds_effects`). Scopes and pooling are those of `abundance_twin`; a new cohort has no
    standardised row, having no tumours to average over.

    Second opinions on the conditional odds ratio, of the method ``logistic regression (profile likelihood)``: for each
    cohort its own regression, and pooled the regression over all cohorts with cohort fixed; profile-likelihood
    limits, and P by likelihood ratio. A ``separated`` row has no odds ratio and no limits, but its likelihood ratio
    is finite.

    Strata with fewer than 10 high or 10 other tumours are ``not estimable``, as in the posterior. P values are
    two-sided; ``p_adjusted`` is Bonferroni over the cell types of one family = estimand x stratum x scope x cohort x
    kind of regression.

    Parameters
    ----------
    data
        Analysis set of the model of high abundance.
    interval
        Probability of every interval.

    Returns
    -------
    Estimates
        ``source`` twin; every combination is there, with status ``not estimable`` or ``separated`` and a note
        where there is no number.
    """
    ordered = data.tumours.sort_index()
    tables = Tables(data)
    records: list[dict[str, Any]] = []
    for cell_type in data.cell_types.index:
        by_cohort = {
            cohort: _fit(
                data, tables, cell_type, ordered[ordered["cohort"] == cohort], interval, where=cohort
            )
            for cohort in data.cohorts
        }
        fixed = _fit(data, tables, cell_type, ordered, interval, where="all cohorts")
        for key in ((estimand, stratum) for estimand in UNITS for stratum in (*STRATA, DIFFERENCE)):
            estimand, stratum = key
            quantity = of_cell_type(
                data, tables, cell_type, estimand, stratum, unit=UNITS[estimand], interval=interval
            )
            own = {cohort: fitted.effects[key] for cohort, fitted in by_cohort.items()}
            records.extend(quantity.cohort(cohort, effect) for cohort, effect in own.items())
            pooled = quantity.pooled(own)
            records.extend(r for r in pooled if estimand == CONDITIONAL or r["scope"] != "new cohort")
            records.append(quantity.cohort_fixed(fixed.effects[key], fixed.informing))
            if estimand == CONDITIONAL:
                records.extend(
                    quantity.second_opinion(fitted.effects[key], fitted.profiles[stratum], [cohort])
                    | {"scope": "cohort", "cohort": cohort}
                    for cohort, fitted in by_cohort.items()
                )
                used, notes, counted = quantity.behind(fixed.effects[key], fixed.informing)
                row = quantity.second_opinion(
                    fixed.effects[key], fixed.profiles[stratum], used, notes, counted
                )
                records.append(row)
    table = pd.DataFrame(records)
    # Rows pooled from cohorts, those of the regression with cohort fixed and second opinions are families apart.
    kind = table["method"].where(table["method"].isin([COHORT_FIXED, PROFILE_LIKELIHOOD]), "by cohort")
    table["p_adjusted"] = bonferroni(table.assign(kind=kind), (*FAMILY, "kind"))
    return Estimates.from_records(rows_of(table))


@dataclass(frozen=True)
class _Fitted:
    """One regression: its effects by estimand and stratum, its profiles by stratum, the cohorts that inform it."""

    effects: Mapping[tuple[str, str], Effect]
    profiles: Mapping[str, Profile]
    informing: Informing


def _fit(
    data: AnalysisSet,
    tables: Tables,
    cell_type: str,
    tumours: pd.DataFrame,
    interval: float,
    *,
    where: str,
) -> _Fitted:
    hr = tumours["hr"]
    absent = {s: f"no {s} tumours in {where}" for s in STRATA if not (hr == s).any()}
    if cell_type not in data.high.columns:
        return _nothing(tables, cell_type, absent)
    design = design_matrix(
        tumours, data.covariates.loc[tumours.index], reference=data.reference, use_centre=data.use_centre
    )
    parts = data.high_parts[data.high_parts["cell_type"] == cell_type].set_index("stratum")["reason"]
    few = {str(stratum): str(reason) for stratum, reason in parts.items() if reason}
    fit, slopes = logistic_slopes(
        design,
        data.high[cell_type].loc[tumours.index].astype(bool),
        hr,
        few | absent,
        reference=data.reference,
        word="high",
        where=where,
    )
    profiles = {s: slope_profile(fit, design, slopes, s, data.reference, interval) for s in slopes}
    designs = stratum_designs(design, hr, reference=data.reference)
    marginal = marginal_odds_effects(fit, slopes, profiles, designs, interval)
    effects = {(CONDITIONAL, s): effect for s, effect in slopes.items()}
    effects |= {(MARGINAL, s): effect for s, effect in marginal.items()}
    return _Fitted(
        effects,
        profiles,
        informing(fit, tumours),
    )


def _nothing(tables: Tables, cell_type: str, absent: Mapping[str, str]) -> _Fitted:
    """Every estimand of a cell type that no part of the analysis set models."""
    reasons = {
        s: absent.get(s) or tables.not_modelled("amount", cell_type, s) or "not modelled" for s in STRATA
    }
    reasons[DIFFERENCE] = "; ".join(dict.fromkeys(reasons.values()))
    effects = {
        (estimand, s): Effect(method, WALD, status="not estimable", note=reason)
        for estimand, method in METHODS.items()
        for s, reason in reasons.items()
    }
    none = Profile(math.nan, math.nan, math.nan)
    return _Fitted(effects, dict.fromkeys(reasons, none), frozenset())
