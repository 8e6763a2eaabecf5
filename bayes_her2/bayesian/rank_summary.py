"""Draws of asinh(v) -> labelled draws of Spearman correlations, their rows, and the tables beside them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr
from scipy import stats
from scipy.stats import rankdata

from bayes_her2.bayesian.coordinates import UNINFORMED_VARIANCE
from bayes_her2.bayesian.copula import (
    RankDesign,
    as_correlation,
    correlations,
    exposure_covariance,
    latent_spearman,
    normal_scores,
    rank_design,
    tied_spearman,
)
from bayes_her2.bayesian.predictive import quietly
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.summary import RowOf, Standing, tabulate
from bayes_her2.data import DIFFERENCE_MINUS, HR_NEGATIVE, HR_POSITIVE, AnalysisSet
from bayes_her2.estimates import ALL, Estimates, Rope
from bayes_her2.ranking import NO_TUMOURS, groups_of, pairings, support

SCOPES = ("pooled", "cohort", "new cohort")
STRENGTHS = (("negligible", 0.0), ("weak", 0.1), ("moderate", 0.3), ("strong", 0.5))
"""Words for |rho| from a value on, as in the seed study's figure."""

_WITHOUT = "no such tumours, and no correlation of the cohort's other tumours to start from"
_PRIOR_DRAWS = 1_000
_REPLICATIONS = 200


def against(first: str, other: str) -> str:
    """Name the comparison of two measures in the column ``exposure``."""
    return f"{first} against {other}"


def correlation_draws(
    posterior: xr.Dataset, data: AnalysisSet, priors: Mapping[str, Prior], rng: np.random.Generator
) -> dict[tuple[str, str], xr.DataArray]:
    """Labelled draws of every estimand; see the model file.

    Correlations of a pooled row take the measures' R averaged over the groups of the stratum that have them all (over
    all groups, measures that a group lacks being uncorrelated, where none has), and the share of zeros averaged over
    the groups. A cohort without tumours of a stratum takes both from the others; a cohort that has them, but no
    values of the outcome or exposure, has no row. Draws are kept in single precision: they are correlations.
    """
    made = pairings(data)
    exposures = [str(e) for pairing in made for e in pairing.exposures.columns]
    wanted = list(dict.fromkeys(str(o) for pairing in made for o in pairing.outcomes.columns))
    chain, draw = posterior.sizes["chain"], posterior.sizes["draw"]
    coords: dict[str, Any] = {
        "chain": posterior["chain"].to_numpy(),
        "draw": posterior["draw"].to_numpy(),
        "exposure": exposures,
        "outcome": wanted,
        "stratum": [*data.strata, ALL],
    }

    def empty(scope: str) -> xr.DataArray:
        every = coords | ({"cohort": list(data.cohorts)} if scope == "cohort" else {})
        shape = tuple(len(v) for v in every.values())
        return xr.DataArray(np.full(shape, np.nan, dtype=np.float32), coords=every, dims=tuple(every))

    latent = {scope: empty(scope) for scope in SCOPES}
    observed = {scope: empty(scope) for scope in SCOPES}
    design = rank_design(data)

    def put(scope: str, place: dict[str, str], names: list[str], rho: np.ndarray, share: np.ndarray) -> None:
        """Write draws of rho (draw x exposure x outcome); a share of NaN marks an outcome not carried."""
        kept = ~np.isnan(share)
        where = {
            "exposure": names,
            "outcome": [o for o, k in zip(design.outcomes, kept, strict=True) if k],
        } | place
        shape = (chain, draw, len(names), int(kept.sum()))
        latent[scope].loc[where] = latent_spearman(rho[..., kept]).reshape(shape)
        observed[scope].loc[where] = tied_spearman(rho[..., kept], share[kept]).reshape(shape)

    fisher = FisherDraws(posterior, design, data, priors, rng)
    r = as_correlation(fisher.covariance())
    for pairing in made:
        table = support(data, pairing)
        lacking = table[table["reason"] == NO_TUMOURS]
        for stratum in coords["stratum"]:
            own = [
                k for k, g in enumerate(design.groups) if (g.pairing, g.stratum) == (pairing.name, stratum)
            ]
            if not own:
                continue
            names = [str(e) for e in pairing.exposures.columns if any(e in design.exposures[k] for k in own)]
            weight = design.n[own, None] * design.modelled[own]
            with np.errstate(invalid="ignore"):
                share = (weight * design.zero_share[own]).sum(axis=0) / weight.sum(axis=0)
            typical_r = _typical_r(design, r, own, names)
            place = {"stratum": stratum}
            for scope in ("pooled", "new cohort"):
                rho = correlations(fisher.of(names, stratum, new=scope == "new cohort"), typical_r)
                put(scope, place, names, rho, share)
            for cohort in data.cohorts:
                k = next((k for k in own if design.groups[k].cohort == cohort), None)
                at = place | {"cohort": cohort}
                if k is not None:
                    has, m = list(design.exposures[k]), len(design.exposures[k])
                    rho = correlations(fisher.of(has, stratum, cohort=cohort), r[:, k, :m, :m])
                    put("cohort", at, has, rho, np.where(design.modelled[k], design.zero_share[k], np.nan))
                    continue
                borrowed = set(
                    lacking.loc[(lacking["cohort"] == cohort) & (lacking["stratum"] == stratum), "outcome"]
                )
                informed = any(g.cohort == cohort and g.pairing == pairing.name for g in design.groups)
                if borrowed and informed:  # the stratum's share of zeros, as seen in the other cohorts
                    rho = correlations(fisher.of(names, stratum, cohort=cohort), typical_r)
                    kept = np.array([o in borrowed for o in design.outcomes])
                    put("cohort", at, names, rho, np.where(kept, share, np.nan))
    if len(data.strata) == 1:
        for array in (*latent.values(), *observed.values()):
            array.loc[{"stratum": ALL}] = array.sel(stratum=data.strata[0])
    draws: dict[tuple[str, str], xr.DataArray] = {}
    for scope in SCOPES:
        draws["spearman", scope] = observed[scope]
        draws["latent_spearman", scope] = latent[scope]
    first, *further = (str(c) for c in made[0].exposures.columns)
    for scope in SCOPES:
        dims = observed[scope].dims
        if len(data.strata) == 2:
            gap = observed[scope].sel(stratum=HR_NEGATIVE, drop=True) - observed[scope].sel(
                stratum=HR_POSITIVE, drop=True
            )
            draws["spearman_difference", scope] = gap.expand_dims(stratum=[DIFFERENCE_MINUS]).transpose(*dims)
        if further and scope != "new cohort":
            strength = xr.ufuncs.abs(observed[scope])
            gaps = [
                strength.sel(exposure=first, drop=True) - strength.sel(exposure=m, drop=True) for m in further
            ]
            compared = pd.Index([against(first, m) for m in further], name="exposure")
            draws["strength_difference", scope] = xr.concat(gaps, dim=compared).transpose(*dims)
    return draws


