"""The base of all configuration records."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError


class Record(BaseModel):
    """Frozen, hashable and closed: unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """The record with some values changed, validated like a new one (pydantic's own method does not validate)."""
        return type(self).model_validate(dict(self) | dict(update or {}))


def explain(error: ValidationError) -> str:
    """The first error of an invalid record in one line: key, rule, value."""
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"])
    rule = fault["msg"].removeprefix("Value error, ")
    value = "" if fault["type"] in ("value_error", "missing") else f", got {fault['input']!r:.80}"
    return f"{key}: {rule}{value}" if key else rule
