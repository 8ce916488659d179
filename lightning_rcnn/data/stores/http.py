"""Files of web servers."""

import http.client
import string
import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import quote

from lightning_rcnn.data.stores.transfer import NoRangesError, Span, TransferError

_CHUNK = 1 << 20
_TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504}


def receive(url: str, timeout: float, span: Span | None = None) -> Iterator[bytes]:
    """Yield the content of a URL, or a part of it.

    Args:
        url: URL, also with spaces and letters beyond ASCII, as in the line of a browser.
        timeout: seconds.
        span: the part.

    Raises:
        NoRangesError: the server ignores that only a part is asked for.
        TransferError: it cannot be fetched, or `timeout` seconds went by without a byte.
    """
    try:
        request = urllib.request.Request(quote(url, safe=string.punctuation))
        if span is not None:
            request.add_header("Range", f"bytes={span.start}-{span.end - 1}")
        with urllib.request.urlopen(request, timeout=timeout) as response:
            if span is not None and response.status != HTTPStatus.PARTIAL_CONTENT:
                raise NoRangesError
            received = 0
            while chunk := response.read1(_CHUNK):
                received += len(chunk)
                yield chunk
            if response.length:  # `read1` takes the end of a connection for the end of the content
                raise TransferError(f"received only {received} of {received + response.length} bytes")
    except urllib.error.HTTPError as error:
        raise TransferError(
            f"HTTP {error.code} {' '.join(str(error.reason).split())}", is_final=error.code not in _TRANSIENT_STATUS
        ) from error
    except TimeoutError as error:
        raise TransferError(f"no byte in {timeout:g} s") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise TransferError(str(getattr(error, "reason", error)) or type(error).__name__) from error
    except ValueError as error:
        raise TransferError(str(error), is_final=True) from error
