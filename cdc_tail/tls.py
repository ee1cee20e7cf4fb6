"""TLS as Python's `ssl` wants it, and what its refusals mean to a person; opens no connection."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from cdc_tail.errors import ConfigError
from cdc_tail.settings_base import ServerTlsSettings, TlsSettings

# What OpenSSL, libpq and the drivers say, and what helps: the first that is found counts.
_MEANINGS: Final = (
    (
        ("certificate has expired", "certificate expired"),
        "the server's certificate has expired: renew it on the server",
    ),
    (
        ("hostname mismatch", "does not match host name", "ip address mismatch", "doesn't match"),
        (
            "the server's certificate is for another name: connect to a name that it carries"
            " ({prefix}host), or give it this one as subjectAltName"
        ),
    ),
    (
        ("unknown ca", "certificate required", "bad certificate", "requires a valid client cert"),
        (
            "the server wants a certificate of ours: set {prefix}tls.certificate and"
            " {prefix}tls.key, signed by a CA that it knows"
        ),
    ),
    (
        ("root certificate file",),
        "set {prefix}tls.ca to the CA certificate (PEM) that signed the server's",
    ),
    (
        ("self-signed certificate", "self signed certificate", "unable to get local issuer"),
        "no known CA signed the server's certificate: set {prefix}tls.ca to the one (PEM) that did",
    ),
    (
        # All that libpq tells.
        ("certificate verify failed",),
        (
            "no known CA signed the server's certificate, or it has expired: set {prefix}tls.ca to"
            " the one (PEM) that did, or renew it on the server"
        ),
    ),
    (
        ("does not support ssl", "wrong_version_number", "wrong version number", "record layer"),
        (
            "the server does not speak TLS: switch it on there, or, where nobody can listen on the"
            " way, set {prefix}tls.mode to disable"
        ),
    ),
)


def meaning(error: object, prefix: str) -> str | None:
    """What to do about a failure of TLS, None where the message is about something else.

    `prefix` is the section that holds the connection's settings, "postgres." for one.
    """
    said = str(error).lower()
    for words, cure in _MEANINGS:
        if any(word in said for word in words):
            return cure.format(prefix=prefix)
    return None


def client_context(settings: TlsSettings, prefix: str, *hosts: str) -> ssl.SSLContext | None:
    """The context for a connection to `hosts`; None where it goes in the clear.

    Raises ConfigError naming the setting whose file can't be used.
    """
    mode = settings.mode_for(*hosts)
    if mode == "disable":
        return None
    context = ssl.create_default_context()
    if mode == "require":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.check_hostname = mode == "verify-full"
        if settings.ca is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = mode == "verify-full"
            _load_ca(context, settings.ca, f"{prefix}tls.ca")
    password = settings.key_password.get_secret_value() if settings.key_password else None
    _load_own(context, settings.certificate, settings.key, password, f"{prefix}tls")
    return context


def server_context(settings: ServerTlsSettings) -> ssl.SSLContext | None:
    """The context of our HTTP server; None where it speaks plain HTTP."""
    if settings.certificate is None:
        if settings.key is not None or settings.client_ca is not None:
            raise ConfigError(
                "http.tls is set in part: there is no http.tls.certificate",
                hint="set http.tls.certificate and http.tls.key, or neither",
            )
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    password = settings.key_password.get_secret_value() if settings.key_password else None
    _load_own(context, settings.certificate, settings.key, password, "http.tls")
    if settings.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _load_ca(context, settings.client_ca, "http.tls.client_ca")
    return context


def _load_ca(context: ssl.SSLContext, file: Path, key: str) -> None:
    try:
        context.load_verify_locations(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"{key}: {file} can't be used: {_reason(error)}",
            hint="name a readable file with one or more CA certificates in PEM form",
        ) from error


def _load_own(
    context: ssl.SSLContext,
    certificate: Path | None,
    key: Path | None,
    password: str | None,
    at: str,
) -> None:
    if certificate is None:
        if key is not None:
            raise ConfigError(f"{at}.key is set without {at}.certificate", hint="set both")
        return
    try:
        # An empty password instead of none: OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate, key, password or "")
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"{at}: {certificate} with {key or 'no key file'} can't be used: {_reason(error)}",
            hint=f"{at}.certificate and {at}.key must be readable PEM files that belong together,"
            f" {at}.key_password the key's password",
        ) from error


def _reason(error: OSError) -> str:
    # A mismatch has no strerror worth reading; OpenSSL's reason says it.
    return str(getattr(error, "reason", None) or error.strerror or error)
