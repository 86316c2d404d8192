"""What holds on problems unlike those of training (P6-04).

evidence.py       Findings of Phases 1 to 3 as numbers of every problem, measured alike on any family
figures.py        Figures of P6-04: errors, findings and detectors on shifted problems
known_answers.py  Known answers of P6-04: errors in closed form, AUROCs, findings planted to transfer or not
ood_detection.py  What becomes of a model on problems unlike those of its training: accuracy, and whether it is seen
score.py          Which findings hold on problems unlike those that they were made on: a transfer score
study.py          All that P6-04 asks of one model: every family through the same mill, and what was seen
"""
