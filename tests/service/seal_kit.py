"""What the tests of seals share: documents of many structures, signers of the development CA, and poppler's opinion."""

import atexit
import base64
import hashlib
import json
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from asn1crypto import keys as asn1_keys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from PIL import Image, ImageDraw
from pypdf import PdfReader, PdfWriter

from infra import devca
from kernel import pki
from services.signing import adapters, pdfops
from services.signing.pdfimages import image_to_pdf
from services.signing.ports import Prepared, SealRequest
from services.signing.sealimage import draw_seal

PDF = "application/pdf"

# One page, 200 x 280 points; written by qpdf 11 with --linearize, --object-streams=generate, both, and --encrypt.
_WRITTEN_BY_QPDF = {
    "linearised": (
        "JVBERi0xLjcKJb/3ov4KMiAwIG9iago8PCAvTGluZWFyaXplZCAxIC9MIDE0NTggL0ggWyA1NDkgMTE5IF0gL08gNSAvRSAxMjMz"
        "IC9OIDEgL1QgMTMwMCA+PgplbmRvYmoKICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg"
        "ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAKeHJlZgoyIDYK"
        "MDAwMDAwMDAxNSAwMDAwMCBuIAowMDAwMDAwNTAwIDAwMDAwIG4gCjAwMDAwMDA1NDkgMDAwMDAgbiAKMDAwMDAwMDY2OCAwMDAw"
        "MCBuIAowMDAwMDAwODEwIDAwMDAwIG4gCjAwMDAwMDExMTkgMDAwMDAgbiAKdHJhaWxlciA8PCAvUm9vdCAzIDAgUiAvU2l6ZSA4"
        "IC9QcmV2IDEyOTIgICAgICAgICAgICAgICAgICAvSUQgWzxiNDc1YzAxMjIzMWVhNjM4OTVlNTJmNWExNDc2Y2FhZj48YjQ3NWMw"
        "MTIyMzFlYTYzODk1ZTUyZjVhMTQ3NmNhYWY+XSA+PgpzdGFydHhyZWYKMAolJUVPRgozIDAgb2JqCjw8IC9QYWdlcyAxIDAgUiAv"
        "VHlwZSAvQ2F0YWxvZyA+PgplbmRvYmoKNCAwIG9iago8PCAvRmlsdGVyIC9GbGF0ZURlY29kZSAvUyAzNiAvTGVuZ3RoIDQyID4+"
        "CnN0cmVhbQp4nGNgYGBmYGBSZQACJlMGOICymYCYBSEKUgvGDAxFDBwyhxkYACQRAf4KZW5kc3RyZWFtCmVuZG9iago1IDAgb2Jq"
        "Cjw8IC9Db250ZW50cyA3IDAgUiAvTWVkaWFCb3ggWyAwIDAgMTk5Ljk3NTAgMjc5Ljk2NTAgXSAvUGFyZW50IDEgMCBSIC9SZXNv"
        "dXJjZXMgPDwgL1hPYmplY3QgPDwgL0ltMCA2IDAgUiA+PiA+PiAvVHlwZSAvUGFnZSA+PgplbmRvYmoKNiAwIG9iago8PCAvQml0"
        "c1BlckNvbXBvbmVudCAxIC9Db2xvclNwYWNlIC9EZXZpY2VHcmF5IC9EZWNvZGVQYXJtcyA8PCAvQml0c1BlckNvbXBvbmVudCAx"
        "IC9Db2xvcnMgMSAvQ29sdW1ucyAyMDAgL1ByZWRpY3RvciAxNSA+PiAvRmlsdGVyIC9GbGF0ZURlY29kZSAvSGVpZ2h0IDI4MCAv"
        "U3VidHlwZSAvSW1hZ2UgL1R5cGUgL1hPYmplY3QgL1dpZHRoIDIwMCAvTGVuZ3RoIDY1ID4+CnN0cmVhbQp4nO3VsREAEAADQDT2"
        "39QGMQBqzn3KfJMuNeWQdgLyoZRkbNqe3N9GCHlFqscghBBCCCGEEEIIIYQQsmQC6w4JHmVuZHN0cmVhbQplbmRvYmoKNyAwIG9i"
        "ago8PCAvTGVuZ3RoIDQ0IC9GaWx0ZXIgL0ZsYXRlRGVjb2RlID4+CnN0cmVhbQp4nCtUMLS01LM0NzVQMNAzAAIYZWQOFDbDEE7O"
        "VdD3zDVQcMlXCAQAakUMXWVuZHN0cmVhbQplbmRvYmoKMSAwIG9iago8PCAvQ291bnQgMSAvS2lkcyBbIDUgMCBSIF0gL1R5cGUg"
        "L1BhZ2VzID4+CmVuZG9iagp4cmVmCjAgMgowMDAwMDAwMDAwIDY1NTM1IGYgCjAwMDAwMDEyMzMgMDAwMDAgbiAKdHJhaWxlciA8"
        "PCAvU2l6ZSAyIC9JRCBbPGI0NzVjMDEyMjMxZWE2Mzg5NWU1MmY1YTE0NzZjYWFmPjxiNDc1YzAxMjIzMWVhNjM4OTVlNTJmNWEx"
        "NDc2Y2FhZj5dID4+CnN0YXJ0eHJlZgoyMTYKJSVFT0YK"
    ),
    "linearised_object_streams": (
        "JVBERi0xLjcKJb/3ov4KNCAwIG9iago8PCAvTGluZWFyaXplZCAxIC9MIDE3MjkgL0ggWyA2MDggMTE5IF0gL08gOCAvRSAxMjk0"
        "IC9OIDEgL1QgMTQ0NyA+PgplbmRvYmoKICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg"
        "ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAKNSAwIG9iago8"
        "PCAvVHlwZSAvWFJlZiAvTGVuZ3RoIDMxIC9GaWx0ZXIgL0ZsYXRlRGVjb2RlIC9EZWNvZGVQYXJtcyA8PCAvQ29sdW1ucyAzIC9Q"
        "cmVkaWN0b3IgMTIgPj4gL1cgWyAxIDIgMCBdIC9JbmRleCBbIDQgNyBdIC9Sb290IDYgMCBSIC9TaXplIDExIC9QcmV2IDE0NDgg"
        "ICAgICAgICAgICAgICAgICAvSUQgWzxjZmI1ZmI0YWI4ZTRhYzE1NmJjMDUzOWNiY2NiMWVkMj48Y2ZiNWZiNGFiOGU0YWMxNTZi"
        "YzA1MzljYmNjYjFlZDI+XSA+PgpzdHJlYW0KeJxjYmTgZ2JgOMnEwBQOpA2BuJyJgbEfiE0BIqoCrwplbmRzdHJlYW0KZW5kb2Jq"
        "CiAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgCjYgMCBvYmoKPDwgL1BhZ2VzIDMgMCBSIC9UeXBlIC9DYXRhbG9nID4+"
        "CmVuZG9iago3IDAgb2JqCjw8IC9GaWx0ZXIgL0ZsYXRlRGVjb2RlIC9TIDM2IC9MZW5ndGggNDIgPj4Kc3RyZWFtCnicY2BgYGZg"
        "YEpgAAImcwY4gLKZgJgFIQpSC8YMDMUMHDKHGBgAMewCPQplbmRzdHJlYW0KZW5kb2JqCjggMCBvYmoKPDwgL0NvbnRlbnRzIDEw"
        "IDAgUiAvTWVkaWFCb3ggWyAwIDAgMTk5Ljk3NTAgMjc5Ljk2NTAgXSAvUGFyZW50IDMgMCBSIC9SZXNvdXJjZXMgPDwgL1hPYmpl"
        "Y3QgPDwgL0ltMCA5IDAgUiA+PiA+PiAvVHlwZSAvUGFnZSA+PgplbmRvYmoKOSAwIG9iago8PCAvQml0c1BlckNvbXBvbmVudCAx"
        "IC9Db2xvclNwYWNlIC9EZXZpY2VHcmF5IC9EZWNvZGVQYXJtcyA8PCAvQml0c1BlckNvbXBvbmVudCAxIC9Db2xvcnMgMSAvQ29s"
        "dW1ucyAyMDAgL1ByZWRpY3RvciAxNSA+PiAvRmlsdGVyIC9GbGF0ZURlY29kZSAvSGVpZ2h0IDI4MCAvU3VidHlwZSAvSW1hZ2Ug"
        "L1R5cGUgL1hPYmplY3QgL1dpZHRoIDIwMCAvTGVuZ3RoIDY1ID4+CnN0cmVhbQp4nO3VsREAEAADQDT239QGMQBqzn3KfJMuNeWQ"
        "dgLyoZRkbNqe3N9GCHlFqscghBBCCCGEEEIIIYQQsmQC6w4JHmVuZHN0cmVhbQplbmRvYmoKMTAgMCBvYmoKPDwgL0xlbmd0aCA0"
        "NCAvRmlsdGVyIC9GbGF0ZURlY29kZSA+PgpzdHJlYW0KeJwrVDC0tNSzNDc1UDDQMwACGGVkDhQ2wxBOzlXQ98w1UHDJVwgEAGpF"
        "DF1lbmRzdHJlYW0KZW5kb2JqCjEgMCBvYmoKPDwgL1R5cGUgL09ialN0bSAvTGVuZ3RoIDU2IC9GaWx0ZXIgL0ZsYXRlRGVjb2Rl"
        "IC9OIDEgL0ZpcnN0IDQgPj4Kc3RyZWFtCnicM1Yw4LKxUdB3zi/NK1EwVND3zkwpVohWsFAwUAhSiFXQD6ksSFXQD0hMTy1WsLPj"
        "AgAlkAxxZW5kc3RyZWFtCmVuZG9iagoyIDAgb2JqCjw8IC9UeXBlIC9YUmVmIC9MZW5ndGggMjQgL0ZpbHRlciAvRmxhdGVEZWNv"
        "ZGUgL0RlY29kZVBhcm1zIDw8IC9Db2x1bW5zIDMgL1ByZWRpY3RvciAxMiA+PiAvVyBbIDEgMiAwIF0gL1NpemUgNCAvSUQgWzxj"
        "ZmI1ZmI0YWI4ZTRhYzE1NmJjMDUzOWNiY2NiMWVkMj48Y2ZiNWZiNGFiOGU0YWMxNTZiYzA1MzljYmNjYjFlZDI+XSA+PgpzdHJl"
        "YW0KeJxjYmBgYGJk5WNiYJjFxPg7EgAGbwIMCmVuZHN0cmVhbQplbmRvYmoKICAgICAgICAgICAgIApzdGFydHhyZWYKMjE2CiUl"
        "RU9GCg=="
    ),
    "object_streams": (
        "JVBERi0xLjcKJb/3ov4KMSAwIG9iago8PCAvVHlwZSAvT2JqU3RtIC9MZW5ndGggMTYwIC9GaWx0ZXIgL0ZsYXRlRGVjb2RlIC9O"
        "IDMgL0ZpcnN0IDE0ID4+CnN0cmVhbQp4nE2OywrCMBBF937F/QKTvi2ULOxKRJTiQpAuYhtKRRNpUtC/d9JSkcniEs49MyE4IkQx"
        "YmSbVVGAnWSnLP1xVGDnz0uBldLJh+kgxESUZtQOAdi+by2uVPVsvdCz4Mdqp7SzSGbhQbW93Jo31ThNkOfrPEs4woxCSqH2goEq"
        "ywmVsmYcGlJ63+V4u6vGTXn35EgnSAj//vb79V89AzkqZW5kc3RyZWFtCmVuZG9iago1IDAgb2JqCjw8IC9MZW5ndGggNDQgL0Zp"
        "bHRlciAvRmxhdGVEZWNvZGUgPj4Kc3RyZWFtCnicK1QwtLTUszQ3NVAw0DMAAhhlZA4UNsMQTs5V0PfMNVBwyVcIBABqRQxdZW5k"
        "c3RyZWFtCmVuZG9iago2IDAgb2JqCjw8IC9CaXRzUGVyQ29tcG9uZW50IDEgL0NvbG9yU3BhY2UgL0RldmljZUdyYXkgL0RlY29k"
        "ZVBhcm1zIDw8IC9CaXRzUGVyQ29tcG9uZW50IDEgL0NvbG9ycyAxIC9Db2x1bW5zIDIwMCAvUHJlZGljdG9yIDE1ID4+IC9GaWx0"
        "ZXIgL0ZsYXRlRGVjb2RlIC9IZWlnaHQgMjgwIC9TdWJ0eXBlIC9JbWFnZSAvVHlwZSAvWE9iamVjdCAvV2lkdGggMjAwIC9MZW5n"
        "dGggNjUgPj4Kc3RyZWFtCnic7dWxEQAQAANANPbf1AYxAGrOfcp8ky415ZB2AvKhlGRs2p7c30YIeUWqxyCEEEIIIYQQQgghhBCy"
        "ZALrDgkeZW5kc3RyZWFtCmVuZG9iago3IDAgb2JqCjw8IC9UeXBlIC9YUmVmIC9MZW5ndGggMzYgL0ZpbHRlciAvRmxhdGVEZWNv"
        "ZGUgL0RlY29kZVBhcm1zIDw8IC9Db2x1bW5zIDQgL1ByZWRpY3RvciAxMiA+PiAvVyBbIDEgMiAxIF0gL1Jvb3QgMiAwIFIgL1Np"
        "emUgOCAvSUQgWzwwZjRkNTczMGM1ZjI0ZGMzMWZjM2ZhZjk1MGNhMDk4MT48MGY0ZDU3MzBjNWYyNGRjMzFmYzNmYWY5NTBjYTA5"
        "ODE+XSA+PgpzdHJlYW0KeJxjYgACJkYGfhDxiYEJyGOEEP8Zhf4BWUVAMUZTBgA6pgPOCmVuZHN0cmVhbQplbmRvYmoKc3RhcnR4"
        "cmVmCjY5OAolJUVPRgo="
    ),
    "encrypted": (
        "JVBERi0xLjcKJb/3ov4KMSAwIG9iago8PCAvRXh0ZW5zaW9ucyA8PCAvQURCRSA8PCAvQmFzZVZlcnNpb24gLzEuNyAvRXh0ZW5z"
        "aW9uTGV2ZWwgOCA+PiA+PiAvUGFnZXMgMiAwIFIgL1R5cGUgL0NhdGFsb2cgPj4KZW5kb2JqCjIgMCBvYmoKPDwgL0NvdW50IDEg"
        "L0tpZHMgWyAzIDAgUiBdIC9UeXBlIC9QYWdlcyA+PgplbmRvYmoKMyAwIG9iago8PCAvQ29udGVudHMgNCAwIFIgL01lZGlhQm94"
        "IFsgMCAwIDE5OS45NzUwIDI3OS45NjUwIF0gL1BhcmVudCAyIDAgUiAvUmVzb3VyY2VzIDw8IC9YT2JqZWN0IDw8IC9JbTAgNSAw"
        "IFIgPj4gPj4gL1R5cGUgL1BhZ2UgPj4KZW5kb2JqCjQgMCBvYmoKPDwgL0xlbmd0aCA2NCAvRmlsdGVyIC9GbGF0ZURlY29kZSA+"
        "PgpzdHJlYW0KVjQW+DfQq8smiZwC1W3eOuc9Ztodyj3WoNk2KpuTO1Pd1qqE02vfQczRvnoXpOcIGno23A4YELSDccJmHcvjk2Vu"
        "ZHN0cmVhbQplbmRvYmoKNSAwIG9iago8PCAvQml0c1BlckNvbXBvbmVudCAxIC9Db2xvclNwYWNlIC9EZXZpY2VHcmF5IC9EZWNv"
        "ZGVQYXJtcyA8PCAvQml0c1BlckNvbXBvbmVudCAxIC9Db2xvcnMgMSAvQ29sdW1ucyAyMDAgL1ByZWRpY3RvciAxNSA+PiAvRmls"
        "dGVyIC9GbGF0ZURlY29kZSAvSGVpZ2h0IDI4MCAvU3VidHlwZSAvSW1hZ2UgL1R5cGUgL1hPYmplY3QgL1dpZHRoIDIwMCAvTGVu"
        "Z3RoIDk2ID4+CnN0cmVhbQrV6QQj8X8EmTPAyL59vlKUt6RL0OTlCHFkGxiZAXExUz5YfFmkbE+ok53bErjTMZSOMzeJYe/Bh7R8"
        "4eTXJu6/U8hF5htFy6o5QVI7rlJWeut2spqh1OaNbIgCvjaR3YhlbmRzdHJlYW0KZW5kb2JqCjYgMCBvYmoKPDwgL0NGIDw8IC9T"
        "dGRDRiA8PCAvQXV0aEV2ZW50IC9Eb2NPcGVuIC9DRk0gL0FFU1YzIC9MZW5ndGggMzIgPj4gPj4gL0ZpbHRlciAvU3RhbmRhcmQg"
        "L0xlbmd0aCAyNTYgL08gPGIzNGMxYjBiZWM3Y2RkZDBmYzUxNzRlZjA3ZGU3N2I2NjJhZjhmODU2NTAwMGQwMWFhYzZkYjE3M2Nh"
        "YTQ4MzQ3YmNlZTlhYmUwZjRiMGU1NzYwMjM4M2JhMDYxYjYyMD4gL09FIDw0M2Y1N2RlYjg5YzhiNmI0NGYyNDI5ZDkwNTMyNTEx"
        "YmFmZWQ0MGNlYjgxMjAwNWE5MGJmNTc5NGIzY2VjNTVjPiAvUCAtNCAvUGVybXMgPDdhZDczMjNjOTllZTgyNzYwYTYxZmU1OGI3"
        "ZmMyN2Q3PiAvUiA2IC9TdG1GIC9TdGRDRiAvU3RyRiAvU3RkQ0YgL1UgPDg1NGUwZTQyN2Q2NmM1ZjFjZDVkMDEwNjViMDU2YjU5"
        "YWRlMzNhYTZkOGM3NDgwMmJkYzhjNTEzMjExMGQ5OWRlZjcyNzZiYzNiZDk1OGM3YWRmYzUyYzRjYjc5ZjllZD4gL1VFIDxlOGQ0"
        "MDlmNWVkZTc1MGQzZWFiZDZmODA1OTM1ZDg2MmI4YWVhM2UxZTYxZmQwNTRhYThjODcxZWEwMjc4NWU4PiAvViA1ID4+CmVuZG9i"
        "agp4cmVmCjAgNwowMDAwMDAwMDAwIDY1NTM1IGYgCjAwMDAwMDAwMTUgMDAwMDAgbiAKMDAwMDAwMDEzMCAwMDAwMCBuIAowMDAw"
        "MDAwMTg5IDAwMDAwIG4gCjAwMDAwMDAzMzEgMDAwMDAgbiAKMDAwMDAwMDQ2NSAwMDAwMCBuIAowMDAwMDAwODA1IDAwMDAwIG4g"
        "CnRyYWlsZXIgPDwgL1Jvb3QgMSAwIFIgL1NpemUgNyAvSUQgWzw4ZGQ3N2JjMDE0MzE3ZTE0ZjJlYTBhMGIxZDJjNzAyYj48OGRk"
        "NzdiYzAxNDMxN2UxNGYyZWEwYTBiMWQyYzcwMmI+XSAvRW5jcnlwdCA2IDAgUiA+PgpzdGFydHhyZWYKMTM1MgolJUVPRgo="
    ),
}


