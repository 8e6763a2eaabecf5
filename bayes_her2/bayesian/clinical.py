"""Clinical outcomes against high abundance: counts of alike tumours, draws of odds ratios, statuses, checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr
from scipy.special import expit

from bayes_her2.bayesian.coordinates import Coordinates
from bayes_her2.bayesian.predictive import (
    Gate,
    gate_table,
    inside_prior,
    predictive_row,
    predictive_table,
    prior_draws,
    replicated,
)
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.slopes import SCOPES
from bayes_her2.bayesian.starting import cheap_regression
from bayes_her2.bayesian.summary import RowOf, Standing, mixed_rule, too_few
from bayes_her2.data import DIFFERENCE, MIN_STRATUM, AnalysisSet

ESTIMAND = "clinical_odds"
BASE_TERMS, HR_TERMS = ("intercept", "slope"), ("hr", "interaction")
BY_COHORT_DIM = {"intercept": "base", "slope": "base", "hr": "hr_terms", "interaction": "hr_terms"}
"""Term -> name of the dim with the regressions in which it varies between cohorts, without its suffix."""
LARGEST_EXPECTED_RATIO = 10.0


@dataclass(frozen=True)
class OutcomeStructure:
    """Which cohorts inform the regressions of one clinical outcome.

    Attributes
    ----------
    cohorts
        Cohorts that record it, true of some tumours and false of others.
    both_strata
        Those of them with at least 10 recorded tumours in both HR strata.
    """

    cohorts: tuple[str, ...]
    both_strata: tuple[str, ...]

    def varies(self, term: str) -> bool:
        """Whether a term varies between cohorts: at least two of them inform it."""
        return len(self.cohorts if term in BASE_TERMS else self.both_strata) > 1


def outcome_structures(data: AnalysisSet) -> dict[str, OutcomeStructure]:
    """Structure of each outcome, by name."""
    made = {}
    for outcome in data.clinical.columns:
        known = data.clinical[outcome].dropna()
        own = data.tumours.loc[known.index]
        cohorts = [c for c in data.cohorts if known[own["cohort"] == c].nunique() == 2]
        sizes = own.groupby(["cohort", "hr"]).size()
        both = [c for c in cohorts if all(sizes.get((c, s), 0) >= MIN_STRATUM for s in data.strata)]
        made[str(outcome)] = OutcomeStructure(tuple(cohorts), tuple(both) if len(data.strata) == 2 else ())
    return made


@dataclass(frozen=True)
class ClinicalDesign:
    """Tumours counted by what the model knows of them, for every regression.

    Attributes
    ----------
    regressions
        (outcome, cell type) of each regression: those with at least one HR stratum that supports it.
    groups
        (cohort, HR stratum, high abundance) of each group of tumours that are alike.
    n_tumours, n_true
        Group x regression: tumours with the outcome recorded, and those of which it is true; 0 where the stratum
        does not support the regression.
    columns
        Term -> group x cohort: what multiplies the term's coefficient of each cohort.
    coordinates
        Term -> cheap estimates, cohort x regression.
    by_cohort
        Term -> which regressions it varies in between cohorts.
    """

    regressions: tuple[tuple[str, str], ...]
    groups: tuple[tuple[str, str, bool], ...]
    n_tumours: np.ndarray
    n_true: np.ndarray
    columns: dict[str, np.ndarray]
    coordinates: dict[str, Coordinates]
    by_cohort: dict[str, np.ndarray]

    @property
    def labels(self) -> list[str]:
        """Name of each regression."""
        return [regression_label(*pair) for pair in self.regressions]


def regression_label(outcome: str, cell_type: str) -> str:
    """Name of a regression."""
    return f"{outcome} | {cell_type}"


def clinical_design(data: AnalysisSet) -> ClinicalDesign:
    """Count the tumours of every regression, and estimate its coefficients cheaply, cohort by cohort."""
    parts = data.clinical_parts[data.clinical_parts["clinical_modelled"]]
    modelled = set(parts[["outcome", "cell_type", "stratum"]].itertuples(index=False, name=None))
    regressions = tuple(_regressions(data).values())
    groups = tuple((c, s, high) for c in data.cohorts for s in data.strata for high in (False, True))
    place = {group: i for i, group in enumerate(groups)}
    column = {pair: i for i, pair in enumerate(regressions)}
    n_tumours, n_true = np.zeros((2, len(groups), len(regressions)))
    for outcome, cell_type, cohort, hr, high, n, true, _ in data.clinical_counts.itertuples(
        index=False, name=None
    ):
        if (outcome, cell_type, hr) in modelled:
            at = place[(cohort, hr, bool(high))], column[(outcome, cell_type)]
            n_tumours[at], n_true[at] = n, true

    member = np.array([[float(c == cohort) for cohort in data.cohorts] for c, _, _ in groups])
    high = np.array([float(h) for _, _, h in groups])[:, None]
    other = np.array([float(s != data.reference) for _, s, _ in groups])[:, None]
    columns = {"intercept": member, "slope": high * member}
    if len(data.strata) == 2:
        columns |= {"hr": other * member, "interaction": high * other * member}
    structures = outcome_structures(data)
    return ClinicalDesign(
        regressions=regressions,
        groups=groups,
        n_tumours=n_tumours,
        n_true=n_true,
        columns=columns,
        coordinates=_coordinates(columns, n_tumours, n_true),
        by_cohort={
            term: np.array([structures[outcome].varies(term) for outcome, _ in regressions])
            for term in columns
        },
    )


def _coordinates(
    columns: Mapping[str, np.ndarray], n_tumours: np.ndarray, n_true: np.ndarray
) -> dict[str, Coordinates]:
    """Cheap regressions of each cohort's own counts."""
    n_cohorts, n_regressions = columns["intercept"].shape[1], n_tumours.shape[1]
    estimate, variance = np.zeros((2, len(columns), n_cohorts, n_regressions))
    for k in range(n_cohorts):
        inside = columns["intercept"][:, k] > 0
        design = pd.DataFrame({term: values[inside, k] for term, values in columns.items()})
        for p in range(n_regressions):
            true = n_true[inside, p].astype(int)
            counts = np.concatenate([true, n_tumours[inside, p].astype(int) - true])
            rows = pd.concat([design, design], ignore_index=True)
            outcome = np.repeat([1.0, 0.0], len(design))
            table = cheap_regression(
                np.repeat(outcome, counts), rows.loc[rows.index.repeat(counts)], family="binomial"
            )
            estimate[:, k, p], variance[:, k, p] = table["estimate"], table["variance"]
    return {term: Coordinates(estimate[i], variance[i]) for i, term in enumerate(columns)}


