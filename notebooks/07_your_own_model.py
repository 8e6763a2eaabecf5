# %% [markdown]
# # 07. Writing your own model file
#
# After this page you will be able to
#
# - write a model file from scratch, in plain PyMC, anywhere on your disk,
# - check what its priors imply, fit it, and get its results in the same table as everybody else's,
# - see whether it recovers what was planted, and set it beside the main model and the twin.
#
# The tumours are **simulated**.

# %%
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from tutorial import COLOURS, forest, new_folder, shown, sized

from bayes_her2 import (
    SEED_DESIGN,
    CellTypeDesign,
    DataError,
    Sampling,
    abundance_twin,
    check_study,
    concordance,
    fit_model,
    load_model,
    recovery,
    simulate_cohorts,
    write_study,
)

SEED = 20261207
folder = new_folder()

# %% [markdown]
# ## The question
#
# The main model gives each cell type a slope for presence and one for amount, and lets the two know nothing of
# each other. A colleague objects: *a cell type that HER2 makes rarer will also be scarcer where it is present.
# You throw that away.* If she is right, the presence slope of a cell type says something about its amount
# slope. That is one more parameter: a correlation.
#
# We plant slopes with a correlation of 0.8 over cell types, and see whether a model that has the parameter
# finds it.

# %%
names = [c.name for c in SEED_DESIGN.cell_types if c.name != "Macrophages M2"][: sized(10, 5)]
rng = np.random.default_rng(4)
unit = rng.normal(size=(len(names), 2))
presence_slope = 0.45 * unit[:, 0]
amount_slope = 0.25 * (0.8 * unit[:, 0] + 0.6 * unit[:, 1])
zero_share, log_mean = rng.uniform(0.3, 0.5, len(names)), rng.uniform(-4.0, -2.0, len(names))
cell_types = tuple(
    CellTypeDesign(
        name,
        float(zero_share[i]),
        float(log_mean[i]),
        1.6,
        presence_slope=round(float(presence_slope[i]), 2),
        amount_slope=round(float(amount_slope[i]), 2),
    )
    for i, name in enumerate(names)
)
cohort = replace(
    SEED_DESIGN.cohorts[0], n_hr_positive=sized(140, 70), n_hr_negative=sized(60, 40), zero_share={}
)
design = replace(SEED_DESIGN, cohorts=(cohort,), cell_types=cell_types)
simulated = simulate_cohorts(np.random.default_rng(SEED), design)
data = check_study(write_study(folder, simulated, seed=SEED), only=["abundance"]).sets["abundance"]
data.tumours.groupby("hr").size().rename("n tumours").to_frame()

# %% [markdown]
# ## What a model file is
#
# A model file is a Python file that says, from top to bottom, what is asked and what is believed:
#
# | name | what it is |
# |---|---|
# | `QUESTION` | one sentence |
# | `DATA` | the data that it takes: `AnalysisSet`, one row for each tumour |
# | `TWIN` | the frequentist function that answers the same question |
# | `ESTIMANDS` | what is reported, each with meaning and unit |
# | `PRIORS` | name -> `Prior(distribution, parameters, reason)`; one without a reason is an error |
# | `priors_for(data)` | the priors for these data |
# | `build(data, priors)` | the PyMC graph; no sampling, no files, no random numbers |
# | `estimand_draws(...)` | from draws of coefficients to labelled draws of the estimands (logs of ratios) |
# | `reported(posterior)` | draws of anything else that you will quote: the sampler's gate checks these too |
# | `estimates(draws, data)` | from those draws to the table that every model returns |
# | `prior_checks(graph, ...)` | what the priors imply on the reader's scale, with limits |
#
# `estimates` may use `summarise`, which gives each row its counts, status, interval and decisions. The names of
# the estimands must be known to the package (`bayes_her2.estimates.KINDS`), because it has to know that the
# null of a ratio is 1.
#
# ## The file
#
# We write it into a temporary folder. It needs no place in the package: `load_model` takes a path.

