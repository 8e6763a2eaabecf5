# %% [markdown]
# # 06. Comparing models and priors
#
# After this page you will be able to
#
# - analyse one study under several readings of a zero, and see which conclusions depend on it,
# - compare rival models of the same tumours by how they predict a tumour that they have not seen,
# - say whether the priors decide a result,
# - report all of that without picking the analysis that you like.
#
# The tumours are **simulated**, from the main model's own distributions: so the main model is true here, and a
# fair comparison should not prefer a rival.

# %%
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from scipy.special import logsumexp
from tutorial import COLOURS, SMALL, forest, new_folder, shown, sized

from bayes_her2 import (
    SEED_DESIGN,
    Candidate,
    CellTypeDesign,
    DataError,
    Forecast,
    Sampling,
    check_study,
    compare_models,
    compare_refits,
    conclusions,
    fit_model,
    load_model,
    multiverse_study,
    proper_scores,
    read_fit,
    recovery,
    simulate_cohorts,
    stratified_folds,
    write_study,
)

SEED = 12
folder = new_folder()

# %% [markdown]
# ## Tumours in which presence and amount tell different stories
#
# Of plasma cells HER2 raises the chance to be there and nothing else; of CD8 T cells it raises the amount where
# they are; of neutrophils it does both, in opposite directions.

# %%
cell_types = (
    CellTypeDesign("Plasma cells", 0.40, -2.5, 1.5, presence_slope=0.9),
    CellTypeDesign("T cells CD8", 0.30, -2.0, 3.0, amount_slope=0.25),
    CellTypeDesign("Neutrophils", 0.50, -4.0, 1.0, presence_slope=0.5, amount_slope=-0.4),
)
cohort = replace(
    SEED_DESIGN.cohorts[0], n_hr_positive=sized(240, 120), n_hr_negative=sized(60, 40), zero_share={}
)
design = replace(SEED_DESIGN, cohorts=(cohort,), cell_types=cell_types)
simulated = simulate_cohorts(np.random.default_rng(SEED), design)
study = write_study(folder / "simulated", simulated, seed=SEED)
draws = sized(1000, 600)
text = study.read_text(encoding="utf-8")
study.write_text(text.replace("draws = 2000", f"draws = {draws}"), encoding="utf-8")  # fewer than it asks for
data = check_study(study, only=["abundance"]).sets["abundance"]
data.parts[["cell_type", "stratum", "n", "n_zero", "n_positive"]]

# %% [markdown]
# ## First choice: what is a zero?
#
# An exact zero can be read as *absence* (the main model), replaced by a small number, or left out. Each reading
# is an analysis of its own; together they are a *multiverse*. Values that a policy changes are counted, never
# changed in silence.
#
# - `main`: a zero is an absence;
# - `smallest_positive`: each zero becomes the smallest positive abundance of its cell type;
# - `drop_zeros`: only tumours that have the cell type.

# %%
multiverse = multiverse_study(study, folder / "universes", only=("smallest_positive", "drop_zeros"))
multiverse.summary[
    ["universe", "n_tumours", "n_values_changed", "n_rows", "posterior_lost", "posterior_gained"]
]

# %% [markdown]
# `posterior_lost` counts conclusions of the main analysis that this universe does not share, `posterior_gained`
# those that it adds. Which? The side of 1 on which the 95 % credible interval lies, for the headline of each
# cell type in HR+ tumours:

# %%
headline = multiverse.table[multiverse.table["headline"] & (multiverse.table["stratum"] == "HR+")]
sides = headline.pivot_table(index="cell_type", columns="universe", values="posterior_side", aggfunc="first")
sides

# %%
ends = {f"posterior_{end}": end for end in ("point", "lower", "upper")}
forest(
    {
        universe: own[["cell_type", "stratum", *ends]].rename(columns=ends)
        for universe, own in headline.groupby("universe", sort=False)
    },
    label="cell_type",
    xlabel="headline ratio per SD of HER2, 95 % credible interval",
)

