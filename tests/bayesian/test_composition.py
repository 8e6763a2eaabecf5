"""Compositions: what is in them, their contrasts, and what is computed from draws, tumour by tumour."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from bayes_her2.models import abundance, composition
from composition_draws import random_posterior
from labelled_values import at
from scipy import stats
from scipy.special import expit, logit

from bayes_her2.bayesian.composition import cheap_fit, composition_design, composition_of, left_out
from bayes_her2.bayesian.composition_estimands import (
    composition_estimands,
    composition_log_likelihood,
    composition_replicate,
)
from bayes_her2.bayesian.design import structure
from bayes_her2.bayesian.scaled_dirichlet import mean_shares, random_shares, share_above
from bayes_her2.bayesian.slopes import slopes
from bayes_her2.errors import DataError


def coefficient(posterior, part, term, **labels) -> float:
    name = f"{part}_{term}_by_cohort" if f"{part}_{term}_by_cohort" in posterior else f"{part}_{term}"
    labels[f"{part}_cell_type"] = labels.pop("cell_type")
    return at(posterior[name], **labels)


def predictor(data, posterior, part, tumour, cell_type, **draw) -> float:
    """Linear predictor of one tumour and cell type in one draw, written out."""
    row, labels = data.tumours.loc[tumour], {"cell_type": cell_type} | draw
    labels["cohort"] = row["cohort"]
    other = row["hr"] != data.reference
    level = coefficient(posterior, part, "intercept", **labels)
    slope = coefficient(posterior, part, "slope", **labels)
    own = f"{part}_cell_type"
    if f"{part}_centre_intercept" in posterior and row["cohort"] == "B":
        centre = {"centre": f"B/{row['centre']}", own: cell_type} | draw
        level = at(posterior[f"{part}_centre_intercept"], **centre)
    if other:
        level += coefficient(posterior, part, "hr", **labels)
        slope += coefficient(posterior, part, "interaction", **labels)
    for covariate in data.covariates.columns:
        omega = at(posterior[f"{part}_covariate"], **({"covariate": covariate, own: cell_type} | draw))
        level += omega * data.covariates.loc[tumour, covariate]
    return level + slope * row["her2_sd"]


def shape_of(posterior, tumour_row, cell_type, **draw) -> float:
    name = "log_shape_by_cohort" if "log_shape_by_cohort" in posterior else "log_shape"
    return float(np.exp(at(posterior[name], cohort=tumour_row["cohort"], amount_cell_type=cell_type, **draw)))


# --- what is in a composition --------------------------------------------------------------------


def test_shares_are_those_of_the_cell_types_modelled_in_the_stratum(structured):
    data = structured("one cohort")
    own = composition_of(data)
    assert "Rare in HR-" in own.cell_types
    column = own.cell_types.index("Rare in HR-")
    negative = (data.tumours["hr"] == "HR-").to_numpy()
    assert (data.abundance.loc[negative, "Rare in HR-"] > 0).sum() == 4
    assert not own.counted[negative, column].any()
    np.testing.assert_allclose(own.shares.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(own.shares > 0, own.counted > 0)
    rows = data.abundance[list(own.cell_types)].to_numpy()
    np.testing.assert_allclose(own.shares[~negative] * own.kept[~negative, None], rows[~negative])


def test_what_is_left_out_is_told_with_its_size(structured):
    data = structured("one cohort")
    shares = data.abundance.div(data.abundance.sum(axis=1), axis=0)
    table = left_out(replace(data, abundance=shares))
    assert list(zip(table["cell_type"], table["stratum"], strict=True)) == [("Rare in HR-", "HR-")]
    own = shares.loc[data.tumours["hr"] == "HR-", "Rare in HR-"]
    row = table.iloc[0]  # the only row
    assert (row["n"], row["n_positive"]) == (25, 4)
    assert row["mean_share"] == pytest.approx(own.mean())
    assert row["largest_share"] == pytest.approx(own.max())
    half = left_out(replace(data, abundance=shares / 2))
    assert (half["cell_type"] == "all others").sum() == 2
    assert half.loc[half["cell_type"] == "all others", "mean_share"].tolist() == pytest.approx([0.5, 0.5])


def test_the_absolute_scale_is_refused_and_the_alternatives_are_named(structured):
    data = replace(structured("one cohort"), scale="absolute")
    with pytest.raises(
        DataError, match=r"absolute scale.*Use abundance or .*abundance_weibull.*scale = \"relative\""
    ):
        composition.build(data, composition.PRIORS)


def test_one_cell_type_is_no_composition(structured):
    data = structured("one cohort, HR+ only")
    parts = data.parts.assign(
        amount_modelled=data.parts["amount_modelled"] & (data.parts["cell_type"] == "Never zero")
    )
    with pytest.raises(DataError, match=r"1 cell type has amounts to model \(Never zero\)"):
        composition_of(replace(data, parts=parts))


# --- contrasts -----------------------------------------------------------------------------------


def test_contrasts_are_orthonormal_and_sum_to_0(structured, structure_kind):
    data = structured(structure_kind)
    design = composition_design(data, structure(data))
    n = len(design.composition.cell_types)
    for name, own in design.terms.items():
        np.testing.assert_allclose(own.basis.T @ own.basis, np.eye(n - 1), atol=1e-10, err_msg=name)
        np.testing.assert_allclose(own.basis.sum(axis=0), 0.0, atol=1e-10, err_msg=name)
        assert np.isfinite(own.at.estimate).all()
        assert (own.at.variance > 0).all()


def test_the_cheap_fit_finds_planted_coefficients_and_its_standard_errors_are_those_of_the_spread():
    rng = np.random.default_rng(5)
    n, truth = 2_000, np.array([[-2.0, -1.0, -3.0, -2.5], [0.3, -0.2, 0.0, 0.1]])
    shape = np.array([1.0, 3.0, 0.8, 6.0])
    columns = np.column_stack([np.ones(n), rng.normal(size=n)])
    centred = truth - truth.mean(axis=1, keepdims=True)
    errors, scores = [], []
    for _ in range(20):
        present = rng.random((n, 4)) < np.array([0.5, 1.0, 0.4, 0.9])
        shares = random_shares(rng, columns @ truth, shape, present)
        estimate, covariance, log_shape, variance = cheap_fit(shares, present.astype(float), columns)
        plain = np.eye(4) - 0.25
        se = np.sqrt(np.stack([np.diag(plain @ block @ plain) for block in covariance]))
        errors.append((estimate - estimate.mean(axis=1, keepdims=True) - centred) / se)
        scores.append((log_shape - np.log(shape)) / np.sqrt(variance))
    # 20 replications of a standard normal: mean within 4 / sqrt(20), SD within 4 / sqrt(40) of 1.
    assert np.abs(np.mean(errors, axis=0)).max() < 0.9
    assert 0.6 < np.sqrt(np.mean(np.square(errors))) < 1.4
    assert np.abs(np.mean(scores, axis=0)).max() < 1.2


def test_a_cohort_without_a_cell_type_gives_finite_coordinates(structured):
    data = structured("three cohorts")
    abundance_ = data.abundance.copy()
    abundance_.loc[data.tumours["cohort"] == "A", "Zeta cells"] = 0.0
    design = composition_design(replace(data, abundance=abundance_), structure(data))
    for own in design.terms.values():
        assert np.isfinite(own.at.estimate).all()
        assert (own.at.variance <= 100.0 + 1e-9).all()


# --- from draws ----------------------------------------------------------------------------------


def test_the_log_likelihood_is_the_one_written_out(structured, structure_kind):
    data = structured(structure_kind)
    posterior = random_posterior(data, 3)
    found = composition_log_likelihood(posterior, data)
    assert found.dims == ("chain", "draw", "tumour")
    for tumour in list(data.tumours.index)[::5]:
        draw = {"chain": 1, "draw": 2}
        row, expected, amounts = data.tumours.loc[tumour], 0.0, {}
        for cell_type in data.abundance.columns:
            y, part = data.abundance.loc[tumour, cell_type], data.part(cell_type, row["hr"])
            if part.presence_modelled:
                p = expit(predictor(data, posterior, "presence", tumour, cell_type, **draw))
                expected += stats.bernoulli.logpmf(int(y > 0), p)
            if part.amount_modelled and y > 0:
                mean = np.exp(predictor(data, posterior, "amount", tumour, cell_type, **draw))
                amounts[cell_type] = (y, mean, shape_of(posterior, row, cell_type, **draw))
        y, mean, shape = (np.array(v) for v in zip(*amounts.values(), strict=True))
        y = y / y.sum()
        if len(y) > 1:
            # l y / sum l y is Dirichlet(shape): its density, and the Jacobian of the map.
            scaled = shape / mean * y
            jacobian = np.log(shape / mean).sum() - len(y) * np.log(scaled.sum())
            expected += stats.dirichlet.logpdf(scaled / scaled.sum(), shape) + jacobian
        assert at(found, tumour=tumour, **draw) == pytest.approx(expected, rel=1e-9)


def brute(data, posterior, stratum, cohort, slope, draw, step) -> pd.DataFrame:
    """Mean E[y | present], E[y] and P(high) over the tumours of a stratum (and cohort), visiting each of them."""
    rows = data.tumours[data.tumours["hr"] == stratum]
    if cohort is not None:
        rows = rows[rows["cohort"] == cohort]
    cells = [c for c in composition_of(data).cell_types if data.part(c, stratum).amount_modelled]
    own_composition, stratum_rows = composition_of(data), data.tumours["hr"] == stratum
    kept = pd.Series(own_composition.kept, index=data.tumours.index)[stratum_rows]
    kept = kept.groupby(data.tumours.loc[stratum_rows, "cohort"]).mean()
    amounts, overall, high = [], [], []
    for tumour, row in rows.iterrows():
        p, m, a = [], [], []
        for cell in cells:
            part, eta = data.part(cell, stratum), {}
            for which in ("presence", "amount"):
                if not getattr(part, f"{which}_modelled"):
                    continue
                own = predictor(data, posterior, which, tumour, cell, **draw)
                # the slope of the tumour's own cohort gives way to that of the scope
                own_slope = coefficient(
                    posterior, which, "slope", cell_type=cell, cohort=row["cohort"], **draw
                )
                if stratum != data.reference:
                    own_slope += coefficient(
                        posterior, which, "interaction", cell_type=cell, cohort=row["cohort"], **draw
                    )
                labels = {"stratum": stratum, "cell_type": cell, "cohort": cohort} | draw
                new = at(slope[which], **{k: v for k, v in labels.items() if v is not None})
                eta[which] = own + (new - own_slope) * row["her2_sd"] + new * step
            p.append(expit(eta["presence"]) if "presence" in eta else part.n_positive / part.n)
            m.append(eta["amount"])
            a.append(shape_of(posterior, row, cell, **draw))
        p, m, a = np.array(p), np.array(m), np.array(a)
        given_present, any_present = mean_shares(p, m, a)
        amounts.append(given_present)
        overall.append(p * given_present / any_present)
        cutoff = data.high_cutoffs.loc[row["cohort"], cells].to_numpy() / kept[row["cohort"]]
        high.append(p / any_present * share_above(cutoff, p, m, a))
    means = {"amount": amounts, "overall": overall, "high_abundance": high}
    return pd.DataFrame({name: np.mean(values, axis=0) for name, values in means.items()}, index=cells)


@pytest.mark.parametrize("kind", ["one cohort", "HR+ only beside both", "covariates", "centres"])
def test_estimands_are_averages_over_the_tumours(structured, kind):
    data = structured(kind)
    posterior = random_posterior(data, 4, n_chain=1, n_draw=2)
    draws = composition_estimands(posterior, data, composition.PRIORS, np.random.default_rng(9))
    rng, draw = np.random.default_rng(9), {"chain": 0, "draw": 1}
    own = {part: slopes(posterior, part, data, composition.PRIORS, rng) for part in ("presence", "amount")}
    seen = set()
    cases = [("pooled", None), ("new cohort", None), ("cohort", "A")]
    for (scope, cohort), stratum in product(cases, data.strata):
        slope = {part: own[part].of(scope) for part in own}
        one, up = (brute(data, posterior, stratum, cohort, slope, draw, step) for step in (0.0, 1.0))
        labels = {"stratum": stratum, "cohort": cohort} if cohort else {"stratum": stratum}
        cohorts = (
            [cohort] if cohort else sorted(set(data.tumours.loc[data.tumours["hr"] == stratum, "cohort"]))
        )
        for cell in one.index:
            where = labels | {"cell_type": cell} | draw
            part = data.part(cell, stratum)
            held = not part.presence_modelled
            if held and part.n_zero / part.n >= 0.1:
                assert np.isnan(at(draws["overall", scope], **where))
                assert np.isnan(at(draws["high_abundance", scope], **where))
                up.loc[cell, ["overall", "high_abundance"]] = np.nan
            if held and (data.high_cutoffs.loc[cohorts, cell] == 0).all():
                assert np.isnan(at(draws["high_abundance", scope], **where))
                up.loc[cell, "high_abundance"] = np.nan
            for name, link in (("amount", np.log), ("overall", np.log), ("high_abundance", logit)):
                expected = link(up.loc[cell, name]) - link(one.loc[cell, name])
                if np.isfinite(expected):
                    # The average over tumours is a Gauss quadrature with 8 nodes.
                    found = at(draws[name, scope], **where)
                    assert found == pytest.approx(expected, abs=1e-5), (name, scope, where)
                    seen.add(name)
    assert seen == {"amount", "overall", "high_abundance"}


def test_summed_shares_do_not_drift(structured):
    """What the ratios of `overall` make of the mean shares at h are mean shares at h + 1: they sum to 1 too."""
    data = structured("one cohort")
    posterior = random_posterior(data, 10, n_chain=1, n_draw=2)
    draws = composition_estimands(posterior, data, composition.PRIORS, np.random.default_rng(9))
    rng, draw = np.random.default_rng(9), {"chain": 0, "draw": 0}
    own = {
        part: slopes(posterior, part, data, composition.PRIORS, rng).pooled for part in ("presence", "amount")
    }
    shares = brute(data, posterior, "HR+", None, own, draw, 0.0)["overall"]
    ratios = np.exp(draws["overall", "pooled"].sel(stratum="HR+", **draw).sel(cell_type=list(shares.index)))
    assert float(abs(ratios - 1).max()) > 0.1
    assert shares.sum() == pytest.approx(1.0, abs=1e-9)
    # Both averages over tumours are Gauss quadratures of one smooth function.
    assert float((shares.to_numpy() * ratios).sum()) == pytest.approx(1.0, abs=1e-5)


def test_what_is_not_modelled_has_no_draws(structured):
    data = structured("one cohort")
    posterior = random_posterior(data, 5)
    draws = composition_estimands(posterior, data, composition.PRIORS, np.random.default_rng(1))
    assert {name for name, _ in draws} == set(composition.ESTIMANDS)
    for name in ("amount", "overall", "high_abundance"):
        own = draws[name, "pooled"].sel(cell_type="Rare in HR-")
        assert np.isfinite(own.sel(stratum="HR+")).all()
        assert np.isnan(own.sel(stratum="HR-")).all()
        assert np.isnan(own.sel(stratum="HR- over HR+")).all()
    assert np.isnan(draws["presence", "pooled"].sel(cell_type="Never zero")).all()
    assert np.isfinite(draws["overall", "pooled"].sel(cell_type="Never zero")).all()


def test_chunks_do_not_show(structured, monkeypatch):
    data = structured("three cohorts")
    posterior = random_posterior(data, 6, n_draw=7)
    args = (posterior, data, composition.PRIORS)
    whole = composition_estimands(*args, np.random.default_rng(1))
    likelihood = composition_log_likelihood(posterior, data)
    for name in ("CHUNK", "LARGE_CHUNK"):
        monkeypatch.setattr(f"bayes_her2.bayesian.composition_estimands.{name}", 1)
    for key, array in composition_estimands(*args, np.random.default_rng(1)).items():
        xr.testing.assert_allclose(array, whole[key], rtol=1e-9)
    xr.testing.assert_allclose(composition_log_likelihood(posterior, data), likelihood, rtol=1e-12)


def test_a_slope_shared_by_all_cell_types_is_no_effect(structured):
    """Shares know differences of slopes alone; the main model calls such a slope an effect on every cell type."""
    data = structured("one cohort, HR+ only")
    posterior = random_posterior(data, 7)
    posterior["amount_slope"] = xr.full_like(posterior["amount_slope"], 0.7)
    posterior["presence_slope"] = xr.zeros_like(posterior["presence_slope"])
    draws = composition_estimands(posterior, data, composition.PRIORS, np.random.default_rng(1))
    for name in ("amount", "overall", "high_abundance"):
        own = draws[name, "pooled"]
        assert float(abs(own).max()) < 1e-9
    assert abundance.ESTIMANDS["amount"] != composition.ESTIMANDS["amount"]


def test_replications_sum_to_1_over_the_composition_and_have_the_predicted_means(structured):
    data = structured("one cohort")
    shares = data.abundance.div(data.abundance.sum(axis=1), axis=0)
    data = replace(data, abundance=shares)
    posterior = random_posterior(data, 8, n_chain=1, n_draw=1)
    posterior = xr.concat([posterior] * 4_000, dim="draw").assign_coords(draw=range(4_000))
    drawn = composition_replicate(posterior, data, np.random.default_rng(2), max_draws=4_000)
    assert drawn.dims == ("chain", "draw", "tumour", "cell_type")
    assert (drawn.sizes["chain"], drawn.sizes["draw"]) == (1, 4_000)
    again = composition_replicate(posterior, data, np.random.default_rng(2), max_draws=4_000)
    xr.testing.assert_identical(drawn, again)
    own = composition_of(data)
    total = drawn.sum("cell_type")  # NaN, outside the composition, adds nothing
    np.testing.assert_allclose(total, np.broadcast_to(own.kept, total.shape), rtol=1e-10)
    negative = list(data.tumours.index[data.tumours["hr"] == "HR-"])
    assert np.isnan(drawn.sel(cell_type="Rare in HR-", tumour=negative)).all()
    assert (drawn.sel(cell_type="Never zero") > 0).all()
    z = []
    for tumour in negative[::4]:
        cells = [c for c in own.cell_types if c != "Rare in HR-"]
        draw = {"chain": 0, "draw": 0}
        p = np.array(
            [
                expit(predictor(data, posterior, "presence", tumour, c, **draw))
                if data.part(c, "HR-").presence_modelled
                else data.part(c, "HR-").n_positive / data.part(c, "HR-").n
                for c in cells
            ]
        )
        m = np.array([predictor(data, posterior, "amount", tumour, c, **draw) for c in cells])
        a = np.array([shape_of(posterior, data.tumours.loc[tumour], c, **draw) for c in cells])
        given_present, any_present = mean_shares(p, m, a)
        expected = p * given_present / any_present * own.kept[data.tumours.index.get_loc(tumour)]
        values = drawn.sel(tumour=tumour, cell_type=cells).isel(chain=0).to_numpy()
        z.append((values.mean(axis=0) - expected) / (values.std(axis=0) / np.sqrt(len(values))))
    assert np.abs(z).max() < 4.5


def test_fewer_replications_are_spread_over_the_draws(structured):
    data = structured("one cohort")
    posterior = random_posterior(data, 9, n_chain=2, n_draw=30)
    drawn = composition_replicate(posterior, data, np.random.default_rng(1), max_draws=12)
    assert (drawn.sizes["chain"], drawn.sizes["draw"]) == (2, 6)


def test_replications_and_likelihood_are_of_the_same_draws_however_many_are_taken_at_once(
    structured, monkeypatch
):
    """Weights of a tumour's forecast come from its log likelihood, draw by draw."""
    data = structured("one cohort")
    posterior = random_posterior(data, 9, n_chain=2, n_draw=6)
    # Draws that differ in nothing but the level of presence: few of the cell types, or most of them.
    base = posterior.isel(draw=[0] * 6).assign_coords(draw=range(6))
    level = xr.DataArray([-30.0, 30.0, 30.0, -30.0, 30.0, -30.0], dims="draw", coords={"draw": range(6)})
    name = next(n for n in base if str(n).startswith("presence_intercept"))
    base[name] = xr.zeros_like(base[name]) + level
    monkeypatch.setattr("bayes_her2.bayesian.composition_estimands.LARGE_CHUNK", 1)
    drawn = composition_replicate(base, data, np.random.default_rng(1), max_draws=12)
    has = (drawn > 0).mean(("tumour", "cell_type"))
    likely = composition_log_likelihood(base, data, max_draws=12).mean("tumour")
    assert drawn.sizes["draw"] == likely.sizes["draw"] == 6
    assert (has.isel(draw=[1, 2, 4]).min() > has.isel(draw=[0, 3, 5]).max()).item()


def test_the_absolute_scale_is_no_composition(structured):
    data = structured("one cohort")
    assert composition.unsuited(data) == ""
    assert "absolute" in composition.unsuited(replace(data, scale="absolute"))
