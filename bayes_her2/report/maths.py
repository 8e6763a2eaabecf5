"""Symbols and equations of a model as MathML for the page, Office Math for Word, and LaTeX.

What comes from a results folder is LaTeX of a small set of commands, and anything else is refused: a page or a document
never runs what a file says.
"""

from __future__ import annotations

import re
from functools import cache
from html import escape
from xml.etree import ElementTree as ET

from latex2mathml.converter import convert

from bayes_her2.errors import DataError

COMMANDS = frozenset(
    [
        *(
            "alpha",
            "beta",
            "gamma",
            "delta",
            "zeta",
            "eta",
            "theta",
            "iota",
            "kappa",
            "lambda",
            "mu",
            "xi",
            "pi",
            "rho",
        ),
        *(
            "sigma",
            "tau",
            "phi",
            "psi",
            "omega",
            "Sigma",
            "bar",
            "hat",
            "mathbf",
            "mathrm",
            "log",
            "sqrt",
            "sum",
            "in",
        ),
        *("leq", "sim", "top", "quad", ",", ";", "{", "}"),
    ]
)
"""What stands behind a backslash."""
_COMMAND = re.compile(r"\\([A-Za-z]+|.)")
_PLAIN = re.compile(r"[\w\s.,:;+*/=<>()\[\]{}^|~'-]*\Z", re.ASCII)
MAXIMUM = 1000
"""Letters of one formula."""
_LETTER = re.compile(r'<mi mathvariant="normal">(.)</mi>')
_ITSELF = r"\1"
_WORD = re.compile(rf"(?:{_LETTER.pattern.replace('(.)', '.')}){{2,}}")
_MATHML = "{http://www.w3.org/1998/Math/MathML}"


def checked(latex: str) -> str:
    """Return LaTeX as it is, if it is nothing but a formula.

    Raises
    ------
    DataError
        If it has a command that no model uses, or signs that have a meaning for LaTeX or HTML.
    """
    unknown = [name for name in _COMMAND.findall(latex) if name not in COMMANDS]
    rest = _COMMAND.sub("", latex)
    depth = [rest[:i].count("{") - rest[:i].count("}") for i in range(len(rest) + 1)]
    if unknown or not _PLAIN.match(rest) or min(depth) < 0 or depth[-1] or len(latex) > MAXIMUM:
        what = f"the command \\{unknown[0]}" if unknown else "signs or braces that no formula of a model has"
        raise DataError(
            f"formula {latex[:60]!r}: it has {what}; run the analysis again, which writes the equations anew."
        )
    return latex


@cache
def mathml(latex: str, *, display: bool = False) -> str:
    """Return a formula as MathML, which browsers draw by themselves.

    Raises
    ------
    DataError
        See `checked`.
    """
    made = converted(checked(latex), display=display)
    return made.replace(f' xmlns="{_MATHML[1:-1]}"', "")


@cache
def omml(latex: str) -> str:
    """Return a formula as Office Math, for a paragraph of a Word document with the namespace ``m``.

    Raises
    ------
    DataError
        See `checked`.
    """
    root = ET.fromstring(converted(checked(latex)))
    return f"<m:oMath>{_all(root)}</m:oMath>"


def converted(latex: str, *, display: bool = False) -> str:
    """Return LaTeX that is known to be harmless as MathML.

    The letters of a word are one thing to show and to read aloud, and "is distributed as" has the spaces of a relation.
    """
    made = convert(latex, display="block" if display else "inline")
    made = made.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>").replace(
        "<mo>&#x0007E;</mo>", "<mo>&#x0223C;</mo>"
    )
    return _WORD.sub(lambda found: f"<mi>{_LETTER.sub(_ITSELF, found[0])}</mi>", made)


def length(latex: str) -> int:
    """Letters that a formula takes in a line, about: a command is one, a letter below or above half."""
    plain = re.sub(r"\\(mathrm|mathbf|bar|hat|sqrt)", "", latex)
    plain = re.sub(r"\\(quad)", "  ", plain)
    plain = re.sub(r"\\[,;]", "", plain)
    plain = re.sub(r"\\(log|mathrm)\b", "log", plain)
    plain = re.sub(r"\\[A-Za-z]+ ?|\\.", "x", plain)
    scripts = sum(len(found) - 3 for found in re.findall(r"[_^]\{[^{}]*\}", plain))
    return len(re.sub(r"[{}_^]", "", plain)) - scripts // 2


def _all(element: ET.Element) -> str:
    return "".join(_one(child) for child in element)


def _one(element: ET.Element) -> str:
    """One element of MathML as Office Math."""
    tag = element.tag.removeprefix(_MATHML)
    children = list(element)
    if tag in ("mi", "mn", "mo", "mtext"):
        return _letters(element)
    if tag == "mspace":
        return '<m:r><m:t xml:space="preserve"> </m:t></m:r>'
    if tag == "msqrt":
        inside = _all(element)
        return f'<m:rad><m:radPr><m:degHide m:val="1"/></m:radPr><m:deg/><m:e>{inside}</m:e></m:rad>'
    if tag in ("msub", "msup", "munder") and len(children) == 2:
        base, script = map(_one, children)
        kind, where = ("sSup", "sup") if tag == "msup" else ("sSub", "sub")
        return f"<m:{kind}><m:e>{base}</m:e><m:{where}>{script}</m:{where}></m:{kind}>"
    if tag in ("msubsup", "munderover") and len(children) == 3:
        base, below, above = map(_one, children)
        return f"<m:sSubSup><m:e>{base}</m:e><m:sub>{below}</m:sub><m:sup>{above}</m:sup></m:sSubSup>"
    if tag == "mover" and len(children) == 2:
        mark = {"¯": "\u0305", "^": "\u0302", "\u02c6": "\u0302"}.get(
            (children[1].text or "").strip(), "\u0305"
        )
        return f'<m:acc><m:accPr><m:chr m:val="{mark}"/></m:accPr><m:e>{_one(children[0])}</m:e></m:acc>'
    return _all(element)  # math, mrow, mstyle


def _letters(element: ET.Element) -> str:
    """Letters of one look: names of functions and operators upright, symbols italic, vectors bold."""
    text = escape("".join(element.itertext()))
    variant = element.get("mathvariant", "")
    tag = element.tag.removeprefix(_MATHML)
    style = ""
    if variant == "bold":
        style = '<m:rPr><m:sty m:val="b"/></m:rPr>'
    elif tag == "mtext" or (tag == "mi" and len(text) > 1):
        style = "<m:rPr><m:nor/></m:rPr>"
    elif tag in ("mo", "mn") or variant == "normal":
        style = '<m:rPr><m:sty m:val="p"/></m:rPr>'
    return f'<m:r>{style}<m:t xml:space="preserve">{text}</m:t></m:r>'


def spoken(latex: str) -> str:
    r"""Say a symbol in words: ``\theta^{q}_{kc}`` is "theta, q, kc"."""
    text = re.sub(r"\\(?:mathrm|mathbf)", "", checked(latex))
    text = re.sub(r"\\([A-Za-z]+) ?", r"\1 ", text)
    text = re.sub(r"[_^]\{", ", ", text)
    return re.sub(r"\s+", " ", re.sub(r"[\\{}]", "", text)).replace(" ,", ",").strip()
