"""Hashes of code and settings, for provenance and for resuming."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "arviz",
    "bayes-her2",
    "nutpie",
    "numba",
    "numpy",
    "pandas",
    "pymc",
    "pytensor",
    "scipy",
    "statsmodels",
    "xarray",
)


def hash_of(value: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON-like value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def source_hash(sources: tuple[Path, ...]) -> str:
    """SHA-256 over Python sources, by file name and content."""
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


NUMERIC = ("bayesian", "ranking", "splines")
"""Rooms and modules of the package that decide what is drawn from a model, given its data."""


def sources_of(roots: Iterable[Path]) -> tuple[Path, ...]:
    """Python sources that some files rest on: themselves, what they import of `NUMERIC`, and so on.

    Parameters
    ----------
    roots
        Where to begin.

    Returns
    -------
    tuple of pathlib.Path
        Sorted by name.
    """
    package = Path(__file__).parent
    waiting, found = list(roots), set[Path]()
    while waiting:
        path = waiting.pop()
        if path in found or not path.is_file():
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package.name}.")):
                continue
            named = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            inside = [str(name).split(".")[1:] for name in named]
            waiting += [
                package.joinpath(*parts).with_suffix(".py") for parts in inside if parts[0] in NUMERIC
            ]
    return tuple(sorted(found, key=lambda path: (path.name, str(path))))


def versions() -> dict[str, str]:
    """Installed versions of the packages that results depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