def odds_draws(
    posterior: xr.Dataset, data: AnalysisSet, priors: Mapping[str, Prior], rng: np.random.Generator
) -> dict[tuple[str, str], xr.DataArray]:
    """Log odds ratios, high against low abundance, of every outcome and cell type in every stratum and scope.

    Returns
    -------
    dict
        ('clinical_odds', scope) -> dims chain, draw, stratum (HR- over HR+ included), outcome, cell_type (and cohort);
        NaN where not estimable. A new cohort's coefficients are the mean and a draw of the spread between cohorts,
        from its prior where at most one cohort informs the term.
    """
    terms = ["slope", *(["interaction"] if len(data.strata) == 2 else [])]
    labels = [str(label) for label in posterior["regression"].to_numpy()]
    pairs = _regressions(data)
    sizes = (posterior.sizes["chain"], posterior.sizes["draw"], len(labels))
    own: dict[str, dict[str, xr.DataArray]] = {scope: {} for scope in SCOPES}
    for term in terms:
        typical = posterior[term]
        varying = _varying(data, term)
        spread = xr.full_like(typical.transpose("chain", "draw", "regression"), np.nan).copy(
            data=priors[f"{term}_between_cohorts_sd"].sample(rng, sizes)
        )
        if varying:
            known = posterior[f"{term}_between_cohorts_sd"].rename({_dim(term): "regression"})
            spread.loc[{"regression": varying}] = known.sel(regression=varying).transpose(*spread.dims)
        unit = spread.copy(data=rng.standard_normal(sizes))
        own["pooled"][term], own["cohort"][term] = typical, _by_cohort(posterior, data, term)
        own["new cohort"][term] = typical + spread * unit
    return {(ESTIMAND, scope): _by_stratum(own[scope], data).pipe(_unfolded, data, pairs) for scope in SCOPES}


def _regressions(data: AnalysisSet) -> dict[str, tuple[str, str]]:
    """Label of each regression that some HR stratum supports -> its outcome and cell type."""
    parts = data.clinical_parts[data.clinical_parts["clinical_modelled"]]
    return {
        regression_label(str(o), str(c)): (str(o), str(c))
        for o, c in parts[["outcome", "cell_type"]].to_numpy()
    }


def _dim(term: str) -> str:
    return f"{BY_COHORT_DIM[term]}_by_cohort"


