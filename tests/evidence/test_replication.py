"""Sceptical p-value and sceptical Bayes factor against the papers and the authors' own packages."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import norm

from bayes_her2.evidence.replication import (
    replication_bayes_factor,
    sceptical_bayes_factor,
    sceptical_p,
    sceptical_z,
)

TABLE_1 = pd.read_csv(Path(__file__).parent / "reference" / "pawel_held_2022_table_1.csv")
"""Table 1 of Pawel & Held 2022 (doi 10.1111/rssb.12491), 21 pairs of the Social Sciences Replication Project, with all
digits as the tests of the R package BayesRep 0.42.2 hold them. Empty: no level succeeds."""


def test_table_1_has_its_21_pairs():
    assert len(TABLE_1) == 21


@pytest.mark.parametrize("row", TABLE_1.to_dict("records"), ids=lambda row: row["study"])
def test_bayes_factors_of_the_social_sciences_replication_project(row):
    z_original = row["original"] / row["original_se"]
    z_replication = row["replication"] / row["replication_se"]
    c = (row["original_se"] / row["replication_se"]) ** 2
    assert replication_bayes_factor(z_original, z_replication, c) == pytest.approx(
        row["replication_bf"], rel=1e-9
    )
    found = sceptical_bayes_factor(z_original, z_replication, c)
    if math.isnan(row["sceptical_bf"]):
        assert found is None
    else:
        assert found == pytest.approx(
            row["sceptical_bf"], rel=2e-4
        )  # the package stops its root finder at 1.2e-4 in the prior variance


def test_bayes_factors_of_the_example_of_the_package():
    """README of BayesRep: original 0.2 (0.05), replication 0.15 (0.04): 1/20 and 1/521."""
    c = (0.05 / 0.04) ** 2
    found = sceptical_bayes_factor(0.2 / 0.05, 0.15 / 0.04, c)
    assert found is not None
    assert round(1 / found) == 20
    assert round(1 / replication_bayes_factor(0.2 / 0.05, 0.15 / 0.04, c)) == 521


def test_the_level_is_met_with_equality_where_it_is_not_the_originals_least():
    """Definition: at the sceptical Bayes factor, original and replication Bayes factor are equal."""
    z_original, z_replication, c = 3.0, 2.5, 1.3
    found = sceptical_bayes_factor(z_original, z_replication, c)
    assert found is not None
    g = next(
        g
        for g in (i / 1e5 for i in range(1, 900_000))
        if math.sqrt(1 + g) * math.exp(-0.5 * z_original**2 * g / (1 + g)) <= found
    )
    assert replication_bayes_factor(z_original, z_replication, c, g) == pytest.approx(found, rel=1e-3)


# --- sceptical p-value: Held 2020 and the R package ReplicationSuccess 1.3.1 -----------------------------


def test_sceptical_p_of_the_worked_example_of_the_paper():
    """Held 2020, doi 10.1111/rssa.12493: z^2 of 12.19 and 3.99, equal variances, two-sided p_S 0.083."""
    assert 2 * sceptical_p(math.sqrt(12.19), math.sqrt(3.99), 1, "nominal") == pytest.approx(0.083, abs=5e-4)


def test_two_studies_at_the_one_percent_level_reach_five_percent():
    """Held 2020: z of 2.33 in both studies of equal size give one-sided p_S 0.05."""
    assert sceptical_p(2.33, 2.33, 1, "nominal") == pytest.approx(0.05, abs=5e-4)


@pytest.mark.parametrize(
    ("p_original", "p_replication", "c", "kind", "sides", "expected"),
    [
        (0.01, 0.02, 2, "nominal", 1, 0.05790852),
        (0.01, 0.02, 2, "golden", 1, 0.02273138),
        (0.02, 0.01, 0.5, "golden", 1, 0.008786301),
        (0.01, 0.01, 2, "golden", 2, 0.03496702),
    ],
)
def test_sceptical_p_of_the_package(p_original, p_replication, c, kind, sides, expected):
    """Examples of pSceptical() in ReplicationSuccess 1.3.1, with their printed results."""
    z = [float(norm.isf(p / 2)) for p in (p_original, p_replication)]
    assert sides * sceptical_p(z[0], z[1], c, kind) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("z_original", "z_replication", "expected"),
    [(-4, -4, 0.00015), (-2, -4, 0.02363), (2, -4, 0.97637), (-2, -2, 0.03530), (0, 2, 0.5), (4, 4, 0.00015)],
)
def test_sceptical_p_over_signs(z_original, z_replication, expected):
    """Saved output of the package's tests (nominal, one-sided, c = 0.05)."""
    assert sceptical_p(z_original, z_replication, 0.05, "nominal") == pytest.approx(expected, abs=5e-6)


def test_sceptical_z_does_not_care_which_study_comes_first():
    """Example of zSceptical(): z of 2 and 3, c = 2."""
    assert sceptical_z(2, 3, 2) == pytest.approx(1.531634, abs=1e-6)
    assert sceptical_z(3, 2, 2) == pytest.approx(1.531634, abs=1e-6)


def test_sceptical_z_is_continuous_at_equal_variances():
    assert sceptical_z(2.5, 2.0, 1 + 1e-5) == pytest.approx(sceptical_z(2.5, 2.0, 1), rel=1e-5)


def test_without_uncertainty_in_the_original_it_is_the_replications_own_p():
    """Held 2020: for a huge original z the sceptical p-value is the replication's one-sided P."""
    assert sceptical_p(1e6, 1.7, 1, "nominal") == pytest.approx(float(norm.sf(1.7)), rel=1e-6)
