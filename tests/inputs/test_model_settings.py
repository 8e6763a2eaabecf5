"""Settings of single models: what a study may choose, and what is said when it cannot be had."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_her2.data import ClinicalOutcome, Measure
from bayes_her2.errors import DataError
from bayes_her2.inputs import read_cohorts


def test_without_settings_every_model_takes_every_cohort(simple):
    choices = simple.study().choices
    assert choices.cohorts == {}
    assert choices.fields == ()
    assert (choices.outcome_scale, choices.ihc_effect) == ("raw", "monotonic")
    assert simple.study().model.fit is None


def test_measures_are_genes_or_fields_by_name_and_arrive_as_numbers(simple):
    simple.settings["rank_correlation"] = {
        "measures": ["ESR1", {"field": "age", "label": "Age at diagnosis"}],
        "infiltrate": "leukocyte_fraction",
    }
    choices = simple.study().choices
    assert choices.measures == (Measure("ESR1", "ESR1"), Measure("age", "Age at diagnosis"))
    assert choices.infiltrate == Measure("leukocyte_fraction", "leukocyte_fraction")
    tumours = simple.one().tumours
    assert list(tumours["ESR1"]) == pytest.approx([1 + 0.1 * k for k in range(12)])
    assert tumours["leukocyte_fraction"].dtype == np.float64


def test_outcomes_keep_their_rule(simple):
    simple.settings["clinical"] = {
        "outcomes": [
            {"name": "age > 50 years", "field": "age", "above": 50},
            {"name": "stage III", "field": "stage", "values": ["III"]},
        ]
    }
    assert simple.study().choices.clinical == (
        ClinicalOutcome("age > 50 years", "age", 50.0, None),
        ClinicalOutcome("stage III", "stage", None, ("III",)),
    )


@pytest.mark.parametrize(
    ("block", "settings", "message"),
    [
        ("model", {"fit": ["abundanse"]}, "abundanse"),
        (
            "clinical",
            {"outcomes": [{"name": "old", "field": "age"}]},
            "has neither of `above` (a number) and `values` (a list); give exactly one",
        ),
        (
            "clinical",
            {"outcomes": [{"name": "old", "field": "age", "above": 50, "values": ["60"]}]},
            "has both of `above` (a number) and `values` (a list); give exactly one",
        ),
        (
            "clinical",
            {"outcomes": [{"name": "old", "field": "age", "above": 50}] * 2},
            "named more than once: old",
        ),
        ("rank_correlation", {"measures": ["ESR1", "ESR1"]}, "field named more than once: ESR1"),
        (
            "rank_correlation",
            {"measures": ["ERBB2"]},
            "'ERBB2' is the HER2 measure already; name the measures to set beside it",
        ),
        (
            "marginal_effect",
            {"cohorts": ["B"]},
            "no cohort is called 'B'; cohorts: A",
        ),
        ("marginal_effect", {"ihc": "ordered"}, "unknown key 'ihc'; did you mean 'ihc_effect'?"),
        ("marginal_effect", {"outcome_scale": "log"}, "raw"),
    ],
)
def test_a_fault_of_the_settings_is_named(simple, block, settings, message):
    simple.settings[block] = settings
    assert any(message in fault for fault in simple.study_faults())


def test_a_measure_that_no_cohort_has_is_named_with_a_close_one(simple):
    simple.settings["rank_correlation"] = {"measures": ["ESR"]}
    with pytest.raises(DataError) as error:
        read_cohorts(simple.study())
    assert str(error.value) == (
        "'ESR' in the settings of a model: was not found in any cohort, neither as a field nor as a gene. "
        "Close to it: 'ESR1', 'ER'. Map it under fields, or take it out of the settings"
    )


def test_text_in_a_measure_is_a_fault_and_not_a_gap(simple):
    simple.settings["rank_correlation"] = {"measures": ["marker"]}
    simple.cohort("A")["clinical"]["fields"]["marker"] = "Sex"
    with pytest.raises(DataError, match=r"field 'marker' \(column 'Sex'\).*number"):
        read_cohorts(simple.study())


def test_a_field_of_words_is_no_measure(simple):
    simple.settings["rank_correlation"] = {"measures": ["stage"]}
    assert any("'stage' holds words (0, I, II, III, IV), not numbers" in f for f in simple.study_faults())


def test_a_model_samples_by_its_own_settings_and_else_by_those_of_all(simple):
    simple.settings["sampling"] = {"tune": 300, "draws": 900, "rank_correlation": {"draws": 2500}}
    sampling = simple.study().sampling
    rank, clinical = sampling.of("rank_correlation"), sampling.of("clinical")
    assert (rank.chains, rank.tune, rank.draws, rank.target_accept) == (4, 300, 2500, 0.9)
    assert (clinical.chains, clinical.tune, clinical.draws, clinical.target_accept) == (4, 300, 900, 0.9)


def test_sampling_of_a_model_that_is_not_there_is_refused(simple):
    simple.settings["sampling"] = {"rank_corelation": {"draws": 2500}}
    with pytest.raises(DataError, match=r"rank_corelation.*rank_correlation"):
        simple.study()
