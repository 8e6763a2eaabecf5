"""Conclusions of one study in several universes, each against the main analysis: tables in, tables out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from scipy.stats import norm

from bayes_her2.data import DIFFERENCE, STRATA
from bayes_her2.errors import DataError
from bayes_her2.estimates import Estimates, null_value

ABOVE, BELOW, OPEN, NONE = "above", "below", "open", "not estimable"
SIDES = {
    ABOVE: "the interval lies above no association",
    BELOW: "the interval lies below no association",
    OPEN: "the interval holds no association: direction open",
    NONE: "no estimate from these tumours, or one that rests on other cohorts' tumours",
}
CHANGES = {
    "lost": "the main analysis has a direction, this universe leaves it open",
    "gained": "the main analysis leaves the direction open, this universe has one",
    "reversed": "both have a direction, and they are opposite",
    "no longer estimable": "the main analysis has an estimate, this universe has none",
    "newly estimable": "this universe has an estimate, the main analysis has none",
}
"""Kinds of change; the first three are changed conclusions."""

CONCLUSIONS = ("lost", "gained", "reversed")
MEANS = {"overall", "amount"}
"""Estimands whose sizes can be compared although they are not the same: both are ratios of means."""

LEAST_ESS = 1_200
"""The diagnostics gate's effective sample size: what the Monte Carlo error of a limit is computed from."""

_KEY = ["outcome", "estimand", "stratum", "scope", "cohort"]
_SHOWN = [
    "n",
    "n_zero",
    "status",
    "posterior_point",
    "posterior_lower",
    "posterior_upper",
    "pd",
    "s_value",
    "discovery_bayes",
    "twin_method",
    "twin_status",
    "twin_point",
    "twin_lower",
    "twin_upper",
    "twin_p",
    "twin_p_bonferroni",
    "discovery_bonferroni",
    "verdict",
    "note",
]


def beside_twin(
    posterior: Estimates, joined: pd.DataFrame | None, *, false_discovery: float = 0.05
) -> pd.DataFrame:
    """Rows about the slopes of HER2, by HR stratum and between strata, posterior beside twin.

    Parameters
    ----------
    posterior
        Estimates of the fit.
    joined
        Table of `concordance`; None for a model without a twin, whose twin columns are empty.
    false_discovery
        Limit on s-value and local false sign rate of a sign call.

    Returns
    -------
    pandas.DataFrame
        ``outcome``, ``estimand``, ``stratum``, ``scope``, ``cohort``, and the columns of `concordance`.
    """
    if joined is None:
        own = posterior.table
        called = (own["status"] == "observed") & (own["s_value"] <= false_discovery)
        called &= own["lfsr"] <= false_discovery
        sides = {f"posterior_{name}": own[name] for name in ("point", "lower", "upper")}
        joined = own.assign(
            **sides,
            discovery_bayes=called.fillna(False).astype(bool),
            twin_method="",
            twin_status="",
            discovery_bonferroni=False,
            verdict="",
            **{name: math.nan for name in _SHOWN if name.startswith("twin_") and name not in _WORDS},
        )
    wanted = joined["stratum"].isin([*STRATA, DIFFERENCE])
    return joined.loc[wanted, [*_KEY, *_SHOWN]].reset_index(drop=True)


_WORDS = ("twin_method", "twin_status")


def side(point: float, lower: float, upper: float, *, estimand: str) -> str:
    """Side of no association on which an interval lies: one of `SIDES`."""
    null = null_value(estimand)
    if any(math.isnan(value) for value in (point, lower, upper)):
        return NONE
    if lower > null:
        return ABOVE
    return BELOW if upper < null else OPEN


def change(main: str, here: str) -> str:
    """Return what a side is against the main analysis's: '' for the same, else one of `CHANGES`."""
    if main == here:
        return ""
    if here == NONE:
        return "no longer estimable"
    if main == NONE:
        return "newly estimable"
    if here == OPEN:
        return "lost"
    return "gained" if main == OPEN else "reversed"


