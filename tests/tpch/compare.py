"""Compares results of TPC-H queries, written as Parquet, value by value.

    compare.py QUERY OURS OTHER

Prints a line for each difference, and nothing if there is none. Rows are
compared in the order that the query asks for; those that its ORDER BY leaves
open may come in any order.
"""

import sys
from decimal import Decimal

import duckdb

RELATIVE = 1e-9
MOST_LINES = 5

# The columns of each query's ORDER BY.
ORDER = {
    "q01": [0, 1], "q02": [0, 2, 1, 3], "q03": [1, 2], "q04": [0], "q05": [1], "q06": [],
    "q07": [0, 1, 2], "q08": [0], "q09": [0, 1], "q10": [2], "q11": [1], "q12": [0],
    "q13": [1, 0], "q14": [], "q15": [0], "q16": [3, 0, 1, 2], "q17": [], "q18": [4, 3],
    "q19": [], "q20": [0], "q21": [1, 0], "q22": [0],
}  # fmt: skip

# Averages and quotients. An engine may give them as decimals, which end
# somewhere: they agree with a number with a floating point if they do up to
# the last digit.
QUOTIENTS = {"q01": [6, 7, 8], "q08": [1], "q14": [0], "q17": [0]}


def last_digit(value):
    return Decimal(1).scaleb(value.as_tuple().exponent)


def agree(one, other, is_quotient=False):
    if one is None or other is None:
        return one is other
    numbers = (int, float, Decimal)
    if not isinstance(one, numbers) or not isinstance(other, numbers):
        return type(one) is type(other) and one == other
    decimals = [value for value in (one, other) if isinstance(value, Decimal)]
    if not isinstance(one, float) and not isinstance(other, float):
        difference = abs(Decimal(one) - Decimal(other))
        if not is_quotient:
            return difference == 0
        return difference < max(map(last_digit, decimals), default=1)
    allowed = RELATIVE * max(abs(float(one)), abs(float(other)))
    if is_quotient:
        allowed += float(sum(map(last_digit, decimals)))
    return abs(float(one) - float(other)) <= allowed


def rows_agree(query, one, other):
    quotients = QUOTIENTS.get(query, [])
    pairs = enumerate(zip(one, other, strict=True))
    return all(agree(*pair, column in quotients) for column, pair in pairs)


def shown(row):
    return "(" + ", ".join(repr(value) if isinstance(value, str) else str(value) for value in row) + ")"


def differences(query, ours, others):
    if len(ours) != len(others):
        yield f"{len(ours)} rows and {len(others)} rows"
        return
    if ours and len(ours[0]) != len(others[0]):
        yield f"{len(ours[0])} columns and {len(others[0])} columns"
        return
    keys = ORDER[query]
    begin = 0
    while begin < len(ours):
        end = begin + 1
        while end < len(ours) and all(agree(ours[begin][key], ours[end][key]) for key in keys):
            end += 1
        left = list(others[begin:end])
        for number, row in enumerate(ours[begin:end], begin + 1):
            match = next((index for index, other in enumerate(left) if rows_agree(query, row, other)), None)
            if match is None:
                yield f"row {number}: {shown(row)} is not among {', '.join(map(shown, left[:3]))}"
            else:
                del left[match]
        begin = end


def rows(path):
    return duckdb.execute("SELECT * FROM read_parquet(?)", [path]).fetchall()


def main():
    query, ours, other = sys.argv[1:]
    for number, difference in enumerate(differences(query, rows(ours), rows(other))):
        if number == MOST_LINES:
            print("and more")
            break
        print(difference)


if __name__ == "__main__":
    main()
