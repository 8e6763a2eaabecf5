"""The twin of the abundance model: estimands, scopes, pooling, labels and invariances."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit

from bayes_her2.data import DIFFERENCE, STRATA
from bayes_her2.estimates import HR_COMPARISONS
from bayes_her2.frequentist import abundance_twin
from bayes_her2.frequentist.abundance import COHORT_FIXED, UNITS
from bayes_her2.frequentist.design import design_matrix
from bayes_her2.frequentist.effects import stratum_designs
from bayes_her2.frequentist.pooling import COMMON_EFFECT, RANDOM_EFFECTS, SINGLE_COHORT, random_effects
from bayes_her2.frequentist.regression import gamma_regression, logistic_regression

NUMBERS = ["point", "lower", "upper", "p_value", "p_adjusted"]
LABELS = ["method", "outcome", "estimand", "stratum", "scope", "cohort"]
ALL_STRATA = (*STRATA, DIFFERENCE)

PLANTED = {
    "A": {"HR+": (0.5, 0.3), "HR-": (-0.5, -0.3)},
    "B": {"HR+": (0.0, 0.1), "HR-": (0.4, 0.0)},
    "C": {"HR+": (-0.4, -0.2), "HR-": (0.1, 0.4)},
}
THREE = {
    ("K1", "HR+"): 150,
    ("K1", "HR-"): 80,
    ("K2", "HR+"): 120,
    ("K2", "HR-"): 90,
    ("K3", "HR+"): 140,
    ("K3", "HR-"): 70,
}


def _row(table: pd.DataFrame, **equal: str) -> pd.Series:
    for column, value in equal.items():
        table = table[table[column] == value]
    assert len(table) == 1, f"{len(table)} rows for {equal}"
    return table.squeeze(axis=0)


def _same(left: pd.DataFrame, right: pd.DataFrame, *, rel: float = 1e-6) -> None:
    left, right = (t.set_index(LABELS).sort_index() for t in (left, right))
    assert left.index.equals(right.index)
    assert left["status"].equals(right["status"])
    pd.testing.assert_frame_equal(left[[*NUMBERS, "n", "n_zero"]], right[[*NUMBERS, "n", "n_zero"]], rtol=rel)


@pytest.fixture(scope="module")
def three_cohorts(simulated):
    return simulated(11, THREE, PLANTED)


@pytest.fixture(scope="module")
def three_twin(three_cohorts, make_set) -> pd.DataFrame:
    return abundance_twin(make_set(*three_cohorts)).table


def test_slopes_planted_in_each_cell_type_are_read_back_by_label(simulated, make_set) -> None:
    tumours, abundance = simulated(12, {("K1", "HR+"): 6000, ("K1", "HR-"): 6000}, PLANTED)
    table = abundance_twin(make_set(tumours, abundance[["C", "A", "B"]])).table
    for cell_type, by_stratum in PLANTED.items():
        for position, part in enumerate(("presence", "amount")):
            truth = {s: by_stratum[s][position] for s in STRATA}
            truth[DIFFERENCE] = truth["HR-"] - truth["HR+"]
            for stratum, slope in truth.items():
                row = _row(table, outcome=cell_type, estimand=part, stratum=stratum, scope="cohort")
                assert math.log(row["point"]) == pytest.approx(slope, abs=0.13), (cell_type, part, stratum)


def test_every_combination_has_a_row_and_n_counts_the_tumours_behind_it(three_twin, three_cohorts) -> None:
    tumours, abundance = three_cohorts
    per_cell_type = len(UNITS) * len(ALL_STRATA) * (3 + 1 + 1 + 1)
    slopes = three_twin[~three_twin["estimand"].isin(HR_COMPARISONS)]
    assert len(slopes) == 3 * per_cell_type
    assert len(three_twin) - len(slopes) == 3 * 3 * len(HR_COMPARISONS)
    row = _row(three_twin, outcome="B", estimand="presence", stratum="HR-", scope="cohort", cohort="K2")
    inside = (tumours["cohort"] == "K2") & (tumours["hr"] == "HR-")
    assert (row["n"], row["n_zero"]) == (inside.sum(), (abundance.loc[inside, "B"] == 0).sum())
    both = _row(
        three_twin, outcome="B", estimand="amount", stratum=DIFFERENCE, scope="pooled", method=RANDOM_EFFECTS
    )
    assert (both["n"], both["n_zero"]) == (len(tumours), (abundance["B"] == 0).sum())
    assert set(three_twin["source"]) == {"twin"}
    assert slopes["unit"].equals(slopes["estimand"].map(UNITS).astype("str"))


def test_three_cohorts_are_pooled_by_reml_and_predict_a_new_one(three_twin) -> None:
    for estimand in UNITS:
        own = three_twin[
            (three_twin["outcome"] == "A")
            & (three_twin["estimand"] == estimand)
            & (three_twin["stratum"] == "HR-")
            & (three_twin["scope"] == "cohort")
        ]
        se = np.log(own["upper"] / own["lower"]) / (2 * stats.norm.isf(0.025))
        expected = random_effects(np.log(own["point"]).tolist(), (se**2).tolist())
        labels = {"outcome": "A", "estimand": estimand, "stratum": "HR-"}
        pooled = _row(three_twin, **labels, scope="pooled", method=RANDOM_EFFECTS)
        new = _row(three_twin, **labels, scope="new cohort")
        assert math.log(pooled["lower"]) == pytest.approx(expected.lower, rel=1e-6)
        assert math.log(new["upper"]) == pytest.approx(expected.prediction_upper, rel=1e-6)
        assert pooled["interval_kind"] == "confidence (Hartung-Knapp)"
        assert new["interval_kind"] == "prediction (Hartung-Knapp)"
        assert "cohorts: K1, K2, K3" in pooled["note"]


def test_two_cohorts_give_a_common_effect_and_one_stands_alone(three_cohorts, make_set) -> None:
    tumours, abundance = three_cohorts
    # K2 loses its HR- tumours: as METABRIC, it says nothing about HR- or the interaction
    kept = tumours["cohort"].isin(["K1", "K2"]) & ~((tumours["cohort"] == "K2") & (tumours["hr"] == "HR-"))
    table = abundance_twin(make_set(tumours[kept], abundance[kept])).table
    labels = {"outcome": "A", "estimand": "amount", "scope": "pooled"}
    common = _row(table, **labels, stratum="HR+", method=COMMON_EFFECT)
    own = table[(table["scope"] == "cohort") & (table["outcome"] == "A") & (table["estimand"] == "amount")]
    positive = own[own["stratum"] == "HR+"]
    variance = (np.log(positive["upper"] / positive["lower"]) / (2 * stats.norm.isf(0.025))) ** 2
    expected = (np.log(positive["point"]) / variance).sum() / (1 / variance).sum()
    assert math.log(common["point"]) == pytest.approx(expected, rel=1e-7)
    for stratum in ("HR-", DIFFERENCE):
        single = _row(table, **labels, stratum=stratum, method=SINGLE_COHORT)
        mine = _row(own, stratum=stratum, cohort="K1")
        assert single["point"] == mine["point"]
        assert "left out: K2 (no HR- tumours in K2)" in single["note"]
    absent = _row(own, stratum="HR-", cohort="K2")
    assert (absent["status"], absent["n"]) == ("not estimable", 0)
    new = table[table["scope"] == "new cohort"]
    assert set(new["status"]) == {"not estimable"}
    assert new["note"].str.contains("needs 3 cohorts").all()


def test_delta_method_agrees_with_draws_from_the_sampling_distribution(three_cohorts, make_set) -> None:
    # normal draws of both parts' coefficients, the estimand computed for each: an independent standard error
    tumours, abundance = three_cohorts
    data = make_set(tumours, abundance)
    table = abundance_twin(data).table
    own = tumours[tumours["cohort"] == "K1"]
    y, high = abundance.loc[own.index, "A"], data.high.loc[own.index, "A"]
    design = design_matrix(own, data.covariates.loc[own.index], reference="HR+", use_centre=False)
    presence, amount = logistic_regression(design, y > 0), gamma_regression(design[y > 0], y[y > 0])
    graded = logistic_regression(design, high)
    rng = np.random.default_rng(13)
    draw = {
        name: rng.multivariate_normal(fit.coefficients, fit.covariance, size=20_000)
        for name, fit in {"presence": presence, "amount": amount, "high": graded}.items()
    }
    overall, marginal = {}, {}
    for stratum, (at_h, above) in stratum_designs(design, own["hr"], reference="HR+").items():
        mean = {
            at: (expit(x.to_numpy() @ draw["presence"].T) * np.exp(x.to_numpy() @ draw["amount"].T)).mean(
                axis=0
            )
            for at, x in {"h": at_h, "h+1": above}.items()
        }
        share = {
            at: expit(x.to_numpy() @ draw["high"].T).mean(axis=0)
            for at, x in {"h": at_h, "h+1": above}.items()
        }
        overall[stratum] = np.log(mean["h+1"] / mean["h"])
        odds = {at: p / (1 - p) for at, p in share.items()}
        marginal[stratum] = np.log(odds["h+1"] / odds["h"])
    for estimand, draws in (("overall", overall), ("high_abundance", marginal)):
        draws[DIFFERENCE] = draws["HR-"] - draws["HR+"]
        for stratum, simulated_log_ratio in draws.items():
            row = _row(table, outcome="A", estimand=estimand, stratum=stratum, scope="cohort", cohort="K1")
            se = math.log(row["upper"] / row["lower"]) / (2 * stats.norm.isf(0.025))
            assert se == pytest.approx(simulated_log_ratio.std(), rel=0.05), (estimand, stratum)
            assert math.log(row["point"]) == pytest.approx(np.median(simulated_log_ratio), abs=0.03)


def test_overall_is_the_change_in_the_mean_with_zeros_and_lies_between_its_parts(three_twin) -> None:
    rows = three_twin[(three_twin["scope"] == "cohort") & (three_twin["outcome"] == "A")]
    rows = rows[rows["estimand"].isin(UNITS)]
    log = np.log(rows.pivot(index=["cohort", "stratum"], columns="estimand", values="point"))
    own = log.drop(index=DIFFERENCE, level="stratum")
    # presence acts on E[y] as a ratio of shares, which is nearer 1 than the odds ratio
    assert (np.sign(own["overall"]) == np.sign(own["amount"])).all()
    assert (own["overall"].abs() < (own["presence"] + own["amount"]).abs()).all()


def test_marginal_odds_ratio_is_nearer_one_than_the_conditional(three_twin) -> None:
    rows = three_twin[three_twin["stratum"].isin(STRATA) & (three_twin["scope"] == "cohort")]
    log = np.log(rows.pivot(index=["outcome", "cohort", "stratum"], columns="estimand", values="point")).abs()
    assert (log["high_abundance"] < log["high_abundance_conditional"]).all()


def test_swapping_the_reference_stratum_changes_no_estimate(three_cohorts, make_set, three_twin) -> None:
    _same(three_twin, abundance_twin(make_set(*three_cohorts, reference="HR-")).table, rel=1e-5)


def test_order_of_rows_cohorts_and_cell_types_does_not_matter(three_cohorts, make_set, three_twin) -> None:
    tumours, abundance = three_cohorts
    order = np.random.default_rng(14).permutation(tumours.index)
    shuffled = make_set(tumours.loc[order], abundance.loc[order, ["C", "B", "A"]])
    _same(three_twin, abundance_twin(shuffled).table)


def test_the_caller_s_data_are_not_changed(three_cohorts, make_set) -> None:
    data = make_set(*three_cohorts)
    before = (data.tumours.copy(), data.abundance.copy(), data.fingerprint)
    abundance_twin(data)
    pd.testing.assert_frame_equal(before[0], data.tumours)
    pd.testing.assert_frame_equal(before[1], data.abundance)
    assert before[2] == data.fingerprint


def test_bonferroni_counts_the_estimable_outcomes_of_a_family(three_cohorts, make_set) -> None:
    tumours, abundance = three_cohorts
    never_zero = abundance.assign(D=abundance["A"] + 0.01)
    table = abundance_twin(make_set(tumours, never_zero)).table
    family = table[
        (table["estimand"] == "presence") & (table["stratum"] == "HR+") & (table["scope"] == "cohort")
    ]
    family = family[family["cohort"] == "K1"].set_index("outcome")
    assert family.loc["D", "status"] == "not estimable"
    observed = family.drop(index="D")
    assert (observed["p_adjusted"] == (3 * observed["p_value"]).clip(upper=1.0)).all()


def test_one_family_whatever_the_number_of_cohorts_pooled(simulated, make_set) -> None:
    # cell type B is absent from K2's tumours: its pooled row is a single cohort's, A's a common effect
    tumours, abundance = simulated(
        15,
        {("K1", "HR+"): 150, ("K1", "HR-"): 60, ("K2", "HR+"): 150, ("K2", "HR-"): 60},
        {k: PLANTED[k] for k in ("A", "B")},
    )
    abundance.loc[tumours["cohort"] == "K2", "B"] = 0.0
    table = abundance_twin(make_set(tumours, abundance)).table
    pooled = table[
        (table["scope"] == "pooled") & (table["estimand"] == "amount") & (table["stratum"] == "HR+")
    ]
    main = pooled[pooled["method"] != COHORT_FIXED].set_index("outcome")
    assert main["method"].to_dict() == {"A": COMMON_EFFECT, "B": SINGLE_COHORT}
    assert main.loc["B", "p_adjusted"] == min(1.0, 2 * main.loc["B", "p_value"])
    assert "K2" in main.loc["B", "note"]
    fixed = pooled[pooled["method"] == COHORT_FIXED].set_index("outcome")
    assert main.loc["B", "point"] == pytest.approx(fixed.loc["B", "point"], rel=1e-5)
    assert "no information from K2" in fixed.loc["B", "note"]
    presence = _row(
        table, outcome="B", estimand="presence", stratum="HR-", scope="pooled", method=COHORT_FIXED
    )
    assert (presence["status"], presence["n"]) == ("observed", 60)


def test_cohort_fixed_is_the_common_effect_when_cohorts_agree(simulated, make_set) -> None:
    # common slope with own intercepts, HR terms and dispersions: to first order the inverse-variance mean
    tumours, abundance = simulated(
        16, {(k, s): 1500 for k in ("K1", "K2") for s in STRATA}, {"A": PLANTED["A"]}
    )
    abundance.loc[tumours["cohort"] == "K2", "A"] **= 0.5  # another shape in K2
    table = abundance_twin(make_set(tumours, abundance)).table
    for estimand in ("presence", "amount"):
        for stratum in STRATA:
            rows = table[
                (table["scope"] == "pooled") & (table["estimand"] == estimand) & (table["stratum"] == stratum)
            ].set_index("method")
            width = np.log(rows["upper"] / rows["lower"])
            assert width[COHORT_FIXED] == pytest.approx(width[COMMON_EFFECT], rel=0.03)
            gap = np.log(rows.loc[COHORT_FIXED, "point"] / rows.loc[COMMON_EFFECT, "point"])
            assert abs(gap) < 0.25 * width[COMMON_EFFECT]


def test_presence_is_held_constant_only_under_five_per_cent_zeros(simulated, make_set) -> None:
    tumours, abundance = simulated(
        17, {("K1", "HR+"): 200, ("K1", "HR-"): 100}, {c: PLANTED["A"] for c in ("few", "many")}
    )
    filled = abundance.replace(0.0, 0.04)
    filled.loc[filled.index[:4], "few"] = 0.0
    filled.loc[filled.index[:150], "many"] = 0.0
    data = make_set(tumours, filled)
    # a cell type whose presence the analysis set refuses although zeros abound
    parts = data.parts.assign(
        presence_modelled=False, reason=data.parts["reason"].where(data.parts["reason"] != "", "refused")
    )
    table = abundance_twin(replace(data, parts=parts)).table
    labels = {"stratum": "HR+", "scope": "cohort"}
    few = _row(table, outcome="few", estimand="overall", **labels)
    amount = _row(table, outcome="few", estimand="amount", **labels)
    assert few[["point", "lower", "upper"]].tolist() == amount[["point", "lower", "upper"]].tolist()
    assert "presence held constant in HR+ (2.0 % zeros)" in few["note"]
    many = _row(table, outcome="many", estimand="overall", **labels)
    assert (many["status"], many["note"]) == ("not estimable", "presence: refused")


def test_a_stratum_that_is_not_modelled_does_not_enter_the_regression_of_the_other(
    simulated, make_set
) -> None:
    # with a covariate the strata share a coefficient; 4 zeros among HR- tumours must not move HR+
    tumours, abundance = simulated(
        24, {("K1", "HR+"): 150, ("K1", "HR-"): 60}, {"A": {"HR+": (0.3, 0.2), "HR-": (0.3, 0.2)}}
    )
    negative = tumours["hr"] == "HR-"
    filled = abundance["A"].where((abundance["A"] > 0) | ~negative, 0.03)
    filled.loc[tumours.index[negative][:4]] = 0.0
    age = pd.DataFrame({"age": np.random.default_rng(25).normal(size=len(tumours))}, index=tumours.index)
    both = abundance_twin(make_set(tumours, filled.to_frame(), covariates=age)).table
    own = tumours[~negative], filled[~negative].to_frame()
    alone = abundance_twin(make_set(*own, covariates=age[~negative])).table
    labels = {"estimand": "presence", "scope": "cohort"}
    assert _row(both, **labels, stratum="HR-")["status"] == "not estimable"
    joint, single = (_row(t, **labels, stratum="HR+") for t in (both, alone))
    assert joint[NUMBERS].tolist() == pytest.approx(single[NUMBERS].tolist(), rel=1e-7)


def test_fewer_than_two_events_in_a_stratum_are_not_estimable(simulated, make_set) -> None:
    tumours, abundance = simulated(
        18,
        {("K1", "HR+"): 100, ("K1", "HR-"): 40, ("K2", "HR+"): 100, ("K2", "HR-"): 60},
        {"A": PLANTED["A"]},
    )
    target = tumours.index[(tumours["cohort"] == "K1") & (tumours["hr"] == "HR-")]
    abundance.loc[target, "A"] = 0.0
    abundance.loc[target[:1], "A"] = 0.02
    table = abundance_twin(make_set(tumours, abundance)).table
    row = _row(table, estimand="presence", stratum="HR-", scope="cohort", cohort="K1")
    assert row["status"] == "not estimable"
    assert "1 of 40 HR- tumours in K1 are positive: fewer than 2" in row["note"]
    assert (
        _row(table, estimand="presence", stratum="HR+", scope="cohort", cohort="K1")["status"] == "observed"
    )


def test_centres_enter_as_fixed_terms(simulated, make_set) -> None:
    # centre shifts both HER2 and presence: ignoring it biases the slope, which is 0
    tumours, _ = simulated(19, {("K1", "HR+"): 4000}, {"A": PLANTED["A"]})
    rng = np.random.default_rng(20)
    centre = np.arange(4000) % 2
    tumours["her2_sd"] += 1.5 * centre
    present = rng.uniform(size=4000) < expit(-1.0 + 2.0 * centre)
    tumours["centre"] = pd.Series(centre, index=tumours.index).map({0: "a", 1: "b"})
    abundance = pd.DataFrame({"A": np.where(present, rng.gamma(2.0, 0.05, 4000), 0.0)}, index=tumours.index)
    labels = {"estimand": "presence", "stratum": "HR+", "scope": "cohort"}
    ignoring = _row(abundance_twin(make_set(tumours, abundance)).table, **labels)
    adjusting = _row(abundance_twin(make_set(tumours, abundance, use_centre=True)).table, **labels)
    assert ignoring["lower"] > 1.5
    assert adjusting["lower"] < 1.0 < adjusting["upper"]


def test_a_cohort_with_the_other_stratum_only_informs_that_stratum(simulated, make_set) -> None:
    # K3 has HR- tumours only although HR+ is the reference: its own slope is that of a univariate regression
    sizes = {("K1", "HR+"): 150, ("K1", "HR-"): 100, ("K2", "HR+"): 120, ("K3", "HR-"): 130}
    tumours, abundance = simulated(23, sizes, {"A": PLANTED["A"]})
    table = abundance_twin(make_set(tumours, abundance)).table
    only = tumours["cohort"] == "K3"
    alone = abundance_twin(make_set(tumours[only], abundance[only], reference="HR-")).table
    for estimand in UNITS:
        labels = {"estimand": estimand, "stratum": "HR-", "scope": "cohort", "cohort": "K3"}
        assert _row(table, **labels)["point"] == pytest.approx(_row(alone, **labels)["point"], rel=1e-6)
        absent = _row(table, **(labels | {"stratum": "HR+"}))
        assert absent["note"].endswith("no HR+ tumours in K3")
        fixed = _row(table, estimand=estimand, stratum="HR-", method=COHORT_FIXED)
        assert (fixed["status"], fixed["n"]) == ("observed", 230)
    # one SD more moves the HR- tumours of K3, which have no HR column of their own, by beta + delta
    design = design_matrix(tumours, pd.DataFrame(index=tumours.index), reference="HR+", use_centre=False)
    at_h, above = stratum_designs(design, tumours["hr"], reference="HR+")["HR-"]
    assert np.allclose((above - at_h)[["exposure", "exposure x hr"]], 1.0)


def test_the_interval_level_is_respected(three_cohorts, make_set, three_twin) -> None:
    wider = abundance_twin(make_set(*three_cohorts), interval=0.99).table
    labels = {"outcome": "A", "estimand": "amount", "stratum": "HR+", "scope": "cohort", "cohort": "K1"}
    ratio = math.log(_row(wider, **labels)["upper"] / _row(wider, **labels)["lower"]) / math.log(
        _row(three_twin, **labels)["upper"] / _row(three_twin, **labels)["lower"]
    )
    assert ratio == pytest.approx(stats.norm.isf(0.005) / stats.norm.isf(0.025))
    assert set(wider["interval_prob"]) == {0.99}
