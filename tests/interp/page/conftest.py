"""What tests of the page to explore share: a browser."""

import pytest
from browser import Browser, find_browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    path = find_browser()
    if path is None:
        pytest.skip("needs a Chromium, and none of chromium, chromium-browser, google-chrome is here")
    found = Browser(path, tmp_path_factory.mktemp("profile"))
    yield found
    found.close()
