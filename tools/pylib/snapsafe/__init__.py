# SPDX-License-Identifier: Apache-2.0
"""Drives the monitor as a person would: its console by a terminal, its API by HTTP on the Unix socket."""
from .api import Api, ApiError
from .console import Console, ConsoleTimeout
from .host import is_emulated
from .monitor import Monitor

__all__ = ["Api", "ApiError", "Console", "ConsoleTimeout", "Monitor", "is_emulated"]
