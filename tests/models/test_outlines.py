"""Equations and pictures of models say what their graphs are, for every structure that data may give them.

Other models of a run are compared with theirs where their data sets are made.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from bayes_her2.models import abundance, high_abundance, rank_correlation
from conftest import STRUCTURES, structured_set
from outline_checks import assert_prints_its_numbers, assert_speaks_for_the_graph
from rank_studies import simulated_set, unrecorded_set

from bayes_her2.bayesian.model import MODELS, MODELS_OF_RESULTS, load_model

THREE = {("A", "HR+"): 22, ("A", "HR-"): 14, ("B", "HR+"): 18, ("B", "HR-"): 16, ("C", "HR+"): 20}


@pytest.mark.parametrize("kind", STRUCTURES)
def test_abundance(kind):
    data = structured_set(kind)
    assert_speaks_for_the_graph(abundance, data)
    assert_prints_its_numbers(abundance, data)


def test_abundance_without_any_zero():
    data = structured_set("three cohorts")
    positive = data.abundance.clip(lower=1e-3)
    assert_speaks_for_the_graph(abundance, replace(data, abundance=positive))


@pytest.mark.parametrize("kind", STRUCTURES)
def test_high_abundance(kind):
    data = replace(structured_set(kind), model="high_abundance")
    assert_speaks_for_the_graph(high_abundance, data)
    assert_prints_its_numbers(high_abundance, data)


@pytest.mark.parametrize(
    "data",
    [
        simulated_set(3, THREE, {"X": [0.4], "Y": [0.1]}, {"X": 0.3}),
        simulated_set(
            3, THREE, {"X": [0.4, 0.2], "Y": [0.1, 0.1]}, measures=("age",), between=0.3, infiltrate=True
        ),
        simulated_set(3, {("A", "HR+"): 40}, {"X": [0.4], "Y": [0.1]}, {"X": 0.3}),
        unrecorded_set(),
    ],
    ids=["one measure", "several measures", "one cohort, one stratum", "not recorded everywhere"],
)
def test_rank_correlation(data):
    assert_speaks_for_the_graph(rank_correlation, data)
    assert_prints_its_numbers(rank_correlation, data)


@pytest.mark.parametrize("name", [*MODELS, *MODELS_OF_RESULTS])
def test_every_model_of_a_run_has_an_outline(name):
    assert callable(load_model(name).outline)
