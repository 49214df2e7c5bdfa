"""Pairs of methods whose masks a study holds against each other."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from recall_distortion.compression.facts import WEIGHT
from recall_distortion.study.strict import Name
from recall_distortion.vocabulary import format_ratio

Pair = Annotated[list[Name], Field(min_length=2, max_length=2)]
Pairs = Annotated[
    list[Pair],
    Field(
        description="Pairs of methods of one panel, as [early_once, ticket]: how many of the "
        "weights that one keeps the other keeps too, and whether they are as accurate. A method "
        "is the first of one pair at most."
    ),
]


def check_pairs(study: Any) -> None:
    """Check that the methods of a study's pairs have masks that can be held against each other.

    Raises ``ValueError`` with a message that names the key and what would be valid.
    """
    listed = [network.methods for network in study.networks()]
    first: dict[str, int] = {}
    for place, (one, other) in enumerate(study.pairs):
        where = f"pairs.{place}"
        if one == other:
            raise ValueError(f"{where}: {one} is named twice; name two methods")
        if not any(one in methods and other in methods for methods in listed):
            raise ValueError(
                f"{where}: no panel lists both {one} and {other}; list both in one, or remove the "
                "pair"
            )
        for name in (one, other):
            _check_masks(where, name, study.pruning(name))
        if not {*study.ratios_of(one)} & {*study.ratios_of(other)}:
            raise ValueError(
                f"{where}: {one} and {other} have no ratio in common, and masks are compared at "
                "equal density; give both one"
            )
        for earlier, pair in enumerate(study.pairs[:place]):
            if {*pair} == {one, other}:
                raise ValueError(f"{where}: is pairs.{earlier} again; remove one of them")
        if one in first:
            raise ValueError(
                f"{where}: {one} is the first of pairs.{first[one]} already, and a network is held "
                f"against one other; write [{other}, {one}]"
            )
        first[one] = place


def _check_masks(where: str, name: str, method: Any) -> None:
    if method is None:
        raise ValueError(
            f"{where}: {name} removes no weights of its own, so it has no masks; name a method "
            "that prunes"
        )
    if method.unit != WEIGHT.name:
        raise ValueError(
            f"{where}: {name} removes whole channels, and what masks share is held against weights "
            "shuffled one by one; name a method that removes single weights"
        )


def pairs_of(study: Any, methods: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the pairs among a network's methods, with the ratios that both run at, as texts."""
    return [
        {
            "method": one,
            "other": other,
            "ratios": [
                format_ratio(ratio)
                for ratio in study.ratios_of(one)
                if ratio in study.ratios_of(other)
            ],
        }
        for one, other in study.pairs
        if one in methods and other in methods
    ]
