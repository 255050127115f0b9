"""`ragd`: the whole tree in the foreground, or one process of it."""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ragd.access import protect_files, protect_memory
from ragd.answering import require_client
from ragd.applied import record_settings
from ragd.backup import advised
from ragd.cli.demo import include_file, prepare_demo, refuse_demo_data, what_to_try
from ragd.cli.launch import become_supervisord, claim_directories, require_http_token, require_port, require_token
from ragd.cli.owner import become_owner
from ragd.config import Settings, load_settings
from ragd.crashes import crash_reporter
from ragd.errors import FINAL_EXITS, RagdError, UsageError
from ragd.heartbeat import PROCESSES
from ragd.log import complain, configure_logging
from ragd.notices import check_urls
from ragd.settings.files import is_system_installation
from ragd.worker import StopFlag, run_process

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

FINAL_AFTER_SECONDS = 2.5
"""More than startsecs in deploy/supervisord.conf, within which supervisord retries whatever the exit code says."""

_STARTED = time.monotonic()

_PR_SET_PDEATHSIG = 1
"""prctl(2): have the kernel send us a signal when our parent dies."""


def main() -> None:
    """Entry point of the console script. An error on purpose ends in one line on standard error and its own code."""
    protect_memory()
    try:
        _refuse_unknown_process()
        app()
    except RagdError as error:
        complain("ragd", error.one_line(), process=_process_name())
        _leave(error.exit_code)


@app.callback(invoke_without_command=True)
def daemon(context: typer.Context) -> None:
    """Remember a Discord server: start every process of ragd and keep them running, in the foreground.

    Without DISCORD_BOT_TOKEN, run a demo against a local Discord.
    """
    if context.invoked_subcommand is None:
        _start_tree()


@app.command()
def capture() -> None:
    """Run only capture: Discord's events into the database."""
    _run("capture")


@app.command()
def syncer() -> None:
    """Run only syncer: messages to chunks to vectors."""
    _run("syncer")


@app.command()
def searcher() -> None:
    """Run only searcher: the index, and its answers."""
    _run("searcher")


@app.command()
def watchdog() -> None:
    """Run only watchdog: it has sick workers replaced, and tells systemd."""
    _run("watchdog")


@app.command()
def sandbox(
    community: Annotated[
        list[Path] | None, typer.Argument(help="DiscordChatExporter JSON files or folders. Default: the demo's.")
    ] = None,
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Of REST and gateway; 0: a free one.")] = 0,
    control_port: Annotated[int, typer.Option(help="Of the control side; 0: a free one.")] = 0,
    token: Annotated[
        str,
        typer.Option(
            envvar="DISCORD_BOT_TOKEN", show_envvar=False, help="The bot's token. Default: that of the environment."
        ),
    ] = "sandbox",  # noqa: S107 - opens nothing else
    ready_file: Annotated[Path | None, typer.Option(help="Where to write the URLs once it serves.")] = None,
    seeded: Annotated[float, typer.Option(min=0, max=1, help="Share of the history that is there already.")] = 1.0,
    speed: Annotated[float, typer.Option(min=0, help="Of the rest, in times of real time; 0: no waiting.")] = 1.0,
    chat: Annotated[bool, typer.Option(help="Chat on for ever after that.")] = False,
) -> None:
    """Run a local Discord for a bot to connect to; prints its URLs."""
    _end_with_supervisord()
    configure_logging("sandbox", load_settings())
    from ragd.sandbox.run import run_sandbox  # the daemon itself never loads it

    run_sandbox(
        host=host,
        port=port,
        control_port=control_port,
        token=token,
        community=community or "demo",
        seeded=seeded,
        speed=speed,
        chat=chat,
        ready_file=ready_file,
    )


def _start_tree() -> NoReturn:
    settings = load_settings()
    become_owner(settings.data_dir)
    require_port(settings)
    require_http_token(settings)
    require_client(settings)
    if not settings.is_demo or is_system_installation():
        require_token(settings)
        refuse_demo_data(settings)
        check_urls(settings.alert_urls)
        claim_directories(settings)
        become_supervisord(settings)
    claim_directories(settings)
    settings = prepare_demo(settings)
    print(what_to_try(settings), flush=True)
    become_supervisord(settings, include=include_file())


def _run(process: str) -> NoReturn:
    """Run one process to its end. Its module is imported here and not above: each has only its own parts to load."""
    _end_with_supervisord()
    settings = load_settings()
    if process != "capture":
        settings = settings.without_token()
    become_owner(settings.data_dir)
    protect_files(settings.data_dir, settings.runtime_dir)
    configure_logging(process, settings)
    record_settings(process, settings)
    _leave(run_process(process, lambda stop: _run_body(process, settings, stop), crash_reporter(process, settings)))


def _run_body(process: str, settings: Settings, stop: StopFlag) -> None:
    with advised(settings.data_dir):
        importlib.import_module(f"ragd.{process}").run(settings, stop)


def _refuse_unknown_process() -> None:
    """Before Typer, whose own word for it takes four lines."""
    known = [str(command.name or getattr(command.callback, "__name__", "")) for command in app.registered_commands]
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name and not name.startswith("-") and name not in known:
        raise UsageError(f"no process is called {name!r}", hint=f"there are {', '.join(known)}")


def _process_name() -> str:
    """Who we are in the journal: a worker by its name, anything else `ragd`."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    return name if name in PROCESSES else "ragd"


def _leave(code: int) -> NoReturn:
    """Exit; as a worker that only a person can help not before supervisord takes the exit code for final."""
    if code in FINAL_EXITS and _supervised():
        stop = StopFlag()
        stop.install()
        stop.wait(max(0.0, _STARTED + FINAL_AFTER_SECONDS - time.monotonic()))
    sys.exit(int(code))


def _end_with_supervisord() -> None:
    """Be told to stop if supervisord dies: a worker without one is neither watched nor stopped by anybody."""
    if _supervised():
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _supervised() -> bool:
    return "SUPERVISOR_ENABLED" in os.environ
