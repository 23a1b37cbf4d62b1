"""The Ames house prices: one table, split into training, validation and test as scikit-learn's random_state 42 does."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from workbench.tasks.making import Making, SourceError

TABLE = "train.csv"
ROWS = 1460
KEY, TARGET = "Id", "SalePrice"
SEED = 42
TEST_SHARE = (1, 5)
VALIDATION_SHARE = (1, 8)
"""Of what is not test."""

STAND_IN_COLUMNS = """
MSSubClass 20..160
MSZoning RL|RM|FV|RH|C (all)
LotFrontage 34..107|NA
LotArea 3316..17423
Street Pave|Grvl
Alley NA|Grvl|Pave
LotShape Reg|IR1|IR2|IR3
LandContour Lvl|Bnk|HLS|Low
Utilities AllPub|NoSeWa
LotConfig Inside|Corner|CulDSac|FR2|FR3
LandSlope Gtl|Mod|Sev
Neighborhood NAmes|CollgCr|OldTown|Edwards|Somerst|Gilbert|NridgHt|Sawyer|NWAmes|SawyerW|BrkSide|Crawfor|Mitchel|NoRidge
Condition1 Norm|Feedr|Artery|RRAn|PosN|RRAe|PosA|RRNn|RRNe
Condition2 Norm|Feedr|Artery|PosN|RRNn|RRAn|PosA|RRAe
BldgType 1Fam|TwnhsE|Duplex|Twnhs|2fmCon
HouseStyle 1Story|2Story|1.5Fin|SLvl|SFoyer|1.5Unf|2.5Unf|2.5Fin
OverallQual 4..8
OverallCond 4..8
YearBuilt 1916..2007
YearRemodAdd 1950..2007
RoofStyle Gable|Hip|Flat|Gambrel|Mansard|Shed
RoofMatl CompShg|Tar&Grv|WdShngl|WdShake|Metal|Roll|Membran|ClyTile
Exterior1st VinylSd|HdBoard|MetalSd|Wd Sdng|Plywood|CemntBd|BrkFace|WdShing|Stucco|AsbShng
Exterior2nd VinylSd|MetalSd|HdBoard|Wd Sdng|Plywood|CmentBd|Wd Shng|Stucco|BrkFace|AsbShng
MasVnrType None|BrkFace|Stone|BrkCmn|NA
MasVnrArea 0..456|NA
ExterQual TA|Gd|Ex|Fa
ExterCond TA|Gd|Fa|Ex|Po
Foundation PConc|CBlock|BrkTil|Slab|Stone|Wood
BsmtQual TA|Gd|Ex|NA|Fa
BsmtCond TA|Gd|Fa|NA|Po
BsmtExposure No|Av|Gd|Mn|NA
BsmtFinType1 Unf|GLQ|ALQ|BLQ|Rec|LwQ|NA
BsmtFinSF1 0..1274
BsmtFinType2 Unf|Rec|LwQ|NA|BLQ|ALQ|GLQ
BsmtFinSF2 0..400
BsmtUnfSF 0..1468
TotalBsmtSF 520..1753
Heating GasA|GasW|Grav|Wall|OthW|Floor
HeatingQC Ex|TA|Gd|Fa|Po
CentralAir Y|N
Electrical SBrkr|FuseA|FuseF|FuseP|NA|Mix
1stFlrSF 673..1836
2ndFlrSF 0..1142
LowQualFinSF 0..0
GrLivArea 848..2468
BsmtFullBath 0..1
BsmtHalfBath 0..1
FullBath 1..2
HalfBath 0..1
BedroomAbvGr 2..4
KitchenAbvGr 1..1
KitchenQual TA|Gd|Ex|Fa
TotRmsAbvGrd 4..10
Functional Typ|Min2|Min1|Mod|Maj1|Maj2|Sev
Fireplaces 0..2
FireplaceQu NA|Gd|TA|Fa|Ex|Po
GarageType Attchd|Detchd|BuiltIn|NA|Basment|CarPort|2Types
GarageYrBlt 1930..2007|NA
GarageFinish Unf|RFn|Fin|NA
GarageCars 0..3
GarageArea 0..852
GarageQual TA|NA|Fa|Gd|Ex|Po
GarageCond TA|NA|Fa|Gd|Po|Ex
PavedDrive Y|N|P
WoodDeckSF 0..335
OpenPorchSF 0..176
EnclosedPorch 0..183
3SsnPorch 0..0
ScreenPorch 0..160
PoolArea 0..0
PoolQC NA|Gd|Ex|Fa
Fence NA|MnPrv|GdPrv|GdWo|MnWw
MiscFeature NA|Shed|Othr|Gar2|TenC
MiscVal 0..0
MoSold 2..11
YrSold 2006..2010
SaleType WD|New|COD|ConLD|ConLI|ConLw|CWD|Oth|Con
SaleCondition Normal|Partial|Abnorml|Family|Alloca|AdjLand
"""
"""Columns of the stand-in's table: the usual range of a number, or the categories, the most frequent first."""


