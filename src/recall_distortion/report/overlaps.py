"""The listings of what masks of two methods share, where a study names pairs of methods."""

from __future__ import annotations

from recall_distortion.report.listings import PLACE, Listing, shown

_PAIR = (*PLACE, "reference|against|method", "n||whole")

OVERLAPS = {
    "overlaps": Listing(
        "Which weights two methods keep",
        "Do both methods keep the same weights? Shared is the share of the sparser mask’s weights "
        "that the other mask of the same seed and ratio keeps too, a mean over networks with its t "
        "interval. It is held against two kinds of chance. Shuffled: the same masks permuted at "
        "random within each layer, an exact mean; deviation is the standard deviation of one "
        "network’s share there. Other seeds: the mask of either method against the other’s of "
        "every other seed, which share what the data make any network keep, but neither initial "
        "weights nor order of the data. Differences are in points, and their intervals say more, "
        "fewer, or inconclusive; those of other seeds are jackknife intervals. Last, the "
        "intersection over the union of both masks and that of shuffled masks. By layer: "
        "networks.csv.",
        shown(
            *_PAIR, "shared||percent", "low||percent", "high||percent", "shuffled||percent",
            "seeds|other seeds|percent", "over_shuffled_verdict|than shuffled",
            "over_seeds_verdict|than other seeds",
            "over_shuffled|beyond shuffled|points", "over_shuffled_low|low|points",
            "over_shuffled_high|high|points", "over_shuffled_p_adjusted|adjusted p|p",
            "over_seeds|beyond other seeds|points", "over_seeds_low|low|points",
            "over_seeds_high|high|points", "over_seeds_p_adjusted|adjusted p|p",
            "seeds_over_shuffled_verdict|other seeds than shuffled",
            "seeds_over_shuffled|other seeds beyond shuffled|points",
            "seeds_over_shuffled_low|low|points", "seeds_over_shuffled_high|high|points",
            "seeds_over_shuffled_p_adjusted|adjusted p|p", "deviation||points off",
            "iou|intersection over union|three", "iou_shuffled|shuffled|three",
            "df||whole", "level||percent", "family_size|family|whole", "note",
        ),
    ),
    "pair_equivalence": Listing(
        "As accurate as the other method, to within a margin",
        "That no difference is found does not show that there is none. Each cell is held against "
        "the other method’s at the same ratio: mean difference of accuracy, paired by seed, with "
        "its t interval. Equivalent: the interval lies within the margin that the study states, "
        "on both sides of 0; not equivalent: it lies outside. Two one-sided tests: p is the "
        "larger of theirs.",
        shown(
            *_PAIR, "margin|margin, points|points off", "verdict|verdict|text",
            "difference|difference, points|points", "low||points", "high||points",
            "std_error|standard error|points off", "df||whole", "p||p",
            "p_adjusted|adjusted p|p", "level||percent", "family_size|family|whole", "note",
        ),
    ),
}  # fmt: skip
