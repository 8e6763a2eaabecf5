"""The page as PDF, printed by Chromium where it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from bayes_her2.errors import BayesHer2Error, DataError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
"""Names under which Chromium, or a browser that is made of it, is looked for on the PATH."""
SECONDS = 300
FLAGS = (
    "--headless",
    "--no-sandbox",  # root, as in containers, has none; the page fetches nothing
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-pdf-header-footer",
)
_LINK = re.compile(r'<a href="(?!#)[^"]*">')
_DATE = re.compile(rb"/(CreationDate|ModDate) \(D:[^)]*\)")


class PrintError(BayesHer2Error):
    """Chromium did not print the page; nothing is written."""


def browser() -> str:
    """Find what prints.

    Raises
    ------
    DataError
        None of `BROWSERS` is installed.
    """
    for name in BROWSERS:
        found = shutil.which(name)
        if found:
            return found
    raise DataError(
        f"report.pdf: Chromium prints it, and none of {', '.join(BROWSERS)} is on the PATH. Install one of them, or "
        "leave out --format pdf."
    )


def as_pdf(html: str, program: str, *, seconds: float = SECONDS) -> bytes:
    """Print a page.

    Links to files are left out, because a PDF is sent about without the folder. It carries no date: the same page
    gives the same bytes.

    Parameters
    ----------
    html
        The page as text.
    program
        What `browser` found.
    seconds
        How long it may take.

    Raises
    ------
    PrintError
        It failed, wrote no PDF, or took too long.
    """
    with TemporaryDirectory(
        ignore_cleanup_errors=True
    ) as folder:  # the browser may still be writing its profile
        page, paper = Path(folder) / "report.html", Path(folder) / "report.pdf"
        page.write_text(_LINK.sub("<a>", html), encoding="utf-8")
        command = [
            program,
            *FLAGS,
            f"--user-data-dir={folder}/profile",
            f"--print-to-pdf={paper}",
            page.as_uri(),
        ]
        try:
            done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            raise PrintError(
                f"report.pdf: {program} did not print the page within {seconds:g} seconds. Nothing was written: try "
                "again on a machine with less to do, or leave out --format pdf."
            ) from None
        except OSError as error:
            raise PrintError(
                f"report.pdf: {program} cannot be started ({error.strerror}). Nothing was written."
            ) from error
        made = paper.read_bytes() if paper.exists() else b""
    if done.returncode or not made.startswith(b"%PDF-"):
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise PrintError(
            f"report.pdf: {program} printed no PDF (exit status {done.returncode}"
            f"{': ' + said[-1] if said else ''}). Nothing was written: open report.html in a browser and print it, "
            "or leave out --format pdf."
        )
    # Of the same length, so that no place in the file moves.
    return _DATE.sub(
        lambda date: (
            b"/" + date[1] + b" (" + b"D:20000101000000".ljust(len(date[0]) - len(date[1]) - 4) + b")"
        ),
        made,
    )
