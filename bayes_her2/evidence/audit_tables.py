"""The audit of a table of published claims, as tables: what survives, what contradicts itself, what replicates."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayes_her2.errors import DataError, Faults
from bayes_her2.evidence import audit as st
from bayes_her2.evidence.audit import LEVEL, Estimate, Range
from bayes_her2.evidence.contradictions import contradictions
from bayes_her2.evidence.measures import CORRELATION, MEASURES, RANK_CORRELATION, Measure
from bayes_her2.evidence.published_claims import Printed, Published, PublishedClaim
from bayes_her2.evidence.replication import replication_bayes_factor, sceptical_bayes_factor, sceptical_p
from bayes_her2.evidence.verdicts import ALPHA, Verdict, in_words, replication_verdict, verdict
from bayes_her2.inputs.fields import suggestion

PRIOR_SDS = tuple(float(sd) for sd in np.geomspace(0.005, 3.0, 81))
"""Prior SDs of the sweep on the analysis scale; for a mean difference they are multiples of its plausible effect."""


@dataclass(frozen=True)
class Settings:
    """What a reader may declare before the audit.

    Attributes
    ----------
    alpha
        Level of significance of every verdict; two-sided.
    plausible
        Measure -> size of a plausible true effect, on the measure's own scale, in place of the default.
    """

    alpha: float = ALPHA
    plausible: Mapping[str, float] = field(default_factory=dict)

    @property
    def level(self) -> float:
        """Level of the interval that has to exclude the null."""
        return round(1.0 - self.alpha, 12)

    def check(self) -> None:
        """Raise if a setting makes no sense."""
        faults = Faults()
        if not 0 < self.alpha < 0.5:
            faults.add("alpha", f"{self.alpha:g} is not a level of significance; give a share such as 0.05")
        for name, value in self.plausible.items():
            measure = MEASURES.get(name)
            if measure is None:
                hint = suggestion(name, MEASURES)
                faults.add(
                    "plausible effect", f"no measure is named {name!r}{hint}; known: {', '.join(MEASURES)}"
                )
            elif not math.isfinite(value) or value == measure.null or (measure.is_ratio and value <= 0):
                faults.add(
                    "plausible effect",
                    f"{value:g} is no size of {measure.a_name} (its null is {measure.null:g})",
                )
            elif measure.scale == "Fisher z" and abs(value) >= 1:
                faults.add("plausible effect", f"{value:g}: a correlation lies between -1 and 1")
        faults.raise_if_any()


@dataclass(frozen=True)
class AuditTables:
    """Everything that the audit found.

    Attributes
    ----------
    audit
        One row per claim and cohort.
    replication
        One row per claim and pair of cohorts.
    contradictions
        One row per printed figure that does not agree with another.
    prior_sweep
        Posterior of every claim against the SD of a prior centred at the null.
    priors
        One row per measure that occurs: plausible effect, and the priors that follow from it.
    """

    audit: pd.DataFrame
    replication: pd.DataFrame
    contradictions: pd.DataFrame
    prior_sweep: pd.DataFrame
    priors: pd.DataFrame

    def named(self) -> dict[str, pd.DataFrame]:
        """Tables by file name."""
        return {name: getattr(self, field) for name, field in NAMES.items()}


NAMES = {
    "audit": "audit",
    "replication": "replication",
    "contradictions": "contradictions",
    "audit_prior_sweep": "prior_sweep",
    "audit_priors": "priors",
}
"""File name -> field of `AuditTables`."""


@dataclass(frozen=True)
class Audited:
    """A claim with its estimate on the analysis scale.

    Attributes
    ----------
    claim
        As read.
    estimate
        With the ranges that rounding allows.
    basis
        What it was computed from.
    plausible
        Size of a plausible effect on the analysis scale, positive.
    """

    claim: PublishedClaim
    estimate: Estimate
    basis: str
    plausible: float


def audit_tables(published: Published, settings: Settings | None = None) -> AuditTables:
    """Audit a table of published claims.

    Parameters
    ----------
    published
        Checked claims.
    settings
        Level of significance and plausible effects; default those of the package.

    Raises
    ------
    DataError
        A plausible effect is missing (mean differences have no default), or a setting makes no sense.
    """
    settings = settings or Settings()
    settings.check()
    audited = _audited(published, settings)
    found = contradictions(published, {one.claim.key: (one.estimate, one.basis) for one in audited})
    families = _families(audited, published)
    per_claim = found.groupby(["claim", "cohort"]).size().to_dict() if len(found) else {}
    rows = [
        _row(one, families[one.claim.key], int(per_claim.get(one.claim.key, 0)), settings) for one in audited
    ]
    return AuditTables(
        audit=pd.DataFrame(rows).astype({"n": "Int64"}),
        replication=_replication(audited, settings),
        contradictions=found,
        prior_sweep=_sweep(audited, settings),
        priors=_priors(audited, settings),
    )


# --- from print to the analysis scale ------------------------------------------------------------


def estimate_of(
    claim: PublishedClaim, others: Mapping[tuple[str, str], PublishedClaim]
) -> tuple[Estimate, str]:
    """Estimate of a claim on the analysis scale, and what it was computed from.

    Counts come first, because they are exact. A correlation with n takes its standard error from n; otherwise it
    follows from both limits, or from one where the other lost its digits in print.

    Parameters
    ----------
    claim
        The claim.
    others
        All claims by name and cohort, for ratios of two of them.
    """
    if claim.counts is not None:
        return st.odds_ratio_of(claim.counts), "counts"
    low, high = claim.usable_limits
    if claim.estimate is None or (claim.derived and not (low and high)):
        parts = [others[name, claim.cohort] for name in (claim.numerator, claim.denominator)]
        first, second = (estimate_of(part, others)[0] for part in parts)
        return st.difference(first, second), "two printed claims"
    measure = claim.measure
    point = measure.to_scale(claim.estimate.value)
    points = on_scale(measure, claim.estimate)
    if claim.n is not None and measure.name in (CORRELATION, RANK_CORRELATION):
        return _from_n(claim, point, points), "printed estimate and n"
    k = st.quantile(claim.ci_level)
    if low and high:
        lows, highs = on_scale(measure, low), on_scale(measure, high)
        width = Range(highs.low - lows.high, highs.high - lows.low)
        se = st.standard_error(measure.to_scale(low.value), measure.to_scale(high.value), claim.ci_level)
        basis = "printed interval"
        ses = Range(width.low / (2 * k), width.high / (2 * k))
    else:
        limit = low or high
        if limit is None:
            raise ValueError("a claim without limits, counts or n: the reader of the table refuses it")
        limits = on_scale(measure, limit)
        gaps = [abs(a - b) for a in (points.low, points.high) for b in (limits.low, limits.high)]
        se, ses = abs(point - measure.to_scale(limit.value)) / k, Range(min(gaps) / k, max(gaps) / k)
        basis = "printed estimate and one limit"
    if ses.low <= 0:
        raise DataError(
            f"rounding leaves no width in {printed_text(claim)}, so that there is no standard error. Give more digits"
        )
    return Estimate(point, se, points, ses), basis


def _from_n(claim: PublishedClaim, point: float, points: Range) -> Estimate:
    n = claim.n or 0
    if claim.measure.name == CORRELATION:
        se = st.correlation_se(n)
        return Estimate(point, se, points, Range(se, se))
    ends = [math.tanh(value) for value in (points.low, points.high)]
    smallest = 0.0 if points.low < 0 < points.high else min(ends, key=abs)
    return Estimate(
        point,
        st.rank_correlation_se(math.tanh(point), n),
        points,
        Range(st.rank_correlation_se(smallest, n), st.rank_correlation_se(max(ends, key=abs), n)),
    )


def on_scale(measure: Measure, number: Printed) -> Range:
    """Range that rounding allows for a printed number, on the analysis scale."""
    return Range(measure.to_scale(number.range.low), measure.to_scale(number.range.high))


def _audited(published: Published, settings: Settings) -> list[Audited]:
    by_key = {claim.key: claim for claim in published.claims}
    faults = Faults()
    audited = []
    for claim in published.claims:
        place = f"{Path(published.source.path).name}, row {claim.row} ({claim.claim}; {claim.cohort})"
        plausible = claim.plausible_effect
        if plausible is None:
            plausible = settings.plausible.get(claim.measure.name, claim.measure.plausible)
        if plausible is None:
            faults.add(
                place,
                f"{claim.measure.a_name} has no default plausible effect, because it has a unit: give the column "
                f"`plausible_effect`, or --plausible '{claim.measure.name}=VALUE'",
            )
            continue
        try:
            estimate, basis = estimate_of(claim, by_key)
        except DataError as error:
            faults.add(place, str(error))
            continue
        audited.append(Audited(claim, estimate, basis, abs(claim.measure.to_scale(plausible))))
    faults.raise_if_any()
    return audited


# --- the family ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class InFamily:
    """Place of a claim in its family of tests."""

    size: int
    declared: bool
    benjamini_hochberg: float


def _families(audited: Sequence[Audited], published: Published) -> dict[tuple[str, str], InFamily]:
    groups: dict[str, list[Audited]] = defaultdict(list)
    for position, one in enumerate(audited):
        groups[one.claim.family or f"\0{position}"].append(one)
    placed = {}
    for family, members in groups.items():
        size = published.family_sizes.get(family, 1)
        adjusted = st.benjamini_hochberg(
            [st.p_value(one.estimate.point, one.estimate.se) for one in members], size
        )
        for one, value in zip(members, adjusted, strict=True):
            placed[one.claim.key] = InFamily(size, family in published.declared, value)
    return placed


# --- one row of the audit ------------------------------------------------------------------------


def _row(one: Audited, family: InFamily, n_contradictions: int, settings: Settings) -> dict[str, Any]:
    claim, estimate, measure = one.claim, one.estimate, one.claim.measure
    point, se = estimate.point, estimate.se
    k = st.quantile(LEVEL)
    p, p_range = st.p_value(point, se), _range(estimate, st.p_value)
    sceptic = st.sceptical_prior(one.plausible)
    # At another alpha the interval that has to exclude the null is another one.
    critical_sd = partial(st.critical_prior_sd, level=settings.level)
    sceptical = partial(st.scepticism_limit, level=settings.level)
    critical, critical_range = critical_sd(point, se), st.over_rounding(estimate, critical_sd)
    limit, limit_range = sceptical(point, se), st.over_rounding(estimate, sceptical)
    advocacy = st.advocacy_limit(point, se, settings.level)
    errors = st.design_errors(one.plausible, se, settings.alpha)
    worst = st.design_errors(one.plausible, estimate.se_range.high, settings.alpha)
    best = st.design_errors(one.plausible, estimate.se_range.low, settings.alpha)
    final, lowest, highest = _verdicts(estimate, sceptic.sd, family.size, settings)
    row: dict[str, Any] = {
        "claim": claim.claim,
        "family": claim.family,
        "family_size": family.size,
        "family_size_declared": family.declared,
        "cohort": claim.cohort,
        "measure": measure.name,
        "printed": printed_text(claim),
        "ci_level_printed": claim.ci_level if claim.ci_low or claim.ci_high else math.nan,
        "basis": one.basis,
        "estimate": measure.from_scale(point),
        "lower": measure.from_scale(point - k * se),
        "upper": measure.from_scale(point + k * se),
        "interval_kind": "confidence (Wald)",
        "interval_prob": LEVEL,
        "scale": measure.scale,
        "estimate_on_scale": point,
        "standard_error": se,
        "z": point / se,
        "p_value": p,
        "p_low": p_range.low,
        "p_high": p_range.high,
        "p_printed": claim.p_value.text if claim.p_value else "",
        "p_fisher": st.fisher_p(claim.counts) if claim.counts else math.nan,
        "p_bonferroni": st.bonferroni(p, family.size),
        "p_bonferroni_low": st.bonferroni(p_range.low, family.size),
        "p_bonferroni_high": st.bonferroni(p_range.high, family.size),
        "p_benjamini_hochberg": family.benjamini_hochberg,
        "level_of_verdict": settings.level,
        "critical_prior_sd": _nan(critical),
        "critical_prior_sd_low": critical_range.low if critical_range else math.nan,
        "critical_prior_sd_high": critical_range.high if critical_range else math.nan,
        "scepticism_limit": _limit(measure, limit),
        "scepticism_limit_low": _limit(measure, limit_range.low if limit_range else None),
        "scepticism_limit_high": _limit(measure, limit_range.high if limit_range else None),
        "advocacy_limit": math.nan if advocacy is None else measure.from_scale(advocacy),
        "plausible_effect": measure.from_scale(math.copysign(one.plausible, point)),
        "sceptical_prior_sd": sceptic.sd,
    }
    for name, prior in (
        ("sceptical", sceptic),
        ("neutral", st.NEUTRAL_PRIOR),
        ("enthusiastic", st.enthusiastic_prior(one.plausible, point)),
    ):
        result = st.posterior(point, se, prior)
        lower, upper = result.interval(LEVEL)
        row |= {
            f"{name}_point": measure.from_scale(result.mean),
            f"{name}_lower": measure.from_scale(lower),
            f"{name}_upper": measure.from_scale(upper),
            f"{name}_p_direction": result.probability_of_direction(point),
        }
    return row | {
        "power": errors.power,
        "type_s": errors.type_s,
        "type_s_low": best.type_s,
        "type_s_high": worst.type_s,
        "type_m": errors.type_m,
        "type_m_low": best.type_m,
        "type_m_high": worst.type_m,
        "n": claim.counts.n if claim.counts else claim.n,
        "n_implied": _n_implied(claim),
        "n_contradictions": n_contradictions,
        "verdict": final,
        "verdict_lowest": lowest,
        "verdict_highest": highest,
        "in_words": in_words(
            final,
            p=p,
            p_range=(p_range.low, p_range.high),
            n_tests=family.size,
            p_family=st.bonferroni(p, family.size),
            critical_sd=critical,
            sceptic_sd=sceptic.sd,
            ends=(lowest, highest),
            n_contradictions=n_contradictions,
            alpha=settings.alpha,
        ),
        "place": claim.place,
        "note": claim.note,
    }


def printed_text(claim: PublishedClaim) -> str:
    """Estimate and interval as printed: ``0.56 (0.38 to 0.83)``."""
    if claim.estimate is None:
        return ""
    if not (claim.ci_low or claim.ci_high):
        return claim.estimate.text
    low, high = (limit.text if limit else "not given" for limit in (claim.ci_low, claim.ci_high))
    return f"{claim.estimate.text} ({low} to {high})"


def _verdicts(
    estimate: Estimate, sceptic_sd: float, family_size: int, settings: Settings
) -> tuple[Verdict, Verdict, Verdict]:
    """Verdict, and the lowest and highest that the printed digits allow."""

    def at(point: float, se: float) -> Verdict:
        p = st.p_value(point, se)
        critical = st.critical_prior_sd(point, se, settings.level)
        convinced = critical is not None and critical < sceptic_sd
        return verdict(p, st.bonferroni(p, family_size), sceptic_convinced=convinced, alpha=settings.alpha)

    ends = sorted((estimate.point_range.low, estimate.point_range.high), key=abs)
    nearest = 0.0 if estimate.point_range.low < 0 < estimate.point_range.high else ends[0]
    lowest = at(nearest, estimate.se_range.high)
    highest = at(ends[1], estimate.se_range.low)
    if lowest == "inconclusive" != highest:
        return "undecided by rounding", lowest, highest
    return at(estimate.point, estimate.se), lowest, highest


def _range(estimate: Estimate, function: Any) -> Range:
    found = st.over_rounding(estimate, function)
    if found is None:
        raise ArithmeticError("a quantity that is defined everywhere came back undefined")
    return found


def _n_implied(claim: PublishedClaim) -> float:
    """Sample size that the printed limits of a correlation imply; NaN for other measures."""
    low, high = claim.usable_limits
    if claim.measure.scale != "Fisher z" or claim.estimate is None or not (low and high):
        return math.nan
    se = st.standard_error(math.atanh(low.value), math.atanh(high.value), claim.ci_level)
    return st.implied_n(se, claim.estimate.value if claim.measure.name == RANK_CORRELATION else None)


def _limit(measure: Measure, value: float | None) -> float:
    return math.nan if value is None else measure.from_scale(value)


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


# --- replication between cohorts -----------------------------------------------------------------

REPLICATION_COLUMNS = (
    "claim",
    "measure",
    "original",
    "replication",
    "original_estimate",
    "original_p",
    "replication_estimate",
    "replication_p",
    "relative_effect",
    "variance_ratio",
    "sceptical_p",
    "sceptical_p_low",
    "sceptical_p_high",
    "sceptical_p_nominal",
    "sceptical_bayes_factor",
    "replication_bayes_factor",
    "compatibility_p",
    "verdict",
)


def _replication(audited: Sequence[Audited], settings: Settings) -> pd.DataFrame:
    by_claim: dict[str, list[Audited]] = defaultdict(list)
    for one in audited:
        by_claim[one.claim.claim].append(one)
    rows = [
        _pair(original, replication, settings)
        for members in by_claim.values()
        for position, original in enumerate(members)
        for replication in members[position + 1 :]
    ]
    return pd.DataFrame(rows, columns=list(REPLICATION_COLUMNS))


def _pair(original: Audited, replication: Audited, settings: Settings) -> dict[str, Any]:
    first, second, measure = original.estimate, replication.estimate, original.claim.measure
    z_first, z_second = first.point / first.se, second.point / second.se
    gap = st.difference(first, second)
    c = (first.se / second.se) ** 2
    p = sceptical_p(z_first, z_second, c)
    corners = [
        sceptical_p(a / b, d / e, (b / e) ** 2)
        for a in (first.point_range.low, first.point_range.high)
        for b in (first.se_range.low, first.se_range.high)
        for d in (second.point_range.low, second.point_range.high)
        for e in (second.se_range.low, second.se_range.high)
    ]
    return {
        "claim": original.claim.claim,
        "measure": measure.name,
        "original": original.claim.cohort,
        "replication": replication.claim.cohort,
        "original_estimate": measure.from_scale(first.point),
        "original_p": st.p_value(first.point, first.se),
        "replication_estimate": measure.from_scale(second.point),
        "replication_p": st.p_value(second.point, second.se),
        "relative_effect": second.point / first.point if first.point else math.nan,
        "variance_ratio": c,
        "sceptical_p": p,
        "sceptical_p_low": min(*corners, p),
        "sceptical_p_high": max(*corners, p),
        "sceptical_p_nominal": sceptical_p(z_first, z_second, c, "nominal"),
        "sceptical_bayes_factor": _nan(sceptical_bayes_factor(z_first, z_second, c)),
        "replication_bayes_factor": replication_bayes_factor(z_first, z_second, c),
        "compatibility_p": st.p_value(gap.point, gap.se),
        "verdict": replication_verdict(
            same_direction=z_first * z_second > 0, sceptical_p=p, alpha=settings.alpha
        ),
    }


# --- priors --------------------------------------------------------------------------------------


def _sweep(audited: Sequence[Audited], settings: Settings) -> pd.DataFrame:
    return pd.DataFrame([row for one in audited for row in _sweep_of(one, settings.level)])


def _sweep_of(one: Audited, level: float) -> Iterator[dict[str, Any]]:
    measure, point, se = one.claim.measure, one.estimate.point, one.estimate.se
    unit = one.plausible if measure.scale == "identity" else 1.0
    for multiple in PRIOR_SDS:
        result = st.posterior(point, se, st.NormalPrior(0.0, multiple * unit))
        lower, upper = result.interval(level)
        yield {
            "claim": one.claim.claim,
            "cohort": one.claim.cohort,
            "prior_sd": multiple * unit,
            "point": measure.from_scale(result.mean),
            "lower": measure.from_scale(lower),
            "upper": measure.from_scale(upper),
            "p_wrong_direction": 1 - result.probability_of_direction(point),
            "excludes_null": lower > 0 or upper < 0,
            "interval_prob": level,
        }


def _priors(audited: Sequence[Audited], settings: Settings) -> pd.DataFrame:
    """Plausible effect of each measure that occurs, and the priors that follow from it."""
    k = st.quantile(LEVEL)
    rows = []
    seen = dict.fromkeys((one.claim.measure.name, one.plausible) for one in audited)
    for name, plausible in seen:
        measure = MEASURES[name]
        usual = settings.plausible.get(name, measure.plausible)
        is_usual = usual is not None and math.isclose(abs(measure.to_scale(usual)), plausible)
        if not is_usual:
            why = "given with the claim"
        elif name in settings.plausible:
            why = "given as an option"
        else:
            why = measure.why
        sceptic = st.sceptical_prior(plausible)
        rows.append(
            {
                "measure": name,
                "scale": measure.scale,
                "plausible_effect": measure.from_scale(plausible),
                "sceptical_prior_sd": sceptic.sd,
                "sceptical_prior_lower": measure.from_scale(-k * sceptic.sd),
                "sceptical_prior_upper": measure.from_scale(k * sceptic.sd),
                "enthusiastic_prior_mean": plausible,
                "why": why,
            }
        )
    return pd.DataFrame(rows)
