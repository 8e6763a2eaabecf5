"""What a regression was, in sentences for a methods section: read off the structure that the data carry."""

from __future__ import annotations

from bayes_her2.bayesian.design import Structure
from bayes_her2.data import MIN_STRATUM, AnalysisSet
from bayes_her2.wording import listed


def predictor_in_words(data: AnalysisSet, shape: Structure, subject: str) -> tuple[str, ...]:
    """Sentences on the linear predictor that abundance and high abundance share.

    Parameters
    ----------
    data, shape
        Analysis set and the structure of the model on it.
    subject
        What has the predictor, as the start of a sentence: ``"Each part"``.
    """
    terms = ["an intercept", "HER2 (per SD within hormone receptor strata)"]
    if shape.hr_term:
        terms += ["hormone receptor (HR) status", "their interaction"]
    terms += [
        f"the covariate{'s' * (len(data.covariates.columns) > 1)} {listed(map(str, data.covariates.columns))}"
    ] * (not data.covariates.empty)
    sentences = [f"{subject} had a linear predictor with {listed(terms)}."]
    if shape.several_cohorts:
        varying = ["intercept", "HER2 slope", *(["HR term", "interaction"] if shape.hr_by_cohort else [])]
        common = ""
        if shape.hr_term and not shape.hr_by_cohort:
            informed = listed(shape.hr_informed_by) if shape.hr_informed_by else "no cohort"
            common = (
                f"; the HR term and the interaction were common to the cohorts, because {informed} "
                f"{'alone has' if shape.hr_informed_by else 'has'} at least {MIN_STRATUM} tumours in both strata"
            )
        sentences.append(
            f"Cohort was a random effect: {listed(varying)} of a cell type varied between cohorts, normally around "
            f"those of the cell type{common}."
        )
    if shape.centres:
        sentences.append("Centres were nested in the intercept of their cohort.")
    sentences.append(
        "Cell types were partially pooled: each coefficient was normal around its mean over cell types, with an SD "
        "that was estimated."
    )
    return tuple(sentences)
