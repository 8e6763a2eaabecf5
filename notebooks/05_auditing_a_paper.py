# %% [markdown]
# # 05. Auditing a paper from its tables
#
# After this page you will be able to
#
# - type the numbers of a paper into a table, and get back what they imply,
# - say how sceptical a reader may be before a claim no longer holds,
# - see which claims survive the number of tests that were made,
# - find printed figures that contradict each other.
#
# Nothing is sampled and no patient is needed. The first part audits **published** numbers: the claims of
# Pizzamiglio and others (2025), which ship with the package. The second part audits **made-up** numbers, as a
# template for yours.

# %%
import pandas as pd
from matplotlib import pyplot as plt
from tutorial import COLOURS, new_folder, shown

from bayes_her2 import DataError, audit_claims

# %% [markdown]
# ## One call
#
# Every number was entered as it is printed, with all its digits, because the digits say what was rounded.

# %%
published = audit_claims().tables
audit = published.audit
audit["verdict"].value_counts().rename_axis("verdict").to_frame("claims")

# %% [markdown]
# A claim *survives* if it holds against the sceptic and after correction for the tests that were made. Let us
# take one and see how that is decided.
#
# ## From an interval to a P value
#
# "Plasma cells: OR 0.41, 95 % CI 0.27 to 0.61." An odds ratio and its limits fix the standard error of the log
# odds ratio, and so a P value. Rounding leaves a range: `p_low` to `p_high`.

# %%
odds_ratios = audit[audit["measure"] == "odds ratio"]
columns = [
    "claim",
    "printed",
    "p_value",
    "p_low",
    "p_high",
    "family_size",
    "p_bonferroni",
    "p_benjamini_hochberg",
]
odds_ratios[columns]

# %% [markdown]
# `family_size` is the number of tests that the paper says or implies it made (one for each cell type analysed),
# not the number that it printed. `p_bonferroni` and `p_benjamini_hochberg` correct for all of them. Of the
# eleven odds ratios of immune cells, count those with P below 0.05, before and after:

# %%
immune = odds_ratios[odds_ratios["family_size"] == 15]
pd.Series(
    {
        "P below 0.05": (immune["p_value"] < 0.05).sum(),
        "and after Benjamini-Hochberg": (immune["p_benjamini_hochberg"] < 0.05).sum(),
        "and after Bonferroni": (immune["p_bonferroni"] < 0.05).sum(),
    }
)

# %% [markdown]
# ## How sceptical may one be?
#
# Imagine a reader who believes that effects are small: a normal prior around "no effect", with some SD on the
# log scale. The narrower her prior, the more data it takes to convince her. The **critical prior SD** is the
# narrowest prior that the claim still convinces. To compare, the audit declares one plausible effect per
# measure (an odds ratio of 1.5), and *the sceptic* is the prior that gives effects beyond it a probability of 5
# % on either side.

# %%
sweep = published.prior_sweep
chosen = {
    "Plasma cells high, HR+": COLOURS[0],
    "Neutrophils high, HR+": COLOURS[1],
    "Mast cells resting high, HR-": COLOURS[2],
}
figure, axes = plt.subplots(1, 3, figsize=(11, 3.3), sharex=True)
for axis, (claim, colour) in zip(axes, chosen.items(), strict=True):
    own, row = sweep[sweep["claim"] == claim], audit[audit["claim"] == claim].iloc[0]
    axis.fill_between(own["prior_sd"], own["lower"], own["upper"], color=colour, alpha=0.25)
    axis.plot(own["prior_sd"], own["point"], color=colour)
    axis.axhline(1, color="0.5", lw=0.8)
    axis.axvline(row["sceptical_prior_sd"], color="black", ls=":", lw=1)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_yticks([0.25, 0.5, 1, 2, 4, 8, 16], ["0.25", "0.5", "1", "2", "4", "8", "16"])
    axis.set_xticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
    axis.minorticks_off()
    axis.set_ylim(0.9 * own["lower"].min(), 1.1 * own["upper"].max())
    axis.set_title(f"{claim}\ncritical prior SD {row['critical_prior_sd']:.2f}", fontsize=10)
    axis.set_xlabel("SD of the sceptical prior (log odds ratio)")
    axis.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("posterior odds ratio, 95 % credible interval")
figure.tight_layout()
shown(figure)

