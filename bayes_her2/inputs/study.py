"""The study file: `study.toml` -> a frozen `Study`, with every fault found at once.

The classes below are also the reference of the format: each field says what it means, and
`schema_markdown` prints them as a table.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    Strict,
    ValidationError,
    field_validator,
    model_validator,
)

from bayes_her2.data import (
    HER2_LEVELS,
    LM22_CELL_TYPES,
    STRATA,
    ClinicalOutcome,
    Measure,
    ModelChoices,
    Scale,
)
from bayes_her2.errors import Faults, StudyError, name_some
from bayes_her2.files import is_formula
from bayes_her2.inputs.fields import (
    STANDARD_FIELDS,
    VOCABULARIES,
    close_matches,
    look_up,
    suggestion,
)
from bayes_her2.inputs.messages import (
    Loc,
    Places,
    dotted,
    explain,
    syntax_message,
    unknown_key,
    without_echoes,
)

Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]
Word = Annotated[str, Field(min_length=1)]


def _harmless(name: str) -> str:
    if is_formula(name) or any(ord(letter) < 32 for letter in name):
        raise ValueError(
            f"{name!r} stands in tables that spreadsheets open, and one would take it for a formula or a broken line: "
            "begin it with a letter or a digit, and leave out tabs and line breaks"
        )
    return name


Name = Annotated[Word, AfterValidator(_harmless)]
"""A word that names something in tables, figures and files."""
Share = Annotated[float, Strict(), Field(gt=0, lt=1)]


def _text_or_number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("must be a text or a number")
    return value


Category = Annotated[str | int | float, BeforeValidator(_text_or_number)]

HR_FIELDS = ("hr", "er", "pgr")
HER2_STATUS_FIELDS = ("her2_ihc", "her2_call", "her2_ish")
RESERVED_FIELDS = frozenset({"tumour", "cohort", "platform", "her2_class", "her2_sd"})
"""Columns that the analysis makes itself."""


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for name, n in Counter(names).items() if n > 1]


class _Block(BaseModel):
    """A table of the study file: unknown keys are refused, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Her2Settings(_Block):
    """`[her2]`: which measure of HER2 is the exposure, and the rules of HER2 classes."""

    measure: Word = Field(
        description="The HER2 measure: the name of a field of any table, or of a gene of a gene table."
    )
    label: Name = Field(
        description="The measure in words, with its unit, as tables and figures print it. Default: its name."
    )
    ultralow_max_percent: Annotated[float, Strict(), Field(ge=0, le=100)] = Field(
        default=10.0,
        description="IHC 0 with faint staining in some cells, at most this percentage, is ultralow.",
    )

    @model_validator(mode="before")
    @classmethod
    def _label_from_measure(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and "label" not in raw:
            measure = raw.get("measure")
            return {**raw, "label": measure if isinstance(measure, str) and measure else "HER2"}
        return raw


NO_MEASURE = Her2Settings(measure="none", label="none")
"""Of a study without cohorts: nothing is measured in tumours."""


class AbundanceSettings(_Block):
    """`[abundance]`: the scale of the immune cell abundances, one for the whole study."""

    scale: Scale = Field(
        default="relative",
        description="The scale of the files: 'relative' (fractions; rows sum to 1) or 'absolute'.",
    )
    multiplier: Word | None = Field(
        default=None,
        description="A field (such as leukocyte_fraction) by which relative fractions become absolute.",
    )
    cell_types: tuple[Name, ...] = Field(
        default=LM22_CELL_TYPES,
        min_length=1,
        description="Cell types of the signature, as the files name them. Default: the 22 of LM22.",
    )

    @field_validator("cell_types")
    @classmethod
    def _no_repeats(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if repeated := _repeated(names):
            raise ValueError(f"named more than once: {name_some(repeated)}")
        return names

    @model_validator(mode="after")
    def _one_way_to_absolute(self) -> AbundanceSettings:
        if self.multiplier is not None and self.scale == "absolute":
            raise ValueError(
                '`multiplier` makes relative fractions absolute, but scale is "absolute" already:'
                ' remove `multiplier`, or set scale = "relative" if the files hold fractions'
            )
        return self


class ModelSettings(_Block):
    """`[model]`: what the models adjust for."""

    covariates: tuple[Word, ...] = Field(
        default=(), description="Fields to adjust for. Each must be recorded in every cohort."
    )
    fit: tuple[ModelName, ...] | None = Field(
        default=None,
        min_length=1,
        description="Model files to fit. Default: all that the cohorts have the variables for; one that they do"
        " not is left out, and the report says why.",
    )
    centre: Flag = Field(
        default=False, description="Nest the field `centre` in cohorts, where a cohort has it."
    )
    batch: Flag = Field(default=False, description="Adjust for the field `batch`, where a cohort has it.")

    @field_validator("covariates")
    @classmethod
    def _no_repeats(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if repeated := _repeated(names):
            raise ValueError(f"named more than once: {name_some(repeated)}")
        for name, flag in (("centre", "centre"), ("batch", "batch")):
            if name in names:
                raise ValueError(f"'{name}' is not a covariate: set {flag} = true in [model] instead")
        return names


ModelName = Literal["abundance", "high_abundance", "rank_correlation", "marginal_effect", "clinical"]
MODEL_NAMES: tuple[str, ...] = get_args(ModelName)


class OneModel(_Block):
    """`[NAME]` for a model file of that name: settings of this model alone."""

    cohorts: tuple[Word, ...] | None = Field(
        default=None,
        min_length=1,
        description="Cohorts that this model is fitted to. Default: all. Tumours of the others are logged as left"
        " out of it.",
    )

    @field_validator("cohorts")
    @classmethod
    def _cohorts_once(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names and (repeated := _repeated(names)):
            raise ValueError(f"named more than once: {name_some(repeated)}")
        return names


class MeasureSetting(_Block):
    """A measure of `[rank_correlation]` or `[her2_measurement]`: a field or gene alone (`"ESR1"`), or with a label."""

    field: Word = Field(description="The field of any table, or the gene of a gene table.")
    label: Name = Field(description="How tables and figures name it. Default: its name.")

    @model_validator(mode="before")
    @classmethod
    def _label_from_field(cls, raw: Any) -> Any:
        if isinstance(raw, str):
            raw = {"field": raw}
        if isinstance(raw, dict) and "label" not in raw:
            field = raw.get("field")
            return {**raw, "label": field if isinstance(field, str) and field else "measure"}
        return raw


class RankCorrelationSettings(OneModel):
    """`[rank_correlation]`: measures set beside the HER2 measure on the same tumours."""

    measures: tuple[MeasureSetting, ...] = Field(
        default=(),
        description="Further measures, such as ESR1. Each must be recorded in every cohort of the model; tumours"
        " that lack one are left out of it, so that all measures are compared on the same tumours.",
    )
    infiltrate: MeasureSetting | None = Field(
        default=None,
        description="Total immune infiltrate, such as a TIL score or leukocyte_fraction: an outcome of its own.",
    )

    @model_validator(mode="after")
    def _distinct(self) -> RankCorrelationSettings:
        every = [*self.measures, *((self.infiltrate,) if self.infiltrate else ())]
        for key in ("field", "label"):
            if repeated := _repeated([getattr(one, key) for one in every]):
                raise ValueError(f"{key} named more than once: {name_some(repeated)}")
        return self


class MarginalEffectSettings(OneModel):
    """`[marginal_effect]`: analysis of covariance with the HER2 measure, HR status and HER2 IHC level."""

    outcome_scale: Literal["raw", "log1p", "rank"] = Field(
        default="raw", description="Abundance as it is, log(1 + abundance), or its rank within the cohort."
    )
    ihc_effect: Literal["monotonic", "unordered"] = Field(
        default="monotonic", description="Effect of the IHC levels 0, 1+, 2+: ordered, or one for each level."
    )
    covariates: tuple[Word, ...] = Field(
        default=(), description="Fields to adjust for, on top of those of [model]."
    )


class MeasurementSettings(OneModel):
    """`[her2_measurement]`: the latent HER2 behind the study's measure, further ones and the IHC level."""

    measures: tuple[MeasureSetting, ...] = Field(
        default=(),
        description="Further measures of HER2, such as protein beside mRNA. Tumours may lack them.",
    )

    @model_validator(mode="after")
    def _distinct(self) -> MeasurementSettings:
        for key in ("field", "label"):
            if repeated := _repeated([getattr(one, key) for one in self.measures]):
                raise ValueError(f"{key} named more than once: {name_some(repeated)}")
        return self


class OutcomeSetting(_Block):
    """`[clinical] outcomes`: a clinical variable cut in two."""

    name: Name = Field(description="In words that a table prints: 'age > 50 years'.")
    field: Word = Field(description="The field that decides.")
    above: Number | None = Field(default=None, description="True above this number.")
    values: tuple[Category, ...] | None = Field(
        default=None, min_length=1, description="True for these values; false for any other recorded one."
    )

    @model_validator(mode="after")
    def _one_rule(self) -> OutcomeSetting:
        if (self.above is None) == (self.values is None):
            has = "neither" if self.above is None else "both"
            raise ValueError(f"has {has} of `above` (a number) and `values` (a list); give exactly one")
        return self


class ClinicalSettings(OneModel):
    """`[clinical]`: clinical variables as outcomes, immune cells as predictors."""

    outcomes: tuple[OutcomeSetting, ...] = Field(
        default=(),
        description="Outcomes; a cohort that does not record one is left out of it, with a notice.",
    )

    @field_validator("outcomes")
    @classmethod
    def _named_once(cls, outcomes: tuple[OutcomeSetting, ...]) -> tuple[OutcomeSetting, ...]:
        if repeated := _repeated([o.name for o in outcomes]):
            raise ValueError(f"named more than once: {name_some(repeated)}")
        return outcomes


class PublishedSettings(_Block):
    """`[published]`: published results that the report shows beside the study's own cohorts."""

    claims: Flag = Field(default=False, description="Whether to audit the seed study's claims, which ship.")
    evidence: Flag = Field(
        default=False,
        description="Whether to pool the published results that ship (`evidence_synthesis`).",
    )
    response: Flag = Field(
        default=False,
        description="Whether to model the seed study's response to pembrolizumab, Table 2 (`treatment_response`), "
        "alone and with what other studies predict.",
    )
    evidence_table: Word | None = Field(
        default=None,
        description="An evidence table of your own, joined to the shipped one; needs evidence = true.",
    )

    @model_validator(mode="after")
    def _table_needs_evidence(self) -> PublishedSettings:
        if self.evidence_table is not None and not self.evidence:
            raise ValueError("evidence_table is given, but evidence is not true; write evidence = true")
        return self


class DecisionSettings(_Block):
    """`[decisions]`: what counts as negligible and what as a discovery; fixed before sampling."""

    rope: tuple[Number, Number] = Field(
        default=(0.9, 1.11),
        description="Region of practical equivalence for odds ratios and ratios of means: [lower, upper],"
        " 0 < lower < 1 < upper.",
    )
    interval: Share = Field(default=0.95, description="Probability of intervals, both sides.")
    alpha: Share = Field(default=0.05, description="Significance level of the frequentist twin.")
    rope_standardised: Share = Field(
        default=0.1,
        description="Rank correlations, and differences in SDs of the outcome, within -x and x are called"
        " negligible.",
    )
    false_discovery: Share = Field(
        default=0.05, description="Expected share of false signs among claims (limit on the s-value)."
    )

    @field_validator("rope")
    @classmethod
    def _around_one(cls, rope: tuple[float, float]) -> tuple[float, float]:
        lower, upper = rope
        if not 0 < lower < 1 < upper:
            raise ValueError(
                f"[{lower:g}, {upper:g}] is not a region around no effect: limits are ratios, with"
                " 0 < lower < 1 < upper, for example [0.9, 1.11]"
            )
        return rope


class ModelSampling(_Block):
    """`[sampling.MODEL]`: what one model samples otherwise than the others."""

    chains: Annotated[int, Strict(), Field(ge=1)] | None = Field(
        default=None, description="Markov chains. Default: that of [sampling], as for the next three."
    )
    tune: Annotated[int, Strict(), Field(ge=1)] | None = Field(
        default=None, description="Tuning steps of each chain."
    )
    draws: Annotated[int, Strict(), Field(ge=1)] | None = Field(
        default=None, description="Draws kept of each chain."
    )
    target_accept: Share | None = Field(default=None, description="Target acceptance rate of the sampler.")


class SamplingSettings(_Block):
    """`[sampling]`: how the posterior is drawn."""

    chains: Annotated[int, Strict(), Field(ge=1)] = Field(default=4, description="Markov chains.")
    tune: Annotated[int, Strict(), Field(ge=1)] = Field(
        default=1000, description="Tuning steps of each chain."
    )
    draws: Annotated[int, Strict(), Field(ge=1)] = Field(
        default=2000, description="Draws kept of each chain."
    )
    target_accept: Share = Field(default=0.9, description="Target acceptance rate of the sampler.")
    cores: Annotated[int, Strict(), Field(ge=1)] | None = Field(
        default=None,
        description="Chains run at the same time. Does not change the draws. Default: all cores.",
    )
    backend: Literal["numba", "jax"] = Field(
        default="numba",
        description="What compiles the models: numba, or JAX where the extra `jax` is installed.",
    )
    abundance: ModelSampling = Field(default=ModelSampling(), description="[sampling.abundance], see there.")
    high_abundance: ModelSampling = Field(
        default=ModelSampling(), description="[sampling.high_abundance], see there."
    )
    clinical: ModelSampling = Field(default=ModelSampling(), description="[sampling.clinical], see there.")
    rank_correlation: ModelSampling = Field(
        default=ModelSampling(), description="[sampling.rank_correlation], see there."
    )
    marginal_effect: ModelSampling = Field(
        default=ModelSampling(), description="[sampling.marginal_effect], see there."
    )
    her2_measurement: ModelSampling = Field(
        default=ModelSampling(), description="[sampling.her2_measurement], see there."
    )

    evidence_synthesis: ModelSampling = Field(
        default=ModelSampling(), description="[sampling.evidence_synthesis], see there."
    )
    treatment_response: ModelSampling = Field(
        default=ModelSampling(), description="[sampling.treatment_response], see there."
    )

    def of(self, model: str) -> SamplingSettings:
        """Return the settings of one model: its own where it has them, those of all models elsewhere."""
        own = getattr(self, model).model_dump(exclude_none=True)
        return self.model_copy(update=own)


class PriorSetting(_Block):
    """`[priors.MODEL.NAME]`: a prior that replaces the default of a model."""

    dist: Word = Field(description="Distribution, as the model names it (Normal, HalfNormal, ...).")
    params: dict[Word, Number] = Field(
        min_length=1, description="Its parameters, e.g. { mu = 0, sigma = 0.3 }."
    )
    why: Word = Field(
        description="Why, in a sentence that the report prints. A prior without a reason is refused."
    )


class ExcludeRule(_Block):
    """`[[exclude]]`: tumours to leave out after the join; a tumour gets the first reason that applies."""

    field: Word = Field(description="The field that decides.")
    keep: tuple[Category, ...] | None = Field(
        default=None,
        min_length=1,
        description="Values to keep: everything else, missing included, is excluded.",
    )
    drop: tuple[Category, ...] | None = Field(
        default=None,
        min_length=1,
        description="Values to exclude: everything else, missing included, is kept.",
    )
    reason: Name = Field(description="The reason in words that a methods section can print.")

    @model_validator(mode="after")
    def _either_keep_or_drop(self) -> ExcludeRule:
        if (self.keep is None) == (self.drop is None):
            has = "both `keep` and `drop`" if self.keep is not None else "neither `keep` nor `drop`"
            raise ValueError(
                f"has {has}; give exactly one: keep = [...] excludes everything else, missing included;"
                " drop = [...] excludes only these"
            )
        known = VOCABULARIES.get(self.field)
        if known is not None:
            for value in self.keep or self.drop or ():
                if value not in known.values:
                    meant = look_up(self.field, str(value))
                    hint = f" (write '{meant}')" if meant else ""
                    raise ValueError(
                        f"'{value}' is not a value of '{self.field}'{hint}; values: {', '.join(known.values)}"
                    )
        return self


class IdRules(_Block):
    """`ids`: how the ids of one file become the ids on which tables are joined; applied in this order."""

    column: Word | None = Field(
        default=None,
        description="Column that holds the ids. Default: in a CIBERSORT result Mixture, SampleID, Input "
        "Sample or ID; else the first column.",
    )
    dots_to_dashes: Flag = Field(
        default=False, description="Read '.' in ids as '-' (R changes one to the other)."
    )
    keep_matching: str | None = Field(
        default=None,
        description="Regular expression, searched anywhere in the id: other ids are left out.",
    )
    prefix_length: Annotated[int, Strict(), Field(ge=1)] | None = Field(
        default=None, description="Keep only so many characters of the id (12 for a TCGA patient)."
    )

    @field_validator("keep_matching")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from error
        return pattern


class FieldColumn(_Block):
    """One field of a table: a column name alone (`age = "Age at Diagnosis"`), or a table with `values`."""

    column: Word = Field(description="Column (or gene) that holds the field.")
    values: dict[str, Category] | None = Field(
        default=None,
        min_length=1,
        description="Word in the file -> value of the field, ignoring case; replaces the built-in words.",
    )
    missing: tuple[str, ...] = Field(
        default=(),
        description="Words to read as missing, besides empty cells, NA, NaN, N/A and [Not Available].",
    )


def _short_form(raw: Any) -> Any:
    return {"column": raw} if isinstance(raw, str) else raw


Fields = dict[Word, Annotated[FieldColumn, BeforeValidator(_short_form)]]
Replicates = Literal["error", "mean", "first"]


class ResponsePatients(_Block):
    """`[response.patients]`: which column is what, where the file has one row for each patient."""

    patient: Word = Field(description="Column with the patient's id, unique.")
    outcomes: dict[Word, Word] = Field(
        min_length=1,
        description="Response in words ('pathological complete response') -> its column: 1, 0, or empty where it"
        " could not be evaluated.",
    )
    her2: Annotated[FieldColumn, BeforeValidator(_short_form)] = Field(
        description="HER2 level. Its `values` say which words are 'HER2-low' and 'HER2-0'; words of its `missing`"
        " (HER2-positive) are left out and logged."
    )
    hr: Annotated[FieldColumn, BeforeValidator(_short_form)] | None = Field(
        default=None,
        description="Hormone receptor status; its `values` say which words are 'HR+' and 'HR-'. Default: not told"
        " apart.",
    )
    arm: Word | None = Field(default=None, description="Column with treatment arm or centre.")
    covariates: dict[Word, Word] = Field(
        default_factory=dict,
        description="Name -> numeric column to adjust for. Patients without a value are left out and logged.",
    )

    @model_validator(mode="after")
    def _words_have_meanings(self) -> ResponsePatients:
        for name, field, known in (
            ("her2", self.her2, HER2_LEVELS),
            ("hr", self.hr, STRATA),
        ):
            if field is None:
                continue
            if field.values is None:
                raise ValueError(
                    f"`{name}` has no `values`; say what its words mean, for example"
                    f' {name} = {{ column = "{field.column}", values = {{ "1" = "{known[0]}", "0" = "{known[1]}" }} }}'
                )
            strange = [str(v) for v in field.values.values() if v not in known]
            if strange:
                raise ValueError(f"`{name}`: {name_some(strange)} is not one of {', '.join(known)}")
        return self


class ResponseSettings(_Block):
    """`[response]`: response to treatment by HER2 level, in patients of your own (`treatment_response`)."""

    file: Word = Field(
        description="Counts (columns outcome, hr, her2, n, events; arm, n_not_evaluable if any), or one row for each"
        " patient: then [response.patients] says which column is what."
    )
    name: Name = Field(description="Which patients, in words that captions print.")
    citation: str = Field(default="", description="Where the data were published, with a DOI.")
    control: Word | None = Field(
        default=None,
        description="The control arm, where the question is whether the HER2 level changes what the other arm adds."
        " Default: arms are a random effect.",
    )
    arms: tuple[Word, ...] | None = Field(
        default=None, min_length=1, description="Arms to keep (one row for each patient). Default: all."
    )
    arms_are: Literal["arm", "centre"] = Field(
        default="arm", description="What `arm` holds, in words that tables print."
    )
    patients: ResponsePatients | None = Field(
        default=None, description="[response.patients], see there. Default: the file holds counts."
    )

    @model_validator(mode="after")
    def _arms_of_patients(self) -> ResponseSettings:
        if self.patients is None and self.arms is not None:
            raise ValueError(
                "`arms` chooses among single patients; a table of counts has the rows that it has"
            )
        if self.patients is not None and self.patients.arm is None and (self.arms or self.control):
            raise ValueError("`arms` or `control` is given, but [response.patients] has no `arm` column")
        if self.control and self.arms and self.control not in self.arms:
            raise ValueError(f"the control arm '{self.control}' is not among `arms`: {name_some(self.arms)}")
        return self


class CibersortFiles(_Block):
    """`[cohort.cibersort]`: the deconvolution results; their tumours are the tumours of the cohort."""

    files: tuple[Word, ...] = Field(
        min_length=1,
        description="CIBERSORT or CIBERSORTx result files. ${NAME} is an environment variable; relative paths"
        " start at the folder of the study file.",
    )
    batches: tuple[Word, ...] | None = Field(
        default=None, description="A label for each file, in the same order: the field `batch`."
    )
    ids: IdRules = Field(default=IdRules(), description="How ids are read.")
    layout: Literal["cells_in_columns", "cells_in_rows"] = Field(
        default="cells_in_columns",
        description="'cells_in_rows' for transposed tables (immunedeconv): a row per cell type.",
    )
    sheet: Word | None = Field(default=None, description="Sheet of an .xlsx workbook with several.")
    replicates: Replicates = Field(
        default="error",
        description="Several rows with one id: 'error' refuses, 'mean' averages, 'first' takes the first."
        " Exact duplicates are dropped first.",
    )
    repeated_samples: Literal["mean", "first"] | None = Field(
        default=None,
        description="Several rows with the same sample id (before prefix_length) and other values, such as a"
        " sample that was run again: 'mean' or 'first' makes one row of them, before `replicates` is applied"
        " to the samples of a tumour. Default: each row counts as a replicate.",
    )
    max_p_value: Annotated[float, Strict(), Field(gt=0, le=1)] | None = Field(
        default=None,
        description="Exclude tumours whose deconvolution P-value is above this. Off by default: such a filter"
        " selects tumours by their immune content.",
    )


class TableFile(_Block):
    """`[cohort.clinical]`, `[cohort.expression]`, `[[cohort.tables]]`: a table with fields or genes."""

    file: Word = Field(description=".csv, .tsv, .txt, .xlsx or .parquet; text may be compressed (.gz).")
    genes_in: Literal["rows", "columns"] | None = Field(
        default=None,
        description="For a gene table: where its genes are. They can be measure or covariate by name.",
    )
    ids: IdRules = Field(
        default=IdRules(),
        description="How ids are read; with genes in rows, how sample names in the header are.",
    )
    replicates: Replicates = Field(
        default="error",
        description="Several rows with one id: 'error' refuses, 'mean' averages numbers, 'first' takes one.",
    )
    sheet: Word | None = Field(default=None, description="Sheet of an .xlsx workbook with several.")
    column_names: tuple[Word, ...] | None = Field(
        default=None, min_length=1, description="Names of all columns, for a file without a header."
    )
    fields: Fields = Field(
        default_factory=dict,
        description="Field -> column (or gene). Standard fields: " + ", ".join(STANDARD_FIELDS) + ".",
    )

    @model_validator(mode="after")
    def _ids_of_genes(self) -> TableFile:
        if self.genes_in == "rows" and self.ids.column is not None:
            raise ValueError(
                '`ids.column` has no meaning with genes_in = "rows": the ids are the column names,'
                " and the genes the first column"
            )
        return self


class CohortFiles(_Block):
    """`[[cohort]]`: the files of one cohort."""

    name: Name = Field(description="Name of the cohort, in every table and figure.")
    platform: Name = Field(description="Expression platform; HER2 is standardised within a platform.")
    cibersort: CibersortFiles = Field(description="Immune cell abundances.")
    clinical: TableFile = Field(
        description="Clinical table. Tumours without a row in it are left out, and logged."
    )
    expression: TableFile | None = Field(default=None, description="Gene table; `genes_in` is required.")
    tables: tuple[TableFile, ...] = Field(
        default=(), description="Further tables, joined like the clinical one."
    )

    @property
    def all_tables(self) -> dict[str, TableFile]:
        """Tables by the name that messages use: clinical, expression, tables[1], tables[2], ..."""
        named = {"clinical": self.clinical}
        if self.expression is not None:
            named["expression"] = self.expression
        return named | {f"tables[{i}]": table for i, table in enumerate(self.tables, start=1)}

    @property
    def fields(self) -> dict[str, tuple[str, FieldColumn]]:
        """Field -> (name of the table, column), over all tables."""
        return {
            field: (table, column)
            for table, settings in self.all_tables.items()
            for field, column in settings.fields.items()
        }


class Study(_Block):
    """What the user chose: files, measure, scale, models, priors, decisions, sampling."""

    name: Name = Field(description="[study] Name of the study.")
    description: str = Field(default="", description="[study] A sentence or two that the report prints.")
    seed: Annotated[int, Strict(), Field(ge=0)] = Field(
        description="[study] Any whole number; the same seed gives the same draws."
    )
    simulated: Flag = Field(
        default=False, description="[study] true labels every page of the report as simulated."
    )
    truth: Word | None = Field(
        default=None, description="[study] Table of planted effects; only with simulated = true."
    )
    her2: Her2Settings = NO_MEASURE
    abundance: AbundanceSettings = AbundanceSettings()
    model: ModelSettings = ModelSettings()
    high_abundance: OneModel = OneModel()
    clinical: ClinicalSettings = ClinicalSettings()
    rank_correlation: RankCorrelationSettings = RankCorrelationSettings()
    marginal_effect: MarginalEffectSettings = MarginalEffectSettings()
    her2_measurement: MeasurementSettings = MeasurementSettings()
    published: PublishedSettings = PublishedSettings()
    response: ResponseSettings | None = None
    decisions: DecisionSettings = DecisionSettings()
    sampling: SamplingSettings = SamplingSettings()
    priors: dict[Word, dict[Word, PriorSetting]] = Field(default_factory=dict)
    exclude: tuple[ExcludeRule, ...] = ()
    cohorts: tuple[CohortFiles, ...] = Field(default=(), alias="cohort")

    _path: Path = PrivateAttr(default=Path("study.toml"))

    @property
    def path(self) -> Path:
        """The study file."""
        return self._path

    @property
    def folder(self) -> Path:
        """Folder of the study file, where its relative paths start."""
        return self._path.parent

    @property
    def choices(self) -> ModelChoices:
        """What the study chose for single models, as the rooms after this one take it."""
        single: dict[str, OneModel] = {
            "high_abundance": self.high_abundance,
            "clinical": self.clinical,
            "rank_correlation": self.rank_correlation,
            "marginal_effect": self.marginal_effect,
            "her2_measurement": self.her2_measurement,
        }
        beside = self.rank_correlation
        return ModelChoices(
            cohorts={name: one.cohorts for name, one in single.items() if one.cohorts is not None},
            measures=tuple(Measure(m.field, m.label) for m in beside.measures),
            infiltrate=Measure(beside.infiltrate.field, beside.infiltrate.label)
            if beside.infiltrate
            else None,
            outcome_scale=self.marginal_effect.outcome_scale,
            ihc_effect=self.marginal_effect.ihc_effect,
            further_covariates=self.marginal_effect.covariates,
            clinical=tuple(
                ClinicalOutcome(
                    o.name, o.field, o.above, None if o.values is None else tuple(str(v) for v in o.values)
                )
                for o in self.clinical.outcomes
            ),
            indicators=tuple(Measure(m.field, m.label) for m in self.her2_measurement.measures),
        )

    @property
    def decisions_hash(self) -> str:
        """SHA-256 of the prior overrides and the decision rules, to be recorded before the first draw.

        Covers distribution and parameters of each override, ROPE, interval, alpha and the limit
        on false discoveries. The wording of reasons does not change it. Defaults of a model are
        not known here: the job that runs a model adds the priors that it uses.
        """
        return _sha256({"priors": self._prior_numbers(), "decisions": self.decisions.model_dump(mode="json")})

    @property
    def input_hash(self) -> str:
        """SHA-256 of every setting that can change a result; paths and descriptions are left out.

        The content of the files is covered by their own SHA-256 (`CohortTable.files`). The
        order of cohorts, of priors and of keys does not change it; the order of exclusion rules
        and of result files does.
        """
        settings = self.model_dump(mode="json", exclude={"description", "truth", "priors", "cohorts"})
        settings["sampling"].pop("cores")
        settings["published"].pop("evidence_table")  # a path: the fingerprint of the pooled studies covers it
        if settings["response"]:
            settings["response"].pop("file")
        settings["priors"] = self._prior_numbers()
        settings["cohorts"] = sorted(
            (_without_paths(cohort.model_dump(mode="json")) for cohort in self.cohorts),
            key=lambda c: str(c["name"]),
        )
        return _sha256(settings)

    def resolve(self, written: str) -> Path:
        """Path of a file as the study writes it: environment variables and the study's folder applied.

        Raises
        ------
        StudyError
            If an environment variable is not set.
        """
        return resolve_path(written, self.folder)

    def _prior_numbers(self) -> dict[str, dict[str, Any]]:
        return {
            model: {name: prior.model_dump(mode="json", exclude={"why"}) for name, prior in priors.items()}
            for model, priors in self.priors.items()
        }


_STUDY_KEYS = ("name", "description", "seed", "simulated", "truth")
_TABLE_KEYS = (
    "study",
    "her2",
    "abundance",
    "model",
    "high_abundance",
    "clinical",
    "rank_correlation",
    "marginal_effect",
    "her2_measurement",
    "published",
    "response",
    "decisions",
    "sampling",
    "priors",
    "exclude",
    "cohort",
)
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def read_study(path: Path | str, *, check_files: bool = True) -> Study:
    """Read a study file and check everything that can be known without opening the data.

    Parameters
    ----------
    path
        The study file (TOML).
    check_files
        Whether files must exist and environment variables be set. False reads a study of which
        only the settings are wanted, such as the copy in a results folder.

    Returns
    -------
    Study
        The settings, with defaults filled in.

    Raises
    ------
    StudyError
        With every fault of the file, each with its line.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise StudyError(f"{path}: study file not found") from error
    except (IsADirectoryError, PermissionError) as error:
        raise StudyError(f"{path}: cannot be read as a study file ({error.strerror})") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise StudyError(f"{path.name}, line {line}: not UTF-8 text; save the study file as UTF-8") from error
    return parse_study(text, path=path, check_files=check_files)


def parse_study(text: str, *, path: Path, check_files: bool = True) -> Study:
    """Parse the text of a study file; see `read_study`.

    Parameters
    ----------
    text
        TOML.
    path
        Where the text is from: gives messages their file name, and relative paths their start.
    check_files
        Whether files must exist and environment variables be set.

    Returns
    -------
    Study
        The settings, with defaults filled in.

    Raises
    ------
    StudyError
        With every fault of the text, each with its line.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StudyError(syntax_message(str(error), text, path.name)) from error
    places = Places(text, path.name, raw)
    faults = Faults()

    for key in raw:
        if key in _STUDY_KEYS:
            faults.add(places.where((key,)), f"'{key}' belongs under [study]")
        elif key not in _TABLE_KEYS:
            faults.add(places.where((key,)), unknown_key(key, _TABLE_KEYS, kind="table"))
    block = raw.get("study", {})
    if not isinstance(block, dict):
        faults.add(places.where(("study",)), "must be a table: [study]")
        block = {}
    for key in block:
        if key not in _STUDY_KEYS:
            faults.add(places.where(("study", key)), unknown_key(key, _STUDY_KEYS))
    flat = {key: value for key, value in block.items() if key in _STUDY_KEYS} | {
        key: value for key, value in raw.items() if key in _TABLE_KEYS and key != "study"
    }
    study: Study | None = None
    try:
        study = Study.model_validate(flat)
    except ValidationError as error:
        for one in without_echoes(error.errors(include_url=False)):
            loc = tuple(one["loc"])
            if loc and loc[0] in _STUDY_KEYS:
                loc = ("study", *loc)
            faults.add(places.where(loc), explain(one, Study, tuple(one["loc"])))
    for loc, what in _cross_checks(flat):
        faults.add(places.where(loc), what)
    if check_files:
        for loc, what in _file_faults(flat, path.parent):
            faults.add(places.where(loc), what)
    faults.raise_if_any(StudyError)
    if study is None:  # a fault was raised above
        raise StudyError(f"{path.name}: not a valid study")
    study._path = path
    return study


def resolve_path(written: str, folder: Path) -> Path:
    """Path of a file as a study writes it: ${NAME} replaced, relative paths from `folder`.

    Raises
    ------
    StudyError
        If an environment variable is not set.
    """
    unset = [name for name in _VARIABLE.findall(written) if not os.environ.get(name)]
    if unset:
        name = unset[0]
        raise StudyError(
            f"environment variable {name} is not set (in '{written}'). Set it to the folder of the data,"
            f" e.g. export {name}=/path/to/data, or write the path in the study"
        )
    expanded = Path(_VARIABLE.sub(lambda found: os.environ[found.group(1)], written)).expanduser()
    return expanded if expanded.is_absolute() else folder / expanded


def schema_markdown() -> str:
    """Render the reference of the study file as Markdown: one table for each block."""
    blocks: list[tuple[str, type[_Block]]] = [
        ("[study]", Study),
        ("[her2]", Her2Settings),
        ("[abundance]", AbundanceSettings),
        ("[model]", ModelSettings),
        ("[high_abundance]", OneModel),
        ("[clinical]", ClinicalSettings),
        ("[clinical] outcomes", OutcomeSetting),
        ("[rank_correlation]", RankCorrelationSettings),
        ("[rank_correlation] measures, infiltrate; [her2_measurement] measures", MeasureSetting),
        ("[marginal_effect]", MarginalEffectSettings),
        ("[her2_measurement]", MeasurementSettings),
        ("[published]", PublishedSettings),
        ("[response]", ResponseSettings),
        ("[response.patients]", ResponsePatients),
        ("[decisions]", DecisionSettings),
        ("[sampling]", SamplingSettings),
        ("[sampling.MODEL]", ModelSampling),
        ("[priors.MODEL.NAME]", PriorSetting),
        ("[[exclude]]", ExcludeRule),
        ("[[cohort]]", CohortFiles),
        ("[cohort.cibersort]", CibersortFiles),
        ("[cohort.clinical], [cohort.expression], [[cohort.tables]]", TableFile),
        ("ids = { ... }", IdRules),
        ("fields.NAME = { ... }", FieldColumn),
    ]
    lines: list[str] = []
    for title, block in blocks:
        lines += [f"### `{title}`", "", "| key | default | meaning |", "|---|---|---|"]
        for name, info in block.model_fields.items():
            if block is Study and name not in _STUDY_KEYS:
                continue
            text = (info.description or "").removeprefix("[study] ").replace("|", "\\|")
            default = _default_text(info.is_required(), info.default, name)
            lines.append(f"| `{info.alias or name}` | {default} | {text} |")
        lines.append("")
    return "\n".join(lines)


def _default_text(required: bool, default: object, name: str) -> str:
    if required:
        return "its name" if name == "label" else "required"
    if name == "cell_types":
        return "LM22"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, int | float):
        return f"`{default:g}`"
    if isinstance(default, str) and default:
        return f'`"{default}"`'
    if isinstance(default, tuple) and default:
        return f"`{list(default)}`"
    return "none"


# --- checks that need more than one value -------------------------------------------------


def _tables(cohort: Mapping[str, Any]) -> Iterator[tuple[Loc, Mapping[str, Any]]]:
    for key in ("clinical", "expression"):
        if isinstance(cohort.get(key), dict):
            yield (key,), cohort[key]
    further = cohort.get("tables", [])
    for i, table in enumerate(further if isinstance(further, list) else []):
        if isinstance(table, dict):
            yield ("tables", i), table


def _cohorts(raw: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    listed = raw.get("cohort", [])
    for k, cohort in enumerate(listed if isinstance(listed, list) else []):
        if isinstance(cohort, dict):
            yield k, cohort


def _block(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = raw.get(key, {})
    return value if isinstance(value, dict) else {}


def _cross_checks(raw: Mapping[str, Any]) -> Iterator[tuple[Loc, str]]:
    """Faults between values. Works on raw TOML, so that it runs whatever else is wrong."""
    if "truth" in raw and raw.get("simulated") is not True:
        yield (
            ("study", "truth"),
            "a truth table is only for simulated data: set simulated = true, or remove it",
        )

    yield from _something_asked(raw)
    measure = _block(raw, "her2").get("measure")
    multiplier = _block(raw, "abundance").get("multiplier")
    covariates = _block(raw, "model").get("covariates", [])
    if isinstance(covariates, list):
        for name, role in ((measure, "the HER2 measure"), (multiplier, "the multiplier")):
            if isinstance(name, str) and name in covariates:
                yield (
                    ("model", "covariates"),
                    f"'{name}' is {role} and cannot be a covariate as well; remove it",
                )
        for name in ("hr", "her2"):
            if name in covariates:
                yield (
                    ("model", "covariates"),
                    f"'{name}' is in every model already; remove it from the covariates",
                )

    names = [cohort.get("name") for _, cohort in _cohorts(raw)]
    counts = Counter(name for name in names if isinstance(name, str))
    for k, cohort in _cohorts(raw):
        name = cohort.get("name")
        if isinstance(name, str) and counts[name] > 1 and names.index(name) < k:
            yield ("cohort", k, "name"), f"two cohorts are called '{name}'; give each its own name"
        yield from _cohort_checks(k, cohort, measure)
    yield from _groups_exist(raw)
    known = [name for name in names if isinstance(name, str)]
    for model in (*MODEL_NAMES, "her2_measurement"):
        chosen = _block(raw, model).get("cohorts")
        for name in chosen if isinstance(chosen, list) else []:
            if isinstance(name, str) and known and name not in known:
                yield (
                    (model, "cohorts"),
                    f"no cohort is called '{name}'{suggestion(name, known)}; cohorts: {name_some(known)}",
                )
    yield from _measure_checks(raw, measure)


def _something_asked(raw: Mapping[str, Any]) -> Iterator[tuple[Loc, str]]:
    """Cohorts with their HER2 measure, or results that need none; and one set of responses."""
    published = _block(raw, "published")
    needs_none = "response" in raw or published.get("evidence") or published.get("response")
    unused = [key for key in ("her2", "abundance", "exclude") if key in raw]
    if not needs_none and "cohort" not in raw:
        yield (
            ("cohort",),
            "no cohort is given: name at least one [[cohort]] with its files. A study without cohorts needs [response],"
            " or [published] with evidence = true or response = true (`bayes-her2 audit` reads claims without a study)",
        )
    if (raw.get("cohort") or not needs_none) and "her2" not in raw:
        yield ("her2",), "the table [her2] is missing: measure = the field or gene that is the HER2 measure"
    if needs_none and "cohort" not in raw and unused:
        yield (
            (unused[0],),
            f"[{unused[0]}] is about tumours, but the study has no [[cohort]]; remove it, or add a cohort",
        )
    if "response" in raw and published.get("response"):
        yield (
            ("published", "response"),
            "response = true is the seed study's Table 2, and [response] names patients of your own: one study has one"
            " set of responses. Remove one, or write two studies",
        )


def _measure_checks(raw: Mapping[str, Any], measure: object) -> Iterator[tuple[Loc, str]]:
    """Measures of a model's settings that repeat the HER2 measure, or that hold words."""
    beside = _block(raw, "rank_correlation")
    named: list[tuple[Loc, object]] = []
    for block in ("rank_correlation", "her2_measurement"):
        listed = _block(raw, block).get("measures", [])
        named += [
            ((block, "measures"), one.get("field") if isinstance(one, dict) else one)
            for one in (listed if isinstance(listed, list) else [])
        ]
    total = beside.get("infiltrate")
    named.append(
        (("rank_correlation", "infiltrate"), total.get("field") if isinstance(total, dict) else total)
    )
    outcomes = _block(raw, "clinical").get("outcomes", [])
    named += [
        (("clinical", "outcomes"), one.get("field"))
        for one in (outcomes if isinstance(outcomes, list) else [])
        if isinstance(one, dict) and "above" in one
    ]
    for place, name in named:
        if isinstance(name, str) and name == measure and place[0] in ("rank_correlation", "her2_measurement"):
            yield place, f"'{name}' is the HER2 measure already; name the measures to set beside it"
        if isinstance(name, str) and name in VOCABULARIES:
            yield place, f"'{name}' holds words ({', '.join(VOCABULARIES[name].values)}), not numbers"


def _cohort_checks(k: int, cohort: Mapping[str, Any], measure: object) -> Iterator[tuple[Loc, str]]:
    results = _block(cohort, "cibersort")
    files, batches = results.get("files"), results.get("batches")
    if isinstance(files, list) and isinstance(batches, list) and len(files) != len(batches):
        yield (
            ("cohort", k, "cibersort", "batches"),
            f"{len(batches)} batch labels for {len(files)} files; give one for each file, in the same order",
        )
    expression = cohort.get("expression")
    if isinstance(expression, dict) and "genes_in" not in expression:
        yield (
            ("cohort", k, "expression"),
            'key \'genes_in\' is missing: "rows" (one row per gene) or "columns" (one column per gene)',
        )

    mapped: dict[str, str] = {"batch": "cibersort.batches"} if isinstance(batches, list) else {}
    for loc, table in _tables(cohort):
        for field, column in _block(table, "fields").items():
            place: Loc = ("cohort", k, *loc, "fields", field)
            here = dotted(loc)
            if field in mapped:
                yield place, f"field '{field}' is mapped twice, here and in {mapped[field]}; keep one"
            mapped.setdefault(field, here)
            if field == "her2" and measure != "her2":
                yield (
                    place,
                    f"'her2' is the name that the analysis gives the HER2 measure, and [her2] measure is {measure!r}, "
                    f'another field. Write measure = "her2", or give this field the name {measure!r}',
                )
            elif field in RESERVED_FIELDS:
                yield place, f"'{field}' is a name that the analysis uses itself; choose another"
            yield from _value_checks(place, field, column)
    if _block(cohort, "clinical") and not any(field in mapped for field in HR_FIELDS):
        yield (
            ("cohort", k, "clinical"),
            "no hormone receptor field: map `er` and `pgr` (or `hr`) under fields;"
            " without one every tumour would be excluded",
        )
    if _block(cohort, "clinical") and not any(field in mapped for field in HER2_STATUS_FIELDS):
        yield (
            ("cohort", k, "clinical"),
            "no HER2 status field: map `her2_ihc`, `her2_call` or `her2_ish` under fields;"
            " without one no tumour is known to be HER2-negative",
        )


def _value_checks(place: Loc, field: str, column: object) -> Iterator[tuple[Loc, str]]:
    values = column.get("values") if isinstance(column, dict) else None
    if not isinstance(values, dict):
        return
    known = VOCABULARIES.get(field)
    for word, value in values.items():
        if known is not None and value not in known.values:
            meant = look_up(field, str(value))
            yield (
                (*place, "values"),
                f"'{word}' is given the value '{value}', which '{field}' does not take"
                f"{f' (write {meant!r})' if meant else ''}; values: {', '.join(known.values)}",
            )
    folded = Counter(str(word).casefold() for word in values)
    if repeated := [word for word, n in folded.items() if n > 1]:
        yield (*place, "values"), f"words that differ only in case: {name_some(repeated)}; keep one of each"


def _groups_exist(raw: Mapping[str, Any]) -> Iterator[tuple[Loc, str]]:
    fields = {
        field
        for _, cohort in _cohorts(raw)
        for _, table in _tables(cohort)
        for field in _block(table, "fields")
    }
    has_batches = any("batches" in _block(cohort, "cibersort") for _, cohort in _cohorts(raw))
    if not raw.get("cohort"):
        return
    if _block(raw, "model").get("centre") is True and "centre" not in fields:
        yield (
            ("model", "centre"),
            "centre = true, but no cohort maps the field `centre`; map it, or set false",
        )
    if _block(raw, "model").get("batch") is True and "batch" not in fields and not has_batches:
        yield (
            ("model", "batch"),
            "batch = true, but no cohort has batches: set `batches` in [cohort.cibersort], or map `batch`",
        )


def _file_faults(raw: Mapping[str, Any], folder: Path) -> Iterator[tuple[Loc, str]]:
    """Files that are not there and variables that are not set, wherever a path is written."""
    written: list[tuple[Loc, object]] = []
    if "truth" in raw:
        written.append((("study", "truth"), raw["truth"]))
    written += [
        ((block, key), _block(raw, block)[key])
        for block, key in (("published", "evidence_table"), ("response", "file"))
        if key in _block(raw, block)
    ]
    for k, cohort in _cohorts(raw):
        files = _block(cohort, "cibersort").get("files", [])
        written += [
            (("cohort", k, "cibersort", "files"), f) for f in (files if isinstance(files, list) else [])
        ]
        written += [(("cohort", k, *loc, "file"), t["file"]) for loc, t in _tables(cohort) if "file" in t]
    seen: set[str] = set()
    for loc, text in written:
        if not isinstance(text, str) or not text:
            continue
        try:
            path = resolve_path(text, folder)
        except StudyError as error:
            name = _VARIABLE.findall(text)[0]
            if name not in seen:
                yield loc, str(error)
            seen.add(name)
            continue
        if not path.is_file():
            what = "is a folder, not a file" if path.is_dir() else "file not found"
            near = close_matches(path.name, _names_in(path.parent))
            hint = f"; the folder has {name_some([repr(n) for n in near])}" if near else ""
            if not path.parent.is_dir():
                hint = "; its folder does not exist either"
            yield loc, f"{what}: {path}{f' (written as {text!r})' if str(path) != text else ''}{hint}"


def _names_in(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()] if folder.is_dir() else []


def _without_paths(cohort: dict[str, Any]) -> dict[str, Any]:
    """Drop the file names from the settings of a cohort."""
    tables = [cohort["clinical"], cohort["expression"], *cohort["tables"]]
    kept = [{key: value for key, value in table.items() if key != "file"} for table in tables if table]
    results = {**cohort["cibersort"], "files": len(cohort["cibersort"]["files"])}
    return {"name": cohort["name"], "platform": cohort["platform"], "cibersort": results, "tables": kept}


def _sha256(settings: object) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
