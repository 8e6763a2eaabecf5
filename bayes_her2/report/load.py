"""Read a results folder into `Results`: every table checked for its columns and types.

The report reads nothing but this folder. A file that is missing or malformed stops the report
with all faults listed at once, each with what to do.
"""

from __future__ import annotations

import csv
import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from bayes_her2 import __version__
from bayes_her2.data import DIFFERENCE, STRATA
from bayes_her2.errors import DataError, Faults, name_some
from bayes_her2.estimates import RATIO_ESTIMANDS, Estimates
from bayes_her2.report.maths import checked

Row = Mapping[str, Any]
"""One row of a table: column -> str, int, float, bool or None (where the cell is empty)."""

Rows = tuple[Row, ...]
Kind = Literal["text", "int", "float", "bool"]
MODEL = "abundance"
"""The main model: the sections of the page itself are about it; other models have sections of their own."""

SEED_TESTS = ("rank tests",)
"""Twin rows that belong to no model file: the seed study's own tests, shown with the main model."""

COMMANDS = {"audit of published claims": "audit", "calibration": "calibrate"}
"""Kind of results -> command, where its name is another."""
RERUN = "run the analysis again (`bayes-her2 run`), then render"


def columns_of(text: str = "", ints: str = "", floats: str = "", bools: str = "") -> dict[str, Kind]:
    """Columns of a table with their kinds, each argument a list of names separated by spaces."""
    kinds: dict[str, Kind] = dict.fromkeys(text.split(), "text")
    kinds |= dict.fromkeys(ints.split(), "int")
    kinds |= dict.fromkeys(floats.split(), "float")
    kinds |= dict.fromkeys(bools.split(), "bool")
    return kinds


BY_MODEL = (
    "priors",
    "prior_predictive",
    "diagnostics",
    "sampling",
    "concordance",
    "posterior_predictive",
    "outline",
)
"""Tables that all models share, with a column that names the model."""

OUTLINE = columns_of("model symbol relation law for_each quantity node parents", bools="observed")

OF_COHORTS: dict[str, dict[str, Kind]] = {
    "flow": columns_of("cohort", ints="read excluded analysed"),
    "composition": columns_of("cohort hr her2_ihc", ints="n"),
    "cell_types": columns_of(
        "cell_type reason",
        ints="n_zero n_positive",
        floats="zero_share",
        bools="presence_modelled amount_modelled",
    ),
    "zero_shares": columns_of("cell_type cohort hr", ints="n n_zero n_positive", floats="median_positive"),
    "her2_scaling": columns_of("platform", ints="n", floats="mean sd"),
    "covariate_scaling": columns_of("covariate kind", floats="mean sd"),
    "precision": columns_of(
        "cell_type stratum estimand",
        ints="n n_zero",
        floats="expected_se_log interval_factor detectable_ratio",
    ),
    "rules": columns_of("cell_type cohort rule high_rule", floats="zero_share"),
}
"""Tables that describe the study's cohorts, whether or not the run was refused."""

BEFORE_RESULTS: dict[str, dict[str, Kind]] = {
    "exclusion_counts": columns_of("cohort step reason", ints="n"),
    "priors": columns_of("model part name distribution reader_scale why", bools="overridden"),
    "prior_predictive": columns_of("model check", floats="value lower upper", bools="passed"),
    "diagnostics": columns_of(
        "model quantity worst_label",
        ints="n_values",
        floats="r_hat_max ess_bulk_min ess_tail_min",
        bools="passed",
    ),
    "sampling": columns_of("model setting value"),
    "notices": columns_of("where text"),
}
"""Tables of every run, whether or not it was refused."""