# %%
MODEL = r'''
"""Presence and amount of each cell type, with slopes that may go together.

For tumour i and cell type c, with h the HER2 score per SD and r = 1 in HR- tumours,

    present_ic ~ Bernoulli(logit^-1(a_c + b_c h_i + g_c r_i + d_c h_i r_i))
    amount_ic  ~ Gamma(mean = exp(A_c + B_c h_i + G_c r_i + D_c h_i r_i), shape_c)     where present

and the two slopes of a cell type, (b_c, B_c), are a draw from a bivariate normal distribution with
correlation rho. One cohort only.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr

from bayes_her2 import Prior
from bayes_her2.bayesian.design import structure
from bayes_her2.bayesian.slopes import with_difference
from bayes_her2.bayesian.summary import summarise
from bayes_her2.estimates import DEFAULT_ROPE

QUESTION = "Does a cell type that HER2 makes rarer also become scarcer where it is present?"
DATA = "AnalysisSet"
TWIN = "abundance_twin"
ESTIMANDS = {
    "presence": "odds ratio of presence per SD of HER2",
    "amount": "ratio of mean abundance among tumours with the cell type present, per SD of HER2",
}
PRIORS = {
    "level_of_presence": Prior("Normal", {"mu": 0.5, "sigma": 1.5}, "present in 8 to 97 % of HR+ tumours"),
    "level_of_amount": Prior("Normal", {"mu": -3.0, "sigma": 2.0}, "mean score of the present 0.001 to 2.5"),
    "slope_mean": Prior("Normal", {"mu": 0.0, "sigma": 0.3}, "no common change beyond 1.8-fold per SD"),
    "slope_sd": Prior("HalfNormal", {"sigma": 0.4}, "cell types rarely change more than twofold per SD"),
    "hr": Prior("Normal", {"mu": 0.0, "sigma": 0.7}, "HR strata differ at most fourfold"),
    "interaction": Prior("Normal", {"mu": 0.0, "sigma": 0.5}, "no ratio of ratios beyond 2.7-fold per SD"),
    "fisher_z": Prior("Normal", {"mu": 0.0, "sigma": 0.75}, "a correlation between -0.9 and 0.9"),
    "log_shape": Prior("Normal", {"mu": 0.5, "sigma": 0.7}, "coefficient of variation from 0.4 to 1.6"),
}


def priors_for(data):
    """Give the priors: the same for every data set."""
    return PRIORS


def build(data, priors):
    """Return the graph: nothing is sampled, read or drawn here."""
    abundance = data.abundance.to_numpy(float)
    tumour_idx, cell_idx = np.nonzero(abundance > 0)
    her2 = data.tumours["her2_sd"].to_numpy(float)
    hr_negative = (data.tumours["hr"] == "HR-").to_numpy(float)
    coords = {
        "tumour": list(data.tumours.index),
        "cell_type": list(data.abundance.columns),
        "part": ["presence", "amount"],
    }
    cells = ("part", "cell_type")
    with pm.Model(coords=coords) as model:
        mean = priors["slope_mean"].variable("slope_mean", dims="part")
        sd = priors["slope_sd"].variable("slope_sd", dims="part")
        z = priors["fisher_z"].variable("fisher_z")
        rho = pm.Deterministic("slope_correlation", pm.math.tanh(z))
        unit = pm.Normal("slope_unit", 0.0, 1.0, dims=cells)
        slope = pm.Deterministic(
            "slope",
            pm.math.stack(
                [
                    mean[0] + sd[0] * unit[0],
                    mean[1] + sd[1] * (rho * unit[0] + pm.math.sqrt(1 - rho**2) * unit[1]),
                ]
            ),
            dims=cells,
        )
        hr = priors["hr"].variable("hr", dims=cells)
        interaction = priors["interaction"].variable("interaction", dims=cells)
        level = [
            priors[f"level_of_{part}"].variable(f"level_of_{part}", dims="cell_type")
            for part in ("presence", "amount")
        ]
        shape = pm.math.exp(priors["log_shape"].variable("log_shape", dims="cell_type"))

        def predictor(part):
            per_sd = slope[part] + interaction[part] * hr_negative[:, None]
            return level[part] + hr[part] * hr_negative[:, None] + per_sd * her2[:, None]

        pm.Bernoulli(
            "present", logit_p=predictor(0), observed=(abundance > 0).astype(float), dims=("tumour", "cell_type")
        )
        amount_mean = pm.math.exp(predictor(1)[tumour_idx, cell_idx])
        pm.Gamma(
            "amount",
            alpha=shape[cell_idx],
            beta=shape[cell_idx] / amount_mean,
            observed=abundance[tumour_idx, cell_idx],
        )
    return model


def estimand_draws(posterior, data, priors, rng):
    """Turn draws of coefficients into log ratios per SD, by stratum."""
    slope = posterior["slope"]
    by_stratum = xr.concat(
        [slope.expand_dims(stratum=["HR+"]), (slope + posterior["interaction"]).expand_dims(stratum=["HR-"])],
        dim="stratum",
    )
    both = with_difference(by_stratum)
    return {(part, "pooled"): both.sel(part=part, drop=True) for part in ESTIMANDS}


def reported(posterior):
    """Return what else is read off the fit: the gate checks it too."""
    return {"slope_correlation": posterior["slope_correlation"]}


def estimates(draws, data, *, interval=0.95, rope=DEFAULT_ROPE):
    """Summarise the draws in the table that every model and every twin returns."""
    units = {"presence": "odds ratio per SD", "amount": "ratio of means per SD"}
    return summarise(
        draws, data, structure(data), units=units, method="paired_slopes.py", interval=interval, rope=rope
    )


def prior_checks(graph, data, seed):
    """Check on the reader's scale what the priors imply, before any fit."""
    slope, correlation = pm.draw(
        [graph["slope"], graph["slope_correlation"]], draws=2000, random_seed=seed
    )
    checks = [
        ("share of slopes beyond threefold per SD", np.mean(np.abs(slope) > np.log(3)), 0.0, 0.10),
        ("share of slopes within 10 % of no effect", np.mean(np.abs(slope) < np.log(1.1)), 0.05, 0.50),
        ("share of correlations beyond 0.95", np.mean(np.abs(correlation) > 0.95), 0.0, 0.05),
    ]
    table = pd.DataFrame(checks, columns=["check", "value", "lower", "upper"])
    return table.assign(passed=table["value"].between(table["lower"], table["upper"]))
'''
path = folder / "paired_slopes.py"
path.write_text(MODEL.lstrip(), encoding="utf-8")
model = load_model(path)
model.QUESTION

