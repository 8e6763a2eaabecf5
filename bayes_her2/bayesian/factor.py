"""A factor of each tumour: what the amounts of its cell types have in common beside HER2, HR status and cohort.

    log mean of amount_ic = eta_ic + loading_c f_i,     f_i ~ Normal(0, 1),     loading_c ~ Normal(0, loading_sd)

On the relative scale the parts of a tumour cannot all be large: loadings of both signs say so. Factor and loadings are
known up to a common sign, which nothing that is reported depends on; chains start from the leading residual component,
on one side. The mean of a cell type's amount is exp(eta_ic + loading_c^2 / 2): ratios of means do not feel the factor.

A tumour that is left out takes its factor along: its log likelihood is marginal over f_i, by adaptive Gauss-Hermite
quadrature around the mode of f_i given the tumour's cell types (Liu & Pierce 1994, doi 10.1093/biomet/81.3.624). Given
f_i, a tumour's own cell types have told its factor, and leaving it out would leave nothing out (Merkle, Furr &
Rabe-Hesketh 2019, doi 10.1007/s11336-019-09679-0).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pymc as pm
import xarray as xr
from scipy.special import gammaln, logsumexp

from bayes_her2.bayesian.amounts import GAMMA
from bayes_her2.bayesian.coordinates import LikelihoodInformed, partially_pooled
from bayes_her2.bayesian.density import MAX_DRAWS, HurdleDensity, thinned
from bayes_her2.bayesian.design import Arrays, PartDesign, structure
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.slopes import Levels, coefficient_by_cohort
from bayes_her2.bayesian.standardisation import Support
from bayes_her2.data import AnalysisSet

N_NODES = 15
"""A test keeps the error under 1e-5 nats a tumour where loadings have an SD of 0.9."""
DRAWS_AT_ONCE = 50
"""Of each chain: 4 x 50 draws by 2,000 tumours by 20 cell types are 64 MB an array."""
_STEPS = 30
_SMALL_STEP = 1e-6


def tumour_factor(design: PartDesign, tumours: Arrays, priors: Mapping[str, Prior]) -> pm.Deterministic:
    """Share of the factor in the log mean of the amounts, tumour x cell type, as a graph."""
    loading, score = leading_component(design, tumours)
    spread = priors["amount_loading_sd"].variable("amount_loading_sd")
    n_positive = (design.modelled * (design.observed > 0)).sum(axis=0)
    own = partially_pooled(
        "amount_loading",
        mean=0.0,
        sd=spread,
        dims="amount_cell_type",
        coordinates=LikelihoodInformed(loading, 1.0 / (n_positive + 1.0)),
    )
    factor = pm.Normal("factor", 0.0, 1.0, dims="tumour", initval=score)
    return factor[:, None] * own[None, :]


def leading_component(design: PartDesign, tumours: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Find the leading component of residual log amounts: where chains start, nothing else.

    Returns
    -------
    loadings, scores : numpy.ndarray
        By cell type and by tumour; the largest loading is positive.
    """
    here = (design.modelled > 0) & (design.observed > 0)
    other, h = tumours.hr_other[:, None], tumours.her2_sd[:, None]
    columns = np.concatenate([tumours.cohort_columns, other, h, h * other, tumours.covariates], axis=1)
    residual = np.zeros(here.shape)
    for c in range(here.shape[1]):
        rows = here[:, c]
        log_amount = np.log(design.observed[rows, c])
        fitted = columns[rows] @ np.linalg.lstsq(columns[rows], log_amount, rcond=None)[0]
        residual[rows, c] = log_amount - fitted
    both = here.T.astype(float) @ here
    covariance = residual.T @ residual / np.maximum(both, 1.0)
    np.fill_diagonal(covariance, 0.0)
    values, vectors = np.linalg.eigh(covariance)
    loading = vectors[:, -1] * np.sqrt(max(float(values[-1]), 0.01))
    loading = loading * np.sign(loading[np.argmax(np.abs(loading))])
    # Ridge scores: the residual variance of a log amount is about one half.
    score = residual @ loading / (0.5 + here.astype(float) @ loading**2)
    return loading, score


def factor_log_likelihood(
    posterior: xr.Dataset,
    data: AnalysisSet,
    *,
    tumours: Sequence[str] | None = None,
    max_draws: int = MAX_DRAWS,
    n_nodes: int = N_NODES,
) -> xr.DataArray:
    """Log likelihood of each tumour, marginal over its factor.

    That of its presences plus log integral prod_c p(y_ic | eta_ic + loading_c f) phi(f) df.

    Parameters
    ----------
    posterior, data
        Draws and analysis set.
    tumours
        Labels of the tumours, all if None: those left out of the fit may be among them.
    max_draws
        Draws used, evenly thinned.
    n_nodes
        Nodes of the quadrature.

    Returns
    -------
    xarray.DataArray
        Dims chain, draw, tumour.
    """
    presence = posterior[[n for n in posterior if not str(n).startswith(("amount_", "factor"))]]
    found = HurdleDensity(GAMMA).log_likelihood(presence, data, max_draws=max_draws)
    posterior = thinned(posterior, max_draws)
    for start in range(0, posterior.sizes["draw"], DRAWS_AT_ONCE):
        rows = slice(start, start + DRAWS_AT_ONCE)
        chunk = posterior.isel(draw=rows)
        own = marginal(_amounts(chunk, data), len(data.tumours), n_nodes)
        shape = (chunk.sizes["chain"], chunk.sizes["draw"], len(data.tumours))
        found[{"draw": rows}] += own.reshape(shape)
    return found if tumours is None else found.sel(tumour=list(tumours))


