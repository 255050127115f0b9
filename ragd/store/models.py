"""peewee's view of the tables that migrations.py makes; a test holds the two against each other.

Times are Unix milliseconds unless a name says otherwise. Models are bound to no database: queries are executed on the
one they are given.
"""

from __future__ import annotations

from peewee import (
    AutoField,
    BigIntegerField,
    BlobField,
    BooleanField,
    CompositeKey,
    FloatField,
    IntegerField,
    Model,
    TextField,
)


class Guild(Model):
    id = BigIntegerField(primary_key=True)
    name = TextField()
    removed = BooleanField(default=False)


class Channel(Model):
    """A text, voice, stage, news or forum channel or a thread: whatever holds messages, or threads that do."""

    id = BigIntegerField(primary_key=True)
    guild_id = BigIntegerField()
    parent_id = BigIntegerField(null=True)
    type = IntegerField()
    name = TextField()
    last_message_id = BigIntegerField(default=0)
    """The newest message id known to have existed; it may have been deleted since. 0: none."""
    readable = BooleanField(default=True)
    archived = BooleanField(default=False)
    deleted = BooleanField(default=False)
    threads_listed_at = BigIntegerField(default=0)
    details = TextField(default="{}")
    """JSON, only what says something: `topic` and `nsfw` of a channel; `tags` by name, those that a forum offers or a
    post has; `locked`, `owner_id` and `auto_archive_minutes` of a thread; of an imported one,
    `exported_at`."""
    excluded = BooleanField(default=False)
    """Left out by RAGD_ALLOW_IDS or RAGD_DENY_IDS: not captured any more, and found by nobody."""
    imported = BooleanField(default=False)
    """Known from an imported file alone: the bot has never seen it, so nothing is to be fetched for it."""
    refusals = IntegerField(default=0)
    """How often in a row Discord refused its messages although the permissions say yes."""
    refused_until = BigIntegerField(default=0)
    """It is not asked again before."""
    thread_refusals = IntegerField(default=0)
    threads_refused_until = BigIntegerField(default=0)
    """The same of the list of its archived threads."""


class Message(Model):
    """One message; a deleted one stays as an empty tombstone, so that no page read brings it back."""

    id = BigIntegerField(primary_key=True)
    guild_id = BigIntegerField()
    channel_id = BigIntegerField()
    author_id = BigIntegerField(default=0)
    author_name = TextField(default="")
    is_bot = BooleanField(default=False)
    type = IntegerField(default=0)
    content = TextField(default="")
    extra = TextField(default="{}")
    """JSON: what it carries beside its words, defined in ragd/extra.py."""
    reactions = TextField(default="{}")
    """JSON: how often each emoji stands under it, one of a server's own as `name:id`. Apart from `extra`, for it
    changes nothing that search reads: a change of it is no `change`."""
    reply_to_id = BigIntegerField(null=True)
    edited_at = BigIntegerField(default=0)
    deleted = BooleanField(default=False)
    chunkable = BooleanField(default=False)
    """Whether it takes part in search: not deleted, with text, by somebody who counts (`SearchPolicy`)."""
    source = TextField()
    """`gateway`, `rest`, `import`, `canary`: who said so first; Discord's word takes the place of a file's. Of a
    tombstone also `purge` (it may come back) and `erased` (it may not)."""
    received_at = BigIntegerField()
    """When it was read from Discord; so of an import, when that was exported."""
    change = BigIntegerField()
    """Grows with every write to any message; commits are in its order, so a reader that follows it misses none."""
    erase_at = BigIntegerField(default=0)
    """Of a deleted message whose text is kept for a while (RAGD_DELETED_RETENTION_DAYS): until then."""


class Coverage(Model):
    """Every message of the channel with start_id <= id <= end_id that exists is in the store.

    Intervals of a channel are disjoint. Those that touch are of different sources.
    """

    channel_id = BigIntegerField()
    start_id = BigIntegerField()
    end_id = BigIntegerField()
    source = TextField()
    """`gateway`: an unbroken session brought it; `rest`: pages of Discord's; `import`: a file says so."""
    proved_from = BigIntegerField(default=0)
    proved_at = BigIntegerField()
    """When: the first and the last proof of what has been joined here."""

    class Meta:
        primary_key = CompositeKey("channel_id", "start_id")