def picture(mode: str = "RGB", size: tuple[int, int] = (200, 280)) -> Image.Image:
    """A page with a bar and a line, so that turning or replacing it shows."""
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((20, 20, size[0] - 20, 60), fill=(30, 60, 120))
    draw.line((0, size[1], size[0], 100), fill=(200, 30, 30), width=3)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(size))
        return image
    return image.convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def plain_pdf(pages: int = 1, rotation: int = 0) -> bytes:
    """A PDF with a classic cross-reference table."""
    frames = [picture("1") for _ in range(pages)]
    tiff = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:], dpi=(72, 72))
    made = image_to_pdf(tiff, "image/tiff")
    if not rotation:
        return made
    writer = PdfWriter(clone_from=PdfReader(BytesIO(made)))
    for page in writer.pages:
        page.rotate(rotation)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def with_form() -> bytes:
    """A PDF that has a form already, held by an indirect object, and embedded files of its own."""
    writer = PdfWriter(clone_from=PdfReader(BytesIO(plain_pdf(2))))
    writer.add_attachment("notes.txt", b"something of the uploader's")
    from pypdf.generic import ArrayObject, BooleanObject, DictionaryObject, NameObject, NumberObject, TextStringObject

    field = writer._add_object(
        DictionaryObject(
            {
                NameObject("/FT"): NameObject("/Tx"),
                NameObject("/T"): TextStringObject("YunkuSeal"),
                NameObject("/Ff"): NumberObject(0),
            }
        )
    )
    form = DictionaryObject({NameObject("/Fields"): ArrayObject([field]), NameObject("/NeedAppearances"): BooleanObject(False)})
    writer._root_object[NameObject("/AcroForm")] = writer._add_object(form)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def with_generations() -> bytes:
    """A PDF whose page stands under generation 1: the object was freed in one revision and used again in the next."""
    content = b"0 0 1 rg 20 20 100 40 re f"
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 280]/Resources<<>>/Contents 4 0 R>>"
    first = [
        (1, 0, b"<</Type/Catalog/Pages 2 0 R>>"),
        (2, 0, b"<</Type/Pages/Count 1/Kids[3 0 R]>>"),
        (3, 0, page),
        (4, 0, b"<</Length %d>>stream\n%s\nendstream" % (len(content), content)),
    ]
    out, start = _revision(b"%PDF-1.7\n", first, b"0 1\n0000000000 65535 f\r\n", None)
    out, start = _revision(
        out, [(2, 0, b"<</Type/Pages/Count 0/Kids[]>>")], b"0 1\n0000000003 65535 f\r\n3 1\n0000000000 00001 f\r\n", start
    )
    last = [(2, 0, b"<</Type/Pages/Count 1/Kids[3 1 R]>>"), (3, 1, page)]
    return _revision(out, last, b"0 1\n0000000000 65535 f\r\n", start)[0]


