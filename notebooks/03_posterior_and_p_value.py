# %% [markdown]
# # 03. Posterior against P value, claim by claim
#
# After this page you will be able to
#
# - set each posterior statement beside the frequentist one about the *same quantity in the same tumours*,
# - read the nine verdicts on such a pair,
# - say what a posterior probability, a P value, a Bonferroni-adjusted P and an s-value each promise, and which
#   claims of each were right (we planted the truth, so we can look),
# - tell "no effect" from "no idea".
#
# The tumours are **simulated**.

# %%
from dataclasses import replace

import numpy as np
import pandas as pd
from tutorial import forest, new_folder, sized

from bayes_her2 import (
    SEED_DESIGN,
    Estimates,
    Sampling,
    check_study,
    concordance,
    fit_model,
    load_model,
    simulate_cohorts,
    write_study,
)
from bayes_her2.comparison import VERDICTS, claims
from bayes_her2.frequentist import high_abundance_twin

SEED = 20261203

# %% [markdown]
# ## A published analysis, twice
#
# Pizzamiglio and others (2025) cut each cell type in two and regressed *high* abundance on HER2. High means at
# or above the cohort's median, or present at all where a quarter of the tumours or more have none. They report
# odds ratios per SD, by HR status, with P values and Bonferroni's correction.
#
# We simulate a study of that shape: their three cohorts, 22 cell types, and effects in the direction of what
# they found. The effects are invented. The Bayesian model `high_abundance` and its *twin*, logistic regression,
# get the same analysis set: the same tumours, the same cut-offs.

# %%
few = ("Plasma cells", "T cells CD8", "Mast cells resting", "Neutrophils", "Macrophages M2")
design = sized(
    SEED_DESIGN,
    replace(
        SEED_DESIGN,
        cohorts=(replace(SEED_DESIGN.cohorts[0], n_hr_positive=100, n_hr_negative=40, zero_share={}),),
        cell_types=tuple(c for c in SEED_DESIGN.cell_types if c.name in few),
    ),
)
simulated = simulate_cohorts(np.random.default_rng(SEED), design)
study = write_study(new_folder(), simulated, seed=SEED)
data = check_study(study, only=["high_abundance"]).sets["high_abundance"]

sampling = Sampling(tune=500, draws=sized(1000, 600), target_accept=0.85, seed=SEED)
fit = fit_model("high_abundance", data, sampling=sampling, progress=False)
assert fit.diagnostics.passed, fit.diagnostics.reasons
posterior = load_model("high_abundance").estimates(fit.estimand_draws, data)
twin = high_abundance_twin(data)
data.tumours.groupby(["cohort", "hr"]).size().unstack()

# %% [markdown]
# ## One row, two answers
#
# `concordance` joins each posterior row with the twin of the same estimand, stratum, scope and tumours. It
# refuses to join rows of different tumours. Here are the pooled rows, marginal odds ratios of high abundance
# per SD of HER2:
#
# - `posterior_point`, `_lower`, `_upper`: posterior median, 95 % **credible** interval;
# - `twin_point`, `_lower`, `_upper`: estimate, 95 % **confidence** interval;
# - `twin_p`: P from the likelihood ratio test; `twin_p_bonferroni`: times the number of cell types in the
#   family;
# - `n`: tumours of the stratum.

# %%
pairs = concordance(posterior, twin)
pairs = pairs[(pairs["estimand"] == "high_abundance") & (pairs["scope"] == "pooled")]
truth = simulated.truth.query("estimand == 'high_abundance' and scope == 'pooled'")
pairs = pairs.merge(truth[["outcome", "stratum", "truth"]], on=["outcome", "stratum"], how="left")
positive = pairs[(pairs["stratum"] == "HR+") & (pairs["verdict"] != "not estimable")]
sides = [f"{side}_{end}" for side in ("posterior", "twin") for end in ("point", "lower", "upper")]
positive[["outcome", "n", *sides, "twin_p", "twin_p_bonferroni"]].head(8)


# %%
def side(table, name):
    """One side of the pairs, with the columns that a forest plot takes."""
    ends = {f"{name}_{end}": end for end in ("point", "lower", "upper")}
    return table[["outcome", "stratum", "truth", *ends]].rename(columns=ends)


shown_strata = pairs[pairs["stratum"].isin(["HR+", "HR-"]) & (pairs["verdict"] != "not estimable")]
forest(
    {"posterior, credible": side(shown_strata, "posterior"), "twin, confidence": side(shown_strata, "twin")},
    xlabel="odds ratio of high abundance per SD",
)

# %% [markdown]
# Both sides see the same tumours, so most pairs lie close together. They part for two reasons. The posterior
# draws each cell type towards the others (partial pooling over cell types). And in its pooled row cohorts are a
# random sample, while this twin takes one slope for all cohorts. Does that help? We know the truth, so we can
# count:

# %%
error = shown_strata.assign(
    posterior=(np.log(shown_strata["posterior_point"]) - np.log(shown_strata["truth"])).abs(),
    twin=(np.log(shown_strata["twin_point"]) - np.log(shown_strata["truth"])).abs(),
)
error.groupby("stratum")[["posterior", "twin"]].mean().rename_axis(columns="mean error, log odds ratio")

# %% [markdown]
# In HR-, with 98 tumours, pooling helps: the mean error is smaller by a third. In HR+, with 405 tumours, it is
# larger here. Look at neutrophils: planted above 1, while nearly all other cell types were planted below. Cell
# types that are drawn from one normal distribution forgive no outlier, and the posterior draws this one in. (A
# model that forgives outliers is `abundance_horseshoe`; [06](06_models_and_priors.ipynb) says how to compare.)
# So pooling is a bet that cell types are alike. It pays where single rows are noisy, and can cost where they
# are not.
#
# ## Nine verdicts
#
# A verdict says what a pair says. The null of a ratio is 1.

