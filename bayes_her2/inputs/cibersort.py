"""CIBERSORT and CIBERSORTx results in the forms they circulate in, with every check that needs no other file.

The scale is decided by what the rows sum to, never by the file's name: fractions sum to 1,
absolute scores to the `Absolute score` column, percentages to 100.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from bayes_her2.data import LM22_CELL_TYPES, Exclusion, FileRead, Scale
from bayes_her2.errors import MAX_NAMED, DataError, Faults, name_some
from bayes_her2.inputs.fields import close_matches, counted, explain_not_numbers, numbers, present_mask, span
from bayes_her2.inputs.ids import apply_id_rules, explain_replicates
from bayes_her2.inputs.study import CibersortFiles, Study
from bayes_her2.inputs.tables import Table, header_looks_like_data, read_table

ROW_SUM_TOLERANCE = 0.01
"""Fractions rounded to three decimals still sum to 1 within this."""

SCORE_TOLERANCE = 0.02
"""Relative difference allowed between a row sum and its Absolute score."""

NO_PERMUTATIONS = 9999.0
"""P-value that CIBERSORT writes when no permutations were run."""

ID_COLUMNS = ("mixture", "sampleid", "inputsample", "id")

IMMUNEDECONV_NAMES: dict[str, str] = {
    "B cell naive": "B cells naive",
    "B cell memory": "B cells memory",
    "B cell plasma": "Plasma cells",
    "T cell CD8+": "T cells CD8",
    "T cell CD4+ naive": "T cells CD4 naive",
    "T cell CD4+ memory resting": "T cells CD4 memory resting",
    "T cell CD4+ memory activated": "T cells CD4 memory activated",
    "T cell follicular helper": "T cells follicular helper",
    "T cell regulatory (Tregs)": "T cells regulatory (Tregs)",
    "T cell gamma delta": "T cells gamma delta",
    "NK cell resting": "NK cells resting",
    "NK cell activated": "NK cells activated",
    "Monocyte": "Monocytes",
    "Macrophage M0": "Macrophages M0",
    "Macrophage M1": "Macrophages M1",
    "Macrophage M2": "Macrophages M2",
    "Myeloid dendritic cell resting": "Dendritic cells resting",
    "Myeloid dendritic cell activated": "Dendritic cells activated",
    "Mast cell resting": "Mast cells resting",
    "Mast cell activated": "Mast cells activated",
    "Eosinophil": "Eosinophils",
    "Neutrophil": "Neutrophils",
}
"""Names of the LM22 types in immunedeconv and TIMER."""

_SUFFIX = re.compile(r"[_. ]cibersort([-_.]abs)?$", re.IGNORECASE)
_QUALITY = {
    "pvalue": "p_value",
    "correlation": "correlation",
    "pearsoncorrelation": "correlation",
    "rmse": "rmse",
}
_SCORE = "absolutescore"


@dataclass(frozen=True)
class ScaleSeen:
    """The scale that one file shows, and the evidence in words.

    ``scale`` is None where the file fits neither scale (a fault says why).
    """

    cohort: str
    file: str
    scale: Scale | None
    evidence: str


@dataclass(frozen=True)
class Abundances:
    """Deconvolution results of one cohort, one row per tumour.

    Attributes
    ----------
    values
        Tumour x cell type.
    quality
        ``p_value``, ``correlation``, ``rmse``, ``n_aliquots``.
    batch
        Batch label per tumour, or None.
    samples
        Ids before they were cut to a prefix (for messages about joins).
    scales
        What each file shows about its scale.
    """

    values: pd.DataFrame
    quality: pd.DataFrame
    batch: pd.Series[str] | None
    samples: tuple[str, ...]
    scales: tuple[ScaleSeen, ...]
    exclusions: tuple[Exclusion, ...]
    notices: tuple[str, ...]
    files: tuple[FileRead, ...]


@dataclass(frozen=True)
class _OneFile:
    """Rows of one result file, before files are put together."""

    rows: pd.DataFrame  # cells as text, for exact duplicates
    sample: pd.Series[str]
    tumour: pd.Series[str]
    values: pd.DataFrame
    quality: pd.DataFrame
    seen: ScaleSeen
    left_out: tuple[str, ...]
    notices: tuple[str, ...]
    source: FileRead


def read_abundances(study: Study, cohort: str, settings: CibersortFiles, faults: Faults) -> Abundances | None:
    """Read the result files of one cohort.

    Parameters
    ----------
    study
        For the folder of the files, the scale and the cell types.
    cohort
        Name of the cohort.
    settings
        Files, batches, ids, layout and replicates.
    faults
        Collects everything that is wrong.

    Returns
    -------
    Abundances or None
        None if a file could not be read at all.
    """
    parts: list[_OneFile] = []
    readable = True
    for written in settings.files:
        where = f"cohort '{cohort}', cibersort ({Path(written).name})"
        one = _read_file(study, cohort, settings, written, where, faults)
        readable = readable and one is not None
        if one is not None:
            parts.append(one)
    if not readable or not parts:
        return None
    return _put_together(cohort, settings, parts, faults)


def _read_file(
    study: Study, cohort: str, settings: CibersortFiles, written: str, where: str, faults: Faults
) -> _OneFile | None:
    try:
        table = read_table(study.resolve(written), shown_as=written, sheet=settings.sheet)
        if settings.layout == "cells_in_rows":
            table = _turned(table, study.abundance.cell_types, where)
        columns = _match_columns(table, study.abundance.cell_types, study.abundance.scale, settings, where)
    except DataError as error:
        faults.extend(_placed(fault, cohort) for fault in error.faults)
        return None
    ids = apply_id_rules(table.frame[columns.ids], settings.ids, where, faults)
    kept = table.frame.loc[ids.frame.index]
    named = ids.frame["tumour"]
    values = _parse_cells(kept, columns.cells, named, where, faults)
    quality, score = _parse_quality(kept, columns, named, where, faults)
    seen = ScaleSeen(cohort, Path(written).name, None, "")
    notices = list(columns.notices)
    if values is not None and len(values):
        seen = _judge_scale(values, score, named, study.abundance.scale, seen, where, faults, columns.ignored)
        notices += _p_value_notice(quality["p_value"], settings.max_p_value, where, faults)
    if values is None:
        return None
    return _OneFile(
        rows=kept.drop(columns=columns.ids),
        sample=ids.frame["sample"],
        tumour=named,
        values=values,
        quality=quality,
        seen=seen,
        left_out=ids.left_out,
        notices=tuple(f"{Path(written).name}: {notice}" for notice in notices),
        source=table.source,
    )


def _placed(fault: str, cohort: str) -> str:
    return fault if fault.startswith("cohort ") else f"cohort '{cohort}', cibersort: {fault}"


# --- columns ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Columns:
    ids: str
    cells: dict[str, str]  # cell type -> column
    quality: dict[str, str]  # p_value, correlation, rmse -> column
    score: str | None
    ignored: tuple[str, ...]
    notices: tuple[str, ...]


def _plain(name: str) -> str:
    """Reduce a name to what R's make.names() leaves of it: letters and digits, in lower case."""
    return re.sub(r"[^a-z0-9]+", "", name.casefold())


