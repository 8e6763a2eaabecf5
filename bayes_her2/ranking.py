"""What is ranked against what: exposures and outcomes of the rank correlations, and whether a group can carry one.

Posterior and twin read the same pairings, so both correlate the same columns in the same tumours and
leave out the same cells for the same reasons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayes_her2.data import AnalysisSet
from bayes_her2.errors import DataError
from bayes_her2.estimates import ALL

MIN_TUMOURS = 10
"""Tumours that a group (cohort and stratum) needs for a correlation of its own."""

MIN_POSITIVES = 10
"""Tumours with an outcome above zero that it needs."""

MAX_TIED = 0.80
"""Share of tumours with one and the same value beyond which ranks say too little."""

POLARISATION = "M1/M2 ratio"
"""Macrophages M1 over Macrophages M2: zero where M1 is absent, not defined where M2 is."""
_M1, _M2 = "Macrophages M1", "Macrophages M2"
_SAME = 1e-6  # smallest eigenvalue of a correlation matrix below which measures are one and the same


@dataclass(frozen=True)
class Pairing:
    """Exposures that share tumours, and the outcomes that each of them is correlated with.

    Attributes
    ----------
    name
        ``measures`` (the HER2 measure and those beside it) or ``infiltrate`` (total infiltrate alone).
    exposures
        Tumour x exposure, no missing values; the HER2 measure first, further ones by name.
    outcomes
        Tumour x outcome, same tumours, NA where not defined: every cell type of the analysis set, the M1/M2 ratio
        and (for the measures) the total infiltrate.
    """

    name: str
    exposures: pd.DataFrame
    outcomes: pd.DataFrame


def pairings(data: AnalysisSet) -> tuple[Pairing, ...]:
    """List what the model ``rank_correlation`` correlates.

    Raises
    ------
    DataError
        Two exposures that are one and the same, or an exposure and an outcome of the same name.
    """
    measures = (
        data.measures if data.measures.shape[1] else data.tumours[["her2"]].set_axis([data.measure], axis=1)
    )
    first = str(measures.columns[0])
    measures = measures[[first, *sorted(str(c) for c in measures.columns if c != first)]].astype(float)
    cells = _cell_outcomes(data)
    made = [Pairing("measures", measures, pd.concat([cells, data.infiltrate], axis=1))]
    if data.infiltrate.shape[1]:
        known = data.infiltrate.dropna().astype(float)
        if len(known):
            made.append(Pairing("infiltrate", known, cells.loc[known.index]))
    for pairing in made:
        shared = sorted(set(pairing.exposures.columns) & set(pairing.outcomes.columns))
        if shared:
            raise DataError(
                f"rank_correlation: {', '.join(shared)} is both an exposure and an outcome. Give the measure a "
                "label of its own."
            )
    return tuple(made)


def _cell_outcomes(data: AnalysisSet) -> pd.DataFrame:
    """Abundances of all cell types of the signature (NA throughout where none is modelled), and the M1/M2 ratio."""
    columns = {
        str(c): data.abundance[c].astype(float)
        if c in data.abundance.columns
        else pd.Series(np.nan, index=data.tumours.index)
        for c in data.cell_types.index
    }
    if {_M1, _M2} <= set(data.abundance.columns):
        columns[POLARISATION] = columns[_M1] / columns[_M2].where(columns[_M2] > 0)
    return pd.DataFrame(columns, index=data.tumours.index)


def groups_of(data: AnalysisSet, tumours: pd.Index) -> dict[tuple[str, str], pd.Index]:
    """Tumours by cohort and stratum (HR+, HR-, and ``all``), sorted by name; every combination is there."""
    frame = data.tumours.loc[tumours].sort_index()
    found: dict[tuple[str, str], pd.Index] = {}
    for cohort in data.cohorts:
        own = frame[frame["cohort"] == cohort]
        for stratum in (*data.strata, ALL):
            found[cohort, stratum] = own.index if stratum == ALL else own.index[own["hr"] == stratum]
    return found


def support(data: AnalysisSet, pairing: Pairing) -> pd.DataFrame:
    """Say what each group can carry.

    Returns
    -------
    pandas.DataFrame
        One row per outcome, cohort and stratum (HR+, HR-, ``all``): ``n`` tumours with exposure and outcome, ``n_zero``
        exact zeros among them, and ``reason`` ('' where a correlation can be had; otherwise why not).
    """
    rows = []
    for (cohort, stratum), index in groups_of(data, pairing.exposures.index).items():
        exposures = pairing.exposures.loc[index]
        blocked = "; ".join(
            f"{name}: {reason}" for name in exposures.columns if (reason := _too_tied(exposures[name]))
        )
        for outcome in pairing.outcomes.columns:
            values = pairing.outcomes.loc[index, outcome].dropna()
            reason = _not_rankable(values) or blocked
            if outcome in data.cell_types.index and outcome not in data.abundance.columns:
                values = pd.Series(0.0, index=index)
                reason = _too_few(len(index)) or "too few positives in every stratum"
            n_zero = int((values == 0).sum())
            if outcome in data.cell_types.index and outcome not in data.abundance.columns:
                counts = data.counts[
                    (data.counts["cell_type"] == outcome) & (data.counts["cohort"] == cohort)
                ]
                own = counts if stratum == ALL else counts[counts["hr"] == stratum]
                n_zero = int(own["n_zero"].sum())
            rows.append((outcome, cohort, stratum, len(values), n_zero, reason))
    return pd.DataFrame(rows, columns=["outcome", "cohort", "stratum", "n", "n_zero", "reason"])


def check_distinct(names: list[str], correlation: np.ndarray, where: str) -> None:
    """Refuse measures that rank the tumours alike: their correlations cannot be told apart.

    Raises
    ------
    DataError
        With the pair that is closest.
    """
    if len(names) < 2 or float(np.linalg.eigvalsh(correlation)[0]) > _SAME:
        return
    apart = np.abs(correlation) - np.eye(len(names))
    i, j = np.unravel_index(int(np.argmax(apart)), apart.shape)
    raise DataError(
        f"rank_correlation, {where}: the measures {names[i]} and {names[j]} rank the tumours alike (correlation of "
        f"normal scores {correlation[i, j]:.6f}), so they cannot be compared. Leave one of them out."
    )


def _too_few(n: int) -> str:
    if n >= MIN_TUMOURS:
        return ""
    return f"{n} tumours: fewer than {MIN_TUMOURS}" if n else "no tumours"


def _too_tied(values: pd.Series) -> str:
    if not len(values):
        return ""
    share = float(values.value_counts().iloc[0]) / len(values)  # .iloc: the most frequent value comes first
    if share <= MAX_TIED:
        return ""
    return f"{share:.0%} of {len(values)} tumours share one value: ties beyond {MAX_TIED:.0%}"


def _not_rankable(values: pd.Series) -> str:
    few = _too_few(len(values)) or _too_tied(values)
    if few:
        return few
    positives = int((values != 0).sum())
    return "" if positives >= MIN_POSITIVES else f"{positives} positives: fewer than {MIN_POSITIVES}"
