"""Pruning: what scores a weight, and which weights stay."""

from __future__ import annotations
