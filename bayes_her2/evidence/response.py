"""Published responses to treatment that come with the package, as a model of response takes them."""

from __future__ import annotations

from importlib.resources import as_file, files

from bayes_her2.data import ResponseData
from bayes_her2.inputs.response import read_response_counts

SEED_STUDY = "pembrolizumab.csv"
"""Shipped counts, in ``bayes_her2/evidence/responses``."""


def seed_study_response() -> ResponseData:
    """Midcourse and pathological response to pembrolizumab and chemotherapy, Table 2 of the seed study.

    111 patients with triple-negative disease; 71 and 86 could be evaluated. The HER2 level of the other 40 and 25 is
    not printed.

    References
    ----------
    Pizzamiglio et al. 2025, doi 10.1038/s41523-025-00867-z.
    """
    with as_file(files("bayes_her2.evidence") / "responses" / SEED_STUDY) as path:
        return read_response_counts(path, name="Pizzamiglio 2025, Table 2", shown_as=SEED_STUDY)
