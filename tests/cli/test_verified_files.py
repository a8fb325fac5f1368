"""Files verified in this process: what is found for each, what is hashed, and what is said of it."""

import json
import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.support.verifying import ALICE
from tests.support.world import MESSAGE, NOW, a_statement, public_key, sign

from hallmark.client.artifact import parse_digest
from hallmark.client.renewing import RenewingVerifiers, RootMaterial
from hallmark.client.signature_files import find_signatures, read_signatures, without_signatures
from hallmark.client.streams import descriptor_of, digest_input, read_input
from hallmark.client.verifying import FileVerifier, Item, Signer
from hallmark.core.algorithms import SHA2_256
from hallmark.core.bundle import Bundle, MessageSignature
from hallmark.core.dsse import IN_TOTO_PAYLOAD_TYPE, Envelope, EnvelopeSignature, pae
from hallmark.errors import ConfigurationError, HallmarkError, MalformedInput, SignatureNotFound
from hallmark.policy.identity import Identity
from hallmark.verify.verifier import Thresholds, Verifier

KEY = Signer(key=public_key("p256-bare"))
ED25519 = Signer(key=public_key("ed25519-bare"))
UNLOGGED = Thresholds(tlog=0)
STATEMENT = json.dumps(a_statement()).encode()


@pytest.fixture
def verify(folder, world):
    def act(name, *, signer: Signer | None = None, bundle=None, digest="", thresholds=None):
        material = RootMaterial((world.root,))
        make = lambda roots: tuple(Verifier(root, thresholds or Thresholds()) for root in roots)  # noqa: E731
        verifier = FileVerifier(
            verifiers=RenewingVerifiers(material, make), signer=signer or Signer(policy=ALICE), now=NOW
        )
        return verifier.verify(
            Item(
                name=name,
                path=None if digest else folder / name,
                digest=parse_digest(digest) if digest else None,
                bundle=folder / bundle if isinstance(bundle, str) else bundle,
            )
        )

    return act


def outcome(outcomes) -> str:
    """The code of the one outcome's error; empty where it was verified."""
    (found,) = outcomes
    assert (found.error is None) is (found.verified is not None)
    return found.error.code if found.error else ""


def write(folder, name: str, *bundles: Bundle | bytes) -> str:
    texts = [item if isinstance(item, bytes) else item.to_json() for item in bundles]
    (folder / name).write_bytes(b"\n".join(texts) + b"\n")
    return name


class TestWhatIsFound:
    def test_a_signed_file(self, verify, folder):
        (found,) = verify("app")
        assert found.verified.identity == ALICE.identity
        assert (found.bundle, found.place, found.error) == (folder / "app.sigstore.json", "", None)

    @pytest.mark.parametrize(
        ("name", "bundle", "code"),
        [
            ("nowhere", None, "file_not_found"),
            ("nowhere", "app.sigstore.json", "file_not_found"),
            ("folder", None, "is_a_directory"),
            ("damaged", None, "unreadable_signature"),
            ("app", "app", "not_a_signature"),
            ("x" * 300, None, "name_too_long"),
            ("keyed", None, "key_needed"),
        ],
    )
    def test_what_cannot_be_verified_is_one_error(self, verify, name, bundle, code):
        assert outcome(verify(name, bundle=bundle)) == code

    @pytest.mark.parametrize(("name", "bundle"), [("unsigned", None), ("app", "nowhere")])
    def test_a_missing_signature_is_told_from_a_missing_file(self, verify, name, bundle):
        (found,) = verify(name, bundle=bundle)
        assert isinstance(found.error, SignatureNotFound)

    def test_a_digest_has_no_signature_beside_it(self, verify, values):
        (found,) = verify(values["DIGEST"], digest=values["DIGEST"])
        assert isinstance(found.error, SignatureNotFound)

    def test_nothing_is_read_of_a_file_whose_key_is_not_named(self, verify, folder):
        (folder / "keyed").unlink()
        os.mkfifo(folder / "keyed")  # reading it would wait for ever
        assert outcome(verify("keyed")) == "key_needed"

    def test_a_digest_in_place_of_a_file(self, verify, values):
        digest = values["DIGEST"]
        assert outcome(verify(digest, digest=digest, bundle="app.sigstore.json")) == ""
        other = "sha256:" + "ab" * 32
        assert outcome(verify(other, digest=other, bundle="app.sigstore.json")) == "wrong_artifact"

    def test_a_bundle_from_a_stream(self, verify, folder):
        with (folder / "app.sigstore.json").open("rb") as file:
            assert outcome(verify("app", bundle=f"/dev/fd/{file.fileno()}")) == ""

    def test_a_bundle_from_standard_input(self, verify, folder):
        kept = os.dup(0)
        with (folder / "app.sigstore.json").open("rb") as file:
            os.dup2(file.fileno(), 0)
            try:
                assert outcome(verify("app", bundle=Path("-"))) == ""
            finally:
                os.dup2(kept, 0)
                os.close(kept)


