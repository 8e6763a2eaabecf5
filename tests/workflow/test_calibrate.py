"""Calibration from the command line: twenty data sets of a small design, resumed, and its bad input."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from threading import Thread
from time import sleep
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from bayes_her2.models import abundance
from cluster_jobs import ends_its_process, fails
from distributed import Client
from rich.console import Console
from simulated_studies import small_design

from bayes_her2.bayesian.calibration import SETTINGS, calibrate_one
from bayes_her2.cli import exit_code
from bayes_her2.comparison.calibration import verdict
from bayes_her2.errors import BayesHer2Error, DataError
from bayes_her2.evidence.response import seed_study_response
from bayes_her2.simulation import simulate_cohorts
from bayes_her2.simulation.demo import write_study
from bayes_her2.terminal import show_calibration
from bayes_her2.workflow import calibrate as workflow
from bayes_her2.workflow import cluster as on_cluster
from bayes_her2.workflow.calibrate import (
    Calibrated,
    calibrate_model,
    small_seed_design,
    troubled,
)
from bayes_her2.workflow.check import check_study
from bayes_her2.workflow.results import ResultsFolder
from bayes_her2.workflow.side_by_side import do_all

pytestmark = pytest.mark.sampling

N = 20
SEED = 7
SHORT = replace(SETTINGS, chains=1, tune=300, draws=300)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """Two cohorts of 70 tumours, two cell types: a fit takes seconds."""
    design = small_design(2)
    cohorts = tuple(replace(c, n_hr_positive=45, n_hr_negative=25) for c in design.cohorts)
    design = replace(design, cohorts=cohorts, cell_types=design.cell_types[::3])
    return write_study(
        tmp_path_factory.mktemp("tiny"), simulate_cohorts(np.random.default_rng(3), design), seed=3
    )


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory) -> Calibrated:
    out = tmp_path_factory.mktemp("calibration") / "out"
    return calibrate_model("abundance", out, study=tiny, replicates=N, seed=SEED, at_once=2, settings=SHORT)


@pytest.fixture(scope="module")
def folder(made) -> Path:
    return made.folder


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    return {
        p.stem: pd.read_csv(p, keep_default_na=False, na_values=[""])
        for p in (folder / "tables").glob("*.csv")
    }


def test_nothing_speaks_against_the_main_model(folder):
    made = tables(folder)
    assert verdict(made["ranks"], made["coverage"]) == ()
    assert json.loads((folder / "provenance.json").read_text())["against"] == []
    pooled = made["coverage"].set_index(["estimand", "scope", "stratum"]).loc[("amount", "pooled", "HR+")]
    assert pooled["n"] == 2 * N
    assert len(made["fits"]) == N
    assert len(troubled(made["fits"])) <= 3


def test_what_is_printed_says_how_many_and_what_speaks_against(made):
    console = Console(record=True, width=160)
    show_calibration(console, made)
    text = console.export_text()
    assert "abundance, 20 data sets" in text
    assert "Nothing speaks against calibration." in text
    assert str(made.page) in text


def test_every_part_of_the_summary_is_there(folder):
    made = tables(folder)
    parts = {"ranks", "rank_ecdf", "coverage", "errors_of_claims", "discoveries", "power", "design", "fits"}
    assert set(made) == parts
    page = (folder / "calibration.html").read_text()
    assert "Does abundance find the truth?" in page
    assert "20 data sets were simulated from the priors of abundance" in page
    assert made["design"]["n"].sum() == 2 * (45 + 25)
    assert {"presence", "amount", "overall", "high_abundance"} <= set(made["ranks"]["estimand"])
    assert set(made["ranks"]["scope"]) == {"pooled", "cohort", "new cohort"}
    assert made["power"]["n"].sum() == made["errors_of_claims"]["n"].sum()


def test_a_data_set_depends_on_the_seed_and_its_number_alone(folder, tiny):
    """Fitted here, alone, it is what a process of twenty wrote; and its rank is among 0 to 99."""
    checked = check_study(tiny, only=("abundance",))
    data = checked.prepared.tumours.for_model("abundance")
    job = workflow.Job("abundance", data, checked.study)
    truths = workflow.prior_truths(abundance, data, job.priors, workflow._BLOCK, [SEED, 0])
    alone = calibrate_one(
        abundance, data, job.priors, truths.isel(draw=[4]), seed=SEED, number=4, settings=SHORT
    )
    kept = pd.read_parquet(folder / "replicates" / "0005.parquet")
    same = alone.table.assign(replicate=5)
    pd.testing.assert_frame_equal(kept, same[kept.columns], check_dtype=False)
    assert kept["rank"].between(0, 99).all()


def test_finished_data_sets_are_reused_and_a_broken_one_is_made_again(folder, tiny):
    files = sorted((folder / "replicates").iterdir())
    before = {path.name: (path.stat().st_mtime_ns, pd.read_parquet(path)) for path in files}
    files[1].unlink()
    files[2].write_bytes(files[2].read_bytes()[:100])
    again = calibrate_model("abundance", folder, study=tiny, replicates=N, seed=SEED, settings=SHORT)
    assert again.reused == N - 2
    assert again.against == ()
    for i, path in enumerate(files):
        time, table = before[path.name]
        if i in (1, 2):
            columns = ["replicate", "estimand", "scope", "outcome", "stratum", "cohort", "truth"]
            pd.testing.assert_frame_equal(pd.read_parquet(path)[columns], table[columns])
        else:
            assert path.stat().st_mtime_ns == time


def test_workers_that_would_not_do_are_refused(cluster, tiny, tmp_path, monkeypatch):
    def asked(scheduler: str, **settings) -> None:
        calibrate_model(
            "abundance",
            tmp_path / "out",
            study=tiny,
            replicates=N,
            seed=SEED,
            scheduler=scheduler,
            **settings,
        )

    monkeypatch.setattr(on_cluster, "ANSWERS_WITHIN", 2)
    with pytest.raises(DataError, match=r"tcp://127.0.0.1:1: no Dask scheduler answers there"):
        asked("tcp://127.0.0.1:1")
    with pytest.raises(DataError, match=r"nonsense: is no address.*tcp://HOST:PORT"):
        asked("nonsense")
    monkeypatch.setattr(on_cluster, "__version__", "9.9.9")
    with pytest.raises(DataError, match=r"workers have bayes_her2 0\.1\.0, and this is 9\.9\.9"):
        asked(cluster.scheduler_address)
    monkeypatch.undo()
    monkeypatch.setattr(on_cluster.Path, "touch", lambda self: None)  # as if on another disk
    with pytest.raises(DataError, match=r"2 of 2 workers do not see .*out"):
        asked(cluster.scheduler_address)
    assert not list((tmp_path / "out").rglob("*.part"))
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"decisions.json"}


def test_workers_of_a_cluster_give_the_same_with_one_of_them_killed(cluster, folder, tiny, tmp_path):
    out = ResultsFolder(tmp_path / "out")
    out.out.mkdir()
    checked = check_study(tiny, only=("abundance",))
    job = workflow.Job("abundance", checked.prepared.tumours.for_model("abundance"), checked.study)
    settings = replace(SHORT, cores=1)
    jobs, _ = workflow._jobs(job, out, 5, SEED, settings, checked.study.decisions.interval, "")
    killed = []

    def finished() -> list[Path]:
        return list((out.out / "replicates").glob("*.parquet"))

    def kill_one() -> None:
        """End a worker's process once the first data set is there."""
        while not finished():
            sleep(0.02)
        with Client(cluster.scheduler_address, set_as_default=False) as client:
            pid = min(client.run(os.getpid).values())
        os.kill(pid, signal.SIGKILL)
        killed.append((pid, len(finished())))

    killer = Thread(target=kill_one, daemon=True)  # if no data set ever comes, the tests end all the same
    killer.start()
    lines: list[str] = []
    done = do_all(
        jobs,
        workflow.do_data_set,
        out,
        at_once=1,
        say=lines.append,
        draws=None,
        scheduler=cluster.scheduler_address,
    )
    killer.join(timeout=60)
    ((pid, before),) = killed
    assert before < len(jobs)  # in mid-run
    assert [one.name for one in done] == [job.name for job in jobs]
    assert lines[0] == f"5 jobs on 2 workers of {cluster.scheduler_address}"
    assert not list(out.out.rglob("*.part"))
    assert len(finished()) == len(jobs)
    for one in finished():  # as two processes of this machine wrote them
        pd.testing.assert_frame_equal(pd.read_parquet(one), pd.read_parquet(folder / "replicates" / one.name))
    with Client(cluster.scheduler_address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=30)
        assert pid not in client.run(os.getpid).values()


