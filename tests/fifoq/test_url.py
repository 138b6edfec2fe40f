"""The query of a URL is read strictly, and each mistake is named."""

from pathlib import Path

import pytest

from fifoq.errors import ConfigurationError
from fifoq.url import named, read_query, read_timeout

KNOWN = ("prefix", "timeout")


def test_a_query_is_read_by_name() -> None:
    assert read_query("timeout=5&prefix=a%26b", KNOWN, "Store", "store://host") == {"timeout": "5", "prefix": "a&b"}
    assert read_query("", KNOWN, "Store", "store://host") == {}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("prefx=a", "takes the parameters prefix, timeout, and no others like 'prefx'"),
        ("prefix=a&prefix=b", "has the parameter 'prefix' once, not twice"),
        ("prefix=", "'prefix' of a Store URL has no value"),
        ("prefix", r"reads like \?prefix="),
        ("a=1;b", r"no others like 'a'"),
    ],
)
def test_a_wrong_query_is_named(query: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_query(query, KNOWN, "Store", "store://host")


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "3601", "soon", ""])
def test_a_timeout_is_a_number_of_seconds_up_to_an_hour(text: str) -> None:
    assert read_timeout("2.5", "store://host") == 2.5
    with pytest.raises(ConfigurationError, match="above 0 and up to 3,600"):
        read_timeout(text, "store://host")


def test_a_store_is_named_without_its_account_and_with_the_absolute_path_of_its_file() -> None:
    assert named("sqlite:///jobs.db?timeout=2") == f"sqlite:///{Path.cwd()}/jobs.db?timeout=2"
    assert named("sqlite:////var/jobs.db") == "sqlite:////var/jobs.db"
    assert named("redis://user:p@ss@host/0?prefix=shop") == "redis://***@host/0?prefix=shop"
    assert named("memory://") == "memory://"
