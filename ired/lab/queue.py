"""The experiment queue: reads and checks pipeline.json, the one graph of the project."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from ired.lab.errors import UserError
from ired.lab.profiles import PROFILES

ROOT = Path(__file__).resolve().parents[2]
COORDINATES = ("profile", "seed", "variant")


@dataclass(frozen=True)
class RunCoordinates:
    """Where an experiment is run: its profile, its seed and its variant (kind of negatives)."""

    profile: str = "small"
    seed: int = 0
    variant: str = "none"

    def words(self) -> str:
        """The coordinates as somebody would type them after `make ID`, defaults left out."""
        default = RunCoordinates()
        named = [f"{c.upper()}={getattr(self, c)}" for c in COORDINATES if getattr(self, c) != getattr(default, c)]
        return " ".join(named)


@dataclass(frozen=True)
class Need:
    """One needed experiment. `seeds` and `variants` default to those of whoever needs it, and may
    depend on a profile's sizes: {"tiny": [0, 1, 2], "default": [0, 1, 2, 3, 4]}.

    A gate must be finished first, but its content does not decide the needer's numbers: a
    calibration that is extended for a later phase must not make an earlier phase run again.
    """

    id: str
    seeds: tuple[tuple[str, tuple[int, ...]], ...] | None = None  # by sizes, as are variants
    variants: tuple[tuple[str, tuple[str, ...]], ...] | None = None
    gate: bool = False

    def places(self, at: RunCoordinates) -> list[RunCoordinates]:
        """Where it is needed by what is at `at`."""
        sizes = PROFILES[at.profile].sizes

        def chosen(values: tuple[tuple[str, tuple], ...] | None, at_hand: int | str) -> tuple:
            by_sizes: dict[str, tuple] = {"default": (at_hand,)} | dict(values or ())
            return by_sizes.get(sizes, by_sizes["default"])

        return [
            replace(at, seed=seed, variant=variant)
            for variant in chosen(self.variants, at.variant)
            for seed in chosen(self.seeds, at.seed)
        ]


@dataclass(frozen=True)
class Experiment:
    id: str
    phase: int
    title: str
    script: str
    hours: float
    gpu: bool
    memory_gb: int
    varies: tuple[str, ...]
    needs: tuple[Need, ...]
    layers: bool = False  # whether it looks into the layers of the published network
    kept: str = ""  # where the project may keep a result of it, {profile}, {seed}, {variant} filled in

    @property
    def number(self) -> int:
        return int(Path(self.script).name[:2])

    @property
    def partition(self) -> str:
        """The user's rule: no GPU is cpu, a GPU for under 4 h is gpu_test, for longer gpu."""
        return "cpu" if not self.gpu else "gpu_test" if self.hours < 4 else "gpu"

    def at(self, at: RunCoordinates) -> RunCoordinates:
        """`at` with the default in every coordinate that this experiment does not vary with."""
        return replace(RunCoordinates(), **{c: getattr(at, c) for c in self.varies})

    def provenance(self, at: RunCoordinates) -> str | None:
        """The file, relative to the project, that says where a kept result comes from."""
        return self.kept.format(**asdict(self.at(at))) + ".json" if self.kept else None

    def name(self, at: RunCoordinates) -> str:
        """What a person calls a run of it: 'P1-03 small seed 0', 'SETUP-2 small'."""
        parts = [self.id]
        parts += [at.profile] if "profile" in self.varies else []
        parts += [f"seed {at.seed}"] if "seed" in self.varies else []
        parts += [at.variant] if "variant" in self.varies and at.variant != "none" else []
        return " ".join(parts)

    def target(self, at: RunCoordinates) -> str:
        """The make command that produces it: 'make SETUP-3 PROFILE=tiny'."""
        return f"make {self.id} {self.at(at).words()}".rstrip()


@dataclass(frozen=True)
class Measured:
    """What a run took on two cores of a laptop."""

    minutes: float
    memory_gib: float


@dataclass(frozen=True)
class Queue:
    experiments: tuple[Experiment, ...]
    phases: tuple[str, ...]
    variants: tuple[str, ...]
    layerless: frozenset[str]  # variants without the published network's layers
    milestones: tuple[tuple[tuple[int, ...], str], ...]
    measured: dict[str, dict[str, Measured]]  # by profile and id, as far as known

    @cached_property
    def _by_id(self) -> dict[str, Experiment]:
        return {e.id: e for e in self.experiments}

    def __getitem__(self, exp_id: str) -> Experiment:
        if exp_id not in self._by_id:
            raise UserError(f"unknown experiment '{exp_id}': `make status` lists all of them")
        return self._by_id[exp_id]

    def phase(self, number: int) -> list[Experiment]:
        return [e for e in self.experiments if e.phase == number]

    def hours(self, exp: Experiment, at: RunCoordinates) -> float:
        """How long it will take: as measured under this profile, or else as planned."""
        measured = self.measured.get(exp.at(at).profile, {}).get(exp.id)
        return measured.minutes / 60 if measured else exp.hours

    def needed(
        self, exp: Experiment, at: RunCoordinates, gates: bool = True
    ) -> list[tuple[Experiment, RunCoordinates]]:
        """What `exp` at `at` needs directly, each with its own coordinates."""
        places = []
        for need in exp.needs:
            if need.gate and not gates:
                continue
            other = self[need.id]
            places += [(other, other.at(place)) for place in need.places(at)]
        return list(dict.fromkeys(places))

    def refusal(self, exp: Experiment, at: RunCoordinates) -> str:
        """Why an experiment cannot be run at these coordinates, or ''."""
        at = exp.at(at)
        if not (exp.layers and at.variant in self.layerless):
            return ""
        others = ", ".join(v for v in self.variants if v not in self.layerless)
        return (
            f"{exp.id} looks into the layers fc1 to fc4 of the published network, and the energy of "
            f"'{at.variant}' has none: choose one of {others}"
        )

    def upstream(self, exp: Experiment, at: RunCoordinates) -> list[tuple[Experiment, RunCoordinates]]:
        """Everything needed directly or indirectly, and `exp` itself last, in running order."""
        order: dict[tuple[Experiment, RunCoordinates], None] = {}

        def visit(node: tuple[Experiment, RunCoordinates]) -> None:
            if node not in order:
                for other in self.needed(*node):
                    visit(other)
                order[node] = None

        visit((exp, exp.at(at)))
        return list(order)


