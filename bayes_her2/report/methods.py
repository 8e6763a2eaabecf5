"""Methods text of a run, for a manuscript: from its records alone, and no sentence that the run did not earn."""

from __future__ import annotations

from collections.abc import Sequence

from bayes_her2.estimates import RATIO_ESTIMANDS
from bayes_her2.report import formats
from bayes_her2.report.load import MODEL, Results, Row
from bayes_her2.report.manuscript import Paragraph
from bayes_her2.report.tables import formula
from bayes_her2.report.words import size_of

SOFTWARE = {
    "pymc": "PyMC",
    "nutpie": "nutpie",
    "pytensor": "PyTensor",
    "arviz": "ArviZ",
    "statsmodels": "statsmodels",
    "scipy": "SciPy",
}
"""Packages that a methods section names, in its order."""


def methods(results: Results) -> tuple[Paragraph, ...]:
    """Put the paragraphs together.

    Parameters
    ----------
    results
        A results folder with at least one model whose inference is printed.

    Returns
    -------
    tuple
        Data, models, priors, sampling, inference, twins, checks and software: those that the run has.
    """
    made = [
        *([Paragraph("Data", _data(results))] if results.study.with_cohorts else []),
        *(
            Paragraph(f"Model: {_title(name)}", _model(results, name), _formulas(results, name))
            for name in results.complete
        ),
        Paragraph("Priors", _priors(results)),
        Paragraph("Sampling and diagnostics", _sampling(results)),
        Paragraph("Inference", _inference(results)),
        Paragraph("Frequentist estimates beside the posterior", _twins(results)),
        Paragraph("Checks of the model", _checks(results)),
        Paragraph("Software", _software(results)),
    ]
    return tuple(p for p in made if p.text)


def _title(name: str) -> str:
    return name.replace("_", " ")


def _sentences(*found: str) -> str:
    return " ".join(s for s in found if s)


def _data(results: Results) -> str:
    flow, study = results.rows("flow"), results.study
    read, analysed = (sum(r[column] for r in flow) for column in ("read", "analysed"))
    reasons: dict[str, int] = {}
    for row in results.rows("exclusion_counts"):
        reasons[row["reason"]] = reasons.get(row["reason"], 0) + row["n"]
    lost = formats.listed(
        f"{formats.count(n)} ({reason})" for reason, n in sorted(reasons.items(), key=lambda kv: -kv[1])
    )
    cohorts = formats.listed(f"{r['cohort']} ({formats.count(r['analysed'])})" for r in flow)
    platforms = [r["platform"] for r in results.rows("her2_scaling")]
    within = f" on each platform ({formats.listed(platforms)})" if len(platforms) > 1 else ""
    return _sentences(
        f"Of {formats.count(read)} tumours, {formats.count(analysed)} were analysed: {cohorts}.",
        f"Left out: {lost}." if lost else "No tumour was left out.",
        f"HER2 was measured as {study.measure}, and enters per standard deviation (SD) within hormone "
        f"receptor strata{within}.",
        f"Abundance of {len(results.cell_types)} immune cell types was analysed on the {study.scale} "
        f"scale ({study.unit}).",
    )


def _model(results: Results, name: str) -> str:
    record = results.models[name]
    adjusted = "" if record.adjustment in ("none", "by question") else f", adjusted for {record.adjustment}"
    rows = results.rows("outline", name)
    where = next(
        (r["quantity"].partition(": ")[2] for r in rows if r["quantity"].startswith("linear predictor: ")), ""
    )
    return _sentences(
        *record.methods,
        f"It was fitted to {size_of(record)}{adjusted}.",
        "Its equations follow; what each quantity is, and every prior, is in tables/outline.csv."
        if rows
        else "",
        f"In the linear predictor, {where}." if where else "",
    )


def _formulas(results: Results, name: str) -> tuple[str, ...]:
    """Write likelihood, predictor and hierarchy; priors with numbers are in their tables."""
    return tuple(formula(row) for row in results.rows("outline", name) if row["parents"])


def _priors(results: Results) -> str:
    def rows(table: str) -> list[Row]:
        return [r for name in results.complete for r in results.rows(table, name)]

    gates, used = rows("prior_predictive"), rows("priors")
    changed = [
        f"{r['name']} of {_title(r['model'])}: {r['distribution']} ({r['why']})"
        for r in used
        if r["overridden"]
    ]
    passed = sum(bool(r["passed"]) for r in gates)
    return _sentences(
        "Every prior is listed with its meaning on the reader's scale and its reason in tables/priors.csv.",
        f"The study changed defaults: {'; '.join(changed)}."
        if changed
        else "All are the defaults of the models.",
        f"{passed} of {len(gates)} numeric gates on what the priors predict were passed." if gates else "",
    )


