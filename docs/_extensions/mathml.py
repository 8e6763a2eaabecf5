"""Equations as MathML: browsers draw it, so that no script is asked for from a server."""

from __future__ import annotations

import html
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

from bayes_her2.report.maths import converted

NAMED = re.compile(r"(?<!<msup>)(?<!<msub>)(?<!<msubsup>)(<mi>[A-Za-z]{2,}</mi>)(?=<mi>|<msu|<mrow><mi>)")
"""The name of a function that a symbol follows, but for one that has an exponent or an index."""

ALIGNED = re.compile(r"\\begin\{(aligned|align\*?|split)\}(.*)\\end\{\1\}", re.DOTALL)


def as_mathml(latex: str, *, display: bool) -> str:
    """Return an equation as MathML; rows of `aligned` become rows of a table, parted at their ampersands."""
    aligned = ALIGNED.fullmatch(latex.strip())
    if aligned is None:
        return _converted(latex, display=display)
    rows = []
    for row in re.split(r"\\\\(?:\[[^\]]*\])?", aligned.group(2).strip()):
        cells = [_inside(cell, first=i == 0) for i, cell in enumerate(row.split("&"))]
        sides = ("right", "left")
        rows.append(
            "<mtr>"
            + "".join(f'<mtd class="{sides[i % 2]}">{cell}</mtd>' for i, cell in enumerate(cells))
            + "</mtr>"
        )
    return (
        f'<math display="block"><mtable displaystyle="true" class="aligned">{"".join(rows)}</mtable></math>'
    )


def _inside(latex: str, *, first: bool) -> str:
    """Return a cell, without its element `math`; a relation that begins it keeps its distance from the cell before."""
    if not latex.strip():
        return ""
    inside = re.sub(r"^<math[^>]*>|</math>$", "", _converted(latex, display=True))
    return inside if first else inside.replace("<mrow><mo>", '<mrow><mspace width="0.28em" /><mo>', 1)


def _converted(latex: str, *, display: bool) -> str:
    try:
        made = converted(latex.strip(), display=display)
    except Exception as error:
        raise ExtensionError(
            f"not an equation that can be converted: {latex.strip()!r} ({error!r})"
        ) from error
    # A name is no operator, which would part it from its bracket, and is parted from a symbol instead.
    made = re.sub(r"<mo>([A-Za-z])</mo>", r'<mi mathvariant="normal">\1</mi>', made)
    made = re.sub(r"<mo>([A-Za-z]{2,})</mo>", r"<mi>\1</mi>", made)
    return NAMED.sub(r'\1<mspace width="0.17em" />', made)


def inline(self: Any, node: nodes.math) -> None:
    """Write an equation within a line."""
    self.body.append(as_mathml(node.astext(), display=False))
    raise nodes.SkipNode


def displayed(self: Any, node: nodes.math_block) -> None:
    """Write an equation of its own, which scrolls by itself where it is wider than the page."""
    identity = f' id="{html.escape(node["ids"][0])}"' if node["ids"] else ""
    self.body.append(f'<div class="equation"{identity}>{as_mathml(node.astext(), display=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer as `mathml`."""
    app.add_html_math_renderer("mathml", (inline, None), (displayed, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
