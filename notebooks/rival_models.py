# %% [markdown]
# # Rival models of the same tumours
#
# Does an answer depend on the distribution that the main model gives the amounts? This script simulates two small
# cohorts with known slopes, fits the main model (gamma amounts) and a rival (Weibull), and asks which predicts a tumour
# that it has not seen, whether one cohort would have predicted the other, and which conclusions change. On your own
# study, `bayes-her2 compare study.toml --out results/rivals` does all of it; here it is step by step.
#
# Run it as a script (`python notebooks/rival_models.py [FOLDER]`), or cell by cell in an editor that knows `# %%`.

# %%
from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from bayes_her2 import (
    SEED_DESIGN,
    Candidate,
    CellTypeDesign,
    Forecast,
    Sampling,
    check_study,
    compare_models,
    compare_refits,
    conclusions,
    fit_model,
    load_model,
    proper_scores,
    simulate_cohorts,
    stratified_folds,
    write_study,
)

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else "results/rival_models")
SEED = 11
RIVALS = ("abundance", "abundance_weibull")

# %% [markdown]
# ## Tumours with a known answer
#
# Two cohorts of 160 tumours and three cell types. The amounts are gamma: the main model is true here, and should win.

# %%
cell_types = (
    CellTypeDesign("Plasma cells", 0.30, -2.5, 1.5, presence_slope=0.5, amount_slope=0.25),
    CellTypeDesign("T cells CD8", 0.0, -2.0, 3.0, amount_slope=-0.25, amount_hr=0.3),
    CellTypeDesign("Neutrophils", 0.55, -4.0, 1.0, amount_interaction=-0.3),
)
cohorts = tuple(
    replace(cohort, n_hr_positive=120, n_hr_negative=40, zero_share={}) for cohort in SEED_DESIGN.cohorts[:2]
)
design = replace(SEED_DESIGN, cohorts=cohorts, cell_types=cell_types)
study = write_study(FOLDER / "simulated", simulate_cohorts(np.random.default_rng(SEED), design), seed=SEED)
data = check_study(study).sets["abundance"]
data.counts

# %% [markdown]
# ## Both models, the same tumours
#
# A fit that does not pass its gate is no result: look before you read on.

# %%
sampling = Sampling(tune=500, draws=700, seed=SEED)
fits = {name: fit_model(name, data, sampling=sampling, progress=False) for name in RIVALS}
for name, fit in fits.items():
    assert fit.diagnostics.passed, (name, fit.diagnostics.reasons)

# %% [markdown]
# ## Which predicts a tumour that it has not seen?
#
# The unit is the tumour, with all its cell types. `compare_models` refuses models of different tumours, outcomes or
# measures; proper scores compare whatever forecasts the same abundances.

# %%
models = {name: load_model(name) for name in RIVALS}
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

# %%
forecasts = [
    Forecast(
        name,
        models[name].replicate(fit.posterior, data, np.random.default_rng(SEED), max_draws=1_000),
        models[name].log_likelihood(fit.posterior, data, max_draws=1_000),
    )
    for name, fit in fits.items()
]
told = data.abundance.ge(0)  # presence is scored everywhere: what a model holds constant it forecasts too
scores = proper_scores(forecasts, data.abundance, told)
scores.table[["model", "crps", "crps_difference", "crps_difference_se"]]

# %% [markdown]
# ## Exactly, by refits
#
# Two folds with the same mix of cohorts and HR strata. Parts of an analysis set keep its scaling and its rules.

# %%
folds = stratified_folds(data.tumours, 2, np.random.default_rng(SEED))
elpd: dict[str, pd.Series] = {}
for name in RIVALS:
    pieces = []
    for fold in (0, 1):
        out = list(folds.index[folds == fold])
        fit = fit_model(
            name, data.subset(list(folds.index[folds != fold])), sampling=sampling, progress=False
        )
        values = models[name].log_likelihood(fit.posterior, data, tumours=out).stack(sample=("chain", "draw"))
        each = values.transpose("tumour", "sample").to_numpy()
        pieces.append(pd.Series(logsumexp(each, axis=1) - np.log(each.shape[1]), index=out))
    elpd[name] = pd.concat(pieces)
refitted = compare_refits(pd.DataFrame(elpd))
refitted[["model", "elpd", "difference", "difference_se", "reading"]]

# %% [markdown]
# ## Which conclusions change?

# %%
estimates = pd.concat(
    [models[name].estimates(fit.estimand_draws, data).table.assign(model=name) for name, fit in fits.items()]
)
changed = conclusions(estimates, "abundance")
changed[changed["changed"]]

# %%
FOLDER.mkdir(parents=True, exist_ok=True)
compared.table.to_csv(FOLDER / "compared.csv", index=False)
refitted.to_csv(FOLDER / "refitted.csv", index=False)
scores.table.to_csv(FOLDER / "scores.csv", index=False)
changed.to_csv(FOLDER / "conclusions.csv", index=False)
