"""Headless browser of Qt WebEngine, which is Chromium: ``python web_engine.py URL`` until it is ended.

Run by the interpreter of an environment that has `PySide6`; nothing else of the tests is there.
"""

from __future__ import annotations

import os
import sys

from PySide6.QtCore import QUrl
from PySide6.QtWebEngineCore import QWebEnginePage, QWebEngineProfile
from PySide6.QtWidgets import QApplication


def main(url: str) -> int:
    """Show ``url`` in no window; returns when the process is told to end."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ.setdefault("QTWEBENGINE_CHROMIUM_FLAGS", "--disable-gpu")
    # root can't have one, nor can containers; the pages are the tests' own.
    os.environ.setdefault("QTWEBENGINE_DISABLE_SANDBOX", "1")
    application = QApplication([sys.argv[0]])
    profile = QWebEngineProfile()  # without a name it keeps nothing on disk
    page = QWebEnginePage(profile)
    page.load(QUrl(url))
    status: int = application.exec()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
