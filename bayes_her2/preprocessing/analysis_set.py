"""The tumours that one model can use, standardised, with what each cell type supports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bayes_her2.data import (
    HR_POSITIVE,
    IHC_LEVELS,
    MIN_EACH_SIDE,
    MIN_STRATUM,
    STRATA,
    AnalysisSet,
    ClinicalOutcome,
    Exclusion,
    TumourData,
)
from bayes_her2.errors import DataError, Faults, name_some
from bayes_her2.labels import as_label
from bayes_her2.preprocessing.cell_types import (
    MIN_POSITIVES,
    above_cutoffs,
    high_abundance,
    modelled_parts,
    seed_rules,
    zero_counts,
)
from bayes_her2.preprocessing.outcome import ancova_outcome, empty_cells, outcome_label
from bayes_her2.preprocessing.standardise import covariate_columns, standardise_her2

_HR = ("hr", "hormone receptor status unknown")
_HER2 = ("her2", "HER2 measure missing")


@dataclass(frozen=True)
class Needs:
    """What a model needs of each tumour.

    Attributes
    ----------
    columns
        Columns that may not be missing, each with the reason that an exclusion prints.
    covariates
        Whether the model adjusts for the study's covariates, batches and centres.
    """

    columns: tuple[tuple[str, str], ...]
    covariates: bool = True


NEEDS = {
    "abundance": Needs((_HR, _HER2)),
    "high_abundance": Needs((_HR, _HER2)),
    "clinical": Needs((_HR,), covariates=False),
    "rank_correlation": Needs((_HR, _HER2), covariates=False),
    "marginal_effect": Needs((_HR, _HER2, ("her2_ihc", "HER2 IHC level missing"))),
    "her2_measurement": Needs((_HR, _HER2)),
}

MIN_RECORDED = 30
"""Tumours of a cohort that need an indicator of HER2 for it to count: a correlation has an error of 0.18 there."""


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
    _check_model_fields(data, model)
    tumours, lost = _complete(data, model)
    if tumours.empty:
        reasons = sorted({e.reason for e in lost})
        raise DataError(f"no tumour is left for the model {model!r}: {'; '.join(reasons)}.")
    tumours = tumours.sort_index()
    abundance = data.abundance.loc[tumours.index]
    notices = list(data.notices)

    needs = NEEDS[model]
    if _HER2 in needs.columns:
        her2_sd, her2_scaling = standardise_her2(tumours["her2"], tumours["platform"], tumours["hr"])
    else:
        her2_sd = pd.Series(np.nan, index=tumours.index)
        her2_scaling = pd.DataFrame(columns=["mean", "sd", "n"]).rename_axis("platform")
    adjusting = _covariates(data, model)
    use_batch, use_centre = (data.use_batch and needs.covariates, data.use_centre and needs.covariates)
    covariates, covariate_scaling, remarks = covariate_columns(tumours, adjusting, batch=use_batch)
    notices.extend(remarks)
    reference = _reference(tumours)
    strata = (reference, *(s for s in STRATA if s != reference and s in set(tumours["hr"])))
    notices.extend(_design_notices(model, tumours, strata))

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
    notices.extend(_part_notices(model, cell_types, list(modelled)))
    clinical, lacking = _clinical(data, model, tumours)
    notices.extend(lacking)
    measures, remarks = _measures(data, model, tumours)
    notices.extend(remarks)
    if model == "her2_measurement":
        levels, remarks = _read_levels(tumours["her2_ihc"])
        tumours = tumours.assign(her2_ihc=levels)
        notices.extend(remarks)
    outcome = pd.DataFrame(index=tumours.index)
    if model == "marginal_effect":
        outcome, remarks = ancova_outcome(
            abundance, tumours["cohort"], rules, data.settings.outcome_scale, model=model
        )
        notices.extend((*remarks, *_ihc_notices(tumours)))
    kept = ["cohort", "platform", "hr", "her2", "her2_class", "her2_ihc", "centre", "batch"]
    adjusted = [c.split(":")[0] for c in covariates.columns]
    if use_centre:
        adjusted.append("centre")
    made = AnalysisSet(
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
        use_centre=use_centre,
        exclusions=data.exclusions + tuple(lost),
        notices=tuple(notices),
        adjustment=", ".join(dict.fromkeys(adjusted)) or "none",
        measures=measures,
        infiltrate=_infiltrate(data, model, tumours),
        clinical=clinical,
        outcome=outcome,
        outcome_label=outcome_label(data.scale_label, data.settings.outcome_scale),
        settings=data.settings,
    )
    _check_sides(made)
    return made


def subset(data: AnalysisSet, tumours: Sequence[str], *, own_parts: bool = False) -> AnalysisSet:
    """Take some tumours of an analysis set; see `AnalysisSet.subset`."""
    asked = pd.Index(tumours).unique()
    unknown = asked.difference(data.tumours.index)
    if len(unknown) or asked.empty:
        raise DataError(
            f"a part of the analysis set {data.model!r}: {len(unknown)} of {len(asked)} tumours are not in it"
            f"{' (' + name_some(unknown) + ')' if len(unknown) else ', none was named'}."
        )
    kept = data.tumours.index[data.tumours.index.isin(asked)]
    own = data.tumours.loc[kept]
    cohorts = sorted(own["cohort"].unique())
    strata = tuple(s for s in data.strata if s in set(own["hr"]))
    counts = zero_counts(data.abundance.loc[kept], own["cohort"], own["hr"])
    parts = data.parts[data.parts["stratum"].isin(strata)].reset_index(drop=True)
    names = list(data.abundance.columns)
    cell_types = data.cell_types
    if own_parts:
        parts = modelled_parts(counts, strata)
        cell_types = _cell_types(parts, [str(c) for c in names])
        names = [c for c in names if cell_types.loc[c, ["presence_modelled", "amount_modelled"]].any()]
        if not names:
            raise DataError(
                f"a part of the analysis set {data.model!r}: no cell type has 10 positives in any hormone receptor "
                f"stratum of its {len(kept)} tumours."
            )
    # A stratum that is left alone becomes the reference: its slope is then the one without an interaction.
    reference = data.reference if data.reference in strata else strata[0]

    def rows(table: pd.DataFrame) -> pd.DataFrame:
        return table.loc[kept] if len(table.index) else table

    return replace(
        data,
        tumours=own,
        abundance=data.abundance.loc[kept, names],
        covariates=data.covariates.loc[kept],
        high=data.high.loc[kept, names],
        high_cutoffs=data.high_cutoffs.loc[cohorts, names],
        cell_types=cell_types,
        parts=parts,
        counts=counts,
        rules=data.rules[data.rules["cohort"].isin(cohorts)].reset_index(drop=True),
        reference=reference,
        measures=rows(data.measures),
        infiltrate=rows(data.infiltrate),
        clinical=rows(data.clinical),
        outcome=rows(data.outcome),
        hr_by_cohort=tuple(c for c in data.hr_informed_by if c in cohorts) if not own_parts else None,
        her2_of_whole=tuple(float(h) for h in data.her2_of_curves),
        high_modelled_in=_high_modelled(data) if not own_parts else None,
    )


def with_abundance(data: AnalysisSet, abundance: pd.DataFrame) -> AnalysisSet:
    """Give the tumours of an analysis set other abundances; see `AnalysisSet.with_abundance`."""
    where = f"other abundances for the analysis set {data.model!r}"
    if len(data.outcome.columns):
        raise DataError(
            f"{where}: its outcome ({data.outcome_label}) is made of the abundances and would stay as it was. "
            "Change the abundances of the cohorts, and prepare them again."
        )
    for what, found, wanted in (
        ("tumours", abundance.index, data.abundance.index),
        ("cell types", abundance.columns, data.abundance.columns),
    ):
        missing, extra = wanted.difference(found), found.difference(wanted)
        twice = found[found.duplicated()]
        if len(missing) or len(extra) or len(twice):
            raise DataError(
                f"{where}: {len(missing)} of its {len(wanted)} {what} are missing, {len(extra)} are not in it, "
                f"{len(twice)} are named twice ({name_some([*missing, *extra, *twice])}). Give each of its {what} once."
            )
    values = abundance.loc[data.abundance.index, data.abundance.columns].astype(float)
    numbers = values.to_numpy()
    bad = ~(np.isfinite(numbers) & (numbers >= 0))
    if bad.any():
        first = values.index[bad.any(axis=1)][0]
        raise DataError(
            f"{where}: {int(bad.sum())} of {bad.size} values are missing, infinite or negative (first: tumour {first})."
        )
    cohort = data.tumours["cohort"]
    counts = zero_counts(values, cohort, data.tumours["hr"])
    own = counts.groupby(["cell_type", "hr"])[["n_zero", "n_positive"]].sum()
    keys = pd.MultiIndex.from_frame(data.parts[["cell_type", "stratum"]])
    parts = data.parts.copy()
    inside = keys.isin(own.index)
    parts.loc[inside, list(own.columns)] = own.loc[keys[inside]].to_numpy()
    totals = own.groupby("cell_type").sum()
    zero_share = totals["n_zero"] / totals.sum(axis=1)
    cell_types = data.cell_types.copy()
    cell_types.loc[totals.index, [*totals.columns, "zero_share"]] = totals.assign(
        zero_share=zero_share
    ).to_numpy()
    return replace(
        data,
        abundance=values,
        counts=counts,
        parts=parts,
        cell_types=cell_types,
        high=above_cutoffs(values, cohort, data.high_cutoffs),
        high_modelled_in=_high_modelled(data),
    )


def _high_modelled(data: AnalysisSet) -> frozenset[tuple[str, str]]:
    """Cell types and strata whose high abundance is modelled."""
    table = data.high_parts[data.high_parts["high_modelled"].astype(bool)]
    return frozenset(zip(table["cell_type"].astype(str), table["stratum"].astype(str), strict=True))


def _check_sides(data: AnalysisSet) -> None:
    """Refuse a model for which no cell type has tumours enough on either side of the rule for high abundance."""
    if data.model == "high_abundance" and not data.high_parts["high_modelled"].any():
        raise DataError(
            f"high_abundance: no cell type has {MIN_EACH_SIDE} tumours with high and {MIN_EACH_SIDE} without high "
            f"abundance in any hormone receptor stratum ({len(data.tumours)} tumours). Leave the model out."
        )
    if data.model == "clinical" and not data.clinical_parts["clinical_modelled"].any():
        raise DataError(
            f"clinical: no outcome ({', '.join(data.clinical.columns)}) has {MIN_EACH_SIDE} tumours with it and "
            f"{MIN_EACH_SIDE} without, and {MIN_EACH_SIDE} with high and {MIN_EACH_SIDE} with low abundance of any "
            f"cell type, in any hormone receptor stratum ({len(data.tumours)} tumours). Leave the model out."
        )


def _cohorts(data: TumourData, model: str) -> tuple[str, ...]:
    """Cohorts that the study wants in a model."""
    return data.settings.cohorts.get(model, data.cohorts)


def _covariates(data: TumourData, model: str) -> tuple[str, ...]:
    if not NEEDS[model].covariates:
        return ()
    further = data.settings.further_covariates if model == "marginal_effect" else ()
    return tuple(dict.fromkeys((*data.covariates, *further)))


def _check_model_fields(data: TumourData, model: str) -> None:
    """Refuse a model for which a whole cohort lacks what it needs: complete cases would lose it in silence."""
    faults = Faults()
    wanted: list[tuple[str, str]] = []
    if model == "rank_correlation":
        wanted = [(m.field, f"the measure {m.label}") for m in data.settings.measures]
    if model == "marginal_effect":
        wanted = [("her2_ihc", "the HER2 IHC level")]
        wanted += [(name, f"the covariate {name}") for name in data.settings.further_covariates]
    for cohort in _cohorts(data, model):
        own = data.tumours[data.tumours["cohort"] == cohort]
        for column, what in wanted:
            if column not in own.columns or own[column].isna().all():
                having = [
                    c
                    for c, rows in data.tumours.groupby("cohort")
                    if column in rows.columns and rows[column].notna().any()
                ]
                named = ", ".join(f'"{c!s}"' for c in having)
                remedy = (
                    f"name the cohorts to use: [{model}] cohorts = [{named}]"
                    if having
                    else "no cohort has it: leave it or the model out"
                )
                faults.add(
                    f"{model}, {cohort}",
                    f"{what} is not recorded in any of its {len(own)} tumours. Map the field, or {remedy}.",
                )
    if model == "marginal_effect" and not faults:
        for name in data.settings.further_covariates:
            kinds = {
                cohort: pd.api.types.is_numeric_dtype(
                    data.tumours.loc[data.tumours["cohort"] == cohort, name].dropna().infer_objects()
                )
                for cohort in _cohorts(data, model)
            }
            if len(set(kinds.values())) > 1:
                number, text = (", ".join(c for c, k in kinds.items() if k == one) for one in (True, False))
                faults.add(
                    model,
                    f"the covariate {name} is a number in {number} and text in {text}; map the values so that all "
                    "cohorts have one kind.",
                )
    if model == "marginal_effect" and not faults:
        chosen = data.tumours[data.tumours["cohort"].isin(_cohorts(data, model))]
        seen = set(chosen["her2_ihc"].dropna())
        if len(seen & set(IHC_LEVELS)) < 2:
            faults.add(
                model,
                f"HER2 IHC level is {', '.join(sorted(seen))} in every tumour: an effect of the level needs at "
                "least two. Leave the model out.",
            )
    if model == "her2_measurement":
        _check_indicators(data, faults)
    if model == "clinical" and not data.settings.clinical:
        faults.add(
            model,
            "no clinical outcome is defined. Give [clinical] outcomes = [{ name = ..., field = ..., above = ... }].",
        )
    faults.raise_if_any()


def _measures(data: TumourData, model: str, tumours: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """HER2 measure and further measures, labelled, and remarks.

    For ``rank_correlation`` in their own units; for ``her2_measurement`` per pooled within-HR SD of the platform.
    """
    if model == "rank_correlation":
        columns = {data.measure: tumours["her2"]}
        columns |= {
            m.label: pd.to_numeric(tumours[m.field]).astype("float64") for m in data.settings.measures
        }
        return pd.DataFrame(columns, index=tumours.index), ()
    if model != "her2_measurement":
        return pd.DataFrame(index=tumours.index), ()
    wanted = {data.measure: tumours["her2"]} | {m.label: tumours[m.field] for m in data.settings.indicators}
    columns, remarks = {}, []
    for label, values in wanted.items():
        known = pd.to_numeric(values).astype("float64").dropna()
        columns[label], _ = standardise_her2(
            known, tumours.loc[known.index, "platform"], tumours.loc[known.index, "hr"]
        )
        for cohort, own in tumours.groupby("cohort"):
            n = int(own.index.isin(known.index).sum())
            if n < len(own):
                remarks.append(f"{cohort}: {label} is recorded in {n} of {len(own)} tumours.")
    return pd.DataFrame(columns, index=tumours.index), tuple(remarks)


def _read_levels(level: pd.Series) -> tuple[pd.Series, tuple[str, ...]]:
    """IHC levels that a HER2-negative tumour can have; another one says no more than that none was read."""
    other = level.dropna()[~level.dropna().isin(IHC_LEVELS)]
    remarks = [
        f"HER2 IHC level {value} is not one of {', '.join(IHC_LEVELS)}: taken as not read in {_ids(own.index)}."
        for value, own in other.groupby(other)
    ]
    kept = level.where(level.isin(IHC_LEVELS))
    n = int(kept.notna().sum())
    remarks.append(f"HER2 IHC level was read in {n} of {len(level)} tumours.")
    return kept, tuple(remarks)


def _ids(index: pd.Index) -> str:
    names = [str(i) for i in index]
    return f"{', '.join(names[:8])}{f' and {len(names) - 8} more' if len(names) > 8 else ''}"


def _check_indicators(data: TumourData, faults: Faults) -> None:
    """Refuse a cohort with a single indicator of HER2: how well it tells HER2 cannot be learned there."""
    for cohort in _cohorts(data, "her2_measurement"):
        own = data.tumours[(data.tumours["cohort"] == cohort) & data.tumours["her2"].notna()]
        counts = {m.label: int(own[m.field].notna().sum()) for m in data.settings.indicators}
        levels = own["her2_ihc"][own["her2_ihc"].isin(IHC_LEVELS)]
        counts["the HER2 IHC level"] = len(levels) if levels.nunique() > 1 else 0
        if max(counts.values()) >= MIN_RECORDED:
            continue
        having = ", ".join(f"{name} in {n}" for name, n in counts.items())
        faults.add(
            f"her2_measurement, {cohort}",
            f"{data.measure} is the only indicator of HER2 in its {len(own)} tumours ({having}; {MIN_RECORDED} needed, "
            "and two IHC levels): its error cannot be told from its signal. Name a further measure in "
            "[her2_measurement] measures, map her2_ihc, or leave the cohort out: [her2_measurement] cohorts = [...].",
        )


def _infiltrate(data: TumourData, model: str, tumours: pd.DataFrame) -> pd.DataFrame:
    if model != "rank_correlation" or data.settings.infiltrate is None:
        return pd.DataFrame(index=tumours.index)
    chosen = data.settings.infiltrate
    values = pd.to_numeric(tumours[chosen.field]).astype("float64")
    return pd.DataFrame({chosen.label: values}, index=tumours.index)


def _clinical(data: TumourData, model: str, tumours: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Clinical outcomes as 1.0, 0.0 or NA; a cohort that lacks one is left out of it, with a notice."""
    if model != "clinical":
        return pd.DataFrame(index=tumours.index), []
    columns: dict[str, pd.Series] = {}
    notices: list[str] = []
    for outcome in data.settings.clinical:
        values = tumours[outcome.field]
        positive = _above(outcome, tumours) if outcome.above is not None else _among(outcome, tumours)
        column = positive.astype("float64").where(values.notna())
        columns[outcome.name] = column
        for cohort, own in column.groupby(tumours["cohort"]):
            if own.isna().all():
                notices.append(
                    f"{cohort}: {outcome.field} is not recorded, so '{outcome.name}' leaves it out."
                )
            elif own.dropna().nunique() < 2:
                notices.append(
                    f"{cohort}: '{outcome.name}' is the same in all tumours, so nothing is learned there."
                )
    return pd.DataFrame(columns, index=tumours.index), notices


