"""Snapshots of the index: what is damaged is never read, what interrupts a write costs nothing but that write."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragd.errors import DamagedError, TransientError
from ragd.index import NoSnapshotError, Saver, StaleSnapshotError, VectorIndex, set_aside
from ragd.index import snapshot as snapshots

KEY = {"model_key": "model", "strategy": "conversation"}
WANTED: dict[str, Any] = {**KEY, "dimension": 16}
ROOT = Path(__file__).parents[1]


def unit(count: int, seed: int = 0, dimension: int = 16) -> Any:
    """Random unit vectors."""
    vectors = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def filled(count: int = 60) -> VectorIndex:
    """An index with a graph, some of it removed, and with rows that are not in the graph."""
    index = VectorIndex(16, exact_limit=10)
    vectors = unit(count)
    index.add(range(count - 10), vectors[:-10])
    while index.fold(100):
        pass
    index.add(range(count - 10, count), vectors[-10:])
    index.remove([1, 2, count - 1])
    return index


def names(directory: Path) -> set[str]:
    """What is in a directory."""
    return {path.name for path in directory.iterdir()}


def generation_files(*numbers: int) -> set[str]:
    """The files of generations that have a graph."""
    return {snapshots.file_name(kind, number) for kind in snapshots.SUFFIXES for number in numbers}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with two generations, at positions 1 and 2."""
    index = filled()
    index.save(tmp_path, position=1, **KEY)
    index.add([1000], unit(1, seed=7))
    index.save(tmp_path, position=2, **KEY)
    return tmp_path


def test_round_trip(directory: Path) -> None:
    before = filled()
    before.add([1000], unit(1, seed=7))
    after, position = VectorIndex.load(directory, **WANTED, exact_limit=10)
    assert position == 2
    assert after.stats() == before.stats()
    assert min(after.stats().graph, after.stats().exact, after.stats().deleted) > 0
    for query in unit(20, seed=9):
        assert after.search(query, 60) == before.search(query, 60)
    after.add([1, 5000], unit(2, seed=8))
    while after.fold(3):
        pass
    assert after.stats().exact == 0


def test_empty_index_round_trips(tmp_path: Path) -> None:
    VectorIndex(16).save(tmp_path / "new" / "place", position=0, **KEY)
    index, position = VectorIndex.load(tmp_path / "new" / "place", **WANTED)
    assert (len(index), position) == (0, 0)


def test_only_two_generations_are_kept_and_leftovers_go(directory: Path) -> None:
    for leftover in ("rows-00000003.npy.tmp", "rows-00000001.npy"):
        (directory / leftover).write_bytes(b"half")
    (directory / "notes.txt").write_text("not ours")
    assert filled().save(directory, position=3, **KEY) == 3
    assert names(directory) == generation_files(2, 3) | {"notes.txt"}


@pytest.mark.parametrize("change", [{"model_key": "other"}, {"dimension": 17}, {"strategy": "other"}])
def test_snapshot_of_another_kind_is_stale(directory: Path, change: dict[str, Any]) -> None:
    with pytest.raises(StaleSnapshotError, match="wanted"):
        VectorIndex.load(directory, **{**WANTED, **change})


def test_another_format_is_stale(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "FORMAT", 99)
    with pytest.raises(StaleSnapshotError, match="this program writes 99"):
        VectorIndex.load(directory, **WANTED)


@pytest.mark.parametrize("place", ["", "missing"])
def test_no_snapshot(tmp_path: Path, place: str) -> None:
    with pytest.raises(NoSnapshotError):
        VectorIndex.load(tmp_path / place, **WANTED)
    assert set_aside(tmp_path / place) is None


