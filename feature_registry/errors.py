"""One hierarchy of errors. The class says the kind, the arguments say what is wrong and what would be right.

An error is data: two errors of one class with equal arguments are equal, and it travels over HTTP as a problem
(RFC 9457) that the client turns back into the same class. Never put a secret into an argument.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, ClassVar, Self


class RegistryError(Exception):
    """Base of all errors that the registry raises on purpose.

    `field` names the argument at fault, `value` is what was given, `expected` is what would be right. Where several
    things are wrong at once, these are the first one's.
    """

    kind: ClassVar[str] = "error"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        value: Any = None,
        expected: Any = None,
        faults: Sequence[RegistryError] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.value = value
        self.expected = expected
        self._faults = tuple(faults)

    @property
    def faults(self) -> tuple[RegistryError, ...]:
        """One for each thing that is wrong; of one only, the error itself."""
        return self._faults or (self,)

    @classmethod
    def of(cls, faults: Sequence[RegistryError]) -> Self:
        """One error for all faults, of which there is at least one."""
        first = faults[0]
        said = {"field": first.field, "value": first.value, "expected": first.expected}
        if len(faults) == 1:
            return cls(first.message, **said)
        return cls("; ".join(map(str, faults)), **said, faults=faults)

    def __str__(self) -> str:
        text = self.message
        if len(self.faults) > 1:
            return text
        if self.field is not None:
            given = "" if self.value is None else f"={_shown(self.value)}"
            text = f"{self.field}{given}: {text}"
        if self.expected is not None:
            text = f"{text} (expected: {_shown(self.expected)})"
        return text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RegistryError) and type(self) is type(other) and self.problem() == other.problem()

    def __hash__(self) -> int:
        return hash((type(self), self.message, self.field))

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.problem()))

    def problem(self) -> dict[str, Any]:
        """The error as JSON-ready data, without what was not said."""
        said: dict[str, Any] = {"field": self.field, "value": self.value, "expected": self.expected}
        if len(self.faults) > 1:
            said["faults"] = [each.problem() for each in self.faults]
        return {"kind": self.kind, "message": self.message} | {k: v for k, v in said.items() if v is not None}


class NotFound(RegistryError):
    """What was named does not exist, or may not be seen."""

    kind = "not_found"


class Conflict(RegistryError):
    """It contradicts what the catalog already holds."""

    kind = "conflict"


class Invalid(RegistryError):
    """The input is wrong; the same call will never succeed."""

    kind = "invalid"


class Denied(RegistryError):
    """Who asks may not do this."""

    kind = "denied"


class Exhausted(RegistryError):
    """A budget or a limit is used up."""

    kind = "exhausted"


class Unavailable(RegistryError):
    """Something that we depend on does not answer; the same call may succeed later."""

    kind = "unavailable"


KINDS: dict[str, type[RegistryError]] = {
    kind.kind: kind for kind in (NotFound, Conflict, Invalid, Denied, Exhausted, Unavailable)
}


def from_problem(problem: dict[str, Any]) -> RegistryError:
    """The error that `problem()` described; an unknown kind becomes a plain `RegistryError`."""
    return _rebuild(KINDS.get(problem.get("kind", ""), RegistryError), problem)


def needed(module: str, extra: str) -> Any:
    """The module, or an ImportError that names the extra that brings it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as unfound:
        if (unfound.name or "").startswith(__package__):
            raise
        raise missing(unfound.name, extra) from unfound


def missing(package: str | None, extra: str) -> ImportError:
    return ImportError(f"the package {package!r} is missing: pip install 'feature-registry[{extra}]'")


def _rebuild(kind: type[RegistryError], problem: dict[str, Any]) -> RegistryError:
    arguments = {name: problem.get(name) for name in ("field", "value", "expected")}
    faults = [_rebuild(kind, each) for each in problem.get("faults", ())]
    return kind(problem.get("message", "no message"), **arguments, faults=faults)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 500 else f"{text[:500]}... ({len(text)} characters)"
