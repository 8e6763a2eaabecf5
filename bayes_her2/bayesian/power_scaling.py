"""How much each result moves when priors, or the likelihood, count a little more or less: power-scaling.

Raising a density to a power a multiplies the posterior by that density to the power a - 1, which importance weights do:
nothing is fitted again. The diagnostic is the rate at which a result's distribution moves (cumulative Jensen-Shannon
distance per doubling of a, near a = 1). A result that moves with the prior but hardly with the likelihood says mostly
what the prior says; one that moves with both may be torn between them.

References
----------
Kallioinen, Paananen, Burkner & Vehtari (2024), Statistics and Computing 34:57, doi 10.1007/s11222-023-10366-5.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.psense import psense

from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.summary import pooled_draws

THRESHOLD = 0.05
"""Kallioinen and others: a distance per doubling above which a result is called sensitive."""
ALL = "all"
CONFLICT, STRONG, WEAK, FINE = (
    "prior and likelihood both move it",
    "the prior moves it, the likelihood hardly",
    "neither moves it",
    "the likelihood moves it",
)
READINGS = {(True, True): CONFLICT, (True, False): STRONG, (False, False): WEAK, (False, True): FINE}
"""(sensitive to the prior, to the likelihood) -> in words."""


def log_prior(posterior: xr.Dataset, priors: Mapping[str, Prior]) -> xr.Dataset:
    """Log density of the top-level parameters under their priors.

    Parameters
    ----------
    posterior
        Draws.
    priors
        As the model was built. One whose parameter is not in the graph, or not sampled by its own name, has no part.

    Returns
    -------
    xarray.Dataset
        By parameter, dims chain and draw: summed over what else a parameter has.
    """
    made = {}
    for name, prior in priors.items():
        if name in posterior and prior.dist != "Dirichlet":
            density = xr.apply_ufunc(prior.frozen().logpdf, posterior[name])
            others = [d for d in density.dims if d not in ("chain", "draw")]
            made[name] = density.sum(others).reset_coords(drop=True)
    return xr.Dataset(made)


def power_scaling(
    draws: Mapping[tuple[str, str], xr.DataArray],
    prior: xr.Dataset,
    log_likelihood: xr.DataArray,
    groups: Mapping[str, tuple[str, ...]],
) -> pd.DataFrame:
    """Sensitivity of pooled estimands to groups of priors and to the likelihood.

    Parameters
    ----------
    draws
        (estimand, scope) -> draws; those of the scope ``pooled`` are taken.
    prior
        From `log_prior`.
    log_likelihood
        Dims chain, draw, tumour; of all draws or some, which its coordinate ``draw`` names.
    groups
        Name of a group -> its priors; one called `ALL` is added.

    Returns
    -------
    pandas.DataFrame
        ``estimand``, ``outcome``, ``stratum``, ``priors`` (name of the group), ``prior`` and ``likelihood`` (rates),
        ``reading`` (`READINGS`). Rows that are not estimable have none.

    Raises
    ------
    ValueError
        A likelihood that does not say of which draws it is: by position it would be set against others.
    """
    if "draw" not in log_likelihood.coords:
        raise ValueError("the log likelihood has no coordinate 'draw'")
    step = log_likelihood["draw"].to_numpy()
    likelihood = log_likelihood.sum("tumour").rename("log_likelihood").reset_coords(drop=True).to_dataset()
    own = prior.sel(draw=step)
    members = {ALL: tuple(str(n) for n in own.data_vars)}
    members |= {group: tuple(n for n in names if n in own) for group, names in groups.items()}
    labels, columns = pooled_draws(draws, step)
    values = xr.DataArray(columns, dims=("chain", "draw", "row"))
    if not labels:
        return pd.DataFrame(columns=_COLUMNS)
    rates = {group: _rates(values, own[list(names)], "prior") for group, names in members.items() if names}
    by_likelihood = _rates(values, likelihood, "likelihood")
    rows = [
        (*label, group, float(of_prior[i]), float(by_likelihood[i]), _reading(of_prior[i], by_likelihood[i]))
        for group, of_prior in rates.items()
        for i, label in enumerate(labels)
    ]
    return pd.DataFrame(rows, columns=_COLUMNS)


_COLUMNS = ["estimand", "outcome", "stratum", "priors", "prior", "likelihood", "reading"]


def _reading(prior: float, likelihood: float) -> str:
    return READINGS[bool(prior >= THRESHOLD), bool(likelihood >= THRESHOLD)]


def _rates(values: xr.DataArray, density: xr.Dataset, kind: str) -> np.ndarray:
    tree = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset(
                {"value": values.assign_coords(draw=density["draw"], chain=density["chain"])}
            ),
            "log_likelihood" if kind == "likelihood" else "log_prior": density,
        }
    )
    found: xr.Dataset = psense(tree, group=kind, var_names=["value"])  # type: ignore[no-untyped-call]
    return np.asarray(found["value"].to_numpy())