def _mangled(name: str) -> str:
    """Write a name as R's make.names() does."""
    dotted = re.sub(r"[^A-Za-z0-9._]", ".", name)
    return dotted if re.match(r"[A-Za-z.]", dotted) else f"X{dotted}"


def _without_suffix(column: str) -> str:
    return _SUFFIX.sub("", column)


def _aliases(cell_types: Sequence[str]) -> dict[str, list[str]]:
    """Give each cell type the other names under which it is known."""
    other: dict[str, list[str]] = {name: [] for name in cell_types}
    for alias, name in IMMUNEDECONV_NAMES.items():
        if name in other and name in LM22_CELL_TYPES:
            other[name].append(alias)
    return other


def _find(name: str, aliases: Sequence[str], columns: Sequence[str], ambiguous: frozenset[str]) -> list[str]:
    """Columns that hold a cell type, by the strictest comparison that finds one."""
    names = (name, *aliases)
    exact = [c for c in columns if _without_suffix(c) in names]
    if exact:
        return exact
    mangled = [c for c in columns if _without_suffix(c) in {_mangled(n) for n in names}]
    if mangled:
        return mangled
    plain = {_plain(n) for n in names} - ambiguous
    return [c for c in columns if _plain(_without_suffix(c)) in plain]


def _cell_type_names(names: Sequence[str], cell_types: Sequence[str]) -> dict[str, list[str]]:
    """Match names (of columns, or of rows) with cell types."""
    plain = [_plain(name) for name in cell_types]
    ambiguous = frozenset(p for p in plain if plain.count(p) > 1)
    aliases = _aliases(cell_types)
    return {name: _find(name, aliases[name], names, ambiguous) for name in cell_types}


