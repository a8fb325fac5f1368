"""Log entries of kind hashedrekord: 0.0.2 (Rekor v2) and 0.0.1 (Rekor v1).

{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{
    "data":{"algorithm":"SHA2_256","digest":b64},
    "signature":{"content":b64,"verifier":{"keyDetails":"PKIX_ECDSA_P256_SHA_256",
                 "publicKey":{"rawBytes":b64} | "x509Certificate":{"rawBytes":b64}}}}}}

{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{
    "data":{"hash":{"algorithm":"sha256","value":hex}},
    "signature":{"content":b64,"publicKey":{"content":b64(PEM of a certificate or key)}}}}

Bodies are canonical JSON (RFC 8785): sorted keys, no white space.
"""

from binascii import b2a_base64
from typing import Final, Literal

import msgspec

from hallmark.core.algorithms import Algorithm, HashAlgorithm, parse_key_details
from hallmark.core.encoding.json_document import decode_document
from hallmark.core.entries.pem import pem_to_der
from hallmark.core.entries.signed_content import SignedContent, check_equal
from hallmark.core.tiles import MAX_ENTRY_BYTES
from hallmark.errors import MalformedInput

MAX_V001_BYTES: Final = 1024 * 1024

_BODY_V002: Final = (
    b'{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":'
    b'{"data":{"algorithm":"%b","digest":"%b"},"signature":{"content":"%b","verifier":'
    b'{"keyDetails":"%b",%b"%b"}}}}}}'
)
_PUBLIC_KEY: Final = b'"publicKey":{"rawBytes":'
_CERTIFICATE: Final = b'"x509Certificate":{"rawBytes":'


class HashedRekordV002(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a hashedrekord 0.0.2: a signature over a digest, and its verifier (DER)."""

    digest: bytes
    signature: bytes
    algorithm: Algorithm
    verifier: bytes
    is_certificate: bool

    @property
    def hash_algorithm(self) -> HashAlgorithm:
        """The hash of the digest; the key details fix it."""
        if self.algorithm.hash is None:
            raise MalformedInput(f"a hashedrekord cannot be signed with {self.algorithm.name}")
        return self.algorithm.hash

    def to_bytes(self) -> bytes:
        """Print the canonical body."""
        verifier = {"certificate" if self.is_certificate else "public_key": self.verifier}
        return hashedrekord_v002_body(
            self.digest, self.hash_algorithm, self.signature, self.algorithm.key_details, **verifier
        )

    def check(self, content: SignedContent) -> None:
        """Check that the entry is about this signature; raises `InvalidEntry`."""
        check_equal(self.is_certificate, content.certificate is not None, "kind of verifier")
        check_equal(self.verifier, content.verifier, "certificate or key")
        check_equal(self.signature, content.signature, "signature")
        check_equal(self.hash_algorithm, content.hash_algorithm, "hash algorithm")
        check_equal(self.digest, content.digest, "digest")


def hashedrekord_v002_body(
    digest: bytes,
    hash_algorithm: HashAlgorithm,
    signature: bytes,
    key_details: str,
    *,
    certificate: bytes = b"",
    public_key: bytes = b"",
) -> bytes:
    """Print the canonical body of a hashedrekord 0.0.2 with either a certificate or a key (DER).

    A template, because every value is base64 or a name of the registry: nothing needs escaping, and the
    log server prints one for each entry. Raises `ValueError` for both or neither verifier.
    """
    if bool(certificate) == bool(public_key):
        raise ValueError("a hashedrekord has either a certificate or a public key")
    return _BODY_V002 % (
        hash_algorithm.wire_name.encode("ascii"),
        b2a_base64(digest, newline=False),
        b2a_base64(signature, newline=False),
        key_details.encode("ascii"),
        _CERTIFICATE if certificate else _PUBLIC_KEY,
        b2a_base64(certificate or public_key, newline=False),
    )


class _Strict(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    pass


class _RawBytes(_Strict, frozen=True):
    raw_bytes: bytes


class _Verifier(_Strict, frozen=True):
    key_details: str
    public_key: _RawBytes | None = None
    x509_certificate: _RawBytes | None = None


class _SignatureV002(_Strict, frozen=True):
    content: bytes
    verifier: _Verifier


class _DataV002(_Strict, frozen=True):
    algorithm: str
    digest: bytes


class _HashedRekordV002(_Strict, frozen=True):
    data: _DataV002
    signature: _SignatureV002


class _SpecV002(_Strict, frozen=True):
    hashed_rekord_v002: _HashedRekordV002 = msgspec.field(name="hashedRekordV002")


class _EntryV002(_Strict, frozen=True):
    api_version: Literal["0.0.2"]
    kind: Literal["hashedrekord"]
    spec: _SpecV002


_DECODER_V002: Final = msgspec.json.Decoder(_EntryV002)


def parse_hashedrekord_v002(body: bytes) -> HashedRekordV002:
    """Read a body; raises `MalformedInput` for anything that `to_bytes` would not print."""
    what = "the hashedrekord entry"
    decoded = decode_document(_DECODER_V002, body, what=what, max_bytes=MAX_ENTRY_BYTES, canonical=True)
    found = decoded.spec.hashed_rekord_v002
    verifier = found.signature.verifier
    certificate, key = verifier.x509_certificate, verifier.public_key
    chosen = certificate or key
    if chosen is None:  # with both, the body is not what `to_bytes` prints
        raise MalformedInput(f"{what} has no verifier")
    entry = HashedRekordV002(
        digest=found.data.digest,
        signature=found.signature.content,
        algorithm=parse_key_details(verifier.key_details),
        verifier=chosen.raw_bytes,
        is_certificate=certificate is not None,
    )
    if not entry.verifier or entry.to_bytes() != body:
        raise MalformedInput(f"{what} is not canonical")
    return entry


class HashedRekordV001(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a hashedrekord 0.0.1; `digest` is hex as logged, `verifier` the DER inside its PEM."""

    hash_name: str
    digest: str
    signature: bytes
    verifier: bytes

    def check(self, content: SignedContent) -> None:
        """Check that the entry is about this signature; raises `InvalidEntry`."""
        check_equal(self.verifier, content.verifier, "certificate or key")
        check_equal(self.signature, content.signature, "signature")
        check_equal(self.hash_name, content.hash_algorithm.name, "hash algorithm")
        check_equal(self.digest.lower(), content.digest.hex(), "digest")


class _PublicKeyV001(_Strict, frozen=True):
    content: bytes


class _SignatureV001(_Strict, frozen=True):
    content: bytes
    public_key: _PublicKeyV001


class _HashV001(_Strict, frozen=True):
    algorithm: str
    value: str


class _DataV001(_Strict, frozen=True):
    hash: _HashV001


class _SpecV001(_Strict, frozen=True):
    data: _DataV001
    signature: _SignatureV001


class _EntryV001(_Strict, frozen=True):
    api_version: Literal["0.0.1"]
    kind: Literal["hashedrekord"]
    spec: _SpecV001


_DECODER_V001: Final = msgspec.json.Decoder(_EntryV001)


def parse_hashedrekord_v001(body: bytes) -> HashedRekordV001:
    """Read a body; raises `MalformedInput`."""
    found = decode_document(_DECODER_V001, body, what="the hashedrekord entry", max_bytes=MAX_V001_BYTES).spec
    return HashedRekordV001(
        hash_name=found.data.hash.algorithm,
        digest=found.data.hash.value,
        signature=found.signature.content,
        verifier=pem_to_der(found.signature.public_key.content),
    )
