"""Other priors that a model is fitted under, to see what rests on the ones it has: each a change of some of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from bayes_her2.bayesian.priors import Prior


@dataclass(frozen=True)
class Change:
    """What becomes of the priors whose name matches.

    Attributes
    ----------
    pattern
        Name of a prior, or a shell pattern of names.
    factor
        By which the scale (``sigma``) is multiplied.
    sigma
        The new scale, if it does not depend on the old one.
    nu
        Degrees of freedom, where a half-normal becomes a half-t.
    """

    pattern: str
    factor: float = 1.0
    sigma: float | None = None
    nu: float | None = None

    def of(self, prior: Prior, why: str) -> Prior:
        """Return the changed prior."""
        scale = prior.params["sigma"] * self.factor if self.sigma is None else self.sigma
        params = {**prior.params, "sigma": scale}
        if self.nu is None:
            return Prior(prior.dist, params, why)
        return Prior("HalfStudentT", params | {"nu": self.nu}, why)


@dataclass(frozen=True)
class OtherPriors:
    """Priors of a model, some of them changed together.

    Attributes
    ----------
    name, title
        As options and files have it, and as a column of a figure has it.
    what
        What is changed, in words.
    changes
        Applied in their order; the first that matches a prior is the one it gets.
    """

    name: str
    title: str
    what: str
    changes: tuple[Change, ...]

    def changed(self, priors: Mapping[str, Prior]) -> dict[str, Prior]:
        """Return the priors that are changed, by name, and no others."""
        made = {}
        for name, prior in priors.items():
            for change in self.changes:
                if fnmatchcase(name, change.pattern):
                    other = change.of(prior, self.what)
                    if (other.dist, other.params) != (prior.dist, dict(prior.params)):
                        made[name] = other
                    break
        return made
