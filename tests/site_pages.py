"""Pages of the documentation, as they are written and as they are built."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import bayes_her2

ROOT = Path(bayes_her2.__file__).parents[1]
DOCS = ROOT / "docs"
WRITTEN = (ROOT / "README.md", *sorted(p for p in DOCS.rglob("*.md") if "notebooks" not in p.parts))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """Code of one language in a page as it is written."""
    return [code for name, code in FENCE.findall(page.read_text(encoding="utf-8")) if name == language]


def commands(page: Path) -> Iterator[list[str]]:
    """Arguments of each call of `bayes-her2` in a page's shell blocks."""
    for code in blocks(page, "sh"):
        for line in code.replace("\\\n", " ").splitlines():
            words = shlex.shlex(line, posix=True, punctuation_chars=True)
            words.whitespace_split = True
            tokens = list(words)
            if tokens and tokens[0].rsplit("/", 1)[-1] == "bayes-her2":
                ends = [i for i, token in enumerate(tokens) if token in ("&&", "|", ">", "||", ";", "&")]
                yield tokens[1 : ends[0] if ends else None]


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        if "src" in given:
            self.loaded.append(given["src"])
        if tag == "link" and given.get("rel") in ("stylesheet", "preload", "icon", "prefetch"):
            self.loaded.append(given["href"])
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])


@dataclass(frozen=True)
class Built:
    """What a build left: its folder, exit code, messages and processor seconds."""

    folder: Path
    code: int
    messages: str
    seconds: float

    @cached_property
    def pages(self) -> dict[Path, _Page]:
        """Every page, parsed."""
        found = (p for p in sorted(self.folder.rglob("*.html")) if "_static" not in p.parts)
        return {p: _Page(p.read_text(encoding="utf-8")) for p in found}

    def text(self, name: str) -> str:
        """Source of a built page."""
        return (self.folder / f"{name}.html").read_text(encoding="utf-8")

    def broken(self) -> list[str]:
        """Links whose page or place is not there."""
        found = []
        for path, page in self.pages.items():
            for link in (*page.links, *page.loaded):
                parts = urlsplit(link)
                if parts.scheme:
                    continue
                target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
                if not target.is_file():
                    found.append(f"{path.relative_to(self.folder)}: {link}")
                elif parts.fragment and target.suffix == ".html":
                    known = self.pages[target].ids if target in self.pages else set()
                    if unquote(parts.fragment) not in known:
                        found.append(f"{path.relative_to(self.folder)}: {link}")
        return found


def slug(heading: str) -> str:
    """Anchor of a heading, as GitHub and MyST have it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def broken_in(page: Path) -> list[str]:
    """Relative links of a page, as it is written, to what is not in the repository."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        parts = urlsplit(link)
        if parts.scheme:
            continue
        target = page.parent / parts.path if parts.path else page
        if not target.exists():
            found.append(link)
        elif parts.fragment:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            if parts.fragment not in {slug(h) for h in headings}:
                found.append(link)
    return found


def listed_columns() -> dict[str, list[str]]:
    """Columns of each table of a results folder, as the documentation lists them."""
    with (DOCS / "reference" / "tables.csv").open(encoding="utf-8", newline="") as file:
        return {row["file"]: row["columns"].split(";") for row in csv.DictReader(file)}
