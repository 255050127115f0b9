"""`ragdctl search --as` and `ragdctl mcp --as`: an agent on a member's behalf gets no more than the member."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.redteam.stage import CODE, HIDDEN_NAME, SECRETS, WRITER, Stage, loot
from tests.test_mcp import RUN

VAULT = SECRETS["vault"]

QUERIES: dict[str, tuple[str, ...]] = {
    "words": ("rain gauge safe",),
    "a code": (CODE,),
    "from:": (f"from:{WRITER} safe",),
    "in:": (f"in:{HIDDEN_NAME} safe",),
    "--channel": ("safe", "--channel", HIDDEN_NAME),
    "--author": ("safe", "--author", WRITER),
}


def search(stage: Stage, user: int, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *RUN, "search", *arguments, "--json", "--as", str(user), "--guild", str(stage.guild)],
        env=stage.variables,
        cwd=stage.directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", QUERIES)
def test_search_as_an_outsider(stage: Stage, name: str) -> None:
    assert VAULT in search(stage, stage.insider(), *QUERIES[name])
    stolen = search(stage, stage.outsider(), *QUERIES[name])
    assert loot(stolen, *(word for word in (CODE, WRITER, HIDDEN_NAME) if word in " ".join(QUERIES[name]))) == []


async def call(stage: Stage, user: int, tool: str, arguments: dict[str, Any]) -> str:
    command = StdioServerParameters(
        command=sys.executable,
        args=[*RUN, "mcp", "--as", str(user), "--guild", str(stage.guild)],
        env=stage.variables,
        cwd=stage.directory,
    )
    async with Client(stdio_client(command)) as client:
        result = await client.call_tool(tool, arguments)
        return json.dumps(result.model_dump(mode="json"))


@pytest.mark.parametrize("tool", ["search", "fetch_passage"])
async def test_an_agent_for_an_outsider(stage: Stage, tool: str) -> None:
    arguments = {"query": "code of the safe"} if tool == "search" else {"message": str(stage.vault_message)}
    assert VAULT in await call(stage, stage.insider(), tool, arguments)
    assert loot(await call(stage, stage.outsider(), tool, arguments)) == []
