"""Published results in a study: pooled from what ships and from the user's table, with their own section."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from pages import code_left_in
from simulated_studies import small_study

from bayes_her2.cli import exit_code
from bayes_her2.errors import DataError, StudyError
from bayes_her2.estimates import Estimates
from bayes_her2.evidence.questions import asked_of, crude_beside_adjusted, evidence_with
from bayes_her2.inputs import read_study
from bayes_her2.simulation.demo import write_study
from bayes_her2.workflow import check_study
from bayes_her2.workflow.response import odds_ratio_lines

pytestmark = pytest.mark.sampling

NAME = "evidence_synthesis"


@pytest.fixture(scope="session")
def published_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    return write_study(folder, small_study(seed=21, n_cohorts=1), seed=21, published=True)


@pytest.fixture(scope="session")
def published(published_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results folder with the synthesis alone."""
    out = tmp_path_factory.mktemp("runs") / "published"
    assert exit_code(["run", str(published_study), "--out", str(out), "--only", NAME, "--quiet"]) == 0
    return out


def test_the_synthesis_passes_its_gate_at_once(published):
    record = json.loads((published / "provenance.json").read_text())["models"][NAME]
    assert record["status"] == "complete"
    assert not record["sampler"]["retried"]
    assert record["counted"] == "published studies"


def test_the_page_shows_every_question_with_its_studies(published):
    page = (published / "report.html").read_text(encoding="utf-8")
    assert code_left_in(page) == []
    assert "Published results, pooled" in page
    for pool in asked_of(evidence_with()).pools:
        assert f"{pool.outcome}; {pool.adjustment} {pool.scale}" in page
        assert all(str(study).split(",")[0] in page for study in pool.studies.index)
    for name in ("evidence_odds_ratios", "evidence_hazard_ratios"):
        assert (published / "figures" / f"{name}.svg").exists()
        # Published numbers are no simulation, in whatever study they stand.
        assert "SIMULATED" not in (published / "figures" / f"{name}.svg").read_text()
    assert "published studies" in page


def test_the_sweep_of_the_heterogeneity_prior_is_by_quadrature(published):
    table = pd.read_csv(published / "tables" / f"{NAME}_heterogeneity_prior.csv")
    assert list(table) == "stratum question scope scale point lower upper excludes_1".split()
    assert (table.groupby(["stratum", "question", "scope"]).size() == 4).all()
    page = (published / "report.html").read_text(encoding="utf-8")
    assert "by quadrature: nothing in it is sampled" in page
    assert "unreliable" not in page


def test_the_ratio_of_hr_strata_within_the_registry_stands_among_the_remarks(published):
    # Li 2023, weighted, as printed: 0.91 in HR- and 0.81 in HR+.
    texts = pd.read_csv(published / "tables" / f"{NAME}_notices.csv").set_index("question")["text"]
    (first,) = [t for q, t in texts.items() if t.startswith("within") and "adjusted odds ratio" in q]
    assert "(NCDB: Li H 2023) with both strata the ratio HR- over HR+ is 1.12" in first
    assert "Within the one study (NCDB: Li H 2023)" in (published / "report.html").read_text(encoding="utf-8")


def test_the_registry_shows_the_confounding_by_hr_status(published):
    # Li 2023 and Peiffer 2023 read the same registry: crude 0.63; by HR status 0.73 and 0.85 from counts, weighted
    # 0.81 and 0.91 as printed.
    table = pd.read_csv(published / "tables" / f"{NAME}_registry.csv")
    ratio = table.set_index(["study", "hr_stratum", "adjustment"])["estimate"].round(2)
    assert ratio["Peiffer 2023", "all", "crude"] == 0.63
    assert ratio["Li H 2023", "HR+", "crude"] == 0.73
    assert ratio["Li H 2023", "HR-", "crude"] == 0.85
    assert ratio["Li H 2023", "HR+", "weighted"] == 0.81
    assert ratio["Li H 2023", "HR-", "weighted"] == 0.91


def test_posterior_and_twin_have_the_same_studies(published):
    table = Estimates.read_csv(published / "tables" / "estimates.csv").table
    assert set(table["model"]) == {NAME}
    assert table["fingerprint"].nunique() == 1
    rows = table[table["scope"] == "cohort"].groupby("source")["cohort"].apply(set)
    assert rows["posterior"] == rows["twin"]
    pairs = pd.read_csv(published / "tables" / "concordance.csv")
    assert not pairs["verdict"].eq("contradicts").any()


