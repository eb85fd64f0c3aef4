"""Slack as a platform, on slack-bolt and slack-sdk."""
