"""One file for an archive: what a run left, without rows of single tumours, and a script that renders it again."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from bayes_her2.errors import DataError
from bayes_her2.files import ARCHIVE_EPOCH
from bayes_her2.report import render_report
from bayes_her2.report.load import load_results
from bayes_her2.workflow.progress import Clock, Say, silent
from bayes_her2.workflow.results import PROVENANCE

PATIENT_ROWS = (
    "exclusions",
    "influence",
    "tumours_left_out",
    "rank_correlation_scatter",
    "rank_correlation_scatter_lines",
    "multiverse_exclusions",
)
"""Tables with rows of single tumours: left out unless they are asked for."""

TUMOUR = re.compile(r"(.*_)?tumour")
"""Column that names a tumour."""

MASK = "(not told)"
"""Instead of its name, in a table that is otherwise of groups."""

RENDERED_WITH = ("fonttools", "jinja2", "matplotlib")
"""Packages that the bytes of a page and of its figures depend on, beside those of the provenance."""

_WORD = re.compile(r"[\w.:/-]*\w")
_TEXTS = {".csv", ".html", ".json", ".md", ".svg", ".toml"}

_STORED = {".nc", ".png", ".pdf", ".docx"}
"""Already compressed."""

_RENDER = '''"""Render the report of this folder again, from its tables: no sampling, no patient data.

    python -m pip install -r requirements.txt
    python render.py
"""

from pathlib import Path

from bayes_her2 import render_report

if __name__ == "__main__":
    print(render_report(Path(__file__).parent))
'''

_README = """# {study}

Results of bayes_her2 {version}, as an archive.

- `report.html`, `results.md`, `methods.md`, `checklist.csv`: the report, its texts for a manuscript, its checklist.
- `tables/`, `figures/`: every number and every figure of the report.
- `posterior/`: {draws}
- `study.toml`, `decisions.json`, `provenance.json`: the study as it was run, the priors and decision rule as they were
  hashed before the first draw, and versions, seeds and the SHA-256 of every input file.
- `render.py`: renders `report.html` and `figures/` again from the tables, without sampling. With the packages of
  `requirements.txt` it gives the same bytes.
- `SHA256SUMS`: of every file here (`sha256sum -c SHA256SUMS`).

No input file is here. {patients}{simulated}
"""


@dataclass(frozen=True)
class Bundled:
    """An archive that was written.

    Attributes
    ----------
    path
        The zip file.
    n_files, n_bytes
        Files in it, and its size.
    left_out
        Tables that were left out because a row of theirs is of a single tumour.
    naming
        Files in it that name a tumour all the same, such as a notice; empty if none does.
    """

    path: Path
    n_files: int
    n_bytes: int
    left_out: tuple[str, ...]
    naming: tuple[str, ...]


def bundle_results(
    folder: Path | str,
    out: Path | str | None = None,
    *,
    patient_rows: bool = False,
    draws: bool = True,
    at_once: int = 1,
    say: Say = silent,
) -> Bundled:
    """Put the results of a run into one zip file, with a script that renders them again without sampling.

    Parameters
    ----------
    folder
        Folder that `run_study` or `run_demo` wrote. It is not changed.
    out
        The zip file; beside the folder and of its name if None.
    patient_rows
        Whether tables with rows of single tumours are in it (`PATIENT_ROWS`). Input files never are.
    draws
        Whether posterior draws are in it: they are most of its size.
    at_once
        Processes that draw the figures of the report, which is rendered from what is in the archive.
    say
        Receives one line per step.

    Returns
    -------
    Bundled

    Raises
    ------
    DataError
        The folder holds no finished run, or the file is there and is no archive of results. Nothing is written.
    """
    folder = Path(folder)
    results = load_results(folder)  # says what is wrong with a folder that is none
    name = folder.resolve().name
    path = Path(out) if out is not None else folder.parent / f"{name}.zip"
    if path.suffix != ".zip" or path.is_dir():
        raise DataError(f"{path}: is not the name of a zip file. Give one that ends in .zip (--out).")
    if path.exists() and not _is_ours(path):
        raise DataError(
            f"{path}: exists and is no bundle of results. Choose another name (--out), or delete it."
        )
    clock = Clock(say)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{path.parent}: no folder can be made there ({error.strerror}). Choose another place (--out)."
        ) from error
    with TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as made:
        inside = Path(made) / name
        with clock("Copying tables, texts and records"):
            left_out = _copy(
                folder, inside, ("study.toml", "decisions.json", PROVENANCE), patient_rows=patient_rows
            )
            for beside in results.beside.values():
                page = Path(beside.page)
                shutil.copytree(folder / page.parent / "figures", inside / page.parent / "figures")
                records = (page.name, "study.toml", "decisions.json", PROVENANCE)
                left_out += _copy(
                    folder / page.parent, inside / page.parent, records, patient_rows=patient_rows
                )
        with clock("Rendering the report of what is in the archive"):
            render_report(inside, at_once=at_once)
        naming = () if patient_rows else _naming(inside, _tumours(folder))
        if draws:
            _link_draws(folder / "posterior", inside / "posterior")
        _explain(
            inside,
            results.study.name,
            results.study.simulated,
            left_out,
            naming,
            patient_rows=patient_rows,
            draws=draws,
        )
        with clock("Writing the archive"):
            files = sorted(p for p in inside.rglob("*") if p.is_file())
            part = Path(made) / path.name
            _write(part, inside, files, name)
            n_bytes = part.stat().st_size
            os.replace(part, path)
    return Bundled(path, len(files), n_bytes, left_out, naming)


def _is_ours(path: Path) -> bool:
    """Whether a file is an archive that this wrote."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return {"SHA256SUMS", "render.py"} <= {name.partition("/")[2] for name in archive.namelist()}


