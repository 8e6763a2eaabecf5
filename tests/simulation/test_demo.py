"""The files of a simulated study, read by plain pandas, hold what was simulated."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayes_her2.data import LM22_CELL_TYPES
from bayes_her2.simulation import SEED_DESIGN, simulate_cohorts, write_demo, write_study
from bayes_her2.simulation.demo import CLINICAL_COLUMNS


@pytest.fixture(scope="module")
def study_path(tmp_path_factory) -> Path:
    return write_demo(tmp_path_factory.mktemp("demo") / "study", seed=77)


@pytest.fixture(scope="module")
def study(study_path):
    return tomllib.loads(study_path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def simulated():
    return simulate_cohorts(np.random.default_rng(77))


def test_abundances_are_read_back_equal(study_path, study, simulated):
    for cohort, entry in zip(simulated.cohorts, study["cohort"], strict=True):
        table = pd.read_csv(study_path.parent / entry["cibersort"]["files"][0], sep="\t").set_index("Mixture")
        assert list(table)[:22] == list(LM22_CELL_TYPES)
        assert list(table)[22:] == ["P-value", "Correlation", "RMSE", "Absolute score (sig.score)"]
        pd.testing.assert_frame_equal(table[list(LM22_CELL_TYPES)], cohort.abundance, check_names=False)
        np.testing.assert_allclose(table["Absolute score (sig.score)"], cohort.abundance.sum(axis=1))
        np.testing.assert_array_equal(table["P-value"], cohort.quality["p_value"])


def test_clinical_tables_are_read_back_equal(study_path, study, simulated):
    for cohort, entry in zip(simulated.cohorts, study["cohort"], strict=True):
        clinical = entry["clinical"]
        assert clinical["fields"] == CLINICAL_COLUMNS
        table = pd.read_csv(study_path.parent / clinical["file"], dtype={"HER2 IHC": "str"})
        table = table.set_index(clinical["ids"]["column"])
        for field, column in clinical["fields"].items():
            pd.testing.assert_series_equal(table[column], cohort.tumours[field], check_names=False)


def test_truth_is_read_back_equal(study_path, study, simulated):
    truth = pd.read_csv(study_path.parent / study["study"]["truth"], keep_default_na=False)
    pd.testing.assert_frame_equal(truth, simulated.truth)


def test_study_file_is_labelled_simulated_and_has_relative_paths_only(study_path, study, simulated):
    assert study["study"]["simulated"] is True
    assert study["study"]["seed"] == 77
    assert study["abundance"] == {"scale": "absolute"}
    assert [c["name"] for c in study["cohort"]] == [c.name for c in simulated.cohorts]
    assert [c["platform"] for c in study["cohort"]] == [c.platform for c in simulated.cohorts]
    assert study["her2"]["measure"] in study["cohort"][0]["clinical"]["fields"]
    assert str(study_path.parent) not in study_path.read_text(encoding="utf-8")
    named = {study["study"]["truth"]}
    for entry in study["cohort"]:
        named |= {*entry["cibersort"]["files"], entry["clinical"]["file"]}
    assert {p.name for p in study_path.parent.iterdir()} == named | {"study.toml"}


def test_names_with_quotes_and_spaces_survive(tmp_path, simulated):

    odd = replace(simulated.cohorts[0], name='Milan "A" / é')
    path = write_study(tmp_path, simulated._replace(cohorts=(odd,)), seed=1)
    entry = tomllib.loads(path.read_text(encoding="utf-8"))["cohort"][0]
    assert entry["name"] == 'Milan "A" / é'
    assert (tmp_path / entry["clinical"]["file"]).is_file()


def test_an_interrupted_write_leaves_no_study_file_and_no_partial_file(tmp_path, simulated, monkeypatch):
    write_demo(tmp_path, seed=1)
    real = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if Path(target).name == "truth.csv":
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_demo(tmp_path, seed=2)
    assert not (tmp_path / "study.toml").exists()
    assert not list(tmp_path.glob(".*.part"))


def test_same_seed_same_bytes(tmp_path):
    first, second = (write_demo(tmp_path / name, seed=5).parent for name in ("a", "b"))
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_relative_files_say_so_and_have_no_absolute_score(tmp_path):

    design = replace(SEED_DESIGN, cohorts=SEED_DESIGN.cohorts[:1], scale="relative")
    path = write_demo(tmp_path, seed=3, design=design)
    study = tomllib.loads(path.read_text(encoding="utf-8"))
    assert study["abundance"]["scale"] == "relative"
    table = pd.read_csv(tmp_path / study["cohort"][0]["cibersort"]["files"][0], sep="\t")
    assert not [column for column in table if column.startswith("Absolute")]
    np.testing.assert_allclose(table[list(LM22_CELL_TYPES)].sum(axis=1), 1.0)
