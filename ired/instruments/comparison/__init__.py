"""Models of several variants and seeds against one another (P7-04).

figures.py                   Figures of P7-04: accuracy, landscapes and consistency of variants
figures_differences.py       Figures of P7-04: paired differences of variants, as a forest plot and as a heat map
known_answers.py             Known answers of the comparison of variants: copies, planted shifts, relabelled seeds
known_answers_similarity.py  Known answers of fingerprints and their comparison: copies, equivalents
metric_names.py              What the numbers of a portrait are called, what they mean and which way is better
model_metrics.py             A model's portrait: what the instruments of all phases say of it, at reduced sizes
model_metrics_answers.py     The answers' part of a portrait: how right they are, what they hang on, how they miss
model_metrics_landscape.py   The landscape's part of a portrait: Phase 1's instruments at reduced sizes
paired_seeds.py              Do variants of training differ?
representation.py            What is taken of one model so that it can be held against another: its fingerprint
representation_inputs.py     What models are asked on when they are held against one another
representation_layers.py     The layers' part of a fingerprint: dictionaries, concepts, damage
similarity.py                How much of what is found in one model is found in another: a score between 0 and 1
study.py                     All of P7-04: models of several variants and seeds, measured alike and compared
"""
