"""The types that data has on its way: cohort tables, tumours, analysis sets.

``CohortTable`` is what the readers (and the simulator) return, one per cohort. ``TumourData``
holds the eligible tumours of all cohorts after the shared preprocessing, and ``AnalysisSet``
the tumours of one model, standardised. Both the Bayesian and the frequentist side see
analysis sets and nothing else, so both answer about the same tumours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Literal, NamedTuple, Protocol

import numpy as np
import pandas as pd

from bayes_her2.errors import DataError

Scale = Literal["relative", "absolute"]

HR_POSITIVE = "HR+"
HR_NEGATIVE = "HR-"
STRATA = (HR_POSITIVE, HR_NEGATIVE)
DIFFERENCE = "HR- over HR+"
"""Label of the contrast between strata: the ratio in HR- divided by the ratio in HR+."""
HR_STATUS = "HR status"
"""Exposure of rows that compare the abundance of the strata, not the effect of HER2 in them."""
HR_COMPARED = "HR- vs HR+"
"""Stratum of such rows: HR- first."""
_SEED_TESTS = {"probability_greater": "continuous", "presence_difference": "presence"}


def hr_contrast(estimand: str, rule: str) -> str:
    """Contrast of a row that compares the strata: whether it is the test that the seed study would make.

    By its rule on zeros the seed study tests a 'continuous' cell type with Wilcoxon's test (``probability_greater``),
    one under 'presence' with chi-squared (``presence_difference``), and leaves out an 'excluded' one. Either kind is
    a family of its own, for s-values and for Bonferroni alike.

    Parameters
    ----------
    estimand
        ``probability_greater`` or ``presence_difference``.
    rule
        Rule of the cell type in the cohort: 'continuous', 'presence' or 'excluded'.
    """
    return f"{HR_COMPARED}, {'' if _SEED_TESTS[estimand] == rule else 'not '}the seed study's test"


DIFFERENCE_MINUS = "HR- minus HR+"
"""The same for estimands that are differences or correlations: the value in HR- minus that in HR+."""

IHC_LEVELS = ("0", "1+", "2+")
"""HER2 IHC levels that a HER2-negative tumour can have, in order."""

LM22_CELL_TYPES: tuple[str, ...] = (
    "B cells naive",
    "B cells memory",
    "Plasma cells",
    "T cells CD8",
    "T cells CD4 naive",
    "T cells CD4 memory resting",
    "T cells CD4 memory activated",
    "T cells follicular helper",
    "T cells regulatory (Tregs)",
    "T cells gamma delta",
    "NK cells resting",
    "NK cells activated",
    "Monocytes",
    "Macrophages M0",
    "Macrophages M1",
    "Macrophages M2",
    "Dendritic cells resting",
    "Dendritic cells activated",
    "Mast cells resting",
    "Mast cells activated",
    "Eosinophils",
    "Neutrophils",
)
"""The 22 cell types of the LM22 signature, in its order (names only; the matrix is licensed)."""


MIN_STUDIES = 4
"""Below this number of studies the spread between them, and with it the width of a pooled interval, is mostly prior."""
MIN_STRATUM = 10
"""A cohort informs HR terms when it has at least this many tumours in both strata."""

MIN_EACH_SIDE = 10
"""Tumours with high and tumours with low abundance that an HR stratum needs before a cell type is modelled there;
and, where a clinical variable is the outcome, tumours with and without it."""

PRESENCE_HELD_BELOW = 0.10
"""Zero share below which a presence that is not modelled is held constant in averages over all tumours.