def _typical_r(design: RankDesign, r: np.ndarray, groups: list[int], names: list[str]) -> np.ndarray:
    """Correlations of exposures, averaged over groups (draw x exposure x exposure)."""
    whole = [k for k in groups if set(names) <= set(design.exposures[k])] or groups
    total = np.zeros((len(r), len(names), len(names)))
    for k in whole:
        own = np.tile(np.eye(len(names)), (len(r), 1, 1))
        at = [names.index(e) for e in design.exposures[k]]
        own[:, np.array(at)[:, None], at] = r[:, k, : len(at), : len(at)]
        total += design.n[k] / design.n[whole].sum() * own
    return total


class FisherDraws:
    """Draws of asinh(v) by exposure, stratum and cohort, chains one after another."""

    def __init__(
        self,
        posterior: xr.Dataset,
        design: RankDesign,
        data: AnalysisSet,
        priors: Mapping[str, Prior] | None,
        rng: np.random.Generator,
    ) -> None:
        self.posterior, self.design, self.data = posterior, design, data
        self._typical: dict[tuple[str, str], np.ndarray] = {}
        self._cohort: dict[tuple[str, str, str], np.ndarray] = {}
        self._new: dict[tuple[str, str], np.ndarray] = {}
        for term in design.terms:
            typical = self.flat(term.name)
            by_cohort = self.flat(f"{term.name}_by_cohort") if term.by_cohort else None
            if term.by_cohort:
                spread = self.flat(f"{term.name}_between_cohorts_sd")[:, :, None]
            elif priors is not None:
                spread = priors[f"{term.prior}_between_cohorts_sd"].sample(rng, (*typical.shape[:2], 1))
            else:
                spread = np.zeros(1)
            new = typical + spread * rng.standard_normal(typical.shape)
            for j, line in enumerate(term.lines):
                self._typical[term.prior, line], self._new[term.prior, line] = typical[:, j], new[:, j]
                for k, cohort in enumerate(design.cohorts):
                    own = typical[:, j] if by_cohort is None else by_cohort[:, k, j]
                    self._cohort[term.prior, line, cohort] = own

    def flat(self, name: str) -> np.ndarray:
        """Draws of a variable."""
        array = self.posterior[name].transpose("chain", "draw", ...)
        return np.asarray(array.to_numpy().reshape(-1, *array.shape[2:]))

    def covariance(self) -> np.ndarray:
        """Give the population covariance of the exposures' scores, draw x group x exposure x exposure."""
        association = self.flat("measure_association") if self.design.associations else None
        return exposure_covariance(self.design, self.flat("measure_log_scale"), association)

    def of(self, exposures: list[str], stratum: str, *, cohort: str = "", new: bool = False) -> np.ndarray:
        """Draw x exposure x outcome: of a cohort, of a new one, or (neither) typical."""
        stacked = []
        for exposure in exposures:
            line = self.design.line(exposure, overall=stratum == ALL)
            if line is None:
                raise KeyError(f"{exposure}, {stratum}")
            terms = ["correlation"]
            other = stratum not in (self.data.reference, ALL)
            if other and ("difference", line.label) in self._typical:
                terms.append("difference")
            if cohort:
                parts = [self._cohort[term, line.label, cohort] for term in terms]
            else:
                parts = [(self._new if new else self._typical)[term, line.label] for term in terms]
            stacked.append(sum(parts[1:], parts[0]))
        return np.stack(stacked, axis=1)


