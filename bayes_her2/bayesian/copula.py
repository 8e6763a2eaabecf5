"""Gaussian copula on normal scores, zeros interval-censored: arrays, likelihood and the Spearman it implies.

Within a group of tumours, z = Phi^-1(rank / (n + 1)) are the normal scores of M exposures, and y* that of an
outcome, known only to lie below t = Phi^-1(share of zeros) where the outcome is zero and nothing can be lower. With
u ~ N(0, I) and residual SD s

    z = S^(1/2) B u,      y* = s (g' u + e),      e ~ N(0, 1),

S being the group's own second moments of z and B a free lower triangle near the identity. Neither the SDs of z and
y* nor the correlation R of the exposures are taken as known: ranks fix them in the sample, not in the population,
and taking them as known makes intervals too narrow (at correlations of 0.6 to 0.75 a nominal 95 % interval covers
0.88 to 0.91; with slope and residual SD free but the exposure's SD known still 0.91 to 0.92).

The correlation of y* with exposure m is rho_m = v_m / sqrt(1 + v' R^-1 v), where v = D^-1 S^(1/2) B g and D holds the
SDs of z. Any real v gives a valid correlation matrix, in whatever order the exposures come. The hierarchy is on
asinh(v): Fisher's z of rho where the group has one exposure, something wider where it has more, because correlated
exposures share what they explain.

References
----------
Genest, Ghoudi & Rivest (1995), Biometrika 82, 543-552, doi 10.1093/biomet/82.3.543. Hoff (2007), Annals of Applied
Statistics 1, 265-283, doi 10.1214/07-AOAS107.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytensor.tensor as pt
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from bayes_her2.bayesian.censored import censored_loglik
from bayes_her2.bayesian.coordinates import UNINFORMED_VARIANCE, Coordinates
from bayes_her2.bayesian.product import matrix_product
from bayes_her2.data import AnalysisSet
from bayes_her2.errors import DataError
from bayes_her2.estimates import ALL
from bayes_her2.ranking import Pairing, check_distinct, groups_of, pairings, support

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_STEEPEST = 2.0  # asinh(v) of a cheap estimate is kept within this


def normal_scores(values: np.ndarray) -> np.ndarray:
    """Phi^-1(midrank / (n + 1)) of each column."""
    return np.asarray(ndtri(rankdata(values, axis=0) / (len(values) + 1.0)), dtype=float)


@dataclass(frozen=True)
class Line:
    """One hierarchy of correlations: an exposure in groups by HR stratum, or regardless of it.

    Attributes
    ----------
    exposure
        Its label.
    pairing
        Name of the `Pairing`.
    overall
        Whether the groups are whole cohorts.
    cohorts
        Those with a group.
    both_strata
        Those with a group in each stratum.
    """

    exposure: str
    pairing: str
    overall: bool
    cohorts: tuple[str, ...]
    both_strata: tuple[str, ...]

    @property
    def label(self) -> str:
        """Name in the model's dims."""
        return f"{self.exposure} (all tumours)" if self.overall else self.exposure


@dataclass(frozen=True)
class Group:
    """Tumours whose ranks are taken together, for the exposures of one pairing."""

    pairing: str
    cohort: str
    stratum: str

    @property
    def label(self) -> str:
        """Name in the model's dims."""
        return f"{self.pairing}: {self.cohort}, {self.stratum}"


@dataclass(frozen=True)
class Term:
    """A coefficient of asinh(v): the correlation in the reference stratum, or the difference of the other one.

    Attributes
    ----------
    name
        ``correlation`` or ``difference``; with ``_single`` for lines that fewer than two cohorts inform.
    prior
        The name without that ending.
    by_cohort
        Whether it varies between cohorts.
    lines
        Labels of its lines.
    coordinates
        Cheap estimates, cohort x line x outcome.
    select
        (Group x exposure) x (cohort x line): what adds up to the asinh(v) of a group.
    """

    name: str
    prior: str
    by_cohort: bool
    lines: tuple[str, ...]
    coordinates: Coordinates
    select: np.ndarray


