"""A results folder: written aside, then put in place, so that a reader never sees half of it."""

from __future__ import annotations

import datetime as dt
import errno
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from bayes_her2 import __version__
from bayes_her2.data import FileRead
from bayes_her2.errors import DataError
from bayes_her2.estimates import write_table
from bayes_her2.files import write_text
from bayes_her2.hashing import versions
from bayes_her2.inputs import Study
from bayes_her2.report.standalone import About

STAGING = ".unfinished"
LOCK = ".lock"
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}
"""What a file system answers that has no locks."""
PROVENANCE = "provenance.json"
PARTS = (
    "tables",
    "figures",
    "study.toml",
    "report.html",
    "report.docx",
    "report.pdf",
    "latex",
    "methods.md",
    "results.md",
    "checklist.csv",
    PROVENANCE,
)
"""What a finished run puts in place, the provenance last: where it stands, the rest belongs to it."""


def record_of(
    study: Study, started: dt.datetime, files: Sequence[FileRead], seconds: Mapping[str, float]
) -> dict[str, Any]:
    """Give what every provenance holds: versions, times, seed, hashes of the study, files read.

    Parameters
    ----------
    study
        As run.
    started
        When, in UTC.
    files
        What was read.
    seconds
        Wall time by step.
    """
    return {
        "package_version": __version__,
        "started": started.isoformat(timespec="seconds"),
        "finished": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "seed": study.seed,
        "simulated": study.simulated,
        "decisions_hash": study.decisions_hash,
        "study_hash": study.input_hash,
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "files": [{"path": f.path, "sha256": f.sha256, "n_rows": f.n_rows} for f in files],
    }


def about_of(study: Study, measure: str) -> About:
    """Give the head of a page about a study."""
    return About(
        study=study.name,
        version=__version__,
        made=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        description=study.description,
        measure=measure,
        seed=study.seed,
        simulated=study.simulated,
        interval=study.decisions.interval,
        alpha=study.decisions.alpha,
        false_discovery=study.decisions.false_discovery,
    )


