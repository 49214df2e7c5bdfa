"""Which columns of which table the page lists, under which heading, and in which form."""

from __future__ import annotations

from dataclasses import dataclass

from recall_distortion.measures.measure import Measure
from recall_distortion.measures.of_networks import MEASURES
from recall_distortion.tables.schema import TABLES
from recall_distortion.vocabulary import BOOTSTRAP, FITTERS, PYMER4, STATSMODELS

# Columns that listings have for something else than the schema says.
_OTHERWISE = {"reference", "state"}


@dataclass(frozen=True)
class Column:
    """A column to show: its name in the table, its heading, and how its values are written."""

    name: str
    heading: str
    form: str


@dataclass(frozen=True)
class Listing:
    """A table's title, what it says of itself, its columns, and the file that they come from."""

    title: str
    note: str
    columns: list[Column]
    table: str = "estimates"

    def meaning(self, name: str) -> str:
        """Return what a column means, in the words of the file's schema; "" of any other column.

        A column of one of several fitters has its name behind it.
        """
        if name in _OTHERWISE:
            return ""
        for fitter in FITTERS:
            name = name.removesuffix(f"_{fitter}")
        columns = {column.name: column.meaning for column in TABLES[self.table].columns}
        return columns.get(name, "")


def shown(*specifications: str) -> list[Column]:
    """Return columns from "name|heading|form"; heading and form may be left out."""
    found = []
    for specification in specifications:
        name, heading, form = (*specification.split("|"), "", "")[:3]
        found.append(Column(name, heading or name.replace("_", " "), form or "text"))
    return found


PLACE = ("dataset", "architecture|network", "recipe", "method||method", "ratio||ratio")
CELL = (*PLACE, "state||method")
_LEVEL = ("level||percent", "family_size|family|whole")
_ERROR = ("std_error|standard error|four", "df||whole")


def _meaning(measure: Measure) -> str:
    """Return what a measure is, its title first, which some meanings begin with themselves."""
    title, meaning = measure.title, measure.column.meaning
    if meaning.casefold().startswith(title.casefold()):
        return meaning
    return f"{title[:1].upper()}{title[1:]}: {meaning}"


def _fitter(name: str) -> tuple[str, ...]:
    return (
        f"estimate_{name}|{name} estimate|four", f"std_error_{name}|SE|four",
        f"df_{name}|df|whole", f"low_{name}|low|three", f"high_{name}|high|three",
        f"p_intensification_adjusted_{name}|adj. p, above|p",
        f"p_deintensification_adjusted_{name}|adj. p, below|p",
        f"verdict_{name}|verdict|verdict",
    )  # fmt: skip


