"""Results of the full-size studies of `make test-slow`, kept in a file with date and versions."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pandas as pd

from bayes_her2.files import write_bytes
from bayes_her2.hashing import versions

FOLDER = Path(__file__).parent / "reference" / "studies"
KEY = ["study", "setting"]


def record(study: str, setting: str, *, fits: int, seed: str, value: float, expected: str) -> float:
    """Put one result in `FOLDER`/`study`.csv in place of the earlier one of the same setting, and return it.

    Parameters
    ----------
    study, setting
        What was studied, and under which conditions.
    fits
        Data sets fitted.
    seed
        Seed or seeds of the data sets.
    value
        The result.
    expected
        What it has to be, in words.
    """
    path = FOLDER / f"{study}.csv"
    row = pd.DataFrame(
        [
            {
                "study": study,
                "setting": setting,
                "fits": fits,
                "seed": seed,
                "value": round(value, 4),
                "expected": expected,
                "date": dt.datetime.now(dt.UTC).date().isoformat(),
                "versions": json.dumps(versions(), sort_keys=True),
            }
        ]
    )
    if path.exists():
        earlier = pd.read_csv(path, dtype={"seed": str})
        row = pd.concat([earlier[earlier["setting"] != setting], row])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, row.sort_values(KEY).to_csv(index=False, lineterminator="\n").encode())
    return value
