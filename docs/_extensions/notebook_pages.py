"""Notebooks as pages of the tutorial: what lies in notebooks/ is copied beside the tutorial before pages are read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config

import bayes_her2

PLACE = Path("tutorial") / "notebooks"
"""Where the copies lie; git ignores it."""


def copied(app: Sphinx, config: Config) -> None:
    """Copy every notebook, and remove copies of notebooks that are gone."""
    source = Path(config.notebooks_folder)
    target = Path(app.srcdir) / PLACE
    found = {path.name: path for path in sorted(source.glob("*.ipynb"))}
    if not found:
        shutil.rmtree(target, ignore_errors=True)
        return
    target.mkdir(parents=True, exist_ok=True)
    for old in target.iterdir():
        if old.name not in found:
            old.unlink()
    for name, path in found.items():
        shutil.copy2(path, target / name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Copy notebooks as soon as the settings are known."""
    beside = Path(bayes_her2.__file__).parents[1] / "notebooks"
    app.add_config_value("notebooks_folder", str(beside), "env")
    app.connect("config-inited", copied)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
