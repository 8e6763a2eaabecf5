# %% [markdown]
# # 01. Your first study from raw CIBERSORTx files
#
# After this page you will be able to
#
# - put the files that CIBERSORTx wrote and a clinical table into a study,
# - see which tumours enter the analysis, and why the others do not,
# - run the main model with one call, and find tables, figures and the report,
# - read one row of the results aloud.
#
# You need to know what an odds ratio is, and what a random effect is (`(1 | cohort)` in lme4 or brms). You need
# to know nothing of PyMC.
#
# **The tumours on this page are simulated.** We plant the effects, so we know the right answers. They say how
# the software works and nothing about breast cancer.

# %%
from dataclasses import replace

import numpy as np
import pandas as pd
from tutorial import new_folder, report_figure, sized

from bayes_her2 import (
    SEED_DESIGN,
    CellTypeDesign,
    DataError,
    Estimates,
    check_study,
    run_study,
    simulate_cohorts,
    write_study,
)

folder = new_folder()

# %% [markdown]
# ## The files that you have
#
# Two hospitals sent bulk expression data to CIBERSORTx, and kept a clinical table each. Here a simulator plays
# the hospitals. For every cell type it plants two things: how the odds that the cell type *is there at all*
# change with HER2 (`presence_slope`), and how its *amount* changes where it is there (`amount_slope`). Both are
# logs of ratios per standard deviation (SD) of HER2. (`sized(a, b)` on these pages is `a`; the project's tests
# run them with the smaller `b`.)

# %%
cell_types = (
    CellTypeDesign("Plasma cells", 0.35, -2.8, 1.6, presence_slope=-0.6, amount_slope=-0.15),
    CellTypeDesign("T cells CD8", 0.05, -2.2, 2.2, amount_slope=-0.25, amount_hr=0.4),
    CellTypeDesign("Macrophages M1", 0.10, -2.9, 2.0, amount_slope=-0.2),
    CellTypeDesign("Macrophages M2", 0.0, -1.6, 4.0),
    CellTypeDesign("Mast cells resting", 0.35, -3.0, 1.4, presence_slope=-0.5, presence_interaction=1.0),
    CellTypeDesign("Neutrophils", 0.55, -4.2, 1.2, presence_slope=0.4, presence_interaction=-1.0),
)
names = sized(("Milan", "Lund"), ("Milan",))
cell_types = sized(cell_types, cell_types[:3])
cohorts = tuple(
    replace(cohort, name=name, n_hr_positive=sized(110, 60), n_hr_negative=sized(50, 40), zero_share={})
    for name, cohort in zip(names, SEED_DESIGN.cohorts, strict=False)
)
simulated = simulate_cohorts(
    np.random.default_rng(42), replace(SEED_DESIGN, cohorts=cohorts, cell_types=cell_types)
)
write_study(folder, simulated, seed=20261201)
sorted(path.name for path in folder.iterdir())

# %% [markdown]
# `Milan_cibersortx_absolute.tsv` looks as the web tool writes it in absolute mode: one row for each mixture, a
# column for each cell type, then the quality columns. Exact zeros are common: the deconvolution sets negative
# weights to 0.

# %%
pd.read_csv(folder / "Milan_cibersortx_absolute.tsv", sep="\t").head(4)

# %%
pd.read_csv(folder / "Milan_clinical.csv").iloc[:4, :9]

# %% [markdown]
# ## The study file
#
# A study is one text file, `study.toml`. It says where the files are, what their columns mean, and which rules
# hold. It fixes the random seed and the rules of decision before anything is fitted. The simulator wrote one
# for us, but let us write our own, as you would. The name of a field is on the left of `=`, the column of
# *your* file on the right.

# %%
HEAD = f"""
[study]
name = "My first study"
seed = 20261201
simulated = true                     # prints a stamp on every figure; leave it out for real tumours
truth = "truth.csv"                  # what was planted; real studies have no such file

[her2]
measure = "her2"                     # a field below, or a gene of an expression table
label = "HER2 score"

[abundance]
scale = "absolute"                   # or "relative": every row sums to 1
cell_types = {[c.name for c in cell_types]}   # leave it out for the 22 of LM22

[decisions]
rope = [0.9, 1.11]                   # ratios that are as good as no effect
interval = 0.95

[sampling]
tune = 500
draws = {sized(1000, 700)}

[[exclude]]
field = "stage"
drop = ["IV"]
reason = "stage IV"

[[exclude]]
field = "sex"
keep = ["female"]
reason = "not recorded as female"
"""

COHORT = """
[[cohort]]
name = "{name}"
platform = "{platform}"              # HER2 is standardised within a platform

[cohort.cibersort]
files = ["{name}_cibersortx_absolute.tsv"]

[cohort.clinical]
file = "{name}_clinical.csv"
ids = {{ column = "Patient ID" }}

[cohort.clinical.fields]
er = "ER"
pgr = "PgR"
her2_ihc = "HER2 IHC"
her2_ish = "HER2 ISH"
her2 = "HER2 score"
stage = "Stage"
sex = "{sex}"
"""


def write_my_study(sex_column):
    """Write study.toml for all cohorts, with the column that holds the patients' sex."""
    blocks = [COHORT.format(name=c.name, platform=c.platform, sex=sex_column) for c in cohorts]
    path = folder / "study.toml"
    path.write_text(HEAD + "".join(blocks), encoding="utf-8")
    return path


