# %% [markdown]
# # 02. Reading the abundance model: three estimands, HR strata, cohorts
#
# After this page you will be able to
#
# - say what *presence*, *amount* and *overall* each tell you, and why they can point in opposite directions,
# - read the two hormone receptor (HR) strata and their ratio, which is the interaction,
# - tell a pooled row from a cohort's row and from that of a new cohort,
# - take any probability that you like from the draws.
#
# The tumours are **simulated**, with planted effects.

# %%
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from tutorial import COLOURS, forest, new_folder, shown, sized

from bayes_her2 import (
    SEED_DESIGN,
    CellTypeDesign,
    Sampling,
    check_study,
    fit_model,
    load_model,
    recovery,
    simulate_cohorts,
    write_study,
)

SEED = 20261202

# %% [markdown]
# ## Five cell types, five stories
#
# Each cell type gets a story of its own. Numbers are logs of ratios per SD of HER2, so 0.5 means a ratio of
# exp(0.5) = 1.65, and -0.5 one of 0.61. An `interaction` is what HR- tumours have on top of HR+ ones.

# %%
cell_types = (
    CellTypeDesign("T cells CD8", 0.30, -2.2, 2.0, presence_slope=-0.6),  # presence only
    CellTypeDesign("Plasma cells", 0.30, -2.6, 1.6, amount_slope=-0.35),  # amount only
    CellTypeDesign("Neutrophils", 0.45, -4.0, 1.3, presence_slope=0.7, amount_slope=-0.40),  # opposed
    CellTypeDesign("Mast cells resting", 0.40, -3.0, 1.4, presence_slope=-0.5, presence_interaction=1.0),
    CellTypeDesign("Macrophages M2", 0.30, -1.8, 3.0),  # nothing
)
cell_types = sized(cell_types, cell_types[:3])
cohorts = tuple(
    replace(cohort, name=name, n_hr_positive=sized(110, 45), n_hr_negative=sized(60, 30), zero_share={})
    for name, cohort in zip(
        sized(("Milan", "Lund", "Naples"), ("Milan", "Lund")), SEED_DESIGN.cohorts, strict=False
    )
)
simulated = simulate_cohorts(
    np.random.default_rng(SEED), replace(SEED_DESIGN, cohorts=cohorts, cell_types=cell_types)
)
study = write_study(new_folder(), simulated, seed=SEED)
data = check_study(study, only=["abundance"]).sets["abundance"]
data.tumours.groupby(["cohort", "hr"]).size().rename("n tumours").reset_index()

# %% [markdown]
# ## Look at the data first
#
# Neutrophils, HR+ tumours, cut in five groups of equal size by HER2. On the left the share of tumours that have
# any; on the right the mean amount where there is some. HER2 makes neutrophils *more often present* and *fewer
# where present*. Average over all tumours, zeros included, and the two nearly cancel.

# %%
chosen = data.tumours["hr"] == "HR+"
neutrophils, her2 = data.abundance.loc[chosen, "Neutrophils"], data.tumours.loc[chosen, "her2_sd"]
fifth = pd.qcut(her2, 5, labels=False)
told = pd.DataFrame(
    {
        "HER2, mean (SD units)": her2.groupby(fifth).mean(),
        "share present": (neutrophils > 0).groupby(fifth).mean(),
        "mean where present": neutrophils[neutrophils > 0].groupby(fifth).mean(),
        "mean, zeros included": neutrophils.groupby(fifth).mean(),
    }
)
figure, axes = plt.subplots(1, 3, figsize=(9.5, 2.8))
for axis, name in zip(axes, told.columns[1:], strict=True):
    axis.plot(told["HER2, mean (SD units)"], told[name], "o-", color=COLOURS[0])
    axis.set_title(f"Neutrophils: {name}", fontsize=10)
    axis.set_xlabel("HER2, SD from the platform's mean")
    axis.set_ylim(0, None)
    axis.spines[["top", "right"]].set_visible(False)
figure.tight_layout()
shown(figure)

# %% [markdown]
# ## The model
#
# A tumour lacks a cell type, or it has some amount. So the model has two parts with the same predictor:
# *presence* is logistic, *amount* is a gamma regression with a log link. If you know brms, for one cell type it
# is close to
#
# ```r
# brm(bf(y  ~ her2 * hr + (her2 * hr | cohort),
#        hu ~ her2 * hr + (her2 * hr | cohort)),
#     family = hurdle_gamma())
# ```
#
# with two differences: all cell types are one posterior, so that their slopes inform each other (partial
# pooling), and presence is modelled where brms models its absence (`hu`). `models/abundance.py` is the whole
# model in one file, with a reason for each prior:

# %%
model = load_model("abundance")
priors = model.priors_for(data)
pd.DataFrame([{"prior": n, "distribution": str(priors[n]), "why": priors[n].why} for n in list(priors)[3:6]])

# %%
sampling = Sampling(tune=500, draws=sized(1000, 600), target_accept=0.85, seed=SEED)
fit = fit_model("abundance", data, sampling=sampling, progress=False)
assert fit.diagnostics.passed, fit.diagnostics.reasons
estimates = model.estimates(fit.estimand_draws, data)
len(estimates)

# %% [markdown]
# ## Three estimands
#
# | estimand | question | ratio of |
# |---|---|---|
# | `presence` | is it there? | odds that a tumour has the cell type |
# | `amount` | how much, where it is there? | mean abundance among the tumours that have it |
# | `overall` | how much, on average? | mean abundance, zeros included |
#
# All are per SD of HER2. (A fourth, `high_abundance`, is the odds of lying above the cohort's median. Notebook
# 03 is about it.) `overall` is averaged over the tumours that are there, so it is the one to compare with a
# plain mean. Below, pooled over cohorts, HR+ tumours. Crosses are what we planted.

