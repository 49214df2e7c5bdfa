"""Which methods are trained as which control, in words."""

from __future__ import annotations

from recall_distortion.report import style
from recall_distortion.report.phrases import join
from recall_distortion.report.tables import ReportTables
from recall_distortion.tables.controls import Controls
from recall_distortion.vocabulary import CONTROL_EVENTS, CONTROL_GRADUAL


def while_training(data: ReportTables) -> dict[str, str]:
    """Return those that prune gradually and those that do at events, by what the page says."""
    return {"gradually": of_arm(data, CONTROL_GRADUAL), "at_events": of_arm(data, CONTROL_EVENTS)}


def of_arm(data: ReportTables, arm: str) -> str:
    """Return the methods that are read against an arm."""
    of = Controls.of(data.networks).arm
    return join([style.label(name) for name in data.methods if of(name) == arm])
