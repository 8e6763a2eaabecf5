"""The verdict on a published claim: declared rules, in one place."""

from __future__ import annotations

from typing import Literal

Verdict = Literal["survives", "weakened", "does not survive", "undecided by rounding", "inconclusive"]

VERDICTS: dict[Verdict, str] = {
    "survives": "P times the number of tests of its family is below alpha, and the credible interval under "
    "the sceptic's "
    "prior excludes the null",
    "weakened": "P is below alpha, but only one of the two holds: Bonferroni over the family, or the "
    "sceptic's interval",
    "does not survive": "P is below alpha, and neither holds",
    "undecided by rounding": "the printed digits allow P on both sides of alpha",
    "inconclusive": "P is not below alpha: the data are compatible with no effect (which is not evidence of none)",
}
"""Verdict -> rule, strongest first."""

ALPHA = 0.05


def verdict(p: float, p_family: float, *, sceptic_convinced: bool, alpha: float = ALPHA) -> Verdict:
    """Apply the rules to one set of numbers, without regard to rounding.

    Parameters
    ----------
    p, p_family
        Two-sided P, and P times the number of tests of the family.
    sceptic_convinced
        Whether the credible interval under the sceptic's prior excludes the null.
    alpha
        Level of significance.
    """
    if p >= alpha:
        return "inconclusive"
    passed = (p_family < alpha) + sceptic_convinced
    return ("does not survive", "weakened", "survives")[passed]


ReplicationVerdict = Literal["replicated", "not replicated", "opposite direction"]

REPLICATION_VERDICTS: dict[ReplicationVerdict, str] = {
    "replicated": "same direction, and the golden sceptical p-value is at most alpha / 2 (one-sided)",
    "not replicated": "same direction, and it is above",
    "opposite direction": "the two estimates lie on different sides of the null",
}
"""Verdict on a pair of cohorts -> rule."""


def replication_verdict(
    *, same_direction: bool, sceptical_p: float, alpha: float = ALPHA
) -> ReplicationVerdict:
    """Apply the rule to one pair of cohorts."""
    if not same_direction:
        return "opposite direction"
    return "replicated" if sceptical_p <= alpha / 2 else "not replicated"
