"""The engines that a store runs on, for tests: real ones, never imitations."""
