"""The files of a deployment say what the service really takes: options, paths, ports, methods and times."""

import configparser
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from nearnext.cli.commands import app
from nearnext.serving.endpoints import Endpoints
from nearnext.serving.operations import operations
from nearnext.serving.server import GRACE
from nearnext.serving.settings import ServiceSettings

ROOT = Path(__file__).parents[1]

Settings = Callable[[Iterable[str]], ServiceSettings]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What ``nearnext ARGUMENTS`` would serve."""
    found: list[ServiceSettings] = []

    def take(settings: ServiceSettings, **_: object) -> None:
        found.append(settings)

    monkeypatch.setattr("nearnext.serving.server.serve", take)

    def parse(arguments: Iterable[str]) -> ServiceSettings:
        typer.main.get_command(app).main([*arguments], standalone_mode=False)
        return found.pop()

    return parse


def dockerfile() -> dict[str, list[str]]:
    """The last stage of the Dockerfile, the values of each instruction in order."""
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == "FROM":
            found.clear()
        found.setdefault(name, []).append(value)
    return found


def compose() -> Any:
    return yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]


def manifests() -> dict[tuple[str, str], Any]:
    found = yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text("utf-8"))
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


def pod() -> Any:
    return manifests()["Deployment", "nearnext"]["spec"]["template"]["spec"]


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # pyright: ignore[reportAttributeAccessIssue]
    parser.read(ROOT / "deploy" / "nearnext.service", "utf-8")
    return parser


def entry() -> list[str]:
    program, *options = json.loads(dockerfile()["ENTRYPOINT"][0])
    assert program == "nearnext"
    return options


def under(place: Path | None, folder: str) -> bool:
    return place is not None and place.is_relative_to(folder)


def seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)s", text)
    assert found, text
    return float(found[1])


def needed_at_the_end(settings: ServiceSettings) -> float:
    return settings.shutdown_timeout + (GRACE if settings.workers > 1 else 0.0)


def test_the_image_serves_the_model_that_its_first_line_mounts(told: Settings):
    stage = dockerfile()
    settings = told([*entry(), *json.loads(stage["CMD"][0])])
    assert settings.host == "0.0.0.0"
    assert stage["EXPOSE"] == [str(settings.port)]
    assert under(settings.artifact, "/models")
    assert under(settings.catalogue_file, stage["VOLUME"][0])
    first = (ROOT / "Dockerfile").read_text("utf-8").splitlines()[0]
    assert '"$PWD/out/demo:/models:ro"' in first
    assert f"-p {settings.port}:{settings.port}" in first
    probe = stage["HEALTHCHECK"][0]
    assert f"http://127.0.0.1:{settings.port}/readyz" in probe


def test_the_image_has_every_extra_that_a_model_may_need():
    text = (ROOT / "Dockerfile").read_text("utf-8")
    extras = re.search(r"'\.\[([a-z,]+)\]'", text)
    assert extras
    assert set(extras[1].split(",")) == {"train", "serve", "ann", "onnx"}


def test_every_package_of_the_image_but_torch_is_pinned_by_version_and_hash():
    lines = (ROOT / "deploy" / "requirements.lock").read_text("utf-8").splitlines()[1:]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)
    locked = dict(line.split(" ")[0].replace("_", "-").split("==") for line in lines)
    constraints = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = dict(line.lower().replace("_", "-").split("==") for line in constraints if re.match(r"[\w.-]+==", line))
    assert locked.items() <= pinned.items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *(one for extra in ("train", "serve", "ann", "onnx") for one in extras[extra])]
    names = {re.split(r"[\s\[<>=;!~]", one)[0].lower() for one in needed}
    assert names - locked.keys() == {"torch", "nearnext"}
    assert "--require-hashes" in (ROOT / "Dockerfile").read_text("utf-8")


def test_compose_runs_workers_with_a_store_and_keeps_what_they_write(told: Settings):
    services = compose()
    service = services["nearnext"]
    settings = told([*entry(), *service["command"]])
    mounts = {mount.split(":")[1]: mount.split(":") for mount in service["volumes"]}
    assert mounts["/models"] == ["./out/demo", "/models", "ro"]
    assert under(settings.artifact, "/models")
    assert under(settings.catalogue_file, "/data")
    assert under(settings.event_log, "/data")
    assert mounts["/data"][0] in yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["volumes"]
    assert service["ports"] == [f"127.0.0.1:{settings.port}:{settings.port}"]
    assert settings.workers == 2
    assert settings.store.rpartition("@")[2].split(":")[0] in services.keys() & service["depends_on"].keys()
    assert "--requirepass" in services["valkey"]["command"][-1]
    assert services["valkey"]["environment"]["REDISCLI_AUTH"] in settings.store
    assert seconds(service["stop_grace_period"]) > needed_at_the_end(settings)


def test_the_model_of_the_demo_is_where_the_containers_look_for_it():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(r"^OUT +:= out/demo$", makefile, re.MULTILINE)
    assert "--out $(OUT)/model" in makefile


def test_the_demo_ends_with_the_command_that_starts_the_service(told: Settings):
    recipe = (ROOT / "Makefile").read_text("utf-8").split("\ndemo:")[1].split("\n\n")[0]
    last = recipe.splitlines()[-1].replace("$(OUT)", "out/demo")
    command = re.search(r"\$\(BIN\)/nearnext (serve .*)\"$", last)
    assert command, last
    settings = told(shlex.split(command[1]))
    assert settings.artifact == Path("out/demo/model")
    assert f"http://{settings.host}:{settings.port}" in last


def test_the_pod_runs_what_the_image_knows_and_finds_all_that_it_names(told: Settings):
    spec = pod()
    (container,) = spec["containers"]
    settings = told([*entry(), *container["args"]])
    volumes = {volume["name"] for volume in spec["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert set(mounts.values()) == volumes
    assert all(under(place, "/data") for place in (settings.artifact, settings.catalogue_file, settings.event_log))
    assert under(settings.api_key_file, "/keys")
    assert container["ports"] == [{"name": "http", "containerPort": settings.port}]
    assert [str(spec["securityContext"]["runAsUser"])] == dockerfile()["USER"]
    assert spec["terminationGracePeriodSeconds"] > 5 + needed_at_the_end(settings)
    password, _, address = settings.store.split("/")[2].rpartition("@")
    host, _, port = address.partition(":")
    (given,), (asked,) = container["env"], manifests()["Deployment", host]["spec"]["template"]["spec"]["containers"]
    assert password == f":$({given['name']})"
    assert asked["env"] == [{"name": "REDISCLI_AUTH", "valueFrom": given["valueFrom"]}]
    assert asked["command"][-1].endswith('--requirepass "$REDISCLI_AUTH"')
    (store,) = manifests()["Service", host]["spec"]["ports"]
    assert store["port"] == int(port)
    (data,) = [volume for volume in spec["volumes"] if volume["name"] == mounts["/data"]]
    assert ("PersistentVolumeClaim", data["persistentVolumeClaim"]["claimName"]) in manifests()


def test_probes_ask_paths_that_exist_and_need_no_key():
    (container,) = pod()["containers"]
    free = {operation.path for operation in operations(Endpoints) if operation.method == "GET" and operation.public}
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[name]["httpGet"]["port"] == "http"
        assert container[name]["httpGet"]["path"] in free


@pytest.mark.parametrize("name", ["nearnext", "valkey"])
def test_services_select_their_own_pods(name: str):
    found = manifests()
    service, deployment = found["Service", name]["spec"], found["Deployment", name]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert service["selector"] == deployment["selector"]["matchLabels"] == labels
    named = {port["name"] for port in deployment["template"]["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in service["ports"]} <= named


def test_the_unit_serves_from_the_folder_that_it_may_write(told: Settings):
    service: Mapping[str, str] = unit()["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert program.endswith("/bin/nearnext")
    settings = told(arguments)
    state = f"/var/lib/{service['StateDirectory']}"
    assert all(under(place, state) for place in (settings.artifact, settings.catalogue_file, settings.event_log))
    assert float(service["TimeoutStopSec"]) > needed_at_the_end(settings)


def documented() -> list[str]:
    """Every command in a console block of the documents, without its comment."""
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
    blocks = [
        block for page in pages for block in re.findall(r"```console\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    ]
    joined = "\n".join(blocks).replace("\\\n", " ")
    return sorted({line[2:] for line in joined.splitlines() if line.startswith("$ nearnext ")})


@pytest.mark.parametrize("line", documented())
def test_commands_in_the_documents_are_commands(line: str):
    arguments = shlex.split(line, comments=True)[1:]
    for end in ("|", ">", "&", "&&", "2>"):
        if end in arguments:
            arguments = arguments[: arguments.index(end)]
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[arguments.pop(0)]
    command.make_context("nearnext", arguments)  # it raises what a user would read


def test_a_lock_that_cannot_be_made_says_what_pip_said_and_changes_nothing(tmp_path: Path):
    (tmp_path / "deploy").mkdir()
    for name in ("deploy/lock.py", "deploy/requirements.lock", "constraints.txt"):
        (tmp_path / name).write_text((ROOT / name).read_text("utf-8"))
    before = (tmp_path / "deploy" / "requirements.lock").read_text("utf-8")
    done = subprocess.run(
        [sys.executable, tmp_path / "deploy" / "lock.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "ERROR: Directory" in done.stderr, "it has no project"
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("pip found no versions")
    assert (tmp_path / "deploy" / "requirements.lock").read_text("utf-8") == before
