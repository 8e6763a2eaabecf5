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
from bayes_her2.report import render_report
from bayes_her2.report.load import BESIDE, load_results
from bayes_her2.workflow.progress import Clock, Say, silent
from bayes_her2.workflow.results import PARTS, PROVENANCE

PATIENT_ROWS = (
    "exclusions",
    "influence",
    "tumours_left_out",
    "rank_correlation_scatter",
    "rank_correlation_scatter_lines",
)
"""Tables with a row for a single tumour, or its name in one: left out unless they are asked for."""

MASK = "(not told)"
"""Instead of the name of a tumour in a table that is otherwise of groups."""

RENDERED_WITH = ("fonttools", "jinja2", "matplotlib")
"""Packages that the bytes of a page and of its figures depend on, beside those of the provenance."""

_TEXTS = {".csv", ".html", ".json", ".md", ".svg", ".toml"}

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Date of every file in the archive, so that the same results give the same bytes."""

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
        The folder holds no finished run, or the file is not a zip that this wrote. Nothing is written.
    """
    folder = Path(folder)
    results = load_results(folder)  # says what is wrong with a folder that is none
    name = folder.resolve().name
    path = Path(out) if out is not None else folder.parent / f"{name}.zip"
    if path.suffix != ".zip" or path.is_dir():
        raise DataError(f"{path}: is not the name of a zip file. Give one that ends in .zip (--out).")
    if path.exists() and not zipfile.is_zipfile(path):
        raise DataError(f"{path}: exists and is no zip file. Choose another name (--out), or delete it.")
    clock = Clock(say)
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as made:
        inside = Path(made) / name
        with clock("Copying tables, texts and records"):
            tumours = () if patient_rows else _tumours(folder)
            left_out = _copy(folder, inside, tumours, patient_rows=patient_rows)
            for beside in results.beside.values():
                _copy_beside(folder, inside, Path(beside).parent.name)
        with clock("Rendering the report of what is in the archive"):
            render_report(inside, at_once=at_once)
        naming = _naming(inside, tumours)
        if draws:
            _link_draws(folder / "posterior", inside / "posterior")
        _explain(inside, results.study.name, results.study.simulated, left_out, naming, draws=draws)
        with clock("Writing the archive"):
            files = sorted(p for p in inside.rglob("*") if p.is_file())
            part = Path(made) / path.name
            _write(part, inside, files, name)
            n_bytes = part.stat().st_size
            os.replace(part, path)
    return Bundled(path, len(files), n_bytes, left_out, naming)


def _tumours(folder: Path) -> frozenset[str]:
    """Names of tumours that the tables with rows of single tumours have."""
    names: set[str] = set()
    for table in ("exclusions", "tumours_left_out"):
        file = folder / "tables" / f"{table}.csv"
        if file.is_file():
            with file.open(encoding="utf-8", newline="") as rows:
                names |= {row["tumour"] for row in csv.DictReader(rows)}
    return frozenset(names)


def _copy(folder: Path, inside: Path, tumours: Collection[str], *, patient_rows: bool) -> tuple[str, ...]:
    """Copy what a run put in place, but for its figures, which are drawn again, and name the tables left out.

    A cell that is the name of a tumour, such as the one with the largest residual, is masked.
    """
    inside.mkdir()
    for name in (*(p for p in PARTS if p not in ("tables", "figures", "report.html")), "decisions.json"):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, inside / name)
    (inside / "tables").mkdir()
    left_out = []
    for table in sorted((folder / "tables").glob("*.csv")):
        if table.stem in PATIENT_ROWS and not patient_rows:
            left_out.append(table.name)
            continue
        with table.open(encoding="utf-8", newline="") as source:
            rows = list(csv.reader(source))
        if any(cell in tumours for row in rows for cell in row):
            with (inside / "tables" / table.name).open("w", encoding="utf-8", newline="") as target:
                writer = csv.writer(target, lineterminator="\n")
                writer.writerows([MASK if cell in tumours else cell for cell in row] for row in rows)
        else:
            shutil.copyfile(table, inside / "tables" / table.name)
    return tuple(left_out)


def _copy_beside(folder: Path, inside: Path, name: str) -> None:
    """Copy the results of another command on the same study: page, tables, figures and records, no draws."""
    for part in (
        *(f"{kind}.html" for kind in BESIDE),
        "tables",
        "figures",
        "study.toml",
        "decisions.json",
        PROVENANCE,
    ):
        source, target = folder / name / part, inside / name / part
        if source.is_dir():
            shutil.copytree(source, target)
        elif source.is_file():
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, target)


def _link_draws(source: Path, target: Path) -> None:
    """Link the draws, which may be hundreds of megabytes, or copy them where a file system has no links."""
    target.mkdir()
    for file in sorted(source.glob("*.nc")):
        try:
            os.link(file, target / file.name)
        except OSError:
            shutil.copyfile(file, target / file.name)


def _naming(inside: Path, tumours: Collection[str]) -> tuple[str, ...]:
    """Name files in the archive that hold the name of a tumour, as a word of its own; plain numbers are no names."""
    names = {name for name in tumours if re.search(r"[^\d]", name)}
    found = []
    for file in sorted(p for p in inside.rglob("*") if p.suffix in _TEXTS):
        words = set(re.findall(r"[\w.:/-]*\w", file.read_text(encoding="utf-8")))
        if words & names:
            found.append(file.relative_to(inside).as_posix())
    return tuple(found)


def _explain(
    inside: Path,
    study: str,
    simulated: bool,
    left_out: tuple[str, ...],
    naming: tuple[str, ...],
    *,
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
            info = zipfile.ZipInfo(f"{top}/{file.relative_to(inside).as_posix()}", date_time=_EPOCH)
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_STORED if file.suffix in _STORED else zipfile.ZIP_DEFLATED
            info.file_size = file.stat().st_size  # so that a large file gets the long form of its header
            with file.open("rb") as source, archive.open(info, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)