# %%
recovered = recovery(estimates, simulated.truth)
three = recovered[
    recovered["estimand"].isin(["presence", "amount", "overall"]) & (recovered["scope"] == "pooled")
]
forest(
    {"posterior, 95 % credible interval": three[three["stratum"] == "HR+"]},
    panel="estimand",
    ticks=(0.5, 1, 2),
)

# %%
three[three["stratum"] == "HR+"].pivot(index="outcome", columns="estimand", values=["truth", "point"])

# %% [markdown]
# Read by row. CD8 T cells: HER2 decides whether they are there, and not how many. Plasma cells: the reverse.
# Neutrophils: opposite signs, and an `overall` ratio that alone would have told you "little happens". Who
# dichotomises at presence sees the first column; who drops zeros, the second; who averages, the third. They
# would publish three different papers.
#
# ## HR strata, and their ratio
#
# Each estimand has a row for `HR+`, one for `HR-`, and one for `HR- over HR+`: the ratio of the two ratios,
# which is the interaction on the ratio scale. Do not read an interaction off two intervals, one of which
# excludes 1 and the other not; read its own row.

# %%
presence = three[three["estimand"] == "presence"]
forest({"presence, 95 % credible interval": presence}, xlabel="odds ratio, or ratio of odds ratios, per SD")

# %% [markdown]
# In mast cells we planted an odds ratio of exp(-0.5) = 0.61 in HR+ and exp(0.5) = 1.65 in HR-, so a ratio of
# exp(1.0) = 2.72. Elsewhere the ratio is 1, and its interval is the widest of the three: interactions need many
# more tumours than main effects. Before any result the report says how precise each answer *can* be (its
# section on precision).
#
# ## Cohorts
#
# Cohort is a random effect: each cohort has slopes of its own, drawn around the cell type's. Hence three
# scopes:
#
# - `pooled`: the typical slope over cohorts like these;
# - `cohort`: the slope in one cohort, pulled towards the others by as much as the data say that cohorts are
#   alike;
# - `new cohort`: the prediction for a cohort that you have not seen. It is wider than the pooled row. If you
#   ask "will it hold in my hospital?", this is your row.

# %%
one = estimates.select(outcome="Plasma cells", estimand="amount", stratum="HR+")
one = one.assign(who=one["cohort"].where(one["scope"] == "cohort", one["scope"]))
forest({"amount of plasma cells, HR+": one}, label="who", panel="estimand", ticks=(0.5, 0.7, 1, 1.4))

# %%
one[["scope", "cohort", "n", "n_zero", "point", "lower", "upper", "pd", "status", "note"]]

# %% [markdown]
# `status` says what stands behind a row. `observed`: the tumours of that stratum inform it. `borrowed`: part of
# it comes from other cohorts or strata. `prior-only`: a new cohort's row, where these cohorts cannot say how
# much cohorts differ. `not estimable`: too few tumours, and no number is printed.
#
# How much do cohorts differ? The between-cohort SD of the slopes, on the log scale, beside the median of its
# prior. Where the two are alike, three cohorts have not told you much.

# %%
tables = model.tables(fit.posterior, fit.estimand_draws, data, fit.priors, interval=0.95)
tables["heterogeneity"].query("term == 'slope'")[
    ["part", "term", "n_cohorts_informing", "between_sd_point", "lower", "upper", "prior_median"]
]

# %% [markdown]
# ## Any probability that you like
#
# A posterior is draws, and draws answer questions that nobody printed. `fit.estimand_draws` has them by
# (estimand, scope), on the log scale, with labels. How sure are we that CD8 presence falls by more than a fifth
# per SD in HR+ tumours? That it falls in *both* strata?

# %%
log_ratio = fit.estimand_draws["presence", "pooled"].sel(cell_type="T cells CD8")
pd.Series(
    {
        "P(odds ratio < 0.8), HR+": float((log_ratio.sel(stratum="HR+") < np.log(0.8)).mean()),
        "P(odds ratio < 1 in both strata)": float(
            (log_ratio.sel(stratum=["HR+", "HR-"]) < 0).all("stratum").mean()
        ),
    }
)

# %%
figure, axis = plt.subplots(figsize=(6.5, 2.6))
for colour, stratum in zip(COLOURS, ("HR+", "HR-"), strict=False):
    values = np.exp(log_ratio.sel(stratum=stratum)).to_numpy().ravel()
    axis.hist(
        values, bins=np.linspace(0.2, 1.6, 57), histtype="step", density=True, color=colour, label=stratum
    )
axis.axvline(np.exp(-0.6), color="black", ls=":", label="planted: 0.55")
axis.axvline(1.0, color="0.6", lw=0.8)
axis.set_xlabel("odds ratio of presence of CD8 T cells per SD of HER2")
axis.set_yticks([])
axis.legend(frameon=False)
axis.spines[["top", "right", "left"]].set_visible(False)
shown(figure)

# %% [markdown]
# ## What to remember
#
# - Presence and amount are two questions; `overall` combines them and can hide both.
# - The interaction has a row of its own, `HR- over HR+`. Quote that one.
# - Pooled, cohort, new cohort: typical, here, elsewhere. The last is the honest one for a reader in another
#   hospital.
# - Look at `status` before you look at `point`.
#
# **Next:** [03](03_posterior_and_p_value.ipynb) sets each claim beside its P value.
