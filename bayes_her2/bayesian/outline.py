"""A model on one page: its quantities line by line, in symbols and in words.

A model file gives its `Line`s for a data set, from the structure and priors that it builds its graph from. The report
prints them as equations and draws them; tests compare them with the graph: every random variable stands in one line,
with its indices and, where it has a prior, its numbers.

Symbols and laws are LaTeX, of the commands that `bayes_her2.report.maths` knows. ``Normal(a, b)`` has mean a and SD b.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from bayes_her2.bayesian.design import Structure
from bayes_her2.bayesian.priors import Prior
from bayes_her2.data import AnalysisSet
from bayes_her2.wording import listed

LETTERS = {"intercept": r"\alpha", "slope": r"\beta", "hr": r"\gamma", "interaction": r"\delta"}
"""Coefficients of the linear predictor that models share."""
BETWEEN = "; "
"""Between several things in a cell of its table."""


@dataclass(frozen=True)
class Line:
    """One quantity of a model, or several that have the same law.

    Attributes
    ----------
    symbol, law
        In LaTeX.
    each
        What it is indexed by: ``tumour``, ``cell type``, ``cohort``.
    said
        What it is, in words.
    relation
        Whether it is distributed as its law, or equal to it.
    variables
        Names in the graph of the model: of random variables, data and potentials; none of what is calculated.
    parents
        Nodes that its law depends on.
    node
        What stands for it in a picture of the model; several lines may share one. Empty: its symbol.
    observed
        Whether it is data.
    """

    symbol: str
    law: str
    each: tuple[str, ...]
    said: str
    relation: Literal["~", "="] = "~"
    variables: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    node: str = ""
    observed: bool = False

    @property
    def drawn(self) -> str:
        """Its node in a picture."""
        return self.node or self.symbol


def as_table(lines: Iterable[Line]) -> pd.DataFrame:
    """Return lines as a table, for a results folder.

    Parameters
    ----------
    lines
        Of one model, in order.

    Returns
    -------
    pandas.DataFrame
        ``symbol``, ``relation``, ``law`` (LaTeX), ``for_each``, ``quantity`` (words), ``node``, ``parents`` (nodes;
        "; " between them), ``variables`` (names in the graph of the model), ``observed``.
    """
    return pd.DataFrame(
        [
            {
                "symbol": line.symbol,
                "relation": line.relation,
                "law": line.law,
                "for_each": BETWEEN.join(line.each),
                "quantity": line.said,
                "node": line.drawn,
                "parents": BETWEEN.join(line.parents),
                "variables": BETWEEN.join(line.variables),
                "observed": line.observed,
            }
            for line in lines
        ]
    )


def normal(mean: str, sd: str) -> str:
    """Write the normal distribution with a mean and an SD."""
    return rf"\mathrm{{Normal}}({mean},\, {sd})"


def law_of(prior: Prior) -> str:
    """Write a prior with its numbers."""
    if prior.dist == "NormalMixture":
        parts = zip(*prior.components(), strict=True)
        return " + ".join(rf"{w:.3g}\,{normal(f'{mu:.3g}', f'{sigma:.3g}')}" for w, mu, sigma in parts)
    name, _, inside = str(prior).partition("(")
    return rf"\mathrm{{{name}}}({inside}".replace(", ", r",\, ")


@dataclass(frozen=True)
class Given:
    """A quantity whose prior has numbers: its symbol, its name in the graph, and the prior."""

    symbol: str
    variable: str
    prior: Prior


def given(quantities: Iterable[Given], *, node: str, each: tuple[str, ...], said: str) -> Iterator[Line]:
    """Write priors with numbers, those that have the same in one line."""
    by_law: dict[str, list[Given]] = {}
    for quantity in quantities:
        by_law.setdefault(law_of(quantity.prior), []).append(quantity)
    for law, members in by_law.items():
        yield Line(
            symbol=r",\, ".join(dict.fromkeys(m.symbol for m in members)),
            law=law,
            each=each,
            said=said,
            variables=tuple(m.variable for m in members),
            node=node,
        )


def number(
    symbol: str, variable: str, prior: Prior, *, each: tuple[str, ...], said: str, node: str = ""
) -> Line:
    """Write one quantity whose prior has numbers."""
    return Line(symbol, law_of(prior), each, said, variables=(variable,), node=node)


def logit(probability: str, law: str, each: tuple[str, ...], said: str, *, parents: tuple[str, ...]) -> Line:
    """Write a probability whose log odds are a linear predictor."""
    return Line(
        rf"\mathrm{{logit}}\, {probability}", law, each, said, relation="=", parents=parents, node=probability
    )


def covariate_terms(coefficients: str, names: Iterable[object]) -> tuple[str, str]:
    """Write what covariates add to a linear predictor, and say what they are."""
    known = listed(map(str, names))
    return (
        rf"\mathbf{{x}}_{{i}}^{{\top}} {coefficients}",
        f"x holds the covariates {known}, centred, continuous ones per SD",
    )


def indexed(letter: str, index: str = "", part: str = "") -> str:
    """Write a symbol with its part above and its index below."""
    above = f"^{{{part}}}" if part else ""
    below = f"_{{{index}}}" if index else ""
    return f"{letter}{above}{below}"


def members(letters: Sequence[str], letter: str = r"\theta") -> tuple[str, str]:
    """One letter for several, and what it stands for: as the end of a law; a single one stands for itself."""
    if len(letters) == 1:
        return letters[0], ""
    return letter, rf",\quad {letter} \in \{{{',\\, '.join(letters)}\}}"


def predictor_lines(
    parts: Mapping[str, str],
    data: AnalysisSet,
    shape: Structure,
    priors: Mapping[str, Prior],
) -> tuple[Line, ...]:
    """Write the linear predictor that abundance and high abundance share, with its hierarchy.

    Parameters
    ----------
    parts
        Prefix of the names in the graph -> letter of the part in symbols; '' where there is one part.
    data, shape, priors
        As the model is built.

    Returns
    -------
    tuple
        The predictor first, numbers of the priors last.
    """
    part = "q" if len(parts) > 1 else next(iter(parts.values()))
    terms = list(shape.present)
    varying = [term for term in terms if shape.varies(term)]
    above = [term for term in varying if term != "intercept"]

    def coefficient(term: str) -> str:
        return indexed(LETTERS[term], "kc" if shape.varies(term) else "c", part)

    def graph(suffix: str, of: Iterable[str]) -> tuple[str, ...]:
        return tuple(f"{name}_{term}{suffix}" for name in parts for term in of)

    own, set_of_own = members([LETTERS[t] for t in terms])
    lower, set_of_lower = members([LETTERS[t] for t in above]) if above else ("", "")
    typical, by_cohort = indexed(own, "c", part), indexed(lower, "kc", part)
    mean, spread = indexed(r"\mu", own, part), indexed(r"\sigma", own, part)
    intercept = coefficient("intercept")
    between_levels, between = indexed(r"\tau", r"\alpha c", part), indexed(r"\tau", lower, part)
    columns = {"slope": " h_{i}", "hr": " r_{i}", "interaction": " h_{i} r_{i}"}
    level = indexed(r"\alpha", "gc", part) if shape.centres else intercept
    sums = [level, *(coefficient(t) + columns[t] for t in terms if t != "intercept")]
    used = [level] if shape.centres else []
    for term in terms:
        node = intercept if term in varying and term not in above else by_cohort if term in above else typical
        if node not in used:
            used.append(node)
    lines = []
    words = ["h is HER2 per SD within hormone receptor strata"]
    if "hr" in terms:
        words.append(f"r is 1 in {data.strata[-1]} tumours and 0 in the others")
    if not data.covariates.empty:
        zeta = indexed(r"\zeta", "c", part)
        term, said = covariate_terms(zeta, data.covariates.columns)
        sums.append(term)
        used.append(zeta)
        words.append(said)
    which = f"; q is {listed(f'{letter} ({name})' for name, letter in parts.items())}" if part == "q" else ""
    lines.append(
        Line(
            indexed(r"\eta", "ic", part),
            " + ".join(sums),
            ("tumour", "cell type"),
            f"linear predictor: {listed(words)}{which}",
            relation="=",
            parents=tuple(used),
        )
    )
    if shape.centres:
        centre_sd = indexed(r"\tau", "g", part)
        lines.append(
            Line(
                level,
                normal(indexed(r"\alpha", "k(g)c" if "intercept" in varying else "c", part), centre_sd),
                ("centre", "cell type"),
                "level of centre g, nested in its cohort k(g); tumours without a centre have the cohort's",
                variables=graph("_intercept", ["centre"]),
                parents=(intercept if "intercept" in varying else typical, centre_sd),
            )
        )
    if "intercept" in varying:
        lines.append(
            Line(
                intercept,
                normal(indexed(r"\alpha", "c", part), between_levels),
                ("cohort", "cell type"),
                "level in cohort k",
                variables=graph("_by_cohort", ["intercept"]),
                parents=(typical, between_levels),
            )
        )
    if above:
        lines.append(
            Line(
                by_cohort,
                normal(indexed(lower, "c", part), between) + set_of_lower,
                ("cohort", "cell type"),
                "coefficients in cohort k: a random effect of cohort",
                variables=graph("_by_cohort", above),
                parents=(typical, between),
            )
        )
    common = (
        "; those that are not of a cohort are common to the cohorts" if 0 < len(varying) < len(terms) else ""
    )
    lines.append(
        Line(
            typical,
            normal(mean, spread) + set_of_own,
            ("cell type",),
            f"coefficients of cell type c, partially pooled over cell types{common}",
            variables=graph("", terms),
            parents=(mean, spread),
        )
    )
    if not data.covariates.empty:
        lines.extend(_covariates(parts, part, priors))

    def numbers(level: str, letter: str, of: Iterable[str], index: str = "") -> list[Given]:
        return [
            one
            for term in of
            for one in _of_parts(parts, letter, f"{LETTERS[term]}{index}", f"{term}_{level}", priors)
        ]

    if "intercept" in varying:
        lines.extend(
            given(
                numbers("between_cohorts_sd", r"\tau", ["intercept"], " c"),
                node=between_levels,
                each=("cell type",),
                said="SD of the levels of cell type c between cohorts",
            )
        )
    if above:
        lines.extend(
            given(
                numbers("between_cohorts_sd", r"\tau", above),
                node=between,
                each=(),
                said="SD of coefficients between cohorts, common to the cell types",
            )
        )
    if shape.centres:
        centre_sds = _of_parts(parts, r"\tau", "g", "centre_sd", priors)
        lines.extend(given(centre_sds, node=centre_sd, each=(), said="SD of levels between centres"))
    lines.extend(
        given(
            numbers("mean", r"\mu", terms), node=mean, each=(), said="means of coefficients over cell types"
        )
    )
    lines.extend(
        given(
            numbers("between_cells_sd", r"\sigma", terms),
            node=spread,
            each=(),
            said="SDs of coefficients between cell types",
        )
    )
    return tuple(lines)


def _of_parts(
    parts: Mapping[str, str], letter: str, index: str, suffix: str, priors: Mapping[str, Prior]
) -> list[Given]:
    """One quantity of each part; its name in the graph is that of its prior."""
    return [
        Given(indexed(letter, index, q), f"{name}_{suffix}", priors[f"{name}_{suffix}"])
        for name, q in parts.items()
    ]


def _covariates(parts: Mapping[str, str], part: str, priors: Mapping[str, Prior]) -> Iterator[Line]:
    """Coefficients of the covariates, one of each for every cell type."""
    zeta = indexed(r"\zeta", "c", part)
    mean, spread = indexed(r"\mu", r"\zeta j", part), indexed(r"\sigma", r"\zeta j", part)
    yield Line(
        indexed(r"\zeta", "jc", part),
        normal(mean, spread),
        ("covariate", "cell type"),
        "coefficient of covariate j, common to the cohorts",
        variables=tuple(f"{name}_covariate" for name in parts),
        parents=(mean, spread),
        node=zeta,
    )
    for level, letter, said in (
        ("mean", r"\mu", "mean of a covariate's coefficients over cell types"),
        ("between_cells_sd", r"\sigma", "SD of a covariate's coefficients between cell types"),
    ):
        quantities = _of_parts(parts, letter, r"\zeta j", f"covariate_{level}", priors)
        yield from given(quantities, node=indexed(letter, r"\zeta j", part), each=("covariate",), said=said)
