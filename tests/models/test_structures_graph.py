"""Each rival structure is the model of its docstring: log density against scipy, by label, and its limits.

The other side is written from the specification: for each structure its parameters, their labels and their priors, and
the linear predictor as arithmetic of labelled arrays. Nothing of the package is used for it but the analysis set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import xarray as xr
from bayes_her2.models import abundance, abundance_lineage, abundance_spline
from conftest import structured_set
from labelled_density import SummedDensity
from scipy import integrate, optimize, stats
from scipy.special import expit

from bayes_her2.bayesian.design import bends
from bayes_her2.bayesian.fit import fit_model
from bayes_her2.bayesian.lineages import LINEAGES, REASONS, membership
from bayes_her2.bayesian.linear_predictor import horseshoe_sd
from bayes_her2.bayesian.model import ALTERNATIVES, load_model
from bayes_her2.bayesian.predictive import prior_table
from bayes_her2.data import LM22_CELL_TYPES, AnalysisSet
from bayes_her2.errors import DataError

STRUCTURES = ALTERNATIVES["abundance"]["structure"]
KINDS = ("covariates", "HR+ only beside both", "centres", "one cohort, HR+ only")
RENAMED = {
    "Zeta cells": "T cells CD8",
    "Alpha cells": "Mast cells resting",
    "Masked in HR-": "T cells gamma delta",
    "Never zero": "Macrophages M2",
    "Rare in HR-": "Monocytes",
}
"""Names of LM22 for the cell types of the structured sets: two lineages of two and one of one."""

Values = Mapping[str, xr.DataArray]
Labels = dict[str, list[str]]


def named(kind: str) -> AnalysisSet:
    """The analysis set of a kind, its cell types renamed to some of LM22."""
    return _named(kind)


@cache
def _named(kind: str) -> AnalysisSet:
    return structured_set(kind, RENAMED)


# --- the specification ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Parameter:
    """Labels of a parameter, and its log density given all others."""

    labels: Labels
    log_density: Callable[[xr.DataArray, Values], Any]


def normal(mean: str | float, sd: str | float) -> Callable[[xr.DataArray, Values], Any]:
    def density(x: xr.DataArray, values: Values) -> Any:
        at = [values[p] if isinstance(p, str) else xr.DataArray(float(p)) for p in (mean, sd)]
        return stats.norm.logpdf(*xr.broadcast(x, *at))

    return density


def half_normal(scale: float) -> Callable[[xr.DataArray, Values], Any]:
    return lambda x, values: stats.halfnorm.logpdf(x, scale=scale)


MEANS = {"presence_intercept": (1.0, 1.5), "amount_intercept": (-3.0, 1.5)}
CELLS_SD = {"presence_intercept": 1.5, "amount_intercept": 1.0}
COHORTS_SD = {"presence_intercept": 1.5, "amount_intercept": 0.5}
FIXED = {"presence": (1.0, 3.0), "amount": (-3.0, 2.0)}
ALONE = {"presence_intercept": (1.0, 2.5), "amount_intercept": (-3.0, 2.0)}


class Specification:
    """Parameters and linear predictors of one structure on one analysis set."""

    def __init__(self, structure: str, kind: str) -> None:
        self.structure, self.kind, self.data = structure.removeprefix("abundance_"), kind, named(kind)
        lacks = {"no_interaction": {"interaction"}, "no_her2": {"slope", "interaction"}}.get(
            self.structure, set()
        )
        if kind == "one cohort, HR+ only":
            lacks = lacks | {"hr", "interaction"}
        self.terms = [t for t in ("intercept", "slope", "hr", "interaction") if t not in lacks]
        self.several = kind != "one cohort, HR+ only"
        self.parameters: dict[str, Parameter] = {}
        self.amount_cells: list[str] = []
        for part in ("presence", "amount"):
            for term in self.terms:
                self._term(part, term)
            self._rest(part)
        shapes = {"amount_cell_type": self.cells("amount")}
        if self.structure == "factor":
            self.parameters["amount_loading_sd"] = Parameter({}, half_normal(0.5))
            self.parameters["amount_loading"] = Parameter(shapes, normal(0.0, "amount_loading_sd"))
            self.parameters["factor"] = Parameter({"tumour": list(self.data.tumours.index)}, normal(0.0, 1.0))
        self.parameters["log_shape"] = Parameter(shapes, normal(0.5, 1.0))
        if self.several:
            self.parameters["log_shape_between_cohorts_sd"] = Parameter({}, half_normal(0.5))
            self.parameters["log_shape_by_cohort"] = Parameter(
                {"cohort": list(self.data.cohorts)} | shapes,
                normal("log_shape", "log_shape_between_cohorts_sd"),
            )

    def cells(self, part: str) -> list[str]:
        parts = self.data.parts
        return sorted(set(parts.loc[parts[f"{part}_modelled"], "cell_type"]))

    def varies(self, term: str) -> bool:
        if self.structure == "cohort_fixed":
            return term == "intercept"
        if self.structure == "cohort_intercepts":
            return term == "intercept" and self.several
        both = self.kind == "covariates"
        return both if term in ("hr", "interaction") else self.several

    def _term(self, part: str, term: str) -> None:
        name, cells = f"{part}_{term}", {f"{part}_cell_type": self.cells(part)}
        by_cohort = {"cohort": list(self.data.cohorts)} | cells
        put = self.parameters
        if self.structure == "cohort_fixed" and term == "intercept":
            put[f"{name}_by_cohort"] = Parameter(by_cohort, normal(*FIXED[part]))
            return
        mean, sd = f"{name}_mean", f"{name}_between_cells_sd"
        if self.structure == "unpooled":
            put[name] = Parameter(cells, normal(*ALONE.get(name, (0.0, 0.9))))
        else:
            put[mean] = Parameter({}, normal(*MEANS.get(name, (0.0, 0.5))))
            sparse = self.structure == "horseshoe" and term in ("slope", "interaction")
            if not sparse:
                put[sd] = Parameter({}, half_normal(CELLS_SD.get(name, 0.5)))
            if sparse:
                put[f"{name}_global_scale"] = Parameter(
                    {}, lambda x, v: stats.halfcauchy.logpdf(x, scale=0.026)
                )
                put[f"{name}_local_scale"] = Parameter(cells, lambda x, v: stats.halfcauchy.logpdf(x))
                put[f"{name}_slab_variance"] = Parameter(
                    {}, lambda x, v: stats.invgamma.logpdf(x, 2.0, scale=0.5)
                )

                def sparse_density(x: xr.DataArray, v: Values, name: str = name) -> Any:
                    wide = v[f"{name}_global_scale"] * v[f"{name}_local_scale"]
                    spread = (1.0 / (1.0 / wide**2 + 1.0 / v[f"{name}_slab_variance"])) ** 0.5
                    return stats.norm.logpdf(*xr.broadcast(x, v[f"{name}_mean"], spread))

                put[name] = Parameter(cells, sparse_density)
            elif self.structure == "lineage" and term != "intercept":
                own = [x for x, members in LINEAGES.items() if set(members) & set(self.cells(part))]
                put[f"{name}_between_lineages_sd"] = Parameter({}, half_normal(0.25))
                put[f"{name}_of_lineage"] = Parameter(
                    {f"{part}_lineage": own}, normal(mean, f"{name}_between_lineages_sd")
                )

                def in_lineage(x: xr.DataArray, v: Values, name: str = name, part: str = part) -> Any:
                    of = [
                        next(k for k, m in LINEAGES.items() if str(c) in m)
                        for c in x[f"{part}_cell_type"].values
                    ]
                    above = v[f"{name}_of_lineage"].sel(
                        {f"{part}_lineage": xr.DataArray(of, dims=f"{part}_cell_type")}
                    )
                    return stats.norm.logpdf(x, above.to_numpy(), float(v[f"{name}_between_cells_sd"]))

                put[name] = Parameter(cells, in_lineage)
            else:
                put[name] = Parameter(cells, normal(mean, sd))
        if self.varies(term):
            spread = f"{name}_between_cohorts_sd"
            put[spread] = Parameter(
                cells if term == "intercept" else {}, half_normal(COHORTS_SD.get(name, 0.25))
            )
            put[f"{name}_by_cohort"] = Parameter(by_cohort, normal(name, spread))

    def _rest(self, part: str) -> None:
        cells, put = {f"{part}_cell_type": self.cells(part)}, self.parameters
        if len(self.data.covariates.columns):
            columns, name = {"covariate": list(self.data.covariates.columns)}, f"{part}_covariate"
            if self.structure == "unpooled":
                put[name] = Parameter(columns | cells, normal(0.0, 0.9))
            else:
                put[f"{name}_mean"] = Parameter(columns, normal(0.0, 0.5))
                put[f"{name}_between_cells_sd"] = Parameter(columns, half_normal(0.5))
                put[name] = Parameter(columns | cells, normal(f"{name}_mean", f"{name}_between_cells_sd"))
        if self.kind == "centres":
            put[f"{part}_centre_sd"] = Parameter({}, half_normal(0.5))

            def around_home(x: xr.DataArray, v: Values, part: str = part) -> Any:
                home = v[f"{part}_intercept_by_cohort"].sel(cohort="B", drop=True)
                return stats.norm.logpdf(*xr.broadcast(x, home, v[f"{part}_centre_sd"]))

            put[f"{part}_centre_intercept"] = Parameter(
                {"centre": ["B/1", "B/10", "B/2"]} | cells, around_home
            )
        if self.structure == "spline":
            two = {"bend": ["bend 1", "bend 2"]}
            put[f"{part}_bend_sd"] = Parameter({}, half_normal(0.25))
            put[f"{part}_bend_mean"] = Parameter(two, normal(0.0, f"{part}_bend_sd"))
            put[f"{part}_bend"] = Parameter(two | cells, normal(f"{part}_bend_mean", f"{part}_bend_sd"))

    def random_values(self, seed: int) -> dict[str, xr.DataArray]:
        """A different value for every label of every parameter."""
        rng, values = np.random.default_rng(seed), {}
        for name, parameter in self.parameters.items():
            drawn = rng.normal(0.0, 0.6, size=[len(x) for x in parameter.labels.values()])
            if name.endswith(("_sd", "_scale", "_variance")):
                drawn = 0.1 + np.abs(drawn)
            elif name.startswith("amount_intercept"):
                drawn = drawn - 3.0
            values[name] = xr.DataArray(drawn, dims=list(parameter.labels), coords=parameter.labels)
        return values

    def log_prior(self, values: Values) -> float:
        return sum(float(np.sum(p.log_density(values[n], values))) for n, p in self.parameters.items())

    def eta(self, values: Values, part: str) -> xr.DataArray:
        """Linear predictor, tumour x cell type."""
        tumours = self.data.tumours
        index = list(tumours.index)

        def column(series: Any) -> xr.DataArray:
            return xr.DataArray(np.asarray(series), dims="tumour", coords={"tumour": index})

        cohort = column(tumours["cohort"].astype(str).to_numpy())
        h, other = column(tumours["her2_sd"]), column((tumours["hr"] != self.data.reference).astype(float))

        def beta(term: str) -> Any:
            if term not in self.terms:
                return 0.0
            name = f"{part}_{term}"
            return values[f"{name}_by_cohort"].sel(cohort=cohort) if self.varies(term) else values[name]

        level = beta("intercept")
        if self.kind == "centres":
            label = "B/" + tumours["centre"].fillna("1").astype(str)
            level = xr.where(
                cohort == "B", values[f"{part}_centre_intercept"].sel(centre=column(label.to_numpy())), level
            )
        eta = level + beta("slope") * h + beta("hr") * other + beta("interaction") * h * other
        if len(self.data.covariates.columns):
            x = xr.DataArray(self.data.covariates.to_numpy(float), dims=("tumour", "covariate"))
            x = x.assign_coords(tumour=index, covariate=list(self.data.covariates.columns))
            eta = eta + (values[f"{part}_covariate"] * x).sum("covariate")
        if self.structure == "spline":
            b = xr.DataArray(two_bends(tumours["her2_sd"].to_numpy(float)), dims=("tumour", "bend"))
            eta = eta + (
                values[f"{part}_bend"] * b.assign_coords(tumour=index, bend=["bend 1", "bend 2"])
            ).sum("bend")
        if self.structure == "factor" and part == "amount":
            eta = eta + values["factor"] * values["amount_loading"]
        return eta.reset_coords(drop=True).transpose("tumour", f"{part}_cell_type")

    def log_likelihood(self, values: Values) -> dict[str, float]:
        totals = {}
        for part, node in (("presence", "present"), ("amount", "amount")):
            eta, cells = self.eta(values, part), f"{part}_cell_type"
            y = self.data.abundance[list(eta[cells].to_numpy())].to_numpy(float)
            parts = self.data.parts.pivot(index="stratum", columns="cell_type", values=f"{part}_modelled")
            counted = parts.loc[self.data.tumours["hr"], list(eta[cells].to_numpy())].to_numpy(bool)
            if part == "presence":
                density = stats.bernoulli.logpmf((y > 0).astype(int), expit(eta.to_numpy()))
            else:
                counted = counted & (y > 0)
                shape = values["log_shape"]
                if self.several:
                    where = xr.DataArray(self.data.tumours["cohort"].astype(str).to_numpy(), dims="tumour")
                    shape = values["log_shape_by_cohort"].sel(cohort=where)
                phi = np.exp(shape.sel({cells: eta[cells]}).transpose(..., cells).to_numpy())
                phi = np.broadcast_to(phi, y.shape)
                density = stats.gamma.logpdf(np.where(y > 0, y, 1.0), phi, scale=np.exp(eta.to_numpy()) / phi)
            totals[node] = float(density[counted].sum())
        return totals


def two_bends(h: np.ndarray) -> np.ndarray:
    """Restricted cubic spline of four knots in Harrell's form, by Gram-Schmidt against the line and each other.

    Harrell (2015), Regression Modeling Strategies, eq. 2.25: another basis of the same curves than the package's.
    """
    t = np.quantile(h, (0.05, 0.35, 0.65, 0.95))

    def plus(x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x, 0.0) ** 3

    raw = [
        plus(h - t[j])
        - plus(h - t[2]) * (t[3] - t[j]) / (t[3] - t[2])
        + plus(h - t[3]) * (t[2] - t[j]) / (t[3] - t[2])
        for j in (0, 1)
    ]
    made = [np.ones_like(h) / np.sqrt(len(h))]
    for column in (h, *raw):
        left = column.astype(float)
        for _ in range(2):
            for earlier in made:
                left = left - (earlier @ left) * earlier
        made.append(left / np.sqrt(left @ left))
    return np.stack(made[2:], axis=1) * np.sqrt(len(h))


# --- the graphs ----------------------------------------------------------------------------------


@cache
def density_of(structure: str, kind: str) -> SummedDensity:
    module, data = load_model(structure), named(kind)
    return SummedDensity(module.build(data, module.priors_for(data)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_log_density_is_the_one_written_out(structure, kind):
    specified, found = Specification(structure, kind), density_of(structure, kind)
    assert {v.name for v in found.model.free_RVs} == set(specified.parameters)
    for name, parameter in specified.parameters.items():
        assert tuple(found.model.named_vars_to_dims.get(name, ())) == tuple(parameter.labels), name
        for dim, labels in parameter.labels.items():
            assert sorted(found.model.coords[dim]) == sorted(labels)
    values = specified.random_values(3)
    terms = found(values)
    likelihood = specified.log_likelihood(values)
    assert terms.pop("present") == pytest.approx(likelihood["present"], rel=1e-9)
    assert terms.pop("amount") == pytest.approx(likelihood["amount"], rel=1e-9)
    assert sum(terms.values()) == pytest.approx(specified.log_prior(values), rel=1e-7)


@pytest.mark.parametrize("structure", [s for s in STRUCTURES if s != "abundance_factor"])
def test_the_log_likelihood_in_numbers_is_that_of_the_graph(structure):
    module = load_model(structure)
    for kind in ("covariates", "centres"):
        specified, data = Specification(structure, kind), named(kind)
        values = specified.random_values(4)
        draws = xr.Dataset({n: v.expand_dims(chain=[0], draw=[0]) for n, v in values.items()})
        found = module.log_likelihood(draws, data)
        assert float(found.sum()) == pytest.approx(sum(specified.log_likelihood(values).values()), rel=1e-9)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_priors_listed_are_those_in_the_graph(structure):
    module = load_model(structure)
    listed, used = set(), set()
    for kind in ("covariates", "centres"):
        data = named(kind)
        table = prior_table(
            module.priors_for(data),
            {v.name for v in density_of(structure, kind).model.free_RVs},
            module.reader_scale,
        )
        listed |= set(table["name"])
        used |= set(table.loc[table["in_model"], "name"])
    assert used == listed == set(module.PRIORS)
    # All but the structure's own are the main model's.
    own = {n for n in module.PRIORS if n not in abundance.PRIORS}
    assert all(module.PRIORS[n] == abundance.PRIORS[n] for n in set(module.PRIORS) - own)
    assert (module.OUTCOME, module.MEASURE) == (abundance.OUTCOME, abundance.MEASURE)


@pytest.mark.parametrize("structure", ["abundance_cohort_fixed", "abundance_unpooled"])
def test_on_the_absolute_scale_the_level_of_amounts_is_read_off_the_data(structure):
    data = named("covariates")
    scaled = replace(data, scale="absolute", abundance=data.abundance * 1000)
    module = load_model(structure)
    name = next(n for n in ("amount_intercept", "amount_intercept_by_cohort") if n in module.PRIORS)
    own, main = (m.priors_for(scaled) for m in (module, abundance))
    assert own[name].params["mu"] == main["amount_intercept_mean"].params["mu"] != -3.0
    assert own[name].params["sigma"] == module.PRIORS[name].params["sigma"]


# --- limits --------------------------------------------------------------------------------------


def shared(values: Values, names: set[str]) -> dict[str, xr.DataArray]:
    return {n: v for n, v in values.items() if n in names}


def test_lineages_at_the_mean_are_the_main_model():
    # As the spread between lineages goes to 0 each lineage is at the mean of all: what is left is the main density.
    kind = "covariates"
    values = Specification("abundance_lineage", kind).random_values(5)
    for name in list(values):
        if name.endswith("_of_lineage"):
            values[name] = xr.full_like(
                values[name], float(values[name.removesuffix("_of_lineage") + "_mean"])
            )
    lineage, main = density_of("abundance_lineage", kind)(values), density_of("abundance", kind)
    own = {n for n in lineage if "lineage" in n}
    expected = main(shared(values, {v.name for v in main.model.free_RVs}))
    assert sum(v for n, v in lineage.items() if n not in own) == pytest.approx(
        sum(expected.values()), rel=1e-10
    )


def test_a_curve_without_departures_is_the_main_model():
    kind = "HR+ only beside both"
    values = Specification("abundance_spline", kind).random_values(6)
    for name in list(values):
        if name.endswith(("_bend", "_bend_mean")):
            values[name] = xr.zeros_like(values[name])
    curve, main = density_of("abundance_spline", kind)(values), density_of("abundance", kind)
    expected = main(shared(values, {v.name for v in main.model.free_RVs}))
    left = sum(v for n, v in curve.items() if "_bend" not in n)
    assert left == pytest.approx(sum(expected.values()), rel=1e-10)


def test_departures_from_a_line_shrink_with_their_one_spread():
    # The prior of a departure given the spread is N(0, 2 spread^2), its cell types correlated by a half.
    density = density_of("abundance_spline", "HR+ only beside both")
    specified = Specification("abundance_spline", "HR+ only beside both")
    values = specified.random_values(7)
    small = values | {"presence_bend_sd": xr.DataArray(1e-3)}
    for name in ("presence_bend", "presence_bend_mean"):
        small[name] = values[name] * 1e-3 / float(values["presence_bend_sd"])
    one, other = density(values), density(small)
    n = {name: values[name].size for name in ("presence_bend", "presence_bend_mean")}
    factor = np.log(float(values["presence_bend_sd"]) / 1e-3)
    for name, size in n.items():
        assert other[name] - one[name] == pytest.approx(size * factor, rel=1e-9)


def test_the_bends_are_standardised_and_straight_beyond_the_outer_knots():
    data = named("covariates")
    basis, h = bends(data), data.tumours["her2_sd"].to_numpy(float)
    columns = np.column_stack([np.ones_like(h), h, basis.at(h)])
    gram = columns.T @ columns / len(h)
    np.testing.assert_allclose(gram[2:, 2:], np.eye(2), atol=1e-9)
    np.testing.assert_allclose(gram[:2, 2:], 0.0, atol=1e-9)
    for ends in (basis.knots[0] - np.array([0.5, 1.0, 1.5]), basis.knots[-1] + np.array([0.5, 1.0, 1.5])):
        np.testing.assert_allclose(np.diff(basis.at(ends), n=2, axis=0), 0.0, atol=1e-9)


@pytest.mark.parametrize(
    ("global_scale", "slab_variance"), [(0.05, 1e12), (1e-9, 0.25), (1e6, 0.81), (0.3, 0.5)]
)
def test_the_shrinkage_of_the_horseshoe_is_that_of_its_paper(global_scale, slab_variance):
    # Piironen & Vehtari 2017, eq. 2.4 and 2.8: a coefficient known to within s = sigma / sqrt(n) keeps 1 - kappa of its
    # distance from the mean. Without a slab kappa = 1 / (1 + n sigma^-2 tau^2 lambda^2); with one the local scale is
    # regularised. Read off the curvature of the graph's own prior density.
    kind, s = "one cohort, HR+ only", 0.15
    specified, density = Specification("abundance_horseshoe", kind), density_of("abundance_horseshoe", kind)
    values = specified.random_values(8) | {
        "presence_slope_global_scale": xr.DataArray(global_scale),
        "presence_slope_slab_variance": xr.DataArray(slab_variance),
    }
    mean = float(values["presence_slope_mean"])
    local = values["presence_slope_local_scale"]
    wide = (global_scale * local.to_numpy()) ** 2
    spread = np.sqrt(wide / (1.0 + wide / slab_variance))
    np.testing.assert_allclose(
        horseshoe_sd(global_scale, local.to_numpy(), slab_variance), spread, rtol=1e-12
    )
    at_mean = xr.full_like(local, mean)
    here = density(values | {"presence_slope": at_mean})["presence_slope"]
    kappa = {}
    for cell, own in zip(local["presence_cell_type"].to_numpy(), spread, strict=True):
        moved = at_mean + own * (at_mean["presence_cell_type"] == cell)
        curvature = -2.0 * (density(values | {"presence_slope": moved})["presence_slope"] - here) / own**2
        kappa[cell] = curvature / (curvature + s**-2)
    plain = 1.0 / (1.0 + s**-2 * wide)
    found = np.array([kappa[c] for c in local["presence_cell_type"].to_numpy()])
    np.testing.assert_allclose(found, 1.0 / (1.0 + s**-2 * spread**2), rtol=1e-6)
    if slab_variance == 1e12:
        np.testing.assert_allclose(found, plain, rtol=1e-6)
    if global_scale == 1e-9:  # all at the mean
        np.testing.assert_allclose(found, 1.0, atol=1e-9)
    if global_scale == 1e6:  # each on its own, Normal(mean, slab): that of the unpooled model's SD of 0.9
        np.testing.assert_allclose(found, 1.0 / (1.0 + s**-2 * 0.81), rtol=1e-6)


def test_a_factor_without_loadings_is_the_main_model():
    kind = "covariates"
    specified = Specification("abundance_factor", kind)
    values = specified.random_values(10)
    values["amount_loading"] = xr.zeros_like(values["amount_loading"])
    factor, main = density_of("abundance_factor", kind)(values), density_of("abundance", kind)
    expected = main(shared(values, {v.name for v in main.model.free_RVs}))
    own = {"amount_loading_sd", "amount_loading", "factor"}
    assert sum(v for n, v in factor.items() if n not in own) == pytest.approx(
        sum(expected.values()), rel=1e-10
    )


def test_the_log_likelihood_of_a_tumour_is_marginal_over_its_factor():
    # One draw; every tumour's integral by scipy's adaptive quadrature, and without loadings the main model's.
    for kind in ("covariates", "HR+ only beside both"):
        specified, data = Specification("abundance_factor", kind), named(kind)
        values = specified.random_values(11)
        values["amount_loading"] = 1.5 * values["amount_loading"]
        draws = xr.Dataset({n: v.expand_dims(chain=[0], draw=[0]) for n, v in values.items()})
        found = load_model("abundance_factor").log_likelihood(draws, data).isel(chain=0, draw=0)
        flat = values | {"factor": xr.zeros_like(values["factor"])}
        presence, amount = by_tumour(specified, flat)
        loading = values["amount_loading"]
        for i, tumour in enumerate(data.tumours.index):
            y, eta, phi = (a[i] for a in amount)
            here = ~np.isnan(y)
            y, eta, phi = y[here], eta[here], phi[here]
            own = loading.sel(amount_cell_type=np.array(specified.amount_cells)[here]).to_numpy()

            def log_joint(f: float, y=y, eta=eta, phi=phi, own=own) -> float:
                mean = np.exp(eta + own * f)
                return float(stats.gamma.logpdf(y, phi, scale=mean / phi).sum() + stats.norm.logpdf(f))

            top = optimize.minimize_scalar(lambda f: -log_joint(f), bounds=(-30, 30), method="bounded")
            area, _ = integrate.quad(
                lambda f, top=top: np.exp(log_joint(f) + top.fun),
                top.x - 12,
                top.x + 12,
                points=[top.x],
                limit=200,
            )
            expected = presence[i] + np.log(area) - top.fun
            assert float(found.sel(tumour=tumour)) == pytest.approx(expected, abs=1e-5)
        none = draws.assign(amount_loading=0.0 * draws["amount_loading"])
        main = abundance.log_likelihood(
            none.drop_vars(["factor", "amount_loading", "amount_loading_sd"]), data
        )
        found = load_model("abundance_factor").log_likelihood(none, data)
        np.testing.assert_allclose(found, main.transpose(*found.dims), rtol=1e-10, atol=1e-9)


def by_tumour(specified: Specification, values: Values) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Log likelihood of each tumour's presences; and amounts (NaN where not counted), predictors and shapes."""
    data, eta = specified.data, specified.eta(values, "amount")
    cells = [str(c) for c in eta["amount_cell_type"].to_numpy()]
    specified.amount_cells = cells
    y = data.abundance[cells].to_numpy(float)
    parts = data.parts.pivot(index="stratum", columns="cell_type", values="amount_modelled")
    counted = parts.loc[data.tumours["hr"], cells].to_numpy(bool) & (y > 0)
    shape = values["log_shape"]
    if specified.several:
        where = xr.DataArray(data.tumours["cohort"].astype(str).to_numpy(), dims="tumour")
        shape = values["log_shape_by_cohort"].sel(cohort=where)
    phi = np.broadcast_to(
        np.exp(shape.sel(amount_cell_type=cells).transpose(..., "amount_cell_type")), y.shape
    )
    at = specified.eta(values, "presence")
    names = [str(c) for c in at["presence_cell_type"].to_numpy()]
    parts = data.parts.pivot(index="stratum", columns="cell_type", values="presence_modelled")
    here = parts.loc[data.tumours["hr"], names].to_numpy(bool)
    density = stats.bernoulli.logpmf((data.abundance[names].to_numpy() > 0).astype(int), expit(at.to_numpy()))
    return np.where(here, density, 0.0).sum(axis=1), (np.where(counted, y, np.nan), eta.to_numpy(), phi)