@dataclass(frozen=True)
class RankDesign:
    """What the copula needs of an analysis set.

    Groups of the infiltrate have one exposure, those of the measures several: arrays are padded with exposures whose
    scores and correlations are zero, which contribute nothing.

    Attributes
    ----------
    cohorts, outcomes, groups, lines
        Labels. Outcomes that no group can carry are left out.
    exposures
        Exposures of each group, in order; those of which too many tumours are tied there are left out.
    n, half, inverse_half
        Tumours of each group, and S^(1/2) and S^(-1/2) of its exposures' scores (S: second moments).
    scales, associations
        Entries of B that are free: labels, and (group, row, column) of each.
    modelled
        Group x outcome: whether it carries the outcome.
    threshold, zero_share
        Group x outcome: share of zeros, and its normal score.
    n_positive, zz, zy, yy
        Positives, and over them the sums of z z', z y and y^2: group x outcome (x exposure (x exposure)). For an
        outcome that is known for some of the tumours, exposures are ranked among those, as the outcome is: the scores
        have no intercept, so both margins need their mean at zero.
    zero_scores, zero_cell
        Exposures' scores of every zero (row x exposure), and its place in the flattened group x outcome.
    estimate, variance
        Cheap asinh(v) of each correlation and its variance, group x exposure x outcome.
    terms
        Coefficients of asinh(v).
    """

    cohorts: tuple[str, ...]
    outcomes: tuple[str, ...]
    groups: tuple[Group, ...]
    lines: tuple[Line, ...]
    exposures: tuple[tuple[str, ...], ...]
    n: np.ndarray
    half: np.ndarray
    inverse_half: np.ndarray
    scales: dict[str, tuple[int, int, int]]
    associations: dict[str, tuple[int, int, int]]
    modelled: np.ndarray
    threshold: np.ndarray
    zero_share: np.ndarray
    n_positive: np.ndarray
    zz: np.ndarray
    zy: np.ndarray
    yy: np.ndarray
    zero_scores: np.ndarray
    zero_cell: np.ndarray
    estimate: np.ndarray
    variance: np.ndarray
    terms: tuple[Term, ...]

    def line(self, exposure: str, *, overall: bool) -> Line | None:
        """Line of an exposure, or None where no group carries it."""
        return next((x for x in self.lines if (x.exposure, x.overall) == (exposure, overall)), None)


