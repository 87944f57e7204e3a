# SPDX-License-Identifier: Apache-2.0
"""Drives the monitor as a person would: its console by a terminal, its API by HTTP on the Unix socket."""
from .console import Console, ConsoleTimeout
from .api import Api, ApiError
from .monitor import Monitor

__all__ = ["Api", "ApiError", "Console", "ConsoleTimeout", "Monitor"]