def _above(outcome: ClinicalOutcome, tumours: pd.DataFrame) -> pd.Series:
    """Whether a number lies above the cut-off of an outcome's rule."""
    values = tumours[outcome.field]
    numbers = pd.to_numeric(values, errors="coerce")
    text = values[values.notna() & numbers.isna()]
    if len(text):
        cohorts = ", ".join(sorted(set(tumours.loc[text.index, "cohort"])))
        raise DataError(
            f"clinical outcome '{outcome.name}': {outcome.field} > {outcome.above:g} needs numbers, and {len(text)} "
            f"tumours of {cohorts} have {_some(text)}. Map these values to numbers, or give `values`."
        )
    return numbers > outcome.above


def _among(outcome: ClinicalOutcome, tumours: pd.DataFrame) -> pd.Series:
    """Whether a value is among those of an outcome's rule, compared as labels: 3, 3.0 and '3' are one."""
    labels = tumours[outcome.field].map(as_label, na_action="ignore")
    named = [as_label(v) for v in outcome.values or ()]
    if labels.notna().any() and not labels.isin(named).any():
        raise DataError(
            f"clinical outcome '{outcome.name}': no tumour has {outcome.field} {' or '.join(named)}; recorded are "
            f"{_some(labels.dropna())}. Correct `values`."
        )
    for cohort, own in labels.dropna().groupby(tumours["cohort"]):
        unlike = {_is_number(v) for v in own}.isdisjoint({_is_number(v) for v in named})
        if unlike:
            kind, other = ("text", "numbers") if _is_number(named[0]) else ("numbers", "words")
            raise DataError(
                f"clinical outcome '{outcome.name}': {outcome.field} holds {kind} ({_some(own)}) in {cohort}, the rule "
                f"names {', '.join(named)}. Write in `values` what {cohort} records too, besides the {other}."
            )
    return labels.isin(named)


