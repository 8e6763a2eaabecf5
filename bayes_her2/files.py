"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

ARCHIVE_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest date of an entry of a zip file: every entry has it, so that the same content gives the same bytes."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, then rename it.

    Parameters
    ----------
    path
        Where; its folder is made if missing.
    content
        The whole content.

    Raises
    ------
    OSError
        If it cannot be written; its ``filename`` says which. Nothing is left behind, and an earlier file of that name
        stays.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # a full disk has none of its own, a temporary name says nothing
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8, as given) whole or not at all; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


_NUMBERS = re.compile(r"[-+0-9.,()eE% ]*(to [-+0-9.,()eE% ]*)?")
"""A number, or one with its interval: ``-0.44 (-0.53 to -0.34)``."""


def is_formula(cell: object) -> bool:
    """Whether a spreadsheet that opens a CSV would take a text for a formula and run it."""
    if not isinstance(cell, str) or not cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return False
    return cell[0] in "=@\t\r" or _NUMBERS.fullmatch(cell) is None


def harmless[T](cell: T) -> T | str:
    """Return a cell of a CSV as it is, or a text that is no formula and has no line break that pandas leaves open."""
    if not isinstance(cell, str):
        return cell
    text = cell.replace("\r", " ")
    return f"'{text}" if is_formula(cell) else text
