"""Certificates of a CA of the test's own, as PEM files: good ones, and each kind of bad one."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import (
    PKCS12Certificate,
    serialize_java_truststore,
    serialize_key_and_certificates,
)
from cryptography.x509 import load_pem_x509_certificate


@dataclass(frozen=True)
class Pair:
    """A certificate chain and its key, both PEM files."""

    certificate: Path
    key: Path

    def pkcs12(self, password: str) -> Path:
        """The pair as a Java keystore, beside the PEM files."""
        file = self.certificate.with_suffix(".p12")
        file.write_bytes(
            serialize_key_and_certificates(
                b"node",
                load_pem_private_key(self.key.read_bytes(), None),  # type: ignore[arg-type]
                load_pem_x509_certificate(self.certificate.read_bytes()),
                None,
                BestAvailableEncryption(password.encode()),
            )
        )
        return file


class Authority:
    """A CA; `ca` is its certificate as a PEM file."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self.ca = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(str(self.ca))

    def truststore(self, password: str) -> Path:
        """A Java truststore (PKCS12) that knows this CA alone."""
        certificate = load_pem_x509_certificate(self.ca.read_bytes())
        file = self.ca.with_suffix(".p12")
        file.write_bytes(
            serialize_java_truststore(
                [PKCS12Certificate(certificate, b"ca")], BestAvailableEncryption(password.encode())
            )
        )
        return file

    def issue(self, *hosts: str, name: str = "server", is_expired: bool = False) -> Pair:
        """A certificate for names or addresses; `is_expired` since yesterday."""
        now = datetime.datetime.now(datetime.UTC)
        issued = self._ca.issue_cert(
            *hosts,
            common_name=hosts[0],
            not_before=now - datetime.timedelta(days=30),
            not_after=now + datetime.timedelta(days=-1 if is_expired else 1),
        )
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        with certificate.open("wb") as file:
            for blob in issued.cert_chain_pems:
                file.write(blob.bytes())
        issued.private_key_pem.write_to_path(str(key))
        key.chmod(0o600)
        return Pair(certificate, key)
