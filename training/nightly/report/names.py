"""What the files of a report are called, in the folder of their night."""

from __future__ import annotations

from typing import Final

PAGE: Final = "report.html"
TEXT: Final = "report.txt"
JSON: Final = "report.json"