INFERENCE: dict[str, dict[str, Kind]] = {
    "concordance": columns_of(
        "model outcome exposure estimand contrast adjustment stratum scope cohort unit twin_method verdict status note",
        ints="n n_twin n_zero",
        floats="posterior_point posterior_lower posterior_upper twin_point twin_lower twin_upper twin_p "
        "twin_p_bonferroni pd lfsr s_value p_in_rope difference",
        bools="discovery_bayes discovery_bonferroni discovery_fixed",
    ),
    "parts_disagree": columns_of("outcome stratum", floats="presence amount overall"),
    "posterior_predictive": columns_of(
        "model cell_type cohort hr statistic", floats="observed predicted lower upper", bools="inside"
    ),
    "heterogeneity": columns_of(
        "part term note",
        ints="n_cohorts_informing",
        floats="between_sd_point lower upper prior_median cells_sd_point cells_sd_lower cells_sd_upper",
    ),
}
"""Further tables that a complete run needs."""

SWEEP = columns_of(
    "part outcome", floats="scale prior_sd point lower upper pareto_k", bools="excludes_1 reliable"
)
SHARE_DRIFT = columns_of("stratum at", floats="sum_mean lower upper")
RECOVERY = columns_of("outcome estimand stratum scope", floats="truth point lower upper", bools="covered")
ESTIMATES_FILE = "tables/estimates.csv"


@dataclass(frozen=True)
class Estimate:
    """One row of ``estimates.csv``, with None where a cell is empty."""

    source: str
    method: str
    model: str
    outcome: str
    exposure: str
    estimand: str
    contrast: str
    adjustment: str
    stratum: str
    scope: str
    cohort: str
    at: float | None
    unit: str
    point: float | None
    lower: float | None
    upper: float | None
    interval_kind: str
    interval_prob: float | None
    n: int | None
    n_zero: int | None
    status: str
    note: str
    pd: float | None
    p_in_rope: float | None
    lfsr: float | None
    s_value: float | None
    p_value: float | None
    p_adjusted: float | None

    @property
    def place(self) -> tuple[str, str, str, str, str]:
        """Label of the row within its side: outcome, estimand, stratum, scope, cohort."""
        return (self.outcome, self.estimand, self.stratum, self.scope, self.cohort)

    @property
    def has_interval(self) -> bool:
        """Whether point and both limits are given."""
        return self.point is not None and self.lower is not None and self.upper is not None


@dataclass(frozen=True)
class StudyText:
    """What the report prints of ``study.toml``."""

    name: str
    description: str
    seed: int | None
    simulated: bool
    truth: bool
    measure: str
    scale: str
    rope: tuple[float, float]
    interval: float
    alpha: float
    false_discovery: float
    covariates: tuple[str, ...]
    centre: bool
    batch: bool
    multiplier: str = ""
    with_cohorts: bool = True
    with_response: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """Unit of abundance in words."""
        if self.multiplier:
            return f"share of immune cells times {self.multiplier}"
        return "share of all immune cells" if self.scale == "relative" else "score"

    @property
    def short_unit(self) -> str:
        """Unit of abundance in one or two words, for axes."""
        return "scaled share" if self.multiplier else "share" if self.scale == "relative" else "score"


@dataclass(frozen=True)
class ModelRecord:
    """What the provenance says of one fitted model."""

    name: str
    status: str
    reasons: tuple[str, ...]
    question: str
    n_tumours: int
    cohorts: tuple[str, ...]
    adjustment: str
    exclusions: tuple[Mapping[str, Any], ...]
    notices: tuple[str, ...]
    fingerprint: str
    sampler: Mapping[str, Any]
    counted: str = "tumours"
    methods: tuple[str, ...] = ()
    estimands: Mapping[str, str] = field(default_factory=dict)

    @property
    def refused(self) -> bool:
        """Whether the analysis refused to print inference from this model."""
        return self.status == "refused"


