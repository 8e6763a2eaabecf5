"""The section on tumours left out: what rests on one tumour comes first, and forecasts in their bands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayes_her2.comparison.one_left_out import ecdf_of_transforms, uniformity_of_transforms
from bayes_her2.report import render_report

RESULT = {
    "stratum": "HR+",
    "point": 1.2,
    "lower": 0.9,
    "upper": 1.5,
    "excludes_null": False,
    "tumour": "T1",
    "shift": -0.6,
    "point_without": 1.1,
    "lower_without": 0.8,
    "upper_without": 1.4,
    "excludes_null_without": False,
    "pareto_k": 0.3,
    "n_decisive": 0,
}
TUMOUR = {
    "cohort": "Alpha",
    "hr": "HR+",
    "her2_sd": 2.25,
    "pareto_k": 0.3,
    "elpd": 12.5,
    "largest_shift": -0.6,
    "estimand": "overall",
    "cell_type": "T cells CD8",
    "stratum": "HR+",
    "n_decisive": 0,
}


@pytest.fixture(scope="module")
def page(
    tmp_path_factory: pytest.TempPathFactory,
    builder_in: Callable[[Path], Any],
    read_page: Callable[[Path], Any],
) -> Any:
    folder = builder_in(tmp_path_factory.mktemp("left_out") / "results").build()
    results = [
        RESULT | {"estimand": "overall", "cell_type": "T cells CD8"},
        RESULT
        | {"estimand": "amount", "cell_type": "Neutrophils", "tumour": "T2", "shift": 0.2, "pareto_k": 0.83}
        | {"n_decisive": 2, "lower": 1.02, "excludes_null": True},
    ]
    tumours = [TUMOUR | {"tumour": "T1"}, TUMOUR | {"tumour": "T2", "largest_shift": 0.2, "pareto_k": 0.83}]
    labels = [f"T{i}" for i in range(60)]
    about = pd.DataFrame({"cohort": "Alpha", "hr": ["HR+"] * 40 + ["HR-"] * 20}, index=labels)
    data = SimpleNamespace(tumours=about, strata=("HR+", "HR-"), cohorts=("Alpha",))
    rng = np.random.default_rng(1)
    pit = pd.DataFrame(
        {"T cells CD8": rng.uniform(size=60), "Neutrophils": rng.uniform(size=60) ** 4}, index=labels
    )
    made = {
        "influence": pd.DataFrame(results),
        "tumours_left_out": pd.DataFrame(tumours),
        "predictive_pit": uniformity_of_transforms(pit, data).assign(forecast="leave-one-out"),
        "loo_pit_ecdf": ecdf_of_transforms(pit, data),
    }
    for name, table in made.items():
        table.to_csv(folder / "tables" / f"{name}.csv", index=False)
    report = render_report(folder)
    parsed = read_page(report)
    parsed.source = report.read_text(encoding="utf-8")
    return parsed


def test_results_that_rest_on_one_tumour_come_first(page: Any) -> None:
    visible = page.visible
    start = visible.index("leaving out one tumour moves most (of 2; 1 have an interval whose side")
    assert visible.index("Neutrophils", start) < visible.index("T cells CD8", start)
    assert "1.20 (1.02 to 1.50)" in visible[start:]
    assert "1.10 (0.80 to 1.40)" in visible[start:]
    assert "T2" in visible[start:]


def test_the_first_page_says_how_many(page: Any) -> None:
    assert (
        "1 of 2 pooled results of the main model have an interval whose side of no association rests"
        in page.visible
    )


def test_a_miscalibrated_cell_type_is_named_in_table_and_figure(page: Any) -> None:
    assert "Outside its band: Neutrophils (HR+) and Neutrophils (HR-)." in page.source
    assert "and those with a Pareto k above 0.7 (1 of 2)" in page.visible
