"""`ragdctl mcp`: search for agents, by the Model Context Protocol over standard input and output."""

from __future__ import annotations

import contextlib
import importlib.util

from ragd.cli.asker import AsUser, InGuild
from ragd.config import load_settings
from ragd.errors import ConfigError, UnavailableError
from ragd.log import configure_logging


def mcp(*, as_user: AsUser = None, guild: InGuild = None) -> None:
    """Serve agents by the Model Context Protocol (MCP) on standard input and output, until that ends: search, fetch a
    passage, status. An agent's program starts it, see "Agents" in README.md.
    """
    if importlib.util.find_spec("mcp") is None:
        raise ConfigError("`ragdctl mcp` needs the package mcp", hint='pip install "ragd[mcp]"')
    # here, because nothing else needs these, and they take a second to load
    from ragd.cli.mcp.server import serve
    from ragd.cli.mcp.tools import Tools

    settings = load_settings()
    configure_logging("mcp", settings)
    tools = Tools(settings, as_user, guild)
    with contextlib.suppress(UnavailableError):  # ragd may not have run yet: each call tries again, and says so
        tools.find_asker()
    serve(tools)
