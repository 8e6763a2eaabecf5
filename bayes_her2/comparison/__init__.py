"""Posterior and twin side by side, with one verdict per matched row."""

from __future__ import annotations

from bayes_her2.comparison.claims import CLAIMS, LAYERS, claims
from bayes_her2.comparison.concordance import VERDICTS, concordance, parts_that_disagree, recovery, verdict
from bayes_her2.comparison.families import families
from bayes_her2.comparison.findings import discoveries_of

__all__ = [
    "CLAIMS",
    "LAYERS",
    "VERDICTS",
    "claims",
    "concordance",
    "discoveries_of",
    "families",
    "parts_that_disagree",
    "recovery",
    "verdict",
]