def test_a_job_that_ends_every_worker_or_fails_is_named(cluster, tmp_path):
    folder = ResultsFolder(tmp_path / "out")
    folder.out.mkdir()
    address, jobs = cluster.scheduler_address, [SimpleNamespace(name="0007")]
    with pytest.raises(
        BayesHer2Error, match=r"^0007: its worker was lost again and again.*Finished jobs are kept"
    ):
        on_cluster.do_all_on(address, jobs, ends_its_process, folder, say=print)
    with pytest.raises(DataError, match="0007 is no good"):
        on_cluster.do_all_on(address, jobs, fails, folder, say=print)


def test_a_scheduler_without_workers_or_with_threads_is_refused(tmp_path):
    """What a scheduler answers then, without starting one that has none."""

    def waits(n: int, timeout: float) -> None:
        raise TimeoutError

    def asked(**answers) -> None:
        on_cluster._check_workers(SimpleNamespace(**answers), "tcp://x:1", ResultsFolder(tmp_path))

    with pytest.raises(DataError, match=r"it has no worker\. Start some: dask worker tcp://x:1 --nthreads 1"):
        asked(wait_for_workers=waits)
    several = {"workers": {"tcp://a:1": {"nthreads": 1}, "tcp://b:1": {"nthreads": 4}}}
    with pytest.raises(
        DataError, match=r"1 of 2 workers do several jobs at a time .*tcp://b:1.* --nthreads 1"
    ):
        asked(wait_for_workers=lambda n, timeout: None, scheduler_info=lambda n_workers: several)


