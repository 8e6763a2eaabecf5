# %% [markdown]
# # 04. Response to treatment, and borrowing from history
#
# After this page you will be able to
#
# - analyse response by HER2 level from four counts, with the posterior beside the classical answer,
# - pool the published studies, and say what the prior on their spread decides,
# - let earlier studies inform a small new one, and see how much they do,
# - judge what borrowing costs when history is wrong.
#
# The counts on this page are **published** and ship with the package: Table 2 of Pizzamiglio and others 2025
# (response to pembrolizumab with chemotherapy), and the evidence table of earlier studies. Only the last
# section is simulated.

# %%
from functools import cache

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from tutorial import COLOURS, forest, new_folder, shown, sized

from bayes_her2 import Estimates, load_model, run_study
from bayes_her2.bayesian.map_prior import map_prior
from bayes_her2.bayesian.study_likelihood import log_two_arms
from bayes_her2.evidence.response import seed_study_response
from bayes_her2.evidence.selection import studies_for
from bayes_her2.evidence.table import shipped_evidence

SEED = 20261204
folder = new_folder()

# %% [markdown]
# ## A study without tumours
#
# A study may consist of published numbers alone. These few lines are the whole study file:

# %%
study = folder / "study.toml"
study.write_text(
    f"""
[study]
name = "Response to treatment by HER2 level"
seed = {SEED}

[published]
evidence = true    # pool the published studies that ship with the package
response = true    # the seed study's Table 2

[sampling]
tune = 500
draws = {sized(1500, 1000)}
""",
    encoding="utf-8",
)
result = run_study(study, folder / "results")
tables = result.folder / "tables"
pd.read_csv(tables / "treatment_response_counts.csv")

# %% [markdown]
# Each row: of `n` patients who could be evaluated, `events` responded. All have HR- (triple-negative) disease.
# For your own trial, put such a file beside the study file, or one row for each patient, and name it in a
# `[response]` block (see the README).
#
# ## Four counts, two answers
#
# `response_odds` is the odds ratio of response, HER2-low over HER2-0. The intervals of the posterior are 95 %
# credible; those of the twins are 95 % confidence intervals: Wald, profile likelihood and exact conditional.

# %%
estimates = Estimates.read_csv(tables / "estimates.csv")
odds = estimates.select(model="treatment_response", estimand="response_odds")
odds[["source", "method", "outcome", "n", "point", "lower", "upper", "p_value", "pd"]]

# %% [markdown]
# Both responses point the same way, and all intervals include 1. The data rule out neither a third of the odds
# nor a third more. The difference in the probability of response, and what it means for the next 50 patients:

# %%
wanted = ["response_difference", "responders_of_next_50"]
told = estimates.select(model="treatment_response", source="posterior")
told[told["estimand"].isin(wanted)][["outcome", "estimand", "contrast", "point", "lower", "upper"]]

# %% [markdown]
# ## What the missing patients could change
#
# There were 111 patients; some could not be evaluated, and the paper does not print their HER2 level. The
# tipping-point table fills them in, from the best to the worst case. `verdict` says where the 95 % interval
# then lies; `share` is the share of all possible ways of filling in.

# %%
tipping = pd.read_csv(tables / "treatment_response_tipping_point.csv")
tipping[tipping["outcome"] == "pathological complete response"][
    ["scenario", "odds_ratio", "probability_below_1", "verdict", "share"]
]

# %% [markdown]
# ## What earlier studies say
#
# The evidence table holds published studies of HER2-low against HER2-0, no patient twice. Crude and adjusted
# estimates are different questions and are never pooled together. Why that matters is seen in the registry:
# crude over all patients, crude within HR strata, adjusted.

# %%
registry = pd.read_csv(tables / "evidence_synthesis_registry.csv")
registry[["study", "hr_stratum", "adjustment", "n", "estimate", "lower", "upper"]]

# %% [markdown]
# Peiffer 2023: a crude odds ratio of 0.63 over 99,783 patients becomes 0.89 once HR status and other variables
# are adjusted for. Li 2023 reads the same registry: within HR strata the crude ratios are 0.73 and 0.85.
# HER2-low tumours are more often HR+, and HR+ tumours respond less; so much of the crude association is HR
# status. History must be of the same HR stratum as the new patients.
#
# With few studies the prior on the SD between studies (`scale`, of a half-normal on the log scale) decides the
# width:

# %%
spread = pd.read_csv(tables / "evidence_synthesis_heterogeneity_prior.csv")
crude = spread[
    spread["question"].str.contains(
        "pathological complete response, crude odds ratio, HER2-low over HER2-0, HR"
    )
]
crude = crude[(crude["stratum"] == "HR-")].assign(
    row=lambda t: t["scope"] + ", scale " + t["scale"].astype(str)
)
forest(
    {"HR-, crude, 95 % credible interval": crude},
    label="row",
    xlabel="odds ratio of complete response",
    ticks=(0.25, 0.5, 1, 2),
)

# %% [markdown]
# `pooled` is the average over studies, `new cohort` the next study. That last distribution is what history
# predicts for *your* trial. It is the prior that we are about to borrow.
#
# ## Borrowing, with a way out
#
# The predictive distribution of the earlier studies (meta-analytic-predictive prior) is mixed with a vague
# component: here 80 % history, 20 % "this trial is something else". If the new data disagree with history, the
# vague component takes over by Bayes' theorem. The study under analysis is left out of its own prior.

