"""The outcome of the analysis of covariance: abundances of continuous cell types on the scale that a study chose."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from bayes_her2.data import IHC_LEVELS, STRATA
from bayes_her2.errors import DataError

OutcomeScale = Literal["raw", "log1p", "rank"]


def ancova_outcome(
    abundance: pd.DataFrame, cohort: pd.Series, rules: pd.DataFrame, scale: OutcomeScale, *, model: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Abundance of the cell types that the seed study analyses as continuous, on one scale.

    Parameters
    ----------
    abundance
        Tumour x cell type, exact zeros kept.
    cohort
        Cohort of each tumour, same index.
    rules
        From `bayes_her2.preprocessing.cell_types.seed_rules`: the rule of each cell type and cohort.
    scale
        ``raw``: as it is. ``log1p``: log(1 + abundance). ``rank``: (rank - 1/2) / n within the cohort, ties sharing
        their mean rank, so between 0 and 1 whatever the cohort's size.
    model
        Named by the message.

    Returns
    -------
    outcome : pandas.DataFrame
        Tumour x cell type; only cell types with under 25 % zeros in at least one cohort, NA in cohorts where
        they have more.
    notices : tuple of str
        Cell types that some cohorts leave out.

    Raises
    ------
    DataError
        No cell type is continuous in any cohort.
    """
    continuous = rules.pivot(index="cohort", columns="cell_type", values="rule") == "continuous"
    cell_types = [c for c in abundance.columns if continuous[c].any()]
    if not cell_types:
        share = rules.sort_values("zero_share").to_dict("records")[0]
        raise DataError(
            f"{model}: no cell type is continuous (under 25 % zeros) in any cohort; the nearest is "
            f"{share['cell_type']} with {share['zero_share']:.0%} zeros in {share['cohort']}. Leave the model out: "
            "presence and amount are what the abundance model is for."
        )
    values = abundance[cell_types].astype(float)
    if scale == "log1p":
        values = values.apply(np.log1p)
    elif scale == "rank":
        ranks = values.groupby(cohort).rank(method="average")
        values = (ranks - 0.5).div(cohort.groupby(cohort).transform("size"), axis=0)
    own = continuous.loc[cohort.to_numpy(), cell_types].set_axis(values.index)
    shares = rules.set_index(["cohort", "cell_type"])["zero_share"]
    notices = []
    for cell_type in cell_types:
        out = [str(c) for c in continuous.index if not continuous.at[c, cell_type]]
        if out:
            named = ", ".join(f"{c} ({shares.loc[(c, cell_type)]:.0%} zeros)" for c in out)
            notices.append(
                f"{cell_type}: not continuous in {named}, so the analysis of covariance leaves it out there."
            )
    return values.where(own), tuple(notices)


def outcome_label(scale_label: str, scale: OutcomeScale) -> str:
    """How a value of the outcome reads."""
    return {
        "raw": scale_label,
        "log1p": f"log(1 + {scale_label})",
        "rank": "rank within the cohort (0 to 1)",
    }[scale]


def empty_cells(tumours: pd.DataFrame, among: pd.DataFrame | None = None) -> list[str]:
    """Cells of HR status x HER2 IHC level without a tumour, among the statuses and levels that occur.

    Parameters
    ----------
    tumours
        Columns ``hr`` and ``her2_ihc``.
    among
        Tumours whose statuses and levels count; `tumours` themselves if not given.
    """
    whole = tumours if among is None else among
    seen = set(zip(tumours["hr"], tumours["her2_ihc"], strict=True))
    return [
        f"{hr} with IHC {level}"
        for hr in STRATA
        for level in IHC_LEVELS
        if hr in set(whole["hr"]) and level in set(whole["her2_ihc"]) and (hr, level) not in seen
    ]
