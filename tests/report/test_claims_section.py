"""The section with the seed study's claims: layers, numbers, and the words that say what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bayes_her2.comparison import LAYERS, claims, families
from bayes_her2.estimates import Estimates
from bayes_her2.report import render_report

MEASURE = "ERBB2 mRNA, log2(FPKM + 1)"


def estimates() -> Estimates:
    """One claim that holds, one that is reversed, with twins; the rest has no row."""
    base = {
        "model": "rank_correlation",
        "exposure": MEASURE,
        "estimand": "spearman",
        "contrast": "rank correlation",
        "adjustment": "none",
        "stratum": "HR+",
        "scope": "pooled",
        "unit": "Spearman rho",
        "interval_prob": 0.95,
        "n": 345,
        "status": "observed",
        "fingerprint": "f",
    }
    posterior = base | {
        "source": "posterior",
        "method": "models/rank_correlation.py",
        "interval_kind": "credible (equal-tailed)",
        "pd": 0.999,
        "p_in_rope": 0.07,
    }
    twin = base | {"source": "twin", "method": "Spearman", "interval_kind": "confidence", "p_value": 0.01}
    return Estimates.from_records(
        [
            posterior | {"outcome": "T cells CD8", "point": -0.21, "lower": -0.31, "upper": -0.11},
            twin | {"outcome": "T cells CD8", "point": -0.22, "lower": -0.33, "upper": -0.1},
            posterior | {"outcome": "Plasma cells", "point": 0.25, "lower": 0.12, "upper": 0.37},
        ]
    )


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """Hold the page that the module renders once."""
    return {}


@pytest.fixture
def page(builder: Any, read_page: Callable[[Path], Any], made: dict[str, Any]) -> Any:
    if made:
        return made["page"]
    folder = builder.build()
    table = claims(estimates(), measure=MEASURE, left_out={"marginal_effect": "External: no IHC level."})
    table.to_csv(folder / "tables" / "claims.csv", index=False)
    concordance = pd.read_csv(folder / "tables" / "concordance.csv", keep_default_na=False, na_values=[""])
    families(concordance).to_csv(folder / "tables" / "families.csv", index=False)
    made["page"] = read_page(render_report(folder))
    return made["page"]


def test_it_says_that_this_is_replication_with_another_measure(page: Any) -> None:
    assert "replication with another measure" in page.visible
    assert f"here {MEASURE}" in page.visible


def test_layers_count_and_name_the_claims(page: Any) -> None:
    grid = {row[0]: row for row in page.tables["claims_layers"]}
    assert list(grid)[1:] == list(LAYERS)
    assert grid["holds"][1:3] == ["1", "T cells CD8, HR+, rank correlation"]
    assert grid["reversed"][1:3] == ["1", "Plasma cells, HR+, rank correlation"]
    assert grid["weakened"][1:3] == ["0", "none"]
    assert [row[-1] for row in page.tables["claims_layers"]][1:] == list(LAYERS.values())


def test_a_claim_shows_the_published_and_the_present_number(page: Any) -> None:
    row = next(row for row in page.tables["claims"] if row[0] == "holds")
    assert row[1] == "T cells CD8 fall as HER2 rises in HR+ tumours Spearman, pooled, n = 345"
    assert row[2] == "−0.25 (−0.37 to −0.12)"
    assert row[3] == "−0.21 (−0.31 to −0.11) twin −0.22 (−0.33 to −0.10)"
    assert row[4:7] == [">0.99", "0.07", "yes"]


def test_a_published_range_is_not_printed_as_an_interval(page: Any) -> None:
    row = next(
        r for r in page.tables["claims"] if r[1].startswith("T cells CD8 fall as HER2 rises, in every cohort")
    )
    assert row[2] == "range −0.60 to −0.30"
    assert "or a range where it says so" in page.visible


def test_a_claim_that_cannot_be_tested_says_why(page: Any) -> None:
    rows = [row for row in page.tables["claims"] if row[0] == "not testable here"]
    assert any("model marginal_effect left out: External: no IHC level." in row[-1] for row in rows)


def test_families_count_the_tests_of_each(page: Any) -> None:
    grid = page.tables["families"]
    assert grid[0][:4] == ["Model", "Estimand", "HR", "Scope"]
    assert any(row[1].startswith("presence") and row[2:4] == ["HR+", "pooled"] for row in grid)
    assert "'new' is expected" in page.visible


def test_a_folder_without_claims_has_no_such_section(finished: tuple[Path, Any]) -> None:
    assert "claims in these tumours" not in finished[1].visible