@dataclass(frozen=True)
class SectionReads:
    """Tables that one further section of the report reads: file name -> columns.

    Attributes
    ----------
    model
        Model whose inference they are: needed when it is complete, not read when it was refused or not fitted.
        Empty for tables of no model, which are read where they are there.
    needed, optional
        Columns by name of the CSV file.
    """

    model: str
    needed: Mapping[str, Mapping[str, Kind]]
    optional: Mapping[str, Mapping[str, Kind]]


@dataclass(frozen=True)
class Beside:
    """Results of another command on the study of a run.

    Attributes
    ----------
    page
        Their page, from the folder of the run.
    universes
        Names of the analyses that they hold: those that were not refused.
    """

    page: str
    universes: frozenset[str]


@dataclass(frozen=True)
class Results:
    """A results folder, read and checked.

    Attributes
    ----------
    folder
        Where it lies.
    study
        What the report prints of the study file.
    provenance
        ``provenance.json`` as read; ``status`` is 'complete', 'partly refused' or 'refused'.
    models
        Fitted models by name.
    left_out
        Model -> why the cohorts cannot support it.
    tables
        Table name -> rows. Tables of the inference of a model are absent when it was refused.
    every_estimate
        Rows of ``estimates.csv`` (none when every model was refused: they are not even read).
    files
        Names of the CSV files in the folder, for links.
    beside
        Kind of results (``sensitivity``, ``multiverse``) -> where they are, for those of the same study and the same
        input files that lie in a folder of this one.
    """

    folder: Path
    study: StudyText
    provenance: Mapping[str, Any]
    models: Mapping[str, ModelRecord]
    left_out: Mapping[str, str]
    tables: Mapping[str, Rows]
    every_estimate: tuple[Estimate, ...]
    files: tuple[str, ...]
    beside: Mapping[str, Beside] = field(default_factory=dict)

    @property
    def fitted(self) -> bool:
        """Whether the main model was part of the run."""
        return MODEL in self.models

    @property
    def refused(self) -> bool:
        """Whether the analysis refused to print inference from the main model."""
        return self.fitted and self.models[MODEL].refused

    @property
    def answered(self) -> bool:
        """Whether there is inference from the main model."""
        return self.fitted and not self.models[MODEL].refused

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the main model was refused; empty when it was not."""
        return self.models[MODEL].reasons if self.fitted else ()

    @property
    def complete(self) -> tuple[str, ...]:
        """Models whose inference is printed."""
        return tuple(name for name, record in self.models.items() if not record.refused)

    def rows(self, table: str, model: str = MODEL) -> Rows:
        """Rows of one table (of one model, where models share it); none if it is not there."""
        found = self.tables.get(table, ())
        return tuple(row for row in found if row["model"] == model) if table in BY_MODEL else found

    def setting(self, name: str, model: str = MODEL) -> str:
        """Value of one sampler setting as recorded; empty if it was not."""
        return next((str(row["value"]) for row in self.rows("sampling", model) if row["setting"] == name), "")

    def gate(self, model: str = MODEL) -> str:
        """Say what convergence the fit was held to, as a phrase; empty if that was not recorded."""
        r_hat, ess = (
            self.setting(name, model)
            for name in ("R-hat, highest allowed", "effective sample size, lowest allowed")
        )
        if not (r_hat and ess):
            return ""
        return f"an R-hat of at most {r_hat} and bulk and tail effective sample sizes (ESS) of at least {int(ess):,}"

    @property
    def estimates(self) -> tuple[Estimate, ...]:
        """Estimates of the main model and the seed study's own tests, without rows along a curve."""
        mine = (MODEL, *SEED_TESTS)
        return tuple(e for e in self.every_estimate if e.model in mine and e.at is None)

    def of_model(self, model: str, source: str = "posterior", **equal: str) -> tuple[Estimate, ...]:
        """Estimates of one model and side, such as ``of_model("high_abundance", scope="pooled")``."""
        return tuple(
            e
            for e in self.every_estimate
            if e.model == model
            and e.source == source
            and all(getattr(e, name) == value for name, value in equal.items())
        )

    @property
    def cell_types(self) -> tuple[str, ...]:
        """All cell types of the signature, in the order of ``cell_types.csv``."""
        return tuple(row["cell_type"] for row in self.rows("cell_types"))

    @property
    def modelled(self) -> tuple[str, ...]:
        """Cell types of which at least one part is modelled."""
        return tuple(
            row["cell_type"]
            for row in self.rows("cell_types")
            if row["presence_modelled"] or row["amount_modelled"]
        )

    @property
    def cohorts(self) -> tuple[str, ...]:
        """Cohorts in the order of ``flow.csv``."""
        return tuple(row["cohort"] for row in self.rows("flow"))

    @property
    def strata(self) -> tuple[str, ...]:
        """HR strata that hold analysed tumours, HR+ first."""
        present = {row["hr"] for row in self.rows("composition") if row["n"]}
        return tuple(stratum for stratum in STRATA if stratum in present)

    @property
    def contrasts(self) -> tuple[str, ...]:
        """HR strata, then the ratio between them where both are there."""
        return (*self.strata, DIFFERENCE) if len(self.strata) == len(STRATA) else self.strata

    def posterior(self, *, scope: str = "pooled") -> tuple[Estimate, ...]:
        """Posterior rows of the main model in one scope."""
        return tuple(
            e for e in self.estimates if e.source == "posterior" and e.model == MODEL and e.scope == scope
        )

    def twins(self, *, scope: str = "pooled") -> tuple[Estimate, ...]:
        """Twin rows of the main model's estimands in one scope, all methods."""
        return tuple(
            e
            for e in self.estimates
            if e.source == "twin" and e.scope == scope and e.estimand in RATIO_ESTIMANDS and e.model == MODEL
        )


