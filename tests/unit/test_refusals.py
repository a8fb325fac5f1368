"""What a worker says of why it cannot start, as its parent hears it."""

import msgspec
import pytest

from hallmark.errors import ConfigurationError, HallmarkError, RemoteError, TrustError
from hallmark.instance.refusals import Refusal


@pytest.mark.parametrize("kind", [ConfigurationError, TrustError, RemoteError])
def test_an_error_keeps_its_class_its_code_and_its_words(kind):
    sent = msgspec.json.encode(Refusal.of(kind("what is wrong", code="some_code", hint="what to do")))
    error = msgspec.json.decode(sent, type=Refusal).error()
    assert type(error) is kind
    assert (error.message, error.code, error.hint) == ("what is wrong", "some_code", "what to do")


@pytest.mark.parametrize("kind", ["ClassVar", "Nothing", "__doc__"])
def test_what_is_no_error_of_ours_is_a_failure_of_the_worker(kind):
    error = Refusal(kind, "m", "c", "h").error()
    assert type(error) is RemoteError


@pytest.mark.parametrize(("length", "kept"), [(1000, 1000), (1001, 1000)])
def test_a_long_message_still_fits_a_report(length, kept):
    assert len(Refusal.of(HallmarkError("x" * length)).message) == kept
