"""KnownEtags: how an object was proven, under the ETag that it had then."""

from __future__ import annotations

from pathlib import Path

from asynclive._remote.cloud.known_etags import KnownEtags


def test_a_proof_is_known_again_under_the_same_etag(tmp_path: Path) -> None:
    etags = KnownEtags(str(tmp_path), "remote")
    etags.add("one", "a-2", "etag")
    etags.add("two", "b-2", "checksum")
    for known in (etags, KnownEtags(str(tmp_path), "remote")):
        assert known.proof_of("one", "a-2") == "etag"
        assert known.proof_of("two", "b-2") == "checksum"
        assert known.proof_of("one", "b-2") is None
        assert known.proof_of("three", "a-2") is None
    assert KnownEtags(str(tmp_path), "other").proof_of("one", "a-2") is None


def test_a_line_that_was_cut_short_proves_nothing(tmp_path: Path) -> None:
    KnownEtags(str(tmp_path), "remote").add("one", "a-2", "etag")
    [path] = tmp_path.iterdir()
    line = path.read_bytes()
    for cut in range(len(line) - 1):
        path.write_bytes(line[:cut])
        assert KnownEtags(str(tmp_path), "remote").proof_of("one", "a-2") is None
