"""AWS Signature Version 4: the cases of AWS's own test suite, and botocore as the judge of any other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unittest.mock import patch
from urllib.parse import quote

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from aigateway.providers.sigv4 import AWSCredentials, Signer, canonical_request, reveal_credentials
from tests.bedrock import TOKEN

KEY_ID = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
AT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
HOST = "https://example.amazonaws.com"
UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
STS_TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7m"
    "SEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+x"
    "o0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)

# aws-sig-v4-test-suite: name -> method, path with query, content type, body, session token, signature.
SUITE = {
    "get-vanilla": ("GET", "/", "", "", None, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    "get-vanilla-empty-query-key": (
        "GET", "/?Param1=value1", "", "", None, "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    ),
    "get-vanilla-query-order-key-case": (
        "GET", "/?Param2=value2&Param1=value1", "", "", None,
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "get-vanilla-query-unreserved": (
        "GET", f"/?{UNRESERVED}={UNRESERVED}", "", "", None,
        "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
    ),
    "get-vanilla-utf8-query": (
        "GET", "/?%E1%88%B4=bar", "", "", None, "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    ),
    "get-unreserved": (
        "GET", f"/{UNRESERVED}", "", "", None, "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    "post-vanilla": ("POST", "/", "", "", None, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    "post-vanilla-query": (
        "POST", "/?Param1=value1", "", "", None, "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
    ),
    "post-sts-header-before": (
        "POST", "/", "", "", STS_TOKEN, "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
    ),
    "post-x-www-form-urlencoded": (
        "POST", "/", "application/x-www-form-urlencoded", "Param1=value1", None,
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
    "post-x-www-form-urlencoded-parameters": (
        "POST", "/", "application/x-www-form-urlencoded; charset=utf8", "Param1=value1", None,
        "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SUITE.values(), ids=SUITE.keys())
def test_the_cases_of_the_published_suite_have_their_signatures(
    case: tuple[str, str, str, str, str | None, str],
) -> None:
    method, target, content_type, body, token, signature = case
    headers = {"content-type": content_type, "user-agent": "not signed"} if content_type else {"accept": "*/*"}
    credentials = AWSCredentials(KEY_ID, SECRET, token)
    signed = Signer("us-east-1", "service").sign(
        method, HOST + target, headers, body.encode(), credentials=credentials, at=AT
    )
    names = [
        *(["content-type"] if content_type else []),
        "host",
        "x-amz-date",
        *(["x-amz-security-token"] if token else []),
    ]
    assert signed["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    assert signed["x-amz-date"] == "20150830T123600Z"
    assert signed.get("x-amz-security-token") == token


def test_the_path_is_encoded_once_more_than_it_is_sent() -> None:
    canonical, _ = canonical_request("POST", "/model/us.a-v1%3A0/converse", "", {"host": "h"}, b"")
    assert canonical.split("\n")[1] == "/model/us.a-v1%253A0/converse"


@given(
    model=st.text(st.characters(codec="utf-8"), min_size=1, max_size=30),
    query=st.sampled_from(["", "?a=b&c=%20d", "?z=1&a=2", "?x=", "?a=%2F&A=3"]),
    body=st.binary(max_size=60),
    token=st.sampled_from([None, TOKEN]),
    more=st.dictionaries(st.sampled_from(["x-amz-one", "x-amz-two"]), st.sampled_from(["a", " a   b ", "ü"])),
    at=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 - botocore wants them so
)
def test_botocore_signs_any_request_alike(
    model: str, query: str, body: bytes, token: str | None, more: dict[str, str], at: datetime
) -> None:
    url = f"https://bedrock-runtime.us-east-1.amazonaws.com/model/{quote(model, safe='')}/converse{query}"
    headers = {"content-type": "application/json", **more}
    judged = AWSRequest("POST", url, headers=headers, data=body)
    with patch.object(botocore.auth, "get_current_datetime", lambda: at):
        botocore.auth.SigV4Auth(Credentials(KEY_ID, SECRET, token), "bedrock", "us-east-1").add_auth(judged)
    signed = Signer("us-east-1", "bedrock").sign(
        "POST", url, headers, body, credentials=AWSCredentials(KEY_ID, SECRET, token), at=at
    )
    assert signed["authorization"] == judged.headers["Authorization"]


def test_the_key_of_a_day_does_not_sign_another_one() -> None:
    signer = Signer("us-east-1", "service")
    first = AWSCredentials(KEY_ID, SECRET)
    for credentials, at in (
        (first, AT),
        (first, AT + timedelta(days=1)),
        (AWSCredentials(KEY_ID, "other"), AT),
        (first, AT),
    ):
        kept = signer.sign("GET", HOST, {}, b"", credentials=credentials, at=at)
        assert kept == Signer("us-east-1", "service").sign("GET", HOST, {}, b"", credentials=credentials, at=at)


def test_credentials_do_not_show_themselves_and_are_whole() -> None:
    assert repr(AWSCredentials(KEY_ID, SECRET, TOKEN)) == "AWSCredentials('***')"
    with pytest.raises(ValueError, match="secret_access_key"):
        AWSCredentials(KEY_ID, "")


async def test_credentials_may_come_from_a_function_async_or_not() -> None:
    credentials = AWSCredentials(KEY_ID, SECRET)

    async def renew() -> AWSCredentials:
        return credentials

    assert await reveal_credentials(renew) is credentials
    assert await reveal_credentials(lambda: credentials) is credentials
