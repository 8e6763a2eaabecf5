"""Draws of labelled log ratios -> Estimates, each row with its status and what stands behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import xarray as xr

from bayes_her2.bayesian.decisions import (
    local_false_sign_rate,
    probability_in_rope,
    probability_of_direction,
    s_values,
)
from bayes_her2.bayesian.design import Structure
from bayes_her2.data import (
    DIFFERENCE,
    HR_NEGATIVE,
    HR_POSITIVE,
    HR_STATUS,
    MIN_STRATUM,
    PRESENCE_HELD_BELOW,
    AnalysisSet,
    hr_contrast,
)
from bayes_her2.estimates import ALL, HR_COMPARISONS, STANDARDISED, Estimates, Rope, kind_of, null_value

INTERVAL_KIND = "credible (equal-tailed)"

OUTCOMES_OF_ONE_EXPOSURE = ("estimand", "exposure", "contrast", "stratum", "scope", "cohort")
"""A family of claims: one HER2 measure, all cell types."""


@dataclass(frozen=True)
class Standing:
    """What stands behind a row: how many tumours, and whether the data speak to it at all."""

    n: int | None
    n_zero: int | None
    status: str
    note: str


class Support(Protocol):
    """What the tumours can say about a model's estimands, in words that a note prints; '' where nothing is wrong."""

    def not_estimable(self, estimand: str, cell_type: str, strata: tuple[str, ...]) -> str:
        """Why an estimand cannot be had for a cell type in these strata."""

    def held(self, estimand: str, cell_type: str, strata: tuple[str, ...]) -> str:
        """Say what is held constant in an average over tumours."""

    def silent(self, estimand: str, cell_type: str, stratum: str, cohort: str) -> str:
        """Why the tumours of a cohort's stratum, which there are, do not speak to an estimand."""

    def mixed(self, estimand: str, cell_type: str) -> str:
        """Say what the estimand's outcome is in each cohort, where it is not the same in all."""


def standing(
    data: AnalysisSet,
    shape: Structure,
    support: Support,
    estimand: str,
    cell_type: str,
    stratum: str,
    scope: str,
    cohort: str,
) -> Standing:
    """Status of one row, from counts alone; never from the draws.

    ``observed``: the tumours of that stratum (and cohort) inform the row. ``borrowed``: that cohort (in a pooled row:
    some cohort) has fewer than 10 such tumours, or none with and without the cell type where presence is asked for.
    ``prior-only``:
    the spread between cohorts is not informed. ``not estimable``: the part is not modelled.
    """
    strata = data.strata if stratum == DIFFERENCE else (stratum,)
    counts = data.counts[data.counts["cell_type"] == cell_type]
    if scope == "cohort":
        counts = counts[counts["cohort"] == cohort]
    own = counts[counts["hr"].isin(strata)]
    if scope != "cohort" and stratum == DIFFERENCE and estimand not in STANDARDISED:
        # The contrast is informed by cohorts with both strata; the others' tumours do not stand behind it.
        own = own[own["cohort"].isin(_having(data, strata, 1))]
    n, n_zero = int(own["n"].sum()), int(own["n_zero"].sum())

    reason = support.not_estimable(estimand, cell_type, strata) or shape.unsaid(
        scope, contrast=stratum == DIFFERENCE
    )
    if reason:
        return Standing(n, n_zero, "not estimable", reason)
    held = "; ".join(t for t in (support.held(estimand, cell_type, strata), shape.assumed(scope)) if t)
    mixed = support.mixed(estimand, cell_type)
    if scope == "cohort":
        borrowed = _borrowed(shape, support, counts, estimand, cell_type, stratum, strata, cohort)
        return Standing(n, n_zero, "borrowed" if borrowed else "observed", borrowed or held)
    if scope == "new cohort":
        if not shape.several_cohorts:
            return Standing(n, n_zero, "prior-only", "one cohort: the spread between cohorts is the prior's")
        other = data.reference not in strata or len(strata) == 2
        if other and "interaction" in shape.present and not shape.varies("interaction"):
            informed = ", ".join(shape.hr_informed_by) or "no cohort"
            note = f"the interaction is informed by {informed} alone: its spread is the prior's"
            return Standing(n, n_zero, "prior-only", note)
        averaged = estimand in STANDARDISED
        note = "standardised to the observed tumours: only the slope is new" if averaged else ""
        return Standing(n, n_zero, "observed", "; ".join(t for t in (note, held, mixed) if t))
    status, note = _pooled(data, estimand, stratum, strata)
    return Standing(n, n_zero, status, "; ".join(t for t in (note, held, mixed) if t))