# %%
borrowing = pd.read_csv(tables / "treatment_response_borrowing.csv")
borrowing[
    [
        "prior",
        "odds_ratio",
        "lower",
        "upper",
        "probability_below_1",
        "prior_ess_elir",
        "conflict_p",
        "vague_weight_prior",
        "vague_weight_posterior",
    ]
]

# %% [markdown]
# - `prior_ess_elir`: how many patients of such a trial the prior is worth. Compare it with the 86 evaluated
#   patients. A prior worth more patients than the trial has should be defended in words;
# - `conflict_p`: how surprising the data are to the prior; small is a conflict. There is none here;
# - `vague_weight_posterior`: weight of "something else" after the data. It fell from 0.2: the data look like
#   history.

# %%
curves = pd.read_csv(tables / "treatment_response_curves.csv")
figure, axis = plt.subplots(figsize=(8, 3.4))
styles = {
    "prior without borrowing": ("0.7", ":"),
    "robust prior": (COLOURS[2], ":"),
    "likelihood": ("black", "--"),
    "posterior without borrowing": (COLOURS[0], "-"),
    "posterior with the robust prior": (COLOURS[1], "-"),
}
for name, (colour, line) in styles.items():
    own = curves[curves["curve"] == name]
    axis.plot(np.exp(own["log_odds_ratio"]), own["density"], color=colour, ls=line, label=name)
axis.set_xscale("log")
axis.set_xticks([0.125, 0.25, 0.5, 1, 2, 4], ["0.125", "0.25", "0.5", "1", "2", "4"])
axis.minorticks_off()
axis.set_xlim(0.1, 6)
axis.axvline(1, color="0.6", lw=0.8)
axis.set_yticks([])
axis.set_xlabel("odds ratio of complete response, HER2-low over HER2-0 (HR-)")
axis.legend(frameon=False, fontsize=9)
axis.spines[["top", "right", "left"]].set_visible(False)
shown(figure)

# %% [markdown]
# With history the interval is shorter and still includes 1. Two earlier studies, crude odds ratios, counts
# worked out from percentages: the run says all of it.

# %%
list(pd.read_csv(tables / "treatment_response_borrowing_notices.csv")["text"])

# %% [markdown]
# ## What does borrowing cost when history is wrong?
#
# This part is **simulated**. We draw 200 trials of the same size (50 HER2-0, 36 HER2-low; 70 % of HER2-0
# respond) with a known odds ratio, and analyse each three ways: no borrowing, 80 % history with a way out, and
# history without a way out. A posterior of a single 2 x 2 table needs no sampler, so this takes seconds. We
# count how often the 95 % interval holds the planted odds ratio, its mean length (log scale), and how often the
# interval excludes 1.

# %%
evidence = studies_for(
    shipped_evidence(),
    "pathological complete response",
    scale="odds ratio",
    adjustment="crude",
    hr_stratum="HR-",
)
history = map_prior(evidence, new=seed_study_response())
priors = load_model("treatment_response").PRIORS
intercept, vague = priors["intercept"], priors["slope_hr_negative"]
analyses = {
    "no borrowing": vague,
    "80 % history": history.robust(vague=vague, weight=0.2),
    "history only": history.as_prior(),
}
grid = np.arange(-4.0, 4.001, 0.02)  # log odds ratios
density = {name: prior.frozen().pdf(grid) for name, prior in analyses.items()}


@cache
def likelihood(low, zero):
    """Likelihood of the log odds ratio, HER2-low over HER2-0, the intercept integrated over its prior."""
    log = log_two_arms(grid, 36, low, 50, zero, base=intercept)
    return np.exp(log - log.max())


def limits(low, zero, name):
    """95 % credible interval of the log odds ratio."""
    below = np.cumsum(likelihood(low, zero) * density[name])
    return np.interp([0.025, 0.975], below / below[-1], grid)


rng = np.random.default_rng(SEED)
n_trials = sized(200, 10)
records = []
for planted in (0.75, 1.0, 3.0):
    odds_low = 0.7 / 0.3 * planted
    low = rng.binomial(36, odds_low / (1 + odds_low), size=n_trials)
    zero = rng.binomial(50, 0.7, size=n_trials)
    for name in analyses:
        lower, upper = np.array([limits(int(a), int(b), name) for a, b in zip(low, zero, strict=True)]).T
        records.append(
            {
                "planted odds ratio": planted,
                "analysis": name,
                "interval holds it": np.mean((lower < np.log(planted)) & (np.log(planted) < upper)),
                "mean length": np.mean(upper - lower),
                "interval excludes 1": np.mean((lower > 0) | (upper < 0)),
            }
        )
costs = pd.DataFrame(records).set_index(["planted odds ratio", "analysis"])
costs

# %% [markdown]
# At 0.75 history is right: borrowing shortens the interval and keeps its coverage. At 1.0, history is a little
# wrong. At 3.0, history is badly wrong: *history only* holds the truth far too rarely, and the way out repairs
# part of it, not all. Nothing is free: the price of borrowing is paid where history fails, which is where you
# would most like to know.
#
# ## What to remember
#
# - Show the answer without borrowing first, and the one with it beside it. The report does.
# - Ask how many patients the prior is worth, and whether it conflicts with the data.
# - History of another HR stratum, or crude where yours is adjusted, answers another question.
#
# **Next:** [05](05_auditing_a_paper.ipynb) needs no patients at all: what can be said from a paper's tables.
