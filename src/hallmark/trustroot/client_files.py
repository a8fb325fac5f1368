"""What clients need to know about a new instance: its trusted root, its signing config, and their files.

Service URLs follow from the base URL: the CA, the log and the OpenID issuer by their standard paths, the
CT log below `/ctlog`, the timestamp authority by its full URL, as clients expect it.
"""

from datetime import datetime
from typing import Final

import msgspec
from cryptography import x509

from hallmark.core.keys import PublicKey
from hallmark.core.note import note_key_hash
from hallmark.core.signing_config import ANY, ClientTrustConfig, Service, SigningConfig
from hallmark.core.trusted_root import CertificateAuthority, TransparencyLog, TrustedRoot, Validity

TRUSTED_ROOT_TARGET: Final = "trusted_root.json"
SIGNING_CONFIG_TARGET: Final = "signing_config.v0.2.json"


class InstanceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The public facts of a new instance, which it keeps for ever.

    `base_url` has no slash at its end. Chains are DER: `ca_chain` from the issuing CA to the root,
    `tsa_chain` from the leaf to the root. `log_origin` is the origin in the log's checkpoints, `log_url` the
    URL that names the log in the trusted root. `start` is when everything begins to count: a whole second,
    and before anything was signed.
    """

    base_url: str
    operator: str
    start: datetime
    ca_chain: tuple[bytes, ...]
    ct_log_key: PublicKey
    log_key: PublicKey
    log_origin: str
    log_url: str
    tsa_chain: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if self.start.microsecond:
            # Timestamps have whole seconds: one made in the same second would lie before the start.
            raise ValueError("the validity of an instance starts at a whole second")


def instance_trusted_root(facts: InstanceFacts) -> TrustedRoot:
    """Say what to trust of a new instance."""
    return TrustedRoot(
        tlogs=(_log(facts, facts.log_url, facts.log_key, note_key_hash(facts.log_origin, facts.log_key)),),
        ctlogs=(_log(facts, f"{facts.base_url}/ctlog", facts.ct_log_key, facts.ct_log_key.key_id),),
        certificate_authorities=(_authority(facts, facts.base_url, facts.ca_chain),),
        timestamp_authorities=(_authority(facts, _tsa_url(facts), facts.tsa_chain),),
    )


def instance_signing_config(facts: InstanceFacts) -> SigningConfig:
    """Say which services of a new instance to sign with."""
    return SigningConfig(
        ca_urls=(_service(facts, facts.base_url, 1),),
        oidc_urls=(_service(facts, f"{facts.base_url}/oidc", 1),),
        rekor_tlog_urls=(_service(facts, facts.base_url, 2),),
        rekor_tlog_config=ANY,
        tsa_urls=(_service(facts, _tsa_url(facts), 1),),
        tsa_config=ANY,
    )


def tuf_targets(trusted_root: TrustedRoot, signing_config: SigningConfig) -> dict[str, bytes]:
    """Print both as target files under the names that clients look for."""
    return {
        TRUSTED_ROOT_TARGET: trusted_root.to_json(),
        SIGNING_CONFIG_TARGET: signing_config.to_json(),
    }


def client_files(
    trusted_root: TrustedRoot, signing_config: SigningConfig, tuf_root: bytes
) -> dict[str, bytes]:
    """Print the files of the folder `client`, by name."""
    return {
        "trusted_root.json": trusted_root.to_json(),
        "signing_config.json": signing_config.to_json(),
        "client_trust_config.json": ClientTrustConfig(trusted_root, signing_config).to_json(),
        "root.json": tuf_root,
    }


def _tsa_url(facts: InstanceFacts) -> str:
    return f"{facts.base_url}/api/v1/timestamp"


def _log(facts: InstanceFacts, url: str, key: PublicKey, log_id: bytes) -> TransparencyLog:
    return TransparencyLog(
        base_url=url,
        key=key,
        key_details=key.algorithm.key_details,
        log_id=log_id,
        valid_for=Validity(facts.start),
        operator=facts.operator,
    )


def _authority(facts: InstanceFacts, url: str, chain: tuple[bytes, ...]) -> CertificateAuthority:
    subject = x509.load_der_x509_certificate(chain[0]).subject
    return CertificateAuthority(
        organization=_attribute(subject, x509.NameOID.ORGANIZATION_NAME),
        common_name=_attribute(subject, x509.NameOID.COMMON_NAME),
        uri=url,
        certificates=chain,
        valid_for=Validity(facts.start),
        operator=facts.operator,
    )


def _attribute(name: x509.Name, oid: x509.ObjectIdentifier) -> str:
    found = name.get_attributes_for_oid(oid)
    return str(found[0].value) if found else ""


def _service(facts: InstanceFacts, url: str, version: int) -> Service:
    return Service(
        url=url, major_api_version=version, valid_for=Validity(facts.start), operator=facts.operator
    )
