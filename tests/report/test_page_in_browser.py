"""The page as readers use it, in a browser: links, folds, values of marks, keys, a phone, paper, no script."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import WITHOUT_CHROMIUM, Browser, browser, chromium

from bayes_her2.report import formats, render_report
from bayes_her2.report.load import load_results

pytestmark = pytest.mark.skipif(chromium() is None, reason=WITHOUT_CHROMIUM)

WIDTHS = {"desktop": 1400, "tablet": 1000, "phone": 390}
BOX = "(({{left, top, right, bottom}}) => ({{left, top, right, bottom}}))({}.getBoundingClientRect())"
OPEN_ALL = "document.querySelectorAll('main details').forEach((box) => { box.open = true; })"
PALE = """
(() => {
  const numbers = (colour) => (colour.match(/[0-9.]+/g) ?? []).map(Number);
  const light = (colour) => {
    const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; // WCAG 2
    const [r, g, b] = numbers(colour).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const under = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (numbers(colour).length === 3) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = new Set();
  for (const element of document.querySelectorAll("body *")) {
    if (element.closest("script, title") || !element.checkVisibility()) continue;
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
    const own = getComputedStyle(element);
    const [text, ground] = [light(element.closest("svg") ? own.fill : own.color), light(under(element))];
    const contrast = (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
    if (contrast < 4.5) found.add(`${element.tagName}.${element.getAttribute("class")} ${contrast.toFixed(2)}`);
  }
  return [...found];
})()
"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, builder_in: Callable[[Path], Any]) -> Path:
    made: Path = builder_in(tmp_path_factory.mktemp("page") / "results").build(simulated=True)
    render_report(made)
    return made


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").as_uri()


@pytest.fixture(autouse=True)
def nothing_is_complained_of_or_asked_for(request: pytest.FixtureRequest) -> Iterator[None]:
    """In every test: no error in the console, and no request but the page's own."""
    tab: Browser = request.getfixturevalue("tab")
    yield
    assert tab.complaints == []
    assert {address.partition("#")[0] for address in tab.requests} == {request.getfixturevalue("page")}


def click_on(tab: Browser, element: str) -> None:
    tab.run(f"{element}.scrollIntoView({{block: 'nearest'}})")
    tab.settle()
    box = tab.run(BOX.format(element))
    tab.click((box["left"] + min(box["right"], box["left"] + 60)) / 2, (box["top"] + box["bottom"]) / 2)


def in_view(tab: Browser, element: str) -> bool:
    """Whether an element begins below what stays on top of the window, and within it."""
    stuck = tab.run("parseFloat(document.documentElement.style.getPropertyValue('--top'))")
    box = tab.run(BOX.format(element))
    return bool(stuck - 1 <= box["top"] < tab.run("innerHeight") and box["bottom"] > box["top"])


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_contents_lead_to_every_section_and_say_where_the_reader_is(
    tab: Browser, page: str, width: int
) -> None:
    tab.open(page, width=width)
    targets = tab.run("[...document.querySelectorAll('#contents ol a')].map((link) => link.hash.slice(1))")
    assert len(targets) == 15
    for target in targets[::3]:
        if width < 1240:
            assert not tab.run("document.querySelector('#contents details').open")
            click_on(tab, "document.querySelector('#contents summary')")
        click_on(tab, f"document.querySelector('#contents a[href=\"#{target}\"]')")
        assert tab.run("location.hash") == f"#{target}"
        assert in_view(tab, f"document.getElementById('{target}')"), target
        assert tab.run("document.querySelector('#contents [aria-current]').hash") == f"#{target}"
    click_on(tab, "document.querySelector('.back a')")
    assert tab.run("document.activeElement.closest('#contents') !== null")
    assert tab.run("document.querySelector('#contents details').open")


@pytest.mark.parametrize("width", [1400, 390])
def test_a_link_to_a_folded_exhibit_opens_it(tab: Browser, page: str, width: int) -> None:
    tab.open(page, width=width)
    folded = tab.run("[...document.querySelectorAll('main details .exhibit')].map((exhibit) => exhibit.id)")
    assert len(folded) > 10
    listed = tab.run("[...document.querySelectorAll('#contents ul a')].map((link) => link.hash.slice(1))")
    assert listed == tab.run("[...document.querySelectorAll('main .exhibit')].map((exhibit) => exhibit.id)")
    for exhibit in folded[::4]:
        tab.run("document.querySelectorAll('#contents details').forEach((box) => { box.open = true; })")
        click_on(tab, f"document.querySelector('#contents a[href=\"#{exhibit}\"]')")
        assert tab.run(f"document.getElementById('{exhibit}').checkVisibility()"), exhibit
        assert in_view(tab, f"document.getElementById('{exhibit}')"), exhibit
    tab.open(f"{page}#{folded[-1]}", width=width)
    assert in_view(tab, f"document.getElementById('{folded[-1]}')")
    tab.run(f"location.hash = '{folded[0]}'")
    tab.settle()
    assert in_view(tab, f"document.getElementById('{folded[0]}')")


def test_keys_reach_the_text_the_folds_and_the_menu(tab: Browser, page: str) -> None:
    tab.open(page, width=1000)
    tab.press("Tab")
    assert tab.run("document.activeElement.className") == "skip"
    assert tab.run(BOX.format("document.activeElement"))["left"] >= 0
    tab.press("Tab")
    tab.press("Enter")
    assert tab.run("document.querySelector('#contents details').open")
    tab.press("Tab")
    assert tab.run("document.activeElement.hash") == "#summary"
    assert tab.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.press("Escape")
    assert not tab.run("document.querySelector('#contents details').open")
    assert tab.run("document.activeElement.tagName") == "SUMMARY"
    tab.run("document.querySelector('main .fold > summary').focus()")
    tab.press("Enter")
    assert tab.run("document.querySelector('main .fold').open")


def expected(folder: Path, cell: str, stratum: str, part: str) -> str:
    """What a mark of the main figure says, from the table of estimates."""
    (row,) = [
        e
        for e in load_results(folder).posterior()
        if (e.outcome, e.stratum, e.estimand) == (cell, stratum, part)
    ]
    return f"{formats.interval(row.point, row.lower, row.upper)}, 95 % credible interval"


def test_a_mark_says_its_values_to_mouse_keys_and_finger(tab: Browser, page: str, folder: Path) -> None:
    tab.open(page)
    place = "document.querySelector('#figure-forest .value')"
    tab.run(f"{place}.scrollIntoView({{block: 'center'}})")
    tab.settle()
    box = tab.run(BOX.format(place))
    middle = (box["top"] + box["bottom"]) / 2
    tab.point_at(box["left"] + 5, middle + 4)  # on the interval, a little beside it
    first = "B cells naive, HR+, pooled\nPresence, odds ratio per SD\n" + expected(
        folder, "B cells naive", "HR+", "presence"
    )
    assert tab.run("document.querySelector('.tip').textContent") == first
    assert tab.run("document.querySelector('.tip').checkVisibility()")
    tab.point_at(box["left"] + 5, middle - 100)
    assert not tab.run("document.querySelector('.tip').checkVisibility()")

    tab.run(f"{place}.focus()")
    tab.press("ArrowDown")
    assert tab.run("document.activeElement.getAttribute('aria-label')") == (
        "B cells naive, HR-, pooled; Presence, odds ratio per SD; "
        + expected(folder, "B cells naive", "HR-", "presence")
    )
    assert tab.run("document.querySelector('.tip').textContent").startswith("B cells naive, HR-, pooled\n")
    tab.press("Escape")
    assert not tab.run("document.querySelector('.tip').checkVisibility()")

    tab.open(page, width=390)
    tab.run(f"{place}.scrollIntoView({{block: 'center', inline: 'center'}})")
    tab.settle()
    box = tab.run(BOX.format(place))
    spot = {"x": (box["left"] + box["right"]) / 2, "y": (box["top"] + box["bottom"]) / 2}
    tab.send("Input.dispatchTouchEvent", type="touchStart", touchPoints=[spot])
    tab.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    tab.settle()
    assert tab.run("document.querySelector('.tip').textContent") == first
    tip = tab.run(BOX.format("document.querySelector('.tip')"))
    assert 0 <= tip["left"] < tip["right"] <= 390


def test_every_main_figure_says_values_and_no_figure_lost_its_label(tab: Browser, page: str) -> None:
    tab.open(page)
    tab.run(OPEN_ALL)
    counts = tab.run(
        "Object.fromEntries([...document.querySelectorAll('.drawing')].map("
        "(figure) => [figure.id.slice(7), figure.querySelectorAll('.value[aria-label]').length]))"
    )
    assert set(counts) >= {"forest", "interaction", "high_abundance", "cohorts_overall", "concordance_ratio"}
    assert all(n > 5 for n in counts.values()), counts
    assert tab.run("[...document.querySelectorAll('svg')].every((svg) => svg.getAttribute('aria-label'))")
    assert tab.run("document.querySelectorAll('.value[tabindex=\"0\"]').length") == len(counts)


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_the_page_itself_never_scrolls_sideways(tab: Browser, page: str, width: int) -> None:
    tab.open(page, width=width)
    tab.run(OPEN_ALL)
    tab.settle()
    assert tab.run("document.documentElement.scrollWidth") == width
    scrolls = tab.run(
        "[...document.querySelectorAll('.scroll')].map("
        "(box) => [box.scrollWidth > box.clientWidth + 1, box.tabIndex === 0])"
    )
    assert all(wide == reached for wide, reached in scrolls)
    assert any(wide for wide, _ in scrolls) or width > 390


def test_words_have_contrast(tab: Browser, page: str) -> None:
    tab.open(page)
    tab.run(OPEN_ALL)
    tab.settle()
    assert tab.run(PALE) == []


def test_landmarks_headings_and_boxes_have_names(tab: Browser, page: str) -> None:
    tab.open(page)
    assert tab.run("document.documentElement.lang") == "en-GB"
    assert tab.run(
        "['header', 'nav', 'main'].map((name) => document.querySelectorAll(`body ${name}`).length)"
    ) == [1, 1, 1]
    tree = tab.send("Accessibility.getFullAXTree")["nodes"]
    named = ("navigation", "region", "group", "figure", "link", "img", "image", "table", "checkbox")
    nameless = [
        node["role"]["value"]
        for node in tree
        if not node["ignored"] and node["role"]["value"] in named and not node.get("name", {}).get("value")
    ]
    assert set(nameless) <= {"group", "figure"}, nameless  # a fold's group; figures have captions


def test_paper_has_what_is_folded_unless_it_is_not_wanted_and_no_navigation(tab: Browser, page: str) -> None:
    tab.open(page, width=703)
    tab.send("Emulation.setEmulatedMedia", media="print")
    tab.settle()
    try:
        folded = "[...document.querySelectorAll('main details table')]"
        assert tab.run(f"{folded}.every((table) => table.getBoundingClientRect().height > 20)")
        for name in (".contents", ".skip", ".back", ".source", ".fold > summary"):
            assert tab.run(f"[...document.querySelectorAll('{name}')].every((e) => !e.checkVisibility())"), (
                name
            )
        assert tab.run(
            "[...document.querySelectorAll('.drawing svg')].every((svg) => svg.getBoundingClientRect().right <= 704)"
        )
        tab.run("document.getElementById('without-folded').checked = true")
        assert tab.run(f"{folded}.every((table) => !table.checkVisibility())")
        assert tab.run("document.querySelector('#table-main_results').checkVisibility()")
    finally:
        tab.send("Emulation.setEmulatedMedia", media="")


def test_without_scripts_the_page_is_complete(tab: Browser, page: str) -> None:
    tab.scripts(False)
    try:
        tab.open(page, width=390)
        assert not tab.run("document.documentElement.classList.contains('js')")
        assert tab.run("document.querySelector('#contents ol').checkVisibility()")
        assert tab.run("document.querySelector('#figure-forest .value title').textContent.length") > 40
        assert tab.run("document.documentElement.scrollWidth") == 390
        tab.run("location.hash = 'results'")
        assert tab.run(BOX.format("document.getElementById('results')"))["top"] < 300
    finally:
        tab.scripts(True)
