"""A made-up results folder in the shape that `bayes-her2 run` writes: random numbers under true labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayes_her2.data import DIFFERENCE, LM22_CELL_TYPES
from bayes_her2.estimates import Estimates
from bayes_her2.report.load import BY_MODEL

COHORTS = ("Discovery", "Confirmatory", "External")
PLATFORMS = {"Discovery": "U133", "Confirmatory": "HT-12", "External": "RNA-seq"}
STRATA = ("HR+", "HR-")
SIZES = {
    ("Discovery", "HR+"): 82,
    ("Discovery", "HR-"): 22,
    ("Confirmatory", "HR+"): 68,
    ("Confirmatory", "HR-"): 33,
    ("External", "HR+"): 251,
}
PARTS = ("presence", "amount", "overall", "high_abundance")
UNITS = {
    "presence": "odds ratio per SD",
    "amount": "ratio of means per SD",
    "overall": "ratio of E[y] per SD",
    "high_abundance": "marginal odds ratio per SD",
    "high_abundance_conditional": "odds ratio per SD",
}
UNMODELLED = ("T cells CD4 naive", "Eosinophils", "Dendritic cells activated")
ALWAYS_PRESENT = ("Macrophages M2", "T cells CD8")
FEW = (
    "B cells naive",
    "T cells CD8",
    "T cells CD4 naive",
    "Monocytes",
    "Macrophages M2",
    "Mast cells resting",
)
MATCHED = "random-effects (REML, modified Hartung-Knapp)"

STUDY = """
[study]
name = "Three cohorts"
description = "Made-up results that exercise the report."
seed = 20261121
simulated = {simulated}
{truth}
[her2]
measure = "ERBB2"
label = "ERBB2 mRNA, log2(FPKM + 1)"

[abundance]
scale = "{scale}"

[model]
covariates = ["age"]

[decisions]
rope = [0.9, 1.11]

