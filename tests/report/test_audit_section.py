"""The section on published claims in the report of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bayes_her2.estimates import write_table
from bayes_her2.report import render_report
from bayes_her2.workflow.audit import claims_tables


def test_a_results_folder_with_audit_tables_has_the_section(builder: Any, read_page: Callable[[Path], Any]):
    """Also in a run on simulated tumours, whose stamp the published figures do not get."""
    folder = builder.build(simulated=True)
    for name, table in claims_tables().items():
        write_table(table, folder / "tables" / f"{name}.csv")
    report = render_report(folder)
    text = report.read_text("utf-8")
    assert 'id="audit"' in text
    assert "Of 25 claims, 9 survive" in text
    assert "are printed in a paper about patients" in text
    figure = (folder / "figures" / "audit_prior_curves.svg").read_text("utf-8")
    assert "SIMULATED" not in figure


def test_without_them_there_is_no_section(finished: Any):
    assert 'id="audit"' not in (finished[0] / "report.html").read_text("utf-8")
