"""TPC-H Q1 to Q11 for Polars, by its expressions.

Each function gets the tables as lazy frames and gives the result as one. What
the queries mean is in the .sql files beside this one.
"""

from datetime import date

import polars as pl

VOLUME = pl.col("l_extendedprice") * (1 - pl.col("l_discount"))


def q01(tables):
    return (
        tables["lineitem"]
        .filter(pl.col("l_shipdate") <= date(1998, 9, 2))
        .group_by("l_returnflag", "l_linestatus")
        .agg(
            pl.col("l_quantity").sum().alias("sum_qty"),
            pl.col("l_extendedprice").sum().alias("sum_base_price"),
            VOLUME.sum().alias("sum_disc_price"),
            (VOLUME * (1 + pl.col("l_tax"))).sum().alias("sum_charge"),
            pl.col("l_quantity").mean().alias("avg_qty"),
            pl.col("l_extendedprice").mean().alias("avg_price"),
            pl.col("l_discount").mean().alias("avg_disc"),
            pl.len().alias("count_order"),
        )
        .sort("l_returnflag", "l_linestatus")
    )


def q02(tables):
    europe = (
        tables["region"]
        .filter(pl.col("r_name") == "EUROPE")
        .join(tables["nation"], left_on="r_regionkey", right_on="n_regionkey")
        .join(tables["supplier"], left_on="n_nationkey", right_on="s_nationkey")
        .join(tables["partsupp"], left_on="s_suppkey", right_on="ps_suppkey")
    )
    offers = (
        tables["part"]
        .filter(pl.col("p_size") == 15, pl.col("p_type").str.ends_with("BRASS"))
        .join(europe, left_on="p_partkey", right_on="ps_partkey")
    )
    least = offers.group_by("p_partkey").agg(pl.col("ps_supplycost").min())
    return (
        offers.join(least, on=["p_partkey", "ps_supplycost"])
        .select(
            "s_acctbal", "s_name", "n_name", "p_partkey", "p_mfgr", "s_address", "s_phone", "s_comment"
        )
        .sort("s_acctbal", "n_name", "s_name", "p_partkey", descending=[True, False, False, False])
        .head(100)
    )


def q03(tables):
    day = date(1995, 3, 15)
    return (
        tables["customer"]
        .filter(pl.col("c_mktsegment") == "BUILDING")
        .join(
            tables["orders"].filter(pl.col("o_orderdate") < day), left_on="c_custkey", right_on="o_custkey"
        )
        .join(
            tables["lineitem"].filter(pl.col("l_shipdate") > day), left_on="o_orderkey", right_on="l_orderkey"
        )
        .group_by("o_orderkey", "o_orderdate", "o_shippriority")
        .agg(VOLUME.sum().alias("revenue"))
        .select(pl.col("o_orderkey").alias("l_orderkey"), "revenue", "o_orderdate", "o_shippriority")
        .sort("revenue", "o_orderdate", descending=[True, False])
        .head(10)
    )


def q04(tables):
    late = tables["lineitem"].filter(pl.col("l_commitdate") < pl.col("l_receiptdate"))
    return (
        tables["orders"]
        .filter(pl.col("o_orderdate") >= date(1993, 7, 1), pl.col("o_orderdate") < date(1993, 10, 1))
        .join(late, left_on="o_orderkey", right_on="l_orderkey", how="semi")
        .group_by("o_orderpriority")
        .agg(pl.len().alias("order_count"))
        .sort("o_orderpriority")
    )


def q05(tables):
    orders = tables["orders"].filter(
        pl.col("o_orderdate") >= date(1994, 1, 1), pl.col("o_orderdate") < date(1995, 1, 1)
    )
    return (
        tables["region"]
        .filter(pl.col("r_name") == "ASIA")
        .join(tables["nation"], left_on="r_regionkey", right_on="n_regionkey")
        .join(tables["customer"], left_on="n_nationkey", right_on="c_nationkey")
        .join(orders, left_on="c_custkey", right_on="o_custkey")
        .join(tables["lineitem"], left_on="o_orderkey", right_on="l_orderkey")
        .join(
            tables["supplier"],
            left_on=["l_suppkey", "n_nationkey"],
            right_on=["s_suppkey", "s_nationkey"],
        )
        .group_by("n_name")
        .agg(VOLUME.sum().alias("revenue"))
        .sort("revenue", descending=True)
    )


def q06(tables):
    return (
        tables["lineitem"]
        .filter(
            pl.col("l_shipdate") >= date(1994, 1, 1),
            pl.col("l_shipdate") < date(1995, 1, 1),
            # As numbers with a floating point, 0.06 + 0.01 is less than 0.07.
            pl.col("l_discount").is_between(0.05, 0.07),
            pl.col("l_quantity") < 24,
        )
        .select((pl.col("l_extendedprice") * pl.col("l_discount")).sum().alias("revenue"))
    )


