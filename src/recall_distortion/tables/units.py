"""What networks.csv says of dead units: names, kinds as the schema has them, and meanings."""

from __future__ import annotations

COLUMNS = (
    ("dead_units", "share",
     "Dead units, whose rectifier gets at most 0 for every training image and place, over units."),
    ("linear_units", "share", "Linear units, whose rectifier gets more than 0 for every one."),
    ("dead_points", "share",
     "Training images for which no unit of some layer of rectifiers gets more than 0."),
    ("units", "count", "Units of all layers that pruning did not remove."),
    ("points", "count", "Training images that these were counted over."),
    ("dead_units_by_layer", "text", "Dead units/units of each layer of rectifiers, in order."),
    ("linear_units_by_layer", "text", "Linear units/units of each."),
    ("dead_points_by_layer", "text",
     "Training images for which no unit of it gets more than 0, of each."),
)  # fmt: skip
