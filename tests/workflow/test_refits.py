"""Scores of refits that are none: said by label, with how many tumours, and never summed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd

from bayes_her2.workflow.refits import Refit, _scored

JOB = SimpleNamespace(name="abundance")


def without(cohort: str) -> Refit:
    return Refit(JOB, f"without {cohort}", (), cohort=True)


def test_a_level_that_was_not_found_is_the_reason_that_there_is_no_score():
    def score():
        raise ArithmeticError("the level of a new cohort was not found in 3 of 400 draws")

    found = _scored(without("METABRIC"), score)
    assert found.table.empty
    assert found.reasons == ("without METABRIC: the level of a new cohort was not found in 3 of 400 draws",)


def test_tumours_without_a_finite_density_are_counted_and_cell_types_are_not():
    table = pd.DataFrame(
        {"kind": ["tumour", "tumour", "tumour", "cell type"], "elpd": [1.0, np.nan, -np.inf, np.nan]}
    )
    found = _scored(without("A"), lambda: table)
    assert found.reasons == ("without A: 2 of its tumours have no finite density under the model",)
    whole = _scored(without("A"), lambda: table.iloc[[0, 3]])
    assert whole.reasons == ()
    assert len(whole.table) == 2
    fold = _scored(Refit(JOB, "fold 1 of 2", ()), lambda: table[["elpd"]].iloc[:2])
    assert fold.reasons == ("fold 1 of 2: 1 of its tumours have no finite density under the model",)
