"""What every section of the settings is built on; names no setting of its own but TLS's."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

Port = Annotated[int, Field(ge=1, le=65535)]
TlsMode = Literal["auto", "disable", "require", "verify-ca", "verify-full"]


class Section(BaseModel):
    """A group of settings: immutable, and a name that is none of its own is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class TlsSettings(Section):
    """How a connection that we open is encrypted, and whom it may reach."""

    mode: TlsMode = Field(
        default="auto",
        description="verify-full: the server's certificate must be signed by a known CA and name"
        " the host; verify-ca: any host; require: encrypted, but to anybody; disable: in the clear."
        " auto: verify-full, and in the clear only to this machine (loopback or socket).",
    )
    ca: Path | None = Field(
        default=None,
        description="CA certificates (PEM) that may sign the server's; the system's when not"
        " given.",
    )
    certificate: Path | None = Field(
        default=None, description="Our certificate (PEM), where the server asks for one (mTLS)."
    )
    key: Path | None = Field(default=None, description="Key (PEM) of our certificate.")
    key_password: SecretStr | None = Field(
        default=None, description="Password of the key, if it has one."
    )

    def mode_for(self, *hosts: str) -> TlsMode:
        """What `auto` means for these hosts; any other mode as it is."""
        if self.mode != "auto":
            return self.mode
        return "disable" if all(map(is_this_machine, hosts)) else "verify-full"


class ServerTlsSettings(Section):
    """The certificate that our HTTP server shows, and whose it asks for."""

    certificate: Path | None = Field(
        default=None, description="Certificate chain (PEM); with it, HTTP becomes HTTPS."
    )
    key: Path | None = Field(default=None, description="Key (PEM) of the certificate.")
    key_password: SecretStr | None = Field(
        default=None, description="Password of the key, if it has one."
    )
    ca: Path | None = Field(
        default=None,
        description="CA certificates (PEM) by which `cdc-tail status` knows the server; the"
        " system's when not given.",
    )
    client_ca: Path | None = Field(
        default=None,
        description="CA certificates (PEM): every client must show a certificate of theirs (mTLS),"
        " probes too.",
    )


def is_this_machine(host: str) -> bool:
    """Whether a connection to `host` never leaves this machine: a socket's folder, or loopback."""
    if host in ("", "localhost") or host.startswith(("/", "@")):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
