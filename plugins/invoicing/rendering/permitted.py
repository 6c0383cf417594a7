"""What a template may call: nothing that reads a clock, a time zone or the environment, nothing that swells.

The same document and template give the same bytes, whenever and wherever; a template that prints today's date
would give another invoice with each try. Jinja's own sandbox refuses what leads out, not what looks out.
"""

from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

# By the method's name, whosever it is: no value of a document has one of these for a good purpose.
_LOOKS_OUT = frozenset(
    (
        *("today", "now", "utcnow", "time", "localtime", "gmtime"),
        *("fromtimestamp", "utcfromtimestamp", "timestamp", "astimezone"),
    )
)
# A number in, so many bytes out.
_SWELLS = frozenset(("to_bytes", "scaleb", "shift", "fromkeys", "translate", "maketrans"))
# These align columns, which a message in plain text has a use for.
_PADS = frozenset(("ljust", "rjust", "center", "zfill", "expandtabs"))
WIDEST = 1000
"""Characters that a method may pad to."""


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """Jinja's strictest sandbox, and what this module says."""

    def is_safe_callable(self, obj: Any) -> bool:
        """Whether a template may call ``obj``."""
        name = getattr(obj, "__name__", None)
        return super().is_safe_callable(obj) and name not in _LOOKS_OUT and name not in _SWELLS

    def call(self, context: Context, obj: Any, /, *arguments: Any, **named: Any) -> Any:
        """Call ``obj`` for a template.

        Raises:
            SecurityError: It may not be called, or not with these arguments.
        """
        if getattr(obj, "__name__", None) in _PADS:
            for value in (*arguments, *named.values()):
                if isinstance(value, int) and value > WIDEST:
                    raise SecurityError(f"{obj.__name__}({value}): at most {WIDEST}")
        return super().call(context, obj, *arguments, **named)
