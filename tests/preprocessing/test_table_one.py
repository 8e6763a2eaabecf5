"""Table 1: counts of known tumours, the seed study's printed counts, and the public cohorts' known sizes."""

from __future__ import annotations

import pandas as pd
import pytest

from bayes_her2.preprocessing import table_one
from bayes_her2.simulation.demo import write_demo
from bayes_her2.workflow.check import check_study


def table_of_study(path, model: str = "abundance") -> pd.DataFrame:
    checked = check_study(path, only=(model,))
    own = checked.prepared
    return table_one(own.cohorts, own.tumours.tumours.loc[own.data.tumours.index])


def count(table: pd.DataFrame, cohort: str, variable: str, level: str) -> int:
    rows = table[(table["cohort"] == cohort) & (table["variable"] == variable) & (table["level"] == level)]
    return int(rows["n"].item())


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> pd.DataFrame:
    return table_of_study(write_demo(tmp_path_factory.mktemp("demo"), 3))


@pytest.mark.parametrize(
    ("cohort", "variable", "counts"),
    [
        # Pizzamiglio 2025, Table 1
        ("discovery", "her2_ihc", {"0": 32, "1+": 60, "2+": 12}),
        ("discovery", "hr", {"HR+": 82, "HR-": 22}),
        ("discovery", "grade", {"II": 68, "III": 36}),
        ("discovery", "tumour size", {"<= 2 cm": 14, "> 2 to 5 cm": 86, "> 5 cm": 3, "missing": 1}),
        ("confirmatory", "her2_ihc", {"0": 25, "1+": 26, "2+": 30}),
        ("confirmatory", "hr", {"HR+": 68, "HR-": 13}),
        ("confirmatory", "tumour size", {"<= 2 cm": 39, "> 2 to 5 cm": 38, "> 5 cm": 3, "missing": 1}),
    ],
)
def test_the_demo_has_the_counts_of_the_seed_study(demo, cohort, variable, counts) -> None:
    assert {level: count(demo, cohort, variable, level) for level in counts} == counts


def test_levels_and_missing_add_up_to_the_tumours_and_percentages_to_a_hundred(demo) -> None:
    counted = demo[demo["statistic"].isin(["count", "field not recorded"])]
    categories = counted.groupby("variable").filter(lambda rows: (rows["level"] != "missing").any())
    for (_, cohort), rows in categories.groupby(["variable", "cohort"]):
        assert rows["n"].sum() == {"discovery": 104, "confirmatory": 81, "external": 318}.get(cohort, 503)
        assert rows["percent"].sum() == pytest.approx(100)


def test_age_has_the_simulated_quartiles(demo) -> None:
    # The seed study prints 49 (41 to 55); the simulation is symmetric around the median with the same width.
    row = demo[(demo["cohort"] == "discovery") & (demo["variable"] == "age") & (demo["level"] == "")]
    found = row[["median", "q1", "q3"]].to_numpy()[0]
    assert found == pytest.approx([49, 42, 56], abs=1)


@pytest.fixture
def two(table_of):
    index = pd.Index(["1", "2", "3", "4"], name="tumour")
    first = pd.DataFrame(
        {
            "her2": [1.0, 2.0, 3.0, 4.0],
            "ERBB2": [1.0, 2.0, 3.0, 4.0],
            "age": [40.0, None, 60.0, 70.0],
            "grade": [1.0, 3.0, 3.0, None],
            "pam50": ["LumA", None, "Basal", "LumA"],
            "remark": [f"text {i}" for i in range(4)],
        },
        index=index,
    )
    many = pd.DataFrame({"her2": range(30), "remark": [f"text {i}" for i in range(30)]}, dtype=object)
    many = many.assign(her2=many["her2"].astype(float)).set_axis([f"x{i}" for i in range(30)])
    cohorts = [table_of("A", first), table_of("B", many, platform="array")]
    tumours = pd.concat(
        [pd.DataFrame({"cohort": c.name}, index=[f"{c.name}/{i}" for i in c.tumours.index]) for c in cohorts]
    ).assign(hr="HR+", her2_class="0")
    return cohorts, tumours