# %% [markdown]
# Had we forgotten something, `load_model` would say all of it at once:

# %%
incomplete = folder / "incomplete.py"
incomplete.write_text('QUESTION = "?"\nESTIMANDS = {"luck": "how lucky a tumour is"}\n', encoding="utf-8")
try:
    load_model(incomplete)
except DataError as error:
    faults = [fault.replace(str(folder), "").lstrip("/\\").split("; known:")[0] for fault in error.faults]
faults

# %% [markdown]
# ## Before any fit: what do the priors imply?
#
# Priors on coefficients are easy to write and hard to picture. So we draw from them, and look at ratios.
# `value` has to lie between `lower` and `upper`, limits that we set in the file before we saw any result.

# %%
priors = model.priors_for(data)
graph = model.build(data, priors)
model.prior_checks(graph, data, SEED)

# %%
pd.DataFrame([{"prior": n, "distribution": str(p), "why": p.why} for n, p in priors.items()])

# %% [markdown]
# ## Fit
#
# `fit_model` takes the module (or the path). It compiles the graph, samples with NUTS, checks R-hat and
# effective sample size of *every* reported value, and tries once more with smaller steps if that fails. Look at
# `passed` before you read on.

# %%
sampling = Sampling(tune=600, draws=900, target_accept=0.97, seed=7)
fit = fit_model(model, data, sampling=sampling, progress=False)
assert fit.diagnostics.passed, fit.diagnostics.reasons
fit.diagnostics.table

# %% [markdown]
# ## Does it recover what was planted?
#
# `recovery` sets the planted ratio beside each observed row.

# %%
estimates = model.estimates(fit.estimand_draws, data)
found = recovery(estimates, simulated.truth)
found = found[found["scope"] == "pooled"]
f"{found['covered'].sum()} of {len(found)} intervals hold the planted ratio"

# %%
positive = found[found["stratum"] == "HR+"]
forest({"paired slopes, 95 % credible interval": positive}, panel="estimand")

# %% [markdown]
# And the new parameter? The dotted line is the correlation of the planted slopes, the grey curve its prior.