def load_results(folder: Path, sections: Iterable[SectionReads] = (), *, home: Path | None = None) -> Results:
    """Read and check a results folder.

    Parameters
    ----------
    folder
        Folder that `bayes-her2 run` wrote.
    sections
        What further sections of the report read.
    home
        Where the folder will be, if it is still being written: results of other commands lie there.

    Returns
    -------
    Results
        Frozen; every cell typed, empty cells None.

    Raises
    ------
    DataError
        If a needed file is missing or malformed: all faults at once.
    """
    faults = Faults()
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such results folder. Give the folder that `bayes-her2 run --out` wrote"
        )
    _refuse_others(folder)
    study = _read_study(folder / "study.toml", faults)
    provenance = _read_provenance(folder / "provenance.json", faults)
    models = _models(provenance, faults)
    complete = [name for name, record in models.items() if not record.refused]
    needed: dict[str, Mapping[str, Kind]] = dict(BEFORE_RESULTS)
    if study is None or study.with_cohorts:
        needed |= OF_COHORTS
    optional: dict[str, Mapping[str, Kind]] = {"outline": OUTLINE}
    if complete:
        needed["concordance"] = INFERENCE["concordance"]
        optional["posterior_predictive"] = INFERENCE["posterior_predictive"]
    if MODEL in complete:
        needed |= INFERENCE
        (needed if study and study.scale == "relative" else optional)["share_drift"] = SHARE_DRIFT
        optional["interaction_sweep"] = SWEEP
        if study and study.simulated:
            (needed if study.truth else optional)["recovery"] = RECOVERY
    for section in sections:
        if not section.model or section.model in complete:
            needed |= section.needed if section.model else {}
            optional |= section.optional if section.model else {**section.needed, **section.optional}
    tables: dict[str, Rows] = {}
    for name, columns in (needed | optional).items():
        path = folder / "tables" / f"{name}.csv"
        if name not in needed and not path.exists():
            continue
        tables[name] = _read_table(path, columns, faults)
    _check_formulas(tables.get("outline", ()), faults)
    estimates = _read_estimates(folder / ESTIMATES_FILE, faults) if complete else ()
    by = provenance.get("package_version")
    if faults and by not in (None, __version__):
        faults.add(
            "provenance.json", f"bayes_her2 {by} wrote these results, and this is {__version__}: {RERUN}"
        )
    faults.raise_if_any()
    assert study is not None  # a missing study is a fault, raised above
    files = tuple(sorted(path.name for path in (folder / "tables").glob("*.csv")))
    left_out = {str(name): str(why) for name, why in (provenance.get("left_out") or {}).items()}
    results = Results(
        folder,
        study,
        provenance,
        models,
        left_out,
        tables,
        estimates,
        files,
        _beside(home or folder, provenance),
    )
    _check(results, faults)
    faults.raise_if_any()
    return results