# %% [markdown]
# The headline of `main` and of `smallest_positive` is the mean with zeros included, that of `drop_zeros` the
# mean among the present. Dropping zeros is blind to presence: of plasma cells nothing is left, of neutrophils
# only half of the story. It is not "a bit less power": the quantity is another one. Replacing zeros mixes the
# two parts: where they are opposed, as in neutrophils, they cancel, and how far depends on how small the number
# was.
#
# ## Second choice: which distribution of amounts?
#
# The main model's amounts are gamma. A rival has Weibull amounts, with the same predictor and the same
# estimands. Both get the same tumours. The main fit is taken from the multiverse's folder.

# %%
sampling = Sampling(tune=500, draws=draws, target_accept=0.85, seed=SEED)
fits = {
    "abundance": read_fit(folder / "universes" / "posterior" / "main.nc"),
    "abundance_weibull": fit_model("abundance_weibull", data, sampling=sampling, progress=False),
}
for name, fit in fits.items():  # a fit that does not pass its gate is no result
    assert fit.diagnostics.passed, (name, fit.diagnostics.reasons)
models = {name: load_model(name) for name in fits}

# %% [markdown]
# ### By leaving one tumour out
#
# The unit is the tumour, with all its cell types and zeros. `elpd` is the log density of a tumour that the
# model has not seen, summed over tumours (larger is better). `difference` is that to the best, with the
# standard error of the difference. Below 4, or within two standard errors, models are not told apart. `weight`
# are stacking weights: how much of each to mix for the best prediction. `k_max` tests the approximation (Pareto
# k; below 0.7 is fine).

# %%
compared = compare_models(
    [
        Candidate(
            name,
            data.fingerprint,
            models[name].OUTCOME,
            models[name].MEASURE,
            models[name].log_likelihood(fit.posterior, data),
        )
        for name, fit in fits.items()
    ]
)
compared.table[["model", "elpd", "difference", "difference_se", "weight", "k_max", "reading"]]

# %% [markdown]
# `compare_models` refuses what is no comparison: other tumours, another outcome, a density with another
# measure.

# %%
try:
    part = data.subset(list(data.tumours.index[:-1]))
    compare_models(
        [
            Candidate(
                name,
                own.fingerprint,
                models[name].OUTCOME,
                models[name].MEASURE,
                models[name].log_likelihood(fits[name].posterior, own),
            )
            for name, own in (("abundance", data), ("abundance_weibull", part))
        ]
    )
except DataError as error:
    refusal = str(error)
refusal

# %% [markdown]
# ### By scores on the scale of the data
#
# A density is hard to picture. The CRPS is the mean distance between forecast and abundance (smaller is better,
# 0 is perfect), zeros included, and compares any models that forecast the same abundances.

# %%
forecasts = [
    Forecast(
        name,
        models[name].replicate(fit.posterior, data, np.random.default_rng(SEED), max_draws=sized(1_000, 300)),
        models[name].log_likelihood(fit.posterior, data, max_draws=sized(1_000, 300)),
    )
    for name, fit in fits.items()
]
scores = proper_scores(forecasts, data.abundance, data.abundance.ge(0))
scores.table[["model", "crps", "crps_difference", "crps_difference_se"]]

# %% [markdown]
# ### Exactly, by refits
#
# Where the approximation fails, fit again without some tumours. Here two folds with the same mix of HR strata.
# A part of an analysis set (`subset`) keeps the scaling and the rules of the whole.

# %%
folds = stratified_folds(data.tumours, 2, np.random.default_rng(SEED))


def held_out(name, fold):
    """Log density of the tumours of a fold, under a fit to the others."""
    out, rest = (list(folds.index[folds == fold]), list(folds.index[folds != fold]))
    refit = fit_model(name, data.subset(rest), sampling=sampling, progress=False)
    log_density = models[name].log_likelihood(refit.posterior, data, tumours=out)
    each = log_density.stack(sample=("chain", "draw")).transpose("tumour", "sample").to_numpy()
    return pd.Series(logsumexp(each, axis=1) - np.log(each.shape[1]), index=out)


if SMALL:
    refitted = None  # four more fits are left to the full size
else:
    elpd = {name: pd.concat([held_out(name, fold) for fold in (0, 1)]) for name in fits}
    refitted = compare_refits(pd.DataFrame(elpd))[["model", "elpd", "difference", "difference_se", "reading"]]
refitted

