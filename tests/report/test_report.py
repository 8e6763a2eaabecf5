"""The page a referee reads: what it shows, what it refuses to show, and where each number stands."""

from __future__ import annotations

import os
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
import pytest
from pages import asked_elsewhere_by_scripts

from bayes_her2.data import DIFFERENCE, LM22_CELL_TYPES
from bayes_her2.errors import DataError
from bayes_her2.report import figures, formats, render, render_report
from bayes_her2.report.load import load_results

STRATA = ("HR+", "HR-")
PARTS = ("presence", "amount", "overall")
SECTIONS = (
    "Summary",
    "Data and exclusions",
    "Zero shares and what is modelled",
    "What these data can resolve",
    "Model and priors",
    "Diagnostics",
    "Main results",
    "Posterior beside frequentist twin",
    "Cohort by cohort",
    "Posterior predictive checks",
    "What these data cannot say",
    "Results in words",
    "Recovery of the planted truth",
    "Reporting checklist",
    "Limits, provenance and citation",
)
NAMESPACE = "{http://www.w3.org/2000/svg}"


def plant(records: list[dict[str, Any]]) -> None:
    """Give every posterior row its own number, and shuffle the rows."""
    for i, r in enumerate(r for r in records if r["source"] == "posterior" and "point" in r):
        r |= {"point": 1.01 + i / 100, "lower": 0.91 + i / 100, "upper": 3.01 + i / 100}
    records.sort(
        key=lambda r: hash_of(r["outcome"] + r["stratum"] + r["estimand"] + r["scope"] + r["cohort"])
    )


def hash_of(text: str) -> int:
    return sum((i + 1) * ord(letter) * 7919 for i, letter in enumerate(text)) % 10007


def in_grid(grid: list[list[str]], heading: str, *keys: str) -> list[str]:
    """Return the row of a parsed table with this heading whose next cells are `keys`."""
    found = [row for row in grid if row[: 1 + len(keys)] == [heading, *keys]]
    assert len(found) == 1, (heading, keys, found)
    return found[0]


# --- sections ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulated(
    builder_in: Callable[[Path], Any],
    tmp_path_factory: pytest.TempPathFactory,
    read_page: Callable[[Path], Any],
) -> tuple[Path, Any]:
    """As `finished`, of simulated data."""
    folder = builder_in(tmp_path_factory.mktemp("simulated") / "results").build(simulated=True)
    return folder, read_page(render_report(folder))


def test_sections_come_in_order(simulated: tuple[Path, Any]) -> None:
    text = simulated[1].visible
    places = [text.rindex(f"{number}. {title}") for number, title in enumerate(SECTIONS)]
    assert places == sorted(places)


def test_without_simulation_there_is_no_recovery_and_no_banner(finished: tuple[Path, Any]) -> None:
    text = finished[1].visible
    assert "13. Limits, provenance and citation" in text
    assert "Recovery of" not in text
    assert "simulated" not in text.lower()


def test_simulated_data_say_so_on_the_page_and_on_each_figure(simulated: tuple[Path, Any]) -> None:
    folder, page = simulated
    assert page.visible.startswith("SIMULATED DATA")
    for path in (folder / "figures").glob("*.svg"):
        assert "SIMULATED DATA" in path.read_text(encoding="utf-8")
    rows = load_results(folder).rows("recovery")
    covered = sum(r["covered"] for r in rows)
    assert f"all pooled rows {covered} of {len(rows)}." in page.visible


@pytest.mark.parametrize("kind", ["Table", "Figure"])
def test_exhibits_are_numbered_in_reading_order(finished: tuple[Path, Any], kind: str) -> None:
    captions = re.findall(
        rf"<b>{kind} (\d+)\.</b>", (finished[0] / "report.html").read_text(encoding="utf-8")
    )
    assert [int(n) for n in captions] == list(range(1, len(captions) + 1))


def test_hormone_receptor_is_written_out_in_the_first_caption(finished: tuple[Path, Any]) -> None:
    html = (finished[0] / "report.html").read_text(encoding="utf-8")
    first = html[html.index("<figcaption") : html.index("</figcaption>")]
    assert "HR means hormone receptor" in first


# --- numbers stand next to their own labels ------------------------------------------------------


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[..., Any]], Path]:
    made: dict[str, Path] = {}

    def make(new: Callable[..., Any]) -> Path:
        if "folder" not in made:
            made["folder"] = new(
                str(tmp_path_factory.mktemp("planted") / "results"), cells=LM22_CELL_TYPES
            ).build(change=plant)
            render_report(made["folder"])
        return made["folder"]

    return make