BESIDE = ("sensitivity", "multiverse")
"""Kinds of results that belong to a run when they are of the same study and files."""


def _beside(folder: Path, provenance: Mapping[str, Any]) -> dict[str, Beside]:
    """Find results of other commands on the same study and files, each in a folder of this one."""
    found: dict[str, Beside] = {}
    for record in sorted(folder.glob("*/provenance.json")):
        try:
            other = json.loads(record.read_text(encoding="utf-8"))
            kind = str(other["kind"])
            # It reads no file that the run did not; the run may have read more, for other models.
            same = other["study_hash"] == provenance.get("study_hash") and all(
                file in (provenance.get("files") or ()) for file in other["files"]
            )
            universes = frozenset(other["universes"]) - frozenset(other.get("refused") or ())
        except (OSError, ValueError, KeyError, TypeError):
            continue  # of a run, or of something else
        page = record.with_name(f"{kind}.html")
        if kind in BESIDE and same and page.exists():
            found.setdefault(kind, Beside(f"{record.parent.name}/{page.name}", universes))
    return found


def _refuse_others(folder: Path) -> None:
    """Say that a folder holds the results of another command, whose page is made with them."""
    record = folder / "provenance.json"
    try:
        kind = json.loads(record.read_text(encoding="utf-8")).get("kind")
    except (OSError, ValueError, AttributeError):
        return  # what is wrong with it is said where it is read
    if kind:
        raise DataError(
            f"{folder}: holds the results of `bayes-her2 {COMMANDS.get(kind, kind)}`, whose page is made with them. "
            "The report is of the folder that `bayes-her2 run --out` wrote."
        )


def _models(provenance: Mapping[str, Any], faults: Faults) -> dict[str, ModelRecord]:
    """Read what the provenance says of each fitted model."""
    found: dict[str, ModelRecord] = {}
    for name, content in (provenance.get("models") or {}).items():
        status = content.get("status")
        if status not in ("complete", "refused"):
            faults.add(
                "provenance.json",
                f"model {name}: status is {status!r}; expected 'complete' or 'refused'. {RERUN.capitalize()}",
            )
            continue
        if status == "refused" and not content.get("reasons"):
            faults.add(
                "provenance.json",
                f"model {name}: status is 'refused' without `reasons`. Write why the analysis refused",
            )
        found[str(name)] = ModelRecord(
            name=str(name),
            status=status,
            reasons=tuple(str(reason) for reason in content.get("reasons", ())),
            question=str(content.get("question", "")),
            n_tumours=int(content.get("n_tumours", 0)),
            cohorts=tuple(str(c) for c in content.get("cohorts", ())),
            adjustment=str(content.get("adjustment", "none")),
            exclusions=tuple(content.get("exclusions", ())),
            notices=tuple(str(text) for text in content.get("notices", ())),
            fingerprint=str(content.get("fingerprint", "")),
            sampler=dict(content.get("sampler", {})),
            counted=str(content.get("counted", "tumours")),
            methods=tuple(str(sentence) for sentence in content.get("methods", ())),
            estimands={str(name): str(said) for name, said in content.get("estimands", {}).items()},
        )
    return found


