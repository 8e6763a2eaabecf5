"""What to simulate: cohorts, cell types and planted effects, each a frozen value that can be replaced.

``SEED_DESIGN`` has the shape of the seed study (Pizzamiglio et al. 2025,
doi 10.1038/s41523-025-00867-z): its cohort sizes, hormone receptor (HR) and IHC counts, age, size and
grade are those of its Table 1. Zero shares, means and shapes are rounded values typical of LM22 results
on breast tumours. The effects are invented: they have the directions of the seed's findings, so that a
report on simulated data looks like one on real data, and no more evidence than that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bayes_her2.data import Scale
from bayes_her2.errors import Faults, name_some

IHC_LEVELS = ("0", "1+", "2+")
SIZE_CLASSES = ("<=2 cm", "2-5 cm", ">5 cm", "missing")
GRADES = ("I", "II", "III")


@dataclass(frozen=True)
class CohortDesign:
    """One cohort: how many tumours, and what their clinical margins and HER2 scores look like.

    Attributes
    ----------
    name, platform
        Cohort, and the expression platform within which HER2 is standardised.
    n_hr_positive, n_hr_negative
        Eligible tumours by hormone receptor status.
    ihc, size, grade
        Margins of HER2 IHC, tumour size and grade: counts or weights, shared out over the
        eligible tumours so that counts that sum to the size of the cohort come out exactly.
    age_quartiles
        25 %, 50 % and 75 % quantile of age in years.
    her2_location, her2_scale
        Level and spread of the HER2 score in the units of the platform.
    zero_share
        Cell types whose share of zeros in this cohort (HR+, average HER2) is not that of the
        cell type's design.
    amount_shift
        Shift of every log mean of the positive abundances in this cohort.
    """

    name: str
    platform: str
    n_hr_positive: int
    n_hr_negative: int
    ihc: Mapping[str, float]
    size: Mapping[str, float]
    grade: Mapping[str, float]
    age_quartiles: tuple[float, float, float]
    her2_location: float
    her2_scale: float
    zero_share: Mapping[str, float] = field(default_factory=dict)
    amount_shift: float = 0.0

    @property
    def n(self) -> int:
        """Eligible tumours of both strata."""
        return self.n_hr_positive + self.n_hr_negative


@dataclass(frozen=True)
class CellTypeDesign:
    """One cell type: its zeros, its positives, and the effects planted in it.

    The reference is an HR+ tumour with the average HER2 score of its platform. Slopes are per pooled
    within-HR SD of the score. ``hr`` effects and interactions are HR- against HR+.

    Attributes
    ----------
    name
        Name of the cell type.
    zero_share
        Share of exact zeros in the reference, from 0 (always present) to below 1.
    log_mean
        Log of the mean abundance among the positives, absolute scale.
    shape
        Shape of the gamma distribution of the positives (1/shape is the squared coefficient of variation).
    presence_slope, presence_hr, presence_interaction
        Log odds ratios of presence.
    amount_slope, amount_hr, amount_interaction
        Log ratios of means among the positives.
    """

    name: str
    zero_share: float
    log_mean: float
    shape: float
    presence_slope: float = 0.0
    amount_slope: float = 0.0
    presence_hr: float = 0.0
    amount_hr: float = 0.0
    presence_interaction: float = 0.0
    amount_interaction: float = 0.0


@dataclass(frozen=True)
class BetweenCohortSD:
    """Standard deviations of the cohorts around the values of the cell type, all on the log scale.

    With one cohort there is nothing to vary between and they are not used.
    """

    presence_slope: float = 0.08
    presence_hr: float = 0.15
    presence_interaction: float = 0.08
    amount_intercept: float = 0.20
    amount_slope: float = 0.06
    amount_hr: float = 0.10
    amount_interaction: float = 0.06
    log_shape: float = 0.25


@dataclass(frozen=True)
class Design:
    """A whole study to simulate. Edit with ``dataclasses.replace``.

    Attributes
    ----------
    cohorts, cell_types
        At least one of each.
    between_cohort_sd
        How much cohorts differ.
    scale
        ``absolute``: abundances follow the hurdle-gamma model exactly, so planted effects are the
        estimands. ``relative``: each row is divided by its sum, which turns effects into shares; the truth
        of the shares is then computed by Monte Carlo.
    ineligible
        Add four tumours that a study must exclude (HER2 3+, HR missing, stage IV, male).

    Raises
    ------
    DataError
        If the design cannot be simulated; every fault is named.
    """

    cohorts: tuple[CohortDesign, ...]
    cell_types: tuple[CellTypeDesign, ...]
    between_cohort_sd: BetweenCohortSD = field(default_factory=BetweenCohortSD)
    scale: Scale = "absolute"
    ineligible: bool = True

    def __post_init__(self) -> None:
        faults = Faults()
        if not self.cohorts:
            faults.add("design", "has no cohorts; give at least one CohortDesign")
        if not self.cell_types:
            faults.add("design", "has no cell types; give at least one CellTypeDesign")
        _report_repeated(faults, "cohort", [cohort.name for cohort in self.cohorts])
        _report_repeated(faults, "cell type", list(self.cell_type_names))
        for cohort in self.cohorts:
            _check_cohort(faults, cohort, self.cell_type_names)
        for cell_type in self.cell_types:
            _check_cell_type(faults, cell_type)
        if self.scale == "relative" and all(c.zero_share > 0 for c in self.cell_types):
            faults.add(
                "design",
                "on the relative scale a tumour without any cells has no shares; give one cell type "
                "zero_share = 0 (Macrophages M2 in the seed design)",
            )
        faults.raise_if_any()

    @property
    def cell_type_names(self) -> tuple[str, ...]:
        """Names of the cell types, in order."""
        return tuple(cell_type.name for cell_type in self.cell_types)


def _report_repeated(faults: Faults, what: str, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        faults.add("design", f"{what} named twice: {name_some(repeated)}; give each its own name")


def _check_cohort(faults: Faults, cohort: CohortDesign, cell_types: tuple[str, ...]) -> None:
    where = f"cohort '{cohort.name}'"
    if cohort.n_hr_positive < 0 or cohort.n_hr_negative < 0 or cohort.n < 4:
        faults.add(
            where,
            f"has {cohort.n_hr_positive} HR+ and {cohort.n_hr_negative} HR- tumours; "
            "give counts >= 0 and 4 tumours or more, or the SD of HER2 is not defined",
        )
    if cohort.her2_scale <= 0:
        faults.add(where, f"her2_scale is {cohort.her2_scale}; it must be above 0")
    margins = {
        "ihc": (cohort.ihc, IHC_LEVELS),
        "size": (cohort.size, SIZE_CLASSES),
        "grade": (cohort.grade, GRADES),
    }
    for name, (margin, levels) in margins.items():
        unknown = sorted(set(margin) - set(levels))
        if unknown:
            faults.add(where, f"{name} has unknown levels {name_some(unknown)}; known: {', '.join(levels)}")
        if sum(margin.values()) <= 0 or min(margin.values(), default=0) < 0:
            faults.add(where, f"{name} needs weights >= 0 with a sum above 0, got {dict(margin)}")
    unknown = sorted(set(cohort.zero_share) - set(cell_types))
    if unknown:
        faults.add(where, f"zero_share names {name_some(unknown)}, not among the cell types of the design")
    wrong = [f"{name} {share}" for name, share in cohort.zero_share.items() if not 0 <= share < 1]
    if wrong:
        faults.add(where, f"zero_share must be in [0, 1), got {name_some(wrong)}")
    low, middle, high = cohort.age_quartiles
    if not low < middle < high:
        faults.add(where, f"age_quartiles {cohort.age_quartiles} must increase")


def _check_cell_type(faults: Faults, cell_type: CellTypeDesign) -> None:
    where = f"cell type '{cell_type.name}'"
    if not 0 <= cell_type.zero_share < 1:
        faults.add(where, f"zero_share is {cell_type.zero_share}; it must be in [0, 1)")
    if cell_type.shape <= 0:
        faults.add(where, f"shape is {cell_type.shape}; it must be above 0")
    presence = (cell_type.presence_slope, cell_type.presence_hr, cell_type.presence_interaction)
    if cell_type.zero_share == 0 and any(presence):
        faults.add(where, "is always present (zero_share 0), so its presence effects must be 0")


DISCOVERY = CohortDesign(
    name="discovery",
    platform="Affymetrix U133 Plus 2.0",
    n_hr_positive=82,
    n_hr_negative=22,
    ihc={"0": 32, "1+": 60, "2+": 12},
    size={"<=2 cm": 14, "2-5 cm": 86, ">5 cm": 3, "missing": 1},
    grade={"II": 68, "III": 36},
    # Table 1 prints "median, range": 14 years are no range of 104 women, so they are read as quartiles.
    age_quartiles=(41, 49, 55),
    her2_location=8.2,
    her2_scale=0.90,
)

CONFIRMATORY = CohortDesign(
    name="confirmatory",
    platform="Illumina HT-12 v3",
    n_hr_positive=68,
    n_hr_negative=13,
    ihc={"0": 25, "1+": 26, "2+": 30},
    size={"<=2 cm": 39, "2-5 cm": 38, ">5 cm": 3, "missing": 1},
    grade={"II": 40, "III": 41},
    age_quartiles=(48, 61, 73),
    her2_location=6.9,
    her2_scale=0.55,
    # Frozen tissue on another platform: several cell types are seen far more often, as real runs of LM22
    # differ by up to four or five logits.
    zero_share={
        "B cells memory": 0.07,
        "T cells gamma delta": 0.35,
        "NK cells activated": 0.10,
        "Monocytes": 0.08,
        "Macrophages M0": 0.10,
        "Eosinophils": 0.85,
    },
    amount_shift=0.15,
)

EXTERNAL = CohortDesign(
    name="external",
    platform="RNA-seq",
    # The seed does not tabulate its external cohort of 318. The intervals of its HR-stratified correlations
    # imply about 224 to 287 HR+ and 63 HR-; 255 is the rest of 318 and lies in that range.
    n_hr_positive=255,
    n_hr_negative=63,
    # Not tabulated: the mean of the shares of the other two cohorts, for IHC, size, grade and age alike.
    ihc={"0": 98, "1+": 143, "2+": 77},
    size={"<=2 cm": 98, "2-5 cm": 206, ">5 cm": 10, "missing": 4},
    grade={"II": 183, "III": 135},
    age_quartiles=(45, 55, 64),
    her2_location=3.4,
    her2_scale=1.30,
    zero_share={"T cells gamma delta": 0.50, "Macrophages M0": 0.20},
    amount_shift=-0.15,
)

_SEED_CELL_TYPES = (
    CellTypeDesign(
        "B cells naive", zero_share=0.13, log_mean=-3.0, shape=1.6, presence_slope=-0.25, amount_slope=-0.20
    ),
    CellTypeDesign("B cells memory", zero_share=0.85, log_mean=-3.3, shape=1.1),
    CellTypeDesign(
        "Plasma cells", zero_share=0.13, log_mean=-3.1, shape=0.9, presence_slope=-0.50, amount_slope=-0.35
    ),
    CellTypeDesign(
        "T cells CD8", zero_share=0.01, log_mean=-2.4, shape=3.0, amount_slope=-0.25, amount_hr=0.25
    ),
    CellTypeDesign("T cells CD4 naive", zero_share=0.98, log_mean=-3.4, shape=1.2),
    CellTypeDesign(
        "T cells CD4 memory resting", zero_share=0.06, log_mean=-2.2, shape=3.2, amount_slope=-0.12
    ),
    CellTypeDesign(
        "T cells CD4 memory activated", zero_share=0.88, log_mean=-4.1, shape=0.8, presence_hr=0.6
    ),
    CellTypeDesign(
        "T cells follicular helper",
        zero_share=0.03,
        log_mean=-2.8,
        shape=3.0,
        amount_hr=0.30,
        amount_interaction=-0.25,
    ),
    CellTypeDesign("T cells regulatory (Tregs)", zero_share=0.30, log_mean=-3.6, shape=1.3, presence_hr=0.4),
    CellTypeDesign(
        "T cells gamma delta",
        zero_share=0.86,
        log_mean=-3.9,
        shape=1.2,
        presence_slope=-0.40,
        amount_slope=-0.10,
    ),
    CellTypeDesign("NK cells resting", zero_share=0.86, log_mean=-3.9, shape=1.1),
    CellTypeDesign(
        "NK cells activated",
        zero_share=0.30,
        log_mean=-3.5,
        shape=1.5,
        presence_slope=-0.40,
        amount_slope=-0.10,
    ),
    CellTypeDesign("Monocytes", zero_share=0.27, log_mean=-3.8, shape=1.3),
    CellTypeDesign(
        "Macrophages M0",
        zero_share=0.30,
        log_mean=-2.2,
        shape=1.1,
        presence_slope=-0.15,
        amount_slope=-0.10,
        presence_hr=1.0,
        amount_hr=0.20,
    ),
    CellTypeDesign(
        "Macrophages M1",
        zero_share=0.04,
        log_mean=-2.9,
        shape=2.8,
        amount_slope=-0.20,
        amount_hr=0.40,
        amount_interaction=-0.15,
    ),
    CellTypeDesign("Macrophages M2", zero_share=0.0, log_mean=-1.3, shape=6.0, amount_hr=-0.15),
    CellTypeDesign("Dendritic cells resting", zero_share=0.40, log_mean=-3.7, shape=0.7),
    CellTypeDesign("Dendritic cells activated", zero_share=0.86, log_mean=-3.8, shape=0.7, presence_hr=0.5),
    # The two interactions of the seed, opposite in sign: mast cells fall with HER2 in HR+ and rise in HR-,
    # neutrophils the other way round.
    CellTypeDesign(
        "Mast cells resting",
        zero_share=0.12,
        log_mean=-2.5,
        shape=1.6,
        presence_slope=-0.30,
        amount_slope=-0.25,
        presence_hr=-1.5,
        amount_hr=-0.60,
        presence_interaction=0.90,
        amount_interaction=0.60,
    ),
    CellTypeDesign("Mast cells activated", zero_share=0.86, log_mean=-3.6, shape=0.7, presence_hr=0.4),
    CellTypeDesign("Eosinophils", zero_share=0.96, log_mean=-4.8, shape=1.0),
    CellTypeDesign(
        "Neutrophils",
        zero_share=0.55,
        log_mean=-4.8,
        shape=0.8,
        presence_slope=0.40,
        amount_slope=0.15,
        presence_hr=-0.30,
        presence_interaction=-1.20,
        amount_interaction=-0.45,
    ),
)

SEED_DESIGN = Design(cohorts=(DISCOVERY, CONFIRMATORY, EXTERNAL), cell_types=_SEED_CELL_TYPES)
"""Three cohorts of 104, 81 and 318 tumours and the 22 cell types of LM22, on the absolute scale."""
