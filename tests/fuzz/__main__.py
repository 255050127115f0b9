"""Coverage-guided fuzzing of the parsers that are Python all through, by atheris: `python -m tests.fuzz [SECONDS]`.

Each target runs in a process of its own, for libFuzzer ends the one it ran in. Where atheris has no wheel for this
Python, nothing is done, and said so: the same targets are tried by Hypothesis.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.seeds import SEEDS

GUIDED = ("query_parser", "json_stream", "sandbox_export", "request_parser")
"""Where coverage leads further than mutation: of the others most code is C, or one call."""


def main(seconds: int) -> int:
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed (pip install atheris): only Hypothesis was tried")
        return 0
    failed = 0
    for name in GUIDED:
        with tempfile.TemporaryDirectory(prefix="ragd-corpus-") as corpus:
            for number, seed in enumerate(SEEDS[name.replace("_parser", "")]):
                (Path(corpus) / str(number)).write_bytes(seed)
            command = [sys.executable, "-m", "tests.fuzz.guided", name, corpus, f"-max_total_time={seconds}"]
            done = subprocess.run([*command, "-print_final_stats=1"], capture_output=True, text=True, check=False)
        tried = [line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
        print(f"atheris: {name}: {int(tried[0]):,} inputs tried" if tried else done.stderr[-2000:], flush=True)
        failed += done.returncode != 0
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 60))
