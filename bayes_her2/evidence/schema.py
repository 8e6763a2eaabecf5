"""The columns of an evidence table: names, kinds, allowed values and meaning, in this one place.

The documentation's table is `documented`. Anybody's CSV has the same columns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "number", "whole number", "yes or no"]

PATHOLOGICAL_RESPONSE = "pathological complete response"
MIDCOURSE_RESPONSE = "midcourse complete response"

BINARY_OUTCOMES = (
    PATHOLOGICAL_RESPONSE,
    MIDCOURSE_RESPONSE,
    "objective response",
    "disease control",
    "HR positivity",
    "ER positivity",
    "HER2-low status",
    "PAM50 subtype",
    "TIL presence",
    "high TIL level",
    "high Ki-67",
    "grade III",
    "stage III",
    "node positivity",
)
"""Outcomes that a tumour has or has not: counts, odds and risk ratios, shares."""

TIME_TO_EVENT_OUTCOMES = (
    "overall survival",
    "disease-free survival",
    "recurrence-free survival",
    "progression-free survival",
    "recurrence-free interval",
    "breast cancer-specific survival",
    "survival, endpoint not named",
)
"""Outcomes that have a time: hazard ratios, medians."""

CONTINUOUS_OUTCOMES = ("TIL level", "Ki-67", "immune signatures", "abundance of a cell type")
"""Outcomes on a scale: mean differences, medians, or words."""

OUTCOMES = (*BINARY_OUTCOMES, *TIME_TO_EVENT_OUTCOMES, *CONTINUOUS_OUTCOMES)

RATIOS = ("odds ratio", "risk ratio", "hazard ratio")
MEASURES = (
    "counts",
    *RATIOS,
    "mean difference",
    "median difference",
    "proportion",
    "median",
    "mean",
    "statement",
)
MEASURES_OF = {
    **dict.fromkeys(BINARY_OUTCOMES, ("counts", "odds ratio", "risk ratio", "proportion", "statement")),
    **dict.fromkeys(TIME_TO_EVENT_OUTCOMES, ("hazard ratio", "median", "median difference", "statement")),
    **dict.fromkeys(CONTINUOUS_OUTCOMES, ("mean difference", "median", "mean", "statement")),
}
"""Which measures an outcome can have: a hazard ratio of pathological response would be a mix-up."""

SETTINGS = ("neoadjuvant", "early", "metastatic", "mixed")
EARLY_SETTINGS = ("neoadjuvant", "early")

DOI = re.compile(r"10\.\d{4,9}/[-._;()/:A-Za-z0-9<>]*[A-Za-z0-9)>]")
"""Form of a DOI, without 'https://doi.org/' and without a full stop at its end."""
PMID = re.compile(r"[1-9]\d{0,7}")
P_VALUE = re.compile(r"<?(0?\.\d+|0|1|1\.0+|0?\.?\d+e-\d+)")


@dataclass(frozen=True)
class Column:
    """One column of an evidence table.

    Attributes
    ----------
    name
        Header in the CSV.
    kind
        'text', 'number', 'whole number' or 'yes or no'.
    meaning
        One sentence for users.
    allowed
        The values that it may have; () for any.
    required
        Whether every row needs a value.
    default
        What an empty cell means, where it means something.
    """

    name: str
    kind: Kind
    meaning: str
    allowed: tuple[str, ...] = ()
    required: bool = False
    default: str = ""


COLUMNS: tuple[Column, ...] = (
    Column("row_id", "text", "name of the row, used once", required=True),
    Column("study", "text", "first author and year; one name for one publication", required=True),
    Column("citation", "text", "authors, title, journal, year", required=True),
    Column("doi", "text", "DOI without https://doi.org/; every row needs a DOI or a PMID"),
    Column("pmid", "text", "PubMed number"),
    Column("year", "whole number", "year of publication", required=True),
    Column("setting", "text", "treatment setting of the patients", SETTINGS, required=True),
    Column("population", "text", "who the patients are, in a few words"),
    Column(
        "hr_stratum", "text", "hormone receptor status of the patients", ("all", "HR+", "HR-"), required=True
    ),
    Column("exposure", "text", "the group that the row is about, or the numerator of a ratio", required=True),
    Column("reference", "text", "the group that it is compared with; empty for a single arm"),
    Column("outcome", "text", "what is compared or described", OUTCOMES, required=True),
    Column("definition", "text", "how the study defines the outcome, or which category of it"),
    Column("design", "text", "two groups, or one", ("contrast", "single arm"), required=True),
    Column(
        "measure", "text", "what the numbers are; 'statement' for a result in words", MEASURES, required=True
    ),
    Column("unit", "text", "unit of a median, mean or mean difference ('months')"),
    Column(
        "adjustment",
        "text",
        "'weighted' for inverse probability weighting or matching",
        ("crude", "adjusted", "weighted", "not applicable"),
        required=True,
    ),
    Column("adjusted_for", "text", "variables, separated by commas"),
    Column("estimate", "number", "ratio on its own scale; proportions as 0.163, not 16.3"),
    Column("ci_low", "number", "lower limit of the interval"),
    Column("ci_high", "number", "upper limit of the interval"),
    Column("ci_level", "number", "level of the interval, 0.95"),
    Column("p_value", "text", "as printed: 0.042 or <0.001"),
    Column(
        "direction",
        "text",
        "of the exposed group, where no number is given",
        ("lower", "higher", "no difference"),
    ),
    Column("n", "whole number", "patients of both groups, or of the single arm"),
    Column("n_exposed", "whole number", "patients of the exposed group"),
    Column("events_exposed", "whole number", "of these, with the outcome; a count, not a percentage"),
    Column("n_reference", "whole number", "patients of the reference group"),
    Column("events_reference", "whole number", "of these, with the outcome"),
    Column(
        "counts", "text", "whether counts are printed or derived from percentages", ("printed", "derived")
    ),
    Column(
        "overlap_group",
        "text",
        "name shared by studies that share patients; the study's own name where it shares none",
        required=True,
    ),
    Column(
        "role",
        "text",
        "'further' for a subset, a sensitivity analysis, an earlier or later follow-up",
        ("main", "further"),
        default="main",
    ),
    Column("part", "text", "part of the study's patients, disjoint from its other parts ('stage II')"),
    Column("pooled", "yes or no", "yes for a meta-analysis", default="no"),
    Column("pooled_components", "text", "what the meta-analysis pools"),
    Column(
        "verified",
        "text",
        "checked against the study's own text, or taken from elsewhere",
        ("source text", "second-hand"),
        required=True,
    ),
    Column("source", "text", "where the number stands (abstract, table, reading of a review)", required=True),
    Column("note", "text", "how it was read, in own words"),
)
"""Every column of an evidence table, in order."""

COLUMN = {column.name: column for column in COLUMNS}


def documented() -> str:
    """Columns as a Markdown table: column, kind, needed, meaning and allowed values."""
    lines = ["| column | kind | needed | meaning |", "|---|---|---|---|"]
    for column in COLUMNS:
        needed = "yes" if column.required else f"no ({column.default})" if column.default else "no"
        meaning = column.meaning
        if column.allowed:
            meaning += f": {', '.join(f'`{value}`' for value in column.allowed)}"
        lines.append(f"| `{column.name}` | {column.kind} | {needed} | {meaning} |")
    return "\n".join(lines)
