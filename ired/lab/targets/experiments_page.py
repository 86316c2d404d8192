"""docs/experiments.md, a table for each phase, made from pipeline.json and the scripts' first lines."""

from __future__ import annotations

import ast
from pathlib import Path

from ired.lab.errors import in_one_line
from ired.lab.queue import ROOT, Experiment, load
from ired.lab.tracking.store import write_whole

PAGE = Path("docs") / "experiments.md"


def question(exp: Experiment, root: Path = ROOT) -> str:
    """What the script asks, from the first line of its docstring; its title where not built."""
    path = root / exp.script
    if not path.exists():
        return f"{exp.title} (not built yet)"
    first = (ast.get_docstring(ast.parse(path.read_text())) or exp.title).splitlines()[0]
    return first.removeprefix(f"{exp.id}: ").rstrip(".")


def method(exp: Experiment, root: Path = ROOT) -> str:
    """How the script goes about it, from what follows the first line of its docstring."""
    path = root / exp.script
    text = ast.get_docstring(ast.parse(path.read_text())) if path.exists() else None
    return " ".join((text or "").partition("\n")[2].split())


def markdown(root: Path = ROOT) -> str:
    """The text of the page."""
    queue = load(root)
    lines = [
        "# Experiments",
        "",
        "Made by `make docs` from pipeline.json and the scripts; [methods](methods.md) has what each one measures.",
        "",
    ]
    for number, name in enumerate(queue.phases):
        title = f"`make phase{number}` · {name}" if number else "Set-up (every phase runs it first)"
        lines += [f"## {title}", "", "| id | question | script | runs on | estimate |", "|---|---|---|---|---|"]
        for exp in queue.phase(number):
            where = {"cpu": "CPU", "gpu_test": "GPU, short", "gpu": "GPU, long"}[exp.partition]
            lines.append(f"| {exp.id} | {question(exp, root)} | `{exp.script}` | {where} | {exp.hours:g} h |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    with in_one_line():
        (ROOT / PAGE).parent.mkdir(exist_ok=True)
        write_whole(ROOT / PAGE, markdown())
