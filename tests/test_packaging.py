"""The wheel holds the whole package, nothing else, and works away from the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("bayes_her2", "models", "pyproject.toml", "README.md", "LICENSE")


def run(*command: str, cwd: Path, **environment: str) -> str:
    """Run a command and return what it printed; a failure shows it."""
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Build from a copy: no stale build folder can add to the wheel, and none is left behind."""
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, source / name)
    out = tmp_path_factory.mktemp("wheel")
    pip_wheel = (sys.executable, "-m", "pip", "wheel", "--no-index", "--no-deps", "--no-build-isolation")
    run(*pip_wheel, "--wheel-dir", str(out), ".", cwd=source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    pip_install = (sys.executable, "-m", "pip", "install", "--no-index", "--no-deps")
    run(*pip_install, "--target", str(target), str(wheel), cwd=target)
    return target


def model_names() -> list[str]:
    return sorted(p.stem for p in (ROOT / "models").glob("*.py") if p.stem != "__init__")


def files_of(folder: Path) -> set[str]:
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {p.relative_to(folder).as_posix() for p in files if "__pycache__" not in p.parts}


def test_wheel_holds_no_top_level_name_but_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        top = {name.split("/")[0] for name in archive.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"bayes_her2"}


def test_wheel_holds_every_source_file(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("bayes_her2/")}
    expected = {f"bayes_her2/{name}" for name in files_of(ROOT / "bayes_her2")}
    expected |= {f"bayes_her2/models/{name}" for name in files_of(ROOT / "models")}
    assert held == expected


def test_every_room_is_listed_in_pyproject():
    listed = set(
        tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    )
    found = {
        p.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for p in ROOT.glob("bayes_her2/**/__init__.py")
    }
    assert listed == found | {"bayes_her2.models"}


def test_every_model_loads_from_the_installed_wheel(installed, tmp_path):
    assert model_names()
    code = (
        "import importlib, pathlib, sys\n"
        "for name in sys.argv[2:]:\n"
        "    module = importlib.import_module('bayes_her2.models.' + name)\n"
        "    assert pathlib.Path(sys.argv[1]) in pathlib.Path(module.__file__).parents, module.__file__\n"
        "    assert module.QUESTION\n"
        "    print(name)\n"
    )
    printed = run(
        sys.executable, "-c", code, str(installed), *model_names(), cwd=tmp_path, PYTHONPATH=str(installed)
    )
    assert printed.split() == model_names()


def test_files_beside_the_models_are_found_through_resources(installed, tmp_path):
    code = (
        "import importlib.resources as resources\n"
        "beside = resources.files('bayes_her2.models').iterdir()\n"
        "print(sorted(p.name for p in beside if p.name.endswith('.py')))\n"
    )
    printed = run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(installed))
    assert printed.strip() == str(sorted(["__init__.py", *(f"{name}.py" for name in model_names())]))


def test_lock_and_house_files_name_no_address_and_no_machine():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    for sign in ("http:", "https:", "file:", "--index", "--find-links", "@ "):
        assert sign not in text
    pinned = {line.split("==")[0] for line in text.splitlines() if "==" in line and not line.startswith(" ")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = {entry.split("[")[0].split(">")[0].split("=")[0] for entry in wanted}
    assert names <= pinned, f"run `make lock`: {sorted(names - pinned)} are not in requirements.lock"


def test_no_text_of_the_project_has_the_marks_of_an_unfinished_merge():
    files = [
        f
        for pattern in (
            "*.md",
            "docs/**/*.md",
            "*.toml",
            "bayes_her2/**/*.py",
            "bayes_her2/**/*.j2",
            "models/*.py",
            "tests/**/*.py",
        )
        for f in ROOT.glob(pattern)
    ]
    assert len(files) > 100
    marks = ("<" * 7 + " ", ">" * 7 + " ")
    assert [
        str(f) for f in files if any(ln.startswith(marks) for ln in f.read_text("utf-8").splitlines())
    ] == []