# --- rows -----------------------------------------------------------------------------------------


class Behind:
    """What stands behind each row, from counts alone."""

    def __init__(self, data: AnalysisSet) -> None:
        self.data = data
        self.of_row: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._made: dict[tuple[str, ...], Standing] = {}
        self._rows_made: dict[tuple[str, str], pd.DataFrame] = {}
        self.design = rank_design(data)
        made = pairings(data)
        table = pd.concat([support(data, p).assign(pairing=p.name) for p in made])
        self._support = {
            tuple(str(part) for part in key): rows.reset_index(drop=True)
            for key, rows in table.groupby(["pairing", "outcome", "exposure"], sort=False)
        }
        self._none = table.iloc[:0]
        for pairing in made:
            names = [str(c) for c in pairing.exposures.columns]
            self.of_row |= {e: (pairing.name, (e,)) for e in names}
            self.of_row |= {against(names[0], m): (pairing.name, (names[0], m)) for m in names[1:]}

    def standing(self, exposure: str, outcome: str, stratum: str, scope: str, cohort: str) -> Standing:
        """Status, counts and note of one row."""
        key = (exposure, outcome, stratum, scope, cohort)
        if key not in self._made:
            self._made[key] = self._standing(exposure, outcome, stratum, scope, cohort)
        return self._made[key]

    def _rows(self, exposure: str, outcome: str) -> pd.DataFrame:
        """Support of a row: of one exposure, or of two that are compared."""
        if (exposure, outcome) in self._rows_made:
            return self._rows_made[exposure, outcome]
        pairing, exposures = self.of_row[exposure]
        parts = [self._support.get((pairing, outcome, e), self._none) for e in exposures]
        both = parts[0].copy()
        for part in parts[1:]:
            for column in ("reason", "ties"):
                both[column] = [
                    "; ".join(dict.fromkeys(t for t in texts if t))
                    for texts in zip(both[column], part[column], strict=True)
                ]
        self._rows_made[exposure, outcome] = both
        return both

    def _standing(self, exposure: str, outcome: str, stratum: str, scope: str, cohort: str) -> Standing:
        data = self.data
        table = self._rows(exposure, outcome)
        strata = data.strata if stratum == DIFFERENCE_MINUS else (stratum,)
        own = table[table["stratum"].isin(strata)]
        if scope == "cohort":
            return self._cohort(own[own["cohort"] == cohort], cohort)
        carrying = own[own["reason"] == ""].groupby("cohort")["stratum"].nunique()
        informing = [str(c) for c in carrying.index[carrying == len(strata)]]
        n, n_zero = _counts(own[own["cohort"].isin(informing)])
        if not informing:
            reasons = dict.fromkeys(
                f"{r.cohort!s}, {r.stratum!s}: {r.reason!s}" for r in own.itertuples() if r.reason
            )
            return Standing(*_counts(own), "not estimable", "; ".join(reasons))
        alone = ", ".join(informing)
        if scope == "new cohort":
            return self._new(n, n_zero, strata, alone, exposure)
        remarks = _remarks(own[own["cohort"].isin(informing)], by_cohort=True)
        # A cohort with the other stratum only lends its level: part of the pooled row is inferred.
        others = table[(table["reason"] == "") & ~table["cohort"].isin(informing) & (table["stratum"] != ALL)]
        lending = sorted(set(others["cohort"])) if stratum != ALL else []
        if lending:
            note = f"rests on {alone} for {stratum} tumours; {', '.join(lending)} enters by its other stratum"
            if stratum == DIFFERENCE_MINUS:
                note = f"the two strata are averaged over different cohorts: only {alone} has both"
            return Standing(n, n_zero, "borrowed", _joined(note, *remarks))
        lacking = [c for c in data.cohorts if c not in informing]
        return Standing(
            n, n_zero, "observed", _joined(f"rests on {alone} alone" if lacking else "", *remarks)
        )

    def _cohort(self, own: pd.DataFrame, cohort: str) -> Standing:
        n, n_zero = _counts(own)
        reasons = [
            f"{r.stratum!s}: {r.reason!s}" for r in own.itertuples() if r.reason and r.reason != NO_TUMOURS
        ]
        if reasons:
            return Standing(n, n_zero, "not estimable", "; ".join(reasons))
        absent = [str(r.stratum) for r in own.itertuples() if r.reason == NO_TUMOURS]
        if absent:
            note = f"{cohort} has no {absent[0]} tumours: taken from the other cohorts"
            return Standing(n, n_zero, "borrowed", note)
        return Standing(n, n_zero, "observed", _joined(*_remarks(own, by_cohort=False)))

    def _new(self, n: int, n_zero: int, strata: tuple[str, ...], alone: str, exposure: str) -> Standing:
        line = self.design.line(exposure, overall=strata == (ALL,) and len(self.data.strata) == 2)
        if line is None or len(line.cohorts) < 2:
            return Standing(n, n_zero, "prior-only", "one cohort: the spread between cohorts is the prior's")
        differs = len(strata) == 2 or strata[0] not in (self.data.reference, ALL)
        if differs and len(self.data.strata) == 2 and len(line.both_strata) < 2:
            note = f"the difference between strata is informed by {alone} alone: its spread is the prior's"
            return Standing(n, n_zero, "prior-only", note)
        return Standing(n, n_zero, "observed", "")


