"""What follows from a study: blocks, bundles, networks, cells, and what decides their results."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from study_helpers import RECIPE, VALID, changed

from recall_distortion.study import METHODS, Method, Study
from recall_distortion.system.errors import StudyError
from recall_distortion.vocabulary import Panel, format_ratio

MLP = Panel("digits", "mlp", "tiny")
CNN = Panel("digits", "cnn", "tiny")


@given(seeds=st.integers(1, 60), more=st.integers(0, 60), size=st.integers(1, 20))
def test_adding_seeds_keeps_the_full_blocks(seeds, more, size):
    def blocks(count):
        values = changed("jobs.replicates", size) | {"seeds": count, "first_seed": 7}
        return Study.model_validate(values).blocks()

    before, after = blocks(seeds), blocks(seeds + more)
    for found, count in ((before, seeds), (after, seeds + more)):
        assert [seed for part in found.values() for seed in part] == list(range(7, 7 + count))
        assert all(len(part) <= size for part in found.values())
        for name, part in found.items():
            first, last = (int(number) for number in name.removeprefix("seeds-").split("-"))
            assert part == list(range(first, last + 1))
    for name, part in before.items():
        if len(part) == size or not more:
            assert after[name] == part


def test_networks_gather_the_methods_of_all_panels():
    values = copy.deepcopy(VALID)
    values["panels"] += [
        {"dataset": "digits", "architectures": ["cnn", "mlp"], "methods": ["mine", "random"]}
    ]
    study = Study.model_validate(values)
    found = {n.panel: n.methods for n in study.networks()}
    assert found == {
        MLP: ("control", "magnitude", "mine", "random"),
        CNN: ("mine", "random"),
    }
    with pytest.raises(StudyError, match="no lenet5 on digits"):
        study.network(Panel("digits", "lenet5", "tiny"))
    cells = list(study.cells())
    assert len(cells) == len(set(cells)) == 1 + 3 * 2 + 2 * 2
    assert [cell for cell in cells if "control" in cell] == [(*MLP, "control", 1.0)]


def test_a_network_may_have_several_recipes():
    values = copy.deepcopy(VALID)
    values["recipes"]["other"] = RECIPE
    values["panels"][0]["recipe"] = "tiny"
    values["panels"].append(
        {"dataset": "digits", "architectures": ["mlp"], "methods": ["mine"], "recipe": "other"}
    )
    study = Study.model_validate(values)
    other = MLP._replace(recipe="other")
    assert {n.panel: n.methods for n in study.networks()} == {
        MLP: ("control", "magnitude", "mine"),
        other: ("mine",),
    }
    assert list(study.bundles(other)) == ["mine"]
    assert [cell for cell in study.cells() if "other" in cell] == [
        (*other, "mine", ratio) for ratio in (2, 10)
    ]
    assert study.fits()["networks-1-2"]["networks"] == [list(MLP), list(other)]


@pytest.mark.parametrize("count", [1, 4, 5, 10])
def test_every_network_has_its_fits_in_one_job_and_the_last_one_goes_across(count):
    values = copy.deepcopy(VALID)
    values["datasets"] = {f"set_{n}": {"source": "digits"} for n in range(count)}
    panel = values["panels"][0]
    values["panels"] = [panel | {"dataset": name} for name in values["datasets"]]
    study = Study.model_validate(values)
    fits = study.fits()
    carried = [network for job in fits.values() for network in job["networks"]]
    assert carried == [list(n.panel) for n in study.networks()]
    assert [job["across"] for job in fits.values()] == [False] * (len(fits) - 1) + [True]
    for name, job in fits.items():
        first, last = (int(number) for number in name.removeprefix("networks-").split("-"))
        assert carried[first - 1 : last] == job["networks"]
        assert len(job["networks"]) <= 4


# Of those that its network, without batch norm, can be pruned by.
PRUNING = sorted(
    name
    for name, method in METHODS.items()
    if isinstance(method, Method) and not method.facts.needs_batch_norm
)


@given(
    chosen=st.lists(st.sampled_from(["control", *PRUNING]), min_size=1, unique=True),
    bundled=st.lists(st.sampled_from(["control", *PRUNING]), unique=True),
    cut=st.integers(0, 9),
)
def test_bundles_hold_each_method_of_a_network_once(chosen, bundled, cut):
    values = copy.deepcopy(VALID)
    del values["methods"]
    values["panels"][0]["methods"] = chosen
    values["jobs"]["bundles"] = {"one": bundled[:cut], "two": bundled[cut:]}
    study = Study.model_validate(values)
    bundles = study.bundles(MLP)
    assert sorted(m for methods in bundles.values() for m in methods) == sorted(chosen)
    for name, methods in bundles.items():
        assert methods
        if name in ("one", "two"):
            assert set(methods) <= set(values["jobs"]["bundles"][name])
        else:
            assert methods == (name,)
            assert name not in bundled
        expected = ["1"] if "control" in methods else []
        expected += ["2", "10"] if set(methods) != {"control"} else []
        assert study.ratio_groups(MLP, name) == {ratio: [ratio] for ratio in expected}


@pytest.mark.parametrize(
    ("methods", "size", "expected"),
    [
        (["control", "random"], 1, ["1", "2", "2.5", "10", "50"]),
        (["control", "random"], 2, ["1-2", "2.5-10", "50"]),
        (["random", "control"], 5, ["1-2-2.5-10-50"]),
        (["random", "control"], 99, ["1-2-2.5-10-50"]),
        (["random", "gradient"], 3, ["2-2.5-10", "50"]),
        (["control"], 3, ["1"]),
    ],
)
def test_a_job_carries_consecutive_ratios_and_the_control_its_own(methods, size, expected):
    values = changed("jobs", {"ratios": size, "bundles": {"some": methods}})
    values["ratios"] = [50, 2.5, 2, 10]
    values["panels"] = [
        {"dataset": "digits", "architectures": ["mlp"], "methods": [*methods, "mine"]},
        {"dataset": "digits", "architectures": ["cnn"], "methods": [methods[0]]},
    ]
    study = Study.model_validate(values)
    groups = study.ratio_groups(MLP, "some")
    assert list(groups) == expected
    for name, ratios in groups.items():
        assert "-".join(ratios) == name
    # A method of no bundle, and another network of which the bundle holds less.
    pruning = [ratio for group in study.ratio_groups(MLP, "mine").values() for ratio in group]
    assert pruning == ["2", "2.5", "10", "50"]
    found = [ratio for group in study.ratio_groups(CNN, "some").values() for ratio in group]
    assert found == (["1"] if methods[0] == "control" else pruning)


@given(
    ratios=st.lists(st.integers(2, 99), min_size=1, max_size=8, unique=True),
    size=st.integers(1, 9),
    own=st.none() | st.lists(st.integers(2, 99), min_size=1, max_size=8, unique=True),
    bundled=st.booleans(),
)
def test_jobs_cover_every_cell_once_however_they_are_cut(ratios, size, own, bundled):
    values = changed("jobs.ratios", size) | {"ratios": ratios}
    values["methods"]["mine"]["ratios"] = own
    values["jobs"]["bundles"] = {"some": ["control", "mine"]} if bundled else {}
    study = Study.model_validate(values)
    covered = [
        (*network.panel, method, float(ratio))
        for network in study.networks()
        for bundle, methods in study.bundles(network.panel).items()
        for group in study.ratio_groups(network.panel, bundle)
        for method, own in study.job_ratios(network.panel, bundle, group).items()
        for ratio in own
        if method in methods
    ]
    assert sorted(covered) == sorted(study.cells())


def test_a_method_may_have_ratios_of_its_own():
    values = changed("methods.mine.ratios", [8, 2])
    values["jobs"] = {"ratios": 2, "bundles": {"some": ["control", "magnitude", "mine"]}}
    study = Study.model_validate(values)
    cells = [tuple(cell[-2:]) for cell in study.cells()]
    assert cells == [
        ("control", 1),
        *(("magnitude", ratio) for ratio in (2, 10)),
        *(("mine", ratio) for ratio in (2, 8)),
    ]
    assert list(study.ratio_groups(MLP, "some")) == ["1-2", "8-10"]
    assert study.job_ratios(MLP, "some", "1-2") == {
        "control": ["1"],
        "magnitude": ["2"],
        "mine": ["2"],
    }
    assert study.job_ratios(MLP, "some", "8-10") == {
        "control": [],
        "magnitude": ["10"],
        "mine": ["8"],
    }
    facts = study.facts()["methods"]
    assert facts["mine"]["ratios"] == ["2", "8"]
    assert "ratios" not in facts["magnitude"]
    # What decides a cell is not which other cells there are.
    usual = Study.model_validate(VALID)
    for bundle in ("mine", "magnitude"):
        given = usual.compression_parameters(MLP, bundle)
        assert "ratios" not in given["methods"][bundle]
    values["jobs"] = {}
    alone = Study.model_validate(values)
    assert alone.compression_parameters(MLP, "mine") == usual.compression_parameters(MLP, "mine")
    assert list(alone.ratio_groups(MLP, "mine")) == ["2", "8"]
    assert list(alone.ratio_groups(MLP, "magnitude")) == ["2", "10"]


def test_ratios_that_no_method_runs_at_are_refused():
    values = changed("methods.mine.ratios", [8])
    values["panels"][0]["methods"] = ["control", "mine"]
    with pytest.raises(ValueError, match="ratios: no method runs at them"):
        Study.model_validate(values)
    values["panels"][0]["methods"] = ["control", "mine", "magnitude"]
    assert Study.model_validate(values).ratios_of("mine") == [8]


def test_what_decides_a_result_is_complete_and_nothing_else():
    study = Study.model_validate(VALID)
    training = study.training_parameters(MLP)
    assert set(training) == {"recipe", "selection", "engine"}
    assert training["engine"] == {"engine": "auto", "at_once": None, "precision": "float32"}
    assert training["recipe"]["weight_decay"] == 0.0005
    assert not study.deterministic
    mine = study.compression_parameters(MLP, "mine")
    assert mine["methods"]["mine"]["epsilon"] == 0.0005  # by default the training's weight decay
    assert mine["recipe"]["weight_decay"] == 0.0
    assert study.compression_parameters(MLP, "control")["methods"] == {"control": None}
    for values in (
        changed("seeds", 99),
        changed("jobs.replicates", 9),
        changed("jobs.ratios", 9),
        changed("ratios", [3]),
    ):
        other = Study.model_validate(values)
        assert other.training_parameters(MLP) == training
        assert other.compression_parameters(MLP, "mine") == mine
    undecayed = {"criterion": "undecayed", "epsilon": 0.0}
    own = Study.model_validate(changed("methods.mine", undecayed))
    parameters = own.compression_parameters(MLP, "mine")
    assert parameters["methods"]["mine"]["epsilon"] == 0.0
    json.dumps([training, mine])  # plain values, as Snakemake's params need


@pytest.mark.parametrize(
    ("ratio", "text"), [(2.0, "2"), (2.5, "2.5"), (50, "50"), (1e6, "1000000")]
)
def test_ratios_in_file_names(ratio, text):
    assert format_ratio(ratio) == text
    assert float(text) == ratio


def with_two_recipes() -> dict:
    """Return a study of two recipes: mlp with weight decay, cnn without."""
    values = changed("methods.mine", {"criterion": "undecayed", "gradient_examples": 16})
    values["methods"]["set"] = {"criterion": "undecayed_signed", "epsilon": 0.25}
    values["recipes"]["plain"] = {name: RECIPE["finetuning"] for name in RECIPE}
    panel = {"dataset": "digits", "recipe": "tiny", "architectures": ["mlp"]}
    values["panels"] = [
        panel | {"methods": ["control", "magnitude", "mine", "set", "undecayed"]},
        panel | {"recipe": "plain", "architectures": ["cnn"], "methods": ["mine", "gradient"]},
    ]
    return values


def test_the_facts_define_every_method_as_it_is_run():
    found = Study.model_validate(with_two_recipes()).facts()["methods"]
    rest = {"scope": "global", "schedule": "one_shot"}
    assert found == {
        "control": {"criterion": None},
        "magnitude": {"criterion": "magnitude", **rest},
        "mine": {
            "criterion": "undecayed",
            **rest,
            "gradient_examples": 16,
            "epsilon": {"tiny": 0.0005, "plain": 0.0},
        },
        "set": {
            "criterion": "undecayed_signed",
            **rest,
            "gradient_examples": 128,
            "epsilon": 0.25,
        },
        "undecayed": {
            "criterion": "undecayed",
            **rest,
            "gradient_examples": 128,
            "epsilon": {"tiny": 0.0005},
        },
        "gradient": {"criterion": "gradient", **rest, "gradient_examples": 128},
    }


def test_the_facts_agree_with_what_the_jobs_are_given():
    study = Study.model_validate(with_two_recipes())
    facts = study.facts()["methods"]
    for network in study.networks():
        for name in network.methods:
            given = study.compression_parameters(network.panel, name)
            for key, value in facts[name].items() if name != "control" else ():
                expected = value[network.panel.recipe] if isinstance(value, dict) else value
                assert given["methods"][name][key] == expected


def test_architectures_are_told_with_family_and_depth():
    values = changed("panels.0.architectures", ["mlp", "resnet32", "resnet20"])
    assert Study.model_validate(values).series() == {
        "mlp": ("mlp", 3),
        "resnet32": ("resnet", 32),
        "resnet20": ("resnet", 20),
    }
