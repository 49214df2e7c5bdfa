"""Colours, marks and number formats shared by the figures and the page."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from recall_distortion.vocabulary import (
    AS_CONTROL,
    BEYOND_CONTROL,
    DEINTENSIFICATION,
    INCONCLUSIVE,
    INTENSIFICATION,
    NOT_DISTINGUISHABLE,
)

# Okabe and Ito's palette, told apart by people with any common colour blindness.
BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, ORANGE, BLACK = "#56B4E9", "#E69F00", "#000000"
INK, MUTED, RULE, PAPER = "#1b2430", "#5b6572", "#d5dae1", "#ffffff"
CONTROL_COLOUR = "#8a929c"
WHISKER = 1.5  # of the boxplots, interquartile ranges

METHOD_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE, BLACK)
METHOD_MARKERS = ("o", "s", "^", "D", "v", "p", "<", "h", ">", "8", "d")
LineStyle = Literal["-", "--", "-.", ":"]
LINE_STYLES: tuple[LineStyle, ...] = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Look:
    """How something is shown: its words, its sign in text, and its mark in a figure.

    ``kind`` is its class on the page. A hollow mark is one that decides nothing.
    """

    words: str
    sign: str = ""
    marker: str = "o"
    colour: str = MUTED
    kind: str = "none"
    hollow: bool = False

    @property
    def fill(self) -> str:
        """What the mark is filled with."""
        return "white" if self.hollow else self.colour


# By verdict and reading: a cell's difference from the control. The control's own change is grey, as
# the control is everywhere. By verdict alone: a slope against 1, as the published criterion has it.
LOOKS: dict[tuple[str, str], Look] = {
    (INTENSIFICATION, BEYOND_CONTROL): Look(
        "intensifies beyond the control", "▲", "^", VERMILLION, "up"
    ),
    (DEINTENSIFICATION, BEYOND_CONTROL): Look(
        "de-intensifies beyond the control", "▼", "v", BLUE, "down"
    ),
    (INCONCLUSIVE, AS_CONTROL): Look("as the control", "■", "s", CONTROL_COLOUR, "same"),
    (INCONCLUSIVE, NOT_DISTINGUISHABLE): Look(
        "cannot be distinguished from the control", "○", "o", MUTED, "open", hollow=True
    ),
    (INTENSIFICATION, ""): Look(INTENSIFICATION, "▲", "^", VERMILLION, "up"),
    (DEINTENSIFICATION, ""): Look(DEINTENSIFICATION, "▼", "v", BLUE, "down"),
    (INCONCLUSIVE, ""): Look(INCONCLUSIVE, "○", "o", MUTED, "open", hollow=True),
}
BESIDE_CONTROL = [pair for pair in LOOKS if pair[1]]  # in the order of a legend
AGAINST_ONE = [pair for pair in LOOKS if not pair[1]]
VERDICT_SIGNS = {verdict: LOOKS[verdict, ""].sign for verdict, _ in AGAINST_ONE}
_NOTHING = Look("")


def look(verdict: str, reading: str = "") -> Look:
    """Return how a verdict, or one with its reading, is shown; of none, a look without words."""
    return LOOKS.get((verdict, reading), _NOTHING)


# Characters that no font has, line breaks that would tear a label, and what
# turns a line's direction.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u2028-\u202e\u2066-\u2069]+"
)


def method_look(method: str, methods: list[str]) -> tuple[str, str, LineStyle]:
    """Return colour, marker and line style of a method; no two of up to 28 methods look alike."""
    place = methods.index(method)
    return (
        METHOD_COLOURS[place % len(METHOD_COLOURS)],
        METHOD_MARKERS[place % len(METHOD_MARKERS)],
        LINE_STYLES[(place // len(METHOD_COLOURS)) % len(LINE_STYLES)],
    )


def plain(name: object) -> str:
    """Return a method's or state's name as words: regularized_gradient → regularized gradient."""
    return label(str(name).replace("_", " "))


def printable(text: str) -> str:
    """Return a user's text without what would end its line, or speak to a terminal."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def label(text: object, longest: int = 40) -> str:
    """Return a user's text fit for a figure: printable, on one line, not longer than asked.

    A long text loses its middle, because names that begin alike often differ at their end.
    """
    clean = printable(str(text))
    if len(clean) <= longest:
        return clean
    tail = (longest - 1) // 3
    return clean[: longest - 1 - tail] + "…" + clean[len(clean) - tail :]


def number(value: float, digits: int = 2) -> str:
    """Return a number with a true minus sign; "–" for a missing one, "∞" for an infinite one."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def signed(value: float, digits: int = 2) -> str:
    """Return a number with its sign, also where it is positive: +0.35, −0.02, 0.00."""
    text = number(value, digits)
    return f"+{text}" if value > 0 and text.strip("0.,") else text


def percent(value: float, digits: int = 1) -> str:
    """Return a share as a percentage with its sign: 0.953 → 95.3 %."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{number(100 * value, digits)}\N{NO-BREAK SPACE}%"


def p_value(value: float) -> str:
    """Return a p value with three decimals, or as smaller than the least of those."""
    if value is None or math.isnan(value):
        return "–"
    return "<\N{THIN SPACE}0.001" if value < 0.001 else f"{value:.3f}"


def scientific(value: float) -> str:
    """Return a small number with two digits and a power of ten: 1.1 × 10⁻⁵."""
    if value == 0 or not math.isfinite(value):
        return number(value, 0)
    mantissa, exponent = f"{value:.1e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa.replace('-', '−')}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10{raised}"
