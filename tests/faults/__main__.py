"""`make faults`: do every fault to a running tree, print the table, and with --write put it into BENCHMARKS.md."""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import machine, revision, write_block
from tests.faults.record import SLACK, load, markdown


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--write", action="store_true", help="update BENCHMARKS.md")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        report, begun, load_before = Path(directory) / "report.json", time.monotonic(), os.getloadavg()[0]
        command = [sys.executable, "-m", "pytest", "-m", "faults", str(Path(__file__).parent)]
        code = subprocess.run(command, env={**os.environ, "FAULT_REPORT": str(report)}, check=False).returncode
        seconds = time.monotonic() - begun
        if code or not asked.write:
            return code
        today = datetime.datetime.now(datetime.UTC).date()
        about = (
            f"`make faults`, {seconds:.0f} s, {today}, load average before {load_before:.1f}; bounds are asserted times"
            f" RAGD_FAULT_SLACK={SLACK:g} and, above one, the load a core. {machine()}. ragd {revision()}.\n"
        )
        write_block("faults", f"{markdown(load(report))}\n\n{about}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
