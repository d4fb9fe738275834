"""Looks for objects: by one HEAD each, or by pages of a listing that skip ahead."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import obstore
from obstore.exceptions import InvalidPathError

from ..._workers.bounded_gather import run_together
from .obstore_errors import REQUEST_ERRORS
from .retried_requests import MissingInRemoteError, RetriedRequests

# A listing is read in pages of this size by S3 and by Google Cloud Storage, and by Azure.
PAGE, LARGEST_PAGE = 1000, 5000
# So few objects are asked for one by one. With 16 permits, that takes as long as a page, and costs
# as much at AWS as three of them.
_FEW = 50
# A page of a listing must find so many objects to be worth it. Otherwise the remote has many others
# between them, and the rest is asked for one by one.
_WORTH_A_PAGE = 4
_HASH = re.compile(r"[0-9a-f]{8}")


class Listed(NamedTuple):
    """An object in the remote."""

    size: int
    etag: str
    """Without quotes; empty if the remote gives none."""


class ObjectSearch:
    """Finds out which of some keys are in a remote. It needs no more requests than keys.

    The names of objects are hashes, so they are spread evenly. The first page of a listing tells
    how many pages the others need.

    Args:
        requests: makes the requests.
        skips: whether a listing can begin after any key. That of Azure begins with the first.
    """

    def __init__(self, requests: RetriedRequests, skips: bool) -> None:
        self._requests = requests
        self._skips = skips
        self._found: dict[str, Listed] = {}

    async def run(self, keys: Sequence[str]) -> dict[str, Listed]:
        """Return the objects that are there, by key."""
        wanted = sorted(keys)
        if len(wanted) <= _FEW:
            await self._head(wanted)
        elif self._skips:
            await self._skip_scan(wanted)
        else:
            await self._head(await self._list_from_start(wanted))
        return self._found

    async def _skip_scan(self, wanted: list[str]) -> None:
        """List from the first key on, and skip from the end of each page to the next key."""
        rest = await self._read_page(wanted)
        by_page = len(wanted) - len(rest)
        if by_page < _WORTH_A_PAGE:
            await self._head(rest)
        elif rest:
            await self._list_segments(rest, by_page)

    async def _list_from_start(self, wanted: list[str]) -> list[str]:
        """List page by page from the first object on, and return the keys that are left.

        It ends after the first page if the others would find too few of the keys.
        """
        listing = _Listing()
        total = len(wanted)
        while wanted:
            page = await self._requests.run(listing.next_page)
            if page is None:
                return wanted
            is_last = len(page) < LARGEST_PAGE
            wanted = self._take(page, wanted, is_last)
            if not is_last and total * _position(page[-1]["path"]) < _WORTH_A_PAGE:
                return wanted
        return wanted

    async def _list_segments(self, wanted: list[str], by_page: int) -> None:
        """List the keys in parallel, in as many segments as there are pages or permits."""
        pages = -(-len(wanted) // by_page)
        segments = min(pages, self._requests.budget.max_requests)
        bounds = [len(wanted) * number // segments for number in range(segments + 1)]
        jobs = [partial(self._list, wanted[first:end]) for first, end in pairwise(bounds)]
        await run_together(jobs, segments)

    async def _list(self, wanted: list[str]) -> None:
        while wanted:
            wanted = await self._read_page(wanted)

    async def _read_page(self, wanted: list[str]) -> list[str]:
        """Read the page that begins at the first key; return the keys after it."""
        page = await self._requests.run(partial(_list_after, after=wanted[0][:-1]))
        if page is None or page != sorted(page, key=_path):
            # S3 keeps the order of the keys, and a few other stores do not.
            await self._head(wanted)
            return []
        return self._take(page, wanted, is_last=len(page) < PAGE)

    def _take(self, page: Any, wanted: list[str], is_last: bool) -> list[str]:
        """Take the keys of a page; return those that come after it."""
        listed = {each["path"]: each for each in page}
        end = len(wanted) if is_last else bisect_right(wanted, page[-1]["path"])
        for key in wanted[:end]:
            if key in listed:
                self._found[key] = read_meta(listed[key])
        return wanted[end:]

    async def _head(self, wanted: list[str]) -> None:
        jobs = (partial(self._head_one, key) for key in wanted)
        await run_together(jobs, self._requests.budget.max_requests)

    async def _head_one(self, key: str) -> None:
        try:
            meta = await self._requests.run(partial(head, key=key))
        except MissingInRemoteError:
            return
        self._found[key] = read_meta(meta)


def read_meta(meta: Any) -> Listed:
    """Return what obstore reports of an object."""
    return Listed(meta["size"], (meta["e_tag"] or "").removeprefix("W/").strip('"'))


async def head(store: Any, key: str) -> Any:
    """Ask for the size and the ETag of an object."""
    return await obstore.head_async(store, key)


class _Listing:
    """A listing that is read page by page, each one by a request of its own."""

    def __init__(self) -> None:
        self._stream: Any = None
        self._pages = 0

    async def next_page(self, store: Any) -> Any:
        """Return the next page; None: it cannot be read, or an earlier try has broken it off."""
        if self._pages == 0:
            self._stream = obstore.list(store, chunk_size=LARGEST_PAGE)
        try:
            page: Any = await anext(self._stream, [])
        except InvalidPathError:
            return None
        except REQUEST_ERRORS:
            if self._pages == 0:
                raise
            return None
        self._pages += 1
        return page


def _path(meta: Any) -> str:
    return str(meta["path"])


def _position(key: str) -> float:
    """Return which part of all hashes comes before that of a key; 0: another program named it."""
    digits = key[:2] + key[3:9]
    return int(digits, 16) / 16**8 if _HASH.fullmatch(digits) else 0.0


async def _list_after(store: Any, after: str) -> Any:
    """Return the first page of the objects whose keys come after ``after``.

    None: the name of an object of another program, such as ``a//b``, is more than obstore can read.
    """
    try:
        async for page in obstore.list(store, offset=after, chunk_size=PAGE):
            return page
    except InvalidPathError:
        return None
    return []
