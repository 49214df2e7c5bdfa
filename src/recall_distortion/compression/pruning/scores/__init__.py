"""The criteria, one a file: ``score``, and ``select`` where not the highest scores stay.

A job imports those that it prunes by, by their names, and depends on no other.
"""

from __future__ import annotations
