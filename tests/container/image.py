"""The image without an engine: every instruction of the Dockerfile carried out on a throw-away overlay of this machine.

Differs from `docker build` in this alone: the base is this machine instead of Debian's image, so `apt-get` does nothing
and the final stage has its compilers taken away; pip keeps this machine's settings and takes from its
cache, where hnswlib may be one compiled for this processor.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.container.dockerfile import Instruction, Stage
from tests.toytree import ROOT

SYSTEM_PYTHON = "/usr/bin/python3"

START_SECONDS, STEP_SECONDS = 20.0, 300.0

COMPILERS = r"^(cc|c\+\+|cpp|ld|as|clang.*|.*gcc.*|.*g\+\+.*)$"

_LAYER = """
mkdir -p {tmp}/{name}/up {tmp}/{name}/work {tmp}/{name}/root
mount -t overlay -o lowerdir=/,upperdir={tmp}/{name}/up,workdir={tmp}/{name}/work overlay {tmp}/{name}/root
mount -t tmpfs -o mode=0755 tmpfs {tmp}/{name}/root/run
mount -t tmpfs -o mode=1777 tmpfs {tmp}/{name}/root/tmp
mount --rbind /dev {tmp}/{name}/root/dev
mount -t proc proc {tmp}/{name}/root/proc
"""

_NO_APT = "#!/bin/sh\n# this machine has what it has\n"


def why_not() -> str:
    """Why this cannot be done here; empty if it can."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [tool for tool in ("unshare", "nsenter", "setpriv", "chroot", "g++", "useradd") if not shutil.which(tool)]
    if missing:
        return f"no {', '.join(missing)}"
    has = [SYSTEM_PYTHON, "-c", "import venv, ensurepip, sys; sys.exit(sys.version_info < (3, 11))"]
    if subprocess.run(has, capture_output=True).returncode:
        return f"{SYSTEM_PYTHON} is too old or has no venv module"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "kernel without overlayfs"
    probe = _layer("probe", "/mnt") + "test -x /mnt/probe/root/bin/sh"
    done = subprocess.run(
        ["unshare", "--mount", "--propagation=private", "sh", "-euc", "mount -t tmpfs tmpfs /mnt\n" + probe],
        capture_output=True,
        text=True,
    )
    return f"may not mount an overlay: {done.stderr.strip()}" if done.returncode else ""


def _layer(name: str, tmp: str) -> str:
    return _LAYER.format(name=name, tmp=tmp)


