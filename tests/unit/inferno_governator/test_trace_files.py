from pathlib import Path

import pytest

from inferno_governator.simulation import trace_files
from inferno_governator.simulation.trace import RateTrace, RequestTrace, Trace
from inferno_runtime.errors import InvalidInput, NotFound

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens"
MOONCAKE = "t_ms,input_tokens,output_tokens"
RATES = "model,t_s,rate_rps,mean_input_tokens,mean_output_tokens"


def parse(*lines: str) -> Trace:
    return trace_files.parse(lines, "t", "t.csv")


def test_azures_times_are_read_with_their_ten_millionths() -> None:
    trace = parse(AZURE, "2023-11-16 18:17:03.9799600,4808,10", "2023-11-16 18:17:05.4799600,3180,8")
    assert isinstance(trace, RequestTrace)
    assert trace.at.tolist() == pytest.approx([0.0, 1.5])
    assert (trace.inputs.tolist(), trace.outputs.tolist()) == ([4808, 3180], [10, 8])
    assert trace.begin == pytest.approx(1_700_158_623.97996)


def test_mooncakes_times_are_milliseconds() -> None:
    trace = parse(MOONCAKE, "500,6758,500", "2500,7322,490")
    assert isinstance(trace, RequestTrace)
    assert trace.at.tolist() == [0.0, 2.0]


def test_the_sizes_of_a_rate_trace_are_means_by_request() -> None:
    trace = parse(RATES, "m,0,1,100,10", "m,600,3,,", "m,1200,4,200,20")
    assert isinstance(trace, RateTrace)
    assert (trace.step, trace.seconds, trace.rate(700)) == (600, 1800, 3)
    assert (trace.mean_input, trace.mean_output) == pytest.approx((150, 15))


def test_the_same_seed_expands_rates_to_the_same_requests() -> None:
    trace = parse(RATES, "m,0,5,100,10", "m,600,20,,")
    assert isinstance(trace, RateTrace)
    one, other = trace.requests(1), trace.requests(1)
    assert one.at.tobytes() == other.at.tobytes()
    assert one.at.tobytes() != trace.requests(2).at.tobytes()
    assert len(one.at) == pytest.approx(15_000, rel=0.03)
    assert (one.at >= 600).sum() == pytest.approx(12_000, rel=0.04)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "t.csv:1: the first line is empty"),
        (["a,b", "1,2"], "t.csv:1: the first line is a,b"),
        ([MOONCAKE], "t.csv:1: no request follows"),
        ([MOONCAKE, "10,1,1", "9,1,1"], "t.csv:3: 9 is before the time of the line above"),
        ([MOONCAKE, "10,-1,1"], "t.csv:2: input_tokens is -1"),
        ([MOONCAKE, "10,1"], "t.csv:2: output_tokens is missing"),
        ([MOONCAKE, "10,1,nan"], "t.csv:2: output_tokens is nan"),
        ([AZURE, "soon,1,1"], "t.csv:2: TIMESTAMP is soon"),
        ([RATES, "m,0,1,1,1", "m,600,1,,", "m,1800,1,,"], "t.csv:4: 1200 s lie between this line and the one above"),
        ([RATES, "m,0,1,1,1", "m,0,1,,"], "t.csv:3: t_s 0 is not after the line above"),
        ([RATES, "m,0,-2,1,1"], "t.csv:2: rate_rps is -2"),
        ([RATES, "m,0,2,1,1"], "t.csv:2: a rate trace needs at least two lines"),
    ],
)
def test_what_is_wrong_with_a_trace_is_named_by_its_line(lines: list[str], said: str) -> None:
    with pytest.raises(InvalidInput) as failed:
        parse(*lines)
    assert failed.value.message.startswith(said)
    assert failed.value.fix


def test_a_file_that_is_not_there_or_is_no_text_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        trace_files.read(tmp_path / "none.csv")
    (tmp_path / "packed.csv").write_bytes(b"\x1f\x8b\xff\xfe")
    with pytest.raises(InvalidInput, match="not text"):
        trace_files.read(tmp_path / "packed.csv")
