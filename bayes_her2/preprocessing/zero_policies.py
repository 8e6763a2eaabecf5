"""Other ways to treat a zero, a small value and a poor deconvolution: eligible tumours in, eligible tumours out.

Each function takes `TumourData`, changes one thing, and returns the changed data with the number that it used in every
cohort and cell type. Nothing else is touched: shares are not made to sum to 1 again, and no tumour leaves except
by `deconvolution_filter`, which logs each. The numbers are taken from all eligible tumours, before any model's own
selection, and do not depend on the order of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bayes_her2.data import CohortTable, Exclusion, TumourData
from bayes_her2.errors import DataError, Faults, name_some
from bayes_her2.preprocessing.cell_types import seed_rules

SMALL_SHARE = 0.001
"""Share of a tumour's total under which a value is called small, and which is added as a pseudocount.

CIBERSORT's positives reach down to 1e-6 without a gap above zero, and values under 0.001 are 5 to 12 % of the positives
of rare cell types in TCGA-BRCA.
"""

P_LIMIT = 0.05
NO_PERMUTATIONS = 9999.0
"""What CIBERSORT writes in place of a P-value when it was run without permutations."""

POLICY = "multiverse"
"""Step of exclusions that a policy makes."""


@dataclass(frozen=True)
class Changed:
    """Eligible tumours after a policy.

    Attributes
    ----------
    data
        Changed data; the notice that was added says what was done.
    used
        Cohort x cell type: the number put in, added, or compared with; NaN where the policy does nothing.
    """

    data: TumourData
    used: pd.DataFrame


def replace_zeros(data: TumourData) -> Changed:
    """Replace each zero by the smallest positive value of its cell type in its cohort.

    A cell type without any positive value in a cohort stays at zero there, and a notice says so.
    """
    cohort, abundance = data.tumours["cohort"], data.abundance
    smallest = abundance.where(abundance > 0).groupby(cohort).min()
    filled = abundance.mask(abundance == 0, _by_tumour(smallest, cohort)).fillna(0.0)
    notices = ["Zeros are replaced by the smallest positive value of the cell type in the cohort."]
    for name, row in smallest.iterrows():
        without = row.index[row.isna()]
        if len(without):
            notices.append(
                f"{name}: {name_some(without, 22)} without any positive value; zeros there stay zeros."
            )
    return _changed(data, filled, smallest, notices)


def add_pseudocount(data: TumourData, share: float = SMALL_SHARE) -> Changed:
    """Add one number to every value, zero or not: `share` of the total abundance of a typical tumour.

    On the relative scale the total is 1. On the absolute scale it is the cohort's median of the sum over cell types.
    """
    amount = _of_total(data, share)
    added = data.abundance + _by_tumour(amount, data.tumours["cohort"])
    return _changed(data, added, amount, [f"{share:g} of the total is added to every value."])


def small_to_zero(data: TumourData, share: float = SMALL_SHARE) -> Changed:
    """Set positive values under `share` of the total (as in `add_pseudocount`) to zero."""
    limit = _of_total(data, share)
    small = data.abundance < _by_tumour(limit, data.tumours["cohort"])
    kept = data.abundance.mask(small, 0.0)
    return _changed(data, kept, limit, [f"Positive values under {share:g} of the total are set to zero."])


def without_rare(data: TumourData) -> Changed:
    """Leave out the cell types that the seed study's rule excludes in every cohort: more than 75 % zeros.

    Raises
    ------
    DataError
        No cell type is left.
    """
    rules = seed_rules(data.abundance, data.tumours["cohort"])
    excluded = (rules["rule"] == "excluded").groupby(rules["cell_type"]).all()
    out = [name for name in data.abundance.columns if excluded[name]]
    if len(out) == len(data.abundance.columns):
        raise DataError("more than 75 % of the values of every cell type are zeros: no cell type is left.")
    notices = [f"More than 75 % zeros in every cohort, left out: {', '.join(out)}."] if out else []
    kept = data.abundance.drop(columns=out)
    nothing = pd.DataFrame(np.nan, index=_cohorts(data), columns=data.abundance.columns)
    return _changed(data, kept, nothing, notices)


def deconvolution_filter(
    data: TumourData, cohorts: Sequence[CohortTable], limit: float = P_LIMIT
) -> TumourData:
    """Keep the tumours whose deconvolution has P below `limit`; the others are logged.

    Parameters
    ----------
    data
        Eligible tumours.
    cohorts
        Their cohorts as read, for the P-values.
    limit
        P must be below it. With 100 permutations P is a multiple of 0.01, and 0.05 itself is not below 0.05.

    Raises
    ------
    DataError
        A cohort has no P-value at all (9999 is none): a filter would take all of it. Or none of its tumours passes.
    """
    p_value = pd.Series(np.nan, index=data.tumours.index)
    for cohort in cohorts:
        if "p_value" in cohort.quality.columns:
            own = pd.to_numeric(cohort.quality["p_value"])
            own.index = pd.Index([f"{cohort.name}/{tumour}" for tumour in own.index])
            known = own.index.intersection(p_value.index)
            p_value.loc[known] = own.loc[known]
    # A mean over aliquots that holds a 9999 is no P-value either.
    unknown = p_value.isna() | (p_value > 1)
    passed = ~unknown & (p_value < limit)
    by_cohort = data.tumours["cohort"]
    faults = Faults()
    for name, own in unknown.groupby(by_cohort):
        if own.all():
            untested = int((p_value[own.index] > 1).sum())
            why = (
                f"{untested} are {NO_PERMUTATIONS:.0f} (no permutations were run)"
                if untested
                else "none is given"
            )
            faults.add(str(name), f"no P-value of the deconvolution in {len(own)} tumours: {why}.")
        elif not passed[own.index].any():
            faults.add(str(name), f"none of its {len(own)} tumours has a deconvolution P below {limit:g}.")
    faults.raise_if_any()
    lost = [
        Exclusion(
            str(by_cohort[label]),
            str(label).removeprefix(f"{by_cohort[label]}/"),
            POLICY,
            "no deconvolution P-value" if unknown[label] else f"deconvolution P not below {limit:g}",
        )
        for label in sorted(passed.index[~passed])
    ]
    return replace(
        data,
        tumours=data.tumours[passed],
        abundance=data.abundance[passed],
        exclusions=data.exclusions + tuple(lost),
        notices=(*data.notices, f"Only tumours with a deconvolution P below {limit:g} are kept."),
    )


def shares(cohort: CohortTable) -> CohortTable:
    """Divide each tumour's abundances by their sum: CIBERSORT's absolute results are its relative ones times a score.

    Tumours without any abundance have no shares; they are left out, and logged.
    """
    total = cohort.abundance.sum(axis=1)
    empty = total.index[total <= 0]
    kept = cohort.abundance.drop(index=empty)
    lost = tuple(Exclusion(cohort.name, str(t), POLICY, "sum of abundances is 0") for t in sorted(empty))
    return replace(
        cohort,
        tumours=cohort.tumours.drop(index=empty),
        abundance=kept.div(total.drop(index=empty), axis=0),
        quality=cohort.quality.drop(index=empty),
        scale="relative",
        exclusions=cohort.exclusions + lost,
    )


def changed_values(
    before: pd.DataFrame, after: pd.DataFrame, cohort: pd.Series, used: pd.DataFrame
) -> pd.DataFrame:
    """Count the values that differ between two tables of abundances, in the tumours that both have.

    Parameters
    ----------
    before, after
        Tumour x cell type.
    cohort
        Cohort of each tumour of `before`.
    used
        Cohort x cell type, the policy's numbers.

    Returns
    -------
    pandas.DataFrame
        ``cohort``, ``cell_type``, ``n``, ``n_changed``, ``n_zero_before``, ``n_zero_after``, ``value_used``; a cell
        type that is no longer there has NA after and counts as unchanged.
    """
    both = before.index.intersection(after.index)
    rows = []
    for name, own in cohort.loc[both].groupby(cohort.loc[both]):
        for cell_type in before.columns:
            old = before.loc[own.index, cell_type]
            there = cell_type in after.columns
            new = after.loc[own.index, cell_type] if there else old
            rows.append(
                {
                    "cohort": str(name),
                    "cell_type": str(cell_type),
                    "n": len(old),
                    "n_changed": int((old != new).sum()),
                    "n_zero_before": int((old == 0).sum()),
                    "n_zero_after": int((new == 0).sum()) if there else pd.NA,
                    "value_used": used[cell_type].astype(float)[name],
                }
            )
    return pd.DataFrame(rows, columns=["cohort", "cell_type", *_COUNTS])


_COUNTS = ["n", "n_changed", "n_zero_before", "n_zero_after", "value_used"]


def _cohorts(data: TumourData) -> pd.Index:
    return pd.Index(sorted(data.cohorts), name="cohort")


def _by_tumour(by_cohort: pd.DataFrame, cohort: pd.Series) -> pd.DataFrame:
    """Give each tumour its cohort's row."""
    return by_cohort.loc[cohort.to_numpy()].set_axis(cohort.index)


def _of_total(data: TumourData, share: float) -> pd.DataFrame:
    """`share` of the total abundance of a typical tumour, cohort x cell type."""
    total = pd.Series(1.0, index=_cohorts(data))
    if data.scale == "absolute":
        total = data.abundance.sum(axis=1).groupby(data.tumours["cohort"]).median()
    names = data.abundance.columns
    return pd.DataFrame({name: share * total for name in names}, columns=names)


def _changed(
    data: TumourData, abundance: pd.DataFrame, used: pd.DataFrame, notices: Sequence[str]
) -> Changed:
    return Changed(replace(data, abundance=abundance, notices=(*data.notices, *notices)), used)
