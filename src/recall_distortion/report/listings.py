"""Which columns of which table the page lists, under which heading, and in which form."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A column to show: its name in the table, its heading, and how its values are written."""

    name: str
    heading: str
    form: str


@dataclass(frozen=True)
class Listing:
    """A table's title, what it says of itself, and its columns."""

    title: str
    note: str
    columns: list[Column]


def _columns(*specifications: str) -> list[Column]:
    """Return columns from "name|heading|form"; heading and form may be left out."""
    found = []
    for specification in specifications:
        name, heading, form = (*specification.split("|"), "", "")[:3]
        found.append(Column(name, heading or name.replace("_", " "), form or "text"))
    return found


_PLACE = ("dataset", "architecture|network", "method||method", "ratio||ratio")
_CELL = (*_PLACE, "state||method")
_LEVEL = ("level||percent", "family_size|family|whole")


def _engine(name: str, heading: str) -> tuple[str, ...]:
    return (
        f"estimate_{name}|{heading} estimate|four", f"std_error_{name}|SE|four",
        f"df_{name}|df|whole", f"low_{name}|low|three", f"high_{name}|high|three",
        f"p_intensification_adjusted_{name}|adj. p, above|p",
        f"p_deintensification_adjusted_{name}|adj. p, below|p",
        f"verdict_{name}|verdict|verdict",
    )  # fmt: skip


LISTINGS: dict[str, Listing] = {
    "effects": Listing(
        "Effects: each cell against the control",
        "Difference of α from the control’s. Pooled: the bootstrap interval of the cross-fitted "
        "slopes of all models; per model: the paired t interval of the same seed’s slopes. The "
        "reading follows the basis; the p values belong to the paired t-test.",
        _columns(
            *_CELL, "n||whole", "reading||reading", "basis", "verdict|verdict against 0|verdict",
            "crossfit_difference|cross-fitted difference|three", "crossfit_low|low|three",
            "crossfit_high|high|three", "difference|per-model difference|three", "low||three",
            "high||three", "p||p", "p_adjusted|adjusted p|p", *_LEVEL, "note",
        ),
    ),
    "verdicts": Listing(
        "Verdicts and intervals",
        "The published criterion: the t interval of the mean slope over models, against 1. Where "
        "“interpret” says pooled, the test set is too small for slopes of single models, and the "
        "table of pooled slopes is to be read instead.",
        _columns(
            *_CELL, "n||whole", "mean|mean α|three", "low||three", "high||three", *_LEVEL,
            "verdict||verdict", "interpret", "alpha_crossfit|median cross-fitted α|three",
            "nonfinite|not finite|whole", "note",
        ),
    ),
    "pooled": Listing(
        "Pooled slopes",
        "One slope over the classes of all models. Naive as in the paper’s Figure 5, and "
        "cross-fitted, which noise of the test set does not pull towards 0; bootstrap intervals "
        "over seeds. Reliability is the share of the dense balances’ variance that is not "
        "test-set noise; unstable counts dense models whose denominator cannot be told from zero. "
        "Effective classes are 1 over the sum of squared shares in the denominator.",
        _columns(
            *_CELL, "n||whole", "alpha_crossfit|cross-fitted α|three", "crossfit_low|low|three",
            "crossfit_high|high|three", "crossfit_verdict|verdict|verdict",
            "alpha|naive α|three", "low||three", "high||three", "r2|r²|three", "level||percent",
            "denominator||tiny", "reliability||three", "unstable||whole",
            "per_model|per model|truth", "effective_classes|effective classes|two",
            "median_effective_classes|median of the models’|two", "leading_class|leading class",
            "leading_share|its share|percent", "unnamed|classes never named|whole",
            "narrow", "note",
        ),
    ),
    "tradeoff": Listing(
        "Accuracy beside distortion",
        "Means over models; accuracy intervals are paired t intervals. “Improves” is both where "
        "the accuracy’s interval lies above 0, α’s below 1 and the variance falls. The variance "
        "of the recall balance over classes is not normalized.",
        _columns(
            *_CELL, "n||whole", "improves", "accuracy_before|accuracy before|percent",
            "accuracy_after|after|percent", "accuracy_change|change, points|points",
            "accuracy_low|low|points", "accuracy_high|high|points",
            "accuracy_over_control|over control, points|points", "over_control_low|low|points",
            "over_control_high|high|points", "level||percent", "alpha|mean α|three",
            "alpha_verdict|verdict|verdict", "variance_before|variance before|tiny",
            "variance_after|variance after|tiny", "note",
        ),
    ),
    "influence": Listing(
        "Leave one class out",
        "The mean slope of a cell with one class’s terms left out of both sums; rows in which "
        "that changes the verdict stand first.",
        _columns(
            *_CELL, "class||whole", "class_name|class left out",
            "share|share of denominator|percent", "unnamed|dense models that never name it|whole",
            "n||whole",
            "changes|verdict changes|truth", "mean|mean α without|three", "low||three",
            "high||three", "level||percent", "verdict|verdict without|verdict",
            "mean_all|with all|three", "verdict_all|verdict with all|verdict",
        ),
    ),
    "seeds": Listing(
        "Seeds needed",
        "Seeds for a power as given, by the noncentral t distribution, to tell α from 1 (alpha) or "
        "from the control (control) by the effect named. Cautious: with the upper 80 % limit of "
        "the standard deviation, which a pilot study knows only roughly.",
        [],  # its columns follow the effects that were asked for
    ),
    "tests": Listing(
        "Tests",
        "",
        _columns(
            *_PLACE, "left||method", "right||method", "alternative", "paired||truth",
            "n_left|n left|whole", "n_right|n right|whole", "estimate|difference|three", "t||two",
            "df||whole", "p||p", "p_adjusted|adjusted p|p", "adjustment", "family|adjusted over",
            "note",
        ),
    ),
    "mixed": Listing(
        "Mixed models",
        "pymer4, statsmodels and the bootstrap over seeds side by side. The engines agree when "
        "estimates and standard errors do; pymer4 gives Satterthwaite degrees of freedom, "
        "statsmodels a normal approximation, so their p values may differ. The one-sided p values "
        "ask for a slope or level above and below 1, and a trend above and below 0.",
        _columns(
            "model", *_PLACE, "term", "believe", *_engine("pymer4", "pymer4"),
            *_engine("statsmodels", "statsmodels"), "difference|pymer4 less statsmodels|tiny",
            *_engine("bootstrap", "bootstrap"),
        ),
    ),
    "fits": Listing(
        "Fits of the mixed models",
        "Spread is the largest over the smallest residual standard deviation among cells, which "
        "the model takes to be equal.",
        _columns(
            "model", "engine", "believe", "spread||two", "formula", "rows||whole", "groups",
            "loglik|log-likelihood|two", "singular||truth", "converged||truth", "message",
            "seconds||two",
        ),
    ),
    "sparsity": Listing(
        "Realised sparsity",
        "Mean, least and largest realised ratio over models, and the share of prunable weights "
        "that was kept.",
        _columns(
            *_PLACE, "n||whole", "mean_ratio|realised|two", "min_ratio|least|two",
            "max_ratio|largest|two", "kept_fraction|kept|percent",
            "kept_prunable|weights kept|whole", "prunable|prunable weights|whole",
            "total|all parameters|whole",
        ),
    ),
    "equal_sparsity": Listing(
        "At equal sparsity",
        "Methods whose realised ratio is more than 1 % off what others reach, after fine-tuning, "
        "against each other method: at the same nominal ratio, with the other method "
        "interpolated, seed by seed, to the ratio that each network realised, and with its next "
        "denser networks as they are. Differences of the cross-fitted slopes of all models with "
        "bootstrap intervals; of accuracies, in points, with paired t intervals.",
        _columns(
            "dataset", "architecture|network", "method||method", "reference|against|method",
            "ratio||ratio", "realised_ratio|realised|two", "reference_ratio|other’s realised|two",
            "n||whole", "nominal_reading|at the nominal ratio",
            "nominal_difference|difference of α|three", "nominal_low|low|three",
            "nominal_high|high|three", "equal_reading|at equal sparsity",
            "equal_difference|difference of α|three", "equal_low|low|three",
            "equal_high|high|three", "denser_reading|next denser networks",
            "denser_difference|difference of α|three", "denser_low|low|three",
            "denser_high|high|three", "nominal_accuracy|accuracy, nominal|points",
            "nominal_accuracy_low|low|points", "nominal_accuracy_high|high|points",
            "equal_accuracy|accuracy, equal|points", "equal_accuracy_low|low|points",
            "equal_accuracy_high|high|points", "denser_accuracy|accuracy, denser|points",
            "denser_accuracy_low|low|points", "denser_accuracy_high|high|points", *_LEVEL, "note",
        ),
    ),
    "intercepts": Listing(
        "Intercept check",
        "The slope with and without an intercept; only a balanced test set makes them equal by "
        "construction.",
        _columns(
            *_CELL, "balanced||truth", "n||whole", "slope||three",
            "slope_with_intercept|with intercept|three", "intercept||four",
            "intercept_low|low|four", "intercept_high|high|four",
        ),
    ),
    "failures": Listing(
        "Replicates that failed",
        "A failed replicate is missing from every table above.",
        _columns(*_PLACE, "stage", "seed||whole", "reason"),
    ),
    "engines": Listing(
        "What computed the networks",
        "How, how precisely and where each cell’s networks were trained or, where pruned, "
        "fine-tuned, and with which torch; seeds is how many replicates were made so.",
        _columns(*_PLACE, "seeds||whole", "engine", "device", "torch"),
    ),
    "published": Listing(
        "Against the published study",
        "The cells that the published study and this one share.",
        _columns(
            *_PLACE, "published_verdict||verdict", "verdict|verdict here|verdict",
            "agrees||truth", "published_alpha|published slope|three",
            "pooled_alpha|pooled slope here|three", "published_accuracy||percent",
            "accuracy|accuracy here|percent",
        ),
    ),
}  # fmt: skip

