"""What goes with the figures: the command, the machine, the versions; and where they stand in BENCHMARKS.md."""

from __future__ import annotations

import datetime
import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import apsw

import ragd
from benchmarks.embedding import ROOT
from ragd.errors import RagdError

BENCHMARKS = ROOT / "BENCHMARKS.md"
PACKAGES = ("discord.py", "peewee", "onnxruntime", "tokenizers", "hnswlib", "numpy", "aiohttp", "supervisor")


def describe_run(topic: str, load: float, seconds: float) -> str:
    """One paragraph: how to measure again, when and on what this was measured, and how busy that was before."""
    today = datetime.datetime.now(datetime.UTC).date()
    return (
        f"`python -m benchmarks {topic}`, {seconds:.0f} s, {today}, load average before {load:.1f}. {machine()}."
        f" ragd {revision()}, {versions()}.\n"
    )


def machine() -> str:
    """Processor, cores that may be used, memory. No names, no paths."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, {platform.system()}"


def versions() -> str:
    """Python, SQLite and the packages that matter for speed."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}, {packages}"


def revision() -> str:
    """ragd's version and, in a checkout, the last commit that changed it, with a `+` when there is more since."""
    git = [shutil.which("git") or "git", "-C", str(ROOT)]
    last = subprocess.run([*git, "log", "-1", "--format=%h", "--", "ragd"], capture_output=True, text=True, check=False)
    if last.returncode or not last.stdout:
        return ragd.__version__
    changed = subprocess.run([*git, "status", "--porcelain", "--", "ragd"], capture_output=True, check=False).stdout
    return f"{ragd.__version__} ({last.stdout.strip()}{'+' if changed else ''})"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def write_block(topic: str, text: str, path: Path = BENCHMARKS) -> None:
    """Replace what stands between the topic's marks. Raises RagdError if the file has no such marks."""
    begin, end = f"<!-- bench:{topic} -->", f"<!-- /bench:{topic} -->"
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise RagdError(f"{path.name} has no block {begin} ... {end}")
    path.write_text(f"{before}{begin}\n{text}{end}{after}", encoding="utf-8")
