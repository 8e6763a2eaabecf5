"""A model's outline beside its graph: every random variable stands in it, with its indices, parents and numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pymc as pm
from matplotlib.mathtext import MathTextParser
from pymc.model_graph import ModelGraph

from bayes_her2.bayesian.outline import Line, law_of
from bayes_her2.bayesian.priors import Prior
from bayes_her2.report.maths import mathml, omml

INDEX = {"question_with_both": "question", "printed_study": "study", "counted_study": "study"}
SPREADS = ("_sd", "_scale", "_variance")
"""Endings of what a mean has as a parent in the graph for its coordinates alone."""


def names_in(graph: pm.Model) -> set[str]:
    """Random variables, data and potentials by name."""
    return {v.name for v in (*graph.free_RVs, *graph.observed_RVs, *graph.potentials)}


def index_of(dim: str) -> str:
    """What an outline calls a dim of the graph."""
    if dim in INDEX:
        return INDEX[dim]
    if dim.endswith("_line"):
        return "line"
    if dim.endswith(("_cell_type", "_by_cohort")):
        return "regression" if dim.endswith("_by_cohort") else "cell type"
    return dim.replace("_", " ")


def random_ancestors(lines: Mapping[str, list[Line]], node: str) -> list[set[str]]:
    """Variables that a node stands for; of what is calculated, those of each node that it is calculated from."""
    own = {name for line in lines[node] for name in line.variables}
    above = {parent for line in lines[node] if not line.variables for parent in line.parents}
    return [
        *([own] if own else []),
        *(found for parent in above for found in random_ancestors(lines, parent)),
    ]


def assert_speaks_for_the_graph(
    model_file: Any, data: Any, priors: Mapping[str, Prior] | None = None
) -> None:
    """Compare the outline of a model on these data with its graph, and write it in every way that reports do."""
    priors = model_file.priors_for(data) if priors is None else priors
    graph, lines = model_file.build(data, priors), model_file.outline(data, priors)

    told = Counter(name for line in lines for name in line.variables)
    assert set(told) == names_in(graph)
    assert set(told.values()) == {1}

    nodes: dict[str, list[Line]] = {}
    for line in lines:
        nodes.setdefault(line.drawn, []).append(line)
    assert {parent for line in lines for parent in line.parents} <= set(nodes)
    observed = {v.name for v in (*graph.observed_RVs, *graph.potentials)}
    parents_of = ModelGraph(graph)
    for line in lines:
        assert line.observed == bool(set(line.variables) & observed)
        wanted = [found for parent in line.parents for found in random_ancestors(nodes, parent)]
        found: set[str] = set()
        for name in line.variables:
            dims = graph.named_vars_to_dims.get(name, ())
            if name not in {v.name for v in graph.potentials}:
                assert sorted(map(index_of, dims)) == sorted(line.each), (name, dims, line.each)
            found |= {str(parent) for parent in parents_of.get_parent_names(graph[name])}
        if line.variables:
            found &= names_in(graph)
            # A node may stand for coefficients of which this line needs some; a mean has spreads for its coordinates.
            assert all(some & found for some in wanted), (line.symbol, wanted, found)
            beyond = {name for name in found.difference(*wanted) if not name.endswith(SPREADS)}
            assert not beyond, (line.symbol, beyond)

    for text in (part for line in lines for part in (line.symbol, line.law)):
        assert mathml(text).startswith("<math")
        assert omml(text).startswith("<m:oMath>")
    for node in nodes:
        MathTextParser("path").parse(f"${node}$")
    assert all(line.said and not line.said.endswith(".") for line in lines)


def assert_prints_its_numbers(model_file: Any, data: Any) -> None:
    """A changed prior changes the line of its variables, and no other."""
    priors = model_file.priors_for(data)
    before = model_file.outline(data, priors)
    told = {variable for line in before for variable in line.variables}
    changed = 0
    for name, prior in priors.items():
        if prior.dist not in ("Normal", "HalfNormal"):
            continue
        other = replace(prior, params={**prior.params, "sigma": 0.1234})
        after = model_file.outline(data, {**priors, name: other})
        if after == before:  # of a term that these data do not have
            assert name not in told
            continue
        new = [line for line in after if "0.1234" in line.law]
        assert len(new) == 1
        assert law_of(other) in new[0].law
        assert name not in told or name in new[0].variables
        changed += 1
    assert changed > 1
