"""spec.live: the page that shows a pipeline at work."""

from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, model_validator

from webevents.spec.base import Duration, Model


class LiveSpec(Model):
    """A page in the browser that shows the pipeline at work (docs/live.md)."""

    enabled: bool = False
    """Whether it runs."""
    port: int = Field(default=8090, ge=1, le=65535)
    """The port to listen on; `webevents run` takes a free one where it is taken."""
    token_file: str | None = None
    """File with the token that viewers need, 16 characters or more. Without a token the page
    listens on the loopback address only."""
    token_env: str | None = None
    """Environment variable with the token."""
    personal_data: Literal["masked", "shown"] = "masked"
    """masked: visitors by a short hash, pages without their query, no content of failed events.
    shown: identifiers, addresses and contents as they are."""
    window: Duration = timedelta(minutes=15)
    """The last while that event types, pages, places and failed events are counted over."""
    max_viewers: int = Field(default=2_000, ge=1, le=100_000)
    """Open pages; one more is asked to come again (503)."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.token_file is not None and self.token_env is not None:
            raise ValueError("set at most one of tokenFile and tokenEnv")
        if not timedelta(minutes=1) <= self.window <= timedelta(hours=6):
            raise ValueError("window must be between 1m and 6h")
        return self
