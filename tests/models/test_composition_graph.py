"""The graph of the composition model: priors of contrasts, scipy's density, and what must not matter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pymc as pm
import pytensor
import pytest
import xarray as xr
from bayes_her2.models import abundance, composition
from labelled_density import PLAIN, SummedDensity
from labelled_values import at
from scipy import stats
from scipy.special import expit

from bayes_her2.bayesian.composition import Contrasts, composition_design
from bayes_her2.bayesian.coordinates import Coordinates
from bayes_her2.bayesian.design import structure

ONE_STRATUM = {"one cohort, HR+ only"}
SEVERAL = {"three cohorts", "covariates", "HR+ only beside both", "HR- as reference", "centres"}
HR_BY_COHORT = {"three cohorts", "covariates"}


def coefficients(model: pm.Model, seed: int) -> dict[str, xr.DataArray]:
    """A value for every label of every parameter, the same whatever the order of labels; amounts sum to 0."""
    values = {}
    names = [v.name for v in model.free_RVs if "_contrasts" not in v.name]
    names += [v.name for v in model.deterministics]
    for name in sorted(names):
        rng = np.random.default_rng([seed, *name.encode()])
        dims = model.named_vars_to_dims.get(name, ())
        labels = {d: sorted(model.coords[d]) for d in dims}
        drawn = rng.normal(0.0, 0.5, size=[len(v) for v in labels.values()])
        if name.endswith("_sd"):
            drawn = 0.2 + np.abs(drawn)
        array = xr.DataArray(drawn, dims=list(dims), coords=labels)
        if name.startswith("amount") and "amount_cell_type" in dims:
            array = array - array.mean("amount_cell_type")
        values[name] = array
    return values


def as_contrasts(model: pm.Model, terms, values) -> dict[str, xr.DataArray]:
    """The same with the coefficients of the amounts in the graph's own contrasts."""
    found = dict(values)
    cells = list(model.coords["amount_cell_type"])
    for variable in model.free_RVs:
        name = variable.name
        if "_contrasts" not in name:
            continue
        coefficient = values[name.replace("_contrasts", "")]
        dims = model.named_vars_to_dims[name]
        others = [d for d in dims if d != "amount_contrast"]
        array = coefficient.sel({"amount_cell_type": cells} | {d: list(model.coords[d]) for d in others})
        array = array.transpose(*others, "amount_cell_type").to_numpy()
        if name.startswith("amount_covariate"):
            rows = zip(model.coords["covariate"], array, strict=True)
            contrasts = np.stack([row @ terms[covariate].basis for covariate, row in rows])
        else:
            term = "intercept" if "centre" in name else name.removeprefix("amount_").split("_contrasts")[0]
            contrasts = array @ terms[term].basis
        found[name] = xr.DataArray(contrasts, dims=dims, coords={d: list(model.coords[d]) for d in dims})
    return found


def likelihood_and_gradient(model: pm.Model) -> list[np.ndarray]:
    """Log density of the shares at the initial point, and its gradient."""
    total = model.logp(vars=model["amount"])
    own = [v for v in model.value_vars if "amount" in v.name or "log_shape" in v.name]
    function = model.compile_fn(
        [total, *pytensor.grad(total, own)], inputs=model.value_vars, mode=PLAIN, on_unused_input="ignore"
    )
    return [np.asarray(part) for part in function(model.initial_point())]


class Density:
    """Log density of the composition model at labelled coefficients."""

    def __init__(self, data) -> None:
        self.model = composition.build(data, composition.priors_for(data))
        self.terms = composition_design(data, structure(data)).terms
        self._of = SummedDensity(self.model)

    def __call__(self, values) -> dict[str, float]:
        return self._of(as_contrasts(self.model, self.terms, values))


@pytest.fixture(scope="module")
def density_of(structured):
    made: dict[str, Density] = {}

    def get(kind: str) -> Density:
        if kind not in made:
            made[kind] = Density(structured(kind))
        return made[kind]

    return get


def predictor(kind: str, data, values, part: str, tumour: str, cell_type: str) -> float:
    """Linear predictor of a tumour, written out from the specification."""
    row = data.tumours.loc[tumour]
    own = {f"{part}_cell_type": cell_type, "cohort": row["cohort"]}

    def beta(term: str) -> float:
        varies = kind in (HR_BY_COHORT if term in ("hr", "interaction") else SEVERAL)
        return at(values[f"{part}_{term}" + ("_by_cohort" if varies else "")], **own)

    eta = beta("intercept")
    if kind == "centres" and row["cohort"] == "B":
        eta = at(values[f"{part}_centre_intercept"], centre=f"B/{row['centre']}", **own)
    eta += beta("slope") * row["her2_sd"]
    if kind not in ONE_STRATUM and row["hr"] != data.reference:
        eta += beta("hr") + beta("interaction") * row["her2_sd"]
    for covariate in data.covariates.columns:
        eta += (
            at(values[f"{part}_covariate"], covariate=covariate, **own)
            * data.covariates.loc[tumour, covariate]
        )
    return eta


