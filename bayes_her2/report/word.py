"""The report as a Word document: native tables, captions with numbers, figures with their text alternatives.

The same outline gives the same bytes: entries of the archive carry no time of their own, and the document that of
the run.
"""

from __future__ import annotations

import datetime as dt
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from docx import Document as new_document
from docx.document import Document as WordDocument
from docx.enum.section import WD_ORIENT, WD_SECTION
from docx.enum.style import WD_STYLE_TYPE
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls, qn
from docx.shared import Pt, RGBColor
from docx.text.paragraph import Paragraph

from bayes_her2.files import ARCHIVE_EPOCH
from bayes_her2.report.document import Block, Document, Formula, Heading, Points, Words
from bayes_her2.report.figures import Drawing
from bayes_her2.report.maths import omml
from bayes_her2.report.paper import (
    A4,
    CAPTION,
    MARGINS,
    PAD,
    SMALL,
    STRONG,
    Paper,
    columns,
    fitted,
    in_pieces,
    is_short,
    one_line,
)
from bayes_her2.report.tables import Cell, Line, Table

FONT = "Arial"
INK, GREY, ALERT = "1A1A1A", "5C5F66", "B3261E"
HAIRLINE = "D9DCE1"
NOTE, TABLE_TEXT, LEAD, META, WARNING = "Exhibit note", "Table text", "Lead", "Meta", "Warning"

_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_RGB = re.compile(r"rgb\((\d+),(\d+),(\d+)\)")


def as_docx(document: Document) -> bytes:
    """Return the document as a Word file (DOCX).

    Parameters
    ----------
    document
        What it holds; its figures as PNG too (`compose` with ``bitmaps``).
    """
    word = new_document()
    _styles(word)
    _properties(word, document)
    word.add_paragraph(_plain(document.title), style="Title")
    for i, sheet in enumerate(document.sheets):
        section = word.sections[0] if i == 0 else word.add_section(WD_SECTION.NEW_PAGE)
        _page(section, sheet.paper)
        if i == 0:
            _head_and_foot(section, document.simulated)
        for block in sheet.blocks:
            _add(word, block, sheet.paper)
    made = io.BytesIO()
    word.save(made)
    return _without_times(made.getvalue())


def _without_times(archive: bytes) -> bytes:
    """Write an archive again, every entry with the same time."""
    made = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as read,
        zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as written,
    ):
        for entry in read.infolist():
            bare = zipfile.ZipInfo(entry.filename, ARCHIVE_EPOCH)
            packed = not entry.filename.endswith(".png")
            written.writestr(bare, read.read(entry), zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED)
    return made.getvalue()


def _plain(text: str) -> str:
    """Text in one line, without what XML cannot hold."""
    return _NO_XML.sub("\ufffd", one_line(text))


# --- styles and pages ------------------------------------------------------------------------------


def _styles(word: WordDocument) -> None:
    base = word.styles["Normal"]
    _font(base, 10, INK)
    base.element.rPr.append(parse_xml(f'<w:lang {nsdecls("w")} w:val="en-GB" w:eastAsia="en-GB"/>'))
    base.paragraph_format.space_after = Pt(6)
    base.paragraph_format.line_spacing = 1.15
    sizes: dict[str, float] = {"Title": 18, "Heading 1": 14, "Heading 2": 11, "Heading 3": 10}
    for name, size in sizes.items():
        style = word.styles[name]
        _font(style, size, INK, bold=True)
        style.paragraph_format.space_before = Pt(0 if name == "Title" else size)
        style.paragraph_format.space_after = Pt(4)
        style.paragraph_format.keep_with_next = True
        for border in style.element.pPr.findall(qn("w:pBdr")):
            style.element.pPr.remove(border)
        for spacing in style.element.rPr.findall(qn("w:spacing")):
            style.element.rPr.remove(spacing)
    _font(word.styles["Caption"], CAPTION, INK, bold=False)
    word.styles["Caption"].paragraph_format.space_before = Pt(10)
    word.styles["Caption"].paragraph_format.space_after = Pt(4)
    for name, own_size, colour in (
        (NOTE, 7.5, GREY),
        (TABLE_TEXT, 8, INK),
        (LEAD, 11.5, INK),
        (META, 8, GREY),
        (WARNING, 10.5, ALERT),
    ):
        style = word.styles.add_style(name, WD_STYLE_TYPE.PARAGRAPH)
        style.base_style = base
        _font(style, own_size, colour, bold=name == WARNING)
        style.paragraph_format.line_spacing = 1.0
        style.paragraph_format.space_before = Pt(2 if name == NOTE else 0)
        style.paragraph_format.space_after = Pt({TABLE_TEXT: 0, NOTE: 1}.get(name, 6))


