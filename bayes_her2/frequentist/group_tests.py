"""Abundance in HR- against HR+ tumours, cohort by cohort, by the seed paper's rule."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from bayes_her2.data import HR_COMPARED, HR_NEGATIVE, HR_POSITIVE, HR_STATUS, AnalysisSet, hr_contrast
from bayes_her2.estimates import HR_COMPARISONS, Estimates
from bayes_her2.frequentist.adjustment import bonferroni, rows_of
from bayes_her2.frequentist.two_groups import METHOD, UNIT, probability_greater

FAMILY = ("estimand", "cohort", "contrast")
"""Columns that define a Bonferroni family; the outcomes tested within it are its tests."""

_SMALL_EXPECTED_COUNT = 5.0


def group_tests(data: AnalysisSet, *, interval: float = 0.95) -> Estimates:
    """Difference in abundance between HR- and HR+ tumours of each cohort, per cell type.

    Two estimands for every cell type: P(abundance in HR- > in HR+), ties counted half, with Wilcoxon's
    test (``probability_greater``); and the share of tumours with the cell type present, HR- minus HR+, with
    Newcombe's interval (``presence_difference``) and the chi-squared test without continuity correction,
    or Fisher's exact test where an expected count is under 5. The seed study tests the first under its
    'continuous' rule and the second under its 'presence' rule: the note names the rule, the contrast says whether a
    row is the study's own test (`hr_contrast`), and these are a Bonferroni family (estimand x cohort) apart from the
    others; the size of a family is the number of cell types tested.

    Parameters
    ----------
    data
        Analysis set of the abundance model (any other serves as well).
    interval
        Probability of every interval.

    Returns
    -------
    Estimates
        ``model`` that of the data, ``exposure`` HR status, ``stratum`` "HR- vs HR+", ``scope`` cohort. Cell types
        without abundance and cohorts with one stratum have rows that are ``not estimable``.

    References
    ----------
    Newcombe 1998, doi 10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I.
    """
    fingerprint = data.fingerprint
    records = []
    for cell_type, cohort, rule in zip(
        data.rules["cell_type"], data.rules["cohort"], data.rules["rule"], strict=True
    ):
        counts = data.counts
        rows = counts[(counts["cell_type"] == cell_type) & (counts["cohort"] == cohort)]
        for estimand in HR_COMPARISONS:
            of_presence = estimand == "presence_difference"
            base = {
                "source": "twin",
                "method": "chi-squared" if of_presence else METHOD,
                "model": data.model,
                "outcome": cell_type,
                "exposure": HR_STATUS,
                "estimand": estimand,
                "contrast": hr_contrast(estimand, rule),
                "adjustment": "none",
                "stratum": HR_COMPARED,
                "scope": "cohort",
                "cohort": cohort,
                "unit": "difference in share present" if of_presence else UNIT,
                "interval_prob": interval,
                "n": int(rows["n"].sum()),
                "n_zero": int(rows["n_zero"].sum()),
                "p_value": math.nan,
                "fingerprint": fingerprint,
            }
            found = _compare(data, cell_type, cohort, estimand, interval)
            note = "; ".join(filter(None, [f"{rule} rule", str(found.get("note", ""))]))
            records.append(base | found | {"note": note})
    table = pd.DataFrame(records)
    table["p_adjusted"] = bonferroni(table, FAMILY)
    return Estimates.from_records(rows_of(table))


def _compare(
    data: AnalysisSet, cell_type: str, cohort: str, estimand: str, interval: float
) -> dict[str, Any]:
    if cell_type not in data.abundance.columns:
        return {"status": "not estimable", "note": "no abundance in the analysis set"}
    hr = data.tumours.loc[data.tumours["cohort"] == cohort, "hr"]
    lacking = [s for s in (HR_POSITIVE, HR_NEGATIVE) if not (hr == s).any()]
    if lacking:
        return {"status": "not estimable", "note": f"no {lacking[0]} tumours in {cohort}"}
    abundance = data.abundance[cell_type].loc[hr.index]
    negative, positive = abundance[hr == HR_NEGATIVE], abundance[hr == HR_POSITIVE]
    if estimand == "presence_difference":
        return presence_difference(negative > 0, positive > 0, interval=interval)
    return probability_greater(negative, positive, interval=interval)


def presence_difference(
    first: pd.Series[bool], second: pd.Series[bool], *, interval: float
) -> dict[str, Any]:
    """Share present in the first group minus the second, with Newcombe's interval and a test.

    Parameters
    ----------
    first, second
        Presence, by tumour, in each group.
    interval
        Probability of the interval.

    Returns
    -------
    dict
        Columns of `Estimates`. The method is "chi-squared" (Pearson, no continuity correction), or
        "Fisher exact" where an expected count is under 5, with that count in the note.
    """
    events = [int(first.sum()), int(second.sum())]
    totals = [len(first), len(second)]
    table = np.array([[e, n - e] for e, n in zip(events, totals, strict=True)])
    lower, upper = confint_proportions_2indep(
        events[0], totals[0], events[1], totals[1], method="newcomb", compare="diff", alpha=1.0 - interval
    )
    found: dict[str, Any] = {
        "point": events[0] / totals[0] - events[1] / totals[1],
        "lower": float(lower),
        "upper": float(upper),
        "interval_kind": "confidence (Newcombe)",
        "status": "observed",
    }
    if not table.sum(axis=0).all():
        return found | {"note": "present in all or in no tumour: no test"}
    expected = float(stats.contingency.expected_freq(table).min())
    if expected < _SMALL_EXPECTED_COUNT:
        return found | {
            "method": "Fisher exact",
            "p_value": float(stats.fisher_exact(table).pvalue),
            "note": f"smallest expected count {expected:.1f}: Fisher's exact test",
        }
    return found | {
        "p_value": float(stats.chi2_contingency(table, correction=False).pvalue),
        "note": f"smallest expected count {expected:.1f}",
    }
