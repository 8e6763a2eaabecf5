"""Jobs on the workers of a Dask cluster: the same jobs, the same files, the same results as on one machine.

A job is one fit (or more), writes its files whole, and depends on nothing but what it is given, so that a worker may be
lost at any time: the scheduler gives its job to another, and finished files are found when the command is run again.
What workers share with the machine that the command runs on is the results folder.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayes_her2 import __version__
from bayes_her2.errors import BayesHer2Error, DataError, name_some
from bayes_her2.workflow.results import ResultsFolder

if TYPE_CHECKING:
    from distributed import Client

    from bayes_her2.workflow.progress import Say

ADDRESS = re.compile(r"(\w+://)?[^/\s]+:\d+")
ANSWERS_WITHIN = 20
"""Seconds for a scheduler, and for a first worker, to answer."""


def do_all_on(
    scheduler: str, jobs: Sequence[Any], work: Any, folder: ResultsFolder, *, say: Say
) -> dict[str, Any]:
    """Do every job on the workers of a cluster, and return what each gave, by name.

    Parameters
    ----------
    scheduler
        Address of a Dask scheduler (``tcp://host:8786``).
    jobs, work, folder, say
        As in `bayes_her2.workflow.side_by_side.do_all`.

    Raises
    ------
    DataError
        `distributed` is not installed, no scheduler or worker answers, or the workers do not do: other versions,
        several threads, another file system.
    BayesHer2Error
        A job was lost with its worker, again and again.
    """
    try:
        from distributed import Client, as_completed  # noqa: PLC0415 - an optional package
        from distributed.scheduler import KilledWorker  # noqa: PLC0415
    except ImportError:
        raise DataError(
            "--scheduler needs the package distributed: install it here and on every worker (the extra `cluster`)."
        ) from None
    if not ADDRESS.fullmatch(scheduler):
        raise DataError(
            f"--scheduler {scheduler}: is no address. Give that of a Dask scheduler: tcp://HOST:PORT."
        )
    shared = ResultsFolder(folder.out.resolve())
    try:
        client = Client(scheduler, timeout=ANSWERS_WITHIN, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise DataError(
            f"--scheduler {scheduler}: no Dask scheduler answers there ({error}). Start one (dask scheduler) and its "
            "workers (dask worker ADDRESS --nthreads 1), or leave the option out to use this machine."
        ) from error
    done: dict[str, Any] = {}
    with client:
        n = _check_workers(client, scheduler, shared)
        say(f"{len(jobs)} jobs on {n} workers of {scheduler}")
        own = uuid.uuid4().hex[:8]  # a scheduler may still know the jobs of an earlier run by their names
        futures = {
            client.submit(partial(_there, work), job, shared, key=f"{job.name}-{own}", pure=False): job.name
            for job in jobs
        }
        try:
            for future in as_completed(futures, loop=client.loop):  # type: ignore[no-untyped-call]
                lines, result = future.result()
                for line in lines:
                    say(line)
                done[futures[future]] = result
        except KilledWorker as error:
            name = str(error.task).removesuffix(f"-{own}")
            raise BayesHer2Error(
                f"{name}: its worker was lost again and again; a machine that runs out of memory does so. "
                "Finished jobs are kept: run the same command again, on workers with more memory."
            ) from error
        finally:
            client.cancel(list(futures))  # type: ignore[no-untyped-call]
            folder.remove_half_written()
    return done


def _there(work: Any, job: Any, folder: ResultsFolder) -> tuple[list[str], Any]:
    """Do one job on a worker; what it says is told when it is done."""
    lines: list[str] = []
    return lines, work(job, folder, say=lines.append, progress=False)


def _about_worker(token: str) -> tuple[str, bool]:
    return __version__, Path(token).is_file()


def _check_workers(client: Client, scheduler: str, folder: ResultsFolder) -> int:
    """Return the number of workers; refuse those that would give other results, or none. Later ones are not asked."""
    try:
        client.wait_for_workers(1, timeout=ANSWERS_WITHIN)
    except TimeoutError as error:
        raise DataError(
            f"--scheduler {scheduler}: it has no worker. Start some: dask worker {scheduler} --nthreads 1."
        ) from error
    threads = {
        address: int(worker["nthreads"])
        for address, worker in client.scheduler_info(n_workers=-1)["workers"].items()
    }
    several = [address for address, number in threads.items() if number > 1]
    if several:
        raise DataError(
            f"--scheduler {scheduler}: {len(several)} of {len(threads)} workers do several jobs at a time in one "
            f"process ({name_some(several)}), and models are compiled one at a time: start them with --nthreads 1, "
            "and more of them (--nworkers)."
        )
    token = folder.out / f".seen-{uuid.uuid4().hex}.part"
    token.touch()
    try:
        found = client.run(_about_worker, str(token))
    finally:
        token.unlink(missing_ok=True)
    other = sorted({version for version, _ in found.values()} - {__version__})
    if other:
        raise DataError(
            f"--scheduler {scheduler}: workers have bayes_her2 {name_some(other)}, and this is {__version__}. Install "
            "the same version everywhere: results would depend on the worker."
        )
    blind = [address for address, (_, sees) in found.items() if not sees]
    if blind:
        raise DataError(
            f"--scheduler {scheduler}: {len(blind)} of {len(found)} workers do not see {folder.out} "
            f"({name_some(blind)}). Give a results folder on a file system that all machines share."
        )
    return len(found)
