"""Write simulated cohorts as the files a user would have, with the study file that reads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from bayes_her2.data import LM22_CELL_TYPES, CohortTable
from bayes_her2.files import write_text
from bayes_her2.simulation.cohorts import Simulated, simulate_cohorts
from bayes_her2.simulation.design import SEED_DESIGN, Design

CLINICAL_COLUMNS = {
    "age": "Age (years)",
    "sex": "Sex",
    "er": "ER",
    "pgr": "PgR",
    "her2_ihc": "HER2 IHC",
    "her2_ish": "HER2 ISH",
    "her2": "HER2 score",
    "grade": "Grade",
    "tumour_size_cm": "Tumour size (cm)",
    "stage": "Stage",
    "erbb2": "ERBB2 (log2)",
    "esr1": "ESR1 (log2)",
    "total_til": "Total TIL score",
}
"""Field of the study -> column of the clinical file."""

CLINICAL_OUTCOMES = (
    {"name": "age > 50 years", "field": "age", "above": 50},
    {"name": "grade III", "field": "grade", "values": ["III"]},
    {"name": "tumour > 2 cm", "field": "tumour_size_cm", "above": 2},
)
"""The seed study's clinical variables, cut in two where it cuts them."""

STUDY_NAME = "Simulated cohorts"
_ID_COLUMN = "Patient ID"
_STUDY_FILE = "study.toml"
_TRUTH_FILE = "truth.csv"


def write_demo(folder: Path, seed: int, design: Design = SEED_DESIGN, *, published: bool = False) -> Path:
    """Simulate a study and write it as files: CIBERSORTx tables, clinical tables, truth and study file.

    Parameters
    ----------
    folder
        Where to write; made if missing. Files of the same names are replaced.
    seed
        Seed of the simulation, and of the analysis that the study file asks for.
    design
        What to simulate.
    published
        Whether the study file asks for published results beside the simulated ones.

    Returns
    -------
    Path
        The ``study.toml`` to run. It is removed first and written last, so where it stands the files beside
        it are complete and belong to it. All paths in it are relative to its folder.
    """
    simulated = simulate_cohorts(np.random.default_rng(seed), design)
    return write_study(folder, simulated, seed, published=published)


def write_study(folder: Path, simulated: Simulated, seed: int, *, published: bool = False) -> Path:
    """Write cohorts that are simulated already; see `write_demo`.

    Parameters
    ----------
    folder
        Where to write; made if missing.
    simulated
        Cohorts and truth.
    seed
        Seed that the study file gives to the analysis.
    published
        As in `write_demo`.

    Returns
    -------
    Path
        The study file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    study_path = folder / _STUDY_FILE
    study_path.unlink(missing_ok=True)
    for cohort in simulated.cohorts:
        write_text(folder / _cibersort_file(cohort), _cibersort_table(cohort).to_csv(sep="\t", index=False))
        write_text(folder / _clinical_file(cohort), _clinical_table(cohort).to_csv(index=False))
    write_text(folder / _TRUTH_FILE, simulated.truth.to_csv(index=False))
    write_text(study_path, study_text(simulated.cohorts, seed, published=published))
    return study_path


def study_text(cohorts: tuple[CohortTable, ...], seed: int, *, published: bool = False) -> str:
    """Return the text of the study file that reads the cohorts back."""
    first = cohorts[0]
    lines = [
        "# Simulated cohorts with planted effects (truth.csv). They are evidence about the software,",
        "# not about tumours.",
        "",
        "[study]",
        f"name = {_quoted(STUDY_NAME)}",
        'description = "Simulated tumours in cohorts shaped like those of Pizzamiglio et al. 2025 '
        '(doi 10.1038/s41523-025-00867-z); every effect is planted and known."',
        f"seed = {seed}",
        "simulated = true",
        f"truth = {_quoted(_TRUTH_FILE)}",
        "",
        "[her2]",
        'measure = "her2"',
        'label = "simulated HER2 score (20-gene like)"',
        "",
        "[abundance]",
        f"scale = {_quoted(first.scale)}",
    ]
    cell_types = tuple(str(name) for name in first.abundance.columns)
    if cell_types != LM22_CELL_TYPES:
        lines.append(f"cell_types = [{', '.join(_quoted(name) for name in cell_types)}]")
    lines += [
        "",
        "[rank_correlation]",
        'measures = [{ field = "erbb2", label = "ERBB2" }, { field = "esr1", label = "ESR1" }]',
        'infiltrate = { field = "total_til", label = "total TIL score" }',
        "",
        "[clinical]",
        "outcomes = [",
        *(
            f"    {{ {', '.join(f'{key} = {_quoted(value)}' for key, value in one.items())} }},"
            for one in CLINICAL_OUTCOMES
        ),
        "]",
        "",
        *(["[published]", "claims = true", "evidence = true", "response = true", ""] if published else []),
        "[sampling]",
        "tune = 500",
        "draws = 1000",
        "target_accept = 0.85",
        "",
        "[sampling.abundance]",
        "draws = 2000",
        "",
        "[sampling.clinical]",
        "target_accept = 0.8",
        "",
        "[sampling.high_abundance]",
        "draws = 1300",
        "",
        "[sampling.marginal_effect]",
        "draws = 1500",
        "",
        "[sampling.rank_correlation]",
        "draws = 1800",
        "target_accept = 0.7",
        "",
        "[[exclude]]",
        'field = "sex"',
        'keep = ["female"]',
        'reason = "not recorded as female"',
        "",
        "[[exclude]]",
        'field = "stage"',
        'drop = ["IV"]',
        'reason = "stage IV"',
    ]
    for cohort in cohorts:
        lines += [
            "",
            "[[cohort]]",
            f"name = {_quoted(cohort.name)}",
            f"platform = {_quoted(cohort.platform)}",
            "",
            "[cohort.cibersort]",
            f"files = [{_quoted(_cibersort_file(cohort))}]",
            "",
            "[cohort.clinical]",
            f"file = {_quoted(_clinical_file(cohort))}",
            f"ids = {{ column = {_quoted(_ID_COLUMN)} }}",
            "",
            "[cohort.clinical.fields]",
            *(f"{field} = {_quoted(column)}" for field, column in CLINICAL_COLUMNS.items()),
        ]
    return "\n".join(lines) + "\n"


def _cibersort_table(cohort: CohortTable) -> pd.DataFrame:
    """As the web tool writes it: Mixture, cell types, quality, and in absolute mode the sum of the row."""
    quality = cohort.quality.rename(
        columns={"p_value": "P-value", "correlation": "Correlation", "rmse": "RMSE"}
    )
    table = pd.concat([cohort.abundance, quality[["P-value", "Correlation", "RMSE"]]], axis=1)
    if cohort.scale == "absolute":
        table["Absolute score (sig.score)"] = cohort.abundance.sum(axis=1)
    return table.rename_axis(index="Mixture").reset_index()


def _clinical_table(cohort: CohortTable) -> pd.DataFrame:
    return (
        cohort.tumours[list(CLINICAL_COLUMNS)]
        .rename(columns=CLINICAL_COLUMNS)
        .rename_axis(index=_ID_COLUMN)
        .reset_index()
    )


def _cibersort_file(cohort: CohortTable) -> str:
    return f"{_stem(cohort.name)}_cibersortx_{cohort.scale}.tsv"


def _clinical_file(cohort: CohortTable) -> str:
    return f"{_stem(cohort.name)}_clinical.csv"


def _stem(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _quoted(value: object) -> str:
    """Write a text, number or list as TOML does; JSON escapes are TOML escapes."""
    return json.dumps(value, ensure_ascii=False)
