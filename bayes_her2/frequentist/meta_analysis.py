"""The meta-analysis of published results: REML with Hartung-Knapp, DerSimonian-Laird, and a small-study check."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import stats

from bayes_her2.data import DIFFERENCE, HR_NEGATIVE, HR_POSITIVE, EvidenceData, EvidenceSet
from bayes_her2.estimates import COMMON_EFFECT, DERSIMONIAN_LAIRD, REML_WALD, Estimates
from bayes_her2.frequentist.meta_regression import meta_regression

REML = "meta-analysis (REML, modified Hartung-Knapp)"
NO_SPREAD = "one study for each stratum: their spread cannot be estimated, and with it no mean over studies"

METHODS: tuple[tuple[str, Literal["REML", "DL", "none"], bool], ...] = (
    (REML, "REML", True),
    (REML_WALD, "REML", False),
    (DERSIMONIAN_LAIRD, "DL", False),
    (COMMON_EFFECT, "none", False),
)
"""Name, estimator of the variance between studies, and whether by Hartung-Knapp; the first is the matched twin."""

MIN_STUDIES_EGGER = 3


def meta_analysis_twin(data: EvidenceSet, *, interval: float = 0.95) -> Estimates:
    """Meta-analysis of every question: pooled, by HR status where both strata have studies, and for a new study.

    The matched twin is REML with the modified Hartung-Knapp interval; REML and DerSimonian-Laird with Wald
    intervals stand beside it. A study is its own printed (or Woolf) interval. Studies with a zero cell have no
    log ratio and are left out, so their questions are shown and not judged.

    Parameters
    ----------
    data
        The questions.
    interval
        Probability of the intervals.
    """
    records: list[dict[str, Any]] = []
    for pool in data.pools:
        own = pool.studies[pool.studies["se"].notna()]
        records += [_of_study(pool, row, interval) for _, row in pool.studies.reset_index().iterrows()]
        if len(own):
            records += _pooled(pool, own, interval)
    base = {"source": "twin", "model": data.model, "fingerprint": data.fingerprint, "interval_prob": interval}
    return Estimates.from_records([base | record for record in records])


def _pooled(pool: EvidenceData, own: pd.DataFrame, interval: float) -> list[dict[str, Any]]:
    present = [hr for hr in pool.coords["hr"] if (own["hr"] == hr).any()]
    columns = np.array([own["hr"] == hr for hr in present], dtype=np.float64).T
    effect = own["log_ratio"].to_numpy(dtype=float)
    variance = own["se"].to_numpy(dtype=float) ** 2
    wanted = {hr: np.eye(len(present))[i] for i, hr in enumerate(present)}
    if HR_POSITIVE in wanted and HR_NEGATIVE in wanted:
        wanted[DIFFERENCE] = wanted[HR_NEGATIVE] - wanted[HR_POSITIVE]
    left_out = len(pool.studies) - len(own)
    records = []
    for method, tau2_by, knapp in METHODS:
        fit = meta_regression(effect, variance, columns, tau2_by=tau2_by, hartung_knapp=knapp)
        for stratum, row in wanted.items():
            behind = own if stratum == DIFFERENCE else own[own["hr"] == stratum]
            note = ["no spread assumed" if tau2_by == "none" else f"tau^2 {fit.tau2:.3g}"]
            if fit.by_t:
                note.append(f"t with {fit.freedom} df")
            if fit.tau2 == 0:
                note.append("the interval for a new study is that of the mean")
            if left_out:
                note.append(f"{left_out} with a zero cell left out")
            base = _row(pool, stratum, behind) | {
                "method": method,
                "note": "; ".join(note),
                "interval_kind": "confidence (Hartung-Knapp)" if fit.by_t else "confidence (Wald)",
            }
            scopes = ["pooled"] if stratum == DIFFERENCE else ["pooled", "new cohort"]
            if not fit.freedom and tau2_by != "none":
                gap = {"status": "not estimable", "note": NO_SPREAD}
                records += [base | {"scope": scope} | gap for scope in scopes]
                continue
            point, lower, upper, p = fit.contrast(row, interval)
            records.append(base | {"scope": "pooled", "p_value": p} | _ratio(point, lower, upper))
            if stratum != DIFFERENCE:
                records.append(base | {"scope": "new cohort"} | _ratio(*fit.prediction(row, interval)))
    return records


def _of_study(pool: EvidenceData, row: pd.Series[Any], interval: float) -> dict[str, Any]:
    printed = pd.isna(row["n_exposed"]) or pool.likelihood == "normal"
    base = _row(pool, str(row["hr"]), row.to_frame().T) | {
        "scope": "cohort",
        "cohort": str(row["study"]),
        "method": "printed interval" if printed else "log odds ratio (Woolf)",
        "interval_kind": "confidence (Wald)",
    }
    if pd.isna(row["se"]):
        return base | {"status": "not estimable", "note": "a zero cell: no log ratio"}
    mean, se = float(row["log_ratio"]), float(row["se"])
    reach = float(stats.norm.isf((1.0 - interval) / 2.0)) * se
    p_value = float(2.0 * stats.norm.sf(abs(mean) / se))
    return base | {"p_value": p_value} | _ratio(mean, mean - reach, mean + reach)


def _row(pool: EvidenceData, stratum: str, behind: pd.DataFrame) -> dict[str, Any]:
    return {
        "outcome": pool.outcome,
        "exposure": pool.exposure,
        "estimand": "published_ratio",
        "contrast": pool.contrast,
        "adjustment": pool.adjustment,
        "stratum": stratum,
        "unit": pool.unit(stratum),
        "n": pool.patients(behind),
        "status": "observed",
    }


def _ratio(point: float, lower: float, upper: float) -> dict[str, Any]:
    return {"point": float(np.exp(point)), "lower": float(np.exp(lower)), "upper": float(np.exp(upper))}


def small_study_check(data: EvidenceSet) -> pd.DataFrame:
    """Egger's regression of every question and HR stratum with at least three studies.

    The log ratio over its standard error is regressed on one over the standard error; the intercept is 0 where small
    studies do not differ from large ones.

    Returns
    -------
    pandas.DataFrame
        ``question``, ``stratum``, ``n_studies``, ``intercept``, ``p_value``, ``note``; too few studies are noted.

    References
    ----------
    Egger et al. 1997, doi 10.1136/bmj.315.7109.629; below ten studies the test has little power (Sterne et al.
    2011, doi 10.1136/bmj.d4002).
    """
    rows = []
    for pool in data.pools:
        for stratum in pool.coords["hr"]:
            own = pool.studies[(pool.studies["hr"] == stratum) & pool.studies["se"].notna()]
            row: dict[str, Any] = {"question": pool.question, "stratum": stratum, "n_studies": len(own)}
            if len(own) < MIN_STUDIES_EGGER:
                studies = f"{len(own)} {'study' if len(own) == 1 else 'studies'}"
                rows.append(row | {"note": f"{studies}: nothing to regress ({MIN_STUDIES_EGGER} needed)"})
                continue
            se = own["se"].to_numpy(dtype=float)
            fit = sm.OLS(own["log_ratio"].to_numpy(dtype=float) / se, sm.add_constant(1.0 / se)).fit()
            few = len(own) < 10
            row |= {"intercept": float(fit.params[0]), "p_value": float(fit.pvalues[0])}
            rows.append(row | {"note": "fewer than ten studies: hardly any power" if few else ""})
    columns = ["question", "stratum", "n_studies", "intercept", "p_value", "note"]
    return pd.DataFrame(rows, columns=columns)
