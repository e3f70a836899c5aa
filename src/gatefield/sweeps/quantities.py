"""What a sweep can compute by name: gatefield's own functions of an ensemble."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

import gatefield.meanfield.sampled as steady
from gatefield.cells.ensemble import Ensemble
from gatefield.public import NAMESPACES, RENAMED, homes


class AtSteadyState:
    """A function of ensemble and snapshot as one of the ensemble alone: at the steady state of the mean field.

    It takes the parameters of `mean_field` and of the function, by name.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.__qualname__ = f"{function.__module__}.{function.__qualname__} at the steady state"
        own = list(inspect.signature(function).parameters.values())[2:]
        run = list(inspect.signature(steady.mean_field).parameters.values())[1:]
        self._run = {p.name for p in run}
        named = [p.replace(kind=p.KEYWORD_ONLY) for p in (*run, *own)]
        first = inspect.Parameter("ensemble", inspect.Parameter.POSITIONAL_ONLY)
        self.__signature__ = inspect.Signature([first, *{p.name: p for p in named}.values()])

    def __call__(self, ensemble: Ensemble, **arguments: Any) -> Any:
        run = {name: value for name, value in arguments.items() if name in self._run}
        rest = {name: value for name, value in arguments.items() if name not in self._run}
        return self.function(ensemble, steady.mean_field(ensemble, **run).snapshot, **rest)


def quantity(name: str) -> Callable[..., Any]:
    """The function of an ensemble that a name stands for.

    Functions of ensemble and snapshot are taken at the steady state (`AtSteadyState`).

    Raises:
        ValueError: no public function of gatefield, or one that does not begin with an ensemble.
    """
    function = _public(RENAMED.get(name, name))
    if function is None:
        raise ValueError(f"quantity {name!r} is not known; use one of {', '.join(_names())}, or a function of your own")
    needs_snapshot = list(inspect.signature(function).parameters)[1:2] == ["snapshot"]
    return AtSteadyState(function) if needs_snapshot else function


def _public(name: str) -> Callable[..., Any] | None:
    """The public function of an ensemble with this name, flat or of a subject."""
    package = import_module("gatefield")
    places = [package] if name in dir(package) else [getattr(package, subject) for subject in homes(name)]
    found = (getattr(place, name) for place in places)
    return next((f for f in found if inspect.isfunction(f) and _takes_ensemble(f)), None)


def _takes_ensemble(function: Callable[..., Any]) -> bool:
    return list(inspect.signature(function).parameters)[:1] == ["ensemble"]


def _names() -> list[str]:
    package = import_module("gatefield")
    names = {*dir(package), *(name for subject in NAMESPACES for name in dir(getattr(package, subject)))}
    return sorted(name for name in names if _public(name))
