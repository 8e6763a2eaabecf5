"""Estimates: the one table that either side returns, posterior or twin.

A row is one estimand for one outcome, stratum and scope. Rows of the two sides that share
``KEY`` are about the same quantity in the same tumours, and may be set side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from bayes_her2.files import harmless, write_text

Status = Literal["observed", "borrowed", "prior-only", "not estimable", "separated"]
STATUSES = ("observed", "borrowed", "prior-only", "not estimable", "separated")
SCOPES = ("pooled", "cohort", "new cohort")

KEY = (
    "model",
    "outcome",
    "exposure",
    "estimand",
    "contrast",
    "adjustment",
    "stratum",
    "scope",
    "cohort",
    "at",
    "fingerprint",
)
"""Columns that identify a quantity; posterior and twin are matched on them."""

DTYPES: dict[str, str] = {
    "source": "str",  # 'posterior' or 'twin'
    "method": "str",  # the model file, or the name of the frequentist method
    "model": "str",
    "outcome": "str",  # cell type, or clinical outcome
    "exposure": "str",  # HER2 measure in words
    "estimand": "str",  # presence, amount, overall, high_abundance, ...
    "contrast": "str",  # 'h + 1 SD over h'
    "adjustment": "str",  # 'none' or the covariates
    "stratum": "str",  # 'HR+', 'HR-', 'HR- over HR+', 'all'
    "scope": "str",  # pooled, cohort, new cohort
    "cohort": "str",  # '' unless scope is cohort
    "at": "Float64",  # for curves; NA otherwise
    "unit": "str",  # 'odds ratio per SD', 'ratio of means per SD', 'Spearman rho', ...
    "point": "float64",
    "lower": "float64",
    "upper": "float64",
    "interval_kind": "str",  # 'credible (equal-tailed)' or 'confidence (Wald)', ...
    "interval_prob": "float64",
    "n": "Int64",  # tumours behind the row
    "n_zero": "Int64",  # of them, with abundance exactly 0
    "status": "str",
    "note": "str",  # why not estimable, what was borrowed, how pooled
    "pd": "Float64",  # posterior probability of the more probable direction
    "p_in_rope": "Float64",
    "lfsr": "Float64",  # local false sign rate
    "s_value": "Float64",  # Stephens (2017): mean lfsr of the claims up to this one
    "p_value": "Float64",
    "p_adjusted": "Float64",
    "fingerprint": "str",
}
COLUMNS = tuple(DTYPES)

TRUSTED_K = 0.7
"""Pareto k above which importance weights cannot be trusted (Vehtari and others, 2024, arXiv 1507.02646)."""
ALL = "all"
"""Stratum of rows that do not tell hormone receptor strata apart."""

STANDARDISED = ("overall", "high_abundance", "marginal_slope", "marginal_mean")
"""Estimands that average over tumours."""

HR_COMPARISONS = ("probability_greater", "presence_difference")
"""Estimands that, in the abundance model, compare the hormone receptor strata of a cohort."""

COHORT_FIXED = "cohort fixed"
"""Method of the twin that treats cohorts as fixed: the matched one of averages over all tumours
(`STANDARDISED`), and of rows for which the main twin had to leave out tumours; shown beside the main twin elsewhere."""

PROFILE_LIKELIHOOD = "logistic regression (profile likelihood)"
"""Method of twin rows with profile-likelihood limits and likelihood-ratio P values."""

BOOTSTRAP = "percentile bootstrap"
"""Method of the twin's second interval for the same correlation."""

CONDITIONAL = "conditional likelihood (Fisher's exact test)"
"""Method of twin rows with the conditional odds ratio of a 2 x 2 table, its exact limits and Fisher's P."""

REML_WALD = "meta-analysis (REML, Wald)"
DERSIMONIAN_LAIRD = "meta-analysis (DerSimonian-Laird, Wald)"
"""Methods of the meta-analysis that stand beside REML with Hartung-Knapp intervals."""

COMMON_EFFECT = "meta-analysis (common effect, Wald)"

COMMON_TO_ARMS = "logistic regression (one odds ratio for all arms)"
"""Method of pooled odds ratios with arms fixed, beside the meta-analysis of the arms."""

DIFFERENCE_COMMON_TO_ARMS = "logistic regression (standardised, one odds ratio for all arms)"
"""Method of pooled risk differences with arms fixed: the posterior's has an odds ratio for each arm."""

