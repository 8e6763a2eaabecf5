"""Paragraphs for a manuscript, and the file of their own that they are written to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bayes_her2.report.load import Results


@dataclass(frozen=True)
class Paragraph:
    """What stands under one heading: paragraphs, with an empty line between them, and then formulas in LaTeX."""

    heading: str
    text: str
    formulas: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """Its paragraphs."""
        return tuple(self.text.split("\n\n"))


def as_markdown(title: str, results: Results, paragraphs: Iterable[Paragraph]) -> str:
    """Return paragraphs as a file: a title with the study's name, a word if its data are simulated, and the text."""
    simulated = "**Simulated data: no patient is behind any number.**\n\n" if results.study.simulated else ""
    parts = "\n\n".join(
        "\n\n".join((f"## {p.heading}", p.text, *(f"$${formula}$$" for formula in p.formulas)))
        for p in paragraphs
    )
    return f"# {title}: {results.study.name}\n\n{simulated}{parts}\n"
