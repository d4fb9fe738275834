"""Sends objects of the cache to a remote, and proves that they are there. Start with ``pusher``.

It runs on an event loop of asyncio in a thread of its own, whatever loop the caller uses.

- ``pusher``: Pusher: all pushes of a session, to any number of remotes
- ``one_push``: the way of one push to one remote
- ``open_store``: opens the store of a remote that asynclive sends to itself
- ``store``: RemoteStore: the protocol that each kind of remote implements
- ``request_budget``: RequestBudget: one pool of permits, and the bandwidth, for all pushes
- ``push_loop``: PushLoop: the event loop of the push thread; safe to close as a program ends
- ``remote_options``: OWN_OPTIONS: the options of DVC's remotes that asynclive obeys itself
- ``remote_errors``: the refusals of a remote: what they mean, and what to tell the user
- ``local_remote``: LocalRemote: a directory as a remote
- ``directory``: the files of such a directory; blocks
- ``s3``: S3 through aiobotocore: credentials, and large files in parts that can be resumed
- ``cloud``: object storage by obstore: S3, Google Cloud Storage and Azure
"""
