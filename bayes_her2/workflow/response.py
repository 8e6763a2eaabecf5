"""What earlier studies add to the seed study's response: borrowing side by side, and the curves behind it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayes_her2.bayesian.map_prior import VAGUE_WEIGHT, map_prior
from bayes_her2.bayesian.model import load_model
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.response import SLOPES
from bayes_her2.bayesian.two_by_two import TwoByTwo, borrowing, borrowing_by_heterogeneity, exact_posterior
from bayes_her2.data import ResponseData
from bayes_her2.evidence.schema import PATHOLOGICAL_RESPONSE
from bayes_her2.evidence.selection import studies_for
from bayes_her2.evidence.table import EvidenceTable
from bayes_her2.workflow.check import RESPONSE

GRID = np.round(np.arange(-3.0, 2.5001, 0.02), 2)
"""Log odds ratios of the curves."""


def borrowing_tables(data: ResponseData, table: EvidenceTable, *, interval: float) -> dict[str, pd.DataFrame]:
    """Pathological complete response with and without what other studies of the same HR stratum predict.

    Parameters
    ----------
    data
        The new data, of one HR stratum.
    table
        Published results; the study that is analysed is left out by its DOI.
    interval
        Probability of the equal-tailed credible intervals.

    Returns
    -------
    dict
        By file name: ``borrowing``, ``borrowing_heterogeneity``, ``curves`` (densities of the log odds ratio) and
        ``borrowing_notices``.
    """
    (stratum,) = data.strata
    priors = load_model(RESPONSE).priors_for(data)
    intercept, without = priors["intercept"], priors[SLOPES[stratum]]
    evidence = studies_for(
        table, PATHOLOGICAL_RESPONSE, scale="odds ratio", adjustment="crude", hr_stratum=stratum
    )
    new = TwoByTwo.of(data, PATHOLOGICAL_RESPONSE, stratum)
    earlier = map_prior(evidence, new=data)
    robust = earlier.robust(weight=VAGUE_WEIGHT, vague=without)
    flat = Prior("Normal", {"mu": 0.0, "sigma": 100.0}, "the likelihood alone")
    curves = {
        "prior without borrowing": np.asarray(without.frozen().pdf(GRID)),
        "robust prior": np.asarray(robust.frozen().pdf(GRID)),
        "likelihood": _density(new, flat, intercept),
        "posterior without borrowing": _density(new, without, intercept),
        "posterior with the robust prior": _density(new, robust, intercept),
    }
    derived = [text for text in evidence.notices if text.startswith("counts derived")]
    notices = [
        *earlier.notices,
        *derived,
        f"earlier studies: {', '.join(earlier.studies)} ({earlier.question})",
    ]
    return {
        f"{RESPONSE}_borrowing": borrowing(
            new, earlier, intercept=intercept, without=without, interval=interval
        ),
        f"{RESPONSE}_borrowing_heterogeneity": borrowing_by_heterogeneity(
            new, evidence, intercept=intercept, without=without, new=data, interval=interval
        ),
        f"{RESPONSE}_curves": pd.concat(
            [
                pd.DataFrame({"curve": name, "log_odds_ratio": GRID, "density": np.round(density, 6)})
                for name, density in curves.items()
            ],
            ignore_index=True,
        ),
        f"{RESPONSE}_borrowing_notices": pd.DataFrame({"text": notices}),
    }


def _density(table: TwoByTwo, slope: Prior, intercept: Prior) -> np.ndarray:
    found = exact_posterior(table, slope=slope, intercept=intercept)
    step = found.slope[1] - found.slope[0]
    return np.asarray(np.interp(GRID, found.slope, found.weights / step, left=0.0, right=0.0))


def odds_ratio_lines(estimates: pd.DataFrame) -> list[str]:
    """Say each outcome's odds ratio, posterior and twin, in a line.

    Parameters
    ----------
    estimates
        Rows of `Estimates` of the model, both sides.
    """
    rows = estimates[(estimates["estimand"] == "response_odds") & (estimates["scope"] == "pooled")]
    lines = []
    for (outcome, stratum), own in rows.groupby(["outcome", "stratum"], sort=False):
        said = [
            f"{'posterior' if row['source'] == 'posterior' else row['method']} {row['point']:.2f} "
            f"({row['lower']:.2f} to {row['upper']:.2f})"
            for _, row in own.iterrows()
            if not pd.isna(row["point"])
        ]
        lines.append(f"  {outcome}, {stratum}: odds ratio HER2-low over HER2-0, {'; '.join(said)}")
    return lines
