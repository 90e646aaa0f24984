r"""How a job is written: its id, a header line that brokers may read, and a payload.

::

    1|3|-|spinach|mail.send\n[["a@example.org"],{"urgent":true},1700000000000]
    │ │ │    │        │          │               │                └ at, ms since 1970
    │ │ │    │        │          │               └ keyword arguments
    │ │ │    │        │          └ positional arguments
    │ │ │    │        └ task
    │ │ │    └ queue
    │ │ └ flags: a letter for each option of the job, `-` for none
    │ └ max_retries
    └ version of the record

A job with options has them in a further element of the payload, as in
``["a@example.org"],{},1700000000000,{"expires_ms":1700000060000}`` with the flag `x`.

Records never change once they are written (I18).
"""
