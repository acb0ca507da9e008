"""The dashboard by ApiFunction under the real runtime client, behind either API Gateway."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.aws_lambda.events import KEY, http_api_event, rest_api_event
from tests.aws_lambda.function import Function, Response
from tests.server import CAPITAL

FORM = {"content-type": "application/x-www-form-urlencoded"}
HTML = {"accept": "text/html"}


def cookie_of(response: Response) -> str:
    """The session's cookie, as a browser sends it."""
    sent = response.payload.get("cookies") or [
        *response.payload.get("multiValueHeaders", {}).get("set-cookie", ()),
        response.headers.get("set-cookie", ""),
    ]
    (found,) = {each for each in sent if each}
    assert {"HttpOnly", "Secure", "SameSite=strict"} <= set(found.split("; "))
    cookie: str = found.partition(";")[0]
    return cookie


@pytest.mark.parametrize("event_of", [http_api_event, rest_api_event])
def test_signing_in_leads_to_what_is_stored(
    inference: Function, api_function: Function, event_of: Any
) -> None:
    body = {"messages": CAPITAL, "temperature": 0, "store": True, "metadata": {"task": "look"}}
    created = inference.request(http_api_event("POST", "/v1/chat/completions", body)).json()

    def get(path: str, **headers: str) -> Response:
        return api_function.request(event_of("GET", path, key=None, headers={**HTML, **headers}))

    refused = get("/dashboard/completions")
    assert refused.status in (302, 303, 307)
    (token,) = re.findall(r'name="csrf_token" value="([^"]+)"', get("/dashboard/sign-in").text)
    form = urlencode({"key": KEY, "csrf_token": token}).encode()
    headers = {**FORM, **HTML, "sec-fetch-site": "same-origin"}
    signed_in = api_function.request(
        event_of("POST", "/dashboard/sign-in", form, key=None, headers=headers)
    )
    assert signed_in.status == 303, signed_in.text
    cookie = cookie_of(signed_in)
    listed = get("/dashboard/completions", cookie=cookie)
    assert listed.status == 200
    assert "What is the capital of France?" in listed.text
    assert "default-src 'none'" in listed.headers["content-security-policy"]
    one = get(f"/dashboard/completions/{created['id']}", cookie=cookie)
    assert created["choices"][0]["message"]["content"] in one.text
    (style,) = re.findall(r'href="([^"]*style[^"]*\.css[^"]*)"', listed.text)
    file = get("/dashboard/" + style.partition("static/")[1] + style.partition("static/")[2])
    assert (file.status, file.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert "immutable" in file.headers["cache-control"]


@pytest.mark.parametrize("event_of", [http_api_event, rest_api_event])
def test_browsers_are_led_to_it(api_function: Function, event_of: Any) -> None:
    led = api_function.request(event_of("GET", "/", key=None, headers=HTML))
    assert led.status == 307
    assert led.headers["location"].endswith("dashboard")
