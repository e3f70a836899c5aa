"""What a network is made of: a cell, its statistics, what drives it, and its neurons at one time.

A cell is two scalar functions of one neuron, and everything else follows from it. One step of a network of N neurons
with state s and pre-activations x_1..x_K is

    x_k = U_k v_k + b_k + I_k,   v_k = V_k(s, x_1..x_{k-1}),   s' = F(s, x_1..x_K),

with V (`sources`) and F (`update`) applied neuron by neuron. A cell holds no weights and no gains.

`cell` says what a cell is, `builtin` has those that come with gatefield, `tracing` what JAX finds out about one,
`kinks` where a formula changes branch. An `ensemble` gives it gains, biases and `currents`; a `snapshot` is many
neurons at one time with their local derivatives, wherever they come from; `regime` names what a run comes to.
"""

from gatefield.public import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
