"""Whether the parts of a study name each other rightly: panels, methods, recipes, bundles.

Each function raises ``ValueError`` with a message that names the key and what would be valid.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from recall_distortion.compression.facts import CHANNEL
from recall_distortion.study.parts import METHODS, Method, Panel
from recall_distortion.study.quantizers import Quantizer
from recall_distortion.vocabulary import (
    CONTROLS,
    DENSE,
    REFERENCE_ARMS,
    RESEED,
    RESERVED,
    format_ratio,
)

# The ratios of a job stand in the names of folders and, beside data set, network, recipe, bundle
# and seeds, of log files; file systems allow 255 characters.
LONGEST_RATIOS = 80
LONGEST_NAMES = 130


def known_methods(methods: Iterable[str]) -> list[str]:
    """Return what a panel may list: the controls, the built-in methods and the study's own."""
    return [*CONTROLS, *METHODS, *methods]


def check_methods(methods: Iterable[str]) -> None:
    """Check that the study's own methods have names of their own."""
    for name in methods:
        if name in METHODS or name in RESERVED:
            built_in = name in METHODS or name in REFERENCE_ARMS
            what = "is built in" if built_in else "is a word of the tables"
            raise ValueError(f"methods: {name!r} {what}; give yours another name")


def check_panel(
    where: str,
    panel: Panel,
    datasets: Collection[str],
    recipes: Collection[str],
    methods: Iterable[str],
) -> None:
    """Check that all that a panel names is there, and nothing is listed twice."""
    if panel.dataset not in datasets:
        raise ValueError(
            f"{where}.dataset: {panel.dataset!r} is not among the study's datasets: "
            f"{', '.join(datasets)}"
        )
    known = known_methods(methods)
    for method in panel.methods:
        if method == RESEED:
            raise ValueError(
                f"{where}.methods: {RESEED} is no method to list; every study measures it "
                "between its dense networks"
            )
        if method not in known:
            raise ValueError(
                f"{where}.methods: unknown method {method!r}; valid: {', '.join(known)}"
            )
    check_no_repeats(f"{where}.methods", panel.methods)
    check_no_repeats(f"{where}.architectures", panel.architectures)
    if panel.recipe is None and len(recipes) > 1:
        raise ValueError(f"{where}.recipe: name one of the study's recipes: {', '.join(recipes)}")
    if panel.recipe is not None and panel.recipe not in recipes:
        raise ValueError(
            f"{where}.recipe: {panel.recipe!r} is not among the study's recipes: "
            f"{', '.join(recipes)}"
        )


def check_use(
    panels: Sequence[Panel],
    datasets: Mapping[str, Any],
    recipes: Mapping[str, Any],
    methods: Mapping[str, Any],
) -> None:
    """Check that a panel uses every data set, recipe and method that the study defines."""
    for unused in set(datasets) - {panel.dataset for panel in panels}:
        raise ValueError(f"datasets.{unused}: no panel uses it; remove it or add a panel")
    only = next(iter(recipes))
    for unused in set(recipes) - {panel.recipe or only for panel in panels}:
        raise ValueError(f"recipes.{unused}: no panel uses it; remove it or name it in a panel")
    for unused in set(methods) - {name for panel in panels for name in panel.methods}:
        raise ValueError(f"methods.{unused}: no panel uses it; remove it or list it in a panel")


def check_bundles(bundles: Mapping[str, list[str]], methods: Mapping[str, Any]) -> None:
    """Check that bundles have names of their own, one kind of methods, and no method is in two."""
    known = known_methods(methods)
    taken: dict[str, str] = {}
    for bundle, bundled in bundles.items():
        where = f"jobs.bundles.{bundle}"
        if bundle in known or bundle in REFERENCE_ARMS:
            raise ValueError(f"{where}: {bundle!r} is a method's name; give it another")
        check_no_repeats(where, bundled)
        for method in bundled:
            if method not in known:
                raise ValueError(f"{where}: unknown method {method!r}; valid: {', '.join(known)}")
            if method in taken:
                raise ValueError(f"{where}: {method!r} is already in bundle {taken[method]!r}")
            taken[method] = bundle
        quantizers = [method for method in bundled if _is_quantizer(method, methods)]
        if quantizers and len(quantizers) < len(bundled):
            other = next(method for method in bundled if method not in quantizers)
            raise ValueError(
                f"{where}: {quantizers[0]!r} quantizes what other jobs trained, and {other!r} "
                "trains, so they share no job; give quantizers a bundle of their own"
            )


def check_origins(where: str, listed: Sequence[str], methods: Mapping[str, Any]) -> None:
    """Check that quantizers among a network's methods quantize others of them, or dense ones."""
    for name in listed:
        if name not in methods or not _is_quantizer(name, methods):
            continue
        of = methods[name].of
        if of != DENSE and (of not in listed or _is_quantizer(of, methods)):
            valid = [method for method in listed if not _is_quantizer(method, methods)]
            raise ValueError(
                f"methods.{name}.of: {where} has no networks of {of!r} to quantize; valid: "
                + ", ".join([DENSE, *valid])
            )
        method = methods.get(of, METHODS.get(of))
        if isinstance(method, Method) and method.unit == CHANNEL.name:
            raise ValueError(
                f"methods.{name}.of: {of} removes whole channels, and the bytes of a quantized "
                "network are counted for single weights; quantize the networks of another method"
            )


def check_ratios_differ(name: str, ratios: Sequence[float]) -> None:
    """Check that a quantizer's ratios, which have two decimals, can be told apart."""
    for ratio in ratios:
        if ratios.count(ratio) > 1:
            raise ValueError(
                f"ratios: {name} would quantize two of them to {format_ratio(ratio)}, since its "
                "ratios have two decimals; choose ratios that lie further apart"
            )


def _is_quantizer(name: str, methods: Mapping[str, Any]) -> bool:
    """Return whether a method, built in or among the study's own, quantizes."""
    return isinstance(methods.get(name, METHODS.get(name)), Quantizer)


def check_no_repeats(where: str, names: Sequence[str]) -> None:
    """Check that no name is listed twice."""
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{where}: {name!r} is listed twice")


def check_ratio_groups(names: Iterable[str]) -> None:
    """Check that the ratios that one job carries make no name too long for a folder."""
    longest = max(names, key=len)
    if len(longest) > LONGEST_RATIOS:
        raise ValueError(
            f"jobs.ratios: the ratios of one job name its files, and {longest[:30]}... has "
            f"{len(longest)} characters of at most {LONGEST_RATIOS}; let a job carry fewer"
        )


def check_job_names(names: Iterable[str]) -> None:
    """Check that data set, network, recipe and bundle make no name too long for a file."""
    for name in names:
        if len(name) > LONGEST_NAMES:
            raise ValueError(
                f"panels: {name} names files of a job, and has {len(name)} characters of "
                f"at most {LONGEST_NAMES}; give data set, recipe, method or bundle a "
                "shorter name"
            )


def check_ratios_used(methods: Mapping[str, Method], ratios: Sequence[float]) -> None:
    """Check that there are ratios where some method runs at the study's, and else none."""
    without = [name for name, method in methods.items() if method.own_ratios is None]
    if without and not ratios:
        raise ValueError(
            f"ratios: {', '.join(sorted(without))} would run at them, and there are none; say "
            "which, or give each method ratios or sparsities of its own"
        )
    if methods and ratios and not without:
        raise ValueError(
            "ratios: no method runs at them, because each has ratios or sparsities of its own; "
            "remove them here or there"
        )
