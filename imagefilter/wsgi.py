"""``application``: the pipeline of a paste file, for any WSGI server.

The environment variable ``IMAGEFILTER_PASTE`` names the paste file, and after a ``#`` the section if it is not
``main``. If it is set, the file is loaded when a server imports this module: to import it is to load the gateway, and
uWSGI looks for ``application`` in the module's dictionary alone. Otherwise the first use says what is missing::

    IMAGEFILTER_PASTE=/etc/imagefilter/gateway.ini granian --interface wsgi --http 1 imagefilter.wsgi:application
"""

from __future__ import annotations

import configparser
import logging
import os
import re
import sys
import threading
from typing import TYPE_CHECKING, Any

from paste.deploy import loadapp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

VARIABLE = "IMAGEFILTER_PASTE"

# With this status gunicorn's workers say that it is no use to start another.
_EXIT_STATUS = 3

_lock = threading.Lock()

# Options of keystoneauth's plugins, which auth_token reads and says of each that it does not know it; and the shipped
# paste file's own, which PasteDeploy hands to every filter.
_PLUGIN_OPTION = re.compile(
    "compute_api|auth_url|username|password|(user|project|trust|system|default|application_credential)_.*"
)

_REQUEST_KEYS = ("CONTENT_LENGTH", "CONTENT_TYPE", "RAW_URI", "REQUEST_URI", "REMOTE_USER", "AUTH_TYPE")


def __getattr__(name: str) -> Any:
    """Load ``application`` at its first use (PEP 562), if the variable was set after this module was imported."""
    if name != "application":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _lock:  # once: threads that ask meanwhile wait
        if name not in globals():
            globals()[name] = load(os.environ.get(VARIABLE, ""))
    return globals()[name]


def load(paste: str) -> WSGIApplication:
    """Load a pipeline.

    :param paste: a paste file, and after a ``#`` the section's name if it is not ``main``.
    :raises SystemExit: if it can't be loaded; a line that says why is written to standard error.
    """
    path, _, name = paste.partition("#")
    if not path:
        raise _exit(f"{VARIABLE} is not set: name the paste file, e.g. /etc/imagefilter/gateway.ini")
    _set_up_logging()
    try:
        application: WSGIApplication = loadapp(f"config:{os.path.abspath(path)}", name=name or None)
    except configparser.InterpolationError as error:  # its own message contains the value, which may be a password
        reason = f"{error.option} in section [{error.section}] can't be read: a % must be written as %%"
        raise _exit(f"{VARIABLE}={paste}: {reason}") from None
    except (LookupError, OSError, ValueError) as error:
        raise _exit(f"{VARIABLE}={paste}: {error}") from error
    except Exception as error:  # each filter has errors of its own
        raise _exit(f"{VARIABLE}={paste}: {type(error).__name__}: {error}") from error
    return with_script_name(without_environment(application))


def _set_up_logging() -> None:
    """Write what is logged to standard error, unless somebody has set up where it goes: servers log only their own."""
    if logging.getLogger().handlers:
        return
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("imagefilter").setLevel(logging.INFO)
    logging.getLogger("keystonemiddleware._common.config").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether a line about an option that auth_token does not know says more than that it is a plugin's."""
    found = re.fullmatch('The option "(.+)" is not known to keystonemiddleware', record.getMessage())
    return found is None or _PLUGIN_OPTION.fullmatch(found[1]) is None


def with_script_name(application: WSGIApplication) -> WSGIApplication:
    """Give requests an empty ``SCRIPT_NAME`` where a server gives none (PEP 3333 allows that, paste.urlmap does not).

    uWSGI gives what nginx sends, and nginx's ``uwsgi_params`` has none.
    """

    def named(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ.setdefault("SCRIPT_NAME", "")
        return application(environ, start_response)

    return named


def without_environment(application: WSGIApplication) -> WSGIApplication:
    """Remove the process's own variables from requests where they would pass for a client's or a filter's.

    granian puts the whole environment into each WSGI environ, where ``HTTP_PROXY`` is a header of the client's and
    ``keystone.token_info`` says that auth_token was there.
    """
    ambient = {key: text for key, text in os.environ.items() if _may_pass_for_a_request(key)}
    if not ambient:
        return application

    def cleaned(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        for key, text in ambient.items():
            if environ.get(key) == text:
                del environ[key]
        return application(environ, start_response)

    return cleaned


def _exit(message: str) -> SystemExit:
    sys.stderr.write(f"imagefilter.wsgi: {message}\n")  # servers would print it below a traceback of their own
    return SystemExit(_EXIT_STATUS)


def _may_pass_for_a_request(key: str) -> bool:
    return key.startswith("HTTP_") or "." in key or key in _REQUEST_KEYS


if os.environ.get(VARIABLE):
    application = load(os.environ[VARIABLE])