# %% [markdown]
# Read each panel from right to left: as the prior narrows, the interval is drawn to 1 and at some SD includes
# it. The dotted line is the sceptic. Plasma cells convince her with room to spare. Neutrophils in HR+ do not.
# The odds ratio of 5.29 for mast cells in HR- looks largest and is the weakest of the three: its interval runs
# from 1.16 to 24, so long that the sceptic hardly moves.

# %%
columns = [
    "claim",
    "estimate",
    "critical_prior_sd",
    "sceptical_prior_sd",
    "sceptical_point",
    "sceptical_lower",
    "sceptical_upper",
]
audit.loc[audit["claim"].isin(chosen), columns]

# %% [markdown]
# ## Sign and size
#
# Suppose the true odds ratio were the plausible 1.5. With this standard error, how often would a study of this
# size find P < 0.05 (`power`)? When it does, how often has the estimate the wrong sign (`type_s`), and by how
# much does it exaggerate on average (`type_m`, ratio of log odds ratios)?

# %%
odds_ratios[["claim", "estimate", "standard_error", "power", "type_s", "type_m"]]

# %% [markdown]
# In HR- tumours power is around 10 %, and what passes the filter exaggerates several times over. An odds ratio
# of 5.29 is what a small study prints when it prints anything.
#
# ## In words
#
# Each claim has a sentence that can be quoted.

# %%
for_print = audit.loc[audit["claim"].isin(chosen), ["claim", "verdict", "in_words"]]
for_print.style.hide(axis="index").set_properties(**{"text-align": "left", "white-space": "normal"})

# %% [markdown]
# ## Figures that contradict each other
#
# The audit recomputes what can be recomputed, and allows for rounding before it says anything. `printed` is the
# figure in the paper, `found` what the other printed figures give.

# %%
published.contradictions[["claim", "place", "figure", "printed", "found"]]

# %% [markdown]
# Such slips are common, and do not by themselves make a claim wrong. The Results and the Discussion of this
# paper give opposite directions for two cell types; the printed interaction P values side with the Results. A
# reader who copies one sentence into a meta-analysis should know.
#
# ## Your own table
#
# One row is one printed number. Here are **made-up** claims of a study in Milan and its replication in Lund.
# The cohort that comes first is the original.

# %%
folder = new_folder()
path = folder / "claims.csv"
path.write_text(
    """claim,family,family_size,cohort,measure,estimate,ci_low,ci_high,p_value,n,place
CD8 T cells and HER2,correlations,15,Milan,rank correlation,-0.25,-0.36,-0.13,,255,Table 2
CD8 T cells and HER2,correlations,15,Lund,rank correlation,-0.31,-0.41,-0.20,,318,Table 2
Mast cells and HER2,correlations,15,Milan,rank correlation,-0.16,-0.28,-0.04,0.01,255,Table 2
Mast cells and HER2,correlations,15,Lund,rank correlation,-0.02,-0.13,0.09,0.72,318,Table 2
""",
    encoding="utf-8",
)
mine = audit_claims(path, folder / "audit")
mine.tables.audit[["claim", "cohort", "printed", "p_value", "p_printed", "p_bonferroni", "verdict"]]

# %% [markdown]
# With two cohorts there is a replication table. `relative_effect` is the replication over the original (Fisher
# z). The **sceptical p-value** asks both studies to be convincing: the original has to persuade a sceptic, and
# the replication has to persuade the sceptic whom the original only just failed to persuade.

# %%
mine.tables.replication[
    [
        "claim",
        "original_estimate",
        "replication_estimate",
        "relative_effect",
        "sceptical_p",
        "compatibility_p",
        "verdict",
    ]
]

# %% [markdown]
# Faults in a table are listed together, with the row and the remedy:

# %%
path.write_text(
    """claim,cohort,measure,estimate,ci_low,ci_high,n
CD8 T cells and HER2,Milan,rank correlation,-0.25,-0.13,-0.36,255
Mast cells and HER2,Milan,risk of something,1.2,1.0,1.4,255
""",
    encoding="utf-8",
)
try:
    audit_claims(path)
except DataError as error:
    faults = [fault.replace(str(path), "claims.csv") for fault in error.faults]
faults

# %% [markdown]
# ## What to remember
#
# - An estimate, its interval and the number of tests are enough for an audit. Ask for them when you review.
# - The critical prior SD is one number for "how sceptical may I be". Compare it with an SD that you find
#   reasonable.
# - A large estimate from a small stratum is the weakest kind of evidence, not the strongest.
#
# In a shell: `bayes-her2 audit claims.csv --out results/audit`. **Next:** [06](06_models_and_priors.ipynb)
# turns the same scepticism on our own model.
