"""The edge of chaos in LSTMs: Fioratti's notes, completed [EOC]. `import gatefield as gf; gf.edge.reduced(3.0)`.

The reduced model, solved exactly (`reduced`, `critical_gain`, `critical_line`); the LSTM itself near its edge
(`onset_law`, `tricritical_gates` and its check `measure_tricritical`, `hysteresis_loop`, `bias_critical_gain`); both
and networks side by side (`compare`, `critical_exponent`); the notes' theorems, measured (`gate_statistics`); and what
its figures show (`variance_curves` and the like).
"""

from gatefield.coexistence import HysteresisLoop, TricriticalFit, hysteresis_loop, measure_tricritical
from gatefield.comparison import Comparison, CriticalExponent, LSTMNetworks, compare, critical_exponent
from gatefield.edge_curves import (
    MODES,
    autocorrelation_curves,
    bias_curves,
    comparison_curves,
    potential_curves,
    variance_curves,
)
from gatefield.gate_statistics import GateStatistics, gate_statistics
from gatefield.onset import (
    BiasedCriticalGain,
    OnsetLaw,
    Tricritical,
    bias_critical_gain,
    lstm,
    onset_law,
    tricritical_gates,
)
from gatefield.sompolinsky import CriticalLine, Reduced, ReducedMap, critical_gain, critical_line, reduced

__all__ = [
    "MODES",
    "BiasedCriticalGain",
    "Comparison",
    "CriticalExponent",
    "CriticalLine",
    "GateStatistics",
    "HysteresisLoop",
    "LSTMNetworks",
    "OnsetLaw",
    "Reduced",
    "ReducedMap",
    "Tricritical",
    "TricriticalFit",
    "autocorrelation_curves",
    "bias_critical_gain",
    "bias_curves",
    "compare",
    "comparison_curves",
    "critical_exponent",
    "critical_gain",
    "critical_line",
    "gate_statistics",
    "hysteresis_loop",
    "lstm",
    "measure_tricritical",
    "onset_law",
    "potential_curves",
    "reduced",
    "tricritical_gates",
    "variance_curves",
]
