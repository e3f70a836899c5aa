"""What every result can do, given its `description`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from gatefield.results.description import Description
from gatefield.results.tables import html_table, one_line
from gatefield.results.version import __version__

if TYPE_CHECKING:
    import xarray as xr

R = TypeVar("R", bound="Result")


@dataclass(frozen=True, eq=False, repr=False)
class Result(ABC):
    """What a public function returns: frozen, described once, and it says whether it has converged.

    A subclass is a `@dataclass(frozen=True, eq=False, repr=False)`.

    Attributes:
        messages: what has not converged, and what to change; none where all has.
    """

    messages: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def converged(self) -> bool:
        """Whether there is nothing to say against it."""
        return not self.messages

    @property
    def message(self) -> str:
        """The messages as one text."""
        return "; ".join(self.messages)

    @abstractmethod
    def description(self) -> Description:
        """All of it but its convergence; every form of it follows."""

    def described(self) -> Description:
        """All of it."""
        own = self.description()
        said = {"converged": self.converged, "messages": list(self.messages)}
        return replace(own, facts={**own.facts, **said})

    def to_dataset(self) -> xr.Dataset:
        """As labelled arrays, with units and source, and in the attributes what produced them."""
        return self.described().labelled().to_dataset()

    def as_json(self) -> dict[str, Any]:
        """Plain numbers and text, an estimate as {"value", "error"}; what is not finite becomes None."""
        return self.described().as_json() | {"version": __version__}

    def __repr__(self) -> str:
        return one_line(type(self).__name__, self.described())

    def _repr_html_(self) -> str:
        """A table, in a notebook."""
        return html_table(type(self).__name__, self.described())


@dataclass(frozen=True, eq=False, repr=False)
class Results(Result, Mapping[str, R]):
    """Results by name, such as of layers. Their JSON has an entry for each.

    Attributes:
        by_name: each of them. `messages` are theirs.
    """

    by_name: Mapping[str, R] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", messages_of(self.by_name))

    def __getitem__(self, name: str) -> R:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)

    def description(self) -> Description:
        return Description(facts={"names": list(self.by_name)}, parts=self.by_name)

    def as_json(self) -> dict[str, Any]:
        """That of each, by name."""
        return {name: one.as_json() for name, one in self.items()}


def messages_of(results: Mapping[str, Result | None]) -> tuple[str, ...]:
    """What results within another have to say, each after its name."""
    return tuple(f"{name}: {one.message}" for name, one in results.items() if one is not None and one.message)