def _turned(table: Table, cell_types: Sequence[str], where: str) -> Table:
    """Turn a table with cell types in rows."""
    found = _cell_type_names(table.first_column, cell_types)
    if not any(found.values()):
        raise DataError(
            f'{where}: layout = "cells_in_rows", but the first column names no cell type of the study (it has'
            f" {name_some(table.first_column)}). If cell types are the column names, remove `layout`"
        )
    names = table.frame.columns[0]
    repeated = [n for n in table.frame[names] if list(table.first_column).count(n) > 1]
    if repeated:
        raise DataError(f"{where}: rows occur more than once: {name_some(dict.fromkeys(repeated))}")
    turned = table.frame.set_index(names).T
    turned.columns = pd.Index([str(c) for c in turned.columns], dtype="str")
    turned = turned.rename_axis("sample").reset_index()
    return replace(table, frame=turned.astype("str"), first_column=tuple(turned["sample"]))


def _match_columns(
    table: Table, cell_types: Sequence[str], scale: Scale, settings: CibersortFiles, where: str
) -> _Columns:
    columns = table.columns
    notices: list[str] = []
    found = _cell_type_names(columns, cell_types)
    for name, matches in found.items():
        if len(matches) > 1:
            found[name] = _of_scale(matches, scale)
    _check_found(found, table, cell_types, where)
    cells = {name: matches[0] for name, matches in found.items()}

    used = set(cells.values())
    rest = [c for c in columns if c not in used]
    ids = _id_column(table, rest, settings, where)
    rest = [c for c in rest if c != ids]
    if settings.ids.column is None and ids != columns[0]:
        notices.append(f"ids are read from the column '{ids}', not from the first")
    quality: dict[str, str] = {}
    score: str | None = None
    ignored: list[str] = []
    for column in rest:
        plain = _plain(_without_suffix(column))
        if plain in _QUALITY and _QUALITY[plain] not in quality:
            quality[_QUALITY[plain]] = column
        elif plain.startswith(_SCORE) and score is None:
            score = column
        else:
            ignored.append(column)
    if ignored:
        notices.append(
            f"{counted(len(ignored), 'column is', 'columns are')} not used: {name_some(map(repr, ignored))}"
        )
    return _Columns(ids, cells, quality, score, tuple(ignored), tuple(notices))


def _of_scale(matches: list[str], scale: Scale) -> list[str]:
    """Of two columns with suffix _CIBERSORT and _CIBERSORT-ABS (TIMER), the one of the study's scale."""
    absolute = [c for c in matches if (s := _SUFFIX.search(c)) is not None and s.group(1)]
    relative = [c for c in matches if c not in absolute]
    return absolute if scale == "absolute" and absolute else relative


def _check_found(found: dict[str, list[str]], table: Table, cell_types: Sequence[str], where: str) -> None:
    columns = table.columns
    missing = [name for name, matches in found.items() if not matches]
    if len(missing) == len(cell_types):
        in_rows = _cell_type_names(table.first_column, cell_types)
        n_rows = sum(bool(matches) for matches in in_rows.values())
        if n_rows > len(cell_types) / 2:
            raise DataError(
                f"{where}: the table is transposed: {n_rows} of {len(cell_types)} cell types are rows (as"
                " immunedeconv writes them) and the samples are columns. Set"
                ' layout = "cells_in_rows" in [cohort.cibersort]'
            )
        lm22 = " the 22 of LM22" if tuple(cell_types) == LM22_CELL_TYPES else f" {name_some(cell_types)}"
        hint = (
            " The first line looks like data: is the header missing?"
            if header_looks_like_data(columns)
            else ""
        )
        raise DataError(
            f"{where}: no cell type was found. Wanted:{lm22}; columns:"
            f" {name_some(map(repr, columns))}.{hint} For"
            " another signature, list its cell types as abundance.cell_types"
        )
    faults = Faults()
    if missing:
        taken = {m for matches in found.values() for m in matches}
        free = [c for c in columns if c not in taken]
        named = []
        for name in missing:
            near = close_matches(name, free)
            named.append(
                f"'{name}'" + (f" (a column is called {' or '.join(map(repr, near))})" if near else "")
            )
        faults.add(
            where,
            f"{counted(len(missing), 'cell type is', 'cell types are')} missing: {name_some(named)}. Every"
            " cohort needs every cell type: rename the column, or list the types that all cohorts have as"
            " abundance.cell_types",
        )
    for name, matches in found.items():
        if len(matches) > 1:
            faults.add(
                where, f"'{name}' has {len(matches)} columns: {name_some(map(repr, matches))}; delete one"
            )
    faults.raise_if_any()


