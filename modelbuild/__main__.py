"""`python -m modelbuild [--out DIR]`: builds the model by hand. Exit code 0 when a verified model stands there."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modelbuild import ModelBuildError, artifact


def main() -> int:
    """Reads the command line, builds, says in one line what happened."""
    parser = argparse.ArgumentParser(prog="python -m modelbuild", description=__doc__)
    parser.add_argument("--out", type=Path, default=artifact.BUNDLED, help="folder to build (default: ragd's own)")
    folder = parser.parse_args().out
    try:
        built = artifact.ensure(folder)
    except ModelBuildError as error:
        print(f"modelbuild: {error}", file=sys.stderr)
        return 1
    print(f"modelbuild: {folder} {'built' if built else 'is already verified'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
