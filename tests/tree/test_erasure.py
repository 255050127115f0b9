"""Gone is gone: somebody is erased while ragd runs, and no byte of theirs is left in any file, nor comes back."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from ragd.sandbox.client import SandboxThread
from tests.processes import Place, environment, furnish
from tests.tree.tree import INTERVALS, Tree

pytestmark = pytest.mark.tree

WORD, NAME, FILE = "zqxwobble", "jyrkvoss", "wkyzregret"
"""Of the message, of who wrote it, of a file of theirs; letters that nothing else here has side by side."""

ERASED = [word[1:-1].encode() for word in (WORD, NAME, FILE)]
"""What is looked for in files: an index of words may keep the beginning of a word apart."""


class Scene:
    """A guild with history, somebody in it who will be erased, and what belongs to them."""

    def __init__(self, place: Place) -> None:
        self.place, control = place, place.control
        self.regretful = control.create_user(NAME)
        control.add_member(place.guild_id, self.regretful)
        file = {"id": "1", "filename": f"{FILE}.png", "size": 3, "url": "https://cdn.discordapp.com/x", "proxy_url": ""}
        for nth in range(40):
            self.say(f"The {WORD} of the {nth} rain gauges", nth, attachments=[file])
            place.post(f"Somebody else says {nth} things about the rain gauge")

    def say(self, text: str, nth: int, **more: Any) -> int:
        return self.place.control.post(self.place.channel_id, self.regretful, f"{text}: {WORD}{nth}", **more)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with SandboxThread() as sandbox:
        yield Scene(furnish(sandbox))


@pytest.fixture(scope="module")
def tree(scene: Scene, home: Path) -> Iterator[Tree]:
    with Tree(environment(scene.place.sandbox, home / "data", **INTERVALS)) as tree:
        yield tree.start().running()


def ragdctl(tree: Tree, *arguments: str) -> Any:
    run = tree.run_other("ragdctl", *arguments, "--json")
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def traces(tree: Tree, needles: list[bytes]) -> list[tuple[str, bytes]]:
    """Files of the data directory, and ragd's log, that have one of these in them; without what is kept on purpose."""
    found = []
    for path in [*tree.settings.data_dir.rglob("*"), tree.log]:
        if path.is_file() and path.parent.name != "backups" and ".damaged-" not in path.name:
            content = path.read_bytes()
            found += [(str(path.relative_to(tree.home)), needle) for needle in needles if needle in content]
    return found


def vectors_of(tree: Tree) -> list[bytes]:
    """A piece of each vector whose text they have part in."""
    connection = apsw.Connection(str(tree.settings.database_path), apsw.SQLITE_OPEN_READONLY)
    try:
        rows = connection.execute(
            "SELECT v.data FROM vector v JOIN chunk c ON c.text_hash = v.text_hash WHERE c.text LIKE ?", (f"%{WORD}%",)
        ).fetchall()
    finally:
        connection.close()
    return [bytes(row[0])[64:128] for row in rows]


def words_of(tree: Tree) -> list[str]:
    """Terms of the indexes of words that can only be theirs."""
    connection = apsw.Connection(str(tree.settings.database_path), apsw.SQLITE_OPEN_READONLY)
    try:
        connection.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab (main, message_word, row)")
        asked = (
            "SELECT term FROM temp.terms WHERE term LIKE ?",
            "SELECT term FROM message_trigram_terms WHERE term = ?",
        )
        return [
            row[0]
            for sql, term in zip(asked, (f"{WORD[:5]}%", WORD[1:4]), strict=True)
            for row in connection.execute(sql, (term,))
        ]
    finally:
        connection.close()


def backfilled(tree: Tree) -> bool:
    store = tree.status().store
    return store is not None and store.holes == 0 and store.lag_messages == 0


@pytest.mark.timeout(420)
def test_no_byte_of_somebody_is_left_and_none_comes_back(scene: Scene, tree: Tree, home: Path) -> None:
    newest = scene.say("And one more", 99)
    tree.settle()
    tree.wait(lambda: tree.finds(WORD, newest), "found")
    ragdctl(tree, "backup")
    assert tree.run_other("ragdctl", "export", "--output", str(home / "export")).returncode == 0
    tree.signal("searcher", signal.SIGTERM)  # it writes its index
    tree.wait(lambda: list(tree.settings.index_dir.rglob("rows-*")), "an index file")
    tree.wait(tree._is_healthy, "searcher is back")
    needles = [*ERASED, *vectors_of(tree)]
    before = traces(tree, needles)
    assert {needle for _, needle in before} == set(needles)
    assert {"data/ragd.sqlite3-wal", "data/index/temporal/rows-00000001.npy"} <= {path for path, _ in before}

    answer = ragdctl(tree, "forget", NAME, "--yes")["erasure"]
    print(json.dumps(answer, indent=1))
    assert (answer["state"], answer["messages"]) == ("done", 41)
    assert len(answer["receipt"]["backups"]) == 1
    assert not tree.finds(WORD, newest)
    tree.settle()
    assert traces(tree, needles) == []
    assert words_of(tree) == []
    assert any("rain gauge" in result.text for result in tree.search("rain gauge").results), "others are found still"

    assert tree.stop() == 0
    assert traces(tree, needles) == []
    connection = apsw.Connection(str(tree.settings.database_path))
    connection.execute("DELETE FROM coverage")
    connection.close()
    tree.start().running()
    imported = ragdctl(tree, "import", str(home / "export"))
    assert "withheld" in json.dumps(imported)
    tree.wait(lambda: backfilled(tree), "history read once more")
    tree.settle()
    assert traces(tree, needles) == []
    audit = ragdctl(tree, "audit")
    assert "BURIED" not in json.dumps(audit).upper()

    assert tree.stop() == 0
    ragdctl(tree, "restore", "--force")
    tree.start().running()
    tree.wait(lambda: backfilled(tree), "history read once more")
    tree.settle()

    def all_done() -> bool:
        return all(one["state"] == "done" for one in ragdctl(tree, "erasures")["erasures"])

    tree.wait(all_done, "the erasure is applied to the restored database")
    assert traces(tree, needles) == []
    assert words_of(tree) == []
    assert ragdctl(tree, "erasures")["erasures"][0]["receipt"]["set_aside"]


def test_while_ragd_is_stopped_it_is_erased_at_once(scene: Scene, tree: Tree) -> None:
    scene.say("After the erasure", 100)
    tree.settle()
    needles = [*ERASED, *vectors_of(tree)]
    assert tree.stop() == 0
    assert traces(tree, needles) != []
    answer = ragdctl(tree, "forget", str(scene.regretful), "--yes", "--opt-out")["erasure"]
    assert (answer["state"], answer["messages"]) == ("done", 1)
    assert traces(tree, needles) == []
    assert ragdctl(tree, "forget", str(scene.regretful), "--yes")["erasure"]["messages"] == 0
    scene.say("While it is stopped, and opted out", 101)
    tree.start().running()
    tree.wait(lambda: backfilled(tree), "history read")
    tree.settle()
    assert traces(tree, needles) == []
