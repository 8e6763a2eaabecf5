"""Responses with a known truth, without files; and what several tests of responses share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.special import expit

from bayes_her2.data import HER2_LOW, HER2_ZERO, ResponseData
from bayes_her2.inputs.response import PatientColumns

PCR = "pathological complete response"
ISPY2 = PatientColumns(
    patient="patient_id",
    responses={PCR: "pCR"},
    her2="HER2 3-state (3)",
    her2_values={"HER2low": HER2_LOW, "HER2=0": HER2_ZERO, "HER2+": ""},
    hr="HR",
    hr_values={"1": "HR+", "0": "HR-"},
    arm="Arm (short name)",
)
"""Columns of the clinical table of I-SPY2."""
NOBODY = pd.DataFrame({"outcome": [], "hr": [], "her2": [], "n": []})


def response_set(
    counts: Mapping[tuple[str, str, str], tuple[int, int, int, int]],
    *,
    control: str = "",
    covariates: pd.DataFrame | None = None,
    not_evaluable: pd.DataFrame = NOBODY,
    order: int = 1,
) -> ResponseData:
    """Counts by (outcome, HR stratum, arm): patients and responders with HER2-low, then with HER2-0."""
    rows = []
    for (outcome, hr, arm), (n_low, low, n_zero, zero) in counts.items():
        rows += [(outcome, hr, HER2_LOW, arm, n_low, low), (outcome, hr, HER2_ZERO, arm, n_zero, zero)]
    frame = pd.DataFrame(rows, columns=["outcome", "hr", "her2", "arm", "n", "events"])
    frame.index = pd.Index([" | ".join(map(str, row[:4])) for row in rows], name="row", dtype="str")
    frame = frame[frame["n"] > 0]
    empty = pd.DataFrame(index=frame.index)
    return ResponseData(
        "simulated",
        frame[::order],
        not_evaluable,
        empty if covariates is None else covariates,
        control=control,
    )


def simulated_arms(seed: int, *, n: int, slopes: Mapping[str, float], arms: int = 4) -> ResponseData:
    """Several arms of 2 n patients of each stratum, with these log odds ratios and no spread of them between arms."""
    rng = np.random.default_rng(seed)
    counts = {}
    for a in range(arms):
        for hr, slope in slopes.items():
            level = rng.normal(-0.6 if hr == "HR+" else 0.2, 0.4)
            low, zero = (int(rng.binomial(n, expit(level + half * slope))) for half in (0.5, -0.5))
            counts[PCR, hr, f"arm {a}"] = (n, low, n, zero)
    return response_set(counts)


def one_row(table: pd.DataFrame, **equal: str) -> pd.Series:
    """Return the only row in which these columns have these values."""
    for column, value in equal.items():
        table = table[table[column] == value]
    assert len(table) == 1, table
    return table.squeeze(axis=0)
