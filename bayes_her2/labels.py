"""Values of a field as the labels that tables print and settings name."""

from __future__ import annotations

from typing import Any


def as_label(value: Any) -> str:
    """Text of a value: whole floats as integers (3.0 -> '3'), everything else as it is."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