LISTINGS: dict[str, Listing] = {
    "effects": Listing(
        "Effects: each cell against the control",
        "Difference of α from the control’s. On the basis “cross-fitted” the cell is read by the "
        "pooled slopes of all networks, with a bootstrap interval; on the basis “mean” by the "
        "networks’ own slopes, paired by seed, with a t interval. Verdict and reading follow the "
        "basis; the p values belong to the paired t-test.",
        shown(
            *CELL, "n||whole", "reading||reading", "basis", "verdict|verdict against 0|verdict",
            "crossfit_difference|cross-fitted difference|three", "crossfit_low|low|three",
            "crossfit_high|high|three", "crossfit_control|control’s cross-fitted α|three",
            "difference|mean difference|three", "low||three", "high||three",
            "control|control’s mean α|three", *_ERROR, "p||p", "p_adjusted|adjusted p|p", *_LEVEL,
            "note",
        ),
    ),
    "quantized": Listing(
        "Quantized networks against those that were quantized",
        "Difference of α from that of the same networks before, where these had been retrained; "
        "what was quantized of dense networks is read against 1. On the basis “cross-fitted” the "
        "cell is read by the pooled slopes of all networks, with a bootstrap interval; on the "
        "basis “mean” by the networks’ own slopes, paired by seed, with a t interval. The p values "
        "belong to the paired t-test.",
        shown(
            *CELL, "origin|quantizes|method", "n||whole", "basis",
            "verdict|verdict against 0|verdict",
            "crossfit_difference|cross-fitted difference|three", "crossfit_low|low|three",
            "crossfit_high|high|three", "crossfit_other|cross-fitted α before|three",
            "difference|mean difference|three", "low||three", "high||three",
            "other|mean α before|three", *_ERROR, "p||p", "p_adjusted|adjusted p|p", *_LEVEL,
            "note",
        ),
    ),
    "sizes": Listing(
        "Realised size",
        "Bits of a weight, the bytes of a network, and how many of its weights are 0, means over "
        "networks; and mean, least and largest realised ratio.",
        shown(
            *PLACE, "n||whole", "bits|bits a weight|whole", "bytes||whole",
            "zeros|weights of 0|whole", "mean_ratio|realised|two", "min_ratio|least|two",
            "max_ratio|largest|two", "kept_prunable|weights not pruned|whole",
            "total|parameters before|whole",
        ),
    ),
    "verdicts": Listing(
        "Verdicts and intervals",
        "The published criterion: the t interval of the mean slope over networks, against 1. Where "
        "“interpret” says “cross-fitted slope of all networks”, "
        "the test set is too small for the slopes of single "
        "networks: read the table of pooled slopes instead.",
        shown(
            *CELL, "n||whole", "mean|mean α|three", "low||three", "high||three", *_ERROR, *_LEVEL,
            "verdict||verdict", "interpret", "alpha_crossfit|median cross-fitted α|three",
            "nonfinite|without a slope|whole", "note",
        ),
    ),
    "pooled": Listing(
        "Pooled slopes",
        "One slope over the classes of all networks: plain, as in the paper’s Figure 5, and "
        "cross-fitted, which noise of the test set does not pull towards 0. Intervals are "
        "bootstrapped over seeds. Reliability is the share of the dense balances’ variance that is "
        "not noise of the test set. Unstable are dense networks whose denominator cannot be "
        "distinguished from zero. Effective classes are 1 over the sum of the classes’ squared "
        "shares in the denominator; where they are few, “narrow” says why.",
        shown(
            *CELL, "n||whole", "alpha_crossfit|cross-fitted α|three", "crossfit_low|low|three",
            "crossfit_high|high|three", "crossfit_verdict|verdict|verdict",
            "alpha|plain α|three", "low||three", "high||three", "r2|r²|three", *_LEVEL,
            "denominator||tiny", "reliability||three", "unstable||whole", "interpret",
            "effective_classes|effective classes|two",
            "median_effective_classes|median of the networks’|two", "leading_class|leading class",
            "leading_index|its number", "leading_share|its share|percent",
            "unnamed|classes never predicted|whole", "narrow", "note",
        ),
    ),
    "slopes_over_both": Listing(
        "Slopes over other seeds and other images",
        "All networks answer the same test images: an interval over seeds says what other seeds "
        "would show on these images. Beside it stands the one over other seeds and other images: "
        "its variance is that of seeds, by Student’s t, and of images, less their interaction, and "
        "the ends are Fieller’s. The slopes are the cross-fitted ones of all networks.",
        shown(
            *CELL, "n||whole", "alpha|cross-fitted α|three", "low||three", "high||three",
            "verdict||verdict", "seeds_low|low, these images|three",
            "seeds_high|high, these images|three", "seeds_verdict|verdict, these images|verdict",
            "difference|difference from the control|three", "difference_low|low|three",
            "difference_high|high|three", "difference_verdict|verdict against 0|verdict",
            "control|control’s cross-fitted α|three", *_LEVEL, "note",
        ),
    ),
    "classes_over_both": Listing(
        "Classes over other seeds and other images",
        "What each class’s recall changed by from the dense networks, in points: its interval over "
        "other seeds and other images, and over other seeds on these images. They are one a class "
        "and adjusted for nothing.",
        shown(
            *CELL, "class", "class_name|class’s name", "n||whole", "before|recall before|percent",
            "change||points", "low||points", "high||points", "std_error|standard error|points off",
            "seeds_low|low, these images|points", "seeds_high|high, these images|points",
            "level||percent",
        ),
    ),
    "tradeoff": Listing(
        "Accuracy beside distortion",
        "Means over networks, with paired t intervals of the changes in accuracy. “Improves” says "
        "“both” where the accuracy’s interval lies above 0, α’s below 1, and the variance falls. "
        "The variance is that of the recall balance over classes, not normalized.",
        shown(
            *CELL, "n||whole", "improves", "accuracy_before|accuracy before|percent",
            "accuracy_after|after|percent", "accuracy_change|change, points|points",
            "accuracy_low|low|points", "accuracy_high|high|points",
            "std_error|standard error|points off", "df||whole",
            "accuracy_over_control|over control, points|points", "over_control_low|low|points",
            "over_control_high|high|points", "control_accuracy|control’s accuracy|percent",
            "control_n|n with control|whole", "level||percent", "alpha|mean α|three",
            "alpha_verdict|verdict|verdict", "variance_before|variance before|tiny",
            "variance_after|variance after|tiny", "variance_change|its change|tiny", "note",
        ),
    ),
    "measures": Listing(
        "Further measures",
        " ".join(map(_meaning, MEASURES))
        + " Means over networks with t intervals. The change is from the dense networks; the "
        "difference from the control is paired by seed. In rows of reseed another dense network "
        "takes the place of the compressed one. Before retraining: in the file.",
        shown(
            *CELL, "measure", "n||whole", "mean||four", "low||four", "high||four",
            "before|dense|four", "change||four", "control|control’s|four",
            "over_control|over control|four", "over_control_low|low|four",
            "over_control_high|high|four", "p||p", "p_adjusted|adjusted p|p", *_LEVEL, "note",
        ),
    ),
    "influence": Listing(
        "Leave one class out",
        "The mean slope of a cell with one class’s terms left out of both sums. Rows in which "
        "that changes the verdict stand first.",
        shown(
            *CELL, "class", "class_name|class left out", "share|share of denominator|percent",
            "unnamed|dense networks that never predict it|whole", "n||whole", "changes",
            "mean|mean α without|three", "low||three", "high||three", *_ERROR, "level||percent",
            "verdict|verdict without|verdict", "mean_all|with all|three",
            "verdict_all|verdict with all|verdict",
        ),
    ),
    "seeds": Listing(
        "Seeds needed",
        "How many seeds have a power of 0.8, by the noncentral t distribution, to distinguish α "
        "from 1 or from the control’s where it lies as far away as the heading says. Cautious: "
        "with the upper 80 % limit of the standard deviation, which a pilot study knows only "
        "roughly.",
        [],  # its columns follow the effects that were asked for
    ),
    "tests": Listing(
        "Tests",
        "",
        shown(
            *PLACE, "left||method", "right||method", "alternative", "paired||truth",
            "n_left|n left|whole", "n_right|n right|whole", "estimate|difference|three", "t||two",
            "df||whole", "p||p", "p_adjusted|adjusted p|p", "adjustment", "family|adjusted over",
            "note",
        ),
        "tests",
    ),
    "mixed": Listing(
        "Mixed models",
        "pymer4, statsmodels and the bootstrap over seeds side by side. Two fitters agree where "
        "their estimates and standard errors do; pymer4 gives Satterthwaite’s degrees of freedom, "
        "statsmodels a normal approximation, so their p values may differ. The one-sided p values "
        "ask whether a slope or level lies above or below 1, and a trend above or below 0.",
        shown(
            "model", *PLACE, "term", "believe", *_fitter(PYMER4), *_fitter(STATSMODELS),
            "difference|statsmodels less pymer4|tiny", *_fitter(BOOTSTRAP),
        ),
        "mixed_models",
    ),
    "fits": Listing(
        "Fits of the mixed models",
        "Spread is the largest residual standard deviation of a cell over the smallest; the model "
        "takes them to be equal.",
        shown(
            "model", "fitter", "believe", "spread||two", "formula", "rows||whole", "groups",
            "loglik|log-likelihood|two", "singular||truth", "converged||truth", "message",
        ),
        "mixed_model_fits",
    ),
    "sparsity": Listing(
        "Realised sparsity",
        "Mean, least and largest realised ratio over networks, and the share of the prunable "
        "weights that was kept.",
        shown(
            *PLACE, "n||whole", "mean_ratio|realised|two", "min_ratio|least|two",
            "max_ratio|largest|two", "kept_fraction|kept|percent",
            "kept_prunable|weights kept|whole", "prunable|prunable weights|whole",
            "total|all parameters|whole", "note",
        ),
    ),
    "equivalence": Listing(
        "As accurate as the control, to within a margin",
        "Mean difference of a cell’s accuracy from its control’s, paired by seed, with its t "
        "interval. Where all of this lies within the margin on both sides of 0 the two are "
        "equivalent: two one-sided tests, whose p value is that of the larger. That no difference "
        "is found says less.",
        shown(
            *CELL, "n||whole", "verdict|verdict within the margin|text", "margin||points",
            "difference||points", "low||points", "high||points", *_ERROR, "p||p",
            "p_adjusted|adjusted p|p", *_LEVEL, "note",
        ),
    ),
    "equal_accuracy": Listing(
        "At equal accuracy",
        "α beyond the control of each cell less that of one method where it costs as much "
        "accuracy beside its own control, interpolated between the cells that the note names; "
        "cross-fitted slopes of all networks with bootstrap intervals, which allow for how well "
        "the accuracies are known.",
        shown(
            *PLACE, "reference|against|method", "n||whole", "verdict|at equal accuracy|against",
            "other|α of the other beyond its control|three", "difference|difference of α|three",
            "low||three", "high||three", *_LEVEL, "note",
        ),
    ),
    "equal_sparsity": Listing(
        "At equal sparsity",
        "Methods whose realised ratio is more than 1 % off what others reach, after retraining, "
        "against each other method: at the same nominal ratio, with the other method "
        "interpolated, seed by seed, to the ratio that each network realised, and with its next "
        "denser networks as they are. Differences of the cross-fitted slopes of all networks with "
        "bootstrap intervals; of accuracies, in points, with paired t intervals.",
        shown(
            *PLACE, "state||method", "reference|against|method",
            "realised_ratio|realised|two", "reference_ratio|other’s realised|two",
            "n||whole", "nominal_reading|at the nominal ratio|against",
            "nominal_other|α of the other|three",
            "nominal_difference|difference of α|three", "nominal_low|low|three",
            "nominal_high|high|three", "equal_reading|at equal sparsity|against",
            "equal_other|α of the other|three",
            "equal_difference|difference of α|three", "equal_low|low|three",
            "equal_high|high|three", "denser_reading|next denser networks|against",
            "denser_other|α of the other|three",
            "denser_difference|difference of α|three", "denser_low|low|three",
            "denser_high|high|three", "nominal_other_accuracy|other’s accuracy|percent",
            "nominal_accuracy|accuracy, nominal|points",
            "nominal_accuracy_low|low|points", "nominal_accuracy_high|high|points",
            "equal_other_accuracy|other’s accuracy|percent",
            "equal_accuracy|accuracy, equal|points", "equal_accuracy_low|low|points",
            "equal_accuracy_high|high|points", "denser_other_accuracy|other’s accuracy|percent",
            "denser_accuracy|accuracy, denser|points",
            "denser_accuracy_low|low|points", "denser_accuracy_high|high|points", *_LEVEL, "note",
        ),
    ),
    "intercepts": Listing(
        "Intercept check",
        "The mean slope without and with an intercept; only a balanced test set makes them equal "
        "by construction.",
        shown(
            *CELL, "n||whole", "slope||three", "slope_with_intercept|with intercept|three",
            "intercept||four", "intercept_low|low|four", "intercept_high|high|four", *_ERROR,
            "level||percent",
        ),
    ),
    "failures": Listing(
        "Replicates that failed",
        "A network that could not be trained or retrained is missing from every table above.",
        shown(*PLACE, "state|state not reached|method", "seed||whole", "failure|why"),
        "networks",
    ),
    "engines": Listing(
        "What computed the networks",
        "How, how precisely and where each cell’s networks were trained or, where pruned, "
        "retrained, and with which version of torch; seeds counts the replicates that were "
        "computed so.",
        shown(*PLACE, "seeds||whole", "engine", "device", "torch"),
        "networks",
    ),
    "published": Listing(
        "Against the published study",
        "The cells that the published study and this one share.",
        shown(
            *PLACE, "published_verdict||verdict", "verdict|verdict here|verdict",
            "agrees||truth", "published_alpha|published slope|three",
            "pooled_alpha|pooled slope here|three", "published_accuracy||percent",
            "accuracy|accuracy here|percent",
        ),
        "published",
    ),
}  # fmt: skip

