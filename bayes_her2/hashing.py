"""Hashes of code and settings, for provenance and for resuming."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
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


def source_hash(folders: tuple[Path, ...]) -> str:
    """SHA-256 over the Python sources of some folders, by relative name."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            digest.update(str(path.relative_to(folder)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Installed versions of the packages that results depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