def _some(values: pd.Series) -> str:
    """Return the first of the distinct values, as labels."""
    found = sorted({as_label(v) for v in values})
    return f"{', '.join(found[:8])}{', ...' if len(found) > 8 else ''}"


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def _complete(data: TumourData, model: str) -> tuple[pd.DataFrame, list[Exclusion]]:
    """Rows with everything the model needs; the first thing missing is the reason."""
    needs = list(NEEDS[model].columns)
    needs += [(c, f"covariate {c} missing") for c in _covariates(data, model)]
    if model == "rank_correlation":
        needs += [(m.field, f"measure {m.label} missing") for m in data.settings.measures]
    kept = data.tumours
    lost: list[Exclusion] = []
    step = f"analysis set: {model}"

    def drop(out: pd.Series, reason: str) -> None:
        nonlocal kept
        for label in kept.index[out.to_numpy()]:
            cohort = str(kept.at[label, "cohort"])
            lost.append(Exclusion(cohort, str(label).removeprefix(f"{cohort}/"), step, reason))
        kept = kept.loc[~out]

    drop(~kept["cohort"].isin(_cohorts(data, model)), f"cohort not among those of [{model}]")
    for column, reason in needs:
        drop(kept[column].isna(), reason)
    if model == "marginal_effect":
        for level in sorted(set(kept["her2_ihc"]) - set(IHC_LEVELS)):
            drop(kept["her2_ihc"] == level, f"HER2 IHC level {level} is not one of {', '.join(IHC_LEVELS)}")
    if not NEEDS[model].covariates:
        return kept, lost
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


