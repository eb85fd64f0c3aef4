"""What a failure keeps in memory."""


def forget_frames(failure: BaseException) -> None:
    """Drop the calls that a failure came through, of what caused it too.

    Whoever keeps a failure keeps those calls with all that they held, a prompt and its pictures; and a call that caught it
    holds it in turn, so that both would stay in memory until Python looks for such circles.
    """
    cause: BaseException | None = failure
    while cause is not None:
        cause.__traceback__ = None
        cause = cause.__cause__ or cause.__context__
