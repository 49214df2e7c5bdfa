"""What networks.csv says of masks held against another method's: names, kinds and meanings."""

from __future__ import annotations

COLUMNS = (
    ("mask_other", "text", "The method whose masks the network's mask is held against."),
    ("mask_common", "count", "Weights that both masks keep, of one seed."),
    ("mask_shared", "share", "mask_common over the weights that the sparser of both keeps."),
    ("mask_shared_shuffled", "share",
     "The mean of that over masks that are shuffled within layers."),
    ("mask_shared_deviation", "number", "Its standard deviation over these."),
    ("mask_shared_seeds", "share",
     "The mean share where one of the two is another seed's network."),
    ("mask_shared_seeds_shuffled", "share",
     "The mean of that over masks that are shuffled within layers."),
    ("mask_iou", "share", "Intersection over union: mask_common over weights that either keeps."),
    ("mask_iou_shuffled", "share", "The same at the mean mask_common of shuffled masks."),
    ("mask_counts_by_layer", "text",
     "Of each layer the weights that both keep/this mask/the other/all."),
)  # fmt: skip
