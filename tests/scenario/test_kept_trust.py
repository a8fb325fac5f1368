"""Trust material that was kept is believed only as far as the pinned root vouches for it."""

import hashlib
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from securesystemslib.signer import SSlibKey
from tuf.api.metadata import Metadata

from hallmark.client.contexts import Context
from hallmark.client.kept_trust import check_kept, kept_trust, stored_trust
from hallmark.client.pinned_roots import MAX_ROOT_BYTES, fingerprint_of, pin_root, pinned_root, root_path
from hallmark.client.trust_cache import KeptTrust, save_trust
from hallmark.errors import TrustError
from hallmark.trustroot.keys import add_key_file, create_key_files
from hallmark.trustroot.repository import TrustRepository

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FILES = {"trusted_root.json": b'{"a":1}', "signing_config.v0.2.json": b'{"b":1}'}
ROLES = ("timestamp.json", "snapshot.json", "targets.json")


class Repository:
    """A TUF repository of two roots, and what a client keeps of it."""

    def __init__(self, folder) -> None:
        self.folder, self.keys_folder = folder / "tuf", folder / "keys"
        self.keys = create_key_files(self.keys_folder)
        repository = TrustRepository.create(self.folder, FILES, self.keys, NOW)
        self.pinned = repository.newest_root()
        self.keys = add_key_file(self.keys_folder, "root")
        TrustRepository(self.folder, self.keys).rotate_root_key(NOW)
        self.expires = min(role.expires for role in TrustRepository(self.folder, self.keys).status())

    def kept(self) -> KeptTrust:
        newest = {"timestamp.json": "timestamp.json"}
        for role in ("snapshot", "targets"):
            found = self.folder.glob(f"*.{role}.json")
            newest[f"{role}.json"] = max(found, key=lambda path: int(path.name.split(".")[0])).name
        names = {"1.root.json": "1.root.json", "2.root.json": "2.root.json", **newest}
        return KeptTrust(
            tuf_url="https://sigstore.example/tuf",
            fetched=NOW,
            trusted_root=FILES["trusted_root.json"],
            signing_config=FILES["signing_config.v0.2.json"],
            metadata={name: (self.folder / file).read_bytes() for name, file in names.items()},
        )

    def signed_anew(self, kept: KeptTrust, name: str, change, *signers) -> KeptTrust:
        """Change one role's metadata and sign it with these keys."""
        found = Metadata.from_bytes(kept.metadata[name])
        change(found.signed)
        found.signatures.clear()
        for signer in signers:
            found.sign(signer, append=True)
        return with_metadata(kept, {name: found.to_bytes()})


