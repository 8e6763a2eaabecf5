"""What models say of themselves for a methods section is what the data let them be."""

from __future__ import annotations

import pytest
from bayes_her2.models import abundance
from conftest import structured_set
from simulated_studies import small_study, write_small_study

from bayes_her2.bayesian.model import MODELS, MODELS_OF_RESULTS, load_model
from bayes_her2.workflow.check import Checked, check_study


@pytest.fixture(scope="module")
def checked(tmp_path_factory) -> Checked:
    return check_study(
        write_small_study(tmp_path_factory.mktemp("study"), small_study(seed=5), seed=5, published=True)
    )


@pytest.mark.parametrize("name", [*MODELS, *MODELS_OF_RESULTS])
def test_every_model_of_a_run_says_what_was_fitted(name, checked):
    data = {"evidence_synthesis": checked.published, "treatment_response": checked.response}
    told = load_model(name).described(data[name] if name in data else checked.sets[name])
    assert told
    assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in told)
    assert not any("  " in sentence or ".." in sentence or " ," in sentence for sentence in told)


@pytest.mark.parametrize(
    ("kind", "says", "does_not_say"),
    [
        (
            "three cohorts",
            [
                "intercept, HER2 slope, HR term and interaction of a cell type varied between cohorts",
                "a shape that varied by cohort",
                "hormone receptor (HR) status and their interaction",
            ],
            ["common to the cohorts", "covariate", "Centres"],
        ),
        (
            "HR+ only beside both",
            [
                "intercept and HER2 slope of a cell type varied between cohorts",
                "the interaction were common to the cohorts, because A alone has at least 10 tumours in both strata",
            ],
            ["HR term and interaction of a cell type varied"],
        ),
        (
            "one cohort",
            ["hormone receptor (HR) status and their interaction", "a shape that varied by cell type"],
            ["random effect", "cohorts"],
        ),
        (
            "one cohort, HR+ only",
            ["an intercept and HER2 (per SD within hormone receptor strata)."],
            ["random effect", "interaction", "(HR)"],
        ),
        ("covariates", ["and the covariates"], []),
        ("centres", ["Centres were nested in the intercept of their cohort."], []),
    ],
)
def test_the_main_model_says_no_more_than_its_graph_has(kind, says, does_not_say):
    told = " ".join(abundance.described(structured_set(kind)))
    assert [words for words in says if words not in told] == []
    assert [words for words in does_not_say if words in told] == []
