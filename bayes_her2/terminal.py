"""What commands print in a terminal: tables and lines of what their functions returned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bayes_her2.evidence.verdicts import VERDICTS
from bayes_her2.report.calibration_page import fits_in_words
from bayes_her2.workflow.audit import AuditResult
from bayes_her2.workflow.bundle import Bundled
from bayes_her2.workflow.calibrate import Calibrated, troubled
from bayes_her2.workflow.check import Checked, Prepared
from bayes_her2.workflow.compare import ComparedModels
from bayes_her2.workflow.measure import BEYOND, Measured
from bayes_her2.workflow.multiverse import MultiverseResult
from bayes_her2.workflow.run import RunResult


def _p_text(p: float) -> str:
    return "<0.0001" if p < 0.0001 else f"{p:.2g}"


SHOWN = 3
"""Findings that a run shows at its end."""


def show_run(console: Console, result: RunResult) -> None:
    """Print the surest findings of a run, and where its report is."""
    if result.findings is not None:
        _show_findings(console, result.findings, result.interval)
    console.print(
        f"Done in {result.total_seconds:.0f} s. Report: {result.report}", markup=False, soft_wrap=True
    )


def _show_findings(console: Console, found: pd.DataFrame, interval: float) -> None:
    if found.empty:
        console.print("No pooled ratio of mean abundance has a sign by the local false sign rate.")
        return
    level = f"{100 * interval:g} %"
    first = found.head(SHOWN)
    table = Table(
        title=escape(
            f"Mean abundance per SD of {first['exposure'].iloc[0]}, all cohorts: the surest {len(first)} of "
            f"{len(found)} results with a sign"
        ),
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1),
    )
    table.add_column("cell type")
    for column in ("tumours", f"ratio ({level} CrI)", f"twin ({level} CI)", "verdict"):
        table.add_column(column, no_wrap=True)
    for _, row in first.iterrows():
        sides = (_interval(row, side) for side in ("posterior_", "twin_"))
        table.add_row(escape(row["outcome"]), f"{row['n']:.0f} {row['stratum']}", *sides, row["verdict"])
    console.print(table)


def as_json(result: RunResult) -> str:
    """Say the same as one JSON object, with every finding."""
    found = result.findings
    return json.dumps(
        {
            "report": str(result.report),
            "folder": str(result.folder),
            "seconds": round(result.total_seconds, 1),
            "reused": list(result.reused),
            "interval": result.interval,
            "findings": None if found is None else json.loads(found.to_json(orient="records")),
        },
        indent=1,
    )


LEGEND = """\
P: two-sided, from the printed interval or the counts. x tests: P times the tests of its family. critical SD: a prior
centred at no effect overturns the claim if it is narrower than this (log of ratios, Fisher z of correlations).
survives: x tests below alpha, and a declared sceptic convinced; weakened: one of the two; does not survive: neither;
undecided by rounding: the printed digits allow P on both sides of alpha; inconclusive: P is not below alpha."""


def show_audit(console: Console, result: AuditResult) -> None:
    """Print what survives and what does not, verdict by verdict, then what contradicts itself."""
    console.print(LEGEND)
    rows = result.tables.audit.to_dict("records")
    in_several = {row["claim"] for row in result.tables.replication.to_dict("records")}
    for name in VERDICTS:
        mine = [row for row in rows if row["verdict"] == name]
        if not mine:
            continue
        table = Table(
            title=f"{name} ({len(mine)} of {len(rows)} claims)",
            title_justify="left",
            box=SIMPLE_HEAD,
            padding=(0, 1),
        )
        table.add_column("claim", ratio=1)
        for column in ("estimate (95 % CI)", "P", "x tests", "critical SD"):
            table.add_column(column, justify="right", no_wrap=True)
        for row in mine:
            critical = row["critical_prior_sd"]
            table.add_row(
                escape(
                    f"{row['claim']}, {row['cohort']}" if row["claim"] in in_several else str(row["claim"])
                ),
                str(row["printed"])
                if str(row["basis"]).startswith("printed")
                else f"{row['estimate']:.3g} ({row['lower']:.3g} to {row['upper']:.3g})",
                _p_text(row["p_value"]),
                f"x{row['family_size']}: {_p_text(row['p_bonferroni'])}",
                "-" if critical != critical else f"{critical:.2g}",  # NaN differs from itself
            )
        console.print(table)
    found = result.tables.contradictions.to_dict("records")
    if found:
        console.print("Printed figures that contradict another:")
    for row in found:
        console.print(
            escape(
                f"  {row['claim']} [{row['place']}]: {row['figure']} printed {row['printed']}, found {row['found']}"
            )
        )
    for row in result.tables.replication.to_dict("records"):
        console.print(
            escape(
                f"{row['claim']}: {row['original']} in {row['replication']}: {row['verdict']} (sceptical P "
                f"{_p_text(row['sceptical_p'])})"
            )
        )
    console.print(escape(" ".join(result.page.headline)))
    if result.report is not None:
        console.print(f"Report: {result.report}")


def _print_elpd(console: Console, title: str, table: pd.DataFrame) -> None:
    """Print log predictive densities, differences to the best, and what they say."""
    shown = pd.DataFrame(
        {
            "model": table["model"],
            "elpd": table["elpd"].map("{:.1f}".format),
            "difference (SE)": [
                f"{row['difference']:.1f} ({row['difference_se']:.1f})" if row["difference"] else "best"
                for _, row in table.iterrows()
            ],
            "weight": table["weight"].map("{:.2f}".format),
        }
    )
    _print_table(console, title, shown)
    for _, row in table.iterrows():
        console.print(escape(f"{row['model']}: {row['reading']}"))


def _print_cohorts(console: Console, cohorts: pd.DataFrame) -> None:
    """Print what each cohort's tumours say of the slopes of the others."""
    known = cohorts.dropna(subset=["elpd"])
    shown = pd.DataFrame(
        {
            "cohort left out": known["cohort"],
            "model": known["model"],
            "tumours": known["n_scored"].map("{:.0f}".format),
            "gain by HER2 (SE)": [
                f"{row['gain']:+.1f} ({row['gain_se']:.1f})" for _, row in known.iterrows()
            ],
            "elpd": known["elpd"].map("{:.1f}".format),
        }
    )
    _print_table(console, "Each cohort predicted from the others (half of it calibrates levels)", shown)
    for _, row in cohorts.iterrows():
        console.print(escape(f"{row['cohort']}, {row['model']}: {row['reading']}"))