_KEPT: dict[str, tuple[weakref.ref[AnalysisSet], Behind]] = {}


def behind_of(data: AnalysisSet) -> Behind:
    """Return what stands behind the rows of an analysis set, made once for the tables that ask in turn."""
    kept = _KEPT.get("last")
    if kept is None or kept[0]() is not data:
        kept = _KEPT["last"] = (weakref.ref(data), Behind(data))
    return kept[1]


def _remarks(rows: pd.DataFrame, *, by_cohort: bool) -> list[str]:
    """Say what a reader should know of the groups behind a row: tumours without a value, ties of the exposure."""
    several = rows["stratum"].nunique() > 1
    found = []
    for r in rows.itertuples():
        named = [str(r.cohort)] if by_cohort else []
        if several or (by_cohort and r.stratum != ALL):
            named.append(str(r.stratum))
        place = ", ".join(named)
        text = _joined(str(r.undefined), str(r.ties))
        if text:
            found.append(f"{place}: {text}" if place else text)
    return found


def _joined(*texts: str) -> str:
    return "; ".join(t for t in texts if t)


def _counts(rows: pd.DataFrame) -> tuple[int, int]:
    return int(rows["n"].sum()), int(rows["n_zero"].sum())


def summarise_correlations(
    draws: Mapping[tuple[str, str], xr.DataArray],
    data: AnalysisSet,
    *,
    units: Mapping[str, str],
    method: str,
    interval: float,
    rope: Rope,
) -> Estimates:
    """Rows of every estimand; an exposure is not set against itself, nor the infiltrate against the M1/M2 ratio's NaN.

    Parameters
    ----------
    draws
        (estimand, scope) -> draws.
    data
        Analysis set.
    units
        Unit of each estimand.
    method
        What produced the draws.
    interval, rope
        As in `tabulate`.
    """
    behind = behind_of(data)

    def describe(estimand: str, scope: str, named: Mapping[str, str]) -> RowOf:
        exposure = named["exposure"]
        stands = behind.standing(exposure, named["outcome"], named["stratum"], scope, named.get("cohort", ""))
        return RowOf(
            outcome=named["outcome"],
            unit=units[estimand],
            standing=stands,
            without_draws=_WITHOUT if stands.status == "borrowed" else stands.note or "no cohort informs it",
            exposure=exposure,
            contrast="strength" if estimand == "strength_difference" else "rank correlation",
        )

    found = tabulate(draws, data, describe, method=method, interval=interval, rope=rope)
    table = found.table
    return Estimates(table[table["exposure"] != table["outcome"]].reset_index(drop=True))


# --- tables ---------------------------------------------------------------------------------------


def strength_of(rho: float) -> str:
    """Word for a correlation, by the seed study's bands."""
    return [word for word, start in STRENGTHS if abs(rho) >= start][-1]


def strength_table(draws: Mapping[tuple[str, str], xr.DataArray], data: AnalysisSet) -> pd.DataFrame:
    """Word for each correlation (posterior median, observed scale), and the probability of each band.

    Returns
    -------
    pandas.DataFrame
        ``exposure``, ``outcome``, ``stratum``, ``scope``, ``cohort``, ``status``, ``spearman``, ``strength``,
        ``probability_negligible``, ``probability_weak``, ``probability_moderate``, ``probability_strong``.
    """
    edges = [start for _, start in STRENGTHS] + [1.0 + 1e-9]
    behind, rows = behind_of(data), []
    for scope in ("pooled", "cohort"):
        array = draws["spearman", scope]
        labels = [str(d) for d in array.dims if d not in ("chain", "draw")]
        flat = array.stack(row=labels, create_index=True).transpose("chain", "draw", "row")
        values = flat.to_numpy().reshape(-1, flat.sizes["row"])
        for i, label in enumerate(flat.indexes["row"]):
            if np.isnan(values[0, i]):
                continue
            named = dict(zip(labels, map(str, label), strict=True))
            status = _status(behind, named, scope)
            if status == "not estimable":
                continue
            size = np.abs(values[:, i])
            shares = np.histogram(size, bins=edges)[0] / len(size)
            middle = float(np.median(values[:, i]))
            rows.append(
                {
                    "exposure": named["exposure"],
                    "outcome": named["outcome"],
                    "stratum": named["stratum"],
                    "scope": scope,
                    "cohort": named.get("cohort", ""),
                    "status": status,
                    "spearman": middle,
                    "strength": strength_of(middle),
                }
                | {f"probability_{w}": float(s) for (w, _), s in zip(STRENGTHS, shares, strict=True)}
            )
    return pd.DataFrame(rows)


