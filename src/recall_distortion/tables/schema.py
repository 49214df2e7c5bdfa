"""The tables of a study, declared once: what a row is, and of each column its kind and meaning.

Reading, writing, the documentation and the report's lists follow from this. No training job imports
it, so that a better sentence retrains nothing.
"""

from __future__ import annotations

from recall_distortion.tables import overlaps, units
from recall_distortion.tables.columns import (
    COUNT,
    NUMBER,
    RATIO,
    SHARE,
    TEXT,
    TRUTH,
    Column,
    Table,
)
from recall_distortion.tables.events import EVENTS, JOB_EVENTS, STABILITY
from recall_distortion.vocabulary import (
    CELL,
    CELL_STATE,
    FITTERS,
    NETWORK,
    PANEL,
    READINGS,
    STATES,
)

__all__ = [
    "ALL", "COLUMNS", "CONTROLLED", "COUNT", "COUNTED", "CURVATURE", "DEAD_UNITS",
    "DENSE_MULTIPLY_ADDS", "EMPTIED", "NUMBER", "OTHERS", "OVERLAPS",
    "PUBLISHED_CELL", "QUANTIZED", "RATIO", "SHARE", "SOMETIMES",
    "SOMETIMES_TOGETHER", "STABILITY", "SUMMARIZED", "TABLES", "TEXT", "TRUTH", "Column", "Table",
]  # fmt: skip

#: A published cell names no recipe: there is one, the paper's.
PUBLISHED_CELL = [key for key in CELL if key != "recipe"]

_SHARED: dict[str, Column] = {
    column.name: column
    for column in (
        Column("dataset", TEXT, "The data set, by its name in the study."),
        Column("architecture", TEXT, "The network's architecture."),
        Column("recipe", TEXT, "How it is trained and retrained, by the recipe's name."),
        Column("method", TEXT, "The compression method, or an arm: dense, control, reseed."),
        Column("ratio", RATIO, "The nominal compression ratio; 1 where nothing is removed."),
        Column("state", TEXT, "When the network was evaluated.", STATES),
        Column("seed", COUNT, "The replicate; of reseed, the first of the pair."),
        Column("class_name", TEXT, "The class by name."),
        Column("n", COUNT, "How many networks the number comes from."),
        Column("level", SHARE, "The confidence level of the interval."),
        Column("note", TEXT, "What is missing or smaller than expected, and why."),
    )
}


def _table(row: str, key: list[str], *columns: Column | str) -> Table:
    return Table(row, key, [_SHARED[c] if isinstance(c, str) else c for c in columns])


_RECALL = _table(
    "a network and class",
    [*NETWORK, "class"],
    *NETWORK,
    Column("class", COUNT, "The class by number, from 0 on."),
    "class_name",
    Column("support", COUNT, "Test images of the class."),
    Column("correct", COUNT, "Those that the network classifies correctly."),
    Column("predicted", COUNT, "Test images of any class that the network takes for this one."),
    Column("recall", SHARE, "correct / support."),
    Column("precision", SHARE, "correct / predicted; empty where the class is never predicted."),
    Column("accuracy", SHARE, "The network's accuracy over all test images."),
    Column("balance", NUMBER, "Recall balance: recall - accuracy."),
    Column("normalized_balance", NUMBER, "Normalized recall balance: balance / accuracy."),
    Column("mean_loss", NUMBER, "Mean of -log p(true class) over the class's images.", later=True),
    Column("confidence", SHARE, "Mean probability of the predicted class over them.", later=True),
    Column(
        "calibration_error",
        SHARE,
        "Expected calibration error over the images that are predicted as this class, in 10 bins.",
        later=True,
    ),
)

_NETWORKS = _table(
    "a network; of reseed, a pair of dense networks",
    NETWORK,
    *NETWORK,
    Column("accuracy", SHARE, "Test accuracy."),
    Column("accuracy_before", SHARE, "Test accuracy of its dense network."),
    Column("alpha", NUMBER, "No-intercept slope of the normalized balances on the dense ones."),
    Column("alpha_crossfit", NUMBER, "The same, cross-fitted over halves of the test set."),
    Column("crossfit_numerator", NUMBER, "What alpha_crossfit is the quotient of."),
    Column("crossfit_denominator", NUMBER, "The sum of squared dense balances, cross-fitted."),
    Column("r2", NUMBER, "Uncentred r² of the no-intercept fit."),
    Column("denominator", NUMBER, "The sum of squared normalized balances of the dense network."),
    Column("effective_classes", NUMBER, "1 / sum of the classes' squared shares in it."),
    Column("intercept", NUMBER, "The intercept of a fit that has one.", later=True),
    Column("slope_with_intercept", NUMBER, "The slope of that fit.", later=True),
    Column("realised_ratio", NUMBER, "The compression ratio that was reached."),
    Column("kept_fraction", SHARE, "kept_prunable / prunable."),
    Column("kept_prunable", COUNT, "Prunable weights that were kept."),
    Column("prunable", COUNT, "Prunable weights."),
    Column("total", COUNT, "All parameters."),
    Column("device", TEXT, "What it was trained on, or where compressed retrained: cpu, a GPU."),
    Column("engine", TEXT, "How: one by one, vectorized or in fused units, in which precision."),
    Column("torch", TEXT, "The version of torch."),
    Column("failure", TEXT, "Why the network could not be trained or retrained."),
)

