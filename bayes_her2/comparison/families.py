"""Every family of tests of every model: how many rows, which verdicts, and what either side would announce."""

from __future__ import annotations

import pandas as pd

from bayes_her2.comparison.concordance import VERDICTS

FAMILY = ("model", "estimand", "exposure", "contrast", "stratum", "scope", "cohort")
"""Columns that define a family; s-values and Bonferroni are within it, over cell types."""


def families(concordance: pd.DataFrame) -> pd.DataFrame:
    """Count verdicts and discoveries of each family.

    Parameters
    ----------
    concordance
        Rows of `concordance`, of one or several models.

    Returns
    -------
    pandas.DataFrame
        The columns of `FAMILY`, then ``n_rows``, ``n_observed`` (rows that the tumours inform: discoveries of either
        side are counted among them), ``n_signs`` (rows with a sign that the posterior may call: an s-value, in a model
        that calls signs), ``n_tests`` (rows whose twin has a P value: Bonferroni's multiplier),
        ``n_tests_fixed`` (the same of the regression with cohort fixed), ``n_discoveries_bayes`` (s-value and local
        false sign rate within the study's limit), ``n_discoveries_bonferroni``, ``n_discoveries_both``,
        ``n_discoveries_fixed`` (by the regression with cohort fixed), and one column per verdict.
    """
    # The cell types of a clinical variable are its exposures: the variable is what one family is about.
    of_a_variable = concordance["model"] == "clinical"
    concordance = concordance.assign(
        exposure=concordance["exposure"].mask(of_a_variable, concordance["outcome"])
    )
    keys = list(FAMILY)
    bayes, classical, fixed = (
        concordance[f"discovery_{side}"].astype(bool) for side in ("bayes", "bonferroni", "fixed")
    )
    counted = concordance[keys].assign(
        cohort=concordance["cohort"].fillna(""),
        n_rows=1,
        n_observed=(concordance["status"] == "observed").astype(int),
        n_signs=concordance["s_value"].notna().astype(int),
        n_tests=concordance["twin_p"].notna().astype(int),
        n_tests_fixed=concordance["fixed_p_bonferroni"].notna().astype(int),
        n_discoveries_bayes=bayes.astype(int),
        n_discoveries_bonferroni=classical.astype(int),
        n_discoveries_both=(bayes & classical).astype(int),
        n_discoveries_fixed=fixed.astype(int),
        **{v: (concordance["verdict"] == v).astype(int) for v in VERDICTS},
    )
    return counted.groupby(keys, sort=False, dropna=False).sum().reset_index()