SEEDS_KEYS = _columns(*_PLACE, "question", "n||whole", "sd||four", "level||percent", "power||two")

# Columns that are said once above the table where all rows agree.
ONCE = {
    "dataset", "architecture", "state", "level", "family_size", "alternative", "paired",
    "adjustment", "balanced", "nonfinite", "model", "n_left", "n_right", "singular", "converged",
    "formula", "n", "basis", "per_model", "interpret", "power", "unstable", "believe",
    "device", "torch",
}  # fmt: skip
QUESTIONS = {
    "control": "does pruning differ from the control?",
    "ratio": "does a larger ratio intensify more?",
    "architecture": "does the smaller network intensify more?",
    "dataset": "does the harder data set intensify more?",
    "method": "do two methods differ?",
}
MODELS = {
    "class_level": "slopes of the classes, as the balances are",
    "class_level_scaled": "slopes of the classes, each cell scaled by its residual scatter",
    "model_level": "slopes of the models, and their trend per doubling of the ratio",
    "model_level_scaled": "the same, each cell weighted by its residual scatter",
    "across_architectures": "how slopes and trends depend on the number of parameters",
    "across_architectures_scaled": "the same, each cell weighted by its residual scatter",
    "across_datasets": "how slopes and trends depend on the dense error",
    "across_datasets_scaled": "the same, each cell weighted by its residual scatter",
}
