"""Streams and events; further devices of the CPU stand in for GPUs."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch as pytorch

import flambeau as torch
from flambeau import streams

pytestmark = pytest.mark.usefixtures("accelerators")


@pytest.fixture(autouse=True)
def _put_back(two: Any) -> Any:
    yield
    for i in (1, 0):
        torch.cuda.set_stream(torch.cuda.default_stream(i))


def test_streams_are_told_apart() -> None:
    default = torch.cuda.default_stream()
    assert torch.cuda.current_stream() == default
    assert default == torch.cuda.default_stream("cuda:0") != torch.cuda.default_stream(1)
    assert (default.stream_id, default.device, default.device_index) == (0, torch.device("cuda:0"), 0)
    one, two = torch.cuda.Stream(), torch.cuda.Stream(1, priority=-1)
    assert len({default, one, two, torch.cuda.default_stream()}) == 3
    assert (two.device, two.priority) == (torch.device("cuda:1"), -1)
    assert repr(two) == f"<torch.cuda.Stream device=cuda:1 stream_id={two.stream_id}>"
    assert one != "cuda:0"
    with pytest.raises(torch.AcceleratorError, match="cuda:2 does not exist"):
        torch.cuda.Stream(2)


def test_a_block_uses_a_stream_and_its_gpu() -> None:
    stream = torch.cuda.Stream(1)
    for block in (torch.cuda.stream(stream), torch.cuda.StreamContext(stream), stream):
        with block:
            assert torch.cuda.current_device() == 1
            assert torch.cuda.current_stream() == stream == torch.accelerator.current_stream()
            assert torch.cuda.current_stream(0) == torch.cuda.default_stream(0)
            assert torch.ones(1, device="cuda").device == stream.device
        assert torch.cuda.current_stream() == torch.cuda.default_stream(0)
        assert torch.cuda.current_stream(1) == torch.cuda.default_stream(1)
    with torch.cuda.stream(None):
        assert torch.cuda.current_device() == 0


def test_a_stream_is_set() -> None:
    stream = torch.cuda.Stream(1)
    torch.accelerator.set_stream(stream)
    assert torch.cuda.current_stream() == torch.cuda.current_stream("cuda:1") == stream
    torch.cuda.set_stream(torch.cuda.default_stream(0))
    assert torch.cuda.current_device() == 0
    assert torch.cuda.current_stream(1) == stream
    with pytest.raises(TypeError, match=r"set_stream\(\): expected a torch.Stream, but got int"):
        torch.accelerator.set_stream(3)
    with pytest.raises(RuntimeError, match="expected a stream of the accelerator, cuda, but got one of cpu"):
        torch.accelerator.set_stream(torch.Stream("cpu"))
    assert not torch.cuda.is_current_stream_capturing()


def test_streams_and_events_of_any_device() -> None:
    stream, event = torch.Stream(), torch.Event(enable_timing=True)
    assert (stream.device, event.device) == (torch.device("cuda:0"),) * 2
    assert repr(stream) == f"torch.Stream device_type=cuda, device_index=0, stream_id={stream.stream_id}"
    assert torch.Stream(1).device == torch.Stream("cuda:1").device == torch.device("cuda:1")
    with stream:
        assert torch.accelerator.current_stream() is torch.cuda.current_stream() is stream
    assert isinstance(torch.accelerator.current_stream(), torch.cuda.Stream)
    assert isinstance(torch.cuda.Event(), torch.Event)
    recorded = stream.record_event()
    assert type(recorded) is torch.Event
    assert type(torch.cuda.current_stream().record_event()) is torch.cuda.Event
    later = torch.Event(enable_timing=True)
    event.record(stream)
    later.record()
    assert event.elapsed_time(later) >= 0
    assert repr(event) == f"torch.Event device_type=cuda, device_index=0, event_flag=1, event_id={event.event_id}"
    with pytest.raises(RuntimeError, match=r"expected other to be a torch\.Event object"):
        event.elapsed_time(3)


def test_a_program_for_several_streams_gives_its_results() -> None:
    copying, x = torch.cuda.Stream(), torch.arange(4.0)
    with torch.cuda.stream(copying):
        ahead = x.to("cuda", non_blocking=True) * 2
        ahead.record_stream(copying)
        event = copying.record_event()
    torch.cuda.current_stream().wait_event(event)
    torch.cuda.current_stream().wait_stream(copying)
    result = ahead + 1
    assert copying.query()
    assert event.query()
    copying.synchronize()
    assert result.tolist() == [1.0, 3.0, 5.0, 7.0]


def test_only_tensors_on_gpus_are_used_by_streams() -> None:
    refused = "Could not run 'aten::record_stream' with arguments from the 'CPU' backend"
    with pytest.raises(NotImplementedError, match=refused):
        torch.ones(1).record_stream(torch.cuda.current_stream())
    with pytest.raises(NotImplementedError, match=refused):
        pytorch.ones(1).record_stream(pytorch.Stream("cpu"))


def test_synchronize_runs_what_is_recorded() -> None:
    x = torch.ones(3, device="cuda:1") + 1
    torch.cuda.synchronize("cuda:1")
    assert x._node.value is not None
    assert x._node.value.is_ready()
    with pytest.raises(torch.AcceleratorError, match="cuda:9 does not exist"):
        torch.cuda.synchronize(9)
    with pytest.raises(ValueError, match="Expected a cuda device, but got: cpu"):
        torch.cuda.synchronize("cpu")


def test_events_take_the_time_of_the_work_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    finish = streams.finish
    monkeypatch.setattr(streams, "finish", lambda: done.append(finish()))
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    x = torch.ones(8, device="cuda").cumsum(0)
    assert x._node.value is None
    time.sleep(0.02)
    end.record()
    assert x._node.value.is_ready()
    assert len(done) == 2
    assert 20 <= start.elapsed_time(end) < 5000
    end.synchronize()
    assert end.query()
    assert len(done) == 2
    assert start.elapsed_time(end) == -end.elapsed_time(start)


def test_events_without_timing_cost_nothing() -> None:
    event = torch.cuda.Event()
    assert event.query()
    assert repr(event) == "<torch.cuda.Event uninitialized>"
    x = torch.ones(2, device="cuda") + 1
    event.record()
    assert x._node.value is None
    assert event.device == torch.device("cuda:0")
    assert repr(event) == f"<torch.cuda.Event {event.event_id}>"
    event.synchronize()
    assert x._node.value.is_ready()


def test_times_that_are_not_known() -> None:
    timed, other = torch.cuda.Event(enable_timing=True), torch.cuda.Event()
    for pair in ((timed, other), (other, timed)):
        with pytest.raises(ValueError, match="Both events must be created with argument 'enable_timing=True'"):
            pair[0].elapsed_time(pair[1])
    with pytest.raises(ValueError, match="Both events must be recorded before calculating elapsed time"):
        timed.elapsed_time(timed)


def test_a_captured_function_takes_no_times() -> None:
    event = torch.cuda.Event(enable_timing=True)

    @torch.compile
    def step(x: Any) -> Any:
        event.record()
        return x + 1

    with pytest.raises(RuntimeError, match="cannot be recorded inside of a captured function: it runs as one program"):
        step(torch.ones(2, device="cuda"))
