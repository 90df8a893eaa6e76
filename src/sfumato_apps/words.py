"""Command lines with commands of two words, and options of several values.

    sfumato discriminator train --data a.jsonl b.jsonl

A command may be the first word of others. The parser of typer wants an option again before each of
its values. Here the words behind it are given to it, once the command's own arguments are there
(or a preset may bring them):

    convert MODEL --data A B --out D     →  convert MODEL --data A --data B --out D
    probe --data A MODEL                 →  as it is: MODEL is still to come
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption


class TwoWords(TyperGroup):
    """Commands of one word or of two: `sfumato align`, `sfumato discriminator train`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """Takes the first two words where they name a command, else the first."""
        two = " ".join(args[:2])
        if two in self.commands:
            return super().resolve_command(ctx, [two, *args[2:]])
        seconds = [name.split()[1] for name in self.commands if name.startswith(f"{args[0]} ")]
        if seconds and args[0] not in self.commands:
            ctx.fail(f"{args[0]} needs a second word: {' or '.join(seconds)}")
        return super().resolve_command(ctx, args)


class SeveralValues(TyperCommand):
    """A command whose list options take several values behind one flag."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Repeats the flag for each value, then parses as usual."""
        flags = {name: o for o in self.params if isinstance(o, TyperOption) for name in o.opts}
        arguments = sum(isinstance(parameter, TyperArgument) for parameter in self.params)
        lists = {name for name, option in flags.items() if option.multiple}
        single = {n for n, option in flags.items() if not option.is_flag and n not in lists}
        return super().parse_args(ctx, list(spread(args, lists, single, arguments)))


def spread(
    words: Sequence[str], lists: set[str], single: set[str], arguments: int
) -> Iterator[str]:
    """Repeats list options before each of their values.

    Args:
        words: the command line.
        lists: options that may be repeated.
        single: options that take one value.
        arguments: how many words the command takes without an option.

    Example:
        >>> list(spread(["m", "--data", "a", "b", "--n", "3"], {"--data"}, {"--n"}, 1))
        ['m', '--data', 'a', '--data', 'b', '--n', '3']
        >>> list(spread(["--data", "a", "m"], {"--data"}, set(), 1))
        ['--data', 'a', 'm']
    """
    open_list, wants_value = "", False
    left = 0 if "--preset" in words else arguments
    for word in words:
        bare = not word.startswith("-") or word == "-"
        if bare and not wants_value and open_list and left <= 0:
            yield open_list
        elif bare and not wants_value:
            left -= 1
            open_list = ""
        elif not bare:
            open_list = word if word in lists else ""
        wants_value = not bare and word in lists | single
        yield word
