"""Command lines: parameters of experiments, and the options that all commands share.

What is wrong with a command line is a UserError, told in one line.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from ired.lab.errors import UserError
from ired.lab.profiles import PROFILES
from ired.lab.queue import COORDINATES, Queue, RunCoordinates

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Param:
    """A parameter of a script: its default, what it shrinks or grows to, what it means.

    `paper` is what two cores can do at the published size; `gpu`, where more is worth while, what a GPU can.
    """

    default: Any
    tiny: Any = None
    paper: Any = None
    gpu: Any = None
    help: str = ""
    choices: Sequence[Any] | None = None
    file: bool = False  # the name of one, whose content decides and not its name

    def at(self, profile: str) -> Any:
        """The default under a profile."""
        on_gpu = self.paper if self.gpu is None else self.gpu
        special = {"tiny": self.tiny, "paper": self.paper, "gpu": on_gpu}.get(PROFILES[profile].sizes)
        return self.default if special is None else special


class Parser(argparse.ArgumentParser):
    """Mistakes in a command line are ours to print, in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(re.sub(r"^argument (--\S+): ", r"\1: ", message))


def add_coordinates(parser: argparse.ArgumentParser) -> None:
    default = RunCoordinates()
    parser.add_argument(
        "--profile",
        type=one_of("profile", tuple(PROFILES)),
        default=default.profile,
        help=f"{', '.join(PROFILES)} (default: {default.profile})",
    )
    parser.add_argument("--seed", type=_seed, default=default.seed, help=f"default: {default.seed}")
    parser.add_argument(
        "--variant", default=default.variant, help=f"which negatives were mined (default: {default.variant})"
    )


def take_coordinates(options: dict[str, Any], queue: Queue) -> RunCoordinates:
    """The coordinates among parsed options, which are taken out."""
    at = RunCoordinates(**{name: options.pop(name) for name in COORDINATES})
    if at.variant not in queue.variants:
        raise UserError(f"--variant: unknown variant '{at.variant}': choose one of " + ", ".join(queue.variants))
    return at


def add_params(parser: argparse.ArgumentParser, params: Mapping[str, Param]) -> None:
    """An option for each parameter of an experiment; those that are not given come back as None."""
    group = parser.add_argument_group("parameters of this experiment")
    for name, param in params.items():
        sizes = [f"default: {_shown(param.default)}"]
        sizes += [
            f"{label}: {_shown(value)}"
            for label, value in (("tiny", param.tiny), ("paper", param.paper), ("paper on a GPU", param.gpu))
            if value is not None
        ]
        text = f"{param.help} ({'; '.join(sizes)})".strip().replace("%", "%%")
        flag = "--" + name.replace("_", "-")
        if isinstance(param.default, bool):
            group.add_argument(flag, action=argparse.BooleanOptionalAction, dest=name, help=text)
        else:
            group.add_argument(
                flag, type=_reader(name, param), dest=name, help=text, metavar=name.rpartition("_")[2].upper()
            )


def _seed(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"seed '{text}' is not a whole number from 0 to 999999999")
    return int(text)


def seeds_of(text: str) -> tuple[int, ...]:
    """Several seeds, separated by spaces, each once."""
    return tuple(dict.fromkeys(map(_seed, text.split())))


def one_of(what: str, choices: Sequence[Any], convert: type = str) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        with suppress(ValueError):
            if convert(text) in choices:
                return convert(text)
        names = ", ".join(map(str, choices))
        raise argparse.ArgumentTypeError(f"unknown {what} '{text}': choose one of {names}")

    return read


def _reader(name: str, param: Param) -> Callable[[str], Any]:
    """What turns the text of an option into a value of its default's type."""
    if param.choices:
        return one_of(name, param.choices, type(param.default))
    if isinstance(param.default, (tuple, list)):
        read_number = _number(name, type(param.default[0]), min(param.default))
        return lambda text: type(param.default)(read_number(part) for part in text.split(","))
    return _number(name, type(param.default), param.default)


def _number(name: str, kind: type, default: Any) -> Callable[[str], Any]:
    """A number may be negative, or 0, where its default is."""

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if kind is str:
            return value
        least = 1 if kind is int and default > 0 else min(default, 0)
        low = value < 0 <= default or (kind is int and value < least)
        if low or not math.isfinite(value):
            wanted = f"a whole number of {least} or more" if kind is int else "a finite number"
            wanted += " of 0 or more" if kind is float and default >= 0 else ""
            raise argparse.ArgumentTypeError(f"{name} '{text}' is not {wanted}")
        return value

    return read


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