def _having(data: AnalysisSet, strata: tuple[str, ...], at_least: int) -> tuple[str, ...]:
    """Cohorts that have so many tumours in each of these strata."""
    sizes = data.tumours.groupby(["cohort", "hr"]).size()
    return tuple(c for c in data.cohorts if all(sizes.get((c, s), 0) >= at_least for s in strata))


def too_few(sizes: Mapping[str, int], cohort: str) -> str:
    """Say which of these strata (stratum -> tumours) of a cohort hold fewer than `MIN_STRATUM`, or ''."""
    few = [
        f"{n} {s} tumour{'s' if n > 1 else ''}" if n else f"no {s} tumours"
        for s, n in sizes.items()
        if n < MIN_STRATUM
    ]
    needed = f" ({MIN_STRATUM} needed)" if any(0 < n < MIN_STRATUM for n in sizes.values()) else ""
    return f"{cohort} has {' and '.join(few)}{needed}" if few else ""


def mixed_rule(data: AnalysisSet, cell_type: str, cohorts: Sequence[str]) -> str:
    """Say what high abundance is in each of these cohorts, where it is not the same in all; else ''."""
    own = data.rules[(data.rules["cell_type"] == cell_type) & data.rules["cohort"].isin(cohorts)]
    if own["high_rule"].nunique() < 2:
        return ""
    words = {"median": "at least the median", "presence": "present"}
    each = [
        f"{words[rule]} in {cohort}" for cohort, rule in zip(own["cohort"], own["high_rule"], strict=True)
    ]
    return f"two meanings of high in one ratio: {', '.join(each)}"


def _pooled(data: AnalysisSet, estimand: str, stratum: str, strata: tuple[str, ...]) -> tuple[str, str]:
    """Status and note of a pooled row: what it rests on where a cohort lacks the stratum, or nearly so."""
    having = _having(data, strata, MIN_STRATUM)
    lacking = [c for c in data.cohorts if c not in having]
    if not lacking:
        return "observed", ""
    alone, others = ", ".join(having) or "no cohort", ", ".join(lacking)
    sizes = data.tumours.groupby(["cohort", "hr"]).size()
    own = [(c, {s: int(sizes.get((c, s), 0)) for s in strata}) for c in lacking]
    few = "; ".join(too_few(n, c) for c, n in own if all(n.values()))
    few = f"; {few}" if few else ""
    if stratum == DIFFERENCE:
        if estimand in STANDARDISED:
            note = f"the two strata are averaged over different cohorts: only {alone} has both{few}"
            return "borrowed", note
        return ("observed" if having else "borrowed"), f"rests on {alone} alone{few}"
    note = (
        f"rests on {alone} for {stratum} tumours; the slope of {others} there is inferred from its other stratum"
        f"{few}"
    )
    return "borrowed", note


def _borrowed(
    shape: Structure,
    support: Support,
    counts: pd.DataFrame,
    estimand: str,
    cell_type: str,
    stratum: str,
    strata: tuple[str, ...],
    cohort: str,
) -> str:
    """Why a cohort's own tumours do not speak to a row, or ''."""
    for one in strata:
        lacking = too_few({one: int(counts.loc[counts["hr"] == one, "n"].sum())}, cohort)
        if lacking:
            return f"{lacking}: taken from the other cohorts"
        reason = support.silent(estimand, cell_type, one, cohort)
        if reason:
            return reason
    common = stratum == DIFFERENCE and shape.several_cohorts and not shape.hr_by_cohort
    if common and cohort not in shape.hr_informed_by:
        return f"the interaction is common to the cohorts, and {cohort} has few tumours in one stratum"
    return ""


MIN_OWN_POSITIVES = 2
"""Positives that a cohort's stratum needs for a slope of its own."""


