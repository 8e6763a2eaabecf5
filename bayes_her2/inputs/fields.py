"""Values of fields: vocabularies of the standard ones, what counts as missing, numbers.

A field is what the study file calls a column (``er``, ``age``, ``grade``). Standard categorical
fields have a vocabulary, so that ``Positive``, ``pos`` and ``+`` all become ``positive``; a word
outside it is a fault, never a guess.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from bayes_her2.errors import MAX_NAMED, Faults, name_some

MISSING_WORDS = frozenset({"", "na", "nan", "n/a", "[not available]", "#n/a", "<na>"})
"""Cells read as missing in every table (compared without regard to case)."""

NUMERIC_FIELDS = frozenset({"age", "her2_faint_percent"})
"""Standard fields that must be numbers."""

LABEL_FIELDS = frozenset({"centre", "batch"})
"""Standard fields that are names, even when they look like numbers ('1.0' is read as '1')."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_WHOLE_AS_FLOAT = re.compile(r"([+-]?\d+)\.0+")
_STAGE = re.compile(r"(?:stage\s*)?(0|iv|i{1,3}|[1-4])\s*[abc]?\d?")
_ROMAN = {"0": "0", "1": "I", "2": "II", "3": "III", "4": "IV"}


@dataclass(frozen=True)
class Vocabulary:
    """Values that a standard field may take, and the words read as each.

    Attributes
    ----------
    values
        The values that appear in a cohort table.
    words
        Word (lower case) -> value.
    """

    values: tuple[str, ...]
    words: Mapping[str, str] = field(default_factory=dict)


def _words(**meanings: str) -> dict[str, str]:
    """``value="word word"`` -> {word: value}; underscores in values read as spaces."""
    return {word: value.replace("_", " ") for value, words in meanings.items() for word in words.split()}


_RECEPTOR = _words(positive="positive pos + 1", negative="negative neg - − 0")

VOCABULARIES: dict[str, Vocabulary] = {
    **{
        name: Vocabulary(
            ("positive", "negative"),
            {**_RECEPTOR, f"{short}+": "positive", f"{short}-": "negative"},
        )
        for name, short in (("hr", "hr"), ("er", "er"), ("pgr", "pr"))
    },
    "her2_ihc": Vocabulary(
        ("0", "1+", "2+", "3+"),
        {"0": "0", "1": "1+", "1+": "1+", "2": "2+", "2+": "2+", "3": "3+", "3+": "3+"},
    ),
    "her2_ish": Vocabulary(
        ("amplified", "not amplified"),
        {
            **{w: "amplified" for w in ("amplified", "positive", "pos", "+", "1")},
            **{
                w: "not amplified"
                for w in ("not amplified", "non-amplified", "nonamplified", "negative", "neg", "-", "−", "0")
            },
        },
    ),
    # No 1 and 0 here: an IHC level of 1 mapped to the call by mistake would read as positive.
    "her2_call": Vocabulary(
        ("positive", "negative", "equivocal"),
        _words(positive="positive pos +", negative="negative neg - −", equivocal="equivocal"),
    ),
    "sex": Vocabulary(("female", "male"), _words(female="female f", male="male m")),
    "stage": Vocabulary(("0", "I", "II", "III", "IV")),
    "neoadjuvant": Vocabulary(("yes", "no"), _words(yes="yes y true 1", no="no n false 0")),
}
"""Standard categorical fields. Stage is read by pattern: 'Stage IIA', 'IIA', '2' and '2.0' are 'II'."""

STANDARD_FIELDS: tuple[str, ...] = (*VOCABULARIES, *sorted(NUMERIC_FIELDS | LABEL_FIELDS))
"""Names of fields that the package knows; any other name may be used for covariates."""


def look_up(name: str, word: str) -> str | None:
    """Value of a standard categorical field for one word of a table, or None if it is not known."""
    known = VOCABULARIES[name]
    plain = " ".join(word.casefold().split())
    if name == "stage":
        found = _STAGE.fullmatch(whole_label(plain))
        if found is None:
            return None
        step = found.group(1)
        return _ROMAN[step] if step.isdigit() else step.upper()
    return known.words.get(plain) or known.words.get(whole_label(plain))


