"""What several scripts share: the corridor between model, instruments and notebook.

baseline.py              Training by IRED's recipe (SETUP-3): models taken or trained, logged and judged
controls.py              Energies of least squares and of a regression network: what findings are held against
dictionaries.py          What P2-02 to P2-05 share: dictionaries of one layer, trained and judged
earlier_results.py       Dictionaries and directions of earlier experiments, as later ones take them
finite_training.py       P6-02's networks, trained on a finite set of problems and on parts of it
layered_controls.py      What controls hold in place of a network's layers
linearity.py             How linear SETUP-3's model is, beside the affine denoiser and other controls
mining.py                What P7-01 to P7-03 share: the models of one kind of negatives
out_of_distribution.py   P6-04's shifted problems, and what is measured on them
reference_predictors.py  SETUP-2's reference predictors, fitted on fresh training problems
sanity_controls.py       P6-03's networks with other weights or a training on shuffled answers, and affine maps
variants.py              Models of every variant and seed, measured alike: what P7-04 compares
"""
