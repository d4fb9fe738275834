"""Remotes as DVC configures them, outputs to push, DVC's own way to send.

- ``remote_description``: a remote of DVC's configuration
- ``configured_remotes``: ConfiguredRemotes: reads the configuration again if it has changed
- ``push_outputs``: PushOutputs: which outputs a push sends, and to which remote
- ``output_state``: OutputState: the state of an output for a push
- ``listed_objects``: the objects that the listing of a directory names
- ``artifact_names``: the path of an artifact by its name in dvc.yaml
- ``by_dvc``: sends to the remotes that only DVC's own classes can use
"""
