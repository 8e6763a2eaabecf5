"""What each cell type can support: zero shares, the seed study's rule, high abundance."""

from __future__ import annotations

import pandas as pd

EXCLUDED_ABOVE = 0.75
PRESENCE_FROM = 0.25
MIN_ZEROS = 10
MIN_POSITIVES = 10


def zero_counts(abundance: pd.DataFrame, cohort: pd.Series, hr: pd.Series) -> pd.DataFrame:
    """Zeros and positives of each cell type, by cohort and HR stratum.

    Parameters
    ----------
    abundance
        Tumour x cell type, >= 0.
    cohort, hr
        Cohort and HR stratum of each tumour, same index.

    Returns
    -------
    pandas.DataFrame
        Columns ``cell_type``, ``cohort``, ``hr``, ``n``, ``n_zero``, ``n_positive``,
        ``median_positive`` (median abundance where present; NA if none is).
    """
    long = abundance.melt(ignore_index=False, var_name="cell_type", value_name="abundance")
    long = long.assign(cohort=cohort.loc[long.index], hr=hr.loc[long.index], zero=long["abundance"] == 0)
    grouped = long.groupby(["cell_type", "cohort", "hr"], sort=True, observed=True)
    counts = grouped["zero"].agg(n="size", n_zero="sum")
    counts["n_positive"] = counts["n"] - counts["n_zero"]
    positives = long[~long["zero"]].groupby(["cell_type", "cohort", "hr"], observed=True)
    counts["median_positive"] = positives["abundance"].median()
    return counts.reset_index()


def seed_rules(abundance: pd.DataFrame, cohort: pd.Series) -> pd.DataFrame:
    """Apply the seed study's rule for each cell type, cohort by cohort, with the rule for high abundance.

    More than 75 % zeros: ``excluded``; 25 to 75 %, both inclusive: ``presence``; fewer:
    ``continuous`` (Pizzamiglio 2025, Methods). ``high_rule`` is ``median`` where zeros are under
    25 % and ``presence`` otherwise: the median of a cell type with many zeros is 0, and
    ">= median" would then be constant.
    """
    rows = []
    for name, index in cohort.groupby(cohort).groups.items():
        share = (abundance.loc[index] == 0).mean()
        for cell_type, zero_share in share.items():
            if zero_share > EXCLUDED_ABOVE:
                rule = "excluded"
            elif zero_share >= PRESENCE_FROM:
                rule = "presence"
            else:
                rule = "continuous"
            high_rule = "median" if zero_share < PRESENCE_FROM else "presence"
            rows.append((cell_type, name, float(zero_share), rule, high_rule))
    table = pd.DataFrame(rows, columns=["cell_type", "cohort", "zero_share", "rule", "high_rule"])
    return table.sort_values(["cell_type", "cohort"], ignore_index=True)


def high_abundance(
    abundance: pd.DataFrame, cohort: pd.Series, rules: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """High abundance of each tumour, and the cut-off behind it.

    Returns
    -------
    high : pandas.DataFrame
        Tumour x cell type, bool: abundance >= within-cohort median (``high_rule`` median) or
        abundance > 0 (``high_rule`` presence).
    cutoffs : pandas.DataFrame
        Cohort x cell type; 0 where the rule is presence.
    """
    by_median = rules.pivot(index="cohort", columns="cell_type", values="high_rule") == "median"
    medians = abundance.groupby(cohort).median()
    cutoffs = medians.where(by_median.reindex_like(medians), 0.0)
    return above_cutoffs(abundance, cohort, cutoffs), cutoffs


def above_cutoffs(abundance: pd.DataFrame, cohort: pd.Series, cutoffs: pd.DataFrame) -> pd.DataFrame:
    """Which abundances are high at cut-offs by cohort and cell type: at least these, and not 0."""
    own = cutoffs.loc[cohort.to_numpy(), list(abundance.columns)].set_axis(abundance.index)
    return abundance.ge(own) & abundance.gt(0)


def modelled_parts(counts: pd.DataFrame, strata: tuple[str, ...]) -> pd.DataFrame:
    """Which parts of the hurdle model each cell type supports in each HR stratum.

    Presence needs at least 10 zeros and 10 positives in the stratum (all cohorts together), amount
    at least 10 positives. A part that is not modelled in a stratum is reported as not estimable
    there, never as the prior dressed up as a result.

    Returns
    -------
    pandas.DataFrame
        One row per cell_type x stratum: ``cell_type``, ``stratum``, ``n``, ``n_zero``,
        ``n_positive``, ``presence_modelled``, ``amount_modelled``, ``reason``.
    """
    totals = counts.groupby(["cell_type", "hr"])[["n", "n_zero", "n_positive"]].sum()
    rows = []
    for cell_type in dict.fromkeys(counts["cell_type"]):
        for stratum in strata:
            n, n_zero, n_positive = (int(x) for x in totals.loc[(cell_type, stratum)])
            presence = n_zero >= MIN_ZEROS and n_positive >= MIN_POSITIVES
            amount = n_positive >= MIN_POSITIVES
            lacking = []
            if n_zero < MIN_ZEROS:
                lacking.append(f"{n_zero} zeros")
            if n_positive < MIN_POSITIVES:
                lacking.append(f"{n_positive} positives")
            reason = f"{stratum}: {' and '.join(lacking)} among {n} tumours (10 needed)" if lacking else ""
            rows.append((cell_type, stratum, n, n_zero, n_positive, presence, amount, reason))
    return pd.DataFrame(
        rows,
        columns=[
            "cell_type",
            "stratum",
            "n",
            "n_zero",
            "n_positive",
            "presence_modelled",
            "amount_modelled",
            "reason",
        ],
    )
