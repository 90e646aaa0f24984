r"""How a job is written: its id, a header line that brokers may read, and a payload.

::

    1|3|-|spinach|mail.send\n[["a@example.org"],{"urgent":true},1700000000000]
    │ │ │    │        │          │               │                └ at, ms since 1970
    │ │ │    │        │          │               └ keyword arguments
    │ │ │    │        │          └ positional arguments
    │ │ │    │        └ task
    │ │ │    └ queue
    │ │ └ flags: letters for features to come, `-` for none
    │ └ max_retries
    └ version of the record

Records never change once they are written (I18).
"""
