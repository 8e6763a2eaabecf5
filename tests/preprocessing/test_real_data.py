"""The public cohorts from the shipped study files to the analysis set.

Counts are those of the data's README (hand-made join, made without this package); `her2_negative` and
`hr` are compared with that join tumour by tumour.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayes_her2.data import AnalysisSet, CohortTable, ModelChoices
from bayes_her2.errors import DataError
from bayes_her2.inputs import read_cohorts, read_study
from bayes_her2.preprocessing import prepare
from bayes_her2.preprocessing.receptors import her2_status, hr_status

pytestmark = pytest.mark.real_data

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture(scope="module")
def read(real_data: Path) -> dict[str, tuple[tuple[CohortTable, ...], AnalysisSet]]:
    def one(name: str) -> tuple[tuple[CohortTable, ...], AnalysisSet]:
        study = read_study(STUDIES / f"{name}.toml")
        cohorts = read_cohorts(study)
        return cohorts, prepare(cohorts, study).for_model("abundance")

    return {name: one(name) for name in ("tcga_brca", "tcga_metabric")}


def sizes(data: AnalysisSet) -> dict[tuple[str, str], int]:
    return data.tumours.groupby(["cohort", "hr"]).size().to_dict()


def test_tcga_has_737_tumours_of_which_438_with_an_ihc_level(read):
    data = read["tcga_brca"][1]
    assert sizes(data) == {("TCGA-BRCA", "HR+"): 581, ("TCGA-BRCA", "HR-"): 156}
    assert int(data.tumours["her2_ihc"].notna().sum()) == 438
    assert set(data.tumours["her2_class"]) == {"0", "low", "unknown"}
    # The specification's range for TCGA-BRCA, by selection of tumours.
    assert 0.79 < data.her2_scaling.loc["RNA-seq", "sd"] < 0.87


def test_with_metabric_there_are_1849_tumours(read):
    data = read["tcga_metabric"][1]
    assert sizes(data) == {
        ("METABRIC", "HR+"): 1112,
        ("TCGA-BRCA", "HR+"): 581,
        ("TCGA-BRCA", "HR-"): 156,
    }
    assert len(data.tumours) == 1849
    assert data.reference == "HR+"
    assert any("informed by TCGA-BRCA alone" in notice for notice in data.notices)
    assert data.her2_scaling.loc["microarray", "sd"] == pytest.approx(0.71, abs=0.005)


def test_metabric_keeps_the_tumours_without_a_stage(read, real_data):
    data = read["tcga_metabric"][1]
    hand = pd.read_csv(real_data / "metabric" / "tidy.csv", dtype=str).set_index("patient_id")
    own = data.tumours.index[data.tumours["cohort"] == "METABRIC"]
    stage = hand["stage"].loc[[label.removeprefix("METABRIC/") for label in own]]
    assert int(stage.isna().sum()) == 259
    assert "4.0" not in set(stage.dropna())
    # 1,120 have ERBB2; 8 of those are of stage IV.
    with_erbb2 = hand[hand["expr_ERBB2"].notna()]
    assert (len(with_erbb2), int((with_erbb2["stage"] == "4.0").sum())) == (1120, 8)


@pytest.mark.parametrize(("cohort", "folder"), [("TCGA-BRCA", "tcga_brca"), ("METABRIC", "metabric")])
def test_her2_negative_and_hr_are_those_of_the_join_made_by_hand(read, real_data, cohort, folder):
    table = next(c for c in read["tcga_metabric"][0] if c.name == cohort)
    hand = pd.read_csv(real_data / folder / "tidy.csv", dtype=str).set_index("patient_id")
    hand = hand.loc[table.tumours.index]

    def as_numbers(values: pd.Series, one: str, zero: str) -> np.ndarray:
        return values.map({one: 1.0, zero: 0.0}).to_numpy(float)

    negative = as_numbers(her2_status(table.tumours), "negative", "positive")
    np.testing.assert_array_equal(negative, hand["her2_negative"].astype(float).to_numpy())
    hr = as_numbers(hr_status(table.tumours), "HR+", "HR-")
    np.testing.assert_array_equal(hr, hand["hr"].astype(float).to_numpy())
    assert len(hand) == {"TCGA-BRCA": 1095, "METABRIC": 1172}[cohort]


def test_every_tumour_read_is_analysed_or_excluded_once(read):
    for cohorts, data in read.values():
        excluded = pd.Series(
            [(e.cohort, e.tumour) for e in data.exclusions if e.step not in ("reading", "join")]
        )
        assert excluded.is_unique
        assert sum(len(c.tumours) for c in cohorts) == len(data.tumours) + len(excluded)


def test_macrophages_m2_have_no_zeros_and_cd8_next_to_none(read):
    data = read["tcga_brca"][1]
    assert data.cell_types.loc["Macrophages M2", "n_zero"] == 0
    assert data.cell_types.loc["T cells CD8", "n_zero"] == 4
    assert not data.cell_types.loc[["Macrophages M2", "T cells CD8"], "presence_modelled"].any()


@pytest.mark.parametrize("name", ["tcga_brca", "tcga_metabric"])
def test_the_analysis_of_covariance_takes_the_438_tumours_of_tcga_with_a_level(real_data, name):
    study = read_study(STUDIES / f"{name}.toml")
    data = prepare(read_cohorts(study), study).for_model("marginal_effect")
    assert data.cohorts == ("TCGA-BRCA",)
    assert data.tumours["her2_ihc"].value_counts().to_dict() == {"1+": 244, "2+": 133, "0": 61}
    assert list(data.outcome.columns) == [
        "B cells naive",
        "Plasma cells",
        "T cells CD8",
        "T cells CD4 memory resting",
        "T cells follicular helper",
        "T cells regulatory (Tregs)",
        "Macrophages M1",
        "Macrophages M2",
        "Mast cells resting",
    ]


def test_metabric_is_refused_for_want_of_ihc_levels(real_data):
    study = read_study(STUDIES / "tcga_metabric.toml")
    tumours = replace(prepare(read_cohorts(study), study), settings=ModelChoices())
    with pytest.raises(
        DataError, match=r"marginal_effect, METABRIC: the HER2 IHC level is not recorded in any of its"
    ) as error:
        tumours.for_model("marginal_effect")
    assert '[marginal_effect] cohorts = ["TCGA-BRCA"]' in str(error.value)
