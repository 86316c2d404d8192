"""Models of several variants and seeds against one another (P7-04).

figures.py                   Figures of P7-04: accuracy, landscapes and consistency of variants
figures_differences.py       Figures of P7-04: forest plot and heat map of paired differences; all captions
known_answers.py             Known answers of the comparison of variants: copies, planted shifts, relabelled seeds
known_answers_similarity.py  Known answers of representational similarity: copies, equivalents, shuffled weights, chance
metric_names.py              Names of a portrait's metrics: what they are called, what they mean and which way is better
model_metrics.py             Metrics of one model, its portrait: what the instruments of all phases say of it
model_metrics_answers.py     Accuracy, sensitivity and SPD geometry of answers, for a portrait
model_metrics_landscape.py   Landscape metrics of a portrait: Phase 1's instruments at reduced sizes
paired_seeds.py              Paired t-tests and sign-flip tests over seeds: do variants of training differ?
representation.py            Fingerprints for representational similarity: what is taken of one model
representation_inputs.py     Inputs of a fingerprint: what models are asked on, the same for all
representation_layers.py     Representations of fc1 to fc3 in a fingerprint: dictionaries, concepts, ablation
similarity.py                Representational similarity of two models, from 0 to 1
study.py                     Comparison of negative mining (P7-04): models of several variants and seeds
"""
