"""Time of every alternative likelihood, and of every structure, beside the main model's: the same simulated tumours.

    .venv/bin/python benchmarks/alternatives.py              # all, some 25 minutes, the machine otherwise idle
    .venv/bin/python benchmarks/alternatives.py NAME ...     # the main model and these; other rows stay

The tumours are those of the demo: 503, of three cohorts, 21 cell types; divided by their sum for models of shares; and
with amounts that go together in a tumour for the model with a factor, which has no single answer without one. Each
model is fitted in a process of its own that has nothing compiled, with the demo's settings of the main model. A fit
that does not pass the gate is tried again, longer: its first attempt (draws, estimands, diagnostics) is compared with
the main model's on the same tumours, and the whole is there too. The table is `benchmarks/alternatives.csv`.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from bayes_her2.bayesian.compilation import compiled
from bayes_her2.bayesian.fit import fit_model
from bayes_her2.bayesian.model import alternatives_to, load_model, unsuited
from bayes_her2.files import write_text
from bayes_her2.hashing import versions
from bayes_her2.preprocessing import prepare
from bayes_her2.preprocessing.zero_policies import shares
from bayes_her2.simulation import write_demo
from bayes_her2.workflow.analysis import Job
from bayes_her2.workflow.check import check_study

HERE = Path(__file__).parent
MAIN = "abundance"
SEED = 20251203
ABSOLUTE, RELATIVE, TOGETHER = "absolute", "relative", "absolute, cell types together"
"""Tumours: as simulated, divided by their sum, multiplied by a factor of each tumour that cell types share."""
LOADING = (0.3, 0.2)
"""Mean and SD over cell types of the factor's effect on a log amount."""
FACTOR = "abundance_factor"
TABLE = HERE / "alternatives.csv"


def job_of(name: str, tumours: str, folder: Path) -> Job:
    """Give a model the demo's tumours."""
    checked = check_study(write_demo(folder, SEED, published=True), only=(MAIN,))
    study, data = checked.study, checked.sets[MAIN]
    if tumours == TOGETHER:
        rng = np.random.default_rng(SEED)
        factor = np.outer(
            rng.normal(size=len(data.tumours)), rng.normal(*LOADING, size=data.abundance.shape[1])
        )
        data = data.with_abundance(data.abundance * np.exp(factor))
    if tumours != RELATIVE:
        return Job(name, data, study)
    study = study.model_copy(update={"abundance": study.abundance.model_copy(update={"scale": RELATIVE})})
    assert checked.prepared is not None
    cohorts = tuple(shares(cohort) for cohort in checked.prepared.cohorts)
    return Job(name, prepare(cohorts, study).for_model(MAIN), study)


def measure(name: str, tumours: str) -> dict[str, Any]:
    """Fit a model, in this process, and say what it took."""
    with TemporaryDirectory() as folder:
        job = job_of(name, tumours, Path(folder))
    began = perf_counter()
    ready = compiled(job.model.build(job.data, job.priors))
    compile_s = perf_counter() - began
    attempts = [perf_counter()]
    fit = fit_model(
        job.model,
        job.data,
        job.priors,
        job.sampling,
        progress=False,
        ready=lambda: ready,
        on_retry=lambda reasons: attempts.append(perf_counter()),
    )
    ess = float(fit.diagnostics.table["ess_bulk_min"].min())
    return {
        "model": name,
        "tumours": tumours,
        "compile_s": round(compile_s, 1),
        "fit_s": round(fit.seconds, 1),
        "first_attempt_s": round(attempts[1] - attempts[0] if fit.retried else fit.seconds, 1),
        "steps_of_a_draw": round(float(fit.draws["sample_stats"]["n_steps"].mean()), 1),
        "lowest_ess": round(ess),
        "ess_per_s": round(ess / (compile_s + fit.seconds), 1),
        "passed": fit.diagnostics.passed,
        "retried": fit.retried,
    }


def in_a_new_process(name: str, tumours: str) -> dict[str, Any]:
    """Measure a model where nothing is compiled."""
    with TemporaryDirectory() as empty:
        flags = os.environ | {"PYTENSOR_FLAGS": f"base_compiledir={empty}"}
        command = [sys.executable, __file__, "--one", name, tumours]
        made = subprocess.run(command, env=flags, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(made.stdout.splitlines()[-1])
    return found


def main(names: list[str]) -> None:
    """Measure models and write the table."""
    with TemporaryDirectory() as folder:
        data = job_of(MAIN, ABSOLUTE, Path(folder)).data
    tumours = {n: RELATIVE if unsuited(load_model(n), data) else ABSOLUTE for n in names if n != FACTOR}
    tumours |= {n: TOGETHER for n in names if n == FACTOR}
    rows = [in_a_new_process(MAIN, which) for which in sorted(set(tumours.values()))]
    main_s = {row["tumours"]: row["first_attempt_s"] for row in rows}
    for name, which in tumours.items():
        print(f"{name}, {which}", flush=True)
        rows.append(in_a_new_process(name, which))
    table = pd.DataFrame(rows)
    table.insert(5, "times_main", (table["first_attempt_s"] / table["tumours"].map(main_s)).round(2))
    table["date"] = dt.datetime.now(dt.UTC).date().isoformat()
    table["versions"] = json.dumps(versions(), sort_keys=True)
    if TABLE.exists():
        table = pd.concat([pd.read_csv(TABLE), table]).drop_duplicates(["model", "tumours"], keep="last")
    write_text(TABLE, table.to_csv(index=False, lineterminator="\n"))
    print(table.drop(columns="versions").to_string(index=False))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(*sys.argv[2:])))
    else:
        main(sys.argv[1:] or list(alternatives_to(MAIN)))