def whole_label(word: str) -> str:
    """'1.0' as '1'; anything else unchanged. Spreadsheets write codes either way."""
    found = _WHOLE_AS_FLOAT.fullmatch(word)
    return found.group(1) if found else word


def number_or_none(word: str) -> float | None:
    """Read the number that a cell holds in plain or scientific notation; None for anything else."""
    text = word.strip()
    if _NUMBER.fullmatch(text) is None:
        return None
    value = float(text)
    return value if abs(value) != float("inf") else None


def numbers(words: pd.Series[str]) -> tuple[pd.Series[float], pd.Series[str]]:
    """Parse a column of text.

    Parameters
    ----------
    words
        Cells as text; missing cells are NA or one of ``MISSING_WORDS``.

    Returns
    -------
    values, refused
        Float column with NaN where missing or refused, and the cells that are not numbers.
    """
    present = present_mask(words)
    parsed = pd.Series(
        [number_or_none(w) if p else None for w, p in zip(words.fillna(""), present, strict=True)],
        index=words.index,
        dtype="float64",
    )
    return parsed, words[present & parsed.isna()]


def present_mask(words: pd.Series[str]) -> pd.Series[bool]:
    """Mark the cells that are not missing."""
    filled = words.fillna("")
    return ~filled.str.strip().str.casefold().isin(MISSING_WORDS)


def explain_not_numbers(refused: pd.Series[str]) -> str:
    """Say which cells are not numbers, in which rows, and hint at decimal commas.

    Parameters
    ----------
    refused
        Cells that are not numbers, indexed by tumour.

    Returns
    -------
    str
        A sentence without its full stop.
    """
    text = f"{counted(len(refused), 'cell is', 'cells are')} not a number: {with_counts(refused)}"
    text += f" (in {name_some(dict.fromkeys(refused.index))})"
    commas = int(refused.str.strip().str.fullmatch(_DECIMAL_COMMA).sum())
    if commas:
        text += f". {counted(commas, 'has a decimal comma', 'have decimal commas')}: save with decimal points"
    return text


def with_counts(words: pd.Series[str], most: int = MAX_NAMED) -> str:
    """``'Indeterminate' (3), 'Equivocal' (1)``, the most frequent first."""
    counts = words.value_counts()
    return name_some([f"'{word}' ({n})" for word, n in counts.items()], most)


def counted(n: int, one: str, many: str) -> str:
    """``1 row``, ``1,204 rows``."""
    return f"{n:,} {one if n == 1 else many}"


def span(low: float, high: float) -> str:
    """``0.31 to 2.4``, or one number where both read the same."""
    lower, upper = f"{low:.4g}", f"{high:.4g}"
    return lower if lower == upper else f"{lower} to {upper}"


def close_matches(name: str, names: Iterable[str], most: int = 3) -> list[str]:
    """Names that a reader could have meant, compared without regard to case and punctuation."""
    plain: dict[str, str] = {}
    for candidate in names:
        plain.setdefault(re.sub(r"[\W_]+", " ", candidate.casefold()).strip(), candidate)
    wanted = re.sub(r"[\W_]+", " ", name.casefold()).strip()
    if wanted in plain:
        return [plain[wanted]]
    contained = [original for key, original in plain.items() if wanted and wanted in key.split()]
    near = [plain[key] for key in difflib.get_close_matches(wanted, list(plain), n=most, cutoff=0.8)]
    slips = [original for key, original in plain.items() if _one_slip(wanted, key)]
    return list(dict.fromkeys([*near, *slips, *contained]))[:most]


