"""Messages for users are one line, whatever the name of a file is."""

import pickle

from lightning_rcnn.errors import InputError


def test_a_message_is_one_line():
    error = InputError("new\nline\r\x1b[31mred\u2028日本.jpg: no such file")
    assert str(error) == "new\\nline\\r\\x1b[31mred\\u2028日本.jpg: no such file"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