class Counter(Model):
    name = TextField(primary_key=True)
    value = BigIntegerField()


class EmbeddingModel(Model):
    """What vectors depend on; those of different models are never compared."""

    id = AutoField()
    key = TextField()
    name = TextField()
    dimension = IntegerField()
    sha256 = TextField(default="")
    pooling = TextField(default="")
    max_tokens = IntegerField(default=0)
    text_form = IntegerField(default=0)
    """The version of how a text is put before the model; 0 for models stored before this was kept."""
    source = TextField(default="bundled")
    """Where it is opened (ragd/embedders.py)."""
    serving = IntegerField(default=0)
    """The number of the switch that made it answer questions: the highest serves, 0 never did."""

    class Meta:
        table_name = "model"


class SyncState(Model):
    """How far a strategy has followed the messages' change numbers."""

    strategy = TextField(primary_key=True)
    version = IntegerField()
    position = BigIntegerField()

    class Meta:
        table_name = "sync_state"


class DirtyCell(Model):
    """Six hours of a channel in which messages from low_id to high_id changed since their chunks were made."""

    strategy = TextField()
    channel_id = BigIntegerField()
    cell = BigIntegerField()
    low_id = BigIntegerField()
    high_id = BigIntegerField()
    messages = IntegerField()
    marked_at = BigIntegerField(default=0)
    """Since when; of a cell that changed again while it was made anew, since then."""

    class Meta:
        primary_key = CompositeKey("strategy", "channel_id", "cell")
        table_name = "dirty_cell"


class Chunk(Model):
    id = AutoField()
    key = TextField()
    strategy = TextField()
    channel_id = BigIntegerField()
    cell = BigIntegerField()
    first_id = BigIntegerField()
    last_id = BigIntegerField()
    text = TextField()
    text_hash = BlobField()
    change = BigIntegerField()
    """Grows with every chunk made or removed; what the searcher follows."""
    made_at = BigIntegerField(default=0)
    """When it was committed with its vector, Unix ms; 0 for those made before this was kept."""


class ChunkMessage(Model):
    chunk_id = BigIntegerField()
    message_id = BigIntegerField()

    class Meta:
        primary_key = CompositeKey("chunk_id", "message_id")
        table_name = "chunk_message"


class ChunkRemoval(Model):
    chunk_id = BigIntegerField(primary_key=True)
    strategy = TextField()
    change = BigIntegerField()
    removed_at = BigIntegerField()

    class Meta:
        table_name = "chunk_removal"


class Vector(Model):
    """The embedding of a text by a model: float32, little-endian, unit length; shared by chunks of equal text."""

    model_id = IntegerField()
    text_hash = BlobField()
    data = BlobField()

    class Meta:
        primary_key = CompositeKey("model_id", "text_hash")


class Alert(Model):
    """One condition from its first sight to its end; the open one of a key is unique. Times in Unix seconds."""

    id = AutoField()
    key = TextField()
    severity = TextField()
    text = TextField()
    raised_at = BigIntegerField()
    resolved_at = BigIntegerField(null=True)
    count = IntegerField(default=1)
    announced_at = BigIntegerField(null=True)
    resolution_announced_at = BigIntegerField(null=True)
    last_at = BigIntegerField(null=True)
    reminders = IntegerField(default=0)
    reminded_at = BigIntegerField(null=True)
    announced_reminders = IntegerField(default=0)
    problem = TextField(default="")


