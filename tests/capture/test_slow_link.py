"""A link made slow by the kernel."""

import socket
import sys
import threading
import time

import pytest

from loadpath.capture.slow_link import connections, pace

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pacing of sockets is Linux's")
N_BYTES = 2 << 20


def seconds_to_send(sender, receiver):
    def take():
        left = N_BYTES
        while left:
            left -= len(receiver.recv(min(left, 1 << 18)))

    thread = threading.Thread(target=take)
    begin = time.perf_counter()
    thread.start()
    sender.sendall(bytes(N_BYTES))
    thread.join()
    return time.perf_counter() - begin


def test_only_the_named_connections_are_slow_and_only_while_they_are_to_be():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        senders = [socket.create_connection(address) for _ in range(2)]
        receivers = [server.accept()[0] for _ in senders]
        other = "{}:{}".format(*senders[0].getpeername())
        own = "{}:{}".format(*senders[0].getsockname())
        assert (own, other) in connections()
        assert pace([own], 8 << 20) == 1  # the receiver's end of the first connection
        assert seconds_to_send(receivers[0], senders[0]) > 0.15
        assert seconds_to_send(receivers[1], senders[1]) < 0.15
        pace([own], 0)
        assert seconds_to_send(receivers[0], senders[0]) < 0.15
        for held in (*senders, *receivers):
            held.close()
