"""Dictionaries of P2-02 to P2-04 as later experiments study them.

Heavy imports wait until there is work to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ired.instruments.dictionaries.sparse_autoencoder import Dictionary
    from ired.lab.run import Run


def dictionary_of_run(run: Run, exp_id: str) -> Dictionary:
    """The dictionary that this experiment chose, if it is one of the model that the run takes from SETUP-3.

    DictionaryError: it was trained on another model."""
    from ired.instruments.dictionaries import sparse_autoencoder

    upstream, source = run.upstream(exp_id), run.upstream("SETUP-3")
    packed = upstream.tensors("dictionaries"), upstream.meta("dictionaries")
    return sparse_autoencoder.chosen_dictionary(upstream.json("chosen"), packed, source.run_id)