# %%
counts = pairs["verdict"].value_counts().reindex(list(VERDICTS), fill_value=0)
pd.DataFrame({"meaning": VERDICTS, "rows here": counts})

# %% [markdown]
# *Uncertain* and *attenuated* rows are those that were drawn towards the other cell types; whether rightly,
# only more tumours would tell (or, here, the truth). *New* rows are rare: the posterior is seldom the bolder
# side. *Not compared* are rows where the twin rests on other tumours than the posterior.
#
# ## Claim by claim
#
# These are the rows that a P value below 0.05 would put into an abstract:
#
# - `pd`: posterior probability of the direction; 1 - `pd` is roughly half a two-sided P *if* the prior is flat;
# - `lfsr`: local false sign rate, the probability that the sign is wrong;
# - `s_value`: the mean `lfsr` of this claim and all surer ones. If you claim every row up to s = 0.05, expect 5
#   % of your signs to be wrong. It needs no count of tests: it follows from the shared prior;
# - `p_in_rope`: probability that the odds ratio lies between 0.9 and 1.11, as good as none.

# %%
claimed = pairs[pairs["twin_p"] < 0.05].sort_values("twin_p")
claimed[
    [
        "outcome",
        "stratum",
        "twin_point",
        "twin_p",
        "twin_p_bonferroni",
        "posterior_point",
        "pd",
        "lfsr",
        "s_value",
        "verdict",
        "truth",
    ]
]

# %% [markdown]
# ## Which rule was right?
#
# Three rules, one truth. *Called*: rows that the rule claims. *Wrong*: the planted odds ratio has the other
# sign, or is as good as none (0.9 to 1.11). *Missed*: planted beyond that and not called. *Exaggeration*:
# median of the called log odds ratio over the planted one, among calls of the right sign; 1 is right, 1.5 is
# half as large again.

# %%
judged = pairs[pairs["truth"].notna() & (pairs["status"] == "observed") & pairs["twin_p"].notna()]
matters = ~judged["truth"].between(0.9, 1.11)
rules = {
    "P < 0.05": (judged["twin_p"] < 0.05, judged["twin_point"]),
    "P < 0.05 after Bonferroni": (judged["discovery_bonferroni"], judged["twin_point"]),
    "s-value at most 0.05": (judged["discovery_bayes"], judged["posterior_point"]),
}
records = []
for rule, (called, point) in rules.items():
    right_sign = np.sign(np.log(point)) == np.sign(np.log(judged["truth"]))
    right = called & matters & right_sign
    size = (np.log(point) / np.log(judged["truth"]))[right]
    records.append(
        {
            "rule": rule,
            "called": int(called.sum()),
            "wrong": int((called & ~(matters & right_sign)).sum()),
            "missed": int((matters & ~called).sum()),
            "exaggeration": size.median(),
        }
    )
pd.DataFrame(records)

# %% [markdown]
# One simulated study is an anecdote, not a proof: `bayes-her2 calibrate high_abundance` repeats it 200 times.
# But three things are general. Bonferroni guards against any error and pays with the most effects missed. A P
# value below 0.05 selects estimates that came out large (the winner's curse: exaggeration above 1), and the
# rarer real effects are, the more of its calls are wrong; here most planted effects are real, so it does well.
# And a shared prior shrinks before it selects: it exaggerates less, but draws in outliers too.
#
# ## No effect, or no idea?
#
# A P value of 0.6 can mean either. `p_in_rope` tells them apart. Among rows where *neither* side excludes 1,
# the surest of "practically nothing" and the least sure:

# %%
null = pairs[pairs["verdict"] == "both null"].sort_values("p_in_rope", ascending=False)
columns = [
    "outcome",
    "stratum",
    "n",
    "posterior_point",
    "posterior_lower",
    "posterior_upper",
    "twin_p",
    "p_in_rope",
]
pd.concat([null.head(3), null.tail(3)])[columns]

# %% [markdown]
# By the P value, all six rows are the same: "not below 0.05". In the first, nearly half of the posterior lies
# among ratios that are as good as none, and intervals are short. In the last, little does; they are not
# evidence of absence. Note that the region of practical equivalence was declared in the study file, before any
# draw.
#
# ## The paper's claims
#
# `claims` sets each claim of the seed study beside estimates like these, and says in which layer it is:
# *holds*, *weakened*, *not seen*, *reversed*, *not testable here*. On simulated tumours it is a rehearsal; on
# yours it is the first table of the report. Claims that other models answer are not testable from this fit
# alone, so we keep those that are.

# %%
both = Estimates.concat([posterior, twin])
layers = claims(both, measure=posterior.table["exposure"].iloc[0])
told = layers[layers["layer"] != "not testable here"]
told[["words", "published_value", "scope", "point", "lower", "upper", "p_direction", "layer"]].reset_index(
    drop=True
)

# %% [markdown]
# `words` is the claim, `published_value` the odds ratio in print; `point`, `lower` and `upper` are the
# posterior here, and `p_direction` is the posterior probability of the claimed direction. A claim about both
# strata at once has a probability, and no single number.
#
# ## What to remember
#
# - Compare like with like: the same estimand, the same tumours. `concordance` refuses anything else.
# - Partial pooling is a bet that cell types are alike: it pays where rows are noisy, and draws in outliers.
# - Quote the probability of the sign, the interval, and P(in ROPE). "Not below 0.05" is none of these.
#
# **Next:** [04](04_response_and_history.ipynb) is about response to treatment, and what earlier studies may
# add.
