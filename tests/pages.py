"""What tests ask of a report's page."""

from __future__ import annotations

import re


def code_left_in(page: str) -> list[str]:
    """Find code that a caption shows because it was never formatted, such as ``{_who(``."""
    return re.findall(r"\{\w+[\w.]*\(", re.sub(r"<(style|script|svg).*?</\1>", "", page, flags=re.DOTALL))


def numbered_in_order(page: str, kind: str) -> int:
    """Assert that the tables or figures of a page are numbered as they stand; how many there are."""
    captions = [int(n) for n in re.findall(rf"<b>{kind} (\d+)\.</b>", page)]
    assert captions == list(range(1, len(captions) + 1))
    return len(captions)


def asked_elsewhere_by_scripts(page: str) -> list[str]:
    """Find what scripts of a page would ask for: files of their own, or anything over the network."""
    scripts = re.findall(r"<script[^>]*>.*?</script>", page, flags=re.DOTALL)
    assert scripts
    asks = r"\bsrc\b|\bfetch\b|XMLHttpRequest|WebSocket|EventSource|sendBeacon|\bimport\b|\beval\b|new Image|https?:"
    return [found for script in scripts for found in re.findall(asks, script)]
