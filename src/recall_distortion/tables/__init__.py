"""The tables of a study: what they hold, and how they are read and written."""

from __future__ import annotations