def _varying(data: AnalysisSet, term: str) -> list[str]:
    """Labels of the regressions in which a term varies between cohorts."""
    structures = outcome_structures(data)
    return [label for label, (outcome, _) in _regressions(data).items() if structures[outcome].varies(term)]


def _by_cohort(posterior: xr.Dataset, data: AnalysisSet, term: str) -> xr.DataArray:
    """Coefficients of a term in each cohort and regression."""
    made = posterior[term].expand_dims(cohort=list(data.cohorts)).copy()
    varying = _varying(data, term)
    if varying:
        values = posterior[f"{term}_by_cohort"].rename({_dim(term): "regression"})
        where = {"regression": varying, "cohort": list(data.cohorts)}
        made.loc[where] = values.sel(where).transpose(*made.dims)
    return made


@dataclass(frozen=True, kw_only=True)
class _Replicated(AnalysisSet):
    """Tumours with an outcome of its own for every regression; what is modelled stays.

    The model takes each (outcome, cell type) for a regression of its own, so that its data are counts for each of
    them; no single outcome of a tumour could be all of these at once.

    Attributes
    ----------
    counted
        As `AnalysisSet.clinical_counts`.
    parts_kept
        As `AnalysisSet.clinical_parts`, of the tumours that are replicated.
    """

    counted: pd.DataFrame
    parts_kept: pd.DataFrame

    @property
    def clinical_counts(self) -> pd.DataFrame:
        """Simulated."""
        return self.counted

    @property
    def clinical_parts(self) -> pd.DataFrame:
        """Of the tumours that are replicated."""
        return self.parts_kept


def clinical_replicated(draw: xr.Dataset, data: AnalysisSet, rng: np.random.Generator) -> AnalysisSet:
    """Return the same tumours with outcomes from one draw of the model; see `CalibratedModel.replicated`."""
    design = clinical_design(data)
    eta = np.zeros_like(design.n_tumours)
    for term, columns in design.columns.items():
        own = _by_cohort(draw, data, term).isel(chain=0, draw=0)
        own = own.sel(cohort=list(data.cohorts), regression=design.labels)
        eta += columns @ own.transpose("cohort", "regression").to_numpy()
    n_true = rng.binomial(design.n_tumours.astype(int), expit(eta))
    place = {
        (*pair, *group): n_true[g, p]
        for p, pair in enumerate(design.regressions)
        for g, group in enumerate(design.groups)
        if design.n_tumours[g, p] > 0
    }
    counts = data.clinical_counts.copy()
    keys = counts[["outcome", "cell_type", "cohort", "hr", "high"]].itertuples(index=False, name=None)
    counts["n_true"] = [place.get(key, was) for key, was in zip(keys, counts["n_true"], strict=True)]
    same = {f.name: getattr(data, f.name) for f in fields(AnalysisSet)}
    return _Replicated(**same, counted=counts, parts_kept=data.clinical_parts)


def _by_stratum(own: Mapping[str, xr.DataArray], data: AnalysisSet) -> xr.DataArray:
    rows = [own["slope"].expand_dims(stratum=[data.reference])]
    if "interaction" in own:
        other = next(s for s in data.strata if s != data.reference)
        sign = 1.0 if other == "HR-" else -1.0  # the contrast is HR- over HR+, whichever the reference
        rows.append((own["slope"] + own["interaction"]).expand_dims(stratum=[other]))
        rows.append((sign * own["interaction"]).expand_dims(stratum=[DIFFERENCE]))
    return xr.concat(rows, dim="stratum", join="exact")


def _unfolded(array: xr.DataArray, data: AnalysisSet, pairs: Mapping[str, tuple[str, str]]) -> xr.DataArray:
    """Regressions as outcome x cell type, NaN where a stratum does not support one."""
    ordered = array.transpose("chain", "draw", "stratum", ..., "regression")
    outcomes, cells = list(data.clinical.columns), list(data.abundance.columns)
    reasons = data.clinical_parts.set_index(["outcome", "cell_type", "stratum"])["reason"]
    strata = [str(s) for s in ordered["stratum"].to_numpy()]
    values = np.full((*ordered.shape[:-1], len(outcomes), len(cells)), np.nan)
    for i, label in enumerate(ordered["regression"].to_numpy()):
        outcome, cell_type = pairs[str(label)]
        for j, stratum in enumerate(strata):
            needed = data.strata if stratum == DIFFERENCE else (stratum,)
            if not any(reasons[(outcome, cell_type, s)] for s in needed):
                place = outcomes.index(outcome), cells.index(cell_type)
                values[:, :, j, ..., place[0], place[1]] = ordered.to_numpy()[:, :, j, ..., i]
    dims = [*ordered.dims[:-1], "outcome", "cell_type"]
    coords = {str(d): ordered[d].to_numpy() for d in ordered.dims[:-1]}
    return xr.DataArray(values, dims=dims, coords=coords | {"outcome": outcomes, "cell_type": cells})


