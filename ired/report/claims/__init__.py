"""Claims: what might be said, with the criteria that each rests on, by phase.

answers.py    Claims on the answers: accuracy beside least squares, sensitivity beside the exact Jacobian
concepts.py   Claims of phase 3: attribution, concept activation vectors, interventions and causal mediation
doubts.py     Claims of phase 6: robustness over networks, influence functions, sanity checks, transfer
features.py   Claims of phase 2, on sparse autoencoders and their features
landscape.py  Claims of phase 1, on the energy landscape: gradients, Hessians, convexity, minima
layers.py     Claims of phase 5, on layers: linear probes, gradient signal, ablation, feature circuits
manifold.py   Claims of phase 4, on the SPD manifold: geodesics, eigen-decomposition, optimal transport
negatives.py  Claims of phase 7: negative mining, and energies of matrix products
stated.py     What this project puts to the test: every claim with the criteria that it rests on and what doubts it
"""
