"""Writes README.md's tables from the code: settings, the commands of `ragd` and `ragdctl`, exit codes.

    python tools/readme_tables.py           update README.md between its marks
    python tools/readme_tables.py --check   change nothing; exit 1 and name the blocks that are out of date

A block begins with `<!-- NAME -->` and ends with `<!-- /NAME -->`, NAME one of settings, ragd, ragdctl, exit-codes.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import typer

from ragd import errors
from ragd.cli import control, daemon
from ragd.config import Settings, variable
from ragd.errors import ExitCode

README = Path(__file__).resolve().parent.parent / "README.md"


def settings_table() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        default = _shown_default(field.default)
        rows.append((f"`{variable(name)}`", f"`{default}`" if default else "", field.description or ""))
    return _table(("variable", "default", "meaning"), rows)


def _shown_default(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


def commands_table(name: str, app: typer.Typer) -> str:
    """One row for the program itself if it does something alone, one for each command."""
    group: Any = typer.main.get_command(app)
    rows = [(f"`{name}`", _summary(group))] if group.invoke_without_command else []
    rows += _rows_below(name, group)
    rows += [(f"`{name} {_option(option)}`", option.help) for option in _options(group)]
    return _table(("command", "what it does"), rows)


def _rows_below(name: str, group: Any) -> list[tuple[str, str]]:
    """A row a command, and those of a group below its own, which it has if it does something alone."""
    rows = []
    for key, command in group.commands.items():
        below = getattr(command, "commands", None)
        if below is None or command.invoke_without_command:
            rows.append((f"`{_usage(f'{name} {key}', command)}`", _summary(command)))
        rows += _rows_below(f"{name} {key}", command) if below else []
    return rows


def _usage(name: str, command: Any) -> str:
    arguments = [_argument(param) for param in command.params if param.param_type_name == "argument"]
    return " ".join([name, *arguments, *(f"[{_option(option)}]" for option in _options(command))])


def _argument(param: Any) -> str:
    name = str(param.metavar or param.name).upper() + ("..." if param.nargs == -1 else "")
    return name if param.required else f"[{name}]"


def _options(command: Any) -> list[Any]:
    return [param for param in command.params if param.param_type_name == "option" and "--help" not in param.opts]


def _option(param: Any) -> str:
    flag = next(name for name in param.opts if name.startswith("--"))
    return flag if param.is_flag else f"{flag} {str(param.metavar or param.name).upper()}"


def _summary(command: Any) -> str:
    """A command's whole help in one line."""
    return " ".join(inspect.cleandoc(command.help or "").split())


def exit_codes_table() -> str:
    meanings = _member_docs(inspect.getsource(errors), ExitCode.__name__)
    rows = [(str(int(code)), " ".join(meanings.get(code.name, "Success.").split())) for code in ExitCode]
    return _table(("code", "meaning"), rows)


def _member_docs(source: str, class_name: str) -> dict[str, str]:
    """The string under each assignment of a class: not kept at run time, so it is read from the source."""
    tree = ast.parse(source)
    (body,) = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name]
    docs = {}
    for member, text in itertools.pairwise(body):
        if isinstance(member, ast.Assign) and isinstance(member.targets[0], ast.Name) and isinstance(text, ast.Expr):
            docs[member.targets[0].id] = str(ast.literal_eval(text.value))
    return docs


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


BLOCKS: dict[str, Callable[[], str]] = {
    "settings": settings_table,
    "ragd": partial(commands_table, "ragd", daemon.app),
    "ragdctl": partial(commands_table, "ragdctl", control.app),
    "exit-codes": exit_codes_table,
}


def update(text: str) -> tuple[str, list[str]]:
    """The text with every block made anew, and the names of those that changed.

    Raises ValueError naming a block that the text has not, or has twice.
    """
    changed = []
    for name, make in BLOCKS.items():
        block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if len(block.findall(text)) != 1:
            raise ValueError(f"there must be one block <!-- {name} --> ... <!-- /{name} -->")
        # blank lines around: else Markdown would take the table for part of the comment's paragraph
        content = f"\n{make()}\n\n"
        renewed = block.sub(partial(_refill, content), text)
        changed += [name] if renewed != text else []
        text = renewed
    return text, changed


def _refill(content: str, block: re.Match[str]) -> str:
    return f"{block[1]}{content}{block[2]}"


def main() -> int:
    before = README.read_text("utf-8")
    after, changed = update(before)
    if "--check" in sys.argv[1:]:
        for name in changed:
            print(f"{README.name}: block {name} is out of date, run {Path(sys.argv[0]).name}", file=sys.stderr)
        return int(bool(changed))
    README.write_text(after, "utf-8")
    print(f"{README.name}: {', '.join(changed) or 'nothing'} updated")
    return 0


if __name__ == "__main__":
    sys.exit(main())
