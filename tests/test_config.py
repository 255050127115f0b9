"""Where settings come from: environment, file, credential; and whose files ragd makes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ragd.access import is_shared, protect_files, socket_mode
from ragd.cli import launch
from ragd.cli.owner import become_owner
from ragd.cli.settings import settings_in_force
from ragd.config import Settings, load_settings
from ragd.errors import CannotCreateError, ConfigError, NoPermissionError
from ragd.settings import files as settings_files
from ragd.worker import make_directory
from tests.toytree import ROOT

NOBODY = 65534

INSTALLED_RAGD = "import sys; sys.prefix = sys.argv.pop(); from ragd.cli.daemon import main; main()"


@pytest.fixture
def tmp_path(short_path: Path) -> Path:
    """Paths of sockets are checked with the settings, and pytest's own directories are deep."""
    return short_path


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from whoever runs the tests."""
    for name in [*os.environ]:
        if name.startswith(("RAGD_", "DISCORD_")) or name in ("CREDENTIALS_DIRECTORY", "MAX_MEMORY_MB"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """As if `make install` had installed this; the settings file, not there yet."""
    mark = tmp_path / "prefix" / settings_files.SYSTEM_MARK
    mark.parent.mkdir(parents=True)
    mark.write_text(f"RAGD_DATA_DIR={tmp_path}/state\nRAGD_RUNTIME_DIR={tmp_path}/runtime\n")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    monkeypatch.setattr(settings_files, "SYSTEM_ENV_FILE", str(tmp_path / "ragd.env"))
    return tmp_path / "ragd.env"


def as_nobody(act: Callable[[], object]) -> int:
    """Do something in a child that is nobody; returns its exit code, 0 if nothing was raised."""
    if os.geteuid() != 0:
        pytest.skip("needs root to be somebody else")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            act()
            code = 0
        except ConfigError:
            code = 78
        except NoPermissionError:
            code = 77
        except CannotCreateError:
            code = 73
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# Files


def test_env_file_and_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MAX_MEMORY_MB=900\nRAGD_EMBED_THREADS=3\n")
    monkeypatch.setenv("RAGD_EMBED_THREADS", "4")
    settings = load_settings()
    assert (settings.max_memory_mb, settings.embed_threads) == (900, 4)


def test_the_systems_installation_reads_its_own_file(system: Path, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MAX_MEMORY_MB=900\nRAGD_NONSENSE=1\n")
    settings = load_settings()
    assert (settings.data_dir, settings.runtime_dir) == (tmp_path / "state", tmp_path / "runtime")
    assert settings.max_memory_mb == 1024
    system.write_text("MAX_MEMORY_MB=800\nRAGD_DATA_DIR=/elsewhere\n")
    settings = load_settings()
    assert (settings.max_memory_mb, settings.data_dir) == (800, Path("/elsewhere"))
    origins = {setting.variable: setting.origin for setting in settings_in_force(settings)}
    assert (origins["MAX_MEMORY_MB"], origins["COMMAND_PREFIX"]) == (str(system), "default")
    assert origins["RAGD_RUNTIME_DIR"].endswith(settings_files.SYSTEM_MARK)


def test_a_misspelt_setting_in_the_systems_file_is_refused(system: Path) -> None:
    system.write_text("RAGD_DATA_DRI=/x\n")
    with pytest.raises(ConfigError, match="RAGD_DATA_DRI is no setting of ragd"):
        load_settings()


def test_a_file_that_may_not_be_read_is_told(system: Path, tmp_path: Path) -> None:
    system.write_text("MAX_MEMORY_MB=800\n")
    system.chmod(0o600)
    for path in (tmp_path, *tmp_path.parents[:-1]):
        if path.stat().st_uid == os.getuid() and path != Path("/tmp"):
            path.chmod(path.stat().st_mode | 0o755)
    assert as_nobody(load_settings) == 77


# The token


def test_the_token_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    monkeypatch.setenv("DISCORD_BOT_TOKEN_FILE", str(tmp_path / "token"))
    settings = load_settings()
    assert settings.secrets() == ("from-a-file",)
    # the demo's place is for those without one
    assert settings.data_dir == tmp_path / "data"
    monkeypatch.setenv("DISCORD_BOT_TOKEN", "from-the-environment")
    assert load_settings().secrets() == ("from-the-environment",)


def test_a_token_file_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DISCORD_BOT_TOKEN_FILE", str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match=r"DISCORD_BOT_TOKEN_FILE=.*absent: cannot be read: .*No such file"):
        load_settings()


def test_a_settings_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("# café\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"^\.env: byte 6 is no UTF-8"):
        load_settings()


@pytest.mark.parametrize("secret", ["sesame-0123456789", "sk/sesame+0123456789", "mailto://ann:sesame@example.org"])
@pytest.mark.parametrize(
    "name", ["DISCORD_BOT_TOKEN_FILE", "RAGD_HTTP_TOKEN_FILE", "RAGD_LLM_API_KEY_FILE", "ALERT_URLS_FILE"]
)
def test_a_secret_in_the_place_of_its_file_is_not_shown(name: str, secret: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}=\*+: cannot be read: No such file") as refused:
        load_settings(**{name: secret})
    assert "sesame" not in refused.value.one_line()


def test_the_token_as_a_credential(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert load_settings().is_demo
    (tmp_path / settings_files.CREDENTIALS["DISCORD_BOT_TOKEN"]).write_text("\n")
    assert load_settings().is_demo
    (tmp_path / settings_files.CREDENTIALS["DISCORD_BOT_TOKEN"]).write_text("from-systemd\n")
    settings = load_settings()
    assert settings.secrets() == ("from-systemd",)
    origins = {setting.variable: setting.origin for setting in settings_in_force(settings)}
    assert origins["DISCORD_BOT_TOKEN"] == "credential"


def test_a_service_without_a_token_runs_no_demo(system: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INSTALLED_RAGD, str(system.parent / "prefix")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=system.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 78
    assert done.stderr == (
        "ragd: DISCORD_BOT_TOKEN is not set - write the token to /etc/ragd/discord_bot_token,"
        " then `systemctl restart ragd`\n"
    )
    assert not (system.parent / "state").exists()


# Whose files


@pytest.mark.parametrize(("mode", "shared"), [(0o700, False), (0o750, True), (0o770, True), (0o755, False)])
def test_a_directory_for_its_group_is_shared(tmp_path: Path, mode: int, shared: bool) -> None:
    directory = tmp_path / "d"
    directory.mkdir()
    directory.chmod(mode)
    assert is_shared(directory) is shared
    assert socket_mode(directory) == (0o660 if shared else 0o600)
    before = os.umask(0o022)
    try:
        protect_files(directory)
        (directory / "file").touch()
        make_directory(directory / "inner")
    finally:
        os.umask(before)
    assert stat.S_IMODE((directory / "file").stat().st_mode) == (0o640 if shared else 0o600)
    assert stat.S_IMODE((directory / "inner").stat().st_mode) == (0o750 if shared else 0o700)


def test_a_directory_that_is_not_there_is_not_shared(tmp_path: Path) -> None:
    assert not is_shared(tmp_path / "absent")


def test_root_becomes_the_owner_for_good(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    directory = tmp_path / "d"
    directory.mkdir()
    os.chown(directory, NOBODY, NOBODY)
    child = os.fork()
    if child == 0:
        become_owner(directory)
        try:
            os.setuid(0)
        except PermissionError:
            os._exit(0 if os.getresuid() == (NOBODY,) * 3 and os.getresgid()[0] != 0 else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_root_stays_root_where_the_directory_is_its_own_or_not_there(tmp_path: Path) -> None:
    before = os.getresuid()
    become_owner(tmp_path)
    become_owner(tmp_path / "absent")
    assert os.getresuid() == before


def test_a_directory_that_may_not_be_written_to_is_told(short_path: Path) -> None:
    def claim() -> None:
        launch.claim_directories(Settings(_env_file=None, RAGD_DATA_DIR=short_path / "d"))

    (short_path / "d").mkdir()
    short_path.chmod(0o755)
    assert as_nobody(claim) == 73


@pytest.mark.parametrize(
    ("ids", "held"), [("", (0, 1, 2, 3)), ("0-3", (0, 1, 2, 3)), ("2, 0", (0, 2)), ("1-2,3,2", (1, 2, 3)), ("3", (3,))]
)
def test_shards_that_this_instance_holds(tmp_path: Path, ids: str, held: tuple[int, ...]) -> None:
    settings = load_settings(RAGD_DATA_DIR=tmp_path, RAGD_SHARD_COUNT="4", RAGD_SHARD_IDS=ids)
    assert settings.held_shards == held


def test_without_shards_there_is_one(tmp_path: Path) -> None:
    assert load_settings(RAGD_DATA_DIR=tmp_path).held_shards == (0,)


@pytest.mark.parametrize(
    ("ids", "rule"),
    [
        ("4", "names shard 4, but RAGD_SHARD_COUNT=4: the last one is 3"),
        ("3-1", "must rise"),
        ("0-9999999999", "as in 0-3 or 0,2"),
        ("0-99999", "end below 65536"),
        ("-1", "as in 0-3 or 0,2"),
        ("one", "as in 0-3 or 0,2"),
        ("0;1", "as in 0-3 or 0,2"),
    ],
)
def test_shards_that_there_are_not(tmp_path: Path, ids: str, rule: str) -> None:
    with pytest.raises(ConfigError, match="RAGD_SHARD_IDS") as caught:
        load_settings(RAGD_DATA_DIR=tmp_path, RAGD_SHARD_COUNT="4", RAGD_SHARD_IDS=ids)
    assert rule in str(caught.value)


def test_shards_survive_the_way_through_a_settings_file(tmp_path: Path) -> None:
    shown = load_settings(RAGD_DATA_DIR=tmp_path, RAGD_SHARD_COUNT="4", RAGD_SHARD_IDS="0-2").masked()
    again = load_settings(RAGD_DATA_DIR=tmp_path, RAGD_SHARD_COUNT="4", RAGD_SHARD_IDS=shown["RAGD_SHARD_IDS"])
    assert again.held_shards == (0, 1, 2)


def test_ids_of_the_lists() -> None:
    settings = load_settings(RAGD_ALLOW_IDS=" 12, 34,12 ,", RAGD_DENY_IDS="")
    assert settings.allow_ids == (12, 34)
    assert settings.deny_ids == ()
    assert settings.masked()["RAGD_ALLOW_IDS"] == "12,34"


@pytest.mark.parametrize("wrong", ["general", "12;34", "-5", "0", "1e3", "12 34", "99999999999999999999", "١٢"])
def test_what_is_no_id_is_named(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"RAGD_DENY_IDS=.*is no id of Discord's: numbers separated by commas"):
        load_settings(RAGD_DENY_IDS=f"12,{wrong}")


def test_an_id_in_both_lists_is_named() -> None:
    with pytest.raises(ConfigError, match="RAGD_ALLOW_IDS and RAGD_DENY_IDS both name 12: take it off one of them"):
        load_settings(RAGD_ALLOW_IDS="12,13", RAGD_DENY_IDS="14,12")


# The language model


LLM = {"RAGD_LLM_URL": "http://127.0.0.1:11434/v1", "RAGD_LLM_MODEL": "tiny"}


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"RAGD_LLM_URL": "http://127.0.0.1:11434/v1"}, "RAGD_LLM_URL needs RAGD_LLM_MODEL"),
        ({**LLM, "RAGD_LLM_URL": "localhost:11434"}, "must be a URL like"),
        ({**LLM, "RAGD_LLM_URL": "https://ann:sesame@llm.example/v1"}, "without a name or password"),
        ({**LLM, "RAGD_LLM_URL": "https://llm.example/v1?key=sesame"}, "must be a URL like"),
        ({**LLM, "RAGD_LLM_API_KEY_FILE": "nowhere"}, "RAGD_LLM_API_KEY_FILE=nowhere: cannot be read"),
        ({**LLM, "RAGD_LLM_DAILY_TOKENS": "-1"}, "greater than or equal to 0"),
        ({"RAGD_ASK_PER_MINUTE": "0"}, "greater than or equal to 1"),
    ],
)
def test_a_wrong_language_model_is_named(given: dict[str, str], rule: str) -> None:
    with pytest.raises(ConfigError, match="RAGD_") as caught:
        load_settings(**given)
    assert rule in str(caught.value)
    assert "\n" not in caught.value.one_line()
    assert "sesame" not in caught.value.one_line(), "what may not be in the URL is a secret all the same"


def test_a_password_in_the_url_of_an_api_is_not_shown() -> None:
    settings = load_settings(RAGD_DISCORD_API_URL="https://ann:sesame@proxy.example/api/v10")
    assert settings.masked()["RAGD_DISCORD_API_URL"] == "https://***proxy.example/api/v10"


SECRETS_IN_FILES = {
    "DISCORD_BOT_TOKEN": "not-a-token-0123456789",
    "RAGD_HTTP_TOKEN": "for-prometheus-0123456789",
    "RAGD_LLM_API_KEY": "sk-test-0123456789",
    "RAGD_EMBEDDING_API_KEY": "sk-embed-0123456789",
    "ALERT_URLS": "mailtos://ann:sesame0123@mail.example",
}


def test_the_unit_hands_over_every_credential() -> None:
    assert set(SECRETS_IN_FILES) == set(settings_files.CREDENTIALS)
    unit = (Path(__file__).parents[1] / "deploy" / "systemd" / "ragd.service").read_text()
    names = settings_files.CREDENTIALS.values()
    assert [name for name in names if f"LoadCredential={name}:/etc/ragd/{name}\n" not in unit] == []
    assert [name for name in names if f"SetCredential={name}:\\n\n" not in unit] == []


@pytest.mark.parametrize(("name", "secret"), SECRETS_IN_FILES.items())
@pytest.mark.parametrize("way", ["file", "credential"])
def test_a_secret_may_be_in_a_file(
    name: str, secret: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / settings_files.CREDENTIALS[name]
    file.write_text(f"{secret}\n")
    if way == "file":
        monkeypatch.setenv(f"{name}_FILE", str(file))
        settings = load_settings()
    else:
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        settings = load_settings()
    value = getattr(settings, name.removeprefix("RAGD_").lower())
    origins = {setting.variable: setting.origin for setting in settings_in_force(settings)}
    assert origins[name] == ("credential" if way == "credential" else f"{name}_FILE")
    assert value is not None
    assert value.get_secret_value() == secret
    assert secret in settings.secrets()
    assert secret not in str(settings.masked())


def test_an_empty_url_is_none() -> None:
    assert load_settings(RAGD_LLM_URL="").llm_url is None
