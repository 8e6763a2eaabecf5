"""Models in processes side by side: the same results, errors that arrive, and nothing left running."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from bayes_her2.errors import AnalysisRefusedError, DataError
from bayes_her2.workflow import Bars, run_study
from bayes_her2.workflow.side_by_side import _as_sent

pytestmark = pytest.mark.sampling

BOTH = ("high_abundance", "clinical")


def _run(study: Path, out: Path, at_once: int) -> tuple[list[str], set[str]]:
    """What a run says, and the models whose draws it counts."""
    said, counted = list[str](), set[str]()
    with pytest.raises(AnalysisRefusedError):
        run_study(
            study,
            out,
            only=BOTH,
            at_once=at_once,
            say=said.append,
            draws=lambda model, finished, total: counted.add(model),
        )
    return said, counted


def test_models_side_by_side_have_the_draws_and_the_messages_of_one_after_the_other(short, tmp_path):
    # With one at a time in this process, which may compile what the two processes of the other then load.
    told = {n: _run(short, tmp_path / str(n), n) for n in (1, 2)}
    said = {n: lines for n, (lines, _) in told.items()}
    counted = {n: models for n, (_, models) in told.items()}
    one, two = (
        {p.stem: pd.read_csv(p) for p in (tmp_path / n / "tables").glob("*.csv") if p.stem != "sampling"}
        for n in "12"
    )
    assert one.keys() == two.keys()
    for name, table in one.items():
        pd.testing.assert_frame_equal(table, two[name], obj=name)
    assert set(one["diagnostics"]["model"]) == set(BOTH)
    assert sorted(said[1]) == sorted(said[2])
    assert counted[1] == counted[2] == set(BOTH)


@pytest.fixture
def begun(study_file: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Two models at once by the command line, as far as the sampling of one of them."""
    with run_aside(study_file, tmp_path / "out") as process:
        yield process
        process.kill()


def run_aside(study: Path, out: Path) -> subprocess.Popen[str]:
    """Start the command, and wait until a model is sampled."""
    arguments = ["run", str(study), "--out", str(out), "--at-once", "2"]
    for name in BOTH:
        arguments += ["--only", name]
    process = subprocess.Popen(
        [sys.executable, "-m", "bayes_her2", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "200", "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "sampling the posterior" in line:
            return process
    raise AssertionError(process.communicate()[1])


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """Its processes that fit models."""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(process.pid)],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split(None, 1) for line in listed.stdout.splitlines()]
    return [int(pid) for pid, command in lines if "spawn_main" in command]


def nothing_is_left(out: Path, workers: list[int]) -> None:
    for _ in range(50):
        running = [pid for pid in workers if Path(f"/proc/{pid}").exists()]
        if not running:
            break
        time.sleep(0.1)
    assert running == []
    assert [str(p) for p in out.rglob("*.part")] == []
    assert not (out / "report.html").exists()


def test_an_interrupt_ends_every_process(begun, tmp_path):
    workers = workers_of(begun)
    assert len(workers) == 2
    begun.send_signal(signal.SIGINT)
    _, errors = begun.communicate(timeout=30)
    assert begun.returncode == 130
    assert "Interrupted. Finished fits are kept" in errors
    assert "Traceback" not in errors
    nothing_is_left(tmp_path / "out", workers)


def test_a_model_whose_process_is_killed_is_said_and_the_others_are_ended(begun, tmp_path):
    workers = workers_of(begun)
    os.kill(workers[0], signal.SIGKILL)
    _, errors = begun.communicate(timeout=30)
    assert begun.returncode == 1
    assert "was ended from outside (exit code -9)" in errors
    assert "--at-once 1" in errors
    assert "Traceback" not in errors
    nothing_is_left(tmp_path / "out", workers)


def test_a_killed_run_takes_its_processes_with_it(begun):
    workers = workers_of(begun)
    begun.kill()
    begun.wait()
    for _ in range(600):
        running = [pid for pid in workers if Path(f"/proc/{pid}").exists()]
        if not running:
            break
        time.sleep(0.1)
    assert running == []


@pytest.mark.parametrize(
    "error",
    [
        DataError(["one fault", "another"]),
        AnalysisRefusedError(["why"]),
        OSError(28, "No space left on device", "out/posterior/abundance.nc"),
    ],
)
def test_errors_arrive_as_they_were(error):
    again = _as_sent(error)
    assert type(again) is type(error)
    assert str(again) == str(error)


def test_an_error_that_cannot_be_sent_arrives_as_text():
    class Odd(Exception):
        """Of this function only."""

    again = _as_sent(Odd("what happened"))
    assert isinstance(again, RuntimeError)
    assert "what happened" in str(again)


def test_no_terminal_gets_a_line_now_and_then_with_what_was_said_whole(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("bayes_her2.workflow.progress.perf_counter", lambda: now[0])
    text = io.StringIO()
    with Bars(Console(file=text, width=40)) as bars:
        bars.say("[priors.abundance]: is said with its brackets, and on one line however long it is")
        for second in range(0, 100, 10):
            now[0] = second
            bars.draws("abundance", 100 * second, 10_000)
        bars.draws("abundance", 10_000, 10_000)
    lines = text.getvalue().splitlines()
    assert lines[0].endswith("however long it is")
    assert lines[0].startswith("[priors.abundance]")
    assert lines[1:] == ["  abundance: 4,000 of 10,000 draws", "  abundance: 8,000 of 10,000 draws"]


def test_a_terminal_gets_a_bar_for_each_model_that_is_sampled():
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=100)
    with Bars(console) as bars:
        bars.draws("abundance", 10, 100)
        bars.draws("clinical", 20, 200)
        assert [task.description for task in bars._progress.tasks] == ["abundance", "clinical"]
        bars.draws("clinical", 200, 200)
        assert [task.description for task in bars._progress.tasks] == ["abundance"]