def test_a_table_of_the_users_own_joins_the_shipped_one(published_study, tmp_path):
    row = {
        "row_id": "mine",
        "study": "Mine 2026",
        "citation": "Me. My cohort. 2026",
        "doi": "10.1000/mine",
        "year": "2026",
        "setting": "neoadjuvant",
        "hr_stratum": "HR+",
        "exposure": "HER2-low",
        "reference": "HER2-0",
        "outcome": "pathological complete response",
        "design": "contrast",
        "measure": "counts",
        "adjustment": "crude",
        "n_exposed": "100",
        "events_exposed": "8",
        "n_reference": "60",
        "events_reference": "7",
        "counts": "printed",
        "overlap_group": "Mine 2026",
        "verified": "source text",
        "source": "Table 2",
    }
    pd.DataFrame([row]).to_csv(published_study.parent / "mine.csv", index=False)
    text = published_study.read_text(encoding="utf-8")
    study = published_study.with_name("with_mine.toml")
    study.write_text(text.replace("evidence = true", 'evidence = true\nevidence_table = "mine.csv"'))
    pools = check_study(study).published.pools
    with_mine = [pool for pool in pools if "Mine 2026, HR+" in pool.studies.index]
    assert [pool.adjustment for pool in with_mine] == ["crude"]
    pd.DataFrame([row | {"events_exposed": "80.5"}]).to_csv(published_study.parent / "mine.csv", index=False)
    with pytest.raises(DataError, match=r"mine\.csv, row 1 \(mine\), events_exposed: 80\.5 is not a count"):
        check_study(study)


def test_what_the_study_did_not_ask_for_is_refused(study_file, published_study, tmp_path, capsys):
    assert exit_code(["run", str(study_file), "--out", str(tmp_path / "out"), "--only", NAME, "-q"]) == 2
    assert "the study does not ask for it; write [published] evidence = true" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    text = published_study.read_text(encoding="utf-8")
    path = published_study.with_name("table_alone.toml")
    path.write_text(text.replace("evidence = true", 'evidence_table = "mine.csv"'))
    with pytest.raises(StudyError, match="evidence_table is given, but evidence is not true"):
        read_study(path)


def test_a_study_without_a_crude_ratio_is_not_shown_as_confounded():
    table = crude_beside_adjusted(evidence_with())
    by_group = table.groupby("study")["adjustment"].apply(set)
    assert by_group["Ates 2026"] == {"crude", "adjusted"}
    assert "Colak 2025" not in by_group.index


@pytest.fixture(scope="session")
def response(published_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results folder with the model of response alone."""
    out = tmp_path_factory.mktemp("runs") / "response"
    arguments = ["run", str(published_study), "--out", str(out), "--only", "treatment_response", "--quiet"]
    assert exit_code(arguments) == 0
    return out


def test_table_2_of_the_seed_study_stands_beside_its_twin(response):
    # Pizzamiglio 2025, Table 2: 9 of 32 against 17 of 39, and 23 of 36 against 36 of 50.
    record = json.loads((response / "provenance.json").read_text())["models"]["treatment_response"]
    assert record["status"] == "complete"
    assert not record["sampler"]["retried"]
    pairs = pd.read_csv(response / "tables" / "concordance.csv")
    odds = pairs[(pairs["estimand"] == "response_odds") & (pairs["scope"] == "pooled")].set_index("outcome")
    for outcome, numbers in (
        ("midcourse complete response", (0.5064, 0.187, 1.373)),
        ("pathological complete response", (0.6880, 0.275, 1.724)),
    ):
        row = odds.loc[outcome, ["twin_point", "twin_lower", "twin_upper"]].astype(float)
        assert list(row) == pytest.approx(numbers, abs=6e-4)
        assert odds.loc[outcome, "verdict"] == "both null"
    said = odds_ratio_lines(Estimates.read_csv(response / "tables" / "estimates.csv").table)
    assert len(said) == 2
    assert "logistic regression 0.51 (0.19 to 1.37)" in said[0]
    assert "logistic regression 0.69 (0.27 to 1.72)" in said[1]


def test_borrowing_stands_beside_the_answer_without_it(response):
    table = pd.read_csv(response / "tables" / "treatment_response_borrowing.csv").set_index("prior")
    assert next(iter(table.index)) == "without borrowing"
    width = (table["upper"] / table["lower"]).to_numpy()
    assert (width[1:] < width[0]).all()
    page = (response / "report.html").read_text(encoding="utf-8")
    assert code_left_in(page) == []
    for text in (
        "Response to treatment",
        "Patients that an answer would take",
        "40 more could not be evaluated",
        "plain predictive prior",
    ):
        assert text in page
    notices = " ".join(pd.read_csv(response / "tables" / "treatment_response_borrowing_notices.csv")["text"])
    assert "left out, because it is analysed: 10.1038/s41523-025-00867-z" in notices
    curves = pd.read_csv(response / "tables" / "treatment_response_curves.csv")
    area = curves.groupby("curve")["density"].sum() * 0.02
    # The grid ends at odds ratios of 0.05 and 12: of the prior Normal(0, 1) that leaves out 0.8 %.
    assert area.drop("prior without borrowing").to_numpy() == pytest.approx(1.0, abs=0.005)
