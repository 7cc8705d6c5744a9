"""Questions to the APIs around the filter, asked as the caller.

Modules here may use :mod:`imagefilter.request`, :mod:`imagefilter.policy` and the exceptions of
:mod:`imagefilter.rules.case`. Nothing is asked before a rule needs the answer.

* :mod:`~imagefilter.lookup.compute`: the compute API behind the filter.
"""
