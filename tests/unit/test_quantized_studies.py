"""Quantizers in studies: what may be said, which jobs follow, and their way to the page."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from study_helpers import VALID, message, write

from recall_distortion import configuration
from recall_distortion.compression.facts import QUANTIZERS
from recall_distortion.inference.jobs.estimate import write_estimates
from recall_distortion.inference.jobs.measure import write_measures
from recall_distortion.inference.jobs.summarize import write_summary
from recall_distortion.report.definitions import definitions
from recall_distortion.report.page import build_report
from recall_distortion.run import planned, work
from recall_distortion.study import METHODS, Quantizer, Study, load, quantizing
from recall_distortion.tables.items import ITEMS
from recall_distortion.tables.predictions import read_predictions
from recall_distortion.tables.schema import COLUMNS, QUANTIZED, STABILITY
from recall_distortion.vocabulary import Panel

MLP = Panel("digits", "mlp", "tiny")
OWN = {
    "magnitude_int8": {"weights": "int8", "activations": "static", "of": "magnitude"},
    "control_int4": {"weights": "int4", "of": "control"},
}
LISTED = ["control", "magnitude", "float16", "int8_dynamic", *OWN]


def values(own: dict | None = None, **panel: object) -> dict:
    found = copy.deepcopy(VALID)
    found["methods"] = copy.deepcopy(OWN if own is None else own)
    found["panels"][0] |= {"methods": LISTED, **panel}
    return found


def study() -> Study:
    return Study.model_validate(values())


def test_a_quantizer_runs_at_its_own_ratio_times_that_of_what_it_quantizes() -> None:
    found = study()
    assert {name: found.ratios_of(name) for name in LISTED} == {
        "control": [1],
        "magnitude": [2, 10],
        "float16": [2],
        "int8_dynamic": [4],
        "magnitude_int8": [8, 40],
        "control_int4": [8],
    }
    every = {name: method.ratio() for name, method in METHODS.items() if name in QUANTIZERS}
    assert every == {
        "float16": 2, "bfloat16": 2, "int8_static": 4, "int8_dynamic": 4, "int8_weights": 4,
        "int6_weights": 5.33, "int4_weights": 8, "int3_weights": 10.67,
    }  # fmt: skip
    assert set(quantizing.bundles(found)) == set(LISTED) - {"control", "magnitude"}


def test_jobs_that_quantize_name_what_they_are_made_of() -> None:
    plain = values()
    plain["jobs"]["bundles"] = {"few_bits": ["float16", *OWN], "trained": ["magnitude", "control"]}
    plain["jobs"]["ratios"] = 2
    found = Study.model_validate(plain)
    assert quantizing.bundles(found) == ["few_bits", "int8_dynamic"]
    assert list(found.ratio_groups(MLP, "few_bits")) == ["2-8", "40"]
    assert quantizing.cells(found, MLP, "few_bits", "2-8") == {
        "float16": {"2": "1"}, "magnitude_int8": {"8": "2"}, "control_int4": {"8": "1"},
    }  # fmt: skip
    assert quantizing.origins(found, MLP, "few_bits", "2-8") == [("trained", "1-2")]
    assert quantizing.origins(found, MLP, "few_bits", "40") == [("trained", "10")]
    assert quantizing.origins(found, MLP, "int8_dynamic", "4") == []
    told = quantizing.modules(found, MLP, "few_bits")
    assert told == [*found.modules(MLP), quantizing.EVALUATION]
    assert quantizing.modules(found, MLP, "dense") == found.modules(MLP)
    json.dumps(quantizing.parameters(found, MLP, "few_bits"), allow_nan=False)


# What a quantizer of the study says, and what the message names.
WRONG = [
    ({"weights": "int9"}, "methods.q.weights", ["'int8'", "'float16'", "'int9'"]),
    ({"weights": 8}, "methods.q.weights", ["'int8'", "not 8"]),
    ({"weights": "int8", "ratios": [4]}, "methods.q", ["takes no ratios", "its own"]),
    ({"weights": "int8", "criterion": "random"}, "methods.q.criterion", ["unknown key", "weights"]),
    ({"weights": "int8", "activations": "int8"}, "methods.q.activations", ["'static'"]),
    ({"weights": "float16", "activations": "static"}, "methods.q", ["float16", "int8, int7"]),
    ({"weights": "int8", "calibration_images": 9}, "methods.q", ["calibration_images", "static"]),
    ({"weights": "int8", "activation_bits": 4}, "methods.q", ["activation_bits", "remove it"]),
    (
        {"weights": "int8", "activations": "static", "activation_bits": 9},
        "methods.q.activation_bits", ["less than or equal to 8"],
    ),
    (
        {"weights": "int8", "activations": "static", "percentile": 99.0},
        "methods.q", ["only range: percentile"],
    ),
    (
        {"weights": "int8", "activations": "static", "range": "percentile", "percentile": 50},
        "methods.q.percentile", ["greater than 50"],
    ),
    ({"weights": "int8", "of": "random"}, "methods.q.of", ["'random'", "control, magnitude"]),
    ({"weights": "int8", "of": "float16"}, "methods.q.of", ["'float16'", "dense, control"]),
]  # fmt: skip


@pytest.mark.parametrize(("own", "key", "wanted"), WRONG)
def test_a_wrong_quantizer_is_told_in_one_message(
    tmp_path: Path, own: dict, key: str, wanted: list[str]
) -> None:
    methods = ["control", "magnitude", "float16", "q"]
    text = message(write(tmp_path, values({"q": own}, methods=methods)))
    assert len(text.splitlines()) == 1
    for word in [key, *wanted]:
        assert word in text
    assert "quantizing" not in text.replace(str(tmp_path), "")  # no key of the study


def test_other_mistakes_about_quantizers_are_told(tmp_path: Path) -> None:
    bundled = values()
    bundled["jobs"]["bundles"] = {"all": LISTED}
    assert "'float16' quantizes what other jobs trained" in message(write(tmp_path, bundled))
    close = values() | {"ratios": [2, 2.001]}
    assert "would quantize two of them to 8" in message(write(tmp_path, close))
    close = values({"float16": {"weights": "int8"}}, methods=["float16"])
    assert "'float16' is built in" in message(write(tmp_path, close))


def test_a_study_may_quantize_alone(tmp_path: Path) -> None:
    found = load(write(tmp_path, values({}, methods=["float16", "int8_static"])))
    assert configuration.cautions(found) == ["3 seeds: where the test set is too small for the "
        "slopes of single networks there will be no interval and no verdict; these need 5."
    ]  # fmt: skip


def test_the_page_says_what_each_quantizer_is() -> None:
    own = values(
        {"p": {"weights": "int5", "activations": "static", "range": "percentile"}, **OWN},
        methods=[*LISTED, "p"],
    )
    facts = Study.model_validate(own).facts()
    said = {item.method: item for item in definitions(facts, LISTED)}
    assert said["float16"].formula == "float16(θ)"
    assert "read against 1" in said["float16"].sentence
    assert said["p"].formula == "s · round(θ / s), s = max |θ| / 15"
    for words in ("5 bits", "256 of them", "99.9 and 0.1", "a ratio of its own: 6.4"):
        assert words in said["p"].sentence
    of_pruned = said["magnitude_int8"].sentence
    assert "the networks of magnitude, after retraining" in of_pruned
    assert "read against magnitude; at ratios of its own: 8 and 40." in of_pruned
    (without,) = definitions({}, ["int8_dynamic"])
    assert "the image’s own range" in without.sentence
    assert without.sentence.endswith("ratio 4.")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a small study that prunes and quantizes, by ``run``, without Snakemake."""
    folder = tmp_path_factory.mktemp("study")
    plain = values() | {"seeds": 6}
    plain["jobs"]["replicates"] = 3
    path = write(folder, plain)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        plan = planned.plan(load(path))
        rules = [job.rule for job in plan.jobs]
        assert rules.count("quantize") == 2 * 5  # two blocks, five cells
        assert work.work(plan, gpus=0, data_root="data") == work.DONE
        found = folder / "results/mystudy"
        tables = found / "tables"
        tables.mkdir()
        evaluated = [job.outputs["predictions"] for job in plan.jobs if job.rule == "evaluate"]
        sparsity = [job.outputs["sparsity"] for job in plan.jobs if "sparsity" in job.outputs]
        write_measures(evaluated, sparsity, tables / "recall.csv", tables / "networks.csv")
    outputs = {name: tables / f"{name}.csv" for name in ("estimates", "tests", "published")}
    write_estimates(
        tables / "recall.csv", tables / "networks.csv", outputs, architectures={"mlp": ("mlp", 3)}
    )
    for name in ("mixed_models", "mixed_model_fits"):
        pd.DataFrame(columns=COLUMNS[name]).to_csv(tables / f"{name}.csv", index=False)
    names = ("recall", "networks", "estimates", "tests", "mixed_models", "mixed_model_fits",
             "published", "summary")  # fmt: skip
    write_summary(*(tables / f"{name}.csv" for name in names))
    return found


