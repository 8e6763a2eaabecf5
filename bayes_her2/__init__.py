"""HER2 expression and immune infiltration in HER2-negative early breast cancer.

Bayesian hierarchical models with cohort as a random effect, each beside its frequentist twin.
"""

from __future__ import annotations

__version__ = "0.1.0"
