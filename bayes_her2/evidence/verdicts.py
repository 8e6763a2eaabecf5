"""The verdict on a published claim: declared rules, in one place."""

from __future__ import annotations

from typing import Literal

Verdict = Literal["survives", "weakened", "does not survive", "undecided by rounding", "inconclusive"]

VERDICTS: dict[Verdict, str] = {
    "survives": "P times the number of tests of its family is below alpha, and the credible interval under the "
    "sceptic's prior excludes the null",
    "weakened": "P is below alpha, but only one of the two holds: Bonferroni over the family, or the sceptic's "
    "interval",
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


def in_words(
    final: Verdict,
    *,
    p: float,
    p_range: tuple[float, float],
    n_tests: int,
    p_family: float,
    critical_sd: float | None,
    sceptic_sd: float,
    ends: tuple[Verdict, Verdict],
    n_contradictions: int,
    alpha: float = ALPHA,
) -> str:
    """Say why a claim has its verdict, in plain words.

    Parameters
    ----------
    final
        The verdict.
    p, p_range
        Two-sided P, and what rounding allows for it.
    n_tests, p_family
        Tests of the family, and P times their number.
    critical_sd, sceptic_sd
        SD of the prior that just overturns the claim (None where it excludes nothing), and the sceptic's.
    ends
        Lowest and highest verdict that rounding allows.
    n_contradictions
        Printed figures of this claim that contradict another.
    alpha
        Level of significance.
    """
    said = []
    if final == "undecided by rounding":
        said.append(
            f"P {p:.2g}, but the printed digits allow {p_range[0]:.2g} to {p_range[1]:.2g}: on both sides of {alpha:g}."
        )
    elif final == "inconclusive" or critical_sd is None:
        said.append(
            f"P {p:.2g} is not below {alpha:g}: the {100 * (1 - alpha):g} % interval includes no effect."
        )
    else:
        said.append(f"P {p:.2g} is below {alpha:g}.")
        if n_tests > 1:
            kept = "still" if p_family < alpha else "no longer"
            said.append(f"As one of {n_tests} tests it is {p_family:.2g}, {kept} below.")
        if critical_sd < sceptic_sd:
            said.append(
                f"The sceptic (prior SD {sceptic_sd:.2g}) is convinced; only a prior narrower than {critical_sd:.2g} "
                "would overturn it."
            )
        else:
            said.append(
                f"The sceptic (prior SD {sceptic_sd:.2g}) is not convinced; that takes a prior wider than "
                f"{critical_sd:.2g}."
            )
        other = [end for end in dict.fromkeys(ends) if end != final]
        if other:
            said.append(f"The printed digits allow '{other[0]}' as well.")
    if n_contradictions:
        plural = "s of it contradict" if n_contradictions > 1 else " of it contradicts"
        said.append(f"{n_contradictions} printed figure{plural} another.")
    return " ".join(said)


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
