"""The documents against the project: links, studies, commands, examples, citation."""

from __future__ import annotations

import doctest
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from core_helpers import REPOSITORY

from recall_distortion import __version__
from recall_distortion.auditing.schema import TABLES as AUDITED
from recall_distortion.configuration import configure
from recall_distortion.study import METHODS, OVERRIDES, load
from recall_distortion.tables.schema import TABLES

DOCUMENTS = sorted(
    path for place in ("*.md", "docs/**/*.md", "results/*.md") for path in REPOSITORY.glob(place)
)
STUDIES = {path.stem for path in REPOSITORY.glob("config/studies/*.yaml")}
NAMES = [str(path.relative_to(REPOSITORY)) for path in DOCUMENTS]
# What a reader's own study, written as docs/your-data.md or docs/your-network.md says, is called.
READERS_STUDIES = {"own", "pets"}
# Where tables of earlier versions are named, to say what became of them.
OF_EARLIER_TABLES = {"CHANGELOG.md", "docs/tables.md"}
# Tables of a study beside those in tables/, of a study's jobs, of the simulation, of an audit.
OTHER_TABLES = {"plots", "simulation", "sparsity", *AUDITED}
LONGEST_LINE = 130
# Paths that a document tells its reader to make, or that a command writes.
MADE_BY_READERS = {"config/studies/pets.yaml", "data/pets.npz", "results/pets/report.html"}

document = pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def blocks(path: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language; "" are those without one."""
    text = path.read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [body for name, body in found if name == language]


def commands(path: Path) -> list[str]:
    """Return a document's commands without the explanations after two spaces."""
    lines = [line for body in blocks(path, "") for line in body.splitlines()]
    lines += re.findall(r"`((?:\./run|snakemake|dvc|python) [^`]+)`", path.read_text("utf-8"))
    words = ("./run ", "snakemake ", "dvc ", "python ", ".venv/", "source ")
    return [
        re.split(r"\s{2,}", line.removeprefix("$ "))[0].strip()
        for line in lines
        if line.removeprefix("$ ").startswith(words)
    ]


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in kept}


def existing(target: Path) -> bool:
    """Return whether a path exists, or belongs to results that this checkout does not hold."""
    parts = target.relative_to(REPOSITORY).parts
    if parts[:1] == ("results",) and not (REPOSITORY / "results" / parts[1]).exists():
        return parts[1] in STUDIES
    return target.exists()


def test_there_are_documents() -> None:
    assert {"README.md", "CHANGELOG.md", "docs/methods.md"} <= set(NAMES)


