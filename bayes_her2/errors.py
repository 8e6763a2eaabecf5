"""What can go wrong, in two kinds: bad input, and an analysis that refuses to answer.

Every message says what is wrong, where, how much of it there is, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MAX_NAMED = 5


class BayesHer2Error(Exception):
    """Base of every error that this package raises on purpose."""

    exit_code = 1


class DataError(BayesHer2Error):
    """Bad input: one or several faults, reported together (exit code 2)."""

    exit_code = 2

    def __init__(self, faults: str | Sequence[str]) -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__(self._message())

    def _message(self) -> str:
        if len(self.faults) == 1:
            return self.faults[0]
        listed = "\n".join(f"  {i}. {fault}" for i, fault in enumerate(self.faults, start=1))
        return f"{len(self.faults)} faults:\n{listed}"


class StudyError(DataError):
    """A fault in the study file itself, with its place in the file."""


class AnalysisRefusedError(BayesHer2Error):
    """The analysis ran and will not print inference: the reasons say why (exit code 1)."""

    exit_code = 1

    def __init__(self, reasons: str | Sequence[str]) -> None:
        self.reasons: tuple[str, ...] = (reasons,) if isinstance(reasons, str) else tuple(reasons)
        super().__init__("\n".join(self.reasons))


class Faults:
    """Collects faults so that the user sees all of them at once."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, where: str, what: str) -> None:
        """Record one fault: `where` it is, and `what` is wrong and what to do."""
        self._found.append(f"{where}: {what}")

    def extend(self, faults: Iterable[str]) -> None:
        """Record faults that already carry their place."""
        self._found.extend(faults)

    def __bool__(self) -> bool:
        return bool(self._found)

    def raise_if_any(self, kind: type[DataError] = DataError) -> None:
        """Raise one error with every fault found so far; do nothing if there is none."""
        if self._found:
            raise kind(self._found)


def name_some(items: Iterable[object], most: int = MAX_NAMED) -> str:
    """Name the first few items and count the rest: ``a, b, c and 4 more``."""
    texts = [str(item) for item in items]
    if len(texts) <= most:
        return ", ".join(texts)
    return f"{', '.join(texts[:most])} and {len(texts) - most} more"