def with_metadata(kept: KeptTrust, changed: dict[str, bytes]) -> KeptTrust:
    return msgspec.structs.replace(kept, metadata={**kept.metadata, **changed})


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return Repository(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    return Repository(tmp_path_factory.mktemp("foreign"))


def refused(kept: KeptTrust, root: bytes) -> bool:
    with pytest.raises(TrustError) as caught:
        check_kept(kept, root)
    return caught.value.code == "damaged_trust_material"


def test_what_the_pinned_root_vouches_for_holds_until_the_first_role_expires(ours):
    material = check_kept(ours.kept(), ours.pinned)
    assert material.expires == ours.expires
    assert material.trusted_root == FILES["trusted_root.json"]


@pytest.mark.parametrize("field", ["trusted_root", "signing_config"])
def test_a_file_that_nobody_signed_is_refused(ours, field):
    assert refused(msgspec.structs.replace(ours.kept(), **{field: b'{"a":2}'}), ours.pinned)


def test_the_whole_of_another_repository_is_refused(ours, foreign):
    assert check_kept(foreign.kept(), foreign.pinned)
    assert refused(foreign.kept(), ours.pinned)


@pytest.mark.parametrize("name", ["2.root.json", *ROLES])
def test_a_role_of_another_repository_is_refused(ours, foreign, name):
    assert refused(with_metadata(ours.kept(), {name: foreign.kept().metadata[name]}), ours.pinned)


@pytest.mark.parametrize("name", ROLES)
def test_a_role_that_is_missing_or_damaged_is_refused(ours, name):
    for data in (b"", b"{}", b"[" * 100_000, ours.kept().metadata[name][:-20]):
        assert refused(with_metadata(ours.kept(), {name: data}), ours.pinned)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_a_role_signed_by_keys_of_another_role_is_refused(ours, role):
    def later(signed):
        signed.expires += timedelta(days=900)

    kept = without_hashes(ours, ours.kept())
    assert check_kept(kept, ours.pinned)
    right = ours.keys.newest(role)
    assert check_kept(ours.signed_anew(kept, f"{role}.json", later, right), ours.pinned)
    wrong = ours.keys.newest("snapshot" if role != "snapshot" else "targets")
    assert refused(ours.signed_anew(kept, f"{role}.json", later, wrong), ours.pinned)


def without_hashes(ours: Repository, kept: KeptTrust) -> KeptTrust:
    """TUF allows roles that state versions alone; then a change of the role below breaks no hash."""

    def strip(signed):
        named = [signed.snapshot_meta] if hasattr(signed, "snapshot_meta") else signed.meta.values()
        for stated in named:
            stated.hashes = stated.length = None

    for role in ("snapshot", "timestamp"):
        kept = ours.signed_anew(kept, f"{role}.json", strip, ours.keys.newest(role))
    return kept


@pytest.mark.parametrize("role", ["snapshot", "targets"])
@pytest.mark.parametrize("step", [-1, 1])
def test_another_version_than_the_one_that_is_stated_is_refused(ours, role, step):
    def another(signed):
        signed.version += step

    kept = without_hashes(ours, ours.kept())
    assert refused(ours.signed_anew(kept, f"{role}.json", another, ours.keys.newest(role)), ours.pinned)


@pytest.mark.parametrize(("above", "below"), [("timestamp", "snapshot"), ("snapshot", "targets")])
def test_a_hash_that_is_stated_counts(ours, above, below):
    data = ours.kept().metadata[f"{below}.json"]
    for digest, good in ((hashlib.sha256(data).hexdigest(), True), ("00" * 32, False)):

        def state(signed, digest=digest):
            named = signed.snapshot_meta if above == "timestamp" else signed.meta["targets.json"]
            named.hashes = {"sha256": digest}

        kept = without_hashes(ours, ours.kept()) if above == "snapshot" else ours.kept()
        kept = ours.signed_anew(kept, f"{above}.json", state, ours.keys.newest(above))
        assert bool(check_kept(kept, ours.pinned)) if good else refused(kept, ours.pinned)


def test_a_new_root_needs_the_keys_of_the_old_one_and_its_own(ours):
    def later(signed):
        signed.expires += timedelta(days=900)

    old, new = ours.keys.by_role["root"]
    for signers, good in (((old, new), True), ((old,), False), ((new,), False), ((), False)):
        kept = ours.signed_anew(ours.kept(), "2.root.json", later, *signers)
        assert bool(check_kept(kept, ours.pinned)) if good else refused(kept, ours.pinned)


@pytest.mark.parametrize("version", [1, 3])
def test_roots_follow_each_other_by_one(ours, version):
    def renumber(signed):
        signed.version = version

    kept = ours.signed_anew(ours.kept(), "2.root.json", renumber, *ours.keys.by_role["root"])
    assert refused(kept, ours.pinned)


def test_a_pinned_root_without_its_own_signatures_is_refused(ours):
    bare = Metadata.from_bytes(ours.pinned)
    bare.signatures.clear()
    assert refused(ours.kept(), bare.to_bytes())


@pytest.fixture
def context(ours, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = Context(
        name="work",
        url="https://sigstore.example",
        tuf_url="https://sigstore.example/tuf",
        root_fingerprint=fingerprint_of(ours.pinned),
    )
    pin_root(made, ours.pinned)
    return made


def test_kept_material_is_used_to_the_last_moment_of_its_word(ours, context):
    assert stored_trust(context, NOW) is None
    save_trust(context.root_fingerprint, ours.kept())
    assert stored_trust(context, ours.expires - timedelta(microseconds=1)) == kept_trust(context)
    assert stored_trust(context, ours.expires) is None
    assert kept_trust(context).expires == ours.expires


def test_kept_material_of_another_repository_or_address_counts_as_missing(ours, foreign, context):
    save_trust(context.root_fingerprint, foreign.kept())
    assert kept_trust(context) is None
    elsewhere = msgspec.structs.replace(ours.kept(), tuf_url="https://elsewhere.example/tuf")
    save_trust(context.root_fingerprint, elsewhere)
    assert kept_trust(context) is None


def test_a_root_that_was_replaced_is_not_believed(ours, foreign, context):
    save_trust(context.root_fingerprint, foreign.kept())
    root_path(context).write_bytes(foreign.pinned)
    with pytest.raises(TrustError) as caught:
        kept_trust(context)
    assert caught.value.code == "wrong_root"
    with pytest.raises(TrustError):
        pin_root(context, foreign.pinned)
    root_path(context).unlink()
    with pytest.raises(TrustError) as caught:
        kept_trust(context)
    assert caught.value.code == "missing_trust_material"


def test_roots_may_be_kept_elsewhere(ours, context, tmp_path):
    pin_root(context, ours.pinned, tmp_path / "elsewhere")
    root_path(context).unlink()
    assert pinned_root(context, tmp_path / "elsewhere") == ours.pinned
    assert root_path(context, tmp_path / "elsewhere").is_file()


@pytest.mark.parametrize("more", [0, 1])
def test_a_root_has_up_to_512000_bytes(context, tmp_path, more):
    root = bytes(MAX_ROOT_BYTES + more)
    pinned = msgspec.structs.replace(context, root_fingerprint=fingerprint_of(root))
    pin_root(pinned, root)
    if more:
        with pytest.raises(TrustError, match="more than 512000 bytes"):
            pinned_root(pinned)
    else:
        assert pinned_root(pinned) == root


def test_a_newer_root_with_a_key_that_nobody_holds_is_refused(ours):
    """It lists the key beside those that sign; everything else holds."""
    for public, good in (("5e" * 32, True), ("01" + "00" * 31, False)):
        key = SSlibKey("ab" * 32, "ed25519", "ed25519", {"public": public})
        kept = ours.signed_anew(
            ours.kept(),
            "2.root.json",
            lambda signed, key=key: signed.add_key(key, "timestamp"),
            *ours.keys.by_role["root"],
        )
        if good:
            assert check_kept(kept, ours.pinned)
        else:
            with pytest.raises(TrustError) as caught:
                check_kept(kept, ours.pinned)
            assert caught.value.code == "weak_key"
