"""Reading tables of claims: what is kept, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from bayes_her2.errors import DataError
from bayes_her2.evidence.published_claims import COLUMNS, Printed, read_claims

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "audit.md"
COUNTS = {
    "estimate": "",
    "ci_low": "",
    "ci_high": "",
    "events_exposed": "9",
    "n_exposed": "32",
    "events_reference": "17",
    "n_reference": "39",
}


def test_the_printed_digits_say_what_rounding_allows(write_claims):
    (claim,) = read_claims(write_claims({})).claims
    assert claim.estimate is not None
    assert claim.estimate.text == "1.60"
    assert (claim.estimate.range.low, claim.estimate.range.high) == pytest.approx((1.595, 1.605))


@pytest.mark.parametrize(
    ("text", "half"), [("24", 0.5), ("24.0", 0.05), ("0.506", 0.0005), ("1.2e-5", 5e-7), ("-0.001", 0.0005)]
)
def test_half_a_unit_of_the_last_digit(write_claims, text, half):
    row = {"measure": "mean difference", "estimate": text, "ci_low": "-90", "ci_high": "90"}
    (claim,) = read_claims(write_claims(row)).claims
    assert claim.estimate is not None
    assert claim.estimate.half_unit == pytest.approx(half)


def test_a_number_is_written_with_the_digits_of_another():
    assert Printed("0.28", 0.28, 0.005).rounds(0.27461) == "0.27"
    assert Printed("72", 72, 0.5).rounds(72.4) == "72"


def test_typographic_minus_signs_and_missing_words_are_read(write_claims):
    row = {
        "measure": "rank correlation",
        "estimate": "−0.19",
        "ci_low": "−0.30",
        "ci_high": "−0.06",
        "n": "NA",
    }
    (claim,) = read_claims(write_claims(row)).claims
    assert claim.estimate is not None
    assert claim.estimate.value == -0.19
    assert claim.n is None


def test_optional_columns_may_be_absent(tmp_path):
    path = tmp_path / "few.csv"
    path.write_text("claim,cohort,measure,estimate,ci_low,ci_high\nA,B,hazard ratio,0.8,0.7,0.9\n", "utf-8")
    published = read_claims(path)
    assert published.claims[0].ci_level == 0.95
    assert published.family_sizes == {}


def test_a_family_counts_its_claims_unless_a_size_is_declared(write_claims):
    rows = [{"claim": f"claim {i}", "family": "f"} for i in range(3)]
    assert read_claims(write_claims(*rows)).family_sizes == {"f": 3}
    rows[0]["family_size"] = "15"
    published = read_claims(write_claims(*rows))
    assert published.family_sizes == {"f": 15}
    assert published.declared == {"f"}


# --- bad input: what, where, how much, what to do ---------------------------------------------------

BAD = {
    "interval without its estimate": (
        [{"estimate": "2.60"}],
        [
            "row 1 (A raises B; First)",
            "1.07 to 2.39 does not contain its estimate 2.60",
            "Check it against the paper",
        ],
    ),
    "limits exchanged": ([{"ci_low": "2.39", "ci_high": "1.07"}], ["ci_low 2.39 is not below ci_high 1.07"]),
    "zero cell": (
        [COUNTS | {"events_exposed": "0"}],
        [
            "a cell of the fourfold table is zero (0/32 against 17/39)",
            "nothing is added",
            "Leave the four counts empty",
        ],
    ),
    "percentage above the number of patients": (
        [COUNTS | {"events_exposed": "44", "n_exposed": "39"}],
        ["events_exposed is 44 of n_exposed 39: more events than patients", "percentage", "percent_exposed"],
    ),
    "percentage with a sign": (
        [COUNTS | {"events_exposed": "28%"}],
        ["events_exposed is '28%': a percentage"],
    ),
    "percentage with decimals": (
        [COUNTS | {"events_reference": "43.6"}],
        ["'43.6': a percentage", "percent_reference"],
    ),
    "percentages that sum to another n": (
        [COUNTS | {"n": "71", "n_exposed": "100", "n_reference": "100", "events_reference": "44"}],
        ["n is 71 but n_exposed + n_reference is 200: percentages given as counts"],
    ),
    "counts that are not complete": (
        [COUNTS | {"n_reference": ""}],
        ["n_reference empty: a fourfold table needs"],
    ),
    "a study listed twice": (
        [{}, {"ci_high": "2.40"}],
        ["'A raises B' in cohort 'First' is listed 2 times (rows 1, 2)", "restates"],
    ),
    "a study listed twice under two names": (
        [{}, {"cohort": "Second"}],
        ["the same numbers in 'First' (row 1), 'Second' (row 2)", "would replicate itself"],
    ),
    "hazard ratio beside odds ratio": (
        [{}, {"cohort": "Second", "measure": "hazard ratio", "estimate": "1.5"}],
        ["is an odds ratio and a hazard ratio in different cohorts (rows 1, 2)", "a claim of its own"],
    ),
    "counts of a hazard ratio": (
        [COUNTS | {"measure": "hazard ratio"}],
        ["counts are given for a hazard ratio", "gives an odds ratio"],
    ),
    "negative ratio": ([{"ci_low": "-0.2"}], ["ci_low is -0.2: a ratio is positive"]),
    "ratio rounded to zero": ([{"ci_low": "0.00"}], ["ci_low is 0.00: a ratio is positive", "more digits"]),
    "correlation of one": (
        [{"measure": "correlation", "estimate": "0.4", "ci_low": "0.1", "ci_high": "1.0"}],
        ["ci_high is 1.0: a correlation lies between -1 and 1"],
    ),
    "level in percent": ([{"ci_level": "95"}], ["ci_level is 95: write a share, such as 0.95"]),
    "decimal comma": ([{"estimate": "1,60"}], ["estimate is '1,60': write a decimal point"]),
    "word for a number": ([{"estimate": "large"}], ["estimate is 'large': a number is expected"]),
    "unknown measure": ([{"measure": "Cohen's d"}], ['measure is "Cohen\'s d"; known: odds ratio']),
    "P of zero": ([{"p_value": "0.000"}], ["p_value is '0.000'", "<0.001"]),
    "P below zero": ([{"p_value": "<0"}], ["p_value is '<0'", "above 0"]),
    "P in words": ([{"p_value": "n.s."}], ["p_value is 'n.s.'", "leave it empty", "`significant`"]),
    "measure with a slip": ([{"measure": "odd ratio"}], ["did you mean 'odds ratio'?"]),
    "number beyond all bounds": ([{"estimate": "1e400"}], ["estimate is '1e400': too large"]),
    "separator of thousands": (
        [{"n": "1,200"}],
        ["n is '1,200': a whole number is expected, without a separator"],
    ),
    "ratio that lost its digits": ([{"estimate": "-0"}], ["estimate is -0: a ratio is positive"]),
    "plausible effect that lost its digits": (
        [{"plausible_effect": "-0"}],
        ["plausible_effect is -0: a ratio is positive"],
    ),
    "empty group": ([COUNTS | {"n_exposed": "0", "events_exposed": "0"}], ["n_exposed is 0: an empty group"]),
    "counts of a ratio of two claims": (
        [COUNTS | {"numerator": "X", "denominator": "Y"}, {"claim": "X"}, {"claim": "Y", "estimate": "1.61"}],
        ["row 1", "a ratio of two claims, which has no fourfold table"],
    ),
    "P above one": ([{"p_value": "1.3"}], ["p_value is '1.3'"]),
    "not enough numbers": (
        [{"ci_low": "", "ci_high": ""}],
        ["not enough numbers to audit", "give the estimate"],
    ),
    "numerator alone": ([{"numerator": "A raises B"}], ["numerator and denominator belong together"]),
    "ratio of a claim that is not there": (
        [{"estimate": "", "ci_low": "", "ci_high": "", "numerator": "X", "denominator": "Y"}],
        ["numerator 'X' is not a claim with numbers of its own in cohort 'First'"],
    ),
    "ratio of odds ratios of hazard ratios": (
        [
            {"measure": "hazard ratio", "claim": "X"},
            {"measure": "hazard ratio", "claim": "Y"},
            {
                "claim": "X over Y",
                "measure": "ratio of odds ratios",
                "estimate": "",
                "ci_low": "",
                "ci_high": "",
                "numerator": "X",
                "denominator": "Y",
            },
        ],
        ["numerator 'X' is a hazard ratio: a ratio of odds ratios divides odds ratios"],
    ),
    "counts listed twice": ([COUNTS, COUNTS | {"cohort": "Second"}], ["the same numbers in 'First' (row 1)"]),
    "family of two sizes": (
        [{"family": "f", "family_size": "15"}, {"claim": "C", "family": "f", "family_size": "16"}],
        ["family 'f' has sizes 15, 16"],
    ),
    "family smaller than its claims": (
        [{"family": "f", "family_size": "1"}, {"claim": "C", "family": "f"}],
        ["family 'f' has 2 claims here and family_size 1"],
    ),
    "size without a family": ([{"family_size": "3"}], ["family_size is 3 and family is empty"]),
    "restatement of nothing": (
        [{}, {"claim": "Z", "restates": "yes"}],
        ["restates a claim that the table does not have"],
    ),
    "only restatements": ([{"restates": "yes"}], ["no claim to audit"]),
    "wrong word": ([{"direction": "up"}], ["direction is 'up'; write above or below"]),
    "plausible effect that is none": ([{"plausible_effect": "1"}], ["plausible_effect is the null, 1"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_place_and_remedy(write_claims, case):
    rows, expected = BAD[case]
    with pytest.raises(DataError) as caught:
        read_claims(write_claims(*rows))
    message = str(caught.value)
    assert "claims.csv" in message
    for words in expected:
        assert words in message


def test_all_faults_are_told_at_once(write_claims):
    with pytest.raises(DataError) as caught:
        read_claims(write_claims({"estimate": "2.60"}, {"claim": "C", "ci_level": "95"}))
    assert len(caught.value.faults) == 2


def test_a_column_that_nothing_would_read_is_refused_with_a_guess(tmp_path):
    path = tmp_path / "claims.csv"
    path.write_text("claim,cohort,measure,estimate,ci_lo,ci_high\nA,B,odds ratio,1,0.5,2\n", "utf-8")
    with pytest.raises(DataError, match=r"column 'ci_lo' is not known.*did you mean 'ci_low'"):
        read_claims(path)


def test_a_missing_column_is_named(tmp_path):
    path = tmp_path / "claims.csv"
    path.write_text("claim,estimate\nA,1\n", "utf-8")
    with pytest.raises(DataError, match="no column cohort, measure"):
        read_claims(path)


def test_what_another_place_misprints_is_found_out_and_not_refused(write_claims):
    published = read_claims(write_claims({}, {"estimate": "2.60", "restates": "yes"}))
    assert len(published.restatements) == 1


def test_the_documentation_has_every_column():
    text = PAGE.read_text("utf-8")
    described = " ".join(line for line in text.splitlines() if line.startswith("| `"))
    assert {name for name in COLUMNS if f"`{name}`" not in described} == set()
