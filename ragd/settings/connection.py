"""Settings of the connection to Discord."""

from __future__ import annotations

from pydantic import BaseModel, Field

from ragd.settings.files import CREDENTIALS
from ragd.settings.types import MOST_SHARDS, OptionalPath, OptionalSecret, ShardIds


class ConnectionSettings(BaseModel):
    """Fields of ragd.settings.Settings."""

    discord_bot_token: OptionalSecret = Field(
        None,
        validation_alias="DISCORD_BOT_TOKEN",
        description="The bot's token. Without one `ragd` runs the demo against its own local Discord.",
    )
    discord_bot_token_file: OptionalPath = Field(
        None,
        validation_alias="DISCORD_BOT_TOKEN_FILE",
        description="A file with the token, for when it should not stand in the environment. Default under systemd:"
        f" the credential `{CREDENTIALS['DISCORD_BOT_TOKEN']}`.",
    )
    command_prefix: str = Field(
        "!",
        min_length=1,
        max_length=10,
        pattern=r"^\S+$",
        validation_alias="COMMAND_PREFIX",
        description="What the bot's text commands begin with, as in `!health`.",
    )
    shard_count: int = Field(
        1,
        ge=1,
        le=MOST_SHARDS,
        validation_alias="RAGD_SHARD_COUNT",
        description="Into how many shards the bot's servers are divided; Discord takes 2,500 servers a shard at most."
        " The same in every instance of one bot.",
    )
    shard_ids: ShardIds = Field(
        (),
        validation_alias="RAGD_SHARD_IDS",
        description="Those that this instance captures, as in `0-3` or `0,2`; each instance has a data directory of its"
        " own. Default: all.",
    )
    discord_api_url: str = Field(
        "https://discord.com/api/v10",
        pattern=r"^https?://\S+[^/]$",
        validation_alias="RAGD_DISCORD_API_URL",
        description="Base URL of Discord's REST API; the sandbox's in the demo and the tests.",
    )
    discord_gateway_url: str = Field(
        "wss://gateway.discord.gg/",
        pattern=r"^wss?://\S+$",
        validation_alias="RAGD_DISCORD_GATEWAY_URL",
        description="URL of Discord's gateway; the sandbox's in the demo and the tests.",
    )
