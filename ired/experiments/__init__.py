"""What several scripts share: the corridor between model, instruments and notebook.

baseline.py              Training by IRED's recipe (SETUP-3): models taken or trained, logged and judged
dictionaries.py          What P2-02 to P2-05 share: dictionaries of one layer, trained and judged
mining.py                What P7-01 to P7-03 share: the models of one kind of negatives
reference_predictors.py  SETUP-2's reference predictors, fitted on fresh training problems
studied_dictionaries.py  Dictionaries of P2-02 to P2-04 as later experiments study them
variants.py              Models of every variant and seed, measured alike: what P7-04 compares
"""
