"""Networks trained on a task, several in one compiled step, beside what theory says of them at the start.

`tasks` and `images` are the data, `trainer` the training, `trainability` one point of a sweep over gains, `forecasting`
networks that are only read out.
"""

from gatefield.public import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
