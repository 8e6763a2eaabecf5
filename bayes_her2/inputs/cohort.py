"""From the files of a study to one checked table per cohort.

Abundances are the spine: a tumour is in a cohort because it was deconvolved. Every other table
is joined to it; whatever is left out on the way is logged, and all faults of all cohorts are
raised together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bayes_her2.data import CohortTable, Exclusion, FileRead
from bayes_her2.errors import DataError, Faults, name_some
from bayes_her2.inputs.cibersort import Abundances, read_abundances, scale_faults
from bayes_her2.inputs.fields import (
    LABEL_FIELDS,
    ValueRules,
    close_matches,
    counted,
    map_values,
    suggestion,
)
from bayes_her2.inputs.ids import Ids, apply_id_rules, explain_no_overlap, explain_replicates
from bayes_her2.inputs.study import CohortFiles, ExcludeRule, FieldColumn, Study, TableFile
from bayes_her2.inputs.tables import header_looks_like_data, read_table


def read_cohorts(study: Study) -> tuple[CohortTable, ...]:
    """Read every cohort of a study: one table of tumours each, nothing excluded for eligibility.

    Parameters
    ----------
    study
        From `read_study`.

    Returns
    -------
    tuple of CohortTable
        In the order of the study file. Tumours are those with an abundance row and a clinical
        row; ``tumours`` has the mapped fields under their names, the HER2 measure under
        ``her2`` as well, and a column (all NA where the cohort has none) for every field that an
        exclusion rule, `centre` or `batch` asks for. Abundances are as in the files: the
        multiplier is not applied.

    Raises
    ------
    DataError
        With every fault of every cohort.
    """
    faults = Faults()
    read = [_read_cohort(study, cohort, faults) for cohort in study.cohorts]
    seen = [one for part in read if part.abundances is not None for one in part.abundances.scales]
    faults.extend(scale_faults(seen, study.abundance.scale))
    _check_needed(study, read, faults)
    faults.raise_if_any()
    return tuple(_cohort_table(study, part) for part in read)


@dataclass(frozen=True)
class _Loaded:
    """A table that was read: cells of the columns that the study needs, and their ids."""

    name: str
    settings: TableFile
    where: str
    cells: pd.DataFrame
    ids: Ids
    available: tuple[str, ...]  # names of its columns, or of its genes
    source: FileRead
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Part:
    """What one cohort gave before the check over cohorts."""

    files: CohortFiles
    abundances: Abundances | None
    loaded: tuple[_Loaded, ...]
    fields: dict[str, pd.Series]  # by tumour of the spine
    faulty: frozenset[str]  # fields for which a fault was added already
    unread: bool  # whether a table could not be read, so that fields may be in it
    without_clinical: tuple[str, ...]
    notices: tuple[str, ...]


def _roles(study: Study) -> dict[str, str]:
    """Names that the study needs in every cohort, and what for."""
    roles = {study.her2.measure: "HER2 measure"}
    if study.abundance.multiplier is not None:
        roles[study.abundance.multiplier] = "multiplier"
    return roles | {name: "covariate" for name in study.model.covariates}


def _read_cohort(study: Study, files: CohortFiles, faults: Faults) -> _Part:
    abundances = read_abundances(study, files.name, files.cibersort, faults)
    needed = [*_roles(study), *(rule.field for rule in study.exclude), *study.choices.fields]
    unmapped = [name for name in dict.fromkeys(needed) if name not in files.fields and name != "batch"]
    tables = files.all_tables
    loaded = [
        one
        for name, settings in tables.items()
        if (one := _load(study, files.name, name, settings, unmapped, faults)) is not None
    ]
    spine = pd.Index([], dtype="str") if abundances is None else abundances.values.index
    notices: list[str] = []
    without_clinical: tuple[str, ...] = ()
    fields: dict[str, pd.Series] = {}
    faulty: set[str] = set()
    genes = _genes(files.name, loaded, unmapped, faulty, faults)
    for table in loaded:
        notices += table.notices
        wanted = {**table.settings.fields, **{g: FieldColumn(column=g) for g in genes.get(table.name, ())}}
        rows = _rows_of_spine(table, abundances, files, notices, faults)
        if rows is None:
            faulty |= set(wanted)
            continue
        if table.name == "clinical" and abundances is not None:
            without_clinical = tuple(spine[~spine.isin(rows["tumour"])])
        values = _values(study, table, rows, wanted, faults)
        faulty |= set(wanted) - set(values)
        fields |= {
            name: column.reindex(spine) if abundances is not None else column
            for name, column in values.items()
        }
    if abundances is not None and abundances.batch is not None:
        fields["batch"] = abundances.batch
    return _Part(
        files=files,
        abundances=abundances,
        loaded=tuple(loaded),
        fields=fields,
        faulty=frozenset(faulty),
        unread=len(loaded) < len(tables),
        without_clinical=without_clinical,
        notices=tuple(notices),
    )


# --- one table -------------------------------------------------------------------------------


def _load(
    study: Study, cohort: str, name: str, settings: TableFile, unmapped: Sequence[str], faults: Faults
) -> _Loaded | None:
    """Read one table and its ids; columns that are mapped and not there are faults."""
    where = f"cohort '{cohort}', {name} ({Path(settings.file).name})"
    sources = {column.column for column in settings.fields.values()}
    genes_in_rows = settings.genes_in == "rows"
    try:
        table = read_table(
            study.resolve(settings.file),
            shown_as=settings.file,
            sheet=settings.sheet,
            column_names=settings.column_names,
            keep_rows={*sources, *unmapped} if genes_in_rows else None,
        )
    except DataError as error:
        faults.extend(f"cohort '{cohort}', {name}: {fault}" for fault in error.faults)
        return None
    if genes_in_rows:
        frame, available = _genes_to_columns(table.frame, where, faults), table.first_column
        raw_ids = pd.Series(frame.index, index=frame.index, dtype="str")
    else:
        frame, available = table.frame, tuple(table.columns)
        column = settings.ids.column or available[0]
        if column not in available:
            hint = _alternatives(column, available, "columns") + _header_hint(settings, available)
            faults.add(where, f"no column '{column}' for the ids{hint}")
            return None
        raw_ids = frame[column]
    for field, mapped in settings.fields.items():
        if mapped.column not in available:
            kind = "gene" if settings.genes_in is not None else "column"
            hint = _alternatives(mapped.column, available, f"{kind}s") + _header_hint(settings, available)
            faults.add(where, f"field '{field}': no {kind} '{mapped.column}'{hint}")
    notices: tuple[str, ...] = ()
    if not genes_in_rows:
        repeated = frame.duplicated()
        if bool(repeated.any()):
            frame, raw_ids = frame[~repeated], raw_ids[~repeated]
            n = int(repeated.sum())
            notices = (f"{name}: {counted(n, 'exact duplicate row', 'exact duplicate rows')} dropped",)
    ids = apply_id_rules(raw_ids, settings.ids, where, faults)
    return _Loaded(name, settings, where, frame, ids, available, table.source, notices)


def _genes_to_columns(frame: pd.DataFrame, where: str, faults: Faults) -> pd.DataFrame:
    """Turn a gene table with genes in rows; only rows that are needed were kept."""
    gene = frame.columns[0]
    repeated = frame[gene][frame[gene].duplicated()].drop_duplicates()
    if not repeated.empty:
        faults.add(
            where,
            f"{counted(len(repeated), 'gene has', 'genes have')} more than one row: {name_some(repeated)}."
            " Keep one row for each gene",
        )
        frame = frame[~frame[gene].duplicated()]
    turned = frame.set_index(gene).T.rename_axis(index=None, columns=None)
    return turned.astype("str")


def _genes(
    cohort: str, loaded: Sequence[_Loaded], unmapped: Sequence[str], faulty: set[str], faults: Faults
) -> dict[str, list[str]]:
    """Find the gene table of each needed name that no table maps: table -> genes."""
    found: dict[str, list[str]] = {}
    for name in unmapped:
        tables = [t.name for t in loaded if t.settings.genes_in is not None and name in t.available]
        if len(tables) > 1:
            faulty.add(name)
            faults.add(
                f"cohort '{cohort}'",
                f"'{name}' is a gene of {' and of '.join(tables)}; say which one by mapping it in one"
                " of them:"
                f' fields = {{ {name} = "{name}" }}',
            )
        elif tables:
            found.setdefault(tables[0], []).append(name)
    return found


def _rows_of_spine(
    table: _Loaded,
    abundances: Abundances | None,
    files: CohortFiles,
    notices: list[str],
    faults: Faults,
) -> pd.DataFrame | None:
    """Ids of the rows that join the spine, replicates resolved except for means; None after a fault."""
    rows = table.ids.frame
    shown = f"{table.name} ({Path(table.settings.file).name})"
    if rows.empty:
        return None
    if abundances is not None:
        spine = abundances.values.index
        joined = rows[rows["tumour"].isin(spine)]
        if joined.empty:
            if len(spine):
                what = explain_no_overlap(
                    list(spine),
                    list(dict.fromkeys(rows["tumour"])),
                    spine_samples=abundances.samples,
                    other_samples=list(rows["sample"]),
                    spine_place="cibersort",
                    other_place=table.name,
                    spine_rules=files.cibersort.ids,
                    other_rules=table.settings.ids,
                )
                faults.add(table.where, what)
            return None
        rows = joined
        n_without = len(spine) - rows["tumour"].nunique()
        if n_without:
            notices.append(
                f"{shown}: {n_without:,} of {counted(len(spine), 'tumour', 'tumours')}"
                f" {'has' if n_without == 1 else 'have'} no row"
            )
    repeated = rows["tumour"].duplicated(keep=False)
    if bool(repeated.any()):
        if table.settings.replicates == "error":
            faults.add(table.where, explain_replicates(rows["tumour"], rows["sample"]))
            return None
        several = rows.loc[repeated, "tumour"].drop_duplicates()
        used = "mean" if table.settings.replicates == "mean" else "first"
        notices.append(
            f"{shown}: {counted(len(several), 'tumour', 'tumours')} with more than one row"
            f" ({name_some(several)}): the {used} is used"
        )
        if used == "first":
            rows = rows[~rows["tumour"].duplicated()]
    return rows


def _values(
    study: Study, table: _Loaded, rows: pd.DataFrame, wanted: dict[str, FieldColumn], faults: Faults
) -> dict[str, pd.Series]:
    """Values of each field, one per tumour; fields with a fault are left out."""
    roles = _roles(study)
    numeric = _numeric_choices(study)
    values: dict[str, pd.Series] = {}
    for field, column in wanted.items():
        if column.column not in table.cells.columns:
            continue
        place = f"{table.where}, field '{field}'"
        if column.column != field:
            place += f" (column '{column.column}')"
        rules = ValueRules(
            field=field,
            values=column.values,
            missing=column.missing,
            must_be_numeric=roles.get(field) in ("HER2 measure", "multiplier") or field in numeric,
            is_covariate=roles.get(field) == "covariate",
        )
        words = table.cells.loc[rows.index, column.column].set_axis(pd.Index(rows["tumour"], dtype="str"))
        mapped = map_values(words, rules, place, faults)
        one_each = None if mapped is None else _one_per_tumour(mapped, place, faults)
        if one_each is not None:
            values[field] = one_each
    return values


def _numeric_choices(study: Study) -> set[str]:
    """Fields that a model's settings take as numbers."""
    choices = study.choices
    named = {m.field for m in choices.measures} | {o.field for o in choices.clinical if o.above is not None}
    return named | ({choices.infiltrate.field} if choices.infiltrate else set())


