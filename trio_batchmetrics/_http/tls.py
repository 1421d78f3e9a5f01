"""TLS: which certificates are trusted."""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path
from typing import Any, cast

from ..abc import ConfigError

__all__ = ["Verify", "checked_verify", "tls_context"]

Verify = bool | str | os.PathLike[str] | ssl.SSLContext
"""Whether to check certificates, or which ones to trust."""

_ENVIRONMENT = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Environment variables that name the certificates of Python's default context (``ssl.get_default_verify_paths``)."""


def checked_verify(verify: Any) -> Verify:
    """Return ``verify=``, once it is certain that a TLS context can be built from it.

    Raises:
        ConfigError: it has the wrong type, or is a path without certificates; the message has the path and the reason.
    """
    if isinstance(verify, bool | ssl.SSLContext):
        return verify
    if not isinstance(verify, str | os.PathLike):
        raise ConfigError(f"verify must be a bool, a path or an ssl.SSLContext (got {type(verify).__name__})")
    path = cast("str | os.PathLike[str]", verify)
    if not os.fspath(path):  # pathlib would treat it as the current folder
        raise ConfigError("verify must be a file or folder of certificates (got '')")
    try:
        if not Path(path).is_dir() and not stat.S_ISREG(Path(path).stat().st_mode):
            raise ConfigError("it is neither a regular file nor a folder")
        _context_of(path)
    except (OSError, ValueError, TypeError) as exc:  # an ssl.SSLError is an OSError
        reason = (exc.strerror or type(exc).__name__) if isinstance(exc, OSError) else str(exc)
        raise ConfigError(f"verify must be a file or folder of certificates (got {verify!r}: {reason})") from None
    return Path(path).absolute()


def tls_context(httpx: Any, verify: Verify) -> ssl.SSLContext:
    """Return a TLS context. Reads files.

    Args:
        httpx: the module httpx2, which knows where this system keeps its certificates.
        verify: which certificates to trust.

    Raises:
        OSError: the certificates cannot be read.
    """
    if isinstance(verify, ssl.SSLContext):
        return verify
    if not isinstance(verify, bool):
        return _context_of(verify)
    if verify and any(os.environ.get(name) for name in _ENVIRONMENT):
        return ssl.create_default_context()  # reads both variables, as OpenSSL does
    made: ssl.SSLContext = httpx.create_ssl_context(verify=verify, trust_env=False)
    return made


def _context_of(path: str | os.PathLike[str]) -> ssl.SSLContext:
    if Path(path).is_dir():
        return ssl.create_default_context(capath=path)
    return ssl.create_default_context(cafile=path)
