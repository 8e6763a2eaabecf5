"""The page of a calibration from tables alone: what it says of exact and of too narrow posteriors, and draws."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from normal_means import normal_means

from bayes_her2.comparison.calibration import (
    coverage,
    discoveries,
    errors_of_claims,
    power,
    rank_ecdf,
    uniformity,
    verdict,
)
from bayes_her2.report.calibration_page import calibration_page, fits_in_words
from bayes_her2.report.standalone import About, rows_of

ABOUT = About("A study <of ours>", "0.1", "2026-11-28T10:00:00+00:00", seed=3, simulated=True)
DESIGN = pd.DataFrame({"of": ["A", "A", "B"], "stratum": ["HR+", "HR-", "HR+"], "n": [40, 13, 50]})


def page_of(spread=1.0, n=60):
    table = pd.concat(
        [
            normal_means(n, seed=i, spread=spread, estimand=estimand, scope=scope, stratum=stratum)
            for i, (estimand, scope, stratum) in enumerate(
                [
                    ("amount", "pooled", "HR+"),
                    ("amount", "pooled", "HR-"),
                    ("amount", "cohort", "HR+"),
                    ("presence_difference", "cohort", ""),
                ]
            )
        ],
        ignore_index=True,
    )
    return composed_of(table, n, troubled=[7], retried=3)


def test_fits_of_a_second_attempt_are_said():
    assert fits_in_words(0, 0, 200) == ()
    assert fits_in_words(2, 0, 200) == (
        "Fits with a divergent transition or a high R-hat: 2 of 200; they are counted.",
    )
    (line,) = fits_in_words(1, 15, 200)
    assert line.startswith("As a run does, 15 of 200 data sets were fitted a second time")
    assert line.endswith("a high R-hat after that: 1 of 200; they are counted.")


def composed_of(table, n, *, calls_signs=True, design=DESIGN, troubled=(), retried=0, unit="tumours"):
    ranks, covered = uniformity(table), coverage(table, 0.95)
    tables = {
        "ranks": ranks,
        "rank_ecdf": rank_ecdf(table),
        "coverage": covered,
        "errors_of_claims": errors_of_claims(table),
        "discoveries": discoveries(table if calls_signs else table.head(0), 0.05),
        "power": power(table),
        "design": design,
    }
    return calibration_page(
        {name: rows_of(content) for name, content in tables.items()},
        ABOUT,
        model="abundance",
        replicates=n,
        against=verdict(ranks, covered),
        troubled=troubled,
        retried=retried,
        sampler="2 chains of 500 draws after 500",
        unit=unit,
    )


@pytest.fixture(scope="module")
def page():
    return page_of()


def test_a_calibrated_model_is_said_to_be_so_with_numbers(page):
    first = page.headline[0]
    assert "60 data sets were simulated from the priors of abundance" in first
    assert "Nothing speaks against calibration" in first
    assert "of 12 lines of ranks have P < 0.05, where 1 are expected" in first
    assert "1 of 60; they are counted" in page.headline[-1]


def test_too_narrow_posteriors_are_named_and_leave_the_bands():
    made = page_of(spread=0.25)
    assert "16 remarks against calibration" in made.headline[0]
    assert sum("ranks are not uniform" in sentence for sentence in made.headline) == 12
    assert sum("intervals hold the truth" in sentence for sentence in made.headline) == 4
    assert "12 leave the band of all lines" in made.figures["rank_ecdf"].alt


def test_every_part_is_there_and_what_has_no_ratio_is_not_in_the_table_of_power(page):
    assert list(page.tables) == ["calibration", "claims", "power", "design"]
    assert list(page.figures) == ["rank_ecdf", "coverage", "power"]
    assert [line.heading for line in page.tables["calibration"].lines] == ["Amount"] * 3 + [
        "Presence difference"
    ]
    assert {line.heading for line in page.tables["power"].lines} == {"Amount"}
    assert [cell.text for cell in page.tables["design"].lines[1].cells] == ["50", "0"]


def test_names_are_text_and_nothing_is_asked_of_elsewhere(page):
    assert "A study &lt;of ours&gt;" in page.html
    assert "<of ours>" not in page.html
    assert "SIMULATED DATA" in page.html
    assert 'src="http' not in page.html


def test_the_same_tables_give_the_same_page(page):
    assert page_of().html == page.html


def test_fewer_data_sets_than_are_ranked_have_no_figure_of_ranks():
    made = page_of(n=19)
    assert "rank_ecdf" not in made.figures
    assert "of 0 lines" in made.headline[0]


def test_where_no_estimand_is_a_ratio_no_power_is_shown():
    table = normal_means(40, seed=3, estimand="marginal_slope", scope="pooled", stratum="HR- minus HR+")
    page = composed_of(table, 40)
    assert set(page.figures) == {"rank_ecdf", "coverage"}
    assert "Power is given by the size of a ratio; the estimands of this model are none." in page.html
    assert "No rows" not in page.html


def test_patients_of_studies_that_print_no_number_are_not_0():
    table = normal_means(40, seed=3, estimand="published_ratio", scope="pooled", stratum="")
    design = pd.DataFrame(
        {"of": ["One", "Two"], "stratum": ["all", "HR+"], "n": pd.Series([120, None], dtype="Int64")}
    )
    page = composed_of(table, 40, calls_signs=False, design=design, unit="patients")
    assert "Patients of every simulated data set" in page.html
    assert "Patients of: <b>A study" in page.html
    assert re.search(r"One</th>\s*<td[^>]*>120</td>\s*<td[^>]*>–</td>", page.html)
    assert re.search(r"Two</th>\s*<td[^>]*>–</td>\s*<td[^>]*>–</td>", page.html)
    assert "–: no number printed" in page.html
    assert page.figures["power"].image.svg.count("stroke-width: 1.1") == 1  # its line, without strata too
    assert "Discoveries" not in page.html