def _id_column(table: Table, rest: Sequence[str], settings: CibersortFiles, where: str) -> str:
    columns = table.columns
    wanted = settings.ids.column
    if settings.layout == "cells_in_rows":
        return columns[0]
    if wanted is not None:
        if wanted in columns:
            return wanted
        near = close_matches(wanted, rest)
        raise DataError(
            f"{where}: no column '{wanted}' for the ids; "
            + (
                f"did you mean {' or '.join(map(repr, near))}?"
                if near
                else f"columns: {name_some(columns, 8)}"
            )
        )
    known = [c for c in rest if _plain(c) in ID_COLUMNS]
    if known:
        return min(known, key=lambda c: ID_COLUMNS.index(_plain(c)))
    if columns[0] in rest:
        return columns[0]
    raise DataError(
        f"{where}: no column of ids: the first column is the cell type '{columns[0]}' and none is"
        " called Mixture,"
        ' SampleID, Input Sample or ID. Name the column: ids = { column = "..." }'
    )


# --- cells -----------------------------------------------------------------------------------


def _parse_cells(
    rows: pd.DataFrame, cells: dict[str, str], tumours: pd.Series[str], where: str, faults: Faults
) -> pd.DataFrame | None:
    """Numbers of every cell type; None if some cell is missing or not a number."""
    parsed: dict[str, pd.Series[float]] = {}
    whole = True
    missing: dict[str, list[str]] = {}
    for name, column in cells.items():
        words = rows[column]
        values, refused = numbers(words)
        parsed[name] = values
        empty = ~present_mask(words)
        if bool(empty.any()):
            missing[name] = list(tumours[empty])
        if not refused.empty:
            whole = False
            faults.add(
                where,
                f"'{name}': {explain_not_numbers(refused.set_axis(tumours[refused.index]))}. Correct"
                " the file",
            )
        negative = values < 0
        if bool(negative.any()):
            faults.add(
                where,
                f"'{name}' has {counted(int(negative.sum()), 'negative value', 'negative values')}"
                f" ({name_some(tumours[negative])}; lowest {values.min():g}). CIBERSORT sets negative"
                " weights to 0:"
                " these are not its results, or were transformed (logarithm, z-score); use the"
                " untransformed file",
            )
    if missing:
        whole = False
        ids = list(dict.fromkeys(i for listed in missing.values() for i in listed))
        n = sum(len(listed) for listed in missing.values())
        faults.add(
            where,
            f"{counted(n, 'abundance is', 'abundances are')} missing, in"
            f" {counted(len(ids), 'tumour', 'tumours')}"
            f" ({name_some(ids)}) and {counted(len(missing), 'cell type', 'cell types')}"
            f" ({name_some(missing)})."
            " CIBERSORT leaves no cell empty and an absent type is 0: complete the file, or delete"
            " these rows",
        )
    return pd.DataFrame(parsed) if whole else None