@document
def test_relative_links_resolve(path: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not existing(target) or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@document
def test_named_files_exist(path: Path) -> None:
    roots = r"(?:src|config|docs|tests|workflow|profiles|results)/"
    named = set(re.findall(rf"(?<![\w/.-]){roots}[\w./+=-]+\w", path.read_text("utf-8")))
    named -= MADE_BY_READERS
    missing = [name for name in sorted(named) if not existing(REPOSITORY / name)]
    # The folder of an override is an example of how such a folder is called.
    assert not [name for name in missing if "+" not in name]


@document
def test_studies_in_documents_are_valid(path: Path, tmp_path: Path) -> None:
    for number, body in enumerate(blocks(path, "yaml")):
        file = tmp_path / f"study{number}.yaml"
        file.write_text(body, encoding="utf-8")
        study = load(file)
        assert list(study.cells())


@document
def test_python_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # Examples that read a study's tables read those that ship.
    (tmp_path / "results").symlink_to(REPOSITORY / "results")
    runner = doctest.DocTestRunner()
    for number, body in enumerate(blocks(path, "python")):
        test = doctest.DocTestParser().get_doctest(body, {}, f"{path.name}[{number}]", None, 0)
        if not test.examples:
            exec(compile(body, f"{path.name}[{number}]", "exec"), {})
        printed: list[str] = []
        runner.run(test, out=printed.append)
        assert not printed, "".join(printed)


@document
def test_commands_name_studies_targets_and_options_that_exist(path: Path) -> None:
    rules = "\n".join(file.read_text() for file in (REPOSITORY / "workflow/rules").glob("*.smk"))
    targets = set(re.findall(r"^rule (\w+):", rules, re.MULTILINE))
    for command in commands(path):
        words = command.split()
        if words[0] == "./run":
            assert words[1] in {"study", "test", "setup", "help"}, command
            if words[1] == "study" and words[2:] and not words[2].startswith("-"):
                assert words[2] in STUDIES | READERS_STUDIES, command
        if words[0] == "snakemake":
            positional = re.sub(r"--config( \S+=\S+)+", "", command)
            assert set(re.findall(r"\b(\w+_all)\b", positional)) <= targets, command
        if "--config" in words:
            values = words[words.index("--config") + 1 :]
            assert all("=" in value for value in values), f"{command}: --config takes what follows"
            overridden = dict(value.split("=", 1) for value in values)
            assert set(overridden) <= {"study", "data_root", "gpus", "jobs_per_gpu", *OVERRIDES}, (
                command
            )
            assert overridden.get("study", "digits") in STUDIES | READERS_STUDIES, command
        if "profile" in command:
            named = re.search(r"--(?:workflow-)?profile (\S+)", command)
            assert named is None or (REPOSITORY / named[1] / "profile.yaml").is_file(), command


def test_the_readme_lists_every_study() -> None:
    listed = set(re.findall(r"^\| `(\w+)`", read("README.md"), re.MULTILINE))
    command = ["git", "ls-files", "config/studies/*.yaml"]
    found = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    # Studies of the reader's own lie beside those that ship; without git nothing tells them apart.
    shipped = {Path(line).stem for line in found.stdout.splitlines()}
    assert listed <= STUDIES
    assert listed == (shipped or listed)
    default = yaml.safe_load(read("config/config.yaml"))["study"]
    assert f"| `{default}` (default) |" in read("README.md")


def test_the_readme_links_every_document() -> None:
    readme = read("README.md")
    assert not [name for name in NAMES if name.startswith("docs/") and f"({name})" not in readme]


def test_the_readme_says_how_many_jobs_the_default_study_has() -> None:
    study = load(REPOSITORY / "config/studies/digits.yaml")
    blocks_, networks = len(study.blocks()), study.networks()
    bundles = [(network, bundle) for network in networks for bundle in study.bundles(network.panel)]
    groups = [study.ratio_groups(n.panel, bundle) for n, bundle in bundles]
    compress = sum(map(len, groups)) * blocks_
    evaluate = (len(bundles) + len(networks)) * blocks_
    fitters = 2
    fits = len(study.fits()) * fitters
    # measure, estimate, compare_fits, summarize, report, figures and all
    jobs = len(study.datasets) + len(networks) * blocks_ + fits + compress + evaluate + 7
    assert f"lists {jobs} jobs" in read("README.md")


def test_the_documents_count_the_cifar_study_right() -> None:
    study = load(REPOSITORY / "config/studies/cifar.yaml")
    dense = len(study.networks()) * study.seeds
    finetuned = len(list(study.cells())) * study.seeds
    text = " ".join(read("docs/reproducing-the-paper.md").split())
    assert f"trains {dense} dense networks and fine-tunes {finetuned:,} " in text


def test_every_method_is_described() -> None:
    described = set(re.findall(r"^\| `(\w+)` \|", read("docs/methods.md"), re.MULTILINE))
    assert set(METHODS) <= described


@document
def test_lines_are_not_too_long(path: Path) -> None:
    lines = enumerate(path.read_text("utf-8").splitlines(), 1)
    assert not [number for number, line in lines if len(line) > LONGEST_LINE]


@document
def test_named_tables_exist(path: Path) -> None:
    if str(path.relative_to(REPOSITORY)) in OF_EARLIER_TABLES:
        return
    named = set(re.findall(r"`(?:tables/)?(\w+)\.csv`", path.read_text("utf-8")))
    assert named <= set(TABLES) | OTHER_TABLES


def test_every_table_and_column_is_described() -> None:
    sections = re.split(r"^## (\w+)\.csv$", read("docs/tables.md"), flags=re.MULTILINE)[1:]
    described = {
        name: re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
        for name, text in zip(sections[::2], sections[1::2], strict=True)
    }
    for name, table in TABLES.items():
        columns = [column.name for column in table.columns]
        assert described[name][: len(columns)] == columns, name


def test_the_study_of_ones_own_data_passes_every_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example of docs/your-data.md, its data written by its own code."""
    path = REPOSITORY / "docs/your-data.md"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config/studies").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "config/studies/pets.yaml").write_text(blocks(path, "yaml")[0], encoding="utf-8")
    test = doctest.DocTestParser().get_doctest(blocks(path, "python")[0], {}, "data", None, 0)
    doctest.DocTestRunner().run(test)
    Path("pets.npz").rename("data/pets.npz")
    found = configure({"study": "pets", "gpus": 0})
    assert found.study.name == "pets"
    study = yaml.safe_load(blocks(path, "yaml")[0])
    default = yaml.safe_load(read("config/studies/digits.yaml"))
    assert set(study) == set(default), "DVC reads every top-level key of a study"


def test_the_citation_has_what_the_format_requires() -> None:
    citation = yaml.safe_load(read("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == __version__
    assert citation["license"] == "MIT"
    (reference,) = citation["references"]
    assert {"type", "title", "authors"} <= set(reference)
    assert all({"family-names", "given-names"} == set(author) for author in reference["authors"])
    assert "arXiv:2206.02976" in {entry["value"] for entry in reference["identifiers"]}


def test_the_slurm_profile_names_rules_that_exist() -> None:
    profile = yaml.safe_load(read("profiles/slurm/profile.yaml"))
    default = yaml.safe_load(read("profiles/default/profile.yaml"))
    rules = "\n".join(file.read_text() for file in (REPOSITORY / "workflow/rules").glob("*.smk"))
    assert set(profile["set-resources"]) <= set(re.findall(r"^rule (\w+):", rules, re.MULTILINE))
    on_gpu = set(re.findall(r"^rule (\w+):(?:(?!^rule ).)*?\bgpu=", rules, re.M | re.S))
    assert {rule for rule, given in profile["set-resources"].items() if "gpu" in given} == on_gpu
    # It replaces the default profile, so it repeats what holds everywhere.
    assert {key: profile.get(key) for key in default} == default
