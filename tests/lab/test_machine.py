"""Memory that a run keeps is given back where it has gone to pieces."""

from types import SimpleNamespace

import pytest

from ired.lab import machine


def test_fragments_are_given_back_when_a_gigabyte_has_come_together(monkeypatch):
    trimmed = []
    held = iter([0.5, 2.0, 1.5, 2.2, 2.6, 0.4, 2.4])  # GB, looked at before and after each trim
    monkeypatch.setattr(machine.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(machine, "_resident", lambda: next(held) * 2**30)
    with pytest.raises(StopIteration):
        machine._give_back(SimpleNamespace(malloc_trim=lambda pad: trimmed.append(pad)))
    assert trimmed == [0, 0]
