"""Words that sentences of every part of the package are put together with."""

from __future__ import annotations

from collections.abc import Iterable


def listed(items: Iterable[str], conjunction: str = "and") -> str:
    """Join as ``a, b and c``."""
    texts = list(items)
    if len(texts) < 2:
        return "".join(texts)
    return f"{', '.join(texts[:-1])} {conjunction} {texts[-1]}"
