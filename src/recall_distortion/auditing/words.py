"""The command ``audit``: its words, and what it prints."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from recall_distortion.auditing.comparison import BY_CLASS
from recall_distortion.auditing.decision import (
    BEYOND,
    UNDECIDED,
    WITHIN,
    Finding,
    Limits,
    images_needed,
    worst,
)
from recall_distortion.auditing.of_models import Audit, audit
from recall_distortion.auditing.of_study import audit_replicate
from recall_distortion.auditing.reading import read
from recall_distortion.system.errors import AuditError
from recall_distortion.vocabulary import DEINTENSIFICATION, INCONCLUSIVE, INTENSIFICATION

_DESCRIPTION = """
Compare a model's predictions before and after it was changed, class by class, on one test set.

FILE is .npy, .npz, .csv or .parquet; FILE:NAME names one of several columns or arrays. Labels are
integers or texts. Predictions are the classes, or probabilities or logits with a column a class.
Give --after several times for several candidates, as NAME=FILE.

  recall-distortion audit --labels y.npy --before dense.npy --after pruned.npy --max-drop 0.02
  recall-distortion audit --labels t.csv:label --before t.csv:old --after int8=t.csv:int8
  recall-distortion audit results/digits --network digits/cnn/small --method magnitude --ratio 10

Exit status: 0 within all limits, or none given; 3 beyond one; 4 this test set cannot tell; 2 the
input is wrong.
"""
STATUS = {WITHIN: 0, BEYOND: 3, UNDECIDED: 4}
#: Classes that are printed: those that lost most.
_PRINTED = 20


def run(words: Sequence[str], prog: str) -> int:
    """Audit what the words name, print and write it, and return the exit status."""
    options = _parser(prog).parse_args(words)
    limits = Limits(options.max_drop, options.max_excess, options.max_alpha)
    found = _of_files(options) if options.study is None else _of_study(options)
    findings = found.findings(limits)
    print(_text(found, findings, limits))
    if options.out is not None:
        found.save(options.out, limits)
        print(f"\nThe report: {(options.out / 'report.html').resolve()}")
    decision = worst([finding.decision for finding in findings])
    if decision == UNDECIDED and options.undecided_passes:
        return STATUS[WITHIN]
    return STATUS[decision]


def _of_study(options: argparse.Namespace) -> Audit:
    """Audit one replicate of a study."""
    if options.labels or options.before or options.after or options.control:
        raise AuditError("name a study or files, not both")
    if options.method is None:
        raise AuditError(f"{options.study}: name the method to audit with --method")
    return audit_replicate(
        options.study,
        method=options.method,
        ratios=options.ratio,
        seed=options.seed,
        network=options.network,
        level=options.level,
    )


def _of_files(options: argparse.Namespace) -> Audit:
    """Audit the predictions in files."""
    for name in ("labels", "before", "after"):
        if not getattr(options, name):
            raise AuditError(
                f"--{name} is missing: give --labels, --before and --after, or a study"
            )
    groups = dict(_named(given, "--groups") for given in options.groups)
    return audit(
        read(options.labels),
        read(options.before, scores=True),
        {name: read(path, scores=True) for name, path in _candidates(options.after).items()},
        control=None if options.control is None else read(options.control, scores=True),
        classes=None if options.classes is None else _class_names(options.classes),
        groups={name: read(path) for name, path in groups.items()},
        keys=None if options.keys is None else read(options.keys),
        level=options.level,
        top_k=options.top_k,
        threshold=options.threshold,
        scores=options.scores,
    )


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=_DESCRIPTION.strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_study(parser.add_argument_group("a study of this project in place of files"))
    _add_files(parser.add_argument_group("files"))
    _add_reading(parser.add_argument_group("reading predictions"))
    _add_deciding(parser.add_argument_group("deciding"))
    return parser


def _add_study(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "study", nargs="?", metavar="STUDY", help="its folder, such as results/digits"
    )
    group.add_argument("--method", metavar="NAME", help="the compression method")
    group.add_argument(
        "--ratio",
        type=float,
        action="append",
        default=[],
        metavar="X",
        help="its ratio; again for another one (default: all)",
    )
    group.add_argument(
        "--seed", type=int, default=0, metavar="N", help="the replicate (default: 0)"
    )
    group.add_argument(
        "--network",
        default="",
        metavar="NAME",
        help="such as digits/cnn/small, if there are several",
    )


def _add_files(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--labels", metavar="FILE", help="the true classes")
    group.add_argument("--before", metavar="FILE", help="the model as it was")
    group.add_argument(
        "--after",
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help="the changed model; again for another candidate",
    )
    group.add_argument(
        "--control",
        metavar="FILE",
        help="the model before after the same further training, without compression",
    )
    group.add_argument(
        "--classes",
        metavar="NAMES",
        help="the classes' names in the order of their numbers: separated by commas, or a file "
        "with one a line",
    )
    group.add_argument(
        "--groups",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="another grouping of the images, such as sensor=FILE; again for more",
    )
    group.add_argument("--keys", metavar="FILE", help="the images' names, each once")
    group.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where to write report.html, tables and summary.json",
    )


def _add_reading(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--top-k", type=int, default=1, metavar="K", help="right if among the K highest scores"
    )
    group.add_argument(
        "--threshold", type=float, metavar="X", help="scores of class 1 of two: 1 from X on"
    )
    group.add_argument(
        "--scores",
        choices=("auto", "logits"),
        default="auto",
        help="logits: the highest score is the answer, whatever they sum to",
    )


def _add_deciding(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--max-drop", type=_limit, metavar="X", help="the loss of recall that any class may have"
    )
    group.add_argument(
        "--max-excess", type=_limit, metavar="X", help="the same beyond the loss of all images"
    )
    group.add_argument("--max-alpha", type=_limit, metavar="X", help="the slope that it may have")
    group.add_argument(
        "--level", type=float, default=0.99, metavar="X", help="of all intervals (default: 0.99)"
    )
    group.add_argument(
        "--undecided-passes", action="store_true", help="exit status 0 in place of 4"
    )


def _limit(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not 0 < found < float("inf"):
        raise argparse.ArgumentTypeError(f"a number above 0, not {text!r}")
    return found


def _named(given: str, option: str) -> tuple[str, str]:
    name, equals, path = given.partition("=")
    if not (name and equals and path):
        raise AuditError(f"{option} {given}: give it as NAME=FILE")
    return name, path


def _candidates(given: Sequence[str]) -> dict[str, str]:
    """Return the candidates' files by name, which is the file's where none is given."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or Path(text).exists():
            path = text
            stem, _, column = text.rpartition(":")
            name = column if stem and Path(stem).suffix else Path(text).stem
        if name in found:
            raise AuditError(f"--after: two candidates are called {name}; name them as NAME=FILE")
        found[name] = path
    return found


