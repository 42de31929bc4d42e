"""A study that is broken off in the middle."""


def break_second(monkeypatch, owner, name="__call__"):
    """Break off the second call of a method; a list that gets an entry for each call, those after it among them."""
    inner, calls = getattr(owner, name), []

    def broken(self, *arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return inner(self, *arguments)

    monkeypatch.setattr(owner, name, broken)
    return calls
