"""Out-of-distribution generalisation: what holds on problems unlike those of training (P6-04).

evidence.py       Findings of Phases 1 to 3 as numbers of every problem, measured alike on any family
figures.py        Figures of P6-04: errors, findings and detectors on shifted problems
known_answers.py  Known answers of P6-04: errors in closed form, AUROCs, findings planted to transfer or not
ood_detection.py  Out-of-distribution detection and accuracy on problems unlike those of training
score.py          Transfer score: which findings replicate out of distribution?
study.py          One model on every family: what was seen, the verdicts
"""
