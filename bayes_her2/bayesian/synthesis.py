"""Arrays of a meta-analysis, cheap estimates for its coordinates, its draws, and its posterior by quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr
from scipy.special import expit

from bayes_her2.bayesian.between_studies import MeanEffects, Stratum
from bayes_her2.bayesian.coordinates import TYPICAL_SPREAD, PooledLikelihoodInformed
from bayes_her2.bayesian.predictive import prior_draws
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.product import matrix_product
from bayes_her2.bayesian.study_likelihood import StudyLikelihood, normal_likelihood, two_arm_likelihood
from bayes_her2.bayesian.summary import RowOf, Standing
from bayes_her2.data import DIFFERENCE, HR_NEGATIVE, HR_POSITIVE, MIN_STUDIES, EvidenceData, EvidenceSet

CODE = {HR_POSITIVE: -0.5, HR_NEGATIVE: 0.5}
"""HR status in a question with both strata: the pooled effect lies midway between them."""
SPREAD_SCALES = (0.1, 0.25, 0.5, 1.0)
"""Scales of the half-normal prior on the spread between studies that the sweep tries, beside the one in use."""


@dataclass(frozen=True)
class SynthesisDesign:
    """What the graph needs of an `EvidenceSet`.

    Attributes
    ----------
    data
        The questions.
    """

    data: EvidenceSet

    @property
    def studies(self) -> pd.DataFrame:
        """All rows; see `EvidenceSet.studies`."""
        return self.data.studies

    @cached_property
    def pool(self) -> np.ndarray:
        """Position of each row's question."""
        return self.studies["pool"].to_numpy(dtype=int)

    @cached_property
    def code(self) -> np.ndarray:
        """HR status of each row, -0.5 or 0.5; 0 in a question with one stratum."""
        both = np.array([pool.both_strata for pool in self.data.pools])
        own = self.studies["hr"].map(CODE).fillna(0.0).to_numpy(dtype=float)
        return np.where(both[self.pool], own, 0.0)

    @cached_property
    def counted(self) -> np.ndarray:
        """Whether a row enters by its counts."""
        return np.asarray(self.studies["likelihood"] == "binomial")

    @cached_property
    def both(self) -> list[str]:
        """Questions with both HR strata."""
        return [pool.question for pool in self.data.pools if pool.both_strata]

    @cached_property
    def rough(self) -> tuple[np.ndarray, np.ndarray]:
        """Log ratio and variance of each row; from counts with half a patient added, which chooses coordinates only."""
        estimate = self.studies["log_ratio"].to_numpy(dtype=float, copy=True)
        variance = self.studies["se"].to_numpy(dtype=float) ** 2
        if self.counted.any():
            estimate[self.counted], variance[self.counted] = _log_odds_ratio(
                _cells(self.studies[self.counted]) + 0.5
            )
        return estimate, variance

    @cached_property
    def rough_base(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean log odds of the two groups of each counted row, and its variance."""
        cells = _cells(self.studies[self.counted]) + 0.5
        logits = np.log(cells[:, [0, 2]] / cells[:, [1, 3]])
        return logits.mean(axis=1), (1.0 / cells).sum(axis=1) / 4.0

    def midway(self) -> tuple[PooledLikelihoodInformed, np.ndarray]:
        """Coordinates and initial values of the pooled effects: they know the spread between studies."""
        return self._coordinates(self.data.questions, lambda sides: np.full(len(sides), 1.0 / len(sides)))

    def difference(self) -> tuple[PooledLikelihoodInformed, np.ndarray]:
        """Coordinates and initial values of HR- over HR+, in the questions with both strata."""
        return self._coordinates(self.both, np.sign)

    def _coordinates(
        self, questions: list[str], combined: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[PooledLikelihoodInformed, np.ndarray]:
        """Sides (HR strata) of the questions are pooled each, and combined with weights by their code."""
        rows = np.asarray(self.studies["question"].isin(questions))
        estimate, variance = (rough[rows] for rough in self.rough)
        position = np.array([questions.index(q) for q in self.studies.loc[rows, "question"]])
        code = self.code[rows]
        sides = [(i, c) for i in range(len(questions)) for c in np.unique(code[position == i])]
        member = np.array([(position == i) & (code == c) for i, c in sides], dtype=float)
        weights = np.zeros((len(questions), len(sides)))
        for i in range(len(questions)):
            own = [k for k, (question, _) in enumerate(sides) if question == i]
            weights[i, own] = combined(np.array([sides[k][1] for k in own]))
        weight = member / (variance + TYPICAL_SPREAD**2)
        start = weights @ ((weight @ estimate) / weight.sum(axis=1))
        return _BySide(estimate, variance, member, weights, position), start


def _cells(counted: pd.DataFrame) -> np.ndarray:
    """Give counted rows x (events, others) of the exposed and of the reference group."""
    columns = [counted[f"{what}_{group}"] for group in ("exposed", "reference") for what in ("events", "n")]
    e1, n1, e0, n0 = (column.to_numpy(dtype=float) for column in columns)
    return np.stack([e1, n1 - e1, e0, n0 - e0], axis=1)


def _log_odds_ratio(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log odds ratio of each row of cells, and its variance."""
    return np.log(cells[:, 0] * cells[:, 3] / (cells[:, 1] * cells[:, 2])), (1.0 / cells).sum(axis=1)


class _BySide(PooledLikelihoodInformed):
    """Pooled coordinates of combinations of sides, where every question has a spread of its own."""

    name = "by_side"

    def __init__(
        self,
        estimate: np.ndarray,
        variance: np.ndarray,
        member: np.ndarray,
        weights: np.ndarray,
        question: np.ndarray,
    ) -> None:
        super().__init__(estimate, variance, member)
        self.weights, self.question = weights, question

    def information(self, inputs: tuple[Any, ...]) -> tuple[Any, Any]:
        """Pool each side over its studies given the spread between them, and combine the sides."""
        weight = 1.0 / (self.variance + inputs[-3][self.question] ** 2)
        total = matrix_product(self.member, weight)
        side = matrix_product(self.member, weight * self.estimate) / total
        precision = 1.0 / matrix_product(self.weights**2, 1.0 / total)
        return precision, precision * matrix_product(self.weights, side)


def ratio_draws(
    posterior: xr.Dataset, data: EvidenceSet, rng: np.random.Generator
) -> dict[tuple[str, str], xr.DataArray]:
    """Log ratios: of each question and HR stratum, of a study not yet made, and of each study.

    A study that enters by its log ratio has no parameter in the graph; given the pooled effect and the spread, its
    own effect is normal, and is drawn here.
    """
    design = SynthesisDesign(data)
    dims = ("chain", "draw")
    effect, difference, spread = _by_question(posterior, design)
    pooled, new, labels, of_new = [], [], [], []
    for i, pool in enumerate(data.pools):
        for stratum in pool.coords["hr"]:
            code = CODE.get(stratum, 0.0) if pool.both_strata else 0.0
            pooled.append(effect[..., i] + code * difference[..., i])
            new.append(pooled[-1] + spread[..., i] * rng.normal(size=spread.shape[:2]))
            labels.append(_label(pool, stratum))
            of_new.append(_label(pool, stratum))
        if pool.both_strata:
            pooled.append(difference[..., i])
            labels.append(_label(pool, DIFFERENCE))
    mean = _of_studies(effect, difference, design)
    estimate, variance = design.rough
    shrunk = spread[..., design.pool] ** 2
    own = (shrunk * estimate + variance * mean) / (variance + shrunk)
    own = own + np.sqrt(shrunk * variance / (variance + shrunk)) * rng.normal(size=own.shape)
    if design.counted.any():
        own[..., design.counted] = posterior["study_effect"].transpose(*dims, "counted_study").to_numpy()
    return {
        ("published_ratio", "pooled"): _array(np.stack(pooled, axis=-1), labels),
        ("published_ratio", "new cohort"): _array(np.stack(new, axis=-1), of_new),
        ("published_ratio", "cohort"): _array(own, list(design.studies.index)),
    }


def _by_question(posterior: xr.Dataset, design: SynthesisDesign) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pooled effect, difference of the HR strata (0 where there is one) and spread: chain x draw x question."""
    questions = design.data.questions
    effect, spread = (
        posterior[name].sel(question=questions).transpose("chain", "draw", "question").to_numpy()
        for name in ("effect", "between_studies_sd")
    )
    difference = np.zeros_like(effect)
    for question in design.both:
        own = posterior["hr_difference"].sel(question_with_both=question)
        difference[..., questions.index(question)] = own.transpose("chain", "draw").to_numpy()
    return effect, difference, spread


def _of_studies(effect: np.ndarray, difference: np.ndarray, design: SynthesisDesign) -> np.ndarray:
    """Mean of each study's log ratio, on the last axis."""
    mean: np.ndarray = effect[..., design.pool] + design.code * difference[..., design.pool]
    return mean


def synthesis_replicated(draw: xr.Dataset, data: EvidenceSet, rng: np.random.Generator) -> EvidenceSet:
    """Return the same studies with results from one draw of the model; see `CalibratedModel.replicated`.

    A study that enters by its log ratio keeps its standard error, one that enters by counts the size of its groups.
    """
    design = SynthesisDesign(data)
    effect, difference, spread = (values[0, 0] for values in _by_question(draw, design))
    studies = design.studies.copy()
    printed = ~design.counted
    mean = _of_studies(effect, difference, design)
    sd = np.sqrt(spread[design.pool] ** 2 + design.rough[1])
    studies.loc[printed, "log_ratio"] = rng.normal(mean, sd)[printed]
    studies.loc[printed, ["events_exposed", "events_reference"]] = pd.NA
    if design.counted.any():
        own = studies.index[design.counted]
        one = draw.isel(chain=0, draw=0)
        theta, base = (one[n].sel(counted_study=own).to_numpy() for n in ("study_effect", "study_base"))
        for group, sign in (("exposed", 0.5), ("reference", -0.5)):
            n = studies.loc[own, f"n_{group}"].to_numpy(dtype=int)
            studies.loc[own, f"events_{group}"] = rng.binomial(n, expit(base + sign * theta))
        cells = _cells(studies.loc[own])
        known = (cells > 0).all(axis=1)  # a study with a zero cell has neither
        ratio, variance = _log_odds_ratio(np.where(known[:, None], cells, np.nan))
        studies.loc[own, "log_ratio"], studies.loc[own, "se"] = ratio, np.sqrt(variance)
    pools = []
    for i, pool in enumerate(data.pools):
        made = studies[studies["pool"] == i].set_index("study")
        pools.append(replace(pool, studies=made[list(pool.studies.columns)]))
    return replace(data, pools=tuple(pools))


def _array(values: np.ndarray, labels: list[str]) -> xr.DataArray:
    return xr.DataArray(values, dims=("chain", "draw", "result"), coords={"result": labels})


def _label(pool: EvidenceData, stratum: str) -> str:
    return f"{stratum} | {pool.question}"


def mean_effects(
    pool: EvidenceData, priors: Mapping[str, Prior], spread_priors: Sequence[Prior]
) -> MeanEffects:
    """Return the model of one question for quadrature: questions share no parameter.

    Parameters
    ----------
    pool
        The question.
    priors
        Of the model; those of the spread are in `spread_priors`.
    spread_priors
        Priors of the spread between studies under which the posterior will be asked for.
    """

    def likelihood(study: Hashable, row: pd.Series[Any]) -> StudyLikelihood:
        if pool.likelihood == "normal":
            return normal_likelihood(str(study), float(row["log_ratio"]), float(row["se"]))
        counts = (
            int(row[f"{what}_{group}"]) for group in ("exposed", "reference") for what in ("n", "events")
        )
        return two_arm_likelihood(str(study), *counts, base=priors["study_base"])

    strata = []
    for hr in pool.coords["hr"]:
        own = pool.studies[pool.studies["hr"] == hr].sort_index()
        studies = tuple(likelihood(study, row) for study, row in own.iterrows())
        strata.append(Stratum((1.0, CODE[hr]) if pool.both_strata else (1.0,), studies))
    names = ("effect", "hr_difference") if pool.both_strata else ("effect",)
    return MeanEffects(tuple(strata), tuple(priors[name] for name in names), tuple(spread_priors))


def heterogeneity_sweep(
    data: EvidenceSet,
    priors: Mapping[str, Prior],
    *,
    interval: float,
    scales: tuple[float, ...] = SPREAD_SCALES,
) -> pd.DataFrame:
    """Pooled and predicted ratios under several priors on the spread between studies, by quadrature.

    The posterior of the graph, without sampling: base rates and effects of the studies, and the means of the strata are
    integrated at each spread (`between_studies`), so no prior of the spread is further from the data than another.

    Parameters
    ----------
    data
        The questions.
    priors
        As in the fit; that of ``between_studies_sd`` is one of those that are tried.
    interval
        Probability of the equal-tailed credible interval.
    scales
        Further half-normal scales to try.

    Returns
    -------
    pandas.DataFrame
        ``stratum``, ``question``, ``scope``, ``scale``, ``point`` (median), ``lower``, ``upper``, ``excludes_1``.
    """
    tail = (1.0 - interval) / 2.0
    used = priors["between_studies_sd"].params["sigma"]
    swept = {scale: Prior("HalfNormal", {"sigma": scale}, "swept") for scale in sorted({*scales, used})}
    rows = []
    for pool in data.pools:
        effects = mean_effects(pool, priors, list(swept.values()))
        means = {hr: effects.of(s.row) for hr, s in zip(pool.coords["hr"], effects.strata, strict=True)}
        asked = [("pooled", hr, mean) for hr, mean in means.items()]
        if pool.both_strata:
            asked.append(("pooled", DIFFERENCE, effects.of((0.0, 1.0))))
        asked += [("new cohort", hr, mean.new_study()) for hr, mean in means.items()]
        for scope, stratum, given in asked:
            for scale, prior in swept.items():
                found = given.under(prior)
                lower, point, upper = (math.exp(found.quantile(p)) for p in (tail, 0.5, 1.0 - tail))
                rows.append(
                    {
                        "stratum": stratum,
                        "question": pool.question,
                        "scope": scope,
                        "scale": scale,
                        "point": point,
                        "lower": lower,
                        "upper": upper,
                        "excludes_1": lower > 1 or upper < 1,
                    }
                )
    return pd.DataFrame(rows)


class PublishedRows:
    """What each row of a synthesis says besides its numbers.

    Parameters
    ----------
    data
        The questions.
    """

    def __init__(self, data: EvidenceSet) -> None:
        self._pooled = {
            _label(pool, stratum): (pool, stratum)
            for pool in data.pools
            for stratum in (*pool.coords["hr"], DIFFERENCE)
        }
        self._studies = {
            str(label): (data.pools[int(row["pool"])], row) for label, row in data.studies.iterrows()
        }

    def describe(self, estimand: str, scope: str, named: Mapping[str, str]) -> RowOf:
        """Row of `tabulate`."""
        if scope == "cohort":
            pool, row = self._studies[named["result"]]
            standing = Standing(pool.patients(row.to_frame().T), None, "observed", "")
            return _row_of(pool, str(row["hr"]), standing, str(row["study"]))
        pool, stratum = self._pooled[named["result"]]
        return _row_of(pool, stratum, _standing(pool, stratum, scope))


def _row_of(pool: EvidenceData, stratum: str, standing: Standing, study: str = "") -> RowOf:
    return RowOf(
        outcome=pool.outcome,
        unit=pool.unit(stratum),
        standing=standing,
        exposure=pool.exposure,
        contrast=pool.contrast,
        adjustment=pool.adjustment,
        stratum=stratum,
        cohort=study,
    )


def _standing(pool: EvidenceData, stratum: str, scope: str) -> Standing:
    """Say how many studies stand behind a pooled row, and what of it is prior."""
    own = pool.studies if stratum == DIFFERENCE else pool.studies[pool.studies["hr"] == stratum]
    sides = pool.studies.groupby("hr")["overlap_group"].nunique()
    n_here = int(sides.min() if stratum == DIFFERENCE else sides[stratum])
    note = f"{n_here} stud{'y' if n_here == 1 else 'ies'}"
    if stratum == DIFFERENCE:
        note = ", ".join(f"{sides[hr]} {hr}" for hr in pool.coords["hr"]) + " studies"
        if pool.studies.groupby("overlap_group")["hr"].nunique().min() == 1:
            note += "; differences within and between studies are mixed"
    n = pool.patients(own)
    if sides.max() == 1:
        return Standing(
            n, 0, "prior-only", f"{note}: their own intervals are the evidence, the spread is the prior's"
        )
    if pool.n_studies < MIN_STUDIES:
        status = "prior-only" if scope == "new cohort" else "borrowed"
        return Standing(
            n, None, status, f"{note}; with so few the width is mostly the prior's on their spread"
        )
    if n_here == 1:
        return Standing(n, None, "borrowed", f"{note}; the spread is taken from the other HR stratum")
    return Standing(n, None, "observed", note)


def synthesis_prior_predictive(graph: pm.Model, data: EvidenceSet, seed: int) -> pd.DataFrame:
    """Numeric gates on the prior: what it thinks of ratios and of shares of patients with the event.

    Drawn from the graph that is fitted, so an override of a prior is checked as it is used.
    """
    design = SynthesisDesign(data)
    names = ["effect", "between_studies_sd"] + (["study_base"] if design.counted.any() else [])
    drawn = {name: values.to_numpy() for name, values in prior_draws(graph, names, seed).items()}
    effect, spread = drawn["effect"], drawn["between_studies_sd"]
    new = effect + spread * np.random.default_rng(seed).normal(size=effect.shape)
    gates = [
        ("share of pooled ratios beyond 10-fold", float((np.abs(effect) > np.log(10)).mean()), 0.0, 0.05),
        ("share of pooled ratios beyond 1.5-fold", float((np.abs(effect) > np.log(1.5)).mean()), 0.3, 1.0),
        ("share of new studies' ratios beyond 20-fold", float((np.abs(new) > np.log(20)).mean()), 0.0, 0.05),
    ]
    if design.counted.any():
        share = expit(drawn["study_base"])
        extreme = float(((share < 0.005) | (share > 0.995)).mean())
        gates.append(
            ("share of studies with fewer than 0.5 % or more than 99.5 % events", extreme, 0.0, 0.05)
        )
    rows = [(name, value, low, high, low <= value <= high) for name, value, low, high in gates]
    return pd.DataFrame(rows, columns=["check", "value", "lower", "upper", "passed"])


def synthesis_posterior_predictive(
    graph: pm.Model, posterior: xr.Dataset, data: EvidenceSet, seed: int, interval: float
) -> pd.DataFrame:
    """Replicate each study's ratio from the prediction for a new study, to see a study unlike the others.

    The ratio of a replicate has the study's own standard error; studies with a zero cell have none, and no row.
    """
    rng = np.random.default_rng([seed, 2])
    new = ratio_draws(posterior, data, rng)["published_ratio", "new cohort"]
    tail = (1.0 - interval) / 2.0
    rows = []
    for pool in data.pools:
        for study, row in pool.studies[pool.studies["se"].notna()].iterrows():
            predicted = new.sel(result=_label(pool, str(row["hr"]))).to_numpy().ravel()
            replicated = predicted + float(row["se"]) * rng.normal(size=predicted.size)
            lower, middle, upper = map(float, np.exp(np.quantile(replicated, [tail, 0.5, 1.0 - tail])))
            observed = float(np.exp(row["log_ratio"]))
            rows.append(
                {
                    "cell_type": pool.question,
                    "cohort": str(study),
                    "hr": str(row["hr"]),
                    "statistic": pool.scale,
                    "observed": observed,
                    "predicted": middle,
                    "lower": lower,
                    "upper": upper,
                    "inside": lower <= observed <= upper,
                }
            )
    return pd.DataFrame(rows)


def synthesis_reader_scale(name: str, prior: Prior, interval: float) -> str:
    """Say what a prior means on the reader's scale."""
    lower, upper = prior.interval(interval)
    level = f"{100 * interval:g}%"
    if name == "study_base":
        return f"{level}: {100 * expit(lower):.2g} to {100 * expit(upper):.3g} % of patients with the event"
    if name == "between_studies_sd":
        top = float(prior.frozen().ppf(interval))
        return f"{level}: one SD between studies multiplies a ratio by at most {np.exp(top):.2g}"
    return f"{level}: ratio {np.exp(lower):.2g} to {np.exp(upper):.2g}"