def rows_of(folder: Path, **equal: str) -> dict[tuple[str, str, str], dict[str, Any]]:
    table = pd.read_csv(folder / "tables" / "estimates.csv", keep_default_na=False)
    for column, value in equal.items():
        table = table[table[column] == value]
    records: list[dict[str, Any]] = [{str(k): v for k, v in r.items()} for r in table.to_dict("records")]
    return {(r["outcome"], r["estimand"], r["stratum"]): r for r in records}


def text_of(row: dict[str, Any]) -> str:
    if row["status"] == "not estimable":
        return "not estimable"
    return formats.interval(float(row["point"]), float(row["lower"]), float(row["upper"]))


def test_each_pooled_number_stands_under_its_own_label(
    planted: Callable[..., Path], new_builder: Callable[..., Any], read_page: Callable[[Path], Any]
) -> None:
    folder = planted(new_builder)
    page = read_page(folder / "report.html")
    pooled = rows_of(folder, source="posterior", scope="pooled")
    cells = load_results(folder).modelled
    assert len(cells) >= 16
    main = page.tables["main_results"]
    assert main[0][4:] == ["Presence, odds ratio", "Amount, ratio of means", "Overall, ratio of E[y]"]
    for cell in cells:
        for stratum in STRATA:
            row = in_grid(main, cell, stratum)
            assert row[4:] == [text_of(pooled[cell, part, stratum]) for part in PARTS]
            assert row[2:4] == [str(pooled[cell, "overall", stratum][c]) for c in ("n", "n_zero")]
        row = in_grid(page.tables["interactions"], cell)
        assert row[3:] == [text_of(pooled[cell, part, DIFFERENCE]) for part in PARTS]


def test_each_cohort_number_stands_under_its_own_cohort(
    planted: Callable[..., Path], new_builder: Callable[..., Any], read_page: Callable[[Path], Any]
) -> None:
    folder = planted(new_builder)
    grid = read_page(folder / "report.html").tables["cohorts_overall"]
    assert grid[0][2:] == ["Discovery", "Confirmatory", "External", "Pooled", "New cohort"]
    for column, cohort in enumerate(("Discovery", "Confirmatory", "External"), start=2):
        rows = rows_of(folder, source="posterior", scope="cohort", cohort=cohort)
        for cell in load_results(folder).modelled:
            for stratum in STRATA:
                text = in_grid(grid, cell, stratum)[column]
                assert text.startswith(text_of(rows[cell, "overall", stratum]))
                assert ("borrowed" in text) == (cohort == "External" and stratum == "HR-")


def test_concordance_shows_posterior_twin_and_verdict_of_the_same_row(
    planted: Callable[..., Path], new_builder: Callable[..., Any], read_page: Callable[[Path], Any]
) -> None:
    folder = planted(new_builder)
    grid = read_page(folder / "report.html").tables["concordance_all"]
    results = load_results(folder)
    titles = {
        "presence": "Presence",
        "amount": "Amount",
        "overall": "Overall",
        "high_abundance": "High abundance",
    }
    others = rows_of(folder, source="twin", scope="pooled", method="cohort fixed")
    rows = [r for r in results.rows("concordance") if r["scope"] == "pooled"]
    for r in rows:
        if r["posterior_point"] is None:
            continue
        found = in_grid(grid, r["outcome"], titles[r["estimand"]], r["stratum"])
        assert found[4] == formats.interval(r["posterior_point"], r["posterior_lower"], r["posterior_upper"])
        fixed = others[r["outcome"], r["estimand"], r["stratum"]]
        twin = formats.interval(r["twin_point"], r["twin_lower"], r["twin_upper"])
        assert found[5] == f"{twin} {text_of(fixed)}"
        assert found[6] == r["verdict"]
        assert found[11:13] == [formats.p_value(r["twin_p"]), formats.p_value(r["twin_p_bonferroni"])]
    counted = read_page(folder / "report.html").tables["verdict_counts"]
    assert int(in_grid(counted, "both null")[-1]) == sum(r["verdict"] == "both null" for r in rows)


def test_the_headline_counts_and_names_the_rows_that_exclude_1(finished: tuple[Path, Any]) -> None:
    folder, page = finished
    row = in_grid(page.tables["headline"], "Amount, where present")
    pooled = [
        e
        for e in load_results(folder).posterior()
        if e.estimand == "amount" and e.status == "observed" and e.stratum == "HR+"
    ]
    away = [e for e in pooled if formats.excludes_null(e)]
    assert row[1].startswith(f"{len(away)} of {len(pooled)} ")
    assert away
    assert all(e.outcome in row[1] for e in away)