def test_missing_values_have_a_row_and_an_absent_field_says_so(two) -> None:
    table = table_one(*two)
    age = table[table["variable"] == "age"].set_index(["cohort", "level"])
    assert age.loc[("A", ""), ["n", "median", "n_missing"]].tolist() == [3, 60, 1]
    assert age.loc[("A", "missing"), ["n", "percent"]].tolist() == [1, 25]
    assert age.loc[("B", "missing"), "statistic"] == "field not recorded"
    assert count(table, "all cohorts", "pam50", "missing") == 31
    assert count(table, "A", "pam50", "LumA") == 2


def test_codes_are_counted_ids_are_not_tabulated_and_nothing_is_there_twice(two) -> None:
    table = table_one(*two)
    assert {count(table, "A", "grade", level) for level in ("3",)} == {2}
    remark = table[table["variable"] == "remark"]
    assert set(remark.loc[remark["level"] != "missing", "statistic"]) == {"not tabulated"}
    assert set(remark["level"]) == {"30 different values", "missing"}
    assert "ERBB2" not in set(table["variable"])


def one_field(table_of, name: str, **values: list) -> pd.DataFrame:
    """Table 1 of cohorts that record one field, each with its own values."""
    cohorts = []
    for cohort, own in values.items():
        index = pd.Index([str(i) for i in range(len(own))], name="tumour")
        fields = {"her2": [float(i) for i in range(len(own))], name: own}
        cohorts.append(table_of(cohort, pd.DataFrame(fields, index=index)))
    tumours = pd.concat(
        [pd.DataFrame({"cohort": c.name}, index=[f"{c.name}/{i}" for i in c.tumours.index]) for c in cohorts]
    ).assign(hr="HR+", her2_class="0")
    return table_one(cohorts, tumours)


def test_a_code_that_is_a_number_here_and_text_there_is_one_level(table_of) -> None:
    table = one_field(table_of, "grade", A=[1.0, 3.0, 3.0, None], B=["3", "2", "not graded"])
    assert {level: count(table, "A", "grade", level) for level in ("1", "3", "missing")} == {
        "1": 1,
        "3": 2,
        "missing": 1,
    }
    assert count(table, "B", "grade", "3") == 1
    assert count(table, "all cohorts", "grade", "3") == 3
    assert set(table.loc[table["variable"] == "grade", "level"]) == {"1", "2", "3", "not graded", "missing"}


def test_text_that_is_not_tabulated_says_how_much_is_missing(table_of) -> None:
    table = one_field(table_of, "remark", A=[f"text {i}" for i in range(25)] + [None] * 5)
    assert count(table, "A", "remark", "25 different values") == 25
    assert count(table, "A", "remark", "missing") == 5


def test_measures_of_different_platforms_are_not_pooled(two) -> None:
    cohorts, tumours = two
    table = table_one(cohorts, tumours)
    assert set(table.loc[table["variable"] == "her2", "cohort"]) == {"A", "B"}


def test_only_analysed_tumours_count(two) -> None:
    cohorts, tumours = two
    table = table_one(cohorts, tumours.drop(index="A/4"))
    assert count(table, "A", "pam50", "LumA") == 1
    only = table_one(cohorts, tumours[tumours["cohort"] == "A"])
    assert set(only["cohort"]) == {"A"}


@pytest.mark.real_data
def test_tcga_has_its_known_sizes(real_data) -> None:
    table = table_of_study("studies/tcga_brca.toml")
    assert count(table, "TCGA-BRCA", "hr", "HR+") == 581
    assert count(table, "TCGA-BRCA", "hr", "HR-") == 156
    assert count(table, "TCGA-BRCA", "her2_ihc", "missing") == 737 - 438
