"""Measures and inference from files to files: a module for each kind of job of the workflow.

Each imports what its job needs and no more; an edit of one reruns its job alone.
"""

from __future__ import annotations
