"""Eigenvalues of the one-step Jacobian at N = ∞: where they lie, how densely, and what powers of it do.

`response` is how neurons answer at λ, `evaluator` averages that over them, `dyson` solves the K×K equations of
random-matrix theory, `self_energy` the p and q of each pre-activation in them, `spectrum` the curve, radius, density
and mass that follow: `support` where it ends, `curve` its boundary, `islands` parts that surround single poles.
`zero_state` has closed forms where activity dies, `limits` those of the paper for gates that are constant or binary,
`gate_bounds` what one gate at large gain does, `hard_tanh` the modes near 1 of a hard-tanh GRU, `long_term` powers of
the Jacobian. `gru_letters` and `lstm_equations` have the papers' own equations of both cells, as a second route. All
take an ensemble and a snapshot, whoever made it.
"""

from gatefield.public import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
