"""A results folder is read whole, or refused with every fault named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bayes_her2.errors import DataError
from bayes_her2.report.load import load_results


def edit(folder: Path, table: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    path = folder / "tables" / f"{table}.csv"
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    change(frame).to_csv(path, index=False, lineterminator="\n")


def test_cells_are_typed_and_empty_cells_are_none(builder: Any) -> None:
    results = load_results(builder.build())
    row = next(
        r
        for r in results.rows("precision")
        if r["cell_type"] == "T cells CD8" and r["estimand"] == "presence"
    )
    assert row["detectable_ratio"] is None
    assert isinstance(row["n"], int)
    assert results.rows("cell_types")[0]["presence_modelled"] is True
    assert results.cohorts == ("Discovery", "Confirmatory", "External")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such results folder"):
        load_results(tmp_path / "nowhere")


def test_every_missing_table_is_named_at_once(builder: Any) -> None:
    folder = builder.build()
    (folder / "tables" / "flow.csv").unlink()
    (folder / "tables" / "estimates.csv").unlink()
    with pytest.raises(DataError) as error:
        load_results(folder)
    assert len(error.value.faults) == 2
    assert "tables/flow.csv: missing" in str(error.value)
    assert "tables/estimates.csv: missing" in str(error.value)
    assert "run the analysis again" in str(error.value).lower()


def test_a_missing_column_is_named(builder: Any) -> None:
    folder = builder.build()
    edit(folder, "flow", lambda frame: frame.drop(columns="analysed"))
    with pytest.raises(DataError, match=r"tables/flow\.csv: no column analysed"):
        load_results(folder)


def test_text_in_a_numeric_column_is_named_and_counted(builder: Any) -> None:
    folder = builder.build()
    edit(folder, "precision", lambda frame: frame.assign(n="many"))
    with pytest.raises(DataError, match=r"column 'n' should hold int .* \(many, "):
        load_results(folder)


def test_a_flow_that_does_not_add_up_is_refused(builder: Any) -> None:
    folder = builder.build()
    edit(folder, "flow", lambda frame: frame.assign(analysed="7"))
    with pytest.raises(DataError, match="134 read is not 30 excluded \\+ 7 analysed"):
        load_results(folder)


def confidence_for_a_posterior(records: list[dict[str, Any]]) -> None:
    row = next(r for r in records if r["source"] == "posterior" and "point" in r)
    row["interval_kind"] = "confidence (Wald)"


def two_levels(records: list[dict[str, Any]]) -> None:
    next(r for r in records if r["source"] == "posterior")["interval_prob"] = 0.89


def two_adjustments(records: list[dict[str, Any]]) -> None:
    row = next(r for r in records if r["source"] == "posterior")
    records.append(row | {"adjustment": "age, purity"})


def unknown_cell_type(records: list[dict[str, Any]]) -> None:
    next(r for r in records if r["source"] == "posterior")["outcome"] = "T.cells.CD8"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (confidence_for_a_posterior, "credible for a posterior"),
        (two_levels, r"levels \[0.89, 0.95\]"),
        (two_adjustments, "several posterior rows for B cells naive, presence"),
        (unknown_cell_type, r"not in tables/cell_types.csv: T\.cells\.CD8"),
    ],
)
def test_estimates_that_would_mislead_are_refused(
    builder: Any, change: Callable[[list[dict[str, Any]]], None], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_results(builder.build(change=change))


def test_a_refused_run_needs_reasons_and_no_estimates(builder: Any) -> None:
    folder = builder.build(refused=True)
    assert load_results(folder).estimates == ()
    content = json.loads((folder / "provenance.json").read_text())
    content["models"]["abundance"]["reasons"] = []
    (folder / "provenance.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="without `reasons`"):
        load_results(folder)


@pytest.mark.parametrize("status", ["done", None])
def test_an_unknown_status_is_refused(builder: Any, status: str | None) -> None:
    folder = builder.build()
    content = json.loads((folder / "provenance.json").read_text())
    (folder / "provenance.json").write_text(json.dumps(content | {"status": status}))
    with pytest.raises(DataError, match="expected 'complete', 'partly refused', 'refused'"):
        load_results(folder)


def test_share_drift_is_needed_on_the_relative_scale_only(new_builder: Callable[..., Any]) -> None:
    assert load_results(new_builder("absolute").build(scale="absolute")).rows("share_drift") == ()
    folder = new_builder("relative").build()
    (folder / "tables" / "share_drift.csv").unlink()
    with pytest.raises(DataError, match=r"share_drift\.csv: missing"):
        load_results(folder)


def test_a_multiplier_turns_shares_into_amounts(tmp_path):
    from bayes_her2.errors import Faults
    from bayes_her2.report.load import _read_study

    path = tmp_path / "study.toml"
    path.write_text(
        '[study]\nname = "S"\n[abundance]\nscale = "relative"\nmultiplier = "leukocyte_fraction"\n',
        encoding="utf-8",
    )
    study = _read_study(path, Faults())
    assert study is not None
    assert study.scale == "absolute"


def test_a_folder_of_an_audit_is_one_fault_that_says_so(tmp_path):
    (tmp_path / "provenance.json").write_text('{"kind": "audit of published claims"}')
    with pytest.raises(DataError) as caught:
        load_results(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: holds the results of `bayes-her2 audit`")
