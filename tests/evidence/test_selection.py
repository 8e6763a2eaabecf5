"""What may be pooled: the rules, each with the rows that it is about."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from bayes_her2.errors import DataError
from bayes_her2.evidence.selection import studies_for

from .conftest import RATIO, RESPONSE, other

PCR = "pathological complete response"


def reasons(data) -> dict[str, str]:
    return {e.row_id: e.reason for e in data.exclusions}


def pool(table, outcome=PCR, scale="odds ratio", adjustment="crude", **settings):
    return studies_for(table, outcome, scale=scale, adjustment=adjustment, **settings)


def test_counts_give_a_binomial_pool_with_woolfs_log_odds_ratio(read):
    data = pool(read(RESPONSE, other(RESPONSE, "Jones", year="2020")))
    assert data.likelihood == "binomial"
    assert data.studies.index.to_list() == ["Jones 2024", "Smith 2024"]  # by year
    row = data.studies.loc["Smith 2024"]
    assert row["log_ratio"] == pytest.approx(math.log((20 / 80) / (24 / 56)))
    assert row["se"] == pytest.approx(math.sqrt(1 / 20 + 1 / 80 + 1 / 24 + 1 / 56))
    assert row[["n_exposed", "events_exposed", "n_reference", "events_reference"]].to_list() == [
        100,
        20,
        80,
        24,
    ]
    assert data.studies["n_exposed"].dtype == "Int64"
    assert data.coords == {"study": ["Jones 2024", "Smith 2024"], "hr": ["all"]}
    assert data.n_studies == 2


def test_risk_ratios_from_the_same_counts(read):
    row = pool(read(RESPONSE), scale="risk ratio").studies.loc["Smith 2024"]
    assert row["log_ratio"] == pytest.approx(math.log((20 / 100) / (24 / 80)))
    assert row["se"] == pytest.approx(math.sqrt(1 / 20 - 1 / 100 + 1 / 24 - 1 / 80))


def test_counts_have_the_likelihood_of_their_tables_for_odds_ratios_alone(read):
    table = read(RESPONSE, other(RESPONSE, "Jones"), other(RESPONSE, "None", events_exposed="0"))
    assert pool(table).likelihood == "binomial"
    assert "None 2024" in pool(table).studies.index
    ratios = pool(table, scale="risk ratio")
    assert ratios.likelihood == "normal"
    assert ratios.studies.index.to_list() == ["Jones 2024", "Smith 2024"]
    assert list(reasons(ratios).values()) == [
        "a zero cell has no log ratio, and risk ratios are pooled as logs; nothing is added to it"
    ]


def test_the_standard_error_of_a_ratio_is_that_of_its_interval_and_level(read):
    data = pool(read(RATIO), "overall survival", "hazard ratio", "adjusted")
    assert data.likelihood == "normal"
    row = data.studies.loc["Smith 2024"]
    assert row["log_ratio"] == pytest.approx(math.log(0.8))
    assert row["se"] == pytest.approx(math.log(1.00 / 0.64) / (2 * 1.959963985))
    ninety = pool(read(RATIO | {"ci_level": "0.9"}), "overall survival", "hazard ratio", "adjusted")
    assert ninety.studies["se"].item() == pytest.approx(math.log(1.00 / 0.64) / (2 * 1.644853627))


def test_crude_and_adjusted_are_never_pooled(read):
    ratio = {
        "measure": "odds ratio",
        "estimate": "0.7",
        "ci_low": "0.5",
        "ci_high": "0.98",
        "ci_level": "0.95",
    }
    bare = {"events_exposed": "", "events_reference": "", "counts": ""}
    adjusted = other(RESPONSE, "Jones", adjustment="adjusted", **ratio, **bare)
    weighted = other(RESPONSE, "Brown", adjustment="weighted", **ratio, **bare)
    table = read(RESPONSE, adjusted, weighted)
    crude, both = pool(table), pool(table, adjustment="adjusted")
    assert crude.studies.index.to_list() == ["Smith 2024"]
    assert reasons(crude) == {"Jones_1": "adjusted, not crude", "Brown_1": "weighted, not crude"}
    assert both.studies.index.to_list() == ["Brown 2024", "Jones 2024"]
    assert reasons(both) == {"smith_pcr": "crude, not adjusted"}
    assert any("weighted: Brown 2024; the others are adjusted by regression" in n for n in both.notices)


def test_a_meta_analysis_is_never_pooled_again(read):
    pooled = other(RATIO, "Meta", pooled="yes", pooled_components="9 studies")
    data = pool(read(RATIO, pooled), "overall survival", "hazard ratio", "adjusted")
    assert data.studies.index.to_list() == ["Smith 2024"]
    assert reasons(data) == {"Meta_1": "a meta-analysis: it is not pooled again with its components"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exposure": "HER2 1+"}, "another contrast: HER2 1+ against HER2-0"),
        ({"hr_stratum": "HR-"}, "another HR stratum: HR-"),
        ({"setting": "metastatic"}, "another setting: metastatic"),
        (
            {"measure": "statement", "direction": "lower", "events_exposed": "", "events_reference": "", "counts": ""},
            "no counts and no ratio, only words or proportions",
        ),
        ({"design": "single arm", "reference": ""}, "a single arm compares nothing"),
        (
            {"measure": "risk ratio", "estimate": "0.7", "events_exposed": "", "events_reference": "", "counts": ""},
            "another scale: risk ratio",
        ),
        (
            {"measure": "odds ratio", "estimate": "0.7", "events_exposed": "", "events_reference": "", "counts": ""},
            "no interval, so no standard error",
        ),
        (
            {
                "measure": "odds ratio", "estimate": "1.15", "ci_low": "1.15", "ci_high": "1.15", "ci_level": "0.95",
                "events_exposed": "", "events_reference": "", "counts": "",
            },
            "the printed interval has no width, so no standard error",
        ),
    ],
)  # fmt: skip
def test_each_reason_for_leaving_a_row_out(read, changes, reason):
    data = pool(read(RESPONSE, other(RESPONSE, "Jones", **changes)))
    assert data.studies.index.to_list() == ["Smith 2024"]
    assert reasons(data) == {"Jones_1": reason}


def test_rows_of_other_outcomes_are_not_listed(read):
    assert reasons(pool(read(RESPONSE, other(RATIO, "Jones")))) == {}


@pytest.mark.parametrize(
    ("first", "second", "taken", "why"),
    [
        ({"role": "further"}, {}, "Jones 2024", "not the study's main result"),
        ({"verified": "second-hand"}, {}, "Jones 2024", "not verified"),
        ({}, {"n_exposed": "99"}, "Smith 2024", "fewer patients"),
        ({"events_exposed": "10"}, {}, "Jones 2024", "a wider interval"),
        ({"row_id": "z"}, {"row_id": "y"}, "Jones 2024", "later by name"),
    ],
)
def test_an_overlap_group_counts_once_by_a_stated_rule(read, first, second, taken, why):
    one = RESPONSE | {"overlap_group": "NCDB"} | first
    two = other(RESPONSE, "Jones") | {"row_id": "jones_pcr", "overlap_group": "NCDB"} | second
    for rows in ((one, two), (two, one)):
        data = pool(read(*rows))
        assert data.studies.index.to_list() == [taken]
        ((row_id, reason),) = reasons(data).items()
        best = data.studies["row_id"].item()
        assert row_id != best
        assert reason == f"shares patients (NCDB) with {taken} [{best}], which is taken: {why}"


def test_a_further_result_is_taken_where_there_is_no_main_one_and_said_so(read):
    data = pool(read(RESPONSE | {"role": "further"}))
    assert any("no main result" in notice and "Smith 2024" in notice for notice in data.notices)


def test_disjoint_parts_of_a_study_are_combined_by_inverse_variance(read):
    stage = {"part": "stage I", "row_id": "one"}
    parts = [
        RATIO | stage,
        RATIO | {"part": "stage II", "row_id": "two", "estimate": "0.9", "ci_high": "1.2656"},
    ]
    data = pool(read(*parts, other(RATIO, "Jones")), "overall survival", "hazard ratio", "adjusted")
    se = [math.log(1.00 / 0.64) / 3.91992797, math.log(1.2656 / 0.64) / 3.91992797]
    weights = [s**-2 for s in se]
    mean = (weights[0] * math.log(0.8) + weights[1] * math.log(0.9)) / sum(weights)
    row = data.studies.loc["Smith 2024"]
    assert row["row_id"] == "one + two"
    assert row["log_ratio"] == pytest.approx(mean)
    assert row["se"] == pytest.approx(sum(weights) ** -0.5)
    said = "Smith 2024 (all): its parts (stage I, stage II) are combined by inverse variance; they differ with Q "
    assert any(notice.startswith(said) for notice in data.notices)


def test_parts_that_differ_widen_the_standard_error_by_the_root_of_q_over_df(read):
    parts = [
        RATIO | {"part": "stage I", "row_id": "one"},
        RATIO | {"part": "stage II", "row_id": "two", "estimate": "2.0", "ci_low": "1.6", "ci_high": "2.5"},
    ]
    data = pool(read(*parts), "overall survival", "hazard ratio", "adjusted")
    y = [math.log(0.8), math.log(2.0)]
    se = [math.log(1.00 / 0.64) / 3.91992797, math.log(2.5 / 1.6) / 3.91992797]
    weights = [s**-2 for s in se]
    mean = sum(w * v for w, v in zip(weights, y, strict=True)) / sum(weights)
    q = sum(w * (v - mean) ** 2 for w, v in zip(weights, y, strict=True))
    assert q > 10
    assert data.studies.loc["Smith 2024", "se"] == pytest.approx(math.sqrt(q / sum(weights)))


def test_with_both_strata_asked_for_the_study_that_has_both_is_taken(read):
    # The other study of the same registry has one stratum, more patients, and the same role.
    both = [RESPONSE | {"hr_stratum": s, "row_id": s, "overlap_group": "registry"} for s in ("HR+", "HR-")]
    larger = other(RESPONSE, "Jones", hr_stratum="HR-", overlap_group="registry", n_exposed="9000")
    data = pool(read(*both, larger), hr_stratum=("HR+", "HR-"))
    assert data.studies.index.to_list() == ["Smith 2024, HR+", "Smith 2024, HR-"]
    assert "has fewer HR strata" in reasons(data)["Jones_1"]


def test_both_hr_strata_beside_each_other_are_disjoint_patients_of_one_study(read):
    strata = [RESPONSE | {"hr_stratum": s, "row_id": s} for s in ("HR+", "HR-")]
    table = read(*strata, other(RESPONSE, "Jones"))
    data = pool(table, hr_stratum=("HR+", "HR-"))
    assert data.studies.index.to_list() == ["Smith 2024, HR+", "Smith 2024, HR-"]
    assert data.coords["hr"] == ["HR+", "HR-"]
    assert data.n_studies == 1
    assert reasons(data) == {"Jones_1": "another HR stratum: all"}


BOTH_ASKED = ("HR+", "HR-")


def by_hr(name: str, positive: str, negative: str) -> list[dict[str, str]]:
    """A study with 20 of 100 against 24 of 80, and another number of events in HER2-low, in the two strata."""
    events = {"HR+": positive, "HR-": negative}
    return [other(RESPONSE, name, row_id=hr, hr_stratum=hr, events_exposed=events[hr]) for hr in BOTH_ASKED]


def within(data) -> list[str]:
    return [notice for notice in data.notices if notice.startswith("within ")]


def test_the_ratio_of_the_strata_within_the_one_study_that_has_both(read):
    # Woolf: the reference group is the same in both strata, but its 24 of 80 are other patients in each.
    ratio = math.log((30 / 70) / (20 / 80))
    se = math.sqrt(1 / 30 + 1 / 70 + 1 / 20 + 1 / 80 + 2 * (1 / 24 + 1 / 56))
    low, high = (math.exp(ratio + z * 1.959963985 * se) for z in (-1, 1))
    numbers = f"{math.exp(ratio):.2f} (95 % confidence interval {low:.2f} to {high:.2f})"
    own = by_hr("Jones", "20", "30")
    assert within(pool(read(*own), hr_stratum=BOTH_ASKED)) == [
        f"within the one study (Jones 2024) with both strata the ratio HR- over HR+ is {numbers}; the pooled contrast "
        "is of the same study, and wider by the spread between studies"
    ]
    registry = [row | {"overlap_group": "NCDB"} for row in own]
    data = pool(read(*registry, other(RESPONSE, "Brown", hr_stratum="HR-")), hr_stratum=BOTH_ASKED)
    assert within(data) == [
        f"within the one study (NCDB: Jones 2024) with both strata the ratio HR- over HR+ is {numbers}; the pooled "
        "contrast also compares different studies"
    ]


def test_several_studies_with_both_strata_are_combined_by_inverse_variance(read):
    ratios, variances = [], []
    for positive, negative in ((20, 30), (40, 25)):
        ratios.append(math.log(negative / (100 - negative)) - math.log(positive / (100 - positive)))
        variances.append(sum(1 / e + 1 / (100 - e) for e in (positive, negative)) + 2 * (1 / 24 + 1 / 56))
    weights = [1 / v for v in variances]
    mean = sum(w * y for w, y in zip(weights, ratios, strict=True)) / sum(weights)
    half = 1.959963985 / math.sqrt(sum(weights))
    rows = [*by_hr("Jones", "20", "30"), *by_hr("Brown", "40", "25")]
    (notice,) = within(pool(read(*rows), hr_stratum=BOTH_ASKED))
    assert notice.startswith(
        "within the 2 studies (Jones 2024, Brown 2024; inverse variance) with both strata"
    )
    interval = f"{math.exp(mean - half):.2f} to {math.exp(mean + half):.2f}"
    assert f"{math.exp(mean):.2f} (95 % confidence interval {interval})" in notice
    assert notice.endswith("is of the same studies, and wider by the spread between studies")


def test_without_a_study_of_both_strata_there_is_no_ratio_within_studies(read):
    jones, brown = by_hr("Jones", "20", "30"), by_hr("Brown", "40", "25")
    assert within(pool(read(jones[0], brown[1]), hr_stratum=BOTH_ASKED)) == []
    # Two reports of one registry, each with a stratum, may have different methods.
    shared = [row | {"overlap_group": "NCDB"} for row in (jones[0], brown[1])]
    assert within(pool(read(*shared), hr_stratum=BOTH_ASKED)) == []
    # A zero cell has no log ratio.
    assert within(pool(read(*by_hr("Jones", "0", "30")), hr_stratum=BOTH_ASKED)) == []
    assert within(pool(read(*jones), hr_stratum="HR-")) == []


def test_a_zero_cell_stays_as_it_is_under_the_binomial_likelihood(read):
    data = pool(read(RESPONSE | {"events_exposed": "0"}, other(RESPONSE, "Jones")))
    assert data.likelihood == "binomial"
    assert data.studies.loc["Smith 2024", ["log_ratio", "se"]].isna().all()
    assert data.studies.loc["Smith 2024", "events_exposed"] == 0
    assert any(n.startswith("a zero cell in Smith 2024: no log ratio") for n in data.notices)


def test_a_zero_cell_among_ratios_has_no_place_and_nothing_is_added(read):
    bare = {"events_exposed": "", "events_reference": "", "counts": ""}
    ratio = {
        "measure": "odds ratio",
        "estimate": "0.7",
        "ci_low": "0.5",
        "ci_high": "0.98",
        "ci_level": "0.95",
    }
    data = pool(read(RESPONSE | {"events_exposed": "0"}, other(RESPONSE, "Jones", **ratio, **bare)))
    assert data.likelihood == "normal"
    assert data.studies.index.to_list() == ["Jones 2024"]
    assert reasons(data) == {
        "smith_pcr": "a zero cell has no log ratio, and the other studies have no counts; nothing is added to it"
    }


def test_counts_beside_a_crude_ratio_enter_on_the_log_scale_and_it_is_said(read):
    bare = {"events_exposed": "", "events_reference": "", "counts": ""}
    ratio = {
        "measure": "odds ratio",
        "estimate": "0.7",
        "ci_low": "0.5",
        "ci_high": "0.98",
        "ci_level": "0.95",
    }
    data = pool(read(RESPONSE, other(RESPONSE, "Jones", **ratio, **bare)))
    assert data.likelihood == "normal"
    assert data.studies["se"].notna().all()
    assert "some studies have counts and some a ratio: the counts enter as log ratios (Woolf)" in data.notices


@pytest.mark.parametrize(("k", "words"), [(1, "1 study"), (2, "2 studies"), (3, "3 studies"), (4, "")])
def test_fewer_than_four_studies_are_remarked(read, k, words):
    data = pool(read(*[other(RESPONSE, name) for name in ("Jones", "Brown", "Green", "White")[:k]]))
    found = [n for n in data.notices if "fewer than 4" in n]
    assert bool(found) is bool(words)
    assert not words or found[0].startswith(f"all: {words}, fewer than 4; the spread between studies")


def test_derived_and_second_hand_numbers_and_skewed_intervals_are_remarked(read):
    data = pool(read(RESPONSE | {"counts": "derived", "verified": "second-hand"}))
    assert "counts derived from percentages: Smith 2024" in data.notices
    assert "second-hand, not verified in the source: Smith 2024" in data.notices
    skewed = pool(read(RATIO | {"estimate": "0.95"}), "overall survival", "hazard ratio", "adjusted")
    assert any("standard errors from the middle of its interval" in n for n in skewed.notices)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"outcome": "pCR"}, r"no outcome 'pCR'"),
        ({"scale": "hazard ratio"}, r"hazard ratios and odds ratios are never pooled together"),
        ({"outcome": "overall survival"}, r"overall survival has no odds ratio"),
        ({"scale": "mean difference"}, r"no scale 'mean difference'"),
        ({"adjustment": "both"}, r"'crude' or 'adjusted'; the two estimate different things"),
        ({"hr_stratum": ("all", "HR+")}, r"'all' contains the others"),
        (
            {"settings": ("adjuvant",)},
            r"settings adjuvant; choose from neoadjuvant, early, metastatic, mixed",
        ),
        ({"settings": ()}, r"settings are empty"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(read, request_, message):
    table = read(RESPONSE)
    with pytest.raises(DataError, match=message):
        pool(table, **request_)


def test_nothing_to_pool_says_why(read):
    with pytest.raises(DataError, match=r"nothing to pool for .*: Smith 2024 \(another HR stratum: all\)"):
        pool(read(RESPONSE), hr_stratum="HR-")
    with pytest.raises(DataError, match=r"the table has no row about it"):
        pool(read(RATIO))


def test_the_fingerprint_follows_what_is_pooled_and_not_the_order(read):
    two = other(RESPONSE, "Jones")
    assert pool(read(RESPONSE, two)).fingerprint == pool(read(two, RESPONSE)).fingerprint
    assert pool(read(RESPONSE, two)).fingerprint != pool(read(RESPONSE)).fingerprint
    assert pool(read(RESPONSE)).fingerprint != pool(read(RESPONSE), scale="risk ratio").fingerprint
    changed = RESPONSE | {"events_exposed": "21"}
    assert pool(read(RESPONSE)).fingerprint != pool(read(changed)).fingerprint


def test_notes_and_citations_do_not_change_the_fingerprint(read):
    assert pool(read(RESPONSE)).fingerprint == pool(read(RESPONSE | {"note": "read twice"})).fingerprint


def test_no_value_is_missing_that_a_model_needs(read):
    data = pool(read(RESPONSE, other(RESPONSE, "Jones")))
    assert not data.studies.drop(columns=["doi", "pmid"]).isna().any(axis=None)
    assert isinstance(data.studies, pd.DataFrame)


def test_a_group_named_after_a_study_of_another_group_is_refused(read):
    rows = [RESPONSE | {"overlap_group": "registry"}, other(RESPONSE, "Jones", overlap_group="Smith 2024")]
    with pytest.raises(
        DataError, match=r"'Smith 2024' is the name of a study, and that study is in 'registry'"
    ):
        read(*rows)