#: Columns of networks.csv behind those of every study, where one quantizes.
QUANTIZED: tuple[Column, ...] = (
    Column("bits", COUNT, "Of a quantized network: the bits of a stored weight.", later=True),
    Column(
        "bytes",
        COUNT,
        "Of a quantized network: what it takes, places of pruned weights included.",
        later=True,
    ),
    Column(
        "zeros",
        COUNT,
        "Of a quantized network: weights that are 0, by pruning or rounding.",
        later=True,
    ),
    Column(
        "origin", TEXT, "Of a quantized network: what was quantized, dense or a method.", later=True
    ),
    Column("origin_ratio", RATIO, "Of a quantized network: the ratio of that.", later=True),
)
#: The same where a method has another control than ``control``.
CONTROLLED: tuple[Column, ...] = (
    Column(
        "control",
        TEXT,
        "The reference arm of the same training, which the method's effects are read against.",
        later=True,
    ),
)
#: The same where a network lost all of a layer.
EMPTIED: tuple[Column, ...] = (
    Column(
        "empty_layers",
        COUNT,
        "Of a pruned network: layers that may be pruned of which no weight was kept.",
        later=True,
    ),
)
#: The same of what was counted besides parameters, which earlier versions did not.
COUNTED: tuple[Column, ...] = (
    Column("kept_total", COUNT, "Of a pruned network: all parameters that are left.", later=True),
    Column(
        "multiply_adds",
        COUNT,
        "Multiply-adds of one image, by the weights that are left; quantized networks have none.",
        later=True,
    ),
)
#: Of a table of sparsities alone.
DENSE_MULTIPLY_ADDS = Column(
    "dense_multiply_adds", COUNT, "Multiply-adds of the dense network.", later=True
)
#: The same where a study measures the curvature of the loss.
CURVATURE: tuple[Column, ...] = tuple(
    Column(name, kind, meaning, later=True)
    for name, kind, meaning in (
        ("hessian_largest", NUMBER,
         "Largest eigenvalue of the training loss's Hessian over the weights that pruning left."),
        ("hessian_sum", NUMBER, "Sum of its eigenvalues of largest magnitude."),
        ("hessian_eigenvalues", TEXT, "These, by falling magnitude, between spaces."),
        ("hessian_residual", NUMBER,
         "The largest of their residuals |Hv - λv| over the largest magnitude."),
        ("hessian_products", COUNT, "Hessian-vector products that they took."),
        ("gradient_second_moment", NUMBER,
         "Mean over these training images of the squared length of an image's own gradient."),
        ("gradient_covariance", NUMBER,
         "The same, less the squared length of the mean gradient."),
        ("weight_norm", NUMBER, "Length of the vector of all parameters."),
        ("train_loss", NUMBER, "Mean cross-entropy over these training images."),
        ("test_loss", NUMBER, "Mean cross-entropy over the test images."),
        ("curvature_images", COUNT, "How many training images these are of."),
        ("surviving", COUNT, "Parameters that no mask removes."),
    )
)  # fmt: skip
#: The same where a study counts dead units.
DEAD_UNITS: tuple[Column, ...] = tuple(Column(*one, later=True) for one in units.COLUMNS)
#: The same where a study holds masks against each other.
OVERLAPS: tuple[Column, ...] = tuple(Column(*one, later=True) for one in overlaps.COLUMNS)
#: All columns that only some studies have, and the groups that a study has or has not.
SOMETIMES_TOGETHER = (
    COUNTED, QUANTIZED, CONTROLLED, EMPTIED, CURVATURE, DEAD_UNITS, OVERLAPS, STABILITY
)  # fmt: skip
SOMETIMES = tuple(column for columns in SOMETIMES_TOGETHER for column in columns)

