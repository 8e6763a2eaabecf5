"""Response to treatment from a user's file: counts by group, or one row for each patient.

Counts are read as they stand: nothing is added to a zero cell, and a percentage is no count. Patients whose response
is not known are counted, never guessed; the tipping-point analysis is about them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from bayes_her2.data import HER2_LEVELS, HER2_LOW, STRATA, UNKNOWN, Exclusion, FileRead, ResponseData
from bayes_her2.errors import Faults, name_some
from bayes_her2.inputs.fields import (
    MISSING_WORDS,
    counted,
    explain_not_numbers,
    number_or_none,
    numbers,
    present_mask,
    suggestion,
    whole_label,
    with_counts,
)
from bayes_her2.inputs.study import FieldColumn, Study
from bayes_her2.inputs.tables import Table, read_table

MIN_PATIENTS = 10
"""Patients of a HER2 level, over all HR strata and arms, without whom an outcome is refused."""

NEEDED = ("outcome", "hr", "her2", "n", "events")
OPTIONAL = ("arm", "n_not_evaluable", "study", "doi", "source", "note")
_HR = (*STRATA, "all")
_HER2_WORDS = {
    "her2-low": "HER2-low", "her2 low": "HER2-low", "her2low": "HER2-low", "low": "HER2-low",
    "her2-0": "HER2-0", "her2=0": "HER2-0", "her2 0": "HER2-0", "her2-zero": "HER2-0", "0": "HER2-0", "zero": "HER2-0",
    "unknown": UNKNOWN,
}  # fmt: skip


@dataclass(frozen=True)
class PatientColumns:
    """Which column of a table of patients is what, and what its values mean.

    Attributes
    ----------
    patient
        Column with the patient's id, unique.
    responses
        Outcome -> column with 1 (response) or 0; a missing cell is a response that could not be evaluated.
    her2
        Column with the HER2 level.
    her2_values
        Word -> 'HER2-low' or 'HER2-0'; '' for words that are left out (HER2-positive). Read without regard to case.
    hr
        Column with hormone receptor status; '' where it is not told apart.
    hr_values
        Word -> 'HR+' or 'HR-'; '' for words that mean that it is not known.
    arm
        Column with treatment arm or centre; '' where there is one.
    covariates
        Name -> column, numeric; patients without a value are left out and counted.
    """

    patient: str
    responses: Mapping[str, str]
    her2: str
    her2_values: Mapping[str, str]
    hr: str = ""
    hr_values: Mapping[str, str] = field(default_factory=lambda: {"HR+": "HR+", "HR-": "HR-"})
    arm: str = ""
    covariates: Mapping[str, str] = field(default_factory=dict)


def read_response_counts(
    path: Path | str,
    *,
    name: str = "",
    control: str = "",
    arms_are: Literal["arm", "centre"] = "arm",
    citation: str = "",
    shown_as: str | None = None,
) -> ResponseData:
    """Read patients and responders by HER2 level, and by HR stratum and arm where they are given.

    Parameters
    ----------
    path
        A .csv, .tsv, .xlsx or .parquet file with the columns ``outcome``, ``hr`` (HR+, HR- or all), ``her2`` (HER2-low,
        HER2-0; unknown for patients who could not be evaluated and whose level is not published), ``n``, ``events``,
        and, if there are any, ``arm``, ``n_not_evaluable``, ``study``, ``doi``, ``source``, ``note``.
    name
        Which patients, in words; default the study of the file.
    control
        The control arm, where the question is what the other arm adds.
    arms_are
        Whether ``arm`` is a treatment arm or a centre.
    citation
        Where the counts were published; default the DOIs of the file.
    shown_as
        How messages name the file; default its path.

    Raises
    ------
    DataError
        Every fault of the file at once.
    """
    table = read_table(Path(path), shown_as=shown_as)
    where = Path(table.source.path).name
    faults = Faults()
    for column in table.columns:
        if column not in (*NEEDED, *OPTIONAL):
            faults.add(
                where,
                f"a table of responses has no place for a column {column!r}"
                f"{suggestion(column, (*NEEDED, *OPTIONAL))}; it takes patients and responders as counts: "
                f"{', '.join((*NEEDED, *OPTIONAL))}",
            )
    absent = [column for column in NEEDED if column not in table.columns]
    if absent:
        hint = (
            ""
            if len(absent) < len(NEEDED) - 1
            else ". A file of one row for each patient needs [response.patients]"
        )
        faults.add(
            where,
            f"needed and absent: {', '.join(map(repr, absent))}; a table of responses needs {', '.join(NEEDED)}{hint}",
        )
    faults.raise_if_any()
    records = _records(table, where, faults)
    _check_across(records, where, faults)
    faults.raise_if_any()
    studies, dois = (
        list(dict.fromkeys(w for w in table.frame.get(c, pd.Series(dtype="str")) if w))
        for c in ("study", "doi")
    )
    return _assembled(
        pd.DataFrame(records),
        where=where,
        name=name or " + ".join(studies) or Path(where).stem,
        citation=citation or "; ".join(f"doi {doi}" for doi in dois),
        control=control,
        arms_are=arms_are,
        files=(table.source,),
    )


def _records(table: Table, where: str, faults: Faults) -> list[dict[str, object]]:
    """Typed rows of a table of counts; every fault with its row."""
    records: list[dict[str, object]] = []
    for number, cells in enumerate(table.frame.to_dict("records"), start=1):
        place = f"{where}, row {number}"
        word = {str(k): str(v).strip() for k, v in cells.items()}
        hr, level = word["hr"], _HER2_WORDS.get(word["her2"].casefold(), "")
        if not word["outcome"]:
            faults.add(f"{place}, outcome", "is empty; name the response ('pathological complete response')")
        if hr not in _HR:
            faults.add(f"{place}, hr", f"{hr!r} is not one of {', '.join(_HR)}{suggestion(hr, _HR)}")
        if not level:
            known = f"{' or '.join(HER2_LEVELS)} (unknown for patients without a level who could not be evaluated)"
            faults.add(f"{place}, her2", f"unknown HER2 level {word['her2']!r}; write {known}")
        n, events = (_count(word[c], f"{place}, {c}", faults) for c in ("n", "events"))
        without = word.get("n_not_evaluable", "")
        missing = (
            0 if without.casefold() in MISSING_WORDS else _count(without, f"{place}, n_not_evaluable", faults)
        )
        if n is not None and events is not None and events > n:
            faults.add(
                f"{place}, events",
                f"{events} responders among {n} patients; is it a percentage? Give the count",
            )
        if level == UNKNOWN and n:
            faults.add(
                f"{place}, her2",
                f"{counted(n, 'patient', 'patients')} evaluated without a HER2 level; leave them out, or find it",
            )
        records.append(
            {"outcome": word["outcome"], "hr": hr, "her2": level, "arm": word.get("arm", "") or "all", "n": n or 0,
             "events": events or 0, "n_not_evaluable": missing or 0, "place": place}
        )  # fmt: skip
    return records


def _count(word: str, place: str, faults: Faults) -> int | None:
    value = number_or_none(word)
    if value is None:
        percent = number_or_none(word.rstrip("% ")) is not None
        what = "is a percentage" if percent else "is empty" if not word else f"{word!r} is not a number"
        faults.add(place, f"{what}; give the count of patients")
        return None
    if value != int(value) or value < 0:
        faults.add(
            place, f"{word} is not a count; give the whole number of patients, not a percentage or a mean"
        )
        return None
    return int(value)


def _check_across(records: Sequence[Mapping[str, object]], where: str, faults: Faults) -> None:
    """Rows against each other: groups given twice, HR strata beside their sum."""
    seen: dict[tuple[object, ...], object] = {}
    strata: dict[object, set[object]] = {}
    for row in records:
        key = tuple(row[c] for c in ("outcome", "hr", "her2", "arm"))
        if key in seen:
            faults.add(
                str(row["place"]), f"the same group as {seen[key]}; add the two up, or name the arms apart"
            )
        seen.setdefault(key, row["place"])
        strata.setdefault(row["outcome"], set()).add(row["hr"])
    for outcome, hr in strata.items():
        if "all" in hr and len(hr) > 1:
            faults.add(
                where,
                f"{outcome}: rows of 'all' patients beside {', '.join(sorted(str(h) for h in hr - {'all'}))}; patients "
                "would count twice. Keep one or the other",
            )


def read_response_patients(
    path: Path | str,
    columns: PatientColumns,
    *,
    name: str,
    arms: Sequence[str] = (),
    control: str = "",
    arms_are: Literal["arm", "centre"] = "arm",
    citation: str = "",
    shown_as: str | None = None,
) -> ResponseData:
    """Read one row for each patient.

    Parameters
    ----------
    path
        A .csv, .tsv, .xlsx or .parquet file, one row for each patient.
    columns
        Which column is what.
    name
        Which patients, in words ('I-SPY2').
    arms
        Arms to keep; default all.
    control
        The control arm, where the question is what the other arm adds.
    arms_are
        Whether ``arm`` is a treatment arm or a centre.
    citation
        Where the data come from.
    shown_as
        How messages name the file; default its path.

    Returns
    -------
    ResponseData
        Patients who are alike are counted together, or one row for each patient where there are covariates.

    Raises
    ------
    DataError
        Every fault of the file at once.
    """
    table = read_table(Path(path), shown_as=shown_as)
    where = Path(table.source.path).name
    faults, left_out = Faults(), list[Exclusion]()
    wanted = [columns.patient, columns.her2, columns.hr, columns.arm, *columns.responses.values()]
    for column in filter(None, [*wanted, *columns.covariates.values()]):
        if column not in table.columns:
            faults.add(
                where,
                f"no column {column!r}, which [response.patients] names{suggestion(column, table.columns)}; columns: "
                f"{', '.join(map(str, table.columns))}",
            )
    meanings = {
        "her2_values": (columns.her2_values, (*HER2_LEVELS, "")),
        "hr_values": (columns.hr_values, (*STRATA, "")),
    }
    for setting, (given, allowed) in meanings.items():
        for word in sorted(set(given.values()) - set(allowed)):
            faults.add(setting, f"{word!r} is not one of {', '.join(map(repr, allowed))}")
    faults.raise_if_any()
    without = int((~present_mask(table.frame[columns.patient])).sum())
    if without:
        faults.add(
            f"{where}, {columns.patient}",
            f"{counted(without, 'row has', 'rows have')} no id; give every patient one",
        )
        faults.raise_if_any()
    frame = table.frame.set_index(columns.patient)
    twice = list(frame.index[frame.index.duplicated()].unique())
    if twice:
        faults.add(
            f"{where}, {columns.patient}",
            f"{counted(len(twice), 'patient occurs', 'patients occur')} more than once: {name_some(twice)}; keep one "
            "row for each",
        )
        faults.raise_if_any()

    def leave_out(keep: pd.Series[bool], reason: str) -> None:
        nonlocal frame
        keep = keep.astype(bool)  # of no patients it is of no type
        left_out.extend(
            Exclusion(name, str(p), "analysis set: treatment_response", reason) for p in frame.index[~keep]
        )
        frame = frame[keep]

    if columns.arm:
        leave_out(present_mask(frame[columns.arm]), f"{arms_are} not recorded")
    if columns.arm and arms:
        absent = [arm for arm in arms if arm not in set(frame[columns.arm])]
        if absent:
            known = name_some(sorted(set(frame[columns.arm])), 20)
            faults.add(f"{where}, {columns.arm}", f"no patient in {', '.join(absent)}; arms: {known}")
            faults.raise_if_any()
        leave_out(frame[columns.arm].isin(arms), "another arm")
    leave_out(present_mask(frame[columns.her2]), "HER2 level not recorded")
    level = _meaning(frame[columns.her2], columns.her2_values, f"{where}, {columns.her2}", faults)
    leave_out(level != "", "HER2 level not compared")
    if columns.hr:
        leave_out(present_mask(frame[columns.hr]), "hormone receptor status not recorded")
        hr = _meaning(frame[columns.hr], columns.hr_values, f"{where}, {columns.hr}", faults)
        leave_out(hr != "", "hormone receptor status not recorded")
    values = pd.DataFrame(index=frame.index)
    for covariate, column in columns.covariates.items():
        leave_out(present_mask(frame[column]), f"{covariate} not recorded")
        values = values.loc[frame.index]
        values[covariate], refused = numbers(frame[column])
        if len(refused):
            faults.add(f"{where}, {column}", explain_not_numbers(refused))
    for outcome, column in columns.responses.items():
        answers = frame.loc[present_mask(frame[column]), column]
        wrong = answers[~answers.map(whole_label).isin(["0", "1"])]
        if len(wrong):
            faults.add(f"{where}, {column}", f"{outcome}: {with_counts(wrong)}; write 1, 0 or nothing")
    faults.raise_if_any()
    scaling = _scaling(values, faults, where)
    faults.raise_if_any()
    groups = pd.DataFrame({"her2": level, "hr": hr if columns.hr else "all"}).loc[frame.index]
    long = _long(frame.join(groups.add_prefix("read_")), values, scaling, columns)
    return _assembled(
        long, where=where, name=name, citation=citation, control=control, arms_are=arms_are, scaling=scaling,
        exclusions=tuple(left_out), files=(table.source,),
    )  # fmt: skip


def _meaning(cells: pd.Series[str], values: Mapping[str, str], where: str, faults: Faults) -> pd.Series[str]:
    """Words of a column as what they mean; a word without a meaning is a fault."""
    known = {whole_label(word).casefold(): meaning for word, meaning in values.items()}
    found = cells.map(lambda word: known.get(whole_label(word).casefold(), UNKNOWN)).astype("str")
    unknown = cells[found == UNKNOWN]
    if len(unknown):
        faults.add(
            where,
            f"{counted(unknown.nunique(), 'value is', 'values are')} not understood: {with_counts(unknown)}. The study "
            f"gives a meaning to {', '.join(values)}; give one to each value, or list it in `missing`, which leaves "
            "its patients out",
        )
    return found


def _scaling(values: pd.DataFrame, faults: Faults, where: str) -> pd.DataFrame:
    scaling = pd.DataFrame({"mean": values.mean(), "sd": values.std(ddof=1)}).rename_axis("covariate")
    for covariate in scaling.index[~(scaling["sd"] > 0)]:
        faults.add(where, f"covariate {covariate!r} has one value in all patients; leave it out")
    return scaling


def _long(
    frame: pd.DataFrame, values: pd.DataFrame, scaling: pd.DataFrame, columns: PatientColumns
) -> pd.DataFrame:
    """One row for each outcome and patient, with its covariates scaled."""
    parts = []
    for outcome, column in columns.responses.items():
        answer = frame[column].map(number_or_none).astype(float)
        known = answer.notna()
        part = pd.DataFrame(
            {
                "outcome": outcome,
                "hr": frame["read_hr"],
                "her2": frame["read_her2"],
                "arm": frame[columns.arm] if columns.arm else "all",
                "n": known.astype(int),
                "events": answer.fillna(0).astype(int),
                "n_not_evaluable": (~known).astype(int),
            }
        )
        parts.append(part.join((values - scaling["mean"]) / scaling["sd"]) if len(scaling) else part)
    return pd.concat(parts, keys=list(columns.responses), names=["of", "patient"])


def _assembled(
    table: pd.DataFrame,
    *,
    where: str,
    name: str,
    citation: str,
    control: str,
    arms_are: Literal["arm", "centre"],
    scaling: pd.DataFrame | None = None,
    exclusions: tuple[Exclusion, ...] = (),
    files: tuple[FileRead, ...] = (),
) -> ResponseData:
    """Check what is compared, count patients who are alike, and label the rows."""
    keys = ["outcome", "hr", "her2", "arm"]
    missing = table.groupby(["outcome", "hr", "her2"])["n_not_evaluable"].sum().rename("n").reset_index()
    missing = missing[missing["n"] > 0].reset_index(drop=True)
    evaluated = table[table["n"] > 0]
    faults = Faults()
    for outcome in sorted(set(table["outcome"])):
        own = evaluated[evaluated["outcome"] == outcome].groupby("her2")["n"].sum()
        sizes = {level: int(own.get(level, 0)) for level in HER2_LEVELS}
        for level, n in sizes.items():
            other = HER2_LEVELS[level == HER2_LOW]
            if n == 0:
                faults.add(
                    where, f"{outcome}: no patient is {level}, so {other} has nothing to be compared with"
                )
            elif n < MIN_PATIENTS:
                faults.add(
                    where,
                    f"{outcome}: {counted(n, 'patient', 'patients')} with {level}, fewer than {MIN_PATIENTS}; the "
                    "answer would be the prior's. Add patients, or tabulate them",
                )
    if evaluated.empty:
        faults.add(where, "no patient was evaluated (every n is 0)")
    faults.raise_if_any()
    rows = evaluated[[*keys, "n", "events"]]
    if scaling is None or scaling.empty:
        rows = rows.groupby(keys, as_index=False)[["n", "events"]].sum()
        labels = [" | ".join(label) for label in rows[keys].itertuples(index=False, name=None)]
        covariates = pd.DataFrame(index=pd.Index(labels, name="row", dtype="str"))
    else:
        labels = [f"{outcome} | {patient}" for outcome, patient in evaluated.index]
        covariates = evaluated[list(scaling.index)].set_axis(pd.Index(labels, name="row", dtype="str"))
    rows = rows.set_axis(pd.Index(labels, name="row", dtype="str"))
    rows = rows.astype({**dict.fromkeys(keys, "str"), "n": "int64", "events": "int64"})
    data = ResponseData(
        name=name,
        rows=rows.sort_index(),
        not_evaluable=missing,
        covariates=covariates.sort_index(),
        covariate_scaling=pd.DataFrame() if scaling is None else scaling,
        arms_are=arms_are,
        control=control,
        citation=citation,
        exclusions=exclusions,
        files=files,
    )
    return _with_notices(data)


def _with_notices(data: ResponseData) -> ResponseData:
    found = []
    for outcome, hr, arm, level, n, events in data.counts[
        ["outcome", "hr", "arm", "her2", "n", "events"]
    ].itertuples(index=False, name=None):
        if events in (0, n):
            place = ", ".join(text for text in (hr, arm) if text != "all")
            found.append(
                f"{outcome}{f', {place}' if place else ''}: {'no' if events == 0 else 'every'} patient of {n} "
                f"with {level} responded; the binomial likelihood takes it as it is, and nothing is added to it"
            )
    for outcome in data.outcomes:
        missing = data.not_evaluable[data.not_evaluable["outcome"] == outcome]
        n_missing, n = int(missing["n"].sum()), int(data.rows.loc[data.rows["outcome"] == outcome, "n"].sum())
        if n_missing:
            unknown = int(missing.loc[missing["her2"] == UNKNOWN, "n"].sum())
            how = f"; the HER2 level of {unknown} of them is not published" if unknown else ""
            found.append(f"{outcome}: {n_missing} of {n + n_missing} patients could not be evaluated{how}")
    return replace(data, notices=tuple(found))


def read_response(study: Study) -> ResponseData | None:
    """Read the responses that a study names under ``[response]``; None if it names none.

    Raises
    ------
    DataError
        Every fault of the file at once.
    """
    asked = study.response
    if asked is None:
        return None
    path = study.resolve(asked.file)
    if asked.patients is None:
        return read_response_counts(
            path,
            name=asked.name,
            control=asked.control or "",
            arms_are=asked.arms_are,
            citation=asked.citation,
            shown_as=asked.file,
        )
    of = asked.patients
    columns = PatientColumns(
        patient=of.patient,
        responses=of.outcomes,
        her2=of.her2.column,
        her2_values=_with_missing(of.her2),
        hr=of.hr.column if of.hr else "",
        hr_values=_with_missing(of.hr) if of.hr else {},
        arm=of.arm or "",
        covariates=of.covariates,
    )
    return read_response_patients(
        path,
        columns,
        name=asked.name,
        arms=asked.arms or (),
        control=asked.control or "",
        arms_are=asked.arms_are,
        citation=asked.citation,
        shown_as=asked.file,
    )


def _with_missing(column: FieldColumn) -> dict[str, str]:
    """Words of a field with their meanings; words to be left out mean nothing."""
    return {word: str(value) for word, value in (column.values or {}).items()} | dict.fromkeys(
        column.missing, ""
    )
