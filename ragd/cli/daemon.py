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

from ragd.cli.demo import include_file, prepare_demo, refuse_demo_data, what_to_try
from ragd.cli.launch import become_supervisord, claim_directories
from ragd.config import load_settings
from ragd.errors import ExitCode, RagdError
from ragd.log import configure_logging
from ragd.worker import StopFlag, run_process

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

FINAL_AFTER_SECONDS = 2.5
"""More than startsecs in deploy/supervisord.conf, within which supervisord retries whatever the exit code says."""

_STARTED = time.monotonic()

_PR_SET_PDEATHSIG = 1
"""prctl(2): have the kernel send us a signal when our parent dies."""


def main() -> None:
    """Entry point of the console script. An error on purpose ends in one line on standard error and its own code."""
    try:
        app()
    except RagdError as error:
        print(f"ragd: {error.one_line()}", file=sys.stderr, flush=True)
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
    token: Annotated[str, typer.Option(help="The bot's token.")] = "sandbox",  # noqa: S107 - opens nothing else
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
    if not settings.is_demo:
        refuse_demo_data(settings)
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
    configure_logging(process, settings)
    code = run_process(process, lambda stop: importlib.import_module(f"ragd.{process}").run(settings, stop))
    _leave(code)


def _leave(code: int) -> NoReturn:
    """Exit; as a worker with a configuration error not before supervisord takes the exit code for final."""
    if code == ExitCode.CONFIG and _supervised():
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