def test_every_cell_type_of_the_signature_has_one_lineage():
    listed = [cell for cells in LINEAGES.values() for cell in cells]
    assert sorted(listed) == sorted(LM22_CELL_TYPES)
    assert set(REASONS) == set(LINEAGES)
    names, member = membership(["Neutrophils", "T cells CD8", "Eosinophils"])
    assert names == ("T cells", "Granulocytes")
    np.testing.assert_array_equal(member, [[0, 1, 0], [1, 0, 1]])


def test_cell_types_of_another_signature_have_no_lineage_and_are_refused():
    data = structured_set("covariates")
    module = load_model("abundance_lineage")
    with pytest.raises(DataError, match="no lineage is known for Zeta cells, Alpha cells"):
        module.build(data, module.priors_for(data))


def test_a_measure_with_few_values_has_no_curve():
    data = named("covariates")
    two = data.tumours.assign(her2_sd=np.where(data.tumours["her2_sd"] > 0, 1.0, -1.0))
    with pytest.raises(DataError, match="2 distinct values of HER2 give 2 knots"):
        bends(replace(data, tumours=two))


def test_a_structure_says_beforehand_that_it_cannot_have_the_data(structured):
    """So that `compare` leaves it out, or refuses it by name, before anything is fitted."""
    data = structured("one cohort")
    assert "no lineage is known for " in abundance_lineage.unsuited(data)
    assert "Zeta cells" in abundance_lineage.unsuited(data)
    with pytest.raises(DataError, match="abundance_lineage: no lineage is known for"):
        fit_model("abundance_lineage", data)
    assert abundance_spline.unsuited(data) == ""
    half = np.arange(len(data.tumours)) % 2
    flat = replace(data, tumours=data.tumours.assign(her2_sd=half - half.mean()))
    assert abundance_spline.unsuited(flat).startswith("2 distinct values of HER2 give ")
