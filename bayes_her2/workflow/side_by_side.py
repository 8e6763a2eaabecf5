"""Models of a run in processes side by side: compiling uses one core, and no model waits for another."""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from threading import Lock, Thread
from typing import Any, Protocol

from bayes_her2.bayesian.fit import Progress
from bayes_her2.errors import BayesHer2Error
from bayes_her2.workflow.analysis import Analysed, Job, analyse
from bayes_her2.workflow.cluster import do_all_on
from bayes_her2.workflow.progress import Draws, Say
from bayes_her2.workflow.results import ResultsFolder

LONGEST_FIRST = ("rank_correlation", "abundance", "marginal_effect", "high_abundance", "clinical")
"""A long job begun last would run alone at the end."""


class Named(Protocol):
    """A job, or what a job gave: both have the job's name."""

    @property
    def name(self) -> str:
        """Unique among the jobs of a call."""


@dataclass(frozen=True)
class Done:
    """What a job gives whose result is a file.

    Attributes
    ----------
    name
        As of its job.
    """

    name: str


class Work[J: Named, A: Named](Protocol):
    """What is done with a job: a function of a module, so that another process finds it."""

    def __call__(self, job: J, folder: ResultsFolder, *, say: Say, progress: bool | Progress) -> A:
        """Do it."""


def analyse_all(
    jobs: Sequence[Job], folder: ResultsFolder, *, at_once: int, say: Say, draws: Draws | None
) -> list[Analysed]:
    """Fit every model of a run, and return what each gave, in the order of `jobs`; see `do_all`."""
    return do_all(jobs, analyse, folder, at_once=at_once, say=say, draws=draws)


def do_all[J: Named, A: Named](
    jobs: Sequence[J],
    work: Work[J, A],
    folder: ResultsFolder,
    *,
    at_once: int,
    say: Say,
    draws: Draws | None,
    scheduler: str = "",
) -> list[A]:
    """Do every job, and return what each gave, in the order of `jobs`.

    Parameters
    ----------
    jobs
        Each with a name of its own.
    work
        What is done with each.
    folder
        Results folder, opened.
    at_once
        Jobs at a time. With 1 all is done in this process.
    say
        Receives one line per step.
    draws
        Receives progress within the fits; None for no progress.
    scheduler
        Address of a Dask scheduler whose workers do the jobs instead of this machine, without progress within the
        fits; '' for this machine.

    Raises
    ------
    BayesHer2Error, OSError
        Of the first job that fails; the others are ended.
    """
    if scheduler:
        elsewhere = do_all_on(scheduler, jobs, work, folder, say=say)
        return [elsewhere[job.name] for job in jobs]
    if at_once == 1 or len(jobs) == 1:
        return [work(job, folder, say=say, progress=_of_model(draws, job.name)) for job in jobs]
    waiting = sorted(jobs, key=lambda job: _rank(job.name))
    done: dict[str, A] = {}
    with _workers(min(at_once, len(jobs)), work, folder, progress=draws is not None) as workers:
        busy = list(workers)
        for worker in busy:
            worker.give(waiting.pop(0))
        while busy:
            ready = wait([worker.connection for worker in busy])
            for worker in [worker for worker in busy if worker.connection in ready]:
                kind, content = worker.hear()
                if kind == "says":
                    say(content)
                elif kind == "draws":
                    if draws is not None:
                        draws(*content)
                elif kind == "failed":
                    raise content
                else:
                    done[content.name] = content
                    if waiting:
                        worker.give(waiting.pop(0))
                    else:
                        busy.remove(worker)
    return [done[job.name] for job in jobs]


def _rank(name: str) -> int:
    return LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST)


def _of_model(draws: Draws | None, name: str) -> bool | Callable[[int, int], None]:
    if draws is None:
        return False
    return lambda finished, total: draws(name, finished, total)


@dataclass(frozen=True)
class _Worker:
    """The near end of a process that does jobs."""

    connection: Connection
    process: SpawnProcess

    def give(self, job: Named) -> None:
        """Send a job."""
        try:
            self.connection.send(job)
        except OSError:
            raise self._ended() from None

    def hear(self) -> tuple[str, Any]:
        """Receive what it sends next: a kind, and what belongs to it."""
        try:
            kind, content = self.connection.recv()
        except (EOFError, OSError):
            raise self._ended() from None
        return kind, content

    def _ended(self) -> BayesHer2Error:
        self.process.join(timeout=5)
        return BayesHer2Error(
            f"A process that fitted a model was ended from outside (exit code {self.process.exitcode}); a machine that "
            "runs out of memory does so. Finished fits are kept: run the same command again, or one model at a time "
            "(--at-once 1)."
        )


@contextmanager
def _workers(
    n: int, work: Work[Any, Any], folder: ResultsFolder, *, progress: bool
) -> Iterator[list[_Worker]]:
    """Start processes that wait for jobs; end them, with what they had begun to write, on leaving."""
    context = get_context("spawn")  # a process that has used threads cannot be forked safely
    found: list[_Worker] = []
    try:
        for _ in range(n):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, work, folder, progress), daemon=True)
            process.start()
            theirs.close()
            found.append(_Worker(ours, process))
        yield found
    finally:
        for worker in found:
            worker.connection.close()
            worker.process.terminate()
        for worker in found:
            worker.process.join()
        folder.remove_half_written()


def _end_with_parent() -> None:
    """Wait for the end of the process that started this one, however it comes, and end too."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _work(connection: Connection, work: Work[Any, Any], folder: ResultsFolder, progress: bool) -> None:
    """Do the jobs that come, until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one ends it
    Thread(target=_end_with_parent, daemon=True).start()
    one_at_a_time = Lock()  # progress comes from a thread of the sampler

    def send(kind: str, content: Any) -> None:
        with one_at_a_time:
            connection.send((kind, content))

    def draws(name: str, finished: int, total: int) -> None:
        send("draws", (name, finished, total))

    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            done = work(
                job,
                folder,
                say=lambda text: send("says", text),
                progress=_of_model(draws if progress else None, job.name),
            )
        except Exception as error:  # noqa: BLE001 - raised again at the other end
            send("failed", _as_sent(error))
            return
        send("done", done)


def _as_sent(error: Exception) -> Exception:
    """Return the error itself if it survives the way, with where it arose; else its text."""
    error.add_note("In the process of a model:\n" + "".join(traceback.format_exception(error)))
    try:
        again = pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever stands in the way, its text can be sent
        again = None
    return error if type(again) is type(error) else RuntimeError("\n".join(traceback.format_exception(error)))
