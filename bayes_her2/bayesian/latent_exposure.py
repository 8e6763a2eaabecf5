"""The hierarchical linear predictor with HER2 a variable of the graph: data to be exchanged, or a latent.

`hierarchical_predictor` takes HER2 as numbers. It is linear in HER2, and its slope depends on cohort and HR stratum
alone, so it is asked for the tumours at HER2 = 0, and for one tumour of each cohort and stratum at 0 and at 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bayes_her2.bayesian.design import Arrays, PartDesign, Structure
from bayes_her2.bayesian.linear_predictor import hierarchical_predictor
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.product import matrix_product


def predictor_of_exposure(
    part: str,
    exposure: Any,
    design: PartDesign,
    tumours: Arrays,
    shape: Structure,
    priors: Mapping[str, Prior],
) -> Any:
    """Eta of one part, tumour x cell type, as a function of the exposure.

    Parameters
    ----------
    part, design, tumours, shape, priors
        As in `hierarchical_predictor`; the HER2 values of `tumours` are not used.
    exposure
        Tensor, one value per tumour.
    """
    kinds = np.column_stack([tumours.cohort_idx, tumours.hr_other])
    _, first, kind_idx = np.unique(kinds, axis=0, return_index=True, return_inverse=True)
    n, n_kinds = len(kinds), len(first)
    rows = np.concatenate([np.arange(n), first, first])
    at = np.concatenate([np.zeros(n + n_kinds), np.ones(n_kinds)])
    asked = Arrays(
        her2_sd=at,
        **{
            name: getattr(tumours, name)[rows]
            for name in ("hr_other", "cohort_idx", "cohort_columns", "group_columns", "covariates", "bends")
        },
    )
    eta = hierarchical_predictor(part, design, asked, shape, priors)
    slope = matrix_product(np.eye(n_kinds)[kind_idx.ravel()], eta[n + n_kinds :] - eta[n : n + n_kinds])
    return eta[:n] + exposure[:, None] * slope
