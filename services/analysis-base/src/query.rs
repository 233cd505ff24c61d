//! SQL: one query, and nothing but a query.

use crds::analysis::FailureReason;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::ast;

use crate::failure::{Failure, Limits, listed};

/// What can be wrong with a query before it runs.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// There is nothing but space and comments.
    #[error("The SQL is empty. Write one query, such as SELECT * FROM {table}.")]
    Empty { table: String },
    /// There is more than one.
    #[error("The SQL has {count} statements. Write one query; use WITH for steps in between.")]
    SeveralStatements { count: usize },
    /// It would do something else than select.
    #[error("The SQL is not a query but {statement}. Only a query (SELECT, WITH, VALUES) can be run.")]
    NotAQuery { statement: String },
    /// A table is not there.
    #[error("The query names a table `{name}` that is not there. The tables are {tables}.")]
    UnknownTable { name: String, tables: String },
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        Self::new(FailureReason::InvalidQuery, error.to_string())
    }
}

/// Parses and plans the SQL. Nothing is run.
///
/// # Errors
/// If the SQL is not exactly one query, or names what is not there.
pub async fn plan(
    context: &SessionContext,
    sql: &str,
    tables: &[String],
    limits: Limits,
) -> Result<DataFrame, Failure> {
    let statement = only_query(sql, tables, limits)?;
    let planned = context.state().statement_to_plan(statement).await;
    let plan = planned.map_err(|error| planning_failure(&error, tables, limits))?;
    // Second line of defence: a plan that defines, writes or configures.
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(&plan)
        .map_err(|_| QueryError::NotAQuery { statement: plan_name(&plan) })?;
    Ok(DataFrame::new(context.state(), plan))
}

fn only_query(sql: &str, tables: &[String], limits: Limits) -> Result<Statement, Failure> {
    let mut statements = DFParser::parse_sql(sql).map_err(|error| Failure::from_engine(&error, limits))?;
    let count = statements.len();
    if count > 1 {
        return Err(QueryError::SeveralStatements { count }.into());
    }
    match statements.pop_front() {
        None => Err(QueryError::Empty { table: tables.first().cloned().unwrap_or_default() }.into()),
        Some(Statement::Statement(inner)) if matches!(*inner, ast::Statement::Query(_)) => {
            Ok(Statement::Statement(inner))
        }
        Some(other) => {
            let text = other.to_string();
            let statement = text.split_whitespace().next().unwrap_or_default().to_uppercase();
            Err(QueryError::NotAQuery { statement }.into())
        }
    }
}

fn plan_name(plan: &LogicalPlan) -> String {
    plan.display().to_string().split([':', ' ']).next().unwrap_or_default().to_owned()
}

fn planning_failure(error: &DataFusionError, tables: &[String], limits: Limits) -> Failure {
    if let DataFusionError::Plan(message) = error.find_root()
        && let Some(name) = message
            .strip_prefix("table '")
            .and_then(|rest| rest.split_once("' not found"))
            .map(|(name, _)| name)
    {
        let name = name.strip_prefix("datafusion.public.").unwrap_or(name).to_owned();
        return QueryError::UnknownTable { name, tables: listed(tables, 20) }.into();
    }
    let failure = Failure::from_engine(error, limits);
    // Whatever happens while planning is about the query.
    match failure.reason {
        FailureReason::QueryFailed | FailureReason::InternalError => {
            Failure::new(FailureReason::InvalidQuery, failure.message)
        }
        _ => failure,
    }
}
