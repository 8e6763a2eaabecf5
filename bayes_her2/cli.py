"""Command line: each command calls one public function.

Exit codes: 0 done, 1 no results (the analysis refused, or a process was ended from outside), 2 bad input or no room to
write, 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

from cyclopts import App, CycloptsError, Parameter, validators
from cyclopts.completion.detect import ShellDetectionError
from rich.console import Console
from rich.markup import escape

from bayes_her2 import __version__, interrupts
from bayes_her2.bayesian.model import ALTERNATIVES, MODELS, MODELS_OF_RESULTS, alternatives_to
from bayes_her2.errors import BayesHer2Error, DataError
from bayes_her2.evidence.audit_tables import Settings
from bayes_her2.report import DOCUMENTS, Format, render_report, require_every_item
from bayes_her2.terminal import (
    as_json,
    show_audit,
    show_bundle,
    show_calibration,
    show_checked,
    show_comparison,
    show_measurement,
    show_multiverse,
    show_run,
)
from bayes_her2.workflow.audit import audit_claims
from bayes_her2.workflow.bundle import bundle_results
from bayes_her2.workflow.calibrate import CELL_TYPES, REPLICATES, calibrate_model
from bayes_her2.workflow.calibrate import SEED as CALIBRATION_SEED
from bayes_her2.workflow.check import check_study
from bayes_her2.workflow.compare import DEFAULT_KIND, compare_study
from bayes_her2.workflow.measure import IMPUTATIONS, measure_study
from bayes_her2.workflow.multiverse import MultiverseResult, multiverse_study
from bayes_her2.workflow.progress import Bars
from bayes_her2.workflow.run import RunResult, run_demo, run_study
from bayes_her2.workflow.sensitivity import sensitivity_study
from bayes_her2.workflow.universes import BY_NAME, MAIN, PRIOR_UNIVERSES

Shell = Literal["bash", "zsh", "fish", "powershell"]

OTHER_PRIORS = tuple(universe.name for universe in PRIOR_UNIVERSES if universe.name != MAIN)

BAD_INPUT = 2
INTERRUPTED = 130
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}

app = App(
    name="bayes-her2",
    version=__version__,
    suppress_keyboard_interrupt=False,  # `exit_code` says what is kept
    help="HER2 expression and immune infiltration: hierarchical Bayesian models, each beside its frequentist twin.",
)

Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"], negative="", help="Print nothing but errors.")]
Json = Annotated[
    bool,
    Parameter(
        name="--json",
        negative="",
        help="Print one JSON object about the result, and nothing else but errors.",
    ),
]
Only = Annotated[
    tuple[str, ...],
    Parameter(
        name="--only",
        negative="",
        help=f"Fit and report this model alone (may be repeated): {', '.join(MODELS)}; and, where the study asks for "
        f"published results, {', '.join(MODELS_OF_RESULTS)}. Default: those of the study.",
    ),
]
AtOnce = Annotated[
    int | None,
    Parameter(
        name="--at-once",
        validator=validators.Number(gte=1),
        help="Models to fit at the same time, 1.1 GiB of memory each on 737 tumours. Default: one for each core.",
    ),
]
Scheduler = Annotated[
    str,
    Parameter(
        name="--scheduler",
        help="Address of a Dask scheduler (tcp://HOST:8786) whose workers do the fits, each in one thread. They see "
        "the results folder. Default: this machine.",
    ),
]
Strict = Annotated[
    bool,
    Parameter(
        name="--strict",
        negative="",
        help="End with an error (exit code 1) while an item of the reporting checklist is absent.",
    ),
]
Formats = Annotated[
    tuple[Format, ...],
    Parameter(
        name="--format",
        negative="",
        help="Write the report in this format too (may be repeated): docx (report.docx, for Word), latex "
        "(latex/report.tex and its figures), pdf (report.pdf, the page as Chromium prints it). html is always written.",
    ),
]
Out = Annotated[Path, Parameter(name=["--out", "-o"], help="Results folder.")]


@app.command
def demo(
    *,
    out: Out = Path("results/demo"),
    only: Only = (),
    formats: Formats = ("html",),
    at_once: AtOnce = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Simulate the seed study's three cohorts and analyse them from files to report."""
    console = _console(quiet or json)
    with Bars(console) as bars:
        result = run_demo(
            out, only=only, formats=formats, at_once=_at_once(at_once), say=bars.say, draws=bars.draws
        )
    _finish(console, result, json)
    _say_documents(console, result.folder, formats)


