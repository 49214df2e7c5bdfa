"""Intervals, tests and the bootstrap, of arrays."""

from __future__ import annotations