def _part_notices(model: str, cell_types: pd.DataFrame, modelled: list[str]) -> list[str]:
    """Say what is too rare: in the abundance model each part and stratum, elsewhere a cell type that is left out.

    Zeros are needed for the presence of the abundance model alone. What the other models need of a cell type they say
    themselves, row by row.
    """
    if model in ("abundance", "her2_measurement"):
        return [f"{cell_type}: {row['reason']}" for cell_type, row in cell_types.iterrows() if row["reason"]]
    return [
        f"{cell_type}: {row['n_positive']} tumours have it, fewer than {MIN_POSITIVES} in every hormone receptor "
        "stratum, so it is left out."
        for cell_type, row in cell_types.iterrows()
        if cell_type not in modelled
    ]


@dataclass(frozen=True)
class _Terms:
    """How a model's notices call its terms.

    Attributes
    ----------
    unit
        What has a difference between cohorts of its own.
    beside_prior
        Whether the report shows spreads between cohorts beside their priors.
    interaction
        What differs between HR strata.
    """

    unit: str = "cell type"
    beside_prior: bool = False
    interaction: str = "HR interaction"


_TERMS = {
    "abundance": _Terms(beside_prior=True),
    "high_abundance": _Terms(),
    "clinical": _Terms(unit="outcome and cell type"),
    "rank_correlation": _Terms(interaction="difference between HR strata"),
    "marginal_effect": _Terms(beside_prior=True),
    "her2_measurement": _Terms(),
}


