r"""The report as LaTeX: one file that pdflatex and lualatex compile, and its figures as PDF.

It is plain ASCII and needs packages of every LaTeX alone. Whatever a name holds is text: no letter of it
is a command. Letters that these fonts do not have are printed by their number, as U+4E2D.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from bayes_her2.report.document import Block, Document, Formula, Heading, Points, Sheet, Words
from bayes_her2.report.figures import Drawing
from bayes_her2.report.maths import checked
from bayes_her2.report.paper import (
    A4,
    CAPTION,
    LINE,
    LONGEST,
    MARGINS,
    PAD,
    SMALL,
    STRONG,
    columns,
    fitted,
    in_pieces,
    is_short,
    one_line,
)
from bayes_her2.report.tables import Cell, Line, Table

SOURCE = "report.tex"
FIGURES = "figures"
README = "README.txt"
HOW = (
    "Compile with `pdflatex report.tex` or `lualatex report.tex`, twice; rendering the report again replaces these "
    "files, so copy the folder before you edit it.\n"
)
COMPILED = (".aux", ".log", ".out", ".pdf")
"""What compiling makes beside the source: removed with it."""

_OWN = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # after a row it would be the row's option
    "]": "{]}",
    "*": "{*}",
}
_SYMBOLS = {
    "\u00a0": "~",
    "\u202f": r"\,",
    "\u2009": r"\,",
    "\u2003": r"\quad{}",
    "\u2010": "-",
    "\u2011": r"\mbox{-}",
    "\u2212": r"\textminus{}",
    "\u2013": r"\textendash{}",
    "\u2014": r"\textemdash{}",
    "\u2018": r"\textquoteleft{}",
    "\u2019": r"\textquoteright{}",
    "\u201c": r"\textquotedblleft{}",
    "\u201d": r"\textquotedblright{}",
    "\u2026": r"\textellipsis{}",
    "\u2020": r"\textdagger{}",
    "\u2021": r"\textdaggerdbl{}",
    "\u00a7": r"\textsection{}",
    "\u00b6": r"\textparagraph{}",
    "\u00b7": r"\textperiodcentered{}",
    "\u2022": r"\textbullet{}",
    "\u00b0": r"\textdegree{}",
    "\u00a9": r"\textcopyright{}",
    "\u00ae": r"\textregistered{}",
    "\u2122": r"\texttrademark{}",
    "\u00a3": r"\textsterling{}",
    "\u20ac": r"\texteuro{}",
    "\u00df": r"\ss{}",
    "\u00e6": r"\ae{}",
    "\u00c6": r"\AE{}",
    "\u00f8": r"\o{}",
    "\u00d8": r"\O{}",
    "\u0153": r"\oe{}",
    "\u0152": r"\OE{}",
    "\u0142": r"\l{}",
    "\u0141": r"\L{}",
    "\u0131": r"\i{}",
    "\u00f0": r"\dh{}",
    "\u00d0": r"\DH{}",
    "\u00fe": r"\th{}",
    "\u00de": r"\TH{}",
    "\u00ab": r"\guillemotleft{}",
    "\u00bb": r"\guillemotright{}",
}
_MATHS = (
    {
        "\u00b1": r"\pm",
        "\u00d7": r"\times",
        "\u00f7": r"\div",
        "\u2264": r"\leq",
        "\u2265": r"\geq",
        "\u2260": r"\neq",
        "\u2248": r"\approx",
        "\u2261": r"\equiv",
        "\u221e": r"\infty",
        "\u221a": r"\surd",
        "\u2211": r"\sum",
        "\u2190": r"\leftarrow",
        "\u2192": r"\rightarrow",
        "\u2191": r"\uparrow",
        "\u2193": r"\downarrow",
        "\u2194": r"\leftrightarrow",
        "\u2032": "'",
        "\u00b5": r"\mu",
        "\u2208": r"\in",
        "\u223c": r"\sim",
    }
    | {
        unicodedata.lookup(f"GREEK {case} LETTER {name.upper()}"): "\\"
        + (name if case == "SMALL" else name.capitalize())
        for case, names in (
            (
                "SMALL",
                "alpha beta gamma delta epsilon zeta eta theta iota kappa mu nu xi pi rho sigma tau upsilon phi chi "
                "psi omega",
            ),
            ("CAPITAL", "gamma delta theta xi pi sigma upsilon phi psi omega"),
        )
        for name in names.split()
    }
    | {"\u03bb": r"\lambda", "\u039b": r"\Lambda"}
)
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0323": "d",
    "\u0327": "c",
    "\u0328": "k",
}
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))


def escaped(text: str) -> str:
    r"""Return text as LaTeX that prints it and does nothing else, in ASCII; long words may be divided."""
    made = " ".join(_divided(word) for word in one_line(text).split(" "))
    return re.sub(r"(?<=[-',!?])(?=[-',`])", "{}", made)  # two hyphens are no dash


def _divided(word: str) -> str:
    """Escape one word; one that is longer than a cell may be gets places to divide it at."""
    if len(word) <= LONGEST:
        return "".join(_letter(letter) for letter in word)
    made, since = [], 0
    for letter in word:
        made.append(_letter(letter))
        since += 1
        if letter in "_/.:;,=" or since == LONGEST:
            made.append(r"\allowbreak{}")
            since = 0
    return "".join(made)


def _letter(letter: str) -> str:
    if letter in _OWN:
        return _OWN[letter]
    if " " <= letter <= "~":
        return letter
    if letter in _SYMBOLS:
        return _SYMBOLS[letter]
    if letter in _MATHS:
        return rf"\ensuremath{{{_MATHS[letter]}}}"
    if letter in _RAISED:
        sign = r"\textminus{}" if _RAISED[letter] == "-" else _RAISED[letter]
        return rf"\textsuperscript{{{sign}}}"
    if letter in _LOWERED:
        return rf"\textsubscript{{{_LOWERED[letter]}}}"
    parts = unicodedata.normalize("NFD", letter)
    base, marks = parts[0], parts[1:]
    if marks and base.isascii() and base.isalpha() and all(mark in _ACCENTS for mark in marks):
        made = base
        for mark in marks:
            made = rf"\{_ACCENTS[mark]}{{{made}}}"
        return made
    return rf"\texttt{{U+{ord(letter):04X}}}"


def _pt(length: float) -> str:
    return f"{length:.2f}bp"


def _size(size: float) -> str:
    """Set the size of the text that follows."""
    return rf"\fontsize{{{size:.2f}}}{{{size * LINE:.2f}}}\selectfont "


def as_latex(document: Document) -> str:
    """Return the source; figures are in ``figures/`` beside it.

    Parameters
    ----------
    document
        What it holds.
    """
    body = "\n".join(part for i, sheet in enumerate(document.sheets) for part in _sheet(sheet, first=i == 0))
    stamp = (
        rf"\hfil\textcolor{{alert}}{{\footnotesize\bfseries {escaped(document.simulated)}}}\hfil"
        if document.simulated
        else ""
    )
    return PREAMBLE % {
        "title": escaped(document.title),
        "width": _pt(A4[0]),
        "height": _pt(A4[1]),
        "text": _pt(MARGINS["text"]),
        "stamp": stamp,
        "pad": _pt(PAD),
        "caption": _size(CAPTION),
        "body": body,
    }


PREAMBLE = r"""\documentclass[10pt,a4paper]{article}
\usepackage[T1]{fontenc}
\usepackage{textcomp}
\usepackage[scaled=0.95]{helvet}
\renewcommand{\familydefault}{\sfdefault}
\usepackage[paperwidth=%(width)s,paperheight=%(height)s,margin=%(text)s,headsep=10bp,footskip=24bp]{geometry}
\usepackage{array}
\usepackage{booktabs}
\usepackage{longtable}
\usepackage{graphicx}
\usepackage{color}
\usepackage{pdflscape}
\usepackage[hidelinks]{hyperref}
\hypersetup{pdftitle={%(title)s}}
\definecolor{alert}{rgb}{0.70,0.15,0.12}
\definecolor{grey}{rgb}{0.36,0.37,0.40}
\setcounter{secnumdepth}{0}
\setlength{\parindent}{0bp}
\setlength{\parskip}{5bp}
\setlength{\emergencystretch}{3em}
\setlength{\tabcolsep}{%(pad)s}
\setlength{\LTleft}{0bp}
\setlength{\LTright}{0bp plus 1fill}
\setlength{\LTpre}{4bp}
\setlength{\LTpost}{2bp}
\renewcommand{\arraystretch}{1.12}
\newcolumntype{L}[1]{>{\raggedright\arraybackslash}p{#1}}
\newcolumntype{R}[1]{>{\raggedleft\arraybackslash}p{#1}}
\newcolumntype{C}[1]{>{\centering\arraybackslash}p{#1}}
\newcommand{\captionsize}{%(caption)s}
\makeatletter
\newcommand{\room}[1]{\par\begingroup\dimen@=#1\relax\vskip\z@\@plus\dimen@\penalty-100\vskip\z@\@plus-\dimen@
  \vskip\dimen@\penalty9999\vskip-\dimen@\vskip\z@skip\endgroup}
\renewcommand{\@makecaption}[2]{\vskip 4bp{\captionsize\raggedright\textbf{#1.} #2\par}}
\renewcommand{\LT@makecaption}[3]{\LT@mcol\LT@cols{@{}l@{}}{\hbox to\z@{%%
  \parbox[t]{\linewidth}{\captionsize\raggedright\textbf{#2.} #3\par\vskip 4bp}\hss}}}
\renewcommand{\section}{\@startsection{section}{1}{\z@}{14bp}{5bp}{\large\bfseries\raggedright}}
\renewcommand{\subsection}{\@startsection{subsection}{2}{\z@}{10bp}{3bp}{\normalsize\bfseries\raggedright}}
\newcommand{\ps@report}{%%
  \def\@oddhead{%(stamp)s}\let\@evenhead\@oddhead
  \def\@oddfoot{\hfil\footnotesize\thepage\hfil}\let\@evenfoot\@oddfoot}
\makeatother
\pagestyle{report}
\raggedbottom
\begin{document}
{\LARGE\bfseries\raggedright %(title)s\par}
%(body)s
\end{document}
"""


def _sheet(sheet: Sheet, *, first: bool) -> Iterator[str]:
    """Blocks of pages of one kind; the first ones follow the title on its page."""
    if sheet.paper != "text":
        yield rf"\newgeometry{{margin={_pt(MARGINS[sheet.paper])},headsep=6bp,footskip=16bp}}"
    elif not first:
        yield r"\restoregeometry"
    if sheet.paper == "across":
        yield r"\begin{landscape}"
    for block in sheet.blocks:
        yield from _block(block, sheet)
    if sheet.paper == "across":
        yield r"\end{landscape}"
    yield r"\clearpage"


def _block(block: Block, sheet: Sheet) -> Iterator[str]:
    if isinstance(block, Heading):
        if sheet.paper != "text":
            yield r"\room{120bp}"  # no heading without the beginning of its exhibit
        yield rf"\{'sub' * (block.level - 1)}section{{{escaped(block.text)}}}"
    elif isinstance(block, Words):
        text = escaped(block.text)
        look = {
            "body": "{}",
            "lead": r"{{\large {}\par}}",
            "meta": r"{{\footnotesize\textcolor{{grey}}{{{}}}\par}}",
            "warning": r"{{\bfseries\textcolor{{alert}}{{{}}}\par}}",
        }
        yield look[block.kind].format(text) + "\n"
    elif isinstance(block, Points):
        yield r"\begin{itemize}\setlength{\itemsep}{1bp}\setlength{\leftskip}{0bp}\raggedright"
        for point in block.items:
            lead = rf"\textbf{{{escaped(point.heading)}.}} " if point.heading else ""
            yield rf"\item {lead}{escaped(point.text)}"
        yield r"\end{itemize}"
    elif isinstance(block, Formula):
        yield rf"{{\raggedright\hspace*{{18bp}}${checked(block.latex)}$\par}}"
    elif isinstance(block, Drawing):
        yield from _figure(block, sheet)
    else:
        yield from _table(block, sheet)


def _figure(drawing: Drawing, sheet: Sheet) -> Iterator[str]:
    width, height = fitted(drawing, sheet.paper)
    yield r"\par\vskip 8bp\begin{minipage}{\linewidth}"
    yield rf"\includegraphics[width={_pt(width)},height={_pt(height)}]{{{FIGURES}/{drawing.name}.pdf}}\par"
    yield rf"\vskip 4bp{{\captionsize\raggedright\textbf{{Figure {drawing.number}.}} {escaped(drawing.caption)}\par}}"
    yield r"\end{minipage}\par"


def _table(table: Table, sheet: Sheet) -> Iterator[str]:
    caption = escaped(table.caption)
    if not table.lines:
        yield rf"\par{{\captionsize\raggedright\textbf{{Table {table.number}.}} {caption} No rows.\par}}"
    else:
        laid = columns(table, sheet.paper)
        n = len(laid.widths)
        sides = ["L", *("L" if column.words else "R" for column in table.columns)]
        spec = "".join(f"{side}{{{_pt(width)}}}" for side, width in zip(sides, laid.widths, strict=True))
        head = "\n".join(_head(table, laid.widths))
        yield rf"\room{{60bp}}{{{_size(laid.size)}\setcounter{{table}}{{{table.number - 1}}}"
        yield rf"\begin{{longtable}}{{@{{}}{spec}@{{}}}}"
        yield rf"\caption{{{caption}}}\\"
        yield rf"\toprule{chr(10)}{head}\midrule\endfirsthead"
        yield rf"\multicolumn{{{n}}}{{@{{}}l}}{{Table {table.number}, continued}}\\"
        yield rf"\toprule{chr(10)}{head}\midrule\endhead"
        yield r"\bottomrule\endlastfoot"
        whole = is_short(table, laid, sheet.paper)
        yield from _rows(in_pieces(table, laid, sheet.paper), laid.size, whole=whole)
        yield r"\end{longtable}}"
    for note in table.notes:
        yield rf"{{\footnotesize\raggedright {escaped(note)}\par}}"
    yield rf"{{\scriptsize\raggedright\textcolor{{grey}}{{Data: {escaped(table.source)}}}\par}}\vskip 8bp"


def _head(table: Table, widths: Sequence[float]) -> Iterator[str]:
    """Heading rows: groups of columns over a rule, then columns."""
    if table.spanners:
        cells, rules, at = ["{}"], [], 1
        for label, width, alone in table.spanners:
            if alone is None:
                across = sum(widths[at : at + width]) + 2 * PAD * (width - 1)
                cells.append(rf"\multicolumn{{{width}}}{{C{{{_pt(across)}}}}}{{\textbf{{{escaped(label)}}}}}")
                rules.append(rf"\cmidrule(lr){{{at + 1}-{at + width}}}")
            else:
                cells.append("{}")
            at += width
        yield " & ".join(cells) + r"\\*" + "".join(rules)
    labels = [table.stub, *(column.label for column in table.columns)]
    yield " & ".join(_heading(label) for label in labels) + r"\\*"


def _heading(label: str) -> str:
    return rf"\textbf{{{escaped(label)}}}" if label else "{}"


def _rows(lines: Sequence[Line], size: float, *, whole: bool) -> Iterator[str]:
    for i, line in enumerate(lines):
        heading = escaped(line.heading) if line.span else ""
        if "strong" in line.look.split():
            heading = rf"\textbf{{{heading}}}"
        last = i + 1 == len(lines) or lines[i + 1].span > 0
        end = r"\\" if last and not whole else r"\\*"
        between = (
            r"\addlinespace[2bp]"
            if last and i + 1 < len(lines) and (line.span != 1 or lines[i + 1].span != 1)
            else ""
        )
        cells = [_cell(cell, line, size) for cell in line.cells]
        yield " & ".join([heading or "{}", *cells]) + end + between


def _cell(cell: Cell, line: Line, size: float) -> str:
    looks = {*cell.look.split(), *line.look.split()}
    text = f"${checked(cell.text)}$" if cell.maths else escaped(cell.text)
    if looks & STRONG:
        text = rf"\textbf{{{text}}}"
    if looks & {"failed", "contradicts"}:
        text = rf"\textcolor{{alert}}{{{text}}}"
    elif looks & {"hollow", "off"}:
        text = rf"\textcolor{{grey}}{{{text}}}"
    if "hollow" in looks:
        text = rf"\textit{{{text}}}"
    if cell.sub:
        text += rf"\par {_size(size * SMALL)}\textcolor{{grey}}{{{escaped(cell.sub)}}}"
    return text or "{}"


def files_of(document: Document) -> dict[str, bytes]:
    """Return every file of the folder by name, the source last.

    Parameters
    ----------
    document
        What it holds.
    """
    made = {
        f"{FIGURES}/{block.name}.pdf": block.image.pdf
        for block in document.blocks
        if isinstance(block, Drawing)
    }
    return made | {README: HOW.encode(), SOURCE: as_latex(document).encode("ascii")}
