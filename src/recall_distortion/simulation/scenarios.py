"""All scenarios of the simulation, each independent of the others and of how many run at once."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recall_distortion.simulation import coverage, levels, mixed, slopes
from recall_distortion.simulation.design import Design, unbalanced
from recall_distortion.simulation.rows import Row

FAMILIES = (
    slopes.FAMILY,
    coverage.T_FAMILY,
    coverage.BOOTSTRAP_FAMILY,
    levels.LEVEL_FAMILY,
    levels.POWER_FAMILY,
    mixed.FAMILY,
)
IMAGES = (50, 200, 1000)
CHEAP, HALVED, BOOTSTRAPPED, FITTED = 5, 0.5, 0.25, 0.05  # times the studies asked for

Function = Callable[[Design, int, np.random.Generator], list[Row]]


@dataclass(frozen=True)
class Scenario:
    """A design and what is asked of it; ``share`` of the studies asked for are simulated."""

    family: str
    label: str  # with the family it seeds the random numbers, so a new label gives new numbers
    function: Function
    design: Design
    share: float = 1.0

    def run(self, studies: int, seed: int) -> list[Row]:
        """Return the rows; the random numbers depend on ``seed`` and this scenario alone."""
        own = zlib.crc32(f"{self.family}: {self.label}".encode())
        rng = np.random.default_rng([seed, own])
        return self.function(self.design, max(2, round(studies * self.share)), rng)


def scenarios() -> list[Scenario]:
    """Return all scenarios in the order of the table."""
    return [*_slopes(), *_t_intervals(), *_bootstrap(), *_levels(), *_power(), *_mixed()]


def _slopes() -> list[Scenario]:
    found = []

    def add(label: str, design: Design) -> None:
        found.append(Scenario(slopes.FAMILY, label, slopes.slopes, design, HALVED))

    for images in IMAGES:
        for alpha in (1.0, 1.5):
            for agreement in (0.0, 0.5):
                name = f"{images} images, slope {alpha:g}, agreement {agreement:g}"
                add(name, slopes.design(images, alpha, agreement))
                add(f"{name}, unbalanced", slopes.design(unbalanced(images), alpha, agreement))
                if agreement == 0:
                    large = slopes.design(images, alpha, agreement, large=True)
                    add(f"{name}, large balances", large)
    return found


def _t_intervals() -> list[Scenario]:
    found = []
    for seeds in (5, 10, 30):
        for images, skew in ((None, 0.0), (None, 0.5), (None, 1.0), *((n, 0.0) for n in IMAGES)):
            label = f"{seeds} seeds, {images or 'exact'} images, skew {skew:g}"
            design = coverage.t_design(seeds, images, skew)
            times = CHEAP if images is None else 1.0
            found.append(Scenario(coverage.T_FAMILY, label, coverage.t_intervals, design, times))
    return found


def _bootstrap() -> list[Scenario]:
    found = []
    for seeds in (5, 10, 30):
        for images, skew in ((None, 0.0), *((n, 0.0) for n in IMAGES), (1000, 0.5), (1000, 1.0)):
            label = f"{seeds} seeds, {images or 'exact'} images, skew {skew:g}"
            design = coverage.bootstrap_design(seeds, images, skew)
            function = coverage.bootstrap_intervals
            found.append(Scenario(coverage.BOOTSTRAP_FAMILY, label, function, design, BOOTSTRAPPED))
    return found


def _levels() -> list[Scenario]:
    found = []

    def add(label: str, function: Function, design: Design, times: float) -> None:
        found.append(Scenario(levels.LEVEL_FAMILY, label, function, design, times))

    for seeds in (10, 30):
        for images, skew in ((None, 0.0), (None, 0.5), *((n, 0.0) for n in IMAGES)):
            label = f"{seeds} seeds, {images or 'exact'} images, skew {skew:g}"
            times = CHEAP if images is None else 1.0
            design = levels.null_sweep(seeds, images, skew)
            add(f"ratios, {label}", levels.sweep_errors, design, times)
            design = levels.null_methods(seeds, images, skew)
            add(f"methods, {label}", levels.method_errors, design, times)
            design = levels.null_networks(seeds, images, skew)
            add(f"networks, {label}", levels.network_errors, design, times)
        label = f"growing sd, {seeds} seeds"
        design = levels.null_sweep(seeds, None, growing=True)
        add(label, levels.sweep_errors, design, CHEAP)
        for images in (200, 1000):
            label = f"{seeds} seeds, {images} images"
            design = levels.null_sweep(seeds, images)
            add(f"cross-fitted, {label}", levels.crossfit_errors, design, BOOTSTRAPPED)
            design = levels.null_sweep(seeds, images, growing=True)
            add(f"cross-fitted, growing sd, {label}", levels.crossfit_errors, design, BOOTSTRAPPED)
            design = levels.null_sweep(seeds, images, agreeing_control=True)
            add(f"loyal control, {label}", levels.sweep_errors, design, 1.0)
            add(f"cross-fitted, loyal, {label}", levels.crossfit_errors, design, BOOTSTRAPPED)
    return found


def _power() -> list[Scenario]:
    return [
        Scenario(
            levels.POWER_FAMILY,
            f"{seeds} seeds, effect {effect:g}",
            levels.power,
            levels.effect_design(seeds, effect),
            CHEAP,
        )
        for seeds in (10, 30)
        for effect in (0.02, 0.05, 0.1)
    ]


def _mixed() -> list[Scenario]:
    return [
        Scenario(
            mixed.FAMILY,
            f"10 seeds, {'growing' if growing else 'equal'} class scatter",
            mixed.class_models,
            mixed.design(growing=growing),
            FITTED,
        )
        for growing in (False, True)
    ]
