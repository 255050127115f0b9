"""What a refused request says about the channel that was asked for."""

from __future__ import annotations

import logging

import discord

from ragd.store.events import ChannelGone, Refused, Wanted

_log = logging.getLogger(__name__)

UNKNOWN_CHANNEL = 10003
"""Discord's JSON error code; 404 has others, 403 never means that something is gone."""


def verdict(channel_id: int, wanted: Wanted, error: discord.HTTPException) -> ChannelGone | Refused | None:
    """What became of the channel, for the store; logged here. None if the error says nothing about it: a server's
    fault, or the page of something between Discord and us."""
    json = str(error.response.headers.get("Content-Type", "")).startswith("application/json")
    if error.status not in (403, 404) or not json:
        _log.warning("%s of channel %d cannot be had: %s", wanted, channel_id, error)
        return None
    if error.code == UNKNOWN_CHANNEL:
        return ChannelGone(channel_id)
    _log.warning(
        "Discord refuses %s of channel %d, which the permissions allow (HTTP %d, code %d): asking again in an hour or"
        " more",
        wanted,
        channel_id,
        error.status,
        error.code,
    )
    return Refused(channel_id, wanted)
