"""Published results as one typed, tidy table: the shipped one, and anybody's in the same columns.

A table exists only when every row has passed every check; all faults of a file are reported at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path

import pandas as pd

from bayes_her2.data import FileRead, fingerprint
from bayes_her2.errors import DataError, Faults, name_some
from bayes_her2.evidence.schema import (
    COLUMN,
    COLUMNS,
    DOI,
    MEASURES_OF,
    P_VALUE,
    PMID,
    RATIOS,
)
from bayes_her2.inputs.fields import MISSING_WORDS, number_or_none, suggestion
from bayes_her2.inputs.tables import Table, read_table

SHIPPED = ("her2_low_versus_her2_zero.csv", "immune_infiltrate.csv", "single_arm.csv", "treatment.csv")
"""Shipped files, in ``bayes_her2/evidence/published``."""

_COUNTS = ("n", "n_exposed", "events_exposed", "n_reference", "events_reference")
_INTERVAL = ("ci_low", "ci_high", "ci_level")
_DIFFERENCES = ("mean difference", "median difference")
_SAME_RESULT = [
    "study", "setting", "population", "hr_stratum", "exposure", "reference", "outcome", "definition", "design",
    "measure", "adjustment", "adjusted_for", "part",
]  # fmt: skip
_DTYPES = {"text": "str", "number": "float64", "whole number": "Int64", "yes or no": "bool"}
_GROUPS = ("exposure", "reference")
_JOINTS = re.compile(r"[\s_\-‐‑–−]+(?=\w)")
_YES = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(frozen=True)
class EvidenceTable:
    """Published results, one row each, checked.

    Attributes
    ----------
    frame
        Columns as in `schema.COLUMNS`, index ``row_id`` (also a column). Absent text is '', absent numbers are NA.
    notices
        Remarks on rows that are allowed and deserve attention (zero cells, counts derived from percentages).
    files
        Files that were read.
    """

    frame: pd.DataFrame
    notices: tuple[str, ...] = ()
    files: tuple[FileRead, ...] = ()

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.frame)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all rows, independent of their order."""
        return fingerprint(self.frame)

    def rows(self, **wanted: str | bool) -> pd.DataFrame:
        """Rows whose columns have these values: ``table.rows(outcome="overall survival", pooled=True)``."""
        unknown = [name for name in wanted if name not in COLUMN]
        if unknown:
            known = ", ".join(COLUMN)
            raise DataError(
                f"evidence table: no column {name_some([repr(u) for u in unknown])}; columns: {known}"
            )
        keep = pd.Series(True, index=self.frame.index)
        for name, value in wanted.items():
            keep &= self.frame[name] == value
        return self.frame[keep]

    def joined(self, other: EvidenceTable) -> EvidenceTable:
        """Both tables as one, checked again: a study of one may be in the other."""
        faults = Faults()
        frame = pd.concat([self.frame, other.frame])
        _check_across(
            list(frame.to_dict("records")), dict.fromkeys(range(len(frame)), ""), "joined tables", faults
        )
        faults.raise_if_any()
        return EvidenceTable(frame, (*self.notices, *other.notices), (*self.files, *other.files))


def shipped_evidence() -> EvidenceTable:
    """Read the published results that come with the package."""
    folder = files("bayes_her2.evidence") / "published"
    tables = []
    for name in SHIPPED:
        with as_file(folder / name) as path:
            tables.append(read_table(path, shown_as=name))
    return evidence_table(tables)


def read_evidence(path: Path | str) -> EvidenceTable:
    """Read an evidence table of the user's: the same columns, the same checks.

    Parameters
    ----------
    path
        A .csv, .tsv, .xlsx or .parquet file with the columns of `schema.COLUMNS`; those that are not needed may be
        absent. One row for each result. A group of the shipped results is called as it is there.

    Returns
    -------
    EvidenceTable
        `EvidenceTable.joined` puts it together with the shipped one.

    Raises
    ------
    DataError
        Every fault of the file at once, with row, column and what to do.
    """
    return evidence_table([read_table(Path(path))], _groups(shipped_evidence().frame))


