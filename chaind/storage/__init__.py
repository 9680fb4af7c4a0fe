"""What outlives the process: append-only logs, the key-value store, and the lock on a directory.

Law: nothing here is called durable before the kernel has said so, and nothing read back is
believed before its checksum holds. A disk that has failed once is never asked again: the caller
gets a `LocalFault` and the process ends. Only this room imports plyvel.
"""
