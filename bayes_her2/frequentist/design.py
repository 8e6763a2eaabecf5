"""Design matrices of the twins: the linear predictor of the model, with cohorts as fixed terms."""

from __future__ import annotations

import pandas as pd

SLOPE = "exposure"
INTERACTION = "exposure x hr"


def design_matrix(
    tumours: pd.DataFrame,
    covariates: pd.DataFrame,
    *,
    reference: str,
    use_centre: bool,
    exposure: pd.Series[float] | None = None,
) -> pd.DataFrame:
    """Design of alpha_k + beta h + gamma_k r + delta h r + omega'x, with centres nested in cohorts.

    r is 0 in the reference HR stratum and 1 in the other. For the tumours of one cohort this is the
    cohort's own regression; for those of several, intercept and HR term are the cohort's own, slope and
    interaction common.

    Parameters
    ----------
    tumours
        Columns ``cohort``, ``hr``, ``her2_sd``; ``centre`` where `use_centre`.
    covariates
        Tumour x covariate, numeric, same index. Columns that do not vary among `tumours` are left out.
    reference
        Reference HR stratum.
    use_centre
        Add an indicator for each centre but the first, in cohorts with at least two.
    exposure
        What takes the place of h; standardised HER2 (``her2_sd`` of `tumours`) if None.

    Returns
    -------
    pandas.DataFrame
        Tumour x column. ``exposure x hr`` is there only if both strata are.
    """
    cohort, hr = tumours["cohort"], tumours["hr"]
    values = (tumours["her2_sd"] if exposure is None else exposure.loc[tumours.index]).astype(float)
    other = (hr != reference).astype(float)
    both_strata = hr.nunique() > 1
    columns: dict[str, pd.Series[float]] = {}
    for name in sorted(cohort.unique()):
        inside = (cohort == name).astype(float)
        columns[f"cohort: {name}"] = inside
        if hr[cohort == name].nunique() > 1:
            columns[f"hr: {name}"] = inside * other
    columns[SLOPE] = values
    if both_strata:
        columns[INTERACTION] = values * other
    for name in covariates.columns:
        covariate = covariates[name].loc[tumours.index].astype(float)
        if covariate.nunique() > 1:
            columns[f"covariate: {name}"] = covariate
    if use_centre:
        for name in sorted(cohort.unique()):
            centre = tumours["centre"].where(cohort == name).astype(object)
            for level in sorted(centre.dropna().unique(), key=str)[1:]:
                columns[f"centre: {name}/{level}"] = (centre == level).astype(float)
    return pd.DataFrame(columns, index=tumours.index)


def stratum_contrast(design: pd.DataFrame, stratum: str, *, reference: str) -> pd.Series[float]:
    """Contrast of coefficients that is the slope in one HR stratum: beta, or beta + delta."""
    contrast = pd.Series(0.0, index=design.columns)
    contrast[SLOPE] = 1.0
    if stratum != reference and INTERACTION in contrast.index:
        contrast[INTERACTION] = 1.0
    return contrast