At 10 % zeros an odds ratio of presence of 1.5 per SD would move E[y] by 3 %, well inside the default
region of practical equivalence; rows that rest on this say so.
"""


@dataclass(frozen=True, order=True)
class Exclusion:
    """One tumour left out at one step, and why.

    Attributes
    ----------
    cohort, tumour
        Names of the cohort and of the tumour (the id as joined).
    step
        Where it happened: ``reading``, ``join``, ``eligibility`` or ``analysis set: MODEL``.
    reason
        In words that a methods section can print.
    """

    cohort: str
    tumour: str
    step: str
    reason: str


def exclusions_frame(exclusions: tuple[Exclusion, ...]) -> pd.DataFrame:
    """Exclusions as a table: cohort, tumour, step, reason."""
    rows = [(e.cohort, e.tumour, e.step, e.reason) for e in exclusions]
    return pd.DataFrame(rows, columns=["cohort", "tumour", "step", "reason"], dtype="str")


@dataclass(frozen=True)
class FileRead:
    """A file that was read: its path, its SHA-256, and how many rows it gave."""

    path: str
    sha256: str
    n_rows: int


@dataclass(frozen=True)
class CohortTable:
    """One cohort as read: every tumour with an abundance row, nothing excluded for eligibility.

    Attributes
    ----------
    name, platform
        Cohort and expression platform; HER2 is standardised within a platform.
    tumours
        One row per tumour (index ``tumour``), one column per field of the study. Standard fields:
        ``hr``, ``er``, ``pgr`` ('positive', 'negative'), ``her2_ihc`` ('0', '1+', '2+', '3+'),
        ``her2_faint_percent`` (percentage of cells with faint staining), ``her2_ish``
        ('amplified', 'not amplified'), ``her2_call`` ('positive', 'negative', 'equivocal'), ``sex``,
        ``age``, ``stage``, ``centre``, ``batch``, ``neoadjuvant``. Missing values are NA. Numeric fields are float64.
    abundance
        Same index; one float column per cell type, >= 0, exact zeros kept.
    quality
        Same index; ``p_value``, ``correlation``, ``rmse`` of the deconvolution where given
        (NA otherwise), ``n_aliquots``.
    scale
        ``relative`` (rows sum to 1) or ``absolute``.
    exclusions, notices, files
        Tumours lost in reading and joining; remarks for the user; files read.
    """

    name: str
    platform: str
    tumours: pd.DataFrame
    abundance: pd.DataFrame
    quality: pd.DataFrame
    scale: Scale
    exclusions: tuple[Exclusion, ...] = ()
    notices: tuple[str, ...] = ()
    files: tuple[FileRead, ...] = ()


@dataclass(frozen=True)
class ClinicalOutcome:
    """A clinical variable cut in two, as the outcome of the model ``clinical``.

    Attributes
    ----------
    name
        In words that a table prints: 'age > 50 years'.
    field
        The field that decides.
    above
        True above this number, false at or below it; None where `values` decides.
    values
        True for these values, false for every other recorded one; None where `above` decides.
    """

    name: str
    field: str
    above: float | None = None
    values: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Measure:
    """A measure set beside the HER2 measure: the field or gene that holds it, and its label."""

    field: str
    label: str


@dataclass(frozen=True)
class ModelChoices:
    """What a study chose for single models; the fields are named after the model files.

    Attributes
    ----------
    cohorts
        Model -> cohorts it is fitted to; a model that is not named takes all of them.
    measures
        Further measures of the model ``rank_correlation``.
    infiltrate
        Total immune infiltrate of the model ``rank_correlation`` (total TIL score, leukocyte fraction), or None.
    outcome_scale
        Scale of the abundance in ``marginal_effect``: as it is, log(1 + x), or rank.
    ihc_effect
        Effect of the IHC category in ``marginal_effect``: monotonic or unordered.
    further_covariates
        Covariates of ``marginal_effect`` on top of those of the study.
    clinical
        Outcomes of the model ``clinical``.
    indicators
        Measures of HER2 beside the study's, for the model ``her2_measurement``.
    """

    cohorts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    measures: tuple[Measure, ...] = ()
    infiltrate: Measure | None = None
    outcome_scale: Literal["raw", "log1p", "rank"] = "raw"
    ihc_effect: Literal["monotonic", "unordered"] = "monotonic"
    further_covariates: tuple[str, ...] = ()
    clinical: tuple[ClinicalOutcome, ...] = ()
    indicators: tuple[Measure, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of the tumour tables that these choices need, beyond those of every model."""
        listed = (*self.measures, *((self.infiltrate,) if self.infiltrate else ()), *self.indicators)
        measures = [m.field for m in listed]
        return tuple(dict.fromkeys([*measures, *self.further_covariates, *(o.field for o in self.clinical)]))


@dataclass(frozen=True)
class TumourData:
    """Eligible tumours of all cohorts, on one abundance scale, before any model's own selection.

    Attributes
    ----------
    tumours
        Index ``tumour`` ('COHORT/ID', unique over cohorts). Columns ``cohort``, ``platform``,
        ``hr`` ('HR+', 'HR-' or NA), ``her2`` (the measure, in its own units, NA where missing),
        ``her2_class`` ('0', 'ultralow', 'low', 'positive', 'unknown'), ``her2_ihc``, ``centre``, ``batch``,
        and by name the raw covariates, further measures and clinical fields that the study asks for (NA where
        a cohort lacks one).
    abundance
        Tumour x cell type, same index.
    measure
        What ``her2`` is, in words ('ERBB2 mRNA, log2(FPKM + 1)').
    scale, scale_label
        ``relative`` or ``absolute``, and how the abundance reads ('share of all immune cells').
    covariates
        Names of the covariates that models adjust for.
    use_centre, use_batch
        Whether models nest centres in cohorts and adjust for batch.
    exclusions, notices
        Everything left out so far; remarks.
    settings
        What the study chose for single models.
    """

    tumours: pd.DataFrame
    abundance: pd.DataFrame
    measure: str
    scale: Scale
    scale_label: str
    covariates: tuple[str, ...] = ()
    use_centre: bool = False
    use_batch: bool = False
    exclusions: tuple[Exclusion, ...] = ()
    notices: tuple[str, ...] = ()
    settings: ModelChoices = ModelChoices()

    @cached_property
    def cohorts(self) -> tuple[str, ...]:
        """Cohort names in order of first appearance."""
        return tuple(self.tumours["cohort"].unique())

    @property
    def fingerprint(self) -> str:
        """SHA-256 over tumours and abundances, independent of the order of rows and columns."""
        return fingerprint(self.tumours, self.abundance)

    def for_model(self, model: str) -> AnalysisSet:
        """Tumours that one model can use, standardised, with its own exclusions and fingerprint."""
        from bayes_her2.preprocessing.analysis_set import analysis_set  # noqa: PLC0415

        return analysis_set(self, model)


