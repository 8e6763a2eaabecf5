"""Read a table from CSV, TSV, text, XLSX or Parquet, every cell as text.

Nothing is guessed about types here: '007', '1e-5' and 'NA' arrive as they stand in the file, so
that a value is only ever changed where a rule of the study says so.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import openpyxl  # type: ignore[import-untyped]
import pandas as pd
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from bayes_her2.data import FileRead
from bayes_her2.errors import MAX_NAMED, DataError, Faults, name_some
from bayes_her2.inputs.fields import counted, number_or_none

ROW_NAMES = "row_names"
"""Name given to the first column where R wrote row names without a header for them."""

MAX_UNPACKED = 2**31
"""Bytes that a compressed file or a workbook may have once decompressed: some bytes can be made to say terabytes."""

_DELIMITERS = {"\t": "tab", ",": "comma", ";": "semicolon"}
_PREFERRED = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_UNREADABLE = {
    ".xls": "the old Excel format",
    ".ods": "an OpenDocument sheet",
    ".zip": "a zip archive",
    ".rds": "an R object",
    ".rdata": "an R workspace",
    ".h5ad": "an AnnData file",
}


@dataclass(frozen=True)
class Table:
    """One table as text.

    Attributes
    ----------
    frame
        Cells as text ('' where empty); columns as named in the file.
    source
        The file: path as given, SHA-256, number of rows.
    first_column
        Every value of the first column, also of rows that were not kept.
    """

    frame: pd.DataFrame
    source: FileRead
    first_column: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """Column names in the order of the file."""
        return [str(column) for column in self.frame.columns]


def read_table(
    path: Path,
    *,
    shown_as: str | None = None,
    sheet: str | None = None,
    column_names: Sequence[str] | None = None,
    keep_rows: Collection[str] | None = None,
) -> Table:
    """Read one table, every cell as text.

    Parameters
    ----------
    path
        A .csv, .tsv, .txt, .xlsx or .parquet file; text files may be compressed (.gz). The
        separator of text (tab, comma or semicolon) is found from the header.
    shown_as
        How messages and the record of files name it; default the path.
    sheet
        Sheet of a workbook; may be left out when there is only one.
    column_names
        Names of the columns, for a file without a header.
    keep_rows
        Keep only rows whose first cell is one of these (gene tables); default all.

    Returns
    -------
    Table
        Text cells, and the file with its SHA-256.

    Raises
    ------
    DataError
        If the file cannot be read, is empty, is ragged, or repeats a column name.
    """
    name = shown_as or str(path)
    where = Path(name).name
    if not path.is_file():
        raise DataError(f"{where}: file not found: {path}")
    raw = path.read_bytes()
    if not raw:
        raise DataError(f"{where}: the file is empty (0 bytes)")
    digest = hashlib.sha256(raw).hexdigest()
    suffix = path.suffix.lower()
    if suffix == ".gz":
        suffix = Path(path.stem).suffix.lower()
        raw = _decompressed(raw, where)
        if not raw:
            raise DataError(f"{where}: the file is empty once decompressed")
    if suffix in _UNREADABLE:
        raise DataError(
            f"{where}: {_UNREADABLE[suffix]} cannot be read; save it as .csv, .tsv, .xlsx or .parquet"
        )
    if sheet is not None and suffix != ".xlsx":
        raise DataError(f"{where}: `sheet` is for .xlsx files; remove it")

    if suffix == ".xlsx":
        rows = _xlsx_rows(raw, sheet, where)
    elif suffix == ".parquet":
        rows = _parquet_rows(raw, where)
    else:
        rows = _text_rows(raw, suffix, where)
    return _assemble(rows, column_names, keep_rows, FileRead(path=name, sha256=digest, n_rows=0), where)


def _decompressed(raw: bytes, where: str) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
            content = stream.read(MAX_UNPACKED + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{where}: not a complete gzip file ({error}); fetch it again") from error
    if len(content) > MAX_UNPACKED:
        raise _too_large(where)
    return content


def _too_large(where: str) -> DataError:
    return DataError(
        f"{where}: more than {MAX_UNPACKED / 2**30:g} GiB once decompressed, which no table of tumours or genes needs. "
        "Check where the file comes from; a larger table can be given as .csv or .tsv"
    )


def _text_rows(raw: bytes, suffix: str, where: str) -> Iterator[tuple[int, list[str]]]:
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    if encoding == "utf-8-sig" and b"\x00" in raw:
        raise DataError(f"{where}: not a text table; use .csv, .tsv, .xlsx or .parquet")
    # Decoded as it is read: a gene table of 20,000 rows need not be in memory as text.
    text = io.TextIOWrapper(io.BytesIO(raw), encoding=encoding, newline="")
    lines = 0
    try:
        header = next((line.rstrip("\r\n") for line in text if line.strip()), "")
        if not header:
            raise DataError(f"{where}: the file is empty (only blank lines)")
        delimiter = _delimiter(header, suffix)
        if delimiter is None:
            raise DataError(
                f"{where}: one column only; the header has no tab, comma or semicolon ({header[:60]!r})."
                " Save the table with one of these separators"
            )
        text.seek(0)
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        for cells in reader:
            lines = reader.line_num
            if any(cell.strip() for cell in cells):
                yield lines, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise DataError(
            f"{where}, line {lines + 1}: cannot be split into cells ({error}); check quotation marks"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}{_line_of_fault(raw, encoding)}: not UTF-8 text; save the file as UTF-8"
        ) from error


def _line_of_fault(raw: bytes, encoding: str) -> str:
    """Name the line of the first byte that cannot be decoded."""
    try:
        raw.decode(encoding)
    except UnicodeDecodeError as error:
        line_break = "\n".encode(encoding.removesuffix("-sig").replace("utf-16", "utf-16-le"))
        return f", line {raw[: error.start].count(line_break) + 1}"
    return ""


def _delimiter(header: str, suffix: str) -> str | None:
    counts = {d: len(next(csv.reader([header], delimiter=d))) - 1 for d in _DELIMITERS}
    preferred = _PREFERRED.get(suffix, "\t")
    if counts[preferred]:
        return preferred
    best = max(counts, key=lambda d: counts[d])
    return best if counts[best] else None


def _xlsx_rows(raw: bytes, sheet: str | None, where: str) -> Iterator[tuple[int, list[str]]]:
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAX_UNPACKED:
            raise _too_large(where)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # openpyxl on styles it does not know
            book = openpyxl.load_workbook(io.BytesIO(raw), data_only=True, read_only=True)
            for own in book.worksheets:
                own.reset_dimensions()  # a sheet may say that it has 17 billion cells
            sheets = {str(s.title): [[_cell(c) for c in row] for row in s.values] for s in book.worksheets}
            book.close()
    except DataError:
        raise
    except Exception as error:  # a damaged file makes openpyxl raise errors of many kinds
        raise DataError(f"{where}: not a readable .xlsx file ({error}); save it again from Excel") from error
    filled = {title: rows for title, rows in sheets.items() if any(any(row) for row in rows)}
    if not filled:
        raise DataError(f"{where}: the file is empty (no sheet has a filled cell)")
    if sheet is None and len(filled) > 1:
        names = ", ".join(repr(title) for title in filled)
        raise DataError(f'{where}: {len(filled)} sheets hold data ({names}); say which one: sheet = "..."')
    if sheet is not None and sheet not in filled:
        names = ", ".join(repr(title) for title in filled)
        raise DataError(f"{where}: no sheet {sheet!r} with data; sheets: {names}")
    rows = filled[sheet] if sheet is not None else next(iter(filled.values()))
    width = max(i + 1 for row in rows for i, cell in enumerate(row) if cell)
    for number, row in enumerate(rows, start=1):
        cells = [*row, *[""] * (width - len(row))][:width]
        if any(cells):
            yield number, cells


def _parquet_rows(raw: bytes, where: str) -> Iterator[tuple[int, list[str]]]:
    try:
        about = pq.read_metadata(io.BytesIO(raw))
        if about.num_rows * about.num_columns * 8 > MAX_UNPACKED:
            raise _too_large(where)
        frame = pd.read_parquet(io.BytesIO(raw))
    except DataError:
        raise
    except Exception as error:  # a damaged file makes Arrow and pandas raise errors of many kinds
        raise DataError(f"{where}: not a readable .parquet file ({error})") from error
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    yield 1, [str(column) for column in frame.columns]
    for number, row in enumerate(frame.itertuples(index=False, name=None), start=2):
        yield number, [_cell(value) for value in row]


def _cell(value: object) -> str:
    """Write a typed cell as text; floats with every digit they have."""
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, float):
        return "" if value != value else repr(float(value))  # NaN differs from itself
    return str(value).strip()


def _assemble(
    rows: Iterator[tuple[int, list[str]]],
    column_names: Sequence[str] | None,
    keep_rows: Collection[str] | None,
    source: FileRead,
    where: str,
) -> Table:
    """Header and rows of equal width; complains about rows that do not fit."""
    header = list(column_names) if column_names is not None else next(rows, (0, []))[1]
    first: list[str] = []
    lines: list[tuple[int, int]] = []
    kept: list[list[str]] = []
    for number, cells in rows:
        first.append(cells[0])
        lines.append((number, len(cells)))
        if keep_rows is None or cells[0] in keep_rows:
            kept.append(cells)
    if not first:
        raise DataError(
            f"{where}: the file has a header and no rows" if header else f"{where}: the file is empty"
        )
    widths = {width for _, width in lines}
    if column_names is None and widths == {len(header) + 1}:
        header = [ROW_NAMES, *header]  # R's write.table(): row names have no header
    wrong = [(number, width) for number, width in lines if width != len(header)]
    if wrong and column_names is not None:
        found = " or ".join(str(width) for width in sorted(widths))
        raise DataError(
            f"{where}: `column_names` has {counted(len(header), 'name', 'names')} and the rows have {found}"
            " cells; name every column"
        )
    if wrong:
        shown = name_some([f"line {number} has {width}" for number, width in wrong], MAX_NAMED)
        raise DataError(
            f"{where}: the header has {counted(len(header), 'cell', 'cells')} but {shown}."
            " A row is cut off, or a value holds the separator without quotation marks"
        )
    # Columns without a name and without a value are leftovers of spreadsheets.
    used = [i for i, name in enumerate(header) if i == 0 or name or any(cells[i] for cells in kept)]
    header = [header[i] for i in used]
    _check_names(header, where)
    frame = pd.DataFrame(
        [[cells[i] for i in used] for cells in kept], columns=pd.Index(header, dtype="str"), dtype="str"
    )
    return Table(frame, replace(source, n_rows=len(first)), tuple(first))


def _check_names(header: Sequence[str], where: str) -> None:
    faults = Faults()
    repeated = [name for name, n in Counter(header).items() if n > 1 and name]
    if repeated:
        faults.add(
            where,
            f"{counted(len(repeated), 'column name occurs', 'column names occur')} more than once:"
            f" {name_some([repr(name) for name in repeated])}. Give every column its own name",
        )
    unnamed = [i for i, name in enumerate(header, start=1) if not name]
    if len(unnamed) > 1:
        faults.add(where, f"columns {name_some(unnamed)} have no name; name them, or delete them")
    faults.raise_if_any()


def header_looks_like_data(columns: Sequence[str]) -> bool:
    """Whether a header holds a number, as it does where a file has none."""
    return any(number_or_none(column) is not None and "." in column for column in columns)
