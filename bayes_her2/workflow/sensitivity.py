"""Sensitivity to priors: one study fitted again under each of the other priors that its model file lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bayes_her2.report.sensitivity_page import sensitivity_page
from bayes_her2.workflow.multiverse import MultiverseResult, View, study_in_universes
from bayes_her2.workflow.progress import Draws, Say, silent
from bayes_her2.workflow.universes import PRIOR_UNIVERSES

SENSITIVITY = View(
    "sensitivity",
    PRIOR_UNIVERSES,
    "sensitivity analysis",
    lambda rows, about, notices: sensitivity_page(rows, about, notices=notices),
    scales_priors=True,
)


def sensitivity_study(
    path: Path | str,
    out: Path | str,
    *,
    only: Sequence[str] = (),
    at_once: int = 1,
    say: Say = silent,
    draws: Draws | None = None,
    scheduler: str = "",
) -> MultiverseResult:
    """Fit a study's main model under other priors, and say which conclusions and verdicts rest on them.

    Parameters
    ----------
    path
        Study file.
    out
        Folder for the results, another than that of a run; finished fits found there are reused.
    only
        Names of other priors (``OTHER_PRIORS`` of the model file); none for all.
    at_once
        Fits at the same time.
    say, draws
        As in `run_study`.
    scheduler
        Address of a Dask scheduler whose workers do the fits; '' for this machine. They see the folder, and have one
        thread each.

    Returns
    -------
    MultiverseResult
        Its universes are priors; ``tables/power_scaling.csv`` is there as well, and the page is ``sensitivity.html``.

    Raises
    ------
    DataError
        Bad input: nothing is written.
    AnalysisRefusedError
        The main analysis did not pass its gates.
    """
    return study_in_universes(
        path, out, SENSITIVITY, only=only, at_once=at_once, say=say, draws=draws, scheduler=scheduler
    )
