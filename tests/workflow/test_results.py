"""A results folder is one study's, and a refusal leaves it as it was."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from bayes_her2 import __version__
from bayes_her2.errors import DataError
from bayes_her2.workflow.results import PARTS, ResultsFolder, move_in_place


def begin(out, decisions, priors, study) -> None:
    with ResultsFolder(out).opened(decisions, priors, study):
        pass


def test_another_study_does_not_overwrite_a_folder(tmp_path):
    out = tmp_path / "out"
    begin(out, "rule", {"abundance": "a"}, "My trial")
    (out / "report.html").write_text("whole")
    with pytest.raises(
        DataError, match=r"holds the results of another study, 'My trial', which those of 'Theirs'"
    ):
        begin(out, "rule", {"abundance": "a"}, "Theirs")
    assert (out / "report.html").read_text() == "whole"
    begin(out, "rule", {"abundance": "a", "clinical": "b"}, "My trial")
    kept = json.loads((out / "decisions.json").read_text())
    assert kept == {
        "study": "My trial",
        "decisions_hash": "rule",
        "priors": {"abundance": "a", "clinical": "b"},
        "package_version": __version__,
    }


def test_results_of_another_command_may_lie_in_a_folder_of_a_runs(tmp_path):
    """`sensitivity --out RESULTS/sensitivity`, before the run or after it: the run leaves it as it is."""
    out = tmp_path / "out"
    begin(out / "sensitivity", "rule", {"main": "a"}, "My trial: sensitivity")
    (out / "sensitivity" / "sensitivity.html").write_text("whole")
    begin(out, "rule", {"abundance": "a"}, "My trial")
    begin(out, "rule", {"abundance": "a"}, "My trial")
    assert (out / "sensitivity" / "sensitivity.html").read_text() == "whole"
    (tmp_path / "theirs" / "notes").mkdir(parents=True)
    with pytest.raises(DataError, match=r"holds files that no run of this package wrote \(notes\)"):
        begin(tmp_path / "theirs", "rule", {"abundance": "a"}, "My trial")


def test_what_was_written_aside_does_not_outlive_a_failure(tmp_path):
    folder = ResultsFolder(tmp_path / "out")

    def fails() -> None:
        with folder.opened("rule", {}, "My trial"):
            folder.text("study.toml", "x")
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fails()
    assert {p.name for p in folder.out.iterdir()} == {"decisions.json"}
    begin(folder.out, "rule", {}, "My trial")  # nobody holds it


HOLDS = """
import sys, time
from pathlib import Path
from bayes_her2.workflow.results import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_held_by_one_process_and_free_when_that_is_killed(tmp_path):
    out = tmp_path / "out"
    other = subprocess.Popen([sys.executable, "-c", HOLDS, str(out)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        (out / "report.html").write_text("theirs")
        (out / "decisions.json").write_text(json.dumps({"study": "My trial", "decisions_hash": "rule"}))
        before = {p.name: p.read_bytes() for p in out.iterdir()}
        with pytest.raises(
            DataError, match=r"out: another command is writing its results there\. Wait until"
        ):
            begin(out, "rule", {}, "My trial")
        assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    finally:
        other.kill()
        other.communicate()
    begin(out, "rule", {}, "My trial")


def test_where_files_cannot_be_locked_nothing_is_held(tmp_path, monkeypatch):
    def unknown(*args, **kwargs):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", unknown)
    begin(tmp_path / "out", "rule", {}, "My trial")


@pytest.mark.parametrize("content", ["", "{", "[1]", "3", '"x"'])
def test_a_record_that_is_none_is_named(tmp_path, content):
    (tmp_path / "decisions.json").write_text(content)
    with pytest.raises(DataError, match=r"decisions\.json: not the record of a run .* Choose another folder"):
        begin(tmp_path, "rule", {}, "My trial")
    assert [p.name for p in tmp_path.iterdir()] == ["decisions.json"]


def test_other_defaults_of_another_version_are_said_to_be_of_it(tmp_path):
    begin(tmp_path, "rule", {"abundance": "a"}, "My trial")
    record = tmp_path / "decisions.json"
    record.write_text(record.read_text().replace(__version__, "0.0.7"))
    with pytest.raises(
        DataError, match=rf"was begun by bayes_her2 0\.0\.7 \(this is {__version__}\), perhaps under"
    ):
        begin(tmp_path, "rule", {"abundance": "b"}, "My trial")
    begin(tmp_path, "rule", {"abundance": "a"}, "My trial")
    assert json.loads(record.read_text())["package_version"] == __version__


def _written(folder: Path, content: str) -> None:
    """Files of every part, all with the same content."""
    for name in PARTS:
        file = folder / name if "." in name else folder / name / "one.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


def test_ended_at_any_step_of_putting_in_place_no_provenance_stands_beside_something_else(
    tmp_path, monkeypatch
):
    class Ended(BaseException):
        """In place of the end of the process: nothing after it is done."""

    steps = {(Path, "unlink"), (Path, "replace"), (shutil, "rmtree")}
    for last in range(50):
        out = tmp_path / str(last)
        _written(out, "old")
        _written(out / ".unfinished", "new")
        left = iter(range(last, -1, -1))
        with monkeypatch.context() as patched:
            for owner, name in steps:
                real = getattr(owner, name)

                def step(*args, real=real, left=left, **kwargs):
                    if next(left) == 0:
                        raise Ended
                    return real(*args, **kwargs)

                patched.setattr(owner, name, step)
            try:
                move_in_place(out / ".unfinished", out, PARTS)
            except Ended:
                ended = True
            else:
                ended = False
        contents = {p.read_text() for p in out.rglob("*") if p.is_file() and ".unfinished" not in p.parts}
        if (out / "provenance.json").exists():
            assert len(contents) == 1
        if not ended:
            assert contents == {"new"}
            break
    assert last > len(PARTS)  # every step was the last one once
