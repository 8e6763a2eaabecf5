"""What the report asks of published results, and what it says of rows that answer nothing."""

from __future__ import annotations

import pytest

from bayes_her2.evidence.questions import QUESTIONS, asked_of, evidence_with
from bayes_her2.evidence.table import shipped_evidence

from .conftest import RATIO, RESPONSE, other


def test_every_question_is_answered_by_the_shipped_results():
    pools = asked_of(shipped_evidence()).pools
    assert [(p.outcome, p.scale, p.adjustment, p.exposure) for p in pools] == [
        (q.outcome, q.scale, q.adjustment, q.exposure) for q in QUESTIONS
    ]


def test_the_shipped_results_alone_have_no_remarks_on_rows():
    assert evidence_with().notices == shipped_evidence().notices


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (RESPONSE | {"exposure": "HER2 1+"}, "another contrast: HER2 1+ against HER2-0"),
        (RESPONSE | {"outcome": "high Ki-67"}, "none is about high Ki-67"),
        (
            RATIO | {"outcome": "disease-free survival", "setting": "metastatic"},
            "another setting: metastatic",
        ),
    ],
)
def test_a_row_that_answers_no_question_is_named_with_the_reason(read, tmp_path, row, why):
    read(row, other(RESPONSE, "Jones"))
    (notice,) = evidence_with(tmp_path / "mine.csv").notices
    assert notice == f"mine.csv: Smith 2024 [{row['row_id']}] answers no question of the report ({why})"
