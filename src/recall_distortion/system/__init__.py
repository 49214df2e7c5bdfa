"""What a program meets on a machine: files, processes, devices, logs, errors."""

from __future__ import annotations