def _one_per_tumour(values: pd.Series, where: str, faults: Faults) -> pd.Series | None:
    """Average numbers of replicates; text must be the same in all of them."""
    if values.index.is_unique:
        return values
    by_tumour = values.groupby(level=0, sort=False)
    if pd.api.types.is_numeric_dtype(values):
        return by_tumour.mean()
    differing = by_tumour.nunique()
    differing = differing[differing > 1]
    if len(differing):
        faults.add(
            where,
            f"{counted(len(differing), 'tumour has', 'tumours have')} rows with different text"
            f' ({name_some(differing.index)}), of which there is no mean; set replicates = "first"',
        )
        return None
    return by_tumour.first()


def _alternatives(name: str, names: Sequence[str], kind: str) -> str:
    hint = suggestion(name, names)
    return hint or f"; the file has {len(names):,} {kind}: {name_some(map(repr, names), 8)}"


def _header_hint(settings: TableFile, available: Sequence[str]) -> str:
    if settings.column_names is not None or not header_looks_like_data(available):
        return ""
    return ". The first line looks like data: if the file has no header, set column_names = [...]"


# --- what the study needs --------------------------------------------------------------------


def _check_needed(study: Study, parts: Sequence[_Part], faults: Faults) -> None:
    """Fields that the study needs: there, not empty, of one kind in all cohorts."""
    for name, role in _roles(study).items():
        having = [part.files.name for part in parts if _recorded(part, name)]
        for part in parts:
            if name in part.faulty or part.unread or _recorded(part, name):
                continue
            if name in part.fields and part.abundances is None:
                continue
            _add_absent(part, name, role, having, faults)
        kinds = {
            part.files.name: pd.api.types.is_numeric_dtype(part.fields[name])
            for part in parts
            if _recorded(part, name)
        }
        if len(set(kinds.values())) > 1:
            number = [cohort for cohort, numeric in kinds.items() if numeric]
            text = [cohort for cohort, numeric in kinds.items() if not numeric]
            faults.add(
                f"{role} '{name}'",
                f"a number in {name_some(number)} and text in {name_some(text)}; map the values so that all"
                " cohorts have one kind",
            )
    if study.abundance.multiplier is not None:
        _check_multiplier(study.abundance.multiplier, parts, faults)
    for rule in study.exclude:
        _check_rule(rule, parts, faults)
    for name in study.choices.fields:
        if not any(_recorded(p, name) or name in p.faulty or p.unread for p in parts):
            candidates = [column for p in parts for table in p.loaded for column in table.available]
            near = close_matches(name, candidates)
            hint = f" Close to it: {name_some(map(repr, near))}." if near else ""
            faults.add(
                f"'{name}' in the settings of a model",
                f"was not found in any cohort, neither as a field nor as a gene.{hint} Map it under fields, or take it"
                " out of the settings",
            )
    for name, asked in (("centre", study.model.centre), ("batch", study.model.batch)):
        empty = [p.files.name for p in parts if name in p.fields and bool(p.fields[name].isna().all())]
        if asked and empty:
            faults.add(
                f"[model] {name} = true",
                f"'{name}' is mapped but empty in {name_some(empty)}; correct the"
                f" column, or set {name} = false",
            )


