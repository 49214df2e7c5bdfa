"""Colours, marks and number formats shared by the figures and the page."""

from __future__ import annotations

import math
import re

# Okabe and Ito's palette, told apart by people with any common colour blindness.
BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, ORANGE, BLACK = "#56B4E9", "#E69F00", "#000000"
INK, MUTED, RULE, PAPER = "#1b2430", "#5b6572", "#d5dae1", "#ffffff"
CONTROL_COLOUR = "#8a929c"

METHOD_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE, BLACK)
METHOD_MARKERS = ("o", "s", "^", "D", "v", "p", "<", "h", ">", "8", "d")
LINE_STYLES = ("-", "--", "-.", ":")

VERDICT_COLOURS = {
    "intensification": VERMILLION,
    "de-intensification": BLUE,
    "inconclusive": MUTED,
}
VERDICT_MARKERS = {"intensification": "^", "de-intensification": "v", "inconclusive": "o"}
VERDICT_SIGNS = {"intensification": "▲", "de-intensification": "▼", "inconclusive": "○"}
# The control's own change is grey, as the control is everywhere.
READING_COLOURS = {
    "intensifies beyond the control": VERMILLION,
    "de-intensifies beyond the control": BLUE,
    "as the control shows too": CONTROL_COLOUR,
    "not told from the control": MUTED,
}
READING_MARKERS = {
    "intensifies beyond the control": "^",
    "de-intensifies beyond the control": "v",
    "as the control shows too": "s",
    "not told from the control": "o",
}
READING_SIGNS = {
    "intensifies beyond the control": "▲",
    "de-intensifies beyond the control": "▼",
    "as the control shows too": "■",
    "not told from the control": "○",
}

# Characters that no font has, and line breaks that would tear a label.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u2028\u2029]+")


def method_look(method: str, methods: list[str]) -> tuple[str, str, str]:
    """Return colour, marker and line style of a method; no two of up to 28 methods look alike."""
    place = methods.index(method)
    return (
        METHOD_COLOURS[place % len(METHOD_COLOURS)],
        METHOD_MARKERS[place % len(METHOD_MARKERS)],
        LINE_STYLES[(place // len(METHOD_COLOURS)) % len(LINE_STYLES)],
    )


def plain(name: object) -> str:
    """Return a method's or state's name as words: regularized_gradient → regularized gradient."""
    return label({"finetuned": "fine-tuned"}.get(str(name), str(name).replace("_", " ")))


def label(text: object, longest: int = 40) -> str:
    """Return a user's text fit for a figure: printable, on one line, not longer than asked.

    A long text loses its middle, because names that begin alike often differ at their end.
    """
    clean = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(text))
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
