"""What the immune infiltrate of the analysed tumours is made of, and the ratio of M1 to M2 macrophages."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from bayes_her2.data import STRATA
from bayes_her2.estimates import ALL

OVERALL = "all cohorts"
M1, M2 = "Macrophages M1", "Macrophages M2"
NOT_RECORDED = "not recorded"


def cell_composition(tumours: pd.DataFrame, abundance: pd.DataFrame) -> pd.DataFrame:
    """Mean and quartiles of each cell type's abundance, zeros included, and the share of tumours that have it.

    Parameters
    ----------
    tumours
        Analysed tumours, with ``cohort`` and ``hr``.
    abundance
        Tumour x cell type, every cell type of the signature.

    Returns
    -------
    pandas.DataFrame
        One row per cell type, cohort (or 'all cohorts') and stratum ('HR+', 'HR-', 'all'): ``n``, ``mean``,
        ``median``, ``q1``, ``q3``, ``share_present``, ``rank`` (1 for the largest mean).
    """
    frames = []
    for cohort, stratum, index in _groups(tumours):
        values = abundance.loc[index]
        quartiles = values.quantile([0.25, 0.5, 0.75])
        frame = pd.DataFrame(
            {
                "cohort": cohort,
                "stratum": stratum,
                "cell_type": values.columns,
                "n": len(values),
                "mean": values.mean().to_numpy(),
                "median": quartiles.loc[0.5].to_numpy(),
                "q1": quartiles.loc[0.25].to_numpy(),
                "q3": quartiles.loc[0.75].to_numpy(),
                "share_present": (values > 0).mean().to_numpy(),
            }
        )
        frame["rank"] = frame["mean"].rank(ascending=False, method="min").astype(int)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def macrophage_ratio(tumours: pd.DataFrame, abundance: pd.DataFrame) -> pd.DataFrame | None:
    """Quartiles of the M1/M2 ratio by HR status and HER2 IHC level; undefined where a tumour has no M2.

    Parameters
    ----------
    tumours
        Analysed tumours, with ``cohort``, ``hr`` and ``her2_ihc``.
    abundance
        Tumour x cell type.

    Returns
    -------
    pandas.DataFrame or None
        One row per cohort (or 'all cohorts'), stratum and ``her2_ihc`` ('all', a level, or 'not recorded'): ``n``,
        ``n_undefined`` (no M2), ``undefined`` (their ids), ``n_zero`` (no M1, but M2), and ``median``, ``q1``, ``q3``
        of the defined ratios. None where the signature lacks M1 or M2.
    """
    if not {M1, M2} <= set(abundance.columns):
        return None
    defined = abundance[M2] > 0
    ratio = (abundance[M1] / abundance[M2]).where(defined)
    levels = tumours["her2_ihc"].fillna(NOT_RECORDED)
    rows = []
    for cohort, stratum, index in _groups(tumours):
        own = levels.loc[index]
        several = own.nunique() > 1 or (own != NOT_RECORDED).any()
        for level in (ALL, *(sorted(own.unique()) if several else ())):
            chosen = index if level == ALL else own.index[own == level]
            values, lacking = ratio.loc[chosen].dropna(), chosen[~defined.loc[chosen].to_numpy()]
            quartiles = values.quantile([0.25, 0.5, 0.75])
            rows.append(
                {
                    "cohort": cohort,
                    "stratum": stratum,
                    "her2_ihc": level,
                    "n": len(chosen),
                    "n_undefined": len(lacking),
                    "n_zero": int((values == 0).sum()),
                    "median": quartiles.loc[0.5],
                    "q1": quartiles.loc[0.25],
                    "q3": quartiles.loc[0.75],
                    "undefined": "; ".join(map(str, lacking)),
                }
            )
    return pd.DataFrame(rows)


def _groups(tumours: pd.DataFrame) -> Iterator[tuple[str, str, pd.Index]]:
    """Cohort (then all of them), stratum (then all of them), and the tumours; empty groups are left out."""
    cohorts = list(dict.fromkeys(tumours["cohort"]))
    for cohort in (*cohorts, *((OVERALL,) if len(cohorts) > 1 else ())):
        own = tumours if cohort == OVERALL else tumours[tumours["cohort"] == cohort]
        present = [s for s in STRATA if (own["hr"] == s).any()]
        for stratum in (*present, ALL):
            index = own.index if stratum == ALL else own.index[own["hr"] == stratum]
            yield str(cohort), stratum, index