@app.command
def check(study: Path, *, quiet: Quiet = False) -> None:
    """Validate a study file and its data, and show what would be analysed. Nothing is fitted or written.

    Parameters
    ----------
    study
        The study file (TOML).
    """
    show_checked(_console(quiet), check_study(study))


@app.command
def run(
    study: Path,
    *,
    out: Out,
    only: Only = (),
    formats: Formats = ("html",),
    at_once: AtOnce = None,
    strict: Strict = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Analyse a study from its files to its report. Run again to resume: finished fits are reused.

    Parameters
    ----------
    study
        The study file (TOML).
    """
    console = _console(quiet or json)
    with Bars(console) as bars:
        result = run_study(
            study,
            out,
            only=only,
            formats=formats,
            at_once=_at_once(at_once),
            say=bars.say,
            draws=bars.draws,
        )
    _finish(console, result, json)
    _say_documents(console, result.folder, formats)
    if strict:
        require_every_item(result.folder)


@app.command
def report(
    folder: Path, *, formats: Formats = ("html",), strict: Strict = False, quiet: Quiet = False
) -> None:
    """Render the report of a results folder again, without sampling. Documents of an earlier rendering are replaced.

    Parameters
    ----------
    folder
        A folder that `run` or `demo` wrote.
    """
    page = render_report(folder, formats=formats, at_once=_at_once(None))
    console = _console(quiet)
    console.print(f"Report: {escape(str(page))}")
    _say_documents(console, folder, formats)
    if strict:
        require_every_item(folder)


@app.command
def bundle(
    folder: Path,
    *,
    out: Annotated[
        Path | None,
        Parameter(name=["--out", "-o"], help="The zip file. Default: beside the folder, with its name."),
    ] = None,
    patient_rows: Annotated[
        bool,
        Parameter(
            negative="",
            help="Take in the tables that have rows of single tumours. Input files are never taken in.",
        ),
    ] = False,
    draws: Annotated[
        bool, Parameter(negative="--no-draws", help="Take in the posterior draws: most of the size.")
    ] = True,
    quiet: Quiet = False,
) -> None:
    """Put the results of a run into one zip file for an archive, with a script that renders them without sampling.

    Parameters
    ----------
    folder
        A folder that `run` or `demo` wrote.
    """
    console = _console(quiet)
    with Bars(console) as bars:
        made = bundle_results(
            folder, out, patient_rows=patient_rows, draws=draws, at_once=_at_once(None), say=bars.say
        )
    show_bundle(console, made)


@app.command
def compare(
    study: Path,
    *,
    out: Out,
    model: Annotated[
        tuple[str, ...],
        Parameter(
            name="--model",
            negative="",
            help=f"Alternative to compare (may be repeated): {', '.join(alternatives_to('abundance'))}; or "
            f"all of a kind: {', '.join(ALTERNATIVES['abundance'])}. Default: {DEFAULT_KIND}.",
        ),
    ] = (),
    folds: Annotated[
        int | None,
        Parameter(
            help="Folds of an exact cross-validation of all models by refits; 0 for none. Default: 5 for the models "
            "whose quick one cannot be trusted (Pareto k) beside the best and the main one.",
        ),
    ] = None,
    cohorts_out: Annotated[
        bool,
        Parameter(
            help="Predict each cohort from the others, by refits: main model and likelihoods named by --model.",
            negative="--no-cohorts-out",
        ),
    ] = True,
    at_once: AtOnce = None,
    scheduler: Scheduler = "",
    quiet: Quiet = False,
) -> None:
    """Fit the main model and its alternatives to the same tumours, and compare how well they predict a tumour.

    Run again to resume: finished fits and scores are reused.

    Parameters
    ----------
    study
        The study file (TOML).
    """
    console = _console(quiet)
    with Bars(console) as bars:
        result = compare_study(
            study,
            out,
            models=model,
            folds=folds,
            cohorts_out=cohorts_out,
            at_once=_at_once(at_once),
            scheduler=scheduler,
            say=bars.say,
            draws=bars.draws,
        )
    show_comparison(console, result)


@app.command
def multiverse(
    study: Path,
    *,
    out: Out,
    only: Annotated[
        tuple[str, ...],
        Parameter(
            name="--only",
            negative="",
            help=f"Universe to set against the main analysis (may be repeated): {', '.join(BY_NAME)}. Default: all "
            "that the study can have.",
        ),
    ] = (),
    at_once: AtOnce = None,
    scheduler: Scheduler = "",
    quiet: Quiet = False,
) -> None:
    """Analyse a study under every zero policy and other arguable choices, and say which conclusions change.

    Run again to resume: finished fits are reused.

    Parameters
    ----------
    study
        The study file (TOML).
    """
    _in_universes(multiverse_study, study, out, only, at_once, scheduler, quiet=quiet)


@app.command
def sensitivity(
    study: Path,
    *,
    out: Out,
    only: Annotated[
        tuple[str, ...],
        Parameter(
            name="--only",
            negative="",
            help=f"Priors to set against the main analysis's (may be repeated): {', '.join(OTHER_PRIORS)}. Default: "
            "all.",
        ),
    ] = (),
    at_once: AtOnce = None,
    scheduler: Scheduler = "",
    quiet: Quiet = False,
) -> None:
    """Fit the main model under other priors, and say which conclusions and verdicts rest on them.

    Run again to resume: finished fits are reused.

    Parameters
    ----------
    study
        The study file (TOML).
    """
    _in_universes(sensitivity_study, study, out, only, at_once, scheduler, quiet=quiet)


def _in_universes(
    made: Callable[..., MultiverseResult],
    study: Path,
    out: Path,
    only: tuple[str, ...],
    at_once: int | None,
    scheduler: str,
    *,
    quiet: bool,
) -> None:
    """Run a command that analyses a study in several ways, and print what changes."""
    console = _console(quiet)
    with Bars(console) as bars:
        result = made(
            study,
            out,
            only=only,
            at_once=_at_once(at_once),
            say=bars.say,
            draws=bars.draws,
            scheduler=scheduler,
        )
    show_multiverse(console, result)


@app.command
def measurement(
    study: Path,
    *,
    out: Out,
    joint: Annotated[
        bool,
        Parameter(
            negative="",
            help="Fit the joint model too, in which immune outcomes inform the latent HER2.",
        ),
    ] = False,
    imputations: Annotated[
        int, Parameter(help="Draws of the measurement's parameters that the immune slopes are fitted for.")
    ] = IMPUTATIONS,
    quiet: Quiet = False,
) -> None:
    """Estimate how well a study's measures tell HER2, and what the immune slopes are for HER2 itself.

    By default immune outcomes do not inform the measurement (two-stage, draws of its parameters). Run again to resume:
    finished fits are reused.

    Parameters
    ----------
    study
        The study file (TOML); [her2_measurement] names the measures beside the study's own.
    """
    console = _console(quiet)
    with Bars(console) as bars:
        result = measure_study(
            study, out, joint=joint, imputations=imputations, say=bars.say, draws=bars.draws
        )
    show_measurement(console, result)


@app.command
def calibrate(
    model: Annotated[
        str, Parameter(help="Model to hold against its own data: abundance, or a likelihood of its own.")
    ],
    *,
    out: Out,
    study: Annotated[
        Path | None,
        Parameter(
            help="Study whose tumours and priors are used; its outcomes are replaced. Default: the seed "
            f"study's cohorts, {len(CELL_TYPES)} cell types."
        ),
    ] = None,
    replicates: Annotated[int, Parameter(help="Data sets to simulate and fit.")] = REPLICATES,
    seed: Annotated[int, Parameter(help="Of truths, data and sampler.")] = CALIBRATION_SEED,
    at_once: Annotated[
        int | None,
        Parameter(
            help="Data sets to fit at the same time. Default: one for each core.",
            validator=validators.Number(gte=1),
        ),
    ] = None,
    scheduler: Scheduler = "",
    quiet: Quiet = False,
) -> None:
    """Simulate data from a model's own priors, fit each set, and see whether posteriors hold the truth as they should.

    Run again to resume: finished data sets are reused. Ask for more to add to them.
    """
    console = _console(quiet)
    with Bars(console) as bars:
        result = calibrate_model(
            model,
            out,
            study=study,
            replicates=replicates,
            seed=seed,
            at_once=_at_once(at_once),
            say=bars.say,
            scheduler=scheduler,
        )
    show_calibration(console, result)


@app.command
def audit(
    claims: Path | None = None,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="Folder for tables and page.")] = None,
    alpha: Annotated[float, Parameter(help="Level of significance, two-sided.")] = 0.05,
    plausible: Annotated[
        tuple[str, ...],
        Parameter(
            name="--plausible",
            negative="",
            help="Plausible size of a true effect for one measure, such as 'odds ratio=1.5' (may be repeated). The "
            "sceptic's and the enthusiast's prior follow from it.",
        ),
    ] = (),
    quiet: Quiet = False,
) -> None:
    """Audit published estimates with intervals: what survives, and what contradicts itself. No patient data.

    Parameters
    ----------
    claims
        Table of claims (CSV). Default: the claims of the seed study, which ship.
    """
    settings = Settings(alpha, dict(_plausible(text) for text in plausible))
    result = audit_claims(claims, out, settings=settings)
    show_audit(_console(quiet), result)


@app.command
def completion(*, shell: Shell | None = None, quiet: Quiet = False) -> None:
    """Let the shell complete commands and options: writes its script, and a line into its startup file that loads it.

    Parameters
    ----------
    shell
        The shell. Default: the one that this is run in.
    """
    try:
        script = app.install_completion(shell=shell)
    except ShellDetectionError:
        raise DataError(
            f"the shell that this is run in is not known: say --shell {' or '.join(get_args(Shell))}."
        ) from None
    except OSError as error:
        raise DataError(
            f"{error.filename}: the script for the shell cannot be written ({error.strerror}). Nothing else needs it: "
            "make room for it there, and run the same command again."
        ) from None
    _console(quiet).print(
        f"Commands and options are completed in new shells. Script: {script}", soft_wrap=True
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(exit_code(sys.argv[1:] if arguments is None else arguments))


def exit_code(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; errors go to standard error as plain messages."""
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        with interrupts.heard():
            app(list(arguments), exit_on_error=False, error_console=errors, result_action="return_value")
    except CycloptsError:
        return BAD_INPUT  # already explained by the command parser
    except BayesHer2Error as error:
        errors.print(escape(str(error)))
        return error.exit_code
    except KeyboardInterrupt:
        errors.print("Interrupted. Finished fits are kept: the same command takes up from there.")
        return INTERRUPTED
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        where = f" {error.filename}" if error.filename else ""
        errors.print(
            escape(
                f"Cannot write{where}: {error.strerror}. {_free(error.filename)}Nothing half-written was left behind; "
                "make room, or choose another --out, and run the same command again: finished fits are reused."
            )
        )
        return BAD_INPUT
    return 0


def _free(file: str | None) -> str:
    """Say what is free on the disk of a file that could not be written; '' where it is not known which that is."""
    if not file:
        return ""
    folder = next(p for p in Path(file).absolute().parents if p.exists())
    return f"Free on its disk: {shutil.disk_usage(folder).free / 2**20:.0f} MiB. "


def _console(quiet: bool) -> Console:
    return Console(quiet=quiet, highlight=False)


def _at_once(asked: int | None) -> int:
    return asked or os.cpu_count() or 1


def _say_documents(console: Console, folder: Path, formats: Iterable[Format]) -> None:
    """Say where the documents are that were asked for beside the page."""
    for name in dict.fromkeys(formats):
        if name in DOCUMENTS:
            console.print(f"{name}: {escape(str(folder / DOCUMENTS[name]))}")


def _finish(console: Console, result: RunResult, json: bool) -> None:
    if json:
        print(as_json(result))  # noqa: T201 - for a program that reads it, never wrapped or coloured
    else:
        show_run(console, result)


def _plausible(text: str) -> tuple[str, float]:
    """Read ``measure=value``."""
    measure, _, value = text.partition("=")
    try:
        return measure.strip(), float(value)
    except ValueError:
        raise DataError(f"--plausible {text!r}: write MEASURE=VALUE, such as 'odds ratio=1.5'.") from None