def against_main(
    sides: Mapping[str, pd.DataFrame],
    reads: Mapping[str, Sequence[tuple[str, str]]],
    *,
    main: str,
    interval: float,
    alpha: float,
) -> pd.DataFrame:
    """Set every universe's rows against the main analysis's.

    A row is pooled; where the main analysis's pooled row is borrowed (some cohort lacks the stratum) and one cohort
    alone has an observed row, that cohort's row takes its place in all universes.

    Parameters
    ----------
    sides
        Universe -> rows of `beside_twin`, the main analysis among them.
    reads
        Universe -> (its estimand, the main analysis's estimand that it is set against), the headline first.
    main
        Name of the main analysis.
    interval
        Probability of the intervals.
    alpha
        Level at which a twin's Bonferroni-adjusted P is a discovery.

    Returns
    -------
    pandas.DataFrame
        One row per universe, reading, cell type and HR stratum: the universe's posterior and twin (``posterior_side``,
        ``twin_side``, and ``twin_bonferroni_side``, which is open unless the adjusted P is at most `alpha`), the main
        analysis's (``main_...``), ``posterior_change``, ``twin_change``, ``twin_bonferroni_change`` (`CHANGES`),
        ``verdict_changed``, and of the posterior ``log_shift`` (log ratio of the two ratios, where both are ratios of
        means or the same estimand), ``shift_sd`` (the same in posterior SDs of the main analysis) and
        ``within_monte_carlo_error`` (a change that a limit within two Monte Carlo standard errors of 1 decides;
        effective sample size as at the gate). ``headline`` marks the first reading.

    Notes
    -----
    The posterior SD of a log ratio is the width of its interval over that of a normal one. The Monte Carlo
    standard error of a p-quantile in SDs is sqrt(p (1 - p) / ESS) over the normal density there.
    """
    if main not in sides:
        raise DataError(f"the main analysis {main!r} is not among the universes: {', '.join(sides)}.")
    cells = list(dict.fromkeys(sides[main]["outcome"]))
    places = _places(sides[main])
    tables = []
    for universe, rows in sides.items():
        by_key = {tuple(r[k] for k in _KEY): r for r in _records(rows)}
        of_main = {tuple(r[k] for k in _KEY): r for r in _records(sides[main])}
        for position, (estimand, main_estimand) in enumerate(reads[universe]):
            for cell in cells:
                for stratum in (*STRATA, DIFFERENCE):
                    place = places.get((cell, main_estimand, stratum))
                    if place is None:
                        continue
                    tables.append(
                        {
                            "universe": universe,
                            "cell_type": cell,
                            "stratum": stratum,
                            "estimand": estimand,
                            "main_estimand": main_estimand,
                            "headline": position == 0,
                            "scope": place[0],
                            "cohort": place[1],
                        }
                        | _compared(
                            by_key.get((cell, estimand, stratum, *place)),
                            of_main[(cell, main_estimand, stratum, *place)],
                            estimand,
                            main_estimand,
                            interval,
                            alpha,
                        )
                    )
    return pd.DataFrame(tables, columns=COLUMNS)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in record.items()} for record in table.to_dict("records")]


def _places(main: pd.DataFrame) -> dict[tuple[str, str, str], tuple[str, str]]:
    """(cell type, estimand, stratum) -> scope and cohort of the row that carries the conclusion."""
    places: dict[tuple[str, str, str], tuple[str, str]] = {}
    for (cell, estimand, stratum), own in main.groupby(["outcome", "estimand", "stratum"], sort=False):
        pooled = own[own["scope"] == "pooled"]
        if pooled.empty:
            continue
        place = ("pooled", "")
        observed = own[(own["scope"] == "cohort") & (own["status"] == "observed")]
        if (pooled["status"] == "borrowed").all() and len(observed) == 1:
            place = ("cohort", str(observed["cohort"].item()))
        places[(str(cell), str(estimand), str(stratum))] = place
    return places


COLUMNS = [
    "universe",
    "cell_type",
    "stratum",
    "estimand",
    "main_estimand",
    "headline",
    "scope",
    "cohort",
    *_SHOWN,
    "posterior_side",
    "twin_side",
    "twin_bonferroni_side",
    "main_n",
    "main_n_zero",
    "main_point",
    "main_lower",
    "main_upper",
    "main_side",
    "main_twin_point",
    "main_twin_lower",
    "main_twin_upper",
    "main_twin_side",
    "main_twin_bonferroni_side",
    "main_verdict",
    "posterior_change",
    "twin_change",
    "twin_bonferroni_change",
    "verdict_changed",
    "log_shift",
    "shift_sd",
    "within_monte_carlo_error",
]


