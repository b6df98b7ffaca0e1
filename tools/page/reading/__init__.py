"""What the pages read: SQL on a file with the schema of the SQLite journal.

The journal may be such a file. Otherwise, ``mirror.py`` copies it into a temporary one. No query reads the whole table:
each uses an index, or ends after a number of records, and then says so.
"""
