"""What is installed is pinned by hash, and what a study says reaches no shell."""

from __future__ import annotations

import re
import shutil
import tomllib

import pytest
import yaml
from core_helpers import REPOSITORY

from recall_distortion.configuration import configure
from recall_distortion.study import OVERRIDES, load
from recall_distortion.system.errors import RecallDistortionError

REQUIREMENTS = (REPOSITORY / "requirements.txt").read_text("utf-8")
METACHARACTERS = ["x; touch made", "$(touch made)", "`touch made`", "x\ntouch made", "../x", "x' y"]


def test_every_package_is_pinned_by_version_and_hash() -> None:
    # A requirement is a line and those that it continues in.
    found = REQUIREMENTS.replace("\\\n", " ").splitlines()
    assert len(found) > 100
    names = set()
    for line in found:
        match = re.match(
            r"([a-z0-9._-]+)(?:\[[a-z0-9,_-]+\])?==([\w.+!]+)( ;[^#]*?)?( +--hash|$)", line
        )
        assert match, line[:80]
        rest = line[match.end(2) :].partition("--hash")
        hashes = (rest[1] + rest[2]).split()
        assert hashes, match[1]
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", part) for part in hashes), match[1]
        names.add(match[1])
    assert {"torch", "snakemake", "pymer4", "uv", "setuptools"} <= names


@pytest.mark.parametrize("name", ["requirements.txt", "requirements.in", "requirements-slurm.txt"])
def test_requirements_name_no_address_and_no_index(name: str) -> None:
    text = (REPOSITORY / name).read_text("utf-8")
    assert not re.search(r"://|@|^\s*(-i|-f|-e|--(?!hash=))", text, re.MULTILINE)


def test_the_pins_are_of_all_that_the_package_requires() -> None:
    """Of every extra but that for Slurm, which has a file of its own; in the command as here."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    apart = extras.pop("slurm")
    command = (REPOSITORY / "requirements.in").read_text("utf-8")
    assert set(re.findall(r"--extra (\S+)", command)) == set(extras)
    pinned = set(re.findall(r"^([\w.-]+)[^=\n]*==", REQUIREMENTS, re.MULTILINE))
    wanted = {name(text) for texts in (project["dependencies"], *extras.values()) for text in texts}
    assert wanted <= pinned
    assert not {name(text) for text in apart} & pinned


def test_the_conda_environment_requires_what_the_package_does() -> None:
    """In the same releases, under conda-forge's names; pymer4 is not there (its hook says so)."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    of_conda = {"matplotlib": "matplotlib-base", "torch": "pytorch"}
    wanted = set()
    for text in [*project["dependencies"], *extras["train"], *extras["mixed-models"]]:
        found, least = name(text), text.partition(">=")[2]
        if found != "pymer4":
            wanted.add(f"{of_conda.get(found, found)} >={least}")
    environment = yaml.safe_load((REPOSITORY / "workflow/envs/study.yaml").read_text("utf-8"))
    assert wanted <= set(environment["dependencies"])


def name(requirement: str) -> str:
    """Return the name of the package that a requirement is of, as pins spell it."""
    return re.match(r"[\w-]+", requirement)[0].replace("_", "-")


def test_the_set_up_insists_on_hashes() -> None:
    text = (REPOSITORY / "run").read_text("utf-8").replace("\\\n", " ")
    installs = re.findall(r"pip (?:install|sync) .*", text)
    assert len(installs) == 4
    for command in installs:
        # The project itself lies in this folder; nothing else comes without a hash.
        assert (
            "--require-hashes" in command
            or "--no-deps --no-build-isolation --editable ." in command
        )


def test_no_rule_has_a_shell_command() -> None:
    rules = [REPOSITORY / "Snakefile", *sorted((REPOSITORY / "workflow").rglob("*.smk"))]
    assert len(rules) > 5
    scripted = 0
    for path in rules:
        text = path.read_text("utf-8")
        directives = r"^\s*(shell|run|wrapper|cwl|notebook|template_engine)\s*:"
        assert not re.search(directives, text, re.MULTILINE), path
        assert not re.search(r"\bshell\(|\bos\.system|subprocess", text), path
        scripted += len(re.findall(r"^\s+script:$", text, re.MULTILINE))
    assert scripted == len(list((REPOSITORY / "workflow/scripts").glob("*.py")))


def test_no_process_is_started_through_a_shell() -> None:
    starts = {}
    for path in (REPOSITORY / "src").rglob("*.py"):
        text = path.read_text("utf-8")
        assert not re.search(
            r"shell\s*=\s*True|os\.(system|popen|spawn\w*)\b|\beval\(",
            text.replace(".eval()", ""),
        ), path
        if "subprocess" in text:
            starts[path.name] = text
    # One asks R which packages it has, one nvidia-smi for the driver and a Python of its own which
    # GPUs torch can use, one tries fused units in a Python of its own, and one makes the networks
    # of a user's own.
    assert set(starts) == {"r_stack.py", "devices.py", "proof.py", "examined.py"}


@pytest.fixture
def studies(tmp_path, monkeypatch):
    """A folder that holds the project's studies, as the one in which snakemake is called."""
    shutil.copytree(REPOSITORY / "config/studies", tmp_path / "config/studies")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "config/studies"


@pytest.mark.parametrize("text", METACHARACTERS)
def test_a_study_s_name_with_metacharacters_is_refused(studies, text) -> None:
    with pytest.raises(RecallDistortionError, match="there is no study"):
        configure({"study": text, "gpus": 0})
    if "/" in text:
        return
    shutil.copy(studies / "test.yaml", studies / f"{text}.yaml")
    with pytest.raises(RecallDistortionError, match="named by letters, digits"):
        configure({"study": text, "gpus": 0})


@pytest.mark.parametrize("text", METACHARACTERS)
@pytest.mark.parametrize("key", OVERRIDES)
def test_an_override_with_metacharacters_is_refused(studies, key, text) -> None:
    with pytest.raises(RecallDistortionError, match=key):
        configure({"study": "test", "gpus": 0, key: text})


@pytest.mark.parametrize("text", METACHARACTERS)
@pytest.mark.parametrize("what", ["datasets", "recipes", "methods", "bundles"])
def test_names_in_a_study_with_metacharacters_are_refused(studies, what, text) -> None:
    values = yaml.safe_load((studies / "test.yaml").read_text())
    panel = values["panels"][0]
    if what == "datasets":
        values["datasets"] = {text: values["datasets"]["digits"]}
        panel["dataset"] = text
    elif what == "recipes":
        values["recipes"] = {text: values["recipes"]["tiny"]}
    elif what == "methods":
        values["methods"] = {text: {"criterion": "magnitude"}}
        panel["methods"].append(text)
    else:
        values["jobs"]["bundles"] = {text: ["magnitude"]}
    path = studies / "named.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(RecallDistortionError, match="should be a name of a to z, 0 to 9 and _"):
        load(path)