def show_comparison(console: Console, result: ComparedModels) -> None:
    """Print which model predicts best, and which conclusions depend on the model."""
    if result.comparison is not None:
        table = result.comparison.table
        _print_elpd(
            console,
            f"Log density of a tumour that the model has not seen, summed over {table['n_tumours'].iloc[0]} tumours",
            table,
        )
    if result.folds is not None:
        _print_elpd(console, f"The same by {result.folds['n_folds'].iloc[0]}-fold refits", result.folds)
    scores = result.scores.table
    by_score = pd.DataFrame({"model": scores["model"]})
    for score, title in (("crps", "CRPS"), ("brier", "Brier"), ("log_score", "log score")):
        by_score[title] = scores[score].map("{:.4f}".format)
        by_score[f"{title} difference (SE)"] = [
            f"{gap:.4f} ({se:.4f})" if gap else "-"
            for gap, se in zip(scores[f"{score}_difference"], scores[f"{score}_difference_se"], strict=True)
        ]
    _print_table(console, "Scores of the abundances themselves, the smaller the better", by_score)
    if len(result.cohorts):
        _print_cohorts(console, result.cohorts)
    for left_out, reason in result.left_out.items():
        console.print(escape(f"{left_out} is left out: {reason}"))
    for name, own in result.conclusions.groupby("model", sort=False):
        changed = own[own["changed"]]
        console.print(
            escape(f"{name}: {len(changed)} of {len(own)} rows say something else than the main model")
        )
        pooled = changed[changed["scope"] == "pooled"]
        for _, row in pooled.iterrows():
            console.print(
                escape(
                    f"  {row['estimand']}, {row['outcome']}, {row['stratum']}, pooled: {_interval(row)}, "
                    f"main model {_interval(row, 'main_')}"
                )
            )
    _print_refused(console, "Not compared", result.refused)
    console.print(f"Page: {result.page}")


