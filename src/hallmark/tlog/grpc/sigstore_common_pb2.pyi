from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class PublicKeyDetails(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PUBLIC_KEY_DETAILS_UNSPECIFIED: _ClassVar[PublicKeyDetails]
    PKIX_ECDSA_P256_SHA_256: _ClassVar[PublicKeyDetails]
    PKIX_ED25519: _ClassVar[PublicKeyDetails]
    PKIX_ED25519_PH: _ClassVar[PublicKeyDetails]
    PKIX_RSA_PKCS1V15_2048_SHA256: _ClassVar[PublicKeyDetails]
    PKIX_RSA_PKCS1V15_3072_SHA256: _ClassVar[PublicKeyDetails]
    PKIX_RSA_PKCS1V15_4096_SHA256: _ClassVar[PublicKeyDetails]
    PKIX_ECDSA_P384_SHA_384: _ClassVar[PublicKeyDetails]
    PKIX_ECDSA_P521_SHA_512: _ClassVar[PublicKeyDetails]
    PKIX_ECDSA_P384_SHA_256: _ClassVar[PublicKeyDetails]
    PKIX_ECDSA_P521_SHA_256: _ClassVar[PublicKeyDetails]
PUBLIC_KEY_DETAILS_UNSPECIFIED: PublicKeyDetails
PKIX_ECDSA_P256_SHA_256: PublicKeyDetails
PKIX_ED25519: PublicKeyDetails
PKIX_ED25519_PH: PublicKeyDetails
PKIX_RSA_PKCS1V15_2048_SHA256: PublicKeyDetails
PKIX_RSA_PKCS1V15_3072_SHA256: PublicKeyDetails
PKIX_RSA_PKCS1V15_4096_SHA256: PublicKeyDetails
PKIX_ECDSA_P384_SHA_384: PublicKeyDetails
PKIX_ECDSA_P521_SHA_512: PublicKeyDetails
PKIX_ECDSA_P384_SHA_256: PublicKeyDetails
PKIX_ECDSA_P521_SHA_256: PublicKeyDetails

class LogId(_message.Message):
    __slots__ = ("key_id",)
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    key_id: bytes
    def __init__(self, key_id: _Optional[bytes] = ...) -> None: ...

class X509Certificate(_message.Message):
    __slots__ = ("raw_bytes",)
    RAW_BYTES_FIELD_NUMBER: _ClassVar[int]
    raw_bytes: bytes
    def __init__(self, raw_bytes: _Optional[bytes] = ...) -> None: ...
