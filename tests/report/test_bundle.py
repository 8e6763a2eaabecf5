"""The archive of a run: the same bytes twice, a script that renders the report in it, and no row of a single tumour."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bayes_her2.cli import exit_code
from bayes_her2.errors import DataError
from bayes_her2.report import render_report
from bayes_her2.workflow.bundle import MASK, PATIENT_ROWS, bundle_results


@pytest.fixture
def run(rendered, tmp_path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(rendered, tmp_path / "results"))


@pytest.fixture(scope="module")
def rendered(builder_in, tmp_path_factory) -> Path:
    """Results with draws, and a table of groups that names a tumour, whose name is a number as counts are."""
    folder = builder_in(tmp_path_factory.mktemp("bundled") / "results").build()
    render_report(folder)
    (folder / "decisions.json").write_text("{}", encoding="utf-8")
    (folder / "posterior").mkdir()
    (folder / "posterior" / "abundance.nc").write_bytes(b"draws" * 1000)
    (folder / "tables" / "worst.csv").write_text(
        "cell_type,n,worst_tumour\nAlpha,1,1\nBeta,1,\n", encoding="utf-8"
    )
    return folder


def unpacked(path: Path, into: Path) -> Path:
    with zipfile.ZipFile(path) as archive:
        archive.extractall(into)
    (top,) = into.iterdir()
    return top


def test_it_holds_what_the_readme_says_and_the_sums_are_right(run, tmp_path):
    made = bundle_results(run, tmp_path / "a.zip")
    top = unpacked(made.path, tmp_path / "out")
    assert top.name == run.name
    here = {p.relative_to(top).as_posix() for p in top.rglob("*") if p.is_file()}
    assert here >= {
        "README.md",
        "SHA256SUMS",
        "checklist.csv",
        "decisions.json",
        "posterior/abundance.nc",
        "provenance.json",
        "render.py",
        "report.html",
        "requirements.txt",
        "results.md",
        "study.toml",
        "tables/estimates.csv",
    }
    assert made.n_files == len(here)
    assert made.n_bytes == made.path.stat().st_size
    sums = dict(line.split("  ")[::-1] for line in (top / "SHA256SUMS").read_text().splitlines())
    assert set(sums) == here - {"SHA256SUMS"}
    assert all(hashlib.sha256((top / name).read_bytes()).hexdigest() == own for name, own in sums.items())
    pins = dict(line.split("==") for line in (top / "requirements.txt").read_text().splitlines())
    assert {"pymc", "matplotlib"} <= set(pins)


def test_rows_of_single_tumours_are_left_out_and_names_elsewhere_masked(run, tmp_path):
    made = bundle_results(run, tmp_path / "a.zip")
    assert made.left_out == ("exclusions.csv",)
    assert made.naming == ()
    top = unpacked(made.path, tmp_path / "out")
    assert not (top / "tables" / "exclusions.csv").exists()
    assert (
        top / "tables" / "worst.csv"
    ).read_text() == f"cell_type,n,worst_tumour\nAlpha,1,{MASK}\nBeta,1,\n"
    assert "left out: exclusions.csv" in (top / "README.md").read_text()
    with (run / "tables" / "exclusions.csv").open(encoding="utf-8", newline="") as file:
        names = {row["tumour"] for row in csv.DictReader(file)}
    assert "Di0" in names
    for path in top.rglob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            assert not names & {cell for row in csv.reader(file) for cell in row}
    assert (top / "tables" / "flow.csv").read_bytes() == (run / "tables" / "flow.csv").read_bytes()
    assert 'href="tables/exclusions.csv"' not in (top / "report.html").read_text(encoding="utf-8")
    assert (run / "tables" / "worst.csv").read_text() == "cell_type,n,worst_tumour\nAlpha,1,1\nBeta,1,\n"


def test_a_tumour_named_in_a_text_is_said(run, tmp_path):
    notices = run / "tables" / "notices.csv"
    notices.write_text(notices.read_text() + "External,Row Di0 read twice.\n", encoding="utf-8")
    made = bundle_results(run, tmp_path / "a.zip")
    assert "tables/notices.csv" in made.naming
    assert "tables/notices.csv" in (unpacked(made.path, tmp_path / "out") / "README.md").read_text()


def test_with_patient_rows_all_tables_are_there_as_they_are(run, tmp_path):
    made = bundle_results(run, tmp_path / "a.zip", patient_rows=True)
    assert made.left_out == ()
    top = unpacked(made.path, tmp_path / "out")
    for table in (run / "tables").iterdir():
        assert (top / "tables" / table.name).read_bytes() == table.read_bytes()
    assert "treat them as patient data" in (top / "README.md").read_text()


def test_the_script_in_it_renders_the_same_bytes(run, tmp_path):
    top = unpacked(bundle_results(run, tmp_path / "a.zip").path, tmp_path / "out")
    before = {p: p.read_bytes() for p in top.rglob("*") if p.is_file()}
    assert (top / "figures").is_dir()
    for path in (top / "report.html", *(top / "figures").iterdir()):
        path.unlink()
    done = subprocess.run([sys.executable, "render.py"], cwd=top, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    changed = [str(p) for p, content in before.items() if p.read_bytes() != content]
    assert changed == []


def test_the_same_results_give_the_same_bytes_and_the_folder_is_not_changed(run, tmp_path):
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    first = bundle_results(run, tmp_path / "a.zip").path.read_bytes()
    second = bundle_results(run, tmp_path / "b.zip").path.read_bytes()
    assert first == second
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_draws_are_most_of_the_size_and_may_be_left_out(run, tmp_path):
    made = bundle_results(run, tmp_path / "a.zip", draws=False)
    top = unpacked(made.path, tmp_path / "out")
    assert not (top / "posterior").exists()
    assert "`posterior/`: left out." in (top / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.tar", None, "is not the name of a zip file"),
        ("a.zip", "mine", "exists and is no bundle of results"),
    ],
)
def test_another_file_is_not_overwritten(run, tmp_path, capsys, name, content, says):
    out = tmp_path / "put" / name
    out.parent.mkdir()
    if content is not None:
        out.write_text(content, encoding="utf-8")
    assert exit_code(["bundle", str(run), "--out", str(out), "--quiet"]) == 2
    assert says in " ".join(capsys.readouterr().err.split())
    assert [p.name for p in out.parent.iterdir()] == ([name] if content else [])
    assert content is None or out.read_text() == content


def test_a_zip_file_of_something_else_is_not_overwritten_and_an_earlier_bundle_is(run, tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mine.txt", "mine")
    with pytest.raises(DataError, match="exists and is no bundle of results"):
        bundle_results(run, path)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["mine.txt"]
    path.unlink()
    first = bundle_results(run, path).path.read_bytes()
    assert bundle_results(run, path).path.read_bytes() == first


def test_results_of_another_command_beside_the_run_are_taken_in_without_rows_of_tumours(run, tmp_path):
    own = json.loads((run / "provenance.json").read_text()) | {"study_hash": "12" * 32}
    (run / "provenance.json").write_text(json.dumps(own))
    other = run / "sensitivity"
    (other / "tables").mkdir(parents=True)
    (other / "figures").mkdir()
    record = {name: own[name] for name in ("study_hash", "files")} | {
        "kind": "sensitivity",
        "universes": {"flat": {}},
    }
    (other / "provenance.json").write_text(json.dumps(record))
    (other / "sensitivity.html").write_text("<html></html>")
    (other / "tables" / "multiverse_exclusions.csv").write_text("universe,tumour\nflat,Di0\n")
    (other / "tables" / "multiverse.csv").write_text("universe,n\nflat,3\n")
    made = bundle_results(run, tmp_path / "a.zip")
    assert made.left_out == ("exclusions.csv", "multiverse_exclusions.csv")
    top = unpacked(made.path, tmp_path / "out")
    assert (top / "sensitivity" / "sensitivity.html").exists()
    assert [p.name for p in (top / "sensitivity" / "tables").iterdir()] == ["multiverse.csv"]
    assert 'href="sensitivity/sensitivity.html"' in (top / "report.html").read_text(encoding="utf-8")


def test_a_place_where_no_folder_can_be_is_said(run, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert exit_code(["bundle", str(run), "--out", str(tmp_path / "file" / "a.zip"), "--quiet"]) == 2
    assert "file: no folder can be made there" in " ".join(capsys.readouterr().err.split())


def test_a_folder_without_results_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"provenance\.json"):
        bundle_results(tmp_path / "empty", tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_the_command_says_where_and_what(run, capsys):
    assert exit_code(["bundle", str(run)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Left out, because they have rows of single tumours: exclusions.csv" in said
    assert f"{run.name}.zip" in said
    assert (run.parent / f"{run.name}.zip").exists()
    assert [p for p in run.parent.iterdir() if p.name.startswith(".")] == []


def test_every_table_with_a_tumour_column_is_known():
    """A new table with a row for each tumour belongs in `PATIENT_ROWS`."""
    from bayes_her2.report.load import BEFORE_RESULTS, INFERENCE, OF_COHORTS
    from bayes_her2.report.sections.registry import SECTIONS

    read = {**OF_COHORTS, **BEFORE_RESULTS, **INFERENCE}
    for section in SECTIONS:
        read |= {**section.needed, **section.optional}
    assert {name for name, columns in read.items() if "tumour" in columns} <= set(PATIENT_ROWS)