def _revision(out: bytes, bodies: list[tuple[int, int, bytes]], free: bytes, previous: int | None) -> tuple[bytes, int]:
    rows = free
    for number, generation, body in bodies:
        rows += b"%d 1\n%010d %05d n\r\n" % (number, len(out), generation)
        out += b"%d %d obj\n%s\nendobj\n" % (number, generation, body)
    start = len(out)
    link = b"" if previous is None else b"/Prev %d" % previous
    trailer = b"trailer\n<</Size 5/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n" % (link, start)
    return out + b"xref\n" + rows + trailer, start


DOCUMENTS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "plain": (PDF, plain_pdf),
    "three_pages": (PDF, lambda: plain_pdf(3)),
    "rotated_90": (PDF, lambda: plain_pdf(rotation=90)),
    "rotated_180": (PDF, lambda: plain_pdf(rotation=180)),
    "rotated_270": (PDF, lambda: plain_pdf(rotation=270)),
    "form_and_files": (PDF, with_form),
    "generations": (PDF, with_generations),
    **{name: (PDF, lambda name=name: written_by_qpdf(name)) for name in _WRITTEN_BY_QPDF if name != "encrypted"},  # type: ignore[misc]
    # These three can't carry a seal in a further revision: their pages are copied, the file itself is attached.
    "signed_already": (PDF, lambda: signed_by_someone(plain_pdf(2))),
    "broken_table": (PDF, lambda: plain_pdf().replace(b"startxref\n", b"startxref\n9")),
    "annotated_and_broken": (PDF, lambda: annotated().replace(b"startxref\n", b"startxref\n9")),
    "jpeg": ("image/jpeg", lambda: encoded(picture(), "JPEG", dpi=(300, 300))),
    "jpeg_turned": ("image/jpeg", lambda: encoded(picture(), "JPEG", exif=_turned())),
    "jpeg_cmyk": ("image/jpeg", lambda: encoded(picture("CMYK"), "JPEG")),
    "png": ("image/png", lambda: encoded(picture(), "PNG")),
    "png_palette": ("image/png", lambda: encoded(picture("P"), "PNG")),
    "png_alpha": ("image/png", lambda: encoded(picture("RGBA"), "PNG")),
    "png_bilevel": ("image/png", lambda: encoded(picture("1"), "PNG")),
    "tiff_fax": ("image/tiff", lambda: encoded(picture("1"), "TIFF", compression="group4")),
    "tiff_pages": (
        "image/tiff",
        lambda: encoded(picture(), "TIFF", save_all=True, append_images=[picture("L")], compression="tiff_lzw"),
    ),
}


