"""What Lambda tells a function of its invocation."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Invocation:
    """A context as Powertools and our handlers read it."""

    function_name: str = "orderflow-test"
    remaining: int = 10_000  # milliseconds
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:000000000000:function:orderflow-test"
    aws_request_id: str = "1b3c5d7e-0000-4000-8000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        """As said; no clock ticks here."""
        return self.remaining
