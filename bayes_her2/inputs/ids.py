"""Ids: from what a file calls its rows to what tables are joined on, and what to do when they do not meet."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import product

import pandas as pd

from bayes_her2.errors import MAX_NAMED, Faults, name_some
from bayes_her2.inputs.fields import counted
from bayes_her2.inputs.study import IdRules

ENOUGH_OVERLAP = 0.5
"""A change of rules is suggested where it joins at least this share of the smaller side."""


@dataclass(frozen=True)
class Ids:
    """Ids of the rows of one file.

    Attributes
    ----------
    frame
        Index as the rows of the file (those kept). Columns ``sample`` (after dots_to_dashes) and
        ``tumour`` (after prefix_length: what tables are joined on).
    left_out
        Samples that `keep_matching` left out.
    """

    frame: pd.DataFrame
    left_out: tuple[str, ...]


def apply_id_rules(raw: pd.Series[str], rules: IdRules, where: str, faults: Faults) -> Ids:
    """Make ids of tumours from the ids of a file.

    Parameters
    ----------
    raw
        Ids as they stand in the file, one for each row.
    rules
        dots_to_dashes, keep_matching and prefix_length, applied in that order.
    where
        Place for messages.
    faults
        Collects empty ids, and a pattern that keeps nothing.

    Returns
    -------
    Ids
        Of the rows that are kept.
    """
    sample = raw.fillna("").astype("str").str.strip()
    if rules.dots_to_dashes:
        sample = sample.str.replace(".", "-", regex=False)
    empty = int((sample == "").sum())
    if empty:
        faults.add(
            where, f"{counted(empty, 'row has', 'rows have')} no id; complete the id column or delete them"
        )
        sample = sample[sample != ""]
    kept = sample
    if rules.keep_matching is not None and len(sample):
        pattern = re.compile(rules.keep_matching)
        kept = sample[_matching(sample, pattern)]
        if kept.empty:
            n_dashed = int(_matching(sample.str.replace(".", "-", regex=False), pattern).sum())
            hint = f"; with dots_to_dashes = true it would keep {n_dashed:,}" if n_dashed else ""
            faults.add(
                where,
                f"keep_matching = '{rules.keep_matching}' keeps none of the {len(sample):,} ids"
                f" (the first are {name_some(sample.head(3))}){hint}",
            )
    left_out = tuple(sample[~sample.index.isin(kept.index)])
    tumour = kept if rules.prefix_length is None else kept.str.slice(0, rules.prefix_length)
    return Ids(pd.DataFrame({"sample": kept, "tumour": tumour}), left_out)


def _matching(ids: pd.Series[str], pattern: re.Pattern[str]) -> pd.Series[bool]:
    return ids.map(lambda i: pattern.search(i) is not None).astype("bool")


def explain_no_overlap(
    spine: Collection[str],
    other: Collection[str],
    *,
    spine_samples: Collection[str],
    other_samples: Collection[str],
    spine_place: str,
    other_place: str,
    spine_rules: IdRules,
    other_rules: IdRules,
) -> str:
    """Show three ids of each side and the settings that would join them, if any do.

    Parameters
    ----------
    spine, other
        Ids of tumours on both sides, which have none in common.
    spine_samples, other_samples
        The ids before they were cut to a prefix.
    spine_place, other_place
        Names of the blocks of the study, such as ``cibersort`` and ``clinical``.
    spine_rules, other_rules
        The rules that made the ids.

    Returns
    -------
    str
        What to say after the place of the table.
    """
    text = (
        f"no id in common with {spine_place}: {spine_place} has {_three(spine)}; {other_place} has"
        f" {_three(other)}."
    )
    found = suggest_rules(spine_samples, other_samples)
    if found is None:
        return (
            f"{text} No combination of dots_to_dashes and prefix_length joins them: check that"
            " `ids.column` names"
            " the right column on both sides, and that both files are of the same patients"
        )
    changes = [
        *_changes(spine_place, spine_rules, found.spine_dots, found.spine_prefix),
        *_changes(other_place, other_rules, found.other_dots, found.other_prefix),
    ]
    return f"{text} With {' and '.join(changes)}, {found.n:,} of {found.of:,} would join"


def _changes(place: str, rules: IdRules, dots: bool, prefix: int | None) -> list[str]:
    """Say what to change in the `ids` of one block."""
    changes = [f"dots_to_dashes = true in {place}.ids"] if dots else []
    if prefix is not None and prefix != rules.prefix_length:
        changes.append(f"prefix_length = {prefix} in {place}.ids")
    if prefix is None and rules.prefix_length is not None:
        changes.append(f"no prefix_length in {place}.ids")
    return changes


@dataclass(frozen=True)
class SuggestedRules:
    """Settings that would join two sides, and how many ids of the smaller side they would join."""

    spine_dots: bool
    spine_prefix: int | None
    other_dots: bool
    other_prefix: int | None
    n: int
    of: int


def suggest_rules(spine: Collection[str], other: Collection[str]) -> SuggestedRules | None:
    """Find dots_to_dashes and prefix_length for two sets of ids, such that most of the smaller join.

    The smallest change wins; of prefixes, the longest, so that different tumours stay apart.

    Parameters
    ----------
    spine, other
        Ids of both sides, before any prefix was cut.

    Returns
    -------
    SuggestedRules or None
        None if nothing joins at least half of the smaller side.
    """
    best: tuple[int, SuggestedRules] | None = None
    for dots_spine, dots_other in product((False, True), repeat=2):
        left, right = _dashed(spine, dots_spine), _dashed(other, dots_other)
        shortest = min((len(i) for i in left | right), default=0)
        lengths = range(shortest, 3, -1)
        cuts: list[tuple[int | None, int | None]] = [(None, None)]
        cuts += [cut for n in lengths for cut in ((n, None), (None, n), (n, n))]
        for cut_spine, cut_other in cuts:
            a, b = _cut(left, cut_spine), _cut(right, cut_other)
            joined, smaller = len(a & b), min(len(a), len(b))
            # A prefix so short that different ids become one joins everything and means nothing.
            apart = len(a) >= 0.5 * len(left) and len(b) >= 0.5 * len(right)
            if not apart or joined == 0 or joined < ENOUGH_OVERLAP * smaller:
                continue
            changes = dots_spine + dots_other + (cut_spine is not None) + (cut_other is not None)
            if best is None or changes < best[0]:
                rules = SuggestedRules(dots_spine, cut_spine, dots_other, cut_other, joined, smaller)
                best = (changes, rules)
            break
    return None if best is None else best[1]


def _dashed(ids: Iterable[str], change: bool) -> set[str]:
    return {i.replace(".", "-") for i in ids} if change else set(ids)


def _cut(ids: set[str], length: int | None) -> set[str]:
    return ids if length is None else {i[:length] for i in ids}


def _three(ids: Collection[str]) -> str:
    shown = ", ".join(repr(i) for i in list(ids)[:3])
    return f"{shown}{f' and {len(ids) - 3:,} more' if len(ids) > 3 else ''}"


def explain_replicates(tumours: pd.Series[str], samples: pd.Series[str]) -> str:
    """Name the ids that occur more than once, and the choices.

    Parameters
    ----------
    tumours, samples
        Id and sample of every row, same index.

    Returns
    -------
    str
        What to say after the place of the table.
    """
    repeated = tumours[tumours.duplicated(keep=False)]
    names = list(dict.fromkeys(repeated))
    shown = []
    for name in names[:MAX_NAMED]:
        here = samples[tumours == name]
        different = here.drop_duplicates()
        shown.append(
            f"{name} ({counted(len(here), 'row', 'rows')}"
            f"{': ' + name_some(different, 3) if len(different) > 1 else ''})"
        )
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return (
        f"{counted(len(names), 'tumour has', 'tumours have')} more than one row: {', '.join(shown)}{more}."
        ' Set replicates = "mean" or "first", keep one kind of sample with ids.keep_matching, or'
        " correct the file"
    )