def flip(path: Path) -> None:
    """Change one bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def truncate(path: Path) -> None:
    """Lose the last byte."""
    os.truncate(path, path.stat().st_size - 1)


def zero(path: Path) -> None:
    """Keep the size, lose the rest: what a crash can leave of a file that was not fsynced."""
    path.write_bytes(bytes(path.stat().st_size))


def directory_instead(path: Path) -> None:
    """Something that cannot be read."""
    path.unlink()
    path.mkdir()


DAMAGE = [flip, truncate, zero, Path.unlink, directory_instead]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", list(snapshots.SUFFIXES))
def test_damage_falls_back_and_is_set_aside(directory: Path, kind: str, damage: Callable[[Path], None]) -> None:
    damage(directory / snapshots.file_name(kind, 2))
    index, position = VectorIndex.load(directory, **WANTED)
    assert (position, len(index)) == (1, 57)
    aside = set_aside(directory)
    if (kind, damage) == (snapshots.MANIFEST, Path.unlink):  # then there is no generation 2
        assert aside is None
        return
    assert aside == directory / "damaged-2"
    assert names(directory) == generation_files(1) | {"damaged-2"}
    assert names(aside) <= generation_files(2)
    assert set_aside(directory) is None


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", list(snapshots.SUFFIXES))
def test_damage_everywhere_is_an_error_and_a_rebuild_starts_clean(
    directory: Path, kind: str, damage: Callable[[Path], None]
) -> None:
    for generation in (1, 2):
        damage(directory / snapshots.file_name(kind, generation))
    missing = (kind, damage) == (snapshots.MANIFEST, Path.unlink)
    with pytest.raises(NoSnapshotError if missing else DamagedError):
        VectorIndex.load(directory, **WANTED)
    set_aside(directory)
    assert snapshots.generations(directory) == []
    filled().save(directory, position=9, **KEY)
    assert VectorIndex.load(directory, **WANTED)[1] == 9


def test_only_the_last_damage_is_kept(directory: Path) -> None:
    flip(directory / snapshots.file_name(snapshots.ROWS, 2))
    set_aside(directory)
    for position in (3, 4):
        filled().save(directory, position=position, **KEY)
    flip(directory / snapshots.file_name(snapshots.GRAPH, 3))
    assert set_aside(directory) == directory / "damaged-3"
    assert [name for name in names(directory) if name.startswith("damaged")] == ["damaged-3"]


def rewrite(directory: Path, **changes: Any) -> None:
    """Replace fields of the newest manifest and seal it anew, as a bug or a stranger might."""
    manifest = snapshots.read_manifest(directory, 2).model_copy(update=changes).sealed()
    (directory / snapshots.file_name(snapshots.MANIFEST, 2)).write_text(manifest.model_dump_json())
    (directory / snapshots.file_name(snapshots.MANIFEST, 1)).unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "rows-00000001.npy", "", "rows-00000002.npy/.."])
def test_manifest_cannot_name_other_files(directory: Path, name: str) -> None:
    entries = snapshots.read_manifest(directory, 2).files
    rewrite(directory, files={**entries, name: entries[snapshots.file_name(snapshots.ROWS, 2)]})
    with pytest.raises(DamagedError, match="not its own"):
        VectorIndex.load(directory, **WANTED)


def test_true_checksum_of_wrong_content_is_damage(directory: Path) -> None:
    rewrite(directory, count=1)
    with pytest.raises(DamagedError, match="instead of 1"):
        VectorIndex.load(directory, **WANTED)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04" + bytes(50), bytes(5000)])
def test_rows_that_are_no_arrays_are_damage(directory: Path, content: bytes) -> None:
    path = directory / snapshots.file_name(snapshots.ROWS, 2)
    path.write_bytes(content)
    entries = snapshots.read_manifest(directory, 2).files
    rewrite(directory, files={**entries, path.name: snapshots._entry(path)})
    with pytest.raises(DamagedError):
        VectorIndex.load(directory, **WANTED)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
FIELDS = sorted(snapshots.Manifest.model_fields)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.sampled_from([*FIELDS, "more"]), JSON, min_size=1), text=st.none() | st.binary())
def test_any_manifest_is_damage_or_equal(directory: Path, changes: dict[str, Any], text: bytes | None) -> None:
    path = directory / snapshots.file_name(snapshots.MANIFEST, 2)
    sound = path.read_bytes()
    fields = json.loads(sound)
    try:
        path.write_bytes(json.dumps({**fields, **changes}).encode() if text is None else text)
        _, position = VectorIndex.load(directory, **WANTED)
        assert position == 1 or {**fields, **changes} == fields
    finally:
        path.write_bytes(sound)


@pytest.mark.parametrize(
    "text", [b"[" * 60_000, b'{"format": 1' + b"0" * 60_000 + b"}", b" " * 70_000, b"\xff", b'"\\ud800"']
)
def test_hostile_manifest_is_damage(directory: Path, text: bytes) -> None:
    (directory / snapshots.file_name(snapshots.MANIFEST, 2)).write_bytes(text)
    assert VectorIndex.load(directory, **WANTED)[1] == 1


def holding(directory: Path, vector: Any) -> set[str]:
    """Files below a directory that contain a vector, byte by byte."""
    pattern = vector.tobytes()
    return {path.name for path in directory.rglob("*") if path.is_file() and pattern in path.read_bytes()}


def test_removed_vectors_leave_every_file_after_compaction(directory: Path) -> None:
    in_graph, in_rows = unit(60)[5], unit(60)[55]
    index, _ = VectorIndex.load(directory, **WANTED, exact_limit=10)
    assert holding(directory, in_graph) == {"graph-00000001.hnsw", "graph-00000002.hnsw"}
    assert holding(directory, in_rows) == {"rows-00000001.npy", "rows-00000002.npy"}
    flip(directory / snapshots.file_name(snapshots.MANIFEST, 1))
    set_aside(directory)
    index.remove([5, 55])
    index.save(directory, position=3, **KEY)
    assert "graph-00000003.hnsw" in holding(directory, in_graph)  # as hnswlib has it
    index.compact()
    while index.fold(7):
        pass
    index.save(directory, position=4, **KEY)
    assert holding(directory, in_graph) == holding(directory, in_rows) == set()
    assert names(directory) == generation_files(4)
    assert len(VectorIndex.load(directory, **WANTED)[0]) == 56
    index.save(directory, position=5, **KEY)
    assert names(directory) == generation_files(4, 5)


def test_compaction_purges_old_files_without_a_graph(tmp_path: Path) -> None:
    index = VectorIndex(16)
    index.add(range(10), unit(10))
    index.save(tmp_path, position=1, **KEY)
    index.remove([3])
    index.compact()
    assert index.fold(1) is False
    index.save(tmp_path, position=2, **KEY)
    assert holding(tmp_path, unit(10)[3]) == set()


def test_a_purge_that_becomes_due_during_a_save_is_due_after_it(tmp_path: Path) -> None:
    index, identity = VectorIndex(16), snapshots.Identity(KEY["model_key"], 16, KEY["strategy"])
    index.add(range(10), unit(10))
    index.compact()
    saver = Saver(index, tmp_path, identity, 0)
    saver.step(0.0, 1)  # begins, in a process of its own
    index.remove([3])
    index.compact()
    saver.wait()
    assert index.purge_due
    assert holding(tmp_path, unit(10)[3])
    saver.save(2)
    assert not index.purge_due
    assert holding(tmp_path, unit(10)[3]) == set()


PRELUDE = """
    import resource, sys
    from pathlib import Path
    import numpy as np
    from ragd.errors import TransientError
    from ragd.index import VectorIndex
    from tests.test_index_snapshot import KEY, filled
    directory, index = Path(sys.argv[1]), filled(600)
