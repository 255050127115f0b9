"""The build backend pyproject.toml names: setuptools', after making sure that the model is there (PEP 517, PEP 660).

Every hook is setuptools' own but four: those that end in an importable ragd build the model first, and their
requirements name what building needs only while there is something to build.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_sdist,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

from modelbuild import ModelBuildError, artifact

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

MODEL_REQUIREMENTS = ["numpy>=1.26", "onnx>=1.17", "pip>=23"]
Settings = Mapping[str, Any] | None


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """setuptools' requirements, and the model's when it must be built."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_missing_requirements()]


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    """As for a wheel."""
    return [*build_meta.get_requires_for_build_editable(config_settings), *_missing_requirements()]


def build_wheel(directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """A wheel with the model in it."""
    _ensure_model()
    return str(build_meta.build_wheel(directory, config_settings, metadata_directory))


def build_editable(directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """An editable install over a source tree with the model in it."""
    _ensure_model()
    # setuptools warns of packages that lie beside its own files, which is how this tree is laid out.
    warnings.filterwarnings("ignore", message="Editable installation")
    return str(build_meta.build_editable(directory, config_settings, metadata_directory))


def _missing_requirements() -> list[str]:
    return [] if artifact.is_current(artifact.BUNDLED) else MODEL_REQUIREMENTS


def _ensure_model() -> None:
    """Ends the build with one line instead of a traceback when the model cannot be made."""
    try:
        artifact.ensure(artifact.BUNDLED)
    except ModelBuildError as error:
        sys.exit(f"ragd: cannot build the embedding model: {error}")
