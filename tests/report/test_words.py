"""Sentences and marks of the report that count rows, from rows written by hand."""

from __future__ import annotations

from types import SimpleNamespace

from bayes_her2.report import tables, words


def test_a_table_whose_twins_differ_in_method_marks_them_and_says_whose_the_verdicts_are():
    rows = [
        {"twin_method": "random-effects", "verdict": "new"},
        {"twin_method": "cohort fixed", "verdict": "uncertain"},
        {"twin_method": "random-effects", "verdict": "new"},
        {"twin_method": None, "verdict": "not estimable"},
    ]
    (note,) = tables._methods_note(rows)
    assert "(a) random-effects; (b) cohort fixed" in note
    assert "new: 2 with (a); uncertain: 1 with (b)" in note
    assert tables._codes(rows[:1]) == {}
    assert tables._methods_note(rows[:1]) == ("Twin: random-effects.",)


def test_recovery_is_told_by_the_size_that_was_planted():
    def row(truth: float, point: float, lower: float, upper: float) -> dict[str, object]:
        covered = lower <= truth <= upper
        return dict(truth=truth, point=point, lower=lower, upper=upper, covered=covered, scope="pooled")

    rows = [
        row(1, 1.1, 1.05, 1.2),
        row(1, 1.0, 0.9, 1.1),
        row(2.0, 2.0**0.5, 1.1, 1.9),
        row(0.9, 0.9, 0.8, 1),
    ]
    text = words.recovery_by_size(SimpleNamespace(rows=lambda name: rows))
    assert "no effect planted, 1 of 2 covered, and intervals of 1 exclude 1" in text
    assert "up to 1.2-fold, 1 of 1 covered, estimates at 100 % of the planted log ratio" in text
    assert "beyond, 0 of 1 covered, estimates at 50 % of the planted log ratio (median)" in text
    assert words.recovery_by_size(SimpleNamespace(rows=lambda name: [])) == ""
