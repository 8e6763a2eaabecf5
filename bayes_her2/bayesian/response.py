"""Response to treatment by HER2 level: design of the rows, draws of what is reported, statuses, checks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import arviz as az
import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr
from scipy.special import expit

from bayes_her2.bayesian.coordinates import UNINFORMED_VARIANCE, LikelihoodInformed
from bayes_her2.bayesian.predictive import (
    Gate,
    gate_table,
    predictive_row,
    predictive_table,
    prior_draws,
    replicated,
)
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.summary import INTERVAL_KIND, RowOf, Standing
from bayes_her2.data import (
    DIFFERENCE,
    HER2_LEVELS,
    HER2_LOW,
    HER2_ZERO,
    HR_NEGATIVE,
    HR_POSITIVE,
    MIN_STRATUM,
    STRATA,
    ResponseData,
)
from bayes_her2.estimates import ALL, Estimates

SLOPES = {HR_POSITIVE: "slope_hr_positive", HR_NEGATIVE: "slope_hr_negative", ALL: "slope_all"}
"""HR stratum -> name of its log odds ratio, HER2-low over HER2-0."""

HALVES = {HER2_LOW: 0.5, HER2_ZERO: -0.5}
"""HER2 level -> what multiplies the log odds ratio: neither level is the reference."""

NEXT_PATIENTS = 50
CONTRAST = "HER2-low over HER2-0"
DIFFERENCE_CONTRAST = "HER2-low minus HER2-0"
UNITS = {
    "response_odds": "odds ratio",
    "ratio_of_odds_ratios": "ratio of odds ratios",
    "response_difference": "difference in the probability of response",
    "treatment_difference": "difference in the probability of response",
    "responders_of_next_50": f"responders among the next {NEXT_PATIENTS} patients",
    "number_needed": "patients",
}
LARGEST_EXPECTED_RATIO = 10.0
MIN_ARMS = 4
"""Arms (centres) with both levels, from which on their mean and spread are taken from the data."""


@dataclass(frozen=True)
class ResponseDesign:
    """Rows in the order of the data, with the codes that the graph needs.

    Attributes
    ----------
    outcome_idx, stratum_idx, arm_idx
        Codes of outcome, HR stratum and arm, by row.
    half
        1/2 for HER2-low and -1/2 for HER2-0: neither level is the reference.
    treated
        1/2 in the treated arm and -1/2 in the control arm (0 without a control arm).
    n, events
        Patients and responders.
    covariates
        Row x covariate.
    """

    outcome_idx: np.ndarray
    stratum_idx: np.ndarray
    arm_idx: np.ndarray
    half: np.ndarray
    treated: np.ndarray
    n: np.ndarray
    events: np.ndarray
    covariates: np.ndarray


def response_design(data: ResponseData) -> ResponseDesign:
    """Code the rows of a data set."""
    rows, labels = data.rows, data.coords
    code = {dim: {name: i for i, name in enumerate(labels[dim])} for dim in ("outcome", "stratum", "arm")}
    return ResponseDesign(
        outcome_idx=rows["outcome"].map(code["outcome"]).to_numpy(),
        stratum_idx=rows["hr"].map(code["stratum"]).to_numpy(),
        arm_idx=rows["arm"].map(code["arm"]).to_numpy(),
        half=rows["her2"].map(HALVES).to_numpy(dtype=float),
        treated=_treated(data, rows["arm"]),
        n=rows["n"].to_numpy(),
        events=rows["events"].to_numpy(),
        covariates=data.covariates.to_numpy(dtype=float).reshape(len(rows), -1),
    )


def _treated(data: ResponseData, arm: pd.Series) -> np.ndarray:
    """1/2 in the treated arm, -1/2 in the control arm, 0 without a control arm."""
    return arm.map({data.treated: 0.5, data.control: -0.5} if data.control else lambda _: 0.0).to_numpy(float)


def arm_coordinates(data: ResponseData) -> tuple[LikelihoodInformed, LikelihoodInformed]:
    """Likelihood-informed coordinates of the intercepts and slopes of every arm, arm x stratum x outcome.

    From the empirical log odds, half a patient added to each cell; they choose coordinates and nothing else. An arm
    without patients of a level tells nothing about its slope, and keeps the non-centred form.
    """
    labels = data.coords
    shape = tuple(len(labels[dim]) for dim in ("arm", "stratum", "outcome"))
    level, slope = np.zeros((2, *shape))
    level_variance, slope_variance = np.full((2, *shape), UNINFORMED_VARIANCE)
    for a, arm in enumerate(labels["arm"]):
        for s, stratum in enumerate(labels["stratum"]):
            for o, outcome in enumerate(labels["outcome"]):
                cells = [data.count(outcome, her2, hr=stratum, arm=arm) for her2 in HER2_LEVELS]
                if all(n > 0 for n, _ in cells):
                    odds = [math.log((r + 0.5) / (n - r + 0.5)) for n, r in cells]
                    variance = [1 / (r + 0.5) + 1 / (n - r + 0.5) for n, r in cells]
                    level[a, s, o], level_variance[a, s, o] = sum(odds) / 2, sum(variance) / 4
                    slope[a, s, o], slope_variance[a, s, o] = odds[0] - odds[1], sum(variance)
    return LikelihoodInformed(level, level_variance), LikelihoodInformed(slope, slope_variance)


def _effects(posterior: xr.Dataset, data: ResponseData) -> tuple[xr.DataArray, xr.DataArray]:
    """Give intercepts and log odds ratios by arm, stratum and outcome, whatever the graph shares between them."""
    labels = {dim: data.coords[dim] for dim in ("arm", "stratum")}
    if data.control:
        sign = xr.DataArray(
            _treated(data, pd.Series(labels["arm"])), dims="arm", coords={"arm": labels["arm"]}
        )
        slope = posterior[SLOPES[ALL]] + sign * posterior["interaction"]
        return posterior["intercept"], slope.expand_dims(stratum=labels["stratum"])
    if data.arms_are_random:
        return posterior["intercept_by_arm"], posterior["slope_by_arm"]
    slopes = xr.concat([posterior[SLOPES[s]] for s in labels["stratum"]], dim="stratum")
    slopes = slopes.assign_coords(stratum=labels["stratum"])
    return posterior["intercept"].expand_dims(arm=labels["arm"]), slopes.expand_dims(arm=labels["arm"])


def _probabilities(
    posterior: xr.Dataset, data: ResponseData, of: pd.Series[bool], *, half: float, arm: str = ""
) -> xr.DataArray:
    """Probability of response averaged over the patients of some rows, all with one HER2 level (and in one arm)."""
    rows = data.rows[of]
    eta = _log_odds(posterior, data, of, half=half, arm=arm)
    weight = xr.DataArray(rows["n"].to_numpy(dtype=float), dims="row")
    averaged = (xr.apply_ufunc(expit, eta) * weight).sum("row") / weight.sum()
    plain: xr.DataArray = averaged.transpose("chain", "draw")
    return plain


def _log_odds(
    posterior: xr.Dataset,
    data: ResponseData,
    of: pd.Series[bool],
    *,
    half: float | np.ndarray,
    arm: str = "",
) -> xr.DataArray:
    """Log odds of response of some rows, at a HER2 level (one, or each row's own) and in an arm (its own if '')."""
    intercept, slope = _effects(posterior, data)
    rows = data.rows[of]
    level = xr.DataArray(np.broadcast_to(half, len(rows)), dims="row")
    place = {
        "outcome": xr.DataArray(rows["outcome"].to_numpy(), dims="row"),
        "stratum": xr.DataArray(rows["hr"].to_numpy(), dims="row"),
        "arm": xr.DataArray(np.full(len(rows), arm) if arm else rows["arm"].to_numpy(), dims="row"),
    }
    eta = intercept.sel(place) + level * slope.sel(place)
    if len(data.covariates.columns):
        x = xr.DataArray(data.covariates[of].to_numpy(dtype=float), dims=("row", "covariate"))
        eta = eta + (
            posterior["covariate_effect"].drop_vars("covariate").sel(outcome=place["outcome"]) * x
        ).sum("covariate")
    plain: xr.DataArray = eta.drop_vars(["outcome", "stratum", "arm"], errors="ignore")
    return plain


def response_replicated(draw: xr.Dataset, data: ResponseData, rng: np.random.Generator) -> ResponseData:
    """Return the same patients with responses from one draw of the model; see `CalibratedModel.replicated`."""
    half = data.rows["her2"].map(HALVES).to_numpy(dtype=float)
    every = pd.Series(True, index=data.rows.index)
    eta = _log_odds(draw, data, every, half=half).isel(chain=0, draw=0).transpose("row").to_numpy()
    return replace(data, rows=data.rows.assign(events=rng.binomial(data.rows["n"].to_numpy(), expit(eta))))


def response_draws(
    posterior: xr.Dataset, data: ResponseData, priors: Mapping[str, Prior], rng: np.random.Generator
) -> dict[tuple[str, str], xr.DataArray]:
    """Draws of everything that is reported, by (estimand, scope); NaN where there are no patients of both levels."""
    _, slope = _effects(posterior, data)
    order = ("chain", "draw")
    draws: dict[tuple[str, str], xr.DataArray] = {}
    by_arm = slope.rename(arm="cohort")
    if data.control:
        of_arm = by_arm.isel(stratum=0, drop=True).expand_dims(stratum=[ALL])
        draws["response_odds", "cohort"] = of_arm.where(_of_both_levels(data))
        both = [
            all(data.count(outcome, level, arm=arm)[0] for arm in data.arms for level in HER2_LEVELS)
            for outcome in data.outcomes
        ]
        known = xr.DataArray(both, dims="outcome", coords={"outcome": list(data.outcomes)})
        draws["ratio_of_odds_ratios", "pooled"] = (
            posterior["interaction"].where(known).expand_dims(stratum=[ALL])
        )
        draws["treatment_difference", "pooled"] = _treatment_differences(posterior, data)
        draws |= _averages(posterior, data, rng, groups=[(ALL, arm) for arm in data.arms], scope="cohort")
    else:
        common = xr.concat([posterior[SLOPES[s]] for s in data.strata], dim="stratum")
        common = common.assign_coords(stratum=list(data.strata))
        draws["response_odds", "pooled"] = _with_difference(_informed(common, data))
        if data.arms_are_random:
            draws["response_odds", "cohort"] = _with_difference(_informed(by_arm, data))
            offset = xr.DataArray(rng.normal(size=common.shape), dims=common.dims)
            new = common + posterior["slope_between_arms_sd"] * offset.assign_coords(common.coords)
            draws["response_odds", "new cohort"] = _with_difference(_informed(new, data))
        draws |= _averages(posterior, data, rng, groups=[(s, "") for s in data.strata], scope="pooled")
    return {key: array.transpose(*order, ...) for key, array in draws.items()}


def _informed(values: xr.DataArray, data: ResponseData) -> xr.DataArray:
    """NaN where a stratum (of an arm) has no patients of one of the levels, so that nothing is compared."""
    arms = [str(a) for a in values["cohort"].to_numpy()] if "cohort" in values.dims else [""]
    has = xr.DataArray(
        [
            [
                [all(data.count(o, her2, hr=s, arm=a)[0] for her2 in HER2_LEVELS) for o in data.outcomes]
                for s in data.strata
            ]
            for a in arms
        ],
        dims=("cohort", "stratum", "outcome"),
        coords={"cohort": arms, "stratum": list(data.strata), "outcome": list(data.outcomes)},
    )
    if "cohort" not in values.dims:
        has = has.isel(cohort=0, drop=True)
    return values.where(has)


def _with_difference(values: xr.DataArray) -> xr.DataArray:
    """Add HR- over HR+ where both strata are there."""
    if not set(STRATA) <= set(values["stratum"].to_numpy()):
        return values
    ratio = values.sel(stratum=HR_NEGATIVE) - values.sel(stratum=HR_POSITIVE)
    return xr.concat([values, ratio.assign_coords(stratum=DIFFERENCE)], dim="stratum")


def _averages(
    posterior: xr.Dataset,
    data: ResponseData,
    rng: np.random.Generator,
    *,
    groups: list[tuple[str, str]],
    scope: str,
) -> dict[tuple[str, str], xr.DataArray]:
    """Risk differences standardised to the patients of a stratum or arm; responders predicted for a level's own."""
    differences: dict[tuple[str, ...], np.ndarray] = {}
    responders: dict[tuple[str, ...], np.ndarray] = {}
    size = (posterior.sizes["chain"], posterior.sizes["draw"])
    for outcome in data.outcomes:
        for stratum, arm in groups:
            of = _rows_of(data, outcome, stratum, arm)
            both = all(data.count(outcome, level, hr=stratum, arm=arm)[0] for level in HER2_LEVELS)
            key = (outcome, stratum, arm)
            if both:
                p = {level: _probabilities(posterior, data, of, half=half) for level, half in HALVES.items()}
                differences[key] = (p[HER2_LOW] - p[HER2_ZERO]).to_numpy()
                # The next patients of a level are like its own: the levels may differ in HR status and covariates.
                own = {
                    level: _probabilities(posterior, data, of & (data.rows["her2"] == level), half=half)
                    for level, half in HALVES.items()
                }
            else:
                differences[key] = np.full(size, np.nan)
            for level in HER2_LEVELS:
                drawn = np.full(size, np.nan)
                if both:
                    drawn = rng.binomial(NEXT_PATIENTS, own[level].to_numpy()).astype(float)
                responders[(*key, level)] = drawn
    made = {
        ("response_difference", scope): _labelled(differences, posterior, ("outcome", "stratum", "cohort")),
        ("responders_of_next_50", scope): _labelled(
            responders, posterior, ("outcome", "stratum", "cohort", "her2")
        ),
    }
    return {k: v if scope == "cohort" else v.isel(cohort=0, drop=True) for k, v in made.items()}


def _treatment_differences(posterior: xr.Dataset, data: ResponseData) -> xr.DataArray:
    """Say what the treated arm adds in each HER2 level, averaged over the patients of that level in both arms."""
    found: dict[tuple[str, ...], np.ndarray] = {}
    for outcome in data.outcomes:
        for level, half in HALVES.items():
            if not_in_an_arm(data, outcome, level):
                found[outcome, ALL, level] = np.full(
                    (posterior.sizes["chain"], posterior.sizes["draw"]), np.nan
                )
                continue
            of = _rows_of(data, outcome, ALL, "") & (data.rows["her2"] == level)
            p = [
                _probabilities(posterior, data, of, half=half, arm=arm)
                for arm in (data.treated, data.control)
            ]
            found[outcome, ALL, level] = (p[0] - p[1]).to_numpy()
    return _labelled(found, posterior, ("outcome", "stratum", "her2"))


def _of_both_levels(data: ResponseData) -> xr.DataArray:
    """Whether an arm has patients of both levels, arm x outcome."""
    return xr.DataArray(
        [
            [all(data.count(o, level, arm=arm)[0] for level in HER2_LEVELS) for o in data.outcomes]
            for arm in data.arms
        ],
        dims=("cohort", "outcome"),
        coords={"cohort": list(data.arms), "outcome": list(data.outcomes)},
    )


def not_in_an_arm(data: ResponseData, outcome: str, level: str) -> str:
    """Say which patients an arm lacks, so that the arms cannot be compared in those of a HER2 level; '' if none.

    Treated minus control is averaged over all patients of the level: the level has to be in both arms, and so has every
    HR stratum that it has patients of.
    """
    without = [
        f"no {level} patients in {arm}" for arm in data.arms if not data.count(outcome, level, arm=arm)[0]
    ]
    if without:
        return " and ".join(without)
    lacking = [
        f"no {stratum} patients in {arm}"
        for stratum in data.strata
        if stratum in STRATA and data.count(outcome, level, hr=stratum)[0]
        for arm in data.arms
        if not any(data.count(outcome, x, hr=stratum, arm=arm)[0] for x in HER2_LEVELS)
    ]
    return " and ".join(lacking)


def _rows_of(data: ResponseData, outcome: str, stratum: str, arm: str) -> pd.Series[bool]:
    rows = data.rows
    keep = rows["outcome"] == outcome
    if stratum in STRATA:
        keep &= rows["hr"] == stratum
    return keep & (rows["arm"] == arm) if arm else keep


def _labelled(
    values: Mapping[tuple[str, ...], np.ndarray], posterior: xr.Dataset, dims: tuple[str, ...]
) -> xr.DataArray:
    """Full grid of labels from (label, ...) -> chain x draw."""
    names = [list(dict.fromkeys(key[i] for key in values)) for i in range(len(dims))]
    shape = (posterior.sizes["chain"], posterior.sizes["draw"], *map(len, names))
    grid = np.full(shape, np.nan)
    for key, drawn in values.items():
        place: tuple[Any, ...] = (..., *(names[i].index(k) for i, k in enumerate(key)))
        grid[place] = drawn
    coords = {"chain": posterior["chain"], "draw": posterior["draw"], **dict(zip(dims, names, strict=True))}
    return xr.DataArray(grid, dims=("chain", "draw", *dims), coords=coords)


@dataclass(frozen=True)
class Rows:
    """What a row of estimates says besides its numbers."""

    data: ResponseData

    def describe(self, estimand: str, scope: str, named: Mapping[str, str]) -> RowOf:
        """Patients behind a row, its words, and whether the data speak to it."""
        data, outcome = self.data, named["outcome"]
        stratum, arm = named.get("stratum", ALL), named.get("cohort", "")
        level = named.get("her2", "")
        standing = self._standing(
            estimand, outcome, stratum, arm, scope, level if estimand == "treatment_difference" else ""
        )
        contrast = DIFFERENCE_CONTRAST if estimand == "response_difference" else CONTRAST
        if estimand == "ratio_of_odds_ratios":
            contrast = f"{data.treated} over {data.control}, {CONTRAST}"
        elif estimand == "treatment_difference":
            contrast = f"{data.treated} minus {data.control}, {level}"
        elif estimand == "responders_of_next_50":
            contrast = level
        n, events = (
            sum(pair)
            for pair in zip(*(data.count(outcome, x, hr=stratum, arm=arm) for x in HER2_LEVELS), strict=True)
        )
        share = events / n if n else math.nan
        return RowOf(
            outcome=outcome,
            unit=UNITS[estimand],
            standing=standing,
            without_draws=standing.note,
            contrast=contrast,
            outcome_sd=math.sqrt(share * (1 - share)),
        )

    def _standing(
        self, estimand: str, outcome: str, stratum: str, arm: str, scope: str, level: str
    ) -> Standing:
        data = self.data
        strata = STRATA if stratum == DIFFERENCE else (stratum,)
        levels = (level,) if level else HER2_LEVELS
        if estimand == "ratio_of_odds_ratios":
            return self._of_arms(outcome)
        if level and (lacking := not_in_an_arm(data, outcome, level)):
            return Standing(data.count(outcome, level)[0], 0, "not estimable", lacking)
        sizes = {(s, x): data.count(outcome, x, hr=s, arm=arm)[0] for s in strata for x in levels}
        n = sum(sizes.values())
        none = [
            f"no {x} patients{f' in {s}' if s != ALL else ''}" for (s, x), size in sizes.items() if not size
        ]
        where = f" in {arm}" if arm else ""
        if none:
            return Standing(n, 0, "not estimable", f"{' and '.join(none)}{where}")
        few = [
            f"{size} {x} patients{f' in {s}' if s != ALL else ''}"
            for (s, x), size in sizes.items()
            if size < MIN_STRATUM
        ]
        note = f"few patients: {', '.join(few)}{where}" if few else ""
        # The mean over arms, and what a new one would show; risk differences average over the patients at hand.
        if data.arms_are_random and not arm and estimand == "response_odds":
            own = [a for a in data.arms if self._has_both_levels(outcome, strata, a)]
            if len(own) < MIN_ARMS:
                number = f"{len(own)} {data.arms_are}{'' if len(own) == 1 else 's'} with both levels"
                few_arms = f"{number}, fewer than {MIN_ARMS}: the spread between {data.arms_are}s is mostly the prior's"
                note = "; ".join(text for text in (few_arms, note) if text)
                return Standing(n, 0, "prior-only" if scope == "new cohort" else "borrowed", note)
        if estimand == "response_odds" and (flat := self._flat(outcome, strata, arm)):
            return Standing(n, 0, "prior-only", flat)
        if arm and not data.control and few:
            return Standing(n, 0, "borrowed", f"{note}; leans on the other {data.arms_are}s")
        return Standing(n, 0, "observed", note)

    def _of_arms(self, outcome: str) -> Standing:
        """Standing of the ratio of the arms' odds ratios: both levels in both arms, and somebody of them differs."""
        data = self.data
        sizes = {(arm, x): data.count(outcome, x, arm=arm)[0] for arm in data.arms for x in HER2_LEVELS}
        n = sum(sizes.values())
        none = [f"no {x} patients in {arm}" for (arm, x), size in sizes.items() if not size]
        if none:
            return Standing(n, 0, "not estimable", " and ".join(none))
        flat = [text for arm in data.arms if (text := self._flat(outcome, (ALL,), arm))]
        if flat:
            return Standing(n, 0, "prior-only", "; ".join(flat))
        few = [f"{size} {x} patients in {arm}" for (arm, x), size in sizes.items() if size < MIN_STRATUM]
        of_stratum = [
            f"{size} {x} patients of {s} in {arm}"
            for arm in data.arms
            for s in data.strata
            if s in STRATA
            for x in HER2_LEVELS
            if 0 < (size := data.count(outcome, x, hr=s, arm=arm)[0]) < MIN_STRATUM
        ]
        found = few or of_stratum
        return Standing(n, 0, "observed", f"few patients: {', '.join(found)}" if found else "")

    def _flat(self, outcome: str, strata: Sequence[str], arm: str) -> str:
        """Say where nobody, or everybody, responded at both levels: such a table says nothing about an odds ratio."""
        said = []
        for s in strata:
            counts = [self.data.count(outcome, x, hr=s, arm=arm) for x in HER2_LEVELS]
            where = f"{f' of {s}' if s != ALL else ''}{f' in {arm}' if arm else ''}"
            if all(n and events == 0 for n, events in counts):
                said.append(f"nobody{where} responded, at either level: the odds ratio is the prior's")
            elif all(n and events == n for n, events in counts):
                said.append(f"everybody{where} responded, at both levels: the odds ratio is the prior's")
        return "; ".join(said)

    def _has_both_levels(self, outcome: str, strata: Sequence[str], arm: str) -> bool:
        return all(self.data.count(outcome, level, hr=s, arm=arm)[0] for s in strata for level in HER2_LEVELS)


def numbers_needed(estimates: Estimates, interval: float) -> list[dict[str, object]]:
    """Rows of the number needed, one for each risk difference of `estimates`.

    1 / |risk difference| with the reciprocals of its limits, where its interval excludes 0. Where it does not, the
    reciprocals of the limits do not bracket the number needed, which runs through infinity: the row has no number,
    and says so in words (Altman 1998, doi 10.1136/bmj.317.7168.1309).
    """
    found = []
    table = estimates.table
    for row in table[table["estimand"] == "response_difference"].to_dict("records"):
        record = {str(k): v for k, v in row.items() if k not in ("pd", "p_in_rope", "lfsr", "s_value")}
        low, point, high = (float(row[c]) for c in ("lower", "point", "upper"))
        number = needed(low, point, high, str(row["status"]))
        number["note"] = "; ".join(str(text) for text in (number.get("note"), row["note"]) if text)
        record |= {"estimand": "number_needed", "unit": UNITS["number_needed"]} | number
        record["interval_kind"], record["interval_prob"] = INTERVAL_KIND, interval
        found.append(record)
    return found


def needed(low: float, point: float, high: float, status: str = "observed") -> dict[str, object]:
    """Give the number needed from a risk difference and its limits: numbers where they exclude 0, else words."""
    nothing: dict[str, object] = {c: math.nan for c in ("lower", "point", "upper")} | {
        "status": "not estimable"
    }
    if status == "not estimable" or math.isnan(point):
        return nothing
    if low > 0 or high < 0:
        ends = sorted((1 / abs(low), 1 / abs(high)))
        which = "one more" if low > 0 else "one fewer"
        note = f"patients with HER2-low instead of HER2-0 for {which} response"
        return {"lower": ends[0], "point": 1 / abs(point), "upper": ends[1], "status": status, "note": note}
    fewer = "without limit" if low == 0 else f"one fewer response in {1 / -low:.3g} patients"
    more = "without limit" if high == 0 else f"one more in {1 / high:.3g}"
    return nothing | {
        "note": f"the interval of the risk difference contains 0: from {fewer}, through no difference, to {more}"
    }


def below_one(draws: Mapping[tuple[str, str], xr.DataArray]) -> pd.DataFrame:
    """P(odds ratio < 1) of every odds ratio and ratio of odds ratios.

    Returns
    -------
    pandas.DataFrame
        ``estimand``, ``scope``, ``outcome``, ``stratum``, ``arm``, ``probability_below_1``, ``mcse`` (0 where every
        draw says the same).
    """
    rows = []
    for (estimand, scope), array in draws.items():
        if estimand not in ("response_odds", "ratio_of_odds_ratios"):
            continue
        labels = [str(d) for d in array.dims if d not in ("chain", "draw")]
        flat = array.stack(row=labels).transpose("chain", "draw", "row")
        for i, label in enumerate(flat.indexes["row"]):
            values = flat.to_numpy()[:, :, i]
            if np.isnan(values).any():
                continue
            named = dict(zip(labels, map(str, label), strict=True))
            below = xr.Dataset({"below": (("chain", "draw"), (values < 0).astype(float))})
            rows.append(
                {
                    "estimand": estimand,
                    "scope": scope,
                    "outcome": named["outcome"],
                    "stratum": named["stratum"],
                    "arm": named.get("cohort", ""),
                    "probability_below_1": float(below["below"].mean()),
                    "mcse": float(az.mcse(below, method="mean")["below"]),
                }
            )
    columns = ["estimand", "scope", "outcome", "stratum", "arm", "probability_below_1", "mcse"]
    return pd.DataFrame(rows, columns=columns)


def response_prior_predictive(graph: pm.Model, data: ResponseData, seed: int) -> pd.DataFrame:
    """Numeric gates on what the priors imply, drawn from the graph itself."""
    names = [n for n in (*SLOPES.values(), "interaction") if n in {v.name for v in graph.free_RVs}]
    wanted = [*names, "intercept", "slope_between_arms_sd", "intercept_between_arms_sd"]
    drawn = prior_draws(graph, wanted, seed)
    level = drawn["intercept"]
    if "intercept_between_arms_sd" in drawn:
        rng = np.random.default_rng(seed)
        level = level + drawn["intercept_between_arms_sd"] * xr.DataArray(
            rng.normal(size=level.shape), dims=level.dims, coords=level.coords
        )
    low, high = (expit(float(level.quantile(q))) for q in (0.005, 0.995))
    counts = data.counts.groupby(["outcome", "hr", "arm"])[["n", "events"]].sum()
    share = (counts["events"] + 0.5) / (counts["n"] + 1)  # a share of 0 or 1 is no finite level
    rows: list[Gate] = [
        (
            "response rates: part within the prior's central 99 %",
            float(share.between(low, high).mean()),
            0.95,
            1.0,
        )
    ]
    for name in names:
        beyond = float((np.abs(drawn[name]) > np.log(LARGEST_EXPECTED_RATIO)).mean())
        # A borrowed prior may be as sure as the earlier studies are; any other must not rule large ratios out.
        borrowed = "Mixture" in type(graph[name].owner.op).__name__
        what = f"prior probability of a ratio beyond {LARGEST_EXPECTED_RATIO:g}-fold: {name}"
        rows.append((what, beyond, 0.0 if borrowed else 0.001, 0.10))
    return gate_table(rows)


def response_posterior_predictive(
    graph: pm.Model, posterior: xr.Dataset, data: ResponseData, seed: int, interval: float = 0.95
) -> pd.DataFrame:
    """Replicated responders by outcome, arm, HR stratum and HER2 level, as shares of the patients.

    Returns
    -------
    pandas.DataFrame
        ``cell_type`` (empty), ``cohort`` (arm), ``hr``, ``statistic``, ``observed``, ``predicted``, ``lower``,
        ``upper``, ``inside``.
    """
    drawn = replicated(graph, posterior, "events", seed).transpose("sample", "row").to_numpy()
    table = []
    for key, index in data.rows.groupby(["outcome", "arm", "hr", "her2"]).indices.items():
        outcome, arm, hr, level = (str(k) for k in np.atleast_1d(np.array(key, dtype=object)))
        own = data.rows.iloc[index]  # positions of the group's rows, the order of the graph
        n = int(own["n"].sum())
        values = drawn[:, index].sum(axis=1) / n
        table.append(
            predictive_row(
                "", arm, hr, f"{outcome}, {level}", float(own["events"].sum() / n), values, interval
            )
        )
    return predictive_table(table)


def response_reader_scale(name: str, prior: Prior, interval: float) -> str:
    """Say what a prior of the model means as odds ratios and response rates."""
    low, high = prior.interval(interval)
    percent = f"{interval:.0%}"
    if name == "intercept":
        return f"{percent}: response in {expit(low):.0%} to {expit(high):.0%} of the patients, midway between levels"
    if name.endswith("_sd"):
        return f"{percent}: 1 SD between arms multiplies the odds by {np.exp(low):.2g} to {np.exp(high):.2g}"
    if name == "covariate_effect":
        return f"{percent}: odds ratio {np.exp(low):.2g} to {np.exp(high):.2g} per SD of the covariate"
    what = "ratio of odds ratios" if name == "interaction" else "odds ratio"
    return f"{percent}: {what} {np.exp(low):.2g} to {np.exp(high):.2g}"