# %%
correlation = fit.posterior["slope_correlation"].to_numpy().ravel()
planted = float(
    np.corrcoef([c.presence_slope for c in cell_types], [c.amount_slope for c in cell_types])[0, 1]
)
prior_draws = np.tanh(np.random.default_rng(SEED).normal(0.0, 0.75, size=20_000))
figure, axis = plt.subplots(figsize=(6.5, 2.6))
bins = np.linspace(-1, 1, 41)
axis.hist(prior_draws, bins=bins, density=True, histtype="step", color="0.6", label="prior")
axis.hist(correlation, bins=bins, density=True, color=COLOURS[0], alpha=0.5, label="posterior")
axis.axvline(planted, color="black", ls=":", label=f"planted slopes: {planted:.2f}")
axis.set_xlabel("correlation of presence slope and amount slope, over cell types")
axis.set_yticks([])
axis.legend(frameon=False, fontsize=9, loc="upper left")
axis.spines[["top", "right", "left"]].set_visible(False)
shown(figure)

# %%
lower, upper = np.quantile(correlation, [0.025, 0.975])
pd.Series(
    {
        "posterior median": np.median(correlation),
        "lower": lower,
        "upper": upper,
        "P(above 0)": (correlation > 0).mean(),
    }
)

# %% [markdown]
# A correlation over a handful of cell types stays uncertain, however many tumours there are: the cell types are
# its sample.
#
# ## Beside the main model, and the twin
#
# The same tumours, the same estimands: so the rows can be set side by side. Does the correlation change any
# answer?

# %%
main = load_model("abundance")
main_sampling = replace(sampling, target_accept=0.85)
main_fit = fit_model("abundance", data, sampling=main_sampling, progress=False)
assert main_fit.diagnostics.passed, main_fit.diagnostics.reasons
main_found = recovery(main.estimates(main_fit.estimand_draws, data), simulated.truth)
main_found = main_found[
    (main_found["scope"] == "pooled") & main_found["estimand"].isin(list(model.ESTIMANDS))
]
forest(
    {
        "paired slopes": found[found["stratum"] == "HR-"],
        "main model": main_found[main_found["stratum"] == "HR-"],
    },
    panel="estimand",
)


# %%
def errors(rows):
    """Mean distance from the planted log ratio, and mean length of the interval."""
    error = (np.log(rows["point"]) - np.log(rows["truth"])).abs()
    return pd.Series(
        {"error": error.mean(), "length": (np.log(rows["upper"]) - np.log(rows["lower"])).mean()}
    )


pd.concat(
    {
        name: rows.groupby(["estimand", "stratum"])[["point", "truth", "lower", "upper"]].apply(errors)
        for name, rows in (("paired slopes", found), ("main model", main_found))
    },
    axis=1,
)

# %% [markdown]
# In HR+ the two are close; for amounts the correlation helps a little. In HR- and in the interaction the main
# model is surer and nearer: it learns from all cell types that interactions are alike (none was planted), while
# our file gives each an independent prior. The correlation answers our colleague, and is no reason to leave the
# main model. A next version of the file would pool the interactions too.
#
# And the file named a twin, so concordance works as in [03](03_posterior_and_p_value.ipynb):

# %%
pairs = concordance(estimates, abundance_twin(data))
pairs["verdict"].value_counts().rename("rows").to_frame()

# %% [markdown]
# ## Where your file can go, and where not
#
# - `load_model("paired_slopes.py")` and `fit_model("paired_slopes.py", data)` take any path. The hash of the
#   fit covers the file: edit it, and it is another fit. `fit.to_netcdf(...)` and `read_fit` keep the draws.
# - `bayes-her2 run` and `compare` fit the models that ship. To have yours among them, with a section of the
#   report, put the file into `models/` of a clone, add its name to `MODELS` (or to `ALTERNATIVES`, if it is a
#   rival of the main model) in `bayes_her2/bayesian/model.py`, and follow "Adding a model" in CONTRIBUTING.md.
# - To compare yours with others by prediction, add `OUTCOME`, `MEASURE` and `log_likelihood`, and use
#   `compare_models` as in [06](06_models_and_priors.ipynb).
#
# ## What to remember
#
# - A model file reads from top to bottom: question, estimands, priors with reasons, graph, results.
# - Plant an answer, and recover it, before you fit real tumours.
# - The gate, the table and the verdicts come with the package. Your file only says what you believe.
