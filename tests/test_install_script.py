"""What of deploy/systemd/install.sh shows without an installation; the rest: tests/systemd."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.toytree import ROOT

SCRIPT = ROOT / "deploy" / "systemd" / "install.sh"

SWITCH = """
release=$PREFIX/releases/new work=$DESTDIR/work
mkdir -p "$DESTDIR$release" "$work"
trap 'rm -rf "$work" "$DESTDIR$release"' EXIT
trap 'exit 1' INT TERM
switch_to_release
"""

INTERRUPTED_MV = """#!/bin/sh
/bin/mv "$@"
kill -TERM $PPID
"""


def run(arguments: list[str], destination: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DESTDIR": str(destination), **more}
    return subprocess.run(["sh", *arguments], env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("action", ["install", "uninstall"])
@pytest.mark.parametrize("prefix", ["/opt/my ragd", "opt/ragd", "/opt/r&d", "/opt/100%", "/"])
def test_a_prefix_that_the_units_cannot_have_is_refused(tmp_path: Path, prefix: str, action: str) -> None:
    done = run([str(SCRIPT), action], tmp_path, PREFIX=prefix)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"ragd: PREFIX={prefix}: must be an absolute path of letters, digits and . _ -"]
    assert list(tmp_path.iterdir()) == []


def test_who_is_interrupted_at_the_switch_leaves_what_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "mv").write_text(INTERRUPTED_MV)
    (tmp_path / "mv").chmod(0o755)
    functions = SCRIPT.read_text().rpartition("\ncase ${1:-} in")[0]
    assert "switch_to_release() {" in functions
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = run(["-c", functions + SWITCH, str(SCRIPT)], tmp_path, PATH=path)
    assert done.returncode == 1, done.stderr
    assert not (tmp_path / "work").exists()
    current = tmp_path / "opt" / "ragd" / "current"
    assert str(current.readlink()) == "/opt/ragd/releases/new"
    assert (tmp_path / "opt" / "ragd" / "releases" / "new").is_dir()
