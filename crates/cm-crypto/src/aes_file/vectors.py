"""Makes the vectors in `vectors`: python3 vectors.py

Byte layouts are those of the earlier storage library; the cryptography is that of Python's `cryptography`.
"""

import hashlib
import pathlib

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = pathlib.Path(__file__).parent / "vectors"


def some(what, length):
    """Bytes that are the same in each run."""
    return hashlib.shake_256(what.encode()).digest(length)


lines = []
for bits in (128, 192, 256):
    for length in (0, 1, 16, 47, 64, 200):
        name = f"{bits} {length}"
        key, nonce, plaintext = some("key " + name, bits // 8), some("nonce " + name, 16), some("text " + name, length)
        aad = some("aad " + name, length % 21)
        sealed = AESGCM(key).encrypt(nonce, plaintext, aad)
        ciphertext, tag = sealed[:-16], sealed[-16:]
        parts = [key, aad, plaintext, ciphertext + nonce + tag, tag + ciphertext + nonce]
        lines.append(" ".join(part.hex() or "-" for part in parts))
(HERE / "aes.txt").write_text("\n".join(lines) + "\n")

pair = {}
for name in ("alice", "bob"):
    pair[name] = X25519PrivateKey.from_private_bytes(some(name, 32))
    (HERE / name).write_bytes(
        pair[name].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    (HERE / (name + ".pub")).write_bytes(
        pair[name].public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
(HERE / "shared.hex").write_text(pair["alice"].exchange(pair["bob"].public_key()).hex() + "\n")
