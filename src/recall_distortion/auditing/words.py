"""The command ``audit``: its words, and what it prints."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import NoReturn

import numpy as np

from recall_distortion.auditing.arguments import ALL_SEEDS, folder, limit, seed
from recall_distortion.auditing.decision import BEFORE, BEYOND, UNDECIDED, WITHIN, Limits, decided
from recall_distortion.auditing.of_models import Audit, audit
from recall_distortion.auditing.of_study import audit_replicate
from recall_distortion.auditing.paths import check_out, class_names
from recall_distortion.auditing.rare_classes import read_counts
from recall_distortion.auditing.reading import Texts, parted, read
from recall_distortion.auditing.text import decision_text
from recall_distortion.auditing.thumbnails import read_images
from recall_distortion.system.errors import AuditError, UnwritableError

_DESCRIPTION = """
Compare a model's predictions before and after it was changed, class by class, on one test set.

FILE is .npy, .npz, .csv or .parquet; FILE:NAME names one of several columns or arrays. Labels are
integers or texts. Predictions are the classes, or probabilities or logits with a column a class.
Give --after several times for several candidates, as NAME=FILE. Several networks of each model,
network k after made of network k before, are arrays [networks, images], or columns or files by a
name with a star, "t.csv:old_*" and "t.csv:new_*", "run*_old.npy" and "run*_new.npy"; intervals then
speak of other seeds and other images.

  recall-distortion audit --labels y.npy --before dense.npy --after pruned.npy --max-drop 0.02
  recall-distortion audit --labels t.csv:label --before t.csv:old --after int8=t.csv:int8
  recall-distortion audit results/digits --network digits/cnn/small --method magnitude --ratio 10

Limits apply to each class's change from before to after; controls and groups do not affect them. A
class is within if its loss is at most the limit, judged by its own interval. It is beyond if its
loss is at least the limit, judged by the wider interval that holds for all classes together. What a
class "shows" in the table, loss or gain, goes by the interval of all classes together as well.

