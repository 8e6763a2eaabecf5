"""Audit published claims: a table of claims in, tables and a page out. No patient data, no sampling."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bayes_her2 import __version__
from bayes_her2.errors import DataError, name_some
from bayes_her2.estimates import write_table
from bayes_her2.evidence.audit_tables import NAMES, AuditTables, Settings, audit_tables
from bayes_her2.evidence.published_claims import Published, read_claims
from bayes_her2.files import write_text
from bayes_her2.report.audit_page import About, audit_page
from bayes_her2.report.standalone import Page, rows_of, write_page
from bayes_her2.workflow.results import LOCK, PROVENANCE, STAGING, held, move_in_place

PAGE = "audit.html"
KIND = "audit of published claims"
PARTS = (*(f"{name}.csv" for name in NAMES), "figures", PAGE, PROVENANCE)
"""What an audit puts in place, the provenance last: where it stands, the rest belongs to it."""

SEED_CITATION = (
    "Pizzamiglio S, Blanda A, Appierto V, et al. HER2-low breast cancer is immune-cold. npj Breast Cancer 2025, "
    "doi 10.1038/s41523-025-00867-z"
)


@dataclass(frozen=True)
class AuditResult:
    """What an audit found, and where it was written.

    Attributes
    ----------
    tables
        The tables.
    page
        The page: HTML, tables and figures as a reader sees them.
    report
        Where the page was written; None if no folder was given.
    """

    tables: AuditTables
    page: Page
    report: Path | None


def audit_claims(
    path: Path | str | None = None, out: Path | str | None = None, *, settings: Settings | None = None
) -> AuditResult:
    """Audit the claims of a table, and write what was found to a folder.

    Parameters
    ----------
    path
        Table of claims (`bayes_her2.evidence.published_claims.COLUMNS`). None: the seed study's, which ship.
    out
        Folder for tables, figures and page; written whole or not at all. None: nothing is written.
    settings
        Level of significance and plausible effects.

    Returns
    -------
    AuditResult

    Raises
    ------
    DataError
        Bad input, or a folder that something else wrote; nothing is written.
    """
    settings = settings or Settings()
    published = read_claims(path)
    tables = audit_tables(published, settings)
    folder = None if out is None else Path(out)
    if folder is not None:
        _refuse_foreign(folder)
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    about = About(
        source=published.source.path,
        sha256=published.source.sha256,
        alpha=settings.alpha,
        version=__version__,
        made=now,
        citation=SEED_CITATION if path is None else "",
    )
    rows = {name: rows_of(table) for name, table in tables.named().items()}
    page = audit_page(rows, about)
    if folder is None:
        return AuditResult(tables, page, None)
    return AuditResult(tables, page, _write(folder, published, settings, tables, page, now))


def verdict_lines(audit: pd.DataFrame) -> list[str]:
    """Say in a line for each verdict which claims have it, in the order of the table's verdicts."""
    lines = []
    for verdict, own in audit.groupby("verdict", sort=False):
        claims = "; ".join(str(claim) for claim in own["claim"])
        lines.append(f"  {verdict} ({len(own)} of {len(audit)}): {claims}")
    return lines


def claims_tables(
    path: Path | str | None = None, *, settings: Settings | None = None
) -> dict[str, pd.DataFrame]:
    """Audit tables by file name, for a results folder whose report has the section on published claims.

    The report shows the section as soon as these tables lie in ``tables/``.

    Parameters
    ----------
    path, settings
        As in `audit_claims`.
    """
    return audit_tables(read_claims(path), settings).named()


def _refuse_foreign(folder: Path) -> None:
    """Refuse a file, or a folder that holds anything but an audit."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: is a file. Give a folder for the audit (--out).")
    if not folder.exists() or _is_audit(folder / PROVENANCE):
        return
    others = sorted(entry.name for entry in folder.iterdir() if entry.name not in (STAGING, LOCK))
    if others:
        raise DataError(
            f"{folder}: holds files that no audit wrote ({name_some(others, 3)}). Choose an empty or a new folder."
        )


def _is_audit(record: Path) -> bool:
    if not record.is_file():
        return False
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        return False
    return isinstance(content, dict) and content.get("kind") == KIND


def _write(
    folder: Path, published: Published, settings: Settings, tables: AuditTables, page: Page, now: str
) -> Path:
    """Write everything aside, then put it in place."""
    existed = folder.exists()
    try:
        with held(folder):
            _write_held(folder, published, settings, tables, page, now)
    except BaseException:
        if not existed:
            with suppress(OSError):  # something else was written there meanwhile
                folder.rmdir()
        raise
    return folder / PAGE


def _write_held(
    folder: Path, published: Published, settings: Settings, tables: AuditTables, page: Page, now: str
) -> None:
    staging = folder / STAGING
    shutil.rmtree(staging, ignore_errors=True)
    try:
        for name, table in tables.named().items():
            write_table(table, staging / f"{name}.csv")
        write_page(page, staging, PAGE)
        provenance = {
            "kind": KIND,
            "package_version": __version__,
            "finished": now,
            "claims": {
                "file": published.source.path,
                "sha256": published.source.sha256,
                "rows": published.source.n_rows,
            },
            "alpha": settings.alpha,
            "plausible_effects": dict(settings.plausible),
        }
        write_text(staging / PROVENANCE, json.dumps(provenance, indent=2) + "\n")
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    move_in_place(staging, folder, PARTS)
