"""Saves DVC experiments, through DVC's own API."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from logging import getLogger
from typing import Any

from ..._errors import ExperimentError
from ..dvc_errors import plain_text
from .git_checks import libgit2_refusal

logger = getLogger(__name__)

# DVC resolves metrics, params and plots against the working directory of the process, which must
# be the repository. So another process saves the experiment. It has a session of its own, and goes
# on if this process is killed: halfway through, the changes of the workspace exist only in Git's
# stash. It runs in isolated mode, with the import path of this process, so that no module in the
# working directory is imported.
_COMMAND = """
import json, sys
sys.path[:], experiment = json.load(sys.stdin)
error = None
try:
    from dvc.repo import Repo
    with Repo() as repo:
        repo.experiments.save(**experiment)
except Exception as caught:
    error = str(caught) or type(caught).__name__
print()
print(json.dumps(error))
"""


def experiment_name(repo: Any, name: str | None) -> str:
    """Return the name that an experiment will have; None: a random one.

    Raises:
        ExperimentError: no experiment can be saved here, or none of this name.
    """
    from dvc.exceptions import InvalidArgumentError
    from dvc.repo.experiments.refs import ExpRefInfo
    from dvc.repo.experiments.utils import check_ref_format, get_random_exp_name
    from dvc.scm import NoSCM

    scm = repo.scm
    if isinstance(scm, NoSCM):
        raise ExperimentError(name, "there is no Git repository. Run 'git init' and 'git commit'.")
    if reason := libgit2_refusal(scm):
        raise ExperimentError(name, reason)
    if scm.no_commits:
        raise ExperimentError(name, "Git has no commit yet. Run 'git commit'.")
    baseline = scm.get_rev()
    if name is None:
        random_name: str = get_random_exp_name(scm, baseline)
        return random_name
    ref = ExpRefInfo(baseline_sha=baseline, name=name)
    try:
        if not name:
            raise InvalidArgumentError("the name is empty")
        check_ref_format(scm, ref)
    except InvalidArgumentError as error:
        raise ExperimentError(name, f"{plain_text(error)}.") from error
    if scm.get_ref(str(ref)):
        raise ExperimentError(
            name,
            "an experiment of this name exists already. Pass another name, or run "
            f"'dvc exp remove {name}'.",
        )
    return name


def save_experiment(root: str, name: str, message: str | None, include: Sequence[str]) -> None:
    """Save the workspace as ``dvc exp save`` does, in another process. Blocks until it ends.

    Args:
        root: of the repository. Its lock is free.
        name: of the experiment.
        message: of its Git commit; None: DVC's.
        include: files that it holds although Git does not track them; absolute.

    Raises:
        ExperimentError: DVC refused.
    """
    import subprocess  # few sessions save an experiment

    experiment = {"name": name, "message": message, "include_untracked": [*include]}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _COMMAND],
            input=json.dumps((sys.path, experiment)),
            capture_output=True,
            text=True,
            cwd=root,
            start_new_session=True,
            check=False,
        )
        error = json.loads(done.stdout.splitlines()[-1])
    except (OSError, ValueError, IndexError) as failure:
        raise _not_saved(name, f"its process failed: {failure}") from failure
    for line in done.stderr.splitlines():
        logger.info("%s", line)
    if error is not None:
        raise _not_saved(name, plain_text(error))


def _not_saved(name: str, reason: str) -> ExperimentError:
    return ExperimentError(
        name,
        f"{reason.rstrip('.')}. The logged artifacts are tracked anyway; run 'dvc exp save'.",
    )


def stage_for_git(repo: Any, paths: Sequence[str]) -> None:
    """Add files to Git's index, as DVCLive does, so that ``dvc exp run`` includes them.

    Raises:
        ExperimentError: Git refused.
    """
    try:
        if paths:
            repo.scm.add([*paths])
    except Exception as error:
        raise ExperimentError(None, plain_text(error)) from error