"""
SAVE_FOR_EVER = """
    position = int(sys.argv[2])
    while True:
        position += 1
        index.save(directory, position=position, **KEY)
        print(position, flush=True)
"""
SAVE_WITH_SMALL_FILES = """
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
    try:
        index.save(directory, position=99, **KEY)
    except TransientError as error:
        print("refused:", error)
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    """Run a program that follows the prelude."""
    source = textwrap.dedent(PRELUDE) + textwrap.dedent(program)
    command = [sys.executable, "-W", "error", "-c", source, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_kill_at_any_moment_leaves_a_snapshot(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    reached = 0
    for _ in range(6):
        with start(SAVE_FOR_EVER, tmp_path, reached) as process:
            assert process.stdout is not None
            for _ in range(int(random.integers(1, 6))):
                reached = int(process.stdout.readline())
            try:
                process.wait(timeout=float(random.uniform(0, 0.02)))  # lands anywhere in the next saves
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            reached = max(reached, *map(int, process.stdout.read().split()), 0)
        index, position = VectorIndex.load(tmp_path, **WANTED)
        assert position >= reached
        assert len(index) == 597
        reached = position
    filled(600).save(tmp_path, position=reached, **KEY)
    current = snapshots.generations(tmp_path)
    assert names(tmp_path) == generation_files(*current)
    assert len(current) == 2


def size(directory: Path, kind: str) -> int:
    """Bytes of a file of generation 1."""
    return (directory / snapshots.file_name(kind, 1)).stat().st_size


@pytest.mark.parametrize("kind", list(snapshots.SUFFIXES))
def test_file_that_cannot_grow_leaves_the_old_generation(tmp_path: Path, kind: str) -> None:
    index = filled(600)
    index.save(tmp_path, position=1, **KEY)
    with start(SAVE_WITH_SMALL_FILES, tmp_path, size(tmp_path, kind) - 1) as process:
        output, _ = process.communicate()
    assert "refused:" in output
    assert process.returncode == 0
    assert names(tmp_path) == generation_files(1)
    assert VectorIndex.load(tmp_path, **WANTED)[1] == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of 1 MiB."""
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("cannot mount a tmpfs here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("room", [0, 4096, 60_000, 150_000])
def test_full_disk_leaves_the_old_generation_and_recovers(small_disk: Path, room: int) -> None:
    index = filled(600)
    index.save(small_disk, position=1, **KEY)
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(max(0, free - room)))
    with pytest.raises(TransientError, match="not written"):
        index.save(small_disk, position=2, **KEY)
    assert names(small_disk) == generation_files(1) | {"ballast"}
    assert VectorIndex.load(small_disk, **WANTED)[1] == 1
    ballast.unlink()
    index.save(small_disk, position=2, **KEY)
    assert VectorIndex.load(small_disk, **WANTED)[1] == 2