Exit status: 0 within all limits, or none given; 3 beyond one; 4 this test set cannot tell; 2 the
input is wrong.
"""
#: Arguments that messages name, as words of the command.
_OPTIONS = {
    "classes=": "--classes",
    "threshold=": "--threshold",
    "scores='logits'": "--scores logits",
}
STATUS = {WITHIN: 0, BEYOND: 3, UNDECIDED: 4}


def run(words: Sequence[str], prog: str) -> int:
    """Audit what the words name, print and write it, and return the exit status."""
    options = _parser(prog).parse_args(words)
    limits = Limits(options.max_drop, options.max_excess, options.max_alpha)
    if options.undecided_passes and not limits.asked:
        raise AuditError("--undecided-passes: there is no limit to decide by")
    if options.out is not None:
        check_out(options.out, _read(options))
    if options.images and options.out is None:
        raise AuditError("--images: the page shows them; say where to write it with --out FOLDER")
    found = _of_files(options) if options.study is None else _of_study(options)
    findings = found.findings(limits)
    # First, so that whoever stops reading what is printed has the files.
    if options.out is not None:
        _save(found, limits, options)
    print(found)
    if limits.asked:
        print(decision_text(found.tables, findings, limits, found.level, found.doubted))
    if options.out is not None:
        print(f"\nThe report: {(options.out / 'report.html').resolve()}")
    decision = decided(findings, found.doubted)
    # Answers that may be of other images are no matter of a test set's size.
    doubted = set(found.doubted) & {BEFORE, *found.candidates}
    if decision == UNDECIDED and options.undecided_passes and not doubted:
        return STATUS[WITHIN]
    return STATUS[decision]


def _read(options: argparse.Namespace) -> list[str]:
    """Return the files that the words name for reading."""
    given = [*_candidates(options.after).values()]
    given += [text.partition("=")[2] for text in options.groups]
    for name in ("labels", "before", "control", "classes", "keys", "images", "class_counts"):
        given.append(getattr(options, name))
    return [path for path in given if path]


def _save(found: Audit, limits: Limits, options: argparse.Namespace) -> None:
    try:
        found.save(
            options.out,
            max_drop=limits.drop,
            max_excess=limits.excess,
            max_alpha=limits.alpha,
            about=_about(options),
        )
    except (OSError, UnwritableError) as error:
        reason = getattr(error, "strerror", None) or error.__cause__ or error
        raise AuditError(f"--out {options.out}: cannot be written to: {reason}") from None


def _about(options: argparse.Namespace) -> dict[str, str]:
    """Return what the page says was audited."""
    if options.study is not None:
        replicate = "all seeds" if options.seed == ALL_SEEDS else f"seed {options.seed or 0}"
        return {"study": str(options.study), "replicate": replicate}
    files = {"labels": options.labels, "before": options.before, "control": options.control}
    files["training images of the classes"] = options.class_counts
    files |= {f"after, {name}": path for name, path in _candidates(options.after).items()}
    settings = {
        "an answer is right if": f"among the {options.top_k} highest scores"
        if options.top_k > 1
        else "",
        "threshold": "" if options.threshold is None else f"{options.threshold:g}",
    }
    return {key: value for key, value in (files | settings).items() if value}


def _of_study(options: argparse.Namespace) -> Audit:
    """Audit one replicate of a study."""
    given = (
        "labels",
        "before",
        "after",
        "control",
        "classes",
        "groups",
        "keys",
        "images",
        "class_counts",
        "threshold",
    )
    if any(getattr(options, name) for name in given) or (
        (options.top_k, options.scores) != (1, "auto")
    ):
        raise AuditError("name a study or files, not both; a study's classes and images are known")
    if options.method is None:
        raise AuditError(f"{options.study}: name the method to audit with --method")
    return audit_replicate(
        options.study,
        method=options.method,
        ratios=options.ratio,
        seed=None if options.seed == ALL_SEEDS else options.seed or 0,
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
    if options.method or options.ratio or options.network or options.seed is not None:
        raise AuditError("--method, --ratio, --seed and --network are for a study: name its folder")
    named = [_named(given, "--groups") for given in options.groups]
    groups = dict(named)
    if len(groups) < len(named):
        raise AuditError("--groups: two groupings have the same name; give each its own")
    candidates = _candidates(options.after)
    labels = np.asarray(read(options.labels, texts="decimals"))
    named_by_texts = options.threshold is None and labels.dtype.kind in "OU"
    own: Texts = "decimals" if named_by_texts else "spelled"
    try:
        return audit(
            labels,
            read(options.before, scores=True, texts=own),
            {name: read(path, scores=True, texts=own) for name, path in candidates.items()},
            control=None
            if options.control is None
            else read(options.control, scores=True, texts=own),
            classes=None if options.classes is None else class_names(options.classes),
            groups={name: _vector(path) for name, path in groups.items()},
            keys=None if options.keys is None else _vector(options.keys),
            images=None if options.images is None else read_images(options.images),
            class_counts=None
            if options.class_counts is None
            else read_counts(options.class_counts),
            level=options.level,
            top_k=options.top_k,
            threshold=options.threshold,
            scores=options.scores,
        )
    except AuditError as error:
        files = {f"groups, {name}": path for name, path in groups.items()} | candidates
        for name in ("labels", "before", "control", "keys", "images", "class_counts"):
            files[name.replace("_", " ")] = getattr(options, name)
        raise AuditError(_with_file(str(error), files)) from None


def _with_file(message: str, files: Mapping[str, str | None]) -> str:
    """Return a message about what was given, which begins with its name, with its file's name.

    An argument in Python is named as the option that it is.
    """
    for argument, option in _OPTIONS.items():
        message = message.replace(f"({argument})", f"({option})")
    for name, path in files.items():
        if path and message.startswith(f"{name}:") and path not in message:
            return f"{name} ({path}){message[len(name) :]}"
    return message


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all errors of the command are."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = _Parser(
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
        "--seed",
        type=seed,
        metavar="N",
        help="the replicate, or all: intervals then speak of other seeds too (default: 0)",
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
        help="another grouping of the images, such as sensor=FILE, shown beside the classes; again "
        "for more",
    )
    group.add_argument(
        "--keys", metavar="FILE", help="the images' names, each once; rows are matched by position"
    )
    group.add_argument(
        "--images",
        metavar="FILE",
        help="the images themselves, for the page to show those that flipped: bytes [N, height, "
        "width], or with channels behind these, in a .npy or .npz file, or a folder with a file a "
        "key",
    )
    group.add_argument(
        "--class-counts",
        metavar="FILE",
        help="the training images of each class: a table with the columns class and count, or an "
        "array in the order of the classes' numbers; several networks then say whether rare "
        "classes lose more",
    )
    group.add_argument(
        "--out",
        type=folder,
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
        help="auto checks that values between 0 and 1 sum to 1; logits skips that check",
    )


def _add_deciding(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--max-drop",
        type=limit,
        metavar="X",
        help="the loss of recall that any class may have, as a share: 0.02 is 2 points",
    )
    group.add_argument(
        "--max-excess",
        type=limit,
        metavar="X",
        help="the loss that any class may have beyond that of all images together",
    )
    group.add_argument(
        "--max-alpha",
        type=limit,
        metavar="X",
        help="how far the gaps between the classes may grow: 1 is as they were, 1.2 a fifth more",
    )
    group.add_argument(
        "--level", type=float, default=0.99, metavar="X", help="of all intervals (default: 0.99)"
    )
    group.add_argument(
        "--undecided-passes", action="store_true", help="exit status 0 in place of 4"
    )


def _vector(path: str) -> np.ndarray:
    return np.asarray(read(path, texts="all"))


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
        if not equals or os.path.exists(text):
            path = text
            file, column = parted(text)
            # Several columns are called by what they share.
            name = (column or file.stem).replace("_*", "").replace("*", "") or text
        if name in found:
            raise AuditError(f"--after: two candidates are called {name}; name them as NAME=FILE")
        found[name] = path
    return found
