"""There is no container engine here: what can be checked without one is checked."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml

from cli.__main__ import COMMANDS, load
from core.settings import Settings
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("lungwatch")}


def accepts(arguments: list[str]) -> None:
    """Parse a command line without running it; raises what Typer raises on a wrong one."""
    name, *rest = arguments
    assert name in COMMANDS
    command = load(name)
    while True:
        context = command.make_context(name, rest)
        if not isinstance(command, typer.core.TyperGroup):
            return
        name, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert inner is not None
        command = inner


def test_it_is_valid_by_the_compose_specification() -> None:
    schema = json.loads((ROOT / "tests" / "data" / "compose_spec.json").read_text())
    document = {key: value for key, value in COMPOSE.items() if not key.startswith("x-")}
    jsonschema.Draft7Validator(schema).validate(document)


@pytest.mark.parametrize("name", list(OURS))
def test_every_command_of_ours_is_a_command_line_that_we_accept(name: str) -> None:
    program, *arguments = OURS[name]["command"]
    assert program == "lungwatch"
    accepts(arguments)


@pytest.mark.parametrize("name", [name for name, service in OURS.items() if "healthcheck" in service])
def test_every_health_check_of_ours_is_a_command_line_that_we_accept(name: str) -> None:
    kind, program, *arguments = OURS[name]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "lungwatch")
    accepts(arguments)


def test_the_images_own_command_is_one_that_we_accept() -> None:
    commands = re.findall(r"^CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert commands
    for command in commands:
        program, *arguments = json.loads(command)
        assert program == "lungwatch"
        accepts(arguments)


def test_every_variable_of_ours_is_a_setting() -> None:
    named = set(re.findall(r"\bLUNGWATCH_([A-Z_]+)", TEXT))
    assert {name.lower() for name in named} <= set(Settings.model_fields)


@pytest.mark.parametrize("name", list(OURS))
def test_the_values_given_make_settings(name: str) -> None:
    given = {
        key.removeprefix("LUNGWATCH_").lower(): value
        for key, value in OURS[name]["environment"].items()
        if value is not None
    }
    Settings(**given)


def test_the_lines_for_tls_make_settings_once_they_are_no_comments() -> None:
    uncommented = yaml.safe_load(re.sub(r"# (LUNGWATCH_TLS_)", r"\1", TEXT))["services"]["listener"]["environment"]
    given = {key.removeprefix("LUNGWATCH_").lower(): value for key, value in uncommented.items() if "TLS" in key}
    assert Settings(**given).tls_port == 2762
    assert len(given) == 4


@pytest.mark.parametrize("name", list(SERVICES))
def test_every_container_is_unprivileged_and_read_only(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    user, _, group = service["user"].partition(":")
    assert int(user) > 0
    assert int(group) > 0


def test_workers_cannot_write_bundles_and_the_trainer_can() -> None:
    for name in ("worker", "worker-gpu"):
        assert "bundles:/bundles:ro" in SERVICES[name]["volumes"]
    assert "bundles:/bundles" in SERVICES["trainer"]["volumes"]


@pytest.mark.parametrize("name", ["listener", "worker", "worker-gpu", "beat", "trainer"])
def test_whoever_writes_below_the_data_directory_has_it(name: str) -> None:
    assert "spool:/data" in SERVICES[name]["volumes"]


def test_the_listener_waits_for_neither_database_nor_broker() -> None:
    assert "depends_on" not in SERVICES["listener"]


def test_secrets_come_by_file_and_only_the_trainer_can_sign() -> None:
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())
    assert [name for name, service in SERVICES.items() if "signing_key" in service.get("secrets", ())] == ["trainer"]
    for service in SERVICES.values():
        for key, value in (service.get("environment") or {}).items():
            assert "PASSWORD" not in key or key.endswith("_FILE"), f"{key}: {value}"


def test_whatever_is_named_exists() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).is_dir()
            elif not source.startswith("$"):
                assert source in COMPOSE["volumes"]
        for network in service["networks"]:
            assert network in COMPOSE["networks"]
        for needed in service.get("depends_on", ()):
            assert needed in SERVICES
    stages = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for service in OURS.values():
        assert service["build"]["target"] in stages


@pytest.mark.requires("redis-server")
def test_redis_starts_from_its_command_with_password_append_only_and_noeviction(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("of-this-test\n")
    shell, flag, line = SERVICES["redis"]["command"]
    # the same line, in a folder of this test's own and without a port
    line = line.replace("$$", "$").replace("/run/secrets/redis_password", f"{tmp_path}/password")
    line = line.replace("/tmp/redis.conf", f"{tmp_path}/conf")  # noqa: S108
    line = line.replace("dir /data", f"dir {tmp_path}\\nport 0\\nunixsocket {tmp_path}/socket")

    def ask(*arguments: str, with_password: bool = True) -> str:
        answer = subprocess.run(
            ["redis-cli", "-s", f"{tmp_path}/socket", *arguments],
            env={"PATH": os.environ["PATH"], **({"REDISCLI_AUTH": "of-this-test"} if with_password else {})},
            capture_output=True,
            text=True,
            check=False,
        )
        return answer.stdout

    with subprocess.Popen([shell, flag, line], stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: "PONG" in ask("ping"), 20, "redis answers")
            assert "NOAUTH" in ask("ping", with_password=False)
            assert "yes" in ask("config", "get", "appendonly")
            assert "noeviction" in ask("config", "get", "maxmemory-policy")
        finally:
            process.terminate()
            # it hears SIGTERM itself: no shell stands between
            assert process.wait(20) == 0


def test_the_dockerfile_installs_the_lock_with_hashes_and_runs_as_nobody_special() -> None:
    text = (ROOT / "Dockerfile").read_text()
    for lock in ("runtime", "gpu", "build"):
        assert f"pip install --require-hashes --requirement requirements/{lock}.txt" in text
    assert "USER 10001:10001" in text
    assert all(service["user"] == "10001:10001" for service in OURS.values())


def test_what_the_image_is_built_from_makes_a_whole_wheel(tmp_path: Path) -> None:
    """The Dockerfile's last step, on what .dockerignore lets through."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    source = tmp_path / "source"
    source.mkdir()
    for name in allowed:
        here = ROOT / name.rstrip("/")
        if here.is_dir():
            shutil.copytree(here, source / here.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(here, source)
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)),
        ],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    for package in ("bundle", "cli", "core", "db", "dicom_listener", "imaging", "training", "worker"):
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
                assert str(path.relative_to(ROOT)) in packed


def test_the_build_tool_can_be_cut_out_of_the_lock() -> None:
    text = (ROOT / "Dockerfile").read_text()
    program = re.search(r"awk '([^']+)' requirements/dev.txt", text)
    assert program is not None
    cut = subprocess.run(
        ["awk", program[1], str(ROOT / "requirements" / "dev.txt")], capture_output=True, text=True, check=True
    ).stdout
    assert cut.startswith("setuptools==")
    assert cut.count("==") == 1
    assert "--hash=sha256:" in cut


def test_the_test_pacs_knows_where_we_listen() -> None:
    orthanc = json.loads((ROOT / "deploy" / "orthanc" / "orthanc.json").read_text())
    assert orthanc["DicomModalities"]["lungwatch"] == [
        Settings.model_fields["ae_title"].default,
        "listener",
        int(SERVICES["listener"]["environment"]["LUNGWATCH_LISTEN_PORT"]),
    ]
    assert orthanc["LuaScripts"] == ["/etc/orthanc/forward.lua"]
