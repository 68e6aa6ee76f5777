"""What may be set for this service."""

import os
from typing import Literal

from pydantic import Field

from kernel.settings import KernelSettings


class Settings(KernelSettings):
    """Settings of the ocr service."""

    recognition_engine: Literal["ppocr", "tesseract"] = Field(
        "ppocr", description="What reads the prints: `ppocr` (PP-OCRv6, measured best) or `tesseract` (chi_sim)."
    )
    recognition_processes: int = Field(
        0, ge=0, le=64, description="Recognition processes, one thread each, about 450 MB while at work; 0: one a core."
    )
    recognition_idle_seconds: float = Field(
        60.0, ge=1, description="A recognition process that had nothing to do for so long ends and frees its memory."
    )
    recognition_job_seconds: float = Field(
        60.0, ge=1, le=600, description="How long reading one page or region may take before its process is killed."
    )
    recognition_retry_seconds: float = Field(
        60.0, ge=0.1, le=3600, description="Longest pause before a job that recognition could not do is tried again."
    )
    recognition_jobs: int = Field(2, ge=1, le=64, description="Jobs (documents, sets of marks) worked on at once.")
    recognition_pages: int = Field(
        6, ge=1, le=50, description="Pages of a document that are read for SMART mode; all pages become pictures."
    )
    render_dpi: int = Field(200, ge=72, le=400, description="Resolution at which a PDF's pages become pictures.")
    ocr_sandbox_concurrency: int = Field(2, ge=1, le=64, description="Documents that are parsed at once.")
    ocr_sandbox_require_all: bool = Field(
        True, description="Refuse to parse documents when a layer of the sandbox is missing on this host."
    )

    @property
    def processes(self) -> int:
        """Recognition processes, at most."""
        return self.recognition_processes or len(os.sched_getaffinity(0))