def log_likelihood(kind: str, data, values) -> dict[str, float]:
    totals = {"present": 0.0, "amount": 0.0}
    shapes = values["log_shape_by_cohort" if kind in SEVERAL else "log_shape"]
    for tumour, row in data.tumours.iterrows():
        own = []
        for cell_type in data.abundance.columns:
            y, part = float(data.abundance.loc[tumour, cell_type]), data.part(cell_type, row["hr"])
            if part.presence_modelled:
                eta = predictor(kind, data, values, "presence", tumour, cell_type)
                totals["present"] += stats.bernoulli.logpmf(int(y > 0), expit(eta))
            if part.amount_modelled and y > 0:
                log_mean = predictor(kind, data, values, "amount", tumour, cell_type)
                shape = np.exp(at(shapes, cohort=row["cohort"], amount_cell_type=cell_type))
                own.append((y, np.exp(log_mean), shape))
        y, mean, shape = np.array(own).T
        if len(y) > 1:
            # Shares, each times its rate and closed again, are Dirichlet; the rest is the Jacobian of that map.
            rated = shape / mean * y / y.sum()
            totals["amount"] += stats.dirichlet.logpdf(rated / rated.sum(), shape)
            totals["amount"] += np.log(shape / mean).sum() - len(y) * np.log(rated.sum())
    return totals


def test_the_density_is_the_one_written_out(structured, structure_kind, density_of):
    data = structured(structure_kind)
    assert (data.abundance == 0).any(axis=None)
    values = coefficients(density_of(structure_kind).model, 1)
    found, expected = density_of(structure_kind)(values), log_likelihood(structure_kind, data, values)
    assert found["present"] == pytest.approx(expected["present"], rel=1e-9)
    assert found["amount"] == pytest.approx(expected["amount"], rel=1e-9)
    model = density_of(structure_kind).model
    assert {v.name for v in model.observed_RVs} == {"present", "amount"}
    assert not model.potentials


@pytest.mark.parametrize("kind", ["three cohorts", "one cohort", "centres", "covariates"])
def test_priors_of_contrasts_are_normal_given_that_they_sum_to_0(density_of, kind):
    values = coefficients(density_of(kind).model, 2)
    found = density_of(kind)(values)
    n = values["amount_intercept"].sizes["amount_cell_type"]

    def expected(deviation: xr.DataArray, sd: xr.DataArray) -> float:
        """Normal density in the n - 1 dimensions in which values that sum to 0 can move."""
        rows = deviation.size // n
        squares = float(((deviation / sd) ** 2).sum())
        logs = float((np.log(sd) + xr.zeros_like(deviation)).sum()) * (n - 1) / n
        return -0.5 * squares - logs - 0.5 * rows * (n - 1) * np.log(2 * np.pi)

    for term in ("intercept", "slope", "hr", "interaction"):
        name = f"amount_{term}"
        own = values[name]
        assert float(abs(own.sum("amount_cell_type")).max()) < 1e-12
        assert found[f"{name}_contrasts"] == pytest.approx(
            expected(own, values[f"{name}_between_cells_sd"]), rel=1e-9
        )
        if f"{name}_by_cohort" in values:
            deviation = values[f"{name}_by_cohort"] - own
            assert found[f"{name}_contrasts_by_cohort"] == pytest.approx(
                expected(deviation, values[f"{name}_between_cohorts_sd"]), rel=1e-9
            )
    if kind == "covariates":
        own = values["amount_covariate"]
        assert found["amount_covariate_contrasts"] == pytest.approx(
            expected(own, values["amount_covariate_between_cells_sd"]), rel=1e-9
        )
    if kind == "centres":
        deviation = values["amount_centre_intercept"] - values["amount_intercept_by_cohort"].sel(cohort="B")
        assert found["amount_centre_intercept_contrasts"] == pytest.approx(
            expected(deviation, values["amount_centre_sd"]), rel=1e-9
        )


def test_presence_is_the_main_models(structured, density_of):
    kind = "three cohorts"
    data = structured(kind)
    values = coefficients(density_of(kind).model, 3)
    main = abundance.build(data, abundance.priors_for(data))
    rest = coefficients(main, 4) | {n: v for n, v in values.items() if n.startswith("presence")}
    own, other = density_of(kind)(values), SummedDensity(main)(rest)
    names = [n for n in own if n.startswith("presence") or n == "present"]
    assert len(names) > 15
    for name in names:
        assert own[name] == pytest.approx(other[name], rel=1e-12)


