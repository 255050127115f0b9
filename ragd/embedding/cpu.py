"""Whether this CPU multiplies unsigned by signed bytes fast and exactly: what decides between int8 and fp32."""

from __future__ import annotations

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")

DOT_PRODUCTS = frozenset(
    (
        *("avx512_vnni", "avx_vnni", "amx_int8"),  # x86
        *("asimddp", "i8mm"),  # ARM
    )
)
"""Flags of instructions that add up products of bytes in 32 bits. Without them AVX2 adds pairs in 16 bits and cuts what
does not fit: vectors would differ from another machine's, in silence."""


def multiplies_bytes(cpuinfo: Path = CPUINFO) -> bool:
    """Whether every core has one of DOT_PRODUCTS; False where nothing is known.

    By flags and not by a measurement: syncer and searcher each ask, and must come to the same answer however busy the
    machine is.
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    cores = [set(line.partition(":")[2].split()) for line in lines if line.startswith(("flags", "Features"))]
    return bool(cores) and all(core & DOT_PRODUCTS for core in cores)
