"""Posterior and twin side by side, with one verdict per matched row."""

from __future__ import annotations

from bayes_her2.comparison.concordance import VERDICTS, concordance, parts_that_disagree, recovery, verdict

__all__ = ["VERDICTS", "concordance", "parts_that_disagree", "recovery", "verdict"]
