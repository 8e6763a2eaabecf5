"""The documentation's lists of fields and defaults are those of the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from bayes_her2.bayesian.model import MODELS
from bayes_her2.inputs.fields import STANDARD_FIELDS, VOCABULARIES, look_up
from bayes_her2.inputs.study import (
    MODEL_NAMES,
    ClinicalSettings,
    DecisionSettings,
    MarginalEffectSettings,
    MeasurementSettings,
    ModelSettings,
    RankCorrelationSettings,
    SamplingSettings,
)

DOCS = Path(__file__).parents[2] / "docs"
FIELDS = (DOCS / "reference" / "fields.md").read_text(encoding="utf-8")
RUN = (DOCS / "how-to" / "run-and-resume.md").read_text(encoding="utf-8")
SINGLE_MODELS = (DOCS / "how-to" / "single-models.md").read_text(encoding="utf-8")


def fields_table() -> dict[str, str]:
    """Field -> its cell of accepted words."""
    section = FIELDS.split("## Fields")[1].split("## Definitions")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    return {field: row[3] for row in rows for field in re.findall(r"`(\w+)`", row[1])}


def test_every_standard_field_is_listed_and_no_other():
    assert set(fields_table()) == set(STANDARD_FIELDS)


@pytest.mark.parametrize("field", ["er", "her2_ihc", "her2_ish", "her2_call", "sex", "neoadjuvant"])
def test_words_of_a_field(field):
    cell = fields_table()[field]
    listed = {}
    for value, words in re.findall(r"`([^`]+)`: ([^;(]+)", cell):
        for word in words.split(","):
            listed[word.strip().casefold()] = value
    assert all(look_up(field, word) == value for word, value in listed.items())
    spoken = {word for word in VOCABULARIES[field].words if "\N{MINUS SIGN}" not in word}
    assert set(listed) == spoken


def test_words_of_stage():
    cell = fields_table()["stage"]
    assert re.findall(r"`(\w+)`", cell) == list(VOCABULARIES["stage"].values)
    assert {look_up("stage", word) for word in ("Stage IIA", "IIA", "2", "2.0")} == {"II"}


def test_sampling_defaults():
    block = re.search(r"```toml\n(\[sampling\].*?)```", RUN, re.DOTALL)
    assert block is not None
    given = tomllib.loads(block.group(1))["sampling"]
    assert given.pop("rank_correlation") == {"draws": 2_500}
    assert SamplingSettings(**given) == SamplingSettings()


def test_settings_of_single_models_are_those_of_a_study():
    block = re.search(r"```toml\n(\[model\]\nfit.*?)```", SINGLE_MODELS, re.DOTALL)
    assert block is not None
    given = tomllib.loads(block.group(1))
    blocks = {
        "model": ModelSettings,
        "rank_correlation": RankCorrelationSettings,
        "marginal_effect": MarginalEffectSettings,
        "her2_measurement": MeasurementSettings,
        "clinical": ClinicalSettings,
        "decisions": DecisionSettings,
    }
    assert set(given) == set(blocks)
    for name, kind in blocks.items():
        kind(**given[name])
    assert given["decisions"]["rope_standardised"] == DecisionSettings().rope_standardised


def test_the_models_of_a_study_are_those_of_a_run():
    assert MODELS == MODEL_NAMES
