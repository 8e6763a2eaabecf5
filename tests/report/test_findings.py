"""Results in words: every number from a row of the estimates, counted as the tables count, nothing said of a prior."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bayes_her2.report import render_report
from bayes_her2.report.findings import findings
from bayes_her2.report.load import Estimate, ModelRecord, Results, load_results
from bayes_her2.report.manuscript import as_markdown
from bayes_her2.report.sections.registry import SECTIONS


def loaded(folder: Path) -> Results:
    return load_results(folder, [s.reads for s in SECTIONS])


def text_of(results: Results, heading: str) -> str:
    (found,) = [p.text for p in findings(results) if p.heading == heading]
    return found


def row(outcome: str, point: float, lower: float, upper: float, **other: Any) -> Estimate:
    given: dict[str, Any] = {
        "source": "posterior",
        "method": "models/abundance.py",
        "model": "abundance",
        "outcome": outcome,
        "exposure": "ERBB2",
        "estimand": "overall",
        "contrast": "h + 1 SD over h",
        "adjustment": "none",
        "stratum": "HR+",
        "scope": "pooled",
        "cohort": "",
        "at": None,
        "unit": "ratio of E[y] per SD",
        "interval_kind": "credible (equal-tailed)",
        "interval_prob": 0.95,
        "n": 300,
        "n_zero": 30,
        "status": "observed",
        "note": "",
        "pd": 0.99,
        "p_in_rope": 0.1,
        "lfsr": 0.01,
        "s_value": 0.01,
        "p_value": None,
        "p_adjusted": None,
    }
    return Estimate(point=point, lower=lower, upper=upper, **(given | other))


@pytest.fixture
def bare(builder) -> Results:
    """Results of two cohorts and one model, without any estimate: each test gives its own."""
    results = loaded(builder.build())
    return replace(results, every_estimate=(), tables=results.tables | {"concordance": ()})


def with_rows(results: Results, *rows: Estimate, concordance: tuple[dict[str, Any], ...] = ()) -> Results:
    record: ModelRecord = results.models["abundance"]
    models = {name: replace(record, name=name) for name in {"abundance", *(e.model for e in rows)}}
    return replace(
        results, every_estimate=rows, models=models, tables=results.tables | {"concordance": concordance}
    )


def test_a_stratum_is_told_row_by_row(bare):
    rows = (
        row("Alpha", 0.70, 0.55, 0.90),
        row("Beta", 1.30, 0.97, 1.70, pd=0.97, s_value=0.02),
        row("Gamma", 1.02, 0.80, 1.25, pd=0.55, s_value=0.2, p_in_rope=0.6),
        row("Delta", 1.00, 0.95, 1.05, pd=0.5, s_value=0.3, p_in_rope=0.97),
        row("Epsilon", 0.60, 0.30, 0.80, status="borrowed"),
        row("Alpha", 0.75, 0.50, 1.10, scope="cohort", cohort="A"),
        row("Alpha", 0.65, 0.40, 1.00, scope="cohort", cohort="B"),
        row("Beta", 0.95, 0.60, 1.50, scope="cohort", cohort="A"),
        row("Beta", 1.50, 1.10, 2.10, scope="cohort", cohort="B"),
    )
    beside = tuple(
        {
            "model": "abundance",
            "scope": "pooled",
            "outcome": name,
            "exposure": "ERBB2",
            "contrast": "h + 1 SD over h",
            "estimand": "overall",
            "stratum": "HR+",
            "twin_method": "cohort fixed",
            "twin_p_bonferroni": p,
            "discovery_bonferroni": p < 0.05,
        }
        for name, p in (("Alpha", 0.01), ("Beta", 1.0), ("Gamma", 0.001))
    )
    assert text_of(with_rows(bare, *rows, concordance=beside), "Mean abundance") == (
        "The ratio of mean abundance, zeros included, per SD of HER2: posterior medians with 95 % credible "
        "intervals (equal-tailed).\n\nIn HR+ tumours (n = 300), a sign was called for 2 of 4 cell types, 1 of "
        "them with an interval that includes 1. Lower: Alpha 0.70 (0.55 to 0.90). Higher: Beta 1.30 (0.97 to "
        "1.70). The medians of all cohorts lay on the same side for 1 of these; the Bonferroni-corrected P "
        "value of the frequentist twin (cohort fixed) was at most 0.05 for 1 of these. The intervals of the "
        "other 2 lie between 0.80 and 1.25.\n\nOf the others, in all strata, 1 has a posterior probability of at "
        "least 0.95 of being practically equivalent to no association (between 0.9 and 1.11); what is left is open, "
        "not absent."
    )


def test_nothing_called_is_said_and_not_taken_for_nothing_there(bare):
    rows = (
        row("Alpha", 0.9, 0.5, 1.5, pd=0.6, s_value=0.3),
        row("Beta", 1.1, 0.6, 2.4, pd=0.6, s_value=0.35),
    )
    text = text_of(with_rows(bare, *rows), "Mean abundance")
    assert (
        "no sign was called among 2 cell types. The intervals of the other 2 lie between 0.50 and 2.40."
        in text
    )
    assert "nothing has a posterior probability" in text
    assert "open, not absent" in text
    assert "P value" not in text
    assert "cohorts" not in text


def test_beyond_six_rows_the_surest_are_named_and_the_others_counted(bare):
    rows = [row(f"Cell {i}", 0.7, 0.5, 0.9, pd=0.9 + i / 100, adjustment="age") for i in range(9)]
    text = text_of(with_rows(bare, *rows), "Mean abundance")
    assert "a sign was called for each of 9 cell types. Lower: Cell 8 0.70 (0.50 to 0.90), Cell 7" in text
    assert "and 3 more." in text
    assert "Cell 2" not in text
    assert "per SD of HER2, adjusted for age: posterior" in text


def test_where_no_signs_are_called_intervals_are_read(bare):
    rows = [
        row(
            outcome,
            point,
            lower,
            upper,
            model="clinical",
            estimand="clinical_odds",
            exposure="high abundance of Alpha",
            s_value=None,
            lfsr=None,
        )
        for outcome, point, lower, upper in (("grade III", 1.7, 1.1, 2.6), ("age > 50 years", 1.2, 0.8, 1.9))
    ]
    text = text_of(with_rows(bare, *rows), "Clinical variables")
    assert (
        "the interval excluded 1 for 1 of 2 pairs of outcome and cell type. "
        "Higher: grade III with high abundance of Alpha 1.70 (1.10 to 2.60)." in text
    )
    assert "The interval of the other one reaches from 0.80 to 1.90." in text


def test_questions_of_their_own_are_told_one_by_one_and_priors_are_not_told(bare):
    common = {"model": "evidence_synthesis", "estimand": "published_ratio", "s_value": None, "lfsr": None}
    odds = "odds ratio, HER2-low over HER2-0"
    rows = (
        row("response", 0.66, 0.54, 1.04, stratum="all", adjustment="crude", contrast=odds, pd=0.96, **common),
        row(
            "survival", 0.8, 0.4, 1.6, stratum="HR-", adjustment="adjusted", contrast=odds, pd=0.7, status="borrowed",
            note="3 studies", **common,
        ),
        row("recurrence", 0.123, 0.1, 0.2, contrast=odds, status="prior-only", **common),
    )  # fmt: skip
    text = text_of(with_rows(bare, *rows), "Published results")
    assert f"Response (crude): {odds}, 0.66 (0.54 to 1.04); probability of lying below 1: 0.96." in text
    assert "Survival, HR- (adjusted): " in text
    assert "(borrowed: 3 studies)." in text
    assert "0.12" not in text
    assert "1 further question has too few studies to be pooled" in text


def test_another_measure_than_the_studys_is_left_to_the_tables(bare):
    common = {"model": "rank_correlation", "estimand": "spearman", "contrast": "rank correlation"}
    rows = (
        row("Alpha", -0.3, -0.4, -0.2, **(common | {"exposure": bare.study.measure})),
        row("Alpha", 0.5, 0.4, 0.6, **(common | {"exposure": "ESR1"})),
    )
    text = text_of(with_rows(bare, *rows), "Rank correlation")
    assert "Negative: Alpha −0.30 (−0.40 to −0.20)." in text
    assert "0.50" not in text


def test_one_cohort_is_not_said_to_agree_with_itself(bare):
    one = replace(bare, tables=bare.tables | {"flow": bare.tables["flow"][:1]})
    rows = (row("Alpha", 0.7, 0.55, 0.9), row("Alpha", 0.75, 0.5, 1.1, scope="cohort", cohort="A"))
    assert "medians of all cohorts" not in text_of(with_rows(one, *rows), "Mean abundance")


def test_a_model_that_was_refused_has_no_paragraph(bare):
    results = with_rows(bare, row("Alpha", 0.7, 0.5, 0.9))
    refused = {name: replace(record, status="refused") for name, record in results.models.items()}
    assert findings(replace(results, models=refused)) == ()


def test_it_is_a_section_before_the_methods_and_a_file(builder, read_page):
    folder = builder.build()
    page = read_page(render_report(folder))
    assert page.visible.rindex("Results in words") < page.visible.rindex("Limits, provenance")
    results = loaded(folder)
    text = (folder / "results.md").read_text(encoding="utf-8")
    assert text == as_markdown("Results", results, findings(results))
    for p in findings(results):
        assert all(part in page.visible for part in p.parts)
    called = [r for r in results.rows("concordance") if r["scope"] == "pooled" and r["estimand"] == "overall"]
    n = sum(bool(r["discovery_bayes"]) for r in called if r["stratum"] == "HR+")
    strata = text_of(results, "Mean abundance").split(" tumours (n = ")
    assert f"{n} of" in strata[1] if n else "no sign was called" in strata[1]


def test_a_run_that_refused_leaves_no_text(builder, read_page):
    folder = builder.build(refused=True)
    (folder / "results.md").write_text("of an earlier run", encoding="utf-8")
    assert "Results in words" not in read_page(render_report(folder)).visible
    assert not (folder / "results.md").exists()
