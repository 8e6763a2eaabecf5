"""Rules of verdicts, one test each, and their words."""

from __future__ import annotations

from bayes_her2.evidence.verdicts import in_words, replication_verdict, verdict


def test_a_claim_that_overcomes_family_and_sceptic_survives():
    assert verdict(0.001, 0.015, sceptic_convinced=True) == "survives"


def test_a_claim_that_overcomes_only_one_of_them_is_weakened():
    assert verdict(0.01, 0.15, sceptic_convinced=True) == "weakened"
    assert verdict(0.001, 0.015, sceptic_convinced=False) == "weakened"


def test_a_claim_that_overcomes_neither_does_not_survive():
    assert verdict(0.01, 0.15, sceptic_convinced=False) == "does not survive"


def test_a_claim_without_significance_is_inconclusive_at_the_level_chosen():
    assert verdict(0.05, 0.05, sceptic_convinced=True) == "inconclusive"
    assert verdict(0.02, 0.02, sceptic_convinced=True, alpha=0.01) == "inconclusive"


def test_replication_needs_the_same_direction_and_half_of_alpha():
    assert replication_verdict(same_direction=True, sceptical_p=0.025) == "replicated"
    assert replication_verdict(same_direction=True, sceptical_p=0.026) == "not replicated"
    assert replication_verdict(same_direction=False, sceptical_p=0.001) == "opposite direction"


def test_a_verdict_says_what_it_rests_on():
    text = in_words(
        "weakened",
        p=0.0015,
        p_range=(0.00075, 0.0028),
        n_tests=15,
        p_family=0.022,
        critical_sd=0.568,
        sceptic_sd=0.421,
        ends=("does not survive", "weakened"),
        n_contradictions=2,
    )
    assert text == (
        "P 0.0015 is below 0.05. As one of 15 tests it is 0.022, still below. The sceptic (prior SD 0.42) is "
        "not convinced; that takes a prior wider than 0.57. The printed digits allow 'does not survive' as well. "
        "2 printed figures of it contradict another."
    )
