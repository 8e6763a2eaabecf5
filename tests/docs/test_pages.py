"""The documentation as it is written: what its examples say can be done, and its numbers are those of the records."""

from __future__ import annotations

import ast
import csv
import importlib
import json
import re
import tomllib

import pandas as pd
import pytest
from site_pages import DOCS, ROOT, WRITTEN, blocks, broken_in, commands

from bayes_her2.bayesian.model import MODELS, MODELS_OF_RESULTS
from bayes_her2.cli import app
from bayes_her2.inputs.study import parse_study

CALIBRATIONS = ROOT / "tests" / "reference" / "calibration"
README = ROOT / "README.md"


def name_of(page) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_calls_of_the_command_have_options_that_exist(page):
    for arguments in commands(page):
        app.parse_args(arguments, exit_on_error=False, print_error=False)


def test_a_call_with_an_option_that_does_not_exist_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```sh\nbayes-her2 run study.toml --out x --fast && echo done\n```\n", encoding="utf-8")
    (arguments,) = commands(page)
    assert arguments == ["run", "study.toml", "--out", "x", "--fast"]
    with pytest.raises(Exception, match="--fast"):
        app.parse_args(arguments, exit_on_error=False, print_error=False)


def test_every_command_is_shown_in_a_how_to():
    shown = {arguments[0] for page in WRITTEN if "how-to" in page.parts for arguments in commands(page)}
    assert {name for name in app if not name.startswith("-")} - shown == {
        "demo"
    }  # `make demo`, in the tutorial


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_links_lead_to_what_is_in_the_repository(page):
    generated = ("calibration.md", "commands.md", "study-file.md")
    assert [link for link in broken_in(page) if not link.split("#")[0].endswith(generated)] == []


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_settings_and_scripts_can_be_read(page):
    for code in blocks(page, "toml"):
        tomllib.loads(code)
    for code in blocks(page, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bayes_her2"):
                home = importlib.import_module(node.module)
                assert [alias.name for alias in node.names if not hasattr(home, alias.name)] == []


def test_the_whole_example_of_a_study_is_one(tmp_path):
    (code,) = (code for code in blocks(DOCS / "how-to" / "your-files.md", "toml") if "[[cohort]]" in code)
    study = parse_study(code, path=tmp_path / "study.toml", check_files=False)
    assert study.cohorts[0].name == "Milan"


def test_every_model_is_in_the_readmes_table():
    text = README.read_text(encoding="utf-8").split("## The main model")[0]
    listed = re.findall(r"^\| \[`(\w+)`\]", text, re.MULTILINE)
    assert set(listed) == {*MODELS, *MODELS_OF_RESULTS}


def test_what_the_readme_says_of_calibration_is_what_was_found():
    covered = [pd.read_csv(path)["covered"] for path in CALIBRATIONS.glob("*/coverage.csv")]
    sets = {json.loads(p.read_text())["data_sets"] for p in CALIBRATIONS.glob("*/about.json")}
    assert sets == {200}
    low, high = (100 * getattr(pd.concat(covered), end)() for end in ("min", "max"))
    said = " ".join(README.read_text(encoding="utf-8").split())
    assert (
        f"200 data sets for each of {len(covered)} models: nominal 95 % intervals cover {low:.1f} to {high:.1f} %"
        in said
    )


def test_what_the_guide_says_of_calibration_is_what_was_found():
    text = (DOCS / "how-to" / "calibrate.md").read_text(encoding="utf-8")
    said = re.findall(r"(0\.\d{3})\s+to\s+(0\.\d{3})\s+\(`(\w+)`\)", text)
    assert {name for *_, name in said} == {path.name for path in CALIBRATIONS.iterdir()}
    for low, high, name in said:
        covered = pd.read_csv(CALIBRATIONS / name / "coverage.csv")["covered"]
        assert (covered.min(), covered.max()) == pytest.approx((float(low), float(high)), abs=6e-4), name


def test_the_readme_sells_in_one_screen():
    pitch = README.read_text(encoding="utf-8").split("\n## ")[0]
    assert len(pitch.split()) < 450
    assert (DOCS / "images" / "demo_forest.png").stat().st_size < 60_000


def test_columns_are_listed_once():
    with (DOCS / "reference" / "tables.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [row["file"] for row in rows]
    assert len(names) == len(set(names)) > 60
    for row in rows:
        columns = row["columns"].split(";")
        assert len(columns) == len(set(columns)), row["file"]
