from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from spinach.const import MAX_ERROR_BYTES
from spinach.outcome import Failure
from spinach_redis.failure import decode_failure, encode_failure

texts = st.text(st.characters(), max_size=40)


def size(failure: Failure) -> int:
    return sum(
        len(text.encode("utf-8", "surrogatepass"))
        for text in (failure.error, failure.message, failure.traceback)
    )


@settings(deadline=None)
@given(texts, texts, texts)
def test_short_reason_comes_back_as_it_was(error: str, message: str, traceback: str) -> None:
    failure = Failure(error=error, message=message, traceback=traceback)
    assert decode_failure(encode_failure(failure)) == failure


@settings(deadline=None)
@given(texts, texts, texts, st.sampled_from([1, 500, 3000]), st.sampled_from([1, 500, 3000]))
def test_long_reason_is_cut_to_the_bound(
    error: str, message: str, traceback: str, many: int, more: int
) -> None:
    failure = Failure(error=error, message=message * many, traceback=traceback * more)
    cut = decode_failure(encode_failure(failure))
    assert size(cut) <= MAX_ERROR_BYTES
    assert cut.error == failure.error
    assert failure.message.startswith(cut.message)
    assert failure.traceback.endswith(cut.traceback)


def test_message_and_traceback_each_have_half_of_the_room_at_least() -> None:
    cut = decode_failure(
        encode_failure(Failure(error="E", message="m" * 99_999, traceback="t" * 99_999))
    )
    assert len(cut.message) >= MAX_ERROR_BYTES // 2 - 1
    assert len(cut.traceback) >= MAX_ERROR_BYTES // 2 - 1


def test_no_reason_and_damaged_ones_are_shown_as_they_are() -> None:
    assert decode_failure(encode_failure(None)) == Failure(error="", message="")
    assert decode_failure(b"\xffnonsense").message == "\ufffdnonsense"
    assert decode_failure(b"[1]").message == "[1]"