def _recorded(part: _Part, name: str) -> bool:
    return name in part.fields and bool(part.fields[name].notna().any())


def _add_absent(part: _Part, name: str, role: str, having: Sequence[str], faults: Faults) -> None:
    where = f"cohort '{part.files.name}'"
    others = f" It is recorded in {name_some(having)}." if having else ""
    drop = ", or remove it from the covariates" if role == "covariate" else ""
    if name in part.fields:
        faults.add(
            where,
            f"{role} '{name}' is missing in all of its {counted(len(part.fields[name]), 'tumour', 'tumours')}"
            f" (column '{_column_of(part, name)}').{others} Every cohort needs it: map another column{drop}",
        )
        return
    searched = "; ".join(_searched(table) for table in part.loaded) or "no table could be read"
    candidates = [column for table in part.loaded for column in table.available]
    near = close_matches(name, candidates)
    hint = f" Close to it: {name_some(map(repr, near))}." if near else ""
    faults.add(
        where,
        f"{role} '{name}' was not found, neither as a field nor as a gene. Searched:"
        f" {searched}.{hint}"
        f'{others} Every cohort needs it: map it with fields = {{ {_toml_key(name)} = "..." }}{drop}',
    )


def _searched(table: _Loaded) -> str:
    mapped = f"fields {name_some(table.settings.fields, 8)}" if table.settings.fields else "no fields"
    genes = f", {len(table.available):,} genes" if table.settings.genes_in is not None else ""
    return f"{table.name} ({mapped}{genes})"