# %% [markdown]
# ### Which conclusions change?
#
# Prediction is a means. What a reader wants to know is whether an answer depends on the choice. `says` is the
# side of 1 on which the interval of the rival lies, `main_says` that of the main model.

# %%
estimates = pd.concat(
    [models[name].estimates(fit.estimand_draws, data).table.assign(model=name) for name, fit in fits.items()]
)
changes = conclusions(estimates, "abundance")
f"{changes['changed'].sum()} of {len(changes)} conclusions change with the distribution"

# %%
changes.loc[changes["changed"], ["estimand", "outcome", "stratum", "scope", "main_says", "says"]]

# %% [markdown]
# ## Third choice: the priors
#
# Each model file lists other priors to try. A sceptic (effects beyond 1.5-fold per SD in 1 % of cell types),
# and nearly flat priors, under which cell types hardly inform each other:

# %%
main = models["abundance"]
wanted = sized(("sceptical", "flat"), ("sceptical",))
others = {other.name: other for other in main.OTHER_PRIORS if other.name in wanted}
pd.DataFrame([{"priors": name, "what is changed": other.what} for name, other in others.items()])

# %%
by_prior = {"main": fits["abundance"]}
for name, other in others.items():
    priors = main.priors_for(data)
    by_prior[name] = fit_model(
        "abundance", data, priors | other.changed(priors), sampling=sampling, progress=False
    )
    assert by_prior[name].diagnostics.passed, by_prior[name].diagnostics.reasons


def presence_and_amount(fit):
    """Pooled rows of both parts, with the planted truth."""
    rows = recovery(main.estimates(fit.estimand_draws, data), simulated.truth)
    rows = rows[(rows["scope"] == "pooled") & rows["estimand"].isin(["presence", "amount"])]
    return rows.assign(panel=rows["estimand"] + ", " + rows["stratum"])


rows = {name: presence_and_amount(fit) for name, fit in by_prior.items()}
forest({name: own[own["stratum"] == "HR+"] for name, own in rows.items()}, panel="panel")

# %% [markdown]
# In 240 HR+ tumours main and flat priors agree. The sceptic draws everything towards 1, most of all the largest
# effect. Now the HR- stratum, with 60 tumours, and the interaction:

# %%
forest(
    {name: own[(own["estimand"] == "presence") & (own["stratum"] != "HR+")] for name, own in rows.items()},
    panel="panel",
)

# %% [markdown]
# Where intervals of the three differ much, the prior decides, and a paper should say so. `bayes-her2
# sensitivity study.toml` fits seven other priors, says which conclusions change side, and how much each result
# moves when prior or likelihood counts a little more.
#
# ## What you see is what was planted

# %%
both = pd.concat([own.assign(analysis=name) for name, own in rows.items()])
summary = both.assign(
    error=(np.log(both["point"]) - np.log(both["truth"])).abs(),
    length=np.log(both["upper"]) - np.log(both["lower"]),
).groupby("analysis", sort=False)[["covered", "error", "length"]]
figure, axis = plt.subplots(figsize=(6.2, 2.6))
for i, (name, own) in enumerate(summary):
    axis.scatter(own["length"], own["error"], color=COLOURS[i], s=18, label=name, marker="osD"[i])
axis.set_xlabel("length of the 95 % interval (log ratio)")
axis.set_ylabel("error (log ratio)")
axis.legend(frameon=False, fontsize=9)
axis.spines[["top", "right"]].set_visible(False)
shown(figure)

# %%
summary.mean()

# %% [markdown]
# `covered` is the share of the pooled rows whose interval holds the planted ratio, `error` the mean distance of
# the point from it, `length` the mean length of the interval (both on the log scale).
#
# ## What to remember
#
# - Three choices (zeros, distribution, priors) are made in every such analysis, mostly without a word. Vary
#   each, and report which conclusions move.
# - Change the reading of a zero and you change the question. That choice outweighs the others.
# - Compare models by prediction of the same tumours, then look at conclusions. A better elpd is not a licence
#   to choose the analysis with the nicer result.
#
# On your own study, one command each: `bayes-her2 multiverse`, `compare`, `sensitivity`. **Next:**
# [07](07_your_own_model.ipynb) writes a model file.
