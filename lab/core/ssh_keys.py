# SPDX-License-Identifier: GPL-2.0-or-later
"""Ed25519 keys for SSH: made in memory, in the formats that paramiko and dropbear read."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key for one run; it exists in the lab's memory only."""

    private: str
    """OpenSSH's PEM."""
    public: str
    """`ssh-ed25519 AAAA...`, a line for authorized_keys."""

    @classmethod
    def generate(cls) -> KeyPair:
        key = Ed25519PrivateKey.generate()
        return cls(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode(), _public(key))


def dropbear_host_key() -> tuple[bytes, str]:
    """A new host key: the private one in dropbear's file format, the public one in OpenSSH's.

    dropbear's file is two SSH strings: the type, then 32 bytes of seed and 32 bytes of public key.
    """
    key = Ed25519PrivateKey.generate()
    seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return b"".join(len(part).to_bytes(4, "big") + part for part in (b"ssh-ed25519", seed + public)), _public(key)


def _public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
