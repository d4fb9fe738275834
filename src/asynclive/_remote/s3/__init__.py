"""S3 through aiobotocore: the credentials of a remote, and large files in parts. Start with
``multipart_upload``.

- ``s3_client``: S3Connection: address, credentials and client of one remote, as DVC finds them
- ``signing_clock``: signs with the time of the remote, if the clock of this machine is wrong
"""
