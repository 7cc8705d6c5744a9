"""The gateway: the same filter in front of a Nova that may not be touched.

``app_factory`` is the last app of a pipeline, behind the filter; it forwards each request to the compute API over HTTP.
Nothing else imports from here. In a paste file::

    [app:compute]
    use = egg:nova-imagefilter#gateway
    compute_url = https://nova.internal:8774

Keys of the section (:mod:`imagefilter.gateway.options` has all there is to know of them):

* ``compute_url``: scheme, host and port of the compute API;
* ``compute_ca_file``: certificates of the authorities that its certificate may be signed by (default: the system's);
* ``compute_client_cert``, ``compute_client_key``: files with the certificate that the gateway presents, and its key;
* ``compute_verify`` (``true``): whether the compute API's certificate is verified;
* ``connect_timeout`` (``5``), ``read_timeout`` (``60``): seconds; the latter between any two bytes of a response;
* ``pool_size`` (``16``): connections that a process keeps open: as many as it has threads.

The modules:

* :mod:`~imagefilter.gateway.app`: forward a request to the compute API, and its response to the client.
* :mod:`~imagefilter.gateway.body`: read a request's body before anything in the pipeline may answer it.
* :mod:`~imagefilter.gateway.forwarding`: build the request to the compute API out of a client's.
* :mod:`~imagefilter.gateway.headers`: which headers of a request and of a response are passed on.
* :mod:`~imagefilter.gateway.options`: the one table of the gateway's options.
* :mod:`~imagefilter.gateway.upstream`: read and check the options, and connect to the compute API.
* :mod:`~imagefilter.gateway.health`: the health check.
"""

from imagefilter.gateway.app import app_factory

__all__ = ["app_factory"]
