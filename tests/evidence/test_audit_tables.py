"""Audit tables of tables of claims other than the seed study's."""

from __future__ import annotations

import pytest
from scipy.stats import chi2

from bayes_her2.errors import DataError
from bayes_her2.evidence.audit_tables import Settings, audit_tables
from bayes_her2.evidence.published_claims import read_claims
from bayes_her2.frequentist.pooling import common_effect


def audited(path, settings=None):
    return audit_tables(read_claims(path), settings)


def test_two_cohorts_of_a_claim_are_a_replication(write_claims):
    second = {"cohort": "Second", "estimate": "1.50", "ci_low": "1.10", "ci_high": "2.05"}
    tables = audited(write_claims({}, second, {"claim": "C"}))
    (row,) = tables.replication.to_dict("records")
    assert (row["original"], row["replication"]) == ("First", "Second")
    assert row["verdict"] == "replicated"
    assert row["sceptical_p_low"] < row["sceptical_p"] < row["sceptical_p_high"] < 0.025
    assert row["sceptical_bayes_factor"] < 1


def test_three_cohorts_are_three_pairs_and_opposite_directions_are_named(write_claims):
    tables = audited(
        write_claims(
            {},
            {"cohort": "Second", "estimate": "0.50", "ci_low": "0.30", "ci_high": "0.83"},
            {"cohort": "Third", "estimate": "1.10", "ci_low": "0.80", "ci_high": "1.51"},
        )
    )
    verdicts = dict(
        zip(
            zip(tables.replication["original"], tables.replication["replication"], strict=True),
            tables.replication["verdict"],
            strict=True,
        )
    )
    assert verdicts == {
        ("First", "Second"): "opposite direction",
        ("First", "Third"): "not replicated",
        ("Second", "Third"): "opposite direction",
    }