class Audit(Model):
    """One comparison with Discord, from its request to its result; times in Unix seconds."""

    id = AutoField()
    kind = TextField()
    """`asked` by a person or `daily`."""
    sample = IntegerField()
    """How many messages are to be compared."""
    channels = TextField(default="[]")
    """JSON: ids of the only channels to look at; empty for all."""
    state = TextField()
    """`waiting`, `running`, `done` or `failed`."""
    asked_at = BigIntegerField()
    """It is not begun before: of a `daily` one that waits, a time to come."""
    started_at = BigIntegerField(null=True)
    ended_at = BigIntegerField(null=True)
    pid = BigIntegerField(null=True)
    """The capture that has taken it."""
    attempts = IntegerField(default=0)
    """How often it was taken: a capture that dies leaves it to the next."""
    touched_at = BigIntegerField(default=0)
    """When it moved on last."""
    checked = IntegerField(default=0)
    """Messages that Discord has in what was read, and those that the store wrongly took to be there still."""
    present = IntegerField(default=0)
    """Those of them that the store had as they are."""
    deleted = IntegerField(default=0)
    """Tombstones of the store that are gone from Discord too, as expected."""
    found = IntegerField(default=0)
    unmended = IntegerField(default=0)
    """Messages that did not agree, and those of them that still do not."""
    findings = TextField(default="[]")
    """JSON: what did not agree, a dictionary each; the first of them, if there are many."""
    details = TextField(default="{}")
    """JSON: what else was looked at (ragd/auditing.py, Outlook)."""
    problem = TextField(default="")
    """Why it failed."""


class HealthCheck(Model):
    """What a check of the watchdog said last; times in Unix seconds."""

    name = TextField(primary_key=True)
    verdict = TextField()
    figure = FloatField(null=True)
    unit = TextField()
    text = TextField()
    hint = TextField()
    checked_at = BigIntegerField()
    changed_at = BigIntegerField()

    class Meta:
        table_name = "health_check"


class HealthHistory(Model):
    """How often a check ran in one slot of ten minutes, and what came of it; `slot` is its beginning, Unix seconds."""

    name = TextField()
    slot = BigIntegerField()
    runs = IntegerField()
    warnings = IntegerField()
    failures = IntegerField()

    class Meta:
        primary_key = CompositeKey("name", "slot")
        table_name = "health_history"


class Person(Model):
    """A user who has objected, or was erased."""

    user_id = BigIntegerField(primary_key=True)
    opted_out_at = BigIntegerField(default=0)
    """From then on nothing is stored; 0: is not opted out."""
    erased_until = BigIntegerField(default=0)
    """No message of theirs up to this id is ever stored again."""


class OptInChannel(Model):
    """A channel in which, with its threads, only who agreed is recorded."""

    channel_id = BigIntegerField(primary_key=True)
    since = BigIntegerField()

    class Meta:
        table_name = "opt_in_channel"


class Consent(Model):
    """Somebody agreed to be recorded in such a channel, from that message id on; in channel 0, in all, after they had
    objected."""

    channel_id = BigIntegerField()
    user_id = BigIntegerField()
    from_id = BigIntegerField()

    class Meta:
        primary_key = CompositeKey("channel_id", "user_id")


class Cutoff(Model):
    """Nothing older than `before_id` is kept of a channel, or with channel 0 of any; done up to `erased_to`."""

    channel_id = BigIntegerField(primary_key=True)
    before_id = BigIntegerField()
    erased_to = BigIntegerField(default=0)


class Erasure(Model):
    """One wish to have something gone, from its request to its receipt; times in Unix seconds."""

    id = AutoField()
    kind = TextField()
    """`user`, `channel` or `before`."""
    subject = BigIntegerField()
    """The user's or the channel's id; 0 for all channels."""
    until_id = BigIntegerField()
    """Messages up to this id (`user`), or older than it (`before`); how far a `channel` has been emptied."""
    asked_by = TextField()
    """`member` or `operator`."""
    state = TextField()
    """What is being done: `rows`, `file`, `log`, `index`, `done` (ragd/erasing.py)."""
    asked_at = BigIntegerField()
    finished_at = BigIntegerField(null=True)
    messages = IntegerField(default=0)
    chunks = IntegerField(default=0)
    vectors = IntegerField(default=0)
    """How many of each were taken out."""
    index_change = BigIntegerField(default=0)
    """The chunks' change number that index files must have followed."""
    problem = TextField(default="")
    """What it waits for."""
    receipt = TextField(default="{}")
    """JSON, once done; ids and counts, no word of anybody's."""


MODELS: tuple[type[Model], ...] = (
    Guild,
    Channel,
    Message,
    Coverage,
    Counter,
    EmbeddingModel,
    SyncState,
    DirtyCell,
    Chunk,
    ChunkMessage,
    ChunkRemoval,
    Vector,
    Alert,
    Audit,
    HealthCheck,
    HealthHistory,
    Person,
    OptInChannel,
    Consent,
    Cutoff,
    Erasure,
)
