"""Calibration of a model as a page of its own: tables in, HTML and figures out. Computes nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bayes_her2.data import DIFFERENCE, DIFFERENCE_MINUS, HR_NEGATIVE, HR_POSITIVE
from bayes_her2.estimates import kind_of
from bayes_her2.report import formats
from bayes_her2.report.figures import BAND, COLOURS, GREY, MARKERS, PALE, WIDTH, Drawing, drawn, image_of
from bayes_her2.report.load import Results, Row, Rows
from bayes_her2.report.standalone import About, Page, composed, numbered, results_of
from bayes_her2.report.tables import Cell, Column, Line, Table

SCOPES = {"pooled": "all cohorts", "cohort": "each cohort", "new cohort": "a new cohort"}
"""Scope -> what the page calls it."""
TUMOURS, PATIENTS = "tumours", "patients"
"""What the data sets are of."""
_PER_ROW = 4
Group = tuple[str, str]


def calibration_page(
    rows: Mapping[str, Rows],
    about: About,
    *,
    model: str,
    replicates: int,
    against: Sequence[str],
    troubled: Sequence[int],
    retried: int,
    sampler: str,
    unit: str = TUMOURS,
) -> Page:
    """Compose the page of a calibration.

    Parameters
    ----------
    rows
        Rows of ``ranks``, ``rank_ecdf``, ``coverage``, ``errors_of_claims``, ``discoveries``, ``power`` and ``design``.
    about
        What the head of the page says.
    model
        Name of the model.
    replicates
        Data sets.
    against
        What speaks against calibration, in sentences.
    troubled
        Data sets whose fit did not pass the gates of a short run.
    retried
        Number of data sets that were fitted a second time.
    sampler
        Settings of the sampler in words.
    unit
        What the data sets are of: `TUMOURS` or `PATIENTS`.

    Raises
    ------
    FigureError
        If a figure cannot be drawn.
    """
    results = results_of(rows, about)
    tables = numbered(
        [
            _calibration_table(results),
            _claims_table(results),
            *([_power_table(results)] if _power_rows(results) else []),
            _design(results, unit),
        ]
    )
    figures = drawn(results, [rank_ecdf, coverage, power])
    return composed(
        "calibration.html.j2",
        headline(results, model, replicates, against, troubled, retried),
        tables,
        figures,
        about=about,
        model=model,
        replicates=replicates,
        sampler=sampler,
        unit=unit,
        level=formats.level(about.interval),
    )


def headline(
    results: Results,
    model: str,
    replicates: int,
    against: Sequence[str],
    troubled: Sequence[int],
    retried: int = 0,
) -> tuple[str, ...]:
    """Say whether the model is calibrated, what its claims are worth, and what these data can show."""
    ranks, covered = results.rows("ranks"), results.rows("coverage")
    level = formats.level(results.study.interval)
    shares = [r["covered"] for r in covered if r["scope"] != "new cohort"]
    low = sum(1 for r in ranks if r["p"] < 0.05)
    said = [
        f"{formats.count(replicates)} data sets were simulated from the priors of {model} and fitted. "
        + (
            "Nothing speaks against calibration: "
            if not against
            else f"{formats.plural(len(against), 'remark')} against calibration, below. In all, "
        )
        + f"{low} of {len(ranks)} lines of ranks have P < 0.05, where {0.05 * len(ranks):.0f} are expected; coverage "
        f"of the {level} intervals lies between {min(shares):.3f} and {max(shares):.3f}."
    ]
    said += [f"Against: {formats.sentence(reason)}" for reason in against]
    kept = [r for r in results.rows("discoveries") if r["scope"] == "pooled" and r["n_claims"]]
    n = sum(r["n_claims"] for r in kept)
    if n:
        wrong = sum(r["kept"] * r["n_claims"] for r in kept) / n
        promised = sum(r["promised"] * r["n_claims"] for r in kept) / n
        said.append(
            f"Of {formats.count(n)} discoveries over all cohorts (local false sign rate, limit "
            f"{formats.plain(results.study.false_discovery)}), {100 * wrong:.1f} % have the wrong sign, where the rule "
            f"expected {100 * promised:.1f} %."
        )
    said += fits_in_words(len(troubled), retried, replicates)
    return tuple(said)


def fits_in_words(troubled: int, retried: int, n: int) -> tuple[str, ...]:
    """Say how many of `n` data sets were fitted a second time, and how many fits were in trouble after that."""
    if not (troubled or retried):
        return ()
    again = (
        f"As a run does, {retried} of {n} data sets were fitted a second time, with smaller steps. "
        if retried
        else ""
    )
    return (
        f"{again}Fits with a divergent transition or a high R-hat"
        f"{' after that' if retried else ''}: {troubled} of {n}; they are counted.",
    )


# --- tables ----------------------------------------------------------------------------------------


def _words(estimand: str) -> str:
    return estimand.replace("_", " ").capitalize()


def _groups(rows: Sequence[Row]) -> list[Group]:
    """Estimands and scopes in the order of the tables."""
    return list(dict.fromkeys((str(r["estimand"]), str(r["scope"])) for r in rows))


def _stratum(row: Row) -> str:
    return str(row["stratum"] or "")


def _by_label(rows: Sequence[Row]) -> dict[tuple[str, str, str], Row]:
    return {(str(r["estimand"]), str(r["scope"]), _stratum(r)): r for r in rows}


def _lines(rows: Sequence[Row], cells: Any) -> tuple[Line, ...]:
    """One line for each row, headed by its estimand, which spans its rows."""
    made = []
    for estimand in dict.fromkeys(str(r["estimand"]) for r in rows):
        own = [r for r in rows if r["estimand"] == estimand]
        for i, row in enumerate(own):
            first = (Cell(SCOPES[str(row["scope"])]), Cell(_stratum(row) or "all"))
            made.append(
                Line(
                    _words(estimand),
                    (*first, *cells(row)),
                    span=0 if i else len(own),
                    look="" if i else "first",
                )
            )
    return tuple(made)


_LABELS = (Column("Of", words=True), Column("Stratum", words=True))


def _calibration_table(results: Results) -> Table:
    """Coverage, and the ranks of the lines of each group."""
    ranks = results.rows("ranks")

    def cells(row: Row) -> tuple[Cell, ...]:
        own = [
            r
            for r in ranks
            if (r["estimand"], r["scope"], _stratum(r)) == (row["estimand"], row["scope"], _stratum(row))
        ]
        means = [r["mean_rank"] for r in own]
        ranked = (
            (
                Cell(formats.count(len(own))),
                Cell(f"{min(means):.2f} to {max(means):.2f}"),
                Cell(formats.p_value(min(r["p"] for r in own))),
                Cell(formats.p_value(min(r["p_holm"] for r in own))),
            )
            if own
            else (Cell("0"), *(Cell(formats.MISSING) for _ in range(3)))
        )
        return (
            Cell(formats.count(row["n"])),
            Cell(f"{row['covered']:.3f} ({row['se']:.3f})"),
            *ranked,
        )

    rows = results.rows("coverage")
    return Table(
        "calibration",
        f"Where the truth lies: share of {formats.level(results.study.interval)} credible intervals that hold it, and "
        "its ranks among posterior draws, by estimand. A line is one outcome (cell type, clinical outcome or published "
        "result; in one cohort) across the data sets; its mean rank is 0.50 if the model is calibrated. P: that ranks "
        "of a line are uniform, over the whole distribution; smallest of the lines.",
        "Estimand",
        (
            *_LABELS,
            Column("n", "Intervals"),
            Column("Hold the truth (SE)", "Intervals"),
            Column("Lines", "Ranks"),
            Column("Mean rank", "Ranks"),
            Column("P", "Ranks"),
            Column("P, Holm", "Ranks"),
        ),
        _lines(rows, cells),
        "tables/ranks.csv",
        (
            f"SE: from the spread between data sets. Holm: over all {len(ranks)} lines of the page. "
            "A line with fewer than 20 data sets in which it can be estimated is not ranked.",
        ),
        small=True,
    )


def _share(value: float | None, se: float | None) -> Cell:
    if value is None:
        return Cell(formats.MISSING)
    return Cell(f"{value:.3f}" + (f" ({se:.3f})" if se is not None else ""))


def _claims_table(results: Results) -> Table:
    kept = _by_label(results.rows("discoveries"))

    def cells(row: Row) -> tuple[Cell, ...]:
        excludes = (
            Cell(f"{row['claimed']:.2f}"),
            _share(row["type_s"], row["type_s_se"]),
            Cell(formats.MISSING if row["type_m"] is None else f"{row['type_m']:.2f}"),
        )
        if not kept:
            return excludes
        rule = kept[(str(row["estimand"]), str(row["scope"]), _stratum(row))]
        return (
            *excludes,
            Cell(formats.count(rule["n_claims"])),
            Cell(formats.MISSING if rule["promised"] is None else f"{rule['promised']:.3f}"),
            _share(rule["kept"], rule["se"]),
        )

    level = formats.level(results.study.interval)
    return Table(
        "claims",
        f"What claims are worth, averaged over the priors: rows whose {level} credible interval excludes no effect "
        "(share of rows; share of these with the wrong sign, type S; summed size over true size, type M)"
        + (
            ", and discoveries by the local false sign rate (share of wrong signs that the rule expects, and found)."
            if kept
            else "."
        ),
        "Estimand",
        (
            *_LABELS,
            Column("Claimed", "Interval excludes no effect"),
            Column("Type S (SE)", "Interval excludes no effect"),
            Column("Type M", "Interval excludes no effect"),
            *(Column(name, "Discoveries") for name in ("Claims", "Expected", "Found (SE)") if kept),
        ),
        _lines(results.rows("errors_of_claims"), cells),
        "tables/errors_of_claims.csv",
        (
            (
                "Discoveries: cell types of one contrast are a family; limit "
                f"{formats.plain(results.study.false_discovery)} on the expected share of wrong signs. "
                if kept
                else "The model calls no sign by the local false sign rate. "
            )
            + "SE: from the spread between data sets.",
        ),
        small=True,
    )


def _sizes(rows: Sequence[Row]) -> list[tuple[float, float]]:
    return sorted({(r["at_least"], r["below"]) for r in rows})


def _size_in_words(at_least: float, below: float) -> str:
    """Limits of |log ratio| as ratios."""
    if math.isinf(below):
        return f"over {math.exp(at_least):.2f}"
    return f"{math.exp(at_least):.2f} to {math.exp(below):.2f}"


def _power_table(results: Results) -> Table:
    rows = _power_rows(results)
    by_size = {(str(r["estimand"]), str(r["scope"]), _stratum(r), r["at_least"]): r for r in rows}
    sizes = _sizes(rows)

    def cells(row: Row) -> tuple[Cell, ...]:
        made = []
        for at_least, _ in sizes:
            own = by_size.get((str(row["estimand"]), str(row["scope"]), _stratum(row), at_least))
            made.append(
                Cell(f"{own['seen']:.2f}", f"n {formats.count(own['n'])}") if own else Cell(formats.MISSING)
            )
        return tuple(made)

    return Table(
        "power",
        "What these data can show: how often a true effect of a size is seen (its "
        f"{formats.level(results.study.interval)} credible interval excludes no effect, on the right side), by size of "
        "the true ratio or its inverse.",
        "Estimand",
        (*_LABELS, *(Column(_size_in_words(*size), "True ratio, or its inverse") for size in sizes)),
        _lines(list(_by_label(rows).values()), cells),
        "tables/power.csv",
        (
            "n: rows (outcome, cohort, data set) whose truth has this size. Differences of probability are in the "
            "file, with limits on their own scale.",
        ),
        small=True,
    )


def _power_rows(results: Results) -> list[Row]:
    """Rows of ratios, in the order of the other tables."""
    order = {group: i for i, group in enumerate(_groups(results.rows("coverage")))}
    rows = [r for r in results.rows("power") if kind_of(str(r["estimand"])) == "ratio"]
    strata = _strata(rows)
    return sorted(
        rows,
        key=lambda r: (
            order[(str(r["estimand"]), str(r["scope"]))],
            [*strata, ""].index(_stratum(r)),
            r["at_least"],
        ),
    )


def _design(results: Results, unit: str) -> Table:
    rows = results.rows("design")
    strata = list(dict.fromkeys(str(r["stratum"]) for r in rows))
    n = {(str(r["of"]), str(r["stratum"])): r["n"] for r in rows}
    none = 0 if unit == TUMOURS else None  # a study without a row of a status may well have such patients
    return Table(
        "design",
        f"{unit.capitalize()} of every simulated data set: as in the study, with all that is known of them but the "
        "outcome, which is simulated.",
        "Of",
        tuple(Column(stratum, unit.capitalize()) for stratum in strata),
        tuple(
            Line(of, tuple(_n(n.get((of, s), none)) for s in strata))
            for of in dict.fromkeys(str(r["of"]) for r in rows)
        ),
        "tables/design.csv",
        (f"{formats.MISSING}: no number printed, or patients of this status not asked for.",)
        if none is None
        else (),
    )


def _n(n: int | None) -> Cell:
    return Cell(formats.MISSING if n is None else formats.count(int(n)))


# --- figures ---------------------------------------------------------------------------------------


def _colour(stratum: str) -> str:
    return COLOURS.get(DIFFERENCE if stratum == DIFFERENCE_MINUS else stratum, GREY)


def _panels(n: int, height: float) -> tuple[Figure, list[Any]]:
    """Figure with `n` panels of a height, `_PER_ROW` side by side."""
    rows = math.ceil(n / _PER_ROW)
    total = rows * height + 0.5
    figure = Figure(figsize=(WIDTH, total))
    axes = []
    for i in range(n):
        row, column = divmod(i, _PER_ROW)
        left = 0.055 + column * 0.945 / _PER_ROW
        bottom = (total - (row + 1) * height + 0.46) / total
        axes.append(figure.add_axes((left, bottom, 0.945 / _PER_ROW - 0.045, (height - 0.8) / total)))
    return figure, axes


def _key(figure: Figure, strata: Sequence[str], line: bool) -> None:
    handles = [
        Line2D(
            [],
            [],
            color=_colour(s),
            lw=1.4 if line else 0,
            marker="" if line else MARKERS.get(s, "o"),
            label=s,
        )
        for s in strata
    ]
    figure.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0.05, 0.0), ncols=len(strata), frameon=False
    )


def _strata(rows: Sequence[Row]) -> list[str]:
    found = {_stratum(r) for r in rows} - {""}
    known = [s for s in (HR_POSITIVE, HR_NEGATIVE, DIFFERENCE, DIFFERENCE_MINUS) if s in found]
    return [*known, *sorted(found - set(known))]


def _title(group: Group) -> str:
    return f"{_words(group[0])}, {SCOPES[group[1]]}"


def rank_ecdf(results: Results) -> Drawing | None:
    """Draw each line's distribution of ranks less the uniform one, in its bands."""
    rows = results.rows("rank_ecdf")
    if not rows:
        return None
    groups = _groups(rows)
    figure, axes = _panels(len(groups), 2.1)
    out = 0
    n_lines = 0
    for group, own_axes in zip(groups, axes, strict=True):
        own = [r for r in rows if (r["estimand"], r["scope"]) == group]
        lines: dict[tuple[Any, ...], list[Row]] = {}
        for r in own:
            lines.setdefault((r["outcome"], _stratum(r), r["cohort"]), []).append(r)
        widest = max(lines.values(), key=lambda line: line[0]["n"])
        at = [r["at"] for r in widest]
        for name, colour in (("_all", BAND), ("", PALE)):
            lower, upper = ([r[f"{end}{name}"] - r["at"] for r in widest] for end in ("lower", "upper"))
            own_axes.fill_between(at, lower, upper, color=colour, lw=0, zorder=0)
        own_axes.axhline(0, color=GREY, lw=0.6, zorder=1)
        for (_, stratum, _), line in lines.items():
            off = [r["below"] - r["at"] for r in line]
            own_axes.plot(at, off, color=_colour(stratum), lw=0.6, alpha=0.75, zorder=2)
            n_lines += 1
            out += any(not r["lower_all"] <= r["below"] <= r["upper_all"] for r in line)
        own_axes.set_xlim(0, 1)
        own_axes.set_title(_title(group), fontsize=7.5, fontweight="bold", loc="left")
        own_axes.set_xlabel("rank of the truth", fontsize=7)
    n = max(r["n"] for r in rows)
    strata = _strata(rows)
    if strata:
        _key(figure, strata, line=True)
    caption = (
        "Ranks of the truth among posterior draws: empirical distribution less the uniform one, one line for each "
        f"outcome (and cohort), over {formats.count(n)} data sets. Dark band: 95 % of calibrated lines stay inside, as "
        "a whole; pale band: all lines of the figure do, with a probability of 95 % at least. A hump above 0 is a "
        "posterior too high, one below too low; an S that first rises is one too narrow."
    )
    alt = f"{n_lines} lines of rank distributions in {len(groups)} panels; {out} leave the band of all lines."
    return Drawing("rank_ecdf", caption, alt, image_of(results, figure))


