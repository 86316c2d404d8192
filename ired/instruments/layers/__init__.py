"""What each layer adds: gradients, Jacobians, ablations, ways of the score.

ablation.py                       Layer ablation: a layer of a network replaced by something else
ablation_damage.py                Damage by ablation: the order of the energies, the score, the answers
ablation_ranking.py               Kendall's W: do several ablations agree on which layer matters most?
figures_ablation.py               Figures of P5-03: what a network loses with a layer, or with a part of one
figures_gradient_signal.py        Figures of P5-02: gradients against depth, their signal, the layers' stretch
forward_backward.py               Forward and backward pass through the network, every step kept
gradient_signal.py                Vanishing gradients and gradient noise in the layers, for two losses
jacobians.py                      Singular values of the layers' Jacobians: how every layer stretches
known_answers_ablation.py         Known answers of layer ablations: a planted chain of layers
known_answers_gradient_signal.py  Known answers: planted networks with autograd's derivatives, planted noise
score_decomposition.py            Attribution of the score to paths: the constant of f or its ripple, FiLM, units
study_ablation.py                 What P5-03 does with both networks: ablations, damages, rankings; its verdicts
study_gradient_signal.py          What P5-02 measures of each network, as tables; its verdicts
unit_activity.py                  Dead and dormant units: who does nothing, passes straight through, or bends
"""
