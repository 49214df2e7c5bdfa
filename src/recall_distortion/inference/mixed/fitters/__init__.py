"""The programs that fit the mixed model; they take seconds to import, which ``prepare`` does."""

from __future__ import annotations
