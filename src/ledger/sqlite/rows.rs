//! Statements in one call each, and columns that hold what the books speak of.
//!
//! What always holds: every statement stays prepared, and a column whose value cannot be what it should be is damage.

use rusqlite::{
    Connection, OptionalExtension, Params, Row, ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Value, ValueRef},
};

use super::fail::Fail;
use crate::{
    address::{Address, Domain},
    money::Micros,
};

/// What a connection is asked.
pub(super) trait Statements {
    /// Changes rows; says how many.
    fn change(&self, sql: &str, params: impl Params) -> Result<usize, Fail>;

    /// Adds a row; returns its number.
    fn insert(&self, sql: &str, params: impl Params) -> Result<i64, Fail>;

    /// Whether there is a row.
    fn has(&self, sql: &str, params: impl Params) -> Result<bool, Fail>;

    /// The first row, if there is one.
    fn find<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, Fail>,
    ) -> Result<Option<T>, Fail>;

    /// Every row.
    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T, Fail>,
    ) -> Result<Vec<T>, Fail>;

    /// The first column of the first row, if there is one.
    fn value<T: FromSql>(&self, sql: &str, params: impl Params) -> Result<Option<T>, Fail> {
        self.find(sql, params, |row| Ok(row.get(0)?))
    }
}

impl Statements for Connection {
    fn change(&self, sql: &str, params: impl Params) -> Result<usize, Fail> {
        Ok(self.prepare_cached(sql)?.execute(params)?)
    }

    fn insert(&self, sql: &str, params: impl Params) -> Result<i64, Fail> {
        Ok(self.prepare_cached(sql)?.insert(params)?)
    }

    fn has(&self, sql: &str, params: impl Params) -> Result<bool, Fail> {
        Ok(self.prepare_cached(sql)?.exists(params)?)
    }

    fn find<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, Fail>,
    ) -> Result<Option<T>, Fail> {
        self.prepare_cached(sql)?.query_row(params, |row| Ok(read(row))).optional()?.transpose()
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, Fail>,
    ) -> Result<Vec<T>, Fail> {
        let mut statement = self.prepare_cached(sql)?;
        statement.query_map(params, |row| Ok(read(row)))?.map(|row| row?).collect()
    }
}

/// All columns of a row, for [`Statements::find`] and [`Statements::all`].
pub(super) fn columns<T>(row: &Row<'_>) -> Result<T, Fail>
where
    T: for<'r> TryFrom<&'r Row<'r>, Error = rusqlite::Error>,
{
    Ok(row.try_into()?)
}

/// An address that stands among others in one column.
pub(super) fn address(octets: &[u8]) -> Result<Address, Fail> {
    Address::parse(octets).map_err(|e| Fail::damaged(e.to_string()))
}

impl FromSql for Address {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::parse(value.as_blob()?).map_err(FromSqlError::other)
    }
}

impl ToSql for Address {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(Value::Blob(self.to_bytes())))
    }
}

impl FromSql for Domain {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map_err(FromSqlError::other)
    }
}

impl ToSql for Domain {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl FromSql for Micros {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let micros = value.as_i64()?;
        Self::from_signed(micros).ok_or(FromSqlError::OutOfRange(micros))
    }
}

impl ToSql for Micros {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.signed().into())
    }
}
