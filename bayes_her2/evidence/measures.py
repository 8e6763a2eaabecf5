"""Measures of association that a paper prints, and the scale on which each is close to normal.

Nothing here needs a statistics library, so that every room can name a measure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Scale = Literal["log", "Fisher z", "identity"]


@dataclass(frozen=True)
class Measure:
    """One measure of association.

    Attributes
    ----------
    name
        As the column ``measure`` of a table of claims has it.
    scale
        Where its estimate is close to normal, and where priors are stated.
    null
        Value of no association, on the measure's own scale.
    plausible
        Size of a true effect that an informed reader would call plausible, on the measure's own scale. None where it
        depends on the unit: then the claim has to name it.
    why
        Reason for that size.
    """

    name: str
    scale: Scale
    null: float
    plausible: float | None
    why: str

    @property
    def a_name(self) -> str:
        """Name with its article: ``an odds ratio``."""
        return f"{'an' if self.name.startswith('o') else 'a'} {self.name}"

    @property
    def is_ratio(self) -> bool:
        """Whether it is a ratio: positive, null 1, compared as logs."""
        return self.scale == "log"

    def to_scale(self, value: float) -> float:
        """Value on the analysis scale: log of a ratio, Fisher z of a correlation, a difference as it is."""
        if self.scale == "log":
            return math.log(value)
        return math.atanh(value) if self.scale == "Fisher z" else value

    def from_scale(self, value: float) -> float:
        """Value on the measure's own scale."""
        if self.scale == "log":
            return math.exp(value)
        return math.tanh(value) if self.scale == "Fisher z" else value


ODDS_RATIO = "odds ratio"
RATIO_OF_ODDS_RATIOS = "ratio of odds ratios"
CORRELATION = "correlation"
RANK_CORRELATION = "rank correlation"

WEAK = "the middle of what the seed study calls weak (0.1 to 0.3): 4 % of the variance"
"""Reason for the plausible size of both correlations."""

MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure(
            ODDS_RATIO,
            "log",
            1.0,
            1.5,
            "declared: odds half as high again, per SD of a continuous marker or between two groups",
        ),
        Measure("hazard ratio", "log", 1.0, 1.3, "declared, as for the risk ratio"),
        Measure(
            "risk ratio",
            "log",
            1.0,
            1.3,
            "what an odds ratio of 1.5 is where 30 % of the reference group have the outcome (30 % against 39 %)",
        ),
        Measure(
            RATIO_OF_ODDS_RATIOS,
            "log",
            1.0,
            2.0,
            "declared: a modification larger than the effect itself (2 against 1.5)",
        ),
        Measure(
            CORRELATION,
            "Fisher z",
            0.0,
            0.2,
            WEAK,
        ),
        Measure(
            RANK_CORRELATION,
            "Fisher z",
            0.0,
            0.2,
            WEAK,
        ),
        Measure(
            "mean difference",
            "identity",
            0.0,
            None,
            "depends on the unit: give it in the column `plausible_effect`",
        ),
    )
}
"""Measure by name. ``correlation`` is Pearson's, ``rank correlation`` Spearman's."""
