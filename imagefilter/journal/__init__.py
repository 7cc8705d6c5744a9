"""The audit journal as a file: written durably, and read back.

Modules here know lines of JSON, files and their rotation. They know no HTTP, no options and no rules.

* :mod:`~imagefilter.journal.writer`: append a record, on disk before the writer goes on.
* :mod:`~imagefilter.journal.record`: what all records have in common.
* :mod:`~imagefilter.journal.files`: the files of a journal, rotated ones included.
* :mod:`~imagefilter.journal.reader`: the lines of one file.
* :mod:`~imagefilter.journal.position`: how far a journal was read, and what to read next.
* :mod:`~imagefilter.journal.follower`: every line of a journal once and in order, through rotation.
* :mod:`~imagefilter.journal.follow`: the loop over several journals.
* :mod:`~imagefilter.journal.history`: journals as a table for SQL.
* :mod:`~imagefilter.journal.tail`: the newest requests, without reading all that is older.
"""
