"""A results folder: written aside, then put in place, so that a reader never sees half of it."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from bayes_her2 import __version__
from bayes_her2.data import FileRead
from bayes_her2.errors import DataError
from bayes_her2.estimates import write_table
from bayes_her2.files import write_text
from bayes_her2.hashing import versions
from bayes_her2.inputs import Study
from bayes_her2.report.standalone import About

STAGING = ".unfinished"
PROVENANCE = "provenance.json"
PARTS = ("tables", "figures", "study.toml", "report.html", PROVENANCE)
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

    def open(self, decisions: str, priors: Mapping[str, str], study: str) -> None:
        """Prepare the folder, and record priors and decision rule before the first draw.

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
            The folder holds something else, another study's results, or results under another decision rule.
        """
        known = self.check(study)
        self.out.mkdir(parents=True, exist_ok=True)
        before = known.get("priors", {})
        same = all(before.get(model, own) == own for model, own in priors.items())
        if known and (known.get("decisions_hash") != decisions or not same):
            raise DataError(
                f"{self.out}: was begun under other priors, region of practical equivalence or decision rule. "
                "These are fixed before the first draw: choose another folder for the changed study, or delete this."
            )
        now = {"study": study, "decisions_hash": decisions, "priors": {**before, **priors}}
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
            known = json.loads(self.record.read_text(encoding="utf-8"))
        elif self.out.exists():
            others = [p.name for p in self.out.iterdir() if p.name not in (STAGING, "posterior", "simulated")]
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

    def abandon(self) -> None:
        """Remove what was written aside; finished fits stay."""
        shutil.rmtree(self.staging, ignore_errors=True)

    @contextmanager
    def whole_or_nothing(self) -> Iterator[None]:
        """Remove what was written aside where the block does not come to its end."""
        try:
            yield
        except BaseException:
            self.abandon()
            raise

    def put_in_place(self) -> None:
        """Move everything into the folder; what an earlier run left there is replaced."""
        move_in_place(self.staging, self.out, PARTS)


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
