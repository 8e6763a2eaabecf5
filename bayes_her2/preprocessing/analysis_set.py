"""The tumours that one model can use, standardised, with what each cell type supports."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from bayes_her2.data import HR_POSITIVE, MIN_STRATUM, STRATA, AnalysisSet, Exclusion, TumourData
from bayes_her2.errors import DataError
from bayes_her2.preprocessing.cell_types import (
    high_abundance,
    modelled_parts,
    seed_rules,
    zero_counts,
)
from bayes_her2.preprocessing.standardise import covariate_columns, standardise_her2


@dataclass(frozen=True)
class Needs:
    """What a model needs of each tumour."""

    columns: tuple[tuple[str, str], ...]


NEEDS = {
    "abundance": Needs(
        columns=(("hr", "hormone receptor status unknown"), ("her2", "HER2 measure missing")),
    ),
}


def analysis_set(data: TumourData, model: str) -> AnalysisSet:
    """Take the complete tumours for one model and standardise them.

    Parameters
    ----------
    data
        Eligible tumours.
    model
        Name of a model with an entry in `NEEDS`.

    Returns
    -------
    AnalysisSet
        With exclusions and notices of this step added to those of `data`.

    Raises
    ------
    DataError
        Unknown model, no tumours left, HER2 constant, or no cohort with both HR strata although both occur.
    """
    if model not in NEEDS:
        raise DataError(
            f"no analysis set is defined for the model {model!r}; known: {', '.join(sorted(NEEDS))}."
        )
    tumours, lost = _complete(data, model)
    if tumours.empty:
        reasons = sorted({e.reason for e in lost})
        raise DataError(f"no tumour is left for the model {model!r}: {'; '.join(reasons)}.")
    tumours = tumours.sort_index()
    abundance = data.abundance.loc[tumours.index]
    notices = list(data.notices)

    her2_sd, her2_scaling = standardise_her2(tumours["her2"], tumours["platform"], tumours["hr"])
    covariates, covariate_scaling, remarks = covariate_columns(tumours, data.covariates, batch=data.use_batch)
    notices.extend(remarks)
    reference = _reference(tumours)
    strata = (reference, *(s for s in STRATA if s != reference and s in set(tumours["hr"])))
    notices.extend(_design_notices(tumours, strata))

    counts = zero_counts(abundance, tumours["cohort"], tumours["hr"])
    rules = seed_rules(abundance, tumours["cohort"])
    high, cutoffs = high_abundance(abundance, tumours["cohort"], rules)
    parts = modelled_parts(counts, strata)
    cell_types = _cell_types(parts, [str(c) for c in abundance.columns])
    modelled = cell_types.index[cell_types["presence_modelled"] | cell_types["amount_modelled"]]
    if not len(modelled):
        raise DataError(
            "no cell type has 10 positives in any hormone receptor stratum: nothing can be modelled. "
            f"The analysis set has {len(tumours)} tumours."
        )
    notices.extend(
        f"{cell_type}: {row['reason']}" for cell_type, row in cell_types.iterrows() if row["reason"]
    )
    kept = ["cohort", "platform", "hr", "her2", "her2_class", "her2_ihc", "centre", "batch"]
    adjusted = [c.split(":")[0] for c in covariates.columns]
    if data.use_centre:
        adjusted.append("centre")
    return AnalysisSet(
        model=model,
        tumours=tumours[kept].assign(her2_sd=her2_sd),
        abundance=abundance[list(modelled)],
        covariates=covariates,
        high=high[list(modelled)],
        high_cutoffs=cutoffs[list(modelled)],
        cell_types=cell_types,
        parts=parts,
        counts=counts,
        rules=rules,
        her2_scaling=her2_scaling,
        covariate_scaling=covariate_scaling,
        reference=reference,
        measure=data.measure,
        scale=data.scale,
        scale_label=data.scale_label,
        use_centre=data.use_centre,
        exclusions=data.exclusions + tuple(lost),
        notices=tuple(notices),
        adjustment=", ".join(dict.fromkeys(adjusted)) or "none",
    )


def _complete(data: TumourData, model: str) -> tuple[pd.DataFrame, list[Exclusion]]:
    """Rows with everything the model needs; the first thing missing is the reason."""
    needs = list(NEEDS[model].columns)
    needs += [(c, f"covariate {c} missing") for c in data.covariates]
    kept = data.tumours
    lost: list[Exclusion] = []
    step = f"analysis set: {model}"

    def drop(out: pd.Series, reason: str) -> None:
        nonlocal kept
        for label in kept.index[out.to_numpy()]:
            cohort = str(kept.at[label, "cohort"])
            lost.append(Exclusion(cohort, str(label).removeprefix(f"{cohort}/"), step, reason))
        kept = kept.loc[~out]

    for column, reason in needs:
        drop(kept[column].isna(), reason)
    if data.use_batch:
        batched = set(kept.loc[kept["batch"].notna(), "cohort"])
        drop(kept["batch"].isna() & kept["cohort"].isin(batched), "batch missing")
    if data.use_centre:
        nested = set(kept.loc[kept["centre"].notna(), "cohort"])
        drop(kept["centre"].isna() & kept["cohort"].isin(nested), "centre missing")
    return kept, lost


def _reference(tumours: pd.DataFrame) -> str:
    """Return the HR stratum that every cohort has; HR+ where both are."""
    by_cohort = tumours.groupby("cohort")["hr"].agg(set)
    common = set.intersection(*by_cohort)
    if HR_POSITIVE in common:
        return HR_POSITIVE
    if common:
        return str(next(iter(common)))
    both = [str(c) for c, strata in by_cohort.items() if len(strata) == 2]
    if both:
        return HR_POSITIVE
    raise DataError(
        "no cohort has both hormone receptor strata, and the cohorts do not share one: HR status and cohort cannot be "
        "told apart. Analyse HR+ and HR- in two studies, each with an exclude rule on `hr`."
    )


def _design_notices(tumours: pd.DataFrame, strata: tuple[str, ...]) -> list[str]:
    cohorts = sorted(tumours["cohort"].unique())
    notices = []
    if len(cohorts) == 1:
        notices.append(
            f"One cohort ({cohorts[0]}): the terms that vary between cohorts drop out, and rows for a new cohort rest "
            "on the prior alone."
        )
    if len(cohorts) == 2:
        notices.append(
            f"Two cohorts ({', '.join(cohorts)}): the spread between cohorts rests on one difference for each "
            "cell type, so it is shown beside its prior; the random-effects twin becomes a common effect."
        )
    if len(strata) == 1:
        notices.append(f"Only {strata[0]} tumours: no HR difference and no interaction is estimated.")
        return notices
    sizes = tumours.groupby(["cohort", "hr"]).size().unstack(fill_value=0)
    both = list(sizes.index[(sizes >= MIN_STRATUM).all(axis=1)])
    lacking = [c for c in cohorts if c not in both]
    if lacking and not both:
        notices.append(
            f"No cohort has {MIN_STRATUM} tumours in both HR strata: the interaction rests on few tumours and "
            "its spread between cohorts on the prior."
        )
    elif lacking:
        notices.append(
            f"The HR interaction is informed by {', '.join(map(str, both))} alone: {', '.join(lacking)} has "
            f"fewer than {MIN_STRATUM} tumours in one HR stratum, and rows for a stratum that a cohort lacks are "
            "borrowed."
        )
    return notices


def _cell_types(parts: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """One row per cell type: what is modelled in any stratum, and why something is not."""
    grouped = parts.groupby("cell_type")
    table = grouped[["n", "n_zero", "n_positive"]].sum()
    table["zero_share"] = table["n_zero"] / table["n"]
    for part in ("presence_modelled", "amount_modelled"):
        table[part] = grouped[part].any()
    table["reason"] = grouped["reason"].agg(lambda texts: "; ".join(t for t in texts if t))
    columns = ["presence_modelled", "amount_modelled", "zero_share", "n_zero", "n_positive", "reason"]
    return table.loc[order, columns].rename_axis("cell_type")