def _read_study(path: Path, faults: Faults) -> StudyText | None:
    """Read the fields of the study file that the report prints."""
    if not path.is_file():
        faults.add(str(path), f"missing. The report needs the study as run: {RERUN}")
        return None
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        faults.add(str(path), f"not TOML ({error}). {RERUN.capitalize()}")
        return None
    study, her2, decisions = content.get("study", {}), content.get("her2", {}), content.get("decisions", {})
    model, abundance = content.get("model", {}), content.get("abundance", {})
    if not study.get("name"):
        faults.add(str(path), "[study] has no `name`. Add it to the study file and run again")
        return None
    rope = decisions.get("rope", [0.9, 1.11])
    return StudyText(
        name=str(study["name"]),
        description=str(study.get("description", "")),
        seed=study.get("seed"),
        simulated=bool(study.get("simulated", False)),
        truth=bool(study.get("truth")),
        measure=str(her2.get("label") or her2.get("measure", "HER2 measure")),
        # A multiplier turns shares into amounts: rows no longer sum to 1.
        scale="absolute" if abundance.get("multiplier") else str(abundance.get("scale", "relative")),
        rope=(float(rope[0]), float(rope[1])),
        interval=float(decisions.get("interval", 0.95)),
        alpha=float(decisions.get("alpha", 0.05)),
        false_discovery=float(decisions.get("false_discovery", 0.05)),
        covariates=tuple(str(c) for c in model.get("covariates", ())),
        centre=bool(model.get("centre", False)),
        batch=bool(model.get("batch", False)),
        multiplier=str(abundance.get("multiplier") or ""),
        with_cohorts=bool(content.get("cohort")),
        with_response=bool(content.get("response")),
        labels=_field_labels(content.get("rank_correlation", {})),
    )


def _field_labels(settings: Mapping[str, Any]) -> dict[str, str]:
    """Labels that the study gives to fields of its own."""
    named = [*settings.get("measures", ()), *([i] if (i := settings.get("infiltrate")) else [])]
    return {str(m["field"]): str(m["label"]) for m in named if isinstance(m, dict) and m.get("label")}


def _read_provenance(path: Path, faults: Faults) -> Mapping[str, Any]:
    """Read provenance.json and check its status."""
    if not path.is_file():
        faults.add(str(path), f"missing. Without it nobody knows whether the run was refused: {RERUN}")
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        faults.add(str(path), f"not JSON ({error}). {RERUN.capitalize()}")
        return {}
    known = ("complete", "partly refused", "refused")
    if not isinstance(content, dict) or content.get("status") not in known:
        found = content.get("status") if isinstance(content, dict) else type(content).__name__
        faults.add(
            str(path), f"status is {found!r}; expected {', '.join(map(repr, known))}. {RERUN.capitalize()}"
        )
        return {}
    if not content.get("models"):
        faults.add(str(path), f"names no fitted model under `models`. {RERUN.capitalize()}")
        return {}
    return content


def _read_table(path: Path, columns: Mapping[str, Kind], faults: Faults) -> Rows:
    """Read one CSV with the columns that the report needs (others are ignored)."""
    where = f"tables/{path.name}"
    if not path.is_file():
        faults.add(where, f"missing in {path.parent.parent}. {RERUN.capitalize()}")
        return ()
    with path.open(encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle)
        found = tuple(reader.fieldnames or ())
        missing = [column for column in columns if column not in found]
        if missing:
            faults.add(
                where,
                f"no column {name_some(missing)}; found {', '.join(found) or 'none'}. {RERUN.capitalize()}",
            )
            return ()
        rows: list[Row] = []
        malformed: dict[str, list[str]] = {}
        for line in reader:
            row: dict[str, Any] = {}
            for column, kind in columns.items():
                try:
                    row[column] = _typed(line[column] or "", kind)
                except ValueError:
                    malformed.setdefault(column, []).append(line[column])
            rows.append(row)
    for column, values in malformed.items():
        faults.add(
            where,
            f"column {column!r} should hold {columns[column]} but has {len(values)} other values "
            f"({name_some(values)}). {RERUN.capitalize()}",
        )
    return () if malformed else tuple(rows)


