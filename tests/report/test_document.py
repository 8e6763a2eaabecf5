"""The report in Word, LaTeX and PDF: what the page has, once, with its numbers, and no letter of a name a command."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import docx
import pytest
from docx.enum.section import WD_ORIENT
from docx.oxml.ns import qn
from PIL import Image

from bayes_her2.errors import DataError
from bayes_her2.report import latex, paper, printed, render, render_report, words
from bayes_her2.report.document import Document, Heading, document
from bayes_her2.report.figures import Drawing
from bayes_her2.report.load import load_results
from bayes_her2.report.tables import Cell, Column, Line, Table
from bayes_her2.workflow.results import PARTS

HOSTILE = r"A_B & 50% \input{x} <b>"


def pages_of(folder: Path, **options: Any) -> tuple[render.Page, Document]:
    """The page and the outline of a results folder."""
    results = load_results(folder, [section.reads for section in render.FURTHER])
    page = render.compose(results, **options)
    titles = dict(page.sections)
    return page, document(
        results,
        titles,
        page.exhibits,
        findings=render.findings(results) if "findings" in titles else (),
        methods=render.methods(results) if "methods" in titles else (),
        checked=render.checked(results),
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, builder_in: Callable[[Path], Any]) -> dict[str, Any]:
    """A report in all formats that need no other program, of simulated cohorts, one with a hostile name."""
    folder = tmp_path_factory.mktemp("documents") / "results"
    builder = builder_in(folder)
    builder.name["External"] = HOSTILE
    builder.sizes = {(HOSTILE if c == "External" else c, s): n for (c, s), n in builder.sizes.items()}
    builder.build(simulated=True)
    render_report(folder, formats=["docx", "latex"])
    page, outline = pages_of(folder)
    return {
        "folder": folder,
        "page": page,
        "outline": outline,
        "word": docx.Document(str(folder / "report.docx")),
    }


def exhibits(outline: Document) -> list[Table | Drawing]:
    return [block for block in outline.blocks if isinstance(block, Table | Drawing)]


def grid(table: Table) -> list[list[str]]:
    """Body of a table as text, headings filled down."""
    rows, heading = [], ""
    for line in table.lines:
        heading = line.heading if line.span else heading
        texts = [f"{cell.text}\n{cell.sub}" if cell.sub else cell.text for cell in line.cells]
        rows.append([heading, *texts])
    return rows


# --- the outline -----------------------------------------------------------------------------------


def test_every_table_and_figure_of_the_page_is_there_once(made: dict[str, Any]) -> None:
    there = [(type(block), block.number) for block in exhibits(made["outline"])]
    assert sorted(there, key=str) == sorted(
        [(type(e), e.number) for e in (*made["page"].tables.values(), *made["page"].figures.values())],
        key=str,
    )


def test_results_come_first_then_methods_then_limits_then_the_supplement_in_the_order_of_the_page(
    made: dict[str, Any],
) -> None:
    titles = [b.text for b in made["outline"].blocks if isinstance(b, Heading) and b.level == 1]
    assert [t for t in titles if t not in ("Results in words", "Methods in words")] == [
        "Main tables and figures",
        "What these data cannot say",
        "Limits",
        "Reporting checklist",
        "Supplement",
        "Limits, provenance and citation",
    ]
    numbers = [b.number for b in made["outline"].parts[-2].blocks if isinstance(b, Table)]
    assert len(numbers) > 10
    assert numbers == sorted(numbers)


def test_one_cohort_has_the_numbers_of_the_page(
    new_builder: Callable[..., Any], read_page: Callable[[Path], Any]
) -> None:
    folder = new_builder(cohorts=("Discovery",)).build()
    html = render_report(folder).read_text(encoding="utf-8")
    page, outline = pages_of(folder)
    shown = [int(n) for n in re.findall(r"<b>Table (\d+)\.</b>", html)]
    assert shown == sorted(b.number for b in exhibits(outline) if isinstance(b, Table))
    assert "heterogeneity" not in page.tables


def test_a_refused_run_gives_the_reasons_and_no_inference(builder: Any) -> None:
    folder = builder.build(refused=True)
    render_report(folder, formats=["docx", "latex"])
    word = docx.Document(str(folder / "report.docx"))
    text = "\n".join(p.text for p in word.paragraphs)
    source = (folder / "latex" / "report.tex").read_text(encoding="ascii")
    for said in (text, source):
        assert "r-hat of Neutrophils, presence, HR- is 1.043 (allowed 1.01) after the retry" in said
        assert "no inference of the model abundance is printed" in said
        assert "credible interval" not in said
    assert not {"Results in words", "What these data cannot say"} & {p.text for p in word.paragraphs}
    assert [p.name for p in (folder / "latex" / "figures").iterdir()] == ["precision.pdf"]


# --- columns ---------------------------------------------------------------------------------------


def test_columns_of_every_table_fit_on_their_page(made: dict[str, Any]) -> None:
    for sheet in made["outline"].sheets:
        for block in sheet.blocks:
            if isinstance(block, Table):
                laid = paper.columns(block, sheet.paper)
                assert sum(laid.widths) + 2 * paper.PAD * len(laid.widths) <= paper.room(sheet.paper)[0] + 0.1
                assert laid.size >= min(paper.SIZES)


def test_a_table_that_fits_at_no_size_is_still_as_wide_as_the_page() -> None:
    columns = tuple(Column(f"{'W' * 20} {i}") for i in range(30))
    table = Table("wide", "c", "s", columns, (Line("h", (Cell("W" * 30),) * 30),), "tables/wide.csv")
    laid = paper.columns(table, "across")
    assert sum(laid.widths) + 2 * paper.PAD * 31 == pytest.approx(paper.room("across")[0])


def test_long_groups_are_divided_and_each_piece_has_the_heading() -> None:
    lines = tuple(Line("group", (Cell(str(i)),), span=25 if i == 0 else 0) for i in range(25))
    table = Table("long", "c", "s", (Column("n"),), lines, "tables/long.csv")
    pieces = paper.in_pieces(table, paper.columns(table, "across"), "across")
    assert [line.span for line in pieces if line.span] == [9, 9, 7]
    assert {line.heading for line in pieces if line.span} == {"group"}
    assert [line.cells[0].text for line in pieces] == [str(i) for i in range(25)]


def test_figures_fit_on_their_page_with_their_captions(made: dict[str, Any]) -> None:
    for sheet in made["outline"].sheets:
        for block in sheet.blocks:
            if isinstance(block, Drawing):
                width, height = paper.fitted(block, sheet.paper)
                room = paper.room(sheet.paper)
                assert 0 < width <= room[0]
                assert 0 < height < room[1] - 60
                assert width / height == pytest.approx(block.size[0] / block.size[1])


# --- Word ------------------------------------------------------------------------------------------


def word_tables(made: dict[str, Any]) -> Iterator[tuple[Table, Any]]:
    native = {t._tbl.tblPr.find(qn("w:tblCaption")).get(qn("w:val")): t for t in made["word"].tables}
    for table in made["page"].tables.values():
        if table.lines:
            yield table, native[f"Table {table.number}"]


def test_tables_of_word_are_native_and_have_every_cell(made: dict[str, Any]) -> None:
    filled = [table for table in made["page"].tables.values() if table.lines]
    assert len(made["word"].tables) == len(filled)
    for table, native in word_tables(made):
        head = 2 if table.spanners else 1
        rows = [[cell.text for cell in row.cells] for row in native.rows]
        assert rows[head:] == grid(table), table.name
        assert rows[head - 1] == [table.stub, *(column.label for column in table.columns)]
        if table.spanners:
            upper = [label for label, width, _ in table.spanners for _ in range(width)]
            assert rows[0] == [table.stub, *upper]


def test_heading_rows_are_repeated_and_no_row_is_divided(made: dict[str, Any]) -> None:
    for table, native in word_tables(made):
        head = 2 if table.spanners else 1
        headers = [row._tr.trPr.find(qn("w:tblHeader")) is not None for row in native.rows]
        assert headers == [True] * head + [False] * len(table.lines)
        assert all(row._tr.trPr.find(qn("w:cantSplit")) is not None for row in native.rows)


def test_captions_have_the_numbers_of_the_page_and_stay_with_their_exhibits(made: dict[str, Any]) -> None:
    captions = [p for p in made["word"].paragraphs if p.style.name == "Caption"]
    wanted = [
        f"{'Table' if isinstance(e, Table) else 'Figure'} {e.number}. {e.caption}"
        for e in exhibits(made["outline"])
    ]
    assert [p.text for p in captions] == wanted
    for caption, exhibit in zip(captions, exhibits(made["outline"]), strict=True):
        field = "".join(t.text for t in caption._p.iter(qn("w:instrText")))
        assert field.split() == ["SEQ", caption.text.split()[0], "\\*", "ARABIC", "\\r", str(exhibit.number)]
        if isinstance(exhibit, Table):
            assert caption.paragraph_format.keep_with_next
        else:
            picture = caption._p.getprevious()
            assert picture.find(f".//{qn('w:drawing')}") is not None
            assert picture.pPr.find(qn("w:keepNext")) is not None


def test_figures_are_embedded_at_300_dots_an_inch_with_their_text(made: dict[str, Any]) -> None:
    drawings = [e for e in exhibits(made["outline"]) if isinstance(e, Drawing)]
    texts = [shape._inline.docPr.get("descr") for shape in made["word"].inline_shapes]
    assert texts == [drawing.alt for drawing in drawings]
    with zipfile.ZipFile(made["folder"] / "report.docx") as archive:
        images = [archive.read(name) for name in archive.namelist() if name.endswith(".png")]
    assert len(images) == len(drawings)
    sizes = {Image.open(io.BytesIO(image)).size for image in images}
    assert sizes == {tuple(int(300 * side / 72 + 1e-6) for side in drawing.size) for drawing in drawings}


def test_wide_exhibits_stand_on_pages_that_lie_across_and_all_pages_are_a4(made: dict[str, Any]) -> None:
    sections = made["word"].sections
    assert {s.orientation for s in sections} == {WD_ORIENT.PORTRAIT, WD_ORIENT.LANDSCAPE}
    for section in sections:
        sides = sorted(round(side.mm) for side in (section.page_width, section.page_height))
        assert sides == [210, 297]
    assert "PAGE" in sections[0].footer._element.xml


def test_headings_are_headings_and_properties_name_no_person(made: dict[str, Any]) -> None:
    named = [b for b in made["outline"].blocks if isinstance(b, Heading)]
    headings = [p for p in made["word"].paragraphs if p.style.name.startswith("Heading")]
    assert [(p.text, p.style.name) for p in headings] == [(b.text, f"Heading {b.level}") for b in named]
    own = made["word"].core_properties
    assert own.title == made["outline"].title
    assert (own.author, own.last_modified_by, own.comments) == ("", "", "")
    assert own.created.isoformat() == "2026-11-21T09:04:12+00:00"


def test_simulated_data_say_so_first_and_on_every_page(made: dict[str, Any]) -> None:
    assert made["word"].paragraphs[1].text.startswith("SIMULATED DATA. No patient")
    assert "SIMULATED DATA" in made["word"].sections[0].header._element.xml
    source = (made["folder"] / "latex" / "report.tex").read_text(encoding="ascii")
    assert source.count("SIMULATED DATA") == 2
    assert r"\def\@oddhead{\hfil\textcolor{alert}{\footnotesize\bfseries SIMULATED DATA}\hfil}" in source


def test_without_simulation_no_page_says_so(builder: Any) -> None:
    folder = builder.build(refused=True)
    render_report(folder, formats=["docx", "latex"])
    with zipfile.ZipFile(folder / "report.docx") as archive:
        assert not any(b"SIMULATED" in archive.read(name) for name in archive.namelist())
    assert "SIMULATED" not in (folder / "latex" / "report.tex").read_text(encoding="ascii")


def test_what_xml_cannot_hold_is_replaced(new_builder: Callable[..., Any]) -> None:
    folder = new_builder(names={"External": "x\x01y"}).build(refused=True)
    render_report(folder, formats=["docx"])
    text = [
        cell.text for t in docx.Document(str(folder / "report.docx")).tables[:1] for cell in t.rows[0].cells
    ]
    assert "x\ufffdy" in text


# --- LaTeX -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (r"A_B & 50% \input{x}", r"A\_B \& 50\% \textbackslash{}input\{x\}"),
        ("#1 $y$ ^ ~", r"\#1 \$y\$ \textasciicircum{} \textasciitilde{}"),
        ("−0.44, ≥1,000, 1–2", r"\textminus{}0.44, \ensuremath{\geq}1,000, 1\textendash{}2"),
        ("n\u00a0= 3", "n~= 3"),
        ("10⁻³ m²", r"10\textsuperscript{\textminus{}}\textsuperscript{3} m\textsuperscript{2}"),
        ("Säilynoja, Bürkner", r"S\"{a}ilynoja, B\"{u}rkner"),
        ("β and Ω, λ", r"\ensuremath{\beta} and \ensuremath{\Omega}, \ensuremath{\lambda}"),
        ("--strict ''x''", "-{}-strict '{}'x'{}'"),
        ("[2] *", "{[}2{]} {*}"),
        (
            '<0.001 "x" `y`',
            r"\textless{}0.001 \textquotedbl{}x\textquotedbl{} \textasciigrave{}y\textasciigrave{}",
        ),
        ("中 \x07", r"\texttt{U+4E2D} \texttt{U+0007}"),
        ("two\nlines\tand  spaces", "two lines and spaces"),
    ],
)
def test_text_is_escaped(text: str, wanted: str) -> None:
    assert latex.escaped(text) == wanted


def test_long_words_may_be_divided() -> None:
    made = latex.escaped("tables/evidence_synthesis_studies.csv")
    assert made.replace(r"\allowbreak{}", "") == r"tables/evidence\_synthesis\_studies.csv"
    assert made.count(r"\allowbreak{}") == 4
    assert latex.escaped("e" * 64).count(r"\allowbreak{}") == 3


def test_the_source_has_every_table_and_figure_and_no_letter_beyond_ascii(made: dict[str, Any]) -> None:
    source = (made["folder"] / "latex" / "report.tex").read_bytes().decode("ascii")
    assert HOSTILE not in source
    assert latex.escaped(HOSTILE) in source
    for table, _ in word_tables(made):
        assert rf"\setcounter{{table}}{{{table.number - 1}}}" in source
        assert rf"\caption{{{latex.escaped(table.caption)}}}" in source
    figures = {path.name for path in (made["folder"] / "latex" / "figures").iterdir()}
    assert figures == {f"{name}.pdf" for name in made["page"].figures}
    for drawing in made["page"].figures.values():
        assert rf"{{figures/{drawing.name}.pdf}}" in source
        assert rf"\textbf{{Figure {drawing.number}.}} {latex.escaped(drawing.caption)}" in source
    assert (made["folder"] / "latex" / "README.txt").read_text(encoding="ascii").count("\n") == 1


def test_rows_of_the_source_are_those_of_the_tables(made: dict[str, Any]) -> None:
    source = (made["folder"] / "latex" / "report.tex").read_text(encoding="ascii")
    for table, _ in word_tables(made):
        start = source.index(rf"\setcounter{{table}}{{{table.number - 1}}}")
        body = source[source.index(r"\endlastfoot", start) : source.index(r"\end{longtable}", start)]
        rows = [row for row in body.splitlines()[1:] if row.strip()]
        assert len(rows) == len(table.lines)
        for row, line in zip(rows, table.lines, strict=True):
            cells = re.split(r"(?<!\\) & ", row)
            assert len(cells) == 1 + len(line.cells)
            for cell, wanted in zip(cells[1:], line.cells, strict=True):
                assert latex.escaped(wanted.text) in cell
                assert latex.escaped(wanted.sub) in cell


@pytest.mark.parametrize("program", ["pdflatex", "lualatex"])
def test_the_source_compiles_and_nothing_stands_over_the_margin(
    program: str, made: dict[str, Any], tmp_path: Path
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    folder = shutil.copytree(made["folder"] / "latex", tmp_path / "latex")
    command = [program, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "report.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=300, check=False)
    log = (folder / "report.log").read_text(encoding="utf-8", errors="replace")
    assert done.returncode == 0, log[-2000:]
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF-")
    over = [float(points) for points in re.findall(r"Overfull \\[hv]box \(([0-9.]+)pt", log)]
    assert max(over, default=0.0) < 1


# --- PDF -------------------------------------------------------------------------------------------


@pytest.fixture
def fake_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put a shell script on the PATH, alone, under the name of a browser."""

    def put(script: str) -> Path:
        bin_ = tmp_path / "bin"
        bin_.mkdir()
        file = bin_ / "chromium"
        file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        file.chmod(0o755)
        monkeypatch.setattr(printed.shutil, "which", lambda name: str(file) if name == "chromium" else None)
        return file

    return put


