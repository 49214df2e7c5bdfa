"""Audits whose truth is known: ``python -m recall_distortion.simulation.audits OUT.csv``."""

from __future__ import annotations

import argparse
import sys
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
import pandas as pd

from recall_distortion.auditing import audit
from recall_distortion.auditing.comparison import BY_CLASS, GAIN, LOSS
from recall_distortion.auditing.decision import BEYOND, UNDECIDED, WITHIN
from recall_distortion.simulation.audit_settings import Setting, settings
from recall_distortion.simulation.rows import Row, share
from recall_distortion.system.errors import TableError
from recall_distortion.system.files import replacing

DESCRIPTION = """\
Audit simulated pairs of models whose true recalls are known, and write how often the intervals hold
the truth, how often tests find what is not there, and how often a decision is false: one row per
setting and quantity, with its Monte Carlo standard error. docs/audit-simulation.md says what the
settings are and what the table shows.
"""
PROGRAM = "python -m recall_distortion.simulation.audits"
STUDIES, SEED, LEVEL = 1000, 20_261_127, 0.99
COLUMNS = ["setting", "quantity", "nominal", "value", "std_error", "studies"]
#: Studies that one process does at a time.
_AT_ONCE = 25

TANGO, WORST, TOGETHER = "change", "change, worst class", "all changes"
EXCESS, EXCESS_TOGETHER = "excess", "all excesses"
ALPHA, GIVEN = "alpha", "alpha given"
MID, EXACT = "mid p", "exact p"
HOLM, WRONG = "Holm, any class", "verdict against the truth"
FALSE_WITHIN, FALSE_BEYOND = "false within", "false beyond"
P_LEVELS = (0.05, 0.01)


def study(setting: Setting, seed: int, number: int, level: float = LEVEL) -> dict[str, np.ndarray]:
    """Return what one audit of a setting got right: arrays [C] by class, [1] of the whole.

    The random numbers depend on the seed, the setting's name and the study's number alone.
    """
    rng = np.random.default_rng([seed, zlib.crc32(setting.name.encode()), number])
    names = [str(c) for c in range(len(setting.images))]
    found = audit(*setting.draw(rng), classes=names, level=level, measures=False)
    groups = found.tables["groups"]
    classes = groups[groups["grouping"] == BY_CLASS]
    (whole,) = found.tables["models"].to_dict("records")
    same = setting.change == 0
    decision = found.decide(max_drop=setting.limit)
    tests = {
        f"{name} at {p:.0%}": (classes[column].to_numpy() < p)[same]
        for name, column in ((MID, "p"), (EXACT, "p_exact"))
        for p in P_LEVELS
    }
    verdicts = classes["verdict"].to_numpy()
    wrong = ((verdicts == LOSS) & (setting.change >= 0)) | (
        (verdicts == GAIN) & (setting.change <= 0)
    )
    given = np.isfinite(whole["alpha_low"])
    return {
        TANGO: _holds(classes, "", setting.change),
        TOGETHER: _holds(classes, "simultaneous_", setting.change).all(keepdims=True),
        EXCESS: _holds(classes, "excess_", setting.excess),
        EXCESS_TOGETHER: _holds(classes, "excess_simultaneous_", setting.excess).all(keepdims=True),
        GIVEN: np.array([given]),
        ALPHA: np.array([whole["alpha_low"] <= setting.alpha <= whole["alpha_high"]] * int(given)),
        **tests,
        HOLM: (classes["p_adjusted"].to_numpy() < 1 - level)[same].any(keepdims=True)[: same.sum()],
        WRONG: wrong.any(keepdims=True),
        **{kind: np.array([decision == kind]) for kind in (WITHIN, BEYOND, UNDECIDED)},
    }


def _holds(classes: pd.DataFrame, stem: str, truth: np.ndarray) -> np.ndarray:
    """Return which intervals hold the truth [C], but for rounding."""
    low, high = (classes[f"{stem}{end}"].to_numpy() for end in ("low", "high"))
    held: np.ndarray = (low <= truth + 1e-12) & (truth - 1e-12 <= high)
    return held


def rows(setting: Setting, found: Sequence[dict[str, np.ndarray]], level: float) -> list[Row]:
    """Return the rows of a setting's studies."""
    loses = -setting.change.min()
    nominal = {
        **dict.fromkeys((TANGO, WORST, TOGETHER, EXCESS, EXCESS_TOGETHER, ALPHA), level),
        **{f"{name} at {p:.0%}": p for name in (MID, EXACT) for p in P_LEVELS},
        # Each end of an interval may be wrong half as often as the interval.
        **dict.fromkeys((HOLM, WRONG), 1 - level),
        **dict.fromkeys((FALSE_WITHIN, FALSE_BEYOND), (1 - level) / 2),
    }
    events = {name: [one[name] for one in found] for name in found[0]}
    by_class = np.stack(events[TANGO])
    events[WORST] = list(by_class[:, [by_class.mean(0).argmin()]])
    # A loss that is just the limit is neither below nor above it.
    if loses >= setting.limit - 1e-12:
        events[FALSE_WITHIN] = events[WITHIN]
    if loses <= setting.limit + 1e-12:
        events[FALSE_BEYOND] = events[BEYOND]
    return [
        {**_share(name, values), "setting": setting.name, "nominal": nominal.get(name, np.nan)}
        for name, values in events.items()
        if sum(map(len, values))
    ]