@dataclass(frozen=True)
class HurdleSupport:
    """What the tumours can say about presence, amount and the averages over both."""

    data: AnalysisSet

    def not_estimable(self, estimand: str, cell_type: str, strata: tuple[str, ...]) -> str:
        """Zeros or positives that a part of the hurdle lacks."""
        if estimand not in ("presence", "amount"):
            return ""
        parts = self._parts(cell_type, strata)
        return "" if parts[f"{estimand}_modelled"].all() else "; ".join(r for r in parts["reason"] if r)

    def held(self, estimand: str, cell_type: str, strata: tuple[str, ...]) -> str:
        """Presence that is not modelled and that an average over all tumours holds constant."""
        if estimand not in ("overall", "high_abundance"):
            return ""
        parts = self._parts(cell_type, strata)
        held = parts[~parts["presence_modelled"] & (parts["n_zero"] / parts["n"] < PRESENCE_HELD_BELOW)]
        return "; ".join(
            f"presence held constant in {stratum} ({row['n_zero']} zeros among {row['n']})"
            for stratum, row in held.iterrows()
        )

    def silent(self, estimand: str, cell_type: str, stratum: str, cohort: str) -> str:
        """Zeros or positives that the cohort's stratum lacks."""
        rules, counts = self.data.rules, self.data.counts
        own_rules = rules[(rules["cell_type"] == cell_type) & (rules["cohort"] == cohort)]
        by_median = bool((own_rules["high_rule"] == "median").any())
        row = counts[
            (counts["cell_type"] == cell_type) & (counts["cohort"] == cohort) & (counts["hr"] == stratum)
        ]
        zeros, positives = int(row["n_zero"].sum()), int(row["n_positive"].sum())
        modelled = self.data.part(cell_type, stratum).presence_modelled
        needs_presence = estimand == "presence" or (estimand in STANDARDISED and modelled)
        if needs_presence and (positives == 0 or (zeros == 0 and estimand == "presence")):
            return f"no {'positives' if positives == 0 else 'zeros'} among the {stratum} tumours of {cohort}"
        needs_amount = estimand in ("amount", "overall") or (estimand == "high_abundance" and by_median)
        if needs_amount and positives < MIN_OWN_POSITIVES:
            return f"{positives} positives among the {stratum} tumours of {cohort}"
        return ""

    def mixed(self, estimand: str, cell_type: str) -> str:
        """High abundance that is the median in one cohort and presence in another."""
        return (
            mixed_rule(self.data, cell_type, self.data.cohorts)
            if estimand.startswith("high_abundance")
            else ""
        )

    def _parts(self, cell_type: str, strata: tuple[str, ...]) -> pd.DataFrame:
        parts = self.data.parts
        return parts[parts["cell_type"] == cell_type].set_index("stratum").loc[list(strata)]


def standing_of_comparison(
    data: AnalysisSet, shape: Structure, estimand: str, cell_type: str, cohort: str
) -> Standing:
    """Status of a row that compares the HR strata of a cohort, from counts alone."""
    rows = data.counts[(data.counts["cell_type"] == cell_type) & (data.counts["cohort"] == cohort)]
    rows = rows[rows["n"] > 0]
    own = {
        str(hr): (int(total), int(zeros))
        for hr, total, zeros in zip(rows["hr"], rows["n"], rows["n_zero"], strict=True)
    }
    n, n_zero = sum(total for total, _ in own.values()), sum(zeros for _, zeros in own.values())
    held, lean = [], []
    for stratum in (HR_POSITIVE, HR_NEGATIVE):
        if stratum not in own:
            return Standing(n, n_zero, "not estimable", f"no {stratum} tumours in {cohort}")
        part = data.part(cell_type, stratum)
        total, zeros = own[stratum]
        if estimand == "presence_difference":
            if not part.presence_modelled:
                return Standing(n, n_zero, "not estimable", part.reason)
            continue
        if not part.amount_modelled:
            return Standing(n, n_zero, "not estimable", part.reason)
        if not part.presence_modelled:
            if zeros / total >= PRESENCE_HELD_BELOW:
                return Standing(n, n_zero, "not estimable", f"needs both parts ({part.reason})")
            held.append(f"presence held at its share in {stratum} (zeros: {zeros} of {total})")
        if total < MIN_STRATUM:
            lean.append(too_few({stratum: total}, cohort))
        if total - zeros < MIN_OWN_POSITIVES:
            lean.append(f"{total - zeros} positives among the {stratum} tumours of {cohort}")
    if shape.several_cohorts and not shape.hr_by_cohort and cohort not in shape.hr_informed_by:
        lean.append(
            f"the HR difference is common to the cohorts, and {cohort} has few tumours in one stratum"
        )
    return Standing(n, n_zero, "borrowed" if lean else "observed", "; ".join([*lean, *held]))


