"""What each layer adds: gradients, Jacobians, ablations, ways of the score.

ablation.py                       A layer of a network replaced by something else
ablation_damage.py                What an ablated energy has lost: the order of its energies, its score, its answers
ablation_ranking.py               Do several ablations agree on which layer matters most?
figures_ablation.py               Figures of P5-03: what a network loses with a layer, or with a part of one
figures_gradient_signal.py        Figures of P5-02: gradients against depth, their signal, the layers' stretch
forward_backward.py               One passage through the network, forward to f and back to the score
gradient_signal.py                What gradients are like in the layers: how large, how sure
jacobians.py                      How every layer stretches: singular values of the layers' derivatives
known_answers_ablation.py         Known answers of layer ablations: a planted chain of layers
known_answers_gradient_signal.py  Known answers: planted networks with autograd's derivatives, planted noise
score_decomposition.py            Which way the score goes: through the constant of f or its ripple
unit_activity.py                  What units do over many states: nothing, pass straight through, or bend
"""
