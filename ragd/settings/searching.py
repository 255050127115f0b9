"""Settings of chunks, of the model that embeds them, and of search."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from ragd.settings.files import CREDENTIALS
from ragd.settings.types import STRATEGY_NAMES, OptionalPath, OptionalSecret, OptionalText, OptionalUrl, Strategies


class SearchSettings(BaseModel):
    """Fields of ragd.settings.Settings."""

    auto_sync_interval_minutes: int = Field(
        30,
        ge=1,
        le=1440,
        validation_alias="AUTO_SYNC_INTERVAL_MINUTES",
        description="How often the syncer walks over everything once more; new messages never wait for it.",
    )
    auto_sync_strategies: Strategies = Field(
        ("temporal", "conversation"),
        validation_alias="AUTO_SYNC_STRATEGIES",
        description="Comma-separated chunking strategies, each with an index of its own: "
        + ", ".join(f"`{name}`" for name in STRATEGY_NAMES)
        + ".",
    )
    chunking_window_seconds: int = Field(
        3600,
        ge=60,
        le=21_600,
        validation_alias="CHUNKING_WINDOW_SECONDS",
        description="How long a chunk of `temporal` is at most, from its first message, in seconds.",
    )
    chunking_gap_seconds: int = Field(
        1800,
        ge=60,
        le=21_600,
        validation_alias="CHUNKING_GAP_SECONDS",
        description="After so long a silence a conversation has ended, and a sliding window too, in seconds.",
    )
    chunking_window_messages: int = Field(
        10,
        ge=2,
        le=100,
        validation_alias="CHUNKING_WINDOW_MESSAGES",
        description="How many messages a window of `sliding_window` has.",
    )
    chunking_overlap_messages: int = Field(
        2,
        ge=0,
        le=99,
        validation_alias="CHUNKING_OVERLAP_MESSAGES",
        description="How many of them the next window has too.",
    )
    chunking_author_gap_seconds: int = Field(
        600,
        ge=1,
        le=21_600,
        validation_alias="CHUNKING_AUTHOR_GAP_SECONDS",
        description="After so long a pause an author's next message begins a chunk of its own in `author`, in seconds.",
    )
    model_dir: OptionalPath = Field(
        None,
        validation_alias="RAGD_MODEL_DIR",
        description="Folder of another ONNX sentence model (model.onnx, tokenizer.json). Default: the bundled one.",
    )
    model_graph: Literal["auto", "int8", "fp32"] = Field(
        "auto",
        validation_alias="RAGD_MODEL_GRAPH",
        description="Arithmetic of the model. `auto`: int8 if the CPU has dot products of bytes (VNNI, ARM's asimddp)"
        " and the model's folder such a graph, else fp32. Another one means that everything is embedded anew.",
    )
    embedding_model: OptionalText = Field(
        None,
        validation_alias="RAGD_EMBEDDING_MODEL",
        description="A model to be asked for at `RAGD_EMBEDDING_URL` instead of one that runs here. Every message that"
        " is searched goes there. Needs `pip install 'ragd[openai]'`.",
    )
    embedding_url: OptionalUrl = Field(
        None,
        validation_alias="RAGD_EMBEDDING_URL",
        description="Base URL of an endpoint that speaks OpenAI's embeddings, as in https://api.openai.com/v1.",
    )
    embedding_api_key: OptionalSecret = Field(
        None,
        validation_alias="RAGD_EMBEDDING_API_KEY",
        description="Its key, if it wants one. A secret.",
    )
    embedding_api_key_file: OptionalPath = Field(
        None,
        validation_alias="RAGD_EMBEDDING_API_KEY_FILE",
        description="A file with the key. Default under systemd: the credential"
        f" `{CREDENTIALS['RAGD_EMBEDDING_API_KEY']}`.",
    )
    embed_threads: int = Field(
        2,
        ge=1,
        le=64,
        validation_alias="RAGD_EMBED_THREADS",
        description="Threads that embed chunks at once, at most one a core.",
    )
    search_per_minute: int = Field(
        15,
        ge=1,
        le=600,
        validation_alias="RAGD_SEARCH_PER_MINUTE",
        description="How often a member may `/search` in a minute; all of them may be used at once.",
    )
    search_guild_per_minute: int = Field(
        120,
        ge=1,
        le=6000,
        validation_alias="RAGD_SEARCH_GUILD_PER_MINUTE",
        description="How often all members of a server together may.",
    )