class Image:
    """A mount namespace with one root a stage in it. Use as a context manager: with it everything goes away."""

    def __init__(self, stages: list[Stage], home: Path) -> None:
        self._stages = {stage.name: stage for stage in stages}
        self.home = home
        self._tmp = home / "image"
        self._keeper: subprocess.Popen[str] | None = None
        self._cwd = "/"

    def __enter__(self) -> Self:
        self._tmp.mkdir()
        cache = self._pip_cache()
        cache.mkdir(parents=True, exist_ok=True)
        script = f"mount -t tmpfs -o mode=0755 tmpfs {self._tmp}\n"
        script += "".join(_layer(name or "final", str(self._tmp)) for name in self._stages)
        # pip's cache is read and not written: a wheel in it does not say that it was built with HNSWLIB_NO_NATIVE
        layers = f"lowerdir={cache},upperdir={self._tmp}/cache/up,workdir={self._tmp}/cache/work"
        script += f"mkdir -p {self._tmp}/cache/up {self._tmp}/cache/work {self.root('builder')}/pip-cache\n"
        script += f"mount -t overlay -o {layers} overlay {self.root('builder')}/pip-cache\n"
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", "--propagation=private", "sh", "-euc", f"{script}echo ready\nexec sleep 3600"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._keeper.stdout is not None
        assert self._keeper.stdout.readline() == "ready\n", "the stages' roots could not be mounted"
        return self

    def __exit__(self, *_: object) -> None:
        if self._keeper is not None:
            self._keeper.kill()
            self._keeper.communicate()

    @staticmethod
    def _pip_cache() -> Path:
        done = subprocess.run([SYSTEM_PYTHON, "-m", "pip", "cache", "dir"], capture_output=True, text=True)
        return Path(done.stdout.strip() or "/root/.cache/pip")

    def root(self, stage: str) -> Path:
        """Of that stage, as it is called inside the namespace."""
        return self._tmp / (stage or "final") / "root"

    def inside(self, *command: str) -> list[str]:
        """A command line that runs there."""
        assert self._keeper is not None
        return ["nsenter", f"--mount=/proc/{self._keeper.pid}/ns/mnt", *command]

    def sh(self, script: str) -> str:
        done = subprocess.run(self.inside("sh", "-euc", script), capture_output=True, text=True, timeout=STEP_SECONDS)
        assert done.returncode == 0, f"{script}: {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    # Building

    def build(self) -> None:
        for stage in self._stages.values():
            self._cwd, environment = "/", dict[str, str]()
            self._forget_apt(stage)
            for instruction in stage.instructions:
                match instruction.name:
                    case "RUN":
                        self._run(stage, instruction, environment)
                    case "COPY":
                        self._copy(stage, instruction)
                    case "ENV":
                        environment |= instruction.pairs()
                    case "WORKDIR":
                        self._cwd = instruction.value
                        self.sh(f"mkdir -p {self.root(stage.name)}{self._cwd}")
        self._take_away()

    def _forget_apt(self, stage: Stage) -> None:
        """An apt-get that does nothing, and a place for the lists that nobody misses."""
        path = self.root(stage.name) / "usr/local/sbin/apt-get"
        self.sh(f"printf %s {shlex.quote(_NO_APT)} >{path}; chmod 0755 {path}")

    def _run(self, stage: Stage, instruction: Instruction, environment: Mapping[str, str]) -> None:
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "RAGD_MODEL_"))}
        variables = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            **kept,
            "PIP_CACHE_DIR": "/pip-cache",
            **environment,
        }
        assignments = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
        script = f"cd {self._cwd}; {instruction.value}"
        self.sh(f"env -i {assignments} chroot {self.root(stage.name)} /bin/sh -euc {shlex.quote(script)}")

    def _copy(self, stage: Stage, instruction: Instruction) -> None:
        *sources, target = instruction.words()
        where = self.root(stage.name) / (target if target.startswith("/") else f"{self._cwd}/{target}").lstrip("/")
        self.sh(f"mkdir -p {where}")
        if origin := instruction.flags().get("from"):
            self.sh(f"cp -a {self.root(origin)}{sources[0]}/. {where}/")
            return
        for path in (ROOT / source for source in sources):
            # of a folder its content, without what .dockerignore keeps back
            left_out = "--exclude=__pycache__ --exclude='./model/.*'"
            self.sh(
                f"tar -C {path} {left_out} -cf - . | tar -C {where} -xf -" if path.is_dir() else f"cp {path} {where}/"
            )

    def _take_away(self) -> None:
        """From the final stage: the compilers, this checkout, and what root alone has."""
        final = self.root("")
        self.sh(
            f"ls {final}/usr/bin {final}/usr/local/bin | grep -E '{COMPILERS}' | sort -u | while read -r name; do"
            f" rm -f {final}/usr/bin/$name {final}/usr/local/bin/$name; done"
        )
        # a checkout under /tmp is hidden already, by the image's own empty one
        self.sh(f"mkdir -p {final}{ROOT}; mount -t tmpfs tmpfs {final}{ROOT}; chmod 0700 {final}/root")

    # Running

    def lock_up(self, mounts: Mapping[Path, str]) -> None:
        """Read-only but for these mounts of the machine's, and for what docker-compose.yml makes a tmpfs."""
        final = self.root("")
        for source, target in mounts.items():
            self.sh(f"[ -e {final}{target} ] || touch {final}{target}; mount --bind {source} {final}{target}")
        self.sh(f"install -d -o 10001 -g 10001 -m 0700 {final}/run/ragd; mount -o remount,ro {final}")


class Container:
    """CMD of the image, with a PID namespace of its own. Use as a context manager: at its end nothing of it lives."""

    def __init__(self, image: Image, stage: Stage, variables: Mapping[str, str]) -> None:
        self._image, self._stage = image, stage
        self._variables = {**stage.environment(), **variables}
        self._log = image.home / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = 0
        """Of what is PID 1 inside, as this machine counts."""

    def __enter__(self) -> Self:
        mount = f'mount -t proc proc {self._image.root("")}/proc; exec "$@"'
        new_pids = ("unshare", "--pid", "--fork", "--kill-child=SIGKILL", "sh", "-euc", mount, "sh")
        command = self._image.inside(*new_pids, *self._as_user(*self._stage.one("CMD").words()))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self.pid = self._wait_for_child(self._process.pid)
        return self

    def _as_user(self, *command: str) -> list[str]:
        uid, gid = self._stage.one("USER").value.split(":")
        no_rights = ("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--clear-groups")
        # setpriv and env are the image's own by now
        return [
            *("chroot", str(self._image.root("")), "setpriv", f"--reuid={uid}", f"--regid={gid}", *no_rights),
            *("env", "-i", *(f"{name}={value}" for name, value in self._variables.items())),
            *("sh", "-euc", f'cd {self._stage.one("WORKDIR").value}; exec "$@"', "sh", *command),
        ]

    @staticmethod
    def _wait_for_child(pid: int) -> int:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                return int(children[0])
            time.sleep(0.01)  # between two looks
        raise AssertionError("nothing was started")

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            # The first of the namespace, and with it the kernel ends all others. unshare's --kill-child does not reach
            # it: a change of user takes a process's parent-death signal away (prctl(2)).
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()

    def log_text(self) -> str:
        """As `docker logs`."""
        return self._log.read_text()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def exec(self, *command: str, seconds: float = 30.0) -> subprocess.CompletedProcess[str]:
        """As `docker exec`."""
        return subprocess.run(
            self._image.inside("nsenter", f"--pid=/proc/{self.pid}/ns/pid", *self._as_user(*command)),
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def stop(self, seconds: float) -> int:
        """As `docker stop --time`; returns the exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.process.wait(seconds)
