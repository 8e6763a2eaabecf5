"""The tutorials: source and notebook in step, committed with outputs that can be read, and run from end to end.

All of them run in one kernel, emptied in between: importing the package takes seven seconds, and compiled code is kept.
``make notebooks`` and the slow test give each a kernel of its own.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
SOURCES = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
NAMES = [path.stem for path in SOURCES]
LARGEST_BYTES = 600_000

STATEMENTS: dict[str, dict[str, str]] = {
    "01_first_study": {
        "a misspelt column is named": "faults[0].startswith(\"cohort 'Milan'\") and \"'Gender'\" in faults[0]",
        "four tumours are left out, each for a reason": "checked.prepared.flow['excluded'].sum() == 4",
        "intervals hold what was planted": "recovered['covered'].mean() > 0.85",
    },
    "02_reading_the_abundance_model": {
        "neutrophils are more often present": (
            "presence.query(\"outcome == 'Neutrophils' and stratum == 'HR+'\")['point'].item() > 1"
        ),
        "and fewer where they are": (
            "three.set_index(['outcome', 'stratum', 'estimand'])['point']['Neutrophils', 'HR+', 'amount'] < 1"
        ),
        "a new cohort is wider than the pooled row": (
            "one.query(\"scope == 'new cohort'\")['upper'].item() > one.query(\"scope == 'pooled'\")['upper'].item()"
        ),
        "intervals hold what was planted": "recovered['covered'].mean() > 0.85",
    },
    "03_posterior_and_p_value": {
        "every pair has one of the verdicts": "set(pairs['verdict']) <= set(VERDICTS)",
        "three rules are judged": "len(records) == 3",
        "with 22 cell types the posterior is closer where there are few tumours": (
            "sized(False, True) or error.groupby('stratum')['posterior'].mean()['HR-']"
            " < error.groupby('stratum')['twin'].mean()['HR-']"
        ),
        "intervals of the posterior hold what was planted": (
            "shown_strata.eval('posterior_lower < truth < posterior_upper').mean() > 0.7"
        ),
    },
    "04_response_and_history": {
        "the twin gives the odds ratio of the counts": (
            "abs(odds.query(\"method == 'logistic regression' and outcome.str.startswith('path')\")['point'].item()"
            " - (23 / 13) / (36 / 14)) < 1e-6"
        ),
        "borrowing shortens the interval": "borrowing['upper'].iloc[2] < borrowing['upper'].iloc[0]",
        "history alone has the shortest intervals": (
            "(costs['mean length'].unstack()['history only'] < costs['mean length'].unstack()['no borrowing']).all()"
        ),
    },
    "05_auditing_a_paper": {
        "ten of eleven immune cells have P below 0.05, one after Bonferroni": (
            "[len(immune), (immune['p_value'] < 0.05).sum(), (immune['p_bonferroni'] < 0.05).sum()] == [11, 10, 1]"
        ),
        "the printed interval of complete response is contradicted": (
            "published.contradictions['printed'].eq('0.28 to 1.74').any()"
        ),
        "two faults are found in two rows": "len(faults) == 2",
    },
    "06_models_and_priors": {
        # Presence alone was planted in plasma cells: with the zeros dropped nothing of it is left.
        "plasma cells": "sides.loc['Plasma cells', ['main', 'drop_zeros']].tolist() == ['above', 'open']",
        "CD8 T cells": "sides.loc['T cells CD8', 'drop_zeros'] == 'above'",
        # The tumours have gamma amounts: the main model is not told from the best, or is it.
        "gamma is not beaten": "compared.table.set_index('model').loc['abundance', 'difference'] > -4",
        "nor when fitted again": (
            "refitted is None or refitted.set_index('model').loc['abundance', 'difference'] > -4"
        ),
        "both are scored": "set(scores.table['model']) == {'abundance', 'abundance_weibull'}",
        "other tumours are refused": "'tumours' in refusal",
        "a sceptic draws plasma cells to 1": (
            "rows['sceptical'].query(\"outcome == 'Plasma cells' and panel == 'presence, HR+'\")['point'].item()"
            " < rows['main'].query(\"outcome == 'Plasma cells' and panel == 'presence, HR+'\")['point'].item()"
        ),
    },
    "07_your_own_model": {
        "what is lacking is listed": "len(faults) == 2 and 'lacks DATA' in faults[0]",
        "the prior checks are passed": "model.prior_checks(graph, data, SEED)['passed'].all()",
        "intervals hold what was planted": "found['covered'].mean() > 0.85",
        "its rows have twins": "set(pairs['estimand']) == {'presence', 'amount'}",
    },
}
"""Notebook -> what its text says -> an expression in its own variables that is then true, at either size."""


@pytest.fixture(scope="module")
def tools() -> ModuleType:
    """``notebooks/build.py``, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("build_notebooks", FOLDER / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def client(tools: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NotebookClient]:
    """One kernel for all tutorials, at small size."""
    made = NotebookClient(
        nbformat.v4.new_notebook(),
        timeout=tools.TIMEOUT_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path_factory.mktemp("notebooks"))}},
        record_timing=False,
    )
    with made.setup_kernel(env=tools.environment() | {"BAYES_HER2_NOTEBOOK_SIZE": "small"}):
        yield made


def with_statements(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """Add a cell for each statement, which fails with its words."""
    for words, true in STATEMENTS[name].items():
        notebook.cells.append(nbformat.v4.new_code_cell(f"assert {true}, {words!r}"))
    return notebook


def outputs(notebook: nbformat.NotebookNode) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_there_are_seven_with_statements_that_are_checked():
    assert [name[:2] for name in NAMES] == [f"{i:02d}" for i in range(1, 8)]
    assert set(STATEMENTS) == set(NAMES)


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_source_and_notebook_are_in_step(path, tools):
    notebook = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    assert tools.as_source(notebook) == path.read_text(encoding="utf-8"), "run `make notebooks`"


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_a_page_has_one_title_and_says_what_to_remember(path):
    notebook = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    markdown = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    titles = [line for text in markdown for line in text.splitlines() if line.startswith("# ")]
    assert len(titles) == 1
    assert markdown[0].splitlines()[0] == titles[0]
    assert re.fullmatch(rf"# {path.name[:2]}\. [A-Z].*", titles[0])
    assert "you will be able to" in markdown[0]
    assert "## What to remember" in markdown[-1]


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_what_is_committed_has_outputs_pictures_and_no_noise(path):
    text = path.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert len(text.encode()) < LARGEST_BYTES
    notebook = nbformat.reads(text, as_version=4)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    found = outputs(notebook)
    assert not [o for o in found if o.output_type in ("error", "stream")]
    assert any("image/png" in o.get("data", {}) for o in found)
    without_pictures = re.sub(r'"image/png": "[^"]*"', "", text)
    noise = r"/home/|/root/|/tmp/|/Users/|[A-Z]:\\\\|Warning|Traceback|SettingWithCopy"
    assert not re.search(noise, without_pictures)


@pytest.mark.sampling
@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_it_runs_and_finds_what_was_planted(path, tools, client):
    notebook = tools.read_source(path)
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
    tools.execute(with_statements(notebook, path.stem), Path(), client)
    assert not [o for o in outputs(notebook) if o.output_type in ("error", "stream")]


@pytest.mark.slow
@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_it_runs_at_full_size(path, tools, tmp_path, monkeypatch):
    monkeypatch.delenv("BAYES_HER2_NOTEBOOK_SIZE", raising=False)
    tools.execute(with_statements(tools.read_source(path), path.stem), tmp_path)
