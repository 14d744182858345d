"""Whether a server answers, asked before a study begins."""

from __future__ import annotations

import ssl
from http import HTTPStatus
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from headstart.config import StudyError

SECONDS = 5.0
_GONE = {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}


def require_answer(tracker: str, url: str) -> None:
    """Ask once, through the proxy where one is set; the library itself would try for minutes.

    Any answer will do, and so will a certificate that is not known here: whether the server may be
    trusted, and with what password, is for the library to say.

    Raises:
        StudyError: no answer within seconds.
    """
    try:
        with urlopen(Request(url, method="HEAD"), timeout=SECONDS):  # noqa: S310 - http(s) by caller
            return
    except HTTPError as error:
        if error.code not in _GONE:
            return
        why = f"{error.code} {error.reason}"
    except URLError as error:
        if isinstance(error.reason, ssl.SSLError):
            return
        why = str(error.reason)
    except (OSError, ValueError) as error:
        why = str(error)
    raise StudyError(f"--track {tracker}: {url} does not answer ({why}); is the server up?")
