"""`bayes-her2 audit`: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from pages import asked_elsewhere_by_scripts

from bayes_her2.cli import exit_code
from bayes_her2.workflow.audit import PARTS, audit_claims


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("audit") / "seed"
    assert exit_code(["audit", "--out", str(out), "--quiet"]) == 0
    return out


def test_without_a_table_the_seed_studys_claims_are_printed(capsys):
    assert exit_code(["audit"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "survives (9 of 25 claims)" in printed
    assert "0.506 (0.187 to 1.37)" in printed
    assert "estimate printed 0.67, found 0.69" in printed
    assert "percentage, reference printed 70 %, found 72 %" in printed
    assert "x15: 0.074" in printed
    assert "Of 25 claims, 9 survive" in printed


def test_quiet_prints_nothing(capsys):
    assert exit_code(["audit", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_the_folder_holds_every_part_and_nothing_half_written(folder):
    assert sorted(p.name for p in folder.iterdir()) == sorted(PARTS)
    assert len(pd.read_csv(folder / "audit.csv")) == 25
    assert len(pd.read_csv(folder / "contradictions.csv")) == 9
    assert pd.read_csv(folder / "replication.csv").empty
    assert json.loads((folder / "provenance.json").read_text("utf-8"))["claims"]["rows"] == 33
    assert {p.suffix for p in (folder / "figures").iterdir()} == {".svg", ".pdf"}


def test_the_page_is_well_formed_and_asks_nothing_of_the_network(folder):
    text = (folder / "audit.html").read_text("utf-8")

    class Balance(HTMLParser):
        open_tags: list[str]

        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "br", "path", "use", "rect", "line", "circle"):
                self.open_tags.append(tag)

        def handle_endtag(self, tag):
            if tag in self.open_tags:
                while self.open_tags.pop() != tag:
                    pass

    parser = Balance()
    parser.open_tags = []
    parser.feed(text)
    assert parser.open_tags == []
    assert not re.findall(r"(?:src|href)=\"https?:", text)
    assert asked_elsewhere_by_scripts(text) == []
    assert "SIMULATED" not in text


def test_captions_of_the_page_stand_alone(folder):
    text = (folder / "audit.html").read_text("utf-8")
    captions = re.findall(r"<figcaption[^>]*>(.*?)</figcaption>", text, re.DOTALL)
    assert len(captions) == 7
    assert [re.match(r"<b>(Table|Figure) (\d)", caption)[2] for caption in captions] == [
        "1",
        "2",
        "3",
        "4",
        "1",
        "5",
        "6",
    ]
    assert "95 % credible interval" in captions[4]
    assert "95 % confidence intervals" in captions[2]
    assert all("claims; n is given where it is printed" in caption for caption in captions[:6])


def test_links_of_the_page_lead_to_files(folder):
    text = (folder / "audit.html").read_text("utf-8")
    links = [link for link in re.findall(r'href="([^"#]+)"', text)]
    assert links
    assert all((folder / link).is_file() for link in links)


def test_the_same_claims_give_the_same_files_apart_from_the_date(folder, tmp_path):
    again = audit_claims(out=tmp_path / "again")
    assert again.report is not None
    for name in (
        "audit.csv",
        "contradictions.csv",
        "audit_prior_sweep.csv",
        "figures/audit_prior_curves.svg",
    ):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_an_audit_may_be_written_over_an_earlier_one(tmp_path, write_claims):
    out = tmp_path / "out"
    assert exit_code(["audit", "--out", str(out), "-q"]) == 0
    assert exit_code(["audit", str(write_claims({})), "--out", str(out), "-q"]) == 0
    assert len(pd.read_csv(out / "audit.csv")) == 1


def test_a_claim_that_excludes_nothing_has_no_figure(tmp_path, write_claims):
    out = tmp_path / "out"
    path = write_claims({"estimate": "1.10", "ci_low": "0.80", "ci_high": "1.51"})
    assert exit_code(["audit", str(path), "--out", str(out), "-q"]) == 0
    assert not (out / "figures").exists()
    assert "so there is no scepticism to overcome" in (out / "audit.html").read_text("utf-8")


def test_replication_is_printed_and_tabulated(tmp_path, write_claims, capsys):
    out = tmp_path / "out"
    second = {"cohort": "Second", "estimate": "1.50", "ci_low": "1.10", "ci_high": "2.05"}
    assert exit_code(["audit", str(write_claims({}, second)), "--out", str(out)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "A raises B: First in Second: replicated (sceptical P" in printed
    assert "A raises B, Second" in printed
    text = (out / "audit.html").read_text("utf-8")
    assert "Replication success between cohorts of the same claim" in text
    assert "Bayes factor" in text


def test_text_of_a_table_of_claims_is_escaped(tmp_path, write_claims):
    out = tmp_path / "out"
    path = write_claims({"claim": "<b>A</b> & [red]B[/red]"})
    assert exit_code(["audit", str(path), "--out", str(out)]) == 0
    text = (out / "audit.html").read_text("utf-8")
    assert "&lt;b&gt;A&lt;/b&gt; &amp; [red]B[/red]" in text
    assert "<b>A</b>" not in text


# --- refusals ------------------------------------------------------------------------------------


def test_a_missing_table_is_bad_input(tmp_path, capsys):
    assert exit_code(["audit", str(tmp_path / "nowhere.csv")]) == 2
    assert "nowhere.csv: file not found" in capsys.readouterr().err


def test_bad_claims_are_bad_input_and_nothing_is_written(tmp_path, write_claims, capsys):
    out = tmp_path / "out"
    assert exit_code(["audit", str(write_claims({"estimate": "9.9"})), "--out", str(out)]) == 2
    assert "does not contain its estimate 9.9" in capsys.readouterr().err
    assert not out.exists()


def test_a_file_in_the_way_is_refused(tmp_path, capsys):
    out = tmp_path / "taken"
    out.write_text("mine", "utf-8")
    assert exit_code(["audit", "--out", str(out)]) == 2
    assert "is a file" in capsys.readouterr().err
    assert out.read_text("utf-8") == "mine"


@pytest.mark.parametrize("name", ["notes.txt", "provenance.json"])
def test_a_folder_of_something_else_is_refused(tmp_path, capsys, name):
    """Also the results folder of a run, which has a provenance of another kind."""
    (tmp_path / name).write_text('{"status": "complete"}', "utf-8")
    assert exit_code(["audit", "--out", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert f"holds files that no audit wrote ({name})" in " ".join(message.split())
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path, monkeypatch):
    from bayes_her2.workflow import audit

    def full(path, text):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(audit, "write_text", full)
    assert exit_code(["audit", "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["--plausible", "odds ratio"], "write MEASURE=VALUE"),
        (["--plausible", "odds ratio=big"], "write MEASURE=VALUE"),
        (["--plausible", "luck=2"], "no measure is named 'luck'"),
        (["--plausible", "odds ratio=nan"], "nan is no size of an odds ratio"),
        (["--alpha", "2"], "2 is not a level of significance"),
    ],
)
def test_options_that_make_no_sense_are_bad_input(capsys, option, words):
    assert exit_code(["audit", *option]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_a_plausible_effect_may_be_given(tmp_path):
    out = tmp_path / "out"
    assert exit_code(["audit", "--plausible", "odds ratio=2", "-q", "--out", str(out)]) == 0
    priors = pd.read_csv(out / "audit_priors.csv").set_index("measure")
    assert priors.loc["odds ratio", "plausible_effect"] == pytest.approx(2)
    assert priors.loc["odds ratio", "why"] == "given as an option"