def summarise(
    draws: Mapping[tuple[str, str], xr.DataArray],
    data: AnalysisSet,
    shape: Structure,
    *,
    units: Mapping[str, str],
    method: str,
    interval: float,
    rope: Rope,
    support: Support | None = None,
) -> Estimates:
    """Point, interval and decisions of every labelled log ratio of a model of cell types.

    Parameters
    ----------
    draws
        (estimand, scope) -> log ratio draws with dims chain, draw, stratum, cell_type (and cohort).
    data, shape
        Analysis set and its structure, for statuses and counts.
    units
        Unit of each estimand.
    method
        What produced the draws, for the table.
    interval
        Probability of the equal-tailed credible interval.
    rope
        Region of practical equivalence.
    support
        What the tumours can say about the estimands; `HurdleSupport` if None.

    Returns
    -------
    Estimates
        Posterior medians on the ratio scale. Rows that are not estimable are kept and say why.
    """
    asked = HurdleSupport(data) if support is None else support

    def describe(estimand: str, scope: str, named: Mapping[str, str]) -> RowOf:
        cell_type, stratum = named["cell_type"], named["stratum"]
        if estimand in HR_COMPARISONS:
            return _comparison(data, shape, estimand, cell_type, named["cohort"], units[estimand])
        behind = standing(data, shape, asked, estimand, cell_type, stratum, scope, named.get("cohort", ""))
        gap = _gap(data, estimand, cell_type, stratum) or f"{behind.note}; nobody to average over"
        return RowOf(outcome=cell_type, unit=units[estimand], standing=behind, without_draws=gap)

    return tabulate(draws, data, describe, method=method, interval=interval, rope=rope)


def _comparison(
    data: AnalysisSet, shape: Structure, estimand: str, cell_type: str, cohort: str, unit: str
) -> RowOf:
    """Row of a comparison of the HR strata: marginal, so not adjusted for anything."""
    behind = standing_of_comparison(data, shape, estimand, cell_type, cohort)
    present = 1.0 - (behind.n_zero or 0) / behind.n if behind.n else math.nan
    return RowOf(
        outcome=cell_type,
        unit=unit,
        standing=behind,
        exposure=HR_STATUS,
        contrast=hr_contrast(estimand, _rule(data, cell_type, cohort)),
        adjustment="none",
        outcome_sd=math.sqrt(present * (1.0 - present)),
    )


def _rule(data: AnalysisSet, cell_type: str, cohort: str) -> str:
    """Rule of the seed study on the zeros of a cell type in a cohort."""
    rules = data.rules
    found = rules.loc[(rules["cell_type"] == cell_type) & (rules["cohort"] == cohort), "rule"]
    return str(found.item())


@dataclass(frozen=True)
class RowOf:
    """What a row of estimates says besides its numbers.

    Attributes
    ----------
    outcome, unit
        As printed.
    standing
        What stands behind it.
    without_draws
        Why there are no draws although the standing expects some.
    exposure, contrast, adjustment
        The data's measure, one SD of it, and the data's covariates, unless the model says otherwise.
    outcome_sd
        SD of the outcome, for the region of practical equivalence of differences.
    at
        Place along a curve.
    stratum, cohort
        Where no label of the draws says so.
    """

    outcome: str
    unit: str
    standing: Standing
    without_draws: str = ""
    exposure: str = ""
    contrast: str = "h + 1 SD over h"
    adjustment: str = ""
    outcome_sd: float = float("nan")
    at: float | None = None
    stratum: str = ALL
    cohort: str = ""


class Tabulated(Protocol):
    """What `tabulate` reads from the data of a model."""

    @property
    def model(self) -> str:
        """Name of the model."""

    @property
    def measure(self) -> str:
        """Exposure of rows that name none."""

    @property
    def adjustment(self) -> str:
        """Covariates of rows that name none."""

    @property
    def fingerprint(self) -> str:
        """Of the data."""


