"""The documentation as it is built: complete, without a broken link, and in need of no network."""

from __future__ import annotations

import html
import re

import pytest
from browser import WITHOUT_CHROMIUM, browser, chromium
from site_pages import ROOT

import bayes_her2
from bayes_her2.bayesian.model import load_model, main_model_of
from bayes_her2.cli import app

MODELS = sorted(p.stem for p in (ROOT / "models").glob("*.py") if p.stem != "__init__")


def test_it_builds_without_a_warning(site):
    assert (site.code, site.messages) == (0, "")


def test_the_build_is_short_enough_to_be_tested_every_time(site):
    assert site.seconds < 60  # 18 on an idle core of 2026


@pytest.mark.slow
def test_it_builds_without_notebooks(build, tmp_path):
    made = build(tmp_path)
    assert (made.code, made.messages) == (0, "")
    assert "There are no notebooks" in made.text("tutorial/index")


def test_notebooks_are_pages_with_the_outputs_that_they_were_committed_with(site):
    text = site.text("tutorial/notebooks/99_tests")
    assert "as it was committed" in text
    assert "it was run" in text  # its code is shown, and was not
    assert "99. A notebook of the tests" in site.text("tutorial/index")


def test_every_link_and_anchor_resolves(site):
    assert len(site.pages) > 70
    assert site.broken() == []


def test_no_page_loads_anything_from_elsewhere(site):
    elsewhere = {
        link for page in site.pages.values() for link in page.loaded if re.match(r"(https?:)?//", link)
    }
    assert elsewhere == set()
    own = (site.folder / "_static" / "site.css").read_text(encoding="utf-8")
    assert "url(" not in own
    assert "@import" not in own


def test_nothing_of_a_page_was_left_unfilled(site):
    assert [str(p) for p in site.pages if "from the code:" in p.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_a_page_with_its_own_priors(site, name):
    text = site.text(f"explanation/models/{name}")
    headings = re.findall(r"<h2>(.*?)<a", text)
    assert headings == [
        "Data",
        "Likelihood",
        "Hierarchy",
        "Priors",
        "Estimands",
        "Frequentist twin",
        "When it is right, and when it is not",
        "Known limits",
        "References",
    ]
    model, main = load_model(name), load_model(main_model_of(name))
    assert html.escape(model.QUESTION, quote=False) in text.replace("’", "'")
    shared = main.PRIORS if main is not model else {}
    own = [n for n, prior in model.PRIORS.items() if shared.get(n) != prior]
    assert [n for n in (*own, *model.ESTIMANDS) if f">{n}<" not in text] == []
    assert '<div class="equation"' in text or "main model" in text


def test_every_command_and_option_is_in_the_reference(site):
    text = site.text("reference/commands")
    named = [name for name in app if not name.startswith("-")]
    assert len(named) == 12
    assert [name for name in named if f'id="bayes-her2-{name}"' not in text] == []
    assert " -m " not in text.split("<article")[1].replace("python -m bayes_her2", "")
    for option in ("--at-once", "--no-cohorts-out", "--imputations", "--plausible", "--patient-rows"):
        assert option in text


def test_every_public_name_is_in_the_reference(site):
    ids = {i for path, page in site.pages.items() if path.parent.name == "api" for i in page.ids if "." in i}
    assert {name for name in bayes_her2.__all__ if f"bayes_her2.{name}" not in ids} == set()


@pytest.mark.skipif(chromium() is None, reason=WITHOUT_CHROMIUM)
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize(
    "name", ["index", "explanation/models/abundance", "how-to/your-files", "reference/api/studies"]
)
def test_a_page_is_drawn_from_the_disk_without_a_request_or_a_complaint(site, tmp_path, name, width):
    with browser(tmp_path) as tab:
        tab.open((site.folder / f"{name}.html").as_uri(), width=width)
        assert tab.run("document.documentElement.scrollWidth <= window.innerWidth + 1")
        heights = tab.run("[...document.querySelectorAll('math')].map(m => m.getBoundingClientRect().height)")
        assert (len(heights) > 10) == name.startswith("explanation")
        assert all(height > 5 for height in heights)
        assert [address for address in tab.requests if not address.startswith("file:")] == []
        assert tab.complaints == []