def annotated() -> bytes:
    """A PDF without a form whose page has a stamp over it that only its viewer would draw."""
    from pypdf.annotations import Rectangle

    writer = PdfWriter(clone_from=PdfReader(BytesIO(plain_pdf())))
    writer.add_annotation(0, Rectangle(rect=(50, 50, 150, 150), interior_color="ff0000"))
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def signed_by_someone(document: bytes) -> bytes:
    """Signed by a key of no CA that we know, visibly, as an authority signs its electronic licences."""
    from cryptography.x509.oid import NameOID
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.sign import signers
    from pyhanko.sign.fields import SigFieldSpec
    from pyhanko_certvalidator.registry import SimpleCertificateStore

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    encoding, form = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8
    make_store: Any = SimpleCertificateStore
    signer = signers.SimpleSigner(
        adapters._asn1(builder.sign(key, hashes.SHA256())),
        asn1_keys.PrivateKeyInfo.load(key.private_bytes(encoding, form, serialization.NoEncryption())),
        make_store(),
    )
    writer: Any = IncrementalPdfFileWriter(BytesIO(document))
    metadata = signers.PdfSignatureMetadata(field_name="Authority")
    field = SigFieldSpec("Authority", box=(20, 100, 120, 160))
    return bytes(signers.sign_pdf(writer, metadata, signer, new_field_spec=field).getvalue())


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def written_by_qpdf(name: str) -> bytes:
    return base64.b64decode(_WRITTEN_BY_QPDF[name])


