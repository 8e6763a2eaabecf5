"""A prior that can enter a graph, a table, or a study file, and always carries its reason."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pymc as pm
from pymc.distributions.transforms import Transform
from scipy import stats

from bayes_her2.bayesian.coordinates import LogSpread, Softplus
from bayes_her2.errors import DataError


@dataclass(frozen=True)
class Prior:
    """A distribution, its parameters, and why.

    Attributes
    ----------
    dist
        ``Normal`` (``mu``, ``sigma``), ``HalfNormal`` (``sigma``), ``HalfStudentT`` (``nu`` degrees of freedom and
        ``sigma``, its scale), ``HalfCauchy`` (``beta``, its scale),
        ``InverseGamma`` (``alpha``, ``beta``), ``Dirichlet`` (``concentration``, the same for every share), or
        ``NormalMixture`` (``weight_1``, ``mu_1``, ``sigma_1``, ``weight_2``, ...: weights sum to 1).
    params
        Parameters by name.
    why
        The reason, on the reader's scale.
    overridden
        Whether the study replaced the model's default.
    """

    dist: str
    params: Mapping[str, float]
    why: str
    overridden: bool = False

    def __post_init__(self) -> None:
        expected = {
            "Normal": {"mu", "sigma"},
            "HalfNormal": {"sigma"},
            "HalfStudentT": {"nu", "sigma"},
            "HalfCauchy": {"beta"},
            "InverseGamma": {"alpha", "beta"},
            "Dirichlet": {"concentration"},
        }
        if self.dist == "NormalMixture":
            self._check_mixture()
            expected["NormalMixture"] = set(self.params)
        if self.dist not in expected:
            raise DataError(
                f"prior: unknown distribution {self.dist!r}; known: {', '.join([*sorted(expected), 'NormalMixture'])}."
            )
        if set(self.params) != expected[self.dist]:
            raise DataError(
                f"prior {self.dist}: needs the parameters {', '.join(sorted(expected[self.dist]))}, "
                f"got {', '.join(sorted(self.params)) or 'none'}."
            )
        above_0 = [name for name in self.params if name in ("sigma", "nu", "beta", "alpha", "concentration")]
        low = [name for name in above_0 if not self.params[name] > 0]
        if low or not all(math.isfinite(v) for v in self.params.values()):
            raise DataError(
                f"prior {self.dist}: {' and '.join(low or above_0 or ['sigmas'])} must be above 0 and every parameter "
                f"finite, got {dict(self.params)}."
            )
        if not self.why.strip():
            raise DataError(f"prior {self.dist}: a prior without a reason is a bug; fill in `why`.")

    def _check_mixture(self) -> None:
        """Whole components, spreads above 0, and weights that sum to 1."""
        n = len(self.params) // 3
        names = {f"{what}_{i}" for what in ("weight", "mu", "sigma") for i in range(1, n + 1)}
        if not n or set(self.params) != names:
            raise DataError(
                "prior NormalMixture: needs weight_1, mu_1, sigma_1, weight_2, ..., got "
                f"{', '.join(self.params) or 'none'}."
            )
        weights, _, sigmas = self.components()
        if not (sigmas > 0).all() or not (weights > 0).all() or abs(weights.sum() - 1.0) > 1e-9:
            raise DataError(
                "prior NormalMixture: sigmas and weights must be above 0 and weights sum to 1, got "
                f"{dict(self.params)}."
            )

    def components(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights, means and SDs of a normal mixture; a Normal is one of a single component."""
        if self.dist == "Normal":
            return np.ones(1), np.array([self.params["mu"]]), np.array([self.params["sigma"]])
        if self.dist != "NormalMixture":
            raise ValueError(f"a {self.dist} is no mixture of normals")
        n = len(self.params) // 3
        weights, mus, sigmas = (
            np.array([self.params[f"{what}_{i}"] for i in range(1, n + 1)])
            for what in ("weight", "mu", "sigma")
        )
        return weights, mus, sigmas

    def __str__(self) -> str:
        if self.dist == "NormalMixture":
            parts = zip(*self.components(), strict=True)
            return " + ".join(f"{w:.3g} Normal({mu:.3g}, {sigma:.3g})" for w, mu, sigma in parts)
        order = ("nu", "mu", "sigma", "alpha", "beta", "concentration")
        inside = ", ".join(f"{self.params[name]:g}" for name in order if name in self.params)
        return f"{self.dist}({inside})"

    def variable(
        self, name: str, *, dims: str | tuple[str, ...] | None = None, transform: Transform | None = None
    ) -> Any:
        """Return a random variable with this prior in the current PyMC model.

        The shares of a Dirichlet lie along the last of `dims`, which it needs.
        """
        if self.dist == "Dirichlet":
            last = dims[-1] if isinstance(dims, tuple) else dims
            if last is None:
                raise ValueError(f"{name}: a Dirichlet needs the dimension of its shares")
            n_shares = len(pm.modelcontext(None).coords[last])
            return pm.Dirichlet(name, a=np.full(n_shares, self.params["concentration"]), dims=dims)
        if self.dist == "NormalMixture":
            weights, mus, sigmas = self.components()
            parts = [pm.Normal.dist(mu, sigma) for mu, sigma in zip(mus, sigmas, strict=True)]
            return pm.Mixture(name, w=weights, comp_dists=parts, dims=dims)
        kwargs: dict[str, Any] = dict(self.params)
        if self.dist.startswith("Half") and transform is None:
            transform = LogSpread(self.params["beta" if self.dist == "HalfCauchy" else "sigma"])
        if transform is not None:
            kwargs["default_transform"] = transform
        return getattr(pm, self.dist)(name, dims=dims, **kwargs)

    def spread(self, name: str, *, dims: str | tuple[str, ...] | None = None) -> Any:
        """Return an SD with this half-normal prior that data inform little: it is sampled on `Softplus`'s scale."""
        return self.variable(name, dims=dims, transform=Softplus(self.params["sigma"] / 2))

    def frozen(self, n_shares: int = 2) -> Any:
        """Return the same distribution from scipy.stats; of a Dirichlet, that of one of `n_shares` shares."""
        if self.dist == "Dirichlet":
            concentration = self.params["concentration"]
            return stats.beta(concentration, (n_shares - 1) * concentration)
        if self.dist == "Normal":
            return stats.norm(self.params["mu"], self.params["sigma"])
        if self.dist == "NormalMixture":
            return NormalMixture(*self.components())
        if self.dist == "HalfStudentT":
            return HalfStudentT(self.params["nu"], self.params["sigma"])
        if self.dist == "HalfCauchy":
            return stats.halfcauchy(scale=self.params["beta"])
        if self.dist == "InverseGamma":
            return stats.invgamma(self.params["alpha"], scale=self.params["beta"])
        return stats.halfnorm(scale=self.params["sigma"])

    def interval(self, probability: float = 0.95) -> tuple[float, float]:
        """Equal-tailed interval of the prior."""
        tail = (1 - probability) / 2
        lower, upper = self.frozen().ppf([tail, 1 - tail])
        return float(lower), float(upper)

    def sample(self, rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
        """Draws from the prior."""
        return np.asarray(self.frozen().rvs(size=size, random_state=rng))


def around(prior: Prior, other: Prior) -> Prior:
    """Return a normal prior centred where `other` is, with the reason of `other` where that moves it."""
    mu = other.params["mu"]
    if mu == prior.params["mu"]:
        return prior
    spread = prior.params["sigma"]
    return Prior(
        "Normal", {"mu": mu, "sigma": spread}, f"centred as the main model's: {other.why}; SD {spread:g}"
    )


class _OfScipy:
    """A random variable of SciPy's newer kind with the methods of a frozen distribution of scipy.stats."""

    @cached_property
    def _variable(self) -> Any:
        raise NotImplementedError

    def logpdf(self, x: Any) -> Any:
        """Log density."""
        return self._variable.logpdf(x)

    def pdf(self, x: Any) -> Any:
        """Density."""
        return self._variable.pdf(x)

    def cdf(self, x: Any) -> Any:
        """Distribution function."""
        return self._variable.cdf(x)

    def ppf(self, q: Any) -> Any:
        """Quantiles."""
        return self._variable.icdf(q)

    def rvs(self, size: Any = None, random_state: np.random.Generator | None = None) -> np.ndarray:
        """Draws."""
        return np.asarray(self._variable.sample(() if size is None else size, rng=random_state))


@dataclass(frozen=True, eq=False)
class NormalMixture(_OfScipy):
    """`scipy.stats.Mixture` of normal distributions.

    Attributes
    ----------
    weights, means, sds
        Of the components, same length.
    """

    weights: np.ndarray
    means: np.ndarray
    sds: np.ndarray

    @cached_property
    def _variable(self) -> Any:
        parts = [stats.Normal(mu=mu, sigma=sd) for mu, sd in zip(self.means, self.sds, strict=True)]
        return stats.Mixture(parts, weights=self.weights)

    def mean(self) -> float:
        """Mean."""
        return float(self.weights @ self.means)

    def std(self) -> float:
        """Return the standard deviation."""
        return float(np.sqrt(self.weights @ (self.sds**2 + self.means**2) - self.mean() ** 2))


@dataclass(frozen=True)
class HalfStudentT(_OfScipy):
    """`scipy.stats.truncate` of Student's t, at 0 from below.

    Attributes
    ----------
    nu
        Degrees of freedom.
    sigma
        Scale.
    """

    nu: float
    sigma: float

    @cached_property
    def _variable(self) -> Any:
        return stats.truncate(stats.make_distribution(stats.t)(df=self.nu) * self.sigma, lb=0.0)


SAME_SUPPORT = ({"HalfNormal", "HalfStudentT"},)
"""Distributions that a study may put in place of each other: their parameters say the same of their scale."""


def resolve_priors(
    defaults: Mapping[str, Prior], overrides: Mapping[str, Any], model: str
) -> dict[str, Prior]:
    """Return the priors of a model with those of a study put over them.

    Parameters
    ----------
    defaults
        ``PRIORS`` of a model file.
    overrides
        Settings of the study, by prior name; each has ``dist``, ``params`` and ``why``.
    model
        Name of the model, for the message.

    Raises
    ------
    DataError
        An override for a prior that the model does not have, or with another support.
    """
    unknown = sorted(set(overrides) - set(defaults))
    if unknown:
        raise DataError(
            f"[priors.{model}]: the model has no prior named {', '.join(unknown)}; known: {', '.join(defaults)}."
        )
    resolved = dict(defaults)
    for name, setting in overrides.items():
        dists = {setting.dist, defaults[name].dist}
        if len(dists) > 1 and not any(dists <= same for same in SAME_SUPPORT):
            raise DataError(
                f"[priors.{model}.{name}]: dist is {setting.dist}, but this parameter takes a "
                f"{defaults[name].dist}: its support is part of the model (an SD is above 0, a mean is not)."
            )
        try:
            resolved[name] = Prior(setting.dist, dict(setting.params), setting.why, overridden=True)
        except DataError as error:
            raise DataError([f"[priors.{model}.{name}]: {fault}" for fault in error.faults]) from None
    return resolved
