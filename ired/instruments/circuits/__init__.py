"""What the energy is composed of: outputs, graphs between dictionaries, paths of features.

dictionary_graphs.py  The graphs of P5-04: of the dictionaries studied, of chance, of an untrained network
energy_outputs.py     Direct attribution of an energy E = Σ_i f_i² to its outputs: of its gaps, of its score
feature_graph.py      Attribution graph between dictionaries: how the features of one layer make those of the next
feature_paths.py      Path patching of chains of features, fc1 → fc2 → fc3 → energy gap: the strongest
figures.py            Figures of P5-04: what the energy is composed of, output by output and feature by feature
known_answers.py      Known answers of outputs, graphs, chains: planted outputs, a planted path, a whole chain
output_entries.py     Attribution of gaps to outputs and entries: has output i anything to do with entry i?
study.py              What P5-04 looks at, as tables: outputs of the energy and chains; its verdicts
"""