def _font(style: Any, size: float, colour: str, *, bold: bool = False) -> None:
    font = style.font
    font.name, font.size, font.bold, font.italic = FONT, Pt(size), bold, False
    font.color.rgb = RGBColor.from_string(colour)
    fonts = style.element.rPr.rFonts
    for name in list(fonts.attrib):  # those of the theme go before those that are named
        del fonts.attrib[name]
    for script in ("ascii", "hAnsi", "cs", "eastAsia"):
        fonts.set(qn(f"w:{script}"), FONT)


def _properties(word: WordDocument, document: Document) -> None:
    own = word.core_properties
    own.title, own.subject = _plain(document.title), _plain(document.study)
    own.author = own.last_modified_by = own.comments = own.keywords = own.category = ""
    own.language, own.revision = "en-GB", 1
    own.created = own.modified = _time(document.made)
    for key, relation in list(word.part.package.rels.items()):
        if relation.reltype == RELATIONSHIP_TYPE.THUMBNAIL:  # of the template
            del word.part.package.rels[key]


def _time(text: str) -> dt.datetime:
    """Time of the run, in UTC; the earliest one of an archive where none was recorded."""
    try:
        when = dt.datetime.fromisoformat(text)
    except ValueError:
        return dt.datetime(*ARCHIVE_EPOCH)
    return when.astimezone(dt.UTC).replace(tzinfo=None) if when.tzinfo else when


def _page(section: Any, paper: Paper) -> None:
    across = paper == "across"
    width, height = (A4[1], A4[0]) if across else A4
    section.orientation = WD_ORIENT.LANDSCAPE if across else WD_ORIENT.PORTRAIT
    section.page_width, section.page_height = Pt(width), Pt(height)
    margin = Pt(MARGINS[paper])
    section.left_margin = section.right_margin = section.top_margin = section.bottom_margin = margin
    section.header_distance = section.footer_distance = Pt(20)


def _head_and_foot(section: Any, simulated: str) -> None:
    """Page numbers, and the warning on every page; later sections take them over."""
    foot = section.footer.paragraphs[0]
    foot.alignment = WD_ALIGN_PARAGRAPH.CENTER
    foot.style = META
    _field(foot, "PAGE", "1")
    if simulated:
        head = section.header.paragraphs[0]
        head.alignment = WD_ALIGN_PARAGRAPH.CENTER
        head.style = WARNING
        head.add_run(simulated)


def _field(paragraph: Paragraph, code: str, shown: str) -> None:
    """Add a field, with what it shows until Word updates it."""
    parts = (
        '<w:fldChar w:fldCharType="begin"/>',
        f'<w:instrText xml:space="preserve"> {code} </w:instrText>',
        '<w:fldChar w:fldCharType="separate"/>',
        f"<w:t>{shown}</w:t>",
        '<w:fldChar w:fldCharType="end"/>',
    )
    for part in parts:
        paragraph._p.append(parse_xml(f"<w:r {nsdecls('w')}>{part}</w:r>"))


# --- blocks ----------------------------------------------------------------------------------------


def _add(word: WordDocument, block: Block, paper: Paper) -> None:
    if isinstance(block, Heading):
        word.add_heading(_plain(block.text), block.level)
    elif isinstance(block, Words):
        style = {"body": "Normal", "lead": LEAD, "meta": META, "warning": WARNING}[block.kind]
        word.add_paragraph(_plain(block.text), style=style)
    elif isinstance(block, Points):
        for point in block.items:
            paragraph = word.add_paragraph(style="List Bullet")
            if point.heading:
                paragraph.add_run(f"{_plain(point.heading)}. ").bold = True
            paragraph.add_run(_plain(point.text))
    elif isinstance(block, Formula):
        paragraph = word.add_paragraph(style="Normal")
        paragraph.paragraph_format.left_indent = Pt(18)
        paragraph._p.append(parse_xml(omml(block.latex).replace("<m:oMath>", f"<m:oMath {nsdecls('m')}>", 1)))
    elif isinstance(block, Drawing):
        _add_figure(word, block, paper)
    else:
        _add_table(word, block, paper)


def _caption(word: WordDocument, kind: str, number: int, text: str) -> Paragraph:
    """Add a caption as Word's own command writes it; its number is fixed, because it is that of the page."""
    paragraph = word.add_paragraph(style="Caption")
    paragraph.add_run(f"{kind} ")
    _field(paragraph, rf"SEQ {kind} \* ARABIC \r {number}", str(number))
    paragraph.add_run(".")
    for run in paragraph.runs:
        run.bold = True
    paragraph.add_run(f" {_plain(text)}")
    return paragraph


