"""What an instance tells its clients to trust and to use: trusted root, signing config, its description."""

import hashlib
from datetime import datetime
from typing import Final

import msgspec

from hallmark.core.keys import PublicKey
from hallmark.core.signing_config import ClientTrustConfig, Selector, Service, SigningConfig
from hallmark.core.trusted_root import CertificateAuthority, TransparencyLog, TrustedRoot, Validity
from hallmark.wiring.layout import InstanceFile

TRUSTED_ROOT: Final = "trusted_root.json"
SIGNING_CONFIG_TARGET: Final = "signing_config.v0.2.json"
CLIENT_FILES: Final = (TRUSTED_ROOT, "signing_config.json", "client_trust_config.json", "root.json")
ORGANIZATION: Final = "Hallmark"


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """The public half of an instance. Chains are DER: CA from the issuing certificate, TSA from the leaf."""

    ca_chain: tuple[bytes, ...]
    tsa_chain: tuple[bytes, ...]
    ctlog_key: PublicKey
    tlog_key: PublicKey
    tlog_id: bytes
    start: datetime


def trusted_root(instance: InstanceFile, material: Material) -> TrustedRoot:
    """Build the trusted root of a new instance."""
    base, valid = instance.base_url, Validity(material.start)
    tlog = TransparencyLog(
        base_url=base,
        key=material.tlog_key,
        key_details=material.tlog_key.algorithm.key_details,
        log_id=material.tlog_id,
        valid_for=valid,
        operator=instance.public_host,
    )
    ctlog = TransparencyLog(
        base_url=f"{base}/ctlog",
        key=material.ctlog_key,
        key_details=material.ctlog_key.algorithm.key_details,
        log_id=material.ctlog_key.key_id,
        valid_for=valid,
        operator=instance.public_host,
    )
    return TrustedRoot(
        tlogs=(tlog,),
        certificate_authorities=(_authority(base, "CA", material.ca_chain, valid, instance),),
        ctlogs=(ctlog,),
        timestamp_authorities=(_authority(base, "TSA", material.tsa_chain, valid, instance),),
    )


def _authority(
    base: str, name: str, chain: tuple[bytes, ...], valid: Validity, instance: InstanceFile
) -> CertificateAuthority:
    return CertificateAuthority(
        organization=ORGANIZATION,
        common_name=f"{ORGANIZATION} {name}",
        uri=base if name == "CA" else f"{base}/api/v1/timestamp",
        certificates=chain,
        valid_for=valid,
        operator=instance.public_host,
    )


def signing_config(instance: InstanceFile, material: Material) -> SigningConfig:
    """Build the signing config of a new instance."""
    base = instance.base_url

    def service(url: str, version: int) -> tuple[Service, ...]:
        return (
            Service(
                url=url,
                major_api_version=version,
                valid_for=Validity(material.start),
                operator=instance.public_host,
            ),
        )

    return SigningConfig(
        ca_urls=service(base, 1),
        oidc_urls=service(f"{base}/oidc", 1),
        rekor_tlog_urls=service(base, 2),
        rekor_tlog_config=Selector("ANY"),
        tsa_urls=service(f"{base}/api/v1/timestamp", 1),
        tsa_config=Selector("ANY"),
    )


def client_files(root: TrustedRoot, config: SigningConfig, tuf_root: bytes) -> dict[str, bytes]:
    """Print the files that clients take, by their names."""
    return {
        TRUSTED_ROOT: root.to_json(),
        "signing_config.json": config.to_json(),
        "client_trust_config.json": ClientTrustConfig(root, config).to_json(),
        "root.json": tuf_root,
    }


def description(instance: InstanceFile, tuf_root: bytes) -> dict[str, object]:
    """Describe the instance for `/.well-known/hallmark.json`. Nobody need believe it: roots are pinned."""
    base = instance.base_url
    configs = f"{base}/.well-known/hallmark"
    return {
        "base_url": base,
        "services": {
            "ca": base,
            "tlog": base,
            "tsa": f"{base}/api/v1/timestamp",
            "oidc": f"{base}/oidc",
            "ctlog": f"{base}/ctlog",
            "tuf": f"{base}/tuf",
        },
        "configs": {
            "trusted_root": f"{configs}/{TRUSTED_ROOT}",
            "signing_config": f"{configs}/signing_config.json",
            "client_trust_config": f"{configs}/client_trust_config.json",
            "root": f"{base}/tuf/1.root.json",
        },
        "root_fingerprint": hashlib.sha256(tuf_root).hexdigest(),
    }