def show_multiverse(console: Console, result: MultiverseResult) -> None:
    """Print how many conclusions each universe changes, and which."""
    fitted = result.summary[result.summary["status"] == "fitted"]
    kinds = ("lost", "gained", "reversed")
    shown = pd.DataFrame(
        {"universe": fitted["universe"], "tumours": fitted["n_tumours"], "rows": fitted["n_rows"]}
    )
    for name in ("posterior", "twin"):
        shown[f"{name}: {', '.join(kinds)}"] = [
            ", ".join(str(row[f"{name}_{kind}"]) for kind in kinds) for _, row in fitted.iterrows()
        ]
    _print_table(console, "Conclusions that differ from the main analysis", shown)
    headlines = result.changed[result.changed["headline"] & result.changed["posterior_change"].isin(kinds)]
    for _, row in headlines.iterrows():
        here, main = (_interval(row, side) for side in ("posterior_", "main_"))
        unsure = ", within Monte Carlo error" if row["within_monte_carlo_error"] else ""
        place = f"{row['universe']}: {row['cell_type']}, {row['stratum']}, {row['estimand']}"
        console.print(escape(f"  {place}: {row['posterior_change']}, {here}, main analysis {main}{unsure}"))
    for name, why in result.left_out.items():
        console.print(escape(f"Left out: {name}: {why}"))
    _print_refused(console, "Refused", result.refused)
    console.print(f"Page: {result.page}")


def show_calibration(console: Console, result: Calibrated) -> None:
    """Print coverage, errors and power of the pooled rows, and what speaks against calibration."""
    covered, ranks, fits = (result.tables[name] for name in ("coverage", "ranks", "fits"))
    errors = covered.merge(
        result.tables["errors_of_claims"].drop(columns="n"), on=["estimand", "scope", "stratum"]
    )
    shown = errors[errors["scope"] == "pooled"]
    _print_table(
        console,
        f"{result.model}, {result.n} data sets: intervals that hold the truth, and claims (intervals that exclude no "
        "effect), pooled rows",
        pd.DataFrame(
            {
                "estimand": shown["estimand"],
                "stratum": shown["stratum"],
                "rows": shown["n"],
                "held (SE)": [f"{r['covered']:.3f} ({r['se']:.3f})" for _, r in shown.iterrows()],
                "claimed": [f"{v:.2f}" for v in shown["claimed"]],
                "wrong sign": [f"{v:.3f}" if pd.notna(v) else "" for v in shown["type_s"]],
                "size over true size": [f"{v:.2f}" if pd.notna(v) else "" for v in shown["type_m"]],
            }
        ),
    )
    low = int((ranks["p"] < 0.05).sum())
    console.print(
        f"Ranks: {low} of {len(ranks)} lines have p < 0.05 ({0.05 * len(ranks):.0f} expected if all are uniform); "
        f"lowest after Holm's correction {ranks['p_holm'].min():.2g}."
    )
    for line in fits_in_words(len(troubled(fits)), int(fits["retried"].sum()), len(fits)):
        console.print(line)
    for reason in result.against:
        console.print(escape(f"Against: {reason}"))
    if not result.against:
        console.print("Nothing speaks against calibration.")
    console.print(f"Page: {result.page}")


def show_measurement(console: Console, result: Measured) -> None:
    """Print how well the measures tell HER2, and which immune slopes change side."""
    rows = result.measurement
    shown = pd.DataFrame(
        {
            "estimand": rows["estimand"],
            "of": rows["outcome"] + rows["contrast"].map(lambda c: f": {c}" if "read" in c else ""),
            "cohort": rows["cohort"],
            "point (interval)": [_interval(row) for _, row in rows.iterrows()],
        }
    )
    _print_table(console, "How the indicators tell HER2 within cohort and HR stratum", shown)
    for treatment, own in result.slopes.groupby("treatment", sort=False):
        changed = own[own["side_changes"]]
        console.print(
            escape(
                f"{treatment}: {len(changed)} of {len(own)} slopes lie on another side of no association than for the"
                " score as it is"
            )
        )
        for _, row in changed.iterrows():
            console.print(
                escape(
                    f"  {row['estimand']}, {row['outcome']}, {row['stratum']}: "
                    f"{_interval(row)}, score {_interval(row, 'plug_in_')}"
                )
            )
    if len(result.agreement):
        apart = result.agreement[result.agreement["z"].abs() > BEYOND]
        console.print(
            escape(
                f"Measures that imply another slope of HER2 than each other: {len(apart)} of {len(result.agreement)} "
                f"(|z| > {BEYOND}; about 1 in 20 by chance). Where they do, an error goes with the immune cells, "
                "and no treatment of the exposure corrects for it:"
            )
        )
        for _, row in apart.reindex(apart["z"].abs().sort_values(ascending=False).index).head(5).iterrows():
            console.print(
                escape(
                    f"  {row['cell_type']}: correlation with the latent {row['implied']:.2f} by {row['measure']}, "
                    f"{row['other_implied']:.2f} by {row['other']}"
                )
            )
    _print_refused(console, "Not shown", result.refused)
    console.print(f"Tables: {result.folder / 'tables'}")


