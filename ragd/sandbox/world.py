"""The sandbox's world: everything a local Discord knows, in memory, on one event loop, without I/O.

`World` is made of layers, one module each, lowest first:

- `state.WorldState`: tables (`users`, `guilds`, `channels`, `messages`, ...), look-ups that raise
  `UnknownEntityError(kind)`, `subscribe`, `silence`, `ledger`
- `guilds.GuildActions`: accounts, applications, guilds, roles, members
- `channels.ChannelActions`: channels, overwrites, DMs, webhooks, archiving and membership of threads
- `posting.MessageActions`: post, edit, delete, pin, react
- `threads.ThreadActions`: create_thread, create_forum_post
- `commands.InteractionActions` (records in `interactions`): application commands, interactions and the bot's answers

Records are in `entities`, their JSON in `payloads`. Ids are int here and str in payloads; times are Unix ms.
`WorldRuleError` says that a change contradicts the world's state. Every change emits its gateway events at once;
inside `with world.silence():` nothing is emitted, which is how history is seeded.

Code that only reads (permissions, payloads) takes a `WorldState`, so that the layers can import it.
"""

from __future__ import annotations

from .commands import InteractionActions
from .interactions import Interaction
from .state import UnknownEntityError, WorldRuleError, WorldState

__all__ = ["Interaction", "UnknownEntityError", "World", "WorldRuleError", "WorldState"]


class World(InteractionActions):
    """All layers together; see the module."""
