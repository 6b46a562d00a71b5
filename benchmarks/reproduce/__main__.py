"""All rows of `results.json` as a table in Markdown."""

from .common import table

if __name__ == "__main__":
    print(table())