# %% [markdown]
# ## Check before you run
#
# `check_study` reads everything and fits nothing. Suppose that we misspelt a column. All faults are listed at
# once, with their place; nothing is guessed.

# %%
try:
    check_study(write_my_study("Gender"))
except DataError as error:
    faults = error.faults
faults

# %% [markdown]
# Mended. Now the flow of tumours: how many were read, and how many are analysed.

# %%
study = write_my_study("Sex")
checked = check_study(study, only=["abundance"])
checked.prepared.flow

# %% [markdown]
# Nobody is lost in silence. Each exclusion has a step and a reason, and the results folder will list the
# tumours by name.

# %%
checked.exclusion_counts

# %% [markdown]
# Is there enough to learn from? *Presence* of a cell type can be modelled in a hormone receptor (HR) stratum
# with at least 10 zeros and 10 positive values, its *amount* with at least 10 positive values. Here is what the
# tumours support:

# %%
data = checked.sets["abundance"]
data.parts[["cell_type", "stratum", "n", "n_zero", "n_positive", "presence_modelled", "amount_modelled"]]

# %% [markdown]
# `n` counts tumours, `n_zero` those without the cell type. Where `presence_modelled` is False, presence is *not
# estimable* there, and the results will say so instead of printing a number.
#
# ## Run
#
# One call. In a shell it would be `bayes-her2 run study.toml --out results --only abundance`. Without `only`,
# every model that the cohorts support is fitted. The same call again takes up what is finished.

# %%
result = run_study(study, folder / "results", only=["abundance"])
sorted(path.name for path in result.folder.iterdir())

# %% [markdown]
# `report.html` is the page for reading. `tables/` has every number of it as CSV, `figures/` every figure as SVG
# and PDF, `posterior/` the draws, `provenance.json` versions, seeds and hashes. `methods.md` and `results.md`
# are text for a manuscript.
#
# Had the sampler not converged, there would be no results: `run_study` would raise an error that says which
# quantity failed. You need not look at trace plots to be safe. The worst figures are in `diagnostics.csv`: at
# most 1.01 for R-hat (chains agree), at least 1,200 for the effective sample sizes.

# %%
diagnostics = pd.read_csv(result.folder / "tables" / "diagnostics.csv")
diagnostics[["quantity", "n_values", "r_hat_max", "ess_bulk_min", "ess_tail_min", "passed"]].head(4)

# %% [markdown]
# ## Read
#
# The first figure of the report: pooled over cohorts, a dot and its 95 % credible interval for each cell type.
# Grey is the region of practical equivalence, ratios between 0.9 and 1.11 that you declared to be as good as
# none.

# %%
report_figure(result.folder, "forest")

# %% [markdown]
# The same as a table. One row is one quantity:
#
# - `outcome`, `stratum`, `estimand`: which cell type, in which tumours, and which kind of ratio (next
#   notebook);
# - `point`, `lower`, `upper`: posterior median and equal-tailed 95 % credible interval of the **ratio per SD of
#   HER2**;
# - `n`, `n_zero`: tumours behind the row, and how many of them lack the cell type;
# - `pd`: probability that the ratio lies on the side of 1 on which the median lies (0.5 = no idea, 1 = sure);
# - `p_in_rope`: probability that the ratio lies between 0.9 and 1.11.

# %%
estimates = Estimates.read_csv(result.folder / "tables" / "estimates.csv")
columns = ["outcome", "estimand", "stratum", "n", "n_zero", "point", "lower", "upper", "pd", "p_in_rope"]
pooled = estimates.select(source="posterior", scope="pooled", stratum="HR+")
pooled[pooled["estimand"].isin(["presence", "amount"]) & (pooled["status"] == "observed")][columns]

# %% [markdown]
# Read one aloud, say plasma cells, presence, HR+: *among HR-positive tumours, one SD more of HER2 goes with the
# odds of having plasma cells at all multiplied by the point, and given model and priors the ratio lies between
# lower and upper with probability 95 %.* That last clause is what a confidence interval does not say.
#
# ## Was it right?
#
# For plasma cells we planted exp(-0.6) = 0.55, and the interval is 0.43 to 0.86. The report of a simulated
# study sets every planted ratio beside its interval. `covered` says whether the interval holds the truth; at 95
# % about one row in twenty should not.

# %%
recovered = pd.read_csv(result.folder / "tables" / "recovery.csv")
recovered[(recovered["scope"] == "pooled") & (recovered["stratum"] == "HR+")].head(12)

# %%
report_figure(result.folder, "recovery")

# %%
f"{recovered['covered'].sum()} of {len(recovered)} intervals hold the planted ratio"

# %% [markdown]
# ## What to remember
#
# - A study is a text file. `check_study` before `run_study`.
# - All effects are ratios per SD of HER2; 1 means no association. Presence and amount are different questions.
# - Exclusions, rules, seeds and priors are recorded before the first draw. The report computes nothing of its
#   own.
#
# **Next:** [02](02_reading_the_abundance_model.ipynb) reads the results in depth: three estimands, HR strata,
# cohorts. The project's README lists every setting of a study file and every field that it knows.
