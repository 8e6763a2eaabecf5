"""The HER2 measure by IHC level: planted shapes, tests against scipy, and levels that are too small."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bayes_her2.frequentist import her2_by_ihc
from bayes_her2.frequentist.her2_by_ihc import SHAPES, shape_of


@pytest.mark.parametrize(
    ("medians", "shape"),
    [
        ((1, 2, 3), "rising"),
        ((1, 2, 2), "rising"),
        ((3, 2, 1), "falling"),
        ((1, 3, 2), "peak"),
        ((1, 3, 4, 2), "peak"),
        ((3, 1, 2), "trough"),
        ((1, 3, 2, 4), "mixed"),
        ((2, 2, 2), "flat"),
        ((1, 2), "rising"),
    ],
)
def test_shape_is_read_off_the_medians(medians, shape) -> None:
    assert shape_of(medians) == shape
    assert shape in SHAPES


@pytest.fixture
def by_level(make_set) -> Callable[..., pd.DataFrame]:
    """Table of one cohort whose measure has the locations given, 40 tumours in each level and stratum."""

    def make(locations: dict[str, float], n: int = 40, **extra: int) -> pd.DataFrame:
        rng = np.random.default_rng(9)
        rows = [
            ("K1", hr, level, mean + rng.normal())
            for hr in ("HR+", "HR-")
            for level, mean in locations.items()
            for _ in range(extra.get(f"n_{level[0]}", n))
        ]
        tumours = pd.DataFrame(rows, columns=["cohort", "hr", "her2_ihc", "her2_sd"])
        tumours.index = pd.Index([f"K1/{i}" for i in range(len(tumours))])
        abundance = pd.DataFrame({"A": rng.gamma(2.0, 1.0, len(tumours))}, index=tumours.index)
        return her2_by_ihc(make_set(tumours, abundance))

    return make


def test_a_planted_bell_is_found_with_its_numbers(by_level) -> None:
    table = by_level({"0": 0.0, "1+": 2.0, "2+": 0.5})
    own = table[table["stratum"] == "all"]
    verdict = own[own["row"] == "verdict"].iloc[0]
    assert (verdict["shape"], verdict["level"]) == ("peak", "1+")
    assert "highest in 1+" in verdict["text"]
    assert "1+ above 0" in verdict["text"]
    assert "2+ below 1+" in verdict["text"]
    assert "no level 3+" in verdict["text"]
    assert "not told apart" not in verdict["text"]
    levels = own[own["row"] == "level"]
    assert levels["n"].tolist() == [80, 80, 80]
    for low, high in pairwise(["lowest", "q1", "median", "q3", "highest"]):
        assert (levels[low] <= levels[high]).all()
    assert set(table["stratum"]) == {"HR+", "HR-", "all"}


def test_a_peak_within_error_says_from_which_level_it_is_not_told_apart(by_level) -> None:
    table = by_level({"0": 0.0, "1+": 2.0, "2+": 1.95})
    text = table[(table["stratum"] == "all") & (table["row"] == "verdict")]["text"].item()
    top, other = ("1+", "2+") if "highest in 1+" in text else ("2+", "1+")
    assert f"highest in {top}" in text
    assert f"is not told apart from {other}, so this is not shown" in text


def test_tests_are_those_of_scipy_with_bonferroni_over_the_pairs(make_set) -> None:
    rng = np.random.default_rng(2)
    tumours = pd.DataFrame(
        {
            "cohort": "K1",
            "hr": "HR+",
            "her2_ihc": np.repeat(["0", "1+", "2+"], [20, 30, 25]),
            "her2_sd": rng.normal(size=75) + np.repeat([0.0, 0.4, 0.8], [20, 30, 25]),
        },
        index=[f"K1/{i}" for i in range(75)],
    )
    table = her2_by_ihc(make_set(tumours, pd.DataFrame({"A": rng.gamma(2.0, 1.0, 75)}, index=tumours.index)))
    table = table[table["stratum"] == "all"]
    groups = {level: own["her2_sd"] for level, own in tumours.groupby("her2_ihc")}
    kruskal = table[table["row"] == "all levels"]["p_value"].item()
    assert kruskal == pytest.approx(stats.kruskal(*groups.values()).pvalue)
    pairs = table[table["row"] == "pair"]
    for _, pair in pairs.iterrows():
        found = stats.mannwhitneyu(groups[pair["level"]], groups[pair["other_level"]])
        assert pair["p_value"] == pytest.approx(found.pvalue)
        assert pair["p_adjusted"] == pytest.approx(min(1.0, 3 * found.pvalue))
        assert pair["point"] == pytest.approx(found.statistic / pair_size(groups, pair))
        assert pair["lower"] < pair["point"] < pair["upper"]


def pair_size(groups, pair) -> int:
    return len(groups[pair["level"]]) * len(groups[pair["other_level"]])


def test_a_level_with_two_tumours_is_described_and_not_tested(by_level) -> None:
    table = by_level({"0": 0.0, "1+": 1.0, "2+": 0.5}, n_2=1)
    own = table[table["stratum"] == "HR+"]
    assert own.loc[own["row"] == "level", "n"].tolist() == [40, 40, 1]
    assert own.loc[own["row"] == "pair", ["level", "other_level"]].to_numpy().tolist() == [["1+", "0"]]
    assert np.isnan(own.loc[(own["row"] == "level") & (own["level"] == "2+"), "sd"].item())


def test_one_level_has_no_verdict_and_no_levels_no_table(by_level, make_set) -> None:
    table = by_level({"0": 0.0})
    assert set(table["row"]) == {"level", "not recorded"}
    tumours = pd.DataFrame(
        {"cohort": "K1", "hr": "HR+", "her2_sd": [0.1, 0.2, 0.3]}, index=["K1/1", "K1/2", "K1/3"]
    ).assign(her2_ihc=pd.Series(pd.NA, index=["K1/1", "K1/2", "K1/3"], dtype="str"))
    abundance = pd.DataFrame({"A": [0.1, 0.2, 0.3]}, index=tumours.index)
    assert her2_by_ihc(make_set(tumours, abundance, min_part=1)) is None


def test_groups_that_do_not_overlap_have_a_point_and_say_why_there_is_no_interval(make_set) -> None:
    tumours = pd.DataFrame(
        {"cohort": "K1", "hr": "HR+", "her2_ihc": ["0"] * 4 + ["1+"] * 4, "her2_sd": np.arange(8.0)},
        index=[f"K1/{i}" for i in range(8)],
    )
    abundance = pd.DataFrame({"A": np.linspace(0.1, 0.2, 8)}, index=tumours.index)
    table = her2_by_ihc(make_set(tumours, abundance, min_part=1))
    text = table[table["row"] == "verdict"]["text"].iloc[0]
    # Wilcoxon, 4 against 4 without overlap: U = 16, exact P = 2 / 70, one pair
    assert "P(1+ > 0) = 1.00 (the two groups do not overlap: no interval; adjusted P = 0.029)" in text


def test_levels_are_told_apart_by_the_adjusted_p_and_not_by_their_interval(make_set) -> None:
    rng = np.random.default_rng(4)
    values = {"0": rng.normal(0, 1, 40), "1+": rng.normal(0, 1, 40), "2+": rng.normal(0, 1, 40)}
    # 1+ is moved until the pair's interval excludes 0.5 while three times its P does not reach 0.05
    for shift in np.arange(0.0, 1.5, 0.01):
        p = stats.mannwhitneyu(values["1+"] + shift, values["0"]).pvalue
        if values["1+"].mean() + shift > values["0"].mean() and 0.02 < p < 0.035:
            break
    tumours = pd.DataFrame(
        {
            "cohort": "K1",
            "hr": "HR+",
            "her2_ihc": np.repeat(["0", "1+", "2+"], 40),
            "her2_sd": np.concatenate(
                [values["0"], values["1+"] + shift, (values["0"] + values["1+"] + shift) / 2]
            ),
        },
        index=[f"K1/{i}" for i in range(120)],
    )
    table = her2_by_ihc(make_set(tumours, pd.DataFrame({"A": rng.gamma(2.0, 1.0, 120)}, index=tumours.index)))
    own = table[table["stratum"] == "all"]
    pair = own[(own["row"] == "pair") & (own["level"] == "1+") & (own["other_level"] == "0")].iloc[0]
    assert pair["lower"] > 0.5
    assert pair["p_adjusted"] > 0.05
    text = own[own["row"] == "verdict"]["text"].item()
    assert "1+ above 0" not in text
    assert f"adjusted P = {pair['p_adjusted']:.2g}" in text
