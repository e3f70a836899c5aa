"""The edge of chaos in LSTMs: Fioratti's notes, completed [EOC]. `import gatefield as gf; gf.edge.reduced(3.0)`.

`sompolinsky` is the reduced model, solved exactly (`reduced`, `critical_gain`, `critical_line`); `onset` the LSTM
itself near its edge (`onset_law`, `tricritical_gates`, `bias_critical_gain`), `coexistence` its check
(`measure_tricritical`) and what lies beyond (`network_hysteresis`); `comparison` both and networks side by side
(`compare`, `critical_exponent`); `theorems` and `cavity` the notes' theorems and cavity argument, measured;
`memory_cell` and `static_series` what they write down on the way; `curves` what the figures show.
"""

from gatefield.public import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