def _check_formulas(rows: Rows, faults: Faults) -> None:
    """Refuse what is no formula of a model: it would go into pages and documents as it is."""
    for row in rows:
        try:
            for column in ("symbol", "law", "node"):
                checked(row[column])
        except DataError as error:
            faults.add("tables/outline.csv", f"{error}")
            return


def _typed(text: str, kind: Kind) -> Any:
    """Value of one cell; None where it is empty (or a spelt-out missing value in a number)."""
    text = text.strip()
    if kind == "text":
        return text
    if text in ("", "NA", "<NA>", "NaN", "nan", "None"):
        return None
    if kind == "bool":
        known = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
        if text.lower() not in known:
            raise ValueError(text)
        return known[text.lower()]
    number = float(text)
    if kind == "float":
        return None if math.isnan(number) else number
    if number != int(number):
        raise ValueError(text)
    return int(number)


def _read_estimates(path: Path, faults: Faults) -> tuple[Estimate, ...]:
    """Rows of estimates.csv."""
    if not path.is_file():
        faults.add(ESTIMATES_FILE, f"missing in {path.parent.parent}. {RERUN.capitalize()}")
        return ()
    try:
        table = Estimates.read_csv(path).table
    except ValueError as error:
        faults.add(ESTIMATES_FILE, f"{error}. {RERUN.capitalize()}")
        return ()
    wanted = [field.name for field in fields(Estimate)]
    records = table[wanted].astype(object)
    records = records.where(records.notna(), None)
    return tuple(
        Estimate(**{str(name): value for name, value in record.items()})
        for record in records.to_dict("records")
    )


def _check(results: Results, faults: Faults) -> None:
    """Cross-check what one file alone cannot show."""
    for row in results.rows("flow"):
        if row["read"] != row["excluded"] + row["analysed"]:
            faults.add(
                "tables/flow.csv",
                f"{row['cohort']}: {row['read']} read is not {row['excluded']} excluded + "
                f"{row['analysed']} analysed. Count every tumour once and write the table again",
            )
    seen: set[tuple[str, ...]] = set()
    levels: set[float] = set()
    for estimate in results.every_estimate:
        bayesian = "credible" in estimate.interval_kind
        if estimate.has_interval and bayesian != (estimate.source == "posterior"):
            faults.add(
                ESTIMATES_FILE,
                f"{estimate.source} row of {estimate.outcome}, {estimate.estimand}, {estimate.stratum} has a "
                f"{estimate.interval_kind!r} interval. Intervals are credible for a posterior and confidence "
                "for a twin: correct interval_kind",
            )
        if estimate.source != "posterior":
            continue
        if estimate.interval_prob is not None:
            levels.add(estimate.interval_prob)
        if estimate.model != MODEL:
            continue
        if estimate.place in seen:
            faults.add(
                ESTIMATES_FILE,
                f"several posterior rows for {', '.join(part for part in estimate.place if part)}. One "
                "report "
                "shows one model with one adjustment: keep one",
            )
        seen.add(estimate.place)
    if results.answered and not results.posterior():
        faults.add(ESTIMATES_FILE, f"no pooled posterior row, yet the run is complete. {RERUN.capitalize()}")
    if len(levels) > 1:
        faults.add(
            ESTIMATES_FILE, f"posterior intervals of levels {sorted(levels)}. Use one level in a study"
        )
    known = set(results.cell_types)
    strange = sorted({outcome for outcome, *_ in seen} - known)
    if strange:
        faults.add(
            ESTIMATES_FILE, f"cell types not in tables/cell_types.csv: {name_some(strange)}. Names must match"
        )
