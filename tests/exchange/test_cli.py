"""`ragdctl import` and `ragdctl export` as their own processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ragd.store import Store
from tests.exchange.files import dce_message, write
from tests.store.factories import CHANNEL, at
from tests.test_control_cli import RUN, Operator
from tests.toytree import wait_until


@pytest.fixture
def ragdctl(tmp_path: Path) -> Operator:
    return Operator(tmp_path, {"RAGD_DATA_DIR": str(tmp_path / "data")})


def some(count: int) -> list[dict[str, object]]:
    return [dce_message(at(second), f"number {second}") for second in range(count)]


def stored(home: Path) -> int:
    store = Store.open_read_only(home / "data" / "ragd.sqlite3")
    try:
        return store.counts().messages
    finally:
        store.close()


def test_there_and_back(ragdctl: Operator, tmp_path: Path) -> None:
    path = write(tmp_path / "f.json", some(3))
    done = ragdctl("import", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("f.json: #general: 3 messages, 3 new; ")
    assert (tmp_path / "data" / "ragd.sqlite3").stat().st_mode & 0o777 == 0o600
    (again,) = ragdctl.json("import", str(path))["files"]
    assert (again["new"], again["known"], again["complete_to"], again["problem"]) == (0, 3, str(at(2)), "")
    out = ragdctl("export", "-o", "out/")
    assert (
        out.stdout == f"out/Guild - general [{CHANNEL}].json: 3 messages, {2:.0f} KiB\n" or "3 messages" in out.stdout
    )
    assert "is there already" in ragdctl("export", "-o", "out/").stderr
    lines = ragdctl("export", "--format", "jsonl", "-o", "-", "--since", "2023-11-14T22:13:21Z").stdout.splitlines()
    assert [json.loads(line)["content"] for line in lines] == ["number 1", "number 2"]
    until = ragdctl("export", "--format", "csv", "-o", "-", "--until", "2023-11-14T22:13:21Z").stdout.splitlines()
    assert len(until) == 2


def test_what_is_wrong_is_one_line_and_the_other_files_are_imported(ragdctl: Operator, tmp_path: Path) -> None:
    whole = write(tmp_path / "b.json", some(3)).read_text()
    cut = whole.index(str(at(2)))
    (tmp_path / "a.json").write_text(whole[:cut])
    done = ragdctl("import", "a.json", "b.json")
    assert done.returncode == 65
    assert done.stdout.splitlines()[1].startswith("b.json: #general: 3 messages, 1 new, 2 known already; ")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"ragdctl: a.json: byte {cut:,}: expected the end of the object that begins at byte ")
    assert line.endswith(", found the end of the file; 2 messages before that are kept")


def test_an_export_tells_of_what_it_had_to_leave_out(ragdctl: Operator, tmp_path: Path) -> None:
    assert ragdctl("import", str(write(tmp_path / "f.json", some(3)))).returncode == 0
    store = Store.open(tmp_path / "data" / "ragd.sqlite3")
    store._execute("UPDATE message SET extra = '{\"interaction\":5}' WHERE id = ?", at(1))
    store.close()
    done = ragdctl("export", "-o", "out.json")
    assert done.returncode == 65
    assert done.stdout.startswith("out.json: 3 messages, ")
    (line,) = done.stderr.splitlines()
    assert line == "ragdctl: out.json: 1 messages with their words alone: what else is stored of them makes no sense"
    done = ragdctl("export", "-o", "-")
    assert (done.returncode, len(done.stderr.splitlines())) == (65, 1)
    assert [message["content"] for message in json.loads(done.stdout)["messages"]] == [f"number {n}" for n in range(3)]
    (file,) = ragdctl.json("export", "--format", "csv", "-o", "out.csv")["files"]
    assert (file["messages"], file["damaged"]) == (3, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("import", "no.json"), 64, "no.json: no such file"),
        (("import", "."), 64, "holds no *.json"),
        (("export",), 69, "no database at"),
        (("export", "--until", "soon"), 1, "--until=soon: must be a date"),
        (("export", "--until", "2001-01-01"), 64, "--until=2001-01-01: nothing is older than that"),
        (("export", "--json", "-o", "-"), 64, "--json and -o - cannot both have standard output"),
    ],
)
def test_bad_command_lines(ragdctl: Operator, arguments: tuple[str, ...], code: int, complaint: str) -> None:
    done = ragdctl(*arguments)
    assert done.returncode == code
    (line,) = done.stderr.splitlines()
    assert complaint in line


def test_an_import_that_is_killed_leaves_whole_batches_and_is_repeated(ragdctl: Operator, tmp_path: Path) -> None:
    count = 20_000
    path = write(tmp_path / "f.json", some(count))
    process = subprocess.Popen(
        [sys.executable, *RUN, "import", str(path)],
        cwd=tmp_path,
        env=ragdctl.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wal = tmp_path / "data" / "ragd.sqlite3-wal"
    wait_until(lambda: wal.exists() and wal.stat().st_size > 500_000, 60, "some batches")
    process.kill()
    process.wait()
    store = Store.open(tmp_path / "data" / "ragd.sqlite3")
    kept = store.counts().messages
    assert kept % 500 == 0
    assert 0 < kept < count, "it was killed in the middle"
    assert store.coverage.intervals(CHANNEL) == [(1, at(kept - 1))], "what it claims is there"
    store.close()
    (report,) = ragdctl.json("import", str(path))["files"]
    assert (report["known"], report["new"]) == (kept, count - kept)
    assert stored(tmp_path) == count


def test_memory_does_not_grow_with_the_file(ragdctl: Operator, tmp_path: Path) -> None:
    """A file of some hundred MB in the memory of a small one: with room to spare for an allocator's moods."""
    peaks = []
    for count, filling in ((100, 1), (60_000, 4_000)):
        path = tmp_path / f"{count}.json"
        _write_large(path, count, filling)
        code = (
            "import sys\nfrom pathlib import Path\nsys.argv[0] = 'ragdctl'\nfrom ragd.cli.control import main\n"
            "try: main()\nfinally: print(Path('/proc/self/status').read_text())"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, "import", str(path)],
            env=ragdctl.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout.split("VmHWM:")[1].split()[0]) / 1024)
        size = path.stat().st_size
        path.unlink()
    assert size > 200e6
    assert peaks[1] < peaks[0] + 48, f"{peaks} MiB"


def _write_large(path: Path, count: int, filling: int) -> None:
    """Texts are short: it is the file that is large, not the store."""
    head, tail = json.dumps({**json.loads(write(path).read_text()), "messages": ["?"], "messageCount": count}).split(
        '"?"'
    )
    with path.open("w") as file:
        file.write(head)
        for second in range(count):
            message = dce_message(at(second), "short", inlineEmojis=[{"imageUrl": "x" * filling}])
            file.write(("," if second else "") + json.dumps(message))
        file.write(tail)
