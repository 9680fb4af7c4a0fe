"""Key prefixes: each table of the database has a letter of its own."""

from chaind.storage import market_rows, schema


def test_no_two_tables_share_a_letter() -> None:
    letters = [
        value
        for module in (schema, market_rows)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, bytes) and len(value) == 1
    ]
    assert len(letters) == 19
    assert len(set(letters)) == len(letters)
