"""The beginning and the end of what a process prints."""

from __future__ import annotations

from hypothesis import given, strategies as st

from trio_agents.ext.code_executors._output import Output

PIECES = st.lists(st.binary(max_size=30).map(bytes.hex).map(str.encode), max_size=20)


@given(PIECES, st.integers(2, 100))
def test_what_fits_is_kept_and_of_the_rest_both_ends(pieces: list[bytes], limit: int) -> None:
    output = Output(limit)
    for piece in pieces:
        output.add(piece)
    whole = b"".join(pieces).decode()
    if len(whole) <= limit:
        assert output.text() == whole
    else:
        beginning, end = limit - limit // 2, limit // 2
        left_out = len(whole) - limit
        assert output.text() == (
            f"{whole[:beginning]}\n[... {left_out} bytes of output left out ...]\n"
            f"{whole[len(whole) - end :]}"
        )


def test_the_memory_is_bounded_too() -> None:
    output = Output(1000)
    for _ in range(1000):
        output.add(bytes(1000))
    assert len(output._end) < 100_000
