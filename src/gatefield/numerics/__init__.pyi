from .crossings import Crossing as Crossing
from .crossings import search as search
from .estimates import Estimate as Estimate
