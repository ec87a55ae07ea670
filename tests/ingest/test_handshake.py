import pytest

from loadpath.errors import InputError
from loadpath.ingest.handshake import HANDSHAKE_FILE, read_handshakes

HEAD = "rank,peer,sent_ns,arrived_ns,returned_ns,received_ns\n"
SOUND = "0,1,1000,5000,6000,3000\n"


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        path = tmp_path / HANDSHAKE_FILE
        path.write_text(text)
        return read_handshakes(path)

    return read_text


def test_handshake_holds_the_times_of_both_clocks(read):
    assert read(HEAD + SOUND).rows() == [(0, 1, 1000, 5000, 6000, 3000)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rank,peer\n0,1\n", "missing column 'sent_ns'"),
        (HEAD + "0,1,soon,2,3,4\n", "line 2 holds what is no whole number"),
        (HEAD + SOUND + "0,1,1.5,2,3,4\n", "line 3 holds what is no whole number"),
        (HEAD + "-1,1,1,2,3,4\n", "line 2 names what is no rank"),
        (HEAD + "0,99999999999,1,2,3,4\n", "line 2 names what is no rank"),
        (HEAD + "0,1,1,2,3,9999999999999999999999\n", "line 2 holds what is no whole number"),
        (HEAD + "0,1,1,2,3,9000000000000000000\n", "line 2 holds what is no time of today"),
        (HEAD + "0,1,9,2,3,4\n", "line 2 ends before it begins"),
        ("", "cannot be read"),
    ],
)
def test_what_is_no_handshake_is_refused_with_its_line(read, text, said):
    with pytest.raises(InputError) as refused:
        read(text)
    assert said in str(refused.value)
    assert HANDSHAKE_FILE in str(refused.value)
