"""The frequentist twin of each model: data in, `Estimates` out. Never imports PyMC."""

from __future__ import annotations

from bayes_her2.frequentist.abundance import abundance_twin
from bayes_her2.frequentist.group_tests import group_tests
from bayes_her2.frequentist.precision import precision
from bayes_her2.frequentist.rank_tests import rank_tests

__all__ = ["abundance_twin", "group_tests", "precision", "rank_tests"]
