"""The channel between supervisor and worker: what is left when the other side is gone."""

from __future__ import annotations

import threading
from multiprocessing import Pipe

import pytest

from serving.process.workers.channel import Channel, Gone


def test_a_channel_whose_other_side_is_gone_gives_its_descriptor_back() -> None:
    ours, theirs = Pipe()
    gone = threading.Event()
    channel = Channel(ours, lambda kind, content: None, gone.set)
    channel.start()
    theirs.close()
    assert gone.wait(10)
    for _ in range(100):
        if ours.closed:
            break
        threading.Event().wait(0.05)
    assert ours.closed
    with pytest.raises(Gone):
        channel.call("anything").result(10)