@dataclass(frozen=True)
class Amounts:
    """Amounts of one cell type where present, and what each draw says of them.

    Attributes
    ----------
    tumour
        Position of each tumour that has the cell type.
    amount
        Amount of each.
    log_mean, shape
        Without the factor, draw x tumour that has it.
    loading
        Draw x 1.
    """

    tumour: np.ndarray
    amount: np.ndarray
    log_mean: np.ndarray
    shape: np.ndarray
    loading: np.ndarray


def _amounts(posterior: xr.Dataset, data: AnalysisSet) -> list[Amounts]:
    """Every cell type with amounts modelled."""
    n = len(data.tumours)
    h = data.tumours["her2_sd"].to_numpy(float)
    tumours = Levels(posterior, data, structure(data), Support(h, np.ones(n), np.arange(n)), 1)
    labels = xr.DataArray(tumours.cohort, dims="point")
    slope, difference, log_shape = (
        coefficient_by_cohort(posterior, name, data)
        for name in ("amount_slope", "amount_interaction", "log_shape")
    )

    def by_tumour(array: xr.DataArray, name: str) -> np.ndarray:
        own = array.sel(cell_type=name, drop=True).sel(cohort=labels)
        return np.asarray(own.stack(sample=("chain", "draw")).transpose("sample", "point").to_numpy())

    made = []
    for name in posterior["amount_cell_type"].to_numpy().astype(str):
        modelled = {s: data.part(name, s).amount_modelled for s in data.strata}
        y = data.abundance[name].to_numpy(float)
        rows = np.flatnonzero(np.array([modelled[s] for s in tumours.stratum]) & (y > 0))
        base = tumours.base("amount", name)
        if base is None:
            continue
        own = by_tumour(slope, name) + tumours.other * by_tumour(difference, name)
        loading = posterior["amount_loading"].sel(amount_cell_type=name).stack(sample=("chain", "draw"))
        made.append(
            Amounts(
                tumour=rows,
                amount=y[rows],
                log_mean=(base + own * h + tumours.bent("amount", name, h))[:, rows],
                shape=np.exp(by_tumour(log_shape, name)[:, rows]),
                loading=loading.to_numpy()[:, None],
            )
        )
    return made


def marginal(cells: list[Amounts], n_tumours: int, n_nodes: int = N_NODES) -> np.ndarray:
    """Log of the integral over the factor, draw x tumour: adaptive Gauss-Hermite quadrature around its mode."""
    sizes = (len(cells[0].loading), n_tumours)
    weight = [c.shape * c.amount * np.exp(-c.log_mean) for c in cells]
    mode, curvature = np.zeros(sizes), np.ones(sizes)
    for _ in range(_STEPS):
        # Gamma amounts: the log likelihood of a factor is concave, and Newton's steps are safe once they are bounded.
        gradient, curvature = -mode, np.ones(sizes)
        for c, w in zip(cells, weight, strict=True):
            pull = w * np.exp(-c.loading * mode[:, c.tumour])
            gradient[:, c.tumour] += c.loading * (pull - c.shape)
            curvature[:, c.tumour] += c.loading**2 * pull
        step = np.clip(gradient / curvature, -1.0, 1.0)
        if np.abs(step).max() < _SMALL_STEP:
            break
        mode = mode + step
    sd = curvature**-0.5
    nodes, weights = np.polynomial.hermite.hermgauss(n_nodes)
    terms = np.empty((n_nodes, *sizes))
    for q, (node, own) in enumerate(zip(nodes, weights, strict=True)):
        f = mode + np.sqrt(2.0) * sd * node
        terms[q] = np.log(own) + node**2 + np.log(sd) - 0.5 * f**2 - 0.5 * np.log(np.pi)
        for c, w in zip(cells, weight, strict=True):
            at = c.loading * f[:, c.tumour]
            terms[q][:, c.tumour] -= c.shape * at + w * np.exp(-at)
    found = np.asarray(logsumexp(terms, axis=0))
    for c in cells:
        free = (
            c.shape * (np.log(c.shape) - c.log_mean) - gammaln(c.shape) + (c.shape - 1.0) * np.log(c.amount)
        )
        found[:, c.tumour] += free
    return found