class Part(NamedTuple):
    """What one cell type supports in one HR stratum, all cohorts together."""

    n: int
    n_zero: int
    n_positive: int
    presence_modelled: bool
    amount_modelled: bool
    reason: str


@dataclass(frozen=True)
class AnalysisSet:
    """Tumours of one model: complete, standardised, with what each cell type can support.

    Attributes
    ----------
    model
        Name of the model that this set is for.
    tumours
        Index ``tumour``. Columns ``cohort``, ``hr`` ('HR+' or 'HR-'), ``her2`` (own units),
        ``her2_sd`` (centred at the platform mean, divided by the platform's pooled within-HR
        SD), ``centre``, ``batch``. No missing values in cohort, hr, her2, her2_sd.
    abundance
        Tumour x cell type (only those with at least one modelled part).
    covariates
        Tumour x covariate column, numeric: continuous ones centred and divided by their SD,
        indicators of categories (and of batches, ``batch: NAME``) centred. May have no columns.
    high
        Tumour x cell type, bool: high abundance (>= within-cohort median where zeros are under
        25 % of the cohort, presence otherwise).
    high_cutoffs
        Cohort x cell type: the median behind ``high``; 0 where the rule is presence.
    parts
        One row per cell_type x stratum: ``cell_type``, ``stratum``, ``n``, ``n_zero``, ``n_positive``,
        ``presence_modelled``, ``amount_modelled`` (bool, in that stratum), ``reason``.
    cell_types
        Index ``cell_type`` (all 22, or the signature's own). Columns: ``n_zero``, ``n_positive``
        in all, ``presence_modelled``, ``amount_modelled`` (bool: in any stratum), ``zero_share``,
        ``reason`` (why a part is not modelled in a stratum, '' if all are).
    counts
        One row per cell_type x cohort x hr: columns ``cell_type``, ``cohort``, ``hr``, ``n``,
        ``n_zero``, ``n_positive``.
    rules
        One row per cell_type x cohort: ``cell_type``, ``cohort``, ``zero_share``, ``rule``
        ('excluded', 'presence', 'continuous': the seed study's rule, used by the twins of its tables),
        ``high_rule`` ('median' or 'presence').
    her2_scaling
        Index ``platform``; columns ``mean``, ``sd`` (the divisor), ``n``.
    covariate_scaling
        Index ``covariate`` column; ``mean``, ``sd`` (1 for indicators), ``kind``.
    reference
        Reference HR stratum: the one that every cohort has (HR+ where both do).
    exclusions, notices
        As in TumourData, with those of this step added.
    measures
        Tumour x measure, columns are labels: the HER2 measure and further ones. ``rank_correlation``: in their own
        units, no missing values. ``her2_measurement``: per pooled within-HR SD of the platform, NaN where not recorded.
    infiltrate
        Tumour x at most one column: total immune infiltrate, NA where not recorded.
    clinical
        Tumour x clinical outcome (``clinical`` only), 1.0, 0.0 or NA; columns are names.
    outcome
        Tumour x cell type (``marginal_effect`` only): abundance on the scale that the study chose, for the cell
        types under the seed study's 'continuous' rule in at least one cohort; NA in cohorts where they are not.
    outcome_label
        How a value of ``outcome`` reads ('share of all immune cells').
    settings
        What the study chose for single models.
    hr_by_cohort
        Cohorts whose HR terms are their own, where that is decided already (a part of a larger set keeps what the
        whole decided); None for the rule: at least 10 tumours in both strata.
    her2_of_whole
        Standardised HER2 of the set that this one is a part of, so that a curve keeps its knots; None for a whole set.
    high_modelled_in
        Cell types and strata whose high abundance is modelled, where that is decided already (a part of a larger set,
        replicated data); None for the rule.
    outcome_scaling
        ``centre`` and ``sd`` by cell type that standardise ``outcome``, where they are those of other data (replicated
        data keep the scale of the priors); None for its own.
    """

    model: str
    tumours: pd.DataFrame
    abundance: pd.DataFrame
    covariates: pd.DataFrame
    high: pd.DataFrame
    high_cutoffs: pd.DataFrame
    cell_types: pd.DataFrame
    parts: pd.DataFrame
    counts: pd.DataFrame
    rules: pd.DataFrame
    her2_scaling: pd.DataFrame
    covariate_scaling: pd.DataFrame
    reference: str
    measure: str
    scale: Scale
    scale_label: str
    use_centre: bool = False
    exclusions: tuple[Exclusion, ...] = ()
    notices: tuple[str, ...] = ()
    adjustment: str = field(default="none")
    measures: pd.DataFrame = field(default_factory=pd.DataFrame)
    infiltrate: pd.DataFrame = field(default_factory=pd.DataFrame)
    clinical: pd.DataFrame = field(default_factory=pd.DataFrame)
    outcome: pd.DataFrame = field(default_factory=pd.DataFrame)
    outcome_label: str = ""
    settings: ModelChoices = field(default_factory=lambda: ModelChoices())
    hr_by_cohort: tuple[str, ...] | None = None
    her2_of_whole: tuple[float, ...] | None = None
    high_modelled_in: frozenset[tuple[str, str]] | None = None
    outcome_scaling: pd.DataFrame | None = None

    @property
    def her2_of_curves(self) -> np.ndarray:
        """Standardised HER2 of the tumours that a curve takes its knots from: those of the whole set."""
        own = self.tumours["her2_sd"] if self.her2_of_whole is None else self.her2_of_whole
        return np.asarray(own, dtype=float)

    def subset(self, tumours: Sequence[str], *, own_parts: bool = False) -> AnalysisSet:
        """Return some of the tumours, with scaling, cut-offs and rules as they are in all of them.

        Parameters
        ----------
        tumours
            Their labels.
        own_parts
            Whether what is modelled of each cell type is decided by these tumours alone, as if there were no others;
            otherwise it is what all of them support.

        Raises
        ------
        DataError
            Labels that the set does not have, none at all, or none with which anything can be modelled.
        """
        from bayes_her2.preprocessing.analysis_set import subset  # noqa: PLC0415

        return subset(self, tumours, own_parts=own_parts)

    def with_abundance(self, abundance: pd.DataFrame) -> AnalysisSet:
        """Return the same tumours with other abundances: replicated data sets.

        What is modelled of each cell type stays as it is, and so do the cut-offs of high abundance.

        Parameters
        ----------
        abundance
            Tumour x cell type, labels as in ``abundance``, in any order; no missing and no negative values.

        Raises
        ------
        DataError
            Other tumours or cell types, values that are no abundances, or a set whose outcome is made of the abundances
            (``marginal_effect``).
        """
        from bayes_her2.preprocessing.analysis_set import with_abundance  # noqa: PLC0415

        return with_abundance(self, abundance)

    @cached_property
    def hr_informed_by(self) -> tuple[str, ...]:
        """Cohorts that inform the HR terms, sorted: those with at least 10 tumours in both strata."""
        if self.hr_by_cohort is not None:
            return self.hr_by_cohort
        sizes = self.tumours.groupby(["cohort", "hr"]).size().unstack(fill_value=0)
        if sizes.shape[1] < 2:
            return ()
        return tuple(str(c) for c in sizes.index[(sizes >= MIN_STRATUM).all(axis=1)])

    @cached_property
    def cohorts(self) -> tuple[str, ...]:
        """Cohort names, sorted: results never depend on the order of the study file."""
        return tuple(sorted(self.tumours["cohort"].unique()))

    @cached_property
    def strata(self) -> tuple[str, ...]:
        """HR strata present, reference first."""
        present = set(self.tumours["hr"])
        other = tuple(s for s in STRATA if s != self.reference and s in present)
        return (self.reference, *other)

    @cached_property
    def ihc_levels(self) -> tuple[str, ...]:
        """HER2 IHC levels that occur, in order."""
        seen = set(self.tumours["her2_ihc"].dropna())
        return tuple(level for level in IHC_LEVELS if level in seen)

    @property
    def outcome_centre(self) -> pd.Series[float]:
        """Mean of ``outcome`` over the tumours of cohorts where the cell type is continuous, by cell type."""
        return self.outcome.mean() if self.outcome_scaling is None else self.outcome_scaling["centre"]

    @cached_property
    def outcome_sd(self) -> pd.Series[float]:
        """SD of ``outcome`` within cohorts, pooled over those where the cell type is continuous, by cell type."""
        if self.outcome_scaling is not None:
            return self.outcome_scaling["sd"]
        cohort = self.tumours["cohort"]
        squares = self.outcome.sub(self.outcome.groupby(cohort).transform("mean")).pow(2).sum()
        known = self.outcome.notna()
        freedom = known.sum() - known.groupby(cohort).any().sum()
        return (squares / freedom).pow(0.5)

    def why_not_continuous(self, cell_type: str, cohort: str = "") -> str:
        """Zero shares that keep a cell type out of the analysis of covariance, in one cohort or all of them."""
        rules = self.rules[self.rules["cell_type"] == cell_type]
        if cohort:
            rules = rules[rules["cohort"] == cohort]
        shares = ", ".join(f"{row.zero_share:.0%} in {row.cohort}" for row in rules.itertuples())
        return f"not continuous: the share of zeros is {shares}, and the limit 25 %"

    @cached_property
    def _parts(self) -> dict[tuple[str, str], Part]:
        columns = list(Part._fields)
        return {
            (str(row.cell_type), str(row.stratum)): Part(*(getattr(row, name) for name in columns))
            for row in self.parts.itertuples()
        }

    def part(self, cell_type: str, stratum: str) -> Part:
        """Return counts and modelled parts of a cell type in an HR stratum."""
        return self._parts[(cell_type, stratum)]

    @cached_property
    def _shares_positive(self) -> dict[tuple[str, str, str], float]:
        rows = self.counts[self.counts["n"] > 0]
        shares = (rows["n_positive"] / rows["n"]).astype(float)
        keys = zip(rows["cell_type"], rows["cohort"], rows["hr"], strict=True)
        return dict(zip(keys, shares.tolist(), strict=True))

    def share_positive(self, cell_type: str, cohort: str, stratum: str) -> float:
        """Observed share of a cohort's tumours of an HR stratum that have the cell type."""
        return self._shares_positive[(cell_type, cohort, stratum)]

    @cached_property
    def high_counts(self) -> pd.DataFrame:
        """Tumours and those with high abundance: ``cell_type``, ``cohort``, ``hr``, ``n``, ``n_high``."""
        long = self.high.melt(ignore_index=False, var_name="cell_type", value_name="high")
        long = long.assign(**{name: self.tumours[name].loc[long.index] for name in ("cohort", "hr")})
        grouped = long.groupby(["cell_type", "cohort", "hr"], observed=True)["high"]
        return grouped.agg(n="size", n_high="sum").reset_index()

    @cached_property
    def high_parts(self) -> pd.DataFrame:
        """Where high abundance can be modelled, all cohorts together.

        One row per cell_type x stratum: ``cell_type``, ``stratum``, ``n``, ``n_high``, ``high_modelled`` (at least 10
        tumours on either side), ``reason``.
        """
        table = self.high_counts.groupby(["cell_type", "hr"], as_index=False)[["n", "n_high"]].sum()
        table = table.rename(columns={"hr": "stratum"})
        if self.high_modelled_in is None:
            table["high_modelled"] = _both_sides(table)
        else:
            keys = zip(table["cell_type"].astype(str), table["stratum"].astype(str), strict=True)
            table["high_modelled"] = [key in self.high_modelled_in for key in keys]
        table["reason"] = [
            ""
            if modelled
            else f"{stratum}: {n_high} high and {n - n_high} not high among {n} tumours "
            f"({MIN_EACH_SIDE} of each needed)"
            for stratum, n, n_high, modelled in table[["stratum", "n", "n_high", "high_modelled"]].itertuples(
                index=False, name=None
            )
        ]
        return table

    @cached_property
    def clinical_counts(self) -> pd.DataFrame:
        """Tumours with a clinical outcome recorded, and those of which it is true.

        A cohort in which an outcome is true of all tumours, or of none, is left out of it: it says nothing about it.
        One row per outcome x cell_type x cohort x hr x high (bool): ``n``, ``n_true``, ``n_zero`` (abundance exactly
        0).
        """
        names = ["cohort", "hr"]
        long = self.high.melt(ignore_index=False, var_name="cell_type", value_name="high")
        zero = self.abundance.eq(0).melt(ignore_index=False, value_name="zero")["zero"].to_numpy()
        long = long.assign(zero=zero, **{name: self.tumours[name].loc[long.index] for name in names})
        tables = []
        for outcome in self.clinical.columns:
            known = self.clinical[outcome].groupby(self.tumours["cohort"]).nunique() == 2
            own = long.assign(true=self.clinical[outcome].loc[long.index]).dropna(subset=["true"])
            own = own[own["cohort"].isin(known.index[known])]
            grouped = own.groupby(["cell_type", *names, "high"], observed=True)
            counted = grouped.agg(n=("true", "size"), n_true=("true", "sum"), n_zero=("zero", "sum"))
            tables.append(counted.astype(int).reset_index().assign(outcome=outcome))
        columns = ["outcome", "cell_type", *names, "high", "n", "n_true", "n_zero"]
        return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)

    @cached_property
    def clinical_parts(self) -> pd.DataFrame:
        """Where a clinical outcome can be set against high abundance, all cohorts together.

        One row per outcome x cell_type x stratum: ``outcome``, ``cell_type``, ``stratum``, ``n``, ``n_zero``,
        ``clinical_modelled`` (at least 10 tumours with and without the outcome, and 10 with high and with low
        abundance), ``reason``.
        """
        counts = self.clinical_counts
        counts = counts.assign(n_high=counts["n"].where(counts["high"], 0))
        keys = ["outcome", "cell_type", "hr"]
        found = counts.groupby(keys)[["n", "n_true", "n_high", "n_zero"]].sum()
        every = pd.MultiIndex.from_product(
            [self.clinical.columns, self.abundance.columns, self.strata], names=keys
        )
        table = found.reindex(every, fill_value=0).reset_index().rename(columns={"hr": "stratum"})
        numbers = table[["stratum", "n", "n_true", "n_high"]].itertuples(index=False, name=None)
        reasons = [
            _too_few(str(stratum), int(n), int(n_true), int(n_high)) for stratum, n, n_true, n_high in numbers
        ]
        table["clinical_modelled"] = [not reason for reason in reasons]
        return table.assign(reason=reasons)[
            ["outcome", "cell_type", "stratum", "n", "n_zero", "clinical_modelled", "reason"]
        ]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over everything a model sees, independent of row and column order."""
        parts = self.parts.set_index(["cell_type", "stratum"])
        own = [t for t in (self.measures, self.infiltrate, self.clinical) if t.shape[1]]
        tables = [self.tumours, self.abundance, self.covariates, parts, self.high_cutoffs, *own]
        if self.model == "marginal_effect":
            chosen = {"outcome_scale": self.settings.outcome_scale, "ihc_effect": self.settings.ihc_effect}
            tables.append(pd.DataFrame(chosen, index=["settings"]))
            if self.outcome_scaling is not None:
                tables += [self.outcome, self.outcome_scaling]
        if self.hr_by_cohort is not None:
            tables.append(pd.DataFrame({"hr_by_cohort": list(self.hr_by_cohort)}))
        if self.high_modelled_in is not None:  # decided elsewhere
            high = self.high_parts.set_index(["cell_type", "stratum"])
            if not high["high_modelled"].astype(bool).equals(_both_sides(high)):
                tables.append(high[["high_modelled"]])
        if self.her2_of_whole is not None:
            tables.append(pd.DataFrame({"her2_of_whole": sorted(self.her2_of_whole)}))
        return fingerprint(*tables)


def _both_sides(table: pd.DataFrame) -> pd.Series[bool]:
    """Whether enough tumours are high and enough are not."""
    return table["n_high"].clip(upper=table["n"] - table["n_high"]) >= MIN_EACH_SIDE


class ModelData(Protocol):
    """What a model is fitted to: an `AnalysisSet`, `EvidenceData`, ...; whatever it is, it has a fingerprint."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what the fit sees, independent of the order of rows."""


