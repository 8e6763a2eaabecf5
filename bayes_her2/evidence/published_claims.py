"""Read and check a table of published claims; every number is kept with the digits that were printed.

The number of printed decimals says what rounding allows, so cells are read as text. A row is one claim, or one
restatement: another place of the paper that repeats a claim, which is compared with it and never analysed.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from bayes_her2.data import FileRead
from bayes_her2.errors import Faults, name_some
from bayes_her2.evidence.audit import COUNT_COLUMNS, Counts, Range
from bayes_her2.evidence.measures import (
    CORRELATION,
    MEASURES,
    ODDS_RATIO,
    RANK_CORRELATION,
    RATIO_OF_ODDS_RATIOS,
    Measure,
)
from bayes_her2.inputs.fields import MISSING_WORDS, counted, suggestion
from bayes_her2.inputs.tables import read_table

SEED_STUDY = "seed_study.csv"

COLUMNS: dict[str, str] = {
    "claim": "what is claimed, in words; the same words in every cohort that it is claimed for",
    "family": "the tests that it is one of; a claim without a family stands alone",
    "family_size": "how many tests the family has; default: its claims in this table. Papers test more than they print",
    "cohort": "the patients; the earlier row is the original study where cohorts are compared",
    "measure": f"one of: {', '.join(MEASURES)}",
    "estimate": "as printed, with every printed digit",
    "ci_low": "lower limit as printed",
    "ci_high": "upper limit as printed",
    "ci_level": "level of the interval, 0.95 if left out",
    "p_value": "as printed: 0.005, or <0.001",
    "n": "patients or tumours behind the estimate",
    "events_exposed": "count of events among the exposed (not a percentage)",
    "n_exposed": "exposed patients",
    "events_reference": "count of events in the reference group",
    "n_reference": "patients in the reference group",
    "percent_exposed": "percentage of events among the exposed, as printed",
    "percent_reference": "percentage of events in the reference group, as printed",
    "numerator": "claim that is divided, for a ratio of two claims in the same cohort (an interaction)",
    "denominator": "claim that divides",
    "direction": "side of the null that the words claim: above or below",
    "significant": "whether the words claim significance: yes or no",
    "restates": "yes if this row only repeats, elsewhere in the paper, the claim of the same name and cohort",
    "plausible_effect": "size of a plausible true effect, on the measure's own scale; default by measure",
    "place": "where it stands in the paper",
    "note": "anything else",
}
"""Column -> what it holds. Only `claim`, `cohort` and `measure` are needed; rows need enough numbers to be audited."""

NEEDED = ("claim", "cohort", "measure")
_NUMBER = re.compile(r"([+-]?)(\d+(?:\.(\d*))?|\.(\d+))(?:[eE]([+-]?\d+))?")
_WHOLE = re.compile(r"\d+(?:\.0+)?")


@dataclass(frozen=True)
class Printed:
    """A number as it was printed.

    Attributes
    ----------
    text
        As printed.
    value
        Its value.
    half_unit
        Half a unit of the last printed digit: what rounding allows on either side.
    """

    text: str
    value: float
    half_unit: float

    @property
    def range(self) -> Range:
        """Values that would have been printed like this."""
        return Range(self.value - self.half_unit, self.value + self.half_unit)

    def could_be(self, value: float) -> bool:
        """Whether a value would have been printed like this."""
        return self.range.holds(value)

    def rounds(self, value: float) -> str:
        """Another value, with the digits that this one was printed with."""
        decimals = max(0, round(-math.log10(2 * self.half_unit)))
        return f"{value:.{decimals}f}"

    @property
    def lost_sign(self) -> bool:
        """Whether it is a zero with a minus sign: the digits after it were lost in print."""
        return self.value == 0 and self.text.startswith("-")


@dataclass(frozen=True)
class PrintedP:
    """A printed P value: the text, and the values it allows."""

    text: str
    range: Range


@dataclass(frozen=True)
class PublishedClaim:
    """One row of the table. `Published.claims` are analysed; `Published.restatements` are compared with them.

    Attributes are the columns of the table (`COLUMNS`); numbers as printed. `row` counts data rows from 1.
    """

    row: int
    claim: str
    family: str
    family_size: int | None
    cohort: str
    measure: Measure
    estimate: Printed | None
    ci_low: Printed | None
    ci_high: Printed | None
    ci_level: float
    p_value: PrintedP | None
    n: int | None
    counts: Counts | None
    percent_exposed: Printed | None
    percent_reference: Printed | None
    numerator: str
    denominator: str
    direction: str
    significant: str
    restates: bool
    plausible_effect: float | None
    place: str
    note: str

    @property
    def key(self) -> tuple[str, str]:
        """Claim and cohort."""
        return self.claim, self.cohort

    @property
    def derived(self) -> bool:
        """Whether it is a ratio of two other claims."""
        return bool(self.numerator or self.denominator)

    @property
    def usable_limits(self) -> tuple[Printed | None, Printed | None]:
        """Limits without one that lost its digits in print (``-0``)."""
        low, high = self.ci_low, self.ci_high
        return (None if low and low.lost_sign else low), (None if high and high.lost_sign else high)


@dataclass(frozen=True)
class Published:
    """A checked table of claims.

    Attributes
    ----------
    claims
        In the order of the file.
    restatements
        Rows that repeat a claim elsewhere in the paper.
    family_sizes
        Number of tests of each family, as declared or as counted.
    declared
        Families whose number of tests was declared.
    source
        The file.
    """

    claims: tuple[PublishedClaim, ...]
    restatements: tuple[PublishedClaim, ...]
    family_sizes: Mapping[str, int]
    declared: frozenset[str]
    source: FileRead


def read_claims(path: Path | str | None = None) -> Published:
    """Read a table of claims, or the one that ships.

    Parameters
    ----------
    path
        CSV (or any table that studies may use). None: the seed study's claims.

    Raises
    ------
    DataError
        Every fault of the file at once: what, in which row, and what to do.
    """
    if path is not None:
        return _read(Path(path), Path(path).name)
    shipped = resources.files("bayes_her2.evidence") / "claims" / SEED_STUDY
    with resources.as_file(shipped) as file:
        return _read(file, SEED_STUDY)


def _read(path: Path, name: str) -> Published:
    table = read_table(path, shown_as=name)
    _check_columns(table.columns, name)
    faults = Faults()
    rows: list[PublishedClaim] = []
    for position, cells in enumerate(table.frame.to_dict("records"), start=1):
        texts = {str(column): _plain(str(cell)) for column, cell in cells.items()}
        where = f"{name}, row {position} ({texts['claim'] or 'no claim'}; {texts['cohort'] or 'no cohort'})"
        row = _Row(texts, where, faults).read(position)
        if row is not None:
            rows.append(row)
    if not faults:
        _check_table(rows, name, faults)
    faults.raise_if_any()
    claims = tuple(row for row in rows if not row.restates)
    sizes, declared = _family_sizes(claims, name, faults)
    faults.raise_if_any()
    return Published(claims, tuple(row for row in rows if row.restates), sizes, declared, table.source)


def _plain(text: str) -> str:
    """Without typographic minus signs and spaces around; missing words as ''."""
    text = " ".join(text.replace("−", "-").replace("–", "-").split())
    return "" if text.casefold() in MISSING_WORDS else text


def _check_columns(columns: Sequence[str], name: str) -> None:
    faults = Faults()
    missing = [column for column in NEEDED if column not in columns]
    if missing:
        faults.add(
            name,
            f"no column {', '.join(missing)}. Needed are {', '.join(NEEDED)}; known: {', '.join(COLUMNS)}",
        )
    for column in columns:
        if column not in COLUMNS:
            hint = suggestion(column, COLUMNS) or f"; known columns: {', '.join(COLUMNS)}"
            faults.add(name, f"column {column!r} is not known, so nothing would read it{hint}")
    faults.raise_if_any()


class _Row:
    """Reads one row; faults are collected with its place."""

    def __init__(self, texts: Mapping[str, str], where: str, faults: Faults) -> None:
        self.texts = texts
        self.where = where
        self.faults = faults
        self.sound = True

    def fault(self, what: str) -> None:
        self.faults.add(self.where, what)
        self.sound = False

    def ok(self) -> bool:
        return self.sound

    def text(self, column: str) -> str:
        return self.texts.get(column, "")

    def number(self, column: str, *, percent: bool = False) -> Printed | None:
        text = self.text(column)
        if not text:
            return None
        plain = text.removesuffix("%").strip() if percent else text
        found = _NUMBER.fullmatch(plain)
        if found is None:
            why = "write a decimal point" if re.fullmatch(r"[+-]?\d+,\d+", text) else "a number is expected"
            self.fault(f"{column} is {text!r}: {why}")
            return None
        decimals = len(found[3] or found[4] or "")
        exponent = int(found[5] or 0)
        if math.isinf(float(plain)):
            self.fault(f"{column} is {text!r}: too large a number")
            return None
        return Printed(plain, float(plain), 0.5 * 10.0 ** (exponent - decimals))

    def whole(self, column: str) -> int | None:
        text = self.text(column)
        if not text:
            return None
        if _WHOLE.fullmatch(text) is None:
            percent = column.startswith("events") and ("%" in text or _NUMBER.fullmatch(text))
            self.fault(
                f"{column} is {text!r}: "
                + (
                    "a percentage given as a count? Write the number of patients "
                    f"(percent_{column.split('_')[1]} takes the percentage)"
                    if percent
                    else f"a whole number is expected{', without a separator' if ',' in text else ''}"
                )
            )
            return None
        return int(float(text))

    def choice(self, column: str, allowed: Sequence[str]) -> str:
        text = self.text(column).casefold()
        if text and text not in allowed:
            self.fault(f"{column} is {self.text(column)!r}; write {' or '.join(allowed)}, or leave it empty")
            return ""
        return text

    def read(self, position: int) -> PublishedClaim | None:
        for column in NEEDED:
            if not self.text(column):
                self.fault(f"{column} is empty")
        measure = MEASURES.get(self.text("measure").casefold())
        if self.text("measure") and measure is None:
            hint = suggestion(self.text("measure"), MEASURES)
            self.fault(f"measure is {self.text('measure')!r}{hint}; known: {', '.join(MEASURES)}")
        estimate, low, high = (self.number(column) for column in ("estimate", "ci_low", "ci_high"))
        level = self._level()
        counts = self._counts()
        n = self.whole("n")
        if counts is not None and n is not None and n != counts.n:
            self.fault(
                f"n is {n} but n_exposed + n_reference is {counts.n}: percentages given as counts, or patients left "
                "out? Give the patients of the fourfold table, or leave n empty"
            )
        plausible = self.number("plausible_effect")
        size = self.whole("family_size")
        if size is not None and not self.text("family"):
            self.fault(f"family_size is {size} and family is empty: name the family")
        percents = [self._percent(column) for column in ("percent_exposed", "percent_reference")]
        p = self._p()
        direction = self.choice("direction", ("above", "below"))
        significant = self.choice("significant", ("yes", "no"))
        restates = self.choice("restates", ("yes", "no")) == "yes"
        if measure is None or not self.ok():
            return None
        self._check_values(measure, estimate, low, high, plausible, restates)
        if not self.ok():
            return None
        claim = PublishedClaim(
            row=position,
            claim=self.text("claim"),
            family=self.text("family"),
            family_size=size,
            cohort=self.text("cohort"),
            measure=measure,
            estimate=estimate,
            ci_low=low,
            ci_high=high,
            ci_level=level,
            p_value=p,
            n=n,
            counts=counts,
            percent_exposed=percents[0],
            percent_reference=percents[1],
            numerator=self.text("numerator"),
            denominator=self.text("denominator"),
            direction=direction,
            significant=significant,
            restates=restates,
            plausible_effect=None if plausible is None else plausible.value,
            place=self.text("place"),
            note=self.text("note"),
        )
        self._check_enough(claim)
        return claim if self.ok() else None

    def _level(self) -> float:
        level = self.number("ci_level")
        if level is None:
            return 0.95
        if not 0.5 <= level.value < 1:
            self.fault(f"ci_level is {level.text}: write a share, such as 0.95")
        return level.value

    def _p(self) -> PrintedP | None:
        text = self.text("p_value")
        if not text:
            return None
        below = text.startswith("<")
        found = _NUMBER.fullmatch(text.lstrip("<= ").strip())
        if found is None or found[1] == "-":
            self.fault(
                f"p_value is {text!r}: write it as printed, 0.005 or <0.001; leave it empty where the paper prints "
                "none ('n.s.', '>0.05'), and write no in the column `significant`"
            )
            return None
        value = float(found[0])
        half = 0.5 * 10.0 ** (int(found[5] or 0) - len(found[3] or found[4] or ""))
        if value == 0 or value > 1:
            self.fault(
                f"p_value is {text!r}: a P value lies above 0 and is at most 1; write <0.001 for a printed 0.000"
            )
            return None
        return PrintedP(
            text, Range(0.0, value) if below else Range(max(0.0, value - half), min(1.0, value + half))
        )

    def _percent(self, column: str) -> Printed | None:
        percent = self.number(column, percent=True)
        if percent is not None and not 0 <= percent.value <= 100:
            self.fault(f"{column} is {percent.text}: a percentage lies between 0 and 100")
        return percent

    def _counts(self) -> Counts | None:
        before = self.ok()
        read = {column: self.whole(column) for column in COUNT_COLUMNS}
        values = {column: value for column, value in read.items() if value is not None}
        if before != self.ok() or not values:
            return None
        missing = [column for column in COUNT_COLUMNS if column not in values]
        if missing:
            self.fault(f"{', '.join(missing)} empty: a fourfold table needs {', '.join(COUNT_COLUMNS)}")
            return None
        counts = Counts(**values)
        for events, n, group in (
            (counts.events_exposed, counts.n_exposed, "exposed"),
            (counts.events_reference, counts.n_reference, "reference"),
        ):
            if n == 0:
                self.fault(f"n_{group} is 0: an empty group is no group")
            elif events > n:
                self.fault(
                    f"events_{group} is {events} of n_{group} {n}: more events than patients. A percentage given as a "
                    f"count? Write the number of patients (percent_{group} takes the percentage)"
                )
        if before == self.ok() and 0 in counts.cells:
            self.fault(
                f"a cell of the fourfold table is zero ({counts.events_exposed}/{counts.n_exposed} against "
                f"{counts.events_reference}/{counts.n_reference}): its odds ratio is 0 or infinite and has no Wald "
                "interval; nothing is added to a cell in silence. Leave the four counts empty and give the estimate "
                "and interval that the paper prints"
            )
        return counts if before == self.ok() else None

    def _check_values(
        self,
        measure: Measure,
        estimate: Printed | None,
        low: Printed | None,
        high: Printed | None,
        plausible: Printed | None,
        restates: bool,
    ) -> None:
        named = {"estimate": estimate, "ci_low": low, "ci_high": high, "plausible_effect": plausible}
        for column, number in named.items():
            if number is None or (number.lost_sign and column.startswith("ci_")):
                continue
            if measure.is_ratio and number.value <= 0:
                self.fault(
                    f"{column} is {number.text}: a ratio is positive. If print rounded it to zero, give more digits or "
                    "leave it empty"
                )
            if measure.scale == "Fisher z" and abs(number.value) + number.half_unit > 1:
                self.fault(
                    f"{column} is {number.text}: a correlation lies between -1 and 1, with digits to spare"
                )
        if plausible is not None and plausible.value == measure.null:
            self.fault(f"plausible_effect is the null, {measure.null:g}: give the size of a plausible effect")
        if not self.ok():
            return
        usable = [None if number is None or number.lost_sign else number for number in (low, high)]
        if usable[0] and usable[1] and usable[0].value >= usable[1].value:
            self.fault(f"ci_low {usable[0].text} is not below ci_high {usable[1].text}: exchanged?")
            return
        if estimate is None or restates:  # what another place misprints is found out, not refused
            return
        outside = (usable[0] and estimate.range.high < usable[0].range.low) or (
            usable[1] and estimate.range.low > usable[1].range.high
        )
        if outside:
            shown = [number.text if number else "?" for number in (low, high)]
            self.fault(
                f"the interval {shown[0]} to {shown[1]} does not contain its estimate {estimate.text}: one of the "
                "three is misprinted or mistyped. Check it against the paper"
            )

    def _check_enough(self, claim: PublishedClaim) -> None:
        if claim.counts is not None and claim.measure.name != ODDS_RATIO:
            self.fault(
                f"counts are given for {claim.measure.a_name}: a fourfold table gives an odds ratio and cannot check "
                "it. Remove the counts, or make the odds ratio a claim of its own"
            )
        if claim.counts is not None and claim.derived:
            self.fault(
                "counts are given for a ratio of two claims, which has no fourfold table. Empty the counts, or "
                "numerator and denominator"
            )
        if bool(claim.numerator) != bool(claim.denominator):
            self.fault("numerator and denominator belong together: give both, or neither")
        if claim.restates or claim.derived or claim.counts is not None:
            return
        low, high = claim.usable_limits
        by_n = claim.n is not None and claim.measure.name in (CORRELATION, RANK_CORRELATION)
        if claim.estimate is None or not (low or high or by_n):
            self.fault(
                "not enough numbers to audit: give the estimate with its interval, or the four counts of an odds "
                "ratio, or a correlation with n, or numerator and denominator"
            )
        elif by_n and claim.n is not None and claim.n < 5:
            self.fault(f"n is {claim.n}: Fisher's z needs at least 5")


def _check_table(rows: Sequence[PublishedClaim], name: str, faults: Faults) -> None:
    """Check what concerns several rows: repeats, families, measures, references between rows."""
    claims = [row for row in rows if not row.restates]
    if not claims:
        faults.add(name, "no claim to audit: every row restates another")
    by_key = {row.key: row for row in claims}
    for key, times in Counter(row.key for row in claims).items():
        if times > 1:
            where = ", ".join(str(row.row) for row in claims if row.key == key)
            faults.add(
                name,
                f"'{key[0]}' in cohort '{key[1]}' is listed {times} times (rows {where}). Keep one row; if another "
                "place of the paper repeats it, write yes in the column `restates` of that row",
            )
    by_claim: dict[str, list[PublishedClaim]] = defaultdict(list)
    for row in claims:
        by_claim[row.claim].append(row)
    for claim, members in by_claim.items():
        measures = dict.fromkeys(row.measure.a_name for row in members)
        if len(measures) > 1:
            faults.add(
                name,
                f"'{claim}' is {' and '.join(measures)} in different cohorts (rows "
                f"{', '.join(str(row.row) for row in members)}): they are different quantities and cannot replicate "
                "each other. Give each measure a claim of its own",
            )
        numbers: dict[tuple[object, ...], list[PublishedClaim]] = defaultdict(list)
        for row in members:
            if row.counts:
                numbers[(row.counts,)].append(row)
            elif row.estimate and row.ci_low and row.ci_high:
                numbers[(row.estimate.value, row.ci_low.value, row.ci_high.value)].append(row)
        for same in numbers.values():
            if len({row.cohort for row in same}) > 1:
                cohorts = name_some([f"'{row.cohort}' (row {row.row})" for row in same])
                faults.add(
                    name,
                    f"'{claim}' has the same numbers in {cohorts}: one study listed twice would replicate "
                    "itself. Keep one of them",
                )
    for row in rows:
        where = f"{name}, row {row.row} ({row.claim}; {row.cohort})"
        if row.restates and row.key not in by_key:
            faults.add(
                where,
                "restates a claim that the table does not have in this cohort; add it, or correct the name",
            )
        elif row.restates and row.measure.name != by_key[row.key].measure.name:
            faults.add(
                where,
                f"is {row.measure.a_name} and restates {by_key[row.key].measure.a_name}: not the same quantity",
            )
        for column, other in (("numerator", row.numerator), ("denominator", row.denominator)):
            if not other:
                continue
            found = by_key.get((other, row.cohort))
            if found is None or found.derived:
                faults.add(
                    where,
                    f"{column} '{other}' is not a claim with numbers of its own in cohort '{row.cohort}'",
                )
            elif not (found.measure.is_ratio and row.measure.is_ratio):
                faults.add(where, f"{column} '{other}' is {found.measure.a_name}: only ratios can be divided")
            elif row.measure.name == RATIO_OF_ODDS_RATIOS and found.measure.name != ODDS_RATIO:
                faults.add(
                    where,
                    f"{column} '{other}' is {found.measure.a_name}: a ratio of odds ratios divides odds ratios",
                )
        if row.numerator and row.numerator == row.denominator:
            faults.add(where, "numerator and denominator are the same claim")


def _family_sizes(
    claims: Sequence[PublishedClaim], name: str, faults: Faults
) -> tuple[dict[str, int], frozenset[str]]:
    sizes: dict[str, int] = {}
    declared: set[str] = set()
    members: dict[str, list[PublishedClaim]] = defaultdict(list)
    for claim in claims:
        if claim.family:
            members[claim.family].append(claim)
    for family, rows in members.items():
        stated = {row.family_size for row in rows if row.family_size is not None}
        if len(stated) > 1:
            faults.add(
                name,
                f"family '{family}' has sizes {name_some(sorted(stated))}: a family has one number of tests",
            )
        elif stated and min(stated) < len(rows):
            faults.add(
                name,
                f"family '{family}' has {counted(len(rows), 'claim', 'claims')} here and family_size {min(stated)}: "
                "the size counts every test, printed or not",
            )
        sizes[family] = max([*stated, len(rows)])
        if stated:
            declared.add(family)
    return sizes, frozenset(declared)
