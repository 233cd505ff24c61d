"""TPC-H Q12 to Q22 for Polars, by its expressions.

Each function gets the tables as lazy frames and gives the result as one. What
the queries mean is in the .sql files beside this one.
"""

from datetime import date

import polars as pl

VOLUME = pl.col("l_extendedprice") * (1 - pl.col("l_discount"))


def q12(tables):
    urgent = pl.col("o_orderpriority").is_in(["1-URGENT", "2-HIGH"])
    return (
        tables["lineitem"]
        .filter(
            pl.col("l_shipmode").is_in(["MAIL", "SHIP"]),
            pl.col("l_commitdate") < pl.col("l_receiptdate"),
            pl.col("l_shipdate") < pl.col("l_commitdate"),
            pl.col("l_receiptdate") >= date(1994, 1, 1),
            pl.col("l_receiptdate") < date(1995, 1, 1),
        )
        .join(tables["orders"], left_on="l_orderkey", right_on="o_orderkey")
        .group_by("l_shipmode")
        .agg(urgent.sum().alias("high_line_count"), urgent.not_().sum().alias("low_line_count"))
        .sort("l_shipmode")
    )


def q13(tables):
    orders = tables["orders"].filter(pl.col("o_comment").str.contains("special.*requests").not_())
    return (
        tables["customer"]
        .join(orders, left_on="c_custkey", right_on="o_custkey", how="left")
        .group_by("c_custkey")
        .agg(pl.col("o_orderkey").count().alias("c_count"))
        .group_by("c_count")
        .agg(pl.len().alias("custdist"))
        .sort("custdist", "c_count", descending=True)
    )


def q14(tables):
    promotion = pl.col("p_type").str.starts_with("PROMO")
    return (
        tables["lineitem"]
        .filter(pl.col("l_shipdate") >= date(1995, 9, 1), pl.col("l_shipdate") < date(1995, 10, 1))
        .join(tables["part"], left_on="l_partkey", right_on="p_partkey")
        .select((100 * VOLUME.filter(promotion).sum() / VOLUME.sum()).alias("promo_revenue"))
    )


def q15(tables):
    revenue = (
        tables["lineitem"]
        .filter(pl.col("l_shipdate") >= date(1996, 1, 1), pl.col("l_shipdate") < date(1996, 4, 1))
        .group_by("l_suppkey")
        .agg(VOLUME.sum().alias("total_revenue"))
        .filter(pl.col("total_revenue") == pl.col("total_revenue").max())
    )
    return (
        tables["supplier"]
        .join(revenue, left_on="s_suppkey", right_on="l_suppkey")
        .select("s_suppkey", "s_name", "s_address", "s_phone", "total_revenue")
        .sort("s_suppkey")
    )


def q16(tables):
    complained_of = tables["supplier"].filter(pl.col("s_comment").str.contains("Customer.*Complaints"))
    return (
        tables["part"]
        .filter(
            pl.col("p_brand") != "Brand#45",
            pl.col("p_type").str.starts_with("MEDIUM POLISHED").not_(),
            pl.col("p_size").is_in([49, 14, 23, 45, 19, 3, 36, 9]),
        )
        .join(tables["partsupp"], left_on="p_partkey", right_on="ps_partkey")
        .join(complained_of, left_on="ps_suppkey", right_on="s_suppkey", how="anti")
        .group_by("p_brand", "p_type", "p_size")
        .agg(pl.col("ps_suppkey").n_unique().alias("supplier_cnt"))
        .sort(
            "supplier_cnt", "p_brand", "p_type", "p_size", descending=[True, False, False, False]
        )
    )


def q17(tables):
    parts = tables["part"].filter(pl.col("p_brand") == "Brand#23", pl.col("p_container") == "MED BOX")
    lines = tables["lineitem"].join(parts, left_on="l_partkey", right_on="p_partkey", how="semi")
    usual = lines.group_by("l_partkey").agg(pl.col("l_quantity").mean().alias("usual_quantity"))
    return (
        lines.join(usual, on="l_partkey")
        .filter(pl.col("l_quantity") < 0.2 * pl.col("usual_quantity"))
        .select((pl.col("l_extendedprice").sum() / 7.0).alias("avg_yearly"))
    )


def q18(tables):
    large = (
        tables["lineitem"]
        .group_by("l_orderkey")
        .agg(pl.col("l_quantity").sum().alias("sum_quantity"))
        .filter(pl.col("sum_quantity") > 300)
    )
    return (
        tables["orders"]
        .join(large, left_on="o_orderkey", right_on="l_orderkey")
        .join(tables["customer"], left_on="o_custkey", right_on="c_custkey")
        .select(
            "c_name",
            pl.col("o_custkey").alias("c_custkey"),
            "o_orderkey",
            "o_orderdate",
            "o_totalprice",
            "sum_quantity",
        )
        .sort("o_totalprice", "o_orderdate", descending=[True, False])
        .head(100)
    )


