"""Logistic and gamma regressions of statsmodels, with what each of them can and cannot estimate.

A regression here may be rank-deficient, or separated in one HR stratum only. Both are the same question:
is the contrast asked for a linear combination of rows that carry information? So one cohort's HR+ slope
is reported although its HR- slope is infinite, and nothing depends on how an iterative fit happens to
break down.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from statsmodels.genmod import families
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.tools.sm_exceptions import ConvergenceWarning, PerfectSeparationWarning

from bayes_her2.frequentist.separation import Separation, separation

_RANK_TOLERANCE = 1e-9
_ESTIMABLE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class RowSpace:
    """Linear combinations of coefficients that a design can estimate.

    Attributes
    ----------
    columns
        Columns of the design.
    scale
        Length of each column (1 for an empty one); rank is judged on columns of length 1.
    basis
        Orthonormal basis of the row space of the scaled design, columns x rank.
    """

    columns: tuple[str, ...]
    scale: NDArray[np.float64]
    basis: NDArray[np.float64]

    @classmethod
    def of(cls, design: pd.DataFrame) -> RowSpace:
        """Row space of a design, from its singular values."""
        values = design.to_numpy(dtype=float)
        length = np.sqrt((values**2).sum(axis=0))
        scale = np.where(length > 0, length, 1.0)
        _, singular, rows = np.linalg.svd(values / scale, full_matrices=False)
        keep = singular > _RANK_TOLERANCE * max(float(singular.max(initial=0.0)), 1e-300)
        return cls(tuple(str(c) for c in design.columns), scale, rows[keep].T)

    @property
    def rank(self) -> int:
        """Number of independent columns."""
        return int(self.basis.shape[1])

    @property
    def is_full(self) -> bool:
        """Whether every coefficient can be estimated."""
        return self.rank == len(self.columns)

    def contains(self, contrasts: pd.DataFrame) -> NDArray[np.bool_]:
        """Whether each row of `contrasts` (contrast x design column) can be estimated."""
        if self.is_full:
            return np.ones(len(contrasts), dtype=bool)
        scaled = contrasts[list(self.columns)].to_numpy(dtype=float) / self.scale
        outside = scaled - scaled @ self.basis @ self.basis.T
        size = np.sqrt((scaled**2).sum(axis=1))
        return np.sqrt((outside**2).sum(axis=1)) <= _ESTIMABLE_TOLERANCE * np.maximum(size, 1e-300)

    def reduced(self, design: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Full-rank design, and the matrix that takes its coefficients back to the named columns."""
        values = design.to_numpy(dtype=float)
        if self.is_full:
            return values, np.eye(len(self.columns))
        back = self.basis / self.scale[:, None]
        return values @ back, back


@dataclass(frozen=True)
class Regression:
    """A fitted regression.

    Attributes
    ----------
    coefficients, covariance
        By design column. Where the design is not of full rank only contrasts for which `estimable` is
        true have a meaning.
    asked, informed
        Row space of all tumours, and of those that are not separated.
    separation
        Tumours predicted without error (none in a gamma regression).
    outcome
        The outcome, by tumour.
    scale
        Pearson dispersion (1 for a logistic regression).
    problem
        Why the fit cannot be used, '' if it can.
    deviance
        Twice the log likelihood below a perfect fit (0 where every tumour is separated).
    """

    coefficients: pd.Series[float]
    covariance: pd.DataFrame
    asked: RowSpace
    informed: RowSpace
    separation: Separation
    outcome: pd.Series[float]
    scale: float
    problem: str = ""
    deviance: float = 0.0

    def estimable(self, contrast: pd.Series[float]) -> bool:
        """Whether the data determine this contrast."""
        return not self.problem and bool(self.informed.contains(contrast.to_frame().T)[0])

    def value(self, contrast: pd.Series[float]) -> float:
        """Value of a contrast of coefficients."""
        coefficients = self.coefficients.loc[contrast.index].to_numpy(dtype=float)
        return float(contrast.to_numpy(dtype=float) @ coefficients)

    def variance(self, gradient: pd.Series[float]) -> float:
        """Variance of a contrast, or by the delta method of anything with this gradient."""
        direction = gradient.to_numpy(dtype=float)
        covariance = self.covariance.loc[gradient.index, gradient.index].to_numpy(dtype=float)
        return float(direction @ covariance @ direction)

    def linear_predictor(self, design: pd.DataFrame) -> pd.Series[float]:
        """Design times coefficients, by tumour."""
        eta = design.to_numpy(dtype=float) @ self.coefficients.loc[design.columns].to_numpy(dtype=float)
        return pd.Series(eta, index=design.index)

    def probability(self, design: pd.DataFrame) -> tuple[pd.Series[float], pd.Series[float]]:
        """Fitted probabilities p and 1 - p of a logistic regression; exactly 0 or 1 for separated tumours."""
        eta = self.linear_predictor(design)
        p = pd.Series(expit(eta.to_numpy()), index=eta.index)
        q = pd.Series(expit(-eta.to_numpy()), index=eta.index)
        fixed = self.separation.rows.reindex(design.index, fill_value=False)
        known = self.outcome.reindex(design.index).astype(float)
        return p.where(~fixed, known), q.where(~fixed, 1.0 - known)