def load(root: Path = ROOT) -> Queue:
    """Read and check `root`/pipeline.json. Anything wrong in it is one line that names it."""
    path = root / "pipeline.json"
    try:
        data = json.loads(path.read_text())
        experiments = tuple(_experiment(entry) for entry in data["experiments"])
        milestones = tuple((tuple(m["phases"]), m["meaning"]) for m in data["milestones"])
        mining = tuple(data["variants"])
        others, networks = (
            tuple(f"{energy}-{how}".removesuffix("-none") for energy in data.get(kind, ()) for how in mining)
            for kind in ("energies", "networks")
        )
        measured = {
            profile: {
                exp_id: Measured(float(entry["minutes"]), float(entry["memory_gib"])) for exp_id, entry in those.items()
            }
            for profile, those in data.get("measured", {}).items()
        }
        queue = Queue(
            experiments=experiments,
            phases=tuple(data["phases"]),
            variants=mining + networks + others,
            layerless=frozenset(others),
            milestones=milestones,
            measured=measured,
        )
    except FileNotFoundError:
        raise UserError(f"there is no pipeline.json in {root}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"pipeline.json: {type(error).__name__}: {error}") from None
    problem = _first_problem(queue)
    if problem:
        raise UserError(f"pipeline.json: {problem}")
    return queue


def _experiment(entry: dict) -> Experiment:
    needs = []
    for need in entry["needs"]:
        need = {"id": need} if isinstance(need, str) else dict(need)
        for name in ("seeds", "variants"):
            if name in need:
                of = need[name] if isinstance(need[name], dict) else {"default": need[name]}
                need[name] = tuple((sizes, tuple(values)) for sizes, values in of.items())
        needs.append(Need(**need))
    resources = entry["resources"]
    return Experiment(
        id=entry["id"],
        phase=entry["phase"],
        title=entry["title"],
        script=entry["script"],
        hours=entry["hours"],
        gpu=resources["gpu"],
        memory_gb=resources["memory_gb"],
        varies=tuple(entry["varies"]),
        needs=tuple(needs),
        layers=entry.get("layers", False),
        kept=entry.get("kept", ""),
    )


def _first_problem(queue: Queue) -> str | None:
    """What is inconsistent, or None. Needs that point to smaller numbers cannot form a cycle."""
    numbers: dict[str, int] = {}
    last = -1
    for exp in queue.experiments:
        name = Path(exp.script).name
        if exp.id in numbers:
            return f"{exp.id} is there twice"
        if Path(exp.script).parent != Path("scripts") or not name[:2].isdigit():
            return f"{exp.id}: the script '{exp.script}' is not scripts/NN_name.py"
        if exp.number <= last:
            return f"{exp.id}: script number {exp.number} does not come after {last}"
        prefix = "SETUP" if exp.phase == 0 else f"P{exp.phase}"
        if exp.id.rpartition("-")[0] != prefix or exp.number // 10 != exp.phase:
            return f"{exp.id}: id, phase {exp.phase} and {exp.script} disagree"
        if not 0 <= exp.phase < len(queue.phases):
            return f"{exp.id}: phase {exp.phase} has no name in 'phases'"
        if exp.hours <= 0 or exp.memory_gb <= 0:
            return f"{exp.id}: hours and memory_gb must be above zero"
        if unknown := set(exp.varies) - set(COORDINATES):
            return f"{exp.id}: varies with {sorted(unknown)}, which is none of {COORDINATES}"
        for need in exp.needs:
            if need.id not in numbers:
                return f"{exp.id} needs {need.id}, which is not an experiment before it"
            for name, values in (("seeds", need.seeds), ("variants", need.variants)):
                if values is not None and "default" not in dict(values):
                    return f"{exp.id} needs {need.id} at {name} that have no default"
            every = {variant for _, variants in need.variants or () for variant in variants}
            if unknown := every - set(queue.variants):
                return f"{exp.id} needs {need.id} at unknown variants {sorted(unknown)}"
            numbered = [seed for _, seeds in need.seeds or () for seed in seeds]
            if not all(isinstance(seed, int) and seed >= 0 for seed in numbered):
                return f"{exp.id} needs {need.id} at seeds that are not whole numbers"
        numbers[exp.id] = last = exp.number
    for profile, those in queue.measured.items():
        if unknown := set(those) - set(numbers):
            return f"what was measured under {profile} names {sorted(unknown)}, which are no experiments"
        if not all(numbers.minutes >= 0 and numbers.memory_gib > 0 for numbers in those.values()):
            return f"what was measured under {profile} must have minutes of 0 or more and memory_gib above 0"
    for phases, meaning in queue.milestones:
        if not all(1 <= p < len(queue.phases) for p in phases):
            return f"milestone '{meaning}' names a phase that does not exist"
    return None