def _one_slip(one: str, other: str) -> bool:
    """Whether two words of four or more letters differ in one letter, or in the order of two neighbours.

    Letters only: CD8A is no slip for CD8B.
    """
    if len(one) != len(other) or len(one) < 4 or not one.isalpha():
        return False
    differing = [i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    if len(differing) != 2:
        return len(differing) == 1
    first, second = differing
    return second == first + 1 and one[first] == other[second] and one[second] == other[first]


def suggestion(name: str, names: Iterable[str]) -> str:
    """``; did you mean 'age'?`` or an empty text."""
    near = close_matches(name, names)
    return f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""


@dataclass(frozen=True)
class ValueRules:
    """How the cells of one column become values of one field.

    Attributes
    ----------
    field
        Name of the field.
    values
        Word -> value as the study gives them; None uses the vocabulary of a standard field.
    missing
        Further words to read as missing.
    must_be_numeric
        Whether text is a fault (the HER2 measure, the multiplier, ``age``).
    is_covariate
        Whether a mix of numbers and text is a fault.
    """

    field: str
    values: Mapping[str, str | int | float] | None = None
    missing: tuple[str, ...] = ()
    must_be_numeric: bool = False
    is_covariate: bool = False


def map_values(words: pd.Series[str], rules: ValueRules, where: str, faults: Faults) -> pd.Series | None:
    """Turn the cells of one column into values of a field.

    Parameters
    ----------
    words
        Cells as text, indexed by tumour (which may occur more than once).
    rules
        What the study says about the field.
    where
        Place for messages: cohort, field, column and table.
    faults
        Collects words that are not understood.

    Returns
    -------
    pandas.Series or None
        float64 for numbers, text otherwise, NA where missing. None after a fault.
    """
    kept = words.fillna("").astype("str").str.strip()
    dropped = {word.casefold() for word in rules.missing}
    missing = ~present_mask(kept) | kept.str.casefold().isin(dropped)
    kept = kept.mask(missing)
    numeric = rules.must_be_numeric or rules.field in NUMERIC_FIELDS

    if rules.values is not None:
        unknown, kept = _from_study(kept, rules.values)
        if not unknown.empty:
            _report_unknown(unknown, rules.field, where, faults, mapped=tuple(rules.values))
            return None
    elif rules.field in VOCABULARIES:
        found = kept.map(lambda word: look_up(rules.field, word), na_action="ignore").astype("str")
        unknown = kept[kept.notna() & found.isna()]
        if unknown.empty:
            return found
        _report_unknown(unknown, rules.field, where, faults)
        return None
    elif rules.field in LABEL_FIELDS:
        return kept.map(whole_label, na_action="ignore").astype("str")
    if rules.field in VOCABULARIES or rules.field in LABEL_FIELDS:
        return kept

    parsed, refused = numbers(kept)
    if refused.empty and (numeric or bool(parsed.notna().any())):
        return parsed
    mixed = rules.is_covariate and len(refused) < int(kept.notna().sum())
    if numeric or mixed:
        listed = ", ".join(f'"{word}"' for word in refused.drop_duplicates().head(MAX_NAMED))
        faults.add(
            where,
            f"text in a numeric column: {explain_not_numbers(refused)}. Correct the file, or read these words"
            f" as missing: missing = [{listed}]"
            + ("" if numeric else ". If the field is a category, map every value in `values`"),
        )
        return None
    return kept


def _from_study(kept: pd.Series, values: Mapping[str, str | int | float]) -> tuple[pd.Series, pd.Series]:
    """Words that the study does not map, and the values of the others."""
    exact = {word: str(value) for word, value in values.items()}
    folded = {whole_label(word.casefold()): value for word, value in exact.items()}
    found = kept.map(
        lambda word: exact.get(word, folded.get(whole_label(word.casefold()))), na_action="ignore"
    ).astype("str")
    return kept[kept.notna() & found.isna()], found


def _report_unknown(
    unknown: pd.Series, name: str, where: str, faults: Faults, mapped: tuple[str, ...] | None = None
) -> None:
    """Add a fault for words without a meaning; its example never gives them one."""
    different = list(unknown.drop_duplicates())
    known = VOCABULARIES.get(name)
    meaning = "<its meaning>" if known is None else f"<one of: {', '.join(known.values)}>"
    if mapped is not None:
        takes = f"`values` maps only {', '.join(repr(word) for word in mapped)}"
        example = f'values = {{ ..., "{different[0]}" = "{meaning}" }}'
    else:
        values = ", ".join(repr(value) for value in (known.values if known is not None else ()))
        takes = f"the field takes {values} and the usual words for them"
        example = f'values = {{ "{different[0]}" = "{meaning}", ... }} with every word of the column'
    listed = ", ".join(f'"{word}"' for word in different[:MAX_NAMED])
    faults.add(
        where,
        f"{counted(len(different), 'value is', 'values are')} not understood: {with_counts(unknown)};"
        f" {takes}. Say what they mean with {example}, or read them as missing with missing = [{listed}]",
    )
