from .closures import Closure as Closure
from .closures import closure as closure
from .continuous import ContinuousLimit as ContinuousLimit
from .continuous import continuous_limit as continuous_limit
from .deterministic import DeterministicMeanField as DeterministicMeanField
from .deterministic import deterministic_mean_field as deterministic_mean_field
from .sampled import MeanField as MeanField
from .sampled import mean_field as mean_field
