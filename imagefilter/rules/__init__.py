"""The judgement: pure functions of a request and its policy, without I/O of their own.

Modules here may use :mod:`imagefilter.request` and :mod:`imagefilter.policy`. A rule that needs a fact from elsewhere
asks the lookups that it is handed.

* :mod:`~imagefilter.rules.table`: the one table of rules. To add a rule: a row here, a function beside the others, and
  its option in :mod:`imagefilter.policy.options`.
* :mod:`~imagefilter.rules.contract`: the compute API's documented contract.
* :mod:`~imagefilter.rules.operator`: the operator's own rules on names and metadata.
* :mod:`~imagefilter.rules.engine`: judge a request by the table.
* :mod:`~imagefilter.rules.case`: what a rule function gets and returns.
"""