def rank_design(data: AnalysisSet) -> RankDesign:
    """Read the groups, their scores and sums off an analysis set.

    Raises
    ------
    DataError
        Measures that rank the tumours of a group alike, or no group that can carry a correlation.
    """
    made = pairings(data)
    carried = {pairing.name: support(data, pairing) for pairing in made}
    strata = (*data.strata, ALL) if len(data.strata) == 2 else data.strata
    groups: list[Group] = []
    for pairing in made:
        table = carried[pairing.name]
        good = table[(table["reason"] == "") & table["stratum"].isin(strata)]
        having = set(zip(good["cohort"], good["stratum"], strict=True))
        groups += [Group(pairing.name, c, s) for c in data.cohorts for s in strata if (c, s) in having]
    if not groups:
        raise DataError(
            "rank_correlation: no cohort has a stratum with 10 tumours and an outcome with 10 positives and ties of at "
            "most 80 %. Leave the model out: [model] fit."
        )
    can = {
        (name, *key)
        for name, table in carried.items()
        for key in table.loc[table["reason"] == "", ["cohort", "stratum", "outcome"]].itertuples(
            index=False, name=None
        )
    }
    wanted = list(dict.fromkeys(str(o) for pairing in made for o in pairing.outcomes.columns))
    outcomes = [o for o in wanted if any((g.pairing, g.cohort, g.stratum, o) in can for g in groups)]
    of = {pairing.name: pairing for pairing in made}
    exposures = []
    for group in groups:
        table = carried[group.pairing]
        good = table[
            (table["reason"] == "") & (table["cohort"] == group.cohort) & (table["stratum"] == group.stratum)
        ]
        kept = set(good["exposure"])
        exposures.append(tuple(str(e) for e in of[group.pairing].exposures.columns if e in kept))
    n_groups, width, n_outcomes = len(groups), max(len(e) for e in exposures), len(outcomes)
    members = {name: groups_of(data, pairing.exposures.index) for name, pairing in of.items()}
    n = np.zeros(n_groups)
    half, inverse_half = (np.tile(np.eye(width), (n_groups, 1, 1)) for _ in range(2))
    modelled = np.zeros((n_groups, n_outcomes), dtype=bool)
    threshold, share, n_positive, yy = (np.zeros((n_groups, n_outcomes)) for _ in range(4))
    zz, zy = np.zeros((n_groups, n_outcomes, width, width)), np.zeros((n_groups, n_outcomes, width))
    estimate = np.zeros((n_groups, width, n_outcomes))
    variance = np.full((n_groups, width, n_outcomes), UNINFORMED_VARIANCE)
    zero_scores, zero_cell = [np.zeros((0, width))], [np.zeros(0, dtype=int)]
    for g, group in enumerate(groups):
        index, pairing, m = (
            members[group.pairing][group.cohort, group.stratum],
            of[group.pairing],
            len(exposures[g]),
        )
        values_of = pairing.exposures.loc[index, list(exposures[g])].to_numpy(float)
        z = normal_scores(values_of)
        n[g], second = len(z), z.T @ z / len(z)
        sd = np.sqrt(np.diag(second))
        check_distinct(list(exposures[g]), second / np.outer(sd, sd), f"{group.cohort}, {group.stratum}")
        values, vectors = np.linalg.eigh(second)
        half[g, :m, :m] = (vectors * np.sqrt(values)) @ vectors.T
        inverse_half[g, :m, :m] = (vectors / np.sqrt(values)) @ vectors.T
        for c, outcome in enumerate(outcomes):
            if (group.pairing, group.cohort, group.stratum, outcome) not in can:
                continue
            y = pairing.outcomes.loc[index, outcome].to_numpy(float)
            known = ~np.isnan(y)
            zc, score = normal_scores(values_of[known]), normal_scores(y[known])
            zero = pairing.zeros.loc[index, outcome].to_numpy(bool)[known]
            modelled[g, c], share[g, c] = True, zero.mean()
            if zero.any():
                threshold[g, c] = ndtri(share[g, c])
                zero_scores.append(np.pad(zc[zero], ((0, 0), (0, width - m))))
                zero_cell.append(np.full(int(zero.sum()), g * n_outcomes + c))
            x, positive = zc[~zero], score[~zero]
            n_positive[g, c], yy[g, c] = len(positive), positive @ positive
            zz[g, c, :m, :m], zy[g, c, :m] = x.T @ x, positive @ x
            estimate[g, :m, c], variance[g, :m, c] = _cheap(zc, score, zero)
    lines = _lines(made, groups, exposures)
    arrays = (estimate, variance)
    return RankDesign(
        cohorts=data.cohorts,
        outcomes=tuple(outcomes),
        groups=tuple(groups),
        lines=lines,
        exposures=tuple(exposures),
        n=n,
        half=half,
        inverse_half=inverse_half,
        scales={
            f"{g.label}: {e}": (k, i, i) for k, g in enumerate(groups) for i, e in enumerate(exposures[k])
        },
        associations={
            f"{g.label}: {exposures[k][i]} on {exposures[k][j]}": (k, i, j)
            for k, g in enumerate(groups)
            for i in range(len(exposures[k]))
            for j in range(i)
        },
        modelled=modelled,
        threshold=threshold,
        zero_share=share,
        n_positive=n_positive,
        zz=zz,
        zy=zy,
        yy=yy,
        zero_scores=np.concatenate(zero_scores),
        zero_cell=np.concatenate(zero_cell),
        estimate=estimate,
        variance=variance,
        terms=tuple(_terms(data, groups, exposures, lines, *arrays)),
    )


def _lines(
    made: tuple[Pairing, ...], groups: list[Group], exposures: list[tuple[str, ...]]
) -> tuple[Line, ...]:
    lines = []
    for overall in (False, True):
        for pairing in made:
            for exposure in map(str, pairing.exposures.columns):
                own = [
                    group
                    for group, has in zip(groups, exposures, strict=True)
                    if group.pairing == pairing.name and (group.stratum == ALL) is overall and exposure in has
                ]
                if not own:
                    continue
                cohorts = tuple(dict.fromkeys(g.cohort for g in own))
                both = tuple(c for c in cohorts if sum(g.cohort == c for g in own) == 2)
                lines.append(Line(exposure, pairing.name, overall, cohorts, both))
    return tuple(lines)


