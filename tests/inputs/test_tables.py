"""Tables as text: formats, and files that are not tables."""

from __future__ import annotations

import gzip
import hashlib

import pandas as pd
import pytest

from bayes_her2.errors import DataError
from bayes_her2.inputs.tables import read_table

FRAME = pd.DataFrame({"id": ["a", "b"], "x": [0.1, 1e-06], "n": [1, 20]})


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "t.xlsx", "t.parquet", "t.csv.gz", "t.tsv.gz"])
def test_every_format_gives_the_same_text(tmp_path, name):
    path = tmp_path / name
    if "xlsx" in name:
        FRAME.to_excel(path, index=False)
    elif "parquet" in name:
        FRAME.to_parquet(path, index=False)
    else:
        FRAME.to_csv(path, index=False, sep="," if "csv" in name else "\t")
    table = read_table(path)
    assert table.columns == ["id", "x", "n"]
    assert table.frame.to_numpy().tolist() == [["a", "0.1", "1"], ["b", "1e-06", "20"]]
    assert table.source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert table.source.n_rows == 2


@pytest.mark.parametrize("separator", ["\t", ",", ";"])
def test_separator_of_a_text_file_is_found(tmp_path, separator):
    path = tmp_path / "t.txt"
    path.write_text(separator.join(["id", "x"]) + "\n" + separator.join(["a", "1"]) + "\n")
    assert read_table(path).frame.loc[0, "x"] == "1"


def test_text_is_never_turned_into_something_else(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('id,x\n"007","1,5"\nNA,TRUE\n')
    assert read_table(path).frame.to_numpy().tolist() == [["007", "1,5"], ["NA", "TRUE"]]


def test_file_without_a_header(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("BRCA\tT1\t0.1\n")
    assert read_table(path, column_names=["type", "id", "x"]).frame.loc[0, "x"] == "0.1"
    with pytest.raises(DataError, match="`column_names` has 2 names and the rows have 3 cells"):
        read_table(path, column_names=["type", "id"])


def test_row_names_that_r_writes_without_a_header(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("x\ty\nT1\t1\t2\nT2\t3\t4\n")
    table = read_table(path)
    assert table.columns == ["row_names", "x", "y"]
    assert list(table.frame["row_names"]) == ["T1", "T2"]


def test_only_named_rows_are_kept(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("gene\tT1\nERBB2\t1\nESR1\t2\n")
    table = read_table(path, keep_rows={"ERBB2"})
    assert list(table.frame["gene"]) == ["ERBB2"]
    assert table.first_column == ("ERBB2", "ESR1")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty (0 bytes)"),
        (b"\n \n", "the file is empty (only blank lines)"),
        (b"id,x\n", "has a header and no rows"),
        (b"id,x,x\na,1,2\n", "1 column name occurs more than once: 'x'"),
        (b"id,x\na,1\nb\n", "the header has 2 cells but line 3 has 1"),
        (b"id\na\n", "one column only"),
        (b"id,x\na,\xe9\n", "line 2: not UTF-8 text"),
        (b'id,x\n"a,1\n', "check quotation marks"),
        (b"id,,\na,1,2\n", "columns 2, 3 have no name"),
    ],
)
def test_files_that_are_not_tables(tmp_path, content, said):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert str(caught.value).startswith("t.csv")
    assert said in str(caught.value)


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="file not found"):
        read_table(tmp_path / "t.csv")


def test_broken_archives_and_foreign_formats(tmp_path):
    for name, said in (
        ("t.csv.gz", "not a complete gzip file"),
        ("t.xlsx", "not a readable .xlsx file"),
        ("t.parquet", "not a readable .parquet file"),
        ("t.xls", "the old Excel format cannot be read; save it as .csv"),
        ("t.zip", "a zip archive cannot be read"),
    ):
        path = tmp_path / name
        path.write_bytes(b"nonsense")
        with pytest.raises(DataError, match=said):
            read_table(path)
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(b"id,x\n" * 1000)[:-20])
    with pytest.raises(DataError, match="not a complete gzip file"):
        read_table(cut)


def test_workbook_with_several_sheets_needs_a_name(tmp_path):
    path = tmp_path / "t.xlsx"
    with pd.ExcelWriter(path) as book:
        FRAME.to_excel(book, sheet_name="first", index=False)
        FRAME.assign(x=9).to_excel(book, sheet_name="second", index=False)
    with pytest.raises(DataError, match="2 sheets hold data \\('first', 'second'\\)"):
        read_table(path)
    assert read_table(path, sheet="second").frame.loc[0, "x"] == "9"
    with pytest.raises(DataError, match="no sheet 'third' with data; sheets: 'first', 'second'"):
        read_table(path, sheet="third")