def q19(tables):
    def of(brand, containers, least, largest):
        return (
            (pl.col("p_brand") == brand)
            & pl.col("p_container").is_in(containers)
            & pl.col("l_quantity").is_between(least, least + 10)
            & pl.col("p_size").is_between(1, largest)
        )

    return (
        tables["lineitem"]
        .filter(
            pl.col("l_shipmode").is_in(["AIR", "AIR REG"]),
            pl.col("l_shipinstruct") == "DELIVER IN PERSON",
        )
        .join(tables["part"], left_on="l_partkey", right_on="p_partkey")
        .filter(
            of("Brand#12", ["SM CASE", "SM BOX", "SM PACK", "SM PKG"], 1, 5)
            | of("Brand#23", ["MED BAG", "MED BOX", "MED PKG", "MED PACK"], 10, 10)
            | of("Brand#34", ["LG CASE", "LG BOX", "LG PACK", "LG PKG"], 20, 15)
        )
        .select(VOLUME.sum().alias("revenue"))
    )


def q20(tables):
    forest = tables["part"].filter(pl.col("p_name").str.starts_with("forest"))
    sold = (
        tables["lineitem"]
        .filter(pl.col("l_shipdate") >= date(1994, 1, 1), pl.col("l_shipdate") < date(1995, 1, 1))
        .group_by("l_partkey", "l_suppkey")
        .agg((0.5 * pl.col("l_quantity").sum()).alias("half"))
    )
    offering = (
        tables["partsupp"]
        .join(forest, left_on="ps_partkey", right_on="p_partkey", how="semi")
        .join(sold, left_on=["ps_partkey", "ps_suppkey"], right_on=["l_partkey", "l_suppkey"])
        .filter(pl.col("ps_availqty") > pl.col("half"))
    )
    return (
        tables["supplier"]
        .join(
            tables["nation"].filter(pl.col("n_name") == "CANADA"),
            left_on="s_nationkey",
            right_on="n_nationkey",
            how="semi",
        )
        .join(offering, left_on="s_suppkey", right_on="ps_suppkey", how="semi")
        .select("s_name", "s_address")
        .sort("s_name")
    )


def q21(tables):
    suppliers_of = (
        tables["lineitem"]
        .group_by("l_orderkey")
        .agg(pl.col("l_suppkey").n_unique().alias("suppliers"))
        .filter(pl.col("suppliers") > 1)
    )
    late = tables["lineitem"].filter(pl.col("l_receiptdate") > pl.col("l_commitdate"))
    only_late_of = (
        late.group_by("l_orderkey")
        .agg(pl.col("l_suppkey").n_unique().alias("late_suppliers"))
        .filter(pl.col("late_suppliers") == 1)
    )
    saudi_arabian = tables["supplier"].join(
        tables["nation"].filter(pl.col("n_name") == "SAUDI ARABIA"),
        left_on="s_nationkey",
        right_on="n_nationkey",
        how="semi",
    )
    return (
        late.join(saudi_arabian, left_on="l_suppkey", right_on="s_suppkey")
        .join(suppliers_of, on="l_orderkey", how="semi")
        .join(only_late_of, on="l_orderkey", how="semi")
        .join(
            tables["orders"].filter(pl.col("o_orderstatus") == "F"),
            left_on="l_orderkey",
            right_on="o_orderkey",
            how="semi",
        )
        .group_by("s_name")
        .agg(pl.len().alias("numwait"))
        .sort("numwait", "s_name", descending=[True, False])
        .head(100)
    )


def q22(tables):
    customers = (
        tables["customer"]
        .select("c_custkey", "c_acctbal", pl.col("c_phone").str.slice(0, 2).alias("cntrycode"))
        .filter(pl.col("cntrycode").is_in(["13", "31", "23", "29", "30", "18", "17"]))
    )
    usual = customers.filter(pl.col("c_acctbal") > 0).select(pl.col("c_acctbal").mean().alias("usual"))
    return (
        customers.join(usual, how="cross")
        .filter(pl.col("c_acctbal") > pl.col("usual"))
        .join(tables["orders"], left_on="c_custkey", right_on="o_custkey", how="anti")
        .group_by("cntrycode")
        .agg(pl.len().alias("numcust"), pl.col("c_acctbal").sum().alias("totacctbal"))
        .sort("cntrycode")
    )
