"""What earlier studies add to the response at hand: borrowing side by side, and the curves behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from bayes_her2.bayesian.map_prior import VAGUE_WEIGHT, MapPrior, dois_of, map_prior
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.response import SLOPES
from bayes_her2.bayesian.two_by_two import TwoByTwo, borrowing, borrowing_by_heterogeneity, exact_posterior
from bayes_her2.data import EvidenceData, ResponseData
from bayes_her2.errors import DataError
from bayes_her2.evidence.schema import PATHOLOGICAL_RESPONSE
from bayes_her2.evidence.selection import studies_for
from bayes_her2.evidence.table import EvidenceTable
from bayes_her2.workflow.check import RESPONSE

GRID = np.round(np.arange(-3.0, 2.5001, 0.02), 2)
"""Log odds ratios of the curves."""


def borrowing_tables(
    data: ResponseData, table: EvidenceTable, priors: Mapping[str, Prior], *, interval: float
) -> dict[str, pd.DataFrame]:
    """Pathological complete response with and without what other studies of the same HR stratum predict.

    Parameters
    ----------
    data
        The new data.
    table
        Published results; the study that is analysed is left out by its DOI.
    priors
        Priors of the model of response, as the study uses them.
    interval
        Probability of the equal-tailed credible intervals.

    Returns
    -------
    dict
        By file name: ``borrowing``, ``borrowing_heterogeneity``, ``curves`` (densities of the log odds ratio), each
        with a column ``stratum``, and ``borrowing_notices``. The notices alone where nothing can be borrowed.
    """
    tables: dict[str, list[pd.DataFrame]] = {"borrowing": [], "borrowing_heterogeneity": [], "curves": []}
    notices = []
    if PATHOLOGICAL_RESPONSE not in data.outcomes:
        notices.append(
            f"nothing is borrowed: the earlier studies are about {PATHOLOGICAL_RESPONSE!r}, these data "
            f"about {', '.join(map(repr, data.outcomes))}; if that is the same outcome, give it that name"
        )
    elif len(data.arms) > 1:
        notices.append(
            f"nothing is borrowed: earlier studies tell no arms apart, and these patients are in {len(data.arms)}"
        )
    else:
        others = _without_other_reports(table, data.citation)
        if data.adjustment != "none":
            notices.append(
                f"the odds ratios with and without borrowing are crude: {data.adjustment} is left out of both, so that "
                "'without borrowing' here is not the adjusted odds ratio of the first table"
            )
        for stratum in data.strata:
            try:
                evidence = studies_for(
                    others, PATHOLOGICAL_RESPONSE, scale="odds ratio", adjustment="crude", hr_stratum=stratum
                )
                earlier = map_prior(evidence, new=data)
            except DataError as error:
                notices += [f"{stratum}: nothing is borrowed; {fault}" for fault in error.faults]
                continue
            made = _of_stratum(data, evidence, earlier, priors, interval=interval, stratum=stratum)
            for name, frame in made.items():
                frame.insert(0, "stratum", stratum)
                tables[name].append(frame)
            found = [
                *earlier.notices,
                *(text for text in evidence.notices if text.startswith("counts derived")),
                f"earlier studies: {', '.join(earlier.studies)} ({earlier.question})",
            ]
            notices += found if len(data.strata) == 1 else [f"{stratum}: {text}" for text in found]
    joined = {name: pd.concat(frames, ignore_index=True) for name, frames in tables.items() if frames}
    joined["borrowing_notices"] = pd.DataFrame({"text": notices})
    return {f"{RESPONSE}_{name}": frame for name, frame in joined.items()}


def _without_other_reports(table: EvidenceTable, citation: str) -> EvidenceTable:
    """Leave out other reports of the patients that are analysed: same overlap group, another DOI.

    The analysed report itself stays: the predictive prior leaves it out, and says so.
    """
    cited = dois_of(citation)
    own = table.frame["doi"].str.casefold().isin(cited)
    groups = set(table.frame.loc[own, "overlap_group"]) - {""}
    return replace(table, frame=table.frame[own | ~table.frame["overlap_group"].isin(groups)])


def _of_stratum(
    data: ResponseData,
    evidence: EvidenceData,
    earlier: MapPrior,
    priors: Mapping[str, Prior],
    *,
    interval: float,
    stratum: str,
) -> dict[str, pd.DataFrame]:
    """One HR stratum with and without borrowing, and the curves behind it."""
    intercept, without = priors["intercept"], priors[SLOPES[stratum]]
    new = TwoByTwo.of(data, PATHOLOGICAL_RESPONSE, stratum)
    robust = earlier.robust(weight=VAGUE_WEIGHT, vague=without)
    flat = Prior("Normal", {"mu": 0.0, "sigma": 100.0}, "the likelihood alone")
    curves = {
        "prior without borrowing": np.asarray(without.frozen().pdf(GRID)),
        "robust prior": np.asarray(robust.frozen().pdf(GRID)),
        "likelihood": _density(new, flat, intercept),
        "posterior without borrowing": _density(new, without, intercept),
        "posterior with the robust prior": _density(new, robust, intercept),
    }
    return {
        "borrowing": borrowing(new, earlier, intercept=intercept, without=without, interval=interval),
        "borrowing_heterogeneity": borrowing_by_heterogeneity(
            new, evidence, intercept=intercept, without=without, new=data, interval=interval
        ),
        "curves": pd.concat(
            [
                pd.DataFrame({"curve": name, "log_odds_ratio": GRID, "density": np.round(density, 6)})
                for name, density in curves.items()
            ],
            ignore_index=True,
        ),
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
    asked = estimates["estimand"].isin(["response_odds", "ratio_of_odds_ratios"])
    rows = estimates[asked & (estimates["scope"] == "pooled")]
    words = {
        "response_odds": "odds ratio HER2-low over HER2-0",
        "ratio_of_odds_ratios": "ratio of odds ratios (HER2-low over HER2-0), treated over control",
    }
    lines = []
    for (outcome, estimand, stratum), own in rows.groupby(["outcome", "estimand", "stratum"], sort=False):
        said = [
            f"{'posterior' if row['source'] == 'posterior' else row['method']} {row['point']:.2f} "
            f"({row['lower']:.2f} to {row['upper']:.2f})"
            for _, row in own.iterrows()
            if not pd.isna(row["point"])
        ]
        if said:
            lines.append(f"  {outcome}, {stratum}: {words[str(estimand)]}, {'; '.join(said)}")
    return lines
