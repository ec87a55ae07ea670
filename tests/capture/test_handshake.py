"""Timed messages between ranks, and a store in which they find each other."""

import contextlib
import socket

from loadpath.capture import handshake
from loadpath.capture.handshake import serve_handshakes, shake_hands
from loadpath.ingest.handshake import read_handshakes


class Store(dict[str, bytes]):
    """Keeps what it is told, as the store of a process group does."""

    def set(self, key, value):
        self[key] = value.encode()

    def check(self, keys):
        return all(key in self for key in keys)


def test_rank_0_writes_what_the_readers_of_traces_read(tmp_path):
    store = Store()
    server = serve_handshakes(store)
    assert server is not None
    for rank in (1, 2):
        shake_hands(store, rank).join(20)
    server.write(tmp_path)
    table = read_handshakes(tmp_path / "clock_handshake.csv")
    assert sorted(table["rank"].unique()) == [1, 2]
    assert table["peer"].unique().to_list() == [0]
    for one in table.iter_rows(named=True):
        assert one["sent_ns"] <= one["arrived_ns"] <= one["returned_ns"] <= one["received_ns"]
    server.write(tmp_path / "next")
    server.close()
    assert not (tmp_path / "next").exists()


def test_a_message_without_the_token_is_not_answered(monkeypatch):
    monkeypatch.setattr(handshake, "MOST_FOREIGN", 3)
    store = Store()
    server = serve_handshakes(store)
    assert server is not None
    _, port, token = store[handshake.KEY].decode().split()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.3)
        asking.connect(("127.0.0.1", int(port)))
        question = handshake.QUESTION.pack(b"x" * 16, 1, 0, 1, 0, 0, 0, 0)
        answers = 0
        for data in (question, b"", question[:20], bytes.fromhex(token) + question[16:]):
            asking.send(data)
            with contextlib.suppress(TimeoutError, ConnectionError):
                answers += bool(asking.recv(100))
    assert answers == 0
    server._thread.join(5)
    assert not server._thread.is_alive()
    server.close()


def test_where_nobody_answers_a_rank_goes_on(monkeypatch):
    monkeypatch.setattr(handshake, "PATIENCE_S", 0.01)
    store = Store()
    store.set(handshake.KEY, f"127.0.0.1 9 {'00' * 16}")
    for held in (store, Store(), None):
        thread = shake_hands(held, 1)
        thread.join(10)
        assert not thread.is_alive()


def test_without_other_ranks_nothing_is_served():
    assert serve_handshakes(None) is None