class TestJudgement:
    def test_every_signature_of_a_file_by_itself_and_in_order(self, verify, folder, world):
        good, other = world.bundle(), world.bundle(b"another")
        broken = b'{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}'
        name = write(folder, "five.jsonl", broken, good, other, broken, good)
        found = verify("app", bundle=name)
        assert [item.place for item in found] == [f"bundle {number} of 5" for number in range(1, 6)]
        codes = [item.error.code if item.error else "" for item in found]
        assert (codes[1], codes[2], codes[4]) == ("", "wrong_artifact", "")
        assert codes[0]
        assert codes[3]
        assert {item.bundle for item in found} == {folder / name}

    def test_one_that_needs_a_key_does_not_stop_the_others(self, verify):
        signed, keyed = verify("app", bundle="npm.json")
        assert signed.verified is not None
        assert keyed.error.code == "key_needed"
        assert [item.error for item in verify("app", bundle="npm.json", signer=KEY)][1] is None

    def test_by_key_by_identity_or_under_a_ca_of_one_s_own(self, verify, folder):
        assert outcome(verify("keyed", signer=KEY)) == ""
        assert outcome(verify("keyed", signer=Signer(key=public_key("p256-leaf")))) != ""
        own = x509.load_pem_x509_certificate((folder / "own-root.pem").read_bytes())
        chain = (own.public_bytes(Encoding.DER),)
        assert outcome(verify("own", thresholds=UNLOGGED)) != ""
        assert outcome(verify("own", thresholds=UNLOGGED, signer=Signer(chain=chain))) == ""

    def test_another_signer_is_refused(self, verify):
        bob = Identity(identity="bob@example.com", oidc_issuer=ALICE.oidc_issuer)
        assert outcome(verify("app", signer=Signer(policy=bob))) == "untrusted_identity"

    def test_a_changed_file_is_explained_and_nothing_else_is(self, verify, folder, world):
        (changed,) = verify("tampered")
        assert changed.error.code == "wrong_artifact"
        assert "has changed since it was signed" in changed.error.hint
        forged = write(folder, "forged.json", ed25519(b"another"))
        (found,) = verify("app", signer=ED25519, thresholds=UNLOGGED, bundle=forged)
        assert (found.error.code, found.error.hint) == ("invalid_signature", "")

    def test_what_has_a_better_hint_keeps_it(self, verify, folder):
        subject = {"name": "app", "digest": {"sha1": "ab" * 20}}
        weak = json.dumps({**a_statement(), "subject": [subject]}).encode()
        name = write(folder, "weak.json", ed25519(weak, IN_TOTO_PAYLOAD_TYPE))
        (found,) = verify("app", signer=ED25519, thresholds=UNLOGGED, bundle=name)
        assert found.error.code == "wrong_artifact"
        assert "SHA-256" in found.error.hint

    def test_what_lacks_its_evidence_is_named_for_what_it_is(self, verify, folder, world):
        (bare,) = verify("detached")
        assert bare.error.code in {"no_time", "no_entry"}
        assert "is a detached signature, which carries none" in bare.error.message
        (whole,) = verify("app", bundle=write(folder, "timeless.json", world.bundle(timestamps=())))
        assert whole.error.code == "no_time"
        assert "which carries none" not in whole.error.message
        (found,) = verify("tampered", bundle="cosign.bundle")
        assert found.error.code == "entry_mismatch"
        assert "which carries none" not in found.error.message


class TestHashes:
    def test_signatures_with_different_hashes_take_one_reading(self, verify, folder, world):
        name = write(folder, "two.jsonl", world.bundle(), world.bundle(key="p384-leaf"))
        seen = verify("app", bundle=name)
        assert [item.error for item in seen] == [None, None]

    def test_ed25519_signs_the_message_itself(self, verify, folder):
        message, attested = ed25519(MESSAGE), ed25519(STATEMENT, IN_TOTO_PAYLOAD_TYPE)
        for name, bundles in {"m": [message], "a": [attested], "both": [message, attested]}.items():
            seen = verify("app", signer=ED25519, thresholds=UNLOGGED, bundle=write(folder, name, *bundles))
            assert [item.error for item in seen] == [None] * len(bundles)

    @pytest.mark.parametrize("more", [0, 1])
    def test_such_a_message_has_up_to_64_mebibytes(self, verify, folder, more):
        with (folder / "large").open("wb") as file:
            file.truncate((64 << 20) + more)
        name = write(folder, "m.json", ed25519(MESSAGE))
        code = outcome(verify("large", signer=ED25519, thresholds=UNLOGGED, bundle=name))
        assert code == ("file_too_large" if more else "invalid_signature")

    def test_a_file_of_any_size_may_be_attested_or_signed_by_its_digest(self, verify, folder, world):
        with (folder / "large").open("wb") as file:
            file.truncate((64 << 20) + 1)
        name = write(folder, "k.json", world.key_bundle())
        assert outcome(verify("large", signer=KEY, bundle=name)) not in {"", "file_too_large"}
        name = write(folder, "a.json", ed25519(STATEMENT, IN_TOTO_PAYLOAD_TYPE))
        code = outcome(verify("large", signer=ED25519, thresholds=UNLOGGED, bundle=name))
        assert code == "wrong_artifact"