SEEDS_KEYS = shown(*PLACE, "question|α against|question", "n||whole", "sd||four",
                      "level||percent")  # fmt: skip

# Columns that are said once above the table where all rows agree.
ONCE = {
    "dataset", "architecture", "recipe", "state", "level", "family_size", "alternative", "paired",
    "adjustment", "nonfinite", "model", "n_left", "n_right", "singular", "converged", "formula",
    "n", "control_n", "df", "basis", "interpret", "unstable", "believe", "device", "torch",
}  # fmt: skip
QUESTIONS = {
    "control": "does pruning differ from the control?",
    "ratio": "does a larger ratio intensify more?",
    "architecture": "does the smaller network intensify more?",
    "dataset": "does the harder data set intensify more?",
    "method": "do two methods differ?",
    "recipe": "does the recipe matter?",
}
MODELS = {
    "class_level": "slopes of the classes, as the balances are",
    "class_level_scaled": "slopes of the classes, each cell scaled by its residual scatter",
    "model_level": "slopes of the networks, and their trend per doubling of the ratio",
    "model_level_scaled": "the same, each cell weighted by its residual scatter",
    "across_architectures": "how slopes and trends depend on the number of parameters",
    "across_architectures_scaled": "the same, each cell weighted by its residual scatter",
    "across_datasets": "how slopes and trends depend on the dense error",
    "across_datasets_scaled": "the same, each cell weighted by its residual scatter",
}