_ESTIMATES = _table(
    "a statement about a cell",
    [*CELL_STATE, "class", "quantity", "estimator", "against", "reference"],
    *CELL_STATE,
    Column("class", TEXT, "The class by number that the statement is about, or all."),
    "class_name",
    Column("quantity", TEXT, "What is estimated."),
    Column("estimator", TEXT, "How: mean of the networks' own, pooled, cross-fitted, ..."),
    Column("against", TEXT, "What it is held against: one, zero, control, dense, a method."),
    Column(
        "reference",
        NUMBER,
        "The value of that; of seeds needed the effect to be seen, of a margin the margin.",
    ),
    "n",
    Column(
        "estimate",
        NUMBER,
        "The number. Of alpha, accuracy, recall and variance a difference where it is held against "
        "an arm or a method.",
    ),
    Column("std_error", NUMBER, "Its standard error.", later=True),
    Column("df", NUMBER, "Degrees of freedom.", later=True),
    Column("low", NUMBER, "Lower end of the interval."),
    Column("high", NUMBER, "Upper end of the interval."),
    Column(
        "p",
        SHARE,
        "Two-sided p value of no difference; of two one-sided tests the larger.",
    ),
    Column("p_adjusted", SHARE, "p adjusted over the family."),
    "level",
    Column("family", TEXT, "Over what intervals or p values belong together."),
    Column("family_size", COUNT, "How many they are."),
    Column("verdict", TEXT, "What the interval says; some quantities have words of their own."),
    Column("reading", TEXT, "What that is worth beside the control.", READINGS),
    Column("leads", TRUTH, "Whether the page's answer takes this row for the cell's alpha."),
    "note",
)

_TESTS = _table(
    "a comparison of two cells",
    ["question", *CELL, "left", "right"],
    Column(
        "question", TEXT, "What is asked: ratio, architecture, dataset, method, recipe, control."
    ),
    *CELL,
    Column("left", TEXT, "One level of what the question varies."),
    Column("right", TEXT, "The other level."),
    Column("alternative", TEXT, "What the test tries to show of left - right, in scipy's words."),
    Column("paired", TRUTH, "Whether the slopes are paired by seed."),
    Column("n_left", COUNT, "Slopes on the left."),
    Column("n_right", COUNT, "Slopes on the right."),
    Column("estimate", NUMBER, "Mean of the left slopes less that of the right ones."),
    Column("t", NUMBER, "The t statistic."),
    Column("df", NUMBER, "Its degrees of freedom."),
    Column("p", SHARE, "The p value."),
    Column("p_adjusted", SHARE, "p adjusted over the family."),
    Column("adjustment", TEXT, "How it was adjusted."),
    Column("family", TEXT, "The column of the paper's table that the row belongs to."),
    "note",
)

_MIXED_MODELS = _table(
    "a term of a mixed model by one fitter",
    ["model", "fitter", *CELL, "term"],
    Column("model", TEXT, "The model, with the networks that it was fitted to."),
    Column("fitter", TEXT, "What fitted it.", FITTERS),
    *CELL,
    Column("term", TEXT, "The term: slope, level, trend, or sd(...) of a random effect."),
    Column("estimate", NUMBER, "Its estimate, on the scale of the slopes."),
    Column("difference", NUMBER, "Of statsmodels: its estimate less pymer4's.", later=True),
    Column("std_error", NUMBER, "Its standard error."),
    Column("df", NUMBER, "Degrees of freedom (pymer4: Satterthwaite's)."),
    Column("low", NUMBER, "Lower end of the interval."),
    Column("high", NUMBER, "Upper end of the interval."),
    Column("level", SHARE, "The confidence level of the interval.", later=True),
    Column("p_intensification", SHARE, "One-sided p value of a term above its null value."),
    Column("p_deintensification", SHARE, "One-sided p value of a term below it."),
    Column("p_intensification_adjusted", SHARE, "The first, adjusted over the model (Holm)."),
    Column("p_deintensification_adjusted", SHARE, "The second, adjusted likewise."),
    Column("verdict", TEXT, "What the adjusted p values say."),
)

_MIXED_MODEL_FITS = _table(
    "a mixed model by one fitter",
    ["model", "fitter"],
    Column("model", TEXT, "The model, with the networks that it was fitted to."),
    Column("fitter", TEXT, "What fitted it.", FITTERS),
    Column("formula", TEXT, "The model in lme4's words."),
    Column("rows", COUNT, "Rows that it was fitted to."),
    Column("groups", TEXT, "Levels of each random effect."),
    Column("loglik", NUMBER, "The REML log-likelihood."),
    Column("singular", TRUTH, "Whether a variance is zero."),
    Column("converged", TRUTH, "Whether the fit converged."),
    Column("message", TEXT, "What the fitter says."),
    Column("spread", NUMBER, "Largest over smallest residual deviation among the cells."),
    Column("believe", TEXT, "What to believe: the model, or the bootstrap."),
)

