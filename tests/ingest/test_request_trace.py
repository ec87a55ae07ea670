"""Recorded requests."""

import gzip

import pytest

from loadpath.errors import InputError
from loadpath.ingest.request_trace import read_requests

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


@pytest.fixture
def read(tmp_path):
    def read_text(text, name="requests.csv"):
        path = tmp_path / name
        content = text.encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return read_requests(path)

    return read_text


@pytest.mark.parametrize("name", ["requests.csv", "requests.csv.gz"])
def test_moments_count_from_the_first_request_to_the_nanosecond(read, name):
    table = read(
        AZURE + "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n", name
    )
    assert table.rows() == [(0, 374, 44), (4_314_579_000, 396, 109)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2024-05-10 00:00:00.009930+00:00", "2024-05-10 00:00:01.009930+00:00"),
        ("2024-05-10T00:00:00Z", "2024-05-10T00:00:01Z"),
        ("2024-12-31 23:59:59.5", "2025-01-01 00:00:00.5"),
    ],
)
def test_other_writings_of_a_moment_are_read(read, first, second):
    assert read(f"{AZURE}{first},1,1\n{second},1,1\n")["arrival_ns"].to_list() == [0, 10**9]


def test_seconds_and_own_names_are_read_exactly(read):
    table = read("arrival_s,prompt_tokens,output_tokens,user\n1700000000.000000001,5,0,a\n"
                 "1700000000.5,6,7,b\n")  # fmt: skip
    assert table.rows() == [(0, 5, 0), (499_999_999, 6, 7)]


def test_requests_are_sorted_by_arrival(read):
    table = read("arrival_s,prompt_tokens,output_tokens\n3,1,1\n1,2,2\n3,4,4\n")
    assert table["prompt_tokens"].to_list() == [2, 1, 4]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read"),
        (AZURE, "no requests"),
        ("TIMESTAMP,ContextTokens\n1,2\n", "0 columns named GeneratedTokens or output_tokens"),
        ("TIMESTAMP,arrival_s,ContextTokens,GeneratedTokens\n1,1,2,2\n", "2 columns named TIMESTAMP"),
        (AZURE + "yesterday,1,1\n", "row 1: arrival is 'yesterday', not a moment"),
        (AZURE + "2023-11-16 18:15:46,0,1\n", "row 1: prompt_tokens is '0'"),
        (AZURE + "2023-11-16 18:15:46,1.5,1\n", "row 1: prompt_tokens is '1.5'"),
        (AZURE + "2023-11-16 18:15:46,1,-1\n", "row 1: output_tokens is '-1'"),
        ("arrival_s,prompt_tokens,output_tokens\nnan,1,1\n", "row 1: arrival is 'nan'"),
        ("arrival_s,prompt_tokens,output_tokens\n0,1,1\n1e9,1,1\n", "more than 3660 days"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_request_is_refused_with_its_place(read, text, said):
    with pytest.raises(InputError) as refused:
        read(text)
    assert said in str(refused.value)


def test_many_wrong_rows_are_counted(read):
    with pytest.raises(InputError) as refused:
        read("arrival_s,prompt_tokens,output_tokens\n" + "x,1,1\n" * 10)
    assert "7 more such rows" in str(refused.value)


def test_cut_gzip_is_refused(tmp_path):
    path = tmp_path / "requests.csv.gz"
    path.write_bytes(gzip.compress((AZURE + "2023-11-16 18:15:46,1,1\n" * 500).encode())[:-40])
    with pytest.raises(InputError, match=r"too early|damaged"):
        read_requests(path)
