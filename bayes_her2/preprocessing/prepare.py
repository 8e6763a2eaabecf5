"""Cohort tables -> eligible, HER2-negative tumours on one abundance scale, with the exclusions log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from bayes_her2.data import CohortTable, Exclusion, Scale, TumourData
from bayes_her2.errors import DataError, Faults, name_some
from bayes_her2.preprocessing.receptors import her2_class, her2_status, hr_status, one_receptor_alone

if TYPE_CHECKING:
    from bayes_her2.inputs.study import ExcludeRule, Study

ELIGIBILITY = "eligibility"
ROW_SUM_TOLERANCE = 0.01


def prepare(cohorts: Sequence[CohortTable], study: Study) -> TumourData:
    """Apply the study's rules to its cohorts, in the order in which a methods section tells them.

    1. The study's own ``exclude`` rules, in order. 2. HER2-negative by the rule of
    `receptors.her2_status`. 3. The abundance scale: one for the study; relative times a named
    multiplier where the study asks for it. Nothing is imputed, clipped or shifted.

    Parameters
    ----------
    cohorts
        One table per cohort, from `bayes_her2.inputs` or `bayes_her2.simulation`.
    study
        The user's choices.

    Returns
    -------
    TumourData
        Eligible tumours of all cohorts; HR or HER2 measure may still be missing in some, which
        each model then leaves out for itself.

    Raises
    ------
    DataError
        Mixed scales, cell types that differ between cohorts, a covariate absent from a cohort, a
        cohort left empty.
    """
    _check_comparable(cohorts, study)
    exclusions: list[Exclusion] = []
    notices: list[str] = []
    tables, abundances = [], []
    for cohort in cohorts:
        exclusions.extend(cohort.exclusions)
        notices.extend(f"{cohort.name}: {text}" for text in one_receptor_alone(cohort.tumours))
        notices.extend(f"{cohort.name}: {text}" for text in cohort.notices)
        notices.extend(
            f"{cohort.name}: has no field {rule.field}, so the exclusion '{rule.reason}' is not applied to it."
            for rule in study.exclude
            if rule.field not in cohort.tumours.columns
        )
        tumours, lost = _eligible(cohort, study.exclude)
        abundance, off_scale = _on_scale(cohort, tumours, study.abundance.multiplier)
        lost += off_scale
        exclusions.extend(lost)
        if abundance.empty:
            raise DataError(
                f"{cohort.name}: no tumour is left of {len(cohort.tumours)}. Reasons: "
                f"{name_some(sorted({e.reason for e in lost}))}. Check the value mapping and the exclude rules."
            )
        index = abundance.index
        labels = pd.Index([f"{cohort.name}/{tumour}" for tumour in index], name="tumour")
        tables.append(_columns(tumours.loc[index], cohort, study).set_axis(labels))
        abundances.append(abundance.set_axis(labels))
    tumours = pd.concat(tables)
    abundance = pd.concat(abundances)
    scale: Scale = "absolute" if study.abundance.multiplier else study.abundance.scale
    return TumourData(
        tumours=tumours,
        abundance=abundance,
        measure=study.her2.label or study.her2.measure,
        scale=scale,
        scale_label=_scale_label(study),
        covariates=tuple(study.model.covariates),
        use_centre=study.model.centre,
        use_batch=study.model.batch,
        exclusions=tuple(exclusions),
        notices=tuple(notices),
        settings=study.choices,
    )


def _scale_label(study: Study) -> str:
    if study.abundance.multiplier:
        return f"share of immune cells times {study.abundance.multiplier}"
    if study.abundance.scale == "absolute":
        return "absolute score"
    return "share of all immune cells"


def _check_comparable(cohorts: Sequence[CohortTable], study: Study) -> None:
    faults = Faults()
    if not cohorts:
        raise DataError("The study has no cohort.")
    for cohort in cohorts:
        if cohort.scale != study.abundance.scale:
            faults.add(
                cohort.name,
                f"abundances are on the {cohort.scale} scale, the study says {study.abundance.scale}. "
                "Scales are never mixed: rerun the deconvolution, or change [abundance] scale.",
            )
        missing = [c for c in study.model.covariates if c not in cohort.tumours.columns]
        absent = missing + [
            c
            for c in study.model.covariates
            if c in cohort.tumours.columns and cohort.tumours[c].isna().all()
        ]
        if absent:
            faults.add(
                cohort.name,
                f"no value of the covariate {name_some(absent)} in the whole cohort. Leave the covariate or the "
                "cohort out: a complete-case analysis would drop the cohort in silence.",
            )
    names = [set(c.abundance.columns) for c in cohorts]
    everything = set.union(*names)
    for cohort, own in zip(cohorts, names, strict=True):
        if everything - own:
            faults.add(
                cohort.name,
                f"cell types missing that other cohorts have: {name_some(sorted(everything - own))}.",
            )
    if study.abundance.multiplier and study.abundance.scale != "relative":
        faults.add(
            "[abundance]",
            'a multiplier turns the relative scale into an absolute one: set scale = "relative".',
        )
    faults.raise_if_any(DataError)


def _eligible(cohort: CohortTable, rules: Sequence[ExcludeRule]) -> tuple[pd.DataFrame, list[Exclusion]]:
    """Tumours that pass the study's rules and are HER2-negative; the first reason that applies counts."""
    kept = cohort.tumours
    lost: list[Exclusion] = []

    def drop(out: pd.Series, reason: str) -> None:
        nonlocal kept
        out = out.fillna(False).astype(bool)
        lost.extend(
            Exclusion(cohort.name, str(tumour), ELIGIBILITY, reason) for tumour in kept.index[out.to_numpy()]
        )
        kept = kept.loc[~out]

    for rule in rules:
        if rule.field not in kept.columns:
            continue
        values = kept[rule.field]  # as it is: numbers are compared with numbers
        if rule.keep:
            drop(~values.isin(list(rule.keep)), rule.reason)
        else:
            drop(values.isin(list(rule.drop or ())), rule.reason)
    status = her2_status(kept)
    drop(status == "positive", "HER2-positive")
    drop(her2_status(kept).isna(), "HER2 status unknown (no usable IHC level, ISH or call)")
    return kept, lost


