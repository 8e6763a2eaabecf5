"""Methods in words, for a manuscript."""

from __future__ import annotations

from bayes_her2.report.load import Results
from bayes_her2.report.sections import Section


def recorded(results: Results) -> bool:
    """Whether a model whose inference is printed recorded what it was."""
    return any(results.models[name].methods for name in results.complete)


SECTION = Section(name="methods", title="Methods in words", after="cannot-say", has_content=recorded)