def _toml_key(name: str) -> str:
    plain = name.replace("_", "").replace("-", "")
    return name if plain.isascii() and plain.isalnum() else f'"{name}"'


def _column_of(part: _Part, name: str) -> str:
    mapped = part.files.fields.get(name)
    return mapped[1].column if mapped is not None else name


def _check_multiplier(name: str, parts: Sequence[_Part], faults: Faults) -> None:
    for part in parts:
        values = part.fields.get(name)
        if values is None or not pd.api.types.is_numeric_dtype(values):
            continue
        negative = values < 0
        if bool(negative.any()):
            faults.add(
                f"cohort '{part.files.name}'",
                f"multiplier '{name}' is negative in {counted(int(negative.sum()), 'tumour', 'tumours')}"
                f" ({name_some(values.index[negative])}; lowest {values.min():g}); a fraction is expected",
            )


def _check_rule(rule: ExcludeRule, parts: Sequence[_Part], faults: Faults) -> None:
    """Check that an exclusion rule finds its field somewhere, and leaves tumours in every cohort."""
    where = f"exclude rule '{rule.reason}'"
    field = rule.field
    if any(field in part.faulty or part.unread for part in parts):
        return
    having = [part for part in parts if field in part.fields]
    if not having:
        mapped = {name for part in parts for name in part.files.fields}
        faults.add(
            where, f"no cohort maps the field '{field}'{suggestion(field, mapped)}; map it under fields"
        )
        return
    for part in parts:
        cohort = part.files.name
        if field not in part.fields:
            if rule.keep is not None:
                faults.add(
                    where,
                    f"cohort '{cohort}' does not map '{field}', so `keep` would exclude all of its"
                    " tumours; map"
                    " the field there, or use `drop`, which keeps what is missing",
                )
            continue
        values = part.fields[field]
        numeric = pd.api.types.is_numeric_dtype(values)
        for value in rule.keep or rule.drop or ():
            if isinstance(value, str) == numeric:
                kinds = ("numbers", "the text") if numeric else ("text", "the number")
                faults.add(
                    where,
                    f"'{field}' holds {kinds[0]} in cohort '{cohort}', but the rule has {kinds[1]} {value!r}",
                )
        if rule.keep is not None and len(values) and not bool(values.isin(rule.keep).any()):
            found = name_some(map(repr, values.dropna().drop_duplicates())) or "none"
            faults.add(
                where,
                f"keeps no tumour of cohort '{cohort}': keep = {list(rule.keep)}, values there: {found}",
            )


