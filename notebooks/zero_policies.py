# %% [markdown]
# # Does the answer depend on what a zero is?
#
# A zero abundance can be read as absence, replaced, or left out. This script simulates a small study with known slopes,
# analyses it under three policies, and reads from the tables which conclusions depend on the choice. On your own study
# `bayes-her2 multiverse study.toml --out results/multiverse` does it for all policies, with a figure and a page.
#
# Run it as a script (`python notebooks/zero_policies.py [FOLDER]`), or cell by cell in an editor that knows `# %%`.

# %%
from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from bayes_her2 import SEED_DESIGN, CellTypeDesign, multiverse_study, simulate_cohorts, write_study

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else "results/zero_policies")
SEED = 12

# %% [markdown]
# ## Tumours in which presence and amount tell different stories
#
# Of the first cell type HER2 raises the chance to be there and nothing else; of the second it raises the amount where
# it is there; of the third it does both, in opposite directions.

# %%
cell_types = (
    CellTypeDesign("Plasma cells", 0.40, -2.5, 1.5, presence_slope=0.9),
    CellTypeDesign("T cells CD8", 0.30, -2.0, 3.0, amount_slope=0.25),
    CellTypeDesign("Neutrophils", 0.50, -4.0, 1.0, presence_slope=0.5, amount_slope=-0.4),
)
cohort = replace(SEED_DESIGN.cohorts[0], n_hr_positive=240, n_hr_negative=60, zero_share={})
design = replace(SEED_DESIGN, cohorts=(cohort,), cell_types=cell_types)
study = write_study(FOLDER / "simulated", simulate_cohorts(np.random.default_rng(SEED), design), seed=SEED)

# %% [markdown]
# ## Three universes
#
# The main analysis (a zero is an absence), zeros replaced by the smallest positive abundance, and zeros dropped. Every
# universe has its frequentist twin. Values that a policy changes are counted, never changed in silence.

# %%
result = multiverse_study(study, FOLDER / "universes", only=("smallest_positive", "drop_zeros"))
result.summary[["universe", "n_tumours", "n_values_changed", "n_rows", "posterior_lost", "posterior_gained"]]

# %% [markdown]
# ## Which conclusions depend on the policy?
#
# `side` is where the interval lies: above 1, below 1, or open. Dropping zeros is blind to presence: of the first cell
# type nothing is left, and of the third only half of the story.

# %%
headline = result.table[result.table["headline"] & (result.table["stratum"] == "HR+")]
sides = headline.pivot_table(index="cell_type", columns="universe", values="posterior_side", aggfunc="first")
sides

# %%
result.changed[["universe", "cell_type", "stratum", "main_side", "posterior_side", "posterior_change"]]

# %%
sides.to_csv(FOLDER / "sides.csv")
