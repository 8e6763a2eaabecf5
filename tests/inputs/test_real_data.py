"""The public cohorts through the shipped study files, against a join made by hand (tidy.csv).

`tidy.csv` was made without this package; the rules it follows stand in the README of the data.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayes_her2.data import LM22_CELL_TYPES, CohortTable
from bayes_her2.inputs import read_cohorts, read_study

pytestmark = pytest.mark.real_data

STUDIES = Path(__file__).parents[2] / "studies"
SIGNS = {"1.0": "positive", "0.0": "negative"}
STAGES = {
    "Stage I": "I", "Stage IA": "I", "Stage IB": "I", "Stage II": "II", "Stage IIA": "II", "Stage IIB": "II",
    "Stage III": "III", "Stage IIIA": "III", "Stage IIIB": "III", "Stage IIIC": "III", "Stage IV": "IV",
    "1.0": "I", "2.0": "II", "3.0": "III", "4.0": "IV", "0.0": "0",
}  # fmt: skip


@pytest.fixture(scope="module")
def cohorts(real_data: Path) -> dict[str, CohortTable]:
    both = {table.name: table for table in read_cohorts(read_study(STUDIES / "tcga_metabric.toml"))}
    full = read_cohorts(read_study(STUDIES / "tcga_brca.toml"))[0]
    return both | {"TCGA-BRCA, all tables": full}


def tidy(folder: Path, cohort: str) -> pd.DataFrame:
    return pd.read_csv(folder / cohort / "tidy.csv", dtype=str, keep_default_na=False).set_index("patient_id")


def same_tumours(table: CohortTable, hand: pd.DataFrame) -> None:
    assert table.tumours.index.is_unique
    assert set(table.tumours.index) == set(hand.index)


def same_numbers(values: pd.Series, hand: pd.Series, atol: float = 0.0) -> None:
    wanted = pd.to_numeric(hand.replace("", None)).astype(float).reindex(values.index)
    np.testing.assert_allclose(values.to_numpy(float), wanted.to_numpy(float), rtol=1e-12, atol=atol)
    assert values.notna().any()


def same_words(values: pd.Series, hand: pd.Series, meaning: dict[str, str | None]) -> None:
    wanted = hand.reindex(values.index).map(lambda word: meaning.get(word))
    got = values.astype(object).where(values.notna(), None)
    assert list(got) == [None if pd.isna(w) else w for w in wanted]
    assert values.notna().any()


def same_abundances(table: CohortTable, hand: pd.DataFrame) -> None:
    wanted = (
        hand[[c for c in hand.columns if c in mangled()]]
        .rename(columns=mangled())
        .reindex(table.abundance.index)
    )
    assert list(table.abundance.columns) == list(LM22_CELL_TYPES)
    for name in LM22_CELL_TYPES:
        same_numbers(table.abundance[name], wanted[name])
        assert ((table.abundance[name] == 0) == (wanted[name].astype(float) == 0)).all()


def mangled() -> dict[str, str]:
    special = str.maketrans({c: "." for c in " ()-"})
    return {name.translate(special): name for name in LM22_CELL_TYPES}


def test_tcga_is_the_join_made_by_hand(cohorts, real_data):
    table, hand = cohorts["TCGA-BRCA, all tables"], tidy(real_data, "tcga_brca")
    same_tumours(table, hand)
    assert len(hand) == 1095
    same_abundances(table, hand)
    tumours = table.tumours
    same_numbers(tumours["her2"], hand["expr_ERBB2"], atol=5.1e-6)  # the panel has five decimals
    same_numbers(tumours["her2_protein"], hand["rppa_HER2"])
    same_numbers(tumours["leukocyte_fraction"], hand["leukocyte_fraction"])
    same_numbers(tumours["age"], hand["age"])
    same_numbers(table.quality["n_aliquots"], hand["n_aliquots"])
    for ours, theirs in (("p_value", "cib_p"), ("correlation", "cib_cor"), ("rmse", "cib_rmse")):
        same_numbers(table.quality[ours], hand[theirs])
    same_words(tumours["er"], hand["er"], SIGNS)
    same_words(tumours["pgr"], hand["pr"], SIGNS)
    same_words(tumours["her2_ihc"], hand["her2_ihc"], {level: level for level in ("0", "1+", "2+", "3+")})
    call = {"Positive": "positive", "Negative": "negative", "Equivocal": "equivocal"}
    same_words(tumours["her2_call"], hand["her2_ihc_call"], call)
    ish = {"Positive": "amplified", "Negative": "not amplified"}
    same_words(tumours["her2_ish"], hand["her2_ish"], ish)
    same_words(tumours["sex"], hand["sex"], {"FEMALE": "female", "MALE": "male"})
    same_words(tumours["stage"], hand["stage"], STAGES)
    same_words(tumours["neoadjuvant"], hand["neoadjuvant_history"], {"Yes": "yes", "No": "no"})


def test_tcga_leaves_out_normal_tissue_and_metastases(cohorts):
    excluded = cohorts["TCGA-BRCA"].exclusions
    assert {e.step for e in excluded} == {"reading"}
    types = pd.Series([e.tumour[13:15] for e in excluded]).value_counts().to_dict()
    assert types == {"11": 113, "06": 7}


def test_metabric_is_the_join_made_by_hand(cohorts, real_data):
    table, hand = cohorts["METABRIC"], tidy(real_data, "metabric")
    same_tumours(table, hand)
    assert len(hand) == 1172
    same_abundances(table, hand)
    tumours = table.tumours
    same_numbers(tumours["her2"], hand["expr_ERBB2"])
    assert int(tumours["her2"].notna().sum()) == 1120
    for ours, theirs in (("age", "age"), ("grade", "grade"), ("tumour_size_mm", "tumor_size_mm")):
        same_numbers(tumours[ours], hand[theirs])
    same_words(tumours["er"], hand["er"], SIGNS)
    same_words(tumours["pgr"], hand["pr"], SIGNS)
    same_words(tumours["her2_call"], hand["her2_status"], {"Negative": "negative", "Positive": "positive"})
    same_words(tumours["stage"], hand["stage"], STAGES)
    same_words(tumours["centre"], hand["site_cohort"], {f"{k}.0": str(k) for k in range(1, 6)})
    batches = {"PR_high": "PR high", "PR_mid": "PR mid", "PR_low": "PR low"}
    same_words(tumours["batch"], hand["pr_stratum"], batches)
    same_numbers(table.quality["correlation"], hand["cib_cor"])


def test_both_studies_read_the_same_tcga(cohorts):
    one, other = cohorts["TCGA-BRCA"], cohorts["TCGA-BRCA, all tables"]
    pd.testing.assert_frame_equal(one.abundance, other.abundance)
    pd.testing.assert_series_equal(one.tumours["her2"], other.tumours["her2"])


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("tcga_brca_rppa", "her2"),
        ("tcga_brca_leukocyte_covariate", "model"),
        ("tcga_brca_leukocyte_absolute", "abundance"),
    ],
)
def test_variants_change_one_setting(real_data, name, changed):
    base, variant = read_study(STUDIES / "tcga_brca.toml"), read_study(STUDIES / f"{name}.toml")
    differing = {
        key
        for key in type(base).model_fields
        # Measures set beside the HER2 measure follow from it: they belong to one model and change no other.
        if key not in ("name", "description", "rank_correlation", "her2_measurement")
        and getattr(base, key) != getattr(variant, key)
    }
    assert differing == {changed}
    assert variant.decisions_hash == base.decisions_hash
    table = read_cohorts(variant)[0]
    assert len(table.tumours) == 1095
    if name == "tcga_brca_rppa":
        assert int(table.tumours["her2"].notna().sum()) == 884
