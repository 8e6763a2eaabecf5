"""The rules of ARCHITECTURE.md, read off the imports and calls of the source."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "bayes_her2"
ROOMS = [*sorted(p.parent.name for p in (ROOT / PACKAGE).glob("*/__init__.py")), "models"]
MODELS = sorted(p.stem for p in (ROOT / "models").glob("*.py") if p.stem != "__init__")
SAMPLERS = {"pymc", "arviz", "nutpie", "pytensor"}


def folder(room: str) -> Path:
    return ROOT / "models" if room == "models" else ROOT / PACKAGE / room


def sources(room: str) -> list[Path]:
    return sorted(folder(room).rglob("*.py"))


def module_name(path: Path) -> str:
    if path.is_relative_to(ROOT / "models"):
        parts = (PACKAGE, "models", *path.relative_to(ROOT / "models").with_suffix("").parts)
    else:
        parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, text: str | None = None) -> set[str]:
    """Every module that a file imports, wherever in it; ``from a import b`` counts as a and a.b."""
    found: set[str] = set()
    package = module_name(path) if path.stem == "__init__" else module_name(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8") if text is None else text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def room_imports(room: str) -> set[str]:
    return set().union(*(imports(path) for path in sources(room)))


def rooms_used(room: str) -> set[str]:
    """Other rooms that a room imports from."""
    names = (name.split(".") for name in room_imports(room) if name.startswith(f"{PACKAGE}."))
    return {parts[1] for parts in names if parts[1] in ROOMS} - {room}


def top_level(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def calls(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def test_the_reader_of_imports_sees_every_form():
    path = ROOT / PACKAGE / "report" / "x.py"
    lines = ["import pymc.math", "from bayes_her2 import models", "from ..bayesian import fit"]
    found = imports(path, "\n".join([*lines, "def f():", "    import scipy"]))
    assert {"pymc.math", "bayes_her2.models", "bayes_her2.bayesian.fit", "scipy"} <= found


def test_the_two_sides_never_import_each_other():
    assert "frequentist" not in rooms_used("bayesian")
    assert "bayesian" not in rooms_used("frequentist")
    assert "models" not in rooms_used("frequentist")


def test_the_frequentist_side_needs_no_sampler():
    assert not top_level(room_imports("frequentist")) & SAMPLERS


def test_the_report_computes_nothing():
    assert not rooms_used("report") & {"bayesian", "frequentist", "models"}
    assert not top_level(room_imports("report")) & {*SAMPLERS, "scipy", "statsmodels"}


def test_a_process_that_draws_figures_loads_no_sampler_and_no_statistics():
    """Each such process loads the report anew: with them it takes three times as long."""
    heavy = ("arviz", "jax", "nutpie", "pymc", "pytensor", "scipy", "statsmodels")
    code = f"import sys, bayes_her2.report; print(*sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_models_import_only_the_bayesian_room_and_the_shared_types():
    # An alternative stands on the model that it is an alternative to.
    allowed = {
        f"{PACKAGE}.{name}" for name in ("bayesian", "data", "estimates", "wording", "models.abundance")
    }
    ours = {name for name in room_imports("models") if name.startswith(f"{PACKAGE}.")}
    ours.discard(f"{PACKAGE}.models")
    outside = {name for name in ours if not any(name == a or name.startswith(f"{a}.") for a in allowed)}
    assert not outside


@pytest.mark.parametrize("room", ["preprocessing", "bayesian", "frequentist", "models"])
def test_only_inputs_reads_user_files(room):
    readers = [
        f"{path.relative_to(ROOT)}: {call}"
        for path in sources(room)
        for call in calls(path)
        if call == "open" or call.startswith(("pd.read_", "pandas.read_", "np.load", "np.genfromtxt"))
    ]
    assert not readers


def test_rooms_form_no_cycle():
    waiting = {room: rooms_used(room) for room in ROOMS}
    while free := {room for room, used in waiting.items() if not used & set(waiting)}:
        waiting = {room: used for room, used in waiting.items() if room not in free}
    assert not waiting, f"rooms that import each other in a circle: {waiting}"


def test_shared_types_stand_on_no_room_when_they_are_imported():
    """data.py, estimates.py, errors.py and wording.py are imported by all rooms, so may need none."""
    for name in ("data", "estimates", "errors", "wording"):
        tree = ast.parse((ROOT / PACKAGE / f"{name}.py").read_text(encoding="utf-8"))
        at_import = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
        for node in at_import:
            room = (node.module or "").removeprefix(f"{PACKAGE}.").split(".")[0]
            assert room not in ROOMS, f"{name}.py imports {node.module}"


def test_there_is_a_model():
    assert "abundance" in MODELS


@pytest.mark.parametrize("name", MODELS)
def test_a_model_file_says_what_it_is(name):
    """QUESTION, ESTIMANDS, PRIORS with reasons, TWIN, build(data, priors) and estimates."""
    model = importlib.import_module(f"{PACKAGE}.models.{name}")
    assert model.__doc__
    assert isinstance(model.QUESTION, str)
    assert model.QUESTION.strip()
    assert isinstance(model.ESTIMANDS, Mapping)
    assert model.ESTIMANDS
    assert all(isinstance(meaning, str) and meaning.strip() for meaning in model.ESTIMANDS.values())
    assert isinstance(model.PRIORS, Mapping)
    assert model.PRIORS
    without_reason = [prior for prior, value in model.PRIORS.items() if not value.why.strip()]
    assert not without_reason
    assert list(inspect.signature(model.build).parameters)[:2] == ["data", "priors"]
    assert callable(model.estimates)


@pytest.mark.parametrize("name", MODELS)
def test_the_twin_that_a_model_names_exists(name):
    """TWIN is a public function of `bayes_her2.frequentist`, or a sentence that begins with 'none:'."""
    model = importlib.import_module(f"{PACKAGE}.models.{name}")
    if model.TWIN.startswith("none:"):
        assert len(model.TWIN) > len("none: ")
    else:
        assert callable(getattr(importlib.import_module(f"{PACKAGE}.frequentist"), model.TWIN, None))
