"""What a model file is: the protocol that every module of `models/` satisfies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast

import numpy as np
import pandas as pd
import pymc as pm

from bayes_her2.bayesian.outline import Line
from bayes_her2.bayesian.priors import Prior
from bayes_her2.errors import DataError, Faults
from bayes_her2.estimates import KINDS, Estimates, Rope

MODELS: tuple[str, ...] = ("abundance", "high_abundance", "rank_correlation", "marginal_effect", "clinical")
"""Models of tumours, in the order in which a run fits and a report shows them."""

MODELS_OF_RESULTS: tuple[str, ...] = ("evidence_synthesis", "treatment_response")
"""Models of published results and of treated patients: their data are not an `AnalysisSet`."""

ALTERNATIVES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "abundance": {
        "likelihood": (
            "abundance_weibull",
            "abundance_beta",
            "abundance_robust",
            "abundance_lognormal",
            "abundance_tobit",
            "composition",
        ),
        "structure": (
            "abundance_cohort_fixed",
            "abundance_cohort_intercepts",
            "abundance_no_interaction",
            "abundance_no_her2",
            "abundance_unpooled",
            "abundance_horseshoe",
            "abundance_lineage",
            "abundance_spline",
            "abundance_factor",
        ),
    }
}
"""Model -> kind -> its alternatives: fitted to its analysis set to be compared with it, never part of a run.

A ``likelihood`` gives the amounts another distribution, a ``structure`` the linear predictor other terms.
"""


def alternatives_to(main: str) -> tuple[str, ...]:
    """Return the alternatives to a model, of every kind."""
    return tuple(name for names in ALTERNATIVES.get(main, {}).values() for name in names)


MEASUREMENT = "her2_measurement"
"""Model of the HER2 measures themselves: fitted by `measure_study`, never part of a run."""


def main_model_of(name: str) -> str:
    """Return the model that `name` is an alternative to, or `name` itself."""
    return next((main for main in ALTERNATIVES if name in alternatives_to(main)), name)


def unsuited(model: ModelFile, data: Any) -> str:
    """Why a model cannot have these data, or '': what its own ``unsuited(data)`` says, where it has one."""
    asked = getattr(model, "unsuited", None)
    return str(asked(data)) if asked is not None else ""


class ModelFile(Protocol):
    """A module of `bayes_her2.models`: one scientific question.

    What its functions have in common is said here; a model file says what is its own.
    ``data`` is what the module names in its ``DATA``: an `AnalysisSet` for every model of `MODELS`.
    """

    __name__: str
    __file__: str | None
    QUESTION: str
    DATA: str
    ESTIMANDS: Mapping[str, str]
    PRIORS: Mapping[str, Prior]
    TWIN: str

    def priors_for(self, data: Any) -> dict[str, Prior]:
        """Return the default priors for a data set."""

    def build(self, data: Any, priors: Mapping[str, Prior]) -> pm.Model:
        """Return the model as a PyMC graph: no sampling, no files, no randomness.

        Parameters
        ----------
        data
            The model's data.
        priors
            One `Prior` for each name of ``PRIORS``.
        """

    def described(self, data: Any) -> tuple[str, ...]:
        """Say what was fitted to these data, in sentences for a methods section: of the models of a run."""

    def outline(self, data: Any, priors: Mapping[str, Prior]) -> tuple[Line, ...]:
        """Write the model line by line, for equations and a picture: of the models of a run.

        Parameters
        ----------
        data, priors
            As the model is built.
        """

    def estimand_draws(
        self, posterior: Any, data: Any, priors: Mapping[str, Prior], rng: np.random.Generator
    ) -> dict[tuple[str, str], Any]:
        """Turn draws of coefficients into draws of the estimands.

        Parameters
        ----------
        posterior
            Dataset of draws with dims chain and draw.
        data, priors
            As the model was built.
        rng
            For what is not in the data: a new cohort, study or arm, the next patients.

        Returns
        -------
        dict
            (estimand, scope) -> draws with dims chain, draw and labelled others; ratios on the log scale, NaN where not
            estimable.
        """

    def reported(self, posterior: Any) -> dict[str, Any]:
        """Draws of other reported quantities (spreads), which the gate checks too."""

    def estimates(
        self,
        draws: Mapping[tuple[str, str], Any],
        data: Any,
        *,
        interval: float,
        rope: Rope,
    ) -> Estimates:
        """Summarise the draws of the estimands, with status, counts and decisions.

        Parameters
        ----------
        draws
            From `estimand_draws`.
        data
            The data of the fit.
        interval
            Probability of the equal-tailed credible interval.
        rope
            Region of practical equivalence.
        """

    def prior_checks(self, graph: pm.Model, data: Any, seed: int) -> pd.DataFrame:
        """Numeric gates on the prior: ``check``, ``value``, ``lower``, ``upper``, ``passed``."""

    def reader_scale(self, name: str, prior: Prior, interval: float) -> str:
        """Say what a prior means on the reader's scale."""

    def predictive_checks(
        self, graph: pm.Model, posterior: Any, data: Any, seed: int, interval: float
    ) -> pd.DataFrame:
        """Replicate the data; no rows where a model has no such check.

        Columns ``cell_type``, ``cohort``, ``hr``, ``statistic``, ``observed``, ``predicted``, ``lower``, ``upper``,
        ``inside``.
        """

    def tables(
        self,
        posterior: Any,
        draws: Mapping[tuple[str, str], Any],
        data: Any,
        priors: Mapping[str, Prior],
        *,
        interval: float,
    ) -> dict[str, pd.DataFrame]:
        """Further tables that the report shows, by file name (without the model's)."""


