# SPDX-License-Identifier: GPL-2.0-or-later
"""A certificate authority for a small team, and a certificate for each of its hosts. The door to cryptography's X.509.

    DIR/ca-key.pem            who has it can add hosts: keep it off them
    DIR/NAME/ca.pem cert.pem key.pem   what the host NAME needs, a directory to copy

A certificate is worth the right to run code on every host of the cluster.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab.core.cache import explain_os_error
from lab.core.errors import InputError, UsageError
from lab.core.paths import exists
from lab.specs.load import NAME

DAYS = 365
CA_DAYS = 3650
EARLIER = timedelta(hours=1)
"""A certificate is valid from a while ago: the clocks of hosts differ."""
CA_KEY, CA_CERT = "ca-key.pem", "ca.pem"


def make(directory: Path, names: Sequence[str], *, days: int = DAYS, now: datetime | None = None) -> list[Path]:
    """Make a certificate for each host, and the authority first if there is none; return the hosts' directories.

    UsageError if a host has one already.
    """
    for name in names:
        if not NAME.fullmatch(name):
            raise UsageError(f"{name!r}: expected a host's name of letters, digits and . _ + -")
        if exists(directory / name):
            raise UsageError(f"{directory / name} is there already", hint="remove it to make a new certificate")
    now = now or datetime.now(UTC)
    try:
        key, authority = _authority(directory, now)
        return [_host(directory / name, name, key, authority, days, now) for name in names]
    except OSError as error:
        raise explain_os_error(error, str(directory)) from error


def expires(path: Path) -> datetime:
    """Return when a certificate expires; InputError if the file has none."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except OSError as error:
        raise InputError(path, None, None, f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise InputError(path, None, None, "expected a certificate in PEM") from None


def _authority(directory: Path, now: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Return the authority in a directory, made if it is not there."""
    key_file, cert_file = directory / CA_KEY, directory / CA_CERT
    if exists(key_file):
        return _read_authority(key_file, cert_file)
    directory.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = _named("pagelab cluster")
    builder = _builder(name, name, key.public_key(), now, CA_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    cert = builder.sign(key, hashes.SHA256())
    _write(key_file, _private(key), 0o600)
    _write(cert_file, cert.public_bytes(serialization.Encoding.PEM), 0o644)
    return key, cert


def _read_authority(key_file: Path, cert_file: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        cert = x509.load_pem_x509_certificate(cert_file.read_bytes())
    except ValueError:
        raise InputError(
            key_file, None, None, "expected the key of `lab cluster certs`, with ca.pem beside it"
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InputError(key_file, None, None, "expected the key of `lab cluster certs`")
    return key, cert


def _host(
    directory: Path,
    name: str,
    ca_key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    days: int,
    now: datetime,
) -> Path:
    """Make the certificate of one host, for both directions of TLS."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_named(name), authority.subject, key.public_key(), now, days)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    cert = builder.sign(ca_key, hashes.SHA256())
    directory.mkdir(parents=True)
    _write(directory / "key.pem", _private(key), 0o600)
    _write(directory / "cert.pem", cert.public_bytes(serialization.Encoding.PEM), 0o644)
    _write(directory / CA_CERT, authority.public_bytes(serialization.Encoding.PEM), 0o644)
    return directory


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + timedelta(days=days))
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a file that only `mode` may read, from its first byte on."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