def _parse_quality(
    rows: pd.DataFrame, columns: _Columns, tumours: pd.Series[str], where: str, faults: Faults
) -> tuple[pd.DataFrame, pd.Series[float] | None]:
    quality = pd.DataFrame(float("nan"), index=rows.index, columns=["p_value", "correlation", "rmse"])
    score: pd.Series[float] | None = None
    wanted = dict(columns.quality) | ({"score": columns.score} if columns.score is not None else {})
    for name, column in wanted.items():
        words = rows[column]
        values, refused = numbers(words)
        if not refused.empty:
            faults.add(
                where,
                f"'{column}': {explain_not_numbers(refused.set_axis(tumours[refused.index]))}. Correct"
                " the file",
            )
        if name == "score":
            score = values
        else:
            quality[name] = values
    return quality, score


def _p_value_notice(p_values: pd.Series[float], limit: float | None, where: str, faults: Faults) -> list[str]:
    untested = int((p_values == NO_PERMUTATIONS).sum())
    if limit is not None and (untested or bool(p_values.isna().all())):
        why = (
            f"{untested:,} of {len(p_values):,} P-values are 9999" if untested else "the file has no P-values"
        )
        faults.add(
            where,
            f"max_p_value = {limit:g}, but {why}: no permutations were run, so there is nothing to"
            " filter on. Remove"
            " max_p_value, or run CIBERSORT again with at least 100 permutations",
        )
    elif untested:
        return [
            f"P-value 9999 in {counted(untested, 'row', 'rows')}: no permutations were run, so the fit"
            " of these"
            " tumours is not tested; abundances are used as they are"
        ]
    return []


# --- scale -----------------------------------------------------------------------------------

_Shape = Literal["fractions", "percentages", "scores", "squared scores", "other"]


def _judge_scale(
    values: pd.DataFrame,
    score: pd.Series[float] | None,
    tumours: pd.Series[str],
    wanted: Scale,
    seen: ScaleSeen,
    where: str,
    faults: Faults,
    ignored: Sequence[str],
) -> ScaleSeen:
    """Find the scale of one file; faults that need no comparison with other files are added here."""
    sums = values.sum(axis=1)
    shape = _shape(sums, score)
    low, high = sums.min(), sums.max()
    if shape == "percentages":
        faults.add(
            where,
            f"percentages: the rows sum to {span(low, high)}, about 100. Divide the abundances by 100",
        )
        return seen
    if shape == "squared scores" and score is not None:
        faults.add(
            where,
            "the absolute table is scaled twice: row sums are the square of the Absolute score (median factor"
            f" {(sums / score).median():.4g} too much, {counted(len(sums), 'row', 'rows')}). The cells"
            " of an absolute"
            " result are scaled already, their sum is the score: do not multiply them by it again; use the"
            " file as CIBERSORTx wrote it",
        )
        return replace(seen, scale="absolute", evidence="row sums are the squared Absolute score")
    if shape == "fractions":
        if wanted == "relative":
            _refuse_as_fractions(values, sums, tumours, where, faults, ignored)
        beside = ", although an Absolute score stands beside them" if _scores_differ_from_one(score) else ""
        return replace(seen, scale="relative", evidence=f"rows sum to 1{beside}")
    if shape == "scores":
        return replace(seen, scale="absolute", evidence=f"rows sum to the Absolute score ({span(low, high)})")
    if score is not None:
        off = ((sums - score).abs() > SCORE_TOLERANCE * score.abs()) | score.isna()
        ratio = (sums / score)[off & (score > 0)]
        by = f", {span(ratio.min(), ratio.max())} times the score" if len(ratio) else ""
        faults.add(
            where,
            f"row sums differ from the Absolute score in {counted(int(off.sum()), 'row', 'rows')}"
            f" ({name_some(tumours[off])}){by}, and are not 1 either. The cells were changed after"
            " CIBERSORTx, or"
            " some cell types are missing; use the file as it was written",
        )
        return seen
    if wanted == "absolute":
        return replace(seen, scale="absolute", evidence=f"row sums of {span(low, high)}")
    _refuse_as_fractions(values, sums, tumours, where, faults, ignored)
    return seen


def _shape(sums: pd.Series[float], score: pd.Series[float] | None) -> _Shape:
    """Find what the row sums are: 1, 100, the score, its square, or nothing known."""
    if _mostly((sums - 1).abs() <= ROW_SUM_TOLERANCE):
        return "fractions"
    if _mostly((sums - 100).abs() <= 100 * ROW_SUM_TOLERANCE):
        return "percentages"
    if score is None:
        return "other"
    if bool(((sums - score).abs() <= SCORE_TOLERANCE * score.abs()).all()):
        return "scores"
    if _mostly((sums - score**2).abs() <= SCORE_TOLERANCE * score**2):
        return "squared scores"
    return "other"


