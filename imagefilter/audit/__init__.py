"""From a verdict to its record.

Modules here may use everything below the filter: a record describes the request, the policy and the verdict.

* :mod:`~imagefilter.audit.event`: a verdict or an outcome as a CADF event.
* :mod:`~imagefilter.audit.resources`, :mod:`~imagefilter.audit.content`, :mod:`~imagefilter.audit.bounds`: its parts.
* :mod:`~imagefilter.audit.recorder`: record the verdict before anything happens, and the outcome after.
"""