class Rows:
    """What each row of the estimates says besides its numbers, from counts alone."""

    def __init__(self, data: AnalysisSet, unit: str) -> None:
        self.data, self.unit = data, unit
        self.structures = outcome_structures(data)
        keys = ["outcome", "cell_type"]
        self._counts = {key: table for key, table in data.clinical_counts.groupby(keys)}
        self._reasons = data.clinical_parts.set_index([*keys, "stratum"])["reason"]

    def describe(self, estimand: str, scope: str, named: Mapping[str, str]) -> RowOf:
        """Row of an outcome, cell type, stratum and scope."""
        behind = self._standing(
            named["outcome"], named["cell_type"], named["stratum"], scope, named.get("cohort", "")
        )
        return RowOf(
            outcome=named["outcome"],
            unit=self.unit,
            standing=behind,
            exposure=f"high abundance of {named['cell_type']}",
            contrast="high over low abundance",
        )

    def _standing(self, outcome: str, cell_type: str, stratum: str, scope: str, cohort: str) -> Standing:
        """Status as in the model of abundance; a cohort that does not record the outcome is no part of it."""
        data, shape = self.data, self.structures[outcome]
        strata = data.strata if stratum == DIFFERENCE else (stratum,)
        counts = self._counts[(outcome, cell_type)]
        sizes = counts.groupby(["cohort", "hr"])["n"].sum()
        own_sizes = {c: {s: int(sizes.get((c, s), 0)) for s in strata} for c in shape.cohorts}
        having = [c for c, n_by_hr in own_sizes.items() if min(n_by_hr.values()) >= MIN_STRATUM]
        some = [c for c, n_by_hr in own_sizes.items() if all(n_by_hr.values())]
        behind = (cohort,) if scope == "cohort" else tuple(some)
        own = counts[counts["hr"].isin(strata) & counts["cohort"].isin(behind)]
        n, n_zero = int(own["n"].sum()), int(own["n_zero"].sum())
        reason = "; ".join(r for s in strata if (r := self._reasons[(outcome, cell_type, s)]))
        if reason:
            return Standing(n, n_zero, "not estimable", reason)
        if scope == "cohort":
            silent = self._silent(shape, counts, outcome, stratum, strata, cohort)
            return Standing(n, n_zero, "borrowed" if silent else "observed", silent)
        if scope == "new cohort":
            if not shape.varies("slope"):
                note = f"{' and '.join(shape.cohorts)} alone: the spread between cohorts is the prior's"
                return Standing(n, n_zero, "prior-only", note)
            if (data.reference not in strata or len(strata) == 2) and not shape.varies("interaction"):
                informed = ", ".join(shape.both_strata) or "no cohort"
                note = f"the interaction is informed by {informed} alone: its spread is the prior's"
                return Standing(n, n_zero, "prior-only", note)
        left_out = [c for c in data.cohorts if c not in shape.cohorts]
        notes = [f"left out: {', '.join(left_out)}, without '{outcome}'"] if left_out else []
        lacking = [c for c in shape.cohorts if c not in having]
        status = "observed"
        if lacking and scope == "pooled":
            alone = ", ".join(having) or "no cohort"
            if stratum == DIFFERENCE:
                status = "observed" if having else "borrowed"
                notes.append(f"rests on {alone} alone")
            else:
                status = "borrowed"
                notes.append(
                    f"rests on {alone} for {stratum} tumours; the odds ratio of {', '.join(lacking)} there is inferred "
                    "from its other stratum"
                )
            notes += [too_few(own_sizes[c], c) for c in lacking if c in some]
        notes.append(mixed_rule(data, cell_type, having))
        notes = [note for note in notes if note]
        return Standing(n, n_zero, status, "; ".join(notes))

    def _silent(
        self,
        shape: OutcomeStructure,
        counts: pd.DataFrame,
        outcome: str,
        stratum: str,
        strata: tuple[str, ...],
        cohort: str,
    ) -> str:
        """Why a cohort's own tumours do not speak to a row, or ''."""
        if cohort not in shape.cohorts:
            return (
                f"{cohort} does not tell tumours with '{outcome}' from others: taken from the other cohorts"
            )
        for one in strata:
            row = counts[(counts["cohort"] == cohort) & (counts["hr"] == one)]
            n, n_true = int(row["n"].sum()), int(row["n_true"].sum())
            if lacking := too_few({one: n}, cohort):
                return f"{lacking} with '{outcome}' recorded: taken from the other cohorts"
            if row["high"].nunique() < 2:
                which = "high" if bool(row["high"].iloc[0]) else "low"
                return f"all {n} {one} tumours of {cohort} have {which} abundance"
            if n_true in (0, n):
                return f"'{outcome}' is {'true' if n_true else 'false'} of all {n} {one} tumours of {cohort}"
        common = stratum == DIFFERENCE and len(shape.cohorts) > 1 and not shape.varies("interaction")
        if common and cohort not in shape.both_strata:
            return f"the interaction is common to the cohorts, and {cohort} has few tumours in one stratum"
        return ""


