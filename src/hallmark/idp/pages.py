"""The provider's few pages: plain HTML without scripts, under a policy that allows none."""

import base64
import hashlib
from html import escape
from typing import Final
from urllib.parse import urlsplit

_STYLE: Final = (
    "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:4rem auto;padding:0 1rem}"
    "input,button{font:inherit;padding:.4rem .6rem;width:100%;box-sizing:border-box;margin:.3rem 0}"
    "code{display:block;padding:.6rem;background:#eee;word-break:break-all}"
    ".error{color:#a00}"
    "header{display:flex;align-items:center;gap:.6rem;color:#345;font-weight:600}"
    "button{background:#234;color:#fff;border:0;border-radius:.3rem;cursor:pointer}"
    "main{border:1px solid #ccc;border-radius:.5rem;padding:0 1.2rem 1rem;margin-top:1rem}"
)
_HEADER: Final = (
    '<header><svg width="28" height="28" viewBox="0 0 28 28" aria-hidden="true">'
    '<rect x="1" y="1" width="26" height="26" rx="7" fill="#234"/>'
    '<path d="M8 7v14M20 7v14M8 14h12" stroke="#fff" stroke-width="3" fill="none"/></svg>Hallmark</header>'
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
_EMAIL: Final = (
    '<label>E-mail address <input type="email" name="email" maxlength="254" required{focus} '
    'autocomplete="email" value="{value}"></label>'
)


def page_headers(redirect_uri: str = "") -> dict[str, str]:
    """Build the headers of a page; a browser follows a form's redirect only where the policy names it."""
    parts = urlsplit(redirect_uri)
    form_action = "form-action 'self'"
    if parts.scheme == "http":
        form_action += f" {parts.scheme}://{parts.netloc}"
    if "[" in parts.netloc:  # the policy's grammar knows no IPv6 addresses
        form_action = "form-action 'self' http:"
    policy = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; {form_action}"
    return {
        "content-security-policy": f"{policy}; base-uri 'none'; frame-ancestors 'none'",
        "cache-control": "no-store",
        # not `no-referrer`: under that a browser posts a form with `Origin: null`, which is refused
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }


def login_page(action: str, parameters: dict[str, str], *, email: str = "", error: str = "") -> str:
    """Ask for an e-mail address, and carry the request's parameters along."""
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in parameters.items()
    )
    field = _EMAIL.format(value=escape(email), focus=" autofocus")
    form = f'<form method="post" action="{escape(action)}">{hidden}{field}<button>Sign in</button></form>'
    text = "<p>This identity provider is for development: it believes the address you type.</p>"
    return _page("Sign in", _error(error) + text + form)


def device_page(action: str, *, user_code: str = "", email: str = "", error: str = "") -> str:
    """Ask for the code that a device shows, and for an e-mail address."""
    first, then = ("", " autofocus") if user_code else (" autofocus", "")
    code = (
        f'<label>Code <input name="user_code" maxlength="16" required{first} autocomplete="off" '
        f'value="{escape(user_code)}"></label>'
    )
    field = _EMAIL.format(value=escape(email), focus=then)
    form = f'<form method="post" action="{escape(action)}">{code}{field}<button>Sign in</button></form>'
    text = "<p>Enter the code only if you started the sign-in yourself.</p>"
    return _page("Sign in on a device", _error(error) + text + form)


def code_page(code: str) -> str:
    """Show an authorization code to be pasted."""
    return _page(
        "Verification code", f"<p>Paste this code where you are asked for it:</p><code>{escape(code)}</code>"
    )


def message_page(title: str, text: str) -> str:
    """Show a message."""
    return _page(title, f"<p>{escape(text)}</p>")


def _error(text: str) -> str:
    return f'<p class="error">{escape(text)}</p>' if text else ""


def _page(title: str, body: str) -> str:
    head = f'<meta charset="utf-8"><title>{escape(title)} - Hallmark</title><style>{_STYLE}</style>'
    head += '<meta name="viewport" content="width=device-width">'
    content = f"{_HEADER}<main><h1>{escape(title)}</h1>{body}</main>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{content}</body></html>'