def _mostly(claim: pd.Series[bool]) -> bool:
    return float(claim.mean()) >= 0.9


def _scores_differ_from_one(score: pd.Series[float] | None) -> bool:
    return score is not None and not _mostly((score - 1).abs() <= ROW_SUM_TOLERANCE)


def _refuse_as_fractions(
    values: pd.DataFrame,
    sums: pd.Series[float],
    tumours: pd.Series[str],
    where: str,
    faults: Faults,
    ignored: Sequence[str],
) -> None:
    """Say why rows are not fractions: values above 1, or sums that are not 1."""
    above = values > 1
    concerned = list(values.columns[above.any()])
    if len(concerned) > MAX_NAMED:
        over = tumours[above.any(axis=1)]
        faults.add(
            where,
            f"{len(concerned)} cell types ({name_some(concerned, 3)}) have values above 1, in"
            f" {counted(len(over), 'tumour', 'tumours')} ({name_some(over)}; highest"
            f" {values.max().max():.4g}), on the"
            " relative scale. Fractions are expected: divide percentages by 100, or set"
            ' scale = "absolute" in the study',
        )
        concerned = []
    for name in concerned:
        over = tumours[above[name]]
        faults.add(
            where,
            f"'{name}' has {counted(len(over), 'value', 'values')} above 1 ({name_some(over)}; highest"
            f" {values[name].max():.4g}) on the relative scale. Fractions are expected: divide percentages by"
            ' 100, or set scale = "absolute" in the study',
        )
    off = (sums - 1).abs() > ROW_SUM_TOLERANCE
    off &= ~above.any(axis=1)
    if bool(off.any()):
        extra = f" Columns that are not used: {name_some(map(repr, ignored))}." if ignored else ""
        faults.add(
            where,
            f"{counted(int(off.sum()), 'row does', 'rows do')} not sum to 1 ({name_some(tumours[off])}; sums"
            f" {span(sums[off].min(), sums[off].max())}, {ROW_SUM_TOLERANCE:g} allowed for"
            " rounding). On the"
            " relative scale the cell types of the signature sum to 1: cell types are missing from the list,"
            f' the cells were changed, or the file is absolute (scale = "absolute").{extra}',
        )


def scale_faults(seen: Sequence[ScaleSeen], wanted: Scale) -> list[str]:
    """Compare the scales of all files of a study with each other and with the study.

    Parameters
    ----------
    seen
        What each file shows.
    wanted
        The scale that the study says.

    Returns
    -------
    list of str
        No fault, or one.
    """
    by_scale: dict[Scale, list[ScaleSeen]] = {"relative": [], "absolute": []}
    for one in seen:
        if one.scale is not None:
            by_scale[one.scale].append(one)
    if by_scale["relative"] and by_scale["absolute"]:
        listed = "; ".join(
            f"{scale}: {name_some(f'cohort {one.cohort!r}, {one.file} ({one.evidence})' for one in files)}"
            for scale, files in by_scale.items()
        )
        return [
            f'mixed abundance scales: {listed}. A study has one scale (here scale = "{wanted}"): use'
            " files of that"
            " mode for every cohort"
        ]
    other: Scale = "absolute" if wanted == "relative" else "relative"
    wrong = by_scale[other]
    if wrong:
        listed = name_some(f"cohort {one.cohort!r}, {one.file} ({one.evidence})" for one in wrong)
        return [
            f'the study says scale = "{wanted}", but the files are {other}: {listed}. Set scale = "{other}"'
        ]
    return []


# --- files together --------------------------------------------------------------------------


def _mean_of_samples(values: pd.DataFrame, sample: pd.Series[str]) -> pd.DataFrame:
    """Give every row the mean over the rows of its sample; single rows keep every digit."""
    means = values.groupby(sample).transform("mean")
    single = ~sample.duplicated(keep=False)
    means.loc[single] = values.loc[single]
    return means


