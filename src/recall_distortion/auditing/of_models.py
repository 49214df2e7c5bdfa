"""An audit: a model's predictions before and after it was changed, their tables, a decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from recall_distortion.auditing import comparison, populations
from recall_distortion.auditing.answers import Answers, Scores, TestSet, test_set
from recall_distortion.auditing.as_cells import Cells
from recall_distortion.auditing.comparison import BY_CLASS
from recall_distortion.auditing.decision import BEFORE, Finding, Limits, decided, findings
from recall_distortion.auditing.fairness import class_fairness, fairness
from recall_distortion.auditing.forgotten import forgotten
from recall_distortion.auditing.groupings import UNGROUPED, grouping, missing_groups
from recall_distortion.auditing.populations import Population
from recall_distortion.auditing.rare_classes import class_counts as checked_counts
from recall_distortion.auditing.rare_classes import rare_classes
from recall_distortion.auditing.replicates import answers_of, require_columns, require_pairs
from recall_distortion.auditing.schema import TABLES
from recall_distortion.auditing.summary import summary
from recall_distortion.auditing.text import text
from recall_distortion.auditing.thumbnails import Pictures, pictures
from recall_distortion.auditing.vectors import array, as_texts, check_texts, real
from recall_distortion.auditing.warnings import doubtful, warnings_of
from recall_distortion.system.errors import AuditError
from recall_distortion.system.files import replacing, write_json, write_text

#: The tables that every audit has, and the files that ``save`` may write.
_TABLES = ("models", "groups", "flows", "flips")
WRITTEN = ("report.html", "summary.json", *(f"{name}.csv" for name in TABLES))
_AFTER = "after"

#: A model's predictions, or those of several networks by their names.
Given: TypeAlias = ArrayLike | Mapping[str, ArrayLike]


@dataclass(frozen=True)
class Audit:
    """What changed between a model and its candidates.

    ``tables`` by name: ``models``, a row a candidate; ``groups``, a row a candidate and class, or
    group of another grouping; ``flows``, where lost images went; ``flips``, every image whose
    answer changed; further measures, and of several networks the images that most of them answer
    otherwise (``auditing.schema``). ``test_set`` is of how many images and classes, and a checksum
    of the labels. ``warnings`` are what a reader has to know before any number,
    ``doubted`` the models that agree with the labels by chance alone. ``pictures`` are the test
    images, where they were given: the page shows those that flipped. ``str`` is what the command
    prints.
    """

    tables: dict[str, pd.DataFrame]
    test_set: dict[str, Any]
    level: float
    warnings: list[str]
    doubted: list[str]
    pictures: Pictures | None = None

    def __repr__(self) -> str:
        models, groups = self.tables["models"], self.tables["groups"]
        classes = groups.loc[groups["grouping"] == BY_CLASS, "name"].nunique()
        return (
            f"<Audit of {', '.join(self.candidates)}: {models['images'].iloc[0]:,} images, "
            f"{classes:,} classes, level {self.level:g}>"
        )

    def __str__(self) -> str:
        return text(self.tables, self.level, self.warnings)

    @property
    def candidates(self) -> list[str]:
        """The names of the candidates, in the order given."""
        return list(self.tables["models"]["candidate"])

    def decide(
        self,
        *,
        max_drop: float | None = None,
        max_excess: float | None = None,
        max_alpha: float | None = None,
    ) -> str:
        """Return ``within``, ``beyond`` or ``undecided``: the worst candidate's (``findings``).

        ``max_drop`` and ``max_excess`` are shares of recall: 0.02 is 2 points. Raises
        ``AuditError`` without any limit, and for one that makes no sense.
        """
        limits = Limits(max_drop, max_excess, max_alpha)
        if not limits.asked:
            raise AuditError("decide: give max_drop, max_excess or max_alpha")
        return decided(self.findings(limits), self.doubted)

    def findings(self, limits: Limits) -> list[Finding]:
        """Return what each limit says of each class of each candidate (``decision.findings``).

        Of a candidate and limit, the largest estimates come first.
        """
        models, groups = self.tables["models"], self.tables["groups"]
        classes = groups[groups["grouping"] == BY_CLASS]
        return [
            finding
            for _, whole in models.iterrows()
            for finding in findings(
                whole["candidate"],
                classes[classes["candidate"] == whole["candidate"]],
                whole,
                limits,
                self.level,
            )
        ]

    def summary(self, limits: Limits | None = None) -> dict[str, Any]:
        """Return the numbers of each candidate as plain values, None where there is none.

        With ``limits`` also what they decide: of all, of each candidate, and the findings that are
        not within. ``auditing.schema`` says what each key holds.
        """
        limits = limits or Limits()
        return summary(
            self.tables,
            test_set=self.test_set,
            level=self.level,
            warnings=self.warnings,
            limits=limits,
            every=self.findings(limits),
            doubted=self.doubted,
        )

    def save(
        self,
        folder: str | Path,
        *,
        max_drop: float | None = None,
        max_excess: float | None = None,
        max_alpha: float | None = None,
        about: Mapping[str, str] | None = None,
    ) -> None:
        """Write ``report.html``, ``summary.json`` and the tables as .csv files into a folder.

        Page and summary say what the limits decide, as ``decide`` does. ``about`` are further lines
        of the page by their titles, such as the files' names.
        """
        from recall_distortion.auditing.page import page

        folder, limits = Path(folder), Limits(max_drop, max_excess, max_alpha)
        written = page(
            self.tables,
            level=self.level,
            warnings=self.warnings,
            limits=limits,
            findings=self.findings(limits),
            doubted=self.doubted,
            name=folder.name,
            about=about or {},
            pictures=self.pictures,
        )
        write_text(folder / "report.html", written)
        for name, table in self.tables.items():
            with replacing(folder / f"{name}.csv") as path:
                table.to_csv(path, index=False)
        write_json(folder / "summary.json", self.summary(limits))


def audit(
    labels: ArrayLike,
    before: Given,
    after: Given | Mapping[str, Given],
    *,
    control: Given | None = None,
    classes: Sequence[str] | None = None,
    groups: Mapping[str, ArrayLike] | None = None,
    keys: ArrayLike | None = None,
    images: ArrayLike | str | Path | None = None,
    class_counts: Mapping[str, float] | ArrayLike | None = None,
    level: float = 0.99,
    top_k: int = 1,
    threshold: float | None = None,
    scores: Scores = "auto",
    measures: bool = True,
) -> Audit:
    """Compare a model's predictions before and after it was changed, on the same M images.

    ``labels`` [M] are integers or texts. ``before`` and ``after`` are the predicted classes [M], or
    probabilities or logits [M, C]; ``after`` may be several candidates by name. ``control`` are the
    predictions of the model before after the same further training without compression.
    Each may be K paired networks, [K, M] or [K, M, C], or a mapping from a network's name to its
    predictions (of ``after``, a candidate's): network k after was made of network k before.
    ``classes`` names the classes in the order of their numbers. ``groups`` are further groupings by
    name, a value an image, missing where it has none; ``keys`` names the images. ``images`` are
    these themselves, bytes [M, H, W] or [M, H, W, C], or a folder with a file a key: the page shows
    those that flipped.
    ``class_counts`` are the training images of each class, by name or in the order of the numbers:
    with several networks also whether rare classes lose more.
    ``top_k``, ``threshold`` and ``scores`` are as in ``auditing.answers.answers``. All intervals
    are at ``level``: of one network over other images, the network given; of several over other
    seeds and other images. Without ``measures`` there are the first four tables alone. Raises
    ``AuditError`` that says what was found and what is wanted.
    """
    level = _level(level)
    if groups is not None and not isinstance(groups, Mapping):
        raise AuditError("groups: give them by name, {'sensor': values}")
    labelled = test_set(array(labels, "labels"), classes, "labels")
    options: dict[str, Any] = {"top_k": top_k, "threshold": threshold, "scores": scores}
    first = answers_of(before, labelled, "before", **options)
    candidates = {
        name: answers_of(values, labelled, name, **options)
        for name, values in _named(after).items()
    }
    trained = None if control is None else answers_of(control, labelled, "control", **options)
    others = candidates if trained is None else {**candidates, "control": trained}
    require_pairs(first, others)
    require_columns({BEFORE: first, **others})
    names = None if keys is None else _keys(array(keys, "keys"), labelled)
    check_texts([*map(str, groups or {})], "groups")
    groupings = {BY_CLASS: (labelled.index, labelled.names)}
    for name, values in (groups or {}).items():
        groupings[str(name)] = grouping(array(values, str(name)), labelled, str(name))
    shown = None if images is None else pictures(images, len(labelled), names)
    further: dict[str, Any] = {"keys": names, "level": level, "measures": measures}
    if class_counts is not None:
        further["counts"] = checked_counts(class_counts, labelled)
    found = compared(labelled, first, candidates, control=trained, groupings=groupings, **further)
    return replace(found, pictures=shown)


def compared(
    images: TestSet,
    before: Answers | Population,
    candidates: Mapping[str, Answers | Population],
    *,
    control: Answers | Population | None = None,
    groupings: Mapping[str, tuple[np.ndarray, list[str]]] | None = None,
    keys: np.ndarray | None = None,
    level: float = 0.99,
    measures: bool = True,
    counts: np.ndarray | None = None,
) -> Audit:
    """Return the audit of models whose answers are known, all of one network or of as many.

    ``groupings`` are numbers and names of groups, by the grouping's name, ``UNGROUPED`` where an
    image has none; without any, images are grouped by their true class. ``counts`` [C] are training
    images of the classes.
    """
    groupings = groupings or {BY_CLASS: (images.index, images.names)}
    tables = [
        _of_candidate(images, before, after, control, groupings, keys, level)
        for after in candidates.values()
    ]
    every = dict(candidates) if control is None else {**candidates, "control": control}
    found = {
        kind: pd.concat(
            [
                part[kind].assign(candidate=name)[["candidate", *part[kind].columns]]
                for name, part in zip(candidates, tables, strict=True)
            ],
            ignore_index=True,
        )
        for kind in _TABLES
    }
    cells = Cells.of(images, before, candidates, control)
    if measures:
        found["measures"] = fairness(cells, [*candidates], level)
        found["class_measures"] = class_fairness(cells, [*candidates], level)
        if isinstance(before, Population):
            found |= forgotten(images, cells, [*candidates], keys)
    if counts is not None:
        found["rare_classes"] = rare_classes(cells, [*candidates], counts, level)
    return Audit(
        found,
        images.facts(),
        level,
        [*warnings_of(images, before, every), *missing_groups(groupings)],
        doubtful(images, {BEFORE: before, **every}),
    )


def _of_candidate(
    images: TestSet,
    before: Any,
    after: Any,
    control: Any,
    groupings: Mapping[str, tuple[np.ndarray, list[str]]],
    keys: np.ndarray | None,
    level: float,
) -> dict[str, pd.DataFrame]:
    """Return the tables of one candidate; all models are ``Answers``, or all a ``Population``."""
    of = populations if isinstance(before, Population) else comparison
    of_groups = [
        of.compare(
            index[index != UNGROUPED],
            names,
            *(one.part(index != UNGROUPED) for one in (before, after)),
            level,
            None if control is None else control.part(index != UNGROUPED),
        ).assign(grouping=grouping)
        for grouping, (index, names) in groupings.items()
    ]
    groups = pd.concat(of_groups, ignore_index=True)
    return {
        "models": pd.DataFrame([of.overall(images, before, after, level, control)]),
        "groups": groups[["grouping", *groups.columns.drop("grouping")]],
        "flows": of.flows(images, before, after),
        "flips": of.flips(images, before, after, keys),
    }


def _named(after: Given | Mapping[str, Given]) -> dict[str, Given]:
    """Return the candidates' predictions by their names."""
    given = after if isinstance(after, Mapping) else {_AFTER: after}
    named = {str(name): values for name, values in given.items()}
    if len(named) < len(given) or "" in named:
        raise AuditError("after: give each candidate a name of its own")
    if taken := {"before", "control"} & set(named):
        raise AuditError(f"after: a candidate is called {taken.pop()}; give it another name")
    if not given:
        raise AuditError("after: names no candidate")
    check_texts([*named], "after")
    return named


def _level(given: Any) -> float:
    wanted = "between 0 and 1, such as 0.99"
    level = real(given, "level", wanted)
    # Nearer to 1, that of many classes together is 1 in double precision.
    if not 0 < level < 1 - 1e-9:
        raise AuditError(f"level: {wanted}, not {given!r}")
    return level


def _keys(keys: np.ndarray, images: TestSet) -> np.ndarray:
    if keys.shape != (len(images),):
        raise AuditError(f"keys: have shape {list(keys.shape)}, and there are {len(images)} labels")
    texts = as_texts(keys, "keys")
    values, counts = np.unique(texts, return_counts=True)
    if (counts > 1).any():
        raise AuditError(
            f"keys: {values[counts > 1][0]} names {counts[counts > 1][0]} images; each counts "
            "once, so remove the copies"
        )
    return keys if keys.dtype.kind in "iu" else texts