def _sides(row: Mapping[str, Any], estimand: str, alpha: float) -> tuple[str, str, str]:
    """Sides of posterior, twin, and twin after Bonferroni's correction."""
    ours = [_number(row[f"posterior_{name}"]) for name in ("point", "lower", "upper")]
    posterior = side(*ours, estimand=estimand) if row["status"] == "observed" else NONE
    theirs = [_number(row[f"twin_{name}"]) for name in ("point", "lower", "upper")]
    counts = row["twin_status"] == "observed" and row["status"] != "borrowed"
    twin = side(*theirs, estimand=estimand) if counts else NONE
    adjusted = _number(row["twin_p_bonferroni"])
    corrected = twin
    if twin in (ABOVE, BELOW) and not adjusted <= alpha:
        corrected = OPEN
    return posterior, twin, corrected


def _number(value: Any) -> float:
    return math.nan if value is None or pd.isna(value) else float(value)


_EMPTY = {name: math.nan for name in _SHOWN} | {
    "n": pd.NA,
    "n_zero": pd.NA,
    "status": NONE,
    "twin_method": "",
    "twin_status": NONE,
    "verdict": NONE,
    "note": "not in this universe",
    "discovery_bayes": False,
    "discovery_bonferroni": False,
}


def _compared(
    row: Mapping[str, Any] | None,
    main: Mapping[str, Any],
    estimand: str,
    main_estimand: str,
    interval: float,
    alpha: float,
) -> dict[str, Any]:
    here: Mapping[str, Any] = _EMPTY if row is None else row
    posterior, twin, corrected = _sides(here, estimand, alpha)
    main_posterior, main_twin, main_corrected = _sides(main, main_estimand, alpha)
    shift = spread = math.nan
    same_size = estimand == main_estimand or {estimand, main_estimand} <= MEANS
    if NONE not in (posterior, main_posterior) and same_size:
        shift = math.log(here["posterior_point"]) - math.log(main["posterior_point"])
        spread = _sd(main, interval)
    changed = change(main_posterior, posterior)
    close = changed in CONCLUSIONS and (
        _close(here, posterior, interval) or _close(main, main_posterior, interval)
    )
    return {name: here[name] for name in _SHOWN} | {
        "posterior_side": posterior,
        "twin_side": twin,
        "twin_bonferroni_side": corrected,
        "main_n": main["n"],
        "main_n_zero": main["n_zero"],
        "main_point": main["posterior_point"],
        "main_lower": main["posterior_lower"],
        "main_upper": main["posterior_upper"],
        "main_side": main_posterior,
        "main_twin_point": main["twin_point"],
        "main_twin_lower": main["twin_lower"],
        "main_twin_upper": main["twin_upper"],
        "main_twin_side": main_twin,
        "main_twin_bonferroni_side": main_corrected,
        "main_verdict": main["verdict"],
        "posterior_change": changed,
        "twin_change": change(main_twin, twin),
        "twin_bonferroni_change": change(main_corrected, corrected),
        "verdict_changed": bool(here["verdict"] != main["verdict"]),
        "log_shift": shift,
        "shift_sd": shift / spread,
        "within_monte_carlo_error": bool(close),
    }


def _sd(row: Mapping[str, Any], interval: float) -> float:
    """Posterior SD of a log ratio, from its interval."""
    width = math.log(row["posterior_upper"]) - math.log(row["posterior_lower"])
    return width / (2 * float(norm.ppf((1 + interval) / 2)))


def limit_error(interval: float, ess: float = LEAST_ESS) -> float:
    """Monte Carlo standard error of a limit of an interval, in posterior SDs, of a normal posterior."""
    tail = (1 - interval) / 2
    return math.sqrt(tail * (1 - tail) / ess) / float(norm.pdf(norm.ppf(tail)))


def _close(row: Mapping[str, Any], which: str, interval: float) -> bool:
    """Whether a limit within two Monte Carlo standard errors of 1 decides the side."""
    lower, upper = math.log(row["posterior_lower"]), math.log(row["posterior_upper"])
    distance = {ABOVE: lower, BELOW: -upper, OPEN: min(-lower, upper)}[which]
    return distance / _sd(row, interval) < 2 * limit_error(interval)


def changed_conclusions(table: pd.DataFrame) -> pd.DataFrame:
    """Rows whose posterior, twin or corrected twin concludes something else than the main analysis, headlines first."""
    columns = ["posterior_change", "twin_change", "twin_bonferroni_change"]
    changed = table[table[columns].isin(CONCLUSIONS).any(axis=1)]
    first = ["universe", "headline", "cell_type", "stratum", "estimand", "main_estimand", *columns]
    rest = [name for name in table.columns if name not in first]
    return changed.sort_values("headline", ascending=False, kind="stable")[[*first, *rest]].reset_index(
        drop=True
    )