def test_zero_shares_stand_under_their_own_cohort_and_stratum(finished: tuple[Path, Any]) -> None:
    folder, page = finished
    grid = page.tables["zero_shares"]
    rows = {(r["cell_type"], r["cohort"], r["hr"]): r for r in load_results(folder).rows("zero_shares")}
    groups = [
        ("Discovery", "HR+"),
        ("Discovery", "HR-"),
        ("Confirmatory", "HR+"),
        ("Confirmatory", "HR-"),
        ("External", "HR+"),
    ]
    for cell in load_results(folder).cell_types:
        found = in_grid(grid, cell)[1:6]
        assert found == [formats.percent(rows[cell, *g]["n_zero"], rows[cell, *g]["n"]) for g in groups]


def drawn_texts(svg: str) -> list[tuple[str, float]]:
    """Texts of an SVG with their height on the page."""
    found = []
    for element in ET.fromstring(svg).iter(f"{NAMESPACE}text"):
        place = element.get("y") or re.split(r"[ ,()]+", element.get("transform", "translate(0 0)"))[2]
        found.append(("".join(element.itertext()), float(place)))
    return found


NAME = "<b>x & $y$"
OPPOSED = {"Discovery": (0.5, 0.4, 0.6), NAME: (2.0, 1.5, 2.5)}


@pytest.fixture(scope="module")
def unusual(
    builder_in: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, read_page: Callable[[Path], Any]
) -> tuple[Path, Any]:
    """As `finished`: a cohort with a hostile name, cohorts that oppose each other, a borrowed row, terms of centres."""

    def change(records: list[dict[str, Any]]) -> None:
        for r in records:
            place = (r["source"], r["outcome"], r["stratum"], r["estimand"])
            if (*place, r["scope"]) == ("posterior", "Monocytes", "HR-", "overall", "pooled"):
                r |= {"status": "borrowed"}
            if place == ("posterior", "Monocytes", "HR+", "amount") and r["cohort"] in OPPOSED:
                r |= dict(zip(("point", "lower", "upper"), OPPOSED[r["cohort"]], strict=True))

    folder = builder_in(tmp_path_factory.mktemp("unusual") / "results", names={"External": NAME}).build(
        change=change
    )
    path = folder / "study.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("[model]\n", "[model]\ncentre = true\n"), encoding="utf-8")
    return folder, read_page(render_report(folder))


