"""Read a study and its files, apply the shared preprocessing, and stop before any model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bayes_her2.bayesian.model import MODELS, MODELS_OF_RESULTS
from bayes_her2.data import (
    AnalysisSet,
    CohortTable,
    EvidenceSet,
    Exclusion,
    FileRead,
    ResponseData,
    TumourData,
    exclusions_frame,
)
from bayes_her2.errors import DataError, Faults
from bayes_her2.evidence.questions import asked_of, evidence_with
from bayes_her2.evidence.response import seed_study_response
from bayes_her2.evidence.table import EvidenceTable
from bayes_her2.inputs import Study, read_cohorts, read_response, read_study
from bayes_her2.preprocessing import prepare

SYNTHESIS = "evidence_synthesis"
RESPONSE = "treatment_response"
MODEL = "abundance"
"""The main model: its analysis set is the one that flow and composition count."""


@dataclass(frozen=True)
class Prepared:
    """Cohorts, read and prepared.

    Attributes
    ----------
    cohorts
        As read.
    tumours
        Eligible tumours, before any model's own selection.
    data
        Analysis set of the main model.
    """

    cohorts: tuple[CohortTable, ...]
    tumours: TumourData
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
        return _counts_of(self.data.exclusions)

    @property
    def composition(self) -> pd.DataFrame:
        """Analysed tumours by cohort, HR stratum and IHC level."""
        tumours = self.data.tumours
        level = tumours["her2_ihc"].fillna("not recorded")
        counts = tumours.assign(her2_ihc=level).groupby(["cohort", "hr", "her2_ihc"]).size()
        return counts.rename("n").reset_index()


def _counts_of(exclusions: tuple[Exclusion, ...]) -> pd.DataFrame:
    counts = exclusions_frame(exclusions).groupby(["cohort", "step", "reason"], sort=False).size()
    return counts.rename("n").reset_index()


@dataclass(frozen=True)
class Checked:
    """A study whose files were read and prepared.

    Attributes
    ----------
    study
        Settings.
    prepared
        Its cohorts; None for a study of published results or responses alone.
    sets
        Analysis set of each model of the cohorts that will be fitted, in the order of the fits.
    left_out
        Model -> why these cohorts cannot support it. Only models that the study did not ask for by name.
    evidence
        Published results, where the study asks for what they say; None otherwise.
    published
        Questions to the published results, where the study asks for their synthesis.
    response
        Response to treatment: of the study's own patients, or the seed study's.
    """

    study: Study
    prepared: Prepared | None
    sets: Mapping[str, AnalysisSet]
    left_out: Mapping[str, str]
    evidence: EvidenceTable | None = None
    published: EvidenceSet | None = None
    response: ResponseData | None = None

    @property
    def files(self) -> tuple[FileRead, ...]:
        """Every file that was read."""
        cohorts = self.prepared.cohorts if self.prepared else ()
        return (
            *(f for cohort in cohorts for f in cohort.files),
            *(self.evidence.files if self.evidence else ()),
            *(self.response.files if self.response else ()),
        )

    @property
    def exclusion_counts(self) -> pd.DataFrame:
        """Exclusions of tumours, or where the study has no cohorts of patients, counted by reason."""
        if self.prepared is not None:
            return self.prepared.exclusion_counts
        return _counts_of(self.response.exclusions if self.response else ())


def check_study(path: Path | str, *, only: Sequence[str] = ()) -> Checked:
    """Validate a study file and everything it names.

    Parameters
    ----------
    path
        The study file.
    only
        Names of the models wanted; none for those of the study (``[model] fit``), or all that the cohorts support.

    Returns
    -------
    Checked
        With the analysis set of each model.

    Raises
    ------
    StudyError, DataError
        Every fault found, at once; among them a model that was asked for by name and that the cohorts cannot support.
    """
    known = (*MODELS, *MODELS_OF_RESULTS)
    unknown = sorted(set(only) - set(known))
    if unknown:
        raise DataError(f"no model is named {', '.join(unknown)}; known: {', '.join(known)}.")
    study = read_study(path)
    wanted = _published_wanted(study, only)
    table = study.published.evidence_table
    evidence = evidence_with(study.resolve(table) if table else None) if wanted else None
    response = None
    if RESPONSE in wanted:
        response = seed_study_response() if study.published.response else read_response(study)
    prepared, sets, left_out = _prepare(study, tuple(only) or study.model.fit or ())
    return Checked(
        study,
        prepared,
        sets,
        left_out,
        evidence,
        asked_of(evidence) if evidence is not None and SYNTHESIS in wanted else None,
        response,
    )


def _prepare(
    study: Study, asked: Sequence[str]
) -> tuple[Prepared | None, dict[str, AnalysisSet], dict[str, str]]:
    """Read and prepare the cohorts, and make the analysis set of each model that they support."""
    faults = Faults()
    if not study.cohorts:
        for name in (m for m in asked if m in MODELS):
            faults.add(name, "the study has no [[cohort]] to fit it to; add one, or do not ask for it")
        faults.raise_if_any()
        return None, {}, {}
    cohorts = read_cohorts(study)
    tumours = prepare(cohorts, study)
    data = tumours.for_model(MODEL)
    sets: dict[str, AnalysisSet] = {}
    left_out: dict[str, str] = {}
    for name in (m for m in MODELS if not asked or m in asked):
        try:
            sets[name] = data if name == MODEL else tumours.for_model(name)
        except DataError as error:
            if asked:
                faults.extend(error.faults)
            left_out[name] = " ".join(error.faults)
    faults.raise_if_any()
    return Prepared(tuple(cohorts), tumours, data), sets, left_out


def _published_wanted(study: Study, only: Sequence[str]) -> frozenset[str]:
    """Models of published results that the study asks for, and that `only` does not leave out."""
    asked = {
        SYNTHESIS: study.published.evidence,
        RESPONSE: study.published.response or study.response is not None,
    }
    settings = {
        SYNTHESIS: "[published] evidence = true",
        RESPONSE: "[published] response = true, or [response] for patients of your own",
    }
    faults = [
        f"{name}: the study does not ask for it; write {settings[name]}."
        for name in only
        if not asked.get(name, True)
    ]
    if faults:
        raise DataError(faults)
    return frozenset(name for name, yes in asked.items() if yes and (not only or name in only))
