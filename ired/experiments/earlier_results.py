"""Dictionaries and directions of earlier experiments, as later ones take them.

Heavy imports wait until there is work to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ired.instruments.core.directions import Direction
    from ired.instruments.dictionaries.sparse_autoencoder import Dictionary
    from ired.lab.run import Run


def dictionary_of_run(run: Run, exp_id: str) -> Dictionary:
    """The dictionary that this experiment chose, if it is one of the model that the run takes from SETUP-3.

    DictionaryError: it was trained on another model."""
    from ired.instruments.dictionaries import sparse_autoencoder

    upstream, source = run.upstream(exp_id), run.upstream("SETUP-3")
    packed = upstream.tensors("dictionaries"), upstream.meta("dictionaries")
    return sparse_autoencoder.chosen_dictionary(upstream.json("chosen"), packed, source.run_id)


def directions_of_run(run: Run, exp_id: str) -> list[Direction]:
    """The directions that this experiment kept."""
    from ired.instruments.core.directions import unpack_directions

    upstream = run.upstream(exp_id)
    return unpack_directions(upstream.tensors("directions"), upstream.meta("directions"))
