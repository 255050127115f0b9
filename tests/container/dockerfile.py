"""A Dockerfile as its instructions, stage by stage; what a builder would make of ours, no more."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    name: str
    """In capitals."""
    value: str
    """The rest, its lines joined."""

    def words(self) -> list[str]:
        """Without flags: of an exec form its arguments, else the words."""
        if self.value.startswith("["):
            return [str(word) for word in json.loads(self.value)]
        return [word for word in shlex.split(self.value) if not word.startswith("--")]

    def flags(self) -> dict[str, str]:
        return dict(re.findall(r"--([a-z-]+)=(\S+)", self.value))

    def pairs(self) -> dict[str, str]:
        """Of ENV, ARG and LABEL."""
        return {name: value for name, _, value in (word.partition("=") for word in shlex.split(self.value))}


@dataclass
class Stage:
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, name: str) -> list[Instruction]:
        return [instruction for instruction in self.instructions if instruction.name == name]

    def one(self, name: str) -> Instruction:
        [instruction] = self.all(name)
        return instruction

    def environment(self) -> dict[str, str]:
        return {name: value for env in self.all("ENV") for name, value in env.pairs().items()}


def parse(path: Path) -> list[Stage]:
    """The stages; what stands before the first FROM is left out."""
    stages: list[Stage] = []
    text = "".join(line for line in path.read_text().splitlines(keepends=True) if not line.lstrip().startswith("#"))
    for line in text.replace("\\\n", "").splitlines():
        name, _, value = line.strip().partition(" ")
        if name == "FROM":
            stages.append(Stage(value.partition(" AS ")[2]))
        elif name and stages:
            stages[-1].instructions.append(Instruction(name, value.strip()))
    return stages