def pooled_draws(
    draws: Mapping[tuple[str, str], xr.DataArray], at: np.ndarray
) -> tuple[list[tuple[str, str, str]], np.ndarray]:
    """Draws of all pooled rows of cell types that are estimable, as one array, and what each is.

    Parameters
    ----------
    draws
        (estimand, scope) -> draws; an estimand of which fewer draws were taken than `at` has is left out.
    at
        Labels of the draws wanted.

    Returns
    -------
    list, numpy.ndarray
        (estimand, cell type, stratum) of each row; chain x draw x row.
    """
    columns, labels = [], []
    for (estimand, scope), array in draws.items():
        of_cells = {"cell_type", "stratum"} <= set(array.dims)
        if scope != "pooled" or not of_cells or array.sizes["draw"] < len(at):
            continue
        own = array.sel(draw=at).transpose("chain", "draw", "cell_type", "stratum")
        for cell in own["cell_type"].to_numpy():
            for stratum in own["stratum"].to_numpy():
                column = own.sel(cell_type=cell, stratum=stratum).to_numpy()
                if np.isfinite(column).all():
                    columns.append(column)
                    labels.append((estimand, str(cell), str(stratum)))
    return labels, np.stack(columns, axis=-1) if columns else np.zeros((1, 1, 0))


def tabulate(
    draws: Mapping[tuple[str, str], xr.DataArray],
    data: Tabulated,
    describe: Callable[[str, str, Mapping[str, str]], RowOf],
    *,
    method: str,
    interval: float,
    rope: Rope,
    family: Sequence[str] | None = OUTCOMES_OF_ONE_EXPOSURE,
) -> Estimates:
    """Point, interval and decisions of every label of every estimand.

    Parameters
    ----------
    draws
        (estimand, scope) -> draws with dims chain and draw; its other dims are labels. Ratios are on the log
        scale (and are reported as ratios), everything else in its own unit.
    data
        Analysis set: model, measure, adjustment, fingerprint.
    describe
        (estimand, scope, labels by dim) -> what the row says besides its numbers. The labels ``stratum`` and
        ``cohort`` become columns.
    method
        What produced the draws, for the table.
    interval
        Probability of the equal-tailed credible interval.
    rope
        Region of practical equivalence.
    family
        Columns whose values define a family of claims for the s-values. None: no s-values, where the rows do not
        borrow strength from each other and a count of them would have no cost.

    Returns
    -------
    Estimates
        Posterior medians. Rows that are not estimable (NaN draws, or by their standing) are kept and say why.
    """
    tail = (1.0 - interval) / 2.0
    records = []
    for (estimand, scope), array in draws.items():
        kind, null = kind_of(estimand), null_value(estimand)
        labels = [str(d) for d in array.dims if d not in ("chain", "draw")]
        flat = array.stack(row=labels, create_index=True).transpose("chain", "draw", "row")
        values = flat.to_numpy().reshape(-1, flat.sizes["row"])
        quantiles = np.quantile(values, [tail, 0.5, 1.0 - tail], axis=0)
        if kind == "ratio":
            quantiles, null = np.exp(quantiles), 0.0
        direction, wrong = probability_of_direction(values - null), local_false_sign_rate(values - null)
        for i, label in enumerate(flat.indexes["row"]):
            named = dict(zip(labels, map(str, label if isinstance(label, tuple) else (label,)), strict=True))
            row = describe(estimand, scope, named)
            behind = row.standing
            missing = bool(np.isnan(values[:, i]).any())
            status, note = behind.status, behind.note
            if missing:
                status = "not estimable"
                if behind.status != "not estimable":
                    note = row.without_draws
            record: dict[str, Any] = {
                "source": "posterior",
                "method": method,
                "model": data.model,
                "outcome": row.outcome,
                "exposure": row.exposure or data.measure,
                "estimand": estimand,
                "contrast": row.contrast,
                "adjustment": row.adjustment or data.adjustment,
                "stratum": named.get("stratum", row.stratum),
                "scope": scope,
                "cohort": named.get("cohort", row.cohort),
                "at": row.at,
                "unit": row.unit,
                "interval_kind": INTERVAL_KIND,
                "interval_prob": interval,
                "n": behind.n,
                "n_zero": behind.n_zero,
                "status": status,
                "note": note,
                "fingerprint": data.fingerprint,
            }
            if not missing and status != "not estimable":
                record |= dict(zip(("lower", "point", "upper"), map(float, quantiles[:, i]), strict=True))
                if kind != "level":
                    record |= {"pd": float(direction[i]), "lfsr": float(wrong[i])}
                low, high = rope.limits(estimand, row.outcome_sd)
                if math.isfinite(low):
                    seen = values[:, i] if kind != "correlation" else np.arctanh(values[:, i])
                    record["p_in_rope"] = float(probability_in_rope(seen, (low, high)))
            records.append(record)
    found = Estimates.from_records(records)
    return found if family is None else _with_s_values(found, family)


