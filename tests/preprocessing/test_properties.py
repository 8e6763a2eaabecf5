"""Preprocessing, whatever the tumours: none from nowhere, none lost in silence, and order never matters."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bayes_her2.data import AnalysisSet, TumourData
from bayes_her2.errors import BayesHer2Error
from bayes_her2.preprocessing import prepare

from .test_prepare import RULES

CELL_TYPES = ("T cells CD8", "Macrophages M2", "Neutrophils")
RECEPTOR = st.sampled_from(("positive", "negative", None))
TUMOUR = st.fixed_dictionaries(
    {
        "sex": st.sampled_from(("female", "female", "female", "male", None)),
        "stage": st.sampled_from(("I", "II", "IV", None)),
        "er": RECEPTOR,
        "pgr": RECEPTOR,
        "her2_ihc": st.sampled_from(("0", "1+", "2+", "3+", None)),
        "her2_ish": st.sampled_from(("negative", "positive", None)),
        "her2": st.one_of(st.none(), st.floats(-5, 15)),
        "abundance": st.tuples(*[st.one_of(st.just(0.0), st.floats(1e-6, 1.0))] * len(CELL_TYPES)),
    }
)


def larger(seed: int, sizes: list[int]) -> list[list[dict[str, Any]]]:
    """Cohorts large enough for a model, of which Hypothesis would make few."""
    rng = np.random.default_rng(seed)

    def one() -> dict[str, Any]:
        amounts = np.where(
            rng.uniform(size=len(CELL_TYPES)) < 0.4, 0.0, rng.gamma(2.0, 0.1, size=len(CELL_TYPES))
        )
        return {
            "sex": rng.choice(["female", "female", "female", "male"]),
            "stage": rng.choice(["I", "II", "IV"], p=[0.5, 0.4, 0.1]),
            "er": rng.choice(["positive", "negative", None]),
            "pgr": rng.choice(["positive", "negative", None]),
            "her2_ihc": rng.choice(["0", "1+", "2+", "3+", None], p=[0.4, 0.3, 0.1, 0.1, 0.1]),
            "her2_ish": rng.choice(["negative", None]),
            "her2": float(rng.normal()) if rng.uniform() < 0.95 else None,
            "abundance": tuple(amounts),
        }

    return [[one() for _ in range(n)] for n in sizes]


COHORTS = st.one_of(
    st.lists(st.lists(TUMOUR, min_size=1, max_size=14), min_size=1, max_size=3),
    st.builds(larger, st.integers(0, 2**16), st.lists(st.integers(40, 80), min_size=1, max_size=3)),
)
MANY = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def tables_of(cohorts: list[list[dict[str, Any]]], table_of: Any, order: Any = None) -> list[Any]:
    """Cohort tables; `order` is a random generator that mixes rows, or None."""
    made = []
    for k, tumours in enumerate(cohorts):
        names = [f"T{i}" for i in range(len(tumours))]
        frame = pd.DataFrame(tumours, index=pd.Index(names, name="tumour")).drop(columns="abundance")
        text = [c for c in frame.columns if c != "her2"]
        frame = frame.astype(dict.fromkeys(text, "str")).astype({"her2": float})
        abundance = pd.DataFrame(
            [t["abundance"] for t in tumours], index=frame.index, columns=list(CELL_TYPES)
        )
        if order is not None:
            rows = order.permutation(len(frame))
            frame, abundance = frame.iloc[rows], abundance.iloc[rows]
        made.append(table_of("ABC"[k], frame, abundance))
    return made


def kept_and_lost(data: TumourData | AnalysisSet) -> Counter[str]:
    lost = [f"{e.cohort}/{e.tumour}" for e in data.exclusions]
    return Counter([*map(str, data.tumours.index), *lost])


@MANY
@given(cohorts=COHORTS)
def test_every_tumour_is_analysed_or_named_with_a_reason_once(cohorts, study_of, table_of):
    everyone = Counter(f"{'ABC'[k]}/T{i}" for k, tumours in enumerate(cohorts) for i in range(len(tumours)))
    try:
        data = prepare(tables_of(cohorts, table_of), study_of(RULES))
    except BayesHer2Error:
        return
    assert kept_and_lost(data) == everyone
    assert all(e.reason and e.step for e in data.exclusions)
    assert list(data.abundance.index) == list(data.tumours.index)
    for model in ("abundance", "high_abundance", "rank_correlation", "marginal_effect"):
        try:
            own = data.for_model(model)
        except BayesHer2Error:
            continue
        assert kept_and_lost(own) == everyone
        assert own.counts.groupby("cell_type")["n"].sum().eq(len(own.tumours)).all()


@MANY
@given(cohorts=COHORTS, seed=st.integers(0, 2**16))
def test_the_order_of_rows_and_cohorts_never_matters(cohorts, seed, study_of, table_of):
    rng = np.random.default_rng(seed)
    study = study_of(RULES)
    tables = tables_of(cohorts, table_of)
    other = tables_of(cohorts, table_of, order=rng)
    other = [other[i] for i in rng.permutation(len(other))]
    found = []
    for one in (tables, other):
        try:
            found.append(prepare(one, study))
        except BayesHer2Error as error:
            found.append(error)
    assert type(found[0]) is type(found[1])
    if isinstance(found[0], BayesHer2Error):
        return
    first, second = found
    pd.testing.assert_frame_equal(first.tumours, second.tumours.loc[first.tumours.index])
    pd.testing.assert_frame_equal(first.abundance, second.abundance.loc[first.abundance.index])
    assert Counter(first.exclusions) == Counter(second.exclusions)
    for model in ("abundance", "high_abundance"):
        sets = []
        for data in (first, second):
            try:
                sets.append(data.for_model(model))
            except BayesHer2Error:
                sets.append(None)
        assert (sets[0] is None) == (sets[1] is None)
        if sets[0] is not None:
            a, b = sets
            assert a.fingerprint == b.fingerprint
            pd.testing.assert_series_equal(a.tumours["her2_sd"], b.tumours["her2_sd"].loc[a.tumours.index])


@MANY
@given(cohorts=COHORTS)
def test_preparing_what_is_left_again_leaves_nothing_out(cohorts, study_of, table_of):
    study = study_of(RULES)
    try:
        data = prepare(tables_of(cohorts, table_of), study)
    except BayesHer2Error:
        return
    kept = {str(t) for t in data.tumours.index}
    rest = [
        [t for i, t in enumerate(tumours) if f"{'ABC'[k]}/T{i}" in kept] for k, tumours in enumerate(cohorts)
    ]
    again = prepare(tables_of(rest, table_of), study)
    assert again.exclusions == ()
    assert len(again.tumours) == len(data.tumours)
    pd.testing.assert_frame_equal(again.tumours.reset_index(drop=True), data.tumours.reset_index(drop=True))


def test_what_is_generated_is_large_enough_for_a_model(study_of, table_of):
    """Properties of data sets that are all refused would say nothing."""
    sets = []
    for seed in range(10):
        data = prepare(tables_of(larger(seed, [40, 60]), table_of), study_of(RULES))
        with suppress(BayesHer2Error):
            sets.append(len(data.for_model("abundance").tumours))
    assert len(sets) >= 5
    assert min(sets) >= 20
