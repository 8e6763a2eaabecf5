"""A model drawn as a graph: what depends on what, from the outline that its run recorded."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyBboxPatch

from bayes_her2.report import formats
from bayes_her2.report.figures import GREY, INK, Drawing, Maker, image_of
from bayes_her2.report.load import MODEL, Results, Row
from bayes_her2.report.maths import checked, spoken

WIDTH, HEIGHT = 1.36, 0.56
"""Inches of a node."""
ACROSS, DOWN = 1.62, 0.98
"""Inches from node to node, and from row to row."""
SWEEPS = 24
DATA = "#dfe3e8"


@dataclass(frozen=True)
class Node:
    """A quantity, or several that the outline draws as one.

    Attributes
    ----------
    symbol
        In LaTeX.
    each
        What it is indexed by.
    kind
        ``data``, ``random`` or ``calculated``.
    parents
        Nodes that it depends on.
    """

    symbol: str
    each: str
    kind: str
    parents: tuple[str, ...]


@dataclass(frozen=True)
class Laid:
    """Nodes with places.

    Attributes
    ----------
    row
        Node -> row, from 0 above; parents are always above.
    x
        Node -> place in its row, in widths of a node.
    bends
        (Parent, node) -> places of their arrow in the rows between.
    """

    row: Mapping[str, int]
    x: Mapping[str, float]
    bends: Mapping[tuple[str, str], tuple[tuple[float, int], ...]]


def nodes_of(rows: Sequence[Row]) -> dict[str, Node]:
    """Join the lines of an outline that share a node."""
    made: dict[str, Node] = {}
    for name in dict.fromkeys(row["node"] for row in rows):
        own = [row for row in rows if row["node"] == name]
        calculated = all(row["relation"] == "=" for row in own)
        made[name] = Node(
            symbol=name,
            each=own[0]["for_each"] or "",
            kind="data" if own[0]["observed"] else "calculated" if calculated else "random",
            parents=tuple(dict.fromkeys(p for row in own for p in (row["parents"] or "").split("; ") if p)),
        )
    return made


def laid_out(nodes: Mapping[str, Node]) -> Laid:
    """Give nodes rows and places: parents above, arrows short and with few crossings, always the same way.

    Layers as in Sugiyama, Tagawa & Toda (1981), doi 10.1109/TSMC.1981.4308636: rows by the longest way from above,
    orders by the mean of neighbours, places as near to neighbours as the width of nodes allows.
    """
    children: dict[str, list[str]] = {name: [] for name in nodes}
    for name, node in nodes.items():
        for parent in node.parents:
            children[parent].append(name)
    row: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in row:
            row[name] = max((depth(parent) + 1 for parent in nodes[name].parents), default=0)
        return row[name]

    for name in nodes:
        depth(name)
    for name in sorted(
        nodes, key=lambda n: -row[n]
    ):  # what depends on nothing stands just above what needs it
        if not nodes[name].parents and children[name]:
            row[name] = min(row[child] for child in children[name]) - 1

    links: list[tuple[str, str]] = []
    chains: dict[tuple[str, str], list[str]] = {}
    rows: dict[int, list[str]] = {}
    level = dict(row)
    for name in nodes:
        rows.setdefault(row[name], []).append(name)
    for name, node in nodes.items():
        for parent in node.parents:
            between = [f"{parent} to {name} at {r}" for r in range(row[parent] + 1, row[name])]
            chains[parent, name] = between
            for r, made in enumerate(between, start=row[parent] + 1):
                rows[r].append(made)
                level[made] = r
            path = [parent, *between, name]
            links += list(itertools.pairwise(path))
    near: dict[str, tuple[list[str], list[str]]] = {name: ([], []) for name in level}
    for upper, lower in links:
        near[lower][0].append(upper)
        near[upper][1].append(lower)
    x = {name: float(i) for members in rows.values() for i, name in enumerate(members)}
    order = sorted(rows)
    for sweep in range(SWEEPS):
        side = sweep % 2  # downwards by what is above, upwards by what is below
        for r in order if side == 0 else reversed(order):
            members = rows[r]
            wanted = {n: float(np.mean([x[m] for m in near[n][side]] or [x[n]])) for n in members}
            members.sort(key=lambda n: (wanted[n], n))
            # Least squares to the wanted places, neighbours a width apart or more (half of one beside an arrow).
            steps = np.cumsum([0.0, *(_apart(a, b, nodes) for a, b in itertools.pairwise(members))])
            placed = _never_falling(np.array([wanted[n] for n in members]) - steps) + steps
            x |= dict(zip(members, map(float, placed), strict=True))
    first = min(x[name] for name in nodes)
    x = {name: place - first for name, place in x.items()}
    bends = {ends: tuple((x[made], level[made]) for made in chain) for ends, chain in chains.items()}
    return Laid(row, {name: x[name] for name in nodes}, bends)


def _never_falling(values: np.ndarray) -> np.ndarray:
    """Numbers nearest to these by least squares that never fall: neighbours that do are replaced by their mean."""
    pools: list[list[float]] = []
    for value in values:
        pools.append([float(value)])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    return np.concatenate([np.full(len(pool), np.mean(pool)) for pool in pools])


def _apart(a: str, b: str, nodes: Mapping[str, Node]) -> float:
    return 1.0 if a in nodes and b in nodes else 0.72 if a in nodes or b in nodes else 0.3


@dataclass(frozen=True)
class Place:
    """Where a node stands, in inches, and whether it has corners."""

    at: tuple[float, float]
    corners: bool

    def edge(self, other: tuple[float, float]) -> tuple[float, float]:
        """Where the line to another place meets the edge of the node."""
        x, y = self.at
        dx, dy = other[0] - x, other[1] - y
        across, down = abs(dx) / (WIDTH / 2), abs(dy) / (HEIGHT / 2)
        scale = 1.0 / (max(across, down) if self.corners else float(np.hypot(across, down)))
        return x + scale * dx, y + scale * dy


def model_graph(results: Results, model: str = MODEL) -> Drawing | None:
    """Draw a model as a graph; none where the run did not record its outline."""
    rows = results.rows("outline", model)
    if not rows:
        return None
    nodes = nodes_of(rows)
    laid = laid_out(nodes)
    right, below = max(laid.x.values()), max(laid.row.values())
    width, height = (right + 1) * ACROSS, (below + 1) * DOWN
    figure = Figure(figsize=(width, height + 0.1))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, width)
    axes.set_ylim(0, height + 0.1)
    axes.axis("off")
    place = {
        name: Place(
            ((laid.x[name] + 0.5) * ACROSS, height - (laid.row[name] + 0.5) * DOWN),
            corners=node.kind == "calculated",
        )
        for name, node in nodes.items()
    }
    for (parent, name), bends in laid.bends.items():
        way = [((x + 0.5) * ACROSS, height - (row + 0.5) * DOWN) for x, row in bends]
        _arrow(axes, place[parent], way, place[name])
    for name, node in nodes.items():
        _node(axes, place[name].at, node)
    return Drawing(
        "graph" if model == MODEL else f"graph_{model}",
        f"{'The model' if model == MODEL else f'Model {model}'} as a graph: an arrow leads from each quantity to what "
        "depends on it. Grey: data. Ellipse: has a distribution. Box with corners: calculated. Under a symbol stands "
        "what it is indexed by; the table of the model's lines says what symbols mean.",
        _in_words(nodes),
        image_of(results, figure),
    )


def graph_of(model: str) -> Maker:
    """Return what draws the graph of a model."""
    maker = partial(model_graph, model=model)
    maker.__name__ = f"graph of {model}"  # type: ignore[attr-defined]
    return maker


def _in_words(nodes: Mapping[str, Node]) -> str:
    """Say what the picture shows, for those who cannot see it."""
    told = [
        f"{spoken(node.symbol)} ({node.kind}) depends on {formats.listed(map(spoken, node.parents))}"
        for node in nodes.values()
        if node.parents
    ]
    return f"Graph of the model. {'; '.join(told)}."


def _node(axes: Axes, at: tuple[float, float], node: Node) -> None:
    x, y = at
    fill = DATA if node.kind == "data" else "white"
    if node.kind == "calculated":
        corner = (x - WIDTH / 2, y - HEIGHT / 2)
        axes.add_patch(
            FancyBboxPatch(
                corner, WIDTH, HEIGHT, "round,pad=0,rounding_size=0.04", fc=fill, ec=GREY, lw=0.9, zorder=3
            )
        )
    else:
        axes.add_patch(Ellipse(at, WIDTH, HEIGHT, fc=fill, ec=INK, lw=1.0, zorder=3))
    raised = 0.07 if node.each else 0.0
    axes.text(
        x,
        y + raised,
        f"${checked(node.symbol)}$",
        ha="center",
        va="center",
        fontsize=12,
        color=INK,
        zorder=4,
        parse_math=True,
    )
    if node.each:
        said = node.each.replace("; ", " × ")
        axes.text(x, y - 0.13, said, ha="center", va="center", fontsize=6.5, color=GREY, zorder=4)


def _arrow(axes: Axes, start: Place, way: list[tuple[float, float]], end: Place) -> None:
    """Draw an arrow from the edge of a node to the edge of another, around what stands between."""
    path = [start.at, *way, end.at]
    tail, tip = start.edge(path[1]), end.edge(path[-2])
    if way:
        axes.plot(*zip(tail, *way, strict=True), color=GREY, lw=0.9, solid_joinstyle="round", zorder=1)
    axes.annotate(
        "",
        xy=tip,
        xytext=way[-1] if way else tail,
        arrowprops={
            "arrowstyle": "-|>",
            "color": GREY,
            "lw": 0.9,
            "shrinkA": 0,
            "shrinkB": 1,
            "mutation_scale": 9,
        },
        zorder=2,
    )
