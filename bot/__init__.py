"""Parley: a chatbot for Discord and Slack whose conversations are kept."""

__version__ = "0.1.0"