def _add_figure(word: WordDocument, drawing: Drawing, paper: Paper) -> None:
    width, height = fitted(drawing, paper)
    paragraph = word.add_paragraph()
    paragraph.paragraph_format.keep_with_next = True
    paragraph.paragraph_format.line_spacing = 1.0
    picture = paragraph.add_run().add_picture(io.BytesIO(drawing.image.png), Pt(width), Pt(height))
    about = picture._inline.docPr
    about.set("name", f"Figure {drawing.number}")
    about.set("descr", _plain(drawing.alt))
    _caption(word, "Figure", drawing.number, drawing.caption).paragraph_format.space_before = Pt(2)


def _add_table(word: WordDocument, table: Table, paper: Paper) -> None:
    caption = _caption(word, "Table", table.number, table.caption)
    caption.paragraph_format.keep_with_next = True
    if table.lines:
        caption._p.addnext(parse_xml("".join(_table_xml(table, paper))))
    else:
        word.add_paragraph("No rows.", style=NOTE).paragraph_format.keep_with_next = True
    for note in table.notes:
        word.add_paragraph(_plain(note), style=NOTE).paragraph_format.keep_with_next = True
    word.add_paragraph(f"Data: {table.source}", style=NOTE).paragraph_format.space_after = Pt(10)


def _table_xml(table: Table, paper: Paper) -> Iterator[str]:
    """Write a table: a rule above and below the heading rows and below the last row, in columns of fixed width."""
    laid = columns(table, paper)
    widths = [round(20 * (width + 2 * PAD)) for width in laid.widths]
    pad = round(20 * PAD)
    sides = ["left", *("left" if column.words else "right" for column in table.columns)]
    yield f"<w:tbl {nsdecls('w', 'm')}><w:tblPr>"
    yield f'<w:tblW w:w="{sum(widths)}" w:type="dxa"/><w:tblInd w:w="0" w:type="dxa"/>'
    yield f'<w:tblBorders>{_rule("bottom", 12, INK)}</w:tblBorders><w:tblLayout w:type="fixed"/>'
    yield f'<w:tblCellMar><w:top w:w="20" w:type="dxa"/><w:left w:w="{pad}" w:type="dxa"/>'
    yield f'<w:bottom w:w="20" w:type="dxa"/><w:right w:w="{pad}" w:type="dxa"/></w:tblCellMar>'
    yield '<w:tblLook w:firstRow="1" w:firstColumn="1" w:noHBand="1" w:noVBand="1"/>'
    yield f'<w:tblCaption w:val="Table {table.number}"/>'
    yield f"<w:tblDescription w:val={quoteattr(_plain(table.caption))}/></w:tblPr><w:tblGrid>"
    yield "".join(f'<w:gridCol w:w="{width}"/>' for width in widths) + "</w:tblGrid>"
    yield from _heading_rows(table, widths, sides, laid.size)
    lines, whole = in_pieces(table, laid, paper), is_short(table, laid, paper)
    for i, line in enumerate(lines):
        last = i + 1 == len(lines)
        first = i > 0 and line.span > 0 and table.grouped
        keep = last or not lines[i + 1].span or whole  # the last one with the notes
        yield _row(_body_cells(line, widths, sides, laid.size, keep=keep, first=first), head=False)
    yield "</w:tbl>"


def _rule(side: str, eighths: int, colour: str) -> str:
    return f'<w:{side} w:val="single" w:sz="{eighths}" w:space="0" w:color="{colour}"/>'


def _row(cells: Iterator[str], *, head: bool) -> str:
    header = "<w:tblHeader/>" if head else ""
    return f"<w:tr><w:trPr><w:cantSplit/>{header}</w:trPr>{''.join(cells)}</w:tr>"


