"""`ragdctl index`: how the indexes are, whether they agree with the database, and building them anew."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from ragd.access import protect_files
from ragd.cli.launch import lock_directory
from ragd.cli.render import AsJson, console, format_bytes, format_seconds, one_line, print_json
from ragd.config import Settings, load_settings
from ragd.errors import ExitCode, TransientError, UnavailableError, UsageError
from ragd.search_client import ask_about_indexes
from ragd.status import collect_status
from ragd.store import Store

CHECK_SECONDS = 60.0
"""How long the searcher may take to compare its indexes with the store."""

POLL_SECONDS = 0.5

app = typer.Typer(no_args_is_help=True, help="Look at the vector indexes, verify them, build them anew.")

Strategy = Annotated[str | None, typer.Option(metavar="NAME", help="Only the index of this chunking strategy.")]
# ragd.index and ragd.indexes, which load numpy and hnswlib, are imported where they are used: no other command does


@app.command()
def stats(*, strategy: Strategy = None, as_json: AsJson = False) -> None:
    """Show each index: exact or graph, vectors, deleted ones, memory, files, how far behind."""
    settings = load_settings()
    living = _ask(settings, "stats", strategy)
    rows = [_describe(settings, name, (living or {}).get(name)) for name in _chosen(settings, strategy)]
    if as_json:
        print_json({"searcher": living is not None, "indexes": rows})
    else:
        _show(rows, answered=living is not None)


@app.command()
def verify(*, strategy: Strategy = None, as_json: AsJson = False) -> None:
    """Check manifests and checksums, that the index holds every chunk and nothing else, and its recall.

    Exit code: 0 all is well, 65 something is damaged; `ragdctl index rebuild` mends it.
    """
    from ragd.indexes import Differences, describe_differences, examine, find_manifests

    settings = load_settings()
    manifests = find_manifests(settings.index_dir)
    found = []
    with contextlib.closing(Store.open_read_only(settings.database_path)) as store:
        for name in _chosen(settings, strategy):
            directory = manifests[name][0] if name in manifests else settings.index_dir / name
            found.append(examine(name, directory, store.vectors))
    living = _ask(settings, "check", strategy, CHECK_SECONDS) or {}
    for one in found:
        if (state := living.get(one.strategy)) is not None:
            differences = describe_differences(Differences(**state["differences"]))
            one.faults += [f"in the searcher's memory: {fault}" for fault in differences]
    if as_json:
        print_json({"indexes": [vars(one) for one in found], "searcher_checked": bool(living)})
    else:
        for one in found:
            _tell(one, checked=one.strategy in living)
    raise typer.Exit(ExitCode.DATA if any(one.faults for one in found) else ExitCode.OK)


@app.command()
def rebuild(*, strategy: Strategy = None, as_json: AsJson = False) -> None:
    """Build indexes anew from the database: by the searcher, which goes on answering, or here if ragd is stopped."""
    settings = load_settings()
    names = _chosen(settings, strategy)
    if _ask(settings, "rebuild", strategy) is not None:
        steps = _follow(settings, strategy)
    else:
        protect_files(settings.data_dir)
        lock_directory(settings.data_dir)
        _refuse_running(settings)
        steps = _build(settings, names)
    states = _watch(steps, quiet=as_json)
    if as_json:
        print_json({"rebuilt": list(names), "vectors": {name: states[name].count for name in names}})
    else:
        typer.echo("; ".join(f"{name}: {states[name].count:,} vectors" for name in names))


def _chosen(settings: Settings, strategy: str | None) -> tuple[str, ...]:
    names = settings.auto_sync_strategies
    if strategy is not None and strategy not in names:
        raise UsageError(f"no index of strategy {one_line(strategy)!r}", hint=f"there are {', '.join(names)}")
    return names if strategy is None else (strategy,)


def _ask(
    settings: Settings, action: str, strategy: str | None, seconds: float = 15.0
) -> dict[str, dict[str, Any]] | None:
    """The searcher's word by strategy; None if none runs. Raises UnavailableError if one runs and does not answer."""
    try:
        answer = ask_about_indexes(settings.search_socket, action, _chosen_one(settings, strategy), seconds)
    except UnavailableError:
        if action == "rebuild" and _runs(settings):
            raise
        return None
    return {index["strategy"]: index for index in answer}