def q07(tables):
    def between(supplier, customer):
        suppliers = tables["nation"].filter(pl.col("n_name") == supplier)
        customers = tables["nation"].filter(pl.col("n_name") == customer)
        return (
            tables["lineitem"]
            .filter(pl.col("l_shipdate").is_between(date(1995, 1, 1), date(1996, 12, 31)))
            .join(
                tables["supplier"].join(suppliers, left_on="s_nationkey", right_on="n_nationkey"),
                left_on="l_suppkey",
                right_on="s_suppkey",
            )
            .join(tables["orders"], left_on="l_orderkey", right_on="o_orderkey")
            .join(
                tables["customer"].join(customers, left_on="c_nationkey", right_on="n_nationkey"),
                left_on="o_custkey",
                right_on="c_custkey",
            )
            .select(
                pl.lit(supplier).alias("supp_nation"),
                pl.lit(customer).alias("cust_nation"),
                pl.col("l_shipdate").dt.year().alias("l_year"),
                VOLUME.alias("volume"),
            )
        )

    return (
        pl.concat([between("FRANCE", "GERMANY"), between("GERMANY", "FRANCE")])
        .group_by("supp_nation", "cust_nation", "l_year")
        .agg(pl.col("volume").sum().alias("revenue"))
        .sort("supp_nation", "cust_nation", "l_year")
    )


def q08(tables):
    america = (
        tables["region"]
        .filter(pl.col("r_name") == "AMERICA")
        .join(tables["nation"], left_on="r_regionkey", right_on="n_regionkey")
        .join(tables["customer"], left_on="n_nationkey", right_on="c_nationkey")
    )
    orders = tables["orders"].filter(
        pl.col("o_orderdate").is_between(date(1995, 1, 1), date(1996, 12, 31))
    )
    return (
        tables["part"]
        .filter(pl.col("p_type") == "ECONOMY ANODIZED STEEL")
        .join(tables["lineitem"], left_on="p_partkey", right_on="l_partkey")
        .join(orders, left_on="l_orderkey", right_on="o_orderkey")
        .join(america, left_on="o_custkey", right_on="c_custkey", how="semi")
        .join(tables["supplier"], left_on="l_suppkey", right_on="s_suppkey")
        .join(tables["nation"], left_on="s_nationkey", right_on="n_nationkey")
        .select(pl.col("o_orderdate").dt.year().alias("o_year"), VOLUME.alias("volume"), "n_name")
        .group_by("o_year")
        .agg(
            (pl.col("volume").filter(pl.col("n_name") == "BRAZIL").sum() / pl.col("volume").sum()).alias(
                "mkt_share"
            )
        )
        .sort("o_year")
    )


def q09(tables):
    return (
        tables["part"]
        .filter(pl.col("p_name").str.contains("green", literal=True))
        .join(tables["lineitem"], left_on="p_partkey", right_on="l_partkey")
        .join(
            tables["partsupp"],
            left_on=["p_partkey", "l_suppkey"],
            right_on=["ps_partkey", "ps_suppkey"],
        )
        .join(tables["supplier"], left_on="l_suppkey", right_on="s_suppkey")
        .join(tables["orders"], left_on="l_orderkey", right_on="o_orderkey")
        .join(tables["nation"], left_on="s_nationkey", right_on="n_nationkey")
        .select(
            pl.col("n_name").alias("nation"),
            pl.col("o_orderdate").dt.year().alias("o_year"),
            (VOLUME - pl.col("ps_supplycost") * pl.col("l_quantity")).alias("amount"),
        )
        .group_by("nation", "o_year")
        .agg(pl.col("amount").sum().alias("sum_profit"))
        .sort("nation", "o_year", descending=[False, True])
    )


def q10(tables):
    orders = tables["orders"].filter(
        pl.col("o_orderdate") >= date(1993, 10, 1), pl.col("o_orderdate") < date(1994, 1, 1)
    )
    return (
        tables["customer"]
        .join(orders, left_on="c_custkey", right_on="o_custkey")
        .join(
            tables["lineitem"].filter(pl.col("l_returnflag") == "R"),
            left_on="o_orderkey",
            right_on="l_orderkey",
        )
        .join(tables["nation"], left_on="c_nationkey", right_on="n_nationkey")
        .group_by("c_custkey", "c_name", "c_acctbal", "c_phone", "n_name", "c_address", "c_comment")
        .agg(VOLUME.sum().alias("revenue"))
        .select(
            "c_custkey", "c_name", "revenue", "c_acctbal", "n_name", "c_address", "c_phone", "c_comment"
        )
        .sort("revenue", descending=True)
        .head(20)
    )


def q11(tables):
    value = pl.col("ps_supplycost") * pl.col("ps_availqty")
    german = (
        tables["nation"]
        .filter(pl.col("n_name") == "GERMANY")
        .join(tables["supplier"], left_on="n_nationkey", right_on="s_nationkey")
        .join(tables["partsupp"], left_on="s_suppkey", right_on="ps_suppkey")
    )
    return (
        german.group_by("ps_partkey")
        .agg(value.sum().alias("value"))
        .filter(pl.col("value") > pl.col("value").sum() * 0.0001)
        .sort("value", descending=True)
    )