def show_checked(console: Console, checked: Checked) -> None:
    """Print flow, exclusions, composition and notices of a checked study."""
    if checked.prepared is not None:
        _show_cohorts(console, checked.study.name, checked.prepared)
    else:
        console.print(escape(f"{checked.study.name}: no cohorts; published results and responses alone"))
        if len(checked.exclusion_counts):
            _print_table(console, "Patients left out", checked.exclusion_counts)
    models = Table(title="Models that a run fits, and their tumours", title_justify="left")
    for column in ("model", "tumours", "cohorts", "adjusted for"):
        models.add_column(column)
    for name, own in checked.sets.items():
        models.add_row(name, str(len(own.tumours)), escape(", ".join(own.cohorts)), escape(own.adjustment))
    if checked.published is not None:
        published = checked.published
        models.add_row(
            published.model,
            f"{published.n_patients} patients",
            f"{len(published.overlap_groups)} groups of published studies, {len(published.questions)} questions",
            "by question",
        )
    if checked.response is not None:
        response = checked.response
        models.add_row(
            response.model, f"{response.n_patients} patients", escape(response.name), response.adjustment
        )
    console.print(models)
    for why in checked.left_out.values():
        console.print(escape(f"Not fitted: {why}"))
    of_cohorts = checked.prepared.data.notices if checked.prepared else ()
    of_published = checked.evidence.notices if checked.evidence else ()
    of_response = checked.response.notices if checked.response else ()
    for notice in (*of_cohorts, *of_published, *of_response):
        console.print(escape(f"Note: {notice}"))
    console.print("The study can be run.")


def _show_cohorts(console: Console, name: str, prepared: Prepared) -> None:
    data = prepared.data
    console.print(
        escape(
            f"{name}: {len(data.tumours)} tumours, {len(data.cell_types)} cell types, "
            f"HER2 measure {data.measure}, abundance as {data.scale_label}, adjusted for: {data.adjustment}"
        )
    )
    for title, frame in (
        ("Tumours by cohort", prepared.flow),
        ("Exclusions", prepared.exclusion_counts),
        ("Analysed tumours by cohort, HR stratum and HER2 IHC level", prepared.composition),
        (
            "HER2 measure: mean and the SD that one unit of every ratio refers to",
            data.her2_scaling.reset_index(),
        ),
    ):
        _print_table(console, title, frame)


def _interval(row: pd.Series, side: str = "") -> str:
    return f"{row[f'{side}point']:.2f} ({row[f'{side}lower']:.2f} to {row[f'{side}upper']:.2f})"


def _print_refused(console: Console, word: str, refused: Mapping[str, Sequence[str]]) -> None:
    for name, reasons in refused.items():
        console.print(escape(f"{word}: {name}: {'; '.join(reasons)}"))


def _print_table(console: Console, title: str, frame: pd.DataFrame) -> None:
    table = Table(title=escape(title), title_justify="left")
    for column in frame.columns:
        table.add_column(str(column))
    for row in frame.itertuples(index=False):
        table.add_row(*(escape(f"{v:.4g}" if isinstance(v, float) else str(v)) for v in row))
    console.print(table)


def show_bundle(console: Console, made: Bundled) -> None:
    """Say what the archive holds, and what it does not."""
    if made.left_out:
        console.print(f"Left out, because they have rows of single tumours: {', '.join(made.left_out)}")
    if made.naming:
        console.print(escape(f"Tumours are named in: {', '.join(made.naming)}"))
    console.print(
        f"Archive: {made.path} ({made.n_files} files, {made.n_bytes / 2**20:.1f} MiB)", soft_wrap=True
    )
