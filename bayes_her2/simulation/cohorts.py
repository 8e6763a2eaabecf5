"""Simulate cohorts: clinical margins, HER2 scores, then abundances with planted effects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from bayes_her2.data import HR_NEGATIVE, HR_POSITIVE, CohortTable
from bayes_her2.preprocessing.standardise import standardise_her2
from bayes_her2.simulation.design import GRADES, IHC_LEVELS, SEED_DESIGN, SIZE_CLASSES, CohortDesign, Design
from bayes_her2.simulation.parameters import Parameters, draw_parameters
from bayes_her2.simulation.truth import SimulatedTumours, truth_table

INELIGIBLE = ("HER2 3+", "HR missing", "stage IV", "male")
"""Tumours added so that a demonstration shows its exclusions; one of each, over the cohorts in turn."""

# The HER2 score in units of its spread: bell-shaped over IHC (low at 0 and 3+, highest at 1+ and 2+) as
# published for the 20-gene score (Di Cosimo 2024, doi 10.1038/s41598-024-52148-7); the heights are invented.
_SCORE_BY_IHC = {"0": -0.6, "1+": 0.4, "2+": 0.3, "3+": -0.8}
_SCORE_HR_POSITIVE = 0.4
_SCORE_NOISE_SD = 0.85
_IHC_LIABILITY_HR_POSITIVE = 0.6  # HR- tumours are more often HER2 0
_SIZE_BOUNDS_CM = {"<=2 cm": (0.8, 2.0), "2-5 cm": (2.1, 5.0), ">5 cm": (5.1, 8.0)}
# Measures beside the score, in its units: each is part score, part HR, part noise of its own.
_ERBB2 = {"score": 0.6, "hr_positive": 0.2, "noise": 0.8}
_ESR1 = {"score": 0.3, "hr_positive": 2.0, "noise": 0.9}
_LYMPHOID = ("B cells", "Plasma", "T cells", "NK cells")  # cell types with full weight in the total TIL score
_MYELOID_WEIGHT, _TIL_NOISE_SD = 0.3, 0.3
_AGE_LIMITS_YEARS = (25.0, 92.0)
_QUARTILE_Z = float(stats.norm.ppf(0.75))

_Floats = npt.NDArray[np.float64]
_Bools = npt.NDArray[np.bool_]


class Simulated(NamedTuple):
    """Cohorts as `inputs` returns them, and the truth table of what was planted."""

    cohorts: tuple[CohortTable, ...]
    truth: pd.DataFrame


def simulate_cohorts(
    rng: np.random.Generator, design: Design = SEED_DESIGN, parameters: Parameters | None = None
) -> Simulated:
    """Cohorts with a known truth, in the very form that `bayes_her2.inputs.read_cohorts` returns.

    Presence is Bernoulli and the positive abundances are gamma, independent over cell types given HER2 and
    HR; age, size, grade and stage have no effect of their own. Effects are planted on HER2 standardised by
    preprocessing over the eligible tumours of each platform: planted values are the values of the estimands.

    Parameters
    ----------
    rng
        Source of randomness; the same state gives the same cohorts.
    design
        What to simulate.
    parameters
        Planted values by cohort and cell type; drawn from the design if not given.

    Returns
    -------
    Simulated
        ``cohorts``, and ``truth`` with columns ``outcome``, ``estimand``, ``stratum``, ``scope``,
        ``cohort``, ``truth`` (a ratio; see `bayes_her2.simulation.truth.truth_table`).
    """
    if parameters is None:
        parameters = draw_parameters(rng, design)
    added = _ineligible_by_cohort(design)
    clinical = {c.name: _clinical(rng, c, added[c.name]) for c in design.cohorts}
    eligible = pd.concat(
        [frame[frame["ineligible"] == ""] for frame in clinical.values()], keys=clinical, names=["cohort"]
    )
    _, scaling = standardise_her2(eligible["her2"], eligible["platform"], eligible["stratum"])
    # A stream of its own: what was planted before these measures existed stays as it was.
    (beside,) = rng.spawn(1)
    abundances: dict[str, pd.DataFrame] = {}
    parts: list[SimulatedTumours] = []
    for cohort in design.cohorts:
        frame = clinical[cohort.name]
        centre = float(scaling["mean"].loc[cohort.platform])
        divisor = float(scaling["sd"].loc[cohort.platform])
        her2_sd = (frame["her2"].to_numpy(dtype=float) - centre) / divisor
        hr_negative = (frame["stratum"] == HR_NEGATIVE).to_numpy(dtype=bool)
        values = _abundance(rng, parameters, cohort.name, her2_sd, hr_negative)
        if design.scale == "relative":
            values = values / values.sum(axis=1, keepdims=True)
        abundance = pd.DataFrame(values, index=frame.index, columns=list(design.cell_type_names))
        abundances[cohort.name] = abundance
        clinical[cohort.name] = frame.join(_further_measures(beside, her2_sd, hr_negative, abundance))
        analysed = (frame["ineligible"] == "").to_numpy(dtype=bool)
        parts.append(
            SimulatedTumours(cohort.name, her2_sd[analysed], hr_negative[analysed], abundance[analysed])
        )
    tables = tuple(
        CohortTable(
            name=cohort.name,
            platform=cohort.platform,
            tumours=clinical[cohort.name].drop(columns=["stratum", "ineligible", "platform"]),
            abundance=abundances[cohort.name],
            quality=_quality(rng, abundances[cohort.name].index),
            scale=design.scale,
        )
        for cohort in design.cohorts
    )
    return Simulated(tables, truth_table(parameters, tuple(parts), design.scale, rng))


def _ineligible_by_cohort(design: Design) -> dict[str, tuple[str, ...]]:
    names = [cohort.name for cohort in design.cohorts]
    added: dict[str, list[str]] = {name: [] for name in names}
    if design.ineligible:
        for i, reason in enumerate(INELIGIBLE):
            added[names[i % len(names)]].append(reason)
    return {name: tuple(reasons) for name, reasons in added.items()}


def _clinical(rng: np.random.Generator, cohort: CohortDesign, added: tuple[str, ...]) -> pd.DataFrame:
    """Clinical table of one cohort, ineligible tumours included, in random order."""
    n_all = cohort.n + len(added)
    ineligible = np.array([""] * cohort.n + list(added), dtype=object)
    hr_positive = np.ones(n_all, dtype=bool)
    hr_positive[rng.permutation(cohort.n)[: cohort.n_hr_negative]] = False
    # The margins hold for the eligible tumours; those added take the commonest level.
    liability = _IHC_LIABILITY_HR_POSITIVE * hr_positive[: cohort.n] + rng.standard_normal(cohort.n)
    ihc = _extended(_by_rank(liability, _shared_out(cohort.ihc, IHC_LEVELS, cohort.n)), len(added))
    ihc[ineligible == "HER2 3+"] = "3+"
    grade = _extended(rng.permutation(_shared_out(cohort.grade, GRADES, cohort.n)), len(added))
    size_class = _extended(rng.permutation(_shared_out(cohort.size, SIZE_CLASSES, cohort.n)), len(added))
    stage = _stage(rng, size_class)
    stage[ineligible == "stage IV"] = "IV"
    er, pgr = _receptors(rng, hr_positive)
    er[ineligible == "HR missing"] = None
    pgr[ineligible == "HR missing"] = "negative"
    frame = pd.DataFrame(
        {
            "age": _ages(rng, cohort.age_quartiles, n_all),
            "sex": pd.Series(np.where(ineligible == "male", "male", "female"), dtype="str"),
            "er": pd.Series(er, dtype="str"),
            "pgr": pd.Series(pgr, dtype="str"),
            "her2_ihc": pd.Series(ihc, dtype="str"),
            "her2_ish": pd.Series([{"2+": "not amplified"}.get(level) for level in ihc], dtype="str"),
            "her2": _her2_score(rng, cohort, ihc, hr_positive),
            "grade": pd.Series(grade, dtype="str"),
            "tumour_size_cm": _sizes_cm(rng, size_class),
            "stage": pd.Series(stage, dtype="str"),
            "stratum": pd.Series(np.where(hr_positive, HR_POSITIVE, HR_NEGATIVE), dtype="str"),
            "ineligible": pd.Series(ineligible, dtype="str"),
            "platform": pd.Series([cohort.platform] * n_all, dtype="str"),
        }
    )
    shuffled = frame.loc[rng.permutation(n_all)]
    width = len(str(n_all))
    prefix = "".join(part[0] for part in cohort.name.split()).upper()
    names = [f"{prefix}-{i:0{width}d}" for i in range(1, n_all + 1)]
    return shuffled.set_index(pd.Index(names, name="tumour", dtype="str"))


def _shared_out(weights: Mapping[str, float], levels: tuple[str, ...], n: int) -> npt.NDArray[np.object_]:
    """Each level as often as its weight asks (largest remainders), in the order of `levels`."""
    exact = np.array([weights.get(level, 0.0) for level in levels], dtype=float)
    exact = exact / exact.sum() * n
    counts = np.floor(exact + 1e-9).astype(int)
    for i in np.argsort(counts - exact, kind="stable")[: n - int(counts.sum())]:
        counts[i] += 1
    return np.repeat(np.array(levels, dtype=object), counts)


def _extended(levels: npt.NDArray[np.object_], n_added: int) -> npt.NDArray[np.object_]:
    """`levels`, with the commonest level appended `n_added` times."""
    names, counts = np.unique(levels.astype("str"), return_counts=True)
    commonest = str(names[int(np.argmax(counts))])
    return np.concatenate([levels, np.array([commonest] * n_added, dtype=object)])


def _by_rank(liability: _Floats, ordered: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """Give the lowest liabilities the first levels of `ordered`."""
    levels = np.empty(len(liability), dtype=object)
    levels[np.argsort(liability)] = ordered
    return levels


def _ages(rng: np.random.Generator, quartiles: tuple[float, float, float], n: int) -> _Floats:
    """Whole years from a truncated normal, one draw in each of n slices so that the margin is kept."""
    low, median, high = quartiles
    sd = (high - low) / (2 * _QUARTILE_Z)
    bounds = [(limit - median) / sd for limit in _AGE_LIMITS_YEARS]
    u = (rng.permutation(n) + rng.uniform(size=n)) / n
    years = stats.truncnorm.ppf(u, bounds[0], bounds[1], loc=median, scale=sd)
    return np.asarray(np.round(years), dtype=float)


def _sizes_cm(rng: np.random.Generator, size_class: npt.NDArray[np.object_]) -> _Floats:
    sizes = np.full(len(size_class), np.nan)
    for name, (low, high) in _SIZE_BOUNDS_CM.items():
        chosen = size_class == name
        sizes[chosen] = np.round(rng.uniform(low, high, size=int(chosen.sum())), 1)
    return sizes


def _stage(rng: np.random.Generator, size_class: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    small = size_class == "<=2 cm"
    stages = np.where(rng.uniform(size=len(small)) < 0.75, "II", "III").astype(object)
    stages[small] = np.where(rng.uniform(size=int(small.sum())) < 0.7, "I", "II")
    return stages


def _receptors(
    rng: np.random.Generator, hr_positive: _Bools
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
    """ER and PgR that give the wanted HR status: 3 % of HR+ are PgR only, 15 % ER only."""
    u = rng.uniform(size=len(hr_positive))
    er = np.where(hr_positive & (u >= 0.03), "positive", "negative").astype(object)
    pgr = np.where(hr_positive & (u < 0.85), "positive", "negative").astype(object)
    return er, pgr


def _her2_score(
    rng: np.random.Generator, cohort: CohortDesign, ihc: npt.NDArray[np.object_], hr_positive: _Bools
) -> _Floats:
    level = np.array([_SCORE_BY_IHC[str(name)] for name in ihc], dtype=float)
    standard = level + _SCORE_HR_POSITIVE * hr_positive + _SCORE_NOISE_SD * rng.standard_normal(len(ihc))
    return np.asarray(np.round(cohort.her2_location + cohort.her2_scale * standard, 4), dtype=float)


def _abundance(
    rng: np.random.Generator, parameters: Parameters, cohort: str, her2_sd: _Floats, hr_negative: _Bools
) -> _Floats:
    probability = parameters.presence_probability(cohort, her2_sd, hr_negative)
    mean = parameters.positive_mean(cohort, her2_sd, hr_negative)
    shape = parameters.shape(cohort)
    present = rng.uniform(size=probability.shape) < probability
    amount = rng.standard_gamma(np.broadcast_to(shape, mean.shape)) / shape * mean
    return np.where(present, amount, 0.0)


def _further_measures(
    rng: np.random.Generator, her2_sd: _Floats, hr_negative: _Bools, abundance: pd.DataFrame
) -> pd.DataFrame:
    """ERBB2 and ESR1 expression that go with the HER2 score, and a total TIL score that goes with the cell types.

    Nothing is planted on them: ERBB2 and ESR1 reach the cell types through the score and HR alone.
    """

    def expression(level: float, parts: Mapping[str, float]) -> _Floats:
        noise = parts["noise"] * rng.standard_normal(len(her2_sd))
        mean = parts["score"] * her2_sd + parts["hr_positive"] * ~hr_negative
        return np.asarray(np.round(level + mean + noise, 4), dtype=float)

    weights = [1.0 if str(c).startswith(_LYMPHOID) else _MYELOID_WEIGHT for c in abundance.columns]
    total = np.log(abundance.to_numpy(dtype=float) @ np.array(weights) + 1e-3)
    return pd.DataFrame(
        {
            "erbb2": expression(12.0, _ERBB2),
            "esr1": expression(9.0, _ESR1),
            "total_til": np.round(total + _TIL_NOISE_SD * rng.standard_normal(len(total)), 4),
        },
        index=abundance.index,
    )


def _quality(rng: np.random.Generator, tumours: pd.Index) -> pd.DataFrame:
    """Deconvolution quality as the web tool prints it; it carries no information here."""
    n = len(tumours)
    correlation = np.round(rng.beta(20, 8, size=n), 6)
    return pd.DataFrame(
        {
            "p_value": np.round(rng.beta(0.3, 6.0, size=n), 3),
            "correlation": correlation,
            "rmse": np.round(np.sqrt(1 - correlation**2), 6),
            "n_aliquots": np.ones(n),
        },
        index=tumours,
    )
