"""The reader finds in a .dvc file the output that DVC finds, or leaves the file to DVC."""

from __future__ import annotations

from pathlib import Path

import pytest
from disk import write
from dvc.repo import Repo
from twin import dvc

from asynclive._index.dvc_file_reader import DvcFileOutput, read_dvc_file

PLAIN = "outs:\n- md5: {}\n  size: 4\n  hash: md5\n  path: {}\n"
MD5 = "8d777f385d3dfec8815d20f7496026dc"


def test_the_output_of_a_file_or_directory_is_the_one_that_dvc_finds(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repo, {"sub/plain.bin": "a", "run.sh": "b", "many/x": "c", "many/y/z": "d"})
    (repo / "run.sh").chmod(0o755)
    dvc(repo, "add", "--quiet", "sub/plain.bin", "run.sh", "many")
    monkeypatch.chdir(repo)
    stages = Repo(str(repo)).index.stages
    assert len(stages) == 3
    for stage in stages:
        output = read_dvc_file(stage.path)
        assert output is not None
        assert output.fs_path == stage.outs[0].fs_path
        assert (output.stage.path, output.stage.cmd) == (stage.path, stage.cmd)
        assert output.stage.addressing == stage.addressing


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(PLAIN.format(MD5, "model.bin") + "meta:\n  a: 1\n", id="more of the stage"),
        pytest.param(PLAIN.format(MD5, "model.bin") + "  desc: x\n", id="more of the output"),
        pytest.param(PLAIN.format(MD5, "model.bin").replace("outs", "wdir: ..\nouts"), id="wdir"),
        pytest.param(PLAIN.format(MD5, "model.bin").replace("\n", "\r\n"), id="CRLF"),
        pytest.param("# mine\n" + PLAIN.format(MD5, "model.bin"), id="comment"),
        pytest.param(PLAIN.format(MD5, "sub/model.bin"), id="in another directory"),
        pytest.param(PLAIN.format(MD5, "'model.bin'"), id="quoted"),
        pytest.param(PLAIN.format(MD5, "123"), id="a number"),
        pytest.param(PLAIN.format(MD5, "yes"), id="a bool"),
        pytest.param(PLAIN.format("1" * 32, "model.bin"), id="a hash that is a number"),
        pytest.param(PLAIN.format(MD5, "model.bin")[:-12], id="half of it"),
        pytest.param(PLAIN.format(MD5, "m" * 2000), id="too long"),
        pytest.param("", id="empty"),
    ],
)
def test_a_file_with_other_data_or_layout_is_left_to_dvc(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.bin.dvc"
    path.write_bytes(PLAIN.format(MD5, "model.bin").encode())
    assert isinstance(read_dvc_file(str(path)), DvcFileOutput)
    path.write_bytes(text.encode())
    assert read_dvc_file(str(path)) is None


def test_an_unreadable_file_is_left_to_dvc(tmp_path: Path) -> None:
    assert read_dvc_file(str(tmp_path / "none.dvc")) is None
    assert read_dvc_file(str(tmp_path)) is None
