"""Settings of what is captured, looked at once more, and kept for how long."""

from __future__ import annotations

from pydantic import BaseModel, Field

from ragd.settings.types import Ids, Keepings


class CaptureSettings(BaseModel):
    """Fields of ragd.settings.Settings."""

    allow_ids: Ids = Field(
        (),
        validation_alias="RAGD_ALLOW_IDS",
        description="Comma-separated ids of guilds, categories, channels or threads: with any, only these are"
        " captured.",
    )
    deny_ids: Ids = Field(
        (),
        validation_alias="RAGD_DENY_IDS",
        description="Comma-separated ids of what is left out. Of several listed ids on the way from a thread to its"
        " guild the most specific decides. `ragdctl reload` puts both lists into force without a restart.",
    )
    index_bots: bool = Field(
        False,
        validation_alias="RAGD_INDEX_BOTS",
        description="Whether messages of other bots and of webhooks take part in search; ragd's own never do.",
    )
    reconcile_hours: float = Field(
        24.0,
        ge=0,
        le=24 * 30,
        validation_alias="RAGD_RECONCILE_HOURS",
        description="How much recent history is re-read, after a break at once and else all the time, to find edits and"
        " deletes that nobody told of, in hours.",
    )
    reconcile_minutes: float = Field(
        60.0,
        gt=0,
        le=24 * 60,
        validation_alias="RAGD_RECONCILE_MINUTES",
        description="How often that history is gone through while nothing is amiss, in minutes; a busy server takes"
        " longer, at no more than 30 pages of 100 messages a minute.",
    )
    retention_days: Keepings = Field(
        (),
        validation_alias="RAGD_RETENTION_DAYS",
        description="How many days messages are kept, and then erased; 0 or nothing: for ever. `365,123456789=30` keeps"
        " a year, of the channel, thread, category or guild 123456789 a month; the most specific counts.",
    )
    deleted_retention_days: float = Field(
        0.0,
        ge=0,
        le=365,
        validation_alias="RAGD_DELETED_RETENTION_DAYS",
        description="How many days the text of a message stays in the database after it was deleted on Discord, found"
        " by nobody; 0: it is erased at once.",
    )