def test_without_a_browser_nothing_is_drawn_and_the_message_names_it(
    builder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = builder.build()
    monkeypatch.setattr(printed.shutil, "which", lambda name: None)
    with pytest.raises(
        DataError, match=r"report\.pdf: Chromium prints it, and none of chromium, .* is on the PATH"
    ):
        render_report(folder, formats=["pdf"])
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'no room on the disk' >&2; exit 3", r"printed no PDF \(exit status 3: no room on the disk\)"),
        ("exit 0", r"printed no PDF \(exit status 0\)"),
        ("exec sleep 30", r"did not print the page within 0\.5 seconds"),
    ],
)
def test_a_browser_that_fails_is_said_in_one_message_and_nothing_is_written(
    script: str, said: str, builder: Any, fake_browser: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_browser(script)
    folder = builder.build(refused=True)
    monkeypatch.setattr(
        printed.as_pdf, "__kwdefaults__", {"seconds": 0.5} if "sleep" in script else {"seconds": 30}
    )
    with pytest.raises(printed.PrintError, match=said):
        render_report(folder, formats=["pdf", "docx"])
    assert not (folder / "report.html").exists()
    assert not (folder / "report.docx").exists()


def test_a_browser_that_cannot_be_started_is_said(fake_browser: Callable[[str], Path]) -> None:
    file = fake_browser("exit 0")
    file.chmod(0o644)
    file.write_bytes(b"")
    with pytest.raises(printed.PrintError, match=r"cannot be started \(Permission denied\)"):
        printed.as_pdf("<p>x", str(file))


@pytest.mark.skipif(not any(map(shutil.which, printed.BROWSERS)), reason="no Chromium is installed")
def test_the_pdf_is_the_page_without_links_to_files_or_a_date(builder: Any) -> None:
    folder = builder.build(refused=True)
    made = []
    for _ in range(2):
        render_report(folder, formats=["pdf"])
        made.append((folder / "report.pdf").read_bytes())
    assert made[0] == made[1]
    assert made[0].startswith(b"%PDF-")
    assert b"file:///" not in made[0]
    assert b"(D:20000101000000" in made[0]


# --- whole, the same again, and none that outlives its run ---------------------------------------------


def test_rendering_again_gives_the_same_documents(made: dict[str, Any], tmp_path: Path) -> None:
    names = ["report.docx", "latex/report.tex", "latex/README.txt"]
    folder = shutil.copytree(made["folder"], tmp_path / "results")
    render_report(folder, formats=["latex", "docx"], at_once=2)
    for name in names:
        assert (folder / name).read_bytes() == (made["folder"] / name).read_bytes(), name
    assert not list(folder.rglob("*.part"))


def test_documents_of_an_earlier_rendering_do_not_outlive_it(builder: Any) -> None:
    folder = builder.build(refused=True)
    render_report(folder, formats=["docx", "latex"])
    for name in ("report.pdf", "latex/report.aux", "latex/figures/forest.pdf", "latex/mine.bib"):
        (folder / name).write_bytes(b"earlier")
    render_report(folder, formats=["latex"])
    assert not (folder / "report.docx").exists()
    assert not (folder / "report.pdf").exists()
    left = {str(path.relative_to(folder)) for path in (folder / "latex").rglob("*") if path.is_file()}
    assert left == {"latex/report.tex", "latex/README.txt", "latex/figures/precision.pdf", "latex/mine.bib"}
    (folder / "latex" / "mine.bib").unlink()
    render_report(folder)
    assert not (folder / "latex").exists()


def test_a_page_alone_draws_no_bitmap(builder: Any) -> None:
    page, _ = pages_of(builder.build(refused=True))
    assert all(drawing.image.png == b"" for drawing in page.figures.values())


def test_an_unknown_format_is_refused_by_name(builder: Any) -> None:
    folder = builder.build(refused=True)
    with pytest.raises(DataError, match=r"format 'odt': not known\. There are html, docx, latex, pdf\."):
        render_report(folder, formats=["docx", "odt"])
    assert not (folder / "report.html").exists()


def test_published_results_alone_have_a_title_and_limits_of_their_own(builder: Any) -> None:
    results = load_results(builder.build(refused=True))
    alone = replace(results, study=replace(results.study, with_cohorts=False))
    assert words.title(alone, ["summary", "evidence_synthesis", "treatment_response"]) == (
        "HER2-low and HER2-0 breast cancer: published results and response to treatment"
    )
    assert words.limits(alone) == words.LIMITS_OF_PATIENTS
    assert words.limits(results) == words.LIMITS_OF_COHORTS
    one = replace(results, study=results.study, tables={**results.tables, "flow": results.rows("flow")[:1]})
    assert len(words.limits(one)) == len(words.LIMITS_OF_COHORTS) - (len(one.cohorts) == 1)


def test_a_new_run_replaces_the_documents_of_the_run_before() -> None:
    assert {file.split("/")[0] for file in render.DOCUMENTS.values()} <= set(PARTS)