def _chosen_one(settings: Settings, strategy: str | None) -> str | None:
    return None if strategy is None else _chosen(settings, strategy)[0]


def _runs(settings: Settings) -> bool:
    return collect_status(settings).processes["searcher"].pid is not None


def _refuse_running(settings: Settings) -> None:
    """The lock is the whole tree's; a searcher that somebody started by hand has none."""
    if _runs(settings):
        raise TransientError("the searcher still runs", hint="ask it again in a moment, or stop it")


# stats


def _describe(settings: Settings, name: str, living: dict[str, Any] | None) -> dict[str, Any]:
    """One index: what the searcher says of its memory, else what the newest manifest says."""
    from ragd.indexes import find_manifests

    directory, manifest = find_manifests(settings.index_dir).get(name, (None, None))
    row: dict[str, Any] = {"strategy": name, "generation": None, "age_seconds": None, "file_bytes": None}
    if directory and manifest:
        age = (datetime.now(UTC) - datetime.fromisoformat(manifest.created_at)).total_seconds()
        row |= {
            "generation": manifest.generation,
            "age_seconds": max(0.0, age),
            "file_bytes": sum(entry.size for entry in manifest.files.values()),
        }
    if living is not None:
        told = living["stats"]
        return row | {
            "kind": "graph" if told["graph"] else "exact",
            "vectors": told["live"],
            "deleted": told["deleted"],
            "memory_bytes": told["memory_bytes"],
            "ef": told["ef"],
            "behind": living["behind"],
            "waiting": told["waiting"],
            "compacting": told["compacting"],
            "expected": living["expected"],
        }
    row |= dict.fromkeys(("memory_bytes", "ef", "behind", "waiting", "compacting", "expected"))
    if manifest is None:
        return row | {"kind": None, "vectors": None, "deleted": None}
    row["behind"] = _behind(settings, manifest.position)
    return row | {
        "kind": "graph" if manifest.has("graph") else "exact",
        "vectors": manifest.count,
        "deleted": manifest.deleted,
    }


def _behind(settings: Settings, position: int) -> int:
    with contextlib.closing(Store.open_read_only(settings.database_path)) as store:
        return max(0, store.vectors.last_change() - position)


