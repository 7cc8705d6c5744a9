"""The policy: what may be done.

Modules here turn what an operator wrote into checked, immutable values. They may use :mod:`imagefilter.request`,
:mod:`imagefilter.journal` and :mod:`imagefilter.coordination`, and know nothing of rules.

* :mod:`~imagefilter.policy.options`: the one table of the filter's options.
* :mod:`~imagefilter.policy.config`: read options out of paste sections and config files, for every part of imagefilter.
* :mod:`~imagefilter.policy.policy`: the policy of one filter.
* :mod:`~imagefilter.policy.settings`: the settings of a project.
* :mod:`~imagefilter.policy.limits`, :mod:`~imagefilter.policy.limit_options`: how many images, and whom to ask.
* :mod:`~imagefilter.policy.reserved`, :mod:`~imagefilter.policy.stamps`: keys of metadata that are the operator's.
* :mod:`~imagefilter.policy.stamp_options`: which stamps the images of a project get.
* :mod:`~imagefilter.policy.context`: a request beside the policy that applies to it.
* :mod:`~imagefilter.policy.pattern`: compile a ``name_pattern`` so that it can't hang a worker.
* :mod:`~imagefilter.policy.pattern_cost`: estimate how long a pattern may take.
* :mod:`~imagefilter.policy.loaded`, :mod:`~imagefilter.policy.summary`: how a policy was loaded; what is in force, in a
  line.
* :mod:`~imagefilter.policy.store`: the policy in force, reloaded when its files change.
* :mod:`~imagefilter.policy.changes`: what a reload takes away, and whether that looks like an accident.
"""
