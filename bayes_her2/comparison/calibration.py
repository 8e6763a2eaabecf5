"""What many simulated data sets say: ranks against uniformity, coverage, errors of claims, and what could be seen.

Rows of one data set share tumours and hyperparameters, so a standard error of a share over rows is that of the shares
of the data sets; and the p-values of ranks, one for each line (a label of an estimand, across data sets), are held to
Holm's limit, which asks nothing of their dependence.

References
----------
Sailynoja, Burkner & Vehtari (2022), doi 10.1007/s11222-022-10090-6 (bands). Gelman & Carlin (2014), Perspectives on
Psychological Science 9, 641-651, doi 10.1177/1745691614551642 (errors of type S and M). Stephens (2017), Biostatistics
18, 275-294, doi 10.1093/biostatistics/kxw041 (s-value).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom, t
from statsmodels.stats.multitest import multipletests

from bayes_her2.bayesian.calibration import RANKS
from bayes_her2.bayesian.decisions import s_values
from bayes_her2.estimates import kind_of, null_value

LINE = ("estimand", "scope", "outcome", "stratum", "cohort")
"""What names a quantity whose truth is ranked once in each data set."""
GROUP = ("estimand", "scope", "stratum")
FAMILY = ("replicate", "estimand", "scope", "stratum", "cohort")
"""Rows that are claims of one family: all cell types of one contrast, as in a report."""
SIZES = (0.0, 0.1, 0.25, 0.5, 1.0, np.inf)
"""Limits of |log ratio| between which power is given: ratios of 1.11, 1.28, 1.65 and 2.72."""
_SIMULATED = 20_000
_AT = np.arange(1, 20) / 20
MIN_REPLICATES = 20
"""Fewer say nothing of uniformity."""


def _least_tail(ranks: np.ndarray) -> np.ndarray:
    """Least pointwise tail probability of an empirical distribution, at 1/N, ..., (N-1)/N; last axis: data sets."""
    n = ranks.shape[-1]
    at = np.arange(1, n) / n
    count = np.apply_along_axis(np.searchsorted, -1, np.sort(ranks, axis=-1), at, side="right")
    below, above = binom.cdf(count, n, at), binom.sf(count - 1, n, at)
    return np.asarray(np.minimum(below, above).min(axis=-1))


@cache
def _least_tails_if_uniform(n: int) -> np.ndarray:
    """Give the same of `_SIMULATED` sets of `n` uniform numbers, sorted."""
    rng = np.random.default_rng(n)
    parts = [_least_tail(rng.uniform(size=(1_000, n))) for _ in range(_SIMULATED // 1_000)]
    return np.sort(np.concatenate(parts))


def _spread_by_line(table: pd.DataFrame, seed: int) -> Iterator[tuple[Any, pd.Series[Any]]]:
    """Give ranks between 0 and 1 of each line that has enough data sets."""
    rng = np.random.default_rng(seed)
    spread = (table["rank"] + rng.uniform(size=len(table))) / (RANKS + 1)
    for key, own in spread.groupby([table[c] for c in LINE], sort=False):
        if len(own) >= MIN_REPLICATES:
            yield key, own


def uniformity(table: pd.DataFrame, seed: int = 1) -> pd.DataFrame:
    """Whether the ranks of each line are uniform.

    Parameters
    ----------
    table
        Rows of all data sets, with ``replicate``.
    seed
        Of the numbers that spread a rank over its 1/100.

    Returns
    -------
    pandas.DataFrame
        `LINE`, ``n`` (data sets), ``mean_rank`` (0 to 1; expected 0.5), ``p`` (simulated, no less than 1 in 20,000),
        ``p_holm`` (over all lines). Lines of fewer than 20 data sets are left out.
    """
    rows = []
    for key, own in _spread_by_line(table, seed):
        null = _least_tails_if_uniform(len(own))
        found = float(_least_tail(own.to_numpy()[None, :])[0])
        p = (np.searchsorted(null, found * (1.0 + 1e-9), side="right") + 1) / (len(null) + 1)
        rows.append((*key, len(own), float(own.mean()), p))
    made = pd.DataFrame(rows, columns=[*LINE, "n", "mean_rank", "p"])
    p_holm = multipletests(made["p"].to_numpy(float), method="holm")[1] if rows else made["p"]
    return made.assign(p_holm=p_holm)


def rank_ecdf(table: pd.DataFrame, seed: int = 1, *, alpha: float = 0.05) -> pd.DataFrame:
    """Empirical distribution of the ranks of each line, with the bands that uniform ranks stay in.

    Parameters
    ----------
    table, seed
        As in `uniformity`.
    alpha
        Probability that a line of uniform ranks leaves its band, anywhere on 1/N, ..., (N-1)/N.

    Returns
    -------
    pandas.DataFrame
        `LINE`, ``n`` (data sets, N), ``at`` (0.05 to 0.95 by 0.05), ``below`` (share of ranks no larger), ``lower`` and
        ``upper`` (band of one line), ``lower_all`` and ``upper_all`` (band that all lines stay in together with
        probability 1 - `alpha` at least, by Bonferroni's inequality).
    """
    lines = list(_spread_by_line(table, seed))
    tables = []
    for key, own in lines:
        n = len(own)
        count = np.searchsorted(np.sort(own.to_numpy()), _AT, side="right")
        made = {"n": n, "at": _AT, "below": count / n}
        for name, level in (("", alpha), ("_all", alpha / len(lines))):
            # A band holds the counts whose pointwise tail probability is above that which so few uniform lines reach.
            tail = np.quantile(_least_tails_if_uniform(n), level)
            made |= {f"lower{name}": binom.ppf(tail, n, _AT) / n, f"upper{name}": binom.isf(tail, n, _AT) / n}
        tables.append(pd.DataFrame(dict(zip(LINE, key, strict=True)) | made))
    columns = [*LINE, "n", "at", "below", "lower", "upper", "lower_all", "upper_all"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def share(hits: pd.Series[bool], replicate: pd.Series[int]) -> tuple[float, float]:
    """Share of rows, and its standard error from the spread between data sets; NaN of no rows.

    Parameters
    ----------
    hits
        Row -> bool.
    replicate
        Row -> data set.
    """
    if hits.empty:
        return float("nan"), float("nan")
    own = pd.DataFrame({"hit": hits.astype(float), "one": 1.0}).groupby(replicate).sum()
    total, estimate = own["one"].sum(), own["hit"].sum() / own["one"].sum()
    if len(own) < 2:
        return float(estimate), float("nan")
    off = own["hit"] - estimate * own["one"]
    return float(estimate), float(np.sqrt((off**2).sum() * len(own) / (len(own) - 1)) / total)


def coverage(table: pd.DataFrame, nominal: float) -> pd.DataFrame:
    """How often intervals hold the truth, by estimand, scope and stratum.

    Parameters
    ----------
    table
        Rows of all data sets.
    nominal
        Probability of the intervals, given back in the column of that name.

    Returns
    -------
    pandas.DataFrame
        `GROUP`, ``n`` (rows), ``n_replicates``, ``nominal``, ``covered``, ``se``, ``z`` (distance from nominal in
        standard errors, which are no less than those of independent rows at the nominal probability).
    """
    hit = (table["lower"] <= table["truth"]) & (table["truth"] <= table["upper"])
    rows = []
    for key, own in hit.groupby([table[c] for c in GROUP], sort=False):
        replicate = table.loc[own.index, "replicate"]
        covered, se = share(own, replicate)
        z = (covered - nominal) / max(se, np.sqrt(nominal * (1.0 - nominal) / len(own)))
        rows.append((*key, len(own), replicate.nunique(), nominal, covered, se, z))
    return pd.DataFrame(rows, columns=[*GROUP, "n", "n_replicates", "nominal", "covered", "se", "z"])


def _claims(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of effects, as differences from no effect, and whether their interval excludes it."""
    effects = table[table["estimand"].map(kind_of) != "level"].copy()
    null = effects["estimand"].map(lambda e: 0.0 if kind_of(e) == "ratio" else null_value(e))
    for column in ("truth", "point", "lower", "upper"):
        effects[column] = effects[column] - null
    effects["claimed"] = (effects["lower"] > 0) | (effects["upper"] < 0)
    effects["wrong"] = np.sign(effects["point"]) != np.sign(effects["truth"])
    return effects


def errors_of_claims(table: pd.DataFrame) -> pd.DataFrame:
    """Of claims, rows whose interval excludes no effect: how many have the wrong sign, and how much they exaggerate.

    Returns
    -------
    pandas.DataFrame
        `GROUP`, ``n``, ``claimed`` (share of rows), ``type_s`` (share of claims of the wrong sign), ``type_s_se``,
        ``type_m`` (sum of |estimate| over sum of |truth|, claims). NaN without a claim.
    """
    effects = _claims(table)
    rows = []
    for key, own in effects.groupby(list(GROUP), sort=False):
        claims = own[own["claimed"]]
        wrong = share(claims["wrong"], claims["replicate"])
        size = claims["truth"].abs().sum()
        magnified = claims["point"].abs().sum() / size if size > 0 else np.nan
        rows.append((*key, len(own), float(own["claimed"].mean()), *wrong, magnified))
    return pd.DataFrame(rows, columns=[*GROUP, "n", "claimed", "type_s", "type_s_se", "type_m"])


def discoveries(table: pd.DataFrame, limit: float) -> pd.DataFrame:
    """Set what the rule on false signs keeps beside what it promises: claims are rows with an s-value below a limit.

    Parameters
    ----------
    table
        Rows of all data sets.
    limit
        Expected proportion of wrong signs among the claims of a family.

    Returns
    -------
    pandas.DataFrame
        `GROUP`, ``n``, ``n_claims``, ``promised`` (mean local false sign rate of the claims), ``kept`` (their share of
        wrong signs), ``se``. NaN without a claim.
    """
    rows: list[tuple[Any, ...]] = []
    columns = [*GROUP, "n", "n_claims", "promised", "kept", "se"]
    if table.empty:
        return pd.DataFrame(rows, columns=columns)
    effects = _claims(table)
    s = effects.groupby(list(FAMILY), sort=False)["lfsr"].transform(lambda x: s_values(x.to_numpy(float)))
    effects = effects.assign(claimed=s <= limit)
    for key, own in effects.groupby(list(GROUP), sort=False):
        claims = own[own["claimed"]]
        kept = share(claims["wrong"], claims["replicate"])
        rows.append((*key, len(own), len(claims), float(claims["lfsr"].mean()), *kept))
    return pd.DataFrame(rows, columns=columns)


def power(table: pd.DataFrame) -> pd.DataFrame:
    """How often an effect of a size is seen: its interval excludes no effect, on the right side.

    Returns
    -------
    pandas.DataFrame
        `GROUP`, ``at_least`` and ``below`` (limits of |truth|, log scale for ratios), ``n``, ``seen``, ``se``.
    """
    effects = _claims(table)
    size = pd.cut(effects["truth"].abs(), list(SIZES), right=False, labels=False)
    rows = []
    for key, own in effects.assign(size=size).groupby([*GROUP, "size"], sort=True):
        seen, se = share(own["claimed"] & ~own["wrong"], own["replicate"])
        i = int(own["size"].iloc[0])
        rows.append((*key[:-1], SIZES[i], SIZES[i + 1], len(own), seen, se))
    return pd.DataFrame(rows, columns=[*GROUP, "at_least", "below", "n", "seen", "se"])


def verdict(ranks: pd.DataFrame, covered: pd.DataFrame, *, alpha: float = 0.05) -> tuple[str, ...]:
    """Say what speaks against calibration; nothing where ranks and coverage are as they should be.

    Parameters
    ----------
    ranks
        From `uniformity`.
    covered
        From `coverage`.
    alpha
        Probability of a remark where nothing is wrong, each of ranks and coverage.
    """
    found = [
        f"{_named(row)}: ranks are not uniform (p {row['p']:.2g}, {row['p_holm']:.2g} by Holm over {len(ranks)} lines)"
        for _, row in ranks[ranks["p_holm"] < alpha].iterrows()
    ]
    # A standard error from few data sets is uncertain itself: the limit is Student's.
    limit = t.isf(alpha / 2 / max(len(covered), 1), covered["n_replicates"] - 1)
    off = covered[(covered["z"].abs() > limit) & (covered["n_replicates"] >= MIN_REPLICATES)]
    found += [
        f"{_named(row)}: {row['covered']:.3f} of {row['n']} intervals hold the truth (SE {row['se']:.3f}; nominal "
        f"{row['nominal']:.2f})"
        for _, row in off.iterrows()
    ]
    return tuple(found)


def _named(row: pd.Series[Any]) -> str:
    return ", ".join(str(row[c]) for c in LINE if c in row and row[c] != "")
