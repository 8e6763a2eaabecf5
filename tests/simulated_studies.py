"""Small simulated studies for tests that sample: few tumours, few cell types, known effects."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from bayes_her2.simulation import SEED_DESIGN, CellTypeDesign, Design, simulate_cohorts
from bayes_her2.simulation.cohorts import Simulated
from bayes_her2.simulation.demo import write_study

CELL_TYPES = (
    CellTypeDesign("Plasma cells", 0.30, -2.5, 1.5, presence_slope=0.5, amount_slope=0.25),
    CellTypeDesign("T cells CD8", 0.0, -2.0, 3.0, amount_slope=-0.25, amount_hr=0.3),
    CellTypeDesign("Mast cells resting", 0.40, -3.0, 1.2, presence_slope=-0.5, presence_interaction=0.8),
    CellTypeDesign("Neutrophils", 0.55, -4.0, 1.0, amount_interaction=-0.3),
)
"""Four cell types whose planted slopes differ in sign, part and stratum, so that a swapped label shows."""


ALONE = ("--at-once", "1")
"""For a command whose processes are not what a test is about: one takes longer to start than its share of a small study
takes."""


def small_design(n_cohorts: int = 2) -> Design:
    """One to three cohorts of 160 tumours, a quarter of them HR-."""
    cohorts = tuple(
        replace(cohort, n_hr_positive=120, n_hr_negative=40, zero_share={})
        for cohort in SEED_DESIGN.cohorts[:n_cohorts]
    )
    return replace(SEED_DESIGN, cohorts=cohorts, cell_types=CELL_TYPES)


def small_study(seed: int = 7, n_cohorts: int = 2) -> Simulated:
    """Cohorts and truth of a small design."""
    return simulate_cohorts(np.random.default_rng(seed), small_design(n_cohorts))


def write_small_study(folder: Path, simulated: Simulated, seed: int, *, published: bool = False) -> Path:
    """Write a small study, sampled with half of the demo's draws of the main model: of four cell types they do."""
    path = write_study(folder, simulated, seed, published=published)
    text = path.read_text(encoding="utf-8")
    block = "[sampling.abundance]\ndraws = 2000\n"
    assert block in text
    path.write_text(text.replace(block, "[sampling.abundance]\ndraws = 1000\n"), encoding="utf-8")
    return path


def with_few_draws(study: Path) -> Path:
    """Write `short.toml` beside a study: the same with so few draws that no model passes the gate."""
    text = study.read_text(encoding="utf-8")
    text = re.sub(r"^draws = \d+$", "draws = 40", text, flags=re.MULTILINE)
    text = re.sub(r"^tune = \d+$", "chains = 2\ntune = 60", text, count=1, flags=re.MULTILINE)
    path = study.with_name("short.toml")
    path.write_text(text, encoding="utf-8")
    return path
