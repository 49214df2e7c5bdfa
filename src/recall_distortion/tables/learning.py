"""What estimates.csv says of networks that learn nothing, as a part of a view."""

from __future__ import annotations

from recall_distortion.tables.parts import Part, View, interval

SHARE_THAT_LEARNS = "share of seeds that learn"
EXACT = "Clopper-Pearson"

#: The views by name. What is referred to is the accuracy from which on a network learned.
LEARNING: dict[str, View] = {
    "learning": View(
        [Part(SHARE_THAT_LEARNS, EXACT, interval("learn", reference="threshold"))],
    ),
}
