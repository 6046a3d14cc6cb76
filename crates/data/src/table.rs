//! Tables in CSV files.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use csv::{ErrorKind, Position, ReaderBuilder, StringRecord, Trim};
use esker_tensor::{Error, Result};

use crate::gzip::{plain, stored};

/// How a CSV file is read. Fields are separated by commas, may stand in double quotes, and are trimmed; an empty field is a
/// missing value; the first line names the columns.
///
/// ```
/// use esker_data::Csv;
///
/// # fn main() -> esker_tensor::Result<()> {
/// let table = Csv::new().missing("?").parse("age, job\n39, clerk\n?, cook\n52, clerk\n".as_bytes())?;
/// assert_eq!(table.len(), 3);
/// let ages = table.numbers("age")?;
/// assert!(ages[0] == 39.0 && ages[1].is_nan());
/// let jobs = table.categories("job")?;
/// assert_eq!(jobs.names(), ["clerk", "cook"]);
/// assert_eq!(table.codes("job", &jobs)?, [1, 2, 1]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Csv {
    names: Option<Vec<String>>,
    missing: Vec<String>,
    delimiter: u8,
    comment: Option<u8>,
}

impl Default for Csv {
    fn default() -> Self {
        Self { names: None, missing: Vec::new(), delimiter: b',', comment: None }
    }
}

impl Csv {
    /// The format as described above.
    pub fn new() -> Self {
        Self::default()
    }

    /// For a file without a line of names: these are the columns.
    #[must_use]
    pub fn names(mut self, names: &[&str]) -> Self {
        self.names = Some(names.iter().map(ToString::to_string).collect());
        self
    }

    /// Also takes fields that are `mark` as missing, such as `?` or `NA`.
    #[must_use]
    pub fn missing(mut self, mark: impl Into<String>) -> Self {
        self.missing.push(mark.into());
        self
    }

    /// With another character between fields, such as `b';'` or `b'\t'`.
    #[must_use]
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// Without the lines that begin with this character.
    #[must_use]
    pub fn comment(mut self, mark: u8) -> Self {
        self.comment = Some(mark);
        self
    }

    /// Reads a file, compressed with gzip or not.
    ///
    /// # Errors
    /// `Io` when it cannot be read; `Format` saying what is wrong with which line; both name the path.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Table> {
        let path = path.as_ref();
        self.table(&stored(path)?, format!("{}: ", path.display()))
    }

    /// Reads the bytes of a file, compressed with gzip or not.
    ///
    /// # Errors
    /// `Format` saying what is wrong with which line.
    pub fn parse(&self, bytes: &[u8]) -> Result<Table> {
        self.table(bytes, String::new())
    }

    fn table(&self, bytes: &[u8], place: String) -> Result<Table> {
        let mut text = Vec::new();
        let unpacked = plain(bytes).read_to_end(&mut text);
        unpacked.map_err(|e| Error::format(format!("{place}the file cannot be unpacked: {e}")))?;
        let mut reader = ReaderBuilder::new()
            .has_headers(self.names.is_none())
            .delimiter(self.delimiter)
            .comment(self.comment)
            .trim(Trim::All)
            .from_reader(&text[..]);
        let wrong = |e: csv::Error| self.wrong(&place, &text, &e);
        let names = match &self.names {
            Some(names) => names.clone(),
            None => reader.headers().map_err(wrong)?.iter().map(str::to_string).collect(),
        };
        check_names(&names).map_err(|e| Error::format(format!("{place}{e}")))?;
        let mut rows = Vec::new();
        for row in reader.into_records() {
            let fields = row.map_err(wrong)?;
            let line = fields.position().map_or(0, |at| self.line(&text, at));
            if fields.len() != names.len() {
                return Err(unequal(&place, line, fields.len() as u64, names.len() as u64));
            }
            rows.push(Row { line, fields });
        }
        Ok(Table { place, names, rows, missing: self.missing.clone() })
    }

    /// The reader's errors in this crate's words.
    fn wrong(&self, place: &str, text: &[u8], error: &csv::Error) -> Error {
        let line = error.position().map_or(0, |at| self.line(text, at));
        match error.kind() {
            ErrorKind::UnequalLengths { expected_len, len, .. } => unequal(place, line, *len, *expected_len),
            ErrorKind::Utf8 { err, .. } => {
                Error::format(format!("{place}line {line}: field {} is not UTF-8", err.field() + 1))
            }
            _ => Error::format(format!("{place}{error}")),
        }
    }

    /// The line of a row. The reader knows where the last one ended; empty lines and comments may come between.
    fn line(&self, text: &[u8], end: &Position) -> u64 {
        let mut line = end.line();
        let mut rest = text.get(end.byte() as usize..).unwrap_or_default();
        while let Some((&first, after)) = rest.split_first() {
            rest = match first {
                b'\r' | b'\n' => after,
                _ if self.comment == Some(first) => {
                    let stop = after.iter().position(|&b| b == b'\n').unwrap_or(after.len());
                    after.get(stop..).unwrap_or_default()
                }
                _ => return line,
            };
            line += u64::from(first == b'\n');
        }
        line
    }
}

