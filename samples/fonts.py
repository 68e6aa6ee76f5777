"""The Chinese typefaces that sample documents are set in.

Three families, so that layouts differ as real prints do: ``song`` (Noto Serif SC) and ``hei`` (Noto Sans SC), both
under the SIL Open Font License from the wheel ``pylopdf-fonts-zh-cn``, which requirements.lock pins by hash; and
``kai`` (AR PL KaitiM GB, Arphic Public License) from the Debian package ``fonts-arphic-gkai00mp``, since no wheel carries a
Kai face. ``kai`` is optional: ``ensure()`` unpacks it into the virtual environment (nothing is installed on the machine),
and where Debian's packages cannot be reached the song face stands in. All three cover GB 2312 wholly.

``python -m samples.fonts ensure`` fetches what is missing and says what is there.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fontTools.ttLib import TTFont
from PIL import ImageFont

Family = Literal["song", "hei", "kai"]

KAI_PACKAGE = "fonts-arphic-gkai00mp"
KAI_TTF = "usr/share/fonts/truetype/arphic-gkai00mp/gkai00mp.ttf"
#: sha256 of the font file inside the package: a mirror or a proxy cannot hand us another one.
KAI_SHA256 = "61519fb9bdda4a1a3aa02a12cbb76c2ef897ce879775d7ea2265d0a65fe54d16"

#: Size (pixels per em) at which glyph measures are taken; large enough that rounding stays below 0.1 % of an em.
MEASURE = 1000


def font_folder() -> Path:
    """Where fetched fonts live: inside the environment that runs us, so that deleting it leaves nothing behind."""
    return Path(sys.prefix) / "share" / "yunku-fonts"


def ensure(*, quiet: bool = False) -> dict[str, str]:
    """Make every family available; returns family → font file. A missing ``kai`` is reported, never an error."""
    target = font_folder() / "gkai00mp.ttf"
    if not _is_kai(target):
        problem = _fetch_kai(target)
        if problem and not quiet:
            print(f"kai: {problem}; song stands in", file=sys.stderr)
    _path.cache_clear()
    return {family: str(_path(family)) for family in ("song", "hei", "kai")}


def _is_kai(path: Path) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == KAI_SHA256


def _fetch_kai(target: Path) -> str:
    """Unpack the Kai face from Debian's package; returns the problem, or an empty string."""
    installed = Path("/") / KAI_TTF
    if _is_kai(installed):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(installed, target)
        return ""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        return "no Debian package tools here"
    with tempfile.TemporaryDirectory(prefix="yunku-fonts-") as folder:
        os.chmod(folder, 0o755)  # noqa: S103 - apt's own download user must be able to read it
        if not _download(folder) and (os.geteuid() != 0 or not _run(["apt-get", "update", "-qq"]) or not _download(folder)):
            return f"apt-get download {KAI_PACKAGE} failed"
        packages = list(Path(folder).glob("*.deb"))
        if not packages or not _run(["dpkg-deb", "-x", str(packages[0]), folder]):
            return "the package could not be unpacked"
        unpacked = Path(folder) / KAI_TTF
        if not _is_kai(unpacked):
            return "the font file is not the expected one"
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(f".{os.getpid()}")
        shutil.copyfile(unpacked, partial)
        partial.replace(target)  # several test processes may do this at once: the last whole file wins
    return ""


def _download(folder: str) -> bool:
    return _run(["apt-get", "download", "-qq", KAI_PACKAGE], cwd=folder)


def _run(command: list[str], cwd: str | None = None) -> bool:
    try:
        return subprocess.run(command, cwd=cwd, capture_output=True, timeout=120, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@functools.cache
def _path(family: Family) -> Path:
    if family == "kai":
        kai = font_folder() / "gkai00mp.ttf"
        return kai if kai.is_file() else _path("song")
    name = {"song": "NotoSerifSC-Regular.otf", "hei": "NotoSansSC-Regular.otf"}[family]
    return Path(str(importlib.resources.files("pylopdf_fonts_zh_cn") / name))


@dataclass(frozen=True)
class Face:
    """One typeface with its measures in em."""

    family: Family
    path: Path

    def advance(self, char: str) -> float:
        """Width of a character with its side bearings, in em."""
        return _advance(self.path, char)

    def covers(self, text: str) -> bool:
        """Whether every character of the text has a glyph (the Kai face has no 〇 and no ㎡)."""
        return all(ord(char) in _characters(self.path) for char in text)

    def ink(self, char: str) -> tuple[float, float, float, float]:
        """Box of the ink in em: left, top, right, bottom; from the origin on the baseline, y growing downwards."""
        return _ink(self.path, char)

    def at(self, pixels: float) -> ImageFont.FreeTypeFont:
        """The face at a size in pixels per em, for drawing."""
        return _sized(self.path, round(pixels, 2))


@functools.cache
def face(family: Family) -> Face:
    """The face of a family (song's where kai is not there)."""
    return Face(family, _path(family))


@functools.cache
def _characters(path: Path) -> frozenset[int]:
    with TTFont(path, lazy=True) as font:
        return frozenset(font.getBestCmap())


@functools.lru_cache(maxsize=64)
def _sized(path: Path, pixels: float) -> ImageFont.FreeTypeFont:
    # The basic engine places glyphs by their advances alone, as the PDF text operators do: both outputs agree.
    return ImageFont.truetype(str(path), pixels, layout_engine=ImageFont.Layout.BASIC)


@functools.lru_cache(maxsize=20_000)
def _advance(path: Path, char: str) -> float:
    return float(_sized(path, MEASURE).getlength(char)) / MEASURE


@functools.lru_cache(maxsize=20_000)
def _ink(path: Path, char: str) -> tuple[float, float, float, float]:
    left, top, right, bottom = _sized(path, MEASURE).getbbox(char, anchor="ls")
    return left / MEASURE, top / MEASURE, right / MEASURE, bottom / MEASURE


if __name__ == "__main__":
    if sys.argv[1:] != ["ensure"]:
        sys.exit("usage: python -m samples.fonts ensure")
    for name, file in ensure().items():
        print(f"{name}: {file}")
