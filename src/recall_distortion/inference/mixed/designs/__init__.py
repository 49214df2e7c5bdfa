"""The mixed models that a study's tables give."""

from __future__ import annotations