fn unequal(place: &str, line: u64, found: u64, needed: u64) -> Error {
    Error::format(format!("{place}line {line} has {found} fields, needed are {needed}"))
}

/// Why these cannot name columns.
fn check_names(names: &[String]) -> std::result::Result<(), String> {
    if names.is_empty() {
        return Err("the file is empty, needed is a line that names the columns".to_string());
    }
    let mut seen = BTreeSet::new();
    match names.iter().enumerate().find(|(_, name)| name.is_empty() || !seen.insert(*name)) {
        Some((i, name)) if name.is_empty() => Err(format!("column {} has no name", i + 1)),
        Some((_, name)) => Err(format!("two columns are called `{name}`")),
        None => Ok(()),
    }
}

#[derive(Clone, Debug)]
struct Row {
    line: u64,
    fields: StringRecord,
}

/// What a CSV file holds. A column is text until it is asked for as something else.
#[derive(Clone, Debug)]
pub struct Table {
    /// What errors begin with: the path, or nothing.
    place: String,
    names: Vec<String>,
    rows: Vec<Row>,
    missing: Vec<String>,
}

impl Table {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The columns' names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The texts of a column, `None` where the value is missing.
    ///
    /// # Errors
    /// `Dim` when there is no such column.
    pub fn texts(&self, name: &str) -> Result<Vec<Option<&str>>> {
        Ok(self.fields(name)?.map(|(_, text)| text).collect())
    }

    /// The numbers of a column, NaN where the value is missing.
    ///
    /// # Errors
    /// `Dim` when there is no such column; `Format` naming the path and the line of a field that is no number.
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>> {
        let number = |(line, text): (u64, Option<&str>)| {
            let Some(text) = text else { return Ok(f64::NAN) };
            text.parse().map_err(|_| {
                Error::format(format!("{}line {line}: `{name}` is `{text}`, needed is a number", self.place))
            })
        };
        self.fields(name)?.map(number).collect()
    }

    /// The different texts of a column, sorted.
    ///
    /// # Errors
    /// `Dim` when there is no such column.
    pub fn categories(&self, name: &str) -> Result<Categories> {
        let names: BTreeSet<&str> = self.fields(name)?.filter_map(|(_, text)| text).collect();
        Ok(Categories { names: names.into_iter().map(str::to_string).collect() })
    }

    /// The texts of a column by their place among `categories`, from 1; 0 where the value is missing or not among them, as
    /// may be when they are those of another table.
    ///
    /// # Errors
    /// `Dim` when there is no such column.
    pub fn codes(&self, name: &str, categories: &Categories) -> Result<Vec<i64>> {
        Ok(self.fields(name)?.map(|(_, text)| text.map_or(0, |t| categories.code(t))).collect())
    }

    /// Lines and present texts of a column.
    fn fields(&self, name: &str) -> Result<impl Iterator<Item = (u64, Option<&str>)>> {
        let Some(column) = self.names.iter().position(|n| n == name) else {
            return Err(Error::dim(format!("{}there is no column `{name}` among {:?}", self.place, self.names)));
        };
        let present = |text: &&str| !text.is_empty() && self.missing.iter().all(|mark| mark != text);
        Ok(self.rows.iter().map(move |row| (row.line, row.fields.get(column).filter(present))))
    }
}

/// The values that a column of categories can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Categories {
    names: Vec<String>,
}

impl Categories {
    /// Their names, sorted: the first has the code 1.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The number of codes: one for each category, and 0 for none of them. What an embedding must have rows for.
    pub fn codes(&self) -> usize {
        self.names.len() + 1
    }

    /// The code of a category, 0 for one that is not among them.
    pub fn code(&self, name: &str) -> i64 {
        self.names.binary_search_by(|n| n.as_str().cmp(name)).map_or(0, |at| at as i64 + 1)
    }
}
