"""Import and export of one large file of DiscordChatExporter's shape: messages a second, and the memory it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.embedding import ROOT
from benchmarks.stage import texts, workspace
from benchmarks.tables import Table, number
from ragd.snowflake import from_unix_seconds

FULL: dict[str, Any] = {"messages": 500_000}
QUICK: dict[str, Any] = {"messages": 5_000}

_BEGINNING = 1_600_000_000
_PEOPLE = 200
_ROLES = [{"id": str(10**17 + at), "name": f"role {at}", "color": "#3498DB", "position": at} for at in range(5)]

_MEASURED = """
import sys, time
from pathlib import Path
from ragd.cli.control import main
begun, cpu_begun = time.perf_counter(), time.process_time()
try:
    main()
finally:
    # not ru_maxrss: that remembers the process that started this one
    (peak,) = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
    print(time.perf_counter() - begun, time.process_time() - cpu_begun, int(peak) * 1024, file=sys.stderr)
"""


@dataclass(frozen=True)
class Run:
    """One command of ragdctl's, without the start of its interpreter."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run(messages: int) -> list[Table]:
    """A file, imported into an empty store, imported again, exported in each format."""
    table = Table("Import and export", ("what", "messages/s", "MB/s", "messages/CPU s", "peak memory, MiB"))
    with workspace() as directory:
        source = directory / "made.json"
        write_file(source, messages)
        size = source.stat().st_size
        for what, arguments, target in (
            ("import", ["import", str(source)], source),
            ("import of what is known", ["import", str(source)], source),
            *((f"export, {kind}", ["export", "--format", kind, "-o"], directory / f"out.{kind}") for kind in _KINDS),
        ):
            if target is not source:
                arguments = [*arguments, str(target)]
            taken = _measure(arguments, directory)
            _add(table, what, taken, messages, target.stat().st_size)
    table.notes.append(
        f"A file of {messages:,} messages, {size / 1e6:,.0f} MB, indented as DiscordChatExporter does it, with roles;"
        " texts are the demo's and PyScript's chats. `ragdctl` in a process of its own, nothing else using the store;"
        " importing commits every 500 messages with an fsync. One run."
    )
    return [table]


_KINDS = ("dce", "jsonl", "csv")


def _add(table: Table, what: str, taken: Run, messages: int, size: int) -> None:
    table.add(
        what,
        number(messages / taken.seconds),
        number(size / 1e6 / taken.seconds),
        number(messages / taken.cpu_seconds),
        number(taken.peak_bytes / 2**20),
    )


def _measure(arguments: list[str], directory: Path) -> Run:
    environment = {**os.environ, "RAGD_DATA_DIR": str(directory / "data"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    seconds, cpu, peak = done.stderr.splitlines()[-1].split()
    return Run(float(seconds), float(cpu), int(peak))


def write_file(path: Path, count: int) -> None:
    """A channel of so many messages, one every ten seconds, a tenth of them replies."""
    head = {
        "guild": {"id": "970000000000000002", "name": "Large", "iconUrl": ""},
        "channel": {"id": "970000000000000003", "type": "GuildTextChat", "categoryId": None, "name": "large"},
        "dateRange": {"after": None, "before": None},
        "exportedAt": "2025-11-17T00:00:00.000+00:00",
    }
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head, indent=2)[:-2] + ',\n  "messages": [\n')
        for at, message in enumerate(_messages(count)):
            file.write((",\n" if at else "") + json.dumps(message, indent=2, ensure_ascii=False))
        file.write(f'\n  ],\n  "messageCount": {count}\n}}\n')


def _messages(count: int) -> Iterator[dict[str, Any]]:
    contents = texts(min(count, 5_000))
    for at in range(count):
        seconds = _BEGINNING + at * 10
        reply = {
            "type": "Default",
            "messageId": str(from_unix_seconds(seconds - 10)),
            "channelId": "970000000000000003",
        }
        yield {
            "id": str(from_unix_seconds(seconds)),
            "type": "Reply" if at % 10 == 9 else "Default",
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(seconds)),
            "timestampEdited": None,
            "callEndedTimestamp": None,
            "isPinned": False,
            "content": contents[at % len(contents)],
            "author": _person(at % _PEOPLE),
            "attachments": [],
            "components": [],
            "embeds": [],
            "stickers": [],
            "reactions": [_reaction(at)] if at % 7 == 0 else [],
            "mentions": [_person((at + 1) % _PEOPLE)] if at % 10 == 9 else [],
            **({"reference": reply} if at % 10 == 9 else {}),
            "inlineEmojis": [],
        }


def _person(number: int) -> dict[str, Any]:
    name = f"person {number}"
    return {
        "id": str(10**18 + number),
        "name": name,
        "discriminator": "0000",
        "nickname": name,
        "color": "#3498DB",
        "isBot": False,
        "roles": _ROLES,
        "avatarUrl": f"https://cdn.discordapp.com/avatars/{10**18 + number}/{number:032x}.png?size=512",
    }


def _reaction(at: int) -> dict[str, Any]:
    emoji = {
        "id": "",
        "name": "👍",
        "code": "thumbsup",
        "isAnimated": False,
        "imageUrl": "https://example.org/1f44d.svg",
    }
    return {"emoji": emoji, "count": 2, "users": [_person(at % _PEOPLE), _person((at + 1) % _PEOPLE)]}