def _status(behind: Behind, named: Mapping[str, str], scope: str) -> str:
    return behind.standing(
        named["exposure"], named["outcome"], named["stratum"], scope, named.get("cohort", "")
    ).status


def comparison_table(
    draws: Mapping[tuple[str, str], xr.DataArray], data: AnalysisSet, *, interval: float
) -> pd.DataFrame:
    """Is the HER2 measure the stronger one? |rho| of both measures, their difference, and P(HER2 measure stronger).

    Returns
    -------
    pandas.DataFrame
        ``outcome``, ``measure``, ``other``, ``stratum``, ``scope``, ``cohort``, ``status``, ``rho_measure``,
        ``rho_other`` (posterior medians), ``difference``, ``lower``, ``upper`` (of |rho|), ``probability_stronger``.
    """
    first, *further = (str(c) for c in pairings(data)[0].exposures.columns)
    tail = (1.0 - interval) / 2.0
    behind, rows = behind_of(data), []
    for scope in ("pooled", "cohort"):
        rho, gap = draws["spearman", scope], draws["strength_difference", scope]
        for other in further:
            one = gap.sel(exposure=against(first, other))
            labels = [str(d) for d in one.dims if d not in ("chain", "draw")]
            flat = one.stack(row=labels, create_index=True).transpose("chain", "draw", "row")
            values = flat.to_numpy().reshape(-1, flat.sizes["row"])
            for i, label in enumerate(flat.indexes["row"]):
                if np.isnan(values[0, i]):
                    continue
                named = dict(zip(labels, map(str, label), strict=True))
                status = _status(behind, named | {"exposure": against(first, other)}, scope)
                if status == "not estimable":
                    continue
                lower, middle, upper = np.quantile(values[:, i], [tail, 0.5, 1.0 - tail])
                rows.append(
                    {
                        "outcome": named["outcome"],
                        "measure": first,
                        "other": other,
                        "stratum": named["stratum"],
                        "scope": scope,
                        "cohort": named.get("cohort", ""),
                        "status": status,
                        "rho_measure": float(rho.sel(named | {"exposure": first}).median()),
                        "rho_other": float(rho.sel(named | {"exposure": other}).median()),
                        "difference": float(middle),
                        "lower": float(lower),
                        "upper": float(upper),
                        "probability_stronger": float((values[:, i] > 0).mean()),
                    }
                )
    return pd.DataFrame(rows)


def matrix_table(draws: Mapping[tuple[str, str], xr.DataArray], data: AnalysisSet) -> pd.DataFrame:
    """Correlation of every two of measures and outcomes, by HR stratum.

    A measure against an outcome is the pooled posterior median; two measures or two outcomes are described by the
    sample's Spearman correlation within cohorts, averaged over them as Fisher z with weights n - 3.

    Returns
    -------
    pandas.DataFrame
        ``stratum``, ``row``, ``column``, ``spearman``, ``n``, ``basis`` (posterior or sample), ``status``. ``n`` counts
        the tumours behind the number; it is empty where the status is not observed, because others enter as well.
    """
    made = pairings(data)
    exposures = [str(c) for c in made[0].exposures.columns]
    everything = pd.concat([made[0].exposures, made[0].outcomes], axis=1)
    names = [str(c) for c in everything.columns]
    of_infiltrate = [str(c) for c in data.infiltrate.columns]
    pooled = draws["spearman", "pooled"].median(("chain", "draw"))
    members = groups_of(data, everything.index)
    behind, rows = behind_of(data), []
    for stratum in data.strata:
        sample, n = _within_cohorts([everything.loc[members[c, stratum]] for c in data.cohorts])
        for i, one in enumerate(names):
            for j, other in enumerate(names[:i]):
                pair = {one, other}
                exposure = next((e for e in (*exposures, *of_infiltrate) if e in pair), None)
                value, basis, status = sample[i, j], "sample", "observed"
                behind_it: int | None = int(n[i, j])
                if exposure is not None and not pair <= set(exposures):
                    # The infiltrate is an outcome of the measures and an exposure of the cell types.
                    (outcome,) = pair - {exposure}
                    value = float(pooled.sel(exposure=exposure, outcome=outcome, stratum=stratum))
                    stands = behind.standing(exposure, outcome, stratum, "pooled", "")
                    basis, status, behind_it = "posterior", stands.status, stands.n
                if np.isnan(value):
                    status = "not estimable"
                shown = behind_it if status == "observed" else pd.NA
                rows.append((stratum, one, other, float(value), shown, basis, status))
    columns = ["stratum", "row", "column", "spearman", "n", "basis", "status"]
    return pd.DataFrame(rows, columns=columns).astype({"n": "Int64"})