# --- the table of a cohort -------------------------------------------------------------------


def _cohort_table(study: Study, part: _Part) -> CohortTable:
    abundances = part.abundances
    if abundances is None:  # a fault was raised before
        raise DataError(f"cohort '{part.files.name}': no abundances were read")
    cohort = part.files.name
    notices = [*abundances.notices, *part.notices]
    spine = abundances.values.index
    kept = spine[~spine.isin(part.without_clinical)]
    columns: dict[str, pd.Series] = {"her2": part.fields[study.her2.measure]}
    columns |= {name: values for name, values in part.fields.items() if name != "her2"}
    for name in _asked_columns(study):
        if name not in columns:
            columns[name] = pd.Series(pd.NA, index=spine, dtype="str")
            if name not in LABEL_FIELDS:
                rules = name_some(f"'{rule.reason}'" for rule in study.exclude if rule.field == name)
                notices.append(
                    f"'{name}' is not recorded in this cohort: the rule {rules} excludes nobody here"
                )
    clinical = Path(part.files.clinical.file).name
    lost = tuple(
        Exclusion(cohort, str(i), "join", f"no row in the clinical table ({clinical})")
        for i in part.without_clinical
    )
    return CohortTable(
        name=cohort,
        platform=part.files.platform,
        tumours=pd.DataFrame(columns, index=spine).loc[kept].rename_axis(index="tumour"),
        abundance=abundances.values.loc[kept],
        quality=abundances.quality.loc[kept],
        scale=study.abundance.scale,
        exclusions=(*abundances.exclusions, *lost),
        notices=tuple(notices),
        files=(*abundances.files, *(table.source for table in part.loaded)),
    )


def _asked_columns(study: Study) -> list[str]:
    """Fields that the next steps look at and that a cohort may lack."""
    asked = [rule.field for rule in study.exclude]
    asked += [name for name, on in (("centre", study.model.centre), ("batch", study.model.batch)) if on]
    return list(dict.fromkeys(asked))
