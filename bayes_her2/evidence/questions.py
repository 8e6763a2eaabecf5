"""The questions that a report asks of published results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from bayes_her2.data import EvidenceData, EvidenceSet
from bayes_her2.errors import DataError, name_some
from bayes_her2.evidence.audit import COUNT_COLUMNS, Counts
from bayes_her2.evidence.schema import EARLY_SETTINGS, PATHOLOGICAL_RESPONSE
from bayes_her2.evidence.selection import OTHER_CONTRAST, studies_for
from bayes_her2.evidence.table import EvidenceTable, read_evidence, shipped_evidence

HR_SPLIT = ("HR+", "HR-")


@dataclass(frozen=True)
class Question:
    """One call of `studies_for`; several HR strata are tried in turn, the first that has studies is taken.

    Attributes
    ----------
    outcome, scale, adjustment, exposure, reference, settings
        As there.
    strata
        Choices of HR strata in order of preference.
    """

    outcome: str
    scale: str
    adjustment: Literal["crude", "adjusted"]
    strata: tuple[tuple[str, ...], ...] = (("all",),)
    exposure: str = "HER2-low"
    reference: str = "HER2-0"
    settings: tuple[str, ...] = EARLY_SETTINGS


BY_HR = (HR_SPLIT, ("HR-",), ("HR+",))


def _t_dxd(outcome: str) -> Question:
    """Trastuzumab deruxtecan against chemotherapy in HER2-low metastatic disease, HR-positive."""
    return Question(
        outcome,
        "hazard ratio",
        "crude",
        (("HR+",),),
        exposure="T-DXd",
        reference="chemotherapy of physician's choice",
        settings=("metastatic",),
    )


QUESTIONS: tuple[Question, ...] = (
    Question(PATHOLOGICAL_RESPONSE, "odds ratio", "adjusted", BY_HR),
    Question(PATHOLOGICAL_RESPONSE, "odds ratio", "adjusted"),
    Question(PATHOLOGICAL_RESPONSE, "odds ratio", "crude", BY_HR),
    Question("overall survival", "hazard ratio", "adjusted", (HR_SPLIT, ("all",))),
    Question("recurrence-free survival", "hazard ratio", "adjusted", (HR_SPLIT, ("all",))),
    Question("disease-free survival", "hazard ratio", "adjusted", (HR_SPLIT, ("all",))),
    Question("HR positivity", "odds ratio", "crude"),
    Question("TIL presence", "odds ratio", "crude"),
    Question("high TIL level", "odds ratio", "crude"),
    Question(
        PATHOLOGICAL_RESPONSE, "odds ratio", "crude"
    ),  # confounded by HR status: last, never the headline
    _t_dxd("progression-free survival"),
    _t_dxd("overall survival"),
)
"""What the report asks: HER2-low against HER2-0, and trastuzumab deruxtecan in HER2-low disease."""


def evidence_with(path: Path | str | None = None) -> EvidenceTable:
    """Return the shipped results, joined with those of a table of the user's.

    Its notices name every row of the user's table that answers no question of the report, and say why.

    Parameters
    ----------
    path
        An evidence table (`bayes_her2.evidence.schema`); None for the shipped results alone.

    Raises
    ------
    DataError
        Faults of the table.
    """
    if path is None:
        return shipped_evidence()
    own = read_evidence(path)
    joined = shipped_evidence().joined(own)
    return replace(joined, notices=(*joined.notices, *_unused(joined, own, Path(path).name)))


def _unused(joined: EvidenceTable, own: EvidenceTable, name: str) -> list[str]:
    """Rows of the user's that no question takes, with the reasons; one remark for each."""
    pools = asked_of(joined).pools
    taken = {row for pool in pools for rows in pool.studies["row_id"] for row in rows.split(" + ")}
    notices = []
    for row in own.frame.itertuples():
        if row.row_id in taken:
            continue
        reasons = list(dict.fromkeys(e.reason for p in pools for e in p.exclusions if e.row_id == row.row_id))
        # Questions about other groups say nothing of a row whose groups some question is about.
        nearer = [reason for reason in reasons if not reason.startswith(OTHER_CONTRAST)]
        why = name_some(nearer or reasons) or f"none is about {row.outcome}"
        notices.append(f"{name}: {row.study} [{row.row_id}] answers no question of the report ({why})")
    return notices


def asked_of(table: EvidenceTable) -> EvidenceSet:
    """Ask `QUESTIONS` of a table; those to which no study has an answer are left out."""
    pools = [pool for question in QUESTIONS if (pool := _answered(table, question)) is not None]
    return EvidenceSet(tuple(pools))


def _answered(table: EvidenceTable, question: Question) -> EvidenceData | None:
    for strata in question.strata:
        try:
            pool = studies_for(
                table,
                question.outcome,
                scale=question.scale,
                adjustment=question.adjustment,
                hr_stratum=strata if len(strata) > 1 else strata[0],
                exposure=question.exposure,
                reference=question.reference,
                settings=question.settings,
            )
        except DataError:
            continue
        if len(pool.coords["hr"]) == len(strata):
            return pool
    return None


def crude_beside_adjusted(
    table: EvidenceTable,
    outcome: str = PATHOLOGICAL_RESPONSE,
    *,
    exposure: str = "HER2-low",
    reference: str = "HER2-0",
) -> pd.DataFrame:
    """Odds ratios of the same patients, crude over everybody and by HR status or adjusted.

    Parameters
    ----------
    table
        Published results.
    outcome, exposure, reference
        What is compared.

    Returns
    -------
    pandas.DataFrame
        ``study``, ``hr_stratum``, ``adjustment``, ``adjusted_for``, ``n``, ``estimate``, ``lower``, ``upper``,
        ``verified``: main results of every overlap group that has a crude odds ratio and another one. Counts give the
        odds ratio with Woolf's 95 % interval; others are as printed.
    """
    rows = table.rows(
        outcome=outcome, exposure=exposure, reference=reference, design="contrast", pooled=False
    )
    rows = rows[
        rows["measure"].isin(["counts", "odds ratio"]) & (rows["role"] == "main") & (rows["part"] == "")
    ]
    found = []
    for _, group in rows.groupby("overlap_group", sort=False):
        kinds = set(zip(group["hr_stratum"], group["adjustment"], strict=True))
        if len(kinds) < 2 or "crude" not in set(group["adjustment"]):
            continue
        found += [_as_odds_ratio(row) for _, row in group.iterrows()]
    columns = "study hr_stratum adjustment adjusted_for n estimate lower upper verified".split()
    frame = pd.DataFrame(found, columns=columns)
    order = {"all": 0, "HR+": 1, "HR-": 2}
    return frame.sort_values("hr_stratum", key=lambda s: s.map(order), kind="stable").reset_index(drop=True)


def _as_odds_ratio(row: pd.Series[Any]) -> dict[str, Any]:
    said = {
        name: row[name] for name in ("study", "hr_stratum", "adjustment", "adjusted_for", "verified", "n")
    }
    if row["measure"] == "odds ratio":
        return said | {"estimate": row["estimate"], "lower": row["ci_low"], "upper": row["ci_high"]}
    counts = Counts(**{name: int(row[name]) for name in COUNT_COLUMNS})
    lower, upper = counts.table.oddsratio_confint()
    return said | {"n": counts.n, "estimate": counts.table.oddsratio, "lower": lower, "upper": upper}