[[cohort]]
name = "Discovery"
"""


class Builder:
    """Writes the folder: `names` renames cohorts, `change` edits the records of estimates."""

    def __init__(
        self,
        folder: Path,
        *,
        seed: int = 7,
        names: dict[str, str] | None = None,
        cohorts: tuple[str, ...] = COHORTS,
        strata: tuple[str, ...] = STRATA,
        cells: tuple[str, ...] = LM22_CELL_TYPES,
    ) -> None:
        self.folder = folder
        self.rng = np.random.default_rng(seed)
        self.strata = strata
        self.contrasts = (*strata, DIFFERENCE) if strata == STRATA else strata
        self.name = {c: (names or {}).get(c, c) for c in cohorts}
        self.sizes = {(self.name[c], s): n for (c, s), n in SIZES.items() if c in cohorts and s in strata}
        self.cells = cells
        self.modelled = tuple(cell for cell in self.cells if cell not in UNMODELLED)
        self.zero_share = {
            cell: 0.97
            if cell in UNMODELLED
            else 0.0
            if cell in ALWAYS_PRESENT
            else self.rng.uniform(0.05, 0.8)
            for cell in self.cells
        }
        self.slope = {cell: self.rng.normal(0, 0.16) for cell in self.cells}

    def build(
        self,
        *,
        refused: bool = False,
        simulated: bool = False,
        scale: str = "relative",
        change: Callable[[list[dict[str, Any]]], None] | None = None,
    ) -> Path:
        tables = self.folder / "tables"
        tables.mkdir(parents=True)
        truth = 'truth = "truth.csv"' if simulated else ""
        text = STUDY.format(simulated=str(simulated).lower(), truth=truth, scale=scale)
        (self.folder / "study.toml").write_text(text, encoding="utf-8")
        self._before_results(refused)
        if not refused:
            records = self._estimates()
            if change:
                change(records)
            Estimates.from_records(records).write_csv(tables / "estimates.csv")
            self._inference(records, simulated, scale)
        self._provenance(refused)
        return self.folder

    def write(self, name: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
        frame = pd.DataFrame(rows, columns=columns.split(","))
        if name in BY_MODEL:
            frame.insert(0, "model", "abundance")
        frame.to_csv(self.folder / "tables" / f"{name}.csv", index=False, lineterminator="\n")

    def _before_results(self, refused: bool) -> None:
        cohorts = tuple(self.name.values())
        analysed = {c: sum(n for (k, _), n in self.sizes.items() if k == c) for c in cohorts}
        reasons = [
            ("join", "no clinical row", 3),
            ("eligibility", "HER2-positive", 21),
            ("eligibility", "stage IV", 4),
            ("analysis set: abundance", "HR status not known", 2),
        ]
        self.write("exclusion_counts", "cohort,step,reason,n", [(c, *r) for c in cohorts for r in reasons])
        self.write(
            "exclusions",
            "cohort,tumour,step,reason",
            [(c, f"{c[:2]}{i}", s, r) for c in cohorts for s, r, n in reasons for i in range(n)],
        )
        self.write(
            "flow", "cohort,read,excluded,analysed", [(c, analysed[c] + 30, 30, analysed[c]) for c in cohorts]
        )
        composition = [
            (c, s, level, n)
            for (c, s), total in self.sizes.items()
            for level, n in zip(
                ("0", "1+", "2+", "not recorded"),
                (total // 3, total // 2, 2, total - total // 3 - total // 2 - 2),
                strict=True,
            )
        ]
        self.write("composition", "cohort,hr,her2_ihc,n", composition)
        zeros = []
        for cell in self.cells:
            for (c, s), n in self.sizes.items():
                share = self.zero_share[cell]
                n_zero = (
                    0 if share == 0 else int(self.rng.binomial(n, min(share * self.rng.uniform(0.7, 1.2), 1)))
                )
                median = round(float(self.rng.uniform(0.001, 0.1)), 5) if n > n_zero else None
                zeros.append((cell, c, s, n, n_zero, n - n_zero, median))
        self.zeros = pd.DataFrame(
            zeros, columns=["cell", "cohort", "hr", "n", "n_zero", "n_positive", "median"]
        )
        self.write("zero_shares", "cell_type,cohort,hr,n,n_zero,n_positive,median_positive", zeros)
        zeros_of = self.zeros.groupby("cell")[["n", "n_zero", "n_positive"]].sum().stack().to_dict()
        rows = []
        for cell in self.cells:
            n, n_zero, n_positive = (int(zeros_of[cell, c]) for c in ("n", "n_zero", "n_positive"))
            presence = cell in self.modelled and cell not in ALWAYS_PRESENT
            reason = ""
            if cell in UNMODELLED:
                reason = (
                    "HR+: 4 positives among 401 tumours (10 needed); HR-: 2 positives among 55 tumours (10 "
                    "needed)"
                )
            elif not presence:
                reason = (
                    "HR+: 0 zeros among 401 tumours (10 needed); HR-: 0 zeros among 55 tumours (10 needed)"
                )
            rows.append((cell, presence, cell in self.modelled, n_zero / n, n_zero, n_positive, reason))
        self.write(
            "cell_types",
            "cell_type,presence_modelled,amount_modelled,zero_share,n_zero,n_positive,reason",
            rows,
        )
        self.write(
            "rules",
            "cell_type,cohort,zero_share,rule,high_rule",
            [
                (cell, c, z, "excluded" if z > 0.75 else "presence" if z >= 0.25 else "continuous", "median")
                for cell, z in self.zero_share.items()
                for c in cohorts
            ],
        )
        scaling = [
            (PLATFORMS[k], 5.1 + i / 3, 0.71 + i / 15, analysed[v])
            for i, (k, v) in enumerate(self.name.items())
        ]
        self.write("her2_scaling", "platform,mean,sd,n", scaling)
        self.write("covariate_scaling", "covariate,mean,sd,kind", [("age", 57.31, 12.4, "continuous")])
        precision = []
        for cell in self.cells:
            for part in ("presence", "amount"):
                for stratum in self.contrasts:
                    known = cell in self.modelled and not (part == "presence" and cell in ALWAYS_PRESENT)
                    base = {"HR+": 0.11, "HR-": 0.29, DIFFERENCE: 0.33}[stratum] * (
                        1 if part == "presence" else 0.5
                    )
                    se = base * self.rng.uniform(0.8, 1.5) if known else None
                    values = (se, np.exp(3.92 * se), np.exp(2.8 * se)) if se else (None, None, None)
                    n = {"HR+": 401, "HR-": 55, DIFFERENCE: 456}[stratum]
                    precision.append((cell, stratum, part, n, n // 4, *values))
        self.write(
            "precision",
            "cell_type,stratum,estimand,n,n_zero,expected_se_log,interval_factor,detectable_ratio",
            precision,
        )
        self.write(
            "priors",
            "part,name,distribution,reader_scale,why,overridden",
            [
                (part, name, dist, scale, why, part == "presence" and name == "slope mean")
                for part in ("presence", "amount")
                for name, dist, scale, why in (
                    (
                        "intercept mean",
                        "Normal(1, 1.5)",
                        "12 to 98 % present",
                        "most cell types are present in most tumours",
                    ),
                    (
                        "slope mean",
                        "Normal(0, 0.5)",
                        "ratio 0.38 to 2.66",
                        "a change beyond 2.7-fold per SD, shared by all cell types, is implausible",
                    ),
                    (
                        "slope between cohorts SD",
                        "HalfNormal(0.25)",
                        "cohorts within 1.6-fold",
                        "cohorts that ask the same question rarely differ more",
                    ),
                )
            ],
        )
        self.write(
            "prior_predictive",
            "check,value,lower,upper,passed",
            [
                ("mean zero share over cell types", 0.31, 0.05, 0.9, True),
                ("share of prior odds ratios beyond tenfold", 0.012, 0.0, 0.05, True),
                ("largest mean abundance, 99 % quantile", 0.74, 0.0, 1.0, True),
            ],
        )
        self.write(
            "diagnostics",
            "quantity,worst_label,n_values,r_hat_max,ess_bulk_min,ess_tail_min,passed",
            [
                (
                    "pooled slopes",
                    "Neutrophils, presence, HR-",
                    120,
                    1.043 if refused else 1.0031,
                    2310.2,
                    2711.9,
                    not refused,
                ),
                ("cohort slopes", "Monocytes, amount, Confirmatory", 360, 1.0044, 1978.0, 2502.1, True),
                ("between-cohort SDs", "presence, slope", 8, 1.0061, 1402.7, 1388.4, True),
            ],
        )
        self.write(
            "sampling",
            "setting,value",
            [
                ("sampler", "nutpie"),
                ("chains", 4),
                ("tuning draws", 500),
                ("draws", 1500),
                ("R-hat, highest allowed", 1.01),
                ("effective sample size, lowest allowed", 1200),
                ("divergences", 0),
            ],
        )
        self.write(
            "notices",
            "where,text",
            [
                ("External", "12 duplicated rows dropped."),
                ("design", "The HR interaction is informed by two cohorts alone."),
            ],
        )

    def _estimates(self) -> list[dict[str, Any]]:
        records = []
        cohorts = tuple(self.name.values())
        for cell in self.cells:
            for part in PARTS:
                known = cell in self.modelled and not (part == "presence" and cell in ALWAYS_PRESENT)
                for stratum in self.contrasts:
                    centre = self.slope[cell] * (1 if stratum != DIFFERENCE else self.rng.normal(0, 3))
                    width = {"HR+": 0.09, "HR-": 0.26, DIFFERENCE: 0.3}[stratum]
                    width *= 0.6 if part == "amount" else 1.0
                    places = [("pooled", ""), *(("cohort", c) for c in cohorts), ("new cohort", "")]
                    for scope, cohort in places:
                        borrowed = (
                            scope == "cohort" and (cohort, "HR-") not in self.sizes and stratum != "HR+"
                        )
                        status = "borrowed" if borrowed else "observed"
                        if scope == "new cohort" and stratum != "HR+":
                            status = "prior-only"
                        if not known:
                            status = "not estimable"
                        records += self._rows(cell, part, stratum, scope, cohort, status, centre, width)
        for cell in self.modelled:
            for cohort in cohorts:
                records.append(
                    self._base("twin", "Spearman", "rank tests", cell, "spearman", "all", "cohort", cohort)
                    | self._interval(self.rng.normal(-0.1, 0.15), 0.08, log=False)
                    | {"unit": "Spearman rho", "interval_kind": "confidence (Fisher z, Bonett-Wright)"}
                    | {"p_value": self.rng.uniform(0, 1), "p_adjusted": 1.0}
                )
        return records

    def _base(
        self,
        source: str,
        method: str,
        model: str,
        cell: str,
        part: str,
        stratum: str,
        scope: str,
        cohort: str,
    ) -> dict[str, Any]:
        inside = (self.zeros["cell"] == cell) & (self.zeros["cohort"].eq(cohort) | (cohort == ""))
        if stratum in self.strata:
            inside &= self.zeros["hr"] == stratum
        rows = self.zeros[inside]
        return {
            "source": source,
            "method": method,
            "model": model,
            "outcome": cell,
            "exposure": "ERBB2 mRNA, log2(FPKM + 1)",
            "estimand": part,
            "contrast": "h + 1 SD over h",
            "adjustment": "age",
            "stratum": stratum,
            "scope": scope,
            "cohort": cohort,
            "unit": UNITS.get(part, ""),
            "interval_prob": 0.95,
            "n": int(rows["n"].sum()),
            "n_zero": int(rows["n_zero"].sum()),
            "status": "observed",
            "fingerprint": "f" * 12,
        }

    def _interval(self, centre: float, se: float, *, log: bool = True) -> dict[str, Any]:
        low, high = centre - 1.96 * se, centre + 1.96 * se
        if log:
            centre, low, high = (float(np.exp(v)) for v in (centre, low, high))
        return {"point": centre, "lower": low, "upper": high}

    def _rows(
        self,
        cell: str,
        part: str,
        stratum: str,
        scope: str,
        cohort: str,
        status: str,
        centre: float,
        width: float,
    ) -> list[dict[str, Any]]:
        spread = {"pooled": 1.0, "cohort": 1.7, "new cohort": 2.2}[scope]
        se = width * spread * self.rng.uniform(0.8, 1.3)
        value = centre + self.rng.normal(0, 0.04 * spread)
        posterior = self._base(
            "posterior", "models/abundance.py", "abundance", cell, part, stratum, scope, cohort
        )
        posterior |= {"status": status, "note": "" if status == "observed" else f"{status} here"}
        if status != "not estimable":
            pd_ = float(self.rng.uniform(0.5, 1))
            posterior |= self._interval(value, se) | {
                "interval_kind": "credible (equal-tailed)",
                "pd": pd_,
                "lfsr": 1 - pd_,
                "s_value": (1 - pd_) / 2,
                "p_in_rope": float(self.rng.uniform(0, 1)),
            }
        rows = [posterior]
        if scope == "new cohort":
            return rows
        estimand_rows = [part, "high_abundance_conditional"] if part == "high_abundance" else [part]
        for estimand in estimand_rows:
            methods = (MATCHED, "cohort fixed") if scope == "pooled" else ("logistic regression",)
            for method in methods:
                twin = self._base("twin", method, "abundance", cell, estimand, stratum, scope, cohort)
                if status == "observed":
                    p = float(self.rng.uniform(0, 0.4)) ** 2
                    twin |= self._interval(value + self.rng.normal(0, 0.05), se * 1.1) | {
                        "interval_kind": "confidence (Wald)"
                        if method != MATCHED
                        else "confidence (Hartung-Knapp)",
                        "p_value": p,
                        "p_adjusted": min(1.0, 19 * p),
                    }
                else:
                    twin |= {"status": "not estimable"}
                rows.append(twin)
        return rows

    def _inference(self, records: list[dict[str, Any]], simulated: bool, scale: str) -> None:
        twins = {
            (r["outcome"], r["estimand"], r["stratum"], r["scope"], r["cohort"]): r
            for r in records
            if r["source"] == "twin" and r["method"] in (MATCHED, "logistic regression")
        }
        rows = []
        for r in records:
            if r["source"] != "posterior" or r["scope"] == "new cohort":
                continue
            twin = twins.get((r["outcome"], r["estimand"], r["stratum"], r["scope"], r["cohort"]), {})
            away = [("lower" in x and (x["lower"] > 1 or x["upper"] < 1)) for x in (r, twin)]
            verdict = {(True, True): "agrees", (True, False): "new", (False, True): "uncertain"}.get(
                (away[0], away[1]), "both null"
            )
            if r["status"] != "observed":
                verdict = "not estimable" if r["status"] == "not estimable" else ""
            rows.append(
                {
                    **{
                        k: r[k]
                        for k in (
                            "model",
                            "outcome",
                            "exposure",
                            "estimand",
                            "contrast",
                            "adjustment",
                            "stratum",
                            "scope",
                            "cohort",
                            "unit",
                            "n",
                            "n_zero",
                        )
                    },
                    "n_twin": twin.get("n"),
                    **{f"posterior_{k}": r.get(k) for k in ("point", "lower", "upper")},
                    **{f"twin_{k}": twin.get(k) for k in ("point", "lower", "upper")},
                    "twin_method": twin.get("method", ""),
                    "twin_p": twin.get("p_value"),
                    "twin_p_bonferroni": twin.get("p_adjusted"),
                    "fixed_p_bonferroni": twin.get("p_adjusted"),
                    **{k: r.get(k) for k in ("pd", "lfsr", "s_value", "p_in_rope")},
                    "discovery_bayes": away[0],
                    "discovery_bonferroni": twin.get("p_adjusted", 1.0) < 0.05,
                    "discovery_fixed": twin.get("p_adjusted", 1.0) < 0.05,
                    "difference": None,
                    "verdict": verdict,
                    "status": r["status"],
                    "note": r.get("note", ""),
                }
            )
        pd.DataFrame(rows).to_csv(
            self.folder / "tables" / "concordance.csv", index=False, lineterminator="\n"
        )
        self.write(
            "parts_disagree",
            "outcome,stratum,presence,amount,overall",
            [("Mast cells resting", "HR-", 0.561, 1.432, 0.913)],
        )
        if scale == "relative":
            self.write(
                "share_drift",
                "stratum,at,sum_mean,lower,upper",
                [(s, at, 0.98 + 0.01 * at, 0.95, 1.03) for s in self.strata for at in (-2, -1, 0, 1, 2)],
            )
        checks = []
        for cell in self.modelled:
            for c, s in self.sizes:
                for statistic in ("zero share", "median of positives", "90 % quantile of positives"):
                    predicted = float(self.rng.uniform(0.01, 0.4))
                    observed = predicted * float(self.rng.normal(1, 0.12))
                    low, high = predicted * 0.72, predicted * 1.28
                    checks.append(
                        (cell, c, s, statistic, observed, predicted, low, high, low <= observed <= high)
                    )
        self.write(
            "posterior_predictive",
            "cell_type,cohort,hr,statistic,observed,predicted,lower,upper,inside",
            checks,
        )
        self.write(
            "heterogeneity",
            "part,term,between_sd_point,lower,upper,prior_median,n_cohorts_informing,note,cells_sd_point,cells_sd_lower,cells_sd_upper",
            [
                ("presence", "slope", 0.1634, 0.021, 0.38, 0.169, 3, "", 0.21, 0.11, 0.35),
                (
                    "presence",
                    "interaction",
                    0.1702,
                    0.008,
                    0.51,
                    0.169,
                    2,
                    "informed by two cohorts: mostly its prior",
                    0.21,
                    0.11,
                    0.35,
                ),
                ("amount", "slope", 0.0812, 0.011, 0.22, 0.169, 3, "", 0.21, 0.11, 0.35),
                (
                    "amount",
                    "interaction",
                    0.1651,
                    0.006,
                    0.49,
                    0.169,
                    2,
                    "informed by two cohorts: mostly its prior",
                    0.21,
                    0.11,
                    0.35,
                ),
            ],
        )
        if simulated:
            truth = []
            for r in records:
                if r["source"] == "posterior" and r["scope"] == "pooled" and r["status"] == "observed":
                    true = r["point"] * float(np.exp(self.rng.normal(0, 0.1)))
                    values = (true, r["point"], r["lower"], r["upper"], r["lower"] <= true <= r["upper"])
                    truth.append((r["outcome"], r["estimand"], r["stratum"], "pooled", *values))
            self.write("recovery", "outcome,estimand,stratum,scope,truth,point,lower,upper,covered", truth)

    def _provenance(self, refused: bool) -> None:
        content = {
            "package_version": "0.1.0",
            "started": "2026-11-21T09:00:00Z",
            "finished": "2026-11-21T09:04:12Z",
            "seconds": {"read": 1.2, "sample": 88.4},
            "versions": {"python": "3.13.1", "pymc": "6.4.0"},
            "seed": 20261121,
            "decisions_hash": "ab12" * 16,
            "files": [{"path": "input/discovery/cibersort.csv", "sha256": "ef56" * 16, "n_rows": 134}],
            "status": "refused" if refused else "complete",
            "models": {
                "abundance": {
                    "status": "refused" if refused else "complete",
                    "reasons": ["r-hat of Neutrophils, presence, HR- is 1.043 (allowed 1.01) after the retry"]
                    if refused
                    else [],
                    "question": "How do presence and amount change with HER2 expression?",
                    "n_tumours": sum(self.sizes.values()),
                    "cohorts": list(self.name.values()),
                    "adjustment": "none",
                    "fingerprint": "cd34" * 16,
                    "sampler": {"name": "nutpie", "chains": 4, "tune": 500, "draws": 1500},
                }
            },
            "left_out": {"marginal_effect": "External: the HER2 IHC level is not recorded."},
        }
        (self.folder / "provenance.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


class Page(HTMLParser):
    """Visible text of a page, and its tables as grids with row headings filled down."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.ids: list[str] = []
        self.references: list[tuple[str, str, str]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.tags: list[str] = []
        self._hidden = 0
        self._table = ""
        self._rows: list[list[str]] = []
        self._spans: dict[int, tuple[int, str]] = {}
        self._cell: list[str] | None = None
        self._span = 1
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {k: v or "" for k, v in attrs}
        self.tags.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        self.references += [
            (tag, k, v) for k, v in given.items() if k in ("src", "href", "xlink:href", "srcset", "data")
        ]
        if tag in ("style", "script"):
            self._hidden += 1
        if tag == "table":
            self._table = given["aria-labelledby"].removeprefix("caption-")
            self._rows, self._spans = [], {}
        elif tag == "tr" and self._table:
            self._rows.append([])
            self._fill()
        elif tag in ("td", "th") and self._table:
            self._cell, self._span = [], int(given.get("rowspan", 1))
        elif tag == "span" and self._cell is not None:
            self._cell.append(" ")

    def _fill(self) -> None:
        left, text = self._spans.get(len(self._rows[-1]), (0, ""))
        if left:
            self._spans[len(self._rows[-1])] = (left - 1, text)
            self._rows[-1].append(text)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("style", "script"):
            self._hidden -= 1
        elif tag in ("td", "th") and self._cell is not None:
            text = " ".join("".join(self._cell).split())
            if self._span > 1:
                self._spans[len(self._rows[-1])] = (self._span - 1, text)
            self._rows[-1].append(text)
            self._cell = None
        elif tag == "table":
            self.tables[self._table] = self._rows
            self._table = ""

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text.append(data)
        if self._cell is not None:
            self._cell.append(data)

    @property
    def visible(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    """Build a small study (six cell types), quick to draw."""
    return Builder(tmp_path / "results", cells=FEW)


@pytest.fixture
def new_builder(tmp_path: Path) -> Callable[..., Builder]:
    def make(folder: str = "results", **options: Any) -> Builder:
        return Builder(tmp_path / folder, **({"cells": FEW} | options))

    return make


@pytest.fixture(scope="session")
def builder_in() -> Callable[..., Builder]:
    """Build a small study in a folder of the caller's, for fixtures that many tests share."""
    return lambda folder, **options: Builder(folder, **({"cells": FEW} | options))


@pytest.fixture(scope="session")
def read_page() -> Callable[[Path], Page]:
    return lambda path: Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def finished(made_once: Callable[[str, Callable[[Path], object]], Path]) -> tuple[Path, Page]:
    """One complete report of a small study, rendered once: folder and parsed page. Read it, do not change it."""
    from bayes_her2.report import render_report

    folder = (
        made_once("finished", lambda place: render_report(Builder(place / "results", cells=FEW).build()))
        / "results"
    )
    return folder, Page((folder / "report.html").read_text(encoding="utf-8"))
