"""What scripts import from the top of the package: complete, documented, and free of charge until it is used."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import bayes_her2

ROOT = Path(bayes_her2.__file__).parents[1]


@pytest.mark.parametrize("name", bayes_her2.__all__)
def test_every_name_is_there_and_documented(name):
    thing = getattr(bayes_her2, name)
    home = importlib.import_module(f"bayes_her2.{bayes_her2._MODULE_OF[name]}")
    assert getattr(home, name) is thing
    if inspect.isfunction(thing):
        text = inspect.getdoc(thing) or ""
        assert text
        takes = [p for p in inspect.signature(thing).parameters if p not in ("say", "draws")]
        documented = text.split("Parameters")[1] if "Parameters" in text else ""
        missing = [p for p in takes if p not in documented]
        assert not missing, f"{name}: {missing} not described"
    elif inspect.isclass(thing):
        assert inspect.getdoc(thing)


def test_the_lists_of_names_agree():
    source = ast.parse((ROOT / "bayes_her2" / "__init__.py").read_text(encoding="utf-8"))
    typed = {
        alias.name
        for node in ast.walk(source)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bayes_her2.")
        for alias in node.names
    }
    assert typed == set(bayes_her2.__all__) == set(bayes_her2._MODULE_OF)
    assert set(bayes_her2.__all__) <= set(dir(bayes_her2))


def test_the_documentation_lists_them_all():
    page = (ROOT / "docs" / "how-to" / "python.md").read_text(encoding="utf-8")
    missing = [name for name in bayes_her2.__all__ if f"`{name}`" not in page]
    assert not missing


def test_importing_the_package_imports_no_sampler():
    code = "import sys, bayes_her2; sys.exit(any(m in sys.modules for m in ('pymc', 'pytensor', 'nutpie', 'arviz')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'fit_everything'"):
        _ = bayes_her2.fit_everything
