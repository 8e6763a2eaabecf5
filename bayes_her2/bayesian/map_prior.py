"""Meta-analytic-predictive prior: what earlier studies say about the effect in a new one, as a mixture of normals.

Earlier studies k have effects theta_k ~ N(mean, tau^2), and so has the new one. The predictive density of its effect,

    p(theta* | data) = integral of N(theta* | mean, tau^2) p(mean, tau | data) over mean and tau,

is computed by quadrature, not by sampling: nothing in it depends on a seed. A small mixture of normals stands in
for it in a graph, and a vague component makes it robust: where the new data contradict the old, the weight moves to
that component.

References
----------
Neuenschwander et al. 2010, doi 10.1177/1740774509356002. Schmidli et al. 2014, doi 10.1111/biom.12242.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import minimize
from scipy.special import logsumexp

from bayes_her2.bayesian.between_studies import MeanEffects, Stratum
from bayes_her2.bayesian.priors import NormalMixture, Prior
from bayes_her2.bayesian.study_likelihood import (
    StudyLikelihood,
    normal_likelihood,
    two_by_two_likelihood,
)
from bayes_her2.data import MIN_STUDIES, EvidenceData, ResponseData
from bayes_her2.errors import DataError, name_some

MEAN_PRIOR = Prior(
    "Normal", {"mu": 0.0, "sigma": 1.0}, "a ratio beyond 7-fold between HER2-low and HER2-0 is implausible"
)
TAU_PRIOR = Prior(
    "HalfNormal",
    {"sigma": 0.5},
    "one SD between studies multiplies an odds ratio by at most 2.7 (95 % of the prior)",
)
VAGUE_WEIGHT = 0.2
"""Prior probability that the earlier studies are about something else."""

MAX_DIVERGENCE = 1e-3
"""Kullback-Leibler divergence (nats) of the mixture from the predictive distribution that is close enough: the log of
their density ratio, averaged over the distribution."""
MAX_COMPONENTS = 5


@dataclass(frozen=True)
class Predictive:
    """Distribution of the effect of a new study, on a grid.

    Attributes
    ----------
    at, density
        Grid of effects (evenly spaced, 12 SDs to either side), and the density.
    mean, sd
        Of the new effect.
    mean_moments, tau_moments
        Posterior mean and SD of the average effect, and of the SD between studies: what a sampled meta-analysis of
        the same studies must find too.
    """

    at: np.ndarray
    density: np.ndarray
    mean: float
    sd: float
    mean_moments: tuple[float, float]
    tau_moments: tuple[float, float]

    @property
    def weights(self) -> np.ndarray:
        """Probability of each grid point; they sum to 1."""
        return np.asarray(self.density / self.density.sum())

    def quantile(self, probability: float) -> float:
        """Quantile of the new effect."""
        return float(np.interp(probability, np.cumsum(self.weights) - self.weights / 2, self.at))


def predictive(
    studies: Sequence[StudyLikelihood], *, mean_prior: Prior = MEAN_PRIOR, tau_prior: Prior = TAU_PRIOR
) -> Predictive:
    """Predictive distribution of the effect of a new study, by quadrature over mean and SD between studies.

    Parameters
    ----------
    studies
        At least one.
    mean_prior, tau_prior
        Normal prior of the average effect, half-normal prior of the SD between studies.
    """
    if not studies:
        raise DataError("a predictive prior needs at least one earlier study.")
    pooled = MeanEffects((Stratum((1.0,), tuple(studies)),), (mean_prior,), (tau_prior,)).of((1.0,))
    average, new = pooled.under(tau_prior), pooled.new_study().under(tau_prior)
    centre, sd = new.moments
    at = np.linspace(centre - 12 * sd, centre + 12 * sd, 2401)
    return Predictive(
        at=at,
        density=new.pdf(at),
        mean=centre,
        sd=sd,
        mean_moments=average.moments,
        tau_moments=average.spread_moments,
    )


def normal_mixture(
    target: Predictive, *, max_divergence: float = MAX_DIVERGENCE
) -> tuple[NormalMixture, float]:
    """Mixture of as few normals as come within `max_divergence` of a distribution, and how far it is from it.

    Minimises the Kullback-Leibler divergence from the distribution on its grid, with one component, then two, up to
    five. The criterion is that divergence, in nats.
    """
    step = float(target.at[1] - target.at[0])
    weights = target.weights
    entropy = float(np.sum(weights * np.log(np.where(weights > 0, weights, 1.0) / step)))
    found, divergence = _normal(target), math.inf
    for size in range(1, MAX_COMPONENTS + 1):
        found = _normal(target) if size == 1 else _closest(target, size)
        divergence = entropy - float(weights @ found.logpdf(target.at))
        if divergence < max_divergence:
            break
    order = np.argsort(found.sds)
    return NormalMixture(found.weights[order], found.means[order], found.sds[order]), divergence


def _normal(target: Predictive) -> NormalMixture:
    return NormalMixture(np.ones(1), np.array([target.mean]), np.array([target.sd]))


def _closest(target: Predictive, size: int) -> NormalMixture:
    """Minimise the divergence over weights (softmax), means and log SDs, from a scale mixture of normals."""
    x, p = target.at, target.weights
    # In units of the distribution itself, so that one tolerance fits every scale.
    z = (x - target.mean) / target.sd

    def parts(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        logits, means, log_sds = np.split(theta, 3)
        return np.exp(logits - logsumexp(logits)), means, np.exp(log_sds)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        share, means, sds = parts(theta)
        off = (z[:, None] - means) / sds
        log_parts = np.log(share) - 0.5 * off**2 - np.log(sds)
        log_density = logsumexp(log_parts, axis=1)
        belongs = p[:, None] * np.exp(log_parts - log_density[:, None])
        of_share = belongs.sum(axis=0)
        gradient = np.concatenate(
            [of_share - share, (belongs * off).sum(axis=0) / sds, (belongs * (off**2 - 1)).sum(axis=0)]
        )
        return -float(p @ log_density), -gradient

    # A scale mixture is what the spread between studies makes of a normal.
    start = np.concatenate([np.zeros(size), np.zeros(size), np.log(np.geomspace(0.3, 1.8, size))])
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 2_000, "ftol": 1e-14, "gtol": 1e-8}
    )
    share, means, sds = parts(found.x)
    return NormalMixture(share / share.sum(), target.mean + target.sd * means, target.sd * sds)


@dataclass(frozen=True)
class MapPrior:
    """Meta-analytic-predictive prior of a log odds ratio.

    Attributes
    ----------
    question
        What the earlier studies compare, in words.
    studies
        Their labels.
    target
        The predictive distribution.
    mixture, divergence
        Its stand-in, and the Kullback-Leibler divergence between the two (nats).
    notices
        Remarks: studies that are left out, crude, second-hand, few or of something else; an approximation that is not
        close.
    """

    question: str
    studies: tuple[str, ...]
    target: Predictive
    mixture: NormalMixture
    divergence: float
    notices: tuple[str, ...] = ()

    def as_prior(self) -> Prior:
        """Return the mixture without a vague component, as a prior of a graph."""
        return mixture_prior(self.mixture, f"predicted for a new study from {self._from}")

    def robust(self, *, vague: Prior, weight: float = VAGUE_WEIGHT) -> Prior:
        """Return the mixture with a vague component, the last one.

        Parameters
        ----------
        vague
            A Normal: the prior that would be used without borrowing.
        weight
            Prior probability of the vague component, between 0 and 1.
        """
        if not 0 < weight < 1:
            raise DataError(
                f"weight of the vague component: {weight:g}; it lies between 0 and 1 (0.2 is usual)."
            )
        _, (mean,), (sd,) = vague.components()
        joint = NormalMixture(
            np.append((1 - weight) * self.mixture.weights, weight),
            np.append(self.mixture.means, mean),
            np.append(self.mixture.sds, sd),
        )
        return mixture_prior(
            joint, f"{1 - weight:.0%} predicted for a new study from {self._from}; {weight:.0%} {vague.why}"
        )

    @property
    def _from(self) -> str:
        return f"{name_some(self.studies)} ({self.question})"


def mixture_prior(mixture: NormalMixture, why: str) -> Prior:
    """Write a mixture of normals as a `Prior`."""
    params = {
        f"{name}_{i}": float(value)
        for name, values in (
            ("weight", mixture.weights / mixture.weights.sum()),
            ("mu", mixture.means),
            ("sigma", mixture.sds),
        )
        for i, value in enumerate(values, start=1)
    }
    return Prior("NormalMixture", params, why)


def map_prior(
    evidence: EvidenceData,
    *,
    new: ResponseData | None = None,
    leave_out: Collection[str] = (),
    mean_prior: Prior = MEAN_PRIOR,
    tau_prior: Prior = TAU_PRIOR,
) -> MapPrior:
    """Build the predictive prior of a log ratio from published results.

    Parameters
    ----------
    evidence
        Studies of one outcome, in one HR stratum. Binomial ones enter by the conditional likelihood of their 2 x 2
        tables on the odds ratio scale, others by the normal likelihood of the log ratio.
    new
        The data that the prior is for: a study with a DOI of theirs is left out, because it would be counted twice.
    leave_out
        Further studies, DOIs or overlap groups that must not be in it.
    mean_prior, tau_prior
        Priors of the average effect, and of the SD between studies.

    Raises
    ------
    DataError
        No study is left, the studies are of two HR strata, or their ratios are no odds ratios.
    """
    wanted = {name.casefold() for name in leave_out}
    table = evidence.studies
    cited = dois_of(new.citation) if new is not None else set()
    own = [str(doi) for doi in table["doi"] if str(doi).casefold() in cited]
    wanted |= {doi.casefold() for doi in own}
    out = [
        bool({str(label).casefold(), str(doi).casefold(), str(group).casefold()} & wanted)
        for label, doi, group in zip(table.index, table["doi"], table["overlap_group"], strict=True)
    ]
    table = table[~np.array(out, dtype=bool)]
    what = f"{evidence.outcome}, {evidence.exposure} over {evidence.reference}, {evidence.adjustment} {evidence.scale}"
    strata = sorted(set(table["hr"]))
    if len(strata) != 1:
        raise DataError(
            f"predictive prior, {what}: "
            + (
                f"no earlier study is left of {len(evidence.studies)}, all being the data that are analysed or in "
                "leave_out; analyse without borrowing"
                if not strata
                else f"studies of {', '.join(strata)}; ask for one HR stratum"
            )
        )
    if evidence.scale != "odds ratio":
        raise DataError(
            f"predictive prior, {what}: the prior is of a log odds ratio; ask for scale = 'odds ratio'"
        )
    counts = ["n_exposed", "events_exposed", "n_reference", "events_reference"]
    if evidence.likelihood == "binomial":
        likelihoods = [
            two_by_two_likelihood(str(label), *(int(value) for value in row))
            for label, row in zip(table.index, table[counts].itertuples(index=False, name=None), strict=True)
        ]
    else:
        likelihoods = [
            normal_likelihood(str(label), float(y), float(se))
            for label, y, se in zip(table.index, table["log_ratio"], table["se"], strict=True)
        ]
    target = predictive(sorted(likelihoods, key=lambda s: s.name), mean_prior=mean_prior, tau_prior=tau_prior)
    mixture, divergence = normal_mixture(target)
    notices = [f"left out, because it is analysed: {name_some(sorted(set(own)))}"] if own else []
    notices += _crude_or_second_hand(evidence.adjustment, table)
    if new is not None:
        notices += _unlike(evidence, strata[0], new)
    if len(table) < MIN_STUDIES:
        k = f"{len(table)} {'study' if len(table) == 1 else 'studies'}"
        notices.append(
            f"{k}, fewer than {MIN_STUDIES}: the spread between studies, and with it how much is borrowed, is mostly "
            f"the prior's ({tau_prior})"
        )
    if divergence > MAX_DIVERGENCE:
        notices.append(
            f"the mixture of {len(mixture.weights)} normals is {divergence:.2g} nats from the "
            "predictive distribution (wanted: "
            f"{MAX_DIVERGENCE:g})"
        )
    return MapPrior(
        question=f"{what}, {strata[0]}",
        studies=tuple(sorted(map(str, table.index))),
        target=target,
        mixture=mixture,
        divergence=divergence,
        notices=tuple(notices),
    )


def dois_of(citation: str) -> set[str]:
    """Whole DOIs of a citation ('doi 10.1000/a; https://doi.org/10.1000/b'), in lower case."""
    words = (word.strip(";,.") for word in citation.casefold().split())
    found = {re.sub(r"^(https?://(dx\.)?doi\.org/|doi:)", "", word) for word in words}
    return {word for word in found if word.startswith("10.")}


def _crude_or_second_hand(adjustment: str, studies: pd.DataFrame) -> list[str]:
    """Say which earlier studies are crude, and which are second-hand."""
    found = []
    if adjustment == "crude":
        found.append(
            f"the odds ratios of {name_some(sorted(map(str, studies.index)))} are crude: patients with HER2-low and "
            "HER2-0 tumours may differ in what else decides the response, and the prior takes that over"
        )
    second_hand = sorted(map(str, studies.index[studies["verified"] != "source text"]))
    if second_hand:
        found.append(f"second-hand, not verified in the source: {name_some(second_hand)}")
    return found


def _unlike(evidence: EvidenceData, stratum: str, new: ResponseData) -> list[str]:
    """Say where the earlier studies estimate something else than the new data."""
    found = []
    if stratum not in new.strata:
        found.append(
            f"the earlier studies are of {stratum} patients, the new data of {', '.join(new.strata)}"
        )
    if evidence.adjustment == "adjusted" and new.adjustment == "none":
        found.append(
            "the earlier odds ratios are adjusted, the new one is not: they estimate different things"
        )
    return found


def information(mixture: NormalMixture, at: np.ndarray) -> np.ndarray:
    """-d^2/dtheta^2 of the log density of a mixture of normals."""
    z = (at[:, None] - mixture.means) / mixture.sds
    log_parts = np.log(mixture.weights) + stats.norm.logpdf(at[:, None], mixture.means, mixture.sds)
    share = np.exp(log_parts - logsumexp(log_parts, axis=1, keepdims=True))
    gradient = -z / mixture.sds
    first = (share * gradient).sum(axis=1)
    second = (share * (gradient**2 - mixture.sds**-2)).sum(axis=1)
    return np.asarray(first**2 - second)


def effective_sample_size(prior: Prior, *, sd_of_one: float) -> dict[str, float]:
    """How many patients a prior is worth, by three definitions.

    Parameters
    ----------
    prior
        A Normal or NormalMixture of an effect whose estimate from n patients has standard error `sd_of_one` / sqrt(n).
    sd_of_one
        For a log odds ratio: the standard error of the data at hand times the square root of their patients, so
        that the answer is in patients of the same design and response rates.

    Returns
    -------
    dict
        ``elir``: expected local information ratio, the mean of the prior's information over that of one patient,
        the only one that is predictively consistent. ``morita``: the prior's information at its mode, less that of
        a prior with 100 times the largest variance. ``moment``: from the prior's variance alone.

    References
    ----------
    Neuenschwander et al. 2020, doi 10.1111/biom.13252. Morita, Thall & Mueller 2008, doi
    10.1111/j.1541-0420.2007.00888.x.
    """
    mixture = NormalMixture(*prior.components())
    at = np.unique(
        np.concatenate(
            [m + s * np.linspace(-10, 10, 2001) for m, s in zip(mixture.means, mixture.sds, strict=True)]
        )
    )
    elir = float(np.trapezoid(mixture.pdf(at) * information(mixture, at), at))
    mode = float(at[np.argmax(mixture.pdf(at))])
    flat = 1.0 / (100.0 * float((mixture.sds**2).max()))
    return {
        "elir": sd_of_one**2 * elir,
        "morita": sd_of_one**2 * (float(information(mixture, np.array([mode]))[0]) - flat),
        "moment": sd_of_one**2 / mixture.std() ** 2,
    }


def prior_data_conflict(prior: Prior, *, estimate: float, se: float) -> float:
    """Two-sided prior predictive tail probability of an estimate: how surprising it is to the prior.

    2 min(F, 1 - F), F the distribution of an estimate with this standard error under the prior (Box 1980, doi
    10.2307/2982063). Normal approximation of the estimate; small values are a conflict.
    """
    weights, means, sds = prior.components()
    below = float(NormalMixture(weights, means, np.sqrt(sds**2 + se**2)).cdf(estimate))
    return 2.0 * min(below, 1.0 - below)
