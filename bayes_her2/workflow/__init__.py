"""Jobs that call the other rooms: check a study, run it, resume it, show the demo."""

from __future__ import annotations

from bayes_her2.workflow.check import Checked, check_study
from bayes_her2.workflow.progress import Bars
from bayes_her2.workflow.run import RunResult, run_demo, run_study

__all__ = ["Bars", "Checked", "RunResult", "check_study", "run_demo", "run_study"]
