"""The graph of the main model is the model of its docstring: log density against scipy, by label.

The other side is written out tumour by tumour, from the specification: which terms there are in which
structure, which of them vary between cohorts, the default priors, and the two parts of the likelihood.
Nothing of the package is used for it but the analysis set and the models' coordinates (for the Jacobian).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytest
import xarray as xr
from bayes_her2.models import abundance as main_model
from labelled_values import at
from pytensor.compile.mode import get_mode
from scipy import stats
from scipy.special import expit

from bayes_her2.bayesian.coordinates import SMALLEST_SPREAD, Coordinates
from bayes_her2.bayesian.priors import Prior

PLAIN = get_mode("FAST_COMPILE").excluding("fusion")

# --- the specification ---------------------------------------------------------------------------

# (mean of means, its SD), SD between cell types, SD between cohorts.
PRIORS = {
    "presence_intercept": ((1.0, 1.5), 1.5, 1.5),
    "presence_slope": ((0.0, 0.5), 0.5, 0.25),
    "presence_hr": ((0.0, 0.5), 0.5, 0.25),
    "presence_interaction": ((0.0, 0.5), 0.5, 0.25),
    "amount_intercept": ((-3.0, 1.5), 1.0, 0.5),
    "amount_slope": ((0.0, 0.5), 0.5, 0.25),
    "amount_hr": ((0.0, 0.5), 0.5, 0.25),
    "amount_interaction": ((0.0, 0.5), 0.5, 0.25),
}
LOG_SHAPE = ((0.5, 1.0), 0.5)
COVARIATE = (0.5, 0.5)  # SD of its mean over cell types, SD between cell types
CENTRE_SD = 0.5

# What may vary between cohorts: intercept, slope and shape with two cohorts or more; HR shift and interaction
# where two cohorts have both strata.
SEVERAL = {"three cohorts", "covariates", "HR+ only beside both", "HR- as reference", "centres"}
HR_BY_COHORT = {"three cohorts", "covariates"}
ONE_STRATUM = {"one cohort, HR+ only"}
MASKED = {
    # cell type, stratum -> modelled parts; everything else has both.
    ("Masked in HR-", "HR-"): ("amount",),
    ("Never zero", "HR+"): ("amount",),
    ("Never zero", "HR-"): ("amount",),
    ("Rare in HR-", "HR-"): (),
}


def parts_of(cell_type: str, stratum: str) -> tuple[str, ...]:
    return MASKED.get((cell_type, stratum), ("presence", "amount"))


def cells_of(data, part: str) -> list[str]:
    return [c for c in data.abundance.columns if any(part in parts_of(c, s) for s in data.strata)]


def terms_of(kind: str) -> list[str]:
    return ["intercept", "slope"] + ([] if kind in ONE_STRATUM else ["hr", "interaction"])


def varies(kind: str, term: str) -> bool:
    return kind in (HR_BY_COHORT if term in ("hr", "interaction") else SEVERAL)


def variables(kind: str, data) -> dict[str, dict[str, list[str]]]:
    """Every parameter of the model with its labels, by name; SDs end in _sd."""
    cohorts, result = list(data.cohorts), {}
    for part in ("presence", "amount"):
        cells = {f"{part}_cell_type": cells_of(data, part)}
        for term in terms_of(kind):
            name = f"{part}_{term}"
            result |= {f"{name}_mean": {}, f"{name}_between_cells_sd": {}, name: cells}
            if varies(kind, term):
                result[f"{name}_between_cohorts_sd"] = cells if term == "intercept" else {}
                result[f"{name}_by_cohort"] = {"cohort": cohorts} | cells
        if len(data.covariates.columns):
            columns = {"covariate": list(data.covariates.columns)}
            result |= {f"{part}_covariate_mean": columns, f"{part}_covariate_between_cells_sd": columns}
            result[f"{part}_covariate"] = columns | cells
        if kind == "centres":
            result[f"{part}_centre_sd"] = {}
            result[f"{part}_centre_intercept"] = {"centre": ["B/1", "B/10", "B/2"]} | cells
    shapes = {"amount_cell_type": cells_of(data, "amount")}
    result["log_shape"] = shapes
    if kind in SEVERAL:
        result |= {"log_shape_between_cohorts_sd": {}, "log_shape_by_cohort": {"cohort": cohorts} | shapes}
    return result


def random_values(kind: str, data, seed: int) -> dict[str, xr.DataArray]:
    """A different value for every label of every parameter."""
    rng = np.random.default_rng(seed)
    values = {}
    for name, dims in variables(kind, data).items():
        shape = [len(labels) for labels in dims.values()]
        draws = rng.normal(0.0, 0.6, size=shape)
        if name.endswith("_sd"):
            draws = 0.1 + np.abs(draws)
        elif name.startswith("amount_intercept"):
            draws = draws - 3.0
        values[name] = xr.DataArray(draws, dims=list(dims), coords=dims)
    return values


def log_prior(kind: str, data, values) -> float:
    total = 0.0

    def normal(name: str, mean, sd) -> None:
        nonlocal total
        total += float(np.sum(stats.norm.logpdf(*np.broadcast_arrays(*xr.broadcast(values[name], mean, sd)))))

    def half_normal(name: str, scale: float) -> None:
        nonlocal total
        total += float(np.sum(stats.halfnorm.logpdf(values[name].to_numpy(), scale=scale)))

    def number(value: float) -> xr.DataArray:
        return xr.DataArray(value)

    for part in ("presence", "amount"):
        for term in terms_of(kind):
            name = f"{part}_{term}"
            (mu, sigma), between_cells, between_cohorts = PRIORS[name]
            normal(f"{name}_mean", number(mu), number(sigma))
            half_normal(f"{name}_between_cells_sd", between_cells)
            normal(name, values[f"{name}_mean"], values[f"{name}_between_cells_sd"])
            if varies(kind, term):
                half_normal(f"{name}_between_cohorts_sd", between_cohorts)
                normal(f"{name}_by_cohort", values[name], values[f"{name}_between_cohorts_sd"])
        if len(data.covariates.columns):
            name = f"{part}_covariate"
            normal(f"{name}_mean", number(0.0), number(COVARIATE[0]))
            half_normal(f"{name}_between_cells_sd", COVARIATE[1])
            normal(name, values[f"{name}_mean"], values[f"{name}_between_cells_sd"])
        if kind == "centres":
            half_normal(f"{part}_centre_sd", CENTRE_SD)
            home = values[f"{part}_intercept_by_cohort"].sel(cohort="B", drop=True)
            normal(f"{part}_centre_intercept", home, values[f"{part}_centre_sd"])
    (mu, sigma), between_cohorts = LOG_SHAPE
    normal("log_shape", number(mu), number(sigma))
    if kind in SEVERAL:
        half_normal("log_shape_between_cohorts_sd", between_cohorts)
        normal("log_shape_by_cohort", values["log_shape"], values["log_shape_between_cohorts_sd"])
    return total


def coefficient(kind: str, values, part: str, term: str, cohort: str, cell_type: str) -> float:
    suffix = "_by_cohort" if varies(kind, term) else ""
    return at(values[f"{part}_{term}{suffix}"], cohort=cohort, **{f"{part}_cell_type": cell_type})


def linear_predictor(kind: str, data, values, part: str, tumour: str, cell_type: str) -> float:
    row = data.tumours.loc[tumour]
    cohort, h = row["cohort"], row["her2_sd"]

    def beta(term: str) -> float:
        return coefficient(kind, values, part, term, cohort, cell_type)

    eta = beta("intercept") + beta("slope") * h
    if kind == "centres" and cohort == "B":
        centre = at(
            values[f"{part}_centre_intercept"],
            centre=f"B/{row['centre']}",
            **{f"{part}_cell_type": cell_type},
        )
        eta = centre + beta("slope") * h
    if kind not in ONE_STRATUM and row["hr"] != data.reference:
        eta += beta("hr") + beta("interaction") * h
    for covariate in data.covariates.columns:
        omega = at(values[f"{part}_covariate"], covariate=covariate, **{f"{part}_cell_type": cell_type})
        eta += omega * data.covariates.loc[tumour, covariate]
    return eta


def log_likelihood(kind: str, data, values) -> dict[str, float]:
    totals = {"present": 0.0, "amount": 0.0}
    for tumour, row in data.tumours.iterrows():
        for cell_type in data.abundance.columns:
            y = float(data.abundance.loc[tumour, cell_type])
            parts = parts_of(cell_type, row["hr"])
            if "presence" in parts:
                eta = linear_predictor(kind, data, values, "presence", tumour, cell_type)
                totals["present"] += stats.bernoulli.logpmf(int(y > 0), expit(eta))
            if "amount" in parts and y > 0:
                mean = np.exp(linear_predictor(kind, data, values, "amount", tumour, cell_type))
                name = "log_shape_by_cohort" if kind in SEVERAL else "log_shape"
                phi = np.exp(at(values[name], cohort=row["cohort"], amount_cell_type=cell_type))
                totals["amount"] += stats.gamma.logpdf(y, phi, scale=mean / phi)
    return totals


# --- the graph -----------------------------------------------------------------------------------


def in_order(model: pm.Model, name: str, values) -> np.ndarray:
    dims = model.named_vars_to_dims.get(name, ())
    array = values[name]
    return array.sel({d: list(model.coords[d]) for d in dims}).transpose(*dims).to_numpy()


class Density:
    """Log density of a graph at labelled coefficients, part by part."""

    def __init__(self, model: pm.Model, *, jacobian: bool = False) -> None:
        self.model = model
        # Two graphs would do; one function for all coordinates is quicker.
        free = model.free_RVs
        z = [
            transform.forward(v, *v.owner.inputs) if (transform := model.rvs_to_transforms[v]) else v
            for v in free
        ]
        self._to_z = pytensor.function(free, z, mode=PLAIN, on_unused_input="ignore")
        self._logp = model.compile_logp(jacobian=jacobian, sum=False, mode=PLAIN)

    def __call__(self, values) -> dict[str, float]:
        z = self._to_z(*[in_order(self.model, v.name, values) for v in self.model.free_RVs])
        names = [self.model.rvs_to_values[v].name for v in self.model.free_RVs]
        terms = self._logp(dict(zip(names, z, strict=True)))
        return {v.name: float(np.sum(t)) for v, t in zip(self.model.basic_RVs, terms, strict=True)}


@pytest.fixture(scope="module")
def density_of(structured):
    made: dict[str, Density] = {}

    def get(kind: str) -> Density:
        if kind not in made:
            data = structured(kind)
            made[kind] = Density(main_model.build(data, main_model.priors_for(data)))
        return made[kind]

    return get


def test_the_parts_modelled_are_those_of_the_design(structured, structure_kind):
    data = structured(structure_kind)
    for _, row in data.parts.iterrows():
        parts = parts_of(row["cell_type"], row["stratum"])
        assert row["presence_modelled"] == ("presence" in parts)
        assert row["amount_modelled"] == ("amount" in parts)


def test_the_graph_has_the_parameters_of_the_specification_and_no_other(
    structured, structure_kind, density_of
):
    data, model = structured(structure_kind), density_of(structure_kind).model
    expected = variables(structure_kind, data)
    assert {v.name for v in model.free_RVs} == set(expected)
    for name, dims in expected.items():
        assert tuple(model.named_vars_to_dims.get(name, ())) == tuple(dims)
        for dim, labels in dims.items():
            assert sorted(model.coords[dim]) == sorted(labels)
    assert {v.name for v in model.observed_RVs} == {"present", "amount"}
    assert not model.potentials


@pytest.mark.parametrize("seed", [1, 2])
def test_the_log_density_is_the_one_written_out(structured, structure_kind, density_of, seed):
    data = structured(structure_kind)
    assert (data.abundance == 0).any(axis=None)
    values = random_values(structure_kind, data, seed)
    found = density_of(structure_kind)(values)
    likelihood = log_likelihood(structure_kind, data, values)
    assert found["present"] == pytest.approx(likelihood["present"], rel=1e-9)
    assert found["amount"] == pytest.approx(likelihood["amount"], rel=1e-9)
    prior = sum(value for name, value in found.items() if name not in likelihood)
    assert prior == pytest.approx(log_prior(structure_kind, data, values), rel=1e-7)


def test_swapping_two_coefficients_would_be_noticed(structured, density_of):
    # The check above has power: values of two cohorts exchanged give another density.
    data = structured("three cohorts")
    values = random_values("three cohorts", data, 1)
    name = "amount_slope_by_cohort"
    swapped = values | {name: values[name].assign_coords(cohort=["B", "A", "C"])}
    one, other = (density_of("three cohorts")(v)["amount"] for v in (values, swapped))
    assert abs(one - other) > 1e-3
    assert other == pytest.approx(log_likelihood("three cohorts", data, swapped)["amount"], rel=1e-9)


@pytest.mark.parametrize("kind", ["HR+ only beside both", "centres"])
def test_the_posterior_does_not_depend_on_the_cheap_estimates(structured, density_of, kind, monkeypatch):
    data = structured(kind)
    rng = np.random.default_rng(5)
    honest = main_model.part_design

    def careless(*args):
        design = honest(*args)
        wrong = {
            name: Coordinates(rng.normal(size=c.estimate.shape), rng.gamma(1.0, 1.0, size=c.variance.shape))
            for name, c in design.coordinates.items()
        }
        return replace(design, coordinates=wrong)

    monkeypatch.setattr(main_model, "part_design", careless)
    other = Density(main_model.build(data, main_model.priors_for(data)))
    for seed in (1, 2):
        values = random_values(kind, data, seed)
        one, two = density_of(kind)(values), other(values)
        assert one.keys() == two.keys()
        for name in one:
            assert two[name] == pytest.approx(one[name], rel=1e-9, abs=1e-9), name


@pytest.mark.parametrize("kind", ["three cohorts", "HR+ only beside both", "one cohort, HR+ only"])
def test_the_sampler_sees_the_density_times_the_jacobian_of_the_coordinates(structured, density_of, kind):
    data = structured(kind)
    model = density_of(kind).model
    values = random_values(kind, data, 4)
    plain, sampled = density_of(kind)(values), Density(model, jacobian=True)(values)
    for variable in model.free_RVs:
        name = variable.name
        difference = sampled[name] - plain[name]
        transform = model.rvs_to_transforms[variable]
        if name.endswith("_between_cohorts_sd") and not name.startswith("log_shape"):
            # sampled as scale (log(1 + exp z) + smallest): d value / d z = scale (1 - exp(smallest - value / scale))
            scale = main_model.PRIORS[name].params["sigma"] / 2
            expected = float(np.log(scale * (1 - np.exp(SMALLEST_SPREAD - values[name] / scale))).sum())
        elif name.endswith("_sd"):
            assert transform.smallest <= 2 * SMALLEST_SPREAD
            expected = float(np.log(values[name] - transform.smallest).sum())  # sampled as exp z + smallest
        elif transform is None:
            expected = 0.0
        else:
            variance, sd = transform.variance, level_sd(values, name)
            if name.endswith("_mean"):  # the mean over cell types: pooled, given the spread between them
                below = values[f"{name.removesuffix('_mean')}_between_cells_sd"].to_numpy()
                variance = 1 / (1 / (variance + below**2)).sum()
            elif name.endswith("_by_cohort"):
                sd = sd if sd.ndim == 0 else sd[None, :]
            elif f"{name}_by_cohort" in values:  # the level above: pooled, given the spread between cohorts
                below = in_order(model, f"{name}_between_cohorts_sd", values)
                variance = 1 / (1 / (variance + below**2)).sum(axis=0)
            size = in_order(model, name, values)
            expected = float((-0.5 * np.log(1 / variance + 1 / sd**2) + np.zeros_like(size)).sum())
        assert difference == pytest.approx(expected, rel=1e-8, abs=1e-8), name


def level_sd(values, name: str) -> np.ndarray:
    """SD of the level above a coefficient."""
    if name == "log_shape":
        return np.asarray(1.0)
    if name.endswith("_mean"):
        return np.asarray(main_model.PRIORS[name].params["sigma"])
    if name.endswith("_by_cohort"):
        return values[f"{name.removesuffix('_by_cohort')}_between_cohorts_sd"].to_numpy()
    return values[f"{name}_between_cells_sd"].to_numpy()


def test_the_order_of_rows_and_cohorts_does_not_matter(tumours_of, data_of, density_of, structured):
    kind = "three cohorts"
    values = random_values(kind, structured(kind), 6)
    expected = density_of(kind)(values)
    tumours, abundance = structured(kind).tumours.drop(columns="her2_sd"), structured(kind).abundance
    rng = np.random.default_rng(1)
    rows = rng.permutation(len(tumours))
    backwards = data_of(tumours.iloc[rows], abundance.iloc[rng.permutation(len(tumours))]).for_model(
        "abundance"
    )
    # For the graph, rows and cell types may come in any order, whatever the analysis set does about it.
    shuffled = replace(
        structured(kind),
        tumours=structured(kind).tumours.iloc[rows],
        abundance=abundance.iloc[rows][list(abundance.columns[::-1])],
        covariates=structured(kind).covariates.iloc[rows],
    )
    for data in (backwards, shuffled):
        model = main_model.build(data, main_model.priors_for(data))
        found = Density(model)(values)
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-10), name


def test_cohort_names_are_labels_and_not_places(structured, density_of):
    # Renaming A to Z moves the cohort from first to last place; the density at the renamed values stays.
    kind = "three cohorts"
    data = structured(kind)
    values = random_values(kind, data, 7)
    tumours = data.tumours.assign(cohort=data.tumours["cohort"].replace("A", "Z"))
    renamed = replace(data, tumours=tumours)
    moved = {
        name: v.assign_coords(cohort=["Z" if c == "A" else c for c in v["cohort"].to_numpy()])
        if "cohort" in v.dims
        else v
        for name, v in values.items()
    }
    found = Density(main_model.build(renamed, main_model.priors_for(renamed)))(moved)
    for name, value in density_of(kind)(values).items():
        assert found[name] == pytest.approx(value, rel=1e-10), name


def test_the_reference_stratum_is_a_choice_of_names(structured, density_of):
    # The likelihood at re-expressed coefficients is the same with HR- as reference.
    kind = "three cohorts"
    data = structured(kind)
    values = random_values(kind, data, 8)
    swapped = dict(values)
    for part in ("presence", "amount"):
        for base, change in (("intercept", "hr"), ("slope", "interaction")):
            one, other = values[f"{part}_{base}_by_cohort"], values[f"{part}_{change}_by_cohort"]
            swapped[f"{part}_{base}_by_cohort"], swapped[f"{part}_{change}_by_cohort"] = one + other, -other
    turned = replace(data, reference="HR-")
    found = Density(main_model.build(turned, main_model.priors_for(turned)))(swapped)
    expected = density_of(kind)(values)
    assert found["present"] == pytest.approx(expected["present"], rel=1e-9)
    assert found["amount"] == pytest.approx(expected["amount"], rel=1e-9)


def test_the_default_priors_are_those_of_the_specification():
    found = {name: str(prior) for name, prior in main_model.PRIORS.items()}
    expected = {}
    for name, ((mu, sigma), between_cells, between_cohorts) in PRIORS.items():
        expected |= {
            f"{name}_mean": f"Normal({mu:g}, {sigma:g})",
            f"{name}_between_cells_sd": f"HalfNormal({between_cells:g})",
            f"{name}_between_cohorts_sd": f"HalfNormal({between_cohorts:g})",
        }
    for part in ("presence", "amount"):
        expected |= {
            f"{part}_covariate_mean": "Normal(0, 0.5)",
            f"{part}_covariate_between_cells_sd": "HalfNormal(0.5)",
            f"{part}_centre_sd": "HalfNormal(0.5)",
        }
    expected |= {"log_shape_mean": "Normal(0.5, 1)", "log_shape_between_cohorts_sd": "HalfNormal(0.5)"}
    assert found == expected


def test_on_the_absolute_scale_the_level_of_amounts_is_read_off_the_data(structured):
    data = structured("one cohort")
    scaled = replace(data, scale="absolute", abundance=data.abundance * 1000)
    level = main_model.priors_for(scaled)["amount_intercept_mean"]
    positive = scaled.abundance.to_numpy()[scaled.abundance.to_numpy() > 0]
    assert level.params["mu"] == pytest.approx(np.log(np.median(positive)), abs=0.05)
    assert level.params["sigma"] == 1.5
    assert main_model.priors_for(data) == main_model.PRIORS


def test_every_prior_is_used_and_an_override_reaches_the_graph(structured):
    data = structured("covariates")
    values = random_values("covariates", data, 9)

    def prior(priors) -> float:
        found = Density(main_model.build(data, priors))(values)
        return sum(v for name, v in found.items() if name not in ("present", "amount"))

    changed = dict(main_model.PRIORS)
    expected = 0.0
    for name, default in main_model.PRIORS.items():
        if "centre" in name:
            continue
        other = Prior(default.dist, {k: v + 0.3 for k, v in default.params.items()}, "shifted")
        changed[name] = other
        value = values["log_shape"] if name == "log_shape_mean" else values[name]
        expected += float((other.frozen().logpdf(value) - default.frozen().logpdf(value)).sum())
    assert prior(changed) - prior(main_model.PRIORS) == pytest.approx(expected, rel=1e-6)


def test_prior_draws_have_the_moments_of_the_priors(structured):
    data = structured("HR+ only beside both")
    model = main_model.build(data, main_model.PRIORS)
    n = 3000
    draws = pm.sample_prior_predictive(n, model=model, random_seed=2, compile_kwargs={"mode": PLAIN})
    prior = draws.prior.to_dataset().isel(chain=0)

    def moments(name: str, mean: float, variance: float, kurtosis_factor: float = 3.0) -> None:
        one = prior[name]
        if one.ndim > 1:  # any single label: others share its hyperparameters
            one = one.isel({d: 0 for d in one.dims if d != "draw"})
        x = one.to_numpy()
        assert x.mean() == pytest.approx(mean, abs=4.5 * np.sqrt(variance / n)), name
        assert x.var() == pytest.approx(variance, rel=4.5 * np.sqrt(kurtosis_factor * 3 / n)), name

    root = np.sqrt(2 / np.pi)
    moments("presence_intercept_mean", 1.0, 1.5**2)
    moments("amount_slope_between_cohorts_sd", 0.25 * root, 0.25**2 * (1 - 2 / np.pi))
    moments("presence_slope", 0.0, 0.5**2 + 0.5**2)  # mean over cell types, then between them
    moments("presence_slope_by_cohort", 0.0, 0.5**2 + 0.5**2 + 0.25**2)
    moments("amount_interaction", 0.0, 0.5**2 + 0.5**2)  # common to the cohorts here
    moments("amount_intercept_by_cohort", -3.0, 1.5**2 + 1.0**2 + 0.5**2)
    moments("log_shape", 0.5, 1.0)
    moments("log_shape_by_cohort", 0.5, 1.0 + 0.5**2)
    predicted = draws.prior_predictive
    assert predicted["present"].dims == ("chain", "draw", "tumour", "presence_cell_type")
    assert set(np.unique(predicted["present"])) == {0.0, 1.0}
    assert np.isfinite(predicted["amount"]).all()


def test_prior_draws_of_data_follow_the_linear_predictor_of_their_draw(structured):
    kind = "one cohort"
    data = structured(kind)
    model = main_model.build(data, main_model.PRIORS)
    draws = pm.sample_prior_predictive(400, model=model, random_seed=3, compile_kwargs={"mode": PLAIN})
    prior, predicted = draws.prior.to_dataset().isel(chain=0), draws.prior_predictive.isel(chain=0)
    tumours = [data.tumours.index[0], data.tumours.index[-1]]
    residual_p, residual_m = [], []
    for draw in range(400):
        values = {name: prior[name].isel(draw=draw) for name in prior}
        for tumour in tumours:
            eta = linear_predictor(kind, data, values, "presence", tumour, "Zeta cells")
            present = float(
                predicted["present"].isel(draw=draw).sel(tumour=tumour, presence_cell_type="Zeta cells")
            )
            p = expit(eta)
            residual_p.append((present - p) / np.sqrt(max(p * (1 - p), 1e-12)))
            mean = np.exp(linear_predictor(kind, data, values, "amount", tumour, "Zeta cells"))
            phi = np.exp(at(values["log_shape"], amount_cell_type="Zeta cells"))
            amount = float(
                predicted["amount"].isel(draw=draw).sel(tumour=tumour, amount_cell_type="Zeta cells")
            )
            residual_m.append(stats.gamma.cdf(amount, phi, scale=mean / phi))
    assert abs(np.mean(residual_p)) < 4.5 / np.sqrt(len(residual_p))
    assert stats.kstest(residual_m, "uniform").pvalue > 1e-3


def test_building_draws_nothing_and_changes_nothing(structured):
    data = structured("covariates")
    before = data.fingerprint, data.tumours.copy(deep=True), data.covariates.copy(deep=True)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    main_model.build(data, main_model.PRIORS)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    assert data.fingerprint == before[0]
    pd.testing.assert_frame_equal(data.tumours, before[1])
    pd.testing.assert_frame_equal(data.covariates, before[2])
