"""The proxy before the server of S3 records what passes, and does what its rule says."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError
from s3_proxy import SLOW_DOWN, Cut, Hold, S3Proxy, always, every, first, is_upload
from s3_server import Bucket, make_client


def _put(proxy: S3Proxy, bucket: Bucket, key: str, body: bytes = b"content") -> None:
    client = make_client(proxy.endpoint)
    try:
        client.put_object(Bucket=bucket.name, Key=key, Body=body)
    finally:
        client.close()


def test_requests_pass_and_are_recorded(proxy: S3Proxy, bucket: Bucket) -> None:
    client = make_client(proxy.endpoint)
    client.put_object(Bucket=bucket.name, Key="a/b c", Body=b"content")
    assert client.head_object(Bucket=bucket.name, Key="a/b c")["ContentLength"] == 7
    assert client.get_object(Bucket=bucket.name, Key="a/b c")["Body"].read() == b"content"
    assert client.list_objects_v2(Bucket=bucket.name, Prefix="a/")["KeyCount"] == 1
    client.delete_object(Bucket=bucket.name, Key="a/b c")
    client.close()

    assert [(each.method, each.key, each.status) for each in proxy.requests] == [
        ("PUT", "a/b c", 200),
        ("HEAD", "a/b c", 200),
        ("GET", "a/b c", 200),
        ("GET", "", 200),
        ("DELETE", "a/b c", 204),
    ]
    assert proxy.requests[3].query["prefix"] == "a/"
    assert [each.key for each in proxy.uploads] == ["a/b c"]
    assert proxy.uploaded_bytes >= 7  # the client may frame the content
    assert proxy.most_at_once == 1
    assert bucket.keys() == set()


def test_a_rule_answers_in_place_of_the_server(proxy: S3Proxy, bucket: Bucket) -> None:
    proxy.rule = every(2, SLOW_DOWN)
    _put(proxy, bucket, "first")
    with pytest.raises(ClientError, match="SlowDown"):
        _put(proxy, bucket, "second")
    _put(proxy, bucket, "third")

    assert bucket.keys() == {"first", "third"}
    assert [each.status for each in proxy.requests] == [200, 503, 200]


def test_a_body_that_is_cut_off_reaches_no_server(proxy: S3Proxy, bucket: Bucket) -> None:
    proxy.rule = first(1, Cut(after_bytes=100_000), to=is_upload)
    with pytest.raises((ConnectionError, HTTPClientError)):
        _put(proxy, bucket, "key", bytes(10_000_000))

    assert bucket.keys() == set()
    assert (proxy.uploads[0].body_bytes, proxy.uploads[0].status) == (100_000, None)


def test_an_answer_that_is_cut_off_was_given(proxy: S3Proxy, bucket: Bucket) -> None:
    proxy.rule = always(Cut())
    with pytest.raises((ConnectionError, HTTPClientError)):
        _put(proxy, bucket, "key")

    assert bucket.keys() == {"key"}


def test_a_request_is_held_until_the_test_opens(proxy: S3Proxy, bucket: Bucket) -> None:
    hold = Hold()
    proxy.rule = always(hold)
    thread = threading.Thread(target=_put, args=(proxy, bucket, "key"))
    thread.start()
    hold.wait_until_reached()
    assert bucket.keys() == set()
    hold.open()
    proxy.wait_until(lambda: proxy.requests[0].succeeded)
    thread.join()

    assert bucket.keys() == {"key"}


def test_a_skewed_clock_refuses_requests_of_now(proxy: S3Proxy, bucket: Bucket) -> None:
    proxy.clock_offset = timedelta(minutes=20)
    with pytest.raises(ClientError, match="RequestTimeTooSkewed"):
        _put(proxy, bucket, "key")
    proxy.clock_offset = timedelta(minutes=10)
    _put(proxy, bucket, "key")


def test_the_server_is_gone_and_comes_back(proxy: S3Proxy, bucket: Bucket) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionError):
        _put(proxy, bucket, "key")
    proxy.listen()
    _put(proxy, bucket, "key")

    assert bucket.keys() == {"key"}
