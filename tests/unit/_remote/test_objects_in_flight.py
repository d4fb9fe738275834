"""Which objects count as sent, and for how long they are kept."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from backends import on_asyncio

from asynclive._remote.one_push.objects_in_flight import ObjectsInFlight
from asynclive._remote.store import Sent

pytestmark = [pytest.mark.anyio, on_asyncio]


async def send() -> Sent:
    return Sent("etag")


async def is_sent(objects: ObjectsInFlight, md5: str, push: int) -> bool:
    _, is_own = await objects.send_once(md5, push, send)
    return is_own


async def test_an_object_counts_as_sent_for_the_pushes_that_had_begun() -> None:
    objects = ObjectsInFlight()
    with objects.push() as first, objects.push() as second:
        assert await is_sent(objects, "a", first)
        assert not await is_sent(objects, "a", second)
        with objects.push() as third:
            assert await is_sent(objects, "a", third)
            assert not await is_sent(objects, "a", first)


async def test_objects_are_kept_until_each_push_that_had_begun_has_ended() -> None:
    objects = ObjectsInFlight()
    with ExitStack() as long:
        long.enter_context(objects.push())
        for number in range(3):
            with objects.push() as push:
                assert await is_sent(objects, str(number), push)
        assert [*objects._sent] == ["0", "1", "2"]
        long.close()
        assert objects._sent == {}


async def test_a_push_that_begins_later_keeps_only_the_objects_sent_since_then() -> None:
    objects = ObjectsInFlight()
    with ExitStack() as first, ExitStack() as second:
        push = first.enter_context(objects.push())
        await is_sent(objects, "before", push)
        second.enter_context(objects.push())
        await is_sent(objects, "after", push)
        first.close()
        assert [*objects._sent] == ["after"]
        second.close()
        assert objects._sent == {}
