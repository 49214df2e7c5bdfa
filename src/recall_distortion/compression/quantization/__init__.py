"""Networks after training with fewer bits a number: their weights, and what lies between layers.

``arithmetic`` says what is computed, ``layers`` computes it with whole numbers that floating-point
numbers carry exactly, so that every device gives the same. Nothing is trained.
"""

from __future__ import annotations
