//! The CSV reader.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::Write;

use esker_data::{Csv, Table, find_data, read_text};
use proptest::prelude::*;

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn texts(table: &Table, name: &str) -> Vec<Option<String>> {
    table.texts(name).unwrap().into_iter().map(|t| t.map(str::to_string)).collect()
}

#[test]
fn columns_are_text_numbers_and_categories() {
    let bytes = b"age;job;wage\n 39 ;\"cook; \"\"chef\"\"\"; 1e3\n?;;-2.5\n\n52;clerk;NA\n";
    for bytes in [bytes.to_vec(), gzipped(bytes)] {
        let table = Csv::new().delimiter(b';').missing("?").missing("NA").parse(&bytes).unwrap();
        assert_eq!((table.len(), table.names().join(" ")), (3, "age job wage".to_string()));
        assert_eq!(table.numbers("age").unwrap().map_nan(), [Some(39.0), None, Some(52.0)]);
        assert_eq!(table.numbers("wage").unwrap().map_nan(), [Some(1000.0), Some(-2.5), None]);
        assert_eq!(texts(&table, "job"), [Some("cook; \"chef\"".to_string()), None, Some("clerk".to_string())]);
        let jobs = table.categories("job").unwrap();
        assert_eq!((jobs.names().join("|"), jobs.codes()), ("clerk|cook; \"chef\"".to_string(), 3));
        assert_eq!(table.codes("job", &jobs).unwrap(), [2, 0, 1]);
        // Another table's categories: what is not among them counts as missing.
        let other = Csv::new().parse(b"job\nclerk\nbaker\n").unwrap();
        assert_eq!(other.codes("job", &jobs).unwrap(), [1, 0]);
    }
}

trait MapNan {
    fn map_nan(self) -> Vec<Option<f64>>;
}

impl MapNan for Vec<f64> {
    fn map_nan(self) -> Vec<Option<f64>> {
        self.into_iter().map(|x| (!x.is_nan()).then_some(x)).collect()
    }
}

#[test]
fn names_may_be_given_and_lines_be_comments() {
    let table = Csv::new().names(&["a", "b"]).comment(b'|').parse(b"|a remark\n1, 2\n\n|another\n3, 4\n").unwrap();
    assert_eq!(table.numbers("b").unwrap(), [2.0, 4.0]);
    let none = Csv::new().names(&["a", "b"]).parse(b"").unwrap();
    assert!(none.is_empty() && none.numbers("a").unwrap().is_empty());
    assert!(Csv::new().parse(b"a,b\n").unwrap().is_empty());
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let named = || Csv::new().names(&["a", "b"]);
    let cases: [(Csv, &[u8], &str); 9] = [
        (Csv::new(), b"", "the file is empty, needed is a line that names the columns"),
        (Csv::new(), b"a,b,a\n", "two columns are called `a`"),
        (Csv::new(), b"a,,b\n", "column 2 has no name"),
        (Csv::new(), b"a,b\n1,2\n3\n", "line 3 has 1 fields, needed are 2"),
        (named(), b"1,2,3\n", "line 1 has 3 fields, needed are 2"),
        (named(), b"1,2\n1,2,3\n", "line 2 has 3 fields, needed are 2"),
        (named().comment(b'|'), b"1,2\n\n|\n1,2,3\n", "line 4 has 3 fields, needed are 2"),
        (Csv::new(), b"a,b\n1,\xff\n", "line 2: field 2 is not UTF-8"),
        (Csv::new(), b"\x1f\x8b\x08\x00\x00", "the file cannot be unpacked: "),
    ];
    for (csv, bytes, expected) in cases {
        let error = csv.parse(bytes).unwrap_err();
        assert_eq!(error.kind().name(), "Format", "{error}");
        assert!(error.to_string().contains(expected), "{error} does not say {expected}");
    }
    let table = Csv::new().parse(b"a,b\n\"1\n\",2\n\n\n3,x\n").unwrap();
    let error = table.numbers("b").unwrap_err().to_string();
    assert_eq!(error, "line 6: `b` is `x`, needed is a number");
    assert_eq!(table.numbers("c").unwrap_err().to_string(), "there is no column `c` among [\"a\", \"b\"]");
}

#[test]
fn files_are_named_in_errors() {
    let folder = std::env::temp_dir().join(format!("esker-table-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("t.csv.gz");
    std::fs::write(&path, gzipped("a\nü\n".as_bytes())).unwrap();
    let table = Csv::new().read(&path).unwrap();
    let error = table.numbers("a").unwrap_err().to_string();
    assert_eq!(error, format!("{}: line 2: `a` is `ü`, needed is a number", path.display()));
    assert_eq!(read_text(&path).unwrap(), "a\nü\n");
    std::fs::write(&path, gzipped(b"\xff")).unwrap();
    assert!(read_text(&path).unwrap_err().to_string().starts_with(&path.display().to_string()));
    let nowhere = folder.join("nowhere.csv");
    for error in [Csv::new().read(&nowhere).unwrap_err(), read_text(&nowhere).unwrap_err()] {
        assert_eq!(error.kind().name(), "Io");
        assert!(error.to_string().contains("nowhere.csv"), "{error}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// The census table, where it is to be had: its published figures are 32,561 rows, of which 7,841 earn more than 50,000,
/// and 1,836 whose work class is not known.
#[test]
fn the_census_is_as_published() {
    let [path] = match find_data("adult", ["adult.data"]) {
        Ok(paths) => paths,
        Err(why) => return println!("skipped: {why}"),
    };
    let names = ["age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation"];
    let more = ["relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country"];
    let names = [&names[..], &more[..], &["income"]].concat();
    let table = Csv::new().names(&names).missing("?").read(path).unwrap();
    assert_eq!(table.len(), 32_561);
    let rich = table.texts("income").unwrap().into_iter().filter(|t| *t == Some(">50K")).count();
    let unknown = table.texts("workclass").unwrap().into_iter().filter(Option::is_none).count();
    assert_eq!((rich, unknown), (7_841, 1_836));
    assert!(table.numbers("fnlwgt").unwrap().iter().all(|x| *x > 0.0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), gz in any::<bool>()) {
        let bytes = if gz { gzipped(&bytes) } else { bytes };
        for csv in [Csv::new(), Csv::new().names(&["a", "b"]).comment(b'#').delimiter(b' ')] {
            if let Ok(table) = csv.parse(&bytes) {
                for name in table.names() {
                    let _ = table.numbers(name);
                    let categories = table.categories(name).unwrap();
                    let codes = table.codes(name, &categories).unwrap();
                    prop_assert!(codes.iter().all(|&c| 0 <= c && (c as usize) < categories.codes()));
                }
            }
        }
    }

    #[test]
    fn what_is_written_is_read(rows in proptest::collection::vec(("[a-z\",\n ü]{0,6}", -1e6..1e6f64), 0..8)) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["text", "number"]).unwrap();
        for (text, number) in &rows {
            writer.write_record([text.clone(), number.to_string()]).unwrap();
        }
        let table = Csv::new().parse(&writer.into_inner().unwrap()).unwrap();
        prop_assert_eq!(table.numbers("number").unwrap(), rows.iter().map(|r| r.1).collect::<Vec<_>>());
        let expected: Vec<Option<&str>> = rows.iter().map(|r| Some(r.0.trim()).filter(|t| !t.is_empty())).collect();
        prop_assert_eq!(table.texts("text").unwrap(), expected);
    }
}
