"""S3 through aiobotocore: the credentials of a remote, and large files in parts. Start with
``multipart_upload``.

- ``s3_client``: S3Connection: address, credentials and client of one remote, as DVC finds them
- ``signing_clock``: signs with the time of the remote, if the clock of this machine is wrong
- ``s3_requests``: S3Requests: each request, with its permit and its tries
- ``lazy_uploader``: LazyUploader: does, when it is needed, what obstore cannot
- ``multipart_upload``: MultipartUploader: sends a large file in parts, proven and resumable
- ``file_parts``: reads a file part by part, and hashes each part and the whole file
- ``part_proofs``: compares the replies of a remote with the parts that were sent
- ``multipart_etag``: the ETag of an object in parts, and guesses at the size of its parts
- ``upload_journal``: UploadJournal: the uploads that are open, to resume or abort them
- ``open_uploads``: finds and aborts uploads that no push goes on with
"""