@pytest.mark.parametrize("kind", ["three cohorts", "centres"])
def test_basis_and_cheap_estimates_are_coordinates_and_nothing_else(
    structured, density_of, kind, monkeypatch
):
    data = structured(kind)
    rng = np.random.default_rng(5)
    honest = composition_design(data, structure(data))
    rotations: dict[int, np.ndarray] = {}

    def careless(one: Contrasts) -> Contrasts:
        size = one.basis.shape[1]
        # centres and their cohort share one basis
        turn = rotations.setdefault(id(one.basis), np.linalg.qr(rng.normal(size=(size, size)))[0])
        shape = one.at.estimate.shape
        return Contrasts(
            one.basis @ turn, Coordinates(rng.normal(size=shape), rng.gamma(1.0, 1.0, size=shape))
        )

    wrong = replace(honest, terms={name: careless(own) for name, own in honest.terms.items()})
    values = coefficients(density_of(kind).model, 6)
    expected = density_of(kind)(values)
    monkeypatch.setattr(composition, "composition_design", lambda *_: wrong)
    model = composition.build(data, composition.priors_for(data))
    found = SummedDensity(model)(as_contrasts(model, wrong.terms, values))
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name


def test_the_order_of_rows_cell_types_and_cohorts_does_not_matter(structured, density_of):
    kind = "three cohorts"
    data = structured(kind)
    values = coefficients(density_of(kind).model, 7)
    expected = density_of(kind)(values)
    rows = np.random.default_rng(1).permutation(len(data.tumours))
    shuffled = replace(
        data,
        tumours=data.tumours.iloc[rows],
        abundance=data.abundance.iloc[rows][list(data.abundance.columns[::-1])],
        covariates=data.covariates.iloc[rows],
    )
    names = {"A": "Z", "B": "B", "C": "C"}
    renamed = replace(data, tumours=data.tumours.assign(cohort=data.tumours["cohort"].map(names)))
    moved = {
        name: v.assign_coords(cohort=[names[c] for c in v["cohort"].to_numpy()]) if "cohort" in v.dims else v
        for name, v in values.items()
    }
    for other, own in ((shuffled, values), (renamed, moved)):
        found = Density(other)(own)
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-9), name


def test_the_gradient_is_finite_with_zeros_and_with_a_tumour_of_one_cell_type(structured):
    data = structured("three cohorts")
    alone = data.abundance.copy()
    alone.iloc[0] = [1.0 if c == "Never zero" else 0.0 for c in alone.columns]  # any tumour
    model = composition.build(replace(data, abundance=alone), composition.PRIORS)
    assert all(np.isfinite(part).all() for part in likelihood_and_gradient(model))


def test_draws_of_the_graph_are_shares_of_the_cell_types_that_are_present(structured):
    data = structured("one cohort")
    model = composition.build(data, composition.PRIORS)
    with model:
        drawn = pm.sample_prior_predictive(
            20, var_names=["amount"], random_seed=1, compile_kwargs={"mode": "FAST_COMPILE"}
        )["prior_predictive"]["amount"]
    own = composition_design(data, structure(data)).composition
    np.testing.assert_array_equal(drawn > 0, np.broadcast_to(own.counted > 0, drawn.shape))
    np.testing.assert_allclose(drawn.sum("amount_cell_type"), 1.0, rtol=1e-10)
    assert float(drawn.std(("chain", "draw")).max()) > 0.05


def test_the_priors_pass_their_gates_and_one_that_is_too_narrow_does_not(structured):
    data = structured("three cohorts")
    shares = replace(data, abundance=data.abundance.div(data.abundance.sum(axis=1), axis=0))
    gates = composition.prior_checks(composition.build(shares, composition.PRIORS), shares, 1)
    assert gates["passed"].all(), gates
    name = "amount_slope_between_cells_sd"
    narrow = composition.PRIORS | {name: replace(composition.PRIORS[name], params={"sigma": 0.05})}
    gates = composition.prior_checks(composition.build(shares, narrow), shares, 1)
    assert not gates.loc[gates["check"].str.contains("ratio of means"), "passed"].any()


def test_no_prior_is_about_a_level_that_shares_do_not_know(structured, density_of):
    names = {n for n in composition.PRIORS if n.startswith("amount")}
    assert not any(n.endswith("_mean") for n in names)
    model = density_of("centres").model
    used = {v.name for v in model.free_RVs} | {v.name for v in density_of("covariates").model.free_RVs}
    used |= {v.name for v in density_of("three cohorts").model.free_RVs} | {"log_shape_mean"}
    assert set(composition.PRIORS) <= used