def test_statuses_stand_once_in_the_legend_and_not_estimable_on_its_own_line(
    unusual: tuple[Path, Any],
) -> None:
    folder = unusual[0]
    texts = drawn_texts((folder / "figures" / "forest.svg").read_text(encoding="utf-8"))
    assert [text for text, _ in texts if "borrowed" in text] == ["hollow, dashed: borrowed"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    start = page.index('id="figure-forest"')
    assert "hollow and dashed: borrowed;" in page[start : page.index("</figcaption>", start)]
    labels = {text: y for text, y in texts if text in load_results(folder).modelled}
    empty = [y for text, y in texts if text == "not estimable"]
    assert {min(labels, key=lambda cell: abs(labels[cell] - y)) for y in empty} == {
        "T cells CD8",
        "Macrophages M2",
    }


def test_a_status_that_does_not_occur_is_not_in_legend_or_caption(finished: tuple[Path, Any]) -> None:
    svg = (finished[0] / "figures" / "forest.svg").read_text(encoding="utf-8")
    assert not [text for text, _ in drawn_texts(svg) if "hollow" in text or "borrowed" in text]


@pytest.mark.parametrize(
    ("lower", "upper"), [(0.69, 1.7), (0.8, 1.25), (0.79, 5.3), (0.19, 1.26), (0.8, 90.0), (0.1, 12.0)]
)
def test_log_axes_have_a_label_on_each_side_of_1(lower: float, upper: float) -> None:
    limits = figures._limits([figures.Mark(point, point, point, "k", "o") for point in (lower, upper)])
    ticks = figures._ticks(limits)
    assert ticks == sorted(ticks)
    assert 1 in ticks
    assert limits[0] <= ticks[0] < 1 < ticks[-1] <= limits[1]


def test_zero_shares_are_drawn_from_0_to_1(finished: tuple[Path, Any]) -> None:
    page = (finished[0] / "report.html").read_text(encoding="utf-8")
    assert "95 % predictive intervals" in page
    svg = (finished[0] / "figures" / "posterior_predictive.svg").read_text(encoding="utf-8")
    texts = [text for text, _ in drawn_texts(svg)]
    panel = texts[: texts.index("zero share")]
    assert {"0.0", "0.2", "0.4", "0.6", "0.8", "1.0"} <= set(panel)


def _ended(*_: Any) -> None:
    os._exit(1)


@pytest.mark.parametrize(
    "other", [None, _ended], ids=["as it should", "a process that is ended from outside"]
)
def test_figures_drawn_by_several_processes_are_the_same(
    finished: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: Any
) -> None:
    alone = finished[0]
    folder = shutil.copytree(
        alone, tmp_path / "results", ignore=shutil.ignore_patterns("figures", "report.html")
    )
    monkeypatch.setattr(render, "WORTH_A_PROCESS", 1)
    if other is not None:
        monkeypatch.setattr(render, "_draw_share", other)
    render_report(folder, at_once=2)
    made = {path.name: path.read_bytes() for path in (folder / "figures").iterdir()}
    assert made == {path.name: path.read_bytes() for path in (alone / "figures").iterdir()}
    assert (folder / "report.html").read_bytes() == (alone / "report.html").read_bytes()


# --- refusal -------------------------------------------------------------------------------------


def test_a_refused_run_prints_sections_to_diagnostics_the_reasons_and_no_inference(
    builder: Any, read_page: Callable[[Path], Any]
) -> None:
    folder = builder.build(refused=True)
    page = read_page(render_report(folder))
    for number, title in enumerate(SECTIONS[:6]):
        assert f"{number}. {title}" in page.visible
    assert not any(title in page.visible for title in SECTIONS[6:] if title != "Reporting checklist")
    assert (
        page.visible.count("r-hat of Neutrophils, presence, HR- is 1.043 (allowed 1.01) after the retry") == 2
    )
    assert "failed: pooled slopes" in page.visible
    assert "credible interval" not in page.visible
    assert "confidence interval" not in page.visible
    assert not re.search(r"\d \(\d[\d.]* to \d", page.visible)
    assert {path.name for path in (folder / "figures").iterdir()} == {"precision.svg", "precision.pdf"}


def test_a_refused_run_never_opens_the_estimates(builder: Any) -> None:
    folder = builder.build(refused=True)
    (folder / "tables" / "estimates.csv").write_text("not a table of estimates")
    render_report(folder)


def test_figures_of_an_earlier_run_do_not_outlive_a_refusal(builder: Any) -> None:
    folder = builder.build(refused=True)
    (folder / "figures").mkdir()
    for name in ("forest.svg", "forest.pdf", "interaction.svg", "mine.svg"):
        (folder / "figures" / name).write_text("<svg/>")
    render_report(folder)
    assert {path.name for path in (folder / "figures").iterdir()} == {
        "precision.svg",
        "precision.pdf",
        "mine.svg",
    }


# --- one file, safe and repeatable ---------------------------------------------------------------


def test_nothing_is_fetched_from_elsewhere(finished: tuple[Path, Any]) -> None:
    folder, page = finished
    assert not {"link", "img", "iframe", "image", "object", "embed"} & set(page.tags)
    assert asked_elsewhere_by_scripts((folder / "report.html").read_text(encoding="utf-8")) == []
    outside = [r for r in page.references if re.match(r"(?:[a-z+]+:)?//|data:", r[2])]
    assert outside == []
    css = "".join(
        re.findall(r"<style.*?</style>", (folder / "report.html").read_text(encoding="utf-8"), re.DOTALL)
    )
    assert "url(" not in css
    assert "@import" not in css


def test_links_lead_to_files_and_anchors_that_exist(finished: tuple[Path, Any]) -> None:
    folder, page = finished
    for _, _, target in page.references:
        if target.startswith("#"):
            assert target[1:] in page.ids
        else:
            assert (folder / target).is_file(), target


def test_ids_are_unique_though_every_figure_is_inline(finished: tuple[Path, Any]) -> None:
    assert len(finished[1].ids) == len(set(finished[1].ids))


def test_names_from_files_are_text_and_never_markup(unusual: tuple[Path, Any]) -> None:
    folder, page = unusual
    assert "<b>x" not in (folder / "report.html").read_text(encoding="utf-8")
    assert NAME in page.visible
    for path in (folder / "figures").glob("*.svg"):
        ET.fromstring(path.read_text(encoding="utf-8"))


def test_rendering_again_gives_the_same_bytes(finished: tuple[Path, Any], tmp_path: Path) -> None:
    """In a folder of another name, over the files of an earlier rendering."""
    first = finished[0]
    second = shutil.copytree(first, tmp_path / "second")
    render_report(second)
    assert (first / "report.html").read_bytes() == (second / "report.html").read_bytes()
    for path in (first / "figures").iterdir():
        assert path.read_bytes() == (second / "figures" / path.name).read_bytes()


def test_every_figure_is_drawn_and_is_xml(finished: tuple[Path, Any]) -> None:
    paths = sorted((finished[0] / "figures").iterdir())
    assert {path.stem for path in paths} == set(figures.NAMES) - {"recovery"}
    assert {path.suffix for path in paths} == {".svg", ".pdf"}
    for path in paths:
        if path.suffix == ".svg":
            ET.fromstring(path.read_text(encoding="utf-8"))
        else:
            assert path.read_bytes().startswith(b"%PDF-")


def test_a_missing_table_stops_the_report_before_anything_is_written(builder: Any) -> None:
    folder = builder.build()
    (folder / "tables" / "concordance.csv").unlink()
    with pytest.raises(DataError, match=r"tables/concordance\.csv: missing"):
        render_report(folder)
    assert not (folder / "report.html").exists()
    assert not (folder / "figures").exists()


def test_a_failing_figure_stops_the_report_and_leaves_nothing_half_written(
    builder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = builder.build()

    def fail(*_: object, **__: object) -> None:
        raise ValueError("no room for an axis")

    monkeypatch.setattr(figures, "draw_mark", fail)
    with pytest.raises(figures.FigureError, match=r"figure 'forest' cannot be drawn .*no room for an axis"):
        render_report(folder)
    assert not (folder / "report.html").exists()
    assert not list(folder.rglob("*.part"))
    assert not list(folder.rglob("*.svg"))


def test_no_temporary_file_is_left(finished: tuple[Path, Any]) -> None:
    assert not [
        path for path in finished[0].rglob("*") if path.name.startswith(".") or path.suffix == ".part"
    ]


def test_settings_of_matplotlib_come_back(builder: Any) -> None:
    before = dict(matplotlib.rcParams)
    render_report(builder.build(refused=True))
    assert dict(matplotlib.rcParams) == before


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["NaN", "nan", "<NA>", "None", "inf"])
def test_missing_numbers_never_show_their_code(finished: tuple[Path, Any], word: str) -> None:
    text = finished[1].visible.replace("None in this run", "").replace("None: in no row", "")
    assert not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text)