@dataclass(frozen=True)
class Signer:
    """A company's key with its chain, as it lies on a token."""

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    chain: list[x509.Certificate]

    @property
    def pem(self) -> bytes:
        return b"".join(item.public_bytes(serialization.Encoding.PEM) for item in self.chain)

    @property
    def company(self) -> pki.CompanyIdentity:
        return pki.company_of(self.chain[0])

    def sign(self, data: bytes) -> bytes:
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))


def open_p12(data: bytes, password: str) -> Signer:
    key, certificate, others = pkcs12.load_key_and_certificates(data, password.encode())
    assert isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey))
    assert certificate is not None
    return Signer(key, [certificate, *others])


class DevelopmentPki:
    """The development CA in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.data = directory
        self.paths = devca.ensure(directory)

    @property
    def trust(self) -> pki.Trust:
        return pki.load_trust(self.paths.directory)

    def signer(self, name: str) -> Signer:
        key: devca.CompanyKey = getattr(self.paths, name)
        return open_p12(key.p12.read_bytes(), key.password)

    def issue(self, kind: devca.KeyKind, company: tuple[str, str] = devca.DEMO_COMPANY) -> Signer:
        return open_p12(*devca.issue_company(self.data, *company, key=kind))


def statement_of(signer: Signer, certificate_id: str, version: int, document_sha256: str) -> bytes:
    """A statement as the certificate service makes it."""
    content = {
        "certificate_id": certificate_id,
        "version": version,
        "holder": {"uscc": signer.company.uscc, "name": signer.company.name},
        "document_sha256": document_sha256,
        "fields": {"name": signer.company.name},
    }
    return json.dumps(content, ensure_ascii=False, sort_keys=True).encode()


def request(
    document: bytes,
    signer: Signer,
    media_type: str = PDF,
    *,
    page: int = 0,
    box: list[float] | None = None,
    at: datetime | None = None,
    stating: dict[str, Any] | None = None,
) -> SealRequest:
    """What the service asks the sandbox for, as its handlers put it together."""
    digest = hashlib.sha256(document).hexdigest()
    statement = statement_of(signer, "0197-certificate", 3, digest)
    stated = {
        "certificate_id": "0197-certificate",
        "version": 3,
        "subject": {"uscc": signer.company.uscc, "name": signer.company.name},
        "document": {"sha256": digest, "size": len(document), "media_type": media_type},
        "statement_sha256": hashlib.sha256(statement).hexdigest(),
        "certificate_fingerprint": signer.company.fingerprint,
    }
    return SealRequest(
        preparation_id=str(uuid.uuid4()),
        document=document,
        media_type=media_type,
        statement=statement,
        facts=json.dumps(stated | (stating or {})),
        chain=signer.chain,
        company=signer.company,
        seal_page=page,
        seal_box=box,
        at=at or datetime.now(UTC),
    )


def prepare(asked: SealRequest) -> Prepared:
    """The operation itself, outside the sandbox, and the service's check of its answer."""
    header = {
        "media_type": asked.media_type,
        "facts": asked.facts,
        "seal_page": asked.seal_page,
        "seal_box": asked.seal_box,
        "signer_name": asked.company.name,
        "at": asked.at.isoformat(),
        "preparation_id": asked.preparation_id,
        "source_name": "source." + asked.media_type.rpartition("/")[2],
    }
    pem = b"".join(item.public_bytes(serialization.Encoding.PEM) for item in asked.chain)
    blobs = [asked.document, asked.statement, draw_seal(asked.company.name, asked.company.uscc), pem]
    return adapters._check_prepared(asked, *pdfops.prepare(header, blobs))


