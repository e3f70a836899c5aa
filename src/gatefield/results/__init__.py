"""What a result is: described once, shown in every form.

A result derives from `Result` (`result`) and says in one method, `description`, what it holds: quantities with
dimensions, units and source, the coordinates of their dimensions, and the facts that produced it. From a `description`
follow its arrays (`labelled`), and with them its Dataset and what a sweep stores; its JSON; and its line and table
(`tables`). `version` is what results name as their maker.

Convergence is said in one way: `messages` says what has not converged and what to change, and `converged` is whether
there is nothing to say. Pictures stand above, in `plots`, by kind of result.
"""

from gatefield.public import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
