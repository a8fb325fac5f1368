"""The login pages: whose they are, and which field a person types into first."""

import re

import pytest

from hallmark.idp.pages import code_page, device_page, login_page, message_page

PAGES = [
    login_page("/a", {}),
    device_page("/a"),
    code_page("c"),
    message_page("Signed in", "Close this page."),
]


def focused(page: str) -> list[str]:
    return re.findall(r'<input [^>]*name="(\w+)"[^>]* autofocus', page)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_has_the_name_the_logo_and_the_style(page):
    assert "<svg" in page
    assert "Hallmark</header>" in page
    assert "<style>" in page
    assert " style=" not in page  # the policy allows the one style sheet alone


def test_the_first_empty_field_has_the_focus():
    assert focused(login_page("/a", {})) == ["email"]
    assert focused(device_page("/a")) == ["user_code"]
    assert focused(device_page("/a", user_code="ABCD")) == ["email"]