def test_nothing_is_called_significant(finished: tuple[Path, Any]) -> None:
    assert "significan" not in finished[1].visible.lower()


def test_every_caption_with_intervals_says_their_kind_and_level(finished: tuple[Path, Any]) -> None:
    html = (finished[0] / "report.html").read_text(encoding="utf-8")
    for name in (
        "main_results",
        "interactions",
        "high_abundance",
        "concordance",
        "cohorts_overall",
        "heterogeneity",
    ):
        start = html.index(f'id="caption-{name}"')
        caption = html[start : html.index("</figcaption>", start)]
        assert "95 % credible intervals (equal-tailed)" in caption
        assert "456 tumours, 3 cohorts" in caption
        assert ("95 % confidence intervals" in caption) == (
            name in ("high_abundance", "concordance", "cohorts_overall")
        )
    other = html[html.index('id="caption-other_twins"') :]
    assert "credible" not in other[: other.index("</figcaption>")]


def test_tables_and_figures_can_be_read_aloud(finished: tuple[Path, Any]) -> None:
    html = (finished[0] / "report.html").read_text(encoding="utf-8")
    headings = re.findall(r"<th(?: [^>]*)?>", html)
    assert headings
    assert all("scope=" in heading for heading in headings)
    assert html.count("<svg") == html.count('<svg role="img" aria-label="')
    assert html.count("<figure") == html.count("<figcaption")