SECOND_OPINIONS = frozenset(
    {
        PROFILE_LIKELIHOOD,
        BOOTSTRAP,
        CONDITIONAL,
        REML_WALD,
        DERSIMONIAN_LAIRD,
        COMMON_EFFECT,
        COMMON_TO_ARMS,
        DIFFERENCE_COMMON_TO_ARMS,
    }
)
"""Methods of twin rows that stand beside the matched twin of the same quantity and get no verdict."""

Kind = Literal["ratio", "correlation", "difference", "probability", "level"]
"""How an estimand is measured: its value of no association, and the scale on which two of them are compared."""

KINDS: dict[str, Kind] = {
    # the abundance model
    "presence": "ratio",
    "amount": "ratio",
    "overall": "ratio",
    # high abundance: averaged over tumours, and given the other terms
    "high_abundance": "ratio",
    "high_abundance_conditional": "ratio",
    # clinical variables as outcomes: odds ratio, high against low abundance
    "clinical_odds": "ratio",
    # rank correlation: on the observed scale (zeros tied), and of the latents
    "spearman": "correlation",
    "latent_spearman": "correlation",
    "spearman_difference": "difference",
    "strength_difference": "difference",
    # analysis of covariance
    "marginal_slope": "difference",
    "marginal_mean": "level",
    # response to treatment by HER2 level, in one arm and between two
    "response_odds": "ratio",
    "ratio_of_odds_ratios": "ratio",
    "response_difference": "difference",
    "treatment_difference": "difference",
    "number_needed": "level",
    "responders_of_next_50": "level",
    # meta-analysis: odds, risk or hazard ratio of published studies
    "published_ratio": "ratio",
    # measurement of HER2: shares, rates and factors between 0 and 1
    "reliability": "level",
    "indicator_correlation": "level",
    "reader_rate": "level",
    "true_level_given_read": "level",
    "latent_known": "level",
    "slope_factor": "level",
    # spreads between cohorts and between cell types
    "between_sd": "level",
    # groups
    "probability_greater": "probability",
    "presence_difference": "difference",
}
"""Kind of every estimand. ``ratio``: null 1, compared as logs. ``correlation``: null 0, compared as Fisher z.
``difference``: null 0, compared as it is. ``probability``: null 0.5, compared as logits. ``level``: a mean or a
spread, without a null."""

RATIO_ESTIMANDS = frozenset(name for name, kind in KINDS.items() if kind == "ratio")
"""Estimands on a ratio scale: null value 1, symmetric on the log scale."""

_NULLS: dict[Kind, float] = {
    "ratio": 1.0,
    "correlation": 0.0,
    "difference": 0.0,
    "probability": 0.5,
    "level": math.nan,
}
_TO_COMPARISON_SCALE: dict[Kind, Callable[[float], float]] = {
    "ratio": math.log,
    "correlation": math.atanh,
    "difference": float,
    "probability": lambda p: math.log(p / (1.0 - p)),
    "level": float,
}


def kind_of(estimand: str) -> Kind:
    """Return the kind of an estimand.

    Raises
    ------
    ValueError
        An estimand that `KINDS` does not name: its null is not known, so nothing may be said about it.
    """
    if estimand not in KINDS:
        raise ValueError(f"unknown estimand {estimand!r}; known: {', '.join(KINDS)}. Add it to KINDS.")
    return KINDS[estimand]


def is_ratio(estimand: str) -> bool:
    """Whether an estimand is a ratio (null 1, compared on the log scale)."""
    return kind_of(estimand) == "ratio"


def null_value(estimand: str) -> float:
    """Return the value of no association: 1 for ratios, 0 for differences and correlations, 0.5 for P(X > Y)."""
    return _NULLS[kind_of(estimand)]


@dataclass(frozen=True)
class Rope:
    """Region of practical equivalence, fixed before the first draw.

    Attributes
    ----------
    ratio
        Lower and upper limit for ratios.
    standardised
        Half width for rank correlations and for differences in SDs of the outcome.
    """

    ratio: tuple[float, float] = (0.9, 1.11)
    standardised: float = 0.1

    def limits(self, estimand: str, sd: float = math.nan) -> tuple[float, float]:
        """Limits on the scale of `comparable`.

        Parameters
        ----------
        estimand
            Name in `KINDS`.
        sd
            SD of the outcome, for differences in its units; NaN where there is none (no region then).
        """
        kind = kind_of(estimand)
        if kind == "ratio":
            return math.log(self.ratio[0]), math.log(self.ratio[1])
        if kind == "correlation":
            return -math.atanh(self.standardised), math.atanh(self.standardised)
        if estimand in ("spearman_difference", "strength_difference"):
            return -self.standardised, self.standardised
        if kind == "difference":
            return -self.standardised * sd, self.standardised * sd
        return math.nan, math.nan