def evidence_table(tables: Iterable[Table], known_groups: Iterable[str] = ()) -> EvidenceTable:
    """Check tables of text, row by row and across rows, and give them their types.

    Parameters
    ----------
    tables
        Cells as text.
    known_groups
        Exposures and references of other tables; the same groups have to be called the same here.

    Raises
    ------
    DataError
        Every fault at once.
    """
    faults = Faults()
    notices: list[str] = []
    records: list[dict[Hashable, object]] = []
    places: dict[int, str] = {}
    files_read: list[FileRead] = []
    for table in tables:
        files_read.append(table.source)
        where = Path(table.source.path).name
        _check_header(table, where, faults)
        for number, cells in enumerate(table.frame.to_dict("records"), start=1):
            name = str(cells.get("row_id", "")).strip()
            place = f"{where}, row {number}" + (f" ({name})" if name else "")
            record = _typed({str(k): str(v) for k, v in cells.items()}, place, faults)
            _check_row(record, place, faults, notices)
            places[len(records)] = place
            records.append(record)
    _check_across(records, places, "evidence table", faults)
    _check_groups(records, places, known_groups, faults)
    faults.raise_if_any()
    frame = pd.DataFrame(records, columns=[column.name for column in COLUMNS])
    frame = frame.astype({column.name: _DTYPES[column.kind] for column in COLUMNS})
    return EvidenceTable(
        frame.set_index("row_id", drop=False).rename_axis("row"), tuple(notices), tuple(files_read)
    )


def _groups(frame: pd.DataFrame) -> list[str]:
    """Every exposure and reference of a table, once."""
    return [str(name) for name in dict.fromkeys(frame[list(_GROUPS)].to_numpy().ravel()) if name]


def _check_groups(
    records: list[dict[Hashable, object]],
    places: Mapping[int, str],
    known: Iterable[str],
    faults: Faults,
) -> None:
    """One group under two spellings would be two contrasts, which are never pooled."""
    spelt = {_joined(name): name for name in known}
    for i, record in enumerate(records):
        for column in _GROUPS:
            name = str(record[column])
            usual = spelt.setdefault(_joined(name), name)
            if usual != name:
                faults.add(
                    f"{places[i]}, {column}",
                    f"{name!r} differs from {usual!r} only in case, hyphens or spaces, and would be another group;"
                    f" did you mean {usual!r}?",
                )


def _joined(name: str) -> str:
    """Name without case, and without hyphens and spaces before a letter or digit (HR- keeps its sign)."""
    return _JOINTS.sub("", name.casefold())


def _check_header(table: Table, where: str, faults: Faults) -> None:
    """Unknown columns, and needed ones that are absent."""
    for name in table.columns:
        if name not in COLUMN:
            faults.add(where, f"no column {name!r} in an evidence table{suggestion(name, COLUMN)}")
    absent = [column.name for column in COLUMNS if column.required and column.name not in table.columns]
    if absent:
        faults.add(where, f"needed and absent: {name_some([repr(a) for a in absent], 40)}; add the columns")


def _typed(cells: Mapping[str, str], place: str, faults: Faults) -> dict[Hashable, object]:
    """One row with its types; what cannot be read is a fault and becomes missing."""
    record: dict[Hashable, object] = {}
    for column in COLUMNS:
        word = cells.get(column.name, "").strip()
        word = "" if word.casefold() in MISSING_WORDS else word or column.default
        word = word or column.default
        at = f"{place}, {column.name}"
        if not word and column.required and column.name in cells:
            faults.add(at, f"is needed{_hint(column.name)}")
        if column.kind == "text":
            if word and column.allowed and word not in column.allowed:
                allowed = ", ".join(repr(value) for value in column.allowed)
                faults.add(at, f"{word!r} is not one of {allowed}{suggestion(word, column.allowed)}")
            record[column.name] = word
        elif column.kind == "yes or no":
            if word.casefold() not in _YES:
                faults.add(at, f"{word!r}: write yes or no")
            record[column.name] = _YES.get(word.casefold(), False)
        else:
            record[column.name] = _number(word, at, faults, whole=column.kind == "whole number")
    return record


def _hint(name: str) -> str:
    hints = {
        "overlap_group": ": studies that share patients share a name; write the study's own where it shares none",
        "verified": ": 'source text' if you checked the number in the study itself, else 'second-hand'",
        "source": ": where the number stands (abstract, Table 2, a review that cites it)",
    }
    return hints.get(name, "; no cell may be empty")


def _number(word: str, at: str, faults: Faults, *, whole: bool) -> float | int | None:
    if not word:
        return None if whole else math.nan
    value = number_or_none(word)
    if value is None:
        percent = number_or_none(word.rstrip("% ")) is not None
        what = "a percentage" if percent else "not a number"
        cure = (
            "give the count of patients"
            if whole
            else "give it as a proportion (0.163)"
            if percent
            else "correct it"
        )
        faults.add(at, f"{word!r} is {what}; {cure}")
        return None if whole else math.nan
    if not whole:
        return value
    if value != int(value) or value < 0:
        faults.add(
            at,
            f"{word} is not a count; give the whole number of patients, or, if the study gives percentages alone, the"
            " proportion as a row of its own (measure 'proportion')",
        )
        return None
    return int(value)