def clinical_prior_predictive(graph: pm.Model, data: AnalysisSet, seed: int) -> pd.DataFrame:
    """Numeric gates on what the priors imply, drawn from the graph itself.

    Returns
    -------
    pandas.DataFrame
        ``check``, ``value``, ``lower``, ``upper`` (the gate), ``passed``.
    """
    drawn = prior_draws(graph, ["intercept", "slope", "interaction"], seed)
    counts = data.clinical_counts
    table = counts.groupby(["outcome", "cell_type", "cohort"], as_index=False)[["n", "n_true"]].sum()
    table["regression"] = [
        regression_label(o, c) for o, c in zip(table["outcome"], table["cell_type"], strict=True)
    ]
    share = ((table["n_true"] + 0.5) / (table["n"] + 1)).set_axis(
        pd.MultiIndex.from_frame(table[["regression", "cohort"]])
    )
    level = drawn["intercept"].expand_dims(cohort=list(data.cohorts))
    beyond = float((np.abs(drawn["slope"]) > np.log(LARGEST_EXPECTED_RATIO)).mean())
    rows: list[Gate] = [
        (
            "shares of tumours with an outcome, by cohort: part within the prior's central 99 %",
            inside_prior(xr.apply_ufunc(expit, level), "regression", share),
            0.95,
            1.0,
        ),
        ("prior probability of an odds ratio, high against low, beyond 10-fold", beyond, 0.001, 0.10),
    ]
    if "interaction" in drawn:
        rows.append(
            (
                "prior SD of the interaction (log ratio of odds ratios), for information",
                float(drawn["interaction"].std()),
                0.0,
                2.0,
            )
        )
    return gate_table(rows)


def clinical_posterior_predictive(
    graph: pm.Model, posterior: xr.Dataset, data: AnalysisSet, seed: int, interval: float = 0.95
) -> pd.DataFrame:
    """Replicated shares of each outcome among tumours with high and with low abundance, by cohort and HR stratum.

    Returns
    -------
    pandas.DataFrame
        ``cell_type``, ``cohort``, ``hr``, ``statistic``, ``observed``, ``predicted``, ``lower``, ``upper``, ``inside``.
    """
    drawn = replicated(graph, posterior, "n_true", seed).transpose("sample", "group", "regression").to_numpy()
    design = clinical_design(data)
    rows = []
    for p, (outcome, cell_type) in enumerate(design.regressions):
        for g, (cohort, hr, high) in enumerate(design.groups):
            n = design.n_tumours[g, p]
            if n > 0:
                statistic = f"{outcome}, {'high' if high else 'low'} abundance"
                seen = float(design.n_true[g, p] / n)
                rows.append(
                    predictive_row(cell_type, cohort, hr, statistic, seen, drawn[:, g, p] / n, interval)
                )
    return predictive_table(rows)


def clinical_reader_scale(name: str, prior: Prior, interval: float) -> str:
    """Say what a prior of the model means as odds ratios and shares of tumours."""
    low, high = prior.interval(interval)
    percent = f"{interval:.0%}"
    if name == "intercept_mean":
        return (
            f"{percent}: outcome in {expit(low):.0%} to {expit(high):.0%} of the tumours with low abundance"
        )
    if name.endswith("_sd"):
        return (
            f"{percent}: 1 SD between cohorts multiplies the odds by {np.exp(low):.2g} to {np.exp(high):.2g}"
        )
    return f"{percent}: odds ratio {np.exp(low):.2g} to {np.exp(high):.2g}"