def _on_scale(
    cohort: CohortTable, tumours: pd.DataFrame, multiplier: str | None
) -> tuple[pd.DataFrame, list[Exclusion]]:
    abundance = cohort.abundance.loc[tumours.index]
    if multiplier is None:
        return abundance, []
    factor = pd.to_numeric(tumours[multiplier])
    negative = factor.index[(factor < 0).fillna(False)]
    if len(negative):
        raise DataError(
            f"{cohort.name}: the multiplier {multiplier} is negative in {len(negative)} tumours "
            f"({name_some(negative)})."
        )
    missing = factor.index[factor.isna()]
    lost = [Exclusion(cohort.name, str(t), ELIGIBILITY, f"multiplier {multiplier} missing") for t in missing]
    present = factor.dropna()
    zero = present.index[present == 0]
    lost += [
        Exclusion(cohort.name, str(t), ELIGIBILITY, f"multiplier {multiplier} is exactly 0") for t in zero
    ]
    present = present[present > 0]
    return abundance.loc[present.index].mul(present, axis=0), lost


def _columns(tumours: pd.DataFrame, cohort: CohortTable, study: Study) -> pd.DataFrame:
    table = pd.DataFrame(index=tumours.index)
    table["cohort"] = cohort.name
    table["platform"] = cohort.platform
    table["hr"] = hr_status(tumours)
    table["her2"] = pd.to_numeric(tumours["her2"]).astype("float64")
    table["her2_class"] = her2_class(tumours, ultralow_max_percent=study.her2.ultralow_max_percent)
    for column in ("her2_ihc", "centre", "batch"):
        values = tumours[column] if column in tumours.columns else pd.Series(pd.NA, index=tumours.index)
        table[column] = values.astype("str")
    for covariate in study.model.covariates:
        if covariate not in table.columns:
            table[covariate] = tumours[covariate]
    for name in study.choices.fields:  # a cohort may lack these: its models say what that means
        if name not in table.columns:
            own = tumours[name] if name in tumours.columns else pd.Series(pd.NA, index=tumours.index)
            table[name] = own
    return table
