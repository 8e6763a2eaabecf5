"""Frequentist twin of the clinical model: logistic regressions by cohort, pooled on the log scale.

Per cohort, clinical outcome and cell type one logistic regression of the outcome on high abundance, HR and their
interaction, as in the seed paper. The row ``HR- over HR+`` is the interaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bayes_her2.data import DIFFERENCE, STRATA, AnalysisSet
from bayes_her2.estimates import COHORT_FIXED, PROFILE_LIKELIHOOD, Estimates
from bayes_her2.frequentist.adjustment import bonferroni, rows_of
from bayes_her2.frequentist.design import design_matrix
from bayes_her2.frequentist.effects import Effect, logistic_slopes, slope_profile
from bayes_her2.frequentist.profile import Profile
from bayes_her2.frequentist.rows import Informing, Quantity, informing

ESTIMAND = "clinical_odds"
CONTRAST = "high over low abundance"
UNIT = "odds ratio, high against low abundance"
FAMILY = ("estimand", "outcome", "stratum", "scope", "cohort")
"""Columns that define a Bonferroni family: one clinical outcome; the cell types are its tests."""


def clinical_twin(data: AnalysisSet, *, interval: float = 0.95) -> Estimates:
    """Odds ratios of each clinical outcome, high against low abundance of each cell type, by HR stratum.

    Scopes and pooling are those of `abundance_twin`, over the cohorts that record the outcome; Wald intervals. Second
    opinions on the interaction, of the method ``logistic regression (profile likelihood)``, for each cohort's own
    regression and for the one with cohort fixed: profile limits, and P by likelihood ratio. Strata without 10 tumours
    on either side, of the outcome and of the abundance, are ``not estimable``, as in the posterior; a ``separated`` row
    has no odds ratio.

    P values are two-sided; ``p_adjusted`` is Bonferroni over the cell types of one family = outcome x stratum x scope x
    cohort x kind of regression.

    Parameters
    ----------
    data
        Analysis set of the clinical model.
    interval
        Probability of every interval.

    Returns
    -------
    Estimates
        ``source`` twin; the outcome is the clinical variable, the exposure high abundance of a cell type.
    """
    ordered = data.tumours.sort_index()
    records: list[dict[str, Any]] = []
    for outcome in data.clinical.columns:
        known = data.clinical[outcome].loc[ordered.index].notna()
        recorded = ordered[known]
        for cell_type in data.high.columns:
            one = _Regressions(data, str(outcome), str(cell_type), interval)
            own = {c: one.fit(recorded[recorded["cohort"] == c], where=c) for c in data.cohorts}
            fixed = one.fit(recorded[recorded["cohort"].isin(one.cohorts)], where="all cohorts")
            for stratum in (*STRATA, DIFFERENCE):
                quantity = one.quantity(stratum)
                effects = {cohort: fitted.effects[stratum] for cohort, fitted in own.items()}
                records.extend(quantity.cohort(cohort, effect) for cohort, effect in effects.items())
                records.extend(quantity.pooled(effects))
                records.append(quantity.cohort_fixed(fixed.effects[stratum], fixed.informing))
            records.extend(
                quantity.second_opinion(fitted.effects[DIFFERENCE], fitted.profile, [cohort])
                | {"scope": "cohort", "cohort": cohort}
                for cohort, fitted in own.items()
            )
            used, notes, counted = quantity.behind(fixed.effects[DIFFERENCE], fixed.informing)
            records.append(
                quantity.second_opinion(fixed.effects[DIFFERENCE], fixed.profile, used, notes, counted)
            )
    table = pd.DataFrame(records)
    kind = table["method"].where(table["method"].isin([COHORT_FIXED, PROFILE_LIKELIHOOD]), "by cohort")
    table["p_adjusted"] = bonferroni(table.assign(kind=kind), (*FAMILY, "kind"))
    return Estimates.from_records(rows_of(table))


@dataclass(frozen=True)
class _Fitted:
    """One regression: its effects by stratum, the profile of its interaction, and the cohorts that inform it."""

    effects: Mapping[str, Effect]
    profile: Profile
    informing: Informing


class _Regressions:
    """Regressions of one outcome on one cell type."""

    def __init__(self, data: AnalysisSet, outcome: str, cell_type: str, interval: float) -> None:
        self.data, self.outcome, self.cell_type, self.interval = data, outcome, cell_type, interval
        counts = data.clinical_counts
        own = counts[(counts["outcome"] == outcome) & (counts["cell_type"] == cell_type)]
        sizes = own.groupby(["cohort", "hr"])[["n", "n_zero"]].sum()
        self._sizes = {key: (int(n), int(zero)) for key, n, zero in sizes.itertuples(name=None)}
        self.cohorts = tuple(sorted(set(own["cohort"])))
        parts = data.clinical_parts
        parts = parts[(parts["outcome"] == outcome) & (parts["cell_type"] == cell_type)]
        self._few = {
            str(s): str(reason) for s, reason in zip(parts["stratum"], parts["reason"], strict=True) if reason
        }

    def fit(self, tumours: pd.DataFrame, *, where: str) -> _Fitted:
        """Regression of the tumours of one cohort, or of several with cohort fixed."""
        data, hr = self.data, tumours["hr"]
        absent = {
            s: f"no {s} tumours with '{self.outcome}' recorded in {where}"
            for s in STRATA
            if not (hr == s).any()
        }
        exposure = data.high[self.cell_type].loc[tumours.index].astype(float)
        design = design_matrix(
            tumours,
            data.covariates.loc[tumours.index],
            reference=data.reference,
            use_centre=False,
            exposure=exposure,
        )
        fit, slopes = logistic_slopes(
            design,
            data.clinical[self.outcome].loc[tumours.index] == 1.0,
            hr,
            self._few | absent,
            reference=data.reference,
            word=f"'{self.outcome}'",
            where=where,
        )
        profile = slope_profile(fit, design, slopes, DIFFERENCE, data.reference, self.interval)
        return _Fitted(slopes, profile, informing(fit, tumours))

    def quantity(self, stratum: str) -> Quantity:
        """Odds ratio in a stratum."""
        labels = {
            "model": self.data.model,
            "outcome": self.outcome,
            "exposure": f"high abundance of {self.cell_type}",
            "estimand": ESTIMAND,
            "contrast": CONTRAST,
            "adjustment": self.data.adjustment,
            "stratum": stratum,
            "unit": UNIT,
            "fingerprint": self.data.fingerprint,
        }

        def tumours(cohorts: Iterable[str], stratum: str) -> tuple[int, int]:
            strata = STRATA if stratum == DIFFERENCE else (stratum,)
            found = [self._sizes.get((c, s), (0, 0)) for c in cohorts for s in strata]
            return sum(n for n, _ in found), sum(n_zero for _, n_zero in found)

        return Quantity(labels, self.data.cohorts, tumours, lambda _: "", self.interval)
