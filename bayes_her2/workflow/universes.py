"""The universes of the multiverse: what each changes, the model that is fitted to it, and what it is read by.

A universe that changes a study's settings goes through the shared preprocessing like the study itself. One that a
study cannot have (no leukocyte fraction, no P-values) says why by a `DataError`, and is left out with that reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from bayes_her2.bayesian.model import load_model, main_model_of
from bayes_her2.bayesian.other_priors import OtherPriors
from bayes_her2.data import AnalysisSet, CohortTable, TumourData
from bayes_her2.errors import DataError
from bayes_her2.inputs import Study, read_cohorts
from bayes_her2.inputs.study import PriorSetting
from bayes_her2.preprocessing import prepare
from bayes_her2.preprocessing.zero_policies import (
    P_LIMIT,
    SMALL_SHARE,
    Changed,
    add_pseudocount,
    deconvolution_filter,
    replace_zeros,
    shares,
    small_to_zero,
    without_rare,
)
from bayes_her2.workflow.analysis import Job
from bayes_her2.workflow.check import MODEL

MAIN = "main"
LEUKOCYTE_FRACTION = "leukocyte_fraction"
"""Field that turns shares of immune cells into shares of all cells, where the study names no other."""


@dataclass(frozen=True)
class Source:
    """A study with its cohorts as read and its eligible tumours: what universes are made from."""

    study: Study
    cohorts: tuple[CohortTable, ...]
    tumours: TumourData


@dataclass(frozen=True)
class Reading:
    """An estimand of a universe, and the one of the main analysis that it is set against.

    The first reading of a universe is its headline: what its conclusions are counted by.
    """

    estimand: str
    main_estimand: str


@dataclass(frozen=True)
class Made:
    """A universe made from a study."""

    study: Study
    data: AnalysisSet
    used: pd.DataFrame | None


Make = Callable[[Source], tuple[Study, TumourData, pd.DataFrame | None]]


@dataclass(frozen=True)
class Universe:
    """One way to analyse the same study.

    Attributes
    ----------
    name, title
        As options and files have it, and as a column of the figure has it.
    what
        What differs from the main analysis, in words.
    reads
        Estimands, the headline first.
    reading
        What the headline estimand is, and how far it can be compared with the main analysis.
    make
        Gives settings, eligible tumours and the policy's numbers.
    model
        Model file that is fitted.
    """

    name: str
    title: str
    what: str
    reads: tuple[Reading, ...]
    reading: str
    make: Make
    model: str = MODEL
    gates_priors: bool = True
    """Whether a prior check that is not passed keeps its results back: not where the priors themselves are changed."""

    @property
    def refits(self) -> bool:
        """Whether it is more than another reading of the main fit."""
        return self.name == MAIN or self.make is not _as_it_is or self.model != MODEL

    def made(self, source: Source) -> Made:
        """Make the universe.

        Raises
        ------
        DataError
            The study cannot have it; the message is the reason.
        """
        try:
            load_model(self.model)
        except DataError:
            raise DataError(f"there is no model file {self.model}.py.") from None
        study, tumours, used = self.make(source)
        return Made(study, tumours.for_model(main_model_of(self.model)), used)


# --- how they are made -----------------------------------------------------------------------


def _as_it_is(source: Source) -> tuple[Study, TumourData, None]:
    return source.study, source.tumours, None


def _policy(change: Callable[[TumourData], Changed]) -> Make:
    def make(source: Source) -> tuple[Study, TumourData, pd.DataFrame]:
        changed = change(source.tumours)
        return source.study, changed.data, changed.used

    return make


def _p_filter(source: Source) -> tuple[Study, TumourData, None]:
    limited = [c.name for c in source.study.cohorts if c.cibersort.max_p_value is not None]
    if not limited:
        return source.study, deconvolution_filter(source.tumours, source.cohorts), None
    # Tumours above the study's own limit were left out in reading: they are read again.
    without = tuple(
        c.model_copy(update={"cibersort": c.cibersort.model_copy(update={"max_p_value": None})})
        for c in source.study.cohorts
    )
    study = source.study.model_copy(update={"cohorts": without})
    return study, prepare(read_cohorts(study), study), None


def _scale(source: Source) -> tuple[Study, TumourData, None]:
    settings = source.study.abundance
    cohorts: tuple[CohortTable, ...] = source.cohorts
    if settings.scale == "absolute":
        cohorts = tuple(shares(c) for c in cohorts)
        changed = settings.model_copy(update={"scale": "relative"})
    elif settings.multiplier:
        changed = settings.model_copy(update={"multiplier": None})
    else:
        changed = settings.model_copy(update={"multiplier": _leukocyte_fraction(source)})
    study = source.study.model_copy(update={"abundance": changed})
    return study, prepare(cohorts, study), None


def _covariate(source: Source) -> tuple[Study, TumourData, None]:
    adjusting = source.study.model.covariates
    if LEUKOCYTE_FRACTION in adjusting:
        names = tuple(name for name in adjusting if name != LEUKOCYTE_FRACTION)
    else:
        if source.study.abundance.multiplier == LEUKOCYTE_FRACTION:
            raise DataError(
                f"{LEUKOCYTE_FRACTION} is the multiplier of the absolute scale and cannot be a covariate as well."
            )
        names = (*adjusting, _leukocyte_fraction(source))
    settings = source.study.model.model_copy(update={"covariates": names})
    study = source.study.model_copy(update={"model": settings})
    return study, prepare(source.cohorts, study), None


def _with_priors(other: OtherPriors) -> Make:
    """Make of a universe whose priors alone are other ones."""

    def make(source: Source) -> tuple[Study, TumourData, None]:
        job = Job(MODEL, source.tumours.for_model(MODEL), source.study)
        changed = other.changed(job.priors)
        used = {str(variable.name) for variable in job.model.build(job.data, job.priors).basic_RVs}
        if not used & set(changed):
            raise DataError("these tumours have no parameter with a prior that it changes.")
        settings = {
            name: PriorSetting(dist=prior.dist, params=dict(prior.params), why=prior.why)
            for name, prior in changed.items()
        }
        own = {**source.study.priors.get(MODEL, {}), **settings}
        return (
            source.study.model_copy(update={"priors": {**source.study.priors, MODEL: own}}),
            source.tumours,
            None,
        )

    return make


def _leukocyte_fraction(source: Source) -> str:
    """Field of the leukocyte fraction, a number between 0 and 1 in every cohort."""
    for cohort in source.cohorts:
        if LEUKOCYTE_FRACTION not in cohort.tumours.columns:
            raise DataError(f"{cohort.name} has no field {LEUKOCYTE_FRACTION}.")
        values = cohort.tumours[LEUKOCYTE_FRACTION].dropna()
        if not len(values):
            raise DataError(
                f"{cohort.name}: {LEUKOCYTE_FRACTION} is missing in all {len(cohort.tumours)} tumours."
            )
        if not pd.api.types.is_numeric_dtype(values) or not values.between(0, 1).all():
            raise DataError(
                f"{cohort.name}: {LEUKOCYTE_FRACTION} is not a number between 0 and 1 in every tumour that has one."
            )
    return LEUKOCYTE_FRACTION


# --- the universes ---------------------------------------------------------------------------

OVERALL = Reading("overall", "overall")
HURDLE = (
    OVERALL,
    Reading("presence", "presence"),
    Reading("amount", "amount"),
    Reading("high_abundance", "high_abundance"),
)
_SAME = "Ratio of mean abundance, zeros included, per SD of HER2: the main analysis's own estimand."

ABSOLUTE = (
    "The same ratio of another abundance, of all cells instead of immune cells. One number per tumour multiplies all "
    "of its cell types: an association of HER2 with the total infiltrate appears in each of them, so that many rows "
    "say one thing, and errors that they share make intervals of a model that pools cell types too narrow."
)
RELATIVE = "The same ratio of another abundance: of immune cells, whose shares sum to 1 in a tumour."

UNIVERSES: tuple[Universe, ...] = (
    Universe(
        MAIN,
        "Main analysis",
        "The study as it is: hurdle model, a zero is absence.",
        HURDLE,
        _SAME,
        _as_it_is,
    ),
    Universe(
        "tobit",
        "Zero is censored",
        "A zero is a latent abundance below zero (Tobit): one process makes presence and amount.",
        HURDLE,
        f"{_SAME} Presence and amount follow from one latent slope and cannot disagree in sign.",
        _as_it_is,
        model="abundance_tobit",
    ),
    Universe(
        "smallest_positive",
        "Zero to smallest",
        "Each zero is replaced by the smallest positive value of its cell type in its cohort; shares are not made to "
        "sum to 1 again. No zero is left, so presence has no part.",
        (OVERALL,),
        "Ratio of mean abundance per SD, from a gamma model of all tumours. What is put in decides its dispersion: "
        "intervals are wide where the smallest positive value lies far below the rest, and narrow (falsely) where most "
        "values are that one number.",
        _policy(replace_zeros),
    ),
    Universe(
        "pseudocount",
        "Pseudocount",
        f"{SMALL_SHARE:g} of the total is added to every value, zero or not; shares are not made to sum to 1 again.",
        (OVERALL,),
        "Ratio of mean abundance plus the pseudocount: what is added to numerator and denominator alike pulls it "
        "towards 1, the more so the rarer the cell type.",
        _policy(add_pseudocount),
    ),
    Universe(
        "drop_zeros",
        "Zeros dropped",
        "Tumours without a cell type are left out of its analysis. The hurdle's parts share no parameter, so this is "
        "the main fit, read by its amounts.",
        (Reading("amount", "overall"),),
        "Ratio of mean abundance among tumours that have the cell type: another question than the main "
        "analysis's, asked as if it were the same.",
        _as_it_is,
    ),
    Universe(
        "small_to_zero",
        f"<{SMALL_SHARE:g} is zero",
        f"Positive values under {SMALL_SHARE:g} of the total are set to zero: they are called absence.",
        HURDLE,
        _SAME,
        _policy(small_to_zero),
    ),
    Universe(
        "dichotomy",
        "Dichotomy",
        "The seed study's rule: at least the cohort's median where under 25 % are zeros, presence where 25 to 75 % "
        "are, and cell types with more than 75 % zeros in every cohort left out; logistic model of high abundance.",
        (Reading("high_abundance", "overall"), Reading("high_abundance", "high_abundance")),
        "Marginal odds ratio of high abundance per SD: its side can be compared with that of a ratio of means, its "
        "size cannot.",
        _policy(without_rare),
        model="high_abundance",
    ),
    Universe(
        "p_filter",
        "P filter",
        f"Only tumours whose deconvolution has P < {P_LIMIT:g} (or, where the study has such a filter, without it).",
        HURDLE,
        f"{_SAME} In the tumours that are left: the filter selects by immune content.",
        _p_filter,
    ),
    Universe(
        "scale",
        "Other scale",
        "Shares of immune cells times the leukocyte fraction where the study is relative; shares where it is absolute.",
        HURDLE,
        "The same ratio of another abundance: of all cells instead of immune cells, or the reverse.",
        _scale,
    ),
    Universe(
        "leukocyte_covariate",
        "Leukocyte-adjusted",
        "The leukocyte fraction as a covariate (or, where the study adjusts for it, without it).",
        HURDLE,
        f"{_SAME} At a given leukocyte fraction.",
        _covariate,
    ),
)
BY_NAME: Mapping[str, Universe] = {universe.name: universe for universe in UNIVERSES}

PRIOR_UNIVERSES: tuple[Universe, ...] = (
    replace(UNIVERSES[0], what="The study as it is."),
    *(
        Universe(other.name, other.title, other.what, HURDLE, _SAME, _with_priors(other), gates_priors=False)
        for other in load_model(MODEL).OTHER_PRIORS  # type: ignore[attr-defined]
    ),
)
"""The main analysis, and the same under each of the other priors that its model file lists."""


def chosen(only: tuple[str, ...], known: Sequence[Universe] = UNIVERSES) -> tuple[Universe, ...]:
    """Universes by name, the main analysis always among them; all of them where none is named.

    Raises
    ------
    DataError
        Unknown names.
    """
    names = [universe.name for universe in known]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise DataError(f"no universe is named {', '.join(unknown)}; known: {', '.join(names)}.")
    return tuple(u for u in known if not only or u.name in only or u.name == MAIN)


def scale_words(universe: Universe, made: Made, main: Made) -> Universe:
    """Return the universe with what it turned out to be in this study: on or off, absolute or relative."""
    if universe.name == "scale":
        absolute = made.data.scale == "absolute"
        title, reading = ("Absolute scale", ABSOLUTE) if absolute else ("Relative scale", RELATIVE)
        return replace(universe, title=title, what=f"{title}: {made.data.scale_label}.", reading=reading)
    if universe.name == "p_filter":
        if made.study is not main.study:
            what = "Without the study's filter on the deconvolution's P-value."
            return replace(universe, title="No P filter", what=what)
        return replace(universe, what=f"Only tumours whose deconvolution has P < {P_LIMIT:g}.")
    if universe.name == "leukocyte_covariate":
        with_it = LEUKOCYTE_FRACTION in made.study.model.covariates
        title = "Leukocyte-adjusted" if with_it else "Not leukocyte-adj."
        verb = "With" if with_it else "Without"
        return replace(universe, title=title, what=f"{verb} the leukocyte fraction as a covariate.")
    return universe