def _design_notices(model: str, tumours: pd.DataFrame, strata: tuple[str, ...]) -> list[str]:
    """Say what few cohorts or few tumours of a stratum mean for the terms that the model has."""
    cohorts, terms = sorted(tumours["cohort"].unique()), _TERMS[model]
    notices = []
    if len(cohorts) == 1:
        notices.append(
            f"One cohort ({cohorts[0]}): the terms that vary between cohorts drop out, and rows for a new cohort rest "
            "on the prior alone."
        )
    if len(cohorts) == 2:
        shown = ", so it is shown beside its prior" if terms.beside_prior else ", so its prior matters"
        twin = (
            "the combination of cohort slopes, shown besides the twin, takes a common effect"
            if model == "marginal_effect"
            else "the random-effects twin becomes a common effect"
        )
        notices.append(
            f"Two cohorts ({', '.join(cohorts)}): the spread between cohorts rests on one difference for each "
            f"{terms.unit}{shown}; {twin}."
        )
    if len(strata) == 1:
        notices.append(f"Only {strata[0]} tumours: no HR difference and no interaction is estimated.")
        return notices
    sizes = tumours.groupby(["cohort", "hr"]).size().unstack(fill_value=0)
    both = list(sizes.index[(sizes >= MIN_STRATUM).all(axis=1)])
    lacking = [c for c in cohorts if c not in both]
    have = "have" if len(lacking) > 1 else "has"
    few = f"{', '.join(lacking)} {have} fewer than {MIN_STRATUM} tumours in one HR stratum"
    if lacking and model == "marginal_effect":
        notices.append(
            f"{few}: HR difference and interactions are common to the cohorts, and rows for a stratum that a cohort "
            "lacks are borrowed."
        )
    elif lacking and not both:
        notices.append(
            f"No cohort has {MIN_STRATUM} tumours in both HR strata: the {terms.interaction} rests on few tumours and "
            "its spread between cohorts on the prior."
        )
    elif lacking:
        notices.append(
            f"The {terms.interaction} is informed by {', '.join(map(str, both))} alone: {few}, and rows for a "
            "stratum that a cohort lacks are borrowed."
        )
    return notices


