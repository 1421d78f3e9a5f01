"""The database or bucket that lines are written to."""

from __future__ import annotations

from typing import Literal

import attrs

from ...abc import ConfigError, label_text

__all__ = ["Target"]


@attrs.frozen
class Target:
    """A database or a bucket, and the API to write to it."""

    database: str | None = None
    bucket: str | None = None
    org: str | None = None
    token: str | None = attrs.field(default=None, repr=False)
    retention_policy: str | None = None
    api: Literal[3] | None = None

    def __attrs_post_init__(self) -> None:
        """Check the combination of settings.

        Raises:
            ConfigError: it is invalid.
        """
        if (self.database is None) == (self.bucket is None):
            raise ConfigError("database or bucket must be given, and only one of them")
        for name in ("database", "bucket", "org", "token", "retention_policy"):
            value = getattr(self, name)
            if value is None:
                continue
            shown = "something else" if name == "token" else repr(value)
            if not isinstance(value, str) or not value:
                raise ConfigError(f"{name} must be a str that is not empty (got {shown})")
            if name != "token" and label_text(value) != value:
                raise ConfigError(f"{name} must be text that UTF-8 can encode (got {shown})")
        if self.api not in (None, 3):
            raise ConfigError(f"api must be None or 3 (got {self.api!r})")
        if self.database is None and (self.api == 3 or self.retention_policy is not None):
            raise ConfigError("api=3 and retention_policy go with a database, not with a bucket")
        if self.api == 3 and self.retention_policy is not None:
            raise ConfigError("retention_policy belongs to InfluxDB 1: api=3 has none")
        if self.bucket is None and self.org is not None:
            raise ConfigError("org goes with a bucket")

    @property
    def path(self) -> str:
        """The path to write to, below the base URL."""
        if self.bucket is not None:
            return "/api/v2/write"
        return "/api/v3/write_lp" if self.api == 3 else "/write"

    @property
    def params(self) -> dict[str, str]:
        """The query parameters."""
        if self.bucket is not None:
            return {"bucket": self.bucket, **({"org": self.org} if self.org else {}), "precision": "ns"}
        database = {"db": self.database or ""}
        if self.api == 3:
            return {**database, "precision": "nanosecond", "accept_partial": "true"}
        return {**database, "precision": "ns", **({"rp": self.retention_policy} if self.retention_policy else {})}

    @property
    def scheme(self) -> str:
        """The token's scheme: ``Token`` for a bucket (InfluxDB 1.8 also accepts this), otherwise ``Bearer``."""
        return "Bearer" if self.bucket is None else "Token"
