"""From predictions to measures: arrays in, tables out; no files, no torch."""

from __future__ import annotations
