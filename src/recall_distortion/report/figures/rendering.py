"""How figures look and become files, whatever settings the user has."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from recall_distortion.report import style

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

_RC: dict[RcKeyType, object] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.labelsize": 9.0,
    "axes.edgecolor": "#9aa3ae",
    "axes.labelcolor": style.INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.color": "#9aa3ae",
    "ytick.color": "#9aa3ae",
    "xtick.labelcolor": style.INK,
    "ytick.labelcolor": style.INK,
    "text.color": style.INK,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "grid.color": "#e6e9ee",
    "grid.linewidth": 0.7,
    "figure.facecolor": style.PAPER,
    "savefig.facecolor": style.PAPER,
    # A class may be called "$x$"; nothing in a figure is mathematics to be typeset.
    "text.parse_math": False,
    "text.usetex": False,
    "path.simplify": True,
}

PNG_DPI = 160  # five pixels to three CSS pixels: sharp on dense screens and in print

COLOURS = 128  # of a picture


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw and save with this package's settings, whatever matplotlibrc the user has."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def png_bytes(figure: Figure, dpi: int = PNG_DPI) -> bytes:
    """Return a figure as a PNG of few colours, a third the size of a true-colour one."""
    with figure_style():
        figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    # Median cut turned colours of few pixels, such as a legend's mark, to grey; maximum coverage
    # keeps every colour within 20 of 255 levels, and white exactly white.
    few = picture.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    few.save(buffer, format="PNG", optimize=True, dpi=(dpi, dpi))
    return buffer.getvalue()
