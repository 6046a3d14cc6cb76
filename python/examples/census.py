"""The census table, or one that looks like it."""

import csv
import gzip
import math
import random

import esker
from esker.data import find_data

COLUMNS = (
    "age workclass fnlwgt education education-num marital-status occupation relationship race sex capital-gain "
    "capital-loss hours-per-week native-country income"
).split()
# fnlwgt, how many persons a row stands for, says nothing of the person.
NUMBERS = ["age", "education-num", "capital-gain", "capital-loss", "hours-per-week"]
CATEGORIES = "workclass education marital-status occupation relationship race sex native-country".split()
# Amounts of money, which are taken as logarithms.
MONEY = ["capital-gain", "capital-loss"]


def read(quick):
    """The training table, the test table, and the number of codes of each category. A table is numbers float32 ``[n, 5]``,
    codes of categories int64 ``[n, 8]``, and 1 for each who earns more than 50,000, float32 ``[n]``.
    """
    try:
        paths = [] if quick else find_data("adult", "adult.data", "adult.test")
    except esker.UnavailableError as why:
        print(f"{why}; a made-up table is taken instead")
        paths = []
    tables = [rows(lines(path)) for path in paths] or [rows(made_up(4096, 1)), rows(made_up(1024, 2))]
    categories = [sorted({row[name] for row in tables[0]} - {"?"}) for name in CATEGORIES]
    training, test = (census(table, categories) for table in tables)
    return training, test, [len(names) + 1 for names in categories]


def lines(path):
    with open(path, "rb") as file:
        data = file.read()
    return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode().splitlines()


def rows(lines):
    kept = (line for line in lines if line and not line.startswith("|"))
    return [dict(zip(COLUMNS, row, strict=True)) for row in csv.reader(kept, skipinitialspace=True)]


def census(table, categories):
    def number(name, text):
        return math.log1p(float(text)) if name in MONEY else float(text)

    numbers = [[number(name, row[name]) for name in NUMBERS] for row in table]
    # Code 0 is a category that is missing or new.
    places = [{name: i + 1 for i, name in enumerate(names)} for names in categories]
    codes = [[place.get(row[name], 0) for name, place in zip(CATEGORIES, places)] for row in table]
    # The test table has full stops behind these: `>50K.`
    rich = [float(row["income"].startswith(">")) for row in table]
    return esker.tensor(numbers), esker.tensor(codes), esker.tensor(rich)


def made_up(count, seed):
    """Rows of a made-up country, in the census's format: school, age and work decide on income, with some luck."""
    draw = random.Random(seed)
    for _ in range(count):
        age, school, hours = draw.uniform(18, 68), draw.uniform(4, 16), draw.uniform(20, 60)
        work = draw.choice(["Private", "State-gov", "Self-emp-inc", "?"])
        married = draw.choice(["Married-civ-spouse", "Never-married", "Divorced"])
        merit = (age - 40) / 20 + (school - 10) / 3 + (hours - 40) / 15 + draw.uniform(-1.5, 1.5)
        income = ">50K" if merit + (1 if married == "Married-civ-spouse" else -0.5) > 1 else "<=50K"
        gain, sex = draw.uniform(0, 5000) if draw.random() > 0.9 else 0, draw.choice(["Female", "Male"])
        yield (
            f"{age:.0f}, {work}, 1, School-{school:.0f}, {school:.0f}, {married}, Sales, Unmarried, White, {sex}, {gain:.0f}, 0, "
            f"{hours:.0f}, United-States, {income}"
        )
