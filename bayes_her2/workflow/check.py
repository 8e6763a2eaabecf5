"""Read a study and its files, apply the shared preprocessing, and stop before any model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bayes_her2.data import AnalysisSet, CohortTable, exclusions_frame
from bayes_her2.inputs import Study, read_cohorts, read_study
from bayes_her2.preprocessing import prepare

MODEL = "abundance"


@dataclass(frozen=True)
class Checked:
    """A study whose files were read and prepared.

    Attributes
    ----------
    study
        Settings.
    cohorts
        As read.
    data
        Analysis set of the main model.
    """

    study: Study
    cohorts: tuple[CohortTable, ...]
    data: AnalysisSet

    @property
    def flow(self) -> pd.DataFrame:
        """Tumours by cohort: ``read``, ``excluded``, ``analysed``.

        What was read includes samples that the reading rules leave out, such as normal tissue.
        """
        lost = pd.Series([e.cohort for e in self.data.exclusions], dtype="str").value_counts()
        analysed = self.data.tumours.groupby("cohort").size()
        names = pd.Index([c.name for c in self.cohorts], name="cohort")
        table = pd.DataFrame({"excluded": lost, "analysed": analysed}, index=names).fillna(0).astype(int)
        table["read"] = table["excluded"] + table["analysed"]
        return table.reset_index()[["cohort", "read", "excluded", "analysed"]]

    @property
    def exclusion_counts(self) -> pd.DataFrame:
        """Exclusions counted: ``cohort``, ``step``, ``reason``, ``n``, in the order in which they happened."""
        log = exclusions_frame(self.data.exclusions)
        counts = log.groupby(["cohort", "step", "reason"], sort=False).size()
        return counts.rename("n").reset_index()

    @property
    def composition(self) -> pd.DataFrame:
        """Analysed tumours by cohort, HR stratum and IHC level."""
        tumours = self.data.tumours
        level = tumours["her2_ihc"].fillna("not recorded")
        counts = tumours.assign(her2_ihc=level).groupby(["cohort", "hr", "her2_ihc"]).size()
        return counts.rename("n").reset_index()


def check_study(path: Path | str) -> Checked:
    """Validate a study file and everything it names.

    Parameters
    ----------
    path
        The study file.

    Returns
    -------
    Checked
        With the analysis set of the main model.

    Raises
    ------
    StudyError, DataError
        Every fault found, at once.
    """
    study = read_study(path)
    cohorts: Sequence[CohortTable] = read_cohorts(study)
    data = prepare(cohorts, study).for_model(MODEL)
    return Checked(study, tuple(cohorts), data)
