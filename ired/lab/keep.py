"""Copies the newest finished model of SETUP-3 into the project, with its provenance beside it.

So that somebody without a GPU studies the published size at once. What is kept enters the key of
SETUP-3: keeping another model makes everything that builds on it stale.
"""

from __future__ import annotations

import json
import shutil
import sys

from ired.lab.command import Parser, add_coordinates, open_tracking, take_coordinates
from ired.lab.errors import Mistake, in_one_line
from ired.lab.keys import Keys
from ired.lab.queue import ROOT
from ired.lab.run import sha256
from ired.lab.store import Store, write_whole


def main(argv: list[str]) -> None:
    parser = Parser(prog="python -m ired.lab.keep", description=__doc__)
    add_coordinates(parser)
    options = vars(parser.parse_args(argv))
    keys, store = Keys(), Store()
    exp = keys.queue["SETUP-3"]
    at = exp.at(take_coordinates(options, keys.queue))
    store.check()
    tracking = open_tracking(store, keys)
    found = tracking.search(
        f"tags.exp_id = '{exp.id}' and tags.profile = '{at.profile}' and tags.seed = '{at.seed}' "
        f"and tags.variant = '{at.variant}' and attributes.status = 'FINISHED'")
    for run in found:
        model = tracking.artifact(run, "model.safetensors")
        record = tracking.artifact(run, "training.json")
        provenance = json.loads(record.read_text()) if model and record else {}
        if "steps" in provenance and "run_id" not in provenance:  # trained by this very run
            break
    else:
        raise Mistake(f"there is no finished training of {exp.name(at)}: "
                      f"`make retrain {at.words()}` makes one")
    target = ROOT / exp.provenance(at)
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(model, target.with_suffix(".safetensors"))
    provenance |= {
        "sha256": sha256(model),
        "run_id": run.info.run_id,
        "git_commit": run.data.tags.get("mlflow.source.git.commit", ""),
        "packages": json.loads(run.data.tags.get("packages", "{}")),
        "headline": run.data.tags.get("headline", ""),
    }
    write_whole(target, json.dumps(provenance, indent=1, sort_keys=True) + "\n")
    print(f"{exp.name(at)} is kept in {target.with_suffix('.safetensors').relative_to(ROOT)}: "
          f"{provenance['headline']}")


if __name__ == "__main__":
    with in_one_line():
        main(sys.argv[1:])
