"""Settings of answers, and of the language model that may write them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from ragd.settings.files import CREDENTIALS
from ragd.settings.types import OptionalPath, OptionalSecret, OptionalUrl


class AnswerSettings(BaseModel):
    """Fields of ragd.settings.Settings."""

    ask_per_minute: int = Field(
        5,
        ge=1,
        le=600,
        validation_alias="RAGD_ASK_PER_MINUTE",
        description="How often a member may `/ask` in a minute.",
    )
    ask_guild_per_minute: int = Field(
        30,
        ge=1,
        le=6000,
        validation_alias="RAGD_ASK_GUILD_PER_MINUTE",
        description="How often all members of a server together may.",
    )
    llm_url: OptionalUrl = Field(
        None,
        validation_alias="RAGD_LLM_URL",
        description="Base URL of an OpenAI-compatible endpoint (Ollama, vLLM, OpenAI, ...) that writes the answers of"
        " `/ask`, as in `http://127.0.0.1:11434/v1`; the question and the passages found for it are sent there. Needs"
        " `pip install 'ragd[openai]'`. Without one the answer is made of quotes.",
    )
    llm_model: str = Field(
        "",
        max_length=200,
        validation_alias="RAGD_LLM_MODEL",
        description="The model's name there, which it needs.",
    )
    llm_api_key: OptionalSecret = Field(
        None, validation_alias="RAGD_LLM_API_KEY", description="The endpoint's key, if it wants one. A secret."
    )
    llm_api_key_file: OptionalPath = Field(
        None,
        validation_alias="RAGD_LLM_API_KEY_FILE",
        description="A file with the key, for when it should not stand in the environment. Default under systemd: the"
        f" credential `{CREDENTIALS['RAGD_LLM_API_KEY']}`.",
    )
    llm_timeout_seconds: float = Field(
        30.0,
        ge=1,
        le=600,
        validation_alias="RAGD_LLM_TIMEOUT_SECONDS",
        description="How long an answer may take to be written, with one more try; then it is made of quotes.",
    )
    llm_max_tokens: int = Field(
        500,
        ge=50,
        le=8000,
        validation_alias="RAGD_LLM_MAX_TOKENS",
        description="Longest written answer, in the model's tokens; more for a model that thinks first.",
    )
    llm_user_daily_tokens: int = Field(
        50_000,
        ge=0,
        validation_alias="RAGD_LLM_USER_DAILY_TOKENS",
        description="Tokens, of prompts and answers, for a member's questions a day (UTC); some twenty answers.",
    )
    llm_daily_tokens: int = Field(
        500_000,
        ge=0,
        validation_alias="RAGD_LLM_DAILY_TOKENS",
        description="What all of them and `ragdctl ask` may cost a day.",
    )
    llm_monthly_tokens: int = Field(
        5_000_000,
        ge=0,
        validation_alias="RAGD_LLM_MONTHLY_TOKENS",
        description="And a calendar month. When a cap is reached answers are made of quotes, and say so.",
    )
