"""The error family, whole.

    OrderflowError
    ├── TransientFault     the effect may or may not have happened: retry, the keys make it safe
    ├── OutOfTime          nothing was begun: the message comes again
    ├── UnreadableMessage  will never parse: the queue's redrive policy takes it to the dead letters
    ├── MessageTooLarge    no topic takes it: what it would tell of is not done
    ├── MissingSetting     wrong deployment: fails in the init phase, naming the variable
    └── BadSetting         the same, where the setting is there and faulty

A refusal (out of stock, card declined) is not an error: it is an outcome, returned as data.
Anything else that is raised is a bug and escapes to the runtime, where an alarm counts it.
"""


class OrderflowError(Exception):
    """Root of the family."""


class TransientFault(OrderflowError):
    """A collaborator did not answer, or answered that it could not; the outcome is unknown."""


class OutOfTime(OrderflowError):
    """Too little of an invocation is left to begin another message; the text says how much."""


class UnreadableMessage(OrderflowError):
    """A message that no retry can make readable; the text names the field."""


class MessageTooLarge(OrderflowError):
    """A message that no topic takes; the text names its type, subject and size, and the limit."""


class MissingSetting(OrderflowError):
    """A required environment variable is unset or empty; the text is its name."""


class BadSetting(OrderflowError):
    """A setting that cannot be meant; the text names it, and holds no secret."""
