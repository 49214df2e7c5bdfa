"""What is asked of a study, one question a file."""

from __future__ import annotations
