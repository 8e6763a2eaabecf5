"""From the draws of the hurdle model to comparisons of the hormone receptor strata, cohort by cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.special import expit

from bayes_her2.bayesian.amounts import AmountFamily
from bayes_her2.bayesian.design import Structure
from bayes_her2.bayesian.slopes import AmountLevels, Slopes, her2_support, nodes_for
from bayes_her2.bayesian.standardisation import Support, batched_quadrature
from bayes_her2.data import HR_COMPARED, HR_NEGATIVE, HR_POSITIVE, PRESENCE_HELD_BELOW, AnalysisSet

MAX_DRAWS = 4_000
"""Per posterior (less than twice as many are used): each draw compares all pairs of nodes of two strata."""
N_NODES = 6
"""Nodes of a stratum's log mean: P(X > Y) bends little over its spread (a test keeps the error under 0.0001)."""


def strata_compared(
    posterior: xr.Dataset,
    data: AnalysisSet,
    shape: Structure,
    presence: Slopes,
    amount: Slopes,
    family: AmountFamily,
) -> dict[tuple[str, str], xr.DataArray]:
    """Abundance in HR- against HR+ tumours of each cohort: draws of P(X > Y) + P(X = Y) / 2 and of a difference.

    X and Y are the abundances of one tumour drawn at random from each stratum of a cohort, with the HER2 values,
    centres and covariates that the stratum has: a marginal comparison, not adjusted for any of them. With p the
    probability of presence and m the mean where present of tumours i (HR-) and j (HR+), and the shape s that the
    cohort's strata share,

        probability_greater = mean_ij [ p_i (1 - p_j) + p_i p_j G(m_i / m_j; s) + (1 - p_i)(1 - p_j) / 2 ],
        presence_difference = mean_i p_i - mean_j p_j,

    where G is the probability that one of two amounts of one shape exceeds the other: for gamma amounts the
    regularised incomplete beta function I_x(s, s) at x = m_i / (m_i + m_j). A presence that is not modelled is held
    at the share observed in the cohort's stratum where its zero share is under 10 %.

    Returns
    -------
    dict
        (estimand, "cohort") -> draws with dims chain, draw, stratum (only ``HR- vs HR+``), cohort and cell_type; NaN
        where not estimable. Empty with one stratum, and for a family that cannot tell which of two amounts is the
        greater by the difference of their linear predictors.
    """
    if len(data.strata) < 2 or family.link != "log":
        return {}
    thin = max(1, posterior.sizes["chain"] * posterior.sizes["draw"] // MAX_DRAWS)
    posterior = posterior.isel(draw=slice(None, None, thin))
    support = her2_support(data, shape, n_nodes=nodes_for(posterior))
    both = data.tumours.groupby("cohort")["hr"].transform("nunique").to_numpy() == len(data.strata)
    inside = both[support.row]
    support = Support(support.h[inside], support.weight[inside], support.row[inside])
    tumours = _Tumours(posterior, data, shape, support, thin, family)
    names, cohorts = [str(c) for c in data.abundance.columns], list(data.cohorts)
    n_chain, n_draw = posterior.sizes["chain"], posterior.sizes["draw"]
    empty = xr.DataArray(
        np.full((n_chain, n_draw, 1, len(cohorts), len(names)), np.nan),
        dims=("chain", "draw", "stratum", "cohort", "cell_type"),
        coords={"stratum": [HR_COMPARED], "cohort": cohorts, "cell_type": names},
    )
    greater, difference = empty.copy(), empty.copy()

    def fill(name: str) -> None:
        for cohort, (one, two) in tumours.compared(name, presence.cohort, amount.cohort).items():
            where = {"stratum": HR_COMPARED, "cohort": cohort, "cell_type": name}
            greater.loc[where] = one.reshape(n_chain, n_draw)
            difference.loc[where] = two.reshape(n_chain, n_draw)

    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(fill, names))
    return {("probability_greater", "cohort"): greater, ("presence_difference", "cohort"): difference}