def _copy(folder: Path, inside: Path, records: Collection[str], *, patient_rows: bool) -> tuple[str, ...]:
    """Copy tables and records, and name the tables that are left out.

    What is rendered from them is not copied. Where a table of groups names a tumour, such as the one with the largest
    residual, the name is masked.
    """
    (inside / "tables").mkdir(parents=True)
    for name in records:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, inside / name)
    left_out = []
    for table in sorted((folder / "tables").glob("*.csv")):
        if patient_rows:
            shutil.copyfile(table, inside / "tables" / table.name)
        elif table.stem in PATIENT_ROWS:
            left_out.append(table.name)
        else:
            _copy_masked(table, inside / "tables" / table.name)
    return tuple(left_out)


def _copy_masked(table: Path, target: Path) -> None:
    with table.open(encoding="utf-8", newline="") as source:
        head, *rows = list(csv.reader(source)) or [[]]
    naming = {i for i, column in enumerate(head) if TUMOUR.fullmatch(column)}
    if not naming:
        shutil.copyfile(table, target)
        return
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(
            [MASK if i in naming and cell else cell for i, cell in enumerate(row)] for row in rows
        )


def _tumours(folder: Path) -> frozenset[str]:
    """Names of tumours that the tables with rows of single tumours have, without their cohort too."""
    names: set[str] = set()
    for table in ("exclusions", "tumours_left_out"):
        file = folder / "tables" / f"{table}.csv"
        if file.is_file():
            with file.open(encoding="utf-8", newline="") as rows:
                names |= {row["tumour"] for row in csv.DictReader(rows)}
    return frozenset(names | {name.partition("/")[2] or name for name in names})


def _link_draws(source: Path, target: Path) -> None:
    """Link the draws, which may be hundreds of megabytes, or copy them where a file system has no links."""
    target.mkdir()
    for file in sorted(source.glob("*.nc")):
        try:
            os.link(file, target / file.name)
        except OSError:
            shutil.copyfile(file, target / file.name)


def _naming(inside: Path, tumours: Collection[str]) -> tuple[str, ...]:
    """Name files in the archive that hold the name of a tumour; plain numbers are no names."""
    names = {name for name in tumours if re.search(r"[^\d]", name)}
    single = {name for name in names if _WORD.fullmatch(name)}
    found = []
    for file in sorted(p for p in inside.rglob("*") if p.suffix in _TEXTS):
        text = file.read_text(encoding="utf-8")
        if single & set(_WORD.findall(text)) or any(name in text for name in names - single):
            found.append(file.relative_to(inside).as_posix())
    return tuple(found)


def _explain(
    inside: Path,
    study: str,
    simulated: bool,
    left_out: tuple[str, ...],
    naming: tuple[str, ...],
    *,
    patient_rows: bool,
    draws: bool,
) -> None:
    """Write what stands beside the results: how to render and check them, and with which packages."""
    provenance = json.loads((inside / PROVENANCE).read_text(encoding="utf-8"))
    versions = {str(name): str(found) for name, found in (provenance.get("versions") or {}).items()}
    versions |= {name: version(name) for name in RENDERED_WITH}
    pins = [f"{name}=={found}" for name, found in sorted(versions.items()) if name != "python"]
    patients = (
        f"Tables with rows of single tumours were left out: {', '.join(left_out)}, and with them what the report says "
        "of single tumours."
        if left_out
        else "Tables with rows of single tumours are among the tables: treat them as patient data."
        if patient_rows
        else "It has no table with rows of single tumours."
    )
    if naming:
        patients += f" The names of tumours stand in {', '.join(naming)}."
    text = _README.format(
        study=study,
        version=provenance.get("package_version"),
        draws="draws of every fit (netCDF, by label)." if draws else "left out.",
        patients=patients,
        simulated=" All data are simulated." if simulated else "",
    )
    (inside / "README.md").write_text(text, encoding="utf-8")
    (inside / "render.py").write_text(_RENDER, encoding="utf-8")
    (inside / "requirements.txt").write_text("".join(f"{pin}\n" for pin in pins), encoding="utf-8")
    files = sorted(p for p in inside.rglob("*") if p.is_file())
    sums = (f"{_sha256(p)}  {p.relative_to(inside).as_posix()}\n" for p in files)
    (inside / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, inside: Path, files: list[Path], top: str) -> None:
    """Write the zip file: sorted names, one date, no owner."""
    with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for file in files:
            info = zipfile.ZipInfo(f"{top}/{file.relative_to(inside).as_posix()}", date_time=ARCHIVE_EPOCH)
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_STORED if file.suffix in _STORED else zipfile.ZIP_DEFLATED
            info.file_size = file.stat().st_size  # so that a large file gets the long form of its header
            with file.open("rb") as source, archive.open(info, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)
