"""Damaged files and study files: whatever is in them, a table is read or an error of ours is raised."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bayes_her2.errors import BayesHer2Error, DataError
from bayes_her2.inputs import parse_study, read_cohorts, tables
from bayes_her2.inputs.tables import Table, read_table
from bayes_her2.preprocessing import prepare

from .conftest import simulated_fractions, to_toml

FUZZ = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
FORMATS = (".csv", ".tsv", ".csv.gz", ".xlsx", ".parquet")
CUTS = st.lists(
    st.tuples(
        st.sampled_from(("flip", "delete", "insert", "repeat", "truncate")),
        st.floats(0, 1, exclude_max=True),
        st.integers(1, 40),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=4,
)


def refusal(call: Callable[[], Any]) -> str:
    """Words of an error of ours, '' where there is none; any other error is a fault."""
    try:
        call()
    except BayesHer2Error as error:
        return str(error)
    return ""


def damaged(raw: bytes, cuts: list[tuple[str, float, int, bytes]]) -> bytes:
    for kind, where, length, new in cuts:
        at = int(where * len(raw))
        if kind == "flip":
            raw = raw[:at] + bytes(b ^ new[0] for b in raw[at : at + 1]) + raw[at + 1 :]
        elif kind == "delete":
            raw = raw[:at] + raw[at + length :]
        elif kind == "insert":
            raw = raw[:at] + new + raw[at:]
        elif kind == "repeat":
            raw = raw[: at + length] + raw[at:]
        else:
            raw = raw[:at]
    return raw


def _whole(suffix: str) -> bytes:
    frame = simulated_fractions([f"T{i}" for i in range(8)])
    if suffix == ".xlsx":
        stream = io.BytesIO()
        frame.to_excel(stream, index=False)
        return stream.getvalue()
    if suffix == ".parquet":
        return bytes(frame.to_parquet())
    text = frame.to_csv(index=False, sep="\t" if suffix == ".tsv" else ",").encode()
    return gzip.compress(text) if suffix.endswith(".gz") else text


WHOLE = {suffix: _whole(suffix) for suffix in FORMATS}


@pytest.mark.parametrize("suffix", FORMATS)
@FUZZ
@given(cuts=CUTS)
def test_a_damaged_file_is_read_or_refused_in_our_words(tmp_path: Path, suffix: str, cuts: Any) -> None:
    path = tmp_path / f"table{suffix}"
    path.write_bytes(damaged(WHOLE[suffix], cuts))
    found: list[Table] = []
    words = refusal(lambda: found.append(read_table(path)))
    assert ("table" in words) != bool(found)  # an error names the file
    for table in found:
        assert len(table.frame) == table.source.n_rows > 0


@FUZZ
@given(raw=st.binary(max_size=400), suffix=st.sampled_from((*FORMATS, ".txt", "")))
def test_any_bytes_are_read_or_refused_in_our_words(tmp_path: Path, raw: bytes, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"
    path.write_bytes(raw)
    words = refusal(lambda: read_table(path))
    assert not words or "table" in words


CELLS = st.sampled_from(
    ("", "NA", "nan", "inf", "-1", "1e400", "0,5", "0.5 ", "x", "\u00a00.1", "=1+1", "1", "T0", "'")
)


def test_cells_of_any_kind_give_a_cohort_or_an_error_of_ours(simple: Any) -> None:
    read: list[bool] = []

    @settings(FUZZ, max_examples=100)
    @given(
        changes=st.lists(
            st.tuples(
                st.sampled_from(("A_cibersort.csv", "A_clinical.csv")),
                st.integers(0, 99),
                st.integers(0, 99),
                CELLS | st.integers(0, 99),
            ),
            min_size=1,
            max_size=3,
        )
    )
    def with_changed_cells(changes: Any) -> None:
        before = {name: frame.copy() for name, frame in simple.frames.items()}
        try:
            for name, row, column, cell in changes:
                frame = simple.frames[name].astype(object)
                at = column % frame.shape[1]
                new = (
                    frame.iloc[cell % len(frame), at] if isinstance(cell, int) else cell
                )  # a number: of that row
                frame.iloc[row % len(frame), at] = new
                simple.frames[name] = frame
            ids = {str(i) for i in simple.frames["A_cibersort.csv"]["Mixture"]}
            study = simple.study()
            try:
                data = prepare(read_cohorts(study), study)
            except BayesHer2Error:
                read.append(False)
                return
            read.append(True)
            assert {t.split("/", 1)[-1] for t in data.tumours.index} <= ids
            assert data.abundance.to_numpy(float).min() >= 0
            assert (data.abundance.to_numpy(float) < float("inf")).all()
        finally:
            simple.frames.update(before)

    with_changed_cells()
    assert 0.1 < sum(read) / len(read) < 0.9  # both ends are reached


TOKENS = st.sampled_from(
    ("[", "]", "[[cohort]]", "=", '"', "''", "{", "}", "1", "-1", "true", "nan", "inf", "\n", "#", ".", "\\u0000", "é",
     "name", "1979-05-27", "[study]", '"x"', "[]", "{}", "1e999", "0x", "99999999999999999999")
)  # fmt: skip


@settings(FUZZ, max_examples=400)
@given(
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 12), TOKENS), min_size=1, max_size=4
    )
)
def test_a_damaged_study_file_is_read_or_refused_in_our_words(simple: Any, changes: Any) -> None:
    text = to_toml(simple.settings)
    for where, length, token in changes:
        at = int(where * len(text))
        text = text[:at] + token + text[at + length :]
    words = refusal(lambda: parse_study(text, path=Path("study.toml"), check_files=False))
    assert not words or "study.toml" in words


@FUZZ
@given(
    value=st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from(("name", "field", "file", "x")), inner, max_size=3),
        ),
        max_leaves=6,
    ),
    place=st.lists(st.integers(0, 50), min_size=1, max_size=3),
)
def test_a_setting_of_any_type_is_taken_or_refused_in_our_words(
    simple: Any, value: Any, place: list[int]
) -> None:
    tree = _without_none(value)
    raw: Any = _copied(simple.settings)
    at, key = raw, None
    for step in place:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            break
        key = keys[step % len(keys)]
        if not isinstance(at[key], dict | list):
            break
        parent, at = at, at[key]
    else:
        at = parent
    at[key] = tree
    try:
        text = to_toml(raw)
    except (AttributeError, TypeError):
        return  # the builder cannot write it
    words = refusal(lambda: parse_study(text, path=Path("study.toml"), check_files=False))
    assert not words or "study.toml" in words


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    return [_copied(v) for v in value] if isinstance(value, list) else value


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_none(v) for v in value]
    return "" if value is None else value


def test_the_undamaged_files_are_read(tmp_path: Path) -> None:
    frames = []
    for suffix, raw in WHOLE.items():
        path = tmp_path / f"table{suffix}"
        path.write_bytes(raw)
        frames.append(read_table(path).frame)
    for frame in frames[1:]:
        assert list(frame.columns) == list(frames[0].columns)
        pd.testing.assert_series_equal(frame["Mixture"], frames[0]["Mixture"])


def test_a_file_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAX_UNPACKED", 2**20)
    zeros = b"a,b\n" + b"0,0\n" * 2**19
    parquet = bytes(pd.DataFrame({"a": np.zeros(2**19), "b": 0.0}).to_parquet())
    for name, raw in (("x.csv.gz", gzip.compress(zeros)), ("x.xlsx", _zipped(zeros)), ("x.parquet", parquet)):
        (tmp_path / name).write_bytes(raw)
        assert len(raw) < 2**15
        with pytest.raises(DataError, match=f"{name}: more than .* GiB once decompressed"):
            read_table(tmp_path / name)


def _zipped(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", content)
    return stream.getvalue()


def test_a_sheet_that_says_it_has_a_billion_cells_is_read_as_it_is(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(WHOLE[".xlsx"])) as own, zipfile.ZipFile(stream, "w") as other:
        for member in own.infolist():
            content = own.read(member)
            if member.filename.endswith("sheet1.xml"):
                content, n = re.subn(rb'<dimension ref="[^"]+"', b'<dimension ref="A1:XFD1048576"', content)
                assert n == 1
            other.writestr(member, content)
    path = tmp_path / "table.xlsx"
    path.write_bytes(stream.getvalue())
    assert read_table(path).frame.shape == (8, 26)