def _gap(data: AnalysisSet, estimand: str, cell_type: str, stratum: str) -> str:
    strata = list(data.strata) if stratum == DIFFERENCE else [stratum]
    parts = data.parts[(data.parts["cell_type"] == cell_type) & data.parts["stratum"].isin(strata)]
    lacking = "; ".join(r for r in parts["reason"] if r)
    if not lacking:
        return ""
    if (
        estimand == "high_abundance"
        and (data.rules.loc[data.rules["cell_type"] == cell_type, "high_rule"] == "presence").all()
    ):
        return f"high abundance is presence here, which is not modelled ({lacking})"
    return f"needs both parts ({lacking})"


def _with_s_values(estimates: Estimates, family: Sequence[str]) -> Estimates:
    """S-values over each family; observed rows only."""
    table = estimates.table.copy()
    observed = table["status"] == "observed"
    lfsr = table["lfsr"].where(observed).astype("float64")
    for _, index in table.groupby(list(family)).groups.items():
        table.loc[index, "s_value"] = s_values(lfsr.loc[index].to_numpy())
    return Estimates(table)


def heterogeneity(
    posterior: xr.Dataset,
    shape: Structure,
    priors: Mapping[str, object],
    *,
    interval: float,
    parts: Sequence[str] = ("presence", "amount"),
) -> pd.DataFrame:
    """Spread between cohorts of each term, beside its prior.

    Returns
    -------
    pandas.DataFrame
        ``part``, ``term``, ``between_sd_point`` (posterior median, log scale), ``lower``, ``upper``,
        ``prior_median``, ``n_cohorts_informing``, ``note``; and the spread over cell types beside it
        (``cells_sd_point``, ``cells_sd_lower``, ``cells_sd_upper``).
    """
    tail = (1.0 - interval) / 2.0
    rows = []
    for part in parts:
        for term, informing in (
            ("slope", len(shape.cohorts)),
            ("hr", len(shape.hr_informed_by)),
            ("interaction", len(shape.hr_informed_by)),
        ):
            name = f"{part}_{term}_between_cohorts_sd"
            if name not in priors or (term != "slope" and not shape.hr_term):
                continue
            prior = priors[name]
            prior_median = float(prior.frozen().median())  # type: ignore[attr-defined]
            if name in posterior:
                values = posterior[name].to_numpy().ravel()
                lower, point, upper = (float(q) for q in np.quantile(values, [tail, 0.5, 1.0 - tail]))
                note = "two cohorts: one difference for each cell type informs it" if informing == 2 else ""
            else:
                lower = point = upper = float("nan")
                note = (
                    f"not in the model: {'one cohort informs' if informing == 1 else 'no cohort informs'} it"
                )
            cells = [float("nan")] * 3
            over_cells = f"{part}_{term}_between_cells_sd"
            if over_cells in posterior:
                values = posterior[over_cells].to_numpy().ravel()
                cells = [float(q) for q in np.quantile(values, [0.5, tail, 1.0 - tail])]
            rows.append((part, term, point, lower, upper, prior_median, informing, note, *cells))
    return pd.DataFrame(
        rows,
        columns=[
            "part",
            "term",
            "between_sd_point",
            "lower",
            "upper",
            "prior_median",
            "n_cohorts_informing",
            "note",
            "cells_sd_point",
            "cells_sd_lower",
            "cells_sd_upper",
        ],
    )
