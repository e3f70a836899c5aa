from .description import Description as Description
from .description import Quantity as Quantity
from .labelled import Array as Array
from .labelled import Labelled as Labelled
from .result import Result as Result