class ComparableModel(ModelFile, Protocol):
    """A model file whose predictions of a tumour can be compared with those of others.

    ``OUTCOME`` says what its density is a density of, ``MEASURE`` with respect to what. Models that differ in either
    are not compared by their densities.
    """

    OUTCOME: str
    MEASURE: str

    def log_likelihood(
        self, posterior: Any, data: Any, *, tumours: Sequence[str] | None = None, max_draws: int = 4_000
    ) -> Any:
        """Log likelihood of each tumour in each of at most so many draws: dims chain, draw, tumour."""

    def replicate(self, posterior: Any, data: Any, rng: np.random.Generator, *, max_draws: int) -> Any:
        """Abundances from the posterior predictive: dims chain, draw, tumour, cell_type."""


class CalibratedModel(ModelFile, Protocol):
    """A model file that can be held against data simulated from it (`bayes_her2.bayesian.calibration`).

    Where its estimands have further labels than cell type or outcome, stratum and cohort, ``CALIBRATED_AT`` names the
    value of each at which they are. ``NOT_CALIBRATED`` names estimands that are left out. ``CALLS_SIGNS`` is False
    where `estimates` calls no sign by the local false sign rate.
    """

    def replicated(self, draw: Any, data: Any, rng: np.random.Generator) -> Any:
        """Return the same tumours with outcomes from the model at one draw of its parameters.

        Parameters
        ----------
        draw
            As a posterior: dims chain and draw, one each.
        data
            Data whose covariates, cohorts and strata, and what is modelled, stay as they are.
        rng
            Source of randomness.
        """


NEEDED = (
    "QUESTION",
    "DATA",
    "ESTIMANDS",
    "PRIORS",
    "TWIN",
    "priors_for",
    "build",
    "estimand_draws",
    "reported",
    "estimates",
)
"""What a fit and its estimates ask of a model file; the rest of the protocol serves runs, reports and comparisons."""


def load_model(name: str | Path) -> ModelFile:
    """Return the model file of that name, or one of your own.

    Parameters
    ----------
    name
        Name of a file of ``models/``, without its ending; or the path of a file of your own, ending in ``.py``, which
        is executed anew at each call.

    Raises
    ------
    DataError
        Unknown name; the message lists the models. A file of your own that is not there, has the name of a model that
        ships, or lacks what the protocol needs; every fault is named.
    """
    known = (
        *MODELS,
        *MODELS_OF_RESULTS,
        MEASUREMENT,
        *(n for main in ALTERNATIVES for n in alternatives_to(main)),
    )
    if isinstance(name, Path) or name.endswith(".py"):
        return _model_of_file(Path(name), known)
    if name not in known:
        raise DataError(
            f"no model is named {name!r}; known: {', '.join(known)}. For a model file of your own give its path, "
            "ending in .py."
        )
    module: ModuleType = import_module(f"bayes_her2.models.{name}")
    return cast("ModelFile", module)


def _model_of_file(path: Path, known: Sequence[str]) -> ModelFile:
    """Execute a file that a user wrote, and check that it is a model file."""
    if not path.is_file():
        raise DataError(f"{path}: no such model file. Give the path of a Python file.")
    if path.stem in known:
        raise DataError(
            f"{path}: a model that ships has this name, and fits go by name. Give the file another one, such as "
            f"my_{path.stem}.py."
        )
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise DataError(f"{path}: not a Python file. Its name must end in .py.")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    faults = Faults()
    lacking = [needed for needed in NEEDED if not hasattr(module, needed)]
    if lacking:
        faults.add(
            str(path), f"lacks {', '.join(lacking)}; CONTRIBUTING.md, 'Adding a model', says what each is"
        )
    unknown = [estimand for estimand in getattr(module, "ESTIMANDS", {}) if estimand not in KINDS]
    if unknown:
        faults.add(
            str(path),
            f"ESTIMANDS names {', '.join(map(repr, unknown))}, whose value of no association is not known; known: "
            f"{', '.join(KINDS)}",
        )
    faults.raise_if_any()
    return cast("ModelFile", module)
