"""Small analysis sets for the twins, built by hand so that these tests do not lean on preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayes_her2.data import STRATA, AnalysisSet

MIN_PART = 10

Builder = Callable[..., AnalysisSet]


def build_analysis_set(
    tumours: pd.DataFrame,
    abundance: pd.DataFrame,
    *,
    covariates: pd.DataFrame | None = None,
    reference: str = "HR+",
    use_centre: bool = False,
    min_part: int = MIN_PART,
) -> AnalysisSet:
    """Analysis set of tumours (cohort, hr, her2_sd; her2 and centre optional) and abundances."""
    tumours = tumours.copy()
    for column, default in (("her2", tumours["her2_sd"]), ("centre", pd.NA), ("batch", pd.NA)):
        if column not in tumours:
            tumours[column] = default
    zero = abundance == 0
    groups = [tumours["cohort"], tumours["hr"]]
    n = tumours.groupby(groups).size()
    counts = pd.concat(
        [
            pd.DataFrame({"n": n, "n_zero": zero[c].groupby(groups).sum()}).reset_index().assign(cell_type=c)
            for c in abundance.columns
        ],
        ignore_index=True,
    )
    counts["n_positive"] = counts["n"] - counts["n_zero"]
    parts = counts.groupby(["cell_type", "hr"])[["n", "n_zero", "n_positive"]].sum().reset_index()
    parts = parts.rename(columns={"hr": "stratum"})
    parts["amount_modelled"] = parts["n_positive"] >= min_part
    parts["presence_modelled"] = parts["amount_modelled"] & (parts["n_zero"] >= min_part)
    parts["reason"] = [
        "" if p and a else f"{s}: {z} zeros and {x} positives"
        for p, a, s, z, x in zip(
            parts["presence_modelled"],
            parts["amount_modelled"],
            parts["stratum"],
            parts["n_zero"],
            parts["n_positive"],
            strict=True,
        )
    ]
    modelled = parts.groupby("cell_type")[["presence_modelled", "amount_modelled"]].any()
    cell_types = counts.groupby("cell_type")[["n_zero", "n_positive"]].sum().join(modelled)
    cell_types["zero_share"] = cell_types["n_zero"] / len(tumours)
    cell_types["reason"] = parts.groupby("cell_type")["reason"].agg("; ".join)
    cell_types = cell_types.loc[list(abundance.columns)]

    share = zero.groupby(tumours["cohort"]).mean()
    rules = share.rename_axis(columns="cell_type").stack().rename("zero_share").reset_index()
    rules["rule"] = np.select(
        [rules["zero_share"] > 0.75, rules["zero_share"] >= 0.25], ["excluded", "presence"], "continuous"
    )
    rules["high_rule"] = np.where(rules["zero_share"] < 0.25, "median", "presence")
    by_median = rules.pivot(index="cohort", columns="cell_type", values="high_rule") == "median"
    medians = abundance.groupby(tumours["cohort"]).median()
    cutoffs = medians.where(by_median.reindex_like(medians), 0.0)
    high = abundance.ge(cutoffs.loc[tumours["cohort"]].set_axis(abundance.index)) & ~zero

    kept = [c for c in abundance.columns if cell_types.at[c, "amount_modelled"]]
    if covariates is None:
        covariates = pd.DataFrame(index=tumours.index)
    return AnalysisSet(
        model="abundance",
        tumours=tumours,
        abundance=abundance[kept],
        covariates=covariates,
        high=high[kept],
        high_cutoffs=cutoffs[kept],
        cell_types=cell_types,
        parts=parts,
        counts=counts,
        rules=rules,
        her2_scaling=pd.DataFrame({"mean": [0.0], "sd": [1.0], "n": [len(tumours)]}, index=["platform"]),
        covariate_scaling=pd.DataFrame(columns=["mean", "sd", "kind"]),
        reference=reference,
        measure="HER2 measure",
        scale="relative",
        scale_label="share of all immune cells",
        use_centre=use_centre,
        adjustment=", ".join(covariates.columns) or "none",
    )


def simulate(
    seed: int,
    sizes: Mapping[tuple[str, str], int],
    slopes: Mapping[str, Mapping[str, tuple[float, float]]],
    *,
    intercept: tuple[float, float] = (0.6, -3.0),
    shape: float = 2.0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tumours and abundances with planted slopes: cell type -> stratum -> (presence, amount)."""
    rng = np.random.default_rng(seed)
    rows = [(cohort, hr) for (cohort, hr), n in sizes.items() for _ in range(n)]
    tumours = pd.DataFrame(rows, columns=["cohort", "hr"], dtype="str")
    tumours["her2_sd"] = rng.normal(size=len(tumours))
    tumours.index = pd.Index([f"{c}/{i:04d}" for i, c in enumerate(tumours["cohort"])], name="tumour")
    shift = tumours["cohort"].map({c: 0.3 * i for i, c in enumerate(sorted(set(tumours["cohort"])))})
    abundance = {}
    for cell_type, by_stratum in slopes.items():
        presence = tumours["hr"].map({s: by_stratum[s][0] for s in STRATA})
        amount = tumours["hr"].map({s: by_stratum[s][1] for s in STRATA})
        eta = intercept[0] + shift + presence * tumours["her2_sd"]
        mean = np.exp(intercept[1] - shift + amount * tumours["her2_sd"])
        present = rng.uniform(size=len(tumours)) < 1.0 / (1.0 + np.exp(-eta))
        abundance[cell_type] = np.where(present, rng.gamma(shape, mean / shape), 0.0)
    return tumours, pd.DataFrame(abundance, index=tumours.index)


@pytest.fixture(scope="session")
def make_set() -> Builder:
    """`build_analysis_set`, for tests that bring their own tumours."""
    return build_analysis_set


@pytest.fixture(scope="session")
def simulated() -> Callable[..., tuple[pd.DataFrame, pd.DataFrame]]:
    """`simulate`: tumours and abundances with planted slopes."""
    return simulate


@pytest.fixture(scope="session")
def reference() -> Callable[[str, str], float]:
    """Numbers made once with R (reference/make_reference.R), by what and quantity."""
    table = pd.read_csv(Path(__file__).parent / "reference" / "reference.csv")
    values = table.set_index(["what", "quantity"])["value"]
    return lambda what, quantity: float(values.loc[(what, quantity)])


@pytest.fixture(scope="session")
def reference_folder() -> Path:
    """Folder with the data behind the reference numbers."""
    return Path(__file__).parent / "reference"