def summary(table: pd.DataFrame, about: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    """Count, for every universe, what it changes and which conclusions change with it, by headline rows.

    Parameters
    ----------
    table
        From `against_main`.
    about
        ``universe``, ``title``, ``what``, ``model``, ``estimand``, ``reading``, ``status``, ``reason`` and
        its tumours; kept.
    values
        ``universe``, ``n_changed`` by cohort and cell type.

    Returns
    -------
    pandas.DataFrame
        `about`, with ``n_values_changed``, ``n_rows`` (estimable here and in the main analysis), ``n_directions``
        (posterior above or below), ``posterior_lost``, ``..._gained``, ``..._reversed``, the same for ``twin`` and
        ``twin_bonferroni``, ``n_not_estimable``, ``n_within_monte_carlo_error`` (of the changed posteriors),
        ``n_verdicts_changed``, ``median_shift_sd`` (absolute), and the row that moves most in SDs of the main analysis:
        ``largest_shift`` (ratio of the two ratios), ``largest_shift_sd`` and ``largest_shift_row``.
    """
    counted = values.groupby("universe")["n_changed"].sum() if len(values) else pd.Series(dtype="int64")
    rows = []
    for record in _records(about):
        own = table[(table["universe"] == record["universe"]) & table["headline"]]
        rows.append(record | (_counts(own, int(counted.get(record["universe"], 0))) if len(own) else {}))
    made = pd.DataFrame(rows)
    whole = [name for name in made.columns if str(name).startswith(("n_", "posterior_", "twin_"))]
    return made.astype(dict.fromkeys(whole, "Int64"))


def _counts(own: pd.DataFrame, n_values: int) -> dict[str, Any]:
    both = own[(own["posterior_side"] != NONE) & (own["main_side"] != NONE)]
    found: dict[str, Any] = {
        "n_values_changed": n_values,
        "n_rows": len(both),
        "n_directions": int(both["posterior_side"].isin([ABOVE, BELOW]).sum()),
    }
    for name in ("posterior", "twin", "twin_bonferroni"):
        for kind in CONCLUSIONS:
            found[f"{name}_{kind}"] = int((own[f"{name}_change"] == kind).sum())
    found["n_not_estimable"] = int((own["posterior_change"] == "no longer estimable").sum())
    found["n_within_monte_carlo_error"] = int(own["within_monte_carlo_error"].sum())
    found["n_verdicts_changed"] = int(both["verdict_changed"].sum())
    moved = both["shift_sd"].abs()
    found["median_shift_sd"] = float(moved.median()) if len(moved) else math.nan
    if moved.gt(0).any():
        most = both.sort_values("shift_sd", key=abs, kind="stable").to_dict("records")[-1]
        found["largest_shift"] = math.exp(most["log_shift"])
        found["largest_shift_sd"] = float(most["shift_sd"])
        found["largest_shift_row"] = f"{most['cell_type']}, {most['stratum']}"
    return found


def stability(table: pd.DataFrame, *, main: str) -> pd.DataFrame:
    """Say of every conclusion of the main analysis how many universes share it.

    Returns
    -------
    pandas.DataFrame
        One row per cell type and stratum, of headline rows: ``cell_type``, ``stratum``, ``main_side``, ``n_universes``
        (others that have an estimate), ``n_same`` (of them, with the same side), ``n_above``, ``n_below``, ``n_open``,
        the same for the twin (``twin_n_universes``, ``twin_n_same``), and the least and greatest ratio over all
        universes whose headline is a ratio of mean abundance (``least``, ``greatest``).
    """
    rows = []
    headline = table[table["headline"]]
    for (cell, stratum), own in headline.groupby(["cell_type", "stratum"], sort=False):
        others = own[own["universe"] != main]
        there = others[others["posterior_side"] != NONE]
        twins = others[others["twin_side"] != NONE]
        same_scale = own[own["estimand"] == own["main_estimand"]]["posterior_point"]
        rows.append(
            {
                "cell_type": cell,
                "stratum": stratum,
                "main_side": own["main_side"].mode().item(),
                "n_universes": len(there),
                "n_same": int((there["posterior_side"] == there["main_side"]).sum()),
                **{
                    f"n_{which}": int((there["posterior_side"] == which).sum())
                    for which in (ABOVE, BELOW, OPEN)
                },
                "twin_n_universes": len(twins),
                "twin_n_same": int((twins["twin_side"] == twins["main_twin_side"]).sum()),
                "least": same_scale.min(),
                "greatest": same_scale.max(),
            }
        )
    return pd.DataFrame(rows)
