from .quantities import quantity as quantity
from .run import ClusterLostError as ClusterLostError
from .run import FailedPointsWarning as FailedPointsWarning
from .run import sweep as sweep
