"""Model files are found by name, and a user's own by its path."""

from __future__ import annotations

import pytest

from bayes_her2.bayesian.fit import Sampling, fit_hash
from bayes_her2.bayesian.model import NEEDED, load_model
from bayes_her2.errors import DataError

OWN = """from bayes_her2.models import abundance

QUESTION = "Is a file outside the package a model?"
DATA, ESTIMANDS, PRIORS, TWIN = abundance.DATA, abundance.ESTIMANDS, abundance.PRIORS, abundance.TWIN
priors_for, build, estimand_draws = abundance.priors_for, abundance.build, abundance.estimand_draws
reported, estimates = abundance.reported, abundance.estimates
"""


def test_a_file_of_ones_own_is_a_model_by_its_path(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(OWN, encoding="utf-8")
    for given in (path, str(path)):
        model = load_model(given)
        assert model.QUESTION == "Is a file outside the package a model?"
        assert model.__name__ == "mine"
        assert all(hasattr(model, name) for name in NEEDED)


def test_the_hash_of_a_fit_covers_a_file_of_ones_own(tmp_path, structured):
    data, path = structured("one cohort"), tmp_path / "mine.py"
    hashes = []
    for text in (OWN, OWN, OWN + "\nCOMMENT = 1\n"):
        path.write_text(text, encoding="utf-8")
        model = load_model(path)
        hashes.append(fit_hash(model, data, model.priors_for(data), Sampling()))
    assert hashes[0] == hashes[1] != hashes[2]


def test_what_a_file_of_ones_own_lacks_is_said_at_once(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text('QUESTION = "?"\nESTIMANDS = {"luck": "a level"}\n', encoding="utf-8")
    with pytest.raises(DataError) as error:
        load_model(path)
    lacking, unknown = error.value.faults
    assert "lacks DATA, PRIORS, TWIN, priors_for, build, estimand_draws, reported, estimates" in lacking
    assert "'luck', whose value of no association is not known; known: presence, amount" in unknown


def test_a_file_that_is_not_there_or_has_the_name_of_a_model_that_ships_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"mine\.py: no such model file"):
        load_model(tmp_path / "mine.py")
    shadow = tmp_path / "abundance.py"
    shadow.write_text(OWN, encoding="utf-8")
    with pytest.raises(DataError, match=r"a model that ships has this name.*my_abundance\.py"):
        load_model(shadow)


def test_an_unknown_name_lists_the_models_and_says_how_to_give_a_file():
    with pytest.raises(
        DataError, match=r"no model is named 'abundanse'; known: abundance, .* ending in \.py"
    ):
        load_model("abundanse")