def _check_row(record: Mapping[Hashable, object], place: str, faults: Faults, notices: list[str]) -> None:
    """Everything that can be said of one row alone."""
    _check_identifiers(record, place, faults)
    _check_measure(record, place, faults)
    _check_interval(record, place, faults)
    _check_counts(record, place, faults, notices)
    if record["pooled_components"] and not record["pooled"]:
        faults.add(place, "pooled_components is for a meta-analysis; write pooled = yes, or empty the cell")


def _check_identifiers(record: Mapping[Hashable, object], place: str, faults: Faults) -> None:
    doi, pmid = str(record["doi"]), str(record["pmid"])
    if not doi and not pmid:
        faults.add(place, "has neither doi nor pmid; give one of them, so that readers find the study")
    if doi and DOI.fullmatch(doi) is None:
        faults.add(
            f"{place}, doi", f"{doi!r} has not the form 10.NNNN/suffix (no https://doi.org/, no full stop)"
        )
    if pmid and PMID.fullmatch(pmid) is None:
        faults.add(f"{place}, pmid", f"{pmid!r} is not a PubMed number (up to 8 digits)")
    p_value = str(record["p_value"])
    if p_value and P_VALUE.fullmatch(p_value) is None:
        faults.add(f"{place}, p_value", f"{p_value!r} is not a P value; write 0.042 or <0.001")


def _check_measure(record: Mapping[Hashable, object], place: str, faults: Faults) -> None:
    """Measure against outcome, design and adjustment, and the numbers that it needs."""
    outcome, measure, design = (str(record[name]) for name in ("outcome", "measure", "design"))
    if outcome in MEASURES_OF and measure and measure not in MEASURES_OF[outcome]:
        possible = ", ".join(MEASURES_OF[outcome])
        faults.add(f"{place}, measure", f"{measure!r} is no measure of {outcome}; possible: {possible}")
    if design == "contrast" and not record["reference"]:
        faults.add(f"{place}, reference", "a contrast needs the group that it is compared with")
    if design == "single arm":
        if record["reference"]:
            faults.add(
                f"{place}, reference", "a single arm has none; write design = contrast, or empty the cell"
            )
        if measure in (*RATIOS, *_DIFFERENCES):
            faults.add(f"{place}, design", f"a {measure} compares two groups; write design = contrast")
    adjustment, adjusted_for = str(record["adjustment"]), str(record["adjusted_for"])
    if adjusted_for and adjustment in ("crude", "not applicable"):
        faults.add(f"{place}, adjusted_for", f"names variables, but the row is {adjustment!r}")
    if measure == "counts" and adjustment not in ("crude", "not applicable"):
        faults.add(f"{place}, adjustment", "counts are crude; give the adjusted estimate as a row of its own")
    estimate = _value(record, "estimate")
    if measure in (*RATIOS, *_DIFFERENCES, "proportion", "median", "mean") and math.isnan(estimate):
        faults.add(
            f"{place}, estimate", f"a {measure} needs its value; a result in words has measure 'statement'"
        )
    if measure == "statement" and not record["direction"]:
        faults.add(
            f"{place}, direction", "a result in words needs its direction: lower, higher or no difference"
        )
    if measure == "counts" and not math.isnan(estimate):
        faults.add(f"{place}, estimate", "counts have none; give the study's own ratio as a row of its own")
    if measure in ("median", "mean", *_DIFFERENCES) and not record["unit"]:
        faults.add(f"{place}, unit", f"a {measure} needs a unit ('months')")
    if measure in RATIOS and estimate <= 0:
        faults.add(
            f"{place}, estimate",
            f"{estimate:g}: a {measure} is above 0; the logarithm belongs to no cell here",
        )
    if measure == "proportion" and not (math.isnan(estimate) or 0 <= estimate <= 1):
        faults.add(f"{place}, estimate", f"{estimate:g} is not a proportion; divide a percentage by 100")


def _check_interval(record: Mapping[Hashable, object], place: str, faults: Faults) -> None:
    low, high, level = (_value(record, name) for name in _INTERVAL)
    estimate = _value(record, "estimate")
    if all(math.isnan(value) for value in (low, high, level)):
        return
    if math.isnan(low) or math.isnan(high):
        faults.add(
            f"{place}, ci_low and ci_high",
            "an interval needs both limits; leave both empty if one is missing",
        )
        return
    if math.isnan(level) or not 0 < level < 1:
        shown = "is missing" if math.isnan(level) else f"{level:g} is not between 0 and 1"
        faults.add(f"{place}, ci_level", f"{shown}; write 0.95 for a 95 % interval")
    if low > high:
        faults.add(f"{place}, ci_low and ci_high", f"{low:g} is above {high:g}; exchange them")
    elif not math.isnan(estimate) and not low <= estimate <= high:
        faults.add(
            f"{place}, estimate",
            f"the interval {low:g} to {high:g} does not contain {estimate:g}; check the source",
        )
    if str(record["measure"]) in RATIOS and low <= 0:
        faults.add(f"{place}, ci_low", f"{low:g}: limits of a ratio are above 0")