def _within_cohorts(tables: list[pd.DataFrame]) -> tuple[np.ndarray, np.ndarray]:
    size = tables[0].shape[1]
    total, weights, n = np.zeros((size, size)), np.zeros((size, size)), np.zeros((size, size))
    for raw in tables:
        table = raw.rank()  # an infinite ratio is the highest value, not a missing one
        known = table.notna().to_numpy(float)
        both = known.T @ known
        rho = table.corr(method="spearman", min_periods=10).to_numpy()
        good = ~np.isnan(rho) & (both > 3)
        weight = np.where(good, both - 3.0, 0.0)
        total += weight * np.arctanh(np.clip(np.where(good, rho, 0.0), -0.9999, 0.9999))
        weights += weight
        n += np.where(good, both, 0.0)
    with np.errstate(invalid="ignore"):
        return np.tanh(total / np.where(weights > 0, weights, np.nan)), n


def correlation_heterogeneity(
    posterior: xr.Dataset, data: AnalysisSet, priors: Mapping[str, Prior], *, interval: float
) -> pd.DataFrame:
    """Spread of asinh(v) between cohorts and between outcomes, by exposure, beside the prior.

    asinh(v) is Fisher's z of the correlation in groups with one exposure; with several a given spread of it is a
    smaller spread of the correlation.

    Returns
    -------
    pandas.DataFrame
        ``exposure``, ``strata`` (by HR stratum, or all), ``term``, ``between_sd_point``, ``lower``, ``upper``,
        ``prior_median``, ``n_cohorts_informing``, ``note``, ``outcomes_sd_point``.
    """
    tail = (1.0 - interval) / 2.0
    design, rows = rank_design(data), []
    for term in design.terms:
        for line in (x for x in design.lines if x.label in term.lines):
            at = {f"{term.name}_line": line.label}
            informing = len(line.cohorts if term.prior == "correlation" else line.both_strata)
            lower = point = upper = float("nan")
            note = "two cohorts: one difference for each outcome informs it" if informing == 2 else ""
            if term.by_cohort:
                values = posterior[f"{term.name}_between_cohorts_sd"].sel(at).to_numpy().ravel()
                lower, point, upper = (float(q) for q in np.quantile(values, [tail, 0.5, 1.0 - tail]))
            else:
                note = "not in the model: fewer than two cohorts inform it"
            rows.append(
                (
                    line.exposure,
                    ALL if line.overall else "by HR stratum",
                    term.prior,
                    point,
                    lower,
                    upper,
                    float(priors[f"{term.prior}_between_cohorts_sd"].frozen().median()),
                    informing,
                    note,
                    float(posterior[f"{term.name}_between_outcomes_sd"].sel(at).median()),
                )
            )
    return pd.DataFrame(
        rows,
        columns=[
            "exposure",
            "strata",
            "term",
            "between_sd_point",
            "lower",
            "upper",
            "prior_median",
            "n_cohorts_informing",
            "note",
            "outcomes_sd_point",
        ],
    )


def scatter_tables(data: AnalysisSet, *, interval: float) -> dict[str, pd.DataFrame]:
    """Dots and straight lines of the total infiltrate against each measure, by HR stratum.

    Both axes are in SDs within the cohort, rounded to 0.01 and sorted by value: no names, no own units.

    Returns
    -------
    dict
        ``scatter`` (``exposure``, ``stratum``, ``x``, ``y``) and ``scatter_lines`` (``exposure``, ``stratum``, ``x``,
        ``y``, ``lower``, ``upper``: least squares with its confidence band).
    """
    measures = pairings(data)[0].exposures
    outcome = data.infiltrate.columns[0]
    known = data.infiltrate[outcome].dropna().astype(float)
    cohort = data.tumours["cohort"].loc[known.index]
    y = _in_sds(known, cohort)
    dots, lines = [], []
    for exposure in measures.columns:
        x = _in_sds(measures[exposure].loc[known.index], cohort)
        for stratum in data.strata:
            index = known.index[(data.tumours["hr"].loc[known.index] == stratum).to_numpy()]
            frame = pd.DataFrame({"x": x.loc[index].round(2), "y": y.loc[index].round(2)}).sort_values(
                ["x", "y"]
            )
            dots.append(frame.assign(exposure=exposure, stratum=stratum))
            if len(index) >= 10:
                lines.append(
                    _line(x.loc[index], y.loc[index], interval).assign(exposure=exposure, stratum=stratum)
                )
    columns = ["exposure", "stratum", "x", "y"]
    return {
        "scatter": pd.concat(dots, ignore_index=True)[columns],
        "scatter_lines": pd.concat(lines, ignore_index=True)[[*columns, "lower", "upper"]]
        if lines
        else pd.DataFrame(columns=[*columns, "lower", "upper"]),
    }


def _in_sds(values: pd.Series, cohort: pd.Series) -> pd.Series:
    grouped = values.groupby(cohort)
    return (values - grouped.transform("mean")) / grouped.transform("std")


