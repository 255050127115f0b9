"""Write requirements.lock: every package that ragd runs on, one version each, with the hashes of all its files.

    make lock               what setup.cfg asks for; versions that are locked stay
    make lock UPGRADE=1     the newest of everything

uv resolves for all interpreters and machines at once: a line whose marker does not hold is passed over by pip. The
extras are in it too, so that an installation from it is the one that was tried.
"""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"

HEAD = """\
# Every package that ragd runs on, with its extras, for Linux and Python 3.11 or newer: made by `make lock` from
# setup.cfg. `pip install --require-hashes -r requirements.lock` takes these files and no others.
"""


def extras() -> list[str]:
    """Those of setup.cfg that are for running ragd."""
    setup = configparser.RawConfigParser()
    setup.read(ROOT / "setup.cfg")
    return [name for name in setup["options.extras_require"] if name != "dev"]


def main(arguments: list[str]) -> int:
    """Returns uv's exit code; the lock is untouched if that is not 0."""
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "pip", "compile", "setup.cfg", "--quiet", "--universal", "--python-version", "3.11"]
    command += ["--generate-hashes", "--no-header", "--no-annotate", "--output-file", LOCK.name]
    command += [option for extra in extras() for option in ("--extra", extra)]
    done = subprocess.run([*command, *arguments], cwd=ROOT)  # noqa: S603 - a developer's own words
    if done.returncode == 0:
        lines = LOCK.read_text(encoding="utf-8").splitlines(keepends=True)
        LOCK.write_text(HEAD + "".join(line for line in lines if not line.startswith("#")), encoding="utf-8")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
