import logging
import warnings

import pytest

from lightning_rcnn.export.quiet import quietly


@quietly({"quiet.loud": logging.ERROR})
def fail(*loggers):
    warnings.warn("unseen", stacklevel=1)
    for logger in loggers:
        logger.warning("within")
        logger.error("severe")
    raise KeyError


def test_loggers_and_warnings_are_as_before_afterwards(caplog, recwarn):
    loud, other = logging.getLogger("quiet.loud"), logging.getLogger("quiet.other")
    loud.setLevel(logging.INFO)
    with pytest.raises(KeyError):
        fail(loud, other)
    assert loud.level == logging.INFO
    assert [(record.name, record.message) for record in caplog.records] == [
        ("quiet.loud", "severe"),
        ("quiet.other", "within"),
        ("quiet.other", "severe"),
    ]
    assert not recwarn.list