def _show(rows: list[dict[str, Any]], *, answered: bool) -> None:
    screen = console()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("strategy", "kind"):
        table.add_column(heading, no_wrap=True)
    for heading in ("vectors", "deleted", "behind", "memory", "files", "generation", "age"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        counts = (_count(row[key]) for key in ("vectors", "deleted", "behind"))
        sizes = format_bytes(row["memory_bytes"]), format_bytes(row["file_bytes"])
        age = format_seconds(row["age_seconds"])
        table.add_row(row["strategy"], row["kind"] or "-", *counts, *sizes, _count(row["generation"]), age)
    screen.print(table)
    for row in rows:
        if doing := _doing(row):
            screen.print(Text(f"{row['strategy']}: {doing}", style="yellow"))
    if not answered:
        screen.print(Text("no searcher answers: this is what the files say", style="yellow"))


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _doing(row: dict[str, Any]) -> str:
    if row["expected"] is not None:
        return f"{row['vectors']:,} of {row['expected']:,} vectors read from the database"
    if row["compacting"]:
        return "being rid of deleted vectors; answers are complete"
    if row["waiting"]:
        built = row["vectors"] - row["waiting"]
        return f"{built:,} of {row['vectors']:,} vectors in the graph; answers are complete"
    return ""


# verify


def _tell(found: Any, *, checked: bool) -> None:
    screen = console()
    for fault in found.faults:
        screen.print(Text(f"{found.strategy}: {one_line(fault)}", style="red"), soft_wrap=True)
    for note in found.notes:
        screen.print(Text(f"{found.strategy}: {one_line(note)}", style="yellow"), soft_wrap=True)
    if found.faults:
        return
    if found.generation is None:
        if checked:
            screen.print(Text(f"{found.strategy}: the searcher's memory is sound", style="green"))
        return
    recall = "" if found.recall is None else f", recall@10 {found.recall:.3f}"
    behind = f", {found.behind:,} changes behind" if found.behind else ""
    memory = "; so is the searcher's memory" if checked else ""
    sound = f"generation {found.generation} with {found.count:,} vectors is sound{recall}{behind}{memory}"
    screen.print(Text(f"{found.strategy}: {sound}", style="green"), soft_wrap=True)


# rebuild


class _Step:
    """How far one index is: `done` of `total` in a phase, `count` vectors in all."""

    def __init__(self, name: str, state: dict[str, Any]) -> None:
        told = state["stats"]
        self.name = name
        self.count = int(told["live"])
        self.is_over = state["expected"] is None and not told["waiting"]
        if state["expected"] is not None:
            self.phase, self.done, self.total = "reading", self.count, int(state["expected"])
        else:
            self.phase, self.done, self.total = "building", self.count - int(told["waiting"]), self.count


Steps = Iterator[list[_Step]]


def _follow(settings: Settings, strategy: str | None) -> Steps:
    """Ask the searcher until it is done."""
    while True:
        states = ask_about_indexes(settings.search_socket, "stats", strategy)
        steps = [_Step(state["strategy"], state) for state in states]
        yield steps
        if all(step.is_over for step in steps):
            return
        time.sleep(POLL_SECONDS)


def _build(settings: Settings, names: tuple[str, ...]) -> Steps:
    """Do what the searcher does, without one."""
    from ragd.embedders import open_serving
    from ragd.follower import Follower

    with contextlib.closing(Store.open(settings.database_path)) as store:
        embedder = open_serving(settings, store.embeddings, threads=1)
        followers = [Follower(settings.index_dir, name, embedder, store.vectors) for name in names]
        for follower in followers:
            follower.rebuild()
        more = True
        while more:
            more = any([follower.step(time.monotonic()) for follower in followers])  # noqa: C419 - each has its turn
            yield [_Step(follower.describe().strategy, follower.describe().document()) for follower in followers]
        for follower in followers:
            follower.snapshot()


def _watch(steps: Steps, *, quiet: bool) -> dict[str, _Step]:
    """Show every step on a terminal, a line a second elsewhere; returns the last ones by strategy."""
    last: list[_Step] = []
    with contextlib.ExitStack() as stack:
        show = _no_show if quiet else _bars(stack) if console().is_terminal else _lines()
        for last in steps:
            show(last)
    return {step.name: step for step in last}


def _no_show(steps: list[_Step]) -> None:
    """Nothing, for JSON."""


def _bars(stack: contextlib.ExitStack) -> Callable[[list[_Step]], None]:
    columns = TextColumn("{task.description}"), BarColumn(40), TextColumn("{task.completed:,} of {task.total:,}")
    progress = stack.enter_context(Progress(*columns, console=console()))
    tasks: dict[str, Any] = {}

    def show(steps: list[_Step]) -> None:
        for step in steps:
            task = tasks.setdefault(step.name, None)
            if task is None:
                task = tasks[step.name] = progress.add_task(step.name, total=step.total)
            progress.update(task, description=f"{step.name}: {step.phase}", completed=step.done, total=step.total)

    return show


def _lines() -> Callable[[list[_Step]], None]:
    due = 0.0

    def show(steps: list[_Step]) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + 1.0
            told = (
                f"{step.name}: {step.phase} {step.done:,} of {step.total:,}"
                for step in steps
                if step.total and not step.is_over
            )
            if line := "; ".join(told):
                typer.echo(line)

    return show
