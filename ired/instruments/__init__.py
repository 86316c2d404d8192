"""Instruments that study energy landscapes: pure functions on tensors and energies.

core                 What several methods share: states to look at, directions to move along, paths, patches
statistics           Intervals, corrections and tables: how sure a number is
accuracy             How good answers are, and what simpler predictors reach
landscape            The energy landscape: slices, gradient field, Hessians, minima (Phase 1)
uncertainty          How sure an energy is of its answer: error bars from curvature, and whether they are right
dictionaries         Sparse dictionaries of activations: training, features, what they go with (Phase 2)
attribution          Which inputs and directions numbers come from: integrated gradients, active subspaces
concepts             Concept activation vectors and what the energy makes of them (TCAV)
influence            Influence of training problems, and whether it is true
layers               What each layer adds: gradients, Jacobians, ablations, ways of the score
linearity            How linear the energy is: affine scores, alike Hessians, the denoising loss
probing              Linear probes: what can be read from a layer
geometry             Geometry of symmetric positive definite matrices: metrics, geodesics, Hessians on the manifold
eigen_decomposition  Eigenvalues and eigenvectors of answers and gradients: which of the two is wrong (P4-03)
interventions        Pushes along directions, counterfactuals, mediation: what causes what
transport            Optimal transport between clouds of answers
circuits             What the energy is composed of: outputs, graphs between dictionaries, paths of features
robustness           What independently trained networks have in common (P6-01)
sanity               Sanity checks: what goes away when what it is said to be about is taken away (P6-03)
transfer             What holds on problems unlike those of training (P6-04)
comparison           Models of several variants and seeds against one another (P7-04)
calibration          All known answers that the instruments must recover
"""
