"""Finds the outputs that a push sends, and the objects of each one.

``dvc push`` collects the whole workspace for that. Here the index of the session knows the outputs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ..._artifact.push_records import PushObject, PushRequest, PushUnit, RemoteDescription
from ..._artifact.push_target import PushTarget
from ..._artifact.records import StagedArtifact, TrackedArtifact
from ..._errors import (
    ArtifactNotFoundError,
    ArtifactPathError,
    RemoteNotFoundError,
)
from ..._fs.paths import is_inside
from ..._index.dvc_rules import DvcRules
from ..._index.tracked_outputs import OutputIndex
from ..._index.workspace_index import WorkspaceIndex
from .artifact_names import find_named_path
from .configured_remotes import ConfiguredRemotes
from .listed_objects import read_listed_objects, size_of
from .output_state import OutputState, state_of


class PlannedUnit(NamedTuple):
    """An output and the remote that it goes to. Its objects are not known yet."""

    output: OutputState
    remote: RemoteDescription


class PushOutputs:
    """Finds outputs to push. The caller holds ``dvc_guard``, except for the methods ``read_…``.

    Args:
        repo: DVC's ``Repo``.
        index: the outputs that DVC tracks in the workspace.
        rules: DVC's rules, by which the index is refreshed.
    """

    def __init__(self, repo: Any, index: WorkspaceIndex[Any], rules: DvcRules) -> None:
        self._repo = repo
        self._root: str = repo.root_dir
        self._index = index
        self._rules = rules
        self._remotes = ConfiguredRemotes(repo)
        self._cache_dir: str = repo.cache.local.path
        self._legacy_cache_dir: str = repo.cache.legacy.path

    def describe_remote(self, name: str | None) -> RemoteDescription:
        """Return the remote of this name, as DVC's configuration of this moment describes it.

        Raises:
            RemoteNotFoundError: there is none of this name; with None, no default remote.
            RemoteAccessError: DVC cannot use it.
        """
        self._remotes.refresh()
        return self._remotes.describe(name)

    def plan(self, request: PushRequest) -> list[PlannedUnit]:
        """Find the outputs that ``dvc push`` would push.

        Raises:
            ArtifactNotFoundError: a target does not exist.
            ArtifactPathError: a target is not tracked by DVC.
            RemoteNotFoundError: a remote is not configured.
            RemoteAccessError: DVC cannot use a remote.
        """
        self._rules.reset()
        outputs = self._index.refresh(self._rules)
        if request.targets is None:
            found = outputs.all_outputs()
        else:
            found = [
                each for target in request.targets for each in self._find_target(target, outputs)
            ]
        states = dict.fromkeys(filter(None, map(state_of, self._reload_stages(found))))
        return self._with_remotes(states, request.remote)

    def plan_tracked(self, tracked: TrackedArtifact, remote: str | None) -> PlannedUnit | None:
        """Find the output of an artifact after its commit; None: it is not pushed.

        Raises:
            RemoteNotFoundError: the remote is not configured.
            RemoteAccessError: DVC cannot use it.
        """
        if tracked.output_md5 is None:
            return None
        output = self._index.outputs.owner(tracked.staged.request.path)
        # The output may have been committed again since. The bytes of this commit are meant.
        return self.plan_prepared(tracked.staged, output, tracked.output_md5, remote)

    def plan_prepared(
        self, staged: StagedArtifact, output: Any, md5: str, remote: str | None
    ) -> PlannedUnit | None:
        """Do the same as ``plan_tracked``, for the hash ``md5`` of the output.

        Args:
            staged: the artifact.
            output: the output; None: it is a new one, or its ``.dvc`` file was removed.
            md5: the hash of the output.
            remote: the name of the remote.
        """
        if output is None:
            state: OutputState | None = OutputState(
                staged.request.path, md5, f"{staged.request.path}.dvc"
            )
        else:
            state = state_of(output)
        if state is None:
            return None
        if state.md5 != md5:
            state = state._replace(md5=md5, size=None, files=())
        planned = self._with_remotes([state], remote)
        return planned[0] if planned else None

    def _find_target(self, target: PushTarget, outputs: OutputIndex[Any]) -> Sequence[Any]:
        """Return the outputs that a target means: a path first, then the name of an artifact."""
        path = target.path
        found = outputs.at(path)
        if not found and target.may_be_name:
            named_path = find_named_path(self._root, target.given)
            if named_path is not None:
                path, found = named_path, outputs.at(named_path)
        if found:
            return found
        if not os.path.lexists(path):
            raise ArtifactNotFoundError(path, _missing_reason(target))
        if outputs.first_below(path) is not None:
            raise ArtifactPathError(
                path,
                "is not tracked by DVC itself, but outputs in it are. Push each of them, or all.",
            )
        raise ArtifactPathError(path, "is not tracked by DVC. Log it first.")

    def _reload_stages(self, outputs: Iterable[Any]) -> Iterator[Any]:
        """Yield the outputs, and those of pipelines as dvc.lock has them now.

        The index does not notice that ``dvc repro`` has changed dvc.lock.
        """
        pipelines: dict[str, set[str]] = {}
        for output in outputs:
            if output.stage.cmd is None:
                yield output
            else:
                pipelines.setdefault(output.stage.path, set()).add(output.fs_path)
        for path, wanted in pipelines.items():
            for output in self._rules.load_by_dvc(path) or ():
                if output.fs_path in wanted:
                    yield output

    def _with_remotes(self, states: Iterable[OutputState], wanted: str | None) -> list[PlannedUnit]:
        """Add the remote to each output, as ``dvc push -r`` does.

        An output that names another remote than the wanted one is left out.
        """
        self._remotes.refresh()
        planned = []
        for state in states:
            if wanted and state.remote and state.remote.lower() != wanted.lower():
                continue
            try:
                remote = self._remotes.describe(state.remote or wanted, is_legacy=state.is_legacy)
            except RemoteNotFoundError as error:
                if state.remote is None:
                    raise
                raise RemoteNotFoundError(
                    state.remote,
                    f"the output '{os.path.relpath(state.path, self._root)}' names it: {error}",
                    option="remote",
                ) from error
            planned.append(PlannedUnit(state, remote))
        return planned

    def read_units(self, planned: Iterable[PlannedUnit]) -> list[PushUnit]:
        """Read the listings of directories, and return the units to push. Needs no guard.

        Raises:
            RemoteVerifyError: a listing in the cache is damaged.
        """
        return [self._read_unit(each) for each in planned]

    def read_unit_of(self, planned: PlannedUnit, staged: StagedArtifact) -> PushUnit:
        """Return the unit of one artifact. Needs no guard.

        Raises:
            RemoteVerifyError: the listing of the directory that contains it is damaged.
        """
        output = planned.output
        if output.path != staged.request.path or output.is_legacy:
            return self._read_unit(planned)
        label = self._label(output.path)
        objects = [
            PushObject(file.md5, file.size, os.sep.join((label, *key)))
            for key, file in staged.hashed_files
        ]
        return self._unit(planned, objects)

    def _read_unit(self, planned: PlannedUnit) -> PushUnit:
        output = planned.output
        label = self._label(output.path)
        if output.isdir and output.files:
            objects: Sequence[PushObject] = [
                PushObject(file.md5, file.size, _path_below(label, file.key))
                for file in output.files
            ]
        elif output.isdir:
            objects = read_listed_objects(
                self._cache_dir_of(output), output.md5, label, planned.remote.name
            )
        else:
            size = output.size
            if size is None:
                size = size_of(self._cache_dir_of(output), output.md5)
            objects = [PushObject(output.md5, size, label)]
        return self._unit(planned, objects)

    def _unit(self, planned: PlannedUnit, objects: Sequence[PushObject]) -> PushUnit:
        output, remote = planned
        cache_dir, listing = self._cache_dir_of(output), None
        if output.isdir:
            size = size_of(cache_dir, output.md5)
            listing = PushObject(output.md5, size, self._label(output.path))
        versions = {}
        if remote.is_cloud_versioned:
            label = self._label(output.path)
            versions = {
                _path_below(label, file.key): file.version
                for file in output.files
                if file.version is not None and file.remote == remote.name
            }
        return PushUnit(output.path, remote, cache_dir, objects, listing, output.dvc_file, versions)

    def _cache_dir_of(self, output: OutputState) -> str:
        return self._legacy_cache_dir if output.is_legacy else self._cache_dir

    def _label(self, path: str) -> str:
        """Return the path of an output for messages: relative to the repository."""
        return path[len(self._root) :].lstrip(os.sep) if is_inside(path, self._root) else path


def _missing_reason(target: PushTarget) -> str:
    if not target.may_be_name:
        return "does not exist."
    return (
        f"does not exist, and no artifact is named '{target.given}'. For an entry of a dvc.yaml in "
        "a directory, pass 'directory:name'."
    )


def _path_below(label: str, key: str) -> str:
    return os.path.join(label, *key.split("/")) if key else label
