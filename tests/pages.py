"""What tests ask of a report's page."""

from __future__ import annotations

import re


def code_left_in(page: str) -> list[str]:
    """Find code that a caption shows because it was never formatted, such as ``{_who(``."""
    return re.findall(r"\{\w+[\w.]*\(", re.sub(r"<(style|svg).*?</\1>", "", page, flags=re.DOTALL))


def numbered_in_order(page: str, kind: str) -> int:
    """Assert that the tables or figures of a page are numbered as they stand; how many there are."""
    captions = [int(n) for n in re.findall(rf"<b>{kind} (\d+)\.</b>", page)]
    assert captions == list(range(1, len(captions) + 1))
    return len(captions)
