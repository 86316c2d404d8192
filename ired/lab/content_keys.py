"""Content keys: the same key means the same result, so that a finished run need not run again.

The key of an experiment is a hash of its id, profile (name and values), seed and variant (each
only if it varies with it), the parameters that differ from the script's own, the text of its
script and of every `ired` module which that imports, directly or not, the keys of what it needs, and
the provenance of a result that is kept in the project, if one is. Defaults of parameters stand in the
script, so they are covered by its text. `ired.lab` and `ired.cluster` are left out: they are the notebook
and not the science. Only contents count, never dates.
"""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from hashlib import blake2b
from pathlib import Path

from ired.lab.errors import UserError
from ired.lab.profiles import PROFILES
from ired.lab.queue import ROOT, Experiment, Queue, RunCoordinates, load

# One import statement, wherever it stands. The pieces are then read with ast: parsing whole files
# takes twenty times as long, and the graph is read on every call of make.
_IMPORT = re.compile(
    r"^[ \t]*((?:from[ \t]+(?:\.|ired\b)[\w.]*[ \t]+import[ \t]*(?:\([^)]*\)|(?:[^\\\n]|\\\n)*))"
    r"|(?:import[ \t]+[^\n]*\bired\b[^\n]*))",
    re.MULTILINE,
)

_NOTEBOOK = (["ired", "lab"], ["ired", "cluster"])
_BESIDE = (".html", ".css", ".js", ".md")


class NotBuilt(UserError):
    """The script of an experiment is not on disk."""


def digest(*parts: object) -> str:
    """Sixteen hexadecimal digits over the JSON text of `parts`."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return blake2b(text.encode(), digest_size=8).hexdigest()


class Keys:
    """Keys of one checkout. Every file is read once in the life of this object."""

    def __init__(self, root: Path = ROOT, queue: Queue | None = None) -> None:
        self.root = root
        self.queue = queue or load(root)
        self._texts: dict[Path, str | None] = {}
        self._digests: dict[Path, tuple[str, str]] = {}
        self._modules: dict[str, Path | None] = {}
        self._imports: dict[Path, list[Path]] = {}
        self._folders: dict[Path, list[Path]] = {}
        self._keys: dict[tuple[Experiment, RunCoordinates], str] = {}

    def built(self, exp: Experiment) -> bool:
        return self._text(self.root / exp.script) is not None

    def key(self, exp: Experiment, at: RunCoordinates, changed: dict | None = None) -> str:
        """The key of `exp`; `changed` holds the parameters that are not at their default."""
        at = exp.at(at)
        if not changed and (exp, at) in self._keys:
            return self._keys[exp, at]
        if not self.built(exp):
            raise NotBuilt(f"{exp.id} is not built yet: {exp.script} is missing")
        needs = [self.key(*need) for need in self.queue.needed(exp, at, gates=False)]
        profile = PROFILES[at.profile].sections() if "profile" in exp.varies else None
        provenance = exp.provenance(at)
        kept = self._text(self.root / provenance) if provenance else None
        key = digest(
            exp.id,
            [at.profile, at.seed, at.variant],
            profile,
            changed or {},
            self.sources(self.root / exp.script),
            needs,
            *([kept] if kept else []),
        )
        if not changed:
            self._keys[exp, at] = key
        return key

    def missing(self, exp: Experiment, at: RunCoordinates) -> Experiment | None:
        """The first experiment among `exp` and all it needs whose script is not on disk."""
        return next((e for e, _ in self.queue.upstream(exp, at) if not self.built(e)), None)

    def sources(self, *starts: Path) -> dict[str, str]:
        """Digest of the text of every file of ours that `starts` reach by importing, and of what lies
        beside a module under its name, such as a page's template."""
        reached: dict[Path, None] = {}
        waiting = list(starts)
        while waiting:
            path = waiting.pop()
            if path not in reached:
                reached[path] = None
                waiting += self._imported(path)
                reached |= dict.fromkeys(self._beside(path))
        return dict(sorted(map(self._digest, reached)))

    def module(self, name: str) -> Path | None:
        """The file of module `name`, or None if it is not a module of ours on disk."""
        if name not in self._modules:
            base = self.root.joinpath(*name.split("."))
            files = (base.with_suffix(".py"), base / "__init__.py")
            self._modules[name] = next((path for path in files if self._text(path) is not None), None)
        return self._modules[name]

    def _beside(self, path: Path) -> list[Path]:
        """Templates of a module: files of its name in its folder."""
        if path.parent not in self._folders:
            self._folders[path.parent] = [file for file in path.parent.iterdir() if file.suffix in _BESIDE]
        return [file for file in self._folders[path.parent] if file.stem == path.stem]

    def _digest(self, path: Path) -> tuple[str, str]:
        """The name of a file, from the root, and the digest of its text."""
        if path not in self._digests:
            self._digests[path] = str(path.relative_to(self.root)), digest(self._text(path))
        return self._digests[path]

    def _text(self, path: Path) -> str | None:
        if path not in self._texts:
            try:
                self._texts[path] = path.read_text(encoding="utf-8")
            except (FileNotFoundError, NotADirectoryError):
                self._texts[path] = None
        return self._texts[path]

    def _imported(self, path: Path) -> list[Path]:
        """The files of ours that `path` imports itself, packages on the way included."""
        if path not in self._imports:
            names: set[str] = set()
            package = path.relative_to(self.root).parent.parts
            for statement in _IMPORT.findall(self._text(path) or ""):
                names |= _modules(statement, package)
            with_packages = {".".join(name.split(".")[: i + 1]) for name in names for i in range(name.count(".") + 1)}
            ours = (
                self.module(name)
                for name in sorted(with_packages)
                if name.split(".")[0] == "ired" and name.split(".")[:2] not in _NOTEBOOK
            )
            self._imports[path] = [path_of_module for path_of_module in ours if path_of_module]
        return self._imports[path]


@cache
def _modules(statement: str, package: tuple[str, ...]) -> frozenset[str]:
    """Every name that an import statement may mean as a module (`from a import b`: a and a.b)."""
    try:
        node = ast.parse(statement).body[0]
    except SyntaxError:  # prose in a docstring that begins like an import
        return frozenset()
    if isinstance(node, ast.Import):
        return frozenset(alias.name for alias in node.names)
    assert isinstance(node, ast.ImportFrom), statement  # as _IMPORT has it
    base = list(package[: len(package) - node.level + 1]) if node.level else []
    base += node.module.split(".") if node.module else []
    return frozenset([".".join(base)] + [".".join([*base, alias.name]) for alias in node.names])
