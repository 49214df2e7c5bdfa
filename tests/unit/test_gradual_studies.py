"""What a study and its page say of networks that are pruned while they are trained."""

from __future__ import annotations

import pytest

from recall_distortion import configuration
from recall_distortion.compression.controls import control_of
from recall_distortion.compression.facts import BUILT_IN, RETRAININGS
from recall_distortion.compression.methods import CompressionPlan
from recall_distortion.report.definitions import definitions
from recall_distortion.study import Study
from recall_distortion.training.plain import read
from recall_distortion.vocabulary import CONTROL_GRADUAL, Panel

RECIPE = {
    "training": {
        "phases": [{"epochs": 6, "learning_rate": 0.05}, {"epochs": 4, "learning_rate": 0.01}]
    },
    "finetuning": {"phases": [{"epochs": 2, "learning_rate": 0.05}]},
}
SLOW = {
    "criterion": "magnitude",
    "scope": "layer",
    "schedule": "gradual",
    "sparsities": [0.5, 0.9, 0.3],
}
PANEL = Panel("digits", "mlp", "one")


def study(methods=("control", "magnitude", CONTROL_GRADUAL, "slow"), recipe=None, **own):
    return {
        "description": "A study of what is pruned while it is trained.",
        "seeds": 2,
        "datasets": {"digits": {"source": "digits"}},
        "recipes": {"one": recipe or RECIPE},
        "methods": {name: own.get(name, SLOW) for name in methods if name.startswith("slow")},
        "panels": [{"dataset": "digits", "architectures": ["mlp"], "methods": list(methods)}],
        **({"ratios": [2, 10]} if {"magnitude", "gradual"} & set(methods) else {}),
    }


def test_a_study_of_sparsities_alone_has_no_ratios():
    found = Study.model_validate(study(("slow", CONTROL_GRADUAL)))
    assert found.ratios == []
    assert list(found.ratio_groups(PANEL, "slow")) == ["1.43", "2", "10"]
    with pytest.raises(ValueError, match="ratios: magnitude would run at them, and there are none"):
        Study.model_validate(study() | {"ratios": []})
    with pytest.raises(ValueError, match=r"no method runs at them, .* remove them here or there"):
        Study.model_validate(study(("slow",)) | {"ratios": [2]})


def test_sparsities_name_ratios_to_two_decimals():
    found = Study.model_validate(study())
    assert found.ratios_of("slow") == [1.43, 2.0, 10.0]
    assert found.ratios_of("magnitude") == [2.0, 10.0]
    assert found.ratios_of(CONTROL_GRADUAL) == [1.0]
    # Each of them is found again from its ratio.
    every = [round(share / 100, 2) for share in range(1, 100)]
    slow = Study.model_validate(study(slow=SLOW | {"sparsities": every}))
    assert [round(1 - 1 / ratio, 2) for ratio in slow.ratios_of("slow")] == every


def test_what_a_job_is_told():
    found = Study.model_validate(study())
    told = found.compression_parameters(PANEL, "slow")
    assert told["methods"]["slow"]["of_sparsity"] is True
    assert not {"ratios", "sparsities", "begin", "end"} & set(told["methods"]["slow"])
    assert told["gradual"] | {"recipe": None} == {"recipe": None, "begin": 2, "end": 7}
    assert told["gradual"]["recipe"]["phases"] == RECIPE["training"]["phases"]
    assert found.compression_parameters(PANEL, CONTROL_GRADUAL)["gradual"] == told["gradual"]
    assert "gradual" not in found.compression_parameters(PANEL, "magnitude")
    module = "recall_distortion.compression.schedules.gradual"
    of_jobs = {name: module in found.modules(PANEL, name) for name in found.bundles(PANEL)}
    assert of_jobs == {"control": False, "magnitude": False, CONTROL_GRADUAL: True, "slow": True}


def test_adding_a_sparsity_changes_what_no_other_job_is_told():
    fewer = Study.model_validate(study(slow=SLOW | {"sparsities": [0.5]}))
    more = Study.model_validate(study())
    assert fewer.compression_parameters(PANEL, "slow") == more.compression_parameters(PANEL, "slow")


def test_its_control_is_named():
    found = Study.model_validate(study())
    assert found.controls() == {"slow": CONTROL_GRADUAL}
    lacking = Study.model_validate(study(("control", "slow")))
    (caution,) = [line for line in configuration.cautions(lacking) if "control" in line]
    assert "the method control_gradual would" in caution
    (other,) = [
        line
        for line in configuration.cautions(
            Study.model_validate(study((CONTROL_GRADUAL, "magnitude", "slow")))
        )
        if "control" in line
    ]
    assert other.endswith("the method control would.")


