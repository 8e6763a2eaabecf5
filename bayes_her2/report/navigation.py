"""Ways through a page: its headings, tables and figures, read from its own HTML, so that no list can be out of step."""

from __future__ import annotations

import re
from typing import NamedTuple

from markupsafe import Markup

HEADING = re.compile(r'<h2 id="([^"]+)">(.*?)</h2>', re.DOTALL)
EXHIBIT = re.compile(
    r"(?:<summary>[^<]*?\d+\. (?P<summary>[^<]*?) *(?:<span[^>]*>[^<]*</span>)?</summary>\s*)?"
    r'<figure class="exhibit[^"]*" id="(?P<anchor>[^"]+)">\s*'
    r"<figcaption[^>]*><b>(?P<number>[^<]*)</b> (?P<caption>.*?)</figcaption>",
    re.DOTALL,
)
LONGEST = 80
"""Letters of an exhibit's title in a list, at most."""
WAY_BACK = Markup('<p class="back"><a href="#contents">Back to contents</a></p>\n')


class Place(NamedTuple):
    """Where a link leads, and what it says."""

    anchor: str
    title: Markup


def headings(body: str) -> list[Place]:
    """Find the sections of a page, by their headings."""
    return [Place(anchor, Markup(title)) for anchor, title in HEADING.findall(body)]


def exhibits(body: str) -> list[Place]:
    """Find tables and figures of a page: number, and what the fold says, or else how the caption begins."""
    return [
        Place(
            found["anchor"],
            Markup.escape(f"{found['number']} {_title(found['summary'] or found['caption'])}"),
        )
        for found in EXHIBIT.finditer(body)
    ]


def _title(html: str) -> str:
    """Text up to its first colon, full stop or question mark, and no longer than a list bears."""
    text = Markup(html).striptags()
    text = re.split(r"(?<=\?) |[:;] |\. (?=[A-Z])", text, maxsplit=1)[0].removesuffix(".")
    if len(text) <= LONGEST:
        return text
    return text[:LONGEST].rpartition(" ")[0].rstrip(",") + " …"


def with_ways_back(body: str) -> Markup:
    """End every section with a link to the contents."""
    return Markup(str(body).replace("</section>", f"{WAY_BACK}</section>"))
