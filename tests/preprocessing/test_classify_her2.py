"""HER2 class with its reason, and IHC level from staining: every branch, and what is refused.

Source of the rules: ASCO/CAP 2023 (doi 10.1200/JCO.22.02864), and the same wording in section 2 of the review by Zhan
et al. 2026, written out by hand below.
"""

from __future__ import annotations

import itertools

import pandas as pd
import pytest

from bayes_her2.errors import DataError
from bayes_her2.preprocessing import classify_her2, ihc_level
from bayes_her2.preprocessing.receptors import her2_class

RULES = [
    # IHC, ISH, faint %, class, reason
    ("0", None, 0.0, "0", "IHC 0 without staining (null)"),
    ("0", "not amplified", 0.0, "0", "IHC 0 without staining (null)"),
    ("0", None, 0.1, "ultralow", "IHC 0 with faint staining in at most 10 % of cells"),
    ("0", None, 10.0, "ultralow", "IHC 0 with faint staining in at most 10 % of cells"),
    ("0", None, None, "0", "IHC 0; faint staining is not recorded, so ultralow is not told from null"),
    ("1+", None, None, "low", "IHC 1+"),
    ("1+", "not amplified", 10.1, "low", "IHC 1+"),
    ("2+", "not amplified", None, "low", "IHC 2+ and ISH not amplified"),
    ("2+", "amplified", None, "positive", "IHC 2+ and ISH amplified"),
    ("2+", None, None, "unknown", "IHC 2+ without ISH is equivocal"),
    ("3+", None, None, "positive", "IHC 3+"),
    ("3+", "amplified", None, "positive", "IHC 3+"),
    (None, "amplified", None, "unknown", "no IHC level"),
    (None, None, 5.0, "unknown", "no IHC level"),
]

CONTRADICTIONS = [
    ("3+", "not amplified", None, "IHC 3+ and ISH not amplified"),
    ("1+", "amplified", None, "IHC 1+ and ISH amplified"),
    ("0", "amplified", None, "IHC 0 and ISH amplified"),
    ("0", None, 10.1, "IHC 0 and faint staining in more than 10 % of cells, which is 1+"),
    ("1+", None, 10.0, "IHC 1+ and faint staining in at most 10 % of cells, which is 0"),
]


def tumours(*rows: tuple[object, object, object]) -> pd.DataFrame:
    ihc, ish, faint = zip(*rows, strict=True)
    index = [f"T{i}" for i in range(1, len(rows) + 1)]
    return pd.DataFrame(
        {
            "her2_ihc": pd.Series(ihc, index=index, dtype="str"),
            "her2_ish": pd.Series(ish, index=index, dtype="str"),
            "her2_faint_percent": pd.Series(faint, index=index, dtype="float64"),
        }
    )


@pytest.mark.parametrize(("ihc", "ish", "faint", "expected", "reason"), RULES)
def test_class_and_reason(ihc, ish, faint, expected, reason):
    result = classify_her2(tumours((ihc, ish, faint)))
    assert result.loc["T1"].to_list() == [expected, reason]


def test_equals_her2_class_wherever_nothing_contradicts():
    rows = list(
        itertools.product(
            ("0", "1+", "2+", "3+", None),
            ("amplified", "not amplified", None),
            (0.0, 5.0, 10.0, 50.0, None),
        )
    )
    table = tumours(*rows)
    result = classify_her2(table, on_contradiction="unknown")
    valid = ~result["reason"].str.startswith("contradictory")
    assert 0 < valid.sum() < len(rows)
    expected = her2_class(table, ultralow_max_percent=10.0)
    assert result.loc[valid, "her2_class"].to_list() == expected[valid].to_list()
    assert set(result.loc[~valid, "her2_class"]) == {"unknown"}