def _put_together(
    cohort: str, settings: CibersortFiles, parts: Sequence[_OneFile], faults: Faults
) -> Abundances:
    where = f"cohort '{cohort}', cibersort"
    keys = list(range(len(parts)))
    values = pd.concat([p.values for p in parts], keys=keys)
    quality = pd.concat([p.quality for p in parts], keys=keys)
    tumour = pd.concat([p.tumour for p in parts], keys=keys)
    sample = pd.concat([p.sample for p in parts], keys=keys)
    notices = [notice for p in parts for notice in p.notices]
    exclusions = [
        Exclusion(cohort, left, "reading", f"sample id does not match '{settings.ids.keep_matching}'")
        for p in parts
        for left in dict.fromkeys(p.left_out)
    ]

    same = pd.concat([p.rows for p in parts], keys=keys).fillna("").assign(_sample=sample).duplicated()
    if bool(same.any()):
        ids = list(dict.fromkeys(sample[same]))
        notices.append(
            f"{counted(int(same.sum()), 'exact duplicate row', 'exact duplicate rows')} dropped"
            f" ({name_some(ids)})"
        )
    values, quality, tumour, sample = values[~same], quality[~same], tumour[~same], sample[~same]

    if settings.repeated_samples is not None and bool(sample.duplicated().any()):
        again = sample.duplicated()
        n_samples = sample[again].nunique()
        notices.append(
            f"{counted(int(again.sum()), 'row repeats', 'rows repeat')} a sample id with other values, in"
            f" {counted(int(n_samples), 'sample', 'samples')} ({name_some(sample[again].drop_duplicates())}):"
            f" the {settings.repeated_samples} is used"
        )
        if settings.repeated_samples == "mean":
            values, quality = _mean_of_samples(values, sample), _mean_of_samples(quality, sample)
        values, quality, tumour, sample = values[~again], quality[~again], tumour[~again], sample[~again]

    files = pd.Series(tumour.index.get_level_values(0), index=tumour.index)
    repeated = tumour.duplicated(keep=False)
    if bool(repeated.any()):
        n = tumour[repeated].nunique()
        rows = f"{counted(int(n), 'tumour', 'tumours')} with more than one row"
        in_batches = files.groupby(tumour).nunique()
        split = list(in_batches[in_batches > 1].index)
        if settings.replicates == "error":
            faults.add(where, explain_replicates(tumour, sample))
        elif settings.replicates == "mean":
            notices.append(f"{rows} ({name_some(tumour[repeated].drop_duplicates())}): the mean is used")
            if split and settings.batches is not None:
                faults.add(
                    where,
                    f"{counted(len(split), 'tumour is', 'tumours are')} in files of different batches"
                    f' ({name_some(split)}), so a mean has no batch; set replicates = "first" or delete rows',
                )
        else:
            notices.append(f"{rows} ({name_some(tumour[repeated].drop_duplicates())}): the first is used")
    first = ~tumour.duplicated()
    order = pd.Index(tumour[first], dtype="str", name="tumour")
    n_rows = tumour.value_counts().reindex(order).astype("int64")
    n_used = n_rows if settings.replicates == "mean" else n_rows * 0 + 1
    if settings.replicates == "mean":
        values = values.groupby(tumour).mean().reindex(order)
        quality = quality.groupby(tumour).mean().reindex(order)
    else:
        values, quality = values[first].set_axis(order), quality[first].set_axis(order)
    quality = quality.assign(n_aliquots=n_used)
    batch: pd.Series[str] | None = None
    if settings.batches is not None:
        batch = files[first].map(dict(enumerate(settings.batches))).astype("str").set_axis(order)
    if settings.max_p_value is not None:
        bad = quality["p_value"] > settings.max_p_value
        reason = f"deconvolution P-value above {settings.max_p_value:g}"
        exclusions += [Exclusion(cohort, str(i), "reading", reason) for i in order[bad]]
        values, quality = values[~bad], quality[~bad]
        batch = batch[~bad] if batch is not None else None
    return Abundances(
        values=values.rename_axis(columns=None),
        quality=quality,
        batch=batch,
        samples=tuple(sample),
        scales=tuple(p.seen for p in parts),
        exclusions=tuple(exclusions),
        notices=tuple(notices),
        files=tuple(p.source for p in parts),
    )