def seal(document: bytes, signer: Signer, media_type: str = PDF, **options: Any) -> bytes:
    """A finished seal."""
    prepared = prepare(request(document, signer, media_type, **options))
    return adapters.finish(prepared, signer.sign(prepared.to_sign), signer.chain[0])


def judge(sealed: bytes, trust: pki.Trust, at: datetime | None = None, expected: dict[str, Any] | None = None) -> dict[str, Any]:
    header = {"at": (at or datetime.now(UTC)).isoformat(), "expected": expected or {}}
    return pdfops.validate(header, [sealed, trust.roots, trust.intermediates, *trust.crls])[0]


def without_crls(trust: pki.Trust) -> pki.Trust:
    return replace(trust, crls=())


@cache
def _nss_directory(roots: bytes) -> str | None:
    """An NSS database that trusts the roots, for pdfsig; None where NSS's certutil isn't installed."""
    if shutil.which("certutil") is None:
        return None
    directory = Path(tempfile.mkdtemp(prefix="yunku-nss-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    (directory / "roots.pem").write_bytes(roots)
    database = f"sql:{directory}"
    subprocess.run(["certutil", "-N", "-d", database, "--empty-password"], check=True, capture_output=True)
    add = ["certutil", "-A", "-d", database, "-n", "root", "-t", "CT,CT,CT", "-i", str(directory / "roots.pem")]
    subprocess.run(add, check=True, capture_output=True)
    return str(directory)


def pdfsig(sealed: bytes, trust: pki.Trust, directory: Path) -> str:
    """What poppler's ``pdfsig`` says of the file; fails where it isn't installed (infra/setup/system.sh does that)."""
    if shutil.which("pdfsig") is None:
        raise AssertionError("pdfsig is missing; the tests need it: install poppler-utils")
    path = directory / f"{uuid.uuid4()}.pdf"
    path.write_bytes(sealed)
    database = _nss_directory(trust.roots)
    options = ["-nssdir", f"sql:{database}"] if database else []
    ran = subprocess.run(["pdfsig", *options, str(path)], check=False, capture_output=True, text=True)
    return ran.stdout + ran.stderr