@dataclass(frozen=True, order=True)
class EvidenceExclusion:
    """One published result that is not pooled, and why.

    Attributes
    ----------
    study, row_id
        The study and the row of the evidence table.
    reason
        In words that a report can print.
    """

    study: str
    row_id: str
    reason: str


@dataclass(frozen=True)
class EvidenceData:
    """Published results about one outcome that may be pooled: what a meta-analysis sees, on either side.

    One row per study (and HR stratum, where both were asked for); no two rows share patients.

    Attributes
    ----------
    outcome, exposure, reference
        What is compared: the ratio of ``exposure`` over ``reference`` ('HER2-low', 'HER2-0').
    scale
        'odds ratio', 'risk ratio' or 'hazard ratio': the ratio whose logarithm is pooled.
    adjustment
        'crude', or 'adjusted' (regression or weighting); never both.
    likelihood
        ``binomial`` where every study has its counts, ``normal`` on the log scale otherwise.
    studies
        Index ``study`` (unique label: the study's key, with the HR stratum where both were asked for). Columns
        ``hr`` ('HR+', 'HR-' or 'all'), ``year``, ``log_ratio`` and ``se`` (float64; both NA for a study with a zero
        cell, which happens under ``binomial`` alone), ``n_exposed``, ``events_exposed``, ``n_reference``,
        ``events_reference`` (Int64, NA under ``normal`` where a study has no counts), ``row_id`` (of the evidence
        table; parts of one study joined by ' + '), ``overlap_group``, ``setting``, ``doi``, ``pmid``, ``verified``.
    exclusions
        Rows about the same outcome that are not in ``studies``, with the reason.
    notices
        Remarks: counts derived from percentages, zero cells, few studies, ...
    """

    outcome: str
    exposure: str
    reference: str
    scale: str
    adjustment: str
    likelihood: Literal["binomial", "normal"]
    studies: pd.DataFrame
    exclusions: tuple[EvidenceExclusion, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def coords(self) -> dict[str, list[str]]:
        """Labels: ``study``, and ``hr`` (strata that occur, HR+ first)."""
        present = set(self.studies["hr"])
        return {
            "study": [str(label) for label in self.studies.index],
            "hr": [stratum for stratum in (*STRATA, "all") if stratum in present],
        }

    @property
    def question(self) -> str:
        """What is pooled, in words: outcome, scale, groups, adjustment and HR strata."""
        strata = " and ".join(self.coords["hr"])
        return f"{self.outcome}, {self.adjustment} {self.contrast}, {strata}"

    @property
    def contrast(self) -> str:
        """Scale and groups, as tables of estimates print them."""
        return f"{self.scale}, {self.exposure} over {self.reference}"

    def unit(self, stratum: str) -> str:
        """Return the unit of a row of this HR stratum, or of the ratio of the two."""
        return f"ratio of {self.scale}s" if stratum == DIFFERENCE else self.scale

    @staticmethod
    def patients(studies: pd.DataFrame) -> int | None:
        """Add up the patients of the studies that print the size of both groups; None where none does."""
        both = studies.dropna(subset=["n_exposed", "n_reference"])
        return int(both[["n_exposed", "n_reference"]].to_numpy().sum()) if len(both) else None

    @property
    def both_strata(self) -> bool:
        """Whether HR+ and HR- stand beside each other, so that they can be compared."""
        return len(self.coords["hr"]) > 1

    @property
    def n_studies(self) -> int:
        """Number of studies, each counted once, in however many HR strata."""
        return int(self.studies["overlap_group"].nunique())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over what is pooled, independent of the order of studies."""
        asked = {
            name: getattr(self, name) for name in ("outcome", "exposure", "reference", "scale", "adjustment")
        }
        settings = pd.DataFrame(asked | {"likelihood": self.likelihood}, index=["settings"])
        numbers = ["hr", "log_ratio", "se", "n_exposed", "events_exposed", "n_reference", "events_reference"]
        return fingerprint(self.studies[numbers], settings)


@dataclass(frozen=True)
class EvidenceSet:
    """Several questions to published results, each with the studies that answer it: what a meta-analysis is fitted to.

    Attributes
    ----------
    pools
        One `EvidenceData` for each question; no question twice.
    """

    pools: tuple[EvidenceData, ...]

    model: ClassVar[str] = "evidence_synthesis"
    measure: ClassVar[str] = ""
    adjustment: ClassVar[str] = ""

    def __post_init__(self) -> None:
        names = [pool.question for pool in self.pools]
        twice = sorted({name for name in names if names.count(name) > 1})
        if not names or twice:
            raise DataError(f"a synthesis needs questions, each once; {', '.join(twice) or 'there is none'}.")

    @property
    def questions(self) -> list[str]:
        """Labels of the pools, in order."""
        return [pool.question for pool in self.pools]

    @cached_property
    def studies(self) -> pd.DataFrame:
        """Studies of all pools.

        Columns of `EvidenceData.studies`, ``study``, ``question``, ``pool`` (position) and ``likelihood``; the index
        ``row`` is unique.
        """
        frames = [
            pool.studies.reset_index().assign(question=pool.question, pool=i, likelihood=pool.likelihood)
            for i, pool in enumerate(self.pools)
        ]
        joint = pd.concat(frames, ignore_index=True)
        joint.index = pd.Index(joint["study"] + " | " + joint["question"], name="row", dtype="str")
        return joint

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over what is pooled, independent of the order of pools and studies."""
        prints = {pool.question: pool.fingerprint for pool in self.pools}
        return fingerprint(pd.DataFrame({"pool": prints}))

    @property
    def overlap_groups(self) -> list[str]:
        """Groups of studies that share patients, each once, with its studies where its name is not theirs."""
        names = self.studies["study"].str.removesuffix(", HR+").str.removesuffix(", HR-")
        members = names.groupby(self.studies["overlap_group"], sort=False).unique()
        return [
            str(group) if list(own) == [group] else f"{group} ({', '.join(own)})"
            for group, own in members.items()
        ]

    @property
    def n_patients(self) -> int:
        """Patients as far as both groups' numbers are printed: of each overlap group the largest pool's."""
        both = self.studies.dropna(subset=["n_exposed", "n_reference"])
        by_pool = (
            (both["n_exposed"] + both["n_reference"]).groupby([both["overlap_group"], both["pool"]]).sum()
        )
        return int(by_pool.groupby("overlap_group").max().sum())


def _too_few(stratum: str, n: int, n_true: int, n_high: int) -> str:
    """Why a clinical outcome cannot be set against high abundance in a stratum, or ''."""
    sides = {
        "with the outcome": n_true,
        "without it": n - n_true,
        "high": n_high,
        "not high": n - n_high,
    }
    lacking = [f"{count} {side}" for side, count in sides.items() if count < MIN_EACH_SIDE]
    if not lacking:
        return ""
    return f"{stratum}: {' and '.join(lacking)} among {n} tumours ({MIN_EACH_SIDE} needed)"


HER2_LOW, HER2_ZERO = "HER2-low", "HER2-0"
HER2_LEVELS = (HER2_LOW, HER2_ZERO)
"""HER2 levels whose response is compared: the first over the second."""

UNKNOWN = "unknown"
"""HER2 level of patients of whom a publication gives the number alone."""


@dataclass(frozen=True)
class ResponseData:
    """Response to treatment by HER2 level: rows of patients and responders, an individual being one patient.

    Attributes
    ----------
    name
        Which patients ('I-SPY2', 'Pizzamiglio 2025, Table 2').
    rows
        Index ``row`` (unique label). Columns ``outcome``, ``hr`` ('HR+', 'HR-', or 'all' where a publication does not
        tell them apart), ``her2`` ('HER2-low', 'HER2-0'), ``arm`` (treatment arm or centre; one name where there is
        one), ``n`` (patients evaluated), ``events`` (of them, with the response), all known.
    not_evaluable
        Patients whose response is not known: ``outcome``, ``hr``, ``her2`` ('unknown' where a publication gives
        their number alone) and ``n``.
    covariates
        Row x covariate, centred and divided by the SD over patients; may have no columns.
    covariate_scaling
        Index ``covariate``; ``mean``, ``sd``, ``unit``.
    arms_are
        'arm' or 'centre', for words.
    control
        Control arm where the question is whether HER2 level changes what the other arm adds; then there are two
        arms. '' where arms (centres) are random.
    citation
        Where the counts were published.
    exclusions, notices
        Patients left out, with reasons; remarks.
    files
        Files that were read.
    """

    name: str
    rows: pd.DataFrame
    not_evaluable: pd.DataFrame
    covariates: pd.DataFrame = field(default_factory=pd.DataFrame)
    covariate_scaling: pd.DataFrame = field(default_factory=pd.DataFrame)
    arms_are: Literal["arm", "centre"] = "arm"
    control: str = ""
    citation: str = ""
    exclusions: tuple[Exclusion, ...] = ()
    notices: tuple[str, ...] = ()
    files: tuple[FileRead, ...] = ()

    model: ClassVar[str] = "treatment_response"
    measure: ClassVar[str] = "HER2 level by IHC and ISH"

    def __post_init__(self) -> None:
        if self.control and (len(self.arms) != 2 or self.control not in self.arms):
            raise DataError(
                f"{self.name}: a comparison with the control arm {self.control!r} needs two arms, that one and "
                f"another; there are {', '.join(self.arms)}."
            )

    @cached_property
    def outcomes(self) -> tuple[str, ...]:
        """Outcomes, sorted: results never depend on the order of rows."""
        return tuple(sorted(set(self.rows["outcome"])))

    @cached_property
    def strata(self) -> tuple[str, ...]:
        """HR strata that occur, HR+ first; ('all',) where they are not told apart."""
        present = set(self.rows["hr"])
        return tuple(s for s in (*STRATA, "all") if s in present)

    @cached_property
    def arms(self) -> tuple[str, ...]:
        """Treatment arms or centres, sorted; the control arm first where there is one."""
        return tuple(sorted(set(self.rows["arm"]), key=lambda arm: (arm != self.control, arm)))

    @property
    def treated(self) -> str:
        """The arm that is compared with the control arm; '' without one."""
        return self.arms[1] if self.control else ""

    @property
    def n_patients(self) -> int:
        """Patients evaluated, of the outcome that has most of them."""
        return int(self.rows.groupby("outcome")["n"].sum().max())

    @property
    def arms_are_random(self) -> bool:
        """Whether arms (centres) are a random effect: at least two, and none of them a control."""
        return len(self.arms) > 1 and not self.control

    @property
    def adjustment(self) -> str:
        """Covariates, or 'none'."""
        return ", ".join(map(str, self.covariates.columns)) or "none"

    @property
    def coords(self) -> dict[str, list[str]]:
        """Labels of the dimensions of the graph."""
        return {
            "row": [str(label) for label in self.rows.index],
            "outcome": list(self.outcomes),
            "stratum": list(self.strata),
            "arm": list(self.arms),
            "covariate": [str(name) for name in self.covariates.columns],
        }

    @cached_property
    def counts(self) -> pd.DataFrame:
        """Patients and responders: ``outcome``, ``hr``, ``arm``, ``her2``, ``n``, ``events``."""
        keys = ["outcome", "hr", "arm", "her2"]
        return self.rows.groupby(keys, as_index=False)[["n", "events"]].sum()

    def count(self, outcome: str, her2: str, *, hr: str = "all", arm: str = "") -> tuple[int, int]:
        """Patients and responders of a HER2 level, in one HR stratum and arm, or in all of them."""
        table = self.counts[(self.counts["outcome"] == outcome) & (self.counts["her2"] == her2)]
        if hr in STRATA:
            table = table[table["hr"] == hr]
        if arm:
            table = table[table["arm"] == arm]
        return int(table["n"].sum()), int(table["events"].sum())

    def for_outcome(self, outcome: str) -> ResponseData:
        """Return the rows of one outcome."""
        if outcome not in self.outcomes:
            raise DataError(f"{self.name}: no outcome {outcome!r}; outcomes: {', '.join(self.outcomes)}.")
        own = self.rows[self.rows["outcome"] == outcome]
        without = self.not_evaluable[self.not_evaluable["outcome"] == outcome]
        covariates = self.covariates.loc[own.index] if len(self.covariates.columns) else self.covariates
        return replace(self, rows=own, not_evaluable=without, covariates=covariates)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over what a model sees: the rows whatever their order and their labels, and which arm is control.

        Patients who are alike in everything are counted together, so that individual rows and their counts are the
        same data.
        """
        keys = ["outcome", "hr", "arm", "her2"]
        seen = self.rows[[*keys, "n", "events"]]
        if len(self.covariates.columns):
            seen = seen.join(self.covariates)
            keys += [str(name) for name in self.covariates.columns]
        alike = seen.groupby(keys)[["n", "events"]].sum()
        settings = pd.DataFrame({"control": self.control}, index=["settings"])
        return fingerprint(alike, settings)


def fingerprint(*tables: pd.DataFrame) -> str:
    """SHA-256 over tables, each with rows and columns sorted by label.

    Values are hashed with 12 significant digits, so a round trip through CSV keeps the
    fingerprint.
    """
    digest = hashlib.sha256()
    for table in tables:
        ordered = table.sort_index(axis=0).sort_index(axis=1)
        digest.update(ordered.to_csv(float_format="%.12g", lineterminator="\n").encode())
    return digest.hexdigest()
