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
"""Macrophages M1 over Macrophages M2: zero where M1 alone is absent, infinite (the highest rank, tied) where M2 alone
is, not defined where both are."""

NO_TUMOURS = "no tumours"
"""Reason of a group that has no tumours at all, as opposed to none with a value."""

TIED_EXPOSURE = 0.20
"""Share of tumours with one value of an exposure beyond which a row says what that does to it."""

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
        (infinite where M2 alone is absent) and (for the measures) the total infiltrate.
    zeros
        Tumour x outcome: whether the value is an exact zero below which nothing can be. Where a cohort has negative
        values of an outcome (the log of a score), its zeros are values like any other.
    """

    name: str
    exposures: pd.DataFrame
    outcomes: pd.DataFrame
    zeros: pd.DataFrame


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
    outcomes = pd.concat([cells, data.infiltrate.astype(float)], axis=1)
    zeros = _zeros(outcomes, data.tumours["cohort"])
    made = [Pairing("measures", measures, outcomes, zeros)]
    if data.infiltrate.shape[1]:
        known = data.infiltrate.dropna().astype(float)
        if len(known):
            made.append(
                Pairing(
                    "infiltrate", known, cells.loc[known.index], zeros.loc[known.index, list(cells.columns)]
                )
            )
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
        one, two = columns[_M1], columns[_M2]
        ratio = one / two.where(two > 0)
        columns[POLARISATION] = ratio.mask((one > 0) & (two == 0), np.inf)
    return pd.DataFrame(columns, index=data.tumours.index)


def _zeros(outcomes: pd.DataFrame, cohort: pd.Series) -> pd.DataFrame:
    """Exact zeros of outcomes that, in their cohort, are never below zero."""
    lowest = outcomes.groupby(cohort.loc[outcomes.index]).transform("min")
    return (outcomes == 0) & (lowest == 0)


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

    An exposure of which more than 80 % of a group's tumours are tied is left out of that group; the others stay.

    Returns
    -------
    pandas.DataFrame
        One row per exposure, outcome, cohort and stratum (HR+, HR-, ``all``): ``n`` tumours with exposure and outcome,
        ``n_zero`` exact zeros among them, ``reason`` ('' where a correlation can be had; otherwise why not); and for
        notes ``undefined`` (tumours without a value of the M1/M2 ratio) and ``ties`` (what ties of the exposure do to
        the model).
    """
    rows = []
    whole = groups_of(data, data.tumours.index)
    for (cohort, stratum), index in groups_of(data, pairing.exposures.index).items():
        exposures = pairing.exposures.loc[index]
        n_tumours = len(whole[cohort, stratum])
        recorded = whole[cohort, ALL].intersection(pairing.exposures.index)
        unrecorded = ""
        if not len(index) and (n_tumours or not len(recorded)):
            unrecorded = not_recorded(str(pairing.exposures.columns[0]))
        tied = {str(name): _too_tied(exposures[name]) for name in exposures.columns}
        most = {str(name): _most_tied(exposures[name]) for name in exposures.columns}
        for outcome in pairing.outcomes.columns:
            column = pairing.outcomes.loc[index, outcome]
            values = column.dropna()
            zeros = pairing.zeros.loc[values.index, outcome]
            unmodelled = outcome in data.cell_types.index and outcome not in data.abundance.columns
            if unmodelled:
                reason = _too_few(len(index)) or "too few positives in every stratum"
                n = len(index)
                counts = data.counts[
                    (data.counts["cell_type"] == outcome) & (data.counts["cohort"] == cohort)
                ]
                own = counts if stratum == ALL else counts[counts["hr"] == stratum]
                n_zero = int(own["n_zero"].sum())
            else:
                n, n_zero = len(values), int(zeros.sum())
                reason = _not_rankable(values, zeros)
                known = pairing.outcomes.loc[recorded, outcome].notna().any()
                if outcome in data.infiltrate.columns and not n and (n_tumours or not known):
                    reason = not_recorded(str(outcome))
                elif not n and len(index):
                    reason = f"not defined in any of {len(index)} tumours"
                elif not reason and n < len(index):
                    known_ties = {
                        e: _too_tied(exposures.loc[values.index, e]) for e, t in tied.items() if not t
                    }
                    reason = "; ".join(f"{e} where it is known: {t}" for e, t in known_ties.items() if t)
            lost = int(column.isna().sum()) if outcome == POLARISATION else 0
            undefined = f"{_counted(lost)} with neither M1 nor M2: no ratio" if lost else ""
            for exposure, too_tied in tied.items():
                why = unrecorded or reason or (f"{exposure}: {too_tied}" if too_tied else "")
                ties = "" if why else _tie_note(exposure, most[exposure], n, n_zero / n)
                rows.append((exposure, outcome, cohort, stratum, n, n_zero, why, undefined, ties))
    columns = ["exposure", "outcome", "cohort", "stratum", "n", "n_zero", "reason", "undefined", "ties"]
    return pd.DataFrame(rows, columns=columns)


def not_recorded(label: str) -> str:
    """Reason of a group of tumours without a single value."""
    return f"{label} is not recorded"


def tie_effect(tied: float, zeros: float) -> str:
    """Say how far the copula's Spearman may be from the sample's where an exposure is tied at one end.

    The copula takes the scores of an exposure, ties and all, for a continuous normal. Fitted to 60,000 tumours with
    latent correlations of 0.4 and 0.7 of either sign, it misses Spearman's rho by up to 3 % (no zeros in the outcome),
    9 % (half of the exposure tied, 60 % zeros), 21 % (half tied, 80 % zeros) and 77 % (80 % of both).

    Parameters
    ----------
    tied
        Share of tumours with one value of the exposure.
    zeros
        Share of zeros of the outcome.
    """
    if zeros == 0.0:
        return "by up to 3%"
    return "by up to 10%" if tied * zeros <= 0.3 else "by a fifth or more"


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


def _counted(n: int) -> str:
    return f"{n} tumour" if n == 1 else f"{n} tumours"


def _tie_note(exposure: str, tied: float, n: int, zeros: float) -> str:
    """Say what the ties of an exposure do to the model's correlation."""
    if not TIED_EXPOSURE < tied <= MAX_TIED:
        return ""
    return (
        f"{tied:.0%} of {n} tumours share one value of {exposure}, which the model takes for continuous: its "
        f"correlation may differ from Spearman's {tie_effect(tied, zeros)}"
    )


def _too_few(n: int) -> str:
    if n >= MIN_TUMOURS:
        return ""
    return f"{n} tumours: fewer than {MIN_TUMOURS}" if n else NO_TUMOURS


def _most_tied(values: pd.Series) -> float:
    if not len(values):
        return 0.0
    return float(values.value_counts().iloc[0]) / len(values)  # .iloc: the most frequent value comes first


def _too_tied(values: pd.Series) -> str:
    share = _most_tied(values)
    if share <= MAX_TIED:
        return ""
    return f"{share:.0%} of {len(values)} tumours share one value: ties beyond {MAX_TIED:.0%}"


def _not_rankable(values: pd.Series, zeros: pd.Series) -> str:
    few = _too_few(len(values)) or _too_tied(values)
    if few:
        return few
    positives = len(values) - int(zeros.sum())
    return "" if positives >= MIN_POSITIVES else f"{positives} positives: fewer than {MIN_POSITIVES}"