def _terms(
    data: AnalysisSet,
    groups: list[Group],
    exposures: list[tuple[str, ...]],
    lines: tuple[Line, ...],
    estimate: np.ndarray,
    variance: np.ndarray,
) -> list[Term]:
    """Coefficients: each line's correlation, and its difference between strata where both occur."""
    width, n_outcomes = estimate.shape[1:]
    terms: list[Term] = []
    for prior in ("correlation", "difference"):
        for by_cohort in (True, False):
            chosen = []
            for line in lines:
                if prior == "difference" and not (
                    _strata(line, groups, exposures) >= set(data.strata) and len(data.strata) == 2
                ):
                    continue
                informing = line.cohorts if prior == "correlation" else line.both_strata
                if (len(informing) > 1) is by_cohort:
                    chosen.append(line)
            if not chosen:
                continue
            shape = (len(data.cohorts), len(chosen), n_outcomes)
            e, v = np.zeros(shape), np.full(shape, UNINFORMED_VARIANCE)
            select = np.zeros((len(groups), width, len(data.cohorts), len(chosen)))
            for j, line in enumerate(chosen):
                at = {
                    (g.cohort, g.stratum): k
                    for k, g in enumerate(groups)
                    if g.pairing == line.pairing and line.exposure in exposures[k]
                }
                base = ALL if line.overall else data.reference
                for k, cohort in enumerate(data.cohorts):
                    for (own, stratum), g in at.items():
                        if own != cohort or (stratum == ALL) is not line.overall:
                            continue
                        if prior == "correlation" or stratum != base:
                            select[g, exposures[g].index(line.exposure), k, j] = 1.0
                    one = at.get((cohort, base))
                    other = at.get((cohort, data.strata[-1])) if not line.overall else None
                    if prior == "correlation" and one is not None:
                        m = exposures[one].index(line.exposure)
                        e[k, j], v[k, j] = estimate[one, m], variance[one, m]
                    if prior == "difference" and one is not None and other is not None:
                        m, i = exposures[one].index(line.exposure), exposures[other].index(line.exposure)
                        known = np.maximum(variance[one, m], variance[other, i]) < UNINFORMED_VARIANCE
                        e[k, j] = np.where(known, estimate[other, i] - estimate[one, m], 0.0)
                        summed = variance[one, m] + variance[other, i]
                        v[k, j] = np.where(known, summed, UNINFORMED_VARIANCE)
            terms.append(
                Term(
                    name=prior
                    if by_cohort or not any(t.prior == prior for t in terms)
                    else f"{prior}_single",
                    prior=prior,
                    by_cohort=by_cohort,
                    lines=tuple(line.label for line in chosen),
                    coordinates=Coordinates(e, v),
                    select=select.reshape(len(groups) * width, -1),
                )
            )
    return terms


def _strata(line: Line, groups: list[Group], exposures: list[tuple[str, ...]]) -> set[str]:
    return {
        g.stratum
        for g, has in zip(groups, exposures, strict=True)
        if g.pairing == line.pairing and (g.stratum == ALL) is line.overall and line.exposure in has
    }


