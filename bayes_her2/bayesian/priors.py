"""A prior that can enter a graph, a table, or a study file, and always carries its reason."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
from pymc.distributions.transforms import Transform
from scipy import stats

from bayes_her2.errors import DataError


@dataclass(frozen=True)
class Prior:
    """A distribution, its parameters, and why.

    Attributes
    ----------
    dist
        ``Normal`` (``mu``, ``sigma``), ``HalfNormal`` (``sigma``), or ``Dirichlet`` (``concentration``, the same for
        every share).
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
        expected = {"Normal": {"mu", "sigma"}, "HalfNormal": {"sigma"}, "Dirichlet": {"concentration"}}
        if self.dist not in expected:
            raise DataError(
                f"prior: unknown distribution {self.dist!r}; known: {', '.join(sorted(expected))}."
            )
        if set(self.params) != expected[self.dist]:
            raise DataError(
                f"prior {self.dist}: needs the parameters {', '.join(sorted(expected[self.dist]))}, "
                f"got {', '.join(sorted(self.params)) or 'none'}."
            )
        positive = "concentration" if self.dist == "Dirichlet" else "sigma"
        if not (self.params[positive] > 0 and all(math.isfinite(v) for v in self.params.values())):
            raise DataError(
                f"prior {self.dist}: {positive} must be above 0 and every parameter finite, got {dict(self.params)}."
            )
        if not self.why.strip():
            raise DataError(f"prior {self.dist}: a prior without a reason is a bug; fill in `why`.")

    def __str__(self) -> str:
        order = ("mu", "sigma", "concentration")
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
        kwargs: dict[str, Any] = dict(self.params)
        if transform is not None:
            kwargs["default_transform"] = transform
        return getattr(pm, self.dist)(name, dims=dims, **kwargs)

    def frozen(self, n_shares: int = 2) -> Any:
        """Return the same distribution from scipy.stats; of a Dirichlet, that of one of `n_shares` shares."""
        if self.dist == "Dirichlet":
            concentration = self.params["concentration"]
            return stats.beta(concentration, (n_shares - 1) * concentration)
        if self.dist == "Normal":
            return stats.norm(self.params["mu"], self.params["sigma"])
        return stats.halfnorm(scale=self.params["sigma"])

    def interval(self, probability: float = 0.95) -> tuple[float, float]:
        """Equal-tailed interval of the prior."""
        tail = (1 - probability) / 2
        lower, upper = self.frozen().ppf([tail, 1 - tail])
        return float(lower), float(upper)

    def sample(self, rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
        """Draws from the prior."""
        return np.asarray(self.frozen().rvs(size=size, random_state=rng))


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
        if setting.dist != defaults[name].dist:
            raise DataError(
                f"[priors.{model}.{name}]: dist is {setting.dist}, but this parameter takes a "
                f"{defaults[name].dist}: its support is part of the model (an SD is above 0, a mean is not)."
            )
        resolved[name] = Prior(setting.dist, dict(setting.params), setting.why, overridden=True)
    return resolved