def test_the_built_in_one_takes_the_study_s_ratios():
    found = Study.model_validate(study(("gradual", CONTROL_GRADUAL)))
    assert found.ratios_of("gradual") == [2.0, 10.0]
    assert BUILT_IN["gradual"].schedule == "gradual"


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        (
            {"slow": SLOW | {"criterion": "gradient"}},
            "by magnitude alone; use criterion: magnitude",
        ),
        ({"slow": SLOW | {"begin": 0.7, "end": 0.7}}, r"begin \(0.7\) lies before end \(0.7\)"),
        ({"slow": SLOW | {"ratios": [2]}}, "ratios and sparsities say the same thing twice"),
        ({"slow": SLOW | {"sparsities": [0.333]}}, "multiple of 0.01"),
        ({"slow": SLOW | {"sparsities": [1.0]}}, "less than or equal to 0.99"),
        ({"slow": SLOW | {"sparsities": [0.5, 0.5]}}, "twice"),
        (
            {"slow": SLOW | {"schedule": "one_shot", "begin": 0.1}},
            "begin: only schedule: gradual has it",
        ),
        (
            {"slow": SLOW | {"begin": 0.71, "end": 0.74}},
            "pruning would begin after 7 and end after 7",
        ),
        ({"slow": SLOW | {"end": 0.99}}, "begin after 2 and end after 10; .* one more must follow"),
    ],
)
def test_what_cannot_be_is_said(own, wanted):
    with pytest.raises(ValueError, match=wanted):
        Study.model_validate(study(**own))


def test_one_network_has_one_control_for_all():
    methods = ("slow", "slower", CONTROL_GRADUAL)
    Study.model_validate(study(methods))
    with pytest.raises(
        ValueError,
        match=r"methods.slower: it has begin 0.2 and end 0.9, and slow has begin 0.2 and end 0.7",
    ):
        Study.model_validate(study(methods, slower=SLOW | {"end": 0.9}))


def test_a_control_of_nothing_is_refused():
    with pytest.raises(
        ValueError, match="lists control_gradual and nothing that is pruned gradually"
    ):
        Study.model_validate(study(("control", "magnitude", CONTROL_GRADUAL)))


TICKET = {"criterion": "magnitude", "retraining": "rewind"}


def tickets(**own):
    return study(
        ("control", "magnitude", "control_rewind", "slow_ticket", "slow_shuffled"),
        slow_ticket=TICKET | own.get("ticket", {}),
        slow_shuffled=TICKET | {"retraining": "shuffled"} | own.get("shuffled", {}),
    )


def test_what_is_rewound_shares_a_control():
    both = {"ticket": {"rewind_epochs": 7}, "shuffled": {"rewind_epochs": 7}}
    found = Study.model_validate(tickets(**both))
    assert found.controls() == dict.fromkeys(("slow_ticket", "slow_shuffled"), "control_rewind")
    told = found.compression_parameters(PANEL, "slow_ticket")
    assert told["methods"]["slow_ticket"]["retraining"] == "rewind"
    assert not {"rewind_epochs", "begin", "end"} & set(told["methods"]["slow_ticket"])
    (name, retraining), *others = told["retrainings"].items()
    assert (name, retraining["epochs"], others) == ("rewind", 7, [])
    assert retraining["recipe"]["phases"] == RECIPE["training"]["phases"]
    assert found.compression_parameters(PANEL, "control_rewind")["retrainings"] == {
        "rewind": retraining
    }
    assert "retrainings" not in found.compression_parameters(PANEL, "magnitude")


def test_jobs_of_each_retraining_are_told_what_they_read():
    """What the study says is what the job takes."""
    methods = {f"slow_{name}": TICKET | {"retraining": name} for name in RETRAININGS}
    arms = {control_of("one_shot", name) for name in RETRAININGS} - {"control"}
    found = Study.model_validate(study(("magnitude", *arms, *methods), **methods))
    for bundle in found.bundles(PANEL):
        plan = read(CompressionPlan, found.compression_parameters(PANEL, bundle), bundle)
        way = plan.retraining(bundle)
        assert way == bundle.removeprefix("slow_") or bundle in ("magnitude", *arms)
        assert (way == "finetune") == (way not in plan.retrainings)


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        (
            {"ticket": {"rewind_epochs": 3}},
            "slow_ticket has rewind_epochs 3; .* one control_rewind",
        ),
        ({"ticket": {"rewind_epochs": 10}, "shuffled": {"rewind_epochs": 10}}, "10 leave none"),
        ({"ticket": {"retraining": "finetune", "rewind_epochs": 1}}, "finetune rewinds nothing"),
        ({"ticket": {"schedule": "gradual"}}, "nothing follows schedule gradual"),
    ],
)
def test_what_cannot_be_rewound_is_said(own, wanted):
    with pytest.raises(ValueError, match=wanted):
        Study.model_validate(tickets(**own))


def test_the_page_says_what_is_rewound():
    both = {"ticket": {"rewind_epochs": 3}, "shuffled": {"rewind_epochs": 3}}
    found = {
        one.method: one.sentence
        for one in definitions(Study.model_validate(tickets(**both)).facts(), [])
    }
    assert "lottery ticket" in found["slow_ticket"]
    assert "rewound to epoch 3; read against control_rewind" in found["slow_ticket"]
    assert "fine-tuned" not in found["slow_ticket"]
    assert "permuted at random within each layer" in found["slow_shuffled"]
    assert found["control_rewind"].startswith("The retraining of what is rewound")


def test_the_page_says_what_it_is():
    facts = Study.model_validate(study()).facts()
    found = {one.method: one for one in definitions(facts, [])}
    words = found["slow"].sentence
    assert "Pruned more and more" in words or "pruned more and more" in words
    assert "from 20 to 70 % of the epochs; read against control_gradual" in words
    assert "removing 30, 50 and 90 % of the prunable weights" in words
    assert found[CONTROL_GRADUAL].sentence.startswith("The training of what is pruned gradually")
    assert found["control"].sentence == "The same retraining with nothing removed."
