"""The base of every object that holds a secret.

Invariants: no representation, format, pickle, copy or JSON of such an object shows what it holds; subclasses
are compared in constant time and not hashable, because a hash of few possible values can be turned back.
"""

from __future__ import annotations

from typing import Any, NoReturn, Self


class Hidden:
    """Shows its class name and nothing else; subclasses keep their secret in slots."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(hidden)"

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __getstate__(self) -> NoReturn:
        message = f"a {type(self).__name__} is never written anywhere"
        raise TypeError(message)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__getstate__()

    def __reduce__(self) -> NoReturn:
        self.__getstate__()
