"""Codes of companies and of people."""

from __future__ import annotations

import re
from datetime import date

from kernel.values.folding import clean, fold
from kernel.values.kind import Kind, Spec
from kernel.values.problems import BadValue, Finding

# GB 32100-2015: no I, O, S, V, Z.
USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_USCC_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
_USCC_SHAPE = re.compile(r"[0-9A-HJ-NPQRTUWXY]{2}[0-9]{6}[0-9A-HJ-NPQRTUWXY]{10}")
# GB 11714-1997, the organisation code in positions 9 to 17, in which letters count 10 (A) to 35 (Z).
_ORG_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ORG_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)
# GB 11643-1999.
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_DIGITS = "10X98765432"
_ID_SHAPE = re.compile(r"[0-9]{6}(19|20)[0-9]{9}[0-9X]")


def uscc_check_digit(code: str) -> str:
    """The 18th character that GB 32100 computes for the first 17 characters of ``code``."""
    total = sum(USCC_ALPHABET.index(c) * w for c, w in zip(code[:17], _USCC_WEIGHTS, strict=True))
    # The outer "% 31" matters: several published snippets look up index 31 when the sum is a multiple of 31.
    return USCC_ALPHABET[(31 - total % 31) % 31]


def org_check_digit(code: str) -> str:
    """The ninth character that GB 11714 computes for the first eight of an organisation code."""
    rest = 11 - sum(_ORG_ALPHABET.index(c) * w for c, w in zip(code[:8], _ORG_WEIGHTS, strict=True)) % 11
    return "X" if rest == 10 else "0" if rest == 11 else str(rest)


def id_check_digit(number: str) -> str:
    """The 18th character that GB 11643 computes for the first 17 digits of an ID number."""
    return _ID_DIGITS[sum(int(d) * w for d, w in zip(number[:17], _ID_WEIGHTS, strict=True)) % 11]


class Uscc(Kind):
    """统一社会信用代码: 18 characters, upper case."""

    name = "uscc"
    max_length = 40

    def parse(self, text: str, spec: Spec) -> str:
        code = fold(clean(text, self.max_length)).upper()
        if len(code) != 18:
            raise BadValue("uscc.length", length=str(len(code)))
        for position, char in enumerate(code, 1):
            if char not in USCC_ALPHABET:
                raise BadValue("uscc.character", position=str(position), character=char)
        if not _USCC_SHAPE.fullmatch(code):
            raise BadValue("uscc.region")
        return code

    def checks(self, value: str) -> tuple[Finding, ...]:
        findings = []
        if uscc_check_digit(value) != value[17]:
            findings.append(Finding("uscc.check_digit"))
        if org_check_digit(value[8:16]) != value[16]:
            findings.append(Finding("uscc.organisation_check_digit"))
        return tuple(findings)


class Id18(Kind):
    """公民身份号码. Its problems never repeat the number: it must not reach a log."""

    name = "id18"
    max_length = 40

    def parse(self, text: str, spec: Spec) -> str:
        number = fold(clean(text, self.max_length)).upper()
        if len(number) != 18:
            raise BadValue("id18.length", length=str(len(number)))
        if not _ID_SHAPE.fullmatch(number):
            raise BadValue("id18.shape")
        return number

    def checks(self, value: str) -> tuple[Finding, ...]:
        findings = []
        if id_check_digit(value) != value[17]:
            findings.append(Finding("id18.check_digit"))
        try:
            date(int(value[6:10]), int(value[10:12]), int(value[12:14]))
        except ValueError:
            findings.append(Finding("id18.birth_date"))
        return tuple(findings)


class Phone(Kind):
    """A mobile phone number of mainland China, 11 digits, without country code."""

    name = "phone"
    max_length = 40

    def parse(self, text: str, spec: Spec) -> str:
        number = fold(clean(text, self.max_length)).replace("-", "")
        number = number.removeprefix("+86")
        if not re.fullmatch(r"1[3-9][0-9]{9}", number):
            raise BadValue("phone.shape")
        return number

    def spellings(self, value: str, spec: Spec) -> tuple[str, ...]:
        return (value, f"{value[:3]}-{value[3:7]}-{value[7:]}")