def test_without_the_package_it_is_said_what_to_install(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DataError, match="needs the package distributed"):
        calibrate_model("abundance", tmp_path / "out", study=tiny, replicates=N, scheduler="tcp://x:1")


def test_another_seed_does_not_take_up_these_data_sets(folder, tiny, monkeypatch):
    asked = []
    monkeypatch.setattr(workflow, "do_all", lambda jobs, *rest, **named: asked.extend(jobs))
    monkeypatch.setattr(workflow, "_read_all", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        calibrate_model("abundance", folder, study=tiny, replicates=N, seed=SEED + 1, settings=SHORT)
    assert len(asked) == N
    assert (
        folder / "tables" / "ranks.csv"
    ).exists()  # of the calibration before: it stays until there is another
    assert not (folder / ".unfinished").exists()


def test_a_model_of_patients_is_calibrated_on_the_published_ones(tmp_path):
    out = tmp_path / "out"
    made = calibrate_model("treatment_response", out, replicates=N, seed=SEED, settings=SHORT)
    assert made.against == ()
    assert made.tables["discoveries"].empty  # it calls no sign
    ranks, covered = made.tables["ranks"], made.tables["coverage"]
    assert (ranks["outcome"] != "").all()
    assert not ranks.duplicated(["estimand", "scope", "outcome", "stratum", "cohort"]).any()
    assert (covered["n_replicates"] == N).all()
    assert "responders_of_next_50" not in set(ranks["estimand"])
    # Pizzamiglio 2025, Table 2: HER2-low and HER2-0 patients by hormone receptor status
    assert made.tables["design"]["n"].sum() == sum(seed_study_response().rows["n"])
    page = made.page.read_text()
    assert "Patients of: <b>Pizzamiglio 2025" in page
    assert "The model calls no sign by the local false sign rate." in page
    assert "discoveries over all cohorts" not in page


def test_studies_are_counted_once_whatever_they_are_asked(tmp_path):
    checked = check_study(
        write_study(tmp_path, simulate_cohorts(np.random.default_rng(3), small_design(2)), 3, published=True),
        only=("evidence_synthesis",),
    )
    data = workflow._data_of(checked, "evidence_synthesis")
    assert workflow._about(checked.study, data).study == "the studies of the evidence table"
    table = workflow._design(data)
    assert not table.duplicated(["of", "stratum"]).any()
    assert set(table["of"]) == set(data.studies["study"])
    printed = data.studies.dropna(subset=["n_exposed", "n_reference"])
    assert set(table.loc[table["n"].notna(), "of"]) == set(printed["study"])


def test_the_seed_studys_design_has_its_strata_and_six_cell_types():
    design = small_seed_design()
    assert [c.n_hr_negative for c in design.cohorts] == [22, 13, 63]
    assert len(design.cell_types) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["rank_correlation"],
            "'rank_correlation': is not a model that can be held against data simulated from it (it sees ranks",
        ),
        (
            ["composition"],
            "'composition': is not a model that can be held against data simulated from it (a tumour without any cell",
        ),
        (
            ["abundanse"],
            "known: abundance, high_abundance, marginal_effect, clinical, evidence_synthesis, treatment_response",
        ),
        (["abundance", "--replicates", "19"], "--replicates 19: 20 at least"),
        (["abundance", "--study", "no.toml"], "no.toml"),
    ],
)
def test_bad_input_is_one_message_and_nothing_is_written(arguments, message, tmp_path, capsys):
    out = tmp_path / "out"
    assert exit_code(["calibrate", *arguments, "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("command", [["calibrate", "abundance"], ["demo"]], ids=["calibrate", "demo"])
def test_what_is_in_the_way_of_the_simulated_files_is_left_as_it_is(command, tmp_path, capsys):
    file, other = tmp_path / "file", tmp_path / "other"
    file.write_text("mine")
    simulated = other / "simulated" / "study.toml"
    simulated.parent.mkdir(parents=True)
    simulated.write_text("another study's")
    (other / "decisions.json").write_text('{"study": "Another"}')
    assert exit_code([*command, "--out", str(file)]) == 2
    assert exit_code([*command, "--out", str(other)]) == 2
    said = capsys.readouterr().err
    assert "file: is a file" in said
    assert "holds the results of another study, 'Another'" in said
    assert file.read_text() == "mine"
    assert simulated.read_text() == "another study's"


def test_a_study_without_cohorts_is_refused(tmp_path, capsys):
    study = tmp_path / "study.toml"
    study.write_text('[study]\nname = "Published"\nseed = 1\n[published]\nevidence = true\n')
    assert exit_code(["calibrate", "abundance", "--study", str(study), "--out", str(tmp_path / "out")]) == 2
    assert "the study has no [[cohort]]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_model_that_does_not_suit_the_study_is_refused(tiny, tmp_path, capsys):
    out = tmp_path / "out"
    assert exit_code(["calibrate", "abundance_beta", "--study", str(tiny), "--out", str(out)]) == 2
    assert "abundance_beta: it is a model of shares between 0 and 1" in capsys.readouterr().err
    assert not out.exists()
