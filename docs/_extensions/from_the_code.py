"""Parts of pages that are made from the code as pages are read, so that no page can be out of step with it.

A line of a page that is ``<!-- from the code: NAME ARGUMENTS -->`` becomes Markdown: the priors of a model, options of
the command, keys of a study file. A name that is not among `PARTS`, and a model that is not there, fail the build.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

import bayes_her2
from bayes_her2.bayesian.model import (
    ALTERNATIVES,
    MEASUREMENT,
    MODELS,
    MODELS_OF_RESULTS,
    load_model,
    main_model_of,
)
from bayes_her2.cli import app as command
from bayes_her2.comparison import VERDICTS
from bayes_her2.evidence.schema import documented
from bayes_her2.inputs import schema_markdown
from bayes_her2.workflow.universes import UNIVERSES

ROOT = Path(bayes_her2.__file__).parents[1]
CALIBRATION = ROOT / "tests" / "reference" / "calibration"
LINE = re.compile(r"^<!-- from the code: ([a-z-]+)((?: [\w./-]+)*) -->$", re.MULTILINE)
INTERVAL = 0.95


def cell(text: object) -> str:
    """Return a text as a cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""
    heads = list(header)
    lines = [heads, ["---"] * len(heads), *([cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def question(name: str) -> str:
    """Return a model's question, and where the model is."""
    return f"> {load_model(name).QUESTION}\n\n`{name}`, in `models/{name}.py`."


def estimands(name: str) -> str:
    """Return a model's estimands, each with its meaning and unit."""
    return table(
        ("estimand", "meaning and unit"), ((f"`{e}`", m) for e, m in load_model(name).ESTIMANDS.items())
    )


def priors(name: str) -> str:
    """Return a model's priors with their reasons; of an alternative, those in which it differs from its main model."""
    model, main = load_model(name), main_model_of(name)
    mine: Mapping[str, Any] = model.PRIORS
    shared: Mapping[str, Any] = load_model(main).PRIORS if main != name else {}
    own = {n: p for n, p in mine.items() if shared.get(n) != p}
    parts = []
    if own:
        parts.append(
            table(
                ("prior", f"what it says ({INTERVAL:.0%} of it)", "reason"),
                (
                    (f"`{n}`: {p}", _without_percent(model.reader_scale(n, p, INTERVAL)), p.why)
                    for n, p in own.items()
                ),
            )
        )
    if main != name:
        kept = [n for n in mine if n in shared and n not in own]
        gone = [n for n in shared if n not in mine]
        link = f"[`{main}`]({main}.md#priors)"
        if kept:
            parts.append(
                f"{len(kept)} priors are those of {link}."
                if own
                else f"All {len(kept)} priors are those of {link}."
            )
        if gone:
            parts.append(f"Not in this model: {', '.join(f'`{n}`' for n in gone)}.")
    return "\n\n".join(parts)


def _without_percent(words: str) -> str:
    return words.removeprefix(f"{INTERVAL:.0%}: ").removeprefix(f"{INTERVAL:.0%} of ")


def twin(name: str) -> str:
    """Return what a model's frequentist twin is, or why there is none."""
    named = load_model(name).TWIN
    if named.startswith("none:"):
        return f"There is none: {named.removeprefix('none:').strip()}."
    return (
        f"The twin is {{py:func}}`bayes_her2.frequentist.{named}`. It takes the same tumours (the same fingerprint) "
        "and gives rows of the same estimands."
    )


def other_priors(name: str) -> str:
    """Return the other priors that a model is fitted under by `sensitivity`."""
    listed: Any = load_model(name)
    return table(
        ("`--only`", "in figures", "what differs"),
        ((f"`{o.name}`", o.title, o.what) for o in listed.OTHER_PRIORS),
    )


def universes() -> str:
    """Return the universes of `multiverse`."""
    return table(("universe", "what differs"), ((f"`{u.name}`", u.what) for u in UNIVERSES))


def models(kind: str) -> str:
    """Return the models of a kind, each with its question and a link to its page."""
    names = {
        "run": MODELS,
        "results": MODELS_OF_RESULTS,
        "measurement": (MEASUREMENT,),
        **ALTERNATIVES["abundance"],
    }[kind]
    return table(("model", "question"), ((f"[`{n}`]({n}.md)", load_model(n).QUESTION) for n in names))


def verdicts() -> str:
    """Return the verdicts of posterior against twin."""
    return table(("verdict", "when"), ((f"*{v}*", when) for v, when in VERDICTS.items()))


def commands() -> str:
    """Return the reference of the command, as its own help has it."""
    text = command.generate_docs(output_format="markdown")
    text = text[text.index("## bayes-her2 ") :]
    text = re.sub(r" \*\[default: (?:\(\)|False|True|\('html',\))\]\*", "", text)
    text = re.sub(r"^(bayes-her2 \w+) -m \S+", r"\1", text, flags=re.MULTILINE)  # how Python was started
    return re.sub(r"^\*\*(\w+)\*\*:$", r"\1:", text, flags=re.MULTILINE)


def study_file() -> str:
    """Return the keys of a study file, block by block."""
    return schema_markdown().replace("\n### `", "\n## `").replace("### `", "## `", 1)


def evidence_columns() -> str:
    """Return the columns of an evidence table."""
    return documented()


def estimates_columns() -> str:
    """Return the columns of `estimates.csv`, with what the source says of each."""
    source = (ROOT / "bayes_her2" / "estimates.py").read_text(encoding="utf-8")
    block = source.split("DTYPES: dict[str, str] = {")[1].split("\n}")[0]
    rows = re.findall(r'"(\w+)": "(\w+)",(?:  # (.*))?', block)
    more = {
        "model": "the model file",
        "point": "median of the posterior; the twin's estimate",
        "lower": "lower limit of the interval",
        "upper": "upper limit of the interval",
        "interval_prob": "probability, or level, of the interval",
        "status": "observed, borrowed, prior-only, not estimable or separated",
        "p_in_rope": "posterior probability of the region of practical equivalence",
        "p_value": "of the twin, two-sided",
        "p_adjusted": "of the twin, Bonferroni within its family",
        "fingerprint": "of the analysis set: equal on both sides",
    }
    return table(("column", "type", "meaning"), ((f"`{n}`", t, said or more[n]) for n, t, said in rows))


def calibrated() -> Iterable[tuple[str, Mapping[str, Any], pd.DataFrame, pd.DataFrame]]:
    """Return each calibration kept with the tests: model, what is known of it, coverage, ranks."""
    for folder in sorted(CALIBRATION.iterdir()):
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        yield folder.name, about, pd.read_csv(folder / "coverage.csv"), pd.read_csv(folder / "ranks.csv")


def calibration() -> str:
    """Return one row for each model that was calibrated at full size."""
    rows = []
    for name, about, coverage, ranks in calibrated():
        troubled = about.get("fits with a divergent transition or a high R-hat", 0)
        rows.append(
            (
                f"[`{name}`](models/{name}.md)",
                about["data_sets"],
                f"{_rounded(coverage['covered'].min())} to {_rounded(coverage['covered'].max())}",
                f"{coverage['se'].min():.3f} to {coverage['se'].max():.3f}",
                f"{len(ranks)}",
                f"{ranks['p_holm'].min():.2g}",
                troubled,
                about["date"],
            )
        )
    return table(
        (
            "model",
            "data sets",
            "coverage of 95 % intervals, lowest to highest row",
            "its standard error",
            "rank distributions",
            "smallest P (Holm)",
            "fits in trouble",
            "date",
        ),
        rows,
    )


def _rounded(share: float) -> str:
    """Three decimals, halves away from 0: the text of a number such as 0.9275 is not below it."""
    return f"{share + 1e-9:.3f}"


def coverage(name: str) -> str:
    """Return the coverage of a model's intervals by estimand, scope and stratum."""
    found = {n: frame for n, _, frame, _ in calibrated()}[name]
    return table(
        ("estimand", "scope", "stratum", "intervals", "hold the truth", "standard error"),
        (
            (f"`{r['estimand']}`", r["scope"], r["stratum"], r["n"], _rounded(r["covered"]), f"{r['se']:.3f}")
            for _, r in found.iterrows()
        ),
    )


def calibrated_coverages() -> str:
    """Return the coverage of every calibrated model, a section each."""
    return "\n\n".join(f"### `{name}`\n\n{coverage(name)}" for name, *_ in calibrated())


def results_tables() -> str:
    """Return the tables of a results folder, with their columns."""
    listed = pd.read_csv(ROOT / "docs" / "reference" / "tables.csv", keep_default_na=False)
    parts = []
    for section, rows in listed.groupby("section", sort=False):
        parts.append(f"### {section}")
        parts += [
            f"`tables/{r['file']}`\n: {r['rows']}\n\n  Columns: {', '.join(f'`{c}`' for c in r['columns'].split(';'))}."
            for _, r in rows.iterrows()
        ]
    return "\n\n".join(parts)


def notebooks(place: str) -> str:
    """Return the table of contents of the notebooks that there are."""
    found = sorted(Path(place).glob("*.ipynb"))
    if not found:
        return "There are no notebooks in this copy of the repository."
    names = "\n".join(f"notebooks/{path.stem}" for path in found)
    return f"```{{toctree}}\n:maxdepth: 1\n\n{names}\n```"


PARTS: Mapping[str, Callable[..., str]] = {
    "calibration": calibration,
    "calibrated-coverages": calibrated_coverages,
    "commands": commands,
    "estimands": estimands,
    "estimates-columns": estimates_columns,
    "evidence-columns": evidence_columns,
    "models": models,
    "other-priors": other_priors,
    "priors": priors,
    "question": question,
    "results-tables": results_tables,
    "study-file": study_file,
    "twin": twin,
    "universes": universes,
    "verdicts": verdicts,
}


def filled(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the parts of a page in their places."""

    def part(match: re.Match[str]) -> str:
        name, arguments = match.group(1), match.group(2).split()
        if name == "notebooks":
            return notebooks(str(Path(app.srcdir) / "tutorial" / "notebooks"))
        if name not in PARTS:
            raise ExtensionError(
                f"{page}: nothing from the code is named {name!r}; known: {', '.join(PARTS)}."
            )
        return PARTS[name](*arguments)

    if (Path(app.srcdir) / f"{page}.md").is_file():
        source[0] = LINE.sub(part, source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Fill pages as they are read."""
    app.connect("source-read", filled)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
