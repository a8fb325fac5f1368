"""The witnesses of an instance's signature log: the setting, kept in its directory, and its uses."""

from typing import Final

import msgspec

from hallmark.core.keys import PublicKey
from hallmark.core.vkey import ctlog_vkey, log_vkey
from hallmark.core.witness_policy import NONE, WitnessPolicy, parse_witness_policy
from hallmark.durable_files import write_durably
from hallmark.errors import ConfigurationError, MalformedInput
from hallmark.tiledlog.signer import NoteSigner
from hallmark.tiledlog.witnessing import WitnessedCheckpoint
from hallmark.wiring.layout import Layout
from hallmark.wiring.logs import OpenLog
from hallmark.wiring.shards import Shard, ShardTable, open_shard
from hallmark.witness.config import WitnessMode
from hallmark.witness.gathering import Witnesses

OFF: Final = "off"


class WitnessSetting(msgspec.Struct, frozen=True):
    """Which witnesses an instance has: the policy file, and what happens without a quorum."""

    mode: WitnessMode
    policy: bytes

    def parse(self) -> WitnessPolicy:
        """Read the policy; raises `ConfigurationError`."""
        try:
            return parse_witness_policy(self.policy)
        except MalformedInput as error:
            raise ConfigurationError(
                error.message, code=error.code, hint="docs/howto/witnesses.md shows a policy"
            ) from None


def read_setting(layout: Layout) -> WitnessSetting | None:
    """Read the setting; None where the instance has no witnesses. Raises `ConfigurationError`."""
    try:
        return msgspec.json.decode(layout.witnesses.read_bytes(), type=WitnessSetting)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigurationError(
            f"{layout.witnesses} cannot be read: {error}",
            code="damaged_state",
            hint="name the policy again with --witness-policy",
        ) from None


def change_setting(layout: Layout, signer: NoteSigner, policy: bytes | None, mode: str | None) -> None:
    """Keep what `hallmark up` was told of witnesses; what it was not told stays as it is.

    A new policy without a mode is strict. Mode `off` forgets the witnesses. Raises `ConfigurationError`.
    """
    if mode == OFF:
        layout.witnesses.unlink(missing_ok=True)
        return
    setting = check_setting(layout, policy, mode)
    if setting is None:
        return
    _check_logs(setting, layout, signer)
    write_durably(layout.witnesses, msgspec.json.encode(setting))


def check_setting(layout: Layout, policy: bytes | None, mode: str | None) -> WitnessSetting | None:
    """Check what can be checked of a change before there is an instance; None where nothing is to be kept.

    Raises `ConfigurationError`.
    """
    if mode == OFF or (policy is None and mode is None):
        return None
    setting = _changed(layout, policy, mode)
    parsed = setting.parse()
    if parsed.quorum == NONE:
        raise ConfigurationError(
            "the policy has no quorum", code="empty_quorum", hint="pass --witness-mode off instead"
        )
    Witnesses(parsed, setting.mode)
    return setting


def _changed(layout: Layout, policy: bytes | None, mode: str | None) -> WitnessSetting:
    known = None if policy is not None and mode is not None else read_setting(layout)
    if policy is None and known is None:
        raise ConfigurationError(
            "a mode for witnesses, but no witnesses", code="usage", hint="pass --witness-policy FILE too"
        )
    if known is None:
        known = WitnessSetting(WitnessMode.STRICT, b"")
    chosen = known.mode if mode is None else WitnessMode(mode)
    return WitnessSetting(chosen, known.policy if policy is None else policy)


def _check_logs(setting: WitnessSetting, layout: Layout, signer: NoteSigner) -> None:
    """`signer` is the first shard's; a policy may name whichever shard clients write to by now."""
    policy = setting.parse()
    signers = [signer, *(open_shard(layout, layout.read_instance(), item)[1] for item in _later(layout))]
    own = [log_vkey(item.origin, item.public_key) for item in signers]
    named = {log.key.material for log in policy.logs}
    if policy.logs and not named & {key.material for key in own}:
        raise ConfigurationError(
            f"the policy names logs, but not this instance's: {own[-1].to_text()}",
            code="log_not_in_policy",
            hint="add a line `log` with that key, or leave the log lines out",
        )


def _later(layout: Layout) -> tuple[Shard, ...]:
    return ShardTable(layout).read()[1:]


def open_witnesses(layout: Layout) -> Witnesses | None:
    """Make the asking side, for the publisher; None where the instance has no witnesses."""
    setting = read_setting(layout)
    return None if setting is None else Witnesses(setting.parse(), setting.mode)


def open_witnessed(layout: Layout, log: OpenLog) -> WitnessedCheckpoint | None:
    """Make the reading side of a log with witnesses."""
    setting = read_setting(layout)
    if setting is None:
        return None
    strict = setting.mode is WitnessMode.STRICT
    return WitnessedCheckpoint(log.objects(), log.signer, setting.parse(), strict=strict)


def open_ctlog_witnesses(layout: Layout, log: OpenLog, key: PublicKey) -> Witnesses | None:
    """Make the asking side of the CT log; None unless a `log` line of the policy names its key."""
    setting = _ctlog_setting(layout, log, key)
    return None if setting is None else Witnesses(setting.parse(), setting.mode)


def open_ctlog_witnessed(layout: Layout, log: OpenLog, key: PublicKey) -> WitnessedCheckpoint | None:
    """Make the reading side of the CT log, where it has witnesses."""
    setting = _ctlog_setting(layout, log, key)
    if setting is None:
        return None
    strict = setting.mode is WitnessMode.STRICT
    return WitnessedCheckpoint(log.objects(), log.signer, setting.parse(), strict=strict)


def _ctlog_setting(layout: Layout, log: OpenLog, key: PublicKey) -> WitnessSetting | None:
    """Only where it is named: a strict policy of witnesses that do not know it would hide its checkpoint."""
    setting = read_setting(layout)
    own = ctlog_vkey(log.signer.origin, key)
    named = setting is not None and own in [item.key for item in setting.parse().logs]
    return setting if named else None


def check_witnesses_know(layout: Layout, log: OpenLog, signer: NoteSigner) -> None:
    """Check that a strict log's witnesses sign its newest checkpoint; raises `ConfigurationError`.

    The instance asks them too, and is not in the way: a witness signs the same checkpoint twice.
    """
    setting = read_setting(layout)
    if setting is None or setting.mode is not WitnessMode.STRICT:
        return
    reader = log.reader()
    head = reader.head()
    cosigned = Witnesses(setting.parse(), setting.mode).cosign(
        head.checkpoint,
        signer.verify(head.checkpoint),
        b"",
        lambda old_size: reader.consistency_proof(old_size, head.size),
    )
    if not cosigned.quorum:
        vkey = log_vkey(signer.origin, signer.public_key).to_text()
        raise ConfigurationError(
            f"no quorum of witnesses knows the new shard {signer.origin}, so nothing was changed for clients",
            code="no_witness_quorum",
            hint=f"give your witnesses --log {vkey} and run the command again",
        )
