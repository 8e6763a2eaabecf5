"""How many patients would answer the question that the data at hand leave open."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit

from bayes_her2.data import ResponseData
from bayes_her2.frequentist.treatment_response import asked_contrasts

AS_OBSERVED, EQUAL = "as observed", "equal arms and levels"

COLUMNS = (
    "outcome", "stratum", "quantity", "design", "aim", "ratio", "power", "patients", "patients_in_treated_arm",
    "patients_now", "se_now", "se_needed",
)  # fmt: skip


def sample_size(
    data: ResponseData,
    *,
    ratios: Sequence[float] = (1.5, 2.0, 3.0),
    powers: Sequence[float] = (0.8, 0.9),
    factors: Sequence[float] = (1.5, 2.0),
    interval: float = 0.95,
) -> pd.DataFrame:
    """Patients needed for a power, or for a precision, of the odds ratio or ratio of odds ratios.

    With V / N the variance of the log ratio from N patients,

        V = c' (sum over cells of share x p (1 - p) x x')^-1 c,

    x the columns of the twin's logistic regression in a cell (arm, HR stratum, HER2 level), p its response rate,
    and c the contrast. In a single 2 x 2 table, or 2 x 2 x 2 for the ratio of odds ratios, this is Woolf's sum of 1
    / (share p (1 - p)). Then

        N = V ((z_level + z_power) / log ratio)^2   for a two-sided test of 1 at a true ratio,
        N = V (z_level / log factor)^2              for an interval from point / factor to point x factor.

    Rates are those fitted to the data, with the ratio of the alternative put in their place where a power is asked for.

    Parameters
    ----------
    data
        The patients at hand; covariates are left out.
    ratios
        True ratios above 1; where the estimate is below 1 their reciprocals are taken, since rates differ on that side.
    powers
        Probabilities to find each of them.
    factors
        Wanted half widths of the interval, as factors.
    interval
        Confidence level: 1 minus the two-sided level of the test.

    Returns
    -------
    pandas.DataFrame
        ``outcome``, ``stratum``, ``quantity``, ``design`` ('as observed': arms, HR strata and levels in the shares
        of the data; 'equal arms and levels': HR strata as they are), ``aim``, ``ratio`` (or factor), ``power`` (NaN
        for a precision), ``patients``, ``patients_in_treated_arm`` (NA without one), ``patients_now``, ``se_now``,
        ``se_needed``. An odds ratio that the data at hand cannot estimate (a level without responders, or with
        nobody else) has no rows: there is no rate to plan with.

    References
    ----------
    Woolf 1955, doi 10.1111/j.1469-1809.1955.tb01348.x. Demidenko 2007, doi 10.1002/sim.2771 (Wald test of a logistic
    regression).
    """
    z = float(stats.norm.isf((1 - interval) / 2))
    rows = []
    data = replace(data, covariates=data.covariates.iloc[:, :0])  # none of them
    for outcome in data.outcomes:
        for stratum, quantity, model, contrast in asked_contrasts(data, outcome):
            if not model.fit.estimable(contrast):
                continue
            n_now, se_now = len(model.patients), math.sqrt(model.fit.variance(contrast))
            own = [name for name, weight in contrast.items() if weight > 0]
            patients = model.patients.assign(count=1)
            keys = ["arm", "hr", "her2"]
            if quantity == "odds ratio":
                patients = patients[patients["hr"] == stratum]
                n_now = len(patients)
            cells = patients.groupby(keys)[["count"]].sum().reset_index()
            columns = (
                model.design.groupby([patients[k] for k in keys])
                .first()
                .loc[list(map(tuple, cells[keys].to_numpy()))]
            )
            x = columns.to_numpy(dtype=float)
            used = x.any(axis=0)
            c, b = contrast.to_numpy()[used], model.fit.coefficients[model.design.columns].to_numpy()[used]
            position = [i for i, name in enumerate(model.design.columns[used]) if name in own]

            def variance(
                share: np.ndarray, coefficients: np.ndarray, x: np.ndarray = x[:, used], c: np.ndarray = c
            ) -> float:
                p = expit(x @ coefficients)
                return float(c @ np.linalg.solve((x.T * (share * p * (1 - p))) @ x, c))

            for design in (AS_OBSERVED, EQUAL):
                share = _shares(cells, design)
                treated = (
                    float(share[(cells["arm"] == data.treated).to_numpy()].sum())
                    if data.control
                    else math.nan
                )
                side = -1.0 if float(c @ b) < 0 else 1.0
                plans = [
                    (f"power {p:.0%} to find a ratio of {r**side:.3g}", r**side, p)
                    for r in ratios
                    for p in powers
                ]
                plans += [
                    (f"interval within a factor of {f:g} of the estimate", f, math.nan) for f in factors
                ]
                for aim, ratio, power in plans:
                    at = b.copy()
                    reach = z
                    if not math.isnan(power):
                        at[position] += math.log(ratio) - float(c @ b)
                        reach += float(stats.norm.ppf(power))
                    needed = abs(math.log(ratio)) / reach
                    n = math.ceil(variance(share, at) / needed**2)
                    rows.append(
                        {
                            "outcome": outcome,
                            "stratum": stratum,
                            "quantity": quantity,
                            "design": design,
                            "aim": aim,
                            "ratio": ratio,
                            "power": power,
                            "patients": n,
                            "patients_in_treated_arm": math.ceil(n * treated) if data.control else pd.NA,
                            "patients_now": n_now,
                            "se_now": se_now,
                            "se_needed": needed,
                        }
                    )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({"patients_in_treated_arm": "Int64"})


def _shares(cells: pd.DataFrame, design: str) -> np.ndarray:
    """Share of all patients in each cell."""
    if design == AS_OBSERVED:
        return np.asarray(cells["count"] / cells["count"].sum(), dtype=float)
    of_stratum = cells.groupby("hr")["count"].transform("sum") / cells["count"].sum()
    return np.asarray(of_stratum / cells.groupby("hr")["count"].transform("size"), dtype=float)
