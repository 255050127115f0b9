"""One message of every kind that Discord has, posted in a sandbox."""

from __future__ import annotations

from typing import Any

from tests.processes import Place

SIGNED = "?ex=6500&is=6400&hm=abcdef"
"""How addresses of Discord's file store end: not twice the same."""

SENT_AT = "2023-11-14T22:13:20+00:00"
THUMB, PARTY = "👍", "party:555"


def attachment(place: Place, nth: int, **more: Any) -> dict[str, Any]:
    url = f"https://cdn.discordapp.com/attachments/{place.channel_id}/{nth}/map.png{SIGNED}"
    return {"id": str(nth), "filename": "map.png", "size": 321, "url": url, "proxy_url": url, **more}


RICH = {
    "type": "rich",
    "title": "Otters",
    "description": "seen at the weir",
    "url": "https://example.com/otters?page=3",
    "timestamp": SENT_AT,
    "author": {"name": "The Gazette", "url": "https://example.com"},
    "footer": {"text": "page 3"},
    "fields": [{"name": "where", "value": "weir", "inline": True}, {"name": "when", "value": "dawn"}],
}
LINKED = {
    "type": "image",
    "url": f"https://cdn.discordapp.com/attachments/1/2/otter.png{SIGNED}",
    "provider": {"name": "Discord"},
}
POLL = {
    "question": {"text": "Lunch?"},
    "answers": [
        {"answer_id": 2, "poll_media": {"text": "salad", "emoji": {"id": None, "name": "🥗"}}},
        {"answer_id": 1, "poll_media": {"text": "soup"}},
    ],
    "expiry": SENT_AT,
    "allow_multiselect": True,
    "layout_type": 1,
}
BUTTONS = {
    "type": 1,
    "components": [
        {"type": 2, "style": 5, "label": "Score", "url": "https://example.com/score"},
        {"type": 2, "style": 1, "custom_id": "a", "emoji": {"id": None, "name": "🎵"}},
    ],
}
SELECT = {
    "type": 1,
    "components": [
        {
            "type": 3,
            "custom_id": "voice",
            "placeholder": "Your voice",
            "options": [{"label": "alto", "value": "a", "description": "low"}, {"label": "bass", "value": "b"}],
        }
    ],
}
LAYOUT = {
    "type": 17,
    "accent_color": 255,
    "components": [
        {
            "type": 9,
            "components": [{"type": 10, "content": "# Choir"}],
            "accessory": {"type": 11, "media": {"url": "https://example.com/a.png"}, "description": "the hall"},
        },
        {"type": 14},
        {"type": 12, "items": [{"media": {"url": "https://example.com/b.png"}, "description": "the stage"}]},
        {"type": 13, "file": {"url": "attachment://score.pdf"}, "name": "score.pdf", "size": 9},
        BUTTONS,
    ],
}


def command_used(user_id: int, name: str) -> dict[str, Any]:
    user = {"id": str(user_id), "username": "bob", "discriminator": "0", "avatar": None, "global_name": None}
    return {"id": "91", "type": 2, "name": name, "user": user, "authorizing_integration_owners": {}}


def play(place: Place) -> dict[str, int]:
    """Post one of each; returns their ids."""
    control, channel, member = place.control, place.channel_id, place.member_id
    crew = int(control.change("create_role", guild_id=place.guild_id, name="crew")["id"])
    elsewhere = control.create_channel(place.guild_id, "galley")
    # only live events have it
    control.change("set_nick", guild_id=place.guild_id, user_id=member, nick="Bobby")
    ids: dict[str, int] = {}
    ids["words"] = place.post("plain words")
    ids["mentions"] = place.post(
        f"<@{place.owner_id}> <@{member}> <@&{crew}> <#{elsewhere}> <:ok:6> <t:1700000000:R> @everyone"
    )
    ids["reply"] = place.post("indeed", reply_to=ids["words"])
    files = [
        attachment(place, 71, content_type="image/png", description="a hand-drawn map", flags=8, title="Карта"),
        attachment(place, 72, content_type="audio/ogg", duration_secs=3.5, waveform="AAAA"),
    ]
    ids["files"] = place.post("look", attachments=files)
    ids["embeds"] = place.post("read", embeds=[RICH, LINKED])
    ids["sticker"] = place.post("", sticker_items=[{"id": "81", "name": "wave", "format_type": 1}])
    ids["poll"] = place.post("", poll={**POLL, "results": {"is_finalized": False, "answer_counts": []}})
    ids["ended poll"] = place.post("", poll=POLL)
    ids["buttons"] = place.post("choose", components=[BUTTONS, SELECT])
    ids["layout"] = place.post("", components=[LAYOUT], flags=1 << 15)
    ids["elsewhere"] = place.post("the key is under the pot", elsewhere, embeds=[RICH], attachments=files[:1])
    ids["forward"] = control.forward(channel, member, ids["elsewhere"])
    control.delete(ids["elsewhere"])
    hook = control.change("create_webhook", channel_id=channel, name="News", creator_id=member)
    ids["webhook"] = place.post("from outside", webhook_id=int(hook["id"]), webhook_name="News")
    origin = command_used(member, "weather")
    ids["answer"] = place.post("rain", type=20, interaction_metadata=origin, application_id=92, flags=1 << 12)
    ids["joined"] = place.post("", type=7)
    ids["boosted"] = place.post("3", type=8)
    ids["pin notice"] = place.post("", type=6, reference=(channel, ids["words"]))
    ids["pinned"] = place.post("the rules")
    ids["edited"] = place.post("frist")
    ids["thread's first"] = place.post("about the choir")
    return ids


def change_some(place: Place, ids: dict[str, int]) -> None:
    """What Discord changes with and without an edit."""
    control = place.control
    control.edit(ids["edited"], "first")
    control.change("set_pinned", message_id=ids["pinned"], pinned=True)
    counts = [{"id": 1, "count": 3, "me_voted": False}, {"id": 2, "count": 0, "me_voted": False}]
    over = {**POLL, "results": {"is_finalized": True, "answer_counts": counts}}
    control.change("edit", message_id=ids["ended poll"], mark_edited=False, poll=over)
    control.create_thread(place.channel_id, place.member_id, "choir", message_id=ids["thread's first"])
    other = control.create_user("cleo")
    control.add_member(place.guild_id, other)
    for user in (place.member_id, other):
        control.react(ids["words"], user, THUMB)
        control.react(ids["words"], user, PARTY)