def _check_counts(record: Mapping[Hashable, object], place: str, faults: Faults, notices: list[str]) -> None:
    n, n_exposed, events_exposed, n_reference, events_reference = (record[name] for name in _COUNTS)
    measure, design = str(record["measure"]), str(record["design"])
    needed = {"n_exposed": n_exposed, "events_exposed": events_exposed}
    if design == "contrast":
        needed |= {"n_reference": n_reference, "events_reference": events_reference}
    missing = [name for name, value in needed.items() if value is None]
    if measure == "counts" and missing:
        faults.add(place, f"counts need {', '.join(missing)}")
    arms = {"exposed": (n_exposed, events_exposed), "reference": (n_reference, events_reference)}
    for arm, (patients, events) in arms.items():
        if patients == 0:
            faults.add(f"{place}, n_{arm}", "0 patients: an empty group is no group")
        if isinstance(events, int) and not isinstance(patients, int):
            faults.add(
                f"{place}, n_{arm}", f"is missing beside {events} events; a count needs its denominator"
            )
        if isinstance(events, int) and isinstance(patients, int) and events > patients > 0:
            faults.add(
                f"{place}, events_{arm}", f"{events} events among {patients} patients; is it a percentage?"
            )
    if isinstance(n, int) and isinstance(n_exposed, int):
        total = n_exposed + (n_reference if isinstance(n_reference, int) else 0)
        if design == "contrast" and isinstance(n_reference, int) and n != total:
            faults.add(f"{place}, n", f"{n} is not the sum of the groups ({total})")
    if any(isinstance(events, int) for _, events in arms.values()) and not record["counts"]:
        faults.add(f"{place}, counts", "say whether the counts are printed or derived (from percentages)")
    if measure == "counts" and design == "contrast" and not missing:
        for arm, (patients, events) in arms.items():
            if isinstance(patients, int) and isinstance(events, int) and events in (0, patients) and patients:
                which = "no events" if events == 0 else "events only"
                notices.append(
                    f"{place}: {which} in the {arm} group (0 of a cell): it has no log ratio; the binomial likelihood"
                    " takes it as it is, and nothing is added to it"
                )


def _value(record: Mapping[Hashable, object], name: str) -> float:
    value = record[name]
    return float(value) if isinstance(value, (int, float)) else math.nan


def _check_across(
    records: list[dict[Hashable, object]], places: Mapping[int, str], where: str, faults: Faults
) -> None:
    """Rows against each other: used twice, one study under two names, two overlap groups of one study."""
    seen: dict[tuple[object, ...], str] = {}
    names: dict[str, str] = {}
    keys: dict[str, tuple[str, str]] = {}
    for i, record in enumerate(records):
        row, study = str(record["row_id"]), str(record["study"])
        place = places.get(i) or f"{where}, row {row!r}"
        if row and row in names:
            faults.add(
                f"{place}, row_id", f"{row!r} is also the name of {names[row]}; give every row its own"
            )
        names.setdefault(row, place)
        same = tuple(record[name] for name in _SAME_RESULT)
        if same in seen:
            faults.add(
                place,
                f"{study} is listed twice with the same result ({record['outcome']}, {record['hr_stratum']},"
                f" {record['measure']}); the other is {seen[same]}. Remove one, or say in `part` or `population`"
                " how their patients differ",
            )
        seen.setdefault(same, place)
        for kind in ("doi", "pmid"):
            key = str(record[kind]).casefold()
            if not key:
                continue
            other, at = keys.setdefault(f"{kind} {key}", (study, place))
            if other != study:
                faults.add(
                    f"{place}, {kind}",
                    f"{record[kind]} is listed twice: as {study!r} here, as {other!r} in {at}",
                )
        group = str(record["overlap_group"])
        other, at = keys.setdefault(f"group of {study}", (group, place))
        if group and other and other != group:
            faults.add(
                f"{place}, overlap_group",
                f"{study} is in {group!r} here and in {other!r} in {at}; a study has one group",
            )
    groups = {str(record["study"]): str(record["overlap_group"]) for record in records}
    for i, record in enumerate(records):
        group = str(record["overlap_group"])
        actual = groups.get(group, group)
        if group and actual and actual != group and group != str(record["study"]):
            row = str(record["row_id"])
            faults.add(
                f"{places.get(i) or f'{where}, row {row!r}'}, overlap_group",
                f"{group!r} is the name of a study, and that study is in {actual!r}; write {actual!r}, or its patients "
                "are counted twice",
            )
