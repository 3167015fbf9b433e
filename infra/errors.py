"""What a user can mend: shown as one line, without a traceback."""


class HeadraceError(Exception):
    """Says which name, which rule and which value, and what to do next."""


class SettingsError(HeadraceError):
    pass
