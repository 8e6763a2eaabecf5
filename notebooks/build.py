"""Run the tutorials, and write each .py file as an .ipynb file with its outputs.

python notebooks/build.py            # all of them
python notebooks/build.py 03 07      # some
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
SOURCES = tuple(sorted(HERE.glob("[0-9][0-9]_*.py")))
FILTERS = {"notebook_metadata_filter": "-all", "cell_metadata_filter": "-all"}
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
TIMEOUT_SECONDS = 1200


def read_source(path: Path) -> nbformat.NotebookNode:
    """Return a .py file as a notebook without outputs, its cells named by their position."""
    notebook = jupytext.read(path, fmt="py:percent")
    for i, cell in enumerate(notebook.cells, start=1):
        cell["id"] = f"cell-{i:02d}"
        cell["metadata"] = {}
    notebook["metadata"] = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return notebook


def as_source(notebook: nbformat.NotebookNode) -> str:
    """Return the text of the .py file that a notebook is paired with."""
    bare = nbformat.from_dict(dict(notebook) | {"metadata": {"jupytext": FILTERS}})
    return str(jupytext.writes(bare, fmt="py:percent"))


def execute(notebook: nbformat.NotebookNode, folder: Path, client: NotebookClient | None = None) -> None:
    """Run every cell in a folder, where the tutorials' shared module can be imported.

    Parameters
    ----------
    notebook
        Gets its outputs.
    folder
        Where the kernel starts.
    client
        One whose kernel runs already; a new one if None.
    """
    if client is None:
        NotebookClient(
            notebook,
            timeout=TIMEOUT_SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
            record_timing=False,
        ).execute(env=environment())
    else:
        client.nb = notebook
        for i, cell in enumerate(notebook.cells):
            client.execute_cell(cell, i)
    notebook["metadata"] = {"kernelspec": KERNEL, "language_info": {"name": "python"}}


def environment() -> dict[str, str]:
    """Return the kernel's environment: the shared module is found, and pictures are drawn inline."""
    path = os.pathsep.join(p for p in (str(HERE), os.environ.get("PYTHONPATH", "")) if p)
    inline = "module://matplotlib_inline.backend_inline"
    return os.environ | {"PYTHONPATH": path, "MPLBACKEND": inline, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


def build(path: Path) -> float:
    """Run one tutorial, write its .ipynb file whole or not at all, and return the seconds that it took."""
    began = perf_counter()
    notebook = read_source(path)
    with tempfile.TemporaryDirectory() as folder:
        execute(notebook, Path(folder))
    write(notebook, path)
    return perf_counter() - began


def renew_text(path: Path) -> None:
    """Write the text of a .py file into its .ipynb file, whose outputs stay.

    Raises
    ------
    ValueError
        The code has changed: its outputs are of other code.
    """
    new, old = read_source(path), nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    ours, theirs = ([c for c in n.cells if c.cell_type == "code"] for n in (new, old))
    if [c.source for c in ours] != [c.source for c in theirs]:
        raise ValueError(f"{path.name}: code has changed; run it")
    for cell, before in zip(ours, theirs, strict=True):
        cell["outputs"], cell["execution_count"] = before["outputs"], before["execution_count"]
    write(new, path)


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write the .ipynb file of a .py file whole or not at all."""
    nbformat.validate(notebook)
    made = path.with_suffix(".ipynb.part")
    nbformat.write(notebook, made)
    made.replace(path.with_suffix(".ipynb"))


def main(wanted: list[str]) -> None:
    """Build the tutorials whose names begin with what is wanted, or all."""
    if wanted == ["--text"]:
        for path in SOURCES:
            renew_text(path)
        return
    unknown = [name for name in wanted if not any(path.name.startswith(name) for path in SOURCES)]
    if unknown:
        raise SystemExit(
            f"no tutorial begins with {', '.join(unknown)}; there are {', '.join(path.stem for path in SOURCES)}"
        )
    for path in SOURCES:
        if not wanted or path.name.startswith(tuple(wanted)):
            sys.stdout.write(f"{path.name}: {build(path):.0f} s\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
