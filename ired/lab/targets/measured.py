"""Writes into pipeline.json what the finished runs of a profile took.

Use: python -m ired.lab.targets.measured --profile paper

So that `make status` estimates from measurements, and a size that will not fit into memory is refused on
a machine where nothing has been run yet. Runs of the present code on a CPU count; what is there of other
experiments and profiles stays.
"""

from __future__ import annotations

import json
import re
import sys

from ired.lab.arguments import Parser, add_coordinates, take_coordinates
from ired.lab.content_keys import Keys
from ired.lab.errors import UserError, in_one_line
from ired.lab.lines import wrapped
from ired.lab.queue import RunCoordinates
from ired.lab.tracking.opening import open_tracking
from ired.lab.tracking.results import Shelf
from ired.lab.tracking.store import Store, write_whole

_SECTION = re.compile(r',\s*"measured": \{.*\}\s*\}\s*\Z|\s*\}\s*\Z', re.DOTALL)  # it is the last one


def taken(shelf: Shelf, at: RunCoordinates) -> dict[str, dict[str, float]]:
    """Minutes and largest memory, by id, of experiments that vary with the profile.

    By the clock or of the processors, whichever is less: other work stretches the first, threads the second.
    """
    measured = {}
    for exp in shelf.queue.experiments:
        result = shelf.find(exp, at) if exp.at(at).profile == at.profile else None
        if result and result.tags["device"] == "cpu" and "peak_memory_gib" in result.metrics:
            seconds = min(result.metrics["wall_seconds"], result.metrics["cpu_seconds"])
            numbers = {"minutes": seconds / 60, "memory_gib": result.metrics["peak_memory_gib"]}
            measured[exp.id] = {name: float(f"{value:.2g}") for name, value in numbers.items()}
    return measured


def filled(text: str, profile: str, fresh: dict[str, dict[str, float]]) -> str:
    """The text of pipeline.json with what was found under a profile; nothing else of it changes."""
    known = json.loads(text)
    measured = known.get("measured", {})
    measured[profile] = measured.get(profile, {}) | fresh
    ids = [entry["id"] for entry in known["experiments"]]
    sections = []
    for name, those in measured.items():
        rows = [f'   "{exp_id}": {json.dumps(those[exp_id])}' for exp_id in ids if exp_id in those]
        sections.append(f'  "{name}": {{\n' + ",\n".join(rows) + "}")
    return _SECTION.sub(lambda _: ',\n "measured": {\n' + ",\n".join(sections) + "\n }\n}\n", text, count=1)


def main(argv: list[str]) -> None:
    parser = Parser(prog="measured", allow_abbrev=False)
    add_coordinates(parser)
    keys, store = Keys(), Store()
    at = take_coordinates(vars(parser.parse_args(argv)), keys.queue)
    fresh = taken(Shelf(open_tracking(store, keys), keys), at)
    if not fresh:
        raise UserError(f"the store has no finished runs of this code under {at.profile} that say what they took")
    path = keys.root / "pipeline.json"
    write_whole(path, filled(path.read_text(), at.profile, fresh))
    print(wrapped(f"pipeline.json, {at.profile}: {', '.join(fresh)}"))


if __name__ == "__main__":
    with in_one_line():
        main(sys.argv[1:])