@pytest.mark.slow
def test_quantized_networks_are_in_the_tables_with_their_sizes(results: Path) -> None:
    networks = pd.read_csv(results / "tables/networks.csv")
    further = [column.name for column in (*QUANTIZED, *STABILITY)]
    assert list(networks)[-len(further) :] == further
    own = networks[networks["bits"].notna()]
    assert set(own["method"]) == set(LISTED) - {"control", "magnitude"}
    assert set(own["state"]) == {"compressed"}
    assert len(own) == 6 * 5
    # Summed exactly by hand: 3,392 weights and 74 biases, of each a scale beside it.
    sizes = own.groupby(["method", "ratio"])["bytes"].first()
    assert sizes["float16", 2] == 2 * (3392 + 74)
    assert sizes["int8_dynamic", 4] == 3392 + 8 * 74
    assert sizes["control_int4", 8] == 3392 // 2 + 8 * 74
    kept = 3392 - 3072 // 2
    assert sizes["magnitude_int8", 8] == -(-(8 * kept + 3072 + 8 * (8 * 74 + 3 * 5)) // 8)
    origins = own.drop_duplicates(["method", "ratio"]).set_index(["method", "ratio"])
    assert origins.loc[("magnitude_int8", 40), ["origin", "origin_ratio"]].tolist() == [
        "magnitude", 10,
    ]  # fmt: skip


def test_8_bits_hardly_change_what_pruning_left(results: Path) -> None:
    (found, _), (pruned, _) = (
        read_predictions(
            results / f"predictions/digits/mlp/tiny/{bundle}/seeds-000-002.safetensors"
        )
        for bundle in ("magnitude_int8", "magnitude")
    )
    before = {(part.ratio, part.state): part for part in pruned}
    for part in found:
        assert part.state == "compressed"
        origin = before[{"8": "2", "40": "10"}[part.ratio], "retrained"]
        assert part.seeds == origin.seeds
        assert np.mean(part.predicted != origin.predicted) < 0.03


def test_cells_are_read_against_1_and_beside_what_was_quantized(results: Path) -> None:
    table = pd.read_csv(results / "tables/estimates.csv")
    networks = pd.read_csv(results / "tables/networks.csv")
    led = table[table["leads"] & (table["against"] == "one")]
    places = set(zip(led["method"], led["ratio"], strict=True))
    assert {("float16", 2), ("int8_dynamic", 4), ("magnitude_int8", 8)} <= places
    beside = table[table["quantity"] == "alpha beyond the networks quantized"]
    assert set(zip(beside["method"], beside["against"], strict=True)) == {
        ("magnitude_int8", "magnitude"), ("control_int4", "control"),
    }  # fmt: skip
    row = beside.query("method == 'magnitude_int8' and ratio == 40 and estimator == 'mean'")
    alphas = [
        networks.query(f"method == '{method}' and ratio == {ratio} and state == '{state}'")["alpha"]
        for method, ratio, state in (
            ("magnitude_int8", 40, "compressed"), ("magnitude", 10, "retrained"),
        )
    ]  # fmt: skip
    difference = alphas[0].to_numpy() - alphas[1].to_numpy()
    assert row["estimate"].item() == pytest.approx(difference.mean())
    assert row["std_error"].item() == pytest.approx(difference.std(ddof=1) / np.sqrt(6))
    assert row["reference"].item() == pytest.approx(alphas[1].mean())
    assert row["family_size"].item() == 2
    pooled = beside.query("method == 'magnitude_int8' and ratio == 40 and leads")
    sums = [
        networks.query(f"method == '{method}' and ratio == {ratio} and state == '{state}'")[
            ["crossfit_numerator", "crossfit_denominator"]
        ].sum()
        for method, ratio, state in (
            ("magnitude_int8", 40, "compressed"), ("magnitude", 10, "retrained"),
        )
    ]  # fmt: skip
    slopes = [own["crossfit_numerator"] / own["crossfit_denominator"] for own in sums]
    assert pooled["estimate"].item() == pytest.approx(slopes[0] - slopes[1])
    # Trends and comparisons over ratios or methods leave out what has one ratio of its own.
    tests = pd.read_csv(results / "tables/tests.csv")
    words = set(tests[["method", "left", "right"]].to_numpy().ravel())
    assert not words & (set(LISTED) - {"control", "magnitude"})
    assert "magnitude" in words


def test_quantized_networks_need_no_control(results: Path) -> None:
    table = pd.read_csv(results / "tables/estimates.csv")
    own = table[table["method"].isin(set(LISTED) - {"control", "magnitude"})]
    assert not own["note"].fillna("").str.contains("control").any()
    of_control = own[own["against"] == "control"]
    assert set(of_control["method"]) == {"control_int4"}
    assert (own.query("quantity == 'accuracy' and against == 'dense'")["n"] == 6).all()


def test_the_page_has_a_section_of_quantized_networks(results: Path, undrawn: None) -> None:
    summary = pd.read_csv(results / "tables/summary.csv")
    own = summary[summary["section"] == "quantized"].set_index("item")["value"]
    assert (own["cells"], own["dense/cells"], own["origin/cells"]) == (5, 2, 3)
    assert set(own.index) == set(ITEMS["quantized"])
    cells = summary.query("section == 'answer' and item == 'cells'")["value"]
    assert set(cells) == {2}  # magnitude's
    build_report(results / "tables", results / "report.html", study=study().facts())
    page = (results / "report.html").read_text("utf-8")
    section = page.partition('<section id="quantized">')[2].partition("</section>")[0]
    for words in (
        "dense networks are their own control", "negative control",
        '<th scope="row">float16</th>',
        "<td>magnitude at 10</td>", "<td>control at 1</td>", "Realised size",
    ):  # fmt: skip
        assert words in section
    assert '<a href="#quantized">Quantized</a>' in page
    assert "<dt>quantizers</dt><dd>4</dd>" in page
    answer = page.partition('<section id="answer">')[2].partition("</section>")[0]
    assert "int8 dynamic" not in answer


def test_quantizers_are_known_by_their_kind() -> None:
    assert all(isinstance(METHODS[name], Quantizer) for name in QUANTIZERS)