def coverage(results: Results) -> Drawing | None:
    """Share of intervals that hold the truth, by estimand."""
    rows = results.rows("coverage")
    if not rows:
        return None
    groups = _groups(rows)
    strata = _strata(rows)
    height = 1.3 + 0.34 * len(groups)
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0.30, 0.85 / height, 0.55, (height - 1.1) / height))
    nominal = results.study.interval
    axes.axvline(nominal, color=GREY, lw=0.8, zorder=1)
    for y, group in enumerate(groups):
        if y % 2:
            axes.axhspan(y - 0.5, y + 0.5, color=BAND, lw=0, zorder=0)
        own = [r for r in rows if (r["estimand"], r["scope"]) == group]
        for i, row in enumerate(own):
            place = y + 0.22 * (i - (len(own) - 1) / 2)
            reach = 2 * max(row["se"] or 0.0, math.sqrt(nominal * (1 - nominal) / row["n"]))
            colour = _colour(_stratum(row))
            axes.plot([row["covered"] - reach, row["covered"] + reach], [place, place], color=colour, lw=1.1)
            axes.plot(
                [row["covered"]], [place], marker=MARKERS.get(_stratum(row), "o"), ms=4, color=colour, lw=0
            )
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_yticks(range(len(groups)))
    axes.set_yticklabels([_title(group) for group in groups])
    axes.set_xlabel(f"share of {formats.level(nominal)} credible intervals that hold the truth")
    if strata:
        _key(figure, strata, line=False)
    caption = (
        f"Coverage: share of {formats.level(nominal)} credible intervals that hold the truth, with two standard errors "
        "(from the spread between data sets, and no less than those of independent intervals at the nominal share)."
    )
    alt = "; ".join(f"{_title((r['estimand'], r['scope']))} {_stratum(r)} {r['covered']:.3f}" for r in rows)
    return Drawing("coverage", caption, alt, image_of(results, figure))


