"""Sparse dictionaries of activations: training, features, what they go with (Phase 2).

activations.py                   Activations of an energy's layers: where they are taken, how they are kept
dictionary.py                    Dictionaries of activations: what they are, how good they are
features.py                      What single features of a dictionary do, when they fire
figures.py                       Figures of Phase 2: sparse dictionaries of activations
figures_catalogue.py             The feature catalogue: one page that opens from disk
figures_property_correlation.py  Figures of P2-07: features and properties
known_answers.py                 Known answers of Phase 2: planted dictionaries, splices, features and correlations
property_correlation.py          Do features follow properties of the problem, and better than neurons do?
rule_descriptions.py             When something fires, in words: a short rule
study.py                         Dictionaries of one layer trained, put beside baselines of equal sparsity
training.py                      Sparse autoencoders, many trained at once on the same activations
"""
