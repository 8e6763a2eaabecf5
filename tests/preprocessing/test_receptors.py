"""HER2 class, HER2 status and HR status: every combination, against the rules written out by hand.

Source of the rules: the seed study's Methods as specified for this package (HER2-low = 1+, or 2+ not
amplified; HER2-positive = 3+, or 2+ amplified), and for the status the hand-made join of TCGA-BRCA.
"""

from __future__ import annotations

import itertools

import pandas as pd
import pytest

from bayes_her2.preprocessing.receptors import her2_class, her2_status, hr_status, one_receptor_alone

CLASS = {
    ("0", "amplified"): "0",
    ("0", "not amplified"): "0",
    ("0", None): "0",
    ("1+", "amplified"): "low",  # the level alone decides the class; the status below says positive
    ("1+", "not amplified"): "low",
    ("1+", None): "low",
    ("2+", "amplified"): "positive",
    ("2+", "not amplified"): "low",
    ("2+", None): "unknown",
    ("3+", "amplified"): "positive",
    ("3+", "not amplified"): "positive",
    ("3+", None): "positive",
    (None, "amplified"): "unknown",
    (None, "not amplified"): "unknown",
    (None, None): "unknown",
}

POSITIVE, NEGATIVE, UNKNOWN = "positive", "negative", None
# level -> ISH -> status for the calls positive, negative, equivocal, missing.
STATUS = {
    "0": {
        "amplified": (POSITIVE, POSITIVE, POSITIVE, POSITIVE),
        "not amplified": (NEGATIVE, NEGATIVE, NEGATIVE, NEGATIVE),
        None: (POSITIVE, NEGATIVE, NEGATIVE, NEGATIVE),
    },
    "1+": {
        "amplified": (POSITIVE, POSITIVE, POSITIVE, POSITIVE),
        "not amplified": (NEGATIVE, NEGATIVE, NEGATIVE, NEGATIVE),
        None: (POSITIVE, NEGATIVE, NEGATIVE, NEGATIVE),
    },
    "2+": {
        "amplified": (POSITIVE, POSITIVE, POSITIVE, POSITIVE),
        "not amplified": (NEGATIVE, NEGATIVE, NEGATIVE, NEGATIVE),
        None: (POSITIVE, UNKNOWN, UNKNOWN, UNKNOWN),  # a 2+ is open until ISH, whatever the call says
    },
    "3+": {
        "amplified": (POSITIVE, POSITIVE, POSITIVE, POSITIVE),
        "not amplified": (POSITIVE, POSITIVE, POSITIVE, POSITIVE),
        None: (POSITIVE, POSITIVE, POSITIVE, POSITIVE),
    },
    None: {
        "amplified": (POSITIVE, POSITIVE, POSITIVE, POSITIVE),
        "not amplified": (NEGATIVE, NEGATIVE, NEGATIVE, NEGATIVE),
        None: (POSITIVE, NEGATIVE, UNKNOWN, UNKNOWN),
    },
}
CALLS = ("positive", "negative", "equivocal", None)


def frame(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(values, dtype="str") for name, values in columns.items()})


def plain(values: pd.Series) -> list[str | None]:
    return [None if pd.isna(v) else v for v in values]


def test_her2_class_of_every_level_and_ish():
    ihc, ish = zip(*CLASS, strict=True)
    result = her2_class(frame(her2_ihc=list(ihc), her2_ish=list(ish)))
    assert list(result) == list(CLASS.values())


def test_a_cohort_without_ish_leaves_2_plus_unknown():
    assert list(her2_class(frame(her2_ihc=["0", "1+", "2+", "3+"]))) == ["0", "low", "unknown", "positive"]


def test_without_an_ihc_column_every_class_is_unknown():
    assert list(her2_class(frame(her2_ish=["amplified", "not amplified"]))) == ["unknown", "unknown"]


@pytest.mark.parametrize(
    ("level", "faint", "expected"),
    [
        ("0", 0.0, "0"),  # no staining at all: HER2-null
        ("0", 0.1, "ultralow"),
        ("0", 10.0, "ultralow"),  # at most 10 %
        ("0", 10.1, "0"),
        ("0", None, "0"),
        ("1+", 5.0, "low"),
    ],
)
def test_ultralow_is_ihc_0_with_faint_staining_in_at_most_10_percent(level, faint, expected):
    tumours = frame(her2_ihc=[level]).assign(her2_faint_percent=pd.Series([faint], dtype=float))
    assert list(her2_class(tumours, ultralow_max_percent=10.0)) == [expected]
    assert list(her2_class(tumours)) == ["low" if level == "1+" else "0"]


def test_her2_status_of_every_level_ish_and_call():
    rows = list(itertools.product(STATUS, ("amplified", "not amplified", None), CALLS))
    tumours = frame(
        her2_ihc=[r[0] for r in rows], her2_ish=[r[1] for r in rows], her2_call=[r[2] for r in rows]
    )
    expected = [STATUS[level][ish][CALLS.index(call)] for level, ish, call in rows]
    assert len(rows) == 60
    assert plain(her2_status(tumours)) == expected


def test_a_cohort_with_a_call_alone_has_a_status_and_no_class():
    tumours = frame(her2_call=["negative", "positive", "equivocal", None])
    assert plain(her2_status(tumours)) == ["negative", "positive", None, None]
    assert set(her2_class(tumours)) == {"unknown"}


@pytest.mark.parametrize(
    ("er", "pgr", "expected"),
    [
        ("positive", "positive", "HR+"),
        ("positive", "negative", "HR+"),
        ("negative", "positive", "HR+"),
        ("positive", None, "HR+"),
        (None, "positive", "HR+"),
        ("negative", "negative", "HR-"),
        ("negative", None, None),
        (None, "negative", None),
        (None, None, None),
    ],
)
def test_hr_is_positive_if_either_receptor_is_and_negative_only_if_both_are(er, pgr, expected):
    assert plain(hr_status(frame(er=[er], pgr=[pgr]))) == [expected]


def test_one_receptor_of_two_is_a_remark_that_names_what_was_not_read():
    words = frame(er=["negative", "negative", "positive"], pr=["negative", "negative", "positive"])
    (said,) = one_receptor_alone(words)
    assert "only er is mapped, and neither pgr nor hr ('pr' is not read as pgr: rename it)" in said
    assert "the 2 that are er-negative have no HR status" in said
    assert one_receptor_alone(words.rename(columns={"pr": "pgr"})) == []
    assert one_receptor_alone(words.rename(columns={"pr": "hr"})) == []
    assert one_receptor_alone(words[["pr"]]) == []


def test_one_receptor_that_is_negative_does_not_make_hr_negative():
    assert plain(hr_status(frame(er=["negative", "positive"]))) == [None, "HR+"]


def test_hr_given_wins_over_its_receptors_and_they_fill_its_gaps():
    tumours = frame(
        hr=["negative", "positive", None, None],
        er=["positive", "negative", "positive", "negative"],
        pgr=["positive", "negative", "negative", None],
    )
    assert plain(hr_status(tumours)) == ["HR-", "HR+", "HR+", None]
