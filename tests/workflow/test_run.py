"""A run: complete, resumable, never half-written, and silent about results that did not pass the gate."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr
from simulated_studies import ALONE, small_design

from bayes_her2 import __version__
from bayes_her2.bayesian.fit import read_fit
from bayes_her2.cli import exit_code
from bayes_her2.comparison import CLAIMS, LAYERS
from bayes_her2.errors import AnalysisRefusedError
from bayes_her2.estimates import Estimates
from bayes_her2.simulation import write_demo
from bayes_her2.workflow import run_study
from bayes_her2.workflow.results import STAGING

pytestmark = pytest.mark.sampling

TABLES = {
    "cell_composition",
    "cell_types",
    "claims",
    "composition",
    "concordance",
    "covariate_scaling",
    "diagnostics",
    "estimates",
    "exclusion_counts",
    "exclusions",
    "families",
    "flow",
    "her2_by_ihc",
    "her2_scaling",
    "heterogeneity",
    "interaction_sweep",
    "notices",
    "outline",
    "parts",
    "influence",
    "loo_pit_ecdf",
    "parts_disagree",
    "predictive_pit",
    "tumours_left_out",
    "posterior_predictive",
    "precision",
    "prior_predictive",
    "priors",
    "recovery",
    "rules",
    "sampling",
    "table_one",
    "zero_shares",
}


def with_settings(study_file: Path, settings: str, name: str) -> Path:
    path = study_file.with_name(name)
    text = study_file.read_text(encoding="utf-8")
    path.write_text(text.replace("[[exclude]]", f"{settings}\n\n[[exclude]]", 1), encoding="utf-8")
    return path


def leftovers(folder: Path) -> list[str]:
    return [str(p) for p in folder.rglob("*") if p.name.endswith(".part") or p.name == STAGING]


def test_a_results_folder_is_complete_in_itself(results, study_file):
    assert {p.stem for p in (results / "tables").glob("*.csv")} == TABLES
    assert (results / "study.toml").read_text() == study_file.read_text()
    assert (results / "report.html").stat().st_size > 100_000
    assert list((results / "figures").glob("*.svg"))
    assert leftovers(results) == []
    provenance = json.loads((results / "provenance.json").read_text())
    assert provenance["status"] == "complete"
    sampler = provenance["models"]["abundance"]["sampler"]
    assert sampler["name"] == "nutpie"
    assert len(provenance["files"]) == 2
    assert all(len(f["sha256"]) == 64 for f in provenance["files"])
    assert read_fit(results / "posterior" / "abundance.nc").fit_hash == sampler["fit_hash"]


def test_every_family_and_every_claim_is_in_the_joint_tables(results):
    pairs = pd.read_csv(results / "tables" / "concordance.csv", keep_default_na=False)
    counted = pd.read_csv(results / "tables" / "families.csv", keep_default_na=False)
    assert counted["n_rows"].sum() == len(pairs)
    compared = pairs[pairs["exposure"] == "HR status"]
    assert set(compared["estimand"]) == {"probability_greater", "presence_difference"}
    assert not compared["verdict"].isin(["contradicts", "not compared"]).any()
    claimed = pd.read_csv(results / "tables" / "claims.csv", keep_default_na=False)
    assert set(claimed["claim"]) == {claim.name for claim in CLAIMS}
    assert set(claimed["layer"]) <= set(LAYERS)
    assert (claimed.loc[claimed["layer"] == "not testable here", "why"] != "").all()


def test_decisions_are_on_record_and_equal_those_of_the_run(results):
    recorded = json.loads((results / "decisions.json").read_text())["decisions_hash"]
    assert recorded == json.loads((results / "provenance.json").read_text())["decisions_hash"]


def test_both_sides_saw_the_same_tumours(results):
    estimates = Estimates.read_csv(results / "tables" / "estimates.csv")
    assert set(estimates.table["source"]) == {"posterior", "twin"}
    tests = ("rank tests", "group tests")  # of the main model's tumours
    models = estimates.table["model"].where(~estimates.table["model"].isin(tests), "abundance")
    assert (estimates.table.groupby(models)["fingerprint"].nunique() == 1).all()
    pairs = pd.read_csv(results / "tables" / "concordance.csv", keep_default_na=False)
    observed = pairs[pairs["verdict"] != "not estimable"]
    assert len(observed) > 20
    # On simulated data with moderate effects the two sides never contradict each other.
    assert "contradicts" not in set(observed["verdict"])


def test_a_second_run_reuses_the_fit_and_gives_the_same_tables(results, study_file, capsys):
    before = {p.name: p.read_bytes() for p in (results / "tables").glob("*.csv") if p.stem != "sampling"}
    fit_written = (results / "posterior" / "abundance.nc").stat().st_mtime_ns
    command = ["run", str(study_file), "--out", str(results), "--only", "abundance", *ALONE]
    assert exit_code([*command, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["reused"] == list(json.loads((results / "provenance.json").read_text())["models"])
    assert Path(said["report"]) == results / "report.html"
    pairs = pd.read_csv(results / "tables" / "concordance.csv", keep_default_na=False, na_values=[""])
    called = pairs[(pairs["estimand"] == "overall") & (pairs["scope"] == "pooled") & pairs["discovery_bayes"]]
    assert len(said["findings"]) == len(called) > 0
    assert {f["outcome"] for f in said["findings"]} == set(called["outcome"])
    assert said["findings"][0]["lfsr"] == pytest.approx(called["lfsr"].min())
    assert (results / "posterior" / "abundance.nc").stat().st_mtime_ns == fit_written
    after = {p.name: p.read_bytes() for p in (results / "tables").glob("*.csv") if p.stem != "sampling"}
    assert after == before


def test_other_priors_or_rope_do_not_enter_a_folder_begun_under_these(results, study_file, capsys):
    changed = with_settings(study_file, "[decisions]\nrope = [0.8, 1.25]", "other_rope.toml")
    assert exit_code(["run", str(changed), "--out", str(results), "--only", "abundance", "-q"]) == 2
    message = capsys.readouterr().err
    assert "was begun under other priors, region of practical equivalence or decision rule" in message
    assert "choose another folder" in message
    assert json.loads((results / "provenance.json").read_text())["status"] == "complete"


def test_the_folder_of_a_run_is_not_overwritten_by_a_comparison(study_file, results, capsys):
    before = {p: p.stat().st_mtime_ns for p in results.rglob("*") if p.is_file()}
    assert exit_code(["compare", str(study_file), "--out", str(results), "--quiet"]) == 2
    assert "rival models' would overwrite" in " ".join(capsys.readouterr().err.split())
    assert {p: p.stat().st_mtime_ns for p in results.rglob("*") if p.is_file()} == before


def test_a_folder_of_somebody_else_is_left_alone(study_file, tmp_path, capsys):
    (tmp_path / "thesis.docx").write_text("precious")
    assert exit_code(["run", str(study_file), "--out", str(tmp_path), "-q"]) == 2
    assert "holds files that no run of this package wrote (thesis.docx)" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.docx"]


def test_a_file_in_place_of_the_folder_is_named(study_file, tmp_path, capsys):
    target = tmp_path / "out"
    target.write_text("a file")
    assert exit_code(["run", str(study_file), "--out", str(target), "-q"]) == 2
    assert "out: is a file" in capsys.readouterr().err


def test_unknown_priors_are_named_with_the_known_ones(study_file, tmp_path, capsys):
    override = '[priors.abundance.slope]\ndist = "Normal"\nparams = { mu = 0, sigma = 1 }\nwhy = "test"'
    changed = with_settings(study_file, override, "unknown_prior.toml")
    assert exit_code(["run", str(changed), "--out", str(tmp_path / "out"), "-q"]) == 2
    message = capsys.readouterr().err
    assert "[priors.abundance]: the model has no prior named slope; known: presence_intercept_mean" in message
    assert not (tmp_path / "out").exists()


def test_an_unknown_model_is_named_with_the_known_ones(study_file, tmp_path, capsys):
    assert (
        exit_code(["run", str(study_file), "--out", str(tmp_path / "out"), "--only", "abundanse", "-q"]) == 2
    )
    assert "no model is named abundanse; known: abundance" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_fit_that_fails_the_gate_prints_no_result(short, tmp_path, capsys):
    out = tmp_path / "out"
    assert exit_code(["run", str(short), "--out", str(out), "--only", "abundance", "-q"]) == 1
    message = capsys.readouterr().err
    assert "The analysis refuses to print results of abundance:" in message
    assert "bulk ESS" in message
    names = {p.stem for p in (out / "tables").glob("*.csv")}
    assert not names & {"estimates", "concordance", "heterogeneity", "recovery", "posterior_predictive"}
    provenance = json.loads((out / "provenance.json").read_text())
    assert provenance["status"] == "refused"
    assert provenance["models"]["abundance"]["sampler"]["retried"]
    page = (out / "report.html").read_text()
    assert "Posterior beside frequentist twin" not in page
    assert leftovers(out) == []
    with pytest.raises(AnalysisRefusedError):
        run_study(short, out, only=["abundance"])


def run_aside(study_file: Path, out: Path, before: str = "") -> subprocess.Popen[str]:
    arguments = ["run", str(study_file), "--out", str(out), "--only", "abundance", *ALONE]
    code = f"{before}\nfrom bayes_her2.cli import main\nmain({arguments!r})"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "200", "PYTHONUNBUFFERED": "1"},
    )


def until_sampling(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("abundance: sampling the posterior"):
            break


def nothing_half_written(out: Path) -> None:
    assert not (out / "report.html").exists()
    assert not (out / "provenance.json").exists()
    assert not (out / "tables").exists()
    assert not (out / "posterior" / "abundance.nc").exists()


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(signal.SIGKILL, id="killed", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, id="interrupted"),
    ],
)
def test_a_run_ended_while_sampling_leaves_nothing_half_written_and_resumes(
    study_file, tmp_path, how, results
):
    out = tmp_path / "out"
    process = run_aside(study_file, out)
    until_sampling(process)
    time.sleep(1.0)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0, errors
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "Interrupted. Finished fits are kept" in errors
    nothing_half_written(out)
    if how == signal.SIGKILL:
        assert exit_code(["run", str(study_file), "--out", str(out), "--only", "abundance", "-q"]) == 0
        assert leftovers(out) == []
        both = [Estimates.read_csv(folder / "tables" / "estimates.csv") for folder in (out, results)]
        ours, whole = (estimates.select(model="abundance").to_csv() for estimates in both)
        assert ours == whole


def test_a_full_disk_is_said_and_leaves_nothing_half_written(study_file, tmp_path):
    out = tmp_path / "out"
    # A limit on the size of a file fails as a full disk does, in the middle of writing the draws.
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))"
    process = run_aside(study_file, out, limit)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2, errors
    said = " ".join(errors.split())
    assert f"Cannot write {out / 'posterior' / 'abundance.nc'}: " in said
    assert "Free on its disk: " in said
    assert "Nothing half-written was left behind" in said
    assert "run the same command again" in said
    nothing_half_written(out)
    assert [p for p in out.rglob("*.part")] == []


def test_a_second_command_in_the_folder_is_refused_and_the_first_goes_on(
    study_file, tmp_path, results, capsys
):
    out = tmp_path / "out"
    first = run_aside(study_file, out)
    until_sampling(first)
    assert exit_code(["run", str(study_file), "--out", str(out), "--only", "abundance", "-q"]) == 2
    assert "another command is writing its results there" in capsys.readouterr().err
    _, errors = first.communicate(timeout=300)
    assert first.returncode == 0, errors
    assert leftovers(out) == []
    both = [Estimates.read_csv(folder / "tables" / "estimates.csv") for folder in (out, results)]
    ours, whole = (estimates.select(model="abundance").to_csv() for estimates in both)
    assert ours == whole


def test_a_folder_that_may_not_be_written_to_is_said(study_file, tmp_path, capsys, monkeypatch):
    def refused(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / "out"))

    monkeypatch.setattr(Path, "mkdir", refused)  # root may write to a folder whatever its mode
    assert (
        exit_code(["run", str(study_file), "--out", str(tmp_path / "out"), "--only", "abundance", "-q"]) == 2
    )
    message = " ".join(capsys.readouterr().err.split())
    assert "out: Read-only file system" in message
    assert "choose another --out" in message
    assert list(tmp_path.iterdir()) == []


def test_a_fit_of_another_version_is_made_again(results, study_file, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(results, out)
    path = out / "posterior" / "abundance.nc"
    with xr.open_datatree(path, engine="h5netcdf") as opened:
        tree = opened.load()
    record = json.loads(tree.attrs["bayes_her2"])
    del record["retried"], record["sampling"]["target_accept"]
    record["sampling"]["unknown"] = 1
    tree.attrs["bayes_her2"] = json.dumps(record)
    tree.to_netcdf(path, engine="h5netcdf")
    assert exit_code(["run", str(study_file), "--out", str(out), "--only", "abundance", *ALONE]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "the record of the fit in it is not one of this version" in said
    assert "It is fitted again" in said
    name = "tables/estimates.csv"
    assert (out / name).read_bytes() == (results / name).read_bytes()


def test_the_report_of_results_of_another_version_says_both(results, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(results, out)
    provenance = out / "provenance.json"
    provenance.write_text(
        provenance.read_text().replace(f'"package_version": "{__version__}"', '"package_version": "0.0.7"')
    )
    assert exit_code(["report", str(out), "-q"]) == 0
    assert f"bayes_her2 0.0.7 (page by {__version__})" in (out / "report.html").read_text()
    table = out / "tables" / "concordance.csv"
    table.write_text(table.read_text().replace("verdict", "conclusion", 1))
    before = (out / "report.html").read_bytes()
    assert exit_code(["report", str(out), "-q"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "verdict" in said
    assert f"bayes_her2 0.0.7 wrote these results, and this is {__version__}: run the analysis again" in said
    assert (out / "report.html").read_bytes() == before


def test_one_hr_group_on_the_relative_scale_runs_with_notices(tmp_path):
    design = small_design(n_cohorts=2)
    cohorts = tuple(replace(c, n_hr_positive=150, n_hr_negative=0) for c in design.cohorts)
    design = replace(design, cohorts=cohorts, scale="relative", ineligible=False)
    study = write_demo(tmp_path / "study", 31, design)
    out = tmp_path / "out"
    assert exit_code(["run", str(study), "--out", str(out), "--only", "abundance", "-q", *ALONE]) == 0
    estimates = Estimates.read_csv(out / "tables" / "estimates.csv").table
    posterior = estimates[estimates["source"] == "posterior"]
    assert set(posterior["stratum"]) == {"HR+"}
    notices = " ".join(pd.read_csv(out / "tables" / "notices.csv")["text"])
    assert "Only HR+ tumours: no HR difference and no interaction is estimated." in notices
    assert "Two cohorts" in notices
    drift = pd.read_csv(out / "tables" / "share_drift.csv")
    # Shares sum to 1 by construction; at the mean of HER2 the model must say so within its interval.
    centre = drift[drift["at"] == 0].iloc[0]
    assert centre["lower"] < 1 < centre["upper"]
    assert "HR-" not in set(pd.read_csv(out / "tables" / "composition.csv")["hr"])


def test_rendering_again_needs_no_sampling_and_changes_nothing(results):
    before = (results / "report.html").read_bytes()
    assert exit_code(["report", str(results), "-q"]) == 0
    assert (results / "report.html").read_bytes() == before