@dataclass(frozen=True)
class _Side:
    """One stratum of a cohort: mean probability of presence, and where present the distribution of log means."""

    presence_modelled: bool
    present: np.ndarray  # sample
    log_mean: np.ndarray  # sample x node
    weight: np.ndarray  # sample x node


def _greater(
    x: _Side,
    y: _Side,
    shape: np.ndarray,
    family: AmountFamily,
    over: Sequence[tuple[np.ndarray | float, float]],
) -> np.ndarray:
    """P(X > Y) + P(X = Y) / 2 of two hurdle mixtures with one shape, by draw, averaged over shifts of the log ratio."""
    both_positive = np.zeros(len(shape))
    for i in range(x.log_mean.shape[1]):
        log_ratio = x.log_mean[:, i, None] - y.log_mean
        above = sum(w * family.greater(log_ratio + shift, shape[:, None]) for shift, w in over)
        both_positive += x.weight[:, i] * (y.weight * above).sum(axis=1)
    return np.asarray(
        x.present * (1 - y.present)
        + x.present * y.present * both_positive
        + (1 - x.present) * (1 - y.present) / 2
    )


class _Tumours(AmountLevels):
    """Points that stand for the tumours of cohorts with both strata."""

    def compared(
        self, name: str, presence: xr.DataArray, amount: xr.DataArray
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """P(X > Y) + P(X = Y) / 2 and difference in presence, HR- against HR+, by cohort: each (sample,)."""
        base = {"presence": self.base("presence", name), "amount": self.base("amount", name)}
        slopes = {"presence": presence, "amount": amount}
        found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for cohort in dict.fromkeys(self.cohort):
            x, y = (self._side(name, cohort, s, base, slopes) for s in (HR_NEGATIVE, HR_POSITIVE))
            if x is None or y is None:
                continue
            nothing = np.full(len(x.present), np.nan)
            own = self._shape(name, cohort)
            modelled = x.presence_modelled and y.presence_modelled
            greater = _greater(x, y, own, self.family, self.over_factor(name, n_tumours=2))
            found[cohort] = greater, x.present - y.present if modelled else nothing
        return found

    def _side(
        self,
        name: str,
        cohort: str,
        stratum: str,
        base: Mapping[str, np.ndarray | None],
        slopes: Mapping[str, xr.DataArray],
    ) -> _Side | None:
        """One stratum of a cohort, or None where a part that it needs is not modelled."""
        points = (self.cohort == cohort) & (self.stratum == stratum)
        part = self.data.part(name, stratum)
        if not points.any() or not part.amount_modelled or base["amount"] is None:
            return None
        h, weight = self.support.h[points], self.support.weight[points]

        def predictor(which: str, own: np.ndarray) -> np.ndarray:
            slope = slopes[which].sel(cell_type=name, stratum=stratum, cohort=cohort)
            slope = slope.isel(draw=slice(None, None, self.thin)).transpose("chain", "draw")
            return np.asarray(
                own[:, points] + slope.to_numpy().reshape(-1, 1) * h + self.bent(which, name, h)
            )

        log_mean = predictor("amount", base["amount"])
        if part.presence_modelled and base["presence"] is not None:
            present = expit(predictor("presence", base["presence"]))
        else:
            positives = self.data.share_positive(name, cohort, stratum)
            if 1.0 - positives >= PRESENCE_HELD_BELOW:
                return None
            present = np.full_like(log_mean, positives)
        nodes, node_weight = batched_quadrature(log_mean, weight * present, N_NODES)
        mean_present = present @ weight / weight.sum()
        return _Side(part.presence_modelled, mean_present, nodes, node_weight)

    def _shape(self, name: str, cohort: str) -> np.ndarray:
        """Shape of a cell type's amounts in a cohort, (sample,)."""
        if "log_shape_by_cohort" in self.posterior:
            array = self.posterior["log_shape_by_cohort"].sel(amount_cell_type=name, cohort=cohort)
        else:
            array = self.posterior["log_shape"].sel(amount_cell_type=name)
        return np.exp(array.transpose("chain", "draw").to_numpy().reshape(-1))
