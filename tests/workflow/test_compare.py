"""Rival models of a study compared by the command line: tables, resuming, refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from simulated_studies import ALONE, small_design, small_study, with_few_draws, write_small_study

from bayes_her2.bayesian.model import ALTERNATIVES
from bayes_her2.cli import exit_code
from bayes_her2.errors import DataError
from bayes_her2.workflow.analysis import Job
from bayes_her2.workflow.check import check_study
from bayes_her2.workflow.compare import _asked_in_folds, _suited, alternatives_of
from bayes_her2.workflow.refits import do_refit, folds_of
from bayes_her2.workflow.results import ResultsFolder
from bayes_her2.workflow.side_by_side import do_all

pytestmark = pytest.mark.sampling

RIVAL = ["--model", "abundance_tobit"]
COHORTS = [cohort.name for cohort in small_design().cohorts]


@pytest.fixture(scope="module")
def two_cohorts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cohorts of 160 tumours, four cell types with gamma amounts."""
    return write_small_study(tmp_path_factory.mktemp("two"), small_study(seed=22), seed=22)


@pytest.fixture(scope="module")
def compared(two_cohorts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The main model beside the censored one; two folds."""
    out = tmp_path_factory.mktemp("compared") / "out"
    arguments = [
        "compare",
        str(two_cohorts),
        "--out",
        str(out),
        "--quiet",
        "--folds",
        "2",
        "--no-cohorts-out",
        *RIVAL,
        *ALONE,
    ]
    assert exit_code(arguments) == 0
    return out


def test_the_tables_say_which_model_predicts_best_and_which_conclusions_depend_on_it(compared):
    table = pd.read_csv(compared / "tables" / "model_comparison.csv").set_index("model")
    assert next(iter(table.index)) == "abundance"
    # The tumours were simulated with zeros of another making than the amounts: the rival loses clearly.
    assert table.loc["abundance_tobit", "difference"] < -2 * table.loc["abundance_tobit", "difference_se"]
    assert table["weight"].sum() == pytest.approx(1)
    assert (table["n_tumours"] == 320).all()
    tumours = pd.read_csv(compared / "tables" / "model_comparison_tumours.csv", index_col="tumour")
    assert tumours["abundance"].sum() == pytest.approx(table.loc["abundance", "elpd"])
    conclusions = pd.read_csv(compared / "tables" / "conclusions.csv")
    assert set(conclusions["model"]) == set(table.index) - {"abundance"}
    record = json.loads((compared / "provenance.json").read_text(encoding="utf-8"))
    assert record["models"] == ["abundance", "abundance_tobit"]
    assert record["refused"] == {}
    assert not list(compared.rglob(".*"))


def test_refits_agree_with_the_quick_cross_validation(compared):
    quick = pd.read_csv(compared / "tables" / "model_comparison.csv").set_index("model")
    exact = pd.read_csv(compared / "tables" / "k_fold.csv").set_index("model")
    assert set(exact["n_folds"]) == {2}
    for rival in ("abundance_tobit",):
        # The same tumours under fits to half of them: less is known, so that sums are lower, and differences near.
        assert exact.loc[rival, "elpd"] < quick.loc[rival, "elpd"]
        gap = exact.loc[rival, "difference"] - quick.loc[rival, "difference"]
        assert abs(gap) < 2 * quick.loc[rival, "difference_se"]
    scores = pd.read_csv(compared / "tables" / "proper_scores.csv").set_index("model")
    assert set(scores.index) == set(quick.index)
    assert scores.loc["abundance_tobit", "log_score_difference"] > 0


@pytest.mark.slow
def test_each_cohort_is_predicted_from_the_others_and_taken_up_again(compared, two_cohorts, capsys):
    """Into the same folder: what is fitted there already is not fitted again."""
    arguments = ["compare", str(two_cohorts), "--out", str(compared), "--folds", "2", *RIVAL]
    assert exit_code(arguments) == 0
    cohorts = pd.read_csv(compared / "tables" / "cohorts_predicted.csv")
    assert len(cohorts) == 2 * cohorts["cohort"].nunique()
    assert set(cohorts.loc[cohorts["difference"] == 0, "model"]) == {"abundance"}
    assert set(cohorts["cohort"]) == set(COHORTS)
    cells = pd.read_csv(compared / "tables" / "cohorts_predicted_cell_types.csv")
    assert set(cells["model"]) == set(cohorts["model"])
    # The strongest planted slope, -0.25 of amounts with shape 3: 80 tumours gain about 3 * 0.25^2 / 2 * 80 = 7.5 nats
    # in each cohort, with a standard error of about the square root of twice that.
    strongest = cells[(cells["model"] == "abundance") & (cells["cell_type"] == "T cells CD8")]
    assert abs(strongest["gain"].sum() - 15) < 3 * 5.5
    assert strongest["gain"].sum() > 0
    has_figures(compared, "model_differences", "cell_types_predicted")
    capsys.readouterr()
    assert exit_code(arguments) == 0
    assert f"without {COHORTS[0]}: finished scores are reused" in capsys.readouterr().out


def has_figures(folder: Path, *names: str) -> None:
    page = (folder / "comparison.html").read_text(encoding="utf-8")
    for name in names:
        assert (folder / "figures" / f"{name}.svg").stat().st_size > 1000
        assert (folder / "figures" / f"{name}.pdf").stat().st_size > 1000
        assert f'href="figures/{name}.svg"' in page


def test_the_page_shows_what_the_tables_hold(compared):
    page = (compared / "comparison.html").read_text(encoding="utf-8")
    assert "SIMULATED DATA" in page
    has_figures(compared, "model_differences")
    table = pd.read_csv(compared / "tables" / "model_comparison.csv").set_index("model")
    assert f"{abs(table.loc['abundance_tobit', 'difference']):.1f} (SE" in page
    assert "The main model predicts a tumour best" in page
    assert not re.search(r"(?:src|href)=.https?:", page)


def test_the_same_command_again_takes_up_fits_and_scores(compared, two_cohorts, capsys):
    before = {p: p.stat().st_mtime_ns for p in (compared / "posterior").iterdir()}
    arguments = [
        "compare",
        str(two_cohorts),
        "--out",
        str(compared),
        "--model",
        "abundance_tobit",
        "--folds",
        "2",
        "--no-cohorts-out",
        *ALONE,
    ]
    assert exit_code(arguments) == 0
    assert {p: p.stat().st_mtime_ns for p in (compared / "posterior").iterdir()} == before
    said = capsys.readouterr().out
    assert "abundance_tobit: a finished fit" in said
    assert "abundance, fold 2 of 2: finished scores are reused" in said
    assert "are fitted" not in said
    assert "lognormal" not in said
    assert len(pd.read_csv(compared / "tables" / "model_comparison.csv")) == 2


def test_workers_of_a_cluster_give_the_same_scores(cluster, compared, two_cohorts, tmp_path):
    checked = check_study(two_cohorts, only=("abundance",))
    job = Job("abundance", checked.sets["abundance"], checked.study)
    refits = folds_of(job, 2)[:1]  # several at a time, one of them lost: test_calibrate
    out = ResultsFolder(tmp_path / "out")
    out.out.mkdir()
    done = do_all(
        refits, do_refit, out, at_once=1, say=print, draws=None, scheduler=cluster.scheduler_address
    )
    assert [one.name for one in done] == [refit.name for refit in refits]
    written = sorted((out.out / "refits").iterdir())
    assert len(written) == 1
    for path in written:
        assert path.read_bytes() == (compared / "refits" / path.name).read_bytes()


def test_an_unknown_alternative_is_named_and_nothing_is_written(study_file, tmp_path, capsys):
    out = tmp_path / "out"
    assert exit_code(["compare", str(study_file), "--out", str(out), "--model", "abundance_gumbel"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "abundance_gumbel: not an alternative to abundance; known: abundance_weibull, abundance_beta" in said
    )
    assert not out.exists()


def test_a_model_of_shares_is_refused_by_name_and_left_out_otherwise(study_file, tmp_path, capsys):
    arguments = ["compare", str(study_file), "--out", str(tmp_path / "out"), "--model", "abundance_beta"]
    assert exit_code(arguments) == 2
    assert "--model abundance_beta: it is a model of shares" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
    data = check_study(study_file, only=("abundance",)).sets["abundance"]
    names, left_out = _suited(["abundance", "abundance_beta"], data, asked=())
    assert names == ["abundance"]
    assert "the study's scale is absolute" in left_out["abundance_beta"]


def test_refits_are_made_where_they_are_needed_or_asked_for():
    table = pd.DataFrame({"model": ["a", "b", "abundance", "c"], "n_k_high": [0, 0, 0, 0]})
    assert _asked_in_folds(table, None) == (0, [])
    assert _asked_in_folds(table, 0) == (0, ["a", "b", "abundance", "c"])
    assert _asked_in_folds(table, 3) == (3, ["a", "b", "abundance", "c"])
    needed = table.assign(n_k_high=[0, 0, 0, 2])
    assert _asked_in_folds(needed, None) == (5, ["a", "abundance", "c"])
    # The main model is the best, and alone has such a tumour: the next is refitted beside it.
    alone = pd.DataFrame({"model": ["abundance", "b"], "n_k_high": [1, 0]})
    assert _asked_in_folds(alone, None) == (5, ["abundance", "b"])


@pytest.mark.parametrize("folds", ["1", "-2"])
def test_folds_are_two_or_more(study_file, tmp_path, capsys, folds):
    arguments = ["compare", str(study_file), "--out", str(tmp_path / "out"), f"--folds={folds}"]
    assert exit_code(arguments) == 2
    assert f"--folds {folds}: give 2 or more" in " ".join(capsys.readouterr().err.split())


def test_a_kind_names_all_of_its_alternatives_and_the_likelihoods_are_the_default():
    kinds = ALTERNATIVES["abundance"]
    assert alternatives_of(()) == list(kinds["likelihood"])
    assert alternatives_of(("structure",)) == list(kinds["structure"])
    mixed = alternatives_of(("abundance_lineage", "likelihood"))
    assert mixed == [*kinds["likelihood"], "abundance_lineage"]
    with pytest.raises(DataError, match="or all of a kind: likelihood, structure"):
        alternatives_of(("shape",))


def test_a_study_without_cohorts_has_nothing_to_compare(tmp_path, capsys):
    path = tmp_path / "study.toml"
    path.write_text('[study]\nname = "S"\nseed = 1\n[published]\nevidence = true\n')
    assert exit_code(["compare", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "the study has no [[cohort]]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_main_model_alone_is_no_comparison(study_file, tmp_path, capsys):
    arguments = ["compare", str(study_file), "--out", str(tmp_path / "out"), "--model", "abundance"]
    assert exit_code(arguments) == 2
    assert "Name an alternative" in " ".join(capsys.readouterr().err.split())


def test_models_that_do_not_pass_their_gate_are_not_compared(two_cohorts, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["compare", str(with_few_draws(two_cohorts)), "--out", str(out), *RIVAL, "--quiet"]
    assert exit_code(arguments) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "A comparison needs the main model and an alternative that passed their gates" in said
    assert "abundance_tobit: " in said
    assert {p.name for p in out.iterdir()} == {"posterior", "decisions.json"}