def _class_names(given: str) -> list[str]:
    path = Path(given)
    if path.is_file():
        return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    return [name.strip() for name in given.split(",")]


def _text(found: Audit, findings: Sequence[Finding], limits: Limits) -> str:
    """Return what the command prints: warnings, a table a candidate, what the limits say."""
    parts = [f"warning: {words}" for words in found.warnings]
    for _, whole in found.tables["models"].iterrows():
        parts.append(_of_candidate(found, whole))
        own = [finding for finding in findings if finding.candidate == whole["candidate"]]
        if own:
            parts.append(_decided(own, limits, found.level))
    return "\n".join(parts)


def _of_candidate(found: Audit, whole: pd.Series) -> str:
    name, level = whole["candidate"], f"{100 * found.level:g} %"
    groups = found.tables["groups"]
    rows = groups[(groups["candidate"] == name) & (groups["grouping"] == BY_CLASS)]
    shown = rows.sort_values("change", kind="stable").head(_PRINTED)
    table = pd.DataFrame(
        {
            "class": shown["name"],
            "images": shown["images"],
            "before": shown["before"].map("{:.3f}".format),
            "after": shown["after"].map("{:.3f}".format),
            "change": shown["change"].map("{:+.3f}".format),
            level: _ends(shown, "low", "high"),
            "all classes": _ends(shown, "simultaneous_low", "simultaneous_high"),
            "says": shown["verdict"],
        }
    )
    if shown["beyond"].notna().any():
        table["beyond control"] = shown["beyond"].map("{:+.3f}".format)
        table["beyond says"] = shown["beyond_verdict"]
    lines = [
        "",
        f"{name}: accuracy {whole['before']:.4f} -> {whole['after']:.4f}, change "
        f"{whole['change']:+.4f} ({whole['low']:+.4f} to {whole['high']:+.4f}); "
        f"{whole['flipped_share']:.1%} of answers differ, {whole['lost']:.0f} lost, "
        f"{whole['gained']:.0f} gained",
        _slope(whole),
        "",
        table.to_string(index=False),
    ]
    if len(rows) > len(shown):
        lines.append(f"... and {len(rows) - len(shown)} classes that lost less")
    return "\n".join(lines)


def _ends(rows: pd.DataFrame, low: str, high: str) -> list[str]:
    return [f"{one:+.3f} to {other:+.3f}" for one, other in zip(rows[low], rows[high], strict=True)]


_SAID = {
    INTENSIFICATION: "the gaps between the classes grew",
    DEINTENSIFICATION: "the gaps between the classes shrank",
    INCONCLUSIVE: "whether the gaps between the classes grew or shrank cannot be told",
}


def _slope(whole: pd.Series) -> str:
    if said := _SAID.get(whole["alpha_verdict"]):
        ends = f"{whole['alpha_low']:.2f} to {whole['alpha_high']:.2f}"
        return f"alpha {whole['alpha']:.2f} ({ends}): {said}{_beyond_control(whole)}"
    return "alpha is not known: the classes differ too little before, for this test set"


def _beyond_control(whole: pd.Series) -> str:
    if pd.isna(whole["alpha_beyond"]):
        return ""
    ends = f"{whole['alpha_beyond_low']:+.2f} to {whole['alpha_beyond_high']:+.2f}"
    return (
        f"\n  the control's is {whole['alpha_control']:.2f}; beyond it "
        f"{whole['alpha_beyond']:+.2f} ({ends})"
    )


def _decided(findings: Sequence[Finding], limits: Limits, level: float) -> str:
    decision = worst([finding.decision for finding in findings])
    decisive = [finding for finding in findings if finding.decision == decision]
    lines = ["", f"decision: {decision}"]
    if decision != WITHIN:
        lines += [f"  {finding}" for finding in decisive[:5]]
        lines += [f"  ... and {len(decisive) - 5} more"] if len(decisive) > 5 else []
    if decision == UNDECIDED and limits.drop is not None:
        lines.append(
            f"  A class needs {images_needed(limits.drop, level)} images to show, by no change at "
            f"all, a loss below {limits.drop:g}."
        )
    return "\n".join(lines)