def ed25519(message: bytes, payload_type: str = "") -> Bundle:
    """Sign a message, or a payload of a type, with a bare Ed25519 key."""
    if not payload_type:
        signed = MessageSignature(None, b"", sign("ed25519-bare", message))
        return Bundle(public_key_hint="hint", message_signature=signed)
    signature = EnvelopeSignature(sign("ed25519-bare", pae(payload_type, message)))
    envelope = Envelope(payload=message, payload_type=payload_type, signatures=(signature,))
    return Bundle(public_key_hint="hint", envelope=envelope)


class TestPlaces:
    def test_the_first_of_the_known_names_is_read(self, folder):
        assert find_signatures(folder / "second").path == folder / "second.sigstore"
        (folder / "second.sigstore.json").write_bytes((folder / "app.sigstore.json").read_bytes())
        assert find_signatures(folder / "second").path == folder / "second.sigstore.json"

    def test_a_detached_signature_has_its_certificate_beside_it(self, folder, world):
        assert find_signatures(folder / "detached").file.bundles[0].bundle.certificate
        assert find_signatures(folder / "keysigned").file.bundles[0].bundle.certificate is None

    def test_a_bundle_may_have_the_name_of_a_detached_signature(self, folder):
        (folder / "app.sig").write_bytes(b" " + (folder / "app.sigstore.json").read_bytes())
        assert read_signatures(folder / "app.sig").file.bundles[0].bundle.tlog_entries

    def test_only_its_name_makes_a_detached_signature(self, folder):
        for old, new in (("detached.sig", "other.json"), ("detached.pem", "other.pem")):
            (folder / old).rename(folder / new)
        with pytest.raises(MalformedInput):
            read_signatures(folder / "other.json")

    @pytest.mark.parametrize("more", [0, 1])
    def test_a_certificate_beside_has_up_to_256_kibibytes(self, folder, more):
        certificate = (folder / "detached.pem").read_bytes()
        (folder / "detached.pem").write_bytes(certificate.ljust(256 * 1024 + more, b"\n"))
        if more:
            with pytest.raises(ConfigurationError) as caught:
                find_signatures(folder / "detached")
            assert caught.value.code == "file_too_large"
        else:
            assert find_signatures(folder / "detached").file.bundles[0].bundle.certificate

    def test_a_file_that_is_no_signature_keeps_what_was_said_of_it(self, folder):
        for name, code in (
            ("statement.json", "not_a_signature"),
            ("damaged.sigstore.json", "unreadable_signature"),
        ):
            with pytest.raises(MalformedInput) as caught:
                read_signatures(folder / name)
            assert caught.value.code == code
            assert caught.value.hint

    def test_signatures_are_not_files_to_sign(self):
        names = ["a", "a.sigstore.json", "a", "b.sig", "c", "c.pem", "a.sigstore.json.sig"]
        assert without_signatures(names) == ["a", "b.sig", "c"]


class TestStreams:
    @pytest.mark.parametrize(
        ("name", "descriptor"),
        [
            ("-", 0),
            ("/dev/stdin", 0),
            ("/dev/stdout", 1),
            ("/dev/stderr", 2),
            ("/dev/fd/7", 7),
            ("/proc/self/fd/12", 12),
            ("/dev/fd/1234567", None),
            ("/dev/fd/", None),
            ("file", None),
        ],
    )
    def test_a_name_stands_for_a_descriptor(self, name, descriptor, tmp_path):
        assert descriptor_of(Path(name)) == descriptor

    def test_what_comes_through_is_hashed_and_read_whole(self, stream):
        data = os.urandom(3 << 20)
        assert digest_input(stream(data)).value == SHA2_256.digest(data)
        assert read_input(stream(data), max_bytes=len(data)) == data
        with pytest.raises(ConfigurationError) as caught:
            read_input(stream(data), max_bytes=len(data) - 1)
        assert caught.value.code == "file_too_large"

    @pytest.mark.parametrize("more", [0, 1])
    def test_no_more_is_read_than_fits(self, stream, more):
        data = bytes((1 << 20) + more)  # as much as is read at a time, or one byte more
        if more:
            with pytest.raises(ConfigurationError):
                read_input(stream(data), max_bytes=1 << 20)
        else:
            assert read_input(stream(data), max_bytes=1 << 20) == data
        with Path("/dev/zero").open("rb") as endless, pytest.raises(ConfigurationError):
            read_input(Path(f"/dev/fd/{endless.fileno()}"), max_bytes=1 << 20)

    @pytest.mark.parametrize("read", [digest_input, lambda path: read_input(path, max_bytes=9)])
    def test_a_closed_descriptor_is_an_error(self, read):
        with pytest.raises(HallmarkError):
            read(Path("/dev/fd/999999"))


@pytest.fixture
def stream(tmp_path):
    """Gives the name of a descriptor through which bytes come."""
    opened = []

    def make(data: bytes) -> Path:
        (tmp_path / "stream").write_bytes(data)
        opened.append((tmp_path / "stream").open("rb"))
        return Path(f"/dev/fd/{opened[-1].fileno()}")

    yield make
    for file in opened:
        file.close()
