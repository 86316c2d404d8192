"""States of long work: whole or not there."""

from contextlib import suppress

import torch

from ired.lab.checkpoint import Checkpoint


def test_a_state_comes_back_as_it_was(tmp_path):
    one = Checkpoint(tmp_path / "state.safetensors")
    assert one.load() is None
    tensors = {"a": torch.arange(4.0), "b.c": torch.tensor(3), "view": torch.arange(6.0).view(2, 3).mT}
    one.save(tensors, {"step": 7, "curve": [{"e": 0.5}]})
    found, notes = Checkpoint(tmp_path / "state.safetensors").load()
    assert notes == {"step": 7, "curve": [{"e": 0.5}]} and set(found) == set(tensors)
    assert all(torch.equal(found[name], value) for name, value in tensors.items())
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]


def test_a_broken_state_is_said_and_not_used(tmp_path, capsys):
    path = tmp_path / "state.safetensors"
    one = Checkpoint(path)
    one.save({"a": torch.ones(100)}, {})
    path.write_bytes(path.read_bytes()[:-10])
    assert one.load() is None and "begins anew" in capsys.readouterr().out


def test_a_failed_save_leaves_the_last_state(tmp_path):
    one = Checkpoint(tmp_path / "state.safetensors")
    one.save({"a": torch.ones(1)}, {"step": 1})
    with suppress(TypeError):
        one.save({"a": torch.zeros(1)}, {"step": object()})
    assert one.load()[1] == {"step": 1} and len(list(tmp_path.iterdir())) == 1


def test_it_is_due_after_a_while(tmp_path):
    assert not Checkpoint(tmp_path / "x", every=1e6).due()
    one = Checkpoint(tmp_path / "x", every=0)
    assert one.due()
