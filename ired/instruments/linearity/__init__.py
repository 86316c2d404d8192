"""How linear a learned energy is: its score as an affine map, how alike its Hessians are, its denoising loss.

affine_score.py      Held-out R² of the score by the best affine map of the problem and the state
denoising_loss.py    Denoising loss by landscape, of several energies on the same noised answers
figures.py           Figure of linearity: R², spread of the Hessians, curvature beside its closed form, loss
hessian_spread.py    How much Hessians differ between problems and states, and their mean beside its closed form
known_answers.py     Known answers of linearity: affine teachers, planted ripples, the ideal energy
normal_equations.py  Least squares by normal equations, summed in chunks and cross-fitted over problems
study.py             Linearity of several energies as one table: affine share, spread, curvature, loss
"""