@pytest.mark.parametrize(("ihc", "ish", "faint", "words"), CONTRADICTIONS)
def test_contradictory_fields_are_refused_by_name(ihc, ish, faint, words):
    table = tumours(("0", None, 0.0), (ihc, ish, faint))
    with pytest.raises(DataError) as caught:
        classify_her2(table)
    assert str(caught.value) == (
        f"HER2, T2: {words}; correct the field that is wrong, or classify with on_contradiction='unknown'"
    )
    result = classify_her2(table, on_contradiction="unknown")
    assert result.loc["T2"].to_list() == ["unknown", f"contradictory: {words}"]


def test_two_contradictions_of_one_tumour_and_those_of_others_come_together():
    with pytest.raises(DataError) as caught:
        classify_her2(tumours(("0", "amplified", 20.0), ("3+", "not amplified", None)))
    assert len(caught.value.faults) == 2
    assert caught.value.faults[0].startswith(
        "HER2, T1: IHC 0 and ISH amplified and IHC 0 and faint staining in more than 10 %"
    )


def test_words_and_percentages_outside_the_lists_are_refused_together():
    table = tumours(("4+", "pos", -1.0), ("1", None, 120.0))
    with pytest.raises(DataError) as caught:
        classify_her2(table)
    assert caught.value.faults == (
        "her2_ihc, T1: '4+' is not one of '0', '1+', '2+', '3+'",
        "her2_ihc, T2: '1' is not one of '0', '1+', '2+', '3+'",
        "her2_ish, T1: 'pos' is not one of 'amplified', 'not amplified'",
        "her2_faint_percent, T1, T2: -1.0, 120.0: the percentage of tumour cells is a number from 0 to 100",
    )


def test_a_percentage_that_is_text_is_refused():
    table = pd.DataFrame({"her2_ihc": ["0"], "her2_faint_percent": ["few"]}, index=["T1"])
    with pytest.raises(DataError, match=r"her2_faint_percent, T1: 'few': the percentage of tumour cells"):
        classify_her2(table)


def test_absent_columns_count_as_missing_and_the_table_is_left_alone():
    table = pd.DataFrame({"her2_ihc": ["2+", "1+"]}, index=["A", "B"])
    before = table.copy()
    result = classify_her2(table)
    assert result["her2_class"].to_list() == ["unknown", "low"]
    pd.testing.assert_frame_equal(table, before)


def test_the_limit_of_ultralow_can_be_lowered():
    result = classify_her2(tumours(("0", None, 4.0), ("0", None, 6.0)), ultralow_max_percent=5.0)
    assert result["her2_class"].to_list() == ["ultralow", "0"]
    assert result["reason"].to_list() == ["IHC 0 with faint staining in at most 5 % of cells", "IHC 0"]


@pytest.mark.parametrize(
    ("pattern", "percent", "expected"),
    [
        ("none", None, "0"),
        ("faint incomplete", 10.0, "0"),
        ("faint incomplete", 10.1, "1+"),
        ("weak to moderate complete", 10.1, "2+"),
        ("weak to moderate complete", 10.0, None),  # the definition leaves it open
        ("strong complete", 10.0, "2+"),
        ("strong complete", 10.1, "3+"),
        ("strong complete", None, None),
        (None, 50.0, None),
    ],
)
def test_ihc_level_from_staining(pattern, percent, expected):
    table = pd.DataFrame(
        {"pattern": pd.Series([pattern], dtype="str"), "percent": pd.Series([percent], dtype="float64")}
    )
    (level,) = ihc_level(table)
    assert level == expected if expected is not None else pd.isna(level)


def test_staining_outside_the_lists_is_refused():
    table = pd.DataFrame({"pattern": ["patchy"], "percent": [101.0]}, index=["T1"])
    with pytest.raises(DataError) as caught:
        ihc_level(table)
    assert caught.value.faults == (
        "pattern, T1: 'patchy' is not one of 'none', 'faint incomplete', 'weak to moderate complete',"
        " 'strong complete'",
        "percent, T1: 101.0: the percentage of tumour cells is a number from 0 to 100",
    )


def test_the_docstring_tells_of_reader_disagreement_with_its_source():
    text = " ".join(classify_her2.__doc__.split())
    for part in ("19 %", "26 %", "58 %", "10.1001/jamaoncol.2021.7239", "gives no figures"):
        assert part in text
