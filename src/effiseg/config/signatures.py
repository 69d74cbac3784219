"""The signatures that notebooks and `help()` show of functions whose settings are keyword arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, ForwardRef, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def signature_of(settings_type: type[Any], keywords: type[Any]) -> Callable[[Function], Function]:
    """Show a function's `**settings: Unpack[KEYWORDS]` as the arguments that it stands for.

    Type checkers read them from the TypedDict; what completes at run time reads this signature.

    Args:
        settings_type: the dataclass, for the defaults.
        keywords: the TypedDict, for the names and types.
    """
    defaults = {item.name: item.default for item in fields(settings_type)}

    def with_signature(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [item for item in signature.parameters.values() if item.kind is not inspect.Parameter.VAR_KEYWORD]
        shown = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=... if defaults[name] is MISSING else defaults[name],
                annotation=hint.__forward_arg__ if isinstance(hint, ForwardRef) else hint,
            )
            for name, hint in keywords.__annotations__.items()
        ]
        function.__signature__ = signature.replace(parameters=own + shown)  # type: ignore[attr-defined]
        return function

    return with_signature
