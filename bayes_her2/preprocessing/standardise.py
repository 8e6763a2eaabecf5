"""Standardised HER2 and covariates, with every divisor kept for print."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayes_her2.errors import DataError, Faults, name_some


def standardise_her2(her2: pd.Series, platform: pd.Series, hr: pd.Series) -> tuple[pd.Series, pd.DataFrame]:
    """HER2 per pooled within-HR standard deviation, platform by platform.

    h = (her2 - mean) / sd, with the mean of the platform and
    sd^2 = sum_s (n_s - 1) var_s / sum_s (n_s - 1) over its HR strata s.

    Parameters
    ----------
    her2
        The measure, in its own units, no missing values.
    platform, hr
        Platform and HR stratum of each tumour, same index.

    Returns
    -------
    her2_sd : pandas.Series
        Standardised measure.
    scaling : pandas.DataFrame
        Index ``platform``; ``mean``, ``sd``, ``n``.

    Raises
    ------
    DataError
        Where the measure is constant, or too few tumours tell its spread.
    """
    faults = Faults()
    scaled: list[pd.Series] = []
    rows = []
    for name, index in platform.groupby(platform).groups.items():
        values, strata = her2.loc[index], hr.loc[index]
        grouped = values.groupby(strata)
        freedom = (grouped.size() - 1).clip(lower=0)
        if freedom.sum() < 2:
            faults.add(str(name), f"{len(values)} tumours are too few to standardise the HER2 measure.")
            continue
        variance = float((grouped.var().fillna(0.0) * freedom).sum() / freedom.sum())
        spread = float(np.sqrt(variance))
        if not spread > 1e-9 * max(1.0, float(values.abs().max())):
            faults.add(
                str(name),
                f"the HER2 measure is constant within hormone receptor strata (value {values.iloc[0]:g} in "
                f"{len(values)} tumours): it cannot be related to anything. Choose another measure or "
                "leave the cohort out.",
            )
            continue
        mean = float(values.mean())
        scaled.append((values - mean) / spread)
        rows.append((name, mean, spread, len(values)))
    faults.raise_if_any(DataError)
    scaling = pd.DataFrame(rows, columns=["platform", "mean", "sd", "n"]).set_index("platform")
    return pd.concat(scaled).reindex(her2.index).rename("her2_sd"), scaling


def covariate_columns(
    tumours: pd.DataFrame, covariates: tuple[str, ...], *, batch: bool
) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """Numeric covariate columns: continuous ones per SD, categories as centred indicators.

    The reference of a category is its most frequent level (the first in alphabetical order among
    equals). Batches are indicators within their cohort: a cohort with one batch has none.

    Returns
    -------
    columns : pandas.DataFrame
        Tumour x covariate column, centred over all tumours; a batch indicator over its own cohort, and 0
        elsewhere, so that other cohorts' levels do not move with it.
    scaling : pandas.DataFrame
        Index ``covariate``; ``mean``, ``sd`` (1 for an indicator), ``kind``.
    notices : tuple of str
        What was left out and why.
    """
    columns: dict[str, pd.Series] = {}
    rows = []
    notices: list[str] = []

    def indicators(label: str, values: pd.Series, reference: str) -> None:
        for level in sorted(set(values.dropna()) - {reference}):
            known = values.notna()
            indicator = (values == level).astype(float)
            share = float(indicator[known].mean())
            name = f"{label}: {level}"
            columns[name] = (indicator - share).where(known, 0.0)
            rows.append((name, share, 1.0, f"indicator (reference {reference})"))

    for covariate in covariates:
        values = tumours[covariate]
        if pd.api.types.is_numeric_dtype(values):
            spread = float(values.std())
            if not spread > 1e-9 * float(values.abs().max()):  # rounding alone gives a constant some spread
                raise DataError(
                    f"covariate {covariate}: the same value ({values.iloc[0]:g}) in all "
                    f"{len(values)} tumours. Take it out of [model] covariates."
                )
            columns[covariate] = (values - values.mean()) / spread
            rows.append((covariate, float(values.mean()), spread, "continuous, per SD"))
        else:
            frequent = values.value_counts()
            reference = sorted(frequent[frequent == frequent.max()].index)[0]
            if len(frequent) == 1:
                raise DataError(
                    f"covariate {covariate}: only one level ({reference}) in all {len(values)} tumours. "
                    "Take it out of [model] covariates."
                )
            indicators(covariate, values, reference)
    if batch:
        for cohort, index in tumours.groupby("cohort").groups.items():
            own = tumours.loc[index, "batch"]
            if own.nunique() < 2:
                recorded = "one batch only" if own.notna().any() else "no batch recorded"
                notices.append(f"{cohort}: {recorded}, so no batch term for it.")
                continue
            frequent = own.value_counts()
            reference = sorted(frequent[frequent == frequent.max()].index)[0]
            values = tumours["batch"].where(tumours["cohort"] == cohort)
            indicators(
                "batch" if tumours["cohort"].nunique() == 1 else f"batch in {cohort}", values, reference
            )
    table = pd.DataFrame(columns, index=tumours.index, dtype=float)
    scaling = pd.DataFrame(rows, columns=["covariate", "mean", "sd", "kind"]).set_index("covariate")
    if table.shape[1] and np.linalg.matrix_rank(table.to_numpy()) < table.shape[1]:
        raise DataError(
            f"covariates: some columns repeat others exactly ({name_some(table.columns)}). Take one out "
            "of [model] covariates, or set batch = false."
        )
    return table, scaling, tuple(notices)
