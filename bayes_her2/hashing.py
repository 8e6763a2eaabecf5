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


def source_hash(sources: tuple[Path, ...]) -> str:
    """SHA-256 over Python sources, by file name and content."""
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.name.encode())
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
