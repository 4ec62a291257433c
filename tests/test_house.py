"""The project's own files agree with each other: versions, Python, make's targets, extras."""

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def workflow(name: str) -> dict[str, Any]:
    return yaml.safe_load((GITHUB / "workflows" / name).read_text("utf-8"))


def pins(name: str) -> dict[str, Version]:
    lines = (line.split("==") for line in read(name).splitlines() if "==" in line and not line.startswith("#"))
    return {package.lower().replace("_", "-"): Version(version) for package, version in lines}


def declared() -> list[Requirement]:
    every = [*PROJECT["dependencies"], *(one for extra in PROJECT["optional-dependencies"].values() for one in extra)]
    return [one for one in map(Requirement, every) if one.name != "nearnext"]


def test_one_version_everywhere():
    assert yaml.safe_load(read("CITATION.cff"))["version"] == PROJECT["version"]
    newest = re.search(r"^## (\S+) \((unreleased|\d{4}-\d\d-\d\d)\)$", read("CHANGELOG.md"), re.MULTILINE)
    assert newest
    assert newest[1] == PROJECT["version"]


def test_the_versions_of_python_that_are_promised_are_tested():
    tested = workflow("tests.yml")["jobs"]["quick"]["strategy"]["matrix"]
    named = {each.rpartition(" ")[2] for each in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", each)}
    assert set(tested["python"]) == named
    assert PROJECT["requires-python"] == f">={min(named, key=Version)}"
    assert set(tested["os"]) == {"ubuntu-latest", "macos-latest"}


@pytest.mark.parametrize(
    "page", ["CONTRIBUTING.md", ".github/workflows/tests.yml", ".github/PULL_REQUEST_TEMPLATE.md", "README.md"]
)
def test_make_has_the_targets_that_are_named(page: str):
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:`|\$ |run: )make ([a-z-]+)", read(page)))
    assert named
    assert named <= targets


def test_the_lowest_versions_are_those_that_are_declared():
    lowest = pins("constraints-lowest.txt")
    tools = {Requirement(each).name for extra in ("dev", "docs") for each in PROJECT["optional-dependencies"][extra]}
    for one in declared():
        name = one.name.lower().replace("_", "-")
        floor = min((Version(each.version) for each in one.specifier if each.operator == ">="), default=None)
        assert floor is not None, f"{one} declares no lowest version"
        if name in lowest:
            assert lowest[name] in one.specifier, one
            assert lowest[name].release[: len(floor.release)] == floor.release, one
        else:
            assert one.name in tools or name in ("torch", "tensorboard"), f"{one} is not in constraints-lowest.txt"


def test_the_pinned_versions_are_among_those_that_are_declared():
    pinned = pins("constraints.txt")
    for one in declared():
        assert pinned[one.name.lower().replace("_", "-")] in one.specifier, one


def test_the_pinned_versions_are_for_every_python_that_is_promised():
    lowest = Version(PROJECT["requires-python"].removeprefix(">=") + ".0")
    metadata = {one.name.lower().replace("_", "-"): one.metadata for one in distributions()}
    pinned = [name for name in pins("constraints.txt") if "Requires-Python" in metadata.get(name, ())]
    assert len(pinned) > 20
    assert [name for name in pinned if lowest not in SpecifierSet(metadata[name]["Requires-Python"])] == []


def test_all_is_every_extra():
    extras = PROJECT["optional-dependencies"]
    (everything,) = map(Requirement, extras["all"])
    assert everything.extras == set(extras) - {"all"}


@pytest.mark.parametrize("form", sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem)
def test_the_forms_of_issues_are_forms(form: Path):
    found = yaml.safe_load(form.read_text("utf-8"))
    assert form.stem == "config" or all(each["type"] in ("markdown", "textarea", "input") for each in found["body"])


def test_the_hooks_run_tools_of_the_environment():
    hooks = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"][0]["hooks"]
    assert {hook["entry"].split()[0] for hook in hooks} == {".venv/bin/ruff", ".venv/bin/lint-imports"}
