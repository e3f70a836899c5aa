"""Networks trained on a task, several in one compiled step, beside what theory says of them at the start.

`tasks` and `images` are the data, `trainer` the training, `trainability` one point of a sweep over gains, `forecasting`
networks that are only read out.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
