"""What an audit says on a terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import pandas as pd

from recall_distortion.auditing.comparison import BY_CLASS
from recall_distortion.auditing.decision import (
    MEANS,
    WITHIN,
    Finding,
    Limits,
    decided,
    meaning,
)
from recall_distortion.auditing.hints import ALPHA_NEEDS, hints
from recall_distortion.auditing.rare_classes import PER_TENFOLD
from recall_distortion.report import style
from recall_distortion.vocabulary import DEINTENSIFICATION, INCONCLUSIVE, INTENSIFICATION

#: Groups that are printed, those that lost most, and findings.
_PRINTED, _FOUND = 20, 5
#: What stands where there is no number.
_NOTHING = "-"
#: Characters of a warning, which may name classes.
LONGEST_WARNING = 1000
_SAID = {
    INTENSIFICATION: "the gaps between the classes grew",
    DEINTENSIFICATION: "the gaps between the classes shrank",
    INCONCLUSIVE: "whether the gaps between the classes grew or shrank cannot be told",
}


def text(tables: Mapping[str, pd.DataFrame], level: float, warnings: Sequence[str]) -> str:
    """Return warnings, and for each candidate what changed as a whole and by class."""
    parts = [f"warning: {style.label(words, LONGEST_WARNING)}" for words in warnings]
    groups = tables["groups"]
    for _, whole in tables["models"].iterrows():
        own = groups[groups["candidate"] == whole["candidate"]]
        flips = tables["flips"]
        neither = _neither(flips[flips["candidate"] == whole["candidate"]], whole)
        parts += [
            *_of_candidate(own, whole, level, neither),
            *_together(tables, whole),
            *_rare(tables, whole),
        ]
    return "\n".join(parts)


def count(images: float) -> str:
    """Return a number of images, with a decimal where it is a mean over networks."""
    return f"{images:,.0f}" if float(images).is_integer() else f"{images:,.1f}"


def _neither(flips: pd.DataFrame, whole: pd.Series) -> float:
    """Return how many answers changed that were wrong both times, or right among the first k."""
    if "networks" not in whole:
        return float((flips["kind"] == "other").sum())
    rest = flips["networks"] - flips["lost_by"] - flips["gained_by"]
    return float(rest.sum() / whole["networks"])


def _of_candidate(
    groups: pd.DataFrame, whole: pd.Series, level: float, neither: float
) -> Iterator[str]:
    several = "networks" in whole
    yield ""
    yield (
        f"{style.label(whole['candidate'])}: accuracy {whole['before']:.4f} -> "
        f"{whole['after']:.4f}, change "
        f"{whole['change']:+.4f} ({whole['low']:+.4f} to {whole['high']:+.4f})"
    )
    yield (
        f"  of {whole['images']:,} images {count(whole['flipped'])} answers differ "
        f"({whole['flipped_share']:.1%}): {count(whole['lost'])} lost, {count(whole['gained'])} "
        f"gained, {count(neither)} neither{', a network' if several else ''}"
    )
    if several:
        yield (
            f"  {whole['networks']} networks: intervals are over other seeds and other images, "
            "those under 'these images' over other seeds alone"
        )
    yield f"  {_slope(whole)}"
    for grouping, rows in groups.groupby("grouping", sort=False):
        yield ""
        yield _table(str(grouping), rows.sort_values("change", kind="stable"), level)
        if len(rows) > _PRINTED:
            yield f"... and {len(rows) - _PRINTED} that lost less"


def _together(tables: Mapping[str, pd.DataFrame], whole: pd.Series) -> Iterator[str]:
    """Yield how many images most networks answer otherwise, and how many without compression."""
    if "populations" not in tables:
        return
    rows = tables["populations"]
    row = rows[rows["candidate"] == whole["candidate"]].iloc[0]
    yield ""
    yield (
        f"most networks answer {row['pies']:,.0f} of {whole['images']:,} images otherwise than "
        f"before (PIEs; {row['least']:,.0f} to {row['largest']:,.0f} by other ways to break ties)"
    )
    if pd.notna(row["control"]):
        p = f", p {row['p']:.3f}" if pd.notna(row["p"]) else ""
        yield (
            f"  without compression, of the control: {row['control']:.0f}; the difference is "
            f"{row['over_control']:+.0f}{p}"
        )
    elif pd.notna(row["reseed_at_fewer_median"]):
        yield (
            f"  without compression, two halves of the networks before: "
            f"{row['reseed_at_fewer_median']:.0f}; as many after and others before: "
            f"{row['unpaired_at_fewer_median']:.0f}"
        )
    test = "control" if pd.notna(row["control_moved"]) else "paired"
    against = "the control" if test == "control" else "before"
    yield (
        f"  classes moved beyond accuracy, paired with {against}: "
        f"{row[f'{test}_moved']:.0f} at p of at most 0.05 (by chance {row['expected']:.1f}), "
        f"{row[f'{test}_adjusted']:.0f} by Holm"
    )


def _rare(tables: Mapping[str, pd.DataFrame], whole: pd.Series) -> Iterator[str]:
    """Yield by how much more rare classes lose, where somebody counted training images."""
    if "rare_classes" not in tables:
        return
    rows = tables["rare_classes"].set_index(["candidate", "slope"])
    row = rows.loc[(whole["candidate"], PER_TENFOLD)]

    def said(of: str) -> str:
        return f"{row[of]:+.3f} ({row[f'{of}_low']:+.3f} to {row[f'{of}_high']:+.3f})"

    over = f", less the control's {said('over_control')}" if pd.notna(row["over_control"]) else ""
    yield (
        f"change of recall {PER_TENFOLD} of a class, above 0 where rare ones lose more: "
        f"{said('after')}{over}"
    )


def _table(grouping: str, rows: pd.DataFrame, level: float) -> str:
    """Return the groups that lost most: a line each."""
    shown = rows.head(_PRINTED)
    together = "all classes" if grouping == BY_CLASS else "all together"
    table = pd.DataFrame(
        {
            style.label(grouping): shown["name"].map(style.label),
            "images": shown["images"],
            "before": _numbers(shown["before"], "{:.3f}"),
            "after": _numbers(shown["after"], "{:.3f}"),
            "change": _numbers(shown["change"], "{:+.3f}"),
            f"{100 * level:g} %": _ends(shown, "low", "high"),
            together: _ends(shown, "simultaneous_low", "simultaneous_high"),
            "shows": shown["verdict"].replace("", _NOTHING),
        }
    )
    if "seeds_low" in shown:
        table.insert(6, "these images", _ends(shown, "seeds_low", "seeds_high"))
    if shown["over_control"].notna().any():
        table["less control's"] = _numbers(shown["over_control"], "{:+.3f}")
        table["that shows"] = shown["over_control_verdict"].replace("", _NOTHING)
    found: str = table.to_string(index=False)
    return f"{found}\nshows: by the interval of {together.removesuffix(' together')} together"


def _numbers(values: pd.Series, form: str) -> pd.Series:
    return values.map(lambda value: form.format(value) if value == value else _NOTHING)


def _ends(rows: pd.DataFrame, low: str, high: str) -> list[str]:
    return [
        f"{one:+.3f} to {other:+.3f}" if other == other else "no image"
        for one, other in zip(rows[low], rows[high], strict=True)
    ]


def _slope(whole: pd.Series) -> str:
    if said := _SAID.get(whole["alpha_verdict"]):
        ends = f"{whole['alpha_low']:.2f} to {whole['alpha_high']:.2f}"
        return f"alpha {whole['alpha']:.2f} ({ends}): {said}{_over_control(whole)}"
    return f"alpha is not known: the classes differ too little before; {ALPHA_NEEDS}"


def _over_control(whole: pd.Series) -> str:
    if pd.isna(whole["alpha_over_control"]):
        return ""
    ends = f"{whole['alpha_over_control_low']:+.2f} to {whole['alpha_over_control_high']:+.2f}"
    return (
        f"\n    the control's is {whole['alpha_control']:.2f}; the difference is "
        f"{whole['alpha_over_control']:+.2f} ({ends})"
    )


def decision_text(
    tables: Mapping[str, pd.DataFrame],
    findings: Sequence[Finding],
    limits: Limits,
    level: float,
    doubted: Collection[str],
) -> str:
    """Return what limits decide of each candidate, and of all where there are several."""
    groups = tables["groups"]
    parts: list[str] = []
    for whole in tables["models"].to_dict("records"):
        name = whole["candidate"]
        own = [one for one in findings if one.candidate == name]
        of_class = (groups["candidate"] == name) & (groups["grouping"] == BY_CLASS)
        decision = decided(own, doubted)
        parts += _decided(name, decision, own, doubted)
        said = hints(groups[of_class], whole, own, limits, level, decision)
        parts += [f"  {hint}" for hint in said]
    whole_decision = decided(findings, doubted)
    if len(tables["models"]) > 1:
        parts += ["", f"decision: {whole_decision}: {MEANS[whole_decision]}"]
    return "\n".join(parts)


def _decided(
    name: str, decision: str, findings: Sequence[Finding], doubted: Collection[str]
) -> Iterator[str]:
    decisive = [one for one in findings if one.decision == decision != WITHIN]
    yield ""
    yield f"{style.label(name)}: {decision}: {meaning(name, decision, doubted)}"
    yield from (f"  {finding}" for finding in decisive[:_FOUND])
    if len(decisive) > _FOUND:
        yield f"  ... and {len(decisive) - _FOUND} more"
