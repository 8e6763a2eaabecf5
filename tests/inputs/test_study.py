"""The study file: what it says, and what is said about it when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from bayes_her2.errors import StudyError
from bayes_her2.inputs import parse_study, read_study, schema_markdown
from bayes_her2.inputs.messages import line_numbers


def line_of(path: Path, text: str) -> int:
    return next(n for n, line in enumerate(path.read_text().splitlines(), start=1) if text in line)


def test_defaults_are_those_of_the_documentation(simple):
    study = simple.study()
    assert study.name == "Test"
    assert study.abundance.scale == "relative"
    assert len(study.abundance.cell_types) == 22
    assert study.decisions.rope == (0.9, 1.11)
    assert (study.decisions.interval, study.decisions.alpha, study.decisions.false_discovery) == (
        0.95,
        0.05,
        0.05,
    )
    assert (study.sampling.chains, study.sampling.tune, study.sampling.draws) == (4, 1000, 2000)
    assert study.sampling.target_accept == 0.9
    assert study.her2.ultralow_max_percent == 10
    assert study.cohorts[0].cibersort.replicates == "error"
    assert study.cohorts[0].cibersort.max_p_value is None
    assert study.path.name == "study.toml"


def test_a_study_cannot_be_changed(simple):
    study = simple.study()
    with pytest.raises(ValueError, match="frozen"):
        study.seed = 2


def test_unknown_key_names_its_line_a_close_match_and_the_valid_keys(simple):
    simple.settings["her2"] = {"mesure": "ERBB2"}
    faults = simple.study_faults()
    line = line_of(simple.folder / "study.toml", "mesure")
    assert any(
        f.startswith(f"study.toml, line {line}, her2.mesure: unknown key 'mesure'; did you mean 'measure'?")
        and "Valid keys: measure, label, ultralow_max_percent" in f
        for f in faults
    )
    assert any("key 'measure' is missing. The HER2 measure" in f for f in faults)


def test_unknown_key_in_a_cohort_names_the_cohort(build):
    two = build("A", "B")
    two.cohort("B")["clinical"]["feilds"] = {}
    (fault,) = two.study_faults()
    assert "cohort[B].clinical.feilds: unknown key 'feilds'; did you mean 'fields'?" in fault


def test_unknown_table_and_misplaced_key(tmp_path):
    with pytest.raises(StudyError) as caught:
        parse_study('name = "x"\n[abundnace]\nscale = "relative"\n', path=tmp_path / "s.toml")
    text = str(caught.value)
    assert "s.toml, line 1, name: 'name' belongs under [study]" in text
    assert "s.toml, line 2, abundnace: unknown table 'abundnace'; did you mean 'abundance'?" in text
    assert "the table [her2] is missing" in text
    assert "no cohort is given" in text


def test_syntax_error_shows_the_line(tmp_path):
    with pytest.raises(
        StudyError, match=r"s\.toml, line 2, column 8: not valid TOML.*'name = TCGA'.*quotation"
    ):
        parse_study("[study]\nname = TCGA\n", path=tmp_path / "s.toml")
    with pytest.raises(StudyError, match=r"ends too early.*not closed"):
        parse_study('[study]\nname = "x"\nlist = [1,\n', path=tmp_path / "s.toml")


def test_study_file_that_is_not_there(tmp_path):
    with pytest.raises(StudyError, match="study file not found"):
        read_study(tmp_path / "nothing.toml")


def test_missing_file_is_named_with_its_cohort_and_line(simple):
    simple.cohort()["clinical"]["file"] = "A_clinicel.csv"
    (fault,) = simple.study_faults()
    line = line_of(simple.folder / "study.toml", "A_clinicel")
    assert fault.startswith(f"study.toml, line {line}, cohort[A].clinical.file: file not found: ")
    assert "the folder has 'A_clinical.csv'" in fault


def test_unset_environment_variable(simple, monkeypatch):
    monkeypatch.delenv("HER2_TEST_FOLDER", raising=False)
    simple.cohort()["clinical"]["file"] = "${HER2_TEST_FOLDER}/clinical.csv"
    (fault,) = simple.study_faults()
    assert "cohort[A].clinical.file: environment variable HER2_TEST_FOLDER is not set" in fault
    assert "export HER2_TEST_FOLDER=" in fault


def test_environment_variable_is_used(simple, monkeypatch):
    monkeypatch.setenv("HER2_TEST_FOLDER", str(simple.folder))
    simple.cohort()["clinical"]["file"] = "${HER2_TEST_FOLDER}/A_clinical.csv"
    table = simple.one()
    assert [f.path for f in table.files][1] == "${HER2_TEST_FOLDER}/A_clinical.csv"


def test_files_are_not_looked_for_when_only_settings_are_wanted(simple):
    simple.cohort()["clinical"]["file"] = "gone.csv"
    path = simple.write()
    assert read_study(path, check_files=False).name == "Test"


def test_duplicated_cohort_names(build):
    two = build("A", "B")
    two.cohort("B")["name"] = "A"
    assert any("two cohorts are called 'A'" in f for f in two.study_faults())


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"keep": ["female"], "drop": ["male"]}, "has both `keep` and `drop`"),
        ({}, "has neither `keep` nor `drop`"),
    ],
)
def test_exclude_rule_has_keep_or_drop(simple, rule, said):
    simple.settings["exclude"] = [{"field": "sex", "reason": "not a woman", **rule}]
    (fault,) = simple.study_faults()
    assert "exclude[sex]" in fault
    assert said in fault


def test_exclude_rule_with_a_value_that_the_field_never_takes(simple):
    simple.settings["exclude"] = [{"field": "stage", "drop": ["Stage IV"], "reason": "stage IV"}]
    (fault,) = simple.study_faults()
    assert "'Stage IV' is not a value of 'stage' (write 'IV'); values: 0, I, II, III, IV" in fault


def test_field_mapped_twice(simple):
    simple.cohort()["expression"]["fields"] = {"age": "ESR1"}
    (fault,) = simple.study_faults()
    assert "cohort[A].expression.fields.age: field 'age' is mapped twice, here and in clinical" in fault


def test_prior_without_a_reason(simple):
    simple.settings["priors"] = {
        "abundance": {"slope": {"dist": "Normal", "params": {"mu": 0, "sigma": 0.3}}}
    }
    (fault,) = simple.study_faults()
    assert "priors.abundance.slope.why: key 'why' is missing" in fault
    assert "A prior without a reason is refused" in fault


@pytest.mark.parametrize("rope", [[1.1, 0.9], [0.0, 1.1], [-0.1, 0.1], [1.0, 1.2], [0.9, 1.0]])
def test_rope_that_is_not_around_no_effect(simple, rope):
    simple.settings["decisions"] = {"rope": rope}
    (fault,) = simple.study_faults()
    assert "decisions.rope" in fault
    assert "0 < lower < 1 < upper" in fault


def test_values_of_a_wrong_type_are_not_bent_into_shape(simple):
    simple.settings["study"]["seed"] = "12"
    simple.settings["model"] = {"centre": "yes"}
    simple.settings["abundance"] = {"scale": "relativ"}
    text = "\n".join(simple.study_faults())
    assert 'study.seed: must be a whole number, not "12"' in text
    assert 'model.centre: must be true or false, not "yes"' in text
    assert "abundance.scale: 'relativ' is not one of 'relative', 'absolute'; did you mean 'relative'?" in text


def test_value_that_a_standard_field_does_not_take(simple):
    simple.cohort()["clinical"]["fields"]["er"] = {
        "column": "ER",
        "values": {"Positive": "pos", "Negative": "negative"},
    }
    (fault,) = simple.study_faults()
    assert "'Positive' is given the value 'pos', which 'er' does not take (write 'positive')" in fault


def test_cohort_needs_receptor_and_her2_status(simple):
    for field in ("er", "pgr", "her2_ihc"):
        del simple.cohort()["clinical"]["fields"][field]
    text = "\n".join(simple.study_faults())
    assert "no hormone receptor field: map `er` and `pgr` (or `hr`)" in text
    assert "no HER2 status field" in text


def test_settings_that_contradict_each_other(simple):
    simple.settings["abundance"] = {"scale": "absolute", "multiplier": "leukocyte_fraction"}
    simple.settings["model"] = {"covariates": ["ERBB2", "centre"], "batch": True}
    simple.settings["study"]["truth"] = "truth.csv"
    simple.cohort()["cibersort"]["batches"] = ["a", "b"]
    text = "\n".join(simple.study_faults())
    assert 'scale is "absolute" already' in text
    assert "'ERBB2' is the HER2 measure and cannot be a covariate as well" in text
    assert "'centre' is not a covariate: set centre = true" in text
    assert "2 batch labels for 1 files" in text
    assert "a truth table is only for simulated data" in text


def test_centre_or_batch_that_no_cohort_has(simple):
    simple.settings["model"] = {"centre": True, "batch": True}
    text = "\n".join(simple.study_faults())
    assert "centre = true, but no cohort maps the field `centre`" in text
    assert "batch = true, but no cohort has batches" in text


def test_all_faults_are_reported_at_once(build):
    two = build("A", "B")
    two.settings["her2"]["mesure"] = "x"
    two.settings["decisions"] = {"rope": [2, 1]}
    two.settings["exclude"] = [{"field": "sex", "reason": "r"}]
    two.cohort("A")["clinical"]["file"] = "gone.csv"
    two.cohort("B")["cibersort"]["replicates"] = "median"
    two.cohort("B")["name"] = "A"
    path = two.write()
    with pytest.raises(StudyError) as caught:
        read_study(path)
    assert len(caught.value.faults) == 6
    assert str(caught.value).startswith("6 faults:\n  1. study.toml, line")
    assert all(", line " in fault for fault in caught.value.faults)


def test_decisions_hash_covers_priors_and_decisions_only(simple):
    before = simple.study()
    simple.settings["sampling"] = {"draws": 100}
    assert simple.study().decisions_hash == before.decisions_hash
    simple.settings["decisions"] = {"rope": [0.8, 1.25]}
    rope = simple.study().decisions_hash
    assert rope != before.decisions_hash
    prior = {"dist": "Normal", "params": {"mu": 0, "sigma": 0.3}, "why": "sceptical"}
    simple.settings["priors"] = {"abundance": {"slope": prior}}
    with_prior = simple.study().decisions_hash
    assert with_prior != rope
    prior["why"] = "the same numbers, another wording"
    assert simple.study().decisions_hash == with_prior


def test_input_hash_ignores_paths_words_and_the_order_of_cohorts(build):
    two = build("A", "B")
    before = two.study().input_hash
    two.settings["study"]["description"] = "other words"
    two.settings["cohort"].reverse()
    two.settings["sampling"] = {"cores": 1}
    (two.folder / "elsewhere.csv").write_text("x")
    two.cohort("A")["clinical"]["file"] = "elsewhere.csv"
    assert two.study().input_hash == before
    two.cohort("A")["clinical"]["fields"]["age"] = "Leukocytes"
    assert two.study().input_hash != before


def test_line_numbers_of_nested_tables():
    text = """\
# comment with [brackets]
[study]
name = "a # not a comment ["
list = [
  "x = 1",
  "[y]",
]
[[cohort]]
name = "A"
[cohort.clinical]
fields = { age = "Age", er = { column = "ER" } }
[[cohort.tables]]
file = "1"
[[cohort.tables]]
file = "2"
[cohort.tables.fields]
"a b" = "c"
[[cohort]]
name = "B"
"""
    lines = line_numbers(text)
    assert lines[("study", "name")] == 3
    assert lines[("study", "list")] == 4
    assert ("study", "x") not in lines
    assert lines[("cohort", 0, "clinical", "fields")] == 11
    assert lines[("cohort", 0, "tables", 1, "file")] == 15
    assert lines[("cohort", 0, "tables", 1, "fields", "a b")] == 17
    assert lines[("cohort", 1, "name")] == 19


def test_reference_describes_every_key():
    text = schema_markdown()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert all(len(row.split(" | ")[-1].strip(" |")) > 5 for row in rows)
    assert '| `scale` | `"relative"` |' in text
    assert "| `column` | required |" in text