def prepare(making: Making) -> None:
    """Public: all features, prices of the training rows. Secret: the prices of the validation and test rows."""
    header, rows = read_table(making.source / TABLE)
    test, rest = split(rows, TEST_SHARE)
    validation, train = split(rest, VALIDATION_SHARE)
    hidden = header.index(TARGET)
    key = header.index(KEY)
    for folder in (making.public, making.mlgym):
        write_table(folder / "train.csv", header, train)
    write_table(making.mlgym / "validation.csv", header, validation)  # MLGym gives these prices to the agent
    for name, part in (("validation", validation), ("test", test)):
        features = [without(row, hidden) for row in part]
        write_table(making.public / f"{name}.csv", without(header, hidden), features)
        write_table(making.secret / f"{name}.csv", [KEY, TARGET], [[row[key], row[hidden]] for row in part])
    write_table(making.mlgym / "test.csv", without(header, hidden), [without(row, hidden) for row in test])


def stand_in(making: Making) -> None:
    """A table with the same columns, of houses that never were; prices follow a few of the columns, with noise."""
    dice = making.random("houses")
    columns = [line.partition(" ")[::2] for line in STAND_IN_COLUMNS.strip().splitlines()]
    rows: list[list[str]] = []
    for number in range(1, int(making.options["rows"]) + 1):
        house = {name: pick(what, dice.random(), dice.random()) for name, what in columns}
        price = 12_000.0 * int(house["OverallQual"]) + 55.0 * int(house["GrLivArea"]) + 30.0 * int(house["TotalBsmtSF"])
        price += 350.0 * (int(house["YearBuilt"]) - 1900) + 9_000.0 * int(house["GarageCars"])
        price += {"Ex": 30_000, "Gd": 12_000}.get(house["KitchenQual"], 0) - 20_000.0 + dice.gauss(0, 12_000)
        rows.append([str(number), *house.values(), str(max(30_000, round(price)))])
    write_table(making.source / TABLE, [KEY, *(name for name, _ in columns), TARGET], rows)


def pick(what: str, first: float, second: float) -> str:
    """A value of a column of the stand-in."""
    span, _, absent = what.partition("|")
    low, dots, high = span.partition("..")
    if dots:
        if absent and second < 0.1:
            return absent
        return str(int(low) + int(first * (int(high) - int(low) + 1)))
    categories = what.split("|")
    return categories[int(first * first * len(categories))]


def read_table(file: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows. Raises SourceError for a table that is not this one."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            header, *rows = [row for row in csv.reader(stream) if row]
    except (ValueError, csv.Error) as error:
        raise SourceError(f"{file} cannot be read as a table: {error}") from error
    for name in (KEY, TARGET, "OverallQual", "Neighborhood"):
        if name not in header:
            raise SourceError(f"{file} has no column {name}: it is not train.csv of the house price competition")
    wrong = [number for number, row in enumerate(rows, 2) if len(row) != len(header)]
    if wrong:
        raise SourceError(f"{file}, line {wrong[0]}: not {len(header)} fields, as the header has")
    # Other distributions of the table (OpenML) write a missing value as a question mark.
    return header, [["NA" if value in ("?", "") else value for value in row] for row in rows]


def write_table(file: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def without(row: Sequence[str], index: int) -> list[str]:
    return [*row[:index], *row[index + 1 :]]


def split(rows: Sequence[list[str]], share: tuple[int, int]) -> tuple[list[list[str]], list[list[str]]]:
    """The held-out share (rounded up) and the rest, as `train_test_split(..., random_state=42)` orders both."""
    count = -(-len(rows) * share[0] // share[1])
    order = permutation(len(rows), SEED)
    return [rows[index] for index in order[:count]], [rows[index] for index in order[count:]]


def permutation(count: int, seed: int) -> list[int]:
    """`numpy.random.RandomState(seed).permutation(count)`, which is frozen for good, without numpy."""
    import random

    state = [seed]
    for index in range(1, 624):
        state.append((1812433253 * (state[-1] ^ state[-1] >> 30) + index) & 0xFFFFFFFF)
    twister = random.Random()
    twister.setstate((3, (*state, 624), None))
    order = list(range(count))
    for last in range(count - 1, 0, -1):
        bits = last.bit_length()
        mask = (1 << bits) - 1
        while (chosen := twister.getrandbits(32) & mask) > last:
            pass
        order[last], order[chosen] = order[chosen], order[last]
    return order
