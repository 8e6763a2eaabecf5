"""What the tutorials share: their size, a folder for their files, and how pictures are shown.

With ``BAYES_HER2_NOTEBOOK_SIZE=small`` in the environment, studies and fits are as small as they can be: the tests run
every notebook in seconds. The numbers that the text quotes are those of the full size.
"""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Image

from bayes_her2.report import figures
from bayes_her2.report.load import load_results

SMALL = os.environ.get("BAYES_HER2_NOTEBOOK_SIZE") == "small"
COLOURS = ("#1b6ca8", "#c2571a", "#4a7c59", "#7a4a8a", "#8c6d1f")
MARKERS = ("o", "s", "D", "^", "v")


def number(value: float) -> str:
    """Write a number with three significant digits, as tables of the tutorials do."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


pd.set_option("display.float_format", number)
pd.set_option("display.max_columns", 30)
pd.set_option("display.max_colwidth", 400)
pd.set_option("display.width", 160)


def sized(full: Any, small: Any) -> Any:
    """Return `full`, or `small` where the notebooks are run at small size."""
    return small if SMALL else full


def new_folder() -> Path:
    """Return an empty folder that is removed when Python ends."""
    folder = tempfile.TemporaryDirectory(prefix="bayes_her2_")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def forest(
    sides: Mapping[str, pd.DataFrame],
    *,
    label: str = "outcome",
    panel: str = "stratum",
    xlabel: str = "ratio per SD of HER2",
    null: float = 1.0,
    log: bool = True,
    ticks: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0),
) -> Any:
    """Draw intervals row by row, one panel for each value of a column, and the planted truth where it is known.

    Parameters
    ----------
    sides
        Name in the legend -> table with ``point``, ``lower``, ``upper`` and, where there is one, ``truth``.
    label, panel
        Columns that name rows and panels.
    xlabel, null, log, ticks
        The axis: its name, the value of no association, whether it is logarithmic, and (if so) its ticks.
    """
    every = pd.concat(sides.values())
    rows, panels = list(dict.fromkeys(every[label])), list(dict.fromkeys(every[panel]))
    figure, axes = plt.subplots(
        1,
        len(panels),
        figsize=(2.4 + 2.7 * len(panels), 1.2 + 0.19 * len(rows) * (1 + len(sides))),
        sharey=True,
        sharex=True,
        squeeze=False,
    )
    for at, (axis, name) in enumerate(zip(axes[0], panels, strict=True)):
        axis.axvline(null, color="0.6", lw=0.8)
        for i, (side, table) in enumerate(sides.items()):
            own = table[table[panel] == name]
            y = np.array([rows.index(r) for r in own[label]]) + 0.24 * (i - (len(sides) - 1) / 2)
            axis.hlines(y, own["lower"], own["upper"], color=COLOURS[i], lw=1.6)
            axis.plot(own["point"], y, MARKERS[i], color=COLOURS[i], ms=5, label=side)
        known = every[(every[panel] == name)].drop_duplicates(label)
        if "truth" in known:
            y_truth = [rows.index(r) for r in known[label]]
            axis.plot(known["truth"], y_truth, "x", color="black", ms=7, mew=1.6, label="planted truth")
        axis.set_title(str(name), fontsize=10)
        axis.set_xlabel(xlabel)
        if log:
            axis.set_xscale("log")
            axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
            axis.minorticks_off()
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(axis="y", length=0)
        if at == 0:
            axis.set_yticks(range(len(rows)), rows)
            axis.set_ylim(len(rows) - 0.4, -0.6)
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="lower center", ncols=len(names), frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.4 / figure.get_figheight(), 1, 1))
    return shown(figure)


def shown(figure: Any) -> Any:
    """Close a figure, so that a notebook shows it once: as the value of the cell."""
    plt.close(figure)
    return figure


def report_figure(folder: Path, name: str, width: int = 900) -> Image:
    """Show a figure of a results folder, drawn as in its report.

    The report has it as SVG, which some viewers of notebooks do not show; this is the same as PNG.

    Parameters
    ----------
    folder
        Results folder.
    name
        Name of a function of `bayes_her2.report.figures`: forest, interaction, recovery, ...
    width
        In pixels.
    """
    (drawing,) = figures.each_drawn(load_results(folder), [getattr(figures, name)], bitmaps=True)
    assert drawing is not None
    return Image(drawing.image.png, width=width, alt=drawing.alt)