DEFAULT_ROPE = Rope()


def comparable(kind: Kind, value: float) -> float:
    """Return a value on the scale on which two of its kind are compared, where no association is 0."""
    return _TO_COMPARISON_SCALE[kind](value)


@dataclass(frozen=True)
class Estimates:
    """A tidy table of estimates with fixed columns and types (see ``DTYPES``)."""

    table: pd.DataFrame

    def __post_init__(self) -> None:
        if tuple(self.table.columns) != COLUMNS:
            raise ValueError(f"Estimates needs the columns {COLUMNS}, got {tuple(self.table.columns)}")
        unknown = set(self.table["status"]) - set(STATUSES)
        if unknown:
            raise ValueError(f"unknown status {sorted(unknown)}; known: {STATUSES}")
        repeated = self.table.duplicated(subset=["source", "method", *KEY])
        if repeated.any():
            first = self.table.loc[repeated, ["method", "outcome", "estimand", "stratum"]].iloc[0]
            raise ValueError(f"{int(repeated.sum())} repeated estimates, first: {first.to_dict()}")

    @classmethod
    def from_records(cls, records: Iterable[Mapping[str, Any]]) -> Estimates:
        """Build from dictionaries; columns left out are NA (or '' for text)."""
        return cls(_typed(pd.DataFrame(list(records))))

    @classmethod
    def concat(cls, parts: Iterable[Estimates]) -> Estimates:
        """Stack several tables."""
        tables = [part.table for part in parts if len(part.table)]
        if not tables:
            return cls.from_records([])
        return cls(_typed(pd.concat(tables, ignore_index=True)))

    @classmethod
    def read_csv(cls, path: Path) -> Estimates:
        """Read a table written by `write_csv`."""
        return cls(_typed(pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=object)))

    def write_csv(self, path: Path) -> None:
        """Write to `path`, whole or not at all."""
        write_table(self.table, path)

    def select(self, **equal: str) -> pd.DataFrame:
        """Rows whose columns equal the values given, e.g. ``select(estimand='amount')``."""
        rows = self.table
        for column, value in equal.items():
            rows = rows[rows[column] == value]
        return rows

    def __len__(self) -> int:
        return len(self.table)


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    unknown = [c for c in frame.columns if c not in DTYPES]
    if unknown:
        raise ValueError(f"unknown columns {unknown}; known: {COLUMNS}")
    typed: dict[str, pd.Series[Any]] = {}
    for column, dtype in DTYPES.items():
        values = (
            frame[column]
            if column in frame.columns
            else pd.Series([None] * len(frame), index=frame.index, dtype=object)
        )
        if dtype == "str":
            typed[column] = values.astype(object).where(values.notna(), "").astype("str")
        elif dtype == "Int64":
            typed[column] = pd.to_numeric(values, errors="raise").astype("Float64").astype("Int64")
        elif dtype == "Float64":
            typed[column] = pd.to_numeric(values, errors="raise").astype("Float64")
        else:
            typed[column] = pd.to_numeric(values, errors="raise").astype("float64")
    return pd.DataFrame(typed, columns=list(COLUMNS)).reset_index(drop=True)


def write_table(table: pd.DataFrame, path: Path, *, index: bool = False) -> None:
    """Write a CSV under a temporary name, then rename: whole or not at all.

    Text that a spreadsheet would run as a formula (a tumour called ``=1+1``, say) gets an apostrophe in front.
    """
    plain = table.rename(index=harmless) if index else table
    for i, column in enumerate(table.columns):
        if pd.api.types.is_numeric_dtype(table.dtypes.iloc[i]):
            continue
        cells = list(table.iloc[:, i])
        safe = [harmless(cell) for cell in cells]
        if any(new is not old for new, old in zip(safe, cells, strict=True)):
            plain = plain.assign(**{str(column): safe})
    write_text(path, plain.to_csv(index=index, lineterminator="\n"))
