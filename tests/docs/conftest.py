"""The documentation, built once as `make docs` builds it, with a notebook that is there for the tests alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from site_pages import ROOT, Built

NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "cells": [
        {
            "cell_type": "markdown",
            "id": "a",
            "metadata": {},
            "source": "# 99. A notebook of the tests\n\nText.",
        },
        {
            "cell_type": "code",
            "id": "b",
            "metadata": {},
            "execution_count": 1,
            "source": "raise SystemExit('it was run')",
            "outputs": [{"output_type": "stream", "name": "stdout", "text": "as it was committed\n"}],
        },
    ],
}


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Built]:
    """Build a copy of docs/ with the notebooks of a folder, every warning an error."""

    def made(notebooks: Path) -> Built:
        folder = tmp_path_factory.mktemp("site")
        ignored = shutil.ignore_patterns("notebooks", "__pycache__")
        shutil.copytree(ROOT / "docs", folder / "docs", ignore=ignored)
        command = (sys.executable, "-m", "sphinx", "-q", "-E", "-W", "--keep-going", "-b", "html")
        options = ("-D", f"notebooks_folder={notebooks}", "docs", "site")
        before = os.times()
        done = subprocess.run(
            (*command, *options), cwd=folder, capture_output=True, text=True, check=False, env=os.environ
        )
        after = os.times()
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        return Built(folder / "site", done.returncode, done.stdout + done.stderr, spent)

    return made


@pytest.fixture(scope="session")
def site(build: Callable[..., Built], tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Every notebook of the repository, and one more."""
    notebooks = tmp_path_factory.mktemp("notebooks")
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy2(path, notebooks)
    (notebooks / "99_tests.ipynb").write_text(json.dumps(NOTEBOOK), encoding="utf-8")
    return build(notebooks)