class ResultsFolder:
    """Where a run writes: fits at once (each whole), everything else aside until all of it is there.

    Parameters
    ----------
    out
        The results folder; made if missing.
    """

    def __init__(self, out: Path) -> None:
        self.out = Path(out)
        self.staging = self.out / STAGING

    @contextmanager
    def opened(self, decisions: str, priors: Mapping[str, str], study: str) -> Iterator[None]:
        """Hold the folder for one command, with priors and decision rule on record before the first draw.

        Where the block does not come to its end, what was written aside is removed; finished fits stay.

        Parameters
        ----------
        decisions
            Hash of the region of practical equivalence, the decision rule and the prior overrides.
        priors
            Model -> hash of the priors in use. A model that the folder does not know yet is added.
        study
            Name of the study: a folder is one study's.

        Raises
        ------
        DataError
            The folder holds something else, another study's results, or results under another decision rule; or another
            command is writing there.
        """
        self.check(study)
        with held(self.out):
            self._open(decisions, priors, study)
            try:
                yield
            except BaseException:
                shutil.rmtree(self.staging, ignore_errors=True)
                raise

    def _open(self, decisions: str, priors: Mapping[str, str], study: str) -> None:
        known = self.check(study)
        before = known.get("priors", {})
        same = all(before.get(model, own) == own for model, own in priors.items())
        if known and (known.get("decisions_hash") != decisions or not same):
            other = known.get("package_version", __version__)
            version = (
                "" if other == __version__ else f"by bayes_her2 {other} (this is {__version__}), perhaps "
            )
            raise DataError(
                f"{self.out}: was begun {version}under other priors, region of practical equivalence or decision rule. "
                "These are fixed before the first draw: choose another folder for the changed study, or delete this."
            )
        now = {
            "study": study,
            "decisions_hash": decisions,
            "priors": {**before, **priors},
            "package_version": __version__,
        }
        if now != known:
            write_text(self.record, json.dumps(now, indent=2) + "\n")
        self.remove_half_written()
        shutil.rmtree(self.staging, ignore_errors=True)
        (self.staging / "tables").mkdir(parents=True)

    @property
    def record(self) -> Path:
        """File that says whose results the folder holds, and under which decisions."""
        return self.out / "decisions.json"

    def check(self, study: str) -> dict[str, Any]:
        """Return the record of an earlier run, or nothing of an empty or a new folder; write nothing.

        Parameters
        ----------
        study
            As in `open`.

        Raises
        ------
        DataError
            The folder is a file, holds something else, or another study's results.
        """
        if self.out.exists() and not self.out.is_dir():
            raise DataError(f"{self.out}: is a file. Give a folder for the results (--out).")
        known: dict[str, Any] = {}
        if self.record.exists():
            try:
                known = dict(json.loads(self.record.read_text(encoding="utf-8")))
            except (ValueError, TypeError) as error:
                raise DataError(
                    f"{self.record}: not the record of a run ({error}). Choose another folder (--out), or delete this."
                ) from error
        elif self.out.exists():
            others = [
                p.name
                for p in self.out.iterdir()
                if p.name not in (STAGING, LOCK, "posterior", "simulated")
                and not (
                    p / self.record.name
                ).exists()  # results of another command, in a folder of their own
            ]
            if others:
                raise DataError(
                    f"{self.out}: holds files that no run of this package wrote ({', '.join(sorted(others)[:3])}). "
                    "Choose an empty or a new folder."
                )
        if known.get("study", study) != study:
            raise DataError(
                f"{self.out}: holds the results of another study, {known['study']!r}, which those of {study!r} would "
                "overwrite. Choose another folder (--out), or delete this one."
            )
        return known

    def remove_half_written(self) -> None:
        """Remove what a process that was ended had begun to write."""
        for leftover in self.out.rglob(".*.part"):
            leftover.unlink(missing_ok=True)

    @property
    def posterior(self) -> Path:
        """Folder of the fits."""
        return self.out / "posterior"

    def table(self, name: str, table: pd.DataFrame, *, index: bool = False) -> None:
        """Write one table aside."""
        write_table(table, self.staging / "tables" / f"{name}.csv", index=index)

    def text(self, name: str, text: str) -> None:
        """Write one text file aside."""
        write_text(self.staging / name, text)

    def provenance(self, content: Mapping[str, Any]) -> None:
        """Write the provenance aside."""
        self.text(PROVENANCE, json.dumps(content, indent=2, default=str) + "\n")

    def put_in_place(self) -> None:
        """Move everything into the folder; what an earlier run left there is replaced."""
        move_in_place(self.staging, self.out, PARTS)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make a folder, and hold it so that no other command writes there at the same time.

    The system lets go of a folder whose process has ended, however it ended. On a file system without locks nothing is
    held.

    Raises
    ------
    DataError
        Another command holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Not by the mere existence of a file, which would outlive a process that is killed.
    lock = FileLock(folder / LOCK, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise DataError(
            f"{folder}: another command is writing its results there. Wait until it has ended, or choose another "
            "folder (--out)."
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    try:
        yield
    finally:
        if lock.is_locked:
            (folder / LOCK).unlink(missing_ok=True)
            lock.release()


def move_in_place(staging: Path, out: Path, parts: Sequence[str]) -> None:
    """Move what was written aside into a folder; what an earlier run left there is replaced.

    Parameters
    ----------
    staging
        Where it was written; removed.
    out
        Where it goes.
    parts
        Files and folders, the provenance last: where it stands, the rest belongs to it.
    """
    (out / PROVENANCE).unlink(missing_ok=True)
    for name in parts:
        source, target = staging / name, out / name
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
        if source.exists():
            source.replace(target)
    shutil.rmtree(staging, ignore_errors=True)
