"""Print the JSON schema of study files: ``python -m recall_distortion.study``."""

from __future__ import annotations

from recall_distortion.study import schema

print(schema(), end="")
