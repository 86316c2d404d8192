"""Sparse dictionaries of activations: training, features, what they go with (Phase 2).

activations.py           Activations of an energy's layers: where they are taken, how they are kept
dictionary.py            Dictionaries of activations: what they are, how good they are
features.py              Feature attribution (gradient × activation) and ablation: what single features do
figures.py               Figures of Phase 2: sparse dictionaries of activations, units and properties
figures_catalogue.py     The feature catalogue: one page that opens from disk
held_out_correlation.py  Split-half selection and cross-validated ridge: what units say of properties of new problems
interpretation.py        Feature interpretation: what single features read and write, and rules for when they fire
known_answers.py         Known answers of Phase 2: planted dictionaries, splices, features and correlations
property_correlation.py  Rank correlations of units with properties of the problem, with a null for the largest
recovery.py              How much of a network is left when a layer is a dictionary's reconstruction
rule_descriptions.py     When a feature fires, in numbers and in words: a shallow decision tree
sparse_codes.py          Sparse codes: the features that are active, and products with them
study.py                 Dictionaries of one layer trained, put beside baselines of equal sparsity
training.py              Sparse autoencoders, many trained at once on the same activations
"""
