"""TCGA-BRCA: three indicators of HER2, how they go together, and that they disagree on the immune cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayes_her2.bayesian.measurement import indicators
from bayes_her2.bayesian.measurement_checks import indicator_agreement
from bayes_her2.data import AnalysisSet
from bayes_her2.errors import DataError
from bayes_her2.inputs import read_cohorts, read_study
from bayes_her2.preprocessing import prepare

pytestmark = pytest.mark.real_data

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture(scope="module")
def tcga(real_data: Path) -> AnalysisSet:
    study = read_study(STUDIES / "tcga_brca.toml")
    return prepare(read_cohorts(study), study).for_model("her2_measurement")


@pytest.fixture(scope="module")
def deviations(tcga: AnalysisSet) -> pd.DataFrame:
    return tcga.measures - tcga.measures.groupby(tcga.tumours["hr"]).transform("mean")


def test_737_tumours_have_mrna_590_protein_and_438_a_level(tcga):
    seen = indicators(tcga)
    assert seen.recorded.sum(axis=0).tolist() == [737, 590]
    assert len(seen.read) == 438
    assert seen.groups == ("TCGA-BRCA, HR+", "TCGA-BRCA, HR-")


def test_within_strata_mrna_and_protein_correlate_by_0_4_and_both_rise_with_the_level(tcga, deviations):
    """So reliabilities cannot both be high, and a rising picture of the latent is no false one over 0, 1+ and 2+."""
    mrna, protein = (deviations[c] for c in deviations)
    assert mrna.corr(protein) == pytest.approx(0.42, abs=0.01)
    for measure in (mrna, protein):
        by_level = measure.groupby([tcga.tumours["hr"], tcga.tumours["her2_ihc"]]).mean().unstack()
        assert (np.diff(by_level[["0", "1+", "2+"]].to_numpy(), axis=1) > 0).all()


def test_mrna_and_protein_imply_other_slopes_of_her2_for_most_cell_types(tcga):
    """At the reliabilities of the posterior (0.61, 0.29), and at others: the sign of CD8 differs whatever they are."""
    for reliability in ((0.61, 0.29), (0.85, 0.25), (0.4, 0.45)):
        coords = {"chain": [0], "draw": [0], "measure": list(tcga.measures.columns)}
        dims = ("chain", "draw", "measure")
        posterior = xr.Dataset(
            {"sd": (dims, np.ones((1, 1, 2))), "reliability": (dims, np.array(reliability)[None, None])},
            coords=coords,
        )
        table = indicator_agreement(posterior, tcga).set_index("cell_type")
        assert (table["z"].abs() > 1.96).sum() >= 11  # of 22, where chance gives 1
        assert table.loc["T cells CD8", "implied"] > 0 > table.loc["T cells CD8", "other_implied"]
        assert table.loc["T cells CD8", "z"] > 3.5


def test_metabric_has_mrna_alone_and_is_refused_with_the_remedy(real_data):
    study = read_study(STUDIES / "tcga_metabric.toml")
    tumours = prepare(read_cohorts(study), study)
    with pytest.raises(DataError, match=r"METABRIC: .* is the only indicator of HER2") as error:
        tumours.for_model("her2_measurement")
    assert "[her2_measurement] cohorts" in str(error.value)