_PUBLISHED = _table(
    "a published cell beside this study's",
    CELL,
    *CELL,
    Column("published_verdict", TEXT, "The published verdict."),
    Column("verdict", TEXT, "This study's, by the published criterion."),
    Column("agrees", TRUTH, "Whether they are the same; empty without an interval here."),
    Column("published_alpha", NUMBER, "The published pooled slope."),
    Column("pooled_alpha", NUMBER, "This study's."),
    Column("published_accuracy", NUMBER, "The published mean accuracy."),
    Column("accuracy", SHARE, "This study's."),
)

_SUMMARY = _table(
    "a number that the page states of a panel or of the study",
    [*PANEL, "section", "item"],
    *PANEL,
    Column("section", TEXT, "The part of the page."),
    Column("item", TEXT, "What the number says."),
    Column("value", NUMBER, "The number."),
)

_IMAGES = _table(
    "an image that a population names unlike the dense one; of dense, an image drawn at random",
    [*CELL_STATE, "image"],
    *CELL_STATE,
    Column("image", COUNT, "The test image by its place in the test set, from 0 on."),
    Column("label", COUNT, "Its class by number."),
    Column("dense_label", COUNT, "The label that most dense networks give it: their modal label."),
    Column("own_label", COUNT, "That of the cell's networks."),
    Column("dense_agreement", SHARE, "The share of the dense networks that give it theirs."),
    Column("agreement", SHARE, "The share of the cell's networks that give it theirs."),
    Column("distance", SHARE, "Half the summed absolute differences of the labels' shares."),
    Column("dense_probability", SHARE, "Mean probability of the dense networks' own labels."),
    Column("probability", SHARE, "That of the cell's networks."),
    Column("is_pie", TRUTH, "Whether the modal labels differ; else other rules for ties say so."),
)

#: The tables of a study by name, in the order of a reader's questions.
TABLES: dict[str, Table] = {
    "recall": _RECALL,
    "networks": _NETWORKS,
    "estimates": _ESTIMATES,
    "tests": _TESTS,
    "mixed_models": _MIXED_MODELS,
    "mixed_model_fits": _MIXED_MODEL_FITS,
    "published": _PUBLISHED,
    "summary": _SUMMARY,
    "images": _IMAGES,
    "events": EVENTS,
}
#: Those that the summary counts in, in the order of its arguments.
SUMMARIZED = [name for name in TABLES if name not in ("summary", "images", "events")]
#: What jobs hand to each other, and facts that ship with the package.
OTHERS: dict[str, Table] = {
    "frequencies": _table(
        "a class of a data set",
        ["dataset", "class"],
        "dataset",
        Column("class", COUNT, "The class by number, from 0 on."),
        "class_name",
        Column("fit", COUNT, "Images that networks are trained on."),
        Column("holdout", COUNT, "Images held out to choose the best epoch."),
        Column("test", COUNT, "Test images."),
    ),
    "sparsity": _table(
        "a pruned network",
        [*CELL, "seed"],
        *CELL,
        "seed",
        *(c for c in _NETWORKS.columns if c.name in
          ("realised_ratio", "kept_fraction", "kept_prunable", "prunable", "total")),
    ),
    "curvature": _table("a network", NETWORK, *NETWORK, *CURVATURE),
    "dead_units": _table("a network", NETWORK, *NETWORK, *DEAD_UNITS),
    "mask_overlap": _table("a network", NETWORK, *NETWORK, *OVERLAPS),
    "job_events": JOB_EVENTS,
    "published_verdicts": _table(
        "a published cell",
        PUBLISHED_CELL,
        *PUBLISHED_CELL,
        Column("verdict", TEXT, "The published verdict."),
        Column("source", TEXT, "The figure of the paper."),
    ),
    "published_slopes": _table(
        "a published cell",
        PUBLISHED_CELL,
        *PUBLISHED_CELL,
        Column("pooled_alpha", NUMBER, "The published pooled slope."),
        Column("r2", NUMBER, "Its uncentred r²."),
        Column("mean_accuracy", SHARE, "The published mean accuracy."),
        Column("source", TEXT, "The figure of the paper."),
    ),
}  # fmt: skip
ALL = {**TABLES, **OTHERS}
#: The names of each table's columns.
COLUMNS: dict[str, list[str]] = {name: table.names for name, table in ALL.items()}