def _ihc_notices(tumours: pd.DataFrame) -> list[str]:
    """Say which IHC levels, and which cells of HR status x IHC level, have no tumours."""
    notices = []
    seen = set(tumours["her2_ihc"])
    unseen = [level for level in IHC_LEVELS if level not in seen]
    if unseen:
        present = ", ".join(level for level in IHC_LEVELS if level in seen)
        notices.append(
            f"No tumour with HER2 IHC {', '.join(unseen)}: the analysis of covariance uses the levels {present}."
        )
    empty = empty_cells(tumours)
    if empty:
        notices.append(
            f"No tumours in {', '.join(empty)}: means with equal weights need every cell of HR status x IHC level; "
            "the posterior's rest on its prior there and the twin has none. Observed weights are not affected."
        )
    levels = [level for level in IHC_LEVELS if level in seen]
    for cohort, own in tumours.groupby("cohort"):
        absent = [level for level in levels if level not in set(own["her2_ihc"])]
        if absent:
            notices.append(
                f"{cohort}: no tumours with IHC {', '.join(absent)}, so its rows with equal weights are borrowed and "
                "its own regression has none."
            )
    for cohort, own in tumours.groupby("cohort"):
        lacking = [cell for cell in empty_cells(own, tumours) if cell not in empty]
        if lacking and tumours["cohort"].nunique() > 1:
            notices.append(f"{cohort}: no tumours in {', '.join(lacking)}.")
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