def test_a_mean_difference_needs_its_plausible_effect(write_claims):
    row = {"measure": "mean difference", "estimate": "2.0", "ci_low": "0.5", "ci_high": "3.5"}
    path = write_claims(row)
    with pytest.raises(
        DataError, match=r"claims.csv, row 1 .* has no default plausible effect, because it has"
    ):
        audited(path)
    by_option = audited(path, Settings(plausible={"mean difference": 1.0})).audit
    by_column = audited(write_claims(row | {"plausible_effect": "1.0"})).audit
    assert by_option["sceptical_prior_sd"].item() == pytest.approx(1 / 1.644853627)
    assert by_column["type_m"].item() == pytest.approx(by_option["type_m"].item())
    assert by_option["scale"].item() == "identity"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(alpha=5), "5 is not a level of significance"),
        (Settings(plausible={"odd ratio": 2}), "no measure is named 'odd ratio'; did you mean 'odds ratio'"),
        (Settings(plausible={"odds ratio": 1}), "1 is no size of an odds ratio"),
        (Settings(plausible={"correlation": 1.5}), "1.5: a correlation lies between -1 and 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(DataError, match=words):
        audit_tables(read_claims(), settings)


def test_an_interval_that_rounding_leaves_without_width_is_refused(write_claims):
    path = write_claims({"estimate": "0.9", "ci_low": "0.9", "ci_high": "1.0"})
    with pytest.raises(
        DataError, match=r"claims.csv, row 1 .*no width in 0.9 \(0.9 to 1.0\).*Give more digits"
    ):
        audited(path)


def test_an_interval_that_is_not_symmetric_about_its_estimate_is_flagged(write_claims):
    row = audited(write_claims({"estimate": "1.30"})).contradictions.to_dict("records")
    assert [one["figure"] for one in row] == ["estimate and interval"]
    assert row[0]["found"] == "1.60 in the middle"


def test_a_correlation_whose_interval_has_another_n_is_flagged(write_claims):
    base = {"measure": "correlation", "estimate": "0.300", "ci_low": "0.110", "ci_high": "0.469"}
    assert audited(write_claims(base | {"n": "100"})).contradictions.empty  # Fisher: 0.1101 to 0.4689
    (row,) = audited(write_claims(base | {"n": "318"})).contradictions.to_dict("records")
    assert row["figure"] == "n"
    assert row["printed"] == "318"
    assert "100" in row["explanation"]


def test_a_printed_p_that_its_interval_cannot_give_is_flagged(write_claims):
    assert audited(write_claims({"p_value": "0.02"})).contradictions.empty  # Wald: 0.022
    (row,) = audited(write_claims({"p_value": "0.002"})).contradictions.to_dict("records")
    assert (row["figure"], row["printed"], row["found"]) == ("P", "0.002", "0.022")


def test_a_printed_bound_on_p_is_a_bound(write_claims):
    assert audited(write_claims({"p_value": "<0.05"})).contradictions.empty
    assert audited(write_claims({"p_value": "<0.01"})).contradictions["figure"].tolist() == ["P"]


def test_a_restatement_without_counts_is_compared_with_its_claim(write_claims):
    rows = [{}, {"estimate": "1.6", "restates": "yes", "place": "Abstract"}]
    assert audited(write_claims(*rows)).contradictions.empty
    rows[1]["estimate"] = "1.8"
    (row,) = audited(write_claims(*rows)).contradictions.to_dict("records")
    assert (row["place"], row["figure"], row["printed"], row["found"]) == (
        "Abstract",
        "estimate",
        "1.8",
        "1.60",
    )


def test_a_claim_without_a_family_stands_alone(write_claims):
    row = audited(write_claims({})).audit
    assert row["family_size"].item() == 1
    assert row["p_bonferroni"].item() == row["p_value"].item()


def test_other_levels_of_intervals_are_brought_to_95_percent(write_claims):
    row = audited(write_claims({"ci_level": "0.90", "ci_low": "1.14", "ci_high": "2.24"})).audit
    assert row["lower"].item() == pytest.approx(1.07, abs=0.006)
    assert row["upper"].item() == pytest.approx(2.39, abs=0.006)


def test_the_order_of_claims_changes_nothing_but_the_order(write_claims):
    rows = [{"family": "f"}, {"claim": "C", "family": "f", "estimate": "1.50"}, {"claim": "D", "family": "f"}]
    forward = audited(write_claims(*rows)).audit.set_index("claim")
    backward = audited(write_claims(*rows[::-1])).audit.set_index("claim")
    for column in ("p_value", "p_bonferroni", "p_benjamini_hochberg", "verdict"):
        assert backward.loc[forward.index, column].tolist() == forward[column].tolist()


@pytest.mark.parametrize("alpha", [0.01, 0.10])
def test_words_and_verdicts_agree_at_another_level(alpha):
    table = audit_tables(read_claims(), Settings(alpha=alpha)).audit
    inconclusive = table["verdict"] == "inconclusive"
    assert (inconclusive == table["in_words"].str.contains(f"not below {alpha:g}")).all()
    below = table["p_value"] < alpha
    assert (table["critical_prior_sd"].notna() == below).all()
    assert (table["advocacy_limit"].isna() == below).all()


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.10])
def test_the_sweep_reaches_the_null_at_the_critical_prior_of_the_same_level(alpha):
    tables = audit_tables(read_claims(), Settings(alpha=alpha))
    critical = tables.audit.dropna(subset=["critical_prior_sd"]).set_index(["claim", "cohort"])
    assert len(critical) > 5
    for key, curve in tables.prior_sweep.groupby(["claim", "cohort"]):
        if key in critical.index:
            assert (
                curve["excludes_null"] == (curve["prior_sd"] > critical.loc[key, "critical_prior_sd"])
            ).all()
        else:
            assert not curve["excludes_null"].any()


def test_cohorts_are_compatible_as_cochrans_q_of_two_studies_says(write_claims):
    second = {"cohort": "Second", "estimate": "1.10", "ci_low": "0.80", "ci_high": "1.51"}
    tables = audited(write_claims({}, second))
    points, errors = tables.audit["estimate_on_scale"].to_numpy(), tables.audit["standard_error"].to_numpy()
    q = common_effect(points.tolist(), (errors**2).tolist()).q
    assert tables.replication["compatibility_p"].item() == pytest.approx(chi2.sf(q, 1))