def power(results: Results) -> Drawing | None:
    """How often effects of a size are seen."""
    rows = _power_rows(results)
    if not rows:
        return None
    groups = _groups(rows)
    sizes = _sizes(rows)
    strata = _strata(rows)
    figure, axes = _panels(len(groups), 2.1)
    for group, own_axes in zip(groups, axes, strict=True):
        for stratum in [*strata, ""]:
            own = [r for r in rows if (r["estimand"], r["scope"], _stratum(r)) == (*group, stratum)]
            x = [sizes.index((r["at_least"], r["below"])) for r in own]
            seen = [r["seen"] for r in own]
            colour = _colour(stratum)
            own_axes.plot(x, seen, color=colour, lw=1.1, marker=MARKERS.get(stratum, "o"), ms=3.5)
            for at, row in zip(x, own, strict=True):
                reach = 2 * (row["se"] or 0.0)
                ends = (max(row["seen"] - reach, 0.0), min(row["seen"] + reach, 1.0))
                own_axes.plot([at, at], ends, color=colour, lw=0.7)
        own_axes.set_ylim(0, 1.02)
        own_axes.set_xlim(-0.3, len(sizes) - 0.7)
        own_axes.set_xticks(range(len(sizes)))
        own_axes.set_xticklabels([_size_in_words(*size).replace(" to ", "-") for size in sizes], fontsize=6)
        own_axes.set_title(_title(group), fontsize=7.5, fontweight="bold", loc="left")
        own_axes.set_xlabel("true ratio, or its inverse", fontsize=7)
    if strata:
        _key(figure, strata, line=True)
    caption = (
        "What these data can show: how often a true effect is seen (credible interval excludes no effect, on the "
        "right side), by its size, with two standard errors. Averaged over the model's priors and over outcomes."
    )
    alt = (
        f"Power of {len(groups)} estimands by size of the true ratio; every number is in the table of power."
    )
    return Drawing("power", caption, alt, image_of(results, figure))