def _share(name: str, events: Sequence[np.ndarray]) -> Row:
    """Return the row of how often something happens; classes of a study are no studies."""
    row = share(name, np.concatenate(events))
    means = np.array([values.mean() for values in events if len(values)])
    error = float(means.std() / np.sqrt(len(means)))
    return {**row, "std_error": max(row["std_error"], error), "studies": len(means)}


def simulate(
    chosen: Sequence[Setting], studies: int, seed: int, cores: int, level: float = LEVEL
) -> pd.DataFrame:
    """Return the table of some settings, printing a line as each is done."""
    start, table = time.monotonic(), []
    for place, (setting, found) in enumerate(_studies(chosen, studies, seed, cores, level), 1):
        table += rows(setting, found, level)
        took = time.monotonic() - start
        print(f"{place}/{len(chosen)} {setting.name}, {took:.0f} s", flush=True)
    return pd.DataFrame(table, columns=COLUMNS)


def _studies(
    chosen: Sequence[Setting], studies: int, seed: int, cores: int, level: float
) -> Iterator[tuple[Setting, list[dict[str, np.ndarray]]]]:
    if cores == 1:
        for setting in chosen:
            yield setting, [study(setting, seed, number, level) for number in range(studies)]
        return
    with ProcessPoolExecutor(cores) as pool:
        waiting = [
            pool.map(
                *(study, repeat(setting), repeat(seed), range(studies), repeat(level)),
                chunksize=_AT_ONCE,
            )
            for setting in chosen
        ]
        for setting, results in zip(chosen, waiting, strict=True):
            yield setting, list(results)


def tables(table: pd.DataFrame) -> dict[str, str]:
    """Return the Markdown tables of docs/audit-simulation.md by name."""
    chosen = [one for one in settings() if one.name in set(table["setting"])]
    made = [
        (one.name, f"{len(one.images):,}", _range(one.images), one.words, f"{100 * one.limit:g}")
        for one in chosen
    ]
    values = table.set_index(["setting", "quantity"])["value"].to_dict()

    def grid(*columns: str) -> str:
        lines = [[one.name, *(_cell(values, one.name, name) for name in columns)] for one in chosen]
        return _markdown(["setting", *columns], lines)

    tests = [f"{name} at {p:.0%}" for name in (MID, EXACT) for p in P_LEVELS]
    head = ["setting", "classes", "images a class", "what changes", "limit, points"]
    return {
        "settings": _markdown(head, made),
        "coverage": grid(TANGO, WORST, TOGETHER, EXCESS, EXCESS_TOGETHER, ALPHA, GIVEN),
        "tests": grid(*tests, HOLM, WRONG),
        "decisions": grid(WITHIN, BEYOND, UNDECIDED, FALSE_WITHIN, FALSE_BEYOND),
    }


def _range(images: np.ndarray) -> str:
    low, high = images.min(), images.max()
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _cell(values: Mapping[tuple[str, str], float], setting: str, quantity: str) -> str:
    value = values.get((setting, quantity))
    return "–" if value is None else f"{value:.4f}"


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))


def read(path: str | Path) -> pd.DataFrame:
    """Return the simulation's table; raises ``TableError`` where it is missing or another."""
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise TableError(f"{path}: no such table; run {PROGRAM} ({error})") from None
    if list(table.columns) != COLUMNS:
        raise TableError(f"{path}: has the columns {', '.join(table.columns)}, not {COLUMNS}")
    return table


def _whole(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"a whole number of 1 or more, not {text!r}")
    return value


def _parser() -> argparse.ArgumentParser:
    names = [setting.name for setting in settings()]
    parser = argparse.ArgumentParser(prog=PROGRAM, description=DESCRIPTION)
    parser.add_argument("out", metavar="OUT.csv", type=Path, help="the table to write")
    for option, default, words in (
        ("--studies", STUDIES, "audits of each setting"),
        ("--cores", 1, "processes; the table does not depend on it"),
        ("--seed", SEED, "of the random numbers"),
    ):
        parser.add_argument(
            option, type=_whole, default=default, metavar="N", help=f"{words} (default: {default})"
        )
    parser.add_argument(
        "--settings", nargs="+", choices=names, default=names, metavar="NAME",
        help=f"of {', '.join(map(repr, names))} (default: all)",
    )  # fmt: skip
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = _parser()
    options = parser.parse_args(words)
    if options.out.suffix != ".csv" or options.out.is_dir():
        parser.error(f"OUT.csv is the path of a table to write, not {str(options.out)!r}")
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # before minutes of work, not after
        parser.error(f"cannot write {options.out}: {error.strerror or error}")
    chosen = [setting for setting in settings() if setting.name in options.settings]
    table = simulate(chosen, options.studies, options.seed, options.cores)
    with replacing(options.out) as path:
        table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
    for title, text in tables(read(options.out)).items():
        print(f"\n{title}\n\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
