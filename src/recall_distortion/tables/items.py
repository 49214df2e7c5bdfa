"""What the items of summary.csv say, by their sections: for docs/tables.md, and held by a test.

A word in angle brackets stands for a name that the study gives. No job imports this, so that a
better sentence reruns nothing.
"""

from __future__ import annotations

import re

from recall_distortion.vocabulary import VERDICTS

_EFFECTS = {
    "intensifies": "intensify beyond the control",
    "de_intensifies": "de-intensify beyond the control",
    "as_control": "do as the control does",
    "not_distinguishable": "cannot be distinguished from the control",
}
_COUNTS = {
    **{f"cells/{word}": f"Cells whose verdict against 1 is {word}." for word in VERDICTS},
    **{f"effects/{item}": f"Cells that {words}." for item, words in _EFFECTS.items()},
}
_WORDS = {"less": "intensifies less", "more": "intensifies more", "unknown": "says nothing"}
_KINDS = {"nominal": "at the nominal ratio", "equal": "at equal sparsity"}

#: What each item says, by section and item.
ITEMS: dict[str, dict[str, str]] = {
    "answer": {
        "panels": "Data sets with an architecture and a recipe each.",
        "methods": "Compression methods.",
        "ratios": "Compression ratios.",
        "classes": "Classes of the panel's data set.",
        "failures": "Networks that could not be trained or retrained.",
        "control_failures": "Those of the control.",
        "slopes": "Slopes of single networks.",
        "slopes/not_finite": "Those that are no finite number.",
        "seeds/least": "Seeds of the panel that has the fewest.",
        "seeds/most": "Seeds of the panel that has the most.",
        "dense_networks": "Dense networks of the panel.",
        "networks/least": "Networks of the cell that has the fewest.",
        "networks/most": "Networks of the cell that has the most.",
        "cells": "Cells of compression methods.",
        "cells/none": "Those without an interval.",
        "cells/never_dense": "Those whose networks were never dense, which are not held against 1.",
        "effects/none": "Cells without an estimated effect.",
        **_COUNTS,
        **{
            f"<verdict>/{item}": f"Cells of this verdict against 1 that {words}."
            for item, words in _EFFECTS.items()
        },
        "level/<i>": "The i-th confidence level of the cells' intervals.",
        "level/<i>/family_size": "How many ratios belong together at it.",
        "level/<i>/together": "The level that holds for these together (Bonferroni).",
        "reseed_recurs": "Whether weak classes of one dense network are weak (1) or strong (-1) in "
        "another; else 0.",
        "small/cells": "Cells for whose single networks the test set is too small.",
        "small/of": "Of how many.",
        "small/networks/least": "Dense networks of the one of them that has the fewest.",
        "small/networks/most": "Of the one that has the most.",
        "small/unstable/least": "Dense networks whose balances cannot be distinguished from noise: "
        "the fewest.",
        "small/unstable/most": "The most.",
        "small/reliability": "Share of the dense balances' variance that is not noise: the median.",
    },
    "limits": {
        "one_seed": "1 if a panel has fewer than two seeds, else 0.",
        "few_seeds": "1 if a panel has two or more, but fewer than the bootstrap needs, else 0.",
        "bootstrap_needs": "How many seeds the bootstrap needs.",
        "classes": "Classes of the data set that has the most.",
    },
    "metrics": {
        "dense_accuracy": "Mean test accuracy of the panel's dense networks.",
        "control_alpha": "The control's leading α.",
        "failures": "Networks that could not be trained or retrained.",
        **_COUNTS,
    },
    "over_both": {
        "slopes": "Pooled slopes with an estimate over other seeds and other images.",
        "slopes/unknown": "Those without an interval.",
        "slopes/seeds": "Those told from 1 over other seeds, on these images.",
        "slopes/both": "Those told from 1 over other seeds and other images.",
        "classes": "Classes of cells with an estimate of their change.",
        "classes/seeds": "Those whose change is told from none on these images.",
        "classes/both": "Those told from none over other images as well.",
    },
    "tradeoff": {
        "cells": "Retrained cells of which it can be judged what improves.",
        "unknown": "Those of which it cannot.",
        "both": "Those in which accuracy and balance improve.",
        "both/compared": "Of these, those with a difference of accuracy from the control.",
        "both/beyond_control": "Of these, those that are more accurate than the control.",
        "accuracy": "Those in which only accuracy improves.",
        "balance": "Those in which only balance does.",
        "neither": "Those in which neither does.",
        "worse": "Those in which accuracy falls.",
        "controls": "Cells of the control.",
        "controls/both": "Those in which both improve.",
        "variance": "Cells with a change in the variance of the balance.",
        "variance/grown": "Those in which it grew.",
        "equal": "Cells whose α is compared with one method’s at equal accuracy.",
        "equal/more": "Those that distort more.",
        "equal/less": "Those that distort less.",
        "equal/beyond": "Cells that cannot be compared with it.",
    },
    "classes": {
        "cells": "Verdicts against 1 of single networks' mean slopes.",
        "hanging": "Those that change when one class is left out.",
        "changes": "Combinations of cell and class that change one.",
        "changes/reversed": "Those from one side of 1 to the other.",
        "hanging/<class>": "Of the panel, the verdicts that change without this class.",
    },
    "seeds": {
        "rows": "Numbers of seeds that were asked for.",
        "unknown": "Those that cannot be computed.",
        "power": "The power that they are for.",
        "many": "More seeds than this are only counted.",
        "networks/least": "Networks of the cell that has the fewest.",
        "networks/most": "Networks of the cell that has the most.",
        "<question>/<effect>/cells": "Cells whose number of seeds to see this effect is known.",
        "<question>/<effect>/least": "The least number.",
        "<question>/<effect>/median": "Its median over cells.",
        "<question>/<effect>/beyond": "Cells that need more than `many`.",
        "<question>/<effect>/enough": "Cells that have as many as they need.",
    },
    "sparsity": {
        "same": "1 if all methods reach the same sparsity, else 0.",
        "networks/least": "Networks of the cell that has the fewest.",
        "networks/most": "Networks of the cell that has the most.",
        "<method>/ratios": "Comparisons of the method in which both realised ratios are known.",
        "<method>/more_weights": "Those in which it keeps more weights than the other method.",
        "<method>/fewer_weights": "Those in which it keeps fewer.",
        "<method>/<other>/first": "1 if the page names this other method by itself, else 0.",
        "<method>/<other>/comparisons": "Comparisons with the other method, or with (others).",
        **{
            f"<method>/<other>/{kind}/{word}": f"Those in which it {words} {where}."
            for kind, where in _KINDS.items()
            for word, words in _WORDS.items()
        },
        "<method>/<other>/survive": "Those in which it intensifies less at both.",
        "<method>/<other>/survive/certain": "Of these, those in which it does so even against the "
        "next denser networks.",
        "<method>/<other>/reversed": "Those in which less at the nominal ratio is more at equal "
        "sparsity.",
    },
    "quantized": {
        "cells": "Quantized cells, where a study has any.",
        "dense/cells": "Those of dense networks.",
        **{f"dense/{word}": f"Those whose verdict against 1 is {word}." for word in VERDICTS},
        "dense/none": "Those without a verdict.",
        "origin/cells": "Cells of networks that were retrained before.",
        **{
            f"origin/{word}": f"Those whose verdict against these networks is {word}."
            for word in VERDICTS
        },
        "origin/none": "Those without a verdict.",
    },
    "published": {
        "all": "Published cells.",
        "cells": "Those that this study has a verdict of.",
        "agree": "Those whose verdict is the published one.",
    },
    "mixed": {
        "models": "Mixed models that were fitted.",
        "models/absent": "Those that could not be estimated.",
        "models/disagree": "Those about which the fitters disagree.",
        "fits": "Fits of them.",
        "fits/singular": "Those with a variance of zero.",
        "fits/unconverged": "Those that did not converge.",
        "terms": "Terms with a standard error.",
        "terms/both": "Those that both fitters have.",
        "terms/difference": "The largest difference of their estimates.",
        "terms/error_difference": "Of their standard errors, as a share.",
        "terms/verdicts_differ": "Those on which their verdicts differ.",
        "<kind>/<believe>/models": "Models of a kind of which this is to be believed.",
        "<kind>/<believe>/spread/least": "The least `spread` of them.",
        "<kind>/<believe>/spread/most": "The largest.",
    },
    "computed": {
        "ways": "Of the panel, the ways in which its cells were computed.",
        "<device>/<engine>/<torch>": "Networks that were computed so.",
    },
    "notes": {
        "further": "Notes that the page does not show.",
        "<question>/<note>": "Rows of a question that have this note.",
    },
    "test_set": {
        "images": "Test images of the data set.",
        "classes": "Its classes.",
        "class/least": "Test images of the class that has the fewest.",
        "class/most": "Test images of the class that has the most.",
        "intercepts": "Retrained cells of which an intercept was estimated.",
        "intercepts/away": "Those whose intercept's interval excludes 0.",
        "intercepts/shift": "By how much a cell's mean slope moves at most with an intercept.",
    },
    "populations": {
        "images": "Test images of the panel's data set.",
        "cells": "Retrained cells of compression methods.",
        "cells/compared": "Those whose images are tested against the control's.",
        "cells/more": "Those with more PIEs than the control.",
        "cells/fewer": "Those with fewer.",
        "<control>/n": "Networks of a control.",
        "<control>/pies": "Images that they name otherwise than the dense networks.",
        "<control>/share": "Their share of all test images.",
        "reseed/n": "Networks in each half of the dense ones.",
        "reseed/pies": "Images that the networks in odd and even places name differently.",
        "reseed/fewer": "Networks at which all cells are compared.",
        "reseed/disjoint_median": "Images that as many dense networks and others name differently, "
        "in the median.",
        "reseed/disjoint_low": "The 5th percentile of these choices.",
        "reseed/disjoint_high": "The 95th.",
    },
    "class_tests": {
        "cells": "Retrained cells of compression methods.",
        "<test>/cells": "Those that have this test: published or own (Welch's), paired, control.",
        "<test>/classes": "The classes in them, each cell's counted.",
        "<test>/expected": "Classes with p of at most 0.05 in them where nothing moves.",
        "<test>/moved": "Classes with p of at most 0.05.",
        "<test>/adjusted": "Those left by Holm's adjustment over a cell's classes.",
        "reseed/<test>/moved": "Classes with p of at most 0.05 between dense networks.",
    },
    "fairness": {
        "measures": "Measures by which cells can be worse than the control.",
        "<measure>/cells": "Retrained cells that have the measure.",
        "<measure>/worse": "Those that are worse than the control by it.",
        "<measure>/better": "Those that are better.",
        "cells": "Retrained cells that have any.",
        "cells/every": "Those that are worse by every measure.",
        "cells/some": "Those that are by some.",
        "cells/none": "Those that are by none.",
    },
    "frequency": {
        "cells": "Retrained cells of unbalanced data that are compared with the control.",
        "rarer": "Those in which rare classes lose more than common ones, beyond the control.",
        "commoner": "Those in which they lose less.",
        "beside/rarer": "Those in which rare classes of equal dense recall lose more.",
        "beside/commoner": "Those in which these lose less.",
        "difficult": "Those in which classes of low dense recall lose more.",
    },
    "broken": {
        "cells": "Retrained cells whose networks hardly tell classes apart.",
        "cell/<method>/<ratio>": "The mean test accuracy of one.",
        "accuracy": "The largest of these.",
        "one_class": "The accuracy of naming the most frequent class always.",
        "dense_as_well": "1 if the dense networks do no better, else 0.",
    },
}


def declared(section: str, item: str) -> str:
    """Return the item of ``ITEMS`` that an item of summary.csv is one of; "" if there is none."""
    found = [name for name in ITEMS.get(section, {}) if _matches(name, item)]
    return max(found, key=lambda name: sum(map(len, _parts(name)[::2])), default="")


def _matches(name: str, item: str) -> bool:
    parts = (part if place % 2 == 0 else ".+" for place, part in enumerate(_parts(name)))
    return re.fullmatch("".join(parts), item) is not None


def _parts(name: str) -> list[str]:
    """Return a name's plain parts, escaped, and between them the words that stand for others."""
    found = re.split(r"<(\w+)>", name)
    return [re.escape(part) if place % 2 == 0 else part for place, part in enumerate(found)]
