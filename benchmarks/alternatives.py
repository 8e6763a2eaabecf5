"""Time of every alternative likelihood, and of every structure, beside the main model's: the same simulated tumours.

    .venv/bin/python benchmarks/alternatives.py              # all, some 15 minutes, the machine otherwise idle
    .venv/bin/python benchmarks/alternatives.py NAME ...     # the main model and these

The tumours are those of the demo: 503, of three cohorts, 21 cell types, and the same divided by their sum for models of
shares. Each model is fitted in a process of its own that has nothing compiled, with the demo's settings of the main
model. A model is compared with the main model on the same scale. The table is `benchmarks/alternatives.csv`.
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


def job_of(name: str, scale: str, folder: Path) -> Job:
    """Give a model the demo's tumours on a scale."""
    checked = check_study(write_demo(folder, SEED, published=True), only=(MAIN,))
    study = checked.study
    if scale == study.abundance.scale:
        return Job(name, checked.sets[MAIN], study)
    study = study.model_copy(update={"abundance": study.abundance.model_copy(update={"scale": scale})})
    assert checked.prepared is not None
    cohorts = tuple(shares(cohort) for cohort in checked.prepared.cohorts)
    return Job(name, prepare(cohorts, study).for_model(MAIN), study)


def measure(name: str, scale: str) -> dict[str, Any]:
    """Fit a model, in this process, and say what it took."""
    with TemporaryDirectory() as folder:
        job = job_of(name, scale, Path(folder))
    began = perf_counter()
    ready = compiled(job.model.build(job.data, job.priors))
    compile_s = perf_counter() - began
    fit = fit_model(job.model, job.data, job.priors, job.sampling, progress=False, ready=lambda: ready)
    ess = float(fit.diagnostics.table["ess_bulk_min"].min())
    return {
        "model": name,
        "scale": scale,
        "compile_s": round(compile_s, 1),
        "fit_s": round(fit.seconds, 1),
        "steps_of_a_draw": round(float(fit.draws["sample_stats"]["n_steps"].mean()), 1),
        "lowest_ess": round(ess),
        "ess_per_s": round(ess / (compile_s + fit.seconds), 1),
        "passed": fit.diagnostics.passed,
        "retried": fit.retried,
    }


def in_a_new_process(name: str, scale: str) -> dict[str, Any]:
    """Measure a model where nothing is compiled."""
    with TemporaryDirectory() as empty:
        flags = os.environ | {"PYTENSOR_FLAGS": f"base_compiledir={empty}"}
        command = [sys.executable, __file__, "--one", name, scale]
        made = subprocess.run(command, env=flags, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(made.stdout.splitlines()[-1])
    return found


def main(names: list[str]) -> None:
    """Measure models and write the table."""
    with TemporaryDirectory() as folder:
        data = job_of(MAIN, "absolute", Path(folder)).data
    scales = {n: "relative" if unsuited(load_model(n), data) else "absolute" for n in names}
    rows = [in_a_new_process(MAIN, scale) for scale in sorted(set(scales.values()) | {"absolute"})]
    main_s = {row["scale"]: row["fit_s"] for row in rows}
    for name, scale in scales.items():
        print(f"{name}, {scale}", flush=True)
        rows.append(in_a_new_process(name, scale))
    table = pd.DataFrame(rows)
    table.insert(5, "times_main", (table["fit_s"] / table["scale"].map(main_s)).round(2))
    table["date"] = dt.datetime.now(dt.UTC).date().isoformat()
    table["versions"] = json.dumps(versions(), sort_keys=True)
    write_text(HERE / "alternatives.csv", table.to_csv(index=False, lineterminator="\n"))
    print(table.drop(columns="versions").to_string(index=False))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(*sys.argv[2:])))
    else:
        main(sys.argv[1:] or list(alternatives_to(MAIN)))