def _sampling(results: Results) -> str:
    by_settings: dict[tuple[str, ...], list[str]] = {}
    for name in results.complete:
        s = results.models[name].sampler
        how = (
            f"{s.get('chains')} chains of {formats.count(s.get('draws'))} draws after "
            f"{formats.count(s.get('tune'))} warm-up draws, target acceptance {s.get('target_accept')}"
            f"{', after an automatic second attempt' if s.get('retried') else ''}",
        )
        by_settings.setdefault(how, []).append(_title(name))
    told = "; ".join(
        f"{how} ({formats.listed(names)})" if len(by_settings) > 1 else how
        for (how,), names in by_settings.items()
    )
    rows = [r for name in results.complete for r in results.rows("diagnostics", name)]
    divergent = sum(
        int(r["value"])
        for name in results.complete
        for r in results.rows("sampling", name)
        if r["setting"] == "divergences"
    )
    gate = next(filter(None, map(results.gate, results.complete)), "")
    r_hat = max((r["r_hat_max"] for r in rows if r["r_hat_max"] is not None), default=None)
    ess = [r[c] for r in rows for c in ("ess_bulk_min", "ess_tail_min") if r[c] is not None]
    return _sentences(
        f"Posteriors were sampled by the no-U-turn sampler, seed {results.provenance.get('seed')}: {told}.",
        f"No result is reported unless every reported quantity has {gate}." if gate else "",
        f"The highest R-hat was {r_hat:.3f} and the lowest effective sample size {formats.count(round(min(ess)))}."
        if r_hat is not None and ess
        else "",
        f"Divergent transitions: {formats.count(divergent) if divergent else 'none'}.",
    )


def _inference(results: Results) -> str:
    study = results.study
    level = formats.level(study.interval)
    shown = [e for e in results.every_estimate if e.source == "posterior"]
    calling = [
        _title(name)
        for name in results.complete
        if any(e.model == name and e.s_value is not None for e in shown)
    ]
    signs = (
        f"Signs were called by the local false sign rate (models: {formats.listed(calling)}), so that the expected "
        f"proportion of wrong signs among those called in a family is at most {study.false_discovery:g}."
    )
    rope = (
        f"Ratios between {study.rope[0]:g} and {study.rope[1]:g} were taken as equivalent to none (region of practical "
        "equivalence)."
    )
    ratios = any(e.p_in_rope is not None and e.estimand in RATIO_ESTIMANDS for e in shown)
    return _sentences(
        f"Estimates are posterior medians with {level} equal-tailed credible intervals.",
        rope if ratios else "",
        signs if calling else "",
    )


def _twins(results: Results) -> str:
    found, corrected = [], False
    for name in results.complete:
        rows = [r for r in results.rows("concordance", name) if r["twin_method"] and r["verdict"]]
        corrected |= any(r["twin_p_bonferroni"] is not None for r in rows)
        ways = list(dict.fromkeys(r["twin_method"] for r in rows))
        if ways:
            found.append(f"For {_title(name)}: {'; '.join(ways)}.")
    if not found:
        return ""
    return _sentences(
        "Where there is a frequentist estimate of the same estimand, it stands beside the posterior one.",
        *found,
        f"P values of a family were Bonferroni-corrected at {results.study.alpha:g}." if corrected else "",
    )


def _checks(results: Results) -> str:
    rows = [r for name in results.complete for r in results.rows("posterior_predictive", name)]
    inside = sum(bool(r["inside"]) for r in rows)
    left_out = results.rows("influence") if MODEL in results.complete else ()
    decisive = sum(r["n_decisive"] > 0 for r in left_out)
    level = formats.level(results.study.interval)
    return _sentences(
        f"{formats.count(inside)} of {formats.count(len(rows))} statistics of the data lay within their {level} "
        "posterior predictive intervals."
        if rows
        else "",
        f"Leaving out single tumours by importance weights, {decisive} of {len(left_out)} pooled results of the main "
        "model have an interval whose side of no association rests on one tumour."
        if left_out
        else "",
    )


def _software(results: Results) -> str:
    versions = results.provenance.get("versions") or {}
    own = results.provenance.get("package_version")
    named: Sequence[str] = [
        f"{title} {versions[name]}" for name, title in SOFTWARE.items() if versions.get(name)
    ]
    return f"bayes_her2 {own}{f', with {formats.listed(named)}' if named else ''}."