def _heading_rows(table: Table, widths: Sequence[int], sides: Sequence[str], size: float) -> Iterator[str]:
    labels = [table.stub, *(column.label for column in table.columns)]
    above, below = _rule("top", 12, INK), _rule("bottom", 6, INK)
    if not table.spanners:
        cells = zip(labels, widths, sides, strict=True)
        yield _row(
            (
                _tc(_p(_run(t, size, bold=True), s, keep=True), w, above + below, bottom=True)
                for t, w, s in cells
            ),
            head=True,
        )
        return
    upper = [
        _tc(
            _p(_run(table.stub, size, bold=True), "left", keep=True),
            widths[0],
            above + below,
            merge="restart",
            bottom=True,
        )
    ]
    lower = [_tc(_p("", "left", keep=True), widths[0], below, merge="continue")]
    at = 1
    for label, span, alone in table.spanners:
        here = range(at, at + span)
        if alone is None:
            text = _p(_run(label, size, bold=True), "center", keep=True)
            upper.append(
                _tc(
                    text,
                    sum(widths[i] for i in here),
                    above + _rule("bottom", 4, GREY),
                    across=span,
                    bottom=True,
                )
            )
            lower += [
                _tc(_p(_run(labels[i], size, bold=True), sides[i], keep=True), widths[i], below, bottom=True)
                for i in here
            ]
        else:
            text = _p(_run(label, size, bold=True), sides[at], keep=True)
            upper.append(_tc(text, widths[at], above + below, merge="restart", bottom=True))
            lower.append(_tc(_p("", "left", keep=True), widths[at], below, merge="continue"))
        at += span
    yield _row(iter(upper), head=True)
    yield _row(iter(lower), head=True)


def _body_cells(
    line: Line, widths: Sequence[int], sides: Sequence[str], size: float, *, keep: bool, first: bool
) -> Iterator[str]:
    over = _rule("top", 4, HAIRLINE) if first else ""
    merge = "" if line.span == 1 else "restart" if line.span else "continue"
    strong = "strong" in line.look.split()
    heading = _run(line.heading, size, bold=strong) if line.span else ""
    yield _tc(_p(heading, "left", keep=keep), widths[0], over, merge=merge)
    for cell, width, side in zip(line.cells, widths[1:], sides[1:], strict=True):
        runs = _cell_runs(cell, line, size)
        shade = _RGB.fullmatch(cell.shade)
        fill = "".join(f"{int(part):02X}" for part in shade.groups()) if shade else ""
        fill = fill or ("FFF6DF" if "changed" in line.look.split() else "")
        yield _tc(_p(runs, "center" if shade else side, keep=keep), width, over, fill=fill)


def _cell_runs(cell: Cell, line: Line, size: float) -> str:
    looks = {*cell.look.split(), *line.look.split()}
    colour = ALERT if looks & {"failed", "contradicts"} else GREY if looks & {"hollow", "off"} else ""
    bold = bool(looks & STRONG)
    if cell.maths:
        return _sized(omml(cell.text), size)
    runs = _run(cell.text, size, bold=bold, italic="hollow" in looks, colour=colour)
    if cell.sub:
        runs += "<w:r><w:br/></w:r>" + _run(cell.sub, size * SMALL, colour=GREY)
    return runs


def _sized(maths: str, size: float) -> str:
    """Give a formula letters of a size: of the table that it stands in."""
    look = f'<w:rPr><w:rFonts w:ascii="Cambria Math" w:hAnsi="Cambria Math"/><w:sz w:val="{round(2 * size)}"/></w:rPr>'
    return maths.replace("<m:t ", f"{look}<m:t ")


def _run(text: str, size: float, *, bold: bool = False, italic: bool = False, colour: str = "") -> str:
    if not text:
        return ""
    looks = ("<w:b/>" if bold else "") + ("<w:i/>" if italic else "")
    looks += f'<w:color w:val="{colour}"/>' if colour else ""
    looks += f'<w:sz w:val="{round(2 * size)}"/>'
    return f'<w:r><w:rPr>{looks}</w:rPr><w:t xml:space="preserve">{escape(_plain(text))}</w:t></w:r>'


def _p(runs: str, side: str, *, keep: bool) -> str:
    kept = "<w:keepNext/>" if keep else ""
    placed = "" if side == "left" else f'<w:jc w:val="{side}"/>'
    return f'<w:p><w:pPr><w:pStyle w:val="Tabletext"/>{kept}{placed}</w:pPr>{runs}</w:p>'


def _tc(
    paragraph: str,
    width: int,
    borders: str,
    *,
    across: int = 1,
    merge: str = "",
    fill: str = "",
    bottom: bool = False,
) -> str:
    """Write a cell: its width in twentieths of a point, borders, columns that it spans, rows that it is merged with."""
    own = f'<w:tcW w:w="{width}" w:type="dxa"/>'
    own += f'<w:gridSpan w:val="{across}"/>' if across > 1 else ""
    own += f'<w:vMerge w:val="{merge}"/>' if merge else ""
    own += f"<w:tcBorders>{borders}</w:tcBorders>" if borders else ""
    own += f'<w:shd w:val="clear" w:color="auto" w:fill="{fill}"/>' if fill else ""
    own += '<w:vAlign w:val="bottom"/>' if bottom else ""
    return f"<w:tc><w:tcPr>{own}</w:tcPr>{paragraph}</w:tc>"
