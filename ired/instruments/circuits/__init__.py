"""What the energy is composed of: outputs, graphs between dictionaries, paths of features.

energy_outputs.py  Which of its outputs carry an energy E = Σ_i f_i²: what of its gaps, what of its score
feature_graph.py   How the features of one layer make those of the next: a graph between dictionaries
feature_paths.py   Chains of features, fc1 → fc2 → fc3 → energy gap: the strongest
figures.py         Figures of P5-04: what the energy is composed of, output by output and feature by feature
known_answers.py   Known answers of composition: planted outputs, a planted path through a network, a whole chain
output_entries.py  Have the outputs of an energy E = Σ_i f_i² anything to do with the entries of a state?
study.py           What P5-04 looks at, as tables: outputs of the energy, graphs between dictionaries, chains
"""
