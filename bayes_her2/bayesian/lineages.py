"""The lineage of each cell type of LM22: the level between cell types of a model that has one.

Lineages are those of development. Two of them are choices: monocytes and macrophages are one and dendritic cells
another, because dendritic cells have precursors of their own (Guilliams et al. 2014, doi 10.1038/nri3712); mast cells
stand apart from eosinophils and neutrophils, because they mature in tissue.

References
----------
Newman et al. (2015), Robust enumeration of cell subsets from tissue expression profiles, doi 10.1038/nmeth.3337: the
signature's cell types.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bayes_her2.errors import DataError

LINEAGES: dict[str, tuple[str, ...]] = {
    "B and plasma cells": ("B cells naive", "B cells memory", "Plasma cells"),
    "T cells": (
        "T cells CD8",
        "T cells CD4 naive",
        "T cells CD4 memory resting",
        "T cells CD4 memory activated",
        "T cells follicular helper",
        "T cells regulatory (Tregs)",
        "T cells gamma delta",
    ),
    "NK cells": ("NK cells resting", "NK cells activated"),
    "Monocytes and macrophages": ("Monocytes", "Macrophages M0", "Macrophages M1", "Macrophages M2"),
    "Dendritic cells": ("Dendritic cells resting", "Dendritic cells activated"),
    "Mast cells": ("Mast cells resting", "Mast cells activated"),
    "Granulocytes": ("Eosinophils", "Neutrophils"),
}
"""Lineage -> its cell types of LM22."""

REASONS: dict[str, str] = {
    "B and plasma cells": "plasma cells are B cells that have differentiated",
    "T cells": "thymic origin, gamma-delta T cells included",
    "NK cells": "lymphoid, without thymus or a rearranged receptor",
    "Monocytes and macrophages": "one system of phagocytes; monocytes become macrophages in tissue",
    "Dendritic cells": "precursors of their own (Guilliams et al. 2014)",
    "Mast cells": "mature in tissue; not the granulocytes of blood",
    "Granulocytes": "polymorphonuclear, from the bone marrow ready-made",
}
"""Why the cell types of a lineage are one."""


def without_lineage(cell_types: Sequence[str]) -> str:
    """Why lineages cannot be had of these cell types, or ''."""
    known = {cell for cells in LINEAGES.values() for cell in cells}
    unknown = [name for name in cell_types if name not in known]
    if not unknown:
        return ""
    return (
        f"no lineage is known for {', '.join(unknown)}. The model with a level of lineages takes the cell types "
        "of LM22; compare the other structures, which take any signature."
    )


def membership(cell_types: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Lineages of these cell types, and lineage x cell type: 1.0 where it belongs.

    Raises
    ------
    DataError
        A cell type that is not one of LM22.
    """
    reason = without_lineage(cell_types)
    if reason:
        raise DataError(f"lineages: {reason}")
    of = {cell: lineage for lineage, cells in LINEAGES.items() for cell in cells}
    present = tuple(lineage for lineage in LINEAGES if any(of[c] == lineage for c in cell_types))
    return present, np.array([[float(of[c] == lineage) for c in cell_types] for lineage in present])
