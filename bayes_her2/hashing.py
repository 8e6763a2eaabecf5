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


def sources_of(roots: Iterable[Path], package: Path, prefix: str) -> tuple[Path, ...]:
    """Python sources that some files rest on: themselves, and what they import, and so on.

    Parameters
    ----------
    roots
        Where to begin.
    package
        Folder of the modules that are followed.
    prefix
        Its dotted name.

    Returns
    -------
    tuple of pathlib.Path
        Sorted by name.
    """
    waiting, found = list(roots), set[Path]()
    while waiting:
        path = waiting.pop()
        if path in found or not path.is_file():
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.ImportFrom)
                and node.module
                and f"{node.module}.".startswith(f"{prefix}.")
            ):
                inside = node.module.removeprefix(prefix).strip(".")
                names = [inside] if inside else [alias.name for alias in node.names]
                waiting += [package / f"{name.replace('.', '/')}.py" for name in names]
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
