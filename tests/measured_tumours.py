"""Tumours with a planted latent HER2, indicators of it, and immune cells that depend on the latent alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit

from bayes_her2.bayesian.measurement import Indicators, Parameters, reader_matrix
from bayes_her2.bayesian.measurement_checks import simulate_indicators
from bayes_her2.data import IHC_LEVELS, Measure, ModelChoices, TumourData


def parameters(
    reliability: tuple[float, ...] = (0.6, 0.35),
    level_reliability: float = 0.4,
    n_groups: int = 2,
    readers: tuple[float, float, float] = (-1.4, -1.6, -2.0),
) -> Parameters:
    """One draw of the parameters; groups differ in means and cut-points."""
    shift = np.linspace(-0.3, 0.4, n_groups)
    return Parameters(
        mean=np.tile(shift, (len(reliability), 1)) * np.arange(1, len(reliability) + 1)[:, None],
        sd=np.linspace(0.9, 1.1, len(reliability)),
        reliability=np.array(reliability),
        level_reliability=np.array(level_reliability),
        cuts=np.stack([-0.8 + shift, 0.6 + shift], axis=1),
        reader=reader_matrix(*(np.array(odds) for odds in readers)),
    )


def unseen(groups: tuple[str, ...], group_idx: np.ndarray, n_measures: int) -> Indicators:
    """Tumours of these groups whose every indicator will be recorded."""
    n = len(group_idx)
    return Indicators(
        tumours=tuple(f"t{i}" for i in range(n)),
        groups=groups,
        measures=tuple(f"measure {j}" for j in range(n_measures)),
        values=np.zeros((n, n_measures)),
        recorded=np.ones((n, n_measures)),
        level_idx=np.zeros(n, dtype=int),
        group_idx=group_idx,
    )


def joint_density(z: float, p: Parameters, seen: Indicators, i: int) -> np.ndarray:
    """Density of latent and recorded indicators of one tumour, by true level, written out with scipy."""
    density = stats.norm.pdf(z)
    g = seen.group_idx[i]
    for j in range(len(p.sd)):
        if seen.recorded[i, j]:
            mean = p.mean[j, g] + p.sd[j] * np.sqrt(p.reliability[j]) * z
            density *= stats.norm.pdf(seen.values[i, j], mean, p.sd[j] * np.sqrt(1 - p.reliability[j]))
    root = np.sqrt(p.level_reliability)
    below = stats.norm.cdf((p.cuts[g] - root * z) / np.sqrt(1 - root**2))
    by_level = density * np.array([below[0], below[1] - below[0], 1 - below[1]])
    return by_level * p.reader[:, seen.level_idx[i]] if seen.level_idx[i] >= 0 else by_level


@dataclass(frozen=True)
class Planted:
    """Tumours, their latent, and the slopes on it by part and cell type."""

    data: TumourData
    latent: pd.Series
    slopes: pd.DataFrame


def planted(
    seed: int,
    n: int = 600,
    n_cells: int = 8,
    p: Parameters | None = None,
    *,
    protein_missing: float = 0.2,
    level_missing: float = 0.4,
) -> Planted:
    """One cohort with both HR strata; presence and amount of each cell type go with the latent alone."""
    rng = np.random.default_rng(seed)
    p = p or parameters()
    hr = np.where(np.arange(n) % 4 == 3, "HR-", "HR+")
    groups = ("A, HR+", "A, HR-")
    seen = unseen(groups, (hr == "HR-").astype(int), len(p.sd))
    z, values, level = simulate_indicators(p, seen, rng)
    index = pd.Index([f"A/{i:04d}" for i in range(n)], name="tumour")
    tumours = pd.DataFrame({"cohort": "A", "hr": hr, "platform": "RNA-seq", "her2_class": "0"}, index=index)
    tumours["her2"] = 5.0 + 0.8 * values[:, 0]
    for j in range(1, len(p.sd)):
        tumours[f"protein{j}"] = np.where(rng.random(n) < protein_missing, np.nan, 3.0 + 2.0 * values[:, j])
    read = pd.Series(np.array(IHC_LEVELS)[level], index=index, dtype="str")
    tumours["her2_ihc"] = read.mask(rng.random(n) < level_missing)
    for column in ("centre", "batch"):
        tumours[column] = pd.Series(pd.NA, index=index, dtype="str")
    names = [f"Cell {chr(65 + c)}" for c in range(n_cells)]
    slopes = pd.DataFrame(
        {"presence": np.linspace(-0.8, 0.8, n_cells), "amount": np.linspace(0.5, -0.5, n_cells)}, index=names
    )
    abundance = {}
    for name in names:
        present = rng.random(n) < expit(0.4 + slopes.loc[name, "presence"] * z)
        mean = np.exp(-3.0 + slopes.loc[name, "amount"] * z)
        abundance[name] = np.where(present, rng.gamma(2.0, mean / 2.0), 0.0)
    choices = ModelChoices(
        indicators=tuple(Measure(f"protein{j}", f"protein {j}") for j in range(1, len(p.sd)))
    )
    data = TumourData(
        tumours,
        pd.DataFrame(abundance, index=index),
        "ERBB2 mRNA",
        "absolute",
        "abundance",
        settings=choices,
    )
    return Planted(data, pd.Series(z, index=index), slopes)
