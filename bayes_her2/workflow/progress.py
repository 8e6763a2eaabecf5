"""What a run says as it goes on, and how long each step took."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Say = Callable[[str], None]
"""Receives one line per step."""

Draws = Callable[[str, int, int], None]
"""Receives the name of a model, its draws finished so far, and its draws in all."""

SECONDS_BETWEEN_LINES = 30


def silent(text: str) -> None:
    """Say nothing."""


class Clock:
    """Says what begins and remembers how long it took.

    Parameters
    ----------
    say
        Receives one line per step.
    """

    def __init__(self, say: Say) -> None:
        self.say = say
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time one step."""
        self.say(name)
        start = perf_counter()
        yield
        self.seconds[name] = perf_counter() - start


class Bars:
    """Lines for the steps of a run, and under them a bar for every model that is sampled just now.

    Where there is no terminal, a line now and then takes the place of the bars.

    Parameters
    ----------
    console
        Where to.

    Examples
    --------
    >>> with Bars(Console()) as bars:  # doctest: +SKIP
    ...     run_study("study.toml", "results", say=bars.say, draws=bars.draws)
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = console.is_terminal and not console.quiet
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("draws"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True, disable=not self._live)
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """Print one line above the bars."""
        self._console.print(text, markup=False, soft_wrap=True)

    def draws(self, model: str, finished: int, total: int) -> None:
        """Move the bar of a model; it goes when all its draws are there."""
        if not self._live:
            self._line(model, finished, total)
        elif finished >= total:
            task = self._tasks.pop(model, None)
            if task is not None:
                self._progress.remove_task(task)
        else:
            if model not in self._tasks:
                self._tasks[model] = self._progress.add_task(model, total=total)
            self._progress.update(self._tasks[model], completed=finished, total=total)

    def _line(self, model: str, finished: int, total: int) -> None:
        now = perf_counter()
        if finished < total and now - self._said.setdefault(model, now) > SECONDS_BETWEEN_LINES:
            self._said[model] = now
            self.say(f"  {model}: {finished:,} of {total:,} draws")
