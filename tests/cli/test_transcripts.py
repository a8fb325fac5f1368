from pathlib import Path

import pytest
from tests.support.transcript import run_transcript

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_commands_print_what_their_transcript_says(path, folder, environment, values):
    run_transcript(path, folder=folder, environment=environment, values=values)


def test_there_are_transcripts():
    assert len(TRANSCRIPTS) >= 5