def _line(x: pd.Series, y: pd.Series, interval: float) -> pd.DataFrame:
    n = len(x)
    fit = stats.linregress(x, y)
    at = np.linspace(float(x.min()), float(x.max()), 41)
    residual = y - fit.intercept - fit.slope * x
    sd = float(np.sqrt((residual**2).sum() / (n - 2)))
    half = sd * np.sqrt(1.0 / n + (at - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum())
    reach = stats.t.isf((1.0 - interval) / 2.0, n - 2) * half
    middle = fit.intercept + fit.slope * at
    return pd.DataFrame({"x": at, "y": middle, "lower": middle - reach, "upper": middle + reach})


# --- checks ---------------------------------------------------------------------------------------


def correlation_prior_checks(graph: pm.Model, data: AnalysisSet, seed: int) -> pd.DataFrame:
    """Numeric gates on the correlations that the priors imply, drawn from the graph itself.

    The hierarchy is on asinh(v). What that says of a correlation depends on how the measures of a group are correlated,
    so asinh(v) of every group, from all terms, is turned into correlations with the R of the group's sample.

    Returns
    -------
    pandas.DataFrame
        ``check``, ``value``, ``lower``, ``upper`` (the gate), ``passed``.
    """
    rows: list[tuple[str, float, float, float]] = []
    design = rank_design(data)
    drawn = _prior_draws(graph, design, seed)
    sample_r = as_correlation(design.half @ design.half)
    rho = correlations(np.sum(list(drawn.values()), axis=0), sample_r)
    cells = [(g, m) for g, has in enumerate(design.exposures) for m in range(len(has))]
    sizes = [np.abs(rho[:, g, m][:, design.modelled[g]]) for g, m in cells]
    rows += [
        ("prior probability of a correlation beyond 0.8, highest", _extreme(sizes, 0.8, max), 0.0, 0.15),
        ("prior probability of a correlation beyond 0.5, lowest", _extreme(sizes, 0.5, min), 0.01, 1.0),
    ]
    reach = np.array([np.quantile(size, 0.95) for size in sizes])
    for k, of in ((int(reach.argmin()), "narrowest"), (int(reach.argmax()), "widest")):
        g, m = cells[k]
        where = f"{design.exposures[g][m]}, {design.groups[g].cohort}, {design.groups[g].stratum}"
        rows.append(
            (f"95 % of prior correlations lie within +- this, {of} ({where})", float(reach[k]), 0.3, 0.95)
        )
    seen = correlations(design.estimate, sample_r)
    inside = []
    for g, m in cells:
        low, high = np.quantile(rho[:, g, m], [0.005, 0.995], axis=0)
        here = design.variance[g, m] < UNINFORMED_VARIANCE
        inside += list(((seen[g, m] >= low) & (seen[g, m] <= high))[here])
    rows.append(
        (
            "correlations in the sample: part within the prior's central 99 %",
            float(np.mean(inside)),
            0.95,
            1.0,
        )
    )
    if "difference" in drawn:
        apart = rho - correlations(drawn["correlation"], sample_r)
        shares = [
            float((np.abs(apart[:, g, m][:, design.modelled[g]]) > 0.8).mean())
            for g, m in cells
            if design.groups[g].stratum not in (data.reference, ALL)
        ]
        rows.append(("prior probability of HR strata more than 0.8 apart, highest", max(shares), 0.0, 0.05))
    table = pd.DataFrame(rows, columns=["check", "value", "lower", "upper"])
    table["passed"] = table["value"].between(table["lower"], table["upper"])
    return table


def _extreme(sizes: list[np.ndarray], beyond: float, pick: Callable[[list[float]], float]) -> float:
    """Extreme, over groups and measures, of the share of |rho| beyond a value."""
    return pick([float((size > beyond).mean()) for size in sizes])


def _prior_draws(graph: pm.Model, design: RankDesign, seed: int) -> dict[str, np.ndarray]:
    """Prior draws of asinh(v), draw x group x exposure x outcome, by what they are: correlation or difference."""
    wanted = [f"{t.name}_by_cohort" if t.by_cohort else t.name for t in design.terms]
    drawn = quietly(lambda: pm.draw([graph[n] for n in wanted], draws=_PRIOR_DRAWS, random_seed=seed))
    found: dict[str, np.ndarray] = {}
    for term, values in zip(design.terms, map(np.asarray, drawn), strict=True):
        by_cohort = values if term.by_cohort else np.repeat(values[:, None], len(design.cohorts), axis=1)
        flat = by_cohort.reshape(len(values), -1, len(design.outcomes))
        part = (term.select @ flat).reshape(len(values), len(design.groups), -1, len(design.outcomes))
        found[term.prior] = found[term.prior] + part if term.prior in found else part
    return found


def correlation_reader_scale(name: str, prior: Prior, interval: float, log_scale: Prior) -> str:
    """Say what a prior means as correlations.

    Parameters
    ----------
    name, prior, interval
        The prior, and the probability of its interval.
    log_scale
        The prior of the measures' log SDs, which the correlation of two measures depends on as well.
    """
    low, high = prior.interval(interval)
    percent = f"{interval:.0%}"
    if name.endswith("log_scale"):
        return f"{percent}: SD of the scores {np.exp(low):.2g} to {np.exp(high):.2g}"
    if name == "measure_association":
        parts = []
        for r in (0.0, 0.5, 0.9):
            lower, upper = implied_association(r, prior, log_scale, interval)
            parts.append(f"{lower:.2f} to {upper:.2f} where the sample's is {r:g}")
        return f"{percent}: correlation of two measures {', '.join(parts)}"
    if name.endswith("_sd"):
        return (
            f"{percent}: 1 SD moves a correlation of 0 by {np.tanh(low):.2g} to {np.tanh(high):.2g} (one measure; less "
            "with several)"
        )
    what = "difference from 0" if name.startswith("difference") else "correlation"
    return (
        f"{percent}: {what} {np.tanh(low):.2g} to {np.tanh(high):.2g} with one measure, nearer to 0 with several "
        "that are correlated (see the prior checks)"
    )


def implied_association(
    r: float, association: Prior, log_scale: Prior, interval: float
) -> tuple[float, float]:
    """Central interval of the correlation of two measures whose sample correlation is `r`, under the priors of B.

    R is that of S^(1/2) B B' S^(1/2), by 100,000 draws with a fixed seed.
    """
    rng = np.random.default_rng(0)
    b = np.zeros((100_000, 2, 2))
    b[:, 0, 0], b[:, 1, 1] = np.exp(log_scale.sample(rng, (2, len(b))))
    b[:, 1, 0] = association.sample(rng, (len(b),))
    values, vectors = np.linalg.eigh(np.array([[1.0, r], [r, 1.0]]))
    loading = (vectors * np.sqrt(values)) @ vectors.T @ b
    implied = as_correlation(loading @ np.swapaxes(loading, -1, -2))[:, 0, 1]
    tail = (1.0 - interval) / 2.0
    low, high = np.quantile(implied, [tail, 1.0 - tail])
    return float(low), float(high)


def split_half_checks(
    graph: pm.Model, posterior: xr.Dataset, data: AnalysisSet, seed: int, interval: float = 0.95
) -> pd.DataFrame:
    """Replicate ranks, and compare the correlation with the HER2 measure below and above the measure's median.

    One normal correlation for all tumours implies what it is in either half: a bell-shaped association shows as
    halves that differ.

    Parameters
    ----------
    graph, posterior, data
        Model, its draws, its analysis set.
    seed
        Seed of the replications.
    interval
        Probability of the equal-tailed predictive interval.

    Returns
    -------
    pandas.DataFrame
        ``cell_type``, ``cohort``, ``hr``, ``statistic``, ``observed``, ``predicted``, ``lower``, ``upper``, ``inside``.
    """
    rng = np.random.default_rng([seed, 2])
    pairing, design = pairings(data)[0], rank_design(data)
    members = groups_of(data, pairing.exposures.index)
    first = str(pairing.exposures.columns[0])
    fisher = FisherDraws(posterior, design, data, None, rng)
    picked = np.linspace(0, posterior.sizes["chain"] * posterior.sizes["draw"] - 1, _REPLICATIONS).astype(int)
    covariances, log_scale = fisher.covariance()[picked], fisher.flat("outcome_log_scale")[picked]
    rows: list[tuple[Any, ...]] = []
    for g, group in enumerate(design.groups):
        names = list(design.exposures[g])
        if group.pairing != pairing.name or group.stratum == ALL or first not in names:
            continue
        index = members[group.cohort, group.stratum]
        values = pairing.exposures.loc[index, names].to_numpy(float)
        covariance = covariances[:, g, : len(names), : len(names)]
        sd = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
        scaled = sd[:, :, None] * np.sinh(fisher.of(names, group.stratum, cohort=group.cohort)[picked])
        slope = np.linalg.solve(covariance, scaled)  # of y* / s on z
        explained = (scaled * slope).sum(axis=1)
        for c, outcome in enumerate(design.outcomes):
            if not design.modelled[g, c]:
                continue
            y = pairing.outcomes.loc[index, outcome].to_numpy(float)
            known = ~np.isnan(y)
            z, y = normal_scores(values[known]), y[known]
            made = slope[:, :, c] @ z.T + rng.standard_normal((len(picked), len(z)))
            if design.zero_share[g, c] > 0:
                bound = design.threshold[g, c] * np.sqrt(1.0 + explained[:, c]) / np.exp(log_scale[:, g, c])
                made = np.maximum(made, bound[:, None])
            upper_half = z[:, 0] > np.median(z[:, 0])
            for name, half in (("below", ~upper_half), ("above", upper_half)):
                seen = _spearman_rows(z[half, 0], y[None, half])[0]
                if np.isnan(seen):
                    continue
                low, middle, high = np.nanquantile(
                    _spearman_rows(z[half, 0], made[:, half]), [(1 - interval) / 2, 0.5, (1 + interval) / 2]
                )
                statistic = f"Spearman {name} the median of the HER2 measure"
                rows.append((outcome, group.cohort, group.stratum, statistic, float(seen), middle, low, high))
    columns = ["cell_type", "cohort", "hr", "statistic", "observed", "predicted", "lower", "upper"]
    table = pd.DataFrame(rows, columns=columns)
    table["inside"] = table["observed"].between(table["lower"], table["upper"])
    return table


def _spearman_rows(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's rho of `x` with each row of `y`; NaN where a row is constant."""
    a = rankdata(x)
    b = rankdata(y, axis=1)
    a, b = a - a.mean(), b - b.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((b @ a) / np.sqrt((a @ a) * (b * b).sum(axis=1)))