def test_a_figure_in_the_page_is_that_of_its_file_and_shorter(finished: tuple[Path, Any]) -> None:
    """The same texts at the same places to a hundredth of a point, and nothing points at what is not there."""
    html = (finished[0] / "report.html").read_text(encoding="utf-8")
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    inline = re.findall(r"<svg .*?</svg>", html, flags=re.DOTALL)
    for svg in inline:
        assert set(re.findall(r'(?:url\(|href=")#([^")]+)', svg)) <= set(re.findall(r' id="([^"]+)"', svg))
    file = (finished[0] / "figures" / "forest.svg").read_text(encoding="utf-8")
    start = html.index('id="figure-forest"')
    own = html[html.index("<svg", start) : html.index("</svg>", start) + 6]
    said = re.compile(r"<title>.*?</title>", re.DOTALL)
    assert said.findall(own) == said.findall(file)
    assert len(said.sub("", own)) < 0.8 * len(said.sub("", file))
    own = own.replace("<svg ", f'<svg xmlns="{NAMESPACE[1:-1]}" ', 1)
    drawn, filed = drawn_texts(own), drawn_texts(file)
    assert [text for text, _ in drawn] == [text for text, _ in filed]
    assert [y for _, y in drawn] == pytest.approx([y for _, y in filed], abs=0.0051)


def test_what_the_data_cannot_say_is_composed_from_statuses(finished: tuple[Path, Any]) -> None:
    text = finished[1].visible
    text = text[text.index("10. What these data cannot say", text.index("Drift of the summed shares")) :]
    assert "External has no HR- tumours in the analysis: its HR- and HR- over HR+ rows are borrowed" in text
    assert "Ratios HR- over HR+ are informed by Discovery and Confirmatory only." in text
    assert "Presence of T cells CD8 and Macrophages M2;" in text
    assert "new cohort: HR- and HR- over HR+" in text
    assert "Abundances are shares of the immune infiltrate" in text
    assert "Between cohorts: presence, interaction; amount, interaction. Informed by two cohorts" in text


def test_cohorts_that_contradict_each_other_are_written_out(unusual: tuple[Path, Any]) -> None:
    assert (
        f"Monocytes, amount, HR+ (posterior): Discovery 0.50 (0.40 to 0.60) and {NAME} 2.00 (1.50 to 2.50)."
        in unusual[1].visible
    )


# --- smaller studies -----------------------------------------------------------------------------


def test_one_cohort_is_said_to_know_nothing_of_variation_between_cohorts(
    new_builder: Callable[..., Any], read_page: Callable[[Path], Any]
) -> None:
    folder = new_builder(cohorts=("Discovery",)).build()
    page = read_page(render_report(folder))
    text = page.visible
    assert "One cohort: nothing can be said about variation between cohorts" in text
    assert "does it hold across cohorts" not in text
    assert "two cohorts point in opposite directions" not in text
    assert not {"heterogeneity", "cohorts_overall", "cohorts_presence", "cohorts_amount"} & set(page.tables)
    assert not list((folder / "figures").glob("cohorts_*.svg"))
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert 'href="tables/heterogeneity.csv"' in html
    assert "τ<sub>β</sub>" not in html
    for kind in ("Table", "Figure"):
        captions = re.findall(rf"<b>{kind} (\d+)\.</b>", html)
        assert [int(n) for n in captions] == list(range(1, len(captions) + 1))
    assert "with one cohort there are no cohort terms" in text
    assert "The interaction rests on one cohort" in text


def test_a_study_of_one_stratum_has_no_interaction(
    new_builder: Callable[..., Any], read_page: Callable[[Path], Any]
) -> None:
    folder = new_builder(strata=("HR+",)).build()
    page = read_page(render_report(folder))
    assert "No analysed tumour is HR-" in page.visible
    assert "interactions" not in page.tables
    assert not (folder / "figures" / "interaction.svg").exists()


def test_empty_optional_tables_do_not_break_the_page(builder: Any, read_page: Callable[[Path], Any]) -> None:
    folder = builder.build()
    for table in ("covariate_scaling", "parts_disagree", "notices", "heterogeneity"):
        path = folder / "tables" / f"{table}.csv"
        path.write_text(path.read_text().splitlines()[0] + "\n")
    text = read_page(render_report(folder)).visible
    assert "No covariates" in text
    assert "None: in no row do presence and amount go in opposite directions" in text


def test_fonts_of_figures_are_cut_down_without_their_layout_and_others_as_before(monkeypatch: Any) -> None:
    from fontTools.subset import Options

    before = Options().drop_tables
    with figures._without_layout_tables():
        assert set(Options().drop_tables) - set(before) == {"GDEF", "GPOS", "GSUB"}
    assert Options().drop_tables == before
    monkeypatch.delattr(Options, "_drop_tables_default")
    with figures._without_layout_tables():
        pass
