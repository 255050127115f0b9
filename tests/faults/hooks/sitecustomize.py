"""What makes ragd's processes sick on order, without a line for it in ragd: Python imports this at its start.

Orders are files in $FAULT_ORDERS, called `<process>.<order>`:

- `exit`: each process of that name ends with 1 before it has imported anything; a line a start goes to
  `<process>.starts`, whether or not there is such an order.
- `deadlock`: the working loop waits for a lock that it holds, where it should beat. Once: the order is taken.
- `leak`: the working loop keeps 48 MiB more with each beat, in the process that finds the order first.

$FAULT_RESTARTS ("burst first_gap slow_gap quiet") shortens the rules of restarts, which have no settings;
$FAULT_IN_MEMORY lowers the number of events after which capture's journal writes to disk. With $FAULT_CLOCK, a file,
the wall clock of every process is off by the seconds in it; supervisord's too. (Not libfaketime: 0.9.10 takes the
monotonic deadlines of Python's sleeps for times of day, so that they fail or last for hours.)
"""

import os
import sys
import threading
import time
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from pathlib import Path

LEAK_BYTES = 48 * 2**20


class Orders:
    """Of one process."""

    def __init__(self, directory, process):
        self.directory = Path(directory)
        self.process = process
        self.leaking = False
        self.ballast = []

    def path(self, order):
        return self.directory / f"{self.process}.{order}"

    def take(self, order):
        """Whether there is such an order; nobody finds it again."""
        try:
            self.path(order).rename(self.path(f"{order}.taken"))
        except OSError:
            return False
        return True

    def begin(self):
        with self.path("starts").open("a") as starts:
            starts.write(f"{os.getpid()}\n")
        if self.path("exit").exists():
            os._exit(1)

    def hurt(self):
        """Called by the working loop before each beat."""
        if self.take("deadlock"):
            wait_for_a_lock_that_we_hold()
        self.leaking = self.leaking or self.take("leak")
        if self.leaking:
            self.ballast.append(b"x" * LEAK_BYTES)


def wait_for_a_lock_that_we_hold():
    lock = threading.Lock()
    with lock:
        lock.acquire()


class Patcher(MetaPathFinder):
    """Changes modules of ragd right after they are imported."""

    def __init__(self, patches):
        self.patches = patches

    def find_spec(self, name, path, target=None):
        patch = self.patches.get(name)
        spec = PathFinder.find_spec(name, path, target) if patch else None
        if spec is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_patch(module):
            execute(module)
            patch(module)

        spec.loader.exec_module = execute_and_patch
        return spec


def patch_worker(module):
    beat = module.Pulse.beat

    def hurt_and_beat(self, *, force=False):
        if force or module.time.monotonic() >= self._due:
            orders.hurt()
        beat(self, force=force)

    module.Pulse.beat = hurt_and_beat


def patch_restarts(module):
    if wanted := os.environ.get("FAULT_RESTARTS"):
        burst, *gaps = wanted.split()
        rule = module.RestartRule(int(burst), *map(float, gaps))
        module.DEFAULT_RULE = module.CAPTURE_RULE = rule
        module.RULES = dict.fromkeys(module.RULES, rule)


def patch_journal(module):
    if wanted := os.environ.get("FAULT_IN_MEMORY"):
        module.MAX_IN_MEMORY = int(wanted)


def bend_clock(path):
    real = time.time

    def bent():
        try:
            return real() + float(path.read_text())
        except (OSError, ValueError):
            return real()

    time.time = bent


if "FAULT_CLOCK" in os.environ:
    bend_clock(Path(os.environ["FAULT_CLOCK"]))

# `python -P -m ragd NAME`: a process of the tree, and nothing else that runs in its environment
if len(sys.orig_argv) == 5 and sys.orig_argv[1:4] == ["-P", "-m", "ragd"] and "FAULT_ORDERS" in os.environ:
    orders = Orders(os.environ["FAULT_ORDERS"], sys.orig_argv[4])
    orders.begin()
    patches = {"ragd.worker": patch_worker, "ragd.restarts": patch_restarts, "ragd.bot.journal": patch_journal}
    sys.meta_path.insert(0, Patcher(patches))