def logistic_regression(design: pd.DataFrame, outcome: pd.Series[bool]) -> Regression:
    """Maximum likelihood logistic regression on the tumours that are not separated.

    Tumours that some column combination predicts without error have fitted probability 0 or 1 and do not
    inform the remaining contrasts, which are estimated from the others (the limiting conditional model;
    Geyer 2009, doi 10.1214/08-EJS349).

    Parameters
    ----------
    design
        Tumour x column, intercept included.
    outcome
        Tumour -> bool, same index.

    Returns
    -------
    Regression
        With ``separation`` filled and the dispersion fixed at 1.
    """
    found = separation(design, outcome)
    informative = design.loc[~found.rows]
    return _fit(
        informative,
        outcome.loc[informative.index].astype(float),
        family=families.Binomial(),
        scale=1.0,
        weights=None,
        asked=RowSpace.of(design),
        found=found,
        outcome=outcome.astype(float),
    )


def gamma_regression(
    design: pd.DataFrame, outcome: pd.Series[float], *, dispersion: pd.Series[float] | None = None
) -> Regression:
    """Gamma regression with log link.

    Parameters
    ----------
    design
        Tumour x column, intercept included; tumours with a positive outcome only.
    outcome
        Tumour -> abundance > 0, same index.
    dispersion
        Dispersion of each tumour, taken as known (cohorts differ in shape). Without it one Pearson
        dispersion X^2 / (n - p) is estimated.

    Returns
    -------
    Regression
        With the Pearson dispersion as ``scale`` (1 if `dispersion` was given).
    """
    space = RowSpace.of(design)
    none = Separation("none", pd.Series(False, index=design.index, name="separated"))
    return _fit(
        design,
        outcome.astype(float),
        family=families.Gamma(link=families.links.Log()),
        scale=None if dispersion is None else 1.0,
        weights=None if dispersion is None else 1.0 / dispersion.loc[design.index],
        asked=space,
        found=none,
        outcome=outcome.astype(float),
    )


def _fit(
    design: pd.DataFrame,
    response: pd.Series[float],
    *,
    family: families.Family,
    scale: float | None,
    weights: pd.Series[float] | None,
    asked: RowSpace,
    found: Separation,
    outcome: pd.Series[float],
) -> Regression:
    space = RowSpace.of(design)
    reduced, back = space.reduced(design)
    size = space.rank
    coefficients, covariance, dispersion = np.full(size, np.nan), np.full((size, size), np.nan), np.nan
    problem, deviance = "", 0.0
    if not size:
        pass  # every tumour is separated: no contrast lies in an empty row space
    elif scale is None and len(design) <= size:
        problem = f"{len(design)} tumours for {size} coefficients leave no dispersion to estimate"
    else:
        model = GLM(
            response.to_numpy(),
            reduced,
            family=family,
            var_weights=None if weights is None else weights.to_numpy(),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error", PerfectSeparationWarning)
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                result = model.fit(maxiter=200, tol=1e-10, scale="X2" if scale is None else scale)
            except (PerfectSeparationWarning, ConvergenceWarning, np.linalg.LinAlgError) as failure:
                problem = f"the regression did not converge: {failure}"
            else:
                coefficients, covariance = result.params, result.cov_params()
                dispersion, deviance = float(result.scale), float(result.deviance)
                if not (result.converged and np.isfinite(covariance).all()):
                    problem = "the regression did not converge"
    names = list(space.columns)
    return Regression(
        coefficients=pd.Series(back @ coefficients, index=names, dtype=float),
        covariance=pd.DataFrame(back @ covariance @ back.T, index=names, columns=names),
        asked=asked,
        informed=space,
        separation=found,
        outcome=outcome,
        scale=dispersion,
        problem=problem,
        deviance=deviance,
    )
