"""Ids are told apart: within a process, between threads and between the processes that one becomes."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from aigateway.ids import new_id, request_id


@pytest.mark.parametrize(("prefix", "form"), [("resp", r"resp_[0-9a-f]{32}"), ("chatcmpl", r"chatcmpl-[0-9a-f]{32}")])
def test_an_id_has_the_form_of_its_kind(prefix: str, form: str) -> None:
    assert re.fullmatch(form, new_id(prefix))


def test_no_two_ids_are_alike_whoever_makes_them() -> None:
    with ThreadPoolExecutor(4) as threads:
        made = [*threads.map(lambda _: [new_id("x") for _ in range(700)], range(4))]
    assert len({one for some in made for one in some}) == 2800


FORKED = """
import os
from aigateway.ids import new_id, request_id
new_id("x")
if os.fork():
    os.wait()
print(new_id("x"), request_id({}), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there")
def test_processes_of_one_origin_make_ids_of_their_own() -> None:
    said = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True).stdout
    assert len(set(said.split())) == 4


@pytest.mark.parametrize("asked", ["", "a b", "x" * 129, "a\nb", "\u00e9"])
def test_a_request_is_called_as_its_caller_says_only_where_that_is_sane(asked: str) -> None:
    assert re.fullmatch(r"req_[0-9a-f]{32}", request_id({"x-request-id": asked}))
    assert request_id({"x-request-id": "trace:1.a_b-C"}) == "trace:1.a_b-C"