def _cheap(z: np.ndarray, score: np.ndarray, zero: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """asinh(v) of each exposure with one outcome, each zero at the mean of its interval; and their variance."""
    filled = score.copy()
    if zero.any():
        share = zero.mean()
        filled[zero] = -np.exp(-(ndtri(share) ** 2) / 2.0) / np.sqrt(2.0 * np.pi) / share
    kept = float(filled @ filled) / len(filled)  # variance that the interval leaves of a unit normal
    rho = (filled @ z) / len(z) / kept / np.sqrt((z * z).mean(axis=0))
    correlation = np.corrcoef(z, rowvar=False).reshape(z.shape[1], z.shape[1])
    explained = min(float(rho @ np.linalg.solve(correlation, rho)), np.tanh(_STEEPEST) ** 2)
    fisher = np.clip(np.arcsinh(rho / np.sqrt(1.0 - explained)), -_STEEPEST, _STEEPEST)
    return fisher, np.full(len(rho), 1.0 / (len(z) * kept))


# --- the graph ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExposureScores:
    """Graph nodes about the exposures of a block.

    Attributes
    ----------
    sd
        Group x exposure: population SD of the scores.
    precision
        Group x exposure x exposure: inverse of their covariance.
    loglik
        Log density of all exposures' scores (one number).
    """

    sd: Any
    precision: Any
    loglik: Any


def exposure_scores(design: RankDesign, log_scale: Any, association: Any) -> ExposureScores:
    """Exposures' scores as normals with free covariance S^(1/2) B B' S^(1/2).

    Parameters
    ----------
    design
        Arrays.
    log_scale
        Log of the diagonal entries of B, as listed in ``scales``.
    association
        Entries of B below its diagonal, as listed in ``associations``; None for single exposures.
    """
    n_groups, width = design.half.shape[:2]
    filled = matrix_product(_placed(design.scales, n_groups * width, width), log_scale).reshape(
        (n_groups, width)
    )
    scale = pt.exp(filled)
    below = [(i, j) for i in range(width) for j in range(i)]
    lower = {ij: matrix_product(_groups_with(design, ij), association) for ij in below}  # B
    inverse = {(i, i): 1.0 / scale[:, i] for i in range(width)}  # B^-1, by forward substitution
    for i, j in below:
        inverse[i, j] = -sum(lower[i, k] * inverse[k, j] for k in range(j, i)) * inverse[i, i]
    diagonal = pt.eye(width)[None] * scale[:, None, :]
    b = diagonal + _below(lower, width)
    b_inverse = pt.eye(width)[None] / scale[:, None, :] + _below(inverse, width)
    loading = _product(design.half, b)
    whitening = _product(b_inverse, design.inverse_half)
    # The sample second moments of S^(-1/2) z are the identity, so that the sum over tumours is n |B^-1|^2.
    loglik = -(design.n * (filled.sum(axis=1) + 0.5 * (b_inverse**2).sum(axis=(1, 2)))).sum()
    return ExposureScores(
        sd=pt.sqrt((loading**2).sum(axis=2)),
        precision=_product(whitening.dimshuffle(0, 2, 1), whitening),
        loglik=loglik,
    )


def _placed(entries: dict[str, tuple[int, int, int]], rows: int, width: int) -> np.ndarray:
    """One-hot: (group x exposure) x entry."""
    placed = np.zeros((rows, len(entries)))
    for column, (g, i, _) in enumerate(entries.values()):
        placed[g * width + i, column] = 1.0
    return placed


def _groups_with(design: RankDesign, ij: tuple[int, int]) -> np.ndarray:
    """One-hot: group x association, for those of row and column `ij`."""
    placed = np.zeros((len(design.groups), len(design.associations)))
    for column, (g, *place) in enumerate(design.associations.values()):
        placed[g, column] = float(tuple(place) == ij)
    return placed


def _below(entries: dict[tuple[int, int], Any], width: int) -> Any:
    """Group x row x column from the entries below the diagonal (others are ignored)."""
    total: Any = 0.0
    for (i, j), value in entries.items():
        if i == j:
            continue
        place = np.zeros((1, width, width))
        place[0, i, j] = 1.0
        total = total + value[:, None, None] * place
    return total


def _product(a: Any, b: Any) -> Any:
    """Matrix product within each group; the matrices are tiny."""
    return (pt.as_tensor(a)[:, :, :, None] * pt.as_tensor(b)[:, None, :, :]).sum(axis=2)


def outcome_scores_loglik(design: RankDesign, scores: ExposureScores, fisher_z: Any, log_scale: Any) -> Any:
    """Log density of all outcomes' scores given the exposures' (one number).

    Positives enter through their sums over the group; a zero contributes log Phi((t - E y*) / s).

    Parameters
    ----------
    design, scores
        Arrays, and nodes of the exposures.
    fisher_z
        Group x exposure x outcome: asinh(v).
    log_scale
        Group x outcome: log SD of y*.
    """
    M = design.half.shape[1]
    v = pt.sinh(fisher_z) * scores.sd[:, :, None]
    slope = _product(scores.precision, v)  # of y* / s on z
    explained = (v * slope).sum(axis=1)
    residual_sd = pt.exp(log_scale) / pt.sqrt(1.0 + explained)
    by_outcome = slope.dimshuffle(0, 2, 1)
    cross = (design.zy * by_outcome).sum(axis=2)
    square = sum(
        design.zz[:, :, i, j] * by_outcome[:, :, i] * by_outcome[:, :, j] for i in range(M) for j in range(M)
    )
    positive = -design.n_positive * pt.log(residual_sd) - 0.5 * (
        design.yy / residual_sd**2 - 2.0 * cross / residual_sd + square
    )
    total = positive.sum()
    if len(design.zero_cell):
        bound = (design.threshold / residual_sd).flatten()
        total = total + censored_loglik(
            bound, by_outcome.reshape((-1, M)), design.zero_scores, design.zero_cell
        )
    return total


# --- from draws to correlations -------------------------------------------------------------------


def correlations(fisher_z: np.ndarray, exposures: np.ndarray) -> np.ndarray:
    """Correlations of each outcome's latent score with each exposure's.

    Parameters
    ----------
    fisher_z
        (..., exposure, outcome): asinh(v).
    exposures
        (..., exposure, exposure): correlation matrix R of the exposures.
    """
    v = np.sinh(fisher_z)
    explained = (v * np.linalg.solve(exposures, v)).sum(axis=-2, keepdims=True)
    return np.asarray(v / np.sqrt(1.0 + explained))


def exposure_covariance(
    design: RankDesign, log_scale: np.ndarray, association: np.ndarray | None
) -> np.ndarray:
    """Give the population covariance of the exposures' scores, (draw, group, exposure, exposure), from draws of B.

    Exposures that a group does not have are unit normals of their own.
    """
    b = np.tile(np.eye(design.half.shape[1]), (len(log_scale), len(design.groups), 1, 1))
    for column, (g, i, _) in enumerate(design.scales.values()):
        b[:, g, i, i] = np.exp(log_scale[:, column])
    for column, (g, i, j) in enumerate(design.associations.values()):
        if association is not None:
            b[:, g, i, j] = association[:, column]
    loading = design.half @ b
    return np.asarray(loading @ np.swapaxes(loading, -1, -2))


def as_correlation(covariance: np.ndarray) -> np.ndarray:
    """Correlation matrices of covariance matrices, over the last two axes."""
    sd = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    return np.asarray(covariance / (sd[..., :, None] * sd[..., None, :]))


def latent_spearman(rho: np.ndarray) -> np.ndarray:
    """Spearman's correlation of a bivariate normal: (6 / pi) asin(rho / 2)."""
    return np.asarray(6.0 / np.pi * np.arcsin(rho / 2.0))


def tied_spearman(rho: np.ndarray, zero_share: np.ndarray) -> np.ndarray:
    """Spearman's correlation (of midranks) when the outcome's lowest scores are all zero, hence tied.

    With F the midrank function of the outcome (p / 2 for a zero, p its share), Spearman's rho in the population is
    cov(Phi(x), F(y)) over their SDs, and the SD of F(y) is ((1 - p^3) / 12)^(1/2). By Plackett's identity the
    covariance has the derivative

        d/dr E[(2 Phi(x) - 1)(2 F(y) - 1)] = 2 / (pi (4 - r^2)^(1/2)) Phi(-t ((4 - r^2) / (2 - r^2))^(1/2))
                                             + 2 p phi(t) phi(r t / (2 - r^2)^(1/2)) / (2 - r^2)^(1/2)

    in the latent correlation r, with t = Phi^-1(p); it is integrated from 0 to rho by Gauss-Legendre
    quadrature. Without zeros this is (6 / pi) asin(rho / 2).

    Parameters
    ----------
    rho
        Latent correlations, (..., outcome).
    zero_share
        Share of zeros in [0, 1), broadcast against `rho`.

    References
    ----------
    Plackett (1954), Biometrika 41, 351-360, doi 10.2307/2332716.
    """
    share = np.asarray(zero_share, dtype=float)
    tied = share > 0
    t = np.where(tied, ndtri(np.where(tied, share, 0.5)), 0.0)
    density = np.exp(-0.5 * t**2) / np.sqrt(2.0 * np.pi)
    total = np.zeros(np.broadcast_shapes(np.shape(rho), share.shape))
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        r = rho * (0.5 * (1.0 + node))
        outer, inner = 4.0 - r * r, 2.0 - r * r
        above = np.where(tied, ndtr(-t * np.sqrt(outer / inner)), 1.0)
        jump = share * density * np.exp(-0.5 * r * r * t * t / inner) / np.sqrt(inner)
        total += weight * (2.0 / np.pi * above / np.sqrt(outer) + np.sqrt(2.0 / np.pi) * jump)
    return np.asarray(3.0 * total * (0.5 * rho) / np.sqrt(1.0 - share**3))
